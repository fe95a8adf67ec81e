//! Prompts whose blocks an engine has not confirmed yet.

use alloc::vec::Vec;

use super::hash::BlockHash;
use crate::time::Instant;

/// A prompt whose blocks the engine must confirm by `due`.
#[derive(Debug)]
pub(super) struct Unconfirmed {
    pub(super) due: Instant,
    pub(super) slot: u32,
    pub(super) joined: u64,
    pub(super) stamp: u64,
    pub(super) chain: Vec<BlockHash>,
}
