//! The writing side of a session: from the bounded queue to the transport, in batches.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::active::End;
use super::transport::{CLOSE_TIMEOUT, Gone, Outbound};
use crate::feed::OutboundQueue;

/// Writes what the queue holds until it ends: slow, finished, or closed by another stage.
///
/// Reads everything that waits at once and writes it in full records; a blocked write never hides the end of the
/// queue.
///
/// Pings every `ping_interval`, so that a client that is gone is noticed and one that only listens is not.
pub(super) async fn run<S>(outbound: &mut Outbound<S>, queue: &OutboundQueue, ping_interval: Duration) -> End
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut batch = Vec::new();
    let mut pings = tokio::time::interval_at(Instant::now() + ping_interval, ping_interval);
    loop {
        let is_ping = tokio::select! {
            () = queue.ready() => false,
            _ = pings.tick() => true,
        };
        let ending = if is_ping { None } else { queue.drain(&mut batch) };
        let write = async {
            if is_ping {
                outbound.ping().await?;
            }
            write_batch(outbound, &mut batch).await
        };
        let written = match ending {
            // What was queued before the end still leaves; the close frame's own deadline bounds it.
            Some(ending) => {
                let _ = tokio::time::timeout(CLOSE_TIMEOUT, write).await;
                return End::Close(ending);
            }
            // A peer that takes nothing blocks the write, but not the end of its queue.
            None => tokio::select! {
                written = write => written,
                ending = queue.ended() => return End::Close(ending),
            },
        };
        if written.is_err() {
            return End::Broken;
        }
    }
}

async fn write_batch<S>(outbound: &mut Outbound<S>, batch: &mut Vec<Bytes>) -> Result<(), Gone>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    for message in batch.drain(..) {
        outbound.queue(message).await?;
    }
    outbound.flush().await
}

/// Writes what is left in the queue of a session that ends: answers that were given before.
pub(super) async fn write_rest<S>(outbound: &mut Outbound<S>, queue: &OutboundQueue)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut batch = Vec::new();
    queue.drain(&mut batch);
    // A connection that takes nothing more ends without it.
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, write_batch(outbound, &mut batch)).await;
}
