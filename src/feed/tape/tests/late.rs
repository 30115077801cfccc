//! What is published late has the same messages under the same numbers whenever it is, and comes from the tape as from the feed.

use std::collections::BTreeMap;

use sealfeed_wire::request::ResumePoint;
use sealfeed_wire::{Conflation, MarketMessage, Scaled, market};

use super::*;
use crate::feed::client::decode;
use crate::feed::{StreamId, push_frame};
use crate::types::{Sequence, TimeArithmetic as _};

const DELAY_MS: u64 = 1;
const DELAY_NS: u64 = 1_000_000;
const BASE: u32 = 4;
const RINGS: RingBounds = RingBounds { ring_bytes_max: 0, total_bytes_max: 0, keep_ns: 0 };

/// A delayed feed in one of its lives, and all that its readers got: by stream and number.
struct Late {
    feed: Feed,
    streams: Vec<(InstrumentId, StreamRequest, StreamId)>,
    got: BTreeMap<(StreamId, Sequence), Vec<u8>>,
    published: Vec<Publication>,
}

impl Late {
    fn new(run: u64) -> Self {
        let options = FeedOptions { epoch: Epoch(run), heartbeat_ns: u64::MAX, rings: RINGS };
        let feed = Feed::delayed(&instruments(), options, BASE, DELAY_MS);
        Self { feed, streams: Vec::new(), got: BTreeMap::new(), published: Vec::new() }
    }

    /// Somebody reads everything that follows from the tape.
    fn subscribe_to_all(&mut self) {
        for instrument in (0..4).map(InstrumentId) {
            for channel in [Channel::Trades, Channel::Mbo, Channel::Bbo, Channel::Status, Channel::Definition]
            {
                self.subscribe(instrument, channel, Depth::Full);
            }
            Depth::ALL.iter().for_each(|depth| self.subscribe(instrument, Channel::Book, *depth));
        }
    }

    fn subscribe(&mut self, instrument: InstrumentId, channel: Channel, depth: Depth) {
        let wanted = StreamRequest { channel, depth, conflation: Conflation::Off, encoding: Encoding::Json };
        if let Ok(joined) = self.feed.subscribe(instrument, wanted, UnixNanos(1)) {
            self.streams.push((instrument, wanted, joined.stream));
        }
    }

    fn unsubscribe_from_all(&mut self) {
        self.streams.drain(..).for_each(|(.., stream)| self.feed.unsubscribed(stream, UnixNanos(1)));
        self.feed.tick(UnixNanos(u64::MAX), &mut self.published);
    }

    fn take(&mut self, item: &Item) {
        match item {
            Item::Keyframe(keyframe) => {
                self.feed.take_over(keyframe, keyframe.ts_out.plus_ns(DELAY_NS), &mut self.published);
            }
            Item::Event(taped) => {
                self.feed.apply(&taped.event, taped.ts_out.plus_ns(DELAY_NS), &mut self.published);
            }
            Item::End => {}
        }
        for one in self.published.drain(..) {
            self.got.insert((one.stream, one.seq), one.message.to_vec());
        }
    }

    fn epochs(&self) -> Vec<Epoch> {
        let mut epochs: Vec<_> =
            self.streams.iter().map(|(.., stream)| self.feed.epoch_of(*stream)).collect();
        epochs.dedup();
        epochs
    }
}

/// Runs of these epochs, each with its activity, on one tape.
fn taped(epochs: &[Epoch]) -> Site {
    let site = Site::new();
    for epoch in epochs {
        let options = FeedOptions { epoch: *epoch, heartbeat_ns: HEARTBEAT_NS, rings: RINGS };
        let mut feed = Feed::new(&instruments(), options);
        let mut recorder = site.recorder(RecorderOptions { epoch: *epoch, ..super::options() });
        recorder.begin(&feed, UnixNanos(1));
        record(&mut recorder, &mut feed, &long_activity());
        recorder.end(&feed);
    }
    site
}

fn items(site: &Site, position: Position) -> Vec<Item> {
    let mut reader = Reader::open(&site.directory(), position).unwrap();
    std::iter::from_fn(|| reader.next().unwrap()).collect()
}

#[test]
fn every_life_of_a_delayed_feed_has_the_same_messages_under_the_same_numbers() {
    let site = taped(&[EPOCH]);
    let mut whole = Late::new(7);
    let all = items(&site, Position::First);
    whole.take(&all[0]);
    whole.subscribe_to_all();
    all[1..].iter().for_each(|item| whole.take(item));
    assert!(whole.got.len() > 3_000);
    for (run, number) in [(8, 1), (9, 1_500), (10, 2_900)] {
        let mut later = Late::new(run);
        let rest = items(&site, Position::Event { epoch: EPOCH, number });
        later.take(&rest[0]);
        later.subscribe_to_all();
        assert_eq!(later.epochs(), whole.epochs());
        rest[1..].iter().for_each(|item| later.take(item));
        for ((stream, seq), message) in &later.got {
            assert!(whole.got.get(&(*stream, *seq)) == Some(message), "{}", String::from_utf8_lossy(message));
        }
        let ends: BTreeMap<_, _> = whole.got.keys().map(|(stream, seq)| (*stream, *seq)).collect();
        assert!(later.got.keys().all(|(stream, seq)| seq <= &ends[stream]));
    }
}

#[test]
fn what_a_late_reader_missed_comes_from_the_tape_as_it_came_from_the_feed_and_nothing_that_is_not_due() {
    let site = taped(&[EPOCH]);
    let mut late = Late::new(7);
    let all = items(&site, Position::First);
    late.take(&all[0]);
    late.subscribe_to_all();
    all[1..2_000].iter().for_each(|item| late.take(item));
    for (instrument, wanted, stream) in late.streams.clone() {
        let (epoch, until) = (late.feed.epoch_of(stream), late.feed.position(stream).unwrap());
        let mine: Vec<_> = late.got.iter().filter(|((one, _), _)| *one == stream).collect();
        let Some(((_, first), _)) = mine.get(mine.len() / 2) else { continue };
        let missing = late.feed.missing(instrument, wanted, ResumePoint { epoch, seq: *first });
        let Some(missing) = missing else {
            assert_eq!(*first, until);
            continue;
        };
        let mut retold = Retold::find(&site.directory(), missing.clone()).unwrap();
        let mut frames = Vec::new();
        while retold.read((usize::MAX, 100), (until, UnixNanos(u64::MAX)), &mut frames).unwrap().1
            != Pause::End
        {}
        assert_eq!(retold.seq(), until, "no further than the feed, though the tape goes on");
        let mut expected = Vec::new();
        for (_, message) in mine.iter().filter(|((_, seq), _)| seq > first) {
            push_frame(&mut expected, Encoding::Json.frame(), message);
        }
        assert!(frames == expected, "{wanted:?}");
        // By a clock that stands in the middle, whatever the feed is said to have published.
        let (_, last) = mine[mine.len() - 1];
        let due = |message: &[u8]| -> u64 {
            let message: serde_json::Value = serde_json::from_slice(message).unwrap();
            message["ts_out"].as_str().unwrap().parse().unwrap()
        };
        let (now, mut frames) = (UnixNanos(due(last) - 1), Vec::new());
        let mut retold = Retold::find(&site.directory(), missing).unwrap();
        while retold.read((usize::MAX, 100), (until, now), &mut frames).unwrap().1 != Pause::End {}
        assert_eq!(retold.seq().next(), until, "the last one is not due");
        let early = Sequence::new(until.get() + 1_000).unwrap();
        assert_eq!(retold.read((usize::MAX, 10_000), (early, now), &mut frames).unwrap(), (0, Pause::End));
    }
}

#[test]
fn behind_a_break_of_the_tape_a_stream_that_is_read_goes_on_and_every_other_one_has_the_numbers_of_the_new_run()
 {
    let site = taped(&[EPOCH, Epoch(0xdef)]);
    let all = items(&site, Position::First);
    let breaks = 1 + all[1..].iter().position(|item| matches!(item, Item::Keyframe(_))).unwrap();
    let mut late = Late::new(7);
    late.take(&all[0]);
    late.subscribe_to_all();
    let before = late.epochs();
    all[1..breaks + 1_000].iter().for_each(|item| late.take(item));
    assert_eq!(late.epochs(), before, "its readers know no other");
    let mut chain: BTreeMap<StreamId, Sequence> = BTreeMap::new();
    for (stream, seq) in late.got.keys() {
        let last = chain.insert(*stream, *seq);
        assert!(last.is_none_or(|last| last.next() == *seq), "no hole and no repetition");
    }
    for (instrument, wanted, _) in late.streams.clone() {
        let at = ResumePoint { epoch: before[0], seq: Sequence::new(1).unwrap() };
        assert_eq!(late.feed.missing(instrument, wanted, at), None, "it is not what the tape says any more");
    }
    late.unsubscribe_from_all();
    late.subscribe_to_all();
    late.got.clear();
    assert_ne!(late.epochs(), before);
    all[breaks + 1_000..].iter().for_each(|item| late.take(item));
    let mut anew = Late::new(8);
    anew.take(&all[breaks]);
    anew.subscribe_to_all();
    assert_eq!(anew.epochs(), late.epochs());
    all[breaks + 1..].iter().for_each(|item| anew.take(item));
    assert!(late.got.len() > 1_000);
    for (key, message) in &late.got {
        assert!(anew.got.get(key) == Some(message), "{}", String::from_utf8_lossy(message));
    }
}

#[test]
fn an_instrument_whose_terms_have_changed_has_numbers_of_its_own() {
    let site = taped(&[EPOCH]);
    let all = items(&site, Position::First);
    let Item::Keyframe(keyframe) = &all[0] else { panic!("no keyframe") };
    let mut changed = Instruments::new();
    for instrument in instruments().iter() {
        let tick = Price::from_nanos(if instrument.id == InstrumentId(0) { 2 } else { 1 });
        changed.add(|_| Instrument { tick, ..instrument.clone() });
    }
    let options = FeedOptions { epoch: Epoch(7), heartbeat_ns: u64::MAX, rings: RINGS };
    let mut late = Late { feed: Feed::delayed(&changed, options, BASE, DELAY_MS), ..Late::new(7) };
    late.feed.take_over(keyframe, UnixNanos(1), &mut late.published);
    late.subscribe_to_all();
    let of = |number: u32| {
        let found = late.streams.iter().find(|(instrument, ..)| *instrument == InstrumentId(number));
        late.feed.epoch_of(found.unwrap().2)
    };
    assert_ne!(of(0), of(1));
    assert_eq!(of(1), of(2));
}

#[test]
fn a_delayed_feed_that_goes_to_another_run_tells_what_the_call_of_that_run_comes_to() {
    const NEXT: Epoch = Epoch(0xdef);
    let site = Site::new();
    let (price, quantity) = (Price::from_nanos(100), Quantity::from_nanos(10_000_000));
    let called = Indication { price, quantity, imbalance: None };
    for (epoch, indication) in [(EPOCH, Some(called)), (NEXT, None)] {
        let mut feed =
            Feed::new(&instruments(), FeedOptions { epoch, heartbeat_ns: HEARTBEAT_NS, rings: RINGS });
        let often = RecorderOptions { epoch, block_events: 1, keyframe_blocks: 1, ..options() };
        let mut recorder = site.recorder(often);
        recorder.begin(&feed, UnixNanos(1));
        let auction = MarketEventKind::Status { state: TradingState::Auction, reason: None };
        let kinds = [auction, MarketEventKind::Indication(indication), MarketEventKind::Clear];
        let events: Vec<_> = (2..)
            .map(UnixNanos)
            .zip(kinds)
            .map(|(time, kind)| {
                let instrument = InstrumentId(3);
                (MarketEvent { instrument, ts_event: time, ts_recv: time, last: true, kind }, time)
            })
            .collect();
        record(&mut recorder, &mut feed, &events);
        recorder.end(&feed);
    }
    let mut late = Late::new(7);
    let all = items(&site, Position::First);
    late.take(&all[0]);
    late.subscribe(InstrumentId(3), Channel::Status, Depth::Full);
    let told = |late: &Late| match decode(late.got.last_key_value().unwrap().1) {
        MarketMessage::Status(status) => (status.state, status.indication),
        other => panic!("{other:?}"),
    };
    let runs = all.iter().skip(1).take_while(|item| !matches!(item, Item::Keyframe(_)));
    runs.for_each(|item| late.take(item));
    let uncrosses = market::Indication::Uncrosses {
        price: Scaled::new(price, Decimals::MAX),
        quantity: Scaled::new(quantity, Decimals::new(2).unwrap()),
        imbalance_side: None,
        imbalance_quantity: Scaled::new(Quantity::ZERO, Decimals::new(2).unwrap()),
    };
    assert_eq!(told(&late), (market::TradingState::Auction, Some(uncrosses)));
    // The state is the same: nothing but what it comes to is another.
    let next = items(&site, Position::Event { epoch: NEXT, number: 2 });
    assert!(
        matches!(&next[0], Item::Keyframe(keyframe) if keyframe.next == 2 && !keyframe.events.is_empty())
    );
    late.take(&next[0]);
    assert_eq!(told(&late), (market::TradingState::Auction, Some(market::Indication::Nothing)));
}
