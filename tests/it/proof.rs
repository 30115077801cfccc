//! With what an order is proved: MAC, signature or both, as the entitlement demands, and what a change of the keys means for
//! an open session.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use sealfeed_client::{CertificateKey, Signer};
use sealfeed_wire::{CertificateHash, OrderKey, ProofDemand, RequestId, SignedOp};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::harness::{Client, POLICY, Pki, Scene, fresh_nonce};
use crate::orders::{assert_accepted, assert_error, now, of, resting};

const BOB: &str = "acme/bob";
const NEW: SignedOp = SignedOp::OrderNew;

/// The policy whose traders must prove their orders so.
fn demanding(proof: ProofDemand) -> String {
    POLICY.replacen("quantity_max = \"1000\"", &format!("proof = \"{proof}\"\nquantity_max = \"1000\""), 1)
}

/// Signs what a session of this client sends, with its certificate's key and perhaps its order key too.
fn signer(session: &Client, name: &str, with_order_key: bool) -> Signer {
    let identity = Pki::get().client(name);
    let key = CertificateKey::new(identity.key.as_ref().unwrap()).unwrap();
    Signer::with_certificate_key(
        key,
        identity.order_key.as_ref().filter(|_| with_order_key),
        &session.session,
    )
}

async fn order(session: &mut Client, signer: &Signer, name: &str) -> Value {
    let id = session.fresh_id();
    let request = RequestId::integer(id.cast_signed()).unwrap();
    session.ask(signer.sign(Some(request), NEW, now(0), fresh_nonce(), &resting(name)).unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_taken_with_the_proof_that_the_entitlement_demands_and_with_no_less() {
    for demand in ProofDemand::ALL {
        let scene = Scene::with_policy(&demanding(*demand), |config| config.limits.malformed_max = 100).await;
        let mut bob = scene.connect(&Pki::get().client(BOB)).await;
        let said = &bob.welcome["entitlement"]["orders"]["proof"];
        assert_eq!(said.as_str(), (*demand != ProofDemand::Mac).then(|| demand.as_str()), "{}", bob.welcome);
        let (sig, both) = (signer(&bob, BOB, false), signer(&bob, BOB, true));
        let erins = signer(&bob, "acme/erin", false);
        let answers = [
            bob.order(NEW, &resting("mac")).await,
            order(&mut bob, &sig, "sig").await,
            order(&mut bob, &both, "both").await,
            order(&mut bob, &erins, "erin").await,
        ];
        let taken = match demand {
            ProofDemand::Mac => [true, false, true, false],
            ProofDemand::Sig => [false, true, true, false],
            ProofDemand::Both => [false, false, true, false],
        };
        for (answer, taken) in answers.iter().zip(taken) {
            if taken {
                assert_accepted(answer);
            } else {
                assert_error(answer, "SF-ORD-001");
            }
        }
        let bob = bob.leave();
        let events = scene.end().await;
        let count = taken.iter().filter(|taken| **taken).count();
        assert_eq!((of(&events, "order", bob).len(), of(&events, "reject", bob).len()), (count, 4 - count));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_is_checked_though_nobody_demands_it() {
    let scene = Scene::start(|_| {}).await;
    let mut bob = scene.connect(&Pki::get().client(BOB)).await;
    let text = signer(&bob, BOB, true).sign(None, NEW, now(0), fresh_nonce(), &resting("c-1")).unwrap();
    let at = text.find("\"sig\":\"").unwrap() + 20;
    let mut forged = text.clone();
    let other = if &forged[at..=at] == "A" { "B" } else { "A" };
    forged.replace_range(at..=at, other);
    assert_error(&bob.ask(forged).await, "SF-ORD-001");
    assert_accepted(&bob.ask(text).await);
    drop(bob);
    scene.end().await;
}

fn write_secret(path: &Path, secret: &[u8; 32]) {
    fs::write(path, sealfeed_wire::hex::encode(secret)).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_session_follows_a_change_of_the_master_secret_and_honours_no_key_that_was_withdrawn() {
    let folder = tempfile::TempDir::new().unwrap();
    let (current, previous) = (folder.path().join("current.hex"), folder.path().join("previous.hex"));
    let (old, new) = ([0x5a; 32], [0xa5; 32]);
    write_secret(&current, &old);
    let scene = Scene::start(|config| {
        config.identity.master_key.clone_from(&current);
        config.identity.previous_master_key = Some(previous.clone());
    })
    .await;
    let identity = Pki::get().client(BOB);
    let certificate = CertificateHash(Sha256::digest(&identity.chain[0]).into());
    let [old_key, new_key] = [old, new].map(|master| OrderKey::derive(&master, &certificate));
    let mut bob = scene.connect(&identity).await;
    let mut answers = Vec::new();
    for (what, expected) in
        [("before", [true, false]), ("rotated", [true, true]), ("withdrawn", [false, true])]
    {
        match what {
            "rotated" => {
                write_secret(&previous, &old);
                write_secret(&current, &new);
                scene.running().reload().await.unwrap();
            }
            "withdrawn" => {
                fs::remove_file(&previous).unwrap();
                scene.running().reload().await.unwrap();
            }
            _ => {}
        }
        for (key, (name, expected)) in
            [&old_key, &new_key].into_iter().zip(["old", "new"].into_iter().zip(expected))
        {
            bob.order_key = Some(key.clone());
            let reply = bob.order(NEW, &resting(&format!("{what}-{name}"))).await;
            if expected {
                assert_accepted(&reply);
            } else {
                assert_error(&reply, "SF-ORD-001")
            }
            answers.push(expected);
        }
    }
    let bob = bob.leave();
    let events = scene.end().await;
    assert_eq!(of(&events, "order", bob).len(), answers.iter().filter(|taken| **taken).count());
    assert_eq!(of(&events, "reject", bob).len(), 2);
}
