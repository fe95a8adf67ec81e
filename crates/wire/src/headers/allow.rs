//! Claims of a client about its own request.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::ops::RangeInclusive;
use core::time::Duration;

use slotwise::{Instant, Priority, Request};

use super::RequestHeaders;

/// The claims that the host accepts from clients. By default none: each of them could put a client
/// before others.
///
/// Applies to bodies and headers alike. Values outside a range are clamped. Neither bodies nor
/// headers carry a weight.
///
/// ```
/// use slotwise::{Priority, Request};
/// use slotwise::Instant;
/// use slotwise_wire::headers::{Allow, RequestHeaders};
///
/// let headers = RequestHeaders::read([(b"x-vllm-priority".as_slice(), b"-7".as_slice())]);
/// let priority = |allow: &Allow| {
///     headers.apply_allowed(allow, Instant::ORIGIN, Request::new("llama")).priority
/// };
/// assert_eq!(priority(&Allow::default()), Priority(0));
/// assert_eq!(priority(&Allow::default().priority(-10..=5)), Priority(5));
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Allow {
    /// The accepted priorities, in the core's order: higher goes first.
    pub priority: Option<RangeInclusive<i32>>,
    /// Whether flows are accepted.
    pub flow: bool,
    /// Whether sessions are accepted, from bodies and from known headers.
    pub session: bool,
    /// Further headers that name a session, by precedence.
    pub session_headers: Vec<String>,
    /// The accepted TTLs.
    pub ttl: Option<RangeInclusive<Duration>>,
    /// The accepted deadlines, relative to now.
    pub deadline: Option<RangeInclusive<Duration>>,
    /// Whether objectives are accepted. Routing reads them; schedulers have none.
    pub objective: bool,
}

impl Allow {
    /// The names of all claims.
    pub const NAMES: [&'static str; 6] =
        ["priority", "flow", "session", "ttl", "deadline", "objective"];

    /// The default range of priorities.
    pub const PRIORITIES: RangeInclusive<i32> = -100..=100;

    /// The default range of TTLs and deadlines: up to an hour.
    pub const TIMES: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3_600);

    /// Accepts all claims within the default ranges.
    pub fn everything() -> Self {
        let mut allow = Self::default();
        for name in Self::NAMES {
            // All of these names are known.
            _ = allow.add(name);
        }
        allow
    }

    /// Accepts a claim by name, within its default range.
    ///
    /// # Errors
    ///
    /// Returns the known names if this is none of them.
    pub fn add(&mut self, name: &str) -> Result<(), AllowError> {
        match name {
            "priority" => self.priority = Some(Self::PRIORITIES),
            "flow" => self.flow = true,
            "session" => self.session = true,
            "ttl" => self.ttl = Some(Self::TIMES),
            "deadline" => self.deadline = Some(Self::TIMES),
            "objective" => self.objective = true,
            _ => return Err(AllowError::UnknownClaim(name.into())),
        }
        Ok(())
    }

    /// Accepts priorities from `low` to `high`, for hosts that read ranges from configuration.
    ///
    /// # Errors
    ///
    /// Returns an error if `low` is above `high`.
    pub fn add_priority(&mut self, low: i32, high: i32) -> Result<(), AllowError> {
        if low > high {
            return Err(AllowError::EmptyRange);
        }
        self.priority = Some(low..=high);
        Ok(())
    }

    /// A range of TTLs or deadlines in seconds, for hosts that read ranges from configuration. An
    /// infinite `high` sets no upper limit.
    ///
    /// ```
    /// use core::time::Duration;
    /// use slotwise_wire::headers::Allow;
    ///
    /// let range = Allow::seconds(0.5, f64::INFINITY);
    /// assert_eq!(range, Ok(Duration::from_millis(500)..=Duration::MAX));
    /// let error = Allow::seconds(2.0, 1.0).expect_err("no time is in this range");
    /// assert_eq!(error.to_string(), "must not have its first bound above its second one");
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if `low` is negative, above `high`, or either is not a number.
    pub fn seconds(low: f64, high: f64) -> Result<RangeInclusive<Duration>, AllowError> {
        if low > high {
            return Err(AllowError::EmptyRange);
        }
        // A comparison with NaN is false.
        if !(low >= 0.0 && high >= 0.0) {
            return Err(AllowError::NotATime);
        }
        let time = |seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        Ok(time(low)..=time(high))
    }

    /// Accepts priorities within this range.
    pub fn priority(self, range: RangeInclusive<i32>) -> Self {
        Self { priority: Some(range), ..self }
    }

    /// Accepts flows.
    pub fn flow(self) -> Self {
        Self { flow: true, ..self }
    }

    /// Accepts sessions.
    pub fn session(self) -> Self {
        Self { session: true, ..self }
    }

    /// Accepts sessions from a header of this name, in any case: `x-claude-code-session-id`,
    /// `X-Correlation-ID`.
    pub fn session_header(mut self, name: &str) -> Self {
        self.session_headers.push(name.into());
        self
    }

    /// Accepts TTLs within this range.
    pub fn ttl(self, range: RangeInclusive<Duration>) -> Self {
        Self { ttl: Some(range), ..self }
    }

    /// Accepts deadlines and service levels within this range.
    pub fn deadline(self, range: RangeInclusive<Duration>) -> Self {
        Self { deadline: Some(range), ..self }
    }

    /// Accepts objectives.
    pub fn objective(self) -> Self {
        Self { objective: true, ..self }
    }

    /// Clamps a priority; `None` if priorities are not accepted.
    pub(crate) fn clamp_priority(&self, priority: Priority) -> Option<Priority> {
        let range = self.priority.as_ref()?;
        Some(Priority(priority.0.max(*range.start()).min(*range.end())))
    }
}

/// A claim that cannot be accepted as described.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum AllowError {
    /// No claim has this name.
    UnknownClaim(String),
    /// The first bound of the range is above the second one.
    EmptyRange,
    /// A bound is negative or not a number.
    NotATime,
}

impl fmt::Display for AllowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownClaim(name) => {
                f.write_str("must be one of ")?;
                for (at, known) in Allow::NAMES.into_iter().enumerate() {
                    write!(f, "{}'{known}'", if at == 0 { "" } else { ", " })?;
                }
                write!(f, ", got {name:?}")
            }
            Self::EmptyRange => f.write_str("must not have its first bound above its second one"),
            Self::NotATime => f.write_str("must be two times of at least 0"),
        }
    }
}

impl core::error::Error for AllowError {}

impl<'a> RequestHeaders<'a> {
    /// Reads headers as [`read`](Self::read) does, and also the host's session headers.
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

    /// The session, if it is accepted: that of a listed header, else that of a known one.
    pub fn allowed_session(&self, allow: &Allow) -> Option<&'a str> {
        self.listed_session.or_else(|| self.session().filter(|_| allow.session))
    }

    /// The objective, if objectives are accepted.
    pub fn allowed_objective(&self, allow: &Allow) -> Option<&'a str> {
        self.objective.filter(|_| allow.objective)
    }

    /// Applies the accepted claims to a request: flow, priority, session, TTL, and the first
    /// token's SLO as a deadline after `now`. A subset of endpoints always applies: it restricts
    /// the request and no other. Other fields stay.
    ///
    /// The model stays, too: a host that rewrites the model in the body decides which name selects
    /// endpoints.
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
        request.session = self.allowed_session(allow).or(request.session);
        request.deadline =
            clamp(&allow.deadline, self.slo_ttft).map(|slo| now + slo).or(request.deadline);
        request.slo_ttft = clamp(&allow.deadline, self.slo_ttft).or(request.slo_ttft);
        request.slo_tpot = clamp(&allow.deadline, self.slo_tpot).or(request.slo_tpot);
        request.ttl = clamp(&allow.ttl, self.ttl).or(request.ttl);
        let subset = self.subset.map(|subset| slotwise::Subset::addresses(subset.as_str()));
        request.subset = subset.or(request.subset);
        request
    }
}
