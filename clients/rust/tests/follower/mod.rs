//! A book that mends itself, against a real peer on loopback that loses messages and lies.

use sealfeed_client::wire::checksum::checksum;
use sealfeed_client::wire::market::{BookDecimals, Level};
use sealfeed_client::wire::request;
use sealfeed_client::wire::{Decimals, Price, Quantity, Symbol};
use sealfeed_client::{BookError, BookFollower, Client, FollowError, Followed, SNAPSHOTS_MAX};

use crate::peer::{Peer, start};

const HEADER: &str = r#""channel":"book","symbol":"ESH4","epoch":"00000000000000aa""#;
const TIMES: &str = r#""ts_event":"1","ts_recv":"2","ts_out":"3""#;

/// The checksum of a book with one bid of this quantity at 1.25.
fn sum(quantity: &str) -> u32 {
    let bid = Level {
        price: Price::parse("1.25").unwrap(),
        quantity: Quantity::parse(quantity).unwrap(),
        orders: 1,
    };
    checksum(&[bid], &[], BookDecimals { price: Decimals::new(2).unwrap(), quantity: Decimals::default() })
}

fn snapshot(seq: u64, quantity: &str, checksum: u32) -> String {
    format!(
        r#"{{"type":"snapshot",{HEADER},"seq":{seq},"prev_seq":null,{TIMES},"bids":[["1.25","{quantity}",1]],"asks":[],"checksum":{checksum}}}"#
    )
}

fn delta(seq: u64, quantity: &str) -> String {
    let prev_seq = seq - 1;
    format!(
        r#"{{"type":"delta",{HEADER},"seq":{seq},"prev_seq":{prev_seq},{TIMES},"bids":[["1.25","{quantity}",1]],"asks":[],"checksum":{}}}"#,
        sum(quantity)
    )
}

fn notice(kind: &str, rest: &str) -> String {
    format!(r#"{{"type":"{kind}",{HEADER},{rest}}}"#)
}

/// Grants the next request, which must be a subscription to this book.
async fn grant(peer: &mut Peer, seq: u64) {
    let text = peer.receive().await;
    assert!(text.contains(r#""op":"subscribe""#) && text.contains("ESH4"), "{text}");
    let id = request::parse(&text).unwrap().id.unwrap();
    peer.send(&format!(
        r#"{{"type":"subscribed","id":{id},"channel":"book","depth":10,"conflate_ms":0,"on_slow":"conflate","symbols":{{"ESH4":{{"epoch":"00000000000000aa","seq":{seq},"recovered":null,"reason":null,"price_decimals":2,"qty_decimals":0}}}},"refused":{{}}}}"#
    ))
    .await;
}

async fn follow(client: &Client) -> BookFollower<'_> {
    BookFollower::subscribe(client, Symbol::new("ESH4").unwrap(), None).await.unwrap()
}

async fn step(client: &Client, book: &mut BookFollower<'_>) -> Result<Followed, FollowError> {
    book.take(&client.next_event().await.unwrap()).await
}

fn best(book: &BookFollower<'_>) -> String {
    book.book().view().unwrap().bids[0].quantity.to_string()
}

#[tokio::test]
async fn a_book_that_misses_a_message_asks_for_a_snapshot_and_goes_on_with_it() {
    let script = async |mut peer: Peer| {
        grant(&mut peer, 1).await;
        peer.send(&snapshot(1, "5", sum("5"))).await;
        peer.send(&delta(3, "7")).await;
        grant(&mut peer, 3).await;
        peer.send(&snapshot(3, "7", sum("7"))).await;
        peer.send(&delta(4, "8")).await;
        peer.wait_for_close().await
    };
    let (config, peer) = start(script).await;
    let client = Client::connect_with(&config).await.unwrap();
    let mut book = follow(&client).await;
    assert_eq!(step(&client, &mut book).await.unwrap(), Followed::Changed);
    assert_eq!(best(&book), "5");
    let mut lost = Vec::new();
    while best_or_none(&book).as_deref() != Some("8") {
        if let Followed::Lost(why) = step(&client, &mut book).await.unwrap() {
            assert!(book.book().view().is_err(), "a book in doubt is not shown");
            lost.push(why);
        }
    }
    assert!(matches!(lost[..], [BookError::Gap { .. }]), "{lost:?}");
    client.close().await;
    assert_eq!(peer.await.unwrap(), Some(Some(1000)), "one snapshot was asked for, and no more");
}

fn best_or_none(book: &BookFollower<'_>) -> Option<String> {
    book.book().view().ok().map(|view| view.bids[0].quantity.to_string())
}

#[tokio::test]
async fn what_the_server_skips_is_waited_for_and_a_stall_is_shown_until_data_comes() {
    let script = async |mut peer: Peer| {
        grant(&mut peer, 1).await;
        peer.send(&snapshot(1, "5", sum("5"))).await;
        peer.send(&notice("stale", r#""seq":1,"ts":"9""#)).await;
        peer.send(&notice("skipped", r#""from":2,"to":9"#)).await;
        peer.send(&snapshot(9, "6", sum("6"))).await;
        peer.wait_for_close().await
    };
    let (config, peer) = start(script).await;
    let client = Client::connect_with(&config).await.unwrap();
    let mut book = follow(&client).await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(step(&client, &mut book).await.unwrap());
        assert_eq!(book.is_stale(), (2..4).contains(&seen.len()), "{seen:?}");
    }
    let [Followed::Changed, Followed::Stale, Followed::Lost(BookError::Skipped { .. }), Followed::Changed] =
        seen[..]
    else {
        panic!("{seen:?}")
    };
    assert_eq!(best(&book), "6");
    client.close().await;
    assert_eq!(peer.await.unwrap(), Some(Some(1000)), "no snapshot was asked for: it comes by itself");
}

#[tokio::test]
async fn a_stream_that_never_fits_its_snapshots_is_given_up() {
    let script = async |mut peer: Peer| {
        for _ in 0..=SNAPSHOTS_MAX {
            grant(&mut peer, 1).await;
            peer.send(&snapshot(1, "5", sum("5") ^ 1)).await;
        }
        peer.wait_for_close().await
    };
    let (config, peer) = start(script).await;
    let client = Client::connect_with(&config).await.unwrap();
    let mut book = follow(&client).await;
    let error = loop {
        if let Err(error) = step(&client, &mut book).await {
            break error;
        }
    };
    assert!(matches!(error, FollowError::Unkept { last: BookError::Checksum { .. }, .. }), "{error:?}");
    assert!(book.book().view().is_err());
    client.close().await;
    assert_eq!(peer.await.unwrap(), Some(Some(1000)));
}

#[tokio::test]
async fn a_book_that_an_operator_withdraws_is_gone_with_the_code_of_why() {
    fn changed(channel: &str) -> String {
        format!(
            r#"{{"type":"entitlement","ts":"1","entitlement":{{"channels":[],"orders":null}},"limits":{{"message_bytes_max":1,"subscriptions_max":1,"sessions_max":1,"queue_bytes_max":1,"malformed_max":1,"malformed_interval_ms":1,"rates":[]}},"ended":[{{"channel":"{channel}","symbols":{{"ESH4":{{"code":"SF-SUB-003","message":"m","hint":"h"}}}}}}]}}"#
        )
    }
    let script = async |mut peer: Peer| {
        grant(&mut peer, 1).await;
        peer.send(&snapshot(1, "5", sum("5"))).await;
        peer.send(&changed("trades")).await;
        peer.send(&changed("book")).await;
        peer.wait_for_close().await
    };
    let (config, peer) = start(script).await;
    let client = Client::connect_with(&config).await.unwrap();
    let mut book = follow(&client).await;
    assert_eq!(step(&client, &mut book).await.unwrap(), Followed::Changed);
    assert_eq!(step(&client, &mut book).await.unwrap(), Followed::Elsewhere, "another channel of it ended");
    let error = step(&client, &mut book).await.unwrap_err();
    let FollowError::Withdrawn { refused, .. } = error else { panic!("{error:?}") };
    assert_eq!(refused.code.to_string(), "SF-SUB-003");
    assert!(book.book().view().is_err());
    client.close().await;
    assert_eq!(peer.await.unwrap(), Some(Some(1000)));
}

#[tokio::test]
async fn a_refused_symbol_is_told_with_its_code() {
    let script = async |mut peer: Peer| {
        let id = request::parse(&peer.receive().await).unwrap().id.unwrap();
        peer.send(&format!(
            r#"{{"type":"subscribed","id":{id},"channel":"book","depth":10,"conflate_ms":0,"on_slow":"conflate","symbols":{{}},"refused":{{"ESH4":{{"code":"SF-SUB-003","message":"m","hint":"h"}}}}}}"#
        ))
        .await;
        peer.wait_for_close().await
    };
    let (config, _peer) = start(script).await;
    let client = Client::connect_with(&config).await.unwrap();
    let refused = BookFollower::subscribe(&client, Symbol::new("ESH4").unwrap(), None).await.unwrap_err();
    let FollowError::Refused { refused, .. } = refused else { panic!("{refused:?}") };
    assert_eq!(refused.code.to_string(), "SF-SUB-003");
}
