//! Random operations, compared with naive models that scan lists.

use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;

use super::{Demand, Residency};
use crate::load::AdapterState;
use crate::rng::Rng;
use crate::time::{Instant, Seconds};

/// One adapter of an endpoint; the list is in the order of last use.
#[derive(Clone, Copy, Debug)]
struct Loaded {
    key: u64,
    slots: usize,
    in_flight: u32,
    listed: bool,
    confirmed: bool,
    last_use: Instant,
}

/// The adapters of one endpoint, least recently used first.
#[derive(Debug, Default)]
struct NaiveResidency {
    slots: usize,
    loaded: Vec<Loaded>,
}

impl NaiveResidency {
    /// Moves the adapter to the end of the list.
    fn touch(&mut self, key: u64, now: Instant) -> &mut Loaded {
        let new = Loaded {
            key,
            slots: slots_of(key).min(self.slots),
            in_flight: 0,
            listed: false,
            confirmed: false,
            last_use: Instant::ORIGIN,
        };
        let known = self.loaded.iter().position(|it| it.key == key);
        let adapter = known.map_or(new, |at| self.loaded.remove(at));
        self.loaded.push(Loaded { last_use: now, ..adapter });
        self.loaded.last_mut().expect("just pushed")
    }

    fn taken(&self) -> usize {
        self.loaded.iter().map(|it| it.slots).sum()
    }

    fn make_room(&mut self, now: Instant) {
        while self.taken() > self.slots {
            let reported = |it: &Loaded| {
                it.listed && now.saturating_since(it.last_use) < Duration::from_secs(10)
            };
            let idle = self.loaded.iter().position(|it| it.in_flight == 0 && !reported(it));
            match idle {
                Some(at) => _ = self.loaded.remove(at),
                None => return,
            }
        }
    }
}

/// Every third adapter takes two slots.
fn slots_of(key: u64) -> usize {
    if key.is_multiple_of(3) { 2 } else { 1 }
}

#[test]
fn residency_equals_a_list() {
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let slots = 1 + rng.below(5) as usize;
        let mut fast = Residency::new(slots);
        let mut naive = NaiveResidency { slots, ..NaiveResidency::default() };
        let mut now = Instant::ORIGIN;
        for _ in 0..300 {
            now = now + Duration::from_millis(rng.below(3_000));
            let key = rng.below(9);
            let known = naive.loaded.iter().position(|it| it.key == key);
            match rng.below(6) {
                0 | 1 => {
                    let loads = fast.begin(key, &format!("{key}"), slots_of(key), now);
                    assert_eq!(loads, known.is_none());
                    naive.touch(key, now).in_flight += 1;
                }
                2 => {
                    fast.confirm(key);
                    known.into_iter().for_each(|at| naive.loaded[at].confirmed = true);
                    // A confirmation is no reason to evict.
                    continue;
                }
                3 => {
                    let flying = known.is_some_and(|at| naive.loaded[at].in_flight > 0);
                    if !flying {
                        continue;
                    }
                    fast.end(key, now);
                    let adapter = naive.touch(key, now);
                    adapter.in_flight -= 1;
                    if adapter.in_flight == 0 && !adapter.confirmed {
                        naive.loaded.pop();
                    }
                }
                4 => {
                    let names: Vec<_> = (0..rng.below(3)).map(|_| rng.below(9)).collect();
                    let texts: Vec<_> = names.iter().map(|key| format!("{key}")).collect();
                    let texts: Vec<&str> = texts.iter().map(|name| &**name).collect();
                    let number = |name: &str| name.parse().expect("a number");
                    fast.report(&AdapterState::active(&texts), now, number, slots_of);
                    naive.loaded.iter_mut().for_each(|it| it.listed = false);
                    for key in names {
                        let adapter = naive.touch(key, now);
                        (adapter.listed, adapter.confirmed) = (true, true);
                    }
                }
                _ => {
                    naive.slots = 1 + rng.below(5) as usize;
                    fast.set_slots(naive.slots, now);
                }
            }
            naive.make_room(now);
            let listed: Vec<_> = naive.loaded.iter().map(|it| format!("{}", it.key)).collect();
            assert!(fast.names().eq(listed.iter().map(|name| &**name)), "seed {seed}");
            let free = naive.taken() < naive.slots;
            assert_eq!(fast.admits(1, now, |_| false), free);
        }
    }
}

#[test]
fn demand_equals_a_list() {
    for seed in 0..100 {
        let mut rng = Rng::new(seed);
        let limit = 1 + rng.below(12) as usize;
        let mut fast = Demand::new(limit);
        // Adapters with the times of their requests, least recently requested first.
        let mut naive: Vec<(u64, Vec<Instant>)> = Vec::new();
        let mut now = Instant::ORIGIN;
        for _ in 0..400 {
            now = now + Duration::from_secs(rng.below(40));
            let key = rng.below(16);
            fast.observe(key, now, Seconds::ZERO, false);
            let known = naive.iter().position(|(known, _)| *known == key);
            let mut times = known.map(|at| naive.remove(at).1).unwrap_or_default();
            if naive.len() >= limit {
                naive.remove(0);
            }
            times.push(now);
            naive.push((key, times));
            let last = |times: &[Instant]| *times.last().expect("requested");
            let recent = |times: &[Instant]| now.saturating_since(last(times)).as_secs() <= 120;
            let active = naive.iter().filter(|(_, times)| recent(times)).count();
            assert_eq!(fast.active(), active, "seed {seed}");
            for key in 0..16 {
                let known = naive.iter().any(|(known, _)| *known == key);
                assert_eq!(fast.rate(key, now) > 0.0, known, "seed {seed}");
            }
        }
    }
}

#[test]
fn a_popular_adapter_has_the_higher_rate() {
    let mut demand = Demand::new(8);
    let at = |seconds| Instant::ORIGIN + Duration::from_secs(seconds);
    for second in 0..300 {
        demand.observe(1, at(second), Seconds::ZERO, false);
        if second % 10 == 0 {
            demand.observe(2, at(second), Seconds::ZERO, false);
        }
    }
    let (often, seldom) = (demand.rate(1, at(300)), demand.rate(2, at(300)));
    assert!((8.0..12.0).contains(&(often / seldom)), "{often} {seldom}");
    assert!(demand.rate(1, at(900)) < 0.01 * often, "old requests fade");
}

#[test]
fn losses_add_up_fade_and_are_used_up_by_a_load() {
    let mut demand = Demand::new(8);
    let at = |seconds| Instant::ORIGIN + Duration::from_secs(seconds);
    (0..4).for_each(|_| demand.observe(1, at(0), Seconds::new(0.5), false));
    let credit = |demand: &Demand, second| demand.outlook(1).credit(at(second)).get();
    assert!((credit(&demand, 0) - 2.0).abs() < 1e-9);
    assert!(credit(&demand, 300) < 0.02);
    demand.observe(1, at(0), Seconds::new(9.0), true);
    assert!(credit(&demand, 0).abs() < 1e-9, "the load itself is no loss");
}

#[test]
fn load_times_are_learned_for_the_adapter_and_for_unknown_ones() {
    let mut demand = Demand::new(8);
    let (seen, described) = (Seconds::new(1.2), Seconds::new(0.3));
    for _ in 0..100 {
        demand.observe(1, Instant::ORIGIN, Seconds::ZERO, true);
        demand.observe_load(1, seen, described);
    }
    assert!((demand.outlook(1).load_factor - 4.0).abs() < 0.01);
    assert!((demand.outlook(99).load_factor - 4.0).abs() < 0.1, "never loaded");
    demand.observe_load(1, Seconds::new(1e9), described);
    assert!(demand.outlook(1).load_factor < 8.0, "one engine that hangs is no evidence");
    demand.observe_load(1, seen, Seconds::ZERO);
    demand.observe_load(7, seen, described);
    assert!(demand.outlook(1).load_factor.is_finite());
}
