//! Market data as DBN records: what a connection got in binary frames is a file that the public decoders read.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use dbn::decode::{DbnMetadata as _, DecodeRecordRef as _};
use sealfeed::config::{DbnSourceConfig, SourceConfig, Speed};
use sealfeed_client::{
    ClientConfig, ClientIdentity, Event, FeedUrl, LocalBook, LocalOrders, Protocol, read_certificates,
    subscription,
};
use sealfeed_wire::{BookDecimals, Channel, Depth, Level, Side, Symbol};
use serde_json::{Value, json};

use crate::data::recorded;
use crate::harness::{Client, Pki, Server};
use crate::market::trading;

const ESH4: &str = "esh4-glbx-mdp3-20231225.mbo.dbn.zst";
pub(crate) const DBN: &str = "Sec-WebSocket-Protocol: sealfeed.v1.dbn\r\n";
const POLICY: &str = r#"
[[rule]]
name = "everything"
match = { firm = "acme" }
channels = ["trades", "bbo", "book", "mbo", "ohlcv-1s", "ohlcv-1m", "status", "definition"]
symbols = ["*"]
"#;

/// The Python with the public decoder, as `tests/python/venv.sh` makes it.
fn python() -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join(target).join("python/bin/python");
    if python.exists() {
        return Some(python);
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "run tests/python/venv.sh first");
    None
}

/// What the public Python decoder finds in the frames.
pub(crate) fn read_in_python(frames: &[Vec<u8>]) -> Option<Value> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&frames.concat()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/read_dbn.py");
    let output = Command::new(python()?).arg(script).arg(file.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// Subscribes and returns the reply's stream.
async fn subscribe(client: &mut Client, channel: &str, symbol: &str) -> Value {
    let reply = client.request(json!({"op": "subscribe", "channel": channel, "symbols": [symbol]})).await;
    assert_eq!(reply["type"], "subscribed", "{reply}");
    reply["symbols"][symbol].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_day_in_records_is_a_file_that_the_public_decoders_read() {
    let Some(path) = recorded(ESH4) else { return };
    let server = Server::with_policy(POLICY, |config| {
        let source =
            DbnSourceConfig { speed: Speed::Max, wait_for_subscribers: 5, ..DbnSourceConfig::new(path) };
        config.sources = vec![SourceConfig::Dbn(source)];
        // The file is replayed faster than anybody reads: nobody is to be thrown out for that here.
        config.limits.out_queue_bytes_max = 1 << 30;
    })
    .await;
    let mut alice = server.connect_with(&Pki::get().client("acme/alice"), DBN).await;
    for channel in ["definition", "book", "trades", "ohlcv-1s", "mbo"] {
        subscribe(&mut alice, channel, "ESH4").await;
    }
    let mut stale = 0;
    let mut bars_end = 0;
    while stale < 5 || bars_end < 1 {
        let message = alice.message().await;
        assert!(
            ["stale", "heartbeat", "interval_end"].contains(&message["type"].as_str().unwrap()),
            "{message}"
        );
        stale += usize::from(message["type"] == "stale");
        // The source has ended, so this is the end of the last bar.
        bars_end += usize::from(stale == 5 && message["type"] == "interval_end");
    }

    assert_eq!(&alice.records[0][..4], b"DBN\x03", "the header comes first");
    let file = alice.records.concat();
    let mut decoder = dbn::decode::DbnDecoder::new(&file[..]).unwrap();
    assert_eq!(decoder.metadata().dataset, "SEALFEED");
    let (mut records, mut traded) = (0, 0);
    while let Some(record) = decoder.decode_record_ref().unwrap() {
        records += 1;
        traded += record.get::<dbn::TradeMsg>().map_or(0, |trade| trade.size);
    }
    assert_eq!(traded, 9_892);
    println!("{records} records in {} frames, {} bytes", alice.record_frames, file.len());

    let found = read_in_python(&alice.records);
    if found.is_none() {
        println!("left out: the public Python decoder (run tests/python/venv.sh)");
    }
    if let Some(found) = found {
        println!("{found}");
        assert_eq!((&found["version"], &found["dataset"]), (&json!(3), &json!("SEALFEED")));
        assert_eq!((&found["symbols"], &found["definition"]), (&json!(["ESH4"]), &json!(["ESH4"])));
        assert_eq!((&found["kinds"]["TradeMsg"], &found["traded"]), (&json!(2_973), &json!(9_892)));
        assert_eq!((&found["bar_volume"], &found["bars_ok"]), (&json!(9_892), &json!(true)));
        for (action, count) in [("A", 29_216), ("C", 17_999), ("M", 12_233), ("F", 6_371), ("T", 2_973)] {
            assert_eq!(found["actions"][action], count, "{action}");
        }
        let unit = 1_000_000_000_i64;
        let best = |side: &str| (found[side][0][0].as_i64().unwrap(), found[side][0][1].as_u64().unwrap());
        assert_eq!(best("bids"), (4_810 * unit, 22));
        assert_eq!(best("asks"), (4_810 * unit + unit / 4, 28));
        assert_eq!(found["book_sequences_ok"], true);
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_and_texts_hold_the_same_stream() {
    let server = Server::with_policy(POLICY, |config| trading(config, &["SEAL"], 500)).await;
    let mut texts = server.connect(&Pki::get().client("acme/alice")).await;
    let mut records = server.connect_with(&Pki::get().client("acme/carol"), DBN).await;
    subscribe(&mut texts, "trades", "SEAL").await;
    let start = subscribe(&mut records, "trades", "SEAL").await["seq"].as_u64().unwrap();
    let mut told = Vec::new();
    while told.len() < 5 {
        let trade = texts.message_where(|message| message["type"] == "trade").await;
        if trade["seq"].as_u64().unwrap() > start {
            told.push((trade["price"].clone(), trade["qty"].clone()));
        }
    }
    // Whatever was released before the answer has come before it.
    while records.records.len() < 2 + told.len() {
        records.goes_on().await;
    }
    let file = records.records.concat();
    let mut decoder = dbn::decode::DbnDecoder::new(&file[..]).unwrap();
    let mut got = Vec::new();
    while let Some(record) = decoder.decode_record_ref().unwrap() {
        if let Some(trade) = record.get::<dbn::TradeMsg>() {
            assert_eq!(u64::from(trade.sequence), start + 1 + got.len() as u64);
            got.push((
                json!(format!("{}.{:02}", trade.price / 1_000_000_000, trade.price / 10_000_000 % 100)),
                json!(trade.size.to_string()),
            ));
        }
    }
    assert_eq!(got[..told.len()], told);
    let connects = server.log_events("connect");
    let protocols: Vec<_> = connects.iter().map(|event| event.text("protocol")).collect();
    assert_eq!(protocols, ["sealfeed.v1.json", "sealfeed.v1.dbn"]);
    drop((texts, records));
    server.finish().await;
}

/// Both sides of a book, by its positions in the stream.
type Books = BTreeMap<u64, (Vec<Level>, Vec<Level>)>;

/// Reads with the Rust client until it has had `count` messages of the book, and returns the book by its positions, and the one that
/// its orders make.
async fn books_of(server: &Server, protocol: Protocol, count: usize) -> (Books, Books) {
    let folder = Pki::get().folder.join("clients/acme/alice");
    let file = |name: &str| folder.join(name);
    let roots = read_certificates(&Pki::get().folder.join("ca/servers.pem")).unwrap();
    let identity = ClientIdentity::load(&file("client.pem"), &file("client.key")).unwrap();
    let url = FeedUrl::parse(&format!("wss://localhost:{}/v1/feed", server.address.port())).unwrap();
    let mut config = ClientConfig::new(url, roots, Some(identity));
    config.protocol = protocol;
    let client = sealfeed_client::Client::connect_with(&config).await.unwrap();
    let symbol = Symbol::new("SEAL").unwrap();
    for channel in
        [Channel::Trades, Channel::Mbo, Channel::Bbo, Channel::Definition, Channel::Status, Channel::Ohlcv1s]
    {
        client.subscribe(subscription(channel, [symbol])).await.unwrap();
    }
    let granted = client.subscribe(subscription(Channel::Book, [symbol])).await.unwrap();
    let stream = granted.symbols.values().next().unwrap();
    let decimals =
        BookDecimals { price: stream.price_decimals.unwrap(), quantity: stream.qty_decimals.unwrap() };
    let mut book = LocalBook::new(symbol, Depth::Ten, decimals);
    let mut orders = LocalOrders::new(symbol);
    let (mut books, mut of_orders, mut channels) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
    while books.len() < count || of_orders.len() < count || channels.len() < 7 {
        match client.next_event().await.unwrap() {
            Event::Market(market) => {
                channels.insert(market.header().channel);
                if let Some(update) = market.book_update() {
                    book.apply(update).unwrap();
                    let view = book.view().unwrap();
                    books.insert(view.header.seq.get(), (view.bids.to_vec(), view.asks.to_vec()));
                }
                if let Some(update) = market.orders_update() {
                    orders.apply(update).unwrap();
                    if let Ok(view) = orders.view() {
                        let levels = (view.levels(Side::Buy), view.levels(Side::Sell));
                        of_orders.insert(view.header.seq.get(), levels);
                    }
                }
            }
            Event::Heartbeat(_) | Event::IntervalEnd(_) => {}
            other => panic!("nothing is lost and nothing is unknown: {other:?}"),
        }
    }
    client.close().await;
    (books, of_orders)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_client_keeps_the_same_book_and_the_same_orders_by_both_protocols() {
    let server = Server::with_policy(POLICY, |config| trading(config, &["SEAL"], 300)).await;
    let (texts, records) =
        tokio::join!(books_of(&server, Protocol::Json, 400), books_of(&server, Protocol::Dbn, 400));
    for (texts, records) in [(texts.0, records.0), (texts.1, records.1)] {
        let common: Vec<_> = texts.keys().filter(|seq| records.contains_key(seq)).collect();
        assert!(common.len() > 100, "{} positions in common", common.len());
        for seq in common {
            assert_eq!(texts[seq], records[seq], "{seq}");
        }
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_a_record_is_refused_and_not_rounded() {
    let server = Server::with_policy(POLICY, |config| trading(config, &["SEAL"], 1)).await;
    let mut alice = server.connect_with(&Pki::get().client("acme/alice"), DBN).await;
    for depth in [50, 0] {
        let request = json!({"op": "subscribe", "channel": "book", "symbols": ["SEAL"], "depth": depth});
        let reply = alice.request(request).await;
        assert_eq!(reply["refused"]["SEAL"]["code"], "SF-SUB-021", "{reply}");
    }
    assert!(alice.records.is_empty(), "no header without a stream");
    drop(alice);
    server.finish().await;
}
