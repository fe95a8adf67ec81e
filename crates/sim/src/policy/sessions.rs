//! A gateway's record of sessions: which have begun, their replicas, and the size of their
//! contexts.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use ::slotwise::Instant;

use super::{Finished, Incoming};

/// The sessions that have begun.
#[derive(Default)]
pub(super) struct Sessions {
    numbers: HashMap<String, usize>,
    /// Sessions with requests in flight, now or within [`LONGEST_IDLE`]. In order, so that sums
    /// repeat.
    recent: BTreeMap<usize, Session>,
    /// The session of each request in flight.
    requests: HashMap<u32, usize>,
}

/// A session that runs, or is idle.
pub(super) struct Session {
    /// The replica of its last request.
    pub(super) replica: usize,
    /// Tokens of its last prompt, and of the answer once that is complete.
    pub(super) context: u32,
    in_flight: u32,
    /// When it last had a request or an answer.
    since: Instant,
}

/// The longest think time in the workloads of coding agents: a session that is idle for longer is
/// over. A real gateway has no such bound.
const LONGEST_IDLE: Duration = Duration::from_secs(60);

impl Sessions {
    /// Sessions that run, or may still return.
    pub(super) fn active(&self, now: Instant) -> impl Iterator<Item = &Session> {
        self.recent.values().filter(move |session| session.idle(now) <= LONGEST_IDLE)
    }

    /// Whether a session has begun.
    pub(super) fn has(&self, name: &str) -> bool {
        self.numbers.contains_key(name)
    }

    /// A request goes to a replica.
    pub(super) fn begin(&mut self, now: Instant, request: &Incoming<'_>, replica: usize) {
        let Some(name) = request.session else { return };
        self.recent.retain(|_, session| session.idle(now) <= LONGEST_IDLE);
        let next = self.numbers.len();
        let number = *self.numbers.entry(name.to_owned()).or_insert(next);
        let in_flight = self.recent.get(&number).map_or(0, |session| session.in_flight) + 1;
        self.recent
            .insert(number, Session { replica, context: request.input, in_flight, since: now });
        self.requests.insert(request.id, number);
    }

    /// It was answered.
    pub(super) fn end(&mut self, now: Instant, id: u32, usage: Finished) {
        let Some(number) = self.requests.remove(&id) else { return };
        let session = self.recent.get_mut(&number).expect("it runs");
        session.in_flight -= 1;
        (session.context, session.since) = (usage.prompt + usage.completion, now);
    }
}

impl Session {
    /// The time since its last request in flight ended.
    pub(super) fn idle(&self, now: Instant) -> Duration {
        if self.in_flight > 0 { Duration::ZERO } else { now.saturating_since(self.since) }
    }

    /// Whether it has requests in flight.
    pub(super) fn is_running(&self) -> bool {
        self.in_flight > 0
    }
}
