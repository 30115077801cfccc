//! From an order's identifier to its place in the slab.
//!
//! The pipeline counts identifiers up, so the index keeps each eight neighbours in one cache line: orders that come in one after
//! the other touch the same line. The lines themselves are spread by a fixed multiplicative hash, which keeps runs alike and need
//! not withstand chosen keys, because nobody outside chooses an identifier. Open addressing with linear probing; removing closes
//! the hole, so that no search ever passes a grave. Eight bytes a slot, at most four fifths of the slots taken: more room would make
//! searches a step shorter, and miss the processor's own cache more often.

use super::orders::OrderIndex;
use crate::types::OrderId;

/// Identifiers that lie in one cache line.
const NEIGHBOURS: u64 = 8;
const SLOTS_AT_FIRST: usize = 64;

/// Lower half of an identifier and the order's place; [`OrderIndex::NONE`] where the slot is free. Two
/// identifiers may share their lower half, so the order at the place has the last word.
#[derive(Clone, Copy, Debug)]
struct Slot {
    id: u32,
    index: OrderIndex,
}

const FREE: Slot = Slot { id: 0, index: OrderIndex::NONE };

/// The index. The number of slots is a power of two.
#[derive(Debug)]
pub(super) struct IdIndex {
    slots: Vec<Slot>,
    count: usize,
}

impl Default for IdIndex {
    fn default() -> Self {
        Self { slots: vec![FREE; SLOTS_AT_FIRST], count: 0 }
    }
}

impl IdIndex {
    /// Bytes of all its slots.
    pub(super) fn allocated_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
    }

    /// How many identifiers it has.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The place of an identifier, if it is in; `is_at` says whether the order at a place has this identifier.
    pub(super) fn find(&self, id: OrderId, is_at: impl Fn(OrderIndex) -> bool) -> Option<OrderIndex> {
        self.slot_of(id, is_at).map(|slot| self.slots[slot].index)
    }

    /// Puts an identifier in that is not in.
    pub(super) fn insert(&mut self, id: OrderId, index: OrderIndex) {
        if (self.count + 1) * 5 > self.slots.len() * 4 {
            self.grow();
        }
        self.put(Slot { id: lower_half(id), index });
        self.count += 1;
    }

    /// Takes an identifier out, if it is in.
    pub(super) fn remove(&mut self, id: OrderId, is_at: impl Fn(OrderIndex) -> bool) {
        let Some(mut hole) = self.slot_of(id, is_at) else { return };
        self.count -= 1;
        let mask = self.mask();
        let mut slot = hole;
        loop {
            slot = (slot + 1) & mask;
            let moving = self.slots[slot];
            if moving.index == OrderIndex::NONE {
                break;
            }
            // Whoever lies at least as far from home as from the hole would not be found behind it.
            if (slot.wrapping_sub(self.home(moving.id)) & mask) >= (slot.wrapping_sub(hole) & mask) {
                self.slots[hole] = moving;
                hole = slot;
            }
        }
        self.slots[hole] = FREE;
    }

    fn slot_of(&self, id: OrderId, is_at: impl Fn(OrderIndex) -> bool) -> Option<usize> {
        let id = lower_half(id);
        let mut slot = self.home(id);
        loop {
            let found = self.slots[slot];
            if found.index == OrderIndex::NONE {
                return None;
            }
            if found.id == id && is_at(found.index) {
                return Some(slot);
            }
            slot = (slot + 1) & self.mask();
        }
    }

    fn put(&mut self, new: Slot) {
        let mut slot = self.home(new.id);
        while self.slots[slot].index != OrderIndex::NONE {
            slot = (slot + 1) & self.mask();
        }
        self.slots[slot] = new;
    }

    fn grow(&mut self) {
        let slots = vec![FREE; self.slots.len() * 2];
        for slot in std::mem::replace(&mut self.slots, slots) {
            if slot.index != OrderIndex::NONE {
                self.put(slot);
            }
        }
    }

    /// Where an identifier lies unless others were there before.
    fn home(&self, id: u32) -> usize {
        // The upper bits of multiples of 2^64 divided by the golden ratio (Knuth) spread neighbouring lines evenly.
        let spread = (u64::from(id) / NEIGHBOURS).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let slots = self.slots.len() as u64;
        let line = spread >> (u64::BITS - (slots / NEIGHBOURS).trailing_zeros());
        #[expect(clippy::cast_possible_truncation, reason = "it is below the number of slots")]
        let slot = (line * NEIGHBOURS + u64::from(id) % NEIGHBOURS) as usize;
        slot
    }

    fn mask(&self) -> usize {
        self.slots.len() - 1
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is wanted")]
fn lower_half(id: OrderId) -> u32 {
    id.0 as u32
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Among identifiers some neighbours, some far apart, some with the same lower half.
        #[test]
        fn the_index_agrees_with_a_hash_map(
            steps in prop::collection::vec((0_u64..200, 0_u64..3, any::<bool>()), 1..600),
        ) {
            let mut index = IdIndex::default();
            let mut model: HashMap<OrderId, OrderIndex> = HashMap::new();
            let mut ids: Vec<OrderId> = Vec::new();
            for (low, high, inserts) in steps {
                let id = OrderId(high << 32 | if low % 2 == 0 { low } else { low << 20 });
                if inserts && !model.contains_key(&id) {
                    let place = OrderIndex::from_place(ids.len());
                    ids.push(id);
                    index.insert(id, place);
                    model.insert(id, place);
                } else if !inserts {
                    index.remove(id, |place| ids[place.place()] == id);
                    model.remove(&id);
                }
                prop_assert_eq!(index.count(), model.len());
                for id in &ids {
                    let found = index.find(*id, |place| ids[place.place()] == *id);
                    prop_assert_eq!(found, model.get(id).copied());
                }
            }
        }
    }
}
