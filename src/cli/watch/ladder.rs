//! The book as a ladder: asks above, bids below, and above all whether it may be believed.

use sealfeed_client::{BookView, LocalBook};
use sealfeed_wire::market::{BookDecimals, Level};
use sealfeed_wire::{Aggressor, Depth, Price, UnixNanos};

use super::show::{price, quantity};

/// Levels a side that are drawn, whatever the depth of the book.
const LEVELS_SHOWN: usize = 10;

const GREEN: &str = "\u{1b}[32m";
const RED: &str = "\u{1b}[31m";
const BOLD_RED: &str = "\u{1b}[1;31m";
const PLAIN: &str = "\u{1b}[0m";

/// Everything that one drawing shows.
pub(super) struct Picture<'a> {
    pub(super) book: &'a LocalBook,
    pub(super) depth: Depth,
    /// What is wrong at present, in plain words.
    pub(super) notice: Option<&'a str>,
    pub(super) now: UnixNanos,
}

impl Picture<'_> {
    /// The drawing, every line with its end. Without a live book no level is drawn.
    pub(super) fn render(&self) -> String {
        let depth = match self.depth {
            Depth::Full => "full depth".to_owned(),
            depth => format!("depth {}", depth.get()),
        };
        let mut text = format!("{}  book  {depth}\n", self.book.symbol());
        match self.book.view() {
            Ok(view) => self.draw_live(&mut text, &view),
            Err(error) => text += &format!("{BOLD_RED}NO LIVE BOOK{PLAIN}: {error}\n"),
        }
        text += &match self.notice {
            Some(notice) => format!("{BOLD_RED}{notice}{PLAIN}\n"),
            None => "\n".to_owned(),
        };
        text
    }

    fn draw_live(&self, text: &mut String, view: &BookView<'_>) {
        let header = view.header;
        let age_ms = self.now.0.saturating_sub(header.ts_out.0) / 1_000_000;
        let behind = header.seq.get().saturating_sub(view.checked_seq.get());
        let delay =
            header.delayed_ms.map(|delayed_ms| format!("  DELAYED {delayed_ms} ms")).unwrap_or_default();
        *text += &format!(
            "LIVE  seq {}  epoch {}  age {age_ms} ms  checksum right {}{delay}\n",
            header.seq,
            header.epoch,
            if behind == 0 { "now".to_owned() } else { format!("{behind} messages ago") },
        );
        *text += &format!("{:>7} {:>12}  {:>14}  {:>12} {:>7}\n", "orders", "bid", "price", "ask", "orders");
        let decimals = self.book.decimals();
        for level in view.asks.iter().take(LEVELS_SHOWN).rev() {
            let size = quantity(level.quantity, decimals);
            *text += &format!(
                "{:>7} {:>12}  {RED}{:>14}{PLAIN}  {size:>12} {:>7}\n",
                "",
                "",
                shown(level, decimals),
                level.orders
            );
        }
        *text += &spread(view, decimals);
        for level in view.bids.iter().take(LEVELS_SHOWN) {
            let size = quantity(level.quantity, decimals);
            *text +=
                &format!("{:>7} {size:>12}  {GREEN}{:>14}{PLAIN}\n", level.orders, shown(level, decimals));
        }
    }
}

fn shown(level: &Level, decimals: BookDecimals) -> String {
    price(level.price, decimals)
}

fn spread(view: &BookView<'_>, decimals: BookDecimals) -> String {
    let (Some(bid), Some(ask)) = (view.bids.first(), view.asks.first()) else {
        return format!("{:>7} {:>12}  {:>14}\n", "", "", "one side empty");
    };
    let spread = ask.price.nanos().saturating_sub(bid.price.nanos());
    let label = if spread < 0 { "crossed by" } else { "spread" };
    format!("{:>7} {label:>12}  {:>14}\n", "", price(Price::from_nanos(spread.saturating_abs()), decimals))
}

/// The colour of the side that took liquidity.
pub(super) fn colour_of(side: Aggressor) -> &'static str {
    match side {
        Aggressor::Buy => GREEN,
        Aggressor::Sell => RED,
        Aggressor::None => "",
    }
}

#[cfg(test)]
mod tests {
    use sealfeed_client::{BookError, BookUpdate};
    use sealfeed_wire::checksum::checksum;
    use sealfeed_wire::market::{BookMessage, StreamHeader};
    use sealfeed_wire::{Channel, Decimals, Epoch, Quantity, Sequence, Symbol};

    use super::*;

    fn level(price: &str, size: &str) -> Level {
        Level { price: Price::parse(price).unwrap(), quantity: Quantity::parse(size).unwrap(), orders: 3 }
    }

    fn book(bid: &str, ask: &str) -> LocalBook {
        let symbol = Symbol::new("ESH4").unwrap();
        let decimals = BookDecimals { price: Decimals::new(2).unwrap(), quantity: Decimals::default() };
        let mut book = LocalBook::new(symbol, Depth::Ten, decimals);
        let (bids, asks) = (vec![level(bid, "5")], vec![level(ask, "7")]);
        let header = StreamHeader {
            channel: Channel::Book,
            symbol,
            epoch: Epoch(1),
            seq: Sequence::new(9).unwrap(),
            prev_seq: None,
            ts_event: UnixNanos(0),
            ts_recv: UnixNanos(0),
            ts_out: UnixNanos(1_000_000),
            delayed_ms: None,
        };
        let checksum = Some(checksum(&bids, &asks, decimals));
        book.apply(BookUpdate::Snapshot(&BookMessage { header, bids, asks, checksum })).unwrap();
        book
    }

    fn check(book: &LocalBook, notice: Option<&str>) -> String {
        Picture { book, depth: Depth::Ten, notice, now: UnixNanos(43_000_000) }.render()
    }

    #[test]
    fn a_live_book_shows_position_age_and_checksum() {
        let text = check(&book("4783.00", "4783.25"), None);
        assert!(
            text.contains("LIVE  seq 9  epoch 0000000000000001  age 42 ms  checksum right now"),
            "{text}"
        );
        let (ask, bid) = (text.find("4783.25").unwrap(), text.find("4783.00").unwrap());
        assert!(ask < text.find("spread").unwrap() && text.find("0.25\n").unwrap() < bid, "{text}");
    }

    #[test]
    fn a_crossed_book_says_so() {
        let text = check(&book("4783.25", "4783.00"), None);
        assert!(text.contains("crossed by            0.25"), "{text}");
    }

    #[test]
    fn a_book_that_is_not_live_shows_no_level() {
        let mut book = book("4783.00", "4783.25");
        book.interrupt(BookError::Interrupted);
        let text = check(&book, Some("GAP: messages 3 to 4"));
        assert!(text.contains("NO LIVE BOOK") && text.contains("GAP: messages 3 to 4"), "{text}");
        assert!(!text.contains("4783"), "{text}");
    }

    #[test]
    fn a_notice_does_not_change_how_many_lines_there_are() {
        let book = book("4783.00", "4783.25");
        assert_eq!(check(&book, None).lines().count(), check(&book, Some("STALE")).lines().count());
    }
}
