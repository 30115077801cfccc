//! The digest of the venue's whole state: equal states have equal digests, however they came about.
//!
//! Kept while the venue works, because a walk over a hundred thousand orders would hold up everybody behind it: each resting order
//! has 256 mixed bits of its own, and their sum (four 64-bit lanes, each modulo 2^64) depends on neither order nor place. A change of one
//! order takes one term out and puts one in. [`Venue::state_digest`] then hashes the sum with counters and books (SHA-256).
//!
//! Priority is in it as a number of its own: a replace may give an order another place under the same identifier.
//! The sum tells one state from another where nobody picks the terms. That is enough here: who could pick them writes the log. For the
//! same reason a term is mixed and not a SHA-256 of its own, which takes several times as long.

use sha2::{Digest as _, Sha256};

use super::Venue;
use super::orders::Order;
use crate::types::{Phase, SelfTrade, Side, TimeInForce};

/// Where the lanes of a term begin, and what multiplies them: binary digits of pi behind the point, the factors made odd.
const SEEDS: [u64; 4] =
    [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0, 0x082e_fa98_ec4e_6c89];
const FACTORS: [u64; 4] =
    [0x4528_21e6_38d0_1377, 0xbe54_66cf_34e9_0c6d, 0xc0ac_29b7_c97c_50dd, 0x3f84_d5b5_b547_0917];

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

/// Four lanes over eight words: identifier, price, quantity, open quantity, priority, then owner and (upper half) instrument, then, a byte
/// each from the lowest on, side (0 buy, 1 sell), time in force (0 day, 1 good till cancelled, 2 immediate or cancel, 3 fill or kill),
/// post-only (0 no, 1 yes), self-trade prevention (0 none, 1 cancel taker, 2 cancel maker, 3 cancel both), then zero, so that the
/// last one is mixed, too.
///
/// Each lane begins with its seed; for each word it is xored with the word and multiplied by its factor to 128 bits, of which the halves
/// are xored.
fn term(order: &Order) -> [u64; 4] {
    let side = u64::from(order.side == Side::Sell);
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
    mixed(&[
        order.id.0,
        order.price.nanos().cast_unsigned(),
        order.quantity.nanos(),
        order.leaves.nanos(),
        order.priority,
        u64::from(order.owner.0) | u64::from(order.instrument.0) << 32,
        side | time_in_force << 8 | u64::from(order.post_only) << 16 | self_trade << 24,
        0,
    ])
}

#[inline]
fn mixed(words: &[u64; 8]) -> [u64; 4] {
    let mut lanes = SEEDS;
    for word in words {
        for (lane, factor) in lanes.iter_mut().zip(FACTORS) {
            let product = u128::from(*lane ^ word) * u128::from(factor);
            #[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
            let (low, high) = (product as u64, (product >> 64) as u64);
            *lane = low ^ high;
        }
    }
    lanes
}

impl Venue {
    /// SHA-256 over: number of the last trade, last priority given and most resting orders of an instrument (8 bytes each); number of
    /// resting orders (8) and the sum over them (32); then for every instrument by its number: 0 where it is not traded, else 1, its
    /// phase (0 open, 1 auction call, 2 halted, 3 closed), 0 before its first trade, else 1 and the price of the last one (8), its
    /// resting orders (4) and the quantities taken in, traded and returned (16 each). Little-endian. An instrument on paper has 2 for the
    /// first 1, and behind the rest: how many levels (8), for each side (0 buy, 1 sell), price, displayed and taken quantity (8 each); how
    /// many places (8), for each order, what is ahead of it, and what of that went without a trade (8 each).
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
            hash.update([if book.paper.is_some() { 2 } else { 1 }, phase]);
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
            if let Some(paper) = &book.paper {
                paper.digest_into(&mut hash);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_of_every_word_changes_about_half_of_every_lane() {
        let words = [1, 2, 3, 4, 5, 6, 7, 0];
        let before = mixed(&words);
        for word in 0..7 {
            for bit in 0..64 {
                let mut other = words;
                other[word] ^= 1 << bit;
                for (lane, (one, two)) in before.iter().zip(mixed(&other)).enumerate() {
                    let changed = (one ^ two).count_ones();
                    assert!((10..=54).contains(&changed), "word {word}, bit {bit}, lane {lane}: {changed}");
                }
            }
        }
    }

    #[test]
    fn orders_that_count_up_have_terms_that_are_all_different_in_every_lane() {
        let terms: Vec<_> = (0..20_000).map(|id| mixed(&[id, 100, 5, 5, id, 1, 0, 0])).collect();
        for lane in 0..4 {
            let mut values: Vec<u64> = terms.iter().map(|term| term[lane]).collect();
            values.sort_unstable();
            values.dedup();
            assert_eq!(values.len(), terms.len());
        }
    }
}
