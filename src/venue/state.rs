//! The digest of the venue's whole state: equal states have equal digests, however they came about.
//!
//! Kept while the venue works, because a walk over a hundred thousand orders would hold up everybody behind it: each resting order
//! has a SHA-256 of its own, and their sum (four 64-bit lanes, each modulo 2^64) depends on neither order nor place. A change of one
//! order takes one term out and puts one in. [`Venue::state_digest`] then hashes the sum with counters and books.
//!
//! Priority is in it: orders at one price rest in the order of their identifiers ([`Venue::check_invariants`]).
//! The sum tells one state from another where nobody picks the terms. That is enough here: who could pick them writes the log.

use sha2::{Digest as _, Sha256};

use super::Venue;
use super::orders::Order;
use crate::types::{Side, TimeInForce};

/// Bytes of one order: with the padding of SHA-256 they fill one of its blocks.
const ORDER_BYTES: usize = 42;

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

/// SHA-256 over: identifier, price, quantity, open quantity (8 bytes each), owner, instrument (4 each), side (0 buy, 1 sell), time in
/// force (0 day, 1 good till cancelled, 2 immediate or cancel); little-endian. As four little-endian numbers.
fn term(order: &Order) -> [u64; 4] {
    let mut bytes = [0; ORDER_BYTES];
    let side = u8::from(order.side == Side::Sell);
    let time_in_force = match order.time_in_force {
        TimeInForce::Day => 0,
        TimeInForce::GoodTillCancel => 1,
        TimeInForce::ImmediateOrCancel => 2,
    };
    let fields: [&[u8]; 8] = [
        &order.id.0.to_le_bytes(),
        &order.price.nanos().to_le_bytes(),
        &order.quantity.nanos().to_le_bytes(),
        &order.leaves.nanos().to_le_bytes(),
        &order.owner.0.to_le_bytes(),
        &order.instrument.0.to_le_bytes(),
        &[side],
        &[time_in_force],
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
    /// SHA-256 over: number of the last trade and most resting orders of an instrument (8 bytes each); number of resting
    /// orders (8) and the sum over them (32); then for every instrument by its number: 0 where it is not traded, else 1, its resting
    /// orders (4) and the quantities taken in, traded and returned (16 each). Little-endian.
    ///
    /// Costs one pass over the instruments, none over the orders.
    #[must_use]
    pub fn state_digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.last_trade_id.to_le_bytes());
        hash.update(u64::from(self.resting_orders_max).to_le_bytes());
        hash.update((self.orders.count() as u64).to_le_bytes());
        self.sum.0.iter().for_each(|lane| hash.update(lane.to_le_bytes()));
        for book in &self.books {
            let Some(book) = book else {
                hash.update([0]);
                continue;
            };
            hash.update([1]);
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
