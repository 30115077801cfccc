//! What commands that verify a log share: reading anchors from files, running with a progress bar, printing the report.
//!
//! `sealfeed audit verify` and the small `sealfeed-verify` differ in how they read their arguments and in nothing else.

mod bundle;
mod print;
mod run;

use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use bundle::{AskedBundle, bundle_json, bundle_text, verify_bundle_and_print};
pub use print::{json, text};
pub use run::verify_and_print;

use crate::chain::hash_from_hex;
use crate::cosignature::WitnessKey;
use crate::log::Receipt;
use crate::note::{NoteError, VerifierKey};
use crate::verify::{Anchors, Plan};

/// What somebody asks for on the command line, as text.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The log's folder.
    pub directory: PathBuf,
    /// Public key of the log, or a file that holds it.
    pub key: Option<String>,
    /// Files with checkpoints kept elsewhere.
    pub anchors: Vec<PathBuf>,
    /// Files with receipts, JSON, one a line.
    pub receipts: Vec<PathBuf>,
    /// File with `K_0` in hex.
    pub k0: Option<PathBuf>,
    /// Entries that the log must have at least.
    pub expect_size: Option<u64>,
    /// File with the checkpoint to start from.
    pub from_checkpoint: Option<PathBuf>,
    /// Folder of the tape that the log's links are compared with.
    pub tape: Option<PathBuf>,
    /// Threads, from 1; as many as there are processors by default.
    pub threads: Option<u16>,
    /// JSON instead of text.
    pub json: bool,
}

/// Why what was asked for cannot be done: exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum AskedError {
    /// A file cannot be read.
    #[error("cannot read {0:?}: {1}")]
    Read(PathBuf, #[source] std::io::Error),
    /// Neither a key nor a file that holds one.
    #[error("{0:?} is no public key of a log, nor a file that holds one: {1}")]
    Key(String, #[source] NoteError),
    /// Neither a witness's key nor a file that holds one.
    #[error("{0:?} is no public key of a witness, nor a file that holds one: {1}")]
    Witness(String, #[source] NoteError),
    /// A file that should hold receipts holds something else.
    #[error(
        "{0:?} holds no receipt in line {1}: it takes {{\"log\":HEX,\"seq\":N,\"hash\":HEX}} with 64 hex digits each"
    )]
    Receipt(PathBuf, usize),
    /// A file that should hold `K_0` holds something else.
    #[error("{0:?} does not hold 64 hex digits")]
    K0(PathBuf),
}

/// A receipt as it stands in an order's reply; other fields are ignored.
#[derive(Deserialize)]
struct ReceiptText {
    log: String,
    seq: u64,
    hash: String,
}

impl Asked {
    /// Reads the files.
    ///
    /// # Errors
    /// [`AskedError`] for the first that is of no use.
    pub fn read(&self) -> Result<(Anchors, Plan), AskedError> {
        let key = self.key.as_deref().map(read_key).transpose()?;
        let checkpoints = self.anchors.iter().map(|path| read(path)).collect::<Result<_, _>>()?;
        let mut receipts = Vec::new();
        for path in &self.receipts {
            for (index, line) in read(path)?.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
                let receipt = parse_receipt(line);
                receipts.push(receipt.ok_or_else(|| AskedError::Receipt(path.clone(), index + 1))?);
            }
        }
        let k0 =
            |path: &PathBuf| hash_from_hex(read(path)?.trim()).ok_or_else(|| AskedError::K0(path.clone()));
        let k0 = self.k0.as_ref().map(k0).transpose()?;
        let from_checkpoint = self.from_checkpoint.as_deref().map(read).transpose()?;
        let anchors = Anchors { key, checkpoints, receipts, k0, expect_size: self.expect_size };
        Ok((anchors, Plan { threads: self.threads.map(usize::from), from_checkpoint }))
    }
}

/// The public key that a text is, or that a file of this name holds.
///
/// # Errors
/// [`AskedError::Read`] or [`AskedError::Key`].
pub fn read_key(key: &str) -> Result<VerifierKey, AskedError> {
    let path = Path::new(key);
    let text = if path.exists() { read(path)? } else { key.to_owned() };
    text.trim().parse().map_err(|error| AskedError::Key(key.to_owned(), error))
}

/// As [`read_key`], of a witness.
pub(crate) fn read_witness_key(key: &str) -> Result<WitnessKey, AskedError> {
    let path = Path::new(key);
    let text = if path.exists() { read(path)? } else { key.to_owned() };
    text.parse().map_err(|error| AskedError::Witness(key.to_owned(), error))
}

fn read(path: &Path) -> Result<String, AskedError> {
    std::fs::read_to_string(path).map_err(|error| AskedError::Read(path.to_owned(), error))
}

fn parse_receipt(line: &str) -> Option<Receipt> {
    let text: ReceiptText = serde_json::from_str(line).ok()?;
    Some(Receipt { log_id: hash_from_hex(&text.log)?, seq: text.seq, hash: hash_from_hex(&text.hash)? })
}

/// A moment in UTC with every nanosecond, RFC 3339.
#[must_use]
pub fn utc(ns: u64) -> String {
    let format = time::macros::format_description!(
        "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:9]Z"
    );
    time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(ns))
        .ok()
        .and_then(|moment| moment.format(format).ok())
        .unwrap_or_else(|| ns.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_is_read_from_the_reply_it_stands_in_and_nothing_else_is_one() {
        let (log, hash) = ("11".repeat(32), "22".repeat(32));
        let line = format!(r#"{{"seq":7,"hash":"{hash}","log":"{log}","more":[1]}}"#);
        let expected = Receipt { log_id: [0x11; 32], seq: 7, hash: [0x22; 32] };
        assert_eq!(parse_receipt(&line), Some(expected));
        for wrong in ["", "{}", "7", &line.replace("22", "zz"), &line.replace(":7", ":-7")] {
            assert_eq!(parse_receipt(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn utc_text_keeps_every_nanosecond() {
        assert_eq!(utc(1_703_545_200_000_000_001), "2023-12-25T23:00:00.000000001Z");
        assert_eq!(utc(0), "1970-01-01T00:00:00.000000000Z");
    }
}
