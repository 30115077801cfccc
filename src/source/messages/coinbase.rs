//! Coinbase Exchange's WebSocket feed: channels `level2` and `matches`.
//!
//! Neither has a checksum or numbers its updates: a lost one cannot be told. `side` of a match is the maker's.

use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::types::{Side, UnixNanos};

use super::super::error::SourceError;
use super::message::{At, BookMessage, Message, TradeMessage};

#[derive(Debug, Deserialize)]
struct Frame<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
}

#[derive(Debug, Deserialize)]
struct Snapshot<'a> {
    product_id: &'a str,
    #[serde(borrow)]
    bids: Vec<[&'a str; 2]>,
    #[serde(borrow)]
    asks: Vec<[&'a str; 2]>,
}

#[derive(Debug, Deserialize)]
struct Update<'a> {
    product_id: &'a str,
    #[serde(borrow)]
    changes: Vec<[&'a str; 3]>,
    time: &'a str,
}

#[derive(Debug, Deserialize)]
struct Match<'a> {
    product_id: &'a str,
    trade_id: u64,
    side: &'a str,
    size: &'a str,
    price: &'a str,
    time: &'a str,
}

pub(super) fn read(text: &[u8], at: At, out: &mut Vec<Message>) -> Result<(), SourceError> {
    let frame: Frame<'_> = serde_json::from_slice(text).map_err(at.malformed())?;
    match frame.kind {
        "snapshot" => {
            let snapshot: Snapshot<'_> = serde_json::from_slice(text).map_err(at.malformed())?;
            let mut book = BookMessage::new(Some(at.symbol(snapshot.product_id)?), true);
            for (levels, side) in [(&snapshot.bids, Side::Buy), (&snapshot.asks, Side::Sell)] {
                for [price, quantity] in levels {
                    at.push(&mut book, side, (price, quantity, 0))?;
                }
            }
            out.push(Message::Book(book));
        }
        "l2update" => {
            let update: Update<'_> = serde_json::from_slice(text).map_err(at.malformed())?;
            let mut book = BookMessage::new(Some(at.symbol(update.product_id)?), false);
            book.time = Some(time_of(update.time, at)?);
            for [side, price, quantity] in &update.changes {
                at.push(&mut book, side_of(side, at)?, (price, quantity, 0))?;
            }
            out.push(Message::Book(book));
        }
        "match" => {
            let trade: Match<'_> = serde_json::from_slice(text).map_err(at.malformed())?;
            let aggressor = match side_of(trade.side, at)? {
                Side::Buy => Side::Sell,
                Side::Sell => Side::Buy,
            };
            out.push(Message::Trade(TradeMessage {
                symbol: at.symbol(trade.product_id)?,
                price: at.price(trade.price)?,
                quantity: at.quantity(trade.size)?,
                aggressor: Some(aggressor),
                trade_id: trade.trade_id,
                time: time_of(trade.time, at)?,
            }));
        }
        // `last_match` is the trade before the subscription: it was no event of this recording.
        _ => {}
    }
    Ok(())
}

fn side_of(side: &str, at: At) -> Result<Side, SourceError> {
    match side {
        "buy" => Ok(Side::Buy),
        "sell" => Ok(Side::Sell),
        _ => Err(at.unusable("side")),
    }
}

fn time_of(text: &str, at: At) -> Result<UnixNanos, SourceError> {
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok();
    let nanos = moment.and_then(|moment| u64::try_from(moment.unix_timestamp_nanos()).ok());
    nanos.map(UnixNanos).ok_or(at.unusable("time"))
}
