//! [`Ingress`] with its admitted requests, as a machine over JSON and as a type for bindings.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use slotwise::{Instant, Usage};
use slotwise_wire::headers::Allow;
use slotwise_wire::outcome::BodyShape;

use super::Calls;
use super::gates::{End, Sender, of_caller, of_refusal};
use super::in_flight::InFlight;
use super::routing::of_target;
use crate::gates::{Caller, Gates};
use crate::ingress::{Admitted, Ingress, IngressConfig, Refused, Target, Tokens};
use crate::json::{ArgumentError, parse, read};
use crate::routing::Inquiry;
use crate::tree::Node;

/// An [`Ingress`] that numbers what it has admitted, for hosts of other languages.
///
/// Bindings whose hosts call it for each request use these methods. Others use the [machine] of
/// kind `ingress`, which calls them.
///
/// ```
/// use slotwise::{Instant, Usage};
/// use slotwise_gateway::ingress::Tokens;
/// use slotwise_gateway::machines::IngressMachine;
/// use slotwise_gateway::routing::Inquiry;
///
/// let arguments = r#"{"config": {"routing": {"pools": [{"name": "a", "models": ["llama"]}]}}}"#;
/// let mut ingress = IngressMachine::of_json(arguments)?;
/// let (now, inquiry) = (Instant::ORIGIN, Inquiry { model: "llama", ..Inquiry::default() });
/// let (number, admitted) = ingress.admit(now, None, &inquiry, Tokens::default()).expect("open");
/// assert_eq!(admitted.targets[0].pool, "a");
/// assert!(ingress.settle(now, number, &Usage::default()));
/// assert!(!ingress.cancel(now, number), "it has ended");
/// # Ok::<(), slotwise_gateway::json::ArgumentError>(())
/// ```
///
/// [machine]: super::Machine
#[derive(Debug)]
pub struct IngressMachine {
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
    Ok(Box::new(IngressMachine::of(arguments)?))
}

impl IngressMachine {
    /// Creates an ingress from a JSON object: its `config`, and optionally its `seed`, the claims
    /// that it accepts from headers (`allow`), and its `session_headers`.
    ///
    /// # Errors
    ///
    /// The first invalid argument.
    pub fn of_json(arguments: &str) -> Result<Self, ArgumentError> {
        Self::of(&parse(arguments)?)
    }

    fn of(arguments: &Node) -> Result<Self, ArgumentError> {
        let Arguments { config, seed, allow: names, session_headers } = read(arguments)?;
        let mut allow = Allow::default();
        for name in names {
            allow.add(&name).map_err(|error| ArgumentError::at("allow", &error))?;
        }
        allow.session_headers = session_headers;
        let ingress = Ingress::new(config, seed).map_err(|error| ArgumentError::of(&error))?;
        Ok(Self { ingress: ingress.allow(allow), admitted: InFlight::new() })
    }

    /// [`Ingress::set_config`] with the `config` of a JSON object.
    ///
    /// # Errors
    ///
    /// The first invalid field. Nothing changes then.
    pub fn set_config_of_json(&mut self, arguments: &str) -> Result<(), ArgumentError> {
        self.set_config(read(&parse(arguments)?)?)
    }

    /// [`Ingress::identify`].
    ///
    /// # Errors
    ///
    /// 401 for an unknown key, and for a missing one.
    pub fn identify(
        &self,
        headers: &[(&str, &str)],
        client: Option<&str>,
    ) -> Result<Caller, Refused> {
        self.ingress.identify(headers.iter().copied(), client)
    }

    /// Identifies the caller by the headers of the inquiry, and admits its request. Returns the
    /// number by which the request ends.
    ///
    /// # Errors
    ///
    /// As [`Ingress::identify`] and [`Ingress::admit`].
    pub fn admit(
        &mut self,
        now: Instant,
        client: Option<&str>,
        inquiry: &Inquiry<'_>,
        tokens: Tokens,
    ) -> Result<(u64, &Admitted), Refused> {
        let caller = self.identify(inquiry.headers, client)?;
        let admitted = self.ingress.admit(now, &caller, inquiry, tokens)?;
        Ok(self.admitted.insert(admitted))
    }

    /// [`Ingress::settle`]. Returns whether the request had not ended.
    pub fn settle(&mut self, now: Instant, number: u64, usage: &Usage) -> bool {
        let Some(admitted) = self.admitted.remove(number) else { return false };
        self.ingress.settle(now, admitted, usage);
        true
    }

    /// [`Ingress::cancel`]. Returns whether the request had not ended.
    pub fn cancel(&mut self, now: Instant, number: u64) -> bool {
        let Some(admitted) = self.admitted.remove(number) else { return false };
        self.ingress.cancel(now, admitted);
        true
    }

    /// The models that a caller may request: the one with the key of this name, or the anonymous
    /// one.
    pub fn models(&self, key: Option<&str>) -> Vec<&str> {
        let caller = self.ingress.gates().caller_named(key);
        caller.map_or_else(Vec::new, |caller| self.ingress.models(caller))
    }

    /// [`Ingress::gates_mut`].
    pub const fn gates_mut(&mut self) -> &mut Gates {
        self.ingress.gates_mut()
    }

    /// A refusal as hosts and clients get it: a JSON object, as in the machine's answers.
    pub fn refusal_to_json(refused: &Refused) -> String {
        of_refused(refused).to_string()
    }

    fn set_config(&mut self, arguments: NewConfig) -> Result<(), ArgumentError> {
        self.ingress.set_config(arguments.config).map_err(|error| ArgumentError::of(&error))
    }
}

impl Calls for IngressMachine {
    fn call(&mut self, name: &str, arguments: &Node) -> Option<Result<Value, ArgumentError>> {
        Some(match name {
            "set_config" => read(arguments)
                .and_then(|arguments| self.set_config(arguments))
                .map(|()| Value::Null),
            "identify" => read(arguments).map(|sender| self.identify_sender(&sender)),
            "admit" => read(arguments).map(|admission| self.admit_request(&admission)),
            "settle" => read(arguments)
                .map(|end: End| self.settle(end.now(), end.grant, &end.usage()).into()),
            "cancel" => read(arguments).map(|end: End| self.cancel(end.now(), end.grant).into()),
            "models" => read(arguments).map(|of: OfKey| self.models(of.key.as_deref()).into()),
            _ => return None,
        })
    }

    fn names(&self) -> &'static [&'static str] {
        &["set_config", "identify", "admit", "settle", "cancel", "models"]
    }

    fn gates_mut(&mut self) -> Option<&mut Gates> {
        Some(self.gates_mut())
    }
}

/// The calls over JSON.
impl IngressMachine {
    fn identify_sender(&self, sender: &Sender) -> Value {
        match self.identify(&borrowed(&sender.headers), sender.client.as_deref()) {
            Ok(caller) => of_caller(&caller),
            Err(refused) => json!({ "refused": of_refused(&refused) }),
        }
    }

    fn admit_request(&mut self, admission: &Admission) -> Value {
        let inquiry = Inquiry {
            model: &admission.model,
            method: &admission.method,
            path: &admission.path,
            headers: &borrowed(&admission.headers),
            session: admission.session.as_deref(),
            objective: admission.objective.as_deref(),
        };
        let tokens = Tokens { prompt: admission.prompt_tokens, output: admission.output_tokens };
        let now = Instant::from_micros(admission.at_us);
        match self.admit(now, admission.client.as_deref(), &inquiry, tokens) {
            Ok((number, admitted)) => {
                let mut answer = of_admitted(admitted);
                answer["grant"] = number.into();
                answer
            }
            Err(refused) => json!({ "refused": of_refused(&refused) }),
        }
    }
}

fn borrowed(headers: &[(String, String)]) -> Vec<(&str, &str)> {
    headers.iter().map(|(name, value)| (&**name, &**value)).collect()
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
