//! The tickets of queued requests, by id.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Tickets in a full part.
const PART: usize = 128;

/// Neighbours with at most so many tickets together become one part.
const FEW: usize = PART / 2;

/// Tickets by id, which is the order of arrival.
///
/// Ids only rise, so a new ticket is appended: a tree would search its place and split its nodes.
/// Removing computes in **O(log n)**, and moves the parts on one side when a part ends, at most
/// once for `FEW` removals.
#[derive(Debug)]
pub(super) struct Tickets<T> {
    /// By rising ids. Only the last may be empty: a short queue allocates once.
    parts: VecDeque<Part<T>>,
}

#[derive(Debug)]
struct Part<T> {
    /// Not above its ids, and above those of the part before.
    first: u64,
    /// By rising ids.
    tickets: Vec<(u64, T)>,
}

impl<T: Copy> Tickets<T> {
    /// Adds the ticket of the newest id.
    pub(super) fn push(&mut self, id: u64, ticket: T) {
        if let Some(part) = self.parts.back_mut().filter(|part| part.tickets.len() < PART) {
            part.tickets.push((id, ticket));
            return;
        }
        let mut tickets = Vec::with_capacity(PART);
        tickets.push((id, ticket));
        self.parts.push_back(Part { first: id, tickets });
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<T> {
        let after = self.parts.partition_point(|part| part.first <= id);
        let number = after.checked_sub(1)?;
        let is_last = after == self.parts.len();
        let tickets = &mut self.parts.get_mut(number)?.tickets;
        let at = tickets.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        let (_, ticket) = tickets.remove(at);
        if tickets.is_empty() && !is_last {
            self.parts.remove(number);
            self.join(number);
        } else if tickets.len() <= FEW {
            self.join(after);
            self.join(number);
        }
        Some(ticket)
    }

    /// The ticket of the lowest id.
    pub(super) fn first(&self) -> Option<T> {
        let (_, ticket) = self.parts.front()?.tickets.first()?;
        Some(*ticket)
    }

    /// Moves the tickets of a part into the part before it, if both have few.
    fn join(&mut self, number: usize) {
        let Some(before) = number.checked_sub(1) else { return };
        let len = |at| Some(self.parts.get(at)?.tickets.len());
        if len(before).zip(len(number)).is_none_or(|(one, other)| one + other > FEW) {
            return;
        }
        if let Some(part) = self.parts.remove(number) {
            if let Some(before) = self.parts.get_mut(before) {
                before.tickets.extend(part.tickets);
            }
        }
    }
}

impl<T> Default for Tickets<T> {
    fn default() -> Self {
        Self { parts: VecDeque::new() }
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    impl<T> Tickets<T> {
        /// Checks that parts are in order and filled, and returns the number of tickets.
        fn check(&self) -> usize {
            let parts: Vec<_> = self.parts.iter().collect();
            for (at, part) in (1..).zip(&parts) {
                assert!(part.tickets.len() <= PART);
                assert!(at == parts.len() || !part.tickets.is_empty());
                assert!(part.tickets.is_sorted_by(|(one, _), (other, _)| one < other));
                assert!(part.tickets.first().is_none_or(|(id, _)| part.first <= *id));
            }
            for two in parts.windows(2) {
                assert!(two[0].tickets[two[0].tickets.len() - 1].0 < two[1].first);
                assert!(two[0].tickets.len() + two[1].tickets.len() > FEW);
            }
            parts.iter().map(|part| part.tickets.len()).sum()
        }
    }

    proptest! {
        /// Compares with a sorted map: pushes, removals of every so many tickets, and of any id.
        #[test]
        fn tickets_equal_a_sorted_map(
            steps in prop::collection::vec((0..5_u8, 1..400_u64, 1..9_u64), 1..40),
        ) {
            let (mut tickets, mut model) = (Tickets::default(), BTreeMap::new());
            let mut newest = 0;
            for (step, count, gap) in steps {
                match step {
                    0 | 1 => {
                        for _ in 0..count {
                            newest += gap;
                            tickets.push(newest, newest ^ 1);
                            model.insert(newest, newest ^ 1);
                        }
                    }
                    2 => {
                        for _ in 0..count {
                            let first = model.first_key_value().map_or(0, |(id, _)| *id);
                            prop_assert_eq!(tickets.remove(first), model.remove(&first));
                        }
                    }
                    3 => {
                        let ids: Vec<u64> = model.keys().copied().skip(count as usize).collect();
                        for (at, id) in (0..).zip(ids) {
                            if at % (gap + 1) > 0 {
                                prop_assert_eq!(tickets.remove(id), model.remove(&id));
                                tickets.check();
                            }
                        }
                    }
                    _ => prop_assert_eq!(tickets.remove(count), model.remove(&count)),
                }
                prop_assert_eq!(tickets.check(), model.len());
                prop_assert_eq!(tickets.first(), model.first_key_value().map(|(_, ticket)| *ticket));
            }
        }
    }
}
