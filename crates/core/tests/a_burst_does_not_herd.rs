//! A burst of requests at one instant spreads over the pool: each decision accounts for those
//! before it.

use slotwise::plugins::{KvCacheUtilizationScorer, MaxScorePicker, QueueScorer, SchedulingProfile};
use slotwise::{Config, Decision, Endpoint, Instant, Load, Request, Scheduler};

fn pool(endpoints: usize) -> Scheduler {
    filled(Scheduler::default(), endpoints)
}

/// A pool whose endpoints are chosen by plugins of the Endpoint Picker.
fn pool_with_profile(endpoints: usize) -> Scheduler {
    let profile = SchedulingProfile::new(MaxScorePicker::default())
        .scorer(QueueScorer::default(), 2.0)
        .scorer(KvCacheUtilizationScorer::default(), 2.0);
    filled(Scheduler::with_profile(Config::default(), profile).expect("valid"), endpoints)
}

fn filled(mut scheduler: Scheduler, endpoints: usize) -> Scheduler {
    for name in 0..endpoints {
        scheduler
            .add_endpoint(Instant::ORIGIN, Endpoint::new(format!("endpoint-{name}")))
            .expect("names differ");
    }
    scheduler
}

#[test]
fn equal_work_is_spread_evenly() {
    let mut scheduler = pool(8);
    for request in 0..400u32 {
        let ids: Vec<u32> = (0..1_000).map(|token| request * 1_000 + token).collect();
        let _ = scheduler
            .pick(Instant::ORIGIN, &Request::new("m").tokens(&ids))
            .expect("there is room");
    }
    for endpoint in scheduler.stats().endpoints {
        assert_eq!(endpoint.prefilling, 50, "{}", endpoint.name);
    }
}

#[test]
fn one_hot_prompt_stays_together_until_the_queue_costs_more_than_the_prompt() {
    let mut scheduler = pool(8);
    let hot: Vec<u32> = (0..8_000).collect();
    let mut sent = std::collections::BTreeMap::new();
    for request in 0..200u32 {
        let own: Vec<u32> = (0..500).map(|token| 1_000_000 + request * 500 + token).collect();
        let prompt = [hot.clone(), own].concat();
        let picked = scheduler
            .pick(Instant::ORIGIN, &Request::new("m").tokens(&prompt))
            .expect("there is room");
        *sent.entry(picked.endpoint_id).or_insert(0u32) += 1;
    }
    let busiest = sent.values().max().copied().unwrap_or(0);
    assert!(
        sent.len() == 8 && busiest < 40,
        "{sent:?}: the hot prompt has been copied to all endpoints"
    );
    let first =
        scheduler.stats().predicted_cached_tokens as f64 / scheduler.stats().prompt_tokens as f64;
    assert!(first > 0.8, "and still {first:.2} of all tokens are cached where they go");
}

#[test]
fn equal_prompts_on_an_idle_pool_meet_again_and_different_ones_spread() {
    let mut homes = std::collections::BTreeSet::new();
    for prompt in 0..64u32 {
        let ids = [prompt; 100];
        let home = |mut scheduler: Scheduler| {
            scheduler.pick(Instant::ORIGIN, &Request::new("m").tokens(&ids))
        };
        let (one, two) = (home(pool(8)).expect("idle"), home(pool(8)).expect("idle"));
        assert_eq!(one.endpoint_id, two.endpoint_id);
        homes.insert(one.endpoint_id);
    }
    assert_eq!(homes.len(), 8);
}

/// Metrics do not change during a burst: what was dispatched since the last report counts.
#[test]
fn a_scheduling_profile_spreads_a_burst_between_two_reports() {
    let mut scheduler = pool_with_profile(8);
    let endpoints: Vec<_> =
        scheduler.stats().endpoints.iter().map(|endpoint| endpoint.id).collect();
    for (waiting, endpoint) in (0..).zip(&endpoints) {
        let load = Load::default().waiting(waiting).running(10).kv_usage(0.5);
        scheduler.handle_load(Instant::ORIGIN, *endpoint, load).expect("known");
    }
    let now = Instant::from_micros(10);
    // With 28 waiting requests in the engines, 52 more make ten on each.
    for request in 0..52u32 {
        let ids: Vec<u32> = (0..100).map(|token| request * 100 + token).collect();
        let dispatch = scheduler.pick(now, &Request::new("m").tokens(&ids)).expect("room");
        assert!(dispatch.score.is_some());
    }
    for (waiting, endpoint) in (0..).zip(scheduler.stats().endpoints) {
        assert_eq!(endpoint.prefilling, 10 - waiting, "{}", endpoint.name);
    }
}

#[test]
fn a_scheduling_profile_spreads_queued_requests() {
    let mut scheduler = pool_with_profile(8);
    let now = Instant::ORIGIN;
    for request in 0..16u32 {
        let ids: Vec<u32> = (0..2_000).map(|token| request * 2_000 + token).collect();
        scheduler.submit(now, &Request::new("m").tokens(&ids)).expect("room");
    }
    let mut sent = std::collections::BTreeMap::new();
    while let Some(decision) = scheduler.poll_decision(now) {
        let Decision::Dispatch(dispatch) = decision else { panic!("{decision:?}") };
        *sent.entry(dispatch.endpoint_id).or_insert(0) += 1;
    }
    let (least, most) = (sent.values().min().copied(), sent.values().max().copied());
    assert_eq!((sent.len(), least), (8, most), "{sent:?}");
}
