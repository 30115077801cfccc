//! Tokens of an identity provider, for servers that want one beside the certificate: where they come from, and their renewal.
//!
//! A token is read anew for every connection, and again before it expires: at four fifths of what is left of its life, or a minute before
//! its end if that is later. Whatever goes wrong then is tried again until the token expires, and then the server ends the session (4507).

use std::fmt;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sealfeed_wire::message::ServerMessage;
use sealfeed_wire::reply::Welcome;
use sealfeed_wire::request::{BearerToken, Op, Request, TOKEN_BYTES_MAX};
use sealfeed_wire::value::{RequestId, UnixNanos};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::protocol::Message;

use crate::config::ConfigError;
use crate::connection::Shared;

/// Longest time before its end in which a token is renewed.
const EARLY_MAX: Duration = Duration::from_secs(60);
/// Pause behind a renewal that failed: long enough that the server never takes it for abuse.
const RETRY: Duration = Duration::from_secs(5);

/// What gives a token.
type Function = dyn Fn() -> io::Result<String> + Send + Sync;

/// Where the tokens of a client come from.
#[derive(Clone)]
pub enum TokenSource {
    /// A file with one token, which somebody else keeps fresh. White space around it is ignored.
    File(PathBuf),
    /// A function, called where it may block: it may ask an identity provider.
    Function(Arc<Function>),
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "TokenSource::File({})", path.display()),
            Self::Function(_) => f.write_str("TokenSource::Function"),
        }
    }
}

impl TokenSource {
    /// Tokens that a function gives.
    pub fn function(give: impl Fn() -> io::Result<String> + Send + Sync + 'static) -> Self {
        Self::Function(Arc::new(give))
    }

    /// The token of now.
    pub(crate) async fn token(&self) -> Result<String, ConfigError> {
        let source = self.clone();
        let asked = tokio::task::spawn_blocking(move || match source {
            Self::File(path) => read(&path),
            Self::Function(give) => give(),
        });
        let unusable = |source| ConfigError::Token { source };
        let text = asked.await.map_err(|panicked| unusable(io::Error::other(panicked)))?.map_err(unusable)?;
        let token = text.trim_ascii();
        let is_token =
            (1..=TOKEN_BYTES_MAX).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic());
        if is_token {
            return Ok(token.to_owned());
        }
        // Nothing of it is repeated.
        let what = format!("it is not one word of at most {TOKEN_BYTES_MAX} bytes");
        Err(unusable(io::Error::new(io::ErrorKind::InvalidData, what)))
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    // White space around it included.
    std::fs::File::open(path)?.take(2 * TOKEN_BYTES_MAX as u64).read_to_string(&mut text)?;
    Ok(text)
}

/// Keeps the token of one connection fresh.
pub(crate) struct Renewal {
    source: TokenSource,
    /// The one that is in force.
    token: String,
    /// The server's time when `since` was.
    server_time: UnixNanos,
    since: Instant,
    expires: UnixNanos,
    outgoing: mpsc::WeakSender<Message>,
    shared: Arc<Shared>,
    next_id: Arc<AtomicI64>,
    request_timeout: Duration,
}

impl Renewal {
    /// For a connection that began with this `welcome`; `None` if its token never expires, for it has none.
    pub(crate) fn new(
        (source, token): (TokenSource, String),
        welcome: &Welcome,
        outgoing: mpsc::WeakSender<Message>,
        (shared, next_id): (Arc<Shared>, Arc<AtomicI64>),
        request_timeout: Duration,
    ) -> Option<Self> {
        let (server_time, since, expires) = (welcome.ts, Instant::now(), welcome.token_expires?);
        Some(Self { source, token, server_time, since, expires, outgoing, shared, next_id, request_timeout })
    }

    /// Never ends; to be dropped with the connection.
    pub(crate) async fn run(mut self) {
        loop {
            sleep_until(self.due()).await;
            while !self.renew().await {
                sleep(RETRY).await;
            }
        }
    }

    /// When it is to be renewed, by our clock.
    fn due(&self) -> Instant {
        let left = Duration::from_nanos(self.expires.0.saturating_sub(self.server_time.0));
        let left = left.saturating_sub(self.since.elapsed());
        // Far away is as good as never, and an instant can hold it.
        Instant::now() + (left - (left / 5).min(EARLY_MAX)).min(Duration::from_secs(365 * 24 * 60 * 60))
    }

    /// Whether another token is in force.
    async fn renew(&mut self) -> bool {
        let Ok(token) = self.source.token().await else { return false };
        if token == self.token {
            return false;
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let op = Op::TokenRenew { token: BearerToken(token.as_str().into()) };
        let text = Request { id: Some(RequestId::Integer(id)), op }.encode();
        let Some(reply) = self.shared.expect_reply(id, Vec::new()) else { return false };
        let exchange = async {
            self.outgoing.upgrade()?.send(Message::text(text)).await.ok()?;
            reply.await.ok()
        };
        let reply = timeout(self.request_timeout, exchange).await;
        self.shared.forget(id);
        let Ok(Some(ServerMessage::Done(done))) = reply else { return false };
        let Some(expires) = done.token_expires else { return false };
        (self.token, self.expires) = (token, expires);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_token_is_one_word_and_what_is_none_is_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let source = TokenSource::File(path.clone());
        assert!(source.token().await.is_err(), "there is no file");
        std::fs::write(&path, "  a.b.c\n").unwrap();
        assert_eq!(source.token().await.unwrap(), "a.b.c");
        for wrong in ["", " \n", "SECRET a", "SECRET\u{e4}", &"SECRET".repeat(700)] {
            let wrong = wrong.to_owned();
            let given = wrong.clone();
            let error = TokenSource::function(move || Ok(given.clone())).token().await.unwrap_err();
            assert!(!format!("{error:?}").contains("SECRET"), "{error:?} {wrong}");
        }
        let failing = TokenSource::function(|| Err(io::Error::other("the provider is away")));
        assert!(format!("{:?}", failing.token().await.unwrap_err()).contains("the provider is away"));
        assert_eq!(format!("{failing:?}"), "TokenSource::Function");
    }
}
