//! When alerts fire and when they are over, by hand and against one who remembers everything.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::config::CountThreshold;
use crate::journal::ClockReading;

const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_764_000_000 * SECOND;

/// Everything is well, for a year.
fn well() -> Readings {
    let later = UnixNanos(START + 365 * 24 * 3_600 * SECOND);
    Readings {
        revocation_list_next_update: later,
        server_certificate_not_after: later,
        client_authority_not_after: later,
        log_available: true,
        ..Readings::default()
    }
}

fn at(ms: u64) -> UnixNanos {
    UnixNanos(START + ms * 1_000_000)
}

fn counting(what: Counted, source: &str) -> Counting {
    Counting { what, source: Some(source.into()), code: Some(Code::TlsCertificateMissing) }
}

/// What changes at a time: names, with `+` in front of those that begin to fire.
fn changes(engine: &mut Engine, now: UnixNanos, readings: &Readings) -> Vec<String> {
    let transitions = engine.judge(now, readings);
    transitions
        .iter()
        .map(|one| format!("{}{}", if one.fires { '+' } else { '-' }, one.alert.name()))
        .collect()
}

#[test]
fn nothing_fires_where_everything_is_well() {
    let mut engine = Engine::new(AlertsConfig::default());
    assert_eq!(changes(&mut engine, at(0), &well()), [""; 0]);
}

#[test]
fn a_count_fires_at_its_threshold_says_where_from_and_is_over_when_the_window_has_passed() {
    let mut engine = Engine::new(AlertsConfig { refire_ms: 1_000, ..AlertsConfig::default() });
    for number in 0..19 {
        engine.count(at(number), &counting(Counted::FailedAuthentication, "10.0.0.1"));
    }
    assert_eq!(changes(&mut engine, at(100), &well()), [""; 0]);
    engine.count(at(100), &counting(Counted::FailedAuthentication, "10.0.0.2"));
    let fired = engine.judge(at(100), &well());
    let expected = Finding {
        holds: true,
        value: "20".to_owned(),
        threshold: "20".to_owned(),
        window_ms: 60_000,
        detail: "most from 10.0.0.1: 19 of 20; last code SF-TLS-001".to_owned(),
    };
    let transition = Transition { alert: Alert::FailedAuthentication, fires: true, finding: expected };
    assert_eq!(fired, [transition]);
    assert_eq!(changes(&mut engine, at(50_000), &well()), [""; 0], "it is said once");
    assert_eq!(changes(&mut engine, at(61_000), &well()), ["-failed_authentication"]);
}

#[test]
fn an_alert_fires_for_its_least_time_so_that_it_cannot_fire_again_sooner() {
    let mut engine = Engine::new(AlertsConfig::default());
    let refused = |engine: &mut Engine, refused: bool| {
        engine.change(Change::Reload { refused: refused.then(|| "line 1".to_owned()) });
    };
    refused(&mut engine, true);
    assert_eq!(changes(&mut engine, at(0), &well()), ["+reload_refused"]);
    refused(&mut engine, false);
    assert_eq!(changes(&mut engine, at(59_999), &well()), [""; 0]);
    refused(&mut engine, true);
    assert_eq!(changes(&mut engine, at(60_000), &well()), [""; 0], "it fires still");
    refused(&mut engine, false);
    assert_eq!(changes(&mut engine, at(60_001), &well()), ["-reload_refused"]);
    refused(&mut engine, true);
    assert_eq!(changes(&mut engine, at(60_002), &well()), ["+reload_refused"]);
}

#[test]
fn connections_are_counted_by_address_and_everything_else_in_all() {
    let mut engine = Engine::new(AlertsConfig::default());
    for number in 0..150 {
        engine.count(at(0), &counting(Counted::RapidConnects, &format!("10.0.0.{}", number % 2)));
    }
    assert_eq!(changes(&mut engine, at(0), &well()), [""; 0], "75 each");
    for _ in 0..25 {
        engine.count(at(1), &counting(Counted::RapidConnects, "10.0.0.1"));
    }
    assert_eq!(changes(&mut engine, at(1), &well()), ["+rapid_connects"]);
    engine.count_unnamed(at(1), Counted::ReplayAttempts, 5);
    assert_eq!(changes(&mut engine, at(2), &well()), ["+replay_attempts"]);
    engine.count(at(3), &Counting { what: Counted::Bans, source: None, code: None });
    assert_eq!(changes(&mut engine, at(3), &well()), ["+bans"]);
}

#[test]
fn lists_and_certificates_warn_ahead_of_their_end_and_say_when_it_has_come() {
    let hours = |hours: u64| UnixNanos(START + hours * 3_600 * SECOND);
    let mut engine = Engine::new(AlertsConfig { refire_ms: 1_000, ..AlertsConfig::default() });
    let ending = Readings {
        revocation_list_next_update: hours(25),
        server_certificate_not_after: hours(14 * 24 + 1),
        client_authority_not_after: hours(30 * 24 + 1),
        ..well()
    };
    assert_eq!(changes(&mut engine, hours(1), &ending), [""; 0], "exactly that long is enough");
    let fired = engine.judge(UnixNanos(hours(1).0 + 1), &ending);
    assert_eq!(fired.len(), 3, "{fired:?}");
    assert_eq!((&*fired[0].finding.value, &*fired[0].finding.threshold), ("23 hours", "24 hours"));
    assert_eq!(changes(&mut engine, UnixNanos(hours(25).0 + 1), &ending), ["+revocation_list_expired"]);
    let later = Readings { revocation_list_next_update: hours(100), ..ending };
    let over = ["-revocation_list_expiring", "-revocation_list_expired"];
    assert_eq!(changes(&mut engine, hours(26), &later), over);
}

#[test]
fn states_fire_while_they_last() {
    let mut engine = Engine::new(AlertsConfig { refire_ms: 1_000, ..AlertsConfig::default() });
    let switch = |switch: &str, engaged| Change::Kill { switch: switch.to_owned(), engaged };
    engine.change(switch("firm beta", true));
    engine.change(switch("all", true));
    engine.change(switch("all", true));
    let breached = ClockReading { breached: true, ..ClockReading::default() };
    let bad = Readings { clock: breached, space: Space::Critical, ..well() };
    let fired = engine.judge(at(0), &bad);
    let names: Vec<_> = fired.iter().map(|one| one.alert.name()).collect();
    assert_eq!(names, ["clock_tolerance", "audit_space_low", "audit_space_critical", "kill_switch_engaged"]);
    assert_eq!(fired[3].finding.detail, "all, firm beta");
    engine.change(switch("all", false));
    let low = Readings { space: Space::Low, ..well() };
    assert_eq!(changes(&mut engine, at(2_000), &low), ["-clock_tolerance", "-audit_space_critical"]);
    engine.change(switch("firm beta", false));
    assert_eq!(changes(&mut engine, at(4_000), &well()), ["-audit_space_low", "-kill_switch_engaged"]);
}

#[test]
fn every_alert_can_be_turned_off_while_it_fires() {
    let off = CountThreshold { count: 0, window_ms: 60_000 };
    let none = AlertsConfig {
        refire_ms: 1_000,
        failed_authentication: off,
        rapid_connects: off,
        replay_attempts: off,
        forged_messages: off,
        malformed_messages: off,
        slow_consumers: off,
        bans: off,
        revocation_list_hours: 0,
        server_certificate_hours: 0,
        client_authority_hours: 0,
        reload_refused: false,
        clock_tolerance: false,
        audit_space: false,
        kill_switch: false,
        webhooks: Vec::new(),
    };
    let mut engine = Engine::new(AlertsConfig::default());
    for what in Counted::ALL {
        engine.count_unnamed(at(0), what, 1_000);
        for _ in 0..100 {
            engine.count(at(0), &counting(what, "10.0.0.1"));
        }
    }
    engine.change(Change::Reload { refused: Some(String::new()) });
    engine.change(Change::Kill { switch: "all".to_owned(), engaged: true });
    let clock = ClockReading { breached: true, ..ClockReading::default() };
    let bad = Readings { clock, space: Space::Critical, ..Readings::default() };
    assert_eq!(engine.judge(at(0), &bad).len(), Alert::ALL.len(), "all of them fire");
    engine.reconfigure(&none);
    assert_eq!(engine.judge(at(1_000), &bad).len(), Alert::ALL.len(), "and all of them are over");
    assert_eq!(engine.judge(at(9_000), &bad), []);
}

#[test]
fn a_clock_that_is_set_back_keeps_no_alert_alive() {
    let mut engine = Engine::new(AlertsConfig { refire_ms: 1_000, ..AlertsConfig::default() });
    engine.count_unnamed(at(3_600_000), Counted::SlowConsumers, 3);
    assert_eq!(changes(&mut engine, at(3_600_000), &well()), ["+slow_consumers"]);
    assert_eq!(changes(&mut engine, at(0), &well()), [""; 0]);
    assert_eq!(changes(&mut engine, at(1_000), &well()), ["-slow_consumers"]);
}

proptest! {
    /// Three properties, at every look: what holds fires; two beginnings are a least time apart; what ends does not hold.
    #[test]
    fn what_holds_fires_and_nothing_fires_twice_within_its_least_time(
        steps in vec((1..800_u64, 0..4_u64), 1..200),
        refire_ms in 1_000..4_000_u64,
        threshold in 1..6_u64,
    ) {
        let slow_consumers = CountThreshold { count: threshold, window_ms: 1_000 };
        let mut engine = Engine::new(AlertsConfig { refire_ms, slow_consumers, ..AlertsConfig::default() });
        let (mut now, mut remembered, mut fires, mut begun) = (0, Vec::new(), false, None::<u64>);
        for (passed, count) in steps {
            now += passed;
            engine.count_unnamed(at(now), Counted::SlowConsumers, count);
            remembered.push((at(now).0 / 100_000_000, count));
            let part = at(now).0 / 100_000_000;
            let sum: u64 = remembered.iter().filter(|(of, _)| part - of < 10).map(|(_, count)| count).sum();
            for one in engine.judge(at(now), &well()) {
                prop_assert_eq!(one.alert, Alert::SlowConsumers);
                prop_assert_ne!(one.fires, fires, "it changes, or nothing is said");
                fires = one.fires;
                if fires {
                    prop_assert!(begun.is_none_or(|begun| now - begun >= refire_ms));
                    begun = Some(now);
                } else {
                    prop_assert!(sum < threshold);
                }
            }
            prop_assert!(fires || sum < threshold, "{} of {}", sum, threshold);
            let has_to = sum >= threshold || begun.is_some_and(|begun| fires && now - begun < refire_ms);
            prop_assert_eq!(fires, has_to);
        }
    }
}
