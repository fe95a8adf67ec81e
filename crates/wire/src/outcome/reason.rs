//! Refusal reasons and their names in each API.

use slotwise::{EvictReason, RejectReason};

/// Why a request is not served: a reason of the core or of the gateway.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// The request was never queued.
    Rejected(RejectReason),
    /// The request was queued.
    Evicted(EvictReason),
    /// The running request was aborted as a preemption candidate.
    Victim,
    /// The client cancelled the request.
    Cancelled,
    /// The gateway is shutting down.
    ShuttingDown,
    /// The request has no API key, and anonymous clients are not served.
    MissingApiKey,
    /// The API key is unknown.
    InvalidApiKey,
    /// The API key does not allow the model.
    ModelNotAllowed,
    /// No pool serves the model.
    ModelNotFound,
    /// No routing rule accepts the request.
    NoRoute,
    /// The routing rule gives no pool any weight.
    NoBackend,
    /// The quota of a window is used up.
    RateLimitExceeded,
    /// The key has as many requests in flight as it may.
    ConcurrencyLimitExceeded,
    /// The request alone exceeds a quota, so no retry can succeed.
    RequestExceedsLimit,
    /// As many anonymous clients are counted as the gateway may count.
    TooManyClients,
    /// The host's safety check has blocked the prompt.
    ContentFilter,
    /// The host's safety check has failed, and the configuration requires one.
    SafetyUnavailable,
}

/// The names of one reason.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Row {
    pub(crate) reason: Reason,
    status: u16,
    /// In `x-llm-d-request-dropped-reason`; `None` if a retry cannot succeed.
    dropped: Option<&'static str>,
    /// As an outcome of the reference's flow control.
    pub(crate) outcome: &'static str,
    /// As an error code of the reference.
    pub(crate) error_code: &'static str,
    openai: &'static str,
    anthropic: &'static str,
    message: &'static str,
}

const SATURATED: Option<&str> = Some("rejected-saturated");
const EXPIRED: Option<&str> = Some("rejected-ttl-expired");
const NO_ENDPOINTS: Option<&str> = Some("rejected-no-endpoints");

/// All reasons. Invalid requests are client errors, excess requests are rate limits, and all others
/// are server errors.
#[rustfmt::skip]
pub(crate) const ROWS: [Row; 30] = {
    use EvictReason as E;
    use Reason::{Evicted, Rejected};
    use RejectReason as R;
    [
        row(Rejected(R::NoEndpoints), NO_ENDPOINTS, "RejectedNoEndpoints", "ServiceUnavailable", "no endpoint accepts requests"),
        row(Rejected(R::NotServed), None, "RejectedOther", "NotFound", "no endpoint serves this model, role and labels"),
        row(Rejected(R::TooLarge), None, "RejectedOther", "BadRequest", "the prompt and the expected output exceed every endpoint's KV cache"),
        row(Rejected(R::DeadlineUnreachable), SATURATED, "RejectedCapacity", "ResourceExhausted", "no endpoint is expected to return the first token before the deadline"),
        row(Rejected(R::Saturated), SATURATED, "RejectedCapacity", "ResourceExhausted", "all endpoints are at their limit of requests in flight"),
        row(Rejected(R::Shed), SATURATED, "RejectedCapacity", "ResourceExhausted", "the pool is saturated, and requests of negative priority are shed"),
        row(Rejected(R::QueueFull), SATURATED, "RejectedCapacity", "ResourceExhausted", "the queue is full: its limit of waiting requests or bytes is reached"),
        row(Rejected(R::ThreadNotFound), None, "RejectedOther", "NotFound", "the endpoint that holds the earlier turns no longer takes requests: send the whole conversation"),
        row(Rejected(R::NameTooLong), None, "RejectedOther", "BadRequest", "the name of the model or adapter exceeds 1,024 bytes"),
        row(Evicted(E::TtlExpired), EXPIRED, "EvictedTTL", "ResourceExhausted", "the request's TTL expired while it waited"),
        row(Evicted(E::NoEndpoints), NO_ENDPOINTS, "EvictedNoEndpoints", "ServiceUnavailable", "no endpoint accepted requests before the request's TTL expired"),
        row(Evicted(E::DeadlineUnreachable), EXPIRED, "EvictedTTL", "ResourceExhausted", "no endpoint is expected to return the first token before the deadline any more"),
        row(Evicted(E::Displaced), SATURATED, "EvictedOther", "ResourceExhausted", "the queue is full, and a request that goes first has displaced this one"),
        row(Evicted(E::TooLarge), None, "EvictedOther", "BadRequest", "the prompt and the expected output exceed every endpoint's KV cache"),
        row(Evicted(E::ThreadNotFound), None, "EvictedOther", "NotFound", "the endpoint that holds the earlier turns no longer takes requests: send the whole conversation"),
        row(Reason::Victim, Some("evicted-priority"), "", "ResourceExhausted", "the request was aborted to make room for one of higher priority"),
        row(Reason::Cancelled, Some("rejected-context-cancelled"), "EvictedContextCancelled", "ServiceUnavailable", "the client closed the connection"),
        row(Reason::ShuttingDown, Some("rejected-shutting-down"), "RejectedOther", "ServiceUnavailable", "the gateway is shutting down"),
        row(Reason::MissingApiKey, None, "RejectedOther", "Unauthorized", "the request has no API key"),
        row(Reason::InvalidApiKey, None, "RejectedOther", "Unauthorized", "the API key is unknown"),
        row(Reason::ModelNotAllowed, None, "RejectedOther", "Forbidden", "the API key does not allow this model"),
        row(Reason::ModelNotFound, None, "RejectedOther", "NotFound", "no pool serves the model"),
        row(Reason::NoRoute, None, "RejectedOther", "NotFound", "no rule accepts the request"),
        row(Reason::NoBackend, None, "RejectedOther", "Internal", "the rule gives no pool any weight"),
        row(Reason::RateLimitExceeded, None, "RejectedOther", "ResourceExhausted", "the rate limit is exceeded"),
        row(Reason::ConcurrencyLimitExceeded, None, "RejectedOther", "ResourceExhausted", "the limit of concurrent requests is reached"),
        row(Reason::RequestExceedsLimit, None, "RejectedOther", "BadRequest", "the request alone exceeds the rate limit"),
        row(Reason::TooManyClients, None, "RejectedOther", "ResourceExhausted", "the limit of anonymous clients is reached"),
        row(Reason::ContentFilter, None, "RejectedOther", "BadRequest", "the content filter has blocked the prompt"),
        row(Reason::SafetyUnavailable, None, "RejectedOther", "ServiceUnavailable", "the content filter is not available"),
    ]
};

const fn row(
    reason: Reason,
    dropped: Option<&'static str>,
    outcome: &'static str,
    error_code: &'static str,
    message: &'static str,
) -> Row {
    let status = reason.http_status();
    let (openai, anthropic) = match status {
        400 => ("invalid_request_error", "invalid_request_error"),
        401 => ("invalid_request_error", "authentication_error"),
        403 => ("invalid_request_error", "permission_error"),
        404 => ("invalid_request_error", "not_found_error"),
        413 => ("invalid_request_error", "request_too_large"),
        // Anthropic's rate limit is one of the client's account, not of the servers' load.
        429 if reason.is_of_client() => ("rate_limit_error", "rate_limit_error"),
        429 => ("rate_limit_error", "overloaded_error"),
        500 => ("server_error", "api_error"),
        _ => ("server_error", "overloaded_error"),
    };
    Row { reason, status, dropped, outcome, error_code, openai, anthropic, message }
}

/// A reason of the core that this table lacks.
const fn unknown(reason: Reason) -> Row {
    let (outcome, message) = match reason {
        Reason::Rejected(_) => ("RejectedOther", "the request was rejected"),
        _ => ("EvictedOther", "the request was evicted"),
    };
    row(reason, None, outcome, "Unknown", message)
}

impl Reason {
    /// All known reasons: rejections, evictions, then those of the gateway.
    pub fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(|row| row.reason)
    }

    /// The recommended HTTP status: the core's for its own reasons, otherwise as the table of the
    /// manual's page on observability has it.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Rejected(reason) => reason.http_status(),
            Self::Evicted(reason) => reason.http_status(),
            Self::ContentFilter => 400,
            Self::MissingApiKey | Self::InvalidApiKey => 401,
            Self::ModelNotAllowed => 403,
            Self::ModelNotFound | Self::NoRoute => 404,
            Self::RequestExceedsLimit => 413,
            Self::Victim
            | Self::RateLimitExceeded
            | Self::ConcurrencyLimitExceeded
            | Self::TooManyClients => 429,
            Self::NoBackend => 500,
            Self::Cancelled | Self::ShuttingDown | Self::SafetyUnavailable => 503,
        }
    }

    /// A stable name in bodies, metrics, other languages and logs.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Rejected(reason) => reason.code(),
            Self::Evicted(reason) => reason.code(),
            Self::Victim => "victim",
            Self::Cancelled => "cancelled",
            Self::ShuttingDown => "shutting_down",
            Self::MissingApiKey => "missing_api_key",
            Self::InvalidApiKey => "invalid_api_key",
            Self::ModelNotAllowed => "model_not_allowed",
            Self::ModelNotFound => "model_not_found",
            Self::NoRoute => "no_route",
            Self::NoBackend => "no_backend",
            Self::RateLimitExceeded => "rate_limit_exceeded",
            Self::ConcurrencyLimitExceeded => "concurrency_limit_exceeded",
            Self::RequestExceedsLimit => "request_exceeds_limit",
            Self::TooManyClients => "too_many_clients",
            Self::ContentFilter => "content_filter",
            Self::SafetyUnavailable => "safety_unavailable",
        }
    }

    /// Whether the reason is the client's key, quota or content, and not the servers' load.
    const fn is_of_client(self) -> bool {
        matches!(
            self,
            Self::MissingApiKey
                | Self::InvalidApiKey
                | Self::ModelNotAllowed
                | Self::RateLimitExceeded
                | Self::ConcurrencyLimitExceeded
                | Self::RequestExceedsLimit
                | Self::TooManyClients
                | Self::ContentFilter
                | Self::SafetyUnavailable
        )
    }

    /// The reference's value of `x-llm-d-request-dropped-reason`; `None` if a retry cannot succeed.
    pub fn dropped_reason(self) -> Option<&'static str> {
        self.row().dropped
    }

    /// The type of the error in OpenAI's API.
    pub fn openai_type(self) -> &'static str {
        self.row().openai
    }

    /// The type of the error in Anthropic's API.
    pub fn anthropic_type(self) -> &'static str {
        self.row().anthropic
    }

    /// One sentence for the client, without a full stop.
    pub fn message(self) -> &'static str {
        self.row().message
    }

    pub(crate) fn row(self) -> Row {
        ROWS.iter().find(|row| row.reason == self).copied().unwrap_or_else(|| unknown(self))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::string::{String, ToString};
    use std::vec::Vec;

    use serde::de::DeserializeOwned;
    use slotwise::{EvictReason, RejectReason};

    use super::{ROWS, Reason, unknown};

    /// All variants of a core enum, from serde's error for an unknown one.
    fn variants<T: DeserializeOwned>() -> Vec<T> {
        let Err(error) = serde_json::from_str::<T>("\"?\"") else { panic!("? is a variant") };
        let names: Vec<String> =
            error.to_string().split('`').skip(3).step_by(2).map(String::from).collect();
        assert!(names.len() > 1, "{error}");
        let read =
            |name: &String| serde_json::from_str(&std::format!("\"{name}\"")).expect("a variant");
        names.iter().map(read).collect()
    }

    #[test]
    fn every_reason_of_the_core_has_a_row() {
        let rejected = variants::<RejectReason>().into_iter().map(Reason::Rejected);
        let evicted = variants::<EvictReason>().into_iter().map(Reason::Evicted);
        let own = ROWS.into_iter().map(|row| row.reason);
        let own = own.filter(|it| !matches!(it, Reason::Rejected(_) | Reason::Evicted(_)));
        let all: Vec<Reason> = rejected.chain(evicted).chain(own).collect();
        for reason in &all {
            assert!(ROWS.iter().any(|row| row.reason == *reason), "no row for {reason:?}");
        }
        assert_eq!(Reason::all().collect::<Vec<_>>(), all, "the table is in the core's order");
    }

    #[test]
    fn the_table_says_what_the_core_and_the_reference_say() {
        for row in ROWS {
            let reason = row.reason;
            assert_eq!(row.status, reason.http_status(), "{reason:?}");
            // The reference has no reason for errors that persist, and no gates.
            let unnamed = matches!(row.status, 400 | 404 | 413 | 500) || reason.is_of_client();
            assert_eq!(row.dropped.is_none(), unnamed, "{reason:?}");
            assert_eq!(
                row.dropped == super::NO_ENDPOINTS,
                reason.code() == "no_endpoints",
                "{reason:?}"
            );
            assert!(!row.message.is_empty() && !row.message.ends_with('.'), "{reason:?}");
            if let Reason::Rejected(core) = reason {
                assert_eq!(row.message, core.to_string());
            }
            if let Reason::Evicted(core) = reason {
                assert_eq!(row.message, core.to_string());
            }
        }
        let names: BTreeSet<_> = ROWS
            .iter()
            .map(|row| (matches!(row.reason, Reason::Evicted(_)), row.reason.code()))
            .collect();
        assert_eq!(names.len(), ROWS.len());
    }

    #[test]
    fn a_reason_without_a_row_still_has_an_answer() {
        let row = unknown(Reason::Rejected(RejectReason::QueueFull));
        assert_eq!(
            (row.status, row.openai, row.outcome),
            (429, "rate_limit_error", "RejectedOther")
        );
    }
}
