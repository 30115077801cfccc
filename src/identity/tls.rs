//! The rustls configuration: TLS 1.3 only, client certificate mandatory, nothing resumable.
//!
//! No session store, no tickets, no early data: rustls does not call the client verifier on a resumed session, so
//! a resumed session would outlive a revocation. There is no setting that turns any of this off.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientCertVerifierBuilder, NoServerSessionStorage, ServerConfig, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::{
    ConfigBuilder, DistinguishedName, Error as TlsError, InconsistentKeys, RootCertStore, WantsVerifier,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use x509_parser::certificate::X509Certificate;
use zeroize::Zeroize;

use super::authorities::{self, Authorities};
use super::error::{FileRole, IdentityError};
use super::files::Contents;
use super::leaf;
use crate::clock::Clock;
use crate::types::UnixNanos;

/// The only application protocol: WebSocket over HTTP/1.1.
const ALPN: &[u8] = b"http/1.1";

/// Gives rustls our clock.
#[derive(Debug)]
pub(super) struct TimeOf(pub(super) Clock);

impl TimeProvider for TimeOf {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_nanos(self.0.now().0)))
    }
}

/// The server's certificate, and a configuration that lacks nothing but the verifier of the handshake.
pub(super) struct ServerTls {
    builder: ConfigBuilder<ServerConfig, WantsVerifier>,
    resolver: Arc<SingleCertAndKey>,
    /// Last moment of the server certificate.
    pub(super) not_after: UnixNanos,
    /// Whom it names, escaped.
    pub(super) subject: String,
}

/// Key exchange (X25519MLKEM768 first), signatures and randomness from aws-lc-rs, and records from ring, whose AES-GCM is
/// about twice as fast on processors with VAES (docs/adr/0019). Only suites of TLS 1.3 are ever offered.
fn provider() -> Arc<CryptoProvider> {
    let cipher_suites = rustls::crypto::ring::DEFAULT_CIPHER_SUITES;
    Arc::new(CryptoProvider {
        cipher_suites: cipher_suites.iter().copied().filter(|suite| suite.tls13().is_some()).collect(),
        ..rustls::crypto::aws_lc_rs::default_provider()
    })
}

impl ServerTls {
    /// Checks certificate and key against each other and the time.
    pub(super) fn load(
        certificate: &Contents,
        mut key: Contents,
        clock: &Clock,
        now: UnixNanos,
    ) -> Result<Self, IdentityError> {
        let chain = certificate.pem::<CertificateDer<'static>>("CERTIFICATE")?;
        let private = key.pem::<PrivateKeyDer<'static>>("PRIVATE KEY");
        key.bytes.zeroize();
        let private = private?.swap_remove(0);
        let provider = provider();
        let certified = certify(&chain, private, &provider)?;
        let (not_after, subject) = check_chain(&chain, now)?;
        let builder = ServerConfig::builder_with_details(provider, Arc::new(TimeOf(clock.clone())))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|source| IdentityError::Tls { source })?;
        Ok(Self { builder, resolver: Arc::new(certified.into()), not_after, subject })
    }

    /// The configuration of one handshake.
    pub(super) fn config(&self, verifier: Arc<dyn ClientCertVerifier>) -> ServerConfig {
        let mut config = self
            .builder
            .clone()
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::clone(&self.resolver) as Arc<_>);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config
    }
}

fn certify(
    chain: &[CertificateDer<'static>],
    key: PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, IdentityError> {
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|source| IdentityError::KeyUnusable { source })?;
    let matches = |chain: &[CertificateDer<'static>]| {
        let certified = CertifiedKey::new(chain.to_vec(), Arc::clone(&key));
        match certified.keys_match() {
            Ok(()) | Err(TlsError::InconsistentKeys(InconsistentKeys::Unknown)) => Some(certified),
            Err(_) => None,
        }
    };
    matches(chain).ok_or_else(|| {
        match (2..=chain.len()).find(|position| matches(&chain[position - 1..]).is_some()) {
            Some(position) => IdentityError::WrongOrder { position },
            None => IdentityError::KeyMismatch,
        }
    })
}

/// Each certificate was issued by the next, all are valid now, and the first is meant for servers.
fn check_chain(
    chain: &[CertificateDer<'static>],
    now: UnixNanos,
) -> Result<(UnixNanos, String), IdentityError> {
    let role = FileRole::ServerCertificate;
    let parsed = chain
        .iter()
        .enumerate()
        .map(|(index, der)| leaf::parse(der).ok_or(IdentityError::Malformed { role, position: index + 1 }))
        .collect::<Result<Vec<X509Certificate<'_>>, _>>()?;
    for (index, pair) in parsed.windows(2).enumerate() {
        if pair[0].issuer().as_raw() != pair[1].subject().as_raw() {
            return Err(IdentityError::BrokenChain { position: index + 1 });
        }
    }
    if let Some(outside) = parsed.iter().find(|certificate| leaf::check_dates(certificate, now).is_err()) {
        return Err(authorities::outside_validity(role, outside));
    }
    let first = parsed.first().ok_or(IdentityError::NoPem { role, expected: "CERTIFICATE" })?;
    if !matches!(first.extended_key_usage(), Ok(Some(usage)) if usage.value.server_auth) {
        return Err(IdentityError::NotForServers);
    }
    Ok((leaf::nanos(first.validity().not_after), leaf::escape(first.subject())))
}

/// Path validation over these authorities: signatures, dates, constraints, purposes. Revocation is not asked of it: rustls would
/// verify the signature of every list again in every handshake (2 to 3 ms for 100,000 entries), while
/// [`Authorities::check_standing`] asks the same lists, whose signatures were verified when they were loaded. It only has to take
/// them: what its own parser refuses is no list here either. Takes the lists out of `authorities`.
pub(super) fn path_verifier(
    authorities: &mut Authorities,
) -> Result<Arc<dyn ClientCertVerifier>, IdentityError> {
    let lists = std::mem::take(&mut authorities.lists);
    builder(authorities)?.with_crls(lists).build().map_err(|source| IdentityError::Verifier { source })?;
    let paths = builder(authorities)?.build().map_err(|source| IdentityError::Verifier { source })?;
    Ok(paths)
}

fn builder(authorities: &Authorities) -> Result<ClientCertVerifierBuilder, IdentityError> {
    let mut store = RootCertStore::empty();
    for root in &authorities.roots {
        store.add(root.clone()).map_err(|source| IdentityError::Tls { source })?;
    }
    // Clients choose their certificate by the names of the authorities offered; many know their issuer only.
    let issuer_names: Vec<DistinguishedName> = authorities
        .issuing
        .iter()
        .filter_map(|der| leaf::parse(der))
        .map(|certificate| DistinguishedName::from(certificate.subject().as_raw().to_vec()))
        .collect();
    Ok(WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider())
        .add_root_hint_subjects(issuer_names))
}
