//! Replicas that close for new sessions when their KV memory is full, after NVIDIA Dynamo's
//! session-aware admission.
//!
//! ```text
//! usage_i  = max(reported KV usage, Σ prompts in flight / capacity)
//!            + Σ contexts of idle sessions · weight / capacity
//! closes   when usage_i > 0.95        opens   when usage_i < 0.80
//! ```
//!
//! A new session goes to the open replica of least cost by our cost model. It waits while all are
//! closed. The weight of an idle session makes two policies of it:
//!
//! - [`Idle::Decays`]: e^(-idle / 1 s). A context loses its weight within seconds, although its
//!   cache should stay protected.
//! - [`Idle::Counts`]: 1 for 60 s, as long as any session is idle in our workloads. A real gateway
//!   has no such bound.
//!
//! The original has both. In its ordinary account, idle sessions weigh 1 by default for half an
//! hour. They decay only to find a place for a session that has waited for half an hour. The
//! original also *pauses* the smallest idle sessions of a full replica every 5 s, down to 80 %, and
//! requests of a paused session wait. That suits batches of agents. Here, three things differ:
//! requests of sessions that have begun always pass; replicas open and close at once; and prompts
//! in flight count before metrics show them, so that queued sessions do not start all at once.

use std::time::Duration;

use ::slotwise::Instant;

use super::new_sessions::{Admission, NewSessions};
use super::sessions::Sessions;
use super::{Fleet, Policy};

/// The weight of an idle session's context.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Idle {
    /// It decays over time.
    Decays,
    /// The same as a context in flight.
    Counts,
}

const PAUSE: f64 = 0.95;
const RESUME: f64 = 0.80;
const DECAY_S: f64 = 1.0;

/// The replicas that are open for new sessions.
pub(super) struct DynamoSessions {
    idle: Idle,
    /// Tokens in a replica's KV memory.
    capacity: f64,
    replicas: Vec<Replica>,
}

#[derive(Clone, Copy, Debug)]
struct Replica {
    reported: f64,
    is_open: bool,
}

impl DynamoSessions {
    pub(super) fn build(idle: Idle, fleet: &Fleet) -> Box<dyn Policy> {
        Box::new(NewSessions::new(Self::new(idle, fleet), fleet))
    }

    fn new(idle: Idle, fleet: &Fleet) -> Self {
        let replica = Replica { reported: 0.0, is_open: true };
        Self {
            idle,
            capacity: f64::from(fleet.class.kv_tokens),
            replicas: vec![replica; fleet.replicas],
        }
    }

    fn update(&mut self, now: Instant, sessions: &Sessions) {
        let usages = self.usages(now, sessions);
        for (replica, usage) in self.replicas.iter_mut().zip(usages) {
            // Between the two limits, the state is unchanged.
            replica.is_open = usage < RESUME || replica.is_open && usage <= PAUSE;
        }
    }

    fn usages(&self, now: Instant, sessions: &Sessions) -> Vec<f64> {
        let mut shares = vec![(0.0, 0.0); self.replicas.len()];
        for session in sessions.active(now) {
            let (running, idle) = &mut shares[session.replica];
            let share = f64::from(session.context) / self.capacity;
            if session.is_running() {
                *running += share;
            } else {
                *idle += share * self.weight(session.idle(now));
            }
        }
        let usage = |(replica, (running, idle)): (&Replica, (f64, f64))| {
            replica.reported.max(running) + idle
        };
        self.replicas.iter().zip(shares).map(usage).collect()
    }

    fn weight(&self, idle: Duration) -> f64 {
        match self.idle {
            Idle::Decays => (-idle.as_secs_f64() / DECAY_S).exp(),
            Idle::Counts => 1.0,
        }
    }
}

impl Admission for DynamoSessions {
    fn admits(&mut self, now: Instant, sessions: &Sessions) -> bool {
        self.update(now, sessions);
        self.replicas.iter().any(|replica| replica.is_open)
    }

    fn is_open(&self, replica: usize) -> bool {
        self.replicas[replica].is_open
    }

    fn report(&mut self, now: Instant, replica: usize, kv_usage: f64, sessions: &Sessions) {
        self.replicas[replica].reported = kv_usage;
        self.update(now, sessions);
    }
}

#[cfg(test)]
mod tests {
    use super::super::new_sessions::tests::{at, fleet, request};
    use super::*;
    use crate::policy::Finished;

    fn admission(idle: Idle) -> DynamoSessions {
        DynamoSessions { capacity: 1_000.0, ..DynamoSessions::new(idle, &fleet()) }
    }

    #[test]
    fn a_replica_that_closed_opens_only_well_below() {
        let (mut admission, sessions) = (admission(Idle::Decays), Sessions::default());
        let mut is_open = |usage| {
            admission.report(at(0.0), 0, usage, &sessions);
            admission.is_open(0)
        };
        let steps =
            [(0.95, true), (0.96, false), (0.80, false), (0.79, true), (0.90, true), (0.96, false)];
        for (usage, expected) in steps {
            assert_eq!(is_open(usage), expected, "at {usage}");
        }
    }

    #[test]
    fn one_open_replica_is_enough() {
        let (mut admission, sessions) = (admission(Idle::Decays), Sessions::default());
        admission.report(at(0.0), 0, 0.99, &sessions);
        assert!(admission.admits(at(0.0), &sessions));
        assert!(!admission.is_open(0) && admission.is_open(1));
        admission.report(at(0.0), 1, 0.99, &sessions);
        assert!(!admission.admits(at(0.0), &sessions));
    }

    #[test]
    fn prompts_in_flight_count_before_metrics_show_them_and_once() {
        let (mut admission, mut sessions) = (admission(Idle::Decays), Sessions::default());
        (0..10).for_each(|id| sessions.begin(at(0.0), &request(id, &id.to_string()), 0));
        assert!((admission.usages(at(0.0), &sessions)[0] - 1.0).abs() < 1e-9);
        admission.report(at(0.1), 0, 0.9, &sessions);
        assert!((admission.usages(at(0.1), &sessions)[0] - 1.0).abs() < 1e-9);
        assert!(!admission.is_open(0));
    }

    /// The weight of 1,000 tokens of idle contexts on the first replica after a time.
    fn worth(idle: Idle, seconds: f64) -> f64 {
        let (admission, mut sessions) = (admission(idle), Sessions::default());
        for id in 0..10 {
            sessions.begin(at(0.0), &request(id, &id.to_string()), 0);
            sessions.end(at(1.0), id, Finished { prompt: 90, cached: 0, completion: 10 });
        }
        admission.usages(at(1.0 + seconds), &sessions)[0]
    }

    #[test]
    fn idle_sessions_decay_or_count() {
        assert!((worth(Idle::Decays, 0.0) - 1.0).abs() < 1e-9);
        assert!((worth(Idle::Decays, 2.0) - (-2.0f64).exp()).abs() < 1e-9);
        assert!((worth(Idle::Counts, 60.0) - 1.0).abs() < 1e-9);
        assert!(worth(Idle::Counts, 60.1) < 1e-9);
    }
}
