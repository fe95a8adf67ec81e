//! Responses: what it costs to read along with a stream, and to put the client's name for the model
//! back.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use slotwise_wire::response::{Body, CloseReason, ModelFilter, ResponseReader};

const MEGABYTE: usize = 1 << 20;

/// A captured stream of vLLM's.
const CAPTURED: &[u8] =
    include_bytes!("../../crates/wire/tests/fixtures/vllm-0.32/default/http/chat_sse_usage.sse");

/// The payloads of one token each in it.
fn tokens() -> Vec<&'static [u8]> {
    let text = std::str::from_utf8(CAPTURED).expect("UTF-8");
    let events = text.split_inclusive("\n\n").filter(|event| event.contains("\"content\":"));
    let tokens: Vec<&[u8]> = events.skip(1).take(5).map(str::as_bytes).collect();
    assert_eq!(tokens.len(), 5);
    tokens
}

/// A stream of a megabyte, of such payloads.
fn megabyte() -> Vec<u8> {
    let tokens = tokens();
    tokens.iter().cycle().flat_map(|token| token.iter().copied()).take(MEGABYTE).collect()
}

/// A body of a megabyte, most of which is one text.
fn body() -> Vec<u8> {
    let text = "Prefix caches make prompts cheap.\\n".repeat(MEGABYTE / 35);
    let body = "{\"model\":\"m\",\"choices\":[{\"index\":0,\"message\":{\"content\":\"";
    format!("{body}{text}\"}},\"finish_reason\":\"stop\"}}],\"usage\":{{\"prompt_tokens\":9}}}}")
        .into_bytes()
}

fn read(body: Body, bytes: &[u8], chunk: usize) -> u32 {
    let mut reader = ResponseReader::with_body(200, body);
    for chunk in bytes.chunks(chunk) {
        black_box(reader.feed(chunk));
    }
    reader.finish(CloseReason::Clean).tokens
}

fn reading(criterion: &mut Criterion) {
    let tokens = tokens();
    let mut group = criterion.benchmark_group("response/a chunk of one token");
    group.throughput(Throughput::Bytes(tokens[0].len() as u64));
    let mut reader = ResponseReader::with_body(200, Body::Stream);
    // In turns: a reader remembers what it has just read.
    let mut turn = tokens.iter().cycle();
    group.bench_function("read", |bencher| {
        bencher.iter(|| reader.feed(black_box(turn.next().expect("it never ends"))));
    });
    let mut filter = ModelFilter::new(Body::Stream, "gpt-4o");
    let mut output = Vec::new();
    group.bench_function("filter", |bencher| {
        bencher.iter(|| {
            output.clear();
            filter.feed(black_box(tokens[0]), &mut output);
        });
    });
    group.finish();

    let mut group = criterion.benchmark_group("response/a captured stream");
    group.throughput(Throughput::Bytes(CAPTURED.len() as u64));
    group.bench_function("read", |bencher| {
        bencher.iter(|| read(Body::Stream, black_box(CAPTURED), usize::MAX));
    });
    group.finish();

    let (stream, body) = (megabyte(), body());
    let mut group = criterion.benchmark_group("response/a megabyte, in chunks of so many bytes");
    group.throughput(Throughput::Bytes(MEGABYTE as u64));
    for chunk in [64, 1 << 10, 1 << 16] {
        group.bench_function(BenchmarkId::new("stream", chunk), |bencher| {
            bencher.iter(|| read(Body::Stream, black_box(&stream), chunk));
        });
    }
    for (name, kind, bytes) in [("stream", Body::Stream, &stream), ("body", Body::Json, &body)] {
        group.bench_function(BenchmarkId::new(format!("{name}, filtered"), 1 << 16), |bencher| {
            let mut output = Vec::new();
            bencher.iter(|| {
                let mut filter = ModelFilter::new(kind, "gpt-4o");
                output.clear();
                for chunk in black_box(bytes).chunks(1 << 16) {
                    filter.feed(chunk, &mut output);
                }
                output.len()
            });
        });
    }
    group.bench_function(BenchmarkId::new("body", 1 << 16), |bencher| {
        bencher.iter(|| read(Body::Json, black_box(&body), 1 << 16));
    });
    group.finish();
}

criterion_group!(benches, reading);
criterion_main!(benches);
