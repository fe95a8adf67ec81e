//! Metrics pages: what a scrape of one endpoint costs.
//!
//! The pages are made from one that vLLM 0.32 gave under load: brought to 64 KiB with more of its
//! other lines, and with eight data-parallel ranks, each of which has all the lines of the first.

use std::fmt::Write;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use slotwise_wire::metrics::{Engine, MetricsReader, OrcaReport};

const CAPTURED: &str = include_str!(
    "../../crates/wire/tests/fixtures/vllm-0.32/default/metrics/metrics_under_load.txt"
);
const HEADER: &str = "TEXT named_metrics.kv_cache_usage_perc=0.07827788649706457, named_metrics.num_requests_waiting=16.0";

/// The page, repeated from its beginning where no line is wanted, until it has so many bytes.
fn grown(bytes: usize) -> String {
    let mut page = CAPTURED.to_owned();
    let others =
        CAPTURED.lines().filter(|line| !line.starts_with("vllm:") || line.contains("_bucket"));
    for line in others.cycle() {
        if page.len() + line.len() >= bytes {
            break;
        }
        page += line;
        page.push('\n');
    }
    page
}

/// The page of so many ranks.
fn ranked(ranks: usize) -> String {
    let mut page = String::new();
    for line in CAPTURED.lines() {
        if !line.contains("engine=\"0\"") {
            writeln!(page, "{line}").expect("a string takes everything");
            continue;
        }
        for rank in 0..ranks {
            writeln!(page, "{}", line.replace("engine=\"0\"", &format!("engine=\"{rank}\"")))
                .expect("the same");
        }
    }
    page
}

fn pages(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wire/metrics");
    for (name, page, ranks) in [("64 KiB", grown(65_536), 1), ("8 ranks", ranked(8), 8)] {
        group.throughput(Throughput::Bytes(page.len() as u64));
        for (kind, reader) in
            [("detect", MetricsReader::detect()), ("vllm", MetricsReader::of(Engine::Vllm))]
        {
            let report = reader.read(page.as_bytes()).expect("well-formed");
            assert_eq!(
                (report.ranks.len(), report.load().waiting),
                (ranks, Some(16 * ranks as u32))
            );
            group.bench_function(BenchmarkId::new(name, kind), |bencher| {
                bencher.iter(|| black_box(reader.read(black_box(page.as_bytes()))));
            });
        }
    }
    group.finish();
    criterion.bench_function("wire/orca", |bencher| {
        bencher.iter(|| black_box(OrcaReport::read(black_box(HEADER.as_bytes()))));
    });
}

criterion_group!(benches, pages);
criterion_main!(benches);
