//! Lengths of time that are hardly meant: milliseconds where seconds belong, and the other way round.
//!
//! Nothing here refuses anything. A wrapper that takes times as plain numbers asks, and warns with the unit that it takes; all of them
//! share this table. Zero and what never ends are meant as they are.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::Config;

/// A length of time out of the range that is plausible for its field.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Implausible {
    /// The path of the field: `flow.hold`, or `ttl` of a request.
    pub field: &'static str,
    /// What it is.
    pub is: Duration,
    /// The least that is plausible.
    pub least: Duration,
    /// The most that is.
    pub most: Duration,
}

/// Each field with the least and the most that is plausible, in milliseconds.
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

/// From this length on, a time is meant as "for ever": 30 years.
const FOR_EVER: Duration = Duration::from_secs(1_000_000_000);

/// Whether a length of time is implausible for the field of that path; a field that is not in the table never is. In **O(1)**.
///
/// ```
/// use core::time::Duration;
/// use slotwise::implausible;
///
/// let meant_as_milliseconds = implausible("ttl", Duration::from_secs(5_000)).expect("more than an hour");
/// assert_eq!(meant_as_milliseconds.most, Duration::from_secs(3_600));
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
    /// Its fields whose lengths of time are implausible, in the order of the table in the manual.
    ///
    /// ```
    /// use core::time::Duration;
    /// use slotwise::Config;
    ///
    /// let mut config = Config::default();
    /// assert!(config.implausible().is_empty());
    /// config.flow.hold = Duration::from_secs(250); // milliseconds were meant
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
