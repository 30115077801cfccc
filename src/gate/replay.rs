//! The memory of nonces: bounded, keyed by owner and nonce, and it forgets nothing that could be replayed.
//!
//! A signed message with time `ts` is fresh while `now - window <= ts < now + skew`, so its nonce is remembered at
//! least until `ts + window + skew`. Memory is sliced by signed time: when a slice is past, all its nonces may be
//! forgotten. **The floor**, the oldest signed time of which everything is still remembered, only ever rises: a
//! message signed before it is refused as stale whatever the clock says, so a clock set back opens nothing.
//!
//! **Bound.** Live nonces of one owner are signed within `[now - window - skew, now + skew)` and arrived within
//! `window + 2 * skew` of each other. Messages are charged to the rate limit before their MAC is looked at, so an
//! owner has at most `rate * (window + 2 * skew) + burst` of them for each session: with the defaults
//! 200 * 7 + 200 = 1,600 (and 7.6 s for 7 s with what slices remember longer), for 8 sessions 12,800, far below the cap
//! for each owner. Forgetting four for each that comes never lets more wait than were live. Who connects again and again
//! begins each time with a whole burst, as fast as handshakes are let in: then the caps bound it, which hold whatever the
//! rates are. At a cap the message is refused (retryable); a live nonce is never evicted, for that would reopen a replay.
//!
//! **Layout.** Entries of 24 bytes lie in chunks and never move; a linear-probing index of 8-byte cells (half
//! hash, half entry number; cells are 3/2 of the cap) is allocated once, so nothing is ever rehashed: about
//! 36 bytes a nonce at the cap. The operating system backs the index only where it was touched. Forgetting is
//! paid in small parts by the insertions that follow, never in one go. `SipHash` with a random key: clients choose
//! nonces, and must not choose where they land.

use std::hash::{BuildHasher, Hasher, RandomState};

use sealfeed_wire::{Code, Nonce};

use super::freshness::SKEW_NS;
use crate::types::{OwnerId, UnixNanos};

/// Slices that a window is cut into: nonces are remembered for a sixteenth of it longer than they must be.
const SLICES_PER_WINDOW: u64 = 16;

/// Entries of one chunk: 24 KiB.
const CHUNK: usize = 1024;

/// Past nonces that an ordinary insertion forgets: more than one, so that forgetting keeps up.
const FORGET_EACH: usize = 4;

/// Past nonces that an insertion forgets when it finds no room.
const FORGET_WHEN_FULL: usize = 1024;

/// No entry.
const NONE: u32 = u32::MAX;

/// The most entries that entry numbers and hash halves can address.
pub const NONCES_MAX: usize = 1 << 28;

#[derive(Clone, Copy)]
struct Entry {
    nonce: [u8; 16],
    owner: OwnerId,
    /// The next entry of the same slice, of the past, or of the free list.
    next: u32,
}

/// A list of entries with both ends, so that two can be joined in one step.
#[derive(Clone, Copy)]
struct List {
    head: u32,
    tail: u32,
}

impl List {
    const EMPTY: Self = Self { head: NONE, tail: NONE };
}

/// Remembers nonces until the messages that carried them are stale. One owner, `&mut`.
pub struct ReplayCache {
    window_ns: u64,
    slice_ns: u64,
    nonces_max: usize,
    per_owner_max: u32,
    hasher: RandomState,
    /// A cell is 0, or the upper half of a hash above the entry's number plus one.
    cells: Vec<u64>,
    chunks: Vec<Box<[Entry]>>,
    /// Entries in use, live and past.
    used: usize,
    free: u32,
    /// Number of the slice that the floor is the start of.
    floor_slice: u64,
    /// One list for each slice that a fresh message can fall into, at `slice % len`.
    slices: Vec<List>,
    /// Entries of past slices, waiting to be forgotten.
    past: List,
    /// Entries in use, by owner: the pipeline numbers owners densely, so a number is a place.
    owners: Vec<u32>,
}

impl ReplayCache {
    /// An empty memory for messages at most `window_ns` old. Both caps are clamped to 1 to [`NONCES_MAX`].
    #[must_use]
    pub fn new(window_ns: u64, nonces_max: usize, per_owner_max: usize) -> Self {
        let nonces_max = nonces_max.clamp(1, NONCES_MAX);
        let slice_ns = (window_ns / SLICES_PER_WINDOW).max(1);
        // A fresh message is signed at most window + 2 * skew after the floor; two more for the ends.
        let slices = (window_ns + 2 * SKEW_NS).div_ceil(slice_ns) + 2;
        Self {
            window_ns,
            slice_ns,
            nonces_max,
            per_owner_max: u32::try_from(per_owner_max.clamp(1, nonces_max)).unwrap_or(u32::MAX),
            hasher: RandomState::new(),
            cells: vec![0; nonces_max + nonces_max / 2 + 1],
            chunks: Vec::new(),
            used: 0,
            free: NONE,
            floor_slice: 0,
            slices: vec![List::EMPTY; usize::try_from(slices).unwrap_or(usize::MAX)],
            past: List::EMPTY,
            owners: Vec::new(),
        }
    }

    /// Remembers the nonce of a message that is authentic and fresh at `now`; refuses it if it is remembered.
    ///
    /// # Errors
    /// [`Code::OrdNonceReplayed`]; [`Code::OrdReplayCacheFull`] at a cap; [`Code::OrdTimestampStale`] below the
    /// floor, [`Code::OrdTimestampFuture`] beyond the last slice (a caller that did not check freshness).
    pub fn insert_once(
        &mut self,
        owner: OwnerId,
        nonce: Nonce,
        ts: UnixNanos,
        now: UnixNanos,
    ) -> Result<(), Code> {
        self.advance(now);
        self.forget(FORGET_EACH);
        let slice = ts.0 / self.slice_ns;
        if slice < self.floor_slice {
            return Err(Code::OrdTimestampStale);
        }
        if slice - self.floor_slice >= self.slices.len() as u64 {
            return Err(Code::OrdTimestampFuture);
        }
        let hash = self.hash(owner, &nonce.0);
        let Err(mut cell) = self.find(hash, owner, &nonce.0) else {
            return Err(Code::OrdNonceReplayed);
        };
        if !self.has_room(owner) {
            self.forget(FORGET_WHEN_FULL);
            if !self.has_room(owner) {
                return Err(Code::OrdReplayCacheFull);
            }
            // Cells have moved.
            let Err(moved) = self.find(hash, owner, &nonce.0) else { return Err(Code::OrdNonceReplayed) };
            cell = moved;
        }
        let place = usize::try_from(slice % self.slices.len() as u64).unwrap_or(0);
        let number = self.allocate(Entry { nonce: nonce.0, owner, next: self.slices[place].head });
        let list = &mut self.slices[place];
        if list.tail == NONE {
            list.tail = number;
        }
        list.head = number;
        self.cells[cell] = u64::from(hash) << 32 | (u64::from(number) + 1);
        let place = owner.0 as usize;
        if place >= self.owners.len() {
            self.owners.resize(place + 1, 0);
        }
        self.owners[place] += 1;
        Ok(())
    }

    /// Nonces in memory, those that wait to be forgotten included.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.used
    }

    /// Bytes that entries and index take up at most, the memory of owners left out.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.chunks.len() * CHUNK * size_of::<Entry>() + self.cells.len() * size_of::<u64>()
    }

    /// Raises the floor to what `now` allows and hands the slices below it to the past.
    fn advance(&mut self, now: UnixNanos) {
        // A slice is past when even its last moment plus window and skew lies before `now`.
        let floor = now.0.saturating_sub(self.window_ns + SKEW_NS) / self.slice_ns;
        if floor <= self.floor_slice {
            return;
        }
        let passed = (floor - self.floor_slice).min(self.slices.len() as u64);
        for slice in self.floor_slice..self.floor_slice + passed {
            let place = usize::try_from(slice % self.slices.len() as u64).unwrap_or(0);
            let list = std::mem::replace(&mut self.slices[place], List::EMPTY);
            if list.head != NONE {
                self.entry_mut(list.tail).next = self.past.head;
                if self.past.tail == NONE {
                    self.past.tail = list.tail;
                }
                self.past.head = list.head;
            }
        }
        self.floor_slice = floor;
    }

    /// Forgets at most `count` past nonces.
    fn forget(&mut self, count: usize) {
        for _ in 0..count {
            let number = self.past.head;
            if number == NONE {
                return;
            }
            let entry = self.entry(number);
            self.past.head = entry.next;
            if entry.next == NONE {
                self.past.tail = NONE;
            }
            self.remove_cell(self.hash(entry.owner, &entry.nonce), number);
            self.entry_mut(number).next = self.free;
            self.free = number;
            self.used -= 1;
            self.owners[entry.owner.0 as usize] -= 1;
        }
    }

    fn has_room(&self, owner: OwnerId) -> bool {
        let owned = self.owners.get(owner.0 as usize).copied().unwrap_or(0);
        self.used < self.nonces_max && owned < self.per_owner_max
    }

    fn hash(&self, owner: OwnerId, nonce: &[u8; 16]) -> u32 {
        // One key of fixed length: shorter to hash than a tuple, and as unambiguous.
        let mut key = [0; 20];
        key[..16].copy_from_slice(nonce);
        key[16..].copy_from_slice(&owner.0.to_le_bytes());
        let mut hasher = self.hasher.build_hasher();
        hasher.write(&key);
        (hasher.finish() >> 32) as u32
    }

    /// The cell where a search for this hash begins: the hash scaled to the number of cells.
    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.cells.len() as u64) >> 32) as usize
    }

    fn after(&self, cell: usize) -> usize {
        if cell + 1 == self.cells.len() { 0 } else { cell + 1 }
    }

    /// `Ok` with the cell that holds the nonce, or `Err` with the empty cell where it belongs.
    fn find(&self, hash: u32, owner: OwnerId, nonce: &[u8; 16]) -> Result<usize, usize> {
        let mut cell = self.home(hash);
        // At least a third of the cells is empty, so the search ends.
        loop {
            let content = self.cells[cell];
            if content == 0 {
                return Err(cell);
            }
            if (content >> 32) == u64::from(hash) {
                let entry = self.entry(number_in(content));
                if entry.owner == owner && entry.nonce == *nonce {
                    return Ok(cell);
                }
            }
            cell = self.after(cell);
        }
    }

    /// Empties the cell of entry `number` and moves later cells back over the hole.
    fn remove_cell(&mut self, hash: u32, number: u32) {
        let mut hole = self.home(hash);
        while number_in(self.cells[hole]) != number {
            if self.cells[hole] == 0 {
                debug_assert!(false, "every entry in use has a cell");
                return;
            }
            hole = self.after(hole);
        }
        let mut cell = hole;
        loop {
            cell = self.after(cell);
            let content = self.cells[cell];
            if content == 0 {
                break;
            }
            let home = self.home((content >> 32) as u32);
            // The content may move into the hole unless its home lies (cyclically) behind the hole.
            let stays = if hole < cell { hole < home && home <= cell } else { hole < home || home <= cell };
            if !stays {
                self.cells[hole] = content;
                hole = cell;
            }
        }
        self.cells[hole] = 0;
    }

    fn entry(&self, number: u32) -> Entry {
        self.chunks[number as usize / CHUNK][number as usize % CHUNK]
    }

    fn entry_mut(&mut self, number: u32) -> &mut Entry {
        &mut self.chunks[number as usize / CHUNK][number as usize % CHUNK]
    }

    fn allocate(&mut self, entry: Entry) -> u32 {
        if self.free == NONE {
            self.add_chunk();
        }
        let number = self.free;
        self.free = self.entry(number).next;
        *self.entry_mut(number) = entry;
        self.used += 1;
        number
    }

    /// Adds a chunk whose entries form the free list, lowest number first.
    fn add_chunk(&mut self) {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "NONCES_MAX bounds the number of entries to 2^28"
        )]
        let first = (self.chunks.len() * CHUNK) as u32;
        let blank = |next| Entry { nonce: [0; 16], owner: OwnerId(0), next };
        let mut chunk: Box<[Entry]> = (first + 1..).take(CHUNK).map(blank).collect();
        chunk[CHUNK - 1].next = NONE;
        self.chunks.push(chunk);
        self.free = first;
    }
}

/// The entry number in a cell; [`NONE`] in an empty one.
const fn number_in(content: u64) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "the lower half of 64 bits is 32 bits")]
    let lower = content as u32;
    lower.wrapping_sub(1)
}

impl std::fmt::Debug for ReplayCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplayCache")
            .field("count", &self.used)
            .field("max", &self.nonces_max)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
