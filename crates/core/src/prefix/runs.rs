//! What there is to hold: runs of blocks, and who holds which stretch of each.
//!
//! A *run* is a stretch of consecutive blocks, stored once however many endpoints hold it. A block's hash stands for everything
//! before it, so one table from hash to address finds any of them, and a prompt is a walk over a few runs:
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
//! A block's address never changes while it exists. Blocks that nobody holds are cut from a run's end at once; inside a run they
//! stay as long as somebody holds what comes behind them, and count against the index's limit.

use alloc::vec::Vec;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::hash::BlockHash;
use super::keyed::Keyed;
use super::set::EndpointSet;

/// The number of a run.
pub(super) type RunId = u32;

/// All runs.
#[derive(Debug)]
pub(super) struct Runs {
    slab: Vec<Run>,
    free: Vec<RunId>,
    places: HashMap<BlockHash, Address, Keyed>,
    /// Blocks that nobody holds.
    dead: usize,
}

#[derive(Debug, Default)]
struct Run {
    blocks: Vec<BlockHash>,
    /// By beginning, the longer first.
    parts: Vec<Part>,
    /// Blocks inside that nobody holds.
    dead: u32,
}

/// The endpoints that hold exactly this stretch of a run.
#[derive(Debug)]
struct Part {
    from: u32,
    to: u32,
    endpoints: EndpointSet,
}

/// Where a block is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Address {
    pub(super) run: RunId,
    pub(super) offset: u32,
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
        Self { run, from: offset, to: offset + 1 }
    }

    pub(super) const fn len(self) -> usize {
        (self.to - self.from) as usize
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
        Self { slab: Vec::new(), free: Vec::new(), places: HashMap::with_hasher(keyed), dead: 0 }
    }

    /// Visits levels: an endpoint holds as many blocks of `chain`, from the first on, as the deepest level that it is in says. A
    /// level may list endpoints that are in a deeper one too. Computes in **O(runs on the way × their parts)**, and allocates
    /// only where endpoints have holes.
    pub(super) fn levels(&self, chain: &[BlockHash], mut visit: impl FnMut(u32, &EndpointSet)) {
        let mut reach = Reach::Everyone;
        let mut depth = 0;
        while let Some(stretch) = self.stretch(chain, depth) {
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

    /// The blocks of `chain` from `at` on that lie side by side in one run; none if the first is in no run.
    pub(super) fn stretch(&self, chain: &[BlockHash], at: usize) -> Option<Stretch> {
        let Address { run, offset } = *self.places.get(chain.get(at)?)?;
        let there = &self.slab[run as usize].blocks[offset as usize..];
        let length = common(there, &chain[at..]);
        Some(Stretch { run, from: offset, to: offset + length as u32 })
    }

    pub(super) fn address(&self, hash: BlockHash) -> Option<Address> {
        self.places.get(&hash).copied()
    }

    /// Makes blocks for `chain` from `at` on, up to the first that exists: behind `before`, if that is the last of its run.
    /// Somebody must hold them before anything else happens.
    pub(super) fn create(&mut self, chain: &[BlockHash], at: usize, before: Option<BlockHash>) -> Stretch {
        let behind = before.and_then(|hash| self.address(hash)).filter(|address| {
            self.slab[address.run as usize].blocks.len() == address.offset as usize + 1
                && address.offset + 1 < MAX_RUN
        });
        let run = behind.map_or_else(|| self.new_run(), |address| address.run);
        let blocks = &mut self.slab[run as usize].blocks;
        let from = blocks.len() as u32;
        if behind.is_none() {
            blocks.reserve_exact(chain.len() - at);
        }
        for (hash, offset) in chain[at..].iter().zip(from..MAX_RUN) {
            match self.places.entry(*hash) {
                Entry::Vacant(place) => place.insert(Address { run, offset }),
                Entry::Occupied(_) => break,
            };
            blocks.push(*hash);
        }
        Stretch { run, from, to: blocks.len() as u32 }
    }

    /// The endpoint held the stretches `before` of a run, and holds `after` from now on.
    pub(super) fn settle(&mut self, id: RunId, slot: u32, before: &[(u32, u32)], after: &[(u32, u32)]) {
        if before == after {
            return;
        }
        let run = &mut self.slab[id as usize];
        before
            .iter()
            .filter(|stretch| !after.contains(stretch))
            .for_each(|stretch| run.leave(*stretch, slot));
        after
            .iter()
            .filter(|stretch| !before.contains(stretch))
            .for_each(|stretch| run.enter(*stretch, slot));
        self.trim(id);
    }

    /// Blocks that nobody holds, and that stay because somebody holds what comes behind them.
    pub(super) const fn dead(&self) -> usize {
        self.dead
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
        let blocks: usize = self.slab.iter().map(|run| run.blocks.len()).sum();
        let dead: usize = self.slab.iter().map(|run| run.dead as usize).sum();
        if blocks != self.places.len() || dead != self.dead {
            return Err("every block has one place, and the dead are counted");
        }
        for (run, id) in self.slab.iter().zip(0..) {
            let at = |(hash, offset): (&BlockHash, u32)| {
                self.places.get(hash).is_some_and(|place| place.run == id && place.offset == offset)
            };
            if !run.blocks.iter().zip(0..).all(at) {
                return Err("a block's place is where it is");
            }
            let keys: Vec<_> = run.parts.iter().map(|part| (part.from, u32::MAX - part.to)).collect();
            if !keys.is_sorted() || run.parts.iter().any(|p| p.from >= p.to || p.endpoints.is_empty()) {
                return Err("parts are sorted, and none is empty");
            }
            if run.end() as usize != run.blocks.len() || run.blocks.is_empty() != self.free.contains(&id) {
                return Err("a run ends where somebody holds it, and is free if nobody does");
            }
            if run.dead != run.blocks.len() as u32 - run.covered() {
                return Err("what nobody holds is counted");
            }
        }
        Ok(())
    }

    fn new_run(&mut self) -> RunId {
        self.free.pop().unwrap_or_else(|| {
            self.slab.push(Run::default());
            (self.slab.len() - 1) as RunId
        })
    }

    /// Cuts blocks from the end that nobody holds, and frees the run if nobody holds any; counts those inside.
    fn trim(&mut self, id: RunId) {
        let run = &mut self.slab[id as usize];
        let end = run.end() as usize;
        for hash in run.blocks.drain(end..) {
            self.places.remove(&hash);
        }
        let dead = end as u32 - run.covered();
        self.dead = self.dead + dead as usize - run.dead as usize;
        run.dead = dead;
        if run.blocks.is_empty() {
            *run = Run::default();
            self.free.push(id);
        } else if run.blocks.capacity() > 2 * run.blocks.len() + SPARE_BLOCKS {
            run.blocks.shrink_to_fit();
        }
        if self.places.capacity() > 4 * self.places.len() + SPARE_PLACES {
            self.places.shrink_to(2 * self.places.len());
        }
    }
}

impl Run {
    /// The end of what anybody holds.
    fn end(&self) -> u32 {
        self.parts.iter().map(|part| part.to).max().unwrap_or(0)
    }

    /// How many blocks anybody holds.
    fn covered(&self) -> u32 {
        let (mut covered, mut end) = (0, 0);
        for part in &self.parts {
            covered += part.to.saturating_sub(part.from.max(end));
            end = end.max(part.to);
        }
        covered
    }

    fn part(&self, (from, to): (u32, u32)) -> Result<usize, usize> {
        self.parts.binary_search_by(|part| part.from.cmp(&from).then(to.cmp(&part.to)))
    }

    fn enter(&mut self, stretch: (u32, u32), slot: u32) {
        let at = self.part(stretch).unwrap_or_else(|at| {
            let (from, to) = stretch;
            self.parts.insert(at, Part { from, to, endpoints: EndpointSet::default() });
            at
        });
        self.parts[at].endpoints.insert(slot);
    }

    fn leave(&mut self, stretch: (u32, u32), slot: u32) {
        if let Ok(at) = self.part(stretch) {
            self.parts[at].endpoints.remove(slot);
            if self.parts[at].endpoints.is_empty() {
                self.parts.remove(at);
            }
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
    while equal < unequal {
        let middle = usize::midpoint(equal, unequal);
        if there[middle] == here[middle] {
            equal = middle + 1;
        } else {
            unequal = middle;
        }
    }
    equal
}

/// Blocks in a run.
const MAX_RUN: u32 = 1 << 24;
/// Room that is not worth giving back.
const SPARE_BLOCKS: usize = 16;
const SPARE_PLACES: usize = 4_096;
