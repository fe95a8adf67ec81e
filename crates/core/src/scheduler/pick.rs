//! Where a request goes, and what is reserved for it.

use core::time::Duration;

use super::Scheduler;
use crate::decision::{Dispatch, RejectReason, Rejected};
use crate::endpoint::EndpointId;
use crate::fleet::Fleet;
use crate::placement::{self, Placement, Query, Ranking, Refusal, SearchFrontier};
use crate::profile::{CostTerms, CustomCost};
use crate::request::{Request, RequestId};
use crate::time::{Instant, Seconds};

impl Scheduler {
    /// Chooses the endpoint that costs this request the least, and reserves it there: when the call
    /// returns, the endpoint's account already includes the request. There is no queue: it goes
    /// now, or it is rejected.
    ///
    /// Ties go to the endpoint with fewer requests in flight, then by rendezvous hash of the
    /// session or prompt, so that equal prompts meet again.
    ///
    /// Computes in **O(prompt + levels × endpoints / 64)** and a look at the endpoints whose lower
    /// bounds are below the best cost, few as a rule. The prompt is hashed once for each block size
    /// in the pool, and twice where only some engines name their model. A level is a length of its
    /// prefix that some endpoints hold and others do not. A rejection computes in **O(endpoints)**.
    ///
    /// # Errors
    ///
    /// [`Rejected`] says why, and when another try may be worth it. Nothing has changed then but
    /// the count of rejections.
    ///
    /// # Example: a prompt goes where its prefix is
    ///
    /// ```
    /// use slotwise::{Endpoint, Instant, Request, Scheduler, Usage};
    ///
    /// let now = Instant::ORIGIN;
    /// let mut scheduler = Scheduler::default();
    /// for name in ["a", "b"] {
    ///     scheduler.add_endpoint(now, Endpoint::new(name))?;
    /// }
    /// let history = "You are a helpful assistant. ".repeat(100);
    /// let first = scheduler.pick(now, &Request::new("llama").text(&history))?;
    /// let next_turn = history + "And what about Rust?";
    /// let second = scheduler.pick(now, &Request::new("llama").text(&next_turn))?;
    /// assert_eq!(second.endpoint, first.endpoint);
    /// assert!(second.cached_tokens > 700);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pick(&mut self, now: Instant, request: &Request<'_>) -> Result<Dispatch, Rejected> {
        self.choose(now, request, |fleet, query, frontier| {
            placement::place(fleet, query, &fleet.profile(), frontier)
        })
    }

    /// [`pick`](Self::pick) with a cost of the caller's own: what `cost` says of an endpoint takes
    /// the place of the sum of its terms. Everything else is the same: who is left out, how ties
    /// fall, what is reserved.
    ///
    /// An infinite cost is a last resort, a NaN is nothing, and so is what is below zero.
    ///
    /// # Errors
    ///
    /// As for `pick`.
    ///
    /// # Example: a zone that costs extra
    ///
    /// ```
    /// use slotwise::{Endpoint, Instant, Request, Scheduler, Seconds};
    ///
    /// let now = Instant::ORIGIN;
    /// let mut scheduler = Scheduler::default();
    /// let near = scheduler.add_endpoint(now, Endpoint::new("near"))?;
    /// let far = scheduler.add_endpoint(now, Endpoint::new("far"))?;
    /// let request = Request::new("llama").tokens(&[1; 100]);
    /// for _ in 0..3 {
    ///     let dispatch = scheduler.pick_by(now, &request, |endpoint, terms| {
    ///         terms.total() + if endpoint == far { Seconds::new(0.5) } else { Seconds::ZERO }
    ///     })?;
    ///     assert_eq!(dispatch.endpoint, near);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pick_by(
        &mut self,
        now: Instant,
        request: &Request<'_>,
        cost: impl Fn(EndpointId, &CostTerms) -> Seconds,
    ) -> Result<Dispatch, Rejected> {
        self.choose(now, request, |fleet, query, frontier| {
            let profile = CustomCost { prices: &fleet.config.prices, cost: &cost };
            placement::place(fleet, query, &profile, frontier)
        })
    }

    fn choose(
        &mut self,
        now: Instant,
        request: &Request<'_>,
        place: impl Fn(&Fleet, Query<'_>, &mut SearchFrontier) -> Placement,
    ) -> Result<Dispatch, Rejected> {
        let now = self.advance(now);
        let (fleet, workspace) = (&self.fleet, &mut self.workspace);
        workspace.lookup.read(fleet, request, self.next_request);
        let query = Query::immediate(now, request, &workspace.lookup);
        let Placement { ranking, refusal, .. } = place(fleet, query, &mut workspace.frontier);
        let admitted = self.admit(request, &ranking, refusal).and_then(|()| {
            let id = RequestId(self.next_request);
            let suspect = self.fleet.suspect(request);
            self.dispatch(now, id, request.adapter, suspect, &ranking)
        });
        match admitted {
            Ok(dispatch) => {
                self.next_request += 1;
                self.counters.queue_time.observe(Duration::ZERO);
                Ok(dispatch)
            }
            Err(rejected) => Err(self.reject(request.priority, rejected)),
        }
    }

    /// Whether the best endpoint gets the request.
    pub(super) fn admit(
        &self,
        request: &Request<'_>,
        ranking: &Ranking,
        refusal: Refusal,
    ) -> Result<(), Rejected> {
        if request.has_long_name() {
            return Err(Rejected { reason: RejectReason::NameTooLong, retry_after: None });
        }
        let Some(((_, best), _)) = ranking.split() else { return Err(refusal.into_rejected()) };
        let shed_above = Seconds::from(self.fleet.config.shed_above);
        if request.priority.is_sheddable() && best.wait > shed_above {
            let after = Some((best.wait - shed_above).to_duration());
            return Err(Rejected { reason: RejectReason::Shed, retry_after: after });
        }
        if self.requests.len() >= self.fleet.config.max_in_flight {
            let after =
                Some(self.queueing.retry_slots().interval(self.requests.len()).to_duration());
            return Err(Rejected { reason: RejectReason::Saturated, retry_after: after });
        }
        Ok(())
    }
}
