//! Three verifiers, one verdict: the library, the program `sealfeed-verify`, and `verify.py`, which shares no code with them and was
//! written from `FORMAT.md` alone. They are given the same good and damaged logs, named ones with the verdict that must come and
//! as many random ones as `SEALFEED_AGREEMENT_CASES` says.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]
#![allow(clippy::too_many_lines, reason = "tables")]

mod changes;
mod ends;
mod logs;
#[path = "../support/mod.rs"]
mod support;
mod table;
mod verifiers;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use changes::{entries_changed, files_changed};
use ends::{good_logs, lengths};
use logs::logs;
use support::disk::Random;
use table::{Table, damage};
use verifiers::{Case, Given, agree};

const RANDOM_CASES: u64 = 150;
/// Longest that `verify.py` may be.
const LINES_MAX: usize = 200;

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
        let which = usize::try_from(number).unwrap() % images.len();
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

#[test]
fn the_verifier_in_python_is_short_enough_to_be_read_in_one_go() {
    let text = |name: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    let lines = text("verify.py").lines().count();
    assert!(lines < LINES_MAX, "verify.py has {lines} lines");
    let names = ["verify.py", "sealed_log.py", "sealed_basics.py", "verify_bundle.py"];
    let text: String = names.map(text).concat();
    let foreign = text.lines().filter(|line| line.starts_with("import ") || line.starts_with("from "));
    let standard = [
        "argparse",
        "base64",
        "fcntl",
        "hashlib",
        "hmac",
        "json",
        "re",
        "sys",
        "pathlib",
        "sealed_log",
        "sealed_basics",
    ];
    for line in foreign {
        let mut names = line
            .split([' ', ','])
            .skip(1)
            .take_while(|word| *word != "import")
            .filter(|word| !word.is_empty());
        assert!(names.all(|name| standard.contains(&name)), "{line}: more than the standard library");
    }
}
