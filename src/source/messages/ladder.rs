//! A book of levels as an exchange wrote them, and its checksums.

use std::collections::BTreeMap;

use crate::types::{Price, Side};

use super::message::{Checksum, TextLevel};

/// Most levels of one side.
pub(super) const LEVELS_MAX: usize = 100_000;

/// Levels a side that Kraken's checksum is made over.
const KRAKEN_LEVELS: usize = 10;

/// Levels a side that OKX's checksum is made over.
const OKX_LEVELS: usize = 25;

/// The levels of one side, best first.
#[derive(Debug)]
pub(super) struct Ladder {
    side: Side,
    levels: BTreeMap<i64, TextLevel>,
}

impl Ladder {
    fn new(side: Side) -> Self {
        Self { side, levels: BTreeMap::new() }
    }

    /// Ascending ranks are descending quality on either side; `!` turns the order round without overflow.
    fn rank(&self, price: Price) -> i64 {
        match self.side {
            Side::Buy => !price.nanos(),
            Side::Sell => price.nanos(),
        }
    }

    /// Puts a level in its place; returns whether that changed anything.
    fn set(&mut self, level: TextLevel) -> bool {
        let rank = self.rank(level.price.value);
        if level.quantity.value.is_zero() {
            return self.levels.remove(&rank).is_some();
        }
        self.levels.insert(rank, level) != Some(level)
    }

    /// The best levels, in order.
    pub(super) fn levels(&self) -> impl Iterator<Item = &TextLevel> {
        self.levels.values()
    }
}

/// Both sides of a book.
#[derive(Debug)]
pub(super) struct TextBook {
    pub(super) bids: Ladder,
    pub(super) asks: Ladder,
}

impl Default for TextBook {
    fn default() -> Self {
        Self { bids: Ladder::new(Side::Buy), asks: Ladder::new(Side::Sell) }
    }
}

impl TextBook {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Puts a level in its place; returns whether that changed anything.
    pub(super) fn set(&mut self, side: Side, level: TextLevel) -> bool {
        self.ladder_mut(side).set(level)
    }

    /// Takes off the worst level of a side that has more than `levels_max`.
    pub(super) fn cut(&mut self, side: Side, levels_max: usize) -> Option<TextLevel> {
        let levels = &mut self.ladder_mut(side).levels;
        if levels.len() > levels_max { levels.pop_last().map(|(_, level)| level) } else { None }
    }

    /// Whether a side has more levels than are held.
    pub(super) fn is_full(&self) -> bool {
        self.bids.levels.len() > LEVELS_MAX || self.asks.levels.len() > LEVELS_MAX
    }

    /// What the book's own checksum is, and what the exchange says it is.
    pub(super) fn compare(&self, checksum: Checksum) -> (i64, i64) {
        match checksum {
            Checksum::Kraken(expected) => (self.kraken().into(), expected.into()),
            Checksum::Okx(expected) => (self.okx().into(), expected.into()),
        }
    }

    /// Of each level, price then quantity, without the point and then without leading zeros.
    fn kraken(&self) -> u32 {
        let mut text = Vec::with_capacity(512);
        let (asks, bids) = (self.asks.levels().take(KRAKEN_LEVELS), self.bids.levels().take(KRAKEN_LEVELS));
        for level in asks.chain(bids) {
            digits(&mut text, |out| level.price.write(out));
            digits(&mut text, |out| level.quantity.write(out));
        }
        crc32fast::hash(&text)
    }

    /// `bid:size:ask:size` level by level; a side that has fewer levels is left out where it has none.
    fn okx(&self) -> i32 {
        let mut text = Vec::with_capacity(2_048);
        let (mut bids, mut asks) = (self.bids.levels(), self.asks.levels());
        for _ in 0..OKX_LEVELS {
            for level in [bids.next(), asks.next()].into_iter().flatten() {
                level.price.write(&mut text);
                text.push(b':');
                level.quantity.write(&mut text);
                text.push(b':');
            }
        }
        text.pop();
        crc32fast::hash(&text).cast_signed()
    }

    fn ladder_mut(&mut self, side: Side) -> &mut Ladder {
        match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        }
    }
}

/// Appends what `write` writes, without its point and its leading zeros.
fn digits(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    write(out);
    let mut kept = start;
    for index in start..out.len() {
        let byte = out[index];
        if byte != b'.' && (byte != b'0' || kept > start) {
            out[kept] = byte;
            kept += 1;
        }
    }
    out.truncate(kept);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::messages::message::At;

    #[test]
    fn the_digits_of_a_number_have_neither_point_nor_leading_zeros() {
        for (text, expected) in [("0.05005", "5005"), ("5.05005", "505005"), ("100", "100"), ("0.000", "")] {
            let mut out = b"x".to_vec();
            digits(&mut out, |out| out.extend_from_slice(text.as_bytes()));
            assert_eq!(out, format!("x{expected}").into_bytes());
        }
    }

    #[test]
    fn a_level_counts_with_the_zeros_that_it_was_written_with() {
        let mut book = TextBook::default();
        let level = |price, quantity| At(1).level(price, quantity, 0).unwrap();
        assert!(book.set(Side::Sell, level("0.05005", "0.00000500")));
        assert!(book.set(Side::Buy, level("0.05000", "0.00000005")));
        assert_eq!(book.kraken(), crc32fast::hash(b"500550050005"));
        assert!(book.set(Side::Buy, level("0.0500", "0.00000005")), "another text is another checksum");
        assert_eq!(book.kraken(), crc32fast::hash(b"50055005005"));
        assert_eq!(book.okx(), crc32fast::hash(b"0.0500:0.00000005:0.05005:0.00000500").cast_signed());
    }
}
