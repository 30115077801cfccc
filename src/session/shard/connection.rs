//! One connection of a shard: its socket, TLS and reader, what waits for it, and the phases of its life.
//!
//! Open: it reads, one socket read a round, and nothing while an answer of its own or a command still waits to be
//! passed on. Finishing: its time is over; it asks the pipeline to be ended behind all that was asked before. Draining:
//! what was for it before its end still leaves. Closing: its close frame leaves; what comes is thrown away until the
//! peer has gone or the deadline has come. Then it is over.

mod backlog;
mod ending;
mod orders;
mod seldom;
mod writing;

use std::collections::VecDeque;
use std::io::{self, Read as _};
use std::sync::Arc;
use std::time::Duration;

use mio::net::TcpStream;
use rustls::Error as TlsError;
use rustls::server::UnbufferedServerConnection;
use sealfeed_wire::CloseCode;
use sealfeed_wire::reply::ServerShutdown;
use smallvec::SmallVec;
use tokio::time::Instant;

use self::backlog::Backlog;
use self::seldom::Seldom;
use super::Arrival;
use super::deadlines::{Deadlines, Due};
use super::moment::Moment;
use super::streams::{Key, Streams, Suspended};
use crate::feed::{Delivered, Ending, FrameKind, StreamId, Ticket};
use crate::pipeline::{Command, TrySend};
use crate::session::SessionContext;
use crate::session::active::{End, until};
use crate::session::inbound::{Conversation, Step, encoded};
use crate::session::outbox::Outbox;
use crate::session::registry::ConnectionSlot;
use crate::session::tls::{READ_BYTES, Sealed, Tls};
use crate::session::websocket::{Incoming, Reader};
use crate::session::welcome;
use crate::types::Code;

/// How long a peer has to take our close frame and answer it, or to take what was for it before.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long answers to what was read may take when the session's time is over.
const ANSWERS_TIMEOUT: Duration = Duration::from_secs(1);

/// Buffers of a shard's thread, shared by its connections in turn.
#[derive(Default)]
pub(super) struct Scratch {
    received: Vec<u8>,
    plain: Vec<u8>,
    sealed: Sealed,
}

/// What a connection needs of its shard.
pub(super) struct Turn<'a> {
    pub(super) context: &'a SessionContext,
    pub(super) streams: &'a mut Streams,
    pub(super) scratch: &'a mut Scratch,
    pub(super) now: Instant,
}

/// Where a connection is in its life.
#[derive(Debug)]
enum Phase {
    Open,
    Finishing { ending: Ending, notice: Option<Box<[u8]>>, by: Moment },
    Draining { ending: Ending, notice: Option<Box<[u8]>>, by: Moment },
    Closing { by: Moment, peer_has_closed: bool },
    Over,
}

/// One connection.
pub(super) struct Connection {
    socket: TcpStream,
    tls: Tls,
    reader: Reader,
    conversation: Conversation,
    outbox: Outbox,
    deadlines: Deadlines,
    phase: Phase,
    /// After a logout nothing more is read.
    has_logged_out: bool,
    /// The socket may have bytes that were not read.
    pub(super) may_read: bool,
    /// The peer has ended its side: what is left is to be read to its end.
    pub(super) is_read_closed: bool,
    /// It stands in the shard's list of those that may have something to read.
    pub(super) is_readable_listed: bool,
    /// It stands in the shard's list of those that have something to write.
    pub(super) is_writable_listed: bool,
    /// It stands in the shard's list of those that wait for the pipeline or the log.
    pub(super) is_waiting_listed: bool,
    /// When the shard's timers will call it.
    pub(super) due_at: Option<Moment>,
    /// Most connections read one stream or two.
    subscriptions: SmallVec<[Key; 2]>,
    ready: VecDeque<Key>,
    /// Bytes that those have for it, as far as they were announced. A sum that is kept: a client may read thousands of streams.
    behind: usize,
    seldom: Seldom,
    /// Messages of streams that were sealed for it.
    delivered: u64,
    is_warned: bool,
    backlog: Backlog,
    /// Plain bytes in what was sealed and the socket has not taken as a whole.
    sealed_bytes: usize,
    /// Our side of the connection has ended.
    is_shut: bool,
    /// Its place among all connections.
    _slot: ConnectionSlot,
}

// Thousands of connections are quiet: what is rarely used stands in `Seldom`, or is made when it is needed (docs/adr/0047).
const _: () = assert!(size_of::<Connection>() <= size_of::<UnbufferedServerConnection>() + 608);

impl Connection {
    /// Takes over what arrived: the answer to its upgrade leaves together with its welcome.
    pub(super) fn new(arrival: Arrival, context: &Arc<SessionContext>, now: Instant) -> Self {
        let who = (arrival.slot, arrival.token);
        let conversation = Conversation::new(Arc::clone(context), arrival.handle, who, arrival.is_trusted);
        let certificate = until(conversation.not_after(), context.clock.now());
        let limits = context.limits.now();
        let mut reader = Reader::new(limits.message_bytes_max, limits.fragments_max);
        reader.feed(&arrival.read);
        let mut deadlines = Deadlines::new(&limits, certificate, now);
        deadlines.under_way(reader.under_way(), now);
        if let Some(expires) = conversation.token_expires() {
            deadlines.token_until(until(expires, context.clock.now()), now);
        }
        let mut outbox = Outbox::default();
        outbox.frames(|frames| frames.extend_from_slice(&arrival.answer));
        if arrival.ending.is_none() {
            // Here and not before: from now on the session is told of changes, what came earlier is in its welcome.
            outbox.message(&welcome::message(context, conversation.handle(), conversation.token_expires()));
        }
        Self {
            socket: TcpStream::from_std(arrival.socket),
            tls: arrival.tls,
            reader,
            conversation,
            outbox,
            deadlines,
            phase: Phase::Open,
            has_logged_out: false,
            // What the socket has is said when it is registered.
            may_read: !arrival.read.is_empty(),
            is_read_closed: false,
            is_readable_listed: false,
            is_writable_listed: false,
            is_waiting_listed: false,
            due_at: None,
            subscriptions: SmallVec::new(),
            ready: VecDeque::new(),
            behind: 0,
            seldom: Seldom::default(),
            delivered: 0,
            is_warned: false,
            backlog: Backlog::new(limits.out_queue_age_max_ms),
            sealed_bytes: 0,
            is_shut: false,
            _slot: arrival.connection_slot,
        }
    }

    /// Its socket, to be registered.
    pub(super) const fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// Number of its session.
    pub(super) fn number(&self) -> u64 {
        self.conversation.handle().number
    }

    /// The ending that was asked for before the shard knew the session.
    pub(super) fn asked_ending(&self) -> Option<Ending> {
        self.conversation.handle().ending()
    }

    /// Nothing is left to be done: it is to be dropped.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over) && !self.seldom.has_commands()
    }

    /// Something of it waits for the pipeline's queue or for the log: look again.
    pub(super) fn is_waiting(&self) -> bool {
        self.seldom.is_waiting()
    }

    /// There is something to write, and the socket took what was written before.
    pub(super) fn has_output(&self) -> bool {
        !matches!(self.phase, Phase::Over)
            && (!self.outbox.is_empty()
                || !self.ready.is_empty()
                || self.seldom.has_pending()
                || self.ends_when_written())
    }

    fn ends_when_written(&self) -> bool {
        matches!(self.phase, Phase::Draining { .. } | Phase::Closing { peer_has_closed: true, .. })
    }

    /// The socket has not taken all that was sealed.
    pub(super) const fn is_blocked(&self) -> bool {
        self.tls.has_unsent()
    }

    /// Gives back the memory of what it had and has no more.
    pub(super) fn settle_memory(&mut self) {
        self.seldom.settle();
    }

    /// When it is due next, if ever.
    pub(super) fn next_deadline(&self) -> Option<Moment> {
        match &self.phase {
            Phase::Open => {
                let next = self.deadlines.next();
                let too_old_at = self.backlog.too_old_at().filter(|_| self.is_blocked()).map(Moment::of);
                Some([too_old_at, self.seldom.pending_due_at()].into_iter().flatten().fold(next, Moment::min))
            }
            Phase::Finishing { by, .. } | Phase::Draining { by, .. } | Phase::Closing { by, .. } => Some(*by),
            Phase::Over => None,
        }
    }

    /// Whether what comes from the client is taken.
    pub(super) fn reads(&self) -> bool {
        match self.phase {
            Phase::Open => !self.has_logged_out && !self.is_waiting(),
            Phase::Closing { .. } => true,
            Phase::Finishing { .. } | Phase::Draining { .. } | Phase::Over => false,
        }
    }

    /// Reads once, and does what the client says. The shard calls again as long as there may be more.
    pub(super) fn read(&mut self, turn: &mut Turn<'_>) {
        self.converse(turn);
        if !self.may_read || !self.reads() {
            return;
        }
        let received = &mut turn.scratch.received;
        received.resize(READ_BYTES, 0);
        let count = match self.socket.read(received) {
            Ok(0) => return self.broken(turn),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.may_read = false;
                return;
            }
            Err(_) => return self.broken(turn),
        };
        // A socket that gave less than there was room for has no more; it says so when it has, or when it ends.
        self.may_read = count == READ_BYTES || self.is_read_closed;
        let Scratch { received, plain, sealed } = &mut *turn.scratch;
        plain.clear();
        sealed.clear();
        let taken = self.tls.input(&mut received[..count], plain, sealed);
        let was_answered = !sealed.is_empty();
        // Alerts and key updates leave at once, behind what was sealed before.
        let flushed = !was_answered || self.tls.flush(&mut self.socket, sealed).is_ok();
        let is_closed = match taken {
            Ok(is_closed) => is_closed,
            // An alert that says goodbye, and that we had nothing to say to.
            Err(TlsError::AlertReceived(_)) if !was_answered => return self.broken(turn),
            Err(error) => return self.broke_tls(&error, turn),
        };
        self.deadlines.heard(turn.now);
        self.reader.feed(plain);
        self.deadlines.under_way(self.reader.under_way(), turn.now);
        self.converse(turn);
        if !flushed || is_closed {
            self.broken(turn);
        }
    }

    /// Takes what was read, as long as the session reads.
    fn converse(&mut self, turn: &mut Turn<'_>) {
        while self.reads() {
            let Some(incoming) = self.reader.read() else { break };
            self.outbox.frames(|frames| self.reader.take_answers(frames));
            if let Phase::Closing { peer_has_closed, .. } = &mut self.phase {
                *peer_has_closed |= self.reader.is_over();
                continue;
            }
            if matches!(incoming, Incoming::Text(_)) {
                self.deadlines.asked();
            }
            let step = self.conversation.take(incoming, &mut self.outbox);
            self.follow(step, turn);
        }
    }

    fn follow(&mut self, step: Step, turn: &mut Turn<'_>) {
        match step {
            Step::Done => {}
            Step::HandOn(command) => self.hand_on(command, turn),
            Step::Last(command) => {
                self.has_logged_out = true;
                self.hand_on(command, turn);
            }
            Step::Owe(owed) => {
                self.seldom.owe(owed);
                self.settle(turn);
            }
            Step::Renewed(owed, expires) => {
                self.deadlines.token_until(until(expires, turn.context.clock.now()), turn.now);
                self.seldom.owe(owed);
                self.settle(turn);
            }
            Step::End(end) => self.end(end, turn),
        }
        self.check_slow(turn);
    }

    /// Passes on what could not be passed on before, and answers what has become durable; then reads on.
    pub(super) fn settle(&mut self, turn: &mut Turn<'_>) {
        let was_waiting = self.is_waiting();
        while let Some(command) = self.seldom.next_command() {
            if let Some(command) = self.pass_on(command, turn) {
                self.seldom.put_back(command);
                break;
            }
        }
        if let Some(owed) = self.seldom.take_owed() {
            match turn.context.journal.is_durable(owed.entry) {
                Ok(true) => {
                    let step = self.conversation.pay(&owed, &mut self.outbox);
                    self.follow(step, turn);
                }
                Ok(false) => self.seldom.owe(owed),
                // The server stops, and nothing more is answered.
                Err(_) => {}
            }
        }
        if was_waiting && !self.is_waiting() {
            self.deadlines.heard(turn.now);
            self.deadlines.was_not_read(turn.now);
            self.converse(turn);
        }
    }

    fn hand_on(&mut self, command: Command, turn: &mut Turn<'_>) {
        let refused = if self.seldom.has_commands() { Some(command) } else { self.pass_on(command, turn) };
        if let Some(command) = refused {
            self.seldom.put(command);
        }
    }

    /// Gives a command to the pipeline; returns it if that has no room now.
    fn pass_on(&mut self, command: Command, turn: &mut Turn<'_>) -> Option<Command> {
        match turn.context.pipeline.try_send(command) {
            Ok(()) => None,
            Err(TrySend::Full(command)) => Some(*command),
            Err(TrySend::Stopped(command)) => {
                self.without_pipeline(*command, turn);
                None
            }
        }
    }

    /// The pipeline is gone: the server is stopping. What concerns the end is done without it.
    fn without_pipeline(&mut self, command: Command, turn: &mut Turn<'_>) {
        match command {
            Command::Closed { session, event, .. } => {
                // If the journal is gone as well the server knows why.
                let _ = turn.context.journal.record_in(&session.trail, event);
            }
            Command::Finish { .. } => {
                if let Phase::Finishing { ending, notice, .. } = &mut self.phase {
                    let (ending, notice) = (*ending, notice.take());
                    self.drain(ending, notice, turn);
                }
            }
            _ if matches!(self.phase, Phase::Open) => {
                self.end(End::Close(crate::session::active::GOING_AWAY), turn);
            }
            _ => {}
        }
    }

    /// A message for this client alone.
    pub(super) fn message(&mut self, message: &[u8], turn: &mut Turn<'_>) {
        if matches!(self.phase, Phase::Open | Phase::Finishing { .. }) {
            self.outbox.message(message);
            self.check_slow(turn);
        }
    }

    /// Messages that were read from the tape for this client alone.
    pub(super) fn piece(&mut self, frames: &[u8], messages: u64, ticket: Ticket, turn: &mut Turn<'_>) {
        if self.may_join() {
            self.outbox.framed(frames, messages);
            self.seldom.hold(ticket);
            self.check_slow(turn);
        }
    }

    /// It reads a stream from here on.
    pub(super) fn join(&mut self, key: Key) {
        self.subscriptions.push(key);
    }

    /// Its subscription to a stream ends.
    pub(super) fn leave(&mut self, stream: StreamId, turn: &mut Turn<'_>) {
        if let Some(pending) = self.seldom.pending() {
            pending.leave(stream);
        }
        let is_it = |key: &Key| turn.streams.stream_of(*key) == Some(stream);
        let Some(place) = self.subscriptions.iter().position(is_it) else { return };
        let key = self.subscriptions.swap_remove(place);
        self.ready.retain(|ready| *ready != key);
        self.backlog.shrinks();
        let delivered = turn.streams.delivered(key);
        turn.streams.leave(key);
        self.count_behind(turn.streams);
        self.say_delivered(delivered.into_iter().collect(), turn);
    }

    /// Says what has left for it since it was said last.
    pub(super) fn report(&mut self, turn: &mut Turn<'_>) {
        // What cannot be passed on now is said another time.
        if !self.seldom.has_commands() {
            let ranges = self.subscriptions.iter().filter_map(|key| turn.streams.delivered(*key)).collect();
            self.say_delivered(ranges, turn);
        }
    }

    fn say_delivered(&mut self, ranges: Vec<Delivered>, turn: &mut Turn<'_>) {
        if !ranges.is_empty() {
            let session = Arc::clone(self.conversation.handle());
            self.hand_on(Command::Delivered { session, ranges }, turn);
        }
    }

    /// It gets a stream again on which it was left behind.
    pub(super) fn rejoin(&mut self, stream: StreamId, seq: u64, turn: &mut Turn<'_>) {
        if self.may_join() {
            let key = self.subscriptions.iter().find(|key| turn.streams.stream_of(**key) == Some(stream));
            if let Some(key) = key {
                turn.streams.resume(*key, seq);
            }
        }
    }

    /// Leaves it behind on every stream where that may be.
    fn suspend(&mut self, turn: &mut Turn<'_>) {
        let mut delivered = Vec::new();
        for _ in 0..self.ready.len() {
            let Some(key) = self.ready.pop_front() else { break };
            let range = turn.streams.delivered(key);
            match turn.streams.suspend(key) {
                Some(place) => self.seldom.suspend(place),
                None => self.ready.push_back(key),
            }
            delivered.extend(range);
        }
        self.backlog.shrinks();
        self.count_behind(turn.streams);
        self.say_delivered(delivered, turn);
    }

    /// Bytes for this client alone that wait.
    pub(super) const fn outbox_bytes(&self) -> usize {
        self.outbox.bytes()
    }

    /// Whether subscriptions may still be made for it.
    pub(super) const fn may_join(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Finishing { .. })
    }

    /// One of its streams has so many bytes more for it, and had none before if it is named.
    pub(super) fn stream_has_news(&mut self, key: Option<Key>, bytes: usize) {
        self.ready.extend(key);
        self.behind += bytes;
    }

    /// Counts anew what its streams have for it: where they are not only read, but come and go.
    fn count_behind(&mut self, streams: &Streams) {
        self.behind = self.ready.iter().map(|key| streams.lag(*key)).sum();
    }

    /// Ends it after everything that is on the way.
    pub(super) fn drain(&mut self, ending: Ending, notice: Option<Box<[u8]>>, turn: &mut Turn<'_>) {
        if !self.may_join() {
            return;
        }
        self.seldom.take_owed();
        for key in &self.subscriptions {
            if turn.streams.freeze(*key) {
                self.ready.push_back(*key);
            }
        }
        self.count_behind(turn.streams);
        self.phase = Phase::Draining { ending, notice, by: Moment::of(turn.now + CLOSE_TIMEOUT) };
    }

    /// Its time is over: nothing more is read, and what was read before is still answered.
    pub(super) fn time_is_over(&mut self, reason: Code, turn: &mut Turn<'_>) {
        if !matches!(self.phase, Phase::Open) {
            return;
        }
        let ending = Ending::because(reason);
        // Told before the close frame, so that clients do not all come back at once.
        let notice = (ending.close == CloseCode::Drain)
            .then(|| encoded(&ServerShutdown { retry_after_ms: 1_000, ts: turn.context.clock.now() }));
        let by = Moment::of(turn.now + ANSWERS_TIMEOUT);
        self.phase = Phase::Finishing { ending, notice: notice.as_deref().map(Box::from), by };
        let session = Arc::clone(self.conversation.handle());
        self.hand_on(Command::Finish { session, ending, notice }, turn);
    }

    /// A moment has come; the shard sets the next one.
    pub(super) fn on_time(&mut self, turn: &mut Turn<'_>) {
        match &mut self.phase {
            Phase::Open => {
                if self.check_age(turn) && !matches!(self.phase, Phase::Open) {
                    return;
                }
                if self.seldom.pending_due_at().is_some_and(|at| at.has_come(turn.now)) {
                    return self.is_too_slow(turn);
                }
                while let Some(due) = self.deadlines.due(turn.now) {
                    match due {
                        Due::Ping => self.outbox.control(FrameKind::Ping, b""),
                        // Who is not read cannot be heard.
                        Due::Silence | Due::FirstRequest | Due::Message if !self.reads() => {
                            self.deadlines.heard(turn.now);
                            self.deadlines.was_not_read(turn.now);
                            self.deadlines.asked();
                        }
                        Due::FirstRequest => {
                            let end = self.conversation.asked_nothing();
                            return self.end(end, turn);
                        }
                        Due::Message => {
                            let end = self.conversation.message_is_late();
                            return self.end(end, turn);
                        }
                        Due::Silence => return self.end(End::because(Code::SesHeartbeatLost), turn),
                        Due::Over(reason) => return self.time_is_over(reason, turn),
                    }
                }
            }
            Phase::Finishing { by, ending, notice } if by.has_come(turn.now) => {
                // The pipeline is stuck or gone: the notice leaves without it.
                let (ending, notice) = (*ending, notice.take());
                self.drain(ending, notice, turn);
            }
            Phase::Draining { by, ending, notice } if by.has_come(turn.now) => {
                let (ending, notice) = (*ending, notice.take());
                self.end_with_notice(ending, notice.as_deref(), turn);
            }
            Phase::Closing { by, .. } if by.has_come(turn.now) => self.phase = Phase::Over,
            Phase::Finishing { .. } | Phase::Draining { .. } | Phase::Closing { .. } | Phase::Over => {}
        }
    }
}
