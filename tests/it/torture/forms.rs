//! What a certificate is: its dates, version, serial number, key, extensions, and bytes.

use std::sync::Arc;

use rcgen::KeyPair;

use super::der::{
    DAY, Spec, ce, extension, odd_key, oid, public_key, purposes, rsa_key, sequence, tlv, usage,
};
use super::world::World;
use super::{Case, Is, Refused};

/// Days of the default `tls.lifetime_days_max`.
const LIFETIME_DAYS: i64 = 825;

pub(super) fn cases(world: &World) -> Vec<Case> {
    let mut cases = dates(world);
    cases.extend(uses(world));
    cases.extend(keys(world));
    cases.extend(bytes(world));
    cases
}

fn good(world: &World, name: &'static str, change: impl FnOnce(&mut Spec)) -> Case {
    Case { expected: Is("acme/form"), ..bad(world, name, "", change) }
}

fn bad(world: &World, name: &'static str, code: &'static str, change: impl FnOnce(&mut Spec)) -> Case {
    let mut spec = world.spec("Clients", "form");
    change(&mut spec);
    Case::new(name, spec.sign(&world.of("Clients").key), &world.key, Refused(code))
}

fn dates(world: &World) -> Vec<Case> {
    let now = world.now;
    let year_9999 = 253_402_300_799;
    let year_2051 = 2_556_144_000;
    vec![
        good(world, "in its last second", |spec| spec.validity = (now - DAY, now)),
        good(world, "in its first second", |spec| spec.validity = (now, now + DAY)),
        good(world, "as long as allowed", |spec| {
            spec.validity = (now - DAY, now + (LIFETIME_DAYS - 1) * DAY)
        }),
        bad(world, "expired by a second", "SF-TLS-003", |spec| spec.validity = (now - DAY, now - 1)),
        bad(world, "expired by years", "SF-TLS-003", |spec| {
            spec.validity = (now - 900 * DAY, now - 800 * DAY)
        }),
        bad(world, "valid from the next second on", "SF-TLS-004", |spec| {
            spec.validity = (now + 1, now + DAY)
        }),
        bad(world, "valid in years", "SF-TLS-004", |spec| spec.validity = (year_2051, year_2051 + DAY)),
        bad(world, "that ends before it begins", "SF-TLS-003", |spec| spec.validity = (now + DAY, now - DAY)),
        bad(world, "a second longer than allowed", "SF-TLS-020", |spec| {
            spec.validity = (now - DAY, now + (LIFETIME_DAYS - 1) * DAY + 1);
        }),
        bad(world, "until 2051", "SF-TLS-020", |spec| spec.validity = (now - DAY, year_2051)),
        bad(world, "for ever", "SF-TLS-020", |spec| spec.validity = (now - DAY, year_9999)),
        bad(world, "since 1970", "SF-TLS-020", |spec| spec.validity = (0, now + DAY)),
    ]
}

fn uses(world: &World) -> Vec<Case> {
    let any = extension(&ce(37), false, &sequence(&[&oid(&[2, 5, 29, 37, 0])]));
    let with =
        |name, extensions: Vec<Vec<u8>>| bad(world, name, "SF-TLS-006", |spec| spec.extensions = extensions);
    vec![
        good(world, "without a key usage", |spec| spec.extensions = vec![purposes(&[2])]),
        with("without an extended key usage", vec![usage(0x80)]),
        with("for servers", vec![usage(0x80), purposes(&[1])]),
        with("for clients and servers", vec![usage(0x80), purposes(&[2, 1])]),
        with("for code", vec![usage(0x80), purposes(&[3])]),
        with("for every purpose", vec![usage(0x80), any]),
        with("for keys and not for signatures", vec![usage(0x20), purposes(&[2])]),
        with("for signing certificates, too", vec![usage(0x84), purposes(&[2])]),
        with("for signing lists, too", vec![usage(0x82), purposes(&[2])]),
    ]
}

fn keys(world: &World) -> Vec<Case> {
    let clients = world.of("Clients");
    let real = |name, key: KeyPair| {
        let key = Arc::new(key);
        let mut spec = world.spec("Clients", "form");
        spec.key = public_key(&key);
        Case::new(name, spec.sign(&clients.key), &key, Is("acme/form"))
    };
    let weak = |name, key: Vec<u8>| bad(world, name, "SF-TLS-019", |spec| spec.key = key);
    let curve = |arcs: &[u32], bytes| odd_key(&[&oid(&[1, 2, 840, 10045, 2, 1]), &oid(arcs)], bytes);
    let rsa = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_3072).unwrap();
    vec![
        real("a key on P-384", KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap()),
        real("an Ed25519 key", KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap()),
        real("an RSA key of 3072 bits", rsa),
        weak("an RSA key of 1024 bits", rsa_key(1_024)),
        weak("an RSA key of 2048 bits", rsa_key(2_048)),
        weak("an RSA key of 3064 bits", rsa_key(3_064)),
        weak("a key on P-521", public_key(&KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap())),
        weak("a key on P-224", curve(&[1, 3, 132, 0, 33], 57)),
        weak("a key on secp256k1", curve(&[1, 3, 132, 0, 10], 65)),
        weak("an Ed448 key", odd_key(&[&oid(&[1, 3, 101, 113])], 57)),
        weak("a DSA key", odd_key(&[&oid(&[1, 2, 840, 10040, 4, 1])], 128)),
    ]
}

fn bytes(world: &World) -> Vec<Case> {
    let clients = world.of("Clients");
    let whole = |name, change: fn(Vec<u8>) -> Vec<u8>| {
        let der = change(world.spec("Clients", "form").sign(&clients.key));
        Case::new(name, der, &world.key, Refused("SF-TLS-010"))
    };
    let malformed = |name, change: fn(&mut Spec)| bad(world, name, "SF-TLS-010", change);
    let private = oid(&[1, 3, 6, 1, 4, 1, 99_999, 1]);
    vec![
        good(world, "with a serial number of 20 bytes", |spec| spec.serial = vec![0x7f; 20]),
        malformed("with the serial number 0", |spec| spec.serial = vec![0]),
        malformed("with a negative serial number", |spec| spec.serial = vec![0x80, 1]),
        malformed("with the serial number -1", |spec| spec.serial = vec![0xff]),
        malformed("with a serial number of 21 bytes", |spec| spec.serial = vec![0x01; 21]),
        malformed("with a serial number of 200 bytes", |spec| spec.serial = vec![0x01; 200]),
        malformed("of version 1", |spec| {
            spec.version.clear();
            spec.extensions.clear();
        }),
        malformed("of version 1 with extensions", |spec| spec.version.clear()),
        malformed("of version 2", |spec| spec.version = tlv(0xa0, &tlv(2, &[1]))),
        malformed("of version 4", |spec| spec.version = tlv(0xa0, &tlv(2, &[3]))),
        malformed("with a key usage twice", |spec| spec.extensions.push(usage(0x80))),
        malformed("with an extended key usage twice", |spec| spec.extensions.push(purposes(&[2]))),
        malformed("with basic constraints that are none", |spec| {
            spec.extensions.push(extension(&ce(19), true, b"\x04\x01x"));
        }),
        malformed("with an extended key usage that is none", |spec| {
            spec.extensions = vec![usage(0x80), extension(&ce(37), false, b"x")];
        }),
        good(world, "with an unknown extension", |spec| {
            spec.extensions.push(extension(&private, false, b"\x05\0"))
        }),
        bad(world, "with an unknown critical extension", "SF-TLS-010", |spec| {
            spec.extensions.push(extension(&private, true, b"\x05\0"));
        }),
        bad(world, "with an unknown extension twice", "SF-TLS-010", |spec| {
            spec.extensions
                .extend([extension(&private, false, b"\x05\0"), extension(&private, false, b"\x05\0")]);
        }),
        bad(world, "of 17 KiB", "SF-TLS-010", |spec| {
            spec.extensions.push(extension(&private, false, &tlv(4, &[0; 17 * 1024])));
        }),
        bad(world, "of 60 KiB", "SF-TLS-010", |spec| {
            spec.extensions.push(extension(&private, false, &tlv(4, &[0; 60 * 1024])));
        }),
        whole("with a byte behind it", |der| [der, vec![0]].concat()),
        whole("with another certificate behind it", |der| [der.clone(), der].concat()),
        whole("without its last byte", |der| der[..der.len() - 1].to_vec()),
        whole("only half of it", |der| der[..der.len() / 2].to_vec()),
        whole("with lengths of another encoding", |der| [&[0x30, 0x83, 0], &der[2..]].concat()),
        whole("of indefinite length", |der| [&[0x30, 0x80], &der[4..], &[0, 0]].concat()),
        whole("of text", |_| b"-----BEGIN CERTIFICATE-----".to_vec()),
        whole("of one byte", |_| vec![0x30]),
        whole("of zeros", |der| vec![0; der.len()]),
    ]
}
