//! What a client may say of its own request.

use alloc::string::String;
use alloc::vec::Vec;
use core::ops::RangeInclusive;
use core::time::Duration;

use slotwise::{Instant, Priority, Request};

use super::RequestHeaders;

/// What counts of that by which a client could put itself before others: nothing, unless the host names it.
///
/// It applies to bodies and headers alike. What is beyond a range counts as its nearest end. No body and no header has a
/// weight, so there is nothing to allow.
///
/// ```
/// use slotwise::{Priority, Request};
/// use slotwise::Instant;
/// use slotwise_wire::headers::{Allow, RequestHeaders};
///
/// let headers = RequestHeaders::read([(b"x-vllm-priority".as_slice(), b"-7".as_slice())]);
/// let request = |allow: &Allow| headers.apply_allowed(allow, Instant::ORIGIN, Request::new("llama")).priority;
/// assert_eq!(request(&Allow::default()), Priority(0));
/// assert_eq!(request(&Allow::default().priority(-10..=5)), Priority(5));
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Allow {
    /// Priorities as the core has them: higher goes first.
    pub priority: Option<RangeInclusive<i32>>,
    /// Who asks.
    pub flow: bool,
    /// The conversation, from the body and from the headers that are known.
    pub session: bool,
    /// Other headers that name a conversation, in the order in which they count.
    pub session_headers: Vec<String>,
    /// How long a request may wait.
    pub ttl: Option<RangeInclusive<Duration>>,
    /// How far away its deadline may be.
    pub deadline: Option<RangeInclusive<Duration>>,
}

impl Allow {
    /// What can be allowed, by name.
    pub const NAMES: [&'static str; 5] = ["priority", "flow", "session", "ttl", "deadline"];

    /// The range of a priority that is allowed without one.
    pub const PRIORITIES: RangeInclusive<i32> = -100..=100;

    /// The range of a TTL or a deadline that is allowed without one: an hour.
    pub const TIMES: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3_600);

    /// Everything, within the ranges above.
    pub fn everything() -> Self {
        let mut allow = Self::default();
        for name in Self::NAMES {
            allow.add(name);
        }
        allow
    }

    /// Allows what has this name, within the range above. Returns whether there is such a name.
    pub fn add(&mut self, name: &str) -> bool {
        match name {
            "priority" => self.priority = Some(Self::PRIORITIES),
            "flow" => self.flow = true,
            "session" => self.session = true,
            "ttl" => self.ttl = Some(Self::TIMES),
            "deadline" => self.deadline = Some(Self::TIMES),
            _ => return false,
        }
        true
    }

    /// Allows priorities of this range.
    pub fn priority(self, range: RangeInclusive<i32>) -> Self {
        Self { priority: Some(range), ..self }
    }

    /// Allows flows.
    pub fn flow(self) -> Self {
        Self { flow: true, ..self }
    }

    /// Allows sessions.
    pub fn session(self) -> Self {
        Self { session: true, ..self }
    }

    /// Allows sessions by a header of this name, in any case: `x-claude-code-session-id`, `X-Correlation-ID`.
    pub fn session_header(mut self, name: &str) -> Self {
        self.session_headers.push(name.into());
        self
    }

    /// Allows TTLs of this range.
    pub fn ttl(self, range: RangeInclusive<Duration>) -> Self {
        Self { ttl: Some(range), ..self }
    }

    /// Allows deadlines as far away as this.
    pub fn deadline(self, range: RangeInclusive<Duration>) -> Self {
        Self { deadline: Some(range), ..self }
    }

    /// A priority as far as it counts.
    pub(crate) fn clamp_priority(&self, priority: Priority) -> Option<Priority> {
        let range = self.priority.as_ref()?;
        Some(Priority(priority.0.max(*range.start()).min(*range.end())))
    }
}

impl<'a> RequestHeaders<'a> {
    /// Reads headers as [`read`](Self::read) does, and sessions from those that the host has listed.
    pub fn read_allowed<I>(allow: &Allow, pairs: I) -> Self
    where
        I: IntoIterator<Item = (&'a [u8], &'a [u8])>,
        I::IntoIter: Clone,
    {
        let pairs = pairs.into_iter();
        let mut headers = Self::read(pairs.clone());
        headers.listed_session = allow.session_headers.iter().find_map(|listed| {
            let mut named =
                pairs.clone().filter(|(name, _)| name.eq_ignore_ascii_case(listed.as_bytes()));
            named.find_map(|(_, value)| super::value::text(value).ok().flatten())
        });
        headers
    }

    /// The request with what the headers say of it and the host allows: flow, priority, session, TTL, and a deadline as far
    /// from `now` as the first token's SLO. What they do not say stays as it is.
    ///
    /// The model stays, too: a host that rewrites its name in the body knows by which one endpoints are chosen.
    pub fn apply_allowed<'r>(
        &self,
        allow: &Allow,
        now: Instant,
        request: Request<'r>,
    ) -> Request<'r>
    where
        'a: 'r,
    {
        let clamp = |range: &Option<RangeInclusive<Duration>>, time: Option<Duration>| {
            let (range, time) = (range.as_ref()?, time?);
            Some(time.max(*range.start()).min(*range.end()))
        };
        let mut request = request;
        let priority = self.priority.and_then(|priority| allow.clamp_priority(priority));
        request.priority = priority.unwrap_or(request.priority);
        request.flow = self.fairness_id.filter(|_| allow.flow).unwrap_or(request.flow);
        let session = self.listed_session.or_else(|| self.session().filter(|_| allow.session));
        request.session = session.or(request.session);
        request.deadline =
            clamp(&allow.deadline, self.slo_ttft).map(|slo| now + slo).or(request.deadline);
        request.ttl = clamp(&allow.ttl, self.ttl).or(request.ttl);
        request
    }
}
