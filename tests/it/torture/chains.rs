//! Who vouches: authorities, paths, signatures, revocation, the deny-list, and keys that do not belong.

use std::sync::Arc;

use rcgen::KeyPair;

use super::der::{
    CN, O, OU, Spec, alternatives, authority_constraints, oid, public_key, sequence, subject, tlv, usage,
};
use super::world::{DENIED, DENIED_OF_CLIENTS, DENIED_ONCE, REVOKED, World};
use super::{Case, Expected, Is, Refused};

/// A certificate of `issuer` as it would issue it, changed.
fn issued(world: &World, issuer: &str, user: &str, change: impl FnOnce(&mut Spec)) -> Vec<u8> {
    let mut spec = world.spec(issuer, user);
    change(&mut spec);
    spec.sign(&world.of(issuer).key)
}

/// The certificate that `Clients` revoked.
pub(super) fn revoked(world: &World) -> Vec<u8> {
    issued(world, "Clients", "revoked", |spec| spec.serial = REVOKED.to_vec())
}

pub(super) fn cases(world: &World) -> Vec<Case> {
    let mut cases = good_paths(world);
    cases.extend(bad_paths(world));
    cases.extend(signatures(world));
    cases.extend(withdrawn(world));
    cases.extend(confined(world));
    cases
}

fn good_paths(world: &World) -> Vec<Case> {
    let certificate = |name: &str| world.of(name).certificate.as_slice();
    let plain = |name| Case::new(name, issued(world, "Clients", "u", |_| {}), &world.key, Is("acme/u"));
    let deep =
        |name, expected| Case::new(name, issued(world, "Deeper", "deep", |_| {}), &world.key, expected);
    let named = |name, dns: &[u8], expected| {
        let leaf = issued(world, "Named", "n", |spec| spec.extensions.push(alternatives(&[(0x82, dns)])));
        Case::new(name, leaf, &world.key, expected)
    };
    vec![
        plain("a leaf alone"),
        plain("with its issuer").with(&[certificate("Clients")]),
        plain("with its whole chain").with(&[certificate("Clients"), certificate("Root")]),
        plain("with its chain in the wrong order").with(&[certificate("Root"), certificate("Clients")]),
        plain("with authorities of somebody else").with(&[certificate("Free"), certificate("Named")]),
        plain("with the leaf twice").with(&[&issued(world, "Clients", "u", |_| {})]),
        plain("with something behind it that is no certificate").with(&[b"no certificate"]),
        deep("three authorities below the root, none sent", Is("acme/deep")),
        deep("three authorities below the root, all sent", Is("acme/deep")).with(&[
            certificate("Deeper"),
            certificate("Deep"),
            certificate("Clients"),
        ]),
        Case::new(
            "below an authority of path length 0",
            issued(world, "Short", "s", |_| {}),
            &world.key,
            Is("acme/s"),
        ),
        Case::new("below another root", issued(world, "Free", "f", |_| {}), &world.key, Is("acme/f")),
        named("within the permitted names", b"desk.acme.example", Is("acme/n")),
        named("outside the permitted names", b"desk.beta.example", Refused("SF-TLS-022")),
        named("within the excluded names", b"x.secret.acme.example", Refused("SF-TLS-022")),
    ]
}

/// A certificate that its own holder signed.
fn self_signed(world: &World) -> Vec<u8> {
    let mut spec = world.spec("Clients", "u");
    spec.issuer.clone_from(&spec.subject);
    spec.sign(&world.key)
}

/// A certificate for a victim, by a client who plays the authority.
fn by_client(world: &World) -> Vec<u8> {
    let mut spec = world.spec("Clients", "victim");
    spec.issuer = world.spec("Clients", "u").subject;
    spec.sign(&world.key)
}

fn bad_paths(world: &World) -> Vec<Case> {
    let key = &world.key;
    let certificate = |name: &str| world.of(name).certificate.clone();
    // A root of its own, with a name of its own or with that of a trusted authority.
    let stranger = KeyPair::generate().unwrap();
    let own_name = subject(&[(CN, "Torture Stranger")]);
    let stranger_leaf = |issuer: &[u8]| {
        let mut spec = world.spec("Clients", "u");
        spec.issuer = issuer.to_vec();
        spec.sign(&stranger)
    };
    let stranger_ca = |name: &[u8]| {
        let validity = world.spec("Clients", "u").validity;
        let mut spec = Spec::new(&[9], name, validity, name, public_key(&stranger));
        spec.extensions = vec![authority_constraints(None), usage(0x06)];
        spec.sign(&stranger)
    };
    let parent = issued(world, "Clients", "u", |_| {});
    let unlisted_name = subject(&[(CN, "Torture Unlisted")]);
    let unlisted_ca = issued(world, "Root", "x", |spec| {
        spec.subject.clone_from(&unlisted_name);
        spec.key = public_key(&stranger);
        spec.extensions = vec![authority_constraints(None), usage(0x06)];
    });
    let case = |name, der: Vec<u8>, code| Case::new(name, der, key, Refused(code));
    let none = Case {
        name: "no certificate",
        chain: Vec::new(),
        key: Arc::clone(key),
        expected: Refused("SF-TLS-001"),
    };
    vec![
        none,
        case("of a stranger", stranger_leaf(&own_name), "SF-TLS-002"),
        case("of a stranger who sends its root", stranger_leaf(&own_name), "SF-TLS-002")
            .with(&[&stranger_ca(&own_name)]),
        case("of a stranger with a trusted name", stranger_leaf(&world.of("Clients").name), "SF-TLS-009"),
        case(
            "of a stranger with a trusted name who sends its root",
            stranger_leaf(&world.of("Clients").name),
            "SF-TLS-009",
        )
        .with(&[&stranger_ca(&world.of("Clients").name)]),
        case("of a stranger with the root's name", stranger_leaf(&world.of("Root").name), "SF-TLS-009"),
        case("self-signed", self_signed(world), "SF-TLS-002"),
        case("issued by a client", by_client(world), "SF-TLS-002").with(&[&parent]),
        case(
            "issued by an authority that is not listed, which is sent",
            stranger_leaf(&unlisted_name),
            "SF-TLS-002",
        )
        .with(&[&unlisted_ca]),
        case("an authority itself", certificate("Clients"), "SF-TLS-022"),
        case("an authority first and the client behind it", certificate("Clients"), "SF-TLS-022")
            .with(&[&parent]),
        case("a root itself", certificate("Root"), "SF-TLS-022"),
        case("one authority too many below a path length", issued(world, "Below", "b", |_| {}), "SF-TLS-022"),
        case(
            "a client that says it is an authority",
            issued(world, "Clients", "ca", |spec| spec.extensions.push(authority_constraints(None))),
            "SF-TLS-022",
        ),
    ]
}

fn signatures(world: &World) -> Vec<Case> {
    let (key, clients) = (&world.key, world.of("Clients"));
    let case = |name, der: Vec<u8>, code| Case::new(name, der, key, Refused(code));
    let good = issued(world, "Clients", "u", |_| {});
    let mut broken = good.clone();
    *broken.last_mut().unwrap() ^= 1;
    let by_algorithm = |arcs: &[u32]| {
        issued(world, "Clients", "u", |spec| {
            spec.inner = sequence(&[&oid(arcs), &tlv(0x05, &[])]);
            spec.outer.clone_from(&spec.inner);
        })
    };
    // The signature of one certificate under another: whoever took that would take anybody for anybody.
    let of_another = {
        let other = issued(world, "Clients", "other", |_| {});
        let at = other.windows(3).rposition(|window| window[0] == 0x03 && window[2] == 0).unwrap();
        world.spec("Clients", "admin").with_signature(&other[at + 3..])
    };
    let own_key = Arc::new(KeyPair::generate().unwrap());
    vec![
        case("a broken signature", broken, "SF-TLS-009"),
        case("an empty signature", world.spec("Clients", "u").with_signature(&[]), "SF-TLS-009"),
        case("a signature of zeros", world.spec("Clients", "u").with_signature(&[0; 70]), "SF-TLS-009"),
        case("the signature of another certificate", of_another, "SF-TLS-009"),
        case("signed by its own key", world.spec("Clients", "u").sign(key), "SF-TLS-009"),
        case(
            "signed by a sibling of its issuer",
            world.spec("Clients", "u").sign(&world.of("Deep").key),
            "SF-TLS-009",
        ),
        case("ECDSA with SHA-1", by_algorithm(&[1, 2, 840, 10045, 4, 1]), "SF-TLS-009"),
        case("RSA with SHA-1", by_algorithm(&[1, 2, 840, 113_549, 1, 1, 5]), "SF-TLS-009"),
        case("RSA with MD5", by_algorithm(&[1, 2, 840, 113_549, 1, 1, 4]), "SF-TLS-009"),
        case(
            "two algorithms, inside and outside",
            issued(world, "Clients", "u", |spec| {
                spec.inner = sequence(&[&oid(&[1, 2, 840, 10045, 4, 3, 3])])
            }),
            "SF-TLS-022",
        ),
        Case::new("the certificate of somebody else", good.clone(), &own_key, Refused("SF-TLS-009")),
        Case::new(
            "a key that the certificate of the same name does not have",
            issued(world, "Clients", "u", |spec| spec.key = public_key(&clients.key)),
            key,
            Refused("SF-TLS-009"),
        ),
    ]
}

fn withdrawn(world: &World) -> Vec<Case> {
    let case = |name, der: Vec<u8>, expected: Expected| Case::new(name, der, &world.key, expected);
    let with_serial = |issuer: &str, user: &str, serial: &[u8]| {
        issued(world, issuer, user, |spec| spec.serial = serial.to_vec())
    };
    let denied = Refused("SF-TLS-025");
    let by_key = issued(world, "Clients", "k", |spec| spec.key = public_key(&world.denied_key));
    vec![
        case("revoked", revoked(world), Refused("SF-TLS-005")),
        case(
            "with the serial number that another authority revoked",
            with_serial("Deep", "r", REVOKED),
            Is("acme/r"),
        ),
        case(
            "with the revoked serial number of another root",
            with_serial("Free", "r2", REVOKED),
            Is("acme/r2"),
        ),
        case("below a revoked authority", issued(world, "Revoked", "r3", |_| {}), Refused("SF-TLS-005")),
        case("denied by serial number", with_serial("Clients", "d1", DENIED), denied),
        case("denied by serial number, of another authority", with_serial("Free", "d2", DENIED), denied),
        case("denied by serial number and issuer", with_serial("Clients", "d3", DENIED_OF_CLIENTS), denied),
        case(
            "not denied: the serial number of another issuer",
            with_serial("Deep", "d4", DENIED_OF_CLIENTS),
            Is("acme/d4"),
        ),
        case("denied no longer", with_serial("Clients", "d5", DENIED_ONCE), Is("acme/d5")),
        Case::new("denied by key", by_key, &world.denied_key, denied),
        case("denied by principal", issued(world, "Free", "denied", |_| {}), denied),
        case("denied by subject", issued(world, "Clients", "denied-subject", |_| {}), denied),
        case(
            "not denied: the user of another firm",
            world
                .spec_named("Clients", &subject(&[(O, "beta"), (OU, "viewer"), (CN, "denied")]))
                .sign(&world.of("Clients").key),
            Is("beta/denied"),
        ),
    ]
}

fn confined(world: &World) -> Vec<Case> {
    let of = |name, issuer: &str, firm: &str, expected| {
        let spec = world.spec_named(issuer, &subject(&[(O, firm), (OU, "viewer"), (CN, "c")]));
        Case::new(name, spec.sign(&world.of(issuer).key), &world.key, expected)
    };
    let refused = Refused("SF-TLS-023");
    vec![
        of("of an authority's own firm", "Acme", "acme", Is("acme/c")),
        of("of an authority's other firm", "Acme", "delta", Is("delta/c")),
        of("of a firm that is another authority's", "Acme", "beta", refused),
        of("of that firm by its own authority", "Beta", "beta", Is("beta/c")),
        of("of a firm that nobody has, by a confined authority", "Beta", "omega", refused),
        of("of a firm in other letters", "Beta", "BETA", refused),
        of("of an authority that no table names", "Forgotten", "acme", refused),
    ]
}
