//! Which fields of a configuration may change while a scheduler runs.

use super::{Config, ConfigError};

impl Config {
    /// The first field that differs in `next` and cannot change while a scheduler runs, as an
    /// error.
    ///
    /// The seed keys every hash. The tables of the index and of learned values are sized once. The
    /// charges of flows and the ranks of queued requests have the unit of the policy that assigned
    /// them, and requests in flight refer to admitted sessions.
    pub(crate) fn fixed_fields_equal(&self, next: &Self) -> Result<(), ConfigError> {
        let fields = [
            ("seed", self.seed == next.seed),
            ("max_endpoints", self.max_endpoints == next.max_endpoints),
            ("max_models", self.max_models == next.max_models),
            ("max_adapters", self.max_adapters == next.max_adapters),
            ("max_threads", self.max_threads == next.max_threads),
            ("index", self.index == next.index),
            ("flow.fairness", self.flow.fairness == next.flow.fairness),
            ("flow.order", self.flow.order == next.flow.order),
            ("flow.session_admission", self.flow.session_admission == next.flow.session_admission),
        ];
        match fields.into_iter().find(|(_, equal)| !equal) {
            Some((field, _)) => {
                Err(ConfigError::new(field, "must not change while the scheduler runs"))
            }
            None => Ok(()),
        }
    }
}
