//! A source as the server runs it, for tests: on its thread, behind a channel with room for one batch.

use std::thread::JoinHandle;

use sealfeed::config::SourceConfig;
use sealfeed::shutdown::Shutdown;
use sealfeed::source::{
    Outlet, RecordCounts, Source, SourceBatch, SourceError, SourceFault, SourceStatus, open,
};
use sealfeed::types::{InstrumentId, Instruments, MarketEvent, MarketEventKind};
use tokio::sync::{mpsc, watch};

/// A source that runs: it waits for us all the time.
pub(crate) struct Running {
    pub(crate) batches: mpsc::Receiver<SourceBatch>,
    pub(crate) subscribers: watch::Sender<u32>,
    pub(crate) stop: Shutdown,
    pub(crate) thread: JoinHandle<()>,
}

/// Opens a source and lets it run.
pub(crate) fn start(config: &SourceConfig) -> Result<(Running, Instruments), SourceError> {
    let mut instruments = Instruments::new();
    let source: Source = open(config, &mut instruments)?;
    let (sender, batches) = mpsc::channel(1);
    let (subscribers, standing) = watch::channel(0);
    let stop = Shutdown::new();
    let outlet = Outlet { sender, subscribers: standing, stop: stop.clone() };
    let thread = source.spawn(outlet).unwrap();
    Ok((Running { batches, subscribers, stop, thread }, instruments))
}

/// One thing that a source sent.
#[derive(Debug)]
pub(crate) enum Sent {
    Event(MarketEvent),
    Stale(InstrumentId, SourceFault),
    Whole(InstrumentId),
}

/// All that a recording held, in order.
pub(crate) struct Replay {
    pub(crate) batches: Vec<Vec<MarketEvent>>,
    pub(crate) sent: Vec<Sent>,
    pub(crate) status: SourceStatus,
    pub(crate) instruments: Instruments,
}

impl Replay {
    /// Plays it to its end.
    pub(crate) fn of(config: &SourceConfig) -> Result<Self, SourceError> {
        let (mut running, instruments) = start(config)?;
        let (mut batches, mut sent) = (Vec::new(), Vec::new());
        loop {
            match running.batches.blocking_recv().expect("a status comes last") {
                SourceBatch::Market(events) => {
                    sent.extend(events.iter().copied().map(Sent::Event));
                    batches.push(events);
                }
                SourceBatch::Status(SourceStatus::Stale { instrument, fault, .. }) => {
                    sent.push(Sent::Stale(instrument, fault));
                }
                SourceBatch::Status(SourceStatus::Whole { instrument, .. }) => {
                    sent.push(Sent::Whole(instrument))
                }
                SourceBatch::Status(status) => {
                    assert!(running.batches.blocking_recv().is_none(), "nothing follows the status");
                    running.thread.join().unwrap();
                    return Ok(Self { batches, sent, status, instruments });
                }
                SourceBatch::Orders(orders) => panic!("a recording sends no orders: {orders:?}"),
            }
        }
    }

    pub(crate) fn events(&self) -> impl Iterator<Item = &MarketEvent> {
        self.batches.iter().flatten()
    }

    /// The counts of a recording that came to its end.
    pub(crate) fn ended(&self) -> RecordCounts {
        match &self.status {
            SourceStatus::Ended { counts, .. } => *counts,
            other => panic!("the recording should have ended, not {other:?}"),
        }
    }

    pub(crate) fn traded_nanos(&self) -> u64 {
        let traded = |event: &MarketEvent| match event.kind {
            MarketEventKind::Trade { quantity, .. } => quantity.nanos(),
            _ => 0,
        };
        self.events().map(traded).sum()
    }
}
