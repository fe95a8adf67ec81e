//! Configuration of session admission.

use core::time::Duration;

/// Configuration of session admission, which delays new sessions while no endpoint's cache has
/// space for another context.
///
/// It is for returning traffic, conversations and agents: a context counts while its session may
/// return. Single requests would count as long and wait for each other unnecessarily.
///
/// ```
/// let config = slotwise::SessionAdmissionConfig::default();
/// assert!((config.share - 0.8).abs() < 1e-9);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct SessionAdmissionConfig {
    /// Initial share of an endpoint's KV cache for the contexts of active sessions; later it is
    /// learned from the endpoints' cached tokens. In simulations, 0.70 refused sessions
    /// unnecessarily, and 1.0 let them evict each other.
    pub share: f64,
    /// Lower limit of the share.
    pub share_min: f64,
    /// Upper limit of the learned share, unless `share` is larger and thus the limit itself. Above
    /// 0.8, sessions in overload evicted each other before the answers that reveal it came back.
    pub share_max: f64,
    /// Initial time for which a session stays active with nothing in flight; later it is learned
    /// from return times.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub idle_time: Duration,
    /// Lower limit of the idle time.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub idle_time_min: Duration,
    /// Upper limit of the idle time. A session that returns later counts as new.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub idle_time_max: Duration,
    /// Limit of remembered sessions, of about 250 bytes each. Above it, the session idle longest is
    /// forgotten early. Sessions that start while all others are in flight are not counted.
    pub max_sessions: usize,
}

impl Default for SessionAdmissionConfig {
    fn default() -> Self {
        Self {
            share: 0.8,
            share_min: 0.6,
            share_max: 0.8,
            idle_time: Duration::from_secs(30),
            idle_time_min: Duration::from_secs(5),
            idle_time_max: Duration::from_secs(900),
            max_sessions: 1 << 16,
        }
    }
}

impl SessionAdmissionConfig {
    /// The first invalid field, and the condition that it violates.
    pub(crate) fn invalid(&self) -> Option<(&'static str, &'static str)> {
        let times = !self.idle_time_min.is_zero() && self.idle_time_min <= self.idle_time_max;
        let fields = [
            ("flow.session_admission.share_min", "must be greater than 0", self.share_min > 0.0),
            (
                "flow.session_admission.share_max",
                "must be greater than 0 and at most 1",
                self.share_max > 0.0 && self.share_max <= 1.0,
            ),
            (
                "flow.session_admission.share",
                "must lie between share_min and 1",
                (self.share_min..=1.0).contains(&self.share),
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
        assert_eq!(field(|c| c.share = 0.5), Some("flow.session_admission.share"));
        assert_eq!(field(|c| c.share_min = 0.0), Some("flow.session_admission.share_min"));
        assert_eq!(field(|c| c.share_max = 1.1), Some("flow.session_admission.share_max"));
        assert_eq!(field(|c| c.share = 0.95), None, "it is its own upper limit");
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
