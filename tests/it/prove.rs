//! One order of a real server, proven to somebody who has the bundle and the log's public key and nothing else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use sealfeed_wire::SignedOp;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Client, LIMIT, Pki, wait_until};
use crate::process::{ServerProcess, configure, connect, public_key, replay, run};

const MARKET: &str = r#"
    checkpoint_ms = 20
    [[source]]
    type = "synthetic"
    symbols = ["SEAL"]
    messages_per_second = 100
"#;

/// What a command came to: exit code, standard output, standard error.
pub(crate) fn said(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = run(arguments);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

async fn rests(client: &mut Client, name: &str) -> String {
    let body = json!({"cl_ord_id": name, "symbol": "SEAL", "side": "buy", "type": "limit", "qty": "1", "price": "1.00", "tif": "day"});
    let reply = client.order(SignedOp::OrderNew, &body.to_string()).await;
    reply["order_id"].as_str().unwrap_or_else(|| panic!("{reply}")).to_owned()
}

struct Scene {
    folder: TempDir,
    log: PathBuf,
    server: ServerProcess,
    bob: Client,
    /// The server's number of bob's resting order.
    order: String,
}

async fn scene() -> Scene {
    let folder = TempDir::new().unwrap();
    let config = configure(folder.path(), &Pki::get().folder, MARKET);
    let log = folder.path().join("log");
    let server = ServerProcess::start(&config).unwrap();
    let mut bob = connect(server.address, &Pki::get().client("acme/bob")).await;
    let order = rests(&mut bob, "mine").await;
    Scene { folder, log, server, bob, order }
}

impl Scene {
    fn prove(&self, order: &str, output: &str) -> (Option<i32>, String, String) {
        let output = self.folder.path().join(output);
        let log = self.log.to_str().unwrap();
        said(&["audit", "prove", log, "--order", order, "-o", output.to_str().unwrap()])
    }
}

/// Unpacks a bundle of this folder with the tar that everybody has.
pub(crate) fn unpack(folder: &Path, bundle: &str) -> PathBuf {
    let files = folder.join(format!("{bundle}.d"));
    fs::create_dir(&files).unwrap();
    let mut tar = Command::new("tar");
    tar.arg("-xf").arg(folder.join(bundle)).current_dir(&files);
    assert!(tar.status().unwrap().success());
    files
}

/// What both verifiers say of a bundle, which must be the same: the exit code, and the library's JSON.
pub(crate) fn judge(bundle: &Path, programs: &Path, key: Option<&str>) -> (Option<i32>, Value) {
    let with_key: Vec<&str> = key.iter().flat_map(|key| ["--key", *key]).collect();
    let path = bundle.to_str().unwrap();
    let (code, text, _) = said(&[&["audit", "verify", "--json", "--bundle", path], &with_key[..]].concat());
    let mut python = Command::new("python3");
    python.arg("-B").arg(programs.join("verify_bundle.py")).arg(bundle).args(&with_key).stdin(Stdio::null());
    match python.output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert_eq!(output.status.code(), code, "{said}{text}{}", String::from_utf8_lossy(&output.stderr));
        }
        Err(error) => assert!(std::env::var_os("CI").is_none(), "python3 is missing: {error}"),
    }
    (code, serde_json::from_str(&text).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_of_a_live_server_is_proven_to_an_outsider_who_has_only_bundle_and_key() {
    let mut scene = scene().await;
    // Another connection of the same principal cancels it; another principal has an order of the same name.
    let mut second = connect(scene.server.address, &Pki::get().client("acme/bob")).await;
    let mut erin = connect(scene.server.address, &Pki::get().client("acme/erin")).await;
    rests(&mut erin, "mine").await;
    let cancel = json!({"cl_ord_id": "c-1", "orig_cl_ord_id": "mine"}).to_string();
    second.order(SignedOp::OrderCancel, &cancel).await;
    let (code, _, stderr) = scene.prove("mine", "ambiguous.tar");
    assert!(code == Some(1) && stderr.contains("--principal"), "{stderr}");

    // While the server writes: soon a checkpoint covers all three events.
    let log = scene.log.to_str().unwrap().to_owned();
    let bundle = scene.folder.path().join("live.tar");
    let is_proven = || {
        let _ = fs::remove_file(&bundle);
        let to = bundle.to_str().unwrap();
        let (code, out, err) =
            said(&["audit", "prove", &log, "--order", "mine", "--principal", "acme/bob", "-o", to]);
        assert!(code == Some(0) || code == Some(75) && !bundle.exists(), "{code:?} {err}");
        assert_eq!(out, "", "data goes into the file");
        code == Some(0) && err.contains("execution canceled")
    };
    assert!(wait_until(LIMIT, is_proven).await);

    let key = public_key(&scene.log);
    let programs = unpack(scene.folder.path(), "live.tar");
    let (code, report) = judge(&bundle, &programs, Some(&key));
    assert_eq!((code, &report["verdict"]), (Some(0), &json!("VERIFIED")), "{report}");
    let proof = &report["proof"];
    assert_eq!(proof["order"].to_string(), scene.order);
    assert_eq!(proof["principal"], "acme/bob");
    let life: Vec<_> =
        proof["life"].as_array().unwrap().iter().map(|step| step["event"].as_str().unwrap()).collect();
    assert_eq!(life, ["order", "execution", "order", "execution"], "{proof}");
    assert_eq!(proof["sessions"].as_array().unwrap().len(), 2);
    assert!(proof["clock"][0]["seq"].is_u64(), "every run begins with a word on the clock: {proof}");
    assert_eq!(judge(&bundle, &programs, None).0, Some(23));

    certificate_is_the_one_presented(&programs, proof);
    what_was_changed_is_refused(&scene, &bundle, &programs, &key);
    scene.bob.request(json!({"op": "whoami"})).await;
    drop((second, erin));
}

/// The chain in the bundle is what bob's client presented, byte for byte, and stands in the log once, before both sessions.
fn certificate_is_the_one_presented(programs: &Path, proof: &Value) {
    let chain = &Pki::get().client("acme/bob").chain;
    let session = &proof["sessions"][0];
    let seq = session["chain"]["seq"].as_u64().unwrap();
    assert_eq!(session["chain"], proof["sessions"][1]["chain"], "recorded once for both sessions");
    assert_eq!(session["chain"]["count"], chain.len());
    assert!(seq < session["connect"].as_u64().unwrap());
    for (place, der) in chain.iter().enumerate() {
        let file = programs.join(format!("certificates/{seq:020}-{place}.der"));
        assert_eq!(fs::read(file).unwrap(), der.to_vec());
    }
    assert_eq!(session["certificate"], sealfeed_audit::hex(&sealfeed_audit::sha256(&chain[0])));
}

fn what_was_changed_is_refused(scene: &Scene, bundle: &Path, programs: &Path, key: &str) {
    let good = fs::read(bundle).unwrap();
    let at = good.windows(16).position(|part| part == br#""orig_cl_ord_id""#).unwrap();
    let mut bad = good.clone();
    bad[at + 1] ^= 1;
    let changed = scene.folder.path().join("changed.tar");
    for bytes in [bad, good[..good.len() - 512].to_vec(), Vec::new()] {
        fs::write(&changed, bytes).unwrap();
        let (code, report) = judge(&changed, programs, Some(key));
        assert!(code == Some(20) && report["problem"].is_string(), "{report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_proven_is_refused_with_a_reason_and_nothing_is_overwritten() {
    let scene = scene().await;
    let Scene { folder, log, server, bob, order } = scene;
    drop(bob);
    server.signal(Signal::TERM);
    assert_eq!(server.wait().status.code(), Some(0));
    let to = folder.path().join("bundle.tar");
    let prove = |log: &Path, order: &str, more: &[&str]| {
        let arguments =
            ["audit", "prove", log.to_str().unwrap(), "--order", order, "-o", to.to_str().unwrap()];
        said(&[&arguments[..], more].concat())
    };
    assert_eq!(prove(&log, "never", &[]).0, Some(66));
    assert_eq!(prove(&log, "987654321", &[]).0, Some(66));
    assert_eq!(prove(folder.path(), &order, &[]).0, Some(66));
    let (code, _, stderr) = prove(&log, &order, &["--key", "none"]);
    assert!(code == Some(2) && stderr.contains("no public key"), "{stderr}");
    // A checkpoint that another key signed is none.
    let other = "log.example/audit+98745f5c+ASFS+NGbeR0kRTJC4V8uq2y3z/p7al7TAJeWDgaYgdsS";
    let (code, _, stderr) = prove(&log, &order, &["--key", other]);
    assert!(code == Some(1) && stderr.contains("signed by this key"), "{stderr}");
    assert!(!to.exists(), "nothing was written");

    assert_eq!(prove(&log, &order, &["--key", &public_key(&log)]).0, Some(0));
    let made = fs::read(&to).unwrap();
    let (code, _, stderr) = prove(&log, &order, &[]);
    assert!(code == Some(73) && stderr.contains("exists already"), "{stderr}");
    assert_eq!(fs::read(&to).unwrap(), made);
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".tmp")), "{left:?}");

    // A signed checkpoint is gone: what is left covers less than the order.
    let checkpoints = fs::read_to_string(log.join("checkpoints")).unwrap();
    let first_two: Vec<_> = checkpoints.split_inclusive("\n\n").take(2).collect();
    fs::write(log.join("checkpoints"), first_two.concat()).unwrap();
    fs::remove_file(&to).unwrap();
    let (code, _, stderr) = prove(&log, &order, &[]);
    assert!(code == Some(75) && stderr.contains("try again in a second"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_recorded_once_a_run_before_the_first_connect_that_names_it_and_replay_shows_it() {
    let folder = TempDir::new().unwrap();
    let config = configure(folder.path(), &Pki::get().folder, MARKET);
    let log = folder.path().join("log");
    for _ in 0..2 {
        let server = ServerProcess::start(&config).unwrap();
        for name in ["acme/bob", "acme/erin", "acme/bob"] {
            drop(connect(server.address, &Pki::get().client(name)).await);
        }
        server.signal(Signal::TERM);
        assert_eq!(server.wait().status.code(), Some(0));
    }
    let rows = replay(&log, &["--kind", "certificate", "--kind", "connect"]);
    let kinds: Vec<_> = rows.iter().map(|row| row["kind"].as_str().unwrap()).collect();
    let of_run = ["certificate", "connect", "certificate", "connect", "connect"];
    assert_eq!(kinds, [of_run, of_run].concat());
    for pair in [0, 2, 5, 7] {
        let (presented, named) = (&rows[pair]["event"], &rows[pair + 1]["event"]);
        assert_eq!(presented["sha256"], named["certificate"]);
        assert_eq!(presented["left_out"], 0);
        let leaf = &Pki::get().client(named["principal"].as_str().unwrap()).chain[0];
        assert_eq!(presented["chain"][0], sealfeed_audit::hex(leaf));
    }
    let (_, table, _) =
        said(&["audit", "replay", log.to_str().unwrap(), "--kind", "certificate", "--output", "table"]);
    assert!(table.lines().all(|line| line.contains("sha256=") && line.chars().count() < 500), "{table}");
}
