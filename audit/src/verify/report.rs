//! The verdicts, their exit codes and precedence, and the report.

use std::fmt;

use crate::chain::Hash;
use crate::layout::Recovery;

/// What a verification came to. Exit codes are a contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Intact, and an anchor was given.
    Verified,
    /// As [`Verdict::Verified`], with declared recoveries or a pruned beginning.
    Recovered,
    /// Bytes disagree with a hash, seal or signature below the last complete group.
    Tampered,
    /// The end of the log is missing.
    Truncated,
    /// Damage after the last complete group that a crash cannot explain.
    Corrupt,
    /// Self-consistent only: no anchor was given.
    Unanchored,
    /// Two validly signed checkpoints that cannot both be true.
    Fork,
    /// With `K_0`: an epoch is missing, sealed twice, out of order, or seals were stripped.
    EpochGap,
    /// Intact up to the last complete group; what follows is what a crash leaves.
    Unclean,
}

impl Verdict {
    /// All verdicts, the one that is reported first when several hold coming first.
    pub const BY_PRECEDENCE: [Self; 9] = [
        Self::Fork,
        Self::Tampered,
        Self::Truncated,
        Self::EpochGap,
        Self::Corrupt,
        Self::Unclean,
        Self::Unanchored,
        Self::Recovered,
        Self::Verified,
    ];

    /// Exit code of a command that ends with this verdict.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Verified => 0,
            Self::Recovered => 1,
            Self::Tampered => 20,
            Self::Truncated => 21,
            Self::Corrupt => 22,
            Self::Unanchored => 23,
            Self::Fork => 24,
            Self::EpochGap => 25,
            Self::Unclean => 26,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Verified => "VERIFIED",
            Self::Recovered => "RECOVERED",
            Self::Tampered => "TAMPERED",
            Self::Truncated => "TRUNCATED",
            Self::Corrupt => "CORRUPT",
            Self::Unanchored => "UNANCHORED",
            Self::Fork => "FORK",
            Self::EpochGap => "EPOCH GAP",
            Self::Unclean => "UNCLEAN",
        })
    }
}

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// What it makes of the log.
    pub verdict: Verdict,
    /// First entry concerned.
    pub seq: u64,
    /// Last entry among which the difference lies, where it can be told no better.
    pub until: Option<u64>,
    /// What is wrong.
    pub what: String,
    /// File relative to the log's folder.
    pub file: String,
    /// Byte in the file, where there is one to name.
    pub offset: Option<u64>,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.until {
            Some(until) => write!(f, "entries {} to {until}: {} ({}", self.seq, self.what, self.file)?,
            None => write!(f, "entry {}: {} ({}", self.seq, self.what, self.file)?,
        }
        match self.offset {
            Some(offset) => write!(f, ", byte {offset})"),
            None => write!(f, ")"),
        }
    }
}

/// A recovery that the log declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveryFound {
    /// The RECOVERY entry.
    pub seq: u64,
    /// When it was written, nanoseconds since the UNIX epoch.
    pub utc_ns: u64,
    /// What it declares.
    pub recovery: Recovery,
}

/// A beginning that was pruned, as a PRUNE entry in the kept part allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrunedFound {
    /// First entry there is.
    pub first_seq: u64,
    /// The PRUNE entry that allows it: the last one that does.
    pub seq: u64,
    /// When it was written, nanoseconds since the UNIX epoch.
    pub utc_ns: u64,
    /// First entry that it keeps; above `first_seq` where the deletion was interrupted.
    pub keeps_from: u64,
}

/// What the links to another log came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TapeFound {
    /// The other log.
    pub log_id: Hash,
    /// Links that were compared with it.
    pub links: u64,
    /// Size that the last of them states: entries of the other log that this one vouches for.
    pub size: u64,
    /// Links whose size was pruned from it, or lies behind what is broken.
    pub links_unchecked: u64,
    /// Links to other logs than this one.
    pub other_links: u64,
}

/// How far a verification has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Entries checked.
    pub entries: u64,
    /// Bytes checked.
    pub bytes: u64,
    /// Bytes of all segments.
    pub bytes_total: u64,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The verdict: the first by precedence of those that hold.
    pub verdict: Verdict,
    /// What led to the verdict, at the smallest sequence number; `None` when nothing is wrong.
    pub first_bad: Option<Bad>,
    /// Everything that is wrong, in the order found; checking stops at what makes the rest meaningless.
    pub findings: Vec<Bad>,
    /// The log.
    pub log_id: Hash,
    /// Its origin.
    pub origin: String,
    /// The key everything was checked with, as text; from the anchor where one was given.
    pub key: String,
    /// First entry that was checked; above 0 after pruning or where a checkpoint was started from.
    pub checked_from: u64,
    /// Entries in complete groups, those of a pruned beginning included; all that are there were checked.
    pub entries: u64,
    /// Root of the tree over them.
    pub root: Hash,
    /// Groups.
    pub groups: u64,
    /// Segments.
    pub segments: u64,
    /// Bytes checked.
    pub bytes: u64,
    /// Good checkpoints of the log's own.
    pub checkpoints: u64,
    /// Size of the last good one.
    pub checkpointed_entries: u64,
    /// Entries that the anchors vouch for; those after it are self-consistent only.
    pub anchored_entries: u64,
    /// Recoveries that the log declares.
    pub recoveries: Vec<RecoveryFound>,
    /// The beginning that was pruned, where the log does not begin with entry 0 and may.
    pub pruned: Option<PrunedFound>,
    /// Runs of the writer.
    pub runs: u64,
    /// Epochs begun.
    pub epochs: u64,
    /// Whether the last entry is STOP.
    pub stopped: bool,
    /// Whether a writer was at work.
    pub live: bool,
    /// The other log that its links were compared with, where that was asked for.
    pub tape: Option<TapeFound>,
    /// Files that are none of the log's.
    pub strays: Vec<String>,
    /// What was not checked, and why.
    pub not_checked: Vec<String>,
}

/// Findings most of which are never shown are still counted only so far.
const FINDINGS_MAX: usize = 1_000;

/// Collects what is wrong.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    list: Vec<Bad>,
}

impl Findings {
    pub(crate) fn add(&mut self, verdict: Verdict, seq: u64, what: String, file: &str, offset: Option<u64>) {
        self.push(Bad { verdict, seq, until: None, what, file: file.to_owned(), offset });
    }

    /// Adds a finding that may be a range of entries.
    pub(crate) fn push(&mut self, bad: Bad) {
        if self.list.len() < FINDINGS_MAX {
            self.list.push(bad);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn has(&self, verdict: Verdict) -> bool {
        self.list.iter().any(|bad| bad.verdict == verdict)
    }

    /// Whether anything is wrong at or after entry `seq`.
    pub(crate) fn has_from(&self, seq: u64) -> bool {
        self.list.iter().any(|bad| bad.seq >= seq)
    }

    /// The verdict these findings come to, `otherwise` if there are none, and what led to it.
    pub(crate) fn conclude(self, otherwise: Verdict) -> (Verdict, Option<Bad>, Vec<Bad>) {
        let worst = Verdict::BY_PRECEDENCE.into_iter().find(|verdict| self.has(*verdict));
        let verdict = worst.unwrap_or(otherwise);
        let candidates = self.list.iter().filter(|bad| bad.verdict == verdict);
        // A place that is known says more than a range that begins earlier.
        let first = candidates.min_by_key(|bad| (bad.until.is_some(), bad.seq)).cloned();
        (verdict, first, self.list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdict_exit_codes_and_precedence_are_the_contract() {
        let codes = Verdict::BY_PRECEDENCE.map(Verdict::exit_code);
        assert_eq!(codes, [24, 20, 21, 25, 22, 26, 23, 1, 0]);
    }

    #[test]
    fn worst_finding_decides_and_its_smallest_entry_is_named() {
        let mut findings = Findings::default();
        findings.add(Verdict::Unclean, 1, "tail".to_owned(), "a", None);
        findings.add(Verdict::Tampered, 9, "late".to_owned(), "b", None);
        findings.add(Verdict::Tampered, 5, "early".to_owned(), "c", Some(7));
        let (what, file) = ("somewhere".to_owned(), "d".to_owned());
        findings.push(Bad { verdict: Verdict::Tampered, seq: 2, until: Some(8), what, file, offset: None });
        let (verdict, first, all) = findings.conclude(Verdict::Verified);
        assert_eq!((verdict, all.len()), (Verdict::Tampered, 4));
        assert_eq!(first.unwrap().to_string(), "entry 5: early (c, byte 7)");
        assert_eq!(Findings::default().conclude(Verdict::Recovered).0, Verdict::Recovered);
    }
}
