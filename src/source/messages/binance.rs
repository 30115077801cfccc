//! Binance's combined streams, spot and USD-M futures: `depth`, `bookTicker`, `trade`; and the REST snapshot of the book.
//!
//! A snapshot does not name its symbol: a recording with snapshots has one symbol. Updates that came before the snapshot are held until it is
//! there. `pu` tells futures from spot. Fills out of the insurance fund or by deleveraging (`X` other than `MARKET`) are no trades of the market.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::types::Side;

use super::super::error::SourceError;
use super::message::{At, BookMessage, Message, Position, TopMessage, TradeMessage};

#[derive(Debug, Deserialize)]
struct Frame<'a> {
    #[serde(borrow)]
    stream: Option<&'a str>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(rename = "lastUpdateId")]
    last_update: Option<u64>,
    /// Of the snapshot of a futures book, milliseconds.
    #[serde(rename = "T")]
    time: Option<u64>,
    #[serde(borrow)]
    bids: Option<Vec<[&'a str; 2]>>,
    #[serde(borrow)]
    asks: Option<Vec<[&'a str; 2]>>,
}

#[derive(Debug, Deserialize)]
struct Depth<'a> {
    #[serde(rename = "E")]
    time: u64,
    #[serde(rename = "T")]
    time_matched: Option<u64>,
    #[serde(rename = "s")]
    symbol: &'a str,
    #[serde(rename = "U")]
    first: u64,
    #[serde(rename = "u")]
    last: u64,
    #[serde(rename = "pu")]
    previous: Option<u64>,
    #[serde(rename = "b", borrow)]
    bids: Vec<[&'a str; 2]>,
    #[serde(rename = "a", borrow)]
    asks: Vec<[&'a str; 2]>,
}

#[derive(Debug, Deserialize)]
struct Ticker<'a> {
    #[serde(rename = "u")]
    update: u64,
    #[serde(rename = "s")]
    symbol: &'a str,
    #[serde(rename = "b")]
    bid: &'a str,
    #[serde(rename = "B")]
    bid_quantity: &'a str,
    #[serde(rename = "a")]
    ask: &'a str,
    #[serde(rename = "A")]
    ask_quantity: &'a str,
    #[serde(rename = "T")]
    time: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Trade<'a> {
    #[serde(rename = "T")]
    time: u64,
    #[serde(rename = "s")]
    symbol: &'a str,
    #[serde(rename = "t")]
    trade_id: u64,
    #[serde(rename = "p")]
    price: &'a str,
    #[serde(rename = "q")]
    quantity: &'a str,
    #[serde(rename = "m")]
    buyer_is_maker: bool,
    #[serde(rename = "X")]
    kind: Option<&'a str>,
}

pub(super) fn read(text: &[u8], at: At, out: &mut Vec<Message>) -> Result<(), SourceError> {
    let frame: Frame<'_> = serde_json::from_slice(text).map_err(at.malformed())?;
    let (Some(stream), Some(data)) = (frame.stream, frame.data) else { return snapshot(&frame, at, out) };
    let (_, stream) = stream.split_once('@').ok_or(at.unusable("stream"))?;
    match stream.split('@').next() {
        // Without a number of levels: those streams send the top of the book whole, and have other fields.
        Some("depth") => {
            let depth: Depth<'_> = serde_json::from_str(data.get()).map_err(at.malformed())?;
            out.push(Message::Book(depth_message(&depth, at)?));
        }
        Some("bookTicker") => {
            let ticker: Ticker<'_> = serde_json::from_str(data.get()).map_err(at.malformed())?;
            out.push(Message::Top(TopMessage {
                symbol: at.symbol(ticker.symbol)?,
                update: ticker.update,
                bid: at.level(ticker.bid, ticker.bid_quantity, 0)?,
                ask: at.level(ticker.ask, ticker.ask_quantity, 0)?,
                time: ticker.time.map(|ms| at.milliseconds(ms)).transpose()?,
            }));
        }
        Some("trade") => {
            let trade: Trade<'_> = serde_json::from_str(data.get()).map_err(at.malformed())?;
            if trade.kind.is_none_or(|kind| kind == "MARKET") {
                out.push(Message::Trade(trade_message(&trade, at)?));
            }
        }
        _ => {}
    }
    Ok(())
}

fn snapshot(frame: &Frame<'_>, at: At, out: &mut Vec<Message>) -> Result<(), SourceError> {
    let Some(last) = frame.last_update else { return Ok(()) };
    let (Some(bids), Some(asks)) = (&frame.bids, &frame.asks) else { return Err(at.unusable("snapshot")) };
    let mut book = BookMessage::new(None, true);
    book.position = Position::Upto(last);
    book.time = frame.time.map(|ms| at.milliseconds(ms)).transpose()?;
    push(&mut book, bids, asks, at)?;
    out.push(Message::Book(book));
    Ok(())
}

fn depth_message(depth: &Depth<'_>, at: At) -> Result<BookMessage, SourceError> {
    let (first, last) = (depth.first, depth.last);
    if first > last {
        return Err(at.unusable("sequence"));
    }
    let mut book = BookMessage::new(Some(at.symbol(depth.symbol)?), false);
    book.position = match depth.previous {
        Some(previous) => Position::Linked { first, last, previous },
        None => Position::Range { first, last },
    };
    book.time = Some(at.milliseconds(depth.time_matched.unwrap_or(depth.time))?);
    push(&mut book, &depth.bids, &depth.asks, at)?;
    Ok(book)
}

fn trade_message(trade: &Trade<'_>, at: At) -> Result<TradeMessage, SourceError> {
    Ok(TradeMessage {
        symbol: at.symbol(trade.symbol)?,
        price: at.price(trade.price)?,
        quantity: at.quantity(trade.quantity)?,
        aggressor: Some(if trade.buyer_is_maker { Side::Sell } else { Side::Buy }),
        trade_id: trade.trade_id,
        time: at.milliseconds(trade.time)?,
    })
}

fn push(book: &mut BookMessage, bids: &[[&str; 2]], asks: &[[&str; 2]], at: At) -> Result<(), SourceError> {
    for (side, levels) in [(Side::Buy, bids), (Side::Sell, asks)] {
        for [price, quantity] in levels {
            at.push(book, side, (price, quantity, 0))?;
        }
    }
    Ok(())
}
