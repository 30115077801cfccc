//! The program as operators run it: signals, exit codes, restarts, and a configuration that is wrong.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;

use rustix::process::Signal;
use sealfeed_wire::SignedOp;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Client, Pki, frame_text};
use crate::process::{Ended, ServerProcess, configure, connect, public_key, replay, run, verify};

const BRISK: &str = r#"
    [[source]]
    type = "synthetic"
    symbols = ["SEAL"]
    messages_per_second = 500
"#;

fn start(config: &Path) -> ServerProcess {
    ServerProcess::start(config).unwrap_or_else(|ended| panic!("it does not start: {ended:?}"))
}

/// Stops a server as service managers do; how it ended.
fn terminate(server: ServerProcess) -> Ended {
    server.signal(Signal::TERM);
    let ended = server.wait();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    ended
}

async fn subscribe(client: &mut Client) -> Value {
    let reply = client.request(json!({"op": "subscribe", "channel": "book", "symbols": ["SEAL"]})).await;
    reply["symbols"]["SEAL"]["epoch"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_tells_every_session_and_seals_the_log() {
    let folder = TempDir::new().unwrap();
    let server = start(&configure(folder.path(), &Pki::get().folder, BRISK));
    let mut clients = Vec::new();
    for name in ["acme/alice", "acme/bob", "acme/carol"] {
        clients.push(connect(server.address, &Pki::get().client(name)).await);
    }
    subscribe(&mut clients[0]).await;
    let body = r#"{"cl_ord_id":"a","symbol":"SEAL","side":"buy","type":"limit","qty":"1","price":"1.00","tif":"day"}"#;
    assert_eq!(clients[1].order(SignedOp::OrderNew, body).await["status"], "accepted");

    server.signal(Signal::TERM);
    for client in &mut clients {
        let (ended, messages) = client.ended().await;
        assert_eq!(ended.code, Some(1012), "{ended:?}");
        let last = messages.last().expect("the notice");
        assert_eq!(last["type"], "server_shutdown", "{last}");
        assert!(last["retry_after_ms"].as_u64().is_some(), "{last}");
    }
    drop(clients);
    let ended = server.wait();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");

    let log = folder.path().join("log");
    let verdict = verify(&log, &["--key", &public_key(&log)]);
    assert_eq!((verdict.word(), verdict.code), ("VERIFIED", 0), "{verdict:?}");
    assert_eq!(verdict.report["stopped"], true);
    assert_eq!(
        verdict.report["anchored_entries"], verdict.report["entries"],
        "the last checkpoint covers all"
    );
    let stops = replay(&log, &["--kind", "stop"]);
    assert!(
        stops.iter().any(|stop| stop["event"]["reason"].as_str().is_some_and(|why| why.contains("SIGTERM")))
    );
    let ends = replay(&log, &["--kind", "disconnect"]);
    assert_eq!(
        ends.iter().map(|end| end["event"]["close_code"].as_u64()).collect::<Vec<_>>(),
        [Some(1012); 3]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_under_load_answers_what_was_read_and_every_session_ends_with_its_disconnect() {
    let folder = TempDir::new().unwrap();
    let server = start(&configure(folder.path(), &Pki::get().folder, BRISK));
    let mut clients = Vec::new();
    for name in ["acme/bob", "acme/erin"] {
        clients.push(connect(server.address, &Pki::get().client(name)).await);
    }
    // More than is answered before the signal: some are on their way in, some on their way out.
    for number in 0..300 {
        for client in &mut clients {
            let body = format!(
                r#"{{"cl_ord_id":"o-{number}","symbol":"SEAL","side":"buy","type":"limit","qty":"1","price":"1.00","tif":"ioc"}}"#
            );
            let signed = client.sign(SignedOp::OrderNew, &body);
            client.send(frame_text(number, &signed)).await;
        }
    }
    server.signal(Signal::TERM);
    let mut receipts = Vec::new();
    for client in &mut clients {
        let (ended, messages) = client.ended().await;
        assert_eq!(ended.code, Some(1012), "{ended:?}");
        receipts.extend(
            messages
                .iter()
                .filter(|message| message["type"] == "order")
                .map(|message| message["receipt"].clone()),
        );
    }
    assert_eq!(server.wait().status.code(), Some(0));

    let log = folder.path().join("log");
    let lines = replay(&log, &[]);
    for receipt in &receipts {
        let seq = usize::try_from(receipt["seq"].as_u64().unwrap()).unwrap();
        assert_eq!((&lines[seq]["hash"], &lines[seq]["kind"]), (&receipt["hash"], &json!("order")));
    }
    let orders = lines.iter().filter(|line| line["kind"] == "order").count();
    println!("{orders} of 600 orders were read before the end");
    assert_eq!(receipts.len(), orders, "what was read is answered");
    let mut last_of_session = BTreeMap::new();
    for line in lines.iter().filter(|line| line["session"].is_string()) {
        let last = last_of_session.insert(line["session"].to_string(), line["kind"].clone());
        assert_ne!(last, Some(json!("disconnect")), "a session goes on behind its end: {line}");
    }
    assert_eq!(last_of_session.into_values().collect::<Vec<_>>(), ["disconnect", "disconnect"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_throws_out_whom_the_new_revocation_list_names_and_nobody_else() {
    let folder = TempDir::new().unwrap();
    let pki = Pki::get().copy_to(folder.path());
    let server = start(&configure(folder.path(), &pki.folder, BRISK));
    let mut alice = connect(server.address, &pki.client("acme/alice")).await;
    let mut bob = connect(server.address, &pki.client("acme/bob")).await;
    subscribe(&mut alice).await;
    pki.run(&["revoke", "acme/alice", "--reason", "keyCompromise"]);
    bob.goes_on().await;
    alice.goes_on().await;

    server.signal(Signal::HUP);
    let (ended, _) = alice.ended().await;
    assert_eq!(ended.code, Some(4501), "{ended:?}");
    bob.goes_on().await;
    drop((alice, bob));
    terminate(server);
    let log = folder.path().join("log");
    let ends = replay(&log, &["--kind", "disconnect", "--principal", "acme/alice"]);
    assert_eq!(ends[0]["event"]["close_code"], 4501);
    let lists = replay(&log, &["--kind", "config"]);
    let hashes: Vec<_> = lists
        .iter()
        .filter(|line| line["event"]["what"].as_str().is_some_and(|what| what.contains("revocation")))
        .map(|line| line["event"]["sha256"].clone())
        .collect();
    assert!(hashes.len() >= 2 && hashes.first() != hashes.last(), "both lists stand in the log: {hashes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_with_files_that_cannot_be_used_changes_nothing() {
    let folder = TempDir::new().unwrap();
    let server = start(&configure(folder.path(), &Pki::get().folder, BRISK));
    let mut alice = connect(server.address, &Pki::get().client("acme/alice")).await;
    fs::write(folder.path().join("entitlements.toml"), "[[rule]]\nname = 7\n").unwrap();
    server.signal(Signal::HUP);
    let log = folder.path().join("log");
    loop {
        alice.goes_on().await;
        let refused = replay(&log, &["--kind", "config"]);
        if refused.iter().any(|line| line["event"]["what"] == "reload_refused") {
            break;
        }
    }
    let mut carol = connect(server.address, &Pki::get().client("acme/carol")).await;
    subscribe(&mut carol).await;
    drop((alice, carol));
    terminate(server);
}

#[test]
fn a_wrong_configuration_ends_with_78_and_names_its_place() {
    let pki = &Pki::get().folder;
    let cases = [
        ("[limits]\nmalformed_maxx = 3", &["malformed_maxx", "line", "SF-CFG-001"][..]),
        ("[limits]\nmalformed_max = \"three\"", &["line", "malformed_max", "SF-CFG-003"]),
        ("[limits]\nmalformed_max = 0", &["limits.malformed_max", "1 to 1000", "SF-CFG-003"]),
        ("[orders]\nwindow_ms = 99", &["orders.window_ms", "100 to 60000", "SF-CFG-003"]),
        ("[[source]]\ntype = \"dbn\"\npath = \"nowhere.dbn\"", &["nowhere.dbn", "SF-CFG-013"]),
        ("[[source]]\ntype = \"synthetic\"\nsymbol = [\"SEAL\"]", &["symbol", "line", "SF-CFG-001"]),
        ("[plaintext]\nlisten = \"0.0.0.0:80\"", &["plaintext", "line", "SF-CFG-001"]),
    ];
    for (more, named) in cases {
        let folder = TempDir::new().unwrap();
        let config = configure(folder.path(), pki, more);
        let Err(ended) = ServerProcess::start(&config) else { panic!("it starts with {more}") };
        assert_eq!(ended.status.code(), Some(78), "{more}: {ended:?}");
        for name in named {
            assert!(ended.stderr.contains(name), "{more}: no {name} in {}", ended.stderr);
        }
    }
    let folder = TempDir::new().unwrap();
    let output = run(&["serve", "--config", folder.path().join("none.toml").to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&output.stderr).contains("none.toml"));
}

#[test]
fn certificates_or_a_policy_that_cannot_be_used_end_with_78_and_name_the_file() {
    let pki = &Pki::get().folder;
    for (from, to, named) in [
        ("servers/localhost/server.pem", "servers/localhost/none.pem", "none.pem"),
        ("servers/localhost/server.key", "clients/acme/alice/client.key", "tls.certificate"),
        ("crl/clients.pem", "crl/none.pem", "none.pem"),
        ("entitlements.toml", "none.toml", "none.toml"),
    ] {
        let folder = TempDir::new().unwrap();
        let config = configure(folder.path(), pki, BRISK);
        let text = fs::read_to_string(&config).unwrap();
        assert!(text.contains(from));
        fs::write(&config, text.replace(from, to)).unwrap();
        let Err(ended) = ServerProcess::start(&config) else { panic!("it starts with {to}") };
        assert_eq!(ended.status.code(), Some(78), "{to}: {ended:?}");
        assert!(ended.stderr.contains(named), "{to}: no {named} in {}", ended.stderr);
    }
}

#[test]
fn an_address_in_use_and_a_log_that_cannot_be_made_end_with_78_and_their_code() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("\"{}\"", taken.local_addr().unwrap());
    for (from, to, code) in [
        ("\"127.0.0.1:0\"", &*address, "SF-CFG-010"),
        ("directory = \"log\"", "directory = \"/proc/log\"", "SF-CFG-014"),
    ] {
        let folder = TempDir::new().unwrap();
        let config = configure(folder.path(), &Pki::get().folder, BRISK);
        let text = fs::read_to_string(&config).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(&config, text.replace(from, to)).unwrap();
        let Err(ended) = ServerProcess::start(&config) else { panic!("it starts with {to}") };
        assert!(ended.stderr.contains(code), "{to}: no {code} in {}", ended.stderr);
        assert_eq!(ended.status.code(), Some(78), "{to}: {ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_the_same_log_is_refused_and_the_first_goes_on() {
    let folder = TempDir::new().unwrap();
    let config = configure(folder.path(), &Pki::get().folder, BRISK);
    let server = start(&config);
    let mut alice = connect(server.address, &Pki::get().client("acme/alice")).await;
    let Err(second) = ServerProcess::start(&config) else { panic!("two servers write one log") };
    assert_eq!(second.status.code(), Some(71), "{second:?}");
    assert!(second.stderr.contains("SF-AUD-005"), "{}", second.stderr);
    alice.goes_on().await;
    subscribe(&mut alice).await;
    drop(alice);
    terminate(server);
    let log = folder.path().join("log");
    let verdict = verify(&log, &["--key", &public_key(&log)]);
    assert_eq!((verdict.word(), verdict.code), ("VERIFIED", 0), "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_continues_the_log_and_the_epoch() {
    let folder = TempDir::new().unwrap();
    let config = configure(folder.path(), &Pki::get().folder, BRISK);
    let mut epochs = Vec::new();
    let mut trade_ids = Vec::new();
    let mut runs = Vec::new();
    for _ in 0..2 {
        let server = start(&config);
        let mut alice = connect(server.address, &Pki::get().client("acme/alice")).await;
        if let Some(before) = epochs.first() {
            let resume = json!({"SEAL": {"epoch": before, "seq": 1}});
            let request =
                json!({"op": "subscribe", "channel": "book", "symbols": ["SEAL"], "resume": resume});
            let reply = alice.request(request).await;
            assert_eq!(reply["symbols"]["SEAL"]["epoch"], *before, "the epoch goes on: {reply}");
            assert_eq!(reply["symbols"]["SEAL"]["recovered"], true, "the tape has what it missed");
        }
        epochs.push(subscribe(&mut alice).await);
        alice.request(json!({"op": "subscribe", "channel": "trades", "symbols": ["SEAL"]})).await;
        let trade = alice.message_where(|message| message["type"] == "trade").await;
        trade_ids.push(trade["trade_id"].as_str().unwrap().parse::<u64>().unwrap());
        drop(alice);
        terminate(server);
        let log = folder.path().join("log");
        let verdict = verify(&log, &["--key", &public_key(&log)]);
        assert_eq!((verdict.word(), verdict.code), ("VERIFIED", 0), "{verdict:?}");
        runs.push((verdict.report["runs"].as_u64().unwrap(), verdict.report["log"].clone()));
    }
    assert_eq!(epochs[0], epochs[1]);
    assert!(trade_ids[1] > trade_ids[0], "no number names two trades: {trade_ids:?}");
    assert_eq!(runs[1].0, runs[0].0 + 1, "one run more in the same log");
    assert_eq!(runs[1].1, runs[0].1);
    let log = folder.path().join("log");
    assert!(replay(&log, &[]).iter().enumerate().all(|(seq, line)| line["seq"] == seq));
}

#[test]
fn a_first_start_that_was_killed_while_it_made_the_log_is_made_up_for_by_the_next() {
    let folder = TempDir::new().unwrap();
    let config = configure(folder.path(), &Pki::get().folder, BRISK);
    // What the making of a log leaves behind before its last step, the first segment.
    let log = folder.path().join("log");
    for part in ["segments", "quarantine", "keys"] {
        fs::create_dir_all(log.join(part)).unwrap();
    }
    fs::write(log.join("keys/epoch.key"), [0; 8]).unwrap();
    terminate(start(&config));
    let verdict = verify(&log, &["--key", &public_key(&log)]);
    assert_eq!((verdict.word(), verdict.code), ("VERIFIED", 0), "{verdict:?}");

    // A log whose entries are gone is another matter: nothing is made in its place.
    for segment in fs::read_dir(log.join("segments")).unwrap() {
        fs::remove_file(segment.unwrap().path()).unwrap();
    }
    let Err(ended) = ServerProcess::start(&config) else { panic!("it starts on a log without entries") };
    assert_eq!((ended.status.code(), ended.status.signal()), (Some(71), None), "{ended:?}");
    assert!(ended.stderr.contains("SF-AUD-004"), "{}", ended.stderr);
}
