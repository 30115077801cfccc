//! Every target over its corpus and over what lies near it: in each run of the tests, without a fuzzer.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use sealfeed_fuzz::{TARGETS, Target};

/// Largest input that is committed; a found one is minimised first.
const BYTES_MAX: usize = 8 * 1024;

/// Inputs near one of the corpus that are tried: the more files a target has, the more.
const NEAR: u64 = 60;

/// A fixed generator (`SplitMix64`: Steele, Lea, Flood 2014), so that a failure comes again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % bound.max(1) as u64).unwrap()
    }
}

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut files: Vec<(PathBuf, Vec<u8>)> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

/// The same with a few bytes changed, put in, taken out or cut off.
fn near(bytes: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    for _ in 0..=dice.below(4) {
        let at = dice.below(changed.len() + 1);
        let byte = u8::try_from(dice.below(256)).unwrap();
        match dice.below(5) {
            0 => changed.truncate(at),
            1 => changed.insert(at, byte),
            2 if at < changed.len() => drop(changed.remove(at)),
            _ if at < changed.len() => changed[at] = byte,
            _ => changed.push(byte),
        }
    }
    changed
}

/// Runs one target over its corpus and what lies near it; the first input that it does not bear, as text.
fn first_fault(target: Target) -> Option<String> {
    let mut dice = Dice(7);
    for (path, bytes) in corpus(target.name) {
        let inputs = std::iter::once(bytes.clone()).chain((0..NEAR).map(|_| near(&bytes, &mut dice)));
        for input in inputs {
            let outcome = std::panic::catch_unwind(|| (target.run)(&input));
            if outcome.is_err() {
                return Some(format!("{}, near {}: {}", target.name, path.display(), input.escape_ascii()));
            }
        }
    }
    None
}

#[test]
fn every_target_bears_its_corpus_and_what_lies_near_it() {
    let halves = std::thread::scope(|scope| {
        let half = |which| {
            let targets = TARGETS.iter().copied().skip(which).step_by(2);
            scope.spawn(move || targets.filter_map(first_fault).collect::<Vec<_>>())
        };
        [half(0), half(1)].map(|half| half.join().unwrap())
    });
    let faults = halves.concat();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn a_target_that_does_not_bear_an_input_is_found() {
    let bad = Target { name: "audit_entry", run: |bytes| assert!(bytes.len() < 97, "too long") };
    assert!(first_fault(bad).is_some_and(|fault| fault.starts_with("audit_entry, near ")));
}

#[test]
fn the_corpus_is_small_and_every_folder_of_it_has_a_target() {
    for target in TARGETS {
        let files = corpus(target.name);
        assert!(!files.is_empty(), "{} has no corpus", target.name);
        for (path, bytes) in files {
            assert!(bytes.len() <= BYTES_MAX, "{} has {} bytes", path.display(), bytes.len());
        }
    }
    for folder in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")).unwrap() {
        let name = folder.unwrap().file_name().into_string().unwrap();
        assert!(sealfeed_fuzz::by_name(&name).is_some(), "corpus/{name} is of no target");
    }
}
