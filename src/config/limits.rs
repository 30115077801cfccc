//! `[limits]`: bounds on what a peer can cause, before and after it is known.

use std::net::IpAddr;

use serde::Deserialize;

use super::proxy::networks;
use crate::types::Network;

/// Every bound that a connection meets. Per-principal ceilings stand in the entitlement policy.
///
/// Values that are changed in a running server hold for connections that begin afterwards, but for those marked *restart*.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Connections at once, in any state; one more is closed before TLS.
    pub connections_max: usize,
    /// Connections at once from one address (IPv6: one prefix of `ipv6_prefix_bits`).
    pub connections_per_address_max: usize,
    /// New connections a second from one address, sustained; the burst is one second's worth.
    pub connects_per_address_per_second: u32,
    /// Bits of an IPv6 address that count as one address, 32 to 128.
    pub ipv6_prefix_bits: u8,
    /// TLS handshakes in progress at once, a quarter of them from one address; one more is closed before TLS.
    pub handshakes_max: usize,
    /// TLS handshakes that are begun a second, over all addresses, sustained; the burst is one second's worth.
    pub handshakes_per_second: u32,
    /// Milliseconds for the whole TLS handshake.
    pub handshake_timeout_ms: u64,
    /// Milliseconds for the HTTP upgrade after it.
    pub upgrade_timeout_ms: u64,
    /// Bytes of the whole upgrade request.
    pub header_bytes_max: usize,
    /// Bytes of one inbound message, all fragments together; larger ones close the connection with 1009.
    pub message_bytes_max: usize,
    /// Frames of one inbound message; one more closes the connection with 4504.
    pub fragments_max: u32,
    /// Milliseconds from the first byte of a frame until its message is whole; longer closes the connection with 4504.
    pub message_timeout_ms: u64,
    /// Pings and pongs a second of one connection, sustained; the burst is one second's worth. As many more within ten seconds as
    /// `malformed_max` close the connection with 4005.
    pub control_frames_per_second: u32,
    /// How many times the message rate of one session all sessions of a principal have together, 1 to 1,024.
    pub principal_messages_factor: u32,
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
    /// Bytes that may wait for all readers together; beyond, those for whom most waits give way first. Each shard has its share. *Restart.*
    pub out_bytes_max: usize,
    /// When somebody is sent away for a while.
    pub ban: BanConfig,
    /// Who keeps full limits when they are tightened, and is never banned.
    pub trusted: TrustedConfig,
}

/// `[limits.ban]`: after which faults an address or a principal is sent away, and for how long. Bans do not survive a restart.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BanConfig {
    /// Failed handshakes within a minute that ban an address (IPv6: a prefix), unless it serves an open session; 0: none do. Peers that just
    /// leave do not count.
    pub failures_per_minute: u32,
    /// Sessions of one principal ended for its faults (close 4005, 4504, 4505) within `closes_window_ms` that ban the principal; 0: none do.
    pub closes_max: u32,
    /// Milliseconds in which those count together, 1,000 to 86,400,000.
    pub closes_window_ms: u64,
    /// Milliseconds of a first ban, 100 to 86,400,000. Each further one lasts twice as long.
    pub first_ms: u64,
    /// Milliseconds that no ban exceeds, `first_ms` to 604,800,000. Whoever behaves for as long after a ban begins anew with the first.
    pub max_ms: u64,
    /// Addresses and principals whose faults are remembered, each; when there are as many, no further one is until some have lapsed, and the caps
    /// on connections and rates alone hold. 1 to 1,000,000.
    pub entries_max: usize,
}

/// `[limits.trusted]`: the allow-list. Its members keep their full limits under pressure and are not banned; the caps hold for them, too.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrustedConfig {
    /// Address ranges, such as `10.0.0.0/8`. A range that names every address is refused.
    #[serde(deserialize_with = "networks")]
    pub addresses: Vec<Network>,
    /// Principals, such as `acme/desk7`.
    pub principals: Vec<String>,
}

impl LimitsConfig {
    /// Whether the address is on the allow-list.
    #[must_use]
    pub fn trusts_address(&self, address: IpAddr) -> bool {
        self.trusted.addresses.iter().any(|network| network.contains(address))
    }

    /// Whether the principal is on the allow-list.
    #[must_use]
    pub fn trusts_principal(&self, principal: &str) -> bool {
        self.trusted.principals.iter().any(|trusted| trusted == principal)
    }
}

impl Default for BanConfig {
    fn default() -> Self {
        Self {
            failures_per_minute: 120,
            closes_max: 3,
            closes_window_ms: 600_000,
            first_ms: 60_000,
            max_ms: 3_600_000,
            entries_max: 65_536,
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            connections_per_address_max: 1_024,
            connects_per_address_per_second: 200,
            ipv6_prefix_bits: 64,
            handshakes_max: 2_048,
            handshakes_per_second: 4_000,
            handshake_timeout_ms: 5_000,
            upgrade_timeout_ms: 5_000,
            header_bytes_max: 8 * 1024,
            message_bytes_max: 8 * 1024,
            fragments_max: 64,
            message_timeout_ms: 10_000,
            control_frames_per_second: 50,
            principal_messages_factor: 4,
            malformed_max: 10,
            first_request_timeout_ms: 30_000,
            idle_timeout_ms: 60_000,
            session_lifetime_s: 24 * 60 * 60,
            out_queue_bytes_max: 4 * 1024 * 1024,
            socket_unsent_bytes_max: 512 * 1024,
            out_queue_age_max_ms: 10_000,
            out_bytes_max: 512 * 1024 * 1024,
            ban: BanConfig::default(),
            trusted: TrustedConfig::default(),
        }
    }
}
