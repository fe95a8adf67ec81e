//! KV events: what real servers published, what others would, and what nobody should.

mod captured;
mod fixtures;
mod golden;
mod hashes;
mod hostile;
mod lossy;
mod trtllm;
