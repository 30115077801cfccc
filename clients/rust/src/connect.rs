//! From a configuration to a proven session: TLS, upgrade, `welcome`, and the check of its binding.

use std::time::Duration;

use futures_util::StreamExt;
use sealfeed_wire::message::ServerMessage;
use sealfeed_wire::reply::Welcome;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};

use crate::config::ClientConfig;
use crate::connection::{lost, websocket_config};
use crate::error::{ConnectError, Stage};
use crate::event::{CloseCause, Closed};
use crate::tls::{self, connect_tls, exporter};
use crate::upgrade::upgrade;

/// A connection whose `welcome` was proven to belong to it.
pub(crate) struct Established {
    pub(crate) socket: WebSocketStream<TlsStream<TcpStream>>,
    pub(crate) welcome: Box<Welcome>,
    /// The token that it began with, if it did.
    pub(crate) token: Option<String>,
}

/// Connects, within the time limit of the configuration.
pub(crate) async fn establish(config: &ClientConfig) -> Result<Established, ConnectError> {
    let mut stage = Stage::TlsHandshake;
    let limit_ms = config.connect_timeout_ms;
    match timeout(Duration::from_millis(limit_ms), Box::pin(attempt(config, &mut stage))).await {
        Ok(outcome) => outcome,
        Err(_) => Err(ConnectError::Timeout { stage, limit_ms }),
    }
}

async fn attempt(config: &ClientConfig, stage: &mut Stage) -> Result<Established, ConnectError> {
    let mut tls = connect_tls(config).await?;
    let session = exporter(&tls)?;
    *stage = Stage::Upgrade;
    let token = match &config.token {
        Some(source) => Some(source.token().await?),
        None => None,
    };
    let rest = upgrade(&mut tls, config, token.as_deref()).await?;
    *stage = Stage::Welcome;
    let config = Some(websocket_config());
    let mut socket = WebSocketStream::from_partially_read(tls, rest, Role::Client, config).await;
    let welcome = read_welcome(&mut socket).await?;
    if welcome.session != session || welcome.binding != Welcome::BINDING {
        return Err(ConnectError::BindingMismatch);
    }
    Ok(Established { socket, welcome, token })
}

async fn read_welcome(
    socket: &mut WebSocketStream<TlsStream<TcpStream>>,
) -> Result<Box<Welcome>, ConnectError> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => {
                return match ServerMessage::decode(&text) {
                    Ok(ServerMessage::Welcome(welcome)) => Ok(welcome),
                    Ok(_) | Err(_) => Err(ConnectError::WelcomeInvalid),
                };
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Ok(Message::Binary(_))) => return Err(ConnectError::WelcomeInvalid),
            Some(Ok(Message::Close(Some(frame)))) => {
                return Err(ConnectError::ClosedEarly(Closed::by_server(frame.code.into(), &frame.reason)));
            }
            Some(Ok(Message::Close(None))) => {
                return Err(ConnectError::ClosedEarly(Closed::by_server(1005, "")));
            }
            Some(Err(tokio_tungstenite::tungstenite::Error::Io(error))) => {
                return Err(tls::explain(Stage::Welcome, error));
            }
            Some(Err(error)) => return Err(ConnectError::ClosedEarly(lost(&error))),
            None => {
                let closed =
                    Closed::without_frame(CloseCause::Lost, "the connection ended without a close frame");
                return Err(ConnectError::ClosedEarly(closed));
            }
        }
    }
}
