//! The digest of the venue's whole state: equal states have equal digests, however they came about.
//!
//! Kept while the venue works, because a walk over a hundred thousand orders would hold up everybody behind it: each resting order
//! has a SHA-256 of its own, and their sum (four 64-bit lanes, each modulo 2^64) depends on neither order nor place. A change of one
//! order takes one term out and puts one in. [`Venue::state_digest`] then hashes the sum with counters and books.
//!
//! Priority is in it as a number of its own: a replace may give an order another place under the same identifier.
//! The sum tells one state from another where nobody picks the terms. That is enough here: who could pick them writes the log.

use sha2::{Digest as _, Sha256};

use super::Venue;
use super::orders::Order;
use crate::types::{Phase, SelfTrade, Side, TimeInForce};

/// Bytes of one order: with the padding of SHA-256 they fill one of its blocks.
const ORDER_BYTES: usize = 52;

/// The sum over all resting orders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OrderSum([u64; 4]);

impl OrderSum {
    pub(super) fn add(&mut self, order: &Order) {
        for (lane, term) in self.0.iter_mut().zip(term(order)) {
            *lane = lane.wrapping_add(term);
        }
    }

    pub(super) fn subtract(&mut self, order: &Order) {
        for (lane, term) in self.0.iter_mut().zip(term(order)) {
            *lane = lane.wrapping_sub(term);
        }
    }
}

/// SHA-256 over: identifier, price, quantity, open quantity, priority (8 bytes each), owner, instrument (4 each), side (0 buy, 1 sell),
/// time in force (0 day, 1 good till cancelled, 2 immediate or cancel, 3 fill or kill), post-only (0 no, 1 yes), self-trade prevention
/// (0 none, 1 cancel taker, 2 cancel maker, 3 cancel both); little-endian. As four little-endian numbers.
fn term(order: &Order) -> [u64; 4] {
    let mut bytes = [0; ORDER_BYTES];
    let side = u8::from(order.side == Side::Sell);
    let time_in_force = match order.time_in_force {
        TimeInForce::Day => 0,
        TimeInForce::GoodTillCancel => 1,
        TimeInForce::ImmediateOrCancel => 2,
        TimeInForce::FillOrKill => 3,
    };
    let self_trade = match order.self_trade {
        None => 0,
        Some(SelfTrade::CancelTaker) => 1,
        Some(SelfTrade::CancelMaker) => 2,
        Some(SelfTrade::CancelBoth) => 3,
    };
    let fields: [&[u8]; 8] = [
        &order.id.0.to_le_bytes(),
        &order.price.nanos().to_le_bytes(),
        &order.quantity.nanos().to_le_bytes(),
        &order.leaves.nanos().to_le_bytes(),
        &order.priority.to_le_bytes(),
        &order.owner.0.to_le_bytes(),
        &order.instrument.0.to_le_bytes(),
        &[side, time_in_force, u8::from(order.post_only), self_trade],
    ];
    let mut rest = &mut bytes[..];
    for field in fields {
        let (place, behind) = rest.split_at_mut(field.len());
        place.copy_from_slice(field);
        rest = behind;
    }
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    let mut lanes = [0; 4];
    for (lane, bytes) in lanes.iter_mut().zip(digest.as_chunks::<8>().0) {
        *lane = u64::from_le_bytes(*bytes);
    }
    lanes
}

impl Venue {
    /// SHA-256 over: number of the last trade, last priority given and most resting orders of an instrument (8 bytes each); number of
    /// resting orders (8) and the sum over them (32); then for every instrument by its number: 0 where it is not traded, else 1, its
    /// phase (0 open, 1 auction call, 2 halted, 3 closed), 0 before its first trade, else 1 and the price of the last one (8), its
    /// resting orders (4) and the quantities taken in, traded and returned (16 each). Little-endian.
    ///
    /// Costs one pass over the instruments, none over the orders.
    #[must_use]
    pub fn state_digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.last_trade_id.to_le_bytes());
        hash.update(self.last_priority.to_le_bytes());
        hash.update(u64::from(self.resting_orders_max).to_le_bytes());
        hash.update((self.orders.count() as u64).to_le_bytes());
        self.sum.0.iter().for_each(|lane| hash.update(lane.to_le_bytes()));
        for book in &self.books {
            let Some(book) = book else {
                hash.update([0]);
                continue;
            };
            let phase = match book.phase {
                Phase::Open => 0,
                Phase::AuctionCall => 1,
                Phase::Halted => 2,
                Phase::Closed => 3,
            };
            hash.update([1, phase]);
            match book.last_price {
                None => hash.update([0]),
                Some(price) => {
                    hash.update([1]);
                    hash.update(price.nanos().to_le_bytes());
                }
            }
            hash.update(book.resting_orders().to_le_bytes());
            for account in [book.submitted, book.traded, book.returned] {
                hash.update(account.to_le_bytes());
            }
        }
        hash.finalize().into()
    }

    /// The sum as a walk over every order finds it.
    pub(super) fn sum_of_all(&self) -> OrderSum {
        let mut sum = OrderSum::default();
        for book in self.books.iter().flatten() {
            for index in
                [Side::Buy, Side::Sell].into_iter().flat_map(|side| book.ladder(side).iter(&self.orders))
            {
                sum.add(&self.orders[index]);
            }
        }
        sum
    }
}
