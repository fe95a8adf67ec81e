//! The spans of one run that an endpoint holds, and their changes.

use core::ops::Range;

use smallvec::{Array, SmallVec};

use super::run_map::OfRun;
use crate::prefix::address::{Coverage, RunId};
use crate::prefix::block_state::State;

/// The held blocks of one run.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) run: RunId,
    /// Sorted and not empty; adjacent spans differ in state.
    pub(super) spans: SmallVec<[Span; 1]>,
    /// The number of blocks up to the first hole.
    pub(super) prefix: u32,
}

/// Blocks of a run in one state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) state: State,
}

/// What a frequent change left of the spans of a run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Frequent {
    Done,
    /// The only span is to be removed.
    Ended,
    /// The change is another one, and nothing happened.
    Other,
}

impl OfRun for Held {
    fn run(&self) -> RunId {
        self.run
    }
}

impl Held {
    pub(super) fn of_one(run: RunId, span: Span) -> Self {
        let prefix = if span.from == 0 { span.to } else { 0 };
        Self { run, spans: SmallVec::from_buf([span]), prefix }
    }

    /// How much of the run is held.
    pub(super) fn coverage(&self) -> Coverage {
        let end = self.spans.last().map_or(0, |span| span.to);
        Coverage { prefix: self.prefix, end }
    }

    /// The stretches that the spans make up without a hole.
    #[cfg(any(test, feature = "internals"))]
    pub(super) fn stretches(&self) -> impl Iterator<Item = (u32, u32)> {
        self.spans.chunk_by(|one, next| one.to == next.from).filter_map(|spans| {
            let (first, last) = (spans.first()?, spans.last()?);
            Some((first.from, last.to))
        })
    }

    /// The span that contains a block.
    pub(super) fn span_at(&self, offset: u32) -> Option<&Span> {
        let span = self.spans.get(self.place_of(offset))?;
        (span.from <= offset && offset < span.to).then_some(span)
    }

    /// The state of these blocks if they are one span.
    pub(super) fn state_of(&mut self, (from, to): (u32, u32)) -> Option<&mut State> {
        let at = self.place_of(from);
        let span = self.spans.get_mut(at)?;
        ((span.from, span.to) == (from, to)).then_some(&mut span.state)
    }

    /// The place of the span that would contain a block, which is usually the last one.
    fn place_of(&self, offset: u32) -> usize {
        match self.spans.last() {
            Some(last) if last.from <= offset => self.spans.len() - 1,
            _ => self.spans.partition_point(|span| span.to <= offset),
        }
    }

    /// Handles the most frequent changes: the blocks come where none are; or they are in one span
    /// and keep their state, are one span and have another state, or leave from inside a span or
    /// from the end of the last one. `count` receives the states of the blocks before and after, if
    /// they differ.
    pub(super) fn change_frequently(
        &mut self,
        (from, to): (u32, u32),
        mut state_after: impl FnMut(Option<State>) -> Option<State>,
        mut count: impl FnMut(Option<State>, Option<State>),
    ) -> Frequent {
        let spans = self.spans.len();
        let Some(last) = self.spans.last_mut() else { return Frequent::Other };
        // The end of a prompt or an answer: no other change is as frequent.
        if last.to == from && from < to {
            let Some(state) = state_after(None) else { return Frequent::Done };
            count(None, Some(state));
            if self.prefix == from {
                self.prefix = to;
            }
            if state == last.state {
                last.to = to;
            } else {
                self.spans.push(Span { from, to, state });
            }
            return Frequent::Done;
        }
        let at = if last.to <= from {
            spans
        } else if last.from <= from {
            spans - 1
        } else {
            self.spans.partition_point(|span| span.to <= from)
        };
        let there = self.spans.get(at).filter(|span| span.from < to);
        let Some(&Span { from: begin, to: end, state }) = there else {
            if let Some(state) = state_after(None).filter(|_| from < to) {
                count(None, Some(state));
                self.fill(at, Span { from, to, state });
            }
            return Frequent::Done;
        };
        if from < begin || end < to {
            return Frequent::Other;
        }
        let new = state_after(Some(state));
        if new == Some(state) {
            return Frequent::Done;
        }
        let is_whole = (begin, end) == (from, to);
        match new {
            Some(new) if is_whole && !self.merges(at, new) => self.spans[at].state = new,
            None if begin < from && to < end => self.split(at, (from, to)),
            None if is_whole && spans == 1 => {
                count(Some(state), None);
                return Frequent::Ended;
            }
            None if at + 1 == spans && to == end => self.shorten(from),
            _ => return Frequent::Other,
        }
        count(Some(state), new);
        Frequent::Done
    }

    /// Adds blocks where none are, before the span `at`.
    fn fill(&mut self, at: usize, new: Span) {
        let (before, behind) = self.spans.split_at_mut(at);
        let is_same = |other: &&mut Span| other.state == new.state;
        let before = before.last_mut().filter(|span| span.to == new.from).filter(is_same);
        let behind = behind.first_mut().filter(|span| span.from == new.to).filter(is_same);
        match (before, behind) {
            (Some(before), None) => before.to = new.to,
            (None, Some(behind)) => behind.from = new.from,
            (None, None) => self.spans.insert(at, new),
            (Some(before), Some(behind)) => {
                before.to = behind.to;
                self.spans.remove(at);
                release(&mut self.spans);
            }
        }
        self.measure_prefix(new.from, at.saturating_sub(1));
    }

    /// Removes the blocks of the last span from `from` on, which are not all that are held.
    fn shorten(&mut self, from: u32) {
        self.prefix = self.prefix.min(from);
        match self.spans.last_mut() {
            Some(last) if last.from < from => last.to = from,
            _ => {
                self.spans.pop();
                release(&mut self.spans);
            }
        }
    }

    /// Removes blocks from inside a span.
    fn split(&mut self, at: usize, (from, to): (u32, u32)) {
        self.prefix = self.prefix.min(from);
        let rest = Span { from: to, ..self.spans[at] };
        self.spans[at].to = from;
        self.spans.insert(at + 1, rest);
    }

    /// Whether a span would merge with a neighbour if it had this state.
    fn merges(&self, at: usize, new: State) -> bool {
        let Span { from, to, .. } = self.spans[at];
        let merges = |other: &Span| other.state == new && (other.to == from || other.from == to);
        let before = at.checked_sub(1).and_then(|before| self.spans.get(before));
        before.is_some_and(merges) || self.spans.get(at + 1).is_some_and(merges)
    }

    /// Finds the first hole again, after a change from `from` on. The spans before the one with
    /// number `first` end before that.
    pub(super) fn measure_prefix(&mut self, from: u32, first: usize) {
        if self.prefix < from {
            return;
        }
        self.prefix = from;
        for span in &self.spans[first..] {
            if span.from > self.prefix {
                break;
            }
            self.prefix = span.to.max(from);
        }
    }

    pub(super) fn allocated(&self) -> usize {
        if self.spans.spilled() { self.spans.capacity() * size_of::<Span>() } else { 0 }
    }
}

/// Replaces items by `new`, and releases unneeded capacity.
pub(super) fn splice<A: Array>(items: &mut SmallVec<A>, range: Range<usize>, new: &[A::Item])
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
        release(items);
    }
}

/// Releases unneeded capacity.
fn release<A: Array>(items: &mut SmallVec<A>) {
    if items.spilled() && items.len() < items.capacity() / 4 {
        items.shrink_to_fit();
    }
}
