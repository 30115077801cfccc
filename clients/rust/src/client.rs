//! One connection to a feed: requests as methods, everything else as [`Event`]s.
//!
//! All methods take `&self`: one task may read events while others send requests, and a single task may do both in
//! turn. Replies do not wait for events to be read, up to the queue's reserve of 16 MiB; beyond it the reply
//! stays behind the unread events and the request ends with its time limit. Whoever does not read events for long
//! makes the client stop reading the socket, so the server sees a slow reader; it answers no pings then either.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sealfeed_wire::ident::{ClientOrderId, StreamSymbol, Symbol};
use sealfeed_wire::message::ServerMessage;
use sealfeed_wire::reply::{OrderStatus, Pong, Subscribed, Welcome, Whoami};
use sealfeed_wire::request::{Op, Request, ResumePoint, Subscribe, Symbols, Unsubscribe};
use sealfeed_wire::term::{Channel, ProofDemand};
use sealfeed_wire::value::{RequestId, SessionId, UnixNanos};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::Message;

use crate::config::{ClientConfig, ConfigError, Context};
use crate::connect::{Established, establish};
use crate::connection::{self, IN_FLIGHT_MAX, OUTGOING_MAX, Shared};
use crate::error::{ConnectError, RequestError};
use crate::event::{CloseCause, Closed, Event};
use crate::order::Signer;
use crate::signature::CertificateKey;
use crate::token::Renewal;

mod trading;

/// A connection to a feed. Dropping it closes the connection in the background.
#[derive(Debug)]
pub struct Client {
    welcome: Box<Welcome>,
    signer: Option<Signer>,
    shared: Arc<Shared>,
    outgoing: mpsc::Sender<Message>,
    task: JoinHandle<()>,
    next_id: Arc<AtomicI64>,
    request_timeout_ms: u64,
}

impl Client {
    /// Connects as a context file says: TLS 1.3, the server checked against `ca`, our certificate shown, the
    /// upgrade, `welcome`, and the proof that `welcome` belongs to this very TLS connection.
    ///
    /// # Errors
    /// [`ConnectError`]; nothing was signed, and no connection is left behind.
    pub async fn connect(context: &Context) -> Result<Self, ConnectError> {
        Self::connect_with(&ClientConfig::from_context(context)?).await
    }

    /// Connects with a configuration made by hand.
    ///
    /// # Errors
    /// [`ConnectError`]; nothing was signed, and no connection is left behind.
    pub async fn connect_with(config: &ClientConfig) -> Result<Self, ConnectError> {
        let Established { socket, welcome, token } = Box::pin(establish(config)).await?;
        let signer = signer(config, &welcome)?;
        let shared = Arc::new(Shared::default());
        let (outgoing, receiver) = mpsc::channel(OUTGOING_MAX);
        let terms = (welcome.heartbeat_ms, config.protocol, config.keep_records);
        let task_shared = Arc::clone(&shared);
        let pings = outgoing.downgrade();
        let request_timeout_ms = config.request_timeout_ms;
        let next_id = Arc::new(AtomicI64::new(1));
        let renewal = config.token.clone().zip(token).and_then(|source_and_token| {
            let requests = (Arc::clone(&shared), Arc::clone(&next_id));
            let limit = Duration::from_millis(request_timeout_ms);
            Renewal::new(source_and_token, &welcome, outgoing.downgrade(), requests, limit)
        });
        let task = tokio::spawn(async move {
            let connection = connection::run(socket, receiver, pings, terms, &task_shared);
            match renewal {
                Some(renewal) => tokio::select! {
                    () = connection => {}
                    () = renewal.run() => {}
                },
                None => connection.await,
            }
        });
        Ok(Self { welcome, signer, shared, outgoing, task, next_id, request_timeout_ms })
    }

    /// The server's first message: who we are, what we may do, and the limits.
    #[must_use]
    pub const fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// What binds signed requests to this connection.
    #[must_use]
    pub const fn session(&self) -> &SessionId {
        &self.welcome.session
    }

    /// Signs requests of this connection by hand; `None` without a key to sign with.
    #[must_use]
    pub const fn signer(&self) -> Option<&Signer> {
        self.signer.as_ref()
    }

    /// Changes how long replies are waited for, in milliseconds.
    pub const fn set_request_timeout_ms(&mut self, request_timeout_ms: u64) {
        self.request_timeout_ms = request_timeout_ms;
    }

    /// The next event, in the order in which the server sent them. May be cancelled without loss.
    ///
    /// # Errors
    /// How the connection ended, after [`Event::Closed`] was returned.
    pub async fn next_event(&self) -> Result<Event, Closed> {
        match self.shared.events.next().await {
            Some(event) => Ok(event),
            None => Err(self.closed()),
        }
    }

    /// Starts, or replaces, subscriptions. Refused symbols stand in the reply.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn subscribe(&self, subscribe: Subscribe) -> Result<Subscribed, RequestError> {
        let resume =
            subscribe.resume.iter().map(|(symbol, point)| (stream_symbol(*symbol), *point)).collect();
        match self.request(Op::Subscribe(subscribe), resume).await? {
            ServerMessage::Subscribed(reply) => Ok(*reply),
            other => Err(unexpected("subscribe", other)),
        }
    }

    /// Ends subscriptions.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn unsubscribe(&self, channel: Channel, symbols: Symbols) -> Result<(), RequestError> {
        match self.request(Op::Unsubscribe(Unsubscribe { channel, symbols }), Vec::new()).await? {
            ServerMessage::Done(_) => Ok(()),
            other => Err(unexpected("unsubscribe", other)),
        }
    }

    /// Asks whether the server is there, and for its time.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn ping(&self) -> Result<Pong, RequestError> {
        match self.request(Op::Ping { echo: None }, Vec::new()).await? {
            ServerMessage::Pong(reply) => Ok(reply),
            other => Err(unexpected("ping", other)),
        }
    }

    /// Asks who we are and what we may do, with the rule that grants each line.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn whoami(&self) -> Result<Whoami, RequestError> {
        match self.request(Op::Whoami, Vec::new()).await? {
            ServerMessage::Whoami(reply) => Ok(*reply),
            other => Err(unexpected("whoami", other)),
        }
    }

    /// Asks what became of an order. An id that the server never saw has the state unknown and is no error.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn order_status(&self, cl_ord_id: ClientOrderId) -> Result<OrderStatus, RequestError> {
        match self.request(Op::OrderStatus { cl_ord_id }, Vec::new()).await? {
            ServerMessage::OrderStatus(reply) => Ok(*reply),
            other => Err(unexpected("order.status", other)),
        }
    }

    /// Ends the session in order; the server closes with 1000, which comes as [`Event::Closed`].
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn logout(&self) -> Result<(), RequestError> {
        self.logout_with(false).await
    }

    /// Ends the session in order, and cancels its resting orders before that.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn logout_and_cancel_orders(&self) -> Result<(), RequestError> {
        self.logout_with(true).await
    }

    async fn logout_with(&self, cancel_orders: bool) -> Result<(), RequestError> {
        match self.request(Op::Logout { cancel_orders }, Vec::new()).await? {
            ServerMessage::Done(_) => Ok(()),
            other => Err(unexpected("logout", other)),
        }
    }

    /// Sends a text as it is, for tests of the server: forged, stale and replayed messages. The reply comes as
    /// [`Event::Reply`]; give the message a textual id, integers are this client's own.
    ///
    /// # Errors
    /// [`RequestError::NotSent`].
    pub async fn send_raw(&self, text: impl Into<String>) -> Result<(), RequestError> {
        self.send(Message::text(text.into())).await
    }

    /// Sends a binary frame, which the server answers with a close (1003).
    ///
    /// # Errors
    /// [`RequestError::NotSent`].
    pub async fn send_binary(&self, bytes: impl Into<Vec<u8>>) -> Result<(), RequestError> {
        self.send(Message::binary(bytes.into())).await
    }

    /// Closes the connection (1000) and waits until it is closed, one second at most. Unread events are dropped.
    pub async fn close(self) {
        let Self { outgoing, task, .. } = self;
        drop(outgoing);
        // The task ends by itself; that it panicked could not be told to anybody here.
        let _ = task.await;
    }

    async fn request(
        &self,
        op: Op<'_>,
        resume: Vec<(StreamSymbol, ResumePoint)>,
    ) -> Result<ServerMessage, RequestError> {
        let id = self.next_id();
        let text = Request { id: Some(RequestId::Integer(id)), op }.encode();
        self.exchange(id, text, resume).await
    }

    /// Sends a text whose id is `id` and waits for the reply.
    async fn exchange(
        &self,
        id: i64,
        text: String,
        resume: Vec<(StreamSymbol, ResumePoint)>,
    ) -> Result<ServerMessage, RequestError> {
        let bytes_max = usize::try_from(self.welcome.limits.message_bytes_max).unwrap_or(usize::MAX);
        if text.len() > bytes_max {
            return Err(RequestError::TooLarge { bytes: text.len(), bytes_max });
        }
        let Some(reply) = self.shared.expect_reply(id, resume) else {
            return Err(RequestError::TooManyWaiting { max: IN_FLIGHT_MAX });
        };
        let _waiting = WaitingRequest { shared: &self.shared, id };
        let limit_ms = self.request_timeout_ms;
        let exchange = async {
            self.send(Message::text(text)).await?;
            reply.await.map_err(|_| RequestError::ConnectionLost(self.closed()))
        };
        match timeout(Duration::from_millis(limit_ms), exchange).await {
            Ok(outcome) => outcome,
            Err(_) => Err(RequestError::Timeout { limit_ms }),
        }
    }

    async fn send(&self, message: Message) -> Result<(), RequestError> {
        if let Some(closed) = self.shared.closed() {
            return Err(RequestError::NotSent(closed.clone()));
        }
        self.outgoing.send(message).await.map_err(|_| RequestError::NotSent(self.closed()))
    }

    fn next_id(&self) -> i64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    fn closed(&self) -> Closed {
        let untold = || Closed::without_frame(CloseCause::Lost, "the connection's task has ended");
        self.shared.closed().cloned().unwrap_or_else(untold)
    }
}

/// What signs the requests of a connection: with the proofs that the configuration names, or else those that the server
/// demands. `None`: with an order key alone, and there is none.
fn signer(config: &ClientConfig, welcome: &Welcome) -> Result<Option<Signer>, ConnectError> {
    let demanded = welcome.entitlement.orders.as_ref().and_then(|orders| orders.proof.as_deref());
    let demanded = demanded.and_then(|word| ProofDemand::parse(word).ok());
    let proof = config.proof.or(demanded).unwrap_or(ProofDemand::Mac);
    let order_key = config.order_key.as_ref().filter(|_| proof != ProofDemand::Sig);
    if proof == ProofDemand::Mac {
        return Ok(order_key.map(|key| Signer::new(key, &welcome.session)));
    }
    let key = config.identity.as_ref().and_then(|identity| CertificateKey::new(&identity.key));
    let key = key.ok_or(ConfigError::SignatureKey)?;
    if proof == ProofDemand::Both && order_key.is_none() {
        return Ok(None);
    }
    Ok(Some(Signer::with_certificate_key(key, order_key, &welcome.session)))
}

/// Takes a request out of the waiting list, however its wait ends.
struct WaitingRequest<'s> {
    shared: &'s Shared,
    id: i64,
}

impl Drop for WaitingRequest<'_> {
    fn drop(&mut self) {
        self.shared.forget(self.id);
    }
}

/// A subscription to some instruments of a channel, with the server's defaults for everything else.
#[must_use]
pub fn subscription(channel: Channel, symbols: impl IntoIterator<Item = Symbol>) -> Subscribe {
    let symbols = Symbols::List(symbols.into_iter().collect());
    Subscribe { channel, symbols, depth: None, conflate_ms: None, on_slow: None, resume: Vec::new() }
}

/// How far this host's clock is ahead of the server's, in nanoseconds, judged by a reply: negative if behind.
/// Half the round trip is the error.
#[must_use]
pub fn clock_offset_ns(sent: UnixNanos, received: UnixNanos, server: UnixNanos) -> i128 {
    (i128::from(sent.0) + i128::from(received.0)) / 2 - i128::from(server.0)
}

fn stream_symbol(symbol: Option<Symbol>) -> StreamSymbol {
    symbol.map_or(StreamSymbol::All, StreamSymbol::One)
}

fn unexpected(op: &'static str, reply: ServerMessage) -> RequestError {
    match reply {
        ServerMessage::Error(refusal) => RequestError::Refused(refusal),
        _ => RequestError::ReplyUnexpected { op },
    }
}
