//! Months that are counted, entry by entry.

use sealfeed_audit::reader::Entry;
use sealfeed_audit::{CLOCK_ERROR_UNKNOWN_NS, ClockState, Header, SessionLink, Stamp};

use super::*;
use crate::journal::Event;
use crate::journal::event::{self, DeliveredRange};

const MONTH: (u64, u64) = (1_000, 2_000);
const LATE_MS: u64 = 900_000;
const BOB: &str = "acme/bob";

/// Adds an entry of session `number` to what is counted.
fn entry(month: &mut Month, time: u64, number: u8, (kind, schema, payload): (u16, u16, Vec<u8>)) {
    let clock_state = ClockState::Unknown;
    let stamp =
        Stamp { utc_ns: time, monotonic_ns: time, clock_error_ns: CLOCK_ERROR_UNKNOWN_NS, clock_state };
    let header = Header {
        kind,
        schema,
        group_end: false,
        seq: time,
        previous: [0; 32],
        stamp,
        epoch: 0,
        group: 0,
        run: 0,
        session: Some(SessionLink { id: [number; 32], event: 0 }),
        order: None,
    };
    month.learn(&Row::new(Entry { header, payload, hash: [0; 32], segment: 0, offset: 0 }));
}

/// Counts a log of these entries: time, session, event. Each session is bob's and connects at time 0.
fn counted(events: &[(u64, u8, Event)]) -> Vec<String> {
    let mut month = Month::new(MONTH);
    let mut add = |time, number, event: &Event| {
        entry(&mut month, time, number, (event.kind(), event.schema(), event.encode().unwrap()));
    };
    let numbers: BTreeSet<u8> = events.iter().map(|(_, number, _)| *number).collect();
    for number in numbers {
        add(0, number, &connect());
    }
    for (time, number, event) in events {
        add(*time, *number, event);
    }
    shown(month)
}

/// Each row: symbol, delay, at start, activations, deactivations, most at once, delivered.
fn shown(month: Month) -> Vec<String> {
    let Table { columns, rows } = month.table();
    let of = |row: &Vec<String>, name: &str| {
        row[columns.iter().position(|column| *column == name).unwrap()].clone()
    };
    let names = [
        "symbol",
        "delayed_ms",
        "enabled_at_start",
        "activations",
        "deactivations",
        "most_at_once",
        "delivered",
    ];
    rows.iter().map(|row| names.map(|name| of(row, name)).join(" ")).collect()
}

fn connect() -> Event {
    let text = String::new;
    let principal = BOB.to_owned();
    let (address, serial, certificate, user_agent) = (text(), text(), text(), text());
    let (protocol, role, sessions, professional, display) = (text(), text(), 1, None, None);
    event::Connect {
        address,
        principal,
        serial,
        certificate,
        user_agent,
        protocol,
        role,
        sessions,
        professional,
        display,
    }
    .into()
}

fn subscribe(symbols: &[&str]) -> Event {
    let granted = symbols.iter().map(ToString::to_string).collect();
    let (principal, channel) = (BOB.to_owned(), "book".to_owned());
    event::Subscribe { principal, channel, depth: 10, granted, refused: Vec::new() }.into()
}

fn delayed(symbols: &[&str], delayed_ms: u64) -> Event {
    let symbols = symbols.iter().map(ToString::to_string).collect();
    event::Delayed { principal: BOB.to_owned(), channel: "book".to_owned(), symbols, delayed_ms }.into()
}

fn unsubscribe(symbols: &[&str]) -> Event {
    let symbols = symbols.iter().map(ToString::to_string).collect();
    event::Unsubscribe { principal: BOB.to_owned(), channel: "book".to_owned(), symbols }.into()
}

fn ended(symbols: &[&str]) -> Event {
    let row = |symbol: &&str| ("book".to_owned(), (*symbol).to_owned(), "SF-SUB-003".to_owned());
    let ended = symbols.iter().map(row).collect();
    let (principal, professional, display) = (BOB.to_owned(), None, None);
    event::Entitlement { principal, rules: Vec::new(), ended, professional, display }.into()
}

fn range(symbol: &str, first: u64, last: u64) -> Vec<DeliveredRange> {
    vec![DeliveredRange { channel: "book".to_owned(), symbol: symbol.to_owned(), depth: 10, first, last }]
}

fn delivered(symbol: &str, first: u64, last: u64, delayed_ms: u64) -> Event {
    let (principal, epoch) = (BOB.to_owned(), "1f".to_owned());
    let (ranges, delayed_ms) = (range(symbol, first, last), Some(delayed_ms));
    event::Delivered { principal, epoch, ranges, delayed_ms }.into()
}

#[test]
fn a_month_begins_at_midnight_utc_of_its_first_day() {
    assert_eq!(parse_month("1970-01"), Ok((0, 31 * 86_400_000_000_000)));
    let (start, end) = parse_month("2024-12").unwrap();
    assert_eq!((end - start) / 86_400_000_000_000, 31);
    for wrong in ["2024", "2024-13", "2024-00", "x-1", "1969-12"] {
        assert!(parse_month(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn what_comes_late_is_another_unit_than_what_comes_in_real_time() {
    let rows = counted(&[
        (1_100, 1, subscribe(&["FEED", "SEAL"])),
        (1_100, 1, delayed(&["SEAL"], LATE_MS)),
        (1_200, 1, delivered("FEED", 1, 10, 0)),
        (1_200, 1, delivered("SEAL", 1, 3, LATE_MS)),
        (1_300, 2, subscribe(&["SEAL"])),
        (1_400, 2, delivered("SEAL", 5, 9, 0)),
        (1_500, 1, unsubscribe(&["SEAL"])),
    ]);
    assert_eq!(rows, ["FEED 0 no 1 0 1 10", "SEAL 0 no 1 0 1 5", "SEAL 900000 no 1 1 1 3"]);
}

#[test]
fn a_subscription_that_ends_with_the_next_entry_was_switched_on_all_the_same() {
    let rows = counted(&[(1_100, 1, subscribe(&["SEAL"])), (1_200, 1, unsubscribe(&["SEAL"]))]);
    assert_eq!(rows, ["SEAL 0 no 1 1 1 0"]);
    let rows = counted(&[(1_100, 1, subscribe(&["SEAL"])), (1_100, 1, delayed(&["SEAL"], 5))]);
    assert_eq!(rows, ["SEAL 5 no 1 0 1 0"], "at the end of the log, too");
}

#[test]
fn asking_again_with_another_depth_switches_nothing_on_or_off_whatever_the_delay() {
    let rows = counted(&[
        (1_100, 1, subscribe(&["SEAL"])),
        (1_100, 1, delayed(&["SEAL"], LATE_MS)),
        (1_200, 1, subscribe(&["SEAL"])),
        (1_200, 1, delayed(&["SEAL"], LATE_MS)),
        (1_300, 1, delivered("SEAL", 1, 1, LATE_MS)),
    ]);
    assert_eq!(rows, ["SEAL 900000 no 1 0 1 1"]);
}

#[test]
fn what_a_changed_policy_ended_is_switched_off_and_what_went_on_late_is_switched_on_late() {
    let rows = counted(&[
        (1_100, 1, subscribe(&["FEED", "SEAL"])),
        (1_200, 1, ended(&["FEED", "SEAL"])),
        (1_200, 1, subscribe(&["SEAL"])),
        (1_200, 1, delayed(&["SEAL"], LATE_MS)),
        // What had left before is said behind it, and is what it was.
        (1_200, 1, delivered("SEAL", 1, 7, 0)),
        (1_300, 1, delivered("SEAL", 1, 2, LATE_MS)),
    ]);
    assert_eq!(rows, ["FEED 0 no 1 1 1 0", "SEAL 0 no 1 1 1 7", "SEAL 900000 no 1 0 1 2"]);
}

#[test]
fn what_was_granted_late_at_the_turn_of_a_month_is_late_in_both() {
    let rows = counted(&[
        (999, 1, subscribe(&["SEAL"])),
        (1_000, 1, delayed(&["SEAL"], LATE_MS)),
        (1_999, 2, subscribe(&["SEAL"])),
        (2_000, 2, delayed(&["SEAL"], LATE_MS)),
        (2_001, 2, delivered("SEAL", 1, 2, LATE_MS)),
    ]);
    assert_eq!(rows, ["SEAL 900000 yes 1 0 2 0"]);
    let rows = counted(&[
        (100, 1, subscribe(&["SEAL"])),
        (100, 1, delayed(&["SEAL"], LATE_MS)),
        (1_500, 1, delivered("SEAL", 1, 2, LATE_MS)),
    ]);
    assert_eq!(rows, ["SEAL 900000 yes 0 0 1 2"]);
}

#[test]
fn an_entry_that_does_not_say_the_delay_is_counted_with_that_of_the_sessions_last_grant() {
    let mut month = Month::new(MONTH);
    let mut add = |time, event: &Event| {
        entry(&mut month, time, 1, (event.kind(), event.schema(), event.encode().unwrap()));
    };
    add(0, &connect());
    add(1_100, &subscribe(&["FEED", "SEAL"]));
    add(1_100, &delayed(&["SEAL"], LATE_MS));
    add(1_200, &unsubscribe(&["SEAL"]));
    for (symbol, last) in [("FEED", 4), ("SEAL", 8)] {
        // As it was written before schema 2.
        let older = (BOB.to_owned(), "1f".to_owned(), range(symbol, 1, last));
        entry(&mut month, 1_300, 1, (279, 1, postcard::to_allocvec(&older).unwrap()));
    }
    assert_eq!(shown(month), ["FEED 0 no 1 0 1 4", "SEAL 900000 no 1 1 1 8"]);
}
