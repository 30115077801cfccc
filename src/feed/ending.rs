//! How a reader's connection ends: with a code, and a reason if there is one.
//!
//! What is on the way to a reader waits in its shard: messages to it in a queue bounded in bytes, those of a stream in the
//! stream's log, as far as the reader may lag behind. A reader who lags further is told so by its [`Ending`]: the
//! connection is closed with 4001, because a stream with a hole in it must not go on. Nobody who writes waits for a reader.

use sealfeed_wire::CloseCode;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_close_code() {
        assert_eq!(Ending::because(Code::SesCertificateRevoked).close.number(), 4501);
        assert_eq!(Ending::because(Code::SesSlowConsumer), Ending::SLOW);
        assert_eq!(Ending::because(Code::OrdMacInvalid).close, CloseCode::GoingAway);
    }
}
