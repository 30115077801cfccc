//! The client verifier of one handshake: path validation by rustls, then everything that rustls lets pass, and a
//! record of what was refused and whom the certificate claimed to name.
//!
//! rustls tells its verifier nothing about the connection. So every handshake gets a verifier (and, around it, a
//! configuration) of its own, with a slot for the refusal: attribution holds whatever thread or executor drives
//! the handshake. All of it is freed when the handshake is over.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error as TlsError, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use sealfeed_wire::Code;
use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;

use super::authorities::Authorities;
use super::deny_list::{DenyList, Subjects};
use super::good_paths::GoodPaths;
use super::leaf::Ceilings;
use super::principal::Identified;
use super::refusal::{self, Refusal, RefusalSlot};
use super::{leaf, principal};
use crate::types::UnixNanos;

/// All that certificates are judged by; shared by every handshake until the files change.
#[derive(Debug)]
pub(super) struct Trust {
    pub(super) authorities: Authorities,
    /// rustls's own verifier of paths over the same authorities; revocation is not its part.
    pub(super) paths: Arc<dyn ClientCertVerifier>,
    /// Certificates whose paths that has found good.
    pub(super) good_paths: GoodPaths,
    pub(super) deny_list: DenyList,
    pub(super) ceilings: Ceilings,
}

impl Trust {
    /// Everything but path, signatures and order: form, dates, lists, deny-list, purpose, key, lifetime, names, and whether
    /// the authorities may vouch for the firm.
    ///
    /// Run in the handshake and again when the connection is identified, with the files in force by then.
    pub(super) fn check_leaf(
        &self,
        der: &[u8],
        certificate: &X509Certificate<'_>,
        now: UnixNanos,
    ) -> Result<(), (Code, String)> {
        let fixed = |(code, detail): (Code, &'static str)| (code, detail.to_owned());
        let issuer = certificate.issuer().as_raw();
        leaf::check_form(der, certificate).map_err(fixed)?;
        leaf::check_dates(certificate, now).map_err(fixed)?;
        self.authorities.check_lists(issuer, now)?;
        self.authorities.check_standing(issuer, certificate.raw_serial(), now)?;
        let name = principal::name(certificate);
        let denied = || {
            let subjects = Subjects {
                raw_serial: certificate.raw_serial(),
                issuer: &leaf::escape(certificate.issuer()),
                subject: &leaf::escape(certificate.subject()),
                key_sha256: leaf::key_sha256(certificate),
                principal: name.as_ref().ok().map(|(principal, _)| principal.to_string()),
            };
            self.deny_list.find(&subjects, now)
        };
        if let Some(why) = self.deny_list.is_any().then(denied).flatten() {
            return Err((Code::TlsCertificateDenied, why));
        }
        leaf::check_purpose(certificate).map_err(fixed)?;
        leaf::check_key(certificate.public_key(), self.ceilings.rsa_bits_min)?;
        leaf::check_lifetime(certificate, self.ceilings.lifetime_days_max)?;
        let (principal, _) = name.map_err(fixed)?;
        self.authorities.check_firm(issuer, principal.firm())
    }

    /// Whether the certificate of an open session still holds but for its dates: whether no list names it or an authority above
    /// it, the operator does not deny it, and its authorities may still vouch for its firm.
    pub(super) fn check_open(&self, identified: &Identified, now: UnixNanos) -> Result<(), (Code, String)> {
        self.authorities.check_standing(&identified.issuer.der, &identified.raw_serial, now)?;
        if self.deny_list.is_any() {
            let subjects = Subjects {
                raw_serial: &identified.raw_serial,
                issuer: identified.issuer_name(),
                subject: &identified.subject,
                key_sha256: identified.key_sha256,
                principal: Some(identified.principal.to_string()),
            };
            if let Some(why) = self.deny_list.find(&subjects, now) {
                return Err((Code::TlsCertificateDenied, why));
            }
        }
        self.authorities.check_firm(&identified.issuer.der, identified.principal.firm())
    }
}

/// The verifier of one handshake.
#[derive(Debug)]
pub(super) struct HandshakeVerifier {
    trust: Arc<Trust>,
    slot: RefusalSlot,
}

impl HandshakeVerifier {
    pub(super) fn new(trust: Arc<Trust>, slot: RefusalSlot) -> Self {
        Self { trust, slot }
    }

    /// Path and signatures, unless they were found good before: that does not change while the authorities are these, whose
    /// dates [`Trust::check_leaf`] asks about every time, as it does about those of the certificate.
    fn check_path(
        &self,
        end_entity: &CertificateDer<'_>,
        certificate: &X509Certificate<'_>,
        now: UnixTime,
    ) -> Result<(), TlsError> {
        let Trust { authorities, paths, good_paths, .. } = &*self.trust;
        let fingerprint: [u8; 32] = Sha256::digest(end_entity).into();
        if good_paths.knows(&fingerprint) {
            return Ok(());
        }
        let verified = paths.verify_client_cert(end_entity, &authorities.issuing, now);
        verified.inspect_err(|error| {
            let code = refusal::classify(error).code;
            let detail = match self.trust.check_leaf(end_entity, certificate, nanos(now)) {
                // Our own words say more: which list, by which number.
                Err((ours, detail)) if ours == code => detail,
                _ => error.to_string(),
            };
            self.refuse(Some(certificate), code, detail);
        })?;
        good_paths.remember(fingerprint);
        Ok(())
    }

    fn refuse(&self, certificate: Option<&X509Certificate<'_>>, code: Code, detail: String) {
        self.slot.put(Refusal { code, claim: certificate.map(leaf::claim), detail });
    }
}

/// rustls's time, whole seconds.
const fn nanos(time: UnixTime) -> UnixNanos {
    UnixNanos(time.as_secs().saturating_mul(1_000_000_000))
}

/// The error whose TLS alert fits a refusal of ours best.
fn alert(code: Code) -> TlsError {
    TlsError::InvalidCertificate(match code {
        Code::TlsCertificateMalformed => CertificateError::BadEncoding,
        Code::TlsCertificateExpired => CertificateError::Expired,
        Code::TlsCertificateNotYetValid => CertificateError::NotValidYet,
        Code::TlsCertificateRevoked | Code::TlsCertificateDenied => CertificateError::Revoked,
        Code::TlsCrlExpired => CertificateError::ExpiredRevocationList,
        Code::TlsIssuerUnknown => CertificateError::UnknownIssuer,
        Code::TlsPurposeWrong => CertificateError::InvalidPurpose,
        _ => CertificateError::ApplicationVerificationFailure,
    })
}

impl ClientCertVerifier for HandshakeVerifier {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        true
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.trust.paths.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _sent_by_client: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, TlsError> {
        let Some(certificate) = leaf::parse(end_entity) else {
            self.refuse(None, Code::TlsCertificateMalformed, "the certificate cannot be parsed".to_owned());
            return Err(alert(Code::TlsCertificateMalformed));
        };
        // What rustls would read leniently, or call by another name, is refused by its own.
        leaf::check_form(end_entity, &certificate).map_err(|(code, detail)| {
            self.refuse(Some(&certificate), code, detail.to_owned());
            alert(code)
        })?;
        self.check_path(end_entity, &certificate, now)?;
        self.trust.check_leaf(end_entity, &certificate, nanos(now)).map_err(|(code, detail)| {
            self.refuse(Some(&certificate), code, detail);
            alert(code)
        })?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Err(rustls::PeerIncompatible::SupportedVersionsExtensionRequired.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.trust.paths.verify_tls13_signature(message, certificate, signature).inspect_err(|_| {
            let parsed = leaf::parse(certificate);
            let detail = "the peer did not prove that it holds the certificate's key".to_owned();
            self.refuse(parsed.as_ref(), Code::TlsSignatureInvalid, detail);
        })
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.paths.supported_verify_schemes()
    }
}
