//! Checks of signed messages: tampered, replayed, old, and taken from another connection. What is signed is always the cancel of an
//! order that nobody has placed, so that whatever the server does with it trades nothing.

use sealfeed_client::{CertificateKey, Signer, clock, random_nonce};
use sealfeed_wire::{Code, RequestId, SignedOp, UnixNanos};

use super::super::checkup::unknown_order;
use super::super::session::{Came as Received, Session};
use super::{Came, Examiner, Who};

/// Older than any window.
const OLD_NS: u64 = 24 * 60 * 60 * 1_000_000_000;

/// All of them, if there is a key to sign with.
pub(super) async fn check(examiner: &mut Examiner<'_>) {
    for name in ["S12 tampered", "S12 other session", "S12 old", "S12 replay"] {
        let (came, who) = match examiner.session().await {
            Err(came) => (came, None),
            Ok(mut session) => {
                let came = match signer(examiner, &session) {
                    None => Came::Skip("there is no order key to sign with (--order-key)".to_owned()),
                    Some(signer) => one(examiner, name, &mut session, &signer).await,
                };
                let id = session.id.to_string();
                session.close().await;
                (came, Some(Who::Session(id)))
            }
        };
        let (expected, kinds): (_, &[_]) = match name {
            "S12 old" => ("refused as too old (SF-ORD-002)", &["order_refused"]),
            "S12 replay" => ("refused as a replay (SF-ORD-003)", &["order_refused"]),
            _ => ("refused as not authentic (SF-ORD-001)", &["reject"]),
        };
        examiner.note(name, expected, came, who, kinds);
    }
}

async fn one(examiner: &Examiner<'_>, name: &str, session: &mut Session, signer: &Signer) -> Came {
    let now = clock::system_time();
    let (text, expected) = match name {
        "S12 tampered" => {
            // Another order than the one that was signed for.
            let text = cancel(signer, now)
                .map(|text| text.replace("\"orig_cl_ord_id\":\"dr-", "\"orig_cl_ord_id\":\"DR-"));
            (text, Code::OrdMacInvalid)
        }
        "S12 other session" => {
            let other = match examiner.session().await {
                Ok(other) => other,
                Err(came) => return came,
            };
            let text = self::signer(examiner, &other).and_then(|signer| cancel(&signer, now));
            other.close().await;
            (text, Code::OrdMacInvalid)
        }
        "S12 old" => (cancel(signer, UnixNanos(now.0.saturating_sub(OLD_NS))), Code::OrdTimestampStale),
        _ => {
            let text = cancel(signer, now);
            session.send(text.clone().unwrap_or_default()).await;
            let first = session.reply().await;
            let proofs = [Code::OrdMacInvalid, Code::OrdTimestampStale, Code::OrdTimestampFuture];
            let is_taken = matches!(&first, Received::Message(_))
                && !proofs.iter().any(|code| first.error_code() == code.as_str());
            if !is_taken {
                return Came::Skip(format!("the message itself was not taken: {}", first.words()));
            }
            (text, Code::OrdNonceReplayed)
        }
    };
    let Some(text) = text else { return Came::Skip("no random bytes to sign with".to_owned()) };
    session.send(text).await;
    let reply = session.reply().await;
    if reply.error_code() == expected.as_str() {
        Came::Pass(reply.words())
    } else {
        Came::Fail(reply.words())
    }
}

/// The cancel of an unknown order, signed at a time with a fresh nonce.
fn cancel(signer: &Signer, ts: UnixNanos) -> Option<String> {
    let (cancel, nonce) = (unknown_order().ok()?, random_nonce().ok()?);
    signer.sign(Some(RequestId::Integer(1)), SignedOp::OrderCancel, ts, nonce, &cancel.encode()).ok()
}

/// Signs as the server demands of this principal.
fn signer(examiner: &Examiner<'_>, session: &Session) -> Option<Signer> {
    let config = examiner.config;
    let demanded = session.welcome.entitlement.orders.as_ref().and_then(|orders| orders.proof.as_deref());
    if demanded.is_none() {
        return config.order_key.as_ref().map(|key| Signer::new(key, &session.id));
    }
    let key = CertificateKey::new(&examiner.identity.key)?;
    Some(Signer::with_certificate_key(key, config.order_key.as_ref(), &session.id))
}
