//! A request that waits for its best endpoint takes the best one with room after a limited wait.
#![allow(clippy::unwrap_used, reason = "a failing test panics")]

use std::time::Duration;

use slotwise::{
    Decision, Dispatch, Endpoint, EndpointId, Instant, Priority, Request, RequestId, Scheduler,
    Seconds, Usage,
};

const CAPACITY: u32 = 1_000_000;

fn at(millis: u64) -> Instant {
    Instant::ORIGIN + Duration::from_millis(millis)
}

/// Two endpoints. The first has the session's prefix and a cache that is too full for others.
struct Pool {
    scheduler: Scheduler,
    empty: EndpointId,
    /// Answers that run on the other endpoint.
    short: Vec<RequestId>,
}

static SESSION: [u32; 20_000] = [7; 20_000];

impl Pool {
    fn new() -> Self {
        let builder = Scheduler::builder().with(|config| config.prices.kv = Seconds::ZERO);
        let mut scheduler = builder.build().unwrap();
        let mut add = |name| {
            let endpoint = Endpoint::new(name).kv_cache_tokens(CAPACITY);
            scheduler.add_endpoint(at(0), endpoint).unwrap()
        };
        let [full, empty] = ["full", "empty"].map(&mut add);
        let mut start = |tokens: &[u32], elsewhere: EndpointId| {
            let excluded = [elsewhere];
            let request = Request::new("m").tokens(tokens).exclude(&excluded);
            let id = scheduler.pick(at(0), &request).unwrap().request_id;
            scheduler.handle_first_token(at(0), id).unwrap();
            id
        };
        let cached = start(&SESSION, empty);
        start(&vec![1; 930_000], empty);
        let short = (2..6).map(|own| start(&[own; 10], full)).collect();
        scheduler.complete(at(0), cached, Usage::default()).unwrap();
        Self { scheduler, empty, short }
    }

    fn submit(&mut self, now: Instant, priority: i32) -> RequestId {
        let request = Request::new("m").tokens(&SESSION).priority(Priority(priority));
        self.scheduler.submit(now, &request).unwrap()
    }

    /// The next dispatch, after an answer on the other endpoint has ended.
    fn after_an_end(&mut self, now: Instant) -> Option<Dispatch> {
        let ended = self.short.pop().unwrap();
        self.scheduler.complete(now, ended, Usage::default()).unwrap();
        self.poll(now)
    }

    fn poll(&mut self, now: Instant) -> Option<Dispatch> {
        self.scheduler.poll_decision(now).map(|decision| match decision {
            Decision::Dispatch(dispatch) => dispatch,
            other => panic!("{other:?}"),
        })
    }
}

/// The other endpoint costs about a second more: twice 20,000 tokens of prefill.
#[test]
fn the_wait_is_as_long_as_the_other_endpoint_costs_more() {
    let mut pool = Pool::new();
    let id = pool.submit(at(0), 0);
    assert!(pool.poll(at(0)).is_none(), "its cache is elsewhere");
    assert!(pool.after_an_end(at(500)).is_none());
    let dispatch = pool.after_an_end(at(1_500)).unwrap();
    assert_eq!((dispatch.request_id, dispatch.endpoint_id), (id, pool.empty));
}

#[test]
fn the_lowest_of_several_bands_leaves_endpoints_with_room_to_the_others() {
    let mut pool = Pool::new();
    pool.submit(at(0), 0);
    assert!(pool.poll(at(0)).is_none());
    let urgent = pool.submit(at(1_400), 1);
    assert!(pool.poll(at(1_400)).is_none());
    assert!(pool.after_an_end(at(1_500)).is_none(), "the lower one waits, too");
    let dispatch = pool.after_an_end(at(3_000)).unwrap();
    assert_eq!((dispatch.request_id, dispatch.endpoint_id), (urgent, pool.empty));
}
