//! The session's half of the gate: message rate, MAC and signature. Runs on the session's own shard and shares nothing.
//!
//! A forged message ends here: it costs its sender a message of the rate limit, and touches neither the memory of
//! nonces nor any other state. What passes is an [`AuthenticRequest`], which nothing else can make.

use std::sync::Arc;

use sealfeed_audit::sha256_pair;
use sealfeed_wire::reply::RateLimit;
use sealfeed_wire::{
    AdminKill, AdminReload, AdminTrading, BodyError, ClientOrderId, Code, KeyedMac, Nonce, OrderCancel,
    OrderDeadMan, OrderKey, OrderMassCancel, OrderNew, OrderReplace, Proof, Publish, SessionId, SessionMac,
    Signed, SignedOp, sha256,
};

use super::rate::{RateExceeded, RateLimiter};
use super::signature;
use crate::types::{Principal, ProofDemand, SessionLimits, SignatureKey, UnixNanos};

/// Checks the messages of one session.
#[derive(Debug)]
pub struct SessionGate {
    messages: RateLimiter,
    /// Only once it has something to check: most sessions never sign anything.
    proofs: Option<Box<Proofs>>,
}

/// Who signs on a session: the same for all of its requests, which share it.
#[derive(Debug)]
struct Signer {
    principal: Principal,
    session: SessionId,
}

/// What the proofs of one session are checked by.
#[derive(Debug)]
struct Proofs {
    signer: Arc<Signer>,
    current: SessionMac,
    /// Only while a master key is being replaced.
    previous: Option<SessionMac>,
    /// The certificate's own key; `None`: of a kind whose signatures are not checked.
    signature_key: Option<SignatureKey>,
}

impl SessionGate {
    /// The gate of one session, which holds nobody's messages authentic until it has its keys.
    #[must_use]
    pub fn without_keys(limits: &SessionLimits) -> Self {
        Self { messages: RateLimiter::per_second(limits.messages_per_second), proofs: None }
    }

    /// The gate of one session with its keys, as from [`Self::set_keys`].
    #[must_use]
    pub fn new(
        principal: Principal,
        session: SessionId,
        current: &OrderKey,
        previous: Option<&OrderKey>,
        signature_key: Option<SignatureKey>,
        limits: &SessionLimits,
    ) -> Self {
        let mut gate = Self::without_keys(limits);
        gate.set_keys(principal, session, current, previous, signature_key);
        gate
    }

    /// Takes over keys, for the first time or after a change of master secrets: from here on, these and no others. `previous` is the key
    /// from the master before, while that is honoured, and `signature_key` the public key of the certificate, if it signs.
    pub fn set_keys(
        &mut self,
        principal: Principal,
        session: SessionId,
        current: &OrderKey,
        previous: Option<&OrderKey>,
        signature_key: Option<SignatureKey>,
    ) {
        let bind = |key: &OrderKey| KeyedMac::new(key).for_session(&session);
        let (current, previous) = (bind(current), previous.map(bind));
        let signer = Arc::new(Signer { principal, session });
        self.proofs = Some(Box::new(Proofs { signer, current, previous, signature_key }));
    }

    /// Counts an inbound message that costs so much, before anything is done about it.
    ///
    /// # Errors
    /// [`RateExceeded`]: answer with [`Code::SesMessageRate`], do nothing else.
    pub fn charge_message(&mut self, cost: u32, now: UnixNanos) -> Result<(), RateExceeded> {
        self.messages.take_many(cost, now)
    }

    /// State of the message rate, for replies.
    #[must_use]
    pub fn message_rate(&self, now: UnixNanos) -> RateLimit {
        self.messages.state("messages", now)
    }

    /// Takes over another message rate, after a change of policy or under pressure.
    pub fn set_message_rate(&mut self, per_second: u32) {
        self.messages.set_limit(per_second);
    }

    /// Checks what proves the request over the bytes that were received: what `demand` asks for, and whatever else was
    /// sent. All of it is checked before there is an answer, in constant time for each key; a wrong MAC is tried against
    /// every live key, and a missing proof costs what a wrong one costs. The body is decoded too, but what comes of
    /// that is judged after time and nonce.
    ///
    /// # Errors
    /// [`Code::OrdMacInvalid`] for every wrong or missing proof: not which one, not how far it went.
    /// [`Code::OrdSignatureKeyUnsupported`] if a signature is needed and the certificate's key cannot make one, whatever
    /// the message says. Without keys, every message is [`Code::OrdMacInvalid`].
    pub fn authenticate(
        &self,
        signed: &Signed<'_>,
        demand: ProofDemand,
        received: UnixNanos,
    ) -> Result<AuthenticRequest, Code> {
        let proofs = self.proofs.as_deref().ok_or(Code::OrdMacInvalid)?;
        let needs_mac = demand != ProofDemand::Sig || signed.proof.mac.is_some();
        let needs_sig = demand != ProofDemand::Mac || signed.proof.sig.is_some();
        let mut is_authentic = true;
        let mut digest_beside = None;
        if needs_sig {
            let key = proofs.signature_key.as_ref().ok_or(Code::OrdSignatureKeyUnsupported)?;
            is_authentic &= signature::verifies(key, &proofs.signer.session, signed);
        }
        if needs_mac {
            // The digest is wanted of what is authentic only; beside the MAC it costs half.
            let (is_current, digest) = proofs.current.verifies_beside_digest(signed, sha256_pair);
            digest_beside = Some(digest);
            is_authentic &= is_current || proofs.previous.as_ref().is_some_and(|mac| mac.verifies(signed));
        }
        if !is_authentic {
            return Err(Code::OrdMacInvalid);
        }
        Ok(AuthenticRequest {
            signer: Arc::clone(&proofs.signer),
            op: signed.op,
            ts: signed.ts,
            nonce: signed.nonce,
            proof: signed.proof,
            received,
            body: signed.body.into(),
            digest: digest_beside.unwrap_or_else(|| digest(signed.op, signed.body)),
            decoded: decode(signed.op, signed.body),
        })
    }
}

/// The client's names in the body of a signed request: its own, and that of the order it cancels or changes. `None` if it has none.
#[must_use]
pub fn names(op: SignedOp, body: &str) -> Option<(ClientOrderId, Option<ClientOrderId>)> {
    decode(op, body).ok()?.names()
}

/// SHA-256 of op, line feed and body: equal for the same request signed again, whenever and on whatever session.
#[must_use]
pub fn digest(op: SignedOp, body: &str) -> [u8; 32] {
    sha256(&[op.as_str().as_bytes(), b"\n", body.as_bytes()])
}

/// What the body of a signed request says.
///
/// # Errors
/// [`BodyError`], with the client order id if it could be read.
pub fn decode(op: SignedOp, body: &str) -> Result<DecodedBody, BodyError> {
    match op {
        SignedOp::OrderNew => OrderNew::decode(body).map(DecodedBody::New),
        SignedOp::OrderCancel => OrderCancel::decode(body).map(DecodedBody::Cancel),
        SignedOp::OrderReplace => OrderReplace::decode(body).map(DecodedBody::Replace),
        SignedOp::OrderMassCancel => OrderMassCancel::decode(body).map(DecodedBody::MassCancel),
        SignedOp::OrderDeadMan => OrderDeadMan::decode(body).map(DecodedBody::DeadMan),
        SignedOp::Publish => Publish::decode(body).map(|publish| DecodedBody::Publish(Box::new(publish))),
        SignedOp::AdminKill => AdminKill::decode(body).map(|kill| DecodedBody::Kill(Box::new(kill))),
        SignedOp::AdminTrading => {
            AdminTrading::decode(body).map(|trading| DecodedBody::Trading(Box::new(trading)))
        }
        SignedOp::AdminReload => {
            AdminReload::decode(body).map(|reload| DecodedBody::Reload(Box::new(reload)))
        }
    }
}

/// A body that fits its op.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodedBody {
    /// `order.new`
    New(OrderNew),
    /// `order.cancel`
    Cancel(OrderCancel),
    /// `order.replace`
    Replace(OrderReplace),
    /// `order.mass_cancel`
    MassCancel(OrderMassCancel),
    /// `order.dead_man`
    DeadMan(OrderDeadMan),
    /// `publish`
    Publish(Box<Publish>),
    /// `admin.kill`
    Kill(Box<AdminKill>),
    /// `admin.trading`
    Trading(Box<AdminTrading>),
    /// `admin.reload`
    Reload(Box<AdminReload>),
}

impl DecodedBody {
    /// The client's own id of the request; `None` where the op has none.
    #[must_use]
    pub const fn client_order_id(&self) -> Option<ClientOrderId> {
        match self {
            Self::New(order) => Some(order.cl_ord_id),
            Self::Cancel(cancel) => Some(cancel.cl_ord_id),
            Self::Replace(replace) => Some(replace.cl_ord_id),
            Self::MassCancel(cancel) => Some(cancel.cl_ord_id),
            Self::DeadMan(_) | Self::Publish(_) | Self::Kill(_) | Self::Trading(_) | Self::Reload(_) => None,
        }
    }
}

impl DecodedBody {
    /// The client's names in it: its own, and that of the order it cancels or changes. `None` if it has none.
    #[must_use]
    pub const fn names(&self) -> Option<(ClientOrderId, Option<ClientOrderId>)> {
        match self {
            Self::New(order) => Some((order.cl_ord_id, None)),
            Self::Cancel(cancel) => Some((cancel.cl_ord_id, Some(cancel.orig_cl_ord_id))),
            Self::Replace(replace) => Some((replace.cl_ord_id, Some(replace.orig_cl_ord_id))),
            Self::MassCancel(cancel) => Some((cancel.cl_ord_id, None)),
            Self::DeadMan(_) | Self::Publish(_) | Self::Kill(_) | Self::Trading(_) | Self::Reload(_) => None,
        }
    }
}

/// A request whose proof verified: its sender held the order key, or the certificate's key, on this connection. Only
/// [`SessionGate::authenticate`] makes one. Time and nonce are not checked yet.
#[derive(Clone, Debug)]
pub struct AuthenticRequest {
    signer: Arc<Signer>,
    op: SignedOp,
    ts: UnixNanos,
    nonce: Nonce,
    proof: Proof,
    received: UnixNanos,
    body: Arc<str>,
    digest: [u8; 32],
    decoded: Result<DecodedBody, BodyError>,
}

impl AuthenticRequest {
    /// Who signed it.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.signer.principal
    }

    /// On which session.
    #[must_use]
    pub fn session(&self) -> &SessionId {
        &self.signer.session
    }

    /// What it asks for.
    #[must_use]
    pub const fn op(&self) -> SignedOp {
        self.op
    }

    /// The time that was signed.
    #[must_use]
    pub const fn ts(&self) -> UnixNanos {
        self.ts
    }

    /// The nonce that was signed.
    #[must_use]
    pub const fn nonce(&self) -> Nonce {
        self.nonce
    }

    /// The MAC, which is evidence in the log; `None` if a signature alone proved it.
    #[must_use]
    pub const fn mac(&self) -> Option<[u8; 32]> {
        self.proof.mac
    }

    /// The signature, which is evidence for third parties; `None` if the MAC alone proved it.
    #[must_use]
    pub const fn sig(&self) -> Option<[u8; 64]> {
        self.proof.sig
    }

    /// When the session received it.
    #[must_use]
    pub const fn received(&self) -> UnixNanos {
        self.received
    }

    /// The body, byte for byte as it was signed.
    #[must_use]
    pub const fn body(&self) -> &Arc<str> {
        &self.body
    }

    /// SHA-256 of op, line feed and body: the same for the same request signed again.
    #[must_use]
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// What the body says, or why it says nothing; to be judged after time and nonce.
    ///
    /// # Errors
    /// [`BodyError`], with the client order id if it could be read.
    pub const fn decoded(&self) -> Result<&DecodedBody, &BodyError> {
        self.decoded.as_ref()
    }
}
