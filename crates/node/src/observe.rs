//! What engines say, in bytes, to the scheduler: read and applied in one call.
#![expect(clippy::too_many_arguments, reason = "as for the calls of a scheduler")]

use napi_derive::napi;
use slotwise::EndpointId;
use slotwise_gateway::engines::{report_metrics, report_orca};
use slotwise_gateway::lease::{report_progress, settle};
use slotwise_wire::exposition::Exposition;
use slotwise_wire::kv::{Feed, Feeds};
use slotwise_wire::metrics::OrcaReport;

use crate::endpoint::named;
use crate::error::{Result, thrown, unreadable};
use crate::kv::{Frames, KvReport, batch_number, block_size};
use crate::metrics::{engine_of, specified};
use crate::number::{count, endpoint_id, instant, request_id, size};
use crate::request::Bytes;
use crate::response::{NativeResponseReader, Outcome, close, packed};
use crate::scheduler::{NativeScheduler, State};

#[napi]
impl NativeScheduler {
    /// An endpoint's metrics page. `fields` are names of fields and metrics in turn.
    #[napi]
    pub fn handle_metrics_page(
        &self,
        now: f64,
        endpoint: f64,
        #[napi(ts_arg_type = "Uint8Array")] page: Bytes<'_>,
        engine: Option<String>,
        fields: Vec<String>,
        adapters: Vec<String>,
        rank_label: Option<String>,
    ) -> Result<()> {
        let (now, id) = (instant("now", now)?, endpoint_id("endpoint", endpoint)?);
        let plain = fields.is_empty() && adapters.is_empty() && rank_label.is_none();
        self.with_all(|State { core, metrics, .. }| {
            let report = if plain && engine.as_deref() != Some("custom") {
                metrics.of(engine_of(engine.as_deref())?).read_load(page)
            } else {
                specified(engine.as_deref(), &fields, &adapters, rank_label)?.read_load(page)
            };
            report_metrics(core, now, id, &report).map_err(thrown)?;
            report.map(drop).map_err(unreadable)
        })
    }

    /// The header `endpoint-load-metrics` of an endpoint's answer.
    #[napi]
    pub fn handle_orca(
        &self,
        now: f64,
        endpoint: f64,
        #[napi(ts_arg_type = "Uint8Array")] header: Bytes<'_>,
    ) -> Result<()> {
        let (now, id) = (instant("now", now)?, endpoint_id("endpoint", endpoint)?);
        self.with(|core| {
            let report = OrcaReport::read(header);
            report_orca(core, now, id, &report).map_err(thrown)?;
            report.map(drop).map_err(unreadable)
        })
    }

    /// A message of an endpoint's publisher of KV events.
    #[napi]
    pub fn handle_kv_frames(
        &self,
        now: f64,
        endpoint: f64,
        #[napi(ts_arg_type = "Array<Uint8Array>")] frames: Frames<'_>,
        replay: bool,
        rank: f64,
    ) -> Result<KvReport> {
        let (now, id, rank) =
            (instant("now", now)?, endpoint_id("endpoint", endpoint)?, count("rank", rank)?);
        self.with_all(|State { core, feeds, .. }| {
            let feed = feed_of(feeds, core, id, rank)?;
            let report = if replay {
                feed.handle_replay(&frames, &mut |event| core.handle_kv_event(now, id, event))
            } else {
                feed.handle_live(&frames, &mut |event| core.handle_kv_event(now, id, event))
            };
            Ok(report.map_err(unreadable)?.into())
        })
    }

    /// What TensorRT-LLM answered when it was asked for its KV events.
    #[napi]
    pub fn handle_trtllm_events(
        &self,
        now: f64,
        endpoint: f64,
        #[napi(ts_arg_type = "Uint8Array")] body: Bytes<'_>,
        block_size: Option<f64>,
        rank: f64,
    ) -> Result<KvReport> {
        let (now, id, rank) =
            (instant("now", now)?, endpoint_id("endpoint", endpoint)?, count("rank", rank)?);
        self.with_all(|State { core, feeds, .. }| {
            let feed = feed_of(feeds, core, id, rank)?;
            let Some(described) = core.endpoint(id) else {
                return Err(thrown(slotwise::UnknownEndpoint(id)));
            };
            let size = self::block_size(block_size, described)?;
            Ok(feed
                .handle_trtllm(body, size, rank, &mut |event| core.handle_kv_event(now, id, event))
                .map_err(unreadable)?
                .into())
        })
    }

    /// A replay that was asked for does not come.
    #[napi]
    pub fn abandon_replay(&self, now: f64, endpoint: f64, rank: f64) -> Result<KvReport> {
        let (now, id, rank) =
            (instant("now", now)?, endpoint_id("endpoint", endpoint)?, count("rank", rank)?);
        self.with_all(|State { core, feeds, .. }| {
            let feed = feed_of(feeds, core, id, rank)?;
            Ok(feed.give_up(&mut |event| core.handle_kv_event(now, id, event)).into())
        })
    }

    /// The batch from which on a replay is awaited.
    #[napi]
    pub fn replay_from(&self, endpoint: f64, rank: f64) -> Result<Option<f64>> {
        let (id, rank) = (endpoint_id("endpoint", endpoint)?, count("rank", rank)?);
        self.with_all(|State { core, feeds, .. }| {
            if core.endpoint(id).is_none() {
                return Err(thrown(slotwise::UnknownEndpoint(id)));
            }
            Ok(feeds.get(id, rank).and_then(Feed::asked_from).map(batch_number))
        })
    }

    /// A chunk of the answer to a request: what it brought, packed.
    #[napi]
    pub fn feed(
        &self,
        now: f64,
        request: f64,
        reader: &NativeResponseReader,
        #[napi(ts_arg_type = "Uint8Array")] chunk: Bytes<'_>,
    ) -> Result<f64> {
        let (now, id) = (instant("now", now)?, request_id(request)?);
        self.with(|core| {
            let progress = reader.read(chunk);
            report_progress(core, now, id, progress).map_err(thrown)?;
            Ok(packed(progress))
        })
    }

    /// The answer to a request is at its end, which ends the request.
    #[napi]
    pub fn settle(
        &self,
        now: f64,
        request: f64,
        reader: &NativeResponseReader,
        close: String,
    ) -> Result<Outcome> {
        let (now, id, close) = (instant("now", now)?, request_id(request)?, self::close(&close)?);
        self.with(|core| {
            let outcome = reader.outcome(close);
            settle(core, now, id, &outcome).map_err(thrown)?;
            Ok(outcome.into())
        })
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
            Some(word) => named("names", word, &[("slotwise", false), ("reference", true)])?,
            None => false,
        };
        let exposition = Exposition::new().endpoint_limit(size("maxEndpoints", max_endpoints)?);
        let exposition = if reference { exposition.reference_names(pool) } else { exposition };
        self.with(|core| {
            let mut text = String::new();
            exposition.render(&core.stats(), &mut text);
            Ok(text)
        })
    }
}

/// The `Content-Type` of that text.
#[napi]
pub const METRICS_CONTENT_TYPE: &str = Exposition::CONTENT_TYPE;

/// The feed of this rank of an endpoint in the pool.
fn feed_of<'a>(
    feeds: &'a mut Feeds,
    core: &slotwise::Scheduler,
    endpoint: EndpointId,
    rank: u32,
) -> Result<&'a mut Feed> {
    if core.endpoint(endpoint).is_none() {
        return Err(thrown(slotwise::UnknownEndpoint(endpoint)));
    }
    feeds.of(endpoint, rank).map_err(unreadable)
}
