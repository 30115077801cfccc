//! What proves a request, by what the entitlement demands: MAC, signature or both.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use sealfeed_wire::signing::signing_string;
use sealfeed_wire::{Proof, request::encode_signed};

use super::*;
use crate::types::SignatureKey;

/// A certificate's key pair.
enum Pair {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

impl Pair {
    fn both_kinds() -> [Self; 2] {
        let p256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        [Self::Ed25519(Ed25519KeyPair::generate().unwrap()), Self::P256(p256)]
    }

    fn public(&self) -> SignatureKey {
        match self {
            Self::Ed25519(pair) => SignatureKey::Ed25519(pair.public_key().as_ref().try_into().unwrap()),
            Self::P256(pair) => SignatureKey::P256(pair.public_key().as_ref().try_into().unwrap()),
        }
    }

    fn sign(&self, session: &SessionId, nonce: Nonce) -> [u8; 64] {
        let text = signing_string(session, &NOW.to_string(), &nonce.to_string(), SignedOp::OrderNew, LIMIT);
        match self {
            Self::Ed25519(pair) => pair.sign(text.as_bytes()).as_ref().try_into().unwrap(),
            Self::P256(pair) => {
                pair.sign(&SystemRandom::new(), text.as_bytes()).unwrap().as_ref().try_into().unwrap()
            }
        }
    }

    fn gate(&self) -> SessionGate {
        gate_of(Some(self.public()))
    }
}

fn gate_of(signature_key: Option<SignatureKey>) -> SessionGate {
    let principal = Principal::new("acme", "desk7").unwrap();
    SessionGate::new(principal, SESSION, &key(1), None, signature_key, &limits())
}

const NONCE: Nonce = Nonce([1; 16]);

/// What the gate makes of `order.new` with this proof, under this demand.
fn check(gate: &SessionGate, demand: ProofDemand, proof: Proof) -> Result<Proof, Code> {
    let frame = encode_signed(None, SignedOp::OrderNew, NOW, NONCE, proof, LIMIT);
    let Op::Signed(signed) = request::parse(&frame).unwrap().op else { panic!("{frame}") };
    let request = gate.authenticate(&signed, demand, NOW)?;
    Ok(Proof { mac: request.mac(), sig: request.sig() })
}

fn good_mac() -> [u8; 32] {
    mac(1, SESSION).sign(NOW, NONCE, SignedOp::OrderNew, LIMIT)
}

#[test]
fn what_is_demanded_must_be_there_and_whatever_is_there_must_be_right() {
    for pair in Pair::both_kinds() {
        let gate = pair.gate();
        let macs = [None, Some(good_mac()), Some([0; 32])];
        let sig = pair.sign(&SESSION, NONCE);
        let mut forged = sig;
        forged[40] ^= 1;
        for (mac, mac_is_good) in macs.into_iter().zip([None, Some(true), Some(false)]) {
            for (sig, sig_is_good) in
                [None, Some(sig), Some(forged)].into_iter().zip([None, Some(true), Some(false)])
            {
                if mac.is_none() && sig.is_none() {
                    continue;
                }
                for demand in ProofDemand::ALL {
                    let is_enough = match demand {
                        ProofDemand::Mac => mac_is_good == Some(true) && sig_is_good != Some(false),
                        ProofDemand::Sig => sig_is_good == Some(true) && mac_is_good != Some(false),
                        ProofDemand::Both => mac_is_good == Some(true) && sig_is_good == Some(true),
                    };
                    let proof = Proof { mac, sig };
                    let expected = if is_enough { Ok(proof) } else { Err(Code::OrdMacInvalid) };
                    assert_eq!(check(&gate, *demand, proof), expected, "{demand} {proof:?}");
                }
            }
        }
    }
}

#[test]
fn a_signature_of_another_session_or_another_key_is_refused() {
    for (pair, other) in Pair::both_kinds().into_iter().zip(Pair::both_kinds()) {
        for sig in [pair.sign(&SessionId([2; 32]), NONCE), other.sign(&SESSION, NONCE)] {
            let proof = Proof { mac: None, sig: Some(sig) };
            assert_eq!(check(&pair.gate(), ProofDemand::Sig, proof), Err(Code::OrdMacInvalid));
            let proof = Proof { mac: Some(good_mac()), ..proof };
            assert_eq!(check(&pair.gate(), ProofDemand::Mac, proof), Err(Code::OrdMacInvalid));
        }
    }
}

#[test]
fn a_certificate_whose_key_cannot_sign_is_told_so_where_a_signature_is_sent_or_demanded() {
    let gate = gate_of(None);
    let unsupported = Err(Code::OrdSignatureKeyUnsupported);
    let mac = Some(good_mac());
    assert_eq!(check(&gate, ProofDemand::Mac, Proof { mac, sig: Some([0; 64]) }), unsupported);
    for demand in [ProofDemand::Sig, ProofDemand::Both] {
        assert_eq!(check(&gate, demand, Proof { mac, sig: None }), unsupported);
        assert_eq!(check(&gate, demand, Proof { mac: Some([0; 32]), sig: None }), unsupported);
    }
    assert!(check(&gate, ProofDemand::Mac, Proof { mac, sig: None }).is_ok());
}

#[test]
fn a_signature_does_not_stand_in_for_a_key_that_was_replaced() {
    let [pair, _] = Pair::both_kinds();
    let principal = Principal::new("acme", "desk7").unwrap();
    let gate = SessionGate::new(principal, SESSION, &key(1), Some(&key(2)), Some(pair.public()), &limits());
    let of = |byte| mac(byte, SESSION).sign(NOW, NONCE, SignedOp::OrderNew, LIMIT);
    let sig = Some(pair.sign(&SESSION, NONCE));
    for (byte, expected) in [(1, true), (2, true), (3, false)] {
        let proof = Proof { mac: Some(of(byte)), sig };
        assert_eq!(check(&gate, ProofDemand::Both, proof).is_ok(), expected, "key {byte}");
    }
}
