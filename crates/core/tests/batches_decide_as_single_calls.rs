//! A batch of requests or of load reports has the effect of as many single calls.

use std::time::Duration;

use proptest::prelude::*;
use slotwise::{Endpoint, EndpointId, Instant, Load, Priority, Request, Scheduler, Usage};

/// A scheduler with a few small endpoints.
fn scheduler(endpoints: usize) -> Scheduler {
    let mut scheduler = Scheduler::default();
    for number in 0..endpoints {
        let endpoint = Endpoint::new(format!("e{number}")).kv_cache_tokens(20_000).max_in_flight(4);
        scheduler.add_endpoint(Instant::ORIGIN, endpoint).expect("names differ");
    }
    scheduler
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn twins_agree(
        endpoints in 1usize..20,
        rounds in prop::collection::vec((
            prop::collection::vec((0u32..6, 0u32..30_000, -1i32..2), 0..12),
            prop::collection::vec((0u64..25, any::<Option<u8>>(), any::<Option<u8>>()), 0..12),
            0u64..50_000,
        ), 1..20),
    ) {
        let (mut many, mut single) = (scheduler(endpoints), scheduler(endpoints));
        let (mut now, mut in_flight) = (Instant::ORIGIN, Vec::new());
        for (asked, reported, micros) in rounds {
            now = now + Duration::from_micros(micros);
            let load = |(id, waiting, usage): &(u64, Option<u8>, Option<u8>)| {
                let mut load = Load::default();
                load.waiting = waiting.map(u32::from);
                load.kv_usage = usage.map(|usage| f64::from(usage) / 255.0);
                (EndpointId::from_u64(*id), load)
            };
            let reports: Vec<_> = reported.iter().map(load).collect();
            let unknown = many.handle_loads(now, &reports);
            let one_by_one =
                reports.iter().filter_map(|(id, load)| single.handle_load(now, *id, *load).err());
            prop_assert_eq!(unknown, one_by_one.map(|error| error.0).collect::<Vec<_>>());

            let prompts: Vec<Vec<u32>> =
                asked.iter().map(|(family, length, _)| (*family..family + length).collect()).collect();
            let with_prompts = prompts.iter().zip(&asked);
            let requests: Vec<Request<'_>> = with_prompts
                .map(|(ids, (.., priority))| {
                    Request::new("m").tokens(ids).priority(Priority(*priority))
                })
                .collect();
            let picked = many.pick_many(now, &requests);
            let one_by_one: Vec<_> =
                requests.iter().map(|request| single.pick(now, request)).collect();
            prop_assert_eq!(&picked, &one_by_one);
            in_flight.extend(picked.into_iter().flatten().map(|dispatch| dispatch.request_id));
            for id in in_flight.split_off(in_flight.len() / 2) {
                for twin in [&mut many, &mut single] {
                    twin.complete(now, id, Usage::default()).expect("in flight");
                }
            }
        }
    }
}
