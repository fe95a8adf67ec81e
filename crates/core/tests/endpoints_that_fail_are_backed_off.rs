//! Endpoints that fail, refuse or hang get few requests, and come back once they answer.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use slotwise::{
    BackoffCause, Dispatch, Endpoint, EndpointId, Failure, HealthState, Instant, RejectReason,
    Request, RequestId, Scheduler, Usage,
};

/// What an endpoint does with a request.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Way {
    /// First token after so many milliseconds, and the end after as many again.
    Serves(u64),
    /// Ends at once as a failure.
    Fails,
    /// Ends at once as a cancel: a 4xx answer.
    Refuses,
    /// Fails every other request.
    FailsHalf,
    /// Sends nothing until the host gives up after 5 s.
    Hangs,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Step {
    Ask,
    First,
    Done,
    Failed,
    Refused,
}

/// When, of which client, what, and which request on which endpoint.
type Event = (u64, u64, Step, u64, usize);

/// A pool and clients that send one request after the other, on a clock of its own.
struct World {
    scheduler: Scheduler,
    ways: Vec<Way>,
    went: Vec<u32>,
    bad: u32,
    asked: u64,
    events: BinaryHeap<Reverse<Event>>,
    flow: &'static str,
}

impl World {
    fn new(ways: &[Way]) -> Self {
        let mut scheduler = Scheduler::builder().seed(1).build().expect("valid");
        for number in 0..ways.len() {
            scheduler
                .add_endpoint(at(0), Endpoint::new(format!("e{number}")))
                .expect("names differ");
        }
        Self {
            scheduler,
            ways: ways.to_vec(),
            went: vec![0; ways.len()],
            bad: 0,
            asked: 0,
            events: BinaryHeap::new(),
            flow: "",
        }
    }

    fn clients(mut self, clients: u64) -> Self {
        (0..clients).for_each(|client| self.events.push(Reverse((0, client, Step::Ask, 0, 0))));
        self
    }

    fn run(mut self, until_ms: u64) -> Self {
        while let Some(Reverse((ms, client, step, request, place))) = self.events.pop() {
            if ms > until_ms {
                self.events.push(Reverse((ms, client, step, request, place)));
                break;
            }
            let (now, id) = (at(ms), RequestId::from_u64(request));
            match step {
                Step::Ask => {}
                Step::First => {
                    self.scheduler.handle_first_token(now, id).expect("in flight");
                    let Way::Serves(took) = self.ways[place] else { continue };
                    self.events.push(Reverse((ms + took, client, Step::Done, request, place)));
                    continue;
                }
                Step::Done => {
                    self.scheduler.complete(now, id, Usage::default()).expect("in flight");
                }
                Step::Failed => self.scheduler.fail(now, id, Failure::Engine).expect("in flight"),
                Step::Refused => assert!(self.scheduler.cancel(now, id)),
            }
            self.bad += u32::from(matches!(step, Step::Failed | Step::Refused));
            self.asked += 1;
            let prompt = format!("{} ", self.asked).repeat(500);
            let dispatch = self
                .scheduler
                .pick(now, &Request::new("m").text(&prompt).flow(self.flow))
                .expect("endpoints");
            let place = dispatch.endpoint_id.as_u64() as usize;
            self.went[place] += 1;
            let (after, step) = match self.ways[place] {
                Way::FailsHalf if self.went[place] % 2 == 0 => (2, Step::Failed),
                Way::FailsHalf => (30, Step::Done),
                Way::Serves(took) => (took, Step::First),
                Way::Fails => (2, Step::Failed),
                Way::Refuses => (2, Step::Refused),
                Way::Hangs => (5_000, Step::Failed),
            };
            self.events.push(Reverse((
                ms + after,
                client,
                step,
                dispatch.request_id.as_u64(),
                place,
            )));
        }
        self
    }

    /// In percent of all requests.
    fn bad_share(&self) -> f64 {
        100.0 * f64::from(self.bad) / f64::from(self.went.iter().sum::<u32>())
    }

    fn state(&self, place: usize) -> (HealthState, Option<BackoffCause>) {
        let stats = &self.scheduler.stats().endpoints[place];
        (stats.health, stats.backoff)
    }
}

fn at(ms: u64) -> Instant {
    Instant::from_micros(1_000 + ms * 1_000)
}

#[test]
fn less_than_one_in_a_hundred_requests_fails_for_one_to_many_clients() {
    for clients in [1, 2, 4, 8, 16, 32] {
        let world = World::new(&[Way::Serves(30), Way::Fails]).clients(clients).run(10_000);
        assert!(world.bad_share() < 1.0, "{clients} clients: {:.2} %", world.bad_share());
    }
    let mut ways = [Way::Serves(30); 8];
    ways[3] = Way::Fails;
    let world = World::new(&ways).clients(256).run(10_000);
    assert!(world.bad_share() < 1.0, "{:.2} %", world.bad_share());
}

#[test]
fn an_endpoint_that_refuses_everything_draws_few_requests() {
    for (flow, way) in [("", Way::Refuses), ("tenant", Way::Refuses), ("tenant", Way::Fails)] {
        let mut world = World::new(&[way, Way::Serves(300), Way::Serves(300), Way::Serves(300)]);
        world.flow = flow;
        let world = world.clients(8).run(60_000);
        assert!(world.bad_share() < 2.0, "{way:?} {flow:?}: {:.2} %", world.bad_share());
    }
}

#[test]
fn a_refusing_endpoint_that_recovers_gets_its_share_back() {
    let mut world =
        World::new(&[Way::Refuses, Way::Serves(100), Way::Serves(100), Way::Serves(100)])
            .clients(16)
            .run(20_000);
    assert_eq!(world.state(0).1, Some(BackoffCause::Unanswered));
    world.ways[0] = Way::Serves(100);
    let mut world = world.run(80_000);
    assert_eq!(world.state(0), (HealthState::Serving, None));
    let before = world.went.clone();
    world = world.run(100_000);
    let served: Vec<u32> =
        world.went.iter().zip(before).map(|(now, before)| now - before).collect();
    assert!(5 * served[0] > served.iter().sum(), "{served:?}");
}

#[test]
fn hung_and_half_broken_endpoints_are_backed_off() {
    let world =
        World::new(&[Way::Hangs, Way::Serves(100), Way::Serves(100)]).clients(8).run(60_000);
    assert!(world.bad_share() < 1.0, "{:.2} %", world.bad_share());
    let world =
        World::new(&[Way::FailsHalf, Way::Serves(30), Way::Serves(30)]).clients(8).run(60_000);
    assert!(world.bad_share() < 1.0, "{:.2} %", world.bad_share());
}

#[test]
fn an_endpoint_is_late_by_far_before_it_is_backed_off() {
    let ways = |slow| [Way::Serves(slow), Way::Serves(100), Way::Serves(100), Way::Serves(100)];
    let late = |world: &World| world.scheduler.stats().endpoints[0].late;
    let world = World::new(&ways(60_000)).clients(32).run(200_000);
    assert!(late(&world) >= 2);
    assert_eq!(world.state(0).1, Some(BackoffCause::Late));
    // An endpoint that is only busy answers within seconds.
    let world = World::new(&ways(9_000)).clients(32).run(200_000);
    assert_eq!((late(&world), world.state(0)), (0, (HealthState::Serving, None)));
}

#[test]
fn where_all_fail_none_is_out_for_good() {
    let mut world = World::new(&[Way::Fails; 4]).clients(8).run(2_000);
    let out = (0..4).filter(|place| world.state(*place).1.is_some()).count();
    assert!(out <= 1, "only the first was out before the others were seen to fail: {out}");
    world.ways = vec![Way::Serves(30); 4];
    let world = world.run(60_000);
    assert!((0..4).all(|place| world.state(place).0 == HealthState::Serving));
}

#[test]
fn a_retry_never_goes_where_it_was() {
    let mut scheduler = Scheduler::default();
    let ids: Vec<EndpointId> = ["a", "b", "c"]
        .map(|name| scheduler.add_endpoint(at(0), Endpoint::new(name)).expect("names differ"))
        .to_vec();
    let request = Request::new("m").text("Hello");
    for tried in [&ids[..1], &ids[1..], &ids[..2]] {
        let dispatch = scheduler.pick(at(1), &request.clone().exclude(tried)).expect("one is left");
        assert!(!tried.contains(&dispatch.endpoint_id));
        assert!(dispatch.alternatives.iter().all(|id| !tried.contains(id)));
    }
    let none = scheduler.pick(at(2), &request.clone().exclude(&ids)).expect_err("all are excluded");
    assert_eq!(none.reason, RejectReason::NoEndpoints);
    let none = scheduler.submit(at(2), &request.exclude(&ids)).expect_err("all are excluded");
    assert_eq!(none.reason, RejectReason::NoEndpoints);
}

#[test]
fn one_dead_endpoint_costs_no_request_and_gets_two_at_most() {
    for pool in [2u64, 4, 16] {
        for redirects in [false, true] {
            let mut scheduler = Scheduler::default();
            for number in 0..pool {
                scheduler
                    .add_endpoint(at(0), Endpoint::new(format!("e{number}")))
                    .expect("names differ");
            }
            let dead = EndpointId::from_u64(0);
            let long = "0123456789".repeat(3_000);
            for number in 1..pool {
                let others: Vec<_> =
                    (0..pool).filter(|other| *other != number).map(EndpointId::from_u64).collect();
                let busy = Request::new("m").text(&long).exclude(&others);
                drop(scheduler.pick(at(0), &busy).expect("not excluded"));
            }
            let mut to_dead = 0;
            for number in 0..1_000 {
                let now = at(1 + number);
                let prompt = format!("{number} ").repeat(100);
                let request = Request::new("m").text(&prompt);
                let mut tried = Vec::new();
                let mut dispatch: Dispatch = scheduler.pick(now, &request).expect("endpoints");
                while dispatch.endpoint_id == dead {
                    to_dead += 1;
                    tried.push(dead);
                    if redirects {
                        let to = dispatch.alternatives[0];
                        scheduler.redirect(now, dispatch.request_id, to).expect("in flight");
                        dispatch.endpoint_id = to;
                    } else {
                        scheduler
                            .fail(now, dispatch.request_id, Failure::Unreachable)
                            .expect("in flight");
                        dispatch =
                            scheduler.pick(now, &request.clone().exclude(&tried)).expect("another");
                    }
                }
                scheduler.handle_first_token(now, dispatch.request_id).expect("in flight");
                scheduler.complete(now, dispatch.request_id, Usage::default()).expect("in flight");
            }
            assert!(to_dead <= 2, "{pool} endpoints, redirects {redirects}: {to_dead}");
        }
    }
}

#[test]
fn probes_take_endpoints_out_and_bring_them_back() {
    let mut scheduler = Scheduler::default();
    let [a, b] =
        ["a", "b"].map(|name| scheduler.add_endpoint(at(0), Endpoint::new(name)).expect("names"));
    let request = Request::new("m").text("Hello");
    let picked = |scheduler: &mut Scheduler, ms| {
        let dispatch = scheduler.pick(at(ms), &request).expect("endpoints");
        assert!(scheduler.cancel(at(ms), dispatch.request_id));
        dispatch.endpoint_id
    };
    scheduler.handle_probe(at(1), a, false).expect("known");
    assert_eq!(scheduler.stats().endpoints[0].backoff, Some(BackoffCause::Probe));
    let explanation = scheduler.explain(at(1), &request);
    let out =
        explanation.candidates.iter().find(|candidate| candidate.endpoint_id == a).expect("listed");
    assert_eq!(out.excluded.map(|why| why.code()), Some("backed_off"));
    assert!(out.backoff_remaining.get() > 5.0);
    assert_eq!(picked(&mut scheduler, 2), b);
    scheduler.handle_probe(at(3), a, true).expect("known");
    let trial = scheduler.pick(at(4), &request.clone().exclude(&[b])).expect("half-open");
    assert_eq!(trial.endpoint_id, a);
    assert_eq!(scheduler.stats().endpoints[0].health, HealthState::Trial);
    assert_eq!(picked(&mut scheduler, 5), b, "one trial at a time");
    scheduler.handle_first_token(at(6), trial.request_id).expect("in flight");
    assert_eq!(scheduler.stats().endpoints[0].health, HealthState::Ramping);
    // All are out: availability comes first.
    scheduler.handle_probe(at(7), a, false).expect("known");
    scheduler.handle_probe(at(7), b, false).expect("known");
    let dispatch = scheduler.pick(at(8), &request).expect("availability first");
    assert!([a, b].contains(&dispatch.endpoint_id));
    assert!(scheduler.explain(at(8), &request).verdict.is_ok());
}

#[test]
fn an_endpoint_that_joins_a_pool_at_work_begins_slowly() {
    let world = World::new(&[Way::Serves(100); 2]).clients(8).run(1_000);
    let mut scheduler = world.scheduler;
    let new = scheduler.add_endpoint(at(1_001), Endpoint::new("new")).expect("a new name");
    let burst = |number: u32| {
        let prompt = format!("{number} ").repeat(100);
        let mut on_new = Vec::new();
        (0..40).for_each(|_| {
            let dispatch =
                scheduler.pick(at(1_002), &Request::new("m").text(&prompt)).expect("endpoints");
            if dispatch.endpoint_id == new {
                on_new.push(dispatch.request_id);
            }
        });
        on_new.len()
    };
    let mut burst = burst;
    assert_eq!(burst(1), 1);
}

#[test]
fn a_waiting_request_never_waits_for_an_endpoint_that_is_backed_off() {
    let mut scheduler = Scheduler::default();
    let [a, b] = ["a", "b"].map(|name| {
        let endpoint = Endpoint::new(name).max_in_flight(1);
        scheduler.add_endpoint(at(0), endpoint).expect("names differ")
    });
    scheduler.handle_probe(at(1), a, false).expect("known");
    let first = scheduler.submit(at(2), &Request::new("m").text("one")).expect("waits");
    let second = scheduler.submit(at(2), &Request::new("m").text("two")).expect("waits");
    let went = scheduler.poll_decision(at(2)).expect("goes");
    assert_eq!(went.request_id(), first);
    assert_eq!(scheduler.endpoint_of(first), Some(b));
    assert_eq!(scheduler.poll_decision(at(2)), None, "b is full, a is out: it waits for b");
    let timeout = scheduler.next_timeout().expect("the end of the backoff");
    assert!(timeout <= at(1) + Duration::from_secs(10));
    let went = scheduler.poll_decision(at(1) + Duration::from_secs(60)).expect("a trial");
    assert_eq!((went.request_id(), scheduler.endpoint_of(second)), (second, Some(a)));
}
