//! Flow control: what it costs to wait, and to be let go, in a room where many wait.
//!
//! Prompts are 32 tokens, so that hashing and looking up, which `pick` shows, count for little.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use slotwise::{Endpoint, Instant, Priority, Request, Scheduler};

const FLOWS: usize = 10_000;
const BANDS: i32 = 8;
const AT_ONCE: usize = 5_000;
const MODEL: &str = "llama-3.1-8b";

/// A scheduler without endpoints in which so many requests wait.
fn room(waiting: usize, flows: &[String]) -> Scheduler {
    let scheduler = Scheduler::builder().with(|config| {
        config.flow.max_requests = None;
        config.flow.band.max_requests = usize::MAX;
        config.flow.max_queued_prefill = Duration::from_secs(3_600);
    });
    let mut scheduler = scheduler.build().expect("valid");
    for number in 0..waiting {
        submit(&mut scheduler, number, flows);
    }
    scheduler
}

fn submit(scheduler: &mut Scheduler, number: usize, flows: &[String]) -> slotwise::RequestId {
    let prompt: [u32; 32] = std::array::from_fn(|at| (number + at) as u32);
    let request = Request::new(MODEL).tokens(&prompt).flow(&flows[number % flows.len()]);
    let request = request.priority(Priority(number as i32 % BANDS));
    scheduler.submit(Instant::ORIGIN, &request).expect("there is room")
}

fn flow(criterion: &mut Criterion) {
    let flows: Vec<String> = (0..FLOWS).map(|flow| format!("tenant {flow}")).collect();
    let mut group = criterion.benchmark_group("flow/submit and cancel, beside so many");
    for waiting in [0, 10_000, 1_000_000] {
        let mut scheduler = room(waiting, &flows);
        let mut number = waiting;
        group.bench_function(BenchmarkId::from_parameter(waiting), |bencher| {
            bencher.iter(|| {
                number += 1;
                let id = submit(&mut scheduler, number, &flows);
                black_box(scheduler.cancel(Instant::ORIGIN, id))
            });
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("flow/an endpoint for so many who wait");
    group.sample_size(20);
    group.bench_function(BenchmarkId::from_parameter(AT_ONCE), |bencher| {
        bencher.iter_batched_ref(
            || room(AT_ONCE, &flows),
            |scheduler| {
                scheduler.add_endpoint(Instant::ORIGIN, Endpoint::new("one")).expect("the first");
                let mut dispatched = 0;
                while let Some(decision) = scheduler.poll_decision(Instant::ORIGIN) {
                    black_box(decision);
                    dispatched += 1;
                }
                assert_eq!(dispatched, AT_ONCE);
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(benches, flow);
criterion_main!(benches);
