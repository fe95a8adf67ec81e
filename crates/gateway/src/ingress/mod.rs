//! The ingress: who may send a request, what may pass, and which pool serves it.
//!
//! | file | contents |
//! |---|---|
//! | `mod` | [`Ingress`]: identify, admit, settle, reload |
//! | `config` | what a host configures |
//! | `admitted` | an admitted request and its targets |
//! | `refused` | why a request is refused |
//!
//! The ingress joins [`gates`](crate::gates) and [`routing`](crate::routing). It has no scheduler:
//! a host passes an admitted request to the scheduler of its target's pool.

mod admitted;
mod config;
mod refused;

use alloc::vec::Vec;

use slotwise::{Instant, Prompt, Rng, Usage};
use slotwise_wire::headers::{Allow, RequestHeaders};
use slotwise_wire::request::RequestView;

pub use admitted::{Admitted, Target};
pub use config::IngressConfig;
pub use refused::Refused;

use crate::InvalidField;
use crate::gates::{Access, Caller, Demand, Gates, GatesConfig};
use crate::routing::{Inquiry, NoRoute, Routing};

/// Who may send a request, what may pass, and which pool serves it.
///
/// A request passes three calls:
///
/// 1. [`identify`](Self::identify) finds the caller by its key, before the body is read.
/// 2. [`admit`](Self::admit) routes the request and books it in the caller's limits.
/// 3. [`settle`](Self::settle) replaces the estimate with the usage, or [`cancel`](Self::cancel)
///    takes the booking back.
///
/// [`set_config`](Self::set_config) replaces the configuration while requests are in flight.
///
/// # Example
///
/// ```
/// use slotwise::Instant;
/// use slotwise_gateway::gates::{Access, GatesConfig, KeyConfig};
/// use slotwise_gateway::ingress::{Ingress, IngressConfig, Tokens};
/// use slotwise_gateway::routing::{Inquiry, ModelRewrite, RoutingConfig};
///
/// let mut routing = RoutingConfig::default();
/// routing.pool("llama").serves("llama-3");
/// routing.rewrites.push(ModelRewrite::of_pool("names", "llama").split("chat", [("llama-3", 1)]));
/// let mut access = Access::default();
/// access.limits.requests_per_minute = Some(1);
/// let mut gates = GatesConfig::default();
/// gates.keys.push(KeyConfig::new("alice", "sk-1", access));
/// let mut ingress = Ingress::new(IngressConfig::new(routing).gates(gates), 7)?;
///
/// let now = Instant::ORIGIN;
/// let caller = ingress.identify([("authorization", "Bearer sk-1")], None)?;
/// let inquiry = Inquiry { model: "chat", path: "/v1/completions", ..Inquiry::default() };
/// let tokens = Tokens { prompt: 600, output: 300 };
/// let admitted = ingress.admit(now, &caller, &inquiry, tokens)?;
/// assert_eq!((&*admitted.targets[0].pool, &*admitted.targets[0].model), ("llama", "llama-3"));
/// assert_eq!(admitted.answers_as.as_deref(), Some("chat"));
///
/// let unknown = Inquiry { model: "gpt", ..inquiry };
/// let refused = ingress.admit(now, &caller, &unknown, tokens).unwrap_err();
/// assert_eq!((refused.status(), refused.code()), (404, "model_not_found"));
/// let refused = ingress.admit(now, &caller, &inquiry, tokens).unwrap_err();
/// assert_eq!((refused.status(), refused.code()), (429, "rate_limit_exceeded"));
///
/// ingress.cancel(now, admitted);
/// assert!(ingress.admit(now, &caller, &inquiry, tokens).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Ingress {
    routing: Routing,
    gates: Gates,
    /// No gates are configured: all requests are anonymous, with or without a key.
    is_open: bool,
    allow: Allow,
    /// Splits what nothing pins.
    rng: Rng,
}

/// The tokens that a request is expected to use, for quotas.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a request has a prompt and an answer")]
pub struct Tokens {
    /// Tokens of the prompt.
    pub prompt: u64,
    /// Tokens of the answer.
    pub output: u64,
}

impl Tokens {
    /// Bytes of text that count as one token, until the engine reports the usage.
    const TEXT: usize = 4;

    /// What the body of a request asks for: the prompts, and the answers at their longest.
    /// `expected_output` tokens stand for an answer without a limit.
    ///
    /// ```
    /// use slotwise_gateway::ingress::Tokens;
    /// use slotwise_wire::request::{Api, RequestReader};
    ///
    /// let mut reader = RequestReader::new();
    /// let view = reader.read(Api::Completions, br#"{"prompt": "Hello", "n": 2}"#)?;
    /// assert_eq!(Tokens::of(&view, 256), Tokens { prompt: 2, output: 512 });
    /// # Ok::<(), slotwise_wire::WireError>(())
    /// ```
    pub fn of(view: &RequestView<'_>, expected_output: u64) -> Self {
        let tokens = match &view.prompt {
            Prompt::Text(text) => text.len().div_ceil(Self::TEXT),
            Prompt::Tokens(ids) => ids.len(),
            _ => 0,
        };
        let answer = view.max_tokens.map_or(expected_output, u64::from);
        Self {
            prompt: (tokens as u64).saturating_mul(view.prompts.max(1) as u64),
            output: answer.saturating_mul(view.n.map_or(1, u64::from).max(1)),
        }
    }
}

impl Ingress {
    /// Creates an ingress. `seed` seeds the splits that nothing pins. It accepts no session and no
    /// objective from headers: see [`allow`](Self::allow).
    ///
    /// # Errors
    ///
    /// Returns the first invalid field of the configuration.
    pub fn new(config: IngressConfig, seed: u64) -> Result<Self, InvalidField> {
        let (routing, (gates, is_open)) = (Routing::new(config.routing)?, gates(config.gates));
        let gates = Gates::new(gates).map_err(in_gates)?;
        Ok(Self { routing, gates, is_open, allow: Allow::default(), rng: Rng::new(seed) })
    }

    /// Accepts the session and the objective of headers as `allow` has it.
    pub fn allow(self, allow: Allow) -> Self {
        Self { allow, ..self }
    }

    /// Replaces the configuration. Requests in flight stay counted, and so does the usage of keys,
    /// tenants and clients that stay configured. Admitted requests keep their targets.
    ///
    /// # Errors
    ///
    /// Returns the first invalid field of the configuration. Nothing changes then.
    pub fn set_config(&mut self, config: IngressConfig) -> Result<(), InvalidField> {
        let (routing, (gates, is_open)) = (Routing::new(config.routing)?, gates(config.gates));
        self.gates.set_config(gates).map_err(in_gates)?;
        (self.routing, self.is_open) = (routing, is_open);
        Ok(())
    }

    /// Finds the caller by its key, before the body is read. `client` names a client without a key,
    /// such as its address: see [`Caller::client`]. Computes in **O(headers + log keys)**.
    ///
    /// # Errors
    ///
    /// 401 as for [`Gates::identify`].
    pub fn identify<'a, N: AsRef<str>, V: AsRef<[u8]> + ?Sized + 'a>(
        &self,
        headers: impl IntoIterator<Item = (N, &'a V)>,
        client: Option<&str>,
    ) -> Result<Caller, Refused> {
        let caller = match self.is_open {
            true => self.gates.identify_key(None)?,
            false => self.gates.identify(headers)?,
        };
        Ok(match client {
            Some(name) => caller.client(name),
            None => caller,
        })
    }

    /// Routes a request, then books it in all limits of the caller. A refused request is booked in
    /// none. Computes as [`Routing::route`] and [`Gates::admit`].
    ///
    /// The session and the objective of `inquiry` are the host's and take precedence over those of
    /// the headers, which count only if they are [allowed](Self::allow). The seed's generator
    /// advances only for splits that nothing pins, and for mirrors.
    ///
    /// # Errors
    ///
    /// 404 for a model that no pool serves, with the models that the caller may request; 403 for
    /// one that the key does not allow; 413 and 429 for an exceeded limit, with the time after
    /// which the same request passes.
    pub fn admit(
        &mut self,
        now: Instant,
        caller: &Caller,
        inquiry: &Inquiry<'_>,
        tokens: Tokens,
    ) -> Result<Admitted, Refused> {
        let headers =
            inquiry.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let headers = RequestHeaders::read_allowed(&self.allow, headers);
        let inquiry = Inquiry {
            session: inquiry.session.or_else(|| headers.allowed_session(&self.allow)),
            objective: inquiry.objective.or_else(|| headers.allowed_objective(&self.allow)),
            ..*inquiry
        };
        let route = match self.routing.route(&inquiry, &mut self.rng) {
            Ok(route) => route,
            Err(NoRoute::UnknownModel(_)) => {
                let models = self.models(caller);
                return Err(Refused::NoRoute(NoRoute::unknown_model(inquiry.model, &models)));
            }
            Err(no_route) => return Err(Refused::NoRoute(no_route)),
        };
        let demand = Demand::new(inquiry.model, tokens.prompt, tokens.output);
        let grant = self.gates.admit(now, caller, &demand)?;
        Ok(Admitted::new(caller.clone(), inquiry.model, inquiry.session, &route, grant))
    }

    /// The request has ended with this usage: see [`Gates::settle`].
    pub fn settle(&mut self, now: Instant, admitted: Admitted, usage: &Usage) {
        self.gates.settle(now, admitted.grant, usage);
    }

    /// No engine has served the request: it counts as if it had not come.
    pub fn cancel(&mut self, now: Instant, admitted: Admitted) {
        self.gates.cancel(now, admitted.grant);
    }

    /// The models that the caller may request, sorted. Computes in **O(models · log models)**.
    pub fn models(&self, caller: &Caller) -> Vec<&str> {
        let mut models = self.routing.models();
        models.retain(|model| caller.allows(model));
        models
    }

    /// The gates, for their standings and their safety checks.
    pub const fn gates(&self) -> &Gates {
        &self.gates
    }

    /// The gates, to [exchange usage](crate::peers::PeerLink::exchange_usage) with peers.
    pub const fn gates_mut(&mut self) -> &mut Gates {
        &mut self.gates
    }

    /// The routing.
    pub const fn routing(&self) -> &Routing {
        &self.routing
    }
}

/// The gates' configuration, and whether there are none: then every request is anonymous.
fn gates(config: Option<GatesConfig>) -> (GatesConfig, bool) {
    match config {
        Some(config) => (config, false),
        None => {
            let anonymous = Some(Access::default());
            (GatesConfig { anonymous, ..GatesConfig::default() }, true)
        }
    }
}

fn in_gates(error: InvalidField) -> InvalidField {
    error.within("gates")
}

/// The examples of the manual's page are tested, too.
#[cfg(doctest)]
#[doc = include_str!("../../../../docs/src/ingress.md")]
struct Page;
