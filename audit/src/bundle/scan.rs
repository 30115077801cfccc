//! The life of an order and what stands around it, found by reading the log: all of it once, the server's run a second time.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::around::Around;
use super::found::Found;
use super::make::{MakeError, Wanted};
use crate::entry::EntryRef;
use crate::nodes::Nodes;
use crate::reader::{Entries, Entry};
use crate::storage::Storage;

/// The whole life, and the tree's nodes that are read with it.
pub(super) fn life(
    storage: &Arc<dyn Storage>,
    mut wanted: Wanted<'_>,
    covered: u64,
) -> Result<(Found, Nodes), MakeError> {
    let mut numbered = wanted.number.map(Found::new);
    let mut named: Option<Found> = None;
    // The run that is being read, and where it began.
    let (mut run, mut run_start) = (None, 0);
    let nodes = Nodes::read_whole(Arc::clone(storage), |entry, hash, place| {
        let header = entry.header;
        if run.replace(header.run) != Some(header.run) {
            run_start = header.seq;
        }
        let Some(link) = header.order else { return };
        let owned = |entry: &EntryRef<'_>| Entry {
            header,
            payload: entry.payload.to_vec(),
            hash: *hash,
            segment: place.segment,
            offset: place.offset,
        };
        if link.event == 0
            && let Some(is_first) = &mut wanted.is_first
            && is_first(&owned(entry))
        {
            named = Some(Found::new(link.id));
        }
        for found in [&mut numbered, &mut named].into_iter().flatten().filter(|found| found.order == link.id)
        {
            if found.is_empty() {
                found.run_start = run_start;
            }
            found.take(owned(entry), covered);
        }
    })?;
    if nodes.size() < covered {
        // Where reading in order stops, and why.
        Entries::new(Arc::clone(storage), nodes.size())?.find_map(Result::err).map_or(Ok(()), Err)?;
    }
    let numbered_begins = numbered.as_ref().is_some_and(Found::has_beginning);
    let found = if numbered_begins { numbered } else { named.or(numbered) };
    let mut found = found.ok_or(MakeError::NotFound)?;
    found.first_kept = nodes.first();
    Ok((found.whole(covered)?, nodes))
}

/// The entries that tell where the life belongs.
pub(super) fn around(
    storage: &Arc<dyn Storage>,
    life: &Found,
    covered: u64,
) -> Result<BTreeMap<u64, Entry>, MakeError> {
    let Some(mut around) = Around::new(life, covered) else { return Ok(BTreeMap::new()) };
    if life.first_kept == 0
        && let Some(genesis) = Entries::new(Arc::clone(storage), 0)?.next()
    {
        around.take(genesis?);
    }
    for entry in Entries::new(Arc::clone(storage), life.run_start)? {
        let entry = entry?;
        // A PRUNE may stand anywhere behind.
        if entry.header.seq >= covered || life.first_kept == 0 && around.is_complete(entry.header.seq) {
            break;
        }
        around.take(entry);
    }
    Ok(around.entries())
}
