//! The proofs and the checkpoint of a bundle in the hands of libraries that others wrote: `signed_note` and `tlog_tiles`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use signed_note::{Note, StandardVerifier, VerifierList};
use tlog_tiles::{Checkpoint, Hash, check_record, record_hash};

use crate::archive::unpack;
use crate::logs::{ORDER, Subject};
use sealfeed_audit::bundle::make;

#[test]
fn libraries_of_others_open_the_checkpoint_and_accept_every_proof_and_no_changed_one() {
    let subject = Subject::new();
    subject.cosign(&["w1.example"]);
    let files = unpack(&make(subject.folder.path(), ORDER, None).unwrap().bytes);
    let text = |name: &str| String::from_utf8(files[name].clone()).unwrap();
    let note = Note::from_bytes(text("checkpoint").as_bytes()).unwrap();
    let known = VerifierList::new(vec![Box::new(StandardVerifier::new(&subject.key.to_string()).unwrap())]);
    let (verified, unknown) = note.verify(&known).unwrap();
    assert_eq!((verified.len(), unknown.len()), (1, 1), "the log's signature, and a witness's");
    let head = Checkpoint::from_bytes(note.text()).unwrap();
    let mut checked = 0;
    for (name, entry) in files.iter().filter(|(name, _)| name.starts_with("entries/")) {
        let digits = &name["entries/".len().."entries/".len() + 20];
        let proof = text(&format!("proofs/{digits}.tlog-proof"));
        let (lines, checkpoint) = proof.split_once("\n\n").unwrap();
        assert_eq!(checkpoint, text("checkpoint"));
        let mut lines = lines.lines();
        assert_eq!(lines.next(), Some("c2sp.org/tlog-proof@v1"));
        let index: u64 = lines.next().unwrap().strip_prefix("index ").unwrap().parse().unwrap();
        assert_eq!(index, digits.parse::<u64>().unwrap());
        let path: Vec<Hash> =
            lines.map(|line| Hash(STANDARD.decode(line).unwrap().try_into().unwrap())).collect();
        let holds = |entry: &[u8], index| {
            check_record(&path, head.size(), *head.hash(), index, record_hash(entry)).is_ok()
        };
        assert!(holds(entry, index), "{name}");
        assert!(!holds(&entry[1..], index) && !holds(entry, index + 1), "{name}");
        checked += 1;
    }
    assert_eq!(checked, 10);
}
