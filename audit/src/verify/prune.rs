//! PRUNE entries: whether the log may begin where it does, and whether they say what the headers of the segments say.

use std::collections::BTreeMap;

use crate::chain::{Hash, sha256};
use crate::layout::Prune;
use crate::segment::SegmentHeader;
use crate::verify::Verdict;
use crate::verify::report::{Findings, PrunedFound};

/// A PRUNE as it was met.
#[derive(Clone, Debug)]
pub(crate) struct PruneEntry {
    pub(crate) seq: u64,
    pub(crate) utc_ns: u64,
    pub(crate) offset: u64,
    /// `None` when the payload is none.
    pub(crate) prune: Option<Prune>,
}

/// What is known about beginnings.
#[derive(Debug, Default)]
pub(crate) struct Prunes {
    /// For the first entry of every segment met: SHA-256 of the only payload that a PRUNE down to it can have.
    starts: BTreeMap<u64, Hash>,
    /// The largest entry that a PRUNE keeps from: its seq, time, and that entry.
    reach: Option<(u64, u64, u64)>,
}

impl Prunes {
    /// Takes up a header that has been checked.
    pub(crate) fn segment_starts(&mut self, header: &SegmentHeader) {
        self.starts.insert(header.first_seq(), sha256(&Prune::down_to(header).to_payload()));
    }

    /// Checks the PRUNE entries of a segment whose walk is over; entries before `from` are not known.
    pub(crate) fn weigh(&mut self, entries: Vec<PruneEntry>, from: u64, file: &str, findings: &mut Findings) {
        for PruneEntry { seq, utc_ns, offset, prune } in entries {
            let mut bad = |what: &str| {
                findings.add(Verdict::Tampered, seq, what.to_owned(), file, Some(offset));
            };
            let Some(prune) = prune else {
                bad("payload of a PRUNE is not readable");
                continue;
            };
            let first = prune.first_seq();
            match self.starts.get(&first) {
                Some(_) if first > seq => bad("PRUNE keeps less than itself"),
                Some(expected) if *expected == sha256(&prune.to_payload()) => {}
                Some(_) => bad("PRUNE differs from the header of the segment it names"),
                None if first < from => {}
                None => bad("PRUNE names an entry that no segment before it starts with"),
            }
            if self.reach.is_none_or(|(_, _, reached)| first >= reached) {
                self.reach = Some((seq, utc_ns, first));
            }
        }
    }

    /// The PRUNE that allows the log to begin with entry `first_seq`.
    pub(crate) fn allows(&self, first_seq: u64) -> Option<PrunedFound> {
        let (seq, utc_ns, keeps_from) = self.reach.filter(|(_, _, keeps_from)| *keeps_from >= first_seq)?;
        Some(PrunedFound { first_seq, seq, utc_ns, keeps_from })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::layout::{seal_path, segment_path};
    use crate::storage::{Access, DiskStorage, Storage};
    use crate::verify::{Anchors, Report, verify};
    use crate::{Draft, InitOptions, Log, Options, SEGMENT_BYTES_MIN, SEGMENT_HEADER_BYTES, init, kind};

    const ORIGIN: &str = "log.example/audit";

    fn header_of(folder: &Path, first_seq: u64) -> SegmentHeader {
        let file = DiskStorage::new(folder).open(&segment_path(first_seq), Access::Read).unwrap();
        let mut bytes = vec![0u8; SEGMENT_HEADER_BYTES];
        file.read_at(0, &mut bytes).unwrap();
        SegmentHeader::parse(&bytes).unwrap()
    }

    struct Subject {
        folder: tempfile::TempDir,
        anchors: Anchors,
        firsts: Vec<u64>,
    }

    impl Subject {
        /// Five segments; the PRUNE that `prune` makes of the third's header lies in the fourth.
        fn new(prune: impl FnOnce(Prune) -> Vec<u8>) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let made = init(
                folder.path(),
                &InitOptions { segment_bytes: SEGMENT_BYTES_MIN, ..InitOptions::new(ORIGIN) },
            )
            .unwrap();
            let log = Log::open(
                folder.path(),
                Options { segment_bytes: SEGMENT_BYTES_MIN, ..Options::new(ORIGIN) },
            )
            .unwrap();
            let mut firsts = vec![0];
            let mut prune = Some(prune);
            for segment in 0..5u8 {
                if segment > 0 {
                    log.rotate();
                }
                let seq = log.append(Draft { kind: 300, payload: vec![segment; 40], ..Draft::default() });
                let seq = seq.unwrap();
                log.wait_durable(seq).unwrap();
                if segment > 0 {
                    firsts.push(seq);
                }
                if segment == 3 {
                    let payload =
                        (prune.take().unwrap())(Prune::down_to(&header_of(folder.path(), firsts[2])));
                    let own = Draft { kind: kind::PRUNE, payload, ..Draft::default() };
                    let seq = log.append_own_for_tests(own);
                    log.wait_durable(seq).unwrap();
                }
            }
            log.stop().unwrap();
            let anchors = Anchors { key: Some(made.public_key), k0: Some(made.k0), ..Anchors::default() };
            Self { folder, anchors, firsts }
        }

        fn remove(&self, segments: std::ops::Range<usize>) -> Report {
            for first in &self.firsts[segments] {
                std::fs::remove_file(self.folder.path().join(segment_path(*first))).unwrap();
                std::fs::remove_file(self.folder.path().join(seal_path(*first))).unwrap();
            }
            verify(self.folder.path(), &self.anchors, &mut |_| {}).unwrap()
        }
    }

    #[test]
    fn a_beginning_leaves_only_as_far_as_a_prune_keeps_from() {
        let subject = Subject::new(|prune| prune.to_payload());
        let whole = subject.remove(0..0);
        assert_eq!((whole.verdict, whole.pruned), (Verdict::Verified, None), "{:?}", whole.findings);
        for removed in 1..=2 {
            let report = subject.remove(removed - 1..removed);
            assert_eq!(report.verdict, Verdict::Recovered, "{:?}", report.findings);
            let pruned = report.pruned.unwrap();
            assert_eq!((pruned.first_seq, pruned.keeps_from), (subject.firsts[removed], subject.firsts[2]));
            assert_eq!((report.entries, report.root), (whole.entries, whole.root));
            let said = format!("entries 0 to {}", subject.firsts[removed] - 1);
            assert!(
                report.not_checked.iter().any(|what| what.starts_with(&said)),
                "{:?}",
                report.not_checked
            );
        }
        let report = subject.remove(2..3);
        assert_eq!((report.verdict, report.first_bad.unwrap().seq), (Verdict::Tampered, 0));
    }

    #[test]
    fn a_beginning_that_no_prune_speaks_of_is_tampered_with() {
        let subject = Subject::new(|_| b"sealfeed/v1 prune\n".to_vec());
        let report = subject.remove(0..1);
        assert_eq!((report.verdict, report.first_bad.unwrap().seq), (Verdict::Tampered, 0));
    }

    #[test]
    fn a_prune_that_differs_from_the_header_it_names_is_tampered_with() {
        let wrong: [fn(Prune) -> Prune; 3] = [
            |prune| Prune { segment: prune.segment + 1, ..prune },
            |prune| Prune { previous: [0; 32], ..prune },
            |mut prune| {
                prune.frontier.push([1; 32]);
                prune
            },
        ];
        for change in wrong {
            let subject = Subject::new(|prune| change(prune).to_payload());
            let seq = subject.firsts[3] + 1;
            for removed in 0..=1 {
                let report = subject.remove(0..removed);
                let found =
                    report.findings.iter().any(|bad| bad.verdict == Verdict::Tampered && bad.seq == seq);
                assert!(found, "{:?}", report.findings);
                assert_eq!(report.verdict, Verdict::Tampered);
            }
        }
    }

    #[test]
    fn anchors_and_receipts_of_what_was_pruned_are_not_checked_and_no_error() {
        let subject = Subject::new(|prune| prune.to_payload());
        let text = std::fs::read_to_string(subject.folder.path().join("checkpoints")).unwrap();
        let first = text.split_inclusive("\n\n").next().unwrap().to_owned();
        assert!(first.starts_with("log.example/audit\n1\n"), "{first}");
        let early = first + text.split_inclusive("\n\n").nth(1).unwrap();
        let log_id = header_of(subject.folder.path(), 0).log_id;
        let receipt = crate::Receipt { log_id, seq: 0, hash: [9; 32] };
        subject.remove(0..2);
        let mut anchors = Anchors { checkpoints: vec![early], receipts: vec![receipt], ..Anchors::default() };
        let report = verify(subject.folder.path(), &anchors, &mut |_| {}).unwrap();
        assert_eq!(report.verdict, Verdict::Unanchored, "{:?}", report.findings);
        for said in ["checkpoints kept elsewhere of less", "receipts for entries of less"] {
            assert!(report.not_checked.iter().any(|what| what.contains(said)), "{:?}", report.not_checked);
        }
        anchors.key = subject.anchors.key.clone();
        let report = verify(subject.folder.path(), &anchors, &mut |_| {}).unwrap();
        assert_eq!(report.verdict, Verdict::Recovered, "{:?}", report.findings);
    }
}
