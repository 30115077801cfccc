//! The three verifiers, and what each said.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use sealfeed_audit::storage::DiskStorage;
use sealfeed_audit::tool::Asked;
use sealfeed_audit::verify::{Verdict, verify_planned};
use sealfeed_audit::{Receipt, hex};

use crate::support::disk::Image;
use crate::support::python;

/// What is given along with the log.
#[derive(Clone, Default)]
pub(crate) struct Given {
    pub(crate) key: Option<String>,
    pub(crate) k0: Option<[u8; 32]>,
    pub(crate) notes: Vec<String>,
    pub(crate) receipts: Vec<Receipt>,
    pub(crate) expect: Option<u64>,
}

/// A log, what is given along with it, and the verdict that must come; `None` where the library's is right by definition.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) image: Image,
    pub(crate) given: Given,
    pub(crate) expected: Option<Verdict>,
}

/// The files of a case, and the arguments that name them.
pub(crate) fn lay_out(case: &Case, folder: &Path) -> (Asked, Vec<String>) {
    let log = folder.join("log");
    for (name, content) in &case.image {
        let path = log.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let keep = |name: &str, content: String| {
        let path = folder.join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let given = &case.given;
    let lines = given.receipts.iter().map(|receipt| {
        let (log, hash) = (hex(&receipt.log_id), hex(&receipt.hash));
        format!("{{\"log\":\"{log}\",\"seq\":{},\"hash\":\"{hash}\"}}\n", receipt.seq)
    });
    let receipts: String = lines.collect();
    let notes = given.notes.iter().enumerate();
    let asked = Asked {
        directory: log,
        key: given.key.clone(),
        anchors: notes.map(|(index, note)| keep(&format!("anchor{index}"), note.clone())).collect(),
        receipts: if receipts.is_empty() { Vec::new() } else { vec![keep("receipts", receipts)] },
        k0: given.k0.map(|k0| keep("k0.hex", hex(&k0))),
        expect_size: given.expect,
        ..Asked::default()
    };
    let mut arguments = vec![asked.directory.to_str().unwrap().to_owned()];
    let mut push = |name: &str, value: &str| arguments.extend([name.to_owned(), value.to_owned()]);
    asked.key.iter().for_each(|key| push("--key", key));
    asked.anchors.iter().for_each(|path| push("--anchor", path.to_str().unwrap()));
    asked.receipts.iter().for_each(|path| push("--receipt", path.to_str().unwrap()));
    asked.k0.iter().for_each(|path| push("--k0", path.to_str().unwrap()));
    asked.expect_size.iter().for_each(|size| push("--expect-size", &size.to_string()));
    (asked, arguments)
}

/// What a verifier said: exit code, and the entry of the finding that decided unless it is a range of entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) code: i64,
    pub(crate) first: Option<u64>,
}

pub(crate) fn by_library(asked: &Asked) -> Said {
    let (anchors, plan) = asked.read().unwrap();
    match verify_planned(&DiskStorage::new(&asked.directory), &anchors, &plan, &mut |_| {}) {
        Ok(report) => {
            let first = report.first_bad.filter(|bad| bad.until.is_none()).map(|bad| bad.seq);
            Said { code: report.verdict.exit_code().into(), first }
        }
        Err(error) => Said { code: error.exit_code().into(), first: None },
    }
}

pub(crate) fn by_program(arguments: &[String]) -> i64 {
    let program = Command::new(env!("CARGO_BIN_EXE_sealfeed-verify"));
    let status = { program }.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    status.code().unwrap().into()
}

/// `verify.py` over all cases in one process; `None` without Python, which CI has.
pub(crate) fn by_document(cases: &[Vec<String>]) -> Option<Vec<(Said, String)>> {
    python::answers("verify", cases).map(|lines| lines.iter().map(|line| answer(line)).collect())
}

/// Takes an answer of the driver apart: `[code, "text"]`.
pub(crate) fn answer(line: &str) -> (Said, String) {
    let answer: serde_json::Value = serde_json::from_str(line).unwrap();
    let text = answer[1].as_str().unwrap();
    let code = answer[0].as_i64().unwrap_or(-1);
    let first = text.lines().next().and_then(|finding| {
        let (_, rest) = finding.split_once(": entry ")?;
        rest.split_once(':')?.0.parse().ok()
    });
    (Said { code, first }, format!("{}\n{text}", answer[0]))
}

/// Has all three verify all cases.
pub(crate) fn agree(cases: &[Case]) {
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    let laid_out: Vec<_> = cases
        .iter()
        .enumerate()
        .map(|(index, case)| lay_out(case, &folder.path().join(index.to_string())))
        .collect();
    let arguments: Vec<Vec<String>> = laid_out.iter().map(|(_, arguments)| arguments.clone()).collect();
    let documents = by_document(&arguments);
    for (index, (case, (asked, arguments))) in cases.iter().zip(&laid_out).enumerate() {
        let library = by_library(asked);
        let mut disagree = |what: String| wrong.push(format!("{}: library {library:?}, {what}", case.name));
        if let Some(expected) = case.expected
            && i64::from(expected.exit_code()) != library.code
        {
            disagree(format!("expected {expected}"));
        }
        let program = by_program(arguments);
        if program != library.code {
            disagree(format!("program {program}"));
        }
        if let Some((said, text)) = documents.as_ref().map(|all| &all[index]) {
            let same_place = said.first.is_none() || library.first.is_none() || said.first == library.first;
            if said.code != library.code || !same_place {
                disagree(format!("verify.py {said:?}\n{text}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
