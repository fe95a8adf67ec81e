//! One request of a client: I/O around its exchange.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use futures_util::{Stream, stream};
use slotwise::{Failure, Instant, Request};
use slotwise_gateway::{Exchange, Gateway, Output};
use slotwise_wire::response::CloseReason;
use tokio::time::timeout;

use crate::host::Host;

/// A call that is dropped has lost its client, or has ended.
pub(crate) struct Call {
    host: Arc<Host>,
    exchange: Exchange,
    upstream: Option<reqwest::Response>,
}

impl Call {
    pub(crate) fn new(host: Arc<Host>, exchange: Exchange) -> Self {
        Self { host, exchange, upstream: None }
    }

    /// The next output that needs the request or the client.
    pub(crate) async fn next(&mut self) -> Option<Output> {
        loop {
            match self.exchange.poll() {
                Some(Output::Abort) => self.upstream = None,
                None if !self.exchange.has_ended() => {
                    if let Some(chunk) = self.read().await {
                        return Some(Output::Body(chunk.into()));
                    }
                }
                output => return output,
            }
        }
    }

    /// Submits the request, and waits until it is dispatched or refused.
    pub(crate) async fn submit(&mut self, request: &Request<'_>) {
        let host = Arc::clone(&self.host);
        let decision = self.input(|exchange, gateway, now| {
            let request = request.clone().exclude(exchange.excluded());
            let submitted = gateway.scheduler_mut().submit(now, &request);
            exchange.handle_submit(gateway, now, submitted);
            submitted.ok().map(|request| host.enqueue(request))
        });
        if let Some(Ok(decision)) = async { Some(decision?.await) }.await {
            self.input(|exchange, gateway, now| exchange.handle_decision(gateway, now, decision));
        }
    }

    /// Sends the request to one endpoint. Resolves with the headers of its answer: they come before
    /// prefill, so they are not the first token.
    pub(crate) async fn send(&mut self, url: String, body: Bytes) {
        let request = self.host.http.post(url).body(body).header(CONTENT_TYPE, "application/json");
        let failure = match timeout(self.patience(), request.send()).await {
            Ok(Ok(answer)) => {
                self.exchange.handle_head(answer.status().as_u16(), answer.headers());
                self.upstream = Some(answer);
                return;
            }
            Ok(Err(_)) => Failure::Unreachable,
            Err(_) => Failure::Timeout,
        };
        self.input(|exchange, gateway, now| exchange.handle_unreachable(gateway, now, failure));
    }

    /// Reads on in the answer. Returns a chunk that the client gets as it is.
    async fn read(&mut self) -> Option<Bytes> {
        let patience = self.patience();
        let close = match timeout(patience, self.upstream.as_mut()?.chunk()).await {
            Ok(Ok(Some(chunk))) => {
                let passing = self
                    .input(|exchange, gateway, now| exchange.handle_chunk(gateway, now, &chunk));
                return passing.is_passed_on().then_some(chunk);
            }
            Ok(Ok(None)) => CloseReason::Clean,
            Ok(Err(_)) => CloseReason::Broken,
            Err(_) => CloseReason::TimedOut,
        };
        self.input(|exchange, gateway, now| exchange.handle_close(gateway, now, close));
        None
    }

    /// How long the endpoint may still send nothing.
    fn patience(&mut self) -> Duration {
        let now = self.host.now();
        self.exchange.wait(now).map_or(Duration::MAX, |due| due.saturating_since(now))
    }

    fn input<T>(&mut self, input: impl FnOnce(&mut Exchange, &mut Gateway, Instant) -> T) -> T {
        self.host.update(|gateway, now| input(&mut self.exchange, gateway, now))
    }

    /// The body of the client's response. A body that is dropped ends the request.
    pub(crate) fn into_body(self) -> impl Stream<Item = io::Result<Bytes>> {
        stream::unfold(self, |mut call| async move {
            match call.next().await? {
                Output::Body(bytes) => Some((Ok(bytes.into()), call)),
                Output::End => None,
                _ => Some((Err(io::ErrorKind::ConnectionAborted.into()), call)),
            }
        })
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.input(Exchange::handle_client_disconnected);
    }
}
