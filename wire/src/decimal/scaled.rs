//! A number together with the number of places it is printed with, and serde for all decimal types.

use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::text::{self, DecimalError};
use super::{DECIMALS_MAX, Nanos, Price, Quantity};

/// A number of decimal places, 0 to 9.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Decimals(u8);

impl Decimals {
    /// Nine places: every nano-unit shows.
    pub const MAX: Self = Self(DECIMALS_MAX);

    /// `None` above nine.
    #[must_use]
    pub const fn new(decimals: u8) -> Option<Self> {
        if decimals <= DECIMALS_MAX { Some(Self(decimals)) } else { None }
    }

    /// The number of places.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for Decimals {
    type Error = DecimalError;

    fn try_from(decimals: u8) -> Result<Self, DecimalError> {
        let error = DecimalError::TooManyDecimals { got: usize::from(decimals), max: DECIMALS_MAX };
        Self::new(decimals).ok_or(error)
    }
}

impl From<Decimals> for u8 {
    fn from(decimals: Decimals) -> Self {
        decimals.0
    }
}

/// A price or quantity with the number of decimals it was, or is to be, written with.
///
/// `Scaled` keeps a text exactly: `"3.10"` reads as 3.1 with two decimals and prints as `"3.10"` again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scaled<T> {
    /// The exact value.
    pub value: T,
    /// Places of the text.
    pub decimals: Decimals,
}

impl<T: Nanos> Scaled<T> {
    /// The value, to be printed with `decimals` places.
    pub const fn new(value: T, decimals: Decimals) -> Self {
        Self { value, decimals }
    }

    /// The value with as few places as it needs.
    pub fn shortest(value: T) -> Self {
        Self { value, decimals: text::decimals_needed(value.magnitude()) }
    }

    /// Reads a number of at most nine decimals.
    ///
    /// # Errors
    /// [`DecimalError`] for anything but the one exact spelling of a number in range.
    pub fn parse(text: &str) -> Result<Self, DecimalError> {
        text::parse(text)
    }

    /// The value, if the text had at most `decimals` places.
    ///
    /// # Errors
    /// [`DecimalError::TooManyDecimals`], trailing zeros counted.
    pub fn within(self, decimals: Decimals) -> Result<T, DecimalError> {
        if self.decimals > decimals {
            let (got, max) = (usize::from(self.decimals.0), decimals.0);
            return Err(DecimalError::TooManyDecimals { got, max });
        }
        Ok(self.value)
    }

    /// Appends the text.
    pub fn write(self, out: &mut Vec<u8>) {
        text::write_decimal(out, self.value.is_negative(), self.value.magnitude(), self.decimals);
    }
}

impl<T: Nanos> fmt::Display for Scaled<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(24);
        self.write(&mut text);
        f.pad(&String::from_utf8_lossy(&text))
    }
}

impl<T: Nanos> Serialize for Scaled<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

struct TextVisitor<T>(std::marker::PhantomData<T>);

impl<T: Nanos> Visitor<'_> for TextVisitor<T> {
    type Value = Scaled<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a decimal number as a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Scaled<T>, E> {
        text::parse(text).map_err(E::custom)
    }
}

impl<'de, T: Nanos> Deserialize<'de> for Scaled<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor(std::marker::PhantomData))
    }
}

macro_rules! serde_as_shortest_text {
    ($($name:ident)*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Scaled::<$name>::deserialize(deserializer).map(|scaled| scaled.value)
            }
        }

        impl std::str::FromStr for $name {
            type Err = DecimalError;

            fn from_str(text: &str) -> Result<Self, DecimalError> {
                Self::parse(text)
            }
        }
    )*};
}

serde_as_shortest_text!(Price Quantity);
