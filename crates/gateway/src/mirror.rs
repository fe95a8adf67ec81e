//! Copies of requests for a mirror's pool.

use slotwise::{Dispatch, Instant, Priority, Request};

use crate::gateway::Gateway;

impl Gateway {
    /// The priority of copies: the lowest.
    pub const MIRROR_PRIORITY: Priority = Priority(i32::MIN);

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
        let copy = request.clone().priority(Self::MIRROR_PRIORITY).flow("");
        self.has_room_for_mirror(limit)
            .then(|| self.scheduler_mut().pick(now, &copy).ok())
            .flatten()
    }

    /// Whether a copy takes room now: no request is queued, and the saturation is below `limit`.
    /// For hosts of other languages, which pick the copy themselves with
    /// [`MIRROR_PRIORITY`](Self::MIRROR_PRIORITY) and no flow. Computes in **O(endpoints)**, and
    /// allocates nothing.
    pub fn has_room_for_mirror(&self, limit: f64) -> bool {
        // A limit that is no number admits none.
        self.scheduler().queued() == 0 && self.scheduler().saturation() < limit
    }
}
