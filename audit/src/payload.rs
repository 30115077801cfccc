//! Payloads of entries that report on the log's keeping and on what the application knows: digests of its state, legal holds, copies
//! elsewhere, and links to other logs.
//!
//! Text as all of the log's own payloads, specified in `FORMAT.md`.

use crate::chain::Hash;
use crate::fields::{FieldsReader, FieldsWriter};

const STATE_HASH_TITLE: &str = "sealfeed/v1 state-hash";

/// Payload of a `STATE_HASH` entry: what a re-execution of the inputs before it must arrive at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateHash {
    /// What is digested and how, in the application's words, such as `venue/1`: no spaces, no control characters.
    pub of: String,
    /// Inputs taken since the state was new.
    pub inputs: u64,
    /// The digest.
    pub digest: Hash,
}

impl StateHash {
    /// The payload.
    #[must_use]
    pub fn to_payload(&self) -> Vec<u8> {
        FieldsWriter::new(STATE_HASH_TITLE)
            .text("of", &self.of)
            .number("inputs", self.inputs)
            .hash("digest", &self.digest)
            .finish()
            .into_bytes()
    }

    /// Reads the payload of a `STATE_HASH` entry; `None` when it is not one.
    #[must_use]
    pub fn from_payload(payload: &[u8]) -> Option<Self> {
        let mut fields = FieldsReader::new(std::str::from_utf8(payload).ok()?, STATE_HASH_TITLE)?;
        let state = Self {
            of: fields.text("of")?.to_owned(),
            inputs: fields.number("inputs")?,
            digest: fields.hash("digest")?,
        };
        fields.finish()?;
        Some(state)
    }
}

const STORED_TITLE: &str = "sealfeed/v1 stored";

/// Payload of a `STORED` entry: a sealed segment was copied elsewhere, and the copy was read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// First sequence number of the segment.
    pub first: u64,
    /// One past its last.
    pub end: u64,
    /// SHA-256 of the whole file.
    pub sha256: Hash,
    /// Where the copy is: a URL without secrets.
    pub place: String,
}

impl Stored {
    /// The payload.
    #[must_use]
    pub fn to_payload(&self) -> Vec<u8> {
        FieldsWriter::new(STORED_TITLE)
            .number("first", self.first)
            .number("end", self.end)
            .hash("sha256", &self.sha256)
            .text("where", &self.place)
            .finish()
            .into_bytes()
    }

    /// Reads the payload of a `STORED` entry; `None` when it is not one.
    #[must_use]
    pub fn from_payload(payload: &[u8]) -> Option<Self> {
        let mut fields = FieldsReader::new(std::str::from_utf8(payload).ok()?, STORED_TITLE)?;
        let stored = Self {
            first: fields.number("first")?,
            end: fields.number("end")?,
            sha256: fields.hash("sha256")?,
            place: fields.text("where")?.to_owned(),
        };
        fields.finish()?;
        is_line(&stored.place, PLACE_BYTES_MAX).then_some(stored)
    }
}

const HOLD_TITLE: &str = "sealfeed/v1 hold";
/// Longest name of a hold and of who sets it, bytes.
pub const HOLD_NAME_BYTES_MAX: usize = 128;
/// Longest reason of a hold, bytes.
pub const HOLD_REASON_BYTES_MAX: usize = 1_024;
const PLACE_BYTES_MAX: usize = 2_048;

/// What a legal hold keeps from being pruned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldRange {
    /// Everything.
    All,
    /// Entries from `first` up to, not including, `end`.
    Entries {
        /// The first one.
        first: u64,
        /// One past the last.
        end: u64,
    },
    /// Entries of this time, UTC nanoseconds, from `from` up to, not including, `until`.
    Time {
        /// From when.
        from: u64,
        /// Until when.
        until: u64,
    },
}

/// Payload of a `HOLD` entry: a legal hold is set (with a range) or lifted (without).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Its name, by which it is lifted.
    pub name: String,
    /// What it holds; `None` lifts it.
    pub range: Option<HoldRange>,
    /// Who asks for it.
    pub by: String,
    /// Why.
    pub reason: String,
}

impl Hold {
    /// The payload; `None` where a text is empty, too long, or has control characters, or a range is empty.
    #[must_use]
    pub fn to_payload(&self) -> Option<Vec<u8>> {
        let (range, from, until) = match self.range {
            None => ("none", 0, 0),
            Some(HoldRange::All) => ("all", 0, 0),
            Some(HoldRange::Entries { first, end }) => ("entries", first, end),
            Some(HoldRange::Time { from, until }) => ("time", from, until),
        };
        let text = FieldsWriter::new(HOLD_TITLE)
            .text("action", if self.range.is_some() { "set" } else { "lift" })
            .text("name", &self.name)
            .text("range", range)
            .number("from", from)
            .number("until", until)
            .text("by", &self.by)
            .text("reason", &self.reason)
            .finish();
        // What cannot be read back is not written.
        (Self::from_payload(text.as_bytes()).as_ref() == Some(self)).then(|| text.into_bytes())
    }

    /// Reads the payload of a `HOLD` entry; `None` when it is not one.
    #[must_use]
    pub fn from_payload(payload: &[u8]) -> Option<Self> {
        let mut fields = FieldsReader::new(std::str::from_utf8(payload).ok()?, HOLD_TITLE)?;
        let action = fields.text("action")?;
        let name = fields.text("name")?.to_owned();
        let (range, from, until) = (fields.text("range")?, fields.number("from")?, fields.number("until")?);
        let range = match (action, range) {
            ("lift", "none") if (from, until) == (0, 0) => None,
            ("set", "all") if (from, until) == (0, 0) => Some(HoldRange::All),
            ("set", "entries") if from < until => Some(HoldRange::Entries { first: from, end: until }),
            ("set", "time") if from < until => Some(HoldRange::Time { from, until }),
            _ => return None,
        };
        let hold = Self {
            name,
            range,
            by: fields.text("by")?.to_owned(),
            reason: fields.text("reason")?.to_owned(),
        };
        fields.finish()?;
        let fits = is_line(&hold.name, HOLD_NAME_BYTES_MAX)
            && is_line(&hold.by, HOLD_NAME_BYTES_MAX)
            && is_line(&hold.reason, HOLD_REASON_BYTES_MAX);
        fits.then_some(hold)
    }
}

const TAPE_LINK_TITLE: &str = "sealfeed/v1 tape-link";
/// Longest origin of a log, bytes.
const ORIGIN_BYTES_MAX: usize = 255;
const REASON_BYTES_MAX: usize = 64;

/// Payload of a `TAPE_LINK` entry: how far another log had got when this entry was written, as its own checkpoint says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapeLink {
    /// The other log.
    pub log: Hash,
    /// Its name.
    pub origin: String,
    /// Size of its checkpoint: entries.
    pub size: u64,
    /// Root of its tree at that size.
    pub root: Hash,
    /// Why the link was written, one word of the application's.
    pub reason: String,
    /// The application's epoch in the other log; 0 if it has none.
    pub epoch: u64,
    /// What the application counts in that epoch, up to the checkpoint.
    pub count: u64,
}

impl TapeLink {
    /// The payload.
    #[must_use]
    pub fn to_payload(&self) -> Vec<u8> {
        FieldsWriter::new(TAPE_LINK_TITLE)
            .hash("log", &self.log)
            .text("origin", &self.origin)
            .number("size", self.size)
            .hash("root", &self.root)
            .text("reason", &self.reason)
            .number("epoch", self.epoch)
            .number("count", self.count)
            .finish()
            .into_bytes()
    }

    /// Reads the payload of a `TAPE_LINK` entry; `None` when it is not one.
    #[must_use]
    pub fn from_payload(payload: &[u8]) -> Option<Self> {
        let mut fields = FieldsReader::new(std::str::from_utf8(payload).ok()?, TAPE_LINK_TITLE)?;
        let link = Self {
            log: fields.hash("log")?,
            origin: fields.text("origin")?.to_owned(),
            size: fields.number("size")?,
            root: fields.hash("root")?,
            reason: fields.text("reason")?.to_owned(),
            epoch: fields.number("epoch")?,
            count: fields.number("count")?,
        };
        fields.finish()?;
        let fits = is_line(&link.origin, ORIGIN_BYTES_MAX)
            && is_line(&link.reason, REASON_BYTES_MAX)
            && !link.reason.contains(' ');
        fits.then_some(link)
    }
}

fn is_line(text: &str, bytes_max: usize) -> bool {
    !text.is_empty() && text.len() <= bytes_max && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_hash_reads_back_and_nothing_may_follow_it() {
        let state = StateHash { of: "venue/1".to_owned(), inputs: 10_000, digest: [7; 32] };
        let payload = state.to_payload();
        assert_eq!(StateHash::from_payload(&payload), Some(state));
        assert_eq!(StateHash::from_payload(&[&payload[..], b"\n"].concat()), None);
        assert_eq!(StateHash::from_payload(&payload[..payload.len() - 1]), None);
        assert_eq!(StateHash::from_payload(b"\xff"), None);
    }

    #[test]
    fn a_link_to_another_log_reads_back_and_has_one_form() {
        let link = TapeLink {
            log: [1; 32],
            origin: "log.example/audit/tape".to_owned(),
            size: 70_000,
            root: [2; 32],
            reason: "interval".to_owned(),
            epoch: u64::MAX,
            count: 12,
        };
        let payload = link.to_payload();
        assert_eq!(TapeLink::from_payload(&payload), Some(link.clone()));
        assert_eq!(TapeLink::from_payload(&payload[1..]), None);
        assert_eq!(TapeLink::from_payload(&[&payload[..], b"more 1\n"].concat()), None);
        for wrong in ["", "two words", "a\u{7}"] {
            let payload = TapeLink { reason: wrong.to_owned(), ..link.clone() }.to_payload();
            assert_eq!(TapeLink::from_payload(&payload), None, "{wrong:?}");
        }
    }

    #[test]
    fn holds_and_copies_read_back_and_nothing_that_is_no_line_is_written() {
        let ranges = [
            None,
            Some(HoldRange::All),
            Some(HoldRange::Entries { first: 3, end: 9 }),
            Some(HoldRange::Time { from: 1, until: 2 }),
        ];
        for range in ranges {
            let hold = Hold { name: "case 7".into(), range, by: "ann".into(), reason: "a lawsuit".into() };
            let payload = hold.to_payload().unwrap();
            assert_eq!(Hold::from_payload(&payload), Some(hold.clone()));
            for bad in ["", "two\nlines", "\u{1b}[2J", &"x".repeat(2_000)] {
                assert_eq!(Hold { name: bad.to_owned(), ..hold.clone() }.to_payload(), None);
                assert_eq!(Hold { reason: bad.to_owned(), ..hold.clone() }.to_payload(), None);
            }
        }
        let empty = Some(HoldRange::Entries { first: 9, end: 9 });
        let hold = Hold { name: "n".into(), range: empty, by: "b".into(), reason: "r".into() };
        assert_eq!(hold.to_payload(), None);
        let stored = Stored { first: 0, end: 7, sha256: [1; 32], place: "file:///copies".to_owned() };
        assert_eq!(Stored::from_payload(&stored.to_payload()), Some(stored));
    }
}
