//! The gateway crate behind a lock: exchanges, and requests that wait for decisions.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use slotwise::{Decision, Instant, Request, RequestId, Scheduler};
use slotwise_gateway::{Exchange, Gateway};
use slotwise_wire::response::CloseReason;
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

/// The lock is held for microseconds, and never while anything is awaited.
pub(crate) struct Desk {
    inner: Mutex<Inner>,
    began: std::time::Instant,
    told: Notify,
}

struct Inner {
    gateway: Gateway,
    waiting: HashMap<RequestId, oneshot::Sender<Decision>>,
}

impl Desk {
    /// Call it within a runtime.
    pub(crate) fn new() -> Arc<Self> {
        // An empty pool is refused at once. With a longer time, requests wait for an engine.
        let scheduler = Scheduler::builder().with(|config| config.flow.no_endpoint_ttl = Duration::ZERO);
        let gateway = Gateway::new(scheduler.build().expect("a valid configuration"));
        let inner = Mutex::new(Inner { gateway, waiting: HashMap::new() });
        let began = std::time::Instant::now();
        let desk = Arc::new(Self { inner, began, told: Notify::new() });
        tokio::spawn(Arc::clone(&desk).keep_time());
        desk
    }

    /// Gives the scheduler an input, then hands out the decisions that follow from it.
    pub(crate) fn tell<T>(&self, input: impl FnOnce(&mut Scheduler, Instant) -> T) -> T {
        self.update(|inner, now| input(inner.gateway.scheduler_mut(), now))
    }

    fn update<T>(&self, input: impl FnOnce(&mut Inner, Instant) -> T) -> T {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.now();
        let answer = input(&mut inner, now);
        while let Some(decision) = inner.gateway.poll_decision(now) {
            let request = decision.request_id();
            let taken = inner.waiting.remove(&request).map(|waiter| waiter.send(decision));
            if !matches!(taken, Some(Ok(()))) {
                inner.gateway.scheduler_mut().cancel(now, request); // its client has left
            }
        }
        self.told.notify_one();
        answer
    }

    fn now(&self) -> Instant {
        Instant::from_std(self.began, std::time::Instant::now())
    }

    /// Polls for decisions that are due without an input: expired requests are evicted.
    async fn keep_time(self: Arc<Self>) {
        loop {
            let due = {
                let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
                inner.gateway.scheduler().next_timeout()
            };
            let left = due.map_or(Duration::MAX, |due| due.saturating_since(self.now()));
            tokio::select! {
                () = tokio::time::sleep(left.max(Duration::from_millis(1))) => self.tell(|_, _| ()),
                () = self.told.notified() => {}
            }
        }
    }
}

/// A client's request. If it is dropped before its end, its client has left.
pub(crate) struct Call {
    desk: Arc<Desk>,
    pub(crate) exchange: Exchange,
    /// The request that was submitted last.
    request: Option<RequestId>,
    pub(crate) upstream: Option<reqwest::Response>,
}

impl Call {
    pub(crate) fn new(desk: &Arc<Desk>, exchange: Exchange) -> Self {
        Self { desk: Arc::clone(desk), exchange, request: None, upstream: None }
    }

    /// Gives the exchange an input.
    pub(crate) fn input<T>(&mut self, input: impl FnOnce(&mut Exchange, &mut Gateway, Instant) -> T) -> T {
        self.desk.update(|inner, now| input(&mut self.exchange, &mut inner.gateway, now))
    }

    /// Submits the request and waits until it is its turn.
    pub(crate) async fn dispatch(&mut self, request: &Request<'_>) {
        let (sender, decision) = oneshot::channel();
        self.request = self.desk.update(|inner, now| {
            let submitted = inner.gateway.scheduler_mut().submit(now, request);
            let request = submitted.as_ref().ok().copied();
            if let Some(request) = request {
                inner.waiting.insert(request, sender);
            }
            self.exchange.handle_submit(&mut inner.gateway, now, submitted);
            request
        });
        if let Ok(decision) = decision.await {
            self.input(|exchange, gateway, now| exchange.handle_decision(gateway, now, decision));
        }
    }

    /// How long the endpoint may still send nothing.
    pub(crate) fn patience(&mut self) -> Duration {
        let now = self.desk.now();
        self.exchange.wait(now).map_or(Duration::MAX, |due| due.saturating_since(now))
    }

    /// Reads on in the answer. Returns a chunk that the client gets as it is.
    pub(crate) async fn read(&mut self) -> Option<Bytes> {
        let patience = self.patience();
        let close = match timeout(patience, self.upstream.as_mut()?.chunk()).await {
            Ok(Ok(Some(chunk))) => {
                let passing =
                    self.input(|exchange, gateway, now| exchange.handle_chunk(gateway, now, &chunk));
                return passing.is_passed_on().then_some(chunk);
            }
            Ok(Ok(None)) => CloseReason::Clean,
            Ok(Err(_)) => CloseReason::Broken,
            Err(_) => CloseReason::TimedOut,
        };
        self.input(|exchange, gateway, now| exchange.handle_close(gateway, now, close));
        None
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.desk.update(|inner, now| {
            self.request.map(|request| inner.waiting.remove(&request));
            self.exchange.handle_client_disconnected(&mut inner.gateway, now);
        });
    }
}
