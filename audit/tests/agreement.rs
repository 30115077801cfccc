//! Three verifiers, one verdict: the library, the program `sealfeed-verify`, and `verify.py`, which shares no code with them and was
//! written from `FORMAT.md` alone. They are given the same good and damaged logs, named ones with the verdict that must come and
//! as many random ones as `SEALFEED_AGREEMENT_CASES` says.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use sealfeed_audit::retention::{Policy, prune};
use sealfeed_audit::storage::{DiskStorage, Storage};
use sealfeed_audit::tool::Asked;
use sealfeed_audit::verify::{Anchors, Verdict, verify_planned};
use sealfeed_audit::{Initialised, Log, Options, Receipt, hex, init_storage, leaf_hash, reader};
use support::clock::StoppedClock;
use support::disk::{FaultyDisk, Image, Random};
use support::{append_durably, init_options, linked, options};

const NEVER_NS: u64 = u64::MAX / 2;
const EPOCH_NS: u64 = 1_000_000_000;
const FIRST: &str = "segments/00000000000000000000.seg";
const RANDOM_CASES: u64 = 150;
/// Longest that `verify.py` may be.
const LINES_MAX: usize = 200;

/// Reads cases, one JSON list of arguments a line, and answers each with exit code and first finding.
const DRIVER: &str = r#"
import contextlib, functools, io, json, sys
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
import sealed_log, verify
sealed_log.is_signed = functools.lru_cache(maxsize=None)(sealed_log.is_signed)
for line in sys.stdin:
    sys.argv, said, code = ["verify.py", *json.loads(line)], io.StringIO(), None
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try: verify.main()
        except SystemExit as end: code = end.code
        except BaseException as error: code = f"{type(error).__name__}: {error} at line {error.__traceback__.tb_next.tb_lineno}"
    print(json.dumps([code, said.getvalue()]))
"#;

/// A log and what was kept of it elsewhere.
struct Kept {
    initialised: Initialised,
    receipts: Vec<Receipt>,
    /// A complete set of checkpoints, as somebody else kept them.
    notes: Vec<String>,
}

/// The logs that the cases begin with.
struct Logs {
    /// Three segments, three epochs, two runs, stopped.
    closed: Image,
    /// As `closed` before the second run: one whose writer was cut off between two groups.
    running: Image,
    /// As `running`, with half a group behind the last.
    torn: Image,
    /// `torn` after a start, with more entries, stopped.
    recovered: Image,
    /// `closed` without its first segment, with a PRUNE.
    pruned: Image,
    kept: Kept,
    /// Another log with the same name and another key.
    other: Image,
    other_kept: Kept,
}

fn quiet(clock: &Arc<StoppedClock>) -> Options {
    Options {
        group_window_ns: 0,
        checkpoint_interval_ns: NEVER_NS,
        epoch_interval_ns: EPOCH_NS,
        heartbeat_interval_ns: NEVER_NS,
        checkpoint_entries: 1,
        clock: clock.clone(),
        ..options()
    }
}

/// One run of a writer: `groups` groups, a new segment and a new epoch every third.
fn run(disk: &FaultyDisk, clock: &Arc<StoppedClock>, groups: u8) -> (Log, Vec<Receipt>) {
    let log = Log::open_storage(Arc::new(disk.clone()), quiet(clock)).unwrap();
    let mut receipts = Vec::new();
    for number in 0..groups {
        let turns = number % 3 == 2;
        if turns {
            log.rotate();
            clock.now_ns.fetch_add(EPOCH_NS, Ordering::Relaxed);
        }
        let epoch = log.stats().epoch + u64::from(turns);
        receipts.push(append_durably(&log, linked(number.into(), 4, None, &[number; 50])));
        let size = receipts.last().unwrap().seq + 1 + u64::from(turns);
        while log.stats().checkpoint_size < size || log.stats().epoch < epoch {
            std::thread::yield_now();
        }
    }
    (log, receipts)
}

fn notes_of(image: &Image) -> Vec<String> {
    let text = String::from_utf8(image["checkpoints"].clone()).unwrap();
    let parts: Vec<_> = text.trim_end().split("\n\n").collect();
    parts.chunks(2).map(|note| format!("{}\n\n{}\n", note[0], note[1])).collect()
}

fn logs() -> Logs {
    let make = || {
        let clock = Arc::new(StoppedClock::default());
        let disk = FaultyDisk::default();
        let initial = sealfeed_audit::InitOptions { clock: clock.clone(), ..init_options() };
        let initialised = init_storage(&disk, &initial).unwrap();
        let (log, receipts) = run(&disk, &clock, 8);
        let running = disk.image();
        log.stop().unwrap();
        drop(log);
        (clock, disk, initialised, receipts, running)
    };
    let (clock, disk, initialised, receipts, running) = make();
    let (log, _) = run(&disk, &clock, 4);
    log.stop().unwrap();
    drop(log);
    let closed = disk.image();
    let mut torn = running.clone();
    let (open, end) = end_of_data(&torn);
    let later = disk.content(&open).unwrap();
    // Of the group that follows in the finished log, without its seal and the end of its entry.
    torn.get_mut(&open).unwrap()[end..end + 100].copy_from_slice(&later[end..end + 100]);
    let disk = FaultyDisk::from_image(&torn);
    let (log, _) = run(&disk, &clock, 2);
    log.stop().unwrap();
    drop(log);
    let recovered = disk.image();
    let disk = FaultyDisk::from_image(&closed);
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let anchors = Anchors { key: Some(initialised.public_key.clone()), ..Anchors::default() };
    prune_one(&storage, &clock, &anchors);
    let pruned = disk.image();
    let (_, other_disk, other_initialised, other_receipts, _) = make();
    let other = other_disk.image();
    let kept = Kept { initialised, receipts, notes: notes_of(&closed) };
    let notes = notes_of(&other);
    let other_kept = Kept { initialised: other_initialised, receipts: other_receipts, notes };
    Logs { closed, running, torn, recovered, pruned, kept, other, other_kept }
}

fn prune_one(storage: &Arc<dyn Storage>, clock: &Arc<StoppedClock>, anchors: &Anchors) {
    let policy = Policy { default_keep_ns: 2 * EPOCH_NS, classes: Vec::new(), require_stored: false };
    let pruned = prune(storage, quiet(clock), &policy, anchors, &mut |_| Ok(())).unwrap();
    assert!(!pruned.removed.is_empty() && pruned.declared.is_some(), "{pruned:?}");
}

/// Name of the last segment, and where its data ends.
fn end_of_data(image: &Image) -> (String, usize) {
    let name = image.keys().rfind(|name| name.ends_with(".seg")).unwrap().clone();
    let end = image[&name].iter().rposition(|byte| *byte != 0).unwrap() + 1;
    (name, end.next_multiple_of(8))
}

/// What is given along with the log.
#[derive(Clone, Default)]
struct Given {
    key: Option<String>,
    k0: Option<[u8; 32]>,
    notes: Vec<String>,
    receipts: Vec<Receipt>,
    expect: Option<u64>,
}

/// A log, what is given along with it, and the verdict that must come; `None` where the library's is right by definition.
struct Case {
    name: String,
    image: Image,
    given: Given,
    expected: Option<Verdict>,
}

/// The files of a case, and the arguments that name them.
fn lay_out(case: &Case, folder: &Path) -> (Asked, Vec<String>) {
    let log = folder.join("log");
    for (name, content) in &case.image {
        let path = log.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let keep = |name: &str, content: String| {
        let path = folder.join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let given = &case.given;
    let lines = given.receipts.iter().map(|receipt| {
        let (log, hash) = (hex(&receipt.log_id), hex(&receipt.hash));
        format!("{{\"log\":\"{log}\",\"seq\":{},\"hash\":\"{hash}\"}}\n", receipt.seq)
    });
    let receipts: String = lines.collect();
    let notes = given.notes.iter().enumerate();
    let asked = Asked {
        directory: log,
        key: given.key.clone(),
        anchors: notes.map(|(index, note)| keep(&format!("anchor{index}"), note.clone())).collect(),
        receipts: if receipts.is_empty() { Vec::new() } else { vec![keep("receipts", receipts)] },
        k0: given.k0.map(|k0| keep("k0.hex", hex(&k0))),
        expect_size: given.expect,
        ..Asked::default()
    };
    let mut arguments = vec![asked.directory.to_str().unwrap().to_owned()];
    let mut push = |name: &str, value: &str| arguments.extend([name.to_owned(), value.to_owned()]);
    asked.key.iter().for_each(|key| push("--key", key));
    asked.anchors.iter().for_each(|path| push("--anchor", path.to_str().unwrap()));
    asked.receipts.iter().for_each(|path| push("--receipt", path.to_str().unwrap()));
    asked.k0.iter().for_each(|path| push("--k0", path.to_str().unwrap()));
    asked.expect_size.iter().for_each(|size| push("--expect-size", &size.to_string()));
    (asked, arguments)
}

/// What a verifier said: exit code, and the entry of the finding that decided unless it is a range of entries.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    code: i64,
    first: Option<u64>,
}

fn by_library(asked: &Asked) -> Said {
    let (anchors, plan) = asked.read().unwrap();
    match verify_planned(&DiskStorage::new(&asked.directory), &anchors, &plan, &mut |_| {}) {
        Ok(report) => {
            let first = report.first_bad.filter(|bad| bad.until.is_none()).map(|bad| bad.seq);
            Said { code: report.verdict.exit_code().into(), first }
        }
        Err(error) => Said { code: error.exit_code().into(), first: None },
    }
}

fn by_program(arguments: &[String]) -> i64 {
    let program = Command::new(env!("CARGO_BIN_EXE_sealfeed-verify"));
    let status = { program }.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    status.code().unwrap().into()
}

/// `verify.py` over all cases in one process; `None` without Python, which CI has.
fn by_document(cases: &[Vec<String>]) -> Option<Vec<(Said, String)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new("python3");
    command.arg("-c").arg(DRIVER).arg(folder).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut python = match command.spawn() {
        Ok(python) => python,
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "python3 is missing: {error}");
            println!("left out: verify.py, for want of python3");
            return None;
        }
    };
    let mut stdin = python.stdin.take().unwrap();
    let lines: Vec<String> = cases.iter().map(|case| format!("{case:?}\n")).collect();
    let writer =
        std::thread::spawn(move || lines.iter().for_each(|line| stdin.write_all(line.as_bytes()).unwrap()));
    let output = python.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    Some(text.lines().map(answer).collect())
}

/// Takes an answer of the driver apart: `[code, "text"]`.
fn answer(line: &str) -> (Said, String) {
    let answer: serde_json::Value = serde_json::from_str(line).unwrap();
    let text = answer[1].as_str().unwrap();
    let code = answer[0].as_i64().unwrap_or(-1);
    let first = text.lines().next().and_then(|finding| {
        let (_, rest) = finding.split_once(": entry ")?;
        rest.split_once(':')?.0.parse().ok()
    });
    (Said { code, first }, format!("{}\n{text}", answer[0]))
}

/// Has all three verify all cases.
fn agree(cases: &[Case]) {
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    let laid_out: Vec<_> = cases
        .iter()
        .enumerate()
        .map(|(index, case)| lay_out(case, &folder.path().join(index.to_string())))
        .collect();
    let arguments: Vec<Vec<String>> = laid_out.iter().map(|(_, arguments)| arguments.clone()).collect();
    let documents = by_document(&arguments);
    for (index, (case, (asked, arguments))) in cases.iter().zip(&laid_out).enumerate() {
        let library = by_library(asked);
        let mut disagree = |what: String| wrong.push(format!("{}: library {library:?}, {what}", case.name));
        if let Some(expected) = case.expected
            && i64::from(expected.exit_code()) != library.code
        {
            disagree(format!("expected {expected}"));
        }
        let program = by_program(arguments);
        if program != library.code {
            disagree(format!("program {program}"));
        }
        if let Some((said, text)) = documents.as_ref().map(|all| &all[index]) {
            let same_place = said.first.is_none() || library.first.is_none() || said.first == library.first;
            if said.code != library.code || !same_place {
                disagree(format!("verify.py {said:?}\n{text}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// Builds cases over one log.
struct Table<'a> {
    cases: Vec<Case>,
    logs: &'a Logs,
}

impl Table<'_> {
    /// Key and `K_0`, as compliance has them.
    fn all(&self) -> Given {
        let initialised = &self.logs.kept.initialised;
        let key = Some(initialised.public_key.to_string());
        Given { key, k0: Some(initialised.k0), ..Given::default() }
    }

    fn key(&self) -> Given {
        Given { k0: None, ..self.all() }
    }

    fn case(&mut self, name: &str, image: &Image, given: Given, expected: Verdict) {
        self.cases.push(Case {
            name: name.to_owned(),
            image: image.clone(),
            given,
            expected: Some(expected),
        });
    }

    /// `closed`, changed, with key and `K_0`.
    fn closed(&mut self, name: &str, expected: Verdict, change: impl FnOnce(&mut Image)) {
        let mut image = self.logs.closed.clone();
        change(&mut image);
        self.case(name, &image, self.all(), expected);
    }
}

fn edit(image: &mut Image, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
    change(image.get_mut(name).unwrap_or_else(|| panic!("{name}")));
}

fn text_edit(image: &mut Image, name: &str, change: impl FnOnce(String) -> String) {
    let text = String::from_utf8(image[name].clone()).unwrap();
    image.insert(name.to_owned(), change(text).into_bytes());
}

fn segments_of(image: &Image) -> Vec<String> {
    image.keys().filter(|name| name.ends_with(".seg")).cloned().collect()
}

/// Entries of a log: sequence number, segment file, where the body starts, its length.
fn bodies(image: &Image) -> Vec<(u64, String, usize, usize)> {
    let entries = reader::Entries::new(Arc::new(FaultyDisk::from_image(image)), 0).unwrap();
    entries
        .map(|entry| {
            let entry = entry.unwrap();
            let name = format!("segments/{:020}.seg", entry.segment);
            let start = usize::try_from(entry.offset).unwrap();
            let length = u32::from_le_bytes(image[&name][start - 12..start - 8].try_into().unwrap());
            (entry.header.seq, name, start, usize::try_from(length).unwrap())
        })
        .collect()
}

fn mend_crc(bytes: &mut [u8], start: usize, length: usize) {
    let crc = crc32c::crc32c(&bytes[start..start + length]);
    bytes[start + length..start + length + 4].copy_from_slice(&crc.to_le_bytes());
}

/// Changes the last byte of an entry and mends its checksum.
fn forge(image: &mut Image, seq: u64) -> [u8; 32] {
    let (_, name, start, length) = bodies(image).into_iter().find(|place| place.0 == seq).unwrap();
    let mut hash = [0; 32];
    edit(image, &name, |bytes| {
        bytes[start + length - 1] ^= 1;
        mend_crc(bytes, start, length);
        hash = leaf_hash(&bytes[start..start + length]);
    });
    hash
}

fn good_logs(table: &mut Table<'_>) {
    use Verdict::{Recovered, Unanchored, Unclean, Verified};
    let (logs, all, key) = (table.logs, table.all(), table.key());
    for (name, image, anchored) in [
        ("closed", &logs.closed, Verified),
        ("running, its writer cut off between groups", &logs.running, Verified),
        ("torn", &logs.torn, Unclean),
        ("recovered", &logs.recovered, Recovered),
        ("pruned", &logs.pruned, Recovered),
    ] {
        table.case(&format!("{name}, key and K0"), image, all.clone(), anchored);
        table.case(&format!("{name}, key"), image, key.clone(), anchored);
        let alone = if anchored == Unclean { Unclean } else { Unanchored };
        table.case(&format!("{name}, nothing"), image, Given::default(), alone);
        let without_key_file: Image = image
            .iter()
            .filter(|(name, _)| !name.starts_with("keys/"))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        table.case(&format!("{name}, as handed out without keys"), &without_key_file, all.clone(), anchored);
    }
    let late = logs.kept.notes.last().unwrap().clone();
    table.case(
        "only a note kept elsewhere",
        &logs.closed,
        Given { notes: vec![late], ..Given::default() },
        Verified,
    );
    let receipts = logs.kept.receipts.clone();
    table.case("only receipts", &logs.closed, Given { receipts, ..Given::default() }, Verified);
    table.case("only a size", &logs.closed, Given { expect: Some(5), ..Given::default() }, Verified);
    let k0 = Some(logs.kept.initialised.k0);
    table.case("only K0", &logs.closed, Given { k0, ..Given::default() }, Verified);
    table.case("all notes", &logs.closed, Given { notes: logs.kept.notes.clone(), ..table.all() }, Verified);
    let early = Given { notes: vec![logs.kept.notes[0].clone()], ..Given::default() };
    table.case("pruned, and only a note of what left", &logs.pruned, early, Unanchored);
    table.closed("stray files", Verified, |image| {
        image.insert("segments/notes.txt".to_owned(), b"hello".to_vec());
        image.insert("index".to_owned(), vec![1; 10]);
        image.insert("segments/ahead.tmp".to_owned(), vec![0; 5_000]);
    });
    table.closed("a line of another key on a checkpoint", Verified, |image| {
        text_edit(image, "checkpoints", |text| {
            let at = text.find("\n\n\u{2014}").unwrap() + 2;
            let cosigned = format!("\u{2014} witness.example {}\n", "AAAA".repeat(30));
            format!("{}{cosigned}{}", &text[..at], &text[at..])
        });
    });
}

fn lengths(table: &mut Table<'_>) {
    use Verdict::{Corrupt, EpochGap, Tampered, Truncated, Unclean, Verified};
    let logs = table.logs;
    let size = bodies(&logs.closed).len() as u64;
    table.case("expected exactly", &logs.closed, Given { expect: Some(size), ..table.all() }, Verified);
    table.case("expected one more", &logs.closed, Given { expect: Some(size + 1), ..table.all() }, Truncated);
    let mut beyond = logs.kept.receipts[0];
    beyond.seq = size + 3;
    table.case("a receipt beyond", &logs.closed, Given { receipts: vec![beyond], ..table.all() }, Truncated);
    let mut false_one = logs.kept.receipts[2];
    false_one.hash[7] ^= 1;
    table.case(
        "a receipt of another entry",
        &logs.closed,
        Given { receipts: vec![false_one], ..table.all() },
        Tampered,
    );
    let late = logs.kept.notes.last().unwrap().clone();
    table.case(
        "running, and a later note",
        &logs.running,
        Given { notes: vec![late.clone()], ..table.all() },
        Truncated,
    );
    table.case("torn, and a later note", &logs.torn, Given { notes: vec![late], ..table.all() }, Tampered);
    let last_group_cut = |image: &mut Image| {
        let (name, end) = end_of_data(image);
        edit(image, &name, |bytes| bytes[end - 90..].fill(0));
        name
    };
    table.closed("last group torn, under a checkpoint", Tampered, |image| drop(last_group_cut(image)));
    table.closed("file cut off in the last group, under a checkpoint", Truncated, |image| {
        let (name, end) = end_of_data(image);
        edit(image, &name, |bytes| bytes.truncate(end - 90));
    });
    table.closed("last checkpoint taken away", Truncated, |image| {
        text_edit(image, "checkpoints", |text| {
            let (before, _) = text.trim_end().rsplit_once("\n\n").unwrap();
            format!("{}\n\n", before.rsplit_once("\n\n").unwrap().0)
        });
    });
    table.closed("last checkpoint torn", Truncated, |image| {
        edit(image, "checkpoints", |bytes| bytes.truncate(bytes.len() - 10));
    });
    let mut image = logs.running.clone();
    edit(&mut image, "checkpoints", |bytes| bytes.truncate(bytes.len() - 10));
    table.case("running, last checkpoint torn", &image, table.all(), Unclean);
    let mut image = logs.running.clone();
    edit(&mut image, "checkpoints", |bytes| {
        let end = bytes.len();
        bytes[end - 30..end - 20].fill(0);
    });
    table.case("running, last checkpoint with a hole", &image, table.all(), Unclean);
    table.closed("bytes behind the end of a log at rest", Corrupt, |image| {
        let (name, end) = end_of_data(image);
        edit(image, &name, |bytes| bytes[end..end + 40].fill(7));
    });
    let mut image = logs.running.clone();
    let (name, end) = end_of_data(&image);
    edit(&mut image, &name, |bytes| bytes[end + 132_000] = 1);
    table.case("running, a byte beyond the window", &image, table.all(), Corrupt);
    let mut image = logs.torn.clone();
    let (name, end) = end_of_data(&image);
    edit(&mut image, &name, |bytes| bytes[end - 1..end + 900].fill(9));
    table.case("torn, other bytes in the window", &image, table.all(), Unclean);
    // The end goes with its checkpoints: the key file's epoch and what was kept elsewhere tell.
    let shorter = |image: &mut Image| {
        let last = segments_of(image).pop().unwrap();
        let first: u64 = last[9..29].parse().unwrap();
        image.remove(&last);
        let before = segments_of(image).pop().unwrap();
        image.remove(&before.replace(".seg", ".seal"));
        let notes = logs
            .kept
            .notes
            .iter()
            .filter(|note| note.lines().nth(1).unwrap().parse::<u64>().unwrap() <= first);
        let text: String = notes.map(|note| format!("{note}\n")).collect();
        image.insert("checkpoints".to_owned(), text.into_bytes());
        image.insert("state".to_owned(), b"sealfeed/v1 state\nwriter open\n".to_vec());
    };
    table.closed("last segment cut off with its checkpoints, K0", EpochGap, shorter);
    let mut image = logs.closed.clone();
    shorter(&mut image);
    table.case("last segment cut off with its checkpoints, key", &image, table.key(), Truncated);
    image.remove("keys/epoch.key");
    table.case("the same without the key file: nothing can tell", &image, table.all(), Verified);
    let late = logs.kept.notes.last().unwrap().clone();
    table.case(
        "the same, and a note kept elsewhere",
        &image,
        Given { notes: vec![late], ..table.all() },
        Truncated,
    );
    table.closed("state says open", Verified, |image| {
        image.insert("state".to_owned(), b"sealfeed/v1 state\nwriter open\n".to_vec());
    });
    table.closed("state is gone", Verified, |image| drop(image.remove("state")));
    table.closed("state is of another length", Truncated, |image| {
        text_edit(image, "state", |text| text.replace("size ", "size 9"));
    });
    table.closed("state is none", Verified, |image| {
        drop(image.insert("state".to_owned(), b"what\n".to_vec()))
    });
}

fn entries_changed(table: &mut Table<'_>) {
    use Verdict::{EpochGap, Tampered, Verified};
    let logs = table.logs;
    let places = bodies(&logs.closed);
    let middle = places.len() / 2;
    for (index, (seq, name, start, length)) in places.iter().enumerate() {
        if index % 4 == 0 {
            table.closed(&format!("bit of entry {seq}"), Tampered, |image| {
                edit(image, name, |bytes| bytes[start + length / 2] ^= 4);
            });
        }
        if index % 4 == 1 {
            table.closed(&format!("entry {seq} forged, checksum mended"), Tampered, |image| {
                forge(image, *seq);
            });
        }
    }
    // A group is an entry and its seal here.
    let group = |image: &Image, seq: u64| {
        let (_, name, start, length) = bodies(image).into_iter().find(|place| place.0 == seq).unwrap();
        (name, start - 16..(start + length + 4).next_multiple_of(8) + 56)
    };
    let seq = places.iter().find(|place| place.1 == FIRST && place.0 >= 2).unwrap().0;
    table.closed("group deleted", Tampered, |image| {
        let (name, range) = group(image, seq);
        edit(image, &name, |bytes| drop(bytes.drain(range)));
    });
    table.closed("group doubled", Tampered, |image| {
        let (name, range) = group(image, seq);
        edit(image, &name, |bytes| {
            let again = bytes[range.clone()].to_vec();
            bytes.splice(range.end..range.end, again);
        });
    });
    table.closed("group zeroed with others behind", Tampered, |image| {
        let (name, range) = group(image, seq);
        edit(image, &name, |bytes| bytes[range].fill(0));
    });
    table.closed("seal of a group stripped", EpochGap, |image| {
        let (name, range) = group(image, seq);
        edit(image, &name, |bytes| {
            let body = range.end - 40;
            bytes[body..body + 32].fill(0);
            mend_crc(bytes, body, 32);
        });
    });
    table.closed("seal of a group changed", Tampered, |image| {
        let (name, range) = group(image, seq);
        edit(image, &name, |bytes| {
            let body = range.end - 40;
            bytes[body] ^= 1;
            mend_crc(bytes, body, 32);
        });
    });
    for (what, at, value) in [
        ("version", 0usize, 2u8),
        ("unknown flag", 1, 0x80),
        ("clock state", 6, 3),
        ("reserved byte", 7, 1),
        ("group end taken away", 1, 0),
        ("kind GENESIS", 2, 1),
        ("payload length", 92, 1),
    ] {
        let (_, name, start, length) = places[middle].clone();
        table.closed(&format!("entry with another {what}"), Tampered, |image| {
            edit(image, &name, |bytes| {
                bytes[start + at] = value;
                mend_crc(bytes, start, length);
            });
        });
    }
    for (what, length) in [("zero", 0u32), ("huge", u32::MAX), ("past the end", 60_000)] {
        let (_, name, start, _) = places[middle].clone();
        table.closed(&format!("frame of length {what}"), Tampered, |image| {
            edit(image, &name, |bytes| {
                bytes[start - 12..start - 8].copy_from_slice(&length.to_le_bytes());
                let crc = crc32c::crc32c(&bytes[start - 16..start - 8]);
                bytes[start - 8..start - 4].copy_from_slice(&crc.to_le_bytes());
            });
        });
    }
    let last = places.last().unwrap();
    table.closed("padding of a frame", Tampered, |image| {
        edit(image, &last.1, |bytes| {
            let end = last.2 + last.3 + 4;
            if end.is_multiple_of(8) { bytes[end - 1] ^= 1 } else { bytes[end] = 1 }
        });
    });
    let mut image = logs.running.clone();
    let seq = bodies(&image).last().unwrap().0;
    forge(&mut image, seq);
    image.insert("checkpoints".to_owned(), format!("{}\n", logs.kept.notes[0]).into_bytes());
    for name in segments_of(&image).into_iter().rev().skip(1).map(|name| name.replace(".seg", ".seal")) {
        assert!(image.contains_key(&name));
    }
    table.case("last entry forged and later checkpoints taken away, K0", &image, table.all(), Tampered);
    let wrong_k0 = Given { k0: Some([9; 32]), ..table.all() };
    table.case("wrong K0", &logs.closed, wrong_k0, Tampered);
    let other_key =
        Given { key: Some(logs.other_kept.initialised.public_key.to_string()), ..Given::default() };
    table.case("another log's key", &logs.closed, other_key, Tampered);
    table.case("the other log", &logs.other, Given { expect: Some(1), ..Given::default() }, Verified);
}

fn files_changed(table: &mut Table<'_>) {
    use Verdict::{Fork, Tampered, Truncated};
    let logs = table.logs;
    let names = segments_of(&logs.closed);
    let seal = |name: &str| name.replace(".seg", ".seal");
    for (index, name) in names.iter().enumerate() {
        let last = index + 1 == names.len();
        // Without its last segment the log before it is sealed, and shorter than its checkpoints.
        let verdict = if last { Truncated } else { Tampered };
        table.closed(&format!("segment {index} removed"), verdict, |image| {
            image.remove(name);
            image.remove(&seal(name));
        });
        table.closed(&format!("header of segment {index}"), Tampered, |image| {
            edit(image, name, |bytes| bytes[300 + index] ^= 2);
        });
        table.closed(&format!("signature of segment {index}"), Tampered, |image| {
            edit(image, name, |bytes| bytes[4_090] ^= 2);
        });
        if !last {
            table.closed(&format!("seal {index} removed"), Tampered, |image| drop(image.remove(&seal(name))));
            table.closed(&format!("seal {index} changed"), Tampered, |image| {
                text_edit(image, &seal(name), |text| text.replace("used ", "used 1"));
            });
            table.closed(&format!("segment {index} longer"), Tampered, |image| {
                edit(image, name, |bytes| bytes.extend([0; 8]));
            });
            table.closed(&format!("segment {index} shorter"), Tampered, |image| {
                edit(image, name, |bytes| bytes.truncate(bytes.len() - 8));
            });
        }
        let (own, foreign) = (&logs.closed[name], logs.other.get(name));
        if let Some(foreign) = foreign.filter(|foreign| *foreign != own) {
            table.closed(&format!("segment {index} of the other log"), Tampered, |image| {
                image.insert(name.clone(), foreign.clone());
            });
        }
    }
    table.closed("two segments swapped", Tampered, |image| {
        let (first, second) = (image[&names[0]].clone(), image[&names[1]].clone());
        image.insert(names[0].clone(), second);
        image.insert(names[1].clone(), first);
    });
    table.closed("two seals swapped", Tampered, |image| {
        let (first, second) = (image[&seal(&names[0])].clone(), image[&seal(&names[1])].clone());
        image.insert(seal(&names[0]), second);
        image.insert(seal(&names[1]), first);
    });
    table.closed("checkpoints removed", Tampered, |image| drop(image.remove("checkpoints")));
    table.closed("checkpoints of the other log", Tampered, |image| {
        image.insert("checkpoints".to_owned(), logs.other["checkpoints"].clone());
    });
    let note_of = |text: &str, index: usize| {
        let parts: Vec<_> = text.trim_end().split("\n\n").collect();
        format!("{}\n\n{}\n\n", parts[2 * index], parts[2 * index + 1])
    };
    table.closed("two checkpoints swapped", Tampered, |image| {
        text_edit(image, "checkpoints", |text| {
            let (first, second) = (note_of(&text, 2), note_of(&text, 3));
            text.replacen(&format!("{first}{second}"), &format!("{second}{first}"), 1)
        });
    });
    table.closed("a checkpoint changed", Tampered, |image| {
        text_edit(image, "checkpoints", |text| {
            let note = note_of(&text, 3);
            text.replacen(&note, &note.replacen("log.example/audit\n", "log.example/audit\n1", 1), 1)
        });
    });
    table.closed("bytes between checkpoints", Tampered, |image| {
        text_edit(image, "checkpoints", |text| {
            let note = note_of(&text, 3);
            text.replacen(&note, &format!("xyz\n{note}"), 1)
        });
    });
    table.closed("a checkpoint taken out at the close of a segment", Tampered, |image| {
        text_edit(image, "checkpoints", |text| {
            let end: u64 = names[1][9..29].parse().unwrap();
            let note = logs.kept.notes.iter().find(|note| note.contains(&format!("\n{end}\n"))).unwrap();
            text.replacen(&format!("{note}\n"), "", 1)
        });
    });
    let mut image = logs.recovered.clone();
    let copy = image.keys().find(|name| name.starts_with("quarantine/")).unwrap().clone();
    edit(&mut image, &copy, |bytes| bytes[0] ^= 1);
    table.case("copy in the quarantine changed", &image, table.all(), Tampered);
    image.remove(&copy);
    table.case("copy in the quarantine removed", &image, table.all(), Tampered);
    let mut image = logs.recovered.clone();
    let sealed = copy.replace("quarantine/segment-", "segments/").replace(".torn", ".seg");
    edit(&mut image, &sealed, |bytes| *bytes.last_mut().unwrap() = 1);
    table.case("a byte behind the torn ones", &image, table.all(), Tampered);
    let mut image = logs.recovered.clone();
    let end = image[&sealed].iter().rposition(|byte| *byte != 0).unwrap();
    edit(&mut image, &sealed, |bytes| bytes[end] ^= 1);
    table.case("a torn byte changed", &image, table.all(), Tampered);
    let mut image = logs.pruned.clone();
    let first = segments_of(&image).remove(0);
    image.remove(&first);
    image.remove(&seal(&first));
    table.case("more gone than was declared pruned", &image, table.all(), Tampered);
    let mut image = logs.closed.clone();
    image.remove(&names[0]);
    image.remove(&seal(&names[0]));
    table.case("a beginning gone without a word", &image, table.key(), Tampered);
    // The same history up to the crash, and another one after it: both signed.
    let size = |note: &String| note.lines().nth(1).unwrap().parse::<u64>().unwrap();
    let crashed = notes_of(&logs.running).last().map(size).unwrap();
    let grown = notes_of(&logs.recovered).last().map(size).unwrap();
    let elsewhere: Vec<_> =
        logs.kept.notes.iter().filter(|note| (crashed + 1..=grown).contains(&size(note))).cloned().collect();
    assert!(!elsewhere.is_empty(), "the fork lies within the log");
    table.case(
        "another history after the crash",
        &logs.recovered,
        Given { notes: elsewhere, ..table.all() },
        Fork,
    );
    let twins: Vec<String> = elsewhere_and(&logs.recovered, &logs.kept.notes);
    table.case(
        "two notes of one size, both beyond the log",
        &logs.running,
        Given { notes: twins, ..table.all() },
        Fork,
    );
    let mut unreached = logs.closed.clone();
    let last = segments_of(&unreached).pop().unwrap();
    unreached.remove(&last);
    let late = notes_of(&logs.recovered).pop().unwrap();
    let both = vec![late, logs.kept.notes.last().unwrap().clone()];
    table.case(
        "notes of two histories, and a shorter log",
        &unreached,
        Given { notes: both, ..table.all() },
        Truncated,
    );
}

/// The last two notes that are of one size and of two histories.
fn elsewhere_and(image: &Image, others: &[String]) -> Vec<String> {
    let size = |note: &String| note.lines().nth(1).unwrap().to_owned();
    let own = notes_of(image);
    let pairs = own.iter().rev().flat_map(|note| others.iter().map(move |other| (note, other)));
    let (note, other) = { pairs }.find(|(note, other)| size(note) == size(other) && note != other).unwrap();
    vec![note.clone(), other.clone()]
}

#[test]
fn three_verifiers_come_to_the_same_verdict_on_every_named_log() {
    let logs = logs();
    let mut table = Table { cases: Vec::new(), logs: &logs };
    good_logs(&mut table);
    lengths(&mut table);
    entries_changed(&mut table);
    files_changed(&mut table);
    let count = table.cases.len();
    assert!(count >= 80, "{count} cases");
    let mut by_verdict: BTreeMap<String, usize> = BTreeMap::new();
    for case in &table.cases {
        *by_verdict
            .entry(case.expected.map_or_else(String::new, |verdict| verdict.to_string()))
            .or_default() += 1;
    }
    assert_eq!(by_verdict.len(), 9, "every verdict occurs: {by_verdict:?}");
    println!("{count} cases: {by_verdict:?}");
    agree(&table.cases);
}

#[test]
fn three_verifiers_come_to_the_same_verdict_on_logs_damaged_at_random() {
    let count = std::env::var("SEALFEED_AGREEMENT_CASES").map_or(RANDOM_CASES, |text| text.parse().unwrap());
    let seed = std::env::var("SEALFEED_SEED").map_or(20_261_124, |text| text.parse().unwrap());
    println!("seed {seed}, {count} cases");
    let (logs, mut random) = (logs(), Random(seed));
    let images = [&logs.closed, &logs.running, &logs.torn, &logs.recovered, &logs.pruned];
    let table = Table { cases: Vec::new(), logs: &logs };
    let given = [table.all(), table.key(), Given::default()];
    let mut cases = Vec::new();
    for number in 0..count {
        let which = number as usize % images.len();
        let mut image = images[which].clone();
        let mut name = format!("random {number} of log {which}:");
        for _ in 0..=random.below(2) {
            name += &format!(" {}", damage(&mut image, &mut random));
        }
        let given = given[usize::try_from(random.below(3)).unwrap()].clone();
        cases.push(Case { name, image, given, expected: None });
    }
    agree(&cases);
}

/// Damages one file somewhere and says how. Places with data are hit far more often than zeros ahead.
fn damage(image: &mut Image, random: &mut Random) -> String {
    let names: Vec<String> =
        image.keys().filter(|name| !name.ends_with("signing.key") && *name != "lock").cloned().collect();
    let name = names[usize::try_from(random.below(names.len() as u64)).unwrap()].clone();
    let bytes = image.get_mut(&name).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let bound = if random.chance(8) { bytes.len() } else { used }.max(1) as u64;
    let at = usize::try_from(random.below(bound)).unwrap().min(bytes.len());
    let length = usize::try_from(1 + random.below(40)).unwrap().min(bytes.len() - at);
    let how = match random.below(6) {
        0 => "cut off",
        1 => "removed",
        2 => "zeroed",
        3 => "inserted into",
        4 => "deleted from",
        _ => "flipped",
    };
    match how {
        "cut off" => bytes.truncate(at),
        "removed" => drop(image.remove(&name)),
        "zeroed" => bytes[at..at + length].fill(0),
        "inserted into" => drop(bytes.splice(at..at, vec![0x5a; length])),
        "deleted from" => drop(bytes.drain(at..at + length)),
        _ => bytes[at..at + length.min(1)].iter_mut().for_each(|byte| *byte ^= 1 << (length % 8)),
    }
    format!("{name} {how} at {at}, {length}")
}

#[test]
fn the_verifier_in_python_is_short_enough_to_be_read_in_one_go() {
    let text = |name: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    let lines = text("verify.py").lines().count();
    assert!(lines < LINES_MAX, "verify.py has {lines} lines");
    let text = text("verify.py") + &text("sealed_log.py");
    let foreign = text.lines().filter(|line| line.starts_with("import ") || line.starts_with("from "));
    let standard =
        ["argparse", "base64", "fcntl", "hashlib", "hmac", "json", "re", "sys", "pathlib", "sealed_log"];
    for line in foreign {
        let mut names = line
            .split([' ', ','])
            .skip(1)
            .take_while(|word| *word != "import")
            .filter(|word| !word.is_empty());
        assert!(names.all(|name| standard.contains(&name)), "{line}: more than the standard library");
    }
}
