//! What engines say of themselves.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyString;
use slotwise::{AdapterState, EndpointId, UnknownEndpoint};
use slotwise_gateway::engines::{report_metrics, report_orca};
use slotwise_wire::WireError;
use slotwise_wire::kv::{self, Feed, Feeds};
use slotwise_wire::metrics::OrcaReport;

use super::Scheduler;
use crate::error::{raise, raise_wire};
use crate::ids::EndpointArg;
use crate::kv::{Frames, KvReport, block_size};
use crate::kv_event::Event;
use crate::metrics::{self, Specification};
use crate::prompt::bytes;
use crate::request::instant;
use crate::shared::Forked;

#[pymethods]
impl Scheduler {
    #[pyo3(signature = (endpoint, *, waiting = None, running = None, kv_usage = None, sleeping = None,
        sampled_at = None, now = None))]
    #[expect(clippy::too_many_arguments, reason = "keywords in Python")]
    fn handle_load(
        &self,
        py: Python<'_>,
        endpoint: EndpointArg,
        waiting: Option<u32>,
        running: Option<u32>,
        kv_usage: Option<f64>,
        sleeping: Option<bool>,
        sampled_at: Option<f64>,
        now: Option<f64>,
    ) -> PyResult<()> {
        let mut load = slotwise::Load::default();
        (load.waiting, load.running, load.sleeping) = (waiting, running, sleeping);
        load.sampled_at = sampled_at.map(|at| instant("sampled_at", at)).transpose()?;
        if let Some(share) = kv_usage.filter(|share| *share < 0.0 || *share > 1.0) {
            let message = format!(
                "kv_usage must be a share between 0 and 1, not {share}: divide per cent by 100"
            );
            return Err(PyValueError::new_err(message));
        }
        let load = kv_usage.map_or(load, |share| load.kv_usage(share));
        let now = self.clock.read(py, now)?;
        self.tell(py, |core| core.handle_load(now, endpoint.0, load))
    }

    #[pyo3(signature = (endpoint, passed, *, now = None))]
    fn handle_probe(
        &self,
        py: Python<'_>,
        endpoint: EndpointArg,
        passed: bool,
        now: Option<f64>,
    ) -> PyResult<()> {
        let now = self.clock.read(py, now)?;
        self.tell(py, |core| core.handle_probe(now, endpoint.0, passed))
    }

    #[pyo3(signature = (endpoint, active, *, slots = 0, now = None))]
    fn handle_adapters(
        &self,
        py: Python<'_>,
        endpoint: EndpointArg,
        active: Vec<Bound<'_, PyString>>,
        slots: u32,
        now: Option<f64>,
    ) -> PyResult<()> {
        let active = active.iter().map(|name| name.to_str()).collect::<PyResult<Vec<_>>>()?;
        let now = self.clock.read(py, now)?;
        let state = AdapterState::active(&active).slots(slots);
        self.tell(py, |core| core.handle_adapters(now, endpoint.0, state))
    }

    #[pyo3(signature = (endpoint, event, *, now = None))]
    fn handle_kv_event(
        &self,
        py: Python<'_>,
        endpoint: EndpointArg,
        event: &Bound<'_, PyAny>,
        now: Option<f64>,
    ) -> PyResult<()> {
        let (now, endpoint) = (self.clock.read(py, now)?, endpoint.0);
        let event = Event::read(event)?;
        let handled = if event.blocks() < LONG {
            let mut core = self.lock(py)?;
            event.with(|event| core.handle_kv_event(now, endpoint, event))
        } else {
            self.tell_meanwhile(py, |core| {
                event.with(|event| core.handle_kv_event(now, endpoint, event))
            })?
        };
        handled.map_err(raise)
    }

    #[pyo3(signature = (endpoint, page, *, engine = None, fields = None, adapters = None, rank_label = None,
        now = None))]
    #[expect(clippy::too_many_arguments, reason = "keywords in Python")]
    fn handle_metrics_page(
        &self,
        py: Python<'_>,
        endpoint: EndpointArg,
        page: &Bound<'_, PyAny>,
        engine: Option<String>,
        fields: Option<Bound<'_, PyAny>>,
        adapters: Option<String>,
        rank_label: Option<String>,
        now: Option<f64>,
    ) -> PyResult<()> {
        let (now, endpoint) = (self.clock.read(py, now)?, endpoint.0);
        let page = bytes(page, "page")?;
        let reader = Specification { engine, fields, adapters, rank_label }.reader()?;
        let read = || reader.read_load(&page);
        let report = if page.len() < LONG_PAGE { read() } else { py.detach(read) };
        self.tell(py, |core| report_metrics(core, now, endpoint, &report))?;
        report.map(drop).map_err(raise_wire)
    }

    #[pyo3(signature = (endpoint, header, *, now = None))]
    fn handle_orca(
        &self,
        py: Python<'_>,
        endpoint: EndpointArg,
        header: &Bound<'_, PyAny>,
        now: Option<f64>,
    ) -> PyResult<()> {
        let (now, endpoint) = (self.clock.read(py, now)?, endpoint.0);
        let report = OrcaReport::read(metrics::header(header)?.as_ref());
        self.tell(py, |core| report_orca(core, now, endpoint, &report))?;
        report.map(drop).map_err(raise_wire)
    }

    #[pyo3(signature = (endpoint, frames, *, replay = false, rank = 0, now = None))]
    fn handle_kv_frames(
        &self,
        py: Python<'_>,
        endpoint: EndpointArg,
        frames: &Bound<'_, PyAny>,
        replay: bool,
        rank: u32,
        now: Option<f64>,
    ) -> PyResult<KvReport> {
        let (now, endpoint) = (self.clock.read(py, now)?, endpoint.0);
        let frames = Frames::read(frames)?;
        let frames = frames.bytes()?;
        let frames: Vec<&[u8]> = frames.iter().map(AsRef::as_ref).collect();
        // The end of a replay releases what was held meanwhile, and that may be much.
        let short = !replay && frames.iter().map(|frame| frame.len()).sum::<usize>() < LONG_BATCH;
        self.feed(py, endpoint, rank, short, |feed, core| match replay {
            false => {
                feed.handle_live(&frames, &mut |event| core.handle_kv_event(now, endpoint, event))
            }
            true => {
                feed.handle_replay(&frames, &mut |event| core.handle_kv_event(now, endpoint, event))
            }
        })
    }

    #[pyo3(signature = (endpoint, *, rank = 0, now = None))]
    fn abandon_replay(
        &self,
        py: Python<'_>,
        endpoint: EndpointArg,
        rank: u32,
        now: Option<f64>,
    ) -> PyResult<KvReport> {
        let (now, endpoint) = (self.clock.read(py, now)?, endpoint.0);
        self.feed(py, endpoint, rank, false, |feed, core| {
            Ok(feed.give_up(&mut |event| core.handle_kv_event(now, endpoint, event)))
        })
    }

    #[pyo3(signature = (endpoint, *, rank = 0))]
    fn replay_from(
        &self,
        py: Python<'_>,
        endpoint: EndpointArg,
        rank: u32,
    ) -> PyResult<Option<u64>> {
        Ok(self.lock_feeds(py)?.get(endpoint.0, rank).and_then(Feed::asked_from))
    }

    #[pyo3(signature = (endpoint, body, *, block_size = None, rank = 0, now = None))]
    fn handle_trtllm_events(
        &self,
        py: Python<'_>,
        endpoint: EndpointArg,
        body: &Bound<'_, PyAny>,
        block_size: Option<u32>,
        rank: u32,
        now: Option<f64>,
    ) -> PyResult<KvReport> {
        let (now, endpoint) = (self.clock.read(py, now)?, endpoint.0);
        let described = self.lock(py)?.endpoint(endpoint).map(|endpoint| endpoint.block_size);
        let block_size = match block_size {
            Some(tokens) => self::block_size(tokens)?,
            None => described.ok_or(UnknownEndpoint(endpoint)).map_err(raise)?,
        };
        let body = bytes(body, "body")?;
        self.feed(py, endpoint, rank, body.len() < LONG_BATCH, |feed, core| {
            feed.handle_trtllm(&body, block_size, rank, &mut |event| {
                core.handle_kv_event(now, endpoint, event)
            })
        })
    }
}

impl Scheduler {
    /// Hands the endpoint's feed to `apply`, with the core that takes its events. Unless that is `short`, other Python threads run
    /// meanwhile.
    fn feed(
        &self,
        py: Python<'_>,
        endpoint: EndpointId,
        rank: u32,
        short: bool,
        apply: impl FnOnce(&mut Feed, &mut slotwise::Scheduler) -> Result<kv::Report, WireError> + Send,
    ) -> PyResult<KvReport> {
        let apply = |feeds: &mut Feeds, core: &mut slotwise::Scheduler| {
            core.endpoint(endpoint).ok_or(UnknownEndpoint(endpoint))?;
            Ok(feeds.of(endpoint, rank).and_then(|feed| apply(feed, core)))
        };
        let applied: Result<_, UnknownEndpoint> = if short {
            let (mut feeds, mut core) = (self.lock_feeds(py)?, self.lock(py)?);
            apply(&mut feeds, &mut core)
        } else {
            py.detach(|| {
                let mut feeds = self.feeds.lock_detached()?;
                let mut core = self.core.lock_detached()?;
                Ok(apply(&mut feeds, &mut core))
            })
            .map_err(raise::<Forked>)?
        };
        applied.map_err(raise)?.map(KvReport).map_err(raise_wire)
    }
}

/// Blocks of an event above which other Python threads may run meanwhile: about 100 us of work.
const LONG: usize = 512;

/// Bytes of a batch above which they may: the same.
const LONG_BATCH: usize = 32 << 10;

/// Bytes of a metrics page above which they may.
const LONG_PAGE: usize = 256 << 10;
