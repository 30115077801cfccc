//! The seals of groups under `K_0`.

use crate::chain::Hash;
use crate::epoch::EpochKey;
use crate::verify::Verdict;
use crate::verify::report::Findings;
use crate::walk::{Chain, GroupView};

/// Epochs a key is moved forward for one group. An honest log never jumps; a forged number must not keep the verifier busy.
const EPOCH_STEPS_MAX: u64 = 1 << 26;
/// A wrong seal is tried with the keys of this many epochs past its own, to say with which one it was made.
const LATER_EPOCHS_TRIED: u64 = 10_000;

/// Checks seals, if `K_0` is known.
#[derive(Clone, Debug)]
pub(crate) struct Seals {
    k0: Option<EpochKey>,
    current: Option<EpochKey>,
    log_id: Hash,
}

impl Seals {
    pub(crate) fn new(k0: Option<[u8; 32]>, log_id: Hash) -> Self {
        let k0 = k0.map(EpochKey::first);
        Self { current: k0.clone(), k0, log_id }
    }

    /// Whether seals are being checked.
    pub(crate) fn active(&self) -> bool {
        self.current.is_some()
    }

    /// Checks no more seals: the key given is not this log's, or one seal was wrong already.
    pub(crate) fn give_up(&mut self) {
        self.current = None;
    }

    /// Checks the seal of a group that `chain` has taken up.
    pub(crate) fn check(
        &mut self,
        chain: &Chain,
        group: &GroupView<'_>,
        file: &str,
        findings: &mut Findings,
    ) {
        let seq = chain.frontier.size().saturating_sub(1);
        let first_seq = chain.frontier.size() - group.entries.len() as u64;
        let offset = Some(group.offset);
        let Some(key) = self.key_of(chain.epoch) else {
            if self.active() {
                let what = format!("epoch {} is out of all proportion", chain.epoch);
                findings.add(Verdict::EpochGap, first_seq, what, file, offset);
                self.give_up();
            }
            return;
        };
        if key.check_seal(&self.log_id, seq, &chain.previous, &group.seal) {
            self.current = Some(key);
            return;
        }
        let (verdict, what) = if group.seal == [0; 32] {
            (Verdict::EpochGap, "seal of the group was stripped".to_owned())
        } else if let Some(epoch) = self.made_in(chain, seq, &group.seal) {
            (
                Verdict::EpochGap,
                format!("group of epoch {} is sealed with the key of epoch {epoch}", chain.epoch),
            )
        } else {
            (Verdict::Tampered, "seal of the group does not fit its epoch's key".to_owned())
        };
        findings.add(verdict, first_seq, what, file, offset);
        self.give_up();
    }

    /// Moves the key to an epoch, for a segment that begins in it; false when that is out of all proportion.
    pub(crate) fn advance(&mut self, epoch: u64) -> bool {
        !self.active() || self.key_of(epoch).is_some()
    }

    fn key_of(&mut self, epoch: u64) -> Option<EpochKey> {
        let mut key = self.current.take()?;
        if key.epoch() > epoch {
            key = self.k0.clone()?;
        }
        if epoch - key.epoch() > EPOCH_STEPS_MAX {
            self.current = Some(key);
            return None;
        }
        while key.epoch() < epoch {
            key = key.next();
        }
        self.current = Some(key.clone());
        Some(key)
    }

    /// The epoch whose key made a seal that does not fit its own.
    fn made_in(&self, chain: &Chain, seq: u64, seal: &[u8]) -> Option<u64> {
        let mut key = self.k0.clone()?;
        let last = chain.epoch.saturating_add(LATER_EPOCHS_TRIED);
        loop {
            // The epoch is under the seal too, so a wrong key may have been used with either number.
            if key.check_seal(&self.log_id, seq, &chain.previous, seal) {
                return Some(key.epoch());
            }
            if key.relabelled(chain.epoch).check_seal(&self.log_id, seq, &chain.previous, seal) {
                return Some(key.epoch());
            }
            if key.epoch() >= last {
                return None;
            }
            key = key.next();
        }
    }
}
