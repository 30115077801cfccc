//! `ohlcv`: open, high, low, close and volume of the trades of one interval; and the notice that an interval is over.
//!
//! An interval without a trade has no bar. Its end is told all the same, so that nobody waits for one.

use super::encode::{write_header, write_number};
use super::encode_notice::write_beat;
use super::fields::{message_fields, notice_fields};
use super::{BookDecimals, Heartbeat, StreamHeader, StreamKey};
use crate::decimal::{Price, Quantity, Scaled, write_integer};
use crate::value::{Sequence, UnixNanos};

/// The trades of one interval. `ts_event` of the header is the beginning of the interval, which belongs to it; the interval's
/// length is the channel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ohlcv {
    /// Stream and position.
    pub header: StreamHeader,
    /// First price.
    pub open: Price,
    /// Highest price.
    pub high: Price,
    /// Lowest price.
    pub low: Price,
    /// Last price.
    pub close: Price,
    /// Sum of the quantities; the largest number of the wire if it is beyond that.
    pub volume: Quantity,
    /// Number of trades; never zero.
    pub trades: u64,
}

/// `interval_end`: every bar up to this time has been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntervalEnd {
    /// The stream.
    pub stream: StreamKey,
    /// Position of its last bar.
    pub seq: Sequence,
    /// End of the interval by the venue's clock: the beginning of the next one.
    pub ts: UnixNanos,
}

message_fields!(OhlcvFields {
    open: Price,
    high: Price,
    low: Price,
    close: Price,
    volume: Quantity,
    trades: u64,
});

notice_fields!(IntervalFields { seq: Sequence, ts: UnixNanos });

impl Ohlcv {
    pub(super) fn read(text: &str) -> serde_json::Result<Self> {
        let fields: OhlcvFields = serde_json::from_str(text)?;
        let header = fields.header();
        let OhlcvFields { open, high, low, close, volume, trades, .. } = fields;
        Ok(Self { header, open, high, low, close, volume, trades })
    }
}

impl IntervalEnd {
    pub(super) fn read(text: &str) -> serde_json::Result<Self> {
        let fields: IntervalFields = serde_json::from_str(text)?;
        Ok(Self { stream: fields.stream(), seq: fields.seq, ts: fields.ts })
    }
}

/// Appends an `ohlcv`.
pub fn encode_ohlcv(out: &mut Vec<u8>, bar: &Ohlcv, decimals: BookDecimals) {
    write_header(out, b"{\"type\":\"ohlcv\",\"channel\":\"", &bar.header);
    for (key, price) in [
        (&b",\"open\":"[..], bar.open),
        (b",\"high\":", bar.high),
        (b",\"low\":", bar.low),
        (b",\"close\":", bar.close),
    ] {
        write_number(out, key, Some(Scaled::new(price, decimals.price)));
    }
    write_number(out, b",\"volume\":", Some(Scaled::new(bar.volume, decimals.quantity)));
    out.extend_from_slice(b",\"trades\":");
    write_integer(out, bar.trades);
    out.push(b'}');
}

/// Appends an `interval_end`.
pub fn encode_interval_end(out: &mut Vec<u8>, end: &IntervalEnd) {
    let IntervalEnd { stream, seq, ts } = *end;
    write_beat(out, b"{\"type\":\"interval_end\",\"channel\":\"", &Heartbeat { stream, seq, ts });
}
