//! The one thread that changes anything: sequence numbers, venue, books, nonces, order state.
//!
//! In: [`Command`]s from sessions (a bounded queue: full means the session waits, and with it its socket) and
//! batches from sources (a second bounded queue, served after every waiting command). Out: journal entries, and
//! batches in one order to the release thread, which lets nothing out before the entries it depends
//! on are durable. Time comes in with the batch; the core itself reads no clock and touches no socket or file.

mod answers;
mod batch;
mod begin;
mod core;
mod day;
mod delayed;
mod delivered;
mod entitlement;
mod executions;
mod moves;
mod order_ops;
mod order_status;
mod orders;
mod paper;
mod publish;
mod recovery;
mod release;
mod reloads;
mod reports;
mod resume;
mod resync;
mod retell;
mod risk_context;
mod session_handle;
mod standing;
mod subscriptions;
mod synthetic;
mod withdraw;

pub use self::core::{Core, PipelineOptions};
pub use day::day_of;
pub use delayed::{Delayed, Due};
pub use recovery::Found;
pub use reloads::{RELOADS_MAX, ReloadRequest};
pub use session_handle::SessionHandle;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use sealfeed_wire::reply::EntitlementChanged;
use sealfeed_wire::request::Unsubscribe;
use sealfeed_wire::{ClientOrderId, RequestId, Subscribe};
use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::feed::{Delivered, Ending, Inboxes, StreamId, Ticket};
use crate::gate::{AuthenticRequest, NonceFill};
use crate::journal::event::Disconnect;
use crate::journal::{Journal, JournalError};
use crate::shutdown::{Shutdown, StopReason};
use crate::source::SourceBatch;
use crate::types::{Channel, Code, Entitlement, InstrumentId, Principal, Sequence, Symbol};

/// Commands that may wait at once.
const COMMANDS_MAX: usize = 4_096;
/// Source batches that may wait at once.
const SOURCE_BATCHES_MAX: usize = 16;
/// Commands taken in one go, and so in one release.
const COMMANDS_PER_BATCH_MAX: usize = 256;
/// How often idle streams are looked at.
const TICK: Duration = Duration::from_millis(50);

/// Something a session asks for.
pub enum Command {
    /// Subscribe to market data or private reports.
    Subscribe {
        /// Who asks.
        session: Arc<SessionHandle>,
        /// Its name for the request.
        id: Option<RequestId>,
        /// What it asks.
        request: Subscribe,
    },
    /// End subscriptions.
    Unsubscribe {
        /// Who asks.
        session: Arc<SessionHandle>,
        /// Its name for the request.
        id: Option<RequestId>,
        /// What it asks.
        request: Unsubscribe,
    },
    /// A signed order message whose MAC verified.
    Order {
        /// Who sends.
        session: Arc<SessionHandle>,
        /// Its name for the request.
        id: Option<RequestId>,
        /// The message.
        order: Box<AuthenticRequest>,
    },
    /// Where an order stands.
    OrderStatus {
        /// Who asks.
        session: Arc<SessionHandle>,
        /// Its name for the request.
        id: Option<RequestId>,
        /// Which order.
        client_order_id: ClientOrderId,
    },
    /// The client logs out: answered after everything before it, then the session ends.
    Logout {
        /// Who.
        session: Arc<SessionHandle>,
        /// Its name for the request.
        id: Option<RequestId>,
        /// Whether its resting orders are to be cancelled.
        cancel_orders: bool,
    },
    /// The session reads no more: it ends after the answers to everything before.
    Finish {
        /// Which one.
        session: Arc<SessionHandle>,
        /// How.
        ending: Ending,
        /// Its last message, if it gets one.
        notice: Option<Vec<u8>>,
    },
    /// A session that lagged too far behind on a stream takes messages again.
    Resync {
        /// Which one.
        session: Arc<SessionHandle>,
        /// The stream.
        stream: StreamId,
        /// Number of the subscription; it may have been replaced since.
        subscription: u64,
        /// The last message of it that left.
        after: Sequence,
    },
    /// What the tape has of what a `subscribe` misses: it is answered now.
    LookedUp {
        /// Who asks.
        session: Arc<SessionHandle>,
        /// Its name for the request.
        id: Option<RequestId>,
        /// What it asks.
        request: Subscribe,
        /// What was found, for each stream that was looked up.
        findings: Vec<(Symbol, Result<Box<Found>, Code>)>,
    },
    /// What the reader of a delayed feed has.
    Delayed {
        /// Which one, and which of its lives.
        slot: (usize, u64),
        /// What it has.
        delayed: Delayed,
    },
    /// More of what a subscription misses.
    Retold {
        /// Number of the job that reads it.
        number: u64,
        /// For whom.
        session: Arc<SessionHandle>,
        /// Of which subscription.
        key: (Channel, InstrumentId),
        /// What was read.
        retelling: Retelling,
    },
    /// So much of its streams has left for a session; recorded, not answered.
    Delivered {
        /// Which one.
        session: Arc<SessionHandle>,
        /// What, since this was said last.
        ranges: Vec<Delivered>,
    },
    /// What a session may do has changed.
    Entitle {
        /// Which one.
        session: Arc<SessionHandle>,
        /// What it may do from here on.
        entitlement: Arc<Entitlement>,
        /// What it is told, but for what ends and what is moved.
        notice: Box<EntitlementChanged>,
    },
    /// What became of an operator's [`ReloadRequest`].
    Reloaded {
        /// Who asked.
        session: Arc<SessionHandle>,
        /// Its name for the request.
        id: Option<RequestId>,
        /// Done, or the code of what was wrong.
        result: Result<(), Code>,
    },
    /// A certificate holds no more: its orders are cancelled, and all that ended with it is sealed in one entry.
    Revoke(Box<Revoked>),
    /// The session has ended: nothing is sent to it any more. Its end is recorded here, behind all it asked for.
    Closed {
        /// Which one.
        session: Arc<SessionHandle>,
        /// What had left for it since [`Command::Delivered`] was said last.
        delivered: Vec<Delivered>,
        /// How.
        event: Disconnect,
        /// Its principal has no other session.
        is_last: bool,
    },
}

/// A certificate that holds no more.
#[derive(Debug)]
pub struct Revoked {
    /// Whose it was.
    pub principal: Principal,
    /// Its serial number, hex.
    pub serial: String,
    /// Name of its issuer, escaped.
    pub issuer: String,
    /// SHA-256 of it.
    pub certificate: [u8; 32],
    /// Why it does not hold.
    pub why: String,
    /// Whether the policy lets its orders rest.
    pub keeps_orders: bool,
    /// Its open sessions: they are told to end.
    pub sessions: Vec<Arc<SessionHandle>>,
}

/// What was read from the tape for one subscription.
pub enum Retelling {
    /// More of its messages.
    Read {
        /// The messages; `None` if there were no more.
        piece: Option<Piece>,
        /// Number of the last one so far.
        last: Sequence,
        /// The tape has no more yet: the live stream may take over.
        is_end: bool,
    },
    /// It cannot be read on, or its client does not take it.
    Lost {
        /// How the session ends.
        ending: Ending,
    },
}

/// Messages on their way to one client.
pub struct Piece {
    /// Whole frames.
    frames: Bytes,
    /// How many.
    messages: u64,
    /// Kept until they have left.
    ticket: Ticket,
}

/// The way in for sessions; clones share it.
#[derive(Clone)]
pub struct PipelineHandle {
    commands: mpsc::Sender<Command>,
}

/// Why a command was not taken; it comes back.
pub enum TrySend {
    /// The queue is full: offer it again, and read nothing more from its client until it is taken.
    Full(Box<Command>),
    /// The pipeline is gone: the server is stopping.
    Stopped(Box<Command>),
}

impl PipelineHandle {
    /// Hands over a command, if there is room.
    ///
    /// # Errors
    /// [`TrySend`], with the command.
    pub fn try_send(&self, command: Command) -> Result<(), TrySend> {
        self.commands.try_send(command).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(command) => TrySend::Full(Box::new(command)),
            mpsc::error::TrySendError::Closed(command) => TrySend::Stopped(Box::new(command)),
        })
    }

    /// Hands over a command, and waits for room. A pipeline that is gone takes nothing: the server is stopping.
    pub async fn send(&self, command: Command) {
        let _ = self.commands.send(command).await;
    }
}

/// A running pipeline with its release thread.
pub struct Pipeline {
    /// The way in for sessions.
    pub handle: PipelineHandle,
    /// The way in for sources.
    pub sources: mpsc::Sender<SourceBatch>,
    /// How full the memory of nonces is.
    pub nonces: NonceFill,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
    release: JoinHandle<()>,
}

impl Pipeline {
    /// Starts the two threads. What leaves is put into the `inboxes`; market data waits for at most `flush_interval` for more of it.
    ///
    /// # Errors
    /// The operating system refuses a thread.
    pub fn start(
        mut core: Core,
        journal: Journal,
        clock: Clock,
        shutdown: Shutdown,
        (flush_interval, inboxes): (Duration, Inboxes),
    ) -> std::io::Result<Self> {
        let (commands, command_receiver) = mpsc::channel(COMMANDS_MAX);
        let nonces = core.nonce_fill();
        let (sources, source_receiver) = mpsc::channel(SOURCE_BATCHES_MAX);
        let (stop, stopped) = oneshot::channel();
        core.begin_reading(&commands, &clock)?;
        let (release_sender, release) = release::start(journal, shutdown.clone(), flush_interval, inboxes)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let mut driver = Driver { core, clock, release: release_sender, shutdown };
        let thread = std::thread::Builder::new().name("pipeline".into()).spawn(move || {
            runtime.block_on(driver.run(command_receiver, source_receiver, stopped));
        })?;
        Ok(Self { handle: PipelineHandle { commands }, sources, nonces, stop, thread, release })
    }

    /// Takes no more commands, finishes those that were handed over, lets out everything, and ends both threads.
    /// Blocks until they have ended.
    pub fn stop(self) {
        // If the pipeline ended by itself there is nobody left to tell.
        let _ = self.stop.send(());
        drop((self.handle, self.sources));
        for thread in [self.thread, self.release] {
            if thread.join().is_err() {
                tracing::error!("a pipeline thread panicked");
            }
        }
    }
}

struct Driver {
    core: Core,
    clock: Clock,
    release: release::ReleaseSender,
    shutdown: Shutdown,
}

impl Driver {
    async fn run(
        &mut self,
        mut commands: mpsc::Receiver<Command>,
        mut sources: mpsc::Receiver<SourceBatch>,
        mut stopped: oneshot::Receiver<()>,
    ) {
        if let Err(error) = self.core.open(self.clock.now()) {
            return self.fail(&error);
        }
        let mut waiting = Vec::with_capacity(COMMANDS_PER_BATCH_MAX);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut is_stopping = false;
        loop {
            let mut batch = self.release.batch();
            let result = tokio::select! {
                biased;
                _ = &mut stopped, if !is_stopping => {
                    // What was handed over before is still done: the ends of sessions are among it.
                    commands.close();
                    is_stopping = true;
                    Ok(())
                }
                count = commands.recv_many(&mut waiting, COMMANDS_PER_BATCH_MAX) => {
                    if count == 0 { break }
                    let now = self.clock.now();
                    let _turn = self.core.turn();
                    waiting.drain(..).try_for_each(|command| self.core.handle(command, now, &mut batch))
                }
                Some(source) = sources.recv(), if !is_stopping => {
                    let _turn = self.core.turn();
                    self.core.take(source, self.clock.now(), &mut batch)
                }
                _ = tick.tick() => self.core.tick(self.clock.now(), &mut batch),
            };
            // What was done before a failure of the log must not be seen: nothing of this batch leaves.
            if let Err(error) = result {
                return self.fail(&error);
            }
            self.core.end_turn(self.clock.now(), &mut batch);
            if self.release.send(batch).is_err() {
                self.shutdown.stop(StopReason::StageFailed("release"));
                return;
            }
        }
        if let Err(error) = self.core.close() {
            self.fail(&error);
        }
    }

    fn fail(&self, error: &JournalError) {
        let error = crate::telemetry::chain(error);
        tracing::error!(error, "the pipeline stops");
        self.shutdown.stop(StopReason::LogFailed(error));
    }
}

#[cfg(test)]
mod execution_tests;
#[cfg(test)]
mod release_tests;
#[cfg(test)]
mod risk_tests;
#[cfg(test)]
mod tests;
