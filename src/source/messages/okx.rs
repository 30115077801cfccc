//! OKX's WebSocket API, version 5: channels `books` (400 levels, every 100 ms) and `trades`.
//!
//! A level is `[price, size, "0", orders]`. `seqId` and `prevSeqId` are checked where they are (recordings before 2023 lack them); the checksum always.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::types::{Side, Symbol};

use super::super::error::SourceError;
use super::line::digits;
use super::message::{At, BookMessage, Checksum, Message, Position, TradeMessage};

#[derive(Debug, Deserialize)]
struct Frame<'a> {
    #[serde(borrow)]
    arg: Option<Arg<'a>>,
    #[serde(borrow)]
    action: Option<&'a str>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
struct Arg<'a> {
    channel: &'a str,
    #[serde(rename = "instId")]
    instrument: Option<&'a str>,
}

#[derive(Debug, Deserialize)]
struct Book<'a> {
    #[serde(borrow)]
    asks: Vec<[&'a str; 4]>,
    #[serde(borrow)]
    bids: Vec<[&'a str; 4]>,
    ts: &'a str,
    checksum: i32,
    #[serde(rename = "seqId")]
    sequence: Option<i64>,
    #[serde(rename = "prevSeqId")]
    previous: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct Trade<'a> {
    #[serde(rename = "instId")]
    instrument: &'a str,
    #[serde(rename = "tradeId")]
    trade_id: &'a str,
    px: &'a str,
    sz: &'a str,
    side: &'a str,
    ts: &'a str,
}

pub(super) fn read(text: &[u8], at: At, out: &mut Vec<Message>) -> Result<(), SourceError> {
    let frame: Frame<'_> = serde_json::from_slice(text).map_err(at.malformed())?;
    let (Some(arg), Some(data)) = (frame.arg, frame.data) else { return Ok(()) };
    match (arg.channel, frame.action) {
        ("books", Some(action)) => {
            let symbol = at.symbol(arg.instrument.ok_or(at.unusable("instId"))?)?;
            let is_snapshot = match action {
                "snapshot" => true,
                "update" => false,
                _ => return Err(at.unusable("action")),
            };
            let books: Vec<Book<'_>> = serde_json::from_str(data.get()).map_err(at.malformed())?;
            for book in &books {
                out.push(Message::Book(book_message(book, symbol, is_snapshot, at)?));
            }
            Ok(())
        }
        ("books", None) => Err(at.unusable("action")),
        ("trades", _) => {
            let trades: Vec<Trade<'_>> = serde_json::from_str(data.get()).map_err(at.malformed())?;
            for trade in &trades {
                out.push(Message::Trade(trade_message(trade, at)?));
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn book_message(
    book: &Book<'_>,
    symbol: Symbol,
    is_snapshot: bool,
    at: At,
) -> Result<BookMessage, SourceError> {
    let number = |value: i64| u64::try_from(value).map_err(|_| at.unusable("seqId"));
    let position = match (book.sequence, book.previous) {
        (None, _) => Position::Unnumbered,
        (Some(sequence), _) if is_snapshot => Position::Upto(number(sequence)?),
        (Some(sequence), Some(previous)) => {
            Position::Follows { sequence: number(sequence)?, previous: number(previous)? }
        }
        (Some(_), None) => return Err(at.unusable("prevSeqId")),
    };
    let mut message = BookMessage::new(Some(symbol), is_snapshot);
    message.position = position;
    message.checksum = Some(Checksum::Okx(book.checksum));
    message.time = Some(at.milliseconds(digits(book.ts).ok_or(at.unusable("time"))?)?);
    for (side, levels) in [(Side::Buy, &book.bids), (Side::Sell, &book.asks)] {
        for [price, quantity, _, orders] in levels {
            let orders = digits(orders).and_then(|orders| u32::try_from(orders).ok());
            at.push(&mut message, side, (price, quantity, orders.ok_or(at.unusable("orders"))?))?;
        }
    }
    Ok(message)
}

fn trade_message(trade: &Trade<'_>, at: At) -> Result<TradeMessage, SourceError> {
    let aggressor = match trade.side {
        "buy" => Side::Buy,
        "sell" => Side::Sell,
        _ => return Err(at.unusable("side")),
    };
    Ok(TradeMessage {
        symbol: at.symbol(trade.instrument)?,
        price: at.price(trade.px)?,
        quantity: at.quantity(trade.sz)?,
        aggressor: Some(aggressor),
        trade_id: digits(trade.trade_id).ok_or(at.unusable("tradeId"))?,
        time: at.milliseconds(digits(trade.ts).ok_or(at.unusable("time"))?)?,
    })
}
