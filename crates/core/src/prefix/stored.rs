//! Stored cache contents: blocks that engines report in KV events.

use super::address::{Address, Stretch};
use super::engine_names::{EngineNames, REMOVED, Removed, Renamed};
use super::event::{EngineHash, Tier};
use super::hash::BlockHash;
use super::index::PrefixIndex;
use super::limits::{BlockUse, StoreError};

/// A block that an engine has a name for, or had until lately.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) hash: BlockHash,
    place: Place,
    /// Whether the engine stores it now, by its reports.
    stored: bool,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    At(Address),
    /// No endpoint holds it; it was behind this block.
    Behind(Address),
}

impl PrefixIndex {
    /// Stores the blocks of `chain` under the parallel `names` in a tier, behind the block named
    /// `parent`. An engine's first store ends all estimates of its cache. Computes in
    /// **O(blocks)**.
    ///
    /// An engine cannot hold a block without the one before it. A parent that was removed lately is
    /// restored: the removal was of one of several copies.
    ///
    /// # Errors
    ///
    /// Nothing changes if the parent is unknown, or if
    /// [`IndexLimits::bytes`](crate::prefix::IndexLimits::bytes) could be exceeded even without any
    /// estimates.
    pub fn store(
        &mut self,
        slot: u32,
        parent: Option<EngineHash>,
        names: &[EngineHash],
        chain: &[BlockHash],
        tier: Tier,
        used: BlockUse,
    ) -> Result<(), StoreError> {
        if self.member(slot).is_none() {
            return Ok(());
        }
        let length = names.len().min(chain.len());
        let (names, chain) = (&names[..length], &chain[..length]);
        // The cache misses of few names overlap with those of the parent; of many, with each other.
        if length <= AHEAD && !self.expects(slot, parent) {
            self.runs.touch(names);
        }
        if parent.is_none() {
            chain.first().into_iter().for_each(|first| self.runs.touch_head(*first));
        }
        let mut behind = self.behind(slot, parent)?;
        let is_ample = self.has_ample_room(length);
        if !is_ample {
            let before = self.address_behind(slot, parent)?;
            if !self.make_room(slot, before, chain, names) {
                return Err(StoreError::Full);
            }
            // The eviction may have removed the parent, if it was only remembered.
            behind = self.behind(slot, parent)?;
        }
        self.become_precise(slot);
        let before = behind.map(|(name, Known { hash, place, stored })| match place {
            Place::At(address) if stored => address,
            Place::At(address) => {
                self.put_stretch(slot, Stretch::of_one(address), &[name], tier, used);
                address
            }
            Place::Behind(before) => self.put(slot, Some(before), &[hash], &[name], tier, used),
        });
        let appended = match (before, names, chain) {
            (Some(before), &[name], &[hash]) => self.append(slot, before, hash, name, tier, used),
            _ => false,
        };
        if length > 0 && !appended {
            self.put(slot, before, chain, names, tier, used);
        }
        if !is_ample {
            self.keep_within_limit(slot);
        }
        Ok(())
    }

    /// The block with this name on the endpoint's engine, or with this name until lately.
    pub(crate) fn named(&self, slot: u32, name: EngineHash) -> Option<BlockHash> {
        self.known(slot, name).map(|known| known.hash)
    }

    /// Removes the blocks with these names from this tier; unknown names are ignored.
    pub fn remove(&mut self, slot: u32, names: &[EngineHash], tier: Tier) {
        // Before its first store, an engine has no names. A feed of removals alone is no evidence
        // of contents.
        if !self.has_kv_events(slot) {
            return;
        }
        // Engines evict the blocks of a prompt together, tail first, so neighbours are removed in
        // one step.
        let mut gone: Option<Stretch> = None;
        let mut span = None;
        let mut rest = names;
        while !rest.is_empty() {
            let Some(stretch) = self.unname(slot, rest, tier, &mut span) else {
                rest = &rest[1..];
                continue;
            };
            self.remember(slot, rest, stretch);
            rest = &rest[stretch.len()..];
            match &mut gone {
                Some(before) if before.run == stretch.run && before.from == stretch.to => {
                    before.from = stretch.from;
                }
                Some(before) if before.run == stretch.run && before.to == stretch.from => {
                    before.to = stretch.to;
                }
                _ => {
                    if let Some(before) = gone.replace(stretch) {
                        self.unstore(slot, before, tier);
                        span = None;
                    }
                }
            }
        }
        if let Some(gone) = gone {
            self.unstore(slot, gone, tier);
        }
        self.keep_within_limit(slot);
    }

    /// The block with this name on the endpoint's engine, or with this name until lately.
    pub(super) fn known(&self, slot: u32, name: EngineHash) -> Option<Known> {
        let holding = &self.member(slot)?.holding;
        let address = if holding.names.are_own() {
            holding.names.get(name)
        } else {
            self.named_near(&holding.names, name)
        };
        if let Some(address) = address {
            if holding.is_stored(address) {
                let hash = self.runs.hash(address)?;
                return Some(Known { hash, place: Place::At(address), stored: true });
            }
        }
        let Removed { hash, address, before, .. } = holding.names.removed(name)?;
        let place = if self.runs.hash(address) == Some(hash) {
            Place::At(address)
        } else if let Some(head) = self.runs.head(hash) {
            Place::At(head)
        } else {
            // If the block before it has not moved, this block can only be behind it.
            let before_it = Address { offset: address.offset.checked_sub(1)?, ..address };
            (self.runs.hash(before_it) == before).then_some(Place::Behind(before_it))?
        };
        Some(Known { hash, place, stored: false })
    }

    /// Whether the engine was likely to name this block next, so that it is in the nearest cache.
    fn expects(&self, slot: u32, name: Option<EngineHash>) -> bool {
        let likely = self.member(slot).and_then(|member| member.holding.names.likely);
        likely.is_some_and(|(likely, _)| Some(likely) == name)
    }

    /// The block with this name in the shared dictionary. It is often the one that `names` expects.
    fn named_near(&self, names: &EngineNames, name: EngineHash) -> Option<Address> {
        let likely = names.likely.filter(|(likely, _)| *likely == name);
        let likely = likely.map(|(_, address)| address);
        likely
            .filter(|address| self.runs.is_named(*address, name))
            .or_else(|| self.runs.named(name))
    }

    /// The address of that block, or of the block before it.
    pub(super) fn address_behind(
        &self,
        slot: u32,
        parent: Option<EngineHash>,
    ) -> Result<Option<Address>, StoreError> {
        Ok(self.behind(slot, parent)?.map(|(_, known)| known.place.address()))
    }

    /// The block of that name, if a parent is given.
    fn behind(
        &self,
        slot: u32,
        parent: Option<EngineHash>,
    ) -> Result<Option<(EngineHash, Known)>, StoreError> {
        let Some(name) = parent else { return Ok(None) };
        self.known(slot, name).map(|known| Some((name, known))).ok_or(StoreError::UnknownParent)
    }

    /// Stores a new block at the end of a run, as an answer grows: most events of one block are
    /// that. Returns whether it did. Otherwise, nothing changed.
    fn append(
        &mut self,
        slot: u32,
        before: Address,
        hash: BlockHash,
        name: EngineHash,
        tier: Tier,
        used: BlockUse,
    ) -> bool {
        if self.hash_mismatch(slot) {
            return false;
        }
        let Some(address) = self.runs.append(before, hash, name) else { return false };
        self.alter(slot, |holding| {
            holding.names.likely = Some((name, address));
            Some(holding.store(Stretch::of_one(address), tier, used))
        });
        true
    }

    /// Stores `chain` behind `before`. Returns the address of its last block.
    fn put(
        &mut self,
        slot: u32,
        mut before: Option<Address>,
        chain: &[BlockHash],
        names: &[EngineHash],
        tier: Tier,
        used: BlockUse,
    ) -> Address {
        let mut at = 0;
        loop {
            // A rename can affect the block before.
            before =
                before.filter(|before| at == 0 || self.runs.hash(*before) == Some(chain[at - 1]));
            let stretch = self
                .runs
                .stretch(before, chain, at)
                .unwrap_or_else(|| self.runs.create(before, chain, at));
            let put = self.put_stretch(slot, stretch, &names[at..at + stretch.len()], tier, used);
            at += put;
            if put > 0 {
                let last = stretch.first(put).last();
                if at == chain.len() {
                    return last;
                }
                before = Some(last);
            }
        }
    }

    /// Stores consecutive blocks. Returns how many; the others may have moved.
    fn put_stretch(
        &mut self,
        slot: u32,
        stretch: Stretch,
        names: &[EngineHash],
        tier: Tier,
        used: BlockUse,
    ) -> usize {
        debug_assert_eq!(names.len(), stretch.len(), "in parallel");
        if !self.hash_mismatch(slot) {
            let agreed = self.runs.call(stretch, names);
            if agreed > 0 {
                let stretch = stretch.first(agreed);
                self.alter(slot, |holding| {
                    holding.names.likely =
                        names.get(agreed - 1).map(|name| (*name, stretch.last()));
                    Some(holding.store(stretch, tier, used))
                });
            }
            if agreed == stretch.len() {
                return agreed;
            }
            self.disagree(slot);
            if agreed > 0 {
                return agreed;
            }
        }
        // Blocks with new names are stored together.
        let mut begin = stretch.from;
        for (name, at) in names.iter().zip(stretch.from..) {
            let address = Stretch { from: at, to: at + 1, ..stretch }.last();
            match self
                .rename(slot, |names| names.rename(*name, address, tier))
                .unwrap_or(Renamed::Same)
            {
                Renamed::New => {}
                Renamed::Same => {
                    self.store_own(slot, Stretch { from: begin, to: at, ..stretch }, tier, used);
                    begin = at + 1;
                }
                Renamed::From(other, tiers) => {
                    self.store_own(slot, Stretch { from: begin, to: at, ..stretch }, tier, used);
                    tiers.iter().for_each(|tier| self.unstore(slot, Stretch::of_one(other), tier));
                    return (at - stretch.from) as usize;
                }
            }
        }
        self.store_own(slot, Stretch { from: begin, ..stretch }, tier, used);
        stretch.len()
    }

    fn store_own(&mut self, slot: u32, stretch: Stretch, tier: Tier, used: BlockUse) {
        if stretch.len() > 0 {
            self.alter(slot, |holding| Some(holding.store(stretch, tier, used)));
        }
    }

    /// Gives an engine with contradicting names a dictionary of its own.
    fn disagree(&mut self, slot: u32) {
        let Some(member) = self.member(slot) else { return };
        let blocks = member.holding.stored().flat_map(|(stretch, tier)| {
            (1..=stretch.len()).map(move |blocks| (stretch.first(blocks).last(), tier))
        });
        let named =
            blocks.filter_map(|(address, tier)| Some((self.runs.name(address)?, address, tier)));
        let own = EngineNames::dictionary(self.hash_state, named);
        self.rename(slot, |names| names.begin_own(own));
    }

    /// Removes the first of these names, and those that follow if they are the names of the blocks
    /// before it, in descending order. Returns their blocks. `span` caches the stretch of the
    /// previous ones, which often contains the next.
    fn unname(
        &mut self,
        slot: u32,
        names: &[EngineHash],
        tier: Tier,
        span: &mut Option<Stretch>,
    ) -> Option<Stretch> {
        let (name, following) = names.split_first()?;
        let holding = &self.member(slot)?.holding;
        if holding.names.are_own() {
            return self.rename(slot, |names| names.remove(*name, tier))?.map(Stretch::of_one);
        }
        let likely = holding.names.likely.filter(|(likely, _)| likely == name);
        let address = match likely {
            Some((_, address)) if self.runs.is_named(address, *name) => address,
            _ => {
                // The next ones may be as far away: their cache misses overlap with this one.
                self.runs.touch(&following[..following.len().min(AHEAD)]);
                self.runs.named(*name)?
            }
        };
        if !span.is_some_and(|span| span.contains(address)) {
            *span = Some(holding.stored_around(address, tier)?);
        }
        let Stretch { run, from, to } = Stretch::of_one(address);
        let most = (from - span.map_or(from, |span| span.from)) as usize;
        let before = self.runs.named_before(address, &following[..following.len().min(most)]);
        let from = from - before as u32;
        let next = from.checked_sub(1).map(|offset| Address { run, offset: offset as u16 });
        let next = next.and_then(|address| Some((self.runs.name(address)?, address)));
        self.member_mut(slot)?.holding.names.likely = next;
        Some(Stretch { run, from, to })
    }

    /// Remembers the blocks of a stretch, which have the first of these names in descending order,
    /// if few names follow.
    fn remember(&mut self, slot: u32, names: &[EngineHash], stretch: Stretch) {
        let Self { runs, endpoints, .. } = self;
        let member = endpoints.get_mut(slot as usize).and_then(Option::as_deref_mut);
        let Some(member) = member else { return };
        let skip = names.len().saturating_sub(REMOVED);
        let addresses = (0..stretch.len()).rev().map(|at| stretch.first(at + 1).last());
        for (name, address) in names.iter().zip(addresses).skip(skip) {
            if let Some((hash, before)) = runs.hashes(address) {
                member.holding.names.remember(Removed { name: *name, hash, address, before });
            }
        }
    }

    /// Removes one name from each block of a stretch.
    fn unstore(&mut self, slot: u32, stretch: Stretch, tier: Tier) {
        self.alter(slot, |holding| Some(holding.unstore(stretch, tier)));
    }
}

impl Place {
    fn address(self) -> Address {
        match self {
            Self::At(address) | Self::Behind(address) => address,
        }
    }
}

/// Names that are prefetched ahead of their turn.
const AHEAD: usize = 8;
