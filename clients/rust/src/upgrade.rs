//! The HTTP upgrade over our own TLS stream: one request out, `101` or a decoded refusal in.
//!
//! Written here rather than left to the WebSocket library because a refusal's JSON body may arrive after its
//! head, and because the stream must survive a failed write: the alert that explains it is still to be read.
//! Limits: head 16 KiB, body of a refusal 16 KiB. Source: RFC 6455 section 4.

use std::io;

use sealfeed_wire::code::AnyCode;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::tungstenite::handshake::client::{Response, generate_key};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::handshake::machine::TryParse;

use crate::config::{ClientConfig, Protocol};
use crate::error::{ConnectError, Stage};
use crate::tls;

/// Largest head of an answer, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Largest body of a refusal that is read, in bytes.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// Why the server refused the upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpgradeRefusal {
    /// HTTP status.
    pub status: u16,
    /// The stable code; `None` when the answer did not come from a feed.
    pub code: Option<AnyCode>,
    /// What was wrong; empty when the answer had no body that could be read.
    pub message: String,
    /// What to do; may be empty.
    pub hint: String,
    /// Seconds to wait before the next try, where the server said so (429, 503).
    pub retry_after_s: Option<u64>,
}

#[derive(Deserialize)]
struct RefusalBody {
    code: AnyCode,
    #[serde(default)]
    message: String,
    #[serde(default)]
    hint: String,
}

/// Asks for the upgrade. Returns the bytes that came behind the answer: the beginning of the first frame.
///
/// # Errors
/// [`ConnectError`]: the certificate was refused, the upgrade was, or the answer is none.
pub(crate) async fn upgrade<S>(
    stream: &mut S,
    config: &ClientConfig,
    token: Option<&str>,
) -> Result<Vec<u8>, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let key = generate_key();
    let request = request_text(config, token, &key)?;
    let written = write(stream, request.as_bytes()).await;
    let mut received = Vec::new();
    let head = read_head(stream, &mut received).await;
    // A server that refuses us may already have closed when we write. What it said is in the read.
    let (response, head_bytes) = match (head, written) {
        (Ok(head), _) => head,
        (Err(ReadError::Io(error)), Err(write_error)) if tls::refusal_in(&error).is_none() => {
            return Err(tls::explain(Stage::Upgrade, write_error));
        }
        (Err(ReadError::Io(error)), _) => return Err(tls::explain(Stage::Upgrade, error)),
        (Err(ReadError::Invalid(reason)), _) => return Err(ConnectError::UpgradeInvalid { reason }),
    };
    let rest = received.split_off(head_bytes);
    if response.status() != 101 {
        return Err(ConnectError::UpgradeRefused(read_refusal(stream, &response, rest).await));
    }
    check_accepted(&response, &key, config.protocol)?;
    Ok(rest)
}

fn request_text(config: &ClientConfig, token: Option<&str>, key: &str) -> Result<String, ConnectError> {
    let mut text = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: {}\r\nUser-Agent: sealfeed-client/{}\r\n",
        config.url.path(),
        config.url.authority(),
        config.protocol.name(),
        env!("CARGO_PKG_VERSION"),
    );
    if let Some(token) = token {
        text += &format!("Authorization: Bearer {token}\r\n");
    }
    for (name, value) in &config.headers {
        let is_clean = |part: &str| part.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        if name.is_empty() || name.contains([':', ' ']) || !is_clean(name) || !is_clean(value) {
            return Err(ConnectError::HeaderInvalid { name: name.escape_debug().to_string() });
        }
        text += &format!("{name}: {value}\r\n");
    }
    Ok(text + "\r\n")
}

async fn write<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

enum ReadError {
    Io(io::Error),
    Invalid(&'static str),
}

async fn read_head<S>(stream: &mut S, received: &mut Vec<u8>) -> Result<(Response, usize), ReadError>
where
    S: AsyncRead + Unpin,
{
    loop {
        if stream.read_buf(received).await.map_err(ReadError::Io)? == 0 {
            return Err(ReadError::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        match Response::try_parse(received) {
            Ok(Some((head_bytes, response))) => return Ok((response, head_bytes)),
            Ok(None) if received.len() < HEAD_BYTES_MAX => {}
            Ok(None) => return Err(ReadError::Invalid("its head is too large")),
            Err(_) => return Err(ReadError::Invalid("it is not HTTP")),
        }
    }
}

/// Reads what is left of a refusal's body. An error or a body of another form leaves the status to speak.
async fn read_refusal<S>(stream: &mut S, response: &Response, mut body: Vec<u8>) -> UpgradeRefusal
where
    S: AsyncRead + Unpin,
{
    let length = header(response, "content-length").and_then(|text| text.parse::<usize>().ok());
    let wanted = length.unwrap_or(BODY_BYTES_MAX).min(BODY_BYTES_MAX);
    while body.len() < wanted {
        match stream.read_buf(&mut body).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    body.truncate(wanted);
    let retry_after_s = header(response, "retry-after").and_then(|text| text.parse().ok());
    let status = response.status().as_u16();
    match serde_json::from_slice::<RefusalBody>(&body) {
        Ok(RefusalBody { code, message, hint }) => {
            UpgradeRefusal { status, code: Some(code), message, hint, retry_after_s }
        }
        Err(_) => {
            UpgradeRefusal { status, code: None, message: String::new(), hint: String::new(), retry_after_s }
        }
    }
}

fn check_accepted(response: &Response, key: &str, protocol: Protocol) -> Result<(), ConnectError> {
    let is = |name, value: &str| header(response, name).is_some_and(|text| text.eq_ignore_ascii_case(value));
    let has_token = |name, token: &str| {
        header(response, name)
            .is_some_and(|text| text.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
    };
    let reason = if !is("upgrade", "websocket") || !has_token("connection", "upgrade") {
        "it does not switch to WebSocket"
    } else if header(response, "sec-websocket-accept") != Some(derive_accept_key(key.as_bytes()).as_str()) {
        "Sec-WebSocket-Accept is wrong"
    } else if header(response, "sec-websocket-protocol") != Some(protocol.name()) {
        "it does not choose our sub-protocol"
    } else if header(response, "sec-websocket-extensions").is_some() {
        "it chooses an extension that we did not offer"
    } else {
        return Ok(());
    };
    Err(ConnectError::UpgradeInvalid { reason })
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::url::FeedUrl;

    fn config() -> ClientConfig {
        ClientConfig::new(FeedUrl::parse("wss://[::1]:7/v1/feed").unwrap(), Vec::new(), None)
    }

    /// Lets a peer answer with `pieces`, one after the other, then close.
    async fn check(pieces: &[&str]) -> Result<Vec<u8>, ConnectError> {
        let (mut client, server) = tokio::io::duplex(4096);
        let pieces: Vec<String> = pieces.iter().map(|piece| (*piece).to_owned()).collect();
        let peer = async move {
            let (mut read, mut write) = tokio::io::split(server);
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                read.read_buf(&mut request).await.unwrap();
            }
            let request = String::from_utf8(request).unwrap();
            let key = request.split("Sec-WebSocket-Key: ").nth(1).unwrap().split("\r\n").next().unwrap();
            for piece in pieces {
                let piece = piece.replace("{accept}", &derive_accept_key(key.as_bytes()));
                write.write_all(piece.as_bytes()).await.unwrap();
                tokio::task::yield_now().await;
            }
            request
        };
        let config = config();
        let (result, request) = tokio::join!(upgrade(&mut client, &config, Some("a.b.c")), peer);
        assert!(request.starts_with("GET /v1/feed HTTP/1.1\r\nHost: [::1]:7\r\n"), "{request}");
        assert!(request.contains("\r\nAuthorization: Bearer a.b.c\r\n"), "{request}");
        result
    }

    const ACCEPTED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                            Sec-WebSocket-Accept: {accept}\r\n";

    #[tokio::test]
    async fn bytes_behind_the_answer_are_kept_for_the_first_frame() {
        let answer = format!("{ACCEPTED}Sec-WebSocket-Protocol: sealfeed.v1.json\r\n\r\nframe");
        assert_eq!(check(&[&answer]).await.unwrap(), b"frame");
        let (head, tail) = answer.split_at(40);
        assert_eq!(check(&[head, tail]).await.unwrap(), b"frame");
    }

    #[tokio::test]
    async fn a_refusal_is_decoded_even_if_its_body_comes_later() {
        let head = "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 70\r\nRetry-After: 9\r\n\r\n";
        let body = r#"{"code":"SF-SES-007","message":"too many","hint":"Close a session.  "}"#;
        assert_eq!(body.len(), 70);
        for pieces in [vec![head, body], vec![head, &body[..30], &body[30..]]] {
            let Err(ConnectError::UpgradeRefused(refusal)) = check(&pieces).await else { panic!("accepted") };
            assert_eq!((refusal.status, refusal.retry_after_s), (429, Some(9)));
            assert_eq!(refusal.code.unwrap().as_str(), "SF-SES-007");
            assert_eq!((refusal.message.as_str(), refusal.hint.trim()), ("too many", "Close a session."));
        }
    }

    #[tokio::test]
    async fn a_refusal_of_something_that_is_no_feed_keeps_its_status() {
        let answer = "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\n\r\n<html>";
        let Err(ConnectError::UpgradeRefused(refusal)) = check(&[answer]).await else { panic!("accepted") };
        assert_eq!((refusal.status, refusal.code), (502, None));
    }

    #[tokio::test]
    async fn an_answer_that_is_not_ours_is_refused() {
        let protocol = "Sec-WebSocket-Protocol: sealfeed.v1.json\r\n";
        for answer in [
            format!("{ACCEPTED}\r\n"),
            format!("{ACCEPTED}Sec-WebSocket-Protocol: sealfeed.v1.dbn\r\n\r\n"),
            format!("{ACCEPTED}{protocol}Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"),
            format!("{}{protocol}\r\n", ACCEPTED.replace("{accept}", "AAAA")),
            format!("{}{protocol}\r\n", ACCEPTED.replace("websocket", "h2c")),
            "SSH-2.0-OpenSSH_9.6\r\n".to_owned(),
        ] {
            let result = check(&[&answer]).await;
            assert!(matches!(result, Err(ConnectError::UpgradeInvalid { .. })), "{answer} {result:?}");
        }
    }

    #[test]
    fn a_header_cannot_smuggle_another_line() {
        for (name, value) in [("A", "b\r\nC: d"), ("A: b", "c"), ("", "c"), ("A\n", "c")] {
            let mut config = config();
            config.headers.push((name.to_owned(), value.to_owned()));
            assert!(
                matches!(request_text(&config, None, "k"), Err(ConnectError::HeaderInvalid { .. })),
                "{name:?}"
            );
        }
    }
}
