//! First answers to orders, remembered so that a repeated order gets the same one.
//!
//! A client order identifier is bound by its first final answer for the trading day (UTC). Bounded: at
//! `orders.client_order_ids_max` answers in all, new identifiers are refused until the day ends.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use sealfeed_audit::Receipt;
use sealfeed_wire::reply::{Encode, ErrorReply, OrderOutcome, OrderReply, RateLimit, Receipt as WireReceipt};
use sealfeed_wire::{EntryHash, LogId, RequestId};

use crate::types::{ClientOrderId, Code, OrderId, OwnerId};

/// The first final answer to an order message.
pub(super) struct Answer {
    /// The client's name for the message.
    pub(super) client_order_id: ClientOrderId,
    /// The order it cancels, by the client's name; `None` for a new order.
    pub(super) cancels: Option<ClientOrderId>,
    /// SHA-256 over operation and body: another body under the same name is refused.
    pub(super) digest: [u8; 32],
    /// What was decided.
    pub(super) outcome: Outcome,
    /// The entry it stands on.
    pub(super) entry: u64,
    /// The proof of that entry, once it is durable.
    pub(super) receipt: OnceLock<Receipt>,
}

/// A final decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The venue took it.
    Accepted(OrderId),
    /// It was refused for good.
    Refused(Code),
}

/// What differs between the first answer and its repetition.
pub(super) struct Envelope {
    /// The request's name.
    pub(super) id: Option<RequestId>,
    /// State of the limits it was counted against.
    pub(super) rate_limits: Vec<RateLimit>,
}

impl Answer {
    /// The reply as JSON, with the receipt.
    pub(super) fn encode(&self, envelope: Envelope, receipt: &Receipt) -> Vec<u8> {
        let receipt = Some(to_wire(receipt));
        let Envelope { id, rate_limits } = envelope;
        match self.outcome {
            Outcome::Accepted(order) => encoded(&OrderReply {
                id,
                cl_ord_id: self.client_order_id,
                orig_cl_ord_id: self.cancels,
                order_id: Some(order.0.into()),
                status: OrderOutcome::Accepted,
                receipt,
                rate_limits,
                canceled: None,
            }),
            Outcome::Refused(code) => {
                let cl_ord_id = Some(self.client_order_id);
                encoded(&ErrorReply { cl_ord_id, receipt, rate_limits, ..ErrorReply::new(id, code) })
            }
        }
    }
}

/// A receipt in the form of the wire.
pub(super) const fn to_wire(receipt: &Receipt) -> WireReceipt {
    WireReceipt { log: LogId(receipt.log_id), seq: receipt.seq, hash: EntryHash(receipt.hash) }
}

/// A message of the server as JSON text.
pub(super) fn encoded(message: &impl Encode) -> Vec<u8> {
    let mut text = Vec::with_capacity(512);
    message.encode(&mut text);
    text
}

/// All answers of the day.
#[derive(Default)]
pub(super) struct Answers {
    by_name: HashMap<(OwnerId, ClientOrderId), Arc<Answer>>,
}

impl Answers {
    pub(super) fn find(&self, owner: OwnerId, name: ClientOrderId) -> Option<&Arc<Answer>> {
        self.by_name.get(&(owner, name))
    }

    pub(super) fn bind(&mut self, owner: OwnerId, answer: Answer) -> Arc<Answer> {
        let answer = Arc::new(answer);
        self.by_name.insert((owner, answer.client_order_id), Arc::clone(&answer));
        answer
    }

    pub(super) fn count(&self) -> usize {
        self.by_name.len()
    }

    /// Forgets every answer whose order `is_open` does not hold.
    pub(super) fn end_day(&mut self, is_open: impl Fn(OrderId) -> bool) {
        self.by_name.retain(|_, answer| matches!(answer.outcome, Outcome::Accepted(order) if is_open(order)));
    }
}
