//! The small values of the wire: times, sequence numbers, byte strings in hexadecimal, request ids.
//!
//! Times travel as decimal strings of nanoseconds because they do not fit a JavaScript number; sequence
//! numbers stay below 2^53 and travel as integers for the same reason.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::decimal::write_integer;
use crate::hex;

/// Largest integer that every JSON reader keeps exactly: 2^53 - 1.
pub const INTEGER_MAX: u64 = (1 << 53) - 1;

/// Digits of the last time there is, 2^64 - 1.
const TIME_DIGITS_MAX: usize = 20;

/// Most characters of a textual [`RequestId`].
pub const REQUEST_ID_CHARACTERS_MAX: usize = 36;

/// Why a text or number is none of the values of this module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// A time is not 1 to 20 digits without leading zero that fit 64 bits.
    #[error("not a time in nanoseconds as a decimal string")]
    Time,
    /// An integer is not below 2^53.
    #[error("not an integer below 2^53")]
    Sequence,
    /// An epoch is not 16 lower-case hexadecimal digits.
    #[error("not an epoch of 16 lower-case hexadecimal digits")]
    Epoch,
    /// A request id is no integer within ±(2^53 - 1) and no text of at most 36 printable characters.
    #[error("not an integer and not a text of at most 36 characters")]
    RequestId,
}

/// A point in time: nanoseconds since the Unix epoch, UTC, without leap seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixNanos(pub u64);

impl UnixNanos {
    /// Reads 1 to 20 digits: no sign, no leading zero, no point.
    ///
    /// # Errors
    /// [`ValueError::Time`].
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        let digits = text.as_bytes();
        if digits.len() > TIME_DIGITS_MAX || matches!(digits, [] | [b'0', _, ..]) {
            return Err(ValueError::Time);
        }
        // Every time until 2286 has at most 19 digits, which cannot overflow; a 20th is looked at by itself.
        let (first, last) = digits.split_at(digits.len().min(TIME_DIGITS_MAX - 1));
        let (mut number, mut wrong) = (0_u64, false);
        for byte in first {
            let digit = byte.wrapping_sub(b'0');
            wrong |= digit > 9;
            number = number.wrapping_mul(10).wrapping_add(u64::from(digit));
        }
        if wrong {
            return Err(ValueError::Time);
        }
        let Some(byte) = last.first() else { return Ok(Self(number)) };
        let digit = byte.wrapping_sub(b'0');
        let number = number.checked_mul(10).and_then(|tens| tens.checked_add(u64::from(digit)));
        number.filter(|_| digit <= 9).map(Self).ok_or(ValueError::Time)
    }

    /// Appends the digits.
    pub fn write(self, out: &mut Vec<u8>) {
        write_integer(out, self.0);
    }
}

/// A position in a stream: integer below 2^53. Zero: before the first message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Sequence(u64);

impl Sequence {
    /// Before the first message.
    pub const ZERO: Self = Self(0);

    /// `None` at or above 2^53.
    #[must_use]
    pub const fn new(number: u64) -> Option<Self> {
        if number <= INTEGER_MAX { Some(Self(number)) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The following sequence number. A million messages a second reach the end of the range after 285 years;
    /// there it stands still rather than wrap.
    #[must_use]
    pub const fn next(self) -> Self {
        if self.0 < INTEGER_MAX { Self(self.0 + 1) } else { self }
    }
}

impl TryFrom<u64> for Sequence {
    type Error = ValueError;

    fn try_from(number: u64) -> Result<Self, ValueError> {
        Self::new(number).ok_or(ValueError::Sequence)
    }
}

impl From<Sequence> for u64 {
    fn from(sequence: Sequence) -> Self {
        sequence.0
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one uninterrupted run of a stream's sequence; printed as 16 hexadecimal digits. Only equality means something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl Epoch {
    /// Reads 16 lower-case hexadecimal digits.
    ///
    /// # Errors
    /// [`ValueError::Epoch`].
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        hex::decode(text).map(|bytes| Self(u64::from_be_bytes(bytes))).map_err(|_| ValueError::Epoch)
    }

    /// Appends the 16 digits.
    pub fn write(self, out: &mut Vec<u8>) {
        hex::write(out, &self.0.to_be_bytes());
    }
}

impl fmt::Display for UnixNanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

macro_rules! bytes_as_hex {
    ($($(#[$doc:meta])* $name:ident, $length:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $length]);

        impl $name {
            /// Reads lower-case hexadecimal digits, two a byte.
            ///
            /// # Errors
            /// [`hex::HexError`] for another length or other characters, upper case among them.
            pub fn parse(text: &str) -> Result<Self, hex::HexError> {
                hex::decode(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&hex::encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    )*};
}

bytes_as_hex! {
    /// 128 random bits that name one signed request, once.
    Nonce, 16;
    /// The TLS exporter value of a connection (RFC 9266), 32 bytes; `session` in `welcome`.
    SessionId, 32;
    /// Names one audit log; `log` in a receipt.
    LogId, 32;
    /// Hash of one audit entry: chain link and Merkle leaf; `hash` in a receipt.
    EntryHash, 32;
    /// SHA-256 of a certificate's DER form.
    CertificateHash, 32;
}

macro_rules! serde_as_text {
    ($($name:ident)*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct TextVisitor;

                impl Visitor<'_> for TextVisitor {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(concat!("the text of a ", stringify!($name)))
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        $name::parse(text).map_err(E::custom)
                    }
                }

                deserializer.deserialize_str(TextVisitor)
            }
        }
    )*};
}

serde_as_text!(UnixNanos Epoch Nonce SessionId LogId EntryHash CertificateHash);

/// The client's own name for a request, returned in the reply: an integer or a short text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RequestId {
    /// Within ±(2^53 - 1).
    Integer(i64),
    /// At most 36 characters, none a control character. May be empty.
    Text(Box<str>),
}

impl RequestId {
    /// A textual id.
    ///
    /// # Errors
    /// [`ValueError::RequestId`] when it has more than 36 characters or a control character.
    pub fn text(text: impl Into<Box<str>>) -> Result<Self, ValueError> {
        let text = text.into();
        let fits =
            text.len() <= REQUEST_ID_CHARACTERS_MAX || text.chars().count() <= REQUEST_ID_CHARACTERS_MAX;
        if fits && !text.chars().any(char::is_control) {
            Ok(Self::Text(text))
        } else {
            Err(ValueError::RequestId)
        }
    }

    /// An integer id.
    ///
    /// # Errors
    /// [`ValueError::RequestId`] outside ±(2^53 - 1).
    pub fn integer(number: i64) -> Result<Self, ValueError> {
        if number.unsigned_abs() <= INTEGER_MAX {
            Ok(Self::Integer(number))
        } else {
            Err(ValueError::RequestId)
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => number.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Integer(number) => serializer.serialize_i64(*number),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for RequestId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either<'a> {
            Integer(i64),
            #[serde(borrow)]
            Text(Cow<'a, str>),
        }
        match Either::deserialize(deserializer)? {
            Either::Integer(number) => Self::integer(number),
            Either::Text(text) => Self::text(text.into_owned()),
        }
        .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_one_spelling() {
        assert_eq!(UnixNanos::parse("1790000000000000000"), Ok(UnixNanos(1_790_000_000_000_000_000)));
        assert_eq!(UnixNanos::parse("0"), Ok(UnixNanos(0)));
        assert_eq!(UnixNanos::parse("9999999999999999999"), Ok(UnixNanos(9_999_999_999_999_999_999)));
        assert_eq!(UnixNanos::parse("18446744073709551615"), Ok(UnixNanos(u64::MAX)));
        let long =
            ["1844674407370955161x", "1844674407370955161/", "99999999999999999999", "x8446744073709551615"];
        for bad in long.into_iter().chain(["100000000000000000000", "184467440737095516150"]) {
            assert_eq!(UnixNanos::parse(bad), Err(ValueError::Time), "{bad:?}");
        }
        for bad in ["", "00", "01", "-1", "+1", "1.0", "1e9", " 1", "1 ", "18446744073709551616", "１"] {
            assert_eq!(UnixNanos::parse(bad), Err(ValueError::Time), "{bad:?}");
        }
    }

    #[test]
    fn a_sequence_stays_below_two_to_the_53() {
        assert_eq!(Sequence::new(INTEGER_MAX).map(Sequence::next), Sequence::new(INTEGER_MAX));
        assert_eq!(Sequence::new(INTEGER_MAX + 1), None);
        assert!(serde_json::from_str::<Sequence>("9007199254740992").is_err());
        assert!(serde_json::from_str::<Sequence>("-1").is_err());
        assert!(serde_json::from_str::<Sequence>("1.0").is_err());
    }

    #[test]
    fn an_epoch_prints_sixteen_digits() {
        assert_eq!(Epoch(0x1f).to_string(), "000000000000001f");
        assert_eq!(Epoch::parse("000000000000001f"), Ok(Epoch(0x1f)));
        assert_eq!(Epoch::parse("000000000000001F"), Err(ValueError::Epoch));
        assert_eq!(Epoch::parse("1f"), Err(ValueError::Epoch));
    }

    #[test]
    fn a_request_id_counts_characters_not_bytes() {
        assert!(RequestId::text("é".repeat(36)).is_ok());
        assert!(RequestId::text("é".repeat(37)).is_err());
        assert!(RequestId::text("a\0").is_err());
        assert!(RequestId::integer(1 << 53).is_err());
    }
}
