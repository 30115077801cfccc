//! TLS against the rules, once the handshake is done: floods of key updates, another handshake, records that do not verify; early data;
//! and records of one byte, which are allowed.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ServerConfig, ServerConnection};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::ground::Ground;
use super::raw_tls::{ALERT, DATA, HANDSHAKE, RawTls, client_hello};
use crate::harness::{Frame, LIMIT, Logged, Pki, UPGRADE, configuration, read_answer, soon};

const ALICE: &str = "acme/alice";

fn request(id: u32) -> Vec<u8> {
    let text = format!(r#"{{"op":"ping","id":{id}}}"#);
    Frame { first: 0x81, masked: true, payload: text.as_bytes() }.bytes()
}

/// A session over records of our own making, after its `welcome`; and its name.
async fn session(ground: &Ground) -> (RawTls, String) {
    let mut raw = RawTls::connect(ground.tcp().await, &Pki::get().client(ALICE)).await;
    let upgrade = raw.record(DATA, format!("{UPGRADE}\r\n").as_bytes());
    raw.send(&upgrade).await;
    raw.receive_until("\"welcome\"").await;
    let address = raw.address();
    let connect = ground.logged("connect", |event| event.text("address") == address).await;
    (raw, connect.session.unwrap())
}

/// Asserts the entries of a session that was ended because its client broke TLS.
async fn is_ended_for_tls(ground: &Ground, session: &str) {
    let is_its = |event: &Logged| event.session.as_deref() == Some(session);
    let logged = ground.logged("disconnect", is_its).await;
    assert_eq!(logged.fields["close_code"], 1006, "there is no close frame without TLS: {}", logged.fields);
    assert!(logged.text("reason").starts_with("SF-SES-049"), "{}", logged.fields);
    let logged = ground.logged("reject", is_its).await;
    assert_eq!((logged.text("code"), logged.text("principal")), ("SF-SES-049", ALICE));
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_the_standard_forbids_end_the_session_with_an_alert() {
    let ground = Ground::with("", 100).await;
    let hello = client_hello();
    let (unexpected, bad_mac, decode) = (10, 20, 50);
    for (what, alert) in [
        ("another handshake", unexpected),
        ("a record that does not verify", bad_mac),
        // rustls says so where section 5.2 would have `record_overflow`.
        ("a record that is too long", decode),
        // Read as if it were sealed.
        ("a plain record", bad_mac),
        ("a warning", decode),
    ] {
        println!("{what}");
        let (mut raw, id) = session(&ground).await;
        let bytes = match what {
            "another handshake" => raw.record(HANDSHAKE, &hello[5..]),
            "a record that does not verify" => {
                let mut record = raw.record(DATA, &request(1));
                *record.last_mut().unwrap() ^= 1;
                record
            }
            "a record that is too long" => [&[DATA, 3, 3, 0x50, 0x00][..], &[0; 0x5000]].concat(),
            "a plain record" => hello.clone(),
            // no_renegotiation
            _ => raw.record(ALERT, &[1, 100]),
        };
        raw.send(&bytes).await;
        assert_eq!(raw.alert().await, Some(alert), "{what}");
        is_ended_for_tls(&ground, &id).await;
    }
    ground.over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_key_updates_ends_the_session() {
    let ground = Ground::with("", 100).await;
    let mut tls = ground.tls(&Pki::get().client(ALICE)).await;
    let address = tls.get_ref().0.local_addr().unwrap().to_string();
    tls.write_all(format!("{UPGRADE}\r\n").as_bytes()).await.unwrap();
    assert_eq!(read_answer(&mut tls).await.status, 101);
    let id = ground.logged("connect", |event| event.text("address") == address).await.session.unwrap();
    for _ in 0..2_000 {
        tls.get_mut().1.refresh_traffic_keys().unwrap();
    }
    let _ = tls.flush().await;
    let mut rest = Vec::new();
    // rustls gives no alert for this one (`TooManyKeyUpdateRequests`), and nothing that one could be made of.
    let error = soon("the end", tls.read_to_end(&mut rest)).await.unwrap_err();
    println!("{error}");
    is_ended_for_tls(&ground, &id).await;
    ground.over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn key_updates_between_the_bytes_of_requests_are_followed_and_disturb_nobody() {
    let ground = Ground::with("", 100).await;
    let mut tls = ground.tls(&Pki::get().client(ALICE)).await;
    tls.write_all(format!("{UPGRADE}\r\n").as_bytes()).await.unwrap();
    assert_eq!(read_answer(&mut tls).await.status, 101);
    // Thousands: rustls bounds only those without data between them.
    let echo = "e".repeat(100);
    for id in 1..=20 {
        let text = format!(r#"{{"op":"ping","id":{id},"echo":"{echo}"}}"#);
        for byte in (Frame { first: 0x81, masked: true, payload: text.as_bytes() }).bytes() {
            tls.get_mut().1.refresh_traffic_keys().unwrap();
            tls.write_all(&[byte]).await.unwrap();
        }
        tls.flush().await.unwrap();
    }
    let mut said = Vec::new();
    let last = b"\"id\":20,";
    while !said.windows(last.len()).any(|window| window == last) {
        assert_ne!(soon("the answers", tls.read_buf(&mut said)).await.unwrap(), 0);
    }
    drop(tls);
    ground.over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_records_of_one_byte_and_between_empty_ones_are_read() {
    let ground = Ground::with("", 100).await;
    let (mut raw, _) = session(&ground).await;
    let mut bytes = Vec::new();
    for id in 1..=20 {
        for byte in request(id) {
            bytes.extend(raw.record(DATA, &[byte]));
            bytes.extend(raw.record(DATA, b""));
        }
    }
    raw.send(&bytes).await;
    raw.receive_until("\"id\":20,").await;
    ground.over().await;
}

/// A ticket that allows early data, from a server of our own that shows the same certificate.
fn client_with_ticket() -> ClientConfig {
    let folder = Pki::get().folder.join("servers/localhost");
    let chain =
        CertificateDer::pem_file_iter(folder.join("server.pem")).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut other = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    other.max_early_data_size = 16_384;
    let mut client = configuration(&Pki::get().client(ALICE));
    client.resumption = Resumption::in_memory_sessions(8);
    client.enable_early_data = true;
    let mut giving = ServerConnection::new(Arc::new(other)).unwrap();
    let mut taking =
        ClientConnection::new(Arc::new(client.clone()), "localhost".try_into().unwrap()).unwrap();
    for _ in 0..10 {
        let mut bytes = Vec::new();
        while taking.wants_write() {
            taking.write_tls(&mut bytes).unwrap();
        }
        let mut unread = bytes.as_slice();
        while !unread.is_empty() {
            giving.read_tls(&mut unread).unwrap();
            giving.process_new_packets().unwrap();
        }
        let mut bytes = Vec::new();
        while giving.wants_write() {
            giving.write_tls(&mut bytes).unwrap();
        }
        let mut unread = bytes.as_slice();
        while !unread.is_empty() {
            taking.read_tls(&mut unread).unwrap();
            taking.process_new_packets().unwrap();
        }
    }
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn early_data_is_never_taken_and_the_handshake_is_a_whole_one() {
    let ground = Ground::with("", 100).await;
    let client = Arc::new(client_with_ticket());
    let tcp = ground.tcp().await;
    let address = tcp.local_addr().unwrap().to_string();
    let mut tcp = tcp.into_std().unwrap();
    tcp.set_nonblocking(false).unwrap();
    tcp.set_read_timeout(Some(LIMIT)).unwrap();
    let answer = tokio::task::spawn_blocking(move || {
        let mut connection = ClientConnection::new(client, "localhost".try_into().unwrap()).unwrap();
        let mut early = connection.early_data().expect("a ticket that allows early data");
        early.write_all(format!("{UPGRADE}\r\n").as_bytes()).unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut tcp).unwrap();
        }
        assert!(!connection.is_early_data_accepted());
        assert_eq!(connection.handshake_kind(), Some(HandshakeKind::Full));
        // The same bytes again, where they may be; nothing of the first ones was taken, so that there is one answer.
        let mut stream = rustls::Stream::new(&mut connection, &mut tcp);
        stream.write_all(format!("{UPGRADE}\r\n").as_bytes()).unwrap();
        stream.write_all(&Frame { first: 0x88, masked: true, payload: b"\x03\xe8" }.bytes()).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    });
    let answer = String::from_utf8_lossy(&answer.await.unwrap()).into_owned();
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    let connect = ground.logged("connect", |event| event.text("address") == address).await;
    assert_eq!(connect.text("principal"), ALICE, "by its certificate and not by a ticket");
    ground.over().await;
}
