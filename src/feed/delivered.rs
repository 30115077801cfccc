//! What a reader has got of a stream, for the sealed log: ranges of sequence numbers, nothing is copied.

use super::stream::StreamId;
use crate::types::{Channel, InstrumentId};

/// Messages of one stream that were sealed for one reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// Which stream.
    pub stream: StreamId,
    /// Number of the first message.
    pub first: u64,
    /// Number of the last one.
    pub last: u64,
}

impl Delivered {
    /// The stream's instrument.
    #[must_use]
    pub fn instrument(&self) -> InstrumentId {
        self.stream.parts().0
    }

    /// The stream's channel.
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.stream.parts().1.channel()
    }

    /// Levels of the stream a side; 0 for all of them, and for channels without.
    #[must_use]
    pub fn depth(&self) -> u32 {
        self.stream.parts().1.depth().get().into()
    }
}
