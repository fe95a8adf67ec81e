//! What an endpoint says about its load: [`Load`] and [`AdapterState`].

use core::num::NonZeroU32;

use crate::time::Instant;

/// What an endpoint says about its load, scraped or pushed. Leave out what it does not say.
///
/// The scheduler knows exactly what it sent itself; from a report it learns what *others* have running there.
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
    /// Requests in its queue.
    pub waiting: Option<u32>,
    /// Requests that it works on.
    pub running: Option<u32>,
    /// Share of its KV cache that live requests use, in `[0, 1]`.
    pub kv_usage: Option<f64>,
    /// Whether the engine sleeps: it gets no requests until a report says that it is awake.
    pub sleeping: Option<bool>,
    /// When the engine took the sample; none means now.
    pub sampled_at: Option<Instant>,
}

impl Load {
    /// Requests in the endpoint's queue.
    pub const fn waiting(self, requests: u32) -> Self {
        Self { waiting: Some(requests), ..self }
    }

    /// Requests that the endpoint works on.
    pub const fn running(self, requests: u32) -> Self {
        Self { running: Some(requests), ..self }
    }

    /// Share of the KV cache in use, cut to `[0, 1]`. A NaN is no report.
    pub const fn kv_usage(self, share: f64) -> Self {
        let kv_usage = if share.is_nan() { None } else { Some(share.clamp(0.0, 1.0)) };
        Self { kv_usage, ..self }
    }

    /// Whether the engine sleeps.
    pub const fn sleeping(self, sleeps: bool) -> Self {
        Self { sleeping: Some(sleeps), ..self }
    }

    /// When the engine took the sample.
    pub const fn sampled_at(self, at: Instant) -> Self {
        Self { sampled_at: Some(at), ..self }
    }
}

/// Which LoRA adapters an endpoint says it has.
///
/// Engines list the adapters of requests in flight and forget idle ones, although these stay loaded. So a name that is
/// listed is resident; one that is missing may be.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct AdapterState<'a> {
    /// Adapters that fit side by side, if the engine says so.
    pub slots: Option<NonZeroU32>,
    /// Adapters of requests that run or wait.
    pub active: &'a [&'a str],
}

impl<'a> AdapterState<'a> {
    /// A report that these adapters are in use.
    pub const fn active(adapters: &'a [&'a str]) -> Self {
        Self { slots: None, active: adapters }
    }

    /// Adapters that fit side by side; zero says nothing.
    pub const fn slots(self, slots: u32) -> Self {
        Self { slots: NonZeroU32::new(slots), ..self }
    }
}
