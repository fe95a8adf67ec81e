//! The engine hashes of one engine, where they are not in the shared dictionary.
//!
//! Engines with equal hash functions share one dictionary, in [`Runs`](super::runs::Runs). An
//! engine that gives a block another hash, or a hash to another block, gets a dictionary of its own
//! and no longer uses the shared one.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::hash::Hash;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::address::Address;
use super::codec::{Reader, SnapshotError, Writer};
use super::event::{EngineHash, Tier};
use super::hash::BlockHash;
use super::keyed_state::KeyedState;

/// The engine hashes of one engine. A *name* is an engine hash.
#[derive(Debug, Default)]
pub(super) struct EngineNames {
    own: Option<Box<Dictionary>>,
    /// A block that the engine is likely to name next, to try before the shared dictionary.
    pub(super) likely: Option<(EngineHash, Address)>,
    /// Names that were removed lately, in a ring. Engines keep copies of a block and report the
    /// removal of one, so a removed block can still be a parent.
    removed: Vec<Removed>,
    /// The oldest of them, once the ring is full.
    oldest: usize,
}

/// The engine's own names.
pub(super) type Dictionary = HashMap<EngineHash, Named, KeyedState>;

/// The meaning of an own name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named {
    address: Address,
    tiers: Tiers,
}

/// A set of tiers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tiers(u8);

/// A block that an engine reported as removed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Removed {
    pub(super) name: EngineHash,
    pub(super) hash: BlockHash,
    pub(super) address: Address,
    /// The block before it in its run.
    pub(super) before: Option<BlockHash>,
}

/// The previous meaning of a name.
#[derive(Clone, Copy, Debug)]
pub(super) enum Renamed {
    /// The same block, in the same tier.
    Same,
    /// Another block, in these tiers.
    From(Address, Tiers),
    /// No block in this tier.
    New,
}

/// Limit of remembered removed names.
pub(super) const REMOVED: usize = 64;

/// Entries of capacity that are not worth releasing.
const SPARE: usize = 64;

impl EngineNames {
    /// Whether the engine has a dictionary of its own.
    pub(super) const fn are_own(&self) -> bool {
        self.own.is_some()
    }

    /// A dictionary of these blocks.
    pub(super) fn dictionary(
        hash_state: KeyedState,
        names: impl Iterator<Item = (EngineHash, Address, Tier)>,
    ) -> Dictionary {
        let mut own = HashMap::with_hasher(hash_state);
        for (name, address, tier) in names {
            let named = own.entry(name).or_insert(Named { address, tiers: Tiers::default() });
            named.tiers = named.tiers.with(tier);
        }
        own
    }

    /// Gives the engine a dictionary of its own.
    pub(super) fn begin_own(&mut self, own: Dictionary) {
        self.own = Some(Box::new(own));
    }

    /// Gives a block a name in the engine's own dictionary. If the name belonged to another block,
    /// it is removed there and the call must be repeated.
    pub(super) fn rename(&mut self, name: EngineHash, address: Address, tier: Tier) -> Renamed {
        let Some(own) = &mut self.own else { return Renamed::Same };
        match own.entry(name) {
            Entry::Vacant(entry) => {
                entry.insert(Named { address, tiers: Tiers::default().with(tier) });
                Renamed::New
            }
            Entry::Occupied(mut entry) if entry.get().address == address => {
                let tiers = &mut entry.get_mut().tiers;
                let known = tiers.contains(tier);
                *tiers = tiers.with(tier);
                if known { Renamed::Same } else { Renamed::New }
            }
            Entry::Occupied(entry) => {
                let Named { address, tiers } = entry.remove();
                Renamed::From(address, tiers)
            }
        }
    }

    /// Removes a name in a tier from the engine's own dictionary. Returns its block.
    pub(super) fn remove(&mut self, name: EngineHash, tier: Tier) -> Option<Address> {
        let own = self.own.as_mut()?;
        let Entry::Occupied(mut entry) = own.entry(name) else { return None };
        let Named { address, tiers } = *entry.get();
        if !tiers.contains(tier) {
            return None;
        }
        entry.get_mut().tiers = tiers.without(tier);
        if tiers.without(tier).is_empty() {
            entry.remove();
            if own.capacity() > 4 * own.len() + SPARE {
                own.shrink_to(2 * own.len());
            }
        }
        Some(address)
    }

    /// The block with this name in the engine's own dictionary.
    pub(super) fn get(&self, name: EngineHash) -> Option<Address> {
        self.own.as_ref()?.get(&name).map(|named| named.address)
    }

    /// Remembers a removed block.
    pub(super) fn remember(&mut self, removed: Removed) {
        if self.removed.len() < REMOVED {
            if self.removed.is_empty() {
                self.removed.reserve_exact(REMOVED);
            }
            self.removed.push(removed);
        } else {
            self.removed[self.oldest] = removed;
            self.oldest = (self.oldest + 1) % REMOVED;
        }
    }

    /// The removed names, oldest first.
    fn removals(&self) -> impl DoubleEndedIterator<Item = &Removed> {
        let (newer, older) = self.removed.split_at(self.oldest);
        older.iter().chain(newer)
    }

    /// The removed block with this name, if it is remembered.
    pub(super) fn removed(&self, name: EngineHash) -> Option<Removed> {
        self.removals().rev().find(|removed| removed.name == name).copied()
    }

    /// The engine's own names and their blocks.
    pub(super) fn iter(&self) -> impl Iterator<Item = (EngineHash, Address, Tier)> + '_ {
        self.own.iter().flat_map(|own| own.iter()).flat_map(|(name, Named { address, tiers })| {
            tiers.iter().map(|tier| (*name, *address, tier))
        })
    }

    /// Writes the engine's own names in order, and the removed ones.
    pub(super) fn save(&self, writer: &mut Writer) {
        writer.u8(u8::from(self.are_own()));
        let mut own: Vec<_> = self.own.iter().flat_map(|own| own.iter()).collect();
        own.sort_unstable_by_key(|(name, _)| **name);
        writer.count(own.len());
        for (name, Named { address, tiers }) in own {
            writer.u64(name.0);
            writer.u32(address.run);
            writer.u16(address.offset);
            writer.u8(tiers.0);
        }
        writer.count(self.removed.len());
        for Removed { name, hash, address, before } in self.removals() {
            writer.u64(name.0);
            writer.u64(hash.0);
            writer.u32(address.run);
            writer.u16(address.offset);
            writer.u8(u8::from(before.is_some()));
            writer.u64(before.map_or(0, |hash| hash.0));
        }
    }

    /// Reads names. The caller validates their addresses.
    pub(super) fn load(
        reader: &mut Reader<'_>,
        hash_state: KeyedState,
    ) -> Result<Self, SnapshotError> {
        let is_own = reader.u8()? != 0;
        let mut own = HashMap::with_hasher(hash_state);
        for _ in 0..reader.count(8 + ADDRESS_BYTES + 1)? {
            let (name, address, tiers) =
                (EngineHash(reader.u64()?), load_address(reader)?, Tiers(reader.u8()?));
            reader.require(
                !tiers.is_empty() && tiers.iter().fold(tiers, Tiers::without).is_empty(),
            )?;
            reader.require(own.insert(name, Named { address, tiers }).is_none())?;
        }
        let mut names = Self { own: is_own.then(|| Box::new(own)), ..Self::default() };
        let removed = reader.count(8 + 8 + ADDRESS_BYTES + 1 + 8)?;
        reader.require(removed <= REMOVED)?;
        for _ in 0..removed {
            let (name, hash) = (EngineHash(reader.u64()?), BlockHash(reader.u64()?));
            let (address, is_after, before) =
                (load_address(reader)?, reader.u8()? != 0, reader.u64()?);
            let before = is_after.then_some(BlockHash(before));
            names.remember(Removed { name, hash, address, before });
        }
        Ok(names)
    }

    /// Allocated bytes.
    pub(super) fn allocated(&self) -> usize {
        let own = self.own.as_ref().map_or(0, |own| size_of::<Dictionary>() + map_bytes(own));
        own + self.removed.capacity() * size_of::<Removed>()
    }

    /// Upper limit of additional bytes for `more` names.
    pub(super) fn growth(&self, more: usize) -> usize {
        let own = self.own.as_ref().map_or(0, |own| map_growth(own, more));
        own + REMOVED * size_of::<Removed>()
    }
}

fn load_address(reader: &mut Reader<'_>) -> Result<Address, SnapshotError> {
    Ok(Address { run: reader.u32()?, offset: reader.u16()? })
}

/// Bytes of an address in a snapshot.
const ADDRESS_BYTES: usize = 4 + 2;

impl Tiers {
    pub(super) fn iter(self) -> impl Iterator<Item = Tier> {
        Tier::ALL.into_iter().filter(move |tier| self.contains(*tier))
    }

    const fn contains(self, tier: Tier) -> bool {
        self.0 & tier.bit() != 0
    }

    const fn with(self, tier: Tier) -> Self {
        Self(self.0 | tier.bit())
    }

    const fn without(self, tier: Tier) -> Self {
        Self(self.0 & !tier.bit())
    }

    const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// Allocated bytes of a map: an entry and a byte for each bucket, and a final group of bytes. The
/// group's size depends on the processor; the largest, 16, counts everywhere.
pub(super) fn map_bytes<K: Eq + Hash, V>(map: &HashMap<K, V, KeyedState>) -> usize {
    let bucket = size_of::<(K, V)>() + 1;
    match map.allocation_size() / bucket {
        0 => 0,
        buckets => (buckets + 1).next_power_of_two() / 2 * bucket + GROUP,
    }
}

/// Upper limit of a map's additional bytes with `more` entries.
pub(super) fn map_growth<K: Eq + Hash, V>(map: &HashMap<K, V, KeyedState>, more: usize) -> usize {
    let needed = map.len() + more;
    if needed <= map.capacity() {
        return 0;
    }
    let buckets = (needed.max(map.capacity() + 1) * 8 / 7 + 1).next_power_of_two().max(SPARE);
    buckets * (size_of::<(K, V)>() + 1) + GROUP
}

const GROUP: usize = 16;
