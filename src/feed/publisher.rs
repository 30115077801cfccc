//! The feed: all instruments' books and streams, owned by the pipeline's thread.

use sealfeed_wire::Level;

use super::book::Book;
use super::market::{Market, Scratch};
use super::stream::{Publication, StreamId, Subscribed};
use crate::journal::tape::MarketState;
use crate::types::{Channel, Code, Depth, Epoch, InstrumentId, Instruments, MarketEvent, Side, UnixNanos};

/// What a feed is told once.
#[derive(Clone, Copy, Debug)]
pub struct FeedOptions {
    /// Names this run of all sequences; another one whenever the feed starts afresh.
    pub epoch: Epoch,
    /// A stream that is read and silent for so long gets a heartbeat, in nanoseconds.
    pub heartbeat_ns: u64,
}

/// Books, streams and their sequence numbers.
///
/// A stream comes into being at its first subscription and then stays: without subscribers it goes on counting what it
/// would have sent, and encodes nothing. What is published is always a whole book: subscribing between the records of one event
/// gives the state before it.
#[derive(Debug)]
pub struct Feed {
    /// By instrument.
    markets: Vec<Market>,
    options: FeedOptions,
    scratch: Scratch,
}

impl Feed {
    /// A feed of empty books.
    #[must_use]
    pub fn new(instruments: &Instruments, options: FeedOptions) -> Self {
        let markets = instruments.iter().map(Market::new).collect();
        Self { markets, options, scratch: Scratch::default() }
    }

    /// Whether this channel can be had for the instrument: its source must show enough.
    #[must_use]
    pub fn offers(&self, channel: Channel, instrument: InstrumentId) -> bool {
        self.markets.get(instrument.index()).is_some_and(|market| market.offers(channel))
    }

    /// Applies one record of a market, and appends to `out` what it publishes at `now`: a trade at once, book and best bid and
    /// offer when the record is the last of its event. A record of an unknown instrument is ignored.
    pub fn apply(&mut self, event: &MarketEvent, now: UnixNanos, out: &mut Vec<Publication>) {
        if let Some(market) = self.markets.get_mut(event.instrument.index()) {
            market.apply(event, now, &mut self.scratch, out);
        }
    }

    /// Counts a subscriber in. `depth` matters to `book` alone.
    ///
    /// # Errors
    /// The instrument is unknown, or does not have the channel.
    pub fn subscribe(
        &mut self,
        channel: Channel,
        instrument: InstrumentId,
        depth: Depth,
        now: UnixNanos,
    ) -> Result<Subscribed, Code> {
        let market = self.markets.get_mut(instrument.index()).ok_or(Code::SubSymbolUnknown)?;
        let id = StreamId::new(instrument, channel, depth).ok_or(Code::SubChannelNotOffered)?;
        if !market.offers(channel) {
            return Err(Code::SubChannelNotOffered);
        }
        Ok(market.subscribe(id, self.options.epoch, now))
    }

    /// Counts a subscriber out that [`Self::subscribe`] counted in.
    pub fn unsubscribed(&mut self, stream: StreamId) {
        let (instrument, kind) = stream.parts();
        if let Some(market) = self.markets.get_mut(instrument.index()) {
            market.unsubscribed(kind);
        }
    }

    /// Appends a heartbeat for every stream that is read and was idle for [`FeedOptions::heartbeat_ns`]. To be called several
    /// times in that span; it looks at every stream.
    pub fn heartbeats(&mut self, now: UnixNanos, out: &mut Vec<Publication>) {
        for market in &mut self.markets {
            market.heartbeats(self.options.heartbeat_ns, now, out);
        }
    }

    /// Says that the source of an instrument stalled or ended: appends a `stale` message for every stream that is read, once,
    /// and gives it to later subscribers. The next record of the instrument's quotes lifts it; where there are only trades, the next trade.
    pub fn mark_stale(&mut self, instrument: InstrumentId, now: UnixNanos, out: &mut Vec<Publication>) {
        if let Some(market) = self.markets.get_mut(instrument.index()) {
            market.mark_stale(now, out);
        }
    }

    /// The book of an instrument; empty where its source shows no orders.
    #[must_use]
    pub fn book(&self, instrument: InstrumentId) -> Option<&Book> {
        self.markets.get(instrument.index()).map(Market::book)
    }

    /// The state of every market, for a keyframe of the tape; appends to `events` what makes their books again. `None`, and nothing of
    /// use in `events`, between the records of an event.
    pub(super) fn save(&self, events: &mut Vec<MarketEvent>) -> Option<Vec<MarketState>> {
        let ids = (0..).map(InstrumentId);
        self.markets.iter().zip(ids).map(|(market, id)| market.save(id, events)).collect()
    }

    /// What makes the books again as they stand, whole: of each instrument a `Clear` and its orders, or its best bid and offer. `None`
    /// between the records of an event.
    #[must_use]
    pub fn books(&self) -> Option<Vec<MarketEvent>> {
        let mut events = Vec::new();
        self.save(&mut events).map(|_| events)
    }

    /// Puts a feed of empty books into a state that was saved; `false` if the state is of other instruments.
    pub(super) fn load(&mut self, states: &[MarketState], events: &[MarketEvent]) -> bool {
        let mut published = Vec::new();
        for event in events {
            // Nothing is published: there are no streams yet.
            self.apply(event, UnixNanos::default(), &mut published);
        }
        let epoch = self.options.epoch;
        let fits = states.len() == self.markets.len();
        let mut markets = self.markets.iter_mut().zip((0..).map(InstrumentId)).zip(states);
        fits && markets.all(|((market, id), state)| market.load(id, state, epoch))
    }

    /// The best level of one side as of the last event that ended; of any source that shows it.
    #[must_use]
    pub fn best(&self, instrument: InstrumentId, side: Side) -> Option<Level> {
        self.markets.get(instrument.index())?.best(side)
    }

    /// Names this run of all sequences.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.options.epoch
    }
}
