//! Times counted by their size, in memory that does not grow: a value is kept within one part in 32.

use std::sync::atomic::{AtomicU64, Ordering};

/// Parts that a power of two is divided into.
const PARTS_LOG2: u32 = 5;
const PARTS: usize = 1 << PARTS_LOG2;
/// Values below this have a place of their own each; each further power of two has [`PARTS`] places.
const PLACES: usize = PARTS * (64 - PARTS_LOG2 as usize + 1);

/// A histogram of nanoseconds that many tasks write to.
#[derive(Debug)]
pub(super) struct Histogram {
    places: Box<[AtomicU64]>,
    largest: AtomicU64,
}

impl Histogram {
    pub(super) fn new() -> Self {
        Self { places: (0..PLACES).map(|_| AtomicU64::new(0)).collect(), largest: AtomicU64::new(0) }
    }

    /// Counts a value.
    pub(super) fn add(&self, value: u64) {
        if let Some(place) = self.places.get(place_of(value)) {
            place.fetch_add(1, Ordering::Relaxed);
        }
        self.largest.fetch_max(value, Ordering::Relaxed);
    }

    /// How many values there are.
    pub(super) fn count(&self) -> u64 {
        self.places.iter().map(|place| place.load(Ordering::Relaxed)).sum()
    }

    /// The largest value, exactly.
    pub(super) fn largest(&self) -> u64 {
        self.largest.load(Ordering::Relaxed)
    }

    /// The value that so many of a thousand do not exceed, rounded up within its place; 0 without values.
    pub(super) fn of_thousand(&self, thousandths: u64) -> u64 {
        let wanted = u128::from(self.count()) * u128::from(thousandths);
        let mut below = 0u128;
        for (place, count) in self.places.iter().enumerate() {
            let count = count.load(Ordering::Relaxed);
            below += u128::from(count) * 1_000;
            if count > 0 && below >= wanted {
                return end_of(place).min(self.largest());
            }
        }
        self.largest()
    }
}

fn place_of(value: u64) -> usize {
    let Some(power) = value.checked_ilog2().filter(|power| *power >= PARTS_LOG2) else {
        return usize::try_from(value).unwrap_or(0);
    };
    let part = (value >> (power - PARTS_LOG2)) & (PARTS as u64 - 1);
    (power - PARTS_LOG2 + 1) as usize * PARTS + usize::try_from(part).unwrap_or(0)
}

/// The largest value of a place.
fn end_of(place: usize) -> u64 {
    let (row, part) = (place / PARTS, (place % PARTS) as u64);
    match u32::try_from(row).unwrap_or(u32::MAX).checked_sub(1) {
        None => part,
        Some(shift) => {
            let next = (u128::from(part) + PARTS as u128 + 1) << shift;
            u64::try_from(next - 1).unwrap_or(u64::MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_share_is_that_of_the_sorted_values_within_one_part_in_32(
            values in prop::collection::vec(prop_oneof![0..100u64, 0..u64::MAX, 1_000..1_000_000u64], 1..300),
            thousandths in 1..=1_000u64,
        ) {
            let histogram = Histogram::new();
            values.iter().for_each(|value| histogram.add(*value));
            let mut sorted = values.clone();
            sorted.sort_unstable();
            let rank = (values.len() * usize::try_from(thousandths).unwrap()).div_ceil(1_000).max(1);
            let exact = sorted[rank - 1];
            let found = histogram.of_thousand(thousandths);
            prop_assert!(found >= exact && found - exact <= exact / 32, "{found} for {exact}");
            prop_assert_eq!(histogram.count(), values.len() as u64);
            prop_assert_eq!(histogram.largest(), *sorted.last().unwrap());
        }
    }

    #[test]
    fn every_value_has_a_place() {
        assert!(place_of(u64::MAX) < PLACES);
        assert_eq!(Histogram::new().of_thousand(500), 0);
    }
}
