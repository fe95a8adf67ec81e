//! KV events of vLLM 0.32, as captured.

use std::fs;
use std::time::Duration;

use serde_json::Value;
use slotwise::{Endpoint, Instant, KvEvent, Request, Scheduler, Tier};
use slotwise_wire::kv::Feed;
use slotwise_wire::kv::internals::{Decoder, Message};

use super::fixtures::{Scenario, bytes_of, folder, hash, scenarios, unhex};

const SETS: [&str; 3] = ["default", "smallcache_priority_cbor", "seed42_tcp_fcfs"];

#[test]
fn every_frame_decodes_to_what_its_twin_says() {
    let (mut batches, mut blocks) = (0, 0);
    for set in SETS {
        let mut decoder = Decoder::new();
        for batch in scenarios(set).iter().flat_map(|scenario| &scenario.batches) {
            let frames = batch.frames();
            let message = Message::read(&frames).expect("three frames");
            let Message::Batch { topic, seq, payload, .. } = message else { panic!("{message:?}") };
            assert_eq!((topic, seq), (&*batch.frames[0], batch.seq));
            let decoded = decoder.decode(payload).expect("as vLLM writes it");
            assert_eq!(Some(decoded.sent_at()), batch.decoded[0].as_f64());
            assert_eq!(decoded.dp_rank().map(u64::from), batch.decoded[2].as_u64());
            assert_eq!(decoded.skipped_events(), Default::default());
            let events = batch.decoded[1].as_array().expect("events");
            assert_eq!(decoded.len(), events.len());
            for (event, twin) in decoded.events().zip(events) {
                blocks += compare(event, twin);
            }
            batches += 1;
        }
    }
    assert_eq!((batches, blocks), (114, 448), "all of them");
}

fn compare(event: KvEvent<'_>, twin: &Value) -> usize {
    let hashes = || -> Vec<Option<u64>> {
        twin["block_hashes"].as_array().expect("hashes").iter().map(hash).collect()
    };
    match event {
        KvEvent::BlockStored(stored) => {
            assert_eq!(twin["type"], "BlockStored");
            assert_eq!(
                stored.blocks.iter().map(|block| Some(block.0)).collect::<Vec<_>>(),
                hashes()
            );
            assert_eq!(stored.parent.map(|parent| parent.0), hash(&twin["parent_block_hash"]));
            let tokens: Vec<u32> =
                serde_json::from_value(twin["token_ids"].clone()).expect("tokens");
            assert_eq!(stored.tokens, Some(&*tokens));
            assert_eq!(twin["block_size"], stored.block_size.get());
            assert_eq!(stored.tier, Tier::Gpu);
            assert_eq!(stored.adapter, twin["lora_name"].as_str());
            // The first block's keys in JSON, without the adapter's name.
            let mut keys =
                twin["extra_keys"][0].as_array().into_iter().flatten().filter_map(Value::as_str);
            assert_eq!(stored.cache_salt, keys.find(|key| Some(*key) != stored.adapter));
            stored.blocks.len()
        }
        KvEvent::BlockRemoved(removed) => {
            assert_eq!(twin["type"], "BlockRemoved");
            assert_eq!(
                removed.blocks.iter().map(|block| Some(block.0)).collect::<Vec<_>>(),
                hashes()
            );
            assert_eq!(removed.tier, Tier::Gpu);
            0
        }
        KvEvent::AllBlocksCleared => {
            assert_eq!(twin["type"], "AllBlocksCleared");
            0
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn raw_payloads_are_those_of_the_frames() {
    let (mut same, mut of_another_run) = (0, 0);
    for set in SETS {
        let all = scenarios(set);
        for entry in fs::read_dir(folder(set)).expect("the folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            let Some((scenario, rest)) = name.split_once(".seq") else { continue };
            let seq: u64 = rest.strip_suffix(".bin").expect("a payload").parse().expect("a number");
            let scenario = all.iter().find(|known| known.name == scenario).expect("its scenario");
            let payload = fs::read(&path).expect("a file");
            match scenario.batches.iter().find(|batch| batch.seq == seq) {
                Some(batch) => {
                    assert_eq!(payload, batch.payload());
                    same += 1;
                }
                // Four are from a run whose JSON was not kept.
                None => {
                    let mut decoder = Decoder::new();
                    let batch = decoder.decode(&payload).expect("as vLLM writes it");
                    let blocks = batch.events().map(|event| match event {
                        KvEvent::BlockStored(stored) => {
                            assert_eq!(
                                stored.tokens.map(<[u32]>::len),
                                Some(stored.blocks.len() * 32)
                            );
                            stored.blocks.len()
                        }
                        _ => 0,
                    });
                    assert!(blocks.sum::<usize>() > 0);
                    of_another_run += 1;
                }
            }
        }
    }
    assert_eq!((same, of_another_run), (43, 4));
}

#[test]
fn replays_are_read() {
    for set in ["default", "smallcache_priority_cbor"] {
        let replay: Value =
            serde_json::from_slice(&fs::read(folder(set).join("replay.json")).expect("a file"))
                .expect("JSON");
        for (start, said) in replay["by_start_seq"].as_object().expect("replays") {
            let start: u64 = start.parse().expect("a number");
            let firsts = said["first"].as_array().expect("replies");
            for (reply, seq) in firsts.iter().zip(start..) {
                let mut frames: Vec<Vec<u8>> =
                    reply.as_array().expect("frames").iter().take(3).map(unhex).collect();
                if frames.len() == 3 && frames[2] == (-1_i64).to_be_bytes() {
                    continue;
                }
                // The capture omits long payloads.
                let payload = reply[3].as_str().expect("text");
                frames.push(if payload.contains(' ') { Vec::new() } else { bytes_of(payload) });
                let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
                let message = Message::read(&frames).expect("four frames");
                assert!(
                    matches!(message, Message::Batch { seq: this, .. } if this >= seq.min(start)),
                    "{message:?}"
                );
            }
            let last: Vec<Vec<u8>> =
                said["last"].as_array().expect("frames").iter().map(unhex).collect();
            let last: Vec<&[u8]> = last.iter().map(Vec::as_slice).collect();
            assert_eq!(Message::read(&last), Ok(Message::ReplayEnd));
        }
    }
}

/// A request of a scenario whose prompt is token ids.
struct Asked {
    label: String,
    start: f64,
    model: String,
    salt: Option<String>,
    tokens: Vec<u32>,
    cached: u64,
}

fn asked(scenario: &Scenario) -> Vec<Asked> {
    let requests = scenario.requests.iter().filter_map(|request| {
        let tokens = serde_json::from_value(request["request_body"]["prompt"].clone()).ok()?;
        let body: Value = serde_json::from_str(request["body"].as_str()?).ok()?;
        Some(Asked {
            label: format!("{}: {}", scenario.name, request["label"].as_str()?),
            start: request["t_start_unix"].as_f64()?,
            model: request["request_body"]["model"].as_str()?.into(),
            salt: request["request_body"]["cache_salt"].as_str().map(Into::into),
            tokens,
            cached: body["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64()?,
        })
    });
    requests.collect()
}

/// Replays requests and batches in their order. The index must find what the engine then reported.
#[test]
fn what_is_matched_is_what_the_engine_reports() {
    let mut different = Vec::new();
    let mut compared = 0;
    for set in SETS {
        let mut scheduler = Scheduler::default();
        let endpoint =
            Endpoint::new("a").model("tiny").block_size(32.try_into().expect("not zero"));
        let id = scheduler.add_endpoint(Instant::ORIGIN, endpoint).expect("the first");
        let mut feed = Feed::new();
        let mut now = Instant::ORIGIN;
        for scenario in scenarios(set) {
            let requests = asked(&scenario);
            let mut batches = scenario.batches.iter().peekable();
            let mut apply = |until: f64, now: Instant, scheduler: &mut Scheduler| {
                // The server sends an answer just before its batch arrives. A batch within 3 ms of
                // a request's start belongs to an earlier one.
                while let Some(batch) = batches.next_if(|batch| batch.received < until + 0.003) {
                    let mut sink = |event: KvEvent<'_>| scheduler.handle_kv_event(now, id, event);
                    let report =
                        feed.handle_live(&batch.frames(), &mut sink).expect("frames of vLLM");
                    // The numbers of seed42 have gaps, and there is no replay.
                    if report.ask.is_some() {
                        let given_up = feed.give_up(&mut sink);
                        assert_eq!(
                            (given_up.batches, given_up.unknown_parents, given_up.refused),
                            (1, 0, 0)
                        );
                    } else {
                        assert_eq!(
                            (report.batches, report.unknown_parents, report.refused),
                            (1, 0, 0)
                        );
                    }
                }
            };
            for request in &requests {
                now = now + Duration::from_secs(100);
                apply(request.start, now, &mut scheduler);
                let mut ask = Request::new("tiny").tokens(&request.tokens);
                if request.model != "tiny" {
                    ask = ask.adapter(&request.model);
                }
                if let Some(salt) = &request.salt {
                    ask = ask.cache_salt(salt);
                }
                let explained = scheduler.explain(now, &ask);
                let matched = u64::from(explained.candidates[0].cached_tokens);
                // The engine computes at least one token. So of a fully cached prompt it uses all
                // but the last block.
                let usable = matched.min((request.tokens.len() as u64 - 1) / 32 * 32);
                compared += 1;
                if usable != request.cached {
                    different.push((request.label.clone(), usable, request.cached));
                }
            }
            apply(f64::INFINITY, now, &mut scheduler);
        }
    }
    let expected = [
        // Two concurrent requests, or two answers to one request: the second finds the blocks of
        // the first.
        ("s10_concurrent_same: par#0", 0, 64),
        ("s15_n2_and_batch: n2", 0, 32),
        // The cache was cleared earlier, but published with the next step: before this request's
        // own blocks.
        ("s18_reset_idle: next request", 96, 0),
        // One of two copies of the last block was evicted, and the event only names the block.
        ("o07b_duplicate_block_removed: dup#37", 64, 96),
    ];
    let different: Vec<(&str, u64, u64)> =
        different.iter().map(|(label, ours, theirs)| (&**label, *ours, *theirs)).collect();
    assert_eq!(different, expected, "of {compared}");
    assert_eq!(compared, 80);
}
