//! Headers of the Gateway API's inference extension in both directions, and which headers pass.
//!
//! | file | contents |
//! |---|---|
//! | `mod` | the headers of a request, and their precedence |
//! | `allow` | the claims that a host accepts |
//! | `value` | the values of headers |
//! | `subset` | hosts and ports |
//! | `answer` | the headers of dispatched requests and answers |
//! | `forwarding` | which headers pass between client and engine |
//!
//! Headers are claims. A flow, a priority, a session, a TTL and a deadline count only if the host
//! accepts them: see [`Allow`].

mod allow;
pub mod answer;
mod forwarding;
mod subset;
mod value;

use core::fmt;
use core::time::Duration;

pub use slotwise::Address;
use slotwise::{Instant, Priority, Request};

pub use allow::{Allow, AllowError};
pub use forwarding::Forwarding;
pub use subset::Subset;
pub use value::LoadFormat;

use crate::error::{ErrorKind, WireError};

/// A request header that affects scheduling.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Header {
    /// The client: the unit of fairness.
    FairnessId,
    /// The name of an `InferenceObjective`, which has a priority.
    Objective,
    /// The model's name in the forwarded request.
    ModelRewrite,
    /// The SLO for the time to the first token, in milliseconds.
    SloTtft,
    /// The SLO for the time per further token, in milliseconds.
    SloTpot,
    /// How long the request may wait in the queue, as a Go duration: `2s`, `1m30s`, `250ms`.
    Ttl,
    /// The id of a session.
    SessionId,
    /// A session token from an earlier answer.
    SessionToken,
    /// The client's id for the request.
    RequestId,
    /// The endpoints that may serve the request.
    Subset,
    /// vLLM's priority; lower goes first.
    Priority,
    /// The format in which the client wants the engine's load (ORCA).
    LoadFormat,
}

impl Header {
    /// All headers.
    pub const ALL: [Self; 12] = [
        Self::FairnessId,
        Self::Objective,
        Self::ModelRewrite,
        Self::SloTtft,
        Self::SloTpot,
        Self::Ttl,
        Self::SessionId,
        Self::SessionToken,
        Self::RequestId,
        Self::Subset,
        Self::Priority,
        Self::LoadFormat,
    ];

    /// The header's name in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FairnessId => "x-llm-d-inference-fairness-id",
            Self::Objective => "x-llm-d-inference-objective",
            Self::ModelRewrite => "x-llm-d-model-name-rewrite",
            Self::SloTtft => "x-llm-d-slo-ttft-ms",
            Self::SloTpot => "x-llm-d-slo-tpot-ms",
            Self::Ttl => "x-llm-d-inference-ttl",
            Self::SessionId => "x-session-id",
            Self::SessionToken => "x-session-token",
            Self::RequestId => "x-request-id",
            Self::Subset => "x-gateway-destination-endpoint-subset",
            Self::Priority => "x-vllm-priority",
            Self::LoadFormat => "endpoint-load-metrics-format",
        }
    }

    /// The header's former name, if it has one. It counts if the new name is missing.
    pub const fn old_name(self) -> Option<&'static str> {
        match self {
            Self::FairnessId => Some("x-gateway-inference-fairness-id"),
            Self::Objective => Some("x-gateway-inference-objective"),
            Self::ModelRewrite => Some("x-gateway-model-name-rewrite"),
            Self::SloTtft => Some("x-slo-ttft-ms"),
            Self::SloTpot => Some("x-slo-tpot-ms"),
            _ => None,
        }
    }

    /// Finds a header by name in any case; the flag is whether this is its former name.
    fn named(name: &[u8]) -> Option<(Self, bool)> {
        Self::ALL.into_iter().find_map(|header| {
            let is = |own: &str| own.as_bytes().eq_ignore_ascii_case(name);
            if is(header.name()) {
                Some((header, false))
            } else {
                header.old_name().is_some_and(is).then_some((header, true))
            }
        })
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A header whose value cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct UnusableHeader {
    /// The header.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub header: Header,
    /// The name that the request used, in lower case.
    pub name: &'static str,
    /// The parse error of its value.
    pub error: WireError,
}

impl fmt::Display for UnusableHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.error)
    }
}

impl core::error::Error for UnusableHeader {}

/// The headers of a request that affect scheduling. Borrows from the input.
///
/// Unusable headers are skipped and [listed](Self::unusable). An empty name, such as that of a
/// flow, counts as missing.
///
/// ```
/// use core::time::Duration;
/// use slotwise::{Instant, Priority, Request};
/// use slotwise_wire::headers::{Allow, RequestHeaders};
///
/// let headers = RequestHeaders::read([
///     (b"X-LLM-D-Inference-Fairness-Id".as_slice(), b"team-a".as_slice()),
///     (b"x-slo-ttft-ms", b"400"),
///     (b"x-vllm-priority", b"-2"),
///     (b"x-llm-d-slo-tpot-ms", b"soon"),
/// ]);
/// assert_eq!(headers.slo_ttft, Some(Duration::from_millis(400)));
/// assert_eq!(headers.unusable().next().map(|it| it.name), Some("x-llm-d-slo-tpot-ms"));
///
/// let now = Instant::from_micros(1_000_000);
/// // Nothing of it counts unless the host says so.
/// let request = headers.apply(now, Request::new("llama-3.1-8b"));
/// assert_eq!((request.flow, request.priority), ("", Priority(0)));
/// let allow = Allow::default().flow().priority(-5..=5).deadline(Allow::TIMES);
/// let request = headers.apply_allowed(&allow, now, Request::new("llama-3.1-8b"));
/// assert_eq!((request.flow, request.priority), ("team-a", Priority(2)));
/// assert_eq!(request.deadline, Some(Instant::from_micros(1_400_000)));
/// ```
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RequestHeaders<'a> {
    /// The client: the unit of fairness.
    pub fairness_id: Option<&'a str>,
    /// The name of the objective. The gateway maps it to a priority.
    pub objective: Option<&'a str>,
    /// The model's name in the forwarded request.
    pub model_rewrite: Option<&'a str>,
    /// The SLO for the time to the first token.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde_impls::seconds"))]
    pub slo_ttft: Option<Duration>,
    /// The SLO for the time per further token.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde_impls::seconds"))]
    pub slo_tpot: Option<Duration>,
    /// How long the request may wait in the queue.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde_impls::seconds"))]
    pub ttl: Option<Duration>,
    /// The id of the session.
    pub session_id: Option<&'a str>,
    /// The token of the session.
    pub session_token: Option<&'a str>,
    /// The session in one of the host's headers: see [`Allow::session_headers`].
    #[cfg_attr(feature = "serde", serde(skip))]
    pub listed_session: Option<&'a str>,
    /// The client's id for the request.
    pub request_id: Option<&'a str>,
    /// The endpoints that may serve the request. `None` permits all; an empty or invalid list
    /// permits none.
    pub subset: Option<Subset<'a>>,
    /// The priority in the core's order: higher goes first.
    pub priority: Option<Priority>,
    /// The format in which the client wants the engine's load.
    pub load_format: Option<LoadFormat>,
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde_impls::present_only"))]
    unusable: [Option<UnusableHeader>; Header::ALL.len()],
}

impl<'a> RequestHeaders<'a> {
    /// Reads pairs of a name, in any case, and a value. Computes in **O(bytes)** and does not
    /// allocate.
    ///
    /// Unknown headers are ignored. A new name has precedence over the former one, and the first
    /// value of a name over others. A second value that differs is listed as unusable.
    pub fn read(pairs: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let mut found = [Found::default(); Header::ALL.len()];
        for (name, value) in pairs {
            let Some((header, old)) = Header::named(name) else { continue };
            let Some(found) = found.get_mut(header as usize) else { continue };
            found.add(value, old);
        }
        let mut headers = Self::default();
        for (header, found) in Header::ALL.into_iter().zip(found) {
            let (value, second, name) = match (found.new, header.old_name()) {
                (Some(value), _) => (value, found.second_new, header.name()),
                (None, Some(old)) => (found.old.unwrap_or_default(), found.second_old, old),
                (None, None) => (&[][..], false, header.name()),
            };
            if found.new.is_none() && found.old.is_none() {
                continue;
            }
            let again = WireError::new(0, ErrorKind::Unsupported("a second, different value"));
            let said = headers.take(header, value).and(if second { Err(again) } else { Ok(()) });
            if let (Err(error), Some(place)) = (said, headers.unusable.get_mut(header as usize)) {
                *place = Some(UnusableHeader { header, name, error });
            }
        }
        headers
    }

    fn take(&mut self, header: Header, value: &'a [u8]) -> Result<(), WireError> {
        match header {
            Header::FairnessId => self.fairness_id = value::text(value)?,
            Header::Objective => self.objective = value::text(value)?,
            Header::ModelRewrite => self.model_rewrite = value::text(value)?,
            Header::SloTtft => self.slo_ttft = Some(value::milliseconds(value)?),
            Header::SloTpot => self.slo_tpot = Some(value::milliseconds(value)?),
            Header::Ttl => self.ttl = Some(value::go_duration(value)?),
            Header::SessionId => self.session_id = value::text(value)?,
            Header::SessionToken => self.session_token = value::text(value)?,
            Header::RequestId => self.request_id = value::text(value)?,
            Header::Subset => {
                // An invalid restriction must not count as none.
                self.subset = Some(Subset::default());
                let subset = Subset::new(value::text(value)?.unwrap_or_default());
                self.subset = Some(subset);
                subset.check()?;
            }
            Header::Priority => self.priority = Some(value::vllm_priority(value)?),
            Header::LoadFormat => self.load_format = Some(value::load_format(value)?),
        }
        Ok(())
    }

    /// Applies the claims that every client may make: the subset of endpoints. Use
    /// [`apply_allowed`](Self::apply_allowed) to accept more.
    pub fn apply<'r>(&self, now: Instant, request: Request<'r>) -> Request<'r>
    where
        'a: 'r,
    {
        self.apply_allowed(&Allow::default(), now, request)
    }

    /// The id of the session, or else its token.
    pub fn session(&self) -> Option<&'a str> {
        self.session_id.or(self.session_token)
    }

    /// Whether the endpoint of this name may serve the request: see [`Subset::allows`].
    pub fn allows(&self, endpoint: &str) -> bool {
        self.subset.is_none_or(|subset| subset.allows(endpoint))
    }

    /// The headers that cannot be used in full, in the order of [`Header::ALL`].
    pub fn unusable(&self) -> impl Iterator<Item = UnusableHeader> + '_ {
        self.unusable.iter().flatten().copied()
    }
}

/// The values of one header under both of its names.
#[derive(Clone, Copy, Default)]
struct Found<'a> {
    new: Option<&'a [u8]>,
    old: Option<&'a [u8]>,
    second_new: bool,
    second_old: bool,
}

impl<'a> Found<'a> {
    fn add(&mut self, value: &'a [u8], old: bool) {
        let (first, second) = if old {
            (&mut self.old, &mut self.second_old)
        } else {
            (&mut self.new, &mut self.second_new)
        };
        match *first {
            Some(first) => *second |= first != value,
            None => *first = Some(value),
        }
    }
}
