//! The book against a recording of Nasdaq's AAPL (LOBSTER): after every message it must be the recorded book.
//!
//! The recording starts in mid-life. The book is seeded from the recorded state after the first message, one synthetic order a level;
//! a later message about an order that was never seen concerns the synthetic order of its price.

#![expect(clippy::unwrap_used, reason = "a test may stop")]

#[path = "support/data.rs"]
mod data;

use std::fs;
use std::path::Path;

use sealfeed::feed::{Book, Changes};
use sealfeed::types::{MarketEventKind, OrderId, Price, Quantity, Side};

const FIRST_MESSAGES: &str = "lobster/AAPL_2012-06-21_first672_message_50.csv";
const FIRST_ROWS: &str = "lobster/AAPL_2012-06-21_first672_orderbook_50.csv";
const MESSAGES: &str = "lobster/AAPL_2012-06-21_0930-1030_message_50.csv";
const BEST_QUOTES: &str = "lobster/AAPL_2012-06-21_0930-1030_orderbook_level1.csv";

const LEVELS: usize = 50;
const LONG_ROWS: usize = 91_997;
/// With 50 seeded levels no more can agree: the rest depends on deeper levels that were not recorded.
const LONG_ROWS_AGREEING: usize = 91_907;
/// Prices are recorded in units of 1/10,000.
const NANOS_PER_PRICE_UNIT: i64 = 100_000;
/// What stands for the price of a level that is not there.
const NO_ASK: i64 = 9_999_999_999;
const NO_BID: i64 = -9_999_999_999;

/// One line of the message file, without its time.
struct Message {
    kind: i64,
    order: u64,
    size: u64,
    price: i64,
    side: Side,
}

impl Message {
    fn parse(line: &str) -> Self {
        let (_time, rest) = line.split_once(',').unwrap();
        let fields: Vec<i64> = rest.split(',').map(|field| field.trim().parse().unwrap()).collect();
        let [kind, order, size, price, direction] = fields[..] else { panic!("{line}") };
        let side = if direction == 1 { Side::Buy } else { Side::Sell };
        Self { kind, order: order.unsigned_abs(), size: size.unsigned_abs(), price, side }
    }

    /// What the message does to the book, if anything.
    fn to_event(&self, book: &Book) -> Option<MarketEventKind> {
        let (side, price, quantity) = (self.side, price(self.price), Quantity::from_nanos(self.size));
        match self.kind {
            1 => Some(MarketEventKind::Add { order: OrderId(self.order), side, price, quantity }),
            // Cancelled in part, cancelled, executed.
            2..=4 => {
                let known = OrderId(self.order);
                let order = if book.has_order(known) { known } else { synthetic(side, self.price) };
                Some(MarketEventKind::Reduce { order, side, price, quantity })
            }
            // Hidden execution, cross trade, halt: nothing that the book shows.
            5..=7 => None,
            other => panic!("no message type {other}"),
        }
    }
}

fn price(units: i64) -> Price {
    Price::from_nanos(units * NANOS_PER_PRICE_UNIT)
}

/// The order that stands for all that was resting at a price when the recording began.
fn synthetic(side: Side, price: i64) -> OrderId {
    let side = if side == Side::Buy { 1 << 62 } else { 0 };
    OrderId((1 << 63) | side | price.unsigned_abs())
}

/// A recorded row: per level ask price, ask size, bid price, bid size.
fn parse_row(line: &str) -> Vec<i64> {
    line.split(',').map(|field| field.trim().parse().unwrap()).collect()
}

fn seeded_book(row: &[i64]) -> Book {
    let mut book = Book::default();
    for level in row.chunks(4) {
        for (side, units, size) in [(Side::Sell, level[0], level[1]), (Side::Buy, level[2], level[3])] {
            let (order, price, quantity) =
                (synthetic(side, units), price(units), Quantity::from_nanos(size.unsigned_abs()));
            if size > 0 {
                book.apply(&MarketEventKind::Add { order, side, price, quantity });
            }
        }
    }
    book.end_event(&mut Changes::default());
    book
}

/// The book's best `levels` levels in the recording's form.
fn row_of(book: &Book, levels: usize) -> Vec<i64> {
    let side = |side, absent: i64| {
        let present = book.levels(side).map(|level| {
            let size = i64::try_from(level.quantity.nanos()).unwrap();
            (level.price.nanos() / NANOS_PER_PRICE_UNIT, size)
        });
        present.chain(std::iter::repeat((absent, 0))).take(levels).collect::<Vec<_>>()
    };
    let (asks, bids) = (side(Side::Sell, NO_ASK), side(Side::Buy, NO_BID));
    asks.iter().zip(&bids).flat_map(|(ask, bid)| [ask.0, ask.1, bid.0, bid.1]).collect()
}

/// Replays `messages` over the seed and gives the number of rows, and which, from 0, differ from `rows` in the best `levels`.
/// `before_comparing` may add to the book what it sees in the row.
fn check(
    [messages, rows, seed]: [&Path; 3],
    levels: usize,
    mut before_comparing: impl FnMut(&mut Book, &[i64]),
) -> (usize, Vec<usize>) {
    let [messages, rows, seed] = [messages, rows, seed].map(|path| fs::read_to_string(path).unwrap());
    let mut book = seeded_book(&parse_row(seed.lines().next().unwrap()));
    let mut differing = Vec::new();
    for (place, (message, row)) in messages.lines().zip(rows.lines()).enumerate() {
        let row = parse_row(row);
        // The seed contains the first message.
        if place > 0
            && let Some(kind) = Message::parse(message).to_event(&book)
        {
            book.apply(&kind);
        }
        before_comparing(&mut book, &row);
        book.end_event(&mut Changes::default());
        if row_of(&book, levels) != row {
            differing.push(place);
        }
    }
    assert_eq!(messages.lines().count(), rows.lines().count());
    (rows.lines().count(), differing)
}

/// The recording has no messages about levels beyond its fiftieth, so what rests there may come into its rows without
/// one. Such a level, beyond the nearest that the fiftieth ever was, is learned from the row; no other ever is.
#[derive(Default)]
struct Learner {
    nearest_ask: Option<i64>,
    nearest_bid: Option<i64>,
    /// Prices learned.
    learned: Vec<i64>,
}

impl Learner {
    fn learn(&mut self, book: &mut Book, row: &[i64]) {
        let [ask, ask_size, bid, bid_size] = row[row.len() - 4..] else {
            panic!("a row is not of four columns a level")
        };
        if ask != NO_ASK {
            self.learn_level(
                book,
                (Side::Sell, ask, ask_size),
                self.nearest_ask.is_some_and(|nearest| ask > nearest),
            );
            self.nearest_ask = Some(self.nearest_ask.map_or(ask, |nearest| nearest.min(ask)));
        }
        if bid != NO_BID {
            self.learn_level(
                book,
                (Side::Buy, bid, bid_size),
                self.nearest_bid.is_some_and(|nearest| bid < nearest),
            );
            self.nearest_bid = Some(self.nearest_bid.map_or(bid, |nearest| nearest.max(bid)));
        }
    }

    fn learn_level(&mut self, book: &mut Book, (side, units, size): (Side, i64, i64), is_beyond: bool) {
        if is_beyond && !book.has_level(side, price(units)) {
            let (order, quantity) = (synthetic(side, units), Quantity::from_nanos(size.unsigned_abs()));
            book.apply(&MarketEventKind::Add { order, side, price: price(units), quantity });
            self.learned.push(units);
        }
    }
}

#[test]
fn all_672_recorded_rows_of_50_levels_agree() {
    let (Some(messages), Some(rows)) = (data::recorded(FIRST_MESSAGES), data::recorded(FIRST_ROWS)) else {
        return;
    };
    let mut learner = Learner::default();
    let outcome = check([&messages, &rows, &rows], LEVELS, |book, row| learner.learn(book, row));
    assert_eq!(outcome, (672, vec![]));
    assert_eq!(learner.learned, [5_925_000], "one order, an ask, came in from beyond the fiftieth level");
}

#[test]
fn the_recorded_best_quotes_of_an_hour_agree() {
    let Some(messages) = data::recorded(MESSAGES) else { return };
    let Some(rows) = data::recorded(BEST_QUOTES) else { return };
    let Some(seed) = data::recorded(FIRST_ROWS) else { return };
    let (count, differing) = check([&messages, &rows, &seed], 1, |_, _| {});
    assert_eq!(count, LONG_ROWS);
    let agreeing = count - differing.len();
    assert!(
        agreeing >= LONG_ROWS_AGREEING,
        "{agreeing} rows agree; the first that differs is {:?}",
        differing.first()
    );
}
