//! What the operator's own settings do: grace of lists, firms of authorities, the deny-list, ceilings; in handshakes, for open
//! sessions, and when they change.

use rcgen::{KeyPair, SerialNumber};
use sealfeed_wire::Code;
use time::OffsetDateTime;

use super::handshake_tests::connect;
use super::test_pki::{Leaf, NOW, NOW_S, TestCa, TestPki, client_params, day, days_later, issue, issue_for};
use super::*;
use crate::config::AuthorityConfig;
use crate::types::TimeArithmetic;

/// Loads with settings that `change` makes, at `now`.
fn load(
    pki: &TestPki,
    now: UnixNanos,
    change: impl FnOnce(&mut TlsConfig),
) -> Result<Identity, IdentityError> {
    let mut tls = pki.tls();
    change(&mut tls);
    Identity::load(&tls, &pki.identity(), None, Clock::manual(now))
}

/// The code with which a certificate is refused: by the handshake and, the same, when it is identified.
fn judged(pki: &TestPki, identity: &Identity, leaf: &Leaf) -> Result<Identified, (Code, String)> {
    let shaken = connect(pki, identity, leaf).result.map_err(|refusal| (refusal.code, refusal.detail));
    let identified = identity.identify(std::slice::from_ref(&leaf.certificate), identity.clock.now());
    let identified = identified.map_err(|refusal| (refusal.code, refusal.detail));
    assert_eq!(shaken.as_ref().err().map(|(code, _)| code), identified.as_ref().err().map(|(code, _)| code));
    shaken.and(identified)
}

fn code_of<T>(result: Result<T, (Code, String)>) -> Result<(), Code> {
    result.map(|_| ()).map_err(|(code, _)| code)
}

/// A client of `firm`, by its subject only.
fn client_of(firm: &str, ca: &TestCa) -> Leaf {
    let mut params = client_params();
    params.subject_alt_names.clear();
    params.distinguished_name.push(rcgen::DnType::OrganizationName, firm);
    issue(&params, ca)
}

/// A client whose certificate outlives every list of these tests.
fn long_lived(pki: &TestPki) -> Leaf {
    let mut params = client_params();
    params.not_after = day(300);
    issue(&params, &pki.clients)
}

#[test]
fn a_list_past_its_next_update_counts_in_its_grace_at_a_start_a_reload_and_in_handshakes_and_says_so() {
    let pki = TestPki::new();
    let leaf = long_lived(&pki);
    // The clients' list is good until day 100, the root's until day 300.
    let late = days_later(100).plus_ns(3_600_000_000_000);
    let identity = load(&pki, late, |tls| tls.revocation_grace_hours = 2).unwrap();
    judged(&pki, &identity, &leaf).unwrap();
    let summary = identity.reload(late).unwrap().in_force.summary;
    assert!(summary.contains("out of date, by grace until "), "{summary}");
    let states = identity.revocation_state();
    let of = |name: &str| states.iter().find(|state| state.authority == name).unwrap();
    assert_eq!(of("CN=Test Clients").standing, Standing::InGrace);
    assert_eq!(of("CN=Test Clients").next_update, days_later(100));
    assert_eq!(of("CN=Test Root").standing, Standing::Current);
    assert_eq!(identity.revocation_deadline(), days_later(100).plus_ns(7_200_000_000_000));
}

#[test]
fn a_list_in_its_grace_still_revokes() {
    let pki = TestPki::new();
    pki.write_lists(2, &[], &[7]);
    let late = days_later(100).plus_ns(3_600_000_000_000);
    let identity = load(&pki, late, |tls| tls.revocation_grace_hours = 2).unwrap();
    assert_eq!(code_of(judged(&pki, &identity, &long_lived(&pki))), Err(Code::TlsCertificateRevoked));
}

#[test]
fn past_the_grace_nobody_gets_in_and_open_sessions_go_on() {
    const HOUR: u64 = 3_600_000_000_000;
    let pki = TestPki::new();
    let leaf = long_lived(&pki);
    for (grace_hours, last_ns) in [(0, 0), (1, HOUR), (168, 168 * HOUR)] {
        let identity = load(&pki, NOW, |tls| tls.revocation_grace_hours = grace_hours).unwrap();
        let end = days_later(100).plus_ns(last_ns);
        // TLS counts seconds: the last one in, and the first one out.
        identity.clock.set(UnixNanos(end.0 - 1_000_000_000));
        let identified = judged(&pki, &identity, &leaf).unwrap();
        identity.clock.set(end);
        let (code, detail) = judged(&pki, &identity, &leaf).unwrap_err();
        assert_eq!(code, Code::TlsCrlExpired);
        assert!(detail.contains("list number 1 of CN=Test Clients held until"), "{detail}");
        assert_eq!(identity.still_valid(&identified, end), Ok(()));
        assert_eq!(identity.revocation_state()[0].standing, Standing::Expired);
        let load_at_end = load(&pki, end, |tls| tls.revocation_grace_hours = grace_hours).map(|_| ());
        assert_eq!(load_at_end.unwrap_err().code(), Code::CfgCrlUnusable);
        assert!(load(&pki, UnixNanos(end.0 - 1), |tls| tls.revocation_grace_hours = grace_hours).is_ok());
    }
}

#[test]
fn the_grace_of_a_list_above_the_issuer_counts_too() {
    let pki = TestPki::new();
    pki.write("lists.pem", &(pki.root.list(1, &[], day(50)) + &pki.clients.list(1, &[], day(100))));
    let identity = load(&pki, NOW, |tls| tls.revocation_grace_hours = 24).unwrap();
    let leaf = long_lived(&pki);
    identity.clock.set(days_later(50));
    judged(&pki, &identity, &leaf).unwrap();
    identity.clock.set(days_later(51));
    assert_eq!(code_of(judged(&pki, &identity, &leaf)), Err(Code::TlsCrlExpired));
}

/// A PKI with an issuing authority below `Test Clients`: for each firm one.
struct Firms {
    pki: TestPki,
    acme: TestCa,
    beta: TestCa,
}

fn firms() -> Firms {
    let pki = TestPki::new();
    let acme = pki.clients.issuing("Acme Clients", 31);
    let beta = pki.clients.issuing("Beta Clients", 32);
    let all = [&pki.root, &pki.clients, &acme, &beta];
    pki.write("authorities.pem", &all.map(|ca| ca.certificate.pem()).concat());
    pki.write("lists.pem", &all.map(|ca| ca.list(1, &[], day(100))).concat());
    Firms { pki, acme, beta }
}

fn table(subject: &str, firms: &[&str]) -> AuthorityConfig {
    let firms = firms.iter().map(|firm| (*firm).to_owned()).collect();
    AuthorityConfig { subject: Some(subject.to_owned()), sha256: None, firms }
}

#[test]
fn an_authority_vouches_for_its_own_firms_only() {
    let Firms { pki, acme, beta } = firms();
    let pin: String =
        Sha256::digest(beta.certificate.der()).iter().map(|byte| format!("{byte:02X}:")).collect();
    let identity = load(&pki, NOW, |tls| {
        let beta = AuthorityConfig {
            subject: None,
            sha256: Some(pin.trim_end_matches(':').to_owned()),
            firms: vec!["beta".to_owned(), "gamma".to_owned()],
        };
        tls.authorities = vec![table("CN=Acme Clients", &["acme"]), beta];
    })
    .unwrap();
    for (firm, ca, is_allowed) in [
        ("acme", &acme, true),
        ("beta", &acme, false),
        ("ACME", &acme, false),
        ("beta", &beta, true),
        ("gamma", &beta, true),
        ("acme", &beta, false),
        // No table stands above it: it vouches for nobody.
        ("acme", &pki.clients, false),
    ] {
        let result = judged(&pki, &identity, &client_of(firm, ca));
        let expected = if is_allowed { Ok(()) } else { Err(Code::TlsIssuerNotAllowedForFirm) };
        assert_eq!(code_of(result), expected, "{firm}");
    }
}

#[test]
fn a_table_confines_everything_below_it_and_two_on_one_path_must_agree() {
    let Firms { pki, acme, beta } = firms();
    let identity = load(&pki, NOW, |tls| {
        tls.authorities = vec![table("CN=Test Root", &["acme"]), table("CN=Beta Clients", &["beta", "acme"])];
    })
    .unwrap();
    for (firm, ca, is_allowed) in [
        ("acme", &acme, true),
        ("acme", &pki.clients, true),
        ("acme", &beta, true),
        ("beta", &beta, false),
        ("beta", &acme, false),
    ] {
        let result = judged(&pki, &identity, &client_of(firm, ca));
        let expected = if is_allowed { Ok(()) } else { Err(Code::TlsIssuerNotAllowedForFirm) };
        assert_eq!(code_of(result), expected, "{firm}");
    }
    let any = load(&pki, NOW, |tls| tls.authorities = vec![table("CN=Test Root", &["*"])]).unwrap();
    judged(&pki, &any, &client_of("whoever", &beta)).unwrap();
}

#[test]
fn a_table_that_cannot_be_meant_is_refused_and_names_itself() {
    let Firms { pki, .. } = firms();
    let pin = |sha256: &str| AuthorityConfig {
        subject: None,
        sha256: Some(sha256.to_owned()),
        firms: vec!["acme".to_owned()],
    };
    let both = AuthorityConfig { subject: Some("CN=Acme Clients".to_owned()), ..pin(&"ab".repeat(32)) };
    let neither = AuthorityConfig { sha256: None, ..pin("") };
    for (wrong, says) in [
        (table("CN=Gamma Clients", &["gamma"]), "it has CN=Test Root; CN=Test Clients"),
        (table("CN=Test Root", &["acme"]), "named by another table too"),
        (table("CN=Acme Clients", &[]), "no firms"),
        (table("CN=Acme Clients", &["acme", "*"]), "is no firm"),
        (table("CN=Acme Clients", &["a b"]), "is no firm"),
        (pin(&"ab".repeat(32)), "tls.client_authorities has no"),
        (pin("ab"), "64 hexadecimal digits"),
        (both, "exactly one"),
        (neither, "exactly one"),
    ] {
        let tables = vec![table("CN=Test Root", &["acme"]), wrong];
        let error = load(&pki, NOW, |tls| tls.authorities = tables).map(|_| ()).unwrap_err();
        assert_eq!(error.code().as_str(), "SF-CFG-018");
        let text = error.to_string();
        assert!(text.starts_with("[[tls.authority]] table 2: ") && text.contains(says), "{text}");
    }
}

/// An identity with a deny-list of this text.
fn denying(pki: &TestPki, text: &str) -> Result<Identity, IdentityError> {
    pki.write("deny.toml", text);
    load(pki, NOW, |tls| tls.deny_list = Some(pki.path("deny.toml")))
}

#[test]
fn whom_the_deny_list_names_is_refused_at_the_door_and_ended_in_session() {
    let pki = TestPki::new();
    let leaf = issue(&client_params(), &pki.clients);
    let pin = Sha256::digest(leaf::parse(&leaf.certificate).unwrap().public_key().raw);
    for (entry, says) in [
        ("serial = \"07\"".to_owned(), "serial 07 stands in the deny-list (line 1)"),
        ("serial = \"7\"\nissuer = \"CN=Test Clients\"".to_owned(), "serial 07 of CN=Test Clients stands"),
        (format!("key_sha256 = \"{}\"", sealfeed_wire::hex::encode(&pin)), "stands in the deny-list"),
        ("principal = \"acme/desk7\"".to_owned(), "principal acme/desk7 stands"),
        (
            "subject = \"O=acme, OU=trader, CN=desk7\"".to_owned(),
            "subject O=acme, OU=trader, CN=desk7 stands",
        ),
    ] {
        let identity = denying(&pki, "").unwrap();
        let identified = judged(&pki, &identity, &leaf).unwrap();
        pki.write("deny.toml", &format!("[[deny]]\n{entry}\nreason = \"laptop lost\"\n"));
        assert_eq!(identity.reload(NOW).unwrap().changed, [FileRole::DenyList]);
        let (code, why) = identity.still_valid(&identified, NOW).unwrap_err();
        assert_eq!(code, Code::SesCertificateRevoked);
        assert!(why.contains(says) && why.ends_with(": laptop lost"), "{why}");
        let (code, why) = judged(&pki, &identity, &leaf).unwrap_err();
        assert_eq!(code.as_str(), "SF-TLS-025");
        assert!(why.contains(says), "{why}");
        // Another client of the same authority is not meant.
        let mut params = client_params();
        params.subject_alt_names.clear();
        params.serial_number = Some(SerialNumber::from(8));
        params.distinguished_name.push(rcgen::DnType::CommonName, "desk8");
        judged(&pki, &identity, &issue(&params, &pki.clients)).unwrap();
    }
}

#[test]
fn a_denied_key_is_denied_in_every_certificate_of_it() {
    let pki = TestPki::new();
    let secret = KeyPair::generate().unwrap().serialize_pem();
    let key = || KeyPair::from_pem(&secret).unwrap();
    let pin = {
        let leaf = issue_for(&client_params(), &pki.clients, key());
        Sha256::digest(leaf::parse(&leaf.certificate).unwrap().public_key().raw)
    };
    let entry = format!("[[deny]]\nkey_sha256 = \"{}\"\nreason = \"x\"", sealfeed_wire::hex::encode(&pin));
    let identity = denying(&pki, &entry).unwrap();
    let mut renewed = client_params();
    renewed.serial_number = Some(SerialNumber::from(99));
    assert_eq!(
        code_of(judged(&pki, &identity, &issue_for(&renewed, &pki.clients, key()))),
        Err(Code::TlsCertificateDenied)
    );
    judged(&pki, &identity, &issue(&renewed, &pki.clients)).unwrap();
}

#[test]
fn an_entry_whose_time_is_over_denies_nobody() {
    let pki = TestPki::new();
    let leaf = issue(&client_params(), &pki.clients);
    let until = OffsetDateTime::from_unix_timestamp(NOW_S + 60).unwrap();
    let until = until.format(&time::format_description::well_known::Rfc3339).unwrap();
    let entry = format!("[[deny]]\nserial = \"07\"\nreason = \"x\"\nuntil = {until}");
    let identity = denying(&pki, &entry).unwrap();
    assert_eq!(code_of(judged(&pki, &identity, &leaf)), Err(Code::TlsCertificateDenied));
    identity.clock.set(NOW.plus_ns(61_000_000_000));
    judged(&pki, &identity, &leaf).unwrap();
}

#[test]
fn a_deny_list_that_is_missing_or_wrong_lets_nothing_start_and_changes_nothing() {
    let pki = TestPki::new();
    let missing = load(&pki, NOW, |tls| tls.deny_list = Some(pki.path("nowhere.toml"))).map(|_| ());
    assert_eq!(missing.unwrap_err().code(), Code::CfgFileUnreadable);
    let leaf = issue(&client_params(), &pki.clients);
    let good = "[[deny]]\nserial = \"07\"\nreason = \"x\"\n";
    let identity = denying(&pki, good).unwrap();
    assert!(identity.in_force().summary.contains("; 1 denied; "), "{}", identity.in_force().summary);
    for wrong in ["[[deny]]\nserial = \"zz\"\nreason = \"x\"", "[[deny]]", "[[dney]]\n", "\u{0}"] {
        pki.write("deny.toml", &format!("{good}{wrong}"));
        assert_eq!(identity.reload(NOW).unwrap_err().code().as_str(), "SF-CFG-019", "{wrong}");
    }
    std::fs::remove_file(pki.path("deny.toml")).unwrap();
    assert_eq!(identity.reload(NOW).unwrap_err().code(), Code::CfgFileUnreadable);
    assert_eq!(code_of(judged(&pki, &identity, &leaf)), Err(Code::TlsCertificateDenied));
}

#[test]
fn a_deny_list_may_have_a_hundred_thousand_entries_and_no_more() {
    use std::fmt::Write as _;
    let pki = TestPki::new();
    let mut text = String::new();
    for serial in 1..=DENY_LIST_ENTRIES_MAX {
        write!(text, "[[deny]]\nserial = \"a{serial:06x}\"\nreason = \"x\"\n").unwrap();
    }
    let mut params = client_params();
    params.serial_number = Some(SerialNumber::from(0x0a00_0000 + DENY_LIST_ENTRIES_MAX as u64));
    let last = issue(&params, &pki.clients);
    let identity = denying(&pki, &text).unwrap();
    assert_eq!(code_of(judged(&pki, &identity, &last)), Err(Code::TlsCertificateDenied));
    text += "[[deny]]\nserial = \"1\"\nreason = \"x\"\n";
    assert_eq!(denying(&pki, &text).map(|_| ()).unwrap_err().code(), Code::CfgDenyListUnusable);
}

#[test]
fn ceilings_are_the_operators_and_hold_for_new_connections() {
    let pki = TestPki::new();
    let identity = pki.load().unwrap();
    let month = issue(&client_params(), &pki.clients);
    let identified = judged(&pki, &identity, &month).unwrap();
    let mut tls = pki.tls();
    tls.lifetime_days_max = 29;
    identity.reconfigure(&tls, &pki.identity(), None, NOW).unwrap();
    let (code, detail) = judged(&pki, &identity, &month).unwrap_err();
    assert_eq!(
        (code, detail.as_str()),
        (Code::TlsLifetimeTooLong, "the certificate lives longer than 29 days")
    );
    assert_eq!(identity.still_valid(&identified, NOW), Ok(()));
    let key = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let rsa = issue_for(&client_params(), &pki.clients, key);
    for (bits_min, expected) in
        [(2_048, Ok(())), (2_049, Err(Code::TlsKeyWeak)), (3_072, Err(Code::TlsKeyWeak))]
    {
        let identity = load(&pki, NOW, |tls| tls.rsa_bits_min = bits_min).unwrap();
        assert_eq!(code_of(judged(&pki, &identity, &rsa)), expected, "{bits_min}");
    }
}

#[test]
fn another_configuration_comes_into_force_as_a_whole_and_ends_sessions_of_firms_that_lost_their_authority() {
    let Firms { pki, acme, .. } = firms();
    let identity = pki.load().unwrap();
    let identified = judged(&pki, &identity, &client_of("acme", &acme)).unwrap();
    let mut tls = pki.tls();
    tls.deny_list = Some(pki.path("deny.toml"));
    tls.authorities = vec![table("CN=Acme Clients", &["other"])];
    // The deny-list that it names is not there: nothing of it holds.
    let error = identity.reconfigure(&tls, &pki.identity(), None, NOW).unwrap_err();
    assert_eq!(error.code(), Code::CfgFileUnreadable);
    assert_eq!(identity.still_valid(&identified, NOW), Ok(()));
    pki.write("deny.toml", "");
    identity.reconfigure(&tls, &pki.identity(), None, NOW).unwrap();
    let (code, why) = identity.still_valid(&identified, NOW).unwrap_err();
    assert_eq!(code, Code::SesCertificateRevoked);
    assert!(why.contains("CN=Acme Clients is confined to other firms than acme"), "{why}");
    assert!(files(&tls, &pki.identity(), None).contains(&pki.path("deny.toml")));
    // And goes on holding: a reload reads by the newest configuration.
    identity.reload(NOW).unwrap();
    assert!(identity.still_valid(&identified, NOW).is_err());
}

#[test]
fn every_file_that_is_read_is_named_for_the_watch() {
    let pki = TestPki::new();
    pki.write("previous.hex", &"a5".repeat(32));
    let identity = denying(&pki, "").unwrap();
    let mut tls = pki.tls();
    tls.deny_list = Some(pki.path("deny.toml"));
    let watched = files(&tls, &pki.identity(), None);
    let read = identity.in_force().files;
    assert_eq!(read.len(), 8);
    assert_eq!(watched.len(), read.len());
    assert!(read.iter().all(|file| watched.contains(&file.path)));
}
