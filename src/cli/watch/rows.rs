//! A message as a row of a table, with the heading of its table.

use sealfeed_client::Market;
use sealfeed_wire::Aggressor;
use sealfeed_wire::decimal::{Price, Quantity};
use sealfeed_wire::market::{
    Bbo, BookDecimals, Definition, Exec, Indication, Level, Mbo, MboOrder, MboSnapshot, Ohlcv, Status,
    StreamHeader, Trade,
};

use super::ladder::colour_of;
use super::show::{price, quantity};
use crate::clock::format_utc;

/// Heading and row, or the rows of a part of a snapshot; `None` for a book, which is no row.
pub(super) fn of(market: &Market, decimals: BookDecimals) -> Option<(String, String)> {
    Some(match market {
        Market::Trade(trade) => trade_row(trade, decimals),
        Market::Bbo(bbo) => bbo_row(bbo, decimals),
        Market::Mbo(mbo) => mbo_row(mbo, decimals),
        Market::MboSnapshot(part) => snapshot_rows(part, decimals),
        Market::Ohlcv(bar) => bar_row(bar, decimals),
        Market::Status(status) => status_row(status),
        Market::Definition(definition) => definition_row(definition),
        _ => return None,
    })
}

/// Heading and row of a report of a drop copy.
pub(super) fn of_copy(report: &Exec) -> (String, String) {
    let principal = report.principal.as_deref().unwrap_or("-");
    let (last_quantity, last_price) = report.fill.map_or_else(
        || ("-".to_owned(), "-".to_owned()),
        |fill| (fill.quantity.to_string(), fill.price.to_string()),
    );
    let row = format!(
        "{}  {principal:<20}  {:<20}  {:<10}  {:<12}  {}{:<4}\u{1b}[0m  {:>12}  {last_quantity:>12}  {last_price:>14}  {:>12}",
        start(&report.header),
        report.cl_ord_id.to_string(),
        report.header.symbol.to_string(),
        report.exec.as_str(),
        colour_of(report.side.into()),
        report.side,
        report.quantity.to_string(),
        report.leaves_quantity.to_string(),
    );
    let columns = format!(
        "{:<20}  {:<20}  {:<10}  {:<12}  {:<4}  {:>12}  {:>12}  {:>14}  {:>12}",
        "principal", "order", "symbol", "what", "side", "quantity", "last qty", "last price", "leaves"
    );
    (heading(&columns), row)
}

/// What every row begins with.
fn start(header: &StreamHeader) -> String {
    format!("{}  {:>12}", format_utc(header.ts_event), header.seq)
}

fn heading(columns: &str) -> String {
    format!("{:<30}  {:>12}  {columns}", "time", "seq")
}

fn price_or_dash(value: Option<Price>, decimals: BookDecimals) -> String {
    value.map_or_else(|| "-".to_owned(), |value| price(value, decimals))
}

fn quantity_or_dash(value: Option<Quantity>, decimals: BookDecimals) -> String {
    value.map_or_else(|| "-".to_owned(), |value| quantity(value, decimals))
}

fn trade_row(trade: &Trade, decimals: BookDecimals) -> (String, String) {
    let row = format!(
        "{}  {}{:<4}\u{1b}[0m  {:>14}  {:>12}",
        start(&trade.header),
        colour_of(trade.side),
        trade.side,
        price(trade.price, decimals),
        quantity(trade.quantity, decimals),
    );
    (heading(&format!("{:<4}  {:>14}  {:>12}", "side", "price", "quantity")), row)
}

fn bbo_row(bbo: &Bbo, decimals: BookDecimals) -> (String, String) {
    let shown = |level: Option<Level>| {
        let at = price_or_dash(level.map(|level| level.price), decimals);
        (at, quantity_or_dash(level.map(|level| level.quantity), decimals))
    };
    let ((bid, bid_size), (ask, ask_size)) = (shown(bbo.bid), shown(bbo.ask));
    let row = format!(
        "{}  {bid_size:>12}  \u{1b}[32m{bid:>14}\u{1b}[0m  \u{1b}[31m{ask:>14}\u{1b}[0m  {ask_size:>12}",
        start(&bbo.header),
    );
    (heading(&format!("{:>12}  {:>14}  {:>14}  {:>12}", "bid size", "bid", "ask", "ask size")), row)
}

fn mbo_row(mbo: &Mbo, decimals: BookDecimals) -> (String, String) {
    let row = format!(
        "{}  {:<6}  {}{:<4}\u{1b}[0m  {:>14}  {:>12}  {:>20}{}",
        start(&mbo.header),
        mbo.action.as_str(),
        colour_of(mbo.side),
        mbo.side,
        price_or_dash(mbo.price, decimals),
        quantity_or_dash(mbo.quantity, decimals),
        mbo.order_id.map_or_else(|| "-".to_owned(), |id| id.to_string()),
        if mbo.last { "" } else { "  .." },
    );
    (mbo_heading(), row)
}

/// The orders of a part as records that rest, one row each; a part without any says that nothing rests.
fn snapshot_rows(part: &MboSnapshot, decimals: BookDecimals) -> (String, String) {
    let row = |action: &str, side: Aggressor, order: Option<&MboOrder>| {
        format!(
            "{}  {action:<6}  {}{side:<4}\u{1b}[0m  {:>14}  {:>12}  {:>20}",
            start(&part.header),
            colour_of(side),
            price_or_dash(order.map(|order| order.price), decimals),
            quantity_or_dash(order.map(|order| order.quantity), decimals),
            order.map_or_else(|| "-".to_owned(), |order| order.order_id.to_string()),
        )
    };
    let of_side = |side, orders: &[MboOrder]| {
        orders.iter().map(|order| row("rests", side, Some(order))).collect::<Vec<_>>()
    };
    let begins = (part.part == 1).then(|| row("clear", Aggressor::None, None));
    let rows = begins.into_iter().chain(of_side(Aggressor::Buy, &part.bids));
    let rows: Vec<String> = rows.chain(of_side(Aggressor::Sell, &part.asks)).collect();
    (mbo_heading(), rows.join("\n"))
}

fn mbo_heading() -> String {
    let columns =
        format!("{:<6}  {:<4}  {:>14}  {:>12}  {:>20}", "action", "side", "price", "quantity", "order");
    heading(&columns)
}

fn bar_row(bar: &Ohlcv, decimals: BookDecimals) -> (String, String) {
    let [open, high, low, close] =
        [bar.open, bar.high, bar.low, bar.close].map(|value| price(value, decimals));
    let row = format!(
        "{}  {open:>14}  {high:>14}  {low:>14}  {close:>14}  {:>12}  {:>8}",
        start(&bar.header),
        quantity(bar.volume, decimals),
        bar.trades,
    );
    let columns = format!(
        "{:>14}  {:>14}  {:>14}  {:>14}  {:>12}  {:>8}",
        "open", "high", "low", "close", "volume", "trades"
    );
    (heading(&columns), row)
}

fn status_row(status: &Status) -> (String, String) {
    let reason = status.reason.as_ref().map_or("-", |reason| reason.as_str());
    let dash = || "-".to_owned();
    let (at, would_trade, side, left) = match status.indication {
        None | Some(Indication::Nothing) => (dash(), dash(), dash(), dash()),
        Some(Indication::Uncrosses { price, quantity, imbalance_side, imbalance_quantity }) => {
            let side = imbalance_side.map_or_else(dash, |side| side.to_string());
            (price.to_string(), quantity.to_string(), side, imbalance_quantity.to_string())
        }
    };
    let row = format!(
        "{}  {:<8}  {reason:<8}  {at:>14}  {would_trade:>12}  {side:<4}  {left:>12}",
        start(&status.header),
        status.state,
    );
    let columns = format!(
        "{:<8}  {:<8}  {:>14}  {:>12}  {:<4}  {:>12}",
        "state", "reason", "indicative", "would trade", "left", "left over"
    );
    (heading(&columns), row)
}

fn definition_row(definition: &Definition) -> (String, String) {
    let tick = definition.tick.map_or_else(|| "-".to_owned(), |tick| tick.to_string());
    let lot = definition.lot.map_or_else(|| "-".to_owned(), |lot| lot.to_string());
    let tradable = if definition.tradable { "yes" } else { "no" };
    let row =
        format!("{}  {tick:>14}  {lot:>12}  {tradable:<8}  {}", start(&definition.header), definition.state);
    (heading(&format!("{:>14}  {:>12}  {:<8}  {}", "tick", "lot", "tradable", "state")), row)
}

#[cfg(test)]
mod tests {
    use sealfeed_wire::market::TradingState;
    use sealfeed_wire::{Channel, Decimals, Epoch, Scaled, Sequence, Side, Symbol, UnixNanos};

    use super::*;

    #[test]
    fn the_row_of_an_auction_call_says_what_it_comes_to_and_every_row_fits_its_heading() {
        let header = StreamHeader {
            channel: Channel::Status,
            symbol: Symbol::new("SYN").unwrap(),
            epoch: Epoch(1),
            seq: Sequence::new(9).unwrap(),
            prev_seq: None,
            ts_event: UnixNanos(0),
            ts_recv: UnixNanos(0),
            ts_out: UnixNanos(0),
            delayed_ms: None,
        };
        let whole = |text: &str| Scaled::new(Quantity::parse(text).unwrap(), Decimals::default());
        let sells = Indication::Uncrosses {
            price: Scaled::new(Price::parse("100.50").unwrap(), Decimals::new(2).unwrap()),
            quantity: whole("30"),
            imbalance_side: Some(Side::Sell),
            imbalance_quantity: whole("5"),
        };
        for (indication, expected) in [
            (None, ["auction", "-", "-", "-", "-", "-"]),
            (Some(Indication::Nothing), ["auction", "-", "-", "-", "-", "-"]),
            (Some(sells), ["auction", "-", "100.50", "30", "sell", "5"]),
        ] {
            let status = Status { header, state: TradingState::Auction, reason: None, indication };
            let (heading, row) = status_row(&status);
            assert_eq!(row.chars().count(), heading.chars().count(), "{heading}\n{row}");
            assert!(row.split_whitespace().rev().take(6).eq(expected.into_iter().rev()), "{row}");
        }
    }
}
