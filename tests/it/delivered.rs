//! What left for whom: the log's ranges of delivered messages are exactly what the client has read.

use serde_json::{Value, json};

use crate::harness::{Client, Logged, Pki, Received, Scene};

/// Sequence numbers of one channel, as they come.
#[derive(Default)]
struct Seen(Vec<u64>);

impl Seen {
    /// Notes a message of the channel; the present state is no message of the stream.
    fn note(&mut self, message: &Value, channel: &str) {
        let is_data = matches!(message["type"].as_str(), Some("trade" | "bbo" | "delta"));
        if is_data && message["channel"] == channel && !message["prev_seq"].is_null() {
            self.0.push(message["seq"].as_u64().unwrap());
        }
    }

    fn range(&self) -> (u64, u64) {
        (*self.0.first().unwrap(), *self.0.last().unwrap())
    }
}

async fn subscribe(client: &mut Client, channel: &str) {
    let request = json!({"op": "subscribe", "channel": channel, "symbols": ["SEAL"]});
    assert_eq!(client.request(request).await["type"], "subscribed");
}

/// Reads some messages of a channel, and then up to the reply to `last`.
async fn read(client: &mut Client, channel: &str, last: &str) -> Seen {
    let mut seen = Seen::default();
    while seen.0.len() < 5 {
        seen.note(&client.message().await, channel);
    }
    client.send(last).await;
    loop {
        let message = client.message().await;
        if message["type"] == "ok" {
            return seen;
        }
        seen.note(&message, channel);
    }
}

/// The only range of an entry: channel, symbol, first, last.
fn range(entry: &Logged) -> (String, String, (u64, u64)) {
    let ranges = entry.fields["ranges"].as_array().unwrap();
    assert_eq!(ranges.len(), 1, "{}", entry.fields);
    let text = |field: &str| ranges[0][field].as_str().unwrap().to_owned();
    let number = |field: &str| ranges[0][field].as_u64().unwrap();
    (text("channel"), text("symbol"), (number("first"), number("last")))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_exactly_which_messages_left_for_a_session() {
    let scene = Scene::start(|_| {}).await;
    let mut alice = scene.connect(&Pki::get().client("acme/alice")).await;
    let session = alice.session.to_string();

    subscribe(&mut alice, "book").await;
    let unsubscribe = r#"{"op":"unsubscribe","id":7,"channel":"book","symbols":["SEAL"]}"#;
    let book = read(&mut alice, "book", unsubscribe).await;
    let is_hers = |event: &Logged| event.session.as_deref() == Some(&*session);
    let first = scene.logged("delivered", is_hers).await;
    assert_eq!(range(&first), ("book".to_owned(), "SEAL".to_owned(), book.range()));
    assert_eq!(first.text("principal"), "acme/alice");

    subscribe(&mut alice, "bbo").await;
    let mut bbo = read(&mut alice, "bbo", r#"{"op":"logout","id":8}"#).await;
    loop {
        match alice.receive().await {
            Received::Message(message) => bbo.note(&message, "bbo"),
            Received::End(ended) => {
                assert_eq!(ended.code, Some(1000));
                break;
            }
        }
    }
    let end = scene.logged("disconnect", is_hers).await;
    let all: Vec<Logged> = scene.log_events("delivered").into_iter().filter(is_hers).collect();
    assert_eq!(all.len(), 2);
    assert_eq!(range(&all[1]), ("bbo".to_owned(), "SEAL".to_owned(), bbo.range()));
    assert!(all[1].seq < end.seq, "it is said before the session's end");
    drop(alice);
    scene.end().await;
}
