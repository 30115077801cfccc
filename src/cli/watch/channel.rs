//! What the command line calls the channels.

use clap::ValueEnum;
use clap::builder::PossibleValue;
use sealfeed_wire::Channel;

/// A channel of market data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum WatchChannel {
    /// Every trade.
    Trades,
    /// Best bid and offer.
    Bbo,
    /// The levels of the book.
    Book,
    /// Every order: those that rest, then every record.
    Mbo,
    /// Bars of one second.
    #[value(name = "ohlcv-1s")]
    Ohlcv1s,
    /// Bars of one minute.
    #[value(name = "ohlcv-1m")]
    Ohlcv1m,
    /// What may happen in the instrument.
    Status,
    /// What the instrument is.
    Definition,
}

impl From<WatchChannel> for Channel {
    fn from(channel: WatchChannel) -> Self {
        match channel {
            WatchChannel::Trades => Self::Trades,
            WatchChannel::Bbo => Self::Bbo,
            WatchChannel::Book => Self::Book,
            WatchChannel::Mbo => Self::Mbo,
            WatchChannel::Ohlcv1s => Self::Ohlcv1s,
            WatchChannel::Ohlcv1m => Self::Ohlcv1m,
            WatchChannel::Status => Self::Status,
            WatchChannel::Definition => Self::Definition,
        }
    }
}

/// What `watch` follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watched {
    Market(WatchChannel),
    DropCopy,
}

impl ValueEnum for Watched {
    fn value_variants<'a>() -> &'a [Self] {
        &[
            Self::Market(WatchChannel::Trades),
            Self::Market(WatchChannel::Bbo),
            Self::Market(WatchChannel::Book),
            Self::Market(WatchChannel::Mbo),
            Self::Market(WatchChannel::Ohlcv1s),
            Self::Market(WatchChannel::Ohlcv1m),
            Self::Market(WatchChannel::Status),
            Self::Market(WatchChannel::Definition),
            Self::DropCopy,
        ]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Self::Market(channel) => channel.to_possible_value(),
            Self::DropCopy => {
                let help =
                    "The execution reports of all principals of the firm; needs the right of that name";
                Some(PossibleValue::new("drop_copy").help(help))
            }
        }
    }
}
