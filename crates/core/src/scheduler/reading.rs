//! A request's prompt, hashed for each layout in the pool and looked up.

use alloc::vec::Vec;
use core::num::NonZeroU32;

use super::Scheduler;
use crate::endpoint::EndpointId;
use crate::pool::{BlockLayout, Slot};
use crate::prefix::{BlockHash, EndpointSet, Namespace, PrefixIndex};
use crate::profile::TierWeights;
use crate::request::{Batch, CacheUse, Prompt, Request};

/// What a prompt is, and who holds how much of it. Its buffers are used again for the next request.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Tokens of the prompt: counted, or estimated from text.
    pub(super) tokens: u32,
    /// Tokens of the longest prompt with its answer: one sequence, which has to fit.
    pub(super) longest: u32,
    /// The endpoint that holds what it goes on from.
    pub(super) home: Option<EndpointId>,
    /// What the engine does with its cache for it.
    pub(super) cache_use: CacheUse,
    /// The most tokens that any endpoint holds.
    pub(super) best_hit: u32,
    /// The model's key.
    pub(super) model: u64,
    /// The adapter's key.
    pub(super) adapter: Option<u64>,
    /// What equal prompts, or the requests of a session, have in common: for ties.
    pub(super) identity: u64,
    /// What it came as.
    pub(super) form: Form,
    chains: Chains,
}

/// What a prompt comes as.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Form {
    /// So many bytes of text of this flow.
    Text {
        /// The key of the flow.
        flow: u64,
        /// The length.
        bytes: u64,
    },
    #[default]
    Tokens,
    /// Hashes that serve any endpoint.
    Blocks,
}

/// The prompt in blocks of each layout that the pool has.
#[derive(Debug, Default)]
struct Chains {
    list: Vec<Chain>,
    used: usize,
    /// The one chain serves all endpoints.
    any_layout: bool,
}

#[derive(Debug)]
struct Chain {
    layout: BlockLayout,
    span: Span,
    hashes: Vec<BlockHash>,
    levels: Levels,
}

/// Who holds how many of a chain's blocks, deepest first: an endpoint's level is the first one that it is in. The last one is
/// everybody's.
#[derive(Debug, Default)]
struct Levels {
    list: Vec<Level>,
    used: usize,
}

/// Endpoints that hold as much.
#[derive(Debug, Default)]
pub(super) struct Level {
    depth: u32,
    /// What they can use of it.
    pub(super) found: Found,
    holders: EndpointSet,
}

/// A level of a chain.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct LevelId {
    chain: u32,
    level: u32,
}

/// A prompt's length in three units: tokens, blocks, and what it came in (bytes or tokens).
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// Bytes or tokens of the prompt.
    length: u64,
    /// Bytes or tokens of a block.
    block: u64,
    /// Tokens of the prompt.
    tokens: u32,
}

impl Scheduler {
    /// Hashes the prompt for each layout in the pool, and looks up who holds how much of it.
    pub(super) fn read(&self, request: &Request<'_>, reading: &mut Reading) {
        self.hash(request, reading);
        self.look_up(reading);
    }

    /// Looks up who holds how much of a prompt that has been hashed.
    pub(super) fn look_up(&self, reading: &mut Reading) {
        reading.best_hit = 0;
        for chain in reading.chains.iter_mut() {
            if reading.cache_use == CacheUse::Unread {
                chain.look_at_nothing();
                continue;
            }
            chain.look_up(&self.fleet.prefixes);
            reading.best_hit = reading.best_hit.max(chain.best_hit());
        }
    }

    /// Hashes the prompt for each layout in the pool.
    pub(super) fn hash(&self, request: &Request<'_>, reading: &mut Reading) {
        let of = |model| Namespace::new(model).adapter(request.adapter).salt(request.cache_salt);
        let namespace = of(request.model);
        let limit = self.fleet.config.max_prompt_blocks;
        reading.model = self.fleet.hasher.name(request.model);
        reading.adapter = request.adapter.map(|name| self.fleet.hasher.name(name));
        let chains = &mut reading.chains;
        match request.prompt {
            Prompt::Text(text) => {
                let (flow, bytes) = (self.fleet.hasher.name(request.flow), text.len() as u64);
                let tokens = self.fleet.bytes_per_token.tokens(reading.model, flow, text.len());
                (reading.tokens, reading.form) = (tokens, Form::Text { flow, bytes });
                chains.reset(self.fleet.pool.layouts(), |layout, chain| {
                    let (block_size, namespace) = (layout.block_size, of(layout.model(request.model)));
                    let block = u64::from(block_size.get()) * 4;
                    chain.span = Span { length: text.len() as u64, block, tokens };
                    self.fleet.hasher.text(namespace, text, block_size, limit, &mut chain.hashes);
                });
            }
            Prompt::Tokens(ids) => {
                reading.tokens = u32::try_from(ids.len()).unwrap_or(u32::MAX);
                reading.form = Form::Tokens;
                let tokens = reading.tokens;
                chains.reset(self.fleet.pool.layouts(), |layout, chain| {
                    let (block_size, namespace) = (layout.block_size, of(layout.model(request.model)));
                    chain.span = Span::of_tokens(tokens, block_size);
                    let cut = (block_size, layout.lookahead);
                    self.fleet.hasher.tokens_ahead(namespace, ids, cut, limit, &mut chain.hashes);
                });
            }
            Prompt::Blocks { hashes, block_size, tokens } => {
                (reading.tokens, reading.form) = (tokens, Form::Blocks);
                let full = (tokens / block_size) as usize;
                let layout = BlockLayout { block_size, any_model: false, lookahead: 0 };
                chains.reset([layout].into_iter(), |_, chain| {
                    chain.span = Span::of_tokens(tokens, block_size);
                    chain.hashes.extend_from_slice(&hashes[..hashes.len().min(limit).min(full)]);
                });
                chains.any_layout = true;
            }
        }
        reading.cache_use = request.cache_use;
        reading.home = request.continues.and_then(|answer| self.fleet.threads.place_of(answer));
        let last = chains.iter_mut().next().and_then(|chain| chain.hashes.last().copied());
        reading.identity = match (request.session, last, request.prompt) {
            (Some(session), ..) => self.fleet.hasher.name(session),
            (None, Some(last), _) => last.0,
            (None, None, Prompt::Text(text)) if !text.is_empty() => {
                self.fleet.hasher.whole_text(namespace, text)
            }
            (None, None, Prompt::Tokens(ids)) if !ids.is_empty() => {
                self.fleet.hasher.whole_tokens(namespace, ids)
            }
            // Nothing tells this prompt from another: its number does, so that such prompts spread.
            (None, None, _) => self.next_request,
        };
        self.add_batch(request, reading);
    }

    /// Counts the other prompts of a batch, and how long its longest sequence is.
    ///
    /// Text counts there no more than at 4 bytes a token: a learned ratio alone never makes a prompt too large.
    fn add_batch(&self, request: &Request<'_>, reading: &mut Reading) {
        let Batch { text_bytes, longest_text, tokens, longest_tokens, sequences } = request.batch;
        let flow = self.fleet.hasher.name(request.flow);
        let learned = |bytes: u64| {
            let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
            self.fleet.bytes_per_token.tokens(reading.model, flow, bytes)
        };
        let clamp = |tokens: u64| u32::try_from(tokens).unwrap_or(u32::MAX);
        let first = match reading.form {
            Form::Text { bytes, .. } => reading.tokens.min(clamp(bytes.div_ceil(4))),
            Form::Tokens | Form::Blocks => reading.tokens,
        };
        let others = learned(longest_text).min(clamp(longest_text.div_ceil(4))).max(clamp(longest_tokens));
        let answer = request.expected_output / sequences.max(1);
        let all = reading.tokens.saturating_add(learned(text_bytes)).saturating_add(clamp(tokens));
        reading.longest = first.max(others).saturating_add(answer);
        reading.tokens = all;
        if let Form::Text { bytes, .. } = &mut reading.form {
            *bytes = bytes.saturating_add(text_bytes);
        }
    }
}

impl Reading {
    /// What must be kept of it to look it up again later.
    pub(super) fn kept(&self) -> Self {
        let mut kept = Self::default();
        kept.copy_from(self);
        kept
    }

    /// Makes this a copy of another, except for who holds how much of it.
    pub(super) fn copy_from(&mut self, other: &Self) {
        let Self { tokens, longest, cache_use, home, best_hit, model, adapter, identity, form, chains: _ } =
            *other;
        (self.longest, self.cache_use, self.home) = (longest, cache_use, home);
        (self.tokens, self.best_hit, self.model, self.adapter) = (tokens, best_hit, model, adapter);
        (self.identity, self.form) = (identity, form);
        let chains = &other.chains.list[..other.chains.used];
        let mut these = chains.iter();
        self.chains.reset(chains.iter().map(|chain| chain.layout), |_, chain| {
            if let Some(other) = these.next() {
                chain.span = other.span;
                chain.hashes.extend_from_slice(&other.hashes);
            }
        });
        self.chains.any_layout = other.chains.any_layout;
    }

    /// The prompt in blocks of the first layout that the pool has.
    pub(super) fn first_chain(&self) -> &[BlockHash] {
        self.chains.list[..self.chains.used].first().map_or(&[], |chain| &chain.hashes)
    }

    /// How many of the prompt's blocks the endpoint can use, and how many tokens these are.
    pub(super) fn found(&self, slot: &Slot) -> Found {
        self.level_of(slot).map_or_else(Found::default, |id| self.level(id).found)
    }

    /// The same, with what it takes to bring near what is in lower tiers there.
    pub(super) fn located(
        &self,
        slot: &Slot,
        found: Found,
        prefixes: &PrefixIndex,
        weights: &TierWeights,
    ) -> Found {
        let place = self.chains.place_of(slot.layout);
        let Some(chain) = place.map(|place| &self.chains.list[place]) else { return found };
        let [_, cpu, disk] = prefixes.tiers(slot.id.slot, &chain.hashes, found.blocks);
        let lacking = f64::from(cpu) * (1.0 - weights.cpu) + f64::from(disk) * (1.0 - weights.disk);
        Found { reload: lacking * f64::from(chain.span.block_tokens()), ..found }
    }

    /// The level that the endpoint is in. Computes in **O(levels)**.
    pub(super) fn level_of(&self, slot: &Slot) -> Option<LevelId> {
        let chain = self.chains.place_of(slot.layout)?;
        let mut levels = self.chains.list[chain].levels.iter();
        let level = levels.position(|level| level.has(slot.id.slot))?;
        Some(LevelId { chain: chain as u32, level: level as u32 })
    }

    /// All levels of all chains.
    pub(super) fn levels(&self) -> impl Iterator<Item = (LevelId, &Level)> {
        let chains = (0..).zip(&self.chains.list[..self.chains.used]);
        chains.flat_map(|(number, chain)| {
            (0..).zip(chain.levels.iter()).map(move |(level, it)| (LevelId { chain: number, level }, it))
        })
    }

    /// One of the [`levels`](Self::levels).
    pub(super) fn level(&self, id: LevelId) -> &Level {
        &self.chains.list[id.chain as usize].levels.list[id.level as usize]
    }

    /// Whether the level's chain is that of endpoints with this layout.
    pub(super) fn serves(&self, id: LevelId, layout: BlockLayout) -> bool {
        self.chains.place_of(layout) == Some(id.chain as usize)
    }

    /// The blocks for this endpoint, and how long they are.
    pub(super) fn take(&mut self, slot: &Slot) -> (Vec<BlockHash>, Span) {
        let tokens = self.tokens;
        match self.chains.of_mut(slot) {
            Some(chain) => {
                let mut hashes = core::mem::take(&mut chain.hashes);
                hashes.shrink_to(2 * hashes.len());
                (hashes, chain.span)
            }
            None => (Vec::new(), Span::of_tokens(tokens, slot.layout.block_size)),
        }
    }
}

/// Cached blocks that a request can use.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    /// Blocks.
    pub(super) blocks: u32,
    /// Tokens.
    pub(super) tokens: u32,
    /// What it takes to bring those near that are in lower tiers, in tokens that could be computed in that time.
    pub(super) reload: f64,
}

impl Level {
    /// Who is in it, if that is not everybody.
    pub(super) fn holders(&self) -> Option<&EndpointSet> {
        (self.depth > 0).then_some(&self.holders)
    }

    /// Which of 64 slots from `64 * at` on are in it, a bit each.
    pub(super) fn word(&self, at: u32) -> u64 {
        self.holders().map_or(u64::MAX, |holders| holders.word(at))
    }

    fn has(&self, slot: u32) -> bool {
        self.holders().is_none_or(|holders| holders.contains(slot))
    }
}

impl Chain {
    /// Sets the levels to what the index says.
    fn look_up(&mut self, prefixes: &PrefixIndex) {
        self.levels.used = 0;
        self.levels.next();
        prefixes.levels(&self.hashes, |depth, holders| {
            if depth > 0 {
                let level = self.levels.next();
                level.depth = depth;
                level.holders.copy_from(holders);
            }
        });
        let levels = &mut self.levels.list[..self.levels.used];
        levels.sort_unstable_by_key(|level| core::cmp::Reverse(level.depth));
        levels.iter_mut().for_each(|level| level.found = self.span.found(level.depth));
    }

    /// Leaves only the level of all endpoints: a request that does not look into a cache finds nothing.
    fn look_at_nothing(&mut self) {
        self.levels.used = 0;
        self.levels.next();
    }

    fn best_hit(&self) -> u32 {
        self.levels.iter().next().map_or(0, |deepest| deepest.found.tokens)
    }
}

impl Levels {
    /// One more, at first everybody's.
    fn next(&mut self) -> &mut Level {
        if self.used == self.list.len() {
            self.list.push(Level::default());
        }
        self.used += 1;
        let level = &mut self.list[self.used - 1];
        level.depth = 0;
        level
    }

    fn iter(&self) -> core::slice::Iter<'_, Level> {
        self.list[..self.used].iter()
    }
}

impl Span {
    fn of_tokens(tokens: u32, block_size: NonZeroU32) -> Self {
        Self { length: u64::from(tokens), block: u64::from(block_size.get()), tokens }
    }

    /// What an endpoint that holds `depth` blocks can use of them: never the prompt's last token, which is computed in
    /// any case, nor the block that it is in.
    pub(super) fn found(self, depth: u32) -> Found {
        if depth == 0 {
            return Found::default();
        }
        let usable = self.length.saturating_sub(1) / self.block;
        let blocks = u64::from(depth).min(usable);
        let tokens =
            u128::from(blocks * self.block) * u128::from(self.tokens) / u128::from(self.length.max(1));
        Found { blocks: blocks as u32, tokens: tokens as u32, reload: 0.0 }
    }

    /// Tokens of the prompt.
    pub(super) const fn tokens(self) -> u32 {
        self.tokens
    }

    /// Tokens of a block, at least one.
    pub(super) fn block_tokens(self) -> u32 {
        let tokens =
            (u128::from(self.block) * u128::from(self.tokens)).div_ceil(u128::from(self.length.max(1)));
        u32::try_from(tokens).unwrap_or(u32::MAX).max(1)
    }
}

impl Chains {
    /// Empties the chains and fills one for each layout.
    fn reset(
        &mut self,
        layouts: impl Iterator<Item = BlockLayout>,
        mut fill: impl FnMut(BlockLayout, &mut Chain),
    ) {
        self.used = 0;
        self.any_layout = false;
        for layout in layouts {
            if self.used == self.list.len() {
                let span = Span::of_tokens(0, layout.block_size);
                self.list.push(Chain { layout, span, hashes: Vec::new(), levels: Levels::default() });
            }
            let chain = &mut self.list[self.used];
            chain.layout = layout;
            chain.hashes.clear();
            fill(layout, chain);
            self.used += 1;
        }
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut Chain> {
        self.list[..self.used].iter_mut()
    }

    fn place_of(&self, layout: BlockLayout) -> Option<usize> {
        let chains = &self.list[..self.used];
        let exactly = chains.iter().position(|chain| self.any_layout || chain.layout == layout);
        // A request that waits was hashed before the endpoint showed that it needs no model's name. Nothing of it
        // is found there, but it can still go there.
        exactly.or_else(|| chains.iter().position(|chain| chain.layout.block_size == layout.block_size))
    }

    fn of_mut(&mut self, slot: &Slot) -> Option<&mut Chain> {
        self.place_of(slot.layout).map(|place| &mut self.list[place])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_of_the_last_token_is_never_found() {
        let sixteen = NonZeroU32::new(16).expect("not zero");
        let hit = |tokens: u32, depth: u32| Span::of_tokens(tokens, sixteen).found(depth).tokens;
        assert_eq!([hit(64, 4), hit(65, 4), hit(64, 2), hit(1, 1), hit(0, 9)], [48, 64, 32, 0, 0]);
    }

    #[test]
    fn blocks_of_text_are_as_many_tokens_as_their_share_of_it() {
        let text = Span { length: 6_400, block: 64, tokens: 1_333 };
        assert_eq!((text.found(50).tokens, text.found(100).blocks), (666, 99));
        assert_eq!(text.block_tokens(), 14);
        let longest = Span { length: u64::MAX, block: 1 << 34, tokens: u32::MAX };
        assert!(longest.found(u32::MAX).tokens > 0 && longest.block_tokens() == 4);
    }
}
