//! Messages between the gateways of a pool.

use std::cell::RefCell;

use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;
use slotwise_gateway::json::read_peers_config;
use slotwise_gateway::peers;

use crate::error::{Result, closed, invalid_field, thrown, wrong_argument};
use crate::ingress::NativeIngress;
use crate::machine::NativeMachine;
use crate::number::{exact, instant, millis, time, to_endpoint_id};
use crate::request::Bytes;
use crate::scheduler::NativeScheduler;

/// A scheduler's messages to and from the other gateways of its pool.
#[napi]
#[derive(Debug)]
pub struct NativePeerLink {
    link: RefCell<peers::PeerLink>,
}

/// Counts of messages.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct PeersStats {
    /// Messages that were sent.
    pub sent: f64,
    /// Bytes of these.
    pub sent_bytes: f64,
    /// Messages that were sent again; also in `sent`.
    pub repeated: f64,
    /// Messages that were applied, own and repeated ones included.
    pub received: f64,
    /// Bytes of these.
    pub received_bytes: f64,
    /// Messages that were rejected.
    pub rejected: f64,
    /// Prompts whose first blocks had not arrived.
    pub headless: f64,
    /// Prompts and claims that limits have left out, here and at the receiving end.
    pub left_out: f64,
    /// Peers whose claims count.
    pub alive: f64,
}

/// What all living peers have in flight on an endpoint.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct PeerLoad {
    /// Requests before their first token.
    pub prefilling: f64,
    /// Requests past their first token.
    pub running: f64,
    /// Predicted prefill of the requests before their first token, in milliseconds.
    pub booked_ms: f64,
    /// Tokens of prompts and answers in flight.
    pub kv_tokens: f64,
    /// How long a peer still backs the endpoint off, in milliseconds.
    pub backoff_ms: f64,
    /// The highest priority of the requests that wait at a peer for the endpoint, if any do.
    pub waiting: Option<i32>,
}

#[napi]
impl NativePeerLink {
    /// Joins a scheduler, with its configuration as JSON.
    #[napi(constructor)]
    pub fn new(
        scheduler: &NativeScheduler,
        config: String,
        #[napi(ts_arg_type = "Uint8Array")] key: Bytes<'_>,
        incarnation: f64,
    ) -> Result<Self> {
        let mut config = read_peers_config(&config).map_err(|error| wrong_argument(&error))?;
        config.key = peers::PeerKey::new(key);
        let incarnation = exact("incarnation", incarnation)?;
        let link = scheduler
            .gateway(|gateway| peers::PeerLink::new(config, incarnation, gateway.scheduler_mut()));
        let link = link.ok_or_else(closed)?.map_err(|error| invalid_field(&error))?;
        Ok(Self { link: RefCell::new(link) })
    }

    /// The next message for all peers, if one is due.
    #[napi]
    pub fn export_delta(
        &self,
        scheduler: &NativeScheduler,
        now: f64,
    ) -> Result<Option<Uint8Array>> {
        let now = instant("now", now)?;
        let mut link = self.link.borrow_mut();
        let message = scheduler.gateway(|gateway| link.export_delta(now, gateway.scheduler_mut()));
        Ok(message.ok_or_else(closed)?.map(Uint8Array::from))
    }

    /// Applies a message of a peer, and returns what it was.
    #[napi]
    pub fn apply_delta(
        &self,
        scheduler: &NativeScheduler,
        now: f64,
        #[napi(ts_arg_type = "Uint8Array")] message: Bytes<'_>,
    ) -> Result<&'static str> {
        let now = instant("now", now)?;
        let mut link = self.link.borrow_mut();
        let applied =
            scheduler.gateway(|gateway| link.apply_delta(now, gateway.scheduler_mut(), message));
        applied.ok_or_else(closed)?.map(peers::Applied::as_str).map_err(thrown)
    }

    /// Counts in the gates of a machine what peers have used, and the reverse.
    #[napi]
    pub fn exchange_usage(&self, gates: &mut NativeMachine, now: f64) -> Result<()> {
        let now = instant("now", now)?;
        let gates =
            gates.0.gates_mut().ok_or_else(|| wrong_argument(&"the machine has no gates"))?;
        self.link.borrow_mut().exchange_usage(now, gates);
        Ok(())
    }

    /// `exchangeUsage` with the gates of an ingress.
    #[napi]
    pub fn exchange_usage_of(&self, ingress: &mut NativeIngress, now: f64) -> Result<()> {
        let now = instant("now", now)?;
        self.link.borrow_mut().exchange_usage(now, ingress.ingress.gates_mut());
        Ok(())
    }

    /// When to export again, unless something happens before.
    #[napi]
    pub fn next_timeout(&self, scheduler: &NativeScheduler, now: f64) -> Result<Option<f64>> {
        let now = instant("now", now)?;
        let mut link = self.link.borrow_mut();
        let at = scheduler.gateway(|gateway| link.next_timeout(now, gateway.scheduler_mut()));
        Ok(time(at.ok_or_else(closed)?))
    }

    /// What all living peers have in flight on an endpoint.
    #[napi]
    pub fn load(
        &self,
        scheduler: &NativeScheduler,
        now: f64,
        endpoint_id: f64,
    ) -> Result<PeerLoad> {
        let (now, id) = (instant("now", now)?, to_endpoint_id("endpointId", endpoint_id)?);
        let link = self.link.borrow();
        let load = scheduler.gateway(|gateway| link.load(now, gateway.scheduler(), id));
        let load = load.ok_or_else(closed)?.map_err(thrown)?;
        Ok(PeerLoad {
            prefilling: load.prefilling.into(),
            running: load.running.into(),
            booked_ms: millis(load.booked),
            kv_tokens: load.kv_tokens as f64,
            backoff_ms: millis(load.backoff),
            waiting: load.waiting,
        })
    }

    /// Names of the living peers.
    #[napi(getter)]
    pub fn alive(&self) -> Vec<String> {
        self.link.borrow().peers().alive().map(String::from).collect()
    }

    /// Whether all messages of the living peers have arrived, as far as is known.
    #[napi(getter)]
    pub fn is_complete(&self) -> bool {
        self.link.borrow().peers().is_complete()
    }

    /// Metrics of the link, as OpenMetrics text.
    #[napi]
    pub fn metrics_text(&self, now: f64) -> Result<String> {
        Ok(self.link.borrow_mut().metrics_text(instant("now", now)?))
    }

    /// Counts of messages.
    #[napi]
    pub fn stats(&self) -> PeersStats {
        let stats = self.link.borrow().peers().stats();
        PeersStats {
            sent: stats.sent as f64,
            sent_bytes: stats.sent_bytes as f64,
            repeated: stats.repeated as f64,
            received: stats.received as f64,
            received_bytes: stats.received_bytes as f64,
            rejected: stats.rejected as f64,
            headless: stats.headless as f64,
            left_out: stats.left_out as f64,
            alive: stats.alive as f64,
        }
    }
}

/// The seed that gateways with this key share.
#[napi]
pub fn seed_of_peers(#[napi(ts_arg_type = "Uint8Array")] key: Bytes<'_>) -> Result<f64> {
    if key.len() < peers::PeerKey::SHORTEST {
        let least = peers::PeerKey::SHORTEST;
        let message = format!("key must have at least {least} bytes, got {}", key.len());
        return Err(wrong_argument(&message));
    }
    Ok(peers::PeerKey::new(key).seed() as f64)
}
