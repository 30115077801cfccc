//! Readers who do not read: they are cut off at their bound, are told why, and nobody else notices.

use std::collections::BTreeMap;

use sealfeed_audit::reader::entries_from;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;

use crate::harness::{Client, Ended, Pki, Server, UPGRADE, read_answer, soon};
use crate::market::trading;
use crate::oracle::Streams;

const SYMBOLS: [&str; 4] = ["SEAL", "FEED", "WAX", "INK"];
/// About half a second of the market below.
const QUEUE_BYTES: usize = 512 * 1024;

async fn subscribe(client: &mut Client) {
    let request = json!({"op": "subscribe", "id": 1, "channel": "book", "symbols": SYMBOLS, "depth": 0});
    client.send(request.to_string()).await;
}

/// A session whose kernel takes as little as it can on its behalf.
async fn connect_with_a_small_window(server: &Server) -> Client {
    let who = Pki::get().client("acme/carol");
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let tcp = soon("the connection", socket.connect(server.address)).await.unwrap();
    let mut tls = server.tls_over(tcp, &who).await;
    tls.write_all(format!("{UPGRADE}\r\n").as_bytes()).await.unwrap();
    let answer = read_answer(&mut tls).await;
    Client::open(tls, answer.rest, None).await
}

/// What a reader who reads everything has seen: bytes and time of publication, by symbol and sequence number.
type Published = BTreeMap<(String, u64), (usize, u64)>;

fn note(published: &mut Published, message: &Value) {
    if message["type"] == "delta" {
        let key = (message["symbol"].as_str().unwrap().to_owned(), message["seq"].as_u64().unwrap());
        let ts_out = message["ts_out"].as_str().unwrap().parse().unwrap();
        published.insert(key, (message.to_string().len(), ts_out));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_who_does_not_read_is_cut_off_at_its_bound_and_others_miss_nothing() {
    let server = Server::start(|config| {
        trading(config, &SYMBOLS, 3_000);
        config.limits.out_queue_bytes_max = QUEUE_BYTES;
    })
    .await;
    let mut brisk = server.connect(&Pki::get().client("acme/alice")).await;
    let mut slow = connect_with_a_small_window(&server).await;
    assert_eq!(slow.welcome["limits"]["queue_bytes_max"], QUEUE_BYTES);
    subscribe(&mut brisk).await;
    subscribe(&mut slow).await;

    let (mut streams, mut published) = (Streams::default(), Published::new());
    let cut = {
        let cut = server.logged("disconnect", |event| event.text("principal") == "acme/carol");
        tokio::pin!(cut);
        loop {
            tokio::select! {
                cut = &mut cut => break cut,
                message = brisk.message() => {
                    streams.take(&message);
                    note(&mut published, &message);
                }
            }
        }
    };
    assert_eq!(cut.fields["close_code"], 4001);
    let entry = entries_from(&server.log(), cut.seq).unwrap().next().unwrap().unwrap();
    let cut_at = entry.header.stamp.utc_ns;

    // What had left for it arrives without a gap, then the reason.
    let (ended, messages) = slow.ended().await;
    assert_eq!(ended, Ended { code: Some(4001), reason: "SF-SES-026".to_owned() });
    let mut of_slow = Streams::default();
    messages.iter().for_each(|message| of_slow.take(message));

    // The other one goes on, and has every message that was published till then.
    while SYMBOLS
        .iter()
        .any(|symbol| !published.iter().any(|((of, _), (_, at))| of == symbol && *at > cut_at))
    {
        let message = brisk.message().await;
        streams.take(&message);
        note(&mut published, &message);
    }
    let missed = published
        .iter()
        .filter(|((symbol, seq), (_, ts_out))| *seq > of_slow.book(symbol).chain.seq && *ts_out < cut_at);
    let missed_bytes: usize = missed.map(|(_, (bytes, _))| bytes).sum();
    println!("cut off {missed_bytes} bytes behind");
    // One full queue, one batch taken out of it to be written, and what came while the end was noticed.
    assert!((QUEUE_BYTES / 2..3 * QUEUE_BYTES).contains(&missed_bytes), "{missed_bytes} bytes were kept");
    server.finish().await;
}
