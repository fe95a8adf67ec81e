//! The best cases of all endpoints and of groups of them, so that a search can rule out whole
//! groups.
//!
//! Three levels: a *slot*, a *word* of 64 slots, and a *chunk* of 64 words. The best case of a word
//! is as good in every value as the best of its slots; a chunk's, as the best of its words. A group
//! is addressed by its first slot.

use alloc::vec::Vec;

use super::best_case::BestCase;
use super::load_classes::{LoadClass, LoadClasses, WORD};

/// Slots of a chunk.
pub(crate) const CHUNK: u32 = 64 * WORD;

/// The best cases of all slots, words and chunks.
#[derive(Debug, Default)]
pub(crate) struct Bounds {
    slots: Vec<BestCase>,
    loads: LoadClasses,
    words: Vec<BestCase>,
    chunks: Vec<BestCase>,
}

impl Bounds {
    /// Adds a closed slot.
    pub(super) fn push(&mut self) {
        let slot = self.len();
        self.slots.push(BestCase::CLOSED);
        if slot % WORD == 0 {
            self.words.push(BestCase::CLOSED);
            self.loads.push_word();
        }
        if slot % CHUNK == 0 {
            self.chunks.push(BestCase::CLOSED);
        }
    }

    /// Sets the best case of a slot. Computes in **O(1)**; it scans the 64 members of a word or
    /// chunk only if the member that set the group's best value became worse.
    pub(super) fn set(&mut self, slot: u32, best_case: BestCase) {
        let at = slot as usize;
        self.loads.set(slot, best_case.load_class());
        let before = core::mem::replace(&mut self.slots[at], best_case);
        if let Some(before) = settle(&self.slots, &mut self.words, at, before) {
            settle(&self.words, &mut self.chunks, at / 64, before);
        }
    }

    /// Sets the best cases of many slots. Computes in **O(slots)**.
    pub(super) fn set_many(&mut self, best_cases: impl Iterator<Item = (u32, BestCase)>) {
        for (slot, best_case) in best_cases {
            self.loads.set(slot, best_case.load_class());
            self.slots[slot as usize] = best_case;
        }
        let settle = |all: &[BestCase], groups: &mut [BestCase]| {
            for (group, members) in groups.iter_mut().zip(all.chunks(64)) {
                *group = best(members);
            }
        };
        settle(&self.slots, &mut self.words);
        settle(&self.words, &mut self.chunks);
    }

    /// Sets the factors by which the endpoints of many slots are slower than described. Nothing
    /// else of a best case depends on them. Computes in **O(slots)**.
    pub(super) fn set_slowdowns(&mut self, slowdowns: impl Iterator<Item = (u32, f64)>) {
        for (slot, slowdown) in slowdowns {
            let best_case = &mut self.slots[slot as usize];
            if best_case.is_open() {
                best_case.slowdown = slowdown;
            }
        }
        settle_slowdowns(&self.slots, &mut self.words);
        settle_slowdowns(&self.words, &mut self.chunks);
    }

    /// The number of slots, occupied or not.
    pub(crate) fn len(&self) -> u32 {
        self.slots.len() as u32
    }

    /// The best case of one slot.
    pub(crate) fn slot(&self, slot: u32) -> &BestCase {
        &self.slots[slot as usize]
    }

    /// The best cases of a word's slots.
    pub(crate) fn slots_of(&self, word: u32) -> &[BestCase] {
        members(&self.slots, word as usize)
    }

    /// The best cases of a chunk's words.
    pub(crate) fn words_of(&self, chunk: u32) -> &[BestCase] {
        members(&self.words, (chunk / WORD) as usize)
    }

    /// The slots of word number `word` whose loads are at most in this class: a bit is set for
    /// each.
    pub(crate) fn loaded_up_to(&self, word: u32, class: LoadClass) -> u64 {
        self.loads.up_to(word, class)
    }

    /// The best case of the pool.
    pub(crate) fn best(&self) -> BestCase {
        best(&self.chunks)
    }

    /// The best cases of all chunks.
    pub(crate) fn chunks(&self) -> &[BestCase] {
        &self.chunks
    }
}

/// Updates the group of member `at`, which was `before`. Returns the group's previous best case if
/// it changed.
fn settle(
    all: &[BestCase],
    groups: &mut [BestCase],
    at: usize,
    before: BestCase,
) -> Option<BestCase> {
    let (group, after) = (groups[at / 64], all[at]);
    let at_best = group.or(after);
    let mut now = at_best;
    if group.loses(&before, &after) {
        now = BestCase::CLOSED;
        for some in members(all, at - at % 64).chunks(8) {
            now = now.or(best(some));
            // Often others are as good: on an idle pool, all are.
            if now == at_best {
                break;
            }
        }
    }
    groups[at / 64] = now;
    (now != group).then_some(group)
}

/// Updates the least slowdowns of all groups.
fn settle_slowdowns(all: &[BestCase], groups: &mut [BestCase]) {
    for (group, members) in groups.iter_mut().zip(all.chunks(64)) {
        let slowdowns = members.iter().map(|member| member.slowdown);
        group.slowdown = slowdowns.fold(f64::INFINITY, f64::min);
    }
}

/// Up to 64 members from `first` on.
fn members(all: &[BestCase], first: usize) -> &[BestCase] {
    &all[first.min(all.len())..all.len().min(first + 64)]
}

fn best(best_cases: &[BestCase]) -> BestCase {
    best_cases.iter().fold(BestCase::CLOSED, |best, best_case| best.or(*best_case))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn best_case((wait, tokens, capacity, in_flight): (u8, u8, u8, u8)) -> BestCase {
        if wait == 0 {
            return BestCase::CLOSED;
        }
        BestCase {
            least_wait: f64::from(wait),
            kv_tokens: f64::from(tokens),
            capacity: u32::from(capacity),
            in_flight: u32::from(in_flight),
            running: f64::from(in_flight / 2),
            slowdown: 1.0,
            ..BestCase::CLOSED
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

        #[test]
        fn every_group_is_as_good_as_the_best_of_its_slots(
            slots in 1u32..9_000,
            near in 1u32..200,
            changes in prop::collection::vec((any::<u32>(), (0u8..4, 0u8..4, 0u8..4, 0u8..4)), 0..400),
            slower in prop::collection::vec((any::<u32>(), 0.5f64..2.0), 0..100),
        ) {
            let mut bounds = Bounds::default();
            (0..slots).for_each(|_| bounds.push());
            // Half of the changes fall into few words.
            let slot = |at: u32| if at % 2 == 0 { at % slots } else { at % slots.min(near) };
            let (single, many) = changes.split_at(changes.len() / 2);
            for (at, figures) in single {
                bounds.set(slot(*at), best_case(*figures));
            }
            bounds.set_many(many.iter().map(|(at, figures)| (slot(*at), best_case(*figures))));
            bounds.set_slowdowns(slower.into_iter().map(|(at, slowdown)| (at % slots, slowdown)));
            let all: Vec<BestCase> = (0..slots).map(|slot| *bounds.slot(slot)).collect();
            let scan = |size: u32| all.chunks(size as usize).map(best).collect::<Vec<_>>();
            prop_assert_eq!(bounds.chunks(), scan(CHUNK));
            let words: Vec<BestCase> =
                (0..slots).step_by(CHUNK as usize).flat_map(|chunk| bounds.words_of(chunk)).copied().collect();
            prop_assert_eq!(words, scan(WORD));
            for word in (0..slots).step_by(WORD as usize) {
                let to = slots.min(word + WORD);
                prop_assert_eq!(bounds.slots_of(word), &all[word as usize..to as usize]);
            }
        }
    }
}
