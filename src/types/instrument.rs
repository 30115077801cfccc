//! What is traded, and the table of it.

use std::collections::HashMap;

use sealfeed_wire::{BookDecimals, Price, Quantity, Symbol};

/// Position of an instrument in [`Instruments`]; never leaves the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstrumentId(pub u32);

impl InstrumentId {
    /// This instrument's place in a table indexed by instrument.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// How much of an instrument's book its source shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarketDepth {
    /// Every order: `trades`, `bbo` and `book` can be published.
    Orders,
    /// What rests at every price, without the orders: `trades`, `bbo` and `book`.
    Levels,
    /// The best bid and offer only: `trades` and `bbo`.
    Top,
    /// Trades only.
    Trades,
}

impl MarketDepth {
    /// Whether a book can be rebuilt from it.
    #[must_use]
    pub const fn has_book(self) -> bool {
        matches!(self, Self::Orders | Self::Levels)
    }
}

/// One traded thing. Its text name on the wire is its symbol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instrument {
    /// Place in the table.
    pub id: InstrumentId,
    /// Text name on the wire.
    pub symbol: Symbol,
    /// Decimals of its prices and quantities on the wire.
    pub decimals: BookDecimals,
    /// Smallest price step; orders at other prices are refused. Never zero.
    pub tick: Price,
    /// Smallest quantity step; orders of other quantities are refused. Never zero.
    pub lot: Quantity,
    /// Lowest and highest price that an order may have, both on the tick; `None`: any. Orders beyond are refused.
    pub band: Option<(Price, Price)>,
    /// What its source shows.
    pub depth: MarketDepth,
    /// Whether the embedded venue takes orders in it; recorded instruments are read-only unless they are `paper`.
    pub tradable: bool,
    /// Whether orders in it are filled against what its recording shows, and never against one another. Then it is `tradable`, too.
    pub paper: bool,
}

impl Instrument {
    /// Whether its market is the embedded venue's own, where orders meet one another.
    #[must_use]
    pub const fn is_matched_here(&self) -> bool {
        self.tradable && !self.paper
    }
}

/// All instruments of a server, fixed at start.
#[derive(Debug, Default)]
pub struct Instruments {
    list: Vec<Instrument>,
    by_symbol: HashMap<Symbol, InstrumentId>,
}

impl Instruments {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an instrument made by `build` from the identifier it will have.
    ///
    /// Returns `None`, and adds nothing, if its symbol is in the table already or the table is full.
    pub fn add(&mut self, build: impl FnOnce(InstrumentId) -> Instrument) -> Option<InstrumentId> {
        let id = InstrumentId(u32::try_from(self.list.len()).ok()?);
        let instrument = build(id);
        if self.by_symbol.contains_key(&instrument.symbol) {
            return None;
        }
        self.by_symbol.insert(instrument.symbol, id);
        self.list.push(instrument);
        Some(id)
    }

    /// The instrument at `id`, if there is one.
    #[must_use]
    pub fn by_id(&self, id: InstrumentId) -> Option<&Instrument> {
        self.list.get(id.index())
    }

    /// The instrument of this symbol, if there is one.
    #[must_use]
    pub fn by_symbol(&self, symbol: &str) -> Option<&Instrument> {
        self.of_symbol(&Symbol::new(symbol).ok()?)
    }

    /// The instrument of a symbol that was read already, if there is one.
    #[must_use]
    pub fn of_symbol(&self, symbol: &Symbol) -> Option<&Instrument> {
        self.by_symbol.get(symbol).and_then(|id| self.by_id(*id))
    }

    /// Every instrument, in the order of identifiers.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Instrument> {
        self.list.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.list.len()
    }
}
