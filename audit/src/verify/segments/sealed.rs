//! Sealed segments: every byte must be accounted for.

use std::io;
use std::sync::Arc;

use super::{Segment, Segments};
use crate::chain::sha256;
use crate::lanes::Stream;
use crate::layout::{CHECKPOINTS, QUARANTINE, seal_path, torn_segment_name};
use crate::note::NOTE_BYTES_MAX;
use crate::segment::{IN_FLIGHT_BYTES, Seal, SealReason, SegmentHeader};
use crate::storage::read_whole;
use crate::verify::report::{Bad, Progress, Verdict};
use crate::walk::{GroupWalker, end_of_data};

impl Segments<'_> {
    /// The seal of a segment: `Some(None)` where there rightly is none, `None` after a finding that ends the walk.
    pub(super) fn read_seal(
        &mut self,
        header: &SegmentHeader,
        last: bool,
    ) -> io::Result<Option<Option<Seal>>> {
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
    pub(super) fn sealed(
        &mut self,
        segment: &Segment,
        seal: &Seal,
        progress: &mut dyn FnMut(Progress),
    ) -> io::Result<bool> {
        let Segment { header, name, file, length, .. } = segment;
        let mut stream = Stream::new();
        stream.update(&segment.header_bytes);
        let mut walker = GroupWalker::new(Arc::clone(file), seal.used_bytes.min(*length));
        let stop = self.groups(&mut walker, name, Some(&mut stream), progress)?;
        let Some(stop) = stop else { return Ok(false) };
        let size = self.size();
        let end = walker.offset();
        if end != seal.used_bytes || size != seal.end_seq {
            let what = format!(
                "sealed segment should reach entry {} at byte {}: {}",
                seal.end_seq, seal.used_bytes, stop.what
            );
            return Ok(self.tampered(size + stop.entries_before, &what, name, Some(stop.offset)));
        }
        if stream.finish() != seal.sha256 {
            return Ok(self.differs_from_seal(header.first_seq(), seal, name));
        }
        if *length != seal.file_bytes {
            return Ok(self.tampered(
                size,
                "sealed segment is longer or shorter than its seal says",
                name,
                Some(end),
            ));
        }
        if let Some(alone) = &mut self.alone {
            alone.seal = Some(seal.clone());
        } else {
            self.require_closing_checkpoint(seal);
        }
        self.torn(segment, seal, end)
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
    pub(super) fn require_closing_checkpoint(&mut self, seal: &Seal) {
        // In a live log segments may have been closed after the checkpoints were looked at.
        let is_later = self.live && self.checkpoints.last.is_none_or(|head| head.size < seal.end_seq);
        if seal.reason == SealReason::Rotated && self.checkpoints.last_match != seal.end_seq && !is_later {
            let what = format!("checkpoint of size {} at the close of a segment is missing", seal.end_seq);
            self.findings.add(Verdict::Tampered, self.checkpoints.last_match, what, CHECKPOINTS, None);
        }
    }

    /// What lies behind the last group of a sealed segment.
    fn torn(&mut self, segment: &Segment, seal: &Seal, end: u64) -> io::Result<bool> {
        let Segment { header, name, file, last, .. } = segment;
        let size = self.size();
        let SealReason::Recovered { torn_bytes, torn_sha256 } = seal.reason else {
            let clean = seal.file_bytes == seal.used_bytes;
            return Ok(
                clean || self.tampered(size, "bytes behind the end of a sealed segment", name, Some(end))
            );
        };
        if torn_bytes > u64::from(IN_FLIGHT_BYTES) {
            return Ok(self.tampered(size, "declared damage exceeds the in-flight window", name, Some(end)));
        }
        let mut torn = vec![0u8; usize::try_from(torn_bytes).unwrap_or(0)];
        let read = file.read_at(end, &mut torn)?;
        if read as u64 != torn_bytes || sha256(&torn) != torn_sha256 {
            return Ok(self.tampered(size, "torn bytes differ from the seal", name, Some(end)));
        }
        if end_of_data(&**file, end + torn_bytes)?.is_some() {
            return Ok(self.tampered(
                size,
                "bytes behind the torn ones are not zero",
                name,
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
        if *last {
            let what = "recovery began and did not end: start the server to finish it".to_owned();
            self.findings.add(Verdict::Unclean, size, what, name, Some(end));
        }
        Ok(true)
    }
}
