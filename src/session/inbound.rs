//! The reading side of a session: each message is counted, parsed, authenticated, and answered or handed on.

use std::sync::Arc;
use std::time::Duration;

use sealfeed_wire::reply::{Encode, ErrorReply, Pong};
use sealfeed_wire::{CloseCode, Op, Request, RequestError, RequestId, Signed, SignedOp};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::abuse::Faults;
use super::active::End;
use super::transport::{Inbound, Incoming};
use super::{SessionContext, welcome};
use crate::gate::{RateExceeded, SessionGate};
use crate::identity::Identified;
use crate::journal::event;
use crate::pipeline::{Command, SessionHandle};
use crate::types::{Code, UnixNanos};

/// Reads one session.
pub(super) struct Reader {
    context: Arc<SessionContext>,
    handle: Arc<SessionHandle>,
    identity: Identified,
    gate: SessionGate,
    faults: Faults,
    received: u64,
}

/// What became of one message.
enum Outcome {
    /// The session goes on.
    Done,
    /// A fault of the client: answered, and counted.
    Fault,
    /// The session ends.
    End(End),
}

impl Reader {
    pub(super) fn new(
        context: Arc<SessionContext>,
        handle: Arc<SessionHandle>,
        identity: Identified,
    ) -> Self {
        let keys = &identity.order_keys;
        Self {
            gate: SessionGate::new(
                handle.principal.clone(),
                handle.id(),
                &keys.current,
                keys.previous.as_ref(),
                &handle.entitlement.limits,
            ),
            faults: Faults::new(context.limits.malformed_max),
            received: 0,
            context,
            handle,
            identity,
        }
    }

    pub(super) const fn received(&self) -> u64 {
        self.received
    }

    /// Reads until the session ends.
    pub(super) async fn run<S: AsyncRead + AsyncWrite + Unpin>(&mut self, inbound: &mut Inbound<S>) -> End {
        let limits = &self.context.limits;
        let first = Duration::from_millis(limits.first_request_timeout_ms);
        let idle = Duration::from_millis(limits.idle_timeout_ms);
        let mut must_ask_by = Some(Instant::now() + first);
        let mut silent_at = Instant::now() + idle;
        loop {
            let deadline = must_ask_by.map_or(silent_at, |by| by.min(silent_at));
            let incoming = tokio::select! {
                incoming = inbound.next() => incoming,
                () = tokio::time::sleep_until(deadline) => {
                    return if must_ask_by.is_some() {
                        self.limit("first_request", Code::SesSubscribeDeadline);
                        End::because(Code::SesSubscribeDeadline)
                    } else {
                        End::because(Code::SesHeartbeatLost)
                    };
                }
            };
            silent_at = Instant::now() + idle;
            let outcome = match incoming {
                Incoming::Text(text) => {
                    must_ask_by = None;
                    self.received += 1;
                    self.message(text.as_str()).await
                }
                Incoming::Ping | Incoming::Pong => self.control(),
                Incoming::Binary(_) => Outcome::End(self.violation(Code::SesBinaryFrame)),
                Incoming::Violation(code) => Outcome::End(self.violation(violation_code(code))),
                Incoming::Closed(code) => Outcome::End(End::Peer(code)),
                Incoming::Broken => Outcome::End(End::Broken),
            };
            match outcome {
                Outcome::Done => {}
                Outcome::Fault => {
                    if self.faults.add(self.context.clock.now()) {
                        self.limit("malformed", Code::SesMalformedRepeated);
                        return End::because(Code::SesMalformedRepeated);
                    }
                }
                Outcome::End(end) => return end,
            }
        }
    }

    async fn message(&mut self, text: &str) -> Outcome {
        let received = self.context.clock.now();
        let charged = self.gate.charge_message(received);
        let request = match sealfeed_wire::request::parse(text) {
            Ok(request) => request,
            Err(error) => return self.malformed(error).await,
        };
        if let Err(exceeded) = charged {
            return self.over_rate(request.id, exceeded);
        }
        let Request { id, op } = request;
        match op {
            Op::Ping { echo } => {
                let echo = echo.map(std::borrow::Cow::into_owned);
                self.reply(encoded(&Pong { id, echo, ts: self.context.clock.now() }))
            }
            Op::Whoami => {
                let whoami = welcome::whoami(&self.context, &self.handle, &self.identity, id);
                self.reply(whoami)
            }
            Op::Subscribe(request) => {
                let session = Arc::clone(&self.handle);
                self.hand_on(Command::Subscribe { session, id, request }).await
            }
            Op::Unsubscribe(request) => {
                let session = Arc::clone(&self.handle);
                self.hand_on(Command::Unsubscribe { session, id, request }).await
            }
            Op::OrderStatus { cl_ord_id } => {
                let session = Arc::clone(&self.handle);
                self.hand_on(Command::OrderStatus { session, id, client_order_id: cl_ord_id }).await
            }
            Op::Logout => self.logout(id).await,
            Op::Signed(signed) => self.signed(id, &signed, received).await,
        }
    }

    async fn signed(&mut self, id: Option<RequestId>, signed: &Signed<'_>, received: UnixNanos) -> Outcome {
        if !matches!(signed.op, SignedOp::OrderNew | SignedOp::OrderCancel) {
            self.refuse(id, signed.op.as_str(), Code::SesOpNotOffered, "").await;
            return Outcome::Done;
        }
        match self.gate.authenticate(signed, received) {
            Ok(order) => {
                let session = Arc::clone(&self.handle);
                self.hand_on(Command::Order { session, id, order: Box::new(order) }).await
            }
            Err(code) => {
                let detail = signed.op.as_str();
                self.refuse(id, detail, code, "the message is not authentic").await;
                Outcome::Fault
            }
        }
    }

    /// Answered by the pipeline, behind everything that was asked before; nothing is read any more.
    async fn logout(&mut self, id: Option<RequestId>) -> Outcome {
        let session = Arc::clone(&self.handle);
        match self.hand_on(Command::Logout { session, id }).await {
            Outcome::Done => std::future::pending().await,
            ended => ended,
        }
    }

    async fn hand_on(&self, command: Command) -> Outcome {
        match self.context.pipeline.send(command).await {
            Ok(()) => Outcome::Done,
            Err(_) => Outcome::End(End::GOING_AWAY),
        }
    }

    fn reply(&self, message: Vec<u8>) -> Outcome {
        // A full queue ends the session with 4001 from the writing side.
        let _ = self.handle.queue.push(message.into());
        Outcome::Done
    }

    async fn malformed(&mut self, error: RequestError) -> Outcome {
        let detail: String = error.detail.chars().take(200).flat_map(char::escape_default).collect();
        self.refuse(error.id, "", error.code, &detail).await;
        Outcome::Fault
    }

    fn over_rate(&mut self, id: Option<RequestId>, exceeded: RateExceeded) -> Outcome {
        let now = self.context.clock.now();
        self.limit("messages", Code::SesMessageRate);
        self.reply(encoded(&ErrorReply {
            retry_after_ms: Some(exceeded.retry_after_ms),
            rate_limits: vec![self.gate.message_rate(now)],
            ..ErrorReply::new(id, Code::SesMessageRate)
        }));
        // Going on against the answer is a fault like any other, with its own end.
        if self.faults.add(now) {
            self.limit("messages", Code::SesRateRepeated);
            return Outcome::End(End::because(Code::SesRateRepeated));
        }
        Outcome::Done
    }

    /// A control frame: charged like a message, but nothing answers it with an error.
    fn control(&mut self) -> Outcome {
        let now = self.context.clock.now();
        if self.gate.charge_message(now).is_ok() {
            return Outcome::Done;
        }
        if self.faults.add(now) {
            self.limit("messages", Code::SesRateRepeated);
            return Outcome::End(End::because(Code::SesRateRepeated));
        }
        Outcome::Done
    }

    /// Answers with an error, once its entry is durable.
    async fn refuse(&self, id: Option<RequestId>, op: &str, code: Code, detail: &str) {
        let event = event::Reject {
            principal: self.handle.principal.to_string(),
            op: op.to_owned(),
            code: code.as_str().to_owned(),
            detail: detail.to_owned(),
        };
        let Ok(entry) = self.context.journal.record_in(&self.handle.trail, event) else { return };
        if self.context.journal.durable(entry).await.is_ok() {
            self.reply(encoded(&ErrorReply::new(id, code)));
        }
    }

    /// A fault that ends the session at once.
    fn violation(&self, code: Code) -> End {
        let event = event::Reject {
            principal: self.handle.principal.to_string(),
            op: String::new(),
            code: code.as_str().to_owned(),
            detail: code.message().to_owned(),
        };
        // If the journal fails the server stops; the session ends either way.
        let _ = self.context.journal.record_in(&self.handle.trail, event);
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
