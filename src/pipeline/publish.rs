//! Market data of publishers: sealed before it leaves, published once, and stale when nobody stands behind it.
//!
//! An instrument belongs to one principal. Its numbers (`pub_seq`) are kept for the run of the server: one that is not above the last is
//! acknowledged and not published again. Until the first publish, and after the session that published last has ended, the instrument is stale and
//! takes nothing but a whole state; after mere silence it goes on with whatever comes.

use std::collections::BTreeMap;
use std::sync::Arc;

use sealfeed_wire::reply::Done;

use super::SessionHandle;
use super::answers::encoded;
use super::batch::Batch;
use super::core::Core;
use super::orders::Message;
use crate::gate::AdmittedPublish;
use crate::journal::{JournalError, Space, event};
use crate::source::PublisherTerms;
use crate::types::{Code, InstrumentId, Principal, TimeArithmetic, UnixNanos};

/// Whether somebody stands behind an instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Nobody has published yet, or the session that did has ended.
    Absent,
    /// What it shows is up to date.
    Live,
    /// Nothing came for too long.
    Silent,
}

/// One instrument of a publisher.
struct Published {
    source: Arc<str>,
    principal: Principal,
    stall_ns: u64,
    standing: Standing,
    /// Last number taken; 0: none yet.
    last_seq: u64,
    /// Digest of the request that had it.
    digest: [u8; 32],
    /// When that came.
    last_at: UnixNanos,
    /// The session that published last.
    session: u64,
}

/// All instruments that clients publish. As many as the configuration names.
#[derive(Default)]
pub(super) struct Publishers(BTreeMap<InstrumentId, Published>);

impl Publishers {
    pub(super) fn new(terms: &[PublisherTerms]) -> Self {
        let each = |terms: &PublisherTerms| Published {
            source: Arc::clone(&terms.source),
            principal: terms.principal.clone(),
            stall_ns: terms.stall_ms.saturating_mul(1_000_000),
            standing: Standing::Absent,
            last_seq: 0,
            digest: [0; 32],
            last_at: UnixNanos::default(),
            session: 0,
        };
        let all = terms.iter().flat_map(|terms| terms.instruments.iter().map(move |id| (*id, each(terms))));
        Self(all.collect())
    }
}

impl Core {
    /// Nobody has published anything yet: whoever subscribes is told so.
    pub(super) fn await_publishers(&mut self) {
        for instrument in self.publishers.0.keys() {
            // There are no readers yet that could be told.
            self.feed.mark_stale(*instrument, UnixNanos::default(), &mut Vec::new());
        }
    }

    /// Takes a `publish` whose nonce is spent.
    pub(super) fn publish_from(
        &mut self,
        message: &Message<'_>,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        if self.journal.space() == Space::Critical {
            return self.refuse(message, Code::AudLowSpace.into(), batch);
        }
        let entitlement = message.session.entitlement();
        let admitted =
            match self.gate.admit_publish(&message.order, &entitlement, &self.instruments, message.now) {
                Ok(admitted) => admitted,
                Err(refused) => return self.refuse(message, refused, batch),
            };
        let instrument = admitted.instrument();
        let own = self.publishers.0.get_mut(&instrument);
        let Some(own) = own.filter(|own| own.principal == message.session.principal) else {
            return self.refuse(message, Code::PubSymbolNotYours.into(), batch);
        };
        if admitted.pub_seq() == own.last_seq && *message.order.digest() != own.digest {
            return self.refuse(message, Code::PubSequenceReused.into(), batch);
        }
        let is_new = admitted.pub_seq() > own.last_seq;
        if is_new && own.standing == Standing::Absent && !admitted.starts_afresh() {
            return self.refuse(message, Code::PubSnapshotMissing.into(), batch);
        }
        let was = own.standing;
        if is_new {
            (own.last_seq, own.digest) = (admitted.pub_seq(), *message.order.digest());
            (own.last_at, own.session, own.standing) = (message.now, message.session.number, Standing::Live);
        }
        let source = Arc::clone(&own.source);
        batch.depends_on(self.record_publish(message, &admitted, is_new)?);
        if is_new {
            if was != Standing::Live {
                self.tell(&source, "resumed", self.symbol_of(instrument), batch)?;
            }
            for event in admitted.events() {
                self.publish(event, message.now, batch);
            }
        }
        batch.send(
            message.session,
            encoded(&Done {
                id: message.id.clone(),
                token_expires: None,
                rate_limits: self.rate_limits(message),
            }),
        );
        Ok(())
    }

    fn record_publish(
        &self,
        message: &Message<'_>,
        admitted: &AdmittedPublish,
        published: bool,
    ) -> Result<u64, JournalError> {
        let order = &message.order;
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let event = event::Publish {
            principal: message.session.principal.to_string(),
            symbol: self.symbol_of(admitted.instrument()),
            pub_seq: admitted.pub_seq(),
            messages: count(admitted.messages()),
            records: count(admitted.events().len()),
            ts: order.ts().0,
            nonce: order.nonce().0,
            mac: order.mac().unwrap_or_default(),
            body: order.body().to_string(),
            received: order.received().0,
            published,
        };
        self.journal.record_in(&message.session.trail, event)
    }

    /// The session has ended: what it published last is stale until its publisher begins afresh.
    pub(super) fn publisher_gone(
        &mut self,
        session: &Arc<SessionHandle>,
        now: UnixNanos,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        let is_its = |one: &Published| one.session == session.number && one.standing != Standing::Absent;
        self.stale_where(is_its, Standing::Absent, ("stale", Code::PubPublisherGone), now, batch)
    }

    /// Finds instruments in which nothing came for too long.
    pub(super) fn find_silent_publishers(
        &mut self,
        now: UnixNanos,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        let is_silent = |one: &Published| {
            one.standing == Standing::Live && one.stall_ns > 0 && now.since(one.last_at) >= one.stall_ns
        };
        self.stale_where(is_silent, Standing::Silent, ("stalled", Code::PubSourceStalled), now, batch)
    }

    fn stale_where(
        &mut self,
        is_meant: impl Fn(&Published) -> bool,
        standing: Standing,
        (state, code): (&str, Code),
        now: UnixNanos,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        let mut meant = Vec::new();
        for (instrument, one) in self.publishers.0.iter_mut().filter(|(_, one)| is_meant(one)) {
            one.standing = standing;
            meant.push((*instrument, Arc::clone(&one.source)));
        }
        for (instrument, source) in meant {
            self.feed.mark_stale(instrument, now, &mut batch.publications);
            batch.publish();
            self.tell(
                &source,
                state,
                format!("{}: {code} {}", self.symbol_of(instrument), code.message()),
                batch,
            )?;
        }
        Ok(())
    }

    /// Seals and logs where a publisher's instrument stands.
    fn tell(
        &self,
        source: &Arc<str>,
        state: &str,
        detail: String,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        tracing::warn!(%source, state, detail, "publisher");
        let event = event::Source { source: source.to_string(), state: state.to_owned(), detail };
        batch.depends_on(self.journal.record(event)?);
        Ok(())
    }
}
