//! Data messages into JSON bytes.
//!
//! Every identifier's and principal's alphabet needs no escaping, so texts are copied as they are. The order of the fields is fixed
//! (the golden vectors hold it), though JSON readers must not depend on it.

use super::{
    Bbo, BookDecimals, CancelReason, Delta, Exec, ExecKind, Fill, Level, Liquidity, Snapshot, StreamHeader,
    Trade,
};
use crate::decimal::{Nanos, Scaled, write_integer};
use crate::reply::Receipt;

/// Appends a `trade`.
pub fn encode_trade(out: &mut Vec<u8>, trade: &Trade, decimals: BookDecimals) {
    write_header(out, b"{\"type\":\"trade\",\"channel\":\"", &trade.header);
    out.extend_from_slice(b",\"price\":\"");
    trade.price.write(out, decimals.price);
    out.extend_from_slice(b"\",\"qty\":\"");
    trade.quantity.write(out, decimals.quantity);
    out.extend_from_slice(b"\",\"side\":\"");
    out.extend_from_slice(trade.side.as_str().as_bytes());
    out.extend_from_slice(b"\",\"trade_id\":");
    write_text_or_null(out, trade.trade_id.as_ref().map(crate::ident::TradeId::as_bytes));
    out.push(b'}');
}

/// Appends a `bbo`.
pub fn encode_bbo(out: &mut Vec<u8>, bbo: &Bbo, decimals: BookDecimals) {
    write_header(out, b"{\"type\":\"bbo\",\"channel\":\"", &bbo.header);
    for (name, level) in [(&b",\"bid\":"[..], &bbo.bid), (b",\"ask\":", &bbo.ask)] {
        out.extend_from_slice(name);
        match level {
            Some(level) => write_level(out, level, decimals),
            None => out.extend_from_slice(b"null"),
        }
    }
    out.push(b'}');
}

/// Appends a `snapshot`.
pub fn encode_snapshot(out: &mut Vec<u8>, snapshot: &Snapshot<'_>, decimals: BookDecimals) {
    write_header(out, b"{\"type\":\"snapshot\",\"channel\":\"", &snapshot.header);
    write_levels(out, b",\"bids\":[", snapshot.bids, decimals);
    write_levels(out, b",\"asks\":[", snapshot.asks, decimals);
    write_checksum(out, snapshot.checksum);
    out.push(b'}');
}

/// Appends a `delta`.
pub fn encode_delta(out: &mut Vec<u8>, delta: &Delta<'_>, decimals: BookDecimals) {
    write_header(out, b"{\"type\":\"delta\",\"channel\":\"", &delta.header);
    write_levels(out, b",\"bids\":[", delta.bids, decimals);
    write_levels(out, b",\"asks\":[", delta.asks, decimals);
    if let Some(checksum) = delta.checksum {
        write_checksum(out, checksum);
    }
    out.push(b'}');
}

/// Appends an `exec`.
pub fn encode_exec(out: &mut Vec<u8>, exec: &Exec) {
    write_header(out, b"{\"type\":\"exec\",\"channel\":\"", &exec.header);
    write_text(out, b",\"exec\":\"", exec.exec.as_str().as_bytes());
    write_text(out, b",\"exec_id\":\"", exec.exec_id.as_bytes());
    write_text(out, b",\"cl_ord_id\":\"", exec.cl_ord_id.as_bytes());
    out.extend_from_slice(b",\"cancel_cl_ord_id\":");
    write_text_or_null(out, exec.cancel_cl_ord_id.as_ref().map(crate::ident::ClientOrderId::as_bytes));
    write_text(out, b",\"order_id\":\"", exec.order_id.as_bytes());
    write_text(out, b",\"side\":\"", exec.side.as_str().as_bytes());
    write_text(out, b",\"order_type\":\"", exec.order_type.as_str().as_bytes());
    write_text(out, b",\"tif\":\"", exec.time_in_force.as_str().as_bytes());
    write_number(out, b",\"qty\":", Some(exec.quantity));
    write_number(out, b",\"price\":", exec.price);
    write_fill(out, exec.fill.as_ref());
    write_number(out, b",\"leaves_qty\":", Some(exec.leaves_quantity));
    write_number(out, b",\"cum_qty\":", Some(exec.cumulative_quantity));
    write_number(out, b",\"avg_price\":", exec.average_price);
    out.extend_from_slice(b",\"reason\":");
    write_text_or_null(out, exec.reason.as_ref().map(|code| code.as_str().as_bytes()));
    if let Some(receipt) = &exec.receipt {
        write_receipt(out, receipt);
    }
    if let Some(reason) = exec.cancel_reason {
        write_text(out, b",\"cancel_reason\":\"", reason.as_str().as_bytes());
    }
    if let Some(replace) = &exec.replace_cl_ord_id {
        write_text(out, b",\"replace_cl_ord_id\":\"", replace.as_bytes());
    }
    if let Some(principal) = &exec.principal {
        write_text(out, b",\"principal\":\"", principal.as_bytes());
    }
    out.push(b'}');
}

impl CancelReason {
    /// Every reason that a server gives.
    pub const ALL: &[Self] = &[
        Self::Requested,
        Self::MassCancel,
        Self::SelfTrade,
        Self::Replaced,
        Self::Disconnect,
        Self::DeadMan,
        Self::Kill,
        Self::Operator,
        Self::Revoked,
        Self::Restart,
    ];

    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::MassCancel => "mass_cancel",
            Self::SelfTrade => "self_trade",
            Self::Replaced => "replaced",
            Self::Disconnect => "disconnect",
            Self::DeadMan => "dead_man",
            Self::Kill => "kill",
            Self::Operator => "operator",
            Self::Revoked => "revoked",
            Self::Restart => "restart",
            Self::Unknown => "unknown",
        }
    }
}

impl ExecKind {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::PartialFill => "partial_fill",
            Self::Fill => "fill",
            Self::Canceled => "canceled",
            Self::Replaced => "replaced",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Unknown => "unknown",
        }
    }
}

impl Liquidity {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Maker => "maker",
            Self::Taker => "taker",
            Self::Unknown => "unknown",
        }
    }
}

pub(super) fn write_header(out: &mut Vec<u8>, start: &[u8], header: &StreamHeader) {
    out.extend_from_slice(start);
    out.extend_from_slice(header.channel.as_str().as_bytes());
    write_text(out, b"\",\"symbol\":\"", header.symbol.as_bytes());
    out.extend_from_slice(b",\"epoch\":\"");
    header.epoch.write(out);
    out.extend_from_slice(b"\",\"seq\":");
    write_integer(out, header.seq.get());
    out.extend_from_slice(b",\"prev_seq\":");
    match header.prev_seq {
        Some(prev_seq) => write_integer(out, prev_seq.get()),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"ts_event\":\"");
    header.ts_event.write(out);
    out.extend_from_slice(b"\",\"ts_recv\":\"");
    header.ts_recv.write(out);
    out.extend_from_slice(b"\",\"ts_out\":\"");
    header.ts_out.write(out);
    out.push(b'"');
    write_delay(out, header.delayed_ms);
}

pub(super) fn write_delay(out: &mut Vec<u8>, delayed_ms: Option<u64>) {
    if let Some(delayed_ms) = delayed_ms {
        out.extend_from_slice(b",\"delayed_ms\":");
        write_integer(out, delayed_ms);
    }
}

fn write_checksum(out: &mut Vec<u8>, checksum: u32) {
    out.extend_from_slice(b",\"checksum\":");
    write_integer(out, u64::from(checksum));
}

fn write_level(out: &mut Vec<u8>, level: &Level, decimals: BookDecimals) {
    out.extend_from_slice(b"[\"");
    level.price.write(out, decimals.price);
    out.extend_from_slice(b"\",\"");
    level.quantity.write(out, decimals.quantity);
    out.extend_from_slice(b"\",");
    write_integer(out, u64::from(level.orders));
    out.push(b']');
}

fn write_levels(out: &mut Vec<u8>, start: &[u8], levels: &[Level], decimals: BookDecimals) {
    out.extend_from_slice(start);
    for (index, level) in levels.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_level(out, level, decimals);
    }
    out.push(b']');
}

/// Appends a key that ends with the opening quote of its value, the value and the closing quote.
pub(crate) fn write_text(out: &mut Vec<u8>, key: &[u8], text: &[u8]) {
    out.extend_from_slice(key);
    out.extend_from_slice(text);
    out.push(b'"');
}

pub(crate) fn write_text_or_null(out: &mut Vec<u8>, text: Option<&[u8]>) {
    match text {
        Some(text) => write_text(out, b"\"", text),
        None => out.extend_from_slice(b"null"),
    }
}

pub(super) fn write_number<T: Nanos>(out: &mut Vec<u8>, key: &[u8], number: Option<Scaled<T>>) {
    out.extend_from_slice(key);
    match number {
        Some(number) => {
            out.push(b'"');
            number.write(out);
            out.push(b'"');
        }
        None => out.extend_from_slice(b"null"),
    }
}

fn write_fill(out: &mut Vec<u8>, fill: Option<&Fill>) {
    write_number(out, b",\"last_price\":", fill.map(|fill| fill.price));
    write_number(out, b",\"last_qty\":", fill.map(|fill| fill.quantity));
    out.extend_from_slice(b",\"trade_id\":");
    write_text_or_null(out, fill.map(|fill| fill.trade_id.as_bytes()));
    out.extend_from_slice(b",\"liquidity\":");
    write_text_or_null(out, fill.map(|fill| fill.liquidity.as_str().as_bytes()));
}

/// Appends `,"receipt":` and a receipt.
pub(crate) fn write_receipt(out: &mut Vec<u8>, receipt: &Receipt) {
    out.extend_from_slice(b",\"receipt\":{\"log\":\"");
    crate::hex::write(out, &receipt.log.0);
    out.extend_from_slice(b"\",\"seq\":");
    write_integer(out, receipt.seq);
    out.extend_from_slice(b",\"hash\":\"");
    crate::hex::write(out, &receipt.hash.0);
    out.extend_from_slice(b"\"}");
}
