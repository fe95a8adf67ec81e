//! What all requests share: the gateway crate behind a lock, and the requests that are queued.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant as Clock};

use slotwise::{Decision, Instant, RequestId, Scheduler};
use slotwise_gateway::Gateway;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

pub(crate) struct Host {
    gateway: Mutex<Gateway>,
    queued: Mutex<HashMap<RequestId, oneshot::Sender<Decision>>>,
    began: Clock,
    pub(crate) http: reqwest::Client,
    /// The task of each engine, by its URL.
    pub(crate) engines: Mutex<HashMap<String, AbortHandle>>,
}

impl Host {
    pub(crate) fn new() -> Result<Arc<Self>, Box<dyn std::error::Error>> {
        // Without endpoints, requests are refused at once instead of queued.
        let scheduler = Scheduler::builder().with(|it| it.flow.no_endpoint_ttl = Duration::ZERO);
        // A redirect is an answer, and reads have no time-out: a stream is silent during prefill.
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        Ok(Arc::new(Self {
            gateway: Mutex::new(Gateway::new(scheduler.build()?)),
            queued: Mutex::default(),
            began: Clock::now(),
            http: http.no_proxy().connect_timeout(Duration::from_secs(5)).build()?,
            engines: Mutex::default(),
        }))
    }

    pub(crate) fn now(&self) -> Instant {
        Instant::from_std(self.began, Clock::now())
    }

    /// Applies an input, then delivers the decisions that follow from it. The lock is held for
    /// microseconds, and never while anything is awaited.
    pub(crate) fn update<T>(&self, input: impl FnOnce(&mut Gateway, Instant) -> T) -> T {
        let (mut gateway, now) = (lock(&self.gateway), self.now());
        let result = input(&mut gateway, now);
        while let Some(decision) = gateway.poll_decision(now) {
            let request = decision.request_id();
            let client = lock(&self.queued).remove(&request);
            if client.is_none_or(|client| client.send(decision).is_err()) {
                gateway.scheduler_mut().cancel(now, request); // the client has left
            }
        }
        result
    }

    /// Waits for the decision about a request, which `update` delivers.
    pub(crate) fn enqueue(&self, request: RequestId) -> oneshot::Receiver<Decision> {
        let (sender, decision) = oneshot::channel();
        lock(&self.queued).insert(request, sender);
        decision
    }

    /// Polls for decisions that are due without an input: expired requests are evicted.
    pub(crate) async fn keep_time(self: Arc<Self>) {
        loop {
            tokio::time::sleep(Duration::from_millis(10)).await;
            self.update(|_, _| ());
        }
    }
}

pub(crate) fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
