//! The ingress: headers and fields in, objects out. A refusal is text: JSON for `RefusedError`.
#![expect(clippy::too_many_arguments, reason = "the fields of a request")]

use napi::Either;
use napi_derive::napi;
use slotwise::{Instant, Usage};
use slotwise_gateway::gates;
use slotwise_gateway::ingress::{self, Refused, Tokens};
use slotwise_gateway::machines::IngressMachine;
use slotwise_gateway::routing::Inquiry;
use slotwise_wire::request::RequestReader;

use crate::body::api_at;
use crate::error::{Result, unreadable, wrong_argument};
use crate::headers::forwarded;
use crate::number::{count, exact, instant, millis};
use crate::request::{Bytes, KEPT};

/// Who may send a request, what may pass, and which pool serves it.
#[napi]
#[derive(Debug)]
pub struct NativeIngress {
    pub(crate) ingress: IngressMachine,
    reader: RequestReader,
}

/// The client behind a request; absent fields are null.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct Caller {
    /// The name of the key, or of the anonymous client; empty for one without a name.
    pub name: String,
    /// Whether the request had no key.
    pub anonymous: bool,
    /// The tenant.
    pub tenant: Option<String>,
    /// The priority of the key.
    pub priority: Option<i32>,
    /// The share of the tenant.
    pub weight: Option<f64>,
}

/// A pool and a model.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct IngressTarget {
    /// The name of the pool.
    pub pool: String,
    /// The model to write into the forwarded body.
    pub model: String,
    /// The base model; it differs from `model` if that names an adapter.
    pub base: String,
    /// The LoRA adapter.
    pub adapter: Option<String>,
}

/// What the scheduler gets.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct IngressOptions {
    /// The flow.
    pub flow: Option<String>,
    /// The priority.
    pub priority: Option<i32>,
    /// The weight.
    pub weight: Option<f64>,
}

/// A request that was admitted; absent fields are null.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct Admitted {
    /// Names the request.
    pub grant: f64,
    /// The client.
    pub caller: Caller,
    /// The name of the rule that applied.
    pub rule: Option<String>,
    /// Where to ask, in this order.
    pub targets: Vec<IngressTarget>,
    /// Copies of the request.
    pub mirrors: Vec<IngressTarget>,
    /// What the scheduler gets.
    pub options: IngressOptions,
    /// The session.
    pub session: Option<String>,
    /// Milliseconds that the whole request may take.
    pub timeout_ms: Option<f64>,
    /// The headers for the client.
    #[napi(ts_type = "Array<[string, string]>")]
    pub headers: Vec<Vec<String>>,
    /// The client's name of the model, if a target has another one.
    pub answers_as: Option<String>,
}

/// A request that was read and admitted.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct Arrival {
    /// What `admit` returns.
    pub admitted: Admitted,
    /// The model that the body names; empty for none.
    pub model: String,
    /// The API.
    #[napi(ts_type = "RequestView['api']")]
    pub api: &'static str,
    /// Whether the answer is to come as a stream.
    pub stream: bool,
    /// The headers for engines: names and values in turn.
    pub sent: Vec<String>,
}

#[napi]
impl NativeIngress {
    /// Creates an ingress from its arguments as JSON.
    #[napi(constructor)]
    pub fn new(arguments: String) -> Result<Self> {
        let ingress =
            IngressMachine::of_json(&arguments).map_err(|error| wrong_argument(&error))?;
        Ok(Self { ingress, reader: RequestReader::new() })
    }

    /// Replaces the configuration.
    #[napi]
    pub fn set_config(&mut self, arguments: String) -> Result<()> {
        self.ingress.set_config_of_json(&arguments).map_err(|error| wrong_argument(&error))
    }

    /// The caller, or the refusal.
    #[napi(ts_return_type = "Caller | string")]
    pub fn identify(&self, headers: Vec<String>, client: Option<String>) -> Either<Caller, String> {
        match self.ingress.identify(&in_pairs(&headers), client.as_deref()) {
            Ok(caller) => Either::A((&caller).into()),
            Err(refused) => refusal(&refused),
        }
    }

    /// The admitted request, or the refusal.
    #[napi(ts_return_type = "Admitted | string")]
    pub fn admit(
        &mut self,
        now: f64,
        model: String,
        path: String,
        method: String,
        headers: Vec<String>,
        client: Option<String>,
        session: Option<String>,
        objective: Option<String>,
        prompt_tokens: f64,
        output_tokens: f64,
    ) -> Result<Either<Admitted, String>> {
        let now = instant("now", now)?;
        let tokens = Tokens {
            prompt: exact("promptTokens", prompt_tokens)?,
            output: exact("outputTokens", output_tokens)?,
        };
        let inquiry = Inquiry {
            model: &model,
            method: &method,
            path: &path,
            headers: &in_pairs(&headers),
            session: session.as_deref(),
            objective: objective.as_deref(),
        };
        Ok(admit(&mut self.ingress, now, client.as_deref(), &inquiry, tokens))
    }

    /// Reads the body of a request and admits it, or returns the refusal. `add` are headers of the
    /// host's for engines.
    #[napi(ts_return_type = "Arrival | string")]
    pub fn arrive(
        &mut self,
        now: f64,
        #[napi(ts_arg_type = "Uint8Array")] body: Bytes<'_>,
        path: String,
        headers: Vec<String>,
        client: Option<String>,
        expected_output: f64,
        add: Vec<String>,
    ) -> Result<Either<Arrival, String>> {
        let now = instant("now", now)?;
        let expected = exact("expectedOutput", expected_output)?;
        let api = api_at(&path)?;
        let view = self.reader.read(api, body).map_err(unreadable)?;
        let (model, tokens) =
            (view.model.as_deref().unwrap_or_default(), Tokens::of(&view, expected));
        let (method, pairs) = (String::new(), in_pairs(&headers));
        let inquiry =
            Inquiry { model, method: &method, path: &path, headers: &pairs, ..Inquiry::default() };
        let arrived = match admit(&mut self.ingress, now, client.as_deref(), &inquiry, tokens) {
            Either::A(admitted) => Either::A(Arrival {
                admitted,
                model: model.into(),
                api: api.as_str(),
                stream: view.stream,
                sent: forwarded(&headers, &add, false),
            }),
            Either::B(refusal) => Either::B(refusal),
        };
        if body.len() > KEPT {
            self.reader.shrink_to(KEPT);
        }
        Ok(arrived)
    }

    /// A request has ended with this usage. Returns whether it had not ended before.
    #[napi]
    pub fn settle(
        &mut self,
        now: f64,
        grant: f64,
        prompt_tokens: Option<f64>,
        completion_tokens: Option<f64>,
    ) -> Result<bool> {
        let mut usage = Usage::default();
        usage.prompt_tokens =
            prompt_tokens.map(|tokens| count("promptTokens", tokens)).transpose()?;
        usage.completion_tokens =
            completion_tokens.map(|tokens| count("completionTokens", tokens)).transpose()?;
        Ok(self.ingress.settle(instant("now", now)?, exact("grant", grant)?, &usage))
    }

    /// No engine has served a request. Returns whether it had not ended before.
    #[napi]
    pub fn cancel(&mut self, now: f64, grant: f64) -> Result<bool> {
        Ok(self.ingress.cancel(instant("now", now)?, exact("grant", grant)?))
    }

    /// The models that the caller with the key of this name may request, or the anonymous one.
    #[napi]
    pub fn models(&self, key: Option<String>) -> Vec<String> {
        self.ingress.models(key.as_deref()).into_iter().map(String::from).collect()
    }
}

fn admit(
    ingress: &mut IngressMachine,
    now: Instant,
    client: Option<&str>,
    inquiry: &Inquiry<'_>,
    tokens: Tokens,
) -> Either<Admitted, String> {
    match ingress.admit(now, client, inquiry, tokens) {
        Ok((number, admitted)) => Either::A(Admitted::of(number, admitted)),
        Err(refused) => refusal(&refused),
    }
}

fn refusal<T>(refused: &Refused) -> Either<T, String> {
    Either::B(IngressMachine::refusal_to_json(refused))
}

/// Names and values, from those in turn.
fn in_pairs(list: &[String]) -> Vec<(&str, &str)> {
    list.chunks_exact(2).map(|pair| (&*pair[0], &*pair[1])).collect()
}

impl Admitted {
    fn of(number: u64, admitted: &ingress::Admitted) -> Self {
        let targets = |targets: &[ingress::Target]| targets.iter().map(Into::into).collect();
        let options = admitted.options();
        let headers = admitted.headers().into_iter();
        Self {
            grant: number as f64,
            caller: (&admitted.caller).into(),
            rule: admitted.rule.clone(),
            targets: targets(&admitted.targets),
            mirrors: targets(&admitted.mirrors),
            options: IngressOptions {
                flow: options.flow.map(String::from),
                priority: options.priority.map(|priority| priority.0),
                weight: options.weight,
            },
            session: admitted.session.clone(),
            timeout_ms: admitted.timeout.map(millis),
            headers: headers.map(|(name, value)| vec![name.into(), value]).collect(),
            answers_as: admitted.answers_as.clone(),
        }
    }
}

impl From<&gates::Caller> for Caller {
    fn from(caller: &gates::Caller) -> Self {
        Self {
            name: caller.name().into(),
            anonymous: caller.is_anonymous(),
            tenant: caller.tenant().map(String::from),
            priority: caller.priority().map(|priority| priority.0),
            weight: caller.weight(),
        }
    }
}

impl From<&ingress::Target> for IngressTarget {
    fn from(target: &ingress::Target) -> Self {
        let ingress::Target { pool, model, base, adapter } = target.clone();
        Self { pool, model, base, adapter }
    }
}
