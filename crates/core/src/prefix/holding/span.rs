//! The spans of one run that an endpoint holds, and their changes.

use alloc::vec::Vec;
use core::ops::Range;

use smallvec::{Array, SmallVec};

use crate::prefix::block_state::State;

/// The held blocks of one run.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Sorted and not empty; adjacent spans differ in state.
    pub(super) spans: SmallVec<[Span; 1]>,
    /// The stretches that the spans cover without a gap.
    pub(super) stretches: SmallVec<[(u32, u32); 2]>,
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

impl Held {
    pub(super) fn of_one(span: Span) -> Self {
        let (spans, mut stretches) = (SmallVec::from_buf([span]), SmallVec::new());
        stretches.push((span.from, span.to));
        Self { spans, stretches }
    }

    /// The span that contains a block, which is usually in the last one.
    pub(super) fn span_at(&self, offset: u32) -> Option<&Span> {
        let span = match self.spans.last() {
            Some(last) if last.from <= offset => last,
            _ => self.spans.get(self.spans.partition_point(|span| span.to <= offset))?,
        };
        (span.from <= offset && offset < span.to).then_some(span)
    }

    /// Handles the most frequent changes: the blocks are in one span and keep their state, are one
    /// span and have another state, are removed from inside a span, or the end of the last span
    /// moves, comes or goes. Appends the replaced stretch to `before`, and the new ones to `after`.
    /// `count` receives the states of the blocks before and after, if they differ.
    pub(super) fn change_frequently(
        &mut self,
        (from, to): (u32, u32),
        mut state_after: impl FnMut(Option<State>) -> Option<State>,
        mut count: impl FnMut(Option<State>, Option<State>),
        before: &mut Vec<(u32, u32)>,
        after: &mut Vec<(u32, u32)>,
    ) -> Frequent {
        let spans = self.spans.len();
        let (Some(last), Some(stretch)) = (self.spans.last_mut(), self.stretches.last_mut()) else {
            return Frequent::Other;
        };
        if last.to == from && from < to {
            let Some(state) = state_after(None) else { return Frequent::Other };
            count(None, Some(state));
            before.push(*stretch);
            stretch.1 = to;
            after.push(*stretch);
            if state == last.state {
                last.to = to;
            } else {
                self.spans.push(Span { from, to, state });
            }
            return Frequent::Done;
        }
        let is_last = last.from <= from;
        let at =
            if is_last { spans - 1 } else { self.spans.partition_point(|span| span.to <= from) };
        let Span { from: begin, to: end, state } = self.spans[at];
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
            None if begin < from && to < end => self.split(at, (from, to), before, after),
            None if is_whole && spans == 1 => {
                before.extend(self.stretches.last());
                count(Some(state), None);
                return Frequent::Ended;
            }
            None if is_last && to == end => self.shorten(from, before, after),
            _ => return Frequent::Other,
        }
        count(Some(state), new);
        Frequent::Done
    }

    /// Removes the blocks of the last span from `from` on, which are not all that are held.
    fn shorten(&mut self, from: u32, before: &mut Vec<(u32, u32)>, after: &mut Vec<(u32, u32)>) {
        let (Some(last), Some(stretch)) = (self.spans.last_mut(), self.stretches.last_mut()) else {
            return;
        };
        before.push(*stretch);
        if stretch.0 < from {
            stretch.1 = from;
            after.push(*stretch);
        } else {
            self.stretches.pop();
            release(&mut self.stretches);
        }
        if last.from < from {
            last.to = from;
        } else {
            self.spans.pop();
            release(&mut self.spans);
        }
    }

    /// Removes blocks from inside a span.
    fn split(
        &mut self,
        at: usize,
        (from, to): (u32, u32),
        before: &mut Vec<(u32, u32)>,
        after: &mut Vec<(u32, u32)>,
    ) {
        let Span { to: end, state, .. } = self.spans[at];
        self.spans[at].to = from;
        self.spans.insert(at + 1, Span { from: to, to: end, state });
        let at = self.stretches.partition_point(|stretch| stretch.1 <= from);
        let stretch = self.stretches[at];
        self.stretches[at].1 = from;
        self.stretches.insert(at + 1, (to, stretch.1));
        before.push(stretch);
        after.extend([(stretch.0, from), (to, stretch.1)]);
    }

    /// Whether a span would merge with a neighbour if it had this state.
    fn merges(&self, at: usize, new: State) -> bool {
        let Span { from, to, .. } = self.spans[at];
        let merges = |other: &Span| other.state == new && (other.to == from || other.from == to);
        let before = at.checked_sub(1).and_then(|before| self.spans.get(before));
        before.is_some_and(merges) || self.spans.get(at + 1).is_some_and(merges)
    }

    /// Updates the stretches before `spans` replace the spans between `from` and `to`, which may
    /// extend beyond both. Appends the replaced stretches to `before`, and the new ones to `after`.
    pub(super) fn stretches_after(
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

    pub(super) fn allocated(&self) -> usize {
        let spans =
            if self.spans.spilled() { self.spans.capacity() * size_of::<Span>() } else { 0 };
        let spilled = self.stretches.spilled();
        spans + if spilled { self.stretches.capacity() * size_of::<(u32, u32)>() } else { 0 }
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
