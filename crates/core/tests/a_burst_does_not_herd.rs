//! A burst of requests at one instant spreads over the pool: each decision accounts for those
//! before it.

use slotwise::{Endpoint, Instant, Request, Scheduler};

fn pool(endpoints: usize) -> Scheduler {
    let mut scheduler = Scheduler::default();
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
