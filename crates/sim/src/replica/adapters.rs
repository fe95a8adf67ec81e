//! LoRA adapters of one replica: a fixed number of slots, loaded on demand. The least recently used
//! idle adapter is evicted.

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
