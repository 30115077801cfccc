//! Identifiers with a checked alphabet, stored inline: symbols and the ids of orders, trades and reports.
//!
//! A value of one of these types is valid by construction, is copied instead of allocated, prints into JSON
//! without escaping, and can be logged as it is.

use std::fmt;
use std::hash::{Hash, Hasher};

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// Most bytes of a [`Symbol`].
pub const SYMBOL_BYTES_MAX: usize = 32;

/// Most bytes of every other identifier.
pub const ID_BYTES_MAX: usize = 36;

/// Why a text is no identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentError {
    /// Nothing there.
    #[error("the identifier is empty")]
    Empty,
    /// Longer than the type allows.
    #[error("the identifier has {got} bytes, at most {max} are allowed")]
    TooLong {
        /// Bytes found.
        got: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// A byte outside the alphabet.
    #[error("byte {position} of the identifier is not in its alphabet")]
    Character {
        /// Position of the first wrong byte, from 0.
        position: usize,
    },
}

const fn is_id_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-')
}

const fn is_symbol_byte(byte: u8) -> bool {
    is_id_byte(byte) || byte == b'/'
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $max:expr, $allowed:ident, $expecting:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name {
            /// Zero behind `length`, so that the derived comparisons are those of the text.
            bytes: [u8; $max],
            length: u8,
        }

        impl $name {
            /// Checks and stores a text.
            ///
            /// # Errors
            /// [`IdentError`] when it is empty, too long or outside the alphabet.
            pub fn new(text: &str) -> Result<Self, IdentError> {
                let source = text.as_bytes();
                if source.is_empty() {
                    return Err(IdentError::Empty);
                }
                if source.len() > $max {
                    return Err(IdentError::TooLong { got: source.len(), max: $max });
                }
                if let Some(position) = source.iter().position(|byte| !$allowed(*byte)) {
                    return Err(IdentError::Character { position });
                }
                let mut bytes = [0; $max];
                bytes[..source.len()].copy_from_slice(source);
                #[expect(clippy::cast_possible_truncation, reason = "the length was checked to be at most 36")]
                let length = source.len() as u8;
                Ok(Self { bytes, length })
            }

            /// The text as bytes, all of them ASCII.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8] {
                &self.bytes[..usize::from(self.length)]
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                // Only ASCII gets in, so the fallback is never taken.
                std::str::from_utf8(self.as_bytes()).unwrap_or_default()
            }
        }

        impl Hash for $name {
            /// Of the text alone: most are much shorter than the room for them.
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.as_bytes().hash(state);
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdentError;

            fn from_str(text: &str) -> Result<Self, IdentError> {
                Self::new(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct TextVisitor;

                impl Visitor<'_> for TextVisitor {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        $name::new(text).map_err(E::custom)
                    }
                }

                deserializer.deserialize_str(TextVisitor)
            }
        }
    };
}

identifier! {
    /// The text name of an instrument: 1 to 32 of `A-Z a-z 0-9 . _ - / :`.
    Symbol, SYMBOL_BYTES_MAX, is_symbol_byte, "a symbol"
}

identifier! {
    /// A client's own name for one order or cancel: 1 to 36 of `A-Z a-z 0-9 . _ : -`, unique per principal and day.
    ClientOrderId, ID_BYTES_MAX, is_id_byte, "a client order id"
}

identifier! {
    /// The venue's name for an order. Clients treat it as opaque text of the same alphabet.
    OrderId, ID_BYTES_MAX, is_id_byte, "an order id"
}

identifier! {
    /// The venue's name for a trade. Clients treat it as opaque text of the same alphabet.
    TradeId, ID_BYTES_MAX, is_id_byte, "a trade id"
}

identifier! {
    /// The name of one execution report, unique per principal. Opaque text of the same alphabet.
    ExecId, ID_BYTES_MAX, is_id_byte, "an execution id"
}

macro_rules! from_number {
    ($($name:ident)*) => {$(
        impl From<u64> for $name {
            /// The number in decimal digits.
            fn from(number: u64) -> Self {
                let mut digits = Vec::with_capacity(20);
                crate::decimal::write_integer(&mut digits, number);
                let mut bytes = [0; ID_BYTES_MAX];
                bytes[..digits.len()].copy_from_slice(&digits);
                #[expect(clippy::cast_possible_truncation, reason = "a u64 has at most 20 digits")]
                let length = digits.len() as u8;
                Self { bytes, length }
            }
        }
    )*};
}

from_number!(OrderId TradeId ExecId);

/// What a stream is about: one instrument, or everything of the channel (`"*"`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamSymbol {
    /// `"*"`: every instrument; the only stream symbol of the private channels.
    All,
    /// One instrument.
    One(Symbol),
}

impl StreamSymbol {
    /// The text on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::All => "*",
            Self::One(symbol) => symbol.as_str(),
        }
    }
}

impl From<Symbol> for StreamSymbol {
    fn from(symbol: Symbol) -> Self {
        Self::One(symbol)
    }
}

impl fmt::Display for StreamSymbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for StreamSymbol {
    type Err = IdentError;

    fn from_str(text: &str) -> Result<Self, IdentError> {
        if text == "*" { Ok(Self::All) } else { Symbol::new(text).map(Self::One) }
    }
}

impl Serialize for StreamSymbol {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for StreamSymbol {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbol_has_one_to_32_characters_of_its_alphabet() {
        for good in ["A", "ESH4", "BTC-USD", "XBT/USD", "UD:1V_x.y", &"x".repeat(32)] {
            assert_eq!(Symbol::new(good).unwrap().as_str(), good);
        }
        for bad in ["", " ", "A B", "A\0", "é", "A\"", "*", "A*", "A,B", &"x".repeat(33)] {
            assert!(Symbol::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_client_order_id_has_one_to_36_characters_and_no_slash() {
        assert!(ClientOrderId::new(&"x".repeat(36)).is_ok());
        for bad in ["", "a/b", "a b", "a\n", &"x".repeat(37)] {
            assert!(ClientOrderId::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn identifiers_order_like_their_texts() {
        let mut ids = ["b", "a", "ab", "B", "a-"].map(|text| ClientOrderId::new(text).unwrap());
        ids.sort_unstable();
        assert_eq!(ids.map(|id| id.to_string()), ["B", "a", "a-", "ab", "b"]);
    }

    #[test]
    fn numbers_become_decimal_order_ids() {
        assert_eq!(OrderId::from(0).as_str(), "0");
        assert_eq!(OrderId::from(u64::MAX).as_str(), "18446744073709551615");
    }

    #[test]
    fn the_star_is_a_stream_symbol_but_no_symbol() {
        assert_eq!("*".parse(), Ok(StreamSymbol::All));
        assert_eq!("ESH4".parse(), Ok(StreamSymbol::One(Symbol::new("ESH4").unwrap())));
    }
}
