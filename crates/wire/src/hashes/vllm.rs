//! The hashes by which vLLM names its blocks.
//!
//! vLLM hashes the parent's name, the token ids and the extra keys of a block. Python's pickle or
//! canonical CBOR serializes these first.

use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU32;

use sha2::{Digest as _, Sha256};
use slotwise::EngineHash;
use xxhash_rust::xxh3::xxh3_128;

use super::extra_keys::{ExtraKeys, Tagging};
use super::{cbor, pickle};

/// vLLM's seed from version 0.30 on, unless `PYTHONHASHSEED` is set.
pub const DEFAULT_SEED: &str = "vllm-none-hash";

/// The hash algorithm of a vLLM server: `--prefix-caching-hash-algo`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Algorithm {
    /// SHA-256 over pickle, protocol 5.
    #[default]
    Sha256,
    /// SHA-256 over canonical CBOR.
    Sha256Cbor,
    /// XXH3 of 128 bits over pickle, protocol 5.
    Xxhash,
    /// XXH3 of 128 bits over canonical CBOR.
    XxhashCbor,
}

/// The name of a block: 32 bytes, or 16 with XXH3.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct BlockDigest {
    /// The digest at the end, after zeros.
    bytes: [u8; 32],
    length: u8,
}

/// Computes block names as a vLLM server does.
///
/// # Example: the names of a prompt's blocks
///
/// ```
/// use slotwise_wire::hashes::{Algorithm, BlockHasher, DEFAULT_SEED, ExtraKeys};
///
/// let mut hasher = BlockHasher::new(Algorithm::Sha256, DEFAULT_SEED);
/// assert!(hasher.root().to_string().starts_with("066b1e89"));
///
/// let blocks = hasher.prompt(&[1, 2, 3, 4, 5], 2.try_into().unwrap(), ExtraKeys::default());
/// assert_eq!(blocks.len(), 2, "the last one is not full");
/// let root = hasher.root();
/// assert_eq!(blocks[0], hasher.block(root, &[1, 2], ExtraKeys::default()));
/// assert_eq!(blocks[1], hasher.block(blocks[0], &[3, 4], ExtraKeys::default()));
/// ```
#[derive(Clone, Debug)]
pub struct BlockHasher {
    algorithm: Algorithm,
    tagging: Tagging,
    root: BlockDigest,
    scratch: Vec<u8>,
}

impl BlockHasher {
    /// Creates a hasher for servers with this algorithm and seed.
    ///
    /// The seed is the value of `PYTHONHASHSEED` as a string, or [`DEFAULT_SEED`]. An unset seed is
    /// random before vLLM 0.30, and always with XXH3.
    pub fn new(algorithm: Algorithm, seed: &str) -> Self {
        let mut scratch = Vec::new();
        if algorithm.is_cbor() {
            cbor::text(&mut scratch, seed);
        } else {
            pickle::document(&mut scratch, |body| pickle::text(body, seed));
        }
        let root = algorithm.digest(&scratch);
        Self { algorithm, tagging: Tagging::Tagged, root, scratch }
    }

    /// Sets how keys are serialized; the default is [`Tagged`](Tagging::Tagged).
    pub fn tagging(self, tagging: Tagging) -> Self {
        Self { tagging, ..self }
    }

    /// The parent of a prompt's first block: vLLM's `NONE_HASH`.
    pub const fn root(&self) -> BlockDigest {
        self.root
    }

    /// Returns the name of a block. Computes in **O(tokens)**.
    ///
    /// The name equals vLLM's for blocks of up to 8,192 tokens. Python splits longer pickles into
    /// frames.
    pub fn block(
        &mut self,
        parent: BlockDigest,
        tokens: &[u32],
        keys: ExtraKeys<'_>,
    ) -> BlockDigest {
        self.scratch.clear();
        let write = if self.algorithm.is_cbor() { cbor::block } else { pickle::block };
        write(&mut self.scratch, parent.as_bytes(), tokens, keys, self.tagging);
        self.algorithm.digest(&self.scratch)
    }

    /// Returns the names of a prompt's full blocks. Computes in **O(tokens)**.
    pub fn prompt(
        &mut self,
        tokens: &[u32],
        block_size: NonZeroU32,
        keys: ExtraKeys<'_>,
    ) -> Vec<BlockDigest> {
        let mut parent = self.root;
        let mut keys = keys;
        let blocks = tokens.chunks_exact(block_size.get() as usize).map(|tokens| {
            parent = self.block(parent, tokens, keys);
            keys.cache_salt = None;
            parent
        });
        blocks.collect()
    }
}

impl BlockDigest {
    /// The name in events with integer hashes: the last 8 bytes, big-endian.
    pub const fn short(self) -> EngineHash {
        let [.., a, b, c, d, e, f, g, h] = self.bytes;
        EngineHash(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }

    /// The name in events with byte hashes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[32 - usize::from(self.length)..]
    }
}

impl From<[u8; 32]> for BlockDigest {
    fn from(bytes: [u8; 32]) -> Self {
        Self { bytes, length: 32 }
    }
}

impl From<[u8; 16]> for BlockDigest {
    fn from(short: [u8; 16]) -> Self {
        let mut bytes = [0; 32];
        bytes[16..].copy_from_slice(&short);
        Self { bytes, length: 16 }
    }
}

impl fmt::Display for BlockDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Algorithm {
    /// All algorithms.
    pub const ALL: [Self; 4] = [Self::Sha256, Self::Sha256Cbor, Self::Xxhash, Self::XxhashCbor];

    /// The algorithm's name in vLLM's options.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha256Cbor => "sha256_cbor",
            Self::Xxhash => "xxhash",
            Self::XxhashCbor => "xxhash_cbor",
        }
    }

    /// Finds an algorithm by its name in vLLM's options. The label `prefix_caching_hash_algo` of
    /// `vllm:cache_config_info` has the same names.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)
    }

    const fn is_cbor(self) -> bool {
        matches!(self, Self::Sha256Cbor | Self::XxhashCbor)
    }

    fn digest(self, bytes: &[u8]) -> BlockDigest {
        match self {
            Self::Sha256 | Self::Sha256Cbor => <[u8; 32]>::from(Sha256::digest(bytes)).into(),
            Self::Xxhash | Self::XxhashCbor => xxh3_128(bytes).to_be_bytes().into(),
        }
    }
}
