//! `docs/THREATS.md` names for each attack the code that stands against it and the tests that hold it: each of them must exist.

use std::collections::BTreeSet;
use std::path::Path;

use crate::tree::File;

/// Rows that a table must have at least; fewer would mean that the document is read wrongly.
const ROWS_MIN: usize = 40;

/// What is wrong with the document, given the files of the repository and whether a path exists.
pub(crate) fn findings(document: &str, files: &[File], exists: impl Fn(&str) -> bool) -> Vec<String> {
    let tests = tests(files);
    let mut findings = Vec::new();
    for (index, line) in document.lines().enumerate() {
        let Some(row) = line.strip_prefix("| ").and_then(|line| line.strip_suffix(" |")) else { continue };
        let cells: Vec<&str> = row.split(" | ").collect();
        if cells[0] == "attack" {
            continue;
        }
        let place = format!("docs/THREATS.md:{}", index + 1);
        let [_, _, code, held] = cells[..] else {
            findings.push(format!("{place}: a row has attack, defence, where and tests"));
            continue;
        };
        let (code, held) = (quoted(code), quoted(held));
        if code.is_empty() || held.is_empty() {
            findings.push(format!("{place}: no code or no test is named"));
        }
        findings.extend(
            code.iter().filter(|path| !exists(path)).map(|path| format!("{place}: there is no {path}")),
        );
        let missing = held.iter().filter(|test| !tests.contains(**test));
        findings.extend(missing.map(|test| format!("{place}: there is no test {test}")));
    }
    findings
}

/// Rows about attacks.
fn rows(document: &str) -> usize {
    document.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| attack |")).count()
}

/// What stands between backticks.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// Names of all functions that are tests.
fn tests(files: &[File]) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    for File { text, .. } in files {
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with("#[test") || line.starts_with("#[tokio::test") {
                is_test = true;
            } else if let Some(rest) = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ") {
                if is_test {
                    names.insert(rest.split(['(', '<']).next().unwrap_or_default());
                }
                is_test = false;
            }
        }
    }
    names
}

#[test]
fn every_threat_names_code_and_tests_that_exist() {
    let files = crate::tree::files(".rs").unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = std::fs::read_to_string(root.join("docs/THREATS.md")).unwrap();
    let findings = findings(&document, &files, |path| root.join(path).exists());
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
    assert!(rows(&document) >= ROWS_MIN, "{} rows", rows(&document));
}

#[test]
fn a_test_or_a_path_that_is_not_there_is_found() {
    let files = [File { name: "a.rs".into(), text: "#[test]\nfn it_holds() {}\nfn no_test() {}\n".into() }];
    let check = |row: &str| findings(row, &files, |path| path == "src/a.rs");
    assert_eq!(check("| a | b | `src/a.rs` | `it_holds` |"), Vec::<String>::new());
    assert_eq!(check("| a | b | `src/b.rs` | `it_holds` |").len(), 1);
    assert_eq!(check("| a | b | `src/a.rs` | `no_test` |").len(), 1);
    assert_eq!(check("| a | b | `src/a.rs` | none |").len(), 1);
    assert_eq!(check("| a | b | `src/a.rs` |").len(), 1);
    assert_eq!(check("| attack | defence | where | tests |").len(), 0);
}
