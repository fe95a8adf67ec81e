//! How long an endpoint may send nothing of an answer.

use core::time::Duration;

use slotwise::{Dispatch, Instant};

/// The longest time without a token.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum IdleLimit {
    /// [`Dispatch::idle_limit`]: before the first token 30 s or ten times the prediction, before a
    /// whole answer 600 s, then 60 s.
    #[default]
    Predicted,
    /// This time before the first token, and before each further one.
    Fixed(Duration),
    /// No limit.
    Unlimited,
}

impl IdleLimit {
    /// This many seconds. Infinity, and what no [`Duration`] holds, is no limit.
    pub fn from_secs(seconds: f64) -> Self {
        Duration::try_from_secs_f64(seconds).map_or(Self::Unlimited, Self::Fixed)
    }
}

/// How long an endpoint may still send nothing. Some engines stop without closing their streams.
///
/// Only the time counts in which the host waits for the endpoint: a slow client costs the endpoint
/// nothing. So a host calls [`wait`](Self::wait) before it reads, and the lease's next
/// [`feed`](super::Lease::feed) ends the wait. A host whose timers run on another clock than the
/// scheduler's ends the wait itself, by [`end_wait`](Self::end_wait) with the same clock.
///
/// ```
/// use core::time::Duration;
/// use slotwise::{Dispatch, EndpointId, Instant, RequestId};
/// use slotwise_gateway::lease::Silence;
///
/// let at = |seconds| Instant::ORIGIN + Duration::from_secs(seconds);
/// let mut silence =
///     Silence::new(&Dispatch::new(RequestId::from_u64(0), EndpointId::from_u64(0)));
/// assert_eq!(silence.wait(at(0)), Some(at(30)));
/// silence.end_wait(at(10)); // a comment arrived, and the client is slow
/// assert_eq!(silence.wait(at(100)), Some(at(120)));
/// assert!(silence.is_overdue(at(120)));
/// silence.end_wait(at(110));
/// silence.token();
/// assert_eq!(silence.wait(at(111)), Some(at(171)));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Silence {
    /// Before the first token, and between tokens.
    predicted: [Duration; 2],
    limit: IdleLimit,
    started: bool,
    left: Option<Duration>,
    waits_since: Option<Instant>,
}

impl Silence {
    /// Before the first token of a dispatched request.
    pub fn new(dispatch: &Dispatch) -> Self {
        let predicted = [false, true].map(|has_token| dispatch.idle_limit(has_token));
        let (limit, left) = (IdleLimit::Predicted, Some(predicted[0]));
        Self { predicted, limit, started: false, left, waits_since: None }
    }

    /// Sets the limit. What has been waited for so far no longer counts.
    pub fn set_limit(&mut self, limit: IdleLimit) {
        self.limit = limit;
        self.left = self.allowed();
    }

    /// The host waits for the endpoint from `now` on. Returns when to close the lease as [timed
    /// out](slotwise_wire::response::CloseReason::TimedOut) if nothing comes; `None` without a
    /// limit.
    pub fn wait(&mut self, now: Instant) -> Option<Instant> {
        let since = *self.waits_since.get_or_insert(now);
        Some(since + self.left?)
    }

    /// The host no longer waits: something came, or the client is served first.
    pub fn end_wait(&mut self, now: Instant) {
        let Some(since) = self.waits_since.take() else { return };
        self.left = self.left.map(|left| left.saturating_sub(now.saturating_since(since)));
    }

    /// A token came: the time begins anew.
    pub fn token(&mut self) {
        self.started = true;
        self.left = self.allowed();
        self.waits_since = None;
    }

    /// Another endpoint is asked: the time begins anew.
    pub fn restart(&mut self) {
        self.left = self.allowed();
        self.waits_since = None;
    }

    /// Whether the endpoint has been waited for as long as it may stay silent.
    pub fn is_overdue(&self, now: Instant) -> bool {
        let waited = self.waits_since.map_or(Duration::ZERO, |since| now.saturating_since(since));
        self.left.is_some_and(|left| waited >= left)
    }

    /// The whole time that is allowed now, for messages; `None` without a limit.
    pub fn allowed(&self) -> Option<Duration> {
        match self.limit {
            IdleLimit::Predicted => Some(self.predicted[usize::from(self.started)]),
            IdleLimit::Fixed(limit) => Some(limit),
            IdleLimit::Unlimited => None,
        }
    }

    /// Whether the first token has come.
    pub const fn has_started(&self) -> bool {
        self.started
    }
}
