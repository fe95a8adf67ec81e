//! The seeded workload: prompts, their holders, and the events of engines. It is the same for all
//! contestants.
//!
//! A block is 16 tokens, which follow from the block's id. An engine's name for a block stands for
//! everything before it too, and engines agree on names, as vLLM's do when they are given a hash
//! seed. The names are Dynamo's own sequence hashes, because one of its indexes finds nothing under
//! other names; to all others they are opaque.

use dynamo_kv_router::protocols::{BlockHashOptions, compute_block_hash_for_seq, compute_next_seq_hash};
use slotwise::Rng;

/// Tokens in a block.
pub const BLOCK: usize = 16;

/// A prompt: its token ids, and what engines call its blocks.
#[derive(Clone, Debug, Default)]
pub struct Prompt {
    /// Token ids, 16 a block.
    pub tokens: Vec<u32>,
    /// Engines' names of the blocks, in order.
    pub names: Vec<u64>,
}

impl Prompt {
    /// The prompt made of these blocks.
    pub fn new(ids: impl IntoIterator<Item = u64>) -> Self {
        let mut prompt = Self::default();
        prompt.extend(ids);
        prompt
    }

    /// A new prompt.
    pub fn fresh(rng: &mut Rng, blocks: usize) -> Self {
        Self::new((0..blocks).map(|_| rng.next_u64()))
    }

    /// The first `blocks` of this prompt, and then new ones up to `len`.
    pub fn branch(&self, rng: &mut Rng, blocks: usize, len: usize) -> Self {
        let mut prompt =
            Self { tokens: self.tokens[..blocks * BLOCK].to_vec(), names: self.names[..blocks].to_vec() };
        prompt.extend((blocks..len).map(|_| rng.next_u64()));
        prompt
    }

    /// Appends blocks.
    pub fn extend(&mut self, ids: impl IntoIterator<Item = u64>) {
        for id in ids {
            let from = self.tokens.len();
            self.tokens.extend((0..BLOCK as u64).map(|at| (mix(id.wrapping_add(at << 48)) % 128_000) as u32));
            let options = BlockHashOptions::default();
            let local = compute_block_hash_for_seq(&self.tokens[from..], BLOCK as u32, options)[0];
            self.names.push(match self.names.last() {
                Some(before) => compute_next_seq_hash(*before, local),
                None => local.0,
            });
        }
    }

    /// How many blocks it has.
    pub fn blocks(&self) -> usize {
        self.names.len()
    }
}

/// An event of an engine about its cache.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// It holds the blocks `from..to` of a prompt now; those before it held already.
    Store {
        /// The endpoint.
        slot: u32,
        /// The prompt.
        prompt: &'a Prompt,
        /// First block.
        from: usize,
        /// One after the last.
        to: usize,
    },
    /// It no longer holds these blocks.
    Remove {
        /// The endpoint.
        slot: u32,
        /// The engine's names.
        names: &'a [u64],
    },
}

impl<'a> Event<'a> {
    /// The endpoint holds the whole prompt now.
    pub const fn whole(slot: u32, prompt: &'a Prompt) -> Self {
        Self::Store { slot, prompt, from: 0, to: prompt.names.len() }
    }

    /// Blocks in it.
    pub const fn blocks(&self) -> usize {
        match self {
            Self::Store { from, to, .. } => *to - *from,
            Self::Remove { names, .. } => names.len(),
        }
    }
}

/// A prompt and two endpoints that hold it.
#[derive(Clone, Debug)]
pub struct Held {
    /// The prompt.
    pub prompt: Prompt,
    /// Its holders; with one endpoint in the pool they are the same.
    pub holders: [u32; 2],
    /// Blocks at its beginning that every endpoint holds.
    pub system: usize,
}

/// A pool's caches.
#[derive(Clone, Debug, Default)]
pub struct Population {
    /// System prompts, held by every endpoint.
    pub systems: Vec<Prompt>,
    /// Prompts by length, in the order of the lengths that were asked for.
    pub prompts: Vec<Vec<Held>>,
    /// Endpoints in the pool.
    pub endpoints: u32,
}

impl Population {
    /// About `blocks` blocks in prompts of each of these lengths, in equal parts. With `shared`,
    /// those of 16 blocks begin with a system prompt of 8 blocks and the longer ones with one of
    /// 64, and all endpoints hold these.
    pub fn new(endpoints: u32, lengths: &[usize], blocks: usize, shared: bool, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let systems =
            if shared { vec![Prompt::fresh(&mut rng, 8), Prompt::fresh(&mut rng, 64)] } else { vec![] };
        let each = blocks / lengths.len();
        let prompts = lengths.iter().map(|&length| {
            (0..(each / length).max(2))
                .map(|_| {
                    let system = systems.get(usize::from(length > 64));
                    let prompt = match system {
                        Some(system) => system.branch(&mut rng, system.blocks(), length),
                        None => Prompt::fresh(&mut rng, length),
                    };
                    let first = rng.below(u64::from(endpoints)) as u32;
                    let other = 1 + rng.below(u64::from(endpoints.max(2)) - 1) as u32;
                    let holders = [first, (first + other) % endpoints];
                    Held { prompt, holders, system: system.map_or(0, Prompt::blocks) }
                })
                .collect()
        });
        Self { prompts: prompts.collect(), systems, endpoints }
    }

    /// The engines' events so far: a system prompt as one event, the rest of a prompt in
    /// events of at most 512 blocks.
    pub fn events(&self) -> impl Iterator<Item = Event<'_>> {
        let systems = self
            .systems
            .iter()
            .flat_map(move |system| (0..self.endpoints).map(move |slot| Event::whole(slot, system)));
        let prompts = self.prompts.iter().flatten().flat_map(|held| {
            held.holders.into_iter().flat_map(move |slot| {
                (held.system..held.prompt.blocks()).step_by(EVENT).map(move |from| {
                    let to = (from + EVENT).min(held.prompt.blocks());
                    Event::Store { slot, prompt: &held.prompt, from, to }
                })
            })
        });
        systems.chain(prompts)
    }
}

/// Mixes 64 bits.
pub const fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Blocks that an engine reports at once.
const EVENT: usize = 512;
