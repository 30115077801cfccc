//! Accepting connections: counted, limited, and given a deadline before anything is known of the peer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sealfeed_wire::SessionId;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::proxy::Announced;
use super::proxy_header;
use crate::config::ProxyConfig;
use crate::identity::{Refusal, timed_out};
use crate::journal::event;
use crate::session::tls::{self, TlsStream};
use crate::session::{ConnectionSlot, Identified, Met, Session, SessionContext};
use crate::types::Code;

/// How long sessions have to end after the stop signal.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long accepting pauses when the system has no more descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts until the stop signal, then waits for the sessions to end.
pub(super) async fn run(listener: TcpListener, context: Arc<SessionContext>, proxy: Arc<ProxyConfig>) {
    let mut connections = JoinSet::new();
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => accept(stream, address, &proxy, &context, &mut connections),
                Err(error) => {
                    // Out of descriptors, or the peer is gone already: neither ends the listener.
                    tracing::warn!(error = %error, "accepting failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            _ = second.tick() => {
                // The journal tells the server to stop when it fails.
                let _ = context.summary.flush_if_due();
                context.measure_pressure();
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
    peer: SocketAddr,
    proxy: &Arc<ProxyConfig>,
    context: &Arc<SessionContext>,
    connections: &mut JoinSet<()>,
) {
    let is_balancer = proxy.from.iter().any(|balancer| balancer.contains(peer.ip()));
    let admitted = context.registry.connect().and_then(|mut slot| {
        if !is_balancer {
            admit(&mut slot, peer, context)?;
        }
        Ok(slot)
    });
    match admitted {
        Ok(slot) => {
            let proxy = is_balancer.then(|| Arc::clone(proxy));
            connections.spawn(connection(stream, peer, proxy, slot, Arc::clone(context)));
        }
        // Dropping the stream closes it: a peer without a principal gets no reason.
        Err(Met { limit, code }) => context.met(peer, None, limit, code),
    }
}

/// Lets a client in whose address is known now, or says which limit it met.
fn admit(slot: &mut ConnectionSlot, client: SocketAddr, context: &SessionContext) -> Result<(), Met> {
    if context.is_banned(client.ip()) {
        return Err(Met { limit: "ban", code: Code::TlsAddressBanned });
    }
    slot.count_address(Some(client.ip()), context.clock.now())
}

/// One connection until it has a session or ends. `proxy` is given for those of load balancers.
async fn connection(
    mut stream: TcpStream,
    peer: SocketAddr,
    proxy: Option<Arc<ProxyConfig>>,
    mut slot: ConnectionSlot,
    context: Arc<SessionContext>,
) {
    prepare(&stream, context.limits.now().socket_unsent_bytes_max);
    let address = match proxy {
        None => peer,
        Some(proxy) => match announced(&mut stream, peer, &proxy, &mut slot, &context).await {
            Some(address) => address,
            None => return,
        },
    };
    let shaken = handshake(stream, address, &slot, &context).await;
    slot.handshake_is_over();
    let Some((stream, id)) = shaken else { return };
    let certificates = stream.peer_certificates();
    let identity = context.identity.identify(certificates, context.clock.now());
    let presented = certificates.to_vec();
    Session::<Identified>::new(context, address, id, identity, presented).serve(stream, slot).await;
}

/// For which address a balancer's connection is, once that is let in.
async fn announced(
    stream: &mut TcpStream,
    balancer: SocketAddr,
    proxy: &ProxyConfig,
    slot: &mut ConnectionSlot,
    context: &SessionContext,
) -> Option<SocketAddr> {
    let deadline = Duration::from_millis(proxy.timeout_ms);
    let read = tokio::time::timeout(deadline, proxy_header::read(stream)).await;
    let announced = match read
        .unwrap_or_else(|_| Err("no whole PROXY protocol header before the deadline".to_owned()))
    {
        Ok(announced) => announced,
        Err(detail) => {
            refused(Refusal { code: Code::TlsProxyHeaderInvalid, claim: None, detail }, balancer, context);
            return None;
        }
    };
    let (address, admitted) = match announced {
        Announced::Client(client) => (client, admit(slot, client, context)),
        Announced::Local => (balancer, slot.count_address(None, context.clock.now())),
    };
    match admitted {
        Ok(()) => Some(address),
        Err(Met { limit, code }) => {
            context.met(address, None, limit, code);
            None
        }
    }
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
    slot: &ConnectionSlot,
    context: &SessionContext,
) -> Option<(TlsStream, SessionId)> {
    let deadline = Duration::from_millis(context.limits.now().handshake_timeout_ms);
    let handshake = context.identity.accept();
    let accepting = tls::accept(stream, Arc::unwrap_or_clone(handshake.config));
    let refusal = match tokio::time::timeout(deadline, accepting).await {
        Ok(Ok((stream, exported))) => return Some((stream, SessionId(exported))),
        Ok(Err(error)) => handshake.slot.explain(&error),
        Err(_) => timed_out(),
    };
    // Whoever just leaves may be watching whether the port is open, or distrust our certificate: no fault.
    if refusal.code != Code::TlsPeerLeft {
        context.unknown_peer(slot, address);
    } else if slot.counted_as().is_none() {
        // A balancer's health check, as it said itself: nothing was refused, and it comes every few seconds.
        tracing::debug!(%address, "health check");
        return None;
    }
    refused(refusal, address, context);
    None
}

fn refused(refusal: Refusal, address: SocketAddr, context: &SessionContext) {
    let (claimed_subject, claimed_serial) =
        refusal.claim.map(|claim| (claim.subject, claim.serial)).unwrap_or_default();
    let (code, detail) = (refusal.code.as_str(), refusal.detail);
    tracing::info!(%address, code, claimed_subject, detail, "handshake refused");
    let event = event::HandshakeRefused {
        address: address.to_string(),
        code: code.to_owned(),
        claimed_subject,
        claimed_serial,
        detail,
    };
    // The journal tells the server to stop when it fails; the connection is refused either way.
    let _ = context.summary.record(address.ip(), event);
}
