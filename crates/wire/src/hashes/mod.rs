//! The hashes by which engines name their blocks, computed anew.
