//! The log's own checkpoints and those kept elsewhere, compared with the tree as it grows.

use std::collections::BTreeMap;
use std::io;

use crate::chain::{Hash, sha256};
use crate::checkpoint::{self, CHECKPOINT_BYTES_MAX, FileItem, TreeHead};
use crate::layout::{CHECKPOINTS, QUARANTINE, Torn, torn_checkpoint_name};
use crate::merkle::Frontier;
use crate::storage::{Access, Storage, read_whole};
use crate::verify::report::{Bad, Findings, RecoveryFound, Verdict};
use crate::verify::{Identity, SharedFile, VerifyError, short};

const BUFFER_BYTES: usize = 16 * CHECKPOINT_BYTES_MAX;

/// A checkpoint that does not fit the tree.
#[derive(Clone, Copy, Debug)]
struct Mismatch {
    head: TreeHead,
    offset: Option<u64>,
    /// Size of the last checkpoint that did fit before.
    after: u64,
}

/// Length of the file now; 0 where there is none. To be asked before the segments are listed: a running writer signs what is there.
pub(crate) fn length(storage: &dyn Storage) -> Result<u64, VerifyError> {
    match storage.open(CHECKPOINTS, Access::Read).and_then(|file| file.length()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        other => other.map_err(|source| VerifyError::Io { file: CHECKPOINTS.to_owned(), source }),
    }
}

/// Checkpoints in the order of the file, and anchors in the order of their size.
#[derive(Clone, Debug)]
pub(crate) struct Checkpoints {
    file: Option<SharedFile>,
    end: u64,
    live: bool,
    identity: Identity,
    buffer: Vec<u8>,
    buffer_offset: u64,
    offset: u64,
    /// Copies of incomplete checkpoints in the quarantine, by their place in the file.
    copies: BTreeMap<u64, Vec<u8>>,
    /// Incomplete checkpoints stepped over, each with the size of the good one before it.
    skipped: Vec<(u64, Torn)>,
    /// First entry that is checked: what speaks of a smaller tree cannot be compared.
    from: u64,
    /// Own checkpoints of smaller trees.
    pub(crate) below: u64,
    next: Option<(u64, TreeHead)>,
    /// Believes every note, as one that looks ahead for sizes may.
    trusting: bool,
    anchors: Vec<TreeHead>,
    next_anchor: usize,
    mismatches: Vec<Mismatch>,
    largest_match: Option<u64>,
    /// Good checkpoints of the log's own.
    pub(crate) good: u64,
    /// The last good one in the file, whether or not the log reaches it.
    pub(crate) last: Option<TreeHead>,
    /// Size of the last own one that fitted the tree.
    pub(crate) last_match: u64,
    /// Size of the last anchor that fitted the tree.
    pub(crate) anchored: u64,
    /// The file ends in an incomplete checkpoint.
    pub(crate) incomplete: bool,
}

impl Checkpoints {
    pub(crate) fn open(
        storage: &dyn Storage,
        identity: &Identity,
        anchors: Vec<TreeHead>,
        (from, end): (u64, u64),
        live: bool,
        findings: &mut Findings,
    ) -> Result<Self, VerifyError> {
        let io = |source| VerifyError::Io { file: CHECKPOINTS.to_owned(), source };
        let file = match storage.open(CHECKPOINTS, Access::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                findings.add(Verdict::Tampered, 0, "checkpoints are missing".to_owned(), CHECKPOINTS, None);
                None
            }
            other => Some(other.map_err(io)?),
        };
        let mut checkpoints = Self {
            file,
            end,
            live,
            identity: identity.clone(),
            buffer: Vec::new(),
            buffer_offset: 0,
            offset: 0,
            copies: read_copies(storage)?,
            skipped: Vec::new(),
            from,
            below: 0,
            next: None,
            trusting: false,
            anchors,
            next_anchor: 0,
            mismatches: Vec::new(),
            largest_match: None,
            good: 0,
            last: None,
            last_match: 0,
            anchored: 0,
            incomplete: false,
        };
        checkpoints.read_next(findings).map_err(io)?;
        Ok(checkpoints)
    }

    /// Of a part of the log that is looked at by itself: nothing to compare with.
    pub(crate) fn none(identity: &Identity) -> Self {
        Self {
            file: None,
            end: 0,
            live: false,
            identity: identity.clone(),
            buffer: Vec::new(),
            buffer_offset: 0,
            offset: 0,
            copies: BTreeMap::new(),
            skipped: Vec::new(),
            from: 0,
            below: 0,
            next: None,
            trusting: false,
            anchors: Vec::new(),
            next_anchor: 0,
            mismatches: Vec::new(),
            largest_match: None,
            good: 0,
            last: None,
            last_match: 0,
            anchored: 0,
            incomplete: false,
        }
    }

    /// A reader of the same file that only says which sizes will be asked for. It believes every note, so it meets all that this
    /// one will meet.
    pub(crate) fn look_ahead(&self) -> Self {
        Self { trusting: true, ..self.clone() }
    }

    /// Sizes up to `end` that will be compared and have not been named yet, sorted; `None` when there are more than `most`.
    pub(crate) fn sizes_to(&mut self, end: u64, most: usize) -> io::Result<Option<Vec<u64>>> {
        let mut sizes = Vec::new();
        let mut too_many = false;
        let mut ignored = Findings::default();
        let mut push = |size: u64| {
            too_many |= sizes.len() >= most;
            if !too_many {
                sizes.push(size);
            }
        };
        while let Some((_, head)) = self.next.filter(|(_, head)| head.size <= end) {
            push(head.size);
            self.read_next(&mut ignored)?;
        }
        while let Some(head) = self.anchors.get(self.next_anchor).filter(|head| head.size <= end) {
            push(head.size);
            self.next_anchor += 1;
        }
        sizes.sort_unstable();
        sizes.dedup();
        Ok((!too_many).then_some(sizes))
    }

    /// Compares whatever speaks of a tree no larger than this one.
    pub(crate) fn compare(&mut self, tree: &Frontier, findings: &mut Findings) -> io::Result<()> {
        self.compare_with(tree.size(), || tree.root(), &|_| true, findings).map(|_| ())
    }

    /// As [`Checkpoints::compare`], with the root to be had from a function, and only as long as `known` says of the sizes met
    /// that they were looked for; false when it does not.
    pub(crate) fn compare_with(
        &mut self,
        size: u64,
        root: impl Fn() -> Hash,
        known: &dyn Fn(u64) -> bool,
        findings: &mut Findings,
    ) -> io::Result<bool> {
        while let Some((offset, head)) = self.next.filter(|(_, head)| head.size <= size) {
            if !known(head.size) {
                return Ok(false);
            }
            if head.size < self.from {
                self.below += 1;
                self.report_conflict(head, findings);
            } else if self.compare_one(size, &root, head, Some(offset)) {
                self.last_match = head.size;
            }
            self.read_next(findings)?;
        }
        while let Some(head) = self.anchors.get(self.next_anchor).copied().filter(|head| head.size <= size) {
            if !known(head.size) {
                return Ok(false);
            }
            if head.size >= self.from && self.compare_one(size, &root, head, None) {
                self.anchored = head.size;
            }
            self.next_anchor += 1;
        }
        Ok(true)
    }

    fn compare_one(
        &mut self,
        size: u64,
        root: &dyn Fn() -> Hash,
        head: TreeHead,
        offset: Option<u64>,
    ) -> bool {
        // A writer signs at the ends of groups only, and trees are compared at each of those.
        let fits = head.size == size && head.root == root();
        if fits {
            self.largest_match = Some(head.size);
        } else {
            let after = self.largest_match.unwrap_or(0);
            self.mismatches.push(Mismatch { head, offset, after });
        }
        fits
    }

    /// What the log claims to have been: the size of its own last good checkpoint and of the largest anchor.
    pub(crate) fn claimed(&self) -> u64 {
        let own = self.last.map_or(0, |head| head.size);
        own.max(self.anchors.last().map_or(0, |head| head.size))
    }

    /// Reads the rest of the file, which speaks of more entries than there are.
    pub(crate) fn drain(&mut self, findings: &mut Findings) -> io::Result<()> {
        while let Some((_, head)) = self.next {
            self.report_conflict(head, findings);
            self.read_next(findings)?;
        }
        Ok(())
    }

    /// Looks for an anchor of the same size with another root, for a checkpoint that no tree here can be compared with.
    fn report_conflict(&self, head: TreeHead, findings: &mut Findings) {
        let conflict =
            self.anchors.iter().find(|anchor| anchor.size == head.size && anchor.root != head.root);
        if let Some(anchor) = conflict {
            self.report_fork(*anchor, head.size, findings);
        }
    }

    /// Anchors of trees too small to be compared, and whether there are others.
    pub(crate) fn anchors_below(&self) -> (usize, bool) {
        let below = self.anchors.iter().filter(|head| head.size < self.from).count();
        (below, below < self.anchors.len())
    }

    /// The judgement over what did not fit. `complete` says that the whole log was walked.
    pub(crate) fn finish(
        &mut self,
        recoveries: &[RecoveryFound],
        complete: bool,
        findings: &mut Findings,
    ) -> io::Result<()> {
        self.drain(findings)?;
        let mismatches = std::mem::take(&mut self.mismatches);
        for (index, mismatch) in mismatches.iter().enumerate() {
            let twin = mismatches.iter().take(index).find(|other| other.head.size == mismatch.head.size);
            let matched = match twin {
                Some(other) if other.head.root != mismatch.head.root => Some(other.head.size),
                _ => self.largest_match.filter(|matched| *matched >= mismatch.head.size),
            };
            match matched {
                Some(matched) => self.report_fork(mismatch.head, matched, findings),
                None => {
                    let Mismatch { head, offset, after } = *mismatch;
                    let what = format!(
                        "tree differs from the checkpoint of size {}, root {}",
                        head.size,
                        short(&head.root)
                    );
                    let until = Some(head.size.saturating_sub(1));
                    let file = CHECKPOINTS.to_owned();
                    findings.push(Bad { verdict: Verdict::Tampered, seq: after, until, what, file, offset });
                }
            }
        }
        for (after, torn) in std::mem::take(&mut self.skipped) {
            if after < self.from {
                // The RECOVERY that declares it may lie before the first entry checked.
                continue;
            }
            let declared = recoveries.iter().any(|found| found.recovery.torn_checkpoint == torn);
            if declared || !complete {
                continue;
            }
            let at_end = torn.offset + torn.bytes == self.end;
            let verdict = if at_end { Verdict::Unclean } else { Verdict::Tampered };
            let what = "bytes between checkpoints that no recovery declares".to_owned();
            findings.add(
                verdict,
                self.last.map_or(0, |head| head.size),
                what,
                CHECKPOINTS,
                Some(torn.offset),
            );
        }
        Ok(())
    }

    fn report_fork(&self, head: TreeHead, matched: u64, findings: &mut Findings) {
        let what = format!(
            "checkpoint of size {} with root {} is signed, and so is one of size {matched} that excludes it",
            head.size,
            short(&head.root)
        );
        findings.add(Verdict::Fork, head.size.saturating_sub(1), what, CHECKPOINTS, None);
    }

    /// Reads the next good checkpoint, reporting what lies before it and is none.
    fn read_next(&mut self, findings: &mut Findings) -> io::Result<()> {
        self.next = None;
        while self.offset < self.end {
            self.fill()?;
            let start = usize::try_from(self.offset - self.buffer_offset).unwrap_or(usize::MAX);
            let rest = self.buffer.get(start..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(());
            }
            if let Some(copy) = self.copies.get(&self.offset) {
                if rest.starts_with(copy) {
                    let bytes = copy.len() as u64;
                    let after = self.last.map_or(0, |head| head.size);
                    self.skipped.push((after, Torn { offset: self.offset, bytes, sha256: sha256(copy) }));
                    self.offset += bytes;
                    continue;
                }
                let what = "copy in the quarantine differs from the checkpoints".to_owned();
                let file = format!("{QUARANTINE}/{}", torn_checkpoint_name(self.offset));
                findings.add(Verdict::Tampered, self.last.map_or(0, |head| head.size), what, &file, None);
                self.copies.remove(&self.offset);
            }
            match checkpoint::first_item(rest) {
                FileItem::Note { note, bytes } => {
                    let opened = if self.trusting {
                        checkpoint::peek(note).map(|(_, head)| head)
                    } else {
                        checkpoint::open(note, &self.identity.key)
                    };
                    let at = self.offset;
                    self.offset += bytes as u64;
                    if self.accept(at, opened.map_err(|error| error.to_string()), findings) {
                        return Ok(());
                    }
                }
                FileItem::End => return Ok(()),
                FileItem::Incomplete => self.skip_damage(rest.len(), start, true, findings),
                FileItem::Malformed => self.skip_damage(rest.len(), start, false, findings),
            }
        }
        Ok(())
    }

    fn accept(&mut self, at: u64, opened: Result<TreeHead, String>, findings: &mut Findings) -> bool {
        let covered = self.last.map_or(0, |head| head.size);
        let head = match opened {
            Ok(head) => head,
            Err(error) => {
                findings.add(Verdict::Tampered, covered, error, CHECKPOINTS, Some(at));
                return false;
            }
        };
        if let Some(last) = self.last {
            if head.size < last.size {
                let what = format!("checkpoint of size {} follows one of size {}", head.size, last.size);
                findings.add(Verdict::Tampered, head.size, what, CHECKPOINTS, Some(at));
                // The tree has grown past it, so whether it was ever true can no longer be told.
                return false;
            } else if head.size == last.size && head.root != last.root {
                self.report_fork(head, last.size, findings);
            }
        }
        self.last = Some(head);
        self.good += 1;
        self.next = Some((at, head));
        true
    }

    /// Steps over bytes that are no checkpoint. What a crash leaves is at the end of the file and nothing good follows it.
    fn skip_damage(&mut self, rest_bytes: usize, start: usize, incomplete: bool, findings: &mut Findings) {
        let at = self.offset;
        let rest = self.buffer.get(start + 1..).unwrap_or_default();
        let origin = format!("{}\n", self.identity.key.name());
        let candidates =
            rest.windows(origin.len()).enumerate().filter(|(_, window)| *window == origin.as_bytes());
        let mut starts = candidates.map(|(index, _)| index);
        let good = starts.find(|index| {
            let item = checkpoint::first_item(rest.get(*index..).unwrap_or_default());
            matches!(item, FileItem::Note { note, .. } if checkpoint::open(note, &self.identity.key).is_ok())
        });
        let covered = self.last.map_or(0, |head| head.size);
        match good {
            Some(index) => {
                let what = "bytes between checkpoints are none".to_owned();
                findings.add(Verdict::Tampered, covered, what, CHECKPOINTS, Some(at));
                self.offset += index as u64 + 1;
            }
            None if incomplete && rest_bytes <= CHECKPOINT_BYTES_MAX => {
                self.incomplete = true;
                if !self.live {
                    let what = "last checkpoint is incomplete, as a crash leaves it".to_owned();
                    findings.add(Verdict::Unclean, covered, what, CHECKPOINTS, Some(at));
                }
                self.offset = self.end;
            }
            None => {
                let what = "bytes after the last good checkpoint are none".to_owned();
                findings.add(Verdict::Tampered, covered, what, CHECKPOINTS, Some(at));
                self.offset = self.end;
            }
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        let consumed =
            usize::try_from(self.offset - self.buffer_offset).unwrap_or(usize::MAX).min(self.buffer.len());
        let buffered_end = self.buffer_offset + self.buffer.len() as u64;
        let held = self.buffer.len() - consumed;
        // Twice the largest note: one to read, and one to find again after damage.
        if held >= 2 * CHECKPOINT_BYTES_MAX || buffered_end >= self.end {
            return Ok(());
        }
        let Some(file) = &self.file else { return Ok(()) };
        self.buffer.drain(..consumed);
        self.buffer_offset += consumed as u64;
        let wanted = usize::try_from(self.end - buffered_end).unwrap_or(usize::MAX).min(BUFFER_BYTES - held);
        self.buffer.resize(held + wanted, 0);
        let read = file.read_at(buffered_end, self.buffer.get_mut(held..).unwrap_or_default())?;
        self.buffer.truncate(held + read);
        if read < wanted {
            self.end = self.buffer_offset + self.buffer.len() as u64;
        }
        Ok(())
    }
}

fn read_copies(storage: &dyn Storage) -> Result<BTreeMap<u64, Vec<u8>>, VerifyError> {
    let io = |source| VerifyError::Io { file: QUARANTINE.to_owned(), source };
    let names = match storage.list(QUARANTINE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        other => other.map_err(io)?,
    };
    let mut copies = BTreeMap::new();
    for name in names {
        let digits = name.strip_prefix("checkpoints-").and_then(|name| name.strip_suffix(".torn"));
        let Some(offset) = digits.and_then(|digits| digits.parse().ok()) else { continue };
        if torn_checkpoint_name(offset) != name {
            continue;
        }
        let copy = match read_whole(storage, &format!("{QUARANTINE}/{name}"), CHECKPOINT_BYTES_MAX) {
            // Longer than any incomplete checkpoint can be: certainly not a copy of one.
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Vec::new(),
            other => other.map_err(io)?,
        };
        if !copy.is_empty() {
            copies.insert(offset, copy);
        }
    }
    Ok(copies)
}
