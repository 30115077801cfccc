//! The walk over all segments, entry by entry, and the verdict at its end.

use std::io;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::chain::{Hash, sha256};
use crate::entry::EntryRef;
use crate::epoch::escrow_fingerprint;
use crate::kind;
use crate::layout::{
    CHECKPOINTS, Genesis, QUARANTINE, Recovery, SEGMENTS, STATE, State, seal_path, segment_path,
    torn_segment_name,
};
use crate::log::Receipt;
use crate::note::NOTE_BYTES_MAX;
use crate::segment::{IN_FLIGHT_BYTES, SEGMENT_HEADER_BYTES, Seal, SealReason, SegmentHeader};
use crate::storage::{Access, Storage, read_whole};
use crate::verify::checkpoints::Checkpoints;
use crate::verify::report::{Bad, Findings, Progress, RecoveryFound, Report, Verdict};
use crate::verify::seals::Seals;
use crate::verify::{Anchors, Identity, SharedFile, VerifyError};
use crate::walk::{Chain, GroupView, GroupWalker, Stop, Tail, end_of_data, inspect_tail, later_group};

/// Progress is told after this many bytes.
const PROGRESS_BYTES: u64 = 4 << 20;

/// What one entry can tell the verifier beyond its place in the chain.
#[derive(Debug, Default)]
struct Notable {
    genesis: Option<Option<Genesis>>,
    recoveries: Vec<(u64, u64, Option<Recovery>)>,
    receipts: Vec<(u64, bool, u64)>,
    starts: u64,
    last_kind: u16,
}

/// What was true of the folder before the walk began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening {
    /// A writer held the lock.
    pub(crate) live: bool,
    /// What the state file said.
    pub(crate) state: Option<State>,
    /// Epoch of the key file.
    pub(crate) key_epoch: Option<u64>,
}

/// The walk's state.
#[derive(Debug)]
pub(crate) struct Segments<'a> {
    storage: &'a dyn Storage,
    identity: &'a Identity,
    anchors: &'a Anchors,
    receipts: Vec<Receipt>,
    checkpoints: Checkpoints,
    seals: Seals,
    findings: Findings,
    live: bool,
    state: Option<State>,
    key_epoch: Option<u64>,
    chain: Option<Chain>,
    notable: Notable,
    recoveries: Vec<RecoveryFound>,
    /// Torn bytes that the seal of the segment before declares: the next entry must be the RECOVERY that says so.
    expect_recovery: Option<(u64, u64, Hash)>,
    segments: u64,
    next_number: u64,
    bytes: u64,
    bytes_told: u64,
    bytes_total: u64,
    /// Nothing stopped the walk before the end of the log.
    complete: bool,
    /// The last segment was not walked to an end in good order, so what claims more entries speaks of damage.
    damaged_end: bool,
}

impl<'a> Segments<'a> {
    pub(crate) fn new(
        storage: &'a dyn Storage,
        identity: &'a Identity,
        anchors: &'a Anchors,
        checkpoints: Checkpoints,
        seals: Seals,
        opening: Opening,
        findings: Findings,
    ) -> Self {
        let Opening { live, state, key_epoch } = opening;
        let mut receipts = anchors.receipts.clone();
        receipts.sort_unstable_by_key(|receipt| std::cmp::Reverse(receipt.seq));
        Self {
            storage,
            identity,
            anchors,
            receipts,
            checkpoints,
            seals,
            findings,
            live,
            state,
            key_epoch,
            chain: None,
            notable: Notable::default(),
            recoveries: Vec::new(),
            expect_recovery: None,
            segments: 0,
            next_number: 0,
            bytes: 0,
            bytes_told: 0,
            bytes_total: 0,
            complete: false,
            damaged_end: false,
        }
    }

    /// Walks over the segments that start with these entries, in order, until something makes the rest meaningless.
    pub(crate) fn walk(
        &mut self,
        firsts: &[u64],
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), VerifyError> {
        for first_seq in firsts {
            let file = self.storage.open(&segment_path(*first_seq), Access::Read);
            let length = file.and_then(|file| file.length());
            self.bytes_total +=
                length.map_err(|source| VerifyError::Io { file: segment_path(*first_seq), source })?;
        }
        for (index, first_seq) in firsts.iter().enumerate() {
            let last = index + 1 == firsts.len();
            let going_on = self.segment(*first_seq, last, progress);
            let going_on =
                going_on.map_err(|source| VerifyError::Io { file: segment_path(*first_seq), source })?;
            if !going_on {
                return Ok(());
            }
        }
        self.complete = true;
        Ok(())
    }

    fn tampered(&mut self, seq: u64, what: &str, file: &str, offset: Option<u64>) -> bool {
        self.findings.add(Verdict::Tampered, seq, what.to_owned(), file, offset);
        false
    }

    /// One segment; false when nothing after it means anything.
    fn segment(
        &mut self,
        first_seq: u64,
        last: bool,
        progress: &mut dyn FnMut(Progress),
    ) -> io::Result<bool> {
        let name = segment_path(first_seq);
        let file = self.storage.open(&name, Access::Read)?;
        let length = file.length()?;
        let mut header_bytes = vec![0u8; SEGMENT_HEADER_BYTES];
        let read = file.read_at(0, &mut header_bytes)?;
        let due = self.chain.as_ref().map_or(0, |chain| chain.frontier.size());
        if first_seq != due {
            return Ok(self.tampered(due, "segment that starts with this entry is missing", &name, None));
        }
        let header = match SegmentHeader::parse(header_bytes.get(..read).unwrap_or_default()) {
            Ok(header) => header,
            Err(error) => return Ok(self.tampered(first_seq, &error.to_string(), &name, Some(0))),
        };
        if let Err(what) = self.check_header(&header, first_seq) {
            return Ok(self.tampered(first_seq, what, &name, Some(0)));
        }
        let chain = self.chain.get_or_insert_with(|| Chain::at_segment(&header));
        if chain.epoch_due() != header.epoch {
            let what = "segment's epoch is not the one due";
            let verdict = if self.seals.active() { Verdict::EpochGap } else { Verdict::Tampered };
            self.findings.add(verdict, first_seq, what.to_owned(), &name, Some(104));
        }
        self.segments += 1;
        self.next_number += 1;
        self.bytes += SEGMENT_HEADER_BYTES as u64;
        let Some(seal) = self.read_seal(&header, last)? else { return Ok(false) };
        let Some(seal) = seal else { return self.open_end(&header, &file, length, progress) };
        self.sealed(&header, &header_bytes, &seal, &file, length, last, progress)
    }

    fn check_header(&self, header: &SegmentHeader, first_seq: u64) -> Result<(), &'static str> {
        if header.key != *self.identity.key.bytes() || header.origin != self.identity.key.name() {
            return Err("segment header is signed by another key");
        }
        if header.log_id != self.identity.log_id {
            return Err("segment is of another log");
        }
        if header.first_seq() != first_seq || header.number != self.next_number {
            return Err("segment header is of another segment");
        }
        let continues = self.chain.as_ref().is_none_or(|chain| {
            chain.previous == header.previous
                && chain.frontier == header.frontier
                && chain.group == header.group
        });
        if continues { Ok(()) } else { Err("segment does not continue the one before") }
    }

    /// The seal of a segment: `Some(None)` where there rightly is none, `None` after a finding that ends the walk.
    #[expect(
        clippy::option_option,
        reason = "the outer option says whether to go on, the inner one whether there is a seal"
    )]
    fn read_seal(&mut self, header: &SegmentHeader, last: bool) -> io::Result<Option<Option<Seal>>> {
        let path = seal_path(header.first_seq());
        let note = match read_whole(self.storage, &path, NOTE_BYTES_MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if last {
                    return Ok(Some(None));
                }
                self.tampered(header.first_seq(), "segment that is not the last has no seal", &path, None);
                return Ok(None);
            }
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Vec::new(),
            other => other?,
        };
        let seal = Seal::open(std::str::from_utf8(&note).unwrap_or_default(), &self.identity.key);
        let fits = |seal: &Seal| {
            seal.log_id == header.log_id
                && seal.number == header.number
                && seal.first_seq == header.first_seq()
        };
        match seal {
            Ok(seal) if fits(&seal) => Ok(Some(Some(seal))),
            Ok(_) => {
                self.tampered(header.first_seq(), "seal is of another segment", &path, None);
                Ok(None)
            }
            Err(error) => {
                self.tampered(header.first_seq(), &format!("seal: {error}"), &path, None);
                Ok(None)
            }
        }
    }

    /// A sealed segment: every byte must be accounted for.
    #[expect(
        clippy::too_many_arguments,
        reason = "one segment's header, seal, file and place are one thing seen from here"
    )]
    fn sealed(
        &mut self,
        header: &SegmentHeader,
        header_bytes: &[u8],
        seal: &Seal,
        file: &SharedFile,
        length: u64,
        last: bool,
        progress: &mut dyn FnMut(Progress),
    ) -> io::Result<bool> {
        let name = segment_path(header.first_seq());
        let mut hasher = Sha256::new();
        hasher.update(header_bytes);
        let mut walker = GroupWalker::new(Arc::clone(file), seal.used_bytes.min(length));
        let stop = self.groups(&mut walker, &name, Some(&mut hasher), progress)?;
        let Some(stop) = stop else { return Ok(false) };
        let size = self.size();
        let end = walker.offset();
        if end != seal.used_bytes || size != seal.end_seq {
            let what = format!(
                "sealed segment should reach entry {} at byte {}: {}",
                seal.end_seq, seal.used_bytes, stop.what
            );
            return Ok(self.tampered(size + stop.entries_before, &what, &name, Some(stop.offset)));
        }
        let digest: Hash = hasher.finalize().into();
        if digest != seal.sha256 {
            return Ok(self.differs_from_seal(header.first_seq(), seal, &name));
        }
        if length != seal.file_bytes {
            return Ok(self.tampered(
                size,
                "sealed segment is longer or shorter than its seal says",
                &name,
                Some(end),
            ));
        }
        // In a live log the last segment may have been closed after the checkpoints were looked at.
        if !(self.live && last) {
            self.require_closing_checkpoint(seal);
        }
        self.torn(header, seal, file, end, last)
    }

    /// The SHA-256 under the seal is of other bytes. All is checked frame by frame too, so it is known more or less where.
    fn differs_from_seal(&mut self, first_seq: u64, seal: &Seal, name: &str) -> bool {
        if self.findings.has_from(first_seq) {
            return false;
        }
        let matched = self.checkpoints.last_match;
        if matched == seal.end_seq {
            // The entries are those that were signed; what the seal's hash alone covers is the groups' own seals.
            return self.tampered_within(
                first_seq,
                seal.end_seq,
                "seals of groups are not those under its SHA-256",
                name,
            );
        }
        self.tampered_within(
            first_seq.max(matched),
            seal.end_seq,
            "segment differs from the SHA-256 under its seal",
            name,
        )
    }

    fn tampered_within(&mut self, seq: u64, end_seq: u64, what: &str, file: &str) -> bool {
        let (until, what, file) = (Some(end_seq.saturating_sub(1)), what.to_owned(), file.to_owned());
        self.findings.push(Bad { verdict: Verdict::Tampered, seq, until, what, file, offset: None });
        false
    }

    /// A segment that is closed in good order has a checkpoint over its last entry.
    fn require_closing_checkpoint(&mut self, seal: &Seal) {
        if seal.reason == SealReason::Rotated && self.checkpoints.last_match != seal.end_seq {
            let what = format!("checkpoint of size {} at the close of a segment is missing", seal.end_seq);
            self.findings.add(Verdict::Tampered, self.checkpoints.last_match, what, CHECKPOINTS, None);
        }
    }

    /// What lies behind the last group of a sealed segment.
    fn torn(
        &mut self,
        header: &SegmentHeader,
        seal: &Seal,
        file: &SharedFile,
        end: u64,
        last: bool,
    ) -> io::Result<bool> {
        let name = segment_path(header.first_seq());
        let size = self.size();
        let SealReason::Recovered { torn_bytes, torn_sha256 } = seal.reason else {
            let clean = seal.file_bytes == seal.used_bytes;
            return Ok(
                clean || self.tampered(size, "bytes behind the end of a sealed segment", &name, Some(end))
            );
        };
        if torn_bytes > u64::from(IN_FLIGHT_BYTES) {
            return Ok(self.tampered(size, "declared damage exceeds the in-flight window", &name, Some(end)));
        }
        let mut torn = vec![0u8; usize::try_from(torn_bytes).unwrap_or(0)];
        let read = file.read_at(end, &mut torn)?;
        if read as u64 != torn_bytes || sha256(&torn) != torn_sha256 {
            return Ok(self.tampered(size, "torn bytes differ from the seal", &name, Some(end)));
        }
        if end_of_data(&**file, end + torn_bytes)?.is_some() {
            return Ok(self.tampered(
                size,
                "bytes behind the torn ones are not zero",
                &name,
                Some(end + torn_bytes),
            ));
        }
        let copy = format!("{QUARANTINE}/{}", torn_segment_name(header.first_seq()));
        match read_whole(self.storage, &copy, torn.len()) {
            Ok(bytes) if bytes == torn => {}
            Ok(_) => {
                self.tampered(size, "copy in the quarantine differs from the torn bytes", &copy, None);
            }
            Err(error) => {
                self.tampered(size, &format!("copy of the torn bytes cannot be read: {error}"), &copy, None);
            }
        }
        self.expect_recovery = Some((end, torn_bytes, torn_sha256));
        if last {
            let what = "recovery began and did not end: start the server to finish it".to_owned();
            self.findings.add(Verdict::Unclean, size, what, &name, Some(end));
        }
        Ok(true)
    }

    /// The open segment: the log's end.
    fn open_end(
        &mut self,
        header: &SegmentHeader,
        file: &SharedFile,
        length: u64,
        progress: &mut dyn FnMut(Progress),
    ) -> io::Result<bool> {
        let name = segment_path(header.first_seq());
        let mut walker = GroupWalker::new(Arc::clone(file), length);
        let Some(stop) = self.groups(&mut walker, &name, None, progress)? else { return Ok(false) };
        if self.live {
            return Ok(true);
        }
        let end = walker.offset();
        let (group, run) = self.chain.as_ref().map_or((0, None), |chain| (chain.group, chain.run));
        let cut = matches!(stop.what, crate::walk::StopReason::EndOfFile)
            || stop.what == crate::walk::StopReason::Frame(crate::frame::FrameError::Short);
        let tail = inspect_tail(&**file, end, group, run)?;
        if tail == Tail::Clean {
            return Ok(true);
        }
        let seq = self.size() + stop.entries_before;
        let later = later_group(&**file, end, group, run)?;
        let covered = self.checkpoints_claim()? > self.size();
        let (verdict, what) = match tail {
            _ if later.is_some() => (Verdict::Tampered, format!("{}, and intact groups follow", stop.what)),
            // The file ends where a group goes on, and more was signed: bytes were cut off rather than changed.
            _ if covered && cut => (Verdict::Truncated, format!("log ends inside a group: {}", stop.what)),
            _ if covered => (Verdict::Tampered, format!("{}, and a checkpoint covers it", stop.what)),
            _ if matches!(self.state, Some(State::Closed { .. })) => {
                (Verdict::Corrupt, format!("{}, though no writer was at work", stop.what))
            }
            Tail::Corrupt { offset, what } => {
                (Verdict::Corrupt, format!("{}; {what} at byte {offset}", stop.what))
            }
            Tail::Torn { .. } | Tail::Clean => {
                (Verdict::Unclean, format!("torn group at the end, as a crash leaves it: {}", stop.what))
            }
        };
        self.damaged_end = verdict == Verdict::Tampered;
        self.findings.add(verdict, seq, what, &name, Some(stop.offset));
        Ok(true)
    }

    /// What was signed or promised about the length of the log.
    fn checkpoints_claim(&mut self) -> io::Result<u64> {
        self.checkpoints.drain(&mut self.findings)?;
        let receipts = self.anchors.receipts.iter().map(|receipt| receipt.seq + 1).max().unwrap_or(0);
        Ok(self.checkpoints.claimed().max(receipts).max(self.anchors.expect_size.unwrap_or(0)))
    }

    /// All complete groups up to the walker's end, and why there are no more; `None` after a finding that ends the walk.
    fn groups(
        &mut self,
        walker: &mut GroupWalker,
        name: &str,
        mut hasher: Option<&mut Sha256>,
        progress: &mut dyn FnMut(Progress),
    ) -> io::Result<Option<Stop>> {
        loop {
            let group = match walker.next_group()? {
                Ok(group) => group,
                Err(stop) => return Ok(Some(stop)),
            };
            if let Some(hasher) = &mut hasher {
                hasher.update(group.bytes);
            }
            let bytes = group.bytes.len() as u64;
            if !self.group(&group, name)? {
                return Ok(None);
            }
            self.bytes += bytes;
            if self.bytes - self.bytes_told >= PROGRESS_BYTES {
                self.bytes_told = self.bytes;
                progress(Progress { entries: self.size(), bytes: self.bytes, bytes_total: self.bytes_total });
            }
        }
    }

    fn group(&mut self, group: &GroupView<'_>, name: &str) -> io::Result<bool> {
        let Some(chain) = &mut self.chain else { return Ok(false) };
        let (notable, receipts) = (&mut self.notable, &mut self.receipts);
        let taken = chain.take(group, |entry, leaf, offset| notable.look_at(entry, leaf, offset, receipts));
        if let Err(bad) = taken {
            let verdict = if bad.what.is_epoch() && self.seals.active() {
                Verdict::EpochGap
            } else {
                Verdict::Tampered
            };
            self.findings.add(verdict, bad.seq, bad.what.to_string(), name, Some(bad.offset));
            if !bad.what.is_epoch() {
                return Ok(false);
            }
        }
        self.seals.check(chain, group, name, &mut self.findings);
        self.checkpoints.compare(chain, &mut self.findings)?;
        self.weigh_notable(name);
        Ok(true)
    }

    /// Checks what the entries of a group told.
    fn weigh_notable(&mut self, name: &str) {
        if let Some(genesis) = self.notable.genesis.take() {
            self.check_genesis(genesis, name);
        }
        for (seq, fits, offset) in std::mem::take(&mut self.notable.receipts) {
            if fits {
                self.checkpoints.anchored = self.checkpoints.anchored.max(seq + 1);
            } else {
                self.tampered(seq, "entry is not the one a receipt was given for", name, Some(offset));
            }
        }
        let mut expected = self.expect_recovery.take();
        for (seq, utc_ns, recovery) in std::mem::take(&mut self.notable.recoveries) {
            let Some(recovery) = recovery else {
                self.tampered(seq, "payload of a RECOVERY is not readable", name, None);
                continue;
            };
            if expected.take().is_some_and(|(offset, bytes, sha256)| {
                let torn = recovery.torn_segment;
                (torn.offset, torn.bytes, torn.sha256) != (offset, bytes, sha256) || recovery.kept != seq
            }) {
                self.tampered(seq, "RECOVERY does not fit the seal of the segment before", name, None);
            }
            self.recoveries.push(RecoveryFound { seq, utc_ns, recovery });
        }
        if expected.is_some() {
            let seq = self.size().saturating_sub(1);
            self.tampered(seq, "segment after a recovered one does not begin with a RECOVERY", name, None);
        }
    }

    fn check_genesis(&mut self, genesis: Option<Genesis>, name: &str) {
        let fits = genesis.as_ref().is_some_and(|genesis| {
            genesis.log_id == self.identity.log_id
                && genesis.log_id == crate::chain::log_id(&genesis.origin, &genesis.random)
                && genesis.key == self.identity.key.to_string()
                && genesis.origin == self.identity.key.name()
        });
        if !fits {
            self.tampered(0, "genesis is not that of this log and key", name, None);
        }
        let (Some(genesis), Some(k0)) = (genesis, &self.anchors.k0) else { return };
        if genesis.escrow != escrow_fingerprint(k0) {
            self.tampered(0, "K_0 given is not the one in escrow for this log", name, None);
            self.seals.give_up();
        }
    }

    fn size(&self) -> u64 {
        self.chain.as_ref().map_or(0, |chain| chain.frontier.size())
    }

    /// The verdict.
    pub(crate) fn finish(mut self) -> Result<Report, VerifyError> {
        let anchors = self.anchors;
        let recoveries = std::mem::take(&mut self.recoveries);
        let finished = self.checkpoints.finish(&recoveries, self.complete, &mut self.findings);
        finished.map_err(|source| VerifyError::Io { file: CHECKPOINTS.to_owned(), source })?;
        if self.complete && !self.damaged_end {
            self.check_length();
        }
        let size = self.size();
        let (strays, mut not_checked) = (self.strays(), Vec::new());
        if anchors.k0.is_none() {
            not_checked.push("seals of the groups and gaps between epochs: no K_0 given".to_owned());
        }
        if self.key_epoch.is_none() {
            not_checked.push("epoch counter: the key file is not readable here".to_owned());
        }
        if anchors.checkpoints.is_empty() && anchors.receipts.is_empty() && anchors.expect_size.is_none() {
            not_checked.push(
                "whether the end was cut off together with its checkpoints: nothing kept elsewhere given"
                    .to_owned(),
            );
        }
        if self.live {
            not_checked.push("what the running writer has added since the verification began".to_owned());
        }
        not_checked.push("whether events were never logged: no log can tell".to_owned());
        let anchored_entries = if anchors.k0.is_some() && self.seals.active() {
            size
        } else if anchors.key.is_some() {
            self.checkpoints.anchored.max(self.checkpoints.last_match)
        } else {
            self.checkpoints.anchored
        };
        let clean = match (anchors.is_empty(), recoveries.is_empty()) {
            (true, _) => Verdict::Unanchored,
            (false, false) => Verdict::Recovered,
            (false, true) => Verdict::Verified,
        };
        let (verdict, first_bad, findings) = self.findings.conclude(clean);
        let chain = self.chain;
        Ok(Report {
            verdict,
            first_bad,
            findings,
            log_id: self.identity.log_id,
            origin: self.identity.key.name().to_owned(),
            key: self.identity.key.to_string(),
            entries: size,
            root: chain.as_ref().map_or_else(|| sha256(b""), |chain| chain.frontier.root()),
            groups: chain.as_ref().map_or(0, |chain| chain.group),
            segments: self.segments,
            bytes: self.bytes,
            checkpoints: self.checkpoints.good,
            checkpointed_entries: self.checkpoints.last_match,
            anchored_entries,
            recoveries,
            runs: self.notable.starts,
            epochs: chain.as_ref().map_or(0, |chain| chain.epoch + 1),
            stopped: self.notable.last_kind == kind::STOP,
            live: self.live,
            strays,
            not_checked,
        })
    }

    /// Whether the log is as long as everybody says.
    fn check_length(&mut self) {
        let size = self.size();
        let file = segment_path(0);
        let mut short = |what: String| self.findings.add(Verdict::Truncated, size, what, SEGMENTS, None);
        let own = self.checkpoints.last.map_or(0, |head| head.size);
        if own > size {
            short(format!("log ends before its own checkpoint of size {own}"));
        }
        let anchor = self.checkpoints.claimed();
        if anchor > size && anchor != own {
            short(format!("log ends before the anchor of size {anchor}"));
        }
        if let Some(receipt) = self.receipts.first().filter(|receipt| receipt.seq >= size) {
            short(format!("log ends before entry {} for which there is a receipt", receipt.seq));
        }
        if let Some(expected) = self.anchors.expect_size.filter(|expected| *expected > size) {
            short(format!("log ends before the {expected} entries expected"));
        }
        let epoch_due = self.chain.as_ref().map_or(0, Chain::epoch_due);
        if let Some(epoch) = self.key_epoch.filter(|epoch| *epoch > epoch_due) {
            let verdict = if self.anchors.k0.is_some() { Verdict::EpochGap } else { Verdict::Truncated };
            let what = format!("log ends in epoch {epoch_due}, and its key is that of epoch {epoch}");
            self.findings.add(verdict, size, what, &file, None);
        }
        if !self.live {
            self.check_stop(own);
        }
    }

    /// A log stopped in good order ends in STOP and a checkpoint over it.
    fn check_stop(&mut self, own: u64) {
        let size = self.size();
        match self.state {
            Some(State::Closed { size: closed }) if closed > size => {
                let what = format!("log was stopped with {closed} entries");
                self.findings.add(Verdict::Truncated, size, what, STATE, None);
            }
            Some(State::Closed { .. }) if own < size => {
                let what = format!("log was stopped and its last checkpoint, of size {size}, is missing");
                self.findings.add(Verdict::Truncated, own, what, CHECKPOINTS, None);
            }
            Some(State::Open) if self.notable.last_kind == kind::STOP && own < size => {
                let what = "writer ended between STOP and its checkpoint, as a crash may".to_owned();
                self.findings.add(Verdict::Unclean, own, what, CHECKPOINTS, None);
            }
            None if self.notable.last_kind == kind::STOP && own < size => {
                let what = "log ends in STOP and the checkpoint over it is missing".to_owned();
                self.findings.add(Verdict::Truncated, own, what, CHECKPOINTS, None);
            }
            Some(State::Closed { .. } | State::Open) | None => {}
        }
    }

    /// Files in the segments folder that belong to no segment.
    fn strays(&self) -> Vec<String> {
        let names = self.storage.list(SEGMENTS).unwrap_or_default();
        let known = |name: &String| {
            let digits = name.strip_suffix(".seg").or_else(|| name.strip_suffix(".seal"));
            digits
                .is_some_and(|digits| digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit()))
                || name.as_str() == "ahead.tmp"
        };
        names.into_iter().filter(|name| !known(name)).map(|name| format!("{SEGMENTS}/{name}")).collect()
    }
}

impl Notable {
    fn look_at(&mut self, entry: &EntryRef<'_>, leaf: &Hash, offset: u64, receipts: &mut Vec<Receipt>) {
        let header = &entry.header;
        self.last_kind = header.kind;
        match header.kind {
            kind::GENESIS => self.genesis = Some(Genesis::from_payload(entry.payload)),
            kind::START => self.starts += 1,
            kind::RECOVERY => {
                let recovery = Recovery::from_payload(entry.payload);
                self.recoveries.push((header.seq, header.stamp.utc_ns, recovery));
            }
            _ => {}
        }
        while receipts.last().is_some_and(|receipt| receipt.seq == header.seq) {
            if let Some(receipt) = receipts.pop() {
                self.receipts.push((header.seq, receipt.hash == *leaf, offset));
            }
        }
    }
}
