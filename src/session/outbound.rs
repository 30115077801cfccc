//! The writing side of a session: from the bounded queue to the transport, in batches.

use std::time::Duration;

use bytes::Bytes;
use sealfeed_wire::market::{Slow, encode_slow};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::active::End;
use super::transport::{CLOSE_TIMEOUT, Gone, Outbound};
use crate::clock::Clock;
use crate::feed::OutboundQueue;

/// Writes what the queue holds until it ends: slow, finished, or closed by another stage.
///
/// Reads everything that waits at once and writes it in full records; a blocked write never hides the end of the
/// queue.
///
/// Pings every `ping_interval`, so that a client that is gone is noticed and one that only listens is not.
pub(super) async fn run<S>(
    outbound: &mut Outbound<S>,
    queue: &OutboundQueue,
    ping_interval: Duration,
    clock: &Clock,
) -> End
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut batch = Vec::new();
    let mut warning = SlowWarning::default();
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
        if let Some(notice) = warning.due(queue, clock)
            && outbound.queue(notice.into()).await.is_err()
        {
            return End::Broken;
        }
    }
}

/// Warns a slow reader once its queue is half full, and again only after it had fallen below a quarter.
#[derive(Default)]
struct SlowWarning {
    is_given: bool,
}

impl SlowWarning {
    fn due(&mut self, queue: &OutboundQueue, clock: &Clock) -> Option<Vec<u8>> {
        let (waiting, max) = (queue.waiting_bytes(), queue.bytes_max());
        if waiting < max / 4 {
            self.is_given = false;
        }
        if self.is_given || waiting < max / 2 {
            return None;
        }
        self.is_given = true;
        let mut notice = Vec::with_capacity(128);
        let slow = Slow { queue_bytes: waiting as u64, queue_bytes_max: max as u64, ts: clock.now() };
        encode_slow(&mut notice, &slow);
        Some(notice)
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
