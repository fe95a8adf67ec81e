//! LoRA adapters of one replica: a fixed number of slots, loaded on demand. The least recently used
//! idle adapter is evicted.

use slotwise::Adapter;

/// The ranks of the workload's adapters. Each list entry is the rank of an adapter, in turn.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AdapterRanks {
    /// Number of adapters.
    adapters: u32,
    ranks: [u32; Self::MOST],
    count: usize,
}

/// Parameters of an adapter of rank 1 over those of its model: all matrices of Llama 8B have
/// adapters.
const SHARE_PER_RANK: f64 = 3.75e-4;

impl AdapterRanks {
    /// Most ranks in a list.
    pub const MOST: usize = 8;

    /// The ranks of `adapters` adapters: those of the list, in turn. Without a list, ranks have no
    /// effect.
    ///
    /// # Errors
    ///
    /// If the list is longer than [`MOST`](Self::MOST), or if a rank is zero.
    pub fn new(adapters: u32, list: &[u32]) -> Result<Self, String> {
        let mut ranks = [0; Self::MOST];
        let part = ranks.get_mut(..list.len());
        let part = part.ok_or_else(|| format!("at most {} ranks", Self::MOST))?;
        part.copy_from_slice(list);
        if list.contains(&0) {
            return Err("a rank must be positive".into());
        }
        Ok(Self { adapters, ranks, count: list.len() })
    }

    /// Whether ranks have no effect.
    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The rank of each adapter, if ranks have an effect.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u32)> {
        (0..self.adapters).filter_map(|adapter| Some((adapter, self.of(adapter)?)))
    }

    /// The adapter's load time over that of the usual rank.
    pub(super) fn load_factor(&self, adapter: u32) -> f64 {
        self.of(adapter).map_or(1.0, |rank| f64::from(rank) / f64::from(Adapter::USUAL_RANK))
    }

    /// The adapter's parameters over those of the model.
    pub(super) fn share(&self, adapter: u32) -> f64 {
        self.of(adapter).map_or(0.0, |rank| f64::from(rank) * SHARE_PER_RANK)
    }

    fn of(&self, adapter: u32) -> Option<u32> {
        (adapter as usize).checked_rem(self.count).map(|at| self.ranks[at])
    }
}

/// The adapter slots of one replica.
#[derive(Debug)]
pub(super) struct AdapterSlots {
    slots: usize,
    /// Loaded adapters, least recently used first.
    loaded: Vec<u32>,
}

impl AdapterSlots {
    pub(super) const fn new(slots: usize) -> Self {
        Self { slots, loaded: Vec::new() }
    }

    /// Whether the adapter is loaded, or could be beside those `in_use`.
    pub(super) fn has_room_for(&self, adapter: u32, in_use: &[u32]) -> bool {
        self.loaded.contains(&adapter)
            || self.loaded.len() < self.slots
            || self.victim(in_use).is_some()
    }

    /// Makes the adapter usable beside those `in_use`; whether it had to be loaded.
    pub(super) fn acquire(&mut self, adapter: u32, in_use: &[u32]) -> bool {
        let place = self.loaded.iter().position(|loaded| *loaded == adapter);
        let loads = place.is_none();
        match place {
            Some(place) => {
                self.loaded.remove(place);
            }
            None if self.loaded.len() >= self.slots => {
                if let Some(victim) = self.victim(in_use) {
                    self.loaded.remove(victim);
                }
            }
            None => {}
        }
        self.loaded.push(adapter);
        loads
    }

    /// Records that a request with the adapter has ended, which is a use.
    pub(super) fn release(&mut self, adapter: u32) {
        if let Some(place) = self.loaded.iter().position(|loaded| *loaded == adapter) {
            self.loaded.remove(place);
            self.loaded.push(adapter);
        }
    }

    /// The least recently used idle adapter.
    fn victim(&self, in_use: &[u32]) -> Option<usize> {
        self.loaded.iter().position(|loaded| !in_use.contains(loaded))
    }
}
