//! A sheddable request needs an endpoint that is predicted to meet its service level; for others
//! the level changes nothing.

use std::time::Duration;

use slotwise::{Endpoint, Exclusion, Instant, Priority, RejectReason, Request, Scheduler, Usage};

static PROMPT: [u32; 20_000] = [7; 20_000];
const BATCH: Priority = Priority(-1);

fn at(ms: u64) -> Instant {
    Instant::from_micros(ms * 1_000)
}

fn scheduler() -> Scheduler {
    let mut scheduler = Scheduler::default();
    for name in ["a", "b"] {
        scheduler.add_endpoint(at(0), Endpoint::new(name)).expect("new");
    }
    scheduler
}

fn request() -> Request<'static> {
    Request::new("m").tokens(&PROMPT)
}

#[test]
fn a_late_first_token_is_a_missed_deadline() {
    let mut scheduler = scheduler();
    let late = request().slo_ttft(Duration::from_millis(50));
    assert!(scheduler.pick(at(0), &late).is_ok(), "others are not bound");
    let rejected = scheduler.pick(at(0), &late.clone().priority(BATCH)).expect_err("late");
    assert_eq!(rejected.reason, RejectReason::DeadlineUnreachable);
    let possible = request().priority(BATCH).slo_ttft(Duration::from_secs(5));
    assert!(scheduler.pick(at(0), &possible).is_ok());
}

#[test]
fn the_time_in_the_queue_counts() {
    let mut scheduler = scheduler();
    for token in 1..3 {
        assert!(scheduler.pick(at(0), &Request::new("m").tokens(&[token; 40_000])).is_ok());
    }
    let level = |ms| Request::new("m").tokens(&PROMPT[..1_000]).slo_ttft(Duration::from_millis(ms));
    assert!(scheduler.submit(at(0), &level(500)).is_ok(), "it waits, however long");
    let rejected = scheduler.submit(at(0), &level(500).priority(BATCH)).expect_err("late");
    assert!(matches!(rejected.reason, RejectReason::DeadlineUnreachable | RejectReason::Shed));
}

#[test]
fn slow_tokens_exclude_an_endpoint() {
    let mut scheduler = scheduler();
    // Answers of both endpoints take 40 ms a token.
    for round in 0..40 {
        let start = at(round * 10_000);
        let dispatch = scheduler.pick(start, &Request::new("m").tokens(&[9; 100])).expect("idle");
        let first = start + Duration::from_millis(20);
        scheduler.handle_first_token(first, dispatch.request_id).expect("in flight");
        let usage = Usage::default().completion_tokens(101);
        let end = first + Duration::from_secs(4);
        scheduler.complete(end, dispatch.request_id, usage).expect("in flight");
    }
    let now = at(400_000);
    let level = |ms| request().priority(BATCH).slo_tpot(Duration::from_millis(ms));
    let explanation = scheduler.explain(now, &level(20));
    for candidate in &explanation.candidates {
        assert!((candidate.predicted_tpot.get() - 0.04).abs() < 0.01, "{candidate:?}");
        assert_eq!(candidate.excluded, Some(Exclusion::TooSlow));
        assert!(candidate.tpot_headroom.is_some_and(|headroom| headroom < 0.0));
    }
    assert_eq!(scheduler.pick(now, &level(20)).expect_err("slow").reason, RejectReason::Shed);
    assert!(scheduler.pick(now, &level(80)).is_ok());
    assert!(scheduler.pick(now, &level(20).priority(Priority(0))).is_ok());
}
