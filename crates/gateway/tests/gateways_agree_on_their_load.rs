//! Messages between gateways: whatever is lost, repeated and reordered, all gateways agree in the
//! end; and a naive twin has the same state at each step.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use slotwise::{BlockHash, Instant, PeerLoad};
use slotwise_gateway::peers::{Applied, News, PeerError, PeerKey, PeerLimits, Peers, PeersConfig};

const KEY: [u8; 32] = [7; 32];

fn config(name: &str) -> PeersConfig {
    PeersConfig::new(name, PeerKey::new(KEY))
}

fn gateway(name: &str) -> Peers {
    Peers::new(config(name), 1).expect("valid")
}

fn at(milliseconds: u64) -> Instant {
    Instant::from_micros(1 + milliseconds * 1_000)
}

fn load(requests: u32) -> PeerLoad {
    let mut load = PeerLoad::default();
    (load.prefilling, load.running) = (requests / 2, requests - requests / 2);
    load.booked = Duration::from_millis(u64::from(load.prefilling) * 250);
    load.kv_tokens = u64::from(requests) * 1_000;
    load
}

fn chain(blocks: std::ops::Range<u64>) -> Vec<BlockHash> {
    blocks.map(|block| BlockHash(slotwise::Rng::new(block).next_u64())).collect()
}

/// All that a gateway sends until `until`.
fn sent(gateway: &mut Peers, from: u64, until: u64) -> Vec<(u64, Vec<u8>)> {
    let mut messages = Vec::new();
    for now in (from..until).step_by(10) {
        messages.extend(std::iter::from_fn(|| gateway.export_delta(at(now))).map(|it| (now, it)));
    }
    messages
}

/// The loads of peers on these endpoints.
fn loads(gateway: &Peers, now: u64, keys: u64) -> Vec<PeerLoad> {
    (0..keys).map(|key| gateway.load(at(now), key)).collect()
}

/// The state of one sender that follows from a set of messages, each with the loads at its time: by
/// endpoint, the load of the last message that had it.
#[derive(Default)]
struct Twin {
    heard: BTreeMap<usize, BTreeMap<u64, PeerLoad>>,
}

impl Twin {
    fn load(&self, key: u64) -> PeerLoad {
        let last = self.heard.iter().rev().find_map(|(_, loads)| loads.get(&key));
        last.copied().unwrap_or_default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Any order and any repetition of any part of the messages gives the state of the twin, and
    /// the whole of them the state of the sender.
    #[test]
    fn the_order_and_number_of_messages_do_not_matter(
        steps in prop::collection::vec((0u64..6, 0u32..5), 1..50),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..100),
    ) {
        let mut a = gateway("a");
        let (mut messages, mut current) = (Vec::new(), BTreeMap::new());
        for (step, (key, requests)) in (0..).zip(steps) {
            let before = current.insert(key, load(requests)).unwrap_or_default();
            a.set_load(key, load(requests));
            for (_, bytes) in sent(&mut a, step * 1_000, step * 1_000 + 10) {
                let loads = BTreeMap::from([(key, load(requests))]);
                messages.push((bytes, if before == load(requests) { BTreeMap::new() } else { loads }));
            }
        }
        let (mut b, mut twin) = (gateway("b"), Twin::default());
        for index in order {
            let at_ = index.index(messages.len());
            let (bytes, loads_) = &messages[at_];
            b.apply_delta(at(0), bytes).expect("sealed");
            twin.heard.insert(at_, loads_.clone());
            let expected: Vec<PeerLoad> = (0..6).map(|key| twin.load(key)).collect();
            prop_assert_eq!(loads(&b, 0, 6), expected);
        }
        for (bytes, _) in messages.iter().rev() {
            b.apply_delta(at(0), bytes).expect("sealed");
        }
        let truth: Vec<PeerLoad> =
            (0..6).map(|key| current.get(&key).copied().unwrap_or_default()).collect();
        prop_assert_eq!(loads(&b, 0, 6), truth);
    }

    /// Four gateways over a transport that loses, repeats and reorders. After it recovers, each has
    /// the sum of the others, and no prompt is missing.
    #[test]
    fn all_agree_after_losses(
        steps in prop::collection::vec((0usize..4, 0u64..5, 0u32..4, 0u64..40), 1..150),
        seed in any::<u64>(),
        loss in 0u64..60,
    ) {
        let names = ["a", "b", "c", "d"];
        let mut gateways: Vec<Peers> = names.iter().map(|name| gateway(name)).collect();
        let mut truth = vec![BTreeMap::new(); 4];
        let mut rng = slotwise::Rng::new(seed);
        let mut mail: Vec<(u64, usize, Vec<u8>)> = Vec::new();
        let mut now = 0;
        let last = steps.len();
        // Then 30 s of silence, in which the first 20 s lose messages too.
        let quiet = (0..3_000).map(|_| (0, u64::MAX, 0, 10));
        for (step, (who, key, requests, pause)) in steps.into_iter().chain(quiet).enumerate() {
            if key < u64::MAX {
                truth[who].insert(key, load(requests));
                gateways[who].set_load(key, load(requests));
                gateways[who].count(key, 1, requests.into());
            }
            now += pause;
            let loss = if step < last + 2_000 { loss } else { 0 };
            for (from, gateway) in gateways.iter_mut().enumerate() {
                while let Some(bytes) = gateway.export_delta(at(now)) {
                    for to in (0..4).filter(|to| *to != from) {
                        if rng.below(100) >= loss {
                            mail.push((now + rng.below(60), to, bytes.clone()));
                        }
                        if rng.below(10) == 0 {
                            mail.push((now + rng.below(500), to, bytes.clone()));
                        }
                    }
                }
            }
            let (due, later) = mail.into_iter().partition(|(arrives, ..)| *arrives <= now);
            mail = later;
            for (_, to, bytes) in due {
                gateways[to].apply_delta(at(now), &bytes).expect("sealed");
            }
        }
        for (me, gateway) in gateways.iter().enumerate() {
            for key in 0..5 {
                let others = truth.iter().enumerate().filter(|(other, _)| *other != me);
                let requests: u32 = others
                    .filter_map(|(_, loads)| loads.get(&key).map(PeerLoad::requests))
                    .sum();
                prop_assert_eq!(gateway.load(at(now), key).requests(), requests);
                prop_assert_eq!(gateway.counted(key, 1), gateways[0].counted(key, 1));
            }
            prop_assert!(gateway.is_complete());
            prop_assert_eq!(gateway.alive().count(), 3);
        }
    }

    /// No bytes are applied without the key, and none panic with it.
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), flip in any::<u16>()) {
        let (mut a, mut b) = (gateway("a"), gateway("b"));
        prop_assert!(b.apply_delta(at(0), &bytes).is_err());
        a.set_load(1, load(3));
        let mut message = a.export_delta(at(0)).expect("due");
        let place = usize::from(flip) % message.len();
        message[place] ^= 1 << (flip % 8);
        prop_assert_eq!(b.apply_delta(at(0), &message), Err(PeerError::Seal));
        prop_assert_eq!(b.load(at(0), 1), PeerLoad::default());
    }
}

#[test]
fn a_silent_peer_ages_out_and_comes_back_without_counting_twice() {
    let (mut a, mut b) = (gateway("a"), gateway("b"));
    a.set_load(1, load(4));
    let first = a.export_delta(at(0)).expect("due");
    b.apply_delta(at(0), &first).expect("sealed");
    assert_eq!(b.load(at(2_999), 1).requests(), 4);
    assert_eq!(b.poll_news(at(3_000)), Some(News::Load { key: 1, load: PeerLoad::default() }));
    assert_eq!(b.alive().count(), 0);

    // An old message, sent again by anyone, brings it back to life no more.
    assert_eq!(b.apply_delta(at(3_500), &first), Ok(Applied::Repeated));
    assert_eq!(b.load(at(3_500), 1), PeerLoad::default());

    a.set_load(1, load(6));
    for (_, bytes) in sent(&mut a, 4_000, 4_010) {
        b.apply_delta(at(4_000), &bytes).expect("sealed");
    }
    assert_eq!(b.load(at(4_000), 1).requests(), 6);
}

#[test]
fn a_gateway_that_starts_anew_replaces_its_earlier_claims() {
    let (mut a, mut b) = (gateway("a"), gateway("b"));
    a.set_load(1, load(4));
    let first = a.export_delta(at(0)).expect("due");
    b.apply_delta(at(0), &first).expect("sealed");
    let mut again = Peers::new(config("a"), 2).expect("valid");
    again.set_load(2, load(1));
    let second = again.export_delta(at(10)).expect("due");
    b.apply_delta(at(10), &second).expect("sealed");
    assert_eq!(b.apply_delta(at(20), &first), Ok(Applied::Old));
    assert_eq!((b.load(at(20), 1).requests(), b.load(at(20), 2).requests()), (0, 1));
    assert_eq!(again.apply_delta(at(20), &first), Err(PeerError::NameInUse));
    assert_eq!(again.apply_delta(at(20), &second), Ok(Applied::Own));
}

#[test]
fn a_late_gateway_asks_for_the_whole_state() {
    let (mut a, mut late) = (gateway("a"), gateway("late"));
    for step in 0..200_u64 {
        a.set_load(step, load(2));
        sent(&mut a, step * 300, step * 300 + 10);
    }
    let start = 60_000;
    for now in (start..start + 2_000).step_by(10) {
        while let Some(bytes) = a.export_delta(at(now)) {
            late.apply_delta(at(now), &bytes).expect("sealed");
        }
        while let Some(bytes) = late.export_delta(at(now)) {
            a.apply_delta(at(now), &bytes).expect("sealed");
        }
    }
    assert_eq!(loads(&late, start + 2_000, 200), vec![load(2); 200]);
}

#[test]
fn only_the_new_blocks_of_a_prompt_are_sent() {
    let (mut a, mut b) = (gateway("a"), gateway("b"));
    a.insert_prefix(1, 16, chain(0..500));
    let first = a.export_delta(at(0)).expect("due");
    a.insert_prefix(2, 16, chain(0..503));
    let second = a.export_delta(at(300)).expect("due");
    assert!(first.len() > 4_000 && second.len() < 120, "{} {}", first.len(), second.len());
    b.apply_delta(at(300), &first).expect("sealed");
    b.apply_delta(at(300), &second).expect("sealed");
    let prefix = |key, blocks| Some(News::Prefix { key, block_tokens: 16, blocks: chain(blocks) });
    assert_eq!(b.poll_news(at(300)), prefix(1, 0..500));
    assert_eq!(b.poll_news(at(300)), prefix(2, 0..503), "the whole prompt");
    // A gateway that received it need not send it again either, only that it was used.
    b.insert_prefix(2, 16, chain(0..503));
    assert!(b.export_delta(at(300)).expect("its first message").len() < 80);
}

#[test]
fn a_peer_claims_no_more_than_its_limits() {
    let mut limits = PeerLimits::default();
    (limits.endpoints, limits.requests, limits.kv_tokens) = (2, 10, 1_000);
    (limits.booked, limits.blocks_per_second) = (Duration::from_secs(1), 10);
    let mut believing = config("b");
    believing.limits = limits;
    let mut b = Peers::new(believing, 1).expect("valid");
    let mut a = gateway("a");
    for key in 0..5 {
        let mut most = PeerLoad::default();
        (most.prefilling, most.running, most.kv_tokens) = (u32::MAX, u32::MAX, u64::MAX);
        (most.booked, most.backoff) = (Duration::MAX, Duration::MAX);
        a.set_load(key, most);
        a.insert_prefix(key, 16, chain(key * 100..key * 100 + 60));
    }
    let bytes = a.export_delta(at(0)).expect("due");
    b.apply_delta(at(0), &bytes).expect("sealed");
    let claimed = loads(&b, 0, 5);
    let requests: u32 = claimed.iter().map(PeerLoad::requests).sum();
    let tokens: u64 = claimed.iter().map(|load| load.kv_tokens).sum();
    let booked: Duration = claimed.iter().map(|load| load.booked).sum();
    assert_eq!((requests, tokens, booked), (20, 2_000, Duration::from_secs(2)));
    assert_eq!(claimed[0].backoff, Duration::from_secs(30));
    let prefixes = std::iter::from_fn(|| b.poll_news(at(0)));
    let prefixes = prefixes.filter(|news| matches!(news, News::Prefix { .. })).count();
    assert_eq!((prefixes, b.stats().left_out), (1, 3 + 4), "80 blocks at once");
}

#[test]
fn at_most_one_message_an_interval_is_sent_in_the_long_run() {
    let mut a = gateway("a");
    let mut messages = 0;
    for now in 0..20_000_u64 {
        a.set_load(now % 50, load(1 + (now / 50) as u32 % 3));
        a.insert_prefix(1, 16, chain(now * 10..now * 10 + 3));
        while a.export_delta(at(now)).is_some() {
            messages += 1;
        }
    }
    assert!((100..=110).contains(&messages), "{messages} in 20 s, and a burst of 8");
}

#[test]
fn a_dispatch_that_ends_before_it_is_sent_sends_nothing() {
    let mut a = gateway("a");
    for now in 0..20 {
        a.set_load(now, load(1));
        a.export_delta(at(now));
    }
    assert!(a.next_timeout(at(20)) > at(20), "the burst is spent");
    a.set_load(50, load(2));
    a.set_load(50, load(0));
    let messages = sent(&mut a, 20, 1_000).len();
    assert!(messages <= 2, "{messages}: the last loads, and a beacon at most");
}

/// The bytes that each of 16 gateways sends and receives in a second, if all together get 5,000
/// requests. Each request has so many new blocks, and runs on one of 1,000 endpoints.
fn bytes_per_second(new_blocks: u64) -> (u64, u64) {
    let (mut a, mut rng) = (gateway("gateway-1"), slotwise::Rng::new(7));
    let (mut bytes, mut loads) = (0, vec![(0_u32, 0_u32); 1_000]);
    // The first token and the end of each request; an end is a use of its prompt.
    type Event = (usize, Option<Vec<BlockHash>>);
    let mut ends: BTreeMap<u64, Vec<Event>> = BTreeMap::new();
    for (request, now) in (0..).zip((0..30_000_000).step_by(3_200)) {
        let endpoint = rng.below(1_000) as usize;
        loads[endpoint].0 += 1;
        ends.entry(now + 300_000).or_default().push((endpoint, None));
        // A turn follows the end of the turn before.
        let parent = request % 4_000;
        let turn = 1 + request / 4_000;
        let blocks = chain(parent * 1_000_000..parent * 1_000_000 + turn * new_blocks);
        ends.entry(now + 10_000_000).or_default().push((endpoint, Some(blocks.clone())));
        a.insert_prefix(endpoint as u64, 16, blocks);
        let mut changed = vec![endpoint];
        let later = ends.split_off(&(now + 1));
        for (endpoint, ends) in std::mem::replace(&mut ends, later).into_values().flatten() {
            let (prefilling, running) = &mut loads[endpoint];
            if let Some(blocks) = ends {
                *running -= 1;
                a.insert_prefix(endpoint as u64, 16, blocks);
            } else {
                *prefilling -= 1;
                *running += 1;
            }
            changed.push(endpoint);
        }
        for endpoint in changed {
            let mut load = PeerLoad::default();
            (load.prefilling, load.running) = loads[endpoint];
            load.booked = Duration::from_millis(180) * load.prefilling;
            load.kv_tokens = u64::from(load.requests()) * 2_400;
            a.set_load(endpoint as u64, load);
        }
        while let Some(message) = a.export_delta(Instant::from_micros(now)) {
            // The first ten seconds fill the fleet.
            bytes += if now < 15_000_000 { 0 } else { message.len() as u64 };
        }
    }
    (bytes / 15 * 16, a.stats().left_out)
}

#[test]
fn sixteen_gateways_with_5000_requests_a_second_need_less_than_a_megabyte_a_second_each() {
    // 500 new tokens, in blocks of 64 and of 16.
    let ((large, none), (small, some)) = (bytes_per_second(8), bytes_per_second(31));
    println!("{large} and {small} B/s; {none} and {some} of 9,375 prompts left out");
    assert!(large < 1_000_000 && small < 1_000_000, "{large} {small}");
    assert_eq!(none, 0);
}

#[test]
fn as_many_peers_as_may_be_are_remembered() {
    let mut few = config("b");
    few.limits.peers = 2;
    let mut b = Peers::new(few, 1).expect("valid");
    let first = |name: &str| gateway(name).export_delta(at(0)).expect("due");
    for name in ["p", "q"] {
        assert_eq!(b.apply_delta(at(0), &first(name)), Ok(Applied::Beacon));
    }
    let refused = b.apply_delta(at(0), &first("r"));
    assert_eq!(refused, Err(PeerError::TooManyPeers { limit: 2 }));
    assert!(b.apply_delta(at(4_000), &first("r")).is_ok(), "the others are silent");
}
