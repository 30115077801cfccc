//! Follows the sequence of one stream and says of every message whether something is missing before it.
//!
//! A message names its predecessor (`prev_seq`), so a loss is seen with the next message or heartbeat, whoever
//! caused it. A new epoch is a new sequence and no gap in the old one.

use sealfeed_wire::market::StreamHeader;
use sealfeed_wire::value::{Epoch, Sequence};

/// How a message follows the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continuity {
    /// Nothing to compare with: the first message, a snapshot, the present state.
    Afresh,
    /// Exactly the next one.
    Next,
    /// The first message of a new epoch, with nothing missing before it.
    NewEpoch,
    /// Messages are missing before this one; both ends inclusive, in the message's own epoch.
    Gap {
        /// First missing position.
        from: Sequence,
        /// Last missing position.
        to: Sequence,
    },
    /// Not later than what was already seen. It must not be applied.
    Repeated,
}

/// The last position seen of one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SequenceGuard {
    position: Option<(Epoch, Sequence)>,
}

impl SequenceGuard {
    /// A guard that accepts whatever comes first.
    #[must_use]
    pub const fn new() -> Self {
        Self { position: None }
    }

    /// A guard that expects what follows a known position.
    #[must_use]
    pub const fn at(epoch: Epoch, seq: Sequence) -> Self {
        Self { position: Some((epoch, seq)) }
    }

    /// The last position seen: what `resume` takes.
    #[must_use]
    pub const fn position(&self) -> Option<(Epoch, Sequence)> {
        self.position
    }

    /// Judges a message and moves on to it, unless it is a repetition.
    pub fn follow(&mut self, header: &StreamHeader) -> Continuity {
        let continuity = self.judge(header);
        if continuity != Continuity::Repeated {
            self.position = Some((header.epoch, header.seq));
        }
        continuity
    }

    fn judge(&self, header: &StreamHeader) -> Continuity {
        let Some(prev_seq) = header.prev_seq else { return Continuity::Afresh };
        let Some((epoch, last)) = self.position else { return Continuity::Afresh };
        if prev_seq >= header.seq {
            return Continuity::Repeated;
        }
        // A new epoch begins with the message behind position zero.
        let (last, whole) = if epoch == header.epoch {
            (last, Continuity::Next)
        } else {
            (Sequence::ZERO, Continuity::NewEpoch)
        };
        if prev_seq == last {
            whole
        } else if prev_seq > last {
            Continuity::Gap { from: last.next(), to: prev_seq }
        } else {
            Continuity::Repeated
        }
    }

    /// Takes notice of where the stream stands by a heartbeat. Anything but [`Continuity::Next`] and
    /// [`Continuity::Afresh`] means that messages before it never came.
    pub fn follow_heartbeat(&mut self, epoch: Epoch, seq: Sequence) -> Continuity {
        let continuity = match self.position {
            None => Continuity::Afresh,
            Some((last_epoch, last)) if last_epoch == epoch && last == seq => Continuity::Next,
            Some((last_epoch, last)) if last_epoch == epoch && last > seq => Continuity::Repeated,
            Some((last_epoch, last)) if last_epoch == epoch => Continuity::Gap { from: last.next(), to: seq },
            Some(_) if seq == Sequence::ZERO => Continuity::NewEpoch,
            Some(_) => Continuity::Gap { from: Sequence::ZERO.next(), to: seq },
        };
        if continuity != Continuity::Repeated {
            self.position = Some((epoch, seq));
        }
        continuity
    }

    /// Takes the server's word (`gap`, `skipped`) that everything up to a position will not come.
    pub const fn skip_to(&mut self, epoch: Epoch, seq: Sequence) {
        self.position = Some((epoch, seq));
    }
}
