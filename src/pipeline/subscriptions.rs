//! Who gets which stream, and the answers to `subscribe` and `unsubscribe`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use sealfeed_wire::market::{Gap, encode_gap};
use sealfeed_wire::reply::{Done, ErrorReply, Refused, Subscribed, SubscribedStream};
use sealfeed_wire::request::{ResumePoint, Unsubscribe};
use sealfeed_wire::{Conflation, OnSlow, RequestId, Scaled, StreamKey, StreamSymbol, Subscribe, Symbols};

use super::SessionHandle;
use super::answers::encoded;
use super::batch::{Batch, Output};
use super::core::Core;
use crate::feed::{StreamId, Subscribed as Joined};
use crate::journal::{JournalError, event};
use crate::types::{Channel, Code, Depth, Epoch, Instrument, InstrumentId, Sequence, Symbol, UnixNanos};

/// Streams of every session.
#[derive(Default)]
pub(super) struct Subscriptions {
    by_session: HashMap<u64, BTreeMap<(Channel, InstrumentId), StreamId>>,
    count: usize,
}

impl Subscriptions {
    /// How many stand over all sessions; the private channel does not count.
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    fn of_session(&self, session: u64) -> usize {
        self.by_session.get(&session).map_or(0, BTreeMap::len)
    }

    /// Notes a subscription; returns the stream it replaces.
    fn insert(&mut self, session: u64, key: (Channel, InstrumentId), stream: StreamId) -> Option<StreamId> {
        let replaced = self.by_session.entry(session).or_default().insert(key, stream);
        if replaced.is_none() {
            self.count += 1;
        }
        replaced
    }

    fn contains(&self, session: u64, key: (Channel, InstrumentId)) -> bool {
        self.by_session.get(&session).is_some_and(|streams| streams.contains_key(&key))
    }

    fn remove(&mut self, session: u64, key: (Channel, InstrumentId)) -> Option<StreamId> {
        let removed = self.by_session.get_mut(&session)?.remove(&key);
        self.count -= usize::from(removed.is_some());
        removed
    }

    fn keys(&self, session: u64, channel: Channel) -> Vec<(Channel, InstrumentId)> {
        let of_session = self.by_session.get(&session).into_iter().flat_map(BTreeMap::keys);
        of_session.filter(|key| key.0 == channel).copied().collect()
    }

    /// Forgets a session; returns its streams.
    pub(super) fn remove_session(&mut self, session: u64) -> Vec<StreamId> {
        let removed = self.by_session.remove(&session).unwrap_or_default();
        self.count -= removed.len();
        removed.into_values().collect()
    }
}

/// One symbol's answer, and the messages that follow the reply.
struct Granted {
    stream: SubscribedStream,
    joined: Joined,
    replaced: Option<StreamId>,
    gap: Option<Bytes>,
}

impl Core {
    pub(super) fn subscribe(
        &mut self,
        session: &Arc<SessionHandle>,
        id: Option<RequestId>,
        request: &Subscribe,
        now: UnixNanos,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        if let Err(code) = check_options(request) {
            return self.refuse_subscription(session, id, request, code, batch);
        }
        if request.channel == Channel::Orders {
            return self.subscribe_to_reports(session, id, request, batch);
        }
        let symbols = match self.symbols(session, request) {
            Ok(symbols) => symbols,
            Err(code) => return self.refuse_subscription(session, id, request, code, batch),
        };
        let depth = request.depth.unwrap_or(Depth::Ten);
        let mut reply = Subscribed {
            id,
            channel: request.channel,
            depth: (request.channel == Channel::Book).then_some(depth),
            conflate_ms: Conflation::Off,
            on_slow: OnSlow::Disconnect,
            symbols: BTreeMap::new(),
            refused: BTreeMap::new(),
        };
        let (mut granted, mut refused) = (Vec::new(), Vec::new());
        for symbol in symbols {
            let resume =
                request.resume.iter().find(|(key, _)| key.as_ref() == Some(&symbol)).map(|(_, at)| *at);
            match self.join(session, request.channel, &symbol, depth, resume, now) {
                Ok(one) => {
                    reply.symbols.insert(symbol.into(), one.stream.clone());
                    granted.push((symbol, one));
                }
                Err(code) => {
                    reply.refused.insert(symbol.into(), Refused::from(code));
                    refused.push((symbol.to_string(), code.as_str().to_owned()));
                }
            }
        }
        let entry = self.journal.record_in(
            &session.trail,
            event::Subscribe {
                principal: session.principal.to_string(),
                channel: request.channel.as_str().to_owned(),
                depth: if request.channel == Channel::Book { depth.get().into() } else { 0 },
                granted: granted.iter().map(|(symbol, _)| symbol.to_string()).collect(),
                refused,
            },
        )?;
        batch.depends_on(entry);
        batch.send(&session.queue, encoded(&reply));
        for (_, one) in granted {
            let queue = || Arc::clone(&session.queue);
            if let Some(stream) = one.replaced {
                self.feed.unsubscribed(stream);
                batch.outputs.push(Output::Unsubscribe { stream, queue: queue() });
            }
            if let Some(gap) = one.gap {
                batch.send(&session.queue, gap);
            }
            for message in one.joined.state.into_iter().chain(one.joined.stale) {
                batch.send(&session.queue, message);
            }
            let seq = one.stream.seq;
            batch.outputs.push(Output::Subscribe { stream: one.joined.stream, seq, queue: queue() });
        }
        Ok(())
    }

    /// The symbols asked for; every one that there is for the wildcard.
    fn symbols(&self, session: &SessionHandle, request: &Subscribe) -> Result<Vec<Symbol>, Code> {
        match &request.symbols {
            Symbols::List(symbols) => Ok(symbols.clone()),
            Symbols::All => {
                if !session.entitlement.may_subscribe_to_everything(request.channel) {
                    return Err(Code::SubWildcardNotEntitled);
                }
                let offered = self.instruments.iter().filter(|one| self.feed.offers(request.channel, one.id));
                Ok(offered.map(|one| one.symbol).collect())
            }
        }
    }

    fn join(
        &mut self,
        session: &SessionHandle,
        channel: Channel,
        symbol: &Symbol,
        depth: Depth,
        resume: Option<ResumePoint>,
        now: UnixNanos,
    ) -> Result<Granted, Code> {
        // Entitlement first: who may not see a symbol does not learn whether it exists.
        session.entitlement.may_subscribe(channel, symbol.as_str(), depth)?;
        let instrument = self.instruments.by_symbol(symbol.as_str()).ok_or(Code::SubSymbolUnknown)?;
        if !self.feed.offers(channel, instrument.id) {
            return Err(Code::SubChannelNotOffered);
        }
        let key = (channel, instrument.id);
        let subscriptions_max = session.entitlement.limits.subscriptions_max as usize;
        if !self.subscriptions.contains(session.number, key)
            && self.subscriptions.of_session(session.number) >= subscriptions_max
        {
            return Err(Code::SubSubscriptionsFull);
        }
        let joined = self.feed.subscribe(channel, instrument.id, depth, now)?;
        let replaced = self.subscriptions.insert(session.number, key, joined.stream);
        let outcome = Recovery::of(resume.map(|at| recovery(at, joined.epoch, joined.seq)));
        let gap = match (resume, outcome.recovered) {
            (Some(at), Some(false)) if !channel.is_state() => {
                let stream =
                    StreamKey { channel, symbol: (*symbol).into(), epoch: joined.epoch, delayed_ms: None };
                gap(stream, at, joined.seq)
            }
            _ => None,
        };
        let stream = subscribed(instrument, &joined, outcome);
        Ok(Granted { stream, joined, replaced, gap })
    }

    pub(super) fn unsubscribe(
        &mut self,
        session: &Arc<SessionHandle>,
        id: Option<RequestId>,
        request: &Unsubscribe,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        let keys: Vec<_> = match &request.symbols {
            Symbols::All => self.subscriptions.keys(session.number, request.channel),
            Symbols::List(symbols) => {
                let known = symbols.iter().filter_map(|symbol| self.instruments.by_symbol(symbol.as_str()));
                known.map(|one| (request.channel, one.id)).collect()
            }
        };
        let mut ended = Vec::new();
        for key in keys {
            if let Some(stream) = self.subscriptions.remove(session.number, key) {
                self.feed.unsubscribed(stream);
                batch.outputs.push(Output::Unsubscribe { stream, queue: Arc::clone(&session.queue) });
                ended.extend(self.instruments.by_id(key.1).map(|one| one.symbol.to_string()));
            }
        }
        if request.channel == Channel::Orders && self.reports.unsubscribe(session) {
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
        batch.send(&session.queue, encoded(&Done { id }));
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
        batch.send(&session.queue, encoded(&ErrorReply::new(id, code)));
        Ok(())
    }
}

/// Refuses what this server does not offer, instead of doing something else in silence.
fn check_options(request: &Subscribe) -> Result<(), Code> {
    if request.conflate_ms.is_some_and(|interval| interval != Conflation::Off) {
        return Err(Code::SubConflationNotOffered);
    }
    if request.on_slow == Some(OnSlow::Conflate) {
        return Err(Code::SubOnSlowNotOffered);
    }
    match request.channel {
        Channel::Trades | Channel::Bbo | Channel::Book | Channel::Orders => Ok(()),
        Channel::Mbo | Channel::Ohlcv1s | Channel::Ohlcv1m | Channel::Status | Channel::Definition => {
            Err(Code::SubChannelNotOffered)
        }
    }
}

/// What a resumption came to: all or nothing.
#[derive(Clone, Copy, Default)]
pub(super) struct Recovery {
    /// `recovered` in the reply; `None` if the request did not resume.
    pub(super) recovered: Option<bool>,
    /// Why not.
    pub(super) reason: Option<Code>,
}

impl Recovery {
    pub(super) fn of(resumed: Option<Result<(), Code>>) -> Self {
        match resumed {
            None => Self::default(),
            Some(Ok(())) => Self { recovered: Some(true), reason: None },
            Some(Err(code)) => Self { recovered: Some(false), reason: Some(code) },
        }
    }
}

/// Nothing was missed, or what was missed is not held.
pub(super) fn recovery(at: ResumePoint, epoch: Epoch, seq: Sequence) -> Result<(), Code> {
    if at.epoch != epoch {
        Err(Code::SubResumeEpochOver)
    } else if at.seq == seq {
        Ok(())
    } else {
        Err(Code::SubResumeNotHeld)
    }
}

/// The notice of what a resumption on an event channel lost; `None` if that is nothing.
pub(super) fn gap(stream: StreamKey, at: ResumePoint, seq: Sequence) -> Option<Bytes> {
    // Of an epoch that is over, nothing is known here: all of the present one is what the client lacks.
    let from = if at.epoch == stream.epoch { at.seq.next() } else { Sequence::default().next() };
    (from <= seq).then(|| {
        let mut message = Vec::with_capacity(160);
        encode_gap(&mut message, &Gap { stream, from, to: seq });
        message.into()
    })
}

fn subscribed(instrument: &Instrument, joined: &Joined, recovery: Recovery) -> SubscribedStream {
    let decimals = instrument.decimals;
    SubscribedStream {
        epoch: joined.epoch,
        seq: joined.seq,
        recovered: recovery.recovered,
        reason: recovery.reason.map(Into::into),
        price_decimals: Some(decimals.price),
        qty_decimals: Some(decimals.quantity),
        tick: instrument.tradable.then(|| Scaled::new(instrument.tick, decimals.price)),
        lot: instrument.tradable.then(|| Scaled::new(instrument.lot, decimals.quantity)),
        delayed_ms: None,
    }
}
