//! Alerts of a running server: each is sealed, counted, logged and sent, when it begins and when it is over; receivers that fail are asked
//! again; and nobody waits for any of it.

use sealfeed::clock::Clock;
use sealfeed::config::{AlertsConfig, Config, CountThreshold, WebhookConfig};
use sealfeed_wire::{Code, SignedOp};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;

use crate::harness::{
    Answer, Client, Identity, Logged, POLICY, Pki, Receiver, Server, fresh_address, fresh_nonce, secret,
    secret_text, soon, tcp_from,
};
use crate::market::trading;
use crate::orders::{assert_accepted, assert_error, now, resting};
use crate::process::{ServerProcess, configure};

/// So many within a second.
const fn within_a_second(count: u64) -> CountThreshold {
    CountThreshold { count, window_ms: 1_000 }
}

/// So many within an hour: for tests that wait for no end.
const fn within_an_hour(count: u64) -> CountThreshold {
    CountThreshold { count, window_ms: 3_600_000 }
}

/// Alerts that are over a second after their cause, told to `receiver`.
fn told(config: &mut Config, receiver: &Receiver) {
    config.alerts.refire_ms = 1_000;
    config.alerts.webhooks = vec![receiver.config()];
}

/// The entry of an alert that begins or is over.
async fn alert(server: &Server, name: &str, state: &str) -> Logged {
    server.logged("alert", |event| event.text("name") == name && event.text("state") == state).await
}

/// A connection without a certificate, refused.
async fn refused(server: &Server, from: std::net::IpAddr) {
    let mut tls = server.tls_over(tcp_from(from, server.address).await, &Identity::none()).await;
    assert!(soon("the refusal", tls.read_u8()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_refused_handshakes_are_an_alert_that_is_sealed_counted_and_sent_and_is_over_when_they_stop() {
    let receiver = Receiver::start(&[]).await;
    let server = Server::start(|config| {
        told(config, &receiver);
        config.alerts.failed_authentication = within_an_hour(20);
    })
    .await;
    let from = fresh_address();
    for _ in 0..20 {
        refused(&server, from).await;
    }
    let fired = alert(&server, "failed_authentication", "firing").await;
    assert_eq!((fired.text("severity"), fired.text("threshold")), ("warning", "20"));
    assert_eq!(fired.fields["window_ms"], 3_600_000);
    let value: u64 = fired.text("value").parse().unwrap();
    assert!(value >= 20, "{}", fired.fields);
    let detail = format!("most from {from}: {value} of {value}; last code SF-TLS-001");
    assert_eq!(fired.text("detail"), detail);
    assert!(fired.text("hint").contains("audit report auth"), "{}", fired.fields);

    let is_it = |state: &'static str| {
        move |posted: &crate::harness::Posted| {
            posted.alert() == ("failed_authentication".to_owned(), state.to_owned())
        }
    };
    let posted = receiver.posted_where(is_it("firing")).await;
    let message = posted.verified();
    assert_eq!((posted.path.as_str(), &message["type"]), ("/hook", &json!("alert.firing")));
    for field in ["name", "severity", "state", "value", "threshold", "window_ms", "detail", "hint"] {
        assert_eq!(message["data"][field], fired.fields[field], "{field}");
    }
    assert_eq!((&message["data"]["entry"], &message["data"]["dropped"]), (&json!(fired.seq), &json!(0)));
    let log = message["data"]["log"].as_str().unwrap();
    assert_eq!(posted.id, format!("alert_{}_{}", &log[..16], fired.seq));

    // Another window begins empty.
    let mut alerts = server.config.alerts.clone();
    alerts.failed_authentication = within_a_second(20);
    server.running().reconfigure_alerts(&alerts);
    let over = alert(&server, "failed_authentication", "resolved").await;
    assert!(over.seq > fired.seq);
    let posted = receiver.posted_where(is_it("resolved")).await;
    assert_eq!(posted.verified()["type"], "alert.resolved");
    let label = "{alert=\"failed_authentication\"}";
    let figures = server.figures_when(|figures| figures.get(&format!("alert_firing{label}")) == 0.0).await;
    assert_eq!(figures.get(&format!("alerts_total{label}")), 1.0);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_fails_is_sent_the_same_message_again_signed_anew_and_is_not_followed_elsewhere() {
    let answers = [Answer::Status(503), Answer::Redirect, Answer::Status(404), Answer::Status(200)];
    let receiver = Receiver::start(&answers).await;
    let server = Server::start(|config| {
        told(config, &receiver);
        config.alerts.failed_authentication = within_an_hour(1);
    })
    .await;
    refused(&server, fresh_address()).await;
    let outcome = |outcome: &str| format!("webhook_messages_total{{outcome=\"{outcome}\"}}");
    let is_delivered = |figures: &crate::harness::Figures| figures.get(&outcome("delivered")) >= 1.0;
    let figures = server.figures_when(is_delivered).await;
    assert!(figures.get(&outcome("failed")) >= 3.0, "{figures:#?}");
    let posted = receiver.posted();
    let first = &posted[0];
    for again in &posted[1..answers.len()] {
        assert_eq!((&again.id, &again.body, &*again.path), (&first.id, &first.body, "/hook"));
        assert!(again.timestamp >= first.timestamp);
        again.verified();
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_over_tls_is_told_if_its_certificate_is_from_the_configured_authorities_and_else_is_not() {
    let (trusted, foreign) = (Receiver::start_tls(&[]).await, Receiver::start_tls(&[]).await);
    let server = Server::start(|config| {
        told(config, &trusted);
        let other =
            WebhookConfig { authorities: Some(Pki::foreign().server_authorities()), ..foreign.config() };
        config.alerts.webhooks.push(other);
        config.alerts.failed_authentication = within_an_hour(1);
    })
    .await;
    refused(&server, fresh_address()).await;
    trusted.posted_where(|posted| posted.alert().0 == "failed_authentication").await;
    let failed = "webhook_messages_total{outcome=\"failed\"}";
    server.figures_when(|figures| figures.get(failed) >= 1.0).await;
    assert!(foreign.posted().is_empty(), "nothing was said to it");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_silent_holds_up_neither_the_others_nor_the_stop() {
    let (silent, other) = (Receiver::start(&[Answer::Silence; 50]).await, Receiver::start(&[]).await);
    let server = Server::start(|config| {
        told(config, &silent);
        config.alerts.webhooks.push(other.config());
        config.alerts.failed_authentication = within_an_hour(1);
        config.alerts.rapid_connects = within_an_hour(2);
    })
    .await;
    let from = fresh_address();
    refused(&server, from).await;
    silent.posted_where(|posted| posted.alert().1 == "firing").await;
    refused(&server, from).await;
    other.posted_where(|posted| posted.alert().0 == "rapid_connects").await;
    // `finish` fails if the stop takes longer than its limit.
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replayed_stale_and_forged_messages_are_alerts_that_name_their_principal() {
    let server = Server::start(|config| {
        config.alerts.replay_attempts = within_an_hour(3);
        config.alerts.forged_messages = within_an_hour(2);
        config.alerts.malformed_messages = within_an_hour(2);
        config.limits.malformed_max = 1_000;
    })
    .await;
    let mut bob = server.connect(&Pki::get().client("acme/bob")).await;
    let signed = bob.sign_at(SignedOp::OrderNew, &resting("c-1"), now(900), fresh_nonce());
    assert_accepted(&bob.send_signed(&signed).await);
    assert_error(&bob.send_signed(&signed).await, "SF-ORD-003");
    let stale = bob.sign_at(SignedOp::OrderNew, &resting("c-2"), now(-60_000), fresh_nonce());
    assert_error(&bob.send_signed(&stale).await, "SF-ORD-002");
    let ahead = bob.sign_at(SignedOp::OrderNew, &resting("c-3"), now(60_000), fresh_nonce());
    assert_error(&bob.send_signed(&ahead).await, "SF-ORD-004");
    let mut forged = bob.sign(SignedOp::OrderNew, &resting("c-4"));
    forged["mac"] = "f".repeat(64).into();
    for _ in 0..2 {
        assert_error(&bob.send_signed(&forged).await, "SF-ORD-001");
        assert_eq!(bob.error_of("{\"op\":").await, "SF-SES-011");
    }
    for (name, value, code) in [
        ("replay_attempts", "3", "SF-ORD-004"),
        ("forged_messages", "2", "SF-ORD-001"),
        ("malformed_messages", "2", "SF-SES-011"),
    ] {
        let fired = alert(&server, name, "firing").await;
        let detail = format!("most from acme/bob: {value} of {value}; last code {code}");
        assert_eq!((fired.text("value"), fired.text("detail")), (value, &*detail), "{name}");
    }
    bob.leave();
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_who_is_cut_off_is_an_alert() {
    let server = Server::start(|config| {
        trading(config, &["SEAL", "FEED"], 2_000);
        config.limits.out_queue_bytes_max = 128 * 1024;
        config.limits.socket_unsent_bytes_max = 32 * 1024;
        config.alerts.slow_consumers = within_an_hour(1);
    })
    .await;
    let mut slow = server.connect_with_a_small_window(&Pki::get().client("acme/carol")).await;
    let request = json!({"op": "subscribe", "id": 1, "channel": "book", "symbols": ["SEAL", "FEED"], "depth": 0, "on_slow": "disconnect"});
    slow.send(request.to_string()).await;
    let fired = alert(&server, "slow_consumers", "firing").await;
    assert_eq!(fired.text("detail"), "most from acme/carol: 1 of 1; last code SF-SES-026");
    slow.leave();
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_list_near_its_end_is_an_alert_until_a_fresh_one_is_in_force() {
    let folder = TempDir::new().unwrap();
    let pki = Pki::get().copy_to(folder.path());
    pki.run(&["crl", "--days", "1"]);
    let server = Server::start(|config| {
        config.alerts.refire_ms = 1_000;
        config.alerts.revocation_list_hours = 25;
        config.tls.client_revocation_lists = pki.folder.join("crl/clients.pem");
    })
    .await;
    let fired = alert(&server, "revocation_list_expiring", "firing").await;
    assert_eq!((fired.text("value"), fired.text("threshold")), ("23 hours", "25 hours"), "{}", fired.fields);
    assert!(fired.text("detail").starts_with("good until 20"), "{}", fired.fields);
    pki.run(&["crl", "--days", "30"]);
    server.running().reload().await.unwrap();
    alert(&server, "revocation_list_expiring", "resolved").await;
    let expired = |event: &Logged| event.text("name") == "revocation_list_expired";
    assert!(!server.log_events("alert").iter().any(expired));
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_and_certificates_past_their_end_are_alerts_by_the_servers_clock() {
    let clock = Clock::manual(Clock::System.now());
    let folder = TempDir::new().unwrap();
    let server = Server::try_start_by(clock.clone(), folder, POLICY, |_| {}).await.unwrap();
    let in_forty_years = clock.now().0 + 40 * 365 * 86_400 * 1_000_000_000;
    clock.set(sealfeed_wire::UnixNanos(in_forty_years));
    for name in [
        "revocation_list_expiring",
        "revocation_list_expired",
        "server_certificate_expiring",
        "client_authority_expiring",
    ] {
        let fired = alert(&server, name, "firing").await;
        assert!(fired.text("value").starts_with('-'), "{}", fired.fields);
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_reload_is_an_alert_until_one_succeeds() {
    let server = Server::start(|config| config.alerts.refire_ms = 1_000).await;
    std::fs::write(&server.config.identity.entitlements, "nonsense").unwrap();
    server.running().reload().await.unwrap_err();
    let fired = alert(&server, "reload_refused", "firing").await;
    let sealed = server.logged("config", |event| event.text("what") == "reload_refused").await;
    assert_eq!(fired.text("detail"), sealed.text("summary"));
    std::fs::write(&server.config.identity.entitlements, POLICY).unwrap();
    server.running().reload().await.unwrap();
    alert(&server, "reload_refused", "resolved").await;
    server.finish().await;
}

/// A policy whose bob may engage kill switches.
fn with_operator() -> String {
    POLICY.replacen(
        "firm = \"acme\", role = \"trader\" }",
        "firm = \"acme\", role = \"trader\" }\nadmin = [\"kill\"]",
        1,
    )
}

async fn kill(client: &mut Client, action: &str) {
    let body = json!({"scope": "symbol", "target": "SEAL", "action": action, "reason": "a test"});
    let reply = client.order(SignedOp::AdminKill, &body.to_string()).await;
    assert_eq!(reply["type"], "ok", "{reply}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engaged_kill_switch_is_an_alert_after_a_restart_too_until_it_is_released() {
    let folder = TempDir::new().unwrap();
    let server = Server::try_start(folder, &with_operator(), |_| {}).await.unwrap();
    let mut bob = server.connect(&Pki::get().client("acme/bob")).await;
    kill(&mut bob, "engage").await;
    let fired = alert(&server, "kill_switch_engaged", "firing").await;
    assert_eq!((fired.text("severity"), fired.text("detail")), ("critical", "symbol SEAL"));
    bob.leave();
    let (_, folder) = server.finish().await;
    let again = |config: &mut Config| config.alerts.refire_ms = 1_000;
    let server = Server::try_start(folder, &with_operator(), again).await.unwrap();
    let is_it = |event: &Logged| event.text("name") == "kill_switch_engaged" && event.seq > fired.seq;
    let fired_again = server.logged("alert", is_it).await;
    assert_eq!((fired_again.text("state"), fired_again.text("detail")), ("firing", "symbol SEAL"));
    let mut bob = server.connect(&Pki::get().client("acme/bob")).await;
    kill(&mut bob, "release").await;
    alert(&server, "kill_switch_engaged", "resolved").await;
    bob.leave();
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_one_address_are_an_alert_however_they_end() {
    let server = Server::start(|config| config.alerts.rapid_connects = within_an_hour(4)).await;
    let from = fresh_address();
    for _ in 0..3 {
        refused(&server, fresh_address()).await;
        refused(&server, from).await;
    }
    let alice = Pki::get().client("acme/alice");
    let mut tls = server.tls_over(tcp_from(from, server.address).await, &alice).await;
    tokio::io::AsyncWriteExt::write_all(&mut tls, b"GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let fired = alert(&server, "rapid_connects", "firing").await;
    assert_eq!(fired.text("detail"), format!("most from {from}: 4 of 7"), "{}", fired.fields);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_reads_each_alert_and_what_to_do_and_never_a_secret() {
    let folder = TempDir::new().unwrap();
    let receiver = Receiver::start(&[Answer::Status(500)]).await;
    secret(folder.path());
    let more = format!(
        r#"
        [alerts]
        refire_ms = 1000
        failed_authentication = {{ count = 1, window_ms = 3600000 }}
        [[alerts.webhook]]
        url = "{}"
        secret_file = "alerts.secret"
        "#,
        receiver.config().url
    );
    let server = ServerProcess::start(&configure(folder.path(), &Pki::get().folder, &more)).unwrap();
    drop(tcp_from(fresh_address(), server.address).await);
    let mut tcp = tcp_from(fresh_address(), server.address).await;
    tokio::io::AsyncWriteExt::write_all(&mut tcp, b"no TLS at all\r\n\r\n").await.unwrap();
    receiver.posted_where(|posted| posted.alert().0 == "failed_authentication").await;
    let posted = receiver.posted();
    let first = posted[0].clone();
    receiver.posted_where(|again| again.id == first.id && receiver.posted().len() > 1).await;
    server.signal(rustix::process::Signal::TERM);
    let ended = server.wait();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let line =
        ended.stderr.lines().find(|line| line.contains("an alert fires") && line.contains("failed_auth"));
    let line = line.unwrap_or_else(|| panic!("{}", ended.stderr));
    assert!(
        line.contains("WARN") && line.contains("audit report auth") && line.contains("SF-TLS-021"),
        "{line}"
    );
    assert!(ended.stderr.contains("a receiver did not take an alert"), "{}", ended.stderr);
    for secret in [secret_text().as_str(), "of-the-receiver"] {
        assert!(!ended.stderr.contains(secret), "{}", ended.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_cannot_be_used_ends_the_start_with_its_code() {
    let receiver = Receiver::start(&[]).await;
    let folder = TempDir::new().unwrap();
    let empty = folder.path().join("empty");
    std::fs::write(&empty, "").unwrap();
    let with = |change: &dyn Fn(&mut WebhookConfig)| {
        let mut webhook = receiver.config();
        change(&mut webhook);
        webhook
    };
    let private = secret(folder.path());
    std::fs::write(&private, "whsec_short").unwrap();
    for (webhook, code) in [
        (with(&|webhook| webhook.secret_file = private.clone()), Code::CfgWebhookSecretUnusable),
        (with(&|webhook| webhook.secret_file = folder.path().join("nowhere")), Code::CfgFileUnreadable),
        (with(&|webhook| webhook.secret_file = Pki::get().server_authorities()), Code::CfgFileExposed),
        (with(&|webhook| webhook.authorities = Some(empty.clone())), Code::CfgWebhookInvalid),
    ] {
        let started = Server::try_start(TempDir::new().unwrap(), POLICY, |config| {
            config.alerts.webhooks = vec![receiver.config(), webhook];
        })
        .await;
        let Err(error) = started else { panic!("it started, and not with {code}") };
        assert_eq!(error.code(), Some(code));
        let text = format!("{:#}", anyhow::Error::from(error));
        assert!(text.contains("number 2") && !text.contains("of-the-receiver"), "{text}");
    }
}

/// What stands between two headings of the document.
fn section<'a>(document: &'a str, heading: &str) -> &'a str {
    let (_, rest) = document.split_once(heading).unwrap();
    rest.split("\n## ").next().unwrap()
}

/// The rows of the tables in a section, cell by cell, without their headings.
fn rows(section: &str) -> Vec<Vec<String>> {
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_the_table_in_the_code_and_the_figures_name_the_same_alerts() {
    use sealfeed::alerts::Alert;
    let document = include_str!("../../docs/ALERTS.md");
    let told = rows(section(document, "## The alerts"));
    let told: Vec<_> = told.iter().map(|row| (row[0].as_str(), row[1].as_str(), row[2].as_str())).collect();
    let code: Vec<_> =
        Alert::ALL.iter().map(|alert| (alert.name(), alert.severity().as_str(), alert.key())).collect();
    assert_eq!(told, code);
    let told = rows(section(document, "## What to do"));
    let told: Vec<_> = told.iter().map(|row| (row[0].as_str(), row[1].as_str())).collect();
    let code: Vec<_> = Alert::ALL.iter().map(|alert| (alert.name(), alert.hint())).collect();
    assert_eq!(told, code);

    let server = Server::start(|_| {}).await;
    let figures = server.figures();
    for alert in Alert::ALL {
        for family in ["alerts_total", "alert_firing"] {
            let series = format!("sealfeed_{family}{{alert=\"{}\"}}", alert.name());
            assert_eq!(figures.beginning(&series).count(), 1, "{series}");
        }
    }
    let shown: std::collections::BTreeSet<&str> =
        figures.beginning("sealfeed_").map(|series| series.split('{').next().unwrap()).collect();
    let told = rows(section(document, "## Figures"));
    let mut told: std::collections::BTreeSet<&str> =
        told.iter().map(|row| row[0].split('{').next().unwrap()).collect();
    assert!(told.remove("sealfeed_refusals_total"), "which is shown once something was refused");
    assert_eq!(told, shown);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_thresholds_hold_at_once_and_for_what_was_counted_before() {
    let with = |count| AlertsConfig {
        refire_ms: 1_000,
        failed_authentication: within_an_hour(count),
        ..AlertsConfig::default()
    };
    let server = Server::start(|config| config.alerts = with(3)).await;
    for _ in 0..2 {
        refused(&server, fresh_address()).await;
    }
    server.figures_when(|figures| figures.events("handshake_refused") == 2.0).await;
    server.running().reconfigure_alerts(&with(2));
    let fired = alert(&server, "failed_authentication", "firing").await;
    assert_eq!((fired.text("value"), fired.text("threshold")), ("2", "2"));
    server.running().reconfigure_alerts(&with(0));
    let over = alert(&server, "failed_authentication", "resolved").await;
    assert!(over.seq > fired.seq);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_is_over_may_fire_again() {
    let server = Server::start(|config| {
        config.alerts.refire_ms = 1_000;
        config.alerts.failed_authentication = CountThreshold { count: 2, window_ms: 4_000 };
    })
    .await;
    let mut before = None;
    for _ in 0..2 {
        let fired = async {
            loop {
                refused(&server, fresh_address()).await;
                let figures = server.figures();
                if figures.get("alert_firing{alert=\"failed_authentication\"}") == 1.0 {
                    break;
                }
            }
        };
        soon("the alert", fired).await;
        let is_it = |event: &Logged| event.text("state") == "resolved" && Some(event.seq) > before;
        before = Some(
            server
                .logged("alert", |event| event.text("name") == "failed_authentication" && is_it(event))
                .await
                .seq,
        );
    }
    let figures = server.figures();
    assert_eq!(figures.get("alerts_total{alert=\"failed_authentication\"}"), 2.0);
    server.finish().await;
}
