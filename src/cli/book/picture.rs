//! The picture of one book: whether it may be believed, the ladder with bars, the last trades.
//!
//! Bids stand left and asks right of the prices; a bar's length is the quantity of its level by the largest one shown.

use std::collections::VecDeque;

use anstyle::{AnsiColor, Color, Style};
use sealfeed_client::{BookView, LocalBook};
use sealfeed_wire::market::{BookDecimals, Indication, Level, Status, Trade, TradingState};
use sealfeed_wire::{Aggressor, Price, Side, UnixNanos};

use crate::cli::watch::{price, quantity};
use crate::clock::format_utc;

/// Characters of the longest bar.
const BAR: usize = 24;

const BUY: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Green)));
const SELL: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Red)));
const ALARM: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Red))).bold().invert();
const QUIET: Style = Style::new().dimmed();
const PLAIN: Style = Style::new();

/// Everything that one drawing shows.
pub(super) struct Picture<'a> {
    pub(super) book: &'a LocalBook,
    /// The server said that the source stalls.
    pub(super) is_stale: bool,
    /// Levels a side.
    pub(super) levels: usize,
    /// The newest first.
    pub(super) trades: &'a VecDeque<Trade>,
    /// Room for trades.
    pub(super) trades_shown: usize,
    /// Why there are none.
    pub(super) trades_refused: Option<&'a str>,
    /// What was said of the instrument last.
    pub(super) status: Option<&'a Status>,
    /// Why nothing is said of it.
    pub(super) status_refused: Option<&'a str>,
    /// What is wrong at present, in plain words.
    pub(super) notice: Option<&'a str>,
    pub(super) now: UnixNanos,
}

impl Picture<'_> {
    /// The drawing, every line with its end. It has as many lines whether there is a book or not, so that nothing jumps.
    pub(super) fn render(&self) -> String {
        let mut lines = Vec::new();
        match self.book.view() {
            Ok(view) => {
                lines.push(self.status(&view));
                lines.push(self.notice_line());
                lines.push(self.call_line());
                self.ladder(&view, &mut lines);
            }
            Err(error) => {
                lines.push(format!("{}  {ALARM} NO LIVE BOOK {ALARM:#}  {error}", self.book.symbol()));
                lines.push(self.notice_line());
                lines.resize(3 + 2 + 2 * self.levels, String::new());
            }
        }
        self.trade_lines(&mut lines);
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    fn status(&self, view: &BookView<'_>) -> String {
        let header = view.header;
        let state = if self.is_stale {
            format!("{ALARM} STALE {ALARM:#} the source stalls: what is shown may be old ")
        } else {
            format!("{BUY}LIVE{BUY:#}")
        };
        let delayed = header
            .delayed_ms
            .map(|delayed_ms| format!("  {ALARM} DELAYED {} s {ALARM:#}", delayed_ms / 1_000));
        let behind = header.seq.get().saturating_sub(view.checked_seq.get());
        let checked = if behind == 0 { "now".to_owned() } else { format!("{behind} messages ago") };
        format!(
            "{}  {state}{}  seq {}  age {}  epoch {}  checksum right {checked}",
            self.book.symbol(),
            delayed.unwrap_or_default(),
            header.seq,
            age(self.now.0.saturating_sub(header.ts_out.0)),
            header.epoch,
        )
    }

    fn notice_line(&self) -> String {
        self.notice.map(|notice| format!("{ALARM} {notice} {ALARM:#}")).unwrap_or_default()
    }

    /// What an auction call comes to so far; empty where there is none, and in a book in doubt not drawn either.
    fn call_line(&self) -> String {
        if let Some(why) = self.status_refused {
            return format!("{QUIET}trading status: {why}{QUIET:#}");
        }
        let Some(status) = self.status.filter(|status| status.state == TradingState::Auction) else {
            return String::new();
        };
        match status.indication {
            None => "AUCTION  at which price it would trade is not told".to_owned(),
            Some(Indication::Nothing) => "AUCTION  nothing would trade now".to_owned(),
            Some(Indication::Uncrosses { price, quantity, imbalance_side, imbalance_quantity }) => {
                let left = match imbalance_side {
                    None => "nobody is left over".to_owned(),
                    Some(Side::Buy) => format!("buyers of {imbalance_quantity} are left over"),
                    Some(Side::Sell) => format!("sellers of {imbalance_quantity} are left over"),
                };
                format!("AUCTION  {quantity} would trade at {price} now, {left}")
            }
        }
    }

    fn ladder(&self, view: &BookView<'_>, lines: &mut Vec<String>) {
        let decimals = self.book.decimals();
        let shown = |side: &[Level]| side.iter().take(self.levels).copied().collect::<Vec<_>>();
        let (bids, asks) = (shown(view.bids), shown(view.asks));
        let largest = bids.iter().chain(&asks).map(|level| level.quantity.nanos()).max().unwrap_or(1).max(1);
        let bar = |level: &Level| bar_length(level.quantity.nanos(), largest);
        lines.push(format!(
            "{QUIET}{:>6} {:>14} {:>BAR$} {:^16} {:<BAR$} {:<14} {:<6}{QUIET:#}",
            "orders", "bid", "", "price", "", "ask", "orders"
        ));
        let is_dim = |style: Style| if self.is_stale { style.dimmed() } else { style };
        let (buy, sell) = (is_dim(BUY), is_dim(SELL));
        lines.resize(lines.len() + self.levels - asks.len(), String::new());
        for level in asks.iter().rev() {
            let (size, length) = (quantity(level.quantity, decimals), bar(level));
            lines.push(format!(
                "{:>6} {:>14} {:>BAR$} {sell}{:^16}{sell:#} {sell}{:<BAR$}{sell:#} {size:<14} {:<6}",
                "",
                "",
                "",
                price(level.price, decimals),
                "█".repeat(length),
                level.orders,
            ));
        }
        lines.push(spread(view, decimals));
        for level in &bids {
            let (size, length) = (quantity(level.quantity, decimals), bar(level));
            lines.push(format!(
                "{:>6} {size:>14} {buy}{:>BAR$}{buy:#} {buy}{:^16}{buy:#}",
                level.orders,
                "█".repeat(length),
                price(level.price, decimals),
            ));
        }
        lines.resize(lines.len() + self.levels - bids.len(), String::new());
    }

    fn trade_lines(&self, lines: &mut Vec<String>) {
        if self.trades_shown == 0 {
            return;
        }
        let decimals = self.book.decimals();
        lines.push(match self.trades_refused {
            Some(why) => format!("{QUIET}last trades: {why}{QUIET:#}"),
            None => format!("{QUIET}last trades{QUIET:#}"),
        });
        let last = lines.len() + self.trades_shown;
        for trade in self.trades.iter().take(self.trades_shown) {
            let style = match trade.side {
                Aggressor::Buy => BUY,
                Aggressor::Sell => SELL,
                Aggressor::None => PLAIN,
            };
            lines.push(format!(
                "{}  {style}{:<4} {:>14} {:>14}{style:#}",
                format_utc(trade.header.ts_event),
                trade.side,
                price(trade.price, decimals),
                quantity(trade.quantity, decimals),
            ));
        }
        lines.resize(last, String::new());
    }
}

/// Characters of a bar: at least one, so that no level looks empty.
fn bar_length(nanos: u64, largest: u64) -> usize {
    let length = u128::from(nanos) * BAR as u128 / u128::from(largest);
    usize::try_from(length).unwrap_or(BAR).clamp(1, BAR)
}

fn spread(view: &BookView<'_>, decimals: BookDecimals) -> String {
    let (Some(bid), Some(ask)) = (view.bids.first(), view.asks.first()) else {
        return format!("{:>6} {:>14} {:>BAR$} {QUIET}{:^16}{QUIET:#}", "", "", "", "one side empty");
    };
    let spread = ask.price.nanos().saturating_sub(bid.price.nanos());
    let label = match spread {
        ..0 => "crossed by",
        0 => "locked",
        _ => "spread",
    };
    let size = price(Price::from_nanos(spread.saturating_abs()), decimals);
    format!("{:>6} {:>14} {:>BAR$} {QUIET}{:^16}{QUIET:#}", "", "", label, size)
}

/// How long ago, in the unit that a person reads at a glance.
fn age(nanos: u64) -> String {
    match nanos / 1_000_000 {
        milliseconds @ 0..1_000 => format!("{milliseconds} ms"),
        milliseconds @ 1_000..60_000 => format!("{}.{} s", milliseconds / 1_000, milliseconds % 1_000 / 100),
        milliseconds => format!("{} min", milliseconds / 60_000),
    }
}

#[cfg(test)]
mod tests {
    use sealfeed_client::{BookError, BookUpdate};
    use sealfeed_wire::checksum::checksum;
    use sealfeed_wire::market::{BookMessage, StreamHeader};
    use sealfeed_wire::{Channel, Decimals, Depth, Epoch, Quantity, Scaled, Sequence, Symbol};

    use super::*;

    fn level(price: &str, size: &str) -> Level {
        Level { price: Price::parse(price).unwrap(), quantity: Quantity::parse(size).unwrap(), orders: 3 }
    }

    fn header(channel: Channel) -> StreamHeader {
        StreamHeader {
            channel,
            symbol: Symbol::new("ESH4").unwrap(),
            epoch: Epoch(1),
            seq: Sequence::new(9).unwrap(),
            prev_seq: None,
            ts_event: UnixNanos(0),
            ts_recv: UnixNanos(0),
            ts_out: UnixNanos(1_000_000),
            delayed_ms: None,
        }
    }

    fn book() -> LocalBook {
        let decimals = BookDecimals { price: Decimals::new(2).unwrap(), quantity: Decimals::default() };
        let mut book = LocalBook::new(Symbol::new("ESH4").unwrap(), Depth::Ten, decimals);
        let (bids, asks) =
            (vec![level("4783.00", "5"), level("4782.75", "20")], vec![level("4783.25", "10")]);
        let checksum = Some(checksum(&bids, &asks, decimals));
        let header = header(Channel::Book);
        book.apply(BookUpdate::Snapshot(&BookMessage { header, bids, asks, checksum })).unwrap();
        book
    }

    /// The picture without its colours.
    fn check(book: &LocalBook, is_stale: bool, notice: Option<&str>) -> Vec<String> {
        check_with(book, is_stale, notice, (None, None))
    }

    fn check_with(
        book: &LocalBook,
        is_stale: bool,
        notice: Option<&str>,
        (status, status_refused): (Option<&Status>, Option<&str>),
    ) -> Vec<String> {
        let trade = Trade {
            header: header(Channel::Trades),
            price: Price::parse("4783.25").unwrap(),
            quantity: Quantity::parse("2").unwrap(),
            side: Aggressor::Buy,
            trade_id: None,
        };
        let trades = VecDeque::from([trade]);
        let (trades_shown, trades_refused, now) = (3, None, UnixNanos(1_501_000_000));
        let (levels, trades) = (4, &trades);
        let picture = Picture {
            book,
            is_stale,
            levels,
            trades,
            trades_shown,
            trades_refused,
            status,
            status_refused,
            notice,
            now,
        };
        let text = anstream::adapter::strip_str(&picture.render()).to_string();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn bars_are_as_long_as_their_level_is_large() {
        let lines = check(&book(), false, None);
        let bar = |row: &str| {
            let line = lines.iter().find(|line| line.contains(row)).unwrap();
            line.chars().filter(|character| *character == '█').count()
        };
        assert_eq!((bar("4782.75"), bar("4783.00"), bar("4783.25 ")), (BAR, BAR / 4, BAR / 2));
        assert_eq!((bar_length(1, u64::MAX), bar_length(u64::MAX, u64::MAX)), (1, BAR));
    }

    #[test]
    fn position_age_spread_and_last_trade_are_shown() {
        let lines = check(&book(), false, None);
        assert!(lines[0].starts_with("ESH4  LIVE  seq 9  age 1.5 s  epoch 0000000000000001"), "{}", lines[0]);
        assert!(lines.iter().any(|line| line.contains("spread") && line.contains("0.25")), "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains("buy") && line.contains("4783.25")), "{lines:#?}");
    }

    #[test]
    fn an_auction_call_says_in_one_line_what_it_comes_to_and_no_other_state_does() {
        let whole = |text: &str| Scaled::new(Quantity::parse(text).unwrap(), Decimals::default());
        let uncrosses = |imbalance_side, left: &str| Indication::Uncrosses {
            price: Scaled::new(Price::parse("4783.25").unwrap(), Decimals::new(2).unwrap()),
            quantity: whole("30"),
            imbalance_side,
            imbalance_quantity: whole(left),
        };
        let line = |state, indication| {
            let status = Status { header: header(Channel::Status), state, reason: None, indication };
            let lines = check_with(&book(), false, None, (Some(&status), None));
            assert_eq!(lines.len(), check(&book(), false, None).len(), "nothing jumps");
            lines[2].clone()
        };
        let call = TradingState::Auction;
        let buyers = line(call, Some(uncrosses(Some(Side::Buy), "5")));
        assert_eq!(buyers, "AUCTION  30 would trade at 4783.25 now, buyers of 5 are left over");
        let sellers = line(call, Some(uncrosses(Some(Side::Sell), "5")));
        assert_eq!(sellers, "AUCTION  30 would trade at 4783.25 now, sellers of 5 are left over");
        let nobody = line(call, Some(uncrosses(None, "0")));
        assert_eq!(nobody, "AUCTION  30 would trade at 4783.25 now, nobody is left over");
        assert_eq!(line(call, Some(Indication::Nothing)), "AUCTION  nothing would trade now");
        assert_eq!(line(call, None), "AUCTION  at which price it would trade is not told");
        assert_eq!(line(TradingState::Trading, None), "");
        let refused = check_with(&book(), false, None, (None, Some("SF-SUB-002 not granted")));
        assert_eq!(refused[2], "trading status: SF-SUB-002 not granted");
    }

    #[test]
    fn a_stalled_source_says_so_first() {
        assert!(check(&book(), true, None)[0].starts_with("ESH4   STALE  the source stalls"));
    }

    #[test]
    fn a_book_in_doubt_is_not_drawn_and_nothing_jumps() {
        let live = check(&book(), false, None);
        let mut lost = book();
        lost.interrupt(BookError::Interrupted);
        let lines = check(&lost, false, Some("the book was lost"));
        assert!(lines[0].starts_with("ESH4   NO LIVE BOOK "), "{}", lines[0]);
        assert!(lines[1].contains("the book was lost"));
        assert!(!lines[..lines.len() - 3].iter().any(|line| line.contains("4783.00")), "{lines:#?}");
        assert_eq!(lines.len(), live.len());
    }
}
