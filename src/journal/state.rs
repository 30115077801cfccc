//! The whole state of the venue and of what was answered, as a snapshot in the log holds it: postcard, cut into parts.
//!
//! Like every payload it is only ever added to; `version` says what is there.

use std::cell::RefCell;

use serde::{Deserialize, Serialize, Serializer};

use super::event::Instruments;

/// Version of the layout.
pub const VERSION: u32 = 1;
/// Bytes of a snapshot in one entry; with the rest of the entry below its largest size.
pub const PART_BYTES_MAX: usize = 60_000;

/// Everything that decides what the venue does next and what is answered. The long lists are [`Rows`] where it is written, so that no
/// second copy of them comes to be.
#[derive(Debug, Serialize, Deserialize)]
pub struct State<O = Vec<Order>, A = Vec<Answer>, R = Vec<Resting>> {
    /// [`VERSION`].
    pub version: u32,
    /// Version of the venue's rules under which it came about.
    pub rules: u32,
    /// The first name of orders that its venue gave out.
    pub first_id: u64,
    /// The next one.
    pub next_id: u64,
    /// Trading day, in days since 1970-01-01 UTC.
    pub day: u64,
    /// Inputs taken.
    pub inputs: u64,
    /// Inputs at the last digest of the state.
    pub hashed_at: u64,
    /// Most orders that may rest in one instrument.
    pub resting_orders_max: u32,
    /// The digest of the state is sealed whenever so many inputs were taken.
    pub state_hash_inputs: u64,
    /// All instruments.
    pub instruments: Instruments,
    /// Principals, in the order of their numbers.
    pub owners: Vec<String>,
    /// Owner, and number of the last report.
    pub reports: Vec<(u32, u64)>,
    /// Firm, and number of its last report.
    pub firm_reports: Vec<(String, u64)>,
    /// Owner, and when its dead-man timer runs out, in nanoseconds.
    pub dead_men: Vec<(u32, u64)>,
    /// Clients' orders, in the order of their names.
    pub orders: O,
    /// What was answered, in the order of owners and names.
    pub answers: A,
    /// Number of the last trade.
    pub last_trade_id: u64,
    /// Priority of the order that came to rest last.
    pub last_priority: u64,
    /// The venue's books, in the order of instruments.
    pub books: Vec<Book>,
    /// What rests in them, in the order in which it trades.
    pub resting: R,
    /// Last trade price of instruments that have one, in 1e-9.
    pub marks: Vec<(u32, i64)>,
    /// What principals hold and have open, in the order of their numbers.
    pub accounts: Vec<Account<u32>>,
    /// What firms hold and have open.
    pub firm_accounts: Vec<Account<String>>,
    /// Kill switches that are engaged: scope and target.
    pub kills: Vec<(String, String)>,
    /// What is kept of instruments on paper, in their order.
    pub papers: Vec<Paper>,
}

/// An instrument on paper: what is kept of its recording. Quantities in 1e-9.
#[derive(Debug, Serialize, Deserialize)]
pub struct Paper {
    /// Which instrument.
    pub instrument: u32,
    /// Levels: whether it is an offer, price in 1e-9, displayed and taken quantity.
    pub levels: Vec<(bool, i64, u64, u64)>,
    /// Orders: name, quantity in front, and what of that went without a trade.
    pub places: Vec<(u64, u64, u64)>,
}

/// A list that is made while it is written, once.
pub struct Rows<I>(RefCell<I>);

impl<I: ExactSizeIterator> Rows<I> {
    /// What these give.
    pub const fn new(rows: I) -> Self {
        Self(RefCell::new(rows))
    }
}

impl<I: ExactSizeIterator<Item: Serialize>> Serialize for Rows<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&mut *self.0.borrow_mut())
    }
}

/// What somebody holds and has open.
#[derive(Debug, Serialize, Deserialize)]
pub struct Account<T> {
    /// Who.
    pub of: T,
    /// Orders with something open.
    pub open_orders: u32,
    /// By instrument.
    pub positions: Vec<Position>,
}

/// What somebody holds and has open in one instrument. Quantities in 1e-9, amounts in 1e-18 of a currency unit.
#[derive(Debug, Serialize, Deserialize)]
pub struct Position {
    /// In which instrument.
    pub instrument: u32,
    /// Bought less sold.
    pub net: i128,
    /// What that was bought for.
    pub cost: i128,
    /// Result of the day of what was closed.
    pub realised: i128,
    /// Quantity and value of open orders to buy.
    pub buys: (u128, u128),
    /// Quantity and value of open orders to sell.
    pub sells: (u128, u128),
    /// A sum left the range of its integer.
    pub is_beyond: bool,
}

/// An order of a client.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    /// The venue's name for it.
    pub id: u64,
    /// Whose it is.
    pub owner: u32,
    /// The client's name for it.
    pub cl_ord_id: String,
    /// The session that it came on.
    pub session: [u8; 32],
    /// As in the event `order`.
    pub on_disconnect: u8,
    /// What it trades.
    pub instrument: u32,
    /// Whether it sells.
    pub sells: bool,
    /// Its limit in 1e-9; `None` for a market order.
    pub price: Option<i64>,
    /// 0 day, 1 good till cancelled, 2 immediate or cancel, 3 fill or kill.
    pub time_in_force: u8,
    /// In all, in 1e-9.
    pub quantity: u64,
    /// Still open.
    pub leaves: u64,
    /// Traded.
    pub cumulative: u64,
    /// 0 new, 1 partially filled, 2 filled, 3 cancelled, 4 rejected, 5 expired.
    pub state: u8,
    /// Sum of price times quantity over the fills, in 1e-18.
    pub notional: i128,
    /// The entry of its last event in the log.
    pub previous: Option<u64>,
    /// Number of its next event.
    pub next_event: u64,
}

/// An answer that binds a client's name.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answer {
    /// Whose name.
    pub owner: u32,
    /// The name.
    pub cl_ord_id: String,
    /// The order it cancels or replaces, by the client's name.
    pub target: Option<String>,
    /// SHA-256 over operation and body.
    pub digest: [u8; 32],
    /// What was decided.
    pub outcome: Outcome,
    /// The entry it stands on.
    pub entry: u64,
    /// The hash of that.
    pub hash: [u8; 32],
}

/// What was decided.
#[derive(Debug, Serialize, Deserialize)]
pub enum Outcome {
    /// The order is in the venue, or was.
    Accepted(u64),
    /// The order is cancelled.
    Canceled(u64),
    /// So many were.
    MassCanceled(u32),
    /// Refused, with this code.
    Refused(String),
}

/// A book without its orders.
#[derive(Debug, Serialize, Deserialize)]
pub struct Book {
    /// Of which instrument.
    pub instrument: u32,
    /// The word for its phase.
    pub phase: String,
    /// Price of its last trade in 1e-9.
    pub last_price: Option<i64>,
    /// 1e-9 taken in.
    pub submitted: u128,
    /// 1e-9 traded, counted once for each of the two orders.
    pub traded: u128,
    /// 1e-9 cancelled or expired.
    pub returned: u128,
}

/// An order that rests: of a client, or of a member of the synthetic market.
#[derive(Debug, Serialize, Deserialize)]
pub struct Resting {
    /// The venue's name for it.
    pub id: u64,
    /// Whose it is.
    pub owner: u32,
    /// In which instrument.
    pub instrument: u32,
    /// Whether it sells.
    pub sells: bool,
    /// Its limit in 1e-9.
    pub price: i64,
    /// In all, in 1e-9.
    pub quantity: u64,
    /// Still open.
    pub leaves: u64,
    /// 0 day, 1 good till cancelled.
    pub time_in_force: u8,
    /// Whether a replace may not make it trade at once.
    pub post_only: bool,
    /// 0 trades with its owner's own orders; 1 the taker, 2 the maker, 3 both are cancelled.
    pub self_trade: u8,
    /// At one price the lower number trades first.
    pub priority: u64,
}

impl<O: Serialize, A: Serialize, R: Serialize> State<O, A, R> {
    /// As it is cut into parts.
    ///
    /// # Errors
    /// None that the values of a state can cause.
    pub fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        postcard::to_allocvec(self)
    }
}

impl State {
    /// From all parts; bytes left over are an error.
    ///
    /// # Errors
    /// What does not decode, or has another version.
    pub fn decode(bytes: &[u8]) -> Result<Self, postcard::Error> {
        let state: Self = super::event::strict(bytes)?;
        if state.version == VERSION { Ok(state) } else { Err(postcard::Error::DeserializeBadEncoding) }
    }
}
