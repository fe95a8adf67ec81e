//! A profile reads the matches of each endpoint as `explain` reports them, also where block sizes
//! differ and prefixes are nested.

use std::num::NonZeroU32;

use proptest::prelude::*;
use slotwise::plugins::{MaxScorePicker, PrefixCacheScorer, SchedulingProfile};
use slotwise::{Config, Endpoint, Instant, Request, Scheduler};

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
