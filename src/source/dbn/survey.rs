//! What a file does not say about its instruments, and what its records tell: price step and decimals.
//!
//! The step of an instrument is the greatest one that divides one whole unit and every price read, so its
//! decimals are the fewest that write every price exactly, whatever the order of the records. Prices of ES in
//! quarters give a step of 0.25 and two decimals. Reading costs about 100 ns a record.

use std::collections::BTreeMap;

use ::dbn::{Metadata, SType, Schema};

use crate::types::{Decimals, Instrument, InstrumentId, Instruments, MarketDepth, Symbol};

use super::super::error::{SourceError, check_paper};
use super::super::step::{Step, decimals};
use super::file::RecordFile;
use super::row::Row;
use super::translate::Recorded;

/// Most records that are read before the first is replayed: 560 MB of MBO, about a second.
const RECORDS_MAX: u64 = 10_000_000;

/// What a file of this schema shows.
pub(super) fn depth_of(metadata: &Metadata) -> Result<MarketDepth, SourceError> {
    match metadata.schema {
        Some(Schema::Mbo) => Ok(MarketDepth::Orders),
        Some(Schema::Mbp1) => Ok(MarketDepth::Top),
        Some(Schema::Trades) => Ok(MarketDepth::Trades),
        Some(other) => Err(SourceError::Schema { found: other.to_string() }),
        None => Err(SourceError::Schema { found: "mixed".to_owned() }),
    }
}

/// Reads the file from its first record and registers its instruments.
pub(super) fn register(
    mut file: RecordFile,
    instruments: &mut Instruments,
    paper: bool,
) -> Result<BTreeMap<u32, Recorded>, SourceError> {
    let depth = depth_of(file.metadata())?;
    let symbols = symbols(file.metadata())?;
    let survey = Survey::of(&mut file, depth);
    if let Some(number) = survey.steps.keys().find(|number| !symbols.contains_key(number)) {
        return Err(SourceError::InstrumentUnmapped { number: *number });
    }
    let mut recorded = BTreeMap::new();
    for (number, symbol) in symbols {
        let step = match survey.steps.get(&number) {
            Some(step) => *step,
            // It may appear behind the part that was read, with any price.
            None if survey.is_partial => Step::FINEST,
            None => continue,
        };
        let (id, price_decimals) = add(instruments, symbol, step, depth, paper)?;
        recorded.insert(number, Recorded::new(id, price_decimals));
    }
    if recorded.is_empty() {
        // Not even one record: the fault, if there was one, is all there is to say.
        return Err(survey.fault.unwrap_or(SourceError::Empty));
    }
    Ok(recorded)
}

fn add(
    instruments: &mut Instruments,
    symbol: Symbol,
    step: Step,
    depth: MarketDepth,
    paper: bool,
) -> Result<(InstrumentId, Decimals), SourceError> {
    check_paper(paper, symbol, depth)?;
    let (tick, lot) = (step.tick(), Step::WHOLE.lot());
    let decimals = decimals(tick, lot);
    let id = instruments
        .add(|id| Instrument { id, symbol, decimals, tick, lot, band: None, depth, tradable: paper, paper })
        .ok_or(SourceError::SymbolTaken { symbol })?;
    Ok((id, decimals.price))
}

/// Symbols by the recording's instrument numbers. Each number has one symbol and each symbol one number, or the
/// file is refused.
fn symbols(metadata: &Metadata) -> Result<BTreeMap<u32, Symbol>, SourceError> {
    let mut symbols = BTreeMap::new();
    let mut numbers = BTreeMap::new();
    for mapping in &metadata.mappings {
        for interval in &mapping.intervals {
            let (symbol, number) = match (metadata.stype_in, metadata.stype_out) {
                (Some(SType::InstrumentId), _) => (&interval.symbol, &mapping.raw_symbol),
                _ => (&mapping.raw_symbol, &interval.symbol),
            };
            if symbol.is_empty() || number.is_empty() {
                // The recorder could not resolve it for these days.
                continue;
            }
            let number: u32 = number.parse().map_err(|_| SourceError::Mapping { name: number.clone() })?;
            let symbol = Symbol::new(symbol)
                .map_err(|source| SourceError::SymbolName { symbol: symbol.clone(), source })?;
            if *symbols.entry(number).or_insert(symbol) != symbol {
                return Err(SourceError::Mapping { name: number.to_string() });
            }
            if *numbers.entry(symbol).or_insert(number) != number {
                return Err(SourceError::Mapping { name: symbol.to_string() });
            }
        }
    }
    Ok(symbols)
}

/// What the records tell.
struct Survey {
    /// Price step of each instrument that occurs.
    steps: BTreeMap<u32, Step>,
    /// Whether records are left that were not read.
    is_partial: bool,
    /// What ended the reading, if not the end.
    fault: Option<SourceError>,
}

impl Survey {
    fn of(file: &mut RecordFile, depth: MarketDepth) -> Self {
        let mut survey = Self { steps: BTreeMap::new(), is_partial: false, fault: None };
        while file.records() < RECORDS_MAX {
            match next(file, depth) {
                Ok(Next::Row(row)) => survey.note(&row),
                Ok(Next::Other) => {}
                Ok(Next::End) => return survey,
                // Nothing behind a fault is ever replayed, so nothing behind it matters here.
                Err(fault) => {
                    survey.fault = Some(fault);
                    return survey;
                }
            }
        }
        survey.is_partial = true;
        survey
    }

    fn note(&mut self, row: &Row) {
        let step = self.steps.entry(row.instrument).or_insert(Step::WHOLE);
        for price in row.prices() {
            step.note(price.nanos().unsigned_abs());
        }
    }
}

enum Next {
    Row(Row),
    Other,
    End,
}

fn next(file: &mut RecordFile, depth: MarketDepth) -> Result<Next, SourceError> {
    let number = file.records() + 1;
    let Some(record) = file.next()? else { return Ok(Next::End) };
    Ok(Row::read(number, &record, depth)?.map_or(Next::Other, Next::Row))
}
