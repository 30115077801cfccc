//! What `watch` writes to standard output: JSON lines, rows, or the ladder; and losses in plain words.

use std::io::{IsTerminal as _, Write as _};

use sealfeed_client::{Event, GapOrigin, Market};
use sealfeed_wire::decimal::{Price, Quantity};
use sealfeed_wire::market::{
    BookDecimals, BookMessage, Delta, Exec, Gap, Snapshot, encode_bbo, encode_definition, encode_delta,
    encode_exec, encode_gap, encode_heartbeat, encode_interval_end, encode_mbo, encode_mbo_snapshot,
    encode_ohlcv, encode_skipped, encode_slow, encode_snapshot, encode_stale, encode_status, encode_trade,
};
use sealfeed_wire::reply::Encode as _;

use super::ladder::Picture;
use super::rows;
use super::{Output, Problem, plain_lines, write_problem};

/// Where and how data is written.
pub(super) struct Screen {
    is_json: bool,
    is_terminal: bool,
    has_ladder: bool,
    decimals: BookDecimals,
    /// Lines of the ladder that stand on the terminal, to be drawn over.
    ladder_lines: usize,
    has_heading: bool,
}

impl Screen {
    pub(super) fn new(output: Output, has_ladder: bool, decimals: BookDecimals) -> Self {
        let is_terminal = std::io::stdout().is_terminal();
        let is_json = match output {
            Output::Auto => !is_terminal,
            Output::Table => false,
            Output::Json => true,
        };
        Self { is_json, is_terminal, has_ladder, decimals, ladder_lines: 0, has_heading: false }
    }

    /// Whether the ladder is drawn in place, over and over.
    pub(super) fn is_redrawn(&self) -> bool {
        self.is_terminal && !self.is_json && self.has_ladder
    }

    /// Writes an event as a JSON line, if that is the form: as the server sent it.
    pub(super) fn json(&self, event: &Event) -> Result<(), Problem> {
        if !self.is_json {
            return Ok(());
        }
        let mut line = Vec::with_capacity(512);
        match event {
            Event::Market(market) => encode_market(&mut line, market, self.decimals),
            Event::DropCopy(report) => encode_exec(&mut line, report),
            Event::Heartbeat(heartbeat) => encode_heartbeat(&mut line, heartbeat),
            Event::IntervalEnd(end) => encode_interval_end(&mut line, end),
            Event::Stale(stale) => encode_stale(&mut line, stale),
            Event::Gap { gap, origin } => encode_origin(&mut line, gap, *origin),
            Event::Skipped(skipped) => encode_skipped(&mut line, skipped),
            Event::Slow(slow) => encode_slow(&mut line, slow),
            Event::Entitlement(changed) => changed.encode(&mut line),
            _ => return Ok(()),
        }
        line.push(b'\n');
        let line = String::from_utf8_lossy(&line);
        std::io::stdout().write_all(plain_lines(&line).as_bytes()).map_err(|error| write_problem(&error))
    }

    /// Writes a message of any channel but the book as a row, if that is the form.
    pub(super) fn row(&mut self, market: &Market) -> Result<(), Problem> {
        if self.is_json {
            return Ok(());
        }
        rows::of(market, self.decimals).map_or(Ok(()), |row| self.headed(&row))
    }

    /// Writes a report of a drop copy as a row, if that is the form.
    pub(super) fn copy(&mut self, report: &Exec) -> Result<(), Problem> {
        if self.is_json { Ok(()) } else { self.headed(&rows::of_copy(report)) }
    }

    /// Writes a row; its heading, too, if it is the first.
    fn headed(&mut self, (heading, row): &(String, String)) -> Result<(), Problem> {
        if !self.has_heading {
            self.has_heading = true;
            self.write(&format!("{heading}\n"))?;
        }
        self.write(&format!("{row}\n"))
    }

    /// Draws the ladder: over the last one on a terminal, below it elsewhere.
    pub(super) fn ladder(&mut self, picture: &Picture<'_>) -> Result<(), Problem> {
        if self.is_json || !self.has_ladder {
            return Ok(());
        }
        let text = picture.render();
        if self.is_terminal {
            // Cursor movement is no colour: it stays when colours are switched off, so it goes around the filter.
            let up =
                if self.ladder_lines > 0 { format!("\u{1b}[{}A", self.ladder_lines) } else { String::new() };
            let moved = std::io::stdout().write_all(format!("{up}\r\u{1b}[0J").as_bytes());
            moved.map_err(|error| write_problem(&error))?;
        }
        self.ladder_lines = text.lines().count();
        self.write(&text)
    }

    fn write(&self, text: &str) -> Result<(), Problem> {
        let mut out = anstream::stdout();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| write_problem(&error))
    }
}

/// An event that whoever looks at the data must know of, in plain words.
pub(super) fn notice(event: &Event) -> Option<String> {
    match event {
        Event::Gap { gap, origin } => {
            let by = match origin {
                GapOrigin::Announced => "the server says so",
                GapOrigin::Detected => "found by this client",
            };
            Some(format!("GAP: {} are missing ({by})", range(gap)))
        }
        Event::Skipped(skipped) => {
            Some(format!("SKIPPED: {} were left out, we read too slowly", range(skipped)))
        }
        Event::Stale(stale) => {
            let stream = stale.stream;
            Some(format!(
                "STALE: the source of {} {} stalls; what is shown may be old",
                stream.channel, stream.symbol
            ))
        }
        Event::Repeated { stream, seq } => {
            Some(format!("REPEATED: message {seq} of {} {} was withheld", stream.channel, stream.symbol))
        }
        Event::Slow(slow) => Some(format!(
            "SLOW: {} of {} bytes wait for us at the server; at the limit it closes",
            slow.queue_bytes, slow.queue_bytes_max
        )),
        Event::Entitlement(changed) => {
            let ended: usize = changed.ended.iter().map(|ended| ended.symbols.len()).sum();
            let moved: usize = changed.changed.iter().map(|changed| changed.symbols.len()).sum();
            Some(format!(
                "ENTITLEMENT: an operator has changed it; {ended} subscriptions ended, {moved} go on with another delay"
            ))
        }
        Event::ServerShutdown(notice) => {
            Some(format!("the server shuts down; connect again in {} ms", notice.retry_after_ms))
        }
        _ => None,
    }
}

fn range(gap: &Gap) -> String {
    format!("messages {} to {} of {} {}", gap.from, gap.to, gap.stream.channel, gap.stream.symbol)
}

fn encode_market(line: &mut Vec<u8>, market: &Market, decimals: BookDecimals) {
    match market {
        Market::Trade(trade) => encode_trade(line, trade, decimals),
        Market::Bbo(bbo) => encode_bbo(line, bbo, decimals),
        Market::Mbo(mbo) => encode_mbo(line, mbo, decimals),
        Market::MboSnapshot(part) => encode_mbo_snapshot(line, part, decimals),
        Market::Ohlcv(bar) => encode_ohlcv(line, bar, decimals),
        Market::Status(status) => encode_status(line, status),
        Market::Definition(definition) => encode_definition(line, definition),
        Market::Snapshot(BookMessage { header, bids, asks, checksum }) => {
            let checksum = checksum.unwrap_or_default();
            encode_snapshot(line, &Snapshot { header: *header, bids, asks, checksum }, decimals);
        }
        Market::Delta(BookMessage { header, bids, asks, checksum }) => {
            encode_delta(line, &Delta { header: *header, bids, asks, checksum: *checksum }, decimals);
        }
        _ => {}
    }
}

/// A gap; one that the server did not announce says who found it.
fn encode_origin(line: &mut Vec<u8>, gap: &Gap, origin: GapOrigin) {
    encode_gap(line, gap);
    if origin == GapOrigin::Detected && line.pop() == Some(b'}') {
        line.extend_from_slice(b",\"found_by\":\"client\"}");
    }
}

pub(in crate::cli) fn price(price: Price, decimals: BookDecimals) -> String {
    let mut text = Vec::new();
    price.write(&mut text, decimals.price);
    String::from_utf8_lossy(&text).into_owned()
}

pub(in crate::cli) fn quantity(quantity: Quantity, decimals: BookDecimals) -> String {
    let mut text = Vec::new();
    quantity.write(&mut text, decimals.quantity);
    String::from_utf8_lossy(&text).into_owned()
}
