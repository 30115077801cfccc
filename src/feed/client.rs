//! A reader of one book stream, written from the protocol's text alone, for the tests.

use std::collections::BTreeMap;

use sealfeed_wire::market::BookMessage;
use sealfeed_wire::{Level, MarketMessage, ServerMessage, checksum};

use crate::types::{BookDecimals, Sequence};

/// What a reader holds. Fails the test as soon as a message does not continue what it has.
#[derive(Debug)]
pub(super) struct BookClient {
    levels_max: usize,
    decimals: BookDecimals,
    pub(super) seq: Sequence,
    pub(super) checksums: u64,
    pub(super) deltas: u64,
    deltas_unchecked: u64,
    bids: BTreeMap<i64, Level>,
    asks: BTreeMap<i64, Level>,
}

pub(super) fn decode(message: &[u8]) -> MarketMessage {
    match ServerMessage::decode(std::str::from_utf8(message).unwrap()).unwrap() {
        ServerMessage::Market(message) => message,
        other => panic!("not a market message: {other:?}"),
    }
}

impl BookClient {
    /// Starts with a snapshot.
    pub(super) fn new(levels_max: usize, decimals: BookDecimals, state: &[u8]) -> Self {
        let MarketMessage::Snapshot(snapshot) = decode(state) else {
            panic!("a book begins with a snapshot")
        };
        assert_eq!(snapshot.header.prev_seq, None);
        assert!(snapshot.checksum.is_some(), "every snapshot carries a checksum");
        assert!(snapshot.bids.len() <= levels_max && snapshot.asks.len() <= levels_max);
        let mut client = Self {
            levels_max,
            decimals,
            seq: snapshot.header.seq,
            checksums: 0,
            deltas: 0,
            deltas_unchecked: 0,
            bids: BTreeMap::new(),
            asks: BTreeMap::new(),
        };
        client.take_over(&snapshot);
        client
    }

    /// Applies a delta.
    pub(super) fn apply(&mut self, message: &[u8]) {
        let MarketMessage::Delta(delta) = decode(message) else { panic!("a book goes on with deltas") };
        assert_eq!(delta.header.prev_seq, Some(self.seq), "the chain of messages is broken");
        assert_eq!(delta.header.seq, self.seq.next(), "a sequence number is missing");
        assert!(!delta.bids.is_empty() || !delta.asks.is_empty(), "an empty delta says nothing");
        self.seq = delta.header.seq;
        self.deltas += 1;
        self.deltas_unchecked += 1;
        self.take_over(&delta);
        assert!(self.deltas_unchecked < 100, "every 100th delta at least carries a checksum");
    }

    pub(super) fn bids(&self) -> Vec<Level> {
        self.bids.values().rev().copied().collect()
    }

    pub(super) fn asks(&self) -> Vec<Level> {
        self.asks.values().copied().collect()
    }

    /// Applies all, then truncates, then checks.
    fn take_over(&mut self, message: &BookMessage) {
        for (levels, side) in [(&message.bids, &mut self.bids), (&message.asks, &mut self.asks)] {
            for level in levels {
                let before = side.remove(&level.price.nanos());
                assert!(before != Some(*level), "an unchanged level was sent");
                if !level.quantity.is_zero() {
                    side.insert(level.price.nanos(), *level);
                } else {
                    assert!(before.is_some(), "a level was removed that was not there");
                }
            }
        }
        while self.bids.len() > self.levels_max {
            self.bids.pop_first();
        }
        while self.asks.len() > self.levels_max {
            self.asks.pop_last();
        }
        if let Some(expected) = message.checksum {
            assert_eq!(checksum::checksum(&self.bids(), &self.asks(), self.decimals), expected);
            self.checksums += 1;
            self.deltas_unchecked = 0;
        }
    }
}
