//! Certificates as clients presented them: each chain stands in the log once a run, before the first `connect` that names it.
//!
//! The bytes only pass through: `identity` has judged them. What was recorded is remembered by its fingerprint, at most
//! [`KNOWN_MAX`] of them (32 bytes each); a full memory is forgotten as a whole and chains are recorded again.

use std::collections::HashSet;

use sealfeed_audit::PAYLOAD_BYTES_MAX;

use super::event::{Bytes, Certificate};
use super::{Journal, JournalError};

/// Fingerprints remembered at most.
const KNOWN_MAX: usize = 4_096;
/// Longest that the fingerprint and the numbers of the payload get: 64 digits with their length, and two counts.
const FIXED_BYTES_MAX: usize = 64 + 1 + 2 * LENGTH_BYTES_MAX;
/// Longest encoding of a length that fits an entry.
const LENGTH_BYTES_MAX: usize = 5;

/// Fingerprints of the chains that this run's log holds.
#[derive(Debug, Default)]
pub(super) struct Known(HashSet<[u8; 32]>);

impl Known {
    fn has(&self, fingerprint: &[u8; 32]) -> bool {
        self.0.contains(fingerprint)
    }

    fn remember(&mut self, fingerprint: [u8; 32]) {
        if self.0.len() >= KNOWN_MAX {
            self.0.clear();
        }
        self.0.insert(fingerprint);
    }
}

impl Journal {
    /// Makes sure that the chain whose leaf has this SHA-256 stands in the log: whatever names it is recorded after this returned.
    /// It is not durable yet.
    ///
    /// # Errors
    /// As [`Journal::record`].
    pub fn record_certificate(
        &self,
        fingerprint: [u8; 32],
        chain: &[impl AsRef<[u8]>],
    ) -> Result<(), JournalError> {
        // Held while appending: whoever finds the fingerprint known may name it.
        let mut known = self.certificates.lock();
        if known.has(&fingerprint) {
            return Ok(());
        }
        self.record(event(&fingerprint, chain))?;
        known.remember(fingerprint);
        Ok(())
    }
}

/// The event of a chain: as much of it, from the leaf on, as an entry can hold.
fn event(fingerprint: &[u8; 32], chain: &[impl AsRef<[u8]>]) -> Certificate {
    let mut room = PAYLOAD_BYTES_MAX - FIXED_BYTES_MAX;
    let fits = chain.iter().take_while(|der| {
        let left = room.checked_sub(LENGTH_BYTES_MAX + der.as_ref().len());
        room = left.unwrap_or(0);
        left.is_some()
    });
    let kept: Vec<Bytes> = fits.map(|der| Bytes(der.as_ref().to_vec())).collect();
    let left_out = u32::try_from(chain.len() - kept.len()).unwrap_or(u32::MAX);
    Certificate { sha256: sealfeed_wire::hex::encode(fingerprint), chain: kept, left_out }
}

#[cfg(test)]
mod tests {
    use super::super::{SCHEMA, decode};
    use super::*;
    use crate::journal::Event;

    #[test]
    fn a_chain_that_fits_is_recorded_whole_and_reads_back() {
        let chain = [vec![1u8; 900], vec![2u8; 1_200]];
        let made = Event::from(event(&[7; 32], &chain));
        let payload = made.encode().unwrap();
        assert!(payload.len() < 2_200, "a byte is a byte: {}", payload.len());
        assert_eq!(decode(made.kind(), SCHEMA, &payload).unwrap(), Some(made.clone()));
        let shown = serde_json::to_value(&made).unwrap();
        assert_eq!(shown["chain"][0], "01".repeat(900), "people see digits, not numbers");
        assert_eq!(shown["left_out"], 0);
    }

    #[test]
    fn a_chain_that_is_too_long_is_cut_behind_what_fits_and_says_so() {
        for (lengths, kept) in [
            (&[900, 64_000, 900][..], 2),
            (&[900, 65_000, 900], 1),
            (&[65_375, 900], 0),
            (&[64_000, 1_270, 90], 2),
            (&[64_000, 1_300, 9], 1),
        ] {
            let chain: Vec<Vec<u8>> = lengths.iter().map(|length| vec![1u8; *length]).collect();
            let made = event(&[7; 32], &chain);
            assert_eq!(
                (made.chain.len(), made.left_out as usize),
                (kept, lengths.len() - kept),
                "{lengths:?}"
            );
            assert!(Event::from(made).encode().unwrap().len() <= PAYLOAD_BYTES_MAX, "{lengths:?}");
        }
    }

    #[test]
    fn a_full_memory_is_forgotten_as_a_whole_and_never_grows() {
        let mut known = Known::default();
        let fingerprint = |number: usize| {
            let mut fingerprint = [0; 32];
            fingerprint[..8].copy_from_slice(&number.to_le_bytes());
            fingerprint
        };
        for number in 0..=KNOWN_MAX {
            assert!(!known.has(&fingerprint(number)));
            known.remember(fingerprint(number));
            assert!(known.has(&fingerprint(number)) && known.0.len() <= KNOWN_MAX);
        }
        assert!(!known.has(&fingerprint(0)), "recorded again when it comes again");
    }
}
