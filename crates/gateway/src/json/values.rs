//! Values of the core as JSON.
//!
//! Each type is read and written by the code that reads and prints files. So a host's binding
//! contains no second copy of it.

use alloc::format;
use alloc::string::{String, ToString};

use serde::Serialize;
use serde::de::DeserializeOwned;
use slotwise::{Config, Endpoint};

use super::{ArgumentError, parse, read};
use crate::peers::PeersConfig;
use crate::tree::{self, ReadError};

/// Reads the configuration of a scheduler.
///
/// ```
/// use slotwise_gateway::json::read_config;
///
/// assert_eq!(read_config(r#"{"tiers": {"cpu": 0.5}}"#)?.tiers.cpu, 0.5);
/// let error = read_config(r#"{"tiers": {"cpu": "all"}}"#).expect_err("text");
/// assert!(error.to_string().starts_with("tiers.cpu: invalid type: string"));
/// # Ok::<(), slotwise_gateway::json::ArgumentError>(())
/// ```
///
/// # Errors
///
/// Text that is no JSON, or an unknown or invalid field, with its path.
pub fn read_config(text: &str) -> Result<Config, ArgumentError> {
    read_value(text)
}

/// Reads an endpoint.
///
/// # Errors
///
/// As for [`read_config`].
pub fn read_endpoint(text: &str) -> Result<Endpoint, ArgumentError> {
    read_value(text)
}

/// Reads when a gateway sends messages to its peers, and what it accepts: all fields but the key.
///
/// ```
/// use slotwise_gateway::json::read_peers_config;
///
/// let config = read_peers_config(r#"{"name": "a", "limits": {"peers": 8}}"#)?;
/// assert_eq!((&*config.name, config.limits.peers), ("a", 8));
/// # Ok::<(), slotwise_gateway::json::ArgumentError>(())
/// ```
///
/// # Errors
///
/// As for [`read_config`].
pub fn read_peers_config(text: &str) -> Result<PeersConfig, ArgumentError> {
    read(&parse(text)?)
}

/// Writes the configuration of a scheduler; [`read_config`] reads it.
#[must_use]
pub fn write_config(config: &Config) -> String {
    write_value(config)
}

/// Writes an endpoint; [`read_endpoint`] reads it.
#[must_use]
pub fn write_endpoint(endpoint: &Endpoint) -> String {
    write_value(endpoint)
}

fn read_value<T: DeserializeOwned>(text: &str) -> Result<T, ArgumentError> {
    tree::read(&parse(text)?).map_err(|error: ReadError| match error.path() {
        "" => ArgumentError::of(&error),
        path => ArgumentError::new(format!("{path}: {error}")),
    })
}

fn write_value(value: &impl Serialize) -> String {
    // The types have no maps whose keys are no text, so JSON can represent them.
    serde_json::to_value(value).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use slotwise::PrefillCost;

    use super::*;

    #[test]
    fn a_configuration_is_read_as_it_was_written() {
        let mut config = Config::default();
        config.seed = u64::MAX;
        let read = read_config(&write_config(&config)).expect("a written one");
        assert_eq!(write_config(&read), write_config(&config));
        assert_eq!(read.seed, u64::MAX);
    }

    #[test]
    fn an_endpoint_is_read_as_it_was_written() {
        let endpoint = Endpoint::new("http://a").prefill(PrefillCost::default());
        let read = read_endpoint(&write_endpoint(&endpoint)).expect("a written one");
        assert_eq!(write_endpoint(&read), write_endpoint(&endpoint));
    }

    #[test]
    fn an_error_has_the_path_and_the_reason() {
        for (text, reason) in [
            ("{", "EOF while parsing an object"),
            ("[]", "invalid type: sequence, expected struct Config"),
            (r#"{"flow": {"band": {"max_bytes": -1}}}"#, "flow.band.max_bytes: invalid value"),
            (r#"{"kvLimit": 1}"#, "unknown field `kvLimit`"),
        ] {
            let error = read_config(text).expect_err(reason).to_string();
            assert!(error.starts_with(reason), "{error}");
        }
    }
}
