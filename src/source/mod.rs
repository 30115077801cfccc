//! Where market data comes from: recorded files of exchanges and the synthetic market.
//!
//! [`open`] reads what can be known beforehand and registers the instruments; [`Source::spawn`] then runs the
//! source on a thread of its own, which hands [`SourceBatch`]es to a bounded channel (one channel a source). When the
//! channel is full the source waits: it never drops and never runs ahead by more than one batch. A source
//! decides nothing about what is published, and what it cannot read it reports; it never makes up data.

mod batch;
mod dbn;
mod error;
mod fault;
mod file;
#[doc(hidden)]
pub mod fuzzing;
mod itch;
mod messages;
mod outlet;
mod publisher;
mod replay;
#[cfg(test)]
mod replay_tests;
mod step;
mod synthetic;
#[cfg(test)]
mod test_port;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use crate::config::{Playback, SourceConfig};
use crate::telemetry;
use crate::types::Instruments;

pub use batch::{
    BATCH_COUNT_MAX, Member, OrderSlot, RecordCounts, SourceBatch, SourceStatus, SyntheticOrder,
    SyntheticTerms,
};
pub use error::SourceError;
pub use fault::SourceFault;
pub use outlet::Outlet;
pub use publisher::{PublisherTerms, open_publisher};
pub use synthetic::SYMBOLS_MAX;

use messages::Exchange;
use outlet::{Halt, Port, RealTimer, Timer};
use replay::{Records, Replay};

/// A source that is open and has registered its instruments.
#[derive(Debug)]
pub struct Source {
    name: Arc<str>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Recording(Box<dyn Records + Send>, Playback),
    Synthetic(Box<synthetic::SyntheticMarket>),
}

/// Opens a source that runs on a thread, and adds its instruments to the table. A publisher does not: [`open_publisher`].
///
/// A recording is read up to its 10,000,000th record (messages: its 1,000,000th line; about a second) to learn the decimals and the price
/// step of its instruments, which the file does not say. A fault behind its header is not reported here but
/// by the run, once everything in front of it was sent.
///
/// # Errors
/// [`SourceError`] when the file cannot be opened, is of another kind, holds no record, or when a symbol is
/// unfit or taken. Instruments may have been added then: the table is of no more use.
pub fn open(config: &SourceConfig, instruments: &mut Instruments) -> Result<Source, SourceError> {
    let (records, playback): (Box<dyn Records + Send>, _) = match config {
        SourceConfig::Dbn(config) => {
            (Box::new(dbn::Recording::open(config, instruments)?), config.playback())
        }
        SourceConfig::Kraken(config) => {
            (messages::open(Exchange::Kraken, config, instruments)?, config.playback())
        }
        SourceConfig::Okx(config) => (messages::open(Exchange::Okx, config, instruments)?, config.playback()),
        SourceConfig::Binance(config) => {
            (messages::open(Exchange::Binance, config, instruments)?, config.playback())
        }
        SourceConfig::Coinbase(config) => {
            (messages::open(Exchange::Coinbase, config, instruments)?, config.playback())
        }
        SourceConfig::Itch(config) => {
            (Box::new(itch::Recording::open(config, instruments)?), config.playback())
        }
        // Its data comes through the gate: `open_publisher` has its terms, and there is nothing to run.
        SourceConfig::Publisher(_) => return Err(SourceError::Empty),
        SourceConfig::Synthetic(config) => {
            let market = synthetic::SyntheticMarket::open(config, instruments)?;
            return Ok(Source { name: "synthetic".into(), kind: Kind::Synthetic(Box::new(market)) });
        }
    };
    let path = config.path().unwrap_or(Path::new(""));
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into();
    Ok(Source { name, kind: Kind::Recording(records, playback) })
}

impl Source {
    /// The file's name, or `synthetic`.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether it tells from the beginning again whenever it runs: a recording. A synthetic market trades on.
    #[must_use]
    pub const fn begins_anew(&self) -> bool {
        matches!(self.kind, Kind::Recording(..))
    }

    /// How many members its synthetic market has; 0 for a recording.
    #[must_use]
    pub fn members(&self) -> u32 {
        match &self.kind {
            Kind::Recording(..) => 0,
            Kind::Synthetic(_) => synthetic::MEMBERS,
        }
    }

    /// How many orders its synthetic market can have resting at once; 0 for a recording.
    #[must_use]
    pub fn order_slots(&self) -> u32 {
        match &self.kind {
            Kind::Recording(..) => 0,
            Kind::Synthetic(market) => market.order_slots(),
        }
    }

    /// Runs the source on a thread of its own until it ends, fails, or is stopped.
    ///
    /// # Errors
    /// The system's reason when it refuses the thread.
    pub fn spawn(self, outlet: Outlet) -> io::Result<JoinHandle<()>> {
        Builder::new().name("source".to_owned()).spawn(move || self.run(outlet))
    }

    fn run(self, outlet: Outlet) {
        match outlet::runtime() {
            Ok(runtime) => self.run_on(Port::new(outlet, runtime, RealTimer::start())),
            Err(error) => {
                let counts = RecordCounts::default();
                let status = SourceStatus::Failed { source: self.name, error, counts };
                // Nobody is left to tell when this fails.
                let _ = outlet.sender.blocking_send(SourceBatch::Status(status));
            }
        }
    }

    fn run_on<T: Timer>(self, mut port: Port<T>) {
        let Self { name, kind } = self;
        tracing::info!(source = %name, "source started");
        let (outcome, counts) = match kind {
            Kind::Recording(mut records, playback) => {
                (Replay::new(&name, playback, &mut port).run(&mut *records), records.counts())
            }
            Kind::Synthetic(mut market) => (Err(market.run(&mut port).into()), RecordCounts::default()),
        };
        let status = match outcome {
            Ok(()) => {
                tracing::info!(source = %name, ?counts, "source ended");
                SourceStatus::Ended { source: name, counts }
            }
            Err(Halt::Failed(error)) => {
                tracing::error!(source = %name, ?counts, error = %telemetry::chain(&error), "source failed");
                SourceStatus::Failed { source: name, error, counts }
            }
            Err(Halt::Stopped) => return,
        };
        // Nobody is left to tell when this fails.
        let _ = port.send(SourceBatch::Status(status));
    }
}
