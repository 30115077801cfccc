//! Products: groups of symbols with a name, which rules take instead of listing the symbols again.

use std::collections::HashMap;

use super::policy_file::{Pattern, ProductText};
use super::policy_file_error::PolicyFileError;
use crate::types::SymbolPatterns;

/// Most symbols and patterns of one list, those of its products among them: `welcome` shows all of them.
const LIST_MAX: usize = 4_096;
/// Most symbols and patterns that a policy may have in lists of its own, which do not just stand for one product.
const LISTED_MAX: usize = 1_000_000;

/// The products of a file, by name, and what its lists hold so far.
#[derive(Debug)]
pub(super) struct Products {
    named: HashMap<String, SymbolPatterns>,
    listed: usize,
}

impl Products {
    /// Names were checked: each is there once.
    pub(super) fn new(products: Vec<ProductText>) -> Self {
        let named = products.into_iter().map(|product| (product.name, patterns(product.symbols))).collect();
        Self { named, listed: 0 }
    }

    /// All symbols of a list and of the products beside it.
    pub(super) fn join(
        &mut self,
        rule: &str,
        symbols: Vec<Pattern>,
        names: &[String],
    ) -> Result<SymbolPatterns, PolicyFileError> {
        let mut lists = vec![patterns(symbols)];
        for name in names {
            let product = self.named.get(name).ok_or_else(|| PolicyFileError::UnknownProduct {
                rule: rule.to_owned(),
                product: name.clone(),
            })?;
            lists.push(product.clone());
        }
        let count: usize = lists.iter().map(SymbolPatterns::len).sum();
        let is_shared = lists.iter().filter(|list| !list.is_empty()).count() == 1 && !names.is_empty();
        self.listed += if is_shared { 0 } else { count };
        if count > LIST_MAX || self.listed > LISTED_MAX {
            let (count, max) = if count > LIST_MAX { (count, LIST_MAX) } else { (self.listed, LISTED_MAX) };
            return Err(PolicyFileError::TooManySymbols { rule: rule.to_owned(), count, max });
        }
        Ok(SymbolPatterns::joined(&lists))
    }
}

pub(super) fn patterns(texts: Vec<Pattern>) -> SymbolPatterns {
    SymbolPatterns::new(texts.into_iter().map(|pattern| pattern.0))
}
