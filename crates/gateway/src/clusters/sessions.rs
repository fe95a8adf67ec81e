//! The last cluster of each session, which holds the session's prefix.

use alloc::collections::BTreeMap;

use slotwise::Instant;

use crate::routing::hash;

/// Where sessions were served last. Each entry has about 100 bytes; the one that was used longest
/// ago makes room for a new one.
#[derive(Clone, Debug, Default)]
pub(super) struct Sessions {
    places: BTreeMap<u64, Place>,
    /// The sessions, the one that was used longest ago first.
    by_use: BTreeMap<u64, u64>,
    uses: u64,
}

/// Where a session was served last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The identity of the export.
    pub(super) export: u64,
    /// The prompt's tokens.
    pub(super) tokens: u64,
    pub(super) at: Instant,
    used: u64,
}

impl Sessions {
    /// Records a session, in **O(log sessions)**.
    pub(super) fn record(
        &mut self,
        key: u64,
        (export, tokens, at): (u64, u64, Instant),
        most: usize,
    ) {
        self.uses += 1;
        let place = Place { export, tokens, at, used: self.uses };
        if let Some(old) = self.places.insert(key, place) {
            self.by_use.remove(&old.used);
        }
        self.by_use.insert(self.uses, key);
        while self.places.len() > most {
            let Some((_, oldest)) = self.by_use.pop_first() else { break };
            self.places.remove(&oldest);
        }
    }

    /// Where the session was served last, in **O(log sessions)**.
    pub(super) fn place(&self, key: u64) -> Option<Place> {
        self.places.get(&key).copied()
    }
}

/// The key of a session. Two sessions with equal keys cost a wrong hint, no more.
pub(super) fn key(pool: &str, session: &str) -> u64 {
    hash(0, [pool, session])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_that_was_used_longest_ago_makes_room() {
        let mut sessions = Sessions::default();
        for key in [1, 2, 1, 3] {
            sessions.record(key, (0, key, Instant::ORIGIN), 2);
        }
        assert!(sessions.place(2).is_none());
        assert_eq!(sessions.place(1).map(|place| place.tokens), Some(1));
        assert_eq!((sessions.places.len(), sessions.by_use.len()), (2, 2));
        sessions.record(4, (0, 4, Instant::ORIGIN), 0);
        assert_eq!((sessions.places.len(), sessions.by_use.len()), (0, 0));
    }
}
