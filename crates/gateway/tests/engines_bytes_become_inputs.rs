//! Pages, headers and events of engines: what the scheduler and the host learn from them.

use proptest::prelude::*;
use slotwise::{Endpoint, EndpointId, Instant, Request, Scheduler};
use slotwise_gateway::Gateway;
use slotwise_gateway::engines::{FeedError, PageFormat, PageReaders};
use slotwise_wire::kv::{Feeds, replay_request};
use slotwise_wire::metrics::{MetricsReader, OrcaReport};

const NOW: Instant = Instant::ORIGIN;

fn gateway() -> (Gateway, EndpointId) {
    let mut gateway = Gateway::new(Scheduler::default());
    let endpoint = Endpoint::new("a").model("m").block_size(1.try_into().expect("not zero"));
    let id = gateway.scheduler_mut().add_endpoint(NOW, endpoint).expect("a new name");
    (gateway, id)
}

/// `[seq, [["BlockStored", [seq + 1], seq or nil, [seq], 1]]]`
fn batch(seq: u8) -> Vec<u8> {
    let parent = if seq == 0 { 0xc0 } else { seq };
    let mut payload = vec![0x92, seq, 0x91, 0x95, 0xab];
    payload.extend(b"BlockStored");
    payload.extend([0x91, seq + 1, parent, 0x91, seq, 1]);
    payload
}

fn live(gateway: &mut Gateway, id: EndpointId, rank: u32, seq: u8) -> Option<u64> {
    let number = u64::from(seq).to_be_bytes();
    let report = gateway.handle_kv_frames(NOW, id, rank, &[b"", &number, &batch(seq)]);
    report.expect("frames").ask
}

fn cached(gateway: &Gateway, tokens: &[u32]) -> u32 {
    gateway.scheduler().explain(NOW, &Request::new("m").tokens(tokens)).candidates[0].cached_tokens
}

#[test]
fn a_gap_asks_for_a_replay_and_the_replay_closes_it() {
    let (mut gateway, id) = gateway();
    assert_eq!(live(&mut gateway, id, 0, 0), None);
    assert!(!gateway.take_wakeup().replays);
    assert_eq!(live(&mut gateway, id, 0, 2), Some(0));
    assert!(gateway.take_wakeup().replays);

    let request = gateway.poll_replay().expect("a gap");
    assert_eq!((request.endpoint_id, request.rank, request.from), (id, 0, 0));
    assert_eq!(gateway.replay_from(id, 0), Some(0));
    assert_eq!((gateway.poll_replay(), gateway.take_wakeup().replays), (None, false));

    for seq in 0..2_u8 {
        let number = u64::from(seq).to_be_bytes();
        gateway.handle_kv_replay(NOW, id, 0, &[b"", &number, &batch(seq)]).expect("frames");
    }
    let end = replay_request(u64::MAX);
    gateway.handle_kv_replay(NOW, id, 0, &[b"", &end, b""]).expect("the end of the replay");
    assert_eq!(gateway.replay_from(id, 0), None);
    assert_eq!(cached(&gateway, &[0, 1, 2, 9]), 3);
}

#[test]
fn an_abandoned_replay_is_not_asked_for_any_more() {
    let (mut gateway, id) = gateway();
    live(&mut gateway, id, 0, 0);
    live(&mut gateway, id, 0, 2);
    gateway.abandon_replay(NOW, id, 0).expect("known");
    assert_eq!(gateway.poll_replay(), None);
    assert_eq!(gateway.replay_from(id, 0), None);
}

#[test]
fn ranks_have_feeds_of_their_own_and_not_too_many() {
    let (mut gateway, id) = gateway();
    for rank in 0..Feeds::MOST_RANKS as u32 {
        assert_eq!(live(&mut gateway, id, rank, 0), None);
    }
    let number = 0_u64.to_be_bytes();
    let error = gateway.handle_kv_frames(NOW, id, u32::MAX, &[b"", &number, &batch(0)]);
    let Err(FeedError::Wire(error)) = error else { panic!("{error:?}") };
    assert_eq!(error.problem.code(), "out_of_range");
    assert_eq!(live(&mut gateway, id, 7, 1), None, "known ranks go on");
}

#[test]
fn an_endpoint_that_left_takes_its_feeds_along() {
    let (mut gateway, id) = gateway();
    live(&mut gateway, id, 0, 0);
    live(&mut gateway, id, 0, 2);
    gateway.remove_endpoint(NOW, id).expect("known");
    assert_eq!((gateway.poll_replay(), gateway.replay_from(id, 0)), (None, None));
    let unknown = |error| matches!(error, Err(FeedError::UnknownEndpoint(_)));
    assert!(unknown(gateway.handle_kv_frames(NOW, id, 0, &[])));
    assert!(unknown(gateway.handle_kv_replay(NOW, id, 0, &[])));
    assert!(unknown(gateway.abandon_replay(NOW, id, 0)));
    assert!(unknown(gateway.handle_trtllm_events(NOW, id, 0, b"[]", None)));
}

#[test]
fn events_of_tensorrt_llm_use_the_endpoints_block_size() {
    let (mut gateway, id) = gateway();
    let body = br#"[{"event_id": 0, "data": {"type": "stored", "parent_hash": null, "blocks":
        [{"block_hash": 1, "tokens": [{"token_id": 5}]}]}}]"#;
    let report = gateway.handle_trtllm_events(NOW, id, 0, body, None).expect("JSON");
    assert_eq!((report.batches, report.stored_blocks), (1, 1));
    assert_eq!(cached(&gateway, &[5, 9]), 1);
}

#[test]
fn a_page_or_a_header_is_a_report_and_what_is_neither_is_a_failed_one() {
    let (mut gateway, id) = gateway();
    let reader = MetricsReader::detect();
    let page = reader.read_load(b"vllm:num_requests_waiting 4\n");
    gateway.handle_metrics(NOW, id, &page).expect("known");
    assert!(gateway.take_wakeup().decisions);
    gateway.handle_metrics(NOW, id, &reader.read_load(b"<html>")).expect("known");
    gateway.handle_orca(NOW, id, &OrcaReport::read(b"?")).expect("known");
    let stats = &gateway.scheduler().stats().endpoints[0];
    assert_eq!((stats.external_waiting, stats.report_errors), (4.0, 2));
}

#[test]
fn kept_readers_read_as_new_ones() {
    let readers = PageReaders::new();
    for waiting in [4, 5] {
        let page = format!("up 1\nvllm:num_requests_waiting {waiting}\nother{{a=\"b\"}} 2\n");
        for page in [page.as_bytes(), b"up 1\nvllm:num_requests_waiting x\n", b"<html>"] {
            for engine in [None, Some("vllm"), Some("sglang"), Some("custom")] {
                let format = PageFormat { engine, ..PageFormat::default() };
                let report = readers.read_load(&format, page).expect("a known format");
                let reader = readers.reader(&format).expect("a known format");
                assert_eq!(report, reader.read_load(page));
            }
        }
        let fields = [("waiting", "other{a=b}")];
        let format = PageFormat { fields: &fields, ..PageFormat::default() };
        let report = readers.read_load(&format, page.as_bytes()).expect("a known format");
        assert_eq!(report.expect("well-formed").load().waiting, Some(2));
    }
    let format = PageFormat { engine: Some("vlm"), ..PageFormat::default() };
    assert!(readers.read_load(&format, b"up 1\n").is_err());
}

#[test]
fn drained_endpoints_come_out_once() {
    let (mut gateway, id) = gateway();
    let dispatch = gateway.scheduler_mut().pick(NOW, &Request::new("m")).expect("an idle endpoint");
    gateway.watch_drained(id).expect("known");
    gateway.watch_drained(id).expect("known");
    assert_eq!(gateway.poll_drained(), None);
    gateway.scheduler_mut().cancel(NOW, dispatch.request_id);
    assert!(gateway.take_wakeup().drained);
    let drained = gateway.poll_drained().expect("nothing is in flight");
    assert_eq!((drained.endpoint_id, drained.in_pool), (id, true));
    assert_eq!(gateway.poll_drained(), None);

    gateway.watch_drained(id).expect("known");
    gateway.remove_endpoint(NOW, id).expect("known");
    assert_eq!(gateway.poll_drained().map(|drained| drained.in_pool), Some(false));
    assert!(gateway.watch_drained(id).is_err());
}

proptest! {
    #[test]
    fn no_bytes_panic(
        calls in proptest::collection::vec(
            (0..5_u8, any::<u32>(), proptest::collection::vec(any::<u8>(), 0..64)), 0..40),
    ) {
        let (mut gateway, id) = gateway();
        for (call, rank, bytes) in calls {
            let number = u64::from(rank % 5).to_be_bytes();
            match call {
                0 => _ = gateway.handle_kv_frames(NOW, id, rank % 300, &[b"", &number, &bytes]),
                1 => _ = gateway.handle_kv_replay(NOW, id, rank % 300, &[b"", &number, &bytes]),
                2 => _ = gateway.handle_kv_frames(NOW, id, rank, &[&bytes]),
                3 => _ = gateway.handle_trtllm_events(NOW, id, rank % 300, &bytes, None),
                _ => _ = gateway.abandon_replay(NOW, id, rank % 300),
            }
            let wakeup = gateway.take_wakeup();
            prop_assert_eq!(gateway.poll_replay().is_some(), wakeup.replays);
        }
    }
}
