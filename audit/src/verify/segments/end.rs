//! The end of the log: what lies behind the last complete group, how long the log should be, and the verdict.

use std::io;
use std::sync::Arc;

use super::{Segment, Segments};
use crate::chain::sha256;
use crate::frame::FrameError;
use crate::kind;
use crate::layout::{CHECKPOINTS, SEGMENTS, STATE, State, segment_path};
use crate::verify::VerifyError;
use crate::verify::report::{Progress, PrunedFound, Report, Verdict};
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
        let pruned = self.judge_beginning();
        let (strays, not_checked) = (self.strays(), self.not_checked(pruned.is_some()));
        let anchored_entries = if anchors.k0.is_some() && self.seals.active() {
            size
        } else if anchors.key.is_some() {
            self.checkpoints.anchored.max(self.checkpoints.last_match)
        } else {
            self.checkpoints.anchored
        };
        let clean = match (self.anchored(), recoveries.is_empty() && pruned.is_none()) {
            (false, _) => Verdict::Unanchored,
            (true, false) => Verdict::Recovered,
            (true, true) => Verdict::Verified,
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
            checked_from: self.from,
            entries: size,
            root: chain.as_ref().map_or_else(|| sha256(b""), |chain| chain.frontier.root()),
            groups: chain.as_ref().map_or(0, |chain| chain.group),
            segments: self.segments,
            bytes: self.bytes,
            checkpoints: self.checkpoints.good,
            checkpointed_entries: self.checkpoints.last_match,
            anchored_entries,
            recoveries,
            pruned,
            runs: self.notable.starts,
            epochs: chain.as_ref().map_or(0, |chain| chain.epoch + 1),
            stopped: self.notable.last_kind == kind::STOP,
            live: self.live,
            tape: None,
            strays,
            not_checked,
        })
    }

    /// Whether the log may begin where it does.
    fn judge_beginning(&mut self) -> Option<PrunedFound> {
        let first = self.first;
        if first == 0 {
            return None;
        }
        let pruned = self.prunes.allows(first);
        if pruned.is_none() && self.complete && self.from == first {
            let what = format!("entries before {first} are missing, and no PRUNE allows that");
            self.findings.add(Verdict::Tampered, 0, what, &segment_path(0), None);
        }
        pruned
    }

    /// Whether anything from outside was compared with.
    fn anchored(&self) -> bool {
        let anchors = self.anchors;
        anchors.key.is_some()
            || self.checkpoints.anchors_below().1
            || anchors.receipts.len() > self.receipts_below
            || anchors.k0.is_some()
            || anchors.expect_size.is_some()
    }

    /// What the verdict does not speak of.
    fn not_checked(&self, pruned: bool) -> Vec<String> {
        let anchors = self.anchors;
        let mut list = Vec::new();
        if self.from > 0 {
            list.push(format!("entries 0 to {}: {}", self.from - 1, self.why_not_from_zero(pruned)));
            list.push("genesis: it lies before the first entry checked".to_owned());
        }
        let mut below = |count: u64, what: &str| {
            if count > 0 {
                list.push(format!("{count} {what} of less than {} entries", self.from));
            }
        };
        below(self.checkpoints.below, "checkpoints of the log");
        below(self.checkpoints.anchors_below().0 as u64, "checkpoints kept elsewhere");
        below(self.receipts_below as u64, "receipts for entries");
        if anchors.k0.is_none() {
            list.push("seals of the groups and gaps between epochs: no K_0 given".to_owned());
        }
        if self.key_epoch.is_none() {
            list.push("epoch counter: the key file is not readable here".to_owned());
        }
        if anchors.checkpoints.is_empty() && anchors.receipts.is_empty() && anchors.expect_size.is_none() {
            list.push(
                "whether the end was cut off together with its checkpoints: nothing kept elsewhere given"
                    .to_owned(),
            );
        }
        if self.live {
            list.push("what the running writer has added since the verification began".to_owned());
        }
        list.push("whether events were never logged: no log can tell".to_owned());
        list
    }

    fn why_not_from_zero(&self, pruned: bool) -> &'static str {
        match (self.from == self.first, pruned) {
            (false, _) => "left out on request",
            (true, true) => "they were pruned, and the log says so",
            (true, false) => "they are missing, and what would allow that was not reached",
        }
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
