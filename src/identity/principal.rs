//! Whom a certificate names: from its parsed attributes, never from the text of its distinguished name.
//!
//! `CN="alice,OU=admin"` prints like two attributes, so text is not looked at. Exactly one organisation (the firm)
//! and one common name (the user), at most one organisational unit (the role), each alone in its RDN, each in the
//! alphabet of [`Principal`], which has no separator, no control character and nothing that looks like another.
//! A SAN URI `sealfeed://FIRM/USER`, if there is one, must be the only URI and say the same. Beside it the SAN may have DNS
//! names, e-mail and IP addresses, which nobody reads; other forms could name somebody else to another reader. Names are
//! refused, never cleaned.

use std::sync::Arc;

use sealfeed_wire::Code;
use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::Oid;
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry as oid;
use x509_parser::x509::X509Name;

use super::der::element;
use super::leaf;
use crate::types::{Principal, Role, SignatureKey, UnixNanos};

/// Scheme of the SAN URI that names a principal.
pub const URI_SCHEME: &str = "sealfeed://";

/// What a client certificate proved. Held for each open session: what many share is shared, and what can be derived is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identified {
    /// Who.
    pub principal: Principal,
    /// In which role, if the certificate says so.
    pub role: Option<Role>,
    /// SHA-256 of the certificate's DER form.
    pub fingerprint: [u8; 32],
    /// First moment of its validity.
    pub not_before: UnixNanos,
    /// Last moment of its validity: the session ends with it.
    pub not_after: UnixNanos,
    /// The certificate's public key, if its signatures can be checked; `None`: it signs no orders.
    pub signature_key: Option<SignatureKey>,
    /// The certificate's subject as text that is safe to print; for people, never for decisions.
    pub subject: Box<str>,
    /// SHA-256 of the certificate's `SubjectPublicKeyInfo`: what a deny-list names as `key_sha256`.
    pub key_sha256: [u8; 32],
    /// The authority that issued it.
    pub(super) issuer: Arc<AuthorityName>,
    pub(super) raw_serial: Box<[u8]>,
}

/// The name of an authority, shared by all that it has issued.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AuthorityName {
    /// As it stands in certificates.
    pub(super) der: Box<[u8]>,
    /// As text, escaped.
    pub(super) text: String,
}

impl Identified {
    /// Serial number of the certificate, lower-case hexadecimal, without leading zeros.
    #[must_use]
    pub fn serial(&self) -> String {
        leaf::serial_hex(&self.raw_serial)
    }

    /// The subject of its issuer as text that is safe to print; for people, never for decisions.
    #[must_use]
    pub fn issuer_name(&self) -> &str {
        &self.issuer.text
    }
}

/// A refused name: code and what was wrong.
pub(super) type NameRefusal = (Code, &'static str);

/// The principal and role that the certificate's attributes name.
pub(super) fn name(certificate: &X509Certificate<'_>) -> Result<(Principal, Option<Role>), NameRefusal> {
    let (principal, role) = from_subject(certificate.subject())?;
    let alternatives = certificate
        .subject_alternative_name()
        .map_err(|_| (Code::TlsAttributeRefused, "the subject alternative name cannot be read"))?;
    if let Some(alternatives) = alternatives {
        check_uris(&alternatives.value.general_names, &principal)?;
    }
    Ok((principal, role))
}

/// The principal and role in a subject.
pub(super) fn from_subject(subject: &X509Name<'_>) -> Result<(Principal, Option<Role>), NameRefusal> {
    if subject.iter_rdn().next().is_none() {
        return Err((Code::TlsPrincipalMissing, "the subject is empty"));
    }
    if subject.iter_rdn().any(|rdn| rdn.iter().count() != 1) {
        return Err((Code::TlsAttributeRefused, "the subject has a multi-valued name"));
    }
    if !is_read_whole(subject) {
        return Err((Code::TlsAttributeRefused, "the subject has something that is no attribute"));
    }
    let firm = only(subject, &oid::OID_X509_ORGANIZATION_NAME)?
        .ok_or((Code::TlsPrincipalMissing, "the subject has no organisation"))?;
    let user = only(subject, &oid::OID_X509_COMMON_NAME)?
        .ok_or((Code::TlsPrincipalMissing, "the subject has no common name"))?;
    let role = only(subject, &oid::OID_X509_ORGANIZATIONAL_UNIT)?;
    let outside = (Code::TlsAttributeRefused, "a name is not 1 to 64 characters of A-Z a-z 0-9 . _ -");
    let principal = Principal::new(firm, user).ok_or(outside)?;
    let role = role.map(|role| Role::new(role).ok_or(outside)).transpose()?;
    Ok((principal, role))
}

/// Whether the subject is exactly the attributes that were read of it, each a set of one. The parser stops without a word at the
/// first thing that it does not understand: another reader could find somebody else behind it.
fn is_read_whole(subject: &X509Name<'_>) -> bool {
    let Some((0x30, mut sets, [])) = element(subject.as_raw()) else { return false };
    let mut count = 0;
    while let Some((0x31, set, behind)) = element(sets) {
        let Some((0x30, attribute, [])) = element(set) else { return false };
        let Some((0x06, _, value)) = element(attribute) else { return false };
        if !matches!(element(value), Some((_, _, []))) {
            return false;
        }
        count += 1;
        sets = behind;
    }
    sets.is_empty() && count == subject.iter_rdn().count()
}

/// The value of the only attribute of this type; `None` if there is none.
fn only<'a>(subject: &'a X509Name<'_>, attribute: &Oid<'static>) -> Result<Option<&'a str>, NameRefusal> {
    let mut values = subject.iter_by_oid(attribute);
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err((Code::TlsAttributeRefused, "the subject has an attribute more than once"));
    }
    // Only string types whose bytes are ASCII as they stand; wide ones could hide what they say.
    value
        .as_str()
        .map(Some)
        .map_err(|_| (Code::TlsAttributeRefused, "an attribute of the subject is no plain text"))
}

fn check_uris(names: &[GeneralName<'_>], principal: &Principal) -> Result<(), NameRefusal> {
    let mut seen = false;
    for name in names {
        match name {
            GeneralName::URI(uri) => {
                if std::mem::replace(&mut seen, true) {
                    return Err((Code::TlsAttributeRefused, "the certificate has several SAN URIs"));
                }
                let named = uri
                    .strip_prefix(URI_SCHEME)
                    .ok_or((Code::TlsAttributeRefused, "the SAN URI is not a sealfeed:// one"))?;
                if named.split_once('/') != Some((principal.firm(), principal.user())) {
                    return Err((Code::TlsAttributeRefused, "SAN URI and subject name different principals"));
                }
            }
            GeneralName::Invalid(..) => {
                return Err((Code::TlsAttributeRefused, "the subject alternative name is malformed"));
            }
            GeneralName::DNSName(text) | GeneralName::RFC822Name(text) => {
                if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
                    return Err((Code::TlsAttributeRefused, "a SAN name is not printable ASCII"));
                }
            }
            GeneralName::IPAddress(_) => {}
            _ => {
                return Err((
                    Code::TlsAttributeRefused,
                    "the SAN has a name that is no URI, DNS name, e-mail or IP address",
                ));
            }
        }
    }
    Ok(())
}

/// Reads everything that the certificate says of its holder. Judges names only, nothing else.
pub(super) fn identify(
    certificate: &X509Certificate<'_>,
    fingerprint: [u8; 32],
    issuer: Arc<AuthorityName>,
) -> Result<Identified, NameRefusal> {
    let (principal, role) = name(certificate)?;
    Ok(Identified {
        principal,
        role,
        fingerprint,
        not_before: leaf::nanos(certificate.validity().not_before),
        not_after: leaf::nanos(certificate.validity().not_after),
        signature_key: leaf::signature_key(certificate.public_key()),
        subject: leaf::escape(certificate.subject()).into(),
        key_sha256: leaf::key_sha256(certificate),
        issuer,
        raw_serial: leaf::serial(certificate.raw_serial()).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use x509_parser::prelude::FromDer;

    const O: u8 = 10;
    const OU: u8 = 11;
    const CN: u8 = 3;
    const UTF8: u8 = 12;
    const BMP: u8 = 30;

    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).unwrap();
        let header = if length < 128 { vec![tag, length] } else { vec![tag, 0x81, length] };
        [&header[..], content].concat()
    }

    fn attribute(kind: u8, tag: u8, value: &[u8]) -> Vec<u8> {
        der(0x30, &[der(6, &[0x55, 4, kind]), der(tag, value)].concat())
    }

    /// A name of these RDNs, each a set of attributes.
    fn subject(rdns: &[Vec<Vec<u8>>]) -> Vec<u8> {
        der(0x30, &rdns.iter().map(|set| der(0x31, &set.concat())).collect::<Vec<_>>().concat())
    }

    fn check(rdns: &[Vec<Vec<u8>>]) -> Result<String, Code> {
        let der = subject(rdns);
        // What is left unread of a subject with something odd in it stays behind, and is for `from_subject` to notice.
        let (_, name) = X509Name::from_der(&der).unwrap();
        from_subject(&name)
            .map(|(principal, role)| {
                format!("{principal} {}", role.map_or(String::new(), |role| role.as_str().to_owned()))
            })
            .map_err(|(code, _)| code)
    }

    fn one(kind: u8, value: &[u8]) -> Vec<Vec<u8>> {
        vec![attribute(kind, UTF8, value)]
    }

    #[test]
    fn firm_role_and_user_come_from_their_attributes() {
        assert_eq!(
            check(&[one(O, b"acme"), one(OU, b"trader"), one(CN, b"desk7")]).unwrap(),
            "acme/desk7 trader"
        );
        assert_eq!(check(&[one(CN, b"desk7"), one(O, b"acme")]).unwrap(), "acme/desk7 ");
        assert_eq!(check(&[one(6, b"DE"), one(O, b"acme"), one(CN, b"d")]).unwrap(), "acme/d ");
    }

    #[test]
    fn an_empty_subject_or_a_missing_name_names_nobody() {
        for rdns in [vec![], vec![one(O, b"acme")], vec![one(CN, b"desk7")], vec![one(6, b"DE")]] {
            assert_eq!(check(&rdns), Err(Code::TlsPrincipalMissing));
        }
    }

    #[test]
    fn an_attribute_given_twice_is_refused() {
        for twice in [O, OU, CN] {
            let rdns = [one(O, b"acme"), one(OU, b"trader"), one(CN, b"desk7"), one(twice, b"acme")];
            assert_eq!(check(&rdns), Err(Code::TlsAttributeRefused), "{twice}");
        }
    }

    #[test]
    fn a_multi_valued_name_is_refused() {
        let both = vec![attribute(CN, UTF8, b"desk7"), attribute(OU, UTF8, b"trader")];
        assert_eq!(check(&[one(O, b"acme"), both]), Err(Code::TlsAttributeRefused));
    }

    #[test]
    fn a_subject_that_the_parser_reads_only_in_part_is_refused() {
        let odd = der(0x30, &[der(6, &[0x55, 4, CN]), der(UTF8, b"x"), der(UTF8, b"y")].concat());
        let spare = [attribute(CN, UTF8, b"desk7"), der(UTF8, b"x")].concat();
        for rdns in [
            vec![one(O, b"acme"), one(CN, b"desk7"), vec![]],
            vec![one(O, b"acme"), one(CN, b"desk7"), vec![], one(CN, b"admin")],
            vec![one(O, b"acme"), one(CN, b"desk7"), vec![der(UTF8, b"x")], one(CN, b"admin")],
            vec![one(O, b"acme"), one(CN, b"desk7"), vec![odd]],
            vec![one(O, b"acme"), vec![spare]],
        ] {
            assert_eq!(check(&rdns), Err(Code::TlsAttributeRefused), "{rdns:?}");
        }
    }

    #[test]
    fn names_that_imitate_or_break_out_are_refused() {
        let hostile: [&[u8]; 9] = [
            b"alice,OU=admin",
            b"alice\0",
            b"alice\nadmin",
            "\u{202e}ecila".as_bytes(),
            "\u{430}lice".as_bytes(),
            b"acme/alice",
            b"",
            b" alice",
            b"\xff\xfe",
        ];
        for value in hostile {
            assert_eq!(
                check(&[one(O, b"acme"), one(CN, value)]),
                Err(Code::TlsAttributeRefused),
                "{value:?}"
            );
            assert_eq!(
                check(&[one(O, value), one(CN, b"alice")]),
                Err(Code::TlsAttributeRefused),
                "{value:?}"
            );
            let rdns = [one(O, b"acme"), one(OU, value), one(CN, b"alice")];
            assert_eq!(check(&rdns), Err(Code::TlsAttributeRefused), "{value:?}");
        }
        let wide = vec![attribute(CN, BMP, b"\0a\0l")];
        assert_eq!(check(&[one(O, b"acme"), wide]), Err(Code::TlsAttributeRefused));
    }

    #[test]
    fn a_name_of_65_characters_is_refused() {
        assert!(check(&[one(O, b"acme"), one(CN, &[b'a'; 64])]).is_ok());
        assert_eq!(check(&[one(O, b"acme"), one(CN, &[b'a'; 65])]), Err(Code::TlsAttributeRefused));
    }

    #[test]
    fn a_san_uri_must_be_the_only_one_and_agree() {
        let principal = Principal::new("acme", "desk7").unwrap();
        let check = |names: &[GeneralName<'_>]| check_uris(names, &principal).map_err(|(code, _)| code);
        let refused = Err(Code::TlsAttributeRefused);
        assert_eq!(check(&[]), Ok(()));
        assert_eq!(check(&[GeneralName::DNSName("desk7.acme.example")]), Ok(()));
        assert_eq!(check(&[GeneralName::URI("sealfeed://acme/desk7")]), Ok(()));
        for uri in [
            "sealfeed://acme/desk8",
            "sealfeed://acme/desk7/",
            "sealfeed://acme/desk7?x",
            "SEALFEED://acme/desk7",
            "sealfeed://acme",
            "spiffe://acme/desk7",
        ] {
            assert_eq!(check(&[GeneralName::URI(uri)]), refused, "{uri}");
        }
        assert_eq!(
            check(&[GeneralName::URI("sealfeed://acme/desk7"), GeneralName::URI("sealfeed://acme/desk7")]),
            refused
        );
        assert_eq!(
            check(&[GeneralName::Invalid(x509_parser::der_parser::asn1_rs::Tag(6), b"\xff")]),
            refused
        );
    }
}
