//! What one endpoint holds, span by span: why we believe it, and what its cache gives up next.
//!
//! A *span* is a stretch of a run in one state. Blocks are held because requests that we sent there must have left them
//! (*assumed*), because the engine said so (*stored*), or both. What a request uses changes state together, so a span is usually
//! a whole prompt, or a turn of it, and its thousand blocks cost as much as one.
//!
//! Assumed spans leave in the order of their last use, and those of one use tail first: the order in which vLLM frees blocks. Stored
//! blocks leave when the engine says so.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::num::NonZeroU64;
use core::ops::Range;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use smallvec::{Array, SmallVec};

use super::account::{Account, Tally};
use super::codec::{Reader, SnapshotError, Writer};
use super::event::Tier;
use super::keyed::Keyed;
use super::limits::Use;
use super::names::{Names, map_bytes, map_growth};
use super::runs::{RunId, Runs, Stretch};
use super::snapshot::eviction_order;
use super::table::Address;
use super::warm::{Bucket, WarmWindow};
use crate::endpoint::EvictionOrder;
use crate::time::Instant;

/// What one endpoint holds.
#[derive(Debug)]
pub(super) struct Holding {
    runs: HashMap<RunId, Held, Keyed>,
    /// Spans in all of them.
    count: usize,
    /// Uses of runs, in the order in which the cache gives them up. Those that have been used again since are stale.
    queue: VecDeque<Turn>,
    uses: NonZeroU64,
    pub(super) names: Names,
    account: Account,
    /// What the spans and stretches have allocated.
    allocated: usize,
    /// What `change` found and left: kept to be used again.
    before: Vec<(u32, u32)>,
    after: Vec<(u32, u32)>,
    spare: Vec<Span>,
}

/// What is held of one run.
#[derive(Debug, Default)]
struct Held {
    /// In order, none empty, and no two that touch in the same state.
    spans: SmallVec<[Span; 1]>,
    /// The stretches that the spans make up without a gap.
    stretches: SmallVec<[(u32, u32); 2]>,
}

/// Blocks of a run in one state.
#[derive(Clone, Copy, Debug)]
struct Span {
    from: u32,
    to: u32,
    state: State,
}

/// What is known of a block that is held.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct State {
    /// The use of the cache that it was last assumed by, counted here; none if it is not assumed.
    pub(super) assumed: Option<NonZeroU64>,
    /// The last use.
    pub(super) used: u64,
    /// Names under which the engine stores it, for each tier. Usually one; several where the engine tells blocks apart that we do
    /// not.
    copies: [u16; Tier::ALL.len()],
    pub(super) tokens: u32,
    /// Whether it has been there, and not only on its way.
    pub(super) computed: bool,
    /// The time of its last use, if it counts as warm.
    pub(super) bucket: Option<Bucket>,
}

/// One use of one run, waiting to be given up.
#[derive(Clone, Copy, Debug)]
struct Turn {
    number: NonZeroU64,
    run: RunId,
    order: EvictionOrder,
}

/// How the stretches of a run that an endpoint holds have changed.
#[derive(Debug)]
pub(super) struct Change<'a> {
    pub(super) run: RunId,
    pub(super) before: &'a [(u32, u32)],
    pub(super) after: &'a [(u32, u32)],
}

impl Holding {
    pub(super) fn new(keyed: Keyed, warm: WarmWindow, precise: bool) -> Self {
        Self {
            runs: HashMap::with_hasher(keyed),
            count: 0,
            queue: VecDeque::new(),
            uses: NonZeroU64::MIN,
            names: Names::default(),
            account: Account {
                assumed: Tally::default(),
                stored: Tally::default(),
                held: 0,
                below: 0,
                warm,
                precise,
            },
            allocated: 0,
            before: Vec::new(),
            after: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// Begins a use of the cache: its number.
    pub(super) fn begin_use(&mut self) -> NonZeroU64 {
        self.uses = self.uses.saturating_add(1);
        self.uses
    }

    /// Takes a stretch to be held from now on.
    pub(super) fn assume(
        &mut self,
        Stretch { run, from, to }: Stretch,
        number: NonZeroU64,
        used: Use,
    ) -> Change<'_> {
        let precise = self.account.precise;
        let bucket = self.account.warm.bucket(used.now);
        self.change(run, from, to, false, |state| {
            let state = state.unwrap_or_else(|| State::new(used));
            let warm = !precise || state.stored();
            Some(State {
                assumed: Some(number),
                used: used.stamp,
                computed: state.computed || used.computed,
                bucket: warm.then_some(bucket),
                ..state
            })
        })
    }

    /// The use `number` of these runs is the most recent one. `runs` are in the order of the prompt.
    pub(super) fn end_use(&mut self, number: NonZeroU64, runs: &[RunId], order: EvictionOrder) {
        let turn = |run: &RunId| Turn { number, run: *run, order };
        match order {
            EvictionOrder::TailFirst => self.queue.extend(runs.iter().rev().map(turn)),
            EvictionOrder::HeadFirst => self.queue.extend(runs.iter().map(turn)),
        }
        if self.queue.len() > 2 * self.count + SPARE {
            let mut queue = core::mem::take(&mut self.queue);
            queue.retain(|turn| self.span_of(*turn).is_some());
            queue.shrink_to(2 * self.count);
            self.queue = queue;
        }
    }

    /// The engine stores a stretch under its names. Blocks may have several where the engine has a dictionary of its own, and then these
    /// are new ones; in the shared dictionary they have one, and those that are stored in this tier by that name already stay as they
    /// are.
    pub(super) fn store(&mut self, Stretch { run, from, to }: Stretch, tier: Tier, used: Use) -> Change<'_> {
        let bucket = self.account.warm.bucket(used.now);
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

    /// The engine has one name less in this tier for each block of a stretch. With the last one in any tier a block goes. What was in
    /// the first tier and is not there any more is not assumed to be either: the engine knows better.
    pub(super) fn unstore(&mut self, Stretch { run, from, to }: Stretch, tier: Tier) -> Change<'_> {
        self.change(run, from, to, false, |state| {
            let mut state = state?;
            let copies = &mut state.copies[tier as usize];
            if *copies == 0 {
                return Some(state);
            }
            *copies -= 1;
            if *copies == 0 && tier == Tier::Gpu {
                state.assumed = None;
            }
            state.is_held().then_some(state)
        })
    }

    /// Forgets the assumed blocks of a stretch for which `when` holds.
    pub(super) fn forget(
        &mut self,
        Stretch { run, from, to }: Stretch,
        when: impl Fn(&State) -> bool,
    ) -> Change<'_> {
        self.change(run, from, to, false, |state| match state {
            Some(state) if state.assumed.is_some() && when(&state) => state.unassumed(),
            other => other,
        })
    }

    /// The last use of what the cache gives up next.
    pub(super) fn oldest(&mut self) -> Option<u64> {
        self.next_to_go().map(|(_, span)| span.state.used)
    }

    /// How many of the blocks that the cache gives up next make up `tokens`.
    pub(super) fn blocks_to_give_up(&mut self, tokens: u64) -> u32 {
        self.next_to_go().map_or(0, |(_, span)| {
            let blocks = tokens.div_ceil(u64::from(span.state.tokens.max(1)));
            u32::try_from(blocks).unwrap_or(u32::MAX)
        })
    }

    /// Gives up at most `blocks` of what was used least recently: they are no longer assumed.
    ///
    /// If they are `lost` against expectation, they still count as warm for as long as they would have: they were wanted lately, and
    /// an endpoint that loses what is wanted has no room to spare.
    pub(super) fn give_up(&mut self, blocks: u32, lost: bool) -> Option<Change<'_>> {
        let (turn, span) = self.next_to_go()?;
        let blocks = blocks.min(span.to - span.from);
        let (from, to) = match turn.order {
            EvictionOrder::TailFirst => (span.to - blocks, span.to),
            EvictionOrder::HeadFirst => (span.from, span.from + blocks),
        };
        Some(self.change(turn.run, from, to, lost, |state| {
            let state = state.map(|state| if lost { State { bucket: None, ..state } } else { state });
            state.and_then(State::unassumed)
        }))
    }

    /// Gives up the last blocks of what is held of a run, all that are left or at most `most`, whatever the reason was. Nothing is moved
    /// to give room back: what remains goes too, as soon as others have had their turn.
    #[cfg(feature = "std")]
    pub(super) fn lose(&mut self, run: RunId, most: u32) -> Option<Change<'_>> {
        let stretches = &self.runs.get(&run)?.stretches;
        let (begin, end) = (stretches.first()?.0, stretches.last()?.1);
        if end - begin > most {
            return Some(self.change(run, end - most, end, false, |_| None));
        }
        let held = self.runs.remove(&run)?;
        for span in &held.spans {
            self.account.change(span.to - span.from, Some(span.state), None, false);
        }
        self.count -= held.spans.len();
        self.allocated -= held.allocated();
        self.before.clear();
        self.before.extend_from_slice(&held.stretches);
        self.after.clear();
        Some(Change { run, before: &self.before, after: &self.after })
    }

    /// The state of a block, if it is held.
    pub(super) fn state(&self, Address { run, offset }: Address) -> Option<State> {
        let (spans, offset) = (&self.runs.get(&run)?.spans, u32::from(offset));
        let at = spans.partition_point(|span| span.to <= offset);
        spans.get(at).filter(|span| span.from <= offset).map(|span| span.state)
    }

    /// The span around a block that is stored in this tier.
    pub(super) fn stored_around(&self, address: Address, tier: Tier) -> Option<Stretch> {
        let (run, offset) = (address.run, u32::from(address.offset));
        let spans = &self.runs.get(&run)?.spans;
        let span = spans.get(spans.partition_point(|span| span.to <= offset))?;
        let stored = span.from <= offset && span.state.copies(tier) > 0;
        stored.then_some(Stretch { run, from: span.from, to: span.to })
    }

    /// How far the blocks of a run are held without a hole, from `from` on.
    pub(super) fn held_until(&self, run: RunId, from: u32) -> u32 {
        let stretches = self.runs.get(&run).map_or(&[][..], |held| &held.stretches);
        let at = stretches.partition_point(|(_, to)| *to <= from);
        stretches.get(at).filter(|(begin, _)| *begin <= from).map_or(from, |(_, to)| *to)
    }

    /// Whether any block of a run is held.
    #[cfg(feature = "std")]
    pub(super) fn holds(&self, run: RunId) -> bool {
        self.runs.contains_key(&run)
    }

    /// The runs of which any block is held, and the stretches.
    pub(super) fn runs(&self) -> impl Iterator<Item = (RunId, &[(u32, u32)])> {
        self.runs.iter().map(|(run, held)| (*run, &held.stretches[..]))
    }

    /// How many of a stretch's blocks, which are all held, are in each tier, by the nearest that they are in.
    pub(super) fn tiers(&self, Stretch { run, from, to }: Stretch) -> [u32; Tier::ALL.len()] {
        let mut blocks = [0; Tier::ALL.len()];
        let spans = self.runs.get(&run).map_or(&[][..], |held| &held.spans);
        for span in &spans[spans.partition_point(|span| span.to <= from)..] {
            blocks[span.state.tier() as usize] += span.to.min(to).saturating_sub(span.from.max(from));
        }
        blocks
    }

    /// The blocks that the engine stores, stretch by stretch, and the tiers that they are in.
    pub(super) fn stored(&self) -> impl Iterator<Item = (Stretch, Tier)> + '_ {
        self.runs.iter().flat_map(|(run, held)| held.spans.iter().map(move |span| (*run, span))).flat_map(
            |(run, Span { from, to, state })| {
                let there = Tier::ALL.into_iter().filter(|tier| state.copies[*tier as usize] > 0);
                there.map(move |tier| (Stretch { run, from: *from, to: *to }, tier))
            },
        )
    }

    /// Blocks that are held.
    pub(super) const fn held(&self) -> usize {
        self.account.held
    }

    /// Those of them that are only in tiers below the first.
    pub(super) const fn below(&self) -> usize {
        self.account.below
    }

    /// What is allocated, in bytes.
    pub(super) fn allocated(&self) -> usize {
        self.allocated
            + map_bytes(&self.runs)
            + self.queue.capacity() * size_of::<Turn>()
            + self.names.allocated()
            + (self.before.capacity() + self.after.capacity()) * size_of::<(u32, u32)>()
            + self.spare.capacity() * size_of::<Span>()
    }

    /// How much more might be, at most, once it holds so many blocks more, in so many stretches.
    pub(super) fn growth(&self, blocks: usize, stretches: usize) -> usize {
        let queued = self.queue.len() + stretches > self.queue.capacity();
        let turns = if queued { self.queue.capacity() + stretches } else { 0 };
        // In a dictionary of its own, each block may be alone in a span.
        let spans = if self.names.are_own() { blocks } else { stretches };
        map_growth(&self.runs, stretches)
            + self.names.growth(blocks)
            + turns * size_of::<Turn>()
            + 2 * self.allocated
            + (SPARE + 2 * spans) * size_of::<Span>()
    }

    pub(super) const fn assumed_blocks(&self) -> usize {
        self.account.assumed.blocks
    }

    pub(super) const fn assumed_tokens(&self) -> u64 {
        self.account.assumed.tokens
    }

    pub(super) const fn stored_tokens(&self) -> u64 {
        self.account.stored.tokens
    }

    pub(super) fn warm_tokens(&self, now: Instant) -> u64 {
        self.account.warm.tokens(now)
    }

    pub(super) const fn is_precise(&self) -> bool {
        self.account.precise
    }
}

impl Holding {
    /// Gives every block of a stretch another state, piece by piece: what is in one state before is in one state after.
    /// Computes in **O(spans of the stretch)**, and O(log spans) for the others.
    fn change(
        &mut self,
        run: RunId,
        from: u32,
        to: u32,
        lost: bool,
        mut state_after: impl FnMut(Option<State>) -> Option<State>,
    ) -> Change<'_> {
        let Self { runs, count, account, allocated, before, after, spare, .. } = self;
        let mut entry = match runs.entry(run) {
            Entry::Occupied(entry) => entry,
            Entry::Vacant(entry) => entry.insert_entry(Held::default()),
        };
        let held = entry.get_mut();
        before.clear();
        after.clear();
        if let Some((old, new)) = held.change_end(from, to, &mut state_after, before, after) {
            account.change(to - from, old, new, lost);
            return Change { run, before, after };
        }
        *allocated -= held.allocated();
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
            account.change(to - from, old, new, lost);
            new
        };
        // The spans that overlap the stretch, and its neighbours: they may grow together.
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
        if !same_blocks {
            held.stretches_after(from, to, spare, before, after);
        }
        splice(&mut held.spans, first..last, spare);
        if held.spans.is_empty() {
            entry.remove();
            if runs.capacity() > 4 * runs.len() + SPARE {
                runs.shrink_to(2 * runs.len());
            }
        } else {
            *allocated += held.allocated();
        }
        Change { run, before, after }
    }

    /// Writes everything but the sums, in the order of the runs.
    pub(super) fn save(&self, writer: &mut Writer, now: Instant) {
        writer.u8(u8::from(self.is_precise()));
        writer.u64(self.uses.get());
        writer.u64(self.account.warm.width());
        let mut runs: Vec<_> = self.runs.iter().collect();
        runs.sort_unstable_by_key(|(run, _)| **run);
        writer.count(runs.len());
        for (run, held) in runs {
            writer.u32(*run);
            writer.count(held.spans.len());
            for Span { from, to, state } in &held.spans {
                writer.u32(*from);
                writer.u32(*to);
                writer.u64(state.assumed.map_or(0, NonZeroU64::get));
                writer.u64(state.used);
                state.copies.iter().for_each(|copies| writer.u16(*copies));
                writer.u32(state.tokens);
                writer.u8(u8::from(state.computed));
                let age = state.bucket.and_then(|bucket| self.account.warm.age(bucket, now));
                writer.u8(age.map_or(COLD, |age| age as u8));
            }
        }
        let turns = || self.queue.iter().filter(|turn| self.span_of(**turn).is_some());
        writer.count(turns().count());
        for Turn { number, run, order } in turns() {
            writer.u64(number.get());
            writer.u32(*run);
            writer.u8(*order as u8);
        }
        self.names.save(writer);
    }

    /// Reads what an endpoint holds of `runs`.
    pub(super) fn load(
        reader: &mut Reader<'_>,
        keyed: Keyed,
        warm: WarmWindow,
        now: Instant,
        runs: &Runs,
    ) -> Result<Self, SnapshotError> {
        let precise = reader.u8()? != 0;
        let mut holding = Self::new(keyed, warm, precise);
        holding.uses = NonZeroU64::new(reader.u64()?).ok_or_else(|| reader.damaged())?;
        let same_width = reader.u64()? == holding.account.warm.width();
        for _ in 0..reader.count(4 + 8 + SPAN_BYTES)? {
            let run = reader.u32()?;
            let held = holding.load_run(reader, now, same_width, runs.length(run))?;
            holding.allocated += held.allocated();
            holding.count += held.spans.len();
            reader.require(holding.runs.insert(run, held).is_none())?;
        }
        for _ in 0..reader.count(TURN_BYTES)? {
            let number = NonZeroU64::new(reader.u64()?).ok_or_else(|| reader.damaged())?;
            let (run, order) = (reader.u32()?, eviction_order(reader.u8()?));
            holding.queue.push_back(Turn { number, run, order: order.ok_or_else(|| reader.damaged())? });
        }
        holding.names = Names::load(reader, keyed)?;
        let stored = |address| holding.state(address).is_some_and(|state| state.stored());
        reader.require(holding.names.iter().all(|(_, address, _)| stored(address)))?;
        Ok(holding)
    }

    fn load_run(
        &mut self,
        reader: &mut Reader<'_>,
        now: Instant,
        same_width: bool,
        length: u32,
    ) -> Result<Held, SnapshotError> {
        let mut held = Held::default();
        let count = reader.count(SPAN_BYTES)?;
        held.spans.reserve_exact(count);
        let mut end = 0;
        for _ in 0..count {
            let (from, to) = (reader.u32()?, reader.u32()?);
            reader.require(end <= from && from < to && to <= length)?;
            let (assumed, used) = (NonZeroU64::new(reader.u64()?), reader.u64()?);
            let copies = [reader.u16()?, reader.u16()?, reader.u16()?];
            let (tokens, computed, age) = (reader.u32()?, reader.u8()? != 0, reader.u8()?);
            let bucket = self.account.warm.aged(now, u64::from(age)).filter(|_| same_width && age != COLD);
            let state = State { assumed, used, copies, tokens, computed, bucket };
            reader.require(state.is_held() && assumed.is_none_or(|number| number <= self.uses))?;
            reader.require(tokens <= MAX_BLOCK_TOKENS)?;
            self.account.change(to - from, None, Some(state), false);
            match held.stretches.last_mut() {
                Some(stretch) if stretch.1 == from => stretch.1 = to,
                _ => held.stretches.push((from, to)),
            }
            match held.spans.last_mut() {
                Some(last) if last.to == from && last.state == state => last.to = to,
                _ => held.spans.push(Span { from, to, state }),
            }
            end = to;
        }
        reader.require(!held.spans.is_empty())?;
        Ok(held)
    }

    /// Says which invariant is broken, if one is.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let (mut assumed, mut stored, mut held, mut count) = ((0, 0), (0, 0), 0, 0);
        for Held { spans, stretches } in self.runs.values() {
            let mut whole: Vec<(u32, u32)> = Vec::new();
            for span in spans {
                match whole.last_mut() {
                    Some((_, to)) if *to == span.from => *to = span.to,
                    _ => whole.push((span.from, span.to)),
                }
            }
            if whole != stretches[..] {
                return Err("stretches are what spans make up");
            }
            let touching = |pair: &[Span]| pair[0].to == pair[1].from && pair[0].state == pair[1].state;
            if spans.is_empty() || spans.windows(2).any(|pair| pair[0].to > pair[1].from || touching(pair)) {
                return Err("spans are in order, and as long as they can be");
            }
            count += spans.len();
            for Span { from, to, state } in spans {
                let (blocks, tokens) = ((to - from) as usize, u64::from(to - from) * u64::from(state.tokens));
                held += blocks;
                if state.assumed.is_some() {
                    assumed = (assumed.0 + blocks, assumed.1 + tokens);
                }
                if state.stored() {
                    stored = (stored.0 + blocks, stored.1 + tokens);
                }
            }
        }
        if self.runs.values().map(Held::allocated).sum::<usize>() != self.allocated {
            return Err("what spans have allocated is counted");
        }
        let account = &self.account;
        let sums = [(account.assumed, assumed), (account.stored, stored)];
        if held != account.held || sums.iter().any(|(tally, sum)| (tally.blocks, tally.tokens) != *sum) {
            return Err("the sums are the sums");
        }
        let turns = self.runs.iter().flat_map(|(run, held)| {
            held.spans.iter().filter_map(|span| span.state.assumed.map(|number| (number, *run)))
        });
        let queued = |(number, run)| self.queue.iter().any(|turn| turn.number == number && turn.run == run);
        if count == self.count && turns.into_iter().all(queued) {
            Ok(())
        } else {
            Err("what is assumed has a turn")
        }
    }

    /// What the cache gives up next, and the use that it was last a part of.
    fn next_to_go(&mut self) -> Option<(Turn, Span)> {
        loop {
            let turn = *self.queue.front()?;
            match self.span_of(turn) {
                Some(span) => return Some((turn, span)),
                None => self.queue.pop_front(),
            };
        }
    }

    /// What is left of a use of a run, and goes first.
    fn span_of(&self, turn: Turn) -> Option<Span> {
        let mut spans = self.runs.get(&turn.run)?.spans.iter();
        let mine = |span: &&Span| span.state.assumed == Some(turn.number);
        match turn.order {
            EvictionOrder::TailFirst => spans.rfind(mine),
            EvictionOrder::HeadFirst => spans.find(mine),
        }
        .copied()
    }
}

impl Held {
    /// What most changes are: the last span grows at its end, or loses it. Says what state the blocks were in and are in; nothing, with
    /// nothing changed, if it is another change than these.
    fn change_end(
        &mut self,
        from: u32,
        to: u32,
        mut state_after: impl FnMut(Option<State>) -> Option<State>,
        before: &mut Vec<(u32, u32)>,
        after: &mut Vec<(u32, u32)>,
    ) -> Option<(Option<State>, Option<State>)> {
        let (span, stretch) = (self.spans.last_mut()?, self.stretches.last_mut()?);
        let state = Some(span.state);
        let (end, states) = if span.to == from && from < to && state_after(None) == state {
            (to, (None, state))
        } else if span.to == to && span.from < from && from < to && state_after(state).is_none() {
            (from, (state, None))
        } else {
            return None;
        };
        before.push(*stretch);
        (span.to, stretch.1) = (end, end);
        after.push(*stretch);
        Some(states)
    }

    /// Between `from` and `to`, the spans are about to be `spans` (which may begin before and end after). Says which stretches
    /// were there `before` and are there `after`.
    fn stretches_after(
        &mut self,
        from: u32,
        to: u32,
        spans: &[Span],
        before: &mut Vec<(u32, u32)>,
        after: &mut Vec<(u32, u32)>,
    ) {
        let first = self.stretches.partition_point(|stretch| stretch.1 < from);
        let last = first + self.stretches[first..].partition_point(|stretch| stretch.0 <= to);
        before.extend_from_slice(&self.stretches[first..last]);
        let outside = |edge: fn(&(u32, u32), u32) -> (u32, u32), at: u32| {
            before.iter().map(move |stretch| edge(stretch, at)).filter(|(from, to)| from < to)
        };
        let inside = spans.iter().map(|span| (span.from.max(from), span.to.min(to)));
        let pieces = outside(|stretch, from| (stretch.0, stretch.1.min(from)), from)
            .chain(inside.filter(|(from, to)| from < to))
            .chain(outside(|stretch, to| (stretch.0.max(to), stretch.1), to));
        for (from, to) in pieces {
            match after.last_mut() {
                Some((_, end)) if *end == from => *end = to,
                _ => after.push((from, to)),
            }
        }
        splice(&mut self.stretches, first..last, after);
    }

    fn allocated(&self) -> usize {
        let spans = if self.spans.spilled() { self.spans.capacity() * size_of::<Span>() } else { 0 };
        let spilled = self.stretches.spilled();
        spans + if spilled { self.stretches.capacity() * size_of::<(u32, u32)>() } else { 0 }
    }
}

/// Puts `new` in the place of some items, and gives room back that is not needed any more.
fn splice<A: Array>(items: &mut SmallVec<A>, range: Range<usize>, new: &[A::Item])
where
    A::Item: Copy,
{
    let same = range.len().min(new.len());
    items[range.start..range.start + same].copy_from_slice(&new[..same]);
    let rest = range.start + same;
    if new.len() > same {
        items.insert_from_slice(rest, &new[same..]);
    } else {
        items.drain(rest..range.end);
        if items.spilled() && items.len() < items.capacity() / 4 {
            items.shrink_to_fit();
        }
    }
}

impl State {
    const fn new(used: Use) -> Self {
        let copies = [0; Tier::ALL.len()];
        Self { assumed: None, used: 0, copies, tokens: used.block_tokens, computed: false, bucket: None }
    }

    /// Whether the engine says that it is there.
    pub(super) fn stored(&self) -> bool {
        self.copies != [0; Tier::ALL.len()]
    }

    /// The nearest tier that it is in: what is assumed is in the first.
    pub(super) fn tier(&self) -> Tier {
        let stored = Tier::ALL.into_iter().find(|tier| self.copies[*tier as usize] > 0);
        stored.filter(|_| self.assumed.is_none()).unwrap_or_default()
    }

    /// Names under which it is stored in a tier.
    pub(super) const fn copies(&self, tier: Tier) -> u16 {
        self.copies[tier as usize]
    }

    fn is_held(&self) -> bool {
        self.assumed.is_some() || self.stored()
    }

    fn unassumed(self) -> Option<Self> {
        self.stored().then_some(Self { assumed: None, ..self })
    }
}

/// Room that is not worth giving back.
const SPARE: usize = 64;
/// What a span takes in a snapshot.
const SPAN_BYTES: usize = 4 + 4 + 8 + 8 + 6 + 4 + 1 + 1;
/// What a turn takes in a snapshot.
const TURN_BYTES: usize = 8 + 4 + 1;
/// No engine has blocks as long as this; of shorter ones, no sum of tokens overflows.
const MAX_BLOCK_TOKENS: u32 = 1 << 24;
/// The age of what is not warm.
const COLD: u8 = u8::MAX;
