//! The behaviour of the request queue, case by case.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::*;
use crate::rng::Rng;

pub(super) const HASH_STATE: KeyedState = KeyedState::new(1);

pub(super) const ADMISSION: Admission = Admission {
    priority: 0,
    flow: 0,
    weight: 1.0,
    bytes: 1,
    cost: Seconds::new(1.0),
    service: None,
    slo: None,
    expires: None,
};

fn room(change: impl FnOnce(&mut FlowConfig)) -> RequestQueue<&'static str> {
    let mut config = FlowConfig::default();
    change(&mut config);
    assert_eq!(config.invalid(), None);
    RequestQueue::new(&config, HASH_STATE)
}

const NOW: Instant = Instant::from_micros(1_000_000);

fn come(
    room: &mut RequestQueue<&'static str>,
    priority: i32,
    flow: u64,
    what: &'static str,
) -> Ticket {
    room.enqueue(NOW, Admission { priority, flow, ..ADMISSION }, what).expect("room")
}

/// Dispatches all requests, with all bands open.
fn order(room: &mut RequestQueue<&'static str>) -> Vec<&'static str> {
    core::iter::from_fn(|| {
        let ticket = room.best(NOW, |_| true)?;
        room.take(NOW, ticket)
    })
    .collect()
}

#[test]
fn a_closed_or_empty_band_never_blocks_another() {
    let mut room = room(|_| ());
    let high = come(&mut room, 9, 0, "high");
    come(&mut room, -9, 0, "low");
    let low = room.best(NOW, |priority| priority != 9).expect("the band below");
    assert_eq!(room.get(low), Some(&"low"));
    assert_eq!(room.best(NOW, |_| false), None);
    assert_eq!(room.best(NOW, |_| true), Some(high));
}

#[test]
fn who_waits_for_an_endpoint_keeps_the_place_that_it_had() {
    let mut room = room(|_| ());
    for what in ["a", "b", "c", "d"] {
        come(&mut room, 0, 0, what);
    }
    for slot in [7, 8, 7] {
        let ticket = room.best(NOW, |_| true).expect("one is left");
        room.park(ticket, slot, Seconds::ZERO);
    }
    room.open(7);
    room.open(8);
    room.close(8);
    assert_eq!(order(&mut room), ["a", "c", "d"]);
    room.release(8);
    room.release(8);
    room.open(u32::MAX);
    assert_eq!(order(&mut room), ["b"]);
}

#[test]
fn a_refund_counts_at_once_wherever_the_flow_waits() {
    let mut room = room(|_| ());
    for what in ["dear", "dear at 3", "dear at 4"] {
        come(&mut room, 0, 1, what);
    }
    let dear = room.best(NOW, |_| true).expect("the first");
    room.take(NOW, dear);
    for slot in [3, 4] {
        let ticket = room.best(NOW, |_| true).expect("two are left");
        room.park(ticket, slot, Seconds::ZERO);
    }
    for what in ["cheap", "cheaper"] {
        let cost = Seconds::new(0.1);
        room.enqueue(NOW, Admission { flow: 2, cost, ..ADMISSION }, what).expect("room");
    }
    room.open(3);
    let cheap = room.best(NOW, |_| true).expect("five are left");
    assert_eq!(room.take(NOW, cheap), Some("cheap"));
    // The last second of the first flow is refunded.
    room.settle(0, 1, Seconds::new(1.0), Seconds::ZERO);
    room.open(4);
    assert_eq!(order(&mut room), ["dear at 3", "cheaper", "dear at 4"]);
}

#[test]
fn a_flow_that_floods_a_band_displaces_itself_and_nobody_else() {
    let mut room = room(|config| config.band.max_requests = 10);
    for _ in 0..9 {
        come(&mut room, 0, 1, "flood");
    }
    come(&mut room, 0, 2, "drop");
    let refused = room.enqueue(NOW, Admission { flow: 1, ..ADMISSION }, "flood");
    assert_eq!(refused, Err(("flood", Full::BandRequests)));
    for _ in 0..4 {
        come(&mut room, 0, 2, "drop");
        let evicted = room.next_evicted().expect("one went");
        assert_eq!((evicted.what, evicted.reason), ("flood", Eviction::Displaced));
    }
    assert!(
        room.enqueue(NOW, Admission { flow: 2, ..ADMISSION }, "drop").is_err(),
        "both have five"
    );
    assert_eq!(room.sum().requests, 10);
}

#[test]
fn a_full_room_gives_up_the_lowest_band_and_never_its_equals() {
    let mut room = room(|config| config.max_requests = Some(3));
    for (priority, what) in [(-1, "low"), (0, "usual"), (-1, "lower")] {
        come(&mut room, priority, 0, what);
    }
    come(&mut room, 5, 0, "high");
    assert_eq!(room.next_evicted().map(|evicted| evicted.what), Some("lower"), "the newest");
    let refused = room.enqueue(NOW, Admission { priority: -1, flow: 9, ..ADMISSION }, "low");
    assert_eq!(refused, Err(("low", Full::Requests)));
    come(&mut room, 5, 0, "high");
    assert_eq!(room.next_evicted().map(|evicted| evicted.what), Some("low"));
    come(&mut room, 5, 0, "high");
    assert_eq!(room.next_evicted().map(|evicted| evicted.what), Some("usual"));
    assert!(room.enqueue(NOW, Admission { priority: 5, ..ADMISSION }, "high").is_err());
}

#[test]
fn a_newcomer_that_cannot_fit_displaces_nobody() {
    let mut room = room(|config| config.max_bytes = Some(100));
    for what in ["a", "b"] {
        let admission = Admission { priority: -1, bytes: 30, ..ADMISSION };
        room.enqueue(NOW, admission, what).expect("room");
    }
    room.enqueue(NOW, Admission { bytes: 30, ..ADMISSION }, "usual").expect("room");
    let large = |bytes| Admission { priority: 1, bytes, ..ADMISSION };
    assert_eq!(room.enqueue(NOW, large(101), "large"), Err(("large", Full::Bytes)));
    assert_eq!(room.enqueue(NOW, large(u64::MAX), "huge"), Err(("huge", Full::BandBytes)));
    assert_eq!((room.next_evicted(), room.sum().requests), (None, 3));
    room.enqueue(NOW, large(100), "large").expect("three give way");
    let gone: Vec<_> =
        core::iter::from_fn(|| room.next_evicted()).map(|evicted| evicted.what).collect();
    assert_eq!(gone, ["b", "a", "usual"]);
    room.check();
}

#[test]
fn sums_stand_the_largest_sizes() {
    let mut room = room(|config| {
        (config.max_requests, config.max_bytes) = (None, None);
        config.band = BandLimits { max_requests: usize::MAX, max_bytes: u64::MAX };
    });
    let huge = Admission { bytes: u64::MAX, cost: Seconds::new(f64::INFINITY), ..ADMISSION };
    for (priority, what) in [(i32::MIN, "least"), (i32::MAX, "most")] {
        room.enqueue(NOW, Admission { priority, ..huge }, what).expect("room");
    }
    assert_eq!(room.sum().bytes, u64::MAX.into(), "the lower band gave way");
    assert!(
        matches!(room.enqueue(NOW, ADMISSION, "one more"), Err((_, Full::Bytes))),
        "until it is fetched"
    );
    assert_eq!(room.next_evicted().map(|evicted| evicted.what), Some("least"));
    room.check();
    for weight in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE, f64::MAX] {
        for cost in [-1.0, 0.0, f64::NEG_INFINITY, f64::MAX] {
            let admission = Admission { weight, cost: Seconds::new(cost), bytes: 0, ..ADMISSION };
            room.enqueue(NOW, admission, "odd").expect("room");
            room.settle(0, 0, Seconds::new(cost), Seconds::new(-cost));
        }
    }
    room.check();
    assert_eq!(order(&mut room).len(), 25);
    assert_eq!(room.bands().count(), 0);
}

#[test]
fn decisions_that_are_not_fetched_take_up_room() {
    let mut room = room(|config| config.max_requests = Some(3));
    let soon = Admission { expires: Some(Instant::from_micros(2)), ..ADMISSION };
    for what in ["one", "two", "three"] {
        room.enqueue(Instant::ORIGIN, soon, what).expect("room");
    }
    room.expire(NOW);
    assert_eq!((room.sum().requests, room.undelivered().requests), (0, 3));
    assert!(matches!(room.enqueue(NOW, ADMISSION, "four"), Err((_, Full::Requests))));
    assert_eq!(room.next_evicted().map(|evicted| evicted.what), Some("one"));
    room.enqueue(NOW, ADMISSION, "five").expect("room");
    room.check();
}

#[test]
fn bands_beyond_the_limit_join_the_next_lower_one_and_keep_their_sign() {
    let mut room = room(|config| config.max_bands = 3);
    for (priority, what) in [(5, "five"), (9, "nine"), (-7, "minus seven")] {
        room.enqueue(NOW, Admission { priority, ..ADMISSION }, what).expect("room");
    }
    let bands = [12, 9, 8, 5, 4, 1, 0, -1, -2, -7, -9].map(|priority| room.band_for(priority));
    assert_eq!(bands, [9, 9, 5, 5, 0, 0, 0, -1, -7, -7, -7]);
}

#[test]
fn expiry_is_exact() {
    let mut room = room(|_| ());
    let at = |micros| Some(Instant::from_micros(micros));
    for (expires, what) in
        [(at(5_000_000), "late"), (at(0), "past"), (None, "never"), (at(2_000_000), "soon")]
    {
        room.enqueue(NOW, Admission { expires, ..ADMISSION }, what).expect("room");
    }
    assert_eq!(
        room.next_timeout(),
        at(2_000_000),
        "a request that arrives expired is removed at once"
    );
    assert_eq!(
        room.next_evicted().map(|evicted| (evicted.what, evicted.waited)),
        Some(("past", Duration::ZERO))
    );
    room.expire(Instant::from_micros(1_999_999));
    assert_eq!(room.next_evicted(), None);
    room.expire(Instant::from_micros(2_000_000));
    let soon = room.next_evicted().expect("now");
    assert_eq!(
        (soon.what, soon.reason, soon.waited),
        ("soon", Eviction::Expired, Duration::from_secs(1))
    );
    // A year later, and back.
    room.expire(NOW + Duration::from_secs(365 * 86_400));
    assert_eq!(room.next_evicted().map(|evicted| evicted.what), Some("late"));
    assert_eq!((room.next_timeout(), order(&mut room)), (None, Vec::from(["never"])));
}

#[test]
fn lower_bands_have_their_share_and_no_more() {
    for share in [0.0, 0.1, 0.5] {
        let mut room = room(|config| config.lower_share = share);
        let mut seconds = BTreeMap::new();
        let mut rng = Rng::new(3);
        for priority in [0, 1, 2] {
            come(&mut room, priority, 0, "");
        }
        for _ in 0..10_000 {
            let ticket = room.best(NOW, |_| true).expect("all wait");
            let before: Vec<_> = room.bands().collect();
            room.take(NOW, ticket);
            let after: Vec<_> = room.bands().collect();
            let (priority, sum, _) =
                before.into_iter().find(|band| !after.contains(band)).expect("one went");
            *seconds.entry(priority).or_insert(0.0) += sum.work as f64;
            let cost = Seconds::new(rng.unit() * f64::from(priority + 1));
            room.enqueue(NOW, Admission { priority, cost, ..ADMISSION }, "").expect("room");
        }
        let total: f64 = seconds.values().sum();
        let shares =
            [2, 1, 0].map(|priority| seconds.get(&priority).copied().unwrap_or(0.0) / total);
        let expected = [1.0 - share, share * (1.0 - share), share * share];
        let near = |(share, expected): (&f64, f64)| (share - expected).abs() < 0.002;
        assert!(shares.iter().zip(expected).all(near), "{shares:?}, not {expected:?}");
    }
}

#[test]
fn turns_are_counted_or_weighed_as_the_policy_says() {
    let turns = |fairness| {
        let mut room = room(|config| {
            (config.fairness, config.order) = (fairness, QueueOrder::Fcfs);
        });
        for number in 0..40u64 {
            let (flow, cost, what) =
                if number % 2 == 0 { (1, 3.0, "long") } else { (2, 1.0, "short") };
            let admission = Admission { flow, cost: Seconds::new(cost), ..ADMISSION };
            room.enqueue(NOW, admission, what).expect("room");
        }
        let short = |what: &&str| *what == "short";
        order(&mut room).into_iter().take(20).filter(short).count()
    };
    assert_eq!(turns(Fairness::RoundRobin), 10);
    assert_eq!(turns(Fairness::GlobalStrict), 10);
    assert_eq!(turns(Fairness::StartTime), 15);
    assert_eq!(turns(Fairness::LeastAttainedService), 15);
}

#[test]
fn work_that_is_short_goes_first_and_nobody_waits_for_ever() {
    let mut room = room(|config| config.order = QueueOrder::ShortestWork);
    let later = |seconds| NOW + Duration::from_secs(seconds);
    let cost = |seconds| Admission { cost: Seconds::new(seconds), ..ADMISSION };
    room.enqueue(NOW, cost(3.0), "long").expect("room");
    room.enqueue(later(19), cost(1.0), "short").expect("room");
    room.enqueue(later(21), cost(1.0), "after 20 seconds").expect("room");
    assert_eq!(order(&mut room), ["short", "long", "after 20 seconds"]);
}

#[test]
fn while_requests_expire_nobody_goes_first_for_its_age() {
    let mut room = room(|config| config.order = QueueOrder::ShortestWork);
    let later = |seconds| NOW + Duration::from_secs(seconds);
    let cost = |seconds| Admission { cost: Seconds::new(seconds), ..ADMISSION };
    let expires = Some(later(30));
    room.enqueue(NOW, Admission { expires, ..cost(9.0) }, "expires").expect("room");
    room.enqueue(later(29), cost(3.0), "longer").expect("room");
    room.enqueue(later(59), cost(1.0), "within 30 seconds").expect("room");
    room.enqueue(later(81), cost(1.0), "after 20 more").expect("room");
    room.enqueue(later(82), Admission { priority: 1, ..cost(2.0) }, "other band").expect("room");
    while room.next_evicted().is_some() {}
    let all = ["other band", "within 30 seconds", "longer", "after 20 more"];
    assert_eq!(order(&mut room), all);
}

#[test]
fn a_request_takes_little_memory() {
    assert_eq!((size_of::<Option<Request<()>>>(), places::Places::BYTES), (48, 64));
}

#[test]
fn what_cannot_be_used_is_refused_by_name() {
    let refused = |change: fn(&mut FlowConfig)| {
        let mut config = FlowConfig::default();
        change(&mut config);
        config.invalid().map(|(field, _)| field)
    };
    assert_eq!(refused(|_| ()), None);
    assert_eq!(refused(|config| config.lower_share = f64::NAN), Some("flow.lower_share"));
    assert_eq!(refused(|config| config.lower_share = 0.6), Some("flow.lower_share"));
    assert_eq!(refused(|config| config.max_requests = Some(0)), Some("flow.max_requests"));
    assert_eq!(refused(|config| config.max_bytes = Some(0)), Some("flow.max_bytes"));
    assert_eq!(refused(|config| config.band.max_requests = 0), Some("flow.band.max_requests"));
    assert_eq!(refused(|config| config.band.max_bytes = 0), Some("flow.band.max_bytes"));
}
