//! The contexts of active sessions, by endpoint.

use alloc::collections::BTreeMap;

/// The working set of each endpoint that has one.
#[derive(Clone, Debug, Default)]
pub(super) struct WorkingSets {
    sets: BTreeMap<u32, WorkingSet>,
    /// The number of the next set.
    next: u64,
}

#[derive(Clone, Copy, Debug)]
struct WorkingSet {
    /// Distinguishes it from sets of earlier endpoints in this slot.
    number: u64,
    sessions: u32,
    tokens: u64,
}

/// One context in one working set.
///
/// It can be neither copied nor created elsewhere, so it is removed once. If the endpoint was
/// removed, there is nothing to remove.
#[derive(Debug)]
pub(super) struct Place {
    slot: u32,
    number: u64,
    tokens: u32,
}

impl WorkingSets {
    /// Adds a context of `tokens` tokens to an endpoint's set.
    pub(super) fn put(&mut self, slot: u32, tokens: u32) -> Place {
        let next = self.next;
        let set = self.sets.entry(slot).or_insert_with(|| {
            self.next += 1;
            WorkingSet { number: next, sessions: 0, tokens: 0 }
        });
        set.sessions += 1;
        set.tokens += u64::from(tokens);
        Place { slot, number: set.number, tokens }
    }

    /// Removes a context.
    pub(super) fn take(&mut self, place: Place) {
        let Some(set) = self.sets.get_mut(&place.slot).filter(|set| set.number == place.number)
        else {
            return;
        };
        set.sessions -= 1;
        set.tokens -= u64::from(place.tokens);
        if set.sessions == 0 {
            self.sets.remove(&place.slot);
        }
    }

    /// Moves a context to an endpoint's set, or adds it there.
    pub(super) fn move_to(&mut self, place: &mut Option<Place>, slot: u32, tokens: u32) {
        if let Some(place) = place.take() {
            self.take(place);
        }
        *place = Some(self.put(slot, tokens));
    }

    /// Sets the size of a context.
    pub(super) fn resize(&mut self, place: &mut Place, tokens: u32) {
        if let Some(set) = self.sets.get_mut(&place.slot).filter(|set| set.number == place.number) {
            set.tokens = set.tokens - u64::from(place.tokens) + u64::from(tokens);
        }
        place.tokens = tokens;
    }

    /// Removes an endpoint with all its contexts.
    pub(super) fn leave(&mut self, slot: u32) {
        self.sets.remove(&slot);
    }

    /// Tokens of an endpoint's active contexts.
    pub(super) fn tokens(&self, slot: u32) -> u64 {
        self.sets.get(&slot).map_or(0, |set| set.tokens)
    }
}

impl Place {
    /// Tokens of the context.
    pub(super) const fn tokens(&self) -> u32 {
        self.tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_leaves_with_its_endpoint_and_not_with_the_next_in_its_slot() {
        let mut sets = WorkingSets::default();
        let mut old = sets.put(3, 100);
        sets.leave(3);
        let new = sets.put(3, 7);
        sets.resize(&mut old, 200);
        sets.take(old);
        assert_eq!(sets.tokens(3), 7);
        sets.take(new);
        assert!(sets.sets.is_empty());
    }
}
