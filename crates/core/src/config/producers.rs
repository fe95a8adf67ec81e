//! State between requests that the plugins of a scheduling profile read.

use core::time::Duration;

/// State between requests that the plugins of a scheduling profile read. The defaults are the
/// reference's, except the number of sessions, which the reference does not limit.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct ProducerConfig {
    /// Time from a session's last request to the end of its binding to an endpoint.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub session_ttl: Duration,
    /// Most sessions that are bound to endpoints, at about 100 bytes each.
    pub max_sessions: usize,
    /// Most endpoints remembered as receivers of requests without a cached prefix.
    pub max_cold_endpoints: usize,
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            session_ttl: Duration::from_secs(300),
            max_sessions: 1 << 16,
            max_cold_endpoints: 1_024,
        }
    }
}
