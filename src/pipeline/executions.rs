//! What the venue reports, turned into sealed entries, execution reports and market data.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use sealfeed_wire::market::{Exec, Fill, Heartbeat, Liquidity, encode_exec, encode_heartbeat};
use sealfeed_wire::reply::{Subscribed, SubscribedStream};
use sealfeed_wire::{
    Conflation, OnSlow, OrderType, RequestId, Scaled, StreamHeader, StreamKey, StreamSymbol, Subscribe,
};

use super::SessionHandle;
use super::answers::encoded;
use super::batch::Batch;
use super::core::Core;
use super::resume::{Recovery, gap, recover};
use crate::execute::{Engine, OrderRecord, Report, kind_of};
use crate::feed::{Missed, Ring, RingBounds, RingBudget};
use crate::journal::{JournalError, event};
use crate::types::{
    Channel, ClientOrderId, Code, Epoch, Execution, ExecutionKind, Instrument, MarketEvent, OrderId,
    OrderKind, OwnerId, Price, TimeArithmetic as _, TimeInForce, UnixNanos,
};
use crate::venue::VenueEvent;

/// Room that an execution report gets at first.
const EXEC_BYTES_USUAL: usize = 512;

/// Private streams: one gap-free sequence of execution reports for each principal.
///
/// Kept for resumption like public ones: while somebody reads, and for a while after that, in a budget of their own.
pub(super) struct Reports {
    epoch: Epoch,
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
    pub(super) fn new(epoch: Epoch, heartbeat_ns: u64, rings: RingBounds) -> Self {
        Self { epoch, heartbeat_ns, streams: HashMap::new(), rings: RingBudget::new(rings) }
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
            let heartbeat = Heartbeat { stream: key(self.epoch), seq: engine.last_report(*owner), ts: now };
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

/// Which message made the venue act.
#[derive(Clone, Copy, Default)]
pub(super) struct Cause {
    /// The order that came in: its fills took liquidity, all others gave it.
    pub(super) taker: Option<OrderId>,
    /// The client's name of the cancel.
    pub(super) cancel: Option<ClientOrderId>,
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
        // Members of the synthetic market read no reports; a re-execution of their sealed inputs brings them back.
        let Some(report) = self.engine.report(execution) else { return Ok(()) };
        let Report { event, record, instrument, seq, previous_seq } = report;
        batch.depends_on(self.journal.record_of_order(&mut record.trail, None, event)?);
        let Reports { epoch, streams, rings, .. } = &mut self.reports;
        let stream = streams.entry(execution.owner).or_default();
        stream.last_sent = now;
        if let Some(ring) = &mut stream.ring {
            let header = StreamHeader {
                channel: Channel::Orders,
                symbol: instrument.symbol,
                epoch: *epoch,
                seq,
                prev_seq: Some(previous_seq),
                ts_event: now,
                ts_recv: now,
                ts_out: now,
                delayed_ms: None,
            };
            let mut text = Vec::with_capacity(EXEC_BYTES_USUAL);
            encode_exec(&mut text, &to_wire(header, execution, cause, record, instrument));
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
        let (at, epoch) = (self.engine.last_report(owner), self.reports.epoch);
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

fn to_wire(
    header: StreamHeader,
    execution: &Execution,
    cause: Cause,
    record: &OrderRecord,
    instrument: &Instrument,
) -> Exec {
    let decimals = instrument.decimals;
    let price = |price: Price| Scaled::new(price, decimals.price);
    let quantity = |quantity| Scaled::new(quantity, decimals.quantity);
    let (order_type, limit) = match record.kind {
        OrderKind::Limit(limit) => (OrderType::Limit, Some(price(limit))),
        OrderKind::Market => (OrderType::Market, None),
    };
    let fill = match execution.kind {
        ExecutionKind::Fill { price: at, quantity: filled, trade_id } => Some(Fill {
            price: price(at),
            quantity: quantity(filled),
            trade_id: trade_id.into(),
            liquidity: if cause.taker == Some(execution.order) { Liquidity::Taker } else { Liquidity::Maker },
        }),
        ExecutionKind::New
        | ExecutionKind::Canceled { .. }
        | ExecutionKind::Replaced { .. }
        | ExecutionKind::Expired => None,
    };
    Exec {
        header,
        exec: kind_of(execution),
        exec_id: header.seq.get().into(),
        cl_ord_id: record.client_order_id,
        cancel_cl_ord_id: cause.cancel,
        order_id: execution.order.0.into(),
        side: execution.side,
        order_type,
        time_in_force: match record.time_in_force {
            TimeInForce::Day => sealfeed_wire::TimeInForce::Day,
            TimeInForce::GoodTillCancel => sealfeed_wire::TimeInForce::Gtc,
            TimeInForce::ImmediateOrCancel => sealfeed_wire::TimeInForce::Ioc,
            TimeInForce::FillOrKill => sealfeed_wire::TimeInForce::Fok,
        },
        quantity: quantity(record.quantity),
        price: limit,
        fill,
        leaves_quantity: quantity(execution.leaves),
        cumulative_quantity: quantity(execution.cumulative),
        average_price: record.average_price(),
        reason: None,
        receipt: None,
        cancel_reason: None,
        replace_cl_ord_id: None,
    }
}
