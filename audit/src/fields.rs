//! The text form of the log's own payloads and of seal notes: a title line, then `name value` lines in a fixed order.
//!
//! Text, so that it can be read with nothing but a pager; fixed order, plain decimal numbers and lower-case hexadecimal, so that
//! one content has exactly one form.

use crate::chain::{Hash, hash_from_hex, hex};

/// Builds such a text.
#[derive(Debug)]
pub(crate) struct FieldsWriter {
    text: String,
}

impl FieldsWriter {
    pub(crate) fn new(title: &str) -> Self {
        Self { text: format!("{title}\n") }
    }

    pub(crate) fn text(mut self, name: &str, value: &str) -> Self {
        self.text.push_str(name);
        self.text.push(' ');
        self.text.push_str(value);
        self.text.push('\n');
        self
    }

    pub(crate) fn number(self, name: &str, value: u64) -> Self {
        self.text(name, &value.to_string())
    }

    pub(crate) fn hash(self, name: &str, value: &[u8]) -> Self {
        self.text(name, &hex(value))
    }

    pub(crate) fn finish(self) -> String {
        self.text
    }
}

/// Takes such a text apart; every method returns `None` where the text is not what is asked for.
#[derive(Debug)]
pub(crate) struct FieldsReader<'a> {
    rest: &'a str,
}

impl<'a> FieldsReader<'a> {
    pub(crate) fn new(text: &'a str, title: &str) -> Option<Self> {
        let rest = text.strip_prefix(title)?.strip_prefix('\n')?;
        Some(Self { rest })
    }

    pub(crate) fn text(&mut self, name: &str) -> Option<&'a str> {
        let (line, rest) = self.rest.split_once('\n')?;
        let value = line.strip_prefix(name)?.strip_prefix(' ')?;
        self.rest = rest;
        Some(value)
    }

    pub(crate) fn number(&mut self, name: &str) -> Option<u64> {
        decimal(self.text(name)?)
    }

    pub(crate) fn signed(&mut self, name: &str) -> Option<i64> {
        signed_decimal(self.text(name)?)
    }

    pub(crate) fn hash(&mut self, name: &str) -> Option<Hash> {
        hash_from_hex(self.text(name)?)
    }

    /// Nothing may follow the last field.
    pub(crate) fn finish(self) -> Option<()> {
        self.rest.is_empty().then_some(())
    }
}

/// A plain decimal number without sign or leading zeros.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = text.len() > 1 && text.starts_with('0');
    if !digits || leading_zero {
        return None;
    }
    text.parse().ok()
}

/// A plain decimal number with `-` in front if it is below zero.
fn signed_decimal(text: &str) -> Option<i64> {
    match text.strip_prefix('-') {
        Some(digits) => 0i64.checked_sub_unsigned(decimal(digits).filter(|number| *number > 0)?),
        None => i64::try_from(decimal(text)?).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_round_trip_in_order_only() {
        let text = FieldsWriter::new("title").number("a", 7).text("b", "x y").finish();
        let mut fields = FieldsReader::new(&text, "title").unwrap();
        assert_eq!((fields.number("a"), fields.text("b"), fields.finish()), (Some(7), Some("x y"), Some(())));
        assert!(FieldsReader::new(&text, "title").unwrap().text("b").is_none());
    }

    #[test]
    fn decimals_have_one_form() {
        for (text, expected) in [
            ("0", Some(0)),
            ("10", Some(10)),
            ("", None),
            ("01", None),
            ("+1", None),
            ("18446744073709551616", None),
        ] {
            assert_eq!(decimal(text), expected, "{text}");
        }
    }

    #[test]
    fn signed_decimals_have_one_form() {
        for (text, expected) in [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("-0", None),
            ("-01", None),
            ("--1", None),
            ("-", None),
            ("9223372036854775808", None),
            ("-9223372036854775808", Some(i64::MIN)),
            ("-9223372036854775809", None),
        ] {
            assert_eq!(signed_decimal(text), expected, "{text}");
        }
    }
}
