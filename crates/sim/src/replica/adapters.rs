//! LoRA adapters of one replica: a fixed number of slots, loaded on demand, the least recently used idle one evicted.

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

    /// Makes the adapter usable beside those `in_use`: `Some(true)` if it had to be loaded, `None` if no slot is free.
    pub(super) fn acquire(&mut self, adapter: u32, in_use: &[u32]) -> Option<bool> {
        let loads = match self.loaded.iter().position(|loaded| *loaded == adapter) {
            Some(place) => {
                self.loaded.remove(place);
                false
            }
            None => {
                if self.loaded.len() >= self.slots {
                    let victim = self.loaded.iter().position(|loaded| !in_use.contains(loaded))?;
                    self.loaded.remove(victim);
                }
                true
            }
        };
        self.loaded.push(adapter);
        Some(loads)
    }
}
