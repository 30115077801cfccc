//! The loop of one shard.
//!
//! A round: events of sockets, arrivals, what the releasing thread has, one read of every connection that has bytes,
//! timers, one write of every connection that has something. The inbox is looked into only when every connection whose
//! socket takes something has all that came before: what a shard cannot do in time waits there, and then in the
//! releasing thread and the sources, but never makes a reader look slow that is not.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::connection::{Connection, Scratch, Turn};
use super::deadlines::{Called, Timers};
use super::streams::{Streams, narrow};
use super::{Arrival, Door, WAKER};
use crate::feed::{Delivery, Item, ReaderId, Run};
use crate::session::SessionContext;
use crate::session::active::End;
use crate::shutdown::StopReason;
use crate::types::Code;

/// Events taken at once; more wait in the kernel.
const EVENTS_MAX: usize = 1_024;
/// How long a command waits for room in the pipeline's queue before it is offered again.
const RETRY: Duration = Duration::from_millis(1);
/// How often it is recorded what has left for whom, beside the ends of subscriptions and sessions.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);
/// What may come into a log at once, beyond what its slowest reader may lag behind.
const LOG_SLACK_BYTES: usize = 2 * 1024 * 1024;

/// One shard.
pub(super) struct Shard {
    poll: Poll,
    door: Arc<Door>,
    context: Arc<SessionContext>,
    ended: Arc<Notify>,
    connections: Slab<Box<Connection>>,
    places: HashMap<ReaderId, usize>,
    streams: Streams,
    timers: Timers,
    scratch: Scratch,
    delivery: Delivery,
    /// Connections that may have something to read.
    readable: Vec<usize>,
    /// Connections that have something to write, and whose sockets take it.
    writable: Vec<usize>,
    /// Connections that wait for the pipeline or the log.
    waiting: Vec<usize>,
    /// What arrived and has not begun: its entry is not durable yet. Bounded like the arrivals.
    beginning: Vec<Arrival>,
    /// The entry of one of them became durable in this round.
    has_begun: bool,
    /// Connections whose sockets take nothing while their streams go on.
    lagging: Vec<usize>,
    /// Memory of the list that is walked next.
    spare: Vec<usize>,
    /// Bytes that wait for single clients, over all of them.
    outbox_bytes: usize,
    /// Bytes that may wait for all clients of this shard together.
    bytes_max: usize,
    /// The inbox was not looked into in the last round.
    owes_delivery: bool,
    is_stopping: bool,
    /// When it is said next what has left for everybody.
    report_at: Instant,
    now: Instant,
}

impl Shard {
    pub(super) fn new(poll: Poll, door: Arc<Door>, context: Arc<SessionContext>, ended: Arc<Notify>) -> Self {
        let limits = context.limits.now();
        let bytes_max = limits.out_bytes_max / context.shards.count();
        let log_bytes_max = limits.out_queue_bytes_max.saturating_add(LOG_SLACK_BYTES);
        Self {
            poll,
            door,
            context,
            ended,
            connections: Slab::new(),
            places: HashMap::new(),
            streams: Streams::new(log_bytes_max),
            timers: Timers::default(),
            scratch: Scratch::default(),
            delivery: Delivery::default(),
            readable: Vec::new(),
            writable: Vec::new(),
            waiting: Vec::new(),
            beginning: Vec::new(),
            has_begun: false,
            lagging: Vec::new(),
            spare: Vec::new(),
            outbox_bytes: 0,
            bytes_max,
            owes_delivery: false,
            is_stopping: false,
            report_at: Instant::now() + REPORT_INTERVAL,
            now: Instant::now(),
        }
    }

    /// Serves until it is stopped.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS_MAX);
        while !self.door.is_stopped.load(Ordering::Acquire) {
            if let Err(error) = self.poll.poll(&mut events, self.timeout())
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "a shard cannot wait for events");
                self.context.shutdown.stop(StopReason::StageFailed("shard"));
                return;
            }
            self.now = Instant::now();
            for event in events.iter().filter(|event| event.token() != WAKER) {
                self.note(event);
            }
            self.round();
        }
    }

    /// How long there is nothing to do unless something happens.
    fn timeout(&self) -> Option<Duration> {
        if self.owes_delivery || self.has_begun || !self.readable.is_empty() || !self.writable.is_empty() {
            return Some(Duration::ZERO);
        }
        let next = self.timers.next().map_or(self.report_at, |timer| timer.min(self.report_at));
        let timer = next.saturating_duration_since(self.now);
        Some(if self.waiting.is_empty() { timer } else { timer.min(RETRY) })
    }

    /// A socket has something, or takes something again.
    fn note(&mut self, event: &Event) {
        let place = event.token().0;
        let Some(connection) = self.connections.get_mut(place) else { return };
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            connection.may_read = true;
            connection.is_read_closed |= event.is_read_closed() || event.is_error();
        }
        if event.is_writable() && connection.is_blocked() && !connection.is_writable_listed {
            connection.is_writable_listed = true;
            self.writable.push(place);
        }
        self.file(place);
    }

    fn round(&mut self) {
        self.beginning.append(&mut self.door.arrivals.lock());
        self.begin();
        if !self.is_stopping && self.context.shutdown.is_stopping() {
            self.is_stopping = true;
            let places: Vec<usize> = self.connections.iter().map(|(place, _)| place).collect();
            for place in places {
                self.turn(place, |connection, turn| connection.time_is_over(Code::SesDraining, turn));
            }
        }
        self.owes_delivery = !self.writable.is_empty();
        if !self.owes_delivery {
            self.take_delivery();
        }
        self.walk(
            |shard| &mut shard.waiting,
            |shard, place| {
                shard.turn(place, |connection, turn| {
                    connection.is_waiting_listed = false;
                    connection.settle(turn);
                });
            },
        );
        self.walk(
            |shard| &mut shard.readable,
            |shard, place| {
                shard.turn(place, |connection, turn| {
                    connection.is_readable_listed = false;
                    connection.read(turn);
                });
            },
        );
        while let Some(timer) = self.timers.pop(self.now) {
            let place = timer.0 as usize;
            if self.connections.get(place).is_some_and(|one| called(place, one.number()) == timer) {
                self.turn(place, |connection, turn| {
                    connection.due_at = None;
                    connection.on_time(turn);
                });
            }
        }
        self.walk(
            |shard| &mut shard.writable,
            |shard, place| {
                shard.turn(place, |connection, turn| {
                    connection.is_writable_listed = false;
                    connection.write(turn);
                });
            },
        );
        self.report_if_due();
        self.door.out_bytes.store(self.streams.bytes() + self.outbox_bytes, Ordering::Relaxed);
        self.await_log();
    }

    /// Records what has left for everybody, every minute.
    fn report_if_due(&mut self) {
        if self.now < self.report_at {
            return;
        }
        self.report_at = self.now + REPORT_INTERVAL;
        let places: Vec<usize> = self.connections.iter().map(|(place, _)| place).collect();
        for place in places {
            self.turn(place, |connection, turn| connection.report(turn));
        }
    }

    /// Takes a list and does something for each connection in it; what is put into the list meanwhile stays.
    fn walk(&mut self, list: impl Fn(&mut Self) -> &mut Vec<usize>, each: impl Fn(&mut Self, usize)) {
        let spare = std::mem::take(&mut self.spare);
        let mut places = std::mem::replace(list(self), spare);
        places.drain(..).for_each(|place| each(self, place));
        self.spare = places;
    }

    /// Lets a connection act, and looks at what has become of it.
    fn turn(&mut self, place: usize, act: impl FnOnce(&mut Connection, &mut Turn<'_>)) {
        let Some(connection) = self.connections.get_mut(place) else { return };
        let mut turn = Turn {
            context: &self.context,
            streams: &mut self.streams,
            scratch: &mut self.scratch,
            now: self.now,
        };
        let before = connection.outbox_bytes();
        act(connection, &mut turn);
        self.outbox_bytes = self.outbox_bytes + connection.outbox_bytes() - before;
        self.file(place);
    }

    /// Puts a connection into the lists where it belongs, or drops it.
    fn file(&mut self, place: usize) {
        let Some(connection) = self.connections.get_mut(place) else { return };
        if connection.is_over() {
            self.places.remove(&connection.number());
            self.outbox_bytes -= connection.outbox_bytes();
            drop(self.connections.remove(place));
            self.ended.notify_waiters();
            return;
        }
        connection.settle_memory();
        if connection.has_output() && !connection.is_blocked() && !connection.is_writable_listed {
            connection.is_writable_listed = true;
            self.writable.push(place);
        }
        if connection.is_waiting() && !connection.is_waiting_listed {
            connection.is_waiting_listed = true;
            self.waiting.push(place);
        }
        if connection.may_read && connection.reads() && !connection.is_readable_listed {
            connection.is_readable_listed = true;
            self.readable.push(place);
        }
        if let Some(next) = connection.next_deadline()
            && connection.due_at.is_none_or(|at| next < at)
        {
            connection.due_at = Some(next);
            self.timers.set(next, called(place, connection.number()));
        }
    }

    /// Begins sessions whose entries are durable, and drops those whose entries never will be.
    fn begin(&mut self) {
        let mut beginning = std::mem::take(&mut self.beginning);
        let journal = &self.context.journal;
        let is_decided = |arrival: &mut Arrival| !matches!(journal.is_durable(arrival.entry), Ok(false));
        let decided: Vec<Arrival> = beginning.extract_if(.., is_decided).collect();
        for arrival in decided {
            if self.context.journal.is_durable(arrival.entry).is_ok() {
                self.arrive(arrival);
            } else {
                // The log failed before: it gets no `101`, and the server stops.
                drop(arrival);
                self.ended.notify_waiters();
            }
        }
        if beginning.is_empty() {
            beginning = Vec::new();
        }
        self.beginning = beginning;
    }

    /// Asks to be woken by the log if anybody waits for it. Who waits for the pipeline, too, is looked at again by itself ([`RETRY`]).
    fn await_log(&mut self) {
        let arrivals = self.door.arrivals.lock();
        let awaits_log = !self.waiting.is_empty() || !self.beginning.is_empty() || !arrivals.is_empty();
        self.door.awaits_log.store(awaits_log, Ordering::Release);
        drop(arrivals);
        // Either this sees that an entry is durable, or the log sees that somebody waits for it.
        fence(Ordering::SeqCst);
        let journal = &self.context.journal;
        self.has_begun = self.beginning.iter().any(|one| journal.is_durable(one.entry).unwrap_or(true));
    }

    fn arrive(&mut self, arrival: Arrival) {
        let ending = arrival.ending;
        let connection = Box::new(Connection::new(arrival, &self.context, self.now));
        let number = connection.number();
        self.outbox_bytes += connection.outbox_bytes();
        let entry = self.connections.vacant_entry();
        let place = entry.key();
        let connection = entry.insert(connection);
        self.places.insert(number, place);
        let interests = Interest::READABLE | Interest::WRITABLE;
        let registered = self.poll.registry().register(connection.socket(), Token(place), interests);
        let is_stopping = self.is_stopping;
        self.turn(place, |connection, turn| match (registered, ending, connection.asked_ending()) {
            (Err(error), ..) => {
                tracing::error!(%error, "a socket cannot be watched");
                connection.end(End::Broken, turn);
            }
            (Ok(()), Some(ending), _) => connection.end(End::Close(ending), turn),
            (Ok(()), None, Some(ending)) => connection.drain(ending, None, turn),
            (Ok(()), None, None) if is_stopping => connection.time_is_over(Code::SesDraining, turn),
            (Ok(()), None, None) => {}
        });
    }

    /// Takes in what the releasing thread has, and finds out whom it concerns.
    fn take_delivery(&mut self) {
        let mut delivery = std::mem::take(&mut self.delivery);
        self.door.inbox.take(&mut delivery);
        for item in delivery.items.drain(..) {
            match item {
                Item::Frames { stream, bytes, messages, last } => {
                    self.streams.append(stream, Run { frames: &delivery.bytes[bytes], messages, last });
                }
                Item::Join { stream, reader, seq, terms } => {
                    let Some(place) = self.places.get(&reader).copied() else { continue };
                    let connection = self.connections.get_mut(place).filter(|one| one.may_join());
                    if let Some(connection) = connection {
                        connection.join(self.streams.join(stream, place, seq, terms));
                    }
                }
                Item::Rejoin { stream, reader, seq } => {
                    self.of(reader, |connection, turn| connection.rejoin(stream, seq, turn));
                }
                Item::Leave { stream, reader } => {
                    self.of(reader, |connection, turn| connection.leave(stream, turn));
                }
                Item::Message { reader, message } => {
                    self.of(reader, |connection, turn| connection.message(&message, turn));
                }
                Item::Text { reader, bytes } => {
                    let text = &delivery.bytes[bytes];
                    self.of(reader, |connection, turn| connection.message(text, turn));
                }
                Item::Piece { reader, frames, messages, ticket } => {
                    self.of(reader, |connection, turn| connection.piece(&frames, messages, ticket, turn));
                }
                Item::Orders { stream, reader, orders, notice } => {
                    self.of(reader, |connection, turn| connection.orders(stream, orders, notice, turn));
                }
                Item::Finish { reader, ending, notice } => {
                    let notice = notice.map(|notice| Box::from(&*notice));
                    self.of(reader, |connection, turn| connection.drain(ending, notice, turn));
                }
            }
        }
        delivery.clear();
        self.delivery = delivery;
        self.announce();
        self.relieve_if_full();
    }

    /// Makes room if too much waits for all clients together: those for whom most waits are left behind or ended, until a
    /// quarter is free.
    fn relieve_if_full(&mut self) {
        if self.streams.bytes() + self.outbox_bytes <= self.bytes_max {
            return;
        }
        self.streams.trim();
        let waiting = self.connections.iter().map(|(place, connection)| (connection.waiting(), place));
        let mut by_waiting: Vec<(usize, usize)> = waiting.filter(|(waiting, _)| *waiting > 0).collect();
        by_waiting.sort_unstable_by(|one, other| other.cmp(one));
        let mut gave_way = 0;
        for (_, place) in by_waiting {
            if self.streams.bytes() + self.outbox_bytes <= self.bytes_max / 4 * 3 {
                break;
            }
            self.turn(place, |connection, turn| connection.give_way(turn));
            self.streams.trim();
            gave_way += 1;
        }
        if gave_way > 0 {
            tracing::warn!(
                gave_way,
                bytes_max = self.bytes_max,
                "what waits for slow clients filled its room"
            );
        }
    }

    fn of(&mut self, reader: ReaderId, act: impl FnOnce(&mut Connection, &mut Turn<'_>)) {
        if let Some(place) = self.places.get(&reader) {
            self.turn(*place, act);
        }
    }

    fn announce(&mut self) {
        let Self { connections, writable, lagging, streams, .. } = self;
        streams.announce(|place, key, bytes| {
            let Some(connection) = connections.get_mut(place) else { return };
            connection.stream_has_news(key, bytes);
            if connection.is_blocked() {
                lagging.push(place);
            } else if !connection.is_writable_listed {
                connection.is_writable_listed = true;
                writable.push(place);
            }
        });
        self.walk(
            |shard| &mut shard.lagging,
            |shard, place| {
                shard.turn(place, |connection, turn| connection.check_slow(turn));
            },
        );
    }
}

/// Whom a timer calls, from its place and its number.
fn called(place: usize, number: u64) -> Called {
    let [.., a, b, c, d] = number.to_be_bytes();
    (narrow(place), u32::from_be_bytes([a, b, c, d]))
}
