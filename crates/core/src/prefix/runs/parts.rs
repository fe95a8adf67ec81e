//! The parts of a run in order: one list while they are few, and chunks of them otherwise.
//!
//! A hole replaces one part by two. In one list, that would move all parts behind them. A change of
//! chunks moves at most one chunk.

use alloc::vec::Vec;
use core::cmp::Ordering;
use core::mem;

use smallvec::SmallVec;

use crate::prefix::set::EndpointSet;

/// The endpoints that hold exactly this stretch of a run.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) endpoints: EndpointSet,
}

/// Parts with different stretches, by begin, longer ones first.
#[derive(Debug)]
pub(super) struct Parts(Form);

#[derive(Debug)]
enum Form {
    List(SmallVec<[Part; 1]>),
    /// None is empty, and each has capacity for [`CHUNK`] parts.
    Chunks(Vec<Vec<Part>>),
}

impl Parts {
    pub(super) fn new() -> Self {
        Self(Form::List(SmallVec::new()))
    }

    /// The parts in order.
    #[inline]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Part> {
        let (list, chunks): (&[Part], &[Vec<Part>]) = match &self.0 {
            Form::List(list) => (list, &[]),
            Form::Chunks(chunks) => (&[], chunks),
        };
        list.iter().chain(chunks.iter().flatten())
    }

    /// The only part, if there is one.
    #[inline]
    pub(super) fn only_mut(&mut self) -> Option<&mut Part> {
        match &mut self.0 {
            Form::List(list) if list.len() == 1 => list.first_mut(),
            _ => None,
        }
    }

    /// The part with this stretch. Computes in **O(log parts)**.
    pub(super) fn get_mut(&mut self, stretch: (u32, u32)) -> Option<&mut Part> {
        match &mut self.0 {
            Form::List(list) => {
                let at = place(list, stretch).ok()?;
                list.get_mut(at)
            }
            Form::Chunks(chunks) => {
                let chunk = chunk_of(chunks, stretch);
                let at = place(&chunks[chunk], stretch).ok()?;
                chunks[chunk].get_mut(at)
            }
        }
    }

    /// The part with this stretch, which is added if there is none. Computes in
    /// **O(log parts + [`CHUNK`])**.
    pub(super) fn get_or_insert(&mut self, stretch: (u32, u32)) -> &mut Part {
        let (from, to) = stretch;
        let new = || Part { from, to, endpoints: EndpointSet::default() };
        if let Form::List(list) = &mut self.0 {
            if list.len() == CHUNK && place(list, stretch).is_err() {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.extend(list.drain(..));
                self.0 = Form::Chunks(alloc::vec![chunk]);
            }
        }
        match &mut self.0 {
            Form::List(list) => {
                let at = place(list, stretch).unwrap_or_else(|at| {
                    list.insert(at, new());
                    at
                });
                &mut list[at]
            }
            Form::Chunks(chunks) => {
                let mut chunk = chunk_of(chunks, stretch);
                let mut at = place(&chunks[chunk], stretch);
                if let Err(place) = at.as_mut() {
                    if chunks[chunk].len() == CHUNK {
                        let mut half = Vec::with_capacity(CHUNK);
                        half.extend(chunks[chunk].drain(CHUNK / 2..));
                        chunks.insert(chunk + 1, half);
                        if *place > CHUNK / 2 {
                            (chunk, *place) = (chunk + 1, *place - CHUNK / 2);
                        }
                    }
                    chunks[chunk].insert(*place, new());
                }
                let (Ok(at) | Err(at)) = at;
                &mut chunks[chunk][at]
            }
        }
    }

    /// Removes the part with this stretch. Computes in **O(log parts + [`CHUNK`])**.
    pub(super) fn remove(&mut self, stretch: (u32, u32)) {
        match &mut self.0 {
            Form::List(list) => {
                let Ok(at) = place(list, stretch) else { return };
                list.remove(at);
                if list.spilled() && list.len() < list.capacity() / 4 {
                    list.shrink_to_fit();
                }
            }
            Form::Chunks(chunks) => {
                let chunk = chunk_of(chunks, stretch);
                let Ok(at) = place(&chunks[chunk], stretch) else { return };
                chunks[chunk].remove(at);
                self.merge(chunk);
            }
        }
    }

    /// The parts for which memory is allocated.
    pub(super) fn capacity(&self) -> usize {
        match &self.0 {
            Form::List(list) => list.capacity(),
            Form::Chunks(chunks) => chunks.len() * CHUNK,
        }
    }

    /// Allocated bytes without those of sets.
    #[inline]
    pub(super) fn allocated(&self) -> usize {
        match &self.0 {
            Form::List(list) if list.spilled() => list.capacity() * size_of::<Part>(),
            Form::List(_) => 0,
            Form::Chunks(chunks) => {
                let chunk = CHUNK * size_of::<Part>();
                chunks.len() * chunk + chunks.capacity() * size_of::<Vec<Part>>()
            }
        }
    }

    /// Merges a small chunk with one beside it, and the last one into a list.
    fn merge(&mut self, chunk: usize) {
        let Form::Chunks(chunks) = &mut self.0 else { return };
        if chunks[chunk].len() > CHUNK / 4 {
            return;
        }
        if let [last] = &mut chunks[..] {
            let list = mem::take(last).into_iter().collect();
            self.0 = Form::List(list);
            return;
        }
        let fit = |first: &usize| {
            let len = |chunk: usize| chunks.get(chunk).map_or(CHUNK, Vec::len);
            len(*first) + len(first.wrapping_add(1)) <= CHUNK * 3 / 4
        };
        if let Some(first) = [chunk, chunk.wrapping_sub(1)].into_iter().find(fit) {
            let second = chunks.remove(first + 1);
            chunks[first].extend(second);
            if chunks.len() < chunks.capacity() / 4 {
                chunks.shrink_to_fit();
            }
        }
    }
}

/// The place of a stretch among parts, or where it would be.
fn place(parts: &[Part], stretch: (u32, u32)) -> Result<usize, usize> {
    parts.binary_search_by(|part| order((part.from, part.to), stretch))
}

/// The chunk that contains a stretch, or to which it would be added.
fn chunk_of(chunks: &[Vec<Part>], stretch: (u32, u32)) -> usize {
    let is_before = |chunk: &Vec<Part>| {
        chunk.last().is_some_and(|last| order((last.from, last.to), stretch) == Ordering::Less)
    };
    chunks.partition_point(is_before).min(chunks.len() - 1)
}

fn order(one: (u32, u32), other: (u32, u32)) -> Ordering {
    one.0.cmp(&other.0).then(other.1.cmp(&one.1))
}

/// Limit of parts in a list or a chunk.
const CHUNK: usize = 64;

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;
    use core::cmp::Reverse;

    use proptest::prelude::*;

    use super::*;

    /// Chunks are neither empty nor too long, and have the counted capacity.
    fn check(parts: &Parts) {
        match &parts.0 {
            Form::List(list) => assert!(list.len() <= CHUNK),
            Form::Chunks(chunks) => {
                assert!(!chunks.is_empty());
                for chunk in chunks {
                    assert!((1..=CHUNK).contains(&chunk.len()));
                    assert_eq!(chunk.capacity(), CHUNK);
                }
            }
        }
    }

    proptest! {
        /// Parts are added and removed in waves, compared with a sorted set.
        #[test]
        fn behave_like_a_sorted_set(
            waves in prop::collection::vec((any::<bool>(), 0u32..40, 1u32..9, 0usize..250), 0..12),
        ) {
            let (mut parts, mut model) = (Parts::new(), BTreeSet::new());
            for (add, begin, step, count) in waves {
                for number in (begin..).step_by(step as usize).take(count) {
                    // A multiplication modulo a prime visits the stretches in a mixed order.
                    let mixed = number * 61 % 1_009;
                    let (from, to) = (mixed / 4, mixed / 4 + 1 + mixed % 4);
                    if add {
                        let part = parts.get_or_insert((from, to));
                        prop_assert_eq!((part.from, part.to), (from, to));
                        model.insert((from, Reverse(to)));
                    } else {
                        parts.remove((from, to));
                        model.remove(&(from, Reverse(to)));
                    }
                    let found = parts.get_mut((from, to)).is_some();
                    prop_assert_eq!(found, model.contains(&(from, Reverse(to))));
                    prop_assert_eq!(parts.only_mut().is_some(), model.len() == 1);
                }
                check(&parts);
                let stretches = parts.iter().map(|part| (part.from, Reverse(part.to)));
                prop_assert!(stretches.eq(model.iter().copied()));
            }
        }
    }

    #[test]
    fn what_leaves_gives_its_memory_back() {
        let mut parts = Parts::new();
        for from in 0..10_000 {
            parts.get_or_insert((from, from + 1));
        }
        check(&parts);
        let full = parts.allocated();
        assert!(full < 3 * 10_000 * size_of::<Part>(), "{full} bytes");
        (0..9_990).for_each(|from| parts.remove((from * 7 % 9_990, from * 7 % 9_990 + 1)));
        check(&parts);
        assert_eq!(parts.iter().count(), 10);
        assert!(parts.allocated() < full / 50, "{} bytes", parts.allocated());
    }
}
