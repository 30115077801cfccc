//! A folder in memory that holds a log.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sealfeed_audit::storage::{Access, File, FreeSpace, Lock, Storage};

type Content = Arc<Mutex<Vec<u8>>>;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Files by name. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage(Arc<Mutex<BTreeMap<String, Content>>>);

impl MemoryStorage {
    /// A folder with these files.
    #[must_use]
    pub fn of(files: &BTreeMap<String, Vec<u8>>) -> Self {
        let share =
            |(name, content): (&String, &Vec<u8>)| (name.clone(), Arc::new(Mutex::new(content.clone())));
        Self(Arc::new(Mutex::new(files.iter().map(share).collect())))
    }

    /// A copy of what it holds.
    #[must_use]
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        locked(&self.0).iter().map(|(name, content)| (name.clone(), locked(content).clone())).collect()
    }
}

#[derive(Debug)]
struct Held;

impl Lock for Held {}

#[derive(Debug)]
struct MemoryFile(Content);

fn place(offset: u64) -> io::Result<usize> {
    // No log in memory is so long: a number that was read somewhere is wrong.
    usize::try_from(offset).ok().filter(|at| *at <= 1 << 30).ok_or(io::ErrorKind::InvalidInput.into())
}

impl File for MemoryFile {
    fn length(&self) -> io::Result<u64> {
        Ok(locked(&self.0).len() as u64)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let content = locked(&self.0);
        let rest = usize::try_from(offset).ok().and_then(|at| content.get(at..)).unwrap_or_default();
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let (mut content, at) = (locked(&self.0), place(offset)?);
        let end = at + bytes.len();
        if content.len() < end {
            content.resize(end, 0);
        }
        content[at..end].copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_length(&self, bytes: u64) -> io::Result<()> {
        locked(&self.0).resize(place(bytes)?, 0);
        Ok(())
    }

    fn forget_cache(&self) {}
}

impl Storage for MemoryStorage {
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>> {
        let mut files = locked(&self.0);
        let is_new = matches!(access, Access::Create | Access::CreatePrivate);
        if is_new {
            if files.contains_key(name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            files.insert(name.to_owned(), Content::default());
        }
        let content = files.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(MemoryFile(Arc::clone(content))))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let inside = |name: &String| {
            let rest = if folder.is_empty() { name } else { name.strip_prefix(folder)?.strip_prefix('/')? };
            (!rest.contains('/')).then(|| rest.to_owned())
        };
        Ok(locked(&self.0).keys().filter_map(inside).collect())
    }

    fn make_folder(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn sync_folder(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = locked(&self.0);
        let content = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        locked(&self.0).remove(name).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn make_read_only(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, _: &str) -> io::Result<Option<Box<dyn Lock>>> {
        Ok(Some(Box::new(Held)))
    }

    fn is_locked(&self, _: &str) -> io::Result<bool> {
        Ok(false)
    }

    fn space(&self) -> io::Result<FreeSpace> {
        Ok(FreeSpace { free_bytes: 1 << 40, total_bytes: 1 << 41 })
    }
}
