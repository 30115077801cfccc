//! The greatest step that divides one whole unit and every number seen: what a file tells of its ticks and lots.

use sealfeed_wire::Scaled;

use crate::types::{BookDecimals, Price, Quantity};

/// One whole unit, in nano-units: the step before any number was seen.
const WHOLE_UNIT: u64 = 1_000_000_000;

/// A step in nano-units. Never zero; divides one whole unit, so that it fits prices and quantities alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step(u64);

impl Step {
    /// As long as nothing was seen.
    pub(super) const WHOLE: Self = Self(WHOLE_UNIT);
    /// Divides everything: for what was not seen.
    pub(super) const FINEST: Self = Self(1);

    /// Takes in a number of this magnitude.
    pub(super) fn note(&mut self, magnitude: u64) {
        self.0 = greatest_common_divisor(self.0, magnitude);
    }

    pub(super) fn tick(self) -> Price {
        Price::from_nanos(i64::try_from(self.0).unwrap_or(1))
    }

    pub(super) fn lot(self) -> Quantity {
        Quantity::from_nanos(self.0)
    }
}

/// Of a positive `step` and any `value`; most values are multiples of the step already.
fn greatest_common_divisor(mut step: u64, mut value: u64) -> u64 {
    value %= step;
    while value != 0 {
        (step, value) = (value, step % value);
    }
    step
}

/// The fewest decimals in which every multiple of the tick and of the lot is exact.
pub(super) fn decimals(tick: Price, lot: Quantity) -> BookDecimals {
    BookDecimals { price: Scaled::shortest(tick).decimals, quantity: Scaled::shortest(lot).decimals }
}
