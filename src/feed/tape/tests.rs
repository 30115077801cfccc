//! The tape from the feed to the files and back: what was recorded is what is read, and publishes the same messages again.

mod late;
mod retold;

use std::path::PathBuf;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use tempfile::TempDir;

use super::*;
use crate::config::{ClockConfig, LogConfig, TapeConfig};
use crate::feed::{Encoding, Feed, FeedOptions, Publication, RingBounds, StreamRequest};
use crate::journal::tape::{BLOCK, INSTRUMENTS, KEYFRAME, Opened, Tape};
use crate::journal::{self, Journal};
use crate::shutdown::Shutdown;
use crate::types::{
    BookDecimals, Channel, Decimals, Definition, Depth, Epoch, Indication, Instrument, InstrumentId,
    Instruments, MarketDepth, MarketEvent, MarketEventKind, OrderId, Price, Quantity, Side, StatusReason,
    Symbol, TopLevel, TradingState, UnixNanos,
};

const EPOCH: Epoch = Epoch(0xabc);
const HEARTBEAT_NS: u64 = 1_000_000_000;

/// A server's folder with its audit log and tape.
struct Site {
    folder: TempDir,
    config: LogConfig,
    tape: TapeConfig,
    journal: Journal,
}

impl Site {
    fn new() -> Self {
        Self::in_folder(TempDir::new().unwrap())
    }

    fn in_folder(folder: TempDir) -> Self {
        let mut config = LogConfig::new(&folder.path().join("log"), "tape.test/log");
        config.segment_bytes = 1 << 20;
        let opened = journal::open(&config, &ClockConfig::default(), b"").unwrap();
        let journal = Journal::new(opened, Shutdown::new());
        Self { folder, config, tape: TapeConfig::default(), journal }
    }

    fn directory(&self) -> PathBuf {
        self.tape.log(&self.config).directory
    }

    fn open(&self) -> Opened {
        // The link to the end of the run before is durable.
        let last = self.journal.record(journal::event::Stop { reason: "test".to_owned() }).unwrap();
        self.journal.wait_durable(last).unwrap();
        journal::tape::open(&self.tape, &self.config, &self.journal, b"").unwrap()
    }

    fn recorder(&self, options: RecorderOptions) -> Recorder {
        let tape = Tape::start(self.open(), self.journal.clone()).unwrap();
        Recorder::new(tape, &instruments(), options)
    }
}

fn options() -> RecorderOptions {
    RecorderOptions { epoch: EPOCH, next: 0, block_events: 50, block_ns: u64::MAX, keyframe_blocks: 4 }
}

fn instruments() -> Instruments {
    let mut instruments = Instruments::new();
    for (symbol, depth, quantity) in [
        ("O", MarketDepth::Orders, 0),
        ("P", MarketDepth::Top, 3),
        ("T", MarketDepth::Trades, 9),
        ("L", MarketDepth::Levels, 2),
    ] {
        let decimals =
            BookDecimals { price: Decimals::new(9).unwrap(), quantity: Decimals::new(quantity).unwrap() };
        instruments.add(|id| Instrument {
            id,
            symbol: Symbol::new(symbol).unwrap(),
            decimals,
            tick: Price::from_nanos(1),
            lot: Quantity::from_nanos(10_u64.pow(9 - u32::from(quantity))),
            band: (symbol == "L").then_some((Price::from_nanos(1), Price::from_nanos(500))),
            depth,
            // What is said of one that is traded on paper begins as of one that is not traded; of the last one, auction calls are told.
            tradable: symbol == "O" || symbol == "L",
            paper: symbol == "O",
        });
    }
    instruments
}

fn feed() -> Feed {
    Feed::new(
        &instruments(),
        FeedOptions { epoch: EPOCH, heartbeat_ns: HEARTBEAT_NS, rings: RingBounds::NONE },
    )
}

/// Subscribes to everything there is, so that everything is encoded.
fn subscribe_to_all(feed: &mut Feed) {
    for instrument in (0..4).map(InstrumentId) {
        let channels = [
            Channel::Trades,
            Channel::Mbo,
            Channel::Status,
            Channel::Definition,
            Channel::Bbo,
            Channel::Book,
        ];
        for channel in channels {
            for depth in [Depth::Ten, Depth::Fifty, Depth::Full] {
                let conflation = sealfeed_wire::Conflation::Off;
                let wanted = StreamRequest { channel, depth, conflation, encoding: Encoding::Json };
                let _ = feed.subscribe(instrument, wanted, UnixNanos(1));
            }
        }
    }
}

/// Auction calls of the last instrument, and what they come to, wherever that is said.
fn calls() -> impl Strategy<Value = (InstrumentId, MarketEventKind, bool)> {
    (any::<bool>(), any::<bool>(), 90..110i64, 0..4u64, any::<bool>()).prop_map(
        |(says_state, trades, price, lots, buys)| {
            let (price, quantity) = (Price::from_nanos(price), Quantity::from_nanos(lots * 10_000_000));
            let side = if buys { Side::Buy } else { Side::Sell };
            let imbalance = (lots > 0).then_some((side, quantity));
            let indication = trades.then_some(Indication { price, quantity, imbalance });
            let auction = MarketEventKind::Status { state: TradingState::Auction, reason: None };
            let kind = if says_state { auction } else { MarketEventKind::Indication(indication) };
            (InstrumentId(3), kind, true)
        },
    )
}

/// Random market activity of the kinds each instrument has, in whole events, a microsecond apart.
fn activity(events_max: usize) -> impl Strategy<Value = Vec<(MarketEvent, UnixNanos)>> {
    let order = (0..30u64, any::<bool>(), 90..110i64, 1..9u64, 0..10u8);
    let of_orders =
        (order, proptest::bool::weighted(0.7)).prop_map(|((id, buys, price, lots, what), last)| {
            let (order, side) = (OrderId(id), if buys { Side::Buy } else { Side::Sell });
            let (price, quantity) = (Price::from_nanos(price), Quantity::from_nanos(lots * 1_000_000_000));
            let kind = match what {
                0..=4 => MarketEventKind::Add { order, side, price, quantity },
                5 => MarketEventKind::Modify { order, side, price, quantity },
                6 | 7 => MarketEventKind::Reduce { order, side, price, quantity },
                8 => MarketEventKind::Trade { price, quantity, aggressor: Some(side), trade_id: 0 },
                _ => MarketEventKind::Fill { order, side: Some(side), price, quantity },
            };
            (InstrumentId(0), kind, last)
        });
    let of_top = (proptest::option::of(90..95i64), proptest::option::of(96..99i64), 1..u64::MAX / 1_000_000)
        .prop_map(|(bid, ask, quantity)| {
            let level = |price: i64| TopLevel {
                price: Price::from_nanos(price),
                quantity: Quantity::from_nanos(quantity * 1_000_000),
                orders: 2,
            };
            let kind = MarketEventKind::Top { bid: bid.map(level), ask: ask.map(level) };
            (InstrumentId(1), kind, true)
        });
    let of_trades = (1..99i64, any::<u64>()).prop_map(|(price, quantity)| {
        let (price, quantity) = (Price::from_nanos(price), Quantity::from_nanos(quantity));
        let kind = MarketEventKind::Trade { price, quantity, aggressor: None, trade_id: 0 };
        (InstrumentId(2), kind, true)
    });
    let of_levels =
        (any::<bool>(), 90..110i64, 0..4u64, any::<u32>()).prop_map(|(buys, price, lots, orders)| {
            let (price, quantity) = (Price::from_nanos(price), Quantity::from_nanos(lots * 10_000_000));
            let side = if buys { Side::Buy } else { Side::Sell };
            (InstrumentId(3), MarketEventKind::Level { side, price, quantity, orders }, true)
        });
    let of_status = (0..4u32, any::<bool>(), 0..2usize).prop_map(|(instrument, trades, reason)| {
        let state = if trades { TradingState::Trading } else { TradingState::Halted };
        let kind = MarketEventKind::Status { state, reason: StatusReason::new(["T1", ""][reason]) };
        (InstrumentId(instrument), kind, true)
    });
    let of_definition =
        (0..4u32, proptest::option::of(1..4i64), 1..4u64).prop_map(|(instrument, tick, lot)| {
            let (tick, lot) = (tick.map(Price::from_nanos), Some(Quantity::from_nanos(lot * 1_000_000_000)));
            let definition = Definition { price_decimals: None, tick, lot, round_lot: None };
            (InstrumentId(instrument), MarketEventKind::Definition(definition), true)
        });
    let of_any = prop_oneof![
        4 => calls(), 20 => of_orders, 5 => of_top, 3 => of_trades, 7 => of_levels, 1 => of_status, 1 => of_definition
    ];
    proptest::collection::vec(of_any, 1..events_max).prop_map(|events| {
        let whole = events.iter().rposition(|(instrument, ..)| *instrument == InstrumentId(0));
        let numbered = events.into_iter().enumerate();
        numbered
            .map(|(index, (instrument, kind, last))| {
                let time = UnixNanos(1_000_000 + index as u64 * 1_000);
                let last = last || Some(index) == whole;
                (MarketEvent { instrument, ts_event: time, ts_recv: time, last, kind }, time)
            })
            .collect()
    })
}

/// One sample of a strategy, the same every time.
fn sample<T: std::fmt::Debug>(strategy: &impl Strategy<Value = T>) -> T {
    strategy.new_tree(&mut TestRunner::deterministic()).unwrap().current()
}

fn long_activity() -> Vec<(MarketEvent, UnixNanos)> {
    let mut all = Vec::new();
    let mut runner = TestRunner::deterministic();
    while all.len() < 3_000 {
        all.extend(activity(2_000).new_tree(&mut runner).unwrap().current());
    }
    for (index, (event, time)) in all.iter_mut().enumerate() {
        *time = UnixNanos(1_000_000 + index as u64 * 1_000);
        (event.ts_event, event.ts_recv) = (*time, *time);
    }
    all
}

/// Records it, with a turn after each event that is whole, and returns all that was published meanwhile.
fn record(recorder: &mut Recorder, feed: &mut Feed, events: &[(MarketEvent, UnixNanos)]) -> Vec<Publication> {
    let mut published = Vec::new();
    for (event, now) in events {
        recorder.record(event, *now);
        feed.apply(event, *now, &mut published);
        recorder.end_turn(feed, *now);
    }
    published
}

/// Reads all there is from a position.
fn read(site: &Site, position: Position) -> (Vec<Keyframe>, Vec<Taped>, usize) {
    let mut reader = Reader::open(&site.directory(), position).unwrap();
    let (mut keyframes, mut events, mut ends) = (Vec::new(), Vec::new(), 0);
    while let Some(item) = reader.next().unwrap() {
        match item {
            Item::Keyframe(keyframe) => keyframes.push(*keyframe),
            Item::Event(taped) => events.push(taped),
            Item::End => ends += 1,
        }
    }
    (keyframes, events, ends)
}

/// How many events are on the tape so far.
fn written(site: &Site) -> u64 {
    let position = Position::Event { epoch: EPOCH, number: u64::MAX };
    let Ok(mut reader) = Reader::open(&site.directory(), position) else { return 0 };
    let mut next = 0;
    while let Some(item) = reader.next().unwrap() {
        match item {
            Item::Keyframe(keyframe) => next = keyframe.next,
            Item::Event(taped) => next = taped.number + 1,
            Item::End => {}
        }
    }
    next
}

fn kinds(site: &Site) -> Vec<u16> {
    let entries = sealfeed_audit::reader::entries(&site.directory()).unwrap();
    entries.map(|entry| entry.unwrap().header.kind).collect()
}

#[test]
fn what_was_recorded_is_read_back_event_by_event_and_numbered_without_gaps() {
    let site = Site::new();
    let (mut recorder, mut feed) = (site.recorder(options()), feed());
    let events = long_activity();
    recorder.begin(&feed, UnixNanos(1));
    record(&mut recorder, &mut feed, &events);
    recorder.end(&feed);
    let (keyframes, taped, ends) = read(&site, Position::First);
    assert_eq!((keyframes.len(), ends), (1, 1), "one epoch, ended well");
    assert_eq!((keyframes[0].epoch, keyframes[0].next, keyframes[0].ts_out), (EPOCH, 0, UnixNanos(1)));
    assert_eq!(taped.len(), events.len());
    for (number, ((event, now), taped)) in events.iter().zip(&taped).enumerate() {
        let expected = Taped { epoch: EPOCH, number: number as u64, ts_out: *now, event: *event };
        assert_eq!(*taped, expected);
    }
    let count = |kind| kinds(&site).iter().filter(|found| **found == kind).count();
    assert!(count(BLOCK) >= events.len() / 50);
    assert!(count(KEYFRAME) > 10 && count(KEYFRAME) == count(INSTRUMENTS));
}

#[test]
fn from_any_keyframe_on_the_same_messages_are_published_again() {
    let site = Site::new();
    let (mut recorder, mut live) = (site.recorder(options()), feed());
    subscribe_to_all(&mut live);
    let events = long_activity();
    recorder.begin(&live, UnixNanos(1));
    let published = record(&mut recorder, &mut live, &events);
    recorder.end(&live);
    for number in [0, 1, 999, 1_000, 2_500, events.len() as u64 - 1] {
        let (keyframes, taped, _) = read(&site, Position::Event { epoch: EPOCH, number });
        let [keyframe] = &keyframes[..] else { panic!("one keyframe") };
        assert!(keyframe.next <= number && taped[0].number == keyframe.next, "{number}");
        let mut again = keyframe.feed(HEARTBEAT_NS).unwrap();
        subscribe_to_all(&mut again);
        let mut republished = Vec::new();
        for taped in &taped {
            again.apply(&taped.event, taped.ts_out, &mut republished);
        }
        assert!(!republished.is_empty());
        let tail = &published[published.len() - republished.len()..];
        assert!(tail == republished, "from event {number}");
    }
    let far = Position::Event { epoch: EPOCH, number: u64::MAX };
    assert!(read(&site, far).0[0].next > 2_500, "the last keyframe reaches every later event");
    let other = Position::Event { epoch: Epoch(1), number: 0 };
    assert!(matches!(Reader::open(&site.directory(), other), Err(TapeError::NotHeld)));
}

#[test]
fn a_time_is_found_by_the_last_keyframe_before_it() {
    let site = Site::new();
    let (mut recorder, mut feed) = (site.recorder(options()), feed());
    let events = long_activity();
    recorder.begin(&feed, UnixNanos(999_000));
    record(&mut recorder, &mut feed, &events);
    recorder.end(&feed);
    let mut far = 0;
    for index in (0..events.len()).step_by(97) {
        let time = events[index].1;
        let (keyframes, taped, _) = read(&site, Position::Time(time));
        assert!(keyframes[0].ts_out <= time);
        let before = taped.iter().filter(|taped| taped.ts_out <= time).count();
        assert_eq!(usize::try_from(keyframes[0].next).unwrap() + before, index + 1);
        far = far.max(before);
    }
    assert!(far < 4 * 50 + 100, "no further than a few blocks: {far}");
    let (keyframes, ..) = read(&site, Position::Time(UnixNanos(1)));
    assert_eq!(keyframes[0].next, 0, "all is younger: the oldest");
}

#[test]
fn a_tape_is_followed_while_it_is_written() {
    let site = Site::new();
    let (mut recorder, mut feed) = (site.recorder(options()), feed());
    recorder.begin(&feed, UnixNanos(1));
    let events = long_activity();
    let (first, second) = events.split_at(1_000);
    let mut taped = 0;
    let mut reader: Option<Reader> = None;
    for part in [first, second] {
        record(&mut recorder, &mut feed, part);
        // A block that is not full stays with the recorder.
        while taped + 50 <= if part.len() == first.len() { 1_000 } else { events.len() } {
            let reader = match &mut reader {
                Some(reader) => reader,
                None => match Reader::open(&site.directory(), Position::First) {
                    Ok(open) => reader.insert(open),
                    Err(_) => continue,
                },
            };
            match reader.next().unwrap() {
                Some(Item::Event(event)) => {
                    assert_eq!(event.number, taped as u64);
                    taped += 1;
                }
                Some(_) => {}
                None => std::thread::yield_now(),
            }
        }
    }
    recorder.end(&feed);
    let reader = reader.as_mut().unwrap();
    let mut ended = false;
    while let Some(item) = reader.next().unwrap() {
        match item {
            Item::Event(_) => taped += 1,
            Item::End => ended = true,
            Item::Keyframe(_) => panic!("no other epoch began"),
        }
    }
    assert_eq!((taped, ended), (events.len(), true));
}

#[test]
fn records_that_do_not_compress_are_split_over_entries_and_found_in_segments_without_a_keyframe() {
    let mut site = Site::new();
    site.tape.segment_bytes = Some(1 << 20);
    let options = RecorderOptions { block_events: 8_192, keyframe_blocks: 3, ..options() };
    let (mut recorder, mut feed) = (site.recorder(options), feed());
    recorder.begin(&feed, UnixNanos(1));
    // Noise in every field: 64 bytes a record, of which nearly all are random.
    let mut state = 1_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.rotate_right(29).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    };
    let noise = (0..60_000u64).map(|number| {
        let kind = MarketEventKind::Trade {
            price: Price::from_nanos(random().cast_signed()),
            quantity: Quantity::from_nanos(random()),
            aggressor: None,
            trade_id: random(),
        };
        let (ts_event, ts_recv) = (UnixNanos(random()), UnixNanos(random()));
        let event = MarketEvent { instrument: InstrumentId(2), ts_event, ts_recv, last: true, kind };
        (event, UnixNanos(number))
    });
    let events: Vec<_> = noise.collect();
    // In turns, so that the tape's wish for a keyframe is heard.
    for part in events.chunks(1_000) {
        record(&mut recorder, &mut feed, part);
    }
    recorder.end(&feed);
    let (_, taped, _) = read(&site, Position::First);
    assert!(taped.iter().map(|taped| (taped.event, taped.ts_out)).eq(events.iter().copied()));
    let entries = sealfeed_audit::reader::entries(&site.directory()).unwrap().map(Result::unwrap);
    let mut segments: Vec<u64> = entries.map(|entry| entry.segment).collect();
    segments.dedup();
    assert!(segments.len() > 4, "{segments:?}");
    // Fed faster than it is written, the log begins segments by itself, and keyframes come late: readers step back.
    for number in (0..60_000).step_by(7_001) {
        let (keyframes, taped, _) = read(&site, Position::Event { epoch: EPOCH, number });
        assert!(keyframes[0].next <= number && taped[0].number == keyframes[0].next);
        assert_eq!(taped.len() as u64, 60_000 - taped[0].number);
    }
}

#[test]
fn a_segment_begins_with_a_keyframe_where_the_tape_keeps_up() {
    let mut site = Site::new();
    site.tape.segment_bytes = Some(1 << 20);
    let options = RecorderOptions { keyframe_blocks: 1_000_000, ..options() };
    let (mut recorder, mut feed) = (site.recorder(options), feed());
    recorder.begin(&feed, UnixNanos(1));
    let activity = long_activity();
    let segments = || sealfeed_audit::follow::Follower::segments(&site.directory()).unwrap();
    let mut recorded = 0;
    while segments().len() < 4 {
        record(&mut recorder, &mut feed, &activity);
        recorded += activity.len() as u64;
        // Until the tape has written all but the block at hand.
        while written(&site) + 50 < recorded {
            std::thread::yield_now();
        }
    }
    recorder.end(&feed);
    let entries = sealfeed_audit::reader::entries(&site.directory()).unwrap().map(Result::unwrap);
    let mut first = std::collections::BTreeMap::new();
    for entry in entries.filter(|entry| entry.header.kind >= BLOCK) {
        first.entry(entry.segment).or_insert(entry.header.kind);
    }
    assert!(first.len() >= 3 && first.values().all(|kind| *kind == INSTRUMENTS), "{first:?}");
}

#[test]
fn a_block_that_was_changed_is_not_handed_out() {
    let site = Site::new();
    let (mut recorder, mut feed) = (site.recorder(options()), feed());
    recorder.begin(&feed, UnixNanos(1));
    record(&mut recorder, &mut feed, &long_activity());
    recorder.end(&feed);
    let entries = sealfeed_audit::reader::entries(&site.directory()).unwrap().map(Result::unwrap);
    let block = entries.filter(|entry| entry.header.kind == BLOCK).nth(20).unwrap();
    let path = site.directory().join("segments").join(sealfeed_audit::segment_name(block.segment));
    let mut permissions = std::fs::metadata(&path).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o644);
    std::fs::set_permissions(&path, permissions).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[usize::try_from(block.offset).unwrap() + 300] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let mut reader = Reader::open(&site.directory(), Position::First).unwrap();
    let mut events = 0;
    // A follower takes damage for what is not written yet: it stands in front of it.
    while let Ok(Some(item)) = reader.next() {
        events += u64::from(matches!(item, Item::Event(_)));
    }
    assert!(events <= 20 * 50, "{events}");
}

#[test]
fn the_next_run_finds_how_the_last_one_ended() {
    let site = Site::new();
    assert_eq!(site.open().last_end, None, "a new tape");
    let (mut recorder, mut feed) = (site.recorder(options()), feed());
    subscribe_to_all(&mut feed);
    recorder.begin(&feed, UnixNanos(1));
    let events = long_activity();
    record(&mut recorder, &mut feed, &events);
    let mut expected = Vec::new();
    let markets = feed.save(&mut expected).unwrap();
    recorder.end(&feed);
    let end = site.open().last_end.unwrap();
    assert_eq!((end.epoch, end.events, end.ts_out), (EPOCH, events.len() as u64, events.last().unwrap().1));
    assert_eq!(end.markets, markets);
    let channels = |market: usize| -> Vec<&str> {
        let mut channels: Vec<_> =
            end.markets[market].streams.iter().map(|stream| stream.channel.as_str()).collect();
        channels.sort_unstable();
        channels.dedup();
        channels
    };
    assert_eq!(channels(0), ["bbo", "book", "definition", "mbo", "status", "trades"]);
    assert_eq!(channels(2), ["definition", "status", "trades"]);
    assert_eq!(
        end.instruments.iter().map(|one| one.symbol.as_str()).collect::<Vec<_>>(),
        ["O", "P", "T", "L"]
    );
    // Opened once more and closed without a word, it is not known how it ended.
    assert_eq!(site.open().last_end, None);
    // A run that goes on counts on.
    let options = RecorderOptions { next: end.events, ..options() };
    let mut recorder = site.recorder(options);
    recorder.begin(&feed, events.last().unwrap().1);
    record(&mut recorder, &mut feed, &events[..100]);
    drop(recorder);
    assert_eq!(site.open().last_end, None, "the run was broken off");
    let (keyframes, taped, ends) = read(&site, Position::First);
    assert_eq!((keyframes.len(), ends), (1, 1), "the epoch went on");
    assert_eq!(taped.len(), events.len() + 100);
}

#[test]
fn every_run_of_another_epoch_begins_with_its_own_keyframe() {
    let site = Site::new();
    let events = sample(&activity(200));
    for epoch in 1..4 {
        let mut feed = Feed::new(
            &instruments(),
            FeedOptions { epoch: Epoch(epoch), heartbeat_ns: HEARTBEAT_NS, rings: RingBounds::NONE },
        );
        let mut recorder = site.recorder(RecorderOptions { epoch: Epoch(epoch), ..options() });
        recorder.begin(&feed, UnixNanos(epoch * 1_000_000_000));
        let later =
            |(event, now): &(MarketEvent, UnixNanos)| (*event, UnixNanos(now.0 + epoch * 1_000_000_000));
        record(&mut recorder, &mut feed, &events.iter().map(later).collect::<Vec<_>>());
        recorder.end(&feed);
    }
    let (keyframes, taped, ends) = read(&site, Position::First);
    assert_eq!(keyframes.iter().map(|keyframe| keyframe.epoch.0).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!((taped.len(), ends), (3 * events.len(), 3));
    let (keyframes, taped, _) = read(&site, Position::Event { epoch: Epoch(2), number: 0 });
    assert_eq!((keyframes[0].epoch, taped[0].epoch), (Epoch(2), Epoch(2)));
    // Between two runs: the state is that in which the first one ended.
    let (keyframes, ..) = read(&site, Position::Time(UnixNanos(1_999_999_999)));
    assert_eq!((keyframes[0].epoch, keyframes[0].next), (Epoch(1), events.len() as u64));
    drop(site.folder);
}

#[test]
fn a_tape_that_fails_is_given_up_with_a_sealed_entry_and_the_audit_log_goes_on() {
    let site = Site::new();
    let (mut recorder, mut feed) = (site.recorder(options()), feed());
    recorder.begin(&feed, UnixNanos(1));
    record(&mut recorder, &mut feed, &long_activity());
    // Without the folder the next segment cannot be made.
    // Moved away in one step: the log may be making the next one at this moment.
    std::fs::rename(site.directory().join("segments"), site.folder.path().join("away")).unwrap();
    std::fs::write(site.directory().join("segments"), b"").unwrap();
    let entries = || sealfeed_audit::reader::entries(&site.config.directory).unwrap();
    let failed = || {
        let mut failed = entries().flatten().filter(|entry| entry.header.kind == 283);
        let Some(entry) = failed.next() else { return false };
        let event = journal::decode(283, entry.header.schema, &entry.payload).unwrap();
        let Some(journal::Event::Tape(tape)) = event else { panic!("{event:?}") };
        assert_eq!((tape.state.as_str(), tape.code.as_str()), ("failed", "SF-AUD-007"));
        assert!(tape.epoch == EPOCH.0 && tape.events > 0 && !tape.detail.is_empty(), "{tape:?}");
        true
    };
    let mut rounds = 0;
    while !failed() {
        record(&mut recorder, &mut feed, &long_activity());
        recorder.end_turn(&feed, UnixNanos(u64::MAX));
        rounds += 1;
        assert!(rounds < 2_000, "the failure was never noticed");
    }
    // Nobody waits for a tape that was given up, and the audit log takes entries as before.
    for _ in 0..3 {
        record(&mut recorder, &mut feed, &long_activity());
    }
    recorder.end(&feed);
    let stop = site.journal.record(journal::event::Stop { reason: "test".to_owned() }).unwrap();
    site.journal.wait_durable(stop).unwrap();
}

#[test]
fn nothing_is_on_the_tape_before_what_was_recorded_until_then_is_durable() {
    let site = Site::new();
    let (mut recorder, mut feed) = (site.recorder(options()), feed());
    recorder.begin(&feed, UnixNanos(1));
    for (round, events) in long_activity().chunks(10).take(40).enumerate() {
        let entry = journal::event::Stop { reason: round.to_string() };
        let entry = site.journal.record(entry).unwrap();
        record(&mut recorder, &mut feed, events);
        recorder.flush();
        let recorded = (round as u64 + 1) * 10;
        while written(&site) < recorded {
            std::thread::yield_now();
        }
        assert!(site.journal.is_durable(entry).unwrap(), "round {round}");
    }
}
