//! The closed lists of words that requests may carry: channels, depths, sides, order types and their like.
//!
//! Closed on the server (another word is an error), so a client that meets an unknown one in a message from a
//! newer server treats the whole message as unknown.

use std::fmt;

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};

/// A word that is not in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not one of the words allowed here")]
pub struct UnknownTerm;

macro_rules! terms {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// Every word of the list.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The word on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The value of a word.
            ///
            /// # Errors
            /// [`UnknownTerm`] for any other text.
            pub fn parse(text: &str) -> Result<Self, UnknownTerm> {
                match text { $($text => Ok(Self::$variant),)+ _ => Err(UnknownTerm) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = UnknownTerm;

            fn from_str(text: &str) -> Result<Self, UnknownTerm> {
                Self::parse(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                Self::parse(&text).map_err(de::Error::custom)
            }
        }
    )*};
}

terms! {
    /// A kind of stream. The wire knows all of them; which ones a server offers is its own matter.
    Channel {
        /// Every trade.
        Trades = "trades",
        /// Best bid and offer.
        Bbo = "bbo",
        /// Aggregated book: snapshot and deltas.
        Book = "book",
        /// Order by order.
        Mbo = "mbo",
        /// One-second bars.
        Ohlcv1s = "ohlcv-1s",
        /// One-minute bars.
        Ohlcv1m = "ohlcv-1m",
        /// Trading status.
        Status = "status",
        /// Instrument definitions.
        Definition = "definition",
        /// Private: the principal's own execution reports.
        Orders = "orders",
        /// Private: the execution reports of all principals of the reader's firm.
        DropCopy = "drop_copy",
    }

    /// What happens to a reader who does not keep up.
    OnSlow {
        /// Skip to the latest state.
        Conflate = "conflate",
        /// End the connection.
        Disconnect = "disconnect",
    }

    /// Side of an order.
    Side {
        /// Buy, bid.
        Buy = "buy",
        /// Sell, ask.
        Sell = "sell",
    }

    /// Side of the aggressor in a trade.
    Aggressor {
        /// The buyer took liquidity.
        Buy = "buy",
        /// The seller took liquidity.
        Sell = "sell",
        /// The source does not say, or there was none (auction).
        None = "none",
    }

    /// Type of an order.
    OrderType {
        /// At a price or better.
        Limit = "limit",
        /// At whatever price there is.
        Market = "market",
    }

    /// Time in force.
    TimeInForce {
        /// Until the end of the trading day.
        Day = "day",
        /// Until canceled.
        Gtc = "gtc",
        /// Immediate or cancel.
        Ioc = "ioc",
        /// Fill or kill.
        Fok = "fok",
    }

    /// Self-trade prevention.
    Stp {
        /// Cancel the incoming order.
        CancelTaker = "cancel_taker",
        /// Cancel the resting order.
        CancelMaker = "cancel_maker",
        /// Cancel both.
        CancelBoth = "cancel_both",
    }

    /// Which orders a mass cancel reaches.
    MassCancelScope {
        /// Those that were sent on this connection.
        Session = "session",
        /// All of the principal; the default.
        Principal = "principal",
    }

    /// What a signed request must carry, as the entitlement demands.
    ProofDemand {
        /// The MAC by the order key; the default. A signature that comes with it is checked too.
        Mac = "mac",
        /// The signature by the certificate's own key. A MAC that comes with it is checked too.
        Sig = "sig",
        /// Both.
        Both = "both",
    }

    /// What an operator's entitlement may allow.
    AdminVerb {
        /// `admin.kill`.
        Kill = "kill",
        /// `admin.trading`.
        Trading = "trading",
        /// `admin.reload`.
        Reload = "reload",
    }

    /// What a kill switch is for.
    KillScope {
        /// One principal.
        Principal = "principal",
        /// All principals of a firm.
        Firm = "firm",
        /// One instrument, whoever trades it.
        Symbol = "symbol",
        /// Everybody and everything.
        All = "all",
    }

    /// What is done to a kill switch.
    KillAction {
        /// Cancel what rests, refuse what comes.
        Engage = "engage",
        /// Take orders again.
        Release = "release",
    }

    /// How an instrument of the venue trades.
    TradingPhase {
        /// Continuous trading.
        Open = "open",
        /// Orders gather for a single price.
        Auction = "auction",
        /// Nothing trades and no order is taken; orders may be cancelled.
        Halted = "halted",
        /// The trading day is over.
        Closed = "closed",
    }

    /// Operations that carry a proof: a MAC, a signature, or both.
    SignedOp {
        /// A new order.
        OrderNew = "order.new",
        /// Cancel one order.
        OrderCancel = "order.cancel",
        /// Replace price or quantity of one order.
        OrderReplace = "order.replace",
        /// Cancel many orders.
        OrderMassCancel = "order.mass_cancel",
        /// Arm or disarm the dead-man timer.
        OrderDeadMan = "order.dead_man",
        /// Publish market data.
        Publish = "publish",
        /// Operators: engage or release a kill switch.
        AdminKill = "admin.kill",
        /// Operators: change how an instrument of the venue trades.
        AdminTrading = "admin.trading",
        /// Operators: read configuration, certificates, revocation lists, keys and policy again.
        AdminReload = "admin.reload",
    }
}

impl Channel {
    /// Whether the channel has a present state that is sent on subscribing (and could be conflated).
    #[must_use]
    pub const fn is_state(self) -> bool {
        matches!(self, Self::Bbo | Self::Book | Self::Status | Self::Definition)
    }

    /// Whether a reader is sent the present state before anything else: that of a state channel, or the resting orders on `mbo`, which goes
    /// on with events.
    #[must_use]
    pub const fn begins_with_state(self) -> bool {
        self.is_state() || matches!(self, Self::Mbo)
    }

    /// Whether the channel brings execution reports: one stream over all symbols, named by [`StreamSymbol::All`](crate::StreamSymbol::All).
    #[must_use]
    pub const fn is_private(self) -> bool {
        matches!(self, Self::Orders | Self::DropCopy)
    }
}

impl From<Side> for Aggressor {
    fn from(side: Side) -> Self {
        match side {
            Side::Buy => Self::Buy,
            Side::Sell => Self::Sell,
        }
    }
}

impl Side {
    /// The other side.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Buy => Self::Sell,
            Self::Sell => Self::Buy,
        }
    }
}

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $number:literal,)+ })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "u16", into = "u16")]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// Every number of the list.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The number on the wire.
            #[must_use]
            pub const fn get(self) -> u16 {
                match self { $(Self::$variant => $number,)+ }
            }
        }

        impl TryFrom<u16> for $name {
            type Error = UnknownTerm;

            fn try_from(number: u16) -> Result<Self, UnknownTerm> {
                match number { $($number => Ok(Self::$variant),)+ _ => Err(UnknownTerm) }
            }
        }

        impl From<$name> for u16 {
            fn from(value: $name) -> Self {
                value.get()
            }
        }
    )*};
}

numbers! {
    /// Levels a side of the `book` channel.
    Depth {
        /// The ten best levels; the default.
        Ten = 10,
        /// The fifty best levels.
        Fifty = 50,
        /// `0` on the wire: every level.
        Full = 0,
    }

    /// Shortest time between two messages of a stream, in milliseconds.
    Conflation {
        /// `0`: every message; the default.
        Off = 0,
        /// Ten a second.
        Ms100 = 100,
        /// Four a second.
        Ms250 = 250,
        /// One a second.
        Ms1000 = 1000,
    }
}

impl Depth {
    /// Levels a side to keep; `usize::MAX` for the full book.
    #[must_use]
    pub const fn levels_max(self) -> usize {
        match self {
            Self::Ten => 10,
            Self::Fifty => 50,
            Self::Full => usize::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back_and_no_other_does() {
        for channel in Channel::ALL {
            assert_eq!(Channel::parse(channel.as_str()), Ok(*channel));
        }
        for bad in ["", "Trades", "trades ", "ohlcv-1h"] {
            assert_eq!(Channel::parse(bad), Err(UnknownTerm));
        }
    }

    #[test]
    fn zero_is_the_full_depth() {
        assert_eq!(Depth::try_from(0), Ok(Depth::Full));
        assert_eq!(Depth::try_from(11), Err(UnknownTerm));
        assert_eq!(serde_json::to_string(&Depth::Ten).unwrap(), "10");
    }
}
