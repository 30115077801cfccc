//! What entries are found by through the log's indexes, and the entries that a filter may let through.
//!
//! The terms here and the tests of [`Filter`] go through the same accessors of [`Row`], so that what a filter finds is under a term.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use sealfeed_audit::EntryRef;
use sealfeed_audit::index::{Key, Query, Search, Terms};
use sealfeed_audit::reader::{Entries, Entry, ReadError};
use sealfeed_audit::storage::DiskStorage;

use super::rows::{Filter, Row, open};
use crate::journal::Event;

/// Version of [`terms_of`]; counted up with every change of it.
const VERSION: u32 = 1;
/// Kinds that name instruments by number, or say which number is whose.
const BY_NUMBER: [&str; 3] = ["venue", "instruments", "synthetic"];

/// Terms of the server's entries. A build that knows more kinds reads more out of entries: its indexes are others.
pub(super) fn terms() -> Terms {
    let kinds = u16::try_from(Event::KINDS.len()).unwrap_or(u16::MAX);
    Terms { version: VERSION << 16 | u32::from(kinds), of: terms_of }
}

fn terms_of(entry: &EntryRef<'_>, add: &mut dyn FnMut(&[u8])) {
    let (header, payload) = (entry.header, entry.payload.to_vec());
    let row = Row::new(Entry { header, payload, hash: [0; 32], segment: 0, offset: 0 });
    let mut add = |what: &str, text: &str| add(&term(what, text));
    row.text("principal").into_iter().for_each(|text| add("principal", text));
    row.firm().into_iter().for_each(|text| add("firm", text));
    row.symbols().for_each(|text| add("symbol", &text));
    row.codes().for_each(|text| add("code", text));
    row.order_names().for_each(|text| add("order", &text));
}

fn term(what: &str, text: &str) -> Vec<u8> {
    [what.as_bytes(), b" ", text.as_bytes()].concat()
}

/// What of a filter an index can answer. A session's first digits and the log's own kinds are left to the filter.
fn query(filter: &Filter) -> Query {
    let key = |what: &str, text: &str| Key::Term(term(what, text));
    let kind = |name: &String| {
        Event::KINDS.iter().find(|(_, other)| *other == name).map(|(kind, _)| Key::Kind(*kind))
    };
    let by_number = || BY_NUMBER.iter().filter_map(|name| kind(&(*name).to_owned()));
    let mut all = Vec::new();
    if let Some(kinds) =
        filter.kind.iter().map(kind).collect::<Option<Vec<_>>>().filter(|kinds| !kinds.is_empty())
    {
        all.push(kinds);
    }
    all.extend(filter.principal.as_ref().map(|text| vec![key("principal", text), key("firm", text)]));
    all.extend(filter.firm.as_ref().map(|text| vec![key("firm", text)]));
    all.extend(filter.symbol.as_ref().map(|text| by_number().chain([key("symbol", text)]).collect()));
    all.extend(filter.code.as_ref().map(|text| vec![key("code", text)]));
    all.extend(filter.order.as_ref().map(|text| {
        let number = text.parse().ok().map(Key::Order);
        number.into_iter().chain([key("order", text)]).collect()
    }));
    let session = filter.session.as_ref().and_then(|text| sealfeed_audit::hash_from_hex(text));
    all.extend(session.map(|id| vec![Key::Session(id)]));
    // What the numbers mean is said once and holds from then on.
    let always = if filter.symbol.is_some() { by_number().take(2).collect() } else { Vec::new() };
    Query { all, from_ns: filter.from, until_ns: filter.until, always }
}

/// Entries of a log that a filter may let through: all of them, or those that indexes lead to.
pub(super) enum Found {
    All(Entries),
    Searched(Search),
}

impl Found {
    /// Reads the whole log unless `index`.
    pub(super) fn new(directory: &Path, filter: &Filter, index: bool) -> anyhow::Result<Self> {
        if index {
            Ok(Self::Searched(search(directory, query(filter))?))
        } else {
            open(directory).map(Self::All)
        }
    }

    /// Says on standard error what was not read.
    pub(super) fn say(&self) {
        let Self::Searched(search) = self else { return };
        let tally = search.tally();
        anstream::eprintln!(
            "sealfeed: found by index: {} segments searched through theirs ({} entries read, {} skipped), {} read whole; \
            what an index leaves out is not shown, without --index everything is read",
            tally.indexed,
            tally.read,
            tally.skipped,
            tally.scanned
        );
    }
}

impl Iterator for Found {
    type Item = Result<Entry, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::All(entries) => entries.next(),
            Self::Searched(search) => search.next(),
        }
    }
}

/// Entries of the pieces that may hold what is asked for.
pub(super) fn search(directory: &Path, query: Query) -> anyhow::Result<Search> {
    let storage = Arc::new(DiskStorage::new(directory));
    Search::new(storage, terms(), query).with_context(|| format!("cannot read the log in {directory:?}"))
}

/// Entries of one order, and of the pieces around them.
pub(super) fn search_order(directory: &Path, id: u64) -> anyhow::Result<Search> {
    search(directory, Query { all: vec![vec![Key::Order(id)]], ..Query::default() })
}
