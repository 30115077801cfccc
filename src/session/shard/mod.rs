//! Shards: one thread a processor that owns its connections for life.
//!
//! In: connections whose upgrade is done ([`Arrival`]), what the releasing thread has for them
//! ([`Inbox`]), their sockets, time. Out: commands to the pipeline, bytes on the sockets. A shard waits only for events:
//! it is woken at most once a batch, and for the rest by its sockets and timers. One read and one write a connection and
//! round, so that nobody's traffic is another's delay. docs/adr/0019 says why.
//!
//! When a shard panics the server stops: its connections are gone, and their ends must not go unrecorded for long.

mod connection;
mod deadlines;
mod moment;
mod run;
mod streams;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::thread::JoinHandle;

use mio::{Poll, Token, Waker};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::SessionContext;
use super::registry::{ConnectionSlot, PrincipalSlot};
use super::tls::Tls;
use crate::feed::{Ending, Inbox, Inboxes};
use crate::identity;
use crate::journal::Journal;
use crate::pipeline::SessionHandle;
use crate::shutdown::StopReason;

/// The waker's place among the sockets.
const WAKER: Token = Token(usize::MAX);

/// A connection on its way to its shard.
pub(super) struct Arrival {
    /// It begins when this entry is durable.
    pub(super) entry: u64,
    /// The answer to its upgrade, which nobody has sent yet.
    pub(super) answer: Vec<u8>,
    pub(super) socket: std::net::TcpStream,
    pub(super) tls: Tls,
    /// Plain bytes behind the upgrade.
    pub(super) read: Vec<u8>,
    pub(super) handle: Arc<SessionHandle>,
    pub(super) token: Option<Arc<identity::Token>>,
    /// How it ends at once, if it does.
    pub(super) ending: Option<Ending>,
    /// It keeps its full limits under pressure.
    pub(super) is_trusted: bool,
    /// Its places in the registry: given back when they are dropped.
    pub(super) connection_slot: ConnectionSlot,
    pub(super) slot: PrincipalSlot,
}

/// The way into one shard.
struct Door {
    inbox: Arc<Inbox>,
    /// Bounded by the registry: each has a place in it.
    arrivals: Mutex<Vec<Arrival>>,
    is_stopped: AtomicBool,
    /// Bytes that wait for its clients, as of its last round.
    out_bytes: AtomicUsize,
    /// The shard waits for the log: it wants to know when more is durable. Written with `arrivals` locked.
    awaits_log: AtomicBool,
}

/// The ways into all shards.
#[derive(Clone)]
pub struct Shards {
    doors: Arc<[Arc<Door>]>,
    inboxes: Inboxes,
    /// Notified when a connection has ended.
    ended: Arc<Notify>,
}

/// What a shard needs to start.
struct Seed {
    poll: Poll,
    door: Arc<Door>,
}

/// The threads of all shards, and those that have not started yet.
pub struct ShardThreads {
    shards: Shards,
    seeds: Vec<Seed>,
    threads: Vec<JoinHandle<()>>,
}

/// Makes `count` shards, without their threads.
///
/// # Errors
/// The operating system refuses a descriptor.
pub fn prepare(count: usize) -> io::Result<(Shards, ShardThreads)> {
    let mut seeds = Vec::new();
    for _ in 0..count.max(1) {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let wake = move || {
            // It fails only when the shard is gone, and then there is nobody to wake.
            let _ = waker.wake();
        };
        let door = Arc::new(Door {
            inbox: Arc::new(Inbox::new(wake)),
            arrivals: Mutex::default(),
            is_stopped: AtomicBool::new(false),
            out_bytes: AtomicUsize::new(0),
            awaits_log: AtomicBool::new(false),
        });
        seeds.push(Seed { poll, door });
    }
    let doors: Arc<[Arc<Door>]> = seeds.iter().map(|seed| Arc::clone(&seed.door)).collect();
    let inboxes = Inboxes::new(doors.iter().map(|door| Arc::clone(&door.inbox)));
    let shards = Shards { doors, inboxes, ended: Arc::new(Notify::new()) };
    Ok((shards.clone(), ShardThreads { shards, seeds, threads: Vec::new() }))
}

impl Shards {
    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.doors.len()
    }

    fn door_of(&self, number: u64) -> &Arc<Door> {
        &self.doors[self.inboxes.shard_of(number)]
    }

    /// Where they are told things, by session.
    #[must_use]
    pub const fn inboxes(&self) -> &Inboxes {
        &self.inboxes
    }

    /// Gives a connection to its shard. One that has stopped drops it: the server is stopping. The shard is not woken for one that cannot
    /// begin yet: the log does that.
    pub(super) fn hand_over(&self, arrival: Arrival, journal: &Journal) {
        let door = self.door_of(arrival.handle.number);
        let entry = arrival.entry;
        let mut arrivals = door.arrivals.lock();
        if door.is_stopped.load(Ordering::Acquire) {
            return;
        }
        arrivals.push(arrival);
        door.awaits_log.store(true, Ordering::Release);
        drop(arrivals);
        // Either this sees that the entry is durable, or the log sees that somebody waits for it.
        fence(Ordering::SeqCst);
        if journal.is_durable(entry).unwrap_or(true) {
            door.inbox.wake();
        }
    }

    /// Waits until `is_drained` holds, asking again whenever a connection has ended. Cancel-safe.
    pub async fn drained(&self, is_drained: impl Fn() -> bool) {
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            if is_drained() {
                return;
            }
            ended.await;
        }
    }

    /// Bytes that wait for all clients, as of the last round of each shard.
    pub(super) fn out_bytes(&self) -> usize {
        self.doors.iter().map(|door| door.out_bytes.load(Ordering::Relaxed)).sum()
    }

    /// Lets every shard look around: for the stop signal.
    pub fn wake(&self) {
        self.doors.iter().for_each(|door| door.inbox.wake());
    }
}

impl ShardThreads {
    /// Starts the threads.
    ///
    /// # Errors
    /// The operating system refuses a thread.
    pub fn start(&mut self, context: &Arc<SessionContext>) -> io::Result<()> {
        for (number, Seed { poll, door }) in self.seeds.drain(..).enumerate() {
            let durable = Arc::clone(&door);
            context.journal.on_durable(move || {
                // What is durable now was said before who waits for it is asked; the other side does the reverse.
                fence(Ordering::SeqCst);
                if durable.awaits_log.load(Ordering::Acquire) {
                    durable.inbox.wake();
                }
            });
            let (context, ended) = (Arc::clone(context), Arc::clone(&self.shards.ended));
            let thread = std::thread::Builder::new().name(format!("shard-{number}")).spawn(move || {
                let stop = StopOnPanic { context: Arc::clone(&context), door: Arc::clone(&door) };
                run::Shard::new(poll, door, context, ended).run();
                drop(stop);
            })?;
            self.threads.push(thread);
        }
        Ok(())
    }

    /// Ends the threads, and whatever connections they still have. Blocks until they have ended.
    pub fn stop(self) {
        for door in self.shards.doors.iter() {
            door.is_stopped.store(true, Ordering::Release);
        }
        self.shards.wake();
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a shard's thread panicked");
            }
        }
    }
}

/// Whatever way a shard's thread ends, nobody waits for it any more; if it panicked, the server stops.
struct StopOnPanic {
    context: Arc<SessionContext>,
    door: Arc<Door>,
}

impl Drop for StopOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.context.shutdown.stop(StopReason::StageFailed("shard"));
        }
        self.door.is_stopped.store(true, Ordering::Release);
        self.door.arrivals.lock().clear();
        self.door.inbox.close();
    }
}
