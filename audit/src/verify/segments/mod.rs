//! The walk over all segments, entry by entry.

mod alone;
mod end;
mod parallel;
mod sealed;

use std::io;

use crate::chain::Hash;
use crate::entry::EntryRef;
use crate::epoch::escrow_fingerprint;
use crate::kind;
use crate::lanes::Stream;
use crate::layout::{Genesis, Prune, Recovery, State, segment_path};
use crate::log::Receipt;
use crate::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::storage::{Access, Storage};
use crate::verify::checkpoints::Checkpoints;
use crate::verify::prune::{PruneEntry, Prunes};
use crate::verify::report::{Findings, Progress, RecoveryFound, Verdict};
use crate::verify::seals::Seals;
use crate::verify::{Anchors, Identity, SharedFile, VerifyError};
use crate::walk::{Chain, GroupView, GroupWalker, Stop};
use alone::Alone;

/// Progress is told after this many bytes.
const PROGRESS_BYTES: u64 = 4 << 20;

/// What one entry can tell the verifier beyond its place in the chain.
#[derive(Debug, Default)]
struct Notable {
    genesis: Option<Option<Genesis>>,
    recoveries: Vec<(u64, u64, Option<Recovery>)>,
    receipts: Vec<(u64, bool, u64)>,
    prunes: Vec<PruneEntry>,
    starts: u64,
    /// Run and kind of the first entry looked at.
    first: Option<(u64, u16)>,
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
    /// First entry there is.
    pub(crate) first: u64,
    /// First entry that is checked: the first of a segment.
    pub(crate) from: u64,
}

/// The segment that the walk is in.
#[derive(Debug)]
struct Segment {
    header: SegmentHeader,
    header_bytes: Vec<u8>,
    name: String,
    file: SharedFile,
    length: u64,
    last: bool,
}

/// The walk's state.
#[derive(Debug)]
pub(crate) struct Segments<'a> {
    storage: &'a dyn Storage,
    identity: &'a Identity,
    anchors: &'a Anchors,
    receipts: Vec<Receipt>,
    checkpoints: Checkpoints,
    /// Set where a segment is looked at by itself.
    alone: Option<Alone<'a>>,
    seals: Seals,
    findings: Findings,
    live: bool,
    state: Option<State>,
    key_epoch: Option<u64>,
    first: u64,
    from: u64,
    receipts_below: usize,
    prunes: Prunes,
    chain: Option<Chain>,
    notable: Notable,
    recoveries: Vec<RecoveryFound>,
    /// Torn bytes that the seal of the segment before declares: the next entry must be the RECOVERY that says so.
    expect_recovery: Option<(u64, u64, Hash)>,
    segments: u64,
    /// `None` before the first segment of a log that is not checked from entry 0.
    next_number: Option<u64>,
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
        let Opening { live, state, key_epoch, first, from } = opening;
        let mut receipts = anchors.receipts.clone();
        receipts.retain(|receipt| receipt.seq >= from);
        receipts.sort_unstable_by_key(|receipt| std::cmp::Reverse(receipt.seq));
        Self {
            storage,
            identity,
            anchors,
            receipts_below: anchors.receipts.len() - receipts.len(),
            receipts,
            checkpoints,
            alone: None,
            seals,
            findings,
            live,
            state,
            key_epoch,
            first,
            from,
            prunes: Prunes::default(),
            chain: None,
            notable: Notable::default(),
            recoveries: Vec::new(),
            expect_recovery: None,
            segments: 0,
            next_number: (from == 0).then_some(0),
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
        threads: Option<usize>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), VerifyError> {
        for first_seq in firsts {
            let file = self.storage.open(&segment_path(*first_seq), Access::Read);
            let length = file.and_then(|file| file.length());
            self.bytes_total +=
                length.map_err(|source| VerifyError::Io { file: segment_path(*first_seq), source })?;
        }
        self.complete = match parallel::threads(threads, firsts.len(), self.bytes_total) {
            0 | 1 => self.one_by_one(firsts, progress)?,
            threads => self.side_by_side(firsts, threads, progress)?,
        };
        Ok(())
    }

    /// False when something made the rest meaningless.
    fn one_by_one(
        &mut self,
        firsts: &[u64],
        progress: &mut dyn FnMut(Progress),
    ) -> Result<bool, VerifyError> {
        for (index, first_seq) in firsts.iter().enumerate() {
            if !self.next_segment(*first_seq, index + 1 == firsts.len(), progress)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// One segment and what its PRUNE entries say; false when nothing after it means anything.
    fn next_segment(
        &mut self,
        first_seq: u64,
        last: bool,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<bool, VerifyError> {
        let going_on = self.segment(first_seq, last, progress);
        let prunes = std::mem::take(&mut self.notable.prunes);
        self.prunes.weigh(prunes, self.from, &segment_path(first_seq), &mut self.findings);
        going_on.map_err(|source| VerifyError::Io { file: segment_path(first_seq), source })
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
        let mut header_bytes = vec![0u8; SEGMENT_HEADER_BYTES];
        let read = file.read_at(0, &mut header_bytes)?;
        let due = self.size();
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
        self.prunes.segment_starts(&header);
        if self.chain.is_none() && first_seq > 0 {
            // Nothing here says what came before but the header itself: whatever was signed of that size must agree.
            self.checkpoints.compare(&header.frontier, &mut self.findings)?;
        }
        let chain = self.chain.get_or_insert_with(|| Chain::at_segment(&header));
        if chain.epoch_due() != header.epoch {
            let what = "segment's epoch is not the one due";
            let verdict = if self.seals.active() { Verdict::EpochGap } else { Verdict::Tampered };
            self.findings.add(verdict, first_seq, what.to_owned(), &name, Some(104));
        }
        self.segments += 1;
        self.next_number = Some(header.number + 1);
        self.bytes += SEGMENT_HEADER_BYTES as u64;
        let Some(seal) = self.read_seal(&header, last)? else { return Ok(false) };
        // After the seal: a running writer cuts the file to its final length first and seals it then.
        let length = file.length()?;
        let segment = Segment { header, header_bytes, name, file, length, last };
        match seal {
            Some(seal) => self.sealed(&segment, &seal, progress),
            None => self.open_end(&segment, progress),
        }
    }

    fn check_header(&self, header: &SegmentHeader, first_seq: u64) -> Result<(), &'static str> {
        if header.key != *self.identity.key.bytes() || header.origin != self.identity.key.name() {
            return Err("segment header is signed by another key");
        }
        if header.log_id != self.identity.log_id {
            return Err("segment is of another log");
        }
        if header.first_seq() != first_seq || self.next_number.is_some_and(|number| header.number != number) {
            return Err("segment header is of another segment");
        }
        let continues = self.chain.as_ref().is_none_or(|chain| {
            chain.previous == header.previous
                && chain.frontier == header.frontier
                && chain.group == header.group
        });
        if continues { Ok(()) } else { Err("segment does not continue the one before") }
    }

    /// All complete groups up to the walker's end, and why there are no more; `None` after a finding that ends the walk.
    fn groups(
        &mut self,
        walker: &mut GroupWalker,
        name: &str,
        mut stream: Option<&mut Stream>,
        progress: &mut dyn FnMut(Progress),
    ) -> io::Result<Option<Stop>> {
        loop {
            let mut group = match walker.next_group_beside(stream.as_deref_mut())? {
                Ok(group) => group,
                Err(stop) => return Ok(Some(stop)),
            };
            let bytes = group.bytes.len() as u64;
            if !self.group(&mut group, name)? {
                return Ok(None);
            }
            self.bytes += bytes;
            if let Some(alone) = &self.alone
                && (alone.told_to_stop() || !self.findings.is_empty())
            {
                return Ok(None);
            }
            if self.bytes - self.bytes_told >= PROGRESS_BYTES {
                self.bytes_told = self.bytes;
                progress(Progress { entries: self.size(), bytes: self.bytes, bytes_total: self.bytes_total });
            }
        }
    }

    fn group(&mut self, group: &mut GroupView<'_>, name: &str) -> io::Result<bool> {
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
        match &mut self.alone {
            Some(alone) => alone.group_ends(&chain.frontier),
            None => self.checkpoints.compare(&chain.frontier, &mut self.findings)?,
        }
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
        self.chain.as_ref().map_or(self.from, |chain| chain.frontier.size())
    }
}

impl Notable {
    fn look_at(&mut self, entry: &EntryRef<'_>, leaf: &Hash, offset: u64, receipts: &mut Vec<Receipt>) {
        let header = &entry.header;
        self.last_kind = header.kind;
        self.first.get_or_insert((header.run, header.kind));
        match header.kind {
            kind::GENESIS => self.genesis = Some(Genesis::from_payload(entry.payload)),
            kind::START => self.starts += 1,
            kind::PRUNE => {
                let prune = Prune::from_payload(entry.payload);
                self.prunes.push(PruneEntry { seq: header.seq, utc_ns: header.stamp.utc_ns, offset, prune });
            }
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
