//! The client that does nothing wrong: on a thread of its own, so that only the server can make it wait.

use std::net::{IpAddr, SocketAddr};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::ground::SYMBOLS;
use crate::harness::{Client, Pki};
use crate::oracle::Streams;
use crate::process::connect_from;

/// What it reads at least, so that it has seen something.
const MESSAGES_MIN: u64 = 20;

/// A client that reads.
pub(super) struct Healthy {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Seen>,
}

/// What it has seen.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) messages: u64,
    /// The longest time between two messages.
    pub(super) gap: Duration,
}

impl Healthy {
    /// Connects and subscribes; returns when its streams have begun.
    pub(super) async fn start(from: IpAddr, server: SocketAddr) -> Self {
        let (begun, has_begun) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut client = connect_from(from, server, &Pki::get().client("acme/carol")).await;
                let mut streams = Streams::default();
                subscribe(&mut client, &mut streams).await;
                begun.send(()).unwrap();
                read(client, streams, stopped).await
            })
        });
        has_begun.await.expect("the healthy client reads");
        Self { stop, thread }
    }

    /// Lets it read on until an answer of the server's has come to it; what it has seen. It has failed if there was a gap.
    pub(super) async fn stop(self) -> Seen {
        self.stop.send(()).expect("the healthy client reads still");
        tokio::task::spawn_blocking(|| self.thread.join())
            .await
            .unwrap()
            .expect("the healthy client is unharmed")
    }
}

async fn subscribe(client: &mut Client, streams: &mut Streams) {
    let request = json!({"op": "subscribe", "id": "s", "channel": "book", "symbols": SYMBOLS, "depth": 0, "on_slow": "disconnect"});
    client.send(request.to_string()).await;
    while !SYMBOLS.iter().all(|symbol| streams.has_book(symbol)) {
        streams.take(&client.message().await);
    }
}

async fn read(mut client: Client, mut streams: Streams, mut stopped: oneshot::Receiver<()>) -> Seen {
    let (mut seen, mut last) = (Seen { messages: 0, gap: Duration::ZERO }, Instant::now());
    let (mut is_stopping, mut has_asked) = (false, false);
    loop {
        // An attack may be over before the market has moved once.
        if is_stopping && !has_asked && seen.messages >= MESSAGES_MIN {
            has_asked = true;
            client.send(r#"{"op":"ping","id":"last"}"#).await;
        }
        let message = tokio::select! {
            message = client.message() => message,
            _ = &mut stopped, if !is_stopping => {
                is_stopping = true;
                continue;
            }
        };
        seen.gap = seen.gap.max(last.elapsed());
        last = Instant::now();
        if message["id"] == "last" {
            assert_eq!(message["type"], "pong", "{message}");
            return seen;
        }
        streams.take(&message);
        seen.messages += 1;
    }
}
