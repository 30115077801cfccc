//! Notices about streams into JSON bytes.

use super::encode::write_delay;
use super::{Gap, Heartbeat, Slow, StreamKey};
use crate::decimal::write_integer;

/// Appends a `heartbeat`.
pub fn encode_heartbeat(out: &mut Vec<u8>, heartbeat: &Heartbeat) {
    write_beat(out, b"{\"type\":\"heartbeat\",\"channel\":\"", heartbeat);
}

/// Appends a `stale`.
pub fn encode_stale(out: &mut Vec<u8>, stale: &Heartbeat) {
    write_beat(out, b"{\"type\":\"stale\",\"channel\":\"", stale);
}

/// Appends a `gap`: an event channel lost these messages; they can be asked for with `resume`.
pub fn encode_gap(out: &mut Vec<u8>, gap: &Gap) {
    write_range(out, b"{\"type\":\"gap\",\"channel\":\"", gap);
}

/// Appends a `skipped`: a state channel left these messages out; the latest state follows.
pub fn encode_skipped(out: &mut Vec<u8>, skipped: &Gap) {
    write_range(out, b"{\"type\":\"skipped\",\"channel\":\"", skipped);
}

/// Appends a `slow`.
pub fn encode_slow(out: &mut Vec<u8>, slow: &Slow) {
    out.extend_from_slice(b"{\"type\":\"slow\",\"queue_bytes\":");
    write_integer(out, slow.queue_bytes);
    out.extend_from_slice(b",\"queue_bytes_max\":");
    write_integer(out, slow.queue_bytes_max);
    out.extend_from_slice(b",\"ts\":\"");
    slow.ts.write(out);
    out.extend_from_slice(b"\"}");
}

fn write_key(out: &mut Vec<u8>, start: &[u8], stream: &StreamKey) {
    out.extend_from_slice(start);
    out.extend_from_slice(stream.channel.as_str().as_bytes());
    out.extend_from_slice(b"\",\"symbol\":\"");
    out.extend_from_slice(stream.symbol.as_str().as_bytes());
    out.extend_from_slice(b"\",\"epoch\":\"");
    stream.epoch.write(out);
    out.push(b'"');
    write_delay(out, stream.delayed_ms);
}

pub(super) fn write_beat(out: &mut Vec<u8>, start: &[u8], heartbeat: &Heartbeat) {
    write_key(out, start, &heartbeat.stream);
    out.extend_from_slice(b",\"seq\":");
    write_integer(out, heartbeat.seq.get());
    out.extend_from_slice(b",\"ts\":\"");
    heartbeat.ts.write(out);
    out.extend_from_slice(b"\"}");
}

fn write_range(out: &mut Vec<u8>, start: &[u8], gap: &Gap) {
    write_key(out, start, &gap.stream);
    out.extend_from_slice(b",\"from\":");
    write_integer(out, gap.from.get());
    out.extend_from_slice(b",\"to\":");
    write_integer(out, gap.to.get());
    out.push(b'}');
}
