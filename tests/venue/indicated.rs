//! What the public is told of an auction call is what comes of it: the feed, which knows the book only, against the venue, which trades.

use proptest::prelude::*;
use sealfeed::feed::{Encoding, Feed, FeedOptions, Publication, RingBounds, StreamRequest};
use sealfeed::types::{
    CancelOrder, CancelReason, Channel, Depth, Epoch, Indication, MarketEvent, MarketEventKind, OrderId,
    Phase, Price, Quantity, Side, UnixNanos,
};
use sealfeed::venue::{Venue, VenueEvent};
use sealfeed_wire::market::{self, Status, TradingState};
use sealfeed_wire::{Conflation, MarketMessage, ServerMessage};

use super::{OWNER, X, instruments, limit};

/// Of the instrument.
const TICK: i64 = 10;
/// Between prices of orders: half of them are not on the tick, as orders from before a change of it may be.
const STEP: i64 = 5;

/// What happens between two turns of the pipeline.
#[derive(Clone, Debug)]
enum Step {
    Order(Side, i64, u64),
    /// The oldest but so many orders is cancelled.
    Cancel(usize),
    Phase(Phase),
    EndTurn,
}

fn step() -> impl Strategy<Value = Step> {
    let side = prop_oneof![Just(Side::Buy), Just(Side::Sell)];
    let order = (side, 0..24_i64, 1..6_u64).prop_map(|(side, at, units)| Step::Order(side, at, units));
    let phase = prop::sample::select(Phase::ALL).prop_map(Step::Phase);
    let to_call = Just(Step::Phase(Phase::AuctionCall));
    prop_oneof![
        12 => order, 3 => (0..9_usize).prop_map(Step::Cancel), 1 => phase, 2 => to_call, 4 => Just(Step::EndTurn)
    ]
}

/// A venue and two feeds: the one that is asked what calls come to, and one that is given the same events and nothing else, as from a
/// tape.
struct Market {
    venue: Venue,
    feed: Feed,
    taped: Feed,
    now: u64,
    orders: Vec<OrderId>,
    /// Of both feeds.
    published: [Vec<Publication>; 2],
    /// What the last message of the channel says.
    told: Status,
    /// How many messages have come.
    messages: usize,
}

fn feed() -> (Feed, Status) {
    let options = FeedOptions { epoch: Epoch(1), heartbeat_ns: u64::MAX, rings: RingBounds::NONE };
    let mut feed = Feed::new(&instruments(Price::from_nanos(TICK)), options);
    let state = present(&mut feed);
    (feed, state)
}

/// What a new subscriber is told.
fn present(feed: &mut Feed) -> Status {
    let (channel, depth, conflation) = (Channel::Status, Depth::Full, Conflation::Off);
    let request = StreamRequest { channel, depth, conflation, encoding: Encoding::Json };
    status(&feed.subscribe(X, request, UnixNanos(1)).unwrap().state.unwrap())
}

fn status(message: &[u8]) -> Status {
    match ServerMessage::decode(std::str::from_utf8(message).unwrap()) {
        Ok(ServerMessage::Market(MarketMessage::Status(status))) => status,
        other => panic!("no status: {other:?}"),
    }
}

/// What a message says, as the feed said it.
fn read(indication: market::Indication) -> Option<Indication> {
    match indication {
        market::Indication::Nothing => None,
        market::Indication::Uncrosses { price, quantity, imbalance_side, imbalance_quantity } => {
            let (price, quantity) = (price.value, quantity.value);
            assert_eq!(imbalance_side.is_none(), imbalance_quantity.value.is_zero());
            let imbalance = imbalance_side.map(|side| (side, imbalance_quantity.value));
            Some(Indication { price, quantity, imbalance })
        }
    }
}

impl Market {
    fn new() -> Self {
        let ((feed, told), (taped, _)) = (feed(), feed());
        let venue = Venue::new(&instruments(Price::from_nanos(TICK)));
        let published = Default::default();
        Self { venue, feed, taped, now: 1, orders: Vec::new(), published, told, messages: 0 }
    }

    fn publish(&mut self, event: &MarketEvent) {
        let now = UnixNanos(self.now);
        self.feed.apply(event, now, &mut self.published[0]);
        self.taped.apply(event, now, &mut self.published[1]);
        for message in &self.published[0][self.messages..] {
            self.told = status(&message.message);
        }
        self.messages = self.published[0].len();
    }

    /// What the venue did goes to the feed.
    fn report(&mut self, events: &[VenueEvent]) {
        self.now += 1;
        for event in events {
            let VenueEvent::Market { instrument, kind, last } = *event else { continue };
            let time = UnixNanos(self.now);
            self.publish(&MarketEvent { instrument, ts_event: time, ts_recv: time, last, kind });
        }
    }

    /// As the pipeline does it: at the end of a turn, and before a phase ends.
    fn end_turn(&mut self) {
        let before = self.messages;
        let said = self.feed.indications(UnixNanos(self.now), |instrument| self.venue.last_price(instrument));
        said.iter().for_each(|event| self.publish(event));
        assert!(self.messages <= before + 1, "at most one message a turn");
        assert_eq!(self.feed.indications(UnixNanos(self.now), |_| None), [], "said once");
        let is_call = self.venue.phase(X) == Some(Phase::AuctionCall);
        assert_eq!(self.told.state == TradingState::Auction, is_call);
        assert_eq!(self.told.indication.is_some(), is_call);
        if let Some(told) = self.told.indication {
            assert_eq!(read(told), self.venue.indicative(X).map(Indication::from), "as the venue has it");
        }
        for feed in [&mut self.feed, &mut self.taped] {
            let Status { state, indication, .. } = present(feed);
            assert_eq!((state, indication), (self.told.state, self.told.indication), "whoever comes late");
        }
    }

    fn take(&mut self, number: u64, step: &Step) {
        let mut events = Vec::new();
        match *step {
            Step::Order(side, at, units) => {
                let (id, price) = (OrderId(number), Price::from_nanos(1_000 + at * STEP));
                let order = limit(id, side, price, Quantity::from_nanos(units * 1_000_000_000));
                if self.venue.submit(order, &mut events).is_ok() {
                    self.orders.push(id);
                }
            }
            Step::Cancel(place) => {
                self.orders.retain(|order| self.venue.is_resting(*order));
                if place < self.orders.len() {
                    let (owner, id) = (OWNER, self.orders.remove(place));
                    let cancel = CancelOrder { owner, id, reason: CancelReason::Requested };
                    self.venue.cancel(cancel, &mut events).unwrap();
                }
            }
            Step::Phase(phase) => return self.turn_to(phase),
            Step::EndTurn => self.end_turn(),
        }
        self.report(&events);
    }

    fn turn_to(&mut self, phase: Phase) {
        self.end_turn();
        let (before, is_call) = (self.told.indication, self.venue.phase(X) == Some(Phase::AuctionCall));
        let mut events = Vec::new();
        self.venue.set_phase(X, phase, &mut events).unwrap();
        let trades: Vec<(Price, u64)> = events
            .iter()
            .filter_map(|event| match event {
                VenueEvent::Market { kind: MarketEventKind::Trade { price, quantity, .. }, .. } => {
                    Some((*price, quantity.nanos()))
                }
                _ => None,
            })
            .collect();
        self.report(&events);
        if !is_call || !matches!(phase, Phase::Open | Phase::Closed) {
            return;
        }
        let Some(Indication { price, quantity, imbalance }) = before.and_then(read) else {
            assert_eq!(trades, [], "nothing was said to trade");
            return;
        };
        assert!(trades.iter().all(|trade| trade.0 == price), "{trades:?} at {price:?}");
        assert_eq!(trades.iter().map(|trade| trade.1).sum::<u64>(), quantity.nanos());
        let book = self.feed.book(X).unwrap();
        let left = |side: Side| {
            let within = |at: Price| if side == Side::Buy { at >= price } else { at <= price };
            book.levels(side)
                .filter(|level| within(level.price))
                .map(|level| level.quantity.nanos())
                .sum::<u64>()
        };
        let rest = |side| imbalance.filter(|left| left.0 == side).map_or(0, |left| left.1.nanos());
        assert_eq!(
            [left(Side::Buy), left(Side::Sell)],
            [Side::Buy, Side::Sell].map(rest),
            "what is left over"
        );
    }
}

proptest! {
    #[test]
    fn what_the_feed_said_last_is_what_the_venue_then_does(
        before in prop::collection::vec(step(), 0..30),
        gathering in prop::collection::vec(step(), 1..120),
    ) {
        let mut market = Market::new();
        let call = [Step::Phase(Phase::AuctionCall)];
        let end = [Step::Phase(Phase::AuctionCall), Step::EndTurn, Step::Phase(Phase::Open), Step::EndTurn];
        let steps = before.iter().chain(&call).chain(&gathering).chain(&end);
        for (number, step) in (1..).zip(steps) {
            market.take(number, step);
        }
        let [live, taped] = &market.published;
        prop_assert!(live == taped, "the events alone make the same messages");
    }
}
