//! Descriptions of adapters: what the host knows of an adapter before it is loaded.
//!
//! A description is data of the adapter, and holds on every endpoint. What it omits has a neutral
//! value, so a pool without descriptions decides as if all adapters were alike.

use alloc::collections::BTreeMap;
use alloc::string::String;
use core::fmt;
use core::num::NonZeroU32;
use core::time::Duration;

use crate::request::Request;
use crate::time::Seconds;

/// The description of a LoRA adapter, for
/// [`Scheduler::describe_adapter`](crate::Scheduler::describe_adapter).
///
/// ```
/// use slotwise::{Adapter, Scheduler};
///
/// let mut scheduler = Scheduler::default();
/// scheduler.describe_adapter(Adapter::new("sql").rank(64).slowdown(1.1))?;
/// let error = scheduler.describe_adapter(Adapter::new("sql").slowdown(0.5)).unwrap_err();
/// assert_eq!(error.to_string(), "slowdown must lie in [1, 100]");
/// # Ok::<(), slotwise::AdapterError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Adapter {
    /// The name in requests and reports.
    pub name: String,
    /// The rank; `None` means [`USUAL_RANK`](Self::USUAL_RANK). The size of an adapter grows with
    /// its rank, and the time to load it likewise.
    #[cfg_attr(feature = "serde", serde(default))]
    pub rank: Option<NonZeroU32>,
    /// Time to load the adapter on any endpoint; `None` means the endpoint's
    /// [`adapter_load_time`](crate::Endpoint::adapter_load_time), times the rank over
    /// [`USUAL_RANK`](Self::USUAL_RANK).
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds::option", default))]
    pub load_time: Option<Duration>,
    /// Slots that the adapter takes; `None` means one. vLLM and SGLang reserve the memory of the
    /// largest rank for each slot, so there it is one. TensorRT-LLM sizes its cache in adapters of
    /// one rank, and a larger one takes several.
    #[cfg_attr(feature = "serde", serde(default))]
    pub slots: Option<NonZeroU32>,
    /// Prefill time of a request with the adapter over that of one without, from 1 to 100; `None`
    /// means 1.
    #[cfg_attr(feature = "serde", serde(default))]
    pub slowdown: Option<f64>,
}

impl Adapter {
    /// The rank for which endpoints describe their load time: vLLM's default limit.
    pub const USUAL_RANK: u32 = 16;

    /// An adapter like any other.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), rank: None, load_time: None, slots: None, slowdown: None }
    }

    /// The rank; zero means [`USUAL_RANK`](Self::USUAL_RANK).
    pub fn rank(mut self, rank: u32) -> Self {
        self.rank = NonZeroU32::new(rank);
        self
    }

    /// Time to load the adapter on any endpoint.
    pub fn load_time(mut self, length: Duration) -> Self {
        self.load_time = Some(length);
        self
    }

    /// Slots that the adapter takes; zero means one.
    pub fn slots(mut self, slots: u32) -> Self {
        self.slots = NonZeroU32::new(slots);
        self
    }

    /// Prefill time of a request with the adapter over that of one without.
    pub fn slowdown(mut self, factor: f64) -> Self {
        self.slowdown = Some(factor);
        self
    }

    /// Whether the description has the name only.
    const fn is_empty(&self) -> bool {
        let Self { name: _, rank, load_time, slots, slowdown } = self;
        rank.is_none() && load_time.is_none() && slots.is_none() && slowdown.is_none()
    }

    fn traits(&self) -> Result<Traits, AdapterError> {
        let rank = self.rank.map_or(Self::USUAL_RANK, NonZeroU32::get);
        let load = match self.load_time {
            None => LoadTime::Scaled(f64::from(rank) / f64::from(Self::USUAL_RANK)),
            Some(length) if length <= MAX_LOAD_TIME => LoadTime::Fixed(Seconds::from(length)),
            Some(_) => return Err(AdapterError::LoadTime),
        };
        let slowdown = self.slowdown.unwrap_or(1.0);
        if rank > MAX_RANK {
            Err(AdapterError::Rank)
        } else if !(1.0..=MAX_SLOWDOWN).contains(&slowdown) {
            Err(AdapterError::Slowdown)
        } else {
            let slots = self.slots.map_or(1, NonZeroU32::get) as usize;
            Ok(Traits { load, slots, slowdown })
        }
    }
}

/// Greatest accepted values.
const MAX_RANK: u32 = 65_536;
const MAX_LOAD_TIME: Duration = Duration::from_secs(3_600);
const MAX_SLOWDOWN: f64 = 100.0;

/// Why a description of an adapter was rejected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum AdapterError {
    /// The name is longer than [`Request::MAX_NAME_BYTES`](crate::Request::MAX_NAME_BYTES).
    NameTooLong,
    /// The rank exceeds 65,536.
    Rank,
    /// The load time exceeds an hour.
    LoadTime,
    /// The slowdown lies outside \[1, 100\].
    Slowdown,
    /// As many adapters are described as
    /// [`Config::max_adapters`](crate::Config::max_adapters) allows.
    #[non_exhaustive]
    TooMany {
        /// [`Config::max_adapters`](crate::Config::max_adapters).
        limit: usize,
    },
}

impl AdapterError {
    /// A stable code for logs and other languages; it does not change with the message.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NameTooLong => "name_too_long",
            Self::Rank => "adapter_rank",
            Self::LoadTime => "adapter_load_time",
            Self::Slowdown => "adapter_slowdown",
            Self::TooMany { .. } => "too_many_adapters",
        }
    }
}

impl fmt::Display for AdapterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NameTooLong => {
                write!(f, "name must have at most {} bytes", Request::MAX_NAME_BYTES)
            }
            Self::Rank => write!(f, "rank must be at most {MAX_RANK}"),
            Self::LoadTime => write!(f, "load_time must be at most {} s", MAX_LOAD_TIME.as_secs()),
            Self::Slowdown => write!(f, "slowdown must lie in [1, {MAX_SLOWDOWN}]"),
            Self::TooMany { limit } => {
                write!(f, "the limit of {limit} described adapters is reached")
            }
        }
    }
}

impl core::error::Error for AdapterError {}

/// What a description says, or its neutral values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traits {
    load: LoadTime,
    /// Slots that the adapter takes.
    pub(crate) slots: usize,
    /// Prefill time over that of a request without an adapter, at least 1.
    pub(crate) slowdown: f64,
}

#[derive(Clone, Copy, Debug)]
enum LoadTime {
    /// A multiple of the endpoint's.
    Scaled(f64),
    Fixed(Seconds),
}

impl Traits {
    /// The described load time on an endpoint whose usual one is `usual`.
    pub(crate) fn load_time(&self, usual: Seconds) -> Seconds {
        match self.load {
            LoadTime::Scaled(factor) => usual * factor,
            LoadTime::Fixed(seconds) => seconds,
        }
    }
}

impl Default for Traits {
    fn default() -> Self {
        Self { load: LoadTime::Scaled(1.0), slots: 1, slowdown: 1.0 }
    }
}

/// The described adapters by key.
#[derive(Debug)]
pub(crate) struct Catalog {
    described: BTreeMap<u64, Traits>,
    limit: usize,
}

impl Catalog {
    /// At most `limit` descriptions.
    pub(crate) const fn new(limit: usize) -> Self {
        Self { described: BTreeMap::new(), limit }
    }

    /// Replaces a description, or removes it if it has the name only. Computes in **O(log
    /// adapters)**.
    pub(crate) fn describe(&mut self, key: u64, adapter: &Adapter) -> Result<(), AdapterError> {
        if adapter.name.len() > Request::MAX_NAME_BYTES {
            return Err(AdapterError::NameTooLong);
        }
        let traits = adapter.traits()?;
        if adapter.is_empty() {
            self.described.remove(&key);
        } else if self.described.len() < self.limit || self.described.contains_key(&key) {
            self.described.insert(key, traits);
        } else {
            return Err(AdapterError::TooMany { limit: self.limit });
        }
        Ok(())
    }

    /// What is known of the adapter. Computes in **O(log adapters)**.
    pub(crate) fn traits(&self, key: u64) -> Traits {
        self.described.get(&key).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_scales_the_load_time_unless_that_is_described() {
        let mut catalog = Catalog::new(2);
        let usual = Seconds::new(0.5);
        let mut load = |adapter: Adapter| {
            catalog.describe(1, &adapter).expect("valid");
            catalog.traits(1).load_time(usual).get()
        };
        assert!((load(Adapter::new("a")) - 0.5).abs() < 1e-9);
        assert!((load(Adapter::new("a").rank(64)) - 2.0).abs() < 1e-9);
        let both = Adapter::new("a").rank(64).load_time(Duration::from_secs(3));
        assert!((load(both) - 3.0).abs() < 1e-9);
    }

    #[test]
    fn descriptions_are_bounded_and_a_bare_name_removes_one() {
        let mut catalog = Catalog::new(1);
        let slow = |name: &str| Adapter::new(name).slowdown(2.0);
        assert_eq!(catalog.describe(1, &slow("a")), Ok(()));
        assert_eq!(catalog.describe(1, &slow("a")), Ok(()), "replaced");
        assert_eq!(catalog.describe(2, &slow("b")), Err(AdapterError::TooMany { limit: 1 }));
        assert_eq!(catalog.describe(1, &Adapter::new("a")), Ok(()));
        assert_eq!(catalog.describe(2, &slow("b")), Ok(()));
    }

    #[test]
    fn values_that_no_adapter_has_are_rejected() {
        let mut catalog = Catalog::new(1);
        let cases = [
            (Adapter::new("x".repeat(2_000)), AdapterError::NameTooLong),
            (Adapter::new("a").rank(65_537), AdapterError::Rank),
            (Adapter::new("a").load_time(Duration::MAX), AdapterError::LoadTime),
            (Adapter::new("a").slowdown(0.99), AdapterError::Slowdown),
            (Adapter::new("a").slowdown(f64::NAN), AdapterError::Slowdown),
        ];
        for (adapter, error) in cases {
            assert_eq!(catalog.describe(1, &adapter), Err(error));
        }
    }
}
