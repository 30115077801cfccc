//! Replays of files made here, record by record. Files recorded by an exchange: `tests/recordings/dbn.rs`.

use std::io::Write;

use ::dbn::encode::{DbnEncoder, EncodeRecord};
use ::dbn::{
    Action, FlagSet, MappingInterval, MboMsg, Metadata, RecordHeader, SType, Schema, SymbolMapping, TradeMsg,
    UNDEF_PRICE, flags, rtype,
};
use proptest::prelude::*;

use super::*;
use crate::config::{Playback, Speed};
use crate::shutdown::Shutdown;
use crate::source::batch::SourceBatch;
use crate::source::outlet::Halt;
use crate::source::replay::Replay as Player;
use crate::source::test_port::{JumpingTimer, drain, port};
use crate::types::{MarketEventKind, OrderId, Price, Quantity, Side};

const UNIT: i64 = 1_000_000_000;
const SECOND: u64 = 1_000_000_000;

fn metadata(schema: Option<Schema>, names: &[(&str, &str)]) -> Metadata {
    let day = time::macros::date!(2023 - 12 - 25);
    let mappings = names.iter().map(|(symbol, number)| SymbolMapping {
        raw_symbol: (*symbol).to_owned(),
        intervals: vec![MappingInterval {
            start_date: day,
            end_date: day.next_day().unwrap(),
            symbol: (*number).to_owned(),
        }],
    });
    Metadata::builder()
        .dataset("TEST.BOOK")
        .schema(schema)
        .start(0)
        .stype_in(Some(SType::RawSymbol))
        .stype_out(SType::InstrumentId)
        .mappings(mappings.collect())
        .build()
}

/// An order of instrument 1, at 4800.25, one second after the epoch.
fn mbo(action: Action, side: ::dbn::Side, flags: u8) -> MboMsg {
    MboMsg {
        hd: RecordHeader::new::<MboMsg>(rtype::MBO, 1, 1, SECOND),
        order_id: 7,
        price: 4_800 * UNIT + UNIT / 4,
        size: 3,
        flags: FlagSet::new(flags),
        action: u8::from(action).cast_signed(),
        side: u8::from(side).cast_signed(),
        ts_recv: SECOND,
        ..MboMsg::default()
    }
}

fn add(ts_recv: u64) -> MboMsg {
    MboMsg { ts_recv, ..mbo(Action::Add, ::dbn::Side::Bid, flags::LAST) }
}

fn file_of(metadata: &Metadata, records: &[MboMsg]) -> Vec<u8> {
    let mut encoder = DbnEncoder::new(Vec::new(), metadata).unwrap();
    encoder.encode_records(records).unwrap();
    encoder.get_ref().clone()
}

fn orders(records: &[MboMsg]) -> Vec<u8> {
    file_of(&metadata(Some(Schema::Mbo), &[("X", "1"), ("Y", "2")]), records)
}

/// What a replay sent, and the moments at which it waited.
#[derive(Debug)]
struct Replay {
    batches: Vec<Vec<MarketEvent>>,
    counts: RecordCounts,
    outcome: Result<(), Halt>,
    moments: Vec<u64>,
    instruments: Instruments,
}

impl Replay {
    fn events(&self) -> Vec<MarketEvent> {
        self.batches.concat()
    }

    fn kinds(&self) -> Vec<MarketEventKind> {
        self.events().iter().map(|event| event.kind).collect()
    }

    fn fault(&self) -> &SourceError {
        match &self.outcome {
            Err(Halt::Failed(error)) => error,
            other => panic!("the replay should have failed, not {other:?}"),
        }
    }
}

fn check(bytes: &[u8], speed: Speed) -> Result<Replay, SourceError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let config = DbnSourceConfig { speed, ..DbnSourceConfig::new(file.path().into()) };
    let mut instruments = Instruments::new();
    let mut recording = Recording::open(&config, &mut instruments)?;
    let timer = JumpingTimer::default();
    let moments = timer.moments.clone();
    let (mut port, receiver) = port(timer, Shutdown::new(), 10_000);
    let playback = Playback { speed, ..Playback::default() };
    let outcome = Player::new(&"file".into(), playback, &mut port).run(&mut recording);
    let batches = drain(receiver).into_iter().map(|batch| match batch {
        SourceBatch::Market(events) => events,
        other => panic!("a replay sends market data, not {other:?}"),
    });
    let batches = batches.collect();
    let moments = moments.lock().unwrap().clone();
    Ok(Replay { batches, counts: recording.counts(), outcome, moments, instruments })
}

fn replay(records: &[MboMsg]) -> Replay {
    check(&orders(records), Speed::Max).unwrap()
}

#[test]
fn every_action_of_a_book_of_orders_becomes_its_event() {
    use ::dbn::Side::{Ask, Bid, None as NoSide};
    let (order, price) = (OrderId(7), Price::from_nanos(4_800 * UNIT + UNIT / 4));
    let quantity = Quantity::from_nanos(3 * SECOND);
    let clear = MboMsg { price: UNDEF_PRICE, ..mbo(Action::Clear, NoSide, 0) };
    let cases = [
        (mbo(Action::Add, Bid, 0), MarketEventKind::Add { order, side: Side::Buy, price, quantity }),
        (mbo(Action::Modify, Ask, 0), MarketEventKind::Modify { order, side: Side::Sell, price, quantity }),
        (mbo(Action::Cancel, Ask, 0), MarketEventKind::Reduce { order, side: Side::Sell, price, quantity }),
        (clear, MarketEventKind::Clear),
        (
            mbo(Action::Trade, Bid, 0),
            MarketEventKind::Trade { price, quantity, aggressor: Some(Side::Buy), trade_id: 0 },
        ),
        (
            mbo(Action::Trade, NoSide, 0),
            MarketEventKind::Trade { price, quantity, aggressor: None, trade_id: 0 },
        ),
        (
            mbo(Action::Fill, NoSide, flags::LAST),
            MarketEventKind::Fill { order, side: None, price, quantity },
        ),
    ];
    let records = cases.each_ref().map(|(record, _)| record.clone());
    let replay = replay(&records);
    assert_eq!(replay.kinds(), cases.map(|(_, kind)| kind));
    assert_eq!(replay.counts.records(), 7);
    assert_eq!((replay.counts.trades, replay.counts.traded, replay.counts.clears), (2, 6, 1));
    assert_eq!(replay.instruments.by_symbol("X").unwrap().decimals.price.get(), 2);
    assert!(
        replay.instruments.by_symbol("Y").is_none(),
        "an instrument without records has no price to show"
    );
}

#[test]
fn a_record_without_an_event_of_its_own_ends_the_event_of_the_record_before_it() {
    let records = [mbo(Action::Add, ::dbn::Side::Bid, 0), mbo(Action::None, ::dbn::Side::None, flags::LAST)];
    let replay = replay(&records);
    assert_eq!(replay.events().iter().map(|event| event.last).collect::<Vec<_>>(), [true]);
    assert_eq!(replay.counts.nones, 1);
}

#[test]
fn trades_are_events_of_their_own_whatever_their_flags_say() {
    let trade = TradeMsg {
        hd: RecordHeader::new::<TradeMsg>(rtype::MBP_0, 1, 1, SECOND),
        price: UNIT,
        size: 5,
        action: u8::from(Action::Trade).cast_signed(),
        side: u8::from(::dbn::Side::Ask).cast_signed(),
        ts_recv: SECOND,
        ..TradeMsg::default()
    };
    let mut encoder = DbnEncoder::new(Vec::new(), &metadata(Some(Schema::Trades), &[("X", "1")])).unwrap();
    encoder.encode_records(&[trade.clone(), trade]).unwrap();
    let replay = check(encoder.get_ref(), Speed::Max).unwrap();
    assert!(replay.events().iter().all(|event| event.last));
    assert_eq!(replay.counts.traded, 10);
}

#[test]
fn batches_are_cut_between_events_only_and_a_longer_event_travels_alone() {
    let unfinished = || mbo(Action::Add, ::dbn::Side::Bid, 0);
    let mut records = vec![add(SECOND)];
    records.extend((0..300).map(|_| unfinished()));
    records.push(add(SECOND));
    records.extend((0..300).map(|_| add(SECOND)));
    let replay = replay(&records);
    let sizes: Vec<_> = replay.batches.iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, 301, 256, 44]);
    assert!(replay.batches.iter().all(|batch| batch.last().unwrap().last));
}

#[test]
fn an_unfinished_event_at_a_clean_end_is_handed_on_as_it_is() {
    let replay = replay(&[add(SECOND), mbo(Action::Add, ::dbn::Side::Ask, 0)]);
    assert_eq!(replay.events().iter().map(|event| event.last).collect::<Vec<_>>(), [true, false]);
    assert!(replay.outcome.is_ok());
}

#[test]
fn gaps_are_kept_divided_by_the_speed_and_a_snapshot_is_due_at_once() {
    let snapshot = MboMsg { ts_recv: SECOND, ..mbo(Action::Add, ::dbn::Side::Bid, flags::SNAPSHOT) };
    let day = 86_400 * SECOND;
    // The snapshot is of the evening before; time starts with the first live record.
    let times = [day, day + 10 * SECOND, day + 10 * SECOND, day + 3_610 * SECOND];
    let records: Vec<_> = std::iter::once(snapshot).chain(times.map(add)).collect();
    for (times, expected) in [(1, [10 * SECOND, 3_610 * SECOND]), (100, [SECOND / 10, 361 * SECOND / 10])] {
        let replay = check(&orders(&records), Speed::Times(times)).unwrap();
        assert_eq!(replay.moments, expected, "at {times} times the pace");
        assert_eq!(replay.batches.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
        assert_eq!(replay.counts.snapshots, 1);
    }
    assert_eq!(replay(&records).moments, [0_u64; 0], "at full speed nothing is waited for");
}

#[test]
fn records_of_other_kinds_are_counted_and_left_out() {
    let mut encoder = DbnEncoder::new(Vec::new(), &metadata(Some(Schema::Mbo), &[("X", "1")])).unwrap();
    encoder.encode_record(&::dbn::SystemMsg::heartbeat(SECOND)).unwrap();
    encoder.encode_record(&add(SECOND)).unwrap();
    let replay = check(encoder.get_ref(), Speed::Max).unwrap();
    assert_eq!((replay.events().len(), replay.counts.others, replay.counts.records()), (1, 1, 2));
}

#[test]
fn what_cannot_be_replayed_stops_at_the_record_with_the_reason() {
    use ::dbn::Side::{Bid, None as NoSide};
    let second = |change: fn(&mut MboMsg)| {
        let mut record = mbo(Action::Add, Bid, flags::LAST);
        change(&mut record);
        replay(&[add(SECOND), record, add(SECOND)])
    };
    type Check = fn(&SourceError) -> bool;
    let cases: [(Replay, Check); 7] = [
        (second(|record| record.ts_recv -= 1), |fault| {
            matches!(fault, SourceError::Backwards { record: 2, by_ns: 1 })
        }),
        (second(|record| record.price = UNDEF_PRICE), |fault| {
            matches!(fault, SourceError::Unusable { record: 2, field: "price" })
        }),
        (second(|record| record.size = u32::MAX), |fault| {
            matches!(fault, SourceError::Unusable { record: 2, field: "size" })
        }),
        (second(|record| record.side = u8::from(NoSide).cast_signed()), |fault| {
            matches!(fault, SourceError::Unusable { record: 2, field: "side" })
        }),
        (second(|record| record.flags = FlagSet::new(flags::LAST | flags::MBP)), |fault| {
            matches!(fault, SourceError::Unusable { record: 2, field: "order" })
        }),
        (second(|record| record.hd.publisher_id = 2), |fault| {
            matches!(fault, SourceError::SeveralVenues { record: 2 })
        }),
        (second(|record| record.action = b'?'.cast_signed()), |fault| {
            matches!(fault, SourceError::Malformed { record: 2, .. })
        }),
    ];
    for (replay, is_expected) in &cases {
        assert!(is_expected(replay.fault()), "{:?}", replay.fault());
        assert_eq!(replay.events().len(), 1, "all in front of the fault, nothing behind it: {replay:?}");
    }
}

#[test]
fn a_time_that_the_recorder_calls_wrong_may_go_backwards() {
    let wrong = MboMsg { ts_recv: 1, ..mbo(Action::Add, ::dbn::Side::Bid, flags::LAST | flags::BAD_TS_RECV) };
    assert_eq!(replay(&[add(SECOND), wrong, add(SECOND)]).events().len(), 3);
}

#[test]
fn a_price_finer_than_the_file_began_with_is_never_rounded() {
    let bytes = orders(&[add(SECOND), MboMsg { price: UNIT / 1_000, ..add(SECOND) }]);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&bytes).unwrap();
    let mut opened = RecordFile::open(file.path()).unwrap();
    let recorded = [(1, translate::Recorded::new(InstrumentId(0), crate::types::Decimals::new(2).unwrap()))];
    let mut translator = Translator::new(crate::types::MarketDepth::Orders, recorded.into());
    let mut event = Vec::new();
    for expected in [true, false] {
        let number = opened.records() + 1;
        let record = opened.next().unwrap().unwrap();
        assert_eq!(translator.translate(number, &record, &mut event).is_ok(), expected);
    }
}

#[test]
fn files_that_cannot_be_replayed_at_all_are_refused_when_opened() {
    let name = |schema, names: &[_], number| {
        let mut record = add(SECOND);
        record.hd.instrument_id = number;
        check(&file_of(&metadata(schema, names), &[record]), Speed::Max).unwrap_err().to_string()
    };
    let mbo = Some(Schema::Mbo);
    for (fault, expected) in [
        (name(Some(Schema::Mbp10), &[("X", "1")], 1), "mbp-10"),
        (name(None, &[("X", "1")], 1), "mixed"),
        (name(mbo, &[("X", "1")], 2), "instrument 2 has no symbol"),
        (name(mbo, &[], 1), "instrument 1 has no symbol"),
        (name(mbo, &[("X", "1"), ("X", "2")], 1), "\"X\" is not one symbol"),
        (name(mbo, &[("X", "1"), ("Y", "1")], 1), "\"1\" is not one symbol"),
        (name(mbo, &[("X", "one")], 1), "\"one\" is not one symbol"),
        (name(mbo, &[("X Y", "1")], 1), "\"X Y\" cannot be a symbol"),
        (check(&orders(&[]), Speed::Max).unwrap_err().to_string(), "no record"),
        (
            check(&orders(&[MboMsg { size: u32::MAX, action: b'?'.cast_signed(), ..add(1) }]), Speed::Max)
                .unwrap_err()
                .to_string(),
            "record 1 cannot be decoded",
        ),
        (check(b"not a market data file", Speed::Max).unwrap_err().to_string(), "no DBN file"),
        (check(b"", Speed::Max).unwrap_err().to_string(), "inside its header"),
        (
            check(b"DBN\x03\xff\xff\xff\xff", Speed::Max).unwrap_err().to_string(),
            "announces 4294967295 bytes",
        ),
    ] {
        assert!(fault.contains(expected), "{fault:?} should speak of {expected:?}");
    }
}

#[test]
fn a_record_behind_one_of_an_odd_length_is_never_looked_at() {
    let whole = orders(&[add(SECOND), add(SECOND), add(SECOND)]);
    let first = whole.len() - 3 * size_of::<MboMsg>();
    let mut bytes = whole;
    let words = bytes[first];
    assert_eq!(usize::from(words) * 4, size_of::<MboMsg>(), "here stands its length");
    // One word more: what follows begins four bytes into the second record.
    bytes[first] = words + 1;
    let fault = check(&bytes, Speed::Max).unwrap_err();
    assert!(matches!(fault, SourceError::Malformed { record: 1, .. }), "{fault:?}");
}

#[test]
fn a_file_cut_anywhere_plays_its_whole_records_and_tells_of_the_cut() {
    let bytes = orders(&[add(SECOND), add(SECOND), add(SECOND)]);
    let record_bytes = size_of::<MboMsg>();
    let header_bytes = bytes.len() - 3 * record_bytes;
    for length in 0..=bytes.len() {
        let whole = length.saturating_sub(header_bytes) / record_bytes;
        let is_cut = length < header_bytes || !(length - header_bytes).is_multiple_of(record_bytes);
        match check(&bytes[..length], Speed::Max) {
            Ok(replay) => {
                assert_eq!(replay.events().len(), whole, "{length} bytes");
                assert_eq!(replay.outcome.is_err(), is_cut, "{length} bytes");
                if is_cut {
                    let record = whole as u64 + 1;
                    assert!(
                        matches!(replay.fault(), SourceError::Truncated { record: cut } if *cut == record),
                        "{length} bytes: {:?}",
                        replay.fault()
                    );
                }
            }
            Err(SourceError::HeaderTruncated) => assert!(length < header_bytes, "{length} bytes"),
            Err(SourceError::Empty) => assert_eq!(length, header_bytes),
            Err(SourceError::Truncated { record: 1 }) => assert!(whole == 0 && is_cut, "{length} bytes"),
            Err(other) => panic!("{length} bytes: {other:?}"),
        }
    }
}

proptest! {
    #[test]
    fn damaged_bytes_are_an_error_or_other_data_but_never_a_panic(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)
    ) {
        let mut bytes = orders(&[add(SECOND), add(SECOND), add(2 * SECOND)]);
        for (index, byte) in damage {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        let _ = check(&bytes, Speed::Max);
    }
}
