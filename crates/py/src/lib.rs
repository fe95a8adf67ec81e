//! slotwise for Python.
