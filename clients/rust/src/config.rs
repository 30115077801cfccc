//! What a client needs to connect: where to, whom to trust, who it is, and the key that signs its orders.
//!
//! A [`Context`] is the file `context.toml` that the PKI script writes beside a certificate; it names files and
//! holds no secret itself. A [`ClientConfig`] holds their content, read once. Unknown keys in a context are
//! errors, so that a misspelt key never means a missing one. Files are limited to 1 MiB.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sealfeed_wire::signing::OrderKey;
use sealfeed_wire::term::ProofDemand;
use sealfeed_wire::{SUBPROTOCOL_DBN, SUBPROTOCOL_JSON};
use serde::Deserialize;

use crate::token::TokenSource;
use crate::url::{FeedUrl, UrlError};

/// Largest file that a context may name, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The content of a `context.toml`: paths, no secrets. Relative paths are relative to that file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// Where the server is: `wss://host:port/v1/feed`.
    pub url: String,
    /// PEM file of the CA certificates that may vouch for the server.
    pub ca: PathBuf,
    /// PEM file of the client certificate and its chain.
    pub certificate: PathBuf,
    /// PEM file of the certificate's private key.
    pub key: PathBuf,
    /// File of the order key; `None`: no signed requests, unless the certificate's key signs them.
    pub order_key: Option<PathBuf>,
    /// What signed requests carry; `None`: what the server demands.
    pub proof: Option<ProofDemand>,
    /// File with a token of the identity provider, for servers that want one; read for every connection, and before it expires.
    pub token_file: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ContextFile {
    url: String,
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
    order_key: Option<PathBuf>,
    proof: Option<ProofDemand>,
    token_file: Option<PathBuf>,
}

/// Why a context, or a file that it names, cannot be used. Never shows the content of a key file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file is missing or may not be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is larger than anything that could be meant.
    #[error("{} is larger than {bytes_max} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes allowed.
        bytes_max: u64,
    },
    /// The context is no TOML, lacks a key or has an unknown one.
    #[error("{} is not a context", path.display())]
    Context {
        /// The file.
        path: PathBuf,
        /// Line and problem.
        source: Box<toml::de::Error>,
    },
    /// The file is not PEM, or holds nothing of the kind that is needed.
    #[error("{} holds no usable {what} in PEM form", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// The order key file is not one line of 64 lower-case hexadecimal digits.
    #[error("{} is not an order key of 64 lower-case hexadecimal digits", path.display())]
    OrderKey {
        /// The file.
        path: PathBuf,
    },
    /// Requests are to be signed with the certificate's key, and it is of a kind that signs none.
    #[error("the private key is neither Ed25519 nor P-256, so it cannot sign requests")]
    SignatureKey,
    /// There is no token, or what there is cannot be one. Never shows it.
    #[error("the token cannot be had")]
    Token {
        /// Why.
        source: std::io::Error,
    },
    /// The address is not one of a feed.
    #[error("the address cannot be used")]
    Url(#[from] UrlError),
    /// The CA certificates, or the certificate and its key, are refused by the TLS library.
    #[error("the {what} cannot be used for TLS")]
    Tls {
        /// Which of them.
        what: &'static str,
        /// Why.
        source: rustls::Error,
    },
}

impl Context {
    /// Reads a `context.toml`. The files that it names are not opened yet.
    ///
    /// # Errors
    /// [`ConfigError`] when the file cannot be read, is no TOML, lacks a key or has an unknown one.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let text = String::from_utf8_lossy(&read_file(path)?).into_owned();
        let file: ContextFile = toml::from_str(&text)
            .map_err(|source| ConfigError::Context { path: path.to_owned(), source: Box::new(source) })?;
        let directory = path.parent().unwrap_or(Path::new(""));
        Ok(Self {
            url: file.url,
            ca: directory.join(file.ca),
            certificate: directory.join(file.certificate),
            key: directory.join(file.key),
            order_key: file.order_key.map(|name| directory.join(name)),
            proof: file.proof,
            token_file: file.token_file.map(|name| directory.join(name)),
        })
    }
}

/// The certificate chain a client shows and the private key that goes with it.
pub struct ClientIdentity {
    /// The client's own certificate first, then its issuers.
    pub chain: Vec<CertificateDer<'static>>,
    /// The private key of the first certificate.
    pub key: PrivateKeyDer<'static>,
}

/// Sub-protocol of a connection: how market data comes. Requests and replies are the same in both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// As JSON texts, with everything in them.
    #[default]
    Json,
    /// As DBN records: smaller, and without what DBN has no place for (numbers of trades, `ts_out`). Books have ten levels.
    Dbn,
}

impl Protocol {
    /// Its name in the upgrade.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => SUBPROTOCOL_JSON,
            Self::Dbn => SUBPROTOCOL_DBN,
        }
    }
}

/// Everything that a connection is made from.
#[derive(Debug)]
pub struct ClientConfig {
    /// Where the server is.
    pub url: FeedUrl,
    /// CA certificates that may vouch for the server. Nothing else is trusted, no system store.
    pub server_roots: Vec<CertificateDer<'static>>,
    /// Who we are. `None` shows no certificate, which a server refuses: for diagnosis only.
    pub identity: Option<ClientIdentity>,
    /// Signs orders. `None`: no signed requests, unless the certificate's key signs them.
    pub order_key: Option<OrderKey>,
    /// What signed requests carry; `None`: what the server demands. `Sig` and `Both` need an Ed25519 or P-256 key.
    pub proof: Option<ProofDemand>,
    /// Where tokens of an identity provider come from, for servers that want one beside the certificate. It is renewed before it expires.
    pub token: Option<TokenSource>,
    /// More headers of the upgrade request.
    pub headers: Vec<(String, String)>,
    /// How market data comes.
    pub protocol: Protocol,
    /// With [`Protocol::Dbn`]: market data comes as [`Event::Record`](crate::Event::Record), with the bytes that the server sent, for
    /// whoever keeps them.
    pub keep_records: bool,
    /// Longest time from the first packet to `welcome`, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Longest wait for the reply to one request, in milliseconds. For a signed request its end means
    /// [`OrderOutcome::Unknown`](crate::OrderOutcome::Unknown).
    pub request_timeout_ms: u64,
}

impl ClientConfig {
    /// Default of [`connect_timeout_ms`](Self::connect_timeout_ms).
    pub const CONNECT_TIMEOUT_MS: u64 = 10_000;

    /// Default of [`request_timeout_ms`](Self::request_timeout_ms).
    pub const REQUEST_TIMEOUT_MS: u64 = 10_000;

    /// A configuration with the default limits and no order key.
    #[must_use]
    pub const fn new(
        url: FeedUrl,
        server_roots: Vec<CertificateDer<'static>>,
        identity: Option<ClientIdentity>,
    ) -> Self {
        Self {
            url,
            server_roots,
            identity,
            order_key: None,
            proof: None,
            token: None,
            headers: Vec::new(),
            protocol: Protocol::Json,
            keep_records: false,
            connect_timeout_ms: Self::CONNECT_TIMEOUT_MS,
            request_timeout_ms: Self::REQUEST_TIMEOUT_MS,
        }
    }

    /// Reads all files that a context names.
    ///
    /// # Errors
    /// [`ConfigError`] for the first file that cannot be used.
    pub fn from_context(context: &Context) -> Result<Self, ConfigError> {
        let url = FeedUrl::parse(&context.url)?;
        let server_roots = read_certificates(&context.ca)?;
        let identity = ClientIdentity::load(&context.certificate, &context.key)?;
        let mut config = Self::new(url, server_roots, Some(identity));
        config.order_key = context.order_key.as_deref().map(read_order_key).transpose()?;
        config.proof = context.proof;
        config.token = context.token_file.clone().map(TokenSource::File);
        Ok(config)
    }
}

impl ClientIdentity {
    /// Reads a PEM chain and the PEM private key that goes with it.
    ///
    /// # Errors
    /// [`ConfigError`] when a file cannot be read or holds no such thing.
    pub fn load(chain: &Path, key: &Path) -> Result<Self, ConfigError> {
        let text = read_file(key)?;
        let pem = |_| ConfigError::Pem { path: key.to_owned(), what: "private key" };
        let key = PrivateKeyDer::from_pem_slice(&text).map_err(pem)?;
        Ok(Self { chain: read_certificates(chain)?, key })
    }

    /// Another handle on the same chain and key.
    #[must_use]
    pub fn clone_key(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientIdentity({} certificates, key redacted)", self.chain.len())
    }
}

/// Reads every certificate of a PEM file.
///
/// # Errors
/// [`ConfigError`] when the file cannot be read, is malformed or holds no certificate.
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let text = read_file(path)?;
    let pem = || ConfigError::Pem { path: path.to_owned(), what: "certificate" };
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) | Err(_) => Err(pem()),
    }
}

fn read_order_key(path: &Path) -> Result<OrderKey, ConfigError> {
    let text = String::from_utf8(read_file(path)?);
    let wrong = || ConfigError::OrderKey { path: path.to_owned() };
    OrderKey::parse(&text.map_err(|_| wrong())?).map_err(|_| wrong())
}

fn read_file(path: &Path) -> Result<Vec<u8>, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let mut content = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut content).map_err(unreadable)?;
    if content.len() as u64 > FILE_BYTES_MAX {
        return Err(ConfigError::TooLarge { path: path.to_owned(), bytes_max: FILE_BYTES_MAX });
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Context, ConfigError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("context.toml");
        std::fs::write(&path, text).unwrap();
        Context::load(&path).map(|mut context| {
            for file in [&mut context.ca, &mut context.certificate, &mut context.key] {
                *file = file.strip_prefix(directory.path()).unwrap_or(file).to_owned();
            }
            context
        })
    }

    const FILE: &str = "url = \"wss://localhost:9443/v1/feed\"\nca = \"ca.pem\"\ncertificate = \"client.pem\"\nkey = \"/keys/client.key\"\n";

    #[test]
    fn paths_are_relative_to_the_context_file() {
        let context = check(FILE).unwrap();
        assert_eq!(context.ca, Path::new("ca.pem"));
        assert_eq!(context.key, Path::new("/keys/client.key"));
        assert_eq!((context.order_key, context.token_file), (None, None));
        let context = check(&format!("{FILE}token_file = \"/run/token\"\n")).unwrap();
        assert_eq!(context.token_file.as_deref(), Some(Path::new("/run/token")));
    }

    #[test]
    fn an_unknown_or_missing_key_is_an_error() {
        assert!(matches!(check(&format!("{FILE}cacert = \"x\"\n")), Err(ConfigError::Context { .. })));
        assert!(matches!(check("url = \"wss://h/\"\n"), Err(ConfigError::Context { .. })));
    }

    #[test]
    fn a_file_that_is_no_order_key_is_refused_without_showing_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("order.key");
        std::fs::write(&path, "5EC4E7").unwrap();
        let error = read_order_key(&path).unwrap_err();
        assert!(matches!(error, ConfigError::OrderKey { .. }));
        assert!(!format!("{error} {error:?}").contains("5EC4E7"));
    }
}
