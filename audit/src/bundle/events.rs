//! The few payloads of the server that a bundle is about, as far as a verifier has to read them.
//!
//! The log knows nothing of trading; this file alone reads what the server wrote: postcard, as `FORMAT.md` section 13 describes it.
//! Fields are only ever added behind those known here, under a new schema number.

/// A signed order message was taken.
pub(super) const ORDER: u16 = 266;
/// A session began.
pub(super) const CONNECT: u16 = 261;
/// An authentic order message that was refused.
pub(super) const ORDER_REFUSED: u16 = 267;
/// What happened to an order.
pub(super) const EXECUTION: u16 = 268;
/// The certificates that a client presented.
pub(super) const CERTIFICATE: u16 = 278;
/// Version of the payloads described here.
pub(super) const SCHEMA: u16 = 1;
/// Version of those of an order's life behind which fields came: a signature to `order` and `order_refused`, among others.
pub(super) const SCHEMA_OF_ORDERS: u16 = 2;

/// Version of `connect` behind whose fields came that are not looked at.
pub(super) const SCHEMA_OF_CONNECT: u16 = 2;

/// What a client signed, byte for byte, and with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signed<'a> {
    pub(super) op: &'a str,
    pub(super) ts: u64,
    pub(super) nonce: &'a [u8; 16],
    pub(super) body: &'a str,
    /// By the certificate's key, if there is one.
    pub(super) signature: Option<&'a [u8; 64]>,
}

/// Of an `order` entry: who asked for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order<'a> {
    pub(super) principal: &'a str,
    pub(super) order_id: u64,
    pub(super) signed: Signed<'a>,
}

/// Of an `order_refused` entry: who asked for what, and the code of the refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OrderRefused<'a> {
    pub(super) principal: &'a str,
    pub(super) code: &'a str,
    pub(super) signed: Signed<'a>,
}

/// Of a `connect` entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Connect<'a> {
    pub(super) address: &'a str,
    pub(super) principal: &'a str,
    /// SHA-256 of the client's certificate, hex.
    pub(super) certificate: &'a str,
}

/// A `certificate` entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Certificate<'a> {
    /// SHA-256 of the first of the chain, hex.
    pub(super) sha256: &'a str,
    pub(super) chain: Vec<&'a [u8]>,
    pub(super) left_out: u64,
}

pub(super) fn order(payload: &[u8], schema: u16) -> Option<Order<'_>> {
    let mut fields = Fields(payload);
    let (principal, op, order_id) = (fields.text()?, fields.text()?, fields.number()?);
    let (ts, nonce, body) = fields.as_signed()?;
    // Received and admitted.
    fields.number()?;
    fields.number()?;
    let mut signature = None;
    if schema == SCHEMA_OF_ORDERS {
        signature = fields.signature()?;
        // What happens at a disconnect.
        fields.number()?;
    }
    fields.end(Order { principal, order_id, signed: Signed { op, ts, nonce, body, signature } })
}

pub(super) fn connect(payload: &[u8], schema: u16) -> Option<Connect<'_>> {
    let mut fields = Fields(payload);
    let (address, principal, _serial, certificate) =
        (fields.text()?, fields.text()?, fields.text()?, fields.text()?);
    // User agent and sub-protocol.
    fields.text()?;
    fields.text()?;
    let connect = Connect { address, principal, certificate };
    match schema {
        SCHEMA => fields.end(connect),
        // What came behind is for the bill.
        SCHEMA_OF_CONNECT => Some(connect),
        _ => None,
    }
}

pub(super) fn certificate(payload: &[u8]) -> Option<Certificate<'_>> {
    let mut fields = Fields(payload);
    let (sha256, count) = (fields.text()?, fields.number()?);
    // Each takes a byte at least, so a count that lies is found at the end of the payload.
    let chain = (0..count).map_while(|_| fields.bytes()).collect::<Vec<_>>();
    let left_out = fields.number()?;
    let whole = u64::try_from(chain.len()) == Ok(count);
    fields.end(Certificate { sha256, chain, left_out }).filter(|_| whole)
}

/// Of an `execution` entry: whose order, and what happened, such as `fill`.
pub(super) fn execution(payload: &[u8]) -> Option<(&str, &str)> {
    let mut fields = Fields(payload);
    let principal = fields.text()?;
    // The client's name, the venue's, the symbol.
    fields.text()?;
    fields.number()?;
    fields.text()?;
    Some((principal, fields.text()?))
}

pub(super) fn order_refused(payload: &[u8], schema: u16) -> Option<OrderRefused<'_>> {
    let mut fields = Fields(payload);
    let (principal, op, code) = (fields.text()?, fields.text()?, fields.text()?);
    let (ts, nonce, body) = fields.as_signed()?;
    // Received.
    fields.number()?;
    let mut signature = None;
    if schema == SCHEMA_OF_ORDERS {
        signature = fields.signature()?;
        // Whether it is the final answer.
        fields.number()?;
    }
    fields.end(OrderRefused { principal, code, signed: Signed { op, ts, nonce, body, signature } })
}

/// What is left of a payload.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// Seven bits a byte, least first, the highest bit where more follow.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let [byte] = *self.take(1)? else { return None };
            let bits = u64::from(byte & 0x7f);
            number |= bits << shift;
            if (bits << shift) >> shift != bits {
                return None;
            }
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        self.take(length)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// Time, nonce and body as signed; the MAC between them is skipped, for nobody but client and server can check it.
    fn as_signed(&mut self) -> Option<(u64, &'a [u8; 16], &'a str)> {
        let (ts, nonce) = (self.number()?, self.take(16)?.try_into().ok()?);
        self.take(32)?;
        Some((ts, nonce, self.text()?))
    }

    /// 64 bytes or none; `None` for any other number of them.
    fn signature(&mut self) -> Option<Option<&'a [u8; 64]>> {
        match self.bytes()? {
            [] => Some(None),
            bytes => bytes.try_into().ok().map(Some),
        }
    }

    fn end<T>(&self, value: T) -> Option<T> {
        self.0.is_empty().then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_of_every_length_are_read_and_overlong_ones_are_not() {
        for (bytes, expected) in [
            (&[0u8][..], Some(0)),
            (&[0x7f], Some(127)),
            (&[0x80, 1], Some(128)),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], Some(u64::MAX)),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2], None),
            (&[0x80; 11], None),
            (&[0x80], None),
        ] {
            assert_eq!(Fields(bytes).number(), expected, "{bytes:x?}");
        }
    }

    proptest! {
        #[test]
        fn no_payload_makes_a_reader_panic_or_reserve_memory(payload in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (order(&payload, 1), order(&payload, 2), order_refused(&payload, 1), order_refused(&payload, 2));
            let _ = (connect(&payload, 1), connect(&payload, 2), certificate(&payload), execution(&payload));
        }
    }
}
