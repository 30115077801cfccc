//! The end of the log: what lies behind the last complete group, how long the log should be, and the verdict.

use std::io;
use std::sync::Arc;

use super::{Segment, Segments};
use crate::chain::sha256;
use crate::frame::FrameError;
use crate::kind;
use crate::layout::{CHECKPOINTS, SEGMENTS, STATE, State, segment_path};
use crate::verify::VerifyError;
use crate::verify::report::{Progress, Report, Verdict};
use crate::walk::{Chain, GroupWalker, StopReason, Tail, inspect_tail, later_group};

impl Segments<'_> {
    /// The open segment: the log's end.
    pub(super) fn open_end(
        &mut self,
        segment: &Segment,
        progress: &mut dyn FnMut(Progress),
    ) -> io::Result<bool> {
        let Segment { name, file, length, .. } = segment;
        let mut walker = GroupWalker::new(Arc::clone(file), *length);
        let Some(stop) = self.groups(&mut walker, name, None, progress)? else { return Ok(false) };
        if self.live {
            // What the writer signed was durable before: it must be there, whatever is being written behind it.
            self.checkpoints.drain(&mut self.findings)?;
            if self.checkpoints.last.is_some_and(|head| head.size > self.size()) {
                self.damaged_end = true;
                let what = format!("{}, and a checkpoint covers it", stop.what);
                return Ok(self.tampered(self.size() + stop.entries_before, &what, name, Some(stop.offset)));
            }
            return Ok(true);
        }
        let end = walker.offset();
        let (group, run) = self.chain.as_ref().map_or((0, None), |chain| (chain.group, chain.run));
        let cut =
            matches!(stop.what, StopReason::EndOfFile) || stop.what == StopReason::Frame(FrameError::Short);
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
        self.findings.add(verdict, seq, what, name, Some(stop.offset));
        Ok(true)
    }

    /// What was signed or promised about the length of the log.
    fn checkpoints_claim(&mut self) -> io::Result<u64> {
        self.checkpoints.drain(&mut self.findings)?;
        let receipts = self.anchors.receipts.iter().map(|receipt| receipt.seq + 1).max().unwrap_or(0);
        Ok(self.checkpoints.claimed().max(receipts).max(self.anchors.expect_size.unwrap_or(0)))
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
