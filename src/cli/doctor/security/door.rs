//! Checks of the door: nothing gets in but TLS 1.3 with a certificate of an authority that the server trusts, on the right path, from
//! an allowed origin, in a known protocol, uncompressed and never resumed.

use std::io;

use sealfeed_client::{ClientIdentity, random_nonce};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::super::endpoint::{Asked, alert_in};
use super::super::session::{NoSession, Session};
use super::forged;
use super::{Came, Examiner, Who};
use crate::cli::alert;
use crate::identity::describe;

/// Kinds of entries that name a peer who never came in.
const REFUSED: &[&str] = &["handshake_refused"];

/// All of them, in the order in which they cost least.
pub(super) async fn check(examiner: &mut Examiner<'_>) {
    plaintext(examiner).await;
    old_tls(examiner).await;
    let subject = examiner.identity.chain.first().and_then(|der| describe(der)).map(|leaf| leaf.subject_der);
    let forged = subject.and_then(|subject| forged::self_signed(&subject));
    examiner.pause().await;
    refused(examiner, "S2 no certificate", None).await;
    no_upgrade(examiner).await;
    match forged {
        Some(forged) => refused(examiner, "S2 self-signed", Some(&forged)).await,
        None => examiner.skip("S2 self-signed", "no certificate could be made"),
    }
    examiner.pause().await;
    for (name, asked, expected) in [
        ("S2 wrong path", Asked { path: Some("/v1/doctor"), ..Asked::default() }, 404),
        (
            "S6 foreign origin",
            Asked { headers: "Origin: https://doctor.invalid\r\n", ..Asked::default() },
            403,
        ),
        ("S7 unknown protocol", Asked { protocol: Some("doctor.v0"), ..Asked::default() }, 426),
    ] {
        upgrade_refused(examiner, name, &asked, expected).await;
    }
    compression(examiner).await;
    resumption(examiner).await;
}

/// An upgrade in plain HTTP on the TLS port.
async fn plaintext(examiner: &mut Examiner<'_>) {
    let (name, expected) = ("S1 plaintext", "no answer in plain HTTP");
    let request = b"GET /v1/feed HTTP/1.1\r\nHost: doctor\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let (answer, who) = bytes(examiner, request).await;
    let came = match answer {
        Ok(bytes) if bytes.starts_with(b"HTTP/") => {
            Came::Fail(format!("an answer: {}", bytes.escape_ascii()))
        }
        Ok(bytes) if bytes.first() == Some(&0x15) => Came::Pass("a TLS alert and the end".to_owned()),
        Ok(bytes) if bytes.is_empty() => Came::Pass("the end of the connection".to_owned()),
        Ok(bytes) => Came::Fail(format!("bytes that are no TLS: {}", bytes.escape_ascii())),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            Came::Fail("nothing: the connection stays open".to_owned())
        }
        Err(error) => Came::Pass(format!("the end of the connection ({})", error.kind())),
    };
    examiner.note(name, expected, came, who, REFUSED);
}

/// A `ClientHello` that offers TLS 1.2 and nothing newer.
async fn old_tls(examiner: &mut Examiner<'_>) {
    let (name, expected) = ("S1 TLS 1.2", "refused by an alert");
    let (answer, who) = bytes(examiner, &client_hello_of_tls12()).await;
    let came = match answer {
        // An alert's body is level and description.
        Ok(bytes) if bytes.first() == Some(&0x15) => {
            let known = bytes.get(6).and_then(|number| alert::of_number(*number));
            Came::Pass(format!("the alert {}", known.map_or("of an unusual kind", |alert| alert.name)))
        }
        Ok(bytes) if bytes.first() == Some(&0x16) => {
            Came::Fail("a ServerHello: TLS 1.2 is spoken".to_owned())
        }
        Ok(bytes) if bytes.is_empty() => Came::Pass("the end of the connection".to_owned()),
        Ok(bytes) => Came::Fail(format!("something else: {}", bytes.escape_ascii())),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            Came::Fail("nothing: the connection stays open".to_owned())
        }
        Err(error) => Came::Pass(format!("the end of the connection ({})", error.kind())),
    };
    examiner.note(name, expected, came, who, REFUSED);
}

/// What is answered to bytes without TLS, up to 64 bytes, and who sent them.
async fn bytes(examiner: &Examiner<'_>, request: &[u8]) -> (io::Result<Vec<u8>>, Option<Who>) {
    let mut who = None;
    let exchange = async {
        let mut tcp = examiner.endpoint.tcp().await?;
        who = tcp.local_addr().ok().map(|address| Who::Address(address.to_string()));
        tcp.write_all(request).await?;
        let mut answer = [0; 64];
        let count = tcp.read(&mut answer).await?;
        Ok(answer[..count].to_vec())
    };
    (examiner.endpoint.within(exchange).await, who)
}

/// RFC 5246: no `supported_versions`, so 1.2 is the newest that is offered.
fn client_hello_of_tls12() -> Vec<u8> {
    let mut random = Vec::with_capacity(32);
    for _ in 0..2 {
        // It only has to look like one.
        random.extend(random_nonce().map_or([0x5a; 16], |nonce| nonce.0));
    }
    let suites: &[u8] =
        &[0xc0, 0x2b, 0xc0, 0x2f, 0xc0, 0x2c, 0xc0, 0x30, 0xcc, 0xa9, 0xcc, 0xa8, 0x00, 0x9c, 0x00, 0x2f];
    // supported_groups: x25519, P-256. ec_point_formats: uncompressed. signature_algorithms: ECDSA, RSA-PSS and RSA with SHA-256.
    let extensions: &[u8] = &[
        0x00, 0x0a, 0x00, 0x06, 0x00, 0x04, 0x00, 0x1d, 0x00, 0x17, 0x00, 0x0b, 0x00, 0x02, 0x01, 0x00, 0x00,
        0x0d, 0x00, 0x08, 0x00, 0x06, 0x04, 0x03, 0x08, 0x04, 0x04, 0x01,
    ];
    let sized = |bytes: &[u8]| {
        let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        [&length.to_be_bytes()[..], bytes].concat()
    };
    let body = [&[0x03, 0x03][..], &random, &[0], &sized(suites), &[1, 0], &sized(extensions)].concat();
    let handshake = [&[0x01, 0x00][..], &sized(&body)].concat();
    [&[0x16, 0x03, 0x01][..], &sized(&handshake)].concat()
}

/// A handshake that must end in an alert.
async fn refused(examiner: &mut Examiner<'_>, name: &'static str, identity: Option<&ClientIdentity>) {
    let mut who = None;
    let ended = async {
        let mut tls = examiner.endpoint.secured(identity).await?;
        who = tls.get_ref().0.local_addr().ok().map(|address| Who::Address(address.to_string()));
        examiner.endpoint.within(tls.read(&mut [0; 1])).await
    }
    .await;
    let came = match ended {
        Ok(_) => Came::Fail("no alert".to_owned()),
        Err(error) => match alert_in(&error) {
            Some(alert) => {
                let name =
                    alert::of(alert).map_or_else(|| format!("{alert:?}"), |alert| alert.name.to_owned());
                Came::Pass(format!("the alert {name}"))
            }
            None if error.kind() == io::ErrorKind::TimedOut => {
                Came::Fail("nothing: the server waits for the upgrade".to_owned())
            }
            None => Came::Pass(format!("the end of the connection ({})", error.kind())),
        },
    };
    examiner.note(name, "refused by an alert, before any HTTP", came, who, REFUSED);
}

/// Whatever is asked for without a certificate, it is no 101.
async fn no_upgrade(examiner: &mut Examiner<'_>) {
    let (name, expected) = ("S2 no 101", "no 101 Switching Protocols without a certificate");
    let mut who = None;
    let answered = async {
        let mut tls = examiner.endpoint.secured(None).await?;
        who = tls.get_ref().0.local_addr().ok().map(|address| Who::Address(address.to_string()));
        examiner.endpoint.upgrade(&mut tls, &Asked::default()).await
    }
    .await;
    let came = match answered {
        Ok(answer) if answer.status == 101 => Came::Fail("a 101".to_owned()),
        Ok(answer) => Came::Pass(format!("HTTP {}", answer.status)),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Came::Pass("nothing".to_owned()),
        Err(error) => Came::Pass(format!("no answer: {error}")),
    };
    examiner.note(name, expected, came, who, REFUSED);
}

async fn upgrade_refused(examiner: &mut Examiner<'_>, name: &'static str, asked: &Asked<'_>, status: u16) {
    let mut who = None;
    let answered = async {
        let mut tls = examiner.endpoint.secured(Some(examiner.identity)).await?;
        who = tls.get_ref().0.local_addr().ok().map(|address| Who::Address(address.to_string()));
        examiner.endpoint.upgrade(&mut tls, asked).await
    }
    .await;
    let came = match answered {
        Ok(answer) if answer.status == 429 => {
            Came::Skip("this principal is banned or limited now (429)".to_owned())
        }
        Ok(answer) => {
            let text = format!("HTTP {} {}", answer.status, answer.text("code"));
            if answer.status == status { Came::Pass(text) } else { Came::Fail(text) }
        }
        Err(error) => Came::Fail(error.to_string()),
    };
    examiner.note(name, &format!("HTTP {status}"), came, who, &["upgrade_refused"]);
}

async fn compression(examiner: &mut Examiner<'_>) {
    let (name, expected) = ("S7 compression", "permessage-deflate is offered and not negotiated");
    let headers = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    let answered = async {
        let mut tls = examiner.endpoint.secured(Some(examiner.identity)).await?;
        examiner.endpoint.upgrade(&mut tls, &Asked { headers, ..Asked::default() }).await
    }
    .await;
    let came = match answered {
        Ok(answer) => match (answer.status, answer.header("sec-websocket-extensions")) {
            (101, None) => Came::Pass("a 101 without extensions".to_owned()),
            (429, _) => Came::Skip("this principal is banned or limited now (429)".to_owned()),
            (status, None) => Came::Fail(format!("HTTP {status}")),
            (_, Some(agreed)) => Came::Fail(format!("the extension {agreed}")),
        },
        Err(error) => Came::Fail(error.to_string()),
    };
    examiner.note(name, expected, came, None, &[]);
}

async fn resumption(examiner: &mut Examiner<'_>) {
    let (name, expected) = ("S4 resumption", "no session ticket up to welcome");
    let came = match Session::open(examiner.endpoint, examiner.identity).await {
        Ok(session) => {
            let tickets = session.tls().get_ref().1.tls13_tickets_received();
            session.close().await;
            if tickets == 0 {
                Came::Pass("none".to_owned())
            } else {
                Came::Fail(format!("{tickets} tickets"))
            }
        }
        Err(NoSession::Refused(answer)) if answer.status == 429 => {
            Came::Skip("this principal is banned or limited now (429)".to_owned())
        }
        Err(error) => Came::Fail(error.words()),
    };
    examiner.note(name, expected, came, None, &[]);
}
