//! Every path (`a::b::c`) that a source file names, with its imports flattened.

use crate::token::{self, Kind, Token};

/// A path as it is written, `use a::{b, c as d}` as `a::b` and `a::c`.
#[derive(Clone, Debug)]
pub(crate) struct NamedPath {
    /// Its segments; `*` for a glob import. A `self` at its end is left out.
    pub(crate) segments: Vec<String>,
    /// Where, from 1.
    pub(crate) line: usize,
    /// The modules around it inside the file, outermost first.
    pub(crate) inside: Vec<String>,
    /// Whether an import names it.
    pub(crate) is_import: bool,
}

/// The paths in `source`, comments left out. A string that starts like a path of this crate, as derive
/// attributes take them, counts as one.
pub(crate) fn paths(source: &str) -> Vec<NamedPath> {
    let mut walk =
        Walk { tokens: token::code(source), at: 0, depth: 0, modules: Vec::new(), found: Vec::new() };
    while walk.at < walk.tokens.len() {
        walk.step();
    }
    walk.found
}

struct Walk {
    tokens: Vec<Token>,
    at: usize,
    /// Braces open.
    depth: usize,
    /// Modules open, each with the depth outside of it.
    modules: Vec<(String, usize)>,
    found: Vec<NamedPath>,
}

impl Walk {
    fn peek(&self, ahead: usize) -> Option<&Token> {
        self.tokens.get(self.at + ahead)
    }

    fn is_sign(&self, ahead: usize, sign: char) -> bool {
        self.peek(ahead).is_some_and(|token| token.is_sign(sign))
    }

    fn is_separator(&self) -> bool {
        self.peek(0).is_some_and(|token| token.kind == Kind::PathSeparator)
    }

    fn word(&self, ahead: usize) -> Option<String> {
        self.peek(ahead).and_then(Token::word).map(str::to_owned)
    }

    fn step(&mut self) {
        let Token { kind, line } = self.tokens[self.at].clone();
        match kind {
            Kind::Sign('{') => self.depth += 1,
            Kind::Sign('}') => {
                self.depth = self.depth.saturating_sub(1);
                if self.modules.last().is_some_and(|(_, outside)| *outside == self.depth) {
                    self.modules.pop();
                }
            }
            Kind::Text(text) if text.starts_with("crate::") || text.starts_with("super::") => {
                let segments = text.split("::").map(|segment| segment.trim().to_owned()).collect();
                self.keep(segments, line, false);
            }
            // `use<'a>` is a bound, not an import.
            Kind::Word(word) if word == "use" && !self.is_sign(1, '<') => {
                self.at += 1;
                self.use_tree(&[], line);
                return;
            }
            Kind::Word(word) if word == "mod" && self.is_sign(2, '{') => {
                if let Some(name) = self.word(1) {
                    self.modules.push((name, self.depth));
                    self.depth += 1;
                    self.at += 2;
                }
            }
            Kind::Word(word) => {
                self.plain(word, line);
                return;
            }
            _ => {}
        }
        self.at += 1;
    }

    /// A path in an expression, a type or a visibility.
    fn plain(&mut self, first: String, line: usize) {
        let mut segments = vec![first];
        self.at += 1;
        while self.is_separator() {
            let Some(next) = self.word(1) else { break };
            segments.push(next);
            self.at += 2;
        }
        self.keep(segments, line, false);
    }

    /// One branch of an import, up to the `,`, `;` or `}` behind it.
    fn use_tree(&mut self, prefix: &[String], line: usize) {
        let mut segments = prefix.to_vec();
        while let Some(Token { kind, .. }) = self.peek(0).cloned() {
            match kind {
                Kind::PathSeparator => {}
                Kind::Sign('*') => segments.push("*".to_owned()),
                Kind::Sign('{') => {
                    self.at += 1;
                    self.use_branches(&segments);
                    return;
                }
                Kind::Word(word) if word == "as" => self.at += 1,
                Kind::Word(word) if word == "self" && !segments.is_empty() => {}
                Kind::Word(word) => segments.push(word),
                _ => break,
            }
            self.at += 1;
        }
        self.keep(segments, line, true);
    }

    /// The branches between braces, and the closing brace.
    fn use_branches(&mut self, prefix: &[String]) {
        while let Some(token) = self.peek(0).cloned() {
            match token.kind {
                Kind::Sign('}') => {
                    self.at += 1;
                    return;
                }
                Kind::Sign(',') => self.at += 1,
                _ => {
                    let before = self.at;
                    self.use_tree(prefix, token.line);
                    // Nothing that rustc accepts stands still here; what it refuses must not hang us.
                    self.at = self.at.max(before + 1);
                }
            }
        }
    }

    fn keep(&mut self, segments: Vec<String>, line: usize, is_import: bool) {
        let inside = self.modules.iter().map(|(name, _)| name.clone()).collect();
        self.found.push(NamedPath { segments, line, inside, is_import });
    }
}

#[test]
fn imports_are_flattened_over_lines_and_renames() {
    let source = "use crate::{\n  gate::{self, Gate as G},\n  venue::*,\n};\nuse std::fs;\nfn f() -> impl Sized + use<> { super::x::<u8>::y() }";
    let found: Vec<(String, usize)> = paths(source)
        .iter()
        .filter(|path| path.is_import)
        .map(|path| (path.segments.join("::"), path.line))
        .collect();
    let expected = [("crate::gate", 2), ("crate::gate::Gate", 2), ("crate::venue::*", 3), ("std::fs", 5)];
    assert_eq!(found, expected.map(|(path, line)| (path.to_owned(), line)));
    assert!(paths(source).iter().any(|path| path.segments == ["super", "x"] && !path.is_import));
}

#[test]
fn a_path_knows_the_modules_around_it() {
    let source =
        "mod a { struct S { x: u8 } mod b { fn f() { one(); } } fn g() { two(); } } fn h() { three(); }";
    let inside = |name: &str| {
        paths(source).into_iter().find(|path| path.segments == [name]).map(|path| path.inside.join("/"))
    };
    assert_eq!(inside("one").as_deref(), Some("a/b"));
    assert_eq!(inside("two").as_deref(), Some("a"));
    assert_eq!(inside("three").as_deref(), Some(""));
}
