//! Whom a certificate names: subjects that imitate, hide, repeat or break out, and alternative names that say otherwise.

use super::der::{
    BMP, CN, O, OCTETS, OU, PRINTABLE, TELETEX, UNIVERSAL, UTF8, alternatives, attribute, ce, extension,
    name, subject, tlv,
};
use super::world::World;
use super::{Case, Expected, Is, Refused};

pub(super) fn cases(world: &World) -> Vec<Case> {
    let mut cases = good(world);
    cases.extend(values(world));
    cases.extend(subjects(world));
    cases.extend(alternative_names(world));
    cases
}

fn named(world: &World, case: &'static str, subject: &[u8], expected: Expected) -> Case {
    Case::new(case, world.spec_named("Clients", subject).sign(&world.of("Clients").key), &world.key, expected)
}

/// The subject of `acme/alice`, her name in any bytes of any kind of string.
fn alice(tag: u8, value: &[u8]) -> Vec<u8> {
    name(&[attribute(O, UTF8, b"acme"), attribute(OU, UTF8, b"viewer"), attribute(CN, tag, value)])
}

fn good(world: &World) -> Vec<Case> {
    let with_more = subject(&[
        (6, "DE"),
        (7, "Berlin, \u{202e}"),
        (O, "acme"),
        (5, "SN=42"),
        (OU, "viewer"),
        (CN, "more"),
    ]);
    vec![
        named(world, "in printable strings", &alice(PRINTABLE, b"alice"), Is("acme/alice")),
        named(
            world,
            "in another order",
            &subject(&[(CN, "bob"), (OU, "viewer"), (O, "acme")]),
            Is("acme/bob"),
        ),
        named(world, "with attributes that nobody reads", &with_more, Is("acme/more")),
        named(world, "of 64 characters", &alice(UTF8, &[b'a'; 64]), {
            Is("acme/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
        }),
        named(world, "in capitals, which are somebody else", &alice(UTF8, b"ALICE"), Is("acme/ALICE")),
    ]
}

/// Names that could be taken for `acme/alice`, or for structure.
fn values(world: &World) -> Vec<Case> {
    let wide = |text: &str, bytes: usize| -> Vec<u8> {
        text.chars().flat_map(|char| u32::from(char).to_be_bytes()[4 - bytes..].to_vec()).collect()
    };
    let hostile: Vec<(&'static str, u8, Vec<u8>)> = vec![
        ("with a NUL behind the name", UTF8, b"alice\0".to_vec()),
        ("with a NUL within the name", UTF8, b"alice\0.evil".to_vec()),
        ("with a comma and an attribute", UTF8, b"alice,OU=admin".to_vec()),
        ("with a plus and an attribute", UTF8, b"alice+OU=admin".to_vec()),
        ("with a slash", UTF8, b"beta/alice".to_vec()),
        ("with a backslash", UTF8, b"alice\\".to_vec()),
        ("with a line feed", UTF8, b"alice\nadmin".to_vec()),
        ("with a carriage return", UTF8, b"alice\r".to_vec()),
        ("with an escape sequence", UTF8, b"\x1b[2Kalice".to_vec()),
        ("from right to left", UTF8, "\u{202e}ecila".into()),
        ("with a Cyrillic letter", UTF8, "\u{430}lice".into()),
        ("in full-width letters", UTF8, "\u{ff41}\u{ff4c}\u{ff49}\u{ff43}\u{ff45}".into()),
        ("with a joiner of no width", UTF8, "ali\u{200d}ce".into()),
        ("with a mark that combines", UTF8, "alice\u{301}".into()),
        ("with a space before the name", UTF8, b" alice".to_vec()),
        ("with a space behind the name", UTF8, b"alice ".to_vec()),
        ("with a star", UTF8, b"*".to_vec()),
        ("with a percent escape", UTF8, b"alic%65".to_vec()),
        ("with an at sign", UTF8, b"alice@acme".to_vec()),
        ("of no characters", UTF8, Vec::new()),
        ("of 65 characters", UTF8, vec![b'a'; 65]),
        ("of 8000 characters", UTF8, vec![b'a'; 8_000]),
        ("in bytes that are no UTF-8", UTF8, b"alice\xff".to_vec()),
        ("in an overlong encoding", UTF8, b"\xc1\xa1lice".to_vec()),
        ("in a string of two bytes a character", BMP, wide("alice", 2)),
        ("in a string of four bytes a character", UNIVERSAL, wide("alice", 4)),
        ("in a T.61 string", TELETEX, b"alice".to_vec()),
        ("in bytes that are no string", OCTETS, b"alice".to_vec()),
    ];
    hostile
        .into_iter()
        .map(|(case, tag, value)| named(world, case, &alice(tag, &value), Refused("SF-TLS-018")))
        .collect()
}

fn subjects(world: &World) -> Vec<Case> {
    let (missing, refused) = (Refused("SF-TLS-016"), Refused("SF-TLS-018"));
    let all = [(O, "acme"), (OU, "viewer"), (CN, "alice")];
    let twice = |again| subject(&[&all[..], &[again]].concat());
    let together = name(&[
        attribute(O, UTF8, b"acme"),
        [attribute(CN, UTF8, b"alice"), attribute(OU, UTF8, b"viewer")].concat(),
    ]);
    // The parser reads up to what it does not understand, and says nothing of the rest.
    let alice_and = |sets: &[Vec<u8>]| {
        let alice =
            [attribute(O, UTF8, b"acme"), attribute(OU, UTF8, b"viewer"), attribute(CN, UTF8, b"alice")];
        name(&[&alice[..], sets].concat())
    };
    let admin = attribute(CN, UTF8, b"admin");
    let three = tlv(0x30, &[tlv(6, &[0x55, 4, 7]), tlv(UTF8, b"x"), tlv(UTF8, b"y")].concat());
    let with_spare = [attribute(7, UTF8, b"x"), tlv(UTF8, b"y")].concat();
    vec![
        named(world, "nobody", &subject(&[]), missing),
        named(world, "no firm", &subject(&all[1..]), missing),
        named(world, "no user", &subject(&all[..2]), missing),
        named(
            world,
            "a user and a firm in the wrong attributes",
            &subject(&[(OU, "acme"), (7, "alice")]),
            missing,
        ),
        named(world, "two users", &twice((CN, "admin")), refused),
        named(world, "the same user twice", &twice((CN, "alice")), refused),
        named(world, "two firms", &twice((O, "beta")), refused),
        named(world, "two roles", &twice((OU, "admin")), refused),
        named(world, "user and role in one set", &together, refused),
        named(world, "an empty set", &alice_and(&[Vec::new()]), refused),
        named(world, "another user behind an empty set", &alice_and(&[Vec::new(), admin.clone()]), refused),
        named(world, "another user behind a set of text", &alice_and(&[tlv(UTF8, b"x"), admin]), refused),
        named(world, "an attribute of three parts", &alice_and(&[three]), refused),
        named(world, "something behind an attribute in its set", &alice_and(&[with_spare]), refused),
        named(
            world,
            "a firm with a slash",
            &subject(&[(O, "acme/x"), (OU, "viewer"), (CN, "alice")]),
            refused,
        ),
        named(
            world,
            "a role with a comma",
            &subject(&[(O, "acme"), (OU, "viewer,admin"), (CN, "alice")]),
            refused,
        ),
    ]
}

fn alternative_names(world: &World) -> Vec<Case> {
    const DNS: u8 = 0x82;
    const EMAIL: u8 = 0x81;
    const URI: u8 = 0x86;
    const ADDRESS: u8 = 0x87;
    let with = |case, extensions: &[Vec<u8>], expected| {
        let mut spec = world.spec("Clients", "alice");
        spec.extensions.extend_from_slice(extensions);
        Case::new(case, spec.sign(&world.of("Clients").key), &world.key, expected)
    };
    let refused = |case, names: &[(u8, &[u8])]| with(case, &[alternatives(names)], Refused("SF-TLS-018"));
    let own: (u8, &[u8]) = (URI, b"sealfeed://acme/alice");
    let beside: [(u8, &[u8]); 4] =
        [own, (DNS, b"desk.acme.example"), (EMAIL, b"a@acme.example"), (ADDRESS, &[127, 0, 0, 1])];
    let uri = |text: &[u8]| tlv(0x30, &tlv(URI, text));
    let directory = subject(&[(O, "acme"), (CN, "admin")]);
    let other_name =
        [tlv(6, &[0x2b, 6, 1, 4, 1, 0x82, 0x37, 0x14, 2, 3]), tlv(0xa0, &tlv(UTF8, b"admin@acme"))].concat();
    vec![
        with("its own URI", &[alternatives(&[own])], Is("acme/alice")),
        with("its own URI and names that nobody reads", &[alternatives(&beside)], Is("acme/alice")),
        refused("the URI of another user", &[(URI, b"sealfeed://acme/admin")]),
        refused("the URI of another firm", &[(URI, b"sealfeed://beta/alice")]),
        refused("its own URI and another", &[own, (URI, b"sealfeed://acme/admin")]),
        refused("its own URI twice", &[own, own]),
        refused("a URI of another scheme", &[(URI, b"https://acme/alice")]),
        refused("a URI with its scheme in capitals", &[(URI, b"SEALFEED://acme/alice")]),
        refused("a URI with a slash behind it", &[(URI, b"sealfeed://acme/alice/")]),
        refused("a URI with a query", &[(URI, b"sealfeed://acme/alice?role=admin")]),
        refused("a URI with a user in front", &[(URI, b"sealfeed://admin@acme/alice")]),
        refused("a URI with a NUL", &[(URI, b"sealfeed://acme/alice\0")]),
        refused("a URI that is no text", &[(URI, b"sealfeed://acme/alice\xff")]),
        refused("an empty URI", &[(URI, b"")]),
        refused("a DNS name with a NUL", &[(DNS, b"acme.example\0.evil.example")]),
        refused("an e-mail address with a line feed", &[(EMAIL, b"a@b\nc")]),
        refused("a user principal name", &[(0xa0, &other_name)]),
        refused("a directory name", &[(0xa4, &directory)]),
        refused("a registered identifier", &[(0x88, &[0x2b, 6, 1])]),
        with(
            "two alternative names",
            &[alternatives(&[own]), alternatives(&[(URI, b"sealfeed://acme/admin")])],
            Refused("SF-TLS-010"),
        ),
        with(
            "another alternative name behind its own",
            &[extension(&ce(17), false, &[uri(own.1), uri(b"sealfeed://acme/admin")].concat())],
            Refused("SF-TLS-010"),
        ),
        with("an alternative name that is none", &[extension(&ce(17), false, b"x")], Refused("SF-TLS-010")),
    ]
}
