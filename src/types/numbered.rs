//! Maps by what the server numbers: owners, orders.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::{OrderId, OwnerId};

/// A map by owner. The server numbers owners one after the other: nobody can choose numbers that collide, and one
/// multiplication spreads them as well as a keyed hash would.
pub type OwnerMap<T> = HashMap<OwnerId, T, BuildHasherDefault<NumberHasher>>;
/// A map by order, of orders whose names the server gave out one after the other.
pub type OrderMap<T> = HashMap<OrderId, T, BuildHasherDefault<NumberHasher>>;

/// Hashes one number that the server gave out; other things, badly.
#[derive(Clone, Copy, Debug, Default)]
pub struct NumberHasher(u64);

/// 2^64 by the golden ratio, odd: neighbours end far apart in the upper bits, and nowhere together in the lower ones.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

impl Hasher for NumberHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(SPREAD);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::BuildHasher as _;

    use super::*;

    #[test]
    fn owners_in_a_row_have_places_and_marks_of_their_own() {
        let build = BuildHasherDefault::<NumberHasher>::default();
        let hashes: Vec<u64> = (0..4096).map(|number| build.hash_one(OwnerId(number))).collect();
        // The table takes the place from the lower bits, and a mark of seven bits from the upper ones.
        let places: HashSet<u64> = hashes.iter().map(|hash| hash % 4096).collect();
        let marks: HashSet<u64> = hashes.iter().map(|hash| hash >> 57).collect();
        assert_eq!((places.len(), marks.len()), (4096, 128));
    }

    #[test]
    fn every_owner_keeps_what_is_its_own() {
        let mut map = OwnerMap::default();
        for number in (0..10_000).chain(u32::MAX - 100..u32::MAX) {
            map.insert(OwnerId(number), number);
        }
        assert!(map.iter().all(|(owner, number)| owner.0 == *number));
        let orders: OrderMap<u64> = (u64::MAX - 10_000..u64::MAX).map(|id| (OrderId(id), id)).collect();
        assert!(orders.len() == 10_000 && orders.iter().all(|(order, id)| orders.get(order) == Some(id)));
        assert_eq!((map.len(), map.get(&OwnerId(77)), map.get(&OwnerId(10_000))), (10_100, Some(&77), None));
    }
}
