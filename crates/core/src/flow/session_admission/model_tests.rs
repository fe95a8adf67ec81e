//! Compares session admission with a reference model that scans lists.

use alloc::vec::Vec;
use core::time::Duration;

use proptest::prelude::*;

use super::idle::IdleTime;
use super::lineage::mark_depth;
use super::lineage::tests::chain;
use super::{SessionAdmission, SessionAdmissionConfig, SessionId, SessionIdentity, SessionMatch};
use crate::prefix::BlockHash;
use crate::prefix::keyed_state::KeyedState;
use crate::time::Instant;

struct Model {
    config: SessionAdmissionConfig,
    sessions: Vec<Session>,
    next: u64,
    idle_time: IdleTime,
}

struct Session {
    number: u64,
    id: Option<u64>,
    /// The part of its last prompt that another prompt must share.
    prompt: Vec<BlockHash>,
    slot: Option<u32>,
    tokens: u32,
    in_flight: u32,
    /// `None` while requests are in flight.
    idle_since: Option<Instant>,
    lapsed: bool,
}

impl Model {
    fn new(config: &SessionAdmissionConfig) -> Self {
        Self { config: *config, sessions: Vec::new(), next: 0, idle_time: IdleTime::new(config) }
    }

    fn known(&self, identity: SessionIdentity<'_>) -> Option<usize> {
        let sessions = self.sessions.iter().enumerate();
        match identity.id {
            Some(id) => sessions.into_iter().find(|(_, s)| s.id == Some(id)).map(|(at, _)| at),
            None => sessions
                .filter(|(_, s)| !s.prompt.is_empty() && identity.chain.starts_with(&s.prompt))
                .max_by_key(|(_, s)| s.prompt.len())
                .map(|(at, _)| at),
        }
    }

    fn identify(&self, identity: SessionIdentity<'_>) -> SessionMatch {
        match self.known(identity).map(|at| &self.sessions[at]) {
            Some(session) if !session.lapsed => SessionMatch::Returning(SessionId(session.number)),
            _ => SessionMatch::New,
        }
    }

    fn working_set(&self, slot: u32) -> u64 {
        let there = self.sessions.iter().filter(|s| s.slot == Some(slot));
        there.map(|s| u64::from(s.tokens)).sum()
    }

    fn begin(
        &mut self,
        now: Instant,
        identity: SessionIdentity<'_>,
        slot: u32,
        tokens: u32,
    ) -> SessionId {
        self.expire(now);
        let Some(at) = self.known(identity).or_else(|| self.enter(identity.id)) else {
            return SessionId(self.next - 1);
        };
        if let Some(since) = self.sessions[at].idle_since.take() {
            self.idle_time.observe(now.saturating_since(since));
        }
        if identity.id.is_none() {
            let prompt = &identity.chain[..mark_depth(identity.chain.len())];
            self.sessions.iter_mut().filter(|s| s.prompt == prompt).for_each(|s| s.prompt.clear());
            self.sessions[at].prompt = prompt.to_vec();
        }
        let session = &mut self.sessions[at];
        session.in_flight += 1;
        session.lapsed = false;
        session.slot = Some(slot);
        session.tokens = tokens;
        SessionId(session.number)
    }

    fn enter(&mut self, id: Option<u64>) -> Option<usize> {
        let number = self.next;
        self.next += 1;
        if self.sessions.len() >= self.config.max_sessions {
            let sessions = self.sessions.iter().enumerate();
            let idle = sessions.filter_map(|(at, s)| Some((s.idle_since?, s.number, at)));
            let (_, _, longest_idle) = idle.min()?;
            self.sessions.remove(longest_idle);
        }
        self.sessions.push(Session {
            number,
            id,
            prompt: Vec::new(),
            slot: None,
            tokens: 0,
            in_flight: 0,
            idle_since: None,
            lapsed: false,
        });
        Some(self.sessions.len() - 1)
    }

    fn end(&mut self, now: Instant, session: SessionId, tokens: u32) {
        let session = self.sessions.iter_mut().find(|s| s.number == session.0 && s.in_flight > 0);
        if let Some(session) = session {
            session.tokens = tokens;
            session.in_flight -= 1;
            session.idle_since = Some(now).filter(|_| session.in_flight == 0);
        }
    }

    fn redirect(&mut self, session: SessionId, slot: u32) {
        let session = self.sessions.iter_mut().find(|s| s.number == session.0);
        session.into_iter().filter(|s| !s.lapsed).for_each(|s| s.slot = Some(slot));
    }

    fn expire(&mut self, now: Instant) {
        let (active, longest) = (self.idle_time.get(), self.config.idle_time_max);
        for session in &mut self.sessions {
            if session.idle_since.is_some_and(|since| since + active <= now) {
                session.lapsed = true;
                session.slot = None;
            }
        }
        self.sessions
            .retain(|s| !(s.lapsed && s.idle_since.is_some_and(|since| since + longest <= now)));
    }

    fn next_timeout(&self) -> Option<Instant> {
        let idle = self.sessions.iter().filter(|s| !s.lapsed).filter_map(|s| s.idle_since);
        idle.min().map(|since| since + self.idle_time.get())
    }

    fn leave(&mut self, slot: u32) {
        self.sessions.iter_mut().filter(|s| s.slot == Some(slot)).for_each(|s| s.slot = None);
    }
}

#[derive(Clone, Debug)]
enum Input {
    Wait(u64),
    Begin { asker: usize, slot: u32, tokens: u32 },
    End { session: usize, tokens: u32 },
    Redirect { session: usize, slot: u32 },
    Leave(u32),
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        3 => prop_oneof![0u64..2, 1_000u64..40_000, 100_000u64..1_000_000].prop_map(Input::Wait),
        6 => (0usize..12, 0u32..3, 0u32..1_000)
            .prop_map(|(asker, slot, tokens)| Input::Begin { asker, slot, tokens }),
        6 => (0usize..8, 0u32..1_000).prop_map(|(session, tokens)| Input::End { session, tokens }),
        1 => (0usize..8, 0u32..3).prop_map(|(session, slot)| Input::Redirect { session, slot }),
        1 => (0u32..3).prop_map(Input::Leave),
    ]
}

/// Four sessions with ids, and prompts of four without that share their beginnings.
fn askers() -> Vec<(Option<u64>, Vec<BlockHash>)> {
    let named = (0..4).map(|id| (Some(id), Vec::new()));
    let unnamed = [
        (1, 9, 10),
        (1, 9, 12),
        (1, 9, 90),
        (2, 9, 12),
        (2, 60, 90),
        (3, 60, 95),
        (3, 0, 7),
        (3, 0, 0),
    ];
    named.chain(unnamed.map(|(own, fork, depth)| (None, chain(own, fork, depth)))).collect()
}

proptest! {
    #[test]
    fn it_equals_its_reference_model(inputs in prop::collection::vec(input(), 0..200), max_sessions in 1usize..7) {
        let config = SessionAdmissionConfig { max_sessions, ..SessionAdmissionConfig::default() };
        let (mut guard, mut model) = (SessionAdmission::new(&config, KeyedState::new(7)), Model::new(&config));
        let askers = askers();
        let ask = |asker: usize| SessionIdentity { id: askers[asker].0, chain: &askers[asker].1 };
        let (mut now, mut begun) = (Instant::ORIGIN, Vec::new());
        for input in inputs {
            match input {
                Input::Wait(millis) => now = now + Duration::from_millis(millis),
                Input::Begin { asker, slot, tokens } => {
                    let session = guard.begin(now, ask(asker), slot, tokens);
                    prop_assert_eq!(session, model.begin(now, ask(asker), slot, tokens));
                    begun.push(session);
                }
                Input::End { session, tokens } if !begun.is_empty() => {
                    let session = begun.swap_remove(session % begun.len());
                    guard.end(now, session, tokens);
                    model.end(now, session, tokens);
                }
                Input::Redirect { session, slot } if !begun.is_empty() => {
                    let session = begun[session % begun.len()];
                    guard.redirect(session, slot);
                    model.redirect(session, slot);
                }
                Input::Leave(slot) => {
                    guard.leave(slot);
                    model.leave(slot);
                }
                Input::End { .. } | Input::Redirect { .. } => {}
            }
            guard.expire(now);
            model.expire(now);
            prop_assert_eq!(guard.next_timeout(), model.next_timeout());
            for slot in 0..3 {
                prop_assert_eq!(guard.working_set(slot), model.working_set(slot));
            }
            for asker in 0..askers.len() {
                prop_assert_eq!(guard.identify(ask(asker)), model.identify(ask(asker)));
            }
            let stats = guard.stats();
            prop_assert_eq!(stats.remembered, model.sessions.len());
            prop_assert_eq!(stats.active, model.sessions.iter().filter(|s| !s.lapsed).count());
            prop_assert!(stats.remembered <= max_sessions);
        }
    }

    /// Until a session returns, each start leaves every working set within the share, or is alone
    /// there.
    #[test]
    fn new_sessions_fit_or_are_alone(sessions in prop::collection::vec((0u32..4, 0u32..120_000, 0u64..10), 0..100)) {
        let (config, capacity) = (SessionAdmissionConfig::default(), 100_000);
        let mut guard = SessionAdmission::new(&config, KeyedState::new(7));
        let mut now = Instant::ORIGIN;
        let mut alone = [true; 4];
        for (id, (slot, tokens, pause)) in sessions.into_iter().enumerate() {
            now = now + Duration::from_secs(pause);
            guard.expire(now);
            if guard.may_start(slot, tokens, capacity) {
                alone[slot as usize] = guard.working_set(slot) == 0;
                let identity = SessionIdentity { id: Some(id as u64), chain: &[] };
                let session = guard.begin(now, identity, slot, tokens);
                guard.end(now, session, tokens);
            }
            let most = config.share * f64::from(capacity);
            prop_assert!(alone[slot as usize] || guard.working_set(slot) as f64 <= most);
        }
    }
}
