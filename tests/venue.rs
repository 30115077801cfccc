//! The embedded venue from outside: against another matching engine, and with the orders of a recorded day.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "support/data.rs"]
mod data;
#[path = "support/replay.rs"]
#[expect(dead_code, reason = "each test of recordings uses its own part")]
mod replay;

#[path = "venue/engine.rs"]
mod engine;
#[path = "venue/indicated.rs"]
mod indicated;
#[path = "venue/recorded.rs"]
mod recorded;

use sealfeed::types::{
    BookDecimals, ClientOrderId, Instrument, InstrumentId, Instruments, MarketDepth, NewOrder, OrderId,
    OrderKind, OwnerId, Price, Quantity, Side, Symbol, TimeInForce,
};

const X: InstrumentId = InstrumentId(0);
const OWNER: OwnerId = OwnerId(0);

/// A table of one instrument with this tick.
fn instruments(tick: Price) -> Instruments {
    let mut instruments = Instruments::new();
    let build = |id| Instrument {
        id,
        symbol: Symbol::new("X").unwrap(),
        decimals: BookDecimals::default(),
        tick,
        lot: Quantity::from_nanos(1),
        band: None,
        depth: MarketDepth::Orders,
        tradable: true,
        paper: false,
    };
    instruments.add(build).unwrap();
    instruments
}

/// An order that trades or rests until it is cancelled.
fn limit(id: OrderId, side: Side, price: Price, quantity: Quantity) -> NewOrder {
    NewOrder {
        id,
        owner: OWNER,
        client_order_id: ClientOrderId::new("c").unwrap(),
        instrument: X,
        side,
        quantity,
        kind: OrderKind::Limit(price),
        time_in_force: TimeInForce::GoodTillCancel,
        post_only: false,
        self_trade: None,
    }
}
