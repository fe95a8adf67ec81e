//! The load that this gateway has in flight on one endpoint, exact to the request and the
//! nanosecond.
//!
//! All sums are integers, so the load is exactly zero again once every request is released.

use alloc::collections::BTreeMap;
use core::time::Duration;

use crate::rising_map::RisingMap;
use crate::time::{Instant, Seconds};

/// This gateway's load on one endpoint.
#[derive(Clone, Debug, Default)]
pub(crate) struct InFlightLoad {
    /// Predicted prefill of requests before their first token, in the order of dispatch.
    pending: RisingMap<Duration>,
    /// The weights of answers whose first token is not reported. Their prefill ends by the clock,
    /// and then they are no longer in `pending`.
    unreported: BTreeMap<u64, AnswerWeight>,
    /// The sum of `pending`.
    booked: Duration,
    /// The first of `pending`.
    head: Duration,
    /// The earliest time at which the engine can have started on the head of `pending`.
    head_since: Instant,
    /// The time of the last dispatch.
    reserved_at: Instant,
    /// The time of the last first token.
    first_token_at: Option<Instant>,
    running: u32,
    /// The sum of the running answers' weights.
    running_weight: u64,
    prompt_tokens: u64,
    answer_tokens: u64,
    /// The endpoint counts as busy until then, because of requests that ended before their first
    /// token.
    busy_until: Instant,
}

/// Upper limit of the residue.
const LONGEST_RESIDUE: Duration = Duration::from_secs(10);
/// The share of the time since the head's turn that counts as done; its true progress is unknown.
const HEAD_CREDIT: f64 = 0.5;
/// Outweighs the rounding of a few operations.
const ROUNDED_DOWN: f64 = 1.0 - 1e-14;

/// How much a delay of one answer counts, in thousandths of an answer of the reference length.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct AnswerWeight(u32);

impl AnswerWeight {
    /// The weight of an answer of the reference length.
    pub(crate) const ONE: Self = Self(1_000);

    /// A weight of this many answers of the reference length.
    pub(crate) fn of(weight: f64) -> Self {
        Self((weight * f64::from(Self::ONE.0)) as u32)
    }
}

impl InFlightLoad {
    /// Records the dispatch of request number `order` with this predicted prefill. `unreported` is
    /// the answer's weight if its first token is not reported.
    pub(crate) fn reserve(
        &mut self,
        now: Instant,
        order: u64,
        work: Duration,
        tokens: u32,
        unreported: Option<AnswerWeight>,
    ) {
        if let Some(weight) = unreported {
            self.unreported.insert(order, weight);
        }
        if self.pending.len() == 0 {
            self.head_since = now;
        }
        self.reserved_at = now;
        self.pending.push(order, work);
        self.booked = self.booked.saturating_add(work);
        self.head = self.first();
        self.prompt_tokens += u64::from(tokens);
    }

    /// Ends the prefill of number `order`. If it was the head, the turn of the next one starts.
    pub(crate) fn finish_prefill(&mut self, now: Instant, order: u64) {
        let unreported = self.unreported.remove(&order);
        if let Some(weight) = unreported.filter(|_| self.pending.get(order).is_none()) {
            return self.finish_running(weight);
        }
        if self.first_pending() == Some(order) {
            self.head_since = now;
        }
        if let Some(work) = self.pending.remove(order) {
            self.booked = self.booked.saturating_sub(work);
            self.head = self.first();
        }
    }

    /// When the head's prefill ends by the clock, if its end is not reported: it takes as long as
    /// predicted.
    pub(crate) fn unreported_end(&self) -> Option<Instant> {
        if self.unreported.is_empty() {
            return None;
        }
        self.first_pending().filter(|order| self.unreported.contains_key(order))?;
        Some(self.head_since + self.head)
    }

    /// Ends the head's prefill at [`unreported_end`](Self::unreported_end): its answer runs.
    pub(crate) fn end_unreported(&mut self, at: Instant) {
        let Some(order) = self.first_pending() else { return };
        let work = self.pending.remove(order).unwrap_or_default();
        self.booked = self.booked.saturating_sub(work);
        self.head = self.first();
        self.first_token(at);
        if let Some(weight) = self.unreported.get(&order) {
            self.run(*weight);
        }
    }

    /// Records a first token. The engine cannot have started on its next request before it.
    pub(crate) fn first_token(&mut self, now: Instant) {
        self.head_since = now;
        self.first_token_at = Some(now);
    }

    /// An answer runs from now on, and counts with this weight.
    pub(crate) fn run(&mut self, weight: AnswerWeight) {
        self.running += 1;
        self.running_weight += u64::from(weight.0);
    }

    /// Records new tokens of an answer.
    pub(crate) fn grow(&mut self, tokens: u32) {
        self.answer_tokens += u64::from(tokens);
    }

    /// Ends a running request. It may have started on an endpoint that has left and whose id was
    /// given out again, so no total falls below zero here or in [`shrink`](Self::shrink).
    pub(crate) fn finish_running(&mut self, weight: AnswerWeight) {
        self.running = self.running.saturating_sub(1);
        self.running_weight = self.running_weight.saturating_sub(u64::from(weight.0));
    }

    /// Removes a prompt and its answer from the KV cache.
    pub(crate) fn shrink(&mut self, prompt: u64, answer: u64) {
        self.prompt_tokens = self.prompt_tokens.saturating_sub(prompt);
        self.answer_tokens = self.answer_tokens.saturating_sub(answer);
    }

    /// Adds the predicted prefill of a request that ended before its first token. An endpoint that
    /// refuses at once then counts as busy as if it had served, and attracts only its share.
    pub(crate) fn leave_residue(&mut self, now: Instant, work: Duration) {
        let until = self.busy_until.max(now) + work;
        self.busy_until = until.min(now + LONGEST_RESIDUE);
    }

    /// How long the endpoint still counts as busy because of requests that ended.
    pub(crate) fn residue(&self, now: Instant) -> Duration {
        self.busy_until.saturating_since(now)
    }

    /// Predicted prefill of a pending request.
    pub(crate) fn work_of(&self, order: u64) -> Duration {
        self.pending.get(order).copied().unwrap_or_default()
    }

    /// The wait of a new request for its turn: queued prefill, with at most half of the head's
    /// done.
    pub(crate) fn wait(&self, now: Instant) -> Seconds {
        self.wait_after(now.saturating_since(self.head_since).min(self.head))
    }

    /// The wait if the head progresses as predicted. Costs count less of its progress, since an
    /// engine that stalls must not look idle.
    pub(crate) fn expected_wait(&self, now: Instant) -> Seconds {
        let elapsed = now.saturating_since(self.head_since).min(self.head);
        Seconds::from(self.booked.saturating_sub(elapsed))
    }

    /// The lower bound of [`wait`](Self::wait) until the load changes.
    pub(crate) fn least_wait(&self) -> Seconds {
        self.wait_after(self.head)
    }

    /// A number of seconds that is at most [`wait`](Self::wait) plus [`progress`](Self::progress),
    /// until the load changes: the wait while the head is at work, without an end of its progress.
    /// `others` is booked by others.
    pub(crate) fn falling_wait(&self, others: Duration) -> f64 {
        if self.booked.is_zero() {
            return f64::NEG_INFINITY;
        }
        let booked = Seconds::from(self.booked) + Seconds::from(others);
        (booked.get() + Self::progress(self.head_since)) * ROUNDED_DOWN
    }

    /// The progress of a head that is at work since the origin, in seconds of wait.
    pub(crate) fn progress(now: Instant) -> f64 {
        Seconds::from(now.saturating_since(Instant::ORIGIN)).get() * HEAD_CREDIT
    }

    /// The time from which a new request waits at most `limit`, if no report arrives before. It is
    /// the earlier of two times: enough of the head counts as done, or its first token is overdue.
    /// Where first tokens are not reported, the latter paces dispatch. What `peers` have booked may
    /// be at work before the head.
    pub(crate) fn falls_to(&self, hold: Duration, peers: Duration, now: Instant) -> Instant {
        let hold = hold.saturating_sub(peers);
        // No wait is longer than what is booked.
        if self.booked <= hold {
            return now;
        }
        let wait = self.wait(now);
        if self.pending.len() == 0 || wait <= Seconds::from(hold) {
            return now;
        }
        let turn = self.head.saturating_add(peers).saturating_mul(2);
        let overdue = self.head_since.max(self.reserved_at) + turn + hold;
        let missing = (wait - Seconds::from(hold)) * (1.0 / HEAD_CREDIT);
        let left = self.head.saturating_sub(now.saturating_since(self.head_since));
        if missing <= Seconds::from(left) {
            overdue.min(now + missing.to_duration())
        } else {
            overdue
        }
    }

    /// The time from which the wait no longer falls, if no report arrives before.
    pub(crate) fn runs_down_at(&self) -> Instant {
        self.head_since + self.head
    }

    /// The wait if the head's turn started `elapsed` ago.
    fn wait_after(&self, elapsed: Duration) -> Seconds {
        if self.booked.is_zero() {
            return Seconds::ZERO;
        }
        Seconds::from(self.booked) - Seconds::from(elapsed) * HEAD_CREDIT
    }

    /// Number of requests before their first token.
    pub(crate) fn pending(&self) -> u32 {
        u32::try_from(self.pending.len()).unwrap_or(u32::MAX)
    }

    /// Number of requests past their first token.
    pub(crate) const fn running(&self) -> u32 {
        self.running
    }

    /// The running answers, each with its weight.
    pub(crate) fn weighted_running(&self) -> f64 {
        self.running_weight as f64 / f64::from(AnswerWeight::ONE.0)
    }

    /// Number of all requests.
    pub(crate) fn requests(&self) -> u32 {
        self.pending().saturating_add(self.running)
    }

    /// Predicted prefill of the pending requests.
    pub(crate) const fn booked(&self) -> Duration {
        self.booked
    }

    /// Tokens of prompts in flight, and of their answers as far as reported.
    pub(crate) const fn kv_tokens(&self) -> u64 {
        self.prompt_tokens + self.answer_tokens
    }

    /// As [`kv_tokens`](Self::kv_tokens), with unreported answers at the expected length.
    pub(crate) fn expected_kv_tokens(&self, expected_output_tokens: f64) -> u64 {
        let expected = (f64::from(self.running) * expected_output_tokens) as u64;
        self.prompt_tokens.saturating_add(self.answer_tokens.max(expected))
    }

    /// The time of the last first token.
    pub(crate) const fn first_token_at(&self) -> Option<Instant> {
        self.first_token_at
    }

    fn first_pending(&self) -> Option<u64> {
        self.pending.first().map(|(order, _)| order)
    }

    fn first(&self) -> Duration {
        self.pending.first().map(|(_, work)| *work).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_counts_as_half_done_at_most() {
        let at = |ms| Instant::ORIGIN + Duration::from_millis(ms);
        let mut in_flight = InFlightLoad::default();
        assert_eq!(in_flight.wait(at(0)), Seconds::ZERO);
        in_flight.reserve(at(0), 1, Duration::from_secs(2), 100, None);
        in_flight.reserve(at(0), 2, Duration::from_secs(1), 100, None);
        assert_eq!(in_flight.wait(at(0)), Seconds::new(3.0));
        assert_eq!(in_flight.wait(at(1_000)), Seconds::new(2.5));
        assert_eq!(in_flight.wait(at(60_000)), Seconds::new(2.0));
        assert_eq!(in_flight.expected_wait(at(1_000)), Seconds::new(2.0));
        assert_eq!(in_flight.expected_wait(at(60_000)), Seconds::new(1.0));
        in_flight.finish_prefill(at(60_000), 1);
        in_flight.first_token(at(60_000));
        in_flight.run(AnswerWeight::ONE);
        assert_eq!(in_flight.wait(at(60_000)), Seconds::new(1.0));
        in_flight.reserve(at(60_000), 3, Duration::from_secs(4), 100, None);
        in_flight.finish_prefill(at(61_000), 2);
        assert_eq!(in_flight.wait(at(61_000)), Seconds::new(4.0), "the new head has only begun");
    }

    #[test]
    fn a_release_without_its_reservation_leaves_no_total_below_zero() {
        let mut in_flight = InFlightLoad::default();
        in_flight.reserve(Instant::ORIGIN, 1, Duration::from_secs(1), 100, None);
        in_flight.finish_running(AnswerWeight::ONE);
        in_flight.shrink(101, u64::MAX);
        in_flight.finish_prefill(Instant::ORIGIN, 2);
        assert_eq!((in_flight.pending(), in_flight.running(), in_flight.kv_tokens()), (1, 0, 0));
    }
}
