//! The file of a recording: plain DBN, version 3, zstd, which has its name only once it is whole.
//!
//! Records are those that the server sent, byte for byte, but for the number of their instrument: that holds for one run of the server,
//! so instruments are numbered from 1 here, in the order of the command line. The header says which is which.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::mem::{offset_of, size_of};
use std::path::{Path, PathBuf};
use std::time::Duration;

use dbn::encode::dbn::MetadataEncoder;
use dbn::{InstrumentDefMsg, MappingInterval, Metadata, RecordHeader, SType, Schema, SymbolMapping, rtype};
use sealfeed_client::Record;
use sealfeed_wire::{Channel, Symbol, UnixNanos};
use tempfile::NamedTempFile;
use time::{Date, OffsetDateTime};
use zstd::stream::write::Encoder;

use crate::feed::records::DATASET;

/// Level of zstd: what Databento's own files have.
const COMPRESSION_LEVEL: i32 = 3;
/// How long the numbers of instruments hold by the header, where no end is known: the longest that can be asked for.
const LENGTH_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// Where a record has the number of its instrument, and where a definition has it again.
const NUMBER_AT: usize = offset_of!(RecordHeader, instrument_id);
const RAW_NUMBER_AT: usize = offset_of!(InstrumentDefMsg, raw_instrument_id);

/// What the header of a recording says.
pub(super) struct Contents<'a> {
    pub(super) symbols: &'a [Symbol],
    pub(super) channels: &'a [Channel],
    pub(super) start: UnixNanos,
    /// How long it is to go on; `None` where nobody has said.
    pub(super) length: Option<Duration>,
}

/// A recording that is being written.
pub(super) struct Recording {
    output: PathBuf,
    temporary: NamedTempFile,
    packer: Encoder<'static, BufWriter<File>>,
    numbers: HashMap<Symbol, u32>,
    records: u64,
}

impl Recording {
    /// Begins a file beside `output`, under another name.
    pub(super) fn create(output: &Path, contents: &Contents<'_>) -> io::Result<Self> {
        let temporary = NamedTempFile::new_in(folder(output))?;
        let mut packer = Encoder::new(BufWriter::new(temporary.reopen()?), COMPRESSION_LEVEL)?;
        packer.include_checksum(true)?;
        MetadataEncoder::new(&mut packer).encode(&metadata(contents)).map_err(io::Error::other)?;
        let numbers = contents.symbols.iter().copied().zip(1..).collect();
        Ok(Self { output: output.to_owned(), temporary, packer, numbers, records: 0 })
    }

    /// Adds a record; nothing for a symbol that the header does not name.
    pub(super) fn write(&mut self, record: &Record) -> io::Result<()> {
        let Some(number) = self.numbers.get(&record.market.header().symbol) else { return Ok(()) };
        self.packer.write_all(&numbered(&record.bytes, *number))?;
        self.records += 1;
        Ok(())
    }

    /// Records so far.
    pub(super) const fn records(&self) -> u64 {
        self.records
    }

    /// Ends the file and gives it its name; over another one only if `replaces`.
    pub(super) fn finish(self, replaces: bool) -> io::Result<u64> {
        let mut buffered = self.packer.finish()?;
        buffered.flush()?;
        buffered.get_ref().sync_all()?;
        let kept = if replaces {
            self.temporary.persist(&self.output)
        } else {
            self.temporary.persist_noclobber(&self.output)
        };
        kept.map_err(|error| error.error)?;
        // Its name is durable with its folder.
        File::open(folder(&self.output))?.sync_all()?;
        Ok(self.records)
    }
}

fn folder(output: &Path) -> &Path {
    output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The record with another number for its instrument.
fn numbered(record: &[u8], number: u32) -> Vec<u8> {
    let mut bytes = record.to_vec();
    if let Some(place) = bytes.get_mut(NUMBER_AT..NUMBER_AT + size_of::<u32>()) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    // The second byte of every record is its type.
    if bytes.get(1) == Some(&rtype::INSTRUMENT_DEF)
        && let Some(place) = bytes.get_mut(RAW_NUMBER_AT..RAW_NUMBER_AT + size_of::<u64>())
    {
        place.copy_from_slice(&u64::from(number).to_le_bytes());
    }
    bytes
}

fn metadata(contents: &Contents<'_>) -> Metadata {
    let start = date(contents.start.0);
    let length = contents.length.unwrap_or(LENGTH_MAX).min(LENGTH_MAX);
    let end = contents.start.0.saturating_add(u64::try_from(length.as_nanos()).unwrap_or(u64::MAX));
    // The end of an interval is the first day that is not in it; a connection that comes back late may take a day more.
    let end = date(end).saturating_add(time::Duration::days(2));
    let mapping = |(symbol, number): (&Symbol, u32)| SymbolMapping {
        raw_symbol: symbol.to_string(),
        intervals: vec![MappingInterval { start_date: start, end_date: end, symbol: number.to_string() }],
    };
    let schema = match contents.channels {
        [channel] => Some(schema(*channel)),
        // DBN's way to say that several occur.
        _ => None,
    };
    Metadata::builder()
        .dataset(DATASET)
        .schema(schema.flatten())
        .start(contents.start.0)
        .stype_in(Some(SType::RawSymbol))
        .stype_out(SType::InstrumentId)
        .mappings(contents.symbols.iter().zip(1..).map(mapping).collect())
        .symbols(contents.symbols.iter().map(ToString::to_string).collect())
        .build()
}

fn date(time: u64) -> Date {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(time)).map_or(Date::MIN, OffsetDateTime::date)
}

/// The schema of a channel's records.
const fn schema(channel: Channel) -> Option<Schema> {
    match channel {
        Channel::Trades => Some(Schema::Trades),
        Channel::Bbo => Some(Schema::Mbp1),
        Channel::Book => Some(Schema::Mbp10),
        Channel::Mbo => Some(Schema::Mbo),
        Channel::Ohlcv1s => Some(Schema::Ohlcv1S),
        Channel::Ohlcv1m => Some(Schema::Ohlcv1M),
        Channel::Status => Some(Schema::Status),
        Channel::Definition => Some(Schema::Definition),
        Channel::Orders | Channel::DropCopy => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_has_its_number_changed_in_both_places_and_nothing_else() {
        let mut definition = InstrumentDefMsg { raw_instrument_id: 900, ..InstrumentDefMsg::default() };
        definition.hd.instrument_id = 900;
        let after = numbered(definition.as_ref(), 7);
        let mut expected = definition;
        (expected.hd.instrument_id, expected.raw_instrument_id) = (7, 7);
        assert_eq!(after, expected.as_ref());
    }
}
