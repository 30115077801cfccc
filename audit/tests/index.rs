//! Indexes: what is found through them is what reading everything finds, and nothing that is done to them changes a verdict or,
//! but for what they leave out, an answer.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod support;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use sealfeed_audit::index::{IndexError, Key, Query, Search, Tally, Terms, Which, build_all};
use sealfeed_audit::nodes::Nodes;
use sealfeed_audit::reader::{Entries, Entry, ReadError};
use sealfeed_audit::storage::{DiskStorage, Storage};
use sealfeed_audit::verify::{Verdict, verify_storage};
use sealfeed_audit::{
    Draft, EntryRef, Initialised, Log, Options, OrderLink, SessionLink, init_storage, proof,
};
use support::disk::{FaultyDisk, Image};
use support::{append_durably, init_options, key_and_k0, options};

/// The first byte of a payload is what the application finds its entries by.
fn first_byte(entry: &EntryRef<'_>, add: &mut dyn FnMut(&[u8])) {
    entry.payload.first().into_iter().for_each(|byte| add(&[*byte]));
}

const TERMS: Terms = Terms { version: 7, of: first_byte };
/// Of so many bytes of an index one is flipped in a short run; all with `SEALFEED_FLIPS=all`.
const STRIDE: usize = 61;

fn session(number: u64) -> [u8; 32] {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&number.to_le_bytes());
    id
}

fn draft(number: u64) -> Draft {
    Draft {
        kind: if number.is_multiple_of(97) { 301 } else { 300 },
        schema: 1,
        session: Some(SessionLink { id: session(number / 150), event: number % 150 }),
        order: number.is_multiple_of(3).then_some(OrderLink { id: number / 60, previous: None, event: 0 }),
        payload: vec![u8::try_from(number / 100 % 200).unwrap(); 40 + usize::try_from(number % 60).unwrap()],
    }
}

/// A stopped log on a disk in memory, which begins a segment after every `per_segment` of `entries` entries.
fn log(entries: u64, per_segment: u64) -> (Image, Initialised) {
    let disk = FaultyDisk::default();
    let initialised = init_storage(&disk, &init_options()).unwrap();
    let rare = Options { checkpoint_interval_ns: u64::MAX / 2, ..options() };
    let log = Log::open_storage(Arc::new(disk.clone()), rare).unwrap();
    for number in 0..entries {
        if number % per_segment == per_segment - 1 {
            append_durably(&log, draft(number));
            log.rotate();
        } else {
            log.append(draft(number)).unwrap();
        }
    }
    log.stop().unwrap();
    (disk.image(), initialised)
}

fn all(disk: &FaultyDisk) -> Vec<Entry> {
    Entries::new(Arc::new(disk.clone()), 0).unwrap().map(Result::unwrap).collect()
}

/// Whether an entry is what a query asks for; the naive half of every comparison.
fn is_asked_for(entry: &Entry, query: &Query) -> bool {
    let header = &entry.header;
    let has = |key: &Key| match key {
        Key::Order(id) => header.order.is_some_and(|order| order.id == *id),
        Key::Session(id) => header.session.is_some_and(|session| session.id == *id),
        Key::Kind(kind) => header.kind == *kind,
        Key::Term(term) => header.kind >= 256 && entry.payload.first() == term.first(),
    };
    query.all.iter().all(|keys| keys.iter().any(has))
        && query.from_ns.is_none_or(|from| header.stamp.utc_ns >= from)
        && query.until_ns.is_none_or(|until| header.stamp.utc_ns < until)
}

/// What a search finds of what is asked for, and what it looked at.
fn found(storage: Arc<dyn Storage>, query: &Query) -> (Vec<Entry>, Tally) {
    let mut search = Search::new(storage, TERMS, query.clone()).unwrap();
    let entries: Vec<Entry> = search.by_ref().map(Result::unwrap).collect();
    assert!(entries.windows(2).all(|pair| pair[0].header.seq < pair[1].header.seq), "in order, each once");
    (entries.into_iter().filter(|entry| is_asked_for(entry, query)).collect(), search.tally())
}

fn queries(entries: &[Entry]) -> Vec<Query> {
    let times: Vec<u64> = entries.iter().map(|entry| entry.header.stamp.utc_ns).collect();
    let of = |all: Vec<Vec<Key>>| Query { all, ..Query::default() };
    let mut queries = vec![
        of(vec![vec![Key::Kind(301)]]),
        of(vec![vec![Key::Kind(301), Key::Kind(2)], vec![Key::Term(vec![3]), Key::Term(vec![9])]]),
        of(vec![vec![Key::Session(session(4))]]),
        of(vec![vec![Key::Session(session(4_000))]]),
        Query {
            from_ns: Some(times[times.len() / 2]),
            until_ns: Some(times[times.len() / 2 + 40]),
            ..Query::default()
        },
        Query { until_ns: Some(times[3]), all: vec![vec![Key::Kind(300)]], ..Query::default() },
        Query::default(),
    ];
    queries.extend((0..12).map(|id| of(vec![vec![Key::Order(id)]])));
    queries
}

/// Every query through whatever indexes there are gives what reading everything gives.
fn check(disk: &FaultyDisk, entries: &[Entry], queries: &[Query]) {
    for query in queries {
        let expected: Vec<_> = entries.iter().filter(|entry| is_asked_for(entry, query)).cloned().collect();
        assert_eq!(found(Arc::new(disk.clone()), query).0, expected, "{query:?}");
    }
}

fn indexes(image: &Image) -> Vec<String> {
    image.keys().filter(|name| name.starts_with("index/")).cloned().collect()
}

fn index_of(image: &Image) -> Image {
    let disk = FaultyDisk::from_image(image);
    build_all(&(Arc::new(disk.clone()) as Arc<dyn Storage>), &TERMS, Which::Missing, &mut |_| {}).unwrap();
    disk.image()
}

#[test]
fn a_search_finds_what_reading_everything_finds_and_reads_far_less() {
    let (image, _) = log(3_000, 1_111);
    let disk = FaultyDisk::from_image(&index_of(&image));
    let entries = all(&disk);
    let queries = queries(&entries);
    check(&disk, &entries, &queries);
    let (_, tally) = found(Arc::new(disk), &queries[7]);
    assert!(tally.indexed >= 2 && tally.scanned == 1, "the open segment is read whole: {tally:?}");
    assert!(tally.skipped > 4 * tally.read && tally.read > 0, "{tally:?}");
}

#[test]
fn what_always_comes_along_is_found_whatever_else_is_asked() {
    let (image, _) = log(2_000, 900);
    let query = Query { all: vec![vec![Key::Order(2)]], always: vec![Key::Kind(301)], ..Query::default() };
    let disk = FaultyDisk::from_image(&image);
    let came: Vec<u64> = Search::new(Arc::new(disk.clone()), TERMS, query)
        .unwrap()
        .map(|entry| entry.unwrap().header)
        .filter(|header| header.kind == 301)
        .map(|header| header.seq)
        .collect();
    let expected: Vec<u64> =
        all(&disk).iter().filter(|entry| entry.header.kind == 301).map(|entry| entry.header.seq).collect();
    assert_eq!(came, expected);
}

#[test]
fn indexes_are_built_once_rebuilt_at_will_and_leave_with_their_segment() {
    let (image, initialised) = log(700, 200);
    let disk = FaultyDisk::from_image(&image);
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let built = build_all(&storage, &TERMS, Which::Missing, &mut |_| {}).unwrap();
    assert_eq!((built.built.len(), built.there, built.without.len()), (3, 0, 1));
    let first = disk.image();
    let mut last = None;
    let again = build_all(&storage, &TERMS, Which::Missing, &mut |progress| last = Some(progress)).unwrap();
    assert_eq!((again.built.len(), again.there), (0, 3));
    assert!(last.is_some_and(|progress| progress.bytes == progress.bytes_total && progress.bytes > 0));
    let mut strays = first.clone();
    strays.insert("index/00000000000000000777.idx".to_owned(), vec![1; 10]);
    strays.insert("index/notes.txt".to_owned(), vec![1; 10]);
    let disk = FaultyDisk::from_image(&strays);
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let anew = build_all(&storage, &TERMS, Which::All, &mut |_| {}).unwrap();
    assert_eq!((anew.built, anew.removed), (built.built, 1));
    let mut after = disk.image();
    assert!(after.remove("index/notes.txt").is_some(), "what is nobody's index is left alone");
    assert_eq!(after, first, "the same segment has the same index");
    let other = Terms { version: 8, ..TERMS };
    assert_eq!(build_all(&storage, &other, Which::Missing, &mut |_| {}).unwrap().built.len(), 3);
    let report = verify_storage(&disk, &key_and_k0(&initialised), &mut |_| {}).unwrap();
    assert_eq!((report.verdict, report.strays), (Verdict::Verified, Vec::<String>::new()));
}

#[test]
fn every_bit_of_an_index_flipped_changes_no_verdict_and_no_answer() {
    let (image, initialised) = log(460, 300);
    let whole = index_of(&image);
    let [name] = &indexes(&whole)[..] else { panic!("one segment is sealed") };
    let disk = FaultyDisk::from_image(&whole);
    let entries = all(&disk);
    // Between them they look at every page of so small an index.
    let queries: Vec<Query> = queries(&entries).into_iter().take(8).collect();
    let root = Nodes::read_storage(Arc::new(disk.clone())).unwrap().root();
    let chosen = std::env::var("SEALFEED_FLIPS").unwrap_or_else(|_| (std::process::id() % 61).to_string());
    let (stride, start) =
        if chosen == "all" { (1, 0) } else { (STRIDE, chosen.parse::<usize>().unwrap() % STRIDE) };
    println!("SEALFEED_FLIPS={chosen}");
    for byte in (start..whole[name].len()).step_by(stride) {
        for bit in byte * 8..byte * 8 + 8 {
            let disk = FaultyDisk::from_image(&whole);
            disk.flip(name, bit);
            let nodes = Nodes::read_storage(Arc::new(disk.clone())).unwrap();
            assert_eq!((nodes.size(), nodes.root()), (entries.len() as u64, root), "bit {bit}");
            let report = verify_storage(&disk, &key_and_k0(&initialised), &mut |_| {}).unwrap();
            assert_eq!((report.verdict, &report.strays[..]), (Verdict::Verified, &[][..]), "bit {bit}");
            check(&disk, &entries, &queries);
            assert_eq!(disk.content(name), Some(whole[name].clone()), "bit {bit}: it was built again");
        }
    }
}

#[test]
fn an_index_that_is_missing_cut_foreign_stale_or_of_other_terms_is_built_again() {
    let (image, _) = log(460, 300);
    let (other, _) = log(460, 300);
    let (whole, foreign) = (index_of(&image), index_of(&other));
    let [name] = &indexes(&whole)[..] else { panic!("one segment is sealed") };
    assert_eq!(&indexes(&foreign)[..], std::slice::from_ref(name));
    let right = whole[name].clone();
    let mut of_other_terms = right.clone();
    of_other_terms[12] ^= 1;
    let wrong = [
        Vec::new(),
        vec![0; 5_000],
        right[..right.len() - 1].to_vec(),
        [&right[..], &[0]].concat(),
        foreign[name].clone(),
        with_checksum(of_other_terms),
    ];
    for content in wrong {
        let disk = FaultyDisk::from_image(&whole);
        disk.tamper(name, content);
        let entries = all(&disk);
        check(&disk, &entries, &queries(&entries));
        assert_eq!(disk.content(name), Some(right.clone()));
    }
    // A seal that is another note, as after a restore from a copy that was sealed again, makes it stale; a wrong seal makes none.
    let disk = FaultyDisk::from_image(&whole);
    let seal = name.replace("index/", "segments/").replace(".idx", ".seal");
    disk.flip(&seal, 100);
    let (_, tally) = found(Arc::new(disk), &Query::default());
    assert_eq!((tally.indexed, tally.scanned), (0, 2));
}

/// Bytes of the fixed part of an index's head, of a piece in it, and of a page.
const FIXED: usize = 112;
const PIECE: usize = 56;
const PAGE: usize = 4_096;

fn head_bytes(index: &[u8]) -> usize {
    let count =
        |at: usize| usize::try_from(u32::from_le_bytes(index[at..at + 4].try_into().unwrap())).unwrap();
    FIXED + count(96) * PIECE + count(100) * 8
}

/// The same index with the checksums of whoever edits one and knows how.
fn with_checksum(mut index: Vec<u8>) -> Vec<u8> {
    let head = head_bytes(&index);
    let crc = crc32c::crc32c(&index[..head]);
    index[head..head + 4].copy_from_slice(&crc.to_le_bytes());
    for page in index[head + 4..].chunks_exact_mut(PAGE) {
        let crc = crc32c::crc32c(&page[..PAGE - 4]);
        page[PAGE - 4..].copy_from_slice(&crc.to_le_bytes());
    }
    index
}

#[test]
fn an_index_edited_with_its_checksums_cannot_change_an_entry_or_a_node() {
    let (image, _) = log(460, 300);
    let whole = index_of(&image);
    let [name] = &indexes(&whole)[..] else { panic!("one segment is sealed") };
    let disk = FaultyDisk::from_image(&whole);
    let entries = all(&disk);
    let root = Nodes::read_storage(Arc::new(disk)).unwrap().root();
    let (right, queries) = (&whole[name], queries(&entries));
    let pieces = (head_bytes(right) - FIXED) / PIECE;
    for piece in 0..pieces.min(3) {
        // Its node, then where it begins: nowhere, and at the next piece.
        for (at, by) in [(0, 1u8), (32, 8), (33, 255), (39, 1)] {
            let mut edited = right.clone();
            edited[FIXED + piece * PIECE + at] = edited[FIXED + piece * PIECE + at].wrapping_add(by);
            let disk = FaultyDisk::from_image(&whole);
            disk.tamper(name, with_checksum(edited));
            let mut nodes = Nodes::read_storage(Arc::new(disk.clone())).unwrap();
            assert_eq!(nodes.root(), root);
            let path = proof::inclusion(&mut nodes, 256, entries.len() as u64).unwrap();
            let leaf = &entries[256].hash;
            assert!(proof::verify_inclusion(leaf, 256, entries.len() as u64, &path, &root));
            check(&disk, &entries, &queries);
        }
    }
}

#[test]
fn an_index_that_leaves_an_entry_out_hides_it_and_so_nothing_else_may_rest_on_it() {
    let (image, initialised) = log(460, 300);
    let whole = index_of(&image);
    let [name] = &indexes(&whole)[..] else { panic!("one segment is sealed") };
    let mut edited = whole[name].clone();
    let rows = head_bytes(&edited) + 4;
    // Every row of the only page leads to the first piece from now on.
    for row in 0..511 {
        edited[rows + row * 8..rows + row * 8 + 4].fill(0);
    }
    let disk = FaultyDisk::from_image(&whole);
    disk.tamper(name, with_checksum(edited));
    let entries = all(&disk);
    let query = Query { all: vec![vec![Key::Order(4)]], ..Query::default() };
    let expected = entries.iter().filter(|entry| is_asked_for(entry, &query)).count();
    let (hidden, tally) = found(Arc::new(disk.clone()), &query);
    assert!(hidden.len() < expected, "the reason for which a complete answer reads everything");
    assert_eq!(tally.indexed, 1, "and what was not read is counted: {tally:?}");
    let report = verify_storage(&disk, &key_and_k0(&initialised), &mut |_| {}).unwrap();
    assert_eq!(report.verdict, Verdict::Verified);
}

#[test]
fn an_entry_that_was_changed_is_not_handed_out() {
    let (image, _) = log(460, 300);
    let whole = index_of(&image);
    let disk = FaultyDisk::from_image(&whole);
    let query = Query { all: vec![vec![Key::Order(3)]], ..Query::default() };
    let (orders, _) = found(Arc::new(disk.clone()), &query);
    let changed = &orders[2];
    let segment = format!("segments/{:020}.seg", changed.segment);
    let mut bytes = disk.content(&segment).unwrap();
    let body = usize::try_from(changed.offset).unwrap();
    let length = usize::try_from(u32::from_le_bytes(bytes[body - 12..body - 8].try_into().unwrap())).unwrap();
    bytes[body + length - 1] ^= 1;
    let crc = crc32c::crc32c(&bytes[body..body + length]);
    bytes[body + length..body + length + 4].copy_from_slice(&crc.to_le_bytes());
    disk.tamper(&segment, bytes);
    let came: Vec<_> = Search::new(Arc::new(disk), TERMS, query).unwrap().collect();
    let Some(Err(ReadError::Broken { seq, file, .. })) = came.last() else { panic!("{:?}", came.last()) };
    assert_eq!((*seq, file), (changed.header.seq + 1, &segment), "the next entry's link does not fit");
    assert!(came.iter().flatten().all(|entry| entry.header.seq < changed.header.seq));
}

#[test]
fn a_folder_that_cannot_be_written_is_searched_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (image, _) = log(700, 200);
    for (name, content) in &image {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    // Not even root makes a folder where a file is.
    fs::write(folder.path().join("index"), b"").unwrap();
    let entries = all(&FaultyDisk::from_image(&image));
    let storage = |path: &Path| Arc::new(DiskStorage::new(path)) as Arc<dyn Storage>;
    let query = Query { all: vec![vec![Key::Order(4)]], ..Query::default() };
    let expected: Vec<_> = entries.iter().filter(|entry| is_asked_for(entry, &query)).cloned().collect();
    let (came, tally) = found(storage(folder.path()), &query);
    assert_eq!((came, tally.indexed, tally.scanned), (expected, 1, 3));
    assert!(build_all(&storage(folder.path()), &TERMS, Which::Missing, &mut |_| {}).is_err());
}

#[test]
fn an_index_takes_no_room_that_the_log_needs() {
    let (image, _) = log(700, 200);
    let disk = FaultyDisk::from_image(&image);
    disk.set_space(1 << 20, 100 << 20);
    let entries = all(&disk);
    check(&disk, &entries, &queries(&entries));
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let refused = build_all(&storage, &TERMS, Which::Missing, &mut |_| {}).unwrap_err();
    assert!(matches!(refused, IndexError::Write { first: 0, .. }), "{refused}");
    assert!(indexes(&disk.image()).is_empty());
    disk.set_space(50 << 20, 100 << 20);
    assert_eq!(build_all(&storage, &TERMS, Which::Missing, &mut |_| {}).unwrap().built.len(), 3);
}

#[test]
fn nodes_come_out_of_indexes_without_reading_what_they_cover() {
    let (image, _) = log(1_500, 431);
    let without = FaultyDisk::from_image(&image);
    let with = FaultyDisk::from_image(&index_of(&image));
    let mut plain = Nodes::read_storage(Arc::new(without)).unwrap();
    let mut indexed = Nodes::read_storage(Arc::new(with.clone())).unwrap();
    assert_eq!((indexed.size(), indexed.root(), indexed.first()), (plain.size(), plain.root(), 0));
    let size = plain.size();
    for seq in [0, 1, 255, 256, 430, 431, 432, 511, 512, 900, size - 1] {
        assert_eq!(
            proof::inclusion(&mut indexed, seq, size).unwrap(),
            proof::inclusion(&mut plain, seq, size).unwrap()
        );
        if seq > 0 {
            let consistent = proof::consistency(&mut plain, seq, size).unwrap();
            assert_eq!(proof::consistency(&mut indexed, seq, size).unwrap(), consistent);
        }
    }
    // What is not read cannot be missed: only a proof that needs it is.
    let damaged = &all(&with)[100];
    let bit = usize::try_from(damaged.offset * 8).unwrap() + 120 * 8;
    with.flip("segments/00000000000000000000.seg", bit);
    let mut indexed = Nodes::read_storage(Arc::new(with)).unwrap();
    assert_eq!(indexed.root(), plain.root());
    assert!(proof::inclusion(&mut indexed, 101, size).is_err());
    assert!(proof::inclusion(&mut indexed, 300, size).is_ok());
}

#[test]
fn a_log_that_grows_is_searched_up_to_its_end_and_gets_indexes_as_it_is_sealed() {
    let folder = tempfile::tempdir().unwrap();
    support::init_log(folder.path());
    let log = Log::open(folder.path(), options()).unwrap();
    let query = Query { all: vec![vec![Key::Kind(301)]], ..Query::default() };
    for number in 0..1_000 {
        append_durably(&log, draft(number));
        if number % 250 == 249 {
            let (came, _) = found(Arc::new(DiskStorage::new(folder.path())), &query);
            let expected = u64::from(number.is_multiple_of(97)) + number.div_ceil(97);
            assert_eq!(came.len() as u64, expected);
            log.rotate();
        }
    }
    log.stop().unwrap();
    assert_eq!(fs::read_dir(folder.path().join("index")).unwrap().count(), 3);
}
