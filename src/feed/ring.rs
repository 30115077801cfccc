//! The last messages of a stream, kept for readers who come back.
//!
//! A ring holds the newest messages of its stream without a hole, so the number of what is held follows from the stream's
//! position. Bounded twice: by [`RingBounds::ring_bytes_max`] each and by [`RingBounds::total_bytes_max`] over all rings of one
//! [`RingBudget`]. A message that does not fit pushes out the oldest of its own ring, never of another one; if its ring is
//! empty by then, it is not held, and whoever missed it starts afresh.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::types::Sequence;

/// What a message takes up besides its own bytes: its place and its allocation.
const MESSAGE_OVERHEAD_BYTES: usize = 64;

/// How much is kept for resumption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingBounds {
    /// Bytes of one ring, 64 for each message included. Zero: nothing is kept.
    pub ring_bytes_max: usize,
    /// Bytes of all rings of a budget together.
    pub total_bytes_max: usize,
    /// How long a stream goes on being kept after its last reader of an encoding has left, in nanoseconds.
    pub keep_ns: u64,
}

impl RingBounds {
    /// Nothing is kept.
    pub const NONE: Self = Self { ring_bytes_max: 0, total_bytes_max: 0, keep_ns: 0 };
}

/// Bounds, and what is in use of them.
#[derive(Debug)]
pub struct RingBudget {
    pub(super) bounds: RingBounds,
    used_bytes: usize,
}

impl RingBudget {
    /// With nothing in use.
    #[must_use]
    pub const fn new(bounds: RingBounds) -> Self {
        Self { bounds, used_bytes: 0 }
    }

    /// How long a ring outlives its last reader, in nanoseconds.
    #[must_use]
    pub const fn keep_ns(&self) -> u64 {
        self.bounds.keep_ns
    }

    /// Bytes in use by all rings.
    #[must_use]
    pub const fn used_bytes(&self) -> usize {
        self.used_bytes
    }
}

/// What a stream has of the messages that a reader missed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missed {
    /// All of them, in order; none, if nothing was missed.
    Held(Vec<Bytes>),
    /// Not all of them.
    NotHeld,
}

/// The newest messages of a stream in one encoding.
#[derive(Debug, Default)]
pub struct Ring {
    messages: VecDeque<Bytes>,
    bytes: usize,
}

impl Ring {
    /// Appends the newest message.
    pub fn push(&mut self, message: &Bytes, budget: &mut RingBudget) {
        let cost = message.len() + MESSAGE_OVERHEAD_BYTES;
        let RingBounds { ring_bytes_max, total_bytes_max, .. } = budget.bounds;
        while self.bytes + cost > ring_bytes_max || budget.used_bytes + cost > total_bytes_max {
            let Some(oldest) = self.messages.pop_front() else { return };
            self.give_back(oldest.len() + MESSAGE_OVERHEAD_BYTES, budget);
        }
        self.messages.push_back(message.clone());
        self.bytes += cost;
        budget.used_bytes += cost;
    }

    /// Gives everything up.
    pub fn clear(&mut self, budget: &mut RingBudget) {
        self.give_back(self.bytes, budget);
        self.messages = VecDeque::new();
    }

    /// The messages from the one behind `after` up to `position`, which is that of the newest message of the stream.
    #[must_use]
    pub fn missed(&self, after: Sequence, position: Sequence) -> Missed {
        let count = position.get().checked_sub(after.get()).and_then(|count| usize::try_from(count).ok());
        let Some(first) = count.and_then(|count| self.messages.len().checked_sub(count)) else {
            return Missed::NotHeld;
        };
        Missed::Held(self.messages.range(first..).cloned().collect())
    }

    fn give_back(&mut self, bytes: usize, budget: &mut RingBudget) {
        self.bytes -= bytes;
        budget.used_bytes -= bytes;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seq(number: u64) -> Sequence {
        Sequence::new(number).unwrap()
    }

    fn budget(ring_bytes_max: usize, total_bytes_max: usize) -> RingBudget {
        RingBudget::new(RingBounds { ring_bytes_max, total_bytes_max, keep_ns: 0 })
    }

    #[test]
    fn a_message_that_does_not_fit_the_total_pushes_out_its_own_ring_alone() {
        let mut budget = budget(1_000, 3 * (10 + MESSAGE_OVERHEAD_BYTES));
        let (mut one, mut other) = (Ring::default(), Ring::default());
        let message = Bytes::from_static(b"0123456789");
        (0..2).for_each(|_| one.push(&message, &mut budget));
        (0..5).for_each(|_| other.push(&message, &mut budget));
        assert!(matches!(one.missed(seq(0), seq(2)), Missed::Held(held) if held.len() == 2));
        assert!(matches!(other.missed(seq(4), seq(5)), Missed::Held(held) if held.len() == 1));
        assert_eq!(other.missed(seq(3), seq(5)), Missed::NotHeld);
        one.clear(&mut budget);
        other.clear(&mut budget);
        assert_eq!(budget.used_bytes(), 0);
    }

    proptest! {
        /// Whatever is held is exactly what was published, up to the newest, and never more than the bounds.
        #[test]
        fn a_ring_holds_the_newest_messages_without_a_hole(
            lengths in prop::collection::vec(0_usize..200, 1..60),
            ring_bytes_max in 0_usize..2_000,
            total_bytes_max in 0_usize..2_000,
        ) {
            let mut budget = budget(ring_bytes_max, total_bytes_max);
            let mut ring = Ring::default();
            let mut all = Vec::new();
            for (n, length) in lengths.into_iter().enumerate() {
                let message = Bytes::from(vec![u8::try_from(n).unwrap(); length]);
                ring.push(&message, &mut budget);
                all.push(message);
                prop_assert!(ring.bytes <= ring_bytes_max && budget.used_bytes() <= total_bytes_max);
                let position = seq(all.len() as u64);
                let mut is_held = true;
                for after in (0..=all.len()).rev() {
                    match ring.missed(seq(after as u64), position) {
                        Missed::Held(messages) => {
                            prop_assert!(is_held, "older messages are held and newer ones are not");
                            prop_assert_eq!(&messages[..], &all[after..]);
                        }
                        Missed::NotHeld => is_held = false,
                    }
                }
                prop_assert_eq!(ring.missed(position.next(), position), Missed::NotHeld);
            }
        }
    }
}
