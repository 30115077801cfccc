//! An echo server over the product's own TLS, limits and WebSocket layer, so that public WebSocket conformance
//! suites can be run against our stack. For tests only: it keeps no log and has no entitlements.
//!
//! `cargo run --example echo_server -- --listen 127.0.0.1:9001 --pki DIR [--message-bytes-max N]`, where DIR was
//! made by `pki/pki.sh` and has a server certificate named `localhost`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use sealfeed::clock::Clock;
use sealfeed::config::{IdentityConfig, LimitsConfig, TlsConfig};
use sealfeed::feed::{FrameKind, push_frame};
use sealfeed::identity::Identity;
use sealfeed::session::UpgradeRules;
use sealfeed::session::tls::{self, TlsStream};
use sealfeed::session::upgrade;
use sealfeed::session::websocket::{self, Incoming};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

#[derive(Parser)]
struct Arguments {
    /// Address and port to listen on.
    #[arg(long)]
    listen: SocketAddr,
    /// Directory made by pki/pki.sh.
    #[arg(long)]
    pki: PathBuf,
    /// Bytes of the largest message that is echoed.
    #[arg(long, default_value_t = 16 * 1024 * 1024)]
    message_bytes_max: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let identity = std::sync::Arc::new(identity(&arguments)?);
    let limits = LimitsConfig { message_bytes_max: arguments.message_bytes_max, ..LimitsConfig::default() };
    let listener = TcpListener::bind(arguments.listen).await.context("cannot listen")?;
    anstream::println!("echo server on wss://{}{}", listener.local_addr()?, sealfeed_wire::PATH);
    loop {
        let (stream, _) = listener.accept().await?;
        let (identity, limits) = (identity.clone(), limits.clone());
        tokio::spawn(async move {
            if let Err(error) = connection(stream, &identity, &limits).await {
                anstream::eprintln!("connection: {error:#}");
            }
        });
    }
}

fn identity(arguments: &Arguments) -> anyhow::Result<Identity> {
    let pki = &arguments.pki;
    let policy = tempfile::NamedTempFile::new()?;
    std::fs::write(
        policy.path(),
        "[[rule]]\nname = \"all\"\nmatch = {}\nchannels = [\"trades\"]\nsymbols = [\"*\"]\n",
    )?;
    let tls = TlsConfig::new(
        pki.join("servers/localhost/server.pem"),
        pki.join("servers/localhost/server.key"),
        pki.join("ca/clients.pem"),
        pki.join("crl/clients.pem"),
    );
    let identity = IdentityConfig {
        entitlements: policy.path().to_owned(),
        master_key: pki.join("master/current.hex"),
        previous_master_key: None,
    };
    Identity::load(&tls, &identity, None, Clock::System).context("cannot load the certificates")
}

async fn connection(stream: TcpStream, identity: &Identity, limits: &LimitsConfig) -> anyhow::Result<()> {
    let rules = UpgradeRules { origins: Vec::new() };
    let handshake = tls::accept(stream, std::sync::Arc::unwrap_or_clone(identity.accept().config));
    let (mut stream, _) =
        tokio::time::timeout(Duration::from_millis(limits.handshake_timeout_ms), handshake).await??;
    let request = upgrade::receive(&mut stream, &rules, limits.header_bytes_max);
    let deadline = Duration::from_millis(limits.upgrade_timeout_ms);
    match tokio::time::timeout(deadline, request).await? {
        Ok(upgrade) => {
            stream.write_all(&upgrade.answer).await?;
            stream.flush().await?;
            let mut parser = websocket::Reader::new(limits.message_bytes_max, u32::MAX);
            parser.feed(&upgrade.already_read);
            echo(stream, parser).await.context("the connection broke")
        }
        Err(refused) => {
            upgrade::refuse(&mut stream, &refused).await?;
            anyhow::bail!("upgrade refused: {} {}", refused.code, refused.detail)
        }
    }
}

async fn echo(mut stream: TlsStream, mut parser: websocket::Reader) -> std::io::Result<()> {
    let mut received = Vec::with_capacity(64 * 1024);
    loop {
        let (mut out, mut is_over) = (Vec::new(), false);
        while let Some(incoming) = parser.read() {
            match incoming {
                Incoming::Text(text) => push_frame(&mut out, FrameKind::Text, text.as_bytes()),
                Incoming::Binary(bytes) => push_frame(&mut out, FrameKind::Binary, &bytes),
                Incoming::Ping | Incoming::Pong => {}
                Incoming::Violation(code) => {
                    let payload = [&code.number().to_be_bytes()[..], code.name().as_bytes()].concat();
                    push_frame(&mut out, FrameKind::Close, &payload);
                    is_over = true;
                }
                Incoming::TooManyFragments | Incoming::Closed(_) => is_over = true,
            }
            parser.take_answers(&mut out);
        }
        stream.write_all(&out).await?;
        stream.flush().await?;
        if is_over {
            return stream.shutdown().await;
        }
        received.clear();
        if stream.read_buf(&mut received).await? == 0 {
            return Ok(());
        }
        parser.feed(&received);
    }
}
