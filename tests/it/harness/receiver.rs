//! A receiver of webhooks on this machine: answers as it is told, keeps what it was sent, and verifies signatures with another library than the
//! server's.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use ring::hmac;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sealfeed::config::WebhookConfig;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{LIMIT, Pki, wait_until};

/// The secret of all receivers.
const SECRET: [u8; 32] = *b"thirty-two bytes of a test key..";

/// One request that came.
#[derive(Clone, Debug)]
pub(crate) struct Posted {
    /// Path of the request.
    pub(crate) path: String,
    /// `webhook-id`.
    pub(crate) id: String,
    /// `webhook-timestamp`.
    pub(crate) timestamp: u64,
    /// The body as it came.
    pub(crate) body: String,
    signature: String,
}

impl Posted {
    /// The message; asserts its signature.
    pub(crate) fn verified(&self) -> Value {
        let signed = format!("{}.{}.{}", self.id, self.timestamp, self.body);
        let tag = BASE64.decode(self.signature.strip_prefix("v1,").unwrap()).unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &SECRET);
        hmac::verify(&key, signed.as_bytes(), &tag).expect("the signature is good");
        serde_json::from_str(&self.body).unwrap()
    }

    /// Name and state of the alert.
    pub(crate) fn alert(&self) -> (String, String) {
        let message = self.verified();
        let text = |field: &str| message["data"][field].as_str().unwrap().to_owned();
        (text("name"), text("state"))
    }
}

/// What it answers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// A status.
    Status(u16),
    /// A redirect to a path of its own.
    Redirect,
    /// Nothing, ever.
    Silence,
}

#[derive(Default)]
struct State {
    posted: Vec<Posted>,
    answers: VecDeque<Answer>,
}

/// A receiver that listens; it ends with the test's runtime.
pub(crate) struct Receiver {
    url: String,
    authorities: Option<PathBuf>,
    state: Arc<Mutex<State>>,
    _folder: tempfile::TempDir,
    secret_file: PathBuf,
}

impl Receiver {
    /// Answers so to the first requests, one after the other, and to all others with 204.
    pub(crate) async fn start(answers: &[Answer]) -> Self {
        Self::listen(answers, None).await
    }

    /// As [`Receiver::start`], over TLS with the server's certificate of the PKI.
    pub(crate) async fn start_tls(answers: &[Answer]) -> Self {
        let folder = Pki::get().folder.join("servers/localhost");
        let chain = CertificateDer::pem_file_iter(folder.join("server.pem")).unwrap();
        let chain = chain.map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        Self::listen(answers, Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn listen(answers: &[Answer], tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}/hook?token=of-the-receiver", listener.local_addr().unwrap());
        let authorities = tls.as_ref().map(|_| Pki::get().server_authorities());
        let state =
            Arc::new(Mutex::new(State { answers: answers.iter().copied().collect(), ..State::default() }));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (tls, shared) = (tls.clone(), Arc::clone(&shared));
                tokio::spawn(async move {
                    match tls {
                        None => serve(tcp, shared).await,
                        // Whoever does not trust the certificate leaves.
                        Some(tls) => {
                            if let Ok(tls) = tls.accept(tcp).await {
                                serve(tls, shared).await;
                            }
                        }
                    }
                });
            }
        });
        let folder = tempfile::TempDir::new().unwrap();
        let secret_file = secret(folder.path());
        Self { url, authorities, state, _folder: folder, secret_file }
    }

    /// How a server is told of it.
    pub(crate) fn config(&self) -> WebhookConfig {
        WebhookConfig {
            url: self.url.clone(),
            secret_file: self.secret_file.clone(),
            authorities: self.authorities.clone(),
            timeout_ms: 2_000,
        }
    }

    /// What came so far.
    pub(crate) fn posted(&self) -> Vec<Posted> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).posted.clone()
    }

    /// Waits for a request for which `is_it` holds.
    pub(crate) async fn posted_where(&self, is_it: impl Fn(&Posted) -> bool) -> Posted {
        let mut found = None;
        let is_there = wait_until(LIMIT, || {
            found = self.posted().into_iter().find(|posted| is_it(posted));
            found.is_some()
        });
        assert!(is_there.await, "{:#?}", self.posted());
        found.unwrap()
    }
}

/// Writes the secret of all receivers as its owner must keep it.
pub(crate) fn secret(folder: &Path) -> PathBuf {
    let file = folder.join("alerts.secret");
    std::fs::write(&file, format!("whsec_{}\n", BASE64.encode(SECRET))).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    file
}

/// The secret as text, to look for it where it must not stand.
pub(crate) fn secret_text() -> String {
    BASE64.encode(SECRET)
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, state: Arc<Mutex<State>>) {
    let service = service_fn(move |request| answer(request, Arc::clone(&state)));
    // Whoever leaves in the middle has left.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    request: Request<Incoming>,
    state: Arc<Mutex<State>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let header = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
    let (id, timestamp, signature) =
        (header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"));
    assert_eq!((request.method().as_str(), &*header("content-type")), ("POST", "application/json"));
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    let posted = Posted { path, id, timestamp: timestamp.parse().unwrap(), body, signature };
    let answer = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.posted.push(posted);
        state.answers.pop_front().unwrap_or(Answer::Status(204))
    };
    let response = Response::builder();
    let response = match answer {
        Answer::Status(status) => response.status(status),
        Answer::Redirect => response.status(307).header("location", "/elsewhere"),
        Answer::Silence => std::future::pending().await,
    };
    Ok(response.body(Full::default()).unwrap())
}
