//! How cases are made: a log, a change, a verdict.

use std::sync::Arc;

use sealfeed_audit::verify::Verdict;
use sealfeed_audit::{leaf_hash, reader};

use crate::logs::Logs;
use crate::support::disk::{FaultyDisk, Image, Random};
use crate::verifiers::{Case, Given};

/// Builds cases over one log.
pub(crate) struct Table<'a> {
    pub(crate) cases: Vec<Case>,
    pub(crate) logs: &'a Logs,
}

impl Table<'_> {
    /// Key and `K_0`, as compliance has them.
    pub(crate) fn all(&self) -> Given {
        let initialised = &self.logs.kept.initialised;
        let key = Some(initialised.public_key.to_string());
        Given { key, k0: Some(initialised.k0), ..Given::default() }
    }

    pub(crate) fn key(&self) -> Given {
        Given { k0: None, ..self.all() }
    }

    pub(crate) fn case(&mut self, name: &str, image: &Image, given: Given, expected: Verdict) {
        self.cases.push(Case {
            name: name.to_owned(),
            image: image.clone(),
            given,
            expected: Some(expected),
        });
    }

    /// `closed`, changed, with key and `K_0`.
    pub(crate) fn closed(&mut self, name: &str, expected: Verdict, change: impl FnOnce(&mut Image)) {
        let mut image = self.logs.closed.clone();
        change(&mut image);
        self.case(name, &image, self.all(), expected);
    }
}

pub(crate) fn edit(image: &mut Image, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
    change(image.get_mut(name).unwrap_or_else(|| panic!("{name}")));
}

pub(crate) fn text_edit(image: &mut Image, name: &str, change: impl FnOnce(String) -> String) {
    let text = String::from_utf8(image[name].clone()).unwrap();
    image.insert(name.to_owned(), change(text).into_bytes());
}

pub(crate) fn segments_of(image: &Image) -> Vec<String> {
    image.keys().filter(|name| name.ends_with(".seg")).cloned().collect()
}

/// Entries of a log: sequence number, segment file, where the body starts, its length.
pub(crate) fn bodies(image: &Image) -> Vec<(u64, String, usize, usize)> {
    let entries = reader::Entries::new(Arc::new(FaultyDisk::from_image(image)), 0).unwrap();
    entries
        .map(|entry| {
            let entry = entry.unwrap();
            let name = format!("segments/{:020}.seg", entry.segment);
            let start = usize::try_from(entry.offset).unwrap();
            let length = u32::from_le_bytes(image[&name][start - 12..start - 8].try_into().unwrap());
            (entry.header.seq, name, start, usize::try_from(length).unwrap())
        })
        .collect()
}

pub(crate) fn mend_crc(bytes: &mut [u8], start: usize, length: usize) {
    let crc = crc32c::crc32c(&bytes[start..start + length]);
    bytes[start + length..start + length + 4].copy_from_slice(&crc.to_le_bytes());
}

/// Changes the last byte of an entry and mends its checksum.
pub(crate) fn forge(image: &mut Image, seq: u64) -> [u8; 32] {
    let (_, name, start, length) = bodies(image).into_iter().find(|place| place.0 == seq).unwrap();
    let mut hash = [0; 32];
    edit(image, &name, |bytes| {
        bytes[start + length - 1] ^= 1;
        mend_crc(bytes, start, length);
        hash = leaf_hash(&bytes[start..start + length]);
    });
    hash
}

/// Damages one file somewhere and says how. Places with data are hit far more often than zeros ahead.
pub(crate) fn damage(image: &mut Image, random: &mut Random) -> String {
    let names: Vec<String> =
        image.keys().filter(|name| !name.ends_with("signing.key") && *name != "lock").cloned().collect();
    let name = names[usize::try_from(random.below(names.len() as u64)).unwrap()].clone();
    let bytes = image.get_mut(&name).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let bound = if random.chance(8) { bytes.len() } else { used }.max(1) as u64;
    let at = usize::try_from(random.below(bound)).unwrap().min(bytes.len());
    let length = usize::try_from(1 + random.below(40)).unwrap().min(bytes.len() - at);
    let how = match random.below(6) {
        0 => "cut off",
        1 => "removed",
        2 => "zeroed",
        3 => "inserted into",
        4 => "deleted from",
        _ => "flipped",
    };
    match how {
        "cut off" => bytes.truncate(at),
        "removed" => drop(image.remove(&name)),
        "zeroed" => bytes[at..at + length].fill(0),
        "inserted into" => drop(bytes.splice(at..at, vec![0x5a; length])),
        "deleted from" => drop(bytes.drain(at..at + length)),
        _ => bytes[at..at + length.min(1)].iter_mut().for_each(|byte| *byte ^= 1 << (length % 8)),
    }
    format!("{name} {how} at {at}, {length}")
}
