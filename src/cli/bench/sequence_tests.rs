//! What is read of a message, and what is missing in its stream.

use super::sequence::{Sequences, Taken, ts_out};

fn trade(symbol: &str, seq: u64, previous: &str) -> Vec<u8> {
    format!(
        r#"{{"type":"trade","channel":"trades","symbol":"{symbol}","epoch":"1f","seq":{seq},"prev_seq":{previous},"ts_out":"170{seq}"}}"#
    )
    .into_bytes()
}

#[test]
fn what_is_missing_in_a_stream_is_counted_and_streams_are_told_apart() {
    let mut sequences = Sequences::default();
    let heartbeat = br#"{"type":"heartbeat","channel":"trades","symbol":"A","epoch":"1f","seq":9,"ts":"1"}"#;
    for (message, expected) in [
        (trade("A", 5, "4"), Taken::Data { missing: 0 }),
        (trade("A", 6, "5"), Taken::Data { missing: 0 }),
        (trade("B", 1, "0"), Taken::Data { missing: 0 }),
        (trade("A", 8, "7"), Taken::Data { missing: 1 }),
        (heartbeat.to_vec(), Taken::Notice { missing: 1 }),
        (
            br#"{"type":"gap","channel":"trades","symbol":"A","epoch":"1f","from":10,"to":19}"#.to_vec(),
            Taken::Notice { missing: 10 },
        ),
        (trade("A", 20, "19"), Taken::Data { missing: 0 }),
        (trade("A", 40, "null"), Taken::Data { missing: 0 }),
        (trade("A", 41, "40"), Taken::Data { missing: 0 }),
        (br#"{"type":"slow","queued":1}"#.to_vec(), Taken::Other),
    ] {
        assert_eq!(sequences.take(&message), expected, "{}", String::from_utf8_lossy(&message));
    }
}

#[test]
fn the_time_of_publication_is_read_where_there_is_one() {
    assert_eq!(ts_out(&trade("A", 5, "4")), Some(1705));
    for none in [&b"{}"[..], br#"{"ts_out":"#, br#"{"ts_out":""}"#] {
        assert_eq!(ts_out(none), None);
    }
}
