//! What the guard may assume and remember.

use core::time::Duration;

/// The configuration of the working-set guard, which holds back new sessions while no endpoint's cache has room for
/// another context.
///
/// It is for traffic that comes back, conversations and agents: a context counts for as long as its session might return.
/// Requests that never have a successor would be counted for as long, and wait for each other without need.
///
/// ```
/// let config = slotwise::SessionAdmissionConfig::default();
/// assert!((config.share - 0.85).abs() < 1e-9);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct SessionAdmissionConfig {
    /// Share of an endpoint's KV cache that the contexts of its active sessions may fill, at first. Then it is learned
    /// from what endpoints find in their caches. In simulations, 0.70 refused sessions without need and 1.0 let them
    /// evict each other.
    pub share: f64,
    /// The share never becomes smaller.
    pub share_min: f64,
    /// The share never becomes larger.
    pub share_max: f64,
    /// How long a session stays active with nothing in flight, at first. Then it is learned from how long sessions take
    /// to return.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub idle_time: Duration,
    /// The idle time never becomes shorter.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub idle_time_min: Duration,
    /// The idle time never becomes longer. A session that returns later is as good as new.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub idle_time_max: Duration,
    /// Sessions that are remembered, about 250 bytes each; beyond them, the one that has been idle longest is forgotten
    /// early, and those that start while all are in flight are not counted.
    pub max_sessions: usize,
}

impl Default for SessionAdmissionConfig {
    fn default() -> Self {
        Self {
            share: 0.85,
            share_min: 0.6,
            share_max: 0.95,
            idle_time: Duration::from_secs(30),
            idle_time_min: Duration::from_secs(5),
            idle_time_max: Duration::from_secs(900),
            max_sessions: 1 << 16,
        }
    }
}

impl SessionAdmissionConfig {
    /// The first field that cannot be used, and what it must be.
    pub(crate) fn invalid(&self) -> Option<(&'static str, &'static str)> {
        let shares =
            self.share_min > 0.0 && self.share_min <= self.share_max && self.share_max <= 1.0;
        let times = !self.idle_time_min.is_zero() && self.idle_time_min <= self.idle_time_max;
        let fields = [
            (
                "flow.session_admission.share_min",
                "must be greater than 0, and share_max between it and 1",
                shares,
            ),
            (
                "flow.session_admission.share",
                "must lie between share_min and share_max",
                (self.share_min..=self.share_max).contains(&self.share),
            ),
            (
                "flow.session_admission.idle_time_min",
                "must be greater than 0, and at most idle_time_max",
                times,
            ),
            (
                "flow.session_admission.idle_time",
                "must lie between idle_time_min and idle_time_max",
                (self.idle_time_min..=self.idle_time_max).contains(&self.idle_time),
            ),
            ("flow.session_admission.max_sessions", "must not be zero", self.max_sessions > 0),
        ];
        fields
            .into_iter()
            .find(|(_, _, valid)| !valid)
            .map(|(field, expected, _)| (field, expected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_fields_are_named() {
        let field = |change: fn(&mut SessionAdmissionConfig)| {
            let mut config = SessionAdmissionConfig::default();
            change(&mut config);
            config.invalid().map(|(field, _)| field)
        };
        assert_eq!(field(|_| {}), None);
        assert_eq!(field(|c| c.share = f64::NAN), Some("flow.session_admission.share"));
        assert_eq!(field(|c| c.share_max = 1.1), Some("flow.session_admission.share_min"));
        assert_eq!(
            field(|c| c.idle_time_min = Duration::ZERO),
            Some("flow.session_admission.idle_time_min")
        );
        assert_eq!(
            field(|c| c.idle_time = Duration::from_secs(1)),
            Some("flow.session_admission.idle_time")
        );
        assert_eq!(field(|c| c.max_sessions = 0), Some("flow.session_admission.max_sessions"));
    }
}
