//! The block keys of the reference's precise prefix cache.

use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU32;

use xxhash_rust::xxh64::xxh64;

use super::cbor;

/// How the reference computes block keys: `hashAlgorithm` of `tokenProcessorConfig`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum KeyAlgorithm {
    /// FNV-1a of 64 bits over canonical CBOR.
    #[default]
    CborFnv,
    /// XXH64 over little-endian integers and strings with their lengths.
    Xxh64,
}

impl KeyAlgorithm {
    /// The algorithm's name in the reference: `cbor-fnv` or `xxh64`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CborFnv => "cbor-fnv",
            Self::Xxh64 => "xxh64",
        }
    }

    /// Finds an algorithm by its name in the reference; an empty name means `cbor-fnv`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "" | "cbor-fnv" => Some(Self::CborFnv),
            "xxh64" => Some(Self::Xxh64),
            _ => None,
        }
    }
}

/// Computes the block keys of the reference's `precise-prefix-cache-producer`.
///
/// ```text
/// seed = hash of the seed's text
/// root = H(seed, no tokens, model)
/// key  = H(key of the block before, tokens, extra keys)
/// ```
///
/// With `cbor-fnv`, H is FNV-1a over the canonical CBOR of the three. With `xxh64`, H is XXH64
/// over the parent (8 bytes), the tokens (4 bytes each), and each extra key after its length (8
/// bytes), in little-endian order. Only full blocks have a key.
///
/// ```
/// use slotwise_wire::hashes::{KeyAlgorithm, RequestKeyHasher};
///
/// let mut hasher = RequestKeyHasher::new(KeyAlgorithm::Xxh64, "");
/// let keys = hasher.prompt(None, &[1, 2, 3, 4, 5], 2.try_into().unwrap(), "llama", &[])?;
/// assert_eq!(keys.len(), 2);
///
/// // A chain continues from the key of an earlier block.
/// let rest = hasher.prompt(Some(keys[0]), &[3, 4], 2.try_into().unwrap(), "llama", &[])?;
/// assert_eq!(rest, keys[1..]);
/// # Ok::<(), slotwise_wire::hashes::ExtraKeysMismatch>(())
/// ```
#[derive(Clone, Debug)]
pub struct RequestKeyHasher {
    algorithm: KeyAlgorithm,
    seed: u64,
    scratch: Vec<u8>,
}

impl RequestKeyHasher {
    /// Creates a hasher with this algorithm and the text of `hashSeed`, which is empty by default.
    pub fn new(algorithm: KeyAlgorithm, seed: &str) -> Self {
        let hasher = Self { algorithm, seed: 0, scratch: seed.as_bytes().to_vec() };
        Self { seed: hasher.digest(), ..hasher }
    }

    /// The parent of the first block of a prompt to this model.
    pub fn root(&mut self, model: &str) -> u64 {
        self.scratch.clear();
        match self.algorithm {
            KeyAlgorithm::CborFnv => cbor::model_root(&mut self.scratch, self.seed, model),
            KeyAlgorithm::Xxh64 => return self.block(self.seed, &[], &[model]),
        }
        self.digest()
    }

    /// The key of a block after `parent`. Computes in **O(tokens)**.
    ///
    /// The extra keys are the identifiers of media in the block.
    pub fn block(&mut self, parent: u64, tokens: &[u32], extra_keys: &[&str]) -> u64 {
        let out = &mut self.scratch;
        out.clear();
        match self.algorithm {
            KeyAlgorithm::CborFnv => cbor::request_block(out, parent, tokens, extra_keys),
            KeyAlgorithm::Xxh64 => {
                out.extend_from_slice(&parent.to_le_bytes());
                out.extend(tokens.iter().flat_map(|token| token.to_le_bytes()));
                for key in extra_keys {
                    out.extend_from_slice(&(key.len() as u64).to_le_bytes());
                    out.extend_from_slice(key.as_bytes());
                }
            }
        }
        self.digest()
    }

    /// Returns the keys of the full blocks of `tokens`. Computes in **O(tokens)**.
    ///
    /// Without a parent, and with the parent 0, the chain starts at the model's root. The extra
    /// keys are those of each block, or none at all.
    ///
    /// # Errors
    ///
    /// [`ExtraKeysMismatch`]: there are extra keys, but not for each full block.
    pub fn prompt(
        &mut self,
        parent: Option<u64>,
        tokens: &[u32],
        block_tokens: NonZeroU32,
        model: &str,
        extra_keys: &[&[&str]],
    ) -> Result<Vec<u64>, ExtraKeysMismatch> {
        let blocks = tokens.chunks_exact(block_tokens.get() as usize);
        if !extra_keys.is_empty() && blocks.len() != 0 && extra_keys.len() != blocks.len() {
            return Err(ExtraKeysMismatch { blocks: blocks.len(), extra_keys: extra_keys.len() });
        }
        let mut parent = parent.filter(|key| *key != 0).unwrap_or_else(|| self.root(model));
        let keys = blocks.enumerate().map(|(at, block)| {
            parent = self.block(parent, block, extra_keys.get(at).copied().unwrap_or_default());
            parent
        });
        Ok(keys.collect())
    }

    /// The hash of the scratch bytes.
    fn digest(&self) -> u64 {
        match self.algorithm {
            KeyAlgorithm::CborFnv => fnv1a(&self.scratch),
            KeyAlgorithm::Xxh64 => xxh64(&self.scratch, 0),
        }
    }
}

/// There are extra keys, but not for each full block.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the two numbers that differ")]
pub struct ExtraKeysMismatch {
    /// The number of full blocks.
    pub blocks: usize,
    /// The number of blocks with a list of extra keys.
    pub extra_keys: usize,
}

impl fmt::Display for ExtraKeysMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { blocks, extra_keys } = self;
        write!(f, "extra keys of {extra_keys} blocks for {blocks} full blocks")
    }
}

impl core::error::Error for ExtraKeysMismatch {}

/// FNV-1a of 64 bits.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
