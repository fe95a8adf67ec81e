//! Inputs of one kind in one call, for hosts that collect them.

use alloc::vec::Vec;

use super::Scheduler;
use crate::decision::{Dispatch, Rejected};
use crate::endpoint::EndpointId;
use crate::load::Load;
use crate::request::Request;
use crate::time::Instant;

impl Scheduler {
    /// Picks an endpoint for each of several requests, in their order: the same decisions as from
    /// as many calls of [`pick`](Self::pick). Each decision counts the ones before it, so a burst
    /// spreads over the pool. A rejection leaves the others as they are.
    ///
    /// A host that collects arrivals locks its scheduler once for all of them. It holds the lock
    /// for the time of all decisions, so it keeps a batch small. Computes in the sum of the single
    /// decisions.
    ///
    /// ```
    /// use slotwise::{Endpoint, EndpointId, Instant, Request, Scheduler};
    ///
    /// let now = Instant::ORIGIN;
    /// let mut scheduler = Scheduler::default();
    /// for name in ["a", "b"] {
    ///     scheduler.add_endpoint(now, Endpoint::new(name))?;
    /// }
    /// let burst = ["one", "two"].map(|prompt| Request::new("llama").text(prompt));
    /// let picked = scheduler.pick_many(now, &burst);
    /// let endpoints: Vec<EndpointId> =
    ///     picked.iter().flatten().map(|dispatch| dispatch.endpoint_id).collect();
    /// assert!(endpoints.len() == 2 && endpoints[0] != endpoints[1]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pick_many(
        &mut self,
        now: Instant,
        requests: &[Request<'_>],
    ) -> Vec<Result<Dispatch, Rejected>> {
        requests.iter().map(|request| self.pick(now, request)).collect()
    }

    /// Handles load reports of several endpoints in their order, as from a scrape of the whole
    /// pool. Returns the endpoints that are not in the pool: they left after the scrape began. The
    /// other reports count.
    ///
    /// The effect is that of as many calls of [`handle_load`](Self::handle_load).
    ///
    /// ```
    /// use slotwise::{Endpoint, EndpointId, Instant, Load, Scheduler};
    ///
    /// let now = Instant::ORIGIN;
    /// let mut scheduler = Scheduler::default();
    /// let a = scheduler.add_endpoint(now, Endpoint::new("a"))?;
    /// let gone = EndpointId::from_u64(9);
    /// let reports = [(gone, Load::default()), (a, Load::default().waiting(3))];
    /// assert_eq!(scheduler.handle_loads(now, &reports), [gone]);
    /// assert_eq!(scheduler.stats().endpoints[0].external_waiting, 3.0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn handle_loads(
        &mut self,
        now: Instant,
        reports: &[(EndpointId, Load)],
    ) -> Vec<EndpointId> {
        let unknown = |(id, load): &(EndpointId, Load)| {
            self.handle_load(now, *id, *load).err().map(|unknown| unknown.0)
        };
        reports.iter().filter_map(unknown).collect()
    }
}
