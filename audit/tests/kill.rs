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
use support::disk::Random;
use support::{draft, init_log, key_and_k0, options, verify_with};

/// Kills in one run; `SEALFEED_KILLS` sets another number.
const KILLS: u64 = 40;
/// Kills of one log's writer: an old log has many segments, and each start looks at them all.
const KILLS_PER_LOG: usize = 100;
const VERIFY_EVERY: u64 = 10;
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
    let kills = number("SEALFEED_KILLS").unwrap_or(KILLS);
    let seed = number("SEALFEED_KILL_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("SEALFEED_KILL_SEED={seed} SEALFEED_KILLS={kills}");
    let mut random = Random(seed);
    let mut told = Told::default();
    for left in (1..=kills).rev().step_by(KILLS_PER_LOG) {
        live_through_kills(left.min(KILLS_PER_LOG as u64), &mut random, &mut told);
    }
    println!(
        "{kills} kills, {} acknowledged entries, none missing, {} recoveries",
        told.acked, told.recoveries
    );
    assert!(told.acked > 100, "{} receipts", told.acked);
}

/// What all logs together went through.
#[derive(Default)]
struct Told {
    acked: usize,
    recoveries: usize,
}

/// One log, its writer killed so many times. It is verified in full now and then, and at the end with every receipt; in between
/// each start says by itself whether it found what the one before left.
fn live_through_kills(kills: u64, random: &mut Random, told: &mut Told) {
    let folder = tempfile::tempdir().unwrap();
    let initialised = init_log(folder.path());
    let mut acked = Vec::new();
    for kill in 1..=kills {
        // At the start, in the midst of recovery, or some hundred entries into the run.
        let lines_before = if random.chance(4) { 0 } else { random.below(150) };
        acked.extend(kill_once(folder.path(), usize::try_from(lines_before).unwrap(), initialised.log_id));
        if kill % VERIFY_EVERY == 0 {
            let anchors = Anchors { receipts: acked.clone(), ..key_and_k0(&initialised) };
            let report = verify_with(folder.path(), &anchors);
            let expected =
                matches!(report.verdict, Verdict::Verified | Verdict::Recovered | Verdict::Unclean);
            assert!(expected, "kill {kill}: {:#?}", report.findings);
        }
    }
    Log::open(folder.path(), options()).unwrap().stop().unwrap();
    let report = verify_with(folder.path(), &Anchors { receipts: acked.clone(), ..key_and_k0(&initialised) });
    assert!(matches!(report.verdict, Verdict::Verified | Verdict::Recovered), "{:#?}", report.findings);
    told.acked += acked.len();
    told.recoveries += report.recoveries.len();
}

/// A number from the environment, for longer runs and for repeated ones.
fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}
