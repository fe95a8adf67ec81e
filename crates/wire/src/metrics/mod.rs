//! What engines say about their load: metrics pages and ORCA headers.
