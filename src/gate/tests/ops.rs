//! The gate of the ops beside new orders and cancels: replace, mass cancel, dead-man timer, operators' verbs; and deadlines.

use sealfeed_wire::{KillAction, KillTarget, TradingPhase};

use super::*;
use crate::types::AdminVerb;

const LATE: UnixNanos = UnixNanos(NOW.0 + 5_000_000_001);

fn standing(instrument: InstrumentId, kind: OrderKind) -> StandingOrder {
    StandingOrder {
        id: OrderId(5),
        instrument,
        side: Side::Buy,
        kind,
        quantity: Quantity::parse("3").unwrap(),
        leaves: Quantity::parse("3").unwrap(),
        traded: Quantity::ZERO,
        context: RiskContext::default(),
    }
}

fn limit() -> OrderKind {
    OrderKind::Limit(Price::parse("100.25").unwrap())
}

/// The answer to a replace with this change of the order `c-1`, if that stands so.
fn replace_at(change: &str, order: Option<StandingOrder>, now: UnixNanos) -> Result<AdmittedReplace, Code> {
    let body = format!(r#"{{"cl_ord_id":"c-2","orig_cl_ord_id":"c-1",{change}}}"#);
    let request = authentic_at(NOW, 1, SignedOp::OrderReplace, &body);
    let find = |name: &ClientOrderId| order.filter(|_| name.as_str() == "c-1");
    gate()
        .admit_replace(&request, OWNER, &entitlement(), &instruments(), find, now)
        .map_err(|refused| refused.code)
}

fn replace(change: &str) -> Result<AdmittedReplace, Code> {
    replace_at(change, Some(standing(InstrumentId(0), limit())), NOW)
}

#[test]
fn a_replace_carries_the_new_price_and_total_quantity_in_the_instruments_terms() {
    let both = replace(r#""qty":"5.5","price":"99.75""#).unwrap();
    assert_eq!((both.owner(), both.id()), (OWNER, OrderId(5)));
    assert_eq!((both.client_order_id().as_str(), both.target().as_str()), ("c-2", "c-1"));
    assert_eq!(both.quantity(), Quantity::parse("5.5").ok());
    assert_eq!(both.price(), Price::parse("99.75").ok());
    let one = replace(r#""qty":"1""#).unwrap();
    assert_eq!((one.quantity(), one.price()), (Quantity::parse("1").ok(), None));
}

#[test]
fn a_replace_is_judged_by_decimals_tick_lot_and_risk_of_the_order_as_it_is_to_be() {
    for (change, code) in [
        (r#""price":"100.250""#, Code::OrdPriceDecimals),
        (r#""price":"100.26""#, Code::OrdPriceOffTick),
        (r#""qty":"3.00""#, Code::OrdQuantityDecimals),
        (r#""qty":"3.1""#, Code::OrdQuantityOffLot),
        (r#""qty":"1000.5""#, Code::RskQuantityMax),
        (r#""qty":"500""#, Code::RskNotionalMax),
        (r#""price":"20000""#, Code::RskNotionalMax),
    ] {
        assert_eq!(replace(change), Err(code), "{change}");
    }
}

#[test]
fn a_replace_is_of_an_order_of_its_owner_that_it_may_trade_and_in_time() {
    let change = r#""qty":"1""#;
    assert_eq!(replace_at(change, None, NOW), Err(Code::OrdOrderUnknown));
    let of = |number, kind| Some(standing(InstrumentId(number), kind));
    assert_eq!(replace_at(change, of(2, limit()), NOW), Err(Code::OrdSymbolNotEntitled));
    let priced = r#""price":"1""#;
    assert_eq!(replace_at(priced, of(0, OrderKind::Market), NOW), Err(Code::OrdPriceNotAllowed));
    assert_eq!(replace_at(change, of(0, limit()), LATE), Err(Code::OrdTimestampStale));
    let request =
        authentic_at(NOW, 1, SignedOp::OrderReplace, r#"{"cl_ord_id":"a","orig_cl_ord_id":"b","qty":"1"}"#);
    let nobody = Entitlement::default();
    let refused = gate().admit_replace(&request, OWNER, &nobody, &instruments(), |_| None, NOW).unwrap_err();
    assert_eq!(refused.code, Code::OrdNotEntitled);
}

#[test]
fn a_replace_counts_as_an_order() {
    let mut gate = gate();
    let request =
        authentic_at(NOW, 1, SignedOp::OrderReplace, r#"{"cl_ord_id":"a","orig_cl_ord_id":"b","qty":"1"}"#);
    let mut code = || {
        let find = |_: &ClientOrderId| None;
        gate.admit_replace(&request, OWNER, &entitlement(), &instruments(), find, NOW).unwrap_err().code
    };
    assert_eq!([code(), code(), code()], [Code::OrdOrderUnknown, Code::OrdOrderUnknown, Code::OrdOrderRate]);
}

fn mass_cancel(body: &str, rights: &Entitlement) -> Result<AdmittedMassCancel, Code> {
    let request = authentic_at(NOW, 1, SignedOp::OrderMassCancel, body);
    gate().admit_mass_cancel(&request, OWNER, rights, &instruments(), NOW).map_err(|refused| refused.code)
}

#[test]
fn a_mass_cancel_knows_whose_orders_where_and_of_which_side() {
    let all = mass_cancel(r#"{"cl_ord_id":"m"}"#, &entitlement()).unwrap();
    assert_eq!((all.owner(), all.client_order_id().as_str()), (OWNER, "m"));
    assert_eq!((all.instrument(), all.side(), all.session()), (None, None, None));
    let body = r#"{"cl_ord_id":"m","symbol":"OTHER","side":"sell","scope":"session"}"#;
    let some = mass_cancel(body, &Entitlement::default()).expect("without the right to trade too");
    assert_eq!(
        (some.instrument(), some.side(), some.session()),
        (Some(InstrumentId(2)), Some(Side::Sell), Some(&SESSION))
    );
    let unknown = mass_cancel(r#"{"cl_ord_id":"m","symbol":"NOSUCH"}"#, &entitlement());
    assert_eq!(unknown, Err(Code::OrdSymbolUnknown));
}

#[test]
fn a_mass_cancel_counts_as_an_order_and_can_come_too_late() {
    let mut gate = gate();
    let request = authentic_at(NOW, 1, SignedOp::OrderMassCancel, r#"{"cl_ord_id":"m"}"#);
    let mut at = |now| {
        let admitted = gate.admit_mass_cancel(&request, OWNER, &entitlement(), &instruments(), now);
        admitted.map(drop).map_err(|refused| refused.code)
    };
    assert_eq!([at(NOW), at(NOW), at(NOW)], [Ok(()), Ok(()), Err(Code::OrdOrderRate)]);
    assert_eq!(at(LATE), Err(Code::OrdTimestampStale));
}

#[test]
fn a_dead_man_timer_is_of_the_owner_and_knows_its_session() {
    let request = authentic_at(NOW, 1, SignedOp::OrderDeadMan, r#"{"timeout_ms":60000}"#);
    let armed = gate().admit_dead_man(&request, OWNER, NOW).unwrap();
    assert_eq!((armed.owner(), armed.session(), armed.timeout_ms()), (OWNER, &SESSION, 60_000));
    let late = gate().admit_dead_man(&request, OWNER, LATE).unwrap_err();
    assert_eq!(late.code, Code::OrdTimestampStale);
}

fn admin(op: SignedOp, body: &str, verbs: &[AdminVerb], now: UnixNanos) -> Result<AdmittedAdmin, Code> {
    let request = authentic_at(NOW, 1, op, body);
    let rights = Entitlement { admin: verbs.to_vec(), ..entitlement() };
    gate().admit_admin(&request, &rights, &instruments(), now).map_err(|refused| refused.code)
}

const KILL: &str = r#"{"scope":"firm","target":"acme","action":"engage","reason":"runaway algorithm"}"#;
const HALT: &str = r#"{"symbol":"SEAL","state":"halted","reason":"news pending"}"#;

#[test]
fn only_the_operators_whose_entitlement_names_the_verb_may_use_it() {
    let (kill, trading) = (SignedOp::AdminKill, SignedOp::AdminTrading);
    let refused = Err(Code::OrdAdminNotEntitled);
    assert_eq!(admin(kill, KILL, &[], NOW), refused);
    assert_eq!(admin(kill, KILL, &[AdminVerb::Trading], NOW), refused);
    assert_eq!(admin(trading, HALT, &[AdminVerb::Kill], NOW), refused);
    let killed = admin(kill, KILL, &[AdminVerb::Kill], NOW).unwrap();
    let target = KillTarget::Firm("acme".into());
    assert_eq!(*killed.command(), AdminCommand::Kill { target, action: KillAction::Engage });
    assert_eq!(killed.reason().as_str(), "runaway algorithm");
    let halted = admin(trading, HALT, AdminVerb::ALL, NOW).unwrap();
    let expected = AdminCommand::Trading { instrument: InstrumentId(0), state: TradingPhase::Halted };
    assert_eq!(*halted.command(), expected);
}

#[test]
fn an_operator_who_names_what_is_not_there_is_told_so() {
    let of = |op, body: &str, symbol| admin(op, &body.replace("SEAL", symbol), AdminVerb::ALL, NOW);
    assert_eq!(of(SignedOp::AdminTrading, HALT, "NOSUCH"), Err(Code::OrdSymbolUnknown));
    assert_eq!(of(SignedOp::AdminTrading, HALT, "TAPE"), Err(Code::OrdSymbolNotTradable));
    let symbol = r#"{"scope":"symbol","target":"SEAL","action":"engage","reason":"x"}"#;
    assert!(of(SignedOp::AdminKill, symbol, "SEAL").is_ok());
    assert_eq!(of(SignedOp::AdminKill, symbol, "NOSUCH"), Err(Code::OrdSymbolUnknown));
    assert_eq!(admin(SignedOp::AdminKill, KILL, AdminVerb::ALL, LATE), Err(Code::OrdTimestampStale));
}

#[test]
fn no_op_passes_through_the_gate_of_another() {
    let mut gate = gate();
    let (rights, instruments) = (entitlement(), instruments());
    let operator = Entitlement { admin: AdminVerb::ALL.to_vec(), ..entitlement() };
    for (op, body) in [
        (SignedOp::OrderNew, LIMIT),
        (SignedOp::OrderCancel, r#"{"cl_ord_id":"a","orig_cl_ord_id":"b"}"#),
        (SignedOp::OrderReplace, r#"{"cl_ord_id":"a","orig_cl_ord_id":"b","qty":"1"}"#),
        (SignedOp::OrderMassCancel, r#"{"cl_ord_id":"a"}"#),
        (SignedOp::OrderDeadMan, r#"{"timeout_ms":0}"#),
        (SignedOp::AdminKill, KILL),
        (SignedOp::AdminTrading, HALT),
    ] {
        let request = authentic_at(NOW, 1, op, body);
        let find = |_: &ClientOrderId| Some(standing(InstrumentId(0), limit()));
        let owner = OwnerId(op as u32);
        let answers = [
            gate.admit(&request, owner, &rights, &instruments, context, NOW).map(drop),
            gate.admit_cancel(&request, owner, &rights, NOW).map(drop),
            gate.admit_replace(&request, owner, &rights, &instruments, find, NOW).map(drop),
            gate.admit_mass_cancel(&request, owner, &rights, &instruments, NOW).map(drop),
            gate.admit_dead_man(&request, owner, NOW).map(drop),
            gate.admit_admin(&request, &operator, &instruments, NOW).map(drop),
            gate.admit_publish(&request, &rights, &instruments, NOW).map(drop),
        ];
        let refused = answers.iter().filter(|answer| **answer == Err(Code::SesOpNotOffered.into())).count();
        assert_eq!(refused, 6, "{op}: {answers:?}");
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{op}: {answers:?}");
    }
}

#[test]
fn an_order_whose_deadline_has_passed_does_not_reach_the_venue() {
    let deadline = NOW.plus_ns(1_000_000_000);
    let body = LIMIT.replace('}', &format!(r#","deadline":"{deadline}"}}"#));
    let at = |now| {
        let admitted = gate().admit(&authentic(&body), OWNER, &entitlement(), &instruments(), context, now);
        admitted.map(drop).map_err(|refused| refused.code)
    };
    assert_eq!(at(NOW), Ok(()));
    assert_eq!(at(deadline), Ok(()), "at the deadline it is in time");
    assert_eq!(at(deadline.plus_ns(1)), Err(Code::OrdDeadlinePassed));
    assert_eq!(at(LATE), Err(Code::OrdTimestampStale), "the time of signing comes first");
}
