//! When a gateway sends messages to its peers, and what it accepts from one.

use alloc::string::String;
use core::time::Duration;

use super::seal::PeerKey;
use crate::InvalidField;

/// The configuration of [`Peers`](super::Peers).
///
/// `name` and `key` have no usable default. All gateways of a pool need the same key and the same
/// [`seed`](slotwise::Config::seed); their other values may differ.
///
/// ```
/// use slotwise_gateway::peers::{PeerKey, Peers, PeersConfig};
///
/// let mut config = PeersConfig::new("gateway-1", PeerKey::new("too short"));
/// let error = Peers::new(config.clone(), 1).expect_err("a weak key");
/// assert_eq!(error.to_string(), "key must have at least 16 bytes, got 9");
/// config.key = PeerKey::new("sixteen bytes or more");
/// assert!(Peers::new(config, 1).is_ok());
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct PeersConfig {
    /// This gateway's name, unique among its peers; at most 64 bytes.
    pub name: String,
    /// The secret that the gateways share.
    pub key: PeerKey,
    /// The mean time between two messages while loads change.
    #[cfg_attr(feature = "serde", serde(with = "crate::seconds"))]
    pub interval: Duration,
    /// Messages about new dispatches that may follow each other at once, before the interval paces
    /// them; 0 sends strictly at intervals.
    pub burst: u32,
    /// The time between two messages while nothing changes.
    #[cfg_attr(feature = "serde", serde(with = "crate::seconds"))]
    pub heartbeat: Duration,
    /// How long the load of a silent peer still counts.
    #[cfg_attr(feature = "serde", serde(with = "crate::seconds"))]
    pub silence: Duration,
    /// What a peer may claim, and what is sent.
    pub limits: PeerLimits,
}

/// What one peer may claim, and what a message may contain.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct PeerLimits {
    /// Bytes of a message, sent or received.
    pub message_bytes: usize,
    /// Peers that are remembered.
    pub peers: usize,
    /// Endpoints of one peer that are remembered.
    pub endpoints: usize,
    /// Requests of one peer on one endpoint.
    pub requests: u32,
    /// Tokens of one peer on one endpoint.
    pub kv_tokens: u64,
    /// Predicted prefill of one peer on one endpoint.
    #[cfg_attr(feature = "serde", serde(with = "crate::seconds"))]
    pub booked: Duration,
    /// The longest backoff that is taken over from a peer.
    #[cfg_attr(feature = "serde", serde(with = "crate::seconds"))]
    pub backoff: Duration,
    /// Prompt blocks of one peer in a second, on average over eight seconds.
    pub blocks_per_second: u32,
    /// Prompt blocks that are sent in a second, on average over eight seconds; prompts beyond are
    /// left out. A block takes 8 bytes.
    pub sent_blocks_per_second: u32,
    /// Service of one peer's flows in a second, in seconds, on average over eight seconds.
    pub service_per_second: u32,
    /// Prompts that are remembered, so that only their new blocks are sent; in blocks.
    pub known_blocks: usize,
    /// Counters of one peer that are remembered.
    pub counters: usize,
    /// Limits of API keys, in their steps, whose use is sent, and remembered of one peer.
    pub usage: usize,
    /// Sent bytes that are kept for peers that have lost a message.
    pub repair_bytes: usize,
}

impl PeersConfig {
    /// The configuration of a gateway of this name.
    pub fn new(name: impl Into<String>, key: PeerKey) -> Self {
        Self { name: name.into(), key, ..Self::default() }
    }

    pub(super) fn validate(&self) -> Result<(), InvalidField> {
        let invalid = |field: &str, expected: &str| Err(InvalidField::new(field, expected));
        if self.name.is_empty() || self.name.len() > LONGEST_NAME {
            return invalid("name", "must have 1 to 64 bytes");
        }
        if !self.key.is_long_enough() {
            let got = self.key.len();
            let expected =
                alloc::format!("must have at least {} bytes, got {got}", PeerKey::SHORTEST);
            return Err(InvalidField::new("key", expected));
        }
        if self.heartbeat.is_zero() {
            return invalid("heartbeat", "must be positive");
        }
        if self.silence < self.heartbeat.saturating_mul(2) {
            return invalid("silence", "must be at least twice the heartbeat");
        }
        if self.silence > LONGEST_SILENCE {
            return invalid("silence", "must be at most an hour");
        }
        if !(1_024..=16 << 20).contains(&self.limits.message_bytes) {
            return invalid("limits.message_bytes", "must lie between 1024 and 16777216");
        }
        Ok(())
    }
}

impl Default for PeersConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            key: PeerKey::default(),
            interval: Duration::from_millis(200),
            burst: 8,
            heartbeat: Duration::from_secs(1),
            silence: Duration::from_secs(3),
            limits: PeerLimits::default(),
        }
    }
}

impl Default for PeerLimits {
    fn default() -> Self {
        Self {
            message_bytes: 1 << 22,
            peers: 256,
            endpoints: 65_536,
            requests: 4_096,
            kv_tokens: 100_000_000,
            booked: Duration::from_secs(120),
            backoff: Duration::from_secs(30),
            blocks_per_second: 65_536,
            sent_blocks_per_second: 5_120,
            service_per_second: 1_024,
            known_blocks: 1 << 20,
            counters: 4_096,
            usage: 16_384,
            repair_bytes: 1 << 18,
        }
    }
}

/// Bytes of a gateway's name.
pub(super) const LONGEST_NAME: usize = 64;
const LONGEST_SILENCE: Duration = Duration::from_secs(3_600);
