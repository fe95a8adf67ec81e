//! KV events: captured ones, other formats, and malformed ones.

mod captured;
mod fixtures;
mod golden;
mod hashes;
mod hostile;
mod lossy;
mod trtllm;
