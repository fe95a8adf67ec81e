//! The KV events of one publisher: frames in, events of the core out.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::num::NonZeroU32;

use slotwise::{KvEvent, KvEventError};

use super::batch::SkippedEvents;
use super::decoder::Decoder;
use super::frames::{Message, payload_at};
use super::sequence::{Answer, Sequence};
use crate::error::WireError;

/// The default limit of held live batches, in bytes.
const HELD_BYTES: usize = 16 << 20;

/// The KV events of one publisher: a data parallel rank of an engine.
///
/// The gateway owns the sockets and passes on the messages of the SUB and the replay socket. If
/// [`Report::ask`] is set, it opens a **fresh** DEALER socket and sends `["",
/// replay_request(from)]`. It passes on the replies until [`asked_from`](Self::asked_from) is
/// `None`. If no reply arrives, it calls [`give_up`](Self::give_up). Without a replay socket, use
/// [`without_replay`](Self::without_replay).
///
/// # Copies of a block
///
/// Events are applied as received, without counting stores. An engine with two copies of a block
/// sends two stored events, and one removed event for *one* of the copies. vLLM also repeats stored
/// events on request (`kv_cache_report_mode`). A count would be right for copies. But after a
/// repeated event, a counted block would stay forever, and requests would go to a cache without it.
///
/// Without counts, a block can appear removed while its other copy serves. This costs one block at
/// the end of a prompt's match, until the block or a child of it is stored again.
///
/// # Unknown parents
///
/// Unknown parents are counted but not requested: sequence numbers show every loss. The parent was
/// skipped (see [`SkippedEvents`]), evicted from the index, or lost with its batch.
#[derive(Clone, Debug)]
pub struct Feed {
    decoder: Decoder,
    sequence: Sequence,
    held: VecDeque<(u64, Vec<u8>)>,
    held_bytes: usize,
    max_held_bytes: usize,
    replays: bool,
}

/// The result of a message.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Report {
    /// Request a replay from this batch on.
    pub ask: Option<u64>,
    /// The endpoint's cache view was cleared: the publisher restarted, or its replay does not reach
    /// back far enough.
    pub cleared: bool,
    /// Batches that were applied.
    pub batches: u64,
    /// Batches that were dropped because they were seen before.
    pub dropped: u64,
    /// Batches that are held until the replay ends.
    pub held: u64,
    /// Batches that are lost.
    pub lost: u64,
    /// Malformed batches, counted at each arrival. They have no effect and are not requested again:
    /// a replay would have the same bytes.
    pub unreadable: u64,
    /// The error of the last malformed batch. Its offset counts from the start of the payload.
    pub error: Option<WireError>,
    /// Blocks that the core accepted as stored.
    pub stored_blocks: u64,
    /// Blocks that were removed.
    pub removed_blocks: u64,
    /// Events that cleared the cache.
    pub clears: u64,
    /// Stored events with an unknown parent block.
    pub unknown_parents: u64,
    /// Events that the core rejected for other reasons.
    pub refused: u64,
    /// The last of these reasons.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde_impls::refusal"))]
    pub refusal: Option<KvEventError>,
    /// Counts of skipped events and fields.
    pub skipped_events: SkippedEvents,
}

impl Feed {
    /// Creates a feed without state, for a publisher with a replay socket.
    pub fn new() -> Self {
        Self {
            decoder: Decoder::new(),
            sequence: Sequence::new(),
            held: VecDeque::new(),
            held_bytes: 0,
            max_held_bytes: HELD_BYTES,
            replays: true,
        }
    }

    /// Declares that the publisher has no replay socket: lost batches stay lost.
    pub fn without_replay(self) -> Self {
        Self { replays: false, ..self }
    }

    /// Continues an earlier feed, for a restored cache view.
    ///
    /// `next` is the number that [`next`](Self::next) returned. The feed does not have the
    /// identities of earlier batches. An engine that restarted in between and is past `next` is
    /// taken for the old process. Use [`new`](Self::new) where engines may have restarted.
    pub fn resume(self, next: u64) -> Self {
        Self { sequence: Sequence::resume(next), ..self }
    }

    /// Sets the limit of held live batches during a replay, in bytes; 16 MiB by default. Batches
    /// beyond it are dropped and requested again.
    pub fn max_held_bytes(self, bytes: usize) -> Self {
        Self { max_held_bytes: bytes, ..self }
    }

    /// Handles a message of the SUB socket. Computes in **O(bytes)**.
    ///
    /// # Errors
    ///
    /// Returns an error if the frames are not those of a batch; there is no effect. A malformed
    /// payload is reported in [`Report::error`].
    pub fn handle_live(
        &mut self,
        frames: &[&[u8]],
        sink: EventSink<'_>,
    ) -> Result<Report, WireError> {
        self.live(frames, sink)
    }

    /// Handles a message of the replay socket, in answer to the last request. Computes in
    /// **O(bytes)**; the last message also takes the time of the held batches.
    ///
    /// # Errors
    ///
    /// As for [`handle_live`](Self::handle_live).
    pub fn handle_replay(
        &mut self,
        frames: &[&[u8]],
        sink: EventSink<'_>,
    ) -> Result<Report, WireError> {
        self.replayed(frames, sink)
    }

    /// Abandons a replay that does not arrive or does not end. Missing batches are lost, and held
    /// ones are applied. Computes in **O(bytes)** of the held batches.
    pub fn give_up(&mut self, sink: EventSink<'_>) -> Report {
        let mut report = Report::default();
        self.sequence.give_up();
        self.release(&mut report, sink);
        report
    }

    /// Handles TensorRT-LLM's answer at `/kv_cache_events`, a JSON array of events. Computes in
    /// **O(bytes)**.
    ///
    /// `block_size` is in tokens. Events have numbers of their own, and there is no replay.
    /// Decreasing numbers mean that the engine restarted.
    ///
    /// # Errors
    ///
    /// Returns an error if the body is malformed anywhere; there is no effect.
    pub fn handle_trtllm(
        &mut self,
        body: &[u8],
        block_size: NonZeroU32,
        rank: u32,
        sink: EventSink<'_>,
    ) -> Result<Report, WireError> {
        let mut report = Report::default();
        let ids = self.decoder.decode_trtllm(body, block_size, rank)?.event_ids();
        let Some((first, last)) = ids else {
            // There may still be skipped events.
            self.visit(&mut report, sink);
            return Ok(report);
        };
        let awaited = self.sequence.next();
        if first < awaited {
            self.begin_anew(&mut report, sink);
            // After a restart, other layers may represent the model.
            self.decoder.decode_trtllm(body, block_size, rank)?;
        } else if awaited > 0 {
            report.lost = first - awaited;
        }
        report.batches = 1;
        self.sequence = Sequence::resume(last.saturating_add(1));
        self.visit(&mut report, sink);
        Ok(report)
    }

    /// The first batch of the replay under way.
    pub fn asked_from(&self) -> Option<u64> {
        self.sequence.asked_from()
    }

    /// The next sequence number, for [`resume`](Self::resume).
    pub const fn next(&self) -> u64 {
        self.sequence.next()
    }

    fn live(&mut self, frames: &[&[u8]], sink: EventSink<'_>) -> Result<Report, WireError> {
        let Message::Batch { seq, payload, .. } = Message::read(frames)? else {
            return Err(WireError::expected(
                payload_at(frames),
                "a live batch, not the end of a replay",
            ));
        };
        let mut report = Report::default();
        let identity = self.decode(&mut report, payload);
        match self.sequence.live(seq, identity.unwrap_or_else(|| unreadable(payload))) {
            Answer::AskFrom(from) => {
                self.hold(&mut report, seq, payload);
                self.ask(&mut report, from, sink);
            }
            Answer::ClearAndAskFrom(from) => {
                self.begin_anew(&mut report, sink);
                self.hold(&mut report, seq, payload);
                self.ask(&mut report, from, sink);
            }
            Answer::Hold => self.hold(&mut report, seq, payload),
            answer => self.follow(answer, &mut report, payload, identity.is_some(), sink),
        }
        Ok(report)
    }

    fn replayed(&mut self, frames: &[&[u8]], sink: EventSink<'_>) -> Result<Report, WireError> {
        let mut report = Report::default();
        let Message::Batch { seq, payload, .. } = Message::read(frames)? else {
            if self.sequence.asked_from().is_some() {
                self.sequence.end_of_replay();
                self.release(&mut report, sink);
            }
            return Ok(report);
        };
        let identity = self.decode(&mut report, payload);
        match self.sequence.replayed(seq, identity.unwrap_or_else(|| unreadable(payload))) {
            Answer::ClearAndAskFrom(from) => {
                self.begin_anew(&mut report, sink);
                self.ask(&mut report, from, sink);
            }
            answer => self.follow(answer, &mut report, payload, identity.is_some(), sink),
        }
        Ok(report)
    }

    /// Decodes a batch and returns its identity, unless it is malformed.
    fn decode(&mut self, report: &mut Report, payload: &[u8]) -> Option<u64> {
        match self.decoder.decode(payload) {
            Ok(batch) => Some(batch.sent_at().to_bits()),
            Err(error) => {
                report.unreadable += 1;
                report.error = Some(error);
                None
            }
        }
    }

    /// Applies or drops the batch that was decoded last.
    fn follow(
        &mut self,
        answer: Answer,
        report: &mut Report,
        payload: &[u8],
        readable: bool,
        sink: EventSink<'_>,
    ) {
        match answer {
            Answer::Apply => {}
            Answer::ApplyAfterLoss(lost) => report.lost = report.lost.saturating_add(lost),
            Answer::ClearAndApply => {
                self.begin_anew(report, sink);
                // The new process may group its layers differently.
                if readable && self.decoder.decode(payload).is_err() {
                    return;
                }
            }
            _ => {
                report.dropped += 1;
                return;
            }
        }
        if readable {
            report.batches += 1;
            self.visit(report, sink);
        }
    }

    fn visit(&self, report: &mut Report, sink: EventSink<'_>) {
        let batch = self.decoder.batch();
        report.skipped_events += batch.skipped_events();
        for event in batch {
            match (sink(event), event) {
                (Ok(()), KvEvent::BlockStored(stored)) => {
                    report.stored_blocks += stored.blocks.len() as u64;
                }
                (Ok(()), KvEvent::BlockRemoved(removed)) => {
                    report.removed_blocks += removed.blocks.len() as u64;
                }
                (Ok(()), _) => report.clears += 1,
                (Err(KvEventError::UnknownParent(_)), _) => report.unknown_parents += 1,
                (Err(refusal), _) => {
                    report.refused += 1;
                    report.refusal = Some(refusal);
                }
            }
        }
    }

    fn begin_anew(&mut self, report: &mut Report, sink: EventSink<'_>) {
        self.held.clear();
        self.held_bytes = 0;
        self.decoder.forget();
        clear(report, sink);
    }

    fn ask(&mut self, report: &mut Report, from: u64, sink: EventSink<'_>) {
        if self.replays {
            report.ask = Some(from);
        } else {
            self.sequence.give_up();
            self.release(report, sink);
        }
    }

    fn hold(&mut self, report: &mut Report, seq: u64, payload: &[u8]) {
        // At least one batch is held, so that the replay makes progress.
        let room = self.max_held_bytes.saturating_sub(self.held_bytes);
        if held_size(payload) <= room || self.held.is_empty() {
            self.held_bytes += held_size(payload);
            self.held.push_back((seq, payload.to_vec()));
            report.held += 1;
        }
    }

    fn release(&mut self, report: &mut Report, sink: EventSink<'_>) {
        while let Some((seq, payload)) = self.held.pop_front() {
            match self.sequence.release(seq) {
                Answer::Hold => {
                    self.held.push_front((seq, payload));
                    break;
                }
                Answer::AskFrom(from) => {
                    self.held.push_front((seq, payload));
                    report.ask = Some(from);
                    break;
                }
                Answer::Drop => {
                    self.held_bytes -= held_size(&payload);
                    report.dropped += 1;
                }
                answer => {
                    self.held_bytes -= held_size(&payload);
                    // Its error was reported on arrival.
                    let readable = self.decoder.decode(&payload).is_ok();
                    self.follow(answer, report, &payload, readable, sink);
                }
            }
        }
        if let Some(from) = self.sequence.caught_up() {
            report.ask = Some(from);
        }
    }
}

/// Receives the events of a feed in order, and applies them: usually the core's `handle_kv_event`.
pub type EventSink<'a> = &'a mut dyn FnMut(KvEvent<'_>) -> Result<(), KvEventError>;

fn clear(report: &mut Report, sink: EventSink<'_>) {
    report.cleared = true;
    if let Err(refusal) = sink(KvEvent::AllBlocksCleared) {
        report.refused += 1;
        report.refusal = Some(refusal);
    }
}

/// The memory of a held batch, with its queue entry.
const fn held_size(payload: &[u8]) -> usize {
    payload.len() + size_of::<(u64, Vec<u8>)>()
}

/// The identity of a malformed batch: FNV-1a over its bytes, which a replay repeats.
///
/// Written by hand: these hashes stay in the process, and two lines do not justify a crate.
fn unreadable(payload: &[u8]) -> u64 {
    payload.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

impl Default for Feed {
    fn default() -> Self {
        Self::new()
    }
}
