//! The scheduler behind a lock: requests that wait for its decisions, and leases on what it has booked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use slotwise::{Decision, EndpointId, Instant, Rejected, Request, RequestId, Scheduler};
use slotwise_wire::outcome::{Reason, Refusal};
use slotwise_wire::response::{CloseReason, Outcome, ResponseReader};
use tokio::sync::{Notify, oneshot};

/// Where requests are handed in. The lock is held for microseconds, and never while anything is awaited.
pub(crate) struct Desk {
    inner: Mutex<Inner>,
    began: std::time::Instant,
    told: Notify,
}

struct Inner {
    scheduler: Scheduler,
    waiting: HashMap<RequestId, oneshot::Sender<Decision>>,
}

impl Desk {
    /// Call it within a runtime.
    pub(crate) fn new() -> Arc<Self> {
        // An empty pool is refused at once. With a longer time, requests wait for an engine to come back.
        let scheduler = Scheduler::builder().with(|config| config.flow.no_endpoint_ttl = Duration::ZERO);
        let scheduler = scheduler.build().expect("a valid configuration");
        let inner = Mutex::new(Inner { scheduler, waiting: HashMap::new() });
        let desk = Arc::new(Self { inner, began: std::time::Instant::now(), told: Notify::new() });
        tokio::spawn(Arc::clone(&desk).keep_time());
        desk
    }

    /// Gives the scheduler an input, then hands out the decisions that follow from it.
    pub(crate) fn tell<T>(&self, input: impl FnOnce(&mut Scheduler, Instant) -> T) -> T {
        self.update(|inner, now| input(&mut inner.scheduler, now))
    }

    fn update<T>(&self, input: impl FnOnce(&mut Inner, Instant) -> T) -> T {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::from_std(self.began, std::time::Instant::now());
        let answer = input(&mut inner, now);
        while let Some(decision) = inner.scheduler.poll_decision(now) {
            let request = decision.request();
            let taken = inner.waiting.remove(&request).map(|waiter| waiter.send(decision));
            if !matches!(taken, Some(Ok(()))) {
                inner.scheduler.cancel(now, request); // its client has left meanwhile
            }
        }
        self.told.notify_one();
        answer
    }

    /// Waits until it is the request's turn. A client that leaves meanwhile withdraws it.
    pub(crate) async fn acquire(
        self: &Arc<Self>,
        request: &Request<'_>,
    ) -> Result<(Lease, EndpointId), Refusal<'static>> {
        let (sender, decision) = oneshot::channel();
        let submitted = self.update(|inner, now| {
            let request = inner.scheduler.submit(now, request)?;
            inner.waiting.insert(request, sender);
            Ok(request)
        });
        let request = submitted.map_err(|rejected: Rejected| Refusal::from(&rejected))?;
        let lease = Lease { desk: Arc::clone(self), request, reader: None };
        match decision.await {
            Ok(Decision::Dispatch(dispatch)) => Ok((lease, dispatch.endpoint)),
            Ok(Decision::Evict(evicted)) => Err(Refusal::from(&evicted)),
            _ => Err(Refusal::new(Reason::ShuttingDown)),
        }
    }

    /// Decides also when nothing happens but that time passes: what waits too long is evicted.
    async fn keep_time(self: Arc<Self>) {
        loop {
            let due = self.inner.lock().unwrap_or_else(PoisonError::into_inner).scheduler.next_timeout();
            let now = Instant::from_std(self.began, std::time::Instant::now());
            let left = due.map_or(Duration::MAX, |due| due.saturating_since(now));
            tokio::select! {
                () = tokio::time::sleep(left.max(Duration::from_millis(1))) => self.tell(|_, _| ()),
                () = self.told.notified() => {}
            }
        }
    }
}

/// A request that waits or is in flight. If it is dropped before its end, its client has left.
pub(crate) struct Lease {
    desk: Arc<Desk>,
    request: RequestId,
    reader: Option<ResponseReader>,
}

impl Lease {
    /// The engine's headers are there.
    pub(crate) fn begin(&mut self, status: u16, content_type: &str) {
        self.reader = Some(ResponseReader::new(status, content_type));
    }

    /// A chunk of the answer. Whether it has begun: from then on, no other endpoint is asked.
    pub(crate) fn feed(&mut self, chunk: &[u8]) -> bool {
        let Some(reader) = &mut self.reader else { return false };
        let progress = reader.feed(chunk);
        // The request is in flight: nothing but this lease ends it.
        let _ = self.desk.tell(|scheduler, now| progress.tell(scheduler, now, self.request));
        reader.has_begun()
    }

    /// Nothing more comes: the scheduler is told how the answer ended. Without any answer, the endpoint was out of reach.
    pub(crate) fn finish(&mut self, close: CloseReason) -> Outcome {
        let outcome = self.reader.take().map_or_else(Outcome::unreachable, |reader| reader.finish(close));
        let _ = self.desk.tell(|scheduler, now| outcome.settle(scheduler, now, self.request));
        outcome
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.reader.is_some() {
            self.finish(CloseReason::ClientDisconnected);
        }
        self.desk.update(|inner, now| {
            inner.waiting.remove(&self.request);
            inner.scheduler.cancel(now, self.request) // of a request that has ended, this does nothing
        });
    }
}
