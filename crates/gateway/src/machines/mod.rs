//! Machines over JSON: state with named calls, for hosts of other languages.
//!
//! | file | contents |
//! |---|---|
//! | `mod` | [`Machine`], by its kind |
//! | `configuration` | a [`Configuration`](crate::config::Configuration) of a file |
//! | `gates` | [`Gates`] with its grants |
//! | `health_checks` | [`HealthChecks`](crate::health_checks::HealthChecks) of a pool |
//! | `in_flight` | what a machine has handed out, by number |
//! | `ingress` | [`Ingress`](crate::ingress::Ingress) with its admitted requests |
//! | `peers` | [`Peers`](crate::peers::Peers): messages between gateways |
//! | `safety` | [`SafetyCheck`](crate::gates::safety::SafetyCheck) |
//! | `clusters` | [`Clusters`](crate::clusters::Clusters) |
//! | `routing` | [`Routing`](crate::routing::Routing) with its generator |
//!
//! A binding has one class for all of them, so every language has the same calls, arguments and
//! errors. In Rust, use the types themselves.

mod clusters;
#[cfg(feature = "config")]
mod configuration;
mod gates;
mod health_checks;
mod in_flight;
mod ingress;
mod peers;
mod routing;
mod safety;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;

use serde::Deserialize;
use serde_json::{Value, json};

pub use ingress::IngressMachine;

use crate::gates::Gates;
use crate::json::{ArgumentError, parse};
use crate::names::UnknownName;
use crate::tree::Node;

/// A machine that is created by its kind, and called by name.
///
/// ```
/// use slotwise_gateway::machines::Machine;
///
/// let config = r#"{"config": {"pools": [{"name": "a", "models": ["llama"]}]}}"#;
/// let mut routing = Machine::new("routing", config)?;
/// let route = routing.call("route", r#"{"model": "llama"}"#)?;
/// assert!(route.contains(r#""pool":"a""#));
///
/// let error = routing.call("rout", "{}").expect_err("an unknown call");
/// assert_eq!(error.to_string(), "the call must be 'route' or 'models', got \"rout\"");
/// # Ok::<(), slotwise_gateway::json::ArgumentError>(())
/// ```
pub struct Machine {
    kind: &'static str,
    calls: Box<dyn Calls>,
}

/// The calls of a machine.
trait Calls: Send + Sync {
    /// The result of a call; `None` if no call has this name.
    fn call(&mut self, name: &str, arguments: &Node) -> Option<Result<Value, ArgumentError>>;

    /// The names of all calls.
    fn names(&self) -> &'static [&'static str];

    /// The gates, if the machine has any.
    fn gates_mut(&mut self) -> Option<&mut Gates> {
        None
    }
}

/// The answer about a request that is refused.
fn refused(code: &str, http_status: u16, message: &dyn fmt::Display) -> Value {
    json!({"refused": {
        "code": code,
        "http_status": http_status,
        "message": message.to_string(),
    }})
}

type Constructor = fn(&Node) -> Result<Box<dyn Calls>, ArgumentError>;

const KINDS: &[(&str, Constructor)] = &[
    ("clusters", clusters::new),
    ("routing", routing::new),
    ("gates", gates::new),
    ("ingress", ingress::new),
    ("peers", peers::new),
    ("safety", safety::new),
    ("health_checks", health_checks::new),
    #[cfg(feature = "config")]
    ("configuration", configuration::new),
];

impl Machine {
    /// Creates a machine from a JSON object of arguments.
    ///
    /// # Errors
    ///
    /// An unknown kind, with the known ones, or an invalid argument.
    pub fn new(kind: &str, arguments: &str) -> Result<Self, ArgumentError> {
        let known = KINDS.iter().find(|(name, _)| *name == kind);
        let Some((kind, construct)) = known else {
            let error = UnknownName::new(kind, KINDS.iter().map(|(name, _)| *name));
            return Err(ArgumentError::new(format!("the machine {error}")));
        };
        Ok(Self { kind, calls: construct(&parse(arguments)?)? })
    }

    /// Calls the machine with a JSON object of arguments, and returns the result as JSON.
    ///
    /// # Errors
    ///
    /// An unknown call, with the known ones, or an invalid argument. The machine is unchanged then.
    pub fn call(&mut self, name: &str, arguments: &str) -> Result<String, ArgumentError> {
        let known = self.calls.names();
        let unknown = || {
            let error = UnknownName::new(name, known.iter().copied());
            ArgumentError::new(format!("the call {error}"))
        };
        let result = self.calls.call(name, &parse(arguments)?).ok_or_else(unknown)?;
        result.map(|value| value.to_string())
    }

    /// The gates of a machine of kind `gates` or `ingress`, to [exchange
    /// usage](crate::peers::PeerLink::exchange_usage) with peers.
    pub fn gates_mut(&mut self) -> Option<&mut Gates> {
        self.calls.gates_mut()
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// The arguments of calls that take only the time.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct At {
    at_us: u64,
}
