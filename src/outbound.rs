//! Requests of this server to others over HTTP: to witnesses of its log, to receivers of its alerts.
//!
//! Everything has a deadline. No proxy, no redirect: whom the configuration names is asked, and nobody else. Over TLS only authorities that the
//! configuration names are trusted, none of the system's.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// Asks others. Every status is an answer, redirects too; `timeout` is for all of one request. With `authorities` (PEM) for `https://`,
/// without for `http://`.
///
/// # Errors
/// What is wrong with the file of authorities, for people.
pub fn agent(timeout: Duration, authorities: Option<&Path>) -> Result<ureq::Agent, String> {
    let mut config = ureq::Agent::config_builder()
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None);
    if let Some(file) = authorities {
        config = config.tls_config(tls(file)?);
    }
    Ok(config.build().into())
}

fn tls(authorities: &Path) -> Result<ureq::tls::TlsConfig, String> {
    let unreadable = |error: &dyn std::fmt::Display| format!("{}: {error}", authorities.display());
    let file = CertificateDer::pem_file_iter(authorities).map_err(|error| unreadable(&error))?;
    let mut roots = Vec::new();
    for certificate in file {
        let certificate = certificate.map_err(|error| unreadable(&error))?;
        roots.push(ureq::tls::Certificate::from_der(&certificate).to_owned());
    }
    if roots.is_empty() {
        return Err(unreadable(&"no certificate in PEM form"));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(ureq::tls::TlsConfig::builder()
        .root_certs(ureq::tls::RootCerts::new_with_certs(&roots))
        .unversioned_rustls_crypto_provider(provider)
        .build())
}
