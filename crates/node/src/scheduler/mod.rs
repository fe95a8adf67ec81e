//! The package's `Scheduler`. Each call converts, calls the gateway crate and converts back.
//!
//! | file | calls |
//! |---|---|
//! | here | construction, queries, snapshots, the wake-up signal |
//! | `open` | the schedulers of a thread, by number |
//! | `endpoints` | the pool, loads, adapters and KV events as values |
//! | `engines` | what engines send, as bytes |
//! | `legs` | the stages that have endpoints of their own |
//! | `requests` | decisions, and requests by their ids |

mod endpoints;
mod engines;
mod legs;
mod open;
pub mod requests;

use std::cell::RefCell;
use std::rc::Rc;

use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;
use slotwise_gateway::Gateway;
use slotwise_wire::exposition::Exposition;
use slotwise_wire::request::RequestReader;

use crate::config::Config;
use crate::endpoint::{Endpoint, one_of};
use crate::error::{Result, closed, invalid_config, thrown};
use crate::number::{instant, patience, size, time, to_endpoint_id, to_request_id};
use crate::request::Bytes;
use open::{dismiss, open};

/// The native part of the package's `Scheduler`. Times are milliseconds, ids are numbers.
#[napi]
#[derive(Debug)]
pub struct NativeScheduler {
    state: Shared,
    number: u64,
}

/// The state of a scheduler, which its exchanges use too: none after `close`. The cell is never
/// borrowed while JavaScript runs.
#[derive(Clone, Debug)]
pub(crate) struct Shared(Rc<RefCell<Option<State>>>);

/// The gateway, and the buffers that read requests for it.
#[derive(Debug)]
struct State {
    gateway: Gateway,
    requests: RequestReader,
}

impl Shared {
    /// The gateway; none after `close`.
    pub(crate) fn gateway<T>(&self, call: impl FnOnce(&mut Gateway) -> T) -> Option<T> {
        self.0.borrow_mut().as_mut().map(|state| call(&mut state.gateway))
    }

    /// Looks at the scheduler.
    fn query<T>(&self, call: impl FnOnce(&slotwise::Scheduler) -> Result<T>) -> Result<T> {
        call(self.0.borrow().as_ref().ok_or_else(closed)?.gateway.scheduler())
    }

    /// Makes an input.
    fn input<T>(&self, call: impl FnOnce(&mut slotwise::Scheduler) -> Result<T>) -> Result<T> {
        self.with(|state| call(state.gateway.scheduler_mut()))
    }

    fn with<T>(&self, call: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        call(self.0.borrow_mut().as_mut().ok_or_else(closed)?)
    }
}

impl NativeScheduler {
    /// The gateway; none after `close`.
    pub(crate) fn gateway<T>(&self, call: impl FnOnce(&mut Gateway) -> T) -> Option<T> {
        self.state.gateway(call)
    }

    /// The state, for leases and exchanges.
    pub(crate) fn shared(&self) -> Shared {
        self.state.clone()
    }
}

impl Drop for NativeScheduler {
    fn drop(&mut self) {
        dismiss(self.number);
    }
}

#[napi]
impl NativeScheduler {
    /// A scheduler with no endpoints.
    #[napi(constructor)]
    pub fn new(config: Config) -> Result<Self> {
        let config = slotwise::Config::try_from(config).map_err(|unfit| unfit.in_config())?;
        let scheduler = slotwise::Scheduler::new(config).map_err(invalid_config)?;
        let state = State { gateway: Gateway::new(scheduler), requests: RequestReader::new() };
        let state = Shared(Rc::new(RefCell::new(Some(state))));
        Ok(Self { number: open(&state), state })
    }

    /// What the functions in `requests` take.
    #[napi(getter)]
    pub fn number(&self) -> f64 {
        self.number as f64
    }

    /// Changes the configuration. Without a seed, the current one stays.
    #[napi]
    pub fn reconfigure(&self, now: f64, config: Config) -> Result<()> {
        let now = instant("now", now)?;
        let has_seed = config.seed.is_some();
        let mut config = slotwise::Config::try_from(config).map_err(|unfit| unfit.in_config())?;
        self.state.input(|scheduler| {
            if !has_seed {
                config.seed = scheduler.config().seed;
            }
            scheduler.reconfigure(now, config).map_err(invalid_config)
        })
    }

    /// Frees its memory.
    #[napi]
    pub fn close(&self) {
        self.state.0.take();
    }

    // The wake-up signal.

    /// What to poll after inputs: the sum of 1 for decisions and 2 for drained endpoints.
    #[napi]
    pub fn take_wakeup(&self) -> Result<f64> {
        self.state.with(|state| {
            let wakeup = state.gateway.take_wakeup();
            Ok(f64::from(u8::from(wakeup.decisions) + 2 * u8::from(wakeup.drained)))
        })
    }

    /// When to poll decisions even without an input.
    #[napi]
    pub fn next_timeout(&self) -> Result<Option<f64>> {
        self.state.query(|scheduler| Ok(scheduler.next_timeout().and_then(time)))
    }

    /// Reports an endpoint by `pollDrained` once it has no request in flight.
    #[napi]
    pub fn watch_drained(&self, endpoint_id: f64) -> Result<()> {
        let id = to_endpoint_id("endpointId", endpoint_id)?;
        self.state.with(|state| state.gateway.watch_drained(id).map_err(thrown))
    }

    /// Ends the watch of an endpoint.
    #[napi]
    pub fn unwatch_drained(&self, endpoint_id: f64) -> Result<()> {
        let id = to_endpoint_id("endpointId", endpoint_id)?;
        self.state.with(|state| {
            state.gateway.unwatch_drained(id);
            Ok(())
        })
    }

    /// The next watched endpoint that has no request in flight, or has left the pool.
    #[napi]
    pub fn poll_drained(&self) -> Result<Option<f64>> {
        self.state.with(|state| {
            Ok(state.gateway.poll_drained().map(|drained| drained.endpoint_id.as_u64() as f64))
        })
    }

    // Queries.

    /// Whether there is room for copies of other pools' requests.
    #[napi]
    pub fn has_room_for_mirror(&self, limit: f64) -> Result<bool> {
        self.state.with(|state| Ok(state.gateway.has_room_for_mirror(limit)))
    }

    /// The configuration, with the defaults.
    #[napi(getter)]
    pub fn config(&self) -> Result<Config> {
        self.state.query(|scheduler| Ok(scheduler.config().into()))
    }

    /// The description of an endpoint.
    #[napi]
    pub fn endpoint(&self, endpoint_id: f64) -> Result<Option<Endpoint>> {
        let id = to_endpoint_id("endpointId", endpoint_id)?;
        self.state.query(|scheduler| Ok(scheduler.endpoint(id).map(Endpoint::from)))
    }

    /// The endpoint with this name.
    #[napi]
    pub fn endpoint_named(&self, name: String) -> Result<Option<f64>> {
        self.state
            .query(|scheduler| Ok(scheduler.endpoint_named(&name).map(|id| id.as_u64() as f64)))
    }

    /// The ids and the names of the endpoints.
    #[napi]
    pub fn endpoint_names(&self) -> Result<Vec<(f64, String)>> {
        self.state.query(|scheduler| {
            let endpoints = scheduler.endpoints();
            Ok(endpoints.map(|(id, one)| (id.as_u64() as f64, one.name.clone())).collect())
        })
    }

    /// A number that changes with the members of the pool.
    #[napi(getter)]
    pub fn membership(&self) -> Result<f64> {
        self.state.query(|scheduler| Ok(scheduler.membership() as f64))
    }

    /// The endpoint of a request in flight.
    #[napi]
    pub fn endpoint_of(&self, request_id: f64) -> Result<Option<f64>> {
        let id = to_request_id(request_id)?;
        self.state.query(|scheduler| Ok(scheduler.endpoint_of(id).map(|id| id.as_u64() as f64)))
    }

    /// Requests in flight on an endpoint.
    #[napi]
    pub fn in_flight_on(&self, endpoint_id: f64) -> Result<f64> {
        let id = to_endpoint_id("endpointId", endpoint_id)?;
        self.state.query(|scheduler| scheduler.in_flight_on(id).map(f64::from).map_err(thrown))
    }

    /// Endpoints that accept new requests.
    #[napi(getter)]
    pub fn accepting_endpoints(&self) -> Result<f64> {
        self.state.query(|scheduler| Ok(scheduler.accepting_endpoints() as f64))
    }

    /// Counters and gauges.
    #[napi]
    pub fn stats(&self) -> Result<crate::stats::Stats> {
        self.state.query(|scheduler| Ok(scheduler.stats().into()))
    }

    /// Counters and gauges, as OpenMetrics text.
    #[napi]
    pub fn metrics_text(
        &self,
        names: Option<String>,
        pool: String,
        max_endpoints: f64,
    ) -> Result<String> {
        let reference = match &names {
            Some(word) => one_of("names", word, &[("slotwise", false), ("reference", true)])?,
            None => false,
        };
        let exposition = Exposition::new().endpoint_limit(size("maxEndpoints", max_endpoints)?);
        let exposition = if reference { exposition.reference_names(pool) } else { exposition };
        self.state.query(|scheduler| {
            let mut text = String::new();
            exposition.render(&scheduler.stats(), &mut text);
            Ok(text)
        })
    }

    // Restarts.

    /// The cache contents of all endpoints.
    #[napi]
    pub fn snapshot(&self) -> Result<Uint8Array> {
        self.state.query(|scheduler| Ok(scheduler.snapshot().into()))
    }

    /// Restores the cache contents of endpoints, and returns their number.
    #[napi]
    pub fn restore(
        &self,
        now: f64,
        #[napi(ts_arg_type = "Uint8Array")] snapshot: Bytes<'_>,
    ) -> Result<f64> {
        let now = instant("now", now)?;
        self.state.input(|scheduler| {
            scheduler.restore(now, snapshot).map(|endpoints| endpoints as f64).map_err(thrown)
        })
    }
}

/// The `Content-Type` of `metricsText`.
#[napi]
pub const METRICS_CONTENT_TYPE: &str = Exposition::CONTENT_TYPE;

/// A call without effect, to measure what every call costs at least.
#[napi]
pub fn noop() {}

/// The smallest and the largest plausible milliseconds for a field, by its name in the core. None
/// if `millis` is plausible.
#[napi]
pub fn implausible(field: String, millis: f64) -> Result<Option<Vec<f64>>> {
    let found = slotwise::implausible(&field, patience(&field, millis)?);
    let millis = crate::number::millis;
    Ok(found.map(|found| vec![millis(found.least), millis(found.most)]))
}
