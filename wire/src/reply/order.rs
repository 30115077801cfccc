//! The answer to an order into JSON bytes: of all that a server says to one client alone it says this most.

use super::{Encode, OrderOutcome, OrderReply, RateLimit, sealed};
use crate::decimal::write_integer;
use crate::ident::{ClientOrderId, OrderId};
use crate::market::{write_receipt, write_text, write_text_or_null};
use crate::value::RequestId;

impl sealed::Sealed for OrderReply {}

impl Encode for OrderReply {
    /// The same bytes as its `Serialize` makes.
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"type\":\"order\",\"id\":");
        match &self.id {
            Some(RequestId::Integer(number)) => {
                if *number < 0 {
                    out.push(b'-');
                }
                write_integer(out, number.unsigned_abs());
            }
            Some(RequestId::Text(text)) => write_escaped(out, text),
            None => out.extend_from_slice(b"null"),
        }
        write_text(out, b",\"cl_ord_id\":\"", self.cl_ord_id.as_bytes());
        if let Some(original) = &self.orig_cl_ord_id {
            write_text(out, b",\"orig_cl_ord_id\":\"", ClientOrderId::as_bytes(original));
        }
        out.extend_from_slice(b",\"order_id\":");
        write_text_or_null(out, self.order_id.as_ref().map(OrderId::as_bytes));
        let status: &[u8] = match self.status {
            OrderOutcome::Accepted => b"accepted",
            OrderOutcome::Rejected => b"rejected",
            OrderOutcome::Unknown => b"unknown",
        };
        write_text(out, b",\"status\":\"", status);
        match &self.receipt {
            Some(receipt) => write_receipt(out, receipt),
            None => out.extend_from_slice(b",\"receipt\":null"),
        }
        out.extend_from_slice(b",\"rate_limits\":[");
        for (place, limit) in self.rate_limits.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            write_rate_limit(out, limit);
        }
        out.push(b']');
        if let Some(canceled) = self.canceled {
            out.extend_from_slice(b",\"canceled\":");
            write_integer(out, canceled.into());
        }
        out.push(b'}');
    }
}

fn write_rate_limit(out: &mut Vec<u8>, limit: &RateLimit) {
    out.extend_from_slice(b"{\"name\":");
    write_escaped(out, &limit.name);
    for (name, number) in [
        (&b",\"limit\":"[..], u64::from(limit.limit)),
        (b",\"interval_ms\":", limit.interval_ms),
        (b",\"used\":", limit.used.into()),
    ] {
        out.extend_from_slice(name);
        write_integer(out, number);
    }
    out.push(b'}');
}

fn write_escaped(out: &mut Vec<u8>, text: &str) {
    // Writing a text into a vector cannot fail.
    let written = serde_json::to_writer(out, text);
    debug_assert!(written.is_ok(), "{written:?}");
}

#[cfg(test)]
mod tests {
    use proptest::option;
    use proptest::prelude::*;

    use super::*;
    use crate::reply::Receipt;
    use crate::value::{EntryHash, LogId};

    fn id() -> impl Strategy<Value = Option<RequestId>> {
        let texts = "\\PC{0,36}".prop_filter_map("an id", |text| RequestId::text(text).ok());
        let numbers = (-9_007_199_254_740_991..=9_007_199_254_740_991_i64)
            .prop_filter_map("an id", |number| RequestId::integer(number).ok());
        option::of(prop_oneof![texts, numbers])
    }

    fn name() -> impl Strategy<Value = ClientOrderId> {
        "[A-Za-z0-9._:-]{1,36}".prop_filter_map("a name", |text| ClientOrderId::new(&text).ok())
    }

    proptest! {
        #[test]
        fn an_answer_is_written_as_its_fields_say(
            id in id(), cl_ord_id in name(), orig_cl_ord_id in option::of(name()), order_id: Option<u64>,
            status in prop::sample::select(vec![OrderOutcome::Accepted, OrderOutcome::Rejected, OrderOutcome::Unknown]),
            receipt: Option<([u8; 32], u64, [u8; 32])>, canceled: Option<u32>,
            limits in prop::collection::vec(("\\PC{0,8}", any::<u32>(), any::<u64>(), any::<u32>()), 0..4),
        ) {
            let receipt = receipt.map(|(log, seq, hash)| Receipt { log: LogId(log), seq, hash: EntryHash(hash) });
            let rate_limits = limits
                .into_iter()
                .map(|(name, limit, interval_ms, used)| RateLimit { name: name.into(), limit, interval_ms, used })
                .collect();
            let order_id = order_id.map(OrderId::from);
            let reply =
                OrderReply { id, cl_ord_id, orig_cl_ord_id, order_id, status, receipt, rate_limits, canceled };
            let mut written = Vec::new();
            reply.encode(&mut written);
            prop_assert_eq!(String::from_utf8(written).unwrap(), serde_json::to_string(&reply).unwrap());
        }
    }
}
