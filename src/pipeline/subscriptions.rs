//! Who gets which stream, and the answers to `subscribe` and `unsubscribe`.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use sealfeed_wire::reply::{Done, ErrorReply, Refused, Subscribed, SubscribedStream};
use sealfeed_wire::request::{ResumePoint, Unsubscribe};
use sealfeed_wire::{Conflation, OnSlow, RequestId, Scaled, StreamKey, StreamSymbol, Subscribe, Symbols};

use super::SessionHandle;
use super::answers::encoded;
use super::batch::{Batch, Output};
use super::core::Core;
use super::recovery::Found;
use super::resume::{Recovery, bytes, gap, recover};
use super::retell::{Findings, Retold};
use super::standing::Ended;
use crate::feed::{
    Delivered, Encoding, Missed, Orders, StreamId, StreamRequest, Subscribed as Joined, Terms,
};
use crate::journal::{JournalError, event};
use crate::types::{Channel, Code, Depth, Epoch, Instrument, Sequence, Symbol, UnixNanos};

/// One symbol's answer, and the messages that follow the reply.
pub(super) struct Granted {
    pub(super) stream: SubscribedStream,
    joined: StreamId,
    terms: Terms,
    pub(super) replaced: Option<Ended>,
    messages: Vec<Bytes>,
    /// The orders that rest, behind those messages.
    orders: Option<Orders>,
    /// That the source stalls, behind everything.
    stale: Option<Bytes>,
    /// Number of the stream's last message before the live ones.
    live: Sequence,
    /// Where the tape has what was missed.
    found: Option<Box<Found>>,
}

/// What one request asks of every symbol, and the room that is left for what was missed.
pub(super) struct Asked {
    stream: StreamRequest,
    on_slow: OnSlow,
    resume_room: usize,
    /// What the tape has of it.
    findings: Findings,
}

impl Asked {
    /// Asks without going on from anywhere.
    pub(super) fn afresh(stream: StreamRequest, on_slow: OnSlow) -> Self {
        Self { stream, on_slow, resume_room: 0, findings: Findings::default() }
    }
}

impl Core {
    /// Answers a `subscribe`, or has the tape asked first: `findings` is what that said.
    pub(super) fn subscribe_with(
        &mut self,
        session: &Arc<SessionHandle>,
        id: Option<RequestId>,
        request: &Subscribe,
        findings: Option<Findings>,
        now: UnixNanos,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        if let Err(code) = check_options(request) {
            return self.refuse_subscription(session, id, request, code, batch);
        }
        if request.channel.is_private() {
            return self.subscribe_to_reports(session, id, request, batch);
        }
        let symbols = match self.symbols(session, request) {
            Ok(symbols) => symbols,
            Err(code) => return self.refuse_subscription(session, id, request, code, batch),
        };
        let depth = request.depth.unwrap_or(Depth::Ten);
        let conflation = request.conflate_ms.unwrap_or(Conflation::Off);
        let encoding = session.encoding;
        let stream = StreamRequest { channel: request.channel, depth, conflation, encoding };
        let on_slow = request.on_slow.unwrap_or(default_on_slow(request.channel));
        if findings.is_none()
            && (self.waits_for_delayed(session, id.as_ref(), request, stream, &symbols, now)
                || self.asks_tape(session, id.as_ref(), request, stream))
        {
            return Ok(());
        }
        let findings = findings.unwrap_or_default();
        let mut asked = Asked { stream, on_slow, resume_room: session.resume_bytes_max, findings };
        let mut reply = Subscribed {
            id,
            channel: request.channel,
            depth: (request.channel == Channel::Book).then_some(depth),
            conflate_ms: conflation,
            on_slow,
            symbols: BTreeMap::new(),
            refused: BTreeMap::new(),
            rate_limits: session.rate_limits(),
        };
        let (mut granted, mut refused) = (Vec::new(), Vec::new());
        for symbol in symbols {
            let resume =
                request.resume.iter().find(|(key, _)| key.as_ref() == Some(&symbol)).map(|(_, at)| *at);
            match self.join(session, &mut asked, &symbol, resume, now) {
                Ok(one) => {
                    reply.symbols.insert(symbol.into(), one.stream.clone());
                    granted.push((symbol, one));
                }
                Err(code) => {
                    reply.refused.insert(symbol.into(), Refused::from(code));
                    refused.push((symbol, code));
                }
            }
        }
        self.record_subscribed(session, (request.channel, depth), &granted, &refused, batch)?;
        // In front of the reply: behind it, nothing of the subscription before may come.
        for ended in granted.iter_mut().filter_map(|(_, one)| one.replaced.take()) {
            self.end(session, &ended, now, batch)?;
        }
        batch.send(session, encoded(&reply));
        self.begin_streams(session, request.channel, granted.into_iter().map(|(_, one)| one), batch)
    }

    /// Sends what follows the reply for each stream, and then the stream itself.
    pub(super) fn begin_streams(
        &mut self,
        session: &Arc<SessionHandle>,
        channel: Channel,
        granted: impl Iterator<Item = Granted>,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        for granted in granted {
            let Granted { live: seq, joined: stream, terms, messages, orders, stale, found, .. } = granted;
            messages.into_iter().for_each(|message| batch.send(session, message));
            match orders {
                Some(orders) => self.send_orders(session, stream, orders, stale, batch)?,
                None => stale.into_iter().for_each(|stale| batch.send(session, stale)),
            }
            if let Some(found) = found {
                self.retell(session, (channel, self.instrument_of(stream)), terms, *found, seq);
                continue;
            }
            batch.outputs.push(Output::Subscribe { stream, seq, terms, reader: session.number });
        }
        Ok(())
    }

    /// Sends the orders that rest in an instrument and what was published since, which is recorded as delivered: the stream itself goes on
    /// behind it.
    pub(super) fn send_orders(
        &mut self,
        session: &Arc<SessionHandle>,
        stream: StreamId,
        orders: Orders,
        notice: Option<Bytes>,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        let (first, seq) = (orders.snapshot.seq().next(), orders.snapshot.seq());
        let last = orders.since.iter().fold(seq, |seq, _| seq.next());
        batch.outputs.push(Output::Orders { stream, orders, notice, reader: session.number });
        if first > last {
            return Ok(());
        }
        self.delivered(session, &[Delivered { stream, first: first.get(), last: last.get() }])
    }

    /// The symbols asked for; every one that there is for the wildcard.
    fn symbols(&self, session: &SessionHandle, request: &Subscribe) -> Result<Vec<Symbol>, Code> {
        match &request.symbols {
            Symbols::List(symbols) => Ok(symbols.clone()),
            Symbols::All => {
                if !session.entitlement().may_subscribe_to_everything(request.channel) {
                    return Err(Code::SubWildcardNotEntitled);
                }
                let offered = self.instruments.iter().filter(|one| self.feed.offers(request.channel, one.id));
                Ok(offered.map(|one| one.symbol).collect())
            }
        }
    }

    /// Joins a subscription to the stream that the session is granted, in place of one before.
    ///
    /// # Errors
    /// The code of a refusal; a subscription before stands on.
    pub(super) fn join(
        &mut self,
        session: &SessionHandle,
        asked: &mut Asked,
        symbol: &Symbol,
        resume: Option<ResumePoint>,
        now: UnixNanos,
    ) -> Result<Granted, Code> {
        let StreamRequest { channel, depth, conflation, encoding } = asked.stream;
        // Entitlement first: who may not see a symbol does not learn whether it exists.
        let entitlement = session.entitlement();
        let access = entitlement.may_subscribe(channel, symbol.as_str(), depth, conflation)?;
        let delay_ms = access.delay_ms;
        let instruments = Arc::clone(&self.instruments);
        let instrument = instruments.by_symbol(symbol.as_str()).ok_or(Code::SubSymbolUnknown)?;
        let key = (channel, instrument.id);
        let subscriptions_max = entitlement.limits.subscriptions_max as usize;
        if self.feed.offers(channel, instrument.id)
            && !self.subscriptions.contains(session.number, key)
            && !self.moves.contains(session.number, key)
            && self.subscriptions.of_session(session.number) + self.moves.count(session.number)
                >= subscriptions_max
        {
            return Err(Code::SubSubscriptionsFull);
        }
        let joined = self.feed_with_delay(delay_ms)?.subscribe(instrument.id, asked.stream, now)?;
        self.joined_with_delay(delay_ms);
        let Joined { stream: id, epoch, seq, state, stale } = joined;
        let mut found = None;
        let resumed = resume.map(|at| {
            let missed = |after| self.feed_of(id).map_or(Missed::NotHeld, |feed| feed.missed(id, after));
            recover(at, epoch, seq, missed, asked.resume_room).or_else(|code| {
                // It may have been looked up before the stream's numbers were given up and begun anew.
                let feed = self.feed_of(id);
                let missing = feed.and_then(|feed| feed.missing(instrument.id, asked.stream, at));
                match asked.findings.remove(symbol) {
                    Some(Ok(place)) if missing.as_ref() == Some(place.missing()) => {
                        found = Some(place);
                        Ok(Vec::new())
                    }
                    Some(Err(reason)) => Err(reason),
                    _ => Err(code),
                }
            })
        });
        let goes_on = matches!(resumed, Some(Ok(_)));
        // Who had something gets none that are older than that.
        let since_bytes_max = if resume.is_some() { 0 } else { asked.resume_room };
        let orders = if goes_on { Ok(None) } else { self.resting_orders(id, since_bytes_max, now) };
        let orders = orders.inspect_err(|_| self.leave(id, now))?;
        asked.resume_room -= orders.as_ref().map_or(0, |orders| bytes(&orders.since));
        let (terms, replaced) = self.subscriptions.insert(session.number, key, id, asked.on_slow);
        self.moves.remove(session.number, key);
        let delayed_ms = (delay_ms != 0).then_some(delay_ms);
        let recovery = Recovery::of(resumed.as_ref());
        // Who begins with orders goes on from the message that they are of.
        let from = orders.as_ref().map_or(seq, |orders| orders.snapshot.seq());
        let stream = SubscribedStream { delayed_ms, ..subscribed(instrument, (epoch, from), recovery) };
        let mut messages = match encoding {
            Encoding::Json => Vec::new(),
            Encoding::Dbn => {
                // A delayed stream has a number of its own in records, too.
                let named = Instrument {
                    id: Delivered { stream: id, first: 0, last: 0 }.instrument(),
                    ..instrument.clone()
                };
                self.subscriptions.introduce(session.number, &named, now)
            }
        };
        match (resumed, resume) {
            (Some(Ok(missed)), _) => {
                asked.resume_room -= bytes(&missed);
                messages.extend(missed);
            }
            (Some(Err(_)), Some(at)) if !channel.begins_with_state() => {
                let stream = StreamKey { channel, symbol: (*symbol).into(), epoch, delayed_ms };
                messages.extend(gap(stream, at, seq));
            }
            _ => messages.extend(state),
        }
        Ok(Granted { stream, joined: id, terms, replaced, messages, orders, stale, live: seq, found })
    }

    /// The orders that rest in the instrument of a stream of records, for a reader who begins with them.
    fn resting_orders(
        &mut self,
        stream: StreamId,
        since_bytes_max: usize,
        now: UnixNanos,
    ) -> Result<Option<Orders>, Code> {
        self.feed_of(stream).map_or(Ok(None), |feed| feed.orders(stream, now, since_bytes_max))
    }

    /// Lets nothing more of a subscription come that stands no more, and records what had come of it from the tape.
    pub(super) fn end(
        &mut self,
        session: &Arc<SessionHandle>,
        ended: &Ended,
        now: UnixNanos,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        let Ended { stream, retold } = ended;
        let handed: Vec<_> = retold.iter().filter_map(Retold::handed_over).collect();
        self.delivered(session, &handed)?;
        self.leave(*stream, now);
        if ended.was_live() {
            batch.outputs.push(Output::Unsubscribe { stream: *stream, reader: session.number });
        }
        Ok(())
    }

    pub(super) fn unsubscribe(
        &mut self,
        session: &Arc<SessionHandle>,
        id: Option<RequestId>,
        request: &Unsubscribe,
        now: UnixNanos,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        let keys: Vec<_> = match &request.symbols {
            Symbols::All => {
                let waiting = self.moves.of(session.number).into_iter().map(|(key, _)| key);
                let waiting = waiting.filter(|key| key.0 == request.channel);
                self.subscriptions.keys(session.number, request.channel).into_iter().chain(waiting).collect()
            }
            Symbols::List(symbols) => {
                let known = symbols.iter().filter_map(|symbol| self.instruments.by_symbol(symbol.as_str()));
                known.map(|one| (request.channel, one.id)).collect()
            }
        };
        let mut ended = Vec::new();
        for key in keys {
            let standing = self.subscriptions.remove(session.number, key);
            if let Some(one) = &standing {
                self.end(session, one, now, batch)?;
            }
            if standing.is_some() || self.moves.remove(session.number, key) {
                ended.extend(self.instruments.by_id(key.1).map(|one| one.symbol.to_string()));
            }
        }
        if self.reports.unsubscribe(session, request.channel, now) {
            ended.push(StreamSymbol::All.to_string());
        }
        if ended.is_empty() {
            let code = Code::SubNotSubscribed;
            return self.reject(session, id, "unsubscribe", code, request.channel.as_str(), batch);
        }
        let event = event::Unsubscribe {
            principal: session.principal.to_string(),
            channel: request.channel.as_str().to_owned(),
            symbols: ended,
        };
        batch.depends_on(self.journal.record_in(&session.trail, event)?);
        batch.send(session, encoded(&Done { id, token_expires: None, rate_limits: session.rate_limits() }));
        Ok(())
    }

    fn refuse_subscription(
        &mut self,
        session: &Arc<SessionHandle>,
        id: Option<RequestId>,
        request: &Subscribe,
        code: Code,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        self.reject(session, id, "subscribe", code, request.channel.as_str(), batch)
    }

    /// Answers a request with an error, after its entry.
    pub(super) fn reject(
        &mut self,
        session: &Arc<SessionHandle>,
        id: Option<RequestId>,
        op: &str,
        code: Code,
        detail: &str,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        let event = event::Reject {
            principal: session.principal.to_string(),
            op: op.to_owned(),
            code: code.as_str().to_owned(),
            detail: detail.to_owned(),
        };
        batch.depends_on(self.journal.record_in(&session.trail, event)?);
        batch.send(
            session,
            encoded(&ErrorReply { rate_limits: session.rate_limits(), ..ErrorReply::new(id, code) }),
        );
        Ok(())
    }
}

/// Refuses what this server does not offer, instead of doing something else in silence.
fn check_options(request: &Subscribe) -> Result<(), Code> {
    // Execution reports are never left out: who does not read them is closed, and resumes.
    if request.on_slow == Some(OnSlow::Conflate) && request.channel.is_private() {
        return Err(Code::SubOnSlowNotOffered);
    }
    Ok(())
}

/// The present state makes up for what a slow reader of a book did not get; nothing does for an event.
const fn default_on_slow(channel: Channel) -> OnSlow {
    match channel {
        Channel::Bbo | Channel::Book => OnSlow::Conflate,
        _ => OnSlow::Disconnect,
    }
}

fn subscribed(
    instrument: &Instrument,
    (epoch, seq): (Epoch, Sequence),
    recovery: Recovery,
) -> SubscribedStream {
    let decimals = instrument.decimals;
    SubscribedStream {
        epoch,
        seq,
        recovered: recovery.recovered,
        reason: recovery.reason.map(Into::into),
        price_decimals: Some(decimals.price),
        qty_decimals: Some(decimals.quantity),
        tick: instrument.tradable.then(|| Scaled::new(instrument.tick, decimals.price)),
        lot: instrument.tradable.then(|| Scaled::new(instrument.lot, decimals.quantity)),
        delayed_ms: None,
        paper: instrument.paper,
    }
}
