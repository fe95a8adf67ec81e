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

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::account::{Account, Tally};
use super::keyed::Keyed;
use super::limits::Use;
use super::names::Names;
use super::runs::RunId;
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
    uses: u64,
    pub(super) names: Names,
    account: Account,
    /// What `change` found and left: kept to be used again.
    before: Vec<(u32, u32)>,
    after: Vec<(u32, u32)>,
    spare: Vec<Span>,
}

/// What is held of one run.
#[derive(Debug, Default)]
struct Held {
    /// In order, none empty, and no two that touch in the same state.
    spans: Vec<Span>,
    /// The stretches that the spans make up without a gap.
    stretches: Vec<(u32, u32)>,
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
    pub(super) assumed: Option<u64>,
    /// Names under which the engine stores it. Usually one; several where the engine tells blocks apart that we do not.
    pub(super) names: u32,
    pub(super) tokens: u32,
    /// The last use.
    pub(super) used: u64,
    /// Whether it has been there, and not only on its way.
    pub(super) computed: bool,
    /// The time of its last use, if it counts as warm.
    pub(super) bucket: Option<Bucket>,
}

/// One use of one run, waiting to be given up.
#[derive(Clone, Copy, Debug)]
struct Turn {
    number: u64,
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
            uses: 0,
            names: Names::new(keyed),
            account: Account { assumed: Tally::default(), stored: Tally::default(), held: 0, warm, precise },
            before: Vec::new(),
            after: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// Begins a use of the cache: its number.
    pub(super) fn begin_use(&mut self) -> u64 {
        self.uses += 1;
        self.uses
    }

    /// Takes a stretch to be held from now on.
    pub(super) fn assume(&mut self, run: RunId, from: u32, to: u32, number: u64, used: Use) -> Change<'_> {
        let precise = self.account.precise;
        let bucket = self.account.warm.bucket(used.now);
        self.change(run, from, to, false, |state| {
            let state = state.unwrap_or_else(|| State::new(used));
            let warm = !precise || state.names > 0;
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
    pub(super) fn end_use(&mut self, number: u64, runs: &[RunId], order: EvictionOrder) {
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

    /// The engine stores a stretch, under one more name for each block.
    pub(super) fn store(&mut self, run: RunId, from: u32, to: u32, used: Use) -> Change<'_> {
        let bucket = self.account.warm.bucket(used.now);
        self.change(run, from, to, false, |state| {
            let state = state.unwrap_or_else(|| State::new(used));
            let (names, bucket) = (state.names.saturating_add(1), Some(bucket));
            Some(State { names, used: used.stamp, computed: true, bucket, ..state })
        })
    }

    /// The engine has one name less for each block of a stretch. With the last one a block goes, also if it was assumed: the
    /// engine knows better.
    pub(super) fn unstore(&mut self, run: RunId, from: u32, to: u32) -> Change<'_> {
        self.change(run, from, to, false, |state| {
            state.filter(|state| state.names > 1).map(|state| State { names: state.names - 1, ..state })
        })
    }

    /// Forgets the assumed blocks of a stretch for which `when` holds.
    pub(super) fn forget(
        &mut self,
        run: RunId,
        from: u32,
        to: u32,
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

    /// The state of a block, if it is held.
    pub(super) fn state(&self, run: RunId, offset: u32) -> Option<State> {
        let spans = &self.runs.get(&run)?.spans;
        let at = spans.partition_point(|span| span.to <= offset);
        spans.get(at).filter(|span| span.from <= offset).map(|span| span.state)
    }

    /// How far the blocks of a run are held without a hole, from `from` on.
    pub(super) fn held_until(&self, run: RunId, from: u32) -> u32 {
        let stretches = self.runs.get(&run).map_or(&[][..], |held| &held.stretches);
        let at = stretches.partition_point(|(_, to)| *to <= from);
        stretches.get(at).filter(|(begin, _)| *begin <= from).map_or(from, |(_, to)| *to)
    }

    /// The runs of which any block is held, and the stretches.
    pub(super) fn runs(&self) -> impl Iterator<Item = (RunId, &[(u32, u32)])> {
        self.runs.iter().map(|(run, held)| (*run, &held.stretches[..]))
    }

    /// Blocks and names.
    pub(super) fn entries(&self) -> usize {
        self.account.held + self.names.len()
    }

    /// Blocks and names that stay until the engine says otherwise.
    pub(super) fn fixed_entries(&self) -> usize {
        self.account.stored.blocks + self.names.len()
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
        let Self { runs, count, account, before, after, spare, .. } = self;
        let mut entry = match runs.entry(run) {
            Entry::Occupied(entry) => entry,
            Entry::Vacant(entry) => entry.insert_entry(Held::default()),
        };
        let held = entry.get_mut();
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
        before.clear();
        after.clear();
        if !same_blocks {
            held.stretches_after(from, to, spare, before, after);
        }
        if held.spans.capacity() == 0 {
            held.spans.reserve_exact(spare.len());
        }
        held.spans.splice(first..last, spare.drain(..));
        if held.spans.is_empty() {
            entry.remove();
        }
        Change { run, before, after }
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
            if whole != *stretches {
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
                if state.names > 0 {
                    stored = (stored.0 + blocks, stored.1 + tokens);
                }
            }
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
        if self.stretches.capacity() == 0 {
            self.stretches.reserve_exact(after.len());
        }
        self.stretches.splice(first..last, after.iter().copied());
    }
}

impl State {
    const fn new(used: Use) -> Self {
        Self { assumed: None, names: 0, tokens: used.block_tokens, used: 0, computed: false, bucket: None }
    }

    /// Whether the engine says that it is there.
    pub(super) const fn stored(&self) -> bool {
        self.names > 0
    }

    fn unassumed(self) -> Option<Self> {
        (self.names > 0).then_some(Self { assumed: None, ..self })
    }
}

/// Room that is not worth giving back.
const SPARE: usize = 64;
