//! The segment file: its signed header, its name, and the note that seals it.
//!
//! The header states the log, the position and the Merkle frontier at the first entry, so that each segment verifies alone.
//! Layout: `audit/FORMAT.md`, sections 5 and 6.

use crate::chain::{HASH_BYTES, Hash, genesis_link};
use crate::entry::{array, u32_at, u64_at};
use crate::fields::{FieldsReader, FieldsWriter};
use crate::group::GROUP_BYTES_MAX;
use crate::merkle::{FRONTIER_HASHES_MAX, Frontier};
use crate::note::{NAME_BYTES_MAX, Note, NoteError, SIGNATURE_BYTES, SigningKey, VerifierKey};

/// Bytes of the header, and where the first frame starts.
pub const SEGMENT_HEADER_BYTES: usize = 4_096;
/// Version of the segment layout.
pub(crate) const SEGMENT_VERSION: u32 = 1;
/// Longest description of a build, bytes; longer ones are refused when the log is opened.
pub const BUILD_BYTES_MAX: usize = 128;
/// Bytes beyond the last complete group that a crash may have touched: one group in flight.
pub const IN_FLIGHT_BYTES: u32 = 131_072;

const MAGIC: &[u8; 8] = b"sealfeed";
const SIGNED_BYTES: usize = SEGMENT_HEADER_BYTES - SIGNATURE_BYTES;
const CRC_OFFSET: usize = SIGNED_BYTES - 4;
const ORIGIN_OFFSET: usize = 256;
const BUILD_OFFSET: usize = 512;
const FRONTIER_OFFSET: usize = 1_024;
const FRONTIER_END: usize = FRONTIER_OFFSET + FRONTIER_HASHES_MAX * HASH_BYTES;
const SIGNATURE_CONTEXT: &[u8] = b"sealfeed/v1 segment\n";
const SEAL_TITLE: &str = "sealfeed/v1 seal";

const _: () = assert!(GROUP_BYTES_MAX == IN_FLIGHT_BYTES as usize && FRONTIER_END <= CRC_OFFSET);

/// What the header of a segment states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The log.
    pub log_id: Hash,
    /// Position of the segment: 0, 1, 2, …
    pub number: u64,
    /// Leaf hash of the entry before the first; for segment 0 the genesis link.
    pub previous: Hash,
    /// Number of the first group.
    pub group: u64,
    /// Epoch of the first group.
    pub epoch: u64,
    /// Run that made the segment.
    pub run: u64,
    /// When it was made, nanoseconds since the UNIX epoch.
    pub created_utc_ns: u64,
    /// Length of the file while the segment is open.
    pub capacity_bytes: u64,
    /// Boot of the machine that made it; zeros where the system names none.
    pub boot_id: [u8; 16],
    /// Public key that signs the header.
    pub key: [u8; 32],
    /// The log's origin.
    pub origin: String,
    /// Build of the writer.
    pub build: String,
    /// The tree up to the first entry; its size is that entry's sequence number.
    pub frontier: Frontier,
}

/// Why bytes are not a segment header of this log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    /// Too short, or not starting with the magic bytes.
    #[error("file is not a segment")]
    NotASegment,
    /// A version this build does not know.
    #[error("segment version {0} is unknown")]
    Version(u32),
    /// The checksum of the header is wrong.
    #[error("segment header does not match its checksum")]
    Damaged,
    /// A field has a value that no writer gives it.
    #[error("segment header is not in canonical form")]
    NotCanonical,
    /// The signature is not the key's.
    #[error("signature on the segment header is wrong")]
    WrongSignature,
}

impl SegmentHeader {
    /// Sequence number of the first entry.
    #[must_use]
    pub fn first_seq(&self) -> u64 {
        self.frontier.size()
    }

    /// Encodes and signs the header.
    pub(crate) fn sign(&self, key: &SigningKey) -> Result<Vec<u8>, NoteError> {
        let mut bytes = vec![0u8; SEGMENT_HEADER_BYTES];
        let put = |bytes: &mut Vec<u8>, offset: usize, field: &[u8]| {
            bytes[offset..offset + field.len()].copy_from_slice(field);
        };
        let header_bytes: u32 = 4_096;
        let lengths = [self.origin.len(), self.build.len(), self.frontier.subtrees().len()];
        if lengths[0] > NAME_BYTES_MAX || lengths[1] > BUILD_BYTES_MAX {
            return Err(NoteError::Name);
        }
        put(&mut bytes, 0, MAGIC);
        put(&mut bytes, 8, &SEGMENT_VERSION.to_le_bytes());
        put(&mut bytes, 12, &header_bytes.to_le_bytes());
        put(&mut bytes, 16, &self.log_id);
        put(&mut bytes, 48, &self.number.to_le_bytes());
        put(&mut bytes, 56, &self.first_seq().to_le_bytes());
        put(&mut bytes, 64, &self.previous);
        put(&mut bytes, 96, &self.group.to_le_bytes());
        put(&mut bytes, 104, &self.epoch.to_le_bytes());
        put(&mut bytes, 112, &self.run.to_le_bytes());
        put(&mut bytes, 120, &self.created_utc_ns.to_le_bytes());
        put(&mut bytes, 128, &self.capacity_bytes.to_le_bytes());
        put(&mut bytes, 136, &IN_FLIGHT_BYTES.to_le_bytes());
        for (index, length) in lengths.into_iter().enumerate() {
            put(&mut bytes, 140 + index * 2, &u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes());
        }
        put(&mut bytes, 152, &self.boot_id);
        put(&mut bytes, 168, &self.key);
        put(&mut bytes, ORIGIN_OFFSET, self.origin.as_bytes());
        put(&mut bytes, BUILD_OFFSET, self.build.as_bytes());
        for (index, hash) in self.frontier.subtrees().iter().enumerate() {
            put(&mut bytes, FRONTIER_OFFSET + index * HASH_BYTES, hash);
        }
        let crc = crc32c::crc32c(&bytes[..CRC_OFFSET]);
        put(&mut bytes, CRC_OFFSET, &crc.to_le_bytes());
        let signature = key.sign(&[SIGNATURE_CONTEXT, &bytes[..SIGNED_BYTES]].concat())?;
        put(&mut bytes, SIGNED_BYTES, &signature);
        Ok(bytes)
    }

    /// Decodes a header and checks checksum, form and the signature of the key it names. Whether that key is the log's is for
    /// the caller to say.
    ///
    /// # Errors
    /// [`SegmentError`] when the bytes are not exactly one header.
    pub fn parse(bytes: &[u8]) -> Result<Self, SegmentError> {
        let bytes = bytes.first_chunk::<SEGMENT_HEADER_BYTES>().ok_or(SegmentError::NotASegment)?;
        if !bytes.starts_with(MAGIC) {
            return Err(SegmentError::NotASegment);
        }
        if crc32c::crc32c(&bytes[..CRC_OFFSET]) != u32_at(bytes, CRC_OFFSET) {
            return Err(SegmentError::Damaged);
        }
        if u32_at(bytes, 8) != SEGMENT_VERSION {
            return Err(SegmentError::Version(u32_at(bytes, 8)));
        }
        let lengths = [140, 142, 144].map(|offset| usize::from(u16::from_le_bytes(array(bytes, offset))));
        let zeros = [
            146..152,
            200..ORIGIN_OFFSET,
            ORIGIN_OFFSET + lengths[0]..BUILD_OFFSET,
            BUILD_OFFSET + lengths[1]..FRONTIER_OFFSET,
            FRONTIER_OFFSET + lengths[2] * HASH_BYTES..CRC_OFFSET,
        ];
        let clean =
            zeros.into_iter().all(|range| bytes.get(range).is_some_and(|part| part.iter().all(|b| *b == 0)));
        let fits = lengths[0] <= NAME_BYTES_MAX
            && lengths[1] <= BUILD_BYTES_MAX
            && lengths[2] <= FRONTIER_HASHES_MAX;
        let constants = usize::try_from(u32_at(bytes, 12)) == Ok(SEGMENT_HEADER_BYTES)
            && u32_at(bytes, 136) == IN_FLIGHT_BYTES;
        if !(clean && fits && constants) {
            return Err(SegmentError::NotCanonical);
        }
        let text = |offset: usize, length: usize| {
            let text = bytes.get(offset..offset + length).and_then(|text| std::str::from_utf8(text).ok());
            text.map(str::to_owned).ok_or(SegmentError::NotCanonical)
        };
        let subtrees: Vec<Hash> =
            (0..lengths[2]).map(|index| array(bytes, FRONTIER_OFFSET + index * HASH_BYTES)).collect();
        let header = Self {
            log_id: array(bytes, 16),
            number: u64_at(bytes, 48),
            previous: array(bytes, 64),
            group: u64_at(bytes, 96),
            epoch: u64_at(bytes, 104),
            run: u64_at(bytes, 112),
            created_utc_ns: u64_at(bytes, 120),
            capacity_bytes: u64_at(bytes, 128),
            boot_id: array(bytes, 152),
            key: array(bytes, 168),
            origin: text(ORIGIN_OFFSET, lengths[0])?,
            build: text(BUILD_OFFSET, lengths[1])?,
            frontier: Frontier::from_parts(u64_at(bytes, 56), &subtrees).ok_or(SegmentError::NotCanonical)?,
        };
        let key = VerifierKey::new(&header.origin, header.key).map_err(|_| SegmentError::NotCanonical)?;
        let signed = [SIGNATURE_CONTEXT, &bytes[..SIGNED_BYTES]].concat();
        if !key.verify(&signed, &bytes[SIGNED_BYTES..]) {
            return Err(SegmentError::WrongSignature);
        }
        if header.first_seq() == 0 && header.previous != genesis_link(&header.log_id) {
            return Err(SegmentError::NotCanonical);
        }
        Ok(header)
    }
}

/// Name of the segment that starts with entry `first_seq`.
#[must_use]
pub fn segment_name(first_seq: u64) -> String {
    format!("{first_seq:020}.seg")
}

/// Name of the note that seals that segment.
#[must_use]
pub fn seal_name(first_seq: u64) -> String {
    format!("{first_seq:020}.seal")
}

/// First sequence number that a segment's file name states.
pub(crate) fn first_seq_of_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg")?;
    let canonical = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if canonical { digits.parse().ok() } else { None }
}

/// How a segment ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SealReason {
    /// Full, or rotated on request.
    Rotated,
    /// A crash left bytes after the last complete group; they stay where they are.
    Recovered {
        /// Length of those bytes, up to the last that is not zero.
        torn_bytes: u64,
        /// SHA-256 of those bytes.
        torn_sha256: Hash,
    },
}

/// What a seal note states about a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    /// The log.
    pub log_id: Hash,
    /// Position of the segment.
    pub number: u64,
    /// Its first entry.
    pub first_seq: u64,
    /// One past its last entry.
    pub end_seq: u64,
    /// Bytes from the start of the file to the end of the last complete group.
    pub used_bytes: u64,
    /// Length of the file.
    pub file_bytes: u64,
    /// SHA-256 of the used bytes.
    pub sha256: Hash,
    /// How it ended.
    pub reason: SealReason,
}

impl Seal {
    /// The signed note.
    pub(crate) fn sign(&self, key: &SigningKey) -> Result<String, NoteError> {
        let fields = FieldsWriter::new(SEAL_TITLE)
            .hash("log", &self.log_id)
            .number("segment", self.number)
            .number("first", self.first_seq)
            .number("end", self.end_seq)
            .number("used", self.used_bytes)
            .number("file", self.file_bytes)
            .hash("sha256", &self.sha256);
        let fields = match &self.reason {
            SealReason::Rotated => fields.text("reason", "rotated"),
            SealReason::Recovered { torn_bytes, torn_sha256 } => fields
                .text("reason", "recovered")
                .number("torn", *torn_bytes)
                .hash("torn-sha256", torn_sha256),
        };
        key.sign_note(&fields.finish())
    }

    /// Reads a seal note and checks the signature of `key`.
    ///
    /// # Errors
    /// [`NoteError`] for what is not a seal signed by this key.
    pub fn open(note: &str, key: &VerifierKey) -> Result<Self, NoteError> {
        let note = Note::parse(note)?;
        let seal = Self::from_text(note.text).ok_or(NoteError::Malformed)?;
        note.verify(key)?;
        Ok(seal)
    }

    fn from_text(text: &str) -> Option<Self> {
        let mut fields = FieldsReader::new(text, SEAL_TITLE)?;
        let mut seal = Self {
            log_id: fields.hash("log")?,
            number: fields.number("segment")?,
            first_seq: fields.number("first")?,
            end_seq: fields.number("end")?,
            used_bytes: fields.number("used")?,
            file_bytes: fields.number("file")?,
            sha256: fields.hash("sha256")?,
            reason: SealReason::Rotated,
        };
        match fields.text("reason")? {
            "rotated" => {}
            "recovered" => {
                let torn_bytes = fields.number("torn")?;
                seal.reason = SealReason::Recovered { torn_bytes, torn_sha256: fields.hash("torn-sha256")? };
            }
            _ => return None,
        }
        fields.finish()?;
        Some(seal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_seed("log.example", &[3; 32]).unwrap()
    }

    fn header() -> SegmentHeader {
        let mut frontier = Frontier::new();
        for leaf in 0..11u8 {
            frontier.push([leaf; 32]);
        }
        SegmentHeader {
            log_id: [1; 32],
            number: 2,
            previous: [10; 32],
            group: 4,
            epoch: 5,
            run: 6,
            created_utc_ns: 7,
            capacity_bytes: 1 << 20,
            boot_id: [8; 16],
            key: *key().public().bytes(),
            origin: "log.example".to_owned(),
            build: "0.1.0".to_owned(),
            frontier,
        }
    }

    #[test]
    fn header_round_trips_and_every_flipped_bit_is_refused() {
        let mut bytes = header().sign(&key()).unwrap();
        assert_eq!(bytes.len(), SEGMENT_HEADER_BYTES);
        assert_eq!(SegmentHeader::parse(&bytes), Ok(header()));
        for bit in (0..bytes.len() * 8).filter(|bit| bit % 7 == 0 || *bit < 2_048 || *bit > 4_020 * 8) {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::parse(&bytes).is_err(), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn seal_round_trips_for_both_reasons() {
        for reason in [SealReason::Rotated, SealReason::Recovered { torn_bytes: 9, torn_sha256: [7; 32] }] {
            let seal = Seal {
                log_id: [1; 32],
                number: 0,
                first_seq: 0,
                end_seq: 5,
                used_bytes: 5_000,
                file_bytes: 6_000,
                sha256: [2; 32],
                reason,
            };
            let note = seal.sign(&key()).unwrap();
            assert_eq!(Seal::open(&note, key().public()), Ok(seal));
            assert!(Seal::open(&note.replace("end 5", "end 6"), key().public()).is_err());
        }
    }

    #[test]
    fn names_have_one_form() {
        assert_eq!(first_seq_of_name(&segment_name(17)), Some(17));
        for name in
            ["17.seg", "0000000000000000001x.seg", "00000000000000000017.seal", "000000000000000000017.seg"]
        {
            assert_eq!(first_seq_of_name(name), None, "{name}");
        }
    }
}
