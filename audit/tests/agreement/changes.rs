//! Logs of which somebody changed entries or files.

use sealfeed_audit::verify::Verdict;

use crate::logs::notes_of;
use crate::support::disk::Image;
use crate::table::{Table, bodies, edit, forge, mend_crc, segments_of, text_edit};
use crate::verifiers::Given;

const FIRST: &str = "segments/00000000000000000000.seg";

pub(crate) fn entries_changed(table: &mut Table<'_>) {
    use Verdict::{EpochGap, Tampered, Verified};
    let logs = table.logs;
    let places = bodies(&logs.closed);
    let middle = places.len() / 2;
    for (index, (seq, name, start, length)) in places.iter().enumerate() {
        if index % 4 == 0 {
            table.closed(&format!("bit of entry {seq}"), Tampered, |image| {
                edit(image, name, |bytes| bytes[start + length / 2] ^= 4);
            });
        }
        if index % 4 == 1 {
            table.closed(&format!("entry {seq} forged, checksum mended"), Tampered, |image| {
                forge(image, *seq);
            });
        }
    }
    // A group is an entry and its seal here.
    let group = |image: &Image, seq: u64| {
        let (_, name, start, length) = bodies(image).into_iter().find(|place| place.0 == seq).unwrap();
        (name, start - 16..(start + length + 4).next_multiple_of(8) + 56)
    };
    let seq = places.iter().find(|place| place.1 == FIRST && place.0 >= 2).unwrap().0;
    table.closed("group deleted", Tampered, |image| {
        let (name, range) = group(image, seq);
        edit(image, &name, |bytes| drop(bytes.drain(range)));
    });
    table.closed("group doubled", Tampered, |image| {
        let (name, range) = group(image, seq);
        edit(image, &name, |bytes| {
            let again = bytes[range.clone()].to_vec();
            bytes.splice(range.end..range.end, again);
        });
    });
    table.closed("group zeroed with others behind", Tampered, |image| {
        let (name, range) = group(image, seq);
        edit(image, &name, |bytes| bytes[range].fill(0));
    });
    table.closed("seal of a group stripped", EpochGap, |image| {
        let (name, range) = group(image, seq);
        edit(image, &name, |bytes| {
            let body = range.end - 40;
            bytes[body..body + 32].fill(0);
            mend_crc(bytes, body, 32);
        });
    });
    table.closed("seal of a group changed", Tampered, |image| {
        let (name, range) = group(image, seq);
        edit(image, &name, |bytes| {
            let body = range.end - 40;
            bytes[body] ^= 1;
            mend_crc(bytes, body, 32);
        });
    });
    for (what, at, value) in [
        ("version", 0usize, 2u8),
        ("unknown flag", 1, 0x80),
        ("clock state", 6, 3),
        ("reserved byte", 7, 1),
        ("group end taken away", 1, 0),
        ("kind GENESIS", 2, 1),
        ("payload length", 92, 1),
    ] {
        let (_, name, start, length) = places[middle].clone();
        table.closed(&format!("entry with another {what}"), Tampered, |image| {
            edit(image, &name, |bytes| {
                bytes[start + at] = value;
                mend_crc(bytes, start, length);
            });
        });
    }
    for (what, length) in [("zero", 0u32), ("huge", u32::MAX), ("past the end", 60_000)] {
        let (_, name, start, _) = places[middle].clone();
        table.closed(&format!("frame of length {what}"), Tampered, |image| {
            edit(image, &name, |bytes| {
                bytes[start - 12..start - 8].copy_from_slice(&length.to_le_bytes());
                let crc = crc32c::crc32c(&bytes[start - 16..start - 8]);
                bytes[start - 8..start - 4].copy_from_slice(&crc.to_le_bytes());
            });
        });
    }
    let last = places.last().unwrap();
    table.closed("padding of a frame", Tampered, |image| {
        edit(image, &last.1, |bytes| {
            let end = last.2 + last.3 + 4;
            if end.is_multiple_of(8) { bytes[end - 1] ^= 1 } else { bytes[end] = 1 }
        });
    });
    let mut image = logs.running.clone();
    let seq = bodies(&image).last().unwrap().0;
    forge(&mut image, seq);
    image.insert("checkpoints".to_owned(), format!("{}\n", logs.kept.notes[0]).into_bytes());
    for name in segments_of(&image).into_iter().rev().skip(1).map(|name| name.replace(".seg", ".seal")) {
        assert!(image.contains_key(&name));
    }
    table.case("last entry forged and later checkpoints taken away, K0", &image, table.all(), Tampered);
    let wrong_k0 = Given { k0: Some([9; 32]), ..table.all() };
    table.case("wrong K0", &logs.closed, wrong_k0, Tampered);
    let other_key =
        Given { key: Some(logs.other_kept.initialised.public_key.to_string()), ..Given::default() };
    table.case("another log's key", &logs.closed, other_key, Tampered);
    table.case("the other log", &logs.other, Given { expect: Some(1), ..Given::default() }, Verified);
}

pub(crate) fn files_changed(table: &mut Table<'_>) {
    use Verdict::{Fork, Tampered, Truncated};
    let logs = table.logs;
    let names = segments_of(&logs.closed);
    let seal = |name: &str| name.replace(".seg", ".seal");
    for (index, name) in names.iter().enumerate() {
        let last = index + 1 == names.len();
        // Without its last segment the log before it is sealed, and shorter than its checkpoints.
        let verdict = if last { Truncated } else { Tampered };
        table.closed(&format!("segment {index} removed"), verdict, |image| {
            image.remove(name);
            image.remove(&seal(name));
        });
        table.closed(&format!("header of segment {index}"), Tampered, |image| {
            edit(image, name, |bytes| bytes[300 + index] ^= 2);
        });
        table.closed(&format!("signature of segment {index}"), Tampered, |image| {
            edit(image, name, |bytes| bytes[4_090] ^= 2);
        });
        if !last {
            table.closed(&format!("seal {index} removed"), Tampered, |image| drop(image.remove(&seal(name))));
            table.closed(&format!("seal {index} changed"), Tampered, |image| {
                text_edit(image, &seal(name), |text| text.replace("used ", "used 1"));
            });
            table.closed(&format!("segment {index} longer"), Tampered, |image| {
                edit(image, name, |bytes| bytes.extend([0; 8]));
            });
            table.closed(&format!("segment {index} shorter"), Tampered, |image| {
                edit(image, name, |bytes| bytes.truncate(bytes.len() - 8));
            });
        }
        let (own, foreign) = (&logs.closed[name], logs.other.get(name));
        if let Some(foreign) = foreign.filter(|foreign| *foreign != own) {
            table.closed(&format!("segment {index} of the other log"), Tampered, |image| {
                image.insert(name.clone(), foreign.clone());
            });
        }
    }
    table.closed("two segments swapped", Tampered, |image| {
        let (first, second) = (image[&names[0]].clone(), image[&names[1]].clone());
        image.insert(names[0].clone(), second);
        image.insert(names[1].clone(), first);
    });
    table.closed("two seals swapped", Tampered, |image| {
        let (first, second) = (image[&seal(&names[0])].clone(), image[&seal(&names[1])].clone());
        image.insert(seal(&names[0]), second);
        image.insert(seal(&names[1]), first);
    });
    table.closed("checkpoints removed", Tampered, |image| drop(image.remove("checkpoints")));
    table.closed("checkpoints of the other log", Tampered, |image| {
        image.insert("checkpoints".to_owned(), logs.other["checkpoints"].clone());
    });
    let note_of = |text: &str, index: usize| {
        let parts: Vec<_> = text.trim_end().split("\n\n").collect();
        format!("{}\n\n{}\n\n", parts[2 * index], parts[2 * index + 1])
    };
    table.closed("two checkpoints swapped", Tampered, |image| {
        text_edit(image, "checkpoints", |text| {
            let (first, second) = (note_of(&text, 2), note_of(&text, 3));
            text.replacen(&format!("{first}{second}"), &format!("{second}{first}"), 1)
        });
    });
    table.closed("a checkpoint changed", Tampered, |image| {
        text_edit(image, "checkpoints", |text| {
            let note = note_of(&text, 3);
            text.replacen(&note, &note.replacen("log.example/audit\n", "log.example/audit\n1", 1), 1)
        });
    });
    table.closed("bytes between checkpoints", Tampered, |image| {
        text_edit(image, "checkpoints", |text| {
            let note = note_of(&text, 3);
            text.replacen(&note, &format!("xyz\n{note}"), 1)
        });
    });
    table.closed("a checkpoint taken out at the close of a segment", Tampered, |image| {
        text_edit(image, "checkpoints", |text| {
            let end: u64 = names[1][9..29].parse().unwrap();
            let note = logs.kept.notes.iter().find(|note| note.contains(&format!("\n{end}\n"))).unwrap();
            text.replacen(&format!("{note}\n"), "", 1)
        });
    });
    let mut image = logs.recovered.clone();
    let copy = image.keys().find(|name| name.starts_with("quarantine/")).unwrap().clone();
    edit(&mut image, &copy, |bytes| bytes[0] ^= 1);
    table.case("copy in the quarantine changed", &image, table.all(), Tampered);
    image.remove(&copy);
    table.case("copy in the quarantine removed", &image, table.all(), Tampered);
    let mut image = logs.recovered.clone();
    let sealed = copy.replace("quarantine/segment-", "segments/").replace(".torn", ".seg");
    edit(&mut image, &sealed, |bytes| *bytes.last_mut().unwrap() = 1);
    table.case("a byte behind the torn ones", &image, table.all(), Tampered);
    let mut image = logs.recovered.clone();
    let end = image[&sealed].iter().rposition(|byte| *byte != 0).unwrap();
    edit(&mut image, &sealed, |bytes| bytes[end] ^= 1);
    table.case("a torn byte changed", &image, table.all(), Tampered);
    let mut image = logs.pruned.clone();
    let first = segments_of(&image).remove(0);
    image.remove(&first);
    image.remove(&seal(&first));
    table.case("more gone than was declared pruned", &image, table.all(), Tampered);
    let mut image = logs.closed.clone();
    image.remove(&names[0]);
    image.remove(&seal(&names[0]));
    table.case("a beginning gone without a word", &image, table.key(), Tampered);
    // The same history up to the crash, and another one after it: both signed.
    let size = |note: &String| note.lines().nth(1).unwrap().parse::<u64>().unwrap();
    let crashed = notes_of(&logs.running).last().map(size).unwrap();
    let grown = notes_of(&logs.recovered).last().map(size).unwrap();
    let elsewhere: Vec<_> =
        logs.kept.notes.iter().filter(|note| (crashed + 1..=grown).contains(&size(note))).cloned().collect();
    assert!(!elsewhere.is_empty(), "the fork lies within the log");
    table.case(
        "another history after the crash",
        &logs.recovered,
        Given { notes: elsewhere, ..table.all() },
        Fork,
    );
    let twins: Vec<String> = elsewhere_and(&logs.recovered, &logs.kept.notes);
    table.case(
        "two notes of one size, both beyond the log",
        &logs.running,
        Given { notes: twins, ..table.all() },
        Fork,
    );
    let mut unreached = logs.closed.clone();
    let last = segments_of(&unreached).pop().unwrap();
    unreached.remove(&last);
    let late = notes_of(&logs.recovered).pop().unwrap();
    let both = vec![late, logs.kept.notes.last().unwrap().clone()];
    table.case(
        "notes of two histories, and a shorter log",
        &unreached,
        Given { notes: both, ..table.all() },
        Truncated,
    );
}

/// The last two notes that are of one size and of two histories.
pub(crate) fn elsewhere_and(image: &Image, others: &[String]) -> Vec<String> {
    let size = |note: &String| note.lines().nth(1).unwrap().to_owned();
    let own = notes_of(image);
    let pairs = own.iter().rev().flat_map(|note| others.iter().map(move |other| (note, other)));
    let (note, other) = { pairs }.find(|(note, other)| size(note) == size(other) && note != other).unwrap();
    vec![note.clone(), other.clone()]
}
