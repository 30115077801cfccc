//! An execution report as its readers get it: the owner of the order, and those who read the drop copy of the owner's firm. The same when it
//! is told the first time and when a later run tells it from the log.

use std::sync::Arc;

use sealfeed_wire::market::{CancelReason as WireReason, Exec, Fill, Liquidity, encode_exec};
use sealfeed_wire::{OrderType, Scaled, StreamHeader};

use super::{Cause, Report, is_canceled_by_name, is_replaced, is_taker, kind_of};
use crate::types::{
    CancelReason, Channel, Epoch, Execution, ExecutionKind, OrderKind, OwnerId, Price, Sequence, TimeInForce,
    UnixNanos,
};

/// Room that a report gets at first.
const BYTES_USUAL: usize = 512;

/// Whose reports a private stream has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReportStream {
    /// Those of one principal: channel `orders`.
    Owner(OwnerId),
    /// Those of all principals of a firm: channel `drop_copy`.
    Firm(Arc<str>),
}

/// A report that a later run tells from the log, in one of its streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportMessage {
    /// In which stream.
    pub stream: ReportStream,
    /// Its number there.
    pub seq: Sequence,
    /// As it was sent, or would have been.
    pub text: Vec<u8>,
}

impl Report<'_> {
    /// The message in the stream of the order's owner.
    #[must_use]
    pub fn encode(&self, execution: &Execution, cause: Cause, epoch: Epoch, at: UnixNanos) -> Vec<u8> {
        let header = self.header((Channel::Orders, self.seq, self.previous_seq), epoch, at);
        self.write(header, None, execution, cause)
    }

    /// The message in the stream of the owner's firm, which says whose order it is.
    #[must_use]
    pub fn encode_copy(&self, execution: &Execution, cause: Cause, epoch: Epoch, at: UnixNanos) -> Vec<u8> {
        let header = self.header((Channel::DropCopy, self.firm_seq, self.firm_previous_seq), epoch, at);
        self.write(header, Some(self.principal.to_string().into()), execution, cause)
    }

    fn header(
        &self,
        (channel, seq, previous): (Channel, Sequence, Sequence),
        epoch: Epoch,
        at: UnixNanos,
    ) -> StreamHeader {
        StreamHeader {
            channel,
            symbol: self.instrument.symbol,
            epoch,
            seq,
            prev_seq: Some(previous),
            ts_event: at,
            ts_recv: at,
            ts_out: at,
            delayed_ms: None,
        }
    }

    fn write(
        &self,
        header: StreamHeader,
        principal: Option<Box<str>>,
        execution: &Execution,
        cause: Cause,
    ) -> Vec<u8> {
        let mut text = Vec::with_capacity(BYTES_USUAL);
        encode_exec(&mut text, &self.to_exec(header, principal, execution, cause));
        text
    }

    fn to_exec(
        &self,
        header: StreamHeader,
        principal: Option<Box<str>>,
        execution: &Execution,
        cause: Cause,
    ) -> Exec {
        let (record, decimals) = (&self.record, self.instrument.decimals);
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
                liquidity: if is_taker(execution, cause) { Liquidity::Taker } else { Liquidity::Maker },
            }),
            ExecutionKind::New
            | ExecutionKind::Canceled { .. }
            | ExecutionKind::Replaced { .. }
            | ExecutionKind::Expired => None,
        };
        Exec {
            header,
            exec: kind_of(execution),
            exec_id: self.seq.get().into(),
            cl_ord_id: record.client_order_id,
            cancel_cl_ord_id: cause.name.filter(|_| is_canceled_by_name(execution)),
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
            cancel_reason: match execution.kind {
                ExecutionKind::Canceled { reason } => Some(to_wire(reason)),
                _ => None,
            },
            replace_cl_ord_id: cause.name.filter(|_| is_replaced(execution)),
            principal,
        }
    }
}

const fn to_wire(reason: CancelReason) -> WireReason {
    match reason {
        CancelReason::Requested => WireReason::Requested,
        CancelReason::MassCancel => WireReason::MassCancel,
        CancelReason::SelfTrade => WireReason::SelfTrade,
        CancelReason::Replaced => WireReason::Replaced,
        CancelReason::Disconnect => WireReason::Disconnect,
        CancelReason::DeadMan => WireReason::DeadMan,
        CancelReason::Kill => WireReason::Kill,
        CancelReason::Operator => WireReason::Operator,
        CancelReason::Revoked => WireReason::Revoked,
        CancelReason::Restart => WireReason::Restart,
    }
}
