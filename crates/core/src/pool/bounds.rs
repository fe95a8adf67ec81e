//! The best cases of all endpoints and of groups of them, so that a search can rule out whole
//! groups.
//!
//! Four levels: a *slot*, a *word* of 64 slots, a *chunk* of 64 words, and a *region* of 64 chunks.
//! The best case of a group is as good in every value as the best of its members. A group is
//! addressed by its first slot.

use alloc::vec::Vec;

use super::best_case::BestCase;
use super::load_classes::{LoadClass, LoadClasses, WORD};

/// Slots of a chunk.
pub(crate) const CHUNK: u32 = 64 * WORD;

/// The best cases of all slots and groups.
#[derive(Debug, Default)]
pub(crate) struct Bounds {
    slots: Vec<BestCase>,
    loads: LoadClasses,
    words: Groups,
    chunks: Groups,
    regions: Groups,
}

/// Groups of 64 members.
#[derive(Debug, Default)]
struct Groups {
    best_cases: Vec<BestCase>,
    /// The members whose best case is their group's: a bit is set for each.
    at_best: Vec<u64>,
}

/// The members of a group, at most 64. They begin at every `step`th slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Members<'a> {
    pub(crate) first: u32,
    step: u32,
    best_cases: &'a [BestCase],
    /// The members whose best case is the group's: a bit is set for each.
    pub(crate) at_best: u64,
}

impl Bounds {
    /// Adds a closed slot.
    pub(super) fn push(&mut self) {
        let slot = self.slots.len();
        self.slots.push(BestCase::CLOSED);
        if slot % WORD as usize == 0 {
            self.loads.push_word();
        }
        self.words.cover(slot);
        self.chunks.cover(slot / 64);
        self.regions.cover(slot / 64 / 64);
    }

    /// Sets the best case of a slot. Computes in **O(1)**; it scans the 64 members of a group only
    /// if the member that set the group's best value became worse.
    pub(super) fn set(&mut self, slot: u32, best_case: BestCase) {
        let Self { slots, loads, words, chunks, regions } = self;
        let at = slot as usize;
        loads.set(slot, best_case.load_class());
        let before = core::mem::replace(&mut slots[at], best_case);
        let Some(before) = words.settle(slots, at, before) else { return };
        let Some(before) = chunks.settle(&words.best_cases, at / 64, before) else { return };
        regions.settle(&chunks.best_cases, at / 64 / 64, before);
    }

    /// Sets the best cases of many slots. Computes in **O(slots)**.
    pub(super) fn set_many(&mut self, best_cases: impl Iterator<Item = (u32, BestCase)>) {
        for (slot, best_case) in best_cases {
            self.loads.set(slot, best_case.load_class());
            self.slots[slot as usize] = best_case;
        }
        self.settle_groups(|_, members| best(members));
    }

    /// Sets the factors by which the endpoints of many slots are slower than described. Nothing
    /// else of a best case depends on them. Computes in **O(slots)**.
    pub(super) fn set_slowdowns(&mut self, slowdowns: impl Iterator<Item = (u32, f64)>) {
        let mut changed = false;
        for (slot, slowdown) in slowdowns {
            let best_case = &mut self.slots[slot as usize];
            if best_case.is_open() {
                changed |= best_case.slowdown.to_bits() != slowdown.to_bits();
                best_case.slowdown = slowdown;
            }
        }
        if !changed {
            return;
        }
        self.settle_groups(|group, members| {
            let slowdowns = members.iter().map(|member| member.slowdown);
            BestCase { slowdown: slowdowns.fold(f64::INFINITY, f64::min), ..*group }
        });
    }

    fn settle_groups(&mut self, best: impl Fn(&BestCase, &[BestCase]) -> BestCase) {
        self.words.settle_all(&self.slots, &best);
        self.chunks.settle_all(&self.words.best_cases, &best);
        self.regions.settle_all(&self.chunks.best_cases, &best);
    }

    /// The number of slots, occupied or not.
    pub(crate) fn len(&self) -> u32 {
        self.slots.len() as u32
    }

    /// The best case of one slot.
    pub(crate) fn slot(&self, slot: u32) -> &BestCase {
        &self.slots[slot as usize]
    }

    /// The slots of the word that begins at this one.
    pub(crate) fn slots_of(&self, word: u32) -> Members<'_> {
        let at_best = self.words.at_best[(word / WORD) as usize];
        let best_cases = members(&self.slots, word as usize);
        Members { first: word, step: 1, best_cases, at_best }
    }

    /// The words of the chunk that begins at this slot.
    pub(crate) fn words_of(&self, chunk: u32) -> Members<'_> {
        let at_best = self.chunks.at_best[(chunk / CHUNK) as usize];
        let best_cases = members(&self.words.best_cases, (chunk / WORD) as usize);
        Members { first: chunk, step: WORD, best_cases, at_best }
    }

    /// The best cases of all regions, and their chunks.
    pub(crate) fn regions(&self) -> impl Iterator<Item = (&BestCase, Members<'_>)> {
        let chunks = (0..).step_by(64 * CHUNK as usize).zip(self.chunks.best_cases.chunks(64));
        self.regions.best_cases.iter().zip(&self.regions.at_best).zip(chunks).map(
            |((best_case, at_best), (first, best_cases))| {
                (best_case, Members { first, step: CHUNK, best_cases, at_best: *at_best })
            },
        )
    }

    /// The slots of word number `word` whose loads are at most in this class: a bit is set for
    /// each.
    #[inline(always)]
    pub(crate) fn loaded_up_to(&self, word: u32, class: LoadClass) -> u64 {
        self.loads.up_to(word, class)
    }

    /// The best case of the pool.
    pub(crate) fn best(&self) -> BestCase {
        best(&self.regions.best_cases)
    }
}

impl<'a> Members<'a> {
    /// The first slot of member number `at`.
    #[inline(always)]
    pub(crate) fn slot(self, at: u32) -> u32 {
        self.first + self.step * at
    }

    /// The first slots and the best cases of the members whose bits are set. Bits of members that
    /// do not exist are left out.
    #[inline(always)]
    pub(crate) fn best_cases(self, members: u64) -> impl Iterator<Item = (u32, &'a BestCase)> {
        ones(members).map_while(move |at| Some((self.slot(at), self.best_cases.get(at as usize)?)))
    }
}

impl Groups {
    /// Adds the closed member number `at`, the next one.
    fn cover(&mut self, at: usize) {
        if at / 64 == self.best_cases.len() {
            self.best_cases.push(BestCase::CLOSED);
            self.at_best.push(0);
        }
        self.at_best[at / 64] |= u64::from(!self.best_cases[at / 64].is_open()) << (at % 64);
    }

    /// Updates the group of member `at`, which was `before`. Returns the group's previous best case
    /// if it changed.
    fn settle(&mut self, all: &[BestCase], at: usize, before: BestCase) -> Option<BestCase> {
        // Small pools have one word.
        if let [only] = all {
            (self.best_cases[0], self.at_best[0]) = (*only, 1);
            return Some(before);
        }
        let (group, after) = (self.best_cases[at / 64], all[at]);
        let with_it = group.or(after);
        let mut now = with_it;
        if group.loses(&before, &after) {
            now = BestCase::CLOSED;
            for some in members(all, at - at % 64).chunks(8) {
                now = now.or(best(some));
                // Often others are as good: on an idle pool, all are.
                if now == with_it {
                    break;
                }
            }
        }
        let at_best = &mut self.at_best[at / 64];
        if now == group {
            let bit = 1 << (at % 64);
            *at_best = if after == group { *at_best | bit } else { *at_best & !bit };
            return None;
        }
        self.best_cases[at / 64] = now;
        *at_best = equals(members(all, at - at % 64), &now);
        Some(group)
    }

    /// Updates all groups. `best` is a group's best case, from its previous one and its members.
    fn settle_all(&mut self, all: &[BestCase], best: impl Fn(&BestCase, &[BestCase]) -> BestCase) {
        let groups = self.best_cases.iter_mut().zip(&mut self.at_best);
        for ((group, at_best), members) in groups.zip(all.chunks(64)) {
            *group = best(group, members);
            *at_best = equals(members, group);
        }
    }
}

/// Up to 64 members from `first` on.
fn members(all: &[BestCase], first: usize) -> &[BestCase] {
    &all[first.min(all.len())..all.len().min(first + 64)]
}

fn best(best_cases: &[BestCase]) -> BestCase {
    best_cases.iter().fold(BestCase::CLOSED, |best, best_case| best.or(*best_case))
}

/// The members that are equal to a best case: a bit is set for each.
fn equals(members: &[BestCase], best_case: &BestCase) -> u64 {
    let equal = members.iter().rev().map(|member| u64::from(member == best_case));
    equal.fold(0, |bits, equal| bits << 1 | equal)
}

/// The numbers of the bits that are set.
#[inline(always)]
pub(crate) fn ones(bits: u64) -> impl Iterator<Item = u32> {
    let mut left = bits;
    core::iter::from_fn(move || {
        if left == 0 {
            return None;
        }
        let first = left.trailing_zeros();
        left &= left - 1;
        Some(first)
    })
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
            let (words, chunks) = (scan(WORD), scan(CHUNK));
            let is_as = |members: Members<'_>, scanned: &[BestCase]| {
                let here = members.first / members.step;
                let scanned = &scanned[here as usize..][..members.best_cases.len()];
                let group = best(scanned);
                members.best_cases == scanned
                    && (0..scanned.len()).all(|at| {
                        (members.at_best >> at & 1 == 1) == (scanned[at] == group)
                    })
            };
            prop_assert_eq!(bounds.best(), best(&all));
            let regions: Vec<_> = bounds.regions().collect();
            prop_assert_eq!(regions.len(), 1);
            prop_assert_eq!(*regions[0].0, best(&all));
            prop_assert_eq!(regions[0].1.best_cases.len(), chunks.len());
            prop_assert!(is_as(regions[0].1, &chunks));
            for chunk in (0..slots).step_by(CHUNK as usize) {
                prop_assert!(is_as(bounds.words_of(chunk), &words));
            }
            for word in (0..slots).step_by(WORD as usize) {
                prop_assert!(is_as(bounds.slots_of(word), &all));
            }
        }
    }
}
