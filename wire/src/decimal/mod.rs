//! Exact decimals: prices and quantities in nano-units (1e-9), their texts and nothing in between.
//!
//! No floating point anywhere. A text either names one number exactly or is refused: there is no rounding,
//! no exponent, no second spelling (`05`, `.5`, `5.`, `-0`). Range: [`Price`] ±9,223,372,036.854775807,
//! [`Quantity`] 0 to 18,446,744,073.709551615.
//!
//! Three printed forms: [`Display`](fmt::Display) and serde print the shortest exact text (what a request may
//! carry), [`Scaled`] and [`Price::write`] print the instrument's number of places (what the server sends),
//! and the checksum's digits ([`crate::checksum`]).

mod scaled;
mod text;

use std::fmt;

pub use scaled::{Decimals, Scaled};
pub use text::DecimalError;

pub(crate) use text::{write_digits, write_integer};

/// Nano-units in one unit.
pub const NANOS_PER_UNIT: u64 = 1_000_000_000;

/// Most decimal places that any number on the wire has.
pub const DECIMALS_MAX: u8 = 9;

/// A price in nano-units of the quote currency. May be negative (spreads, power, oil in April 2020).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Price(i64);

/// A quantity in nano-units of the instrument. Never negative; zero means "none left" where it is allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(u64);

impl Price {
    /// The price zero.
    pub const ZERO: Self = Self(0);

    /// A price of `nanos` nano-units.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// The price in nano-units.
    #[must_use]
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// Reads a price of at most nine decimals.
    ///
    /// # Errors
    /// [`DecimalError`] for anything but the one exact spelling of a number in range.
    pub fn parse(text: &str) -> Result<Self, DecimalError> {
        Scaled::<Self>::parse(text).map(|scaled| scaled.value)
    }

    /// Reads a price of at most `decimals` decimals, as an instrument prescribes them.
    ///
    /// # Errors
    /// [`DecimalError::TooManyDecimals`] when the text has more, trailing zeros included; else as [`Self::parse`].
    pub fn parse_within(text: &str, decimals: Decimals) -> Result<Self, DecimalError> {
        Scaled::<Self>::parse(text)?.within(decimals)
    }

    /// Appends the price with exactly `decimals` places (more only if it would lose value otherwise).
    pub fn write(self, out: &mut Vec<u8>, decimals: Decimals) {
        text::write_decimal(out, self.0 < 0, self.0.unsigned_abs(), decimals);
    }

    /// Volume-weighted average of fills: the sum of price times quantity (both in nano-units) over the total
    /// quantity, rounded to the nearest nano-unit, halves away from zero. `None` for no quantity,
    /// and for an average out of range.
    #[must_use]
    pub fn average(notional: i128, total: Quantity) -> Option<Self> {
        let total = i128::from(total.0);
        if total == 0 {
            return None;
        }
        let half = if notional < 0 { -(total / 2) } else { total / 2 };
        i64::try_from(notional.checked_add(half)? / total).ok().map(Self)
    }
}

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// A quantity of `nanos` nano-units.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The quantity in nano-units.
    #[must_use]
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Whether it is nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Reads a quantity of at most nine decimals. Zero is a quantity; whoever forbids it checks.
    ///
    /// # Errors
    /// [`DecimalError`] for anything but the one exact spelling of a number in range; a sign is an error.
    pub fn parse(text: &str) -> Result<Self, DecimalError> {
        Scaled::<Self>::parse(text).map(|scaled| scaled.value)
    }

    /// Reads a quantity of at most `decimals` decimals, as an instrument prescribes them.
    ///
    /// # Errors
    /// [`DecimalError::TooManyDecimals`] when the text has more, trailing zeros included; else as [`Self::parse`].
    pub fn parse_within(text: &str, decimals: Decimals) -> Result<Self, DecimalError> {
        Scaled::<Self>::parse(text)?.within(decimals)
    }

    /// Appends the quantity with exactly `decimals` places (more only if it would lose value otherwise).
    pub fn write(self, out: &mut Vec<u8>, decimals: Decimals) {
        text::write_decimal(out, false, self.0, decimals);
    }
}

/// A number in nano-units: what prices and quantities share.
pub trait Nanos: Copy + Sized + sealed::Sealed {
    /// Whether the value is below zero.
    fn is_negative(self) -> bool;
    /// Nano-units without the sign.
    fn magnitude(self) -> u64;
    /// The value of a sign and a magnitude; `None` outside the type's range.
    fn from_parts(is_negative: bool, magnitude: u64) -> Option<Self>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Price {}
    impl Sealed for super::Quantity {}
}

impl Nanos for Price {
    fn is_negative(self) -> bool {
        self.0 < 0
    }

    fn magnitude(self) -> u64 {
        self.0.unsigned_abs()
    }

    fn from_parts(is_negative: bool, magnitude: u64) -> Option<Self> {
        let value = if is_negative { -i128::from(magnitude) } else { i128::from(magnitude) };
        i64::try_from(value).ok().map(Self)
    }
}

impl Nanos for Quantity {
    fn is_negative(self) -> bool {
        false
    }

    fn magnitude(self) -> u64 {
        self.0
    }

    fn from_parts(is_negative: bool, magnitude: u64) -> Option<Self> {
        (!is_negative).then_some(Self(magnitude))
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Scaled::shortest(*self), f)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Scaled::shortest(*self), f)
    }
}
