//! From the name to a TLS connection: DNS, TCP, and what the server shows; and in words what answers there if it is no feed.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::{CertificateError, RootCertStore};
use sealfeed_client::{ClientConfig, ClientIdentity, FeedUrl, clock};
use sealfeed_wire::Code;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::Instant;

use super::super::context::{EXIT_CANNOT_CONNECT, EXIT_USAGE};
use super::door;
use super::endpoint::{Endpoint, Shown, Tls, alert_in, tls_error};
use super::local::day;
use super::report::{Fault, Report};
use crate::identity::{chain_breaks_at, describe};

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 16;
/// Fewer days than these make a warning.
const DAYS_LEFT_MIN: u64 = 14;
const DAY_NS: u64 = 24 * 60 * 60 * 1_000_000_000;

/// A failure to connect.
pub(super) fn unreached(what: impl Into<String>, fix: impl Into<String>) -> Fault {
    Fault::new(what, fix).exit(EXIT_CANNOT_CONNECT)
}

/// Whether every address of the server is one of this machine's own (loopback). Sends nothing to it.
pub(super) async fn is_this_machine(url: &FeedUrl) -> bool {
    match lookup_host((url.host(), url.port())).await {
        Ok(addresses) => {
            let mut addresses = addresses.take(ADDRESSES_MAX).peekable();
            addresses.peek().is_some() && addresses.all(|address| address.ip().is_loopback())
        }
        Err(_) => false,
    }
}

/// Finds the server's addresses and connects to the first that answers.
pub(super) async fn reach(
    config: &ClientConfig,
    timeout: Duration,
    report: &mut Report,
) -> Option<(Endpoint, TcpStream)> {
    let mut roots = RootCertStore::empty();
    for root in &config.server_roots {
        if let Err(error) = roots.add(root.clone()) {
            let fix =
                "Name the file with the authorities of the server's certificate (ca.pem of the bundle).";
            let what = format!("an authority in the CA file cannot be used: {error}");
            report.fail("server certificate", &Fault::new(what, fix).exit(EXIT_USAGE));
            return None;
        }
    }
    let Some(headers) = headers(config) else {
        let what = "a header in the configuration cannot be sent";
        let fix = "Header names and values are printable ASCII without line ends.";
        report.fail("upgrade", &Fault::new(what, fix).exit(EXIT_USAGE));
        return None;
    };
    let (host, port) = (config.url.host(), config.url.port());
    let began = Instant::now();
    let found = tokio::time::timeout(timeout, lookup_host((host, port))).await;
    let addresses: Vec<SocketAddr> = match found {
        Ok(Ok(addresses)) => addresses.take(ADDRESSES_MAX).collect(),
        Ok(Err(error)) => {
            let what = format!("the name {host} is not known: {error}");
            report
                .fail("dns", &unreached(what, "Check the name in the address, and this machine's resolver."));
            return None;
        }
        Err(_) => {
            let what = format!("no answer about the name {host} within {timeout:?}");
            report.fail("dns", &unreached(what, "Check this machine's resolver (/etc/resolv.conf)."));
            return None;
        }
    };
    let list: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
    report.ok("dns", format!("{host} is {} ({})", list.join(", "), elapsed(began)));
    let mut endpoint = Endpoint {
        url: config.url.clone(),
        address: SocketAddr::from(([0, 0, 0, 0], port)),
        timeout,
        roots: Arc::new(roots),
        headers,
    };
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        endpoint.address = address;
        let began = Instant::now();
        match endpoint.tcp().await {
            Ok(tcp) => {
                report.ok("tcp", format!("connected to {address} in {}", elapsed(began)));
                return Some((endpoint, tcp));
            }
            Err(error) => last = error,
        }
    }
    report.fail("tcp", &no_tcp(&endpoint, &last));
    None
}

/// The configuration's own header lines; `None` if one of them is none.
fn headers(config: &ClientConfig) -> Option<String> {
    let is_clean = |part: &str| part.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    let lines = config.headers.iter().map(|(name, value)| {
        let is_header = !name.is_empty() && !name.contains([':', ' ']) && is_clean(name) && is_clean(value);
        is_header.then(|| format!("{name}: {value}\r\n"))
    });
    lines.collect()
}

fn no_tcp(endpoint: &Endpoint, error: &io::Error) -> Fault {
    let address = endpoint.address;
    match error.kind() {
        io::ErrorKind::ConnectionRefused => unreached(
            format!("nothing listens on {address}"),
            "Check the port (9443 unless configured), and whether the server runs: it prints where it listens.",
        ),
        io::ErrorKind::TimedOut => unreached(
            format!("no answer from {address} within {:?}", endpoint.timeout),
            "A firewall drops packets without a word, or the address is not the server's. Ask the network.",
        ),
        _ => unreached(
            format!("no connection to {address}: {error}"),
            "Check route and address: this machine cannot get there.",
        ),
    }
}

/// The TLS handshake, and the server's certificate. The server has not judged ours when this returns.
pub(super) async fn secure(
    endpoint: &Endpoint,
    tcp: TcpStream,
    identity: Option<&ClientIdentity>,
    report: &mut Report,
) -> Option<Tls> {
    let shown = Arc::new(Shown::default());
    let began = Instant::now();
    match endpoint.tls(tcp, identity, &shown).await {
        Ok(tls) => {
            server_certificate(&shown, report);
            let (_, connection) = tls.get_ref();
            let suite = connection.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()));
            let group = connection.negotiated_key_exchange_group().map(|group| format!("{:?}", group.name()));
            let (suite, group) = (suite.unwrap_or_default(), group.unwrap_or_default());
            report.ok("tls", format!("TLS 1.3, {suite}, {group}, in {}", elapsed(began)));
            Some(tls)
        }
        Err(error) => {
            not_secured(endpoint, &error, &shown, report).await;
            None
        }
    }
}

fn server_certificate(shown: &Shown, report: &mut Report) {
    let chain = shown.chain();
    let Some(leaf) = chain.first().and_then(|der| describe(der)) else {
        return report.ok("server certificate", "trusted by the CA file");
    };
    let days = leaf.not_after.0.saturating_sub(clock::system_time().0) / DAY_NS;
    let names = leaf.names.join(", ");
    let text = format!("{} for {names}, until {}, {days} days left", leaf.subject, day(leaf.not_after));
    if days < DAYS_LEFT_MIN {
        report.warn(
            "server certificate",
            text,
            "Tell the operator to renew it (pki.sh server NAME): a reload takes it.",
        );
    } else if let Some(position) = chain_breaks_at(&chain) {
        let fix = "Tell the operator to put the chain in order.";
        report.warn(
            "server certificate",
            format!("{text}; its certificate {position} was not issued by the next"),
            fix,
        );
    } else {
        report.ok("server certificate", format!("{text}; trusted by the CA file"));
    }
}

/// Why there is no TLS.
async fn not_secured(endpoint: &Endpoint, error: &io::Error, shown: &Shown, report: &mut Report) {
    if let Some(rustls::Error::InvalidCertificate(kind)) = tls_error(error) {
        return report.fail("server certificate", &distrusted(endpoint, kind, shown));
    }
    if let Some(alert) = alert_in(error) {
        return report.fail("tls", &door::refused(alert));
    }
    if let Some(rustls::Error::PeerIncompatible(what)) = tls_error(error) {
        let what = format!("what answers offers no TLS that can be used: {what:?}");
        let fix = "The feed speaks TLS 1.3 only. Check host and port, or what stands in between and takes TLS apart.";
        return report.fail("tls", &unreached(what, fix));
    }
    let fault = match plain_probe(endpoint).await {
        Answers::Http(status) => unreached(
            format!("what answers on {} speaks plain HTTP, not TLS: {status}", endpoint.address),
            "This is no feed's port: a feed has no plaintext. Check the port, or the proxy in front that took TLS off.",
        ),
        Answers::Bytes(bytes) => unreached(
            format!("what answers on {} is no TLS: it says {bytes}", endpoint.address),
            "Another service listens there. Check the port.",
        ),
        Answers::Nothing if error.kind() == io::ErrorKind::TimedOut => unreached(
            format!("{} took the connection and said nothing within {:?}", endpoint.address, endpoint.timeout),
            "The server hangs or is overloaded, or something that listens there is no feed. Ask the operator.",
        ),
        Answers::Nothing | Answers::Closed => unreached(
            format!("{} closed the connection during the handshake without a word: {error}", endpoint.address),
            "It may be full, or this address may be banned for failed handshakes: wait a minute and try again. The server's log \
             says `limit` or `ban`, with this address.",
        )
        .code(Code::TlsAddressBanned),
    };
    report.fail("tls", &fault);
}

fn distrusted(endpoint: &Endpoint, kind: &CertificateError, shown: &Shown) -> Fault {
    let leaf = shown.chain().first().and_then(|der| describe(der));
    let (subject, issuer, names, until) = match &leaf {
        Some(leaf) => (leaf.subject.clone(), leaf.issuer.clone(), leaf.names.join(", "), day(leaf.not_after)),
        None => (String::new(), String::new(), String::new(), String::new()),
    };
    match kind {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => unreached(
            format!(
                "the server's certificate ({subject}) is issued by {issuer}, whom the CA file does not vouch for"
            ),
            "Name the CA file of this very server (ca.pem of the bundle). If it is the right one, do not go on: somebody answers in its place.",
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => unreached(
            format!("the server's certificate is for {names}, not for {}", endpoint.url.host()),
            "Connect by one of these names, or have the operator issue it for this one (pki.sh server NAME --san).",
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => unreached(
            format!("the server's certificate ({subject}) expired on {until}, by this machine's clock"),
            "Check this machine's clock; if it is right, tell the operator to renew (pki.sh server NAME).",
        ),
        other => unreached(
            format!("the server's certificate ({subject}) is not trusted: {other}"),
            "Tell the operator; do not go on without a check.",
        ),
    }
}

/// What answers where no TLS was.
enum Answers {
    Http(String),
    Bytes(String),
    Closed,
    Nothing,
}

async fn plain_probe(endpoint: &Endpoint) -> Answers {
    let mut first = [0; 64];
    let probing = async {
        let mut tcp = endpoint.tcp().await?;
        let request =
            format!("GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", endpoint.url.authority());
        tcp.write_all(request.as_bytes()).await?;
        tcp.read(&mut first).await
    };
    match endpoint.within(probing).await {
        Ok(0) => Answers::Closed,
        Ok(count) => {
            let line = first[..count].split(|byte| *byte == b'\r').next().unwrap_or_default();
            let text = line.escape_ascii().to_string();
            // An alert: it is TLS after all, and it does not like what we say.
            if first[0] == 0x15 {
                Answers::Closed
            } else if text.starts_with("HTTP/") {
                Answers::Http(text)
            } else {
                Answers::Bytes(text)
            }
        }
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Answers::Nothing,
        Err(_) => Answers::Closed,
    }
}

/// Time since then, as people read it.
pub(super) fn elapsed(since: Instant) -> String {
    milliseconds(since.elapsed())
}

/// A length of time in milliseconds, to the hundredth.
pub(super) fn milliseconds(time: Duration) -> String {
    let hundredths = time.as_micros() / 10;
    format!("{}.{:02} ms", hundredths / 100, hundredths % 100)
}
