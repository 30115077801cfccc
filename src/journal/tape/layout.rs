//! What the entries of the tape look like, short of the records in their blocks (`docs/TAPE.md`).
//!
//! Kind numbers are permanent and none of the audit log's, so that neither is ever taken for the other. Fixed headers are
//! little-endian; lists are postcard, strict: one content has one form. What a reader allocates is bounded by the constants here.

use serde::{Deserialize, Serialize};

use crate::types::{Epoch, UnixNanos};

/// Kind of an entry that holds a block of records.
pub const BLOCK: u16 = 1_024;
/// Kind of an entry that holds a part of the state of all markets.
pub const KEYFRAME: u16 = 1_025;
/// Kind of an entry that lists instruments.
pub const INSTRUMENTS: u16 = 1_026;
/// Kind of the entry that ends a run in good order.
pub const END: u16 = 1_027;

/// Version of all these layouts. In version 1 the number of a stream with a state counted only what somebody had read; in version 2 an
/// auction call said nothing of what it came to.
pub const SCHEMA: u16 = 3;

/// Most bytes that the records of one block, or one part of a keyframe, have before compression.
pub const UNPACKED_BYTES_MAX: usize = 4 << 20;
/// Most bytes that all parts of a keyframe have together before compression: some ten million resting orders.
pub const KEYFRAME_BYTES_MAX: usize = 1 << 30;
/// Instruments listed in one entry.
pub const INSTRUMENTS_PER_ENTRY_MAX: usize = 256;
/// Most instruments a tape can have: as many as a table of them.
pub const INSTRUMENTS_MAX: u32 = 1 << 24;

/// Bytes of the header of a block.
pub const BLOCK_HEADER_BYTES: usize = 40;
/// Bytes of the header of a part of a keyframe.
pub const KEYFRAME_HEADER_BYTES: usize = 40;

/// What stands in front of the compressed records of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// The feed's epoch.
    pub epoch: Epoch,
    /// Number of its first event, from 0 in each epoch.
    pub first: u64,
    /// When the feed published its first event.
    pub first_out: UnixNanos,
    /// When it published the last one.
    pub last_out: UnixNanos,
    /// How many events; at least one.
    pub events: u32,
    /// Bytes of the records before compression.
    pub bytes: u32,
}

impl BlockHeader {
    /// The header and what follows it.
    #[must_use]
    pub fn to_payload(&self, packed: &[u8]) -> Vec<u8> {
        let numbers = [self.epoch.0, self.first, self.first_out.0, self.last_out.0];
        payload(numbers, [self.events, self.bytes], packed)
    }

    /// Takes a payload apart; `None` when it is no block.
    #[must_use]
    pub fn from_payload(payload: &[u8]) -> Option<(Self, &[u8])> {
        let ([epoch, first, first_out, last_out], [events, bytes], packed) = parts(payload)?;
        let header = Self {
            epoch: Epoch(epoch),
            first,
            first_out: UnixNanos(first_out),
            last_out: UnixNanos(last_out),
            events,
            bytes,
        };
        let fits = events > 0 && bytes as usize <= UNPACKED_BYTES_MAX;
        fits.then_some((header, packed))
    }
}

/// What stands in front of a compressed part of a keyframe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyframeHeader {
    /// The feed's epoch.
    pub epoch: Epoch,
    /// Number of the event that comes next.
    pub next: u64,
    /// Since when this is the state: when the event before was published, or the run began.
    pub ts_out: UnixNanos,
    /// Place of this part, from 0.
    pub part: u32,
    /// Whether it is the last one.
    pub is_last: bool,
    /// Bytes of this part before compression.
    pub bytes: u32,
}

impl KeyframeHeader {
    /// The header and what follows it.
    #[must_use]
    pub fn to_payload(&self, packed: &[u8]) -> Vec<u8> {
        let numbers = [self.epoch.0, self.next, self.ts_out.0, u64::from(self.is_last)];
        payload(numbers, [self.part, self.bytes], packed)
    }

    /// Takes a payload apart; `None` when it is no part of a keyframe.
    #[must_use]
    pub fn from_payload(payload: &[u8]) -> Option<(Self, &[u8])> {
        let ([epoch, next, ts_out, is_last], [part, bytes], packed) = parts(payload)?;
        let is_last = match is_last {
            0 => false,
            1 => true,
            _ => return None,
        };
        let header = Self { epoch: Epoch(epoch), next, ts_out: UnixNanos(ts_out), part, is_last, bytes };
        (bytes as usize <= UNPACKED_BYTES_MAX).then_some((header, packed))
    }
}

fn payload(numbers: [u64; 4], counts: [u32; 2], packed: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(BLOCK_HEADER_BYTES + packed.len());
    numbers.iter().for_each(|number| payload.extend_from_slice(&number.to_le_bytes()));
    counts.iter().for_each(|count| payload.extend_from_slice(&count.to_le_bytes()));
    payload.extend_from_slice(packed);
    payload
}

fn parts(payload: &[u8]) -> Option<([u64; 4], [u32; 2], &[u8])> {
    let (mut numbers, mut counts, mut rest) = ([0; 4], [0; 2], payload);
    for number in &mut numbers {
        let (bytes, after) = rest.split_first_chunk()?;
        (*number, rest) = (u64::from_le_bytes(*bytes), after);
    }
    for count in &mut counts {
        let (bytes, after) = rest.split_first_chunk()?;
        (*count, rest) = (u32::from_le_bytes(*bytes), after);
    }
    Some((numbers, counts, rest))
}

/// Where a stream stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamState {
    /// Its channel, as on the wire.
    pub channel: String,
    /// Its depth in levels; 0 for the full book and for channels without one.
    pub depth: u32,
    /// Its last sequence number.
    pub seq: u64,
    /// Whether somebody followed it, or had until just before, in texts.
    pub texts: bool,
    /// The same, in records.
    pub records: bool,
}

/// What a market needs to go on, beside the records of its book.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarketState {
    /// Trades that the feed numbered itself.
    pub trades_counted: u64,
    /// When the last event happened, nanoseconds.
    pub ts_event: u64,
    /// When it was received, nanoseconds.
    pub ts_recv: u64,
    /// Whether its source has stalled or ended.
    pub is_stale: bool,
    /// Its streams that had a message or are followed: of all that follow from the events, and of bars.
    pub streams: Vec<StreamState>,
}

/// Instruments, by their place in the table of the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstrumentList {
    /// Place of the first of `list`.
    pub first: u32,
    /// How many there are in all.
    pub total: u32,
    /// The instruments.
    pub list: Vec<TapedInstrument>,
}

/// One instrument of the tape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TapedInstrument {
    /// Text name on the wire.
    pub symbol: String,
    /// Decimals of its prices.
    pub price_decimals: u8,
    /// Decimals of its quantities: the unit of sizes in its records.
    pub quantity_decimals: u8,
    /// Smallest price step in 1e-9.
    pub tick: i64,
    /// Smallest quantity step in 1e-9.
    pub lot: u64,
    /// What its source shows: `orders`, `levels`, `top` or `trades`.
    pub depth: String,
    /// Lowest and highest price of an order in 1e-9, if orders are bounded.
    pub band: Option<(i64, i64)>,
    /// Whether orders are taken in it.
    pub tradable: bool,
    /// Whether these are filled on paper.
    pub paper: bool,
}

/// The run ended in good order: the keyframe in front of this entry is the state it ended in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The feed's epoch.
    pub epoch: u64,
    /// Events recorded in the epoch.
    pub events: u64,
    /// When the last one was published, or the run began, nanoseconds.
    pub ts_out: u64,
    /// Sequence number of the entry in which the last keyframe begins: the first that lists instruments.
    pub keyframe: u64,
}

/// The payload of a list.
///
/// # Errors
/// None that its values can cause.
pub fn pack<T: Serialize>(value: &T) -> Result<Vec<u8>, postcard::Error> {
    postcard::to_allocvec(value)
}

/// Reads a list, all of it.
#[must_use]
pub fn unpack<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Option<T> {
    match postcard::take_from_bytes(payload) {
        Ok((value, [])) => Some(value),
        _ => None,
    }
}

/// The unpacked content of a whole keyframe: the length of the markets' states, the states, the records of their books.
///
/// # Errors
/// None that its values can cause.
pub fn join_keyframe(states: &[MarketState], records: &[u8]) -> Result<Vec<u8>, postcard::Error> {
    let states = postcard::to_allocvec(states)?;
    let mut content = Vec::with_capacity(8 + states.len() + records.len());
    content.extend_from_slice(&(states.len() as u64).to_le_bytes());
    content.extend_from_slice(&states);
    content.extend_from_slice(records);
    Ok(content)
}

/// Takes such content apart; `None` when it is none.
#[must_use]
pub fn split_keyframe(content: &[u8]) -> Option<(Vec<MarketState>, &[u8])> {
    let (length, rest) = content.split_first_chunk()?;
    let (states, records) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    Some((unpack(states)?, records))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_read_back_and_short_or_impossible_ones_are_refused() {
        let block = BlockHeader {
            epoch: Epoch(7),
            first: 1 << 40,
            first_out: UnixNanos(5),
            last_out: UnixNanos(6),
            events: 3,
            bytes: 192,
        };
        let payload = block.to_payload(b"packed");
        assert_eq!(payload.len(), BLOCK_HEADER_BYTES + 6);
        assert_eq!(BlockHeader::from_payload(&payload), Some((block, &b"packed"[..])));
        assert_eq!(BlockHeader::from_payload(&payload[..BLOCK_HEADER_BYTES - 1]), None);
        assert_eq!(BlockHeader::from_payload(&BlockHeader { events: 0, ..block }.to_payload(b"")), None);
        assert_eq!(
            BlockHeader::from_payload(&BlockHeader { bytes: u32::MAX, ..block }.to_payload(b"")),
            None
        );
        let keyframe = KeyframeHeader {
            epoch: Epoch(7),
            next: 9,
            ts_out: UnixNanos(6),
            part: 2,
            is_last: true,
            bytes: 77,
        };
        let mut payload = keyframe.to_payload(b"packed");
        assert_eq!(KeyframeHeader::from_payload(&payload), Some((keyframe, &b"packed"[..])));
        payload[24] = 2;
        assert_eq!(KeyframeHeader::from_payload(&payload), None);
    }

    #[test]
    fn lists_read_back_and_nothing_may_follow_them() {
        let end = End { epoch: 1, events: 2, ts_out: 3, keyframe: 4 };
        let mut payload = pack(&end).unwrap();
        assert_eq!(unpack(&payload), Some(end));
        payload.push(0);
        assert_eq!(unpack::<End>(&payload), None);
        let state = MarketState { trades_counted: 3, ..MarketState::default() };
        let content = join_keyframe(&[state.clone(), MarketState::default()], b"records").unwrap();
        assert_eq!(split_keyframe(&content), Some((vec![state, MarketState::default()], &b"records"[..])));
        assert_eq!(split_keyframe(&content[..9]), None);
        assert_eq!(split_keyframe(&[255; 64]), None);
    }
}
