//! The request queue agrees with its reference model after any sequence of steps.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use core::time::Duration;

use proptest::prelude::*;

use super::model::{Model, Place};
use super::scenarios::{ADMISSION, HASH_STATE};
use super::*;
use crate::rng::Rng;

impl<T> RequestQueue<T> {
    /// Checks all structures against each other.
    pub(super) fn check(&self) {
        let mut queues: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
        let mut flows: BTreeMap<u32, Vec<(u64, QueueTotals)>> = BTreeMap::new();
        let (mut sum, mut expiring) = (QueueTotals::default(), BTreeSet::new());
        for (index, request) in self.requests.iter() {
            queues.entry(request.queue).or_default().insert(index);
            flows
                .entry(self.queues.flow_of(request.queue))
                .or_default()
                .push((request.charge, request.sum()));
            sum.add(request.sum());
            if request.expires {
                expiring.insert(index);
            }
        }
        assert_eq!(self.sum, sum);
        assert_eq!(self.queues.places.clone().by_time().members(self.expiring), expiring);
        self.queues.check(&self.ledger.flows, &queues);
        self.ledger.check(&flows);
        for (flow, requests) in flows {
            let mut at = self.ledger.flows[flow].newest;
            let mut number = u64::MAX;
            for _ in requests {
                assert!(self.ticket(at).number < number, "older and older");
                number = self.ticket(at).number;
                at = self.queues.places.older(at);
            }
            assert_eq!(at, NONE);
        }
    }
}

/// A queue and its reference model, with equal inputs.
struct Pair {
    room: RequestQueue<u64>,
    model: Model,
    now: Instant,
    rng: Rng,
    /// Accepted requests that are still inside, and those that left.
    tickets: BTreeMap<u64, Ticket>,
    gone: Vec<Ticket>,
    closed_band: Option<i32>,
    /// The requests that left, in order.
    log: String,
}

impl Pair {
    fn new(config: &FlowConfig, seed: u64, key: u64) -> Self {
        Self {
            room: RequestQueue::new(config, KeyedState::new(key)),
            model: Model::new(config),
            now: Instant::ORIGIN,
            rng: Rng::new(seed),
            tickets: BTreeMap::new(),
            gone: Vec::new(),
            closed_band: None,
            log: String::new(),
        }
    }

    fn step(&mut self) {
        match self.rng.below(100) {
            0..38 => self.enqueue(),
            38..58 => {
                if let Some(ticket) = self.best() {
                    self.take(ticket);
                }
            }
            58..66 => {
                if let Some(ticket) = self.best() {
                    self.park(ticket);
                }
            }
            66..68 => {
                if let Some(ticket) = self.any() {
                    self.take(ticket);
                }
            }
            68..71 => {
                if let Some(ticket) = self.any() {
                    self.park(ticket);
                }
            }
            71..75 => {
                if let Some(ticket) = self.any() {
                    assert!(self.model.remove(self.now, ticket.number));
                    assert_eq!(self.room.remove(self.now, ticket), Some(ticket.number));
                    self.came_out(ticket);
                }
            }
            75..82 => {
                let (slot, open) = (self.rng.below(4) as u32, self.rng.below(3) > 0);
                self.model.swing(slot, open);
                if open { self.room.open(slot) } else { self.room.close(slot) }
            }
            82..84 => {
                let slot = self.rng.below(4) as u32;
                self.model.release(slot);
                self.room.release(slot);
            }
            84..91 => self.settle(),
            91..93 => {
                self.closed_band = [None, Some(-1), Some(0), Some(7)][self.rng.below(4) as usize];
            }
            93..95 => {
                self.model.expire(self.now);
                self.room.expire(self.now);
            }
            _ => {
                let most = [10, 1_000_000, 40_000_000][self.rng.below(3) as usize];
                self.now = self.now + Duration::from_micros(self.rng.below(most));
            }
        }
        self.compare();
    }

    fn enqueue(&mut self) {
        let rng = &mut self.rng;
        let in_a_while = |rng: &mut Rng| {
            let long = [0, 1_000, 5_000_000, 100_000_000][rng.below(4) as usize];
            let at = self.now + Duration::from_micros(rng.below(long + 1));
            (rng.below(4) > 0).then_some(at)
        };
        let admission = Admission {
            priority: [i32::MIN, -1, 0, 0, 0, 7, i32::MAX][rng.below(7) as usize],
            flow: rng.below(5) * rng.below(2),
            weight: [0.5, 1.0, 1.0, 3.0][rng.below(4) as usize],
            bytes: [0, 10, rng.below(500), rng.below(2_000)][rng.below(4) as usize],
            cost: Seconds::new([0.0, 0.1, rng.unit(), rng.unit() * 5.0][rng.below(4) as usize]),
            service: None,
            slo: in_a_while(rng),
            expires: in_a_while(rng),
        };
        let number = self.room.numbered + 1;
        let accepted = self.model.enqueue(self.now, admission);
        match self.room.enqueue(self.now, admission, number) {
            Ok(ticket) => {
                assert_eq!(accepted, Ok(ticket.number));
                assert!(self.tickets.insert(number, ticket).is_none());
            }
            Err((what, full)) => assert_eq!((what, Err(full)), (number, accepted)),
        }
    }

    fn best(&mut self) -> Option<Ticket> {
        let closed = self.closed_band;
        let open = |priority| Some(priority) != closed;
        let ticket = if self.rng.below(4) > 0 {
            let best = self.model.best(self.now, open, None);
            let ticket = self.room.best(self.now, open);
            assert_eq!(ticket.map(|ticket| ticket.number), best);
            ticket
        } else {
            // Whole numbers, so that many costs are equal.
            let cost = |number: u64| (number % 7) as f64;
            let best = self.model.best(self.now, open, Some(&cost));
            let ticket = self.room.best_by(self.now, open, |number| Seconds::new(cost(*number)));
            assert_eq!(ticket.map(|ticket| ticket.number), best);
            ticket
        }?;
        let entry = self.model.waiting.iter().find(|entry| entry.number == ticket.number);
        let entry = entry.expect("only what waits is offered");
        assert!(open(entry.admission.priority) && self.model.is_candidate(entry));
        assert!(entry.admission.expires.is_none_or(|at| at > self.now));
        writeln!(self.log, "best {}", ticket.number).expect("memory");
        Some(ticket)
    }

    fn take(&mut self, ticket: Ticket) {
        assert!(self.model.take(self.now, ticket.number));
        assert_eq!(self.room.take(self.now, ticket), Some(ticket.number));
        self.came_out(ticket);
    }

    fn park(&mut self, ticket: Ticket) {
        let slot = self.rng.below(4) as u32;
        let work = Seconds::new(self.rng.unit());
        self.model.park(ticket.number, slot, work);
        self.room.park(ticket, slot, work);
        let entry = self.model.waiting.iter().find(|entry| entry.number == ticket.number);
        assert_eq!(entry.map(|entry| entry.place), Some(Place::Parked(slot)));
    }

    fn settle(&mut self) {
        let rng = &mut self.rng;
        let priority = [-1, 0, 0, 7, 12][rng.below(5) as usize];
        let (flow, charged) = (rng.below(5), Seconds::new(rng.unit()));
        let actual = charged * [0.0, 0.5, 1.0, 1.5, 20.0][rng.below(5) as usize];
        self.model.settle(priority, flow, charged, actual);
        self.room.settle(priority, flow, charged, actual);
    }

    fn any(&mut self) -> Option<Ticket> {
        let at = self.rng.below(self.model.waiting.len() as u64);
        self.model.waiting.get(at as usize).map(|entry| self.tickets[&entry.number])
    }

    fn came_out(&mut self, ticket: Ticket) {
        writeln!(self.log, "{} came out", ticket.number).expect("memory");
        assert!(self.tickets.remove(&ticket.number).is_some(), "once");
        self.gone.push(ticket);
    }

    fn compare(&mut self) {
        for (number, reason, waited) in core::mem::take(&mut self.model.evicted) {
            let evicted = self.room.next_evicted().expect("one more");
            let Evicted { ticket, what, reason: why, waited: length, sum: _ } = evicted;
            let expected = (self.tickets[&number], number, reason, Duration::from_micros(waited));
            assert_eq!((ticket, what, why, length), expected);
            self.came_out(evicted.ticket);
        }
        self.model.undelivered.clear();
        assert_eq!(self.room.next_evicted(), None);
        assert_eq!(self.room.undelivered(), QueueTotals::default());
        assert_eq!(self.room.next_timeout(), self.model.timeouts().min().map(|(at, _)| at));
        for (number, ticket) in &self.tickets {
            assert_eq!(self.room.get(*ticket), Some(number));
            let parked = self.room.parked_work(*ticket).expect("it waits");
            for slot in 0..4 {
                assert_eq!(parked.of(slot), self.model.parked_work(*number, slot));
            }
        }
        let sum_of = |priority: Option<i32>| {
            let entries = self.model.waiting.iter();
            let mut sum = QueueTotals::default();
            for entry in
                entries.filter(|entry| priority.is_none_or(|of| of == entry.admission.priority))
            {
                let Admission { bytes, cost, .. } = entry.admission;
                sum.add(QueueTotals {
                    requests: 1,
                    bytes: bytes.into(),
                    work: cost.to_nanos().into(),
                });
            }
            sum
        };
        assert_eq!((self.room.sum(), self.tickets.len()), (sum_of(None), self.room.sum().requests));
        let bands = self.model.bands.iter().rev();
        let bands: Vec<_> = bands
            .map(|(priority, band)| (*priority, sum_of(Some(*priority)), band.flows.len()))
            .collect();
        assert_eq!(self.room.bands().collect::<Vec<_>>(), bands);
        if let Some(ticket) = self.gone.last().copied() {
            assert_eq!(self.room.get(ticket), None);
            assert_eq!(self.room.remove(self.now, ticket), None);
            self.room.park(ticket, 0, Seconds::new(1.0));
        }
        self.room.check();
    }

    fn finish(mut self) -> String {
        self.closed_band = None;
        for slot in 0..4 {
            self.model.release(slot);
            self.room.release(slot);
        }
        while let Some(ticket) = self.best() {
            self.take(ticket);
            self.compare();
        }
        // The last offer may have found only expired requests.
        self.compare();
        assert_eq!((self.room.sum(), self.tickets.len()), (QueueTotals::default(), 0));
        self.log
    }
}

fn config() -> impl Strategy<Value = FlowConfig> {
    let fairness = prop::sample::select(Vec::from([
        Fairness::StartTime,
        Fairness::StartTime,
        Fairness::RoundRobin,
        Fairness::GlobalStrict,
        Fairness::LeastAttainedService,
        Fairness::LeastAttainedTokens,
    ]));
    let order = prop::sample::select(Vec::from([
        QueueOrder::Fcfs,
        QueueOrder::Edf,
        QueueOrder::SloDeadline,
        QueueOrder::ShortestWork,
    ]));
    let limits =
        (prop::option::of(1usize..60), prop::option::of(1u64..20_000), 1usize..40, 500u64..20_000);
    let share = prop::sample::select(Vec::from([0.0, 0.0, 0.1, 0.5]));
    let look_ahead = prop::sample::select(Vec::from([0, 1, 3_000]));
    (fairness, order, limits, share, look_ahead, 0usize..8).prop_map(
        |(fairness, order, limits, lower_share, look_ahead, max_idle_flows)| FlowConfig {
            max_requests: limits.0,
            max_bytes: limits.1,
            band: BandLimits { max_requests: limits.2, max_bytes: limits.3 },
            fairness,
            order,
            lower_share,
            look_ahead: Duration::from_millis(look_ahead),
            max_idle_flows,
            ..FlowConfig::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_steps(config in config(), seed in any::<u64>()) {
        let mut pair = Pair::new(&config, seed, 1);
        (0..1_000).for_each(|_| pair.step());
        pair.finish();
    }

    /// Neither the run nor the key of the hash tables makes a difference.
    #[test]
    fn equal_steps_have_equal_ends(config in config(), seed in any::<u64>()) {
        let logs: [String; 2] = [1, 99].map(|key| {
            let mut pair = Pair::new(&config, seed, key);
            (0..200).for_each(|_| pair.step());
            pair.finish()
        });
        prop_assert_eq!(&logs[0], &logs[1]);
    }

    /// While both wait, the weighted service of two flows differs by at most the largest request of
    /// each.
    #[test]
    fn flows_that_always_wait_have_equal_shares(
        flows in prop::collection::vec((0.25f64..4.0, 0.0f64..10.0), 2..12),
        seed in any::<u64>(),
    ) {
        let mut room = RequestQueue::new(&FlowConfig::default(), HASH_STATE);
        let mut rng = Rng::new(seed);
        let mut had = Vec::from_iter(flows.iter().map(|_| 0.0));
        let come = |room: &mut RequestQueue<_>, flow: usize, rng: &mut Rng| {
            let (weight, most) = flows[flow];
            let cost = Seconds::new(rng.unit() * most);
            let admission = Admission { flow: flow as u64, weight, cost, ..ADMISSION };
            room.enqueue(Instant::ORIGIN, admission, (flow, cost.get())).expect("room");
        };
        (0..flows.len()).for_each(|flow| (0..2).for_each(|_| come(&mut room, flow, &mut rng)));
        for _ in 0..1_000 {
            let ticket = room.best(Instant::ORIGIN, |_| true).expect("all wait");
            let (flow, cost) = room.take(Instant::ORIGIN, ticket).expect("it waits");
            had[flow] += cost / flows[flow].0;
            come(&mut room, flow, &mut rng);
            for (one, (weight, most)) in flows.iter().enumerate() {
                for (other, (other_weight, other_most)) in flows.iter().enumerate() {
                    let bound = most / weight + other_most / other_weight + 1e-5;
                    prop_assert!((had[one] - had[other]).abs() <= bound);
            }
            }
        }
    }
}
