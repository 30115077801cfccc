//! Rules that hold for a while: what a principal has before, during and after, and when that changes.

use super::tests::NOW;
use super::*;
use crate::types::TimeArithmetic as _;
use sealfeed_wire::Depth;

const DAY_NS: u64 = 86_400_000_000_000;

/// A trial of three days and an embargo within it.
const FILE: &str = r#"
[[rule]]
name = "always"
match = { firm = "acme" }
channels = ["trades"]
symbols = ["*"]

[[rule]]
name = "trial"
match = { firm = "acme", user = "desk7" }
channels = ["book"]
symbols = ["*"]
valid_from = 2026-11-27
valid_to = 2026-11-29

[[deny]]
name = "embargo"
match = { firm = "acme" }
symbols = ["FEED"]
valid_from = 2026-11-28T16:00:00Z
valid_to = 2026-11-28T18:00:00Z
"#;

fn desk7() -> Principal {
    Principal::new("acme", "desk7").unwrap()
}

fn parse(file: &str) -> Policy {
    Policy::parse(file.as_bytes()).unwrap()
}

#[test]
fn a_rule_grants_from_its_first_instant_and_no_more_once_it_has_ended() {
    let policy = parse(FILE);
    let (begins, ends) = (NOW.plus_ns(DAY_NS), NOW.plus_ns(4 * DAY_NS));
    let book = |now: u64| {
        let entitlement = policy.entitlement(&desk7(), None, UnixNanos(now)).unwrap();
        entitlement
            .may_subscribe(Channel::Book, "SEAL", Depth::Full, Conflation::Off)
            .map(|access| access.rule.to_string())
    };
    assert_eq!(book(begins.0 - 1), Err(Code::SubChannelNotEntitled));
    assert_eq!(book(begins.0).as_deref(), Ok("trial"));
    assert_eq!(book(ends.0 - 1).as_deref(), Ok("trial"));
    assert_eq!(book(ends.0), Err(Code::SubChannelNotEntitled));
}

#[test]
fn a_deny_outside_its_dates_denies_nothing() {
    let policy = parse(FILE);
    let begins = NOW.plus_ns(2 * DAY_NS + 16 * DAY_NS / 24);
    let trades = |now: UnixNanos| {
        let entitlement = policy.entitlement(&desk7(), None, now).unwrap();
        entitlement.may_subscribe(Channel::Trades, "FEED", Depth::Full, Conflation::Off).is_ok()
    };
    assert!(trades(NOW));
    assert!(!trades(begins));
    assert!(trades(begins.plus_ns(2 * DAY_NS / 24)));
}

#[test]
fn an_entitlement_says_when_it_may_be_another_one() {
    let policy = parse(FILE);
    let mut instants = Vec::new();
    let mut now = NOW;
    while let Some(next) = policy.entitlement(&desk7(), None, now).unwrap().changes_at {
        assert!(next > now);
        assert_eq!(policy.next_change(&desk7(), None, now), Some(next));
        instants.push(format_utc(next));
        now = next;
    }
    let expected = ["27T00:00:00", "28T16:00:00", "28T18:00:00", "30T00:00:00"];
    assert_eq!(instants, expected.map(|instant| format!("2026-11-{instant}.000000000Z")));
    let other = Principal::new("acme", "desk8").unwrap();
    let instant = policy.next_change(&other, None, NOW).map(format_utc);
    assert_eq!(instant.as_deref(), Some("2026-11-28T16:00:00.000000000Z"), "the trial is not for desk8");
    assert_eq!(policy.next_change(&Principal::new("beta", "x").unwrap(), None, NOW), None);
}

#[test]
fn who_has_nothing_yet_or_no_more_is_told_so_with_a_code_of_its_own() {
    let (_, trial) = FILE.split_once("\n\n").unwrap();
    let policy = parse(trial);
    let refused = |now: UnixNanos| {
        let error = policy.entitlement(&desk7(), None, now).unwrap_err();
        (error.code(), error.to_string())
    };
    let (code, text) = refused(NOW);
    assert_eq!(code, Code::SesEntitlementOutOfDates);
    assert_eq!(text, "what rule `trial` grants acme/desk7 begins at 2026-11-27T00:00:00.000000000Z");
    assert!(refused(NOW.plus_ns(4 * DAY_NS)).1.ends_with("ended at 2026-11-30T00:00:00.000000000Z"));
    assert_eq!(code.http_status(), Some(403));
    let stranger = Principal::new("acme", "desk8").unwrap();
    let error = policy.entitlement(&stranger, None, NOW).unwrap_err();
    assert_eq!(error.code(), Code::SesEntitlementMissing);
}

#[test]
fn rules_that_contradict_each_other_at_different_times_do_not() {
    let limits = |name: &str, from: &str, to: &str| {
        format!(
            "[[rule]]\nname = \"{name}\"\nmatch = {{}}\nvalid_from = {from}\nvalid_to = {to}\n[rule.limits]\nsessions_max = 1\n"
        )
    };
    let file = |second: &str| {
        let rules = limits("a", "2026-11-01", "2026-11-30") + &limits("b", second, "2027-01-01");
        parse(&format!("{FILE}{rules}"))
    };
    assert!(file("2026-12-01").entitlement(&desk7(), None, NOW).is_ok());
    let at = NOW.plus_ns(4 * DAY_NS);
    assert!(matches!(
        file("2026-11-30").entitlement(&desk7(), None, at),
        Err(PolicyError::Ambiguous { section: "limits", .. })
    ));
}

#[test]
fn dates_the_wrong_way_round_are_refused_with_the_rule() {
    for (good, bad) in [
        ("valid_to = 2026-11-29", "valid_to = 2026-11-26"),
        ("valid_to = 2026-11-28T18:00:00Z", "valid_to = 2026-11-28T16:00:00Z"),
    ] {
        let error = Policy::parse(FILE.replace(good, bad).as_bytes()).unwrap_err();
        assert_eq!(error.code(), Code::CfgRuleDates);
        assert!(error.to_string().contains("never holds"), "{error}");
    }
    let one_day = FILE.replace("valid_to = 2026-11-29", "valid_to = 2026-11-27");
    assert!(Policy::parse(one_day.as_bytes()).is_ok(), "a date is its whole day");
}
