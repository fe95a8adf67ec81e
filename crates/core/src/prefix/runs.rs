//! What there is to hold: runs of blocks, and who holds which stretch of each.
//!
//! A *run* is a stretch of consecutive blocks, stored once however many endpoints hold it. A block's hash stands for everything
//! before it, so a table from the first block of each run to the run is all that a walk along a prompt needs: where a run ends, or
//! the prompt leaves it, the next block begins a run or is nowhere.
//!
//! ```text
//! run 0   s0 s1 s2 s3 a4 a5 a6 a7 a8       parts   [0,9) {2}   [0,4) {0, 1, 3}
//! run 1               b4 b5 b6             parts   [0,3) {0}
//! ```
//!
//! Endpoint 2 holds the prompt `s0..a8`; 0 holds `s0..s3` and `b4..b6`; 1 and 3 only the beginning that all share. A *part* names
//! the endpoints that hold exactly one stretch of a run: a stretch is maximal, so an endpoint with a hole is in two parts, and
//! any number of endpoints that hold the same stretch are one.
//!
//! Beside its hash, a block may have a *name*: what engines call it. Engines that agree share one dictionary, from name to address.
//!
//! A block's address never changes while it exists. Blocks that nobody holds are cut from a run's end at once; inside a run they
//! stay as long as somebody holds what comes behind them.

use alloc::vec::Vec;
use core::ops::Range;

use smallvec::SmallVec;

use super::codec::{Reader, SnapshotError, Writer};
use super::event::EngineHash;
use super::hash::BlockHash;
use super::holding::Holding;
use super::keyed::Keyed;
use super::set::EndpointSet;
use super::table::{Address, Table};

/// The number of a run.
pub(super) type RunId = u32;

/// All runs.
#[derive(Debug)]
pub(super) struct Runs {
    slab: Vec<Run>,
    free: Vec<RunId>,
    /// First blocks, by hash.
    heads: Table,
    /// Named blocks, by name.
    names: Table,
    /// What the runs in the slab have allocated.
    allocated: usize,
}

/// What a lookup reads is in here, in two cache lines side by side: both ends, and the first part.
#[derive(Debug)]
#[repr(align(64))]
struct Run {
    /// The first block: the table of heads does not know it whole.
    first: BlockHash,
    /// The last block: if a prompt has it at this place, it has all before it.
    last: BlockHash,
    /// By beginning, the longer first.
    parts: SmallVec<[Part; 1]>,
    blocks: Vec<BlockHash>,
    /// What engines call the blocks; empty if they call none of them anything.
    names: Vec<EngineHash>,
    /// What the parts' sets have allocated.
    sets: usize,
}

/// The endpoints that hold exactly this stretch of a run.
#[derive(Debug)]
struct Part {
    from: u32,
    to: u32,
    endpoints: EndpointSet,
}

/// Blocks of a chain that lie side by side in a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    pub(super) run: RunId,
    pub(super) from: u32,
    pub(super) to: u32,
}

impl Stretch {
    pub(super) const fn of_one(Address { run, offset }: Address) -> Self {
        let from = offset as u32;
        Self { run, from, to: from + 1 }
    }

    pub(super) const fn len(self) -> usize {
        (self.to - self.from) as usize
    }

    pub(super) const fn contains(self, Address { run, offset }: Address) -> bool {
        self.run == run && self.from <= offset as u32 && (offset as u32) < self.to
    }

    /// The first so many of its blocks.
    pub(super) const fn first(self, blocks: usize) -> Self {
        Self { to: self.from + blocks as u32, ..self }
    }

    /// The address of its last block.
    pub(super) const fn last(self) -> Address {
        Address { run: self.run, offset: (self.to - 1) as u16 }
    }
}

/// Who can still hold all of a prompt.
enum Reach<'a> {
    Everyone,
    These(&'a EndpointSet),
    Some(EndpointSet),
}

impl Runs {
    pub(super) fn new(keyed: Keyed) -> Self {
        let table = || Table::new(keyed);
        Self { slab: Vec::new(), free: Vec::new(), heads: table(), names: table(), allocated: 0 }
    }

    /// Visits levels: an endpoint holds as many blocks of `chain`, from the first on, as the deepest level that it is in says. A
    /// level may list endpoints that are in a deeper one too. Computes in **O(runs on the way × their parts)**, and allocates
    /// only where endpoints have holes.
    pub(super) fn levels(&self, chain: &[BlockHash], mut visit: impl FnMut(u32, &EndpointSet)) {
        let mut reach = Reach::Everyone;
        let mut depth = 0;
        while let Some(stretch) = self.stretch(None, chain, depth) {
            let whole = stretch.len();
            let mut next: Option<Reach<'_>> = None;
            for part in self.slab[stretch.run as usize].parts.iter().take_while(|p| p.from <= stretch.from) {
                if part.to <= stretch.from {
                    continue;
                }
                let here = reach.meet(&part.endpoints);
                let held = (part.to - stretch.from) as usize;
                if held < whole {
                    if let Some(endpoints) = here.endpoints().filter(|endpoints| !endpoints.is_empty()) {
                        visit((depth + held) as u32, endpoints);
                    }
                } else {
                    next = Some(match next {
                        None => here,
                        Some(before) => before.join(&here),
                    });
                }
            }
            let next = next.unwrap_or_else(|| Reach::Some(EndpointSet::default()));
            if let Some(endpoints) = reach.endpoints().filter(|endpoints| next.len() < endpoints.len()) {
                visit(depth as u32, endpoints);
            }
            reach = next;
            depth += whole;
            if reach.len() == 0 {
                return;
            }
        }
        if let Some(endpoints) = reach.endpoints() {
            visit(depth as u32, endpoints);
        }
    }

    /// Visits who holds which blocks of `chain`, as far as its blocks exist without a gap.
    pub(super) fn holders(&self, chain: &[BlockHash], mut visit: impl FnMut(Range<usize>, &EndpointSet)) {
        for (at, Stretch { run, from, to }) in self.walk(chain) {
            for part in self.slab[run as usize].parts.iter().take_while(|part| part.from < to) {
                let (begin, end) = (part.from.max(from), part.to.min(to));
                if begin < end {
                    visit(at + (begin - from) as usize..at + (end - from) as usize, &part.endpoints);
                }
            }
        }
    }

    /// The blocks of `chain` from `at` on that lie side by side in one run; none if the first is nowhere. The block before may be
    /// inside a run: then its address must be given, or what follows it there is not found.
    pub(super) fn stretch(&self, before: Option<Address>, chain: &[BlockHash], at: usize) -> Option<Stretch> {
        let rest = chain.get(at..)?;
        let first = *rest.first()?;
        let Address { run, offset } = before
            .map(|Address { run, offset }| Address { run, offset: offset + 1 })
            .filter(|behind| self.hash(*behind) == Some(first))
            .or_else(|| self.head(first))?;
        let (run_, from) = (&self.slab[run as usize], offset as usize);
        let whole = run_.blocks.len() - from;
        let length = match rest.get(whole - 1) {
            Some(hash) if *hash == run_.last => whole,
            _ => common(&run_.blocks[from..], rest),
        };
        Some(Stretch { run, from: from as u32, to: (from + length) as u32 })
    }

    /// The stretches of `chain`, from its first block on, as far as its blocks exist without a gap.
    pub(super) fn walk<'a>(&'a self, chain: &'a [BlockHash]) -> impl Iterator<Item = (usize, Stretch)> + 'a {
        let mut at = 0;
        core::iter::from_fn(move || {
            let stretch = self.stretch(None, chain, at)?;
            at += stretch.len();
            Some((at - stretch.len(), stretch))
        })
    }

    /// The block at an address, if there is one.
    pub(super) fn hash(&self, Address { run, offset }: Address) -> Option<BlockHash> {
        self.slab.get(run as usize)?.blocks.get(offset as usize).copied()
    }

    /// The run that begins with this block.
    pub(super) fn head(&self, hash: BlockHash) -> Option<Address> {
        self.heads.get(hash.0, |at| at.offset == 0 && self.slab[at.run as usize].begins_with(hash))
    }

    /// The block that the engines that agree call so.
    pub(super) fn named(&self, name: EngineHash) -> Option<Address> {
        self.names.get(name.0, |at| self.name(at) == Some(name))
    }

    /// What those engines call a block.
    pub(super) fn name(&self, Address { run, offset }: Address) -> Option<EngineHash> {
        let name = self.slab[run as usize].names.get(offset as usize).copied();
        name.filter(|name| *name != ANONYMOUS)
    }

    /// Brings near what is looked at when blocks are called by these names.
    pub(super) fn touch(&self, names: &[EngineHash]) {
        names.iter().for_each(|name| self.names.touch(name.0));
    }

    /// Makes blocks for `chain` from `at` on, up to the first that exists: in the run of the block `before`, if that ends there.
    /// Somebody must hold them before anything else happens.
    pub(super) fn create(&mut self, before: Option<Address>, chain: &[BlockHash], at: usize) -> Stretch {
        let behind = before.filter(|before| {
            let next = usize::from(before.offset) + 1;
            self.slab[before.run as usize].blocks.len() == next && next < MAX_RUN
        });
        let run = behind.map_or_else(|| self.begin_run(chain[at]), |before| before.run);
        let (slab, heads) = (&self.slab, &self.heads);
        let is_head =
            |hash: &BlockHash| heads.get(hash.0, |at| slab[at.run as usize].begins_with(*hash)).is_some();
        let from = slab[run as usize].blocks.len();
        // The first is known to be nowhere; others may be, where what came before them was lost.
        let most = (chain.len() - at).min(MAX_RUN - from);
        let new = 1 + chain[at + 1..at + most].iter().take_while(|hash| !is_head(hash)).count();
        let run_ = &mut self.slab[run as usize];
        self.allocated -= run_.allocated();
        extend(&mut run_.blocks, &chain[at..at + new]);
        if !run_.names.is_empty() {
            grow(&mut run_.names, new);
            run_.names.resize(from + new, ANONYMOUS);
        }
        run_.last = chain[at + new - 1];
        self.allocated += run_.allocated();
        Stretch { run, from: from as u32, to: (from + new) as u32 }
    }

    /// The engines that agree call the blocks of a stretch by these names: how many of them, from the first on, can be called so. The
    /// next has another name by now, or the name another block.
    pub(super) fn call(&mut self, stretch: Stretch, names: &[EngineHash]) -> usize {
        let run = &mut self.slab[stretch.run as usize];
        if run.names.is_empty() {
            self.allocated -= run.allocated();
            run.names.reserve_exact(run.blocks.capacity());
            run.names.resize(run.blocks.len(), ANONYMOUS);
            self.allocated += run.allocated();
        }
        for ((place, name), offset) in (stretch.from as usize..).zip(names).zip(stretch.from as u16..) {
            let current = self.slab[stretch.run as usize].names[place];
            if current == *name && *name != ANONYMOUS {
                continue;
            }
            let done = place - stretch.from as usize;
            if current != ANONYMOUS || *name == ANONYMOUS {
                return done;
            }
            let slab = &self.slab;
            let is = |at: Address| slab[at.run as usize].names.get(at.offset as usize) == Some(name);
            if self.names.get_or_insert(name.0, Address { run: stretch.run, offset }, is).is_some() {
                return done;
            }
            self.slab[stretch.run as usize].names[place] = *name;
        }
        stretch.len()
    }

    /// The endpoint held the stretches `before` of a run, and holds `after` from now on.
    pub(super) fn settle(&mut self, id: RunId, slot: u32, before: &[(u32, u32)], after: &[(u32, u32)]) {
        if before == after {
            return;
        }
        let run = &mut self.slab[id as usize];
        self.allocated -= run.allocated();
        match (before, after) {
            (&[before], &[after]) => run.shift(before, after, slot),
            _ => {
                let gone = before.iter().filter(|stretch| !after.contains(stretch));
                gone.for_each(|stretch| run.leave(*stretch, slot));
                let new = after.iter().filter(|stretch| !before.contains(stretch));
                new.for_each(|stretch| run.enter(*stretch, slot));
            }
        }
        self.allocated += run.allocated();
        let end = |stretches: &[(u32, u32)]| stretches.last().map_or(0, |(_, to)| *to);
        if end(before) as usize == run.blocks.len() && end(after) < end(before) {
            self.trim(id);
        }
    }

    /// Writes the blocks and their names; who holds them follows from the holdings.
    pub(super) fn save(&self, writer: &mut Writer) {
        self.heads.save(writer);
        self.names.save(writer);
        writer.count(self.slab.len());
        for run in &self.slab {
            writer.u32(run.blocks.len() as u32);
            writer.u8(u8::from(!run.names.is_empty()));
            writer.column(&run.blocks, |hash| [hash.0]);
            writer.column(&run.names, |name| [name.0]);
        }
    }

    /// Reads runs that nobody holds yet: whoever does must be settled next, and then the rest [trimmed](Self::trim_all).
    pub(super) fn load(reader: &mut Reader<'_>, keyed: Keyed) -> Result<Self, SnapshotError> {
        let mut runs = Self::new(keyed);
        runs.heads.load(reader)?;
        runs.names.load(reader)?;
        let count = reader.count(RUN_BYTES)?;
        let in_slab = |table: &Table| table.iter().all(|address| (address.run as usize) < count);
        reader.require(in_slab(&runs.heads) && in_slab(&runs.names))?;
        runs.slab.reserve_exact(count);
        for id in 0..count as RunId {
            let (length, named) = (reader.u32()? as usize, reader.u8()? != 0);
            reader.require(length <= MAX_RUN && (length > 0 || !named))?;
            let mut run = Run::new();
            run.blocks = reader.column(length, |[hash]| BlockHash(hash))?;
            run.names = reader.column(if named { length } else { 0 }, |[name]| EngineHash(name))?;
            match (run.blocks.first(), run.blocks.last()) {
                (Some(first), Some(last)) => (run.first, run.last) = (*first, *last),
                _ => runs.free.push(id),
            }
            runs.allocated += run.allocated();
            runs.slab.push(run);
        }
        Ok(runs)
    }

    /// The endpoint holds this, and held nothing before.
    pub(super) fn settle_all(&mut self, slot: u32, holding: &Holding) {
        holding.runs().for_each(|(run, stretches)| self.settle(run, slot, &[], stretches));
    }

    /// Cuts from all runs what nobody holds.
    pub(super) fn trim_all(&mut self) {
        for id in 0..self.slab.len() as RunId {
            // The last to go takes the slab along.
            if self.slab.get(id as usize).is_some_and(|run| (run.end() as usize) < run.blocks.len()) {
                self.trim(id);
            }
        }
    }

    /// The length of a run.
    pub(super) fn length(&self, run: RunId) -> u32 {
        self.slab.get(run as usize).map_or(0, |run| run.blocks.len() as u32)
    }

    /// What is allocated, in bytes.
    pub(super) fn allocated(&self) -> usize {
        self.allocated
            + self.slab.capacity() * size_of::<Run>()
            + self.free.capacity() * size_of::<RunId>()
            + self.heads.allocated()
            + self.names.allocated()
    }

    /// How much more might be allocated, at most, when so many blocks are made behind `before`, some of which begin runs, and blocks
    /// are called by these names.
    pub(super) fn growth(
        &self,
        before: Option<Address>,
        blocks: usize,
        heads: &[BlockHash],
        names: &[EngineHash],
    ) -> usize {
        let column = before.map_or(0, |before| self.slab[before.run as usize].blocks.capacity() / GROWTH);
        let blocks = blocks + blocks / GROWTH + column + SPARE_BLOCKS;
        let grows = self.slab.len() + heads.len() > self.slab.capacity() + self.free.len();
        let slab = if grows { self.slab.capacity() + heads.len() } else { 0 };
        let new = names.iter().filter(|name| self.named(**name).is_none());
        2 * blocks * size_of::<BlockHash>()
            + slab * size_of::<Run>()
            + self.heads.growth(heads.iter().map(|hash| hash.0))
            + self.names.growth(new.map(|name| name.0))
    }

    /// How much more the parts of a run may take, at most, when an endpoint holds another stretch of it.
    pub(super) fn unrest(&self, run: RunId, slot: u32) -> usize {
        let run = &self.slab[run as usize];
        let parts = 2 * (run.parts.capacity() + 4) * size_of::<Part>();
        parts + 2 * run.sets + 4 * (slot as usize / 8 + size_of::<u64>())
    }

    /// Runs and blocks that exist, and names: for tests.
    pub(super) fn census(&self) -> (usize, usize, usize) {
        (self.heads.len(), self.slab.iter().map(|run| run.blocks.len()).sum(), self.names.len())
    }

    /// The stretches of each run that the endpoint holds, for tests.
    pub(super) fn held_by(&self, slot: u32) -> impl Iterator<Item = (RunId, Vec<(u32, u32)>)> + '_ {
        let runs = self.slab.iter().zip(0..);
        runs.filter_map(move |(run, id)| {
            let mine = run.parts.iter().filter(|part| part.endpoints.contains(slot));
            let stretches: Vec<_> = mine.map(|part| (part.from, part.to)).collect();
            (!stretches.is_empty()).then_some((id, stretches))
        })
    }

    /// Says which invariant is broken, if one is. Computes in **O(everything)**.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let live = self.slab.iter().filter(|run| !run.blocks.is_empty()).count();
        let named = self.slab.iter().flat_map(|run| &run.names).filter(|name| **name != ANONYMOUS).count();
        if live != self.heads.len() || named != self.names.len() || live + self.free.len() != self.slab.len()
        {
            return Err("every run has a head, every name a block, and free runs are free");
        }
        if self.slab.iter().map(Run::allocated).sum::<usize>() != self.allocated {
            return Err("what runs have allocated is counted");
        }
        for (run, id) in self.slab.iter().zip(0..) {
            let is_head = |hash: &BlockHash| self.head(*hash) == Some(Address { run: id, offset: 0 });
            if !run.blocks.first().is_none_or(|first| *first == run.first && is_head(first))
                || run.blocks.last().is_some_and(|last| *last != run.last)
            {
                return Err("a run is found by its head, and known by its end");
            }
            let at = |(name, offset): (&EngineHash, u16)| {
                *name == ANONYMOUS || self.named(*name) == Some(Address { run: id, offset })
            };
            if !(run.names.is_empty() || run.names.len() == run.blocks.len())
                || !run.names.iter().zip(0..).all(at)
            {
                return Err("a block is where its name says");
            }
            let keys: Vec<_> = run.parts.iter().map(|part| (part.from, u32::MAX - part.to)).collect();
            if !keys.is_sorted() || run.parts.iter().any(|p| p.from >= p.to || p.endpoints.is_empty()) {
                return Err("parts are sorted, and none is empty");
            }
            if run.sets != run.parts.iter().map(|part| part.endpoints.allocated()).sum::<usize>() {
                return Err("what sets have allocated is counted");
            }
            if run.end() as usize != run.blocks.len() || run.blocks.is_empty() != self.free.contains(&id) {
                return Err("a run ends where somebody holds it, and is free if nobody does");
            }
        }
        let mut blocks: Vec<_> = self.slab.iter().flat_map(|run| &run.blocks).collect();
        blocks.sort_unstable();
        if blocks.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err("a block is in one place");
        }
        Ok(())
    }

    fn begin_run(&mut self, head: BlockHash) -> RunId {
        let run = self.free.pop().unwrap_or_else(|| {
            self.slab.push(Run::new());
            (self.slab.len() - 1) as RunId
        });
        self.slab[run as usize].first = head;
        self.heads.insert(head.0, Address { run, offset: 0 });
        run
    }

    /// Cuts blocks from the end that nobody holds, and frees the run if nobody holds any.
    fn trim(&mut self, id: RunId) {
        let run = &mut self.slab[id as usize];
        self.allocated -= run.allocated();
        let end = run.end() as usize;
        for (name, offset) in run.names.drain(end.min(run.names.len())..).zip(end as u16..) {
            if name != ANONYMOUS {
                self.names.remove(name.0, Address { run: id, offset });
            }
        }
        if end == 0 {
            self.heads.remove(run.first.0, Address { run: id, offset: 0 });
            *run = Run::new();
            self.free.push(id);
            if self.free.len() == self.slab.len() {
                (self.slab, self.free) = (Vec::new(), Vec::new());
            }
        } else {
            run.blocks.truncate(end);
            run.last = run.blocks[end - 1];
            if run.blocks.capacity() > 2 * end + SPARE_BLOCKS {
                run.blocks.shrink_to_fit();
                run.names.shrink_to_fit();
            }
            self.allocated += run.allocated();
        }
    }
}

impl Run {
    fn new() -> Self {
        let (parts, blocks, names) = (SmallVec::new(), Vec::new(), Vec::new());
        Self { first: BlockHash(0), last: BlockHash(0), parts, blocks, names, sets: 0 }
    }

    fn begins_with(&self, hash: BlockHash) -> bool {
        self.first == hash && !self.blocks.is_empty()
    }

    /// The end of what anybody holds.
    fn end(&self) -> u32 {
        self.parts.iter().map(|part| part.to).max().unwrap_or(0)
    }

    /// What the run has allocated, in bytes.
    fn allocated(&self) -> usize {
        let parts = if self.parts.spilled() { self.parts.capacity() * size_of::<Part>() } else { 0 };
        (self.blocks.capacity() + self.names.capacity()) * size_of::<BlockHash>() + parts + self.sets
    }

    fn part(&self, (from, to): (u32, u32)) -> Result<usize, usize> {
        self.parts.binary_search_by(|part| part.from.cmp(&from).then(to.cmp(&part.to)))
    }

    /// The endpoint held one stretch, and holds another now. If it was alone there, it takes its part along.
    fn shift(&mut self, before: (u32, u32), after: (u32, u32), slot: u32) {
        match &mut self.parts[..] {
            [part] if part.endpoints.len() == 1 && (part.from, part.to) == before => {
                (part.from, part.to) = after;
            }
            _ => {
                self.leave(before, slot);
                self.enter(after, slot);
            }
        }
    }

    fn enter(&mut self, stretch: (u32, u32), slot: u32) {
        let at = self.part(stretch).unwrap_or_else(|at| {
            let (from, to) = stretch;
            self.parts.insert(at, Part { from, to, endpoints: EndpointSet::default() });
            at
        });
        let endpoints = &mut self.parts[at].endpoints;
        self.sets -= endpoints.allocated();
        endpoints.insert(slot);
        self.sets += endpoints.allocated();
    }

    fn leave(&mut self, stretch: (u32, u32), slot: u32) {
        let Ok(at) = self.part(stretch) else { return };
        let endpoints = &mut self.parts[at].endpoints;
        self.sets -= endpoints.allocated();
        endpoints.remove(slot);
        if endpoints.is_empty() {
            self.parts.remove(at);
            if self.parts.spilled() && self.parts.len() < self.parts.capacity() / 4 {
                self.parts.shrink_to_fit();
            }
        } else {
            self.sets += endpoints.allocated();
        }
    }
}

impl<'a> Reach<'a> {
    fn endpoints(&self) -> Option<&EndpointSet> {
        match self {
            Self::Everyone => None,
            Self::These(endpoints) => Some(endpoints),
            Self::Some(endpoints) => Some(endpoints),
        }
    }

    fn len(&self) -> usize {
        self.endpoints().map_or(usize::MAX, EndpointSet::len)
    }

    /// Those of `endpoints` that are within reach; borrowed if all are.
    fn meet(&self, endpoints: &'a EndpointSet) -> Self {
        match self.endpoints() {
            None => Self::These(endpoints),
            Some(reach) if endpoints.is_subset(reach) => Self::These(endpoints),
            Some(reach) => Self::Some(endpoints.intersection(reach)),
        }
    }

    fn join(self, other: &Self) -> Self {
        match (self.endpoints(), other.endpoints()) {
            (Some(a), Some(b)) => Self::Some(a.union(b)),
            _ => Self::Everyone,
        }
    }
}

/// How many blocks two chains have in common, from the first on. Equal blocks mean equal blocks before them, so one look at the
/// last decides most cases, and a search the others.
fn common(there: &[BlockHash], here: &[BlockHash]) -> usize {
    let most = there.len().min(here.len());
    let (there, here) = (&there[..most], &here[..most]);
    if there.last() == here.last() {
        return most;
    }
    let (mut equal, mut unequal) = (0, most);
    // Three looks at a time: none waits for the memory that another waits for.
    while unequal - equal > 3 {
        let quarter = (unequal - equal) / 4;
        let looks = [1, 2, 3].map(|at| equal + at * quarter);
        let [first, second, third] = looks.map(|at| there[at] == here[at]);
        (equal, unequal) = match (first, second, third) {
            (false, ..) => (equal, looks[0]),
            (_, false, _) => (looks[0] + 1, looks[1]),
            (.., false) => (looks[1] + 1, looks[2]),
            _ => (looks[2] + 1, unequal),
        };
    }
    equal + there[equal..unequal].iter().zip(&here[equal..unequal]).take_while(|(a, b)| a == b).count()
}

/// Appends to a column, which grows by a quarter: twice its length would be wasted on most.
fn extend(column: &mut Vec<BlockHash>, blocks: &[BlockHash]) {
    grow(column, blocks.len());
    column.extend_from_slice(blocks);
}

fn grow<T>(column: &mut Vec<T>, more: usize) {
    if column.len() + more > column.capacity() {
        let quarter = if column.is_empty() { 0 } else { (column.len() / GROWTH).max(SPARE_BLOCKS) };
        column.reserve_exact(more.max(quarter));
    }
}

/// Blocks in a run.
const MAX_RUN: usize = u16::MAX as usize;
/// Room that is not worth giving back.
const SPARE_BLOCKS: usize = 16;
/// The fewest bytes that a run takes in a snapshot.
const RUN_BYTES: usize = 5;
/// A column grows by one part in so many.
const GROWTH: usize = 4;
/// The name of blocks that have none. An engine that calls a block so keeps a dictionary of its own.
const ANONYMOUS: EngineHash = EngineHash(0);
