//! Session admission: a new session starts only where its context fits beside those of active
//! sessions.
//!
//! A cache with more contexts than it holds evicts what the next request needs, and recomputing it
//! evicts more. Above a certain number of sessions, agents wait for prompts that were already
//! computed. The limit therefore applies to sessions, by the size of their contexts:
//!
//! ```text
//! S_i    tokens of the contexts of active sessions that endpoint i served last
//! active requests in flight, or idle for less than T = 1.5 · p95 of return times
//! start  where  S_i + context ≤ share · capacity_i  or  S_i = 0;  share is 0.8 and learned
//! ```
//!
//! Returning sessions are always admitted, so contexts may outgrow the share; only the next new
//! session is delayed.
//!
//! Other systems limit other quantities. CONCUR limits the *number* of active agents over the fleet
//! by additive increase and multiplicative decrease on hit ratio and KV usage. It reacts after the
//! damage, and counts a context of 200,000 tokens as one of 2,000. Dynamo's session-aware admission
//! pauses an endpoint above 95 % KV usage until it is below 80 %. KV usage omits idle sessions,
//! whose caches are at risk, unless all of them count in full. The table is for Claude-Code
//! sessions at 0.05 a second, 35 % above the pool's capacity. It gives the share of offered
//! requests within 2 s to the first token and 100 ms a token; all requests of a refused session
//! count as failed. All systems are simulated, with a TTL of 60 s. The results page has other rates
//! and TTLs, in some of which others are better.
//!
//! | none | as Dynamo, by usage | as Dynamo, idle sessions in full | as CONCUR | ours |
//! |---|---|---|---|---|
//! | 44 % | 44 % | 68 % | 70 % | 74 % |

mod config;
mod idle;
mod lineage;
#[cfg(test)]
mod model_tests;
mod share;
mod working_sets;

use alloc::collections::BTreeSet;
use core::time::Duration;

use hashbrown::HashMap;

use self::idle::IdleTime;
use self::lineage::Lineage;
use self::share::Share;
use self::working_sets::{Place, WorkingSets};
use crate::prefix::BlockHash;
use crate::prefix::keyed_state::KeyedState;
use crate::time::Instant;

pub use config::SessionAdmissionConfig;

/// The sessions, their working sets, and the learned parameters.
///
/// Each input computes in **O(log sessions)**, plus the sessions that expire, once each.
#[derive(Debug)]
pub(crate) struct SessionAdmission {
    sessions: HashMap<u64, Session, KeyedState>,
    limit: usize,
    /// The number of the next session.
    next: u64,
    /// Sessions by their clients' ids.
    ids: HashMap<u64, u64, KeyedState>,
    marks: Marks,
    sets: WorkingSets,
    /// Active sessions with nothing in flight, by the start of that. The idle time is equal for
    /// all, so the first lapses next.
    idle: BTreeSet<(Instant, u64)>,
    /// Lapsed sessions, by the start of their idle time: their return is still recorded to learn.
    lapsed: BTreeSet<(Instant, u64)>,
    idle_time: IdleTime,
    share: Share,
}

#[derive(Debug)]
struct Session {
    phase: Phase,
    /// Its context on the endpoint that served it last, while it is active.
    place: Option<Place>,
    id: Option<u64>,
    mark: Option<BlockHash>,
    /// Known from other gateways only, which report no ids.
    is_heard: bool,
}

/// Sessions by their prompts.
#[derive(Debug)]
struct Marks {
    /// Those without an id.
    unnamed: Lineage,
    /// Those with an id, if other gateways report prompts.
    named: Option<Lineage>,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Number of requests in flight.
    Busy(u32),
    /// Idle since this time.
    Idle(Instant),
    /// Idle since this time, for so long that its context no longer counts.
    Lapsed(Instant),
}

/// What identifies the session of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionIdentity<'a> {
    /// The session's id, if the client sent one.
    pub(crate) id: Option<u64>,
    /// The prompt's blocks otherwise, always of one size.
    pub(crate) chain: &'a [BlockHash],
}

/// A session's number, which is never reused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct SessionId(u64);

/// The session of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SessionMatch {
    /// An active session, which is admitted anywhere.
    Returning(SessionId),
    /// No known active session.
    New,
}

/// Statistics of session admission.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SessionAdmissionStats {
    /// Number of sessions whose contexts count.
    pub active: usize,
    /// Number of known sessions, including those.
    pub remembered: usize,
    /// How long a session stays active with nothing in flight.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub idle_time: Duration,
    /// Share of a cache for active contexts.
    pub share: f64,
}

impl SessionAdmission {
    /// No sessions; `hash_state` hashes ids and blocks, which clients choose.
    pub(crate) fn new(config: &SessionAdmissionConfig, hash_state: KeyedState) -> Self {
        Self {
            sessions: HashMap::with_hasher(hash_state),
            limit: config.max_sessions,
            next: 0,
            ids: HashMap::with_hasher(hash_state),
            marks: Marks { unnamed: Lineage::new(hash_state), named: None },
            sets: WorkingSets::default(),
            idle: BTreeSet::new(),
            lapsed: BTreeSet::new(),
            idle_time: IdleTime::new(config),
            share: Share::new(config),
        }
    }

    /// The session of a request, as of the last input; call [`expire`](Self::expire) before.
    /// Computes in **O(1)** with an id, in **O(log blocks)** without.
    pub(crate) fn identify(&self, identity: SessionIdentity<'_>) -> SessionMatch {
        let active = |number: &u64| {
            self.sessions
                .get(number)
                .is_some_and(|session| !matches!(session.phase, Phase::Lapsed(_)))
        };
        self.known(identity)
            .filter(active)
            .map_or(SessionMatch::New, |number| SessionMatch::Returning(SessionId(number)))
    }

    /// Whether a new session with a context of `tokens` tokens may start on an endpoint whose cache
    /// holds `capacity`.
    pub(crate) fn may_start(&self, slot: u32, tokens: u32, capacity: u32) -> bool {
        let active = self.sets.tokens(slot);
        active == 0 || (active + u64::from(tokens)) as f64 <= self.share.get() * f64::from(capacity)
    }

    /// Records that a new session was delayed, because it may start on no endpoint.
    pub(crate) fn record_limited(&mut self) {
        self.share.record_limiting();
    }

    /// Records a dispatched request with a prompt of `tokens` tokens: its session is active on that
    /// endpoint.
    ///
    /// The session is identified again, since it may have changed while the request waited after
    /// [`identify`](Self::identify).
    pub(crate) fn begin(
        &mut self,
        now: Instant,
        identity: SessionIdentity<'_>,
        slot: u32,
        tokens: u32,
    ) -> SessionId {
        self.expire(now);
        let number = self.known(identity).unwrap_or_else(|| self.enter(identity.id));
        let Some(session) = self.sessions.get_mut(&number) else { return SessionId(number) };
        let in_flight = match session.phase {
            Phase::Busy(in_flight) => in_flight,
            Phase::Idle(since) | Phase::Lapsed(since) => {
                self.idle.remove(&(since, number));
                self.lapsed.remove(&(since, number));
                self.idle_time.observe(now.saturating_since(since));
                0
            }
        };
        session.phase = Phase::Busy(in_flight.saturating_add(1));
        self.sets.move_to(&mut session.place, slot, tokens);
        session.is_heard = false;
        if let (Some(id), None) = (identity.id, session.id) {
            // It was known from another gateway, by its prompt.
            self.marks.take(number, session);
            session.id = Some(id);
            self.ids.insert(id, number);
        }
        self.marks.put(number, session, identity.chain);
        SessionId(number)
    }

    /// Finds sessions with an id by their prompts as well, from now on.
    pub(crate) fn share(&mut self) {
        let hash_state = *self.ids.hasher();
        self.marks.named.get_or_insert_with(|| Lineage::new(hash_state));
    }

    /// Records that another gateway has a request with this prompt of `tokens` tokens on an
    /// endpoint, or that one has ended there. Its session counts once: a known one moves there. One
    /// with requests in flight here stays, since its end will be seen. Computes in **O(log
    /// blocks)**.
    pub(crate) fn used_elsewhere(
        &mut self,
        now: Instant,
        chain: &[BlockHash],
        slot: u32,
        tokens: u32,
    ) {
        if chain.is_empty() {
            return;
        }
        self.expire(now);
        let number = self.marks.find(chain).unwrap_or_else(|| self.enter(None));
        let Some(session) = self.sessions.get_mut(&number) else { return };
        match session.phase {
            Phase::Busy(0) => session.is_heard = true,
            Phase::Busy(_) => return,
            Phase::Idle(since) | Phase::Lapsed(since) => {
                self.idle.remove(&(since, number));
                self.lapsed.remove(&(since, number));
            }
        }
        session.phase = Phase::Idle(now);
        self.idle.insert((now, number));
        self.sets.move_to(&mut session.place, slot, tokens);
        self.marks.put(number, session, chain);
    }

    /// Moves a request of the session to another endpoint.
    pub(crate) fn redirect(&mut self, session: SessionId, slot: u32) {
        let Some(session) = self.sessions.get_mut(&session.0) else { return };
        if let Some(tokens) = session.place.as_ref().map(Place::tokens) {
            self.sets.move_to(&mut session.place, slot, tokens);
        }
    }

    /// Ends a request of the session; its context has `tokens` tokens.
    pub(crate) fn end(&mut self, now: Instant, session: SessionId, tokens: u32) {
        let SessionId(number) = session;
        let Some(session) = self.sessions.get_mut(&number) else { return };
        let Phase::Busy(in_flight) = session.phase else { return };
        if let Some(place) = &mut session.place {
            self.sets.resize(place, tokens);
        }
        session.phase = if in_flight > 1 {
            Phase::Busy(in_flight - 1)
        } else {
            self.idle.insert((now, number));
            Phase::Idle(now)
        };
    }

    /// Records the `predicted` and the `reported` cached tokens of a prompt.
    pub(crate) fn observe(&mut self, predicted: u32, reported: u32) {
        self.share.observe(predicted, reported);
    }

    /// Removes the contexts of sessions that are no longer active. Returns whether there were any.
    pub(crate) fn expire(&mut self, now: Instant) -> bool {
        let active = self.idle_time.get();
        let before = self.idle.len();
        while let Some((since, number)) = due(&self.idle, active, now) {
            self.idle.remove(&(since, number));
            self.lapsed.insert((since, number));
            if let Some(session) = self.sessions.get_mut(&number) {
                session.phase = Phase::Lapsed(since);
                if let Some(place) = session.place.take() {
                    self.sets.take(place);
                }
            }
        }
        let gone = self.idle.len() < before;
        while let Some((_, number)) = due(&self.lapsed, self.idle_time.longest(), now) {
            self.forget(number);
        }
        gone
    }

    /// When the next session becomes inactive unless it returns, which may admit another.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.idle.first().map(|(since, _)| *since + self.idle_time.get())
    }

    /// Removes an endpoint. Its sessions stay active and count where they are served next.
    pub(crate) fn leave(&mut self, slot: u32) {
        self.sets.leave(slot);
    }

    /// Tokens of the active contexts on an endpoint.
    pub(crate) fn working_set(&self, slot: u32) -> u64 {
        self.sets.tokens(slot)
    }

    pub(crate) fn stats(&self) -> SessionAdmissionStats {
        SessionAdmissionStats {
            active: self.sessions.len() - self.lapsed.len(),
            remembered: self.sessions.len(),
            idle_time: self.idle_time.get(),
            share: self.share.get(),
        }
    }

    /// The session of a request, active or lapsed.
    fn known(&self, identity: SessionIdentity<'_>) -> Option<u64> {
        let unnamed = || self.marks.unnamed.find(identity.chain);
        let Some(id) = identity.id else { return unnamed() };
        let is_heard = |number: &u64| self.sessions.get(number).is_some_and(|it| it.is_heard);
        let heard = || self.marks.named.as_ref().and_then(|_| unnamed()).filter(is_heard);
        self.ids.get(&id).copied().or_else(heard)
    }

    /// Creates a session. If all remembered sessions have requests in flight, it is not counted.
    fn enter(&mut self, id: Option<u64>) -> u64 {
        let number = self.next;
        self.next += 1;
        if self.sessions.len() >= self.limit {
            let Some((_, longest_idle)) =
                self.lapsed.first().or_else(|| self.idle.first()).copied()
            else {
                return number;
            };
            self.forget(longest_idle);
        }
        if let Some(id) = id {
            self.ids.insert(id, number);
        }
        self.sessions.insert(
            number,
            Session { phase: Phase::Busy(0), place: None, id, mark: None, is_heard: false },
        );
        number
    }

    fn forget(&mut self, number: u64) {
        let Some(mut session) = self.sessions.remove(&number) else { return };
        if let Phase::Idle(since) | Phase::Lapsed(since) = session.phase {
            self.idle.remove(&(since, number));
            self.lapsed.remove(&(since, number));
        }
        self.marks.take(number, &mut session);
        if let Some(place) = session.place {
            self.sets.take(place);
        }
        if let Some(id) = session.id {
            self.ids.remove(&id);
        }
    }
}

impl Marks {
    /// The session that a prompt continues.
    fn find(&self, chain: &[BlockHash]) -> Option<u64> {
        let named = || self.named.as_ref().and_then(|named| named.find(chain));
        self.unnamed.find(chain).or_else(named)
    }

    /// Sets the mark of a session by its last prompt.
    fn put(&mut self, number: u64, session: &mut Session, chain: &[BlockHash]) {
        self.take(number, session);
        session.mark = self.of(session).and_then(|marks| marks.put(number, chain));
    }

    /// Removes the mark of a session.
    fn take(&mut self, number: u64, session: &mut Session) {
        if let (Some(mark), Some(marks)) = (session.mark.take(), self.of(session)) {
            marks.take(number, mark);
        }
    }

    /// The marks of sessions like this one, with an id or without.
    const fn of(&mut self, session: &Session) -> Option<&mut Lineage> {
        if session.id.is_none() { Some(&mut self.unnamed) } else { self.named.as_mut() }
    }
}

/// The first of a list by time, if it is at least `length` old.
fn due(list: &BTreeSet<(Instant, u64)>, length: Duration, now: Instant) -> Option<(Instant, u64)> {
    list.first().filter(|(since, _)| *since + length <= now).copied()
}

#[cfg(test)]
mod tests {
    use super::lineage::tests::chain;
    use super::*;

    const CAPACITY: u32 = 100_000;

    fn at(seconds: u64) -> Instant {
        Instant::ORIGIN + Duration::from_secs(seconds)
    }

    fn guard() -> SessionAdmission {
        SessionAdmission::new(&SessionAdmissionConfig::default(), KeyedState::new(7))
    }

    fn named(id: u64) -> SessionIdentity<'static> {
        SessionIdentity { id: Some(id), chain: &[] }
    }

    fn unnamed(chain: &[BlockHash]) -> SessionIdentity<'_> {
        SessionIdentity { id: None, chain }
    }

    #[test]
    fn a_session_starts_where_its_context_fits_or_where_nobody_is() {
        let mut guard = guard();
        assert!(guard.may_start(0, CAPACITY, CAPACITY), "alone, it may be as large as it likes");
        guard.begin(at(0), named(1), 0, 50_000);
        assert!(guard.may_start(0, 30_000, CAPACITY));
        assert!(!guard.may_start(0, 30_001, CAPACITY));
        assert!(guard.may_start(1, CAPACITY, CAPACITY));
    }

    #[test]
    fn a_session_counts_once_where_it_was_served_last() {
        let mut guard = guard();
        let session = guard.begin(at(0), named(1), 0, 50_000);
        guard.end(at(1), session, 60_000);
        assert_eq!((guard.working_set(0), guard.working_set(1)), (60_000, 0));
        assert_eq!(guard.begin(at(2), named(1), 1, 61_000), session);
        assert_eq!((guard.working_set(0), guard.working_set(1)), (0, 61_000));
        guard.redirect(session, 0);
        assert_eq!((guard.working_set(0), guard.working_set(1)), (61_000, 0));
    }

    #[test]
    fn an_idle_session_lapses_on_time_and_a_busy_one_never() {
        let mut guard = guard();
        let (idle, busy) =
            (guard.begin(at(0), named(1), 0, 10), guard.begin(at(0), named(2), 0, 20));
        guard.end(at(5), idle, 10);
        assert_eq!(guard.next_timeout(), Some(at(35)));
        guard.expire(Instant::from_micros(34_999_999));
        assert_eq!(guard.identify(named(1)), SessionMatch::Returning(idle));
        guard.expire(at(35));
        assert_eq!((guard.identify(named(1)), guard.working_set(0)), (SessionMatch::New, 20));
        guard.expire(at(100_000));
        assert_eq!(guard.identify(named(2)), SessionMatch::Returning(busy));
        assert_eq!(guard.next_timeout(), None);
    }

    #[test]
    fn who_returns_too_late_is_new_and_teaches_patience() {
        let mut guard = guard();
        let session = guard.begin(at(0), named(1), 0, 10);
        guard.end(at(0), session, 10);
        guard.expire(at(60));
        assert_eq!(guard.identify(named(1)), SessionMatch::New);
        assert_eq!(guard.begin(at(60), named(1), 0, 10), session);
        assert!(guard.stats().idle_time > Duration::from_secs(31));
        guard.end(at(60), session, 10);
        assert_ne!(guard.begin(at(960), named(1), 0, 10), session, "that was another visit");
    }

    #[test]
    fn a_session_that_two_gateways_see_counts_once() {
        let mut guard = guard();
        guard.share();
        let (first, second) = (chain(1, 0, 100), chain(1, 0, 110));
        guard.used_elsewhere(at(0), &first, 0, 1_600);
        assert_eq!((guard.working_set(0), guard.stats().active), (1_600, 1));
        // Its next turn comes here, with an id that the other gateway did not send.
        let identity = SessionIdentity { id: Some(1), chain: &second };
        assert!(matches!(guard.identify(identity), SessionMatch::Returning(_)));
        let session = guard.begin(at(5), identity, 1, 1_760);
        assert_eq!((guard.working_set(0), guard.working_set(1)), (0, 1_760));
        // While it is in flight here, what others report of it is older.
        guard.used_elsewhere(at(6), &first, 0, 1_600);
        assert_eq!((guard.working_set(0), guard.working_set(1)), (0, 1_760));
        guard.end(at(7), session, 1_800);
        // The turn after that is elsewhere.
        guard.used_elsewhere(at(9), &chain(1, 0, 120), 2, 1_920);
        assert_eq!((guard.working_set(1), guard.working_set(2)), (0, 1_920));
        assert_eq!(guard.stats().active, 1);
        guard.expire(at(9) + Duration::from_secs(31));
        assert_eq!((guard.working_set(2), guard.stats().active), (0, 0));
    }

    #[test]
    fn sessions_of_other_gateways_are_admitted_without_an_id_too() {
        let mut guard = guard();
        guard.share();
        guard.used_elsewhere(at(0), &chain(1, 0, 100), 0, 1_600);
        let returning = guard.identify(unnamed(&chain(1, 0, 104)));
        assert!(matches!(returning, SessionMatch::Returning(_)));
        assert_eq!(guard.identify(unnamed(&chain(2, 0, 104))), SessionMatch::New);
        guard.used_elsewhere(at(1), &[], 0, 1_600);
        assert_eq!(guard.stats().active, 1, "a prompt without blocks identifies none");
    }

    #[test]
    fn lineage_is_a_session_too() {
        let mut guard = guard();
        let (mine, yours) = (chain(1, 50, 100), chain(2, 50, 100));
        let session = guard.begin(at(0), unnamed(&mine), 0, 100);
        assert_eq!(guard.identify(unnamed(&yours)), SessionMatch::New);
        let other = guard.begin(at(0), unnamed(&yours), 0, 100);
        let (my_next, your_next) = (chain(1, 50, 120), chain(2, 50, 120));
        assert_eq!(guard.identify(unnamed(&my_next)), SessionMatch::Returning(session));
        assert_eq!(guard.begin(at(0), unnamed(&your_next), 0, 120), other);
        assert_eq!(guard.identify(unnamed(&mine[..85])), SessionMatch::Returning(session));
    }

    #[test]
    fn losses_make_room_and_waiting_asks_for_it() {
        let mut guard = guard();
        guard.begin(at(0), named(1), 0, 50_000);
        assert!(guard.may_start(0, 30_000, CAPACITY));
        guard.observe(2_000_000, 1_000_000);
        assert!(!guard.may_start(0, 30_000, CAPACITY));
        for _ in 0..5 {
            guard.record_limited();
            guard.observe(2_000_000, 2_000_000);
        }
        assert!(guard.may_start(0, 30_000, CAPACITY));
    }

    #[test]
    fn memory_is_bounded_and_the_idle_longest_goes_first() {
        let config =
            SessionAdmissionConfig { max_sessions: 2, ..SessionAdmissionConfig::default() };
        let mut guard = SessionAdmission::new(&config, KeyedState::new(7));
        let first = guard.begin(at(0), named(1), 0, 10);
        let second = guard.begin(at(0), named(2), 0, 20);
        guard.begin(at(0), named(3), 0, 40);
        assert_eq!(guard.identify(named(3)), SessionMatch::New, "all were in flight");
        guard.end(at(1), second, 20);
        guard.end(at(2), first, 10);
        guard.begin(at(3), named(3), 0, 40);
        assert_eq!((guard.identify(named(2)), guard.working_set(0)), (SessionMatch::New, 50));
        for i in 0..1_000 {
            let session = guard.begin(at(3), unnamed(&[BlockHash(i)]), 0, 1);
            guard.end(at(3), session, 1);
        }
        assert_eq!(
            (guard.stats().remembered, guard.ids.len(), guard.marks.unnamed.len()),
            (2, 1, 1)
        );
    }

    #[test]
    fn nonsense_changes_nothing() {
        let mut guard = guard();
        let session = guard.begin(at(0), named(1), u32::MAX, u32::MAX);
        guard.end(at(1), session, 5);
        guard.end(at(2), session, 7);
        guard.end(at(3), SessionId(99), 7);
        guard.redirect(SessionId(99), 0);
        guard.leave(5);
        assert_eq!(guard.working_set(u32::MAX), 5);
        guard.expire(Instant::from_micros(u64::MAX));
        assert_eq!(guard.stats().remembered, 0);
    }
}
