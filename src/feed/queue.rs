//! The bounded queue of encoded messages towards one reader.
//!
//! Bounded in bytes. A reader who lets it overflow loses everything in it and is told so by its [`Ending`]: the connection is
//! then closed with 4001, because a stream with a hole in it must not go on. Nobody who writes ever waits.

use std::mem;

use bytes::Bytes;
use parking_lot::Mutex;
use sealfeed_wire::CloseCode;
use tokio::sync::Notify;

use crate::types::Code;

/// What a message takes up besides its own bytes.
const MESSAGE_OVERHEAD_BYTES: usize = size_of::<Bytes>();

/// The queue is closed: it overflowed, or somebody ended the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the outbound queue takes no more messages")]
pub struct Overflow;

/// Why the reader has to close its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The close code.
    pub close: CloseCode,
    /// The reason, as it goes into the close frame and the log.
    pub reason: Option<Code>,
}

impl Ending {
    /// The ending that goes with a code; going away for a code that has none of its own.
    #[must_use]
    pub const fn because(reason: Code) -> Self {
        let close = match reason.close_code() {
            Some(close) => close,
            None => CloseCode::GoingAway,
        };
        Self { close, reason: Some(reason) }
    }

    /// The reader was too slow.
    pub const SLOW: Self = Self { close: CloseCode::SlowConsumer, reason: Some(Code::SesSlowConsumer) };
}

/// A queue shared by those who write to a reader and the reader.
#[derive(Debug)]
pub struct OutboundQueue {
    state: Mutex<State>,
    ready: Notify,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct State {
    messages: Vec<Bytes>,
    bytes: usize,
    ending: Option<Ending>,
}

impl OutboundQueue {
    /// An empty queue of at most `bytes_max` bytes, 32 of them for each message's place.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self { state: Mutex::default(), ready: Notify::new(), bytes_max }
    }

    /// Appends a message. Wakes the reader if the queue was empty.
    ///
    /// # Errors
    /// The message does not fit: the queue is emptied, ended with [`Ending::SLOW`] for good, and the reader woken. Or the
    /// queue was ended before.
    pub fn push(&self, message: Bytes) -> Result<(), Overflow> {
        let mut state = self.state.lock();
        if state.ending.is_some() {
            return Err(Overflow);
        }
        let bytes = state.bytes.saturating_add(message.len()).saturating_add(MESSAGE_OVERHEAD_BYTES);
        let (outcome, is_news) = if bytes > self.bytes_max {
            *state = State { ending: Some(Ending::SLOW), ..State::default() };
            (Err(Overflow), true)
        } else {
            let was_empty = state.messages.is_empty();
            state.messages.push(message);
            state.bytes = bytes;
            (Ok(()), was_empty)
        };
        drop(state);
        if is_news {
            self.ready.notify_one();
        }
        outcome
    }

    /// Asks the reader to close its connection once it has written what is in the queue. The first ending stands.
    /// Nothing can be appended after it.
    pub fn close_with(&self, ending: Ending) {
        let mut state = self.state.lock();
        if state.ending.is_none() {
            state.ending = Some(ending);
            drop(state);
            self.ready.notify_one();
        }
    }

    /// Moves everything in the queue to the end of `messages`, and says whether the connection is to be closed after it.
    pub fn drain(&self, messages: &mut Vec<Bytes>) -> Option<Ending> {
        let mut state = self.state.lock();
        if messages.is_empty() {
            // The reader's empty vector goes in, so that neither side allocates again.
            mem::swap(&mut state.messages, messages);
        } else {
            messages.append(&mut state.messages);
        }
        state.bytes = 0;
        state.ending
    }

    /// Waits until there is something to drain or the connection is to be closed. For one reader at a time; may be cancelled.
    pub async fn ready(&self) {
        loop {
            // A wake-up between the look and the wait is kept by `Notify`.
            if self.is_ready() {
                return;
            }
            self.ready.notified().await;
        }
    }

    /// Waits until the session must end. For a reader that is busy writing: it must not wait in [`Self::ready`] at the
    /// same time. Cancel-safe.
    pub async fn ended(&self) -> Ending {
        loop {
            if let Some(ending) = self.ending() {
                return ending;
            }
            self.ready.notified().await;
        }
    }

    /// Bytes waiting, places included.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.state.lock().bytes
    }

    /// Bytes at which it overflows.
    #[must_use]
    pub const fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// The ending asked for, if any.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        self.state.lock().ending
    }

    fn is_ready(&self) -> bool {
        let state = self.state.lock();
        !state.messages.is_empty() || state.ending.is_some()
    }
}

#[cfg(test)]
mod tests;
