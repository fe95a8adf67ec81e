//! Hashing a prompt into chained block hashes: time a block.

use std::hint::black_box;
use std::num::NonZeroU32;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use slotwise::prefix::{Namespace, PromptHasher};
use slotwise_benches::prompts;

fn hash(criterion: &mut Criterion) {
    let hasher = PromptHasher::new(1);
    let namespace = Namespace::new("llama-3.1-8b");
    let mut group = criterion.benchmark_group("hash");
    for (block_size, tokens) in [(16, 2_000), (16, 32_000), (64, 32_000)] {
        let size = NonZeroU32::new(block_size).expect("not zero");
        let prompt = prompts(1, tokens * 4, tokens, 1).remove(0);
        let mut hashes = Vec::new();
        group.throughput(Throughput::Elements((tokens / block_size as usize) as u64));
        group.bench_function(
            BenchmarkId::new(format!("tokens/block {block_size}"), tokens),
            |bencher| {
                bencher.iter(|| {
                    hashes.clear();
                    hasher.tokens(
                        namespace,
                        black_box(&prompt.tokens),
                        size,
                        usize::MAX,
                        &mut hashes,
                    );
                    black_box(hashes.last().copied())
                });
            },
        );
        group.bench_function(
            BenchmarkId::new(format!("text/block {block_size}"), tokens * 4),
            |bencher| {
                bencher.iter(|| {
                    hashes.clear();
                    hasher.text(
                        namespace,
                        black_box(prompt.text.as_bytes()),
                        size,
                        usize::MAX,
                        &mut hashes,
                    );
                    black_box(hashes.last().copied())
                });
            },
        );
    }
    group.finish();
}

criterion_group!(benches, hash);
criterion_main!(benches);
