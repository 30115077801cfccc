//! A connection whose texts are handed out as they come: for tools that measure, or that pass messages on.
//!
//! It is proven like any other connection, and that is all: nothing is decoded, no sequence is followed, no reply is matched.

use futures_util::{SinkExt as _, StreamExt as _};
use sealfeed_wire::reply::Welcome;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Bytes;
use tokio_tungstenite::tungstenite::protocol::Message;

use crate::config::ClientConfig;
use crate::connect::{Established, establish};
use crate::connection::lost;
use crate::error::ConnectError;
use crate::event::{CloseCause, Closed};

/// A proven connection.
#[derive(Debug)]
pub struct RawFeed {
    socket: WebSocketStream<TlsStream<TcpStream>>,
    welcome: Box<Welcome>,
}

impl RawFeed {
    /// Connects as [`Client::connect_with`](crate::Client::connect_with) does, up to the proven `welcome`.
    ///
    /// # Errors
    /// [`ConnectError`]; no connection is left behind.
    pub async fn connect_with(config: &ClientConfig) -> Result<Self, ConnectError> {
        let Established { socket, welcome, .. } = Box::pin(establish(config)).await?;
        Ok(Self { socket, welcome })
    }

    /// The server's first message.
    #[must_use]
    pub const fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Sends a request.
    ///
    /// # Errors
    /// How the connection ended.
    pub async fn send(&mut self, text: impl Into<String>) -> Result<(), Closed> {
        self.socket.send(Message::text(text.into())).await.map_err(|error| lost(&error))
    }

    /// The next message, a text or a run of records. Pings are answered on the way. May be cancelled without loss.
    ///
    /// # Errors
    /// How the connection ended.
    pub async fn next(&mut self) -> Result<Bytes, Closed> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text.into()),
                Some(Ok(Message::Binary(bytes))) => return Ok(bytes),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(frame))) => {
                    let frame = frame.map(|frame| (u16::from(frame.code), frame.reason.to_string()));
                    // RFC 6455 names a close frame without a number 1005.
                    let (code, reason) = frame.unwrap_or((1005, String::new()));
                    return Err(Closed::by_server(code, &reason));
                }
                Some(Err(error)) => return Err(lost(&error)),
                None => {
                    let reason = "the connection ended without a close frame";
                    return Err(Closed::without_frame(CloseCause::Lost, reason));
                }
            }
        }
    }

    /// Closes the connection; nobody waits for the server's answer.
    pub async fn close(mut self) {
        // It may have ended already.
        let _ = self.socket.close(None).await;
    }
}
