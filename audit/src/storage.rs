//! The few things the log asks of a disk, behind a trait so that tests can put a faulty one in its place.
//!
//! Names are relative to the log's folder, with `/` between folder and file. Nothing here retries: an error goes up as it came.

use std::fmt::Debug;
use std::fs::{File as StdFile, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Advice, OFlags};

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// For reading.
    Read,
    /// For reading and writing; writes reach the device when [`File::sync`] returns.
    Write,
    /// For reading and writing; every write reaches the device before it returns.
    WriteSynced,
    /// A new file, for writing; readable by its owner alone. An existing one is an error.
    CreatePrivate,
    /// A new file, for writing. An existing one is an error.
    Create,
}

/// Room on a file system, for whoever writes without privileges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreeSpace {
    /// Bytes that can still be written.
    pub free_bytes: u64,
    /// Bytes of the whole file system.
    pub total_bytes: u64,
}

/// A folder that holds a log.
pub trait Storage: Send + Sync + Debug {
    /// Opens or creates a file.
    ///
    /// # Errors
    /// Whatever the system answers.
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>>;
    /// Names of the files in a folder, sorted.
    ///
    /// # Errors
    /// Whatever the system answers; a missing folder is an error.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;
    /// Makes a folder; the empty name is the log's own. An existing one is no error.
    ///
    /// # Errors
    /// Whatever the system answers.
    fn make_folder(&self, folder: &str) -> io::Result<()>;
    /// Makes names in a folder durable.
    ///
    /// # Errors
    /// Whatever the system answers.
    fn sync_folder(&self, folder: &str) -> io::Result<()>;
    /// Gives a file another name, replacing what had it.
    ///
    /// # Errors
    /// Whatever the system answers.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// Whatever the system answers.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Takes write permission off a closed file, as far as the file system goes along.
    ///
    /// # Errors
    /// Whatever the system answers.
    fn make_read_only(&self, name: &str) -> io::Result<()>;
    /// Takes the writer's lock, held until the value is dropped; `None` when another holds it.
    ///
    /// # Errors
    /// Whatever the system answers.
    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn Lock>>>;
    /// Whether a writer holds the lock. Without a lock file nobody does.
    ///
    /// # Errors
    /// Whatever the system answers.
    fn is_locked(&self, name: &str) -> io::Result<bool>;
    /// What is left of the file system that holds the folder.
    ///
    /// # Errors
    /// Whatever the system answers.
    fn space(&self) -> io::Result<FreeSpace>;
}

/// The writer's lock, as a thing to hold.
pub trait Lock: Send + Sync + Debug {}

/// An open file.
pub trait File: Send + Sync + Debug {
    /// Length in bytes.
    ///
    /// # Errors
    /// Whatever the system answers.
    fn length(&self) -> io::Result<u64>;
    /// Reads at `offset`; fewer bytes than asked for only at the end of the file.
    ///
    /// # Errors
    /// Whatever the system answers.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`, in one call to the system.
    ///
    /// # Errors
    /// Whatever the system answers; a short write is an error and is not continued.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes content and length durable.
    ///
    /// # Errors
    /// Whatever the system answers. After an error nothing is known about any byte not synced before.
    fn sync(&self) -> io::Result<()>;
    /// Cuts the file off or extends it with zeros.
    ///
    /// # Errors
    /// Whatever the system answers.
    fn set_length(&self, bytes: u64) -> io::Result<()>;
    /// Asks that what is cached be read from the device again. Only a hint: content that was synced comes back the same.
    fn forget_cache(&self);
}

/// A folder on a real disk.
#[derive(Clone, Debug)]
pub struct DiskStorage {
    folder: PathBuf,
    immutable: bool,
}

impl DiskStorage {
    /// The log in `folder`.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), immutable: false }
    }

    /// The same; files made read-only also get the file system's immutable flag (`chattr +i`), if `immutable` and the process may
    /// set it: not even root removes them by mistake then. [`Storage::remove`] takes it off.
    #[must_use]
    pub fn with_immutable_flag(self, immutable: bool) -> Self {
        Self { immutable, ..self }
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.folder.clone() } else { self.folder.join(name) }
    }
}

impl Storage for DiskStorage {
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>> {
        let mut options = OpenOptions::new();
        options.read(true);
        match access {
            Access::Read => {}
            Access::Write => {
                options.write(true);
            }
            Access::WriteSynced => {
                options.write(true).custom_flags(i32::try_from(OFlags::DSYNC.bits()).unwrap_or(0));
            }
            Access::CreatePrivate => {
                options.write(true).create_new(true).mode(0o600);
            }
            Access::Create => {
                options.write(true).create_new(true).mode(0o640);
            }
        }
        Ok(Arc::new(DiskFile { file: options.open(self.path(name))? }))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.path(folder))? {
            // A name that is no UTF-8 is not one of the log's; it is shown as well as it can be.
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn make_folder(&self, folder: &str) -> io::Result<()> {
        let mut builder = std::fs::DirBuilder::new();
        // Keys and entries are for the server's own user and group.
        builder.recursive(true).mode(0o750).create(self.path(folder))
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        StdFile::open(self.path(folder))?.sync_all()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let path = self.path(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && lift_immutable(&path) => {
                std::fs::remove_file(&path)
            }
            other => other,
        }
    }

    fn make_read_only(&self, name: &str) -> io::Result<()> {
        let path = self.path(name);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o444))?;
        if self.immutable { set_immutable(&path) } else { Ok(()) }
    }

    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn Lock>>> {
        let mut options = OpenOptions::new();
        let file =
            options.read(true).write(true).create(true).truncate(false).mode(0o640).open(self.path(name))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(DiskLock { _file: file }))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn is_locked(&self, name: &str) -> io::Result<bool> {
        let file = match StdFile::open(self.path(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn space(&self) -> io::Result<FreeSpace> {
        let system = rustix::fs::statvfs(&self.folder)?;
        let bytes = |blocks: u64| blocks.saturating_mul(system.f_frsize);
        Ok(FreeSpace { free_bytes: bytes(system.f_bavail), total_bytes: bytes(system.f_blocks) })
    }
}

/// Sets the flag that keeps even its owner from changing or removing a file.
#[cfg(target_os = "linux")]
fn set_immutable(path: &Path) -> io::Result<()> {
    use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
    let file = StdFile::open(path)?;
    Ok(ioctl_setflags(&file, ioctl_getflags(&file)? | IFlags::IMMUTABLE)?)
}

#[cfg(not(target_os = "linux"))]
fn set_immutable(_: &Path) -> io::Result<()> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}

/// Takes the flag off that keeps even its owner from changing a file (`chattr +i`); whether it was there and is gone.
#[cfg(target_os = "linux")]
fn lift_immutable(path: &Path) -> bool {
    use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
    let Ok(file) = StdFile::open(path) else { return false };
    let Ok(flags) = ioctl_getflags(&file) else { return false };
    flags.contains(IFlags::IMMUTABLE) && ioctl_setflags(&file, flags - IFlags::IMMUTABLE).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn lift_immutable(_: &Path) -> bool {
    false
}

/// Holds the lock by keeping its file open.
#[derive(Debug)]
struct DiskLock {
    _file: StdFile,
}

impl Lock for DiskLock {}

#[derive(Debug)]
struct DiskFile {
    file: StdFile,
}

impl File for DiskFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < into.len() {
            let at = offset + u64::try_from(filled).unwrap_or(u64::MAX);
            match self.file.read_at(&mut into[filled..], at) {
                Ok(0) => break,
                Ok(bytes) => filled += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let written = rustix::io::pwrite(&self.file, bytes, offset)?;
        if written == bytes.len() { Ok(()) } else { Err(io::Error::from(io::ErrorKind::WriteZero)) }
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn set_length(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn forget_cache(&self) {
        // Best effort by nature: a kernel that keeps the pages keeps bytes that a sync has confirmed.
        let _ = rustix::fs::fadvise(&self.file, 0, None, Advice::DontNeed);
    }
}

/// Writes a file whole or not at all: under another name, synced, then renamed.
pub(crate) fn replace(storage: &dyn Storage, folder: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let join = |name: &str| if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
    let temporary = join(&format!("{name}.tmp"));
    remove_if_there(storage, &temporary)?;
    let file = storage.open(&temporary, Access::Create)?;
    file.write_at(0, bytes)?;
    file.sync()?;
    storage.rename(&temporary, &join(name))?;
    storage.sync_folder(folder)
}

/// Removes a file that may not exist.
pub(crate) fn remove_if_there(storage: &dyn Storage, name: &str) -> io::Result<()> {
    match storage.remove(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Reads a whole file of at most `bytes_max`; a longer one is an error.
pub(crate) fn read_whole(storage: &dyn Storage, name: &str, bytes_max: usize) -> io::Result<Vec<u8>> {
    let file = storage.open(name, Access::Read)?;
    let length = usize::try_from(file.length()?).unwrap_or(usize::MAX);
    if length > bytes_max {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    }
    let mut bytes = vec![0u8; length];
    let read = file.read_at(0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::fs::{IFlags, ioctl_getflags};

    use super::*;

    #[test]
    fn an_immutable_file_is_removed_by_who_may() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sealed");
        std::fs::write(&path, b"x").unwrap();
        let storage = DiskStorage::new(folder.path()).with_immutable_flag(true);
        let is_flagged = || {
            let flags = StdFile::open(&path).and_then(|file| Ok(ioctl_getflags(&file)?));
            flags.is_ok_and(|flags| flags.contains(IFlags::IMMUTABLE))
        };
        if storage.make_read_only("sealed").is_ok() {
            assert!(is_flagged() && std::fs::remove_file(&path).is_err(), "the flag does nothing here");
        } else {
            // Not root, or a file system without the flag: then it is a read-only file.
            println!("left out: the immutable flag cannot be set here");
            assert!(!is_flagged() && path.metadata().unwrap().permissions().readonly());
        }
        storage.remove("sealed").unwrap();
        assert!(!path.exists());
    }
}
