//! Writes the corpus anew: known good inputs of every target, made here or taken from the golden vectors.
//!
//! `cargo run -p sealfeed-fuzz --example make_corpus`. What a run of the fuzzer found is added by hand, minimised, as `found-*`, and
//! stays; certificates have new keys each time.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a tool of the repository")]

mod binary;
mod text;

use std::path::{Path, PathBuf};

use sealfeed_fuzz::TARGETS;

/// Largest input that is committed.
const BYTES_MAX: usize = 8 * 1024;

/// Writes the inputs of one target, by name.
pub(crate) fn write(target: &str, seeds: &[(&str, Vec<u8>)]) {
    let folder = corpus().join(target);
    std::fs::create_dir_all(&folder).unwrap();
    for (name, bytes) in seeds {
        assert!(bytes.len() <= BYTES_MAX, "{target}/{name} has {} bytes", bytes.len());
        std::fs::write(folder.join(name), bytes).unwrap();
    }
    println!("{target}: {}", seeds.len());
}

/// A file of the repository.
pub(crate) fn file(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)).unwrap()
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn main() {
    text::write_all();
    binary::write_all();
    for target in TARGETS {
        assert!(corpus().join(target.name).is_dir(), "{} has no corpus", target.name);
    }
}
