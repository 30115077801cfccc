//! What the venue reports, turned into sealed entries, execution reports and market data.

use std::collections::HashMap;
use std::sync::Arc;

use sealfeed_wire::market::{Exec, Fill, Heartbeat, Liquidity, encode_exec, encode_heartbeat};
use sealfeed_wire::reply::{Subscribed, SubscribedStream};
use sealfeed_wire::{
    Conflation, OnSlow, OrderType, RequestId, Scaled, StreamHeader, StreamKey, StreamSymbol, Subscribe,
};

use super::SessionHandle;
use super::answers::encoded;
use super::batch::Batch;
use super::core::Core;
use super::subscriptions::{Recovery, gap, recovery};
use crate::execute::{Engine, OrderRecord, Report, kind_of};
use crate::journal::{JournalError, event};
use crate::types::{
    Channel, ClientOrderId, Code, Epoch, Execution, ExecutionKind, Instrument, MarketEvent, OrderId,
    OrderKind, OwnerId, Price, TimeArithmetic as _, TimeInForce, UnixNanos,
};
use crate::venue::VenueEvent;

/// Private streams: one gap-free sequence of execution reports for each principal.
pub(super) struct Reports {
    epoch: Epoch,
    heartbeat_ns: u64,
    streams: HashMap<OwnerId, PrivateStream>,
}

#[derive(Default)]
struct PrivateStream {
    last_sent: UnixNanos,
    readers: Vec<Arc<SessionHandle>>,
}

impl Reports {
    pub(super) fn new(epoch: Epoch, heartbeat_ns: u64) -> Self {
        Self { epoch, heartbeat_ns, streams: HashMap::new() }
    }

    /// Ends a session's subscription; whether there was one.
    pub(super) fn unsubscribe(&mut self, session: &SessionHandle) -> bool {
        let mut ended = false;
        for stream in self.streams.values_mut() {
            let before = stream.readers.len();
            stream.readers.retain(|reader| reader.number != session.number);
            ended |= stream.readers.len() < before;
        }
        ended
    }

    /// Forgets a session that has ended.
    pub(super) fn forget(&mut self, session: &SessionHandle) {
        self.unsubscribe(session);
    }

    /// Sends heartbeats on streams that have readers and were idle.
    pub(super) fn heartbeats(&mut self, engine: &Engine, now: UnixNanos, batch: &mut Batch) {
        for (owner, stream) in &mut self.streams {
            if stream.readers.is_empty() || now.since(stream.last_sent) < self.heartbeat_ns {
                continue;
            }
            stream.last_sent = now;
            let mut message = Vec::with_capacity(128);
            let heartbeat = Heartbeat { stream: key(self.epoch), seq: engine.last_report(*owner), ts: now };
            encode_heartbeat(&mut message, &heartbeat);
            stream.send(message, batch);
        }
    }
}

const fn key(epoch: Epoch) -> StreamKey {
    StreamKey { channel: Channel::Orders, symbol: StreamSymbol::All, epoch, delayed_ms: None }
}

impl PrivateStream {
    fn send(&self, message: Vec<u8>, batch: &mut Batch) {
        let message = bytes::Bytes::from(message);
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
        let stream = self.reports.streams.entry(execution.owner).or_default();
        stream.last_sent = now;
        if !stream.readers.is_empty() {
            let header = StreamHeader {
                channel: Channel::Orders,
                symbol: instrument.symbol,
                epoch: self.reports.epoch,
                seq,
                prev_seq: Some(previous_seq),
                ts_event: now,
                ts_recv: now,
                ts_out: now,
                delayed_ms: None,
            };
            let mut message = Vec::with_capacity(512);
            encode_exec(&mut message, &to_wire(header, execution, cause, record, instrument));
            stream.send(message, batch);
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
        if session.entitlement.orders.is_none() {
            let code = Code::SubChannelNotEntitled;
            return self.reject(session, id, "subscribe", code, request.channel.as_str(), batch);
        }
        let owner = self.owner(&session.principal)?;
        let stream = self.reports.streams.entry(owner).or_default();
        if !stream.readers.iter().any(|reader| reader.number == session.number) {
            stream.readers.push(Arc::clone(session));
        }
        let at = self.engine.last_report(owner);
        let resume = request.resume.first().map(|(_, point)| *point);
        let recovery = Recovery::of(resume.map(|point| recovery(point, self.reports.epoch, at)));
        let stream = SubscribedStream {
            epoch: self.reports.epoch,
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
        if let (Some(point), Some(false)) = (resume, recovery.recovered) {
            let lost = gap(key(self.reports.epoch), point, at);
            lost.into_iter().for_each(|message| batch.send(&session.queue, message));
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
        ExecutionKind::New | ExecutionKind::Canceled | ExecutionKind::Expired => None,
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
        },
        quantity: quantity(record.quantity),
        price: limit,
        fill,
        leaves_quantity: quantity(execution.leaves),
        cumulative_quantity: quantity(execution.cumulative),
        average_price: record.average_price(),
        reason: None,
        receipt: None,
    }
}
