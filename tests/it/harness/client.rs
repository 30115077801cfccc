//! A client that can send anything: requests, signed requests, wrongly signed ones, and bytes that are no frames.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{SinkExt as _, StreamExt as _};
use sealfeed::clock::Clock;
use sealfeed_wire::signing::{self, OrderKey};
use sealfeed_wire::{Nonce, SessionId, SignedOp, UnixNanos};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};

use super::tls::read_answer;
use super::{Identity, Server, UPGRADE, soon};

/// A session.
pub(crate) struct Client {
    socket: WebSocketStream<TlsStream<TcpStream>>,
    /// The server's first message.
    pub(crate) welcome: Value,
    /// The exporter value that we computed, which `welcome` must repeat.
    pub(crate) session: SessionId,
    /// The address the server sees.
    pub(crate) address: String,
    /// Signs orders.
    pub(crate) order_key: Option<OrderKey>,
    /// Records that came on the way, the header of all of them first: market data of the sub-protocol of records.
    pub(crate) records: Vec<Vec<u8>>,
    /// In how many frames they came.
    pub(crate) record_frames: usize,
    next_id: u64,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Code of the close frame; `None` if there was none.
    pub(crate) code: Option<u16>,
    /// Its reason.
    pub(crate) reason: String,
}

/// What came from the server.
#[derive(Clone, Debug)]
pub(crate) enum Received {
    /// A message.
    Message(Value),
    /// The end.
    End(Ended),
}

/// A WebSocket frame, well-formed or not.
pub(crate) struct Frame<'a> {
    /// FIN, reserved bits and opcode.
    pub(crate) first: u8,
    /// Whether it is masked, as a client's must be.
    pub(crate) masked: bool,
    /// Payload before masking.
    pub(crate) payload: &'a [u8],
}

impl Frame<'_> {
    /// Its bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mask_bit = if self.masked { 0x80 } else { 0 };
        let mut bytes = vec![self.first];
        match u16::try_from(self.payload.len()) {
            Ok(length @ 0..126) => bytes.push(mask_bit | length.to_be_bytes()[1]),
            Ok(length) => {
                bytes.push(mask_bit | 126);
                bytes.extend(length.to_be_bytes());
            }
            Err(_) => {
                bytes.push(mask_bit | 127);
                bytes.extend((self.payload.len() as u64).to_be_bytes());
            }
        }
        let mask = if self.masked { [0x5a, 0xa5, 0x3c, 0xc3] } else { [0; 4] };
        if self.masked {
            bytes.extend(mask);
        }
        bytes.extend(self.payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }
}

impl Server {
    /// A session of `who`, after `welcome`.
    pub(crate) async fn connect(&self, who: &Identity) -> Client {
        self.connect_with(who, "").await
    }

    /// As [`Server::connect`], over a socket whose kernel takes as little as it can on its behalf.
    pub(crate) async fn connect_with_a_small_window(&self, who: &Identity) -> Client {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        let tcp = soon("the connection", socket.connect(self.address)).await.unwrap();
        let mut tls = self.tls_over(tcp, who).await;
        tls.write_all(format!("{UPGRADE}\r\n").as_bytes()).await.unwrap();
        let answer = read_answer(&mut tls).await;
        assert_eq!(answer.status, 101, "{answer:?}");
        Client::open(tls, answer.rest, who.order_key.clone()).await
    }

    /// As [`Server::connect`], with more header lines, each with its line end.
    pub(crate) async fn connect_with(&self, who: &Identity, headers: &str) -> Client {
        let mut tls = self.tls(who).await;
        tls.write_all(format!("{UPGRADE}{headers}\r\n").as_bytes()).await.unwrap();
        let answer = read_answer(&mut tls).await;
        assert_eq!(answer.status, 101, "{answer:?} {}", String::from_utf8_lossy(&answer.rest));
        Client::open(tls, answer.rest, who.order_key.clone()).await
    }
}

impl Client {
    /// Takes over a connection whose upgrade was accepted; reads `welcome`.
    pub(crate) async fn open(tls: TlsStream<TcpStream>, rest: Vec<u8>, order_key: Option<OrderKey>) -> Self {
        let (tcp, connection) = tls.get_ref();
        let exported =
            connection.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(&[])).unwrap();
        let (session, address) = (SessionId(exported), tcp.local_addr().unwrap().to_string());
        let socket = WebSocketStream::from_partially_read(tls, rest, Role::Client, None).await;
        let mut client = Self {
            socket,
            welcome: Value::Null,
            session,
            address,
            order_key,
            records: Vec::new(),
            record_frames: 0,
            next_id: 1,
        };
        client.welcome = client.message().await;
        assert_eq!(client.welcome["type"], "welcome", "{}", client.welcome);
        assert_eq!(client.welcome["session"], session.to_string());
        client
    }

    /// As [`Client::send`], to a server that may have closed the connection: what it has said is still to be read.
    pub(crate) async fn send_if_open(&mut self, text: String) {
        let _ = soon("the write", self.socket.send(Message::text(text))).await;
    }

    /// Sends a text message.
    pub(crate) async fn send(&mut self, text: impl Into<String>) {
        let text: String = text.into();
        soon("the write", self.socket.send(Message::text(text))).await.unwrap();
    }

    /// Sends any message of the WebSocket layer.
    pub(crate) async fn send_message(&mut self, message: Message) {
        soon("the write", self.socket.send(message)).await.unwrap();
    }

    /// Sends bytes past the WebSocket layer; the server may have gone already.
    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        let stream = self.socket.get_mut();
        // A server that has seen enough resets the connection, which its close code shows.
        let _ = soon("the write", async {
            stream.write_all(bytes).await?;
            stream.flush().await
        })
        .await;
    }

    /// Whatever comes next. Pings are answered on the way, and put nothing off.
    pub(crate) async fn receive(&mut self) -> Received {
        soon("a message", self.receive_some_time()).await
    }

    async fn receive_some_time(&mut self) -> Received {
        loop {
            let ended = |code, reason: &str| Received::End(Ended { code, reason: reason.to_owned() });
            return match self.socket.next().await {
                Some(Ok(Message::Text(text))) => Received::Message(
                    serde_json::from_str(text.as_str()).unwrap_or_else(|error| panic!("{error}: {text}")),
                ),
                Some(Ok(Message::Close(Some(frame)))) => ended(Some(frame.code.into()), &frame.reason),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(Message::Binary(frame))) => {
                    self.take_records(&frame);
                    continue;
                }
                Some(Ok(Message::Close(None))) | None => ended(None, ""),
                Some(Ok(other)) => panic!("the server sent {other:?}"),
                Some(Err(error)) => ended(None, &error.to_string()),
            };
        }
    }

    /// The next message.
    pub(crate) async fn message(&mut self) -> Value {
        match self.receive().await {
            Received::Message(message) => message,
            Received::End(ended) => panic!("the connection ended: {ended:?}"),
        }
    }

    /// The next message for which `is_it` holds; others are passed over.
    pub(crate) async fn message_where(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        let reading = async {
            loop {
                let message = self.message().await;
                if is_it(&message) {
                    break message;
                }
            }
        };
        soon("the message", reading).await
    }

    /// The next reply: what has an `id`, if only null. Market data is passed over.
    pub(crate) async fn reply(&mut self) -> Value {
        self.message_where(|message| message.get("id").is_some()).await
    }

    /// Sends `text` as it is and returns the next reply.
    pub(crate) async fn ask(&mut self, text: impl Into<String>) -> Value {
        self.send(text).await;
        self.reply().await
    }

    /// Gives `request` an id, sends it and returns its reply.
    pub(crate) async fn request(&mut self, mut request: Value) -> Value {
        let id = self.fresh_id();
        request["id"] = id.into();
        self.send(request.to_string()).await;
        self.message_where(|message| message.get("id") == Some(&id.into())).await
    }

    /// An id that no request of this client had.
    pub(crate) const fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// The code of an error reply.
    pub(crate) async fn error_of(&mut self, text: impl Into<String>) -> String {
        let reply = self.ask(text).await;
        assert_eq!(reply["type"], "error", "{reply}");
        reply["code"].as_str().unwrap().to_owned()
    }

    /// Signs now, with a fresh nonce, as the protocol wants it.
    pub(crate) fn sign(&self, op: SignedOp, body: &str) -> Value {
        self.sign_at(op, body, Clock::System.now(), fresh_nonce())
    }

    /// Signs with a time and a nonce of the test's choice. The body's text is parsed: keep its keys in the order in
    /// which a JSON object prints them, or send it with [`frame_text`].
    pub(crate) fn sign_at(&self, op: SignedOp, body: &str, ts: UnixNanos, nonce: Nonce) -> Value {
        let key = self.order_key.as_ref().expect("a client with an order key");
        let mac = signing::sign(key, &self.session, ts, nonce, op, body);
        json!({
            "op": op.as_str(),
            "ts": ts.to_string(),
            "nonce": nonce.to_string(),
            "mac": sealfeed_wire::hex::encode(&mac),
            "body": body,
        })
    }

    /// Signs a body now, sends it and returns the reply.
    pub(crate) async fn order(&mut self, op: SignedOp, body: &str) -> Value {
        let signed = self.sign(op, body);
        self.send_signed(&signed).await
    }

    /// Sends what [`Client::sign`] made, changed or not, and returns its reply.
    pub(crate) async fn send_signed(&mut self, signed: &Value) -> Value {
        let id = self.fresh_id();
        self.send(frame_text(id, signed)).await;
        self.message_where(|message| message.get("id") == Some(&id.into())).await
    }

    /// Reads to the end of the connection: how it ended, and what came before.
    pub(crate) async fn ended(&mut self) -> (Ended, Vec<Value>) {
        let mut messages = Vec::new();
        let reading = async {
            loop {
                match self.receive_some_time().await {
                    Received::Message(message) => messages.push(message),
                    Received::End(ended) => break ended,
                }
            }
        };
        let ended = soon("the end of the connection", reading).await;
        (ended, messages)
    }

    /// Goes without a word, so that nobody waits for it; returns the name of the session.
    pub(crate) fn leave(self) -> SessionId {
        self.session
    }

    /// Takes a binary frame apart, which holds the header or any number of whole records.
    fn take_records(&mut self, frame: &[u8]) {
        self.record_frames += 1;
        if frame.starts_with(b"DBN") {
            assert!(self.records.is_empty(), "one header, in front of everything");
            return self.records.push(frame.to_vec());
        }
        let mut rest = frame;
        while let Some(words) = rest.first() {
            let (record, behind) = rest.split_at(usize::from(*words) * 4);
            self.records.push(record.to_vec());
            rest = behind;
        }
    }

    /// Reads until so many records have come, the header counted; texts on the way are passed over.
    pub(crate) async fn records_until(&mut self, count: usize) {
        let reading = async {
            while self.records.len() < count {
                match self.socket.next().await {
                    Some(Ok(Message::Binary(frame))) => self.take_records(&frame),
                    Some(Ok(Message::Text(_) | Message::Ping(_) | Message::Pong(_))) => {}
                    other => panic!("instead of a record: {other:?}"),
                }
            }
        };
        soon("the records", reading).await;
    }

    /// Asserts that the session lives: a ping is answered.
    pub(crate) async fn goes_on(&mut self) {
        let pong = self.request(json!({"op": "ping"})).await;
        assert_eq!(pong["type"], "pong", "{pong}");
    }
}

/// The text of a signed request: its `body` stands in it byte for byte.
pub(crate) fn frame_text(id: u64, signed: &Value) -> String {
    let text = |field: &str| signed[field].as_str().unwrap().to_owned();
    format!(
        r#"{{"op":"{}","id":{id},"ts":"{}","nonce":"{}","mac":"{}","body":{}}}"#,
        text("op"),
        text("ts"),
        text("nonce"),
        text("mac"),
        text("body")
    )
}

/// A nonce that no request of this process had.
pub(crate) fn fresh_nonce() -> Nonce {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut nonce = [0xa5; 16];
    nonce[8..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    Nonce(nonce)
}
