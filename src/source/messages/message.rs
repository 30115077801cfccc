//! What any exchange's message comes to, with the numbers as they were written: checksums are made over these texts.

use sealfeed_wire::{DecimalError, Scaled};

use crate::types::{Price, Quantity, Side, Symbol, UnixNanos};

use super::super::error::SourceError;

/// One thing that a message says.
#[derive(Clone, Debug)]
pub(super) enum Message {
    /// A whole book, or what changes in it.
    Book(BookMessage),
    /// A trade.
    Trade(TradeMessage),
    /// The best bid and offer, beside the book.
    Top(TopMessage),
}

/// A level: it holds this much now; zero: it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TextLevel {
    pub(super) price: Scaled<Price>,
    pub(super) quantity: Scaled<Quantity>,
    /// 0 if the exchange does not say.
    pub(super) orders: u32,
}

/// A whole book, or what changes in it.
#[derive(Clone, Debug)]
pub(super) struct BookMessage {
    /// `None`: the message does not say.
    pub(super) symbol: Option<Symbol>,
    pub(super) is_snapshot: bool,
    pub(super) bids: Vec<TextLevel>,
    pub(super) asks: Vec<TextLevel>,
    pub(super) position: Position,
    pub(super) checksum: Option<Checksum>,
    /// Levels a side that the exchange keeps; what falls behind is gone without a word.
    pub(super) levels_max: Option<usize>,
    /// When it happened; `None`: the message does not say.
    pub(super) time: Option<UnixNanos>,
    /// Asks at prices beyond what ours can say.
    pub(super) beyond: u64,
}

impl BookMessage {
    /// A message without levels, numbers or times.
    pub(super) fn new(symbol: Option<Symbol>, is_snapshot: bool) -> Self {
        Self {
            symbol,
            is_snapshot,
            bids: Vec::new(),
            asks: Vec::new(),
            position: Position::Unnumbered,
            checksum: None,
            levels_max: None,
            time: None,
            beyond: 0,
        }
    }
}

/// Where an update stands in its sequence, by its exchange's rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    /// The exchange does not number its updates.
    Unnumbered,
    /// Of a snapshot: it contains every update up to this one.
    Upto(u64),
    /// Contains the updates from `first` to `last`; the update before ended at `first - 1` (Binance spot: `U`, `u`).
    Range { first: u64, last: u64 },
    /// As `Range`, and the update before ended at `previous`, which need not be `first - 1` (Binance futures: `pu`).
    Linked { first: u64, last: u64, previous: u64 },
    /// Follows on `previous`; numbers may stay or start again (OKX: `seqId`, `prevSeqId`).
    Follows { sequence: u64, previous: u64 },
}

/// An exchange's checksum of its book after an update, CRC32 (IEEE).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checksum {
    /// Kraken: ten best asks, then ten best bids; digits only, without leading zeros.
    Kraken(u32),
    /// OKX: 25 best levels, `bid:size:ask:size` in turn, the number taken as signed.
    Okx(i32),
}

/// A trade.
#[derive(Clone, Copy, Debug)]
pub(super) struct TradeMessage {
    pub(super) symbol: Symbol,
    pub(super) price: Scaled<Price>,
    pub(super) quantity: Scaled<Quantity>,
    pub(super) aggressor: Option<Side>,
    /// 0 if the exchange gives none.
    pub(super) trade_id: u64,
    pub(super) time: UnixNanos,
}

/// The best bid and offer as of an update of the book.
#[derive(Clone, Copy, Debug)]
pub(super) struct TopMessage {
    pub(super) symbol: Symbol,
    pub(super) update: u64,
    pub(super) bid: TextLevel,
    pub(super) ask: TextLevel,
    pub(super) time: Option<UnixNanos>,
}

/// Which record is read, for what is said when it cannot be.
#[derive(Clone, Copy, Debug)]
pub(super) struct At(pub(super) u64);

impl At {
    pub(super) fn price(self, text: &str) -> Result<Scaled<Price>, SourceError> {
        Scaled::parse(text).map_err(self.number("price"))
    }

    pub(super) fn quantity(self, text: &str) -> Result<Scaled<Quantity>, SourceError> {
        Scaled::parse(text).map_err(self.number("quantity"))
    }

    pub(super) fn level(self, price: &str, quantity: &str, orders: u32) -> Result<TextLevel, SourceError> {
        Ok(TextLevel { price: self.price(price)?, quantity: self.quantity(quantity)?, orders })
    }

    /// Adds a level to a book.
    ///
    /// There are asks in earnest exchanges at ten thousand million a piece. One at more than our prices can say is the worst of its side, so the
    /// book without it is right as far as it goes: it is counted and left out. Any other number out of range is an error.
    pub(super) fn push(
        self,
        book: &mut BookMessage,
        side: Side,
        (price, quantity, orders): (&str, &str, u32),
    ) -> Result<(), SourceError> {
        if side == Side::Sell
            && !price.starts_with('-')
            && Scaled::<Price>::parse(price) == Err(DecimalError::OutOfRange)
        {
            book.beyond += 1;
            return Ok(());
        }
        let level = self.level(price, quantity, orders)?;
        match side {
            Side::Buy => book.bids.push(level),
            Side::Sell => book.asks.push(level),
        }
        Ok(())
    }

    pub(super) fn symbol(self, text: &str) -> Result<Symbol, SourceError> {
        Symbol::new(text).map_err(|source| SourceError::SymbolName { symbol: text.to_owned(), source })
    }

    pub(super) fn unusable(self, field: &'static str) -> SourceError {
        SourceError::Unusable { record: self.0, field }
    }

    pub(super) fn malformed(self) -> impl Fn(serde_json::Error) -> SourceError {
        move |error| SourceError::Message { record: self.0, source: Box::new(error) }
    }

    /// Milliseconds since the Unix epoch.
    pub(super) fn milliseconds(self, ms: u64) -> Result<UnixNanos, SourceError> {
        ms.checked_mul(1_000_000).map(UnixNanos).ok_or(self.unusable("time"))
    }

    fn number(self, field: &'static str) -> impl Fn(DecimalError) -> SourceError {
        move |source| SourceError::Number { record: self.0, field, source }
    }
}
