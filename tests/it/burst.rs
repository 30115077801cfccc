//! Control frames and key updates in the middle of a burst: an independent client (tokio-rustls, tungstenite) reads the same
//! messages as one who sends nothing, whole and in their order.

use std::collections::BTreeMap;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::harness::{Client, Pki, Server, UPGRADE, read_answer, soon};
use crate::market::trading;
use crate::oracle::Streams;

const SYMBOLS: [&str; 4] = ["SEAL", "FEED", "WAX", "INK"];
const PINGS: u32 = 300;

type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// Messages of streams, by symbol and number.
type Seen = BTreeMap<(String, u64), Value>;

fn request() -> String {
    let symbols = SYMBOLS;
    json!({"op": "subscribe", "id": 1, "channel": "book", "symbols": symbols, "depth": 0, "on_slow": "disconnect"})
        .to_string()
}

fn note(seen: &mut Seen, streams: &mut Streams, message: Value) {
    streams.take(&message);
    if message["type"] == "delta" {
        let key = (message["symbol"].as_str().unwrap().to_owned(), message["seq"].as_u64().unwrap());
        assert!(seen.insert(key, message).is_none(), "it comes once");
    }
}

/// A session over a socket that takes little at a time, and reads little at a time: records and frames come in pieces.
async fn connect_in_pieces(server: &Server) -> Socket {
    let who = Pki::get().client("acme/bob");
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8_192).unwrap();
    let tcp = soon("the connection", socket.connect(server.address)).await.unwrap();
    let mut tls = server.tls_over(tcp, &who).await;
    tls.write_all(format!("{UPGRADE}\r\n").as_bytes()).await.unwrap();
    let rest = read_answer(&mut tls).await.rest;
    let config = WebSocketConfig::default().read_buffer_size(97);
    WebSocketStream::from_partially_read(tls, rest, Role::Client, Some(config)).await
}

async fn next(socket: &mut Socket) -> Message {
    soon("a message", socket.next()).await.unwrap().unwrap()
}

/// Reads on until everything in `seen` was seen by the other one, too, and is the same.
async fn compare(brisk: &mut Client, streams: &mut Streams, all: &mut Seen, seen: &Seen) {
    while let Some(missing) = seen.keys().find(|key| !all.contains_key(*key)) {
        let missing = missing.clone();
        while !all.contains_key(&missing) {
            note(all, streams, brisk.message().await);
        }
    }
    for (key, message) in seen {
        assert_eq!(all.get(key), Some(message));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_key_updates_and_a_close_in_the_middle_of_a_burst_split_no_message_and_lose_none() {
    let change = |config: &mut sealfeed::config::Config| {
        trading(config, &SYMBOLS, 1_000);
        config.limits.control_frames_per_second = 10_000;
    };
    let server = Server::start(change).await;
    let mut brisk = server.connect(&Pki::get().client("acme/alice")).await;
    brisk.send(request()).await;
    let (mut all, mut all_streams) = (Seen::new(), Streams::default());
    // It has begun before the other one comes.
    while all.is_empty() {
        note(&mut all, &mut all_streams, brisk.message().await);
    }
    let mut socket = connect_in_pieces(&server).await;
    socket.send(Message::text(request())).await.unwrap();
    let (mut seen, mut streams) = (Seen::new(), Streams::default());
    let (mut asked, mut answered) = (0_u32, 0_u32);
    while answered < PINGS {
        // Some between any two messages, on average.
        if asked < PINGS && asked < answered + 5 && asked as usize <= 2 * seen.len() {
            socket.send(Message::Ping(asked.to_be_bytes().to_vec().into())).await.unwrap();
            if asked % 10 == 0 {
                // Ours are renewed, and with the next record we ask for the server's.
                socket.get_mut().get_mut().1.refresh_traffic_keys().unwrap();
            }
            asked += 1;
        }
        tokio::select! {
            message = next(&mut socket) => match message {
                Message::Text(text) => {
                    let message: Value = serde_json::from_str(&text).unwrap();
                    if message["type"] != "welcome" {
                        note(&mut seen, &mut streams, message);
                    }
                }
                Message::Pong(payload) => {
                    assert_eq!(payload[..], answered.to_be_bytes(), "pongs come in the order of their pings");
                    answered += 1;
                }
                Message::Ping(_) => {}
                other => panic!("the server sent {other:?}"),
            },
            message = brisk.message() => note(&mut all, &mut all_streams, message),
        }
    }
    assert!(seen.len() >= PINGS as usize / 2 - 5, "only {} messages came meanwhile", seen.len());
    let goodbye = CloseFrame { code: 1000.into(), reason: "".into() };
    socket.send(Message::Close(Some(goodbye))).await.unwrap();
    // Whole messages, and then the answer.
    let code = loop {
        match next(&mut socket).await {
            Message::Text(text) => note(&mut seen, &mut streams, serde_json::from_str(&text).unwrap()),
            Message::Close(frame) => break frame.map(|frame| u16::from(frame.code)),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("the server sent {other:?}"),
        }
    };
    assert_eq!(code, Some(1000));
    compare(&mut brisk, &mut all_streams, &mut all, &seen).await;
    server.finish().await;
}
