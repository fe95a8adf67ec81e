//! Reports of engines: load, adapters, KV events.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyString;
use slotwise::{Adapter, AdapterState, EndpointId, UnknownEndpoint, implausible};
use slotwise_gateway::Gateway;
use slotwise_gateway::engines::FeedError;
use slotwise_wire::kv::Report;
use slotwise_wire::metrics::OrcaReport;

use super::Scheduler;
use crate::error::{raise, raise_wire};
use crate::ids::EndpointArg;
use crate::kv::{Frames, KvReport, ReplayRequest, block_size};
use crate::kv_event::Event;
use crate::metrics::{self, Format};
use crate::prompt::bytes;
use crate::request::{duration, instant, warn_implausible};

#[pymethods]
impl Scheduler {
    #[pyo3(signature = (endpoint_id, *, waiting = None, running = None, kv_usage = None,
        sleeping = None, sampled_at = None, now = None))]
    #[expect(clippy::too_many_arguments, reason = "keywords in Python")]
    fn handle_load(
        &self,
        py: Python<'_>,
        endpoint_id: EndpointArg,
        waiting: Option<u32>,
        running: Option<u32>,
        kv_usage: Option<f64>,
        sleeping: Option<bool>,
        sampled_at: Option<f64>,
        now: Option<f64>,
    ) -> PyResult<()> {
        let load = load(waiting, running, kv_usage, sleeping, sampled_at)?;
        let now = self.now(py, now)?;
        self.input(py, |gateway| gateway.scheduler_mut().handle_load(now, endpoint_id.0, load))
    }

    #[pyo3(signature = (endpoint_ids, *, waiting = None, running = None, kv_usage = None,
        sleeping = None, sampled_at = None, now = None))]
    #[expect(clippy::too_many_arguments, reason = "keywords in Python")]
    fn handle_loads(
        &self,
        py: Python<'_>,
        endpoint_ids: Vec<EndpointArg>,
        waiting: Option<Vec<Option<u32>>>,
        running: Option<Vec<Option<u32>>>,
        kv_usage: Option<Vec<Option<f64>>>,
        sleeping: Option<Vec<Option<bool>>>,
        sampled_at: Option<Vec<Option<f64>>>,
        now: Option<f64>,
    ) -> PyResult<Vec<u64>> {
        let count = endpoint_ids.len();
        let waiting = column("waiting", waiting, count)?;
        let running = column("running", running, count)?;
        let kv_usage = column("kv_usage", kv_usage, count)?;
        let sleeping = column("sleeping", sleeping, count)?;
        let sampled_at = column("sampled_at", sampled_at, count)?;
        let report = |at: usize| {
            let load = load(waiting[at], running[at], kv_usage[at], sleeping[at], sampled_at[at])?;
            Ok((endpoint_ids[at].0, load))
        };
        let reports = (0..count).map(report).collect::<PyResult<Vec<_>>>()?;
        let now = self.now(py, now)?;
        let handle = |gateway: &mut Gateway| {
            Ok::<_, UnknownEndpoint>(gateway.scheduler_mut().handle_loads(now, &reports))
        };
        Ok(self.input(py, handle)?.into_iter().map(EndpointId::as_u64).collect())
    }

    #[pyo3(signature = (endpoint_id, passed, *, now = None))]
    fn handle_probe(
        &self,
        py: Python<'_>,
        endpoint_id: EndpointArg,
        passed: bool,
        now: Option<f64>,
    ) -> PyResult<()> {
        let now = self.now(py, now)?;
        self.input(py, |gateway| gateway.scheduler_mut().handle_probe(now, endpoint_id.0, passed))
    }

    #[pyo3(signature = (endpoint_id, active, *, slots = 0, now = None))]
    fn handle_adapters(
        &self,
        py: Python<'_>,
        endpoint_id: EndpointArg,
        active: Vec<Bound<'_, PyString>>,
        slots: u32,
        now: Option<f64>,
    ) -> PyResult<()> {
        let active = active.iter().map(|name| name.to_str()).collect::<PyResult<Vec<_>>>()?;
        let now = self.now(py, now)?;
        let state = AdapterState::active(&active).slots(slots);
        self.input(py, |gateway| gateway.scheduler_mut().handle_adapters(now, endpoint_id.0, state))
    }

    #[pyo3(signature = (name, *, rank = 0, load_time = None, slots = 0, slowdown = None))]
    fn describe_adapter(
        &self,
        py: Python<'_>,
        name: String,
        rank: u32,
        load_time: Option<f64>,
        slots: u32,
        slowdown: Option<f64>,
    ) -> PyResult<()> {
        let mut adapter = Adapter::new(name).rank(rank).slots(slots);
        adapter.load_time = load_time.map(|length| duration("load_time", length)).transpose()?;
        let plausible = adapter.load_time.and_then(|it| implausible("adapter_load_time", it));
        warn_implausible(py, plausible)?;
        adapter.slowdown = slowdown;
        self.input(py, |gateway| gateway.scheduler_mut().describe_adapter(adapter))
    }

    #[pyo3(signature = (endpoint_id, event, *, now = None))]
    fn handle_kv_event(
        &self,
        py: Python<'_>,
        endpoint_id: EndpointArg,
        event: &Bound<'_, PyAny>,
        now: Option<f64>,
    ) -> PyResult<()> {
        let (now, endpoint) = (self.now(py, now)?, endpoint_id.0);
        let event = Event::read(event)?;
        let apply = |gateway: &mut Gateway| {
            event.with(|event| gateway.scheduler_mut().handle_kv_event(now, endpoint, event))
        };
        if event.blocks() < LONG { self.input(py, apply) } else { self.long_input(py, apply) }
    }

    #[pyo3(signature = (endpoint_id, page, *, engine = None, fields = None, adapters = None,
        rank_label = None, now = None))]
    #[expect(clippy::too_many_arguments, reason = "keywords in Python")]
    fn handle_metrics_page(
        &self,
        py: Python<'_>,
        endpoint_id: EndpointArg,
        page: &Bound<'_, PyAny>,
        engine: Option<String>,
        fields: Option<Bound<'_, PyAny>>,
        adapters: Option<String>,
        rank_label: Option<String>,
        now: Option<f64>,
    ) -> PyResult<()> {
        let (now, endpoint) = (self.now(py, now)?, endpoint_id.0);
        let page = bytes(page, "page")?;
        let report = Format { engine, fields, adapters, rank_label }.read_load(py, &page)?;
        self.input(py, |gateway| gateway.handle_metrics(now, endpoint, &report))?;
        report.map(drop).map_err(raise_wire)
    }

    #[pyo3(signature = (endpoint_id, header, *, now = None))]
    fn handle_orca(
        &self,
        py: Python<'_>,
        endpoint_id: EndpointArg,
        header: &Bound<'_, PyAny>,
        now: Option<f64>,
    ) -> PyResult<()> {
        let (now, endpoint) = (self.now(py, now)?, endpoint_id.0);
        let report = OrcaReport::read(metrics::header(header)?.as_ref());
        self.input(py, |gateway| gateway.handle_orca(now, endpoint, &report))?;
        report.map(drop).map_err(raise_wire)
    }

    #[pyo3(signature = (endpoint_id, frames, *, replay = false, rank = 0, now = None))]
    fn handle_kv_frames(
        &self,
        py: Python<'_>,
        endpoint_id: EndpointArg,
        frames: &Bound<'_, PyAny>,
        replay: bool,
        rank: u32,
        now: Option<f64>,
    ) -> PyResult<KvReport> {
        let (now, endpoint) = (self.now(py, now)?, endpoint_id.0);
        let frames = Frames::read(frames)?;
        let frames = frames.bytes()?;
        let frames: Vec<&[u8]> = frames.iter().map(AsRef::as_ref).collect();
        // The end of a replay applies all held batches, which may be many.
        let short = !replay && frames.iter().map(|frame| frame.len()).sum::<usize>() < LONG_BATCH;
        self.feed(py, short, |gateway| match replay {
            false => gateway.handle_kv_frames(now, endpoint, rank, &frames),
            true => gateway.handle_kv_replay(now, endpoint, rank, &frames),
        })
    }

    #[pyo3(signature = (endpoint_id, *, rank = 0, now = None))]
    fn abandon_replay(
        &self,
        py: Python<'_>,
        endpoint_id: EndpointArg,
        rank: u32,
        now: Option<f64>,
    ) -> PyResult<KvReport> {
        let (now, endpoint) = (self.now(py, now)?, endpoint_id.0);
        self.feed(py, false, |gateway| gateway.abandon_replay(now, endpoint, rank))
    }

    fn poll_replay(&self, py: Python<'_>) -> PyResult<Option<ReplayRequest>> {
        Ok(self.lock(py)?.poll_replay().map(ReplayRequest::from))
    }

    #[pyo3(signature = (endpoint_id, *, rank = 0))]
    fn replay_from(
        &self,
        py: Python<'_>,
        endpoint_id: EndpointArg,
        rank: u32,
    ) -> PyResult<Option<u64>> {
        Ok(self.lock(py)?.replay_from(endpoint_id.0, rank))
    }

    #[pyo3(signature = (endpoint_id, body, *, block_size = None, rank = 0, now = None))]
    fn handle_trtllm_events(
        &self,
        py: Python<'_>,
        endpoint_id: EndpointArg,
        body: &Bound<'_, PyAny>,
        block_size: Option<u32>,
        rank: u32,
        now: Option<f64>,
    ) -> PyResult<KvReport> {
        let (now, endpoint) = (self.now(py, now)?, endpoint_id.0);
        let block_size = block_size.map(self::block_size).transpose()?;
        let body = bytes(body, "body")?;
        self.feed(py, body.len() < LONG_BATCH, |gateway| {
            gateway.handle_trtllm_events(now, endpoint, rank, &body, block_size)
        })
    }
}

impl Scheduler {
    /// Applies a message of an engine's publisher. Unless it is `short`, other Python threads run
    /// meanwhile.
    fn feed(
        &self,
        py: Python<'_>,
        short: bool,
        apply: impl FnOnce(&mut Gateway) -> Result<Report, FeedError> + Send,
    ) -> PyResult<KvReport> {
        let applied = if short { apply(&mut *self.lock(py)?) } else { self.detached(py, apply)? };
        self.wake(py)?;
        applied.map(KvReport).map_err(|error| match error {
            FeedError::UnknownEndpoint(error) => raise(error),
            FeedError::Wire(error) => raise_wire(error),
            other => PyValueError::new_err(other.to_string()),
        })
    }
}

/// Blocks of an event above which other Python threads may run meanwhile: about 100 us of work.
const LONG: usize = 512;

/// Bytes of a batch above which other Python threads may run meanwhile.
const LONG_BATCH: usize = 32 << 10;

/// The load that a report shows.
fn load(
    waiting: Option<u32>,
    running: Option<u32>,
    kv_usage: Option<f64>,
    sleeping: Option<bool>,
    sampled_at: Option<f64>,
) -> PyResult<slotwise::Load> {
    let mut load = slotwise::Load::default();
    (load.waiting, load.running, load.sleeping) = (waiting, running, sleeping);
    load.sampled_at = sampled_at.map(|at| instant("sampled_at", at)).transpose()?;
    if let Some(share) = kv_usage.filter(|share| *share < 0.0 || *share > 1.0) {
        let message = format!(
            "kv_usage must be a share between 0 and 1, not {share}: divide per cent by 100"
        );
        return Err(PyValueError::new_err(message));
    }
    Ok(kv_usage.map_or(load, |share| load.kv_usage(share)))
}

/// A value for each of `count` endpoints: no values, if the keyword is missing.
fn column<T: Copy>(
    name: &str,
    values: Option<Vec<Option<T>>>,
    count: usize,
) -> PyResult<Vec<Option<T>>> {
    let values = values.unwrap_or_else(|| vec![None; count]);
    if values.len() != count {
        let message = format!("{name} has {} values for {count} endpoints", values.len());
        return Err(PyValueError::new_err(message));
    }
    Ok(values)
}
