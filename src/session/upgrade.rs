//! The HTTP/1.1 upgrade: everything that can refuse a connection before `101 Switching Protocols`.
//!
//! In: bytes of an authenticated TLS connection, within a deadline and a size. Out: an accepted upgrade, or an
//! HTTP status with a JSON body `{code, message, hint}`. Sources: RFC 9112 (requests), RFC 6455 section 4.2.

use sealfeed_wire::{Code, PATH, SUBPROTOCOL_DBN, SUBPROTOCOL_JSON};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response, create_response, write_response};
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderName, HeaderValue, Uri, Version};

use super::token::Authorization;
use crate::feed::Encoding;

/// More header lines than any client of ours sends.
const HEADERS_MAX: usize = 64;
/// How much of a text from the peer is kept for the log, in bytes before they are escaped.
const LOGGED_BYTES_MAX: usize = 200;

/// What the upgrade is checked against.
#[derive(Clone, Debug)]
pub struct UpgradeRules {
    /// Origins that browsers may come from.
    pub origins: Vec<String>,
}

/// A request for an upgrade that is well-formed, for our path, from an allowed origin, in our protocol.
#[derive(Debug)]
pub struct Upgrade {
    /// `101 Switching Protocols`, not sent yet.
    pub answer: Vec<u8>,
    /// Bytes that came behind the request: the client's first frames.
    pub already_read: Vec<u8>,
    /// `User-Agent`, control characters escaped; empty if none came.
    pub user_agent: String,
    /// How the client wants market data: the first of the sub-protocols it offers that we know; JSON if it offers none.
    pub encoding: Encoding,
    /// What came in `Authorization`.
    pub authorization: Authorization,
}

/// Name of the sub-protocol that brings market data in an encoding.
#[must_use]
pub const fn protocol(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Json => SUBPROTOCOL_JSON,
        Encoding::Dbn => SUBPROTOCOL_DBN,
    }
}

/// Why an upgrade was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The code for log and client.
    pub code: Code,
    /// HTTP status of the answer.
    pub status: u16,
    /// For the operator, escaped.
    pub detail: String,
    /// When it may go better, for the answers 429 and 503, in milliseconds.
    pub retry_after_ms: u64,
}

/// When a limit that was met may hold no longer, unless more is known.
const RETRY_AFTER_MS: u64 = 1_000;

impl Refused {
    /// A refusal with the status that belongs to the code.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let status = code.http_status().unwrap_or(400);
        Self { code, status, detail: detail.into(), retry_after_ms: RETRY_AFTER_MS }
    }
}

/// Reads one request of at most `header_bytes_max` bytes and checks it. The caller holds the deadline; dropping this loses nothing but the request.
///
/// # Errors
/// [`Refused`], with nothing answered yet.
pub async fn receive<S: AsyncRead + Unpin>(
    stream: &mut S,
    rules: &UpgradeRules,
    header_bytes_max: usize,
) -> Result<Upgrade, Refused> {
    let malformed = |detail: &str| Refused::new(Code::SesUpgradeMalformed, detail);
    let mut buffer = Vec::with_capacity(1024);
    let head_bytes = loop {
        if let Some(end) = find_end(&buffer) {
            break end;
        }
        if buffer.len() >= header_bytes_max {
            return Err(Refused::new(Code::SesUpgradeTooLarge, "the request is larger than allowed"));
        }
        let room = header_bytes_max - buffer.len();
        match (&mut *stream).take(room as u64).read_buf(&mut buffer).await {
            Ok(0) => return Err(malformed("the connection ended inside the request")),
            Ok(_) => {}
            Err(error) => return Err(malformed(&format!("the connection broke: {}", error.kind()))),
        }
    };
    let already_read = buffer.split_off(head_bytes);
    let mut request = parse(&buffer)?;
    // Before anything is checked: what is refused is described, and a token is not to be.
    let authorization = Authorization::take(request.headers_mut());
    let (encoding, response) = check(&request, rules)?;
    let mut answer = Vec::with_capacity(256);
    write_response(&mut answer, &response).map_err(|_| malformed("the answer cannot be written"))?;
    let user_agent = header(&request, "user-agent").unwrap_or_default();
    Ok(Upgrade { answer, already_read, user_agent, encoding, authorization })
}

fn find_end(buffer: &[u8]) -> Option<usize> {
    buffer.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

fn parse(head: &[u8]) -> Result<Request, Refused> {
    let malformed = |detail: &str| Refused::new(Code::SesUpgradeMalformed, detail);
    let mut lines = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut lines);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(malformed("the request is not whole")),
        Err(error) => return Err(malformed(&format!("the request is not HTTP/1.1: {error}"))),
    }
    if parsed.method != Some("GET") || parsed.version != Some(1) {
        return Err(malformed("the request is not a GET of HTTP/1.1"));
    }
    let uri: Uri = parsed.path.unwrap_or_default().parse().map_err(|_| malformed("the target is no URI"))?;
    let mut headers = HeaderMap::with_capacity(parsed.headers.len());
    for line in parsed.headers.iter() {
        let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| malformed("a header name"))?;
        let value = HeaderValue::from_bytes(line.value).map_err(|_| malformed("a header value"))?;
        headers.append(name, value);
    }
    let mut request = Request::new(());
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    *request.version_mut() = Version::HTTP_11;
    Ok(request)
}

/// The encoding that is agreed on, and the answer that says so.
fn check(request: &Request, rules: &UpgradeRules) -> Result<(Encoding, Response), Refused> {
    if request.uri().path() != PATH || request.uri().query().is_some() {
        // Not the query: RFC 6750 section 2.3 lets clients put a token there.
        let path = escaped(request.uri().path().as_bytes());
        let query = if request.uri().query().is_some() { " with a query" } else { "" };
        return Err(Refused::new(Code::SesPathUnknown, format!("path {path}{query}")));
    }
    // RFC 9112 section 3.2: a server must refuse a request without it.
    if !request.headers().contains_key("host") {
        return Err(Refused::new(Code::SesUpgradeMalformed, "header host is missing"));
    }
    for name in ["origin", "host", "sec-websocket-key", "sec-websocket-version", "upgrade"] {
        if request.headers().get_all(name).iter().count() > 1 {
            return Err(Refused::new(Code::SesUpgradeMalformed, format!("header {name} stands twice")));
        }
    }
    if request.headers().contains_key("content-length") || request.headers().contains_key("transfer-encoding")
    {
        return Err(Refused::new(Code::SesUpgradeMalformed, "the request has a body"));
    }
    if let Some(origin) = request.headers().get("origin") {
        let is_allowed =
            origin.to_str().is_ok_and(|origin| rules.origins.iter().any(|allowed| allowed == origin));
        if !is_allowed {
            let origin = escaped(origin.as_bytes());
            return Err(Refused::new(Code::SesOriginRefused, format!("origin {origin}")));
        }
    }
    let mut response = create_response(request)
        .map_err(|error| Refused::new(Code::SesUpgradeMalformed, error.to_string()))?;
    let Some(mut offered) = offers(request) else { return Ok((Encoding::Json, response)) };
    let known = |name| [Encoding::Json, Encoding::Dbn].into_iter().find(|one| protocol(*one) == name);
    let encoding = offered.find_map(known).ok_or_else(|| {
        let offered = header(request, "sec-websocket-protocol").unwrap_or_default();
        Refused::new(Code::SesSubprotocolUnsupported, format!("offered {offered}"))
    })?;
    let agreed = HeaderValue::from_static(protocol(encoding));
    response.headers_mut().insert("sec-websocket-protocol", agreed);
    Ok((encoding, response))
}

/// Sub-protocols that the client offers; `None` if it names none.
fn offers(request: &Request) -> Option<impl Iterator<Item = &str>> {
    let lines = request.headers().get_all("sec-websocket-protocol");
    lines.iter().next()?;
    Some(lines.iter().flat_map(|line| line.to_str().unwrap_or("\0").split(',').map(str::trim)))
}

/// The first header of this name, made safe for the log.
fn header(request: &Request, name: &str) -> Option<String> {
    request.headers().get(name).map(|value| escaped(value.as_bytes()))
}

fn escaped(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(LOGGED_BYTES_MAX)].escape_ascii().to_string()
}

/// Answers with the refusal's status and the JSON body, and ends the connection.
///
/// # Errors
/// The connection broke; it is over either way.
pub async fn refuse<S: AsyncWrite + Unpin>(stream: &mut S, refused: &Refused) -> std::io::Result<()> {
    let is_for_now = matches!(refused.status, 429 | 503);
    let mut body = serde_json::json!({
        "code": refused.code.as_str(),
        "message": refused.code.message(),
        "hint": refused.code.hint(),
    });
    if is_for_now {
        body["retry_after_ms"] = refused.retry_after_ms.into();
    }
    let body = body.to_string();
    let reason = match refused.status {
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        503 => "Service Unavailable",
        _ => "Bad Request",
    };
    let extra = match refused.status {
        // RFC 6750 section 3.1: who brought nothing is told of no error.
        401 if refused.code == Code::SesTokenMissing => {
            "WWW-Authenticate: Bearer realm=\"sealfeed\"\r\n".to_owned()
        }
        401 => "WWW-Authenticate: Bearer realm=\"sealfeed\", error=\"invalid_token\"\r\n".to_owned(),
        426 => {
            format!("Upgrade: websocket\r\nSec-WebSocket-Protocol: {SUBPROTOCOL_JSON}, {SUBPROTOCOL_DBN}\r\n")
        }
        // RFC 9110 section 10.2.3 knows whole seconds.
        _ if is_for_now => format!("Retry-After: {}\r\n", refused.retry_after_ms.div_ceil(1_000)),
        _ => String::new(),
    };
    let head = format!(
        "HTTP/1.1 {} {reason}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{extra}Connection: close\r\n\r\n",
        refused.status,
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "GET /v1/feed HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

    fn rules() -> UpgradeRules {
        UpgradeRules { origins: vec!["https://desk.example".into()] }
    }

    async fn check(request: &str) -> Result<Upgrade, Refused> {
        receive(&mut request.as_bytes(), &rules(), 2_048).await
    }

    async fn refusal(request: &str) -> (u16, Code) {
        let refused = check(request).await.unwrap_err();
        (refused.status, refused.code)
    }

    fn with(line: &str) -> String {
        GOOD.replace("Host: h\r\n", &format!("Host: h\r\n{line}\r\n"))
    }

    #[tokio::test]
    async fn a_well_formed_request_is_accepted_and_the_bytes_behind_it_are_kept() {
        let upgrade = check(&format!("{GOOD}frames")).await.unwrap();
        assert_eq!(upgrade.already_read, b"frames");
        assert!(
            String::from_utf8(upgrade.answer).unwrap().starts_with("HTTP/1.1 101 Switching Protocols\r\n")
        );
    }

    #[tokio::test]
    async fn each_fault_has_its_status_and_code() {
        let bad = |from: &str, to: &str| GOOD.replace(from, to);
        for (request, status, code) in [
            (bad("/v1/feed", "/v2/feed"), 404, Code::SesPathUnknown),
            (bad("/v1/feed", "/v1/feed?token=x"), 404, Code::SesPathUnknown),
            (bad("GET", "POST"), 400, Code::SesUpgradeMalformed),
            (bad("HTTP/1.1", "HTTP/1.0"), 400, Code::SesUpgradeMalformed),
            (bad("Upgrade: websocket", "Upgrade: h2c"), 400, Code::SesUpgradeMalformed),
            (bad("Host: h\r\n", ""), 400, Code::SesUpgradeMalformed),
            (bad("Version: 13", "Version: 8"), 400, Code::SesUpgradeMalformed),
            (bad("dGhlIHNhbXBsZSBub25jZQ==", "short"), 400, Code::SesUpgradeMalformed),
            (with("Content-Length: 4"), 400, Code::SesUpgradeMalformed),
            (with("Upgrade: websocket"), 400, Code::SesUpgradeMalformed),
            (with("Origin: https://evil.example"), 403, Code::SesOriginRefused),
            (with("Sec-WebSocket-Protocol: chat"), 426, Code::SesSubprotocolUnsupported),
            (
                format!("GET /v1/feed HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(3000)),
                400,
                Code::SesUpgradeTooLarge,
            ),
            ("\x16\x03\x01 garbage\r\n\r\n".to_owned(), 400, Code::SesUpgradeMalformed),
            ("GET /v1/feed HTTP/1.1\r\n".to_owned(), 400, Code::SesUpgradeMalformed),
        ] {
            assert_eq!(refusal(&request).await, (status, code), "{request}");
        }
    }

    #[tokio::test]
    async fn a_token_is_taken_out_of_the_request_and_nothing_prints_it() {
        let upgrade = check(&with("Authorization: bearer SECRET.TOKEN.X")).await.unwrap();
        let Authorization::Bearer(token) = &upgrade.authorization else { panic!("{upgrade:?}") };
        assert_eq!(token.as_str(), "SECRET.TOKEN.X");
        assert!(!format!("{upgrade:?}").contains("SECRET"), "{upgrade:?}");
        assert!(matches!(check(GOOD).await.unwrap().authorization, Authorization::Missing));
        for line in [
            "Authorization: Basic SECRET",
            "Authorization: Bearer",
            "Authorization: Bearer SECRET\r\nAuthorization: Bearer SECRET",
            "Authorization: Bearer S\u{e9}CRET",
        ] {
            let upgrade = check(&with(line)).await.unwrap();
            assert!(matches!(upgrade.authorization, Authorization::Unusable(_)), "{line}: {upgrade:?}");
            assert!(!format!("{upgrade:?}").contains("CRET"), "{upgrade:?}");
        }
        let refused = check(&GOOD.replace("/v1/feed", "/v1/feed?access_token=SECRET")).await.unwrap_err();
        assert_eq!(refused.detail, "path /v1/feed with a query");
    }

    #[tokio::test]
    async fn a_refused_token_is_answered_with_the_challenge_of_its_scheme() {
        for (code, challenge) in [
            (Code::SesTokenMissing, "WWW-Authenticate: Bearer realm=\"sealfeed\"\r\n"),
            (
                Code::SesTokenSignatureInvalid,
                "WWW-Authenticate: Bearer realm=\"sealfeed\", error=\"invalid_token\"\r\n",
            ),
        ] {
            let mut answer = Vec::new();
            refuse(&mut answer, &Refused::new(code, "why")).await.unwrap();
            let answer = String::from_utf8(answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{answer}");
            assert!(answer.contains(challenge) && answer.contains(code.as_str()), "{answer}");
            assert!(!answer.contains("why"), "{answer}");
        }
    }

    #[tokio::test]
    async fn an_allowed_origin_and_our_protocol_among_others_are_accepted() {
        assert!(check(&with("Origin: https://desk.example")).await.is_ok());
        let upgrade = check(&with("Sec-WebSocket-Protocol: chat, sealfeed.v1.json")).await.unwrap();
        assert!(
            String::from_utf8(upgrade.answer)
                .unwrap()
                .contains("sec-websocket-protocol: sealfeed.v1.json\r\n")
        );
    }

    #[tokio::test]
    async fn the_first_protocol_that_the_client_offers_and_we_know_is_agreed_on() {
        for (offered, expected) in [
            ("sealfeed.v1.dbn", SUBPROTOCOL_DBN),
            ("chat, sealfeed.v1.dbn, sealfeed.v1.json", SUBPROTOCOL_DBN),
            ("sealfeed.v1.json, sealfeed.v1.dbn", SUBPROTOCOL_JSON),
        ] {
            let upgrade = check(&with(&format!("Sec-WebSocket-Protocol: {offered}"))).await.unwrap();
            assert_eq!(protocol(upgrade.encoding), expected, "{offered}");
            let agreed = format!("sec-websocket-protocol: {expected}\r\n");
            assert!(String::from_utf8(upgrade.answer).unwrap().contains(&agreed));
        }
        assert_eq!(check(GOOD).await.unwrap().encoding, Encoding::Json);
    }

    #[tokio::test]
    async fn no_header_brings_control_characters_into_the_log() {
        let hostile = "a\tb\u{9b}";
        let upgrade = check(&with(&format!("User-Agent: {hostile}"))).await.unwrap();
        assert_eq!(upgrade.user_agent, r"a\tb\xc2\x9b");
        for name in ["Origin", "Sec-WebSocket-Protocol"] {
            let refused = check(&with(&format!("{name}: {hostile}"))).await.unwrap_err();
            assert!(refused.detail.ends_with(r" a\tb\xc2\x9b"), "{}", refused.detail);
        }
    }
}
