//! From a prompt to chained block hashes, in one pass. `xxhash-rust` was weighed: one keyed pass
//! that yields every block's hash takes a third of its time, and is equal on every platform.
//!
//! A prompt is divided into *stripes* of 64 bytes (16 token ids, or 64 bytes of text). A stripe is
//! folded to 64 bits, and the fold is chained to the hash of all stripes before it:
//!
//! ```text
//!   root ──► chain(root, stripe 0) ──► chain(·, stripe 1) ──► chain(·, stripe 2) ──► …
//! ```
//!
//! A block's hash is the chain's value at the block's end. Equal hashes therefore mean equal
//! prefixes. As long as block sizes are multiples of 16 tokens, a prompt has equal hashes at equal
//! positions for any block size. The root covers what must never share a cache: kind of prompt,
//! model, adapter and salt.
//!
//! `fold(a, b)` is the exclusive or of the halves of the 128-bit product `a * b`, as in wyhash and
//! in XXH3's short inputs. A stripe takes five multiplications, of which one depends on the stripe
//! before. Every operand is combined with a key from the seed, so collisions cannot be constructed
//! without it.

use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU32;

use crate::rng::Rng;

/// One KV-cache block and all blocks before it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
#[expect(
    clippy::exhaustive_structs,
    reason = "64 bits with a meaning, and they will never be more"
)]
pub struct BlockHash(pub u64);

impl fmt::Display for BlockHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The properties that prompts must share to share a cache.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Namespace<'a> {
    /// The base model.
    pub model: &'a str,
    /// The LoRA adapter.
    pub adapter: Option<&'a str>,
    /// The cache salt.
    pub salt: Option<&'a str>,
}

impl<'a> Namespace<'a> {
    /// The namespace of a model without adapter or salt.
    pub const fn new(model: &'a str) -> Self {
        Self { model, adapter: None, salt: None }
    }

    /// The namespace with an adapter, if there is one.
    pub const fn adapter(self, adapter: Option<&'a str>) -> Self {
        Self { adapter, ..self }
    }

    /// The namespace with a salt, if there is one.
    pub const fn salt(self, salt: Option<&'a str>) -> Self {
        Self { salt, ..self }
    }
}

/// Hashes prompts and names under keys from one seed.
///
/// The output is part of the contract: it is fixed by test vectors, and equal on every platform and
/// in every language.
///
/// ```
/// use core::num::NonZeroU32;
/// use slotwise::prefix::{Namespace, PromptHasher};
///
/// let hasher = PromptHasher::new(7);
/// let block_size = NonZeroU32::new(16).expect("not zero");
/// let (mut short, mut long) = (Vec::new(), Vec::new());
/// let ids: Vec<u32> = (0..100).collect();
/// hasher.tokens(Namespace::new("llama"), &ids[..64], block_size, usize::MAX, &mut short);
/// hasher.tokens(Namespace::new("llama"), &ids, block_size, usize::MAX, &mut long);
/// assert_eq!((short.len(), long.len()), (4, 6)); // only full blocks
/// assert_eq!(short[..], long[..4]); // a longer prompt extends the chain
/// ```
#[derive(Clone, Debug)]
pub struct PromptHasher {
    lanes: [u64; 8],
    chain: [u64; 2],
}

impl PromptHasher {
    /// A hasher with keys from `seed`. Keep the seed secret where clients could benefit from
    /// collisions.
    pub const fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut lanes = [0; 8];
        let mut i = 0;
        while i < lanes.len() {
            lanes[i] = rng.next_u64();
            i += 1;
        }
        // An odd multiplier keeps the chain step from being degenerate for any seed.
        Self { lanes, chain: [rng.next_u64(), rng.next_u64() | 1] }
    }

    /// Appends the hashes of a text prompt's full blocks, at most `limit`. A block is `block_size`
    /// tokens of 4 bytes. Computes in **O(bytes)**, about 3 ns a stripe.
    pub fn text(
        &self,
        namespace: Namespace<'_>,
        text: &[u8],
        block_size: NonZeroU32,
        limit: usize,
        hashes: &mut Vec<BlockHash>,
    ) {
        let root = self.root(Kind::Text, namespace);
        self.blocks(root, text, block_size, limit, hashes);
    }

    /// Appends the hashes of a token prompt's full blocks, at most `limit`. Computes in
    /// **O(tokens)**, about 3 ns for 16 tokens.
    pub fn tokens(
        &self,
        namespace: Namespace<'_>,
        ids: &[u32],
        block_size: NonZeroU32,
        limit: usize,
        hashes: &mut Vec<BlockHash>,
    ) {
        let root = self.root(Kind::Tokens, namespace);
        self.blocks(root, ids, block_size, limit, hashes);
    }

    /// As [`tokens`](Self::tokens) for blocks whose hashes also cover `lookahead` tokens after
    /// them. The first `lookahead` tokens of the prompt are in the root, and blocks are shifted by
    /// as many. A block's hash then covers exactly the tokens that its engine's hash covers.
    pub(crate) fn tokens_ahead(
        &self,
        namespace: Namespace<'_>,
        ids: &[u32],
        (block_size, ahead): (NonZeroU32, u32),
        limit: usize,
        hashes: &mut Vec<BlockHash>,
    ) {
        let Some((first, rest)) = ids.split_at_checked(ahead as usize) else { return };
        let root = self.root_ahead(self.root(Kind::Tokens, namespace), first);
        self.blocks(root, rest, block_size, limit, hashes);
    }

    /// The root of a prompt that starts with these tokens, where hashes cover a lookahead.
    pub(crate) fn root_ahead(&self, root: BlockHash, first: &[u32]) -> BlockHash {
        if first.is_empty() { root } else { BlockHash(self.absorb(root.0, first)) }
    }

    /// Appends the hashes of blocks of token ids that continue a chain at `parent`.
    pub(crate) fn continue_tokens(
        &self,
        parent: BlockHash,
        ids: &[u32],
        block_size: NonZeroU32,
        hashes: &mut Vec<BlockHash>,
    ) {
        self.blocks(parent, ids, block_size, usize::MAX, hashes);
    }

    /// The root of a token prompt.
    pub(crate) fn token_root(&self, namespace: Namespace<'_>) -> BlockHash {
        self.root(Kind::Tokens, namespace)
    }

    /// A 64-bit hash of a whole text prompt.
    pub(crate) fn whole_text(&self, namespace: Namespace<'_>, text: &[u8]) -> u64 {
        self.absorb(self.root(Kind::Text, namespace).0, text)
    }

    /// A 64-bit hash of a whole token prompt.
    pub(crate) fn whole_tokens(&self, namespace: Namespace<'_>, ids: &[u32]) -> u64 {
        self.absorb(self.root(Kind::Tokens, namespace).0, ids)
    }

    /// A 64-bit hash of a name: an adapter, a session, an endpoint.
    pub(crate) fn name(&self, name: &str) -> u64 {
        self.absorb(self.chain[0], name.as_bytes())
    }

    /// Mixes two hashes into one.
    pub(crate) const fn mix(&self, a: u64, b: u64) -> u64 {
        fold(a ^ self.lanes[0], b ^ self.lanes[1])
    }

    fn blocks<T: Word>(
        &self,
        root: BlockHash,
        prompt: &[T],
        block_size: NonZeroU32,
        limit: usize,
        hashes: &mut Vec<BlockHash>,
    ) {
        let block = (block_size.get() as usize).saturating_mul(T::PER_TOKEN);
        hashes.reserve((prompt.len() / block).min(limit));
        let mut chain = root.0;
        if block == T::PER_STRIPE {
            // The usual size. Without an inner loop, a block takes two thirds of the instructions.
            let stripes = prompt.chunks_exact(T::PER_STRIPE).take(limit);
            hashes.extend(stripes.map(|stripe| {
                chain = self.step(chain, self.stripe(T::words(stripe)));
                BlockHash(chain)
            }));
            return;
        }
        for block in prompt.chunks_exact(block).take(limit) {
            let stripes = block.chunks_exact(T::PER_STRIPE);
            let rest = stripes.remainder();
            for stripe in stripes {
                chain = self.step(chain, self.stripe(T::words(stripe)));
            }
            if !rest.is_empty() {
                chain = self.step(chain, self.short_stripe(rest));
            }
            hashes.push(BlockHash(chain));
        }
    }

    fn root(&self, kind: Kind, namespace: Namespace<'_>) -> BlockHash {
        let mut chain = self.step(self.chain[0], kind as u64);
        for part in [Some(namespace.model), namespace.adapter, namespace.salt] {
            chain = match part {
                Some(name) => self.absorb(chain, name.as_bytes()),
                None => self.step(chain, self.lanes[7]),
            };
        }
        BlockHash(chain)
    }

    /// Chains any number of bytes or tokens, including their length.
    fn absorb<T: Word>(&self, mut chain: u64, words: &[T]) -> u64 {
        chain = self.step(chain, words.len() as u64);
        for stripe in words.chunks(T::PER_STRIPE) {
            chain = self.step(chain, self.short_stripe(stripe));
        }
        chain
    }

    const fn step(&self, chain: u64, stripe: u64) -> u64 {
        fold(chain ^ stripe ^ self.chain[0], self.chain[1])
    }

    /// Four independent folds of 16 bytes, each under its own keys.
    fn stripe(&self, words: [u64; 8]) -> u64 {
        let lane = |i: usize| {
            fold(words[2 * i] ^ self.lanes[2 * i], words[2 * i + 1] ^ self.lanes[2 * i + 1])
        };
        lane(0) ^ lane(1) ^ lane(2) ^ lane(3)
    }

    /// A partial stripe, padded with zeros, with its length folded in.
    fn short_stripe<T: Word>(&self, rest: &[T]) -> u64 {
        let mut padded = [T::default(); 64];
        padded[..rest.len()].copy_from_slice(rest);
        self.stripe(T::words(&padded[..T::PER_STRIPE]))
            ^ (rest.len() as u64).wrapping_mul(self.chain[1])
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Text = 1,
    Tokens = 2,
}

/// A unit of a prompt: a byte of text or a token id. A token hashes as four bytes, little-endian.
trait Word: Copy + Default {
    const PER_TOKEN: usize;
    const PER_STRIPE: usize;

    /// A whole stripe as eight words, little-endian.
    fn words(stripe: &[Self]) -> [u64; 8];
}

impl Word for u8 {
    const PER_TOKEN: usize = 4;
    const PER_STRIPE: usize = 64;

    fn words(stripe: &[Self]) -> [u64; 8] {
        let bytes: &[Self; 64] = stripe.try_into().expect("invariant: a whole stripe");
        core::array::from_fn(|word| {
            u64::from_le_bytes(core::array::from_fn(|byte| bytes[8 * word + byte]))
        })
    }
}

impl Word for u32 {
    const PER_TOKEN: usize = 1;
    const PER_STRIPE: usize = 16;

    fn words(stripe: &[Self]) -> [u64; 8] {
        let ids: &[Self; 16] = stripe.try_into().expect("invariant: a whole stripe");
        core::array::from_fn(|word| u64::from(ids[2 * word]) | u64::from(ids[2 * word + 1]) << 32)
    }
}

const fn fold(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    const SIXTEEN: NonZeroU32 = NonZeroU32::new(16).expect("not zero");
    const PLAIN: Namespace<'_> = Namespace::new("m");

    fn tokens(seed: u64, namespace: Namespace<'_>, ids: &[u32], block_size: u32) -> Vec<BlockHash> {
        let mut hashes = Vec::new();
        let block_size = NonZeroU32::new(block_size).expect("not zero");
        PromptHasher::new(seed).tokens(namespace, ids, block_size, usize::MAX, &mut hashes);
        hashes
    }

    #[test]
    fn one_changed_token_changes_its_block_and_all_after_it() {
        let ids: Vec<u32> = (0..160).collect();
        let before = tokens(1, PLAIN, &ids, 16);
        for changed in 0..160 {
            let mut other = ids.clone();
            other[changed] ^= 1 << (changed % 32);
            let after = tokens(1, PLAIN, &other, 16);
            let first = changed / 16;
            assert_eq!(before[..first], after[..first]);
            assert!(before[first..].iter().zip(&after[first..]).all(|(a, b)| a != b));
        }
    }

    #[test]
    fn the_hash_at_a_place_does_not_depend_on_the_block_size() {
        let ids: Vec<u32> = (0..512).map(|i| i * i).collect();
        let fine = tokens(3, PLAIN, &ids, 16);
        let coarse = tokens(3, PLAIN, &ids, 64);
        let sampled: Vec<_> = fine.iter().skip(3).step_by(4).copied().collect();
        assert_eq!(coarse, sampled);
    }

    #[test]
    fn whatever_must_not_share_a_cache_has_another_chain() {
        let ids = [7; 16];
        let spaces = [
            PLAIN,
            Namespace::new("n"),
            PLAIN.adapter(Some("a")),
            PLAIN.salt(Some("a")),
            PLAIN.adapter(Some("")),
            PLAIN.adapter(Some("a")).salt(Some("a")),
            Namespace::new("ma"),
        ];
        let mut seen: Vec<BlockHash> = spaces.iter().map(|n| tokens(1, *n, &ids, 16)[0]).collect();
        seen.push(tokens(2, PLAIN, &ids, 16)[0]);
        let bytes: Vec<u8> = ids.iter().flat_map(|id: &u32| id.to_le_bytes()).collect();
        PromptHasher::new(1).text(PLAIN, &bytes, SIXTEEN, usize::MAX, &mut seen);
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count);
    }

    #[test]
    fn odd_block_sizes_and_limits_work() {
        let ids: Vec<u32> = (0..100).collect();
        assert_eq!(tokens(1, PLAIN, &ids, 1).len(), 100);
        assert_eq!(tokens(1, PLAIN, &ids, 24).len(), 4);
        assert_eq!(tokens(1, PLAIN, &ids, u32::MAX).len(), 0);
        let mut some = vec![];
        PromptHasher::new(1).tokens(PLAIN, &ids, SIXTEEN, 2, &mut some);
        assert_eq!(some, tokens(1, PLAIN, &ids, 16)[..2]);
    }
}
