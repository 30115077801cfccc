//! libFuzzer around one target, which `SEALFEED_FUZZ_TARGET` names: one binary for all of them, so that one is linked.
//!
//! `fuzz/run.sh` builds and calls it. Without the coverage that its compiler flags add it fuzzes blindly.

#![no_main]

use std::sync::OnceLock;

use sealfeed_fuzz::{TARGETS, Target, by_name};

static TARGET: OnceLock<Target> = OnceLock::new();

fn named() -> Target {
    let name = std::env::var("SEALFEED_FUZZ_TARGET").unwrap_or_default();
    by_name(&name).unwrap_or_else(|| {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        panic!("SEALFEED_FUZZ_TARGET is {name:?}, and may be one of: {}", names.join(" "))
    })
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (TARGET.get_or_init(named).run)(bytes));
