//! The entry: what is hashed, byte for byte.
//!
//! A fixed header of [`HEADER_BYTES`], then the links that the flags announce, then the payload. All integers are little-endian.
//! The encoding is canonical: bits and bytes without a meaning are zero and [`EntryRef::parse`] refuses anything else, so that
//! one entry has exactly one form. Layout: `audit/FORMAT.md`, section 3.

use crate::chain::Hash;
use crate::kind::Kind;

/// Version of the entry layout.
pub(crate) const ENTRY_VERSION: u8 = 1;
/// Bytes of the fixed header.
pub(crate) const HEADER_BYTES: usize = 96;
/// Bytes of a session link.
pub(crate) const SESSION_LINK_BYTES: usize = 40;
/// Bytes of an order link.
pub(crate) const ORDER_LINK_BYTES: usize = 24;
/// Largest entry, header and links included; what a C2SP entry bundle can carry.
pub const ENTRY_BYTES_MAX: usize = 65_535;
/// Largest payload, whatever links the entry has.
pub const PAYLOAD_BYTES_MAX: usize = ENTRY_BYTES_MAX - HEADER_BYTES - SESSION_LINK_BYTES - ORDER_LINK_BYTES;
/// Clock error bound that says that no bound is known, nanoseconds.
pub const CLOCK_ERROR_UNKNOWN_NS: u32 = u32::MAX;

/// Where the header has the time: UTC, then monotonic.
const UTC_AT: usize = 48;
const MONOTONIC_AT: usize = 56;

const FLAG_GROUP_END: u8 = 1;
const FLAG_SESSION: u8 = 2;
const FLAG_ORDER: u8 = 4;
const FLAGS_KNOWN: u8 = FLAG_GROUP_END | FLAG_SESSION | FLAG_ORDER;

/// Ties an entry to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLink {
    /// The session.
    pub id: [u8; 32],
    /// Number of this event in the session's life; the application counts.
    pub event: u64,
}

/// Ties an entry to an order and to the order's previous entry, so that the whole life of one order is provably complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderLink {
    /// The order.
    pub id: u64,
    /// Sequence number of the order's previous entry; `None` for its first. Entry 0 is the genesis, so zero on disk is none.
    pub previous: Option<u64>,
    /// Number of this event in the order's life; the application counts.
    pub event: u64,
}

/// An entry as the application hands it in; the log adds sequence number, link, time, epoch, group and run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// What happened; numbers below 256 are the log's own ([`crate::kind`]).
    pub kind: Kind,
    /// Version of the payload's layout; the log does not look at it.
    pub schema: u16,
    /// The session it happened in.
    pub session: Option<SessionLink>,
    /// The order it happened to.
    pub order: Option<OrderLink>,
    /// At most [`PAYLOAD_BYTES_MAX`].
    pub payload: Vec<u8>,
}

impl Draft {
    /// Bytes of the entry this draft becomes.
    #[must_use]
    pub fn entry_bytes(&self) -> usize {
        HEADER_BYTES
            + if self.session.is_some() { SESSION_LINK_BYTES } else { 0 }
            + if self.order.is_some() { ORDER_LINK_BYTES } else { 0 }
            + self.payload.len()
    }
}

/// A reading of the clock, with what is known about its quality.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Nanoseconds since the UNIX epoch, UTC.
    pub utc_ns: u64,
    /// Nanoseconds of a clock that never steps; its zero is arbitrary and changes with every boot.
    pub monotonic_ns: u64,
    /// Bound of the error against UTC in nanoseconds; [`CLOCK_ERROR_UNKNOWN_NS`] where nobody knows.
    pub clock_error_ns: u32,
    /// What the error bound rests on.
    pub clock_state: ClockState,
}

/// What is known about the synchronisation of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ClockState {
    /// Nobody asked.
    Unknown = 0,
    /// Disciplined by an external source.
    Synchronised = 1,
    /// Running free.
    Unsynchronised = 2,
}

impl ClockState {
    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Unknown),
            1 => Some(Self::Synchronised),
            2 => Some(Self::Unsynchronised),
            _ => None,
        }
    }
}

/// The fixed header and the links of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What happened.
    pub kind: Kind,
    /// Version of the payload's layout.
    pub schema: u16,
    /// Whether a group of entries written together ends here.
    pub group_end: bool,
    /// Position in the log: 0 for the genesis, then exactly one more each, across segments and runs.
    pub seq: u64,
    /// Leaf hash of the entry before; for entry 0 the genesis link.
    pub previous: Hash,
    /// When it entered the queue.
    pub stamp: Stamp,
    /// Epoch whose key seals the group.
    pub epoch: u64,
    /// Number of the group, from 0, without gaps.
    pub group: u64,
    /// The run of the writer: random, new at every start.
    pub run: u64,
    /// The session it happened in.
    pub session: Option<SessionLink>,
    /// The order it happened to.
    pub order: Option<OrderLink>,
}

/// What the writer adds to an entry: its place in the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placement {
    pub(crate) seq: u64,
    pub(crate) previous: Hash,
    pub(crate) epoch: u64,
    pub(crate) group: u64,
    pub(crate) run: u64,
}

/// Appends the entry of `draft` to `out`, all but its place in the log, which is left zero for [`place`]; the group-end flag stays
/// clear.
pub(crate) fn encode(draft: &Draft, stamp: Stamp, out: &mut Vec<u8>) {
    let mut flags = 0u8;
    if draft.session.is_some() {
        flags |= FLAG_SESSION;
    }
    if draft.order.is_some() {
        flags |= FLAG_ORDER;
    }
    let mut header = [0u8; HEADER_BYTES];
    header[0] = ENTRY_VERSION;
    header[1] = flags;
    header[2..4].copy_from_slice(&draft.kind.to_le_bytes());
    header[4..6].copy_from_slice(&draft.schema.to_le_bytes());
    header[6] = stamp.clock_state as u8;
    header[UTC_AT..UTC_AT + 8].copy_from_slice(&stamp.utc_ns.to_le_bytes());
    header[MONOTONIC_AT..MONOTONIC_AT + 8].copy_from_slice(&stamp.monotonic_ns.to_le_bytes());
    header[88..92].copy_from_slice(&stamp.clock_error_ns.to_le_bytes());
    let payload_bytes = u32::try_from(draft.payload.len()).unwrap_or(u32::MAX);
    header[92..96].copy_from_slice(&payload_bytes.to_le_bytes());
    out.extend_from_slice(&header);
    if let Some(session) = &draft.session {
        out.extend_from_slice(&session.id);
        out.extend_from_slice(&session.event.to_le_bytes());
    }
    if let Some(order) = &draft.order {
        out.extend_from_slice(&order.id.to_le_bytes());
        out.extend_from_slice(&order.previous.unwrap_or(0).to_le_bytes());
        out.extend_from_slice(&order.event.to_le_bytes());
    }
    out.extend_from_slice(&draft.payload);
}

/// Writes into an encoded entry where in the log it stands.
pub(crate) fn place(entry: &mut [u8], at: &Placement) {
    let Some(header) = entry.first_chunk_mut::<HEADER_BYTES>() else { return };
    header[8..16].copy_from_slice(&at.seq.to_le_bytes());
    header[16..48].copy_from_slice(&at.previous);
    header[64..72].copy_from_slice(&at.epoch.to_le_bytes());
    header[72..80].copy_from_slice(&at.group.to_le_bytes());
    header[80..88].copy_from_slice(&at.run.to_le_bytes());
}

/// Kind of an encoded entry.
pub(crate) fn kind_of(entry: &[u8]) -> Kind {
    u16::from_le_bytes(array(entry, 2))
}

/// When an encoded entry entered the queue: UTC and monotonic nanoseconds.
pub(crate) fn times_of(entry: &[u8]) -> (u64, u64) {
    (u64_at(entry, UTC_AT), u64_at(entry, MONOTONIC_AT))
}

/// Sets the group-end flag of an encoded entry.
pub(crate) fn mark_group_end(entry: &mut [u8]) {
    if let Some(flags) = entry.get_mut(1) {
        *flags |= FLAG_GROUP_END;
    }
}

/// Why bytes are not an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Shorter than the header, or than header and links.
    #[error("entry is shorter than its header")]
    Short,
    /// A version this build does not know.
    #[error("entry version {0} is unknown")]
    Version(u8),
    /// A flag, clock state or reserved byte has a value without a meaning.
    #[error("entry is not in canonical form")]
    NotCanonical,
    /// The payload length in the header does not fit the entry.
    #[error("payload length disagrees with entry length")]
    PayloadLength,
}

/// An entry in place: the decoded header and the payload's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryRef<'a> {
    /// Header and links.
    pub header: Header,
    /// The payload.
    pub payload: &'a [u8],
}

impl<'a> EntryRef<'a> {
    /// Decodes the bytes of one entry.
    ///
    /// # Errors
    /// [`EntryError`] when they are not exactly one entry in canonical form.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, EntryError> {
        let (fixed, mut rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(EntryError::Short)?;
        if fixed[0] != ENTRY_VERSION {
            return Err(EntryError::Version(fixed[0]));
        }
        let flags = fixed[1];
        let clock_state = ClockState::from_byte(fixed[6]).ok_or(EntryError::NotCanonical)?;
        if flags & !FLAGS_KNOWN != 0 || fixed[7] != 0 {
            return Err(EntryError::NotCanonical);
        }
        let mut session = None;
        if flags & FLAG_SESSION != 0 {
            let (link, after) = rest.split_first_chunk::<SESSION_LINK_BYTES>().ok_or(EntryError::Short)?;
            session = Some(SessionLink { id: array(link, 0), event: u64_at(link, 32) });
            rest = after;
        }
        let mut order = None;
        if flags & FLAG_ORDER != 0 {
            let (link, after) = rest.split_first_chunk::<ORDER_LINK_BYTES>().ok_or(EntryError::Short)?;
            let previous = Some(u64_at(link, 8)).filter(|previous| *previous != 0);
            order = Some(OrderLink { id: u64_at(link, 0), previous, event: u64_at(link, 16) });
            rest = after;
        }
        if usize::try_from(u32::from_le_bytes(array(fixed, 92))) != Ok(rest.len()) {
            return Err(EntryError::PayloadLength);
        }
        let header = Header {
            kind: u16::from_le_bytes(array(fixed, 2)),
            schema: u16::from_le_bytes(array(fixed, 4)),
            group_end: flags & FLAG_GROUP_END != 0,
            seq: u64_at(fixed, 8),
            previous: array(fixed, 16),
            stamp: Stamp {
                utc_ns: u64_at(fixed, 48),
                monotonic_ns: u64_at(fixed, 56),
                clock_error_ns: u32::from_le_bytes(array(fixed, 88)),
                clock_state,
            },
            epoch: u64_at(fixed, 64),
            group: u64_at(fixed, 72),
            run: u64_at(fixed, 80),
            session,
            order,
        };
        Ok(Self { header, payload: rest })
    }
}

/// `N` bytes at `offset`; zeros where `bytes` is too short, which callers rule out by their array types.
pub(crate) fn array<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    bytes.get(offset..).and_then(|rest| rest.first_chunk::<N>()).copied().unwrap_or([0; N])
}

pub(crate) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(array(bytes, offset))
}

pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(array(bytes, offset))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STAMP: Stamp =
        Stamp { utc_ns: 5, monotonic_ns: 6, clock_error_ns: 7, clock_state: ClockState::Synchronised };

    fn placed(draft: &Draft) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(draft, STAMP, &mut bytes);
        place(&mut bytes, &Placement { seq: 1, previous: [9; 32], epoch: 2, group: 3, run: 4 });
        bytes
    }

    proptest! {
        #[test]
        fn entry_round_trips_and_no_other_form_of_it_is_accepted(
            kind: u16, schema: u16, session: Option<([u8; 32], u64)>, order: Option<(u64, u64, u64)>,
            payload in proptest::collection::vec(any::<u8>(), 0..300), bit in 0usize..64,
        ) {
            let draft = Draft {
                kind, schema,
                session: session.map(|(id, event)| SessionLink { id, event }),
                order: order.map(|(id, previous, event)| OrderLink { id, previous: Some(previous).filter(|p| *p > 0), event }),
                payload,
            };
            let mut bytes = placed(&draft);
            prop_assert_eq!(bytes.len(), draft.entry_bytes());
            prop_assert_eq!((kind_of(&bytes), times_of(&bytes)), (kind, (5, 6)));
            let parsed = EntryRef::parse(&bytes).unwrap();
            prop_assert_eq!(parsed.header.kind, kind);
            prop_assert_eq!((parsed.header.stamp, parsed.header.seq, parsed.header.previous), (STAMP, 1, [9; 32]));
            prop_assert_eq!((parsed.header.epoch, parsed.header.group, parsed.header.run), (2, 3, 4));
            prop_assert_eq!(parsed.header.session, draft.session);
            prop_assert_eq!(parsed.header.order, draft.order);
            prop_assert_eq!(parsed.payload, &draft.payload[..]);
            let mut again = placed(&draft);
            // A flipped bit of the first eight bytes never decodes to the same header and payload.
            again[bit / 8] ^= 1 << (bit % 8);
            if let Ok(other) = EntryRef::parse(&again) {
                prop_assert!(other != EntryRef::parse(&bytes).unwrap());
            }
            bytes.push(0);
            prop_assert_eq!(EntryRef::parse(&bytes), Err(EntryError::PayloadLength));
        }
    }
}
