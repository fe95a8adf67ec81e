//! Runs by number, in chunks: a slab that grows moves at most its first chunk.

use alloc::vec::Vec;
use core::ops::{Index, IndexMut};

use super::run::Run;
use crate::prefix::address::RunId;

/// Runs by number.
#[derive(Debug, Default)]
pub(super) struct Slab {
    /// All but the last one are full. The first one doubles up to [`CHUNK`] runs, and the others
    /// have capacity for them.
    chunks: Vec<Vec<Run>>,
    /// Runs for which chunks have memory.
    capacity: usize,
}

impl Slab {
    pub(super) fn len(&self) -> usize {
        self.chunks.last().map_or(0, |last| (self.chunks.len() - 1) * CHUNK + last.len())
    }

    #[inline]
    pub(super) fn get(&self, run: RunId) -> Option<&Run> {
        let at = run as usize;
        self.chunks.get(at / CHUNK)?.get(at % CHUNK)
    }

    /// All runs, by number.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Run> {
        self.chunks.iter().flatten()
    }

    /// Adds a run, and returns its number.
    pub(super) fn push(&mut self, run: Run) -> RunId {
        let number = self.len();
        if number == self.capacity {
            self.grow();
        }
        if let Some(last) = self.chunks.last_mut() {
            last.push(run);
        }
        number as RunId
    }

    /// Allocated bytes without those of the runs' contents. Computes in **O(1)**.
    pub(super) fn allocated(&self) -> usize {
        self.capacity * size_of::<Run>() + self.chunks.capacity() * size_of::<Vec<Run>>()
    }

    /// Upper limit of additional bytes with this number of new runs.
    pub(super) fn growth(&self, new: usize) -> usize {
        let len = self.len() + new;
        if len <= self.capacity {
            return 0;
        }
        let grown = if len <= CHUNK { 2 * len + FIRST } else { len.next_multiple_of(CHUNK) };
        let chunks = 2 * grown.div_ceil(CHUNK) + LEAST_CHUNKS;
        grown.saturating_sub(self.capacity) * size_of::<Run>() + chunks * size_of::<Vec<Run>>()
    }

    /// Makes room for one more run, where all chunks are full.
    fn grow(&mut self) {
        match &mut self.chunks[..] {
            [first] if first.len() < CHUNK => first.reserve_exact(first.len()),
            [] => self.chunks.push(Vec::with_capacity(FIRST)),
            _ => self.chunks.push(Vec::with_capacity(CHUNK)),
        }
        let (first, others) =
            self.chunks.split_first().map_or((0, 0), |(f, o)| (f.capacity(), o.len()));
        self.capacity = first + others * CHUNK;
    }
}

impl Index<RunId> for Slab {
    type Output = Run;

    #[inline]
    fn index(&self, run: RunId) -> &Run {
        &self.chunks[run as usize / CHUNK][run as usize % CHUNK]
    }
}

impl IndexMut<RunId> for Slab {
    #[inline]
    fn index_mut(&mut self, run: RunId) -> &mut Run {
        &mut self.chunks[run as usize / CHUNK][run as usize % CHUNK]
    }
}

/// Runs of a chunk, 32 KiB.
const CHUNK: usize = 256;
/// Runs of the first chunk when it begins.
const FIRST: usize = 4;
/// The least capacity of a list that is not empty.
const LEAST_CHUNKS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prefix::hash::BlockHash;

    #[test]
    fn runs_keep_their_numbers_and_their_chunks() {
        let mut slab = Slab::default();
        for number in 0..3_000 {
            let foreseen = slab.allocated() + slab.growth(1);
            let chunks: Vec<_> = slab.chunks.iter().skip(1).map(Vec::as_ptr).collect();
            let run = slab.push(Run { first: BlockHash(number), ..Run::new() });
            assert_eq!((u64::from(run), slab.len() as u64), (number, number + 1));
            assert!(slab.allocated() <= foreseen, "{number}");
            let stay = slab.chunks.iter().skip(1).map(Vec::as_ptr).zip(chunks);
            assert!(stay.into_iter().all(|(now, before)| now == before));
            assert!(slab.chunks.iter().all(|chunk| chunk.capacity() <= CHUNK));
            let bytes: usize =
                slab.chunks.iter().map(|chunk| chunk.capacity() * size_of::<Run>()).sum();
            assert_eq!(slab.allocated() - slab.chunks.capacity() * size_of::<Vec<Run>>(), bytes);
        }
        assert!((0..3_000).all(|run| slab[run].first == BlockHash(u64::from(run))));
        assert!(slab.iter().map(|run| run.first.0).eq(0..3_000));
        assert!(slab.get(3_000).is_none());
    }

    #[test]
    fn the_growth_for_many_runs_is_foreseen() {
        for new in [1, 3, 5, 200, 257, 2_000] {
            for before in [0, 1, 7, 255, 256, 300] {
                let mut slab = Slab::default();
                (0..before).for_each(|_| _ = slab.push(Run::new()));
                let foreseen = slab.allocated() + slab.growth(new);
                (0..new).for_each(|_| _ = slab.push(Run::new()));
                assert!(slab.allocated() <= foreseen, "{new} behind {before}");
            }
        }
    }
}
