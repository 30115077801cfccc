//! Every bound exactly at its end, one above it, and at the ends of the integers.

use super::*;
use crate::types::SymbolPatterns;

const UNIT: i128 = 1_000_000_000;
const PRODUCT: i128 = UNIT * UNIT;

fn price(text: &str) -> Price {
    Price::parse(text).unwrap()
}

fn quantity(text: &str) -> Quantity {
    Quantity::parse(text).unwrap()
}

fn limit(text: &str) -> OrderKind {
    OrderKind::Limit(price(text))
}

fn unbounded() -> OrderRights {
    OrderRights::unbounded("r", SymbolPatterns::new(["*"]), 1)
}

fn rights() -> OrderRights {
    OrderRights { quantity_max: quantity("10"), notional_max: 1_000, open_orders_max: 2, ..unbounded() }
}

fn bounded(bounds: RiskBounds) -> OrderRights {
    OrderRights { bounds, ..unbounded() }
}

fn firm(bounds: RiskBounds) -> FirmLimits {
    FirmLimits { name: "acme".into(), bounds, open_orders_max: 0, orders_per_second: 0 }
}

fn buy(amount: &str, kind: OrderKind) -> Proposal<'static> {
    let may_rest = kind != OrderKind::Market;
    Proposal {
        symbol: "SEAL",
        side: Side::Buy,
        quantity: quantity(amount),
        kind,
        may_rest,
        reduce_only: false,
    }
}

fn sell(amount: &str, kind: OrderKind) -> Proposal<'static> {
    Proposal { side: Side::Sell, ..buy(amount, kind) }
}

/// An account that is known to hold nothing but this net position.
fn holding(net: i128) -> AccountRisk {
    AccountRisk { net: net * UNIT, exposure: Some(0), result: Some(0), ..AccountRisk::default() }
}

fn of_principal(principal: AccountRisk) -> RiskContext {
    RiskContext { principal, ..RiskContext::default() }
}

fn of_firm(firm: AccountRisk) -> RiskContext {
    RiskContext { firm, ..RiskContext::default() }
}

fn check(amount: &str, kind: OrderKind, open_orders: u32) -> Result<(), Code> {
    let principal = AccountRisk { open_orders, ..AccountRisk::default() };
    let context = RiskContext { best_opposite: Some(price("200")), ..of_principal(principal) };
    super::check(&rights(), None, &buy(amount, kind), &context)
}

#[test]
fn a_quantity_above_its_bound_is_refused() {
    assert_eq!(check("10", limit("1"), 0), Ok(()));
    assert_eq!(check("10.000000001", limit("1"), 0), Err(Code::RskQuantityMax));
}

#[test]
fn a_notional_above_its_bound_is_refused_to_the_last_nano_unit() {
    assert_eq!(check("8", limit("125"), 0), Ok(()));
    assert_eq!(check("8", limit("125.000000001"), 0), Err(Code::RskNotionalMax));
    assert_eq!(check("8", limit("-125.000000001"), 0), Err(Code::RskNotionalMax), "the sign is no way out");
}

#[test]
fn a_market_order_is_valued_at_the_best_opposite_price() {
    assert_eq!(check("5", OrderKind::Market, 0), Ok(()));
    assert_eq!(check("5.1", OrderKind::Market, 0), Err(Code::RskNotionalMax));
}

#[test]
fn one_more_resting_order_than_allowed_is_refused() {
    assert_eq!(check("1", limit("1"), 1), Ok(()));
    assert_eq!(check("1", limit("1"), 2), Err(Code::RskOpenOrdersMax));
    assert_eq!(check("1", OrderKind::Market, 2), Ok(()), "it never rests");
    let firm = FirmLimits { open_orders_max: 3, ..firm(RiskBounds::default()) };
    let with = |open_orders| of_firm(AccountRisk { open_orders, ..AccountRisk::default() });
    let order = buy("1", limit("1"));
    assert_eq!(super::check(&unbounded(), Some(&firm), &order, &with(2)), Ok(()));
    let refused = super::check(&unbounded(), Some(&firm), &order, &with(3));
    assert_eq!(refused, Err(Code::RskFirmOpenOrdersMax));
}

#[test]
fn zero_means_no_bound_and_extremes_do_not_overflow() {
    let most = Proposal {
        quantity: Quantity::from_nanos(u64::MAX),
        kind: OrderKind::Limit(Price::from_nanos(i64::MIN)),
        ..buy("1", limit("1"))
    };
    let account = AccountRisk {
        open_orders: u32::MAX,
        net: i128::MAX,
        open_quantity: u128::MAX,
        exposure: Some(u128::MAX),
        result: Some(i128::MIN),
    };
    let context = RiskContext {
        last_price: Some(Price::from_nanos(i64::MAX)),
        principal: account,
        firm: account,
        ..RiskContext::default()
    };
    assert_eq!(super::check(&unbounded(), Some(&firm(RiskBounds::default())), &most, &context), Ok(()));
    let largest = |bounds: RiskBounds| super::check(&bounded(bounds), None, &most, &context);
    let none = RiskBounds::default();
    let position_max = Quantity::from_nanos(u64::MAX);
    assert_eq!(largest(RiskBounds { position_max, ..none.clone() }), Err(Code::RskPositionMax));
    assert_eq!(largest(RiskBounds { exposure_max: u64::MAX, ..none.clone() }), Err(Code::RskExposureMax));
    assert_eq!(largest(RiskBounds { loss_max: u64::MAX, ..none }), Err(Code::RskLossMax));
    let notional = OrderRights { notional_max: u64::MAX, ..unbounded() };
    let answer = super::check(&notional, None, &most, &context);
    assert_eq!(answer, Err(Code::RskNotionalMax), "1.7e20 is more than any bound");
    let collar = OrderRights { price_collar_bps: u32::MAX, ..unbounded() };
    let sells = Proposal { side: Side::Sell, ..most };
    assert_eq!(super::check(&collar, None, &sells, &context), Ok(()), "429496 times the price");
    let narrow = OrderRights { price_collar_bps: 19_999, ..unbounded() };
    assert_eq!(super::check(&narrow, None, &sells, &context), Err(Code::RskPriceCollar));
}

#[test]
fn a_kill_switch_comes_before_everything_else() {
    let killed = RiskContext { is_killed: true, ..RiskContext::default() };
    let rights =
        bounded(RiskBounds { restricted_symbols: SymbolPatterns::new(["*"]), ..RiskBounds::default() });
    assert_eq!(super::check(&rights, None, &buy("1", limit("1")), &killed), Err(Code::RskKilled));
}

#[test]
fn a_restricted_symbol_is_refused_whatever_may_be_traded() {
    let restricted = |patterns: &[&str]| RiskBounds {
        restricted_symbols: SymbolPatterns::new(patterns.iter().copied()),
        ..RiskBounds::default()
    };
    let (order, context) = (buy("1", limit("1")), RiskContext::default());
    let of_both = |own: &[&str], firms: &[&str]| {
        super::check(&bounded(restricted(own)), Some(&firm(restricted(firms))), &order, &context)
    };
    assert_eq!(of_both(&["FEED"], &["SEALS"]), Ok(()));
    assert_eq!(of_both(&["SE*"], &[]), Err(Code::RskSymbolRestricted));
    assert_eq!(of_both(&[], &["FEED", "*AL"]), Err(Code::RskFirmSymbolRestricted));
    assert_eq!(of_both(&["SEAL"], &["SEAL"]), Err(Code::RskSymbolRestricted), "the principal's comes first");
}

#[test]
fn a_buy_above_the_collar_and_a_sell_below_it_are_refused_to_the_last_nano_unit() {
    let collar = OrderRights { price_collar_bps: 250, ..unbounded() };
    let at = |order: Proposal<'_>, last: Option<&str>, opposite: Option<&str>, same: Option<&str>| {
        let context = RiskContext {
            last_price: last.map(price),
            best_opposite: opposite.map(price),
            best_same: same.map(price),
            ..RiskContext::default()
        };
        super::check(&collar, None, &order, &context)
    };
    let outside = Err(Code::RskPriceCollar);
    for (last, opposite, same) in [
        (Some("100"), None, None),
        (None, Some("100"), None),
        (None, None, Some("100")),
        (Some("100"), Some("101"), Some("1")),
    ] {
        assert_eq!(at(buy("1", limit("102.5")), last, opposite, same), Ok(()));
        assert_eq!(at(buy("1", limit("102.500000001")), last, opposite, same), outside);
    }
    for (last, opposite, same) in
        [(Some("100"), None, None), (None, Some("100"), None), (None, None, Some("100"))]
    {
        assert_eq!(at(sell("1", limit("97.5")), last, opposite, same), Ok(()));
        assert_eq!(at(sell("1", limit("97.499999999")), last, opposite, same), outside);
    }
    assert_eq!(at(buy("1", limit("0.01")), Some("100"), Some("101"), None), Ok(()), "a low bid harms nobody");
    assert_eq!(at(sell("1", limit("9999")), Some("100"), Some("99"), None), Ok(()));
    assert_eq!(at(buy("1", limit("103")), Some("110"), Some("100"), None), outside, "both references count");
    assert_eq!(
        at(buy("1", limit("103")), None, Some("110"), Some("100")),
        Ok(()),
        "the own side steps in alone"
    );
    assert_eq!(at(buy("1", limit("9999")), None, None, None), Ok(()), "there is nothing to compare with");
    // Where prices are below zero, the distance is still a share of the price without its sign.
    assert_eq!(at(buy("1", limit("-97.5")), Some("-100"), None, None), Ok(()));
    assert_eq!(at(buy("1", limit("-97.499999999")), Some("-100"), None, None), outside);
    assert_eq!(at(buy("1", limit("0.000000001")), Some("0"), None, None), outside, "no share of nothing");
    // A market order is held to it at the price it would begin to trade at.
    assert_eq!(at(buy("1", OrderKind::Market), Some("100"), Some("102.5"), None), Ok(()));
    assert_eq!(at(buy("1", OrderKind::Market), Some("100"), Some("102.51"), None), outside);
    assert_eq!(at(buy("1", OrderKind::Market), Some("100"), None, None), Ok(()), "it trades nothing");
}

#[test]
fn the_position_that_could_come_about_counts_with_all_open_orders_of_the_side() {
    let rights = bounded(RiskBounds { position_max: quantity("10"), ..RiskBounds::default() });
    let with = |order: Proposal<'_>, net: i128, open: u128| {
        let account = AccountRisk { open_quantity: open * UNIT.unsigned_abs(), ..holding(net) };
        super::check(&rights, None, &order, &of_principal(account))
    };
    let refused = Err(Code::RskPositionMax);
    assert_eq!(with(buy("2", limit("1")), 5, 3), Ok(()));
    assert_eq!(with(buy("2.000000001", limit("1")), 5, 3), refused);
    assert_eq!(with(sell("2", limit("1")), -5, 3), Ok(()));
    assert_eq!(with(sell("2.000000001", limit("1")), -5, 3), refused);
    assert_eq!(with(buy("2.1", OrderKind::Market), 8, 0), refused, "a market order counts, too");
    assert_eq!(with(buy("20", limit("1")), -10, 0), Ok(()), "from one end to the other");
    assert_eq!(with(buy("20.1", limit("1")), -10, 0), refused);
}

#[test]
fn an_order_that_can_only_reduce_the_position_passes_whatever_was_exceeded() {
    let bounds =
        RiskBounds { position_max: quantity("10"), exposure_max: 1, loss_max: 1, ..RiskBounds::default() };
    let (rights, firm) = (bounded(bounds.clone()), firm(bounds));
    let account = |net: i128, open: u128| AccountRisk {
        net: net * UNIT,
        open_quantity: open * UNIT.unsigned_abs(),
        ..AccountRisk::default()
    };
    let with = |order: Proposal<'_>, principal, of_firm| {
        let context = RiskContext { principal, firm: of_firm, ..RiskContext::default() };
        super::check(&rights, Some(&firm), &order, &context)
    };
    let (long, short) = (account(50, 0), account(-50, 0));
    assert_eq!(with(sell("50", limit("9")), long, long), Ok(()));
    assert_eq!(with(buy("50", OrderKind::Market), short, short), Ok(()));
    let past = with(sell("50.000000001", limit("9")), long, long);
    assert_eq!(past, Err(Code::RskExposureMax), "it could go past zero");
    let with_open = account(50, 20);
    assert_eq!(with(sell("30", limit("9")), with_open, long), Ok(()));
    assert_eq!(with(sell("31", limit("9")), with_open, long), Err(Code::RskExposureMax));
    // Each account by its own position: what gets a trader out may take the firm farther in.
    assert_eq!(with(sell("11", limit("9")), long, account(0, 0)), Err(Code::RskFirmPositionMax));
}

#[test]
fn who_asks_for_it_is_refused_what_would_do_more_than_reduce_the_position() {
    let with = |order: Proposal<'_>, net: i128| {
        let open_quantity = 5 * UNIT.unsigned_abs();
        let account = AccountRisk { net: net * UNIT, open_quantity, ..AccountRisk::default() };
        let order = Proposal { reduce_only: true, ..order };
        super::check(&unbounded(), None, &order, &of_principal(account))
    };
    let refused = Err(Code::RskReduceOnly);
    assert_eq!(with(sell("3", OrderKind::Market), 3), Ok(()), "what rests of the side cannot come before it");
    assert_eq!(with(sell("3.000000001", OrderKind::Market), 3), refused);
    assert_eq!(with(buy("3", limit("1")), -3), Ok(()));
    assert_eq!(with(buy("3.000000001", limit("1")), -3), refused);
    assert_eq!(with(buy("0.000000001", limit("1")), 3), refused, "it would add to it");
    assert_eq!(with(sell("0.000000001", limit("1")), 0), refused, "there is nothing to reduce");
    let of_nobody = Proposal { reduce_only: true, ..sell("1", limit("1")) };
    assert_eq!(super::check(&unbounded(), None, &of_nobody, &RiskContext::default()), refused);
}

#[test]
fn the_exposure_counts_with_the_order_itself_to_the_last_nano_unit() {
    let bounds = RiskBounds { exposure_max: 1_000, ..RiskBounds::default() };
    let with = |order: Proposal<'_>, exposure| {
        let account = AccountRisk { exposure, ..holding(0) };
        let context = RiskContext {
            best_opposite: Some(price("50")),
            principal: account,
            firm: account,
            ..RiskContext::default()
        };
        let own = super::check(&bounded(bounds.clone()), None, &order, &context);
        (own, super::check(&unbounded(), Some(&firm(bounds.clone())), &order, &context))
    };
    let refused = (Err(Code::RskExposureMax), Err(Code::RskFirmExposureMax));
    let so_far = 900 * PRODUCT.unsigned_abs();
    assert_eq!(with(buy("2", limit("50")), Some(so_far)), (Ok(()), Ok(())));
    assert_eq!(with(buy("2", limit("50")), Some(so_far + 1)), refused);
    assert_eq!(with(sell("2", limit("-50.000000001")), Some(so_far)), refused, "the sign is no way out");
    assert_eq!(with(buy("2", OrderKind::Market), Some(so_far)), (Ok(()), Ok(())));
    assert_eq!(with(buy("2.1", OrderKind::Market), Some(so_far)), refused);
    assert_eq!(with(buy("2", limit("0")), Some(u128::MAX)), refused);
    assert_eq!(with(buy("2", limit("1")), Some(u128::MAX)), refused, "no overflow makes it small");
    assert_eq!(with(buy("2", limit("0")), None), refused, "what is not known is beyond every bound");
}

#[test]
fn a_loss_that_has_reached_its_bound_lets_only_reducing_orders_pass() {
    let bounds = RiskBounds { loss_max: 1_000, ..RiskBounds::default() };
    let with = |order: Proposal<'_>, result| {
        let account = AccountRisk { result, ..holding(3) };
        let context = RiskContext { principal: account, firm: account, ..RiskContext::default() };
        let own = super::check(&bounded(bounds.clone()), None, &order, &context);
        (own, super::check(&unbounded(), Some(&firm(bounds.clone())), &order, &context))
    };
    let refused = (Err(Code::RskLossMax), Err(Code::RskFirmLossMax));
    let passes = (Ok(()), Ok(()));
    let order = buy("1", limit("1"));
    assert_eq!(with(order, Some(-1_000 * PRODUCT + 1)), passes);
    assert_eq!(with(order, Some(-1_000 * PRODUCT)), refused);
    assert_eq!(with(order, Some(i128::MIN)), refused);
    assert_eq!(with(order, Some(i128::MAX)), passes);
    assert_eq!(with(order, None), refused, "what is not known is beyond every bound");
    assert_eq!(with(sell("3", limit("1")), Some(i128::MIN)), passes);
    assert_eq!(with(sell("4", limit("1")), Some(i128::MIN)), refused);
}

#[test]
fn a_replace_is_judged_with_the_new_order_instead_of_the_old_one() {
    let open = OpenOrder { price: price("100"), leaves: quantity("6"), traded: quantity("2") };
    let account = AccountRisk {
        open_orders: 2,
        net: 2 * UNIT,
        open_quantity: 6 * UNIT.unsigned_abs(),
        exposure: Some(600 * PRODUCT.unsigned_abs()),
        result: Some(0),
    };
    let bounds = RiskBounds { position_max: quantity("10"), exposure_max: 808, ..RiskBounds::default() };
    let rights = OrderRights { quantity_max: quantity("10"), open_orders_max: 2, ..bounded(bounds) };
    let replace = |order: Proposal<'_>| check_replace(&rights, None, &order, &open, &of_principal(account));
    assert_eq!(replace(buy("10", limit("100"))), Ok(()), "eight open instead of six, and two held");
    assert_eq!(replace(buy("10.000000001", limit("100"))), Err(Code::RskQuantityMax), "the total counts");
    assert_eq!(replace(buy("10", limit("101"))), Ok(()));
    assert_eq!(replace(buy("10", limit("101.000000001"))), Err(Code::RskExposureMax));
    let narrow = bounded(RiskBounds { position_max: quantity("9"), ..RiskBounds::default() });
    let with = |order: Proposal<'_>, rights: &OrderRights| {
        check_replace(rights, None, &order, &open, &of_principal(account))
    };
    assert_eq!(with(buy("9", limit("100")), &narrow), Ok(()));
    assert_eq!(with(buy("9.1", limit("100")), &narrow), Err(Code::RskPositionMax));
    let worthless = OrderRights { notional_max: 800, ..unbounded() };
    assert_eq!(with(buy("8", limit("99")), &worthless), Ok(()));
    assert_eq!(with(buy("8", limit("100.1")), &worthless), Err(Code::RskNotionalMax));
}

#[test]
fn a_replace_that_only_takes_quantity_away_passes_like_a_cancel() {
    let open = OpenOrder { price: price("100"), leaves: quantity("6"), traded: quantity("2") };
    let bounds = RiskBounds { restricted_symbols: SymbolPatterns::new(["*"]), ..RiskBounds::default() };
    let killed = RiskContext { is_killed: true, ..RiskContext::default() };
    let replace = |amount: &str, at: &str| {
        let order = buy(amount, limit(at));
        check_replace(&bounded(bounds.clone()), None, &order, &open, &killed)
    };
    assert_eq!(replace("8", "100"), Ok(()));
    assert_eq!(replace("3", "100"), Ok(()));
    assert_eq!(replace("2", "100"), Ok(()), "the rest of it is cancelled");
    assert_eq!(replace("1", "200"), Ok(()), "as is this one's");
    assert_eq!(replace("8.000000001", "100"), Err(Code::RskKilled));
    assert_eq!(replace("3", "99"), Err(Code::RskKilled), "another price is another order");
}
