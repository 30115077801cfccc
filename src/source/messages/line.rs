//! The lines of a recording of WebSocket messages: when a message came, and its text.
//!
//! Two forms, told apart by the colon: `1618678132.8253062: {...}` (seconds with a fraction, as `cryptofeed` records) and
//! `1723161253937085768 {...}` (nanoseconds, as `hftbacktest` records). Of the former, `wss://... <-> time` notes a new connection and
//! `wss://... <- time: {...}` what was sent. Empty lines say nothing.

use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::Path;

use crate::types::UnixNanos;

use super::super::error::SourceError;
use super::super::file::{self, Bytes};

/// Longest line that is read, in bytes: a snapshot of some hundred thousand levels.
pub(super) const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A file, read line by line. Lines are counted from 1: these are the records of this kind of recording.
pub(super) struct Lines {
    reader: BufReader<Bytes>,
    line: Vec<u8>,
    records: u64,
}

/// One line that says something.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// Its number in the file.
    pub(super) record: u64,
    /// What it is.
    pub(super) content: Content<'a>,
    /// Whether the file ends without ending the line: it may be cut off.
    pub(super) is_open: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content<'a> {
    /// The exchange sent this.
    Message { received: UnixNanos, text: &'a [u8] },
    /// The recorder connected.
    Connected,
    /// The recorder sent something.
    Sent,
}

impl Lines {
    pub(super) fn open(path: &Path) -> Result<Self, SourceError> {
        Ok(Self { reader: BufReader::new(file::open(path)?), line: Vec::new(), records: 0 })
    }

    /// How many lines were read.
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// The next line that says something; `None` at the end of the file.
    pub(super) fn next(&mut self) -> Result<Option<Line<'_>>, SourceError> {
        loop {
            self.line.clear();
            let record = self.records + 1;
            let limit = LINE_BYTES_MAX as u64 + 1;
            let bytes =
                (&mut self.reader).take(limit).read_until(b'\n', &mut self.line).map_err(|source| {
                    match source.kind() {
                        ErrorKind::UnexpectedEof => SourceError::Truncated { record },
                        _ => SourceError::Read { record: self.records, source },
                    }
                })?;
            if bytes == 0 {
                return Ok(None);
            }
            if bytes > LINE_BYTES_MAX {
                return Err(SourceError::RecordTooLong { record, max: LINE_BYTES_MAX });
            }
            self.records = record;
            if !self.line.trim_ascii().is_empty() {
                break;
            }
        }
        let is_open = self.line.last() != Some(&b'\n');
        let record = self.records;
        let content = content(self.line.trim_ascii()).ok_or(if is_open {
            SourceError::Truncated { record }
        } else {
            SourceError::Unusable { record, field: "time of receipt" }
        })?;
        Ok(Some(Line { record, content, is_open }))
    }
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines").field("records", &self.records).finish_non_exhaustive()
    }
}

fn content(line: &[u8]) -> Option<Content<'_>> {
    let mut words = line.splitn(2, |byte| *byte == b' ');
    let (first, rest) = (words.next()?, words.next()?);
    if first.starts_with(b"wss://") || first.starts_with(b"https://") {
        return match rest {
            [b'<', b'-', b'>', b' ', ..] => Some(Content::Connected),
            [b'<', b'-', b' ', ..] => Some(Content::Sent),
            _ => None,
        };
    }
    let received = match first {
        [seconds @ .., b':'] => seconds_of(std::str::from_utf8(seconds).ok()?)?,
        nanos => UnixNanos(digits(std::str::from_utf8(nanos).ok()?)?),
    };
    Some(Content::Message { received, text: rest })
}

/// Seconds since the Unix epoch with up to nine decimals, exactly.
pub(super) fn seconds_of(text: &str) -> Option<UnixNanos> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if fraction.len() > 9 {
        return None;
    }
    let scale = 10_u64.pow(9 - u32::try_from(fraction.len()).ok()?);
    let nanos = digits(seconds)?.checked_mul(1_000_000_000)?.checked_add(digits(fraction)? * scale)?;
    Some(UnixNanos(nanos))
}

/// A number of digits alone: `parse` would take a sign too.
pub(super) fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_line_give_the_time_exactly() {
        let check = |line: &str| content(line.as_bytes()).map(|content| format!("{content:?}"));
        let message = |nanos: u64, text: &str| {
            format!("{:?}", Content::Message { received: UnixNanos(nanos), text: text.as_bytes() })
        };
        assert_eq!(check("1618678132.8253062: {}"), Some(message(1_618_678_132_825_306_200, "{}")));
        assert_eq!(check("1618678132: [1]"), Some(message(1_618_678_132_000_000_000, "[1]")));
        assert_eq!(
            check("1723161253937085768 {\"a\":1}"),
            Some(message(1_723_161_253_937_085_768, "{\"a\":1}"))
        );
        assert_eq!(check("wss://x <-> 1618678132.3"), Some("Connected".into()));
        assert_eq!(check("wss://x <- 1618678132.3: {}"), Some("Sent".into()));
        for damaged in
            ["", "16", "x: {}", "1.0123456789: {}", "-1: {}", "+1 {}", "1.: {}", "wss://x 1", "1,5: {}"]
        {
            assert_eq!(check(damaged), None, "{damaged:?}");
        }
    }
}
