//! Recorded WebSocket messages of an exchange, a line each: Kraken, OKX, Binance, Coinbase.
//!
//! An exchange's own file turns its JSON into [`message::Message`]s; everything else is the same for all: lines and their times (`line`), what the file
//! tells of its instruments (`survey`), and the books with their checksums and sequences (`books`). A book is checked after each update, before any
//! of it is handed on: an update that breaks the exchange's rule makes the instrument stale, and nothing of its book follows until
//! the exchange's next snapshot. A line that cannot be read ends the source.

mod binance;
mod books;
mod coinbase;
mod kraken;
mod ladder;
mod line;
mod message;
mod okx;
mod survey;

use std::path::PathBuf;

use crate::config::MessagesSourceConfig;
use crate::types::{InstrumentId, Instruments, MarketEvent, TimeArithmetic, UnixNanos};

use super::batch::RecordCounts;
use super::error::SourceError;
use super::replay::{EVENT_RECORDS_MAX, Notice, Read, Records};

use books::Books;
use line::{Content, Line, Lines};
use message::{At, Message};

/// Whose messages these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exchange {
    Kraken,
    Okx,
    Binance,
    Coinbase,
}

impl Exchange {
    /// Appends what a line's message says. A fault in a line that may be cut off is the cut.
    fn read(self, line: &Line<'_>, text: &[u8], out: &mut Vec<Message>) -> Result<(), SourceError> {
        let at = At(line.record);
        let result = match self {
            Self::Kraken => kraken::read(text, at, out),
            Self::Okx => okx::read(text, at, out),
            Self::Binance => binance::read(text, at, out),
            Self::Coinbase => coinbase::read(text, at, out),
        };
        match result {
            Err(SourceError::Message { .. }) if line.is_open => {
                Err(SourceError::Truncated { record: line.record })
            }
            other => other,
        }
    }
}

/// A recording that is open, with its instruments registered.
#[derive(Debug)]
struct Recording {
    path: PathBuf,
    exchange: Exchange,
    lines: Lines,
    books: Books,
    /// Receipt of the latest line.
    latest: UnixNanos,
    /// Room for the messages of one line.
    messages: Vec<Message>,
}

/// Opens a recording.
pub(super) fn open(
    exchange: Exchange,
    config: &MessagesSourceConfig,
    instruments: &mut Instruments,
) -> Result<Box<dyn Records + Send>, SourceError> {
    let recorded = survey::register(exchange, config, instruments)?;
    Ok(Box::new(Recording {
        path: config.path.clone(),
        exchange,
        lines: Lines::open(&config.path)?,
        books: Books::new(recorded),
        latest: UnixNanos::default(),
        messages: Vec::new(),
    }))
}

impl Records for Recording {
    /// A line is an event, or several of several instruments, or none.
    fn read(&mut self, event: &mut Vec<MarketEvent>, notices: &mut Vec<Notice>) -> Result<Read, SourceError> {
        event.clear();
        let Some(line) = self.lines.next()? else { return Ok(Read::End(None)) };
        let record = line.record;
        let (received, text) = match line.content {
            Content::Message { received, text } => (received, text),
            Content::Connected => {
                self.books.reconnected(record, notices);
                return Ok(Read::Event(None));
            }
            Content::Sent => return Ok(Read::Event(None)),
        };
        let by_ns = self.latest.since(received);
        if by_ns > 0 {
            return Err(SourceError::Backwards { record, by_ns });
        }
        self.latest = received;
        self.messages.clear();
        self.exchange.read(&line, text, &mut self.messages)?;
        if self.messages.is_empty() {
            self.books.count_other();
        }
        for message in self.messages.drain(..) {
            self.books.take(record, received, message, event, notices)?;
        }
        if event.len() > EVENT_RECORDS_MAX {
            return Err(SourceError::EventTooLong { record, max: EVENT_RECORDS_MAX });
        }
        Ok(Read::Event(Some(received)))
    }

    fn counts(&self) -> RecordCounts {
        self.books.counts()
    }

    fn books(&self) -> Vec<InstrumentId> {
        self.books.with_books()
    }

    fn rewind(&mut self) -> Result<(), SourceError> {
        self.lines = Lines::open(&self.path)?;
        self.books.restart();
        self.latest = UnixNanos::default();
        Ok(())
    }
}
