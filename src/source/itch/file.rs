//! Reads the messages of an ITCH file: each with its length in two bytes, big-endian, in front (as Nasdaq's sample files have it).

use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;

use super::super::error::SourceError;
use super::super::file::{self, Bytes};
use super::message::Message;

/// An open file, read up to some message. Messages are counted from 1: these are its records.
pub(super) struct MessageFile {
    reader: BufReader<Bytes>,
    /// Holds any message: no kind is longer than 50 bytes.
    message: [u8; MESSAGE_BYTES_MAX],
    records: u64,
}

const MESSAGE_BYTES_MAX: usize = 64;

impl MessageFile {
    pub(super) fn open(path: &Path) -> Result<Self, SourceError> {
        let reader = BufReader::with_capacity(1 << 16, file::open(path)?);
        Ok(Self { reader, message: [0; MESSAGE_BYTES_MAX], records: 0 })
    }

    /// How many messages were read.
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// The next message; `None` behind the last one, if the file ends where a message does.
    pub(super) fn next(&mut self) -> Result<Option<Message<'_>>, SourceError> {
        let record = self.records + 1;
        let mut prefix = [0; 2];
        match self.fill(record, &mut prefix)? {
            0 => return Ok(None),
            2 => {}
            _ => return Err(SourceError::Truncated { record }),
        }
        let bytes = usize::from(u16::from_be_bytes(prefix));
        let mut buffer = self.message;
        let Some(body) = buffer.get_mut(..bytes).filter(|body| !body.is_empty()) else {
            return Err(SourceError::NotItch { record, kind: ' ', bytes });
        };
        if self.fill(record, body)? < bytes {
            return Err(SourceError::Truncated { record });
        }
        self.message = buffer;
        let kind = char::from(self.message[0]);
        let message =
            Message::new(&self.message[..bytes]).ok_or(SourceError::NotItch { record, kind, bytes })?;
        self.records = record;
        Ok(Some(message))
    }

    /// Reads as much as there is room for; less only at the end of the file.
    fn fill(&mut self, record: u64, room: &mut [u8]) -> Result<usize, SourceError> {
        let mut filled = 0;
        while filled < room.len() {
            match self.reader.read(&mut room[filled..]) {
                Ok(0) => break,
                Ok(bytes) => filled += bytes,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    return Err(SourceError::Truncated { record });
                }
                Err(source) => return Err(SourceError::Read { record: record - 1, source }),
            }
        }
        Ok(filled)
    }
}

impl std::fmt::Debug for MessageFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MessageFile").field("records", &self.records).finish_non_exhaustive()
    }
}
