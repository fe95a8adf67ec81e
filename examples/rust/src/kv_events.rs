//! Follows the KV events of one engine over ZeroMQ, with replay.
//!
//! With events (vLLM: `--kv-events-config`), the scheduler's record of a cache is exact: it holds
//! what the engine stored and has not evicted. Without events, the record is estimated.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use slotwise::EndpointId;
use slotwise_wire::kv::replay_request;
use tokio::time::timeout;
use zeromq::{DealerSocket, Socket, SocketRecv, SocketSend, SubSocket, ZmqMessage, ZmqResult};

use crate::host::Host;

/// A replay is abandoned after this time without another message.
const REPLAY_LIMIT: Duration = Duration::from_secs(5);

/// Applies what `events` publishes, and requests what is missing at `replay`, until it is dropped.
pub(crate) async fn follow(
    host: Arc<Host>,
    endpoint: EndpointId,
    (events, replay): (String, String),
) -> ZmqResult<()> {
    let mut subscriber = SubSocket::new(); // it reconnects by itself
    subscriber.connect(&events).await?;
    subscriber.subscribe("").await?;
    loop {
        let frames = subscriber.recv().await.map(ZmqMessage::into_vec).unwrap_or_default();
        let frames: Vec<&[u8]> = frames.iter().map(Bytes::as_ref).collect();
        let report = host.update(|it, now| it.handle_kv_frames(now, endpoint, 0, &frames));
        // A subscriber that connects late has missed the first batches, and requests them. Live
        // batches wait in their socket until the replay has ended.
        let mut ask =
            report.map_err(|error| eprintln!("{events}: {error}")).ok().and_then(|it| it.ask);
        while let Some(first) = ask {
            ask = match request(&host, endpoint, &replay, first).await {
                Ok(again) => again,
                Err(error) => {
                    eprintln!("{replay}: {error}");
                    host.update(|it, now| it.abandon_replay(now, endpoint, 0))
                        .ok()
                        .and_then(|it| it.ask)
                }
            };
        }
    }
}

/// Requests the batches from `first` on, and applies them. Returns where to continue, if not all
/// have come.
async fn request(
    host: &Host,
    endpoint: EndpointId,
    address: &str,
    first: u64,
) -> Result<Option<u64>, Box<dyn Error + Send + Sync>> {
    let mut dealer = DealerSocket::new(); // a new one receives no answer to an earlier request
    timeout(REPLAY_LIMIT, dealer.connect(address)).await??;
    let mut request = ZmqMessage::from(replay_request(first).to_vec());
    request.push_front(Bytes::new());
    dealer.send(request).await?;
    while host.update(|it, _| it.replay_from(endpoint, 0)).is_some() {
        let frames = timeout(REPLAY_LIMIT, dealer.recv()).await??.into_vec();
        let frames: Vec<&[u8]> = frames.iter().map(Bytes::as_ref).collect();
        let report = host.update(|it, now| it.handle_kv_replay(now, endpoint, 0, &frames))?;
        if report.ask.is_some() {
            return Ok(report.ask);
        }
    }
    Ok(None)
}
