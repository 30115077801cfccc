//! The door: TLS and the HTTP upgrade. Who is refused here never reaches a session, and finds its reason in the log.

use crate::harness::{Pki, Server};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_a_good_certificate_is_welcomed() {
    let server = Server::start(|_| {}).await;
    let mut alice = server.connect(&Pki::get().client("acme/alice")).await;
    alice.goes_on().await;
    let connect = server.logged("connect", |event| event.text("principal") == "acme/alice").await;
    assert_eq!(connect.text("address"), alice.address);
    server.finish().await;
}
