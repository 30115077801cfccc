//! The public key of a certificate: from the first byte of its DER to subjectPublicKeyInfo (RFC 5280, section 4.1), and no further.
//!
//! Nothing of the certificate is believed or judged here but whose key it is: whoever wants to know whether an authority vouches for it
//! has the chain. A form that is not the only one (X.690, section 10.1) is not read: then signatures are not checked, which is said.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey};

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
/// `[0] EXPLICIT`: the version, which certificates of version 1 do not have.
const VERSION: u8 = 0xa0;

/// subjectPublicKeyInfo of Ed25519 (RFC 8410) up to the 32 bytes of the key.
const ED25519_INFO: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// The same of P-256 (RFC 5480) up to the two coordinates: named curve, uncompressed point.
const P256_INFO: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];
/// Bytes of an uncompressed point: 4, then the coordinates.
const POINT_BYTES: usize = 65;

/// A key of the kinds that sign order messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PublicKey<'a> {
    /// As RFC 8032 encodes it.
    Ed25519(&'a [u8; 32]),
    /// The uncompressed point.
    P256(&'a [u8; POINT_BYTES]),
}

impl<'a> PublicKey<'a> {
    /// The key of a certificate; `None` where the DER cannot be read, or where the key is of another kind.
    pub(super) fn of_certificate(der: &'a [u8]) -> Option<Self> {
        let mut outside = Der(der);
        let mut certificate = Der(outside.element(SEQUENCE)?.1);
        let mut signed = Der(certificate.element(SEQUENCE)?.1);
        certificate.element(SEQUENCE)?;
        certificate.element(BIT_STRING)?;
        if !outside.0.is_empty() || !certificate.0.is_empty() {
            return None;
        }
        if signed.0.first() == Some(&VERSION) {
            signed.element(VERSION)?;
        }
        signed.element(INTEGER)?;
        // Algorithm of the signature, issuer, validity, subject.
        for _ in 0..4 {
            signed.element(SEQUENCE)?;
        }
        Self::of_info(signed.element(SEQUENCE)?.0)
    }

    /// Each kind has one length and one beginning, so nothing inside has to be taken apart.
    fn of_info(info: &'a [u8]) -> Option<Self> {
        if let Some(key) = info.strip_prefix(ED25519_INFO) {
            return key.try_into().ok().filter(|key: &&[u8; 32]| is_canonical(key)).map(Self::Ed25519);
        }
        info.strip_prefix(P256_INFO)?;
        info.get(P256_INFO.len() - 1..)?.try_into().ok().map(Self::P256)
    }

    /// Name of the algorithm, for people.
    pub(super) const fn algorithm(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => "Ed25519",
            Self::P256(_) => "ECDSA P-256",
        }
    }

    /// Whether this key made `signature` over `message`: RFC 8032, section 5.1.7, or FIPS 186-5, section 6.4.2, with SHA-256 and as r
    /// then s.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok(),
            Self::P256(key) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key).verify(message, signature).is_ok()
            }
        }
    }
}

/// Whether an Ed25519 key is in its only form: y below 2^255 - 19, and no sign where x is 0. Libraries differ in what they make of the few
/// others, and a verdict must not depend on the library.
fn is_canonical(key: &[u8; 32]) -> bool {
    let [first, middle @ .., last] = key;
    let (sign, top) = (last & 0x80 != 0, last & 0x7f);
    // 2^255 - 19 is ed, 30 times ff, 7f; x is 0 where y is 1 or one less than that.
    let is_high = top == 0x7f && middle.iter().all(|byte| *byte == 0xff);
    let is_one = *first == 1 && top == 0 && middle.iter().all(|byte| *byte == 0);
    !(is_high && *first >= 0xed) && !(sign && (is_one || is_high && *first == 0xec))
}

/// What is left of a run of DER elements.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next element, which must have this tag: all of it, and its content.
    fn element(&mut self, tag: u8) -> Option<(&'a [u8], &'a [u8])> {
        let (head, length) = match *self.0 {
            [found, length @ 0..=0x7f, ..] if found == tag => (2, usize::from(length)),
            [found, 0x81, length @ 0x80..=0xff, ..] if found == tag => (3, usize::from(length)),
            // Two bytes are enough for whatever fits an entry of the log.
            [found, 0x82, high @ 1..=0xff, low, ..] if found == tag => {
                (4, usize::from(u16::from_be_bytes([high, low])))
            }
            _ => return None,
        };
        let (whole, rest) = self.0.split_at_checked(head + length)?;
        self.0 = rest;
        Some((whole, whole.get(head..)?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POINT: [u8; 64] = [7; 64];

    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        let head = match content.len() {
            0..=0x7f => vec![tag, length[1]],
            0x80..=0xff => vec![tag, 0x81, length[1]],
            _ => vec![tag, 0x82, length[0], length[1]],
        };
        [head, content.to_vec()].concat()
    }

    /// A certificate as RFC 5280 has it, around this subjectPublicKeyInfo; the other parts are filled as they come.
    fn certificate(info: &[u8], has_version: bool, parts: &[Vec<u8>; 5], extensions: &[u8]) -> Vec<u8> {
        let version = if has_version { element(0xa0, &[2, 1, 2]) } else { Vec::new() };
        let mut signed = [version, element(2, &parts[0])].concat();
        parts[1..].iter().for_each(|part| signed.extend(element(0x30, part)));
        signed.extend_from_slice(info);
        signed.extend_from_slice(extensions);
        element(0x30, &[element(0x30, &signed), element(0x30, &[5, 0]), element(3, &[0; 65])].concat())
    }

    fn plain(info: &[u8]) -> Vec<u8> {
        certificate(info, true, &[vec![1], vec![], vec![], vec![], vec![]], &[])
    }

    fn ed25519_info(key: &[u8; 32]) -> Vec<u8> {
        element(
            0x30,
            &[&element(0x30, &[6, 3, 0x2b, 0x65, 0x70])[..], &element(3, &[&[0], &key[..]].concat())]
                .concat(),
        )
    }

    fn p256_info(first: u8) -> Vec<u8> {
        let curve = [0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
        let algorithm = [element(6, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1]), element(6, &curve)].concat();
        element(0x30, &[element(0x30, &algorithm), element(3, &[&[0, first], &POINT[..]].concat())].concat())
    }

    #[test]
    fn a_key_is_read_out_of_a_certificate_of_either_kind() {
        assert_eq!(
            PublicKey::of_certificate(&plain(&ed25519_info(&[7; 32]))),
            Some(PublicKey::Ed25519(&[7; 32]))
        );
        let mut point = [7; POINT_BYTES];
        point[0] = 4;
        assert_eq!(PublicKey::of_certificate(&plain(&p256_info(4))), Some(PublicKey::P256(&point)));
    }

    #[test]
    fn keys_of_other_kinds_and_forms_are_not_read() {
        let rsa = element(0x30, &[element(0x30, &[6, 1, 42, 5, 0]), element(3, &[0; 270])].concat());
        let compressed = p256_info(2);
        let with_parameters =
            element(0x30, &[element(0x30, &[6, 3, 0x2b, 0x65, 0x70, 5, 0]), element(3, &[0; 33])].concat());
        let short = element(0x30, &[element(0x30, &[6, 3, 0x2b, 0x65, 0x70]), element(3, &[0; 32])].concat());
        for info in [rsa, compressed, with_parameters, short, element(2, &[1]), Vec::new()] {
            assert_eq!(PublicKey::of_certificate(&plain(&info)), None, "{info:x?}");
        }
        let good = plain(&p256_info(4));
        for bad in [&[&good[..], &[0]].concat()[..], &good[..good.len() - 1], &[], b"bob"] {
            assert_eq!(PublicKey::of_certificate(bad), None, "{bad:x?}");
        }
    }

    #[test]
    fn lengths_in_any_but_their_only_form_are_not_read() {
        for bytes in [
            &[0x30, 0x81, 0x01, 0][..],
            &[0x30, 0x82, 0x00, 0x80],
            &[0x30, 0x80, 0, 0],
            &[0x30, 0x83, 0, 0, 1, 0],
            &[0x30, 0xff],
            &[0x30, 2, 0],
            &[0x31, 0],
            &[0x30],
        ] {
            let bytes = [bytes, if bytes.len() > 3 { &[0; 200] } else { &[] }].concat();
            assert!(Der(&bytes).element(SEQUENCE).is_none(), "{bytes:x?}");
        }
    }

    #[test]
    fn ed25519_keys_that_libraries_read_differently_are_not_read() {
        let (mut modulus, mut one) = ([0xff; 32], [0; 32]);
        (modulus[0], modulus[31], one[0]) = (0xed, 0x7f, 1);
        let with = |key: [u8; 32], first: u8, sign: u8| {
            let mut key = key;
            key[0] = first;
            key[31] |= sign;
            PublicKey::of_certificate(&plain(&ed25519_info(&key))).is_some()
        };
        assert!(with(modulus, 0xeb, 0x80) && with(modulus, 0xec, 0) && with(one, 1, 0) && with(one, 2, 0x80));
        assert!(!with(modulus, 0xed, 0) && !with(modulus, 0xff, 0) && !with(modulus, 0xee, 0x80));
        assert!(!with(modulus, 0xec, 0x80) && !with(one, 1, 0x80));
    }

    proptest! {
        #[test]
        fn the_key_is_found_whatever_stands_around_it(
            key in any::<[u8; 32]>(),
            has_version in any::<bool>(),
            parts in prop::array::uniform5(prop::collection::vec(any::<u8>(), 0..400)),
            extensions in prop::collection::vec(any::<u8>(), 0..400),
        ) {
            let der = certificate(&ed25519_info(&key), has_version, &parts, &extensions);
            let expected = is_canonical(&key).then_some(PublicKey::Ed25519(&key));
            prop_assert_eq!(PublicKey::of_certificate(&der), expected);
        }

        #[test]
        fn no_bytes_make_the_walk_panic_and_no_cut_certificate_has_a_key(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            at in any::<prop::sample::Index>(),
            value in any::<u8>(),
        ) {
            let _ = PublicKey::of_certificate(&bytes);
            let mut der = plain(&p256_info(4));
            let at = at.index(der.len());
            prop_assert_eq!(PublicKey::of_certificate(&der[..at]), None);
            der[at] = value;
            let _ = PublicKey::of_certificate(&der);
        }
    }
}
