//! The two forms in which market data leaves: JSON texts and DBN records.

use super::frame::FrameKind;
use dbn::{InstrumentDefMsg, MboMsg, Mbp1Msg, Mbp10Msg, OhlcvMsg, StatusMsg, SymbolMappingMsg, TradeMsg};

/// How a message is encoded. What a connection reads was agreed on in its upgrade; notices about streams are JSON always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// JSON, in text frames.
    #[default]
    Json,
    /// Records of the Databento Binary Encoding, in binary frames.
    Dbn,
}

impl Encoding {
    pub(super) const ALL: [Self; 2] = [Self::Json, Self::Dbn];

    /// The frames that it travels in.
    #[must_use]
    pub const fn frame(self) -> FrameKind {
        match self {
            Self::Json => FrameKind::Text,
            Self::Dbn => FrameKind::Binary,
        }
    }

    /// The encoding of an outgoing message, by its first byte: every JSON message is an object, and no record that is
    /// written here, nor the metadata (`DBN`), begins with a brace.
    #[must_use]
    pub fn of(message: &[u8]) -> Self {
        if message.first() == Some(&b'{') { Self::Json } else { Self::Dbn }
    }
}

/// The first byte of a record: its length in words of four bytes.
const fn first_byte<R>() -> usize {
    size_of::<R>() / 4
}

const BRACE: usize = b'{' as usize;

const _: () = assert!(
    first_byte::<TradeMsg>() != BRACE
        && first_byte::<Mbp1Msg>() != BRACE
        && first_byte::<Mbp10Msg>() != BRACE
        && first_byte::<MboMsg>() != BRACE
        && first_byte::<OhlcvMsg>() != BRACE
        && first_byte::<StatusMsg>() != BRACE
        && first_byte::<InstrumentDefMsg>() != BRACE
        && first_byte::<SymbolMappingMsg>() != BRACE
);
