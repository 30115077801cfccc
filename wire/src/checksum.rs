//! Checksum of a book: CRC32 (IEEE, reflected polynomial 0xEDB88320) over the text of its ten best levels a side.
//!
//! Asks from low to high, then bids from high to low; of each level the price, then the quantity, each with the
//! instrument's number of decimals, without point and leading zeros (a zero leaves nothing, a negative price
//! keeps its sign). Fewer levels: those there are. An empty book: 0.

use crate::decimal::{Nanos, write_digits};
use crate::market::{BookDecimals, Level};

/// Levels a side that count, whatever the depth of the stream.
pub const CHECKSUM_LEVELS: usize = 10;

/// The checksum of a book given best level first on both sides. Levels beyond the tenth are ignored.
#[must_use]
pub fn checksum(bids: &[Level], asks: &[Level], decimals: BookDecimals) -> u32 {
    // Twenty levels of two numbers of at most 21 bytes fit twice over.
    let mut text = Vec::with_capacity(1024);
    write_checksum_text(&mut text, bids, asks, decimals);
    crc32fast::hash(&text)
}

/// Appends the text that the checksum is taken over.
pub fn write_checksum_text(out: &mut Vec<u8>, bids: &[Level], asks: &[Level], decimals: BookDecimals) {
    for level in asks.iter().take(CHECKSUM_LEVELS).chain(bids.iter().take(CHECKSUM_LEVELS)) {
        write_digits(out, level.price.is_negative(), level.price.magnitude(), decimals.price);
        write_digits(out, false, level.quantity.magnitude(), decimals.quantity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decimal::{Decimals, Price, Quantity};

    fn level(price: &str, quantity: &str) -> Level {
        Level { price: Price::parse(price).unwrap(), quantity: Quantity::parse(quantity).unwrap(), orders: 1 }
    }

    fn decimals(price: u8, quantity: u8) -> BookDecimals {
        BookDecimals { price: Decimals::new(price).unwrap(), quantity: Decimals::new(quantity).unwrap() }
    }

    #[test]
    fn an_exchanges_published_example_comes_out() {
        let asks = [level("45285.2", "0.00100000"), level("45286.4", "1.54571953")];
        let bids = [level("45283.5", "0.10000000"), level("45283.4", "1.54582015")];
        let mut text = Vec::new();
        write_checksum_text(&mut text, &bids, &asks, decimals(1, 8));
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "45285210000045286415457195345283510000000452834154582015"
        );
        assert_eq!(checksum(&bids, &asks, decimals(1, 8)), 2_050_935_876);
    }

    #[test]
    fn only_ten_levels_a_side_count() {
        let levels: Vec<Level> = (1..=12).map(|n| level(&n.to_string(), "1")).collect();
        let all = checksum(&levels, &levels, decimals(2, 0));
        assert_eq!(all, checksum(&levels[..10], &levels[..11], decimals(2, 0)));
        assert_ne!(all, checksum(&levels[..9], &levels, decimals(2, 0)));
    }

    #[test]
    fn an_empty_book_is_zero() {
        assert_eq!(checksum(&[], &[], decimals(2, 0)), 0);
    }

    #[test]
    fn leading_zeros_go_and_a_sign_stays() {
        let mut text = Vec::new();
        let bids = [level("-0.05", "3"), level("-10", "4")];
        write_checksum_text(&mut text, &bids, &[level("0.00", "0.10"), level("0.05", "7")], decimals(2, 2));
        assert_eq!(String::from_utf8(text).unwrap(), "105700-5300-1000400");
    }
}
