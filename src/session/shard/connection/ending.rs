//! How a session ends: its entry, its close frame, and what becomes of what was on the way.

use std::sync::Arc;

use rustls::Error as TlsError;
use sealfeed_wire::CloseCode;

use super::{CLOSE_TIMEOUT, Connection, Moment, Phase, Turn};
use crate::feed::{Ending, FrameKind};
use crate::pipeline::Command;
use crate::session::active::{End, closed};
use crate::session::registry::Left;
use crate::session::token;
use crate::types::Code;

impl Connection {
    pub(super) fn end_with_notice(&mut self, ending: Ending, notice: Option<&[u8]>, turn: &mut Turn<'_>) {
        notice.iter().for_each(|notice| self.outbox.message(notice));
        self.end(End::Close(ending), turn);
    }

    /// Ends it: its entry, then its close frame.
    pub(in crate::session::shard) fn end(&mut self, end: End, turn: &mut Turn<'_>) {
        if matches!(self.phase, Phase::Closing { .. } | Phase::Over) {
            return;
        }
        let mut delivered = Vec::new();
        for key in self.subscriptions.drain(..) {
            delivered.extend(turn.streams.delivered(key));
            turn.streams.leave(key);
        }
        self.ready.clear();
        self.behind = 0;
        self.seldom.clear_tickets();
        self.seldom.clear_pending();
        self.seldom.take_owed();
        let sent = self.outbox.messages() + self.delivered;
        let by = Moment::of(turn.now + CLOSE_TIMEOUT);
        self.phase = match end {
            End::Close(ending) => {
                let reason = ending.reason.map_or(ending.close.name(), Code::as_str);
                let payload = [&ending.close.number().to_be_bytes()[..], reason.as_bytes()].concat();
                self.outbox.control(FrameKind::Close, &payload);
                Phase::Closing { by, peer_has_closed: false }
            }
            // Our answer to the peer's close frame stands in the outbox.
            End::Peer(_) => Phase::Closing { by, peer_has_closed: true },
            End::Broken | End::BrokenTls => Phase::Over,
        };
        let handle = Arc::clone(self.conversation.handle());
        let event = closed(&handle, end, self.conversation.received(), sent);
        let Left { is_last, token_ended } = turn.context.registry.leave(&handle);
        if let End::Close(Ending { close: CloseCode::TokenEnded, reason: Some(code) }) = end {
            let ended = token::ended(&handle, self.conversation.token(), code, token_ended);
            // If the journal fails the server stops; the session ends either way.
            let _ = turn.context.journal.record_in(&handle.trail, ended);
        }
        // Recorded by the pipeline, behind every order of this session that still waits there.
        self.hand_on(Command::Closed { session: handle, delivered, event, is_last }, turn);
    }

    /// The peer broke TLS.
    pub(super) fn broke_tls(&mut self, error: &TlsError, turn: &mut Turn<'_>) {
        if matches!(self.phase, Phase::Open) {
            let end = self.conversation.broke_tls(error);
            self.end(end, turn);
        }
        self.broken(turn);
    }

    /// The connection takes nothing more.
    pub(super) fn broken(&mut self, turn: &mut Turn<'_>) {
        self.end(End::Broken, turn);
        self.phase = Phase::Over;
    }
}
