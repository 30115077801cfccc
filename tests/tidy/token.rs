//! Splits Rust source into tokens, just far enough to tell code from comments and from text in quotes.
//!
//! Not a parser: no keyword, no operator longer than `::`. Source that rustc refuses may come out wrong; the
//! other targets of the same `cargo test` would not compile then.

/// What a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An identifier or keyword; `r#type` comes as `type`.
    Word(String),
    /// A number with its suffix.
    Number(String),
    /// What stands between the quotes of a string, escapes not resolved.
    Text(String),
    /// A comment of any form, with its marker.
    Comment(String),
    /// `::`
    PathSeparator,
    /// Any other character that is not white space.
    Sign(char),
    /// A character literal or a lifetime: no rule looks inside.
    Other,
}

/// One token.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    /// What it is.
    pub(crate) kind: Kind,
    /// Line it starts on, from 1.
    pub(crate) line: usize,
}

impl Token {
    /// Whether it is this word.
    pub(crate) fn is_word(&self, word: &str) -> bool {
        matches!(&self.kind, Kind::Word(found) if found == word)
    }

    /// Whether it is this sign.
    pub(crate) fn is_sign(&self, sign: char) -> bool {
        self.kind == Kind::Sign(sign)
    }

    /// The word, if it is one.
    pub(crate) fn word(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(word) => Some(word),
            _ => None,
        }
    }
}

/// The tokens of `source`, comments included.
pub(crate) fn tokens(source: &str) -> Vec<Token> {
    let mut scanner = Scanner { rest: source.chars().collect(), at: 0, line: 1 };
    let mut found: Vec<Token> = Vec::new();
    while let Some(character) = scanner.peek(0) {
        if character.is_whitespace() {
            scanner.take();
            continue;
        }
        let line = scanner.line;
        let is_member = found.last().is_some_and(|token| token.is_sign('.'));
        found.push(Token { kind: scanner.token(character, is_member), line });
    }
    found
}

/// The tokens without the comments.
pub(crate) fn code(source: &str) -> Vec<Token> {
    let mut found = tokens(source);
    found.retain(|token| !matches!(token.kind, Kind::Comment(_)));
    found
}

struct Scanner {
    rest: Vec<char>,
    at: usize,
    line: usize,
}

impl Scanner {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.rest.get(self.at + ahead).copied()
    }

    fn take(&mut self) -> Option<char> {
        let character = self.peek(0)?;
        self.at += 1;
        self.line += usize::from(character == '\n');
        Some(character)
    }

    fn skip(&mut self, characters: usize) {
        for _ in 0..characters {
            self.take();
        }
    }

    fn take_while(&mut self, mut wanted: impl FnMut(char) -> bool) -> String {
        let mut taken = String::new();
        while let Some(character) = self.peek(0).filter(|character| wanted(*character)) {
            taken.push(character);
            self.take();
        }
        taken
    }

    fn token(&mut self, first: char, is_member: bool) -> Kind {
        match (first, self.peek(1)) {
            ('/', Some('/')) => Kind::Comment(self.take_while(|character| character != '\n')),
            ('/', Some('*')) => self.block_comment(),
            ('"', _) => self.text(0, true),
            ('\'', _) => self.quote(),
            (':', Some(':')) => {
                self.take();
                self.take();
                Kind::PathSeparator
            }
            _ if first.is_ascii_digit() => self.number(is_member),
            _ if is_word(first) => self.word(),
            _ => {
                self.take();
                Kind::Sign(first)
            }
        }
    }

    fn block_comment(&mut self) -> Kind {
        let mut taken = String::new();
        let mut depth = 0;
        while let Some(character) = self.take() {
            taken.push(character);
            match (character, self.peek(0)) {
                ('/', Some('*')) => depth += 1,
                ('*', Some('/')) => depth -= 1,
                _ => continue,
            }
            taken.extend(self.take());
            if depth == 0 {
                break;
            }
        }
        Kind::Comment(taken)
    }

    /// A string from its opening quote on; closed by a quote and as many `#` as `hashes`.
    fn text(&mut self, hashes: usize, has_escapes: bool) -> Kind {
        let mut taken = String::new();
        self.take();
        while let Some(character) = self.take() {
            match character {
                '\\' if has_escapes => {
                    taken.push(character);
                    taken.extend(self.take());
                }
                '"' if (0..hashes).all(|ahead| self.peek(ahead) == Some('#')) => {
                    self.skip(hashes);
                    break;
                }
                _ => taken.push(character),
            }
        }
        Kind::Text(taken)
    }

    /// A character literal or a lifetime.
    fn quote(&mut self) -> Kind {
        self.take();
        if self.peek(0) == Some('\\') {
            self.take();
            self.take();
            self.take_while(|character| character != '\'');
            self.take();
        } else if self.peek(1) == Some('\'') {
            self.take();
            self.take();
        } else {
            self.take_while(is_word);
        }
        Kind::Other
    }

    /// A number. Behind a dot (`pair.0.1`) its own dot belongs to the next field.
    fn number(&mut self, is_member: bool) -> Kind {
        let mut taken = self.take_while(is_word);
        if !is_member
            && self.peek(0) == Some('.')
            && self.peek(1).is_some_and(|character| character.is_ascii_digit())
        {
            taken.extend(self.take());
            taken.push_str(&self.take_while(is_word));
        }
        Kind::Number(taken)
    }

    /// A word, or the string that a word such as `br#` opens.
    fn word(&mut self) -> Kind {
        let word = self.take_while(is_word);
        let is_raw = matches!(word.as_str(), "r" | "br" | "cr");
        let hashes =
            if is_raw { (0..).take_while(|ahead| self.peek(*ahead) == Some('#')).count() } else { 0 };
        let opens = self.peek(hashes) == Some('"');
        if opens && (is_raw || matches!(word.as_str(), "b" | "c")) {
            self.skip(hashes);
            return self.text(hashes, !is_raw);
        }
        if word == "b" && self.peek(0) == Some('\'') {
            return self.quote();
        }
        if word == "r" && hashes == 1 {
            self.take();
            return Kind::Word(self.take_while(is_word));
        }
        Kind::Word(word)
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

#[test]
fn code_is_told_from_comments_text_and_characters() {
    let source = r###"
        // venue::a
        /* venue /* nested */ venue */
        let a = "venue \" venue"; let b = r#"venue " venue"#; let c = b"venue";
        let d = 'x'; let e = '\''; let f: &'venue str = r#type; let g = b'"'; let h = '\u{1F600}';
        gate::x(1.5, pair.0.1, 0..10)
    "###;
    let words: Vec<String> =
        code(source).iter().filter_map(|token| token.word().map(str::to_owned)).collect();
    let joined = words.join(" ");
    assert_eq!(joined, "let a let b let c let d let e let f str type let g let h gate x pair");
    let numbers: Vec<Kind> = code(source)
        .into_iter()
        .map(|token| token.kind)
        .filter(|kind| matches!(kind, Kind::Number(_)))
        .collect();
    assert_eq!(numbers, ["1.5", "0", "1", "0", "10"].map(|number| Kind::Number(number.to_owned())));
    assert_eq!(tokens(source).iter().filter(|token| matches!(token.kind, Kind::Comment(_))).count(), 2);
    let line_of_gate = code(source).iter().find(|token| token.is_word("gate")).map(|token| token.line);
    assert_eq!(line_of_gate, Some(6));
}
