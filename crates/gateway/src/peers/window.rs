//! Which messages of a peer have arrived, and which are missing.

/// The last 64 sequences of a peer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Window {
    highest: u64,
    /// Bit `i` is set if `highest - i` has arrived.
    seen: u64,
    /// Up to here, a full message has replaced what is missing.
    floor: u64,
    /// Whether a message was lost that is too old to be sent again.
    lost: bool,
}

/// Whether a message was received before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Receipt {
    /// It was not.
    New,
    /// It was.
    Seen,
    /// That is no longer known.
    Old,
}

impl Window {
    /// No message has arrived; the sender's first one has the sequence 1.
    pub(super) const fn new() -> Self {
        Self { highest: 0, seen: u64::MAX, floor: 0, lost: false }
    }

    /// A message with contents has arrived.
    pub(super) fn receive(&mut self, sequence: u64) -> Receipt {
        self.expect(sequence);
        let age = self.highest - sequence;
        if age >= SIZE {
            return Receipt::Old;
        }
        let bit = 1 << age;
        let known = self.seen & bit != 0;
        self.seen |= bit;
        if known { Receipt::Seen } else { Receipt::New }
    }

    /// The sender has sent messages up to this one.
    pub(super) fn expect(&mut self, sequence: u64) {
        let Some(ahead) = sequence.checked_sub(self.highest).filter(|ahead| *ahead > 0) else {
            return;
        };
        let leaving = if ahead >= SIZE { u64::MAX } else { !(u64::MAX >> ahead) };
        self.lost |= ahead > SIZE || !self.seen & leaving != 0;
        self.seen = if ahead >= SIZE { 0 } else { self.seen << ahead };
        self.highest = sequence;
    }

    /// A message with the whole state has arrived: what is older is no longer missing.
    pub(super) fn settle(&mut self, sequence: u64) {
        self.floor = self.floor.max(sequence);
        if sequence + SIZE > self.highest {
            self.lost = false;
        }
    }

    /// The sequences that have not arrived and can be sent again, from the oldest on.
    pub(super) fn missing(&self) -> impl Iterator<Item = u64> + '_ {
        let ages = (0..SIZE).rev().filter(|age| self.seen & (1 << age) == 0);
        ages.filter_map(|age| self.highest.checked_sub(age)).filter(|it| *it > self.floor)
    }

    /// Whether only the whole state can replace what is missing.
    pub(super) const fn has_lost(&self) -> bool {
        self.lost
    }

    /// Whether nothing is missing.
    pub(super) fn is_complete(&self) -> bool {
        !self.lost && self.missing().next().is_none()
    }

    /// The sequence before which messages count as old.
    pub(super) const fn oldest(&self) -> u64 {
        self.highest.saturating_sub(SIZE - 1)
    }
}

/// Sequences of a window.
const SIZE: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_window_knows_what_a_set_knows(steps in prop::collection::vec((1u64..150, any::<bool>()), 0..80)) {
            let (mut window, mut all, mut highest) = (Window::new(), BTreeSet::new(), 0);
            for (sequence, arrives) in steps {
                highest = highest.max(sequence);
                if arrives {
                    let expected = if sequence + SIZE <= highest {
                        Receipt::Old
                    } else if all.insert(sequence) {
                        Receipt::New
                    } else {
                        Receipt::Seen
                    };
                    prop_assert_eq!(window.receive(sequence), expected);
                } else {
                    window.expect(sequence);
                }
                let near = (1..=highest).filter(|it| it + SIZE > highest && !all.contains(it));
                prop_assert_eq!(window.missing().collect::<Vec<_>>(), near.collect::<Vec<_>>());
                let far = (1..=highest).any(|it| it + SIZE <= highest && !all.contains(&it));
                prop_assert!(!far || window.has_lost());
                prop_assert_eq!(window.oldest(), highest.saturating_sub(SIZE - 1));
            }
            window.settle(highest);
            prop_assert!(window.is_complete());
        }
    }
}
