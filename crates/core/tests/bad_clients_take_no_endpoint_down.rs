//! One tenant sends requests that fail on every endpoint, while others send their usual load. The
//! latency of the others stays the same. The test prints the table of `docs/src/health.md`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt::Write;

use slotwise::{Endpoint, Failure, Instant, Request, RequestId, Rng, Scheduler, Usage};

const BOOK: &str = include_str!("../../../docs/src/health.md");

/// Requests per second of the other tenants to each endpoint.
const USUAL: u64 = 8;
/// Prefill time of a prompt: 46 ms, as predicted.
const TOKENS: usize = 1_000;
const PREFILL: u64 = 46;
const ANSWER: u64 = 500;

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Step {
    Ask,
    Poison,
    First(u64),
    Done(u64),
    Bad(u64),
}

#[derive(Clone, Copy)]
enum Status {
    /// A cancel.
    BadRequest,
    /// A failure.
    ServerError,
}

#[derive(Debug)]
struct Found {
    served: usize,
    sent: usize,
    p99: u64,
    backoffs: u64,
}

/// Simulates a pool with `rate` bad requests per second; small pools for a minute.
fn run(endpoints: u64, rate: u64, status: Status, named: bool) -> Found {
    let mut scheduler = Scheduler::builder().seed(1).build().expect("valid");
    for number in 0..endpoints {
        scheduler
            .add_endpoint(Instant::ORIGIN, Endpoint::new(format!("e{number}")))
            .expect("names differ");
    }
    let length = if endpoints < 10 { 60_000 } else { 10_000 };
    let (mut random, mut events) = (Rng::new(7), BinaryHeap::new());
    let mut send = |events: &mut BinaryHeap<_>, rate: u64, step| {
        let times = (0..rate * length / 1_000).map(|_| random.next_u64() % length);
        events.extend(times.map(|ms| Reverse((ms, step))));
    };
    send(&mut events, USUAL * endpoints, Step::Ask);
    send(&mut events, rate, Step::Poison);
    let (mut free, mut waits, mut asked, mut sent) =
        (vec![0; endpoints as usize], Vec::new(), 0u32, 0);
    while let Some(Reverse((ms, step))) = events.pop() {
        let now = Instant::from_micros(1_000 * ms);
        asked += 1;
        let prompt: Vec<u32> = (0..TOKENS as u32).map(|at| asked << 12 | at).collect();
        let flow = |poison| match (poison, named) {
            (_, false) => "",
            (true, _) => "poison",
            (false, _) => ["ada", "bob", "eve"][asked as usize % 3],
        };
        match step {
            Step::Ask => {
                let request = Request::new("m").tokens(&prompt).flow(flow(false));
                let dispatch = scheduler.pick(now, &request).expect("endpoints");
                let free = &mut free[dispatch.endpoint_id.as_u64() as usize];
                *free = ms.max(*free) + PREFILL;
                waits.push(*free - ms);
                sent += 1;
                events.push(Reverse((*free, Step::First(dispatch.request_id.as_u64()))));
            }
            Step::Poison => {
                let request = Request::new("m").tokens(&prompt).flow(flow(true));
                let dispatch = scheduler.pick(now, &request).expect("endpoints");
                events.push(Reverse((ms + 3, Step::Bad(dispatch.request_id.as_u64()))));
            }
            Step::First(id) => {
                scheduler.handle_first_token(now, RequestId::from_u64(id)).expect("in flight");
                events.push(Reverse((ms + ANSWER, Step::Done(id))));
            }
            Step::Done(id) => {
                scheduler
                    .complete(now, RequestId::from_u64(id), Usage::default())
                    .expect("in flight");
            }
            Step::Bad(id) => match status {
                Status::BadRequest => assert!(scheduler.cancel(now, RequestId::from_u64(id))),
                Status::ServerError => {
                    scheduler
                        .fail(now, RequestId::from_u64(id), Failure::Engine)
                        .expect("in flight");
                }
            },
        }
    }
    waits.sort_unstable();
    let stats = scheduler.stats();
    Found {
        served: stats.completed as usize,
        sent,
        p99: waits[waits.len() * 99 / 100],
        backoffs: stats.endpoints.iter().map(|endpoint| endpoint.backoffs).sum(),
    }
}

#[test]
fn other_tenants_are_served_as_before() {
    let mut table = String::from(
        "| endpoints | status | bad requests/s | served | p99 without | p99 with | unnamed | backoffs |\n\
         |---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for endpoints in [4, 64] {
        let usual = run(endpoints, 0, Status::BadRequest, true);
        assert_eq!((usual.served, usual.backoffs), (usual.sent, 0));
        for (status, name) in [(Status::BadRequest, 400), (Status::ServerError, 500)] {
            for rate in [1, 5, 20] {
                let found = run(endpoints, rate, status, true);
                let unnamed = run(endpoints, rate, status, false);
                assert_eq!(found.served, found.sent, "{endpoints} endpoints, {rate} times {name}");
                assert_eq!(
                    unnamed.served, unnamed.sent,
                    "{endpoints} endpoints, {rate} times {name}"
                );
                assert!(
                    found.p99 <= usual.p99 + 2,
                    "{endpoints}, {rate}, {name}: {found:?}, {usual:?}"
                );
                assert!(
                    unnamed.p99 <= 2 * usual.p99,
                    "{endpoints}, {rate}, {name}: {unnamed:?}, {usual:?}"
                );
                let share = 100 * found.served / found.sent;
                writeln!(
                    table,
                    "| {endpoints} | {name} | {rate} | {share} % | {} ms | {} ms | {} ms | {}, {} |",
                    usual.p99, found.p99, unnamed.p99, found.backoffs, unnamed.backoffs
                )
                .expect("a string");
                assert!(found.backoffs <= 6, "{endpoints}, {rate}, {name}: {found:?}");
            }
        }
    }
    assert!(BOOK.contains(&table), "docs/src/health.md should have\n{table}");
}
