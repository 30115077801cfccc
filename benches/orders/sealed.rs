//! What the product's log holds of the orders of a run, read from its files when the server has ended.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use sealfeed_audit::reader::entries;

use super::load::Outcome;
use super::setup::SYMBOLS;

/// A frame's head and checksum around an entry in a segment.
const FRAME_BYTES: u64 = 24;
/// How long a server may take to fill the segments after its first ones with zeros.
const AHEAD_MAX: Duration = Duration::from_secs(120);

/// Entries that an order has in the log, its reports included.
pub(crate) struct Sealed {
    /// Bytes for one order.
    pub(crate) order_bytes: u64,
    /// Entries for a thousand orders.
    pub(crate) entries_of_thousand: u64,
    /// Of a thousand orders, those with a report that missed the group of the order itself: their answers waited for two writes.
    pub(crate) split_of_thousand: u64,
}

impl Sealed {
    /// Reads the log. It must hold every order that was answered, and the entries that the last answers name.
    pub(crate) fn read(log: &Path, outcome: &Outcome) -> Self {
        let (mut orders, mut of_orders, mut bytes) = (0, 0, 0);
        // The first orders of all took what the synthetic market offered: no order of the load trades so much.
        let mut sweeps: Vec<u64> = Vec::new();
        // Of the order that came last, whose reports follow it: its group, and whether it is counted.
        let (mut group, mut is_split, mut split) = (0, false, 0);
        let mut named: HashMap<u64, &str> =
            outcome.receipts.iter().map(|receipt| (receipt.seq, receipt.hash.as_str())).collect();
        for entry in entries(log).expect("a log") {
            let entry = entry.expect("an entry");
            if let Some(hash) = named.remove(&entry.header.seq) {
                assert_eq!(sealfeed_audit::hex(&entry.hash), hash, "the receipt names its entry");
            }
            let Some(link) = entry.header.order else { continue };
            if link.previous.is_none() && sweeps.len() < SYMBOLS.len() {
                sweeps.push(link.id);
            }
            if sweeps.contains(&link.id) {
                continue;
            }
            if link.previous.is_none() {
                (group, is_split) = (entry.header.group, false);
            } else if entry.header.group != group && !is_split {
                is_split = true;
                split += 1;
            }
            of_orders += 1;
            orders += u64::from(link.previous.is_none());
            bytes += entry.to_bytes().len() as u64 + FRAME_BYTES;
        }
        assert!(named.is_empty(), "the log lacks entries of receipts: {named:?}");
        assert!(
            orders >= outcome.orders_in_all,
            "{orders} orders sealed, {} answered",
            outcome.orders_in_all
        );
        Self {
            order_bytes: bytes / orders,
            entries_of_thousand: of_orders * 1_000 / orders,
            split_of_thousand: split * 1_000 / orders,
        }
    }
}

/// Waits until the log and the tape beside it have their next segments ready: filling them takes the disk from what is measured, and
/// comes once in a segment.
pub(crate) fn wait_until_filled(log: &Path, segment_bytes: u64) {
    let tape = sealfeed::config::tape_directory(log);
    let bytes =
        |folder: &Path| std::fs::metadata(folder.join("segments/ahead.tmp")).map_or(0, |file| file.len());
    let least = segment_bytes.min(64 * 1024 * 1024);
    let mut waited = Duration::ZERO;
    while bytes(log) < segment_bytes || bytes(&tape) < least {
        assert!(waited < AHEAD_MAX, "the next segment is not filled after {AHEAD_MAX:?}");
        std::thread::sleep(STEP);
        waited += STEP;
    }
}

const STEP: Duration = Duration::from_millis(20);
