//! Patterns over symbols: `*` stands for any run of characters, everything else for itself.

use std::sync::Arc;

/// A list of patterns. Copies share it. Symbols without a `*` are found by binary search, so that a list of thousands of them costs a
/// request no more than a few comparisons; patterns are tried one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SymbolPatterns(Arc<Patterns>);

#[derive(Debug, Default, PartialEq, Eq)]
struct Patterns {
    listed: Vec<Box<str>>,
    /// Those that are symbols, by their text.
    symbols: Vec<Box<str>>,
    /// Those with a `*`.
    globs: Vec<Box<str>>,
}

impl SymbolPatterns {
    /// Patterns in the order in which the policy lists them.
    #[must_use]
    pub fn new(patterns: impl IntoIterator<Item = impl Into<Box<str>>>) -> Self {
        let listed: Vec<Box<str>> = patterns.into_iter().map(Into::into).collect();
        let (globs, mut symbols): (Vec<_>, Vec<_>) =
            listed.iter().cloned().partition(|pattern| pattern.contains('*'));
        symbols.sort_unstable();
        Self(Arc::new(Patterns { listed, symbols, globs }))
    }

    /// All patterns of several lists. One that stands alone is shared.
    #[must_use]
    pub fn joined(lists: &[Self]) -> Self {
        let filled: Vec<&Self> = lists.iter().filter(|list| !list.is_empty()).collect();
        match filled.as_slice() {
            [] => Self::default(),
            [one] => (*one).clone(),
            several => Self::new(several.iter().flat_map(|list| list.iter())),
        }
    }

    /// Whether any pattern covers `symbol`.
    #[must_use]
    pub fn cover(&self, symbol: &str) -> bool {
        self.0.symbols.binary_search_by(|listed| (**listed).cmp(symbol)).is_ok()
            || self.0.globs.iter().any(|pattern| matches(pattern.as_bytes(), symbol.as_bytes()))
    }

    /// Whether every possible symbol is covered, as the wildcard subscription demands.
    #[must_use]
    pub fn cover_everything(&self) -> bool {
        self.0.globs.iter().any(|pattern| &**pattern == "*")
    }

    /// The patterns as text.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.listed.iter().map(|pattern| &**pattern)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.listed.len()
    }

    /// Whether there is none, so that no symbol is covered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.listed.is_empty()
    }
}

/// Glob match with one backtrack point: a later `*` makes every earlier one irrelevant.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at_pattern, mut at_text) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while at_text < text.len() {
        match pattern.get(at_pattern) {
            Some(b'*') => {
                star = Some((at_pattern, at_text));
                at_pattern += 1;
            }
            Some(&byte) if byte == text[at_text] => {
                at_pattern += 1;
                at_text += 1;
            }
            _ => match star {
                Some((star_pattern, star_text)) => {
                    star = Some((star_pattern, star_text + 1));
                    at_pattern = star_pattern + 1;
                    at_text = star_text + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at_pattern..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_symbols_only() {
        for (pattern, symbol, expected) in [
            ("*", "ESH4", true),
            ("ES*", "ESH4", true),
            ("ES*", "NESH4", false),
            ("*H4", "ESH4", true),
            ("E*H*4", "ESH4", true),
            ("ESH4", "ESH4X", false),
            ("", "ESH4", false),
            ("**", "", true),
        ] {
            assert_eq!(SymbolPatterns::new([pattern]).cover(symbol), expected, "{pattern} on {symbol}");
        }
    }

    #[test]
    fn joined_lists_cover_what_any_of_them_covers() {
        let (a, b) = (SymbolPatterns::new(["ES*", "SEAL"]), SymbolPatterns::new(["FEED", "A", "Z"]));
        let joined = SymbolPatterns::joined(&[a.clone(), SymbolPatterns::default(), b]);
        assert_eq!(joined.iter().collect::<Vec<_>>(), ["ES*", "SEAL", "FEED", "A", "Z"]);
        assert!(["ESH4", "SEAL", "A", "FEED", "Z"].iter().all(|symbol| joined.cover(symbol)));
        assert!(!joined.cover("B") && !joined.cover("ZZ") && !joined.cover_everything());
        assert!(Arc::ptr_eq(&SymbolPatterns::joined(&[SymbolPatterns::default(), a.clone()]).0, &a.0));
        assert!(SymbolPatterns::joined(&[]).is_empty());
    }
}
