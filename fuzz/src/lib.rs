//! Whatever comes from outside and is decoded, under fire: [`TARGETS`], each a function from bytes to nothing that panics when
//! something is wrong.
//!
//! A target demands more than that nothing panics: what was read and written again reads the same, what was accepted is in range,
//! what goes to a log is printable, and no damage to sealed bytes verifies as something else. `tests/corpus.rs` runs every target
//! over its corpus in each run of the tests; `run.sh` lets libFuzzer look for more. A new target is a function, a line in
//! [`TARGETS`] and a folder in `corpus/`.

mod damage;
mod memory;
mod printable;
mod targets {
    pub(crate) mod bundle;
    pub(crate) mod certificate;
    pub(crate) mod configuration;
    pub(crate) mod connection;
    pub(crate) mod log;
    pub(crate) mod recording;
    pub(crate) mod request;
    pub(crate) mod state;
}

use targets::{bundle, certificate, configuration, connection, log, recording, request, state};

/// One thing that is decoded.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of its folder in `corpus/`.
    pub name: &'static str,
    /// Decodes these bytes, and panics if something is wrong with the decoder.
    pub run: fn(&[u8]),
}

const fn target(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run }
}

/// All of them.
pub const TARGETS: &[Target] = &[
    target("request", request::request),
    target("signed_body", request::signed_body),
    target("server_message", request::server_message),
    target("client_records", request::client_records),
    target("certificate", certificate::certificate),
    target("revocation_list", certificate::revocation_list),
    target("policy", configuration::policy),
    target("configuration", configuration::configuration),
    target("deny_list", configuration::deny_list),
    target("proxy_header", connection::proxy_header),
    target("upgrade", connection::upgrade),
    target("websocket", connection::websocket),
    target("dbn", recording::dbn),
    target("itch", recording::itch),
    target("messages", recording::messages),
    target("audit_entry", log::entry),
    target("audit_segment", log::segment),
    target("audit_tamper", log::tamper),
    target("audit_recovery", log::recovery),
    target("audit_note", log::note),
    target("bundle", bundle::bundle),
    target("journal_event", state::journal_event),
    target("snapshot", state::snapshot),
];

/// The target of this name.
#[must_use]
pub fn by_name(name: &str) -> Option<Target> {
    TARGETS.iter().copied().find(|target| target.name == name)
}

#[doc(hidden)]
pub use memory::MemoryStorage;
#[doc(hidden)]
pub use targets::certificate::AUTHORITY_SEED;
