//! What is durable, the receipts for it, and those who wait for it.
//!
//! A group wakes those whose entry is in it and nobody else ([`Waiters`]).

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::chain::Hash;
use crate::log::Receipt;
use crate::waiters::Waiters;

/// The durable end of the log and the hashes of its most recent entries.
#[derive(Debug)]
pub(crate) struct Durable {
    log_id: Hash,
    size: AtomicU64,
    ring: Mutex<Ring>,
    waiters: Waiters,
}

#[derive(Debug)]
struct Ring {
    hashes: Vec<Hash>,
    /// The first entry of this run: what came before has no hash here.
    first_seq: u64,
    size: u64,
}

impl Durable {
    /// A log that has `size` durable entries; keeps receipts of the last `receipts` to come.
    pub(crate) fn new(log_id: Hash, size: u64, receipts: usize) -> Self {
        let ring = Ring { hashes: vec![[0; 32]; receipts], first_seq: size, size };
        Self { log_id, size: AtomicU64::new(size), ring: Mutex::new(ring), waiters: Waiters::default() }
    }

    /// Number of durable entries.
    pub(crate) fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// Takes up the entries of a group that has become durable and wakes who waits for them.
    pub(crate) fn publish(&self, first_seq: u64, leaves: &[Hash]) {
        let size = first_seq + leaves.len() as u64;
        {
            let mut ring = self.ring.lock();
            let capacity = ring.hashes.len();
            let mut at = usize::try_from(first_seq % capacity as u64).unwrap_or(0);
            for leaf in leaves {
                ring.hashes[at] = *leaf;
                at = if at + 1 == capacity { 0 } else { at + 1 };
            }
            ring.size = size;
            self.size.store(size, Ordering::Release);
        }
        self.waiters.call_below(size);
    }

    /// Wakes everybody: the log has failed or ended.
    pub(crate) fn wake_all(&self) {
        self.waiters.call_all();
    }

    /// Blocks until entry `seq` is durable, or until `given_up`, which is asked whenever the waiter is woken.
    pub(crate) fn wait<T>(&self, seq: u64, given_up: impl Fn() -> Option<T>) -> Result<(), T> {
        while self.size() <= seq {
            if let Some(reason) = given_up() {
                // The last group may have come between the two questions. Its other entries are acknowledged, so this one is too.
                return if self.size() > seq { Ok(()) } else { Err(reason) };
            }
            self.waiters.wait(seq, || self.size() > seq || given_up().is_some());
        }
        Ok(())
    }

    /// Receipt of a durable entry, if its hash is still kept.
    pub(crate) fn receipt(&self, seq: u64) -> Option<Receipt> {
        let ring = self.ring.lock();
        let capacity = ring.hashes.len() as u64;
        let kept = seq < ring.size && seq >= ring.first_seq && ring.size - seq <= capacity;
        let hash = *ring.hashes.get(usize::try_from(seq % capacity).ok()?)?;
        kept.then_some(Receipt { log_id: self.log_id, seq, hash })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_are_kept_for_as_many_entries_as_the_ring_holds() {
        let durable = Durable::new([1; 32], 100, 8);
        assert_eq!(durable.receipt(99), None);
        for first in (100..160u64).step_by(3) {
            let leaves: Vec<Hash> = (first..first + 3).map(|seq| [u8::try_from(seq).unwrap(); 32]).collect();
            durable.publish(first, &leaves);
            let size = durable.size();
            for seq in 90..size + 3 {
                let expected = seq >= 100 && seq < size && size - seq <= 8;
                let receipt = durable.receipt(seq);
                assert_eq!(receipt.is_some(), expected, "entry {seq} of {size}");
                assert!(receipt.is_none_or(|receipt| receipt.hash == [u8::try_from(seq).unwrap(); 32]));
            }
        }
    }

    #[test]
    fn an_entry_that_becomes_durable_just_before_the_log_fails_is_acknowledged_like_those_behind_it() {
        // The last group and the failure both come after the waiter has looked at the size and before it asks for the failure.
        let wait = |seq: u64| {
            let durable = Durable::new([1; 32], 0, 1_024);
            durable.wait(seq, || {
                durable.publish(0, &[[2; 32]; 10]);
                Some("failed")
            })
        };
        assert_eq!((wait(0), wait(9), wait(10)), (Ok(()), Ok(()), Err("failed")));
    }

    #[test]
    fn waiters_wake_for_their_entry_or_when_the_log_gives_up() {
        let durable = Durable::new([1; 32], 0, 1_024);
        let failed = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let wait = |seq: u64| {
                let (durable, failed) = (&durable, &failed);
                scope.spawn(move || durable.wait(seq, || failed.load(Ordering::Acquire).then_some(())))
            };
            let early: Vec<_> = (0..300).map(wait).collect();
            let never = wait(1_000_000);
            durable.publish(0, &[[2; 32]; 120]);
            durable.publish(120, &[[2; 32]; 180]);
            assert!(early.into_iter().all(|thread| thread.join().unwrap().is_ok()));
            failed.store(true, Ordering::Release);
            durable.wake_all();
            assert_eq!(never.join().unwrap(), Err(()));
        });
    }
}
