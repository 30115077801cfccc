//! One client's missed messages of one stream, on their way from the tape.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::{Found, Place, Shared, Work};
use crate::feed::tape::{Pause, Retold};
use crate::feed::{Ending, Ticket};
use crate::pipeline::{Command, Piece, Retelling, SessionHandle};
use crate::telemetry::chain;
use crate::types::{Channel, Code, InstrumentId, Sequence};

/// How long a job waits for the tape to grow before it looks again.
pub(super) const POLL: Duration = Duration::from_millis(5);
/// How long the tape may not grow although more was published.
const GROWTH_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a piece, about.
const PIECE_BYTES: usize = 64 * 1024;
/// Events that are read in one go; then another job has its turn.
const EVENTS_PER_TURN: usize = 20_000;

/// For whom a job reads.
pub(in crate::pipeline) struct Ask {
    /// Who.
    pub(in crate::pipeline) session: Arc<SessionHandle>,
    /// Which of its subscriptions.
    pub(in crate::pipeline) key: (Channel, InstrumentId),
    /// How far the stream had got when it subscribed: so far the tape is read at least.
    pub(in crate::pipeline) until: Sequence,
}

/// A job.
pub(in crate::pipeline) struct Job {
    number: u64,
    ask: Ask,
    retold: Retold,
    frames: Vec<u8>,
    messages: u64,
    /// When something was read last.
    grew_at: Instant,
    /// How the session is to end, once nothing more can come.
    ending: Option<Ending>,
    _place: Place,
}

impl Job {
    pub(super) fn new(number: u64, ask: Ask, found: Found) -> Self {
        let Found { retold, place } = found;
        Self {
            number,
            ask,
            retold,
            frames: Vec::new(),
            messages: 0,
            grew_at: Instant::now(),
            ending: None,
            _place: place,
        }
    }

    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// Reads up to this message at least.
    pub(super) fn read_until(&mut self, until: Sequence) {
        self.ask.until = self.ask.until.max(until);
    }

    /// Ends the session when it is its turn next.
    pub(super) const fn give_up(&mut self, ending: Ending) {
        self.ending = Some(ending);
    }

    /// Reads until there is a piece, or for one turn.
    pub(super) fn step(mut self: Box<Self>, shared: &Arc<Shared>) {
        if let Some(ending) = self.ending {
            return self.lose(ending, shared);
        }
        let bytes_max = PIECE_BYTES.min(self.ask.session.resume_bytes_max);
        let before = self.retold.seq();
        let bounds = (self.ask.until, shared.clock.now());
        match self.retold.read((bytes_max, EVENTS_PER_TURN), bounds, &mut self.frames) {
            Ok((messages, pause)) => {
                self.messages += messages;
                if pause != Pause::End || self.retold.seq() > before {
                    self.grew_at = Instant::now();
                }
                let is_there = self.retold.seq() >= self.ask.until;
                match pause {
                    Pause::Spent => shared.push(Work::Read(self)),
                    Pause::Full => self.hand_over(false, shared),
                    Pause::End if is_there => self.hand_over(true, shared),
                    Pause::End if !self.frames.is_empty() => self.hand_over(false, shared),
                    Pause::End if self.grew_at.elapsed() > GROWTH_TIMEOUT => {
                        tracing::error!(
                            "the tape does not grow: a client who was having it read is sent away"
                        );
                        self.lose(Ending::because(Code::SesPositionLost), shared);
                    }
                    Pause::End => shared.wait(self),
                }
            }
            Err(error) => {
                tracing::error!(error = chain(&error), "the tape cannot be read on for a client who resumed");
                self.lose(Ending::because(Code::SesPositionLost), shared);
            }
        }
    }

    /// Hands over what was read; with `is_end`, asks to be relieved by the live stream.
    fn hand_over(mut self: Box<Self>, is_end: bool, shared: &Arc<Shared>) {
        let (number, session, key) = (self.number, Arc::clone(&self.ask.session), self.ask.key);
        let last = self.retold.seq().max(self.retold.missing().after);
        let frames = Bytes::from(std::mem::take(&mut self.frames));
        let messages = std::mem::take(&mut self.messages);
        shared.park(self);
        let piece = (!frames.is_empty()).then(|| {
            let tickets = Arc::downgrade(shared);
            let returned = move |number| {
                if let Some(shared) = tickets.upgrade() {
                    shared.returned(number);
                }
            };
            Piece { frames, messages, ticket: Ticket::new(number, Arc::new(returned)) }
        });
        let retelling = Retelling::Read { piece, last, is_end };
        shared.send(Command::Retold { number, session, key, retelling });
    }

    fn lose(self: Box<Self>, ending: Ending, shared: &Shared) {
        let lost = self.lost(ending);
        drop(self);
        shared.send(lost);
    }

    /// What is said when it cannot be read on.
    pub(super) fn lost(&self, ending: Ending) -> Command {
        let (number, session, key) = (self.number, Arc::clone(&self.ask.session), self.ask.key);
        Command::Retold { number, session, key, retelling: Retelling::Lost { ending } }
    }
}
