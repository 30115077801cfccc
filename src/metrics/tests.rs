//! Figures as a collector reads them.

use std::collections::{HashMap, HashSet};

use super::*;
use crate::journal::event;

fn text(metrics: &Metrics, readings: &Readings) -> HashMap<String, f64> {
    let text = metrics.encode(readings);
    let (mut values, mut described) = (HashMap::new(), HashSet::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(described.insert(name.to_owned()), "{name} is described twice");
        } else if !line.starts_with("# HELP ") {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            assert!(described.contains(name) && name.starts_with("sealfeed_"), "{line}");
            assert!(values.insert(series.to_owned(), value.parse().unwrap()).is_none(), "{series} twice");
        }
    }
    values
}

fn configuration(what: &str) -> Event {
    event::Configuration { what: what.to_owned(), sha256: String::new(), summary: String::new() }.into()
}

#[test]
fn every_line_belongs_to_a_metric_that_is_described_once_and_every_kind_is_there_from_the_start() {
    let metrics = Metrics::new(Clock::manual(UnixNanos(1_764_000_000_500_000_000)));
    metrics.alert_known("sample");
    let values = text(&metrics, &Readings { sessions: 3, connections: 4, ..Readings::default() });
    for (_, name) in Event::KINDS {
        assert_eq!(values[&format!("sealfeed_events_total{{kind=\"{name}\"}}")], 0.0, "{name}");
    }
    for (series, value) in [
        ("sealfeed_sessions", 3.0),
        ("sealfeed_connections", 4.0),
        ("sealfeed_audit_space", 2.0),
        ("sealfeed_audit_available", 0.0),
        ("sealfeed_start_time_seconds", 1_764_000_000.5),
        ("sealfeed_alerts_total{alert=\"sample\"}", 0.0),
        ("sealfeed_alert_firing{alert=\"sample\"}", 0.0),
        ("sealfeed_webhook_messages_total{outcome=\"dropped\"}", 0.0),
        ("sealfeed_disconnects_total{close_code=\"4001\"}", 0.0),
    ] {
        assert_eq!(values.get(series), Some(&value), "{series}: {values:#?}");
    }
    assert!(values["sealfeed_clock_error_seconds"].is_nan(), "nobody knows");
}

#[test]
fn refusals_are_counted_by_kind_and_code_and_ends_by_close_code() {
    let metrics = Metrics::new(Clock::manual(UnixNanos(0)));
    let disconnect = |close_code| {
        let text = String::new();
        event::Disconnect { principal: text.clone(), close_code, reason: text, received: 0, sent: 0 }.into()
    };
    let refused = event::HandshakeRefused {
        address: "127.0.0.1:1".to_owned(),
        code: "SF-TLS-001".to_owned(),
        claimed_subject: "CN=\"\n".to_owned(),
        claimed_serial: String::new(),
        claimed_issuer: String::new(),
        detail: String::new(),
    };
    for event in [refused.clone().into(), refused.into(), disconnect(4001), disconnect(1006), disconnect(7)] {
        metrics.observe(&event);
    }
    let values = text(&metrics, &Readings::default());
    for (series, value) in [
        ("sealfeed_refusals_total{kind=\"handshake_refused\",code=\"SF-TLS-001\"}", 2.0),
        ("sealfeed_events_total{kind=\"handshake_refused\"}", 2.0),
        ("sealfeed_events_total{kind=\"disconnect\"}", 3.0),
        ("sealfeed_disconnects_total{close_code=\"4001\"}", 1.0),
        ("sealfeed_disconnects_total{close_code=\"other\"}", 2.0),
    ] {
        assert_eq!(values.get(series), Some(&value), "{series}: {values:#?}");
    }
    assert_eq!(values.keys().filter(|series| series.starts_with("sealfeed_refusals")).count(), 1);
}

#[test]
fn a_refused_reload_shows_and_keeps_the_time_of_the_last_good_one() {
    let clock = Clock::manual(UnixNanos(7_000_000_000));
    let metrics = Metrics::new(clock.clone());
    let shown = |metrics: &Metrics| {
        let values = text(metrics, &Readings::default());
        ["successful", "success_timestamp_seconds"]
            .map(|name| values[&format!("sealfeed_config_last_reload_{name}")])
    };
    metrics.observe(&configuration("entitlements"));
    assert_eq!(shown(&metrics), [0.0, 0.0]);
    metrics.observe(&configuration("in_force"));
    assert_eq!(shown(&metrics), [1.0, 7.0]);
    clock.set(UnixNanos(9_000_000_000));
    metrics.observe(&configuration("reload_refused"));
    assert_eq!(shown(&metrics), [0.0, 7.0]);
    metrics.observe(&configuration("in_force"));
    assert_eq!(shown(&metrics), [1.0, 9.0]);
}
