//! How much was used in the latest span of time.
//!
//! Time is divided into steps of a sixtieth of the window. An amount counts from its booking until
//! its whole step has left the window, so it counts for the window's length and at most one step
//! more. The error is on one side: no window of the configured length ever has more than the limit.

use alloc::collections::VecDeque;
use core::time::Duration;

use slotwise::Instant;

/// A sliding window. It holds at most [`STEPS`](Self::STEPS) + 1 numbers of steps with their
/// amounts, and allocates only for steps with an amount.
#[derive(Clone, Debug)]
pub(super) struct SlidingWindow {
    /// The length of a step in microseconds.
    step: u64,
    /// Steps with what was used in them, oldest first.
    amounts: VecDeque<(u64, u64)>,
    used: u64,
}

impl SlidingWindow {
    /// The steps of a window.
    pub(super) const STEPS: u64 = 60;

    pub(super) fn new(length: Duration) -> Self {
        let micros = u64::try_from(length.as_micros()).unwrap_or(u64::MAX);
        Self { step: micros.div_ceil(Self::STEPS).max(1), amounts: VecDeque::new(), used: 0 }
    }

    /// A window of as many steps of this length.
    pub(super) const fn of_step(micros: u64) -> Self {
        Self { step: if micros == 0 { 1 } else { micros }, amounts: VecDeque::new(), used: 0 }
    }

    /// Forgets what has left the window. Computes in amortized **O(1)**.
    pub(super) fn advance(&mut self, now: Instant) {
        while let Some(&(step, amount)) = self.amounts.front() {
            if self.end_of(step) > now {
                break;
            }
            self.amounts.pop_front();
            self.used = self.used.saturating_sub(amount);
        }
    }

    /// Counts an amount from now on.
    pub(super) fn add(&mut self, now: Instant, amount: u64) {
        self.advance(now);
        // Amounts that are added to a full counter are not counted, so the sum stays exact.
        let amount = amount.min(u64::MAX - self.used);
        let step = self.step_of(now);
        match self.amounts.back_mut() {
            _ if amount == 0 => return,
            // Time does not go backwards; an older time counts as the latest.
            Some((last, sum)) if *last >= step => *sum += amount,
            _ => self.amounts.push_back((step, amount)),
        }
        self.used += amount;
    }

    /// Counts an amount in an earlier step, unless the step has left the window. Computes in
    /// **O(steps)**.
    pub(super) fn count_in(&mut self, now: Instant, step: u64, amount: u64) {
        self.advance(now);
        let step = step.min(self.step_of(now));
        let amount = amount.min(u64::MAX - self.used);
        if amount == 0 || self.end_of(step) <= now {
            return;
        }
        match self.amounts.binary_search_by_key(&step, |(step, _)| *step) {
            Ok(at) => self.amounts[at].1 += amount,
            Err(at) => self.amounts.insert(at, (step, amount)),
        }
        self.used += amount;
    }

    /// Takes back an amount of a step. Its number may differ by one from where it was counted.
    pub(super) fn refund_near(&mut self, step: u64, mut amount: u64) {
        for near in [step, step.saturating_sub(1), step.saturating_add(1)] {
            if amount > 0 {
                let before = self.used;
                self.refund_in(near, amount);
                amount -= before - self.used;
            }
        }
    }

    /// Takes back what was counted at this time, unless it has left the window.
    pub(super) fn refund(&mut self, counted_at: Instant, amount: u64) {
        self.refund_in(self.step_of(counted_at), amount);
    }

    fn refund_in(&mut self, step: u64, amount: u64) {
        let Ok(at) = self.amounts.binary_search_by_key(&step, |(step, _)| *step) else { return };
        let Some((_, sum)) = self.amounts.get_mut(at) else { return };
        let amount = amount.min(*sum);
        *sum -= amount;
        self.used -= amount;
        if *sum == 0 {
            _ = self.amounts.remove(at);
        }
    }

    /// What counts now. Computes in **O(steps that have left since the latest booking)**.
    pub(super) fn used(&self, now: Instant) -> u64 {
        let left = self.amounts.iter().take_while(|(step, _)| self.end_of(*step) <= now);
        left.fold(self.used, |used, (_, amount)| used.saturating_sub(*amount))
    }

    /// The earliest time at which the amount fits below the limit, with the usage of peers in
    /// steps of the same length, if nothing else is counted. `None` if it exceeds the limit alone.
    /// Computes in **O(steps)**.
    pub(super) fn fits_at(
        &self,
        peers: Option<&Self>,
        now: Instant,
        amount: u64,
        limit: u64,
    ) -> Option<Instant> {
        let most = limit.checked_sub(amount)?;
        let mut left = self.used.saturating_add(peers.map_or(0, |peers| peers.used));
        let mut at = now;
        let mut own = self.amounts.iter().peekable();
        let mut others = peers.into_iter().flat_map(|peers| &peers.amounts).peekable();
        loop {
            let first = match (own.peek(), others.peek()) {
                (Some(own_step), Some(step)) if step.0 < own_step.0 => others.next(),
                (Some(_), _) => own.next(),
                (None, _) => others.next(),
            };
            let Some(&(step, amount)) = first else { break };
            let end = self.end_of(step);
            if left <= most && end > now {
                break;
            }
            left = left.saturating_sub(amount);
            at = end.max(now);
        }
        Some(at)
    }

    /// The time at which nothing counts any more; `now` if nothing does.
    pub(super) fn empty_at(&self, now: Instant) -> Instant {
        self.amounts.back().map_or(now, |&(step, _)| self.end_of(step).max(now))
    }

    /// The length of a step in microseconds.
    pub(super) const fn step_micros(&self) -> u64 {
        self.step
    }

    /// The number of the step at this time.
    pub(super) const fn step_of(&self, at: Instant) -> u64 {
        at.as_micros() / self.step
    }

    /// When the step has left the window.
    const fn end_of(&self, step: u64) -> Instant {
        Instant::from_micros(step.saturating_add(Self::STEPS + 1).saturating_mul(self.step))
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    /// The naive twin: a list of all amounts.
    #[derive(Debug, Default)]
    struct Events(Vec<(u64, u64)>);

    impl Events {
        /// What was counted in the span before `now`.
        fn used(&self, now: u64, span: u64) -> u64 {
            let counted = self.0.iter().filter(|(at, _)| now - at < span);
            counted.map(|(_, amount)| amount).sum()
        }

        /// The same as steps count it.
        fn used_in_steps(&self, now: u64, step: u64) -> u64 {
            let counted = self.0.iter().filter(|(at, _)| now < (at / step + 61) * step);
            counted.map(|(_, amount)| amount).sum()
        }
    }

    const LENGTH: u64 = 600;
    const STEP: u64 = 10;

    fn at(micros: u64) -> Instant {
        Instant::from_micros(micros)
    }

    proptest! {
        #[test]
        fn it_counts_as_a_list_of_events_does(
            inputs in prop::collection::vec((0_u64..120, 0_u64..50, any::<bool>()), 1..200),
        ) {
            let mut window = SlidingWindow::new(Duration::from_micros(LENGTH));
            let (mut events, mut now) = (Events::default(), 0);
            for (pause, amount, refunds) in inputs {
                now += pause;
                let last = events.0.iter().rposition(|(time, _)| now < (time / STEP + 61) * STEP);
                match last {
                    Some(last) if refunds => {
                        let back = amount.min(events.0[last].1);
                        window.refund(at(events.0[last].0), back);
                        events.0[last].1 -= back;
                    }
                    _ => {
                        window.add(at(now), amount);
                        events.0.push((now, amount));
                    }
                }
                prop_assert_eq!(window.used(at(now)), events.used_in_steps(now, STEP));
                // The stated error: everything counts for the window, nothing for a step more.
                prop_assert!(window.used(at(now)) >= events.used(now, LENGTH));
                prop_assert!(window.used(at(now)) <= events.used(now, LENGTH + STEP));
                prop_assert!(window.amounts.len() <= 61);
            }
        }

        #[test]
        fn the_time_to_fit_is_the_earliest(
            inputs in prop::collection::vec((0_u64..120, 1_u64..50), 1..60),
            amount in 0_u64..120,
        ) {
            let mut window = SlidingWindow::new(Duration::from_micros(LENGTH));
            let mut now = 0;
            for (pause, amount) in inputs {
                now += pause;
                window.add(at(now), amount);
            }
            let fits = |moment: Instant| window.used(moment) + amount <= 100;
            match window.fits_at(None, at(now), amount, 100) {
                None => prop_assert!(amount > 100),
                Some(earliest) => {
                    prop_assert!(fits(earliest));
                    let before = at(earliest.as_micros().saturating_sub(1));
                    prop_assert!(earliest == at(now) || !fits(before));
                }
            }
            prop_assert_eq!(window.used(window.empty_at(at(now))), 0);
        }
    }

    #[test]
    fn no_number_overflows() {
        let mut window = SlidingWindow::new(Duration::MAX);
        window.add(at(u64::MAX), u64::MAX);
        window.add(at(u64::MAX), u64::MAX);
        window.add(at(0), 1);
        assert_eq!(window.used(at(0)), u64::MAX);
        assert_eq!(window.fits_at(None, at(u64::MAX), 1, 0), None);
        window.refund(at(u64::MAX), u64::MAX);
        assert_eq!(window.used(at(0)), 0);
    }
}
