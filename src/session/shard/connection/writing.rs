//! How a connection writes: own messages first, then resting orders and one piece of each stream with news, one write of the socket a round.

use std::net::Shutdown;
use std::sync::Arc;

use sealfeed_wire::market::{Slow, encode_slow};

use super::super::streams::{Piece, Suspended};
use super::{Connection, Phase, Scratch, Turn};
use crate::feed::{CHUNK_BYTES, Ending};
use crate::pipeline::Command;
use crate::session::active::End;
use crate::types::Sequence;

/// Plain bytes in one write of the socket, about: one chunk of a log.
const ROUND_BYTES: usize = CHUNK_BYTES;
/// From so many bytes of one stream on they are sealed where they are, not copied together with others first.
const DIRECT_BYTES: usize = 8 * 1024;

impl Connection {
    /// Ends it if it lags too far, and warns it before: at half of the bound, and again only after it had fallen below
    /// a quarter.
    pub(in crate::session::shard) fn check_slow(&mut self, turn: &mut Turn<'_>) {
        if !self.may_join() || (self.outbox.is_empty() && self.ready.is_empty() && !self.seldom.has_pending())
        {
            return;
        }
        let max = turn.context.limits.now().out_queue_bytes_max;
        let waiting = self.waiting();
        if waiting > max {
            self.suspend(turn);
            if self.waiting() > max {
                self.is_too_slow(turn);
            }
            return;
        }
        if self.is_blocked() {
            self.backlog.waits(waiting + self.sealed_bytes, turn.now);
            if self.check_age(turn) {
                return;
            }
        }
        if waiting < max / 4 {
            self.is_warned = false;
        } else if waiting >= max / 2 && self.is_blocked() && !std::mem::replace(&mut self.is_warned, true) {
            let ts = turn.context.clock.now();
            let slow = Slow { queue_bytes: waiting as u64, queue_bytes_max: max as u64, ts };
            let mut notice = Vec::with_capacity(128);
            encode_slow(&mut notice, &slow);
            self.outbox.message(&notice);
        }
    }

    /// Bytes that wait for it and were not sealed yet.
    pub(in crate::session::shard) const fn waiting(&self) -> usize {
        self.behind + self.outbox.bytes()
    }

    /// Leaves it behind if something has waited for too long while its socket took nothing; ends it if that cannot be, or if it
    /// does not even take what is for it alone. Whether it did either.
    pub(super) fn check_age(&mut self, turn: &mut Turn<'_>) -> bool {
        if !self.is_blocked() || self.backlog.too_old_at().is_none_or(|at| turn.now < at) {
            return false;
        }
        let before = self.ready.len();
        self.suspend(turn);
        if !self.ready.is_empty() || before == 0 {
            self.is_too_slow(turn);
        }
        true
    }

    /// Leaves it behind, or ends it, because too much waits for all clients together and more for it than for others.
    pub(in crate::session::shard) fn give_way(&mut self, turn: &mut Turn<'_>) {
        if self.may_join() {
            self.suspend(turn);
            if self.waiting() > turn.context.limits.now().out_queue_bytes_max / 8 {
                self.is_too_slow(turn);
            }
        }
    }

    pub(super) fn is_too_slow(&mut self, turn: &mut Turn<'_>) {
        // A stream with a hole in it must not go on: what waits is not sent any more.
        self.outbox.clear();
        self.seldom.clear_pending();
        self.end(End::Close(Ending::SLOW), turn);
    }

    /// Writes once: what the socket did not take before, or else as much as fits into one write.
    pub(in crate::session::shard) fn write(&mut self, turn: &mut Turn<'_>) {
        if self.is_blocked() {
            turn.scratch.sealed.clear();
            match self.tls.flush(&mut self.socket, &mut turn.scratch.sealed) {
                Ok(true) => {}
                Ok(false) => return,
                Err(_) => return self.broken(turn),
            }
        }
        self.backlog.leaves(std::mem::take(&mut self.sealed_bytes));
        turn.scratch.sealed.clear();
        match self.seal(turn) {
            Ok(bytes) => self.sealed_bytes = bytes,
            Err(_) => return self.broken(turn),
        }
        match self.tls.flush(&mut self.socket, &mut turn.scratch.sealed) {
            Ok(true) => {
                self.backlog.leaves(std::mem::take(&mut self.sealed_bytes));
                self.wrote(turn);
            }
            Ok(false) => self.backlog.waits(self.waiting() + self.sealed_bytes, turn.now),
            Err(_) => self.broken(turn),
        }
    }

    /// Seals what is for this client, own messages first, then pieces of its streams by turns, up to one write's worth: a
    /// chunk's rest and a chunk, at most. Returns how many plain bytes that were.
    fn seal(&mut self, turn: &mut Turn<'_>) -> Result<usize, rustls::Error> {
        let Turn { streams, scratch: Scratch { plain, sealed, .. }, .. } = &mut *turn;
        plain.clear();
        if !self.outbox.is_empty() {
            self.outbox.take(ROUND_BYTES, plain);
        }
        // What is left in there comes before everything else, though it was cut short of a round at the end of a frame.
        if !self.outbox.is_empty() {
            let bytes = plain.len();
            return self.tls.seal(plain, sealed).map(|()| bytes);
        }
        // One part a round, so that other streams go on; more of them where nothing else waits.
        if plain.len() < ROUND_BYTES {
            self.delivered += self.seldom.next_pending(plain);
        }
        let mut bytes = plain.len();
        let (mut is_lost, mut held) = (false, 0);
        while bytes < ROUND_BYTES && held < self.ready.len() {
            let Some(key) = self.ready.pop_front() else { break };
            if self.seldom.has_pending() && self.seldom.holds(streams.stream_of(key)) {
                self.ready.push_back(key);
                held += 1;
                continue;
            }
            let Piece::Frames { frames, messages, rest } = streams.next(key) else {
                is_lost = true;
                break;
            };
            if plain.is_empty() && frames.len() >= DIRECT_BYTES {
                self.tls.seal(frames, sealed)?;
            } else {
                plain.extend_from_slice(frames);
            }
            bytes += frames.len();
            self.behind = self.behind.saturating_sub(frames.len());
            self.delivered += messages;
            if rest {
                self.ready.push_back(key);
            }
        }
        while bytes < ROUND_BYTES && self.seldom.has_pending() {
            let before = plain.len();
            self.delivered += self.seldom.next_pending(plain);
            bytes += plain.len() - before;
        }
        if !plain.is_empty() {
            self.tls.seal(plain, sealed)?;
        }
        if is_lost {
            self.is_too_slow(turn);
        }
        Ok(bytes)
    }

    /// All that was sealed has left.
    fn wrote(&mut self, turn: &mut Turn<'_>) {
        if self.outbox.is_empty() {
            self.seldom.clear_tickets();
        }
        if !self.outbox.is_empty() || !self.ready.is_empty() || self.seldom.has_pending() {
            return;
        }
        match &mut self.phase {
            Phase::Draining { ending, notice, .. } => {
                let (ending, notice) = (*ending, notice.take());
                self.end_with_notice(ending, notice.as_deref(), turn);
            }
            // It takes messages again: it goes on where things stand.
            Phase::Open => {
                for suspended in self.seldom.take_suspended() {
                    let session = Arc::clone(self.conversation.handle());
                    let Suspended { stream, subscription, left } = suspended;
                    let after = Sequence::new(left).unwrap_or_default();
                    self.hand_on(Command::Resync { session, stream, subscription, after }, turn);
                }
            }
            Phase::Closing { peer_has_closed: true, .. } => {
                turn.scratch.sealed.clear();
                // The peer has said goodbye: whether it still hears ours is its own matter.
                let _ = self.tls.close(&mut turn.scratch.sealed);
                let _ = self.tls.flush(&mut self.socket, &mut turn.scratch.sealed);
                self.phase = Phase::Over;
            }
            // It cannot be seen any more whether the peer answers: the end of our side lets it end its own.
            Phase::Closing { .. } if self.reader.is_over() && !self.is_shut => {
                self.is_shut = true;
                turn.scratch.sealed.clear();
                let _ = self.tls.close(&mut turn.scratch.sealed);
                let _ = self.tls.flush(&mut self.socket, &mut turn.scratch.sealed);
                let _ = self.socket.shutdown(Shutdown::Write);
            }
            Phase::Finishing { .. } | Phase::Closing { .. } | Phase::Over => {}
        }
    }
}
