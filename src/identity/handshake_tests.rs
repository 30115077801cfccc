//! Real handshakes in memory: what gets in, what is refused with which code and which alert, and what a reload does.

use std::sync::Arc;

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, SanType, SerialNumber,
};
use rustls::client::Resumption;
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, Error as TlsError, RootCertStore, ServerConnection,
};
use rustls_pki_types::CertificateDer;
use sealfeed_wire::Code;

use super::test_pki::{Leaf, NOW, TestCa, TestPki, client_params, day, days_later, issue, issue_for};
use super::*;
use crate::types::SignatureKey;

/// A client that shows `chain`, or nothing.
fn client(pki: &TestPki, shown: Option<(Vec<CertificateDer<'static>>, &Leaf)>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(pki.root.certificate.der().clone()).unwrap();
    // The client's clock stands still, so that only the server's is under test.
    let builder = ClientConfig::builder_with_details(
        Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
        Arc::new(tls::TimeOf(Clock::manual(NOW))),
    )
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_root_certificates(roots);
    match shown {
        Some((chain, leaf)) => builder.with_client_auth_cert(chain, leaf.private_key()).unwrap(),
        None => builder.with_no_client_auth(),
    }
}

/// What became of a handshake on both sides.
pub(super) struct Outcome {
    server: ServerConnection,
    client: ClientConnection,
    pub(super) result: Result<(), Refusal>,
    alert: Option<AlertDescription>,
}

/// Drives a handshake to its end.
fn drive(handshake: Handshake, client: ClientConfig) -> Outcome {
    let Handshake { config, slot } = handshake;
    let mut server = ServerConnection::new(config).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), "localhost".try_into().unwrap()).unwrap();
    let mut result = Ok(());
    let mut alert = None;
    for _ in 0..10 {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        let mut unread = bytes.as_slice();
        while !unread.is_empty() && result.is_ok() {
            server.read_tls(&mut unread).unwrap();
            result = server.process_new_packets().map(|_| ()).map_err(|error| slot.explain_tls(&error));
        }
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        let mut unread = bytes.as_slice();
        while !unread.is_empty() {
            client.read_tls(&mut unread).unwrap();
            if let Err(TlsError::AlertReceived(received)) = client.process_new_packets() {
                alert = Some(received);
            }
        }
    }
    Outcome { server, client, result, alert }
}

/// Connects with `leaf` and nothing else in the chain.
pub(super) fn connect(pki: &TestPki, identity: &Identity, leaf: &Leaf) -> Outcome {
    let shown = Some((vec![leaf.certificate.clone()], leaf));
    drive(identity.accept(), client(pki, shown))
}

/// The code and alert with which a client of these parameters is refused, and the claim in the record.
fn refusal(change: impl FnOnce(&mut CertificateParams)) -> (Code, Option<AlertDescription>, Option<Claim>) {
    let pki = TestPki::new();
    let identity = pki.load().unwrap();
    let mut params = client_params();
    change(&mut params);
    let leaf = issue(&params, &pki.clients);
    let outcome = connect(&pki, &identity, &leaf);
    let refusal = outcome.result.expect_err("the handshake should have been refused");
    let later = identity.identify(std::slice::from_ref(&leaf.certificate), NOW);
    assert_eq!(later.map(|_| ()).map_err(|refusal| refusal.code), Err(refusal.code), "identify agrees");
    (refusal.code, outcome.alert, refusal.claim)
}

#[test]
fn a_good_client_is_identified_with_principal_role_and_order_key() {
    let pki = TestPki::new();
    let identity = pki.load().unwrap();
    let leaf = issue(&client_params(), &pki.clients);
    let outcome = connect(&pki, &identity, &leaf);
    assert_eq!(outcome.result, Ok(()));
    assert_eq!(outcome.server.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    let identified = identity.identify(outcome.server.peer_certificates().unwrap(), NOW).unwrap();
    assert_eq!(identified.principal.to_string(), "acme/desk7");
    assert_eq!(identified.role.as_ref().unwrap().as_str(), "trader");
    assert_eq!(identified.serial(), "07");
    assert!(identity.order_keys(&identified).previous.is_none());
    assert_eq!(identity.still_valid(&identified, NOW), Ok(()));
    assert!(identity.entitlement(&identified).unwrap().orders.is_some());
}

#[test]
fn the_key_exchange_is_hybrid_post_quantum() {
    let pki = TestPki::new();
    let identity = pki.load().unwrap();
    let outcome = connect(&pki, &identity, &issue(&client_params(), &pki.clients));
    let group = outcome.server.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
}

#[test]
fn a_chain_with_its_issuing_authority_is_accepted_too() {
    let pki = TestPki::new();
    let identity = pki.load().unwrap();
    let leaf = issue(&client_params(), &pki.clients);
    let chain = vec![leaf.certificate.clone(), pki.clients.certificate.der().clone()];
    assert_eq!(drive(identity.accept(), client(&pki, Some((chain, &leaf)))).result, Ok(()));
}

#[test]
fn no_certificate_is_refused() {
    let pki = TestPki::new();
    let identity = pki.load().unwrap();
    let outcome = drive(identity.accept(), client(&pki, None));
    let refusal = outcome.result.unwrap_err();
    assert_eq!((refusal.code, refusal.claim), (Code::TlsCertificateMissing, None));
    assert_eq!(outcome.alert, Some(AlertDescription::CertificateRequired));
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    let pki = TestPki::new();
    let identity = pki.load().unwrap();
    let stranger = TestCa::root("Stranger");
    let leaf = issue(&client_params(), &stranger);
    let outcome = connect(&pki, &identity, &leaf);
    let refusal = outcome.result.unwrap_err();
    assert_eq!(refusal.code, Code::TlsIssuerUnknown);
    assert_eq!(refusal.claim.unwrap().subject, "O=acme, OU=trader, CN=desk7");
    assert_eq!(outcome.alert, Some(AlertDescription::UnknownCA));
}

#[test]
fn an_authority_that_borrowed_a_trusted_name_is_refused() {
    let pki = TestPki::new();
    let identity = pki.load().unwrap();
    let leaf = issue(&client_params(), &TestCa::root("Test Clients"));
    assert_eq!(connect(&pki, &identity, &leaf).result.unwrap_err().code, Code::TlsSignatureInvalid);
}

#[test]
fn an_issuing_authority_that_is_not_listed_is_refused_although_the_root_signed_it() {
    let pki = TestPki::new();
    let identity = pki.load().unwrap();
    let unlisted = pki.root.issuing("Test Servers", 9);
    let leaf = issue(&client_params(), &unlisted);
    let chain = vec![leaf.certificate.clone(), unlisted.certificate.der().clone()];
    let outcome = drive(identity.accept(), client(&pki, Some((chain, &leaf))));
    assert_eq!(outcome.result.unwrap_err().code, Code::TlsIssuerUnknown);
}

#[test]
fn an_expired_certificate_is_refused() {
    let (code, alert, claim) = refusal(|params| (params.not_before, params.not_after) = (day(-30), day(-1)));
    assert_eq!((code, alert), (Code::TlsCertificateExpired, Some(AlertDescription::CertificateExpired)));
    assert_eq!(claim.unwrap().serial, "07");
}

#[test]
fn a_certificate_that_is_not_yet_valid_is_refused() {
    let (code, alert, _) = refusal(|params| (params.not_before, params.not_after) = (day(1), day(30)));
    assert_eq!((code, alert), (Code::TlsCertificateNotYetValid, Some(AlertDescription::CertificateExpired)));
}

#[test]
fn a_revoked_certificate_is_refused() {
    let pki = TestPki::new();
    pki.write_lists(2, &[], &[7]);
    let identity = pki.load().unwrap();
    let outcome = connect(&pki, &identity, &issue(&client_params(), &pki.clients));
    assert_eq!(outcome.result.unwrap_err().code, Code::TlsCertificateRevoked);
    assert_eq!(outcome.alert, Some(AlertDescription::CertificateRevoked));
}

#[test]
fn a_certificate_whose_issuing_authority_was_revoked_is_refused() {
    let pki = TestPki::new();
    pki.write_lists(2, &[2], &[]);
    let identity = pki.load().unwrap();
    let leaf = issue(&client_params(), &pki.clients);
    assert_eq!(connect(&pki, &identity, &leaf).result.unwrap_err().code, Code::TlsCertificateRevoked);
    let later = identity.identify(&[leaf.certificate], NOW).unwrap_err();
    assert_eq!(later.code, Code::TlsCertificateRevoked);
}

#[test]
fn a_server_certificate_is_refused_as_a_client() {
    let (code, alert, _) =
        refusal(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    assert_eq!((code, alert), (Code::TlsPurposeWrong, Some(AlertDescription::UnsupportedCertificate)));
}

#[test]
fn a_certificate_without_extended_key_usage_is_refused() {
    let (code, ..) = refusal(|params| params.extended_key_usages.clear());
    assert_eq!(code, Code::TlsPurposeWrong);
}

#[test]
fn a_certificate_for_clients_and_servers_is_refused() {
    let both = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    let (code, ..) = refusal(|params| params.extended_key_usages = both);
    assert_eq!(code, Code::TlsPurposeWrong);
}

#[test]
fn a_certificate_that_lives_too_long_is_refused() {
    let (code, ..) = refusal(|params| (params.not_before, params.not_after) = (day(-1), day(825)));
    assert_eq!(code, Code::TlsLifetimeTooLong);
}

#[test]
fn a_hostile_name_is_refused_in_the_handshake_and_escaped_in_the_record() {
    let (code, alert, claim) = refusal(|params| {
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "acme");
        params.distinguished_name.push(DnType::CommonName, "a,OU=admin\n\u{202e}");
    });
    assert_eq!((code, alert), (Code::TlsAttributeRefused, Some(AlertDescription::AccessDenied)));
    assert_eq!(claim.unwrap().subject, r"O=acme, CN=a\2cOU\3dadmin\0a\e2\80\ae");
}

#[test]
fn an_empty_subject_is_refused() {
    let (code, ..) = refusal(|params| params.distinguished_name = DistinguishedName::new());
    assert_eq!(code, Code::TlsPrincipalMissing);
}

#[test]
fn a_san_uri_of_somebody_else_is_refused() {
    let uri = SanType::URI("sealfeed://acme/desk8".try_into().unwrap());
    let (code, ..) = refusal(|params| params.subject_alt_names = vec![uri]);
    assert_eq!(code, Code::TlsAttributeRefused);
}

#[test]
fn a_weak_curve_is_refused_and_strong_keys_are_not() {
    let pki = TestPki::new();
    let identity = pki.load().unwrap();
    for (algorithm, expected) in [
        (&rcgen::PKCS_ECDSA_P384_SHA384, Ok(())),
        (&rcgen::PKCS_ED25519, Ok(())),
        (&rcgen::PKCS_ECDSA_P521_SHA512, Err(Code::TlsKeyWeak)),
    ] {
        let leaf = issue_for(&client_params(), &pki.clients, KeyPair::generate_for(algorithm).unwrap());
        let result = connect(&pki, &identity, &leaf).result.map_err(|refusal| refusal.code);
        assert_eq!(result, expected, "{algorithm:?}");
    }
    for (size, expected) in
        [(rcgen::RsaKeySize::_2048, Err(Code::TlsKeyWeak)), (rcgen::RsaKeySize::_3072, Ok(()))]
    {
        let key = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size).unwrap();
        let leaf = issue_for(&client_params(), &pki.clients, key);
        assert_eq!(connect(&pki, &identity, &leaf).result.map_err(|refusal| refusal.code), expected);
    }
}

#[test]
fn only_ed25519_and_p256_certificates_have_a_key_that_signs_orders() {
    let pki = TestPki::new();
    let identity = pki.load().unwrap();
    for (algorithm, kind) in [
        (&rcgen::PKCS_ED25519, Some("Ed25519")),
        (&rcgen::PKCS_ECDSA_P256_SHA256, Some("P256")),
        (&rcgen::PKCS_ECDSA_P384_SHA384, None),
    ] {
        let leaf = issue_for(&client_params(), &pki.clients, KeyPair::generate_for(algorithm).unwrap());
        let key = identity.identify(&[leaf.certificate], NOW).unwrap().signature_key;
        let bytes = match key {
            Some(SignatureKey::Ed25519(key)) => Some(key.to_vec()),
            Some(SignatureKey::P256(point)) => Some(point.to_vec()),
            None => None,
        };
        assert_eq!(key.map(|key| format!("{key:?}")).as_deref(), kind);
        assert_eq!(bytes, kind.map(|_| leaf.key.public_key_raw().to_vec()));
    }
}

#[test]
fn a_certificate_that_got_in_before_is_judged_by_its_dates_and_its_lists_again() {
    let pki = TestPki::new();
    let identity = pki.load().unwrap();
    let mut params = client_params();
    params.not_after = day(300);
    let long = issue(&params, &pki.clients);
    params.not_after = day(30);
    let short = issue(&params, &pki.clients);
    for leaf in [&long, &short, &long, &short] {
        assert_eq!(connect(&pki, &identity, leaf).result, Ok(()));
    }
    identity.clock.set(days_later(31));
    let outcome = connect(&pki, &identity, &short);
    assert_eq!(outcome.result.unwrap_err().code, Code::TlsCertificateExpired);
    assert_eq!(outcome.alert, Some(AlertDescription::CertificateExpired));
    assert_eq!(connect(&pki, &identity, &long).result, Ok(()));
    identity.clock.set(days_later(101));
    assert_eq!(connect(&pki, &identity, &long).result.unwrap_err().code, Code::TlsCrlExpired);
}

#[test]
fn an_expired_revocation_list_lets_nobody_in() {
    let pki = TestPki::new();
    let identity = pki.load().unwrap();
    let mut params = client_params();
    params.not_after = day(300);
    let leaf = issue(&params, &pki.clients);
    let identified = identity.identify(std::slice::from_ref(&leaf.certificate), NOW).unwrap();
    identity.clock.set(days_later(101));
    let outcome = connect(&pki, &identity, &leaf);
    assert_eq!(outcome.result.unwrap_err().code, Code::TlsCrlExpired);
    assert_eq!(outcome.alert, Some(AlertDescription::UnknownCA));
    assert_eq!(identity.still_valid(&identified, days_later(101)), Ok(()), "open sessions go on");
}

#[test]
fn a_client_without_the_key_of_its_certificate_is_refused() {
    let pki = TestPki::new();
    let identity = pki.load().unwrap();
    let leaf = issue(&client_params(), &pki.clients);
    let thief = issue(&client_params(), &pki.clients);
    let signer = rustls::crypto::aws_lc_rs::sign::any_supported_type(&thief.private_key()).unwrap();
    #[derive(Debug)]
    struct Stolen(Arc<rustls::sign::CertifiedKey>);
    impl rustls::client::ResolvesClientCert for Stolen {
        fn resolve(
            &self,
            _: &[&[u8]],
            _: &[rustls::SignatureScheme],
        ) -> Option<Arc<rustls::sign::CertifiedKey>> {
            Some(Arc::clone(&self.0))
        }
        fn has_certs(&self) -> bool {
            true
        }
    }
    let mut config = client(&pki, None);
    let stolen = rustls::sign::CertifiedKey::new(vec![leaf.certificate.clone()], signer);
    config.client_auth_cert_resolver = Arc::new(Stolen(Arc::new(stolen)));
    let refusal = drive(identity.accept(), config).result.unwrap_err();
    assert_eq!(refusal.code, Code::TlsSignatureInvalid);
    assert_eq!(refusal.claim.unwrap().serial, "07");
}

#[test]
fn nothing_is_ever_resumed() {
    let pki = TestPki::new();
    let identity = pki.load().unwrap();
    let leaf = issue(&client_params(), &pki.clients);
    let mut config = client(&pki, Some((vec![leaf.certificate.clone()], &leaf)));
    config.resumption = Resumption::in_memory_sessions(16);
    for _ in 0..2 {
        let outcome = drive(identity.accept(), config.clone());
        assert_eq!(outcome.result, Ok(()));
        assert_eq!(outcome.client.handshake_kind(), Some(rustls::HandshakeKind::Full));
        assert_eq!(outcome.client.tls13_tickets_received(), 0);
    }
}

/// A minimal TLS 1.2 `ClientHello`: version 0x0303, one cipher suite, no extensions.
fn tls12_hello() -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0xc0, 0x2f, 1, 0]);
    let handshake = [&[1, 0, 0, u8::try_from(body.len()).unwrap()][..], &body].concat();
    [&[22, 3, 1, 0, u8::try_from(handshake.len()).unwrap()][..], &handshake].concat()
}

#[test]
fn what_is_not_tls_13_is_refused_with_a_code_of_its_own() {
    let pki = TestPki::new();
    let identity = pki.load().unwrap();
    for (bytes, expected) in [
        (tls12_hello(), Code::TlsParametersUnsupported),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), Code::TlsProtocolError),
        (vec![0; 64], Code::TlsProtocolError),
        // A fatal alert: the client did not like our certificate.
        (vec![21, 3, 3, 0, 2, 2, 48], Code::TlsPeerLeft),
    ] {
        let Handshake { config, slot } = identity.accept();
        let mut server = ServerConnection::new(config).unwrap();
        server.read_tls(&mut bytes.as_slice()).unwrap();
        let error = server.process_new_packets().unwrap_err();
        assert_eq!(slot.explain_tls(&error).code, expected, "{error}");
        let wrapped = std::io::Error::new(std::io::ErrorKind::InvalidData, error);
        assert_eq!(slot.explain(&wrapped).code, expected);
    }
}

#[test]
fn a_peer_that_leaves_or_stalls_is_told_apart() {
    let slot = RefusalSlot::default();
    let code = |kind: std::io::ErrorKind| slot.explain(&kind.into()).code;
    assert_eq!(code(std::io::ErrorKind::UnexpectedEof), Code::TlsPeerLeft);
    assert_eq!(code(std::io::ErrorKind::ConnectionReset), Code::TlsPeerLeft);
    assert_eq!(code(std::io::ErrorKind::TimedOut), Code::TlsHandshakeTimeout);
    assert_eq!(timed_out().code, Code::TlsHandshakeTimeout);
}

#[test]
fn two_handshakes_at_once_keep_their_refusals_apart() {
    let pki = TestPki::new();
    let identity = pki.load().unwrap();
    let (first, second) = (identity.accept(), identity.accept());
    let mut params = client_params();
    params.serial_number = Some(SerialNumber::from(8));
    params.extended_key_usages.clear();
    let bad = issue(&params, &pki.clients);
    let (first_slot, second_slot) = (first.slot.clone(), second.slot.clone());
    let shown = Some((vec![bad.certificate.clone()], &bad));
    drive(second, client(&pki, shown)).result.unwrap_err();
    assert_eq!(first_slot.explain(&std::io::ErrorKind::UnexpectedEof.into()).claim, None);
    assert_eq!(second_slot.explain(&std::io::ErrorKind::UnexpectedEof.into()).claim.unwrap().serial, "08");
}
