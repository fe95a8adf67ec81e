//! A window of active sessions over the whole fleet, by additive increase and multiplicative
//! decrease, after CONCUR (arXiv 2601.22705).
//!
//! ```text
//! every 5 s    if hit ratio < 0.8 and KV usage > 0.2:  window · 0.8    else:  window + 1
//! begins       while active sessions < window
//! hit ratio    cached over all prompt tokens of what was answered in these 5 s
//! KV usage     the mean of what replicas report
//! ```
//!
//! The paper has a batch of agents and observes the end of each. Where a gateway lacks that
//! information, or the paper is silent, the choice here favors the policy. A session is active
//! until 60 s after its last answer, the longest idle time of our workloads. The window begins with
//! 8 sessions for each replica, and grows whether or not it is full, as the rule has it. Other
//! choices, such as growing only when full, were tried on the coding agents; none was better at all
//! rates. When the window shrinks below the number of active sessions, these stay active: a
//! returning session never waits.

use std::time::Duration;

use ::slotwise::Instant;

use super::new_sessions::{Admission, NewSessions};
use super::sessions::Sessions;
use super::{Finished, Fleet, Policy};

const PERIOD: Duration = Duration::from_secs(5);
const HIT_RATIO_LOW: f64 = 0.8;
const USAGE_LOW: f64 = 0.2;
const DECREASE: f64 = 0.8;
const INCREASE: f64 = 1.0;
const FIRST_PER_REPLICA: f64 = 8.0;

/// The window, and the measurements that move it.
pub(super) struct Concur {
    window: f64,
    /// What each replica reported last.
    usage: Vec<f64>,
    /// Tokens of the prompts that were answered since the last step, and those of them that were
    /// cached.
    prompt: u64,
    cached: u64,
    /// The last hit ratio, for a period without answers.
    hit_ratio: f64,
    due: Instant,
}

impl Concur {
    pub(super) fn build(fleet: &Fleet) -> Box<dyn Policy> {
        Box::new(NewSessions::new(Self::new(fleet.replicas), fleet))
    }

    fn new(replicas: usize) -> Self {
        Self {
            window: FIRST_PER_REPLICA * replicas as f64,
            usage: vec![0.0; replicas],
            prompt: 0,
            cached: 0,
            hit_ratio: 1.0,
            due: Instant::ORIGIN + PERIOD,
        }
    }

    fn step(&mut self) {
        if self.prompt > 0 {
            self.hit_ratio = self.cached as f64 / self.prompt as f64;
        }
        (self.prompt, self.cached) = (0, 0);
        let usage = self.usage.iter().sum::<f64>() / self.usage.len() as f64;
        self.window = if self.hit_ratio < HIT_RATIO_LOW && usage > USAGE_LOW {
            // A window below 1 would admit no session again.
            (self.window * DECREASE).max(1.0)
        } else {
            self.window + INCREASE
        };
    }
}

impl Admission for Concur {
    fn admits(&mut self, now: Instant, sessions: &Sessions) -> bool {
        sessions.active(now).count() as f64 + 1.0 <= self.window
    }

    fn complete(&mut self, usage: Finished) {
        self.prompt += u64::from(usage.prompt);
        self.cached += u64::from(usage.cached);
    }

    fn report(&mut self, now: Instant, replica: usize, kv_usage: f64, _: &Sessions) {
        self.usage[replica] = kv_usage;
        if now >= self.due {
            self.due = now + PERIOD;
            self.step();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::new_sessions::tests::{at, request};
    use super::*;

    /// The window after one period from 10 with this share of a prompt cached and this KV usage on
    /// both replicas.
    fn after(cached: u32, usage: f64) -> f64 {
        let mut concur = Concur { window: 10.0, ..Concur::new(2) };
        let sessions = Sessions::default();
        concur.complete(Finished { prompt: 100, cached, completion: 1 });
        concur.report(at(4.9), 0, usage, &sessions);
        concur.report(at(4.9), 1, usage, &sessions);
        assert!((concur.window - 10.0).abs() < 1e-12, "before the period is over");
        concur.report(at(5.0), 0, usage, &sessions);
        concur.report(at(5.0), 1, usage, &sessions);
        concur.window
    }

    #[test]
    fn only_misses_under_pressure_make_it_smaller() {
        for (cached, usage, window) in
            [(79, 0.3, 8.0), (80, 0.3, 11.0), (79, 0.2, 11.0), (99, 0.9, 11.0)]
        {
            let found = after(cached, usage);
            assert!((found - window).abs() < 1e-9, "{found} for {cached} % and {usage}");
        }
    }

    #[test]
    fn the_hit_ratio_is_of_this_period() {
        let (mut concur, sessions) =
            (Concur { window: 10.0, ..Concur::new(1) }, Sessions::default());
        let mut period = |seconds, cached| {
            concur.complete(Finished { prompt: 100, cached, completion: 1 });
            concur.report(at(seconds), 0, 0.5, &sessions);
            concur.window
        };
        assert!((period(5.0, 0) - 8.0).abs() < 1e-9);
        assert!((period(10.0, 90) - 9.0).abs() < 1e-9);
        assert!((period(15.0, 10) - 7.2).abs() < 1e-9);
    }

    #[test]
    fn it_never_closes_for_good() {
        let mut concur = Concur { window: 1.1, hit_ratio: 0.0, usage: vec![0.9], ..Concur::new(1) };
        (0..9).for_each(|_| concur.step());
        assert!((concur.window - 1.0).abs() < 1e-12);
        assert!(concur.admits(at(0.0), &Sessions::default()));
    }

    #[test]
    fn a_session_counts_until_it_cannot_return() {
        let mut concur = Concur { window: 1.0, ..Concur::new(1) };
        let mut sessions = Sessions::default();
        sessions.begin(at(0.0), &request(1, "a"), 0);
        assert!(!concur.admits(at(100.0), &sessions), "it runs");
        sessions.end(at(100.0), 1, Finished { prompt: 100, cached: 0, completion: 1 });
        assert!(!concur.admits(at(160.0), &sessions), "it may return");
        assert!(concur.admits(at(160.1), &sessions), "it is over");
    }
}
