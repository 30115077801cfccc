//! A certificate that is withdrawn while its sessions are open: they end at once, its orders go with them, one entry says so, and
//! nobody else notices. And what a reload takes of the configuration.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use rcgen::{
    CertificateRevocationListParams, ExtendedKeyUsagePurpose, KeyIdMethod, RevocationReason,
    RevokedCertParams, SerialNumber,
};
use rustix::process::Signal;
use sealfeed_wire::SignedOp;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Client, Ended, Identity, LIMIT, Logged, POLICY, Pki, Server, wait_until};
use crate::process::{ServerProcess, configure, connect, replay, upgrade_of};

const ALICE: &str = "acme/alice";
const BOB: &str = "acme/bob";

/// A server that watches its files, with a PKI of its own in `folder`.
async fn watching(folder: &Path, policy: &str) -> (Server, Pki) {
    let pki = Pki::get().copy_to(folder);
    let server = Server::with_policy(policy, |config| {
        config.tls.client_revocation_lists = pki.folder.join("crl/clients.pem");
        config.identity.master_key = pki.folder.join("master/current.hex");
        config.server.watch_files = true;
    })
    .await;
    (server, pki)
}

async fn rests(client: &mut Client, name: &str) -> u64 {
    let body = json!({
        "cl_ord_id": name, "symbol": "SEAL", "side": "buy", "type": "limit", "qty": "1", "price": "2.00", "tif": "gtc",
    });
    let body = body.to_string();
    let reply = client.order(SignedOp::OrderNew, &body).await;
    assert_eq!(reply["status"], "accepted", "{reply}");
    reply["order_id"].as_str().unwrap().parse().unwrap()
}

fn hex(sessions: &[&Client]) -> BTreeSet<String> {
    sessions.iter().map(|session| session.session.to_string()).collect()
}

fn texts(value: &Value) -> BTreeSet<String> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn revoked() -> Ended {
    Ended { code: Some(4501), reason: "SF-SES-032".to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_lands_ends_sessions_and_orders_and_one_entry_links_them_with_its_number() {
    let folder = TempDir::new().unwrap();
    let (server, pki) = watching(folder.path(), POLICY).await;
    let mut first = server.connect(&Pki::get().client(BOB)).await;
    let mut second = server.connect(&Pki::get().client(BOB)).await;
    let mut erin = server.connect(&Pki::get().client("acme/erin")).await;
    let orders = [rests(&mut first, "b-1").await, rests(&mut second, "b-2").await];
    rests(&mut erin, "e-1").await;
    // Nobody asks for a reload: the file is all that changes.
    pki.run(&["revoke", BOB, "--reason", "keyCompromise"]);
    for session in [&mut first, &mut second] {
        assert_eq!(session.ended().await.0, revoked());
    }
    let entry = server.logged("revocation", |event| event.text("principal") == BOB).await;
    let (_, certificate) = x509(&Pki::get().client(BOB));
    assert_eq!(entry.text("serial"), certificate.serial);
    assert_eq!(entry.text("certificate"), certificate.sha256);
    assert!(
        entry.text("why").contains(&format!("revocation list number {}", number(&pki))),
        "{}",
        entry.fields
    );
    assert_eq!(texts(&entry.fields["sessions"]), hex(&[&first, &second]));
    assert_eq!(entry.fields["orders"], json!(orders));
    let state = erin.request(json!({"op": "order.status", "cl_ord_id": "e-1"})).await;
    assert_eq!(state["state"], "new", "{state}");
    drop((first, second, erin));
    server.finish().await;
}

/// Puts a file in place of another in one step.
fn put(path: &Path, bytes: &[u8]) {
    let next = path.with_extension("next");
    fs::write(&next, bytes).unwrap();
    fs::rename(&next, path).unwrap();
}

/// What the test itself reads from a certificate.
struct Read {
    serial: String,
    sha256: String,
}

fn x509(who: &Identity) -> (usize, Read) {
    let der = &who.chain[0];
    let (_, parsed) = x509_parser::parse_x509_certificate(der).unwrap();
    let serial = parsed.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let sha256 = sealfeed_audit::hex(&sealfeed_audit::sha256(der));
    (der.len(), Read { serial: serial.trim_start_matches("00").to_owned(), sha256 })
}

/// Number of the revocation list of the authority for clients.
fn number(pki: &Pki) -> u64 {
    let folder = pki.folder.join("crl");
    let pem = fs::read(folder.join("clients.pem")).unwrap();
    let numbers = x509_parser::pem::Pem::iter_from_buffer(&pem).map(|pem| {
        let pem = pem.unwrap();
        let (_, list) = x509_parser::parse_x509_crl(&pem.contents).unwrap();
        let is_of_clients = list.iter_revoked_certificates().count() > 0;
        (is_of_clients, list.crl_number().unwrap().to_string().parse().unwrap())
    });
    numbers.filter(|(is_of_clients, _)| *is_of_clients).map(|(_, number)| number).max().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_of_a_certificate_go_with_it_even_if_no_session_of_it_is_open() {
    let folder = TempDir::new().unwrap();
    let (server, pki) = watching(folder.path(), POLICY).await;
    let mut bob = server.connect(&Pki::get().client(BOB)).await;
    let order = rests(&mut bob, "b-1").await;
    bob.request(json!({"op": "logout"})).await;
    bob.ended().await;
    pki.run(&["revoke", BOB, "--reason", "keyCompromise"]);
    let entry = server.logged("revocation", |event| event.text("principal") == BOB).await;
    assert_eq!((&entry.fields["sessions"], &entry.fields["orders"]), (&json!([]), &json!([order])));
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_used_is_said_once_and_the_next_good_one_is_taken() {
    let folder = TempDir::new().unwrap();
    let (server, pki) = watching(folder.path(), POLICY).await;
    let mut alice = server.connect(&Pki::get().client(ALICE)).await;
    let list = pki.folder.join("crl/clients.pem");
    let good = fs::read(&list).unwrap();
    put(&list, &good[..good.len() / 2]);
    let refused = server.logged("config", |event| event.text("what") == "reload_refused").await;
    assert!(refused.text("summary").starts_with("by changed files: SF-CFG-0"), "{}", refused.fields);
    alice.goes_on().await;
    put(&list, &good);
    pki.run(&["revoke", ALICE, "--reason", "keyCompromise"]);
    assert_eq!(alice.ended().await.0, revoked());
    let reloaded = |event: &Logged| {
        event.text("what") == "reloaded" && event.text("summary").contains("1 sessions ended")
    };
    server.logged("config", reloaded).await;
    drop(alice);
    let (events, _folder) = server.finish().await;
    let refusals =
        events.iter().filter(|event| event.kind == "config" && event.text("what") == "reload_refused");
    let refusals: Vec<&str> = refusals.map(|event| event.text("summary")).collect();
    assert_eq!(refusals.len(), 1, "{refusals:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_needs_a_restart_is_refused_as_a_whole_and_says_which_keys() {
    let folder = TempDir::new().unwrap();
    let config = configure(folder.path(), &Pki::get().folder, "heartbeat_seconds = 5");
    let server = ServerProcess::start(&config).unwrap();
    let mut bob = connect(server.address, &Pki::get().client(BOB)).await;
    let text = fs::read_to_string(&config).unwrap();
    let other = folder.path().join("other.toml");
    fs::write(&other, POLICY.replace("role = \"trader\"", "role = \"service\"")).unwrap();
    // One key that could be taken, and one that cannot.
    let both = text
        .replace("entitlements.toml", "other.toml")
        .replace("heartbeat_seconds = 5", "heartbeat_seconds = 6");
    fs::write(&config, both).unwrap();
    server.signal(Signal::HUP);
    let log = folder.path().join("log");
    let of = |what: &'static str| {
        let log = log.clone();
        move || -> Option<String> {
            let lines = replay(&log, &["--kind", "config"]);
            let line = lines.iter().rev().find(|line| line["event"]["what"] == what)?;
            Some(line["event"]["summary"].as_str().unwrap().to_owned())
        }
    };
    assert!(wait_until(LIMIT, || of("reload_refused")().is_some()).await);
    let refused = of("reload_refused")().unwrap();
    assert!(refused.contains("SF-CFG-034") && refused.contains("log.heartbeat_seconds"), "{refused}");
    bob.goes_on().await;
    // The same without the key that needs a restart: a trader is nobody any more.
    fs::write(&config, text.replace("entitlements.toml", "other.toml")).unwrap();
    server.signal(Signal::HUP);
    assert_eq!(bob.ended().await.0.code, Some(4503));
    let is_said =
        || of("reloaded")().is_some_and(|text| text.contains("keys changed: identity.entitlements"));
    assert!(wait_until(LIMIT, is_said).await, "{:?}", of("reloaded")());
    server.signal(Signal::TERM);
    server.wait();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_principal_on_the_deny_list_is_thrown_out_as_soon_as_the_file_says_so_and_may_come_back_when_it_does_not()
 {
    let folder = TempDir::new().unwrap();
    let list = folder.path().join("deny.toml");
    put(&list, b"");
    let server = Server::with_policy(POLICY, |config| {
        config.tls.deny_list = Some(list.clone());
        config.server.watch_files = true;
    })
    .await;
    let mut bob = server.connect(&Pki::get().client(BOB)).await;
    let mut erin = server.connect(&Pki::get().client("acme/erin")).await;
    let order = rests(&mut bob, "b-1").await;
    put(&list, b"[[deny]]\nprincipal = \"acme/bob\"\nreason = \"laptop left in a taxi\"\n");
    assert_eq!(bob.ended().await.0, revoked());
    let entry = server.logged("revocation", |event| event.text("principal") == BOB).await;
    let why = entry.text("why");
    assert!(why.contains("deny-list") && why.contains("laptop left in a taxi"), "{why}");
    assert_eq!(entry.fields["orders"], json!([order]));
    let (_, address) = server.refused_handshake(&Pki::get().client(BOB)).await;
    let refused = server.logged("handshake_refused", |event| event.text("address") == address).await;
    assert_eq!(refused.text("code"), "SF-TLS-025");
    erin.goes_on().await;
    put(&list, b"");
    let reloaded = |event: &Logged| {
        event.text("what") == "reloaded" && event.text("summary").contains("0 sessions ended")
    };
    server.logged("config", reloaded).await;
    server.connect(&Pki::get().client(BOB)).await.goes_on().await;
    drop((bob, erin));
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_outlive_the_certificate_where_the_policy_says_so() {
    let folder = TempDir::new().unwrap();
    let policy =
        TRADERS.replace("orders_per_second = 1000", "orders_per_second = 1000\ncancel_on_revocation = false");
    let (server, pki) = watching(folder.path(), &policy).await;
    let mut bob = server.connect(&Pki::get().client(BOB)).await;
    rests(&mut bob, "b-1").await;
    pki.run(&["revoke", BOB, "--reason", "superseded"]);
    assert_eq!(bob.ended().await.0, revoked());
    let entry = server.logged("revocation", |event| event.text("principal") == BOB).await;
    assert_eq!(entry.fields["orders"], json!([]));
    drop(bob);
    let (events, _folder) = server.finish().await;
    assert!(events.iter().all(|event| event.kind != "withdrawal"), "something cancelled its order");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_runs_out_takes_its_market_data_from_open_sessions_without_any_reload() {
    let until = sealfeed::clock::Clock::System.now().0 + 3_000_000_000;
    let until = sealfeed::clock::format_utc(sealfeed_wire::UnixNanos(until));
    let trial = format!(
        "{POLICY}\n[[rule]]\nname = \"trial\"\nmatch = {{ user = \"dave\" }}\nchannels = [\"bbo\"]\nsymbols = [\"*\"]\n\
         valid_to = {until}\n"
    );
    let server = Server::with_policy(&trial, |config| config.server.watch_files = false).await;
    let mut dave = server.connect(&Pki::get().client("beta/dave")).await;
    let reply = dave.request(json!({"op": "subscribe", "channel": "bbo", "symbols": ["SEAL"]})).await;
    assert_eq!(reply["refused"], json!({}), "{reply}");
    let notice = dave.message_where(|message| message["type"] == "entitlement").await;
    assert_eq!(notice["ended"][0]["channel"], "bbo", "{notice}");
    assert_eq!(notice["ended"][0]["symbols"]["SEAL"]["code"], "SF-SUB-004", "{notice}");
    let reply = dave.request(json!({"op": "subscribe", "channel": "bbo", "symbols": ["SEAL"]})).await;
    assert_eq!(reply["refused"]["SEAL"]["code"], "SF-SUB-004", "{reply}");
    dave.goes_on().await;
    drop(dave);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_waits_for_a_restart_keeps_no_revocation_away() {
    let folder = TempDir::new().unwrap();
    let pki = Pki::get().copy_to(folder.path());
    let config = configure(folder.path(), &pki.folder, "heartbeat_seconds = 5");
    let server = ServerProcess::start(&config).unwrap();
    let mut bob = connect(server.address, &pki.client(BOB)).await;
    let text = fs::read_to_string(&config).unwrap();
    put(&config, text.replace("heartbeat_seconds = 5", "heartbeat_seconds = 6").as_bytes());
    pki.run(&["revoke", BOB, "--reason", "keyCompromise"]);
    server.signal(Signal::HUP);
    assert_eq!(bob.ended().await.0, revoked());
    let log = folder.path().join("log");
    let said = || {
        let lines = replay(&log, &["--kind", "config"]);
        lines.last().is_some_and(|line| line["event"]["what"] == "reload_refused")
    };
    assert!(wait_until(LIMIT, said).await, "the refusal is the last that is said");
    server.signal(Signal::TERM);
    server.wait();
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_and_thresholds_are_taken_by_a_reload_and_what_was_put_together_at_the_start_is_not() {
    let folder = TempDir::new().unwrap();
    let more = "[limits]\nheader_bytes_max = 8192\n[alerts]\nrefire_ms = 60000";
    let config = configure(folder.path(), &Pki::get().folder, more);
    let server = ServerProcess::start(&config).unwrap();
    connect(server.address, &Pki::get().client(BOB)).await.goes_on().await;
    let text = fs::read_to_string(&config).unwrap();
    let log = folder.path().join("log");
    let said = |what: &'static str, word: &'static str| {
        let lines = replay(&log, &["--kind", "config"]);
        let of = lines.iter().filter(|line| line["event"]["what"] == what);
        of.filter(|line| line["event"]["summary"].as_str().unwrap().contains(word)).count() == 1
    };
    put(&config, text.replace("header_bytes_max = 8192", "out_bytes_max = 1073741824").as_bytes());
    server.signal(Signal::HUP);
    assert!(wait_until(LIMIT, || said("reload_refused", "limits.out_bytes_max")).await);
    put(&config, text.replace("8192", "1024").replace("refire_ms = 60000", "refire_ms = 50000").as_bytes());
    server.signal(Signal::HUP);
    assert!(
        wait_until(LIMIT, || said("reloaded", "keys changed: alerts.refire_ms, limits.header_bytes_max"))
            .await
    );
    // The new bound holds for whoever comes now.
    let long = format!("X-Trace: {}\r\n", "x".repeat(2_000));
    let late = upgrade_of(server.address, &Pki::get().client(BOB), &long).await;
    assert_eq!((late.status, late.json()["code"].as_str().unwrap()), (400, "SF-SES-010"));
    server.signal(Signal::TERM);
    server.wait();
}

/// Principals of the drill: half of them are withdrawn.
struct Crowd {
    certificates: Vec<Identity>,
}

/// Sessions of the drill, over all certificates.
fn sessions() -> usize {
    std::env::var("SEALFEED_DRILL_SESSIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(100)
}

impl Crowd {
    fn new(pki: &Pki, count: usize) -> Self {
        let issue = |number: usize| {
            let mut who = pki.issue_against_the_rules(
                "acme",
                &format!("desk{number}"),
                ExtendedKeyUsagePurpose::ClientAuth,
            );
            who.order_key = Some(pki.order_key_of(&who.chain[0]));
            who
        };
        Self { certificates: (0..count).map(issue).collect() }
    }
}

/// A list that revokes these certificates and follows the one in force, in one step on the disk.
fn revoke_all(pki: &Pki, certificates: &[Identity]) {
    let path = pki.folder.join("crl/clients.pem");
    let old = fs::read_to_string(&path).unwrap();
    let now = time::OffsetDateTime::now_utc();
    let revoked_certs = certificates.iter().map(|who| {
        let (_, parsed) = x509_parser::parse_x509_certificate(&who.chain[0]).unwrap();
        RevokedCertParams {
            serial_number: SerialNumber::from_slice(parsed.raw_serial()),
            revocation_time: now,
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        }
    });
    let list = CertificateRevocationListParams {
        this_update: now,
        next_update: now + time::Duration::days(7),
        crl_number: SerialNumber::from(number(pki) + 1),
        issuing_distribution_point: None,
        revoked_certs: revoked_certs.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let issuer = pki.clients_authority();
    let ours = list.signed_by(&issuer).unwrap();
    let (_, own) = x509_parser::parse_x509_crl(ours.der()).unwrap();
    let of_others = |block: &&str| {
        let (_, pem) = x509_parser::pem::parse_x509_pem(block.as_bytes()).unwrap();
        let (_, list) = x509_parser::parse_x509_crl(&pem.contents).unwrap();
        list.issuer().as_raw() != own.issuer().as_raw()
    };
    let blocks = old.split_inclusive("-----END X509 CRL-----\n").filter(|block| block.contains("BEGIN"));
    let others: String = blocks.filter(of_others).collect();
    put(&path, (others + &ours.pem().unwrap()).as_bytes());
}

const TRADERS: &str = r#"
[[rule]]
name = "desks"
match = { firm = "acme" }
channels = ["trades", "bbo", "book"]
symbols = ["*"]
[rule.orders]
symbols = ["*"]
orders_per_second = 1000
[rule.limits]
sessions_max = 100
"#;

/// `SEALFEED_DRILL_SESSIONS=500` for the drill of the issue: a tenth of them is withdrawn at once.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_sessions_exactly_the_revoked_ones_end_and_the_others_miss_nothing() {
    let folder = TempDir::new().unwrap();
    let pki = Pki::get().copy_to(folder.path());
    let server = Server::with_policy(TRADERS, |config| {
        config.tls.client_revocation_lists = pki.folder.join("crl/clients.pem");
        config.identity.master_key = pki.folder.join("master/current.hex");
        config.server.watch_files = true;
        config.limits.connections_per_address_max = 10_000;
        crate::market::trading(config, &["SEAL", "FEED"], 200);
    })
    .await;
    let count = sessions();
    // As many certificates as sessions: each withdrawn one is a principal of its own.
    let crowd = Crowd::new(&pki, count);
    let mut clients = Vec::new();
    for who in &crowd.certificates {
        let mut client = server.connect(who).await;
        let reply = client.request(json!({"op": "subscribe", "channel": "bbo", "symbols": ["SEAL"]})).await;
        assert_eq!(reply["refused"], json!({}), "{reply}");
        rests(&mut client, "rests").await;
        clients.push(Member { client, seq: None });
    }
    let mut gone = clients.split_off(count - count / 10);
    let withdrawn = &crowd.certificates[count - count / 10..];
    // Everybody is read from here on, each by a task of its own.
    let (end_reading, reading) = tokio::sync::watch::channel(false);
    let readers: Vec<_> =
        clients.into_iter().map(|member| tokio::spawn(member.read_until(reading.clone()))).collect();
    let landed = tokio::time::Instant::now();
    revoke_all(&pki, withdrawn);
    let mut slowest = std::time::Duration::ZERO;
    let ends: Vec<_> = gone
        .drain(..)
        .map(|mut member| {
            tokio::spawn(async move { (member.client.ended().await.0, tokio::time::Instant::now()) })
        })
        .collect();
    for end in ends {
        let (ended, at) = end.await.unwrap();
        assert_eq!(ended, revoked());
        slowest = slowest.max(at - landed);
    }
    println!("{} of {count} sessions ended; the last {slowest:?} after the list landed", withdrawn.len());
    if let Ok(bound) = std::env::var("SEALFEED_DRILL_MS") {
        assert!(slowest.as_millis() <= bound.parse().unwrap(), "{slowest:?}");
    }
    // None of them comes back, with a ticket or without.
    for who in withdrawn.iter().take(5) {
        let (alert, _) = server.refused_handshake(who).await;
        assert_eq!(alert, rustls::AlertDescription::CertificateRevoked);
    }
    end_reading.send(true).unwrap();
    for reader in readers {
        reader.await.unwrap().client.leave();
    }
    let (events, _folder) = server.finish().await;
    let of = |kind: &'static str| events.iter().filter(move |event| event.kind == kind);
    assert_eq!(of("revocation").count(), withdrawn.len());
    for entry in of("revocation") {
        assert_eq!(entry.fields["sessions"].as_array().unwrap().len(), 1);
        assert_eq!(entry.fields["orders"].as_array().unwrap().len(), 1);
        assert!(entry.text("why").contains("revocation list number"), "{}", entry.fields);
    }
    let ended = of("disconnect").filter(|event| event.fields["close_code"] == 4501);
    assert_eq!(ended.count(), withdrawn.len());
}

/// A session of the drill.
struct Member {
    client: Client,
    seq: Option<u64>,
}

impl Member {
    /// Reads on without a gap until it is told to stop, and is alive then.
    async fn read_until(mut self, mut stop: tokio::sync::watch::Receiver<bool>) -> Self {
        while !*stop.borrow_and_update() {
            let message = self.client.message().await;
            if message["channel"] == "bbo" && message["seq"].is_u64() {
                let previous = message["prev_seq"].as_u64();
                assert!(self.seq.is_none() || previous.is_none() || previous == self.seq, "a gap: {message}");
                self.seq = message["seq"].as_u64();
            }
        }
        self.client.goes_on().await;
        self
    }
}
