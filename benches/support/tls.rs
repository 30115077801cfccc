//! TLS for servers and clients that a bench makes itself, as the product has it: TLS 1.3, certificates on both sides, nothing
//! resumable, ring's AEADs on the server's side.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

/// A server with the certificate for `localhost` of the PKI in this folder. Clients' certificates are mandatory and checked
/// against the revocation lists.
pub(crate) fn server_configuration(pki: &Path) -> ServerConfig {
    let provider = Arc::new(CryptoProvider {
        cipher_suites: rustls::crypto::ring::DEFAULT_CIPHER_SUITES.to_vec(),
        ..rustls::crypto::aws_lc_rs::default_provider()
    });
    let lists: Vec<_> = CertificateRevocationListDer::pem_file_iter(pki.join("crl/clients.pem"))
        .and_then(Iterator::collect)
        .expect("revocation lists");
    let roots = Arc::new(roots(&pki.join("ca/clients.pem")));
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider))
        .with_crls(lists)
        .build()
        .expect("a verifier");
    let key = PrivateKeyDer::from_pem_file(pki.join("servers/localhost/server.key")).expect("the key");
    let mut configuration = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates(&pki.join("servers/localhost/server.pem")), key)
        .expect("certificate and key");
    configuration.session_storage = Arc::new(NoServerSessionStorage {});
    configuration.send_tls13_tickets = 0;
    configuration
}

/// A client that shows this certificate.
pub(crate) fn client_configuration(
    roots: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .expect("certificate and key")
}

/// The authorities in a PEM file.
pub(crate) fn roots(path: &Path) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    for authority in certificates(path) {
        roots.add(authority).expect("an authority");
    }
    roots
}

/// The certificates in a PEM file.
pub(crate) fn certificates(path: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(path).and_then(Iterator::collect).expect("certificates")
}
