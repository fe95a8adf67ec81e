//! The blocks that one endpoint holds, in spans: on what evidence, and which are evicted next.
//!
//! A *span* is a stretch of a run in one state. Blocks are *estimated*, because requests sent to
//! the endpoint must have left them, or *stored*, because the engine reported them, or both. The
//! blocks of a request change state together. A span is usually a whole prompt or turn, and costs
//! the same for a thousand blocks as for one.
//!
//! Estimated spans are evicted in the order of their last use, and those of one use tail first, as
//! vLLM frees blocks. Stored blocks are removed by the engine's events.

#[cfg(any(test, feature = "internals"))]
mod check;
mod run_map;
mod snapshot;
mod span;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::num::NonZeroU64;

use super::address::{Address, Coverage, RunId, Stretch};
use super::block_state::State;
use super::engine_names::EngineNames;
use super::event::Tier;
use super::keyed_state::KeyedState;
use super::limits::BlockUse;
use super::totals::{BlockCount, HoldingTotals};
use super::warm::WarmWindow;
use crate::endpoint::CacheEvictionOrder;
use crate::time::Instant;
use run_map::RunMap;
use span::{Frequent, Held, Span, splice};

/// The blocks that one endpoint holds.
#[derive(Debug)]
pub(super) struct Holding {
    runs: RunMap<Held>,
    /// Number of spans in all runs.
    count: usize,
    /// Uses of runs in eviction order. Entries of runs that were used again are stale.
    queue: VecDeque<Turn>,
    uses: NonZeroU64,
    pub(super) names: EngineNames,
    totals: HoldingTotals,
    /// Bytes allocated by spans.
    allocated: usize,
    /// A buffer of `change`, kept for reuse.
    spare: Vec<Span>,
}

/// One use of one run in eviction order.
#[derive(Clone, Copy, Debug)]
struct Turn {
    number: NonZeroU64,
    run: RunId,
    order: CacheEvictionOrder,
}

/// The change of what an endpoint holds of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    pub(super) run: RunId,
    pub(super) before: Coverage,
    pub(super) after: Coverage,
}

impl Holding {
    pub(super) fn new(hash_state: KeyedState, warm: WarmWindow, precise: bool) -> Self {
        Self {
            runs: RunMap::new(hash_state),
            count: 0,
            queue: VecDeque::new(),
            uses: NonZeroU64::MIN,
            names: EngineNames::default(),
            totals: HoldingTotals {
                estimated: BlockCount::default(),
                stored: BlockCount::default(),
                held: 0,
                below: 0,
                warm,
                precise,
            },
            allocated: 0,
            spare: Vec::new(),
        }
    }

    /// Starts a use of the cache and returns its number.
    pub(super) fn begin_use(&mut self) -> NonZeroU64 {
        self.uses = self.uses.saturating_add(1);
        self.uses
    }

    /// Records that a stretch is estimated to be held. `is_new` if the run has begun with it.
    /// Returns what that changes; nothing, if its blocks are a span already.
    #[inline]
    pub(super) fn record_use(
        &mut self,
        Stretch { run, from, to }: Stretch,
        is_new: bool,
        number: NonZeroU64,
        used: BlockUse,
    ) -> Option<Change> {
        let Self { runs, totals, .. } = self;
        let precise = totals.precise;
        let bucket = totals.warm.bucket(used.now);
        let after = |state: State| {
            let warm = !precise || state.stored();
            State {
                estimated: Some(number),
                used: used.stamp,
                computed: state.computed || used.computed,
                bucket: warm.then_some(bucket),
                ..state
            }
        };
        let Some(held) = (if is_new { None } else { runs.get_mut(run) }) else {
            return Some(self.enter(run, Span { from, to, state: after(State::new(used)) }));
        };
        // The number is new, so the span will not merge with its neighbours.
        if let Some(state) = held.state_of((from, to)) {
            let new = after(*state);
            totals.change(to - from, Some(*state), Some(new), false);
            *state = new;
            return None;
        }
        let after = |state: Option<State>| after(state.unwrap_or_else(|| State::new(used)));
        Some(self.change(run, from, to, false, |state| Some(after(state))))
    }

    /// Adds the first span of a run.
    fn enter(&mut self, run: RunId, span: Span) -> Change {
        self.totals.change(span.to - span.from, None, Some(span.state), false);
        let held = Held::of_one(run, span);
        let after = held.coverage();
        self.runs.insert(held);
        self.count += 1;
        Change { run, before: Coverage::default(), after }
    }

    /// Makes the use `number` of these runs the most recent. `runs` are in the order of the prompt.
    pub(super) fn end_use(
        &mut self,
        number: NonZeroU64,
        runs: &[RunId],
        order: CacheEvictionOrder,
    ) {
        let turn = |run: &RunId| Turn { number, run: *run, order };
        match order {
            CacheEvictionOrder::TailFirst => self.queue.extend(runs.iter().rev().map(turn)),
            CacheEvictionOrder::HeadFirst => self.queue.extend(runs.iter().map(turn)),
        }
        if self.queue.len() > 2 * self.count + SPARE {
            let mut queue = core::mem::take(&mut self.queue);
            queue.retain(|turn| self.span_of(*turn).is_some());
            queue.shrink_to(2 * self.count);
            self.queue = queue;
        }
    }

    /// Records that the engine stores a stretch under its names. With a dictionary of its own, an
    /// engine may give a block several names, and these are new. In the shared dictionary a block
    /// has one, and blocks already stored in this tier stay as they are.
    pub(super) fn store(
        &mut self,
        Stretch { run, from, to }: Stretch,
        tier: Tier,
        used: BlockUse,
    ) -> Change {
        let bucket = self.totals.warm.bucket(used.now);
        let own = self.names.are_own();
        self.change(run, from, to, false, |state| {
            let mut state = state.unwrap_or_else(|| State::new(used));
            let copies = &mut state.copies[tier as usize];
            if *copies == 0 || own {
                *copies = copies.saturating_add(1);
                (state.used, state.computed, state.bucket) = (used.stamp, true, Some(bucket));
            }
            Some(state)
        })
    }

    /// Removes one name in this tier from each block of a stretch. A block without names in any
    /// tier is removed. A block that leaves the first tier is no longer estimated either: the
    /// engine's report is better evidence.
    pub(super) fn unstore(&mut self, Stretch { run, from, to }: Stretch, tier: Tier) -> Change {
        self.change(run, from, to, false, |state| {
            let mut state = state?;
            let copies = &mut state.copies[tier as usize];
            if *copies == 0 {
                return Some(state);
            }
            *copies -= 1;
            if *copies == 0 && tier == Tier::Gpu {
                state.estimated = None;
            }
            state.is_held().then_some(state)
        })
    }

    /// Removes estimated blocks of a stretch for which `when` holds.
    pub(super) fn forget(
        &mut self,
        Stretch { run, from, to }: Stretch,
        when: impl Fn(&State) -> bool,
    ) -> Change {
        self.change(run, from, to, false, |state| match state {
            Some(state) if state.estimated.is_some() && when(&state) => state.without_estimate(),
            other => other,
        })
    }

    /// The last use of the span that is evicted next.
    pub(super) fn oldest(&mut self) -> Option<u64> {
        self.next_to_go().map(|(_, span)| span.state.used)
    }

    /// Number of blocks of the next evicted span that make up `tokens`.
    pub(super) fn blocks_to_give_up(&mut self, tokens: u64) -> u32 {
        self.next_to_go().map_or(0, |(_, span)| {
            let blocks = tokens.div_ceil(u64::from(span.state.tokens.max(1)));
            u32::try_from(blocks).unwrap_or(u32::MAX)
        })
    }

    /// Evicts at most `blocks` of the least recently used estimated blocks.
    ///
    /// Blocks `lost` against expectation still count as warm for the rest of their window. They
    /// were in demand, and an endpoint that loses such blocks has no spare capacity.
    pub(super) fn give_up(&mut self, blocks: u32, lost: bool) -> Option<Change> {
        let (turn, span) = self.next_to_go()?;
        let blocks = blocks.min(span.to - span.from);
        let (from, to) = match turn.order {
            CacheEvictionOrder::TailFirst => (span.to - blocks, span.to),
            CacheEvictionOrder::HeadFirst => (span.from, span.from + blocks),
        };
        Some(self.change(turn.run, from, to, lost, |state| {
            let state =
                state.map(|state| if lost { State { bucket: None, ..state } } else { state });
            state.and_then(State::without_estimate)
        }))
    }

    /// Removes the last `most` blocks of a run for any state, or all that remain. Memory is not
    /// compacted, because the rest follows after other threads had their turn.
    #[cfg(feature = "std")]
    pub(super) fn lose(&mut self, run: RunId, most: u32) -> Option<Change> {
        let held = self.runs.get(run)?;
        let (begin, before) = (held.spans.first()?.from, held.coverage());
        let end = before.end;
        if end - begin > most {
            return Some(self.change(run, end - most, end, false, |_| None));
        }
        let held = self.runs.remove(run)?;
        for span in &held.spans {
            self.totals.change(span.to - span.from, Some(span.state), None, false);
        }
        self.count -= held.spans.len();
        self.allocated -= held.allocated();
        Some(Change { run, before, after: Coverage::default() })
    }

    /// The state of a held block.
    pub(super) fn state(&self, Address { run, offset }: Address) -> Option<State> {
        self.runs.get(run)?.span_at(u32::from(offset)).map(|span| span.state)
    }

    /// Whether the engine reports a block as stored.
    pub(super) fn is_stored(&self, Address { run, offset }: Address) -> bool {
        let span = self.runs.get(run).and_then(|held| held.span_at(u32::from(offset)));
        span.is_some_and(|span| span.state.stored())
    }

    /// The span around a block that is stored in this tier.
    pub(super) fn stored_around(&self, address: Address, tier: Tier) -> Option<Stretch> {
        let Address { run, offset } = address;
        let span = self.runs.get(run)?.span_at(u32::from(offset))?;
        let stored = span.state.copies(tier) > 0;
        stored.then_some(Stretch { run, from: span.from, to: span.to })
    }

    /// The number of blocks of a run that are held up to the first hole.
    pub(super) fn prefix(&self, run: RunId) -> u32 {
        self.runs.get(run).map_or(0, |held| held.prefix)
    }

    /// Whether any block of a run is held.
    #[cfg(feature = "std")]
    pub(super) fn holds(&self, run: RunId) -> bool {
        self.runs.get(run).is_some()
    }

    /// The runs with held blocks, and how much of them is held.
    pub(super) fn runs(&self) -> impl Iterator<Item = (RunId, Coverage)> {
        self.runs.iter().map(|held| (held.run, held.coverage()))
    }

    /// The stretches of a run that are held.
    #[cfg(feature = "internals")]
    pub(super) fn stretches(&self, run: RunId) -> impl Iterator<Item = (u32, u32)> {
        self.runs.get(run).into_iter().flat_map(Held::stretches)
    }

    /// Number of blocks of a fully held stretch in each tier, by their nearest tiers.
    pub(super) fn tiers(&self, Stretch { run, from, to }: Stretch) -> [u32; Tier::ALL.len()] {
        let mut blocks = [0; Tier::ALL.len()];
        let spans = self.runs.get(run).map_or(&[][..], |held| &held.spans);
        for span in &spans[spans.partition_point(|span| span.to <= from)..] {
            blocks[span.state.tier() as usize] +=
                span.to.min(to).saturating_sub(span.from.max(from));
        }
        blocks
    }

    /// The stretches that the engine stores, and their tiers.
    pub(super) fn stored(&self) -> impl Iterator<Item = (Stretch, Tier)> + '_ {
        self.runs
            .iter()
            .flat_map(|held| held.spans.iter().map(move |span| (held.run, span)))
            .flat_map(|(run, Span { from, to, state })| {
                let there = Tier::ALL.into_iter().filter(|tier| state.copies[*tier as usize] > 0);
                there.map(move |tier| (Stretch { run, from: *from, to: *to }, tier))
            })
    }

    /// Number of held blocks.
    pub(super) const fn held(&self) -> usize {
        self.totals.held
    }

    /// Of those, the blocks only in tiers below the first.
    pub(super) const fn below(&self) -> usize {
        self.totals.below
    }

    /// Allocated bytes.
    pub(super) fn allocated(&self) -> usize {
        self.allocated
            + self.runs.allocated()
            + self.queue.capacity() * size_of::<Turn>()
            + self.names.allocated()
            + self.spare.capacity() * size_of::<Span>()
    }

    /// Upper limit of additional bytes for this number of blocks in this number of stretches.
    pub(super) fn growth(&self, blocks: usize, stretches: usize) -> usize {
        let queued = self.queue.len() + stretches > self.queue.capacity();
        let turns = if queued { self.queue.capacity() + stretches } else { 0 };
        // With a dictionary of its own, each block may need its own span.
        let spans = if self.names.are_own() { blocks } else { stretches };
        self.runs.growth(stretches)
            + self.names.growth(blocks)
            + turns * size_of::<Turn>()
            + 2 * self.allocated
            + (SPARE + 2 * spans) * size_of::<Span>()
    }

    pub(super) const fn estimated_blocks(&self) -> usize {
        self.totals.estimated.blocks
    }

    pub(super) const fn estimated_tokens(&self) -> u64 {
        self.totals.estimated.tokens
    }

    pub(super) const fn stored_tokens(&self) -> u64 {
        self.totals.stored.tokens
    }

    pub(super) fn warm_tokens(&self, now: Instant) -> u64 {
        self.totals.warm.tokens(now)
    }

    pub(super) const fn is_precise(&self) -> bool {
        self.totals.precise
    }
}

impl Holding {
    /// Changes the state of every block of a stretch, span by span. Computes in **O(spans of the
    /// stretch)**, and O(log spans) for the others.
    fn change(
        &mut self,
        run: RunId,
        from: u32,
        to: u32,
        lost: bool,
        mut state_after: impl FnMut(Option<State>) -> Option<State>,
    ) -> Change {
        let Self { runs, count, totals, allocated, spare, .. } = self;
        let none = Coverage::default();
        // Most changes do not need the general case below.
        let Some(held) = runs.get_mut(run) else {
            let state = state_after(None).filter(|_| from < to);
            let nothing = Change { run, before: none, after: none };
            return state.map_or(nothing, |state| self.enter(run, Span { from, to, state }));
        };
        let (spans, bytes, before) = (held.spans.len(), held.allocated(), held.coverage());
        let tally = |old, new| totals.change(to - from, old, new, lost);
        match held.change_frequently((from, to), &mut state_after, tally) {
            Frequent::Done => {
                *count = *count + held.spans.len() - spans;
                *allocated = *allocated + held.allocated() - bytes;
                return Change { run, before, after: held.coverage() };
            }
            Frequent::Ended => {
                *count -= 1;
                *allocated -= bytes;
                runs.remove(run);
                return Change { run, before, after: none };
            }
            Frequent::Other => {}
        }
        *allocated -= bytes;
        spare.clear();
        let mut same_blocks = true;
        let mut put = |from: u32, to: u32, state: Option<State>| {
            let Some(state) = state.filter(|_| from < to) else { return };
            match spare.last_mut() {
                Some(last) if last.to == from && last.state == state => last.to = to,
                _ => spare.push(Span { from, to, state }),
            }
        };
        let mut change = |from: u32, to: u32, old: Option<State>| {
            if from == to {
                return None;
            }
            let new = state_after(old);
            same_blocks &= old.is_some() == new.is_some();
            totals.change(to - from, old, new, lost);
            new
        };
        // The spans that overlap the stretch, and its neighbours, which may merge with it.
        let first = held.spans.partition_point(|span| span.to < from);
        let last = first + held.spans[first..].partition_point(|span| span.from <= to);
        let mut at = from;
        for Span { from: begin, to: end, state } in held.spans[first..last].iter().copied() {
            let (inner, outer) = (begin.clamp(from, to), end.clamp(from, to));
            put(begin.min(from), end.min(from), Some(state));
            put(at, inner, change(at, inner, None));
            put(inner, outer, change(inner, outer, Some(state)));
            at = outer.max(at);
            if begin.max(to) < end {
                put(at, to, change(at, to, None));
                at = to;
                put(begin.max(to), end, Some(state));
            }
        }
        put(at, to, change(at, to, None));
        *count = *count + spare.len() - (last - first);
        splice(&mut held.spans, first..last, spare);
        if !same_blocks {
            held.measure_prefix(from, first);
        }
        let after = held.coverage();
        if held.spans.is_empty() {
            runs.remove(run);
        } else {
            *allocated += held.allocated();
        }
        Change { run, before, after }
    }

    /// The span that is evicted next, and its last use.
    fn next_to_go(&mut self) -> Option<(Turn, Span)> {
        loop {
            let turn = *self.queue.front()?;
            match self.span_of(turn) {
                Some(span) => return Some((turn, span)),
                None => self.queue.pop_front(),
            };
        }
    }

    /// The part of a use of a run that is evicted first.
    fn span_of(&self, turn: Turn) -> Option<Span> {
        let mut spans = self.runs.get(turn.run)?.spans.iter();
        let mine = |span: &&Span| span.state.estimated == Some(turn.number);
        match turn.order {
            CacheEvictionOrder::TailFirst => spans.rfind(mine),
            CacheEvictionOrder::HeadFirst => spans.find(mine),
        }
        .copied()
    }
}

/// Entries of capacity that are not worth releasing.
const SPARE: usize = 64;
