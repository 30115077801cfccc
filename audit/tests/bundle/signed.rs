//! Signatures that clients made with their certificate's key: right ones are told, wrong ones are found by both verifiers, and what cannot
//! be checked is said to be so. The logs here are sound: whoever writes them has the log's key, and lies about the client.

use std::fmt::Write as _;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use sealfeed_audit::bundle::{Given, Signature, check, make};
use sealfeed_audit::nodes::Nodes;
use sealfeed_audit::note::VerifierKey;
use sealfeed_audit::proof::inclusion;
use sealfeed_audit::tlog_proof::TlogProof;
use sealfeed_audit::tool::bundle_text;
use sealfeed_audit::{Draft, OrderLink, SessionLink, checkpoint, hex, reader, sha256};
use tempfile::TempDir;

use crate::archive::{Files, pack};
use crate::forged::{Case, agree};
use crate::logs::{BOB, ORDER, Payload, Writer, connect, draft, execution};
use crate::support::init_log;

type Sign = dyn Fn(&[u8]) -> Vec<u8>;

/// A client's key with the certificate that says so.
struct Client {
    certificate: Vec<u8>,
    sign: Box<Sign>,
    algorithm: &'static str,
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap();
    let head = if length < 0x80 { vec![tag, length] } else { vec![tag, 0x81, length] };
    [head, content.to_vec()].concat()
}

/// The smallest certificate with this key: nobody checks here who issued it.
fn certificate(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    let info = element(0x30, &[element(0x30, algorithm), element(3, &[&[0], key].concat())].concat());
    let before = [element(0xa0, &[2, 1, 2]), element(2, &[1]), element(0x30, &[]).repeat(4)].concat();
    element(0x30, &[element(0x30, &[before, info].concat()), element(0x30, &[]), element(3, &[0])].concat())
}

const ED25519: &[u8] = b"\x06\x03\x2b\x65\x70";
const P256: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";

fn ed25519(seed: u8) -> Client {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let certificate = certificate(ED25519, pair.public_key().as_ref());
    let sign = Box::new(move |text: &[u8]| pair.sign(text).as_ref().to_vec());
    Client { certificate, sign, algorithm: "Ed25519" }
}

fn p256() -> Client {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let certificate = certificate(P256, pair.public_key().as_ref());
    let sign = Box::new(move |text: &[u8]| pair.sign(&SystemRandom::new(), text).unwrap().as_ref().to_vec());
    Client { certificate, sign, algorithm: "ECDSA P-256" }
}

/// A message as it is sealed.
#[derive(Clone)]
struct Sent {
    op: String,
    ts: u64,
    nonce: [u8; 16],
    body: String,
    sig: Vec<u8>,
    session: [u8; 32],
}

impl Sent {
    fn new(client: &Client, session: u8, op: &str, body: &str) -> Self {
        let mut sent = Self {
            op: op.to_owned(),
            ts: 1_790_000_000_000_000_000,
            nonce: [session + 7; 16],
            body: body.to_owned(),
            sig: Vec::new(),
            session: [session; 32],
        };
        sent.sign(client);
        sent
    }

    fn sign(&mut self, client: &Client) {
        let mut nonce = String::new();
        self.nonce.iter().for_each(|byte| write!(nonce, "{byte:02x}").unwrap());
        let Self { op, ts, body, session, .. } = &*self;
        self.sig = (client.sign)(
            ["sealfeed-v1", &hex(session), &ts.to_string(), &nonce, op, body].join("\n").as_bytes(),
        );
    }

    /// Time, nonce, MAC and body.
    fn signed_into(&self, payload: Payload) -> Payload {
        payload.number(self.ts).raw(&self.nonce).raw(&[9; 32]).text(&self.body).number(1 << 60)
    }

    fn seal(&self, kind: u16, payload: Payload, link: OrderLink) -> Draft {
        let session = Some(SessionLink { id: self.session, event: link.event + 1 });
        Draft { schema: 2, session, order: Some(link), ..draft(kind, payload) }
    }

    fn order(&self, link: OrderLink) -> Draft {
        let payload = self.signed_into(Payload::default().text(BOB).text(&self.op).number(link.id));
        self.seal(266, payload.number(1 << 60).bytes(&self.sig).number(1), link)
    }

    fn refused(&self, link: OrderLink) -> Draft {
        let payload = self.signed_into(Payload::default().text(BOB).text(&self.op).text("SF-ORD-037"));
        self.seal(267, payload.bytes(&self.sig).number(1), link)
    }
}

/// What is to stand in a log.
#[derive(Clone)]
struct Told {
    leaf: Vec<u8>,
    has_chain: bool,
    /// The one that makes the order, one that is refused, and, on another connection, the one that cancels it.
    sent: [Sent; 3],
}

impl Told {
    fn by(client: &Client) -> Self {
        let new = Sent::new(client, 1, "order.new", "{\n \"cl_ord_id\":\"c-1\", \"price\":\"1.00\"}");
        let refused = Sent::new(client, 1, "order.cancel", "{\"cl_ord_id\":\"c-2\"}");
        let cancel = Sent::new(client, 2, "order.cancel", "{\"cl_ord_id\":\"c-3\",\"note\":\"\u{e9}\"}");
        Self { leaf: client.certificate.clone(), has_chain: true, sent: [new, refused, cancel] }
    }

    fn write(&self) -> (TempDir, VerifierKey) {
        let folder = tempfile::tempdir().unwrap();
        let key = init_log(folder.path()).public_key;
        let writer = Writer::open(folder.path(), |_| {});
        if self.has_chain {
            let sha256 = hex(&sha256(&self.leaf));
            let payload = Payload::default().text(&sha256).number(2).bytes(&self.leaf).bytes(b"an authority");
            writer.add(draft(278, payload.number(0)));
        }
        let [new, refused, cancel] = &self.sent;
        for id in [new.session, cancel.session] {
            let session = Some(SessionLink { id, event: 0 });
            writer.add(Draft { session, ..connect(0, BOB, &self.leaf) });
        }
        let link = |previous, event| OrderLink { id: ORDER, previous, event };
        let first = writer.add(new.order(link(None, 0)));
        let second = writer.add(execution(BOB, link(Some(first), 1), "new"));
        let third = writer.add(refused.refused(link(Some(second), 2)));
        let fourth = writer.add(cancel.order(link(Some(third), 3)));
        writer.add(execution(BOB, link(Some(fourth), 4), "canceled"));
        writer.log.stop().unwrap();
        (folder, key)
    }

    /// The bundle that a maker would give away who checks nothing, and the log's key.
    fn bundle(&self) -> (Vec<u8>, VerifierKey) {
        let (folder, key) = self.write();
        let text = std::fs::read_to_string(folder.path().join("checkpoints")).unwrap();
        let start = text.trim_end().rfind("\n\nlog.example").unwrap() + 2;
        let note = text[start..].trim_end().to_owned() + "\n";
        let size = checkpoint::peek(&note).unwrap().1.size;
        let mut nodes = Nodes::read(folder.path()).unwrap();
        let mut files = Files::from([("checkpoint".to_owned(), note.clone().into_bytes())]);
        for name in ["README.txt", "sealed_basics.py", "verify_bundle.py"] {
            files.insert(name.to_owned(), b"none".to_vec());
        }
        for entry in reader::entries(folder.path()).unwrap().map(Result::unwrap) {
            let (seq, kind) = (entry.header.seq, entry.header.kind);
            if seq >= size || !matches!(kind, 1 | 261 | 266..=268 | 278) {
                continue;
            }
            let proof = TlogProof { index: seq, path: inclusion(&mut nodes, seq, size).unwrap() };
            files.insert(format!("entries/{seq:020}.entry"), entry.to_bytes());
            files.insert(format!("proofs/{seq:020}.tlog-proof"), proof.to_text(&note).into_bytes());
            if kind == 278 {
                files.insert(format!("certificates/{seq:020}-0.der"), self.leaf.clone());
                files.insert(format!("certificates/{seq:020}-1.der"), b"an authority".to_vec());
            }
        }
        (pack(&files), key)
    }

    fn case(&self, name: &str, expected: i64) -> Case {
        let (bundle, key) = self.bundle();
        (name.to_owned(), bundle, Some(key), vec![], expected)
    }

    /// What the library says of the signatures, as it goes along the life.
    fn signatures(&self) -> Vec<Option<Signature>> {
        let (bundle, key) = self.bundle();
        let report = check(&bundle, &Given { key: Some(key), witnesses: vec![] });
        let proof = report.proof.unwrap_or_else(|| panic!("{:?}", report.problem));
        proof.story.life.iter().map(|step| step.signature).collect()
    }
}

fn changed(told: &Told, change: impl FnOnce(&mut Told)) -> Told {
    let mut told = told.clone();
    change(&mut told);
    told
}

#[test]
fn messages_that_the_certificates_key_signed_are_told_as_signed_by_it() {
    for client in [ed25519(7), p256()] {
        let told = Told::by(&client);
        let valid = Some(Signature::Valid { algorithm: client.algorithm });
        assert_eq!(told.signatures(), [valid, None, valid, valid, None]);
        let (folder, key) = told.write();
        let made = make(folder.path(), ORDER, Some(key)).unwrap();
        let text = bundle_text(&made.report);
        let line = format!("signed by the certificate's key, valid ({})", client.algorithm);
        assert_eq!(text.matches(&line).count(), 3, "{text}");
        assert!(
            text.contains("messages signed by the key of the certificate that opened their session: 3 of 3"),
            "{text}"
        );
        assert!(!text.contains("not signed"), "{text}");
    }
}

#[test]
fn whatever_is_changed_of_what_a_client_signed_both_verifiers_find_it_in_a_log_that_holds() {
    let mut cases = Vec::new();
    for client in [ed25519(7), p256()] {
        let told = Told::by(&client);
        cases.push(told.case(client.algorithm, 0));
        for at in 0..3 {
            let mut bad = |what: &str, change: fn(&mut Sent)| {
                let told = changed(&told, |told| change(&mut told.sent[at]));
                cases.push(told.case(&format!("{what} of message {at}, {}", client.algorithm), 20));
            };
            bad("a bit of the body", |sent| {
                let mut body = std::mem::take(&mut sent.body).into_bytes();
                let last = body.len() - 2;
                body[last - 1] ^= 1;
                sent.body = String::from_utf8(body).unwrap_or_else(|_| "{}".to_owned());
            });
            bad("a bit of the time", |sent| sent.ts ^= 1 << 20);
            bad("a bit of the nonce", |sent| sent.nonce[15] ^= 0x80);
            bad("the first bit of the signature", |sent| sent.sig[0] ^= 0x80);
            bad("the last bit of the signature", |sent| sent.sig[63] ^= 1);
            bad("a bit in the middle of the signature", |sent| sent.sig[32] ^= 4);
            bad("the order of its halves", |sent| sent.sig.rotate_left(32));
            bad("a byte less", |sent| sent.sig.truncate(63));
            bad("a byte more", |sent| sent.sig.push(0));
            bad("zeros", |sent| sent.sig.fill(0));
        }
        // The connection: all that came on it is said to have come on another one.
        let session = changed(&told, |told| {
            told.sent[0].session[31] ^= 1;
            told.sent[1].session[31] ^= 1;
        });
        cases.push(session.case("a bit of the session", 20));
        let swapped = changed(&told, |told| {
            (told.sent[0].session, told.sent[1].session, told.sent[2].session) = ([2; 32], [2; 32], [1; 32]);
        });
        cases.push(swapped.case("sessions swapped", 20));
        cases
            .push(changed(&told, |told| told.sent[2].op = "order.replace".to_owned()).case("another op", 20));
        cases.push(
            changed(&told, |told| told.leaf = ed25519(8).certificate).case("another's certificate", 20),
        );
        cases.push(changed(&told, |told| told.leaf = p256().certificate).case("another's P-256 key", 20));
        // The signed text is the same, the meaning is not.
        let split = changed(&told, |told| {
            let sent = &mut told.sent[2];
            (sent.op, sent.body) = ("order.cancel".to_owned(), "{}\n{\"cl_ord_id\":\"c-1\"}".to_owned());
            sent.sign(&client);
            (sent.op, sent.body) = ("order.cancel\n{}".to_owned(), "{\"cl_ord_id\":\"c-1\"}".to_owned());
        });
        cases.push(split.case("a line feed moved from the body into the op", 20));
    }
    agree(&cases);
    // The maker refuses to give such a thing away, and says which entry it is.
    let (folder, key) = changed(&Told::by(&ed25519(7)), |told| told.sent[1].ts += 1).write();
    let refused = make(folder.path(), ORDER, Some(key)).unwrap_err().to_string();
    assert!(refused.contains("the signature is not by the key of the certificate"), "{refused}");
}

/// Adds the order of the Ed25519 group to the second half of a signature, which then verifies where that is not looked at.
fn malleable(sent: &mut Sent) {
    const GROUP: [u8; 32] = *b"\xed\xd3\xf5\x5c\x1a\x63\x12\x58\xd6\x9c\xf7\xa2\xde\xf9\xde\x14\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x10";
    let mut carry = 0;
    for (byte, more) in sent.sig[32..].iter_mut().zip(GROUP) {
        let sum = u16::from(*byte) + u16::from(more) + carry;
        (*byte, carry) = (sum.to_le_bytes()[0], sum >> 8);
    }
    assert_eq!(carry, 0);
}

/// Replaces s of an ECDSA signature by n - s, which makes another signature of the same text by nobody's key but the same.
fn mirrored(sent: &mut Sent) {
    const ORDER: [u8; 32] = *b"\xff\xff\xff\xff\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xbc\xe6\xfa\xad\xa7\x17\x9e\x84\xf3\xb9\xca\xc2\xfc\x63\x25\x51";
    let mut borrow = false;
    for (byte, from) in sent.sig[32..].iter_mut().zip(ORDER).rev() {
        let (first, under) = from.overflowing_sub(*byte);
        let (second, again) = first.overflowing_sub(u8::from(borrow));
        (*byte, borrow) = (second, under || again);
    }
    assert!(!borrow);
}

#[test]
fn what_cannot_be_checked_is_told_as_not_checked_and_what_is_not_signed_as_not_signed() {
    let told = Told::by(&p256());
    let unsigned = changed(&told, |told| told.sent.iter_mut().for_each(|sent| sent.sig.clear()));
    let in_part = changed(&told, |told| told.sent[1].sig.clear());
    let without = changed(&told, |told| told.has_chain = false);
    let rsa = certificate(b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00", &[5; 90]);
    let rsa = changed(&told, |told| told.leaf = rsa);
    let p384 = certificate(b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22", &[4; 97]);
    let p384 = changed(&told, |told| told.leaf = p384);
    let compressed = changed(&told, |told| told.leaf = certificate(P256, &[2; 33]));
    let unreadable = changed(&told, |told| told.leaf = b"bob".to_vec());
    let trailing = changed(&told, |told| told.leaf.push(0));
    // y = 1 with a sign: no library should read it, some do.
    let mut one = [0; 32];
    (one[0], one[31]) = (1, 0x80);
    let odd = changed(&told, |told| told.leaf = certificate(ED25519, &one));
    let (none, valid) = (Signature::Unsigned, Signature::Valid { algorithm: "ECDSA P-256" });
    let all = |of| [Some(of), None, Some(of), Some(of), None];
    let mut cases = Vec::new();
    for (name, told, expected) in [
        ("not signed", unsigned, all(none)),
        ("signed in part", in_part, [Some(valid), None, Some(none), Some(valid), None]),
        ("no certificate", without, all(Signature::NoCertificate)),
        ("RSA", rsa, all(Signature::UnknownKey)),
        ("P-384", p384, all(Signature::UnknownKey)),
        ("a compressed point", compressed, all(Signature::UnknownKey)),
        ("no DER", unreadable, all(Signature::UnknownKey)),
        ("a byte behind the certificate", trailing, all(Signature::UnknownKey)),
        ("an Ed25519 key in a form of its own", odd, all(Signature::UnknownKey)),
    ] {
        assert_eq!(told.signatures(), expected, "{name}");
        cases.push(told.case(name, 0));
    }
    // Keys that can be read and are no points of their curves sign nothing.
    for leaf in [certificate(P256, &[4; 65]), certificate(ED25519, &[2; 32])] {
        cases.push(changed(&told, |told| told.leaf = leaf).case("no point", 20));
    }
    cases.push(changed(&told, |told| mirrored(&mut told.sent[0])).case("s mirrored, which ECDSA allows", 0));
    cases.push(changed(&Told::by(&ed25519(7)), |told| malleable(&mut told.sent[0])).case("S too large", 20));
    agree(&cases);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]

    #[test]
    fn both_verifiers_read_the_same_key_in_a_certificate_with_a_changed_byte(
        at in proptest::prelude::any::<proptest::sample::Index>(),
        value in proptest::prelude::any::<u8>(),
    ) {
        let told = Told::by(&ed25519(7));
        let told = changed(&told, |told| {
            let at = at.index(told.leaf.len());
            told.leaf[at] = value;
        });
        let (bundle, key) = told.bundle();
        let report = check(&bundle, &Given { key: Some(key.clone()), witnesses: vec![] });
        let code = i64::from(report.verdict.exit_code());
        agree(&[("a changed byte".to_owned(), bundle, Some(key), vec![], code)]);
    }
}
