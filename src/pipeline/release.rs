//! The release thread: nothing that depends on an entry leaves before the entry is durable.
//!
//! Outputs wait in one first-in-first-out queue, so that order is kept between market data, answers and
//! subscriptions (docs/adr/0006). The queue is bounded: when it is full the pipeline waits. Market data may be held back for a
//! short interval, so that more of it leaves at once; whatever else leaves takes it along.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use sealfeed_audit::Receipt;
use sealfeed_wire::reply::Encode as _;
use tokio::time::Instant;

use super::answers::to_wire;
use super::batch::{Batch, Output};
use crate::execute::Answer;
use crate::feed::{Fanout, Inboxes};
use crate::journal::{Journal, JournalError};
use crate::shutdown::{Shutdown, StopReason};

/// Batches that may wait for the log at once.
const RELEASES_MAX: usize = 64;

/// The way into the release thread, and the memory of what has left on its way back.
pub(super) struct ReleaseSender {
    batches: SyncSender<Batch>,
    spare: Receiver<Batch>,
}

/// The release thread has ended.
pub(super) struct ReleaseGone;

impl ReleaseSender {
    /// Hands over a batch; blocks while too many wait for the log. An empty batch goes nowhere.
    pub(super) fn send(&self, batch: Batch) -> Result<(), ReleaseGone> {
        if batch.is_empty() { Ok(()) } else { self.batches.send(batch).map_err(|_| ReleaseGone) }
    }

    /// An empty batch, in memory that was used before if there is any.
    pub(super) fn batch(&self) -> Batch {
        self.spare.try_recv().unwrap_or_default()
    }
}

/// Starts the thread; it ends when the sender is dropped and everything has left, or when the log fails.
pub(super) fn start(
    journal: Journal,
    shutdown: Shutdown,
    flush_interval: Duration,
    inboxes: Inboxes,
) -> std::io::Result<(ReleaseSender, JoinHandle<()>)> {
    let (batches, receiver) = sync_channel(RELEASES_MAX);
    let (returned, spare) = sync_channel(RELEASES_MAX);
    let thread = std::thread::Builder::new().name("release".into()).spawn(move || {
        if let Err(error) = run(&receiver, &returned, &journal, flush_interval, inboxes) {
            shutdown.stop(StopReason::LogFailed(crate::telemetry::chain(&error)));
        }
    })?;
    Ok((ReleaseSender { batches, spare }, thread))
}

fn run(
    batches: &Receiver<Batch>,
    returned: &SyncSender<Batch>,
    journal: &Journal,
    flush_interval: Duration,
    inboxes: Inboxes,
) -> Result<(), JournalError> {
    let mut fanout = Fanout::new(inboxes);
    // When what is held back leaves, if anything is.
    let mut flush_at: Option<Instant> = None;
    loop {
        let received = match flush_at {
            None => batches.recv().map_err(RecvTimeoutError::from),
            Some(at) => batches.recv_timeout(at.saturating_duration_since(Instant::now())),
        };
        let mut waits = false;
        match received {
            Ok(mut batch) => {
                if let Some(sequence) = batch.after {
                    journal.wait_durable(sequence)?;
                }
                waits = batch.outputs.iter().all(|output| matches!(output, Output::Publish(_)));
                for output in batch.outputs.drain(..) {
                    let_out(output, &mut fanout, journal)?;
                }
                batch.clear();
                // One too many is let go.
                let _ = returned.try_send(batch);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        let now = Instant::now();
        if waits && flush_at.is_none_or(|at| now < at) && !flush_interval.is_zero() {
            flush_at.get_or_insert(now + flush_interval);
        } else {
            fanout.flush();
            flush_at = None;
        }
    }
    fanout.flush();
    Ok(())
}

fn let_out(output: Output, fanout: &mut Fanout, journal: &Journal) -> Result<(), JournalError> {
    match output {
        Output::Publish(publication) => fanout.publish(&publication),
        Output::Subscribe { stream, seq, terms, reader } => fanout.subscribe(stream, seq, terms, reader),
        Output::Rejoin { stream, seq, reader } => fanout.rejoin(stream, seq, reader),
        Output::Orders { stream, orders, notice, reader } => fanout.orders(stream, orders, notice, reader),
        Output::Unsubscribe { stream, reader } => fanout.unsubscribe(stream, reader),
        Output::Send { reader, message } => fanout.send(reader, message),
        Output::Piece { reader, frames, messages, ticket } => fanout.piece(reader, frames, messages, ticket),
        Output::Answer { reader, answer, envelope } => {
            let receipt = receipt(&answer, journal)?;
            fanout.write(reader, |text| envelope.encode(&answer, receipt, text));
        }
        Output::Status { reader, mut status, answer } => {
            // The answer itself has left before: one queue, first in, first out.
            status.receipt = answer.as_ref().and_then(|answer| answer.receipt.get()).map(to_wire);
            fanout.write(reader, |text| status.encode(text));
        }
        Output::Finish { reader, ending, notice } => fanout.finish(reader, ending, notice),
        Output::Forget { stream, reader } => fanout.forget(stream, reader),
    }
    Ok(())
}

fn receipt<'a>(answer: &'a Answer, journal: &Journal) -> Result<&'a Receipt, JournalError> {
    match answer.receipt.get() {
        Some(receipt) => Ok(receipt),
        None => {
            let receipt = journal.wait_durable(answer.entry)?;
            Ok(answer.receipt.get_or_init(|| receipt))
        }
    }
}
