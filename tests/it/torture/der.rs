//! Certificates and revocation lists byte by byte: everything a good one has, and each part to be replaced by what no
//! authority's software would write.

use rcgen::{KeyPair, PublicKeyData as _, SigningKey as _};
use time::OffsetDateTime;

pub(super) const O: u8 = 10;
pub(super) const OU: u8 = 11;
pub(super) const CN: u8 = 3;

pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTETS: u8 = 0x04;
pub(super) const UTF8: u8 = 0x0c;
pub(super) const PRINTABLE: u8 = 0x13;
pub(super) const TELETEX: u8 = 0x14;
pub(super) const UNIVERSAL: u8 = 0x1c;
pub(super) const BMP: u8 = 0x1e;

/// Seconds of a day.
pub(super) const DAY: i64 = 86_400;

/// One element.
pub(super) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut element = vec![tag];
    match length {
        0..128 => element.push(u8::try_from(length).unwrap()),
        _ => {
            let bytes = length.to_be_bytes();
            let bytes = &bytes[bytes.iter().position(|byte| *byte != 0).unwrap()..];
            element.push(0x80 | u8::try_from(bytes.len()).unwrap());
            element.extend(bytes);
        }
    }
    [element, content.to_vec()].concat()
}

/// A sequence of elements.
pub(super) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

/// An object identifier.
pub(super) fn oid(arcs: &[u32]) -> Vec<u8> {
    let mut content = vec![u8::try_from(arcs[0] * 40 + arcs[1]).unwrap()];
    for &arc in &arcs[2..] {
        let groups =
            (0..5).rev().map(|group| (arc >> (7 * group) & 0x7f) as u8).skip_while(|group| *group == 0);
        let mut groups: Vec<u8> = groups.map(|group| group | 0x80).collect();
        match groups.last_mut() {
            Some(last) => *last &= 0x7f,
            None => groups.push(0),
        }
        content.extend(groups);
    }
    tlv(0x06, &content)
}

pub(super) fn bit_string(bytes: &[u8]) -> Vec<u8> {
    tlv(0x03, &[&[0], bytes].concat())
}

/// A time as certificates have it: two digits of the year until 2049, four from then on.
pub(super) fn time(seconds: i64) -> Vec<u8> {
    let moment = OffsetDateTime::from_unix_timestamp(seconds).unwrap();
    let (date, clock) = (moment.date(), moment.time());
    let rest = format!(
        "{:02}{:02}{:02}{:02}{:02}Z",
        u8::from(date.month()),
        date.day(),
        clock.hour(),
        clock.minute(),
        clock.second()
    );
    match date.year() {
        year @ 1950..2050 => tlv(0x17, format!("{:02}{rest}", year % 100).as_bytes()),
        year => tlv(0x18, format!("{year:04}{rest}").as_bytes()),
    }
}

/// One attribute of a name: the last number of its type below 2.5.4, the kind of string, and its bytes.
pub(super) fn attribute(kind: u8, tag: u8, value: &[u8]) -> Vec<u8> {
    sequence(&[&tlv(0x06, &[0x55, 4, kind]), &tlv(tag, value)])
}

/// A name of these sets of attributes.
pub(super) fn name(sets: &[Vec<u8>]) -> Vec<u8> {
    tlv(0x30, &sets.iter().map(|set| tlv(0x31, set)).collect::<Vec<_>>().concat())
}

/// A name of these attributes, each alone, as UTF-8.
pub(super) fn subject(attributes: &[(u8, &str)]) -> Vec<u8> {
    let sets: Vec<Vec<u8>> =
        attributes.iter().map(|(kind, value)| attribute(*kind, UTF8, value.as_bytes())).collect();
    name(&sets)
}

/// An extension below 2.5.29, or of any object identifier.
pub(super) fn extension(oid: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical { tlv(0x01, &[0xff]) } else { Vec::new() };
    sequence(&[oid, &critical, &tlv(OCTETS, value)])
}

/// The object identifier 2.5.29.`number`.
pub(super) fn ce(number: u32) -> Vec<u8> {
    oid(&[2, 5, 29, number])
}

/// An extended key usage of these purposes below 1.3.6.1.5.5.7.3.
pub(super) fn purposes(numbers: &[u32]) -> Vec<u8> {
    let oids: Vec<Vec<u8>> = numbers.iter().map(|number| oid(&[1, 3, 6, 1, 5, 5, 7, 3, *number])).collect();
    extension(&ce(37), false, &tlv(0x30, &oids.concat()))
}

/// A key usage of these bits, the first one the highest: 0x80 is digitalSignature, 0x04 keyCertSign, 0x02 cRLSign.
pub(super) fn usage(bits: u8) -> Vec<u8> {
    extension(&ce(15), true, &tlv(0x03, &[u8::try_from(bits.trailing_zeros()).unwrap(), bits]))
}

/// Basic constraints of an authority, with its path length.
pub(super) fn authority_constraints(path_length: Option<u8>) -> Vec<u8> {
    let length = path_length.map_or(Vec::new(), |length| tlv(INTEGER, &[length]));
    extension(&ce(19), true, &sequence(&[&tlv(0x01, &[0xff]), &length]))
}

/// A subject alternative name of these names, each with its tag.
pub(super) fn alternatives(names: &[(u8, &[u8])]) -> Vec<u8> {
    let names: Vec<Vec<u8>> = names.iter().map(|(tag, value)| tlv(*tag, value)).collect();
    extension(&ce(17), false, &tlv(0x30, &names.concat()))
}

pub(super) fn ecdsa_sha256() -> Vec<u8> {
    sequence(&[&oid(&[1, 2, 840, 10045, 4, 3, 2])])
}

/// All that a certificate says, before it is signed.
#[derive(Clone)]
pub(super) struct Spec {
    /// The whole element; empty for version 1.
    pub(super) version: Vec<u8>,
    /// Content of the integer.
    pub(super) serial: Vec<u8>,
    /// Algorithm inside the signed part.
    pub(super) inner: Vec<u8>,
    /// Algorithm beside the signature.
    pub(super) outer: Vec<u8>,
    pub(super) issuer: Vec<u8>,
    /// First and last second, since 1970.
    pub(super) validity: (i64, i64),
    pub(super) subject: Vec<u8>,
    pub(super) key: Vec<u8>,
    pub(super) extensions: Vec<Vec<u8>>,
}

impl Spec {
    /// A certificate of `key`, without extensions.
    pub(super) fn new(
        serial: &[u8],
        issuer: &[u8],
        validity: (i64, i64),
        subject: &[u8],
        key: Vec<u8>,
    ) -> Self {
        Self {
            version: tlv(0xa0, &tlv(INTEGER, &[2])),
            serial: serial.to_vec(),
            inner: ecdsa_sha256(),
            outer: ecdsa_sha256(),
            issuer: issuer.to_vec(),
            validity,
            subject: subject.to_vec(),
            key,
            extensions: Vec::new(),
        }
    }

    fn signed_part(&self) -> Vec<u8> {
        let extensions = match &self.extensions[..] {
            [] => Vec::new(),
            extensions => tlv(0xa3, &tlv(0x30, &extensions.concat())),
        };
        sequence(&[
            &self.version,
            &tlv(INTEGER, &self.serial),
            &self.inner,
            &self.issuer,
            &sequence(&[&time(self.validity.0), &time(self.validity.1)]),
            &self.subject,
            &self.key,
            &extensions,
        ])
    }

    /// The certificate, signed by `key`.
    pub(super) fn sign(&self, key: &KeyPair) -> Vec<u8> {
        let signature = key.sign(&self.signed_part()).unwrap();
        self.with_signature(&signature)
    }

    /// The certificate with any bytes as its signature.
    pub(super) fn with_signature(&self, signature: &[u8]) -> Vec<u8> {
        sequence(&[&self.signed_part(), &self.outer, &bit_string(signature)])
    }
}

/// The key's public half, as certificates have it.
pub(super) fn public_key(key: &KeyPair) -> Vec<u8> {
    key.subject_public_key_info()
}

/// A public RSA key whose modulus has so many bits; nobody knows the private one.
pub(super) fn rsa_key(bits: usize) -> Vec<u8> {
    let modulus = [&[0], &vec![0xc5; bits / 8][..]].concat();
    let key = sequence(&[&tlv(INTEGER, &modulus), &tlv(INTEGER, &[1, 0, 1])]);
    sequence(&[&sequence(&[&oid(&[1, 2, 840, 113_549, 1, 1, 1]), &tlv(0x05, &[])]), &bit_string(&key)])
}

/// A public key on a curve, or of a kind, that is not supported.
pub(super) fn odd_key(algorithm: &[&[u8]], bytes: usize) -> Vec<u8> {
    let point = [&[4], &vec![0x5a; bytes - 1][..]].concat();
    sequence(&[&sequence(algorithm), &bit_string(&point)])
}

/// A revocation list, with these extensions behind its number.
pub(super) fn revocation_list(
    issuer: &[u8],
    key: &KeyPair,
    number: u8,
    validity: (i64, i64),
    serials: &[&[u8]],
    extensions: &[Vec<u8>],
) -> Vec<u8> {
    let revoked: Vec<Vec<u8>> =
        serials.iter().map(|serial| sequence(&[&tlv(INTEGER, serial), &time(validity.0)])).collect();
    let revoked = if revoked.is_empty() { Vec::new() } else { tlv(0x30, &revoked.concat()) };
    let number = extension(&ce(20), false, &tlv(INTEGER, &[number]));
    let signed = sequence(&[
        &tlv(INTEGER, &[1]),
        &ecdsa_sha256(),
        issuer,
        &time(validity.0),
        &time(validity.1),
        &revoked,
        &tlv(0xa0, &tlv(0x30, &[&number[..], &extensions.concat()].concat())),
    ]);
    sequence(&[&signed, &ecdsa_sha256(), &bit_string(&key.sign(&signed).unwrap())])
}

/// A PEM section.
pub(super) fn pem(label: &str, der: &[u8]) -> String {
    let lines: String = der.chunks(48).map(|line| base64(line) + "\n").collect();
    format!("-----BEGIN {label}-----\n{lines}-----END {label}-----\n")
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let all = group.iter().fold(0, |all, byte| all << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = DIGITS[(all >> (18 - 6 * place) & 0x3f) as usize];
            text.push(if place <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}
