//! The gate from envelope to admitted order: one test for each refusal, and for what a refusal leaves behind.

use sealfeed_wire::{BookDecimals, Decimals, Nonce, Op, OrderKey, SessionId, SessionMac, SignedOp, request};

mod ops;
mod proof;

use super::*;
use crate::types::{
    DuplicateLimit, FirmLimits, MarketDepth, OrderRights, Principal, ProofDemand, RiskBounds, SessionLimits,
    Symbol, SymbolPatterns, TimeArithmetic,
};

const NOW: UnixNanos = UnixNanos(1_790_000_000_000_000_000);
const OWNER: OwnerId = OwnerId(7);
const SESSION: SessionId = SessionId([1; 32]);
const LIMIT: &str = r#"{"cl_ord_id":"c-1","symbol":"SEAL","side":"buy","type":"limit","qty":"3","price":"100.25","tif":"day"}"#;

fn key(byte: u8) -> OrderKey {
    OrderKey::from_bytes([byte; 32])
}

fn limits() -> SessionLimits {
    SessionLimits { messages_per_second: 10, ..SessionLimits::default() }
}

fn session_gate(previous: Option<&OrderKey>) -> SessionGate {
    SessionGate::new(Principal::new("acme", "desk7").unwrap(), SESSION, &key(1), previous, None, &limits())
}

fn mac(byte: u8, session: SessionId) -> SessionMac {
    sealfeed_wire::KeyedMac::new(&key(byte)).for_session(&session)
}

/// The frame of a request signed with `mac`.
fn frame(mac: &SessionMac, ts: UnixNanos, nonce: u8, op: SignedOp, body: &str) -> String {
    let nonce = Nonce([nonce; 16]);
    let tag = sealfeed_wire::hex::encode(&mac.sign(ts, nonce, op, body));
    format!(r#"{{"op":"{op}","id":1,"ts":"{ts}","nonce":"{nonce}","mac":"{tag}","body":{body}}}"#)
}

/// What the session's half makes of a frame.
fn authenticate(gate: &SessionGate, frame: &str) -> Result<AuthenticRequest, Code> {
    let Op::Signed(signed) = request::parse(frame).unwrap().op else { panic!("not a signed request") };
    gate.authenticate(&signed, ProofDemand::Mac, NOW)
}

/// An authentic `order.new` with this body.
fn authentic(body: &str) -> AuthenticRequest {
    authentic_at(NOW, 1, SignedOp::OrderNew, body)
}

fn authentic_at(ts: UnixNanos, nonce: u8, op: SignedOp, body: &str) -> AuthenticRequest {
    authenticate(&session_gate(None), &frame(&mac(1, SESSION), ts, nonce, op, body)).unwrap()
}

fn gate() -> Gate {
    Gate::new(&OrdersConfig::default())
}

fn entitlement() -> Entitlement {
    let rights = OrderRights {
        quantity_max: Quantity::parse("1000").unwrap(),
        notional_max: 50_000,
        open_orders_max: 10,
        ..OrderRights::unbounded("traders", SymbolPatterns::new(["SEAL", "GONE", "TAPE"]), 2)
    };
    Entitlement { orders: Some(rights), ..Entitlement::default() }
}

fn instruments() -> Instruments {
    let mut instruments = Instruments::new();
    for (symbol, tradable) in [("SEAL", true), ("TAPE", false), ("OTHER", true)] {
        let build = |id| Instrument {
            id,
            symbol: Symbol::new(symbol).unwrap(),
            decimals: BookDecimals { price: Decimals::new(2).unwrap(), quantity: Decimals::new(1).unwrap() },
            tick: Price::parse("0.25").unwrap(),
            lot: Quantity::parse("0.5").unwrap(),
            band: None,
            depth: MarketDepth::Orders,
            tradable,
            paper: false,
        };
        instruments.add(build).unwrap();
    }
    instruments
}

fn context(_: &Instrument, _: Side) -> RiskContext {
    RiskContext { best_opposite: Some(Price::parse("100").unwrap()), ..RiskContext::default() }
}

/// The answer to an authentic `order.new` with this body.
fn admit(body: &str) -> Result<AdmittedOrder, Code> {
    gate()
        .admit(&authentic(body), OWNER, &entitlement(), &instruments(), context, NOW)
        .map_err(|refused| refused.code)
}

/// As [`admit`], after replacing a part of a good limit order.
fn admit_with(from: &str, to: &str) -> Result<AdmittedOrder, Code> {
    assert!(LIMIT.contains(from));
    admit(&LIMIT.replace(from, to))
}

#[test]
fn a_good_order_reaches_the_venue_as_it_was_sent() {
    let order = admit(LIMIT).unwrap().into_new_order(OrderId(5));
    assert_eq!((order.id, order.owner, order.instrument), (OrderId(5), OWNER, InstrumentId(0)));
    assert_eq!(order.client_order_id.as_str(), "c-1");
    assert_eq!((order.side, order.quantity), (Side::Buy, Quantity::parse("3").unwrap()));
    assert_eq!(order.kind, OrderKind::Limit(Price::parse("100.25").unwrap()));
    assert_eq!(order.time_in_force, TimeInForce::Day);
}

#[test]
fn a_forged_mac_is_refused_and_spends_nothing() {
    let session = session_gate(None);
    let forged = frame(&mac(9, SESSION), NOW, 1, SignedOp::OrderNew, LIMIT);
    assert_eq!(authenticate(&session, &forged).unwrap_err(), Code::OrdMacInvalid);
    assert_eq!(gate().spend(&authentic(LIMIT), OWNER, NOW), Ok(()), "its nonce is still free");
}

#[test]
fn a_request_of_another_session_is_refused() {
    let other = frame(&mac(1, SessionId([2; 32])), NOW, 1, SignedOp::OrderNew, LIMIT);
    assert_eq!(authenticate(&session_gate(None), &other).unwrap_err(), Code::OrdMacInvalid);
}

#[test]
fn any_change_to_what_was_signed_is_refused() {
    let good = frame(&mac(1, SESSION), NOW, 1, SignedOp::OrderNew, LIMIT);
    assert!(authenticate(&session_gate(None), &good).is_ok());
    for (from, to) in [
        ("\"qty\":\"3\"", "\"qty\":\"4\""),
        ("\"qty\":\"3\"", "\"qty\": \"3\""),
        ("order.new", "order.cancel"),
        (&*format!("\"ts\":\"{NOW}\""), &*format!("\"ts\":\"{}\"", NOW.plus_ns(1))),
        ("01010101", "01010102"),
    ] {
        let changed = good.replacen(from, to, 1);
        assert_ne!(changed, good);
        assert_eq!(authenticate(&session_gate(None), &changed).unwrap_err(), Code::OrdMacInvalid, "{to}");
    }
}

#[test]
fn the_previous_key_is_good_while_it_is_honoured() {
    let old = frame(&mac(2, SESSION), NOW, 1, SignedOp::OrderNew, LIMIT);
    assert!(authenticate(&session_gate(Some(&key(2))), &old).is_ok());
    assert_eq!(authenticate(&session_gate(None), &old).unwrap_err(), Code::OrdMacInvalid);
    let neither = frame(&mac(3, SESSION), NOW, 1, SignedOp::OrderNew, LIMIT);
    assert_eq!(authenticate(&session_gate(Some(&key(2))), &neither).unwrap_err(), Code::OrdMacInvalid);
}

#[test]
fn an_authentic_request_carries_its_evidence() {
    let request = authentic(LIMIT);
    assert_eq!(&**request.body(), LIMIT);
    assert_eq!((request.principal().to_string().as_str(), request.session()), ("acme/desk7", &SESSION));
    assert_eq!((request.ts(), request.nonce(), request.received()), (NOW, Nonce([1; 16]), NOW));
    let signed = mac(1, SESSION).sign(NOW, Nonce([1; 16]), SignedOp::OrderNew, LIMIT);
    assert_eq!((request.mac(), request.sig()), (Some(signed), None));
}

#[test]
fn the_digest_knows_the_same_request_signed_again() {
    let first = authentic(LIMIT);
    let again = authentic_at(NOW.plus_ns(5), 2, SignedOp::OrderNew, LIMIT);
    assert_eq!(first.digest(), again.digest());
    let other_body = authentic(&LIMIT.replace("\"3\"", "\"3.0\""));
    assert_ne!(first.digest(), other_body.digest());
    let other_op = authentic_at(NOW, 1, SignedOp::OrderCancel, LIMIT);
    assert_ne!(first.digest(), other_op.digest());
}

#[test]
fn the_message_rate_counts_whatever_the_message_is() {
    let mut session = session_gate(None);
    for _ in 0..10 {
        session.charge_message(1, NOW).unwrap();
    }
    assert_eq!(session.charge_message(1, NOW), Err(RateExceeded { retry_after_ms: 100 }));
    let state = session.message_rate(NOW);
    assert_eq!((&*state.name, state.limit, state.interval_ms, state.used), ("messages", 10, 1000, 10));
    session.set_message_rate(20);
    assert_eq!(session.message_rate(NOW).limit, 20);
}

#[test]
fn a_stale_request_is_refused_and_keeps_its_nonce() {
    let mut gate = gate();
    let stale = authentic_at(UnixNanos(NOW.0 - 5_000_000_001), 1, SignedOp::OrderNew, LIMIT);
    assert_eq!(gate.spend(&stale, OWNER, NOW), Err(Code::OrdTimestampStale));
    assert_eq!(gate.spend(&authentic(LIMIT), OWNER, NOW), Ok(()));
}

#[test]
fn a_request_from_the_future_is_refused() {
    let future = authentic_at(NOW.plus_ns(freshness::SKEW_NS), 1, SignedOp::OrderNew, LIMIT);
    assert_eq!(gate().spend(&future, OWNER, NOW), Err(Code::OrdTimestampFuture));
}

#[test]
fn a_replayed_nonce_is_refused_whatever_it_carries() {
    let mut gate = gate();
    assert_eq!(gate.spend(&authentic(LIMIT), OWNER, NOW), Ok(()));
    assert_eq!(gate.spend(&authentic(LIMIT), OWNER, NOW), Err(Code::OrdNonceReplayed));
    let other =
        authentic_at(NOW.plus_ns(1), 1, SignedOp::OrderCancel, r#"{"cl_ord_id":"a","orig_cl_ord_id":"b"}"#);
    assert_eq!(gate.spend(&other, OWNER, NOW), Err(Code::OrdNonceReplayed));
    assert_eq!(gate.spend(&other, OwnerId(8), NOW), Ok(()), "another principal's nonces are its own");
}

#[test]
fn a_full_replay_cache_is_refused_for_later() {
    let mut gate = Gate::new(&OrdersConfig { nonces_max: 1, ..OrdersConfig::default() });
    assert_eq!(gate.spend(&authentic(LIMIT), OWNER, NOW), Ok(()));
    let next = authentic_at(NOW, 2, SignedOp::OrderNew, LIMIT);
    assert_eq!(gate.spend(&next, OWNER, NOW), Err(Code::OrdReplayCacheFull));
    assert_eq!(gate.nonce_count(), 1);
}

#[test]
fn a_request_with_a_bad_body_spends_its_nonce_and_is_refused_afterwards() {
    let mut gate = gate();
    let bad = authentic(r#"{"cl_ord_id":"c-1","surprise":1}"#);
    assert_eq!(gate.spend(&bad, OWNER, NOW), Ok(()));
    assert_eq!(bad.decoded().unwrap_err().code, Code::OrdBodyFieldUnknown);
    let answer = gate.admit(&bad, OWNER, &entitlement(), &instruments(), context, NOW);
    assert_eq!(answer.unwrap_err().code, Code::OrdBodyFieldUnknown);
    assert_eq!(gate.spend(&authentic(LIMIT), OWNER, NOW), Err(Code::OrdNonceReplayed));
}

#[test]
fn a_publish_is_no_order_and_an_order_is_no_publish() {
    let mut gate = gate();
    let body = r#"{"pub_seq":1,"symbol":"SEAL","messages":[{"type":"trade","ts_event":"1","price":"1","qty":"1","side":"buy"}]}"#;
    let publish = authentic_at(NOW, 1, SignedOp::Publish, body);
    let order = authentic(LIMIT);
    let refused = gate.admit(&publish, OWNER, &entitlement(), &instruments(), context, NOW).unwrap_err();
    assert_eq!(refused.code, Code::SesOpNotOffered);
    let refused = gate.admit_cancel(&publish, OWNER, &entitlement(), NOW).unwrap_err();
    assert_eq!(refused.code, Code::SesOpNotOffered);
    let refused = gate.admit_publish(&order, &entitlement(), &instruments(), NOW).unwrap_err();
    assert_eq!(refused.code, Code::SesOpNotOffered);
    let refused = gate.admit_publish(&publish, &entitlement(), &instruments(), NOW).unwrap_err();
    assert_eq!(refused.code, Code::PubNotEntitled, "the right to trade is none to publish");
}

#[test]
fn orders_beyond_the_rate_are_refused_with_the_time_to_wait() {
    let mut gate = gate();
    let (entitlement, instruments) = (entitlement(), instruments());
    let mut admit = |now| gate.admit(&authentic(LIMIT), OWNER, &entitlement, &instruments, context, now);
    assert!(admit(NOW).is_ok() && admit(NOW).is_ok());
    let refused = admit(NOW).unwrap_err();
    assert_eq!(refused, Refused { code: Code::OrdOrderRate, retry_after_ms: Some(500) });
    assert!(admit(NOW.plus_ns(500_000_000)).is_ok());
    assert_eq!(gate.order_rate(OWNER, NOW.plus_ns(500_000_000)).unwrap().used, 2);
    assert_eq!(gate.order_rate(OwnerId(8), NOW), None);
}

#[test]
fn the_rate_comes_before_the_entitlement_and_counts_refused_orders() {
    let mut gate = gate();
    let (entitlement, instruments) = (entitlement(), instruments());
    let foreign = authentic(&LIMIT.replace("SEAL", "OTHER"));
    let mut code = || gate.admit(&foreign, OWNER, &entitlement, &instruments, context, NOW).unwrap_err().code;
    assert_eq!(
        [code(), code(), code()],
        [Code::OrdSymbolNotEntitled, Code::OrdSymbolNotEntitled, Code::OrdOrderRate]
    );
}

#[test]
fn who_has_no_order_rights_is_refused() {
    let answer = gate()
        .admit(&authentic(LIMIT), OWNER, &Entitlement::default(), &instruments(), context, NOW)
        .unwrap_err();
    assert_eq!(answer.code, Code::OrdNotEntitled);
}

#[test]
fn a_symbol_is_judged_by_entitlement_before_existence() {
    assert_eq!(admit_with("SEAL", "OTHER"), Err(Code::OrdSymbolNotEntitled));
    assert_eq!(admit_with("SEAL", "NOSUCH"), Err(Code::OrdSymbolNotEntitled), "no hint whether it exists");
    assert_eq!(admit_with("SEAL", "GONE"), Err(Code::OrdSymbolUnknown));
    assert_eq!(admit_with("SEAL", "TAPE"), Err(Code::OrdSymbolNotTradable));
}

#[test]
fn options_that_the_venue_does_not_honour_are_refused() {
    assert_eq!(admit_with("}", r#","reduce_only":true}"#), Err(Code::OrdOptionsContradict), "it could rest");
    for tif in ["\"gtc\"", "\"ioc\"", "\"fok\""] {
        assert!(admit_with("\"day\"", tif).is_ok(), "{tif}");
    }
}

#[test]
fn options_that_the_venue_honours_reach_it() {
    let order = |option: &str| admit_with("}", option).unwrap().into_new_order(OrderId(1));
    assert_eq!((order("}").post_only, order("}").self_trade), (false, None));
    assert!(order(r#","post_only":true}"#).post_only);
    let stp = [
        ("cancel_taker", SelfTrade::CancelTaker),
        ("cancel_maker", SelfTrade::CancelMaker),
        ("cancel_both", SelfTrade::CancelBoth),
    ];
    for (word, mode) in stp {
        assert_eq!(order(&format!(r#","stp":"{word}"}}"#)).self_trade, Some(mode));
    }
}

#[test]
fn a_post_only_order_that_never_rests_is_refused_before_the_venue_sees_it() {
    for tif in ["ioc", "fok"] {
        let body = LIMIT.replace("\"day\"", &format!("\"{tif}\"")).replace('}', r#","post_only":true}"#);
        assert_eq!(admit(&body), Err(Code::OrdOptionsContradict));
    }
}

#[test]
fn a_price_beyond_the_band_of_its_instrument_is_refused_and_the_ends_belong_to_it() {
    let price = |text| Price::parse(text).unwrap();
    let instrument = instruments().by_symbol("SEAL").unwrap().clone();
    let instrument = Instrument { band: Some((price("99.5"), price("100.25"))), ..instrument };
    let kind = |text| {
        let order = OrderNew::decode(&LIMIT.replace("100.25", text)).unwrap();
        terms(&order, &instrument).map(|terms| terms.kind)
    };
    assert_eq!(kind("99.5"), Ok(OrderKind::Limit(price("99.5"))));
    assert_eq!(kind("100.25"), Ok(OrderKind::Limit(price("100.25"))));
    assert_eq!(kind("99.25"), Err(Code::OrdPriceOutOfBand));
    assert_eq!(kind("100.5"), Err(Code::OrdPriceOutOfBand));
    assert_eq!(kind("100.51"), Err(Code::OrdPriceOffTick), "the tick comes first");
}

#[test]
fn a_market_order_is_immediate_or_refused() {
    let market = LIMIT.replace("limit", "market").replace(r#""price":"100.25","#, "");
    assert_eq!(admit(&market), Err(Code::OrdTifNotOffered));
    for tif in ["ioc", "fok"] {
        assert_eq!(admit(&market.replace("day", tif)).unwrap().kind(), OrderKind::Market);
    }
}

#[test]
fn decimals_tick_and_lot_are_the_instruments() {
    assert_eq!(admit_with("100.25", "100.250"), Err(Code::OrdPriceDecimals));
    assert_eq!(admit_with("100.25", "100.26"), Err(Code::OrdPriceOffTick));
    assert_eq!(admit_with("\"3\"", "\"3.00\""), Err(Code::OrdQuantityDecimals));
    assert_eq!(admit_with("\"3\"", "\"3.1\""), Err(Code::OrdQuantityOffLot));
    assert!(admit_with("\"3\"", "\"3.5\"").is_ok());
    assert!(admit_with("100.25", "100.5").is_ok(), "trailing zeros may be missing");
}

#[test]
fn risk_limits_refuse_quantity_notional_and_open_orders() {
    assert_eq!(admit_with("\"3\"", "\"1000.5\""), Err(Code::RskQuantityMax));
    assert_eq!(admit_with("\"3\"", "\"500\""), Err(Code::RskNotionalMax));
    let principal = AccountRisk { open_orders: 10, ..AccountRisk::default() };
    let full = |_: &Instrument, _| RiskContext { principal, ..RiskContext::default() };
    let answer = gate().admit(&authentic(LIMIT), OWNER, &entitlement(), &instruments(), full, NOW);
    assert_eq!(answer.unwrap_err().code, Code::RskOpenOrdersMax);
}

#[test]
fn the_same_order_once_too_often_is_refused_and_what_was_refused_does_not_count() {
    let mut entitlement = entitlement();
    let rights = entitlement.orders.as_mut().unwrap();
    rights.duplicates = Some(DuplicateLimit { count_max: 2, within_ms: 1_000 });
    rights.orders_per_second = 100;
    let (mut gate, instruments) = (gate(), instruments());
    let mut send = |body: &str, now| {
        let admitted = gate.admit(
            &authentic_at(now, 1, SignedOp::OrderNew, body),
            OWNER,
            &entitlement,
            &instruments,
            context,
            now,
        );
        admitted.map(drop).map_err(|refused| refused.code)
    };
    assert_eq!([send(LIMIT, NOW), send(LIMIT, NOW)], [Ok(()), Ok(())]);
    let renamed = LIMIT.replace("c-1", "c-2").replace("day", "ioc");
    assert_eq!(send(&renamed, NOW), Err(Code::RskDuplicate), "another name makes no other order");
    assert_eq!(send(&LIMIT.replace("buy", "sell"), NOW), Ok(()));
    assert_eq!(send(LIMIT, NOW.plus_ns(1_000_000_000)), Ok(()));
}

#[test]
fn orders_of_a_firm_beyond_its_rate_are_refused_with_the_time_to_wait_and_cancels_pass() {
    let firm = FirmLimits {
        name: "acme".into(),
        bounds: RiskBounds::default(),
        open_orders_max: 0,
        orders_per_second: 2,
    };
    let entitlement = Entitlement { firm: Some(firm.into()), ..entitlement() };
    let (mut gate, instruments) = (gate(), instruments());
    let admit = |owner, gate: &mut Gate| {
        gate.admit(&authentic(LIMIT), owner, &entitlement, &instruments, context, NOW).map(drop)
    };
    assert_eq!(admit(OwnerId(1), &mut gate), Ok(()));
    assert_eq!(admit(OwnerId(2), &mut gate), Ok(()));
    let refused = Refused { code: Code::RskFirmOrderRate, retry_after_ms: Some(500) };
    assert_eq!(admit(OwnerId(3), &mut gate), Err(refused));
    let cancel = authentic_at(NOW, 1, SignedOp::OrderCancel, r#"{"cl_ord_id":"c-2","orig_cl_ord_id":"c-1"}"#);
    assert!(gate.admit_cancel(&cancel, OwnerId(3), &entitlement, NOW).is_ok());
}

#[test]
fn an_order_that_went_stale_in_the_queue_does_not_reach_the_venue() {
    let mut gate = gate();
    let request = authentic(LIMIT);
    assert_eq!(gate.spend(&request, OWNER, NOW), Ok(()));
    let late = NOW.plus_ns(5_000_000_001);
    let answer = gate.admit(&request, OWNER, &entitlement(), &instruments(), context, late);
    assert_eq!(answer.unwrap_err().code, Code::OrdTimestampStale);
}

#[test]
fn a_cancel_names_its_target_and_counts_as_an_order() {
    let mut gate = gate();
    let body = r#"{"cl_ord_id":"c-2","orig_cl_ord_id":"c-1"}"#;
    let request = authentic_at(NOW, 1, SignedOp::OrderCancel, body);
    let cancel = gate.admit_cancel(&request, OWNER, &entitlement(), NOW).unwrap();
    assert_eq!((cancel.client_order_id().as_str(), cancel.target().as_str()), ("c-2", "c-1"));
    assert_eq!(
        cancel.into_cancel_order(OrderId(5)),
        CancelOrder { owner: OWNER, id: OrderId(5), reason: CancelReason::Requested }
    );
    gate.admit_cancel(&request, OWNER, &entitlement(), NOW).unwrap();
    let refused = gate.admit_cancel(&request, OWNER, &entitlement(), NOW).unwrap_err();
    assert_eq!(refused.code, Code::OrdOrderRate);
    let stale =
        gate.admit_cancel(&request, OwnerId(8), &entitlement(), NOW.plus_ns(5_000_000_001)).unwrap_err();
    assert_eq!(stale.code, Code::OrdTimestampStale);
}

#[test]
fn who_lost_the_right_to_trade_may_still_cancel() {
    let body = r#"{"cl_ord_id":"c-2","orig_cl_ord_id":"c-1"}"#;
    let request = authentic_at(NOW, 1, SignedOp::OrderCancel, body);
    assert!(gate().admit_cancel(&request, OWNER, &Entitlement::default(), NOW).is_ok());
}

#[test]
fn idle_limiters_are_forgotten_and_busy_ones_are_not() {
    let mut gate = gate();
    for owner in 0..1024 {
        gate.charge_order(OwnerId(owner), 1, NOW).unwrap();
    }
    gate.charge_order(OwnerId(1024), 1, NOW).unwrap();
    assert_eq!(gate.order_rates.len(), 1025, "all are in use");
    assert!(gate.charge_order(OwnerId(0), 1, NOW).is_err());
    let later = NOW.plus_ns(2_000_000_000);
    for owner in 2000..4000 {
        gate.charge_order(OwnerId(owner), 1, later).unwrap();
    }
    assert!(gate.order_rates.len() <= 2050, "{}", gate.order_rates.len());
}
