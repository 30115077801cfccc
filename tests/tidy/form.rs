//! What every Rust file of the repository looks like, whatever it holds.

use crate::token::{self, Kind, Token};

/// A longer file is told of; it needs a reason.
pub(crate) const LINES_EXPECTED_MAX: usize = 400;
/// A longer file is refused.
const LINES_MAX: usize = 600;

/// Macros that stand for something that is not there yet, or that is there for its author alone.
const UNFINISHED_MACROS: &[&str] = &["todo", "unimplemented", "dbg"];
/// Words in comments that say the same. In pieces, so that no search for them ends here.
const UNFINISHED_WORDS: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

/// The files that may say `unsafe`: for functions of SHA instructions, and for the system call that tells of the kernel's clock.
const UNSAFE_FILES: &[&str] = &["audit/src/sha_ni.rs", "audit/src/clock/kernel.rs"];

/// What is wrong with the form of a file.
pub(crate) fn malformed(file: &str, source: &str) -> Vec<String> {
    let mut findings = Vec::new();
    if !source.starts_with("//!") {
        findings.push(format!("{file}:1: opens without a `//!` that says what the file owns"));
    }
    let lines = source.lines().count();
    if lines > LINES_MAX {
        findings.push(format!("{file}:{lines}: longer than {LINES_MAX} lines"));
    }
    let tokens = token::tokens(source);
    for token in &tokens {
        let Kind::Comment(comment) = &token.kind else { continue };
        let mut words =
            comment.split(|character: char| !character.is_alphanumeric() && !"-_".contains(character));
        if let Some(word) = words.find(|word| UNFINISHED_WORDS.contains(word)) {
            findings.push(format!("{file}:{}: `{word}`: finish it, or file an issue", token.line));
        }
        if comment.contains("```ignore") {
            findings.push(format!("{file}:{}: an ignored example proves nothing", token.line));
        }
    }
    let code: Vec<&Token> = tokens.iter().filter(|token| !matches!(token.kind, Kind::Comment(_))).collect();
    for (index, token) in code.iter().enumerate() {
        let after = code.get(index + 1);
        if let Some(name) = token.word().filter(|word| UNFINISHED_MACROS.contains(word))
            && after.is_some_and(|after| after.is_sign('!'))
        {
            findings.push(format!("{file}:{}: `{name}!`: finish it", token.line));
        }
        if (token.is_word("unsafe") || token.is_word("unsafe_code")) && !UNSAFE_FILES.contains(&file) {
            let allowed = UNSAFE_FILES.join(" and ");
            findings.push(format!("{file}:{}: `unsafe` belongs into {allowed} alone", token.line));
        }
        let is_server = file.starts_with("src/");
        if is_server && token.is_word("include") && after.is_some_and(|after| after.is_sign('!')) {
            findings.push(format!("{file}:{}: `include!` hides code from these checks", token.line));
        }
        if token.is_sign('#')
            && let Some(problem) = bad_attribute(&code[index + 1..], is_server)
        {
            findings.push(format!("{file}:{}: {problem}", token.line));
        }
    }
    findings
}

/// What is wrong with the attribute behind a `#`, if it is one.
fn bad_attribute(tokens: &[&Token], is_server: bool) -> Option<&'static str> {
    let tokens = if tokens.first()?.is_sign('!') { &tokens[1..] } else { tokens };
    if !tokens.first()?.is_sign('[') {
        return None;
    }
    let name = tokens.get(1)?.word()?;
    let mut depth = 0_usize;
    let mut inner = tokens.iter().take_while(|token| {
        depth += usize::from(token.is_sign('['));
        depth -= usize::from(token.is_sign(']'));
        depth > 0
    });
    match name {
        "ignore" => Some("an ignored test proves nothing"),
        "cfg_attr" if inner.any(|token| token.is_word("ignore")) => Some("an ignored test proves nothing"),
        // A file of tests may stand beside the file it tests; no farther away.
        "path"
            if is_server
                && inner.any(|token| matches!(&token.kind, Kind::Text(path) if path.contains('/'))) =>
        {
            Some("`#[path]` puts a module into another folder, where it passes for that folder's")
        }
        _ => None,
    }
}

#[test]
fn bad_form_is_found() {
    let found = |source: &str| malformed("src/x.rs", &format!("//! X.\n{source}")).len();
    assert_eq!(malformed("src/x.rs", "// X.\nfn f() {}").len(), 1);
    assert_eq!(malformed("src/x.rs", "").len(), 1);
    assert_eq!(found(&"\n".repeat(599)), 0);
    assert_eq!(found(&"\n".repeat(600)), 1);
    assert_eq!(found("fn f() { todo!() }"), 1);
    assert_eq!(found("fn f() { std::unimplemented!(\"later\") }"), 1);
    assert_eq!(found("fn f() { dbg!(1); }"), 1);
    assert_eq!(found("#[test]\n#[ignore = \"slow\"]\nfn f() {}"), 1);
    assert_eq!(found("#[test]\n#[cfg_attr(unix, ignore)]\nfn f() {}"), 1);
    assert_eq!(found("/// ```ignore\n/// f()\n/// ```\nfn f() {}"), 1);
    assert_eq!(found("#[path = \"../venue/book.rs\"]\nmod book;"), 1);
    assert_eq!(found("#[path = \"book_tests.rs\"]\nmod tests;"), 0);
    assert_eq!(found("include!(\"x.in\");"), 1);
    assert_eq!(found("fn f() { unsafe { g() } }"), 1);
    assert_eq!(found("#![allow(unsafe_code)]"), 1);
    for file in UNSAFE_FILES {
        assert_eq!(malformed(file, "//! X.\nfn f() { unsafe { g() } }"), [""; 0]);
    }
    assert_eq!(malformed("audit/src/clock.rs", "//! X.\nfn f() { unsafe { g() } }").len(), 1);
    for word in UNFINISHED_WORDS {
        assert_eq!(found(&format!("fn f() {{}} // {word}: later")), 1);
        assert_eq!(found(&format!("/* {word} */")), 1);
        assert_eq!(found(&format!("// SF-{word}-1 in text")), 0);
    }
}

#[test]
fn good_form_is_let_through() {
    let source = "//! X.\n#![expect(dead_code, reason = \"x\")]\n// An ignore here is a word; so is todo!\n\
                  #[cfg_attr(test, derive(Debug))]\nstruct S { ignore: bool, path: u8 }\n\
                  const T: &str = \"dbg!(todo!())\"; const U: &str = include_str!(\"x\");\n";
    assert_eq!(malformed("src/x.rs", source), [""; 0]);
}
