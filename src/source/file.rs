//! Opens recorded files: plain, gzip (RFC 1952) or zstd (RFC 8878), told apart by their first bytes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use super::error::SourceError;

/// First bytes of a zstd frame (RFC 8878, section 3.1.1).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// First bytes of a gzip member (RFC 1952, section 2.3.1).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The bytes of a file, decompressed. A file that ends inside its compression reads as `UnexpectedEof` at the cut.
pub(super) type Bytes = Box<dyn Read + Send>;

/// Opens a file.
pub(super) fn open(path: &Path) -> Result<Bytes, SourceError> {
    let opened = File::open(path).and_then(|file| decompressed(BufReader::new(file)));
    opened.map_err(|source| SourceError::Open { path: path.to_owned(), source })
}

fn decompressed(mut file: BufReader<File>) -> io::Result<Bytes> {
    let first = file.fill_buf()?;
    Ok(if first.starts_with(&ZSTD_MAGIC) {
        Box::new(zstd::stream::read::Decoder::with_buffer(file)?)
    } else if first.starts_with(&GZIP_MAGIC) {
        // Logs that are rotated into one file are several members.
        Box::new(flate2::bufread::MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    })
}
