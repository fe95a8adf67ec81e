use alloc::string::String;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::plugins::facts::{EndpointFacts, Prediction, RequestFacts, Topology};
use crate::plugins::filter::filter;
use crate::plugins::topology_level::TopologyLevel;
use crate::subset::PortMatch;
use crate::time::Seconds;

/// Draws for each statistic.
const DRAWS: u64 = 20_000;

/// Whether a count is plausible: within five standard deviations of the binomial mean.
#[track_caller]
fn assert_binomial(count: usize, probability: f64) {
    let mean = DRAWS as f64 * probability;
    let deviation = (mean * (1.0 - probability)).sqrt();
    let off = (count as f64 - mean).abs();
    assert!(off <= 5.0 * deviation, "{count} of {DRAWS} draws, expected {mean} ± {deviation}");
}

#[test]
fn sticky_endpoints_are_explored_past_with_the_configured_probability() {
    let plugin = PrefixCacheAffinityFilter { exploration_probability: 0.2, ..Default::default() };
    let with = |cached| EndpointFacts {
        match_blocks: cached,
        total_blocks: 10,
        ..EndpointFacts::default()
    };
    let endpoints = [with(10), with(0)];
    let all = |seed: &u64| filter(&plugin, &RequestFacts::default(), &endpoints, *seed).len() == 2;
    assert_binomial((0..DRAWS).filter(all).count(), 0.2);
}

#[test]
fn the_negative_tier_is_explored_with_the_configured_probability() {
    let plugin = SloHeadroomTierFilter::default();
    let with = |headroom| EndpointFacts {
        prediction: Some(Prediction { ttft_headroom: headroom, ..Prediction::default() }),
        ..EndpointFacts::default()
    };
    let endpoints = [with(1.0), with(-1.0)];
    let kept = |seed| filter(&plugin, &RequestFacts::default(), &endpoints, seed);
    assert!((0..DRAWS).all(|seed| kept(seed).len() == 1));
    assert_binomial((0..DRAWS).filter(|seed| kept(*seed) == [1]).count(), 0.01);
}

/// Every filter, with parameters that remove something.
fn all() -> Vec<FilterPlugin> {
    let condition = |metric| UtilizationCondition { metric, max_value: 4.0 };
    let metrics = [
        UtilizationMetric::ActiveRequests,
        UtilizationMetric::RunningRequests,
        UtilizationMetric::WaitingQueue,
        UtilizationMetric::KvCacheUtilization,
    ];
    let requirement = LabelRequirement {
        key: String::from("a"),
        operator: LabelOperator::NotIn,
        values: [String::from("b")].into(),
    };
    let selector = LabelSelectorFilter {
        match_expressions: [requirement].into(),
        ..LabelSelectorFilter::default()
    };
    let attribute = EndpointAttributeFilter::new("a", ThresholdOperator::LessThan, 2.0);
    let concurrency = ConcurrencyDetectorFilter {
        max_concurrency: 4,
        concurrency_mode: ConcurrencyMode::Hybrid,
        headroom: 1e300,
        ..Default::default()
    };
    let context = ContextLengthAware { enable_filtering: true, ..Default::default() };
    let utilization = UtilizationFilter {
        conditions: metrics.into_iter().map(condition).collect(),
        fallback_on_empty: false,
        ..Default::default()
    };
    [
        FilterPlugin::LabelSelector(selector.clone()),
        FilterPlugin::ByLabelSelector(selector),
        FilterPlugin::ByLabel(ByLabelFilter::new("a", &["b"])),
        FilterPlugin::Decode(DecodeFilter::default()),
        FilterPlugin::Prefill(PrefillFilter::default()),
        FilterPlugin::Encode(EncodeFilter::default()),
        FilterPlugin::CandidateSubset(CandidateSubsetFilter { ports: PortMatch::Exact }),
        FilterPlugin::SessionAffinity(SessionAffinity::default()),
        FilterPlugin::MulticlusterSessionAffinity(SessionAffinity::default()),
        FilterPlugin::EndpointAttribute(attribute),
        FilterPlugin::TopologyAffinity(TopologyAffinityFilter {
            min_affinity: TopologyLevel::Region,
        }),
        FilterPlugin::Utilization(utilization),
        FilterPlugin::UtilizationDetector(UtilizationDetectorFilter::default()),
        FilterPlugin::ConcurrencyDetector(concurrency),
        FilterPlugin::PrefixCacheAffinity(PrefixCacheAffinityFilter::default()),
        FilterPlugin::SloHeadroomTier(SloHeadroomTierFilter::default()),
        FilterPlugin::ContextLengthAware(context),
        FilterPlugin::HeaderBasedTesting(HeaderBasedTestingFilter::default()),
    ]
    .into()
}

fn count() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..9_u64, 1 => Just(u64::MAX)]
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![4 => -1.0..4.0, 1 => prop::num::f64::ANY]
}

fn label() -> impl Strategy<Value = String> {
    prop::sample::select(["", "b", "c", "decode", "both", "0-5", "3-3", "x-y"].as_slice())
        .prop_map(String::from)
}

prop_compose! {
    fn endpoint()(
        (waiting, running, in_flight_requests) in (count(), count(), count()),
        (match_blocks, total_blocks, in_flight_tokens) in (count(), count(), count()),
        (kv_usage, attribute, ttft, ttft_headroom) in (number(), number(), number(), number()),
        keys in prop::sample::subsequence(
            ["a", "llm-d.ai/role", "llm-d.ai/context-length-range"].as_slice(), 0..=3,
        ),
        value in label(),
        age in prop::option::of(0.0..1.0),
        (predicted, session_bound) in any::<(bool, bool)>(),
        address in prop::sample::select(["10.0.0.1:1", "[::1]:2", "", "two words"].as_slice()),
    ) -> EndpointFacts {
        let prediction = Prediction { ttft, ttft_headroom, ..Prediction::default() };
        EndpointFacts {
            name: value.clone(),
            address: String::from(address),
            waiting,
            running,
            kv_usage,
            in_flight_requests,
            in_flight_tokens,
            match_blocks,
            total_blocks,
            metrics_age: age.map(Seconds::new),
            labels: keys.into_iter().map(|key| (String::from(key), value.clone())).collect(),
            attributes: [(String::from("a"), attribute)].into(),
            topology: Topology { region: value, ..Topology::default() },
            prediction: predicted.then_some(prediction),
            session_bound,
            ..EndpointFacts::default()
        }
    }
}

prop_compose! {
    fn request()(
        prompt_tokens in count(),
        header in prop::sample::select(["", "10.0.0.1", ",[::1]:2", "%%%", "ZGVjb2Rl"].as_slice()),
        subset in prop::option::of(prop::collection::vec(label(), 0..3)),
        region in label(),
    ) -> RequestFacts {
        let names = ["test-epp-endpoint-selection", "x-session-token"];
        RequestFacts {
            prompt_tokens,
            headers: names.map(|name| (String::from(name), String::from(header))).into(),
            subset,
            peer: Some(Topology { region, ..Topology::default() }),
            ..RequestFacts::default()
        }
    }
}

proptest! {
    /// Whatever the facts are: kept endpoints are a part of the pool, in its order, and a filter
    /// that falls back never leaves none.
    #[test]
    fn every_filter_narrows(
        endpoints in prop::collection::vec(endpoint(), 0..9),
        request in request(),
        seed: u64,
    ) {
        for plugin in all() {
            let kept = filter(plugin.as_plugin(), &request, &endpoints, seed);
            prop_assert!(kept.is_sorted_by(|a, b| a < b), "{}", plugin.name());
            prop_assert!(kept.iter().all(|place| *place < endpoints.len()));
            let falls_back = matches!(
                plugin,
                FilterPlugin::SessionAffinity(_)
                    | FilterPlugin::MulticlusterSessionAffinity(_)
                    | FilterPlugin::TopologyAffinity(_)
                    | FilterPlugin::UtilizationDetector(_)
                    | FilterPlugin::PrefixCacheAffinity(_)
                    | FilterPlugin::SloHeadroomTier(_)
            );
            prop_assert!(!(falls_back && kept.is_empty()) || endpoints.is_empty());
            prop_assert_eq!(filter(plugin.as_plugin(), &request, &endpoints, seed), kept);
        }
    }
}

#[test]
fn every_filter_is_in_the_property() {
    let names: Vec<_> = all().iter().map(FilterPlugin::name).collect();
    assert_eq!(names, FilterPlugin::NAMES);
}
