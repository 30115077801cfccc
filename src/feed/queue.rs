//! The way to one reader: which shard serves it, and under which number.
//!
//! What is on the way waits in the shard: messages to this reader in a queue bounded in bytes, those of a stream in the
//! stream's log, as far as the reader may lag behind. A reader who lags further is told so by its [`Ending`]: the
//! connection is closed with 4001, because a stream with a hole in it must not go on. Nobody who writes waits for a reader.

use std::sync::Arc;

use parking_lot::Mutex;
use sealfeed_wire::CloseCode;

use super::inbox::{Inbox, Item, ReaderId};
use crate::types::Code;

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

/// Where a reader is reached.
#[derive(Debug)]
pub struct OutboundQueue {
    inbox: Arc<Inbox>,
    reader: ReaderId,
    ending: Mutex<Option<Ending>>,
}

impl OutboundQueue {
    /// The way to reader `reader` of the shard that looks into `inbox`.
    #[must_use]
    pub const fn new(inbox: Arc<Inbox>, reader: ReaderId) -> Self {
        Self { inbox, reader, ending: Mutex::new(None) }
    }

    /// Asks the reader to close its connection once it has got what is on the way. The first ending stands. A reader
    /// that its shard does not know yet looks at [`Self::ending`] when it comes.
    pub fn close_with(&self, ending: Ending) {
        let mut asked = self.ending.lock();
        if asked.is_none() {
            *asked = Some(ending);
            drop(asked);
            self.inbox.tell(Item::Finish { reader: self.reader, ending, notice: None });
        }
    }

    /// The ending asked for, if any.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        *self.ending.lock()
    }

    /// Number of the reader.
    #[must_use]
    pub const fn reader(&self) -> ReaderId {
        self.reader
    }

    /// Its shard's inbox.
    pub(super) const fn inbox(&self) -> &Arc<Inbox> {
        &self.inbox
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::Delivery;

    #[test]
    fn the_first_ending_stands_and_is_told_once() {
        let inbox = Arc::new(Inbox::new(|| {}));
        let queue = OutboundQueue::new(Arc::clone(&inbox), 7);
        let revoked = Ending::because(Code::SesCertificateRevoked);
        queue.close_with(revoked);
        queue.close_with(Ending::SLOW);
        assert_eq!(queue.ending(), Some(revoked));
        let mut told = Delivery::default();
        inbox.take(&mut told);
        assert_eq!(told.items, [Item::Finish { reader: 7, ending: revoked, notice: None }]);
    }

    #[test]
    fn each_reason_has_its_close_code() {
        assert_eq!(Ending::because(Code::SesCertificateRevoked).close.number(), 4501);
        assert_eq!(Ending::because(Code::SesSlowConsumer), Ending::SLOW);
        assert_eq!(Ending::because(Code::OrdMacInvalid).close, CloseCode::GoingAway);
    }
}
