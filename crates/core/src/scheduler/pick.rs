//! An immediate decision: the best endpoint is reserved, or the request is rejected.

use core::time::Duration;

use super::Scheduler;
use crate::decision::{Dispatch, RejectReason, Rejected};
use crate::endpoint::EndpointId;
use crate::fleet::Fleet;
use crate::placement::{
    CycleKeys, Placement, Query, SchedulingCycle, SearchFrontier, Workspace, place,
};
use crate::plan::{Plan, plan};
use crate::profile::{CostTerms, CustomCost};
use crate::request::{Request, RequestId};
use crate::time::{Instant, Seconds};

impl Scheduler {
    /// Chooses the endpoint with the least cost for this request, or by
    /// [`Config::profile`](crate::Config::profile), and reserves it. When the call
    /// returns, the endpoint's account includes the request. There is no queue: the request is
    /// dispatched now or rejected.
    ///
    /// Ties go to the endpoint with fewer requests in flight, then by rendezvous hash of the
    /// session or prompt, so that equal prompts meet again.
    ///
    /// Computes in **O(prompt + levels × endpoints / 64)**, plus an assessment of each endpoint
    /// whose lower bound is below the best cost, usually a few. The prompt is hashed once for each
    /// block layout in the pool. A level is a length of its prefix that some endpoints have cached
    /// and others do not. A rejection computes in **O(endpoints)**.
    ///
    /// # Errors
    ///
    /// [`Rejected`], with the reason and the time of a retry. Only the count of rejections changes
    /// then.
    ///
    /// # Example: a prompt follows its prefix
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
    /// assert_eq!(second.endpoint_id, first.endpoint_id);
    /// assert!(second.cached_tokens > 700);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pick(&mut self, now: Instant, request: &Request<'_>) -> Result<Dispatch, Rejected> {
        self.choose(now, request, |fleet, query, frontier, cycle| match cycle {
            Some(cycle) => cycle.place(fleet, query, |_| true),
            None => place(fleet, query, &fleet.profile(query.lookup.model), frontier),
        })
    }

    /// [`pick`](Self::pick) with a cost function of the caller: `cost` replaces the sum of the
    /// terms. Exclusions, ties and reservations are the same. Computes in **O(prompt +
    /// endpoints)**.
    ///
    /// An infinite cost ranks last; NaN and negative costs count as zero.
    ///
    /// # Errors
    ///
    /// As for [`pick`](Self::pick).
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
    ///     assert_eq!(dispatch.endpoint_id, near);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pick_by(
        &mut self,
        now: Instant,
        request: &Request<'_>,
        cost: impl Fn(EndpointId, &CostTerms) -> Seconds,
    ) -> Result<Dispatch, Rejected> {
        self.choose(now, request, |fleet, query, frontier, _| {
            let profile = CustomCost { prices: fleet.prices(query.lookup.model), cost: &cost };
            place(fleet, query, &profile, frontier)
        })
    }

    fn choose(
        &mut self,
        now: Instant,
        request: &Request<'_>,
        choose: impl Fn(
            &Fleet,
            Query<'_>,
            &mut SearchFrontier,
            Option<&mut SchedulingCycle>,
        ) -> Placement,
    ) -> Result<Dispatch, Rejected> {
        let now = self.advance(now);
        self.fleet.renew_bounds();
        let (fleet, workspace) = (&self.fleet, &mut self.workspace);
        workspace.lookup.read(fleet, request, self.next_request);
        let Workspace { lookup, frontier, cycle } = workspace;
        let mut query = Query::immediate(now, request, lookup);
        if cycle.is_some() {
            query.cycle = CycleKeys::of(fleet, request, self.next_request);
        }
        let plan = plan(fleet, query, &mut |query| choose(fleet, query, frontier, cycle.as_mut()));
        let admitted = self.admit(request, &plan).and_then(|()| {
            let id = RequestId(self.next_request);
            let suspect = self.fleet.suspect(request, self.workspace.lookup.flow);
            self.dispatch(now, id, request.adapter, suspect, None, &plan)
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

    /// Whether the planned endpoints may have the request, or why the request is rejected.
    pub(super) fn admit(&self, request: &Request<'_>, plan: &Plan) -> Result<(), Rejected> {
        if request.has_long_name() {
            return Err(Rejected { reason: RejectReason::NameTooLong, retry_after: None });
        }
        let Some(wait) = plan.wait() else { return Err(plan.answer.refusal.rejected()) };
        let shed_above = Seconds::from(self.fleet.config.shed_above);
        if request.priority.is_sheddable() && wait > shed_above {
            let after = Some((wait - shed_above).to_duration());
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
