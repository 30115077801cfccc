//! Bundles that somebody changed: with the checksums left as they were, and with everything made to fit that can be without the key.
//! The library and `verify_bundle.py`, which shares no code with it, come to the same verdict on each.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use sealfeed_audit::bundle::{Given, check, make};
use sealfeed_audit::cosignature::WitnessKey;
use sealfeed_audit::nodes::Nodes;
use sealfeed_audit::note::VerifierKey;
use sealfeed_audit::proof::inclusion;
use sealfeed_audit::tlog_proof::TlogProof;
use sealfeed_audit::tool::bundle_text;
use sealfeed_audit::verify::Verdict;
use sealfeed_audit::{checkpoint, reader};

use crate::archive::{Files, pack, pack_as_is, unpack};
use crate::logs::{ORDER, Subject};
use crate::support::disk::Random;
use crate::support::python;

/// Name, bundle, key, witnesses, exit code.
pub(crate) type Case = (String, Vec<u8>, Option<VerifierKey>, Vec<WitnessKey>, i64);

/// Has both verifiers judge all cases: the same verdict, and the one expected; and the same of each signature.
pub(crate) fn agree(cases: &[Case]) {
    let folder = tempfile::tempdir().unwrap();
    let mut arguments = Vec::new();
    for (place, (_, bundle, key, witnesses, _)) in cases.iter().enumerate() {
        let path = folder.path().join(format!("{place}.tar"));
        fs::write(&path, bundle).unwrap();
        let mut of_case = vec![path.to_str().unwrap().to_owned()];
        of_case.extend(key.iter().flat_map(|key| ["--key".to_owned(), key.to_string()]));
        of_case.extend(witnesses.iter().flat_map(|key| ["--witness".to_owned(), key.to_string()]));
        arguments.push(of_case);
    }
    let answers = python::answers("verify_bundle", &arguments);
    let mut wrong = Vec::new();
    for (place, (name, bundle, key, witnesses, expected)) in cases.iter().enumerate() {
        let report = check(bundle, &Given { key: key.clone(), witnesses: witnesses.clone() });
        let code = i64::from(report.verdict.exit_code());
        if code != *expected {
            wrong.push(format!("{name}: expected {expected}, library {}", bundle_text(&report)));
        }
        if let Some(answers) = &answers {
            let answer: serde_json::Value = serde_json::from_str(&answers[place]).unwrap();
            if answer[0].as_i64() != Some(*expected) {
                wrong.push(format!("{name}: expected {expected}, verify_bundle.py {answer}"));
            }
            // Of each signature, too, the two say the same, in the same words.
            let said = answer[1].as_str().unwrap().lines().filter(|line| line.starts_with("  message of "));
            let steps = report.proof.iter().flat_map(|proof| &proof.story.life);
            let signatures = steps.filter_map(|step| {
                step.signature.map(|signature| format!("  message of entry {}: {signature}", step.seq))
            });
            if !said.eq(signatures) {
                wrong.push(format!("{name}: {answer}, {}", bundle_text(&report)));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

struct Good {
    subject: Subject,
    bundle: Vec<u8>,
    files: Files,
    witnesses: Vec<WitnessKey>,
}

fn good() -> Good {
    let subject = Subject::new();
    let witnesses = subject.cosign(&["w1.example"]);
    let bundle = make(subject.folder.path(), ORDER, None).unwrap().bytes;
    let files = unpack(&bundle);
    Good { subject, bundle, files, witnesses }
}

impl Good {
    fn entry(&self, seq: u64) -> String {
        assert!(self.files.contains_key(&format!("entries/{seq:020}.entry")));
        format!("entries/{seq:020}.entry")
    }

    /// The good bundle with its files changed and everything else made to fit.
    fn case(&self, name: &str, expected: i64, change: impl FnOnce(&mut Files)) -> Case {
        let mut files = self.files.clone();
        change(&mut files);
        (name.to_owned(), pack(&files), Some(self.subject.key.clone()), vec![], expected)
    }

    fn kinds(&self, kind: u16) -> Vec<String> {
        let is_it = |content: &[u8]| u16::from_le_bytes([content[2], content[3]]) == kind;
        let entries = self.files.iter().filter(|(name, _)| name.starts_with("entries/"));
        entries.filter(|(_, content)| is_it(content)).map(|(name, _)| name.clone()).collect()
    }
}

/// Takes an entry and its proof away.
fn without(files: &mut Files, entry: &str) {
    files.remove(entry).unwrap();
    files.remove(&entry.replace("entries/", "proofs/").replace(".entry", ".tlog-proof")).unwrap();
}

#[test]
fn no_byte_of_a_bundle_flips_unnoticed() {
    let good = good();
    let given = Given { key: Some(good.subject.key.clone()), witnesses: Vec::new() };
    assert_eq!(check(&good.bundle, &given).verdict, Verdict::Verified);
    let mut bundle = good.bundle.clone();
    for at in 0..bundle.len() {
        let bit = 1 << (at % 8);
        bundle[at] ^= bit;
        assert_eq!(check(&bundle, &given).verdict, Verdict::Tampered, "byte {at}");
        bundle[at] ^= bit;
    }
}

#[test]
fn no_byte_that_the_log_signs_flips_unnoticed_even_with_checksums_that_fit() {
    let good = good();
    let given = Given { key: Some(good.subject.key.clone()), witnesses: good.witnesses.clone() };
    let free = ["README.txt", "verify_bundle.py", "sealed_basics.py", "SHA256SUMS"];
    let (mut count, mut random, mut sample) = (0, Random(7), Vec::new());
    for (name, content) in good.files.iter().filter(|(name, _)| !free.contains(&name.as_str())) {
        for at in 0..content.len() {
            let mut files = good.files.clone();
            files.get_mut(name).unwrap()[at] ^= 1 << (at % 8);
            let bundle = pack(&files);
            assert_eq!(check(&bundle, &given).verdict, Verdict::Tampered, "byte {at} of {name}");
            count += 1;
            if random.below(60) == 0 {
                let what = format!("byte {at} of {name}");
                sample.push((what, bundle, given.key.clone(), given.witnesses.clone(), 20));
            }
        }
    }
    println!("{count} flips, {} of them in Python too", sample.len());
    assert!(count > 5_000 && sample.len() > 50);
    agree(&sample);
}

#[test]
fn no_byte_of_the_checkpoint_changes_unnoticed_in_all_its_copies_at_once() {
    let good = good();
    let given = Given { key: Some(good.subject.key.clone()), witnesses: good.witnesses.clone() };
    let note = String::from_utf8(good.files["checkpoint"].clone()).unwrap();
    let (mut cases, mut count) = (Vec::new(), 0);
    for at in 0..note.len() {
        let mut changed = note.clone().into_bytes();
        changed[at] ^= 1;
        let Ok(changed) = String::from_utf8(changed) else { continue };
        let mut files = good.files.clone();
        for (name, content) in &mut files {
            if name == "checkpoint" || name.starts_with("proofs/") {
                *content = String::from_utf8(content.clone()).unwrap().replace(&note, &changed).into_bytes();
            }
        }
        let bundle = pack(&files);
        let verdict = check(&bundle, &given).verdict;
        // A witness under another name is one that did not cosign.
        assert!(matches!(verdict, Verdict::Tampered | Verdict::Unanchored), "byte {at}: {verdict}");
        count += 1;
        if at % 5 == 0 {
            let code = verdict.exit_code().into();
            cases.push((format!("byte {at}"), bundle, given.key.clone(), given.witnesses.clone(), code));
        }
    }
    assert!(count > 300, "{count}");
    agree(&cases);
}

#[test]
fn both_verifiers_come_to_the_verdict_that_must_come() {
    let good = good();
    let [first, second, third, fourth] = good.subject.life;
    let (entry, key) = (|seq| good.entry(seq), Some(good.subject.key.clone()));
    let (connects, clocks, chain) = (good.kinds(261), good.kinds(10), good.kinds(278).remove(0));
    let certificates: Vec<String> =
        good.files.keys().filter(|name| name.starts_with("certificates/")).cloned().collect();
    assert_eq!((connects.len(), clocks.len(), certificates.len()), (2, 2, 2));
    let drop_chain = |files: &mut Files| {
        without(files, &chain);
        certificates.iter().for_each(|name| drop(files.remove(name)));
    };
    let swap = |files: &mut Files, one: &str, other: &str| {
        let (a, b) = (files[one].clone(), files[other].clone());
        files.extend([(one.to_owned(), b), (other.to_owned(), a)]);
    };
    let mut cases = vec![
        good.case("as it was made", 0, |_| {}),
        ("without a key".to_owned(), good.bundle.clone(), None, vec![], 23),
        ("with its witness".to_owned(), good.bundle.clone(), key.clone(), good.witnesses.clone(), 0),
        ("with a witness and no key".to_owned(), good.bundle.clone(), None, good.witnesses.clone(), 23),
        // What may be missing makes the claim smaller, which the report says.
        good.case("the end of the life left out", 0, |files| without(files, &entry(fourth))),
        good.case("the clock after it left out", 0, |files| without(files, &clocks[1])),
        good.case("the chain left out", 0, drop_chain),
        good.case("the beginning of the life left out", 20, |files| without(files, &entry(first))),
        good.case("an event in between left out", 20, |files| without(files, &entry(second))),
        good.case("the genesis left out", 20, |files| without(files, &entry(0))),
        good.case("a connect left out", 20, |files| without(files, &connects[0])),
        good.case("the whole life left out", 20, |files| {
            [first, second, third, fourth].iter().for_each(|seq| without(files, &entry(*seq)));
        }),
        good.case("a certificate file left out", 20, |files| drop(files.remove(&certificates[0]))),
        good.case("a certificate file too many", 20, |files| {
            files.insert(certificates[0].replace("-0", "-2"), b"der".to_vec());
        }),
        good.case("the entry of the chain left out, its files kept", 20, |files| without(files, &chain)),
        good.case("a stranger among the files", 20, |files| drop(files.insert("notes".to_owned(), vec![]))),
        good.case("a path that leads out", 20, |files| {
            files.insert("entries/../../00000000000000000001.entry".to_owned(), vec![]);
        }),
        good.case("entries swapped", 20, |files| swap(files, &entry(first), &entry(second))),
        good.case("an empty entry", 20, |files| drop(files.insert(entry(first), vec![]))),
        good.case("an empty checkpoint", 20, |files| drop(files.insert("checkpoint".to_owned(), vec![]))),
        good.case("a proof alone", 20, |files| drop(files.remove(&entry(third)))),
        good.case("a changed README", 0, |files| drop(files.insert("README.txt".to_owned(), b"x".to_vec()))),
        good.case("another proof's index", 20, |files| {
            let name = entry(first).replace("entries/", "proofs/").replace(".entry", ".tlog-proof");
            let text = String::from_utf8(files[&name].clone()).unwrap();
            let text = text.replace(&format!("index {first}\n"), &format!("index {second}\n"));
            files.insert(name, text.into_bytes());
        }),
        good.case("the log's signature taken off", 20, |files| {
            for content in files.values_mut() {
                if let Ok(text) = String::from_utf8(content.clone()) {
                    let kept =
                        text.split_inclusive('\n').filter(|line| !line.starts_with("\u{2014} log.example"));
                    *content = kept.collect::<String>().into_bytes();
                }
            }
        }),
        ("checksums of other files".to_owned(), pack_as_is(&changed_sums(&good)), key.clone(), vec![], 20),
        ("empty".to_owned(), vec![], key.clone(), vec![], 20),
        ("zeros".to_owned(), vec![0; 1024], key.clone(), vec![], 20),
        ("a block of zeros more".to_owned(), [&good.bundle[..], &[0; 512]].concat(), key.clone(), vec![], 20),
        ("compressed, or nothing at all".to_owned(), b"\x1f\x8b\x08".repeat(400), key.clone(), vec![], 20),
    ];
    cases.extend(others(&good));
    for end in [1, 511, 512, 513, good.bundle.len() / 2, good.bundle.len() - 512, good.bundle.len() - 1] {
        cases.push((format!("cut at {end}"), good.bundle[..end].to_vec(), key.clone(), vec![], 20));
    }
    agree(&cases);
}

#[test]
fn an_entry_that_is_proven_and_has_no_part_in_the_story_is_refused_whatever_it_is() {
    let good = good();
    let folder = good.subject.folder.path();
    let note = String::from_utf8(good.files["checkpoint"].clone()).unwrap();
    let size = checkpoint::peek(&note).unwrap().1.size;
    let mut nodes = Nodes::read(folder).unwrap();
    let (mut cases, mut kinds) = (Vec::new(), BTreeSet::new());
    for entry in reader::entries(folder).unwrap().map(Result::unwrap) {
        let seq = entry.header.seq;
        let name = format!("entries/{seq:020}.entry");
        if good.files.contains_key(&name) || seq >= size {
            continue;
        }
        let proof = TlogProof { index: seq, path: inclusion(&mut nodes, seq, size).unwrap() };
        let case = good.case(&format!("entry {seq} of kind {}", entry.header.kind), 20, |files| {
            files.insert(name.clone(), entry.to_bytes());
            files.insert(format!("proofs/{seq:020}.tlog-proof"), proof.to_text(&note).into_bytes());
            if entry.header.kind == 278 {
                files.insert(format!("certificates/{seq:020}-0.der"), b"erin".to_vec());
                files.insert(format!("certificates/{seq:020}-1.der"), b"an authority".to_vec());
            }
        });
        let report = check(&case.1, &Given { key: case.2.clone(), witnesses: Vec::new() });
        assert_eq!(report.verdict, Verdict::Tampered, "{}", case.0);
        // One of each kind in Python too, and every other order's.
        if kinds.insert(entry.header.kind) || entry.header.order.is_some() {
            cases.push(case);
        }
    }
    assert!([2, 3, 10, 261, 266, 267, 268, 278, 300].iter().all(|kind| kinds.contains(kind)), "{kinds:?}");
    agree(&cases);
}

fn changed_sums(good: &Good) -> Files {
    let mut files = good.files.clone();
    files.insert("SHA256SUMS".to_owned(), Vec::new());
    files
}

/// Entries that are proven and have no part in this order's story.
fn others(good: &Good) -> Vec<Case> {
    let other = unpack(&make(good.subject.folder.path(), 7, None).unwrap().bytes);
    let foreign = unpack(&make(Subject::new().folder.path(), ORDER, None).unwrap().bytes);
    let of_other: Files = other
        .iter()
        .filter(|(name, _)| name.starts_with("entries/") || name.starts_with("proofs/"))
        .map(|(name, content)| (name.clone(), content.clone()))
        .collect();
    vec![
        good.case("another order's entries beside it", 20, |files| files.extend(of_other)),
        good.case("all of another log", 20, |files| *files = foreign.clone()),
        good.case("the checkpoint of another log", 20, |files| {
            files.insert("checkpoint".to_owned(), foreign["checkpoint"].clone());
        }),
    ]
}

#[test]
fn the_program_says_what_the_library_says_and_has_the_exit_codes_of_its_document() {
    let good = good();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle.tar");
    fs::write(&path, &good.bundle).unwrap();
    let key = folder.path().join("log.pub");
    fs::write(&key, format!("{}\n", good.subject.key)).unwrap();
    let run = |arguments: &[&str]| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_sealfeed-verify"));
        let output = program.args(arguments).stdin(Stdio::null()).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let (bundle, key) = (path.to_str().unwrap(), key.to_str().unwrap());
    let (code, text) = run(&["--bundle", bundle, "--key", key]);
    assert_eq!(code, 0);
    for part in
        ["VERIFIED: ", "order        1001 of acme/bob", "not proven   that nothing about the order follows"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let witness = good.witnesses[0].to_string();
    let (code, text) = run(&["--bundle", bundle, "--key", key, "--witness", &witness, "--json"]);
    let object: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &object["verdict"], &object["proof"]["order"]), (0, &"VERIFIED".into(), &ORDER.into()));
    assert_eq!(run(&["--bundle", bundle]).0, 23);
    assert_eq!(run(&["--bundle", "/nonexistent/bundle.tar", "--key", key]).0, 66);
    assert_eq!(run(&["--bundle", folder.path().to_str().unwrap(), "--key", key]).0, 74);
    for usage in [
        &["--bundle", bundle, "--key", "none"][..],
        &["--bundle", bundle, "--witness", "none"],
        &["--bundle", bundle, bundle],
        &["--bundle", bundle, "--expect-size", "7"],
        &["--witness", &witness, bundle],
    ] {
        assert_eq!(run(usage).0, 2, "{usage:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_bytes_make_the_verifier_panic(bytes in prop::collection::vec(any::<u8>(), 0..3_000)) {
        prop_assert_eq!(check(&bytes, &Given::default()).verdict, Verdict::Tampered);
    }

    #[test]
    fn no_content_of_any_member_makes_the_verifier_panic_or_believe(
        files in prop::collection::btree_map(0usize..9, prop::collection::vec(any::<u8>(), 0..400), 0..9),
    ) {
        const NAMES: [&str; 9] = [
            "README.txt", "checkpoint", "sealed_basics.py", "verify_bundle.py", "certificates/00000000000000000003-0.der",
            "entries/00000000000000000000.entry", "entries/00000000000000000007.entry",
            "proofs/00000000000000000000.tlog-proof", "proofs/00000000000000000007.tlog-proof",
        ];
        let files: Files = files.into_iter().map(|(name, content)| (NAMES[name].to_owned(), content)).collect();
        prop_assert_eq!(check(&pack(&files), &Given::default()).verdict, Verdict::Tampered);
    }
}
