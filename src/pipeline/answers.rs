//! Answers as they leave: the first one and its repetitions differ in nothing but the request's name and the state of the limits.

use sealfeed_audit::Receipt;
use sealfeed_wire::reply::{Encode, ErrorReply, OrderOutcome, OrderReply, RateLimit, Receipt as WireReceipt};
use sealfeed_wire::{EntryHash, LogId, RequestId};

use crate::execute::{Answer, Outcome};

/// What differs between the first answer and its repetition.
pub(super) struct Envelope {
    /// The request's name.
    pub(super) id: Option<RequestId>,
    /// State of the limits it was counted against.
    pub(super) rate_limits: [Option<RateLimit>; 2],
}

impl Envelope {
    /// Appends the reply as JSON, with the receipt.
    pub(super) fn encode(self, answer: &Answer, receipt: &Receipt, text: &mut Vec<u8>) {
        let receipt = Some(to_wire(receipt));
        let Self { id, rate_limits } = self;
        let rate_limits = rate_limits.into_iter().flatten().collect();
        let cl_ord_id = answer.client_order_id;
        if let Outcome::Refused(code) = answer.outcome {
            let cl_ord_id = Some(cl_ord_id);
            let refusal = ErrorReply { cl_ord_id, receipt, rate_limits, ..ErrorReply::new(id, code) };
            return refusal.encode(text);
        }
        let reply = OrderReply {
            id,
            cl_ord_id,
            orig_cl_ord_id: answer.target,
            order_id: answer.outcome.order().map(|order| order.0.into()),
            status: OrderOutcome::Accepted,
            receipt,
            rate_limits,
            canceled: match answer.outcome {
                Outcome::MassCanceled(count) => Some(count),
                Outcome::Accepted(_) | Outcome::Canceled(_) | Outcome::Refused(_) => None,
            },
        };
        reply.encode(text);
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
