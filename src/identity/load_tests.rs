//! Loading and reloading: which files are refused, with which code, and that a bad one changes nothing.

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair};
use sealfeed_wire::Code;

use super::test_pki::{NOW, POLICY, TestCa, TestPki, client_params, day, days_later, issue};
use super::*;
use crate::types::TimeArithmetic;

/// The code and text of the error that `change` to a good set of files brings about.
fn refused(change: impl FnOnce(&TestPki)) -> (Code, String) {
    let pki = TestPki::new();
    change(&pki);
    let Err(error) = pki.load() else { panic!("the files should have been refused") };
    (error.code(), error.to_string())
}

#[test]
fn a_missing_file_names_the_configuration_key() {
    for (name, key) in [
        ("server.pem", "tls.certificate"),
        ("server.key", "tls.key"),
        ("authorities.pem", "tls.client_authorities"),
        ("lists.pem", "tls.client_revocation_lists"),
        ("entitlements.toml", "identity.entitlements"),
        ("master.hex", "identity.master_key"),
    ] {
        let (code, text) = refused(|pki| std::fs::remove_file(pki.path(name)).unwrap());
        assert_eq!(code, Code::CfgFileUnreadable, "{name}");
        assert!(text.contains(key), "{text}");
    }
}

#[test]
fn a_file_that_is_not_pem_is_refused() {
    for (name, expected) in [
        ("server.pem", Code::CfgCertificateUnusable),
        ("server.key", Code::CfgKeyMismatch),
        ("authorities.pem", Code::CfgTrustUnusable),
        ("lists.pem", Code::CfgCrlUnusable),
    ] {
        assert_eq!(refused(|pki| pki.write(name, "hello")).0, expected, "{name}");
        let broken = "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n";
        assert_eq!(refused(|pki| pki.write(name, broken)).0, expected, "{name}");
    }
}

#[test]
fn a_secret_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    for name in ["server.key", "master.hex"] {
        let (code, text) = refused(|pki| {
            std::fs::set_permissions(pki.path(name), std::fs::Permissions::from_mode(0o640)).unwrap();
        });
        assert_eq!(code, Code::CfgFileExposed);
        assert!(text.contains("mode 640"), "{text}");
    }
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let (code, _) = refused(|pki| pki.write("server.key", &KeyPair::generate().unwrap().serialize_pem()));
    assert_eq!(code, Code::CfgKeyMismatch);
}

#[test]
fn a_server_chain_in_the_wrong_order_is_refused_as_such() {
    let (code, text) =
        refused(|pki| pki.write("server.pem", &(pki.root.certificate.pem() + &pki.server.pem)));
    assert_eq!(code, Code::CfgCertificateUnusable);
    assert!(text.contains("number 2, it must be the first"), "{text}");
}

#[test]
fn a_server_chain_with_a_hole_is_refused() {
    let (code, text) =
        refused(|pki| pki.write("server.pem", &(pki.server.pem.clone() + &pki.clients.certificate.pem())));
    assert_eq!(code, Code::CfgCertificateUnusable);
    assert!(text.contains("certificate 1"), "{text}");
}

#[test]
fn a_server_certificate_that_is_expired_or_for_clients_is_refused() {
    let with = |change: fn(&mut CertificateParams)| {
        refused(|pki| {
            let mut params = client_params();
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            change(&mut params);
            let leaf = issue(&params, &pki.root);
            pki.write("server.pem", &leaf.pem);
            pki.write("server.key", &leaf.key.serialize_pem());
        })
    };
    let (code, text) = with(|params| (params.not_before, params.not_after) = (day(-9), day(-1)));
    assert_eq!(code, Code::CfgCertificateUnusable);
    assert!(text.contains("not now"), "{text}");
    let (code, text) = with(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    assert_eq!(code, Code::CfgCertificateUnusable);
    assert!(text.contains("serverAuth"), "{text}");
}

#[test]
fn a_bundle_without_a_root_or_with_a_leaf_is_refused() {
    let (code, _) = refused(|pki| pki.write("authorities.pem", &pki.clients.certificate.pem()));
    assert_eq!(code, Code::CfgTrustUnusable);
    let (code, text) = refused(|pki| {
        let leaf = issue(&client_params(), &pki.clients);
        pki.write("authorities.pem", &(pki.root.certificate.pem() + &leaf.pem));
    });
    assert_eq!(code, Code::CfgTrustUnusable);
    assert!(text.contains("no certificate authority"), "{text}");
}

#[test]
fn an_authority_that_only_claims_its_issuer_is_refused() {
    let (code, text) = refused(|pki| {
        let impostor = TestCa::root("Test Root").issuing("Test Clients", 2);
        pki.write("authorities.pem", &(pki.root.certificate.pem() + &impostor.certificate.pem()));
        pki.write("lists.pem", &(pki.root.list(1, &[], day(9)) + &impostor.list(1, &[], day(9))));
    });
    assert_eq!(code, Code::CfgTrustUnusable);
    assert!(text.contains("issued by no authority"), "{text}");
}

#[test]
fn two_authorities_of_one_name_are_refused() {
    let (code, text) = refused(|pki| {
        let twin = TestCa::root("Test Root");
        pki.write("authorities.pem", &(pki.root.certificate.pem() + &twin.certificate.pem()));
    });
    assert_eq!(code, Code::CfgTrustUnusable);
    assert!(text.contains("two different authorities"), "{text}");
}

#[test]
fn an_authority_without_a_revocation_list_is_refused_by_name() {
    let (code, text) = refused(|pki| pki.write("lists.pem", &pki.clients.list(1, &[], day(9))));
    assert_eq!(code, Code::CfgCrlUnusable);
    assert!(text.contains("no list of CN=Test Root"), "{text}");
}

#[test]
fn an_expired_revocation_list_is_refused_at_start() {
    let (code, text) = refused(|pki| {
        pki.write("lists.pem", &(pki.root.list(1, &[], day(9)) + &pki.clients.list(1, &[], day(-1))));
    });
    assert_eq!(code, Code::CfgCrlUnusable);
    assert!(text.contains("CN=Test Clients") && text.contains("not now"), "{text}");
}

#[test]
fn a_revocation_list_that_its_authority_did_not_sign_is_refused() {
    let (code, text) = refused(|pki| {
        let forged = TestCa::root("Test Clients").list(2, &[], day(9));
        pki.write("lists.pem", &(pki.root.list(1, &[], day(9)) + &forged));
    });
    assert_eq!(code, Code::CfgCrlUnusable);
    assert!(text.contains("not signed by it"), "{text}");
}

#[test]
fn a_revocation_list_of_an_authority_that_may_not_sign_lists_is_refused() {
    let (code, text) = refused(|pki| {
        let root = pki.root.certificate_without_lists();
        pki.write("authorities.pem", &(root + &pki.clients.certificate.pem()));
    });
    assert_eq!(code, Code::CfgCrlUnusable);
    assert!(text.contains("CN=Test Root") && text.contains("cRLSign"), "{text}");
}

#[test]
fn two_revocation_lists_of_one_authority_are_refused() {
    let (code, text) = refused(|pki| {
        let twice = pki.clients.list(1, &[], day(9)) + &pki.clients.list(2, &[7], day(9));
        pki.write("lists.pem", &(pki.root.list(1, &[], day(9)) + &twice));
    });
    assert_eq!(code, Code::CfgCrlUnusable);
    assert!(text.contains("two lists"), "{text}");
}

#[test]
fn a_revocation_list_of_a_stranger_is_left_out() {
    let pki = TestPki::new();
    let lists = std::fs::read_to_string(pki.path("lists.pem")).unwrap();
    pki.write("lists.pem", &(lists + &TestCa::root("Stranger").list(1, &[], day(-9))));
    assert!(!pki.load().unwrap().in_force().summary.contains("Stranger"));
}

#[test]
fn a_malformed_master_secret_is_refused() {
    assert_eq!(refused(|pki| pki.write("master.hex", "5A")).0, Code::CfgMasterSecretUnusable);
    assert_eq!(refused(|pki| pki.write("previous.hex", "5A")).0, Code::CfgMasterSecretUnusable);
}

#[test]
fn a_previous_master_gives_every_client_a_second_key() {
    let pki = TestPki::new();
    pki.write("previous.hex", &"a5".repeat(32));
    let identity = pki.load().unwrap();
    let identified = identity.identify(&[issue(&client_params(), &pki.clients).certificate], NOW).unwrap();
    let keys = identity.order_keys(&identified);
    assert_ne!(keys.previous.unwrap().to_file_text(), keys.current.to_file_text());
}

#[test]
fn a_reload_that_replaces_the_master_is_seen_by_open_sessions() {
    let pki = TestPki::new();
    let identity = pki.load().unwrap();
    let identified = identity.identify(&[issue(&client_params(), &pki.clients).certificate], NOW).unwrap();
    let before = identity.order_keys(&identified);
    assert_eq!(before.generation, identity.key_generation());
    pki.write("previous.hex", &"5a".repeat(32));
    pki.write("master.hex", &"a5".repeat(32));
    identity.reload(NOW).unwrap();
    assert_ne!(identity.key_generation(), before.generation);
    let after = identity.order_keys(&identified);
    assert_eq!(after.generation, identity.key_generation());
    assert_ne!(after.current.to_file_text(), before.current.to_file_text());
    assert_eq!(after.previous.unwrap().to_file_text(), before.current.to_file_text());
}

#[test]
fn the_record_of_what_is_in_force_names_every_file_and_no_secret() {
    let pki = TestPki::new();
    let in_force = pki.load().unwrap().in_force();
    assert_eq!(in_force.files.len(), 6);
    for file in &in_force.files {
        assert_eq!(file.sha256.is_none(), file.role.is_secret(), "{:?}", file.role);
    }
    let summary = in_force.summary;
    assert!(summary.starts_with("1 rules; list 1 of CN=Test Clients revokes 0 until "), "{summary}");
    assert!(!summary.contains("5a5a"), "{summary}");
}

#[test]
fn a_reload_that_revokes_ends_open_sessions_and_refuses_new_ones() {
    let pki = TestPki::new();
    let identity = pki.load().unwrap();
    let certificate = issue(&client_params(), &pki.clients).certificate;
    let identified = identity.identify(std::slice::from_ref(&certificate), NOW).unwrap();
    pki.write_lists(2, &[], &[7]);
    let changes = identity.reload(NOW).unwrap();
    assert_eq!(changes.changed, [FileRole::RevocationLists]);
    assert!(changes.in_force.summary.contains("list 2 of CN=Test Clients revokes 1"));
    assert_eq!(identity.still_valid(&identified, NOW).unwrap_err().0, Code::SesCertificateRevoked);
    assert_eq!(identity.identify(&[certificate], NOW).unwrap_err().code, Code::TlsCertificateRevoked);
}

#[test]
fn a_reload_names_the_files_that_changed_came_or_went() {
    let pki = TestPki::new();
    let identity = pki.load().unwrap();
    assert_eq!(identity.reload(NOW).unwrap().changed, []);
    pki.write("previous.hex", &"5a".repeat(32));
    pki.write("master.hex", &"a5".repeat(32));
    let both = [FileRole::MasterKey, FileRole::PreviousMasterKey];
    assert_eq!(identity.reload(NOW).unwrap().changed, both);
    std::fs::remove_file(pki.path("previous.hex")).unwrap();
    assert_eq!(identity.reload(NOW).unwrap().changed, [FileRole::PreviousMasterKey]);
}

#[test]
fn a_revoked_issuing_authority_ends_the_sessions_of_its_clients() {
    let pki = TestPki::new();
    let identity = pki.load().unwrap();
    let identified = identity.identify(&[issue(&client_params(), &pki.clients).certificate], NOW).unwrap();
    pki.write_lists(2, &[2], &[]);
    identity.reload(NOW).unwrap();
    assert_eq!(identity.still_valid(&identified, NOW).unwrap_err().0, Code::SesCertificateRevoked);
}

#[test]
fn a_session_ends_with_its_certificate() {
    let pki = TestPki::new();
    let identity = pki.load().unwrap();
    let identified = identity.identify(&[issue(&client_params(), &pki.clients).certificate], NOW).unwrap();
    assert_eq!(identity.still_valid(&identified, days_later(29)), Ok(()));
    assert_eq!(
        identity.still_valid(&identified, days_later(29).plus_ns(1)).unwrap_err().0,
        Code::SesCertificateExpired
    );
}

#[test]
fn a_bad_file_keeps_everything_that_was_in_force() {
    let pki = TestPki::new();
    let identity = pki.load().unwrap();
    let before = identity.in_force();
    // A good new list beside a bad policy: neither takes effect.
    pki.write_lists(2, &[], &[7]);
    pki.write("entitlements.toml", "[[rule]]\nnam = \"x\"\n");
    assert_eq!(identity.reload(NOW).unwrap_err().code(), Code::CfgSyntaxInvalid);
    assert_eq!(identity.in_force(), before);
    let certificate = issue(&client_params(), &pki.clients).certificate;
    assert!(identity.identify(&[certificate], NOW).is_ok());
    pki.write("entitlements.toml", POLICY);
    identity.reload(NOW).unwrap();
    assert_ne!(identity.in_force(), before);
}

#[test]
fn a_revocation_list_is_never_rolled_back() {
    let pki = TestPki::new();
    pki.write_lists(300, &[], &[7]);
    let identity = pki.load().unwrap();
    for number in [299, 2, 300] {
        pki.write_lists(number, &[], &[]);
        let error = identity.reload(NOW).unwrap_err();
        assert_eq!(error.code(), Code::CfgCrlUnusable, "{error}");
    }
    let certificate = issue(&client_params(), &pki.clients).certificate;
    assert_eq!(identity.identify(&[certificate], NOW).unwrap_err().code, Code::TlsCertificateRevoked);
    pki.write_lists(301, &[], &[]);
    identity.reload(NOW).unwrap();
}

#[test]
fn a_policy_change_changes_the_entitlement_of_who_is_connected() {
    let pki = TestPki::new();
    let identity = pki.load().unwrap();
    let identified = identity.identify(&[issue(&client_params(), &pki.clients).certificate], NOW).unwrap();
    assert!(identity.entitlement(&identified).is_ok());
    pki.write("entitlements.toml", &POLICY.replace("acme", "other"));
    identity.reload(NOW).unwrap();
    assert_eq!(identity.entitlement(&identified).unwrap_err().code(), Code::SesEntitlementMissing);
    assert!(identity.explain(&identified).is_empty());
}

#[test]
fn an_authority_name_prints_without_structure() {
    let hostile = TestCa::root("a, CN=b");
    let parsed = leaf::parse(hostile.certificate.der()).unwrap();
    assert_eq!(leaf::escape(parsed.subject()), r"CN=a\2c CN\3db");
    let mut params = client_params();
    params.distinguished_name.push(DnType::LocalityName, "x".repeat(1000));
    let long = issue(&params, &hostile);
    assert!(leaf::escape(leaf::parse(&long.certificate).unwrap().subject()).len() < 300);
}
