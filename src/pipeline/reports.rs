//! The private streams: who reads which execution reports, what is kept of them for resumption, and when they are heard of.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use sealfeed_wire::market::{Heartbeat, encode_heartbeat};
use sealfeed_wire::{StreamKey, StreamSymbol};

use super::SessionHandle;
use super::batch::Batch;
use crate::execute::{Engine, ReportMessage, ReportStream};
use crate::feed::{Missed, Ring, RingBounds, RingBudget};
use crate::types::{Channel, Epoch, OwnerId, OwnerMap, Principal, Sequence, TimeArithmetic as _, UnixNanos};

/// Private streams: one gap-free sequence of execution reports for each principal, and one for each firm, its drop copy.
///
/// Kept for resumption like public ones: while somebody reads, and for a while after that, in a budget of their own.
pub(super) struct Reports {
    heartbeat_ns: u64,
    streams: Streams,
    rings: RingBudget,
}

#[derive(Default)]
struct Streams {
    /// Those that are read or were not long ago, and for as long behind a start those of all principals and firms. Of others no report is encoded.
    owners: OwnerMap<PrivateStream>,
    firms: HashMap<Arc<str>, PrivateStream>,
}

#[derive(Default)]
struct PrivateStream {
    last_sent: UnixNanos,
    readers: Vec<Arc<SessionHandle>>,
    ring: Ring,
    /// When the last reader left.
    left_at: UnixNanos,
}

impl Streams {
    fn of(&mut self, whose: &ReportStream) -> &mut PrivateStream {
        match whose {
            ReportStream::Owner(owner) => self.owners.entry(*owner).or_default(),
            ReportStream::Firm(firm) => self.firms.entry(Arc::clone(firm)).or_default(),
        }
    }

    fn find(&self, whose: &ReportStream) -> Option<&PrivateStream> {
        match whose {
            ReportStream::Owner(owner) => self.owners.get(owner),
            ReportStream::Firm(firm) => self.firms.get(firm),
        }
    }
}

impl Reports {
    pub(super) fn new(heartbeat_ns: u64, rings: RingBounds) -> Self {
        Self { heartbeat_ns, streams: Streams::default(), rings: RingBudget::new(rings) }
    }

    /// Takes over what a run before told: kept as if its last reader had left at `now`. So is what will be told of the streams of all
    /// `principals`: readers may be on their way who had all of it, or were told of a stream in which nothing had happened yet.
    pub(super) fn take_over<'a>(
        &mut self,
        principals: impl Iterator<Item = (OwnerId, &'a Principal)>,
        told: impl IntoIterator<Item = ReportMessage>,
        now: UnixNanos,
    ) {
        for (owner, principal) in principals {
            for whose in [ReportStream::Owner(owner), ReportStream::Firm(principal.firm_shared())] {
                self.streams.of(&whose).left_at = now;
            }
        }
        for ReportMessage { stream, text, .. } in told {
            let stream = self.streams.of(&stream);
            stream.left_at = now;
            stream.ring.push(&text.into(), &mut self.rings);
        }
    }

    /// Tells an owner's report, in the text that `encode` makes: not called where nobody reads and nothing is kept.
    pub(super) fn tell_owner(
        &mut self,
        owner: OwnerId,
        now: UnixNanos,
        batch: &mut Batch,
        encode: impl FnOnce() -> Vec<u8>,
    ) {
        if let Some(stream) = self.streams.owners.get_mut(&owner) {
            stream.tell(&mut self.rings, now, batch, encode);
        }
    }

    /// As [`Reports::tell_owner`], in the drop copy of the owner's firm.
    pub(super) fn tell_firm(
        &mut self,
        firm: &str,
        now: UnixNanos,
        batch: &mut Batch,
        encode: impl FnOnce() -> Vec<u8>,
    ) {
        if let Some(stream) = self.streams.firms.get_mut(firm) {
            stream.tell(&mut self.rings, now, batch, encode);
        }
    }

    /// Begins a session's subscription; again, if there is one.
    pub(super) fn subscribe(&mut self, session: &Arc<SessionHandle>, whose: &ReportStream) {
        let stream = self.streams.of(whose);
        if !stream.readers.iter().any(|reader| reader.number == session.number) {
            stream.readers.push(Arc::clone(session));
        }
    }

    /// What of a stream, whose last message is at `at`, came behind `after`.
    pub(super) fn missed(&self, whose: &ReportStream, after: Sequence, at: Sequence) -> Missed {
        self.streams.find(whose).map_or(Missed::NotHeld, |stream| stream.ring.missed(after, at))
    }

    /// Ends a session's subscription on a private channel; whether there was one.
    pub(super) fn unsubscribe(&mut self, session: &SessionHandle, channel: Channel, now: UnixNanos) -> bool {
        let Streams { owners, firms } = &mut self.streams;
        match channel {
            Channel::Orders => leave(owners.values_mut(), session, now),
            Channel::DropCopy => leave(firms.values_mut(), session, now),
            _ => false,
        }
    }

    /// Forgets a session that has ended.
    pub(super) fn forget(&mut self, session: &SessionHandle, now: UnixNanos) {
        let Streams { owners, firms } = &mut self.streams;
        leave(owners.values_mut().chain(firms.values_mut()), session, now);
    }

    /// Sends heartbeats on streams that have readers and were idle, and forgets those that nobody has read for long.
    pub(super) fn heartbeats(&mut self, engine: &Engine, now: UnixNanos, batch: &mut Batch) {
        let Self { heartbeat_ns, streams: Streams { owners, firms }, rings } = self;
        owners.retain(|owner, stream| {
            if stream.is_silent(*heartbeat_ns, now) {
                stream.beat(key(Channel::Orders, engine.epoch()), engine.last_report(*owner), now, batch);
            }
            stream.is_kept(rings, now)
        });
        firms.retain(|firm, stream| {
            if stream.is_silent(*heartbeat_ns, now) {
                let key = key(Channel::DropCopy, engine.epoch());
                stream.beat(key, engine.last_firm_report(firm), now, batch);
            }
            stream.is_kept(rings, now)
        });
    }
}

/// The stream of a private channel, as notices name it.
pub(super) const fn key(channel: Channel, epoch: Epoch) -> StreamKey {
    StreamKey { channel, symbol: StreamSymbol::All, epoch, delayed_ms: None }
}

/// Takes a session from the readers of streams; whether it was one.
fn leave<'s>(
    streams: impl Iterator<Item = &'s mut PrivateStream>,
    session: &SessionHandle,
    now: UnixNanos,
) -> bool {
    let mut has_left = false;
    for stream in streams {
        let before = stream.readers.len();
        stream.readers.retain(|reader| reader.number != session.number);
        if stream.readers.len() < before {
            stream.left_at = now;
            has_left = true;
        }
    }
    has_left
}

impl PrivateStream {
    fn tell(
        &mut self,
        rings: &mut RingBudget,
        now: UnixNanos,
        batch: &mut Batch,
        encode: impl FnOnce() -> Vec<u8>,
    ) {
        self.last_sent = now;
        // Kept for long: without the room that was left behind its end.
        let message = Bytes::copy_from_slice(&encode());
        self.ring.push(&message, rings);
        self.send(&message, batch);
    }

    /// Whether its readers are due a sign of life.
    fn is_silent(&self, heartbeat_ns: u64, now: UnixNanos) -> bool {
        !self.readers.is_empty() && now.since(self.last_sent) >= heartbeat_ns
    }

    /// Whether it is read, or was not long ago; if not, the room of its messages is given back.
    fn is_kept(&mut self, rings: &mut RingBudget, now: UnixNanos) -> bool {
        let is_kept = !self.readers.is_empty() || now.since(self.left_at) < rings.keep_ns();
        if !is_kept {
            self.ring.clear(rings);
        }
        is_kept
    }

    fn beat(&mut self, stream: StreamKey, seq: Sequence, now: UnixNanos, batch: &mut Batch) {
        self.last_sent = now;
        let mut message = Vec::with_capacity(128);
        encode_heartbeat(&mut message, &Heartbeat { stream, seq, ts: now });
        self.send(&message.into(), batch);
    }

    fn send(&self, message: &Bytes, batch: &mut Batch) {
        for reader in &self.readers {
            batch.send(reader, message.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execute::EngineOptions;
    use crate::types::Instruments;

    const KEEP_NS: u64 = 60;

    #[test]
    fn a_copy_is_made_while_it_is_kept_for_somebody_and_of_no_other_firm() {
        let rings = RingBounds { ring_bytes_max: 1_000, total_bytes_max: 1_000, keep_ns: KEEP_NS };
        let mut reports = Reports::new(10, rings);
        let engine = Engine::new(Arc::new(Instruments::new()), EngineOptions::default());
        let mut batch = Batch::default();
        let is_made = |reports: &mut Reports, batch: &mut Batch, firm: &str, now| {
            let mut is_made = false;
            reports.tell_firm(firm, now, batch, || {
                is_made = true;
                b"{}".to_vec()
            });
            is_made
        };
        assert!(!is_made(&mut reports, &mut batch, "acme", UnixNanos(1)), "nobody ever asked");
        let acme = ReportStream::Firm("acme".into());
        let (seq, text) = (Sequence::default().next(), b"{}".to_vec());
        reports.take_over(
            std::iter::empty(),
            [ReportMessage { stream: acme.clone(), seq, text }],
            UnixNanos(1),
        );
        assert!(is_made(&mut reports, &mut batch, "acme", UnixNanos(2)));
        assert!(!is_made(&mut reports, &mut batch, "beta", UnixNanos(2)));
        let held = reports.missed(&acme, Sequence::default(), seq.next());
        assert_eq!(held, Missed::Held(vec![Bytes::from_static(b"{}"); 2]));
        reports.heartbeats(&engine, UnixNanos(KEEP_NS), &mut batch);
        assert!(is_made(&mut reports, &mut batch, "acme", UnixNanos(KEEP_NS)));
        reports.heartbeats(&engine, UnixNanos(KEEP_NS + 1), &mut batch);
        assert!(!is_made(&mut reports, &mut batch, "acme", UnixNanos(KEEP_NS + 1)));
        assert_eq!(reports.missed(&acme, Sequence::default(), seq), Missed::NotHeld);
        assert_eq!(reports.rings.used_bytes(), 0);
    }
}
