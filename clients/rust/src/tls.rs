//! The TLS side of a connection: TLS 1.3 only, the server checked against our own CA file, the client
//! certificate shown, no resumption, and the exporter value that binds signed requests to this connection.
//!
//! In TLS 1.3 the client has finished its handshake before the server has judged the client certificate, so a
//! refusal arrives as an alert during the upgrade. [`refusal_in`] finds it in whatever error it surfaces in.
//! Sources: RFC 8446 section 6, RFC 9266.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::{AlertDescription, RootCertStore};
use sealfeed_wire::code::Code;
use sealfeed_wire::reply::Welcome;
use sealfeed_wire::value::SessionId;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::{ClientConfig, ConfigError};
use crate::error::{ConnectError, Stage};

/// Why the server did not accept our certificate, as far as its TLS alert says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CertificateRefusal {
    /// We showed none.
    Missing,
    /// Expired by the server's clock; some servers say so of one that is not yet valid, too.
    Expired,
    /// Revoked by its issuer.
    Revoked,
    /// Issued by a CA that the server does not trust, or its intermediate was not sent.
    UnknownIssuer,
    /// Not meant for client authentication, or of a kind the server does not take.
    Unsupported,
    /// Malformed, or a signature does not verify.
    Bad,
    /// Valid, but the server lets nobody in under it.
    AccessDenied,
    /// Refused for a reason that the alert does not tell.
    Unspecified,
}

impl CertificateRefusal {
    /// The refusal that an alert stands for; `None` for an alert that is not about the client's certificate.
    #[must_use]
    pub const fn from_alert(alert: AlertDescription) -> Option<Self> {
        match alert {
            AlertDescription::CertificateRequired | AlertDescription::NoCertificate => Some(Self::Missing),
            AlertDescription::CertificateExpired => Some(Self::Expired),
            AlertDescription::CertificateRevoked => Some(Self::Revoked),
            AlertDescription::UnknownCA => Some(Self::UnknownIssuer),
            AlertDescription::UnsupportedCertificate => Some(Self::Unsupported),
            AlertDescription::BadCertificate | AlertDescription::DecryptError => Some(Self::Bad),
            AlertDescription::AccessDenied => Some(Self::AccessDenied),
            AlertDescription::CertificateUnknown => Some(Self::Unspecified),
            _ => None,
        }
    }

    /// The code under which the server's log names it, where the alert tells enough.
    #[must_use]
    pub const fn code(self) -> Option<Code> {
        match self {
            Self::Missing => Some(Code::TlsCertificateMissing),
            Self::Expired => Some(Code::TlsCertificateExpired),
            Self::Revoked => Some(Code::TlsCertificateRevoked),
            Self::UnknownIssuer => Some(Code::TlsIssuerUnknown),
            Self::Unsupported => Some(Code::TlsPurposeWrong),
            Self::Bad => Some(Code::TlsSignatureInvalid),
            Self::AccessDenied => Some(Code::TlsPrincipalMissing),
            Self::Unspecified => None,
        }
    }

    /// What to do, in one or two sentences.
    #[must_use]
    pub const fn hint(self) -> &'static str {
        match self {
            Self::Missing => {
                "Name a client certificate and its key (certificate and key in the context file)."
            }
            Self::Expired => {
                "Renew the certificate (pki.sh renew FIRM/USER). If its dates are good, compare both clocks: a \
                 certificate that is not yet valid is refused the same way."
            }
            Self::Revoked => "This certificate is finished; ask the operator for a new one.",
            Self::UnknownIssuer => {
                "Use a certificate from the CA this server trusts, and send its intermediate: the certificate file \
                 must hold the chain."
            }
            Self::Unsupported => {
                "Use a certificate whose extended key usage is clientAuth; a server's certificate is none."
            }
            Self::Bad => "Check that certificate and key belong together and that the chain is complete.",
            Self::AccessDenied => {
                "The certificate is valid but no rule of the server maps it to a principal; ask the operator."
            }
            Self::Unspecified => "The server's log names the reason; ask its operator.",
        }
    }
}

impl fmt::Display for CertificateRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "none was shown",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::UnknownIssuer => "its issuer is unknown to the server",
            Self::Unsupported => "not meant for client authentication",
            Self::Bad => "malformed, or a signature is wrong",
            Self::AccessDenied => "access denied",
            Self::Unspecified => "no reason given",
        })
    }
}

/// Connects TCP and TLS and stops there: no upgrade. For diagnosis, and for tests that speak to a server raw.
///
/// The server has not judged the client certificate yet when this returns.
///
/// # Errors
/// [`ConnectError`] when the address cannot be reached, the server's certificate is not trusted, or the
/// handshake fails.
pub async fn connect_tls(config: &ClientConfig) -> Result<TlsStream<TcpStream>, ConnectError> {
    let tls = rustls_config(config)?;
    let tcp_error = |source| ConnectError::Tcp { address: config.url.authority(), source };
    let tcp = TcpStream::connect((config.url.host(), config.url.port())).await.map_err(tcp_error)?;
    tcp.set_nodelay(true).map_err(tcp_error)?;
    let connector = TlsConnector::from(Arc::new(tls));
    let connected = connector.connect(config.url.server_name().clone(), tcp).await;
    connected.map_err(|error| explain(Stage::TlsHandshake, error))
}

/// The exporter value of a connection: what `session` in `welcome` must be.
///
/// # Errors
/// [`ConnectError::Tls`] when TLS cannot compute it, which a finished TLS 1.3 handshake always can.
pub fn exporter(stream: &TlsStream<TcpStream>) -> Result<SessionId, ConnectError> {
    let (_, connection) = stream.get_ref();
    let value = connection.export_keying_material([0; 32], Welcome::EXPORTER_LABEL, Some(&[]));
    value.map(SessionId).map_err(|error| explain(Stage::TlsHandshake, io::Error::other(error)))
}

/// Finds the server's verdict on our certificate in an error of the TLS stream.
pub(crate) fn refusal_in(error: &io::Error) -> Option<CertificateRefusal> {
    match rustls_error(error)? {
        rustls::Error::AlertReceived(alert) => CertificateRefusal::from_alert(*alert),
        _ => None,
    }
}

/// The typed form of an error of the TLS stream.
pub(crate) fn explain(stage: Stage, error: io::Error) -> ConnectError {
    if let Some(refusal) = refusal_in(&error) {
        return ConnectError::CertificateRefused { refusal, source: error };
    }
    match rustls_error(&error) {
        Some(rustls::Error::InvalidCertificate(_)) => ConnectError::ServerCertificate { source: error },
        _ => ConnectError::Tls { stage, source: error },
    }
}

fn rustls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn rustls_config(config: &ClientConfig) -> Result<rustls::ClientConfig, ConfigError> {
    let refused = |what| move |source| ConfigError::Tls { what, source };
    let mut roots = RootCertStore::empty();
    for root in &config.server_roots {
        roots.add(root.clone()).map_err(refused("CA file"))?;
    }
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(refused("cryptography provider"))?
        .with_root_certificates(roots);
    let mut tls = match &config.identity {
        Some(identity) => builder
            .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
            .map_err(refused("client certificate and key"))?,
        None => builder.with_no_client_auth(),
    };
    // A resumed session would skip the server's check of our certificate, so we never ask for one.
    tls.resumption = Resumption::disabled();
    Ok(tls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_certificate_alert_has_a_reason_and_a_hint() {
        for (alert, reason) in [
            (AlertDescription::CertificateRequired, CertificateRefusal::Missing),
            (AlertDescription::CertificateExpired, CertificateRefusal::Expired),
            (AlertDescription::CertificateRevoked, CertificateRefusal::Revoked),
            (AlertDescription::UnknownCA, CertificateRefusal::UnknownIssuer),
            (AlertDescription::UnsupportedCertificate, CertificateRefusal::Unsupported),
            (AlertDescription::BadCertificate, CertificateRefusal::Bad),
        ] {
            let error = io::Error::new(io::ErrorKind::InvalidData, rustls::Error::AlertReceived(alert));
            assert_eq!(refusal_in(&error), Some(reason));
            assert!(reason.hint().ends_with('.'));
        }
    }

    #[test]
    fn other_alerts_and_errors_say_nothing_about_the_certificate() {
        let alert = rustls::Error::AlertReceived(AlertDescription::InternalError);
        assert_eq!(refusal_in(&io::Error::new(io::ErrorKind::InvalidData, alert)), None);
        assert_eq!(refusal_in(&io::ErrorKind::ConnectionReset.into()), None);
    }
}
