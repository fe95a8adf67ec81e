use std::collections::BTreeSet;

use proptest::prelude::*;

use super::line::MAX_PASSED;
use super::segment::least;
use super::*;
use crate::rng::Rng;

impl Table {
    fn insert(&mut self, key: u64, address: Address) {
        self.insert_at(self.place(key), address);
    }

    fn remove(&mut self, key: u64, address: Address) -> bool {
        self.remove_at(self.place(key), address)
    }
}

impl Segment {
    /// Every line once, from the home of `tag` on.
    fn way(&self, tag: Tag) -> impl Iterator<Item = usize> {
        let home = self.home(tag);
        (home..self.lines.len()).chain(0..home)
    }

    /// Number of entries passed on from each line.
    fn passed(&self) -> Vec<u32> {
        let mut passed = vec![0; self.lines.len()];
        for (here, line) in self.lines.iter().enumerate() {
            for (tag, _) in line.entries() {
                self.way(tag).take_while(|at| *at != here).for_each(|at| passed[at] += 1);
            }
        }
        passed
    }
}

/// A table whose secret keeps keys unchanged, so that tests choose the hash.
fn open() -> Table {
    Table::with_mix(Mix { factor: 1 << 64, term: 0 })
}

/// The key in an open table with this even tag, before the parabola.
fn key(tag: u32, rest: u32) -> u64 {
    u64::from(tag ^ rest) << 32 | u64::from(rest)
}

fn at(run: usize, offset: u16) -> Address {
    Address { run: run as u32, offset }
}

fn check(table: &Table) {
    for (number, segment) in (0..).zip(&table.segments) {
        let lines = segment.lines.len();
        assert!(segment.lines.iter().map(|line| line.counts >> 8).eq(segment.passed()));
        assert_eq!(segment.lines.iter().map(Line::len).sum::<usize>(), segment.len as usize);
        assert_eq!(segment.most as usize, most(lines));
        assert!(lines.is_power_of_two() && segment.len <= segment.most);
        assert!(segment.tags().all(|tag| segment.contains(tag)));
        let ranges = table.directory.iter().filter(|there| **there == number).count();
        assert_eq!(ranges, 1 << (segment.below - table.below));
        assert_eq!(table.segment_of(segment.first), number as usize);
    }
    let sum = |of: fn(&Segment) -> usize| table.segments.iter().map(of).sum::<usize>();
    assert_eq!(sum(|segment| segment.len as usize), table.len());
    assert_eq!(sum(|segment| segment.lines.len()), table.lines);
    assert_eq!(sum(|segment| 1 << segment.below), table.directory.len() << table.below);
    assert_eq!(table.iter().count(), table.len());
}

/// Limit of bytes for `len` entries with random tags, in any history.
const fn bytes_at_most(len: usize) -> usize {
    if len == 0 { 0 } else { 48 * len + 4_096 }
}

proptest! {
    /// Few keys under fewer tags, at the ends and in the middle of the ring, with many entries
    /// each.
    #[test]
    fn behaves_like_a_set_of_entries(ops in prop::collection::vec((0..5, 0usize..32, 0u16..9), 0..600)) {
        let tags = [0, 1, 1 << 31, u32::MAX];
        let key = |run: usize| key(tags[run / 2 % 4], run as u32);
        let (mut table, mut model) = (open(), BTreeSet::new());
        for (op, run, offset) in ops {
            let here = at(run, offset);
            if op < 2 {
                prop_assert_eq!(table.remove(key(run), here), model.remove(&(run, offset)));
            } else if model.insert((run, offset)) {
                table.insert(key(run), here);
            }
            table.touch(table.place(key(run)));
            check(&table);
            prop_assert_eq!(table.get(key(run), |other| other == here).is_some(), model.contains(&(run, offset)));
            let any = table.get(key(run), |other| other.run == run as u32);
            prop_assert_eq!(any.is_some(), model.range((run, 0)..(run + 1, 0)).next().is_some());
        }
        let entries: BTreeSet<_> = table.iter().map(|at| (at.run as usize, at.offset)).collect();
        prop_assert_eq!(entries, model);
    }
}

#[test]
fn searches_end_even_if_every_line_is_passed() {
    let (first, second) = (key(0, 0), key(u32::MAX, 0));
    let mut table = open();
    (0..7).for_each(|run| table.insert(first, at(run, 0)));
    (0..4).for_each(|run| assert!(table.remove(first, at(run, 0))));
    (7..13).for_each(|run| table.insert(second, at(run, 0)));
    check(&table);
    let lines = &table.segments[0].lines;
    assert!(lines.len() == 2 && lines.iter().all(Line::is_passed));
    for key in [first, second, key(1, 0), key(2, 0)] {
        assert_eq!(table.get(key, |_| false), None);
        assert!(!table.remove(key, at(0, 0)));
    }
}

#[test]
fn equal_keys_double_a_segment_that_cannot_split() {
    let mut table = open();
    for run in 0..4_000 {
        let foreseen = table.allocated() + table.growth([key(7, 0)].into_iter());
        table.insert(key(7, 0), at(run, 0));
        assert_eq!(table.allocated(), foreseen);
        assert_eq!(table.get(key(7, 0), |other| other == at(0, 0)), Some(at(0, 0)));
        assert_eq!(table.get(key(8, 0), |_| true), None);
    }
    check(&table);
    assert_eq!(table.segments.iter().map(|segment| segment.below).min(), Some(MIN_BELOW));
    (0..4_000).for_each(|run| assert!(table.remove(key(7, 0), at(run, 0))));
    assert_eq!(table.allocated(), 0);
}

#[test]
fn what_is_remembered_alike_is_told_apart_by_the_block() {
    let mut table = open();
    (0..9).for_each(|run| table.insert(key(7, run), at(run as usize, 1)));
    for run in 0..9 {
        assert_eq!(table.get(key(7, run), |other| other.run == run), Some(at(run as usize, 1)));
    }
    assert!(table.remove(key(7, 4), at(4, 1)));
    assert_eq!(table.get(key(7, 4), |other| other.run == 4), None);
    assert_eq!(table.len(), 8);
}

#[test]
fn new_entries_are_added_without_a_search_where_there_is_space() {
    let mut table = Table::new(KeyedState::new(4));
    let places: Vec<_> = (0..9_000).map(|key| table.place(Rng::new(key).next_u64())).collect();
    let mut searched = 0;
    for (run, place) in (0..).zip(&places) {
        assert_eq!(table.get_at(*place, |other| other == at(run, 0)), None);
        if !table.insert_new(*place, at(run, 0)) {
            assert_eq!(table.get_or_insert_at(*place, at(run, 0), |_| false), None);
            searched += 1;
        }
        assert!(!table.insert_new(*place, at(run, 1)), "its tag is known");
    }
    check(&table);
    assert!(searched < 100, "{searched}");
    for (run, place) in (0..).zip(&places) {
        assert_eq!(table.get_at(*place, |other| other == at(run, 0)), Some(at(run, 0)));
        assert!(table.remove_at(*place, at(run, 0)));
    }
    assert_eq!((table.len(), table.allocated()), (0, 0));
}

#[test]
fn about_two_thirds_of_the_slots_are_in_use_at_any_size() {
    let mut table = Table::new(KeyedState::new(8));
    let mut rng = Rng::new(8);
    for run in 0..400_000 {
        table.insert(rng.next_u64(), at(run, 0));
        if run > 20_000 && run % 1_000 == 0 {
            let (bytes, splits) = (table.allocated() / (run + 1), table.segments.len());
            assert!((14..=19).contains(&bytes), "{bytes} bytes an entry, {splits} segments");
        }
    }
}

#[test]
fn lines_are_written_as_they_are_read() {
    let offsets = [1, 2, 3, 4, 5, 6];
    let line = Line {
        tags: [7, 8, 9, 10, 11, 12],
        runs: [13, 14, 15, 16, 17, 18],
        counts: 19 << 8 | 6,
        offsets,
    };
    assert!(Line::of_words(line.words()).entries().eq(line.entries()));
    assert_eq!(Line::of_words(line.words()).counts, line.counts);
}

#[test]
fn a_full_counter_only_makes_searches_longer() {
    let mut line = Line { counts: (MAX_PASSED - 1) << 8 | 6, ..Line::default() };
    line.pass();
    line.pass();
    line.unpass();
    assert_eq!((line.counts >> 8, line.len()), (MAX_PASSED, 6));
}

#[test]
fn it_takes_what_its_entries_need_on_the_way_up_and_down() {
    let mut table = Table::new(KeyedState::new(1));
    assert_eq!((table.allocated(), bytes_at_most(0)), (0, 0));
    for round in 0..3 {
        let mut rng = Rng::new(round);
        let keys: Vec<_> = (0..40_000).map(|_| rng.next_u64()).collect();
        for (chunk, keys) in keys.chunks(100).enumerate() {
            let foreseen = table.allocated() + table.growth(keys.iter().copied());
            for (key, run) in keys.iter().zip(chunk * 100..) {
                table.insert(*key, at(run, 0));
                assert!(table.allocated() <= bytes_at_most(run + 1));
            }
            assert_eq!(table.allocated(), foreseen);
        }
        check(&table);
        assert!(table.allocated() <= 20 * keys.len());
        for (run, key) in keys.iter().enumerate() {
            assert_eq!(table.get(*key, |other| other.run == run as u32), Some(at(run, 0)));
            assert!(table.remove(*key, at(run, 0)));
            assert!(table.allocated() <= bytes_at_most(table.len()));
            if run % 4_096 == 0 {
                check(&table);
            }
        }
        assert_eq!((table.len(), table.allocated()), (0, 0));
    }
}

#[test]
fn no_size_is_too_small_or_too_large_for_what_led_to_it() {
    for lines in (0..16).map(|power| 1 << power) {
        assert!(most(lines) < lines * SLOTS && least(2 * lines) < most(lines));
        assert!(least(lines) <= most(lines / 2) || lines == 1);
    }
    let joined = JOINED as usize * LINES;
    assert!(least(LINES) < joined && joined < most(LINES));
}

#[test]
fn keys_in_any_order_spread() {
    let strides = [1_u64, 3, 1 << 8, 1 << 20, 1 << 32, 1 << 44, 0x9e37_79b9_7f4a_7c15];
    for (stride, seed) in strides.into_iter().zip(0..) {
        let mut table = Table::new(KeyedState::new(seed));
        (0..1_000_000).for_each(|run| table.insert(stride.wrapping_mul(run as u64), at(run, 0)));
        let lines = table.segments.iter().flat_map(|segment| &segment.lines);
        let most_passed = lines.map(|line| line.counts >> 8).max();
        assert!(most_passed < Some(64), "{stride:#x}: {most_passed:?}");
        let deepest = table.segments.iter().map(|segment| segment.below).min();
        assert!(deepest >= Some(Tag::BITS - 12), "{stride:#x}: {deepest:?}");
    }
}

#[test]
fn keys_that_meet_under_one_secret_do_not_under_another() {
    let (known, secret) = (Mix::new(KeyedState::new(1)), Mix::new(KeyedState::new(2)));
    let mut rng = Rng::new(9);
    let mut table = Table::with_mix(secret);
    for run in 0..2_000_000 {
        let key = rng.next_u64();
        if known.tag(key) >> 24 == 0 {
            table.insert(key, at(run, 0));
        }
    }
    let deepest = table.segments.iter().map(|segment| segment.below).min();
    assert!(deepest >= Some(Tag::BITS - 5), "{deepest:?}");
}
