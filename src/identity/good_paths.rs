//! Certificates whose path to a root was verified, so that a client that connects again does not cost its signatures again.
//!
//! Whether the signatures, constraints and purposes on a path are good is a matter of the certificate's bytes and of the authorities
//! alone. Everything that time or an operator can change (dates, lists, deny-list, firms) is asked in every handshake, and so is the proof that the
//! peer holds the key. Belongs to one set of files: what a reload reads begins with none. Only what an
//! authority has issued comes in; bounded to [`KNOWN_MAX`], and what is forgotten is verified again. docs/adr/0047.

use std::collections::HashSet;

use parking_lot::Mutex;

/// Most certificates that are remembered: 4 MiB, tables included.
const KNOWN_MAX: usize = 65_536;

/// SHA-256 of certificates.
#[derive(Debug, Default)]
pub(super) struct GoodPaths(Mutex<Halves>);

/// Half of them are newer than the other half, which is forgotten as a whole.
#[derive(Debug, Default)]
struct Halves {
    newer: HashSet<[u8; 32]>,
    older: HashSet<[u8; 32]>,
}

impl GoodPaths {
    /// Whether the path of this certificate was good.
    pub(super) fn knows(&self, fingerprint: &[u8; 32]) -> bool {
        let mut halves = self.0.lock();
        if halves.newer.contains(fingerprint) {
            return true;
        }
        let is_known = halves.older.contains(fingerprint);
        if is_known {
            // Who comes back is remembered longer.
            halves.remember(*fingerprint);
        }
        is_known
    }

    /// The path of this certificate was good.
    pub(super) fn remember(&self, fingerprint: [u8; 32]) {
        self.0.lock().remember(fingerprint);
    }
}

impl Halves {
    fn remember(&mut self, fingerprint: [u8; 32]) {
        if self.newer.len() >= KNOWN_MAX / 2 {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(fingerprint);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(number: usize) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        bytes
    }

    #[test]
    fn what_was_good_is_known_and_nothing_else() {
        let paths = GoodPaths::default();
        paths.remember(fingerprint(1));
        assert!(paths.knows(&fingerprint(1)) && !paths.knows(&fingerprint(2)));
    }

    #[test]
    fn no_more_are_remembered_than_the_bound_and_those_who_come_back_stay() {
        let paths = GoodPaths::default();
        for number in 0..3 * KNOWN_MAX {
            paths.remember(fingerprint(number));
            assert!(paths.knows(&fingerprint(0)));
        }
        let halves = paths.0.lock();
        assert!(halves.newer.len() + halves.older.len() <= KNOWN_MAX);
        drop(halves);
        assert!(!paths.knows(&fingerprint(1)) && paths.knows(&fingerprint(3 * KNOWN_MAX - 1)));
    }
}
