//! Decides which batches of a publisher to apply, and when to request a replay.
//!
//! ```text
//!               in order: Apply                          the next one missing: Hold
//!              ,---------------.                        ,---------------.
//!              v               |   a gap: AskFrom       v               |
//!   (new) -> following --------'-----------------> replaying -----------'
//!              ^                                        |  replayed, in order: Apply
//!              '----------------------------------------'  starts too late: ClearAndApply
//!                 the end marker, or `give_up`: held batches are released
//!
//!   A restarted publisher is detected in either state: ClearAndApply, or ClearAndAskFrom(0).
//! ```
//!
//! Live batches are held during a replay: removing and storing the same block do not commute.
//! Dropping them would make each replay end behind a busy publisher again.

/// The number of batches whose identities are kept.
const RECENT: usize = 64;

/// The sequence numbers of one publisher.
///
/// ZMQ drops batches silently when a subscriber is slow or late. Publishers have no epoch: a
/// restarted process counts from 0 again. A repeated batch and a batch of a new process can have
/// the same number. So each batch also has an *identity*, a value that differs between processes
/// and is equal in a replay. The bits of [`Batch::sent_at`](super::batch::Batch::sent_at) are such
/// a value.
///
/// A replay is requested from one batch *before* the first missing one. If that batch has a
/// different identity, the publisher restarted in the meantime.
///
/// Two restarts are not detected. In the first, the early batches of the new process are lost, and
/// its next batch has the expected number. In the second, the process restarts before a sequence is
/// [resumed](Self::resume).
#[derive(Clone, Debug)]
pub struct Sequence {
    /// The next sequence number to apply.
    next: u64,
    /// One past the last live batch received.
    live_end: u64,
    /// Whether a batch was received, or the sequence was resumed.
    begun: bool,
    replay: Option<Replay>,
    /// The last replay brought no missing batch, or was abandoned. Missing batches are lost.
    in_vain: bool,
    /// Numbers and identities, each at its number modulo the length.
    recent: [Option<(u64, u64)>; RECENT],
}

#[derive(Clone, Copy, Debug)]
struct Replay {
    from: u64,
    /// Whether a replayed batch was received. If so, the publisher's buffer reaches back far
    /// enough, and a gap within the replay was lost in transit.
    begun: bool,
    /// Whether a missing batch was received.
    progress: bool,
}

/// The action for a batch, and the replay to request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Answer {
    /// The next batch in order: apply it.
    Apply,
    /// A batch that was seen before, or a replayed one outside a replay: drop it.
    Drop,
    /// A replay is under way: hold the batch until its end, or drop it if there is no space. A
    /// dropped batch is requested again later.
    Hold,
    /// Earlier batches are missing: hold this one, and request a replay from the given number.
    AskFrom(u64),
    /// This many earlier batches are lost: apply this one.
    ApplyAfterLoss(u64),
    /// The publisher restarted, or its buffer starts after the requested batch. Drop held batches,
    /// clear the endpoint's cache view, and apply this batch.
    ClearAndApply,
    /// The publisher restarted. Drop held batches, clear the endpoint's cache view, hold this batch
    /// if it is live, and request a replay from the given number.
    ClearAndAskFrom(u64),
}

impl Sequence {
    /// Creates a sequence without state. It requests a full replay unless the first batch has
    /// number 0.
    pub const fn new() -> Self {
        Self {
            next: 0,
            live_end: 0,
            begun: false,
            replay: None,
            in_vain: false,
            recent: [None; RECENT],
        }
    }

    /// Continues an earlier sequence, for a restored cache view.
    /// `next` is the value that [`next`](Self::next) returned.
    ///
    /// The sequence does not have the identities of earlier batches. An engine that restarted in
    /// between and is past `next` is taken for the old process. Use [`new`](Self::new) where
    /// engines may have restarted.
    pub const fn resume(next: u64) -> Self {
        Self { next, live_end: next, begun: true, ..Self::new() }
    }

    /// Handles a batch from the SUB socket. Computes in **O(1)**.
    pub fn live(&mut self, seq: u64, identity: u64) -> Answer {
        let seen = self.recent(seq);
        if self.begun && (seq < self.live_end || seq < self.next) {
            // ZMQ preserves order. A number below the last live one is a repeated batch or one of a
            // new process. A number that only a replay reached is a repeated batch unless its
            // identity differs.
            let copy = seen.map_or(seq >= self.live_end, |known| known == identity);
            if !copy {
                return self.began_anew(seq, identity);
            }
            self.live_end = self.live_end.max(seq.saturating_add(1));
            return Answer::Drop;
        }
        self.begun = true;
        self.remember(seq, identity);
        self.live_end = self.live_end.max(seq.saturating_add(1));
        if self.replay.is_some() {
            return Answer::Hold;
        }
        if seq == self.next { self.apply(seq) } else { Answer::AskFrom(self.ask()) }
    }

    /// Handles a batch from the replay socket, in answer to the **last** request. Computes in
    /// **O(1)**.
    ///
    /// Before another request, close the DEALER socket and open a new one, so that replies to the
    /// earlier request cannot arrive.
    pub fn replayed(&mut self, seq: u64, identity: u64) -> Answer {
        let Some(replay) = &mut self.replay else {
            return Answer::Drop;
        };
        let is_first = !core::mem::replace(&mut replay.begun, true);
        if seq < self.next {
            if self.recent(seq).is_some_and(|known| known != identity) {
                *self = Self { begun: true, ..Self::new() };
                return Answer::ClearAndAskFrom(self.ask());
            }
            return Answer::Drop;
        }
        let too_late = seq > self.next;
        if too_late && !is_first {
            // Lost in transit: the next replay brings it.
            return Answer::Drop;
        }
        replay.progress = true;
        self.remember(seq, identity);
        self.next = seq.saturating_add(1);
        if too_late { Answer::ClearAndApply } else { Answer::Apply }
    }

    /// Handles the end marker of a replay. The caller then [releases](Self::release) held batches
    /// in order and checks whether the sequence has [caught up](Self::caught_up).
    pub fn end_of_replay(&mut self) {
        if let Some(replay) = self.replay.take() {
            self.in_vain = !replay.progress;
        }
    }

    /// Abandons the replay: the publisher has no replay socket, or does not answer. Missing batches
    /// are lost, and the next ones are applied.
    ///
    /// The cache view stays, as most of it is still right. Lost stores cost hits. Entries that are
    /// wrong because of lost removals are corrected by the cached tokens that answers report. The
    /// caller then [releases](Self::release) held batches.
    pub fn give_up(&mut self) {
        self.replay = None;
        self.in_vain = true;
    }

    /// Handles a held batch after the replay. Computes in **O(1)**.
    pub fn release(&mut self, seq: u64) -> Answer {
        if self.replay.is_some() {
            return Answer::Hold;
        }
        if seq < self.next {
            return Answer::Drop;
        }
        if seq == self.next || self.in_vain { self.apply(seq) } else { Answer::AskFrom(self.ask()) }
    }

    /// Returns the start of another replay if live batches were dropped for lack of space. Called
    /// after all held batches are released.
    pub fn caught_up(&mut self) -> Option<u64> {
        let missing = self.replay.is_none() && self.next < self.live_end && !self.in_vain;
        missing.then(|| self.ask())
    }

    /// The next sequence number to apply.
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// The first batch of the replay under way.
    pub fn asked_from(&self) -> Option<u64> {
        self.replay.map(|replay| replay.from)
    }

    fn apply(&mut self, seq: u64) -> Answer {
        let lost = seq.saturating_sub(self.next);
        self.next = seq.saturating_add(1);
        self.in_vain &= self.next < self.live_end;
        if lost == 0 { Answer::Apply } else { Answer::ApplyAfterLoss(lost) }
    }

    fn ask(&mut self) -> u64 {
        // A batch with a recorded identity shows whether the process is the same.
        let from = self.next.saturating_sub(1);
        self.replay = Some(Replay { from, begun: false, progress: false });
        self.in_vain = false;
        from
    }

    fn began_anew(&mut self, seq: u64, identity: u64) -> Answer {
        *self = Self { begun: true, live_end: seq.saturating_add(1), ..Self::new() };
        self.remember(seq, identity);
        if seq == 0 {
            self.next = 1;
            return Answer::ClearAndApply;
        }
        Answer::ClearAndAskFrom(self.ask())
    }

    fn recent(&self, seq: u64) -> Option<u64> {
        let (number, identity) = (*self.recent.get(seq as usize % RECENT)?)?;
        (number == seq).then_some(identity)
    }

    fn remember(&mut self, seq: u64, identity: u64) {
        if let Some(place) = self.recent.get_mut(seq as usize % RECENT) {
            *place = Some((seq, identity));
        }
    }
}

impl Default for Sequence {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_replayed_and_held_batches_follow() {
        let mut sequence = Sequence::new();
        assert_eq!(sequence.live(0, 100), Answer::Apply);
        assert_eq!(
            sequence.live(3, 103),
            Answer::AskFrom(0),
            "1 and 2 are missing; 0 identifies the process"
        );
        assert_eq!(sequence.replayed(0, 100), Answer::Drop);
        assert_eq!(sequence.replayed(1, 101), Answer::Apply);
        assert_eq!(sequence.replayed(2, 102), Answer::Apply);
        sequence.end_of_replay();
        assert_eq!(sequence.release(3), Answer::Apply, "it was held");
        assert_eq!(sequence.caught_up(), None);
    }
}
