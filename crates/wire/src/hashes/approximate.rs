//! The block hashes of the reference's approximate prefix cache.

use alloc::vec::Vec;
use core::num::NonZeroU32;

use xxhash_rust::xxh64::{Xxh64, xxh64};

/// The least tokens of a block in the reference, whatever the engine's size is.
pub const MIN_BLOCK_TOKENS: u32 = 64;

/// The most tokens of a prompt that the reference hashes by default.
pub const MAX_PREFIX_TOKENS: u32 = 131_072;

/// Computes the block hashes of the reference's `approx-prefix-cache-producer`.
///
/// ```text
/// root = xxh64(model ++ cache salt)
/// id   = xxh64(tokens of the block, 4 bytes each)
/// hash = xxh64(id ++ hash of the block before, 8 bytes each)
/// ```
///
/// Integers are little-endian. The last block may have fewer tokens, and the prompts of one request
/// are hashed on their own.
///
/// ```
/// use slotwise_wire::hashes::{ApproximateHasher, pack_tokens};
///
/// let hasher = ApproximateHasher::new("llama", "");
/// let block_tokens = ApproximateHasher::block_tokens(Some(16));
/// assert_eq!(block_tokens.get(), 64);
///
/// let tokens = pack_tokens("one prompt, ".repeat(50).as_bytes());
/// let hashes = hasher.prompt(&tokens, block_tokens, 2048);
/// assert_eq!(hashes.len(), 3);
/// assert_ne!(hashes, ApproximateHasher::new("llama", "salt").prompt(&tokens, block_tokens, 2048));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ApproximateHasher {
    root: u64,
}

impl ApproximateHasher {
    /// Creates a hasher for prompts to this model; the salt is that of the request, or empty.
    pub fn new(model: &str, cache_salt: &str) -> Self {
        let mut hash = Xxh64::new(0);
        hash.update(model.as_bytes());
        hash.update(cache_salt.as_bytes());
        Self { root: hash.digest() }
    }

    /// The tokens of a block for an engine with blocks of this size; `None` means not known.
    pub const fn block_tokens(engine: Option<u32>) -> NonZeroU32 {
        const MIN: NonZeroU32 = NonZeroU32::new(MIN_BLOCK_TOKENS).unwrap();
        match engine {
            Some(tokens) if tokens > MIN_BLOCK_TOKENS => match NonZeroU32::new(tokens) {
                Some(tokens) => tokens,
                None => MIN,
            },
            _ => MIN,
        }
    }

    /// The parent of a prompt's first block.
    pub const fn root(&self) -> u64 {
        self.root
    }

    /// Returns the hashes of a prompt's first `max_blocks` blocks. Computes in **O(tokens)**.
    ///
    /// The size of blocks is used as it is; [`block_tokens`](Self::block_tokens) applies the
    /// reference's minimum. The reference's `max_blocks` is [`MAX_PREFIX_TOKENS`] / size.
    pub fn prompt(&self, tokens: &[u32], block_tokens: NonZeroU32, max_blocks: usize) -> Vec<u64> {
        let mut scratch = Vec::new();
        let mut parent = self.root;
        let blocks = tokens.chunks(block_tokens.get() as usize).take(max_blocks);
        let hashes = blocks.map(|block| {
            scratch.clear();
            scratch.extend(block.iter().flat_map(|token| token.to_le_bytes()));
            let mut link = [0; 16];
            link[..8].copy_from_slice(&xxh64(&scratch, 0).to_le_bytes());
            link[8..].copy_from_slice(&parent.to_le_bytes());
            parent = xxh64(&link, 0);
            parent
        });
        hashes.collect()
    }
}

/// The reference's estimate of tokens: 4 bytes each, little-endian, the last ones padded with
/// zeros.
///
/// ```
/// use slotwise_wire::hashes::pack_tokens;
///
/// assert_eq!(pack_tokens(b"abcde"), [0x6463_6261, 0x65]);
/// ```
pub fn pack_tokens(prompt: &[u8]) -> Vec<u32> {
    let pack = |bytes: &[u8]| {
        let mut token = [0; 4];
        token[..bytes.len()].copy_from_slice(bytes);
        u32::from_le_bytes(token)
    };
    prompt.chunks(4).map(pack).collect()
}
