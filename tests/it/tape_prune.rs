//! The beginning of a tape leaves: what stays is still what the audit log vouches for, is exported, and is gone on with by the server.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dbn::decode::{DbnDecoder, DecodeRecord as _};
use dbn::{MboMsg, WithTsOut};
use rustix::process::Signal;
use sealfeed::journal::tape::INSTRUMENTS;
use sealfeed_audit::follow::Follower;
use sealfeed_audit::reader::{Entry, entries};
use sealfeed_audit::{Draft, InitOptions, Log, Options, init};
use tempfile::TempDir;

use crate::harness::Pki;
use crate::process::{ServerProcess, configure, public_key, run, verify};
use crate::retention::Years;

const ORIGIN: &str = "localhost/tape";
const BRISK: &str = r#"
    origin = "localhost"
    checkpoint_ms = 20
    [tape]
    block_ms = 10
    keyframe_blocks = 3
    [tape.retention]
    keep = "9 years"
    [[source]]
    type = "synthetic"
    symbols = ["SEAL"]
    messages_per_second = 2000
"#;

/// Runs the server until its tape has this many keyframes, and stops it.
fn serve(config: &Path, tape: &Path, keyframes: usize) {
    let server = ServerProcess::start(config).unwrap();
    while entries(tape).map_or(0, |all| keyframes_of(&all.map_while(Result::ok).collect::<Vec<_>>()).len())
        < keyframes
    {
        std::thread::yield_now();
    }
    server.signal(Signal::TERM);
    let ended = server.wait();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
}

/// Where the keyframes begin.
fn keyframes_of(entries: &[Entry]) -> Vec<u64> {
    entries.iter().filter(|entry| entry.header.kind == INSTRUMENTS).map(|entry| entry.header.seq).collect()
}

/// Writes what a tape holds into another one in which the first third is ten years old, the second eight, and the rest new, each in
/// segments of its own that begin with a keyframe.
fn aged(from: &Path, to: &Path) {
    let entries: Vec<Entry> = entries(from).unwrap().map(Result::unwrap).collect();
    let keyframes = keyframes_of(&entries);
    let clock = Arc::new(Years(AtomicU64::new(10)));
    let made = init(to, &InitOptions { clock: Arc::clone(&clock) as _, ..InitOptions::new(ORIGIN) }).unwrap();
    let options = Options { clock: Arc::clone(&clock) as _, segment_bytes: 1 << 20, ..Options::new(ORIGIN) };
    let log = Log::open(to, options).unwrap();
    let mut written = 0;
    for entry in entries.into_iter().filter(|entry| entry.header.kind >= 1_024) {
        for (place, years) in [(1, 8), (2, 0)] {
            if entry.header.seq == keyframes[keyframes.len() * place / 3] {
                log.wait_durable(written).unwrap();
                log.rotate();
                clock.0.store(years, Ordering::Relaxed);
            }
        }
        let (kind, schema, payload) = (entry.header.kind, entry.header.schema, entry.payload);
        written = log.append(Draft { kind, schema, payload, ..Draft::default() }).unwrap();
    }
    log.wait_durable(written).unwrap();
    log.stop().unwrap();
    let escrow = to.with_extension("tape.escrow");
    std::fs::create_dir_all(&escrow).unwrap();
    std::fs::write(escrow.join("log.pub"), made.public_key.to_string()).unwrap();
}

fn export(tape: &Path, output: &Path) -> Vec<WithTsOut<MboMsg>> {
    let arguments = ["tape", "export", tape.to_str().unwrap(), "-o", output.to_str().unwrap()];
    let said = run(&arguments);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let file = std::fs::File::open(output).unwrap();
    let mut decoder = DbnDecoder::new(zstd::stream::read::Decoder::new(file).unwrap()).unwrap();
    let mut records = Vec::new();
    while let Some(record) = decoder.decode_record::<WithTsOut<MboMsg>>().unwrap() {
        records.push(record.clone());
    }
    records
}

#[test]
fn a_tape_whose_beginning_was_pruned_is_vouched_for_exported_and_gone_on_with() {
    let folder = TempDir::new().unwrap();
    let config = configure(folder.path(), &Pki::get().folder, BRISK);
    let (log, tape) = (folder.path().join("log"), folder.path().join("log.tape"));
    serve(&config, &tape, 9);
    // The same tape, years ago, and a server that goes on with it.
    let first = folder.path().join("first");
    std::fs::create_dir(&first).unwrap();
    for name in ["log", "log.escrow", "log.tape", "log.tape.escrow"] {
        std::fs::rename(folder.path().join(name), first.join(name)).unwrap();
    }
    aged(&first.join("log.tape"), &tape);
    serve(&config, &tape, 12);
    let whole = export(&tape, &folder.path().join("whole.dbn.zst"));
    let segments = Follower::segments(&tape).unwrap();

    let (log_key, tape_key) = (public_key(&log), public_key(&tape));
    let prune = |more: &[&str]| {
        let config = config.to_str().unwrap();
        let output = run(&[&["audit", "prune", "--tape", "--config", config, "--key"], more].concat());
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.success(), said)
    };
    let (done, said) = prune(&[&tape_key, "--dry-run"]);
    assert!(done && said.starts_with("1 segments may leave"), "{said}");
    assert_eq!(Follower::segments(&tape).unwrap(), segments);
    let (done, said) = prune(&[&log_key]);
    assert!(!done, "the audit log's key is not the tape's: {said}");
    assert_eq!(Follower::segments(&tape).unwrap(), segments);
    let audit_log = Follower::segments(&log).unwrap();
    let (done, said) = prune(&[&tape_key]);
    assert!(done && said.contains("1 segments left"), "{said}");
    assert_eq!(Follower::segments(&tape).unwrap()[0], segments[1]);
    assert_eq!(Follower::segments(&log).unwrap(), audit_log, "the audit log keeps what it has");

    let check = |what: &str| {
        let linked = verify(&log, &["--key", &log_key, "--tape", tape.to_str().unwrap()]);
        assert_eq!((linked.word(), linked.code), ("VERIFIED", 0), "{what}: {linked:?}");
        let own = verify(&tape, &["--key", &tape_key]);
        assert_eq!((own.word(), own.code), ("RECOVERED", 1), "{what}: {own:?}");
        assert_eq!(own.report["pruned"]["first"], segments[1], "{what}");
    };
    check("after it was pruned");
    let kept = export(&tape, &folder.path().join("kept.dbn.zst"));
    let published = |records: &[WithTsOut<MboMsg>]| -> Vec<WithTsOut<MboMsg>> {
        records.iter().filter(|record| !record.rec.flags.is_snapshot()).cloned().collect()
    };
    let (whole, kept) = (published(&whole), published(&kept));
    assert!(!kept.is_empty() && kept.len() < whole.len());
    assert!(whole.ends_with(&kept), "what stays is exported as it was");
    let info = run(&["tape", "info", "--json", tape.to_str().unwrap()]);
    assert!(info.status.success(), "{}", String::from_utf8_lossy(&info.stderr));

    serve(&config, &tape, 3);
    check("after another run of the server");
    let (done, said) = prune(&[&tape_key]);
    assert!(done && said.starts_with("0 segments left"), "{said}");
}
