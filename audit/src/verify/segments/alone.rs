//! One sealed segment looked at by itself, from its own header; and taking up what was found as if it had been walked in order.
//!
//! Only a segment that is flawless by itself, and that continues what came before, is taken up. Anything else is walked again in
//! order, so findings are always those of the walk in order.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{Notable, Opening, Segments};
use crate::chain::Hash;
use crate::kind;
use crate::merkle::Frontier;
use crate::segment::{Seal, SegmentHeader};
use crate::storage::Storage;
use crate::verify::checkpoints::Checkpoints;
use crate::verify::report::{Findings, Progress, RecoveryFound};
use crate::verify::seals::Seals;
use crate::verify::{Anchors, Identity, VerifyError};
use crate::walk::Chain;

/// What is wanted of the walk over one segment.
#[derive(Debug)]
pub(super) struct Alone<'a> {
    /// Sizes that a checkpoint will ask for, sorted.
    sizes: Vec<u64>,
    next_size: usize,
    roots: Vec<(u64, Hash)>,
    stop: &'a AtomicBool,
    /// The segment's seal, once everything under it was found in order.
    pub(super) seal: Option<Seal>,
}

impl Alone<'_> {
    pub(super) fn told_to_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Keeps the root if it will be asked for.
    pub(super) fn group_ends(&mut self, tree: &Frontier) {
        while self.sizes.get(self.next_size).is_some_and(|size| *size < tree.size()) {
            self.next_size += 1;
        }
        if self.sizes.get(self.next_size) == Some(&tree.size()) {
            self.roots.push((tree.size(), tree.root()));
            self.next_size += 1;
        }
    }
}

/// A segment to be looked at.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) first_seq: u64,
    pub(super) header: SegmentHeader,
    pub(super) sizes: Vec<u64>,
    pub(super) seals: Seals,
}

/// A segment without a flaw.
#[derive(Debug)]
pub(super) struct Flawless {
    header: SegmentHeader,
    seal: Seal,
    sizes: Vec<u64>,
    roots: Vec<(u64, Hash)>,
    end: Chain,
    seals: Seals,
    notable: Notable,
    recoveries: Vec<RecoveryFound>,
    receipts_to: u64,
    expect_recovery: Option<(u64, u64, Hash)>,
    bytes: u64,
}

impl Flawless {
    /// Entries and bytes.
    pub(super) fn told(&self) -> (u64, u64) {
        (self.end.frontier.size() - self.header.first_seq(), self.bytes)
    }
}

/// What a look at a segment needs beside the segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around<'a> {
    pub(super) storage: &'a dyn Storage,
    pub(super) identity: &'a Identity,
    pub(super) anchors: &'a Anchors,
    pub(super) opening: Opening,
    pub(super) stop: &'a AtomicBool,
}

/// Looks at a sealed segment; `None` unless it is flawless.
pub(super) fn look_at(around: Around<'_>, job: Job, progress: &mut dyn FnMut(Progress)) -> Option<Flawless> {
    let Around { storage, identity, anchors, opening, stop } = around;
    let opening = Opening { from: job.first_seq, ..opening };
    let nothing = Checkpoints::none(identity);
    let mut walk =
        Segments::new(storage, identity, anchors, nothing, job.seals, opening, Findings::default());
    walk.alone = Some(Alone { sizes: job.sizes, next_size: 0, roots: Vec::new(), stop, seal: None });
    let going_on = walk.segment(job.first_seq, false, progress).ok()?;
    let Alone { sizes, roots, seal, .. } = walk.alone?;
    if !going_on || !walk.findings.is_empty() {
        return None;
    }
    Some(Flawless {
        header: job.header,
        seal: seal?,
        sizes,
        roots,
        end: walk.chain?,
        seals: walk.seals,
        notable: walk.notable,
        recoveries: walk.recoveries,
        receipts_to: walk.checkpoints.anchored,
        expect_recovery: walk.expect_recovery,
        bytes: walk.bytes,
    })
}

impl Segments<'_> {
    /// Takes up a flawless segment where it continues what came before; false, and nothing done, where it has to be walked.
    pub(super) fn take_up(&mut self, flawless: Flawless) -> Result<bool, VerifyError> {
        let first_seq = flawless.header.first_seq();
        let continues = first_seq == self.size()
            && self.check_header(&flawless.header, first_seq).is_ok()
            && self.expect_recovery.is_none()
            && self.chain.as_ref().is_none_or(|chain| {
                let begins = |kind| matches!(kind, kind::GENESIS | kind::START | kind::RECOVERY);
                let run_fits = |(run, kind)| chain.run.is_none_or(|before| before == run) || begins(kind);
                chain.epoch_due() == flawless.header.epoch && flawless.notable.first.is_some_and(run_fits)
            });
        if !continues {
            return Ok(false);
        }
        let (mut checkpoints, mut findings) = (self.checkpoints.clone(), self.findings.clone());
        let io = |source| VerifyError::Io { file: crate::layout::CHECKPOINTS.to_owned(), source };
        if self.chain.is_none() && first_seq > 0 {
            checkpoints.compare(&flawless.header.frontier, &mut findings).map_err(io)?;
        }
        let known = |size: u64| flawless.sizes.binary_search(&size).is_ok();
        let end = (flawless.end.frontier.size(), flawless.end.frontier.root());
        for (size, root) in flawless.roots.iter().copied().chain([end]) {
            if !checkpoints.compare_with(size, || root, &known, &mut findings).map_err(io)? {
                return Ok(false);
            }
        }
        checkpoints.anchored = checkpoints.anchored.max(flawless.receipts_to);
        (self.checkpoints, self.findings) = (checkpoints, findings);
        self.receipts.retain(|receipt| receipt.seq >= end.0);
        self.prunes.segment_starts(&flawless.header);
        self.chain = Some(flawless.end);
        self.segments += 1;
        self.next_number = Some(flawless.header.number + 1);
        self.bytes += flawless.bytes;
        self.notable.starts += flawless.notable.starts;
        self.notable.last_kind = flawless.notable.last_kind;
        self.recoveries.extend(flawless.recoveries);
        self.expect_recovery = flawless.expect_recovery;
        if self.seals.active() {
            self.seals = flawless.seals;
        }
        self.require_closing_checkpoint(&flawless.seal);
        let file = crate::layout::segment_path(first_seq);
        self.prunes.weigh(flawless.notable.prunes, self.from, &file, &mut self.findings);
        Ok(true)
    }
}
