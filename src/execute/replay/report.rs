//! What a re-execution came to.

use sealfeed_audit::{OrderLink, StateHash, hex, kind};

use crate::journal::{self, Event};

/// What was executed again and compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The answer.
    pub verdict: Verdict,
    /// One past the last entry that was read.
    pub end: u64,
    /// Runs of the server in which a venue began.
    pub runs: u64,
    /// Inputs executed.
    pub inputs: u64,
    /// Outputs that are equal, byte for byte.
    pub outputs: u64,
    /// Digests of the state that are equal.
    pub states: u64,
    /// Snapshots of the whole state that are equal, or that execution began with.
    pub snapshots: u64,
    /// Outputs of the last inputs before a crash, which are not in the log any more (or not yet, if its writer is at work).
    pub cut: u64,
    /// Inputs of a venue whose beginning was pruned: without the state that they met they cannot be executed.
    pub headless: u64,
    /// Versions of the program that wrote the log, in order of appearance.
    pub versions: Vec<String>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every output and every digest in the log is what its inputs give.
    Verified,
    /// One is not.
    Diverged(Box<Divergence>),
    /// This program cannot tell.
    Refused {
        /// Where.
        seq: u64,
        /// Why.
        why: String,
    },
}

impl Verdict {
    /// Exit code of `audit replay --execute`.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Verified => 0,
            Self::Diverged(_) => 27,
            Self::Refused { .. } => 28,
        }
    }
}

/// The first place where log and re-execution are not the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The entry.
    pub seq: u64,
    /// In which way.
    pub how: How,
    /// What the inputs give; `None` where they give nothing.
    pub expected: Option<Content>,
    /// What stands in the log.
    pub got: Content,
    /// The last digest of the state that was equal: its entry, and how many inputs of the run it covers. What went wrong without
    /// a trace in the outputs went wrong after it.
    pub agreed: Option<(u64, u64)>,
}

/// Kinds of [`Divergence`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum How {
    /// The log has another output than the inputs give.
    #[error("the output differs")]
    Output,
    /// The log goes on where an output is due.
    #[error("an output is missing")]
    Missing,
    /// The log has an output where none is due.
    #[error("there is an output too many")]
    Extra,
    /// All outputs are the same so far, and the state is another one.
    #[error("the state differs")]
    State,
    /// A snapshot of the whole state is not the state.
    #[error("the snapshot is not the state")]
    Snapshot,
    /// An input that was never taken as it stands there: what is wrong with it.
    #[error("the input cannot have been taken: {0}")]
    Input(&'static str),
}

/// Of an entry, what is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Kind of the entry.
    pub kind: u16,
    /// Version of its payload's layout.
    pub schema: u16,
    /// Its place in the life of an order.
    pub order: Option<OrderLink>,
    /// The payload.
    pub payload: Vec<u8>,
}

impl Content {
    /// In words where it can be read, on one line and without control characters.
    #[must_use]
    pub fn described(&self) -> String {
        let name = Event::KINDS.iter().find(|(number, _)| *number == self.kind).map(|(_, name)| *name);
        let name = name.or_else(|| kind::name(self.kind)).unwrap_or("unknown kind");
        let what = match journal::decode(self.kind, self.schema, &self.payload) {
            Ok(Some(event)) => serde_json::to_string(&event).unwrap_or_default(),
            _ => StateHash::from_payload(&self.payload).map_or_else(String::new, |state| {
                format!("{} after {} inputs: {}", state.of, state.inputs, hex(&state.digest))
            }),
        };
        let link = self.order.map_or_else(String::new, |link| {
            format!(" [order {}, event {}, previous {:?}]", link.id, link.event, link.previous)
        });
        // JSON leaves the control characters above ASCII as they are.
        let safe = |c: char| if c.is_control() { c.escape_unicode().to_string() } else { c.to_string() };
        format!("{name}{link} {what}").chars().map(safe).collect()
    }
}
