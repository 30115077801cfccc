//! Why a source cannot be opened, or cannot go on.

use std::io;
use std::path::PathBuf;

use sealfeed_wire::DecimalError;
use sealfeed_wire::ident::IdentError;

use crate::types::{Code, MarketDepth, Symbol};

/// Why a source cannot be opened, or why it ended before its end. Records are counted from 1.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file cannot be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The file cannot be read on; damaged compression counts as this.
    #[error("cannot read the file after record {record}")]
    Read {
        /// The last record that could be read.
        record: u64,
        /// The system's or the decompressor's reason.
        #[source]
        source: io::Error,
    },
    /// The file ends inside its header.
    #[error("the file ends inside its header")]
    HeaderTruncated,
    /// The header announces more than we are ready to hold.
    #[error("the header announces {bytes} bytes, at most {max} are read")]
    HeaderTooLong {
        /// Bytes announced.
        bytes: u32,
        /// Bytes allowed.
        max: u32,
    },
    /// The header is not one of a DBN file of version 1 to 3.
    #[error("the file is no DBN file of version 1 to 3")]
    Header(#[source] Box<dbn::Error>),
    /// The file holds another kind of record than MBO, MBP-1 or trades.
    #[error("the file's schema is {found}, only mbo, mbp-1 and trades can be replayed")]
    Schema {
        /// The schema's name; `mixed` if the header names none.
        found: String,
    },
    /// The file has no record of any instrument.
    #[error("the file holds no record to replay")]
    Empty,
    /// The header names a symbol that our wire cannot carry.
    #[error("{symbol:?} cannot be a symbol")]
    SymbolName {
        /// The name.
        symbol: String,
        /// What is wrong with it.
        #[source]
        source: IdentError,
    },
    /// Two sources, or one source twice, name the same symbol.
    #[error("symbol {symbol} has a source already")]
    SymbolTaken {
        /// The symbol.
        symbol: Symbol,
    },
    /// The header gives an instrument two names, or a symbol two instruments (a roll, say): its book would be
    /// a mixture of both.
    #[error("the header's mapping of {name:?} is not one symbol for one instrument number")]
    Mapping {
        /// The number or symbol that has several counterparts, or is no number where one is due.
        name: String,
    },
    /// A record names an instrument that the header does not.
    #[error("instrument {number} has no symbol in the header")]
    InstrumentUnmapped {
        /// The recording's number.
        number: u32,
    },
    /// How many symbols a synthetic market can have.
    #[error("{count} symbols are configured, a synthetic market has 1 to {max}")]
    SymbolCount {
        /// Symbols configured.
        count: usize,
        /// Symbols allowed.
        max: usize,
    },
    /// The file ends inside a record.
    #[error("the file ends inside record {record}")]
    Truncated {
        /// The record that is cut off.
        record: u64,
    },
    /// A record cannot be decoded.
    #[error("record {record} cannot be decoded")]
    Malformed {
        /// Which record.
        record: u64,
        /// The decoder's reason.
        #[source]
        source: Box<dbn::Error>,
    },
    /// A record lacks, or has a value that makes no sense, in a field that its action needs.
    #[error("record {record} has no usable {field}")]
    Unusable {
        /// Which record.
        record: u64,
        /// Which field.
        field: &'static str,
    },
    /// A record was received before the one in front of it.
    #[error("record {record} is {by_ns} ns older than the one before it")]
    Backwards {
        /// Which record.
        record: u64,
        /// By how much, in nanoseconds.
        by_ns: u64,
    },
    /// A price has more decimals than the instrument was given from the start of the file.
    #[error("record {record} has a price of more than {decimals} decimals")]
    PriceTooFine {
        /// Which record.
        record: u64,
        /// Decimals of the instrument.
        decimals: u8,
    },
    /// Two venues report one instrument: their books cannot be told apart.
    #[error("record {record} comes from another venue than its instrument's first")]
    SeveralVenues {
        /// Which record.
        record: u64,
    },
    /// An event has more records than we are ready to hold.
    #[error("the event that ends after record {record} has more than {max} records")]
    EventTooLong {
        /// The last record read.
        record: u64,
        /// Records allowed.
        max: usize,
    },
    /// A line of recorded messages is not what its exchange sends.
    #[error("record {record} is not a message of the exchange")]
    Message {
        /// Which record.
        record: u64,
        /// Where it is otherwise.
        #[source]
        source: Box<serde_json::Error>,
    },
    /// A number is not one, or has more than nine decimals, or is out of range.
    #[error("record {record} has no usable {field}")]
    Number {
        /// Which record.
        record: u64,
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        #[source]
        source: DecimalError,
    },
    /// A number has more decimals than its instrument was given from the start of the file or by the configuration.
    #[error("record {record} has a {field} of more than {decimals} decimals")]
    TooFine {
        /// Which record.
        record: u64,
        /// Price or quantity.
        field: &'static str,
        /// Decimals of the instrument.
        decimals: u8,
    },
    /// A record is longer than we are ready to hold.
    #[error("record {record} is longer than {max} bytes")]
    RecordTooLong {
        /// Which record.
        record: u64,
        /// Bytes allowed.
        max: usize,
    },
    /// A configured symbol does not occur in the file.
    #[error("the file has nothing of {symbol}")]
    SymbolAbsent {
        /// The symbol.
        symbol: Symbol,
    },
    /// A message of a kind that the format does not have, or of another length than its kind has.
    #[error("record {record} is no ITCH 5.0 message: kind {kind:?}, {bytes} bytes")]
    NotItch {
        /// Which record.
        record: u64,
        /// Its first byte, as a character; a space when there is none.
        kind: char,
        /// Its length.
        bytes: usize,
    },
    /// A record is about an order that does not rest, or adds one that does.
    #[error("record {record} cannot be about order {order}: {why}")]
    Order {
        /// Which record.
        record: u64,
        /// The exchange's number of the order.
        order: u64,
        /// What is wrong.
        why: &'static str,
    },
    /// More orders rest than we are ready to hold.
    #[error("record {record}: more than {max} orders rest")]
    OrdersFull {
        /// Which record.
        record: u64,
        /// Orders allowed.
        max: usize,
    },
    /// A publisher is configured with a name that no principal can have.
    #[error("{principal:?} is no principal: firm/user")]
    Principal {
        /// The name, escaped.
        principal: String,
    },
    /// Tick, lot or band of the synthetic market's symbols cannot be.
    #[error("the synthetic market cannot have this {what}")]
    InstrumentInvalid {
        /// Which of them, and what it may be.
        what: &'static str,
    },
    /// Orders are to be filled on paper where no book shows what they could be filled against.
    #[error("{symbol} cannot be traded on paper: its source shows no book, leave `paper` out")]
    PaperWithoutBook {
        /// The symbol.
        symbol: Symbol,
    },
    /// The timer of the source's thread cannot be started.
    #[error("cannot start the source's timer")]
    Timer(#[source] io::Error),
}

impl SourceError {
    /// The stable code of a source that cannot go on. One that cannot be opened is `SF-CFG-013` whatever the reason, but for
    /// instruments that cannot be: `SF-CFG-015`.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Truncated { .. } | Self::HeaderTruncated => Code::PubSourceTruncated,
            Self::Backwards { .. } => Code::PubSequenceBackwards,
            Self::Malformed { .. }
            | Self::Unusable { .. }
            | Self::PriceTooFine { .. }
            | Self::SeveralVenues { .. }
            | Self::EventTooLong { .. }
            | Self::InstrumentUnmapped { .. }
            | Self::Message { .. }
            | Self::Number { .. }
            | Self::TooFine { .. }
            | Self::RecordTooLong { .. }
            | Self::NotItch { .. }
            | Self::Order { .. }
            | Self::OrdersFull { .. } => Code::PubRecordUnusable,
            Self::Open { .. }
            | Self::Read { .. }
            | Self::HeaderTooLong { .. }
            | Self::Header(_)
            | Self::Schema { .. }
            | Self::Empty
            | Self::SymbolName { .. }
            | Self::SymbolTaken { .. }
            | Self::SymbolAbsent { .. }
            | Self::Mapping { .. }
            | Self::SymbolCount { .. }
            | Self::Principal { .. }
            | Self::Timer(_) => Code::PubSourceUnreadable,
            Self::InstrumentInvalid { .. } | Self::PaperWithoutBook { .. } => Code::CfgInstrumentInvalid,
        }
    }
}

/// Refuses an instrument that is to be traded on paper and has no book.
pub(super) fn check_paper(paper: bool, symbol: Symbol, depth: MarketDepth) -> Result<(), SourceError> {
    if paper && !depth.has_book() { Err(SourceError::PaperWithoutBook { symbol }) } else { Ok(()) }
}
