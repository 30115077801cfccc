//! Good logs, and logs whose end is not where somebody says.

use sealfeed_audit::verify::Verdict;

use crate::logs::end_of_data;
use crate::support::disk::Image;
use crate::table::{Table, bodies, edit, segments_of, text_edit};
use crate::verifiers::Given;

pub(crate) fn good_logs(table: &mut Table<'_>) {
    use Verdict::{Recovered, Unanchored, Unclean, Verified};
    let (logs, all, key) = (table.logs, table.all(), table.key());
    for (name, image, anchored) in [
        ("closed", &logs.closed, Verified),
        ("running, its writer cut off between groups", &logs.running, Verified),
        ("torn", &logs.torn, Unclean),
        ("recovered", &logs.recovered, Recovered),
        ("pruned", &logs.pruned, Recovered),
    ] {
        table.case(&format!("{name}, key and K0"), image, all.clone(), anchored);
        table.case(&format!("{name}, key"), image, key.clone(), anchored);
        let alone = if anchored == Unclean { Unclean } else { Unanchored };
        table.case(&format!("{name}, nothing"), image, Given::default(), alone);
        let without_key_file: Image = image
            .iter()
            .filter(|(name, _)| !name.starts_with("keys/"))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        table.case(&format!("{name}, as handed out without keys"), &without_key_file, all.clone(), anchored);
    }
    let late = logs.kept.notes.last().unwrap().clone();
    table.case(
        "only a note kept elsewhere",
        &logs.closed,
        Given { notes: vec![late], ..Given::default() },
        Verified,
    );
    let receipts = logs.kept.receipts.clone();
    table.case("only receipts", &logs.closed, Given { receipts, ..Given::default() }, Verified);
    table.case("only a size", &logs.closed, Given { expect: Some(5), ..Given::default() }, Verified);
    let k0 = Some(logs.kept.initialised.k0);
    table.case("only K0", &logs.closed, Given { k0, ..Given::default() }, Verified);
    table.case("all notes", &logs.closed, Given { notes: logs.kept.notes.clone(), ..table.all() }, Verified);
    let early = Given { notes: vec![logs.kept.notes[0].clone()], ..Given::default() };
    table.case("pruned, and only a note of what left", &logs.pruned, early, Unanchored);
    table.closed("stray files", Verified, |image| {
        image.insert("segments/notes.txt".to_owned(), b"hello".to_vec());
        image.insert("index/notes.txt".to_owned(), vec![1; 10]);
        image.insert("segments/ahead.tmp".to_owned(), vec![0; 5_000]);
    });
    table.closed("indexes of whatever content", Verified, |image| {
        image.insert(format!("index/{:020}.idx", 0), vec![0xff; 5_000]);
        image.insert(format!("index/{:020}.idx", 12_345), b"sealidx\n".to_vec());
    });
    table.closed("a line of another key on a checkpoint", Verified, |image| {
        text_edit(image, "checkpoints", |text| {
            let at = text.find("\n\n\u{2014}").unwrap() + 2;
            let cosigned = format!("\u{2014} witness.example {}\n", "AAAA".repeat(30));
            format!("{}{cosigned}{}", &text[..at], &text[at..])
        });
    });
}

pub(crate) fn lengths(table: &mut Table<'_>) {
    use Verdict::{Corrupt, EpochGap, Tampered, Truncated, Unclean, Verified};
    let logs = table.logs;
    let size = bodies(&logs.closed).len() as u64;
    table.case("expected exactly", &logs.closed, Given { expect: Some(size), ..table.all() }, Verified);
    table.case("expected one more", &logs.closed, Given { expect: Some(size + 1), ..table.all() }, Truncated);
    let mut beyond = logs.kept.receipts[0];
    beyond.seq = size + 3;
    table.case("a receipt beyond", &logs.closed, Given { receipts: vec![beyond], ..table.all() }, Truncated);
    let mut false_one = logs.kept.receipts[2];
    false_one.hash[7] ^= 1;
    table.case(
        "a receipt of another entry",
        &logs.closed,
        Given { receipts: vec![false_one], ..table.all() },
        Tampered,
    );
    let late = logs.kept.notes.last().unwrap().clone();
    table.case(
        "running, and a later note",
        &logs.running,
        Given { notes: vec![late.clone()], ..table.all() },
        Truncated,
    );
    table.case("torn, and a later note", &logs.torn, Given { notes: vec![late], ..table.all() }, Tampered);
    let last_group_cut = |image: &mut Image| {
        let (name, end) = end_of_data(image);
        edit(image, &name, |bytes| bytes[end - 90..].fill(0));
        name
    };
    table.closed("last group torn, under a checkpoint", Tampered, |image| drop(last_group_cut(image)));
    table.closed("file cut off in the last group, under a checkpoint", Truncated, |image| {
        let (name, end) = end_of_data(image);
        edit(image, &name, |bytes| bytes.truncate(end - 90));
    });
    table.closed("last checkpoint taken away", Truncated, |image| {
        text_edit(image, "checkpoints", |text| {
            let (before, _) = text.trim_end().rsplit_once("\n\n").unwrap();
            format!("{}\n\n", before.rsplit_once("\n\n").unwrap().0)
        });
    });
    table.closed("last checkpoint torn", Truncated, |image| {
        edit(image, "checkpoints", |bytes| bytes.truncate(bytes.len() - 10));
    });
    let mut image = logs.running.clone();
    edit(&mut image, "checkpoints", |bytes| bytes.truncate(bytes.len() - 10));
    table.case("running, last checkpoint torn", &image, table.all(), Unclean);
    let mut image = logs.running.clone();
    edit(&mut image, "checkpoints", |bytes| {
        let end = bytes.len();
        bytes[end - 30..end - 20].fill(0);
    });
    table.case("running, last checkpoint with a hole", &image, table.all(), Unclean);
    table.closed("bytes behind the end of a log at rest", Corrupt, |image| {
        let (name, end) = end_of_data(image);
        edit(image, &name, |bytes| bytes[end..end + 40].fill(7));
    });
    let mut image = logs.running.clone();
    let (name, end) = end_of_data(&image);
    edit(&mut image, &name, |bytes| bytes[end + 132_000] = 1);
    table.case("running, a byte beyond the window", &image, table.all(), Corrupt);
    let mut image = logs.torn.clone();
    let (name, end) = end_of_data(&image);
    edit(&mut image, &name, |bytes| bytes[end - 1..end + 900].fill(9));
    table.case("torn, other bytes in the window", &image, table.all(), Unclean);
    // The end goes with its checkpoints: the key file's epoch and what was kept elsewhere tell.
    let shorter = |image: &mut Image| {
        let last = segments_of(image).pop().unwrap();
        let first: u64 = last[9..29].parse().unwrap();
        image.remove(&last);
        let before = segments_of(image).pop().unwrap();
        image.remove(&before.replace(".seg", ".seal"));
        let notes = logs
            .kept
            .notes
            .iter()
            .filter(|note| note.lines().nth(1).unwrap().parse::<u64>().unwrap() <= first);
        let text: String = notes.map(|note| format!("{note}\n")).collect();
        image.insert("checkpoints".to_owned(), text.into_bytes());
        image.insert("state".to_owned(), b"sealfeed/v1 state\nwriter open\n".to_vec());
    };
    table.closed("last segment cut off with its checkpoints, K0", EpochGap, shorter);
    let mut image = logs.closed.clone();
    shorter(&mut image);
    table.case("last segment cut off with its checkpoints, key", &image, table.key(), Truncated);
    image.remove("keys/epoch.key");
    table.case("the same without the key file: nothing can tell", &image, table.all(), Verified);
    let late = logs.kept.notes.last().unwrap().clone();
    table.case(
        "the same, and a note kept elsewhere",
        &image,
        Given { notes: vec![late], ..table.all() },
        Truncated,
    );
    table.closed("state says open", Verified, |image| {
        image.insert("state".to_owned(), b"sealfeed/v1 state\nwriter open\n".to_vec());
    });
    table.closed("state is gone", Verified, |image| drop(image.remove("state")));
    table.closed("state is of another length", Truncated, |image| {
        text_edit(image, "state", |text| text.replace("size ", "size 9"));
    });
    table.closed("state is far too long", Verified, |image| {
        image.insert("state".to_owned(), b"sealfeed/v1 state\nwriter open\n".repeat(100));
    });
    table.closed("state is none", Verified, |image| {
        drop(image.insert("state".to_owned(), b"what\n".to_vec()))
    });
}
