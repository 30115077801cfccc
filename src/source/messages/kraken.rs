//! Kraken's WebSocket API, version 1: channels `book` and `trade`.
//!
//! `[channel, {"as":[..],"bs":[..]}, "book-1000", "XBT/USD"]` is a snapshot, the same with `a` and `b` an update; when both sides change, they stand in
//! two objects, and the last one has the checksum `c`. A level is `[price, volume, time]`, with a fourth member `"r"` when it is sent again.
//! A trade is `[price, volume, time, "b" or "s", type, misc]` with the aggressor's side. Everything in an object is an event of the connection.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::types::Side;

use super::super::error::SourceError;
use super::line::{digits, seconds_of};
use super::message::{At, BookMessage, Checksum, Message, TradeMessage};

/// A part of a book message; which of them are there says what it is.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Part<'a> {
    #[serde(rename = "as", borrow)]
    asks_whole: Option<Vec<Vec<&'a str>>>,
    #[serde(rename = "bs", borrow)]
    bids_whole: Option<Vec<Vec<&'a str>>>,
    #[serde(rename = "a", borrow)]
    asks: Option<Vec<Vec<&'a str>>>,
    #[serde(rename = "b", borrow)]
    bids: Option<Vec<Vec<&'a str>>>,
    #[serde(rename = "c", borrow)]
    checksum: Option<&'a str>,
}

pub(super) fn read(text: &[u8], at: At, out: &mut Vec<Message>) -> Result<(), SourceError> {
    if text.first() == Some(&b'{') {
        // A subscription's answer, a heartbeat: to be JSON at least.
        return serde_json::from_slice::<serde::de::IgnoredAny>(text).map(drop).map_err(at.malformed());
    }
    let parts: Vec<&RawValue> = serde_json::from_slice(text).map_err(at.malformed())?;
    let [_, bodies @ .., channel, symbol] = parts.as_slice() else { return Err(at.unusable("channel")) };
    let word = |raw: &RawValue| serde_json::from_str::<String>(raw.get()).map_err(at.malformed());
    let (channel, symbol) = (word(channel)?, at.symbol(&word(symbol)?)?);
    if channel == "trade" {
        let [body] = bodies else { return Err(at.unusable("trades")) };
        let trades: Vec<Vec<&str>> = serde_json::from_str(body.get()).map_err(at.malformed())?;
        for trade in trades {
            let [price, quantity, time, side, ..] = trade.as_slice() else {
                return Err(at.unusable("trade"));
            };
            let aggressor = match *side {
                "b" => Side::Buy,
                "s" => Side::Sell,
                _ => return Err(at.unusable("side")),
            };
            out.push(Message::Trade(TradeMessage {
                symbol,
                price: at.price(price)?,
                quantity: at.quantity(quantity)?,
                aggressor: Some(aggressor),
                trade_id: 0,
                time: seconds_of(time).ok_or(at.unusable("time"))?,
            }));
        }
        return Ok(());
    }
    let Some(depth) = channel.strip_prefix("book-") else { return Ok(()) };
    let levels_max = digits(depth).and_then(|depth| usize::try_from(depth).ok()).filter(|depth| *depth > 0);
    let mut book = BookMessage::new(Some(symbol), false);
    book.levels_max = Some(levels_max.ok_or(at.unusable("channel"))?);
    if bodies.is_empty() {
        return Err(at.unusable("book"));
    }
    for body in bodies {
        take_part(&serde_json::from_str(body.get()).map_err(at.malformed())?, at, &mut book)?;
    }
    // Without one, nobody could tell a damaged update from a good one.
    if !book.is_snapshot && book.checksum.is_none() {
        return Err(at.unusable("checksum"));
    }
    out.push(Message::Book(book));
    Ok(())
}

fn take_part(part: &Part<'_>, at: At, book: &mut BookMessage) -> Result<(), SourceError> {
    let is_whole = part.asks_whole.is_some() || part.bids_whole.is_some();
    let is_update = part.asks.is_some() || part.bids.is_some();
    if is_whole == is_update {
        return Err(at.unusable("book"));
    }
    book.is_snapshot |= is_whole;
    let asks = part.asks_whole.iter().chain(&part.asks).flatten();
    let bids = part.bids_whole.iter().chain(&part.bids).flatten();
    for (levels, side) in [(asks.collect::<Vec<_>>(), Side::Sell), (bids.collect(), Side::Buy)] {
        for entry in levels {
            let [price, quantity, time, ..] = entry.as_slice() else { return Err(at.unusable("level")) };
            at.push(book, side, (price, quantity, 0))?;
            book.time = book.time.max(Some(seconds_of(time).ok_or(at.unusable("time"))?));
        }
    }
    if let Some(checksum) = part.checksum {
        let value = digits(checksum).and_then(|value| u32::try_from(value).ok());
        book.checksum = Some(Checksum::Kraken(value.ok_or(at.unusable("checksum"))?));
    }
    Ok(())
}
