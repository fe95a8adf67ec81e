//! Which batches of a publisher to apply, and when to ask for a replay.
//!
//! ```text
//!               in order: Apply                          the next one missing: Hold
//!              ,---------------.                        ,---------------.
//!              v               |   a gap: AskFrom       v               |
//!   (new) -> following --------'-----------------> replaying -----------'
//!              ^                                        |  replayed, in order: Apply
//!              '----------------------------------------'  replayed, begins too late: ClearAndApply
//!                 the end marker, or `give_up`: what was held is released
//!
//!   A publisher that began anew is found out in either state: ClearAndApply, or ClearAndAskFrom(0).
//! ```
//!
//! While a replay is under way, live batches are held, not applied: a removal and a store of the same block do not commute. They are not
//! dropped either: a busy publisher goes on, and each replay would end behind it again.

/// How many batches are remembered by their identity.
const RECENT: usize = 64;

/// The sequence numbers of one publisher.
///
/// ZMQ loses batches silently when a subscriber is slow or late, and publishers have no epoch: a process that began anew counts from 0
/// again. Numbers alone do not tell a batch that comes twice from one of a new process, so each batch has an *identity* as well, which is
/// anything that differs between processes and stays the same in a replay: the bits of the time in the payload are
/// ([`Batch::sent_at`](super::batch::Batch::sent_at)). A replay is asked for from one batch *before* the first that is missing: if that one has another
/// identity than before, the publisher began anew meanwhile.
///
/// What cannot be found out: a new process whose first batches were lost and whose next one carries just the number that was awaited;
/// and one that began while nobody listened, for a sequence that was [resumed](Self::resume).
#[derive(Clone, Debug)]
pub struct Sequence {
    /// The batch that comes next.
    next: u64,
    /// Behind the last live batch that was seen.
    live_end: u64,
    /// Whether any batch was seen, or said to have been.
    begun: bool,
    replay: Option<Replay>,
    /// The last replay brought nothing new, or was given up: what is missing stays missing.
    in_vain: bool,
    /// Numbers and identities, each at its number modulo the length.
    recent: [Option<(u64, u64)>; RECENT],
}

#[derive(Clone, Copy, Debug)]
struct Replay {
    from: u64,
    /// Whether anything came at all: if so, the buffer goes back far enough, and what is missing then was lost on the way.
    begun: bool,
    /// Whether anything that is missing came.
    progress: bool,
}

/// What to do with a batch, and what to ask for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Answer {
    /// It is the next one: apply it.
    Apply,
    /// It was seen, or comes with a replay that nobody waits for: drop it.
    Drop,
    /// A replay is under way: hold it until that ends. If there is no room for it, drop it: it will be asked for.
    Hold,
    /// Some before it are missing: hold it, and ask for a replay from this batch on.
    AskFrom(u64),
    /// So many before it are lost for good: apply it.
    ApplyAfterLoss(u64),
    /// The publisher began anew, or its buffer does not go back as far as was asked: drop what is held, clear the cache view of the
    /// endpoint, and apply it.
    ClearAndApply,
    /// The publisher began anew: drop what is held, clear the cache view of the endpoint, hold the batch if it is a live one, and ask for a replay
    /// from this batch on.
    ClearAndAskFrom(u64),
}

impl Sequence {
    /// One that has seen nothing: unless the first batch is number 0, it asks for a replay of all.
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

    /// One that goes on where another ended, when the cache view was restored: `next` is what
    /// [`next`](Self::next) said then.
    ///
    /// It does not know the identities of what came before: an engine that began anew in between, and has come further than `next`
    /// since, is taken for the old one. Where engines may have, begin with [`new`](Self::new).
    pub const fn resume(next: u64) -> Self {
        Self { next, live_end: next, begun: true, ..Self::new() }
    }

    /// A batch came from the SUB socket. Computes in **O(1)**.
    pub fn live(&mut self, seq: u64, identity: u64) -> Answer {
        let seen = self.recent(seq);
        if self.begun && (seq < self.live_end || seq < self.next) {
            // Behind what came live before, it is a copy or of another process: ZMQ keeps the order of what it delivers. Behind what was
            // replayed only, it is a copy unless it is known to be none.
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

    /// A batch came from the replay's socket, as an answer to the **last** request: before asking anew, close the DEALER socket and open
    /// another, so that no reply to an earlier request comes. Computes in **O(1)**.
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
            // Lost on the way: the next replay will bring it.
            return Answer::Drop;
        }
        replay.progress = true;
        self.remember(seq, identity);
        self.next = seq.saturating_add(1);
        if too_late { Answer::ClearAndApply } else { Answer::Apply }
    }

    /// The end marker of the replay came: [release](Self::release) what is held, in order, then see whether it has
    /// [caught up](Self::caught_up).
    pub fn end_of_replay(&mut self) {
        if let Some(replay) = self.replay.take() {
            self.in_vain = !replay.progress;
        }
    }

    /// There is no replay (the publisher has no such socket, or does not answer): what is missing stays missing, and what comes next is
    /// applied. The cache view keeps what it knows, as most of it is still right: lost stores cost a hit, and what is wrong because of
    /// lost removals is corrected by what requests report as cached. [Release](Self::release) what is held.
    pub fn give_up(&mut self) {
        self.replay = None;
        self.in_vain = true;
    }

    /// A batch that was held may be applied now. Computes in **O(1)**.
    pub fn release(&mut self, seq: u64) -> Answer {
        if self.replay.is_some() {
            return Answer::Hold;
        }
        if seq < self.next {
            return Answer::Drop;
        }
        if seq == self.next || self.in_vain { self.apply(seq) } else { Answer::AskFrom(self.ask()) }
    }

    /// After all that was held is released: from where to ask again, if live batches were dropped for want of room, and none came since.
    pub fn caught_up(&mut self) -> Option<u64> {
        let missing = self.replay.is_none() && self.next < self.live_end && !self.in_vain;
        missing.then(|| self.ask())
    }

    /// The number of the batch that comes next.
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// The batch from which on a replay is under way.
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
        // One that is known, if any is, to see whether the publisher is the same.
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
