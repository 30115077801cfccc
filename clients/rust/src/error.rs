//! Why a connection could not be made, or a request was not answered.
//!
//! Every error says what was tried, keeps its cause as source, and offers [`hint`](ConnectError::hint): what to do
//! about it. None holds a secret.

use std::fmt;
use std::io;

use sealfeed_wire::code::AnyCode;
use sealfeed_wire::reply::ErrorReply;

use crate::config::ConfigError;
use crate::event::Closed;
use crate::tls::CertificateRefusal;
use crate::upgrade::UpgradeRefusal;

/// How far a connection had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// TCP and the TLS handshake.
    TlsHandshake,
    /// The HTTP upgrade. In TLS 1.3 the server judges our certificate during this stage.
    Upgrade,
    /// Waiting for `welcome`.
    Welcome,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TlsHandshake => "the TLS handshake",
            Self::Upgrade => "the WebSocket upgrade",
            Self::Welcome => "the wait for welcome",
        })
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The context, or a file that it names, cannot be used. Nothing was sent.
    #[error("the client is not configured rightly")]
    Config(#[from] ConfigError),
    /// No TCP connection.
    #[error("cannot reach {address}")]
    Tcp {
        /// Host and port.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The server's certificate is not one we trust: another CA, another name, expired.
    #[error("the server's certificate is not trusted")]
    ServerCertificate {
        /// Which check failed.
        source: io::Error,
    },
    /// The server refused our certificate.
    #[error("the server refused our client certificate: {refusal}")]
    CertificateRefused {
        /// Why, as far as its alert says.
        refusal: CertificateRefusal,
        /// The alert.
        source: io::Error,
    },
    /// TLS or the network failed for another reason.
    #[error("the connection failed during {stage}")]
    Tls {
        /// How far it had come.
        stage: Stage,
        /// Why.
        source: io::Error,
    },
    /// The server answered the upgrade with a refusal.
    #[error("the server refused the upgrade with HTTP {}", .0.status)]
    UpgradeRefused(UpgradeRefusal),
    /// Whatever answered is no feed.
    #[error("the answer to the upgrade is not valid: {reason}")]
    UpgradeInvalid {
        /// What is wrong.
        reason: &'static str,
    },
    /// A header in the configuration cannot be sent.
    #[error("the header {name} cannot be sent")]
    HeaderInvalid {
        /// Its name, made printable.
        name: String,
    },
    /// The connection was closed before `welcome`.
    #[error("the server closed the connection before welcome: {0}")]
    ClosedEarly(Closed),
    /// The first message was no `welcome`.
    #[error("the first message is not a welcome")]
    WelcomeInvalid,
    /// `session` in `welcome` is not the exporter value of this connection: somebody stands between us and the
    /// server, or the server is broken. Nothing was signed.
    #[error("the session in welcome is not bound to this TLS connection")]
    BindingMismatch,
    /// The time limit of the configuration passed.
    #[error("no connection within {limit_ms} ms; it had come to {stage}")]
    Timeout {
        /// How far it had come.
        stage: Stage,
        /// The limit.
        limit_ms: u64,
    },
}

impl ConnectError {
    /// The stable code, where there is one.
    #[must_use]
    pub fn code(&self) -> Option<AnyCode> {
        match self {
            Self::CertificateRefused { refusal, .. } => refusal.code().map(AnyCode::from),
            Self::UpgradeRefused(refusal) => refusal.code.clone(),
            _ => None,
        }
    }

    /// What to do, in one or two sentences.
    #[must_use]
    pub fn hint(&self) -> String {
        let fixed = match self {
            Self::UpgradeRefused(refusal) if !refusal.hint.is_empty() => return refusal.hint.clone(),
            Self::UpgradeRefused(_) => "Check the address; what answered there is not the feed.",
            Self::CertificateRefused { refusal, .. } => refusal.hint(),
            Self::Config(_) => "Correct the context file, or the file that it names.",
            Self::Tcp { .. } => "Check host and port, and whether the server runs.",
            Self::ServerCertificate { .. } => {
                "Check that the CA file belongs to this server and that the address is a name in its certificate."
            }
            Self::Tls { .. } => {
                "Connect with TLS 1.3 to the feed's port; if it ends without a word, ask the operator for the reason in the log."
            }
            Self::UpgradeInvalid { .. } | Self::WelcomeInvalid => {
                "Check the address; what answered there is not the feed."
            }
            Self::HeaderInvalid { .. } => "Header names and values are printable ASCII without line ends.",
            Self::ClosedEarly(_) => "Connect again if the close code invites to; otherwise ask the operator.",
            Self::BindingMismatch => {
                "Do not trade over this path: something takes TLS apart between here and the server. Tell the operator."
            }
            Self::Timeout { .. } => "Check the network path, and whether the server is overloaded.",
        };
        fixed.to_owned()
    }
}

/// Why a request has no reply of the expected kind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The server refused it.
    #[error("refused: {}", .0.message)]
    Refused(Box<ErrorReply>),
    /// It was never sent: the connection had ended before.
    #[error("not sent, the connection has ended: {0}")]
    NotSent(Closed),
    /// It may have been sent, but the connection ended before the reply.
    #[error("the connection ended before the reply: {0}")]
    ConnectionLost(Closed),
    /// No reply in time.
    #[error("no reply within {limit_ms} ms")]
    Timeout {
        /// The limit.
        limit_ms: u64,
    },
    /// The reply is of a kind that does not answer the request.
    #[error("the reply is not one to {op}")]
    ReplyUnexpected {
        /// The request's op.
        op: &'static str,
    },
    /// The client has no order key, and its certificate's key is not to sign either. Nothing was sent.
    #[error("there is no order key to sign with")]
    OrderKeyMissing,
    /// The operating system gave no random bytes for a nonce. Nothing was sent.
    #[error("no random bytes for a nonce")]
    RandomUnavailable,
    /// The request is larger than the server takes. Nothing was sent.
    #[error("the request has {bytes} bytes, more than the server's {bytes_max}")]
    TooLarge {
        /// Bytes of the request.
        bytes: usize,
        /// Bytes allowed.
        bytes_max: usize,
    },
    /// As many requests as allowed wait for their replies already. Nothing was sent.
    #[error("{max} requests wait for their replies already")]
    TooManyWaiting {
        /// Requests allowed.
        max: usize,
    },
}
