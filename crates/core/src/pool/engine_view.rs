//! What an engine's metrics would show now: its last report, and what was dispatched since.
//!
//! The plugins of the Endpoint Picker read metrics. Metrics are stale by a scrape interval, so a
//! burst of requests would see the same values and choose the same endpoint. The view therefore
//! adds the requests that were dispatched after the sample and have not ended.

use alloc::collections::VecDeque;

use crate::load::Load;
use crate::time::Instant;

/// The last report of an engine, and what was dispatched since.
#[derive(Clone, Debug, Default)]
pub(crate) struct EngineView {
    waiting: u32,
    running: u32,
    kv_usage: f64,
    sampled_at: Option<Instant>,
    /// Requests that were dispatched after the sample and have not ended, in the order of dispatch.
    recent: VecDeque<Recent>,
    /// Of these, the requests past their first token.
    recent_started: u32,
    /// Tokens that these compute.
    recent_tokens: u64,
    /// Tokens of all requests in flight before their first token, as far as not cached.
    in_flight_tokens: u64,
}

/// A request that the last report cannot show.
#[derive(Clone, Copy, Debug)]
struct Recent {
    order: u64,
    at: Instant,
    uncached_tokens: u32,
    started: bool,
}

impl EngineView {
    /// Records the dispatch of request number `order`.
    pub(crate) fn dispatched(&mut self, now: Instant, order: u64, uncached_tokens: u32) {
        self.recent.push_back(Recent { order, at: now, uncached_tokens, started: false });
        let tokens = u64::from(uncached_tokens);
        self.recent_tokens = self.recent_tokens.saturating_add(tokens);
        self.in_flight_tokens = self.in_flight_tokens.saturating_add(tokens);
    }

    /// Records the first token of request number `order`, which computed these tokens. A second
    /// call for the same request counts its tokens twice, but no total falls below zero.
    pub(crate) fn started(&mut self, order: u64, uncached_tokens: u32) {
        self.in_flight_tokens = self.in_flight_tokens.saturating_sub(u64::from(uncached_tokens));
        if let Ok(at) = self.recent.binary_search_by_key(&order, |recent| recent.order) {
            let before = core::mem::replace(&mut self.recent[at].started, true);
            self.recent_started += u32::from(!before);
        }
    }

    /// Records the end of request number `order`, of which these tokens were not computed yet.
    pub(crate) fn ended(&mut self, order: u64, waiting_tokens: u32) {
        self.in_flight_tokens = self.in_flight_tokens.saturating_sub(u64::from(waiting_tokens));
        if let Ok(at) = self.recent.binary_search_by_key(&order, |recent| recent.order) {
            if let Some(recent) = self.recent.remove(at) {
                self.forget(recent);
            }
        }
    }

    /// Records a report. Values that it omits stay; a report older than the last one is ignored.
    pub(crate) fn report(&mut self, now: Instant, load: &Load) {
        let sampled_at = load.sampled_at.map_or(now, |at| at.min(now));
        let empty = load.waiting.is_none() && load.running.is_none() && load.kv_usage.is_none();
        if empty || self.sampled_at.is_some_and(|last| sampled_at < last) {
            return;
        }
        self.waiting = load.waiting.unwrap_or(self.waiting);
        self.running = load.running.unwrap_or(self.running);
        self.kv_usage = load.kv_usage.filter(|usage| !usage.is_nan()).unwrap_or(self.kv_usage);
        self.sampled_at = Some(sampled_at);
        while let Some(recent) = self.recent.front().copied().filter(|it| it.at <= sampled_at) {
            self.recent.pop_front();
            self.forget(recent);
        }
    }

    /// Requests that wait in the engine.
    pub(crate) fn waiting(&self) -> u64 {
        let not_started = (self.recent.len() as u64).saturating_sub(self.recent_started.into());
        u64::from(self.waiting) + not_started
    }

    /// Requests that run in the engine.
    pub(crate) fn running(&self) -> u64 {
        u64::from(self.running) + u64::from(self.recent_started)
    }

    /// The used share of a KV cache of `capacity` tokens.
    pub(crate) fn kv_usage(&self, capacity: u32) -> f64 {
        self.kv_usage + self.recent_tokens as f64 / f64::from(capacity)
    }

    /// Tokens of all requests in flight before their first token, as far as not cached.
    pub(crate) const fn in_flight_tokens(&self) -> u64 {
        self.in_flight_tokens
    }

    /// When the last report was sampled.
    pub(crate) const fn sampled_at(&self) -> Option<Instant> {
        self.sampled_at
    }

    fn forget(&mut self, recent: Recent) {
        self.recent_started = self.recent_started.saturating_sub(recent.started.into());
        self.recent_tokens = self.recent_tokens.saturating_sub(recent.uncached_tokens.into());
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    #[test]
    fn a_report_replaces_what_was_dispatched_before_its_sample() {
        let at = |ms| Instant::ORIGIN + Duration::from_millis(ms);
        let mut view = EngineView::default();
        (1..=3).for_each(|order| view.dispatched(at(10 * order), order, 100));
        view.started(1, 100);
        assert_eq!((view.waiting(), view.running(), view.in_flight_tokens()), (2, 1, 200));
        assert!((view.kv_usage(1_000) - 0.3).abs() < 1e-9);

        let load = Load::default().waiting(5).running(1).kv_usage(0.2);
        view.report(at(40), &load.sampled_at(at(20)));
        assert_eq!((view.waiting(), view.running(), view.in_flight_tokens()), (6, 1, 200));
        assert!((view.kv_usage(1_000) - 0.3).abs() < 1e-9);
        view.report(at(41), &Load::default().waiting(9).sampled_at(at(19)));
        view.report(at(42), &Load::default());
        assert_eq!(view.waiting(), 6, "older and empty reports are ignored");

        view.ended(3, 100);
        view.ended(1, 0);
        view.started(2, 100);
        assert_eq!((view.waiting(), view.running(), view.in_flight_tokens()), (5, 1, 0));
    }

    #[test]
    fn calls_in_a_wrong_order_leave_no_total_below_zero() {
        let mut view = EngineView::default();
        view.dispatched(Instant::ORIGIN, 1, 100);
        view.started(1, 100);
        view.started(1, 100);
        assert_eq!((view.waiting(), view.running(), view.in_flight_tokens()), (0, 1, 0));
        view.ended(1, 100);
        view.ended(1, 100);
        view.started(7, u32::MAX);
        assert_eq!((view.waiting(), view.running(), view.in_flight_tokens()), (0, 0, 0));
        view.dispatched(Instant::ORIGIN, 8, u32::MAX);
        assert_eq!((view.waiting(), view.in_flight_tokens()), (1, u64::from(u32::MAX)));
    }
}
