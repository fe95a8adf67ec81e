//! What engines send, as bytes: read and applied in one call.
#![expect(clippy::too_many_arguments, reason = "as for the calls of requests")]

use napi_derive::napi;
use slotwise_gateway::engines::FeedError;
use slotwise_wire::metrics::OrcaReport;

use super::{NativeScheduler, State};
use crate::error::{Kind, Result, thrown, unclassified, unreadable};
use crate::kv::{Frames, KvReport, ReplayRequest, batch_number};
use crate::metrics::PageOptions;
use crate::number::{count, instant, positive, to_endpoint_id};
use crate::request::Bytes;

#[napi]
impl NativeScheduler {
    /// An endpoint's metrics page was scraped. `fields` are names of fields and metrics in turn.
    #[napi]
    pub fn handle_metrics_page(
        &self,
        now: f64,
        endpoint_id: f64,
        #[napi(ts_arg_type = "Uint8Array")] page: Bytes<'_>,
        engine: Option<String>,
        fields: Vec<String>,
        adapters: Vec<String>,
        rank_label: Option<String>,
    ) -> Result<()> {
        let (now, id) = (instant("now", now)?, to_endpoint_id("endpointId", endpoint_id)?);
        let options = PageOptions { engine, fields, adapters, rank_label };
        self.state.with(|state| {
            let report = options.read_load(page)?;
            state.gateway.handle_metrics(now, id, &report).map_err(thrown)?;
            report.map(drop).map_err(unreadable)
        })
    }

    /// An endpoint's answer had this header `endpoint-load-metrics`.
    #[napi]
    pub fn handle_orca(
        &self,
        now: f64,
        endpoint_id: f64,
        #[napi(ts_arg_type = "Uint8Array")] header: Bytes<'_>,
    ) -> Result<()> {
        let (now, id) = (instant("now", now)?, to_endpoint_id("endpointId", endpoint_id)?);
        let report = OrcaReport::read(header);
        self.state.with(|state| {
            state.gateway.handle_orca(now, id, &report).map_err(thrown)?;
            report.map(drop).map_err(unreadable)
        })
    }

    /// A message came from an endpoint's publisher of KV events.
    #[napi]
    pub fn handle_kv_frames(
        &self,
        now: f64,
        endpoint_id: f64,
        #[napi(ts_arg_type = "Array<Uint8Array>")] frames: Frames<'_>,
        replay: bool,
        rank: f64,
    ) -> Result<KvReport> {
        let (now, id) = (instant("now", now)?, to_endpoint_id("endpointId", endpoint_id)?);
        let rank = count("rank", rank)?;
        self.state.with(|State { gateway, .. }| {
            let report = if replay {
                gateway.handle_kv_replay(now, id, rank, &frames)
            } else {
                gateway.handle_kv_frames(now, id, rank, &frames)
            };
            Ok(report.map_err(rejected_feed)?.into())
        })
    }

    /// TensorRT-LLM returned this body at `/kv_cache_events`.
    #[napi]
    pub fn handle_trtllm_events(
        &self,
        now: f64,
        endpoint_id: f64,
        #[napi(ts_arg_type = "Uint8Array")] body: Bytes<'_>,
        block_size: Option<f64>,
        rank: f64,
    ) -> Result<KvReport> {
        let (now, id) = (instant("now", now)?, to_endpoint_id("endpointId", endpoint_id)?);
        let rank = count("rank", rank)?;
        let size = block_size.map(|tokens| positive("blockSize", tokens)).transpose()?;
        self.state.with(|State { gateway, .. }| {
            let report = gateway.handle_trtllm_events(now, id, rank, body, size);
            Ok(report.map_err(rejected_feed)?.into())
        })
    }

    /// Gives up a replay.
    #[napi]
    pub fn abandon_replay(&self, now: f64, endpoint_id: f64, rank: f64) -> Result<KvReport> {
        let (now, id) = (instant("now", now)?, to_endpoint_id("endpointId", endpoint_id)?);
        let rank = count("rank", rank)?;
        self.state.with(|State { gateway, .. }| {
            Ok(gateway.abandon_replay(now, id, rank).map_err(rejected_feed)?.into())
        })
    }

    /// The next request for a replay.
    #[napi]
    pub fn poll_replay(&self) -> Result<Option<ReplayRequest>> {
        self.state.with(|State { gateway, .. }| Ok(gateway.poll_replay().map(ReplayRequest::from)))
    }

    /// The first batch of the replay that a rank awaits.
    #[napi]
    pub fn replay_from(&self, endpoint_id: f64, rank: f64) -> Result<Option<f64>> {
        let (id, rank) = (to_endpoint_id("endpointId", endpoint_id)?, count("rank", rank)?);
        self.state.with(|State { gateway, .. }| {
            gateway.scheduler().in_flight_on(id).map_err(thrown)?;
            Ok(gateway.replay_from(id, rank).map(batch_number))
        })
    }
}

fn rejected_feed(error: FeedError) -> napi::Error<Kind> {
    match error {
        FeedError::Wire(error) => unreadable(error),
        FeedError::UnknownEndpoint(error) => thrown(error),
        other => unclassified(&other),
    }
}
