//! A profile reads the matches of each endpoint as `explain` reports them, also where block sizes
//! differ and prefixes are nested.

use std::num::NonZeroU32;

use proptest::prelude::*;
use slotwise::plugins::{
    MaxScorePicker, PrecisePrefixCacheScorer, PrefixCacheScorer, SchedulingProfile,
};
use slotwise::{
    BlockStored, Config, Endpoint, EngineHash, Instant, KvEvent, Request, Scheduler, Tier,
};

#[test]
fn a_precise_score_weighs_the_tiers_that_engines_publish() {
    let now = Instant::ORIGIN;
    let profile = SchedulingProfile::new(MaxScorePicker::default())
        .scorer(PrecisePrefixCacheScorer::default(), 1.0);
    let mut scheduler = Scheduler::with_profile(Config::default(), profile).expect("valid");
    let ids: Vec<u32> = (0..160).collect();
    let names: Vec<EngineHash> = (1..=10).map(EngineHash).collect();
    let mut endpoints = Vec::new();
    for (name, tier) in [("cpu", Tier::Cpu), ("gpu", Tier::Gpu)] {
        let id = scheduler.add_endpoint(now, Endpoint::new(name)).expect("room");
        let stored = BlockStored::new(&names, NonZeroU32::new(16).expect("not zero"))
            .tokens(&ids)
            .tier(tier);
        scheduler.handle_kv_event(now, id, KvEvent::BlockStored(stored)).expect("accepted");
        endpoints.push(id);
    }
    let request = Request::new("m").tokens(&ids);
    let scores = |scheduler: &Scheduler| {
        let candidates = scheduler.explain(now, &request).candidates;
        let raw = |id| candidates.iter().find(|it| it.endpoint_id == id).map(|it| it.scores[0].raw);
        [raw(endpoints[0]), raw(endpoints[1])]
    };
    // Ten blocks of weight 0.8 count as 7.
    assert_eq!(scores(&scheduler), [Some(0.7), Some(1.0)]);
    assert_eq!(scheduler.pick(now, &request).expect("room").endpoint_id, endpoints[1]);
    assert_eq!(scores(&scheduler), [Some(0.7), Some(1.0)]);
    let other = Request::new("m").tokens(&[7; 160]);
    assert_eq!(scheduler.pick(now, &other).expect("room").score, Some(0.0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn scores_follow_cached_tokens(
        sizes in prop::collection::vec(0u32..2, 1..12),
        steps in prop::collection::vec((0u32..4, 1u32..300), 1..60),
    ) {
        let now = Instant::ORIGIN;
        let profile =
            SchedulingProfile::new(MaxScorePicker::default()).scorer(PrefixCacheScorer::default(), 1.0);
        let mut scheduler = Scheduler::with_profile(Config::default(), profile).expect("valid");
        for (number, size) in sizes.iter().enumerate() {
            let block_size = NonZeroU32::new(16 << size).expect("not zero");
            let endpoint = Endpoint::new(format!("e{number}")).block_size(block_size);
            scheduler.add_endpoint(now, endpoint).expect("room");
        }
        for (family, length) in steps {
            let ids: Vec<u32> = (0..length).map(|at| family << 16 | at).collect();
            let request = Request::new("m").tokens(&ids);
            for candidate in scheduler.explain(now, &request).candidates {
                let size = 16u32 << sizes[candidate.endpoint_id.as_u64() as usize];
                let blocks = length / size;
                let raw = candidate.scores[0].raw;
                // The block of the last token is matched, but always computed.
                let matched = (raw * f64::from(blocks)).round() as u32;
                let usable = (matched * size).min((length - 1) / size * size);
                prop_assert_eq!(candidate.cached_tokens, usable);
            }
            let _ = scheduler.pick(now, &request).expect("room");
        }
    }
}
