//! `explain` names the filter that removed an endpoint, the scores or terms of the others, and what
//! the runner-up lacks.

use std::time::Duration;

use slotwise::plugins::{
    KvCacheUtilizationScorer, LatencyScorer, MaxScorePicker, PrefixCacheScorer, QueueScorer,
    SchedulingProfile, UtilizationCondition, UtilizationFilter, UtilizationMetric,
};
use slotwise::{Config, Endpoint, EndpointId, Exclusion, Instant, Load, Request, Scheduler};

const NOW: Instant = Instant::ORIGIN;

/// Three endpoints with 1, 3 and 9 waiting requests.
fn pool(scheduler: &mut Scheduler) -> [EndpointId; 3] {
    [1, 3, 9].map(|waiting| {
        let endpoint = Endpoint::new(format!("e{waiting}"));
        let id = scheduler.add_endpoint(NOW, endpoint).expect("added");
        let load = Load::default().waiting(waiting).kv_usage(0.1 * f64::from(waiting));
        scheduler.handle_load(NOW, id, load).expect("known");
        id
    })
}

fn profile() -> SchedulingProfile {
    let mut filter = UtilizationFilter::default();
    filter.conditions =
        vec![UtilizationCondition { metric: UtilizationMetric::WaitingQueue, max_value: 5.0 }];
    SchedulingProfile::new(MaxScorePicker::default())
        .filter(filter)
        .scorer(QueueScorer::default(), 2.0)
        .scorer(KvCacheUtilizationScorer::default(), 2.0)
        .scorer(PrefixCacheScorer::default(), 3.0)
}

#[test]
fn a_profile_is_explained_by_its_plugins() {
    let mut scheduler = Scheduler::with_profile(Config::default(), profile()).expect("valid");
    let [first, second, third] = pool(&mut scheduler);
    let request = Request::new("llama").text("Hello");
    let explanation = scheduler.explain(NOW, &request);

    assert_eq!(explanation.verdict, Ok(first));
    let [best, next, filtered] = &explanation.candidates[..] else { panic!("three candidates") };
    assert_eq!((best.endpoint_id, next.endpoint_id, filtered.endpoint_id), (first, second, third));
    assert_eq!(filtered.filtered_by, Some("utilization-filter"));
    assert_eq!(filtered.excluded, Some(Exclusion::Filtered));
    assert!(filtered.scores.is_empty() && best.filtered_by.is_none());

    let names: Vec<_> = best.scores.iter().map(|score| score.scorer).collect();
    assert_eq!(names, ["queue-scorer", "kv-cache-utilization-scorer", "prefix-cache-scorer"]);
    for candidate in [best, next] {
        let total: f64 = candidate.scores.iter().map(|score| score.weighted).sum();
        assert!((candidate.score.expect("scored") - total).abs() < 1e-12);
    }
    assert!((best.scores[0].raw - 1.0).abs() < 1e-12 && next.scores[0].raw.abs() < 1e-12);

    let runner_up = explanation.runner_up.expect("two candidates");
    assert_eq!(runner_up.endpoint_id, second);
    assert_eq!(runner_up.lost_most_in, Some("queue-scorer"));
    assert!((runner_up.lost - 2.0).abs() < 1e-9 && (runner_up.behind - 2.4).abs() < 1e-9);
    assert_eq!(scheduler.pick(NOW, &request).expect("placed").endpoint_id, first);
}

#[test]
fn the_default_profile_is_explained_by_its_terms() {
    let mut scheduler = Scheduler::default();
    let endpoints = pool(&mut scheduler);
    let explanation = scheduler.explain(NOW, &Request::new("llama").text("Hello"));

    assert_eq!(explanation.verdict, Ok(endpoints[0]));
    let runner_up = explanation.runner_up.expect("three candidates");
    let [best, next, ..] = &explanation.candidates[..] else { panic!("three candidates") };
    assert_eq!(runner_up.endpoint_id, next.endpoint_id);
    assert!((runner_up.behind - (next.cost.get() - best.cost.get())).abs() < 1e-12);
    assert_eq!(runner_up.lost_most_in, Some("kv"));
    assert!(best.scores.is_empty() && best.filtered_by.is_none());
}

#[test]
fn there_is_no_runner_up_without_a_choice_or_a_second_endpoint() {
    let mut scheduler = Scheduler::with_profile(Config::default(), profile()).expect("valid");
    let request = Request::new("llama").text("Hello");
    assert_eq!(scheduler.explain(NOW, &request).runner_up, None);
    let id = scheduler.add_endpoint(NOW, Endpoint::new("only")).expect("added");
    assert_eq!(scheduler.explain(NOW, &request).runner_up, None);
    scheduler.handle_load(NOW, id, Load::default().waiting(99)).expect("known");
    let explanation = scheduler.explain(NOW, &request);
    assert!(explanation.verdict.is_err() && explanation.runner_up.is_none());
    assert_eq!(explanation.candidates[0].filtered_by, Some("utilization-filter"));
}

#[test]
fn a_profile_reads_predicted_latencies_of_requests_with_service_levels() {
    let profile =
        SchedulingProfile::new(MaxScorePicker::default()).scorer(LatencyScorer::default(), 1.0);
    let mut scheduler = Scheduler::with_profile(Config::default(), profile).expect("valid");
    let [idle, ..] = pool(&mut scheduler);
    let level = Duration::from_secs(5);
    let request = Request::new("llama").tokens(&[1; 400]).slo_ttft(level).slo_tpot(level);
    let dispatch = scheduler.pick(NOW, &request).expect("placed");
    assert!(dispatch.score.is_some_and(|score| score > 0.0));
    // Without a service level the scorer falls back to queues, KV cache and prefixes.
    let plain = Request::new("llama").tokens(&[2; 400]);
    assert_eq!(scheduler.pick(NOW, &plain).expect("placed").endpoint_id, idle);
}
