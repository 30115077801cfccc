//! A bundle made through indexes is the one that is made by reading everything, and takes far less reading.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sealfeed_audit::bundle::{MakeError, Wanted, make_wanted};
use sealfeed_audit::index::{Terms, Which, build_all};
use sealfeed_audit::reader::{Entry, entries};
use sealfeed_audit::storage::{Access, DiskStorage, File, FreeSpace, Lock, Storage};
use tempfile::TempDir;

use super::logs::{BOB, Payload, Writer, certificate, clock, connect, draft, order};
use super::support::disk::Random;
use super::support::init_log;
use super::{OrderLink, VerifierKey, checked};

const TERMS: Terms = Terms { version: 1, of: |_, _| {} };

/// A disk that counts the bytes that are read of segments.
#[derive(Debug)]
struct Counting {
    disk: DiskStorage,
    read: Arc<AtomicU64>,
}

#[derive(Debug)]
struct CountingFile {
    file: Arc<dyn File>,
    read: Arc<AtomicU64>,
}

impl File for CountingFile {
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(offset, into)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(offset, bytes)
    }
    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
    fn set_length(&self, bytes: u64) -> io::Result<()> {
        self.file.set_length(bytes)
    }
    fn forget_cache(&self) {
        self.file.forget_cache();
    }
}

impl Storage for Counting {
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>> {
        let file = self.disk.open(name, access)?;
        let is_segment = name.ends_with(".seg");
        let read = if is_segment { Arc::clone(&self.read) } else { Arc::default() };
        Ok(Arc::new(CountingFile { file, read }))
    }
    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.disk.list(folder)
    }
    fn make_folder(&self, folder: &str) -> io::Result<()> {
        self.disk.make_folder(folder)
    }
    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.disk.sync_folder(folder)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }
    fn make_read_only(&self, name: &str) -> io::Result<()> {
        self.disk.make_read_only(name)
    }
    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn Lock>>> {
        self.disk.lock(name)
    }
    fn is_locked(&self, name: &str) -> io::Result<bool> {
        self.disk.is_locked(name)
    }
    fn space(&self) -> io::Result<FreeSpace> {
        self.disk.space()
    }
}

/// Cancelled, in these logs.
fn has_ended(entry: &Entry) -> bool {
    entry.header.order.is_some_and(|link| link.event == 3)
}

/// Three runs over many segments, with an order every so often that lives across them.
struct Long {
    folder: TempDir,
    key: VerifierKey,
    orders: Vec<u64>,
    bytes: u64,
}

impl Long {
    fn new() -> Self {
        let (folder, mut orders) = (TempDir::new().unwrap(), Vec::new());
        let key = init_log(folder.path()).public_key;
        for run in 0..3 {
            let writer = Writer::open(folder.path(), |_| {});
            writer.add(clock());
            for name in [&b"erin"[..], b"bob"] {
                writer.add(certificate(name));
            }
            writer.add(connect(3, "acme/erin", b"erin"));
            writer.noise(300);
            writer.add(connect(1, BOB, b"bob"));
            writer.add(connect(2, BOB, b"bob"));
            for number in 0..4 {
                let id = 100 * run + number;
                writer.life(id, BOB);
                orders.push(id);
                writer.noise(3_000);
                if number % 2 == 0 {
                    writer.add(clock());
                }
                // The log remembers receipts of the last entries only.
                let last = writer.add(draft(300, Payload::default()));
                writer.log.wait_durable(last).unwrap();
                writer.log.rotate();
            }
            writer.add(order(1, BOB, OrderLink { id: 90 + run, previous: None, event: 0 }, "order.new"));
            orders.push(90 + run);
            writer.noise(500);
            writer.log.stop().unwrap();
        }
        let all = entries(folder.path()).unwrap().map(Result::unwrap);
        let bytes = all.map(|entry| entry.to_bytes().len() as u64 + 20).sum();
        Self { folder, key, orders, bytes }
    }

    /// The bundle, and how many bytes of segments were read for it.
    fn prove(
        &self,
        number: Option<u64>,
        is_first: Option<&mut dyn FnMut(&Entry) -> bool>,
    ) -> Result<(Vec<u8>, u64), MakeError> {
        let read = Arc::new(AtomicU64::new(0));
        let disk = DiskStorage::new(self.folder.path());
        let storage: Arc<dyn Storage> = Arc::new(Counting { disk, read: Arc::clone(&read) });
        let wanted = Wanted { number, is_first, has_ended: &has_ended };
        let made = make_wanted(&storage, wanted, Some(self.key.clone()))?;
        Ok((made.bytes, read.load(Ordering::Relaxed)))
    }

    /// What reading the log twice may come to: with headers, zeros behind the end, and the leaves around each proven entry.
    fn twice(&self) -> u64 {
        2 * (self.bytes + (2 << 20)) + 16 * (256 << 10)
    }

    fn index(&self) {
        let storage: Arc<dyn Storage> = Arc::new(DiskStorage::new(self.folder.path()));
        build_all(&storage, &TERMS, Which::Missing, &mut |_| {}).unwrap();
    }

    fn indexes(&self) -> Vec<std::path::PathBuf> {
        let files = std::fs::read_dir(self.folder.path().join("index")).unwrap();
        let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        files.sort();
        files
    }
}

#[test]
fn a_bundle_is_the_same_with_and_without_indexes_and_with_them_little_is_read() {
    let long = Long::new();
    let whole: Vec<_> = long.orders.iter().map(|id| long.prove(Some(*id), None).unwrap()).collect();
    for (_, read) in &whole {
        assert!(*read <= long.twice(), "{read} bytes read of {}", long.bytes);
    }
    long.index();
    for (id, (bundle, read)) in long.orders.iter().zip(&whole) {
        let (indexed, read_now) = long.prove(Some(*id), None).unwrap();
        assert!(indexed == *bundle, "order {id}");
        // One that has not ended has the rest of the log read.
        if *id < 90 || *id >= 100 {
            assert!(read_now < *read, "order {id}: {read_now} bytes read, {read} without indexes");
        }
    }
    assert!(matches!(long.prove(Some(5_000), None), Err(MakeError::NoSuchOrder(5_000))));
}

#[test]
fn the_last_order_that_is_called_so_is_proven_and_a_number_comes_first() {
    let long = Long::new();
    let by_number = long.prove(Some(202), None).unwrap().0;
    let mut any = |entry: &Entry| entry.header.order.is_some_and(|link| [2, 202].contains(&link.id));
    let (bundle, read) = long.prove(None, Some(&mut any)).unwrap();
    assert!(bundle == by_number);
    assert!(read <= long.twice(), "{read} bytes read of {}", long.bytes);
    let (bundle, _) = long.prove(Some(102), Some(&mut any)).unwrap();
    assert!(bundle == long.prove(Some(102), None).unwrap().0);
    let (bundle, _) = long.prove(Some(9_999), Some(&mut any)).unwrap();
    assert!(bundle == by_number, "there is none of that number");
    assert!(matches!(long.prove(None, Some(&mut |_| false)), Err(MakeError::NotFound)));
}

#[test]
fn a_damaged_index_changes_no_bundle_and_one_that_hides_costs_neither_life_nor_certificates() {
    let long = Long::new();
    let whole: Vec<_> = long.orders.iter().map(|id| long.prove(Some(*id), None).unwrap().0).collect();
    long.index();
    let indexes = long.indexes();
    let good: Vec<_> = indexes.iter().map(|path| std::fs::read(path).unwrap()).collect();
    let seed = 20_261_126;
    let mut random = Random(seed);
    println!("seed {seed}");
    let at = |random: &mut Random, end: usize| usize::try_from(random.below(end as u64)).unwrap();
    for round in 0..40 {
        let (file, order) = (at(&mut random, indexes.len()), at(&mut random, long.orders.len()));
        let mut bad = good[file].clone();
        match round % 3 {
            0 => bad.truncate(at(&mut random, good[file].len())),
            1 => {
                let byte = at(&mut random, bad.len());
                bad[byte] ^= 1 << random.below(8);
            }
            // An index of another segment.
            _ => bad.clone_from(&good[(file + 1) % good.len()]),
        }
        std::fs::write(&indexes[file], &bad).unwrap();
        assert!(long.prove(Some(long.orders[order]), None).unwrap().0 == whole[order], "round {round}");
        std::fs::write(&indexes[file], &good[file]).unwrap();
    }
    // Whoever edits one and its checksums can hide: every row leads to the first piece.
    for (path, good) in indexes.iter().zip(&good) {
        std::fs::write(path, hiding(good)).unwrap();
    }
    let story = |bundle: &[u8]| checked(bundle, Some(&long.key)).proof.unwrap().story;
    for (id, bundle) in long.orders.iter().zip(&whole) {
        let (made, expected) = (story(&long.prove(Some(*id), None).unwrap().0), story(bundle));
        assert_eq!(made.life, expected.life, "order {id}");
        assert!(made.sessions.iter().all(|session| session.chain.is_some()), "order {id}");
        // Of several words on the clock an older one may be taken.
        assert!(made.clock[0].is_some(), "order {id}");
    }
}

/// An index in which every key leads to the first piece, with checksums that fit.
fn hiding(index: &[u8]) -> Vec<u8> {
    let count =
        |at: usize| usize::try_from(u32::from_le_bytes(index[at..at + 4].try_into().unwrap())).unwrap();
    let (fixed, piece, page) = (112, 56, 4_096);
    let head = fixed + count(96) * piece + count(100) * 8;
    let mut edited = index.to_vec();
    for page in edited[head + 4..].chunks_exact_mut(page) {
        let (rows, crc) = page.split_at_mut(4_092);
        rows.chunks_exact_mut(8).for_each(|row| row[..4].fill(0));
        crc.copy_from_slice(&crc32c::crc32c(rows).to_le_bytes());
    }
    edited
}
