//! Messages of the server: what is encoded is what a client reads, and hostile texts are errors, not panics.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;
use sealfeed_wire::market::{
    self, Bbo, BookMessage, CancelReason, Definition, Delta, Exec, ExecKind, Fill, Gap, Heartbeat,
    Indication, IntervalEnd, Liquidity, Mbo, MboAction, MboOrder, MboSnapshot, Ohlcv, Reason, Slow, Snapshot,
    Status, Trade, TradingState,
};
use sealfeed_wire::reply::{Encode, ErrorReply, Receipt};
use sealfeed_wire::{
    Aggressor, BookDecimals, Channel, ClientOrderId, Code, Decimals, EntryHash, Epoch, ExecId, Level, LogId,
    MarketMessage, OrderId, OrderType, Price, Quantity, RequestId, Scaled, Sequence, ServerMessage, Side,
    StreamHeader, StreamKey, StreamSymbol, Symbol, TimeInForce, TradeId, UnixNanos,
};

/// The message comes back from its text.
#[track_caller]
fn check(encode: impl FnOnce(&mut Vec<u8>), expected: &MarketMessage) {
    let mut text = Vec::new();
    encode(&mut text);
    let text = String::from_utf8(text).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(value.is_object());
    match ServerMessage::decode(&text) {
        Ok(ServerMessage::Market(message)) => assert_eq!(&message, expected, "{text}"),
        other => panic!("{text}: {other:?}"),
    }
}

fn any_header() -> impl Strategy<Value = StreamHeader> {
    let seqs = (0..1u64 << 53, prop::option::of(0..1u64 << 53));
    let times = (any::<u64>(), any::<u64>(), any::<u64>(), prop::option::of(any::<u64>()));
    let names = (prop::sample::select(Channel::ALL), "[A-Za-z0-9._/:-]{1,32}", any::<u64>());
    (names, seqs, times).prop_map(
        |((channel, symbol, epoch), (seq, prev), (event, recv, out, delayed_ms))| StreamHeader {
            channel,
            symbol: Symbol::new(&symbol).unwrap(),
            epoch: Epoch(epoch),
            seq: Sequence::new(seq).unwrap(),
            prev_seq: prev.and_then(Sequence::new),
            ts_event: UnixNanos(event),
            ts_recv: UnixNanos(recv),
            ts_out: UnixNanos(out),
            delayed_ms,
        },
    )
}

fn any_decimals() -> impl Strategy<Value = BookDecimals> {
    (0u8..=9, 0u8..=9).prop_map(|(price, quantity)| BookDecimals {
        price: Decimals::new(price).unwrap(),
        quantity: Decimals::new(quantity).unwrap(),
    })
}

/// A level whose numbers fit the decimals.
fn level(raw: (i64, u64, u32), decimals: BookDecimals) -> Level {
    let price = 10i64.pow(9 - u32::from(decimals.price.get()));
    let quantity = 10u64.pow(9 - u32::from(decimals.quantity.get()));
    Level {
        price: Price::from_nanos(raw.0 / price * price),
        quantity: Quantity::from_nanos(raw.1 / quantity * quantity),
        orders: raw.2,
    }
}

proptest! {
    #[test]
    fn public_messages_survive_the_wire(
        header in any_header(),
        decimals in any_decimals(),
        raw in prop::collection::vec(any::<(i64, u64, u32)>(), 1..12),
        crc in any::<u32>(),
        trade_id in prop::option::of("[A-Za-z0-9._:-]{1,36}"),
        side in prop::sample::select(Aggressor::ALL),
    ) {
        let levels: Vec<Level> = raw.into_iter().map(|raw| level(raw, decimals)).collect();
        let Level { price, quantity, .. } = levels[0];
        let trade_id = trade_id.map(|id| TradeId::new(&id).unwrap());
        let trade = Trade { header, price, quantity, side, trade_id };
        check(|out| market::encode_trade(out, &trade, decimals), &MarketMessage::Trade(trade));
        let bbo = Bbo { header, bid: levels.first().copied(), ask: levels.get(1).copied() };
        check(|out| market::encode_bbo(out, &bbo, decimals), &MarketMessage::Bbo(bbo));
        let (bids, asks) = levels.split_at(levels.len() / 2);
        let book = |checksum| BookMessage { header, bids: bids.to_vec(), asks: asks.to_vec(), checksum };
        let snapshot = Snapshot { header, bids, asks, checksum: crc };
        check(|out| market::encode_snapshot(out, &snapshot, decimals), &MarketMessage::Snapshot(book(Some(crc))));
        let delta = Delta { header, bids, asks, checksum: None };
        check(|out| market::encode_delta(out, &delta, decimals), &MarketMessage::Delta(book(None)));
    }

    #[test]
    fn records_of_orders_bars_and_instruments_survive_the_wire(
        header in any_header(),
        decimals in any_decimals(),
        raw in any::<(i64, u64, u32)>(),
        order in prop::option::of(any::<u64>()),
        flags in any::<[bool; 3]>(),
        action in prop::sample::select(&[
            MboAction::Add, MboAction::Modify, MboAction::Cancel, MboAction::Clear, MboAction::Trade, MboAction::Fill,
        ][..]),
        state in prop::sample::select(&[
            TradingState::Trading, TradingState::Halted, TradingState::Paused, TradingState::Quoting,
            TradingState::Auction, TradingState::Unknown,
        ][..]),
        reason in prop::option::of("[!#-\\[\\]-~]{1,8}"),
    ) {
        let [has_price, last, tradable] = flags;
        let Level { price, quantity, .. } = level(raw, decimals);
        let (some_price, some_quantity) = (has_price.then_some(price), has_price.then_some(quantity));
        let side = Aggressor::None;
        let mbo = Mbo { header, action, side, price: some_price, quantity: some_quantity, order_id: order, last };
        check(|out| market::encode_mbo(out, &mbo, decimals), &MarketMessage::Mbo(mbo));
        let order = MboOrder { order_id: order.unwrap_or(7), price, quantity };
        let (bids, asks) = (vec![order; usize::from(has_price)], vec![order; 2]);
        let part = MboSnapshot { header, part: 2, parts: raw.2, bids, asks, last };
        check(|out| market::encode_mbo_snapshot(out, &part, decimals), &MarketMessage::MboSnapshot(part.clone()));
        let (open, high, low, close) = (price, price, price, price);
        let bar = Ohlcv { header, open, high, low, close, volume: quantity, trades: raw.2.into() };
        check(|out| market::encode_ohlcv(out, &bar, decimals), &MarketMessage::Ohlcv(bar));
        let indication = (state == TradingState::Auction).then(|| match some_price {
            None => Indication::Nothing,
            Some(price) => Indication::Uncrosses {
                price: Scaled::new(price, decimals.price),
                quantity: Scaled::new(quantity, decimals.quantity),
                imbalance_side: tradable.then_some(if last { Side::Buy } else { Side::Sell }),
                imbalance_quantity: Scaled::new(quantity, decimals.quantity),
            },
        });
        let reason = reason.map(|text| Reason::new(&text).unwrap());
        let status = Status { header, state, reason, indication };
        check(|out| market::encode_status(out, &status), &MarketMessage::Status(status));
        let lot = has_price.then_some(Scaled::new(quantity, decimals.quantity));
        let tick = has_price.then_some(Scaled::new(price, decimals.price));
        let band = tick.filter(|_| tradable).map(|price| (price, price));
        let definition = Definition { header, decimals, tick, lot, round_lot: lot, tradable, state, band };
        check(|out| market::encode_definition(out, &definition), &MarketMessage::Definition(definition));
    }

    #[test]
    fn notices_survive_the_wire(header in any_header(), all: bool, a in 0..1u64 << 53, b in 0..1u64 << 53) {
        let symbol = if all { StreamSymbol::All } else { header.symbol.into() };
        let StreamHeader { channel, epoch, delayed_ms, .. } = header;
        let stream = StreamKey { channel, symbol, epoch, delayed_ms };
        let (from, to) = (Sequence::new(a).unwrap(), Sequence::new(b).unwrap());
        let beat = Heartbeat { stream, seq: from, ts: header.ts_out };
        check(|out| market::encode_heartbeat(out, &beat), &MarketMessage::Heartbeat(beat));
        check(|out| market::encode_stale(out, &beat), &MarketMessage::Stale(beat));
        let end = IntervalEnd { stream, seq: from, ts: header.ts_out };
        check(|out| market::encode_interval_end(out, &end), &MarketMessage::IntervalEnd(end));
        let gap = Gap { stream, from, to };
        check(|out| market::encode_gap(out, &gap), &MarketMessage::Gap(gap));
        check(|out| market::encode_skipped(out, &gap), &MarketMessage::Skipped(gap));
        let slow = Slow { queue_bytes: a, queue_bytes_max: b, ts: header.ts_out };
        check(|out| market::encode_slow(out, &slow), &MarketMessage::Slow(slow));
    }

    #[test]
    fn execution_reports_survive_the_wire(
        header in any_header(), price in any::<i64>(), quantity in any::<u64>(), numbers in any::<[u64; 3]>(),
        flags in any::<[bool; 7]>(), canceled in prop::option::of(prop::sample::select(CancelReason::ALL)), hash in any::<[u8; 32]>(),
    ) {
        let (price, quantity) = (Scaled::shortest(Price::from_nanos(price)), Scaled::shortest(Quantity::from_nanos(quantity)));
        let [has_fill, is_market, has_cancel, has_reason, has_receipt, has_replace, is_copy] = flags;
        let fill = Fill { price, quantity, trade_id: TradeId::from(numbers[0]), liquidity: Liquidity::Taker };
        let receipt = Receipt { log: LogId(hash), seq: numbers[1], hash: EntryHash(hash) };
        let exec = Exec {
            header,
            exec: if has_fill { ExecKind::PartialFill } else { ExecKind::New },
            exec_id: ExecId::from(numbers[1]),
            cl_ord_id: ClientOrderId::new("c-1").unwrap(),
            cancel_cl_ord_id: has_cancel.then(|| ClientOrderId::new("c-2").unwrap()),
            order_id: OrderId::from(numbers[2]),
            side: Side::Sell,
            order_type: if is_market { OrderType::Market } else { OrderType::Limit },
            time_in_force: TimeInForce::Gtc,
            quantity,
            price: (!is_market).then_some(price),
            fill: has_fill.then_some(fill),
            leaves_quantity: quantity,
            cumulative_quantity: quantity,
            average_price: has_fill.then_some(price),
            reason: has_reason.then_some(Code::OrdNoLiquidity.into()),
            receipt: has_receipt.then_some(receipt),
            cancel_reason: canceled,
            replace_cl_ord_id: has_replace.then(|| ClientOrderId::new("c-3").unwrap()),
            principal: is_copy.then(|| "acme/desk7".into()),
        };
        check(|out| market::encode_exec(out, &exec), &MarketMessage::Exec(Box::new(exec.clone())));
    }

    #[test]
    fn an_error_survives_the_wire(code in prop::sample::select(Code::all().collect::<Vec<_>>()), id in any::<u32>()) {
        let reply = ErrorReply::new(Some(RequestId::Integer(id.into())), code);
        let mut text = Vec::new();
        reply.encode(&mut text);
        let text = String::from_utf8(text).unwrap();
        match ServerMessage::decode(&text) {
            Ok(ServerMessage::Error(read)) => prop_assert_eq!(*read, reply),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn no_text_makes_a_client_panic(text in "\\PC*", kind in "[a-z_]{0,16}", tail in "[\\{\\}\\[\\]\":,0-9a-z_\\\\]{0,64}") {
        let _ = ServerMessage::decode(&text);
        let _ = ServerMessage::decode(&format!("{{\"type\":\"{kind}\"{tail}"));
        let _ = ServerMessage::decode(&format!("{{\"type\":\"trade\"{tail}"));
    }
}

#[test]
fn the_type_is_found_wherever_it_stands() {
    for text in [
        r#"{"type":"ok","id":5}"#,
        r#"{ "id":5, "type" : "ok" }"#,
        r#"{"id":5,"t\u0079pe":"ok"}"#,
        r#"{"type":"o\u006b","id":5}"#,
    ] {
        assert!(matches!(ServerMessage::decode(text), Ok(ServerMessage::Done(_))), "{text}");
    }
}

#[test]
fn what_is_no_message_is_an_error_that_names_the_type() {
    for text in ["", "[]", "null", "{}", r#"{"type":1}"#, r#"{"type":"ok""#] {
        assert!(ServerMessage::decode(text).is_err(), "{text}");
    }
    let error = ServerMessage::decode(r#"{"type":"trade","price":1.5}"#).unwrap_err();
    assert_eq!(error.kind, "trade");
}

#[test]
fn a_number_that_is_not_exact_is_never_taken_from_a_message() {
    let good = r#"{"type":"bbo","channel":"bbo","symbol":"A","epoch":"0000000000000001","seq":1,"prev_seq":null,
        "ts_event":"1","ts_recv":"1","ts_out":"1","bid":["1.5","1",1],"ask":null}"#;
    assert!(ServerMessage::decode(good).is_ok());
    for (from, to) in [
        (r#""1.5""#, "1.5"),
        (r#""1.5""#, r#""1.5e0""#),
        (r#""1.5""#, r#""01.5""#),
        (r#""ts_out":"1""#, r#""ts_out":1"#),
        (r#""seq":1"#, r#""seq":9007199254740992"#),
        (r#""seq":1"#, r#""seq":1.0"#),
        ("0000000000000001", "000000000000000A"),
    ] {
        assert!(ServerMessage::decode(&good.replacen(from, to, 1)).is_err(), "{to}");
    }
}

#[test]
fn an_auction_call_is_read_whole_or_not_at_all() {
    let rest = r#""type":"status","channel":"status","symbol":"A","epoch":"0000000000000001","seq":1,"prev_seq":null,
        "ts_event":"1","ts_recv":"1","ts_out":"1","state":"auction","reason":null"#;
    let read = |fields: &str| match ServerMessage::decode(&format!("{{{rest}{fields}}}")) {
        Ok(ServerMessage::Market(MarketMessage::Status(status))) => Some(status.indication),
        _ => None,
    };
    assert_eq!(read(""), Some(None), "a server that does not tell");
    let nothing =
        r#","indicative_price":null,"indicative_qty":null,"imbalance_side":null,"imbalance_qty":null"#;
    assert_eq!(read(nothing), Some(Some(Indication::Nothing)));
    let balanced =
        r#","indicative_price":"9.50","indicative_qty":"5","imbalance_side":null,"imbalance_qty":"0""#;
    let expected = Indication::Uncrosses {
        price: Scaled::new(Price::parse("9.50").unwrap(), Decimals::new(2).unwrap()),
        quantity: Scaled::new(Quantity::parse("5").unwrap(), Decimals::new(0).unwrap()),
        imbalance_side: None,
        imbalance_quantity: Scaled::new(Quantity::ZERO, Decimals::new(0).unwrap()),
    };
    assert_eq!(read(balanced), Some(Some(expected)));
    for part in [
        r#","indicative_price":"9.50""#,
        r#","indicative_qty":"5""#,
        r#","indicative_price":null,"imbalance_side":"buy""#,
        r#","indicative_price":"9.50","indicative_qty":"5""#,
        r#","indicative_price":9.5,"indicative_qty":"5","imbalance_qty":"0""#,
    ] {
        assert_eq!(read(part), None, "{part}");
    }
}
