//! The check without which the figures would mean nothing: every stream of every subscriber is without a gap.

use std::collections::HashMap;

/// Where each stream of a subscriber stands.
#[derive(Default)]
pub(crate) struct Sequences {
    /// By channel and symbol as they stand in the message: the last `seq`.
    streams: HashMap<Vec<u8>, u64>,
}

impl Sequences {
    /// Checks a message against its stream. Whether it was market data.
    ///
    /// The server writes the fields of the header in one order, so that they are found without a parser.
    pub(crate) fn take(&mut self, message: &[u8]) -> bool {
        // A warning to this reader that its queue is half full; the bench fails if it ever comes to a close.
        if message.starts_with(b"{\"type\":\"slow\"") {
            return false;
        }
        let text = || String::from_utf8_lossy(message).into_owned();
        let Some(key_start) = find(message, b"\"channel\":", 0) else {
            panic!("not of a stream: {}", text())
        };
        let Some(key_end) = find(message, b"\"seq\":", key_start) else { panic!("without seq: {}", text()) };
        let key = &message[key_start..key_end];
        let (seq, behind) = integer(message, key_end + b"\"seq\":".len());
        let previous = b",\"prev_seq\":";
        let rest = &message[behind..];
        let has_previous = rest.starts_with(previous);
        let starts_afresh = has_previous && rest[previous.len()..].starts_with(b"null");
        let known = self.streams.get_mut(key);
        match known {
            Some(last) if starts_afresh => *last = seq,
            Some(last) if has_previous => {
                let (prev_seq, _) = integer(rest, previous.len());
                assert_eq!((prev_seq, seq), (*last, *last + 1), "a gap: {}", text());
                *last = seq;
            }
            // Heartbeats and notices say where the stream stands.
            Some(last) => assert_eq!(seq, *last, "a gap before a notice: {}", text()),
            None => drop(self.streams.insert(key.to_vec(), seq)),
        }
        has_previous
    }
}

fn find(bytes: &[u8], wanted: &[u8], from: usize) -> Option<usize> {
    bytes.get(from..)?.windows(wanted.len()).position(|window| window == wanted).map(|place| from + place)
}

/// The integer at `start`, and where it ends.
fn integer(bytes: &[u8], start: usize) -> (u64, usize) {
    let digits = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit());
    let (value, count) =
        digits.fold((0, 0), |(value, count), digit| (value * 10 + u64::from(digit - b'0'), count + 1));
    (value, start + count)
}
