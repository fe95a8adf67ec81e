//! The cost follows the length of a model's answers, and the work that is parked for endpoints.
#![allow(clippy::unwrap_used, reason = "a failing test panics")]

use std::time::Duration;

use slotwise::{Decision, Endpoint, EndpointId, Instant, Request, Scheduler, Usage};

const NOW: Instant = Instant::ORIGIN;

/// Completes `count` answers of this length.
fn answer(scheduler: &mut Scheduler, model: &str, tokens: u32, count: u32) {
    for _ in 0..count {
        let id = scheduler.pick(NOW, &Request::new(model)).unwrap().request_id;
        scheduler.handle_first_token(NOW, id).unwrap();
        scheduler.complete(NOW, id, Usage::default().completion_tokens(tokens)).unwrap();
    }
}

/// The terms `kv` and `decode` of a request beside ten running answers of the same model.
fn terms(scheduler: &mut Scheduler, model: &str) -> (f64, f64) {
    let ids: Vec<_> = (0..10)
        .map(|_| {
            let id = scheduler.pick(NOW, &Request::new(model)).unwrap().request_id;
            scheduler.handle_first_token(NOW, id).unwrap();
            id
        })
        .collect();
    let explanation = scheduler.explain(NOW, &Request::new(model).tokens(&[1; 2_000]));
    let terms = explanation.candidates[0].terms;
    ids.into_iter().for_each(|id| assert!(scheduler.cancel(NOW, id)));
    (terms.kv.get(), terms.decode.get())
}

#[test]
fn answers_far_shorter_than_usual_make_decode_dearer_and_kv_cheaper() {
    let mut scheduler = Scheduler::default();
    scheduler.add_endpoint(NOW, Endpoint::new("a")).unwrap();
    let (kv, decode) = terms(&mut scheduler, "any");
    answer(&mut scheduler, "short", 28, 1_000);
    answer(&mut scheduler, "usual", 200, 1_000);
    answer(&mut scheduler, "long", 3_000, 1_000);
    let near = |(kv_now, decode_now): (f64, f64), kv_share: f64, weight: f64| {
        assert!((kv_now / kv - kv_share).abs() < 0.01, "{kv_now} instead of {kv}");
        assert!((decode_now / decode - weight).abs() < 0.01 * weight, "{decode_now}, {decode}");
    };
    near(terms(&mut scheduler, "short"), 2.0 * 28.0 / 343.0, 343.0 / 28.0);
    near(terms(&mut scheduler, "usual"), 1.0, 1.0);
    near(terms(&mut scheduler, "long"), 1.0, 1.0);
}

#[test]
fn a_session_leaves_an_endpoint_that_many_others_wait_for() {
    let mut scheduler = Scheduler::default();
    for name in ["a", "b"] {
        scheduler.add_endpoint(NOW, Endpoint::new(name)).unwrap();
    }
    let shared = [7; 8_000];
    let turn = |own: u32| [&shared[..], &[own; 4_000]].concat();
    let first = scheduler.pick(NOW, &Request::new("m").tokens(&turn(0))).unwrap();
    scheduler.handle_first_token(NOW, first.request_id).unwrap();
    let mut on = |count: u32| -> Vec<EndpointId> {
        for own in 1..=count {
            scheduler.submit(NOW, &Request::new("m").tokens(&turn(own))).unwrap();
        }
        let mut places = Vec::new();
        let mut now = NOW;
        while places.len() < count as usize {
            now = now + Duration::from_millis(100);
            while let Some(Decision::Dispatch(dispatch)) = scheduler.poll_decision(now) {
                places.push(dispatch.endpoint_id);
                scheduler.handle_first_token(now, dispatch.request_id).unwrap();
            }
        }
        places
    };
    let places = on(8);
    let other = places.iter().filter(|place| **place != first.endpoint_id).count();
    assert!((1..8).contains(&other), "{places:?}");
}
