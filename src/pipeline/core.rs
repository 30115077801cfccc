//! The state that the pipeline owns, and the turn of each kind of command.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use sealfeed_audit::Turn;
use sealfeed_wire::CloseCode;
use sealfeed_wire::reply::Done;
use tokio::sync::{mpsc, watch};

use super::answers::encoded;
use super::batch::{Batch, Output};
use super::begin::Snapshots;
use super::delayed::DelayedFeeds;
use super::moves::Moves;
use super::paper::Papers;
use super::publish::Publishers;
use super::recovery::Recoveries;
use super::reloads::Reloads;
use super::reports::Reports;
use super::retell::Retellings;
use super::standing::Subscriptions;
use super::synthetic::SyntheticOrders;
use super::withdraw::SessionEnd;
use super::{Command, SessionHandle};
use crate::clock::Clock;
use crate::config::{FeedConfig, OrdersConfig};
use crate::execute::{Engine, EngineOptions, Restored};
use crate::feed::tape::{Keyframe, Recorder};
use crate::feed::{Ending, Feed, FeedOptions, RingBounds};
use crate::gate::{Gate, NonceFill};
use crate::journal::{Journal, JournalError, Space, event};
use crate::source::{PublisherTerms, SourceBatch, SourceStatus};
use crate::types::{Code, Epoch, InstrumentId, Instruments, MarketEvent, OwnerId, Principal, UnixNanos};

/// What a pipeline is made of.
pub struct PipelineOptions {
    /// All instruments.
    pub instruments: Arc<Instruments>,
    /// Which of them each source feeds: they are stale when it ends.
    pub source_instruments: HashMap<Arc<str>, Vec<InstrumentId>>,
    /// Clients that publish, with their instruments.
    pub publishers: Vec<PublisherTerms>,
    /// Freshness and memory of orders.
    pub orders: OrdersConfig,
    /// Heartbeats.
    pub feed: FeedConfig,
    /// Name of this run: of the sequence numbers that do not go on from an earlier one.
    pub epoch: Epoch,
    /// What the venue starts from. Its first identifier is above all that earlier runs of the log gave out.
    pub engine: EngineOptions,
}

/// Everything that changes, with its one owner.
pub struct Core {
    pub(super) instruments: Arc<Instruments>,
    pub(super) journal: Journal,
    pub(super) gate: Gate,
    pub(super) engine: Engine,
    pub(super) feed: Feed,
    pub(super) answers_max: usize,
    pub(super) reports: Reports,
    pub(super) subscriptions: Subscriptions,
    pub(super) moves: Moves,
    pub(super) synthetic: SyntheticOrders,
    pub(super) publishers: Publishers,
    pub(super) papers: Papers,
    /// Room on the log's disk, as last reported to the operator.
    space: Space,
    source_instruments: HashMap<Arc<str>, Vec<InstrumentId>>,
    subscription_count: watch::Sender<u32>,
    pub(super) tape: Option<Recorder>,
    /// Where the tape lies.
    tape_directory: PathBuf,
    pub(super) retellings: Retellings,
    pub(super) delayed: DelayedFeeds,
    /// Its books and streams go on from an earlier run.
    pub(super) goes_on: bool,
    /// What the runs before left, until this one begins.
    pub(super) restored: Option<Box<Restored>>,
    pub(super) snapshots: Snapshots,
    /// Sessions that have logged out and not ended yet, and whether their orders are to go with them.
    logged_out: HashMap<u64, bool>,
    pub(super) engine_options: EngineOptions,
    pub(super) reloads: Reloads,
}

impl Core {
    /// A core with nothing in it.
    #[must_use]
    pub fn new(options: &PipelineOptions, journal: Journal) -> Self {
        let FeedConfig {
            heartbeat_ms,
            resume_stream_bytes_max,
            resume_bytes_max,
            resume_keep_ms,
            flush_interval_us: _,
        } = options.feed;
        let heartbeat_ns = heartbeat_ms * 1_000_000;
        let rings = RingBounds {
            ring_bytes_max: resume_stream_bytes_max,
            total_bytes_max: resume_bytes_max,
            keep_ns: resume_keep_ms * 1_000_000,
        };
        Self {
            gate: Gate::new(&options.orders),
            engine: Engine::new(Arc::clone(&options.instruments), options.engine),
            feed: Feed::new(&options.instruments, FeedOptions { epoch: options.epoch, heartbeat_ns, rings }),
            instruments: Arc::clone(&options.instruments),
            journal,
            answers_max: options.orders.client_order_ids_max,
            reports: Reports::new(heartbeat_ns, rings),
            subscriptions: Subscriptions::default(),
            moves: Moves::default(),
            synthetic: SyntheticOrders::default(),
            publishers: Publishers::new(&options.publishers),
            papers: Papers::new(&options.instruments),
            space: Space::default(),
            source_instruments: options.source_instruments.clone(),
            subscription_count: watch::Sender::new(0),
            tape: None,
            tape_directory: PathBuf::new(),
            retellings: Retellings::default(),
            delayed: DelayedFeeds::default(),
            goes_on: false,
            restored: None,
            logged_out: HashMap::new(),
            snapshots: Snapshots::every(options.orders.snapshot_inputs),
            engine_options: options.engine,
            reloads: Reloads::default(),
        }
    }

    /// The same core, which records all market data that it publishes, and has what clients missed read from there.
    #[must_use]
    pub fn with_tape(self, tape: Recorder, directory: PathBuf) -> Self {
        Self { tape: Some(tape), tape_directory: directory, ..self }
    }

    /// Starts what reads the tape for clients, if there is one.
    pub(super) fn begin_reading(
        &mut self,
        commands: &mpsc::Sender<Command>,
        clock: &Clock,
    ) -> std::io::Result<()> {
        if self.tape.is_some() {
            let directory = self.tape_directory.clone();
            let recoveries = Recoveries::start(directory.clone(), commands.downgrade(), clock.clone())?;
            self.retellings.start(recoveries);
            let options = self.feed.options();
            self.delayed.start(directory, commands.downgrade(), clock.clone(), options);
        }
        Ok(())
    }

    /// Whether what is published is recorded.
    pub(super) fn is_taped(&self) -> bool {
        self.tape.as_ref().is_some_and(|tape| !tape.has_failed())
    }

    /// Whether it was recorded once, and is not any more.
    pub(super) fn is_given_up(&self) -> bool {
        self.tape.as_ref().is_some_and(Recorder::has_failed)
    }

    /// Lets what was published so far go to the tape now: somebody reads there.
    pub(super) fn hurry_tape(&mut self) {
        if let Some(tape) = &mut self.tape {
            tape.flush();
        }
    }

    /// Lets books and streams of the market go on where an earlier run ended; `false`, and they begin anew, if that had other
    /// instruments. Private streams are not on the tape: they go on with the orders, from the log.
    #[must_use]
    pub fn go_on(&mut self, keyframe: &Keyframe, now: UnixNanos) -> bool {
        self.goes_on = self.feed.go_on(keyframe, &self.instruments, now);
        self.goes_on
    }

    /// How full the memory of nonces is, to be watched.
    #[must_use]
    pub fn nonce_fill(&self) -> NonceFill {
        self.gate.nonce_fill()
    }

    /// How many subscriptions to market data stand, for sources that wait for them.
    #[must_use]
    pub fn subscription_count(&self) -> watch::Receiver<u32> {
        self.subscription_count.subscribe()
    }

    /// The number of a principal; a new one is sealed before anything is done under it.
    pub(super) fn owner(&mut self, principal: &Principal) -> Result<OwnerId, JournalError> {
        if let Some(owner) = self.engine.owner(principal) {
            return Ok(owner);
        }
        let event = self.engine.add_owner(principal);
        let owner = OwnerId(event.number);
        self.journal.record(event)?;
        Ok(owner)
    }

    /// What is recorded until this is dropped belongs together: what depends on it waits for one write of the log.
    pub(super) fn turn(&self) -> Turn {
        self.journal.turn()
    }

    /// Takes one command.
    pub(super) fn handle(
        &mut self,
        command: Command,
        now: UnixNanos,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        self.end_day_if_over(now, batch)?;
        match command {
            Command::Subscribe { session, id, request } => {
                self.subscribe_with(&session, id, &request, None, now, batch)?
            }
            Command::LookedUp { session, id, request, findings } => {
                self.looked_up(&session, id, &request, findings, now, batch)?;
            }
            Command::Delayed { slot, delayed } => self.take_delayed(slot, delayed, now, batch)?,
            Command::Retold { number, session, key, retelling } => {
                self.retold(number, &session, key, retelling, batch)?;
            }
            Command::Unsubscribe { session, id, request } => {
                self.unsubscribe(&session, id, &request, now, batch)?
            }
            Command::Order { session, id, order } => self.order(&session, id, *order, now, batch)?,
            Command::OrderStatus { session, id, client_order_id } => {
                self.order_status(&session, id, client_order_id, batch);
            }
            Command::Logout { session, id, cancel_orders } => {
                self.logged_out.insert(session.number, cancel_orders);
                batch.send(
                    &session,
                    encoded(&Done { id, token_expires: None, rate_limits: session.rate_limits() }),
                );
                let ending = Ending { close: CloseCode::Normal, reason: None };
                batch.finish(&session, ending, None);
            }
            Command::Finish { session, ending, notice } => batch.finish(&session, ending, notice),
            Command::Resync { session, stream, subscription, after } => {
                self.resync(&session, (stream, subscription), after, now, batch)?;
            }
            Command::Entitle { session, entitlement, notice } => {
                self.entitle(&session, entitlement, *notice, now, batch)?;
            }
            Command::Reloaded { session, id, result } => Self::reloaded(&session, id, result, batch),
            Command::Revoke(revoked) => self.revoke(&revoked, now, batch)?,
            Command::Delivered { session, ranges } => self.delivered(&session, &ranges)?,
            Command::Closed { session, delivered, event, is_last } => {
                self.delivered(&session, &delivered)?;
                let ending = match self.logged_out.remove(&session.number) {
                    Some(cancel_orders) => SessionEnd::LoggedOut { cancel_orders },
                    None if event.close_code == CloseCode::CertificateRevoked.number()
                        && session
                            .entitlement()
                            .orders
                            .as_ref()
                            .is_none_or(|rights| rights.cancel_on_revocation) =>
                    {
                        SessionEnd::Revoked
                    }
                    None => SessionEnd::Gone { is_last },
                };
                self.closed(&session, event, now, batch)?;
                self.withdraw_with(&session, ending, now, batch)?;
            }
        }
        self.subscription_count.send_if_modified(|count| {
            let now = u32::try_from(self.subscriptions.count()).unwrap_or(u32::MAX);
            std::mem::replace(count, now) != now
        });
        Ok(())
    }

    /// Takes a batch of a source.
    pub(super) fn take(
        &mut self,
        source: SourceBatch,
        now: UnixNanos,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        self.end_day_if_over(now, batch)?;
        match source {
            SourceBatch::Market(events) => {
                for event in &events {
                    self.publish(event, now, batch);
                    self.take_paper_event(event, now, batch)?;
                }
                Ok(())
            }
            SourceBatch::Orders(orders) => self.trade_synthetic(&orders, now, batch),
            SourceBatch::Status(status) => self.source_status(&status, now, batch),
        }
    }

    /// Tells the operator when room on the log's disk becomes short, and when there is enough again.
    fn report_space(&mut self) {
        let space = self.journal.space();
        if space == self.space {
            return;
        }
        self.space = space;
        match space {
            Space::Ample => tracing::info!("the log's disk has room again"),
            Space::Low => {
                tracing::error!("the log's disk is getting full: make room, or move old segments away")
            }
            Space::Critical => tracing::error!(
                code = %Code::AudLowSpace,
                "the log's disk is nearly full: new orders are refused until there is room"
            ),
        }
    }

    /// Lets time pass: bars, conflated streams, heartbeats, and what is kept for resumption.
    pub(super) fn tick(&mut self, now: UnixNanos, batch: &mut Batch) -> Result<(), JournalError> {
        self.report_space();
        self.end_day_if_over(now, batch)?;
        self.fire_dead_men(now, batch)?;
        self.find_silent_publishers(now, batch)?;
        self.feed.tick(now, &mut batch.publications);
        batch.publish();
        self.tick_delayed(now, batch);
        self.reports.heartbeats(&self.engine, now, batch);
        Ok(())
    }

    /// Ends a turn: says what auction calls come to now, and lets what was recorded for long enough go to the tape.
    pub(super) fn end_turn(&mut self, now: UnixNanos, batch: &mut Batch) {
        self.indicate(now, batch);
        if let Some(tape) = &mut self.tape {
            tape.end_turn(&self.feed, now);
        }
    }

    /// Records and publishes one market event.
    pub(super) fn publish(&mut self, event: &MarketEvent, now: UnixNanos, batch: &mut Batch) {
        if let Some(tape) = &mut self.tape {
            tape.record(event, now);
        }
        self.feed.apply(event, now, &mut batch.publications);
        batch.publish();
    }

    fn source_status(
        &mut self,
        status: &SourceStatus,
        now: UnixNanos,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        let (source, state, detail) = match status {
            SourceStatus::Restarted { source, counts } => (source, "restarted", format!("{counts:?}")),
            SourceStatus::Ended { source, counts } => (source, "ended", format!("{counts:?}")),
            SourceStatus::Failed { source, error, counts } => {
                (source, "failed", format!("{} {}; {counts:?}", error.code(), crate::telemetry::chain(error)))
            }
            SourceStatus::Stale { source, instrument, fault } => {
                (source, "stale", format!("{}: {} {fault}", self.symbol_of(*instrument), fault.code()))
            }
            SourceStatus::Whole { source, instrument } => (source, "whole", self.symbol_of(*instrument)),
            SourceStatus::Stalled { source, silent_ms } => {
                (source, "stalled", format!("{} silent for {silent_ms} ms", Code::PubSourceStalled))
            }
            SourceStatus::Resumed { source } => (source, "resumed", String::new()),
        };
        let stale = match status {
            SourceStatus::Restarted { .. } | SourceStatus::Whole { .. } | SourceStatus::Resumed { .. } => &[],
            SourceStatus::Stale { instrument, .. } => std::slice::from_ref(instrument),
            SourceStatus::Ended { .. } | SourceStatus::Failed { .. } | SourceStatus::Stalled { .. } => {
                self.source_instruments.get(source).map_or(&[][..], Vec::as_slice)
            }
        };
        if stale.is_empty() {
            tracing::info!(%source, state, detail, "source");
        } else {
            tracing::warn!(%source, state, detail, "source: its instruments are stale");
        }
        for instrument in stale {
            self.feed.mark_stale(*instrument, now, &mut batch.publications);
        }
        batch.publish();
        let event = event::Source { source: source.to_string(), state: state.to_owned(), detail };
        batch.depends_on(self.journal.record(event)?);
        Ok(())
    }

    pub(super) fn symbol_of(&self, instrument: InstrumentId) -> String {
        self.instruments.by_id(instrument).map_or_else(String::new, |one| one.symbol.to_string())
    }

    fn closed(
        &mut self,
        session: &Arc<SessionHandle>,
        event: event::Disconnect,
        now: UnixNanos,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        self.end_retelling(session)?;
        for ended in self.subscriptions.remove_session(session.number) {
            self.leave(ended.stream, now);
            if ended.was_live() {
                batch.outputs.push(Output::Forget { stream: ended.stream, reader: session.number });
            }
        }
        self.moves.forget(session.number);
        self.reports.forget(session, now);
        self.publisher_gone(session, now, batch)?;
        self.journal.record_in(&session.trail, event).map(drop)
    }
}
