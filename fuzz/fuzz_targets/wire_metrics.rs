//! Metrics pages of every engine and ORCA headers, and where it knows the engine, the naive twin
//! beside the reader. A reader with a memory of layouts reads several pages beside it.
//!
//! `cargo +nightly fuzz run wire_metrics`
#![no_main]

#[path = "../../crates/wire/tests/support/metrics_twin.rs"]
mod twin;

use libfuzzer_sys::fuzz_target;
use slotwise_wire::metrics::{
    Engine, Field, MetricSpec, MetricsReader, MetricsReport, OrcaReport, ScrapeReader,
};

fuzz_target!(|bytes: &[u8]| {
    let mut readers = vec![MetricsReader::detect()];
    readers.extend(Engine::ALL.map(MetricsReader::of));
    // The first line may be a metric to look for.
    let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if let Some(spec) =
        std::str::from_utf8(first).ok().and_then(|text| MetricSpec::parse(text).ok())
    {
        assert_eq!(MetricSpec::parse(&spec.to_string()), Ok(spec.clone()));
        let custom = MetricsReader::custom().rank_label("engine").adapters(spec.clone());
        readers.push(
            Field::ALL.into_iter().fold(custom, |reader, field| reader.field(field, spec.clone())),
        );
    }
    for reader in &readers {
        match reader.read(bytes) {
            Ok(report) => check(&report),
            Err(error) => assert!(error.offset <= bytes.len()),
        }
        // No text has this byte.
        let mut scrapes = ScrapeReader::new(reader.clone());
        for page in bytes.split(|byte| *byte == 0xFF) {
            assert_eq!(scrapes.read(page), reader.read(page));
        }
        assert!(scrapes.allocated() <= ScrapeReader::MOST_BYTES);
    }
    if let Ok(page) = std::str::from_utf8(bytes) {
        if !twin::repeats_a_label(page) {
            for engine in [Engine::Vllm, Engine::TritonTensorRtLlm] {
                let report = MetricsReader::of(engine).read(bytes);
                assert_eq!(report.ok().as_ref().map(twin::of_report), twin::read(page, engine));
            }
        }
    }
    match OrcaReport::read(bytes) {
        Ok(report) => {
            assert!(report.load.kv_usage.is_none_or(|share| (0.0..=1.0).contains(&share)))
        }
        Err(error) => assert!(error.offset <= bytes.len()),
    }
});

fn check(report: &MetricsReport) {
    let shares = report.ranks.iter().map(|rank| rank.load.kv_usage).chain([report.load().kv_usage]);
    assert!(shares.flatten().all(|share| (0.0..=1.0).contains(&share)));
    assert!(report.ranks.is_sorted_by(|one, other| one.rank != other.rank));
    if let Some(adapters) = &report.adapters {
        assert!(adapters.active().is_sorted());
    }
    let _ = report.configure(slotwise::Endpoint::new("a"));
}
