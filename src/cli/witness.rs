//! `sealfeed witness`: keeps the checkpoints of other machines' logs, and never one that does not continue the last.
//!
//! Speaks C2SP tlog-witness over plain HTTP: what is exchanged is public to its readers and signed on both sides. Put a TLS proxy in front
//! where others should not see sizes and times. Bounded in requests at once, bytes and time.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use sealfeed_audit::note::VerifierKey;
use sealfeed_audit::witness::protocol::{PATH, REQUEST_BYTES_MAX, SIZE_TYPE};
use sealfeed_audit::witness::{Answer, Keeper};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::telemetry;

/// Requests served at once; more wait to be accepted.
const REQUESTS_MAX: usize = 64;
/// A request that is not complete after this time is given up.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Arguments of `witness`.
#[derive(Debug, Args)]
pub(super) struct WitnessArgs {
    /// Where the witness keeps its key and what it has seen. Losing it makes the witness forget its word.
    directory: PathBuf,
    /// Name that it signs under, such as witness.compliance.acme.example/w1; fixed with its key.
    #[arg(long)]
    name: String,
    /// A log to watch: its public key, or the file that holds it (log.pub). May be given several times, one for each origin.
    #[arg(long = "log", value_name = "KEY|FILE", required = true)]
    logs: Vec<String>,
    /// Address and port to listen on.
    #[arg(long, default_value = "127.0.0.1:7443")]
    listen: SocketAddr,
}

pub(super) fn run(arguments: &WitnessArgs) -> anyhow::Result<ExitCode> {
    let keys = arguments.logs.iter().map(|text| key(text)).collect::<anyhow::Result<Vec<_>>>()?;
    let keeper = Keeper::open_or_make(&arguments.directory, &arguments.name, keys)
        .with_context(|| format!("cannot be a witness in {:?}", arguments.directory))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(serve(Arc::new(keeper), arguments.listen))
}

fn key(text: &str) -> anyhow::Result<VerifierKey> {
    if let Ok(key) = text.parse() {
        return Ok(key);
    }
    let content = std::fs::read_to_string(text)
        .with_context(|| format!("{text:?} is neither a log's key nor a file that can be read"))?;
    content.trim().parse().map_err(|_| anyhow::anyhow!("file {text:?} holds no log's key"))
}

async fn serve(keeper: Arc<Keeper>, address: SocketAddr) -> anyhow::Result<ExitCode> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    anstream::eprintln!("sealfeed: witness listening on http://{}", listener.local_addr()?);
    anstream::eprintln!("sealfeed: its key is {}", keeper.public());
    let places = Arc::new(Semaphore::new(REQUESTS_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await?;
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let keeper = Arc::clone(&keeper);
                tokio::spawn(async move {
                    // A peer that is too slow, or speaks something else, is nobody's trouble but its own.
                    let _ = tokio::time::timeout(TIMEOUT, connection(stream, keeper)).await;
                    drop(place);
                });
            }
            _ = terminate.recv() => return Ok(ExitCode::SUCCESS),
            _ = interrupt.recv() => return Ok(ExitCode::SUCCESS),
        }
    }
}

async fn connection(stream: TcpStream, keeper: Arc<Keeper>) -> hyper::Result<()> {
    let service = service_fn(move |request| answer(request, Arc::clone(&keeper)));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(TIMEOUT)
        .max_buf_size(64 * 1024)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

async fn answer(
    request: Request<Incoming>,
    keeper: Arc<Keeper>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() != PATH {
        return Ok(respond(StatusCode::NOT_FOUND, "there is only /add-checkpoint here\n".to_owned(), None));
    }
    if request.method() != Method::POST {
        return Ok(respond(StatusCode::METHOD_NOT_ALLOWED, "POST it\n".to_owned(), None));
    }
    let Ok(body) = Limited::new(request.into_body(), REQUEST_BYTES_MAX).collect().await else {
        return Ok(respond(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large\n".to_owned(), None));
    };
    let body = body.to_bytes();
    let seconds = Clock::System.now().0 / 1_000_000_000;
    let judged = tokio::task::spawn_blocking(move || {
        keeper.add_checkpoint(std::str::from_utf8(&body).unwrap_or_default(), seconds)
    });
    Ok(match judged.await {
        Ok(Ok(answer)) => {
            let status = StatusCode::from_u16(answer.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let kind = matches!(answer, Answer::Conflict(_)).then_some(SIZE_TYPE);
            respond(status, answer.body(), kind)
        }
        Ok(Err(error)) => {
            anstream::eprintln!("sealfeed: error: {}", telemetry::chain(&error));
            respond(StatusCode::INTERNAL_SERVER_ERROR, "the witness cannot keep its word\n".to_owned(), None)
        }
        Err(_) => respond(StatusCode::INTERNAL_SERVER_ERROR, "the witness failed\n".to_owned(), None),
    })
}

fn respond(status: StatusCode, body: String, kind: Option<&'static str>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static(kind.unwrap_or("text/plain; charset=utf-8"));
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
