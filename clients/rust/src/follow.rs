//! A book that mends itself: one subscription, one [`LocalBook`], and a new snapshot whenever the copy is in doubt.
//!
//! In come the events of a connection; those of other streams are passed over. What the follower shows is either the server's
//! book or none. It asks for a snapshot at most [`SNAPSHOTS_MAX`] times in a row without a delta that fitted in between: a stream
//! that does not fit its own snapshots is the server's fault, and asking on would only load it.

use sealfeed_wire::decimal::Decimals;
use sealfeed_wire::ident::{StreamSymbol, Symbol};
use sealfeed_wire::market::{BookDecimals, StreamKey};
use sealfeed_wire::reply::{EntitlementChanged, Refused, Subscribed};
use sealfeed_wire::term::{Channel, Depth};

use crate::book::{BookError, LocalBook};
use crate::client::{Client, subscription};
use crate::error::RequestError;
use crate::event::{Event, GapOrigin, Market};

/// Snapshots that are asked for without one delta of success in between.
pub const SNAPSHOTS_MAX: u32 = 3;

/// Why a book cannot be followed (any longer). The connection is still there unless the request says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// The subscription could not be asked for, or was refused as a whole.
    #[error("cannot subscribe to the book of {symbol}")]
    Request {
        /// Which book.
        symbol: Symbol,
        /// Why.
        #[source]
        source: RequestError,
    },
    /// This symbol was refused.
    #[error("the book of {symbol} is refused: {}", refused.message)]
    Refused {
        /// Which book.
        symbol: Symbol,
        /// Code, message and hint of the server.
        refused: Box<Refused>,
    },
    /// An operator has taken it out of the entitlement.
    #[error("the book of {symbol} has been withdrawn: {}", refused.message)]
    Withdrawn {
        /// Which book.
        symbol: Symbol,
        /// Code, message and hint of the server.
        refused: Box<Refused>,
    },
    /// [`SNAPSHOTS_MAX`] snapshots in a row did not lead to a book that could be kept.
    #[error("the book of {symbol} cannot be kept: {last}")]
    Unkept {
        /// Which book.
        symbol: Symbol,
        /// What was wrong the last time.
        last: BookError,
    },
}

/// What an event did to the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    /// It is about something else.
    Elsewhere,
    /// The book is as it was: a heartbeat, or a message that tells nothing new of a book that is gone.
    Unchanged,
    /// The book has changed.
    Changed,
    /// The source stalls: the book is shown, but may be old ([`BookFollower::is_stale`]).
    Stale,
    /// The book is gone for this reason, and a snapshot is on its way.
    Lost(BookError),
}

/// Follows one book of a connection.
#[derive(Debug)]
pub struct BookFollower<'c> {
    client: &'c Client,
    symbol: Symbol,
    depth: Option<Depth>,
    book: LocalBook,
    /// Snapshots asked for since the last delta that fitted.
    asked: u32,
    is_stale: bool,
}

impl<'c> BookFollower<'c> {
    /// Subscribes. Without a depth the server's default holds. The book is there once the first snapshot was taken.
    ///
    /// # Errors
    /// [`FollowError`].
    pub async fn subscribe(
        client: &'c Client,
        symbol: Symbol,
        depth: Option<Depth>,
    ) -> Result<Self, FollowError> {
        let granted = ask(client, symbol, depth).await?;
        let stream = granted.symbols.get(&StreamSymbol::One(symbol));
        // Nine where the server does not say, so that no digit is lost.
        let decimals = BookDecimals {
            price: stream.and_then(|stream| stream.price_decimals).unwrap_or(Decimals::MAX),
            quantity: stream.and_then(|stream| stream.qty_decimals).unwrap_or(Decimals::MAX),
        };
        let book = LocalBook::new(symbol, granted.depth.or(depth).unwrap_or(Depth::Ten), decimals);
        Ok(Self { client, symbol, depth, book, asked: 0, is_stale: false })
    }

    /// The book, live or not.
    #[must_use]
    pub const fn book(&self) -> &LocalBook {
        &self.book
    }

    /// Whether the server said that the source of this book stalls, and nothing has come since.
    #[must_use]
    pub const fn is_stale(&self) -> bool {
        self.is_stale
    }

    /// Takes one event of the connection. Not cancel-safe: when it asks for a snapshot and is given up, nobody knows whether one
    /// comes.
    ///
    /// # Errors
    /// [`FollowError`]; the book is gone.
    pub async fn take(&mut self, event: &Event) -> Result<Followed, FollowError> {
        match event {
            Event::Market(market) => self.market(market).await,
            Event::Skipped(skipped) if self.is_ours(&skipped.stream) => {
                // The snapshot follows by itself.
                let lost = BookError::Skipped { to: skipped.to };
                self.book.interrupt(lost);
                Ok(Followed::Lost(lost))
            }
            Event::Gap { gap, origin: GapOrigin::Announced } if self.is_ours(&gap.stream) => {
                let lost = BookError::Gap { from: gap.from, to: gap.to };
                self.book.interrupt(lost);
                self.ask_again(lost).await
            }
            Event::Heartbeat(heartbeat) if self.is_ours(&heartbeat.stream) => {
                let before = self.book.view().err();
                match self.book.heartbeat(heartbeat.stream.epoch, heartbeat.seq) {
                    Ok(()) => Ok(Followed::Unchanged),
                    // It finds no book, and why is known: a snapshot is on its way already.
                    Err(error) if before == Some(error) => Ok(Followed::Unchanged),
                    Err(error) => self.ask_again(error).await,
                }
            }
            Event::Stale(stale) if self.is_ours(&stale.stream) => {
                self.is_stale = true;
                Ok(Followed::Stale)
            }
            Event::Entitlement(notice) => self.entitlement(notice),
            Event::Closed(_) => {
                self.book.interrupt(BookError::Interrupted);
                Ok(Followed::Lost(BookError::Interrupted))
            }
            _ => Ok(Followed::Elsewhere),
        }
    }

    fn entitlement(&mut self, notice: &EntitlementChanged) -> Result<Followed, FollowError> {
        if let Some(refused) = notice.ended(Channel::Book, self.symbol) {
            self.book.interrupt(BookError::Interrupted);
            return Err(FollowError::Withdrawn { symbol: self.symbol, refused: Box::new(refused.clone()) });
        }
        if notice.changed(Channel::Book, self.symbol).is_none() {
            return Ok(Followed::Elsewhere);
        }
        // The snapshot of the stream with the other delay follows by itself.
        (self.is_stale, self.asked) = (false, 0);
        self.book.interrupt(BookError::Moved);
        Ok(Followed::Lost(BookError::Moved))
    }

    async fn market(&mut self, market: &Market) -> Result<Followed, FollowError> {
        let Some(update) = market.book_update() else { return Ok(Followed::Elsewhere) };
        match self.book.apply(update) {
            Ok(()) => {
                self.is_stale = false;
                if matches!(market, Market::Delta(_)) {
                    self.asked = 0;
                }
                Ok(Followed::Changed)
            }
            Err(BookError::OtherStream) => Ok(Followed::Elsewhere),
            Err(BookError::NoSnapshot) => Ok(Followed::Unchanged),
            Err(error) => self.ask_again(error).await,
        }
    }

    async fn ask_again(&mut self, lost: BookError) -> Result<Followed, FollowError> {
        if self.asked == SNAPSHOTS_MAX {
            return Err(FollowError::Unkept { symbol: self.symbol, last: lost });
        }
        self.asked += 1;
        ask(self.client, self.symbol, self.depth).await?;
        Ok(Followed::Lost(lost))
    }

    fn is_ours(&self, stream: &StreamKey) -> bool {
        stream.channel == Channel::Book && stream.symbol == StreamSymbol::One(self.symbol)
    }
}

async fn ask(client: &Client, symbol: Symbol, depth: Option<Depth>) -> Result<Subscribed, FollowError> {
    let mut wanted = subscription(Channel::Book, [symbol]);
    wanted.depth = depth;
    let mut granted =
        client.subscribe(wanted).await.map_err(|source| FollowError::Request { symbol, source })?;
    match granted.refused.remove(&StreamSymbol::One(symbol)) {
        None => Ok(granted),
        Some(refused) => Err(FollowError::Refused { symbol, refused: Box::new(refused) }),
    }
}
