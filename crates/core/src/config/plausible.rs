//! Detects implausible durations, such as milliseconds in place of seconds.
//!
//! Nothing is rejected here. Wrappers that take durations as plain numbers share this table, and
//! warn with the unit that they expect. Zero and infinite durations are always plausible.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::Config;

/// A duration outside the plausible range of its field.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Implausible {
    /// The path of the field, such as `flow.ttl`, or `ttl` of a request.
    pub field: &'static str,
    /// The value.
    pub is: Duration,
    /// The least plausible value.
    pub least: Duration,
    /// The greatest plausible value.
    pub most: Duration,
}

/// Each field with its least and greatest plausible value, in milliseconds.
const PLAUSIBLE: [(&str, u64, u64); 9] = [
    ("ttl", 10, 3_600_000),
    ("flow.ttl", 10, 3_600_000),
    ("flow.no_endpoint_ttl", 10, 3_600_000),
    ("flow.max_queued_prefill", 1, 30_000),
    ("adapter_load_time", 1, 60_000),
    ("report_lifetime", 10, 600_000),
    ("backoff", 10, 600_000),
    ("backoff_limit", 10, 3_600_000),
    ("shed_above", 1, 600_000),
];

/// From this value on, a duration counts as infinite: 30 years.
const FOR_EVER: Duration = Duration::from_secs(1_000_000_000);

/// Checks a duration of the field with this path; fields outside the table are always plausible.
/// Computes in **O(1)**.
///
/// ```
/// use core::time::Duration;
/// use slotwise::implausible;
///
/// let too_long = implausible("ttl", Duration::from_secs(5_000)).expect("more than an hour");
/// assert_eq!(too_long.most, Duration::from_secs(3_600));
/// assert_eq!(implausible("ttl", Duration::from_secs(5)), None);
/// assert_eq!(implausible("ttl", Duration::MAX), None);
/// ```
pub fn implausible(field: &str, is: Duration) -> Option<Implausible> {
    let (field, least, most) = *PLAUSIBLE.iter().find(|(name, ..)| *name == field)?;
    let (least, most) = (Duration::from_millis(least), Duration::from_millis(most));
    let meant = is.is_zero() || is >= FOR_EVER || (least..=most).contains(&is);
    (!meant).then_some(Implausible { field, is, least, most })
}

impl Config {
    /// The fields with implausible durations, in the order of the manual's table.
    ///
    /// ```
    /// use core::time::Duration;
    /// use slotwise::Config;
    ///
    /// let mut config = Config::default();
    /// assert!(config.implausible().is_empty());
    /// config.flow.max_queued_prefill = Duration::from_secs(250); // milliseconds were meant
    /// assert_eq!(config.implausible()[0].field, "flow.max_queued_prefill");
    /// ```
    pub fn implausible(&self) -> Vec<Implausible> {
        let fields = [
            ("flow.ttl", self.flow.ttl),
            ("flow.no_endpoint_ttl", self.flow.no_endpoint_ttl),
            ("flow.max_queued_prefill", self.flow.max_queued_prefill),
            ("adapter_load_time", self.adapter_load_time),
            ("report_lifetime", self.report_lifetime),
            ("backoff", self.backoff),
            ("backoff_limit", self.backoff_limit),
            ("shed_above", self.shed_above),
        ];
        fields.into_iter().filter_map(|(field, is)| implausible(field, is)).collect()
    }
}

impl fmt::Display for Implausible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, is, least, most } = self;
        write!(f, "{field} is {is:?}, where {least:?} to {most:?} is plausible")
    }
}
