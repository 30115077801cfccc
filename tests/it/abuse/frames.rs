//! Frames that break RFC 6455: each ends its session with the close frame that the protocol promises.

use super::ground::{Ending, Ground};
use crate::harness::{Client, Ended, Frame};

const ALICE: &str = "acme/alice";
const PING: &[u8] = br#"{"op":"ping","id":7}"#;

const BROKEN: Ending = Ending { close: 1002, code: "SF-SES-029", entry: "reject" };
const TOO_BIG: Ending = Ending { close: 1009, code: "SF-SES-022", entry: "reject" };
const NO_TEXT: Ending = Ending { close: 1007, code: "SF-SES-030", entry: "reject" };
const BINARY: Ending = Ending { close: 1003, code: "SF-SES-023", entry: "reject" };

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    Frame { first, masked: true, payload }.bytes()
}

/// A close frame with a code and a reason.
fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(0x88, &[&code.to_be_bytes()[..], reason].concat())
}

/// A masked frame whose header says its length in a field of 2 or 8 bytes, whatever it is; the mask is zero.
fn long_form(first: u8, field: &[u8], payload: &[u8]) -> Vec<u8> {
    let marker = if field.len() == 2 { 126 } else { 127 };
    [&[first, 0x80 | marker][..], field, &[0; 4], payload].concat()
}

#[expect(clippy::print_stdout, reason = "the last one is the one that failed")]
async fn each(ground: &Ground, cases: Vec<(String, Vec<u8>, Ending)>) {
    for (what, bytes, ending) in cases {
        println!("{what}");
        let mut session = ground.session(ALICE).await;
        session.send_raw(&bytes).await;
        ground.ends(&mut session, ending).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_the_standard_forbids_end_the_session_with_1002() {
    let ground = Ground::with("", 100).await;
    let mut cases = vec![
        ("no mask".to_owned(), Frame { first: 0x81, masked: false, payload: PING }.bytes(), BROKEN),
        (
            "a ping without a mask".to_owned(),
            Frame { first: 0x89, masked: false, payload: b"" }.bytes(),
            BROKEN,
        ),
        ("a continuation of nothing".to_owned(), frame(0x80, PING), BROKEN),
        ("a first fragment that continues nothing".to_owned(), frame(0x00, PING), BROKEN),
    ];
    for (bit, name) in [(0x40, "1"), (0x20, "2"), (0x10, "3")] {
        cases.push((format!("reserved bit {name} of a text"), frame(0x81 | bit, PING), BROKEN));
        cases.push((format!("reserved bit {name} of a ping"), frame(0x89 | bit, b""), BROKEN));
    }
    for opcode in (0x3..=0x7).chain(0xb..=0xf) {
        cases.push((format!("reserved opcode {opcode:x}"), frame(0x80 | opcode, b""), BROKEN));
    }
    for (opcode, name) in [(0x8, "close"), (0x9, "ping"), (0xa, "pong")] {
        cases.push((format!("a {name} of 126 bytes"), frame(0x80 | opcode, &[b' '; 126]), BROKEN));
        cases.push((format!("a {name} in fragments"), frame(opcode, b""), BROKEN));
    }
    for (opcode, name) in [(0x1, "text"), (0x2, "binary")] {
        let inside = [frame(0x01, b"{"), frame(0x80 | opcode, PING)].concat();
        cases.push((format!("a {name} inside a fragmented text"), inside, BROKEN));
    }
    each(&ground, cases).await;
    ground.over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lengths_that_are_not_in_their_shortest_form_end_the_session_with_1002_and_great_ones_with_1009() {
    let ground = Ground::with("", 100).await;
    let short = u16::try_from(PING.len()).unwrap();
    let mut cases = Vec::new();
    for (what, bytes) in [
        ("20 in two bytes", long_form(0x81, &short.to_be_bytes(), PING)),
        ("20 in eight bytes", long_form(0x81, &u64::from(short).to_be_bytes(), PING)),
        ("125 in two bytes", long_form(0x81, &125_u16.to_be_bytes(), &[b' '; 125])),
        ("0 in two bytes", long_form(0x81, &[0; 2], b"")),
        ("200 in eight bytes", long_form(0x81, &200_u64.to_be_bytes(), &[b' '; 200])),
        ("a ping's in two bytes", long_form(0x89, &4_u16.to_be_bytes(), b"ping")),
    ] {
        cases.push((what.to_owned(), bytes.clone(), BROKEN));
        let behind = [frame(0x01, br#"{"op":"#), frame(0x89, b"?"), bytes].concat();
        cases.push((format!("{what}, inside a message"), behind, BROKEN));
    }
    for (what, length) in [
        ("1 GB", 1_u64 << 30),
        ("2^63", 1 << 63),
        ("2^64 - 1", u64::MAX),
        ("64 KB", 1 << 16),
        ("one too many", 8_193),
    ] {
        let bytes = match u16::try_from(length) {
            Ok(length) => long_form(0x81, &length.to_be_bytes(), b"{"),
            Err(_) => long_form(0x81, &length.to_be_bytes(), b"{"),
        };
        cases.push((what.to_owned(), bytes, TOO_BIG));
    }
    let many = [frame(0x01, &[b' '; 4_000]), frame(0x00, &[b' '; 4_000]), frame(0x80, &[b' '; 400])].concat();
    cases.push(("one too many in fragments".to_owned(), many, TOO_BIG));
    cases.push(("a binary one".to_owned(), frame(0x82, b"\0"), BINARY));
    each(&ground, cases).await;

    // The longest of each form, and one more, are as they should be.
    let mut session = ground.session(ALICE).await;
    for spaces in [125 - PING.len(), 126 - PING.len(), 8_192 - PING.len()] {
        let echo = "e".repeat(spaces.min(100));
        let text = format!(r#"{{"op":"ping","id":{},"echo":"{echo}"}}"#, spaces + 1);
        session.send_raw(&frame(0x81, text.as_bytes())).await;
        assert_eq!(session.reply().await["id"], spaces + 1);
    }
    drop(session);
    ground.over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn text_that_is_not_utf_8_ends_the_session_with_1007_however_it_is_cut() {
    let ground = Ground::with("", 100).await;
    let in_two = |first: &[u8], last: &[u8]| [frame(0x01, first), frame(0x80, last)].concat();
    let cases = [
        ("a byte that never occurs", frame(0x81, b"{\"op\":\"\xff\"}")),
        ("half a character at the end", frame(0x81, b"\xe2\x82")),
        ("a surrogate", frame(0x81, b"\xed\xa0\x80")),
        ("an overlong slash", frame(0x81, b"\xc0\xaf")),
        ("beyond the last character", frame(0x81, b"\xf4\x90\x80\x80")),
        ("half a character, and another text", in_two(b"\xe2\x82", b"x")),
        ("a character that goes wrong behind a cut", in_two(b"\xf0\x9f", b"\xff\x80")),
        ("half a character at the end of fragments", in_two(b"{}", b"\xe2\x82")),
        ("wrong in the first of fragments", in_two(b"\xff", b"{}")),
        ("in the reason of a close", close(1000, b"\xff\xfe")),
        ("half a character in the reason of a close", close(1000, b"\xe2\x82")),
    ];
    each(&ground, cases.map(|(what, bytes)| (what.to_owned(), bytes, NO_TEXT)).into()).await;

    // Characters may be cut where they are whole in the end.
    let mut session = ground.session(ALICE).await;
    let text = r#"{"op":"ping","id":7,"echo":"€🙂"}"#.as_bytes();
    let pieces: Vec<u8> = (0..text.len())
        .flat_map(|at| {
            frame(
                if at == 0 {
                    0x01
                } else if at + 1 == text.len() {
                    0x80
                } else {
                    0x00
                },
                &text[at..=at],
            )
        })
        .collect();
    session.send_raw(&pieces).await;
    assert_eq!(session.reply().await["echo"], "€🙂");
    drop(session);
    ground.over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn close_frames_that_the_standard_forbids_end_the_session_with_1002() {
    let ground = Ground::with("", 100).await;
    let mut cases = vec![("of one byte".to_owned(), frame(0x88, b"\x03"), BROKEN)];
    for code in [0, 1, 999, 1004, 1005, 1006, 1014, 1015, 1016, 2999, 5000, u16::MAX] {
        cases.push((format!("with code {code}"), close(code, b""), BROKEN));
    }
    cases.push(("with code 0 and a reason".to_owned(), close(0, b"bye"), BROKEN));
    each(&ground, cases).await;
    ground.over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_frame_is_answered_once_and_nothing_behind_it_is_done() {
    let ground = Ground::with("", 100).await;
    for code in [1000, 1001, 1003, 1007, 1013, 3000, 4999] {
        let mut session = ground.session(ALICE).await;
        let behind = [frame(0x81, PING), frame(0x89, b"?"), close(1000, b""), frame(0x83, b"")].concat();
        session.send_raw(&[close(code, b"bye"), behind].concat()).await;
        let (ended, messages) = session.ended().await;
        assert_eq!(ended, Ended { code: Some(code), reason: "bye".to_owned() });
        assert!(messages.is_empty(), "{messages:?}");
        let id = session.session.to_string();
        let logged = ground.logged("disconnect", |event| event.session.as_deref() == Some(&*id)).await;
        assert_eq!((&logged.fields["close_code"], &logged.fields["received"]), (&code.into(), &0.into()));
    }
    ground.over().await;
}

/// A session whose upgrade offered this extension, which must not be agreed on.
async fn offers(ground: &Ground, extension: &str) -> Client {
    use crate::harness::{Pki, UPGRADE, read_answer};
    let mut tls = ground.tls(&Pki::get().client(ALICE)).await;
    let request = format!("{UPGRADE}Sec-WebSocket-Extensions: {extension}\r\n\r\n");
    tokio::io::AsyncWriteExt::write_all(&mut tls, request.as_bytes()).await.unwrap();
    let answer = read_answer(&mut tls).await;
    assert_eq!((answer.status, answer.header("sec-websocket-extensions")), (101, None), "{answer:?}");
    Client::open(tls, answer.rest, None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn compression_is_never_agreed_on_and_a_compressed_frame_ends_the_session_with_1002() {
    let ground = Ground::with("", 100).await;
    for extension in [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits; server_no_context_takeover",
        "permessage-bzip2, x-webkit-deflate-frame, permessage-deflate",
    ] {
        let mut session = offers(&ground, extension).await;
        session.goes_on().await;
        // "{}" deflated.
        session.send_raw(&frame(0xc1, b"\xaa\xae\x05\x00")).await;
        ground.ends(&mut session, BROKEN).await;
    }
    ground.over().await;
}
