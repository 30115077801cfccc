//! One session of the doctor: messages and bytes in, messages and the end out, each with a time limit.

use std::io;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use sealfeed_client::{ClientIdentity, exporter};
use sealfeed_wire::reply::Welcome;
use sealfeed_wire::{ServerMessage, SessionId};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};

use super::endpoint::{Answer, Asked, Endpoint, Tls};

/// Largest message of a server that is read, in bytes.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// A session after `welcome`.
pub(super) struct Session {
    socket: WebSocketStream<Tls>,
    pub(super) welcome: Welcome,
    /// The exporter value that we computed: how the log names the session.
    pub(super) id: SessionId,
    timeout: Duration,
}

/// What came.
#[derive(Debug)]
pub(super) enum Came {
    Message(Value),
    /// Close code and reason.
    Closed(u16, String),
    /// The connection ended without a close frame.
    Gone(String),
    /// Nothing, within the time limit.
    Nothing,
}

impl Came {
    /// In words.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Message(message) => match message["code"].as_str() {
                Some(code) => format!("the error {code}"),
                None => format!("a message of type {}", message["type"]),
            },
            Self::Closed(code, reason) => format!("closed with {code} {reason}").trim_end().to_owned(),
            Self::Gone(why) => format!("the end of the connection without a close frame ({why})"),
            Self::Nothing => "nothing".to_owned(),
        }
    }

    /// The code of an error reply; empty for all else.
    pub(super) fn error_code(&self) -> &str {
        match self {
            Self::Message(message) if message["type"] == "error" => {
                message["code"].as_str().unwrap_or_default()
            }
            _ => "",
        }
    }
}

/// Why there is no session.
#[derive(Debug)]
pub(super) enum NoSession {
    Io(io::Error),
    Refused(Box<Answer>),
    /// The answer is none, or the first message no `welcome` of this connection.
    Invalid(String),
}

impl NoSession {
    /// In words.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Io(error) => error.to_string(),
            Self::Refused(answer) => {
                format!("HTTP {} {} {}", answer.status, answer.text("code"), answer.text("message"))
            }
            Self::Invalid(what) => what.clone(),
        }
    }
}

impl Session {
    /// A session by this identity.
    pub(super) async fn open(endpoint: &Endpoint, identity: &ClientIdentity) -> Result<Self, NoSession> {
        let mut tls = endpoint.secured(Some(identity)).await.map_err(NoSession::Io)?;
        let answer = endpoint.upgrade(&mut tls, &Asked::default()).await.map_err(NoSession::Io)?;
        if !answer.is_accepted {
            return Err(NoSession::Refused(Box::new(answer)));
        }
        Self::begin(tls, answer.rest, endpoint).await
    }

    /// Takes over a connection whose upgrade was accepted, and reads `welcome`.
    pub(super) async fn begin(tls: Tls, rest: Vec<u8>, endpoint: &Endpoint) -> Result<Self, NoSession> {
        let id = exporter(&tls).map_err(|error| NoSession::Invalid(error.to_string()))?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let mut socket = WebSocketStream::from_partially_read(tls, rest, Role::Client, Some(config)).await;
        let text = match receive(&mut socket, endpoint.timeout).await {
            Received::Text(text) => text,
            Received::Else(came) => {
                return Err(NoSession::Invalid(format!("no welcome but {}", came.words())));
            }
        };
        let Ok(ServerMessage::Welcome(welcome)) = ServerMessage::decode(&text) else {
            return Err(NoSession::Invalid("the first message is no welcome".to_owned()));
        };
        if welcome.session != id || welcome.binding != Welcome::BINDING {
            let what = "the session in welcome is not bound to this TLS connection";
            return Err(NoSession::Invalid(what.to_owned()));
        }
        Ok(Self { socket, welcome: *welcome, id, timeout: endpoint.timeout })
    }

    /// The TLS connection below.
    pub(super) fn tls(&self) -> &Tls {
        self.socket.get_ref()
    }

    /// Longest wait of one step.
    pub(super) const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Sends a text; a server that has gone shows in what comes.
    pub(super) async fn send(&mut self, text: impl Into<String>) {
        let _ = tokio::time::timeout(self.timeout, self.socket.send(Message::text(text.into()))).await;
    }

    /// Sends a binary frame, likewise.
    pub(super) async fn send_binary(&mut self, bytes: Vec<u8>) {
        let _ = tokio::time::timeout(self.timeout, self.socket.send(Message::binary(bytes))).await;
    }

    /// Sends bytes past the WebSocket layer, likewise.
    pub(super) async fn send_raw(&mut self, bytes: &[u8]) {
        let stream = self.socket.get_mut();
        let writing = async {
            stream.write_all(bytes).await?;
            stream.flush().await
        };
        let _ = tokio::time::timeout(self.timeout, writing).await;
    }

    /// What comes next.
    pub(super) async fn next(&mut self) -> Came {
        self.next_within(self.timeout).await
    }

    /// What comes within this time.
    pub(super) async fn next_within(&mut self, limit: Duration) -> Came {
        match receive(&mut self.socket, limit).await {
            Received::Text(text) => Came::Message(serde_json::from_str(&text).unwrap_or_default()),
            Received::Else(came) => came,
        }
    }

    /// The next reply (what has an `id`, if only null), or the end.
    pub(super) async fn reply(&mut self) -> Came {
        let deadline = tokio::time::Instant::now() + self.timeout;
        loop {
            match self.next().await {
                Came::Message(message)
                    if message.get("id").is_none() && tokio::time::Instant::now() < deadline => {}
                Came::Message(message) if message.get("id").is_none() => return Came::Nothing,
                came => return came,
            }
        }
    }

    /// How the session ends; messages on the way are passed over.
    pub(super) async fn end(&mut self) -> Came {
        let deadline = tokio::time::Instant::now() + self.timeout;
        loop {
            match self.next().await {
                Came::Message(_) if tokio::time::Instant::now() < deadline => {}
                came => return came,
            }
        }
    }

    /// Ends the session in good order; nobody waits for it.
    pub(super) async fn close(mut self) {
        let _ = tokio::time::timeout(self.timeout, self.socket.close(None)).await;
    }
}

enum Received {
    Text(String),
    Else(Came),
}

async fn receive(socket: &mut WebSocketStream<Tls>, timeout: Duration) -> Received {
    let receiving = async {
        loop {
            return Received::Else(match socket.next().await {
                Some(Ok(Message::Text(text))) => return Received::Text(text.as_str().to_owned()),
                Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {
                    continue;
                }
                Some(Ok(Message::Close(Some(frame)))) => {
                    Came::Closed(frame.code.into(), frame.reason.to_string())
                }
                // RFC 6455 names a close frame without a number 1005.
                Some(Ok(Message::Close(None))) => Came::Closed(1005, String::new()),
                Some(Err(error)) => Came::Gone(error.to_string()),
                None => Came::Gone("end of file".to_owned()),
            });
        }
    };
    tokio::time::timeout(timeout, receiving).await.unwrap_or(Received::Else(Came::Nothing))
}
