//! Where every stream of a connection stands, and the events that its messages become.
//!
//! A guard starts with the `subscribed` reply: event channels go on from the position in it (or from the resume
//! point, if the server recovers everything), state channels and `mbo` begin with whatever comes first. A stream that no
//! reply announced (`["*"]`, raw requests) is followed from its first message on. At most 100,000 streams.

use std::collections::HashMap;

use sealfeed_wire::ident::StreamSymbol;
use sealfeed_wire::market::{Gap, Heartbeat, MarketMessage, StreamHeader, StreamKey};
use sealfeed_wire::reply::{Changed, EntitlementChanged, Subscribed};
use sealfeed_wire::request::ResumePoint;
use sealfeed_wire::term::Channel;

use crate::event::{Event, GapOrigin, Market};
use crate::sequence::{Continuity, SequenceGuard};

/// Streams that are followed; of more the sequence is not checked.
const STREAMS_MAX: usize = 100_000;

/// The stream symbol that a resume point belongs to.
pub(crate) type ResumeKey = StreamSymbol;

/// The guards of a connection's streams.
#[derive(Default)]
pub(crate) struct Streams {
    guards: HashMap<(Channel, StreamSymbol), SequenceGuard>,
}

impl Streams {
    /// Takes the positions of a `subscribed` reply, whose request asked to resume at these points.
    pub(crate) fn subscribed(&mut self, reply: &Subscribed, resume: &[(ResumeKey, ResumePoint)]) {
        for (symbol, stream) in &reply.symbols {
            let point = resume.iter().find(|(key, _)| key == symbol).map(|(_, point)| point);
            let guard = match (stream.recovered, point) {
                (Some(true), Some(point)) => SequenceGuard::at(point.epoch, point.seq),
                // The present state follows, or the server's own gap does.
                _ if reply.channel.begins_with_state() || stream.recovered == Some(false) => {
                    SequenceGuard::new()
                }
                _ => SequenceGuard::at(stream.epoch, stream.seq),
            };
            self.insert((reply.channel, *symbol), guard);
        }
    }

    /// Takes the positions of subscriptions that go on with another delay; of those that wait, the next notice has them.
    pub(crate) fn changed(&mut self, notice: &EntitlementChanged) {
        for Changed { channel, symbols } in &notice.changed {
            for (symbol, stream) in symbols {
                let guard = match stream.position() {
                    Some((epoch, seq)) if !channel.is_state() => SequenceGuard::at(epoch, seq),
                    _ => SequenceGuard::new(),
                };
                self.insert((*channel, *symbol), guard);
            }
        }
    }

    /// Turns a message into events, in order: a loss that shows, then the message itself.
    pub(crate) fn follow(&mut self, message: MarketMessage, mut emit: impl FnMut(Event)) {
        match message {
            MarketMessage::Trade(message) => self.market(Market::Trade(message), emit),
            MarketMessage::Bbo(message) => self.market(Market::Bbo(message), emit),
            MarketMessage::Snapshot(message) => self.market(Market::Snapshot(message), emit),
            MarketMessage::Delta(message) => self.market(Market::Delta(message), emit),
            MarketMessage::Mbo(message) => self.market(Market::Mbo(message), emit),
            MarketMessage::MboSnapshot(message) => self.market(Market::MboSnapshot(message), emit),
            MarketMessage::Ohlcv(message) => self.market(Market::Ohlcv(message), emit),
            MarketMessage::Status(message) => self.market(Market::Status(message), emit),
            MarketMessage::Definition(message) => self.market(Market::Definition(message), emit),
            MarketMessage::Exec(exec) => {
                let header = exec.header;
                let event = match header.channel {
                    Channel::DropCopy => Event::DropCopy(exec),
                    _ => Event::Execution(exec),
                };
                self.data(&header, event, emit);
            }
            MarketMessage::Heartbeat(heartbeat) => {
                self.beat(&heartbeat, &mut emit);
                emit(Event::Heartbeat(heartbeat));
            }
            MarketMessage::IntervalEnd(end) => {
                self.beat(&Heartbeat { stream: end.stream, seq: end.seq, ts: end.ts }, &mut emit);
                emit(Event::IntervalEnd(end));
            }
            MarketMessage::Stale(stale) => {
                self.beat(&stale, &mut emit);
                emit(Event::Stale(stale));
            }
            MarketMessage::Gap(gap) => {
                self.skip(&gap);
                emit(Event::Gap { gap, origin: GapOrigin::Announced });
            }
            MarketMessage::Skipped(skipped) => {
                self.skip(&skipped);
                emit(Event::Skipped(skipped));
            }
            MarketMessage::Slow(slow) => emit(Event::Slow(slow)),
        }
    }

    fn market(&mut self, market: Market, emit: impl FnMut(Event)) {
        let header = *market.header();
        self.data(&header, Event::Market(market), emit);
    }

    fn data(&mut self, header: &StreamHeader, event: Event, mut emit: impl FnMut(Event)) {
        let stream = stream_of(header);
        let Some(guard) = self.guard((stream.channel, stream.symbol)) else { return emit(event) };
        match guard.follow(header) {
            Continuity::Afresh | Continuity::Next | Continuity::NewEpoch => {}
            Continuity::Gap { from, to } => {
                emit(Event::Gap { gap: Gap { stream, from, to }, origin: GapOrigin::Detected });
            }
            Continuity::Repeated => return emit(Event::Repeated { stream, seq: header.seq }),
        }
        emit(event);
    }

    fn beat(&mut self, heartbeat: &Heartbeat, emit: &mut impl FnMut(Event)) {
        let stream = heartbeat.stream;
        let Some(guard) = self.guard((stream.channel, stream.symbol)) else { return };
        if let Continuity::Gap { from, to } = guard.follow_heartbeat(stream.epoch, heartbeat.seq) {
            emit(Event::Gap { gap: Gap { stream, from, to }, origin: GapOrigin::Detected });
        }
    }

    fn skip(&mut self, gap: &Gap) {
        if let Some(guard) = self.guard((gap.stream.channel, gap.stream.symbol)) {
            guard.skip_to(gap.stream.epoch, gap.to);
        }
    }

    fn guard(&mut self, key: (Channel, StreamSymbol)) -> Option<&mut SequenceGuard> {
        self.insert_if_new(key);
        self.guards.get_mut(&key)
    }

    fn insert_if_new(&mut self, key: (Channel, StreamSymbol)) {
        if self.guards.len() < STREAMS_MAX {
            self.guards.entry(key).or_default();
        }
    }

    fn insert(&mut self, key: (Channel, StreamSymbol), guard: SequenceGuard) {
        if self.guards.len() < STREAMS_MAX || self.guards.contains_key(&key) {
            self.guards.insert(key, guard);
        }
    }
}

/// The stream that a message belongs to: execution reports have one sequence over all symbols.
fn stream_of(header: &StreamHeader) -> StreamKey {
    let symbol =
        if header.channel.is_private() { StreamSymbol::All } else { StreamSymbol::One(header.symbol) };
    StreamKey { channel: header.channel, symbol, epoch: header.epoch, delayed_ms: header.delayed_ms }
}
