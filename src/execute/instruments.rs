//! The table of instruments, as it stands in the log.

use crate::journal::event;
use crate::types::{BookDecimals, Decimals, Instrument, Instruments, MarketDepth, Price, Quantity, Symbol};

/// Instruments in one entry; keeps an entry below its largest size.
const INSTRUMENTS_PER_ENTRY_MAX: usize = 500;

/// The entries that list a table.
pub(super) fn listed(instruments: &Instruments) -> impl Iterator<Item = event::Instruments> {
    let all: Vec<event::ListedInstrument> = instruments.iter().map(to_listed).collect();
    (0..all.len()).step_by(INSTRUMENTS_PER_ENTRY_MAX).map(move |place| {
        let end = all.len().min(place + INSTRUMENTS_PER_ENTRY_MAX);
        let list = all.get(place..end).unwrap_or_default().to_vec();
        event::Instruments { first: u32::try_from(place).unwrap_or(u32::MAX), list }
    })
}

fn to_listed(instrument: &Instrument) -> event::ListedInstrument {
    event::ListedInstrument {
        symbol: instrument.symbol.to_string(),
        tradable: instrument.tradable,
        price_decimals: instrument.decimals.price.get(),
        quantity_decimals: instrument.decimals.quantity.get(),
        tick: instrument.tick.nanos(),
        lot: instrument.lot.nanos(),
    }
}

/// Adds what an entry lists to a table; `None` if it does not continue the table, or lists what no table can hold.
pub(super) fn add(instruments: &mut Instruments, entry: &event::Instruments) -> Option<()> {
    if entry.first as usize != instruments.count() {
        return None;
    }
    for listed in &entry.list {
        let symbol = Symbol::new(&listed.symbol).ok()?;
        let price = Decimals::new(listed.price_decimals)?;
        let quantity = Decimals::new(listed.quantity_decimals)?;
        if listed.tick == 0 || listed.lot == 0 {
            return None;
        }
        instruments.add(|id| Instrument {
            id,
            symbol,
            decimals: BookDecimals { price, quantity },
            tick: Price::from_nanos(listed.tick),
            lot: Quantity::from_nanos(listed.lot),
            // What a source shows has no part in an execution.
            depth: if listed.tradable { MarketDepth::Orders } else { MarketDepth::Trades },
            tradable: listed.tradable,
        })?;
    }
    Some(())
}
