//! The task that owns the socket: it reads frames into replies and events, and writes what requests hand it.
//!
//! Reading and writing run side by side, so neither waits for the other. The connection's end is told once: the
//! requests that wait learn it, the last event is [`Event::Closed`], and later requests get it as an error.
//! Limits: 1,024 requests in flight, 64 messages waiting to be written, server messages of 16 MiB.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use sealfeed_wire::market::MarketMessage;
use sealfeed_wire::message::ServerMessage;
use sealfeed_wire::request::ResumePoint;
use sealfeed_wire::value::RequestId;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Error as WebSocketError, Utf8Bytes};

use crate::config::Protocol;
use crate::event::{CloseCause, Closed, Event, Record};
use crate::queue::EventQueue;
use crate::records::Records;
use crate::streams::{ResumeKey, Streams};
use crate::tls;

/// Largest message of the server, in bytes.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Messages that may wait to be written; a request waits for a place among them.
pub(crate) const OUTGOING_MAX: usize = 64;

/// Requests that may wait for their replies.
pub(crate) const IN_FLIGHT_MAX: usize = 1024;

/// How long a close or a last word of the server is waited for.
const FAREWELL: Duration = Duration::from_secs(1);

/// A stream that stays silent for so many heartbeat intervals, and does not answer a ping for as long, is gone.
const SILENT_HEARTBEATS: u64 = 3;

/// Shortest silence that raises suspicion, in milliseconds.
const SILENCE_MS_MIN: u64 = 1_000;

pub(crate) fn websocket_config() -> WebSocketConfig {
    WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
        .write_buffer_size(0)
        .max_write_buffer_size(64 << 20)
}

/// What the user's side and the task share.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) events: EventQueue,
    waiting: Mutex<HashMap<i64, Waiting>>,
    closed: OnceLock<Closed>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shared({} requests wait, closed: {:?})", self.waiting().len(), self.closed.get())
    }
}

/// A request that waits for its reply.
struct Waiting {
    reply: oneshot::Sender<ServerMessage>,
    /// Where the request asked its streams to be resumed.
    resume: Vec<(ResumeKey, ResumePoint)>,
}

impl Shared {
    /// Makes a request known before it is sent; `None` when too many wait already.
    pub(crate) fn expect_reply(
        &self,
        id: i64,
        resume: Vec<(ResumeKey, ResumePoint)>,
    ) -> Option<oneshot::Receiver<ServerMessage>> {
        let mut waiting = self.waiting();
        if waiting.len() >= IN_FLIGHT_MAX {
            return None;
        }
        let (reply, receiver) = oneshot::channel();
        waiting.insert(id, Waiting { reply, resume });
        drop(waiting);
        self.events.request_begins();
        Some(receiver)
    }

    /// Nobody waits for this reply any more.
    pub(crate) fn forget(&self, id: i64) {
        self.waiting().remove(&id);
        self.events.request_ends();
    }

    /// How the connection ended, if it has.
    pub(crate) fn closed(&self) -> Option<&Closed> {
        self.closed.get()
    }

    fn take(&self, id: Option<&RequestId>) -> Option<Waiting> {
        match id? {
            RequestId::Integer(number) => self.waiting().remove(number),
            RequestId::Text(_) => None,
        }
    }

    fn end(&self, closed: Closed) {
        // Set before the requests wake, so that they find it.
        let closed = self.closed.get_or_init(|| closed).clone();
        self.waiting().clear();
        self.events.push(Event::Closed(closed), 0);
        self.events.end();
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<i64, Waiting>> {
        // No code that holds the lock can panic.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a connection to its end.
pub(crate) async fn run<S>(
    socket: WebSocketStream<S>,
    outgoing: mpsc::Receiver<Message>,
    pings: mpsc::WeakSender<Message>,
    (heartbeat_ms, protocol, keep_records): (u64, Protocol, bool),
    shared: &Shared,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (sink, stream) = socket.split();
    let silence_ms = heartbeat_ms.saturating_mul(SILENT_HEARTBEATS).max(SILENCE_MS_MIN);
    let records = (protocol == Protocol::Dbn).then(Records::default);
    let mut reader = Reader { stream, streams: Streams::default(), records, keep_records, shared };
    let closed = tokio::select! {
        closed = reader.read(&pings, Duration::from_millis(silence_ms)) => closed,
        closed = write(sink, outgoing, &shared.events) => closed,
    };
    shared.end(closed);
}

/// Writes what requests hand over, until the user lets go of the client.
async fn write<S>(
    mut sink: SplitSink<WebSocketStream<S>, Message>,
    mut outgoing: mpsc::Receiver<Message>,
    events: &EventQueue,
) -> Closed
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(message) = outgoing.recv().await {
        if let Err(error) = sink.send(message).await {
            // The server's own words on why may still be on their way to the reader.
            sleep(FAREWELL).await;
            return lost(&error);
        }
    }
    events.abandon();
    let frame = CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::default() };
    if sink.send(Message::Close(Some(frame))).await.is_ok() {
        sleep(FAREWELL).await;
    }
    Closed::without_frame(CloseCause::Client, "closed by this client")
}

struct Reader<'s, S> {
    stream: SplitStream<WebSocketStream<S>>,
    streams: Streams,
    /// There on a connection whose market data comes in records.
    records: Option<Records>,
    /// Whether events have them along.
    keep_records: bool,
    shared: &'s Shared,
}

impl<S> Reader<'_, S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    async fn read(&mut self, pings: &mpsc::WeakSender<Message>, silence: Duration) -> Closed {
        let mut is_pinged = false;
        loop {
            self.shared.events.room().await;
            let received = match timeout(silence, self.stream.next()).await {
                Ok(received) => received,
                Err(_) if is_pinged => {
                    return Closed::without_frame(CloseCause::Silent, "the server fell silent");
                }
                Err(_) => {
                    is_pinged = true;
                    if let Some(pings) = pings.upgrade() {
                        // A full queue means that we cannot write either; the second silence decides.
                        let _ = pings.try_send(Message::Ping(Bytes::new()));
                    }
                    continue;
                }
            };
            is_pinged = false;
            match received {
                Some(Ok(Message::Text(text))) => {
                    if let Err(closed) = self.accept(&text) {
                        return closed;
                    }
                }
                Some(Ok(Message::Close(frame))) => return self.farewell(frame).await,
                Some(Ok(Message::Binary(frame))) => {
                    if let Err(closed) = self.accept_records(&frame) {
                        return closed;
                    }
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Err(error)) => return lost(&error),
                None => {
                    return Closed::without_frame(
                        CloseCause::Lost,
                        "the connection ended without a close frame",
                    );
                }
            }
        }
    }

    fn accept_records(&mut self, frame: &[u8]) -> Result<(), Closed> {
        let Self { records, streams, shared, keep_records, .. } = self;
        let Some(records) = records else { return Err(broken("a binary frame on a JSON connection")) };
        // All events of a frame together cost its bytes.
        let mut bytes = frame.len();
        let read = records.read(frame, |message, record| {
            streams.follow(message, |event| {
                let event = match event {
                    Event::Market(market) if *keep_records => {
                        Event::Record(Box::new(Record { market, bytes: record.into() }))
                    }
                    other => other,
                };
                shared.events.push(event, std::mem::take(&mut bytes));
            });
        });
        read.map_err(|error| broken(&error.to_string()))
    }

    fn accept(&mut self, text: &str) -> Result<(), Closed> {
        // What cannot be read cannot be followed: a stream that goes on after it would be a guess.
        let message = ServerMessage::decode(text).map_err(|error| broken(&error.to_string()))?;
        let id = match &message {
            ServerMessage::Market(_)
            | ServerMessage::Entitlement(_)
            | ServerMessage::Shutdown(_)
            | ServerMessage::Unknown { .. } => None,
            ServerMessage::Welcome(_) => return Err(broken("a second welcome")),
            ServerMessage::Done(reply) => reply.id.as_ref(),
            ServerMessage::Subscribed(reply) => reply.id.as_ref(),
            ServerMessage::Pong(reply) => reply.id.as_ref(),
            ServerMessage::Whoami(reply) => reply.id.as_ref(),
            ServerMessage::Order(reply) => reply.id.as_ref(),
            ServerMessage::OrderStatus(reply) => reply.id.as_ref(),
            ServerMessage::Error(reply) => reply.id.as_ref(),
        };
        let waiting = self.shared.take(id);
        let events = &self.shared.events;
        match message {
            ServerMessage::Market(message) => {
                if let (Some(records), MarketMessage::Gap(gap) | MarketMessage::Skipped(gap)) =
                    (&mut self.records, &message)
                {
                    records.skip(gap);
                }
                self.streams.follow(message, |event| events.push(event, text.len()));
            }
            ServerMessage::Entitlement(changed) => {
                self.streams.changed(&changed);
                if let Some(records) = &mut self.records {
                    records.changed(&changed);
                }
                events.push(Event::Entitlement(changed), text.len());
            }
            ServerMessage::Shutdown(notice) => events.push(Event::ServerShutdown(notice), text.len()),
            ServerMessage::Unknown { kind } => events.push(Event::Unknown { kind }, text.len()),
            reply => {
                if let ServerMessage::Subscribed(subscribed) = &reply {
                    let resume = waiting.as_ref().map(|waiting| waiting.resume.as_slice());
                    let resume = resume.unwrap_or_default();
                    self.streams.subscribed(subscribed, resume);
                    if let Some(records) = &mut self.records {
                        records.subscribed(subscribed, resume);
                    }
                }
                let unclaimed = match waiting {
                    Some(waiting) => waiting.reply.send(reply).err(),
                    None => Some(reply),
                };
                if let Some(reply) = unclaimed {
                    events.push(Event::Reply(Box::new(reply)), text.len());
                }
            }
        }
        Ok(())
    }

    /// Reads on until the server hangs up, so that our own close frame gets out.
    async fn farewell(&mut self, frame: Option<CloseFrame>) -> Closed {
        let _ = timeout(FAREWELL, async { while let Some(Ok(_)) = self.stream.next().await {} }).await;
        match frame {
            Some(frame) => Closed::by_server(frame.code.into(), &frame.reason),
            // RFC 6455 names a close frame without a number 1005.
            None => Closed::by_server(1005, ""),
        }
    }
}

fn broken(reason: &str) -> Closed {
    Closed::without_frame(CloseCause::ProtocolBroken, reason)
}

/// How a connection ended that failed with an error of the WebSocket library.
pub(crate) fn lost(error: &WebSocketError) -> Closed {
    match error {
        WebSocketError::Io(error) => lost_by_io(error),
        WebSocketError::Protocol(
            tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
        ) => Closed::without_frame(CloseCause::Lost, "the connection ended without a close frame"),
        WebSocketError::Protocol(_) | WebSocketError::Capacity(_) | WebSocketError::Utf8(_) => {
            broken(&error.to_string())
        }
        _ => Closed::without_frame(CloseCause::Lost, error.to_string()),
    }
}

fn lost_by_io(error: &io::Error) -> Closed {
    match tls::refusal_in(error) {
        Some(refusal) => Closed::without_frame(
            CloseCause::CertificateRefused(refusal),
            format!("the server refused our client certificate: {refusal}"),
        ),
        None => Closed::without_frame(CloseCause::Lost, error.to_string()),
    }
}
