//! Runs: consecutive blocks, and how many of them each endpoint holds.
//!
//! A *run* is a sequence of consecutive blocks, stored once for all its holders. A block's hash
//! covers all blocks before it, so a table of the runs' first blocks is sufficient to follow a
//! prompt. Where a run ends, or the prompt differs, the next block begins another run or is
//! unknown.
//!
//! ```text
//! run 0   s0 s1 s2 s3 a4 a5 a6 a7 a8       parts   9 of {2}   4 of {0, 1, 3}
//! run 1               b4 b5 b6             parts   3 of {0}
//! ```
//!
//! Endpoint 2 holds the prompt `s0..a8`; 0 holds `s0..s3` and `b4..b6`; 1 and 3 hold the shared
//! beginning. A *part* is the set of endpoints that hold exactly so many blocks up to their first
//! hole. Blocks behind a hole are of no use to a prompt, and are only in the
//! [holdings](super::holding); the last of them are in parts too, since there the run ends.
//!
//! A block may have a *name*, its engine hash. Engines that agree share one dictionary, from name
//! to address.
//!
//! A block's address never changes. Blocks without holders are removed at a run's end at once;
//! inside a run they remain while later blocks have holders. The list of free runs is part of
//! snapshots, so both are kept here rather than in the `slab` crate.

#[cfg(any(test, feature = "internals"))]
mod check;
mod common_prefix;
mod heads;
mod lookup;
mod parts;
mod run;
mod slab;
mod snapshot;

use alloc::vec::Vec;
use core::mem;

use super::address::{Address, Coverage, Hint, RunId, Stretch};
use super::event::EngineHash;
use super::hash::BlockHash;
use super::keyed_state::KeyedState;
use super::table::{BATCH, Place, Table};
use heads::Heads;
use parts::Part;
use run::{GROWTH, Run, SPARE_BLOCKS, extend, grow, push};
use slab::Slab;

/// All runs.
#[derive(Debug)]
pub(super) struct Runs {
    slab: Slab,
    free: Vec<RunId>,
    /// First blocks, by hash.
    heads: Heads,
    /// Named blocks, by name.
    names: Table,
    /// Bytes allocated by the runs.
    allocated: usize,
}

impl Runs {
    pub(super) fn new(hash_state: KeyedState) -> Self {
        Self {
            slab: Slab::default(),
            free: Vec::new(),
            heads: Heads::new(hash_state),
            names: Table::new(hash_state),
            allocated: 0,
        }
    }

    /// The blocks of `chain` from `at` on that are consecutive in one run; `None` if the first is
    /// unknown. If the block before is inside a run, its address is required to find the blocks
    /// after it there.
    pub(super) fn stretch(
        &self,
        before: Option<Address>,
        chain: &[BlockHash],
        at: usize,
    ) -> Option<Stretch> {
        let rest = chain.get(at..)?;
        let first = *rest.first()?;
        let Address { run, offset } = before
            .map(|Address { run, offset }| Address { run, offset: offset + 1 })
            .filter(|behind| self.hash(*behind) == Some(first))
            .or_else(|| self.head(first))?;
        let from = u32::from(offset);
        let length = self.slab[run].extent(from as usize, rest);
        Some(Stretch { run, from, to: from + length as u32 })
    }

    /// The stretches of `chain` from its first block on, up to the first unknown block.
    pub(super) fn walk<'a>(
        &'a self,
        chain: &'a [BlockHash],
    ) -> impl Iterator<Item = (usize, Stretch)> + 'a {
        let mut at = 0;
        core::iter::from_fn(move || {
            let stretch = self.stretch(None, chain, at)?;
            at += stretch.len();
            Some((at - stretch.len(), stretch))
        })
    }

    /// The block at an address.
    pub(super) fn hash(&self, Address { run, offset }: Address) -> Option<BlockHash> {
        self.slab.get(run)?.blocks.get(offset as usize).copied()
    }

    /// The run that begins with this block. An absent one takes no call.
    #[inline]
    pub(super) fn head(&self, hash: BlockHash) -> Option<Address> {
        if self.heads.may_contain(hash) { self.find_head(hash) } else { None }
    }

    /// The same, after the filter.
    #[inline(never)]
    fn find_head(&self, hash: BlockHash) -> Option<Address> {
        self.heads.get(hash, |at| self.is_head(at, hash))
    }

    /// Whether the run at this address begins with this block.
    #[inline]
    fn is_head(&self, at: Address, hash: BlockHash) -> bool {
        at.offset == 0 && self.slab[at.run].begins_with(hash)
    }

    /// Number of blocks of `chain`, from the first on, with which no run begins.
    pub(super) fn unknown(&self, chain: &[BlockHash]) -> usize {
        chain.iter().take_while(|hash| self.head(**hash).is_none()).count()
    }

    /// The block with this name in the shared dictionary.
    pub(super) fn named(&self, name: EngineHash) -> Option<Address> {
        let is_name = name != ANONYMOUS;
        is_name.then(|| self.names.get(name.0, |hint| named_at(&self.slab, Hint(hint), name)))?
    }

    /// The shared name of a block.
    pub(super) fn name(&self, Address { run, offset }: Address) -> Option<EngineHash> {
        let name = self.slab[run].names.get(offset as usize).copied();
        name.filter(|name| *name != ANONYMOUS)
    }

    /// Whether this block of the shared dictionary has this name.
    pub(super) fn is_named(&self, Address { run, offset }: Address, name: EngineHash) -> bool {
        let run = self.slab.get(run);
        name != ANONYMOUS && run.is_some_and(|run| run.names.get(offset as usize) == Some(&name))
    }

    /// A block's hash, and the hash of the block before it in its run.
    pub(super) fn hashes(&self, address: Address) -> Option<(BlockHash, Option<BlockHash>)> {
        let blocks = &self.slab.get(address.run)?.blocks;
        let at = address.offset as usize;
        Some((*blocks.get(at)?, at.checked_sub(1).map(|before| blocks[before])))
    }

    /// How many of these names, from the first on, are the names of the blocks before this one, in
    /// descending order.
    pub(super) fn named_before(&self, address: Address, names: &[EngineHash]) -> usize {
        let column = &self.slab[address.run].names;
        let before = column[..address.offset as usize].iter().rev().zip(names);
        before.take_while(|(there, name)| there == name && **name != ANONYMOUS).count()
    }

    /// Prefetches the entries of these names.
    pub(super) fn touch(&self, names: &[EngineHash]) {
        names.iter().for_each(|name| self.names.touch(self.names.place(name.0)));
    }

    /// Prefetches the entry of a run that begins with this block, or will begin with it.
    pub(super) fn touch_head(&self, hash: BlockHash) {
        self.heads.touch(hash);
    }

    /// Creates blocks for `chain` from `at` up to the first known one, in the run of `before` if it
    /// ends there. The caller must add a holder before any other operation.
    pub(super) fn create(
        &mut self,
        before: Option<Address>,
        chain: &[BlockHash],
        at: usize,
    ) -> Stretch {
        let behind = before.filter(|before| {
            let next = usize::from(before.offset) + 1;
            self.slab[before.run].blocks.len() == next && next < MAX_RUN
        });
        let run = behind.map_or_else(|| self.begin_run(chain[at]), |before| before.run);
        let from = self.slab[run].blocks.len();
        // The first is unknown; others may be known, where the blocks before them were lost.
        let most = (chain.len() - at).min(MAX_RUN - from);
        let new = 1 + self.unknown(&chain[at + 1..at + most]);
        let run_ = &mut self.slab[run];
        let columns = run_.columns();
        extend(&mut run_.blocks, &chain[at..at + new]);
        if !run_.names.is_empty() {
            grow(&mut run_.names, new);
            run_.names.resize(from + new, ANONYMOUS);
        }
        run_.last = chain[at + new - 1];
        self.allocated = self.allocated + run_.columns() - columns;
        Stretch { run, from: from as u32, to: (from + new) as u32 }
    }

    /// Creates a block with this name behind `before`, if that is the end of a run with names, and
    /// neither the block nor the name is known. The caller must add a holder before any other
    /// operation.
    pub(super) fn append(
        &mut self,
        before: Address,
        hash: BlockHash,
        name: EngineHash,
    ) -> Option<Address> {
        let end = usize::from(before.offset) + 1;
        let run = &self.slab[before.run];
        let is_end = run.blocks.len() == end && run.names.len() == end && end < MAX_RUN;
        if !is_end || name == ANONYMOUS || self.head(hash).is_some() {
            return None;
        }
        let Self { slab, names, .. } = self;
        let address = Address { run: before.run, offset: end as u16 };
        let there = |hint| named_at(slab, Hint(hint), name);
        if names.get_or_insert_at(names.place(name.0), Hint::of(address).0, there).is_some() {
            return None;
        }
        let run = &mut slab[before.run];
        let columns = run.columns();
        push(&mut run.blocks, hash);
        push(&mut run.names, name);
        run.last = hash;
        self.allocated = self.allocated + run.columns() - columns;
        Some(address)
    }

    /// Gives the blocks of a stretch these shared names. Returns how many, from the first on,
    /// succeeded. The next block has another name, or the name another block.
    pub(super) fn call(&mut self, stretch: Stretch, names: &[EngineHash]) -> usize {
        let run = &mut self.slab[stretch.run];
        if run.names.is_empty() {
            let columns = run.columns();
            run.names.reserve_exact(run.blocks.capacity());
            run.names.resize(run.blocks.len(), ANONYMOUS);
            self.allocated = self.allocated + run.columns() - columns;
        }
        let from = stretch.from as usize;
        let is_known =
            |(current, name): &(&EngineHash, &EngineHash)| current == name && **name != ANONYMOUS;
        let mut done = run.names[from..].iter().zip(names).take_while(is_known).count();
        if let [name] = names[done..] {
            let address = Address { run: stretch.run, offset: (from + done) as u16 };
            return done + usize::from(self.call_one(address, name));
        }
        while done < names.len() {
            let batch = &names[done..names.len().min(done + BATCH)];
            let called = self.call_batch(stretch.run, from + done, batch);
            done += called;
            if called < batch.len() {
                break;
            }
        }
        done
    }

    /// Names the blocks of a run from `from` on, as [`call`](Self::call) does.
    fn call_batch(&mut self, run: RunId, from: usize, names: &[EngineHash]) -> usize {
        let here = &mut self.slab[run].names[from..from + names.len()];
        let addresses = (from..).map(|at| Address { run, offset: at as u16 });
        let mut done = 0;
        // Most batches name blocks that have no names.
        if is_anonymous(here) && !names.contains(&ANONYMOUS) {
            let hints = addresses.clone().map(|address| Hint::of(address).0);
            done = self.names.insert_new(names.iter().map(|name| name.0), hints);
            here[..done].copy_from_slice(&names[..done]);
        }
        let rest = addresses.zip(names).skip(done);
        done + rest.take_while(|(address, name)| self.call_one(*address, **name)).count()
    }

    /// Names one block. Returns whether the block and the name belong together or were both free.
    fn call_one(&mut self, address: Address, name: EngineHash) -> bool {
        let Self { slab, names, .. } = self;
        let current = slab[address.run].names[address.offset as usize];
        if name == ANONYMOUS || current != ANONYMOUS {
            return name == current && name != ANONYMOUS;
        }
        let there = |hint| named_at(slab, Hint(hint), name);
        let place = names.place(name.0);
        let is_free = names.get_or_insert_at(place, Hint::of(address).0, there).is_none();
        if is_free {
            slab[address.run].names[address.offset as usize] = name;
        }
        is_free
    }

    /// Records how much of a run the endpoint holds.
    pub(super) fn settle(&mut self, id: RunId, slot: u32, before: Coverage, after: Coverage) {
        if before == after {
            return;
        }
        let run = &mut self.slab[id];
        let is_alone = run.shift(slot, before, after);
        if !is_alone {
            let allocated = run.allocated();
            run.settle(slot, before, after);
            self.allocated = self.allocated + run.allocated() - allocated;
        }
        if after.end < before.end && before.end as usize == run.blocks.len() {
            let end = if is_alone { after.end } else { run.parts.end() };
            self.trim(id, end as usize);
        }
    }

    /// The length of a run.
    pub(super) fn length(&self, run: RunId) -> u32 {
        self.slab.get(run).map_or(0, |run| run.blocks.len() as u32)
    }

    /// Allocated bytes.
    pub(super) fn allocated(&self) -> usize {
        self.allocated
            + self.slab.allocated()
            + self.free.capacity() * size_of::<RunId>()
            + self.heads.allocated()
            + self.names.allocated()
    }

    /// Upper limit of additional bytes for this number of new blocks behind `before`, for the runs
    /// that begin among them, and for these names.
    pub(super) fn growth(
        &self,
        before: Option<Address>,
        blocks: usize,
        heads: &[BlockHash],
        names: &[EngineHash],
    ) -> usize {
        let column = before.map_or(0, |before| self.slab[before.run].blocks.capacity() / GROWTH);
        let blocks = blocks + blocks / GROWTH + column + SPARE_BLOCKS;
        let runs = heads.len().saturating_sub(self.free.len());
        let new = names.iter().filter(|name| self.named(**name).is_none());
        2 * blocks * size_of::<BlockHash>()
            + self.slab.growth(runs)
            + self.heads.growth(heads)
            + self.names.growth(new.map(|name| name.0))
    }

    /// Upper limit of additional bytes of a run's parts when an endpoint holds more of it.
    pub(super) fn unrest(&self, run: RunId, slot: u32) -> usize {
        let run = &self.slab[run];
        let parts = 2 * (run.parts.capacity() + 4) * size_of::<Part>();
        parts + 2 * run.sets + 4 * (slot as usize / 8 + size_of::<u64>())
    }

    fn begin_run(&mut self, head: BlockHash) -> RunId {
        let run = self.free.pop().unwrap_or_else(|| self.slab.push(Run::new()));
        self.slab[run].first = head;
        self.heads.insert(&self.slab, head, run);
        run
    }

    /// Removes blocks without holders, which are those from `end` on, and frees an empty run.
    fn trim(&mut self, id: RunId, end: usize) {
        let run = &mut self.slab[id];
        forget_names(&mut self.names, id, &mut run.names, end);
        if end == 0 {
            self.allocated -= run.allocated();
            let head = mem::replace(run, Run::new()).first;
            self.heads.remove(&self.slab, head, id);
            self.free.push(id);
            if self.free.len() == self.slab.len() {
                (self.slab, self.free) = (Slab::default(), Vec::new());
            }
        } else {
            run.blocks.truncate(end);
            run.last = run.blocks[end - 1];
            if run.blocks.capacity() > 2 * end + SPARE_BLOCKS {
                let columns = run.columns();
                run.blocks.shrink_to_fit();
                run.names.shrink_to_fit();
                self.allocated = self.allocated + run.columns() - columns;
            }
        }
    }
}

/// The block with this name, among those whose addresses have this hint.
fn named_at(slab: &Slab, hint: Hint, name: EngineHash) -> Option<Address> {
    for run in hint.runs() {
        let names = &slab.get(run)?.names;
        let mut offsets = hint.offsets().take_while(|offset| usize::from(*offset) < names.len());
        if let Some(offset) = offsets.find(|offset| names[usize::from(*offset)] == name) {
            return Some(Address { run, offset });
        }
    }
    None
}

/// Removes the names of a run's blocks from `end` on from its column and from the table.
fn forget_names(table: &mut Table, run: RunId, column: &mut Vec<EngineHash>, end: usize) {
    let end = end.min(column.len());
    let hint = |offset| Hint::of(Address { run, offset: offset as u16 }).0;
    if let [name] = column[end..] {
        if name != ANONYMOUS {
            table.remove_at(table.place(name.0), hint(end));
        }
    } else {
        for (batch, from) in column[end..].chunks(BATCH).zip((end..).step_by(BATCH)) {
            let mut places = [Place::default(); BATCH];
            let places = table.places(batch.iter().map(|name| name.0), &mut places);
            for ((name, place), offset) in batch.iter().zip(places).zip(from..) {
                if *name != ANONYMOUS {
                    table.remove_at(*place, hint(offset));
                }
            }
        }
    }
    column.truncate(end);
}

/// Whether none of these blocks has a name.
fn is_anonymous(column: &[EngineHash]) -> bool {
    column.iter().fold(0, |bits, name| bits | (name.0 ^ ANONYMOUS.0)) == 0
}

/// Limit of blocks in a run.
const MAX_RUN: usize = u16::MAX as usize;
/// The name of unnamed blocks. An engine that uses it gets a dictionary of its own.
const ANONYMOUS: EngineHash = EngineHash(0);
