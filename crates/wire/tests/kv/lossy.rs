//! Publishers that lose, repeat and restart: finally, the applied batches are the published ones in
//! order.

use proptest::prelude::*;
use slotwise::{Endpoint, EndpointId, Instant, Scheduler};
use slotwise_wire::kv::internals::{Answer, Sequence};
use slotwise_wire::kv::{Feed, Report, replay_request};

/// What happens to a publisher or to its messages.
#[derive(Clone, Debug)]
enum Step {
    /// A batch is published, and arrives.
    Publish,
    /// A batch is published, and is lost.
    Lose,
    /// A batch is published, and arrives twice.
    Twice,
    /// This many replies of a replay arrive; the flag is whether the rest is lost.
    Replay(usize, bool),
    /// Another process takes over.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Publish),
        3 => Just(Step::Lose),
        2 => Just(Step::Twice),
        4 => (0..6_usize, prop::bool::weighted(0.2)).prop_map(|(replies, lost)| Step::Replay(replies, lost)),
        1 => Just(Step::Restart),
    ]
}

/// A publisher, and the naive twin of its subscriber.
#[derive(Debug, Default)]
struct World {
    /// The identities of all batches of this process.
    published: Vec<u64>,
    buffer: usize,
    time: u64,
    /// The pending replies of the replay: numbers and identities.
    replies: Option<std::collections::VecDeque<(u64, u64)>>,
    /// No batch of this process has arrived.
    is_new: bool,
    /// The number of replies that arrived.
    replied: usize,
    sequence: Sequence,
    held: Vec<(u64, u64)>,
    /// The batches applied since the last clear.
    applied: Vec<u64>,
    /// The number of lost batches before each of them.
    lost: u64,
}

impl World {
    fn publish(&mut self) -> (u64, u64) {
        self.time += 1;
        self.published.push(self.time);
        (self.published.len() as u64 - 1, self.time)
    }

    fn arrive(&mut self, (seq, identity): (u64, u64)) {
        // A new process is not detected if its first arriving batch has the expected number. That
        // batch is lost, too.
        if core::mem::take(&mut self.is_new) && seq == self.sequence.next() && seq > 0 {
            self.is_new = true;
            return;
        }
        let answer = self.sequence.live(seq, identity);
        self.act(answer, (seq, identity), true);
    }

    fn reply(&mut self) -> bool {
        let Some(replies) = &mut self.replies else { return false };
        let Some((seq, identity)) = replies.pop_front() else {
            self.replies = None;
            self.sequence.end_of_replay();
            for batch in core::mem::take(&mut self.held) {
                let answer = self.sequence.release(batch.0);
                self.act(answer, batch, true);
            }
            if let Some(from) = self.sequence.caught_up() {
                self.ask(from);
            }
            return true;
        };
        self.replied += 1;
        let answer = self.sequence.replayed(seq, identity);
        self.act(answer, (seq, identity), false);
        true
    }

    fn ask(&mut self, from: u64) {
        let first =
            (self.published.len() - self.buffer.min(self.published.len())).max(from as usize);
        let rest = self.published.iter().enumerate().skip(first);
        self.replied = 0;
        self.replies = Some(rest.map(|(seq, identity)| (seq as u64, *identity)).collect());
    }

    fn act(&mut self, answer: Answer, batch: (u64, u64), live: bool) {
        match answer {
            Answer::Apply => self.applied.push(batch.1),
            Answer::ApplyAfterLoss(lost) => {
                self.lost += lost;
                self.applied.push(batch.1);
            }
            Answer::Drop => {}
            Answer::Hold => self.held.push(batch),
            Answer::AskFrom(from) => {
                self.held.push(batch);
                self.ask(from);
            }
            Answer::ClearAndApply => {
                self.held.clear();
                self.applied = vec![batch.1];
            }
            Answer::ClearAndAskFrom(from) => {
                self.held.clear();
                self.applied.clear();
                if live {
                    self.held.push(batch);
                }
                self.ask(from);
            }
            other => panic!("{other:?}"),
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Publish => {
                let batch = self.publish();
                self.arrive(batch);
            }
            Step::Lose => _ = self.publish(),
            Step::Twice => {
                let batch = self.publish();
                self.arrive(batch);
                self.arrive(batch);
            }
            Step::Replay(count, lost) => {
                for _ in 0..count {
                    self.reply();
                }
                // Batches beyond a full queue are lost; the first ones always fit.
                if let Some(replies) = self.replies.as_mut().filter(|_| lost && self.replied > 1) {
                    replies.pop_front();
                }
            }
            Step::Restart => {
                self.published.clear();
                self.is_new = true;
                // The request is lost with the process and its socket: there is no reply.
                if self.replies.take().is_some() {
                    self.sequence.give_up();
                    for batch in core::mem::take(&mut self.held) {
                        let answer = self.sequence.release(batch.0);
                        self.act(answer, batch, true);
                    }
                }
            }
        }
    }

    /// From here on no batch is lost: the replay ends, batches continue, and missing ones are
    /// replayed.
    fn settle(&mut self) {
        for _ in 0..3 {
            for _ in 0..self.sequence.next().saturating_sub(self.published.len() as u64) + 1 {
                let batch = self.publish();
                self.arrive(batch);
            }
            let mut replies = 0;
            while self.reply() {
                replies += 1;
                assert!(replies < 10_000, "it asks again and again");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]
    #[test]
    fn what_is_applied_is_what_was_published(steps in proptest::collection::vec(step(), 0..60)) {
        let mut world = World { buffer: usize::MAX, ..World::default() };
        steps.into_iter().for_each(|step| world.take(step));
        world.settle();
        prop_assert_eq!(&world.applied, &world.published);
        prop_assert_eq!(world.sequence.next(), world.published.len() as u64);
        prop_assert!(world.held.is_empty());
        prop_assert_eq!(world.sequence.asked_from(), None);
    }

    /// With a short buffer, the batches applied since the last clear are the last published ones,
    /// without gaps.
    #[test]
    fn what_a_short_buffer_forgot_clears_the_view(steps in proptest::collection::vec(step(), 0..60), buffer in 1..6_usize) {
        let mut world = World { buffer, ..World::default() };
        for step in steps.into_iter().filter(|step| !matches!(step, Step::Restart)) {
            world.take(step);
        }
        world.settle();
        prop_assert!(world.published.ends_with(&world.applied), "{:?} of {:?}", world.applied, world.published);
        prop_assert!(!world.applied.is_empty());
        prop_assert_eq!(world.lost, 0);
    }
}

#[test]
fn the_first_batch_seen_asks_for_all() {
    let mut sequence = Sequence::new();
    assert_eq!(sequence.live(5, 105), Answer::AskFrom(0));
    assert_eq!(sequence.live(6, 106), Answer::Hold);
    assert_eq!(sequence.replayed(3, 103), Answer::ClearAndApply, "the buffer begins there");
    assert_eq!(sequence.replayed(4, 104), Answer::Apply);
    sequence.end_of_replay();
    assert_eq!(sequence.release(5), Answer::Apply);
    assert_eq!(sequence.release(6), Answer::Apply);
    assert_eq!(sequence.live(6, 106), Answer::Drop);
}

#[test]
fn a_replay_finds_out_another_process() {
    let mut sequence = Sequence::resume(0);
    for seq in 0..4 {
        assert_eq!(sequence.live(seq, seq), Answer::Apply);
    }
    // The new process has published more than the old one.
    assert_eq!(sequence.live(9, 109), Answer::AskFrom(3));
    assert_eq!(sequence.replayed(3, 103), Answer::ClearAndAskFrom(0));
    for seq in 0..=9 {
        assert_eq!(sequence.replayed(seq, 100 + seq), Answer::Apply);
    }
    sequence.end_of_replay();
    assert_eq!(sequence.caught_up(), None);
    assert_eq!(sequence.live(10, 110), Answer::Apply);
}

#[test]
fn zero_again_is_a_restart() {
    let mut sequence = Sequence::new();
    assert_eq!(sequence.live(0, 1), Answer::Apply);
    assert_eq!(sequence.live(0, 1), Answer::Drop);
    assert_eq!(sequence.live(0, 2), Answer::ClearAndApply);
    assert_eq!(sequence.live(1, 3), Answer::Apply);
    assert_eq!(sequence.next(), 2);
}

#[test]
fn a_replay_in_vain_is_not_asked_for_again() {
    let mut sequence = Sequence::new();
    assert_eq!(sequence.live(0, 0), Answer::Apply);
    assert_eq!(sequence.live(4, 4), Answer::AskFrom(0));
    sequence.end_of_replay();
    assert_eq!(sequence.release(4), Answer::ApplyAfterLoss(3));
    assert_eq!(sequence.caught_up(), None);
    assert_eq!(sequence.live(5, 5), Answer::Apply);
}

struct Subscriber {
    scheduler: Scheduler,
    id: EndpointId,
    feed: Feed,
}

impl Subscriber {
    fn new(feed: Feed) -> Self {
        let mut scheduler = Scheduler::default();
        let endpoint = Endpoint::new("a").model("tiny").block_size(1.try_into().expect("not zero"));
        let id = scheduler.add_endpoint(Instant::ORIGIN, endpoint).expect("the first");
        Self { scheduler, id, feed }
    }

    fn live(&mut self, seq: u8) -> Report {
        let seq_frame = u64::from(seq).to_be_bytes();
        let frames: [&[u8]; 3] = [b"t", &seq_frame, &payload(seq)];
        self.feed
            .handle_live(&frames, &mut |event| {
                self.scheduler.handle_kv_event(Instant::ORIGIN, self.id, event)
            })
            .expect("frames")
    }

    fn replay(&mut self, seq: u64, payload: &[u8]) -> Report {
        let frames: [&[u8]; 4] = [b"", b"t", &replay_request(seq), payload];
        self.feed
            .handle_replay(&frames, &mut |event| {
                self.scheduler.handle_kv_event(Instant::ORIGIN, self.id, event)
            })
            .expect("frames")
    }

    fn blocks(&self) -> usize {
        self.scheduler.stats().index_entries
    }
}

/// `[seq, [["BlockStored", [seq + 1], seq or nil, [seq], 1]]]`
fn payload(seq: u8) -> Vec<u8> {
    let parent = if seq == 0 { 0xc0 } else { seq };
    let mut payload = vec![0x92, seq, 0x91, 0x95, 0xab];
    payload.extend(b"BlockStored");
    payload.extend([0x91, seq + 1, parent, 0x91, seq, 1]);
    payload
}

#[test]
fn a_feed_holds_asks_and_catches_up() {
    let mut subscriber = Subscriber::new(Feed::new());
    assert_eq!(subscriber.live(0).batches, 1);
    let report = subscriber.live(3);
    assert_eq!((report.ask, report.held, report.batches), (Some(0), 1, 0));
    assert_eq!(subscriber.live(4).held, 1);
    assert_eq!(subscriber.blocks(), 1);
    assert_eq!(subscriber.replay(0, &payload(0)).dropped, 1);
    for seq in 1..4 {
        assert_eq!(subscriber.replay(u64::from(seq), &payload(seq)).stored_blocks, 1);
    }
    let report = subscriber.replay(u64::MAX, b"");
    assert_eq!(
        (report.dropped, report.batches, report.ask, report.unknown_parents),
        (1, 1, None, 0)
    );
    assert_eq!((subscriber.blocks(), subscriber.feed.next()), (5, 5));
}

#[test]
fn a_feed_without_room_asks_again() {
    let mut subscriber = Subscriber::new(Feed::new().max_held_bytes(0));
    assert_eq!(subscriber.live(2).ask, Some(0));
    assert_eq!(subscriber.live(3).held, 0);
    assert_eq!(subscriber.replay(0, &payload(0)).batches, 1);
    assert_eq!(subscriber.replay(1, &payload(1)).batches, 1);
    let report = subscriber.replay(u64::MAX, b"");
    assert_eq!((report.batches, report.ask), (1, Some(2)));
    assert_eq!(subscriber.replay(2, &payload(2)).dropped, 1);
    assert_eq!(subscriber.replay(3, &payload(3)).batches, 1);
    assert_eq!(subscriber.replay(u64::MAX, b"").ask, None);
    assert_eq!(subscriber.blocks(), 4);
}

#[test]
fn a_feed_without_replay_goes_on() {
    let mut subscriber = Subscriber::new(Feed::new().without_replay());
    assert_eq!(subscriber.live(0).batches, 1);
    let report = subscriber.live(3);
    assert_eq!((report.ask, report.lost, report.batches, report.unknown_parents), (None, 2, 1, 1));
    assert_eq!(subscriber.live(4).batches, 1);
    assert_eq!(subscriber.blocks(), 1, "the rest has no parent");
}

#[test]
fn a_feed_begins_anew_with_its_publisher() {
    let mut subscriber = Subscriber::new(Feed::new());
    for seq in 0..3 {
        subscriber.live(seq);
    }
    let mut other = payload(0);
    other[1] = 99;
    let frames: [&[u8]; 2] = [&[0; 8], &other];
    let report = subscriber
        .feed
        .handle_live(&frames, &mut |event| {
            subscriber.scheduler.handle_kv_event(Instant::ORIGIN, subscriber.id, event)
        })
        .expect("frames");
    assert!(report.cleared);
    assert_eq!((report.batches, subscriber.blocks(), subscriber.feed.next()), (1, 1, 1));
}
