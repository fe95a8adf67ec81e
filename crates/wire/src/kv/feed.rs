//! One publisher's events: frames in, the core's events out.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::num::NonZeroU32;

use slotwise::{KvEvent, KvEventError};

use super::batch::{Decoder, SkippedEvents};
use super::frames::{Message, payload_at};
use super::sequence::{Answer, Sequence};
use crate::error::WireError;

/// What live batches may take up, in bytes, while a replay is under way, unless told otherwise.
const HELD_BYTES: usize = 16 << 20;

/// The events of one publisher: a data parallel rank of an engine.
///
/// The gateway owns the sockets. It hands in what comes from the SUB socket and from the replay's, and when [`Report::ask`] says so, opens a
/// **fresh** DEALER socket, sends `["", replay_request(from)]` and hands in what comes until [`asked_from`](Self::asked_from) is `None`. If nothing comes,
/// it calls [`give_up`](Self::give_up). Where there is no replay socket it does so at once ([`without_replay`](Self::without_replay)).
///
/// # What is applied, and what that means
///
/// Events go to the core as they are said. An engine that keeps two copies of a block says it stored it twice, and that it removed it when *one* of
/// them goes; vLLM also announces stored blocks again when asked to (`kv_cache_report_mode`). Stores are **not counted**: a count would be
/// right for copies, but each repeated announcement would leave a block that never goes, and the router would send requests to a
/// cache that is not there, for ever. Without, a block may look gone while its other copy serves: it costs one block of a match, at a
/// prompt's end, until the block is stored again, or a child of it is (the core then takes it as there).
///
/// Unknown parents are counted but ask for nothing: sequence numbers show every loss, so a parent is unknown because it was left out (see
/// [`SkippedEvents`]), because the index forgot it, or because the batch that has it cannot be had any more.
#[derive(Clone, Debug)]
pub struct Feed {
    decoder: Decoder,
    sequence: Sequence,
    held: VecDeque<(u64, Vec<u8>)>,
    held_bytes: usize,
    max_held_bytes: usize,
    replays: bool,
}

/// What a message led to.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Report {
    /// Ask for a replay from this batch on.
    pub ask: Option<u64>,
    /// The view of the endpoint's cache was cleared, as the publisher began anew or its replay does not go back far enough.
    pub cleared: bool,
    /// Batches applied.
    pub batches: u64,
    /// Batches dropped, as they were seen before.
    pub dropped: u64,
    /// Batches held, until the replay ends.
    pub held: u64,
    /// Batches that are lost for good.
    pub lost: u64,
    /// Batches that could not be read, counted each time that they come. Nothing of them was applied, and nobody asks for them again: the
    /// answer would be the same bytes.
    pub unreadable: u64,
    /// Why the last of them could not be read, with the offset from the beginning of its payload.
    pub error: Option<WireError>,
    /// Blocks that the core took as stored.
    pub stored_blocks: u64,
    /// Blocks said to be removed.
    pub removed_blocks: u64,
    /// Events that cleared the cache.
    pub clears: u64,
    /// Stored events whose parent block is not known.
    pub unknown_parents: u64,
    /// Events that the core refused for other reasons.
    pub refused: u64,
    /// The last of these reasons.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde_impls::refusal"))]
    pub refusal: Option<KvEventError>,
    /// What was not among the events.
    pub skipped_events: SkippedEvents,
}

impl Feed {
    /// One that has seen nothing, of a publisher with a replay socket.
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

    /// The publisher has no replay socket: what is lost stays lost.
    pub fn without_replay(self) -> Self {
        Self { replays: false, ..self }
    }

    /// A feed that continues where another ended, for a restored view of the engine's cache.
    ///
    /// `next` is the number that [`next`](Self::next) returned then. The feed does not know the identities of
    /// earlier batches. An engine that restarted in between and is past `next` is taken for the old process; use
    /// [`new`](Self::new) where engines may have restarted.
    pub fn resume(self, next: u64) -> Self {
        Self { sequence: Sequence::resume(next), ..self }
    }

    /// What live batches may take up, in bytes, while a replay is under way; 16 MiB unless told. What finds no room is asked for again.
    pub fn max_held_bytes(self, bytes: usize) -> Self {
        Self { max_held_bytes: bytes, ..self }
    }

    /// A message came from the SUB socket. Computes in **O(bytes)**.
    ///
    /// # Errors
    ///
    /// If the frames are not those of a batch; nothing changes then. A payload that cannot be read is in the report.
    pub fn handle_live(
        &mut self,
        frames: &[&[u8]],
        sink: EventSink<'_>,
    ) -> Result<Report, WireError> {
        self.live(frames, sink)
    }

    /// A message came from the replay's socket, in answer to the last request. Computes in **O(bytes)**, and at its end of those that were
    /// held.
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

    /// The replay does not come, or does not end: what is missing is lost, and what was held is applied. Computes in **O(bytes)** of that.
    pub fn give_up(&mut self, sink: EventSink<'_>) -> Report {
        let mut report = Report::default();
        self.sequence.give_up();
        self.release(&mut report, sink);
        report
    }

    /// TensorRT-LLM answered at `/kv_cache_events`: a JSON array of events. Their blocks are `block_size` tokens long. Its events are numbered one by one, and there is no
    /// replay; numbers that go back mean that it began anew. Computes in **O(bytes)**.
    ///
    /// # Errors
    ///
    /// If the body is malformed anywhere; nothing of it is applied.
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
            // There may still be something that was left out.
            self.visit(&mut report, sink);
            return Ok(report);
        };
        let awaited = self.sequence.next();
        if first < awaited {
            self.begin_anew(&mut report, sink);
            // The layers that stand for the model may be others now.
            self.decoder.decode_trtllm(body, block_size, rank)?;
        } else if awaited > 0 {
            report.lost = first - awaited;
        }
        report.batches = 1;
        self.sequence = Sequence::resume(last.saturating_add(1));
        self.visit(&mut report, sink);
        Ok(report)
    }

    /// The batch from which on a replay is awaited.
    pub fn asked_from(&self) -> Option<u64> {
        self.sequence.asked_from()
    }

    /// The number of the batch that comes next: for [`resume`](Self::resume).
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

    /// Decodes a batch: its identity, if it can be read.
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
            Answer::ApplyAfterLoss(lost) => report.lost += lost,
            Answer::ClearAndApply => {
                self.begin_anew(report, sink);
                // The layers of the new process may be grouped otherwise.
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
                    report.stored_blocks += stored.blocks.len() as u64
                }
                (Ok(()), KvEvent::BlockRemoved(removed)) => {
                    report.removed_blocks += removed.blocks.len() as u64
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
        // At least one, so that there is always something to go on with.
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
                    // What was wrong with it was reported when it came.
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

/// What takes a feed's events in order: most often `Scheduler::handle_kv_event` of the core.
pub type EventSink<'a> = &'a mut dyn FnMut(KvEvent<'_>) -> Result<(), KvEventError>;

fn clear(report: &mut Report, sink: EventSink<'_>) {
    report.cleared = true;
    if let Err(refusal) = sink(KvEvent::AllBlocksCleared) {
        report.refused += 1;
        report.refusal = Some(refusal);
    }
}

/// What a held batch takes up, with its place among the others.
const fn held_size(payload: &[u8]) -> usize {
    payload.len() + size_of::<(u64, Vec<u8>)>()
}

/// The identity of a batch that cannot be read: FNV-1a of its bytes, which a replay repeats.
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
