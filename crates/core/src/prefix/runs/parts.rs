//! The parts of a run in order: one list while they are few, and chunks of them otherwise.
//!
//! In one list, a part that comes or goes would move all parts behind it. A change of chunks moves
//! at most one chunk.

use alloc::vec::Vec;
use core::{iter, mem};

use smallvec::SmallVec;

use crate::prefix::set::EndpointSet;

/// The endpoints that hold the same extent of a run.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) extent: Extent,
    pub(super) endpoints: EndpointSet,
}

/// What endpoints hold of a run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Extent {
    /// This number of blocks up to the first hole.
    Prefix(u32),
    /// A last block that ends here, behind a hole.
    Rest(u32),
}

/// Parts with different extents: prefixes first, and longer ones before shorter ones.
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
        let (mut list, mut chunks) = (list.iter(), chunks.iter());
        iter::from_fn(move || {
            loop {
                if let Some(part) = list.next() {
                    return Some(part);
                }
                list = chunks.next()?.iter();
            }
        })
    }

    /// The lengths of the prefixes, the longest first, and the endpoints that hold them.
    #[inline]
    pub(super) fn prefixes(&self) -> impl Iterator<Item = (u32, &EndpointSet)> {
        self.iter().map_while(|part| match part.extent {
            Extent::Prefix(length) => Some((length, &part.endpoints)),
            Extent::Rest(_) => None,
        })
    }

    /// The end of the last held block. Computes in **O(log parts)**.
    pub(super) fn end(&self) -> u32 {
        let longest = [Extent::Prefix(u32::MAX), Extent::Rest(u32::MAX)];
        let longest = longest.into_iter().filter_map(|extent| self.first_from(extent));
        longest.map(|part| part.extent.end()).max().unwrap_or(0)
    }

    /// The first part with this extent or a later one.
    fn first_from(&self, extent: Extent) -> Option<&Part> {
        let parts = match &self.0 {
            Form::List(list) => &list[..],
            Form::Chunks(chunks) => &chunks[chunk_of(chunks, extent)],
        };
        parts.get(place(parts, extent).unwrap_or_else(|at| at))
    }

    /// The only part, if there is one.
    #[inline]
    pub(super) fn only_mut(&mut self) -> Option<&mut Part> {
        match &mut self.0 {
            Form::List(list) if list.len() == 1 => list.first_mut(),
            _ => None,
        }
    }

    /// The part with this extent. Computes in **O(log parts)**.
    pub(super) fn get_mut(&mut self, extent: Extent) -> Option<&mut Part> {
        match &mut self.0 {
            Form::List(list) => {
                let at = place(list, extent).ok()?;
                list.get_mut(at)
            }
            Form::Chunks(chunks) => {
                let chunk = chunk_of(chunks, extent);
                let at = place(&chunks[chunk], extent).ok()?;
                chunks[chunk].get_mut(at)
            }
        }
    }

    /// The part with this extent, which is added if there is none. Computes in
    /// **O(log parts + [`CHUNK`])**.
    pub(super) fn get_or_insert(&mut self, extent: Extent) -> &mut Part {
        let new = || Part { extent, endpoints: EndpointSet::default() };
        if let Form::List(list) = &mut self.0 {
            if list.len() == CHUNK && place(list, extent).is_err() {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.extend(list.drain(..));
                self.0 = Form::Chunks(alloc::vec![chunk]);
            }
        }
        match &mut self.0 {
            Form::List(list) => {
                let at = place(list, extent).unwrap_or_else(|at| {
                    list.insert(at, new());
                    at
                });
                &mut list[at]
            }
            Form::Chunks(chunks) => {
                let mut chunk = chunk_of(chunks, extent);
                let mut at = place(&chunks[chunk], extent);
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

    /// Removes the part with this extent. Computes in **O(log parts + [`CHUNK`])**.
    pub(super) fn remove(&mut self, extent: Extent) {
        match &mut self.0 {
            Form::List(list) => {
                let Ok(at) = place(list, extent) else { return };
                list.remove(at);
                if list.spilled() && list.len() < list.capacity() / 4 {
                    list.shrink_to_fit();
                }
            }
            Form::Chunks(chunks) => {
                let chunk = chunk_of(chunks, extent);
                let Ok(at) = place(&chunks[chunk], extent) else { return };
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

impl Extent {
    const fn end(self) -> u32 {
        match self {
            Self::Prefix(end) | Self::Rest(end) => end,
        }
    }

    /// Its place in the order of parts.
    pub(super) const fn rank(self) -> u64 {
        let is_rest = matches!(self, Self::Rest(_)) as u64;
        (is_rest << 32) + (u32::MAX - self.end()) as u64
    }
}

/// The place of an extent among parts, or where it would be.
fn place(parts: &[Part], extent: Extent) -> Result<usize, usize> {
    parts.binary_search_by_key(&extent.rank(), |part| part.extent.rank())
}

/// The chunk that contains an extent, or to which it would be added.
fn chunk_of(chunks: &[Vec<Part>], extent: Extent) -> usize {
    let is_before =
        |chunk: &Vec<Part>| chunk.last().is_some_and(|last| last.extent.rank() < extent.rank());
    chunks.partition_point(is_before).min(chunks.len() - 1)
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
                    let (end, is_rest) = (1 + mixed / 2, mixed % 2 == 1);
                    let extent = if is_rest { Extent::Rest(end) } else { Extent::Prefix(end) };
                    if add {
                        prop_assert_eq!(parts.get_or_insert(extent).extent, extent);
                        model.insert((is_rest, Reverse(end)));
                    } else {
                        parts.remove(extent);
                        model.remove(&(is_rest, Reverse(end)));
                    }
                    let found = parts.get_mut(extent).is_some();
                    prop_assert_eq!(found, model.contains(&(is_rest, Reverse(end))));
                    prop_assert_eq!(parts.only_mut().is_some(), model.len() == 1);
                }
                check(&parts);
                let is_rest = |part: &Part| matches!(part.extent, Extent::Rest(_));
                let all = parts.iter().map(|part| (is_rest(part), Reverse(part.extent.end())));
                prop_assert!(all.eq(model.iter().copied()));
                let prefixes = model.iter().filter(|(is_rest, _)| !is_rest);
                prop_assert!(parts.prefixes().map(|(end, _)| end).eq(prefixes.map(|(_, end)| end.0)));
                prop_assert_eq!(parts.end(), model.iter().map(|(_, end)| end.0).max().unwrap_or(0));
            }
        }
    }

    #[test]
    fn what_leaves_gives_its_memory_back() {
        let mut parts = Parts::new();
        for from in 0..10_000 {
            parts.get_or_insert(Extent::Prefix(from));
        }
        check(&parts);
        let full = parts.allocated();
        assert!(full < 3 * 10_000 * size_of::<Part>(), "{full} bytes");
        (0..9_990).for_each(|from| parts.remove(Extent::Prefix(from * 7 % 9_990)));
        check(&parts);
        assert_eq!(parts.iter().count(), 10);
        assert!(parts.allocated() < full / 50, "{} bytes", parts.allocated());
    }
}
