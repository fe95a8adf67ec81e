//! A gateway that queues new sessions only.
//!
//! A request whose session has begun goes at once. So does a request without a session, since the
//! gateway cannot detect that it returns. The first request of a session waits, first come, first
//! served, until an [`Admission`] admits it or its TTL expires. Our scheduler's `pick` chooses
//! among the replicas that the admission leaves to new sessions. Two of these gateways therefore
//! differ in their admission alone.

use std::collections::VecDeque;
use std::time::Duration;

use ::slotwise::Instant;

use super::held::Held;
use super::sessions::Sessions;
use super::slotwise::{Slotwise, Variant};
use super::{Finished, Fleet, Incoming, Needs, Policy, Refusal, Report, Verdict};

/// When a session may begin.
pub(super) trait Admission {
    /// Whether one may begin now.
    fn admits(&mut self, now: Instant, sessions: &Sessions) -> bool;

    /// Whether it may begin on this replica, if it may at all.
    fn is_open(&self, replica: usize) -> bool {
        let _ = replica;
        true
    }

    /// A request was answered.
    fn complete(&mut self, usage: Finished) {
        let _ = usage;
    }

    /// A replica reports the share of its KV memory that live requests use: every 50 ms while
    /// requests wait or run.
    fn report(&mut self, now: Instant, replica: usize, kv_usage: f64, sessions: &Sessions);
}

/// The gateway.
pub(super) struct NewSessions<A> {
    admission: A,
    scheduler: Slotwise,
    sessions: Sessions,
    held: VecDeque<Held>,
    ttl: Duration,
}

impl<A: Admission> NewSessions<A> {
    pub(super) fn new(admission: A, fleet: &Fleet) -> Self {
        Self {
            admission,
            scheduler: Slotwise::new(Variant::Shipped, fleet),
            sessions: Sessions::default(),
            held: VecDeque::new(),
            ttl: fleet.ttl,
        }
    }

    fn is_new(&self, request: &Incoming<'_>) -> bool {
        request.session.is_some_and(|name| !self.sessions.has(name))
    }

    fn expired(&mut self, now: Instant) -> Option<Held> {
        let is_due = self.held.front()?.since + self.ttl <= now;
        is_due.then(|| self.held.pop_front().expect("there is one"))
    }

    /// The first queued request, if it may begin. Another request may have begun its session.
    fn admitted(&mut self, now: Instant) -> Option<Held> {
        let may =
            !self.is_new(&self.held.front()?.asked()) || self.admission.admits(now, &self.sessions);
        may.then(|| self.held.pop_front().expect("there is one"))
    }
}

impl<A: Admission> Policy for NewSessions<A> {
    fn pick(&mut self, now: Instant, request: &Incoming<'_>) -> Option<usize> {
        let replica = if self.is_new(request) {
            self.scheduler.pick_among(now, request, |replica| self.admission.is_open(replica))
        } else {
            self.scheduler.pick(now, request)
        };
        replica.inspect(|replica| self.sessions.begin(now, request, *replica))
    }

    fn submit(&mut self, now: Instant, request: &Incoming<'_>) -> Option<Verdict> {
        if self.is_new(request) {
            self.held.push_back(Held::new(now, request));
            return None;
        }
        Some(self.pick(now, request).map_or(Verdict::Refused(Refusal::Unplaced), Verdict::Goes))
    }

    fn poll(&mut self, now: Instant) -> Option<(u32, Verdict)> {
        if let Some(held) = self.expired(now) {
            return Some((held.id, Verdict::Refused(Refusal::Expired)));
        }
        let held = self.admitted(now)?;
        let picked = self.pick(now, &held.asked());
        Some((held.id, picked.map_or(Verdict::Refused(Refusal::Unplaced), Verdict::Goes)))
    }

    /// Only the TTL: each report polls the admission again.
    fn next_timeout(&self) -> Option<Instant> {
        self.held.front().map(|held| held.since + self.ttl)
    }

    fn first_token(&mut self, now: Instant, id: u32) {
        self.scheduler.first_token(now, id);
    }

    fn complete(&mut self, now: Instant, id: u32, usage: Finished) {
        self.sessions.end(now, id, usage);
        self.admission.complete(usage);
        self.scheduler.complete(now, id, usage);
    }

    fn report(&mut self, now: Instant, replica: usize, report: &Report) {
        self.admission.report(now, replica, report.snapshot.kv_usage, &self.sessions);
        self.scheduler.report(now, replica, report);
    }

    fn needs(&self) -> Needs {
        self.scheduler.needs()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::replica::Class;
    use crate::service_level::ServiceLevel;

    /// Admits sessions while its flag is set, on the second replica only.
    struct Gate(bool);

    impl Admission for Gate {
        fn admits(&mut self, _: Instant, _: &Sessions) -> bool {
            self.0
        }

        fn is_open(&self, replica: usize) -> bool {
            replica == 1
        }

        fn report(&mut self, _: Instant, _: usize, _: f64, _: &Sessions) {}
    }

    pub(in super::super) fn at(seconds: f64) -> Instant {
        Instant::ORIGIN + Duration::from_secs_f64(seconds)
    }

    pub(in super::super) fn fleet() -> Fleet {
        Fleet {
            replicas: 2,
            pools: crate::pools::Pools {
                prefill: 0,
                decode: 0,
                transfer: ::slotwise::KvTransferCost::default(),
            },
            class: Class::default(),
            mix: Class::default().into(),
            deadline: Duration::MAX,
            level: ServiceLevel::default(),
            block_tokens: 64,
            chunk: 2_048,
            adapter_slots: 1,
            adapter_load_time: Duration::ZERO,
            adapter_ranks: crate::replica::AdapterRanks::default(),
            ttl: Duration::from_secs(10),
            guard: false,
            gateways: None,
            seed: 1,
        }
    }

    /// A prompt of 100 tokens.
    pub(in super::super) fn request(id: u32, session: &str) -> Incoming<'_> {
        let session = (!session.is_empty()).then_some(session);
        Incoming { id, input: 100, blocks: &[], adapter: None, priority: 0, tenant: "", session }
    }

    fn gateway(admits: bool) -> NewSessions<Gate> {
        NewSessions::new(Gate(admits), &fleet())
    }

    const EXPIRED: Verdict = Verdict::Refused(Refusal::Expired);

    #[test]
    fn those_who_return_pass() {
        let mut gateway = gateway(true);
        assert_eq!(gateway.submit(at(0.0), &request(1, "a")), None);
        assert_eq!(gateway.poll(at(0.0)), Some((1, Verdict::Goes(1))));
        gateway.complete(at(1.0), 1, Finished { prompt: 100, cached: 0, completion: 1 });
        gateway.admission.0 = false;
        assert_eq!(gateway.submit(at(2.0), &request(2, "b")), None);
        assert!(matches!(gateway.submit(at(2_000.0), &request(3, "a")), Some(Verdict::Goes(_))));
        assert!(matches!(gateway.submit(at(2_000.0), &request(4, "")), Some(Verdict::Goes(_))));
    }

    #[test]
    fn those_who_wait_expire_at_their_ttl() {
        let mut gateway = gateway(false);
        gateway.submit(at(0.0), &request(1, "a"));
        gateway.submit(at(1.0), &request(2, "b"));
        assert_eq!(gateway.poll(at(9.999)), None);
        assert_eq!(gateway.next_timeout(), Some(at(10.0)));
        assert_eq!(gateway.poll(at(10.0)), Some((1, EXPIRED)));
        assert_eq!(gateway.poll(at(10.0)), None);
        assert_eq!(gateway.next_timeout(), Some(at(11.0)));
        gateway.admission.0 = true;
        assert_eq!(gateway.poll(at(11.0)), Some((2, EXPIRED)));
        assert_eq!(gateway.next_timeout(), None);
    }

    #[test]
    fn those_who_wait_begin_in_order_where_it_is_open() {
        let mut gateway = gateway(false);
        for (id, session) in [(1, "a"), (2, "b"), (3, "c")] {
            assert_eq!(gateway.submit(at(0.0), &request(id, session)), None);
        }
        assert_eq!(gateway.poll(at(1.0)), None);
        gateway.admission.0 = true;
        for id in 1..=3 {
            assert_eq!(gateway.poll(at(1.0)), Some((id, Verdict::Goes(1))));
        }
        assert_eq!(gateway.poll(at(1.0)), None);
    }
}
