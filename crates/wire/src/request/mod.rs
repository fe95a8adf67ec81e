//! What clients ask for: request bodies, read in place.
