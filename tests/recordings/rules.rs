//! What makes an instrument stale, exchange by exchange, and what makes it whole again: in recordings made here.

use std::fmt::Write;

use sealfeed::config::SourceConfig;
use sealfeed::source::{SourceError, SourceFault, SourceStatus};
use sealfeed::types::{Code, MarketEventKind};

use crate::play;
use crate::replay::{Replay, Sent};

/// What a replay sent, a word for each: the prices of levels, the faults.
fn check(exchange: crate::Exchange, lines: &[String]) -> (Vec<String>, Replay) {
    let mut text = String::new();
    for (index, line) in lines.iter().enumerate() {
        writeln!(text, "{index}.5: {line}").unwrap();
    }
    let replay = play(exchange, text.as_bytes()).unwrap();
    let known = |id| assert!(replay.instruments.by_id(id).is_some(), "{id:?}");
    let words = replay.sent.iter().map(|sent| match sent {
        Sent::Event(event) => match event.kind {
            MarketEventKind::Level { price, quantity, .. } => format!("{price}x{quantity}"),
            MarketEventKind::Clear => "clear".to_owned(),
            MarketEventKind::Trade { .. } => "trade".to_owned(),
            other => panic!("{other:?}"),
        },
        Sent::Stale(id, fault) => {
            known(*id);
            fault.code().to_string()
        }
        Sent::Whole(id) => {
            known(*id);
            "whole".to_owned()
        }
    });
    (words.collect(), replay)
}

fn kraken_snapshot(ask: &str, bid: &str) -> String {
    format!(r#"[1,{{"as":[["{ask}","1.0","1.0"]],"bs":[["{bid}","1.0","1.0"]]}},"book-10","A/B"]"#)
}

/// An update of a bid, with the checksum of a book of one ask and one bid.
fn kraken_update(bid: &str, quantity: &str, digits: &str) -> String {
    let checksum = crc32fast::hash(digits.as_bytes());
    format!(r#"[1,{{"b":[["{bid}","{quantity}","2.0"]],"c":"{checksum}"}},"book-10","A/B"]"#)
}

#[test]
fn a_checksum_that_disagrees_makes_stale_until_the_next_snapshot() {
    let trade = r#"[1,[["2.5","1.0","2.0","b","m",""]],"trade","A/B"]"#.to_owned();
    let (words, replay) = check(
        SourceConfig::Kraken,
        &[
            kraken_snapshot("3.0", "2.0"),
            kraken_update("2.0", "1.5", "30102015"),
            kraken_update("2.0", "1.7", "something else"),
            trade,
            kraken_update("2.0", "1.6", "30102016"),
            kraken_snapshot("3.1", "2.1"),
            kraken_update("2.1", "1.2", "31102112"),
        ],
    );
    assert_eq!(
        words,
        [
            "clear",
            "2x1",
            "3x1",
            "2x1.5",
            "SF-PUB-001",
            "trade",
            "clear",
            "2.1x1",
            "3.1x1",
            "whole",
            "2.1x1.2"
        ]
    );
    let counts = replay.ended();
    assert_eq!((counts.checksums, counts.faults, counts.left_out), (2, 1, 1));
    let fault = replay.sent.iter().find_map(|sent| match sent {
        Sent::Stale(_, fault) => Some(*fault),
        _ => None,
    });
    let Some(SourceFault::Checksum { record: 3, expected, computed }) = fault else { panic!("{fault:?}") };
    assert_eq!(expected, i64::from(crc32fast::hash(b"something else")));
    assert_eq!(computed, i64::from(crc32fast::hash(b"30102017")));
    assert_eq!(fault.unwrap().code(), Code::PubChecksumMismatch);
}

#[test]
fn what_falls_behind_the_depth_of_the_exchange_is_taken_off() {
    let level = |price: u32| format!(r#"["{price}.0","1.0","1.0"]"#);
    let asks: Vec<_> = (1..=10).map(|price| level(price + 10)).collect();
    let snapshot = format!(r#"[1,{{"as":[{}],"bs":[]}},"book-10","A/B"]"#, asks.join(","));
    let digits: String = (10..20).map(|price| format!("{price}010")).collect();
    let update = format!(
        r#"[1,{{"a":[{}],"c":"{}"}},"book-10","A/B"]"#,
        level(10),
        crc32fast::hash(digits.as_bytes())
    );
    let (words, _) = check(SourceConfig::Kraken, &[snapshot, update]);
    assert_eq!(words[11..], ["10x1", "20x0"]);
}

#[test]
fn an_update_without_a_snapshot_and_a_new_connection_make_stale() {
    let update = || kraken_update("2.0", "1.5", "30102015");
    let (words, _) =
        check(SourceConfig::Kraken, &[update(), update(), kraken_snapshot("3.0", "2.0"), update()]);
    assert_eq!(words, ["SF-PUB-005", "clear", "2x1", "3x1", "whole", "2x1.5"]);
    let text = format!(
        "wss://x <-> 0.5\n1.5: {}\nwss://x <-> 2.5\n3.5: {}\n4.5: {}\n",
        kraken_snapshot("3.0", "2.0"),
        update(),
        kraken_snapshot("3.0", "2.0")
    );
    let replay = play(SourceConfig::Kraken, text.as_bytes()).unwrap();
    let faults: Vec<_> = replay.sent.iter().filter(|sent| !matches!(sent, Sent::Event(_))).collect();
    assert!(
        matches!(faults[..], [Sent::Stale(_, fault @ SourceFault::Reconnected { record: 3 }), Sent::Whole(_)]
            if fault.code() == Code::PubSnapshotMissing),
        "{faults:?}"
    );
}

fn depth(first: u64, last: u64, previous: Option<u64>, bid: &str) -> String {
    let link = previous.map_or(String::new(), |previous| format!(r#""pu":{previous},"#));
    format!(
        r#"{{"stream":"ab@depth","data":{{"e":"depthUpdate","E":1,"s":"AB","U":{first},"u":{last},{link}"b":[["{bid}","1.0"]],"a":[]}}}}"#
    )
}

fn binance_snapshot(last: u64) -> String {
    format!(r#"{{"lastUpdateId":{last},"bids":[["1.0","1.0"]],"asks":[["9.0","1.0"]]}}"#)
}

#[test]
fn updates_of_binance_are_joined_to_the_snapshot_by_their_numbers() {
    let snapshot = ["clear", "1x1", "9x1"];
    // Spot: U <= last + 1 <= u, then each the next. What the snapshot has already is left out.
    let spot = [depth(1, 3, None, "2"), depth(4, 6, None, "3"), binance_snapshot(5), depth(7, 7, None, "4")];
    assert_eq!(check(SourceConfig::Binance, &spot).0, [&snapshot[..], &["3x1", "4x1"]].concat());
    // Futures: U <= last <= u, then pu is the last of the one before.
    let futures = [
        depth(1, 4, Some(0), "2"),
        depth(5, 8, Some(4), "3"),
        binance_snapshot(5),
        depth(20, 30, Some(8), "4"),
    ];
    assert_eq!(check(SourceConfig::Binance, &futures).0, [&snapshot[..], &["3x1", "4x1"]].concat());
}

#[test]
fn gaps_repetitions_and_steps_back_of_a_sequence_make_stale() {
    type Update = fn(u64, u64, u64) -> String;
    let spot: Update = |first, last, _| depth(first, last, None, "2");
    let futures: Update = |first, last, previous| depth(first, last, Some(previous), "2");
    for (update, last, later) in [(spot, 5, 12), (futures, 6, 13)] {
        let start = || vec![binance_snapshot(last), update(6, 8, 5)];
        for (next, code) in [
            (update(10, 12, 9), Code::PubSequenceGap),
            (update(6, 8, 5), Code::PubSequenceRepeated),
            (update(3, 4, 2), Code::PubSequenceBackwards),
        ] {
            let mut lines = start();
            lines.extend([next, update(13, 13, 12), binance_snapshot(later), update(14, 15, 13)]);
            let (words, replay) = check(SourceConfig::Binance, &lines);
            let stale = words.iter().position(|word| word.starts_with("SF-")).unwrap();
            assert_eq!(words[stale], code.as_str());
            assert_eq!(words[stale + 1], "clear", "nothing is published before the snapshot: {words:?}");
            assert_eq!(replay.ended().faults, 1, "{words:?}");
        }
        // A snapshot that is older than the first update does not help.
        let (words, replay) = check(SourceConfig::Binance, &[update(10, 12, 9), binance_snapshot(7)]);
        assert_eq!(words.last().unwrap(), Code::PubSequenceGap.as_str());
        assert_eq!(replay.ended().faults, 1);
    }
}

#[test]
fn okx_is_held_to_its_numbers_where_it_gives_them() {
    let message = |action: &str, sequence: u64, previous: i64, bid: &str| {
        let checksum = crc32fast::hash(format!("{bid}:1").as_bytes()).cast_signed();
        let bids = if action == "update" && bid != "2" {
            format!(r#"["2","0","0","0"],["{bid}","1","0","1"]"#)
        } else {
            format!(r#"["{bid}","1","0","1"]"#)
        };
        format!(
            r#"{{"arg":{{"channel":"books","instId":"A-B"}},"action":"{action}","data":[{{"asks":[],"bids":[{bids}],"ts":"1","checksum":{checksum},"seqId":{sequence},"prevSeqId":{previous}}}]}}"#
        )
    };
    let snapshot = || message("snapshot", 10, -1, "2");
    let good = [
        snapshot(),
        message("update", 10, 10, "2"),
        message("update", 15, 10, "3"),
        message("update", 3, 15, "3"),
    ];
    let (words, replay) = check(SourceConfig::Okx, &good);
    assert_eq!(words, ["clear", "2x1", "2x0", "3x1"], "numbers may stay, and start again");
    assert_eq!(replay.ended().checksums, 4);
    for (next, code) in [
        (message("update", 20, 17, "3"), Code::PubSequenceGap),
        (message("update", 10, 9, "2"), Code::PubSequenceRepeated),
        (message("update", 9, 8, "2"), Code::PubSequenceBackwards),
    ] {
        let (words, _) = check(SourceConfig::Okx, &[snapshot(), next]);
        assert_eq!(words.last().unwrap(), code.as_str());
    }
}

#[test]
fn a_book_of_too_many_levels_is_given_up() {
    let asks: Vec<_> = (1..=100_001).map(|price| format!(r#"["{price}","1"]"#)).collect();
    let snapshot =
        format!(r#"{{"type":"snapshot","product_id":"A-B","bids":[],"asks":[{}]}}"#, asks.join(","));
    let small = r#"{"type":"snapshot","product_id":"A-B","bids":[],"asks":[["1","1"]]}"#.to_owned();
    let (words, _) = check(SourceConfig::Coinbase, &[snapshot, small]);
    assert_eq!(words, [Code::PubBookFull.as_str(), "clear", "1x1", "whole"]);
}

#[test]
fn a_snapshot_that_does_not_say_whose_it_is_needs_a_recording_of_one_symbol() {
    let other = depth(7, 7, None, "4").replace(r#""s":"AB""#, r#""s":"CD""#);
    let text = format!("1.0: {}\n2.0: {other}\n3.0: {}\n", binance_snapshot(5), depth(6, 6, None, "2"));
    assert!(matches!(play(SourceConfig::Binance, text.as_bytes()), Err(SourceError::Mapping { .. })));
}

#[test]
fn a_message_that_cannot_be_used_ends_the_source_with_its_line_and_reason() {
    let good = kraken_snapshot("3.0", "2.0");
    for (bad, code, reason) in [
        ("2.0: nonsense".to_owned(), Code::PubRecordUnusable, "record 2 is not a message of the exchange"),
        ("2.0: {\"event\":".to_owned(), Code::PubRecordUnusable, "record 2 is not a message of the exchange"),
        ("nonsense".to_owned(), Code::PubRecordUnusable, "record 2 has no usable time of receipt"),
        (format!("0.5: {good}"), Code::PubSequenceBackwards, "record 2 is 500000000 ns older"),
        (
            format!("2.0: {}", kraken_snapshot("1e3", "2.0")),
            Code::PubRecordUnusable,
            "record 2 has no usable price",
        ),
        (
            format!("2.0: {}", kraken_snapshot("3.0000000001", "2.0")),
            Code::PubRecordUnusable,
            "record 2 has no usable price",
        ),
        (
            r#"2.0: [1,{"b":[["2.0","1.0","1.0"]]},"book-10","A/B"]"#.to_owned(),
            Code::PubRecordUnusable,
            "record 2 has no usable checksum",
        ),
    ] {
        let text = format!("1.0: {good}\n{bad}\n3.0: {good}\n");
        let replay = play(SourceConfig::Kraken, text.as_bytes()).unwrap();
        let SourceStatus::Failed { error, .. } = &replay.status else { panic!("{bad}: {:?}", replay.status) };
        assert!(error.to_string().starts_with(reason), "{bad}: {error}");
        assert_eq!(error.code(), code, "{bad}");
        assert_eq!(replay.events().count(), 3, "all in front of it, nothing behind it: {bad}");
    }
}

#[test]
fn an_ask_beyond_all_prices_is_left_out_and_counted_but_no_other_number_is() {
    let (words, replay) = check(SourceConfig::Kraken, &[kraken_snapshot("9999999997.0", "2.0")]);
    assert_eq!((words, replay.ended().beyond), (vec!["clear".to_owned(), "2x1".to_owned()], 1));
    let text =
        format!("1.0: {}\n2.0: {}\n", kraken_snapshot("3.0", "2.0"), kraken_snapshot("3.0", "9999999997.0"));
    let replay = play(SourceConfig::Kraken, text.as_bytes()).unwrap();
    assert!(matches!(replay.status, SourceStatus::Failed { .. }), "as a bid it would be the best one");
}
