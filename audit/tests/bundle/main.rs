//! One order, proven to an outsider: what a bundle proves, when there is none, and that nobody gets a forged one past either verifier.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod archive;
mod forged;
mod indexed;
mod interop;
mod logs;
mod signed;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use logs::{BOB, ORDER, Payload, Subject, Writer, certificate, clock, connect, draft, execution, order};
use sealfeed_audit::bundle::{Given, Made, MakeError, Report, check, make};
use sealfeed_audit::note::VerifierKey;
use sealfeed_audit::retention::{Policy, prune};
use sealfeed_audit::storage::DiskStorage;
use sealfeed_audit::verify::Verdict;
use sealfeed_audit::{OrderLink, PAYLOAD_BYTES_MAX};
use support::{init_log, key_and_k0, options};

fn made(subject: &Subject) -> Made {
    make(subject.folder.path(), ORDER, Some(subject.key.clone())).unwrap()
}

fn checked(bundle: &[u8], key: Option<&VerifierKey>) -> Report {
    check(bundle, &Given { key: key.cloned(), witnesses: Vec::new() })
}

#[test]
fn a_bundle_tells_the_whole_life_of_one_order_and_nothing_of_another() {
    let subject = Subject::new();
    let made = made(&subject);
    let report = checked(&made.bytes, Some(&subject.key));
    assert_eq!((report.verdict, report.problem.as_deref(), made.later), (Verdict::Verified, None, 0));
    assert_eq!(report, made.report);
    let proof = report.proof.unwrap();
    let story = &proof.story;
    let life: Vec<_> = story.life.iter().map(|step| (step.seq, step.event, step.what.as_str())).collect();
    let body = r#"order.new {"cl_ord_id":"c-1","price":"1.00"}"#;
    let [first, second, third, fourth] = subject.life;
    let expected = [
        (first, "order", body),
        (second, "execution", "partial_fill"),
        (third, "order_refused", "order.cancel SF-ORD-037"),
        (fourth, "execution", "canceled"),
    ];
    assert_eq!(life, expected);
    assert_eq!((story.order, story.principal.as_str(), story.pruned_before), (ORDER, BOB, 0));
    assert_eq!(story.sessions.len(), 2, "both sessions, and not erin's");
    let leaf = sealfeed_audit::hex(&sealfeed_audit::sha256(b"bob"));
    for session in &story.sessions {
        let chain = session.chain.unwrap();
        assert_eq!((&session.certificate, chain.count, chain.left_out), (&leaf, 2, 0));
    }
    let [before, after] = story.clock.each_ref().map(|word| word.as_ref().unwrap().seq);
    assert!(before < first && after > fourth);
    // Genesis, certificate, two connects, two clocks, four events.
    assert_eq!(proof.entries, 10);
    assert!(proof.signature_checked && proof.witnessed.is_empty() && proof.other_signers.is_empty());
    let files = archive::unpack(&made.bytes);
    assert_eq!(archive::pack(&files), made.bytes, "another program writes the same archive");
    assert_eq!(archive::pack_as_is(&files), made.bytes, "SHA256SUMS is what sha256sum would write");
}

#[test]
fn the_same_log_gives_the_same_bundle_byte_for_byte() {
    let subject = Subject::new();
    assert_eq!(made(&subject).bytes, made(&subject).bytes);
}

#[test]
fn without_a_key_from_elsewhere_a_bundle_only_agrees_with_itself_and_another_key_is_refused() {
    let subject = Subject::new();
    let bundle = made(&subject).bytes;
    let report = checked(&bundle, None);
    assert_eq!(report.verdict, Verdict::Unanchored);
    assert!(report.proof.unwrap().signature_checked, "with the key in the genesis");
    let other = init_log(tempfile::tempdir().unwrap().path()).public_key;
    let report = checked(&bundle, Some(&other));
    assert_eq!(report.verdict, Verdict::Tampered);
    assert!(report.problem.unwrap().contains("not signed by the key given"));
    assert!(matches!(make(subject.folder.path(), ORDER, Some(other)), Err(MakeError::NoCheckpoint)));
}

#[test]
fn witnesses_that_cosigned_are_in_the_bundle_and_one_that_did_not_is_missed() {
    let subject = Subject::new();
    let keys = subject.cosign(&["w1.example", "w2.example"]);
    let bundle = made(&subject).bytes;
    let with = |witnesses: &[_]| {
        check(&bundle, &Given { key: Some(subject.key.clone()), witnesses: witnesses.to_vec() })
    };
    let both = with(&keys);
    assert_eq!(both.verdict, Verdict::Verified);
    let proof = both.proof.unwrap();
    let time = 1_790_000_000;
    assert_eq!(proof.witnessed, [("w1.example".to_owned(), time), ("w2.example".to_owned(), time)]);
    let none = with(&[]);
    assert_eq!(none.verdict, Verdict::Verified);
    assert_eq!(none.proof.unwrap().other_signers, ["w1.example", "w2.example"]);
    let stranger = Subject::new().cosign(&["w0.example", "w0.example", "w3.example"]).remove(2);
    let missed = with(&[keys[0].clone(), stranger]);
    assert_eq!(missed.verdict, Verdict::Unanchored);
    assert_eq!(missed.proof.unwrap().not_witnessed, ["w3.example"]);
}

#[test]
fn an_order_that_is_not_there_has_no_bundle() {
    let subject = Subject::new();
    assert!(matches!(make(subject.folder.path(), 5, None), Err(MakeError::NoSuchOrder(5))));
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(make(empty.path(), 5, None), Err(MakeError::Read(_))));
}

#[test]
fn an_order_that_no_checkpoint_covers_is_too_recent_and_later_events_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    init_log(folder.path());
    // No checkpoint comes of itself in this test.
    let writer = Writer::open(folder.path(), |options| {
        options.checkpoint_interval_ns = 1 << 60;
        options.checkpoint_entries = u64::MAX;
    });
    writer.add(connect(1, BOB, b"bob"));
    let first = writer.add(order(1, BOB, OrderLink { id: ORDER, previous: None, event: 0 }, "order.new"));
    writer.log.wait_durable(first).unwrap();
    let early = make(folder.path(), ORDER, None).unwrap_err();
    assert!(matches!(early, MakeError::TooRecent { order: ORDER, seq, .. } if seq == first), "{early}");
    writer.log.rotate();
    let link = OrderLink { id: ORDER, previous: Some(first), event: 1 };
    let fill = writer.add(execution(BOB, link, "fill"));
    writer.log.wait_durable(fill).unwrap();
    let made = make(folder.path(), ORDER, None).unwrap();
    assert_eq!((made.later, made.report.proof.unwrap().story.life.len()), (1, 1));
    writer.log.stop().unwrap();
    let made = make(folder.path(), ORDER, None).unwrap();
    assert_eq!((made.later, made.report.proof.unwrap().story.life.len()), (0, 2));
}

#[test]
fn a_life_with_a_gap_or_without_its_session_is_refused() {
    let gap = |id, previous, event| OrderLink { id, previous, event };
    let folder = tempfile::tempdir().unwrap();
    init_log(folder.path());
    let writer = Writer::open(folder.path(), |_| {});
    writer.add(connect(1, BOB, b"bob"));
    let first = writer.add(order(1, BOB, gap(1, None, 0), "order.new"));
    writer.add(execution(BOB, gap(1, Some(first), 2), "fill"));
    writer.add(order(9, BOB, gap(2, None, 0), "order.new"));
    writer.add(order(1, "acme/erin", gap(3, None, 0), "order.new"));
    writer.add(order(1, BOB, gap(4, None, 0), "order.cancel"));
    writer.add(draft(266, Payload::default().text("cut off")));
    writer.log.stop().unwrap();
    let refused = |id| make(folder.path(), id, None).unwrap_err().to_string();
    assert!(refused(1).contains("event 1 after entry"), "{}", refused(1));
    assert!(refused(2).contains("connect entry of session 0909"), "{}", refused(2));
    assert!(refused(3).contains("not the order's"), "{}", refused(3));
    assert!(refused(4).contains("does not begin with the message that makes the order"), "{}", refused(4));
}

#[test]
fn a_damaged_log_gives_no_bundle() {
    let subject = Subject::new();
    let segment = subject.folder.path().join("segments").join(sealfeed_audit::segment_name(0));
    let mut bytes = fs::read(&segment).unwrap();
    // One entry that has nothing to do with the order is changed.
    let at = bytes.windows(14).position(|part| part == b"something else").unwrap();
    bytes[at] ^= 1;
    let mut permissions = fs::metadata(&segment).unwrap().permissions();
    #[allow(clippy::permissions_set_readonly_false, reason = "a file in a folder of the test's own")]
    permissions.set_readonly(false);
    fs::set_permissions(&segment, permissions).unwrap();
    fs::write(&segment, bytes).unwrap();
    assert!(make(subject.folder.path(), ORDER, None).is_err());
}

#[test]
fn certificates_are_those_of_the_run_in_which_they_were_presented_however_often_they_were_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let key = init_log(folder.path()).public_key;
    let mut of_run = [0; 2];
    for (run, sessions) in [[5, 6], [1, 2]].into_iter().enumerate() {
        let writer = Writer::open(folder.path(), |_| {});
        of_run[run] = writer.add(certificate(b"bob"));
        writer.add(connect(sessions[0], BOB, b"bob"));
        // A full memory was forgotten: the same certificates again in one run.
        writer.add(certificate(b"bob"));
        writer.add(connect(sessions[1], BOB, b"bob"));
        if run == 1 {
            writer.life(ORDER, BOB);
        }
        writer.log.stop().unwrap();
    }
    let story = make(folder.path(), ORDER, Some(key)).unwrap().report.proof.unwrap().story;
    let chains: Vec<_> = story.sessions.iter().map(|session| session.chain.unwrap().seq).collect();
    assert_eq!(chains, [of_run[1]; 2]);
}

#[test]
fn a_chain_as_large_as_an_entry_can_hold_fits_a_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let key = init_log(folder.path()).public_key;
    let writer = Writer::open(folder.path(), |_| {});
    let leaf = vec![5u8; PAYLOAD_BYTES_MAX - 100];
    writer.add(certificate(&leaf));
    writer.add(connect(1, BOB, &leaf));
    writer.add(connect(2, BOB, &leaf));
    writer.life(ORDER, BOB);
    writer.log.stop().unwrap();
    let made = make(folder.path(), ORDER, Some(key)).unwrap();
    assert_eq!(made.report.verdict, Verdict::Verified);
}

#[test]
fn a_log_from_before_certificates_were_recorded_proves_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let key = init_log(folder.path()).public_key;
    let writer = Writer::open(folder.path(), |_| {});
    writer.add(connect(1, BOB, b"bob"));
    writer.add(connect(2, BOB, b"bob"));
    writer.life(ORDER, BOB);
    writer.log.stop().unwrap();
    let report = make(folder.path(), ORDER, Some(key)).unwrap().report;
    assert_eq!(report.verdict, Verdict::Verified);
    let story = report.proof.unwrap().story;
    assert!(story.sessions.iter().all(|session| session.chain.is_none()));
    assert_eq!(story.clock, [None, None]);
}

#[test]
fn a_connect_behind_whose_fields_more_came_is_read_and_one_of_an_unknown_schema_proves_nothing() {
    for (schema, is_read) in [(1, false), (2, true), (3, false)] {
        let folder = tempfile::tempdir().unwrap();
        let key = init_log(folder.path()).public_key;
        let writer = Writer::open(folder.path(), |_| {});
        let mut newer = connect(1, BOB, b"bob");
        newer.schema = schema;
        // A role, sessions at once, two flags.
        newer.payload.extend_from_slice(b"\x06trader\x01\x01\x01\x00");
        writer.add(newer);
        writer.add(connect(2, BOB, b"bob"));
        writer.life(ORDER, BOB);
        writer.log.stop().unwrap();
        let made = make(folder.path(), ORDER, Some(key));
        let is_verified = made.is_ok_and(|made| made.report.verdict == Verdict::Verified);
        assert_eq!(is_verified, is_read, "schema {schema}");
    }
}

/// Prunes a log of the segments before the last.
fn prune_all(folder: &Path, anchors: &sealfeed_audit::verify::Anchors) {
    let storage: Arc<dyn sealfeed_audit::storage::Storage> = Arc::new(DiskStorage::new(folder));
    let policy = Policy { default_keep_ns: 0, classes: Vec::new(), require_stored: false };
    let pruned = prune(&storage, options(), &policy, anchors, &mut |_| Ok(())).unwrap();
    assert!(!pruned.removed.is_empty());
}

#[test]
fn an_order_kept_by_a_pruned_log_is_proven_without_the_genesis_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let made = init_log(folder.path());
    let writer = Writer::open(folder.path(), |_| {});
    writer.add(connect(1, BOB, b"bob"));
    let gone = writer.life(7, BOB);
    let cut = writer.add(order(1, BOB, OrderLink { id: 8, previous: None, event: 0 }, "order.new"));
    writer.log.wait_durable(cut).unwrap();
    writer.log.rotate();
    writer.add(execution(BOB, OrderLink { id: 8, previous: Some(cut), event: 1 }, "fill"));
    writer.add(clock());
    writer.add(connect(2, BOB, b"bob"));
    writer.life(ORDER, BOB);
    writer.noise(600);
    writer.log.stop().unwrap();
    prune_all(folder.path(), &key_and_k0(&made));
    let key = Some(made.public_key.clone());
    let bundle = make(folder.path(), ORDER, key.clone()).unwrap();
    assert_eq!(bundle.report.verdict, Verdict::Recovered);
    let proof = bundle.report.proof.unwrap();
    assert_eq!((proof.story.pruned_before, proof.story.log_id), (cut + 1, None));
    assert_eq!(proof.story.sessions_pruned, ["01".repeat(32)], "its connect is gone");
    assert_eq!(proof.story.sessions.len(), 1);
    assert!(
        matches!(make(folder.path(), 8, key.clone()), Err(MakeError::Pruned { order: 8, first }) if first == cut + 1)
    );
    assert!(gone.iter().all(|seq| *seq < cut));
    assert!(matches!(make(folder.path(), 7, key), Err(MakeError::NoSuchOrder(7))));
    forged::agree(&[
        ("pruned, with the key".to_owned(), bundle.bytes.clone(), Some(made.public_key), vec![], 1),
        ("pruned, without a key".to_owned(), bundle.bytes, None, vec![], 23),
    ]);
}
