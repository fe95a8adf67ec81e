use std::collections::BTreeSet;

use proptest::prelude::*;

use super::line::SLOTS;
use super::*;
use crate::rng::Rng;

impl Table {
    fn insert(&mut self, key: u64, value: u32) {
        self.insert_at(self.place(key), value);
    }

    fn remove(&mut self, key: u64, value: u32) -> bool {
        self.remove_at(self.place(key), value)
    }

    /// The value under `key` that is like that.
    fn find(&self, key: u64, is: impl Fn(u32) -> bool) -> Option<u32> {
        self.get(key, |value| is(value).then_some(value))
    }
}

impl Segment {
    /// The lines from the home of each entry to the line before it.
    fn passed(&self) -> impl Iterator<Item = &Line> {
        let entries = self.lines.iter().enumerate().flat_map(move |(here, line)| {
            line.entries().map(move |(tag, _)| (self.home(tag), here))
        });
        entries.flat_map(move |(home, here)| {
            let ring = self.lines.iter().cycle().skip(home);
            ring.take((here + self.lines.len() - home) % self.lines.len())
        })
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

fn check(table: &Table) {
    for (number, segment) in (0..).zip(&table.segments) {
        let lines = segment.lines.len();
        assert!(segment.passed().all(Line::is_full));
        assert!(segment.lines.iter().all(Line::is_dense));
        assert_eq!(segment.tags().count(), segment.len as usize);
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
    fn behaves_like_a_set_of_entries(ops in prop::collection::vec((0..5, 0u32..288), 0..600)) {
        let tags = [0, 1, 1 << 31, u32::MAX];
        let key = |value: u32| key(tags[value as usize / 18 % 4], value / 9);
        let (mut table, mut model) = (open(), BTreeSet::new());
        for (op, value) in ops {
            if op < 2 {
                prop_assert_eq!(table.remove(key(value), value), model.remove(&value));
            } else if model.insert(value) {
                table.insert(key(value), value);
            }
            table.touch(table.place(key(value)));
            check(&table);
            let found = table.find(key(value), |other| other == value);
            prop_assert_eq!(found.is_some(), model.contains(&value));
            let (run, any) = (value / 9, table.find(key(value), |other| other / 9 == value / 9));
            prop_assert_eq!(any.is_some(), model.range(9 * run..9 * run + 9).next().is_some());
        }
        let values: BTreeSet<_> = table.iter().collect();
        prop_assert_eq!(values, model);
    }
}

#[test]
fn searches_end_even_if_all_lines_but_one_are_full() {
    let (first, second) = (key(1, 0), key(u32::MAX, 0));
    let mut table = open();
    (0..7).for_each(|value| table.insert(first, value));
    (0..3).for_each(|value| assert!(table.remove(first, value)));
    (7..17).for_each(|value| table.insert(second, value));
    check(&table);
    let lines = &table.segments[0].lines;
    assert!(lines.len() == 2 && lines.iter().filter(|line| line.is_full()).count() == 1);
    for key in [first, second, key(2, 0), key(3, 0)] {
        assert_eq!(table.find(key, |_| false), None);
        assert!(!table.remove(key, 0));
    }
}

#[test]
fn equal_keys_double_a_segment_that_cannot_split() {
    let mut table = open();
    for value in 0..4_000 {
        let foreseen = table.allocated() + table.growth([key(7, 0)].into_iter());
        table.insert(key(7, 0), value);
        assert_eq!(table.allocated(), foreseen);
        assert_eq!(table.find(key(7, 0), |other| other == 0), Some(0));
        assert_eq!(table.find(key(8, 0), |_| true), None);
    }
    check(&table);
    assert_eq!(table.segments.iter().map(|segment| segment.below).min(), Some(MIN_BELOW));
    (0..4_000).for_each(|value| assert!(table.remove(key(7, 0), value)));
    assert_eq!(table.allocated(), 0);
}

#[test]
fn what_is_remembered_alike_is_told_apart_by_the_block() {
    let mut table = open();
    (0..9).for_each(|value| table.insert(key(7, value), value));
    for value in 0..9 {
        assert_eq!(table.find(key(7, value), |other| other == value), Some(value));
    }
    assert!(table.remove(key(7, 4), 4));
    assert_eq!(table.find(key(7, 4), |other| other == 4), None);
    assert_eq!(table.len(), 8);
}

#[test]
fn new_entries_are_added_without_a_search_where_there_is_space() {
    let mut table = Table::new(KeyedState::new(4));
    let keys: Vec<_> = (0..9_000).map(|key| Rng::new(key).next_u64()).collect();
    let (mut added, mut searched) = (0, 0);
    while let Some(key) = keys.get(added) {
        assert_eq!(table.find(*key, |other| other == added as u32), None);
        let new = table.insert_new(keys[added..].iter().copied(), added as u32..);
        added += new;
        if let Some(key) = keys.get(added).filter(|_| new < BATCH) {
            table.insert(*key, added as u32);
            (added, searched) = (added + 1, searched + 1);
        }
        assert_eq!(table.insert_new([*key].into_iter(), 1..), 0, "its tag is known");
    }
    check(&table);
    assert!(searched < 100, "{searched}");
    for (key, value) in keys.iter().zip(0..) {
        assert_eq!(table.find(*key, |other| other == value), Some(value));
        assert!(table.remove(*key, value));
    }
    assert_eq!((table.len(), table.allocated()), (0, 0));
}

#[test]
fn about_seven_tenths_of_the_slots_are_in_use_at_any_size() {
    let mut table = Table::new(KeyedState::new(8));
    let mut rng = Rng::new(8);
    for run in 0..400_000 {
        table.insert(rng.next_u64(), run as u32);
        if run > 20_000 && run % 1_000 == 0 {
            let (bytes, splits) = (table.allocated() / (run + 1), table.segments.len());
            assert!((11..=13).contains(&bytes), "{bytes} bytes an entry, {splits} segments");
        }
    }
}

#[test]
fn lines_are_written_as_they_are_read() {
    let line =
        Line { tags: [1, 2, 3, 4, 5, 6, 7, 8], values: [9, 10, 11, 12, 13, 14, 15, u32::MAX] };
    assert!(Line::of_words(line.words()).entries().eq(line.entries()));
}

#[test]
fn lines_keep_their_entries_at_the_front() {
    let mut line = Line::default();
    for len in 0..SLOTS {
        assert_eq!((line.before_last(), line.is_full()), (len, false));
        line.push(len as Tag + 1, len as u32);
    }
    assert!(line.is_full() && line.before_last() == SLOTS - 1);
    let gap = Line { tags: [1, 2, EMPTY, 4, 5, 6, 7, 8], ..line };
    assert!(line.is_dense() && !gap.is_dense());
    for len in (0..SLOTS).rev() {
        line.clear(len / 2);
        assert!(line.is_dense() && line.entries().count() == len);
    }
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
            for (key, value) in keys.iter().zip(chunk * 100..) {
                table.insert(*key, value as u32);
                assert!(table.allocated() <= bytes_at_most(value + 1));
            }
            assert_eq!(table.allocated(), foreseen);
        }
        check(&table);
        assert!(table.allocated() <= 16 * keys.len());
        for (key, value) in keys.iter().zip(0..) {
            assert_eq!(table.find(*key, |other| other == value), Some(value));
            assert!(table.remove(*key, value));
            assert!(table.allocated() <= bytes_at_most(table.len()));
            if value % 4_096 == 0 {
                check(&table);
            }
        }
        assert_eq!((table.len(), table.allocated()), (0, 0));
    }
}

#[test]
fn no_size_is_too_small_or_too_large_for_what_led_to_it() {
    for lines in (0..16).map(|power| 1 << power) {
        assert!(most(lines) < lines * SLOTS && most(2 * lines) / 4 < most(lines));
        assert!(most(lines) / 4 <= most(lines / 2) || lines == 1);
    }
    let joined = JOINED as usize * LINES;
    assert!(most(LINES) / 4 < joined && joined < most(LINES));
}

#[test]
fn keys_in_any_order_spread() {
    let strides = [1_u64, 3, 1 << 8, 1 << 20, 1 << 32, 1 << 44, 0x9e37_79b9_7f4a_7c15];
    for (stride, seed) in strides.into_iter().zip(0..) {
        let mut table = Table::new(KeyedState::new(seed));
        (0..1_000_000).for_each(|value| table.insert(stride.wrapping_mul(value.into()), value));
        let passed = table.segments.iter().flat_map(Segment::passed).count();
        assert!(passed < table.len(), "{stride:#x}: {passed}");
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
            table.insert(key, run);
        }
    }
    let deepest = table.segments.iter().map(|segment| segment.below).min();
    assert!(deepest >= Some(Tag::BITS - 5), "{deepest:?}");
}
