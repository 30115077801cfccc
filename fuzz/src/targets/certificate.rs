//! Certificates and revocation lists: all that is read of them, and all that is written down about them.

use std::sync::OnceLock;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use sealfeed::identity::fuzzing::{certificate as read, revocation_list as check};
use sealfeed::types::UnixNanos;
use sealfeed_wire::Code;

use crate::printable::assert_printable;

/// When the input is looked at: 2026-11-26 00:00 UTC.
const NOW: UnixNanos = UnixNanos(1_795_651_200_000_000_000);

/// A subject is cut a little behind 256 bytes.
const SUBJECT_BYTES_MAX: usize = 512;

/// Twice the 32 bytes of a serial number that are shown.
const SERIAL_BYTES_MAX: usize = 64;

pub(crate) fn certificate(der: &[u8]) {
    let Some(certificate) = read(der, NOW) else { return };
    assert_printable(&certificate.claim.subject, SUBJECT_BYTES_MAX);
    assert_printable(&certificate.issuer, SUBJECT_BYTES_MAX);
    assert!(certificate.claim.serial.len() <= SERIAL_BYTES_MAX);
    assert!(certificate.claim.serial.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if let Ok((principal, role)) = &certificate.name {
        let role = role.as_ref().map_or("none", |role| role.as_str());
        for name in [principal.firm(), principal.user(), role] {
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            assert!((1..=64).contains(&name.len()) && name.bytes().all(is_name), "{name:?} names somebody");
        }
        // Whoever has a name has it in the subject, in plain sight.
        let shown = &certificate.claim.subject;
        let is_whole = !shown.ends_with("...");
        assert!(!is_whole || shown.contains(principal.firm()) && shown.contains(principal.user()), "{shown}");
    }
}

/// Of the key that signs the lists, so that what comes behind the signature is reached.
#[doc(hidden)]
pub const AUTHORITY_SEED: [u8; 32] = [0x5e; 32];

/// `1.3.101.112`, Ed25519 (RFC 8410), as an algorithm identifier.
const ED25519: [u8; 7] = [0x30, 5, 6, 3, 0x2b, 0x65, 0x70];

/// The input is the part of a list that is signed, and the authority signs whatever it is.
pub(crate) fn revocation_list(content: &[u8]) {
    static KEY: OnceLock<Option<Ed25519KeyPair>> = OnceLock::new();
    static AUTHORITY: OnceLock<Vec<u8>> = OnceLock::new();
    let key = KEY.get_or_init(|| Ed25519KeyPair::from_seed_unchecked(&AUTHORITY_SEED).ok());
    let Some(key) = key else { panic!("the key of the authority cannot be made") };
    let authority = AUTHORITY.get_or_init(|| authority(key));
    let signature = [&[0], key.sign(content).as_ref()].concat();
    let list = element(0x30, &[content, &ED25519, &element(3, &signature)].concat());
    match check(&list, authority, NOW) {
        Ok(list) => {
            assert!(list.number.bytes().all(|byte| byte.is_ascii_digit()), "{}", list.number);
            assert!(list.next_update >= NOW, "a list that has run out");
            assert!(list.count <= content.len(), "more entries than bytes");
        }
        Err((code, text)) => {
            assert_printable(&text, 2 * SUBJECT_BYTES_MAX);
            assert_ne!(code, Code::TlsCertificateMalformed, "the authority is one");
        }
    }
    // What another key signed is never in force.
    let mut forged = list;
    if let Some(last) = forged.last_mut() {
        *last ^= 1;
    }
    assert!(check(&forged, authority, NOW).is_err(), "a list with a wrong signature");
}

/// A certificate with this key; its own signature is nobody's, for nobody looks at it here.
fn authority(key: &Ed25519KeyPair) -> Vec<u8> {
    let name =
        element(0x30, &element(0x31, &element(0x30, &[&[6, 3, 0x55, 4, 3][..], b"\x0c\x02CA"].concat())));
    let dates = element(0x30, &[element(0x17, b"250101000000Z"), element(0x17, b"350101000000Z")].concat());
    let public = [&[0], key.public_key().as_ref()].concat();
    let public = element(0x30, &[&ED25519[..], &element(3, &public)].concat());
    let version = element(0xa0, &[2, 1, 2]);
    let signed = [&version, &[2, 1, 1][..], &ED25519, &name, &dates, &name, &public].concat();
    element(0x30, &[&element(0x30, &signed), &ED25519[..], &element(3, &[0; 65])].concat())
}

/// A DER element of at most 65,535 bytes; of more the length is cut, and the reader will say so.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let [.., high, low] = content.len().to_be_bytes();
    let head = match (high, low) {
        (0, 0..=127) => vec![tag, low],
        (0, _) => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [&head, content].concat()
}
