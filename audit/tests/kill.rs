//! `kill -9` of a real process that appends, over and over: nothing it was told is durable may be missing afterwards.
//!
//! The program is its own victim: started with a folder as argument it appends until it is killed, printing each receipt.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use sealfeed_audit::verify::{Anchors, Verdict};
use sealfeed_audit::{Log, Options, Receipt, hash_from_hex, hex};
use support::{draft, init_log, key_and_k0, options, verify_with};

/// Kills in one run; `SEALFEED_KILLS` sets another number.
const KILLS: u32 = 12;
const VICTIM: &str = "victim";

fn victim(folder: &Path) {
    let quick = Options { epoch_interval_ns: 20_000_000, checkpoint_interval_ns: 5_000_000, ..options() };
    let log = Log::open(folder, quick).unwrap();
    let mut out = std::io::stdout();
    for round in 0u64.. {
        let seqs: Vec<_> = (0..8u8).map(|index| log.append(draft(&[index; 900])).unwrap()).collect();
        for seq in seqs {
            let receipt = log.wait_durable(seq).unwrap();
            // A single write, so that a line is there whole or not at all.
            out.write_all(format!("{} {}\n", receipt.seq, hex(&receipt.hash)).as_bytes()).unwrap();
        }
        if round % 50 == 49 {
            log.rotate();
        }
    }
}

fn kill_once(folder: &Path, lines_before: usize, log_id: [u8; 32]) -> Vec<Receipt> {
    let program = std::env::current_exe().unwrap();
    let mut child = Command::new(program).arg(VICTIM).arg(folder).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut told = Vec::new();
    for line in lines.by_ref().take(lines_before) {
        told.push(line.unwrap());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    told.extend(lines.map_while(Result::ok));
    let receipt = |line: &String| {
        let (seq, hash) = line.split_once(' ')?;
        Some(Receipt { log_id, seq: seq.parse().ok()?, hash: hash_from_hex(hash)? })
    };
    told.iter().filter_map(receipt).collect()
}

fn main() {
    let arguments: Vec<_> = std::env::args().collect();
    if let [_, word, folder] = &arguments[..]
        && word == VICTIM
    {
        return victim(Path::new(folder));
    }
    let kills = std::env::var("SEALFEED_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS);
    let folder = tempfile::tempdir().unwrap();
    let initialised = init_log(folder.path());
    let mut acked = Vec::new();
    for kill in 0..kills {
        // Later and later, up to some hundred entries into the run.
        let lines_before = usize::try_from(kill * 37 % 300).unwrap();
        acked.extend(kill_once(folder.path(), lines_before, initialised.log_id));
        let anchors = Anchors { receipts: acked.clone(), ..key_and_k0(&initialised) };
        let report = verify_with(folder.path(), &anchors);
        let expected = matches!(report.verdict, Verdict::Verified | Verdict::Recovered | Verdict::Unclean);
        assert!(expected, "kill {kill}: {:#?}", report.findings);
    }
    Log::open(folder.path(), options()).unwrap().stop().unwrap();
    let report = verify_with(folder.path(), &Anchors { receipts: acked.clone(), ..key_and_k0(&initialised) });
    assert!(matches!(report.verdict, Verdict::Verified | Verdict::Recovered), "{:#?}", report.findings);
    assert!(acked.len() > 100, "{} receipts", acked.len());
    println!("{kills} kills, {} acknowledged entries, none missing: {}", acked.len(), report.verdict);
}
