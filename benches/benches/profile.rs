//! A whole decision by a scheduling profile: hash, look up, exclude, score, pick and reserve. The
//! scorers and the pool are those of the reference's `BenchmarkSchedule`, with prefix matches.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use slotwise_benches::ProfilePool;

fn schedule(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("profile/queue, kv, prefix, lora");
    for endpoints in [5, 25, 100, 1_024] {
        let mut pool = ProfilePool::new(endpoints);
        group.bench_function(BenchmarkId::from_parameter(endpoints), |bencher| {
            bencher.iter_custom(|decisions| pool.decide(decisions));
        });
    }
    group.finish();
}

criterion_group!(benches, schedule);
criterion_main!(benches);
