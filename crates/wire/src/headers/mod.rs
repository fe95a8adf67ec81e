//! Headers of the Gateway API's inference extension, both ways.
//!
//! | file | what it knows |
//! |---|---|
//! | here | which headers a request may carry, and which of them counts |
//! | `allow` | what a client may say of its own request |
//! | `value` | what their values mean |
//! | `subset`, `address` | hosts and ports |
//! | `answer` | which headers go out |
//!
//! Headers are claims. A flow, a priority, a session, a TTL and a deadline count only where the host says so: see [`Allow`].

mod address;
mod allow;
pub mod answer;
mod subset;
mod value;

use core::fmt;
use core::time::Duration;

use slotwise::{Instant, Priority, Request};

pub use address::Address;
pub use allow::Allow;
pub use subset::Subset;
pub use value::LoadFormat;

use crate::error::{ErrorKind, WireError};

/// A header of a request that means something to a scheduler.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Header {
    /// Who asks: the unit of fairness.
    FairnessId,
    /// The name of an `InferenceObjective`, which has a priority.
    Objective,
    /// The model's name when the request is passed on.
    ModelRewrite,
    /// Milliseconds to the first token that are still of use.
    SloTtft,
    /// Milliseconds for each token after it.
    SloTpot,
    /// How long the request may wait for a decision, as Go writes lengths of time: `2s`, `1m30s`, `250ms`.
    Ttl,
    /// The name of a conversation.
    SessionId,
    /// What an earlier answer gave the client for its conversation.
    SessionToken,
    /// The client's own name for the request.
    RequestId,
    /// The endpoints that may have the request.
    Subset,
    /// vLLM's priority, where lower is earlier.
    Priority,
    /// In which form the client wants the engine's load (ORCA).
    LoadFormat,
}

impl Header {
    /// All of them.
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

    /// Its name, in lower case.
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

    /// The name that it had before, if it had one. It still counts where the new one is missing.
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

    /// The header of this name, in any case, and whether it is the old name.
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

/// A header that was there and says nothing that can be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct UnusableHeader {
    /// Which.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub header: Header,
    /// The name that the request called it by, in lower case.
    pub name: &'static str,
    /// What is wrong with its value, and where in it.
    pub error: WireError,
}

impl fmt::Display for UnusableHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.error)
    }
}

impl core::error::Error for UnusableHeader {}

/// What the headers of a request say to a scheduler. It borrows everything.
///
/// What cannot be used is left out, and [named](Self::unusable). An empty name, such as that of a flow, is as good as none.
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
    /// Who asks.
    pub fairness_id: Option<&'a str>,
    /// The objective's name. Which priority it has is for the gateway to know.
    pub objective: Option<&'a str>,
    /// The model's name when the request is passed on.
    pub model_rewrite: Option<&'a str>,
    /// The time to the first token that is still of use.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde_impls::seconds"))]
    pub slo_ttft: Option<Duration>,
    /// The time for each token after it.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde_impls::seconds"))]
    pub slo_tpot: Option<Duration>,
    /// How long the request may wait for a decision.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde_impls::seconds"))]
    pub ttl: Option<Duration>,
    /// The conversation's name.
    pub session_id: Option<&'a str>,
    /// The conversation's token.
    pub session_token: Option<&'a str>,
    /// The conversation's name in a header that the host has listed: see [`Allow::session_headers`].
    #[cfg_attr(feature = "serde", serde(skip))]
    pub listed_session: Option<&'a str>,
    /// The client's name for the request.
    pub request_id: Option<&'a str>,
    /// The endpoints that may have it; none means all, and one that is empty or cannot be read means nobody.
    pub subset: Option<Subset<'a>>,
    /// The priority as the core has it: higher goes first.
    pub priority: Option<Priority>,
    /// The form in which the client wants the engine's load.
    pub load_format: Option<LoadFormat>,
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde_impls::present_only"))]
    unusable: [Option<UnusableHeader>; Header::ALL.len()],
}

impl<'a> RequestHeaders<'a> {
    /// Reads pairs of a name, in any case, and a value. Computes in **O(bytes)**, and allocates nothing.
    ///
    /// Headers of other names are passed over. The new name of a header counts before the old one, and the first value of a name
    /// before others: a second one that differs is unusable, and named.
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
            let again = WireError::new(0, ErrorKind::Unsupported("a second value"));
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
                // Whoever restricts must not be heard as saying nothing.
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

    /// The request with what the headers say of it and every client may say: nothing so far. A host that lets clients say
    /// more calls [`apply_allowed`](Self::apply_allowed).
    pub fn apply<'r>(&self, now: Instant, request: Request<'r>) -> Request<'r>
    where
        'a: 'r,
    {
        self.apply_allowed(&Allow::default(), now, request)
    }

    /// What the conversation is known by: its id, or else its token.
    pub fn session(&self) -> Option<&'a str> {
        self.session_id.or(self.session_token)
    }

    /// Whether the endpoint of this name may have the request: see [`Subset::allows`].
    pub fn allows(&self, endpoint: &str) -> bool {
        self.subset.is_none_or(|subset| subset.allows(endpoint))
    }

    /// The headers that were there and cannot be used, or not wholly, in the order of [`Header::ALL`].
    pub fn unusable(&self) -> impl Iterator<Item = UnusableHeader> + '_ {
        self.unusable.iter().flatten().copied()
    }
}

/// The values of one header, by both of its names.
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
