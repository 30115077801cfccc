//! A client that publishes: its instruments and its terms. Its market data comes through the gate like any signed request, not from here.

use std::sync::Arc;

use crate::config::{PublisherSourceConfig, Shows};
use crate::types::{
    BookDecimals, Decimals, Instrument, InstrumentId, Instruments, MarketDepth, Price, Principal, Quantity,
};

use super::error::SourceError;

/// A publisher as the configuration has it, with its instruments registered.
#[derive(Clone, Debug)]
pub struct PublisherTerms {
    /// Name of the source in the sealed log: `publisher firm/user`.
    pub source: Arc<str>,
    /// Who it is.
    pub principal: Principal,
    /// What it publishes.
    pub instruments: Vec<InstrumentId>,
    /// Silence in an instrument after which it is stale, milliseconds; 0: never.
    pub stall_ms: u64,
}

/// Adds a publisher's instruments to the table.
///
/// # Errors
/// [`SourceError`] when its principal is none, it has no instrument, or a symbol is taken.
pub fn open_publisher(
    config: &PublisherSourceConfig,
    instruments: &mut Instruments,
) -> Result<PublisherTerms, SourceError> {
    let principal = config.principal.split_once('/').and_then(|(firm, user)| Principal::new(firm, user));
    let principal = principal
        .ok_or_else(|| SourceError::Principal { principal: config.principal.escape_default().to_string() })?;
    let mut ids = Vec::new();
    for one in &config.instruments {
        let symbol = one.symbol;
        let decimals = BookDecimals { price: one.price_decimals, quantity: one.qty_decimals };
        let depth = match one.shows {
            Shows::Book => MarketDepth::Levels,
            Shows::Bbo => MarketDepth::Top,
            Shows::Trades => MarketDepth::Trades,
        };
        let tick = Price::from_nanos(unit(decimals.price).cast_signed());
        let lot = Quantity::from_nanos(unit(decimals.quantity));
        let id = instruments
            .add(|id| Instrument {
                id,
                symbol,
                decimals,
                tick,
                lot,
                band: None,
                depth,
                tradable: false,
                paper: false,
            })
            .ok_or(SourceError::SymbolTaken { symbol })?;
        ids.push(id);
    }
    if ids.is_empty() {
        return Err(SourceError::Empty);
    }
    let source = format!("publisher {principal}").into();
    Ok(PublisherTerms { source, principal, instruments: ids, stall_ms: config.stall_ms })
}

/// The smallest step of so many decimals, in nano-units.
fn unit(decimals: Decimals) -> u64 {
    10_u64.pow(u32::from(Decimals::MAX.get() - decimals.get()))
}
