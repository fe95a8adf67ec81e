//! The reference's flow control in front of its default scorer.
//!
//! One loop does all the work. An arrival or a tick of 1 ms is a *cycle*, and a cycle dispatches
//! one request at most. Bands go strictly by priority, and a gated band stops those below it. One
//! usage limit serves all bands, so all are gated together. By default fairness ids do not count
//! (`global-strict`): a band is one queue, first come, first served. The gate is the mean over
//! replicas of max(waiting / 5, KV usage / 0.8) from scraped metrics; stale metrics count as full.
//! A sweep once a second removes requests whose TTL has expired.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ::slotwise::Instant;

use super::gie::{Index, Weighted};
use super::held::Held;
use super::{Finished, Fleet, Incoming, Needs, Policy, Refusal, Report, Verdict};

const TICK_US: u64 = 1_000;
const SWEEP_US: u64 = 1_000_000;
const BAND_REQUESTS: usize = 5_000;
const QUEUE_DEPTH_THRESHOLD: f64 = 5.0;
const KV_UTIL_THRESHOLD: f64 = 0.8;
const STALE: Duration = Duration::from_millis(200);

/// The loop, and the scorer behind it.
pub(super) struct Flow {
    scorer: Weighted,
    bands: BTreeMap<Reverse<i32>, VecDeque<Held>>,
    ttl: Duration,
    /// Each replica's saturation, and when it was reported.
    saturation: Vec<(f64, Instant)>,
    in_flight: u32,
    /// Since when the fleet has been busy. An idle fleet is not scraped here, and its last metrics
    /// stay valid.
    busy_since: Instant,
    /// Dispatches that the cycles up to now still allow.
    cycles: u32,
    ticked: Instant,
    swept: Instant,
    /// The requests that the last sweep removed.
    expired: VecDeque<u32>,
}

impl Flow {
    pub(super) fn new(fleet: &Fleet) -> Self {
        Self {
            scorer: Weighted::new(fleet, Index::Reference),
            bands: BTreeMap::new(),
            ttl: fleet.ttl,
            saturation: vec![(0.0, Instant::ORIGIN); fleet.replicas],
            in_flight: 0,
            busy_since: Instant::ORIGIN,
            cycles: 0,
            ticked: Instant::ORIGIN,
            swept: Instant::ORIGIN,
            expired: VecDeque::new(),
        }
    }

    fn is_gated(&self, now: Instant) -> bool {
        let of = |(saturation, at): &(f64, Instant)| {
            let age = now.saturating_since(self.busy_since.max(*at));
            if self.in_flight > 0 && age > STALE { 1.0 } else { *saturation }
        };
        self.saturation.iter().map(of).sum::<f64>() >= self.saturation.len() as f64
    }

    /// One cycle's dispatch, if the gate is open.
    fn cycle(&mut self, now: Instant) -> Option<(u32, Verdict)> {
        if self.is_gated(now) {
            return None;
        }
        let held = self.bands.values_mut().find_map(VecDeque::pop_front)?;
        let picked = self.scorer.pick(now, &held.asked());
        if self.in_flight == 0 {
            self.busy_since = now;
        }
        self.in_flight += u32::from(picked.is_some());
        Some((held.id, picked.map_or(Verdict::Refused(Refusal::Unplaced), Verdict::Goes)))
    }

    fn sweep(&mut self, now: Instant) {
        for queue in self.bands.values_mut() {
            while let Some(held) = queue.front().filter(|held| held.since + self.ttl <= now) {
                self.expired.push_back(held.id);
                queue.pop_front();
            }
        }
    }
}

impl Policy for Flow {
    fn pick(&mut self, now: Instant, request: &Incoming<'_>) -> Option<usize> {
        self.scorer.pick(now, request)
    }

    fn submit(&mut self, now: Instant, request: &Incoming<'_>) -> Option<Verdict> {
        let band = self.bands.entry(Reverse(request.priority)).or_default();
        if band.len() >= BAND_REQUESTS {
            return Some(Verdict::Refused(Refusal::Full));
        }
        band.push_back(Held::new(now, request));
        self.cycles += 1;
        None
    }

    fn poll(&mut self, now: Instant) -> Option<(u32, Verdict)> {
        let micros = now.as_micros();
        if micros.is_multiple_of(SWEEP_US) && self.swept < now {
            self.swept = now;
            self.sweep(now);
        }
        if micros.is_multiple_of(TICK_US) && self.ticked < now {
            self.ticked = now;
            self.cycles += 1;
        }
        if let Some(id) = self.expired.pop_front() {
            return Some((id, Verdict::Refused(Refusal::Expired)));
        }
        while self.cycles > 0 {
            self.cycles -= 1;
            if let Some(verdict) = self.cycle(now) {
                return Some(verdict);
            }
        }
        self.ticked = now;
        None
    }

    /// The next tick or sweep that can change anything: while the gate is closed, only a report
    /// opens it.
    fn next_timeout(&self) -> Option<Instant> {
        let after =
            |at: Instant, period: u64| Instant::from_micros((at.as_micros() / period + 1) * period);
        let oldest =
            self.bands.values().filter_map(VecDeque::front).map(|held| held.since).min()?;
        let due = (oldest + self.ttl).as_micros().div_ceil(SWEEP_US) * SWEEP_US;
        let sweep = Instant::from_micros(due).max(after(self.swept, SWEEP_US));
        let tick = (!self.is_gated(self.ticked)).then(|| after(self.ticked, TICK_US));
        tick.into_iter().chain([sweep]).min()
    }

    fn first_token(&mut self, now: Instant, id: u32) {
        self.scorer.first_token(now, id);
    }

    fn complete(&mut self, now: Instant, id: u32, usage: Finished) {
        self.in_flight -= 1;
        self.scorer.complete(now, id, usage);
    }

    fn report(&mut self, now: Instant, replica: usize, report: &Report) {
        let snapshot = &report.snapshot;
        let queue = f64::from(snapshot.waiting) / QUEUE_DEPTH_THRESHOLD;
        self.saturation[replica] =
            (queue.max(snapshot.kv_usage / KV_UTIL_THRESHOLD), report.sampled_at);
        self.scorer.report(now, replica, report);
    }

    fn needs(&self) -> Needs {
        self.scorer.needs()
    }
}
