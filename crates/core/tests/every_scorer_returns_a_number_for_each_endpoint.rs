//! Every scorer returns one number for each endpoint, whatever the facts are, and the order of the
//! endpoints does not matter.

use proptest::prelude::*;
use serde_json::{Value, json};
use slotwise::plugins::{
    EndpointFacts, Prediction, RequestFacts, ScorerPlugin, Topology, score, weighted_sum,
};

fn count() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..6u64, 1 => Just(u64::MAX), 1 => any::<u64>()]
}

fn real() -> impl Strategy<Value = f64> {
    prop_oneof![4 => -2.0..2.0, 1 => any::<f64>(), 1 => Just(f64::NAN), 1 => Just(f64::INFINITY)]
}

fn names() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec("[ab]", 0..3)
}

fn topology() -> impl Strategy<Value = Topology> {
    ["[ab]?", "[ab]?", "[ab]?", "[ab]?"].prop_map(|[host, rack, zone, region]| Topology {
        host,
        rack,
        zone,
        region,
    })
}

fn prediction() -> impl Strategy<Value = Option<Prediction>> {
    proptest::option::of((real(), real(), count()).prop_map(|(ttft, tpot, dispatched_requests)| {
        Prediction {
            ttft_headroom: ttft,
            tpot_headroom: tpot,
            dispatched_requests,
            ..Prediction::default()
        }
    }))
}

fn endpoint() -> impl Strategy<Value = EndpointFacts> {
    let counts = proptest::array::uniform9(count());
    let label = prop_oneof!["[0-9]{0,3}-[0-9]{0,3}", "[ab-]{0,3}"];
    let words = (names(), names(), label, "[ab]?");
    let others = (proptest::option::of(real()), topology(), prediction(), any::<bool>());
    (counts, real(), words, others, proptest::option::of(count())).prop_map(
        |(counts, kv_usage, words, others, cold_position)| {
            let (active_adapters, waiting_adapters, range, label) = words;
            let (attribute, topology, prediction, session_bound) = others;
            EndpointFacts {
                waiting: counts[0],
                running: counts[1],
                kv_usage,
                in_flight_requests: counts[2],
                in_flight_tokens: counts[3],
                uncached_tokens: counts[4],
                match_blocks: counts[5],
                total_blocks: counts[6],
                max_adapters: counts[7],
                media_match: counts[8],
                active_adapters,
                waiting_adapters,
                labels: [("llm-d.ai/context-length-range".into(), range), ("zone".into(), label)]
                    .into(),
                attributes: attribute.map(|value| ("m".into(), value)).into_iter().collect(),
                topology,
                prediction,
                session_bound,
                cold_position,
                ..EndpointFacts::default()
            }
        },
    )
}

fn request() -> impl Strategy<Value = RequestFacts> {
    let headers = ("[ab]?", "[A-Za-z=]{0,8}");
    (headers, count(), count(), proptest::option::of(topology())).prop_map(
        |((zone, token), prompt_tokens, media, peer)| RequestFacts {
            model: "a".into(),
            prompt_tokens,
            media,
            peer,
            headers: [("x-zone".into(), zone), ("x-session-token".into(), token)].into(),
            ..RequestFacts::default()
        },
    )
}

/// Parameters of a scorer that needs some, else its defaults.
fn plugin(name: &str) -> ScorerPlugin {
    let parameters = match name {
        "header-label-affinity-scorer" => json!({"headerName": "x-zone", "labelKey": "zone"}),
        "endpoint-attribute-scorer" => {
            json!({"attributeKey": "m", "algorithm": {"type": "linear_lower_is_better"}})
        }
        "prefix-cache-scorer" => json!({"matchLengthWeight": 0.5}),
        _ => Value::Null,
    };
    ScorerPlugin::from_name(name, parameters).expect("valid parameters")
}

proptest! {
    #[test]
    fn scores_are_numbers_in_any_order(
        request in request(),
        endpoints in proptest::collection::vec(endpoint(), 0..6),
    ) {
        let mut reversed = endpoints.clone();
        reversed.reverse();
        for name in ScorerPlugin::NAMES {
            let plugin = plugin(name);
            let scores = score(plugin.as_plugin(), &request, &endpoints);
            prop_assert_eq!(scores.len(), endpoints.len(), "{}", name);
            prop_assert!(scores.iter().all(|score| !score.is_nan()), "{}: {:?}", name, scores);
            let totals = weighted_sum(&[1.0], &[&scores]);
            prop_assert!(totals.iter().all(|total| (0.0..=1.0).contains(total)));
            // Endpoints that never received a cold prompt take turns in their order.
            if *name != "no-hit-lru-scorer" {
                let mut others = score(plugin.as_plugin(), &request, &reversed);
                others.reverse();
                prop_assert_eq!(scores, others, "{}", name);
            }
        }
    }

    /// Parameters that were read are written as they were.
    #[test]
    fn parameters_survive_as_data(weight in 0.0..1.0, tokens in 1..100_i64) {
        for name in ScorerPlugin::NAMES {
            let mut scorer = plugin(name);
            if let ScorerPlugin::PrefixCache(prefix) = &mut scorer {
                prefix.match_length_weight = weight;
                prefix.match_length_scale_tokens = tokens;
            }
            let data = serde_json::to_value(&scorer).expect("data");
            prop_assert_eq!(serde_json::from_value::<ScorerPlugin>(data).expect("valid"), scorer);
        }
    }
}
