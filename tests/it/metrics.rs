//! Figures of a running server: they say what the sealed log says, what it only counts included, and stand in a file if one is asked for.

use std::os::unix::fs::PermissionsExt as _;

use rustls::AlertDescription as Alert;
use sealfeed_wire::{Code, SignedOp};
use serde_json::json;
use tempfile::TempDir;

use crate::harness::{Figures, LIMIT, POLICY, Pki, Server, fresh_address, fresh_nonce, tcp_from, wait_until};
use crate::orders::{now, resting};

#[tokio::test(flavor = "multi_thread")]
async fn figures_count_what_the_log_holds_by_kind_and_code() {
    let server = Server::start(|_| {}).await;
    let mut bob = server.connect(&Pki::get().client("acme/bob")).await;
    let signed = bob.sign_at(SignedOp::OrderNew, &resting("c-1"), now(900), fresh_nonce());
    let first = bob.send_signed(&signed).await;
    assert!(first.get("receipt").is_some(), "{first}");
    assert_eq!(bob.send_signed(&signed).await["code"], "SF-ORD-003");
    assert_eq!(bob.request(json!({"op": "nonsense"})).await["code"], "SF-SES-019");
    let (alert, _) = server.refused_handshake(&Pki::foreign().client("acme/alice")).await;
    assert_eq!(alert, Alert::UnknownCA);
    let figures = server.figures_when(|figures| figures.events("handshake_refused") > 0.0).await;
    assert_eq!(figures.get("sessions"), 1.0);
    assert_eq!(figures.get("audit_available"), 1.0);
    assert_eq!(figures.get("config_last_reload_successful"), 1.0);
    for (kind, code) in
        [("order_refused", "SF-ORD-003"), ("reject", "SF-SES-019"), ("handshake_refused", "SF-TLS-002")]
    {
        assert_eq!(figures.refusals(kind, code), 1.0, "{kind} {code}: {figures:#?}");
    }
    bob.leave();
    let figures = server.figures_when(|figures| figures.events("disconnect") > 0.0).await;
    assert_eq!(figures.get("disconnects_total{close_code=\"other\"}"), 1.0, "it left without a close frame");
    let names: Vec<_> = figures.beginning("sealfeed_").filter(|series| series.contains("bob")).collect();
    assert_eq!(names, [""; 0], "no figure names a client");
    let events = server.finish().await.0;
    for kind in ["connect", "order", "order_refused", "reject", "handshake_refused", "disconnect", "start"] {
        let logged = events.iter().filter(|event| event.kind == kind).count();
        assert_eq!(figures.events(kind), logged as f64, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_log_only_counts_is_counted_one_by_one() {
    const FLOOD: u32 = 30;
    let (server, from) = (Server::start(|_| {}).await, fresh_address());
    for _ in 0..FLOOD {
        drop(tcp_from(from, server.address).await);
    }
    let is_whole = |figures: &Figures| {
        figures.refusals("handshake_refused", "SF-TLS-024") == f64::from(FLOOD)
            && figures.events("suppressed") > 0.0
    };
    let figures = server.figures_when(is_whole).await;
    assert_eq!(figures.events("handshake_refused"), f64::from(FLOOD));
    let events = server.finish().await.0;
    let written = events.iter().filter(|event| event.kind == "handshake_refused").count();
    assert!(written < FLOOD as usize, "some were only counted in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_lists_and_reloads_show_their_times() {
    let folder = TempDir::new().unwrap();
    let server = Server::try_start(folder, POLICY, |_| {}).await.unwrap();
    let first = server.figures();
    let now = sealfeed::clock::Clock::System.now().0 as f64 / 1e9;
    for name in ["revocation_list_next_update", "server_certificate_not_after", "client_authority_not_after"]
    {
        let at = first.get(&format!("{name}_timestamp_seconds"));
        assert!(at > now + 3_600.0 && at < now + 40.0 * 365.25 * 86_400.0, "{name} {at}");
    }
    std::fs::write(&server.config.identity.entitlements, "nonsense").unwrap();
    server.running().reload().await.unwrap_err();
    let refused = server.figures();
    let success = "config_last_reload_success_timestamp_seconds";
    assert_eq!(refused.get("config_last_reload_successful"), 0.0);
    assert_eq!(refused.get(success), first.get(success));
    std::fs::write(&server.config.identity.entitlements, POLICY).unwrap();
    server.running().reload().await.unwrap();
    let again = server.figures();
    assert_eq!(again.get("config_last_reload_successful"), 1.0);
    assert!(again.get(success) > first.get(success));
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_of_figures_is_whole_at_all_times_can_be_read_by_others_and_is_written_a_last_time_at_the_end()
 {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("sealfeed.prom");
    let file = path.clone();
    let server = Server::start(move |config| {
        config.telemetry.metrics_file = Some(file);
        config.telemetry.metrics_interval_ms = 100;
    })
    .await;
    assert_eq!(Figures::read(&path).get("sessions"), 0.0, "it is there when the server listens");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    let client = server.connect(&Pki::get().client("acme/alice")).await;
    assert!(wait_until(LIMIT, || Figures::read(&path).get("sessions") == 1.0).await);
    client.leave();
    server.finish().await;
    let last = Figures::read(&path);
    assert_eq!((last.get("sessions"), last.events("connect"), last.events("disconnect")), (0.0, 1.0, 1.0));
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(left, [path], "nothing else is left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_figures_that_cannot_be_written_ends_the_start_with_its_code() {
    let folder = TempDir::new().unwrap();
    let nowhere = folder.path().join("nowhere/sealfeed.prom");
    let started =
        Server::try_start(folder, POLICY, |config| config.telemetry.metrics_file = Some(nowhere)).await;
    let Err(error) = started else { panic!("it started") };
    assert_eq!(error.code(), Some(Code::CfgMetricsFileUnusable));
    assert!(error.code().unwrap().as_str() == "SF-CFG-030");
}
