//! The scheduler with its engines, and the one signal that something has to be polled.

use core::num::NonZeroU32;

use slotwise::{
    Decision, EndpointId, Instant, RemovedEndpoint, RequestId, SaturationPolicy, Scheduler,
    UnknownEndpoint, UnknownRequest, UsageLimitPolicy,
};
use slotwise_wire::WireError;
use slotwise_wire::kv::{EventSink, Feed, Report};
use slotwise_wire::metrics::{self, MetricsReport, OrcaReport};

use crate::engines::{Engines, FeedError, ReplayRequest, report_metrics, report_orca};
#[cfg(feature = "config")]
use crate::reload::Reload;
use crate::wakeup::{Drained, Drains, Wakeup};

/// A [`Scheduler`] with what its engines send, and one wake-up signal.
///
/// A host keeps one of it behind one lock. All inputs go through it: the scheduler's own through
/// [`scheduler_mut`](Self::scheduler_mut), the engines' through the methods here, and those of
/// requests through a [`Lease`](crate::Lease) or an [`Exchange`](crate::Exchange), which take it as
/// an argument.
///
/// # Example
///
/// ```
/// use slotwise::{Decision, Endpoint, Instant, Request, Scheduler};
/// use slotwise_gateway::Gateway;
///
/// let now = Instant::ORIGIN;
/// let mut gateway = Gateway::new(Scheduler::default());
/// let endpoint = Endpoint::new("http://10.0.0.1:8000");
/// let endpoint = gateway.scheduler_mut().add_endpoint(now, endpoint)?;
/// let request = gateway.scheduler_mut().submit(now, &Request::new("llama").text("Hi"))?;
///
/// let wakeup = gateway.take_wakeup();
/// assert!(wakeup.decisions);
/// let decision = gateway.poll_decision(now).expect("the endpoint is idle");
/// assert!(matches!(decision, Decision::Dispatch(dispatch) if dispatch.request_id == request));
/// assert!(!gateway.take_wakeup().decisions, "nothing has happened since");
///
/// // The end of the last request resolves what waits for the endpoint to be drained.
/// gateway.watch_drained(endpoint)?;
/// assert!(!gateway.take_wakeup().drained);
/// gateway.scheduler_mut().cancel(now, request);
/// assert!(gateway.take_wakeup().drained);
/// assert_eq!(gateway.poll_drained().map(|drained| drained.endpoint_id), Some(endpoint));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Gateway {
    scheduler: Scheduler,
    engines: Engines,
    drains: Drains,
    #[cfg(feature = "config")]
    pub(crate) reload: Reload,
    /// Whether there was an input since the last [`take_wakeup`](Self::take_wakeup) that may lead
    /// to a decision.
    has_input: bool,
}

impl Gateway {
    /// Wraps a scheduler.
    pub fn new(scheduler: Scheduler) -> Self {
        Self {
            scheduler,
            engines: Engines::new(),
            drains: Drains::default(),
            #[cfg(feature = "config")]
            reload: Reload::default(),
            has_input: false,
        }
    }

    /// The scheduler, for an input: every `handle_*` and lifecycle call of the core. The next
    /// [`take_wakeup`](Self::take_wakeup) asks for decisions, whatever the input was.
    ///
    /// Remove endpoints by [`remove_endpoint`](Self::remove_endpoint) instead: their feeds go with
    /// them.
    pub fn scheduler_mut(&mut self) -> &mut Scheduler {
        self.has_input = true;
        &mut self.scheduler
    }

    /// The answer of a request grew whose first token was reported before. Unless saturation closes
    /// bands, that leads to no decision, and the host is not woken for each chunk.
    pub(crate) fn grow(
        &mut self,
        now: Instant,
        id: RequestId,
        tokens: u32,
    ) -> Result<(), UnknownRequest> {
        let flow = &self.scheduler.config().flow;
        let closes = flow.saturation != SaturationPolicy::default()
            || flow.usage_limit != UsageLimitPolicy::default();
        // The time of the input passes what is due by the clock alone.
        self.has_input |= closes || self.scheduler.next_timeout().is_some_and(|due| due <= now);
        self.scheduler.handle_tokens(now, id, tokens)
    }

    /// Whether [`take_wakeup`](Self::take_wakeup) names anything to poll now. Computes in
    /// **O(1)**, and in **O(watched endpoints)** while the host waits for endpoints to be drained.
    pub fn has_wakeup(&self) -> bool {
        self.has_input || self.engines.has_replay() || self.drains.any(&self.scheduler)
    }

    /// What the host has to poll after its inputs since the last call. Computes in **O(1)**, and in
    /// **O(watched endpoints)** while the host waits for endpoints to be drained.
    pub fn take_wakeup(&mut self) -> Wakeup {
        Wakeup {
            decisions: core::mem::take(&mut self.has_input),
            drained: self.drains.any(&self.scheduler),
            replays: self.engines.has_replay(),
            timeout: self.scheduler.next_timeout(),
        }
    }

    /// [`Scheduler::poll_decision`], which is not an input: it does not wake the host.
    pub fn poll_decision(&mut self, now: Instant) -> Option<Decision> {
        self.scheduler.poll_decision(now)
    }

    /// The next endpoint that was [watched](Self::watch_drained) and has no request in flight.
    pub fn poll_drained(&mut self) -> Option<Drained> {
        self.drains.poll(&self.scheduler)
    }

    /// The next request for a replay of KV events. Send
    /// [`replay_request(from)`](slotwise_wire::kv::replay_request) to the publisher of this rank.
    pub fn poll_replay(&mut self) -> Option<ReplayRequest> {
        self.engines.poll_replay()
    }

    /// Reports the endpoint by [`poll_drained`](Self::poll_drained) once it has nothing in flight,
    /// or has left the pool. It still receives requests unless it
    /// [drains](Scheduler::drain_endpoint).
    ///
    /// # Errors
    ///
    /// When there is no such endpoint.
    pub fn watch_drained(&mut self, endpoint: EndpointId) -> Result<(), UnknownEndpoint> {
        self.drains.watch(&self.scheduler, endpoint)
    }

    /// The host no longer waits for the endpoint.
    pub fn unwatch_drained(&mut self, endpoint: EndpointId) {
        self.drains.unwatch(endpoint);
    }

    /// [`Scheduler::remove_endpoint`], and forgets what its publishers have sent.
    ///
    /// # Errors
    ///
    /// When there is no such endpoint.
    pub fn remove_endpoint(
        &mut self,
        now: Instant,
        endpoint: EndpointId,
    ) -> Result<RemovedEndpoint, UnknownEndpoint> {
        let removed = self.scheduler_mut().remove_endpoint(now, endpoint)?;
        self.engines.forget(endpoint);
        Ok(removed)
    }

    /// A metrics page was scraped: what
    /// [`MetricsReader::read_load`](slotwise_wire::metrics::MetricsReader::read_load) returned. A
    /// page that could not be read is recorded as a failed report. Computes in **O(ranks +
    /// adapters)**.
    ///
    /// Pages are read outside of the gateway, since that takes longer than all else and needs no
    /// lock.
    ///
    /// ```
    /// use slotwise::{Endpoint, Instant, Scheduler};
    /// use slotwise_gateway::Gateway;
    /// use slotwise_wire::metrics::MetricsReader;
    ///
    /// let now = Instant::ORIGIN;
    /// let mut gateway = Gateway::new(Scheduler::default());
    /// let id = gateway.scheduler_mut().add_endpoint(now, Endpoint::new("a"))?;
    /// for page in ["vllm:num_requests_waiting 50\n", "<html>502 Bad Gateway</html>", ""] {
    ///     gateway.handle_metrics(now, id, &MetricsReader::detect().read_load(page.as_bytes()))?;
    /// }
    /// let stats = &gateway.scheduler().stats().endpoints[0];
    /// assert_eq!((stats.external_waiting, stats.report_errors), (50.0, 2));
    /// assert_eq!(stats.report_error, Some("not_metrics"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When there is no such endpoint.
    pub fn handle_metrics(
        &mut self,
        now: Instant,
        endpoint: EndpointId,
        report: &metrics::Result<MetricsReport>,
    ) -> Result<(), UnknownEndpoint> {
        report_metrics(self.scheduler_mut(), now, endpoint, report)
    }

    /// The same for an ORCA header: what [`OrcaReport::read`] returned.
    ///
    /// # Errors
    ///
    /// When there is no such endpoint.
    pub fn handle_orca(
        &mut self,
        now: Instant,
        endpoint: EndpointId,
        report: &metrics::Result<OrcaReport>,
    ) -> Result<(), UnknownEndpoint> {
        report_orca(self.scheduler_mut(), now, endpoint, report)
    }

    /// A message came from the SUB socket of a rank's publisher. Computes in **O(bytes)**.
    ///
    /// # Errors
    ///
    /// When there is no such endpoint, when it has too many ranks, or when the frames are not those
    /// of a batch. Nothing changes then. A payload that cannot be read is in the report.
    pub fn handle_kv_frames(
        &mut self,
        now: Instant,
        endpoint: EndpointId,
        rank: u32,
        frames: &[&[u8]],
    ) -> Result<Report, FeedError> {
        self.feed(now, endpoint, rank, |feed, apply| feed.handle_live(frames, apply))
    }

    /// A message came from the replay socket of a rank's publisher. Computes in **O(bytes)**, and
    /// at the end of the replay also of what was held meanwhile.
    ///
    /// # Errors
    ///
    /// As for [`handle_kv_frames`](Self::handle_kv_frames).
    pub fn handle_kv_replay(
        &mut self,
        now: Instant,
        endpoint: EndpointId,
        rank: u32,
        frames: &[&[u8]],
    ) -> Result<Report, FeedError> {
        self.feed(now, endpoint, rank, |feed, apply| feed.handle_replay(frames, apply))
    }

    /// The replay does not come, or does not end: what is missing is lost, and what was held is
    /// applied.
    ///
    /// # Errors
    ///
    /// When there is no such endpoint, or when it has too many ranks.
    pub fn abandon_replay(
        &mut self,
        now: Instant,
        endpoint: EndpointId,
        rank: u32,
    ) -> Result<Report, FeedError> {
        self.feed(now, endpoint, rank, |feed, apply| Ok(feed.give_up(apply)))
    }

    /// TensorRT-LLM answered at `/kv_cache_events`. Without a `block_size`, the endpoint's own
    /// counts. Computes in **O(bytes)**.
    ///
    /// # Errors
    ///
    /// When there is no such endpoint, when it has too many ranks, or when the body is malformed
    /// anywhere; nothing of it is applied.
    pub fn handle_trtllm_events(
        &mut self,
        now: Instant,
        endpoint: EndpointId,
        rank: u32,
        body: &[u8],
        block_size: Option<NonZeroU32>,
    ) -> Result<Report, FeedError> {
        let described =
            self.scheduler_mut().endpoint(endpoint).ok_or(UnknownEndpoint(endpoint))?.block_size;
        let block_size = block_size.unwrap_or(described);
        self.feed(now, endpoint, rank, |feed, apply| {
            feed.handle_trtllm(body, block_size, rank, apply)
        })
    }

    /// The scheduler, to look at.
    pub const fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    /// The batch from which on a replay of this rank is awaited.
    pub fn replay_from(&self, endpoint: EndpointId, rank: u32) -> Option<u64> {
        self.engines.replay_from(endpoint, rank)
    }

    fn feed(
        &mut self,
        now: Instant,
        endpoint: EndpointId,
        rank: u32,
        handle: impl FnOnce(&mut Feed, EventSink<'_>) -> Result<Report, WireError>,
    ) -> Result<Report, FeedError> {
        self.has_input = true;
        self.engines.feed(&mut self.scheduler, now, endpoint, rank, handle)
    }
}
