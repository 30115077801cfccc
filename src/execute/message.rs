//! An execution report as its reader gets it: the same when it is told the first time and when a later run tells it from the log.

use sealfeed_wire::market::{CancelReason as WireReason, Exec, Fill, Liquidity, encode_exec};
use sealfeed_wire::{OrderType, Scaled, StreamHeader};

use super::{Cause, Report, is_canceled_by_name, is_replaced, is_taker, kind_of};
use crate::types::{
    CancelReason, Channel, Epoch, Execution, ExecutionKind, OrderKind, OwnerId, Price, Sequence, TimeInForce,
    UnixNanos,
};

/// Room that a report gets at first.
const BYTES_USUAL: usize = 512;

/// A report that a later run tells from the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportMessage {
    /// Whose.
    pub owner: OwnerId,
    /// Its number in the private stream.
    pub seq: Sequence,
    /// As it was sent, or would have been.
    pub text: Vec<u8>,
}

impl Report<'_> {
    /// The message in the private stream of the order's owner.
    #[must_use]
    pub fn encode(&self, execution: &Execution, cause: Cause, epoch: Epoch, at: UnixNanos) -> Vec<u8> {
        let header = StreamHeader {
            channel: Channel::Orders,
            symbol: self.instrument.symbol,
            epoch,
            seq: self.seq,
            prev_seq: Some(self.previous_seq),
            ts_event: at,
            ts_recv: at,
            ts_out: at,
            delayed_ms: None,
        };
        let mut text = Vec::with_capacity(BYTES_USUAL);
        encode_exec(&mut text, &self.to_exec(header, execution, cause));
        text
    }

    fn to_exec(&self, header: StreamHeader, execution: &Execution, cause: Cause) -> Exec {
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
            exec_id: header.seq.get().into(),
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
