//! Orders that look the same: how often each came within a while.
//!
//! Bounded for every owner ([`REMEMBERED_MAX`]); what could not be remembered is refused. Only orders that are admitted count, so that who is
//! refused and waits can go on. Time is an argument; a clock that is set back or forth forgets.

use std::collections::{HashMap, VecDeque};

use sealfeed_wire::Code;

use crate::types::{
    DuplicateLimit, InstrumentId, OwnerId, OwnerMap, Price, Quantity, Side, TimeArithmetic as _, UnixNanos,
};

/// Most orders of one owner that are remembered at once: about 300 kB when full.
pub const REMEMBERED_MAX: usize = 4_096;
/// Fewest owners at which idle ones are looked for.
const OWNERS_MIN: usize = 1024;

/// What two orders have in common that are taken for the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Look {
    /// What it trades.
    pub instrument: InstrumentId,
    /// Buy or sell.
    pub side: Side,
    /// The limit; `None` for a market order.
    pub limit: Option<Price>,
    /// How much.
    pub quantity: Quantity,
}

/// The memory of all owners whose rights bound duplicates.
#[derive(Debug)]
pub struct Duplicates {
    owners: OwnerMap<Remembered>,
    /// At how many owners idle ones are dropped next; twice of what was left, so the cost stays constant.
    prune_at: usize,
}

#[derive(Debug, Default)]
struct Remembered {
    /// When each came, oldest first.
    order: VecDeque<(UnixNanos, Look)>,
    counts: HashMap<Look, u32>,
    within_ns: u64,
}

impl Default for Duplicates {
    fn default() -> Self {
        Self { owners: OwnerMap::default(), prune_at: OWNERS_MIN }
    }
}

impl Duplicates {
    /// Whether another order of this look may come now.
    ///
    /// # Errors
    /// [`Code::RskDuplicate`], or [`Code::RskDuplicatesFull`] if this one could not be remembered.
    pub fn check(
        &mut self,
        owner: OwnerId,
        look: &Look,
        limit: DuplicateLimit,
        now: UnixNanos,
    ) -> Result<(), Code> {
        let Some(remembered) = self.owners.get_mut(&owner) else { return Ok(()) };
        remembered.within_ns = limit.within_ms.saturating_mul(1_000_000);
        remembered.forget(now);
        if remembered.counts.get(look).copied().unwrap_or(0) >= limit.count_max {
            return Err(Code::RskDuplicate);
        }
        if remembered.order.len() >= REMEMBERED_MAX { Err(Code::RskDuplicatesFull) } else { Ok(()) }
    }

    /// Remembers an order that is admitted, after [`Duplicates::check`] at the same time.
    pub fn remember(&mut self, owner: OwnerId, look: Look, limit: DuplicateLimit, now: UnixNanos) {
        if self.owners.len() >= self.prune_at && !self.owners.contains_key(&owner) {
            self.owners.retain(|_, remembered| {
                remembered.forget(now);
                !remembered.order.is_empty()
            });
            self.prune_at = (2 * self.owners.len()).max(OWNERS_MIN);
        }
        let remembered = self.owners.entry(owner).or_default();
        remembered.within_ns = limit.within_ms.saturating_mul(1_000_000);
        remembered.order.push_back((now, look));
        *remembered.counts.entry(look).or_default() += 1;
    }
}

impl Remembered {
    fn forget(&mut self, now: UnixNanos) {
        while let Some((at, look)) = self.order.front() {
            // One of the two is zero. A time that lies ahead was taken by a clock that has been set back.
            if now.since(*at).max(at.since(now)) < self.within_ns {
                break;
            }
            if let Some(count) = self.counts.get_mut(look) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(look);
                }
            }
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: UnixNanos = UnixNanos(1_790_000_000_000_000_000);
    const OWNER: OwnerId = OwnerId(7);
    const LIMIT: DuplicateLimit = DuplicateLimit { count_max: 2, within_ms: 1_000 };
    const MS: u64 = 1_000_000;

    fn look(quantity: u64) -> Look {
        Look {
            instrument: InstrumentId(0),
            side: Side::Buy,
            limit: Some(Price::from_nanos(1)),
            quantity: Quantity::from_nanos(quantity),
        }
    }

    fn send(memory: &mut Duplicates, look: Look, limit: DuplicateLimit, now: UnixNanos) -> Result<(), Code> {
        memory.check(OWNER, &look, limit, now)?;
        memory.remember(OWNER, look, limit, now);
        Ok(())
    }

    #[test]
    fn the_same_order_is_refused_once_it_came_as_often_as_it_may_and_passes_when_the_time_is_over() {
        let mut memory = Duplicates::default();
        let mut at = |ms| send(&mut memory, look(1), LIMIT, NOW.plus_ns(ms * MS));
        assert_eq!([at(0), at(400), at(999)], [Ok(()), Ok(()), Err(Code::RskDuplicate)]);
        assert_eq!([at(1_000), at(1_399)], [Ok(()), Err(Code::RskDuplicate)]);
        assert_eq!(at(1_400), Ok(()), "refused ones did not count");
    }

    #[test]
    fn an_order_that_differs_in_anything_is_not_the_same() {
        let mut memory = Duplicates::default();
        let once = DuplicateLimit { count_max: 1, ..LIMIT };
        let first = look(1);
        let others = [
            Look { instrument: InstrumentId(1), ..first },
            Look { side: Side::Sell, ..first },
            Look { limit: None, ..first },
            Look { limit: Some(Price::from_nanos(2)), ..first },
            look(2),
        ];
        assert_eq!(send(&mut memory, first, once, NOW), Ok(()));
        for other in others {
            assert_eq!(send(&mut memory, other, once, NOW), Ok(()), "{other:?}");
            assert_eq!(send(&mut memory, other, once, NOW), Err(Code::RskDuplicate), "{other:?}");
        }
        assert_eq!(memory.check(OwnerId(8), &first, once, NOW), Ok(()), "another owner's orders are its own");
    }

    #[test]
    fn what_cannot_be_remembered_is_refused_until_there_is_room() {
        let mut memory = Duplicates::default();
        for quantity in 0..REMEMBERED_MAX as u64 {
            assert_eq!(send(&mut memory, look(quantity), LIMIT, NOW), Ok(()));
        }
        let more = look(REMEMBERED_MAX as u64);
        assert_eq!(send(&mut memory, more, LIMIT, NOW.plus_ns(999 * MS)), Err(Code::RskDuplicatesFull));
        assert_eq!(send(&mut memory, more, LIMIT, NOW.plus_ns(1_000 * MS)), Ok(()));
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nobody_out_for_longer_than_the_time() {
        let mut memory = Duplicates::default();
        let once = DuplicateLimit { count_max: 1, ..LIMIT };
        assert_eq!(send(&mut memory, look(1), once, NOW.plus_ns(3_600_000 * MS)), Ok(()));
        assert_eq!(send(&mut memory, look(1), once, NOW), Ok(()));
    }

    #[test]
    fn owners_who_are_idle_are_forgotten() {
        let mut memory = Duplicates::default();
        for owner in (0..).take(OWNERS_MIN) {
            memory.remember(OwnerId(owner), look(1), LIMIT, NOW);
        }
        memory.remember(OwnerId(u32::MAX), look(1), LIMIT, NOW.plus_ns(1_000 * MS));
        assert_eq!(memory.owners.len(), 1);
    }

    proptest! {
        #[test]
        fn no_stretch_of_the_time_sees_more_of_one_look_than_allowed_and_none_is_refused_without_that(
            count_max in 1_u32..4,
            steps in prop::collection::vec((0_u64..400, 0_u64..3), 1..300),
        ) {
            let limit = DuplicateLimit { count_max, within_ms: 1_000 };
            let (mut memory, mut now, mut sent) = (Duplicates::default(), NOW, Vec::new());
            for (step, quantity) in steps {
                now = now.plus_ns(step * MS);
                let within = sent.iter().filter(|(at, one)| *one == quantity && now.since(*at) < 1_000 * MS).count();
                let answer = send(&mut memory, look(quantity), limit, now);
                prop_assert_eq!(answer.is_ok(), within < count_max as usize);
                if answer.is_ok() {
                    sent.push((now, quantity));
                }
            }
        }
    }
}
