//! Counts of events: by kind, of what was refused by kind and code, of sessions that ended by close code.
//!
//! Every counter there can be is made at the start, at a place that follows from its kind and code.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use sealfeed_wire::CloseCode;

use crate::journal::Event;
use crate::types::Code;

/// Kinds of events that carry the code of a refusal.
const REFUSALS: [&str; 5] = ["handshake_refused", "upgrade_refused", "reject", "order_refused", "limit"];

/// Numbers of kinds begin here; below are the log's own.
const FIRST_KIND: u16 = Event::KINDS[0].0;
/// Places for kinds. Whoever adds a kind beyond them is told by the assertion below.
const KINDS_MAX: usize = 128;

const _: () = {
    let mut index = 0;
    while index < Event::KINDS.len() {
        let number = Event::KINDS[index].0;
        assert!(number >= FIRST_KIND && ((number - FIRST_KIND) as usize) < KINDS_MAX);
        index += 1;
    }
};

/// The counters.
#[derive(Debug)]
pub(super) struct EventCounts {
    /// By number of the kind.
    kinds: Box<[AtomicU64]>,
    /// Every code, ascending.
    codes: Box<[Code]>,
    /// By kind of refusal, then by code; the last of each kind is for codes that are not in the table.
    refusals: Box<[AtomicU64]>,
    /// By close code; the last one is for all others.
    disconnects: Box<[AtomicU64]>,
}

fn zeros(count: usize) -> Box<[AtomicU64]> {
    (0..count).map(|_| AtomicU64::new(0)).collect()
}

impl EventCounts {
    pub(super) fn new() -> Self {
        let codes: Box<[Code]> = Code::all().collect();
        Self {
            kinds: zeros(KINDS_MAX),
            refusals: zeros(REFUSALS.len() * (codes.len() + 1)),
            disconnects: zeros(CloseCode::ALL.len() + 1),
            codes,
        }
    }

    /// Counts one event.
    pub(super) fn count(&self, event: &Event) {
        let kind = usize::from(event.kind() - FIRST_KIND);
        if let Some(counter) = self.kinds.get(kind) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        let (refusal, code) = match event {
            Event::HandshakeRefused(event) => (0, &event.code),
            Event::UpgradeRefused(event) => (1, &event.code),
            Event::Reject(event) => (2, &event.code),
            Event::OrderRefused(event) => (3, &event.code),
            Event::Limit(event) => (4, &event.code),
            Event::Disconnect(event) => {
                let known = CloseCode::ALL.binary_search_by_key(&event.close_code, |code| code.number());
                let place = known.unwrap_or(CloseCode::ALL.len());
                self.disconnects[place].fetch_add(1, Ordering::Relaxed);
                return;
            }
            _ => return,
        };
        self.refusals[self.place(refusal, code)].fetch_add(1, Ordering::Relaxed);
    }

    fn place(&self, refusal: usize, code: &str) -> usize {
        let known = Code::parse(code).and_then(|code| self.codes.binary_search(&code).ok());
        refusal * (self.codes.len() + 1) + known.unwrap_or(self.codes.len())
    }
}

/// Writes one counter with its series; those that are not `always` shown only if they ever counted.
fn write<const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    series: impl Iterator<Item = ([(&'static str, String); N], u64)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, count) in series {
        ConstCounter::new(count).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

impl Collector for EventCounts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let kinds = Event::KINDS.iter().map(|(number, name)| {
            let count = load(&self.kinds[usize::from(number - FIRST_KIND)]);
            ([("kind", (*name).to_owned())], count)
        });
        write(&mut encoder, ("events", "Events of the server, by kind"), kinds)?;

        // Most of a thousand pairs never come about: those that have are shown.
        let per_kind = self.codes.len() + 1;
        let refusals = self.refusals.iter().enumerate().filter(|(_, counter)| load(counter) > 0);
        let refusals = refusals.map(|(place, counter)| {
            let code = self.codes.get(place % per_kind).map_or("other", |code| code.as_str());
            let kind = REFUSALS[place / per_kind];
            ([("kind", kind.to_owned()), ("code", code.to_owned())], load(counter))
        });
        write(&mut encoder, ("refusals", "What was refused, by kind of event and code"), refusals)?;

        let disconnects = self.disconnects.iter().enumerate().map(|(place, counter)| {
            let code = CloseCode::ALL.get(place);
            let code = code.map_or_else(|| "other".to_owned(), |code| code.number().to_string());
            ([("close_code", code)], load(counter))
        });
        write(&mut encoder, ("disconnects", "Sessions that ended, by close code"), disconnects)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::event;

    fn reject(code: &str) -> Event {
        let text = String::new();
        event::Reject { principal: text.clone(), op: text.clone(), code: code.to_owned(), detail: text }
            .into()
    }

    #[test]
    fn every_code_of_every_refusal_has_a_counter_of_its_own_and_others_share_one() {
        let counts = EventCounts::new();
        for code in Code::all() {
            counts.count(&reject(code.as_str()));
        }
        counts.count(&reject("SF-ORD-999"));
        counts.count(&reject(""));
        let of_kind = |kind: usize| {
            let per_kind = counts.codes.len() + 1;
            let counters = &counts.refusals[kind * per_kind..(kind + 1) * per_kind];
            counters.iter().map(|counter| counter.load(Ordering::Relaxed)).collect::<Vec<_>>()
        };
        let rejects = of_kind(2);
        assert!(rejects[..rejects.len() - 1].iter().all(|count| *count == 1), "{rejects:?}");
        assert_eq!(rejects.last(), Some(&2));
        for other in [0, 1, 3, 4] {
            assert!(of_kind(other).iter().all(|count| *count == 0));
        }
    }
}
