//! [`Gates`] with its grants.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use slotwise::{Instant, Usage};
use slotwise_wire::outcome::BodyShape;

use super::Calls;
use super::in_flight::InFlight;
use super::peers::{Used, used};
use crate::gates::{Caller, Demand, GateRefusal, Gates, GatesConfig, Grant, Standing};
use crate::json::{ArgumentError, read};
use crate::tree::Node;

struct GatesMachine {
    gates: Gates,
    grants: InFlight<Grant>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Configuration {
    config: GatesConfig,
}

/// Who sends a request: its headers, and the host's name for a client without a key.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Sender {
    pub(super) headers: Vec<(String, String)>,
    pub(super) client: Option<String>,
    at_us: u64,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Admission {
    headers: Vec<(String, String)>,
    client: Option<String>,
    model: String,
    prompt_tokens: u64,
    output_tokens: u64,
    at_us: u64,
}

/// The end of a request by its number.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct End {
    pub(super) grant: u64,
    #[serde(default)]
    prompt_tokens: Option<u32>,
    #[serde(default)]
    completion_tokens: Option<u32>,
    #[serde(default)]
    at_us: u64,
}

impl End {
    pub(super) const fn now(&self) -> Instant {
        Instant::from_micros(self.at_us)
    }

    pub(super) fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        (usage.prompt_tokens, usage.completion_tokens) =
            (self.prompt_tokens, self.completion_tokens);
        usage
    }
}

pub(super) fn new(arguments: &Node) -> Result<Box<dyn Calls>, ArgumentError> {
    let Configuration { config } = read(arguments)?;
    let gates = Gates::new(config).map_err(|error| ArgumentError::of(&error))?;
    Ok(Box::new(GatesMachine { gates, grants: InFlight::new() }))
}

impl Calls for GatesMachine {
    fn call(&mut self, name: &str, arguments: &Node) -> Option<Result<Value, ArgumentError>> {
        Some(match name {
            "set_config" => read(arguments).and_then(|arguments| self.set_config(arguments)),
            "identify" => read(arguments).map(|sender| self.identify(&sender)),
            "admit" => read(arguments).map(|admission| self.admit(&admission)),
            "standings" => read(arguments).map(|sender| self.standings(&sender)),
            "poll_usage_change" => Ok(self.gates.poll_usage_change().map_or(Value::Null, used)),
            "handle_peer_usage" => read(arguments).map(|it: Used| {
                self.gates.handle_peer_usage(Instant::from_micros(it.at_us), it.change());
                Value::Null
            }),
            "settle" => read(arguments).map(|end| self.end(&end, true).into()),
            "cancel" => read(arguments).map(|end| self.end(&end, false).into()),
            _ => return None,
        })
    }

    fn names(&self) -> &'static [&'static str] {
        &[
            "set_config",
            "identify",
            "admit",
            "standings",
            "poll_usage_change",
            "handle_peer_usage",
            "settle",
            "cancel",
        ]
    }

    fn gates_mut(&mut self) -> Option<&mut Gates> {
        Some(&mut self.gates)
    }
}

impl GatesMachine {
    fn set_config(&mut self, arguments: Configuration) -> Result<Value, ArgumentError> {
        let set = self.gates.set_config(arguments.config);
        set.map(|()| Value::Null).map_err(|error| ArgumentError::of(&error))
    }

    fn identify(&self, sender: &Sender) -> Value {
        match self.caller(&sender.headers, sender.client.as_deref()) {
            Ok(caller) => of_caller(&caller),
            Err(refusal) => json!({ "refused": of_refusal(&refusal) }),
        }
    }

    fn admit(&mut self, admission: &Admission) -> Value {
        let now = Instant::from_micros(admission.at_us);
        let Admission { headers, client, model, prompt_tokens, output_tokens, .. } = admission;
        let caller = self.caller(headers, client.as_deref());
        let demand = Demand::new(model, *prompt_tokens, *output_tokens);
        let granted = caller
            .and_then(|caller| Ok((self.gates.admit(now, &caller, &demand)?, of_caller(&caller))));
        match granted {
            Ok((grant, caller)) => {
                let headers = grant.headers();
                let (number, _) = self.grants.insert(grant);
                json!({ "grant": number, "caller": caller, "headers": headers })
            }
            Err(refusal) => json!({ "refused": of_refusal(&refusal) }),
        }
    }

    fn standings(&self, sender: &Sender) -> Value {
        match self.caller(&sender.headers, sender.client.as_deref()) {
            Ok(caller) => {
                let standings = self.gates.standings(Instant::from_micros(sender.at_us), &caller);
                standings.iter().map(of_standing).collect()
            }
            Err(refusal) => json!({ "refused": of_refusal(&refusal) }),
        }
    }

    /// Returns whether the grant had not ended.
    fn end(&mut self, end: &End, served: bool) -> bool {
        let now = end.now();
        let Some(grant) = self.grants.remove(end.grant) else { return false };
        if served {
            self.gates.settle(now, grant, &end.usage());
        } else {
            self.gates.cancel(now, grant);
        }
        true
    }

    fn caller(
        &self,
        headers: &[(String, String)],
        client: Option<&str>,
    ) -> Result<Caller, GateRefusal> {
        let headers = headers.iter().map(|(name, value)| (name, value.as_str()));
        let caller = self.gates.identify(headers)?;
        Ok(match client {
            Some(name) => caller.client(name),
            None => caller,
        })
    }
}

pub(super) fn of_caller(caller: &Caller) -> Value {
    json!({
        "name": caller.name(),
        "anonymous": caller.is_anonymous(),
        "tenant": caller.tenant(),
        "priority": caller.priority(),
        "weight": caller.weight(),
    })
}

/// A refusal as hosts and clients get it.
pub(super) fn of_refusal(refusal: &GateRefusal) -> Value {
    json!({
        "code": refusal.code(),
        "http_status": refusal.status(),
        "message": refusal.message,
        "retry_after_us": micros(refusal.retry_after),
        "exceeded": refusal.exceeded.as_deref().map(of_standing),
        "headers": refusal.headers(),
        "body": {
            "openai": refusal.body(BodyShape::OpenAi),
            "anthropic": refusal.body(BodyShape::Anthropic),
        },
    })
}

fn of_standing(standing: &Standing) -> Value {
    json!({
        "scope": standing.scope.as_str(),
        "measure": standing.measure.as_str(),
        "window_us": micros(standing.window),
        "limit": standing.limit,
        "used": standing.used,
        "remaining": standing.remaining(),
        "reset_us": micros(standing.reset),
    })
}

/// Whole microseconds; times are multiples of them.
fn micros(time: Option<Duration>) -> Option<u64> {
    time.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
}
