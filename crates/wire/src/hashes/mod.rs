//! Recomputes the hashes by which vLLM names its blocks.
//!
//! Routing does not need them: KV events carry token ids, and the scheduler's index has its own
//! hash. Use them to verify an engine's events, or to share an index that is keyed by engine
//! hashes.
//!
//! vLLM hashes the parent's name, the token ids and the extra keys of a block with SHA-256.
//! Python's pickle or canonical CBOR serializes these first.

mod cbor;
mod pickle;

use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU32;

use sha2::{Digest as _, Sha256};
use slotwise::EngineHash;

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
}

/// How the extra keys of a block are serialized.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Tagging {
    /// vLLM 0.31 and later: each key carries its kind, and an adapter its path.
    #[default]
    Tagged,
    /// Before vLLM 0.31: bare strings without paths.
    Untagged,
}

/// The name of a block: 32 bytes.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_structs, reason = "SHA-256 will always be 32 bytes")]
pub struct BlockDigest(pub [u8; 32]);

/// A LoRA adapter, as it enters the hash.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "all that vLLM hashes of it")]
pub struct Adapter<'a> {
    /// Its name.
    pub name: &'a str,
    /// The path of the adapter: `root` in `/v1/models`. [Untagged](Tagging::Untagged) keys do not
    /// hash it.
    pub path: &'a str,
}

/// The parts of a block's cache key besides its parent and token ids.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the keys of blocks of text")]
pub struct ExtraKeys<'a> {
    /// The request's adapter.
    pub adapter: Option<Adapter<'a>>,
    /// The request's cache salt. It enters the first block of a prompt only.
    pub cache_salt: Option<&'a str>,
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
    /// The seed is the value of `PYTHONHASHSEED` as a string, or [`DEFAULT_SEED`]. Before vLLM
    /// 0.30, an unset seed is random.
    pub fn new(algorithm: Algorithm, seed: &str) -> Self {
        let mut scratch = Vec::new();
        match algorithm {
            Algorithm::Sha256 => pickle::document(&mut scratch, |body| pickle::text(body, seed)),
            Algorithm::Sha256Cbor => cbor::text(&mut scratch, seed),
        }
        let root = BlockDigest::of(&scratch);
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
        match self.algorithm {
            Algorithm::Sha256 => {
                pickle::block(&mut self.scratch, &parent.0, tokens, keys, self.tagging);
            }
            Algorithm::Sha256Cbor => {
                cbor::block(&mut self.scratch, &parent.0, tokens, keys, self.tagging);
            }
        }
        BlockDigest::of(&self.scratch)
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
        let [.., a, b, c, d, e, f, g, h] = self.0;
        EngineHash(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }

    fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for BlockDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Algorithm {
    /// The algorithm's name in vLLM's options.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha256Cbor => "sha256_cbor",
        }
    }

    /// Finds an algorithm by its name in vLLM's options. The label `prefix_caching_hash_algo` of
    /// `vllm:cache_config_info` has the same names.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Sha256, Self::Sha256Cbor].into_iter().find(|algorithm| algorithm.as_str() == name)
    }
}

/// An extra key of a block: a string, or a tuple of strings.
enum Key<'a> {
    Bare(&'a str),
    Tuple(&'a [&'a str]),
}

impl ExtraKeys<'_> {
    /// Passes the keys to `key` in vLLM's order and returns their count.
    fn each(self, tagging: Tagging, mut key: impl FnMut(Key<'_>)) -> usize {
        let mut count = 0;
        if let Some(Adapter { name, path }) = self.adapter {
            count += 1;
            match tagging {
                Tagging::Tagged => key(Key::Tuple(&["lora", name, path])),
                Tagging::Untagged => key(Key::Bare(name)),
            }
        }
        if let Some(salt) = self.cache_salt {
            count += 1;
            match tagging {
                Tagging::Tagged => key(Key::Tuple(&["cache_salt", salt])),
                Tagging::Untagged => key(Key::Bare(salt)),
            }
        }
        count
    }
}
