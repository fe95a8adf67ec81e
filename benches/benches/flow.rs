//! Flow control: the cost of queueing a request, and of dispatching it, beside many that are
//! queued.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use slotwise_benches::FullQueue;

const AT_ONCE: usize = 5_000;

fn flow(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("flow/submit and cancel, beside so many");
    for queued in [0, 10_000, 1_000_000] {
        let mut queue = FullQueue::new(queued);
        group.bench_function(BenchmarkId::from_parameter(queued), |bencher| {
            bencher.iter(|| queue.submit_and_cancel());
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("flow/an endpoint for so many who wait");
    group.sample_size(20);
    group.bench_function(BenchmarkId::from_parameter(AT_ONCE), |bencher| {
        bencher.iter_batched_ref(
            || FullQueue::new(AT_ONCE),
            |queue| assert_eq!(black_box(queue.dispatch_all()), AT_ONCE),
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(benches, flow);
criterion_main!(benches);
