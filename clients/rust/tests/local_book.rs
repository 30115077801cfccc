//! `LocalBook` against a naive model: a whole book in a map, from which the stream of one depth is derived.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on may panic")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use sealfeed_client::wire::checksum::checksum;
use sealfeed_client::wire::market::{BookDecimals, BookMessage, Level, StreamHeader};
use sealfeed_client::wire::{Channel, Decimals, Depth, Epoch, Price, Quantity, Sequence, Symbol, UnixNanos};
use sealfeed_client::{BookError, BookUpdate, LocalBook};

const EPOCH: Epoch = Epoch(7);

fn symbol() -> Symbol {
    Symbol::new("ESH4").unwrap()
}

fn decimals() -> BookDecimals {
    BookDecimals { price: Decimals::new(2).unwrap(), quantity: Decimals::new(0).unwrap() }
}

fn seq(number: u64) -> Sequence {
    Sequence::new(number).unwrap()
}

fn level(price: i64, quantity: u64) -> Level {
    let (price, quantity) =
        (Price::from_nanos(price * 10_000_000), Quantity::from_nanos(quantity * 1_000_000_000));
    Level { price, quantity, orders: 1 }
}

/// The server's side: the whole book, and what a subscriber of one depth was told.
struct Model {
    bids: BTreeMap<i64, u64>,
    asks: BTreeMap<i64, u64>,
    depth: Depth,
    seq: u64,
}

impl Model {
    fn new(depth: Depth) -> Self {
        Self { bids: BTreeMap::new(), asks: BTreeMap::new(), depth, seq: 0 }
    }

    fn top(&self) -> (Vec<Level>, Vec<Level>) {
        let levels_max = self.depth.levels_max();
        let make = |(price, quantity): (&i64, &u64)| level(*price, *quantity);
        (
            self.bids.iter().rev().map(make).take(levels_max).collect(),
            self.asks.iter().map(make).take(levels_max).collect(),
        )
    }

    fn header(&self, prev_seq: Option<u64>) -> StreamHeader {
        let ts = UnixNanos(1);
        StreamHeader {
            channel: Channel::Book,
            symbol: symbol(),
            epoch: EPOCH,
            seq: seq(self.seq),
            prev_seq: prev_seq.map(seq),
            ts_event: ts,
            ts_recv: ts,
            ts_out: ts,
            delayed_ms: None,
        }
    }

    fn snapshot(&self) -> BookMessage {
        let (bids, asks) = self.top();
        let checksum = Some(checksum(&bids, &asks, decimals()));
        BookMessage { header: self.header(None), bids, asks, checksum }
    }

    /// Sets levels (zero removes) and tells what that changed within the depth.
    fn change(&mut self, changes: &[Change]) -> BookMessage {
        let before = self.top();
        for change in changes {
            let side = if change.is_bid { &mut self.bids } else { &mut self.asks };
            if change.quantity == 0 {
                side.remove(&change.price);
            } else {
                side.insert(change.price, change.quantity);
            }
        }
        let after = self.top();
        self.seq += 1;
        BookMessage {
            header: self.header(Some(self.seq - 1)),
            bids: told(&before.0, &after.0, &self.bids),
            asks: told(&before.1, &after.1, &self.asks),
            checksum: self.seq.is_multiple_of(3).then(|| checksum(&after.0, &after.1, decimals())),
        }
    }
}

/// What a subscriber is told of one side: what left the whole book, and what is new or changed in the depth.
/// That a level was only pushed out of the depth is for the subscriber to see.
fn told(before: &[Level], after: &[Level], side: &BTreeMap<i64, u64>) -> Vec<Level> {
    let is_gone = |old: &&Level| !side.contains_key(&(old.price.nanos() / 10_000_000));
    let gone = before.iter().filter(is_gone).map(|old| Level { quantity: Quantity::ZERO, ..*old });
    gone.chain(after.iter().filter(|new| !before.contains(new)).copied()).collect()
}

#[derive(Clone, Copy, Debug)]
struct Change {
    is_bid: bool,
    price: i64,
    quantity: u64,
}

fn event() -> impl Strategy<Value = Vec<Change>> {
    let change = (any::<bool>(), 1_i64..40, 0_u64..4);
    let change = change.prop_map(|(is_bid, price, quantity)| Change { is_bid, price, quantity });
    proptest::collection::vec(change, 1..6)
}

fn live(model: &Model) -> LocalBook {
    let mut book = LocalBook::new(symbol(), model.depth, decimals());
    book.apply(BookUpdate::Snapshot(&model.snapshot())).unwrap();
    book
}

fn check_equal(book: &LocalBook, model: &Model) {
    let view = book.view().unwrap();
    assert_eq!((view.bids.to_vec(), view.asks.to_vec()), model.top());
    assert_eq!(view.header.seq, seq(model.seq));
}

/// A model with some levels, and a book that follows it.
fn standing(depth: Depth) -> (Model, LocalBook) {
    let mut model = Model::new(depth);
    for price in 1..15 {
        model.change(&[
            Change { is_bid: true, price, quantity: 2 },
            Change { is_bid: false, price: 20 + price, quantity: 3 },
        ]);
    }
    let book = live(&model);
    (model, book)
}

proptest! {
    #[test]
    fn a_followed_book_equals_the_servers_after_every_message(
        before in proptest::collection::vec(event(), 0..30),
        after in proptest::collection::vec(event(), 1..60),
        depth in prop_oneof![Just(Depth::Ten), Just(Depth::Fifty), Just(Depth::Full)],
    ) {
        let mut model = Model::new(depth);
        for changes in &before {
            model.change(changes);
        }
        let mut book = live(&model);
        check_equal(&book, &model);
        for changes in &after {
            let delta = model.change(changes);
            book.apply(BookUpdate::Delta(&delta)).unwrap();
            check_equal(&book, &model);
        }
    }

    #[test]
    fn one_lost_message_is_always_noticed_and_a_snapshot_heals_it(
        events in proptest::collection::vec(event(), 3..40),
        lost in 0_usize..40,
    ) {
        let (mut model, mut book) = standing(Depth::Ten);
        let lost = lost % (events.len() - 1);
        for (index, changes) in events.iter().enumerate() {
            let delta = model.change(changes);
            if index == lost {
                continue;
            }
            let applied = book.apply(BookUpdate::Delta(&delta));
            if index < lost {
                applied.unwrap();
            } else if index == lost + 1 {
                let missing = seq(model.seq - 1);
                prop_assert_eq!(applied, Err(BookError::Gap { from: missing, to: missing }));
            } else {
                prop_assert_eq!(applied, Err(BookError::NoSnapshot));
            }
        }
        let is_gap = matches!(book.view(), Err(BookError::Gap { .. }));
        prop_assert!(is_gap);
        book.apply(BookUpdate::Snapshot(&model.snapshot())).unwrap();
        check_equal(&book, &model);
    }
}

#[test]
fn a_delta_before_any_snapshot_shows_no_book() {
    let mut model = Model::new(Depth::Ten);
    let delta = model.change(&[Change { is_bid: true, price: 1, quantity: 1 }]);
    let mut book = LocalBook::new(symbol(), Depth::Ten, decimals());
    assert_eq!(book.apply(BookUpdate::Delta(&delta)), Err(BookError::NoSnapshot));
    assert_eq!(book.view().unwrap_err(), BookError::NoSnapshot);
}

#[test]
fn a_wrong_checksum_takes_the_book_away() {
    let (mut model, mut book) = standing(Depth::Ten);
    let mut delta = model.change(&[Change { is_bid: true, price: 13, quantity: 9 }]);
    let (bids, asks) = model.top();
    let computed = checksum(&bids, &asks, decimals());
    delta.checksum = Some(computed ^ 1);
    let error = BookError::Checksum { announced: computed ^ 1, computed };
    assert_eq!(book.apply(BookUpdate::Delta(&delta)), Err(error));
    assert_eq!(book.view().unwrap_err(), error);

    let mut snapshot = model.snapshot();
    snapshot.checksum = Some(computed ^ 2);
    assert!(matches!(book.apply(BookUpdate::Snapshot(&snapshot)), Err(BookError::Checksum { .. })));
    assert!(book.view().is_err());
}

#[test]
fn a_level_that_was_silently_changed_shows_at_the_next_checksum() {
    let (mut model, mut book) = standing(Depth::Ten);
    loop {
        let mut delta = model.change(&[Change { is_bid: true, price: 14, quantity: 100 + model.seq }]);
        if delta.checksum.is_some() {
            delta.bids[0].quantity = Quantity::from_nanos(7_000_000_000);
            assert!(matches!(book.apply(BookUpdate::Delta(&delta)), Err(BookError::Checksum { .. })));
            break;
        }
        book.apply(BookUpdate::Delta(&delta)).unwrap();
    }
}

#[test]
fn a_message_that_comes_twice_is_not_applied_twice() {
    let (mut model, mut book) = standing(Depth::Ten);
    let delta = model.change(&[Change { is_bid: true, price: 13, quantity: 9 }]);
    book.apply(BookUpdate::Delta(&delta)).unwrap();
    let error = BookError::Repeated { seq: seq(model.seq) };
    assert_eq!(book.apply(BookUpdate::Delta(&delta)), Err(error));
    assert_eq!(book.view().unwrap_err(), error);
}

#[test]
fn a_new_epoch_needs_a_snapshot_and_is_no_gap() {
    let (mut model, mut book) = standing(Depth::Ten);
    let mut delta = model.change(&[Change { is_bid: true, price: 13, quantity: 9 }]);
    delta.header.epoch = Epoch(8);
    assert_eq!(book.apply(BookUpdate::Delta(&delta)), Err(BookError::EpochChanged { epoch: Epoch(8) }));

    let mut snapshot = model.snapshot();
    snapshot.header.epoch = Epoch(8);
    snapshot.header.seq = seq(1);
    book.apply(BookUpdate::Snapshot(&snapshot)).unwrap();
    assert_eq!(book.view().unwrap().header.epoch, Epoch(8));
}

#[test]
fn a_heartbeat_beyond_our_position_proves_a_loss() {
    let (model, mut book) = standing(Depth::Ten);
    book.heartbeat(EPOCH, seq(model.seq)).unwrap();
    let gap = BookError::Gap { from: seq(model.seq + 1), to: seq(model.seq + 2) };
    assert_eq!(book.heartbeat(EPOCH, seq(model.seq + 2)), Err(gap));
    assert_eq!(book.view().unwrap_err(), gap);
}

#[test]
fn levels_that_are_no_book_are_refused() {
    let (model, mut book) = standing(Depth::Ten);
    let good = model.snapshot();
    let swap = |levels: &mut Vec<Level>| levels.swap(0, 1);
    let repeat = |levels: &mut Vec<Level>| levels[1] = levels[0];
    let empty = |levels: &mut Vec<Level>| levels[0].quantity = Quantity::ZERO;
    let deep = |levels: &mut Vec<Level>| levels.push(level(90, 1));
    let spoils: [fn(&mut Vec<Level>); 4] = [swap, repeat, empty, deep];
    for spoil in spoils {
        let mut snapshot = good.clone();
        spoil(&mut snapshot.asks);
        assert_eq!(book.apply(BookUpdate::Snapshot(&snapshot)), Err(BookError::SnapshotInvalid));
        assert!(book.view().is_err());
    }
    let unchecked = BookMessage { checksum: None, ..good };
    assert_eq!(book.apply(BookUpdate::Snapshot(&unchecked)), Err(BookError::SnapshotInvalid));
}

#[test]
fn a_level_finer_than_the_instrument_is_refused() {
    let (mut model, mut book) = standing(Depth::Ten);
    let mut delta = model.change(&[Change { is_bid: true, price: 13, quantity: 9 }]);
    delta.bids[0].quantity = Quantity::from_nanos(1);
    assert_eq!(book.apply(BookUpdate::Delta(&delta)), Err(BookError::DecimalsExceeded));
    assert!(book.view().is_err());
}

#[test]
fn a_crossed_book_is_shown_as_it_is() {
    let mut model = Model::new(Depth::Ten);
    model.change(&[
        Change { is_bid: true, price: 9, quantity: 1 },
        Change { is_bid: false, price: 5, quantity: 1 },
    ]);
    check_equal(&live(&model), &model);
}

#[test]
fn a_message_of_another_stream_changes_nothing() {
    let (mut model, mut book) = standing(Depth::Ten);
    let mut delta = model.change(&[Change { is_bid: true, price: 13, quantity: 9 }]);
    delta.header.symbol = Symbol::new("NQH4").unwrap();
    assert_eq!(book.apply(BookUpdate::Delta(&delta)), Err(BookError::OtherStream));
    delta.header.symbol = symbol();
    book.apply(BookUpdate::Delta(&delta)).unwrap();
    check_equal(&book, &model);
}

#[test]
fn an_interrupted_book_is_gone_with_its_reason() {
    let (_, mut book) = standing(Depth::Ten);
    book.interrupt(BookError::Interrupted);
    assert_eq!(book.view().unwrap_err(), BookError::Interrupted);
}
