//! The writing side of a session: from the bounded queue to the transport, in batches.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::active::End;
use super::transport::{Gone, Outbound};
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
    let write = async {
        loop {
            let written = tokio::select! {
                () = queue.ready() => write_batch(outbound, queue, &mut batch).await,
                _ = pings.tick() => outbound.ping().await,
            };
            if written.is_err() {
                return End::Broken;
            }
            if let Some(code) = queue.finished() {
                return End::Close(code);
            }
        }
    };
    tokio::select! {
        end = write => end,
        code = queue.ended() => End::Close(code),
    }
}

async fn write_batch<S>(
    outbound: &mut Outbound<S>,
    queue: &OutboundQueue,
    batch: &mut Vec<Bytes>,
) -> Result<(), Gone>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    queue.drain(batch);
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
    // A connection that takes nothing more ends without it.
    let _ = write_batch(outbound, queue, &mut Vec::new()).await;
}
