//! Resumption: every missed message, or none and the reason why.

use bytes::Bytes;
use sealfeed_wire::StreamKey;
use sealfeed_wire::market::{Gap, encode_gap};
use sealfeed_wire::request::ResumePoint;

use crate::feed::{FRAME_HEADER_BYTES_MAX, Missed};
use crate::types::{Code, Epoch, Sequence};

/// What a resumption came to, as the reply says it.
#[derive(Clone, Copy, Default)]
pub(super) struct Recovery {
    /// `recovered` in the reply; `None` if the request did not resume.
    pub(super) recovered: Option<bool>,
    /// Why not.
    pub(super) reason: Option<Code>,
}

impl Recovery {
    pub(super) fn of(resumed: Option<&Result<Vec<Bytes>, Code>>) -> Self {
        match resumed {
            None => Self::default(),
            Some(Ok(_)) => Self { recovered: Some(true), reason: None },
            Some(Err(code)) => Self { recovered: Some(false), reason: Some(*code) },
        }
    }
}

/// The messages between `at` and the last one of a stream.
///
/// `missed` gives those behind a position, from memory. What holds more, the tape, is asked before (`retell`).
///
/// # Errors
/// The reason for `recovered: false`.
pub(super) fn recover(
    at: ResumePoint,
    epoch: Epoch,
    seq: Sequence,
    missed: impl FnOnce(Sequence) -> Missed,
    room_bytes: usize,
) -> Result<Vec<Bytes>, Code> {
    if at.epoch != epoch {
        return Err(Code::SubResumeEpochOver);
    }
    if at.seq == seq {
        return Ok(Vec::new());
    }
    match missed(at.seq) {
        Missed::NotHeld => Err(Code::SubResumeNotHeld),
        Missed::Held(messages) if bytes(&messages) > room_bytes => Err(Code::SubResumeTooLarge),
        Missed::Held(messages) => Ok(messages),
    }
}

/// What messages take of the room towards a client, their frames' headers included.
pub(super) fn bytes(messages: &[Bytes]) -> usize {
    messages.iter().map(|message| message.len() + FRAME_HEADER_BYTES_MAX).sum()
}

/// The notice of what a resumption on an event channel lost; `None` if that is nothing.
pub(super) fn gap(stream: StreamKey, at: ResumePoint, seq: Sequence) -> Option<Bytes> {
    // Of an epoch that is over, nothing is known here: all of the present one is what the client lacks.
    let from = if at.epoch == stream.epoch { at.seq.next() } else { Sequence::default().next() };
    (from <= seq).then(|| {
        let mut message = Vec::with_capacity(160);
        encode_gap(&mut message, &Gap { stream, from, to: seq });
        message.into()
    })
}
