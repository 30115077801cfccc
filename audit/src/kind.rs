//! The permanent numbers of entry kinds.
//!
//! Numbers below 256 belong to the log, the rest to the application. A number is never given another meaning and never reused;
//! a verifier that meets a kind it does not know still checks everything but the payload.

/// Kind of an entry, as the header carries it.
pub type Kind = u16;

/// First entry of every log: who it is, which keys, which build.
pub const GENESIS: Kind = 1;
/// The writer opened the log.
pub const START: Kind = 2;
/// The writer closed the log in good order; a checkpoint covers it.
pub const STOP: Kind = 3;
/// Nothing was appended for a while: silence that can be proven.
pub const HEARTBEAT: Kind = 4;
/// Last entry of an epoch.
pub const EPOCH_END: Kind = 5;
/// The writer found what a crash left and says what it kept.
pub const RECOVERY: Kind = 6;
/// A verified prefix leaves this folder; names the first entry kept and the tree up to it.
pub const PRUNE: Kind = 7;
/// A new signing key takes over; signed by the old one.
pub const KEY: Kind = 8;
/// A witness's cosignature was received, or a witness fell silent.
pub const WITNESS: Kind = 9;
/// State of clock synchronisation, or a breach of its tolerance.
pub const CLOCK: Kind = 10;
/// Digest of the application's state, for comparing a re-execution.
pub const STATE_HASH: Kind = 11;
/// Head of another log, such as the market-data tape.
pub const TAPE_LINK: Kind = 12;
/// Result of a scheduled verification.
pub const VERIFY_RESULT: Kind = 13;
/// Free space crossed a threshold.
pub const SPACE: Kind = 14;
/// A sealed segment was stored elsewhere and read back.
pub const STORED: Kind = 15;
/// Legal hold set or lifted.
pub const HOLD: Kind = 16;
/// A data subject's key was destroyed.
pub const ERASURE: Kind = 17;
/// Evidence of time or existence from outside, such as an RFC 3161 token.
pub const ANCHOR: Kind = 18;
/// First kind of the application.
pub const APPLICATION_FIRST: Kind = 256;

/// Name of one of the log's own kinds; `None` for the application's and for numbers not given out.
#[must_use]
pub const fn name(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        GENESIS => "GENESIS",
        START => "START",
        STOP => "STOP",
        HEARTBEAT => "HEARTBEAT",
        EPOCH_END => "EPOCH_END",
        RECOVERY => "RECOVERY",
        PRUNE => "PRUNE",
        KEY => "KEY",
        WITNESS => "WITNESS",
        CLOCK => "CLOCK",
        STATE_HASH => "STATE_HASH",
        TAPE_LINK => "TAPE_LINK",
        VERIFY_RESULT => "VERIFY_RESULT",
        SPACE => "SPACE",
        STORED => "STORED",
        HOLD => "HOLD",
        ERASURE => "ERASURE",
        ANCHOR => "ANCHOR",
        _ => return None,
    })
}

/// Whether the application may append this kind: its own, and those of the log's that report what the application knows.
#[must_use]
pub const fn open_to_application(kind: Kind) -> bool {
    kind >= APPLICATION_FIRST
        || matches!(
            kind,
            CLOCK | STATE_HASH | TAPE_LINK | VERIFY_RESULT | SPACE | STORED | HOLD | ERASURE | ANCHOR
        )
}
