//! First answers to orders, remembered so that a repeated order gets the same one.
//!
//! A client order identifier is bound by its first final answer for the trading day (UTC). Bounded: at
//! `orders.client_order_ids_max` answers in all, new identifiers are refused until the day ends.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use sealfeed_audit::Receipt;
use sealfeed_wire::{ErrorReply, OrderReply, RateLimit, Receipt as WireReceipt, RequestId};

use crate::types::{ClientOrderId, Code, OrderId, OwnerId};

/// The first final answer to an order message.
pub(super) struct Answer {
    /// The client's name for the message.
    pub(super) client_order_id: ClientOrderId,
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
        let receipt = to_wire(receipt);
        match self.outcome {
            Outcome::Accepted(order) => {
                let reply = OrderReply::accepted(envelope.id, self.client_order_id, order.0, receipt);
                reply.with_rate_limits(envelope.rate_limits).to_json()
            }
            Outcome::Refused(code) => {
                let reply = ErrorReply::new(Some(envelope.id), code).of_order(self.client_order_id, receipt);
                reply.with_rate_limits(envelope.rate_limits).to_json()
            }
        }
    }
}

/// A receipt in the form of the wire.
pub(super) fn to_wire(receipt: &Receipt) -> WireReceipt {
    WireReceipt { log: receipt.log_id, seq: receipt.seq, hash: receipt.hash }
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
