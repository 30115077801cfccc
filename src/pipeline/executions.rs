//! What the venue reports, turned into sealed entries, execution reports and market data.

use std::sync::Arc;

use sealfeed_wire::reply::{Subscribed, SubscribedStream};
use sealfeed_wire::{Conflation, OnSlow, RequestId, StreamSymbol, Subscribe};

use super::SessionHandle;
use super::answers::encoded;
use super::batch::Batch;
use super::core::Core;
use super::reports::key;
use super::resume::{Recovery, gap, recover};
use crate::execute::{Cause, ReportStream};
use crate::journal::{JournalError, event};
use crate::types::{Channel, Code, Execution, MarketEvent, UnixNanos};
use crate::venue::VenueEvent;

impl Core {
    /// Records and publishes what the venue did.
    pub(super) fn report(
        &mut self,
        events: &[VenueEvent],
        cause: Cause,
        now: UnixNanos,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        for event in events {
            match event {
                VenueEvent::Execution(execution) => self.report_execution(execution, cause, now, batch)?,
                VenueEvent::Market { instrument, kind, last } => {
                    let event = MarketEvent {
                        instrument: *instrument,
                        ts_event: now,
                        ts_recv: now,
                        last: *last,
                        kind: *kind,
                    };
                    self.publish(&event, now, batch);
                }
            }
        }
        Ok(())
    }

    /// Says what the auction calls come to now, where that has changed since it was said last. Once for all of a turn: what one costs
    /// grows with what has gathered, and a mass cancel takes off thousands.
    pub(super) fn indicate(&mut self, now: UnixNanos, batch: &mut Batch) {
        let Self { feed, engine, .. } = self;
        let said = feed.indications(now, |instrument| engine.last_trade(instrument));
        for event in &said {
            self.publish(event, now, batch);
        }
    }

    fn report_execution(
        &mut self,
        execution: &Execution,
        cause: Cause,
        now: UnixNanos,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        let epoch = self.engine.epoch();
        // Members of the synthetic market read no reports; a re-execution of their sealed inputs brings them back.
        let Some((event, report)) = self.engine.report(execution, cause) else { return Ok(()) };
        batch.depends_on(self.journal.record_of_order(&mut report.record.trail, None, event)?);
        self.reports.tell_owner(execution.owner, now, batch, || report.encode(execution, cause, epoch, now));
        self.reports.tell_firm(report.principal.firm(), now, batch, || {
            report.encode_copy(execution, cause, epoch, now)
        });
        Ok(())
    }

    /// Answers a `subscribe` on one of the private channels.
    pub(super) fn subscribe_to_reports(
        &mut self,
        session: &Arc<SessionHandle>,
        id: Option<RequestId>,
        request: &Subscribe,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        if !session.entitlement().may_read_reports(request.channel) {
            let code = Code::SubChannelNotEntitled;
            return self.reject(session, id, "subscribe", code, request.channel.as_str(), batch);
        }
        // The firm is the certificate's own: nobody can ask for another one.
        let (whose, at) = if request.channel == Channel::DropCopy {
            let firm = session.principal.firm_shared();
            let at = self.engine.last_firm_report(&firm);
            (ReportStream::Firm(firm), at)
        } else {
            let owner = self.owner(&session.principal)?;
            (ReportStream::Owner(owner), self.engine.last_report(owner))
        };
        self.reports.subscribe(session, &whose);
        let epoch = self.engine.epoch();
        let resume = request.resume.first().map(|(_, point)| *point);
        let room = session.resume_bytes_max;
        let missed = |after| self.reports.missed(&whose, after, at);
        let resumed = resume.map(|point| recover(point, epoch, at, missed, room));
        let recovery = Recovery::of(resumed.as_ref());
        let stream = SubscribedStream {
            epoch,
            seq: at,
            recovered: recovery.recovered,
            reason: recovery.reason.map(Into::into),
            price_decimals: None,
            qty_decimals: None,
            tick: None,
            lot: None,
            delayed_ms: None,
            paper: false,
        };
        let reply = Subscribed {
            id,
            channel: request.channel,
            depth: None,
            conflate_ms: Conflation::Off,
            on_slow: OnSlow::Disconnect,
            symbols: [(StreamSymbol::All, stream)].into(),
            refused: std::collections::BTreeMap::new(),
            rate_limits: session.rate_limits(),
        };
        let event = event::Subscribe {
            principal: session.principal.to_string(),
            channel: request.channel.as_str().to_owned(),
            depth: 0,
            granted: vec![StreamSymbol::All.to_string()],
            refused: Vec::new(),
        };
        batch.depends_on(self.journal.record_in(&session.trail, event)?);
        batch.send(session, encoded(&reply));
        match (resume, resumed) {
            (_, Some(Ok(missed))) => missed.into_iter().for_each(|message| batch.send(session, message)),
            (Some(point), Some(Err(_))) => {
                let lost = gap(key(request.channel, epoch), point, at);
                lost.into_iter().for_each(|message| batch.send(session, message));
            }
            _ => {}
        }
        Ok(())
    }
}
