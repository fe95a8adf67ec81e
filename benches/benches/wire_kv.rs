//! KV events: from the bytes of a batch to events, in both shapes, with integer and with 32-byte
//! hashes.
//!
//! The throughput is in blocks of 16 tokens, with ids as large as a vocabulary of 128,000 makes
//! them. `hashes` is what vLLM's names of the blocks cost.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use slotwise::KvEvent;
use slotwise_wire::hashes::{Algorithm, BlockHasher, DEFAULT_SEED, ExtraKeys};
use slotwise_wire::kv::internals::Decoder;

const BLOCK: usize = 16;

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend([0xd9, text.len() as u8]);
    out.extend(text.as_bytes());
}

fn array(out: &mut Vec<u8>, length: usize) {
    out.push(0xdc);
    out.extend((length as u16).to_be_bytes());
}

fn hash(out: &mut Vec<u8>, number: u64, long: bool) {
    let number = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    if long {
        out.extend([0xc4, 32]);
        (0..4_u64).for_each(|part| out.extend((number ^ part).to_be_bytes()));
    } else {
        out.push(0xcf);
        out.extend(number.to_be_bytes());
    }
}

fn token(out: &mut Vec<u8>, at: usize) {
    match (at * 7_919) % 128_000 {
        id @ 0..=0x7f => out.push(id as u8),
        id @ 0x80..=0xff => out.extend([0xcc, id as u8]),
        id @ 0x100..=0xffff => {
            out.push(0xcd);
            out.extend((id as u16).to_be_bytes());
        }
        id => {
            out.push(0xce);
            out.extend((id as u32).to_be_bytes());
        }
    }
}

/// A batch of so many events that store so many blocks each.
fn batch(events: usize, blocks: usize, map: bool, long: bool) -> Vec<u8> {
    let mut out = vec![0x93, 0xcb, 0x41, 0xda, 0xc0, 0x31, 0x12, 0xdb, 0x7a, 0x59];
    array(&mut out, events);
    for event in 0..events {
        let field = |out: &mut Vec<u8>, name| {
            if map {
                text(out, name);
            }
        };
        if map {
            out.push(0x8b);
            text(&mut out, "type");
        } else {
            out.push(0x9b);
        }
        text(&mut out, "BlockStored");
        field(&mut out, "block_hashes");
        array(&mut out, blocks);
        (0..blocks).for_each(|block| hash(&mut out, (event * blocks + block) as u64, long));
        field(&mut out, "parent_block_hash");
        out.push(0xc0);
        field(&mut out, "token_ids");
        array(&mut out, blocks * BLOCK);
        (0..blocks * BLOCK).for_each(|at| token(&mut out, event * blocks * BLOCK + at));
        field(&mut out, "block_size");
        out.push(BLOCK as u8);
        field(&mut out, "lora_id");
        out.push(0xc0);
        field(&mut out, "medium");
        text(&mut out, "GPU");
        field(&mut out, "lora_name");
        out.push(0xc0);
        field(&mut out, "extra_keys");
        array(&mut out, blocks);
        out.resize(out.len() + blocks, 0xc0);
        field(&mut out, "group_idx");
        out.push(0);
        field(&mut out, "kv_cache_spec_kind");
        text(&mut out, "full_attention");
    }
    out.push(0);
    out
}

fn kv(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wire_kv/decode");
    for (map, shape) in [(true, "maps"), (false, "arrays")] {
        for (long, kind) in [(false, "integers"), (true, "32 bytes")] {
            // A prompt of 2,000 tokens; and what sixteen running requests fill in a step.
            for (events, blocks) in [(1, 128), (16, 1)] {
                let payload = batch(events, blocks, map, long);
                let mut decoder = Decoder::new();
                group.throughput(Throughput::Elements((events * blocks) as u64));
                let name = format!("{shape}, {kind}, {events} x {blocks} blocks");
                group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
                    bencher.iter(|| {
                        let batch = decoder.decode(black_box(&payload)).expect("well formed");
                        for event in batch {
                            let KvEvent::BlockStored(stored) = black_box(event) else {
                                panic!("{event:?}")
                            };
                            assert_eq!(stored.blocks.len(), blocks);
                        }
                    });
                });
            }
        }
    }
    group.finish();

    let mut group = criterion.benchmark_group("wire_kv/hashes");
    let tokens: Vec<u32> = (0..2_048).map(|at| (at * 7_919) % 128_000).collect();
    for algorithm in [Algorithm::Sha256, Algorithm::Sha256Cbor] {
        let mut hasher = BlockHasher::new(algorithm, DEFAULT_SEED);
        group.throughput(Throughput::Elements(128));
        group.bench_function(BenchmarkId::from_parameter(algorithm.as_str()), |bencher| {
            let size = (BLOCK as u32).try_into().expect("not zero");
            bencher
                .iter(|| black_box(hasher.prompt(black_box(&tokens), size, ExtraKeys::default())));
        });
    }
    group.finish();
}

criterion_group!(benches, kv);
criterion_main!(benches);
