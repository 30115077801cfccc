//! `[limits]`: bounds on what a peer can cause, before and after it is known.

use serde::Deserialize;

/// Every bound that a connection meets. Per-principal ceilings stand in the entitlement policy.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Connections at once, in any state; one more is closed before TLS.
    pub connections_max: usize,
    /// Connections at once from one address (IPv6: one /64).
    pub connections_per_address_max: usize,
    /// New connections a second from one address, sustained; the burst is one second's worth.
    pub connects_per_address_per_second: u32,
    /// Milliseconds for the whole TLS handshake.
    pub handshake_timeout_ms: u64,
    /// Milliseconds for the HTTP upgrade after it.
    pub upgrade_timeout_ms: u64,
    /// Bytes of the whole upgrade request.
    pub header_bytes_max: usize,
    /// Bytes of one inbound message, all fragments together; larger ones close the connection with 1009.
    pub message_bytes_max: usize,
    /// Malformed or unauthenticated messages within ten seconds that close the connection with 4505.
    pub malformed_max: u32,
    /// Milliseconds in which a new session must send its first request.
    pub first_request_timeout_ms: u64,
    /// Milliseconds without anything from the client (pongs count; we ping at a third of it).
    pub idle_timeout_ms: u64,
    /// Seconds a session lives at most; it is told to come back with 4006.
    pub session_lifetime_s: u64,
    /// Bytes that may wait for one slow reader; more closes the connection with 4001.
    pub out_queue_bytes_max: usize,
    /// Bytes that the kernel takes of one connection beyond what it has sent; they count as delivered. Less notices a slow reader
    /// sooner, and costs processor time in bursts.
    pub socket_unsent_bytes_max: u32,
    /// Milliseconds that the oldest of it may wait while the reader takes nothing; then state channels are left out until it
    /// reads again, and everything else closes the connection with 4001.
    pub out_queue_age_max_ms: u64,
    /// Bytes that may wait for all readers together; beyond, those for whom most waits give way first. Each shard has its share.
    pub out_bytes_max: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            connections_per_address_max: 1_024,
            connects_per_address_per_second: 200,
            handshake_timeout_ms: 5_000,
            upgrade_timeout_ms: 5_000,
            header_bytes_max: 8 * 1024,
            message_bytes_max: 8 * 1024,
            malformed_max: 10,
            first_request_timeout_ms: 30_000,
            idle_timeout_ms: 60_000,
            session_lifetime_s: 24 * 60 * 60,
            out_queue_bytes_max: 4 * 1024 * 1024,
            socket_unsent_bytes_max: 512 * 1024,
            out_queue_age_max_ms: 10_000,
            out_bytes_max: 512 * 1024 * 1024,
        }
    }
}
