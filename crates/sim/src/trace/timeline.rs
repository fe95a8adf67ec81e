//! Sessions from recorded calls: calls that overlap run side by side, others follow each other.

use std::time::Duration;

use super::{Session, Spawn, Turn};

/// A request of a recording.
pub(super) struct Call {
    /// When it was sent, in nanoseconds.
    pub(super) start: i64,
    /// When its answer was complete.
    pub(super) end: i64,
    /// The request; its think time follows from the times.
    pub(super) turn: Turn,
}

/// A session that was made of calls, and when its turns were sent.
pub(super) struct Made {
    pub(super) session: usize,
    pub(super) starts: Vec<i64>,
}

impl Made {
    /// With which turn something began at `at`, and how much later than the turn.
    pub(super) fn spawn(&self, at: i64, session: usize) -> Spawn {
        let turn = self.starts.partition_point(|start| *start <= at).saturating_sub(1);
        Spawn { turn, delay: between(self.starts[turn], at), session }
    }
}

/// Nanoseconds, of seconds; to the microsecond, which is what a float of our days holds.
pub(super) fn nanoseconds(seconds: f64) -> i64 {
    // The conversion saturates.
    ((seconds * 1e6).round() as i64).saturating_mul(1_000)
}

/// From one time to another; none if they are the other way round.
pub(super) fn between(from: i64, to: i64) -> Duration {
    Duration::from_nanos(to.saturating_sub(from).max(0).cast_unsigned())
}

/// Adds one client's calls as a session. A call that was sent while all earlier chains were busy
/// begins a chain of its own beside the first one, as a sub-agent does; any other goes on with the
/// free chain whose prompt it shares most of.
pub(super) fn add(mut calls: Vec<Call>, sessions: &mut Vec<Session>) -> Option<Made> {
    calls.sort_by_key(|call| (call.start, call.end));
    let mut first: Option<Made> = None;
    // Each chain's session, and when its latest answer was complete.
    let mut chains: Vec<(usize, i64)> = Vec::new();
    for call in calls {
        let shared = |session: &Session| {
            let last = session.turns.last().map_or(&[][..], |turn| &turn.blocks);
            last.iter().zip(&*call.turn.blocks).take_while(|(a, b)| a == b).count()
        };
        let free = chains.iter_mut().filter(|(_, end)| *end <= call.start);
        let chain = free.max_by_key(|(session, end)| (shared(&sessions[*session]), *end));
        let (session, think) = match chain {
            Some((session, end)) => {
                let think = between(*end, call.start);
                *end = call.end;
                (*session, think)
            }
            None => {
                let session = sessions.len();
                sessions.push(Session { spawned: first.is_some(), ..Session::default() });
                if let Some(first) = &first {
                    let spawn = first.spawn(call.start, session);
                    sessions[first.session].spawns.push(spawn);
                }
                chains.push((session, call.end));
                (session, Duration::ZERO)
            }
        };
        sessions[session].turns.push(Turn { think, ..call.turn });
        let first = first.get_or_insert(Made { session, starts: Vec::new() });
        if first.session == session {
            first.starts.push(call.start);
        }
    }
    first
}
