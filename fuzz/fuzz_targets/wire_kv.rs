//! Frames, payloads, TensorRT-LLM's JSON and sequences: nothing panics, what is refused leaves no
//! trace, and what is decoded holds together.
//!
//! `cargo +nightly fuzz run wire_kv`
#![no_main]

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use slotwise::{Endpoint, Instant, KvEvent, Scheduler};
use slotwise_wire::kv::Feed;
use slotwise_wire::kv::internals::{Answer, Batch, Decoder, Message, Sequence};

fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else { return };
    match kind % 4 {
        0 => payloads(rest),
        1 => json(rest),
        2 => _ = sequence(&mut Unstructured::new(rest)),
        _ => _ = feed(&mut Unstructured::new(rest)),
    }
});

fn payloads(payload: &[u8]) {
    let mut decoder = Decoder::new();
    match decoder.decode(payload) {
        Ok(batch) => holds_together(&batch, payload.len()),
        Err(error) => assert!(error.offset <= payload.len()),
    }
    // The whole batch, and no prefix of it, is one.
    if decoder.decode(payload).is_ok() {
        if let Some((_, shorter)) = payload.split_last() {
            assert!(decoder.decode(shorter).is_err());
        }
    }
}

fn json(body: &[u8]) {
    let block_size = 2.try_into().expect("not zero");
    match Decoder::new().decode_trtllm(body, block_size, 0) {
        Ok(batch) => holds_together(&batch, body.len()),
        Err(error) => assert!(error.offset <= body.len()),
    }
}

fn holds_together(batch: &Batch<'_>, bytes: usize) {
    assert_eq!(batch.events().count(), batch.len());
    let mut hashes = 0;
    for event in batch.events() {
        match event {
            KvEvent::BlockStored(stored) => {
                assert!(
                    stored.tokens.is_some_and(|tokens| !tokens.is_empty() && tokens.len() <= bytes)
                );
                hashes += stored.blocks.len();
            }
            KvEvent::BlockRemoved(removed) => hashes += removed.blocks.len(),
            _ => {}
        }
    }
    assert!(hashes <= bytes);
}

/// Whatever comes in whatever order, what is applied goes up by one, unless it is said that
/// something is lost or cleared.
fn sequence(data: &mut Unstructured<'_>) -> Result<()> {
    let mut sequence = Sequence::new();
    while !data.is_empty() {
        let before = sequence.next();
        let seq = u64::from(data.int_in_range(0..=30_u8)?);
        let answer = match data.int_in_range(0..=4)? {
            0 | 1 => sequence.live(seq, data.int_in_range(0..=2)?),
            2 => sequence.replayed(seq, data.int_in_range(0..=2)?),
            3 => sequence.release(seq),
            _ => {
                if data.arbitrary()? {
                    sequence.end_of_replay();
                } else {
                    sequence.give_up();
                }
                assert_eq!(sequence.asked_from(), None);
                continue;
            }
        };
        match answer {
            Answer::Apply => assert_eq!((before, sequence.next()), (seq, seq + 1)),
            Answer::ApplyAfterLoss(lost) => {
                assert_eq!((before + lost, sequence.next()), (seq, seq + 1))
            }
            Answer::ClearAndApply => assert_eq!(sequence.next(), seq + 1),
            Answer::Drop | Answer::Hold => assert_eq!(sequence.next(), before),
            Answer::AskFrom(from) => {
                assert!(
                    from <= before
                        && sequence.next() == before
                        && sequence.asked_from() == Some(from)
                );
            }
            Answer::ClearAndAskFrom(from) => assert_eq!((from, sequence.next()), (0, 0)),
            other => panic!("{other:?}"),
        }
    }
    Ok(())
}

fn feed(data: &mut Unstructured<'_>) -> Result<()> {
    let mut scheduler = Scheduler::default();
    let endpoint = Endpoint::new("a").model("m").block_size(1.try_into().expect("not zero"));
    let id = scheduler.add_endpoint(Instant::ORIGIN, endpoint).expect("the first");
    let mut feed = Feed::new().max_held_bytes(data.int_in_range(0..=300)?);
    while !data.is_empty() {
        let frames: Vec<Vec<u8>> = if data.arbitrary()? {
            let seq = if data.ratio(1, 6)? { u64::MAX } else { data.int_in_range(0..=20)? };
            vec![vec![], seq.to_be_bytes().to_vec(), payload(data)?]
        } else {
            data.arbitrary()?
        };
        let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        let _ = Message::read(&frames);
        let now = Instant::ORIGIN;
        let mut sink = |event: KvEvent<'_>| scheduler.handle_kv_event(now, id, event);
        let report = match data.int_in_range(0..=4)? {
            0 | 1 => feed.handle_live(&frames, &mut sink),
            2 | 3 => feed.handle_replay(&frames, &mut sink),
            _ => Ok(feed.give_up(&mut sink)),
        };
        if let Ok(report) = report {
            assert!(report.ask.is_none() || report.ask == feed.asked_from());
        }
    }
    Ok(())
}

/// `[time, [["BlockStored", [block], parent, [block], 1]]]`, or anything.
fn payload(data: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    if data.ratio(1, 8)? {
        return data.arbitrary();
    }
    let (time, block) = (data.int_in_range(0..=3)?, data.int_in_range(0..=9)?);
    let mut payload = vec![0x92, time, 0x91, 0x95, 0xab];
    payload.extend(b"BlockStored");
    payload.extend([
        0x91,
        block,
        if data.arbitrary()? { 0xc0 } else { data.int_in_range(0..=9)? },
        0x91,
        block,
        1,
    ]);
    Ok(payload)
}
