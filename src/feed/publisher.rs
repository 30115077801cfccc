//! The feed: all instruments' books and streams, owned by the pipeline's thread.

use super::book::Book;
use super::market::{Market, Scratch};
use super::stream::{Publication, StreamId, Subscribed};
use crate::types::{Channel, Code, Depth, Epoch, InstrumentId, Instruments, MarketEvent, UnixNanos};

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

    /// Names this run of all sequences.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.options.epoch
    }
}
