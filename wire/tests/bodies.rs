//! Bodies of signed requests: what is read, what is refused, and with which code.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use proptest::prelude::*;
use sealfeed_wire::body::{DEAD_MAN_MS_MAX, DEAD_MAN_MS_MIN};
use sealfeed_wire::{
    AdminKill, AdminTrading, ClientOrderId, Code, Decimals, KillAction, KillTarget, MassCancelScope,
    OperatorReason, OrderCancel, OrderDeadMan, OrderMassCancel, OrderNew, OrderReplace, OrderType, Price,
    Quantity, Scaled, Side, Stp, Symbol, TimeInForce, TradingPhase, UnixNanos,
};

const GOOD: &str = r#"{"cl_ord_id":"c-1","symbol":"ESH4","side":"buy","type":"limit","qty":"3","price":"4783.25","tif":"day"}"#;

/// `GOOD` with one field replaced by another text, or removed.
fn with(field: &str, replacement: &str) -> String {
    let start = GOOD.find(&format!("\"{field}\":")).expect(field);
    let end = start + GOOD[start..].find([',', '}']).unwrap();
    let mut body = GOOD.to_owned();
    body.replace_range(start..end, replacement);
    body.replace(",,", ",").replace("{,", "{").replace(",}", "}")
}

#[track_caller]
fn refused(body: &str, code: Code) {
    let error = OrderNew::decode(body).expect_err(body);
    assert_eq!(error.code, code, "{body}\n{error:?}");
}

fn id(text: &str) -> ClientOrderId {
    ClientOrderId::new(text).unwrap()
}

#[test]
fn a_new_order_is_read() {
    let order = OrderNew::decode(GOOD).unwrap();
    let expected = OrderNew {
        cl_ord_id: id("c-1"),
        symbol: Symbol::new("ESH4").unwrap(),
        side: Side::Buy,
        order_type: OrderType::Limit,
        quantity: Scaled::parse("3").unwrap(),
        price: Some(Scaled::new(Price::from_nanos(4_783_250_000_000), Decimals::new(2).unwrap())),
        time_in_force: TimeInForce::Day,
        post_only: false,
        reduce_only: false,
        stp: None,
        deadline: None,
    };
    assert_eq!(order, expected);
    assert_eq!(order.encode(), GOOD);
}

#[test]
fn white_space_order_and_escapes_do_not_matter() {
    let body = "{ \"tif\" : \"da\\u0079\",\n\"price\":\"4783.25\",\"qty\":\"3\",\"type\":\"limit\",\
                \"\\u0073ide\":\"buy\",\"symbol\":\"ESH4\",\"cl_ord_id\":\"c-1\"}";
    assert_eq!(OrderNew::decode(body), OrderNew::decode(GOOD));
}

#[test]
fn the_options_are_read() {
    let body = with(
        "tif",
        r#""tif":"gtc","post_only":true,"reduce_only":false,"stp":"cancel_both","deadline":"1790000000000000000""#,
    );
    let order = OrderNew::decode(&body).unwrap();
    assert!(order.post_only && !order.reduce_only);
    assert_eq!(
        (order.stp, order.deadline),
        (Some(Stp::CancelBoth), Some(UnixNanos(1_790_000_000_000_000_000)))
    );
    assert_eq!(OrderNew::decode(&order.encode()), Ok(order));
}

#[test]
fn anything_but_one_object_is_refused() {
    for body in [
        "",
        "[]",
        "null",
        " {}",
        "{} ",
        "{",
        "{}{}",
        r#"["c-1","ESH4","buy","limit","3","4783.25","day"]"#,
        r#"{"cl_ord_id":"\ud800"}"#,
    ] {
        refused(body, Code::OrdBodyNotObject);
    }
}

#[test]
fn unknown_missing_and_repeated_fields_are_refused() {
    refused(&with("tif", r#""tif":"day","bogus":1"#), Code::OrdBodyFieldUnknown);
    refused(&with("tif", r#""tif":"day","orig_cl_ord_id":"c-0""#), Code::OrdBodyFieldUnknown);
    refused(&with("tif", r#""tif":"day","tif":"day""#), Code::OrdBodyKeyDuplicate);
    refused(&with("tif", r#""tif":"day","bogus":1,"t\u0069f":"day""#), Code::OrdBodyKeyDuplicate);
    for field in ["cl_ord_id", "symbol", "side", "type", "qty", "tif"] {
        refused(&with(field, ""), Code::OrdBodyFieldMissing);
    }
}

#[test]
fn every_field_has_one_json_type() {
    for field in ["cl_ord_id", "symbol", "side", "type", "qty", "price", "tif"] {
        for value in ["1", "null", "true", "[]", "{}", r#"["x"]"#] {
            refused(&with(field, &format!("\"{field}\":{value}")), Code::OrdBodyFieldTypeWrong);
        }
    }
    for option in [r#""post_only":1"#, r#""reduce_only":"true""#, r#""stp":null"#, r#""deadline":1790000000"#]
    {
        refused(&with("tif", &format!(r#""tif":"day",{option}"#)), Code::OrdBodyFieldTypeWrong);
    }
}

#[test]
fn words_and_identifiers_are_checked() {
    refused(&with("cl_ord_id", r#""cl_ord_id":"""#), Code::OrdClientOrderIdInvalid);
    refused(&with("cl_ord_id", r#""cl_ord_id":"a b""#), Code::OrdClientOrderIdInvalid);
    refused(&with("cl_ord_id", r#""cl_ord_id":"a\u0000""#), Code::OrdClientOrderIdInvalid);
    refused(&with("symbol", r#""symbol":"ES H4""#), Code::OrdSymbolUnknown);
    for (field, bad) in [("side", "Buy"), ("type", "stop"), ("tif", "gtd"), ("tif", "")] {
        refused(&with(field, &format!("\"{field}\":\"{bad}\"")), Code::OrdBodyFieldValueInvalid);
    }
    refused(&with("tif", r#""tif":"day","stp":"none""#), Code::OrdBodyFieldValueInvalid);
    refused(&with("tif", r#""tif":"day","deadline":"-1""#), Code::OrdBodyFieldValueInvalid);
}

#[test]
fn prices_and_quantities_are_never_guessed() {
    for bad in
        ["", "05", ".5", "5.", "5e1", "+5", " 5", "5 ", "5,0", "0x5", "NaN", "١", "--5", "5.5.5", "1_000"]
    {
        refused(&with("price", &format!("\"price\":\"{bad}\"")), Code::OrdPriceInvalid);
        refused(&with("qty", &format!("\"qty\":\"{bad}\"")), Code::OrdQuantityInvalid);
    }
    refused(&with("price", r#""price":"-0""#), Code::OrdPriceInvalid);
    refused(&with("price", r#""price":"-0.00""#), Code::OrdPriceInvalid);
    refused(&with("price", r#""price":"9223372036.854775808""#), Code::OrdPriceInvalid);
    refused(&with("price", r#""price":"1.0000000000""#), Code::OrdPriceDecimals);
    refused(&with("qty", r#""qty":"-3""#), Code::OrdQuantityInvalid);
    refused(&with("qty", r#""qty":"18446744073.709551616""#), Code::OrdQuantityInvalid);
    refused(&with("qty", r#""qty":"1.0000000000""#), Code::OrdQuantityDecimals);
    refused(&with("qty", r#""qty":"0""#), Code::OrdQuantityZero);
    refused(&with("qty", r#""qty":"0.000""#), Code::OrdQuantityZero);
    assert!(OrderNew::decode(&with("price", r#""price":"-4783.25""#)).is_ok(), "a price may be negative");
}

#[test]
fn more_decimals_than_the_instrument_has_are_refused_even_if_they_are_zeros() {
    let price = OrderNew::decode(&with("price", r#""price":"4783.250""#)).unwrap().price.unwrap();
    assert!(price.within(Decimals::new(2).unwrap()).is_err());
    assert_eq!(price.within(Decimals::new(3).unwrap()), Ok(Price::from_nanos(4_783_250_000_000)));
}

#[test]
fn a_limit_order_has_a_price_and_a_market_order_has_none() {
    refused(&with("price", ""), Code::OrdPriceMissing);
    refused(&with("type", r#""type":"market""#), Code::OrdPriceNotAllowed);
    let market = with("type", r#""type":"market""#).replace(r#","price":"4783.25""#, "");
    let order = OrderNew::decode(&market).unwrap();
    assert_eq!((order.order_type, order.price), (OrderType::Market, None));
}

#[test]
fn a_refusal_names_the_order_if_it_can_be_read() {
    let error = OrderNew::decode(&with("qty", r#""qty":"0""#)).unwrap_err();
    assert_eq!(error.cl_ord_id, Some(id("c-1")));
    let error = OrderNew::decode(&with("tif", r#""tif":"day","cl_ord_id":"c-2""#)).unwrap_err();
    assert_eq!(error.cl_ord_id, None, "which of the two?");
}

#[test]
fn a_cancel_is_read_and_checked() {
    let cancel = OrderCancel { cl_ord_id: id("c-2"), orig_cl_ord_id: id("c-1") };
    assert_eq!(OrderCancel::decode(r#"{"cl_ord_id":"c-2","orig_cl_ord_id":"c-1"}"#), Ok(cancel));
    assert_eq!(OrderCancel::decode(&cancel.encode()), Ok(cancel));
    for (body, code) in [
        (r#"{"cl_ord_id":"c-2"}"#, Code::OrdBodyFieldMissing),
        (r#"{"cl_ord_id":"c-2","orig_cl_ord_id":1}"#, Code::OrdBodyFieldTypeWrong),
        (r#"{"cl_ord_id":"c-2","orig_cl_ord_id":""}"#, Code::OrdClientOrderIdInvalid),
        (r#"{"cl_ord_id":"c-2","orig_cl_ord_id":"c-2"}"#, Code::OrdClientOrderIdReused),
        (r#"{"cl_ord_id":"c-2","orig_cl_ord_id":"c-1","symbol":"ESH4"}"#, Code::OrdBodyFieldUnknown),
        (r#"["c-2","c-1"]"#, Code::OrdBodyNotObject),
    ] {
        assert_eq!(OrderCancel::decode(body).unwrap_err().code, code, "{body}");
    }
}

#[test]
fn a_replace_has_a_new_quantity_or_a_new_price_or_both() {
    for (body, quantity, price) in [
        (r#"{"cl_ord_id":"c-2","orig_cl_ord_id":"c-1","qty":"5.0"}"#, Some("5.0"), None),
        (r#"{"cl_ord_id":"c-2","orig_cl_ord_id":"c-1","price":"-0.25"}"#, None, Some("-0.25")),
        (r#"{"cl_ord_id":"c-2","orig_cl_ord_id":"c-1","qty":"5","price":"1"}"#, Some("5"), Some("1")),
    ] {
        let replace = OrderReplace {
            cl_ord_id: id("c-2"),
            orig_cl_ord_id: id("c-1"),
            quantity: quantity.map(|text| Scaled::parse(text).unwrap()),
            price: price.map(|text| Scaled::parse(text).unwrap()),
        };
        assert_eq!(OrderReplace::decode(body), Ok(replace));
        assert_eq!(replace.encode(), body);
    }
    for (change, code) in [
        ("", Code::OrdReplaceEmpty),
        (r#","qty":"0.0""#, Code::OrdQuantityZero),
        (r#","qty":"-1""#, Code::OrdQuantityInvalid),
        (r#","qty":"1.0000000000""#, Code::OrdQuantityDecimals),
        (r#","qty":null"#, Code::OrdBodyFieldTypeWrong),
        (r#","price":1"#, Code::OrdBodyFieldTypeWrong),
        (r#","price":"1e2""#, Code::OrdPriceInvalid),
        (r#","price":"1.0000000000""#, Code::OrdPriceDecimals),
        (r#","qty":"1","qty":"1""#, Code::OrdBodyKeyDuplicate),
        (r#","qty":"1","tif":"day""#, Code::OrdBodyFieldUnknown),
    ] {
        let body = format!(r#"{{"cl_ord_id":"c-2","orig_cl_ord_id":"c-1"{change}}}"#);
        let error = OrderReplace::decode(&body).expect_err(&body);
        assert_eq!((error.code, error.cl_ord_id), (code, Some(id("c-2"))), "{body}");
    }
}

#[test]
fn a_mass_cancel_reaches_the_whole_principal_unless_it_says_less() {
    let all =
        OrderMassCancel { cl_ord_id: id("m"), symbol: None, side: None, scope: MassCancelScope::Principal };
    assert_eq!(OrderMassCancel::decode(r#"{"cl_ord_id":"m"}"#), Ok(all));
    assert_eq!(OrderMassCancel::decode(r#"{"cl_ord_id":"m","scope":"principal"}"#), Ok(all));
    let symbol = Some(Symbol::new("ESH4").unwrap());
    let less = OrderMassCancel { symbol, side: Some(Side::Sell), scope: MassCancelScope::Session, ..all };
    let text = r#"{"cl_ord_id":"m","symbol":"ESH4","side":"sell","scope":"session"}"#;
    assert_eq!(OrderMassCancel::decode(text), Ok(less));
    assert_eq!(less.encode(), text);
}

#[test]
fn a_dead_man_timer_runs_between_a_second_and_an_hour() {
    for timeout_ms in [0, DEAD_MAN_MS_MIN, DEAD_MAN_MS_MAX] {
        let dead_man = OrderDeadMan { timeout_ms };
        assert_eq!(OrderDeadMan::decode(&dead_man.encode()), Ok(dead_man));
    }
    for timeout in ["1", "999", "3600001", "-1", "4294967296", "1e4", "1000.0", "18446744073709551616"] {
        let body = format!(r#"{{"timeout_ms":{timeout}}}"#);
        assert_eq!(OrderDeadMan::decode(&body).unwrap_err().code, Code::OrdDeadManTimeoutInvalid, "{body}");
    }
}

#[test]
fn an_operator_names_whom_and_why() {
    let kill = |target: &str| format!(r#"{{{target},"action":"release","reason":"a \"drill\" \\ over"}}"#);
    let reason = OperatorReason::new(r#"a "drill" \ over"#).unwrap();
    for (text, target) in [
        (
            r#""scope":"principal","target":"acme/desk7""#,
            KillTarget::Principal { firm: "acme".into(), user: "desk7".into() },
        ),
        (r#""scope":"firm","target":"acme""#, KillTarget::Firm("acme".into())),
        (r#""scope":"symbol","target":"ES/H4""#, KillTarget::Symbol(Symbol::new("ES/H4").unwrap())),
        (r#""scope":"all""#, KillTarget::All),
    ] {
        let expected = AdminKill { target, action: KillAction::Release, reason: reason.clone() };
        assert_eq!(AdminKill::decode(&kill(text)), Ok(expected.clone()));
        assert_eq!(expected.encode(), kill(text));
    }
    for text in [
        r#""scope":"principal","target":"acme""#,
        r#""scope":"principal","target":"acme/desk7/x""#,
        r#""scope":"principal","target":"/desk7""#,
        r#""scope":"firm","target":"acme,OU=x""#,
        r#""scope":"firm","target":"""#,
        r#""scope":"symbol","target":"*""#,
        r#""scope":"symbol""#,
        r#""scope":"all","target":"acme""#,
    ] {
        assert_eq!(AdminKill::decode(&kill(text)).unwrap_err().code, Code::OrdKillTargetInvalid, "{text}");
    }
}

#[test]
fn an_operator_says_how_an_instrument_trades() {
    for state in TradingPhase::ALL {
        let body = format!(r#"{{"symbol":"ESH4","state":"{state}","reason":"r"}}"#);
        let trading = AdminTrading::decode(&body).unwrap();
        assert_eq!(trading.state, *state);
        assert_eq!(trading.encode(), body);
    }
    for reason in ["", "\\n", "\\u0000", "é", &"x".repeat(201)] {
        let body = format!(r#"{{"symbol":"ESH4","state":"open","reason":"{reason}"}}"#);
        assert_eq!(AdminTrading::decode(&body).unwrap_err().code, Code::OrdReasonInvalid, "{body}");
    }
}

fn any_order() -> impl Strategy<Value = OrderNew> {
    let number = (any::<i64>(), 1..=u64::MAX, 0u8..=9);
    let words = (
        prop::sample::select(Side::ALL),
        prop::sample::select(TimeInForce::ALL),
        prop::option::of(prop::sample::select(Stp::ALL)),
        prop::option::of(any::<u64>()),
    );
    ("[A-Za-z0-9._:-]{1,36}", "[A-Za-z0-9._/:-]{1,32}", number, words, any::<[bool; 3]>()).prop_map(
        |(
            cl_ord_id,
            symbol,
            (price, quantity, _),
            (side, time_in_force, stp, deadline),
            [limit, post, reduce],
        )| {
            OrderNew {
                cl_ord_id: id(&cl_ord_id),
                symbol: Symbol::new(&symbol).unwrap(),
                side,
                order_type: if limit { OrderType::Limit } else { OrderType::Market },
                quantity: Scaled::shortest(Quantity::from_nanos(quantity)),
                price: limit.then(|| Scaled::shortest(Price::from_nanos(price))),
                time_in_force,
                post_only: post,
                reduce_only: reduce,
                stp,
                deadline: deadline.map(UnixNanos),
            }
        },
    )
}

proptest! {
    #[test]
    fn what_a_client_encodes_the_server_reads(order in any_order()) {
        prop_assert_eq!(OrderNew::decode(&order.encode()), Ok(order));
    }

    #[test]
    fn no_text_makes_the_decoder_panic(text in "\\PC*", tail in "[\\{\\}\\[\\]\":,0-9a-z_\\\\]{0,64}") {
        let _ = OrderNew::decode(&text);
        let _ = OrderCancel::decode(&format!("{{\"cl_ord_id\":{tail}"));
        let _ = OrderReplace::decode(&format!("{{\"cl_ord_id\":{tail}"));
        let _ = OrderMassCancel::decode(&format!("{{\"cl_ord_id\":{tail}"));
        let _ = OrderDeadMan::decode(&format!("{{\"timeout_ms\":{tail}"));
        let _ = AdminKill::decode(&format!("{{\"scope\":{tail}"));
        let _ = AdminTrading::decode(&format!("{{\"reason\":{tail}"));
    }
}
