//! The seam between session logic and the wire: everything above sees messages and close codes, never TLS
//! records or WebSocket frames.
//!
//! Today a connection is a tokio-tungstenite stream over tokio-rustls. The three verbs of the design stand
//! behind [`Inbound::next`] (input), [`Outbound::queue`] (seal) and [`Outbound::flush`] (flush), so that a shard
//! loop can take this file's place without moving a line of session logic (docs/adr/0002).
//!
//! Sources: RFC 6455; its own close codes (1002, 1003, 1007, 1009) are mapped here and nowhere else.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use parking_lot::Mutex;
use sealfeed_wire::CloseCode;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error as WsError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{Frame, Utf8Bytes};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};

/// Bytes read from the socket at once. One inbound message is at most a few KiB.
const READ_BUFFER_BYTES: usize = 4 * 1024;
/// Bytes collected before they are written without being asked to. What is written has up to one frame more: that is
/// four full TLS records in one write of the socket, and not a fifth small one.
const WRITE_BUFFER_BYTES: usize = 63 * 1024;
/// How long a peer has to take our close frame and answer it.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Something the peer sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A whole text message.
    Text(Utf8Bytes),
    /// A ping; the pong is on its way.
    Ping,
    /// A pong.
    Pong,
    /// A whole binary message; clients of the feed have none to send.
    Binary(Bytes),
    /// The peer closed, with this code if it gave one.
    Closed(Option<u16>),
    /// The peer broke RFC 6455 or a size limit: close with this code.
    Violation(CloseCode),
    /// The connection broke without a close frame.
    Broken,
}

/// The reading half.
pub struct Inbound<S>(Arc<Mutex<WebSocketStream<S>>>);

/// The writing half.
pub struct Outbound<S> {
    /// Locked for one poll at a time; both halves stand in one task, so that nobody ever waits for it.
    socket: Arc<Mutex<WebSocketStream<S>>>,
    sent: u64,
}

/// The connection does not take what we write: nothing more can be said on it.
#[derive(Debug, PartialEq, Eq)]
pub struct Gone;

/// Takes over a connection after its upgrade. `already_read` are bytes that came behind the upgrade request.
pub async fn open<S>(stream: S, already_read: Vec<u8>, message_bytes_max: usize) -> (Inbound<S>, Outbound<S>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(64 * 1024 * 1024)
        .max_message_size(Some(message_bytes_max))
        .max_frame_size(Some(message_bytes_max));
    let socket = if already_read.is_empty() {
        WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await
    } else {
        WebSocketStream::from_partially_read(stream, already_read, Role::Server, Some(config)).await
    };
    let socket = Arc::new(Mutex::new(socket));
    (Inbound(Arc::clone(&socket)), Outbound { socket, sent: 0 })
}

impl<S: AsyncRead + AsyncWrite + Unpin> Inbound<S> {
    /// The next thing from the peer. Cancel-safe: what was read stays read.
    pub async fn next(&mut self) -> Incoming {
        match self.read().await {
            None => Incoming::Closed(None),
            Some(Ok(Message::Text(text))) => Incoming::Text(text),
            Some(Ok(Message::Ping(_))) => Incoming::Ping,
            Some(Ok(Message::Pong(_))) => Incoming::Pong,
            Some(Ok(Message::Binary(bytes))) => Incoming::Binary(bytes),
            // Raw frames come out of a read only if one asks for them.
            Some(Ok(Message::Frame(_))) => Incoming::Violation(CloseCode::WebSocketProtocol),
            Some(Ok(Message::Close(frame))) => Incoming::Closed(frame.map(|frame| frame.code.into())),
            Some(Err(error)) => classify(&error),
        }
    }

    /// Reads on until the peer has answered our close frame, or the connection ends. Cancel-safe.
    async fn drain(&mut self) {
        while let Some(Ok(_)) = self.read().await {}
    }

    async fn read(&self) -> Option<Result<Message, WsError>> {
        poll_fn(|context| self.0.lock().poll_next_unpin(context)).await
    }
}

fn classify(error: &WsError) -> Incoming {
    match error {
        WsError::Capacity(CapacityError::MessageTooLong { .. }) => Incoming::Violation(CloseCode::TooBig),
        WsError::Utf8(_) => Incoming::Violation(CloseCode::InvalidUtf8),
        WsError::ConnectionClosed | WsError::AlreadyClosed => Incoming::Closed(None),
        WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) | WsError::Io(_) => Incoming::Broken,
        _ => Incoming::Violation(CloseCode::WebSocketProtocol),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Outbound<S> {
    /// Puts a text message behind what is waiting already; full records leave at once. It must be UTF-8, which is
    /// not looked at again: what this server encodes and what it has read as text is.
    ///
    /// Not cancel-safe in mid-call: a message that waits for room is lost with the call. Callers end the
    /// connection after they give up a call.
    ///
    /// # Errors
    /// [`Gone`] if the connection is broken.
    pub async fn queue(&mut self, message: Bytes) -> Result<(), Gone> {
        self.feed(std::iter::once(message).map(text)).await
    }

    /// As [`Outbound::queue`], for all of these in their order; the vector is empty in the end.
    ///
    /// # Errors
    /// [`Gone`] if the connection is broken.
    pub async fn queue_all(&mut self, messages: &mut Vec<Bytes>) -> Result<(), Gone> {
        self.feed(messages.drain(..).map(text)).await
    }

    /// As [`Outbound::queue`], for a binary message.
    ///
    /// # Errors
    /// [`Gone`] if the connection is broken.
    pub async fn queue_binary(&mut self, message: Bytes) -> Result<(), Gone> {
        self.feed(std::iter::once(Message::Binary(message))).await
    }

    /// Writes everything that waits. Cancel-safe: what was not written stays queued.
    ///
    /// # Errors
    /// [`Gone`] if the connection is broken.
    pub async fn flush(&mut self) -> Result<(), Gone> {
        poll(&self.socket, |socket, context| socket.poll_flush_unpin(context)).await
    }

    /// Sends a ping.
    ///
    /// # Errors
    /// [`Gone`] if the connection is broken.
    pub async fn ping(&mut self) -> Result<(), Gone> {
        self.send(Message::Ping(Bytes::new())).await
    }

    /// How many messages were queued in all.
    pub const fn sent(&self) -> u64 {
        self.sent
    }

    /// Ends the connection: close frame, then the peer's answer or [`CLOSE_TIMEOUT`], whichever comes first.
    pub async fn close(self, mut inbound: Inbound<S>, code: CloseCode, reason: &str) {
        let frame = CloseFrame { code: code.number().into(), reason: reason.into() };
        let goodbye = async {
            if self.send(Message::Close(Some(frame))).await.is_ok() {
                inbound.drain().await;
            }
        };
        // A peer that reads nothing never gets the frame; the end of the connection has to be enough.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, goodbye).await;
    }

    /// Ends a connection that the peer has closed: our answering close frame leaves, then the stream ends.
    pub async fn finish(self) {
        let close = poll(&self.socket, |socket, context| socket.poll_close_unpin(context));
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, close).await;
    }

    /// Hands over messages, all of them in one go while there is room. Those taken count even if the call is given up.
    async fn feed(&mut self, mut messages: impl Iterator<Item = Message>) -> Result<(), Gone> {
        let Self { socket, sent } = self;
        poll(socket, |socket, context| {
            loop {
                ready!(socket.poll_ready_unpin(context))?;
                let Some(message) = messages.next() else { return Poll::Ready(Ok(())) };
                *sent += 1;
                socket.start_send_unpin(message)?;
            }
        })
        .await
    }

    async fn send(&self, message: Message) -> Result<(), Gone> {
        let mut message = Some(message);
        poll(&self.socket, |socket, context| {
            if message.is_some() {
                ready!(socket.poll_ready_unpin(context))?;
            }
            if let Some(message) = message.take() {
                socket.start_send_unpin(message)?;
            }
            socket.poll_flush_unpin(context)
        })
        .await
    }
}

async fn poll<S>(
    socket: &Mutex<WebSocketStream<S>>,
    mut step: impl FnMut(&mut WebSocketStream<S>, &mut Context<'_>) -> Poll<Result<(), WsError>>,
) -> Result<(), Gone> {
    poll_fn(|context| step(&mut socket.lock(), context)).await.map_err(|_| Gone)
}

/// A text message without a second look at its bytes, which costs more than their encryption.
fn text(message: Bytes) -> Message {
    debug_assert!(std::str::from_utf8(&message).is_ok(), "text is UTF-8");
    Message::Frame(Frame::message(message, OpCode::Data(Data::Text), true))
}
