//! Readers who do not read: they are cut off at their bound, are told why, and nobody else notices.

use std::collections::BTreeMap;

use sealfeed_audit::reader::entries_from;
use serde_json::{Value, json};

use crate::harness::{Client, Ended, Pki, Server};
use crate::market::trading;
use crate::oracle::Streams;

const SYMBOLS: [&str; 4] = ["SEAL", "FEED", "WAX", "INK"];
/// More than a second of the market below: a reader on a busy machine has time to come to its turn.
const QUEUE_BYTES: usize = 512 * 1024;
const UNSENT_BYTES: u32 = 128 * 1024;
const MESSAGES_PER_SECOND: u32 = 1_000;

async fn subscribe(client: &mut Client) {
    subscribe_as(client, "disconnect").await;
}

async fn subscribe_as(client: &mut Client, on_slow: &str) {
    let request = json!({
        "op": "subscribe", "id": 1, "channel": "book", "symbols": SYMBOLS, "depth": 0, "on_slow": on_slow,
    });
    client.send(request.to_string()).await;
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

/// Reads everything until something else has happened, which is returned.
async fn read_until<T>(
    client: &mut Client,
    streams: &mut Streams,
    published: &mut Published,
    happened: impl Future<Output = T>,
) -> T {
    tokio::pin!(happened);
    loop {
        tokio::select! {
            what = &mut happened => break what,
            message = client.message() => {
                streams.take(&message);
                note(published, &message);
            }
        }
    }
}

/// Reads on until every symbol has a message published after `utc_ns`: the reader may be behind the log.
async fn read_past(client: &mut Client, streams: &mut Streams, published: &mut Published, utc_ns: u64) {
    while SYMBOLS
        .iter()
        .any(|symbol| !published.iter().any(|((of, _), (_, at))| of == symbol && *at > utc_ns))
    {
        let message = client.message().await;
        streams.take(&message);
        note(published, &message);
    }
}

/// Bytes that were published before a time.
fn published_before(published: &Published, utc_ns: u64) -> usize {
    published.values().filter(|(_, at)| *at < utc_ns).map(|(bytes, _)| bytes).sum()
}

/// When an entry of the log was written, in nanoseconds of UTC.
fn recorded_at(server: &Server, seq: u64) -> u64 {
    let entry = entries_from(&server.log(), seq).unwrap().next().unwrap().unwrap();
    entry.header.stamp.utc_ns
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_who_does_not_read_is_cut_off_at_its_bound_and_others_miss_nothing() {
    let server = Server::start(|config| {
        trading(config, &SYMBOLS, MESSAGES_PER_SECOND);
        config.limits.out_queue_bytes_max = QUEUE_BYTES;
        config.limits.socket_unsent_bytes_max = UNSENT_BYTES;
    })
    .await;
    let mut brisk = server.connect(&Pki::get().client("acme/alice")).await;
    let mut slow = server.connect_with_a_small_window(&Pki::get().client("acme/carol")).await;
    assert_eq!(slow.welcome["limits"]["queue_bytes_max"], QUEUE_BYTES);
    subscribe(&mut brisk).await;
    subscribe(&mut slow).await;

    let (mut streams, mut published) = (Streams::default(), Published::new());
    let cut = read_until(
        &mut brisk,
        &mut streams,
        &mut published,
        server.logged("disconnect", |event| event.text("principal") == "acme/carol"),
    )
    .await;
    assert_eq!(cut.fields["close_code"], 4001);
    let cut_at = recorded_at(&server, cut.seq);

    // What had left for it arrives without a gap, then the reason.
    let (ended, messages) = slow.ended().await;
    assert_eq!(ended, Ended { code: Some(4001), reason: "SF-SES-026".to_owned() });
    let mut of_slow = Streams::default();
    messages.iter().for_each(|message| of_slow.take(message));

    // The other one goes on, and has every message that was published till then.
    read_past(&mut brisk, &mut streams, &mut published, cut_at).await;
    let missed = published
        .iter()
        .filter(|((symbol, seq), (_, ts_out))| *seq > of_slow.book(symbol).chain.seq && *ts_out < cut_at);
    let missed_bytes: usize = missed.map(|(_, (bytes, _))| bytes).sum();
    println!("cut off {missed_bytes} bytes behind");
    // One full queue, one batch taken out of it to be written, and what came while the end was noticed.
    assert!((QUEUE_BYTES / 2..3 * QUEUE_BYTES).contains(&missed_bytes), "{missed_bytes} bytes were kept");
    server.finish().await;
}

/// One book as a reader sees it who may be left behind: where its chain stands.
#[derive(Default)]
struct Chain {
    seq: u64,
    /// End of what was skipped, until the state that makes up for it.
    skipped_to: Option<u64>,
    skips: u64,
    deltas_after: u64,
}

impl Chain {
    fn take(&mut self, message: &Value) {
        let number = |field: &str| message[field].as_u64();
        match message["type"].as_str().unwrap() {
            "delta" => {
                assert_eq!(self.skipped_to, None, "the state comes before anything else: {message}");
                assert_eq!((number("prev_seq"), number("seq")), (Some(self.seq), Some(self.seq + 1)));
                self.deltas_after += u64::from(self.skips > 0);
            }
            "skipped" => {
                assert_eq!(
                    number("from"),
                    Some(self.seq + 1),
                    "it begins where the reader stands: {message}"
                );
                self.skipped_to = number("to");
                self.skips += 1;
                return;
            }
            "snapshot" => {
                assert!(message["prev_seq"].is_null());
                assert!(self.skipped_to.take().is_none_or(|to| number("seq") == Some(to)), "{message}");
            }
            _ => return,
        }
        self.seq = number("seq").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_of_a_book_who_chose_so_is_told_what_was_left_out_and_goes_on() {
    let server = Server::start(|config| {
        trading(config, &SYMBOLS, MESSAGES_PER_SECOND);
        config.limits.out_queue_bytes_max = QUEUE_BYTES;
        config.limits.socket_unsent_bytes_max = UNSENT_BYTES;
    })
    .await;
    let mut brisk = server.connect(&Pki::get().client("acme/alice")).await;
    let mut slow = server.connect_with_a_small_window(&Pki::get().client("acme/carol")).await;
    subscribe(&mut brisk).await;
    subscribe_as(&mut slow, "conflate").await;
    // What left for the slow one before it was left behind is recorded at that moment.
    let (mut streams, mut published) = (Streams::default(), Published::new());
    let left_behind = read_until(
        &mut brisk,
        &mut streams,
        &mut published,
        server.logged("delivered", |event| event.text("principal") == "acme/carol"),
    )
    .await;
    let left_behind_at = recorded_at(&server, left_behind.seq);
    read_past(&mut brisk, &mut streams, &mut published, left_behind_at).await;
    let bytes = published_before(&published, left_behind_at);
    assert!(bytes > QUEUE_BYTES / 2, "{bytes} bytes were published before it was left behind");
    let mut chains: BTreeMap<String, Chain> = BTreeMap::new();
    while chains.len() < SYMBOLS.len()
        || chains.values().any(|chain| chain.skips == 0 || chain.deltas_after < 3)
    {
        tokio::select! {
            message = slow.message() => {
                if let Some(symbol) = message["symbol"].as_str() {
                    chains.entry(symbol.to_owned()).or_default().take(&message);
                }
            }
            // The other one misses nothing meanwhile.
            message = brisk.message() => streams.take(&message),
        }
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_who_takes_nothing_is_cut_off_when_the_oldest_has_waited_too_long_however_little_it_is() {
    let server = Server::start(|config| {
        trading(config, &SYMBOLS, MESSAGES_PER_SECOND);
        config.limits.out_queue_bytes_max = 1 << 30;
        config.limits.socket_unsent_bytes_max = UNSENT_BYTES;
        config.limits.out_bytes_max = 1 << 30;
        config.limits.out_queue_age_max_ms = 500;
    })
    .await;
    let mut brisk = server.connect(&Pki::get().client("acme/alice")).await;
    let mut slow = server.connect_with_a_small_window(&Pki::get().client("acme/carol")).await;
    subscribe(&mut brisk).await;
    subscribe(&mut slow).await;
    let (mut streams, mut published) = (Streams::default(), Published::new());
    let cut = server.logged("disconnect", |event| event.text("principal") == "acme/carol");
    let cut = read_until(&mut brisk, &mut streams, &mut published, cut).await;
    assert_eq!(cut.fields["close_code"], 4001);
    drop(slow);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_all_readers_together_is_bounded_and_the_slowest_give_way() {
    let server = Server::start(|config| {
        trading(config, &SYMBOLS, MESSAGES_PER_SECOND);
        config.limits.out_queue_bytes_max = QUEUE_BYTES;
        config.limits.socket_unsent_bytes_max = UNSENT_BYTES;
        // Less than one reader may lag behind, in each of two shards.
        config.limits.out_bytes_max = QUEUE_BYTES;
    })
    .await;
    let mut brisk = server.connect(&Pki::get().client("acme/alice")).await;
    let mut slow = server.connect_with_a_small_window(&Pki::get().client("acme/carol")).await;
    subscribe(&mut brisk).await;
    subscribe_as(&mut slow, "conflate").await;
    let (mut streams, mut published) = (Streams::default(), Published::new());
    let left_behind = server.logged("delivered", |event| event.text("principal") == "acme/carol");
    let left_behind = read_until(&mut brisk, &mut streams, &mut published, left_behind).await;
    let left_behind_at = recorded_at(&server, left_behind.seq);
    read_past(&mut brisk, &mut streams, &mut published, left_behind_at).await;
    let bytes = published_before(&published, left_behind_at);
    assert!(bytes < QUEUE_BYTES, "its own bound came first, behind {bytes} bytes and what the kernel took");
    // It is told, and goes on; its session has not ended.
    let skipped = async {
        loop {
            if slow.message().await["type"] == "skipped" {
                break;
            }
        }
    };
    read_until(&mut brisk, &mut streams, &mut published, skipped).await;
    server.finish().await;
}
