//! Holds the source tree to the rules of ARCHITECTURE.md and CONTRIBUTING.md that no compiler checks.
//!
//! Each rule is a function from one file to its findings, tested beside it with examples that it must find: a
//! rule that cannot fail is no rule. The tests here run them over the whole repository.

#[path = "tidy/codes.rs"]
mod codes;
#[path = "tidy/faults.rs"]
mod faults;
#[path = "tidy/form.rs"]
mod form;
#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/paths.rs"]
mod paths;
#[path = "tidy/threats.rs"]
mod threats;
#[path = "tidy/token.rs"]
mod token;
#[path = "tidy/tree.rs"]
mod tree;

use tree::{File, files};

/// Runs a rule over the files whose name ends so, and fails with all that it found.
fn check(ending: &str, rule: fn(&str, &str) -> Vec<String>) {
    let files = files(ending).unwrap_or_else(|error| panic!("the tree cannot be read: {error}"));
    assert!(!files.is_empty(), "no file ends with `{ending}`: the walk is broken");
    let findings: Vec<String> = files.iter().flat_map(|File { name, text }| rule(name, text)).collect();
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[test]
fn every_fault_that_the_log_must_bear_is_injected_by_a_test() {
    let findings = faults::without_test(faults::FAULTS, &files(".rs").unwrap());
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[test]
fn imports_of_the_server_point_down() {
    check(".rs", layers::upward_paths);
}

#[test]
fn certificates_and_the_log_writer_have_one_owner() {
    check(".rs", layers::foreign_names);
}

#[test]
fn the_venue_has_no_clock_no_io_and_no_floats() {
    check(".rs", layers::impure_venue);
}

#[test]
fn the_log_and_the_contract_know_neither_the_server_nor_each_other() {
    check(".rs", layers::foreign_crates);
    check("Cargo.toml", layers::foreign_dependencies);
}

#[test]
fn every_file_says_what_it_owns_and_is_finished() {
    check(".rs", form::malformed);
    for File { name, text } in files(".rs").unwrap() {
        let lines = text.lines().count();
        if lines > form::LINES_EXPECTED_MAX {
            println!("{name}: {lines} lines, more than the usual {}", form::LINES_EXPECTED_MAX);
        }
    }
}

#[test]
fn the_walk_sees_every_crate_and_no_build_output() {
    let names: Vec<String> = files(".rs").unwrap().into_iter().map(|file| file.name).collect();
    for expected in
        ["src/lib.rs", "audit/src/lib.rs", "wire/src/lib.rs", "clients/rust/src/lib.rs", "tests/tidy.rs"]
    {
        assert!(names.iter().any(|name| name == expected), "{expected} was not seen");
    }
    assert!(!names.iter().any(|name| name.starts_with("target/")));
}

#[test]
fn every_code_is_named_by_a_test() {
    let files = files(".rs").unwrap_or_else(|error| panic!("the tree cannot be read: {error}"));
    let findings = codes::untested(&files);
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}
