//! The feed: all instruments' books and streams, owned by the pipeline's thread.

use sealfeed_wire::Level;
use sealfeed_wire::request::ResumePoint;

use super::book::Book;
use super::encoding::Encoding;
use super::kind::StreamKind;
use super::market::{Market, Moment, Scratch};
use super::orders::{Orders, SnapshotBudget};
use super::ring::{Missed, RingBounds, RingBudget};
use super::stream::{Encoder, Outgoing, Publication, StreamId, StreamRequest, Subscribed};
use super::tape::{Keyframe, Missing};
use crate::journal::tape::MarketState;
use crate::types::{
    Channel, Code, Epoch, InstrumentId, Instruments, MarketEvent, MarketEventKind, Price, Sequence, Side,
    UnixNanos,
};

/// What a feed is told once.
#[derive(Clone, Copy, Debug)]
pub struct FeedOptions {
    /// Names this run of all sequences; another one whenever the feed starts afresh.
    pub epoch: Epoch,
    /// A stream that is read and silent for so long gets a heartbeat, in nanoseconds.
    pub heartbeat_ns: u64,
    /// What is kept for readers who come back.
    pub rings: RingBounds,
}

/// Books, streams and their sequence numbers.
///
/// The numbers of a stream mean the same to everybody: its messages are counted from the beginning of the epoch, whoever reads, so that
/// they follow from the events alone. A stream with a present state begins with that as message 1. A conflated stream is the exception: it
/// comes into being at its first subscription; while nobody follows it, it publishes nothing, and the next subscriber's state takes the
/// next number. A stream is encoded while somebody reads that encoding, and for [`RingBounds::keep_ns`] after the last one left. What is published is always a whole
/// book: subscribing between the records of one event gives the state before it.
#[derive(Debug)]
pub struct Feed {
    /// By instrument.
    markets: Vec<Market>,
    /// Those in which the embedded venue holds an auction call.
    calls: Vec<InstrumentId>,
    options: FeedOptions,
    /// Names the sequences that no earlier run's go on with: another one in each run.
    run: Epoch,
    /// Run of the tape whose numbers the streams have: the feed's own, or that which a delayed feed reads.
    tape: Option<Epoch>,
    /// Of the first instrument in the names of streams: another one in every delayed feed.
    base: u32,
    /// How much later than the market it is published, in milliseconds.
    delay_ms: u64,
    scratch: Scratch,
    encoder: Encoder,
    snapshots: SnapshotBudget,
}

impl Feed {
    /// A feed of empty books.
    #[must_use]
    pub fn new(instruments: &Instruments, options: FeedOptions) -> Self {
        let markets = instruments.iter().map(Market::new).collect();
        let encoder = Encoder::new(RingBudget::new(options.rings));
        Self {
            markets,
            calls: Vec::new(),
            run: options.epoch,
            tape: Some(options.epoch),
            base: 0,
            delay_ms: 0,
            options,
            scratch: Scratch::default(),
            encoder,
            snapshots: SnapshotBudget::default(),
        }
    }

    /// What it was told.
    #[must_use]
    pub const fn options(&self) -> FeedOptions {
        self.options
    }

    /// Lets a feed in which nothing has happened yet go on where another run ended: with its epoch, its books, and the numbers of the
    /// streams that follow from its events; what was followed then is kept from `now` on, as if its readers had left just before. Bars and conflated streams, and all sequences that are not the feed's, keep the epoch that it
    /// was made with. `false`, and nothing has changed, if the keyframe is not of these instruments.
    #[must_use]
    pub fn go_on(&mut self, keyframe: &Keyframe, instruments: &Instruments, now: UnixNanos) -> bool {
        let options = FeedOptions { epoch: keyframe.epoch, ..self.options };
        let mut feed = Self { run: self.run, ..Self::new(instruments, options) };
        let fits = feed.load(&keyframe.markets, &keyframe.events);
        if fits {
            let moment = Moment { epoch: options.epoch, now };
            for (market, state) in feed.markets.iter_mut().zip(&keyframe.markets) {
                market.begin_run(state, moment);
            }
            *self = feed;
        }
        fits
    }

    /// A feed of empty books that is published `delay_ms` later than the market. Its streams are other ones than those of the market: they
    /// are named as if its instruments came behind `base` others, in records too, and every text says by how much it is delayed. From the
    /// first keyframe that it takes over, their numbers are those of the tape.
    #[must_use]
    pub fn delayed(instruments: &Instruments, options: FeedOptions, base: u32, delay_ms: u64) -> Self {
        let feed = Self::new(instruments, options);
        let ids = (base..u32::MAX).map(InstrumentId);
        let markets = feed.markets.into_iter().zip(ids).map(|(market, id)| market.delayed(id, delay_ms));
        Self { markets: markets.collect(), tape: None, base, delay_ms, ..feed }
    }

    /// Whether the feed follows a tape already.
    #[must_use]
    pub const fn follows_tape(&self) -> bool {
        self.tape.is_some()
    }

    /// Lets a delayed feed follow the run of a tape that begins with this keyframe: publishes, at `now`, the keyframe's state as its source
    /// would say it, and goes on with the numbers that the streams had there, under an epoch that follows from the tape's and the delay. So
    /// whoever reads the same tape with the same delay, now or after a restart, has the same messages under the same numbers.
    ///
    /// A stream that is followed at the time goes on under the epoch that its readers know until nobody follows it any more. What is not
    /// among the keyframe's instruments as it is here shows nothing any more; what differs in its terms only has numbers of its own.
    pub fn take_over(&mut self, keyframe: &Keyframe, now: UnixNanos, out: &mut Vec<Publication>) {
        let mut places = vec![None; keyframe.instruments.count()];
        let mut taped = Vec::with_capacity(self.markets.len());
        for (place, market) in self.markets.iter().enumerate() {
            let own = market.instrument();
            let found = keyframe.instruments.by_symbol(own.symbol.as_str());
            let found = found.filter(|found| (found.decimals, found.depth) == (own.decimals, own.depth));
            if let Some(found) = found {
                places[found.id.index()] = Some(place);
            }
            taped.push(found.and_then(|found| Some((found, keyframe.markets.get(found.id.index())?))));
        }
        let mut events: Vec<Vec<&MarketEvent>> = vec![Vec::new(); self.markets.len()];
        for event in &keyframe.events {
            if let Some(place) = places.get(event.instrument.index()).copied().flatten() {
                events[place].push(event);
            }
        }
        let Self { markets, scratch, encoder, .. } = self;
        let mut out = Outgoing { now, publications: out, encoder };
        for ((market, taped), events) in markets.iter_mut().zip(taped).zip(events) {
            market.take_over(keyframe.ts_out, taped, &events, scratch, &mut out);
        }
        self.tape = Some(keyframe.epoch);
        self.options.epoch = late_epoch(keyframe.epoch, self.delay_ms);
        // Nor may what does not follow from the tape go on as if nothing had happened.
        self.run = Epoch(self.run.0.wrapping_add(1));
    }

    /// Place of a stream's market.
    const fn place(&self, instrument: InstrumentId) -> usize {
        instrument.0.wrapping_sub(self.base) as usize
    }

    /// Whether this channel can be had for the instrument: its source must show enough.
    #[must_use]
    pub fn offers(&self, channel: Channel, instrument: InstrumentId) -> bool {
        self.markets.get(instrument.index()).is_some_and(|market| market.offers(channel))
    }

    /// Applies one record of a market, and appends to `out` what it publishes at `now`: records, trades and bars at once,
    /// book and best bid and offer when the record is the last of its event. A record of an unknown instrument is ignored.
    pub fn apply(&mut self, event: &MarketEvent, now: UnixNanos, out: &mut Vec<Publication>) {
        let Self { markets, scratch, encoder, .. } = self;
        if let Some(market) = markets.get_mut(event.instrument.index()) {
            market.apply(event, scratch, &mut Outgoing { now, publications: out, encoder });
            if matches!(event.kind, MarketEventKind::Status { .. }) {
                let is_in_call = market.is_in_call();
                self.calls.retain(|call| *call != event.instrument);
                self.calls.extend(is_in_call.then_some(event.instrument));
            }
        }
    }

    /// What the auction calls of the embedded venue come to now, as the events that say so, for every call of which that is something
    /// else than was said last: to be given to [`Self::apply`], and to the tape, like all events. `last` knows the price of the last trade in
    /// an instrument. Costs nothing where there is no call, and in a call whose book has changed a walk through the crossed part of it: so
    /// it is asked once for many changes.
    pub fn indications(
        &mut self,
        now: UnixNanos,
        last: impl Fn(InstrumentId) -> Option<Price>,
    ) -> Vec<MarketEvent> {
        let Self { calls, markets, .. } = self;
        let said = calls.iter().filter_map(|instrument| {
            let kind = markets.get_mut(instrument.index())?.indicate(last(*instrument))?;
            Some(MarketEvent { instrument: *instrument, ts_event: now, ts_recv: now, last: true, kind })
        });
        said.collect()
    }

    /// Counts a subscriber in.
    ///
    /// # Errors
    /// The instrument is unknown, does not have the channel, or cannot be written in the encoding.
    pub fn subscribe(
        &mut self,
        instrument: InstrumentId,
        request: StreamRequest,
        now: UnixNanos,
    ) -> Result<Subscribed, Code> {
        let StreamRequest { channel, depth, conflation, encoding } = request;
        let kind = StreamKind::of(channel, depth, conflation).ok_or(Code::SubChannelNotOffered)?;
        let named = InstrumentId(self.base.checked_add(instrument.0).ok_or(Code::SubChannelNotOffered)?);
        let id = StreamId::of(named, kind, encoding).ok_or(Code::SubChannelNotOffered)?;
        let epoch = self.epoch_now(instrument, kind);
        let market = self.markets.get_mut(instrument.index()).ok_or(Code::SubSymbolUnknown)?;
        if !market.offers(channel) {
            return Err(Code::SubChannelNotOffered);
        }
        if encoding == Encoding::Dbn && !market.offers_records(kind) {
            return Err(Code::SubRecordsNotOffered);
        }
        let moment = Moment { epoch, now };
        Ok(market.subscribe(id, (kind, encoding), moment))
    }

    /// Counts a subscriber out that [`Self::subscribe`] counted in.
    pub fn unsubscribed(&mut self, stream: StreamId, now: UnixNanos) {
        let (instrument, kind, encoding) = stream.parts();
        let place = self.place(instrument);
        if let Some(market) = self.markets.get_mut(place) {
            market.unsubscribed(kind, encoding, now);
        }
    }

    /// What a reader of a stream that was left behind needs to go on: as for a new subscriber, who is not counted in.
    #[must_use]
    pub fn present(&mut self, stream: StreamId, now: UnixNanos) -> Option<Subscribed> {
        let (instrument, kind, encoding) = stream.parts();
        let place = self.place(instrument);
        let moment = Moment { epoch: self.epoch_now(InstrumentId(u32::try_from(place).ok()?), kind), now };
        let market = self.markets.get_mut(place)?;
        let present = market.subscribe(stream, (kind, encoding), moment);
        market.unsubscribed(kind, encoding, now);
        Some(present)
    }

    /// The orders that rest in the instrument of a stream of records that is read: for a reader who begins, or goes on after messages were
    /// left out; `None` for every other stream. They may be those of an earlier message, with at most `since_bytes_max` of what was published
    /// since: readers who come one soon after the other share what is sent to them.
    ///
    /// # Errors
    /// [`Code::SubOrdersTooMany`].
    pub fn orders(
        &mut self,
        stream: StreamId,
        now: UnixNanos,
        since_bytes_max: usize,
    ) -> Result<Option<Orders>, Code> {
        let (instrument, kind, encoding) = stream.parts();
        if kind != StreamKind::Mbo {
            return Ok(None);
        }
        let place = self.place(instrument);
        let market = self.markets.get_mut(place).ok_or(Code::SubSymbolUnknown)?;
        market.orders(encoding, now, since_bytes_max, &self.snapshots).map(Some)
    }

    /// The messages of a stream behind `after`, up to its last one, if all of them are held in memory.
    #[must_use]
    pub fn missed(&self, stream: StreamId, after: Sequence) -> Missed {
        let (instrument, kind, encoding) = stream.parts();
        let market = self.markets.get(self.place(instrument));
        market.map_or(Missed::NotHeld, |market| market.missed(kind, encoding, after))
    }

    /// What of a stream a reader misses who has it up to `at`, for a reader of the tape to find: `None` where nothing is missed, or where it
    /// does not follow from the tape. Counts nobody in.
    #[must_use]
    pub fn missing(
        &self,
        instrument: InstrumentId,
        request: StreamRequest,
        at: ResumePoint,
    ) -> Option<Missing> {
        let StreamRequest { channel, depth, conflation, encoding } = request;
        let kind = StreamKind::of(channel, depth, conflation)?;
        let named = InstrumentId(self.base.checked_add(instrument.0)?);
        let stream = StreamId::of(named, kind, encoding)?;
        let market = self.markets.get(instrument.index())?;
        let is_offered =
            market.offers(channel) && (encoding == Encoding::Json || market.offers_records(kind));
        if at.epoch != self.epoch_now(instrument, kind) || !is_offered {
            return None;
        }
        let (Some(tape), Some(taped)) = (self.tape, market.taped()) else { return None };
        let is_taped = market.follows_from_tape(kind, at.epoch, at.seq);
        is_taped.then(|| Missing {
            stream,
            epoch: at.epoch,
            after: at.seq,
            tape,
            taped,
            instrument: market.instrument().clone(),
            delay_ms: self.delay_ms,
        })
    }

    /// The last message of a stream that is followed.
    #[must_use]
    pub fn position(&self, stream: StreamId) -> Option<Sequence> {
        let (instrument, kind, _) = stream.parts();
        self.markets.get(self.place(instrument))?.followed(kind).map(|(_, seq)| seq)
    }

    /// Lets time pass: appends bars that are over, the messages of conflated streams that are due, and a heartbeat for every
    /// stream that is read and was idle for [`FeedOptions::heartbeat_ns`]. To be called several times in the shortest
    /// interval there is; it looks at every stream.
    pub fn tick(&mut self, now: UnixNanos, out: &mut Vec<Publication>) {
        let Self { markets, options, scratch, encoder, .. } = self;
        let mut out = Outgoing { now, publications: out, encoder };
        for market in markets {
            market.tick(options.heartbeat_ns, scratch, &mut out);
        }
    }

    /// Says that the source of an instrument stalled or ended: appends a `stale` message for every stream that is read, once,
    /// and gives it to later subscribers. The next record of the instrument's quotes lifts it; where there are only trades, the next trade.
    pub fn mark_stale(&mut self, instrument: InstrumentId, now: UnixNanos, out: &mut Vec<Publication>) {
        let Self { markets, encoder, .. } = self;
        if let Some(market) = markets.get_mut(instrument.index()) {
            market.mark_stale(&mut Outgoing { now, publications: out, encoder });
        }
    }

    /// Whether what an instrument shows may be out of date: its source stalled or ended, or its book broke a rule.
    #[must_use]
    pub fn is_stale(&self, instrument: InstrumentId) -> bool {
        self.markets.get(instrument.index()).is_none_or(Market::is_stale)
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
        let fits = states.len() == self.markets.len();
        fits && self.markets.iter_mut().zip(states).all(|(market, state)| market.load(state))
    }

    /// The best level of one side as of the last event that ended; of any source that shows it.
    #[must_use]
    pub fn best(&self, instrument: InstrumentId, side: Side) -> Option<Level> {
        self.markets.get(instrument.index())?.best(side)
    }

    /// Names the run of a stream's sequence.
    #[must_use]
    pub fn epoch_of(&self, stream: StreamId) -> Epoch {
        let (instrument, kind, _) = stream.parts();
        let place = self.place(instrument);
        let followed = self.markets.get(place).and_then(|market| market.followed(kind));
        let begins = || self.epoch_now(InstrumentId(u32::try_from(place).unwrap_or(u32::MAX)), kind);
        followed.map_or_else(begins, |(epoch, _)| epoch)
    }

    /// The same, of a stream that nobody follows.
    fn epoch_now(&self, instrument: InstrumentId, kind: StreamKind) -> Epoch {
        let market = self.markets.get(instrument.index());
        let is_taped = kind.is_taped() && market.is_some_and(|market| market.taped().is_some());
        if is_taped { self.options.epoch } else { self.run }
    }
}

/// Names the sequences of a tape's run as they are published so many milliseconds later: the same whenever they are, and another name for
/// every delay. Mixed by the finalizer of `SplitMix64` (Steele, Lea, Flood 2014), which maps no two numbers to one.
fn late_epoch(tape: Epoch, delay_ms: u64) -> Epoch {
    let mut mixed = tape.0.wrapping_add(delay_ms.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    Epoch(mixed ^ (mixed >> 31))
}
