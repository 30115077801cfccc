//! What the venue reports, turned into sealed entries, execution reports and market data.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use sealfeed_wire::market::{Heartbeat, encode_heartbeat};
use sealfeed_wire::reply::{Subscribed, SubscribedStream};
use sealfeed_wire::{Conflation, OnSlow, RequestId, StreamKey, StreamSymbol, Subscribe};

use super::SessionHandle;
use super::answers::encoded;
use super::batch::Batch;
use super::core::Core;
use super::resume::{Recovery, gap, recover};
use crate::execute::{Cause, Engine, ReportMessage};
use crate::feed::{Missed, Ring, RingBounds, RingBudget};
use crate::journal::{JournalError, event};
use crate::types::{Channel, Code, Epoch, Execution, MarketEvent, OwnerId, TimeArithmetic as _, UnixNanos};
use crate::venue::VenueEvent;

/// Private streams: one gap-free sequence of execution reports for each principal.
///
/// Kept for resumption like public ones: while somebody reads, and for a while after that, in a budget of their own.
pub(super) struct Reports {
    heartbeat_ns: u64,
    streams: HashMap<OwnerId, PrivateStream>,
    rings: RingBudget,
}

#[derive(Default)]
struct PrivateStream {
    last_sent: UnixNanos,
    readers: Vec<Arc<SessionHandle>>,
    /// There as long as reports are encoded.
    ring: Option<Ring>,
    /// When the last reader left.
    left_at: UnixNanos,
}

impl Reports {
    pub(super) fn new(heartbeat_ns: u64, rings: RingBounds) -> Self {
        Self { heartbeat_ns, streams: HashMap::new(), rings: RingBudget::new(rings) }
    }

    /// Takes over what a run before told: kept as if its last reader had left at `now`.
    pub(super) fn take_over(&mut self, told: impl IntoIterator<Item = ReportMessage>, now: UnixNanos) {
        for ReportMessage { owner, text, .. } in told {
            let stream = self.streams.entry(owner).or_default();
            stream.left_at = now;
            stream.ring.get_or_insert_default().push(&text.into(), &mut self.rings);
        }
    }

    /// Ends a session's subscription; whether there was one.
    pub(super) fn unsubscribe(&mut self, session: &SessionHandle, now: UnixNanos) -> bool {
        let mut ended = false;
        for stream in self.streams.values_mut() {
            let before = stream.readers.len();
            stream.readers.retain(|reader| reader.number != session.number);
            if stream.readers.len() < before {
                stream.left_at = now;
                ended = true;
            }
        }
        ended
    }

    /// Forgets a session that has ended.
    pub(super) fn forget(&mut self, session: &SessionHandle, now: UnixNanos) {
        self.unsubscribe(session, now);
    }

    /// Sends heartbeats on streams that have readers and were idle, and keeps no longer what nobody has read for long.
    pub(super) fn heartbeats(&mut self, engine: &Engine, now: UnixNanos, batch: &mut Batch) {
        for (owner, stream) in &mut self.streams {
            if stream.readers.is_empty()
                && now.since(stream.left_at) >= self.rings.keep_ns()
                && let Some(mut ring) = stream.ring.take()
            {
                ring.clear(&mut self.rings);
            }
            if stream.readers.is_empty() || now.since(stream.last_sent) < self.heartbeat_ns {
                continue;
            }
            stream.last_sent = now;
            let mut message = Vec::with_capacity(128);
            let heartbeat =
                Heartbeat { stream: key(engine.epoch()), seq: engine.last_report(*owner), ts: now };
            encode_heartbeat(&mut message, &heartbeat);
            stream.send(&message.into(), batch);
        }
    }
}

const fn key(epoch: Epoch) -> StreamKey {
    StreamKey { channel: Channel::Orders, symbol: StreamSymbol::All, epoch, delayed_ms: None }
}

impl PrivateStream {
    fn send(&self, message: &Bytes, batch: &mut Batch) {
        for reader in &self.readers {
            batch.send(&reader.queue, message.clone());
        }
    }
}

impl Core {
    /// Records and publishes what the venue did.
    pub(super) fn report(
        &mut self,
        events: &[VenueEvent],
        cause: Cause,
        now: UnixNanos,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        for event in events {
            match event {
                VenueEvent::Execution(execution) => self.report_execution(execution, cause, now, batch)?,
                VenueEvent::Market { instrument, kind, last } => {
                    let event = MarketEvent {
                        instrument: *instrument,
                        ts_event: now,
                        ts_recv: now,
                        last: *last,
                        kind: *kind,
                    };
                    self.publish(&event, now, batch);
                }
            }
        }
        Ok(())
    }

    fn report_execution(
        &mut self,
        execution: &Execution,
        cause: Cause,
        now: UnixNanos,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        let epoch = self.engine.epoch();
        // Members of the synthetic market read no reports; a re-execution of their sealed inputs brings them back.
        let Some((event, report)) = self.engine.report(execution, cause) else { return Ok(()) };
        batch.depends_on(self.journal.record_of_order(&mut report.record.trail, None, event)?);
        let Reports { streams, rings, .. } = &mut self.reports;
        let stream = streams.entry(execution.owner).or_default();
        stream.last_sent = now;
        if let Some(ring) = &mut stream.ring {
            let text = report.encode(execution, cause, epoch, now);
            let message = Bytes::copy_from_slice(&text);
            ring.push(&message, rings);
            stream.send(&message, batch);
        }
        Ok(())
    }

    pub(super) fn subscribe_to_reports(
        &mut self,
        session: &Arc<SessionHandle>,
        id: Option<RequestId>,
        request: &Subscribe,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        if session.entitlement().orders.is_none() {
            let code = Code::SubChannelNotEntitled;
            return self.reject(session, id, "subscribe", code, request.channel.as_str(), batch);
        }
        let owner = self.owner(&session.principal)?;
        let stream = self.reports.streams.entry(owner).or_default();
        if !stream.readers.iter().any(|reader| reader.number == session.number) {
            stream.readers.push(Arc::clone(session));
        }
        stream.ring.get_or_insert_default();
        let (at, epoch) = (self.engine.last_report(owner), self.engine.epoch());
        let resume = request.resume.first().map(|(_, point)| *point);
        let room = session.resume_bytes_max;
        let ring = &self.reports.streams[&owner].ring;
        let missed = |after| ring.as_ref().map_or(Missed::NotHeld, |ring| ring.missed(after, at));
        let resumed = resume.map(|point| recover(point, epoch, at, missed, room));
        let recovery = Recovery::of(resumed.as_ref());
        let stream = SubscribedStream {
            epoch,
            seq: at,
            recovered: recovery.recovered,
            reason: recovery.reason.map(Into::into),
            price_decimals: None,
            qty_decimals: None,
            tick: None,
            lot: None,
            delayed_ms: None,
            paper: false,
        };
        let reply = Subscribed {
            id,
            channel: request.channel,
            depth: None,
            conflate_ms: Conflation::Off,
            on_slow: OnSlow::Disconnect,
            symbols: [(StreamSymbol::All, stream)].into(),
            refused: std::collections::BTreeMap::new(),
        };
        let event = event::Subscribe {
            principal: session.principal.to_string(),
            channel: request.channel.as_str().to_owned(),
            depth: 0,
            granted: vec![StreamSymbol::All.to_string()],
            refused: Vec::new(),
        };
        batch.depends_on(self.journal.record_in(&session.trail, event)?);
        batch.send(&session.queue, encoded(&reply));
        match (resume, resumed) {
            (_, Some(Ok(missed))) => {
                missed.into_iter().for_each(|message| batch.send(&session.queue, message))
            }
            (Some(point), Some(Err(_))) => {
                let lost = gap(key(epoch), point, at);
                lost.into_iter().for_each(|message| batch.send(&session.queue, message));
            }
            _ => {}
        }
        Ok(())
    }
}
