//! Reports of an endpoint: its load ([`Load`]) and its adapters ([`AdapterState`]).

use core::num::NonZeroU32;

use crate::time::Instant;

/// A load report of an endpoint, scraped or pushed. Omit what the endpoint does not report.
///
/// The scheduler's own requests are counted exactly. A report adds the requests of *others*.
///
/// ```
/// use slotwise::Load;
///
/// let load = Load::default().waiting(3).running(12).kv_usage(0.41);
/// assert_eq!(load.running, Some(12));
/// assert_eq!(Load::default().kv_usage(f64::NAN).kv_usage, None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
#[non_exhaustive]
pub struct Load {
    /// Requests in the engine's queue.
    pub waiting: Option<u32>,
    /// Requests that the engine runs.
    pub running: Option<u32>,
    /// Share of the KV cache in use by live requests, in `[0, 1]`.
    pub kv_usage: Option<f64>,
    /// Whether the engine sleeps. A sleeping endpoint gets no requests until a report clears this.
    pub sleeping: Option<bool>,
    /// The time of the sample; `None` means now.
    pub sampled_at: Option<Instant>,
}

impl Load {
    /// Requests in the engine's queue.
    pub const fn waiting(self, requests: u32) -> Self {
        Self { waiting: Some(requests), ..self }
    }

    /// Requests that the engine runs.
    pub const fn running(self, requests: u32) -> Self {
        Self { running: Some(requests), ..self }
    }

    /// Share of the KV cache in use, clamped to `[0, 1]`. NaN counts as not reported.
    pub const fn kv_usage(self, share: f64) -> Self {
        let kv_usage = if share.is_nan() { None } else { Some(share.clamp(0.0, 1.0)) };
        Self { kv_usage, ..self }
    }

    /// Whether the engine sleeps.
    pub const fn sleeping(self, sleeps: bool) -> Self {
        Self { sleeping: Some(sleeps), ..self }
    }

    /// The time of the sample.
    pub const fn sampled_at(self, at: Instant) -> Self {
        Self { sampled_at: Some(at), ..self }
    }
}

/// A report of the LoRA adapters on an endpoint.
///
/// Engines list the adapters of requests in flight and omit idle ones, which stay loaded. So a
/// listed adapter is resident, and a missing one may be.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct AdapterState<'a> {
    /// Adapters loaded side by side, if the engine reports the limit.
    pub slots: Option<NonZeroU32>,
    /// Adapters of requests that run or wait.
    pub active: &'a [&'a str],
}

impl<'a> AdapterState<'a> {
    /// A report that these adapters are in use.
    pub const fn active(adapters: &'a [&'a str]) -> Self {
        Self { slots: None, active: adapters }
    }

    /// Adapters loaded side by side; zero counts as not reported.
    pub const fn slots(self, slots: u32) -> Self {
        Self { slots: NonZeroU32::new(slots), ..self }
    }
}
