//! Positions and kill switches where they stand in the way of orders, and in a re-execution.

use sealfeed_audit::reader::Entry;
use sealfeed_wire::KillScope;
use tempfile::TempDir;

use super::execution_tests::{DAY_NS, Desk, MORNING, again, read};
use super::*;
use crate::execute::replay::Verdict;
use crate::execute::{Account, Outcome};
use crate::types::{ClientOrderId, Entitlement, FirmLimits, InstrumentId, RiskBounds, Side, UnixNanos};

const ALICE: usize = 0;
const BOB: usize = 1;
const SEAL: InstrumentId = InstrumentId(1);
const UNIT: i128 = 1_000_000_000;

fn desk() -> Desk {
    Desk::open(TempDir::new().unwrap(), 1_000, MORNING)
}

fn account(desk: &Desk, who: usize) -> Account {
    let engine = &desk.core.engine;
    let owner = engine.owner(&desk.sessions[who].2.principal).unwrap();
    let account = engine.positions().of_owner(owner).cloned().unwrap_or_default();
    assert_eq!(account.open_orders(), engine.open_orders(owner), "positions and venue agree");
    account
}

/// Net position, open quantity to buy and to sell.
fn position(desk: &Desk, who: usize) -> (i128, u128, u128) {
    let position = account(desk, who).position(SEAL);
    let unit = UNIT.unsigned_abs();
    (position.net / UNIT, position.buys.quantity / unit, position.sells.quantity / unit)
}

/// Result of the day in whole currency units.
fn result(desk: &Desk, who: usize) -> i128 {
    desk.core.engine.positions().result(&account(desk, who)).unwrap() / (UNIT * UNIT)
}

/// Entries of refused orders that hold this code.
fn refusals(entries: &[Entry], code: Code) -> usize {
    let holds = |entry: &&Entry| {
        let text = code.as_str().as_bytes();
        entry.header.kind == 267 && entry.payload.windows(text.len()).any(|bytes| bytes == text)
    };
    entries.iter().filter(holds).count()
}

#[test]
fn positions_follow_every_fate_of_an_order_and_start_a_new_result_with_the_day() {
    let mut desk = desk();
    desk.order(ALICE, "a-1", "buy", 5, 100, "day");
    assert_eq!(position(&desk, ALICE), (0, 5, 0));
    desk.order(BOB, "b-1", "sell", 2, 90, "gtc");
    assert_eq!((position(&desk, ALICE), position(&desk, BOB)), ((2, 3, 0), (-2, 0, 0)));
    desk.synthetic(0, Side::Sell, 1, 100);
    assert_eq!(position(&desk, ALICE), (3, 2, 0));
    desk.order(BOB, "b-2", "sell", 4, 110, "gtc");
    desk.order(BOB, "b-3", "buy", 1, 60, "ioc");
    desk.cancel(BOB, "b-4", "b-2");
    assert_eq!(position(&desk, BOB), (-2, 0, 0), "what expired at once or was cancelled is gone");
    desk.order(BOB, "b-5", "sell", 1, 80, "gtc");
    desk.order(BOB, "b-6", "sell", 1, 120, "gtc");
    assert_eq!((position(&desk, ALICE), position(&desk, BOB)), ((4, 1, 0), (-3, 0, 1)));
    // A trade of the synthetic market alone moves the price at which everybody is marked.
    desk.synthetic(2, Side::Sell, 1, 105);
    desk.synthetic(4, Side::Buy, 1, 105);
    assert_eq!((result(&desk, ALICE), result(&desk, BOB)), (20, -15));

    desk.now = UnixNanos(desk.now.0 + DAY_NS);
    desk.order(BOB, "b-7", "sell", 1, 130, "ioc");
    assert_eq!((position(&desk, ALICE), position(&desk, BOB)), ((4, 0, 0), (-3, 0, 1)), "a day order ended");
    assert_eq!((result(&desk, ALICE), result(&desk, BOB)), (0, 0));
    desk.synthetic(6, Side::Sell, 1, 107);
    desk.synthetic(8, Side::Buy, 1, 107);
    assert_eq!((result(&desk, ALICE), result(&desk, BOB)), (8, -6));

    let engine = &desk.core.engine;
    let owner = engine.owner(&desk.sessions[BOB].2.principal).unwrap();
    let firm = engine.positions().of_firm(owner).unwrap();
    let sum = firm.position(SEAL);
    assert_eq!((sum.net / UNIT, firm.open_orders()), (1, 1), "alice and bob are of one firm");
    let report = again(&read(&desk.close()));
    assert_eq!(report.verdict, Verdict::Verified, "the digests of a re-execution have the same positions");
}

#[test]
fn a_kill_switch_refuses_new_orders_for_good_and_lets_cancels_pass() {
    for (scope, target) in [
        (KillScope::Principal, "acme/bob"),
        (KillScope::Firm, "acme"),
        (KillScope::Symbol, "SEAL"),
        (KillScope::All, ""),
    ] {
        let mut desk = desk();
        desk.order(BOB, "b-1", "buy", 5, 100, "gtc");
        desk.core.engine.kill_switches_mut().engage(scope, target).unwrap();
        desk.order(BOB, "b-2", "buy", 1, 100, "gtc");
        assert_eq!(position(&desk, BOB), (0, 5, 0), "{scope:?}");
        desk.cancel(BOB, "b-3", "b-1");
        assert_eq!(position(&desk, BOB), (0, 0, 0), "{scope:?}");
        desk.core.engine.kill_switches_mut().release(scope, target).unwrap();
        desk.order(BOB, "b-4", "buy", 1, 100, "gtc");
        assert_eq!(position(&desk, BOB), (0, 1, 0), "{scope:?}");
        assert_eq!(refusals(&read(&desk.close()), Code::RskKilled), 1, "{scope:?}");
    }
}

#[test]
fn the_digest_of_the_state_knows_which_kill_switches_are_engaged_and_who_holds_what() {
    let digest = |desk: &Desk| desk.core.engine.state().digest;
    let mut desk = desk();
    let before = digest(&desk);
    desk.core.engine.kill_switches_mut().engage(KillScope::Firm, "acme").unwrap();
    assert_ne!(digest(&desk), before);
    desk.core.engine.kill_switches_mut().release(KillScope::Firm, "acme").unwrap();
    assert_eq!(digest(&desk), before);
    // The same owners, orders, reports and trades, at prices that leave the same empty book: only the results differ.
    let traded = |prices: [i64; 2]| {
        let mut desk = self::desk();
        for (number, price) in prices.into_iter().enumerate() {
            desk.order(ALICE, &format!("a-{number}"), "buy", 1, price, "gtc");
            desk.order(BOB, &format!("b-{number}"), "sell", 1, price, "gtc");
        }
        digest(&desk)
    };
    assert_eq!(traded([90, 100]), traded([90, 100]));
    assert_ne!(traded([90, 100]), traded([80, 100]));
}

#[test]
fn bounds_of_a_principal_and_of_its_firm_are_judged_by_what_the_engine_knows() {
    let mut desk = desk();
    desk.order(ALICE, "a-1", "buy", 5, 100, "gtc");
    desk.order(BOB, "b-1", "sell", 5, 100, "gtc");
    let handle = Arc::clone(&desk.sessions[BOB].2);
    let plain = Arc::clone(&handle.entitlement());
    let with = |bounds: RiskBounds, firm: RiskBounds| {
        let mut entitlement = Entitlement::clone(&plain);
        let rights = entitlement.orders.as_mut().unwrap();
        rights.bounds = bounds;
        let (open_orders_max, orders_per_second) = (0, 0);
        let firm = FirmLimits { name: "acme".into(), bounds: firm, open_orders_max, orders_per_second };
        Arc::new(Entitlement { firm: Some(Arc::new(firm)), ..entitlement })
    };
    let none = RiskBounds::default();
    let position_max = "5".parse().unwrap();
    let bounded = |exposure_max, loss_max| RiskBounds { exposure_max, loss_max, ..RiskBounds::default() };
    let cases = [
        (RiskBounds { position_max, ..none.clone() }, none.clone(), "sell", Some(Code::RskPositionMax)),
        (RiskBounds { position_max, ..none.clone() }, none.clone(), "buy", None),
        (bounded(500, 0), none.clone(), "sell", Some(Code::RskExposureMax)),
        (bounded(700, 0), none.clone(), "sell", None),
        (bounded(0, 1), none.clone(), "sell", None),
        // The firm is flat: all that it has is the order itself.
        (none.clone(), bounded(119, 0), "sell", Some(Code::RskFirmExposureMax)),
        (none.clone(), bounded(120, 1), "sell", None),
    ];
    for (number, (own, firm, side, expected)) in cases.into_iter().enumerate() {
        handle.set_entitlement(with(own, firm));
        desk.now = UnixNanos(desk.now.0 + 1_000_000);
        let price = if side == "buy" { 80 } else { 120 };
        let name = format!("c-{number}");
        desk.order(BOB, &name, side, 1, price, "ioc");
        let owner = desk.core.engine.owner(&handle.principal).unwrap();
        let answer = desk.core.engine.answers().find(owner, ClientOrderId::new(&name).unwrap()).unwrap();
        match expected {
            Some(code) => assert_eq!(answer.outcome, Outcome::Refused(code), "{name}"),
            None => assert!(matches!(answer.outcome, Outcome::Accepted(_)), "{name}: {:?}", answer.outcome),
        }
    }
}
