//! Which endpoint the session of a request is bound to: the parameters and the rule that
//! `session-affinity-scorer` and `session-affinity-filter` share.

use alloc::string::String;
use alloc::vec::Vec;

use super::base64;
use super::facts::{EndpointFacts, RequestFacts};
use super::parameters::checked_parameters;

/// `session-affinity-scorer` and `session-affinity-filter`: how a request names its session.
///
/// - `encoded_endpoint_header`, the default: the client sends back the token that the response to
///   an earlier request carried, which is the name of the endpoint in Base64. See
///   [`token`](Self::token).
/// - `session_id`: the client sends an identifier of its own, and the host remembers the binding.
///   See [`session_id`](Self::session_id).
///
/// An endpoint whose fact [`session_bound`](EndpointFacts::session_bound) is set counts as bound
/// with both strategies.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields, rename_all = "camelCase", remote = "Self")
)]
#[non_exhaustive]
pub struct SessionAffinity {
    /// How a request names its session.
    pub strategy: SessionStrategy,
    /// Where the token is.
    pub encoded_endpoint_header_config: EncodedEndpointHeaderConfig,
    /// Where the identifier is.
    pub session_id_config: SessionIdConfig,
    /// The profile whose endpoint the host binds; empty means the primary one.
    pub profile_name: String,
}

/// How a request names its session.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum SessionStrategy {
    /// By a token that names the endpoint.
    #[default]
    EncodedEndpointHeader,
    /// By an identifier whose binding the host remembers.
    SessionId,
}

/// Where the token of the strategy `encoded_endpoint_header` is.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct EncodedEndpointHeaderConfig {
    /// The header; empty means `x-session-token`.
    pub header: String,
}

/// Where the identifier of the strategy `session_id` is, and how long bindings live.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields, rename_all = "camelCase")
)]
#[non_exhaustive]
pub struct SessionIdConfig {
    /// Places of the identifier, in order of preference; empty means the header `x-session-id`.
    pub sources: Vec<SessionIdSource>,
    /// Seconds after which an unused binding ends; 0 means 300.
    pub eviction_ttl_seconds: f64,
    /// Seconds between sweeps of ended bindings; 0 means 10.
    pub eviction_sweep_seconds: f64,
}

/// A place of a session's identifier: either a header or an attribute of the request.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct SessionIdSource {
    /// The header.
    pub header: String,
    /// The attribute; facts have none, so a source with an attribute has no value.
    pub attribute: String,
    /// The producer of the attribute.
    pub producer: String,
}

impl SessionAffinity {
    /// The token of an endpoint, for the response: its name in Base64.
    ///
    /// ```
    /// use slotwise::plugins::SessionAffinity;
    ///
    /// assert_eq!(SessionAffinity::token("default/pod-a"), "ZGVmYXVsdC9wb2QtYQ==");
    /// ```
    pub fn token(endpoint: &str) -> String {
        base64::encode(endpoint.as_bytes())
    }

    /// The header that carries the token, in lower case.
    pub fn token_header(&self) -> String {
        header_name(&self.encoded_endpoint_header_config.header, TOKEN_HEADER)
    }

    /// The identifier of the request's session, by which hosts look up its binding: the first
    /// source with a value that is not blank.
    pub fn session_id<'r>(&self, request: &'r RequestFacts) -> Option<&'r str> {
        let value = |header: &str| {
            let value = request.headers.get(&header_name(header, TOKEN_HEADER))?.trim();
            (!value.is_empty()).then_some(value)
        };
        let sources = &self.session_id_config.sources;
        if sources.is_empty() {
            return value("x-session-id");
        }
        sources.iter().filter(|source| !source.header.is_empty()).find_map(|s| value(&s.header))
    }

    /// The name of the endpoint that the request's token states, if the strategy reads tokens.
    pub(super) fn named_endpoint(&self, request: &RequestFacts) -> Option<Vec<u8>> {
        if self.strategy != SessionStrategy::EncodedEndpointHeader {
            return None;
        }
        let name = base64::decode(request.headers.get(&self.token_header())?)?;
        (!name.is_empty()).then_some(name)
    }

    /// Checks what the chosen strategy uses, as the reference does.
    #[cfg(feature = "serde")]
    fn check(&self) -> Result<(), &'static str> {
        let config = &self.session_id_config;
        let invalid = |each: &SessionIdSource| each.header.is_empty() == each.attribute.is_empty();
        if self.strategy != SessionStrategy::SessionId {
            Ok(())
        } else if config.sources.iter().any(invalid) {
            Err("each of sources needs exactly one of header and attribute")
        } else if config.eviction_ttl_seconds < 0.0 {
            Err("evictionTtlSeconds must be above 0")
        } else if config.eviction_sweep_seconds < 0.0 {
            Err("evictionSweepSeconds must be above 0")
        } else {
            Ok(())
        }
    }

    /// Whether the session is bound to this endpoint; `named` is the result of `named_endpoint`.
    pub(super) fn is_bound(named: Option<&[u8]>, endpoint: &EndpointFacts) -> bool {
        endpoint.session_bound || named == Some(endpoint.name.as_bytes())
    }
}

checked_parameters!(SessionAffinity, SessionAffinity::check);

/// The header of the token unless configured otherwise.
const TOKEN_HEADER: &str = "x-session-token";

/// The name of a header in lower case; a blank one means `default`.
fn header_name(name: &str, default: &str) -> String {
    let name = name.trim();
    if name.is_empty() { default.into() } else { name.to_lowercase() }
}
