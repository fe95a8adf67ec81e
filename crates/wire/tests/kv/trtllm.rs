//! TensorRT-LLM's `/kv_cache_events`.

use slotwise::{Endpoint, Instant, Request, Scheduler};
use slotwise_wire::kv::Feed;
use slotwise_wire::kv::internals::Decoder;

use super::golden::told;

const BODY: &str = r#"[
  {"event_id": 0, "data": {"type": "created", "num_blocks_per_cache_level": [512, 0]}, "window_size": 1024, "attention_dp_rank": 0},
  {"event_id": 1, "data": {"type": "created", "num_blocks_per_cache_level": [128, 0]}, "window_size": 128, "attention_dp_rank": 0},
  {"event_id": 2, "data": {"type": "stored", "parent_hash": null, "blocks": [
     {"type": "stored_block", "block_hash": 18446744073709551615, "cache_level": 0, "priority": 35, "tokens":
        [{"type": "unique_token", "token_id": 0, "token_extra_id": 0}, {"type": "unique_token", "token_id": 1, "token_extra_id": 0}]},
     {"type": "stored_block", "block_hash": -2, "tokens": [{"token_id": 2}, {"token_id": 3}], "mm_keys": []},
     {"type": "stored_block", "block_hash": 7, "tokens": [{"token_id": 4}]}]}, "window_size": 1024, "attention_dp_rank": 0},
  {"event_id": 3, "data": {"type": "removed", "block_hashes": [5]}, "window_size": 128, "attention_dp_rank": 0},
  {"event_id": 0, "data": {"type": "removed", "block_hashes": [5]}, "window_size": 1024, "attention_dp_rank": 1},
  {"event_id": 4, "data": {"type": "updated", "block_hash": 7, "cache_level": {"type": "event_diff", "new_value": 1, "old_value": 0}, "priority": null}, "window_size": 1024},
  {"event_id": 5, "data": {"type": "painted"}, "window_size": 1024},
  {"event_id": 6, "data": {"type": "removed", "block_hashes": [7, 18446744073709551614]}, "window_size": 1024}
]"#;

fn two() -> std::num::NonZeroU32 {
    2.try_into().expect("not zero")
}

#[test]
fn every_kind_is_read() {
    let mut decoder = Decoder::new();
    let batch = decoder.decode_trtllm(BODY.as_bytes(), two(), 0).expect("well formed");
    let (max, less) = (u64::MAX, u64::MAX - 1);
    assert_eq!(
        told(&batch),
        [
            "nothing".to_owned(),
            format!("[{max}, {less}] after None of [0, 1, 2, 3]"),
            format!("no [7, {less}] in Gpu"),
        ]
    );
    let skipped_events = batch.skipped_events();
    assert_eq!(
        (skipped_events.other_groups, skipped_events.other_ranks, skipped_events.partial_blocks),
        (2, 1, 1)
    );
    assert_eq!(
        (
            skipped_events.without_tokens,
            skipped_events.unknown_kinds,
            skipped_events.unknown_fields
        ),
        (1, 1, 0)
    );
    assert_eq!((batch.event_ids(), batch.dp_rank()), (Some((0, 6)), Some(0)));
    // The decoder keeps the largest window.
    let small = br#"[{"event_id": 7, "data": {"type": "removed", "block_hashes": [5]}, "window_size": 128}]"#;
    assert!(decoder.decode_trtllm(small, two(), 0).expect("well formed").is_empty());
    // Of another rank.
    assert_eq!(
        told(&decoder.decode_trtllm(BODY.as_bytes(), two(), 1).expect("well formed")),
        ["no [5] in Gpu"]
    );
}

#[test]
fn keys_may_come_in_any_order() {
    let body = br#"[{"window_size": 8, "data": {"blocks": [{"tokens": [1, 2], "block_hash": "00ff00000000000000aa"}], "parent_hash": 3, "type": "stored"}}]"#;
    let mut decoder = Decoder::new();
    assert_eq!(
        told(&decoder.decode_trtllm(body, two(), 0).expect("well formed")),
        ["[170] after Some(3) of [1, 2]"]
    );
    assert!(decoder.decode_trtllm(b"null", two(), 0).expect("nothing new").is_empty());
    assert!(decoder.decode_trtllm(b"[]", two(), 0).expect("nothing new").is_empty());
}

#[test]
fn images_adapters_and_salts() {
    let mut decoder = Decoder::new();
    let body = br#"[{"data": {"type": "stored", "parent_hash": null, "blocks": [{"block_hash": 1, "tokens": [1, 2], "cache_salt": "t\u0031"},
        {"block_hash": 2, "tokens": [3, 4], "mm_keys": [{"type": "mm_key", "hash": "ab", "start_offset": 0}]}, {"block_hash": 3, "tokens": [5, 6]}]}},
        {"data": {"type": "stored", "parent_hash": null, "blocks": [{"block_hash": 1, "tokens": [1, 2], "lora_id": 4}]}}]"#;
    let batch = decoder.decode_trtllm(body, two(), 0).expect("well formed");
    assert_eq!(told(&batch), ["[1] after None of [1, 2] salted t1"]);
    assert_eq!(
        (batch.skipped_events().multimodal_blocks, batch.skipped_events().unnamed_adapters),
        (2, 1)
    );
}

#[test]
fn what_is_malformed_is_refused_whole() {
    let mut decoder = Decoder::new();
    let body = BODY.as_bytes();
    for end in 0..body.len() {
        assert!(decoder.decode_trtllm(&body[..end], two(), 0).is_err(), "{end}");
    }
    for (bad, code) in [
        (r#"{"events": []}"#, "unexpected"),
        (r#"[{"event_id": 1}]"#, "unexpected"),
        (r#"[{"data": {"block_hashes": [1]}}]"#, "unexpected"),
        (r#"[{"data": {"type": "removed", "block_hashes": [1.5]}}]"#, "out_of_range"),
        (
            r#"[{"data": {"type": "removed", "block_hashes": [18446744073709551616]}}]"#,
            "out_of_range",
        ),
        (r#"[{"data": {"type": "removed", "block_hashes": ["+1"]}}]"#, "unexpected"),
        (r#"[{"data": {"type": "stored", "blocks": [{"tokens": [1, 2]}]}}]"#, "unexpected"),
        (
            r#"[{"data": {"type": "stored", "blocks": [{"block_hash": 1, "tokens": [1, 2, 3]}]}}]"#,
            "out_of_range",
        ),
        (
            r#"[{"data": {"type": "stored", "blocks": [{"block_hash": 1, "tokens": [-1]}]}}]"#,
            "out_of_range",
        ),
        (
            r#"[{"data": {"type": "stored", "blocks": [{"block_hash": 1, "tokens": [4294967296]}]}}]"#,
            "out_of_range",
        ),
        ("[] []", "unexpected"),
    ] {
        let error = decoder.decode_trtllm(bad.as_bytes(), two(), 0).expect_err(bad);
        assert_eq!(error.problem.code(), code, "{bad}: {error}");
    }
    let deep = "[".repeat(100_000);
    assert_eq!(
        decoder.decode_trtllm(deep.as_bytes(), two(), 0).expect_err("deep").problem.code(),
        "unexpected"
    );
    let deep = format!(r#"[{{"data": {deep}"#);
    assert_eq!(
        decoder.decode_trtllm(deep.as_bytes(), two(), 0).expect_err("deep").problem.code(),
        "too_deep"
    );
}

#[test]
fn a_feed_counts_what_was_lost_and_begins_anew() {
    let mut scheduler = Scheduler::default();
    let endpoint = Endpoint::new("a").model("tiny").block_size(two());
    let id = scheduler.add_endpoint(Instant::ORIGIN, endpoint).expect("the first");
    let mut feed = Feed::new();
    let report = feed
        .handle_trtllm(BODY.as_bytes(), two(), 0, &mut |event| {
            scheduler.handle_kv_event(Instant::ORIGIN, id, event)
        })
        .expect("JSON");
    assert_eq!((report.batches, report.stored_blocks, report.clears, report.lost), (1, 2, 1, 0));
    let cached = |scheduler: &Scheduler| {
        scheduler
            .explain(Instant::ORIGIN, &Request::new("tiny").tokens(&[0, 1, 2, 3, 9]))
            .candidates[0]
            .cached_tokens
    };
    assert_eq!(cached(&scheduler), 2);
    let later =
        br#"[{"event_id": 9, "data": {"type": "removed", "block_hashes": [1]}, "window_size": 1024}]"#;
    let report = feed
        .handle_trtllm(later, two(), 0, &mut |event| {
            scheduler.handle_kv_event(Instant::ORIGIN, id, event)
        })
        .expect("JSON");
    assert_eq!((report.lost, report.cleared), (2, false));
    let again =
        br#"[{"event_id": 1, "data": {"type": "removed", "block_hashes": [1]}, "window_size": 1024}]"#;
    let report = feed
        .handle_trtllm(again, two(), 0, &mut |event| {
            scheduler.handle_kv_event(Instant::ORIGIN, id, event)
        })
        .expect("JSON");
    assert_eq!((report.lost, report.cleared), (0, true));
    assert_eq!(cached(&scheduler), 0);

    // After a restart, other layers may represent the model, also with a smaller window.
    let smaller = BODY.replace("1024", "512");
    let report = feed
        .handle_trtllm(smaller.as_bytes(), two(), 0, &mut |event| {
            scheduler.handle_kv_event(Instant::ORIGIN, id, event)
        })
        .expect("JSON");
    assert_eq!((report.cleared, report.stored_blocks), (true, 2));
    assert_eq!(cached(&scheduler), 2);
}
