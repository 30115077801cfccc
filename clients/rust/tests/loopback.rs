//! The client against a real TLS and WebSocket peer on loopback.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on may panic")]

mod follower;
mod peer;

use sealfeed_client::wire::close::Reconnect;
use sealfeed_client::wire::request::{self, Op};
use sealfeed_client::wire::{
    Channel, ClientOrderId, Code, KeyedMac, OrderCancel, OrderNew, OrderType, Price, Quantity, Scaled,
    ServerMessage, SessionId, Side, Symbol, TimeInForce,
};
use sealfeed_client::{
    CertificateRefusal, Client, ClientConfig, CloseCause, ConnectError, Event, GapOrigin, Market,
    OrderOutcome, RequestError, UnknownCause, subscription,
};
use tokio::io::AsyncWriteExt;

use peer::{Peer, Pki, Shown, order_key, read_request, start, start_raw};

async fn refused(config: &ClientConfig) -> ConnectError {
    Client::connect_with(config).await.unwrap_err()
}

fn id_of(text: &str) -> String {
    request::parse(text).unwrap().id.unwrap().to_string()
}

fn order() -> OrderNew {
    OrderNew {
        cl_ord_id: ClientOrderId::new("c-1").unwrap(),
        symbol: Symbol::new("ESH4").unwrap(),
        side: Side::Buy,
        order_type: OrderType::Limit,
        quantity: Scaled::<Quantity>::parse("3").unwrap(),
        price: Some(Scaled::<Price>::parse("4783.25").unwrap()),
        time_in_force: TimeInForce::Day,
        post_only: false,
        reduce_only: false,
        stp: None,
        deadline: None,
    }
}

fn trade(seq: u64) -> String {
    let prev_seq = seq - 1;
    format!(
        r#"{{"type":"trade","channel":"trades","symbol":"ESH4","epoch":"00000000000000aa","seq":{seq},"prev_seq":{prev_seq},"ts_event":"1","ts_recv":"2","ts_out":"3","price":"1.25","qty":"1","side":"buy","trade_id":null}}"#
    )
}

/// A message of about a mebibyte that no version knows yet.
fn padding(number: usize) -> String {
    format!(r#"{{"type":"padding_{number}","pad":"{}"}}"#, "x".repeat(1 << 20))
}

#[tokio::test]
async fn a_welcome_of_this_very_connection_is_accepted() {
    let (config, peer) = start(async |peer: Peer| (peer.session, peer.wait_for_close().await)).await;
    let client = Client::connect_with(&config).await.unwrap();
    let session = *client.session();
    assert_eq!(client.welcome().principal, "acme/desk7");
    client.close().await;
    assert_eq!(peer.await.unwrap(), Some((session, Some(1000))));
}

#[tokio::test]
async fn a_welcome_of_another_connection_is_refused() {
    let script = async |tls| {
        let mut peer = Peer::upgrade(tls).await;
        let mut session = peer.session;
        session.0[31] ^= 1;
        peer.send(&peer.welcome(session)).await;
        peer.wait_for_close().await;
    };
    let (config, _peer) = start_raw(&Pki::new(), Shown::Good, script).await;
    assert!(matches!(refused(&config).await, ConnectError::BindingMismatch));
}

#[tokio::test]
async fn a_refused_upgrade_keeps_status_code_and_hint() {
    let script = async |mut tls| {
        read_request(&mut tls).await;
        let body =
            r#"{"code":"SF-SES-008","message":"the server is shutting down","hint":"Connect again later."}"#;
        let head = format!(
            "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        tls.write_all(head.as_bytes()).await.unwrap();
        tls.flush().await.unwrap();
        tls.write_all(body.as_bytes()).await.unwrap();
        tls.shutdown().await.unwrap();
    };
    let (config, _peer) = start_raw(&Pki::new(), Shown::Good, script).await;
    let error = refused(&config).await;
    assert_eq!(
        (error.code().unwrap(), error.hint().as_str()),
        (Code::SesDraining.into(), "Connect again later.")
    );
    let ConnectError::UpgradeRefused(refusal) = error else { panic!("{error:?}") };
    assert_eq!((refusal.status, refusal.retry_after_s), (503, Some(5)));
}

#[tokio::test]
async fn a_refused_certificate_is_named_with_its_reason() {
    for (shown, reason) in [
        (Shown::Nothing, CertificateRefusal::Missing),
        (Shown::Expired, CertificateRefusal::Expired),
        (Shown::NotYetValid, CertificateRefusal::Expired),
        (Shown::ForServers, CertificateRefusal::Unsupported),
        (Shown::Revoked, CertificateRefusal::Revoked),
        (Shown::Foreign, CertificateRefusal::UnknownIssuer),
    ] {
        // The alert races with our upgrade request, so one try proves little.
        for _ in 0..10 {
            let (config, peer) = start_raw(&Pki::new(), shown, async |_| ()).await;
            let error = refused(&config).await;
            let ConnectError::CertificateRefused { refusal, .. } = error else {
                panic!("{shown:?}: {error:?}")
            };
            assert_eq!(refusal, reason, "{shown:?}");
            assert_eq!(peer.await.unwrap(), None);
        }
    }
}

#[tokio::test]
async fn a_server_of_another_ca_is_not_spoken_to() {
    let (mut config, peer) = start_raw(&Pki::new(), Shown::Good, async |_| ()).await;
    config.server_roots = vec![Pki::new().root()];
    assert!(matches!(refused(&config).await, ConnectError::ServerCertificate { .. }));
    assert_eq!(peer.await.unwrap(), None);
}

#[tokio::test]
async fn a_server_that_never_welcomes_runs_into_the_time_limit() {
    let script = async |tls| Peer::upgrade(tls).await.wait_for_close().await;
    let (mut config, _peer) = start_raw(&Pki::new(), Shown::Good, script).await;
    config.connect_timeout_ms = 300;
    assert!(matches!(refused(&config).await, ConnectError::Timeout { limit_ms: 300, .. }));
}

#[tokio::test]
async fn replies_find_their_requests_in_any_order() {
    let script = async |mut peer: Peer| {
        let (one, two) = (peer.receive().await, peer.receive().await);
        peer.send(&trade(1)).await;
        for (text, ts) in [(two, 22), (one, 11)] {
            let Op::Ping { .. } = request::parse(&text).unwrap().op else { panic!("{text}") };
            peer.send(&format!(r#"{{"type":"pong","id":{},"ts":"{ts}"}}"#, id_of(&text))).await;
        }
        peer.wait_for_close().await
    };
    let (config, _peer) = start(script).await;
    let client = Client::connect_with(&config).await.unwrap();
    let (one, two) = tokio::join!(client.ping(), client.ping());
    assert_eq!((one.unwrap().ts.0, two.unwrap().ts.0), (11, 22));
    assert!(matches!(client.next_event().await, Ok(Event::Market(Market::Trade(_)))));
}

#[tokio::test]
async fn a_refused_request_is_an_error_with_its_code() {
    let script = async |mut peer: Peer| {
        let id = id_of(&peer.receive().await);
        peer.send(&format!(r#"{{"type":"error","id":{id},"code":"SF-SUB-004","message":"m","hint":"h","retryable":false,"retry_after_ms":null}}"#)).await;
        peer.wait_for_close().await
    };
    let (config, _peer) = start(script).await;
    let client = Client::connect_with(&config).await.unwrap();
    let error = client.subscribe(subscription(Channel::Trades, [order().symbol])).await.unwrap_err();
    let RequestError::Refused(refusal) = error else { panic!("{error:?}") };
    assert_eq!(refusal.code, Code::SubChannelNotEntitled);
}

#[tokio::test]
async fn a_raw_message_is_sent_as_it_is_and_its_reply_is_an_event() {
    let script = async |mut peer: Peer| {
        let text = peer.receive().await;
        peer.send(r#"{"type":"error","id":null,"code":"SF-SES-011","message":"m","hint":"h","retryable":false,"retry_after_ms":null}"#).await;
        peer.wait_for_close().await;
        text
    };
    let (config, peer) = start(script).await;
    let client = Client::connect_with(&config).await.unwrap();
    client.send_raw("{\"op\":\t").await.unwrap();
    let Ok(Event::Reply(reply)) = client.next_event().await else { panic!("no reply") };
    assert!(matches!(*reply, ServerMessage::Error(_)));
    client.close().await;
    assert_eq!(peer.await.unwrap().unwrap(), "{\"op\":\t");
}

#[tokio::test]
async fn a_close_is_the_last_event_and_says_whether_to_come_back() {
    for (code, reconnect) in [
        (1000, Reconnect::No),
        (1012, Reconnect::Yes),
        (4001, Reconnect::Yes),
        (4499, Reconnect::Yes),
        (4501, Reconnect::No),
        (4999, Reconnect::No),
    ] {
        let (config, _peer) = start(async move |peer: Peer| peer.close(code, "because").await).await;
        let client = Client::connect_with(&config).await.unwrap();
        let Ok(Event::Closed(closed)) = client.next_event().await else { panic!("{code}") };
        assert_eq!(
            (closed.code, closed.reason.as_str(), closed.reconnect),
            (Some(code), "because", reconnect)
        );
        assert_eq!(closed.cause, CloseCause::Server);
        assert_eq!(client.next_event().await.unwrap_err(), closed);
        assert!(matches!(client.ping().await, Err(RequestError::NotSent(end)) if end == closed));
    }
}

#[tokio::test]
async fn a_connection_that_breaks_off_is_lost_not_closed() {
    let (config, _peer) = start(async |peer: Peer| drop(peer)).await;
    let client = Client::connect_with(&config).await.unwrap();
    let Ok(Event::Closed(closed)) = client.next_event().await else { panic!("no end") };
    assert_eq!((closed.code, closed.cause, closed.reconnect), (None, CloseCause::Lost, Reconnect::Yes));
}

#[tokio::test]
async fn a_server_that_answers_nothing_is_given_up() {
    let (sender, held) = tokio::sync::oneshot::channel::<()>();
    let script = async move |peer: Peer| {
        let _ = held.await;
        drop(peer);
    };
    let (config, _peer) = start(script).await;
    let client = Client::connect_with(&config).await.unwrap();
    let Ok(Event::Closed(closed)) = client.next_event().await else { panic!("no end") };
    assert_eq!(closed.cause, CloseCause::Silent);
    drop(sender);
}

#[tokio::test]
async fn what_cannot_be_read_ends_the_connection() {
    for text in ["[]", r#"{"type":"trade","seq":"1"}"#, "no json"] {
        let script = async move |mut peer: Peer| {
            peer.send(text).await;
            peer.wait_for_close().await
        };
        let (config, _peer) = start(script).await;
        let client = Client::connect_with(&config).await.unwrap();
        let Ok(Event::Closed(closed)) = client.next_event().await else { panic!("{text}") };
        assert_eq!((closed.cause, closed.reconnect), (CloseCause::ProtocolBroken, Reconnect::No), "{text}");
    }
}

#[tokio::test]
async fn a_missing_message_is_an_event_in_its_place() {
    let script = async |mut peer: Peer| {
        let id = id_of(&peer.receive().await);
        peer.send(&format!(r#"{{"type":"subscribed","id":{id},"channel":"trades","depth":null,"conflate_ms":0,"on_slow":"disconnect","symbols":{{"ESH4":{{"epoch":"00000000000000aa","seq":7,"recovered":null,"reason":null}}}},"refused":{{}}}}"#)).await;
        for seq in [8, 10, 10, 11] {
            peer.send(&trade(seq)).await;
        }
        peer.send(r#"{"type":"gap","channel":"trades","symbol":"ESH4","epoch":"00000000000000aa","from":12,"to":13}"#).await;
        peer.send(&trade(14)).await;
        peer.close(1000, "").await;
    };
    let (config, _peer) = start(script).await;
    let client = Client::connect_with(&config).await.unwrap();
    let symbol = order().symbol;
    client.subscribe(subscription(Channel::Trades, [symbol])).await.unwrap();
    let mut seen = Vec::new();
    while let Ok(event) = client.next_event().await {
        seen.push(match event {
            Event::Market(Market::Trade(trade)) => format!("trade {}", trade.header.seq),
            Event::Gap { gap, origin: GapOrigin::Detected } => format!("detected {}-{}", gap.from, gap.to),
            Event::Gap { gap, origin: GapOrigin::Announced } => format!("announced {}-{}", gap.from, gap.to),
            Event::Repeated { seq, .. } => format!("repeated {seq}"),
            Event::Closed(_) => "closed".to_owned(),
            other => panic!("{other:?}"),
        });
    }
    let expected = [
        "trade 8",
        "detected 9-9",
        "trade 10",
        "repeated 10",
        "trade 11",
        "announced 12-13",
        "trade 14",
        "closed",
    ];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn an_accepted_order_carries_its_receipt() {
    let script = async |mut peer: Peer| {
        let text = peer.receive().await;
        let Op::Signed(signed) = request::parse(&text).unwrap().op else { panic!("{text}") };
        assert!(KeyedMac::new(&order_key()).for_session(&peer.session).verifies(&signed));
        assert_eq!(OrderNew::decode(signed.body).unwrap(), order());
        let (id, zeros) = (id_of(&text), "0".repeat(64));
        peer.send(&format!(r#"{{"type":"order","id":{id},"cl_ord_id":"c-1","order_id":"77","status":"accepted","receipt":{{"log":"{zeros}","seq":5,"hash":"{zeros}"}},"rate_limits":[]}}"#)).await;
        peer.wait_for_close().await
    };
    let (config, _peer) = start(script).await;
    let client = Client::connect_with(&config).await.unwrap();
    let outcome = client.order_new(&order()).await.unwrap();
    let OrderOutcome::Accepted { order_id, receipt, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!((order_id.unwrap().as_str(), receipt.unwrap().seq), ("77", 5));
}

#[tokio::test]
async fn an_order_without_an_answer_is_unknown_and_is_sent_again_with_the_same_body() {
    let script = async |mut peer: Peer| {
        let (one, two) = (peer.receive().await, peer.receive().await);
        peer.send(&format!(r#"{{"type":"error","id":{},"code":"SF-RSK-001","message":"m","hint":"h","retryable":false,"retry_after_ms":null,"cl_ord_id":"c-1"}}"#, id_of(&two))).await;
        peer.wait_for_close().await;
        (one, two)
    };
    let (mut config, peer) = start(script).await;
    config.request_timeout_ms = 100;
    let mut client = Client::connect_with(&config).await.unwrap();
    let outcome = client.order_new(&order()).await.unwrap();
    let OrderOutcome::Unknown { order, cause } = outcome else { panic!("{outcome:?}") };
    assert!(matches!(cause, UnknownCause::NoReply(RequestError::Timeout { limit_ms: 100 })));
    client.set_request_timeout_ms(10_000);
    let outcome = client.resend(&order).await.unwrap();
    let OrderOutcome::Rejected(refusal) = outcome else { panic!("{outcome:?}") };
    assert_eq!(refusal.code, Code::RskQuantityMax);
    let session: SessionId = *client.session();
    client.close().await;
    let (one, two) = peer.await.unwrap().unwrap();
    let [Op::Signed(one), Op::Signed(two)] = [&one, &two].map(|text| request::parse(text).unwrap().op) else {
        panic!("not signed")
    };
    assert_eq!(one.body, two.body);
    assert_ne!((one.nonce, one.proof), (two.nonce, two.proof));
    assert!(KeyedMac::new(&order_key()).for_session(&session).verifies(&two));
}

#[tokio::test]
async fn an_order_is_unknown_when_the_connection_ends_before_the_answer() {
    let script = async |mut peer: Peer| {
        peer.receive().await;
        peer.close(4002, "heartbeat lost").await;
    };
    let (config, _peer) = start(script).await;
    let client = Client::connect_with(&config).await.unwrap();
    let cancel = OrderCancel {
        cl_ord_id: ClientOrderId::new("c-2").unwrap(),
        orig_cl_ord_id: ClientOrderId::new("c-1").unwrap(),
    };
    let outcome = client.order_cancel(&cancel).await.unwrap();
    let OrderOutcome::Unknown { order, cause: UnknownCause::NoReply(cause) } = outcome else {
        panic!("{outcome:?}")
    };
    assert!(matches!(cause, RequestError::ConnectionLost(closed) if closed.code == Some(4002)));
    assert_eq!(order.body(), r#"{"cl_ord_id":"c-2","orig_cl_ord_id":"c-1"}"#);
    assert!(matches!(client.resend(&order).await, Err(RequestError::NotSent(_))));
}

#[tokio::test]
async fn without_an_order_key_nothing_is_sent() {
    let (mut config, peer) = start(async |peer: Peer| peer.wait_for_close().await).await;
    config.order_key = None;
    let client = Client::connect_with(&config).await.unwrap();
    assert!(matches!(client.order_new(&order()).await, Err(RequestError::OrderKeyMissing)));
    client.close().await;
    assert_eq!(peer.await.unwrap(), Some(Some(1000)));
}

#[tokio::test]
async fn a_reply_comes_though_nobody_reads_the_events_before_it() {
    let script = async |mut peer: Peer| {
        let id = id_of(&peer.receive().await);
        for number in 0..8 {
            peer.send(&padding(number)).await;
        }
        peer.send(&format!(r#"{{"type":"pong","id":{id},"ts":"1"}}"#)).await;
        peer.wait_for_close().await
    };
    let (config, _peer) = start(script).await;
    let client = Client::connect_with(&config).await.unwrap();
    assert_eq!(client.ping().await.unwrap().ts.0, 1);
}

#[tokio::test]
async fn unread_events_hold_the_server_back_and_none_is_lost() {
    const MESSAGES: usize = 96;
    let script = async |mut peer: Peer| {
        let id = id_of(&peer.receive().await);
        for number in 0..MESSAGES {
            peer.send(&padding(number)).await;
        }
        peer.send(&format!(r#"{{"type":"pong","id":{id},"ts":"1"}}"#)).await;
        peer.wait_for_close().await
    };
    let (mut config, peer) = start(script).await;
    config.request_timeout_ms = 2_000;
    let client = Client::connect_with(&config).await.unwrap();
    // The pong stands behind more than the queue, its reserve and the kernel's buffers hold.
    assert!(matches!(client.ping().await, Err(RequestError::Timeout { .. })));
    assert!(!peer.is_finished());
    for number in 0..MESSAGES {
        let event = client.next_event().await.unwrap();
        assert!(
            matches!(&event, Event::Unknown { kind } if *kind == format!("padding_{number}")),
            "{number}"
        );
    }
    assert!(matches!(client.next_event().await, Ok(Event::Reply(_))));
}
