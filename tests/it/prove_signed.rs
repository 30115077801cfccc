//! Orders that clients signed with their certificate's key, proven to somebody who believes neither the server nor its operator.

use std::fs;
use std::process::{Command, Stdio};

use sealfeed_client::{CertificateKey, Signer};
use sealfeed_wire::{ProofDemand, RequestId, SignedOp};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Client, Identity, LIMIT, POLICY, Pki, fresh_nonce, wait_until};
use crate::orders::{assert_accepted, assert_error, now, resting};
use crate::process::{ServerProcess, configure, connect, public_key};
use crate::prove::{judge, said, unpack};

const MARKET: &str = r#"
    checkpoint_ms = 20
    [[source]]
    type = "synthetic"
    symbols = ["SEAL"]
    messages_per_second = 100
"#;

/// Sends a message with a signature, and with a MAC too if `both`.
async fn send(client: &mut Client, who: &Identity, both: bool, op: SignedOp, body: &str) -> Value {
    let key = CertificateKey::new(who.key.as_ref().unwrap()).unwrap();
    let order_key = who.order_key.as_ref().filter(|_| both);
    let signer = Signer::with_certificate_key(key, order_key, &client.session);
    let id = RequestId::integer(client.fresh_id().cast_signed()).unwrap();
    client.ask(signer.sign(Some(id), op, now(0), fresh_nonce(), body).unwrap()).await
}

/// A server whose traders sign, with keys of both kinds, and who they are.
struct Scene {
    folder: TempDir,
    server: ServerProcess,
    pki: Pki,
}

fn scene(demand: ProofDemand) -> Scene {
    let folder = TempDir::new().unwrap();
    let pki = Pki::get().copy_to(folder.path());
    pki.run(&["client", "acme/zoe", "--role", "trader", "--key-type", "ed25519"]);
    let config = configure(folder.path(), &pki.folder, MARKET);
    let policy = POLICY.replacen(
        "quantity_max = \"1000\"",
        &format!("proof = \"{demand}\"\nquantity_max = \"1000\""),
        1,
    );
    fs::write(folder.path().join("entitlements.toml"), policy).unwrap();
    let server = ServerProcess::start(&config).unwrap();
    Scene { folder, server, pki }
}

impl Scene {
    /// The bundle of an order, once a checkpoint covers what was answered: its report, by both verifiers, and the folder of its files.
    async fn proven(&self, principal: &str, order: &str, events: usize) -> (Value, std::path::PathBuf) {
        let log = self.folder.path().join("log");
        let name = format!("{}-{order}.tar", principal.replace('/', "-"));
        let bundle = self.folder.path().join(&name);
        let is_proven = || {
            let _ = fs::remove_file(&bundle);
            let (log, to) = (log.to_str().unwrap(), bundle.to_str().unwrap());
            let (code, _, err) =
                said(&["audit", "prove", log, "--order", order, "--principal", principal, "-o", to]);
            assert!(code == Some(0) || code == Some(75), "{code:?} {err}");
            code == Some(0) && err.contains(&format!("the {events} events of the order"))
        };
        assert!(wait_until(LIMIT, is_proven).await);
        let programs = unpack(self.folder.path(), &name);
        let (code, report) = judge(&bundle, &programs, Some(&public_key(&log)));
        assert_eq!((code, &report["verdict"]), (Some(0), &json!("VERIFIED")), "{report}");
        (report, programs)
    }
}

fn signatures(report: &Value) -> Vec<(&str, Option<&str>)> {
    let life = report["proof"]["life"].as_array().unwrap().iter();
    life.map(|step| (step["event"].as_str().unwrap(), step["signature"].as_str())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outsider_sees_that_the_certificates_key_signed_each_message_of_an_order_and_which_authority_vouches_for_it()
 {
    let scene = scene(ProofDemand::Sig);
    for (principal, both) in [("acme/bob", false), ("acme/zoe", true)] {
        let who = scene.pki.client(principal);
        let mut first = connect(scene.server.address, &who).await;
        let mut second = connect(scene.server.address, &who).await;
        assert_accepted(&send(&mut first, &who, both, SignedOp::OrderNew, &resting("mine")).await);
        let change = r#"{"cl_ord_id":"c-1","orig_cl_ord_id":"mine", "qty":"2", "price":"0.01"}"#;
        assert_accepted(&send(&mut first, &who, both, SignedOp::OrderReplace, change).await);
        // Another connection cancels it; and the venue refuses an order that cannot trade at once.
        let cancel = "{ \"cl_ord_id\":\"c-2\",\n\"orig_cl_ord_id\":\"mine\"}";
        assert_accepted(&send(&mut second, &who, both, SignedOp::OrderCancel, cancel).await);
        let refused = resting("fok").replace("\"day\"", "\"fok\"");
        assert_error(&send(&mut second, &who, both, SignedOp::OrderNew, &refused).await, "SF-ORD-061");
        let (report, _) = scene.proven(principal, "fok", 2).await;
        assert_eq!(
            signatures(&report),
            [("order", Some("valid")), ("order_refused", Some("valid"))],
            "{report}"
        );
        let (report, files) = scene.proven(principal, "mine", 6).await;
        let of_message = [("order", Some("valid")), ("execution", None)];
        assert_eq!(signatures(&report), of_message.repeat(3), "{report}");
        let seq = report["proof"]["sessions"][0]["chain"]["seq"].as_u64().unwrap();
        the_authority_vouches(&scene, &files, seq);
    }
}

/// What README.txt tells people to do: the client's certificate, by the chain beside it, under the root that they know.
fn the_authority_vouches(scene: &Scene, files: &std::path::Path, seq: u64) {
    let pem = |place: usize| {
        let from = files.join(format!("certificates/{seq:020}-{place}.der"));
        let to = files.join(format!("{place}.pem"));
        let mut openssl = Command::new("openssl");
        openssl.args(["x509", "-inform", "DER", "-in"]).arg(from).arg("-out").arg(&to);
        assert!(openssl.status().unwrap().success());
        to
    };
    let mut openssl = Command::new("openssl");
    openssl.args(["verify", "-no_check_time", "-CAfile"]).arg(scene.pki.folder.join("ca/root.pem"));
    let output = openssl.arg("-untrusted").arg(pem(1)).arg(pem(0)).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_with_a_mac_alone_is_told_as_not_signed() {
    let scene = scene(ProofDemand::Mac);
    let who = scene.pki.client("acme/zoe");
    let mut client = connect(scene.server.address, &who).await;
    assert_accepted(&client.order(SignedOp::OrderNew, &resting("mine")).await);
    // Nobody demands a signature; one that is there is sealed all the same.
    let cancel = r#"{"cl_ord_id":"c-1","orig_cl_ord_id":"mine"}"#;
    assert_error(&send(&mut client, &who, false, SignedOp::OrderCancel, cancel).await, "SF-ORD-001");
    send(&mut client, &who, true, SignedOp::OrderCancel, cancel).await;
    let (report, _) = scene.proven("acme/zoe", "mine", 4).await;
    let expected =
        [("order", Some("unsigned")), ("execution", None), ("order", Some("valid")), ("execution", None)];
    assert_eq!(signatures(&report), expected, "{report}");
    let open = report["proof"]["not_proven"].to_string();
    assert!(open.contains("that the client sent the messages that are not signed (1)"), "{open}");
}
