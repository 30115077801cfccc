//! What tells where a life belongs: genesis or PRUNE, the `connect` of each session with its certificates, and the clock before and after.

use std::collections::{BTreeMap, BTreeSet};

use super::events;
use super::found::Found;
use crate::entry::Header;
use crate::kind;
use crate::reader::Entry;

/// Picks these out of the entries of a log, which come in order; others may be left out.
pub(super) struct Around<'a> {
    life: &'a Found,
    covered: u64,
    first: Header,
    last: Header,
    run: u64,
    /// The first entry of this run with each chain of certificates, by the SHA-256 of its first.
    chains: BTreeMap<String, Entry>,
    /// Sessions of the life whose `connect` and chain were found.
    known: BTreeSet<[u8; 32]>,
    kept: BTreeMap<u64, Entry>,
    clock: Option<Entry>,
    clock_after: Option<Entry>,
    prune: Option<Entry>,
}

impl<'a> Around<'a> {
    /// `None` for a life without entries.
    pub(super) fn new(life: &'a Found, covered: u64) -> Option<Self> {
        let (first, last) = (life.entries.first()?.header, life.entries.last()?.header);
        let (chains, known, kept) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        let (run, clock, clock_after, prune) = (0, None, None, None);
        Some(Self { life, covered, first, last, run, chains, known, kept, clock, clock_after, prune })
    }

    /// Whether nothing that is looked for, but a PRUNE, can stand at this entry or behind it.
    pub(super) fn is_complete(&self, seq: u64) -> bool {
        seq > self.last.seq && (self.clock_after.is_some() || self.run != self.last.run)
    }

    /// Whether every session has its `connect` and its certificates, and the clock was asked before the life.
    pub(super) fn knows_all(&self) -> bool {
        self.known == self.life.sessions && self.clock.is_some()
    }

    /// Looks at the next entry.
    pub(super) fn take(&mut self, entry: Entry) {
        let (header, first, last) = (entry.header, self.first, self.last);
        if header.seq >= self.covered {
            return;
        }
        if header.run != self.run {
            self.run = header.run;
            self.chains.clear();
        }
        match header.kind {
            kind::GENESIS => drop(self.kept.insert(header.seq, entry)),
            kind::PRUNE => self.prune = Some(entry),
            kind::CLOCK if header.seq < first.seq && header.run == first.run => self.clock = Some(entry),
            kind::CLOCK if header.seq > last.seq && header.run == last.run => {
                self.clock_after.get_or_insert(entry);
            }
            events::CERTIFICATE if header.seq < last.seq => {
                let sha256 = events::certificate(&entry.payload).map(|told| told.sha256.to_owned());
                if let Some(sha256) = sha256 {
                    self.chains.entry(sha256).or_insert(entry);
                }
            }
            events::CONNECT
                if header.seq < last.seq
                    && header.session.is_some_and(|session| self.life.sessions.contains(&session.id)) =>
            {
                let chain = events::connect(&entry.payload, header.schema)
                    .and_then(|told| self.chains.get(told.certificate));
                if let Some(chain) = chain {
                    self.known.extend(header.session.map(|session| session.id));
                    self.kept.insert(chain.header.seq, chain.clone());
                }
                self.kept.insert(header.seq, entry);
            }
            _ => {}
        }
    }

    /// What was picked, by number.
    pub(super) fn entries(mut self) -> BTreeMap<u64, Entry> {
        let pruned = self.prune.filter(|_| self.life.first_kept > 0);
        let more = [self.clock, self.clock_after, pruned].into_iter().flatten();
        self.kept.extend(more.map(|entry| (entry.header.seq, entry)));
        self.kept
    }
}
