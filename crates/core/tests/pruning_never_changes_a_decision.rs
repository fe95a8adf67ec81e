//! `pick` prunes endpoints by a lower bound of their cost, and `pick_by` weighs all of them. With
//! the same cost function both make the same decisions, alternatives included. The pools are small
//! and large, with busy endpoints of different kinds. Some requests are restricted to a subset.

use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;
use slotwise::{
    AdapterState, BlockHash, BlockStored, Endpoint, EngineHash, Failure, Instant, KvEvent, Load,
    PrefillCost, Priority, Request, RequestId, Scheduler, Seconds, Subset, Usage,
};

/// Two schedulers with the same inputs: `pruned` prunes, and `exhaustive` weighs all endpoints.
struct Twins {
    pruned: Scheduler,
    exhaustive: Scheduler,
    now: Instant,
    flying: Vec<RequestId>,
}

impl Twins {
    fn new(endpoints: &[(u8, u32, u8)]) -> Self {
        let scheduler = || {
            let mut scheduler = Scheduler::default();
            for (number, (hardware, capacity, limit)) in endpoints.iter().enumerate() {
                let per_token = Seconds::new(20e-6 * f64::from(1 + hardware % 4));
                let endpoint = Endpoint::new(format!("e{number}"))
                    .prefill(PrefillCost::new(per_token, Seconds::new(1e-9)))
                    .block_size(NonZeroU32::new(16 << (hardware % 3)).expect("not zero"))
                    .kv_cache_tokens(*capacity)
                    .max_in_flight(u32::from(*limit));
                scheduler.add_endpoint(Instant::ORIGIN, endpoint).expect("names differ");
            }
            scheduler
        };
        Self {
            pruned: scheduler(),
            exhaustive: scheduler(),
            now: Instant::ORIGIN,
            flying: Vec::new(),
        }
    }

    /// A pool of a few kinds of endpoints, which have prefixes of some families' prompts cached.
    fn large(pool: usize, kinds: &[(u8, u32, u8)], shared: &[(u8, u16)]) -> Self {
        let endpoints: Vec<_> =
            (0..pool).map(|number| kinds[number * 7 / 3 % kinds.len()]).collect();
        let mut twins = Self::new(&endpoints);
        for (number, (hardware, ..)) in endpoints.iter().enumerate() {
            let block = 16 << (hardware % 3);
            let block_size = NonZeroU32::new(block).expect("not zero");
            // All endpoints hold the prefixes of some families, and few those of others.
            let every = |family: u8| [1, 2, 3, 40][usize::from(family % 4)];
            let holds = shared.iter().filter(|(family, _)| number % every(*family) == 0);
            for (family, length) in holds {
                let ids = prompt(*family, length / 2 + length / (1 + number as u16 % 3) / 2);
                let ids = &ids[..ids.len() - ids.len() % block as usize];
                let name = |at: usize| EngineHash(u64::from(*family) << 32 | at as u64);
                let names: Vec<_> = (0..ids.len() / block as usize).map(name).collect();
                let stored = BlockStored::new(&names, block_size).tokens(ids).model("m");
                let endpoint = slotwise::EndpointId::from_u64(number as u64);
                twins.both(|s, now| {
                    s.handle_kv_event(now, endpoint, KvEvent::BlockStored(stored)).expect("room");
                });
            }
        }
        twins
    }

    fn both(&mut self, act: impl Fn(&mut Scheduler, Instant)) {
        act(&mut self.pruned, self.now);
        act(&mut self.exhaustive, self.now);
    }

    /// An endpoint reports load, some of it of other clients. The report may leave values out, be
    /// older than the call, or say that the engine sleeps.
    fn report(&mut self, endpoint: slotwise::EndpointId, choice: u16, length: u16) {
        let mut load = Load::default();
        load.waiting = (choice % 5 < 3).then_some(u32::from(choice % 7));
        load.running = (choice % 3 > 0).then_some(u32::from(choice % 31));
        load.kv_usage = (choice % 4 > 0).then_some(f64::from(choice % 101) / 100.0);
        load.sleeping = (choice % 50 == 0).then_some(choice % 100 == 0);
        let ago = u64::from(length) * u64::from(choice % 4) * 500;
        load.sampled_at = Some(Instant::from_micros(self.now.as_micros().saturating_sub(ago)));
        self.both(|s, now| s.handle_load(now, endpoint, load).expect("known"));
    }

    fn pick(
        &mut self,
        family: u8,
        length: u16,
        priority: i32,
        adapter: bool,
    ) -> Result<(), TestCaseError> {
        let ids = prompt(family % 12, length);
        // Some prompts are hashes, which are valid for every block size.
        let hashes: Vec<_> =
            ids.chunks_exact(16).map(|block| BlockHash(u64::from(block[0]))).collect();
        let sixteen = NonZeroU32::new(16).expect("not zero");
        let request = match family % 6 {
            5 => Request::new("m").blocks(&hashes, sixteen, u32::from(length)),
            _ => Request::new("m").tokens(&ids),
        };
        let mut request = request.priority(Priority(priority)).expected_output_tokens(50);
        request.adapter = adapter.then_some("a");
        let tried = [slotwise::EndpointId::from_u64(u64::from(family % 5))];
        if family % 4 == 0 {
            request = request.exclude(&tried);
        }
        let allowed: Vec<_> = (0..u64::from(length) % 40)
            .map(|place| slotwise::EndpointId::from_u64(place * u64::from(1 + family % 3)))
            .collect();
        match family % 7 {
            1 => request = request.subset(Subset::Ids(&allowed)),
            2 => request = request.subset(Subset::addresses("e1, e3:80, e7, e60, e900")),
            _ => {}
        }
        let glanced = self.pruned.pick(self.now, &request);
        let weighed = self.exhaustive.pick_by(self.now, &request, |_, terms| terms.total());
        prop_assert_eq!(&glanced, &weighed);
        self.flying.extend(glanced.map(|dispatch| dispatch.request_id));
        Ok(())
    }
}

fn prompt(family: u8, length: u16) -> Vec<u32> {
    (0..u32::from(length)).map(|at| u32::from(family) << 16 | at).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn twins_agree(
        endpoints in prop::collection::vec((0u8..8, 2_000u32..60_000, 1u8..20), 1..90),
        reports in prop::collection::vec(any::<u16>(), 0..90),
        steps in prop::collection::vec((0u8..14, any::<u8>(), 0u16..3_000, 0u64..200_000), 1..250),
    ) {
        let mut twins = Twins::new(&endpoints);
        let pool = endpoints.len() as u64;
        for (endpoint, choice) in (0..pool).zip(reports) {
            twins.report(slotwise::EndpointId::from_u64(endpoint), choice, choice / 20);
        }
        for (verb, choice, length, micros) in steps {
            twins.now = twins.now + Duration::from_micros(micros);
            let endpoint = slotwise::EndpointId::from_u64(u64::from(choice) % pool);
            match (verb, twins.flying.is_empty()) {
                (0..6, _) | (_, true) => {
                    twins.pick(choice, length, i32::from(choice % 3) - 1, choice % 5 == 0)?;
                }
                (6, _) => twins.report(endpoint, u16::from(choice), length),
                (7, _) => twins.both(|s, now| {
                    s.handle_adapters(now, endpoint, AdapterState::active(&["a", "b"])).expect("known");
                }),
                (8, _) => {
                    let request = twins.flying[usize::from(choice) % twins.flying.len()];
                    twins.both(|s, now| s.handle_first_token(now, request).expect("in flight"));
                }
                (9 | 10, _) => {
                    let at = usize::from(choice) % twins.flying.len();
                    let request = twins.flying.swap_remove(at);
                    let usage = Usage::default().cached_tokens(u32::from(length) / 2).completion_tokens(40);
                    twins.both(|s, now| s.complete(now, request, usage).expect("in flight"));
                }
                (11, _) => {
                    let request = twins.flying.swap_remove(0);
                    match choice % 3 {
                        0 => twins.both(|s, now| s.fail(now, request, Failure::Unreachable).expect("in flight")),
                        1 => twins.both(|s, now| s.fail(now, request, Failure::Engine).expect("in flight")),
                        _ => twins.both(|s, now| assert!(s.cancel(now, request))),
                    }
                }
                (12, _) => {
                    twins.both(|s, now| s.handle_probe(now, endpoint, choice % 2 == 0).expect("known"));
                }
                // Long enough for backoffs to end.
                _ => twins.now = twins.now + Duration::from_millis(u64::from(length) * 10),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn twins_agree_in_pools_that_change(
        pool in prop_oneof![6usize..12, 65usize..300, 200usize..1_000, 4_000usize..5_000],
        kinds in prop::collection::vec((0u8..8, 2_000u32..60_000, 1u8..4), 1..5),
        shared in prop::collection::vec((0u8..12, 100u16..1_500), 0..4),
        busy in prop_oneof![Just(0usize), 1usize..600],
        // One of so many endpoints reports before each pick. The means of their reports change.
        reporting in prop_oneof![Just(0usize), 1usize..5, 5usize..700],
        steps in prop::collection::vec((0u8..16, any::<u16>(), 0u16..2_000, 0u64..100_000), 1..150),
    ) {
        let mut twins = Twins::large(pool, &kinds, &shared);
        for number in 0..busy {
            if reporting > 0 {
                let endpoint = slotwise::EndpointId::from_u64((number % reporting.min(pool)) as u64);
                twins.report(endpoint, (number * 7_919) as u16, 100);
                twins.now = twins.now + Duration::from_millis((number % 90) as u64);
            }
            twins.pick(number as u8, 200 + (number % 7) as u16 * 100, 0, false)?;
        }
        for (verb, choice, length, micros) in steps {
            twins.now = twins.now + Duration::from_micros(micros);
            let endpoint = twins.pruned.endpoint_named(&format!("e{}", usize::from(choice) % pool));
            let small = choice as u8;
            match (verb, endpoint) {
                (7, Some(endpoint)) => twins.both(|s, now| {
                    s.remove_endpoint(now, endpoint).expect("known");
                }),
                (7, None) => twins.both(|s, now| {
                    s.add_endpoint(now, Endpoint::new(format!("e{}", usize::from(choice) % pool))).expect("room");
                }),
                (8, Some(endpoint)) => twins.both(|s, now| {
                    let drain = if small % 2 == 0 { Scheduler::drain_endpoint } else { Scheduler::resume_endpoint };
                    drain(s, now, endpoint).expect("known");
                }),
                (9 | 10, _) if !twins.flying.is_empty() => {
                    let request = twins.flying.swap_remove(usize::from(choice) % twins.flying.len());
                    let usage = Usage::default().cached_tokens(u32::from(length) / 2).completion_tokens(40);
                    twins.both(|s, now| {
                        s.handle_first_token(now, request).ok();
                        s.complete(now, request, usage).expect("in flight");
                    });
                }
                (12, Some(endpoint)) => {
                    twins.both(|s, now| s.handle_probe(now, endpoint, small % 4 == 0).expect("known"));
                }
                (13, _) if !twins.flying.is_empty() => {
                    let request = twins.flying.swap_remove(usize::from(choice) % twins.flying.len());
                    twins.both(|s, now| s.fail(now, request, Failure::Engine).expect("in flight"));
                    twins.now = twins.now + Duration::from_millis(u64::from(length));
                }
                (14, Some(endpoint)) => twins.report(endpoint, choice, length),
                (15, _) if reporting > 0 => for number in 0..reporting {
                    let name = format!("e{}", (number * 13 + usize::from(choice)) % pool);
                    let endpoint = twins.pruned.endpoint_named(&name);
                    // In turn all reports are alike, of an idle engine, or differ.
                    let choice = match small % 3 { 0 => 2, 1 => 35, _ => choice.wrapping_add(number as u16) };
                    endpoint.into_iter().for_each(|endpoint| twins.report(endpoint, choice, length / 2));
                },
                (11, _) => for _ in 0..4 { twins.pick(small, length, 0, small % 5 == 0)?; },
                _ => twins.pick(small, length, i32::from(small % 3) - 1, false)?,
            }
        }
    }
}
