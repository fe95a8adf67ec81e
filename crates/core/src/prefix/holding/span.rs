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

/// What became of the spans of a run.
#[derive(Clone, Copy, Debug)]
pub(super) enum Simple {
    Stayed,
    /// By blocks in this state.
    Grew(State),
    Shrank(State),
    /// All blocks of one span came from the first state to the second.
    Turned(State, State),
    /// The only span is to be removed.
    Ended(State),
    /// Blocks inside a span in this state are gone.
    Split(State),
    /// By a span in this state behind the last one.
    Appended(State),
    /// By the last span, of several, which was in this state.
    Dropped(State),
    Other,
}

impl Held {
    pub(super) fn of_one(span: Span) -> Self {
        let (spans, mut stretches) = (SmallVec::from_buf([span]), SmallVec::new());
        stretches.push((span.from, span.to));
        Self { spans, stretches }
    }

    /// Handles the most frequent changes: the blocks are in one span and keep their state, are one
    /// span and have another state, are removed from inside a span, or the end of the last span
    /// moves, comes or goes. Appends the replaced stretch to `before`, and the new ones to `after`.
    /// Any [other](Simple::Other) change has no effect.
    pub(super) fn change_simply(
        &mut self,
        from: u32,
        to: u32,
        mut state_after: impl FnMut(Option<State>) -> Option<State>,
        before: &mut Vec<(u32, u32)>,
        after: &mut Vec<(u32, u32)>,
    ) -> Simple {
        let spans = self.spans.len();
        let (Some(last), Some(stretch)) = (self.spans.last_mut(), self.stretches.last_mut()) else {
            return Simple::Other;
        };
        if last.to == from && from < to {
            let Some(state) = state_after(None) else { return Simple::Other };
            before.push(*stretch);
            stretch.1 = to;
            after.push(*stretch);
            if state == last.state {
                last.to = to;
                return Simple::Grew(state);
            }
            self.spans.push(Span { from, to, state });
            return Simple::Appended(state);
        }
        if last.from > from {
            let at = self.spans.partition_point(|span| span.to <= from);
            let span = self.spans[at];
            if from < span.from || span.to < to {
                return Simple::Other;
            }
            return match state_after(Some(span.state)) {
                Some(new) if new == span.state => Simple::Stayed,
                Some(new) if (span.from, span.to) == (from, to) => self.turn(at, new),
                None if span.from < from && to < span.to => self.split(at, from, to, before, after),
                _ => Simple::Other,
            };
        }
        if to > last.to {
            return Simple::Other;
        }
        let state = last.state;
        match state_after(Some(state)) {
            Some(new) if new == state => Simple::Stayed,
            Some(new) if (last.from, last.to) == (from, to) => self.turn(spans - 1, new),
            None if last.from < from && to < last.to => {
                self.split(spans - 1, from, to, before, after)
            }
            None if to == last.to && last.from < from => {
                before.push(*stretch);
                (last.to, stretch.1) = (from, from);
                after.push(*stretch);
                Simple::Shrank(state)
            }
            None if to == last.to && spans == 1 => {
                before.push(*stretch);
                Simple::Ended(state)
            }
            None if (last.from, last.to) == (from, to) => {
                before.push(*stretch);
                if stretch.0 < from {
                    stretch.1 = from;
                    after.push(*stretch);
                } else {
                    self.stretches.pop();
                }
                self.spans.pop();
                release(&mut self.spans);
                release(&mut self.stretches);
                Simple::Dropped(state)
            }
            _ => Simple::Other,
        }
    }

    /// Removes blocks from inside a span.
    fn split(
        &mut self,
        at: usize,
        from: u32,
        to: u32,
        before: &mut Vec<(u32, u32)>,
        after: &mut Vec<(u32, u32)>,
    ) -> Simple {
        let Span { to: end, state, .. } = self.spans[at];
        self.spans[at].to = from;
        self.spans.insert(at + 1, Span { from: to, to: end, state });
        let at = self.stretches.partition_point(|stretch| stretch.1 <= from);
        let stretch = self.stretches[at];
        self.stretches[at].1 = from;
        self.stretches.insert(at + 1, (to, stretch.1));
        before.push(stretch);
        after.extend([(stretch.0, from), (to, stretch.1)]);
        Simple::Split(state)
    }

    /// Gives a span another state, unless it would merge with a neighbour.
    fn turn(&mut self, at: usize, new: State) -> Simple {
        let Span { from, to, state } = self.spans[at];
        let merges = |other: &Span| other.state == new && (other.to == from || other.from == to);
        let before = at.checked_sub(1).and_then(|before| self.spans.get(before));
        if before.is_some_and(merges) || self.spans.get(at + 1).is_some_and(merges) {
            return Simple::Other;
        }
        self.spans[at].state = new;
        Simple::Turned(state, new)
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
