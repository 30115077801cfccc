//! `[tape]`: every market event that was published, recorded in a sealed log of its own.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{LogConfig, RetentionConfig, escrow_directory};

/// Segments of the tape unless something else is configured: small, so that a reader finds its place quickly.
const SEGMENT_BYTES_USUAL: u64 = 64 * 1024 * 1024;

/// `[tape]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TapeConfig {
    /// Whether market data is recorded.
    pub enabled: bool,
    /// Its directory; `<directory of the log>.tape` when absent. Made at the first start.
    pub directory: Option<PathBuf>,
    /// Where its `log.pub` and `k0.hex` are put when it is made; `<directory>.escrow` when absent.
    pub escrow: Option<PathBuf>,
    /// Bytes of one segment file, 1 MiB to 1 GiB; as the log's, but at most 64 MiB, when absent.
    pub segment_bytes: Option<u64>,
    /// A block is written when it holds this many events, 1 to 8,192.
    pub block_events: u32,
    /// A block is written when its first event is so old, milliseconds, 1 to 60,000: what a crash may cost.
    pub block_ms: u64,
    /// The state of all books is written after this many blocks, 1 to 1,000,000: how far a reader has to read on from one.
    pub keyframe_blocks: u32,
    /// Level of zstd, 1 to 19.
    pub compression_level: u8,
    /// How long it is kept.
    pub retention: RetentionConfig,
}

impl Default for TapeConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            directory: None,
            escrow: None,
            segment_bytes: None,
            block_events: 2_048,
            block_ms: 100,
            keyframe_blocks: 512,
            compression_level: 1,
            retention: RetentionConfig::default(),
        }
    }
}

impl TapeConfig {
    /// The sealed log that the tape is, beside the audit log `log`: what is not its own it has from there.
    #[must_use]
    pub fn log(&self, log: &LogConfig) -> LogConfig {
        let directory = self.directory.clone().unwrap_or_else(|| tape_directory(&log.directory));
        let usual = log.segment_bytes.min(SEGMENT_BYTES_USUAL);
        LogConfig {
            escrow: Some(self.escrow.clone().unwrap_or_else(|| escrow_directory(&directory))),
            directory,
            origin: format!("{}/tape", log.origin),
            segment_bytes: self.segment_bytes.unwrap_or(usual),
            // Nobody waits for a block, and each is worth a write of its own.
            group_window_us: 0,
            // The tape begins segments by itself, with a keyframe in front.
            rotate_utc_day: false,
            retention: self.retention.clone(),
            witnesses: Vec::new(),
            ..log.clone()
        }
    }
}

/// Where the tape of a log goes unless another place is configured: beside it.
#[must_use]
pub fn tape_directory(log: &Path) -> PathBuf {
    let mut name = log.file_name().unwrap_or_default().to_owned();
    name.push(".tape");
    log.with_file_name(name)
}
