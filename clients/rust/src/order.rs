//! Signed requests: what is signed, by what, and the three outcomes of an order.
//!
//! The bytes of a body are fixed once, in a [`PreparedOrder`]; every try signs the same bytes afresh (new time,
//! nonce and MAC). The server knows an order by its client order id and body, so sending it again returns the
//! first answer and trades nothing. Nothing here sends anything again by itself.

use std::sync::Arc;

use sealfeed_wire::body::{OrderCancel, OrderMassCancel, OrderNew, OrderReplace};
use sealfeed_wire::ident::{ClientOrderId, OrderId};
use sealfeed_wire::reply::{ErrorReply, Receipt};
use sealfeed_wire::request::{Proof, encode_signed};
use sealfeed_wire::signing::{KeyedMac, OrderKey, SessionMac, signing_string};
use sealfeed_wire::term::SignedOp;
use sealfeed_wire::value::{Nonce, RequestId, SessionId, UnixNanos};

use crate::error::RequestError;
use crate::signature::CertificateKey;

/// Signs requests for one connection and no other: with the order key, the certificate's key, or both. Never shows them.
#[derive(Clone, Debug)]
pub struct Signer {
    session: SessionId,
    mac: Option<SessionMac>,
    key: Option<Arc<CertificateKey>>,
}

impl Signer {
    /// Binds an order key to the session of one connection.
    #[must_use]
    pub fn new(key: &OrderKey, session: &SessionId) -> Self {
        Self { session: *session, mac: Some(KeyedMac::new(key).for_session(session)), key: None }
    }

    /// Binds the certificate's key, and an order key beside it if there is one, to the session of one connection.
    #[must_use]
    pub fn with_certificate_key(
        key: CertificateKey,
        order_key: Option<&OrderKey>,
        session: &SessionId,
    ) -> Self {
        let mac = order_key.map(|key| KeyedMac::new(key).for_session(session));
        Self { session: *session, mac, key: Some(Arc::new(key)) }
    }

    /// The whole message of a signed request, ready to be sent: `body` stands in it byte for byte as signed.
    ///
    /// Time and nonce are the caller's, so that tests can make stale, future and replayed messages.
    ///
    /// # Errors
    /// [`RequestError::RandomUnavailable`], if a signature needs random bytes and there are none.
    pub fn sign(
        &self,
        id: Option<RequestId>,
        op: SignedOp,
        ts: UnixNanos,
        nonce: Nonce,
        body: &str,
    ) -> Result<String, RequestError> {
        Ok(encode_signed(id, op, ts, nonce, self.proof(op, ts, nonce, body)?, body))
    }

    /// What proves it alone: MAC, signature or both. A signature by ECDSA is another one each time.
    ///
    /// # Errors
    /// As [`Signer::sign`].
    pub fn proof(
        &self,
        op: SignedOp,
        ts: UnixNanos,
        nonce: Nonce,
        body: &str,
    ) -> Result<Proof, RequestError> {
        let mac = self.mac.as_ref().map(|mac| mac.sign(ts, nonce, op, body));
        let text = || signing_string(&self.session, &ts.to_string(), &nonce.to_string(), op, body);
        let sig = self.key.as_ref().map(|key| key.sign(text().as_bytes())).transpose()?;
        Ok(Proof { mac, sig })
    }
}

/// 128 fresh random bits from the operating system's generator.
///
/// # Errors
/// [`RequestError::RandomUnavailable`] when there are none.
pub fn random_nonce() -> Result<Nonce, RequestError> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| RequestError::RandomUnavailable)?;
    Ok(Nonce(bytes))
}

/// A signed request before it is signed: its op and the exact bytes of its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedOrder {
    op: SignedOp,
    cl_ord_id: ClientOrderId,
    body: String,
}

impl PreparedOrder {
    /// The op.
    #[must_use]
    pub const fn op(&self) -> SignedOp {
        self.op
    }

    /// The client order id in the body: what `order.status` takes.
    #[must_use]
    pub const fn cl_ord_id(&self) -> ClientOrderId {
        self.cl_ord_id
    }

    /// The body, byte for byte as it is signed and sent.
    #[must_use]
    pub fn body(&self) -> &str {
        &self.body
    }
}

impl From<&OrderNew> for PreparedOrder {
    fn from(order: &OrderNew) -> Self {
        Self { op: SignedOp::OrderNew, cl_ord_id: order.cl_ord_id, body: order.encode() }
    }
}

impl From<&OrderReplace> for PreparedOrder {
    fn from(replace: &OrderReplace) -> Self {
        Self { op: SignedOp::OrderReplace, cl_ord_id: replace.cl_ord_id, body: replace.encode() }
    }
}

impl From<&OrderMassCancel> for PreparedOrder {
    fn from(cancel: &OrderMassCancel) -> Self {
        Self { op: SignedOp::OrderMassCancel, cl_ord_id: cancel.cl_ord_id, body: cancel.encode() }
    }
}

impl From<&OrderCancel> for PreparedOrder {
    fn from(cancel: &OrderCancel) -> Self {
        Self { op: SignedOp::OrderCancel, cl_ord_id: cancel.cl_ord_id, body: cancel.encode() }
    }
}

/// What became of a signed request, as far as the client knows.
#[derive(Debug)]
pub enum OrderOutcome {
    /// The venue took it, and the audit log holds it.
    Accepted {
        /// The client order id.
        cl_ord_id: ClientOrderId,
        /// The venue's id; `None` where it has none.
        order_id: Option<OrderId>,
        /// How many orders a mass cancel has cancelled; `None` for every other request.
        canceled: Option<u32>,
        /// Where it stands in the audit log.
        receipt: Option<Receipt>,
    },
    /// It was refused and did nothing. With `retryable` the client order id is still free.
    Rejected(Box<ErrorReply>),
    /// Nobody here knows. Ask `order_status`, or [`resend`](crate::Client::resend) the same order (on a new
    /// connection, if need be); never make a new one for it.
    Unknown {
        /// The order, to be asked for or sent again.
        order: PreparedOrder,
        /// Why it is not known.
        cause: UnknownCause,
    },
}

/// Why an outcome is not known.
#[derive(Debug, thiserror::Error)]
pub enum UnknownCause {
    /// No reply came in time, or the connection ended before it.
    #[error("no reply came")]
    NoReply(#[source] RequestError),
    /// The server itself does not know yet.
    #[error("the server does not know the outcome yet")]
    Server,
}

#[cfg(test)]
mod tests {
    use sealfeed_wire::request::{self, Op};

    use super::*;

    const BODY: &str = r#"{"cl_ord_id":"c-1" , "orig_cl_ord_id":"c-0"}"#;

    fn check(session: [u8; 32]) -> bool {
        let key = OrderKey::from_bytes([9; 32]);
        let signer = Signer::new(&key, &SessionId([1; 32]));
        let nonce = random_nonce().unwrap();
        let message = signer.sign(None, SignedOp::OrderCancel, UnixNanos(17), nonce, BODY).unwrap();
        let Op::Signed(signed) = request::parse(&message).unwrap().op else { panic!("not signed") };
        assert_eq!((signed.body, signed.ts, signed.nonce), (BODY, UnixNanos(17), nonce));
        KeyedMac::new(&key).for_session(&SessionId(session)).verifies(&signed)
    }

    #[test]
    fn a_signed_message_verifies_with_its_body_untouched() {
        assert!(check([1; 32]));
    }

    #[test]
    fn a_signed_message_verifies_on_no_other_session() {
        assert!(!check([2; 32]));
    }

    #[test]
    fn nonces_differ() {
        assert_ne!(random_nonce().unwrap(), random_nonce().unwrap());
    }
}
