//! The quick way through an object as nearly every client writes it: no white space, no escapes, each key known and once.
//!
//! Reads strings without escapes, integers, `true` and `false`, and flat objects of these where a value is kept raw.
//! Whatever else it meets, right or wrong, it gives up (`None`), and the strict reader reads from the beginning and judges.
//! So it never has to tell what is wrong, and a test holds it to what the strict reader finds.

use std::borrow::Cow;

use super::{Fields, Keys, Value};

/// Most digits of an integer that certainly fits 64 bits.
const DIGITS_MAX: usize = 18;

/// Reads `text` into empty fields, if it is plain. If not, what they hold then means nothing.
pub(super) fn fill<'a, const N: usize>(text: &'a str, keys: Keys, fields: &mut Fields<'a, N>) -> Option<()> {
    let mut at = Cursor { text, bytes: text.as_bytes(), at: 0 };
    at.expect(b'{')?;
    loop {
        let index = (keys.place)(at.string()?)?;
        at.expect(b':')?;
        let value = if keys.raw & (1 << index) != 0 {
            at.flat_object()?
        } else if keys.long & (1 << index) != 0 && at.peek()? == b'"' {
            Value::Text(Cow::Borrowed(at.long_string()?))
        } else {
            at.value()?
        };
        let place = fields.values.get_mut(index)?;
        if place.replace(value).is_some() {
            return None;
        }
        if !at.more()? {
            break;
        }
    }
    (at.at == text.len()).then_some(())
}

struct Cursor<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Behind a value: whether another one follows. Anything but a comma or the closing brace is not plain.
    fn more(&mut self) -> Option<bool> {
        let byte = self.peek()?;
        self.at += 1;
        match byte {
            b',' => Some(true),
            b'}' => Some(false),
            _ => None,
        }
    }

    /// A string without escapes, without its quotes.
    fn string(&mut self) -> Option<&'a str> {
        self.expect(b'"')?;
        let start = self.at;
        let rest = self.bytes.get(start..)?;
        let length = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..b' '))?;
        self.at = start + length;
        self.expect(b'"')?;
        // Quotes are ASCII, so both ends are ends of characters.
        self.text.get(start..start + length)
    }

    /// The same of a string that is likely to be long, eight bytes at a time: of a short one that is no faster.
    fn long_string(&mut self) -> Option<&'a str> {
        self.expect(b'"')?;
        let start = self.at;
        let length = string_bytes(self.bytes.get(start..)?)?;
        self.at = start + length;
        self.expect(b'"')?;
        self.text.get(start..start + length)
    }

    fn value(&mut self) -> Option<Value<'a>> {
        match self.peek()? {
            b'"' => Some(Value::Text(Cow::Borrowed(self.string()?))),
            b't' => self.word("true").map(|()| Value::Truth(true)),
            b'f' => self.word("false").map(|()| Value::Truth(false)),
            _ => self.integer().map(Value::Integer),
        }
    }

    fn word(&mut self, word: &str) -> Option<()> {
        let rest = self.bytes.get(self.at..)?;
        rest.starts_with(word.as_bytes()).then(|| self.at += word.len())
    }

    /// An integer of at most [`DIGITS_MAX`] digits; what follows it shows whether it was one.
    fn integer(&mut self) -> Option<i64> {
        let is_negative = self.peek()? == b'-';
        self.at += usize::from(is_negative);
        let start = self.at;
        let mut number = 0_i64;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            if self.at - start == DIGITS_MAX {
                return None;
            }
            number = number * 10 + i64::from(digit - b'0');
            self.at += 1;
        }
        let has_leading_zero = self.bytes.get(start) == Some(&b'0') && (self.at - start > 1 || is_negative);
        if self.at == start || has_leading_zero {
            return None;
        }
        Some(if is_negative { -number } else { number })
    }

    /// An object of strings, integers and truths, raw.
    fn flat_object(&mut self) -> Option<Value<'a>> {
        let start = self.at;
        self.expect(b'{')?;
        if self.peek()? == b'}' {
            self.at += 1;
        } else {
            loop {
                self.string()?;
                self.expect(b':')?;
                self.value()?;
                if !self.more()? {
                    break;
                }
            }
        }
        self.text.get(start..self.at).map(Value::Raw)
    }
}

/// Bytes in front of the first that ends a plain string, or shows that it is none.
fn string_bytes(rest: &[u8]) -> Option<usize> {
    let (words, tail) = rest.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let ends = ends(u64::from_le_bytes(*word));
        if ends != 0 {
            return Some(8 * index + ends.trailing_zeros() as usize / 8);
        }
    }
    let end = tail.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..b' '))?;
    Some(8 * words.len() + end)
}

/// The upper bit of the lowest byte of the word that is a quote, a backslash or a control character, and maybe of bytes above it; 0 if none is.
const fn ends(word: u64) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const UPPER: u64 = ONES << 7;
    // A byte that is less than what is taken from it borrows; only what is above it may then be wrong.
    let quote = (word ^ (ONES * b'"' as u64)).wrapping_sub(ONES) & !(word ^ (ONES * b'"' as u64));
    let backslash = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES) & !(word ^ (ONES * b'\\' as u64));
    let control = word.wrapping_sub(ONES * b' ' as u64) & !word;
    (quote | backslash | control) & UPPER
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAMES: [&str; 4] = ["op", "id", "body", "flag"];

    fn keys() -> Keys {
        Keys { place: |key| NAMES.iter().position(|name| *name == key), raw: 1 << 2, long: 1 << 0 }
    }

    /// If the quick way has an answer, it is the strict reader's; returns whether it had one.
    fn check(text: &str) -> bool {
        let mut quick = Fields::<4>::EMPTY;
        if fill(text, keys(), &mut quick).is_none() {
            return false;
        }
        let strict = Fields::<4>::read_strictly(text, keys());
        assert_eq!((&quick.values, quick.duplicates), (&strict.values, strict.duplicates), "{text}");
        assert_eq!(strict.fault, None, "{text}");
        true
    }

    #[test]
    fn what_clients_write_is_plain() {
        for text in [
            r#"{"op":"order.new","id":7,"body":{"a":"b","c":-12,"d":true}}"#,
            r#"{"id":0,"op":"","body":{},"flag":false}"#,
            r#"{"op":"é\u{7f}"}"#.replace(r"\u{7f}", "\u{7f}").as_str(),
            r#"{"id":-999999999999999999}"#,
        ] {
            assert!(check(text), "{text}");
        }
    }

    #[test]
    fn whatever_is_not_plain_is_left_to_the_strict_reader() {
        for text in [
            "",
            "{}",
            "{",
            "[]",
            r#"{"op":"a"} "#,
            r#"{"op":"a"}}"#,
            r#"{ "op":"a"}"#,
            r#"{"op": "a"}"#,
            r#"{"op":"a\n"}"#,
            "{\"op\":\"a\n\"}",
            r#"{"op":"a","op":"b"}"#,
            r#"{"other":"a"}"#,
            r#"{"op":null}"#,
            r#"{"op":[]}"#,
            r#"{"id":01}"#,
            r#"{"id":-0}"#,
            r#"{"id":-}"#,
            r#"{"id":1.0}"#,
            r#"{"id":1e2}"#,
            r#"{"id":9999999999999999999}"#,
            r#"{"id":1234567890123456789}"#,
            r#"{"body":{"a":{}}}"#,
            r#"{"body":{"a":[]}}"#,
            r#"{"body":{"a":1,}}"#,
            r#"{"body":"a"}"#,
            r#"{"flag":truth}"#,
            r#"{"op":"a",}"#,
        ] {
            assert!(!check(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn it_finds_what_the_strict_reader_finds_or_nothing(
            parts in prop::collection::vec(
                prop::sample::select(&[
                    "{", "}", ",", ":", "\"op\"", "\"id\"", "\"body\"", "\"flag\"", "\"x\"", "\"\"", "\"a\\n\"", "0", "7", "-1",
                    "01", "1.5", "1e9", "true", "false", "null", "[]", " ", "\n", "\"é\"", "{\"a\":\"b\"}", "{\"a\":1}", "\"op\":\"a\"",
                    "\"id\":1", "\"body\":{\"a\":\"b\"}", "\"flag\":true", "123456789012345678", "12345678901234567890",
                ][..]),
                0..12,
            ),
            is_framed: bool,
        ) {
            let inner = parts.join(if is_framed { "," } else { "" });
            let text = if is_framed { format!("{{{inner}}}") } else { inner };
            check(&text);
        }

        #[test]
        fn one_byte_changed_in_a_plain_object_changes_nothing_unnoticed(at in 0_usize..60, byte in 0_u8..0x80) {
            let mut text = br#"{"op":"order.new","id":7,"body":{"a":"b","c":-12,"d":true}}"#.to_vec();
            let length = text.len();
            text[at % length] = byte;
            check(std::str::from_utf8(&text).unwrap());
        }
    }
}
