//! The table of instruments, as it stands in the log.

use crate::journal::event;
use crate::types::{BookDecimals, Decimals, Instrument, Instruments, MarketDepth, Price, Quantity, Symbol};

/// Instruments in one entry; keeps an entry below its largest size.
const INSTRUMENTS_PER_ENTRY_MAX: usize = 500;

/// The entries that list a table.
pub(super) fn listed(instruments: &Instruments) -> impl Iterator<Item = event::Instruments> {
    (0..instruments.count()).step_by(INSTRUMENTS_PER_ENTRY_MAX).map(move |place| {
        let listed = instruments.iter().skip(place).take(INSTRUMENTS_PER_ENTRY_MAX);
        listed_from(u32::try_from(place).unwrap_or(u32::MAX), listed)
    })
}

/// The whole table as one: for a snapshot, which is cut by its bytes.
pub(super) fn listed_whole(instruments: &Instruments) -> event::Instruments {
    listed_from(0, instruments.iter())
}

fn listed_from<'a>(first: u32, listed: impl Iterator<Item = &'a Instrument>) -> event::Instruments {
    let (mut list, mut bands, mut papers) = (Vec::new(), Vec::new(), Vec::new());
    for instrument in listed {
        list.push(to_listed(instrument));
        if let Some((lowest, highest)) = instrument.band {
            bands.push((instrument.id.0, lowest.nanos(), highest.nanos()));
        }
        if instrument.paper {
            papers.push(instrument.id.0);
        }
    }
    event::Instruments { first, list, bands, papers }
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
    let mut bands = entry.bands.iter().copied().peekable();
    let mut papers = entry.papers.iter().copied().peekable();
    for (number, listed) in (entry.first..).zip(&entry.list) {
        let symbol = Symbol::new(&listed.symbol).ok()?;
        let price = Decimals::new(listed.price_decimals)?;
        let quantity = Decimals::new(listed.quantity_decimals)?;
        if listed.tick == 0 || listed.lot == 0 {
            return None;
        }
        let band = bands.next_if(|(banded, ..)| *banded == number);
        if band.is_some_and(|(_, lowest, highest)| lowest > highest) {
            return None;
        }
        let paper = papers.next_if_eq(&number).is_some();
        if paper && !listed.tradable {
            return None;
        }
        instruments.add(|id| Instrument {
            id,
            symbol,
            decimals: BookDecimals { price, quantity },
            tick: Price::from_nanos(listed.tick),
            lot: Quantity::from_nanos(listed.lot),
            band: band.map(|(_, lowest, highest)| (Price::from_nanos(lowest), Price::from_nanos(highest))),
            // What a source shows has no part in an execution.
            depth: if listed.tradable { MarketDepth::Orders } else { MarketDepth::Trades },
            tradable: listed.tradable,
            paper,
        })?;
    }
    (bands.next().is_none() && papers.next().is_none()).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::InstrumentId;

    /// A table of so many instruments, every third with a band of its own.
    fn table(count: u32) -> Instruments {
        let mut instruments = Instruments::new();
        for number in 0..count {
            let lowest = i64::from(number) - 7;
            let band = (Price::from_nanos(lowest), Price::from_nanos(lowest + 100));
            let build = |id| Instrument {
                id,
                symbol: Symbol::new(&format!("S{number}")).unwrap(),
                decimals: BookDecimals::default(),
                tick: Price::from_nanos(1),
                lot: Quantity::from_nanos(1),
                band: number.is_multiple_of(3).then_some(band),
                depth: MarketDepth::Orders,
                tradable: true,
                paper: number.is_multiple_of(5),
            };
            instruments.add(build).unwrap();
        }
        instruments
    }

    #[test]
    fn bands_and_paper_come_back_from_the_log_with_their_instruments() {
        let before = table(1_203);
        let mut after = Instruments::new();
        for entry in listed(&before) {
            add(&mut after, &entry).unwrap();
        }
        let told = |table: &Instruments| table.iter().map(|one| (one.band, one.paper)).collect::<Vec<_>>();
        assert_eq!(told(&after), told(&before));
        assert_eq!(after.by_id(InstrumentId(3)).unwrap().band.unwrap().0, Price::from_nanos(-4));
    }

    #[test]
    fn a_band_or_paper_of_no_listed_instrument_or_upside_down_is_refused() {
        let entry = listed(&table(4)).next().unwrap();
        assert_eq!(add(&mut Instruments::new(), &entry), Some(()));
        for papers in [vec![4], vec![1, 1], vec![2, 1]] {
            let wrong = event::Instruments { papers, ..entry.clone() };
            assert_eq!(add(&mut Instruments::new(), &wrong), None, "{:?}", wrong.papers);
        }
        let mut wrong = event::Instruments { papers: vec![1], ..entry.clone() };
        wrong.list[1].tradable = false;
        assert_eq!(add(&mut Instruments::new(), &wrong), None, "on paper, and takes no orders");
        for bands in
            [vec![(4, 1, 2)], vec![(1, 2, 1)], vec![(2, 1, 2), (1, 1, 2)], vec![(1, 1, 2), (1, 1, 2)]]
        {
            let wrong = event::Instruments { bands, ..entry.clone() };
            assert_eq!(add(&mut Instruments::new(), &wrong), None, "{:?}", wrong.bands);
        }
        let none = event::Instruments { bands: Vec::new(), ..entry };
        assert_eq!(add(&mut Instruments::new(), &none), Some(()), "as listed before there were bands");
    }
}
