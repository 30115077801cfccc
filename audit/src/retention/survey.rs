//! What a log's entries say about keeping it: ages and kinds by segment, holds, copies, and what was declared pruned.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::kind::{self, Kind};
use crate::layout::Prune;
use crate::payload::{Hold, HoldRange, Stored};
use crate::reader::{Entries, ReadError};
use crate::storage::Storage;

/// One segment as its entries show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SegmentFacts {
    pub(super) first: u64,
    /// One past its last entry.
    pub(super) end: u64,
    pub(super) oldest_utc_ns: u64,
    pub(super) newest_utc_ns: u64,
    pub(super) kinds: BTreeSet<Kind>,
}

/// A hold that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldInForce {
    /// The entry that set it.
    pub seq: u64,
    /// What it says.
    pub hold: Hold,
}

/// All of it, from one pass over the entries.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// In order; never empty in a log.
    pub(super) segments: Vec<SegmentFacts>,
    pub(super) holds: Vec<HoldInForce>,
    pub(super) stored: BTreeMap<u64, Vec<Stored>>,
    /// The furthest that was declared.
    pub(super) pruned: Option<Prune>,
}

impl Survey {
    pub(super) fn of(storage: &Arc<dyn Storage>) -> Result<Self, ReadError> {
        let mut survey = Self::default();
        for entry in Entries::new(Arc::clone(storage), 0)? {
            let entry = entry?;
            let (seq, utc_ns) = (entry.header.seq, entry.header.stamp.utc_ns);
            match survey.segments.last_mut().filter(|last| last.first == entry.segment) {
                Some(last) => {
                    last.end = seq + 1;
                    last.oldest_utc_ns = last.oldest_utc_ns.min(utc_ns);
                    last.newest_utc_ns = last.newest_utc_ns.max(utc_ns);
                    last.kinds.insert(entry.header.kind);
                }
                None => survey.segments.push(SegmentFacts {
                    first: entry.segment,
                    end: seq + 1,
                    oldest_utc_ns: utc_ns,
                    newest_utc_ns: utc_ns,
                    kinds: [entry.header.kind].into(),
                }),
            }
            match entry.header.kind {
                kind::HOLD => survey.hold(seq, Hold::from_payload(&entry.payload)),
                kind::STORED => {
                    if let Some(stored) = Stored::from_payload(&entry.payload) {
                        survey.stored.entry(stored.first).or_default().push(stored);
                    }
                }
                kind::PRUNE => {
                    let prune = Prune::from_payload(&entry.payload);
                    if prune.as_ref().map(|new| new.first_seq())
                        > survey.pruned.as_ref().map(|old| old.first_seq())
                    {
                        survey.pruned = prune;
                    }
                }
                _ => {}
            }
        }
        Ok(survey)
    }

    fn hold(&mut self, seq: u64, hold: Option<Hold>) {
        // A hold that cannot be read holds everything: a newer version may have set it.
        let hold = hold.unwrap_or_else(|| Hold {
            name: format!("entry {seq}"),
            range: Some(HoldRange::All),
            by: "unknown".to_owned(),
            reason: "this version cannot read it".to_owned(),
        });
        self.holds.retain(|other| other.hold.name != hold.name);
        if hold.range.is_some() {
            self.holds.push(HoldInForce { seq, hold });
        }
    }

    /// The hold that keeps a segment, if one does. A hold keeps the entry that set it too, or it would be forgotten.
    pub(super) fn held(&self, segment: &SegmentFacts) -> Option<&HoldInForce> {
        self.holds.iter().find(|held| {
            let own = (segment.first..segment.end).contains(&held.seq);
            own || match held.hold.range {
                None => false,
                Some(HoldRange::All) => true,
                Some(HoldRange::Entries { first, end }) => first < segment.end && segment.first < end,
                Some(HoldRange::Time { from, until }) => {
                    from <= segment.newest_utc_ns && segment.oldest_utc_ns < until
                }
            }
        })
    }
}
