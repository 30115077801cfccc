//! Load balancers: the PROXY protocol in front of TLS, from those that are named and from nobody else.

use std::net::IpAddr;

use sealfeed::config::Config;
use sealfeed::server::proxy::SIGNATURE;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{Client, Identity, Pki, Scene, UPGRADE, fresh_address, read_answer, soon, tcp_from};

/// Where the balancer of these tests connects from.
const BALANCER: &str = "127.99.0.1";

fn balanced(config: &mut Config) {
    config.server.proxy.from = vec!["127.99.0.0/16".parse().unwrap()];
}

/// A header of version 2 for a client, with some type-length-value behind the addresses.
fn header(client: &str) -> Vec<u8> {
    let client: std::net::SocketAddrV4 = client.parse().unwrap();
    let mut body = client.ip().octets().to_vec();
    body.extend([10, 0, 0, 1]);
    body.extend(client.port().to_be_bytes());
    body.extend([0x01, 0xbb]);
    body.extend([0x05, 0, 3, b'a', b'b', b'c']);
    [&SIGNATURE[..], &[0x21, 0x11, 0, u8::try_from(body.len()).unwrap()], &body].concat()
}

fn local() -> Vec<u8> {
    [&SIGNATURE[..], &[0x20, 0, 0, 0]].concat()
}

async fn from_balancer(scene: &Scene, first: &[u8]) -> TcpStream {
    let mut tcp = tcp_from(BALANCER.parse().unwrap(), scene.address).await;
    tcp.write_all(first).await.unwrap();
    tcp
}

async fn session(scene: &Scene, tcp: TcpStream, who: &Identity) -> Client {
    let mut tls = scene.tls_over(tcp, who).await;
    tls.write_all(format!("{UPGRADE}\r\n").as_bytes()).await.unwrap();
    let answer = read_answer(&mut tls).await;
    assert_eq!(answer.status, 101, "{answer:?}");
    Client::open(tls, answer.rest, who.order_key.clone()).await
}

/// Reads to the end of the connection, which may be a reset: what came.
async fn ended(tcp: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    let _ = soon("the end", tcp.read_to_end(&mut answer)).await;
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_behind_a_balancer_is_known_by_the_address_that_was_announced() {
    let (scene, alice) = (Scene::start(balanced).await, Pki::get().client("acme/alice"));
    let mut session = session(&scene, from_balancer(&scene, &header("192.0.2.7:4000")).await, &alice).await;
    session.goes_on().await;
    let logged = scene.logged("connect", |event| event.text("principal") == "acme/alice").await;
    assert_eq!(logged.text("address"), "192.0.2.7:4000");
    // A refused handshake, too.
    let mut tcp = from_balancer(&scene, &header("192.0.2.8:4001")).await;
    tcp.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    ended(&mut tcp).await;
    scene.logged("handshake_refused", |event| event.text("address") == "192.0.2.8:4001").await;
    drop(session);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_comes_byte_by_byte_leaves_tls_to_begin_right_behind_it() {
    let (scene, alice) = (Scene::start(balanced).await, Pki::get().client("acme/alice"));
    let mut tcp = from_balancer(&scene, b"").await;
    for byte in header("192.0.2.7:4000") {
        tcp.write_all(&[byte]).await.unwrap();
        tcp.flush().await.unwrap();
    }
    session(&scene, tcp, &alice).await.goes_on().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balancer_that_does_not_say_for_whom_is_refused_with_the_reason_in_the_log() {
    let mut scene = Scene::start(balanced).await;
    let mut version_3 = header("192.0.2.7:4000");
    version_3[12] = 0x31;
    for (first, detail) in [
        (&b"PROXY TCP4 192.0.2.7 10.0.0.1 4000 443\r\n"[..], "version 1"),
        (b"\x16\x03\x01\x02\x00\x01", "no PROXY protocol header"),
        (&version_3, "version 3"),
        (&[&SIGNATURE[..], &[0x21, 0x00, 0, 0]].concat(), "no TCP client"),
        (&[&SIGNATURE[..], &[0x21, 0x11, 0xff, 0xff]].concat(), "too long"),
    ] {
        let mut tcp = from_balancer(&scene, first).await;
        let address = tcp.local_addr().unwrap().to_string();
        assert_eq!(ended(&mut tcp).await, b"", "{detail}");
        let logged = scene.logged("handshake_refused", |event| event.text("address") == address).await;
        assert_eq!(logged.text("code"), "SF-TLS-038");
        assert!(logged.text("detail").contains(detail), "{}", logged.fields);
    }
    scene.bystander_is_unharmed().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_never_becomes_whole_is_waited_for_only_so_long() {
    let change = |config: &mut Config| {
        balanced(config);
        config.server.proxy.timeout_ms = 300;
    };
    let scene = Scene::start(change).await;
    let mut tcp = from_balancer(&scene, &header("192.0.2.7:4000")[..20]).await;
    let address = tcp.local_addr().unwrap().to_string();
    ended(&mut tcp).await;
    let logged = scene.logged("handshake_refused", |event| event.text("address") == address).await;
    assert!(logged.has_code("SF-TLS-038") && logged.text("detail").contains("deadline"), "{}", logged.fields);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_check_is_let_in_and_leaves_no_refusal_in_the_log() {
    let (scene, alice) = (Scene::start(balanced).await, Pki::get().client("acme/alice"));
    // One that only looks whether somebody answers, and one that looks whether it is TLS.
    drop(from_balancer(&scene, &local()).await);
    let tls = scene.tls_over(from_balancer(&scene, &local()).await, &alice).await;
    drop(tls);
    // Whatever it left would stand in front of this.
    let mut tcp = from_balancer(&scene, b"x").await;
    ended(&mut tcp).await;
    scene.logged("handshake_refused", |event| event.has_code("SF-TLS-038")).await;
    let events = scene.end().await;
    let refused: Vec<_> = events.iter().filter(|event| event.kind == "handshake_refused").collect();
    assert_eq!(refused.len(), 1, "{refused:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_can_announce_an_address() {
    let (scene, from) = (Scene::start(balanced).await, fresh_address());
    let mut tcp = tcp_from(from, scene.address).await;
    let address = tcp.local_addr().unwrap().to_string();
    tcp.write_all(&header("192.0.2.7:4000")).await.unwrap();
    ended(&mut tcp).await;
    let logged = scene.logged("handshake_refused", |event| event.text("address") == address).await;
    assert_eq!(logged.text("code"), "SF-TLS-021", "it is no TLS: {}", logged.fields);
    let events = scene.end().await;
    assert!(events.iter().all(|event| !event.text("address").starts_with("192.0.2.")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limits_of_an_address_hold_for_clients_and_not_for_their_balancer() {
    let change = |config: &mut Config| {
        balanced(config);
        config.limits.connections_per_address_max = 1;
    };
    let (scene, alice) = (Scene::start(change).await, Pki::get().client("acme/alice"));
    let mut sessions = Vec::new();
    for number in 1..=4 {
        let tcp = from_balancer(&scene, &header(&format!("192.0.2.{number}:4000"))).await;
        sessions.push(session(&scene, tcp, &alice).await);
    }
    let mut second = from_balancer(&scene, &header("192.0.2.1:4001")).await;
    assert_eq!(ended(&mut second).await, b"");
    let logged = scene.logged("limit", |event| event.text("address") == "192.0.2.1:4001").await;
    assert_eq!((logged.text("limit"), logged.text("code")), ("address_connections", "SF-TLS-013"));
    for session in &mut sessions {
        session.goes_on().await;
    }
    drop(sessions);
    scene.end().await;
}

#[test]
fn a_configuration_that_lets_everybody_announce_addresses_is_refused() {
    let text = |from: &str| format!("from = [{from}]");
    let parse = |from: &str| toml::from_str::<sealfeed::config::ProxyConfig>(&text(from));
    assert!(parse(r#""10.0.0.5/32", "2001:db8::/32", "10.0.0.6""#).is_ok());
    for (from, why) in [
        (r#""0.0.0.0/0""#, "names every address"),
        (r#""::/0""#, "names every address"),
        (r#""10.0.0.5/8""#, "bits behind its prefix"),
        (r#""balancer.example""#, "no address range"),
    ] {
        let error = parse(from).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    let address: IpAddr = BALANCER.parse().unwrap();
    assert!(parse(r#""127.99.0.0/16""#).unwrap().from[0].contains(address));
}
