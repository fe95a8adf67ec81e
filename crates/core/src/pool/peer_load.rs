//! The load that other gateways of the same pool have in flight on an endpoint.

use core::time::Duration;

/// The load of other gateways on one endpoint, as their messages report it.
///
/// It is state, not a change: a later value replaces an earlier one. Costs count it like the load
/// of this gateway, and load reports are corrected by it. The default is none, which changes no
/// decision.
///
/// ```
/// use slotwise::PeerLoad;
///
/// let mut load = PeerLoad::default();
/// (load.prefilling, load.running) = (1, 4);
/// assert_eq!(load.requests(), 5);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
#[non_exhaustive]
pub struct PeerLoad {
    /// Requests before their first token.
    pub prefilling: u32,
    /// Requests past their first token.
    pub running: u32,
    /// Predicted prefill of the requests before their first token.
    pub booked: Duration,
    /// Tokens of prompts and answers in flight.
    pub kv_tokens: u64,
    /// How long a peer still backs the endpoint off after failures; it adds to the cost.
    pub backoff: Duration,
    /// The highest priority of the requests that wait at a peer for this endpoint, if any do.
    /// Queued requests of lower priority leave the endpoint's room to them: up to 30 s while peers
    /// make use of it, and half a second and their booked prefill otherwise.
    pub waiting: Option<i32>,
}

impl PeerLoad {
    /// All requests in flight.
    pub const fn requests(&self) -> u32 {
        self.prefilling.saturating_add(self.running)
    }
}
