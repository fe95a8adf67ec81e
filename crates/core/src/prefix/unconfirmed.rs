//! Prompts whose blocks an engine has not confirmed yet.

use alloc::vec::Vec;

use super::hash::BlockHash;
use crate::time::Instant;

/// Blocks that an engine should have told us of by now.
#[derive(Debug)]
pub(super) struct Unconfirmed {
    pub(super) due: Instant,
    pub(super) slot: u32,
    pub(super) joined: u64,
    pub(super) stamp: u64,
    pub(super) chain: Vec<BlockHash>,
}
