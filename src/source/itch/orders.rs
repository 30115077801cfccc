//! The orders that rest: later messages name them by number alone.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::types::{InstrumentId, MarketEventKind, OrderId, Price, Quantity, Side};

use super::super::error::SourceError;
use super::Kinds;
use super::message::Body;

/// Most orders that rest at once: about 1 GB of them. A whole day of Nasdaq has some three million at its height.
const ORDERS_MAX: usize = 16 * 1024 * 1024;

/// An order as it rests.
#[derive(Clone, Copy, Debug)]
struct Resting {
    instrument: InstrumentId,
    side: Side,
    price: Price,
    quantity: Quantity,
}

/// All orders of published instruments.
#[derive(Debug, Default)]
pub(super) struct Orders(HashMap<u64, Resting>);

impl Orders {
    /// Takes a message about an order of an instrument, and appends what it says.
    pub(super) fn take(
        &mut self,
        record: u64,
        instrument: InstrumentId,
        body: &Body,
        kinds: &mut Kinds,
    ) -> Result<(), SourceError> {
        match *body {
            Body::Add { order, side, quantity, price } => {
                self.add(record, order, Resting { instrument, side, price, quantity }, kinds)
            }
            Body::Executed { order, quantity, trade_id } => {
                let resting = self.reduce(record, instrument, order, quantity)?;
                kinds.push(trade(&resting, resting.price, quantity, trade_id));
                kinds.push(reduce(order, &resting, quantity));
                Ok(())
            }
            Body::ExecutedAt { order, quantity, trade_id, is_printable, price } => {
                let resting = self.reduce(record, instrument, order, quantity)?;
                // What is not printed comes in the print of its auction: it would be counted twice.
                if is_printable {
                    kinds.push(trade(&resting, price, quantity, trade_id));
                }
                kinds.push(reduce(order, &resting, quantity));
                Ok(())
            }
            Body::Cancelled { order, quantity } => {
                let resting = self.reduce(record, instrument, order, quantity)?;
                kinds.push(reduce(order, &resting, quantity));
                Ok(())
            }
            Body::Deleted { order } => {
                let resting = self.remove(record, instrument, order)?;
                kinds.push(reduce(order, &resting, resting.quantity));
                Ok(())
            }
            Body::Replaced { order, by, quantity, price } => {
                let resting = self.remove(record, instrument, order)?;
                kinds.push(reduce(order, &resting, resting.quantity));
                self.add(record, by, Resting { price, quantity, ..resting }, kinds)
            }
            _ => Ok(()),
        }
    }

    fn add(
        &mut self,
        record: u64,
        order: u64,
        resting: Resting,
        kinds: &mut Kinds,
    ) -> Result<(), SourceError> {
        let Resting { side, price, quantity, .. } = resting;
        if quantity.is_zero() {
            return Err(SourceError::Order { record, order, why: "it comes with nothing" });
        }
        if self.0.len() >= ORDERS_MAX {
            return Err(SourceError::OrdersFull { record, max: ORDERS_MAX });
        }
        match self.0.entry(order) {
            Entry::Occupied(_) => Err(SourceError::Order { record, order, why: "it rests already" }),
            Entry::Vacant(place) => {
                place.insert(resting);
                kinds.push(MarketEventKind::Add { order: OrderId(order), side, price, quantity });
                Ok(())
            }
        }
    }

    /// Takes a part of an order off, or all; returns it as it was.
    fn reduce(
        &mut self,
        record: u64,
        instrument: InstrumentId,
        order: u64,
        quantity: Quantity,
    ) -> Result<Resting, SourceError> {
        let fault = |why| SourceError::Order { record, order, why };
        let resting = self.0.get_mut(&order).ok_or(fault("it does not rest"))?;
        if resting.instrument != instrument {
            return Err(fault("it is another instrument's"));
        }
        let before = *resting;
        let left = before.quantity.nanos().checked_sub(quantity.nanos());
        match left.ok_or(fault("more is taken off than it has"))? {
            _ if quantity.is_zero() => return Err(fault("nothing is taken off")),
            0 => drop(self.0.remove(&order)),
            left => resting.quantity = Quantity::from_nanos(left),
        }
        Ok(before)
    }

    fn remove(&mut self, record: u64, instrument: InstrumentId, order: u64) -> Result<Resting, SourceError> {
        let rests = self.0.get(&order).map(|resting| resting.quantity);
        let quantity = rests.ok_or(SourceError::Order { record, order, why: "it does not rest" })?;
        self.reduce(record, instrument, order, quantity)
    }
}

fn trade(resting: &Resting, price: Price, quantity: Quantity, trade_id: u64) -> MarketEventKind {
    let aggressor = match resting.side {
        Side::Buy => Side::Sell,
        Side::Sell => Side::Buy,
    };
    MarketEventKind::Trade { price, quantity, aggressor: Some(aggressor), trade_id }
}

fn reduce(order: u64, resting: &Resting, quantity: Quantity) -> MarketEventKind {
    let Resting { side, price, .. } = *resting;
    MarketEventKind::Reduce { order: OrderId(order), side, price, quantity }
}
