//! A certificate that its own holder signed, in the name of the client's own principal: what a thief of names would show.
//!
//! Written as DER by hand, for the program has no other use for issuing certificates. Ed25519 (RFC 8410), the form of RFC 5280.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sealfeed_client::{ClientIdentity, clock};
use time::OffsetDateTime;
use time::macros::format_description;

/// `AlgorithmIdentifier` of Ed25519.
const ED25519: &[u8] = &[0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70];
/// Basic constraints of no authority; key usage digitalSignature; extended key usage clientAuth.
const EXTENSIONS: &[&[u8]] = &[
    &[0x30, 0x0c, 0x06, 0x03, 0x55, 0x1d, 0x13, 0x01, 0x01, 0xff, 0x04, 0x02, 0x30, 0x00],
    &[0x30, 0x0e, 0x06, 0x03, 0x55, 0x1d, 0x0f, 0x01, 0x01, 0xff, 0x04, 0x04, 0x03, 0x02, 0x07, 0x80],
    &[
        0x30, 0x13, 0x06, 0x03, 0x55, 0x1d, 0x25, 0x04, 0x0c, 0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05,
        0x05, 0x07, 0x03, 0x02,
    ],
];

/// A self-signed certificate with this subject (DER), and its key; `None` if the machine has no random bytes.
pub(super) fn self_signed(subject: &[u8]) -> Option<ClientIdentity> {
    let (key, pkcs8) = {
        let pair = Ed25519KeyPair::generate().ok()?;
        let pkcs8 = pair.to_pkcs8v1().ok()?;
        (pair, pkcs8.as_ref().to_vec())
    };
    let now = OffsetDateTime::from_unix_timestamp_nanos(clock::system_time().0.into()).ok()?;
    let validity =
        [utc_time(now - time::Duration::hours(1))?, utc_time(now + time::Duration::days(1))?].concat();
    let bits = |bytes: &[u8]| element(0x03, &[&[0], bytes].concat());
    let public = element(0x30, &[ED25519, &bits(key.public_key().as_ref())].concat());
    let extensions = element(0xa3, &element(0x30, &EXTENSIONS.concat()));
    let mut serial = [0x44; 8];
    aws_lc_rs::rand::fill(&mut serial[1..]).ok()?;
    let tbs = element(
        0x30,
        &[
            // Version 3.
            &[0xa0, 0x03, 0x02, 0x01, 0x02][..],
            &element(0x02, &serial),
            ED25519,
            subject,
            &element(0x30, &validity),
            subject,
            &public,
            &extensions,
        ]
        .concat(),
    );
    let signature = key.sign(&tbs);
    let certificate = element(0x30, &[&tbs[..], ED25519, &bits(signature.as_ref())].concat());
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pkcs8));
    Some(ClientIdentity { chain: vec![CertificateDer::from(certificate)], key })
}

/// One element of DER: tag, length, content.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let significant = &length[length.iter().position(|byte| *byte != 0).unwrap_or(length.len() - 1)..];
    let mut bytes = vec![tag];
    if content.len() < 0x80 {
        bytes.extend(significant);
    } else {
        // At most eight bytes of length.
        bytes.push(0x80 | significant.len().to_be_bytes()[size_of::<usize>() - 1]);
        bytes.extend(significant);
    }
    bytes.extend(content);
    bytes
}

/// `UTCTime`, which RFC 5280 wants until 2049.
fn utc_time(time: OffsetDateTime) -> Option<Vec<u8>> {
    let format = format_description!("[year repr:last_two][month][day][hour][minute][second]Z");
    time.format(format).ok().map(|text| element(0x17, text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::describe;

    #[test]
    fn the_forged_certificate_reads_as_one_of_the_same_name_and_its_key_belongs_to_it() {
        // O=acme, CN=bob
        let subject = element(
            0x30,
            &[
                element(0x31, &element(0x30, b"\x06\x03\x55\x04\x0a\x0c\x04acme")),
                element(0x31, &element(0x30, b"\x06\x03\x55\x04\x03\x0c\x03bob")),
            ]
            .concat(),
        );
        let forged = self_signed(&subject).unwrap();
        let read = describe(&forged.chain[0]).unwrap();
        assert_eq!((read.subject.as_str(), read.issuer.as_str()), ("O=acme, CN=bob", "O=acme, CN=bob"));
        assert_eq!(read.unfit_for_clients, None, "it differs from a good one by nothing but who signed it");
        crate::cli::doctor::endpoint::check_pair(&forged).unwrap();
    }
}
