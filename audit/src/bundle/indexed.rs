//! The life of an order and what stands around it, found through the indexes of sealed segments.
//!
//! Every piece that an index leads to is read from the segment and hashed up to the tree in signed headers ([`crate::index`]). What an index
//! can do is hide. A life that it cuts shows as a gap, and then everything is read; behind an order that has not ended the rest of the log is
//! read as well. What stands around the life proves itself by being there; where the `connect` or the certificates of a session, or the clock,
//! are hidden, again everything is read. Only of several words on the clock an older one may be taken.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::around::Around;
use super::events;
use super::found::Found;
use super::make::MakeError;
use crate::follow::segments;
use crate::index::{Key, Query, Search};
use crate::kind;
use crate::layout::{INDEX, index_name};
use crate::reader::{Entries, Entry, ReadError};
use crate::storage::Storage;

/// Whether most sealed segments have an index: what has none is read more than once. Whether an index fits is seen when it is used.
pub(super) fn pays(storage: &dyn Storage) -> bool {
    let (Ok(names), Ok(firsts)) = (storage.list(INDEX), segments(storage)) else { return false };
    let sealed = firsts.len().saturating_sub(1);
    let indexed = firsts.iter().filter(|first| names.contains(&index_name(**first))).count();
    indexed * 2 > sealed
}

/// The whole life; `None` when it is not, or may not be: then only reading everything answers.
pub(super) fn life(
    storage: &Arc<dyn Storage>,
    order: u64,
    covered: u64,
    has_ended: &dyn Fn(&Entry) -> bool,
) -> Result<Option<Found>, MakeError> {
    let firsts = segments(&**storage)?;
    let Some(first_kept) = firsts.first().copied() else { return Ok(None) };
    let is_of_it = |entry: &Entry| entry.header.order.is_some_and(|link| link.id == order);
    let mut found = Found::new(order);
    found.first_kept = first_kept;
    let query = Query { all: vec![vec![Key::Order(order)]], ..Query::default() };
    let (mut last, mut ended) = (0, false);
    for entry in Search::through_existing(Arc::clone(storage), query, firsts.clone(), None) {
        let entry = entry?;
        if is_of_it(&entry) {
            (last, ended) = (entry.header.seq, has_ended(&entry));
            found.take(entry, covered);
        }
    }
    let Ok(mut found) = found.whole(covered) else { return Ok(None) };
    if !ended {
        for entry in Entries::new(Arc::clone(storage), last + 1)? {
            if is_of_it(&entry?) {
                return Ok(None);
            }
        }
    }
    let Some(begins) = found.entries.first().map(|entry| entry.header) else { return Ok(None) };
    found.run_start = first_kept;
    for first in firsts.into_iter().rev().filter(|first| *first <= begins.seq) {
        // The segment that begins in another run, or before the run, holds its start.
        match Entries::new(Arc::clone(storage), first)?.next().transpose()? {
            Some(entry) if entry.header.run == begins.run => {}
            _ => {
                found.run_start = first;
                break;
            }
        }
    }
    Ok(Some(found))
}

/// The entries that tell where the life belongs.
pub(super) fn around(
    storage: &Arc<dyn Storage>,
    life: &Found,
    covered: u64,
) -> Result<BTreeMap<u64, Entry>, MakeError> {
    let (Some(mut around), [first, ..], [.., last]) =
        (Around::new(life, covered), &life.entries[..], &life.entries[..])
    else {
        return Ok(BTreeMap::new());
    };
    let (begins, run, last, last_run) =
        (first.header.seq, first.header.run, last.header.seq, last.header.run);
    let all = segments(&**storage)?;
    let from = |start: u64| {
        let at = all.partition_point(|first| *first <= start).saturating_sub(1);
        all.get(at..).unwrap_or_default().to_vec()
    };
    let search = |start: u64, before: Option<u64>, kinds: &[kind::Kind]| {
        let query =
            Query { all: vec![kinds.iter().map(|kind| Key::Kind(*kind)).collect()], ..Query::default() };
        Search::through_existing(Arc::clone(storage), query, from(start), before)
    };
    let mut picked = BTreeMap::new();
    // A piece has entries of all kinds: kept are those that may matter.
    let mut pick = |entry: Entry| {
        let is_kept = match entry.header.kind {
            events::CONNECT => {
                entry.header.session.is_some_and(|session| life.sessions.contains(&session.id))
            }
            other => matches!(other, kind::GENESIS | kind::PRUNE | kind::CLOCK | events::CERTIFICATE),
        };
        if is_kept {
            picked.insert(entry.header.seq, entry);
        }
    };
    if life.first_kept == 0 {
        Entries::new(Arc::clone(storage), 0)?.next().transpose()?.into_iter().for_each(&mut pick);
    } else {
        for entry in search(0, None, &[kind::PRUNE]) {
            pick(entry?);
        }
    }
    let sessions = life.sessions.iter().map(|id| Key::Session(*id)).collect();
    let query = Query { all: vec![sessions, vec![Key::Kind(events::CONNECT)]], ..Query::default() };
    for entry in Search::through_existing(Arc::clone(storage), query, from(life.run_start), Some(last)) {
        pick(entry?);
    }
    for entry in search(life.run_start, Some(last), &[events::CERTIFICATE]) {
        pick(entry?);
    }
    let is_clock = |entry: &Entry, run: u64| entry.header.kind == kind::CLOCK && entry.header.run == run;
    // Backwards, segment by segment, to the last before the life; then forwards to the first behind it.
    for start in all.iter().rev().filter(|start| (life.run_start..=begins).contains(*start)) {
        let entries =
            search(*start, Some(*start + 1), &[kind::CLOCK]).collect::<Result<Vec<_>, ReadError>>()?;
        let is_before = |entry: &Entry| is_clock(entry, run) && entry.header.seq < begins;
        if let Some(before) = entries.into_iter().rfind(is_before) {
            pick(before);
            break;
        }
    }
    for entry in search(last, None, &[kind::CLOCK]) {
        let entry = entry?;
        if entry.header.seq > last && (is_clock(&entry, last_run) || entry.header.run != last_run) {
            pick(entry);
            break;
        }
    }
    picked.into_values().for_each(|entry| around.take(entry));
    if !around.knows_all() {
        // Not in the log, or hidden: only reading everything tells.
        return Err(MakeError::DoesNotHold("an index leads to no clock or certificate".to_owned()));
    }
    Ok(around.entries())
}
