//! Hashes a prompt for each layout in the pool, and looks up which endpoints have it cached.

use alloc::vec::Vec;

use super::chains::{Chains, Level, LevelId};
use super::span::{CachedPrefix, Span};
use crate::endpoint::EndpointId;
use crate::fleet::Fleet;
use crate::lora::{Outlook, Traits};
use crate::pool::{BlockLayout, Slot};
use crate::prefill::PrefillCost;
use crate::prefix::{BlockHash, Namespace, PrefixIndex, Tier};
use crate::profile::TierFactors;
use crate::request::{Batch, CacheUse, Prompt, Request};
use crate::time::Seconds;

/// A prompt's properties, and how much of it each endpoint has cached. The buffers are reused for
/// the next request.
#[derive(Debug, Default)]
pub(crate) struct Lookup {
    /// Tokens of the prompt: counted, or estimated from text.
    pub(crate) tokens: u32,
    /// Tokens of the longest sequence of the batch, prompt and answer: it must fit into the KV
    /// cache.
    pub(crate) longest: u32,
    /// The endpoint that gave the answer which the request continues.
    pub(crate) home: Option<EndpointId>,
    /// How the engine uses its cache for the request.
    pub(crate) cache_use: CacheUse,
    /// The most tokens that any endpoint has cached.
    pub(crate) best_hit: u32,
    /// The model's key.
    pub(crate) model: u64,
    /// The key of the request's flow.
    pub(crate) flow: u64,
    /// The adapter's key.
    pub(crate) adapter: Option<u64>,
    /// What loading the adapter costs.
    pub(crate) outlook: Outlook,
    /// The adapter's description.
    pub(crate) traits: Traits,
    /// A key that equal prompts, or the requests of a session, share: it breaks ties.
    pub(crate) identity: u64,
    /// The form of the prompt.
    pub(crate) form: Form,
    /// Whether the answer comes as a stream, so that its first token is reported.
    pub(crate) streams: bool,
    chains: Chains,
}

/// The form of a prompt.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Form {
    /// Text.
    Text {
        /// The length in bytes.
        bytes: u64,
    },
    #[default]
    Tokens,
    /// Block hashes, which are valid for every endpoint.
    Blocks,
}

impl Lookup {
    /// Hashes the prompt for each layout in the pool, and looks up how much of it each endpoint has
    /// cached.
    ///
    /// `fallback` becomes the identity of an empty prompt without a session.
    pub(crate) fn read(&mut self, fleet: &Fleet, request: &Request<'_>, fallback: u64) {
        self.hash(fleet, request, fallback);
        self.refresh(fleet);
    }

    /// Looks up how much of the hashed prompt each endpoint has cached, and what the adapter costs.
    pub(crate) fn refresh(&mut self, fleet: &Fleet) {
        self.outlook = self.adapter.map(|key| fleet.adapters.outlook(key)).unwrap_or_default();
        self.traits = self.adapter.map(|key| fleet.adapter_catalog.traits(key)).unwrap_or_default();
        self.best_hit = 0;
        for chain in self.chains.iter_mut() {
            if self.cache_use == CacheUse::Unread {
                chain.look_at_nothing();
                continue;
            }
            chain.look_up(&fleet.prefixes);
            self.best_hit = self.best_hit.max(chain.best_hit());
        }
    }

    /// Hashes the prompt for each layout in the pool.
    fn hash(&mut self, fleet: &Fleet, request: &Request<'_>, fallback: u64) {
        let of = |model| Namespace::new(model).adapter(request.adapter).salt(request.cache_salt);
        let namespace = of(request.model);
        let limit = fleet.config.max_prompt_blocks;
        self.model = fleet.hasher.name(request.model);
        self.flow = fleet.hasher.name(request.flow);
        self.streams = request.streams;
        self.adapter = request.adapter.map(|name| fleet.hasher.name(name));
        let chains = &mut self.chains;
        match request.prompt {
            Prompt::Text(text) => {
                let tokens = fleet.bytes_per_token.tokens(self.model, self.flow, text.len());
                (self.tokens, self.form) = (tokens, Form::Text { bytes: text.len() as u64 });
                chains.reset(fleet.pool.layouts(), |layout, chain| {
                    let (block_size, namespace) =
                        (layout.block_size, of(layout.model(request.model)));
                    let block = u64::from(block_size.get()) * 4;
                    chain.span = Span { length: text.len() as u64, block, tokens };
                    fleet.hasher.text(namespace, text, block_size, limit, &mut chain.hashes);
                });
            }
            Prompt::Tokens(ids) => {
                self.tokens = u32::try_from(ids.len()).unwrap_or(u32::MAX);
                self.form = Form::Tokens;
                let tokens = self.tokens;
                chains.reset(fleet.pool.layouts(), |layout, chain| {
                    let (block_size, namespace) =
                        (layout.block_size, of(layout.model(request.model)));
                    chain.span = Span::of_tokens(tokens, block_size);
                    let cut = (block_size, layout.lookahead);
                    fleet.hasher.tokens_ahead(namespace, ids, cut, limit, &mut chain.hashes);
                });
            }
            Prompt::Blocks { hashes, block_size, tokens } => {
                (self.tokens, self.form) = (tokens, Form::Blocks);
                let full = (tokens / block_size) as usize;
                let layout = BlockLayout { block_size, any_model: false, lookahead: 0 };
                chains.reset([layout].into_iter(), |_, chain| {
                    chain.span = Span::of_tokens(tokens, block_size);
                    chain.hashes.extend_from_slice(&hashes[..hashes.len().min(limit).min(full)]);
                });
                chains.any_layout = true;
            }
        }
        self.cache_use = request.cache_use;
        self.home = request.continues.and_then(|answer| fleet.threads.place_of(answer));
        let last = chains.iter_mut().next().and_then(|chain| chain.hashes.last().copied());
        self.identity = match (request.session, last, request.prompt) {
            (Some(session), ..) => fleet.hasher.name(session),
            (None, Some(last), _) => last.0,
            (None, None, Prompt::Text(text)) if !text.is_empty() => {
                fleet.hasher.whole_text(namespace, text)
            }
            (None, None, Prompt::Tokens(ids)) if !ids.is_empty() => {
                fleet.hasher.whole_tokens(namespace, ids)
            }
            // Empty prompts get distinct identities, so that they spread over the endpoints.
            (None, None, _) => fallback,
        };
        self.add_batch(fleet, request);
    }

    /// Adds the other prompts of a batch, and computes its longest sequence.
    ///
    /// In the longest sequence, text counts at most one token per 4 bytes: a learned ratio alone
    /// never makes a prompt too large.
    fn add_batch(&mut self, fleet: &Fleet, request: &Request<'_>) {
        let Batch { text_bytes, longest_text, tokens, longest_tokens, sequences } = request.batch;
        let learned = |bytes: u64| match usize::try_from(bytes).unwrap_or(usize::MAX) {
            0 => 0,
            bytes => fleet.bytes_per_token.tokens(self.model, self.flow, bytes),
        };
        let clamp = |tokens: u64| u32::try_from(tokens).unwrap_or(u32::MAX);
        let first = match self.form {
            Form::Text { bytes } => self.tokens.min(clamp(bytes.div_ceil(4))),
            Form::Tokens | Form::Blocks => self.tokens,
        };
        let others =
            learned(longest_text).min(clamp(longest_text.div_ceil(4))).max(clamp(longest_tokens));
        let answer = request.expected_output_tokens / sequences.max(1);
        let all = self.tokens.saturating_add(learned(text_bytes)).saturating_add(clamp(tokens));
        self.longest = first.max(others).saturating_add(answer);
        self.tokens = all;
        if let Form::Text { bytes } = &mut self.form {
            *bytes = bytes.saturating_add(text_bytes);
        }
    }
}

impl Lookup {
    /// A copy for a later lookup.
    pub(crate) fn kept(&self) -> Self {
        let mut kept = Self::default();
        kept.copy_from(self);
        kept
    }

    /// Copies everything but the levels, which a new lookup fills.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        let Self {
            tokens,
            longest,
            cache_use,
            home,
            best_hit,
            model,
            flow,
            adapter,
            outlook,
            traits,
            identity,
            form,
            streams,
            chains: _,
        } = *other;
        (self.longest, self.cache_use, self.home) = (longest, cache_use, home);
        (self.tokens, self.best_hit, self.model, self.adapter) = (tokens, best_hit, model, adapter);
        (self.flow, self.outlook, self.traits) = (flow, outlook, traits);
        (self.identity, self.form, self.streams) = (identity, form, streams);
        let chains = other.chains.as_slice();
        let mut these = chains.iter();
        self.chains.reset(chains.iter().map(|chain| chain.layout), |_, chain| {
            if let Some(other) = these.next() {
                chain.span = other.span;
                chain.hashes.extend_from_slice(&other.hashes);
            }
        });
        self.chains.any_layout = other.chains.any_layout;
    }

    /// Seconds of prefill where most of the prompt is cached.
    pub(crate) fn least_work(&self, prefill: PrefillCost) -> Seconds {
        prefill.work(self.tokens.saturating_sub(self.best_hit), self.best_hit)
    }

    /// The prompt's blocks in the first layout of the pool.
    pub(crate) fn first_chain(&self) -> &[BlockHash] {
        self.chains.as_slice().first().map_or(&[], |chain| &chain.hashes)
    }

    /// Number of the first `depth` blocks in each tier, all of which the endpoint has cached,
    /// nearest tier first. `None` if its engine does not publish them.
    pub(super) fn tiers(
        &self,
        slot: &Slot,
        depth: u32,
        prefixes: &PrefixIndex,
    ) -> Option<[u32; Tier::ALL.len()]> {
        let chain = self.chains.get(self.chains.place_of(slot.layout)?);
        let published = prefixes.has_kv_events(slot.id.slot);
        published.then(|| prefixes.tiers(slot.id.slot, &chain.hashes, depth))
    }

    /// The cached prefix that the endpoint can use.
    pub(super) fn cached(&self, slot: &Slot) -> CachedPrefix {
        self.level_of(slot).map_or_else(CachedPrefix::default, |id| self.level(id).cached)
    }

    /// The prompt's blocks that the endpoint has cached, all blocks of the prompt, and the cached
    /// prefix that it can use.
    pub(super) fn matched(&self, slot: &Slot) -> (u32, usize, CachedPrefix) {
        let Some(id) = self.level_of(slot) else { return Default::default() };
        let (chain, level) = (self.chains.get(id.chain as usize), self.level(id));
        (level.depth(), chain.hashes.len(), level.cached)
    }

    /// The number of blocks of the only chain, if it serves all endpoints of the pool.
    pub(super) fn only_chain(&self, fleet: &Fleet) -> Option<usize> {
        let [chain] = self.chains.as_slice() else { return None };
        let serves = |layout| self.chains.place_of(layout).is_some();
        fleet.pool.layouts().all(serves).then_some(chain.hashes.len())
    }

    /// Adds the cost of loading the blocks that the endpoint has in lower tiers.
    pub(super) fn located(
        &self,
        slot: &Slot,
        cached: CachedPrefix,
        prefixes: &PrefixIndex,
        factors: &TierFactors,
    ) -> CachedPrefix {
        if !prefixes.has_lower_tiers(slot.id.slot) {
            return cached;
        }
        let place = self.chains.place_of(slot.layout);
        let Some(chain) = place.map(|place| self.chains.get(place)) else { return cached };
        let [_, cpu, disk] = prefixes.tiers(slot.id.slot, &chain.hashes, cached.blocks);
        let lacking = f64::from(cpu) * (1.0 - factors.cpu) + f64::from(disk) * (1.0 - factors.disk);
        CachedPrefix { reload: lacking * f64::from(chain.span.block_tokens()), ..cached }
    }

    /// The endpoint's level. Computes in **O(levels)**.
    pub(super) fn level_of(&self, slot: &Slot) -> Option<LevelId> {
        let chain = self.chains.place_of(slot.layout)?;
        let mut levels = self.chains.get(chain).levels.iter();
        let level = levels.position(|level| level.has(slot.id.slot))?;
        Some(LevelId { chain: chain as u32, level: level as u32 })
    }

    /// Whether this level, which contains the endpoint, is the endpoint's own: see
    /// [`level_of`](Self::level_of).
    pub(super) fn is_own_level(&self, slot: &Slot, id: LevelId) -> bool {
        let deeper = self.chains.get(id.chain as usize).levels.iter().take(id.level as usize);
        let chain = self.chains.place_of(slot.layout);
        chain == Some(id.chain as usize) && !deeper.into_iter().any(|level| level.has(slot.id.slot))
    }

    /// All levels of all chains.
    pub(super) fn levels(&self) -> impl Iterator<Item = (LevelId, &Level)> {
        let chains = (0..).zip(self.chains.as_slice());
        chains.flat_map(|(number, chain)| {
            (0..)
                .zip(chain.levels.iter())
                .map(move |(level, it)| (LevelId { chain: number, level }, it))
        })
    }

    /// One of the [`levels`](Self::levels).
    pub(super) fn level(&self, id: LevelId) -> &Level {
        self.chains.get(id.chain as usize).levels.get(id.level as usize)
    }

    /// Whether all endpoints may use the same chain, as usual.
    pub(super) fn has_one_chain(&self) -> bool {
        self.chains.as_slice().len() == 1
    }

    /// Whether endpoints with this layout may use the level's chain, one of several.
    pub(super) fn may_serve(&self, id: LevelId, layout: BlockLayout) -> bool {
        self.chains.place_of(layout) == Some(id.chain as usize)
    }

    /// A copy of the blocks for this endpoint, with the prompt's length.
    pub(crate) fn copy_for(&self, slot: &Slot) -> (Vec<BlockHash>, Span) {
        match self.chains.place_of(slot.layout).map(|place| self.chains.get(place)) {
            Some(chain) => (chain.hashes.clone(), chain.span),
            None => (Vec::new(), Span::of_tokens(self.tokens, slot.layout.block_size)),
        }
    }

    /// Moves the blocks for this endpoint out, with the prompt's length.
    pub(crate) fn take(&mut self, slot: &Slot) -> (Vec<BlockHash>, Span) {
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
