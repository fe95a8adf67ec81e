//! What the host sends to an endpoint: where to, with which headers, and with which body.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use slotwise::{Address, EndpointId, RequestId, Rng, Stage};
use slotwise_wire::WireError;
use slotwise_wire::headers::answer;
use slotwise_wire::request::{Api, KvTransfer};

use crate::gateway::Gateway;
use crate::names::UnknownName;

/// How the KV cache of a disaggregated request moves from the prefilling endpoint to the decoding
/// one.
///
/// | connector | calls | for |
/// |---|---|---|
/// | `Sidecar` | one, with `x-prefiller-host-port` | llm-d's sidecar, which makes the others |
/// | `Nixl` | prefill, then decode with the `kv_transfer_params` of its answer | vLLM |
/// | `Bootstrap` | both at once, with the same `bootstrap_room` | SGLang |
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum KvConnector {
    /// A sidecar of the decoding endpoint calls the other endpoints, which headers name. Without a
    /// sidecar, the decoding endpoint computes the prompt itself.
    #[default]
    Sidecar,
    /// vLLM's NIXL connector.
    Nixl,
    /// SGLang's bootstrap server, on the host of the prefilling endpoint.
    Bootstrap {
        /// Its port.
        port: u16,
        /// Rooms follow from the request's id and this number. Gateways that share engines need
        /// different ones, since equal rooms would mix up two requests.
        salt: u64,
    },
}

impl KvConnector {
    /// The names in other languages.
    pub const NAMES: [&'static str; 3] = ["sidecar", "nixl", "bootstrap"];

    /// The connector of this name; `port` and `salt` are those of [`Bootstrap`](Self::Bootstrap).
    ///
    /// # Errors
    ///
    /// The known names if this is none of them.
    pub fn from_name(name: &str, port: u16, salt: u64) -> Result<Self, UnknownName> {
        Ok(match name {
            "sidecar" => Self::Sidecar,
            "nixl" => Self::Nixl,
            "bootstrap" => Self::Bootstrap { port, salt },
            _ => return Err(UnknownName::new(name, Self::NAMES)),
        })
    }
}

/// A request to one endpoint.
///
/// ```
/// use slotwise::{
///     Config, Decider, DisaggregationConfig, Endpoint, Instant, Request, Role, Scheduler,
/// };
/// use slotwise_gateway::{Exchange, Gateway, KvConnector, Output};
/// use slotwise_wire::outcome::BodyShape;
/// use slotwise_wire::request::Api;
///
/// let mut disaggregation = DisaggregationConfig::default();
/// disaggregation.prefill = Decider::AlwaysPd;
/// let mut config = Config::default();
/// config.disaggregation = Some(disaggregation);
/// let mut gateway = Gateway::new(Scheduler::new(config)?);
/// let now = Instant::ORIGIN;
/// for (name, role) in [("http://p:8000", Role::Prefill), ("http://d:8000", Role::Decode)] {
///     gateway.scheduler_mut().add_endpoint(now, Endpoint::new(name).role(role))?;
/// }
///
/// let mut exchange = Exchange::new(BodyShape::OpenAi).connector(KvConnector::Nixl);
/// assert_eq!(exchange.poll(), Some(Output::Dispatch));
/// let picked = gateway.scheduler_mut().pick(now, &Request::new("llama").text("Hi"));
/// exchange.handle_pick(&mut gateway, now, picked);
///
/// let Some(Output::Prefill(call)) = exchange.poll() else { panic!("the prefill comes first") };
/// assert_eq!(call.url, "http://p:8000");
/// let body = br#"{"prompt": "Hi", "max_tokens": 64}"#;
/// assert!(String::from_utf8(call.body(Api::Completions, body)?)?.contains(r#""max_tokens": 1"#));
/// let answer = br#"{"choices": [{"text": "a", "finish_reason": "length"}],
///     "kv_transfer_params": {"remote_host": "p"}}"#;
/// exchange.handle_prefilled(&mut gateway, now, call.request_id, 200, answer);
///
/// let Some(Output::Send(call)) = exchange.poll() else { panic!("then the answer") };
/// assert_eq!(call.url, "http://d:8000");
/// let body = String::from_utf8(call.body(Api::Completions, body)?)?;
/// assert!(body.ends_with(r#""kv_transfer_params":{"remote_host": "p"}}"#));
/// # exchange.handle_client_disconnected(&mut gateway, now);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Call {
    /// The request's id.
    pub request_id: RequestId,
    /// The endpoint.
    pub endpoint_id: EndpointId,
    /// Its name: in most pools its base URL.
    pub url: String,
    /// Headers to add: names in lower case, and values.
    pub headers: Vec<(&'static str, String)>,
    transfer: Transfer,
}

/// [`KvTransfer`] with its own strings.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Transfer {
    /// The endpoint computes the prompt, or its sidecar has it computed.
    None,
    NixlPrefill,
    NixlDecode(String),
    Bootstrap {
        host: String,
        port: u16,
        room: u64,
    },
}

impl Transfer {
    /// The transfer through the bootstrap server on the host of this endpoint.
    pub(super) fn bootstrap(port: u16, salt: u64, request: RequestId, prefiller: &str) -> Self {
        let host = Address::of(prefiller).map_or(prefiller, |address| address.host).to_owned();
        let room = Rng::new(salt ^ request.as_u64()).next_u64() >> 1;
        Self::Bootstrap { host, port, room }
    }
}

impl Call {
    /// A call with the current name of the endpoint.
    pub(super) fn new(
        gateway: &Gateway,
        request_id: RequestId,
        endpoint_id: EndpointId,
        transfer: Transfer,
    ) -> Self {
        let url = name(gateway, endpoint_id);
        Self { request_id, endpoint_id, url, headers: Vec::new(), transfer }
    }

    /// The body for this endpoint, from the client's. A client's own transfer fields are replaced:
    /// see [`KvTransfer`]. Computes in **O(bytes)**.
    ///
    /// # Errors
    ///
    /// If the body is not a JSON object, or if the API generates nothing to prefill.
    pub fn body(&self, api: Api, body: &[u8]) -> Result<Vec<u8>, WireError> {
        let transfer = match &self.transfer {
            Transfer::None => KvTransfer::None,
            Transfer::NixlPrefill => KvTransfer::NixlPrefill,
            Transfer::NixlDecode(parameters) => KvTransfer::NixlDecode { parameters },
            Transfer::Bootstrap { host, port, room } => {
                KvTransfer::Bootstrap { host, port: *port, room: *room }
            }
        };
        transfer.apply(api, body)
    }

    /// Adds the headers that name the endpoints of the stages before the answer, for a sidecar.
    pub(super) fn name_legs(&mut self, gateway: &Gateway) {
        let of = |stage| {
            let leg = gateway.scheduler().leg_of(self.request_id, stage);
            leg.map(|id| name(gateway, id))
        };
        let (prefiller, encoder) = (of(Stage::Prefill), of(Stage::Encode));
        let prefiller = prefiller.as_deref().and_then(answer::prefiller);
        let encoder = encoder.as_deref().and_then(|encoder| answer::encoders([encoder]));
        let named = [prefiller, encoder].into_iter().flatten();
        self.headers.extend(named.map(|(name, value)| (name, value.into_owned())));
    }

    /// Sends the request to the primary port of a data-parallel rank's host, with a header that
    /// names the rank. Port 0 leaves the port of the rank.
    pub(super) fn redirect_to_port(&mut self, port: u16) {
        let Some((header, rank)) = answer::data_parallel(&self.url) else { return };
        let (header, rank) = (header, rank.into_owned());
        if port == 0 {
            self.headers.push((header, rank));
            return;
        }
        let Some(place) = self.url.find(rank.as_str()) else { return };
        let Some(mut address) = Address::of(&rank) else { return };
        address.port = Some(port);
        let primary = address.to_string();
        let after = place + rank.len();
        let parts = (self.url.get(..place), self.url.get(after..));
        if let (Some(before), Some(after)) = parts {
            self.url = format!("{before}{primary}{after}");
            self.headers.push((header, rank));
        }
    }
}

fn name(gateway: &Gateway, endpoint: EndpointId) -> String {
    let found = gateway.scheduler().endpoint(endpoint);
    found.map(|endpoint| endpoint.name.clone()).unwrap_or_default()
}
