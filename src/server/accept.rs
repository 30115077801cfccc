//! Accepting connections: counted, limited, and given a deadline before anything is known of the peer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sealfeed_wire::SessionId;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::identity::{Refusal, timed_out};
use crate::journal::event;
use crate::session::tls::{self, TlsStream};
use crate::session::{AddressSlot, Identified, Session, SessionContext};

/// How long sessions have to end after the stop signal.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long accepting pauses when the system has no more descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts until the stop signal, then waits for the sessions to end.
pub(super) async fn run(listener: TcpListener, context: Arc<SessionContext>) {
    let mut connections = JoinSet::new();
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => accept(stream, address, &context, &mut connections),
                Err(error) => {
                    // Out of descriptors, or the peer is gone already: neither ends the listener.
                    tracing::warn!(error = %error, "accepting failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            _ = second.tick() => {
                // The journal tells the server to stop when it fails.
                let _ = context.summary.flush_if_due();
            }
            Some(ended) = connections.join_next() => report_panic(&ended),
            () = context.shutdown.wait() => break,
        }
    }
    drop(listener);
    context.shards.wake();
    let drained = async {
        while connections.join_next().await.is_some() {}
        context.shards.drained(|| context.registry.connections() == 0).await;
    };
    if tokio::time::timeout(DRAIN_TIMEOUT, drained).await.is_err() {
        tracing::warn!(left = context.registry.connections(), "sessions did not end in time");
        connections.shutdown().await;
    }
    let _ = context.summary.flush();
}

fn report_panic(ended: &Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(error = %error, "a connection's task panicked");
    }
}

fn accept(
    stream: TcpStream,
    address: SocketAddr,
    context: &Arc<SessionContext>,
    connections: &mut JoinSet<()>,
) {
    match context.registry.connect(address.ip(), context.clock.now()) {
        Ok(slot) => {
            connections.spawn(connection(stream, address, slot, Arc::clone(context)));
        }
        Err(code) => {
            let event = event::Limit {
                principal: None,
                address: address.to_string(),
                limit: "connections".to_owned(),
                code: code.as_str().to_owned(),
            };
            // Dropping the stream closes it: a peer without a principal gets no reason.
            let _ = context.summary.record(address.ip(), event);
        }
    }
}

async fn connection(stream: TcpStream, address: SocketAddr, slot: AddressSlot, context: Arc<SessionContext>) {
    prepare(&stream, context.limits.socket_unsent_bytes_max);
    let Some((stream, id)) = handshake(stream, address, &context).await else { return };
    let certificates = stream.peer_certificates();
    let identity = context.identity.identify(certificates, context.clock.now());
    let presented = certificates.to_vec();
    Session::<Identified>::new(context, address, id, identity, presented).serve(stream, slot).await;
}

/// Sets what a feed wants of its socket. A kernel that cannot is no reason to send nothing.
fn prepare(stream: &TcpStream, unsent_bytes_max: u32) {
    // Small messages at a steady rate are what this server is for; the writer batches by itself.
    let _ = stream.set_nodelay(true);
    // What a slow reader leaves waiting shall wait here, where its bound counts it and newer state replaces it: without this
    // (`TCP_NOTSENT_LOWAT`, tcp(7)) one who does not read is megabytes behind before we can know.
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(stream).set_tcp_notsent_lowat(unsent_bytes_max);
    #[cfg(not(target_os = "linux"))]
    let _ = unsent_bytes_max;
}

async fn handshake(
    stream: TcpStream,
    address: SocketAddr,
    context: &SessionContext,
) -> Option<(TlsStream, SessionId)> {
    let deadline = Duration::from_millis(context.limits.handshake_timeout_ms);
    let handshake = context.identity.accept();
    let accepting = tls::accept(stream, Arc::unwrap_or_clone(handshake.config));
    let refusal = match tokio::time::timeout(deadline, accepting).await {
        Ok(Ok((stream, exported))) => return Some((stream, SessionId(exported))),
        Ok(Err(error)) => handshake.slot.explain(&error),
        Err(_) => timed_out(),
    };
    record(refusal, address, context);
    None
}

fn record(refusal: Refusal, address: SocketAddr, context: &SessionContext) {
    let (claimed_subject, claimed_serial, claimed_issuer) =
        refusal.claim.map(|claim| (claim.subject, claim.serial, claim.issuer)).unwrap_or_default();
    let (code, detail) = (refusal.code.as_str(), refusal.detail);
    tracing::info!(%address, code, claimed_subject, claimed_serial, claimed_issuer, detail, "handshake refused");
    let event = event::HandshakeRefused {
        address: address.to_string(),
        code: code.to_owned(),
        claimed_subject,
        claimed_serial,
        detail,
        claimed_issuer,
    };
    // The journal tells the server to stop when it fails; the connection is refused either way.
    let _ = context.summary.record(address.ip(), event);
}
