//! Copies of requests for a mirror's pool.

use slotwise::{Dispatch, Instant, Priority, Request};

use crate::gateway::Gateway;

impl Gateway {
    /// Dispatches a copy of a request that another pool serves, or drops it.
    ///
    /// A copy takes room only while no request is queued here and the pool's saturation is below
    /// `limit`: 1 is a full pool, and 0.5 leaves half of it to requests of its own. A copy has the
    /// lowest priority, never waits, and charges no flow. Its end is reported as that of any
    /// request, and it may be cancelled at any time.
    ///
    /// Computes in **O(endpoints)**, plus a [`pick`](slotwise::Scheduler::pick).
    ///
    /// ```
    /// use slotwise::{Endpoint, Instant, Request, Scheduler};
    /// use slotwise_gateway::Gateway;
    ///
    /// let now = Instant::ORIGIN;
    /// let mut gateway = Gateway::new(Scheduler::default());
    /// gateway.scheduler_mut().add_endpoint(now, Endpoint::new("a").max_in_flight(1))?;
    /// let request = Request::new("llama").text("Hello");
    /// let copy = gateway.pick_mirror(now, &request, 0.5).expect("the pool is idle");
    /// assert!(gateway.pick_mirror(now, &request, 0.5).is_none(), "it never waits");
    /// assert!(gateway.scheduler_mut().cancel(now, copy.request_id));
    ///
    /// gateway.scheduler_mut().submit(now, &request)?;
    /// assert!(gateway.pick_mirror(now, &request, 0.5).is_none(), "a request is queued");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pick_mirror(
        &mut self,
        now: Instant,
        request: &Request<'_>,
        limit: f64,
    ) -> Option<Dispatch> {
        let stats = self.scheduler().stats();
        // A limit that is no number admits none.
        let has_room = stats.queued == 0 && stats.pool.saturation < limit;
        let copy = request.clone().priority(Priority(i32::MIN)).flow("");
        has_room.then(|| self.scheduler_mut().pick(now, &copy).ok()).flatten()
    }
}
