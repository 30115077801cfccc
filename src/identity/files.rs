//! Reading the configured files: bounded, secrets unexposed, hashed for the journal.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustls_pki_types::pem::PemObject;
use sha2::{Digest, Sha256};

use super::error::{FileRole, IdentityError};

/// Most bytes of one file: room for a revocation list of a million entries.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A file that was read, for the journal's record of what is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRecord {
    /// Which file.
    pub role: FileRole,
    /// Where it was read.
    pub path: PathBuf,
    /// SHA-256 of its bytes; `None` for secrets.
    pub sha256: Option<[u8; 32]>,
}

/// The bytes of a file, and its record.
pub(super) struct Contents {
    pub(super) role: FileRole,
    pub(super) bytes: Vec<u8>,
    pub(super) record: FileRecord,
    /// SHA-256 of the bytes, of secrets too: to see whether a file changed, never to be written anywhere.
    pub(super) digest: [u8; 32],
}

/// Reads the file at `path`.
pub(super) fn read(role: FileRole, path: &Path) -> Result<Contents, IdentityError> {
    let failed = |source| IdentityError::Read { role, path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let mode = metadata.permissions().mode() & 0o777;
    if role.is_secret() && mode & 0o077 != 0 {
        return Err(IdentityError::Exposed { role, path: path.to_owned(), mode });
    }
    let mut bytes = Vec::new();
    let length = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)? as u64;
    if length > FILE_BYTES_MAX {
        return Err(IdentityError::TooLarge {
            role,
            path: path.to_owned(),
            bytes: metadata.len().max(length),
            max: FILE_BYTES_MAX,
        });
    }
    let digest: [u8; 32] = Sha256::digest(&bytes).into();
    let sha256 = (!role.is_secret()).then_some(digest);
    Ok(Contents { role, bytes, record: FileRecord { role, path: path.to_owned(), sha256 }, digest })
}

impl Contents {
    /// Every PEM section of type `T`, at least one; `expected` is the section's label.
    pub(super) fn pem<T: PemObject>(&self, expected: &'static str) -> Result<Vec<T>, IdentityError> {
        let sections = T::pem_slice_iter(&self.bytes)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|source| IdentityError::BadPem { role: self.role, source })?;
        if sections.is_empty() {
            return Err(IdentityError::NoPem { role: self.role, expected });
        }
        Ok(sections)
    }
}
