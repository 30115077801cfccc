//! The table of instruments, on its way onto the tape and back.

use crate::journal::tape::{InstrumentList, TapedInstrument};
use crate::types::{BookDecimals, Decimals, Instrument, Instruments, MarketDepth, Price, Quantity, Symbol};

/// Nano-units in the smallest quantity of an instrument: the unit of sizes in its records.
pub(super) fn unit(instrument: &Instrument) -> u64 {
    10_u64.pow(u32::from(Decimals::MAX.get() - instrument.decimals.quantity.get()))
}

pub(super) fn to_tape(instrument: &Instrument) -> TapedInstrument {
    TapedInstrument {
        symbol: instrument.symbol.to_string(),
        price_decimals: instrument.decimals.price.get(),
        quantity_decimals: instrument.decimals.quantity.get(),
        tick: instrument.tick.nanos(),
        lot: instrument.lot.nanos(),
        depth: depth_name(instrument.depth).to_owned(),
        band: instrument.band.map(|(lowest, highest)| (lowest.nanos(), highest.nanos())),
        tradable: instrument.tradable,
        paper: instrument.paper,
    }
}

/// Permanent names: they stand on tapes.
const fn depth_name(depth: MarketDepth) -> &'static str {
    match depth {
        MarketDepth::Orders => "orders",
        MarketDepth::Levels => "levels",
        MarketDepth::Top => "top",
        MarketDepth::Trades => "trades",
    }
}

fn depth(name: &str) -> Option<MarketDepth> {
    [MarketDepth::Orders, MarketDepth::Levels, MarketDepth::Top, MarketDepth::Trades]
        .into_iter()
        .find(|depth| depth_name(*depth) == name)
}

/// A table that is being read, list by list.
#[derive(Debug, Default)]
pub(super) struct Listing {
    instruments: Instruments,
    total: Option<u32>,
}

impl Listing {
    /// Takes the next list; `None` where it does not continue the table or lists what cannot be.
    pub(super) fn take(&mut self, list: &InstrumentList) -> Option<()> {
        if list.first == 0 {
            *self = Self { instruments: Instruments::new(), total: Some(list.total) };
        }
        if self.total != Some(list.total) || list.first as usize != self.instruments.count() {
            return None;
        }
        for taped in &list.list {
            let symbol = Symbol::new(&taped.symbol).ok()?;
            let price = Decimals::new(taped.price_decimals)?;
            let quantity = Decimals::new(taped.quantity_decimals)?;
            let depth = depth(&taped.depth)?;
            self.instruments.add(|id| Instrument {
                id,
                symbol,
                decimals: BookDecimals { price, quantity },
                tick: Price::from_nanos(taped.tick),
                lot: Quantity::from_nanos(taped.lot),
                band: taped
                    .band
                    .map(|(lowest, highest)| (Price::from_nanos(lowest), Price::from_nanos(highest))),
                depth,
                tradable: taped.tradable,
                paper: taped.paper,
            })?;
        }
        (self.instruments.count() <= list.total as usize).then_some(())
    }

    /// The table, if it is whole.
    pub(super) fn finish(self) -> Option<Instruments> {
        (self.total? as usize == self.instruments.count()).then_some(self.instruments)
    }
}
