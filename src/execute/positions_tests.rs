//! Positions against a model that adds up all reports anew each time.

use proptest::prelude::*;

use super::*;
use crate::execute::OpenSide;
use crate::types::{CancelReason, OrderId};

/// Alice and bob are of one firm, dave is of another one, the last one is a member of the synthetic market.
const OWNERS: [OwnerId; 4] = [OwnerId(0), OwnerId(2), OwnerId(4), OwnerId(1)];
const FIRMS: [&str; 3] = ["acme", "acme", "beta"];

fn positions() -> Positions {
    let mut positions = Positions::default();
    for (owner, firm) in OWNERS.iter().zip(FIRMS) {
        positions.add_owner(*owner, firm);
    }
    positions
}

/// What may happen next: an order comes, or one of those that are open trades or ends.
#[derive(Clone, Copy, Debug)]
enum Step {
    Submit { owner: usize, instrument: u32, buys: bool, limit: Option<i64>, quantity: u64 },
    Fill { order: usize, price: i64, quantity: u64 },
    End { order: usize, expires: bool },
    Day,
}

fn step() -> impl Strategy<Value = Step> {
    let price = || prop_oneof![-50_i64..200, Just(0), Just(i64::from(i32::MAX))];
    prop_oneof![
        3 => (0..4_usize, 0..2_u32, any::<bool>(), proptest::option::of(price()), 1..50_u64).prop_map(
            |(owner, instrument, buys, limit, quantity)| Step::Submit { owner, instrument, buys, limit, quantity }
        ),
        4 => (any::<usize>(), price(), 1..30_u64)
            .prop_map(|(order, price, quantity)| Step::Fill { order, price, quantity }),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(order, expires)| Step::End { order, expires }),
        1 => Just(Step::Day),
    ]
}

/// All that was ever reported, with the limit of the order.
#[derive(Default)]
struct Model {
    reports: Vec<(Execution, Option<Price>)>,
    /// How many reports there were when the last day ended.
    day: usize,
}

impl Model {
    fn last_price(&self, instrument: InstrumentId, until: usize) -> Option<i128> {
        let fills = self.reports[..until].iter().rev().filter(|(one, _)| one.instrument == instrument);
        fills.into_iter().find_map(|(one, _)| match one.kind {
            ExecutionKind::Fill { price, .. } => Some(i128::from(price.nanos())),
            _ => None,
        })
    }

    /// Net position and what was paid for it, less what was got, of some owners from one report to another.
    fn traded(
        &self,
        owners: &[OwnerId],
        instrument: InstrumentId,
        from: usize,
        until: usize,
    ) -> (i128, i128) {
        let mut sums = (0, 0);
        for (one, _) in &self.reports[from..until] {
            let ExecutionKind::Fill { price, quantity, .. } = one.kind else { continue };
            if owners.contains(&one.owner) && one.instrument == instrument {
                let sign = if one.side == Side::Buy { 1 } else { -1 };
                sums.0 += sign * i128::from(quantity.nanos());
                sums.1 += sign * i128::from(quantity.nanos()) * i128::from(price.nanos());
            }
        }
        sums
    }

    /// Realised and unrealised result since the day began.
    fn result(&self, owners: &[OwnerId], instrument: InstrumentId) -> i128 {
        let now = self.reports.len();
        let (carried, _) = self.traded(owners, instrument, 0, self.day);
        let (traded, paid) = self.traded(owners, instrument, self.day, now);
        let began = carried * self.last_price(instrument, self.day).unwrap_or_default();
        (carried + traded) * self.last_price(instrument, now).unwrap_or_default() - paid - began
    }

    /// Number, quantity and value of open orders.
    fn open(&self, owners: &[OwnerId], instrument: InstrumentId, side: Side) -> (u32, u128, u128) {
        let mut last: BTreeMap<OrderId, (u128, u128)> = BTreeMap::new();
        for (one, limit) in &self.reports {
            if owners.contains(&one.owner) && one.instrument == instrument && one.side == side {
                let leaves = u128::from(one.leaves.nanos());
                let limit = limit.map_or(0, |limit| u128::from(limit.nanos().unsigned_abs()));
                last.insert(one.order, (leaves, leaves * limit));
            }
        }
        let count = last.values().filter(|(leaves, _)| *leaves > 0).count();
        let quantity = last.values().map(|(leaves, _)| leaves).sum();
        (u32::try_from(count).unwrap(), quantity, last.values().map(|(_, value)| value).sum())
    }
}

/// An order as the test knows it.
#[derive(Clone, Copy)]
struct Known {
    last: Execution,
    limit: Option<Price>,
}

fn execution(step: Step, orders: &mut Vec<Known>) -> Option<(Execution, OpenPart)> {
    let pick = |orders: &[Known], order: usize| {
        let open: Vec<usize> =
            (0..orders.len()).filter(|index| !orders[*index].last.leaves.is_zero()).collect();
        (!open.is_empty()).then(|| open[order % open.len()])
    };
    match step {
        Step::Submit { owner, instrument, buys, limit, quantity } => {
            let quantity = Quantity::from_nanos(quantity);
            let last = Execution {
                order: OrderId(orders.len() as u64),
                owner: OWNERS[owner],
                instrument: InstrumentId(instrument),
                side: if buys { Side::Buy } else { Side::Sell },
                kind: ExecutionKind::New,
                leaves: quantity,
                cumulative: Quantity::ZERO,
            };
            let limit = limit.map(Price::from_nanos);
            orders.push(Known { last, limit });
            // As the engine has it: all of it is open in its record before the report says so.
            Some((last, OpenPart { limit, leaves: quantity }))
        }
        Step::Fill { order, price, quantity } => {
            let index = pick(orders, order)?;
            let known = &mut orders[index];
            let before = OpenPart { limit: known.limit, leaves: known.last.leaves };
            let quantity = quantity.min(before.leaves.nanos());
            known.last.leaves = Quantity::from_nanos(before.leaves.nanos() - quantity);
            let (price, quantity) = (Price::from_nanos(price), Quantity::from_nanos(quantity));
            known.last.kind = ExecutionKind::Fill { price, quantity, trade_id: 1 };
            Some((known.last, before))
        }
        Step::End { order, expires } => {
            let index = pick(orders, order)?;
            let known = &mut orders[index];
            let before = OpenPart { limit: known.limit, leaves: known.last.leaves };
            known.last.leaves = Quantity::ZERO;
            known.last.kind = if expires {
                ExecutionKind::Expired
            } else {
                ExecutionKind::Canceled { reason: CancelReason::Requested }
            };
            Some((known.last, before))
        }
        Step::Day => None,
    }
}

fn restored(positions: &Positions) -> Positions {
    let mut again = self::positions();
    positions.marks().for_each(|(instrument, price)| again.restore_mark(instrument, price));
    positions.owners().for_each(|(owner, open, rows)| again.restore_owner(owner, open, rows));
    for (firm, open, rows) in positions.firms() {
        assert!(again.restore_firm(firm, open, rows));
    }
    again
}

fn digest(positions: &Positions) -> Vec<u8> {
    let mut bytes = Vec::new();
    positions.digest_into(&mut bytes);
    bytes
}

proptest! {
    #[test]
    fn positions_are_what_all_reports_add_up_to(steps in prop::collection::vec(step(), 1..120)) {
        let (mut positions, mut model, mut orders) = (positions(), Model::default(), Vec::new());
        for step in steps {
            match execution(step, &mut orders) {
                Some((execution, before)) => {
                    positions.apply(&execution, before);
                    model.reports.push((execution, before.limit));
                }
                None if matches!(step, Step::Day) => {
                    positions.end_day();
                    model.day = model.reports.len();
                }
                None => {}
            }
            let accounts = [
                (positions.of_owner(OWNERS[0]), &OWNERS[..1]),
                (positions.of_owner(OWNERS[1]), &OWNERS[1..2]),
                (positions.of_owner(OWNERS[2]), &OWNERS[2..3]),
                (positions.of_firm(OWNERS[1]), &OWNERS[..2]),
                (positions.of_firm(OWNERS[2]), &OWNERS[2..3]),
            ];
            for (account, owners) in accounts {
                let account = account.cloned().unwrap_or_default();
                let (mut exposure, mut result, mut open_orders) = (0, 0, 0);
                for instrument in [InstrumentId(0), InstrumentId(1)] {
                    let position = account.position(instrument);
                    let (net, _) = model.traded(owners, instrument, 0, model.reports.len());
                    prop_assert_eq!(position.net, net);
                    prop_assert!(position.net != 0 || position.cost == 0, "nothing is held and has a cost");
                    let mark = model.last_price(instrument, model.reports.len()).unwrap_or_default();
                    exposure += net.unsigned_abs() * mark.unsigned_abs();
                    result += model.result(owners, instrument);
                    for side in [Side::Buy, Side::Sell] {
                        let (count, quantity, value) = model.open(owners, instrument, side);
                        let open = position.open(side);
                        prop_assert_eq!((open.quantity, open.value), (quantity, value));
                        exposure += value;
                        open_orders += count;
                    }
                }
                prop_assert_eq!(account.open_orders(), open_orders);
                prop_assert_eq!(positions.exposure(&account), Some(exposure));
                prop_assert_eq!(positions.result(&account), Some(result));
            }
        }
        prop_assert!(positions.of_owner(OWNERS[3]).is_none(), "members of the synthetic market have no account");
        let again = restored(&positions);
        prop_assert_eq!(digest(&again), digest(&positions));
        prop_assert_eq!(again, positions);
    }
}

#[test]
fn a_trade_of_the_synthetic_market_moves_the_last_price_and_nobodys_position() {
    let mut positions = positions();
    let price = Price::from_nanos(7);
    let trade = Execution {
        order: OrderId(1),
        owner: OWNERS[3],
        instrument: InstrumentId(0),
        side: Side::Buy,
        kind: ExecutionKind::Fill { price, quantity: Quantity::from_nanos(1), trade_id: 1 },
        leaves: Quantity::ZERO,
        cumulative: Quantity::from_nanos(1),
    };
    positions.apply(&trade, OpenPart::default());
    assert_eq!(positions.last_price(InstrumentId(0)), Some(price));
    assert_eq!(positions.last_price(InstrumentId(1)), None);
    assert_eq!((positions.owners().count(), positions.firms().count()), (0, 0));
}

#[test]
fn a_firm_that_no_principal_is_of_cannot_be_restored() {
    assert!(!positions().restore_firm("gamma", 0, []));
}

#[test]
fn positions_that_differ_in_anything_have_different_digests() {
    let row = |position| Row { instrument: InstrumentId(0), position };
    let of = |open_orders, position| {
        let mut positions = positions();
        positions.restore_owner(OWNERS[0], open_orders, [row(position)]);
        digest(&positions)
    };
    let open = OpenSide { quantity: 1, value: 0 };
    let value = OpenSide { quantity: 0, value: 1 };
    let flat = Position::default();
    let mut digests = vec![
        digest(&positions()),
        of(0, flat),
        of(1, flat),
        of(0, Position { net: 1, ..flat }),
        of(0, Position { cost: 1, ..flat }),
        of(0, Position { realised: 1, ..flat }),
        of(0, Position { buys: open, ..flat }),
        of(0, Position { buys: value, ..flat }),
        of(0, Position { sells: open, ..flat }),
        of(0, Position { sells: value, ..flat }),
        of(0, Position { is_beyond: true, ..flat }),
    ];
    let count = digests.len();
    digests.sort();
    digests.dedup();
    assert_eq!(digests.len(), count);
}
