//! Every event reads back as itself, and the records are what DBN's own decoder reads.

use ::dbn::decode::DecodeRecordRef as _;
use ::dbn::decode::dbn::RecordDecoder;
use ::dbn::{Action, FlagSet, VersionUpgradePolicy};
use proptest::prelude::*;

use super::*;

const UNIT: u64 = 1_000_000;

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Buy), Just(Side::Sell)]
}

/// Quantities that fit, that are too fine, too large, or just at the edge.
fn quantity() -> impl Strategy<Value = Quantity> {
    let edge = u64::from(UNDEF_ORDER_SIZE) * UNIT;
    prop_oneof![
        (0..5_000u64).prop_map(|units| units * UNIT),
        (edge - 2..edge + 2),
        Just(edge - UNIT),
        Just(edge),
        any::<u64>()
    ]
    .prop_map(Quantity::from_nanos)
}

fn price() -> impl Strategy<Value = Price> {
    prop_oneof![any::<i64>(), Just(i64::MAX), Just(i64::MIN), Just(0)].prop_map(Price::from_nanos)
}

fn top() -> impl Strategy<Value = Option<TopLevel>> {
    let level = (price(), quantity(), any::<u32>());
    proptest::option::of(level.prop_map(|(price, quantity, orders)| TopLevel { price, quantity, orders }))
}

fn state() -> impl Strategy<Value = TradingState> {
    prop_oneof![
        Just(TradingState::Trading),
        Just(TradingState::Halted),
        Just(TradingState::Paused),
        Just(TradingState::Quoting),
        Just(TradingState::Auction),
    ]
}

fn definition() -> impl Strategy<Value = Definition> {
    use proptest::option::of;
    (of(0..=9u8), of(price()), of(quantity()), of(quantity())).prop_map(|(decimals, tick, lot, round_lot)| {
        Definition { price_decimals: decimals.and_then(Decimals::new), tick, lot, round_lot }
    })
}

fn kind() -> BoxedStrategy<MarketEventKind> {
    use MarketEventKind as Kind;
    let resting = || (any::<u64>().prop_map(OrderId), side(), price(), quantity());
    let add = resting()
        .prop_map(|(order, side, price, quantity)| Kind::Add { order, side, price, quantity })
        .boxed();
    let modify = resting()
        .prop_map(|(order, side, price, quantity)| Kind::Modify { order, side, price, quantity })
        .boxed();
    let reduce = resting()
        .prop_map(|(order, side, price, quantity)| Kind::Reduce { order, side, price, quantity })
        .boxed();
    let trade = (price(), quantity(), proptest::option::of(side()), any::<u64>())
        .prop_map(|(price, quantity, aggressor, trade_id)| Kind::Trade {
            price,
            quantity,
            aggressor,
            trade_id,
        })
        .boxed();
    let fill = (any::<u64>().prop_map(OrderId), proptest::option::of(side()), price(), quantity())
        .prop_map(|(order, side, price, quantity)| Kind::Fill { order, side, price, quantity })
        .boxed();
    let level = (side(), price(), quantity(), any::<u32>())
        .prop_map(|(side, price, quantity, orders)| Kind::Level { side, price, quantity, orders })
        .boxed();
    let reasons = ["", "T1", "LUDP", "12345678"].map(StatusReason::new);
    let status = (state(), proptest::sample::select(reasons.to_vec()))
        .prop_map(|(state, reason)| Kind::Status { state, reason })
        .boxed();
    let whole = any::<u64>().prop_map(Quantity::from_nanos);
    let imbalance = proptest::option::of((side(), whole.clone()));
    let indication = proptest::option::of((price(), whole, imbalance))
        .prop_map(|found| found.map(|(price, quantity, imbalance)| Indication { price, quantity, imbalance }))
        .prop_map(Kind::Indication)
        .boxed();
    let definition = definition().prop_map(Kind::Definition).boxed();
    let top = (top(), top()).prop_map(|(bid, ask)| Kind::Top { bid, ask }).boxed();
    let clear = Just(Kind::Clear).boxed();
    prop_oneof![add, modify, reduce, trade, fill, level, status, indication, definition, top, clear].boxed()
}

pub(in crate::feed::tape) fn event() -> impl Strategy<Value = MarketEvent> {
    (any::<u32>(), any::<u64>(), any::<u64>(), any::<bool>(), kind()).prop_map(
        |(instrument, ts_event, ts_recv, last, kind)| MarketEvent {
            instrument: InstrumentId(instrument),
            ts_event: UnixNanos(ts_event),
            ts_recv: UnixNanos(ts_recv),
            last,
            kind,
        },
    )
}

proptest! {
    #[test]
    fn every_event_reads_back_as_itself(
        events in proptest::collection::vec((event(), any::<u64>(), prop_oneof![Just(Origin::Live), Just(Origin::Snapshot)]), 1..20),
    ) {
        let mut records = Vec::new();
        for (event, ts_out, origin) in &events {
            let before = records.len();
            encode(event, UnixNanos(*ts_out), UNIT, *origin, &mut records);
            prop_assert!(records.len() - before <= EVENT_BYTES_MAX);
        }
        let mut rest = &records[..];
        for (event, ts_out, _) in &events {
            prop_assert_eq!(decode(&mut rest, |_| Some(UNIT)), Ok((*event, UnixNanos(*ts_out))));
        }
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn what_is_no_record_is_refused_and_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut rest = &bytes[..];
        while decode(&mut rest, |_| Some(UNIT)).is_ok() {}
    }
}

/// The records of an event as DBN's own decoder reads them.
fn with_dbn<T: ::dbn::HasRType<Header = ::dbn::RecordHeader> + Clone>(records: &[u8]) -> WithTsOut<T> {
    let mut decoder =
        RecordDecoder::with_version(records, ::dbn::DBN_VERSION, VersionUpgradePolicy::AsIs, true).unwrap();
    let record = decoder.decode_record_ref().unwrap().unwrap();
    record.get::<WithTsOut<T>>().unwrap().clone()
}

#[test]
fn an_order_is_the_mbo_record_that_dbn_reads() {
    let kind = MarketEventKind::Add {
        order: OrderId(77),
        side: Side::Sell,
        price: Price::from_nanos(-5),
        quantity: Quantity::from_nanos(3 * UNIT),
    };
    let event = MarketEvent {
        instrument: InstrumentId(9),
        ts_event: UnixNanos(11),
        ts_recv: UnixNanos(12),
        last: true,
        kind,
    };
    let mut records = Vec::new();
    encode(&event, UnixNanos(13), UNIT, Origin::Snapshot, &mut records);
    let WithTsOut { rec, ts_out } = with_dbn::<MboMsg>(&records);
    assert_eq!((rec.hd.instrument_id, rec.hd.ts_event, rec.ts_recv, ts_out), (9, 11, 12, 13));
    assert_eq!((rec.order_id, rec.price, rec.size), (77, -5, 3));
    assert_eq!((rec.action().unwrap(), rec.side().unwrap()), (Action::Add, ::dbn::Side::Ask));
    assert_eq!(rec.flags, FlagSet::new(flags::LAST | flags::SNAPSHOT));
    assert_eq!((rec.channel_id, rec.ts_in_delta, rec.sequence, rec.hd.publisher_id), (0, 0, 0, 0));
}

#[test]
fn the_best_prices_are_the_mbp_1_record_that_dbn_reads() {
    let ask = TopLevel { price: Price::from_nanos(8), quantity: Quantity::from_nanos(2 * UNIT), orders: 4 };
    let event = MarketEvent {
        instrument: InstrumentId(9),
        ts_event: UnixNanos(11),
        ts_recv: UnixNanos(12),
        last: false,
        kind: MarketEventKind::Top { bid: None, ask: Some(ask) },
    };
    let mut records = Vec::new();
    encode(&event, UnixNanos(13), UNIT, Origin::Live, &mut records);
    let WithTsOut { rec, ts_out } = with_dbn::<Mbp1Msg>(&records);
    let [level] = &rec.levels;
    assert_eq!((level.bid_px, level.bid_sz, level.bid_ct), (UNDEF_PRICE, 0, 0));
    assert_eq!((level.ask_px, level.ask_sz, level.ask_ct), (8, 2, 4));
    assert_eq!((rec.ts_recv, ts_out, rec.flags), (12, 13, FlagSet::empty()));
}

#[test]
fn a_quantity_that_dbn_cannot_hold_stands_in_front_of_its_record_exactly() {
    let event = |quantity| MarketEvent {
        instrument: InstrumentId(0),
        ts_event: UnixNanos(1),
        ts_recv: UnixNanos(2),
        last: true,
        kind: MarketEventKind::Trade {
            price: Price::from_nanos(1),
            quantity: Quantity::from_nanos(quantity),
            aggressor: None,
            trade_id: u64::MAX,
        },
    };
    for (quantity, is_wide) in [(UNIT, false), (UNIT + 1, true), (u64::MAX, true), (0, false)] {
        let mut records = Vec::new();
        encode(&event(quantity), UnixNanos(3), UNIT, Origin::Live, &mut records);
        assert_eq!(records[1] == WIDE, is_wide, "{quantity}");
        let size = u32::from_le_bytes(records[records.len() - 32..][..4].try_into().unwrap());
        assert_eq!(size == UNDEF_ORDER_SIZE, is_wide, "{quantity}");
        // Without what stands in front, such a size is refused, not guessed.
        let mut rest = &records[if is_wide { WIDE_BYTES } else { 0 }..];
        let alone = decode(&mut rest, |_| Some(UNIT));
        assert_eq!(alone.is_err(), is_wide, "{quantity}");
    }
}

#[test]
fn records_of_instruments_that_were_not_listed_are_refused() {
    let event = MarketEvent {
        instrument: InstrumentId(3),
        ts_event: UnixNanos(1),
        ts_recv: UnixNanos(2),
        last: true,
        kind: MarketEventKind::Clear,
    };
    let mut records = Vec::new();
    encode(&event, UnixNanos(3), UNIT, Origin::Live, &mut records);
    assert_eq!(decode(&mut &records[..], |_| None), Err(RecordError::Instrument(3)));
}
