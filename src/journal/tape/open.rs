//! Opening the tape, and making it at the first start: as the audit log, and how its last run ended.

use std::path::Path;
use std::sync::Arc;

use sealfeed_audit::follow::Follower;
use sealfeed_audit::reader::{Entry, ReadError, entries_from};
use sealfeed_audit::{EntryRef, Log, Options, TapeLink, kind};

use super::layout::{self, END, End, KEYFRAME, KEYFRAME_BYTES_MAX, KeyframeHeader, MarketState, SCHEMA};
use crate::config::{LogConfig, TapeConfig};
use crate::journal::open::{OpenLogError, is_to_be_made, make, options};
use crate::journal::{Journal, event};
use crate::types::{Epoch, UnixNanos};

/// Entries and bytes that may wait inside the log, behind the tape's own queue.
const QUEUE_ENTRIES_MAX: usize = 1_024;
const QUEUE_BYTES_MAX: usize = 16 << 20;

/// An open tape.
#[derive(Debug)]
pub struct Opened {
    /// How the last run ended: `Some` if it was stopped in good order, with the state it ended in, so that the next may go on with the
    /// same epoch. `None` after a crash or a failure, on a new tape, and on one that is not, to its last entry, the tape that the run
    /// before linked into the audit log: another run may have published since, without it.
    pub last_end: Option<State>,
    /// Whether a crash was recovered from just now.
    pub recovered: bool,
    pub(super) log: Log,
    pub(super) origin: String,
    pub(super) segment_bytes: u64,
    pub(super) rotates_daily: bool,
    pub(super) compression_level: u8,
}

/// The state that a run ended in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The feed's epoch.
    pub epoch: Epoch,
    /// Events recorded in the epoch: the number of the next one.
    pub events: u64,
    /// When the last one was published, or the run began.
    pub ts_out: UnixNanos,
    /// Its instruments by symbol, in the order of their table.
    pub instruments: Vec<layout::TapedInstrument>,
    /// Its markets, in the same order, each with all of its streams and their last sequence numbers.
    pub markets: Vec<MarketState>,
    /// The entry at which its keyframe begins, for a reader that wants the books too.
    pub keyframe: u64,
}

/// Opens the tape beside the audit log `log`; makes it if there is none.
///
/// # Errors
/// [`OpenLogError`], as for the audit log itself: a tape whose state forbids to write must be looked at, moved away, or turned off.
pub fn open(
    tape: &TapeConfig,
    log: &LogConfig,
    journal: &Journal,
    configuration: &[u8],
) -> Result<Opened, OpenLogError> {
    let config = tape.log(log);
    let directory = &config.directory;
    if is_to_be_made(directory) {
        make(&config, configuration)?;
    }
    // Before it is opened: opening adds entries of the new run.
    let last_end = last_end(directory, &log.directory).unwrap_or_default();
    let options = Options {
        clock: Arc::clone(&journal.clock),
        queue_entries_max: QUEUE_ENTRIES_MAX,
        queue_bytes_max: QUEUE_BYTES_MAX,
        ..options(&config, configuration)
    };
    let opened = Log::open(directory, options)
        .map_err(|source| OpenLogError::Open { directory: directory.clone(), source })?;
    let recovered = has_recovered(directory).unwrap_or_default();
    Ok(Opened {
        // What recovery had to mend did not end well, whatever stands before it.
        last_end: last_end.filter(|_| !recovered),
        recovered,
        log: opened,
        origin: config.origin,
        segment_bytes: config.segment_bytes,
        rotates_daily: log.rotate_utc_day,
        compression_level: tape.compression_level,
    })
}

/// The state in which the last run of the tape in `directory` ended, if it ended well: behind its END the log was stopped, nothing came
/// after, and the audit log in `audit` says the same of it.
fn last_end(directory: &Path, audit: &Path) -> Result<Option<State>, ReadError> {
    let (mut end, mut stopped) = (None, false);
    let first = Follower::segments(directory)?.last().copied().unwrap_or_default();
    let mut follower = Follower::new(directory, first)?;
    let mut see = |entry: &EntryRef<'_>| match entry.header.kind {
        END => end = layout::unpack::<End>(entry.payload).filter(|_| entry.header.schema == SCHEMA),
        kind::HEARTBEAT | kind::EPOCH_END => {}
        kind::STOP => stopped = true,
        _ => (end, stopped) = (None, false),
    };
    while follower.next_group(|entry, _, _| see(entry))? {}
    let Some(end) = end.filter(|_| stopped) else { return Ok(None) };
    let is_linked = last_link(audit)?.is_some_and(|link| {
        let tree = follower.tree();
        (link.log, link.size, link.root) == (follower.header().log_id, tree.size(), tree.root())
    });
    if is_linked { state(directory, &end) } else { Ok(None) }
}

/// The last link to the tape in the audit log, if it is of the last run of the server. It stands a few entries before that run's end: the
/// last two segments are looked through.
fn last_link(audit: &Path) -> Result<Option<TapeLink>, ReadError> {
    let segments = Follower::segments(audit)?;
    let from = segments.get(segments.len().saturating_sub(2)).copied().unwrap_or_default();
    let mut link = None;
    for entry in entries_from(audit, from)? {
        let entry = entry?;
        match entry.header.kind {
            kind::TAPE_LINK => link = TapeLink::from_payload(&entry.payload),
            event::START => link = None,
            _ => {}
        }
    }
    Ok(link)
}

fn last_segment(directory: &Path) -> Result<sealfeed_audit::reader::Entries, ReadError> {
    let first = Follower::segments(directory)?.last().copied().unwrap_or_default();
    entries_from(directory, first)
}

/// Whether the run that was opened last began with a recovery.
fn has_recovered(directory: &Path) -> Result<bool, ReadError> {
    let mut recovered = false;
    for entry in last_segment(directory)? {
        match entry?.header.kind {
            kind::RECOVERY => recovered = true,
            kind::STOP => recovered = false,
            _ => {}
        }
    }
    Ok(recovered)
}

fn state(directory: &Path, end: &End) -> Result<Option<State>, ReadError> {
    let (mut instruments, mut content) = (Vec::new(), Vec::new());
    for entry in entries_from(directory, end.keyframe)? {
        let Entry { header, payload, .. } = entry?;
        match header.kind {
            layout::INSTRUMENTS => {
                let list = layout::unpack::<layout::InstrumentList>(&payload);
                let Some(list) = list.filter(|list| list.first as usize == instruments.len()) else {
                    return Ok(None);
                };
                instruments.extend(list.list);
            }
            KEYFRAME => {
                let Some((header, packed)) = KeyframeHeader::from_payload(&payload) else { return Ok(None) };
                let part = zstd::bulk::decompress(packed, header.bytes as usize);
                let Some(part) = part.ok().filter(|part| content.len() + part.len() <= KEYFRAME_BYTES_MAX)
                else {
                    return Ok(None);
                };
                content.extend_from_slice(&part);
                if header.is_last {
                    let Some((markets, _)) = layout::split_keyframe(&content) else { return Ok(None) };
                    return Ok(Some(State {
                        epoch: Epoch(end.epoch),
                        events: end.events,
                        ts_out: UnixNanos(end.ts_out),
                        instruments,
                        markets,
                        keyframe: end.keyframe,
                    }));
                }
            }
            kind::HEARTBEAT | kind::EPOCH_END => {}
            _ => return Ok(None),
        }
    }
    Ok(None)
}
