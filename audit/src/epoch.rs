//! Epochs: a counter, a key that only moves forward, and the seal on every group.
//!
//! `K_(e+1) = SHA-256("sealfeed/v1 evolve\n" || K_e)`; the old key is erased, so whoever takes the machine over can seal nothing
//! of the past. `K_0` goes offline when the log is made. The key file has two slots in blocks of their own: the new key is
//! written and synced into the free slot before the old one is overwritten, so a crash at any point leaves a valid key.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::chain::{HASH_BYTES, Hash, sha256, sha256_of};
use crate::entry::{array, u64_at};

/// Bytes of the key file.
pub(crate) const KEY_FILE_BYTES: usize = 2 * SLOT_STRIDE;
/// Distance of the slots: they never share a block of the device.
pub(crate) const SLOT_STRIDE: usize = 4_096;

const SLOT_MAGIC: &[u8; 8] = b"sfepoch1";
const SLOT_BYTES: usize = 8 + 8 + HASH_BYTES + HASH_BYTES;

/// The key of one epoch. Never in `Debug` output; overwritten when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct EpochKey {
    epoch: u64,
    key: [u8; HASH_BYTES],
}

impl fmt::Debug for EpochKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EpochKey").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

impl Drop for EpochKey {
    fn drop(&mut self) {
        erase(&mut self.key);
    }
}

impl EpochKey {
    /// `K_0`.
    #[must_use]
    pub fn first(k0: [u8; HASH_BYTES]) -> Self {
        Self { epoch: 0, key: k0 }
    }

    /// The epoch this key seals.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The key of the next epoch.
    #[must_use]
    pub fn next(&self) -> Self {
        Self { epoch: self.epoch + 1, key: sha256_of(&[b"sealfeed/v1 evolve\n", &self.key]) }
    }

    /// The same key under another epoch's number, which no honest writer uses.
    pub(crate) fn relabelled(&self, epoch: u64) -> Self {
        Self { epoch, key: self.key }
    }

    /// `K_0`, if this is the key of epoch 0.
    pub(crate) fn into_k0(self) -> Option<[u8; HASH_BYTES]> {
        (self.epoch == 0).then_some(self.key)
    }

    /// The seal of a group that ends with entry `seq` of leaf hash `leaf`.
    #[must_use]
    pub fn seal(&self, log_id: &Hash, seq: u64, leaf: &Hash) -> [u8; HASH_BYTES] {
        self.mac(log_id, seq, leaf).finalize().into_bytes().into()
    }

    /// Whether `seal` is this key's, in constant time.
    #[must_use]
    pub fn check_seal(&self, log_id: &Hash, seq: u64, leaf: &Hash, seal: &[u8]) -> bool {
        self.mac(log_id, seq, leaf).verify_slice(seal).is_ok()
    }

    fn mac(&self, log_id: &Hash, seq: u64, leaf: &Hash) -> Hmac<Sha256> {
        // A key shorter than the block is padded with zeros, as RFC 2104 says; so padded it has the length the type asks for.
        let mut block = [0u8; 64];
        block[..HASH_BYTES].copy_from_slice(&self.key);
        let mut mac = <Hmac<Sha256> as KeyInit>::new(&block.into());
        erase(&mut block);
        mac.update(b"sealfeed/v1 seal\n");
        mac.update(log_id);
        mac.update(&self.epoch.to_le_bytes());
        mac.update(&seq.to_le_bytes());
        mac.update(leaf);
        mac
    }

    /// Where this key's slot starts in the key file.
    pub(crate) fn slot_offset(&self) -> u64 {
        (self.epoch % 2) * 4_096
    }

    /// The slot's bytes.
    pub(crate) fn to_slot(&self) -> [u8; SLOT_BYTES] {
        let mut slot = [0u8; SLOT_BYTES];
        slot[..8].copy_from_slice(SLOT_MAGIC);
        slot[8..16].copy_from_slice(&self.epoch.to_le_bytes());
        slot[16..48].copy_from_slice(&self.key);
        let check = sha256(&slot[..48]);
        slot[48..].copy_from_slice(&check);
        slot
    }

    /// The newest valid key of a key file.
    pub(crate) fn from_file(file: &[u8]) -> Option<Self> {
        let slots = [0, SLOT_STRIDE].into_iter().filter_map(|offset| Self::from_slot(file.get(offset..)?));
        slots.max_by_key(Self::epoch)
    }

    fn from_slot(bytes: &[u8]) -> Option<Self> {
        let slot = bytes.first_chunk::<SLOT_BYTES>()?;
        let whole = slot.starts_with(SLOT_MAGIC) && sha256(&slot[..48]) == slot[48..];
        whole.then(|| Self { epoch: u64_at(slot, 8), key: array(slot, 16) })
    }
}

/// Zeros for a slot that is no longer needed.
pub(crate) const EMPTY_SLOT: [u8; SLOT_BYTES] = [0; SLOT_BYTES];

/// What the genesis entry says about `K_0`, so that the key in escrow can be recognised.
#[must_use]
pub fn escrow_fingerprint(k0: &[u8; HASH_BYTES]) -> Hash {
    sha256_of(&[b"sealfeed/v1 escrow\n", k0])
}

/// Overwrites a secret. The black box keeps the compiler from dropping a write that nobody reads.
pub(crate) fn erase(secret: &mut [u8]) {
    std::hint::black_box(&mut *secret).fill(0);
    std::hint::black_box(&secret);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_valid_slot_wins_whatever_a_crash_left_in_the_other() {
        let old = EpochKey::first([1; 32]);
        let new = old.next();
        let mut file = vec![0u8; KEY_FILE_BYTES];
        let put = |file: &mut Vec<u8>, key: &EpochKey, bytes: usize| {
            let at = usize::try_from(key.slot_offset()).unwrap();
            file[at..at + bytes].copy_from_slice(&key.to_slot()[..bytes]);
        };
        put(&mut file, &old, SLOT_BYTES);
        for written in 0..SLOT_BYTES {
            put(&mut file, &new, written);
            let expected = if written < SLOT_BYTES { 0 } else { 1 };
            assert_eq!(
                EpochKey::from_file(&file).unwrap().epoch(),
                expected,
                "{written} bytes of the new slot"
            );
        }
        put(&mut file, &new, SLOT_BYTES);
        assert_eq!(EpochKey::from_file(&file).unwrap(), new);
        file[..SLOT_BYTES].fill(0);
        assert_eq!(EpochKey::from_file(&file).unwrap(), new);
        assert!(EpochKey::from_file(&vec![0; KEY_FILE_BYTES]).is_none());
    }

    #[test]
    fn a_seal_fits_its_epoch_log_position_and_leaf_only() {
        let key = EpochKey::first([1; 32]);
        let seal = key.seal(&[2; 32], 3, &[4; 32]);
        assert!(key.check_seal(&[2; 32], 3, &[4; 32], &seal));
        assert!(!key.next().check_seal(&[2; 32], 3, &[4; 32], &seal));
        assert!(!key.check_seal(&[9; 32], 3, &[4; 32], &seal));
        assert!(!key.check_seal(&[2; 32], 4, &[4; 32], &seal));
        assert!(!key.check_seal(&[2; 32], 3, &[5; 32], &seal));
        assert!(!format!("{key:?}").contains("1, 1"));
    }
}
