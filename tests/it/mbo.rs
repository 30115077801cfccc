//! Market by order from its beginning: all orders that rest, then every record, without a hole or an overlap.

use std::io::Write as _;
use std::num::NonZeroU64;

use dbn::encode::EncodeRecord as _;
use sealfeed::clock::Clock;
use sealfeed::config::{DbnSourceConfig, SourceConfig, Speed};
use sealfeed::types::UnixNanos;
use sealfeed_client::{LocalOrders, OrdersUpdate};
use sealfeed_wire::market::MboOrder;
use sealfeed_wire::{Decimals, MarketMessage, ServerMessage, Side, SignedOp, Symbol};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::data::recorded;
use crate::harness::{Client, Pki, Server};
use crate::market::{QUIET, limit, quiet, settle, trading};
use crate::oracle::Streams;
use crate::records::{DBN, read_in_python};

const ESH4: &str = "esh4-glbx-mdp3-20231225.mbo.dbn.zst";
const POLICY: &str = r#"
[[rule]]
name = "everything"
match = { firm = "acme" }
channels = ["trades", "book", "mbo"]
symbols = ["*"]
[rule.orders]
symbols = ["*"]
quantity_max = "1000"
[rule.limits]
messages_per_second = 2000
"#;

/// What a reader of one instrument holds.
struct Reader {
    orders: LocalOrders,
    parts: u64,
    skipped: u64,
    /// Where the stream stood in `subscribed`.
    from: u64,
}

impl Reader {
    /// Subscribes, and takes what comes until the resting orders are there.
    async fn join(client: &mut Client, symbol: &str, more: Value) -> Self {
        let mut request = json!({"op": "subscribe", "channel": "mbo", "symbols": [symbol]});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let reply = client.request(request).await;
        let stream = &reply["symbols"][symbol];
        let from = stream["seq"].as_u64().unwrap_or_else(|| panic!("{reply}"));
        let orders = LocalOrders::new(Symbol::new(symbol).unwrap());
        let mut reader = Self { orders, parts: 0, skipped: 0, from };
        while reader.orders.view().is_err() {
            reader.take(&client.message().await);
        }
        assert!(reader.parts > 0);
        reader
    }

    /// Takes a message of the connection.
    fn take(&mut self, message: &Value) {
        let text = message.to_string();
        let ServerMessage::Market(market) = ServerMessage::decode(&text).unwrap() else { return };
        let update = match &market {
            MarketMessage::Mbo(record) => OrdersUpdate::Record(record),
            MarketMessage::MboSnapshot(part) => {
                if self.parts == 0 {
                    assert_eq!(part.header.seq.get(), self.from, "{message}");
                }
                self.parts += 1;
                OrdersUpdate::Snapshot(part)
            }
            MarketMessage::Skipped(gap) => {
                self.orders.interrupt(sealfeed_client::BookError::Skipped { to: gap.to });
                self.skipped += 1;
                return;
            }
            MarketMessage::Gap(_) => panic!("orders begin anew, and nothing is said to be lost: {message}"),
            _ => return,
        };
        self.orders.apply(update).unwrap_or_else(|error| panic!("{error}: {message}"));
    }

    fn seq(&self) -> u64 {
        self.orders.view().unwrap().header.seq.get()
    }

    fn held(&self) -> [Vec<MboOrder>; 2] {
        let view = self.orders.view().unwrap();
        [Side::Buy, Side::Sell].map(|side| view.orders(side).collect())
    }
}

/// Reads until the source of the stream has ended.
async fn read_to_the_end(client: &mut Client, reader: &mut Reader) {
    loop {
        let message = client.message().await;
        if message["type"] == "stale" && message["channel"] == "mbo" {
            return;
        }
        reader.take(&message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_joins_while_a_recorded_day_is_replayed_ends_with_the_orders_of_who_was_there_before() {
    let Some(path) = recorded(ESH4) else { return };
    let server = Server::with_policy(POLICY, |config| {
        let source = DbnSourceConfig {
            speed: Speed::Times(20_000),
            wait_for_subscribers: 1,
            ..DbnSourceConfig::new(path)
        };
        config.sources = vec![SourceConfig::Dbn(source)];
        // Several readers on few processors: nobody is to be thrown out for that here.
        config.limits.out_queue_bytes_max = 1 << 30;
        config.limits.out_bytes_max = 1 << 30;
        config.limits.out_queue_age_max_ms = 600_000;
    })
    .await;
    let mut alice = server.connect(&Pki::get().client("acme/alice")).await;
    let mut first = Reader::join(&mut alice, "ESH4", json!({})).await;
    while first.seq() < 1_000 {
        first.take(&alice.message().await);
    }
    let mut bob = server.connect(&Pki::get().client("acme/bob")).await;
    let mut second = Reader::join(&mut bob, "ESH4", json!({})).await;
    let mut carol = server.connect_with(&Pki::get().client("acme/carol"), DBN).await;
    let request = json!({"op": "subscribe", "channel": "mbo", "symbols": ["ESH4"]});
    let granted = carol.request(request).await;
    let from = granted["symbols"]["ESH4"]["seq"].as_u64().unwrap();

    read_to_the_end(&mut alice, &mut first).await;
    read_to_the_end(&mut bob, &mut second).await;
    carol.message_where(|message| message["type"] == "stale").await;
    assert_eq!(second.held(), first.held());
    let all = first.seq();
    assert!(second.from >= 1_000 && from >= 1_000, "they came later");
    println!("joined behind {} and {from} of {all} records", second.from);

    let (records, frames) = (carol.records.len(), carol.record_frames);
    let bytes: usize = carol.records.iter().map(Vec::len).sum();
    println!("{records} records of {bytes} bytes in {frames} frames");
    assert!(frames < records, "those of the snapshot at least share frames");
    let found = read_in_python(&carol.records);
    if found.is_none() {
        println!("left out: the public Python decoder (run tests/python/venv.sh)");
    }
    if let Some(found) = found {
        let view = first.orders.view().unwrap();
        let held: usize = first.held().iter().map(Vec::len).sum();
        assert_eq!(
            (&found["orders"]["count"], &found["orders"]["clears_first"]),
            (&json!(held), &json!(true))
        );
        assert_eq!(found["orders"]["last_sequence"], all);
        assert_eq!(found["orders"]["snapshot_sequence"], from);
        for (name, side) in [("bids", Side::Buy), ("asks", Side::Sell)] {
            let queue = view.orders(side).map(|order| json!([order.order_id, order.price.nanos()]));
            assert_eq!(found["orders"][name], Value::Array(queue.collect()), "{name}");
        }
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_orders_of_a_trading_market_add_up_to_its_book_state_by_state() {
    let server = Server::with_policy(POLICY, |config| trading(config, &["SEAL"], 300)).await;
    let mut alice = server.connect(&Pki::get().client("acme/alice")).await;
    let book = json!({"op": "subscribe", "id": 1, "channel": "book", "symbols": ["SEAL"], "depth": 0});
    alice.send(book.to_string()).await;
    let reply = alice.message_where(|message| message["type"] == "subscribed").await;
    let decimals = |field: &str| {
        let number = reply["symbols"]["SEAL"][field].as_u64().unwrap();
        Decimals::new(u8::try_from(number).unwrap()).unwrap()
    };
    let (price_decimals, quantity_decimals) = (decimals("price_decimals"), decimals("qty_decimals"));
    let mut streams = Streams::default();
    streams.take(&reply);
    while !streams.has_book("SEAL") {
        streams.take(&alice.message().await);
    }
    // Every state of the book as its channel has it, and as the orders have it.
    let plain = |lines: &[crate::oracle::Line]| {
        lines.iter().map(|line| (line.price.clone(), line.quantity.clone(), line.orders)).collect::<Vec<_>>()
    };
    let of_book = |streams: &Streams| {
        let (bids, asks) = streams.book("SEAL").levels();
        (plain(&bids), plain(&asks))
    };
    let of_orders = |reader: &Reader| {
        let view = reader.orders.view().unwrap();
        let side = |side| {
            view.levels(side)
                .iter()
                .map(|level| {
                    let text = |write: &dyn Fn(&mut Vec<u8>)| {
                        let mut out = Vec::new();
                        write(&mut out);
                        String::from_utf8(out).unwrap()
                    };
                    let price = text(&|out| level.price.write(out, price_decimals));
                    let quantity = text(&|out| level.quantity.write(out, quantity_decimals));
                    (price, quantity, u64::from(level.orders))
                })
                .collect::<Vec<_>>()
        };
        (side(Side::Buy), side(Side::Sell))
    };
    alice.send(json!({"op": "subscribe", "id": 2, "channel": "mbo", "symbols": ["SEAL"]}).to_string()).await;
    let orders = LocalOrders::new(Symbol::new("SEAL").unwrap());
    let mut reader = Reader { orders, parts: 0, skipped: 0, from: 0 };
    let (mut books, mut added) = (vec![of_book(&streams)], Vec::new());
    while books.len() < 300 || added.len() < 300 {
        let message = alice.message().await;
        if message["type"] == "subscribed" {
            reader.from = message["symbols"]["SEAL"]["seq"].as_u64().unwrap();
        }
        if message["channel"] == "mbo" {
            reader.take(&message);
            if reader.orders.view().is_ok_and(|view| view.is_whole) {
                added.push(of_orders(&reader));
                added.dedup();
            }
        } else if message["channel"] == "book" && message["type"] != "subscribed" {
            streams.take(&message);
            books.push(of_book(&streams));
            books.dedup();
        }
    }
    let common = 200;
    let fits = (0..books.len() - common).any(|offset| books[offset..offset + common] == added[..common]);
    assert!(fits, "the states of the orders are not those of the book");
    drop(alice);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_stand_in_their_places_of_the_queue() {
    let server = Server::with_policy(POLICY, quiet).await;
    let mut bob = server.connect(&Pki::get().client("acme/bob")).await;
    settle(&mut bob, &mut Streams::default()).await;
    let mut names = Vec::new();
    for name in ["one", "two", "three"] {
        let answer = bob.order(SignedOp::OrderNew, &limit(name, "buy", "1.00", "3", "day").to_string()).await;
        names.push(answer["order_id"].as_str().unwrap().parse::<u64>().unwrap());
    }
    // Less keeps the place, more gives it up.
    for (name, of, quantity) in [("less", "two", "1"), ("more", "one", "5")] {
        let body = json!({"cl_ord_id": name, "orig_cl_ord_id": of, "qty": quantity});
        let answer = bob.order(SignedOp::OrderReplace, &body.to_string()).await;
        assert_eq!(answer["status"], "accepted", "{answer}");
    }
    let mut alice = server.connect(&Pki::get().client("acme/alice")).await;
    let reader = Reader::join(&mut alice, QUIET, json!({})).await;
    let [bids, _] = reader.held();
    let units = |order: &MboOrder| (order.order_id, order.quantity.nanos() / 1_000_000_000);
    let last: Vec<_> = bids[bids.len() - 3..].iter().map(units).collect();
    assert_eq!(last, [(names[1], 1), (names[2], 3), (names[0], 5)]);
    drop((alice, bob));
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resumption_that_cannot_be_begins_with_the_orders_and_one_that_can_goes_on_without() {
    let server = Server::with_policy(POLICY, |config| trading(config, &["SEAL"], 100)).await;
    let mut alice = server.connect(&Pki::get().client("acme/alice")).await;
    let over = json!({"resume": {"SEAL": {"epoch": "00000000000000ff", "seq": 3}}});
    let mut reader = Reader::join(&mut alice, "SEAL", over).await;
    while reader.seq() < reader.from + 5 {
        reader.take(&alice.message().await);
    }
    let epoch = reader.orders.view().unwrap().header.epoch.to_string();
    let point = json!({"SEAL": {"epoch": epoch, "seq": reader.seq()}});
    drop(alice);
    let mut alice = server.connect(&Pki::get().client("acme/alice")).await;
    let request = json!({"op": "subscribe", "channel": "mbo", "symbols": ["SEAL"], "resume": point});
    let reply = alice.request(request).await;
    assert_eq!(reply["symbols"]["SEAL"]["recovered"], true, "{reply}");
    let (parts, before) = (reader.parts, reader.seq());
    while reader.seq() < before + 50 {
        // The copy asserts that nothing is missing.
        reader.take(&alice.message().await);
    }
    assert_eq!(reader.parts, parts, "nothing begins anew");
    drop(alice);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_who_is_left_behind_is_told_what_was_skipped_and_begins_with_the_orders() {
    let server = Server::with_policy(POLICY, |config| {
        trading(config, &["SEAL"], 4_000);
        config.limits.out_queue_bytes_max = 128 * 1024;
        config.limits.socket_unsent_bytes_max = 64 * 1024;
    })
    .await;
    let mut alice = server.connect(&Pki::get().client("acme/alice")).await;
    let mut carol = server.connect_with_a_small_window(&Pki::get().client("acme/carol")).await;
    let mut brisk = Reader::join(&mut alice, "SEAL", json!({})).await;
    let mut slow = Reader::join(&mut carol, "SEAL", json!({"on_slow": "conflate"})).await;
    // So much that it cannot all wait for carol, who does not read.
    let enough = slow.seq() + 6_000;
    while brisk.seq() < enough {
        brisk.take(&alice.message().await);
    }
    while slow.skipped == 0 || slow.orders.view().is_err() {
        slow.take(&carol.message().await);
    }
    assert!(slow.seq() > enough - 6_000);
    // Both go on to the same place, and hold the same.
    let target = slow.seq().max(brisk.seq()) + 20;
    while brisk.orders.view().is_err() || brisk.seq() < target {
        brisk.take(&alice.message().await);
    }
    while slow.orders.view().is_err() || slow.seq() < target {
        slow.take(&carol.message().await);
    }
    while brisk.seq() < slow.seq() {
        brisk.take(&alice.message().await);
    }
    assert_eq!(brisk.held(), slow.held());
    drop((alice, carol));
    server.finish().await;
}

/// A recording of so many orders that are added one after the other.
fn recording(count: u32) -> NamedTempFile {
    let mut file = NamedTempFile::with_suffix(".dbn").unwrap();
    let metadata = dbn::Metadata::builder()
        .dataset("GLBX.MDP3".to_owned())
        .schema(Some(dbn::Schema::Mbo))
        .start(1)
        .end(NonZeroU64::new(1_000_000_000))
        .stype_in(Some(dbn::SType::RawSymbol))
        .stype_out(dbn::SType::InstrumentId)
        .symbols(vec!["BIG".to_owned()])
        .mappings(vec![dbn::SymbolMapping {
            raw_symbol: "BIG".to_owned(),
            intervals: vec![dbn::MappingInterval {
                start_date: time::macros::date!(1970 - 01 - 01),
                end_date: time::macros::date!(1970 - 01 - 02),
                symbol: "1".to_owned(),
            }],
        }])
        .build();
    let mut out = Vec::new();
    let mut encoder = dbn::encode::dbn::Encoder::new(&mut out, &metadata).unwrap();
    for order in 1..=count {
        let record = dbn::MboMsg {
            hd: dbn::RecordHeader::new::<dbn::MboMsg>(dbn::rtype::MBO, 1, 1, order.into()),
            order_id: order.into(),
            price: i64::from(1_000 + order % 500) * 1_000_000_000,
            size: 1 + order % 9,
            flags: dbn::FlagSet::new(dbn::flags::LAST),
            channel_id: 0,
            action: b'A' as std::ffi::c_char,
            side: b'A' as std::ffi::c_char,
            ts_recv: order.into(),
            ts_in_delta: 0,
            sequence: order,
        };
        encoder.encode_record(&record).unwrap();
    }
    file.write_all(&out).unwrap();
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_orders_reach_readers_whose_queues_hold_far_less() {
    const COUNT: u32 = 100_000;
    let file = recording(COUNT);
    let server = Server::with_policy(POLICY, |config| {
        let source = DbnSourceConfig { speed: Speed::Max, ..DbnSourceConfig::new(file.path().to_owned()) };
        config.sources = vec![SourceConfig::Dbn(source)];
        config.limits.out_queue_bytes_max = 65_536;
    })
    .await;
    server.logged("source", |event| event.text("state") == "ended").await;
    let mut readers = Vec::new();
    for who in ["acme/alice", "acme/bob"] {
        readers.push(server.connect_with_a_small_window(&Pki::get().client(who)).await);
    }
    for client in &mut readers {
        let reader = Reader::join(client, "BIG", json!({})).await;
        let [bids, asks] = reader.held();
        assert_eq!((bids.len(), asks.len(), reader.parts), (0, COUNT as usize, 391));
        assert!(asks.is_sorted_by_key(|order| (order.price, order.order_id)), "each stands in its place");
    }
    drop(readers);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsubscribed_snapshot_does_not_go_on_and_other_streams_do_meanwhile() {
    let file = recording(100_000);
    let server = Server::with_policy(POLICY, |config| {
        let source = DbnSourceConfig { speed: Speed::Max, ..DbnSourceConfig::new(file.path().to_owned()) };
        trading(config, &["SEAL"], 500);
        config.sources.push(SourceConfig::Dbn(source));
    })
    .await;
    server.logged("source", |event| event.text("state") == "ended").await;
    let mut alice = server.connect_with_a_small_window(&Pki::get().client("acme/alice")).await;
    alice.request(json!({"op": "subscribe", "channel": "trades", "symbols": ["SEAL"]})).await;
    alice.request(json!({"op": "subscribe", "channel": "mbo", "symbols": ["BIG"]})).await;
    // While the parts come, so does the other stream.
    let (mut part, mut trades) = (0, 0);
    while part < 50 || trades == 0 {
        let message = alice.message().await;
        trades += u64::from(message["type"] == "trade");
        if message["type"] == "mbo_snapshot" {
            part = message["part"].as_u64().unwrap();
            assert!(part < 391, "no trade in between");
        }
    }
    let id = alice.fresh_id();
    alice
        .send(json!({"op": "unsubscribe", "id": id, "channel": "mbo", "symbols": ["BIG"]}).to_string())
        .await;
    alice.message_where(|message| message["id"] == id).await;
    let mut trades = 0;
    while trades < 20 {
        let message = alice.message().await;
        assert_ne!(message["channel"], "mbo", "{message}");
        trades += u64::from(message["type"] == "trade");
    }
    drop(alice);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn delayed_orders_begin_with_those_that_rested_then() {
    const MINUTE_NS: u64 = 60_000_000_000;
    const QUARTER_NS: u64 = 15 * MINUTE_NS;
    let policy = POLICY.replace("firm = \"acme\"", "user = \"alice\"")
        + &POLICY
            .replace("everything", "late")
            .replace("firm = \"acme\"", "user = \"carol\"")
            .replace("symbols = [\"*\"]\n[rule.orders]", "symbols = [\"*\"]\ndelay = \"15m\"\n[rule.orders]");
    let begin = Clock::System.now();
    let clock = Clock::manual(begin);
    let server = Server::try_start_by(clock.clone(), tempfile::tempdir().unwrap(), &policy, |config| {
        trading(config, &["SEAL"], 1_000);
        config.tape.block_events = 8;
    })
    .await
    .unwrap();
    let mut alice = server.connect(&Pki::get().client("acme/alice")).await;
    let mut live = Reader::join(&mut alice, "SEAL", json!({})).await;
    while live.seq() < 500 {
        live.take(&alice.message().await);
    }
    let then = live.held();
    // What comes from now on comes a minute later to who is late.
    clock.set(UnixNanos(begin.0 + MINUTE_NS));
    let later = live.seq() + 300;
    while live.seq() < later {
        live.take(&alice.message().await);
    }
    clock.set(UnixNanos(begin.0 + QUARTER_NS));
    let mut carol = server.connect(&Pki::get().client("acme/carol")).await;
    let mut late = Reader::join(&mut carol, "SEAL", json!({})).await;
    assert_eq!(late.orders.view().unwrap().header.delayed_ms, Some(900_000));
    // Some were added between alice's last record and the step of the clock.
    let [bids, asks] = late.held();
    assert!(bids.len() + asks.len() > 0 && then.iter().any(|side| !side.is_empty()));
    clock.set(UnixNanos(begin.0 + QUARTER_NS + MINUTE_NS));
    let from = late.seq();
    while late.seq() < from + 100 {
        late.take(&carol.message().await);
    }
    drop((alice, carol));
    server.finish().await;
}
