//! Entries as a Parquet file, for who asks questions with a data frame or SQL.
//!
//! One row an entry, the columns of the CSV with their types; row groups of at most [`ROWS_PER_GROUP`] rows are written as they fill.
//! Memory is one row group: that many rows, or about [`GROUP_BYTES_MAX`] of text, whatever comes first. The file's own metadata say
//! which log it is of, which entries were asked for, and the hash of the last one. Format: <https://parquet.apache.org/docs/file-format/>.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use sealfeed_audit::{Hash, hex};

use super::hashed::Hashed;
use super::rows::Row;

const ROWS_PER_GROUP: usize = 16_384;
/// Bytes of text after which a row group ends: one entry takes up to 65,535 bytes in the log, and several times that as JSON.
const GROUP_BYTES_MAX: usize = 32 << 20;
/// Unsigned numbers and times keep all their bits in signed columns that say so.
const SCHEMA: &str = "message entries {
    required int64 seq (INTEGER(64, false));
    required int64 time (TIMESTAMP(NANOS, true));
    required binary kind (STRING);
    optional binary session (STRING);
    optional int64 order (INTEGER(64, false));
    optional int64 order_event (INTEGER(64, false));
    optional binary principal (STRING);
    optional binary symbol (STRING);
    optional binary code (STRING);
    required binary event (STRING);
    required binary hash (STRING);
}";

/// A column while its row group fills.
enum Column {
    Numbers(Vec<Option<i64>>),
    Texts(Vec<Option<ByteArray>>),
}

/// Writes rows to a new file; without [`ParquetFile::finish`] the file is taken away again.
pub(super) struct ParquetFile {
    path: PathBuf,
    writer: Option<SerializedFileWriter<Hashed>>,
    columns: Vec<Column>,
    /// Rows and bytes of text in the row group that is not written yet.
    rows: usize,
    bytes: usize,
    /// Rows in all.
    count: u64,
    first: Option<u64>,
    last: Option<(u64, Hash)>,
}

/// What a finished file holds.
pub(super) struct Written {
    pub(super) rows: u64,
    pub(super) sha256: Hash,
}

impl ParquetFile {
    /// Makes the file; one that exists is left alone.
    pub(super) fn create(path: &Path) -> anyhow::Result<Self> {
        let schema = Arc::new(parse_message_type(SCHEMA)?);
        let columns = schema
            .get_fields()
            .iter()
            .map(|field| match field.get_physical_type() {
                parquet::basic::Type::INT64 => Column::Numbers(Vec::new()),
                _ => Column::Texts(Vec::new()),
            })
            .collect();
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path)
            .with_context(|| format!("cannot make {path:?}"))?;
        // No two entries have the same hash, and hardly two the same text: a dictionary would only be built to be given up.
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_column_dictionary_enabled("event".into(), false)
            .set_column_dictionary_enabled("hash".into(), false)
            .build();
        let writer = SerializedFileWriter::new(Hashed::new(file), schema, Arc::new(properties));
        let writer = writer.inspect_err(|_| remove(path))?;
        let (path, writer) = (path.to_owned(), Some(writer));
        Ok(Self { path, writer, columns, rows: 0, bytes: 0, count: 0, first: None, last: None })
    }

    /// Adds a row.
    pub(super) fn push(&mut self, row: &Row) -> anyhow::Result<()> {
        let header = &row.entry.header;
        let hash = hex(&row.entry.hash);
        let event = serde_json::to_string(&row.fields)?;
        let session = header.session.map(|session| hex(&session.id));
        // The column's type ends in April 2262; a clock that says more is no reason for a wrong time.
        let time = i64::try_from(header.stamp.utc_ns).with_context(|| {
            format!(
                "entry {} carries the time {} ns, which Parquet cannot hold",
                header.seq, header.stamp.utc_ns
            )
        })?;
        let mut numbers = [
            Some(header.seq.cast_signed()),
            Some(time),
            header.order.map(|order| order.id.cast_signed()),
            header.order.map(|order| order.event.cast_signed()),
        ]
        .into_iter();
        let symbol = row.symbol();
        let mut texts = [
            Some(row.kind.as_str()),
            session.as_deref(),
            row.text("principal"),
            symbol.as_deref(),
            row.text("code"),
            Some(event.as_str()),
            Some(hash.as_str()),
        ]
        .into_iter();
        for column in &mut self.columns {
            match column {
                Column::Numbers(values) => values.push(numbers.next().flatten()),
                Column::Texts(values) => values.push(texts.next().flatten().map(ByteArray::from)),
            }
        }
        self.rows += 1;
        self.count += 1;
        self.bytes += event.len() + hash.len();
        self.first.get_or_insert(header.seq);
        self.last = Some((header.seq, row.entry.hash));
        if self.rows == ROWS_PER_GROUP || self.bytes >= GROUP_BYTES_MAX { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        let Some(writer) = self.writer.as_mut().filter(|_| self.rows > 0) else { return Ok(()) };
        let mut group = writer.next_row_group()?;
        for column in &mut self.columns {
            column.write(&mut group)?;
        }
        group.close()?;
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }

    /// Writes what is left, with `about` in the file's metadata beside what it knows of the rows, and makes it durable.
    pub(super) fn finish(mut self, about: &[(&str, String)]) -> anyhow::Result<Written> {
        self.flush()?;
        let rows = self.count;
        let writer = self.writer.as_mut().context("the file was finished before")?;
        let mut say = |name: &str, value: String| {
            writer.append_key_value_metadata(KeyValue::new(format!("sealfeed.{name}"), value));
        };
        about.iter().for_each(|(name, value)| say(name, value.clone()));
        say("entries", rows.to_string());
        if let (Some(first), Some((last, hash))) = (self.first, &self.last) {
            say("first_seq", first.to_string());
            say("last_seq", last.to_string());
            say("last_hash", hex(hash));
        }
        let sha256 = self.close().inspect_err(|_| remove(&self.path));
        let sha256 = sha256.with_context(|| format!("cannot write {:?}", self.path))?;
        Ok(Written { rows, sha256 })
    }

    fn close(&mut self) -> anyhow::Result<Hash> {
        let writer = self.writer.take().context("the file was finished before")?;
        let sha256 = writer.into_inner()?.finish()?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(sha256)
    }
}

/// Half a file has no end and could not be read; nobody should take it for the answer.
fn remove(path: &Path) {
    // Whatever keeps it there, the error that led here is the one to show.
    let _ = fs::remove_file(path);
}

impl Drop for ParquetFile {
    fn drop(&mut self) {
        if self.writer.is_some() {
            remove(&self.path);
        }
    }
}

impl Column {
    fn write(&mut self, group: &mut SerializedRowGroupWriter<'_, Hashed>) -> anyhow::Result<()> {
        let mut writer = group.next_column()?.context("the schema has fewer columns than a row")?;
        match self {
            Self::Numbers(values) => {
                let (levels, values) = levels(values);
                writer.typed::<Int64Type>().write_batch(&values, Some(&levels), None)?;
            }
            Self::Texts(values) => {
                let (levels, values) = levels(values);
                writer.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None)?;
            }
        }
        Ok(writer.close()?)
    }
}

/// Definition levels (1 where there is a value) and the values alone.
fn levels<T>(values: &mut Vec<Option<T>>) -> (Vec<i16>, Vec<T>) {
    let levels = values.iter().map(|value| i16::from(value.is_some())).collect();
    (levels, values.drain(..).flatten().collect())
}
