//! [`Ingress`] with its admitted requests.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use slotwise::Instant;
use slotwise_wire::headers::Allow;
use slotwise_wire::outcome::BodyShape;

use super::Calls;
use super::gates::{End, Sender, of_caller, of_refusal};
use super::in_flight::InFlight;
use super::routing::of_target;
use crate::ingress::{Admitted, Ingress, IngressConfig, Refused, Target, Tokens};
use crate::json::{ArgumentError, read};
use crate::routing::Inquiry;
use crate::tree::Node;

struct IngressMachine {
    ingress: Ingress,
    admitted: InFlight<Admitted>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    config: IngressConfig,
    /// Seeds the splits that nothing pins.
    #[serde(default)]
    seed: u64,
    /// The claims that count from headers.
    #[serde(default)]
    allow: Vec<String>,
    #[serde(default)]
    session_headers: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewConfig {
    config: IngressConfig,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Admission {
    headers: Vec<(String, String)>,
    client: Option<String>,
    model: String,
    method: String,
    path: String,
    session: Option<String>,
    objective: Option<String>,
    prompt_tokens: u64,
    output_tokens: u64,
    at_us: u64,
}

/// A caller by the name of its key; without one, the anonymous one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfKey {
    key: Option<String>,
}

pub(super) fn new(arguments: &Node) -> Result<Box<dyn Calls>, ArgumentError> {
    let Arguments { config, seed, allow: names, session_headers } = read(arguments)?;
    let mut allow = Allow::default();
    for name in names {
        allow.add(&name).map_err(|error| ArgumentError::at("allow", &error))?;
    }
    allow.session_headers = session_headers;
    let ingress = Ingress::new(config, seed).map_err(|error| ArgumentError::of(&error))?;
    let ingress = ingress.allow(allow);
    Ok(Box::new(IngressMachine { ingress, admitted: InFlight::new() }))
}

impl Calls for IngressMachine {
    fn call(&mut self, name: &str, arguments: &Node) -> Option<Result<Value, ArgumentError>> {
        Some(match name {
            "set_config" => read(arguments).and_then(|arguments| self.set_config(arguments)),
            "identify" => read(arguments).map(|sender| self.identify(&sender)),
            "admit" => read(arguments).map(|admission| self.admit(&admission)),
            "settle" => read(arguments).map(|end| self.end(&end, true).into()),
            "cancel" => read(arguments).map(|end| self.end(&end, false).into()),
            "models" => read(arguments).map(|of: OfKey| self.models(&of)),
            _ => return None,
        })
    }

    fn names(&self) -> &'static [&'static str] {
        &["set_config", "identify", "admit", "settle", "cancel", "models"]
    }
}

impl IngressMachine {
    fn set_config(&mut self, arguments: NewConfig) -> Result<Value, ArgumentError> {
        let set = self.ingress.set_config(arguments.config);
        set.map(|()| Value::Null).map_err(|error| ArgumentError::of(&error))
    }

    fn identify(&self, sender: &Sender) -> Value {
        let headers = sender.headers.iter().map(|(name, value)| (name, value.as_str()));
        match self.ingress.identify(headers, sender.client.as_deref()) {
            Ok(caller) => of_caller(&caller),
            Err(refused) => json!({ "refused": of_refused(&refused) }),
        }
    }

    fn admit(&mut self, admission: &Admission) -> Value {
        let now = Instant::from_micros(admission.at_us);
        let headers: Vec<(&str, &str)> =
            admission.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        let inquiry = Inquiry {
            model: &admission.model,
            method: &admission.method,
            path: &admission.path,
            headers: &headers,
            session: admission.session.as_deref(),
            objective: admission.objective.as_deref(),
        };
        let tokens = Tokens { prompt: admission.prompt_tokens, output: admission.output_tokens };
        let caller = self.ingress.identify(headers.iter().copied(), admission.client.as_deref());
        let admitted = caller.and_then(|caller| self.ingress.admit(now, &caller, &inquiry, tokens));
        match admitted {
            Ok(admitted) => {
                let mut answer = of_admitted(&admitted);
                answer["grant"] = self.admitted.insert(admitted).into();
                answer
            }
            Err(refused) => json!({ "refused": of_refused(&refused) }),
        }
    }

    /// Returns whether the request had not ended.
    fn end(&mut self, end: &End, served: bool) -> bool {
        let now = Instant::from_micros(end.at_us);
        let Some(admitted) = self.admitted.remove(end.grant) else { return false };
        match served {
            true => self.ingress.settle(now, admitted, &end.usage()),
            false => self.ingress.cancel(now, admitted),
        }
        true
    }

    fn models(&self, of: &OfKey) -> Value {
        let caller = self.ingress.gates().caller_named(of.key.as_deref());
        caller.map_or_else(Vec::new, |caller| self.ingress.models(caller)).into()
    }
}

fn of_admitted(admitted: &Admitted) -> Value {
    let targets = |targets: &[Target]| {
        targets.iter().map(|target| of_target(&target.as_routed())).collect::<Vec<_>>()
    };
    let options = admitted.options();
    let mut given = Map::new();
    given.extend(options.flow.map(|flow| ("flow".into(), flow.into())));
    given.extend(options.priority.map(|priority| ("priority".into(), json!(priority))));
    given.extend(options.weight.map(|weight| ("weight".into(), weight.into())));
    json!({
        "caller": of_caller(&admitted.caller),
        "rule": admitted.rule,
        "targets": targets(&admitted.targets),
        "mirrors": targets(&admitted.mirrors),
        "options": given,
        "session": admitted.session,
        "timeout_s": admitted.timeout.map(|time| time.as_secs_f64()),
        "headers": admitted.headers(),
        "answers_as": admitted.answers_as,
    })
}

/// A refusal as hosts and clients get it.
fn of_refused(refused: &Refused) -> Value {
    match refused {
        Refused::Gate(refusal) => of_refusal(refusal),
        Refused::NoRoute(no_route) => json!({
            "code": refused.code(),
            "http_status": refused.status(),
            "message": no_route.to_string(),
            "retry_after_us": null,
            "exceeded": null,
            "headers": refused.headers(),
            "body": {
                "openai": refused.body(BodyShape::OpenAi),
                "anthropic": refused.body(BodyShape::Anthropic),
            },
        }),
    }
}
