//! What is taken along when sealed segments are copied elsewhere, checked against their seals before it leaves.

use std::sync::Arc;

use super::{RetentionError, header};
use crate::chain::{Hash, hex, sha256};
use crate::checkpoint::{self, FileItem};
use crate::layout::{CHECKPOINTS, seal_path, segment_path};
use crate::note::{NOTE_BYTES_MAX, VerifierKey};
use crate::segment::Seal;
use crate::storage::{Storage, read_whole};

/// A sealed segment with its seal, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedFile {
    /// The log, in hex.
    pub log: String,
    /// The segment's name relative to the log's folder, and its bytes.
    pub segment: (String, Vec<u8>),
    /// The seal's name and bytes.
    pub seal: (String, Vec<u8>),
    /// One past the last entry.
    pub end: u64,
    /// SHA-256 of the segment's bytes.
    pub sha256: Hash,
}

/// Reads a sealed segment into memory, which it must fit in, and checks it against its seal.
///
/// # Errors
/// It cannot be read, or is not what its seal says.
pub fn read_sealed(storage: &Arc<dyn Storage>, first: u64) -> Result<SealedFile, RetentionError> {
    let header = header(&**storage, first)?;
    let read = |name: &str, bytes_max| {
        read_whole(&**storage, name, bytes_max)
            .map_err(|source| RetentionError::Io { what: format!("read {name}"), source })
    };
    let (segment, seal) = (segment_path(first), seal_path(first));
    let note = read(&seal, NOTE_BYTES_MAX)?;
    let bytes = read(&segment, usize::MAX)?;
    let wrong = || RetentionError::Seal(first);
    let key = VerifierKey::new(&header.origin, header.key).map_err(|_| wrong())?;
    let sealed = Seal::open(std::str::from_utf8(&note).map_err(|_| wrong())?, &key).map_err(|_| wrong())?;
    let used =
        usize::try_from(sealed.used_bytes).ok().and_then(|used| bytes.get(..used)).ok_or_else(wrong)?;
    let is_same = sealed.log_id == header.log_id
        && sealed.first_seq == first
        && sealed.file_bytes == bytes.len() as u64
        && sealed.sha256 == sha256(used);
    if !is_same {
        return Err(wrong());
    }
    let sha256 = sha256(&bytes);
    let log = hex(&header.log_id);
    Ok(SealedFile { log, segment: (segment, bytes), seal: (seal, note), end: sealed.end_seq, sha256 })
}

/// The beginning of the file `checkpoints` up to the last one over at most `end` entries: what a copy of the segments before `end` needs.
///
/// # Errors
/// It cannot be read.
pub fn checkpoints_up_to(storage: &Arc<dyn Storage>, end: u64) -> Result<Vec<u8>, RetentionError> {
    let mut bytes = read_whole(&**storage, CHECKPOINTS, usize::MAX)
        .map_err(|source| RetentionError::Io { what: "read the checkpoints".to_owned(), source })?;
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        at += match checkpoint::first_item(rest) {
            FileItem::Note { note, bytes: length } => match checkpoint::peek(note) {
                Ok((_, head)) if head.size > end => break,
                _ => length,
            },
            // Torn bytes of a crash: the next note begins somewhere behind them.
            FileItem::Incomplete | FileItem::Malformed | FileItem::End => 1,
        };
    }
    bytes.truncate(at);
    Ok(bytes)
}
