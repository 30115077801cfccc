//! Names of the files in a log's folder, and the state note.

use std::io;

use crate::chain::Hash;
use crate::fields::{FieldsReader, FieldsWriter};
use crate::merkle::{FRONTIER_HASHES_MAX, Frontier};
use crate::segment::{SegmentHeader, seal_name, segment_name};
use crate::storage::{Storage, read_whole, replace};

/// Folder of segments and seals.
pub(crate) const SEGMENTS: &str = "segments";
/// Folder of what recoveries found.
pub(crate) const QUARANTINE: &str = "quarantine";
/// Folder of keys; not part of what a verifier is given.
pub(crate) const KEYS: &str = "keys";
/// Folder of indexes: derived, never part of the log, never trusted ([`crate::index`]).
pub(crate) const INDEX: &str = "index";
/// The signing key.
pub(crate) const SIGNING_KEY: &str = "keys/signing.key";
/// The key of the running epoch.
pub(crate) const EPOCH_KEY: &str = "keys/epoch.key";
/// The checkpoints.
pub(crate) const CHECKPOINTS: &str = "checkpoints";
/// Whether the writer stopped in good order.
pub(crate) const STATE: &str = "state";
/// Held by the writer.
pub(crate) const LOCK: &str = "lock";
/// The next segment while it is being filled with zeros; part of the log only once it has its name.
pub(crate) const AHEAD: &str = "segments/ahead.tmp";

const STATE_TITLE: &str = "sealfeed/v1 state";
const STATE_BYTES_MAX: usize = 256;

/// Path of the segment that starts with `first_seq`.
pub(crate) fn segment_path(first_seq: u64) -> String {
    format!("{SEGMENTS}/{}", segment_name(first_seq))
}

/// Path of its seal.
pub(crate) fn seal_path(first_seq: u64) -> String {
    format!("{SEGMENTS}/{}", seal_name(first_seq))
}

/// Name, in [`INDEX`], of the index of that segment.
pub(crate) fn index_name(first_seq: u64) -> String {
    format!("{first_seq:020}.idx")
}

/// Name of the copy of the torn bytes of the segment that starts with `first_seq`.
pub(crate) fn torn_segment_name(first_seq: u64) -> String {
    format!("segment-{first_seq:020}.torn")
}

/// Name of the copy of an incomplete checkpoint at `offset`.
pub(crate) fn torn_checkpoint_name(offset: u64) -> String {
    format!("checkpoints-{offset:020}.torn")
}

/// What the file `state` says. It is a hint that tells a crash during the stop from a lost checkpoint, and proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// A writer is at work, or was when the machine stopped.
    Open,
    /// The writer stopped with this many entries, all under a checkpoint.
    Closed { size: u64 },
}

impl State {
    /// Writes the file.
    pub(crate) fn write(self, storage: &dyn Storage) -> io::Result<()> {
        replace(storage, "", STATE, self.to_text().as_bytes())
    }

    /// The file's content.
    pub(crate) fn to_text(self) -> String {
        let fields = FieldsWriter::new(STATE_TITLE);
        let fields = match self {
            Self::Open => fields.text("writer", "open"),
            Self::Closed { size } => fields.text("writer", "closed").number("size", size),
        };
        fields.finish()
    }

    /// Reads the file; `None` when it is missing or not readable as a state.
    pub(crate) fn read(storage: &dyn Storage) -> io::Result<Option<Self>> {
        let bytes = match read_whole(storage, STATE, STATE_BYTES_MAX) {
            Ok(bytes) => bytes,
            // A hint that is missing, or longer than one can be, is none; it must not keep anybody from a verdict.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::FileTooLarge) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        Ok(std::str::from_utf8(&bytes).ok().and_then(Self::from_text))
    }

    fn from_text(text: &str) -> Option<Self> {
        let mut fields = FieldsReader::new(text, STATE_TITLE)?;
        let state = match fields.text("writer")? {
            "open" => Self::Open,
            "closed" => Self::Closed { size: fields.number("size")? },
            _ => return None,
        };
        fields.finish()?;
        Some(state)
    }
}

/// A piece of a file that a crash left damaged, as RECOVERY declares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Torn {
    /// Where it starts.
    pub offset: u64,
    /// Its length in bytes; zero when there was none.
    pub bytes: u64,
    /// SHA-256 of it.
    pub sha256: Hash,
}

/// Payload of a RECOVERY entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Entries kept, all in complete groups.
    pub kept: u64,
    /// First entry of the segment that was open.
    pub segment: u64,
    /// What was damaged in the segment.
    pub torn_segment: Torn,
    /// What was damaged at the end of the checkpoints.
    pub torn_checkpoint: Torn,
    /// Size of the log's last own checkpoint: the log must reach at least so far.
    pub checkpoint_size: u64,
    /// Size of the largest checkpoint known from witnesses; 0 without any.
    pub witness_size: u64,
    /// Epoch in the key file.
    pub key_epoch: u64,
}

const RECOVERY_TITLE: &str = "sealfeed/v1 recovery";

impl Recovery {
    /// The payload.
    pub(crate) fn to_payload(self) -> Vec<u8> {
        let torn = |fields: FieldsWriter, name: &str, torn: &Torn| {
            fields
                .number(&format!("{name}-offset"), torn.offset)
                .number(&format!("{name}-bytes"), torn.bytes)
                .hash(&format!("{name}-sha256"), &torn.sha256)
        };
        let fields =
            FieldsWriter::new(RECOVERY_TITLE).number("kept", self.kept).number("segment", self.segment);
        let fields = torn(fields, "torn", &self.torn_segment);
        let fields = torn(fields, "checkpoint-torn", &self.torn_checkpoint);
        let fields =
            fields.number("checkpoint-size", self.checkpoint_size).number("witness-size", self.witness_size);
        fields.number("key-epoch", self.key_epoch).finish().into_bytes()
    }

    /// Reads the payload of a RECOVERY entry; `None` when it is not one.
    #[must_use]
    pub fn from_payload(payload: &[u8]) -> Option<Self> {
        let torn = |fields: &mut FieldsReader<'_>, name: &str| {
            Some(Torn {
                offset: fields.number(&format!("{name}-offset"))?,
                bytes: fields.number(&format!("{name}-bytes"))?,
                sha256: fields.hash(&format!("{name}-sha256"))?,
            })
        };
        let mut fields = FieldsReader::new(std::str::from_utf8(payload).ok()?, RECOVERY_TITLE)?;
        let (kept, segment) = (fields.number("kept")?, fields.number("segment")?);
        let torn_segment = torn(&mut fields, "torn")?;
        let torn_checkpoint = torn(&mut fields, "checkpoint-torn")?;
        let checkpoint_size = fields.number("checkpoint-size")?;
        let witness_size = fields.number("witness-size")?;
        let key_epoch = fields.number("key-epoch")?;
        fields.finish()?;
        Some(Self { kept, segment, torn_segment, torn_checkpoint, checkpoint_size, witness_size, key_epoch })
    }
}

/// Payload of a PRUNE entry: where the kept part of the log begins, and the state of chain and tree there. It is durable before
/// the first segment leaves; segments leave in ascending order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prune {
    /// Number of the first segment kept.
    pub segment: u64,
    /// Link that the first entry kept carries.
    pub previous: Hash,
    /// The tree before the first entry kept; its size is that entry's sequence number.
    pub frontier: Frontier,
}

const PRUNE_TITLE: &str = "sealfeed/v1 prune";

impl Prune {
    /// The payload that a PRUNE down to the segment of this header must have.
    #[must_use]
    pub fn down_to(header: &SegmentHeader) -> Self {
        Self { segment: header.number, previous: header.previous, frontier: header.frontier.clone() }
    }

    /// Sequence number of the first entry kept.
    #[must_use]
    pub fn first_seq(&self) -> u64 {
        self.frontier.size()
    }

    /// The payload.
    #[must_use]
    pub fn to_payload(&self) -> Vec<u8> {
        let mut fields = FieldsWriter::new(PRUNE_TITLE)
            .number("first", self.first_seq())
            .number("segment", self.segment)
            .hash("prev", &self.previous)
            .number("frontier", self.frontier.subtrees().len() as u64);
        for node in self.frontier.subtrees() {
            fields = fields.hash("node", node);
        }
        fields.finish().into_bytes()
    }

    /// Reads the payload of a PRUNE entry; `None` when it is not one.
    #[must_use]
    pub fn from_payload(payload: &[u8]) -> Option<Self> {
        let mut fields = FieldsReader::new(std::str::from_utf8(payload).ok()?, PRUNE_TITLE)?;
        let first_seq = fields.number("first")?;
        let segment = fields.number("segment")?;
        let previous = fields.hash("prev")?;
        let count = usize::try_from(fields.number("frontier")?).ok()?;
        if count > FRONTIER_HASHES_MAX {
            return None;
        }
        let subtrees = (0..count).map(|_| fields.hash("node")).collect::<Option<Vec<Hash>>>()?;
        fields.finish()?;
        Some(Self { segment, previous, frontier: Frontier::from_parts(first_seq, &subtrees)? })
    }
}

/// Payload of the GENESIS entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genesis {
    /// Name of the log.
    pub origin: String,
    /// Its identity: hash of origin and random bytes.
    pub log_id: Hash,
    /// The random bytes.
    pub random: [u8; 32],
    /// The first signing key, as text.
    pub key: String,
    /// SHA-256 of `FORMAT.md` as it stood when the log was made.
    pub format: Hash,
    /// Build that made the log.
    pub build: String,
    /// SHA-256 of the configuration in force.
    pub configuration: Hash,
    /// Fingerprint of `K_0`, by which the key in escrow can be recognised.
    pub escrow: Hash,
}

const GENESIS_TITLE: &str = "sealfeed/v1 genesis";

impl Genesis {
    /// The payload.
    pub(crate) fn to_payload(&self) -> Vec<u8> {
        FieldsWriter::new(GENESIS_TITLE)
            .text("origin", &self.origin)
            .hash("log", &self.log_id)
            .hash("random", &self.random)
            .text("key", &self.key)
            .hash("format", &self.format)
            .text("build", &self.build)
            .hash("configuration", &self.configuration)
            .hash("escrow", &self.escrow)
            .finish()
            .into_bytes()
    }

    /// Reads the payload of a GENESIS entry; `None` when it is not one.
    #[must_use]
    pub fn from_payload(payload: &[u8]) -> Option<Self> {
        let mut fields = FieldsReader::new(std::str::from_utf8(payload).ok()?, GENESIS_TITLE)?;
        let genesis = Self {
            origin: fields.text("origin")?.to_owned(),
            log_id: fields.hash("log")?,
            random: fields.hash("random")?,
            key: fields.text("key")?.to_owned(),
            format: fields.hash("format")?,
            build: fields.text("build")?.to_owned(),
            configuration: fields.hash("configuration")?,
            escrow: fields.hash("escrow")?,
        };
        fields.finish()?;
        Some(genesis)
    }
}

/// Payload of a START entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Build of the writer.
    pub build: String,
    /// SHA-256 of the configuration in force.
    pub configuration: Hash,
    /// Boot of the machine; zeros where the system names none.
    pub boot_id: [u8; 16],
    /// Whether the run before ended with STOP.
    pub previous_run_stopped: bool,
}

const START_TITLE: &str = "sealfeed/v1 start";

impl Start {
    /// The payload.
    pub(crate) fn to_payload(&self) -> Vec<u8> {
        FieldsWriter::new(START_TITLE)
            .text("build", &self.build)
            .hash("configuration", &self.configuration)
            .hash("boot", &self.boot_id)
            .text("previous-run", if self.previous_run_stopped { "stopped" } else { "ended" })
            .finish()
            .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prune_round_trips_and_has_one_form() {
        let mut frontier = Frontier::new();
        for leaf in 0..11u8 {
            frontier.push([leaf; 32]);
        }
        let prune = Prune { segment: 3, previous: [10; 32], frontier };
        let payload = prune.to_payload();
        assert_eq!(prune.first_seq(), 11);
        assert_eq!(Prune::from_payload(&payload).as_ref(), Some(&prune));
        let text = String::from_utf8(payload).unwrap();
        for wrong in [
            text.replace("first 11", "first 12"),
            text.replace("frontier 3", "frontier 2"),
            text.replace("frontier 3", "frontier 18446744073709551615"),
            text.replace("segment 3", "segment 03"),
            format!("{text}\n"),
            text.trim_end().to_owned(),
        ] {
            assert_eq!(Prune::from_payload(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
