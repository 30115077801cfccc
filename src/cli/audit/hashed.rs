//! Files that are hashed as they are written, so that whoever hands them on can say what they were.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use sealfeed_audit::Hash;
use sha2::{Digest, Sha256};

/// A file that is hashed as it is written.
pub(super) struct Hashed {
    file: BufWriter<File>,
    hasher: Sha256,
}

impl Hashed {
    /// Takes a new, empty file.
    pub(super) fn new(file: File) -> Self {
        Self { file: BufWriter::new(file), hasher: Sha256::new() }
    }

    /// Writes the rest and makes it durable; SHA-256 of all of it.
    pub(super) fn finish(mut self) -> io::Result<Hash> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        Ok(self.hasher.finalize().into())
    }
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
