//! slotwise for Node.
