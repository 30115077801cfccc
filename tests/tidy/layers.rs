//! Imports point down: which module of the server may name which, and which names belong to one module alone.

use crate::paths::{NamedPath, paths};
use crate::token::{self, Kind};

/// Every module of the server with its height: it may name itself and what is strictly lower. The tens are the
/// layer, as ARCHITECTURE.md counts them; equal heights never name each other.
const HEIGHTS: &[(&str, u8)] = &[
    ("types", 0),
    ("config", 10),
    ("clock", 11),
    ("shutdown", 12),
    ("telemetry", 13),
    ("outbound", 13),
    ("journal", 14),
    ("metrics", 15),
    ("alerts", 16),
    ("identity", 20),
    ("gate", 20),
    ("venue", 20),
    ("feed", 20),
    ("source", 20),
    ("execute", 25),
    ("pipeline", 30),
    ("session", 40),
    ("ops", 40),
    ("cluster", 40),
    ("server", 50),
    ("cli", 60),
    ("main", 61),
];

/// Names that one module alone may use: the name of a crate, a type or a trait; its owner; why.
const OWNED: &[(&str, &str, &str)] = &[
    ("x509_parser", "identity", "only `identity` reads certificates"),
    ("webpki", "identity", "only `identity` checks certificates"),
    ("WebPkiClientVerifier", "identity", "only `identity` checks certificates"),
    ("ClientCertVerifier", "identity", "only `identity` checks certificates"),
    ("ClientCertVerified", "identity", "only `identity` checks certificates"),
    ("sealfeed_client", "cli", "the server does not know its clients"),
];

/// What of the log's crate only `journal` may name. The rest of it (verify, read, receipts) is for all.
const LOG_WRITER: &[&str] = &["Log", "Draft"];

/// What a deterministic venue has no business with: asking, waiting, storing, sending, spawning.
const IMPURE_STD: &[&str] = &["time", "fs", "net", "env", "io", "process", "thread"];

/// Crates of this repository, as Rust names them.
const OURS: &[&str] = &["sealfeed", "sealfeed_audit", "sealfeed_wire", "sealfeed_client"];

/// Which of ours the code in a folder may name, itself included.
const CRATES: &[(&str, &[&str])] = &[
    ("audit/", &["sealfeed_audit"]),
    ("wire/", &["sealfeed_wire"]),
    ("clients/rust/", &["sealfeed_client", "sealfeed_wire"]),
];

/// Upward and sideways paths in a file of `src/`, and modules that have no place yet.
pub(crate) fn upward_paths(file: &str, source: &str) -> Vec<String> {
    let Some(place) = place(file) else { return Vec::new() };
    let own = place.first().map(String::as_str);
    // `lib.rs` only lists the modules.
    let Some(own) = own else { return Vec::new() };
    let Some(own_height) = height(own) else {
        return vec![format!("{file}:1: module `{own}` has no layer; give it one in tests/tidy")];
    };
    let mut findings = Vec::new();
    for path in paths(source) {
        let verdict = match named_module(&place, &path) {
            Named::Nothing => continue,
            Named::Root => "names the whole crate: name a module".to_owned(),
            Named::Module(named) if named == own => continue,
            Named::Module(named) => match height(&named) {
                Some(height) if height < own_height => continue,
                Some(_) => format!("`{own}` may not name `{named}`: imports point down"),
                None => format!("`{named}` is no module that has a layer"),
            },
        };
        findings.push(format!("{file}:{}: {verdict}", path.line));
    }
    findings
}

/// Names in a file of `src/` that belong to another module.
pub(crate) fn foreign_names(file: &str, source: &str) -> Vec<String> {
    let Some(place) = place(file) else { return Vec::new() };
    let own = place.first().map_or("", String::as_str);
    let mut findings = Vec::new();
    for NamedPath { segments, line, is_import, .. } in paths(source) {
        for (name, owner, why) in OWNED {
            if own != *owner && segments.iter().any(|segment| segment == name) {
                findings.push(format!("{file}:{line}: `{name}`: {why}"));
            }
        }
        let writes = segments.iter().any(|segment| segment == "*" || LOG_WRITER.contains(&segment.as_str()));
        if own != "journal"
            && is_of("sealfeed_audit", &segments, is_import)
            && (writes || segments.len() == 1)
        {
            findings.push(format!("{file}:{line}: only `journal` calls the log writer"));
        }
    }
    findings
}

/// What must not stand in the venue: clocks, I/O, threads, floating point.
pub(crate) fn impure_venue(file: &str, source: &str) -> Vec<String> {
    if place(file).is_none_or(|place| place.first().is_none_or(|module| module != "venue")) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for NamedPath { segments, line, is_import, .. } in paths(source) {
        let second = segments.get(1).map(String::as_str);
        let is_impure = is_of("std", &segments, is_import)
            && second.is_none_or(|second| second == "*" || IMPURE_STD.contains(&second));
        let is_float = segments.iter().any(|segment| segment == "f32" || segment == "f64");
        if is_impure || is_float || segments.iter().any(|segment| segment == "tokio") {
            let path = segments.join("::");
            findings.push(format!("{file}:{line}: `{path}`: the venue has no clock, no I/O, no floats"));
        }
    }
    for token in token::code(source) {
        let Kind::Number(number) = &token.kind else { continue };
        let is_hex = number.starts_with("0x");
        if number.contains('.') || !is_hex && (number.ends_with("f32") || number.ends_with("f64")) {
            findings.push(format!("{file}:{}: `{number}`: the venue has no floats", token.line));
        }
    }
    findings
}

/// Crates of ours that a crate of ours must not know.
pub(crate) fn foreign_crates(file: &str, source: &str) -> Vec<String> {
    let Some((folder, allowed)) = CRATES.iter().find(|(folder, _)| file.starts_with(folder)) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for NamedPath { segments, line, .. } in paths(source) {
        for segment in &segments {
            if OURS.contains(&segment.as_str()) && !allowed.contains(&segment.as_str()) {
                findings.push(format!("{file}:{line}: {folder} does not know `{segment}`"));
            }
        }
    }
    findings
}

/// The same in the manifest of the crate.
pub(crate) fn foreign_dependencies(file: &str, manifest: &str) -> Vec<String> {
    let Some((folder, allowed)) = CRATES.iter().find(|(folder, _)| file.starts_with(folder)) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for (index, line) in manifest.lines().enumerate() {
        let key: String = line
            .chars()
            .take_while(|character| character.is_alphanumeric() || "-_".contains(*character))
            .collect();
        let krate = key.replace('-', "_");
        if OURS.contains(&krate.as_str()) && !allowed.contains(&krate.as_str()) {
            findings.push(format!("{file}:{}: {folder} does not depend on `{key}`", index + 1));
        }
    }
    findings
}

/// What a path says about the modules of this crate.
enum Named {
    /// Another crate, a local name, or our own module.
    Nothing,
    /// The crate itself, or everything in it.
    Root,
    /// This top-level module.
    Module(String),
}

fn named_module(place: &[String], path: &NamedPath) -> Named {
    let mut segments =
        path.segments.iter().map(String::as_str).skip_while(|segment| *segment == "self").peekable();
    let mut around: Vec<&str> = place.iter().chain(&path.inside).map(String::as_str).collect();
    match segments.peek() {
        // `sealfeed` is what the binary calls the library, and what tests in documentation do.
        Some(&"crate" | &"sealfeed") => {
            segments.next();
            around.clear();
        }
        Some(&"super") => {
            while segments.next_if_eq(&"super").is_some() {
                around.pop();
            }
        }
        _ => return Named::Nothing,
    }
    if let Some(module) = around.first() {
        return Named::Module((*module).to_owned());
    }
    match segments.next() {
        // `pub(crate)` is a visibility.
        None if !path.is_import && path.segments.len() == 1 => Named::Nothing,
        None | Some("*") => Named::Root,
        Some(module) => Named::Module(module.to_owned()),
    }
}

/// Whether a path leads into a crate. A word on its own counts in imports only: elsewhere it may be anything.
fn is_of(krate: &str, segments: &[String], is_import: bool) -> bool {
    segments.first().is_some_and(|first| first == krate) && (is_import || segments.len() > 1)
}

/// The module path of a file of `src/`; empty for `lib.rs`, nothing for other files.
fn place(file: &str) -> Option<Vec<String>> {
    let inner = file.strip_prefix("src/")?.strip_suffix(".rs")?;
    let mut place: Vec<String> = inner.split('/').map(str::to_owned).collect();
    if place.last().is_some_and(|last| last == "mod") || place == ["lib"] {
        place.pop();
    }
    Some(place)
}

fn height(module: &str) -> Option<u8> {
    HEIGHTS.iter().find(|(name, _)| *name == module).map(|(_, height)| *height)
}

#[test]
fn upward_and_sideways_paths_are_found_in_every_spelling() {
    let found = |file: &str, source: &str| upward_paths(file, source).len();
    // Sideways, upward, unknown, and the whole crate.
    assert_eq!(found("src/gate/mod.rs", "use crate::venue::Book;"), 1);
    assert_eq!(found("src/types/order.rs", "use crate::clock::Clock;"), 1);
    assert_eq!(found("src/session/inbound.rs", "use crate::server;"), 1);
    assert_eq!(found("src/ops/mod.rs", "fn f() { crate::session::close() }"), 1);
    assert_eq!(found("src/gate/mod.rs", "use crate::nowhere::X;"), 1);
    assert_eq!(found("src/nowhere/mod.rs", ""), 1);
    assert_eq!(found("src/gate/mod.rs", "use crate as everything;"), 1);
    assert_eq!(found("src/gate/mod.rs", "use crate::*;"), 1);
    assert_eq!(found("src/gate/mod.rs", "use crate::{self as everything};"), 1);
    // A tree over several lines: two of four are wrong.
    let tree = "use crate::{\n    types::{Side, Price},\n    venue::{self, Book},\n    clock,\n};";
    assert_eq!(
        upward_paths("src/feed/book.rs", tree),
        [
            "src/feed/book.rs:3: `feed` may not name `venue`: imports point down",
            "src/feed/book.rs:3: `feed` may not name `venue`: imports point down",
        ]
    );
    // `super` climbs out of a file, of a file in a folder, of a module in a file.
    assert_eq!(found("src/clock.rs", "use super::journal::Journal;"), 1);
    assert_eq!(found("src/gate/rate.rs", "use super::super::venue::Book;"), 1);
    assert_eq!(found("src/gate/rate.rs", "mod tests { use super::super::super::venue::Book; }"), 1);
    assert_eq!(found("src/gate/rate.rs", "mod tests { fn f() { super::super::super::venue::f() } }"), 1);
    assert_eq!(found("src/clock.rs", "use super::*;"), 1);
    // Attributes, macros, raw names and the crate's public name.
    assert_eq!(found("src/config/mod.rs", "#[serde(default = \"crate::gate::window\")] struct S;"), 1);
    assert_eq!(found("src/gate/mod.rs", "macro_rules! m { () => { $crate::venue::f() } }"), 1);
    assert_eq!(found("src/gate/mod.rs", "use crate::r#venue::Book;"), 1);
    assert_eq!(found("src/gate/mod.rs", "use sealfeed::venue::Book;"), 1);
    // Within layer 1 there is an order.
    assert_eq!(found("src/config/load.rs", "use crate::telemetry::chain;"), 1);
    assert_eq!(found("src/telemetry.rs", "use crate::journal::Journal;"), 1);
}

#[test]
fn downward_paths_are_let_through() {
    let found = |file: &str, source: &str| upward_paths(file, source);
    let none: [String; 0] = [];
    let down = "use crate::{journal::Journal, types::*}; use crate::gate::{self, rate};";
    assert_eq!(found("src/gate/mod.rs", down), none);
    assert_eq!(found("src/gate/rate.rs", "use super::replay::Replay; mod tests { use super::*; }"), none);
    assert_eq!(found("src/gate/mod.rs", "pub(crate) struct S; pub(super) fn f() {} // crate::venue"), none);
    assert_eq!(
        found("src/gate/mod.rs", "/* use crate::venue; */ const T: &str = \"use crate::venue;\";"),
        none
    );
    assert_eq!(found("src/pipeline.rs", "use crate::{gate, venue, feed};"), none);
    assert_eq!(found("src/main.rs", "fn main() { sealfeed::cli::run() }"), none);
    assert_eq!(found("src/journal/mod.rs", "use crate::{shutdown::Shutdown, telemetry::chain};"), none);
    assert_eq!(found("src/lib.rs", "pub mod gate;"), none);
}

#[test]
fn names_that_belong_to_one_module_are_found_elsewhere() {
    let found = |file: &str, source: &str| foreign_names(file, source).len();
    assert_eq!(found("src/session/upgrade.rs", "use x509_parser::prelude::*;"), 1);
    assert_eq!(found("src/server/mod.rs", "use rustls::server::{ServerConfig, WebPkiClientVerifier};"), 1);
    assert_eq!(found("src/server/mod.rs", "impl rustls::server::danger::ClientCertVerifier for V {}"), 1);
    assert_eq!(
        found("src/identity/verifier.rs", "use x509_parser::prelude::*; type V = WebPkiClientVerifier;"),
        0
    );
    assert_eq!(found("src/pipeline.rs", "use sealfeed_audit::{Draft, Receipt};"), 1);
    assert_eq!(found("src/pipeline.rs", "use sealfeed_audit::*;"), 1);
    assert_eq!(found("src/pipeline.rs", "use sealfeed_audit as log;"), 1);
    assert_eq!(found("src/cli/serve.rs", "fn f() { sealfeed_audit::Log::open() }"), 1);
    assert_eq!(found("src/cli/audit.rs", "use sealfeed_audit::verify::{self, Verdict};"), 0);
    assert_eq!(found("src/journal/mod.rs", "use sealfeed_audit::{Draft, Log};"), 0);
    assert_eq!(found("src/server/mod.rs", "use sealfeed_client::Client;"), 1);
    assert_eq!(found("src/cli/watch.rs", "use sealfeed_client::Client;"), 0);
}

#[test]
fn clocks_io_and_floats_in_the_venue_are_found() {
    let found = |source: &str| impure_venue("src/venue/book.rs", source).len();
    assert_eq!(found("use tokio::sync::mpsc;"), 1);
    assert_eq!(found("use std::{collections::BTreeMap, time::Instant, fs};"), 2);
    assert_eq!(found("fn f() { std::net::lookup() }"), 1);
    assert_eq!(found("use std as s;"), 1);
    assert_eq!(found("struct S { price: f64 }"), 1);
    assert_eq!(found("const A: f32 = 1.5; const B: u8 = 1f32 as u8;"), 3);
    assert_eq!(found("use std::collections::BTreeMap; const A: u64 = 0xf32; fn f() { pair.0.1 } // f64"), 0);
    assert_eq!(impure_venue("src/feed/mod.rs", "use tokio::sync::mpsc;").len(), 0);
}

#[test]
fn crates_that_know_too_much_are_found() {
    assert_eq!(foreign_crates("audit/src/lib.rs", "use sealfeed_wire::Code;").len(), 1);
    assert_eq!(
        foreign_crates("audit/tests/crash.rs", "use sealfeed_audit::Log; use sealfeed::types;").len(),
        1
    );
    assert_eq!(foreign_crates("wire/src/lib.rs", "fn f() { sealfeed_audit::verify() }").len(), 1);
    assert_eq!(foreign_crates("clients/rust/src/lib.rs", "use sealfeed_wire::Code;").len(), 0);
    assert_eq!(foreign_crates("clients/rust/src/lib.rs", "use sealfeed::types;").len(), 1);
    let manifest = "[package]\nname = \"sealfeed-wire\"\n[dependencies]\nsealfeed-audit.workspace = true\n";
    assert_eq!(foreign_dependencies("wire/Cargo.toml", manifest).len(), 1);
    assert_eq!(foreign_dependencies("audit/Cargo.toml", manifest).len(), 0);
}
