//! What clients and the server say to each other: requests, signed bodies, and, on the client's side, the server's messages.

use sealfeed::gate::{DecodedBody, decode as decode_body};
use sealfeed_wire::request::{Op, parse};
use sealfeed_wire::{Quantity, Sequence, ServerMessage, SignedOp};

use crate::printable::assert_printable;

/// A field's name and a few words; longer ones are cut by the reader.
const DETAIL_BYTES_MAX: usize = 256;

pub(crate) fn request(bytes: &[u8]) {
    let Ok(frame) = std::str::from_utf8(bytes) else { return };
    match parse(frame) {
        Ok(request) => {
            if let Op::Signed(signed) = &request.op {
                assert!(frame.contains(signed.body), "the body is a part of the frame");
                assert!(signed.body.starts_with('{') && signed.body.ends_with('}'));
                assert!(signed.proof.mac.is_some() || signed.proof.sig.is_some());
            }
            let text = request.encode();
            assert_eq!(parse(&text).as_ref(), Ok(&request), "{text}");
        }
        Err(error) => assert_printable(&error.detail, DETAIL_BYTES_MAX),
    }
}

pub(crate) fn signed_body(bytes: &[u8]) {
    let Some((op, body)) = bytes.split_first() else { return };
    let Ok(body) = std::str::from_utf8(body) else { return };
    let op = SignedOp::ALL[usize::from(*op) % SignedOp::ALL.len()];
    let decoded = match decode_body(op, body) {
        Ok(decoded) => decoded,
        Err(error) => {
            assert_printable(&error.detail, DETAIL_BYTES_MAX);
            return;
        }
    };
    let again = match &decoded {
        DecodedBody::New(order) => {
            assert!(order.quantity.value != Quantity::ZERO, "an order of nothing");
            order.encode()
        }
        DecodedBody::Cancel(cancel) => cancel.encode(),
        DecodedBody::Replace(replace) => {
            assert!(replace.quantity.is_some() || replace.price.is_some(), "a replace of nothing");
            assert_ne!(replace.cl_ord_id, replace.orig_cl_ord_id);
            replace.encode()
        }
        DecodedBody::MassCancel(cancel) => cancel.encode(),
        DecodedBody::DeadMan(timer) => timer.encode(),
        DecodedBody::Kill(kill) => kill.encode(),
        DecodedBody::Trading(trading) => trading.encode(),
        DecodedBody::Reload(reload) => reload.encode(),
        // Publishers are no clients of ours: nothing here writes what they send.
        DecodedBody::Publish(publish) => {
            assert!(publish.pub_seq != Sequence::ZERO && !publish.messages.is_empty());
            return;
        }
    };
    assert_eq!(decode_body(op, &again).as_ref(), Ok(&decoded), "{again}");
}

/// What the client reads of a server, which may be none of ours. A type that stands in front is read without a pass over the
/// text: both ways have to come to the same.
pub(crate) fn server_message(bytes: &[u8]) {
    let Ok(frame) = std::str::from_utf8(bytes) else { return };
    let (Ok(message), Some(rest)) = (ServerMessage::decode(frame), frame.strip_prefix('{')) else { return };
    if let Ok(slowly) = ServerMessage::decode(&format!("{{ {rest}")) {
        assert_eq!(format!("{message:?}"), format!("{slowly:?}"));
    }
}

/// What the client has subscribed to before the records come.
const SUBSCRIBED: [&str; 4] = [
    r#"{"type":"subscribed","id":1,"channel":"trades","depth":null,"conflate_ms":0,"on_slow":"disconnect","symbols":{"X":{"epoch":"000000000000001f","seq":0,"recovered":null,"reason":null,"price_decimals":2,"qty_decimals":0}},"refused":{}}"#,
    r#"{"type":"subscribed","id":2,"channel":"book","depth":10,"conflate_ms":0,"on_slow":"disconnect","symbols":{"X":{"epoch":"000000000000001f","seq":0,"recovered":null,"reason":null,"price_decimals":2,"qty_decimals":0}},"refused":{}}"#,
    r#"{"type":"subscribed","id":3,"channel":"mbo","depth":null,"conflate_ms":0,"on_slow":"disconnect","symbols":{"X":{"epoch":"000000000000001f","seq":0,"recovered":null,"reason":null,"price_decimals":2,"qty_decimals":0}},"refused":{}}"#,
    r#"{"type":"subscribed","id":4,"channel":"bbo","depth":null,"conflate_ms":0,"on_slow":"disconnect","symbols":{"X":{"epoch":"000000000000001f","seq":0,"recovered":null,"reason":null,"price_decimals":2,"qty_decimals":0}},"refused":{}}"#,
];

/// Binary frames of a server, each with its length in two bytes in front: the header, then records.
pub(crate) fn client_records(mut bytes: &[u8]) {
    let mut frames = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
        let (frame, after) = rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()));
        frames.push(frame);
        bytes = after;
    }
    let (messages, error) = sealfeed_client::fuzzing::records(&SUBSCRIBED, &frames);
    // No record is shorter than its head of sixteen bytes.
    assert!(messages <= frames.iter().map(|frame| frame.len() / 16).sum());
    if let Some(error) = error {
        assert_printable(&error, DETAIL_BYTES_MAX);
    }
}
