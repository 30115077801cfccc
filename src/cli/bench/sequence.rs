//! What a load client reads of a message: its stream, its place in it, and when it was published. Nothing else, without a parser.
//!
//! The server writes the fields of the header in one order, so that they are found by their names. `benches/fanout` uses this file too:
//! it names nothing of this crate.

use std::collections::HashMap;

/// Streams that are followed; of more the sequence is not checked.
const STREAMS_MAX: usize = 100_000;

/// What a message was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Market data. Before it so many messages of its stream did not come.
    Data {
        /// Missing messages.
        missing: u64,
    },
    /// A heartbeat, a gap or another notice that says where a stream stands. So many messages of it did not come.
    Notice {
        /// Missing messages.
        missing: u64,
    },
    /// Of no stream: a reply, a warning.
    Other,
}

/// Where each stream of a subscriber stands.
#[derive(Debug, Default)]
pub(crate) struct Sequences {
    /// The last `seq`, by channel, symbol and epoch as they stand in the message.
    streams: HashMap<Vec<u8>, u64>,
}

impl Sequences {
    /// Holds a message against its stream.
    pub(crate) fn take(&mut self, message: &[u8]) -> Taken {
        let Some(start) = find(message, b"\"channel\":", 0) else { return Taken::Other };
        let Some(end) = find(message, b"\"seq\":", start) else { return self.left_out(message, start) };
        let key = message.get(start..end).unwrap_or_default();
        let (seq, behind) = integer(message, end + b"\"seq\":".len());
        let rest = message.get(behind..).unwrap_or_default();
        let previous = rest.strip_prefix(b",\"prev_seq\":");
        let missing = match (self.streams.get_mut(key), previous) {
            (Some(last), Some(previous)) if previous.starts_with(b"null") => {
                *last = seq;
                0
            }
            (Some(last), _) => {
                let expected = if previous.is_some() { last.saturating_add(1) } else { *last };
                *last = seq;
                seq.abs_diff(expected)
            }
            (None, _) => {
                if self.streams.len() < STREAMS_MAX {
                    self.streams.insert(key.to_vec(), seq);
                }
                0
            }
        };
        if previous.is_some() { Taken::Data { missing } } else { Taken::Notice { missing } }
    }

    /// A `gap` or `skipped`: the server's own word on what does not come, and where its stream goes on.
    fn left_out(&mut self, message: &[u8], start: usize) -> Taken {
        let range =
            find(message, b"\"from\":", start).and_then(|end| Some((end, find(message, b"\"to\":", end)?)));
        let Some((end, to)) = range else { return Taken::Other };
        let ((from, _), (to, _)) =
            (integer(message, end + b"\"from\":".len()), integer(message, to + b"\"to\":".len()));
        if let Some(last) = self.streams.get_mut(message.get(start..end).unwrap_or_default()) {
            *last = to;
        }
        Taken::Notice { missing: to.saturating_sub(from).saturating_add(1) }
    }
}

/// When the feed published a message, by its own words, nanoseconds since 1970.
pub(crate) fn ts_out(message: &[u8]) -> Option<u64> {
    const FIELD: &[u8] = b"\"ts_out\":\"";
    let start = find(message, FIELD, 0)? + FIELD.len();
    let (value, end) = integer(message, start);
    (end > start).then_some(value)
}

fn find(bytes: &[u8], wanted: &[u8], from: usize) -> Option<usize> {
    bytes.get(from..)?.windows(wanted.len()).position(|window| window == wanted).map(|place| from + place)
}

/// The integer at `start`, and where it ends.
fn integer(bytes: &[u8], start: usize) -> (u64, usize) {
    let digits = bytes.get(start..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold((0, start), |(value, end), digit| {
        (value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')), end + 1)
    })
}
