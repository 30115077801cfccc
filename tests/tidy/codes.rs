//! Every code that a peer or an operator can meet is named by a test that brings it about.

use std::fmt::Debug;

use sealfeed_wire::Code;

use crate::token::{self, Kind};
use crate::tree::File;

/// Codes that nothing in this version produces, each with what will. An entry whose code a test names after all is
/// an error: it has to go.
const EXEMPT: &[(Code, &str)] = &[
    (Code::TlsPrincipalAmbiguous, "comes with rules that map a subject to a principal"),
    (Code::TlsRevocationUnknown, "no server starts without a list of every authority"),
    (Code::SesAddressSessionsFull, "connections of an address are counted before TLS: SF-TLS-013"),
    (Code::SesOperatorEnded, "comes with the admin listener"),
    (Code::SubConflationNotOffered, "this version offers every interval"),
    (Code::OrdTypeNotOffered, "the venue offers both types there are"),
    (Code::OrdFeatureNotOffered, "earlier servers of this version sent it; this one honours every option"),
    (Code::OrdSignatureNotOffered, "earlier servers of this version sent it; this one checks signatures"),
    (
        Code::AudLogUnavailable,
        "needs a disk that fails under a running server; the log's own tests make it fail",
    ),
    (Code::AudLogFailed, "as SF-AUD-001"),
];

/// Codes that no test names, and exemptions that are out of date.
pub(crate) fn untested(files: &[File]) -> Vec<String> {
    compare(Code::all().map(|code| (code, code.as_str())), EXEMPT, &names(files))
}

fn compare<C: Copy + Debug + PartialEq>(
    codes: impl Iterator<Item = (C, &'static str)>,
    exempt: &[(C, &str)],
    names: &[String],
) -> Vec<String> {
    let mut findings = Vec::new();
    for (code, text) in codes {
        let variant = format!("{code:?}");
        let is_named = names.iter().any(|name| *name == variant || name.contains(text));
        let is_exempt = exempt.iter().any(|(other, _)| *other == code);
        match (is_named, is_exempt) {
            (false, false) => findings.push(format!("{text} ({variant}): no test names it")),
            (true, true) => {
                findings.push(format!("{text} ({variant}): a test names it; it is exempt no longer"))
            }
            _ => {}
        }
    }
    findings
}

/// Words and texts of all tests.
fn names(files: &[File]) -> Vec<String> {
    let mut names = Vec::new();
    for file in files {
        for token in token::code(tests_of(file)) {
            if let Kind::Word(name) | Kind::Text(name) = token.kind {
                names.push(name);
            }
        }
    }
    names
}

/// The part of a file that tests. The table of codes tests itself as a whole, which says nothing of any one code.
fn tests_of(file: &File) -> &str {
    let File { name, text } = file;
    if name.starts_with("wire/src/code/") || name.starts_with("tests/tidy") {
        return "";
    }
    if name.starts_with("tests/") || name.contains("/tests/") || name.ends_with("tests.rs") {
        return text;
    }
    // By the rules of the house the module of tests stands last.
    text.find("#[cfg(test)]\nmod ").map_or("", |start| &text[start..])
}

#[test]
fn a_code_without_a_test_is_found_and_so_is_a_stale_exemption() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Sample {
        Named,
        Quoted,
        Missing,
        Exempt,
        Stale,
    }
    use Sample::{Exempt, Missing, Named, Quoted, Stale};
    let file = |name: &str, text: &str| File { name: name.to_owned(), text: text.to_owned() };
    let files = [
        file("tests/it/orders.rs", "fn f() { check(Code::Named, \"SF-X-002\"); /* Missing SF-X-003 */ }"),
        file(
            "src/gate/mod.rs",
            "fn f() -> Code { Code::Missing }\n#[cfg(test)]\nmod tests { use Code::Stale; }",
        ),
        file("wire/src/code/list.rs", "#[cfg(test)]\nmod tests { const ALL: [Code; 1] = [Code::Missing]; }"),
    ];
    let codes = [
        (Named, "SF-X-001"),
        (Quoted, "SF-X-002"),
        (Missing, "SF-X-003"),
        (Exempt, "SF-X-004"),
        (Stale, "SF-X-005"),
    ];
    let exempt = [(Exempt, "comes with publishers"), (Stale, "comes with relays")];
    let expected =
        ["SF-X-003 (Missing): no test names it", "SF-X-005 (Stale): a test names it; it is exempt no longer"];
    assert_eq!(compare(codes.into_iter(), &exempt, &names(&files)), expected);
}
