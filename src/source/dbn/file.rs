//! Reads the records of a DBN file, plain or zstd, versions 1 to 3.
//!
//! The decoder is driven here byte by byte because its own file reader takes the end of the file for the end of
//! the data: it says nothing when a record, or a compressed frame, is cut off. Records are read as they are on disk; the
//! three kinds that we replay are the same in versions 1 to 3 (`dbn::v1`, `dbn::v2` and `dbn::v3` name one type).

use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;

use ::dbn::decode::dbn::fsm::{DbnFsm, ProcessResult};
use ::dbn::{Metadata, RecordRef, VersionUpgradePolicy};

use super::super::error::SourceError;
use super::super::file;

/// Longest header that is read, in bytes: about half a million symbols.
const HEADER_BYTES_MAX: u32 = 64 * 1024 * 1024;

/// Bytes of the header that tell its version and length.
const PRELUDE_BYTES: usize = 8;

/// An open file, read up to some record.
pub(super) struct RecordFile {
    reader: Box<dyn Read + Send>,
    decoder: DbnFsm,
    metadata: Metadata,
    records: u64,
}

impl RecordFile {
    pub(super) fn open(path: &Path) -> Result<Self, SourceError> {
        Self::new(Box::new(BufReader::with_capacity(1 << 16, file::open(path)?)))
    }

    pub(super) fn new(mut reader: Box<dyn Read + Send>) -> Result<Self, SourceError> {
        let header = |error| SourceError::Header(Box::new(error));
        let mut prelude = [0; PRELUDE_BYTES];
        reader.read_exact(&mut prelude).map_err(header_fault)?;
        let bytes = u32::from_le_bytes([prelude[4], prelude[5], prelude[6], prelude[7]]);
        if prelude.starts_with(b"DBN") && bytes > HEADER_BYTES_MAX {
            return Err(SourceError::HeaderTooLong { bytes, max: HEADER_BYTES_MAX });
        }
        let mut decoder =
            DbnFsm::builder().upgrade_policy(VersionUpgradePolicy::AsIs).build().map_err(header)?;
        decoder.write_all(&prelude);
        loop {
            match decoder.process() {
                ProcessResult::Metadata(metadata) => {
                    return Ok(Self { reader, decoder, metadata, records: 0 });
                }
                ProcessResult::Err(error) => return Err(header(error)),
                ProcessResult::ReadMore(_) => {
                    if fill(&mut decoder, &mut reader).map_err(header_fault)? == 0 {
                        return Err(SourceError::HeaderTruncated);
                    }
                }
                // The decoder reads the header first; a record in front of it cannot be.
                ProcessResult::Record(()) => {}
            }
        }
    }

    pub(super) fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// How many records were read: the number of the last one.
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// The next record; `None` behind the last one, if the file ends where a record does.
    pub(super) fn next(&mut self) -> Result<Option<RecordRef<'_>>, SourceError> {
        let record = self.records + 1;
        loop {
            // Its length in words of four bytes comes first. Records are whole words of eight: the decoder looks at them where
            // they lie, and one behind an odd length would lie where none may.
            if self.decoder.data().first().is_some_and(|words| !words.is_multiple_of(2)) {
                let source = ::dbn::Error::decode("the length of a record is no multiple of eight bytes");
                return Err(SourceError::Malformed { record, source: Box::new(source) });
            }
            match self.decoder.process() {
                ProcessResult::Record(()) => break,
                ProcessResult::Err(error) => {
                    return Err(SourceError::Malformed { record, source: Box::new(error) });
                }
                ProcessResult::ReadMore(_) => {
                    let bytes =
                        fill(&mut self.decoder, &mut self.reader).map_err(|source| match source.kind() {
                            ErrorKind::UnexpectedEof => SourceError::Truncated { record },
                            _ => SourceError::Read { record: self.records, source },
                        })?;
                    if bytes == 0 {
                        let is_whole = self.decoder.data().is_empty();
                        return if is_whole { Ok(None) } else { Err(SourceError::Truncated { record }) };
                    }
                }
                // One header a file: the decoder does not look for a second one.
                ProcessResult::Metadata(_) => {}
            }
        }
        self.records = record;
        Ok(self.decoder.last_record())
    }
}

impl std::fmt::Debug for RecordFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordFile").field("records", &self.records).finish_non_exhaustive()
    }
}

fn fill(decoder: &mut DbnFsm, reader: &mut impl Read) -> std::io::Result<usize> {
    loop {
        match reader.read(decoder.space()) {
            Ok(bytes) => {
                decoder.fill(bytes);
                return Ok(bytes);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn header_fault(source: std::io::Error) -> SourceError {
    match source.kind() {
        ErrorKind::UnexpectedEof => SourceError::HeaderTruncated,
        _ => SourceError::Read { record: 0, source },
    }
}
