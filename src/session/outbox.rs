//! Messages to one client alone: replies, execution reports, notices, control frames; framed, in their order.
//!
//! They leave before what the client's streams have for it: a snapshot stands here before its stream begins. The
//! session ends as slow when they and what its streams have for it exceed the bound for one reader.

use crate::feed::{FrameKind, Joiner, push_frame, whole_frames};

/// Frames that wait for one client.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    frames: Vec<u8>,
    /// What has left of them.
    at: usize,
    /// Messages put in, all in all.
    messages: u64,
    /// Of records that follow one another.
    joiner: Joiner,
}

impl Outbox {
    /// Puts a message in.
    pub(super) fn message(&mut self, message: &[u8]) {
        self.messages += 1;
        self.joiner.push(&mut self.frames, FrameKind::of(message), message);
    }

    /// Puts messages in that are framed already.
    pub(super) fn framed(&mut self, frames: &[u8], messages: u64) {
        self.messages += messages;
        self.joiner.close();
        self.frames.extend_from_slice(frames);
    }

    /// Puts a control frame in.
    pub(super) fn control(&mut self, kind: FrameKind, payload: &[u8]) {
        self.joiner.close();
        push_frame(&mut self.frames, kind, payload);
    }

    /// Lets `put` append whole frames.
    pub(super) fn frames(&mut self, put: impl FnOnce(&mut Vec<u8>)) {
        self.joiner.close();
        put(&mut self.frames);
    }

    /// Bytes that wait.
    pub(super) const fn bytes(&self) -> usize {
        self.frames.len() - self.at
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.bytes() == 0
    }

    /// Messages put in so far, control frames not among them.
    pub(super) const fn messages(&self) -> u64 {
        self.messages
    }

    /// Moves whole frames to the end of `out`: as many as fit into `bytes_max`, one at least.
    pub(super) fn take(&mut self, bytes_max: usize, out: &mut Vec<u8>) {
        let waiting = &self.frames[self.at..];
        let taken =
            if waiting.len() <= bytes_max { waiting.len() } else { whole_frames(waiting, bytes_max).0 };
        out.extend_from_slice(&waiting[..taken]);
        self.at += taken;
        // The last frame may be among what was taken.
        self.joiner.close();
        if self.at == self.frames.len() {
            self.clear();
        }
    }

    /// Forgets everything; an empty outbox holds no memory.
    pub(super) fn clear(&mut self) {
        self.frames = Vec::new();
        self.at = 0;
        self.joiner.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_wait_together_leave_in_one_frame_and_those_behind_what_has_left_in_another() {
        let (mut outbox, mut out) = (Outbox::default(), Vec::new());
        let record = [2, 0, 0, 0, 0, 0, 0, 0];
        for round in 1..=2_u8 {
            outbox.message(&record);
            outbox.message(&record);
            outbox.take(1_000, &mut out);
            assert_eq!(out.len(), usize::from(round) * 18);
            assert_eq!(out[out.len() - 18..][..2], [0x82, 16]);
        }
        assert_eq!(outbox.messages(), 4);
    }

    #[test]
    fn frames_leave_whole_and_in_order() {
        let (mut outbox, mut out) = (Outbox::default(), Vec::new());
        outbox.message(b"{ne");
        outbox.control(FrameKind::Ping, b"");
        outbox.message(&[b'{'; 200]);
        assert_eq!((outbox.messages(), outbox.bytes()), (2, 5 + 2 + 204));
        outbox.take(1, &mut out);
        assert_eq!(out, b"\x81\x03{ne");
        outbox.take(7, &mut out);
        assert_eq!(out, b"\x81\x03{ne\x89\0");
        outbox.message(b"{wo");
        outbox.take(1_000, &mut out);
        assert!(outbox.is_empty() && out.ends_with(b"\x81\x03{wo"));
        assert_eq!(out.len(), 5 + 2 + 204 + 5);
    }
}
