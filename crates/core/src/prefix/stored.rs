//! What engines say that their caches hold.

use super::event::EngineHash;
use super::hash::BlockHash;
use super::index::PrefixIndex;
use super::limits::{IndexFull, Use};
use super::names::Renamed;
use super::runs::{Address, Stretch};

impl PrefixIndex {
    /// The engine stored `chain` under `names`, in parallel, behind the block `parent` if it is known. The first event of an
    /// engine, whichever it is, ends all assumptions about its cache. Computes in **O(blocks)**.
    ///
    /// # Errors
    ///
    /// [`IndexFull`] if that would exceed [`IndexLimits::entries`](crate::prefix::IndexLimits::entries) even without any assumption; nothing changes then.
    pub fn store(
        &mut self,
        slot: u32,
        parent: Option<BlockHash>,
        names: &[EngineHash],
        chain: &[BlockHash],
        used: Use,
    ) -> Result<(), IndexFull> {
        if self.member(slot).is_none() {
            return Ok(());
        }
        let length = names.len().min(chain.len());
        let (names, chain) = (&names[..length], &chain[..length]);
        if self.used() + 2 * length > self.limits.entries {
            self.make_room_to_store(slot, names, chain)?;
        }
        self.become_precise(slot);
        // Blocks with new names are stored a stretch at a time.
        let mut begin = 0;
        for at in 0..length {
            let Some(member) = self.member_mut(slot) else { return Ok(()) };
            match member.holding.names.rename(names[at], chain[at]) {
                Renamed::New => self.entries += 1,
                Renamed::Same => {
                    self.store_stretch(slot, parent, &chain[..at], begin, used);
                    begin = at + 1;
                }
                Renamed::From(before) => {
                    self.store_stretch(slot, parent, &chain[..at], begin, used);
                    begin = at;
                    let address = self.runs.address(before);
                    self.unstore(slot, address.map(Stretch::of_one));
                }
            }
        }
        self.store_stretch(slot, parent, chain, begin, used);
        Ok(())
    }

    /// The engine no longer has the blocks that it calls `names`; unknown names are ignored.
    pub fn remove(&mut self, slot: u32, names: &[EngineHash]) {
        self.become_precise(slot);
        // Engines give up the blocks of a prompt together, tail first: neighbours go in one step.
        let mut gone: Option<Stretch> = None;
        for name in names {
            let Some(hash) = self.member_mut(slot).and_then(|member| member.holding.names.remove(*name))
            else {
                continue;
            };
            self.entries -= 1;
            let Some(Address { run, offset }) = self.runs.address(hash) else { continue };
            match &mut gone {
                Some(stretch) if stretch.run == run && stretch.from == offset + 1 => stretch.from = offset,
                Some(stretch) if stretch.run == run && stretch.to == offset => stretch.to = offset + 1,
                _ => {
                    let before = gone.replace(Stretch::of_one(Address { run, offset }));
                    self.unstore(slot, before);
                }
            }
        }
        self.unstore(slot, gone);
    }

    /// Stores `chain` from `begin` on.
    fn store_stretch(
        &mut self,
        slot: u32,
        parent: Option<BlockHash>,
        chain: &[BlockHash],
        begin: usize,
        used: Use,
    ) {
        self.enter(slot, parent, chain, begin, |holding, Stretch { run, from, to }| {
            holding.store(run, from, to, used)
        });
    }

    /// The engine has one name less for each block of a stretch.
    fn unstore(&mut self, slot: u32, stretch: Option<Stretch>) {
        if let Some(Stretch { run, from, to }) = stretch {
            self.alter(slot, |holding| Some(holding.unstore(run, from, to)));
        }
    }

    /// Makes room for what an event brings.
    fn make_room_to_store(
        &mut self,
        slot: u32,
        names: &[EngineHash],
        chain: &[BlockHash],
    ) -> Result<(), IndexFull> {
        let Some(member) = self.member(slot) else { return Ok(()) };
        let precise = member.holding.is_precise();
        let new_names =
            names.iter().filter(|name| !precise || !member.holding.names.contains(**name)).count();
        let new_blocks = chain.iter().filter(|hash| !precise || !self.holds(slot, **hash)).count();
        let needed = new_names + new_blocks;
        if self.used() + needed > self.limits.entries && self.fixed_entries() + needed > self.limits.entries {
            return Err(IndexFull);
        }
        self.become_precise(slot);
        self.make_room(needed);
        Ok(())
    }
}
