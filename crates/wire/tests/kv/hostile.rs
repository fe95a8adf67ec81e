//! Malformed KV events: rejected as a whole, with the offset and without effect.

use proptest::prelude::*;
use slotwise::{Endpoint, Instant, KvEvent, Scheduler};
use slotwise_wire::kv::Feed;
use slotwise_wire::kv::internals::{Decoder, Message};

use super::fixtures::scenarios;
use super::golden::{Value, batch};

#[test]
fn every_cut_is_refused() {
    let mut decoder = Decoder::new();
    for set in ["default", "smallcache_priority_cbor"] {
        for batch in scenarios(set)
            .iter()
            .flat_map(|scenario| &scenario.batches)
            .filter(|b| b.payload().len() < 2_000)
        {
            for end in 0..batch.payload().len() {
                let error = decoder.decode(&batch.payload()[..end]).expect_err("cut off");
                assert_eq!(error.problem.code(), "truncated", "{error}");
                assert_eq!(error.offset, end);
            }
        }
    }
}

#[test]
fn lengths_are_not_believed() {
    let mut decoder = Decoder::new();
    let head = b"\x93\xcb\x3f\xf8\0\0\0\0\0\0";
    let refuse = |decoder: &mut Decoder, rest: &[u8]| {
        let payload = [head, rest].concat();
        decoder.decode(&payload).expect_err("too long").problem.code()
    };
    // Events, then the fields, hashes, token ids and name of an event.
    assert_eq!(refuse(&mut decoder, b"\xdd\xff\xff\xff\xff"), "truncated");
    assert_eq!(refuse(&mut decoder, b"\x91\xdf\xff\xff\xff\xff"), "truncated");
    assert_eq!(refuse(&mut decoder, b"\x91\xdd\xff\xff\xff\xff"), "truncated");
    assert_eq!(refuse(&mut decoder, b"\x91\x92\xabBlockStored\xdd\xff\xff\xff\xff"), "truncated");
    assert_eq!(
        refuse(&mut decoder, b"\x91\x94\xabBlockStored\x91\x01\xc0\xdd\xff\xff\xff\xff\x01"),
        "truncated"
    );
    assert_eq!(refuse(&mut decoder, b"\x91\x91\xdb\xff\xff\xff\xffBlock"), "truncated");
}

#[test]
fn what_is_wrong_is_found_where_it_is() {
    let mut decoder = Decoder::new();
    let stored = |size, token| {
        batch(vec![Value::Map(vec![
            ("type", Value::Text("BlockStored")),
            ("block_hashes", Value::List(vec![Value::Int(1)])),
            ("token_ids", Value::List(vec![token])),
            ("block_size", size),
        ])])
    };
    let mut code = |payload: &[u8]| {
        let error = decoder.decode(payload).expect_err("malformed");
        (error.problem.code(), payload.get(error.offset).copied())
    };
    assert!(Decoder::new().decode(&stored(Value::Int(1), Value::Int(7))).is_ok());
    assert_eq!(code(&stored(Value::Int(0), Value::Int(7))), ("out_of_range", Some(0)));
    assert_eq!(code(&stored(Value::Int(1), Value::Negative(-1))), ("out_of_range", Some(0xd0)));
    assert_eq!(code(&stored(Value::Int(1), Value::Int(1 << 32))), ("out_of_range", Some(0xcf)));
    assert_eq!(code(&stored(Value::Int(1), Value::Text("x"))), ("unexpected", Some(0xd9)));
    assert_eq!(code(&stored(Value::Nil, Value::Int(7))), ("unexpected", Some(0xc0)));
    assert_eq!(code(&batch(vec![Value::Int(1)])), ("unexpected", Some(1)));
    assert_eq!(code(&batch(vec![Value::Map(vec![])])), ("unexpected", Some(0xde)));
    assert_eq!(
        code(&batch(vec![Value::Map(vec![("type", Value::Text("BlockStored"))])])),
        ("unexpected", Some(0xde))
    );
    assert_eq!(code(b"\x91\x01"), ("unexpected", Some(0x91)));
    assert_eq!(code(b"{\"json\": 1}"), ("unexpected", Some(b'{')));
    assert_eq!(code(b"\x92\x01\x91\x91\xa1\xff"), ("not_utf8", Some(0xff)));
    assert_eq!(code(b"\xc1"), ("unexpected", Some(0xc1)));
}

#[test]
fn nesting_has_no_end_and_does_no_harm() {
    let mut payload = b"\x93\x01\x90\xc0".to_vec();
    payload[0] = 0x94;
    payload.extend(vec![0x91; 1_000_000]);
    assert_eq!(Decoder::new().decode(&payload).expect_err("cut off").problem.code(), "truncated");
    payload.push(0xc0);
    assert_eq!(
        Decoder::new().decode(&payload).expect("well formed").skipped_events().unknown_fields,
        1
    );
}

#[test]
fn a_bad_event_takes_its_batch_along_and_no_more() {
    let mut scheduler = Scheduler::default();
    let endpoint = Endpoint::new("a").model("tiny").block_size(1.try_into().expect("not zero"));
    let id = scheduler.add_endpoint(Instant::ORIGIN, endpoint).expect("the first");
    let mut feed = Feed::new();
    let good = |hash| {
        Value::List(vec![
            Value::Text("BlockStored"),
            Value::List(vec![Value::Int(hash)]),
            Value::Nil,
            Value::List(vec![Value::Int(hash)]),
            Value::Int(1),
        ])
    };
    let mut take = |seq: u64, payload: &[u8]| {
        let mut sink = |event: KvEvent<'_>| scheduler.handle_kv_event(Instant::ORIGIN, id, event);
        feed.handle_live(&[b"", &seq.to_be_bytes(), payload], &mut sink).expect("frames")
    };
    let report = take(0, &batch(vec![good(1), Value::Int(3)]));
    assert_eq!((report.batches, report.unreadable, report.stored_blocks), (0, 1, 0));
    assert!(report.error.is_some());
    let report = take(1, &batch(vec![good(2)]));
    assert_eq!(
        (report.batches, report.unreadable, report.stored_blocks, report.ask),
        (1, 0, 1, None)
    );
}

proptest! {
    #[test]
    fn bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Decoder::new().decode(&bytes);
        let _ = Message::read(&[&bytes, &bytes]);
        let _ = Decoder::new().decode_trtllm(&bytes, 4.try_into().expect("not zero"), 0);
    }

    /// Changes one byte of a real payload. Either the payload decodes, perhaps for another group,
    /// or it is rejected and the decoder is unchanged.
    #[test]
    fn one_wrong_byte_never_panics(which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let all = scenarios("seed42_tcp_fcfs");
        let batches: Vec<_> = all.iter().flat_map(|scenario| &scenario.batches).collect();
        let good = which.get(&batches).payload();
        let mut payload = good.to_vec();
        let at = at.index(payload.len());
        payload[at] = byte;
        let mut decoder = Decoder::new();
        if let Err(error) = decoder.decode(&payload) {
            prop_assert!(error.offset <= payload.len());
            let again = decoder.decode(good).expect("well formed").len();
            prop_assert_eq!(again, Decoder::new().decode(good).expect("well formed").len());
        }
    }
}
