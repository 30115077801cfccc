//! The state of all books and streams between two events: where a reader can begin.

use std::sync::Arc;

use super::codec::{Origin, decode, encode};
use super::error::TapeError;
use super::instruments::unit;
use crate::feed::{Feed, FeedOptions, RingBounds};
use crate::journal::tape::{MarketState, join_keyframe, split_keyframe};
use crate::types::{Epoch, Instruments, MarketEvent, UnixNanos};

/// A keyframe as it was read.
#[derive(Clone, Debug)]
pub struct Keyframe {
    /// The feed's epoch.
    pub epoch: Epoch,
    /// Number of the event that comes next.
    pub next: u64,
    /// Since when this is the state: when the event before was published, or the run began.
    pub ts_out: UnixNanos,
    /// All instruments of the run.
    pub instruments: Arc<Instruments>,
    /// The streams of every instrument with their positions, and what else its market needs to go on.
    pub markets: Vec<MarketState>,
    /// What makes the books again: of each instrument a `Clear` and its orders, or its best bid and offer.
    pub events: Vec<MarketEvent>,
}

impl Keyframe {
    /// A feed in this state. Given the events behind the keyframe, each with its own `ts_out`, it publishes what the recorded one did,
    /// message for message, on the streams that there are.
    ///
    /// # Errors
    /// [`TapeError::Keyframe`]: state and instruments do not fit each other.
    pub fn feed(&self, heartbeat_ns: u64) -> Result<Feed, TapeError> {
        let mut feed = Feed::new(
            &self.instruments,
            FeedOptions { epoch: self.epoch, heartbeat_ns, rings: RingBounds::NONE },
        );
        if feed.load(&self.markets, &self.events) { Ok(feed) } else { Err(TapeError::Keyframe) }
    }

    /// Reads the content of a keyframe that entry `seq` ends.
    pub(super) fn read(
        content: &[u8],
        instruments: &Instruments,
        seq: u64,
    ) -> Result<(Vec<MarketState>, Vec<MarketEvent>), TapeError> {
        let what = "its content is no keyframe";
        let (markets, mut records) = split_keyframe(content).ok_or(TapeError::Entry { seq, what })?;
        let mut events = Vec::new();
        while !records.is_empty() {
            let (event, _) = decode(&mut records, |id| instruments.by_id(id).map(unit))
                .map_err(|source| TapeError::Record { seq, source })?;
            events.push(event);
        }
        if markets.len() == instruments.count() { Ok((markets, events)) } else { Err(TapeError::Keyframe) }
    }
}

/// The content of a keyframe of `feed` as it stands; `None` between the records of an event.
pub(super) fn content(feed: &Feed, units: &[u64], ts_out: UnixNanos) -> Option<Vec<u8>> {
    let (mut events, mut records) = (Vec::new(), Vec::new());
    let markets = feed.save(&mut events)?;
    for event in &events {
        let unit = units.get(event.instrument.index()).copied().unwrap_or(1);
        encode(event, ts_out, unit, Origin::Snapshot, &mut records);
    }
    join_keyframe(&markets, &records).ok()
}
