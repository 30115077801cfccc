//! What a session says: each message of the client is counted, parsed, authenticated, and answered or handed on.
//!
//! A state machine without sockets, threads or waiting: its shard gives it what came in and the time, and does what the
//! [`Step`] says.

use std::sync::Arc;

use rustls::Error as TlsError;
use sealfeed_wire::reply::{Done, Encode, ErrorReply, Pong};
use sealfeed_wire::{CloseCode, Op, Request, RequestError, RequestId, Signed};

use super::abuse::Faults;
use super::active::End;
use super::outbox::Outbox;
use super::pressure::Level;
use super::registry::PrincipalSlot;
use super::websocket::Incoming;
use super::{SessionContext, token, weights, welcome};
use crate::gate::{RateExceeded, RateLimiter, SessionGate};
use crate::identity::{Identified, Token};
use crate::journal::event;
use crate::pipeline::{Command, SessionHandle};
use crate::types::{Code, UnixNanos};

/// The state machine of one session.
pub(super) struct Conversation {
    context: Arc<SessionContext>,
    handle: Arc<SessionHandle>,
    /// The token under which it goes on, if any.
    token: Option<Arc<Token>>,
    gate: SessionGate,
    /// Of which generation the gate's order keys are; `None` before the first signed message.
    key_generation: Option<u64>,
    faults: Faults,
    /// It keeps its full limits under pressure.
    is_trusted: bool,
    /// Whose it is, and its place among the sessions of its principal.
    slot: PrincipalSlot,
    control_frames: RateLimiter,
    received: u64,
}

/// What is to be done next. Nothing more is read before it is done.
pub(super) enum Step {
    /// Read on.
    Done,
    /// Hand this to the pipeline.
    HandOn(Command),
    /// Hand this to the pipeline, and read nothing more.
    Last(Command),
    /// Answer once an entry is durable.
    Owe(Owed),
    /// The same, and the session now goes on until then, under another token.
    Renewed(Owed, UnixNanos),
    /// The session ends.
    End(End),
}

/// A reply that waits for its entry.
pub(super) struct Owed {
    /// The entry.
    pub(super) entry: u64,
    reply: Vec<u8>,
    /// Whether it answers a fault, to be counted when it is answered.
    is_fault: bool,
}

impl Conversation {
    pub(super) fn new(
        context: Arc<SessionContext>,
        handle: Arc<SessionHandle>,
        (slot, token): (PrincipalSlot, Option<Arc<Token>>),
        is_trusted: bool,
    ) -> Self {
        let limits = context.limits.now();
        let control_frames = RateLimiter::per_second(limits.control_frames_per_second);
        let faults = Faults::new(limits.malformed_max);
        drop(limits);
        Self {
            gate: SessionGate::without_keys(&handle.entitlement().limits),
            key_generation: None,
            faults,
            is_trusted,
            control_frames,
            received: 0,
            context,
            handle,
            slot,
            token,
        }
    }

    /// How many messages came.
    pub(super) const fn received(&self) -> u64 {
        self.received
    }

    /// The certificate's last moment.
    pub(super) fn not_after(&self) -> UnixNanos {
        self.slot.identity().not_after
    }

    /// The token under which it goes on, if any.
    pub(super) fn token(&self) -> Option<&Token> {
        self.token.as_deref()
    }

    /// When that expires.
    pub(super) fn token_expires(&self) -> Option<UnixNanos> {
        self.token().map(|token| token.expires)
    }

    /// Who it is, to the stages behind.
    pub(super) const fn handle(&self) -> &Arc<SessionHandle> {
        &self.handle
    }

    /// Takes what came from the client. Replies that wait for nothing go into `outbox`.
    pub(super) fn take(&mut self, incoming: Incoming, outbox: &mut Outbox) -> Step {
        match incoming {
            Incoming::Text(text) => {
                self.received += 1;
                self.message(text.as_str(), outbox)
            }
            Incoming::Ping | Incoming::Pong => self.control(),
            Incoming::Binary(_) => Step::End(self.violation(Code::SesBinaryFrame)),
            Incoming::Violation(code) => Step::End(self.violation(violation_code(code))),
            Incoming::TooManyFragments => {
                Step::End(self.ended_by_limit("fragments", Code::SesFragmentsTooMany))
            }
            Incoming::Closed(code) => Step::End(End::Peer(code)),
        }
    }

    /// The entry of an owed reply is durable.
    pub(super) fn pay(&mut self, owed: &Owed, outbox: &mut Outbox) -> Step {
        outbox.message(&owed.reply);
        if owed.is_fault { self.fault() } else { Step::Done }
    }

    /// The client asked for nothing in time.
    pub(super) fn asked_nothing(&self) -> End {
        self.limit("first_request", Code::SesSubscribeDeadline);
        End::because(Code::SesSubscribeDeadline)
    }

    /// A message did not become whole in time.
    pub(super) fn message_is_late(&self) -> End {
        self.ended_by_limit("message_time", Code::SesMessageTimeout)
    }

    /// Messages a second of this session, and of all sessions of its principal, by the limits of now.
    fn message_rates(&self) -> (u32, u32) {
        let of_session = self.handle.entitlement().limits.messages_per_second;
        let level = if self.is_trusted { Level::Normal } else { self.context.pressure.level() };
        let of_session = level.tightened(of_session);
        (of_session, of_session.saturating_mul(self.context.limits.now().principal_messages_factor))
    }

    /// Counts a message, first against the session and then against all of the principal.
    fn charge(&mut self, cost: u32, now: UnixNanos) -> Result<(), (Code, RateExceeded)> {
        let (of_session, of_principal) = self.message_rates();
        self.gate.set_message_rate(of_session);
        let charged = self.gate.charge_message(cost, now);
        self.handle.messages.set(&self.gate.message_rate(now));
        charged.map_err(|exceeded| (Code::SesMessageRate, exceeded))?;
        let shared = self.slot.messages().take_many(of_principal, cost, now);
        shared.map_err(|exceeded| (Code::SesPrincipalMessageRate, exceeded))
    }

    fn fault(&mut self) -> Step {
        if self.faults.add(self.context.clock.now()) {
            return Step::End(self.ended_by_limit("malformed", Code::SesMalformedRepeated));
        }
        Step::Done
    }

    fn message(&mut self, text: &str, outbox: &mut Outbox) -> Step {
        let received = self.context.clock.now();
        let request = match sealfeed_wire::request::parse(text) {
            Ok(request) => request,
            Err(error) => {
                // Answered as what it is, and it has cost a message all the same.
                let _ = self.charge(1, received);
                return self.malformed(error);
            }
        };
        if let Err((code, exceeded)) = self.charge(weights::of(&request.op), received) {
            return self.over_rate(request.id, code, exceeded, outbox);
        }
        let Request { id, op } = request;
        match op {
            Op::Ping { echo } => {
                let echo = echo.map(std::borrow::Cow::into_owned);
                outbox.message(&encoded(&Pong {
                    id,
                    echo,
                    ts: self.context.clock.now(),
                    rate_limits: self.handle.rate_limits(),
                }));
                Step::Done
            }
            Op::Whoami => {
                outbox.message(&welcome::whoami(&self.context, &self.handle, self.slot.identity(), id));
                Step::Done
            }
            Op::Subscribe(request) => {
                let session = Arc::clone(&self.handle);
                Step::HandOn(Command::Subscribe { session, id, request })
            }
            Op::Unsubscribe(request) => {
                let session = Arc::clone(&self.handle);
                Step::HandOn(Command::Unsubscribe { session, id, request })
            }
            Op::OrderStatus { cl_ord_id } => {
                let session = Arc::clone(&self.handle);
                Step::HandOn(Command::OrderStatus { session, id, client_order_id: cl_ord_id })
            }
            Op::TokenRenew { token } => self.renew_token(id, &token.0, received),
            Op::Logout { cancel_orders } => {
                Step::Last(Command::Logout { session: Arc::clone(&self.handle), id, cancel_orders })
            }
            Op::Signed(signed) => self.signed(id, &signed, received),
        }
    }

    fn signed(&mut self, id: Option<RequestId>, signed: &Signed<'_>, received: UnixNanos) -> Step {
        self.renew_keys();
        match self.gate.authenticate(signed, self.handle.entitlement().proof(), received) {
            Ok(order) => {
                let session = Arc::clone(&self.handle);
                Step::HandOn(Command::Order { session, id, order: Box::new(order) })
            }
            Err(code) => self.refuse(id, signed.op.as_str(), code, "the message is not authentic", true),
        }
    }

    /// Goes on under another token, or under the one before if it is refused.
    fn renew_token(&mut self, id: Option<RequestId>, presented: &str, received: UnixNanos) -> Step {
        let Self { context, handle, slot, .. } = &*self;
        let renewed = context
            .identity
            .renew_token(self.token(), presented, slot.identity(), received)
            .map_err(|refusal| (refusal.code, refusal.detail))
            .map(Arc::new)
            .and_then(|token| {
                let holds = |session: &Identified, token: &Token| {
                    context.identity.token_holds(Some(token), session, received)
                };
                context.registry.renew_token(handle, &token, holds).map(|()| token)
            });
        let token = match renewed {
            Ok(token) => token,
            Err((code, detail)) => return self.refuse(id, "token.renew", code, &detail, true),
        };
        let entry = token::accepted(handle, "renewed", &token);
        // If the journal fails the server stops, and nothing more is answered.
        let Ok(entry) = context.journal.record_in(&handle.trail, entry) else { return Step::Done };
        let expires = token.expires;
        let reply = Done { id, token_expires: Some(expires), rate_limits: handle.rate_limits() };
        self.token = Some(token);
        Step::Renewed(Owed { entry, reply: encoded(&reply), is_fault: false }, expires)
    }

    /// Gives the gate its keys, and follows a change of master secrets: an open session honours the same keys as a new one would.
    fn renew_keys(&mut self) {
        if self.key_generation != Some(self.context.identity.key_generation()) {
            let keys = self.context.identity.order_keys(self.slot.identity());
            self.gate.set_keys(
                self.handle.principal.clone(),
                self.handle.id(),
                &keys.current,
                keys.previous.as_ref(),
                self.slot.identity().signature_key,
            );
            self.key_generation = Some(keys.generation);
        }
    }

    fn malformed(&self, error: RequestError) -> Step {
        let detail: String = error.detail.chars().take(200).flat_map(char::escape_default).collect();
        self.refuse(error.id, "", error.code, &detail, true)
    }

    fn over_rate(
        &mut self,
        id: Option<RequestId>,
        code: Code,
        exceeded: RateExceeded,
        outbox: &mut Outbox,
    ) -> Step {
        let now = self.context.clock.now();
        let limit = if code == Code::SesMessageRate { "messages" } else { "principal_messages" };
        self.limit(limit, code);
        let (_, of_principal) = self.message_rates();
        let of_principal = self.slot.messages().state("principal_messages", of_principal, now);
        outbox.message(&encoded(&ErrorReply {
            retry_after_ms: Some(exceeded.retry_after_ms),
            rate_limits: vec![self.gate.message_rate(now), of_principal],
            ..ErrorReply::new(id, code)
        }));
        // Going on against the answer is a fault like any other, with its own end.
        if self.faults.add(now) {
            return Step::End(self.ended_by_limit(limit, Code::SesRateRepeated));
        }
        Step::Done
    }

    /// A control frame: it has a rate of its own, and nothing answers it with an error.
    fn control(&mut self) -> Step {
        let now = self.context.clock.now();
        if self.control_frames.take(now).is_ok() {
            return Step::Done;
        }
        if self.faults.add(now) {
            return Step::End(self.ended_by_limit("control_frames", Code::SesControlRate));
        }
        Step::Done
    }

    /// Answers with an error, once its entry is durable.
    fn refuse(&self, id: Option<RequestId>, op: &str, code: Code, detail: &str, is_fault: bool) -> Step {
        let event = event::Reject {
            principal: self.handle.principal.to_string(),
            op: op.to_owned(),
            code: code.as_str().to_owned(),
            detail: detail.to_owned(),
        };
        let reply = ErrorReply { rate_limits: self.handle.rate_limits(), ..ErrorReply::new(id, code) };
        // If the journal fails the server stops, and nothing more is answered.
        let Ok(entry) = self.context.journal.record_in(&self.handle.trail, event) else { return Step::Done };
        Step::Owe(Owed { entry, reply: encoded(&reply), is_fault })
    }

    /// A fault that ends the session at once.
    fn violation(&self, code: Code) -> End {
        self.reject(code, code.message());
        End::because(code)
    }

    /// The client broke TLS, which ends the session at once.
    pub(super) fn broke_tls(&self, error: &TlsError) -> End {
        self.reject(Code::SesTlsBroken, &error.to_string());
        End::BrokenTls
    }

    fn reject(&self, code: Code, detail: &str) {
        let event = event::Reject {
            principal: self.handle.principal.to_string(),
            op: String::new(),
            code: code.as_str().to_owned(),
            detail: detail.to_owned(),
        };
        // If the journal fails the server stops; the session ends either way.
        let _ = self.context.journal.record_in(&self.handle.trail, event);
    }

    /// The session ends for what its client does against its limits, and that counts against its principal.
    fn ended_by_limit(&self, limit: &str, code: Code) -> End {
        self.limit(limit, code);
        if !self.is_trusted {
            self.context.ended_for_faults(&self.handle, code);
        }
        End::because(code)
    }

    fn limit(&self, limit: &str, code: Code) {
        let event = event::Limit {
            principal: Some(self.handle.principal.to_string()),
            address: String::new(),
            limit: limit.to_owned(),
            code: code.as_str().to_owned(),
        };
        // If the journal fails the server stops.
        let _ = self.context.journal.record_in(&self.handle.trail, event);
    }
}

fn violation_code(code: CloseCode) -> Code {
    match code {
        CloseCode::TooBig => Code::SesMessageTooBig,
        CloseCode::InvalidUtf8 => Code::SesUtf8Invalid,
        _ => Code::SesProtocolViolation,
    }
}

/// A message of the server as JSON text.
pub(super) fn encoded(message: &impl Encode) -> Vec<u8> {
    let mut text = Vec::with_capacity(256);
    message.encode(&mut text);
    text
}
