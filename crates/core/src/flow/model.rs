//! The reference model of the request queue: one list of requests, scanned from end to end.
//!
//! It defines the results of the queue, whatever the queue's structure.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::displacement::MOST_DISPLACED;
use super::{Admission, Eviction, Fairness, FlowConfig, Full, QueueOrder};
use crate::time::{Instant, Seconds};

#[derive(Clone, Debug)]
pub(super) struct Model {
    config: FlowConfig,
    now: Instant,
    minutes: u64,
    pub(super) waiting: Vec<Entry>,
    pub(super) bands: BTreeMap<i32, Band>,
    /// Endpoints that requests wait for.
    open: BTreeMap<u32, bool>,
    numbered: u64,
    releases: u32,
    /// The debt of each rank of bands to those below.
    owed: [f64; 7],
    /// The latest offer, the number of bands passed over, and whether lower bands had candidates.
    offer: (u64, usize, bool),
    /// Numbers of removed requests.
    pub(super) evicted: Vec<(u64, Eviction, u64)>,
    /// Bytes of each of them.
    pub(super) undelivered: Vec<u64>,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) number: u64,
    pub(super) admission: Admission,
    pub(super) place: Place,
    enqueued: Instant,
    flow: u64,
    charge: u64,
    key: u64,
    parked_work: u64,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Place {
    Ready,
    Parked(u32),
    /// The number of the release.
    Released(u32),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Band {
    pub(super) flows: BTreeMap<u64, Flow>,
    clock: f64,
    /// From when to when requests did not age, in microseconds.
    still: Vec<(u64, u64)>,
}

impl Band {
    /// Microseconds up to `now` in which requests aged.
    fn aged(&self, now: Instant) -> u64 {
        let (mut aged, mut at) = (0, 0);
        let mut still = self.still.clone();
        still.sort_unstable();
        for (from, to) in still.into_iter().chain([(u64::MAX, u64::MAX)]) {
            aged += from.min(now.as_micros()).saturating_sub(at);
            at = at.max(to);
        }
        aged
    }
}

/// Nanoseconds: whole ones below 2^53 in this test, so that sums are exact until they are halved.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    pub(super) served: f64,
    weight: f64,
}

impl Model {
    pub(super) fn new(config: &FlowConfig) -> Self {
        Self {
            config: config.clone(),
            now: Instant::ORIGIN,
            minutes: 0,
            waiting: Vec::new(),
            bands: BTreeMap::new(),
            open: BTreeMap::new(),
            numbered: 0,
            releases: 0,
            owed: [0.0; 7],
            offer: (0, 0, false),
            evicted: Vec::new(),
            undelivered: Vec::new(),
        }
    }

    pub(super) fn enqueue(&mut self, now: Instant, admission: Admission) -> Result<u64, Full> {
        self.expire(now);
        let Admission { priority, cost, .. } = admission;
        let flow = if self.config.fairness == Fairness::GlobalStrict { 0 } else { admission.flow };
        let micros = |at: Option<Instant>| at.map_or(u64::MAX, Instant::as_micros);
        let waits = self.waiting.iter().any(|other| other.admission.priority == priority);
        if let Some(band) = self.bands.get_mut(&priority).filter(|_| !waits) {
            band.still.clear();
        }
        let band = self.bands.get(&priority);
        let aged = band.map_or(self.now.as_micros(), |band| band.aged(self.now));
        let entry = Entry {
            number: self.numbered + 1,
            admission,
            place: Place::Ready,
            enqueued: self.now,
            parked_work: 0,
            flow,
            charge: self.charge(cost, admission.weight),
            key: match self.config.order {
                QueueOrder::Fcfs => 0,
                QueueOrder::Edf => micros(admission.expires),
                QueueOrder::SloDeadline => micros(admission.slo),
                QueueOrder::ShortestWork => cost.to_nanos() + 100 * aged,
            },
        };
        let preemption_candidates = self.make_room(&entry)?;
        self.numbered += 1;
        let band = self.bands.entry(priority).or_default();
        let account = band.flows.entry(flow).or_insert(Flow { served: band.clock, weight: 1.0 });
        if !self.waiting.iter().any(|other| other.is_of(priority, flow)) {
            account.served = account.served.max(band.clock);
        }
        account.weight = admission.weight;
        self.waiting.push(entry);
        for victim in preemption_candidates {
            self.evict(victim, Eviction::Displaced);
        }
        Ok(self.numbered)
    }

    /// Advances time, and halves attained service. No request expires by it.
    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
        while self.minutes < self.now.as_micros() / 60_000_000 {
            self.minutes += 1;
            if self.config.fairness.decays() {
                let flows = self.bands.values_mut().flat_map(|band| band.flows.values_mut());
                flows.for_each(|flow| flow.served /= 2.0);
            }
        }
    }

    pub(super) fn expire(&mut self, now: Instant) {
        self.advance(now);
        while let Some((at, number)) = self.timeouts().min() {
            if at > self.now {
                break;
            }
            let entry = self.waiting.iter().find(|entry| entry.number == number);
            let entry = entry.expect("it waits");
            let (priority, waited) =
                (entry.admission.priority, at.saturating_since(entry.enqueued));
            let span = (at.as_micros(), (at + waited).as_micros());
            self.bands.entry(priority).or_default().still.push(span);
            self.evict(number, Eviction::Expired);
        }
    }

    pub(super) fn timeouts(&self) -> impl Iterator<Item = (Instant, u64)> {
        self.waiting.iter().filter_map(|entry| Some((entry.admission.expires?, entry.number)))
    }

    /// The next candidate; with costs, the cheapest of those near their turns.
    pub(super) fn best(
        &mut self,
        now: Instant,
        open: impl Fn(i32) -> bool,
        cost: Option<&dyn Fn(u64) -> f64>,
    ) -> Option<u64> {
        self.expire(now);
        self.offer = (0, 0, false);
        let mut wanting = self
            .bands
            .keys()
            .rev()
            .copied()
            .filter(|priority| open(*priority) && self.candidates(*priority).next().is_some());
        let mut chosen = wanting.next()?;
        if self.config.lower_share > 0.0 {
            for lower in wanting.collect::<Vec<_>>() {
                if self.owed[self.offer.1] <= 0.0 {
                    self.offer.2 = true;
                    break;
                }
                self.offer.1 += 1;
                chosen = lower;
            }
        }
        let mut turns: Vec<_> =
            self.candidates(chosen).map(|entry| (self.turn(entry), entry)).collect();
        turns.sort_by(|(one, _), (other, _)| {
            one.0.total_cmp(&other.0).then((one.1, one.2).cmp(&(other.1, other.2)))
        });
        let mut best = turns[0].1.number;
        let look_ahead = self.config.look_ahead.as_nanos() as f64;
        if let Some(cost) =
            cost.filter(|_| look_ahead > 0.0 && self.config.fairness == Fairness::StartTime)
        {
            let least = turns[0].0.0;
            turns.retain(|(turn, _)| turn.0 <= least + look_ahead);
            let mut queues = BTreeMap::new();
            for (_, entry) in &turns {
                queues.entry((entry.flow, entry.place)).or_insert(entry.number);
            }
            let firsts = turns
                .iter()
                .filter(|(_, entry)| queues[&(entry.flow, entry.place)] == entry.number);
            best = firsts
                .map(|(_, entry)| entry.number)
                .min_by(|one, other| cost(*one).total_cmp(&cost(*other)))?;
        }
        self.offer.0 = best;
        Some(best)
    }

    /// Whether a request may be offered.
    pub(super) fn is_candidate(&self, entry: &Entry) -> bool {
        match entry.place {
            Place::Ready | Place::Released(_) => true,
            Place::Parked(slot) => self.open.get(&slot).copied().unwrap_or(false),
        }
    }

    pub(super) fn park(&mut self, number: u64, slot: u32, work: Seconds) {
        if let Some(entry) = self.waiting.iter_mut().find(|entry| entry.number == number) {
            entry.place = Place::Parked(slot);
            entry.parked_work = work.to_nanos();
            self.open.insert(slot, false);
        }
    }

    /// The work parked for a slot that a request sees.
    pub(super) fn parked_work(&self, number: u64, slot: u32) -> Seconds {
        let Some(own) = self.waiting.iter().find(|entry| entry.number == number) else {
            return Seconds::ZERO;
        };
        let counts = |entry: &&Entry| {
            entry.number != number
                && entry.place == Place::Parked(slot)
                && entry.admission.priority >= own.admission.priority
        };
        let work: u64 = self.waiting.iter().filter(counts).map(|entry| entry.parked_work).sum();
        Seconds::new(work as f64 / 1e9)
    }

    pub(super) fn swing(&mut self, slot: u32, open: bool) {
        self.open.insert(slot, open);
    }

    pub(super) fn release(&mut self, slot: u32) {
        self.releases += 1;
        for entry in self.waiting.iter_mut().filter(|entry| entry.place == Place::Parked(slot)) {
            entry.place = Place::Released(self.releases);
        }
    }

    pub(super) fn take(&mut self, now: Instant, number: u64) -> bool {
        self.advance(now);
        let Some(entry) = self.waiting.iter().find(|entry| entry.number == number).cloned() else {
            return false;
        };
        let (offered, aside, contested) = core::mem::take(&mut self.offer);
        if offered == number {
            let (share, cost) = (self.config.lower_share, entry.admission.cost.to_nanos() as f64);
            self.owed[..aside].iter_mut().for_each(|owed| *owed -= (1.0 - share) * cost);
            if contested {
                self.owed[aside] += share * cost;
            }
        }
        let band = self.bands.get_mut(&entry.admission.priority).expect("it waits there");
        let flow = band.flows.get_mut(&entry.flow).expect("it waits there");
        if !self.config.fairness.decays() {
            band.clock = band.clock.max(flow.served);
        }
        flow.served += entry.charge as f64;
        self.leave(number)
    }

    pub(super) fn remove(&mut self, now: Instant, number: u64) -> bool {
        self.advance(now);
        self.waiting.iter().any(|entry| entry.number == number) && self.leave(number)
    }

    pub(super) fn settle(&mut self, priority: i32, flow: u64, charged: Seconds, actual: Seconds) {
        let id = if self.config.fairness == Fairness::GlobalStrict { 0 } else { flow };
        let Some(band) = self.bands.get(&priority) else { return };
        let known = band.flows.get(&id).copied();
        let flow = known.unwrap_or(Flow { served: band.clock, weight: 1.0 });
        let more =
            self.charge(actual, flow.weight) as f64 - self.charge(charged, flow.weight) as f64;
        if known.is_none() && more <= 0.0 {
            return;
        }
        let flow = Flow { served: (flow.served + more).max(0.0), ..flow };
        self.bands.entry(priority).and_modify(|band| _ = band.flows.insert(id, flow));
        if !self.waiting.iter().any(|entry| entry.is_of(priority, id)) {
            self.forget(priority);
        }
    }

    fn charge(&self, cost: Seconds, weight: f64) -> u64 {
        let cost =
            if self.config.fairness == Fairness::RoundRobin { Seconds::new(1.0) } else { cost };
        (cost * (1.0 / weight)).to_nanos().max(1)
    }

    fn candidates(&self, priority: i32) -> impl Iterator<Item = &Entry> {
        self.waiting
            .iter()
            .filter(move |entry| entry.admission.priority == priority && self.is_candidate(entry))
    }

    fn turn(&self, entry: &Entry) -> (f64, u64, u64) {
        (self.bands[&entry.admission.priority].flows[&entry.flow].served, entry.key, entry.number)
    }

    fn evict(&mut self, number: u64, reason: Eviction) {
        let entry = self.waiting.iter().find(|entry| entry.number == number).expect("it waits");
        let waited = self.now.as_micros() - entry.enqueued.as_micros();
        self.undelivered.push(entry.admission.bytes);
        self.evicted.push((number, reason, waited));
        self.leave(number);
    }

    fn leave(&mut self, number: u64) -> bool {
        let at = self.waiting.iter().position(|entry| entry.number == number).expect("it waits");
        let entry = self.waiting.remove(at);
        if self.waiting.is_empty() {
            self.owed = [0.0; 7];
        }
        self.forget(entry.admission.priority);
        true
    }

    fn forget(&mut self, priority: i32) {
        let attained = self.config.fairness.decays();
        let is_idle =
            |priority: i32, id: u64| !self.waiting.iter().any(|entry| entry.is_of(priority, id));
        let busy = self.waiting.iter().any(|entry| entry.admission.priority == priority);
        let Some(mut band) = self.bands.remove(&priority) else { return };
        band.flows.retain(|id, flow| {
            let new =
                if attained { flow.served <= 1e6 } else { !busy || flow.served <= band.clock };
            !(new && is_idle(priority, *id))
        });
        let elsewhere = self
            .bands
            .iter()
            .flat_map(|(priority, band)| band.flows.keys().map(|id| (*priority, *id)));
        let mut all = elsewhere.filter(|(priority, id)| is_idle(*priority, *id)).count();
        all += band.flows.keys().filter(|id| is_idle(priority, **id)).count();
        while all > self.config.max_idle_flows {
            let idle = band.flows.iter().filter(|(id, _)| is_idle(priority, **id));
            let least = idle.min_by(|(one, flow), (other, than)| {
                flow.served.total_cmp(&than.served).then(one.cmp(other))
            });
            let Some(id) = least.map(|(id, _)| *id) else { break };
            band.flows.remove(&id);
            all -= 1;
        }
        if !band.flows.is_empty() {
            self.bands.insert(priority, band);
        }
    }

    fn make_room(&self, newcomer: &Entry) -> Result<Vec<u64>, Full> {
        let mut left = self.waiting.clone();
        let mut preemption_candidates = Vec::new();
        let priority = newcomer.admission.priority;
        let bytes =
            |left: &[Entry]| -> u64 { left.iter().map(|entry| entry.admission.bytes).sum() };
        let excess = |left: &[Entry], requests: usize, most: u64| {
            (left.len() >= requests)
                .then_some(true)
                .or_else(|| (bytes(left) + newcomer.admission.bytes > most).then_some(false))
        };
        let band = self.config.band;
        let most_requests = self.config.max_requests.unwrap_or(usize::MAX);
        let most_displaced =
            MOST_DISPLACED.min(most_requests.saturating_sub(self.undelivered.len()));
        loop {
            let own: Vec<_> =
                left.iter().filter(|entry| entry.admission.priority == priority).cloned().collect();
            let Some(requests) = excess(&own, band.max_requests, band.max_bytes) else { break };
            let full = if requests { Full::BandRequests } else { Full::BandBytes };
            let mut with: Vec<Entry> = self.waiting.clone();
            with.push(newcomer.clone());
            let lead = self.lead(&with, newcomer);
            let victim = self.farthest(&left, priority).filter(|(ahead, _)| *ahead > lead);
            let (_, victim) =
                victim.filter(|_| preemption_candidates.len() < most_displaced).ok_or(full)?;
            left.retain(|entry| entry.number != victim);
            preemption_candidates.push(victim);
        }
        let (requests, most) = (self.config.max_requests, self.config.max_bytes);
        while let Some(requests) =
            excess(&left, requests.unwrap_or(usize::MAX), most.unwrap_or(u64::MAX))
        {
            let full = if requests { Full::Requests } else { Full::Bytes };
            let lowest = left
                .iter()
                .map(|entry| entry.admission.priority)
                .min()
                .filter(|lowest| *lowest < priority);
            let victim = lowest.and_then(|lowest| self.farthest(&left, lowest));
            let (_, victim) =
                victim.filter(|_| preemption_candidates.len() < most_displaced).ok_or(full)?;
            left.retain(|entry| entry.number != victim);
            preemption_candidates.push(victim);
        }
        let kept = self.waiting.len() + self.undelivered.len();
        let kept_bytes = bytes(&self.waiting) + self.undelivered.iter().sum::<u64>();
        if preemption_candidates.is_empty() && kept >= requests.unwrap_or(usize::MAX) {
            return Err(Full::Requests);
        }
        if preemption_candidates.is_empty()
            && kept_bytes + newcomer.admission.bytes > most.unwrap_or(u64::MAX)
        {
            return Err(Full::Bytes);
        }
        Ok(preemption_candidates)
    }

    /// The newest request in `left` of the band's flow that is farthest ahead with them, and its
    /// lead.
    fn farthest(&self, left: &[Entry], priority: i32) -> Option<(f64, u64)> {
        let band = left.iter().filter(|entry| entry.admission.priority == priority);
        let entry = band.max_by(|one, other| {
            let leads = self.lead(left, one).total_cmp(&self.lead(left, other));
            leads.then((one.flow, one.number).cmp(&(other.flow, other.number)))
        })?;
        Some((self.lead(left, entry), entry.number))
    }

    /// The lead of an entry's flow after all its requests in `left`.
    fn lead(&self, left: &[Entry], entry: &Entry) -> f64 {
        let of = |other: &&Entry| other.is_of(entry.admission.priority, entry.flow);
        let waiting: f64 = left.iter().filter(of).map(|entry| entry.charge as f64).sum();
        if self.config.fairness.decays() {
            return waiting;
        }
        let Some(band) = self.bands.get(&entry.admission.priority) else { return waiting };
        let served = band.flows.get(&entry.flow).map_or(band.clock, |flow| flow.served);
        let active = self.waiting.iter().any(|other| of(&other));
        waiting + if active { served } else { served.max(band.clock) }
    }
}

impl Entry {
    fn is_of(&self, priority: i32, flow: u64) -> bool {
        (self.admission.priority, self.flow) == (priority, flow)
    }
}
