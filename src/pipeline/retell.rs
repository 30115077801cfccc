//! Resumption behind the rings: asks the tape, and passes on what it has, in its place between the reply and the live stream.

use std::collections::HashMap;
use std::sync::Arc;

use sealfeed_wire::{RequestId, Subscribe};

use super::SessionHandle;
use super::batch::{Batch, Output};
use super::core::Core;
use super::recovery::{Ask, Finding, Found, LookUp, Recoveries};
use super::resume::bytes;
use super::{Piece, Retelling};
use crate::feed::{Delivered, Ending, Missed, StreamId, StreamRequest, Terms};
use crate::journal::JournalError;
use crate::types::{Channel, Code, InstrumentId, Sequence, Symbol, UnixNanos};

/// How often a stream may run away from its reader at the end of the tape, each time with next to nothing gained.
const ATTEMPTS_MAX: u32 = 200;

/// Places that were found for a request, by symbol.
pub(super) type Findings = HashMap<Symbol, Result<Box<Found>, Code>>;

/// What is read from the tape for sessions.
#[derive(Default)]
pub(super) struct Retellings {
    recoveries: Option<Recoveries>,
    /// Requests that wait for the tape, by session; one that has ended is forgotten, and so are its requests.
    asking: HashMap<u64, u32>,
}

/// A subscription whose missed messages are being read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retold {
    number: u64,
    stream: StreamId,
    terms: Terms,
    /// The last message that the client had.
    after: Sequence,
    /// The last one that has left for it since.
    left: Sequence,
    /// The last one that was handed over.
    sent: Sequence,
    attempts: u32,
}

impl Retold {
    /// What has left of it.
    fn delivered(&self) -> Option<Delivered> {
        let (first, last) = (self.after.next().get(), self.left.get());
        (first <= last).then_some(Delivered { stream: self.stream, first, last })
    }

    /// What was handed over of it, and leaves unless the connection breaks.
    pub(super) fn handed_over(&self) -> Option<Delivered> {
        Self { left: self.sent, ..*self }.delivered()
    }
}

impl Retellings {
    /// A request of a session waits.
    pub(super) fn asks(&mut self, session: u64) {
        *self.asking.entry(session).or_default() += 1;
    }

    /// A request of a session waits no longer; whether the session still stands.
    pub(super) fn answers(&mut self, session: u64) -> bool {
        let Some(asking) = self.asking.get_mut(&session) else { return false };
        *asking -= 1;
        if *asking == 0 {
            self.asking.remove(&session);
        }
        true
    }

    /// Lets these read from now on.
    pub(super) fn start(&mut self, recoveries: Recoveries) {
        self.recoveries = Some(recoveries);
    }
}

impl Core {
    /// Asks the tape for what a request misses and memory does not hold. Whether it does: then the request comes back with the answer.
    pub(super) fn asks_tape(
        &mut self,
        session: &Arc<SessionHandle>,
        id: Option<&RequestId>,
        request: &Subscribe,
        stream: StreamRequest,
    ) -> bool {
        if self.retellings.recoveries.is_none() || !self.is_taped() {
            return false;
        }
        let (mut room, mut wanted) = (session.resume_bytes_max, Vec::new());
        let instruments = Arc::clone(&self.instruments);
        for (symbol, at) in &request.resume {
            let Some(symbol) = symbol else { continue };
            let StreamRequest { channel, depth, conflation, .. } = stream;
            let entitlement = session.entitlement();
            let entitled = entitlement.may_subscribe(channel, symbol.as_str(), depth, conflation);
            let (Ok(access), Some(instrument)) = (entitled, instruments.by_symbol(symbol.as_str())) else {
                continue;
            };
            let Ok(feed) = self.feed_with_delay(access.delay_ms) else { continue };
            let Some(missing) = feed.missing(instrument.id, stream, *at) else { continue };
            match feed.missed(missing.stream, at.seq) {
                Missed::Held(messages) if bytes(&messages) <= room => room -= bytes(&messages),
                _ => wanted.push((*symbol, missing)),
            }
        }
        if wanted.is_empty() {
            return false;
        }
        self.retellings.asks(session.number);
        let (session, id, request) = (Arc::clone(session), id.cloned(), request.clone());
        if let Some(recoveries) = &self.retellings.recoveries {
            recoveries.look_up(LookUp { session, id, request, wanted });
        }
        true
    }

    /// The tape has answered.
    pub(super) fn looked_up(
        &mut self,
        session: &Arc<SessionHandle>,
        id: Option<RequestId>,
        request: &Subscribe,
        findings: Vec<Finding>,
        now: UnixNanos,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        if !self.retellings.answers(session.number) {
            return Ok(());
        }
        let findings = findings.into_iter().collect();
        self.subscribe_with(session, id, request, Some(findings), now, batch)
    }

    /// Begins to read what a granted subscription misses, up to message `seq` at least.
    pub(super) fn retell(
        &mut self,
        session: &Arc<SessionHandle>,
        key: (Channel, InstrumentId),
        terms: Terms,
        found: Found,
        seq: Sequence,
    ) {
        let Some(recoveries) = &self.retellings.recoveries else { return };
        let (stream, after) = (found.missing().stream, found.missing().after);
        let number = recoveries.begin(Ask { session: Arc::clone(session), key, until: seq }, found);
        let retold = Retold { number, stream, terms, after, left: after, sent: after, attempts: 0 };
        self.subscriptions.set_retold(session.number, key, retold);
        self.hurry_tape();
    }

    /// Takes what was read for a subscription, if that still stands.
    pub(super) fn retold(
        &mut self,
        number: u64,
        session: &Arc<SessionHandle>,
        key: (Channel, InstrumentId),
        retelling: Retelling,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        let Some(mut retold) =
            self.subscriptions.retold(session.number, key).filter(|one| one.number == number)
        else {
            if let Some(recoveries) = &self.retellings.recoveries {
                recoveries.end(number);
            }
            return Ok(());
        };
        let (piece, last, is_end) = match retelling {
            Retelling::Read { piece, last, is_end } => (piece, last, is_end),
            Retelling::Lost { ending } => {
                batch.finish(session, ending, None);
                return Ok(());
            }
        };
        let has_piece = piece.is_some();
        // What came before has left: its ticket has come back.
        (retold.left, retold.sent) = (retold.sent, last);
        if let Some(Piece { frames, messages, ticket }) = piece {
            let reader = session.number;
            batch.outputs.push(Output::Piece { reader, frames, messages, ticket });
        }
        if is_end && self.relieves(session, key, retold, batch)? {
            return Ok(());
        }
        retold.attempts = if is_end { retold.attempts + 1 } else { 0 };
        if retold.attempts > ATTEMPTS_MAX {
            batch.finish(session, Ending::because(Code::SesPositionLost), None);
        }
        self.subscriptions.set_retold(session.number, key, retold);
        if is_end {
            self.hurry_tape();
            let until = self.feed_of(retold.stream).and_then(|feed| feed.position(retold.stream));
            if let Some(recoveries) = self.retellings.recoveries.as_ref().filter(|_| !has_piece) {
                recoveries.go_on(number, until.unwrap_or(retold.sent));
            }
        }
        Ok(())
    }

    /// Joins a subscription to the live stream behind what the tape had, if memory holds what lies in between.
    fn relieves(
        &mut self,
        session: &Arc<SessionHandle>,
        key: (Channel, InstrumentId),
        retold: Retold,
        batch: &mut Batch,
    ) -> Result<bool, JournalError> {
        let Retold { stream, terms, after, sent, .. } = retold;
        let missed = self.feed_of(stream).map_or(Missed::NotHeld, |feed| feed.missed(stream, sent));
        let messages = match missed {
            Missed::Held(messages) if bytes(&messages) <= session.resume_bytes_max => messages,
            _ => return Ok(false),
        };
        let seq = messages.iter().fold(sent, |seq, _| seq.next());
        messages.into_iter().for_each(|message| batch.send(session, message));
        batch.outputs.push(Output::Subscribe { stream, seq, terms, reader: session.number });
        self.subscriptions.end_retold(session.number, key);
        if let Some(recoveries) = &self.retellings.recoveries {
            recoveries.end(retold.number);
        }
        let (first, last) = (after.next().get(), seq.get());
        self.delivered(session, &[Delivered { stream, first, last }])?;
        Ok(true)
    }

    /// A session has ended: what was asked and read for it is let go, and what had left of that is recorded.
    pub(super) fn end_retelling(&mut self, session: &SessionHandle) -> Result<(), JournalError> {
        self.retellings.asking.remove(&session.number);
        let ranges: Vec<Delivered> =
            self.subscriptions.all_retold(session.number).filter_map(|retold| retold.delivered()).collect();
        self.delivered(session, &ranges)
    }
}
