//! The log is verified, then damaged in a copy, and the damage found.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use sealfeed_audit::reader::entries;
use sealfeed_audit::verify::{Anchors, Verdict, verify};
use sealfeed_audit::{Receipt, hash_from_hex};
use sealfeed_wire::reply::Receipt as WireReceipt;

use super::setup::Place;
use super::steps::Steps;
use crate::execute::replay::{Verdict as Again, reexecute};
use crate::journal::escrow_directory;

pub(super) fn verify_and_damage(
    place: &Place,
    receipts: &[WireReceipt],
    steps: &mut Steps,
) -> anyhow::Result<()> {
    let log = place.path("log");
    let anchors = anchors(&log, receipts)?;
    let report = verify(&log, &anchors, &mut |_| {})?;
    let came = format!("{} ({} entries, {} receipts of bob)", report.verdict, report.entries, receipts.len());
    let expected = "VERIFIED";
    let outcome = if report.verdict == Verdict::Verified { Ok(came) } else { Err(came) };
    steps.step("the sealed log is verified", expected, &outcome);

    let again = reexecute(entries(&log)?)?;
    let came = format!("{} inputs, {} outputs, {} digests", again.inputs, again.outputs, again.states);
    let outcome = match &again.verdict {
        Again::Verified => Ok(format!("VERIFIED ({came})")),
        other => Err(format!("{other:?} ({came})")),
    };
    steps.step("what the log holds is executed again", expected, &outcome);

    let Some(receipt) = receipts.first() else { bail!("there is no receipt") };
    let copy = place.path("log-with-one-byte-flipped");
    copy_log(&log, &copy)?;
    flip_byte_of(&copy, receipt.seq)?;
    let report = verify(&copy, &anchors, &mut |_| {})?;
    let found = report.first_bad.map_or_else(|| "nothing".to_owned(), |bad| format!("entry {}", bad.seq));
    steps.equal(
        "one byte of bob's first order is flipped in a copy",
        &format!("TAMPERED at entry {}", receipt.seq),
        format!("{} at {found}", report.verdict),
    );
    Ok(())
}

/// What vouches for the log: its key, its first epoch key, and what clients hold.
fn anchors(log: &Path, receipts: &[WireReceipt]) -> anyhow::Result<Anchors> {
    let escrow = escrow_directory(log);
    let read = |name: &str| {
        std::fs::read_to_string(escrow.join(name)).with_context(|| format!("cannot read {name}"))
    };
    let key = read("log.pub")?.trim().parse().context("log.pub holds no key")?;
    let receipts = receipts
        .iter()
        .map(|receipt| Receipt { log_id: receipt.log.0, seq: receipt.seq, hash: receipt.hash.0 })
        .collect();
    Ok(Anchors { key: Some(key), receipts, k0: hash_from_hex(read("k0.hex")?.trim()), ..Anchors::default() })
}

/// Copies a log's directory; holes of the zero-filled segment stay holes where the file system allows.
fn copy_log(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for item in std::fs::read_dir(from)? {
        let item = item?;
        let target = to.join(item.file_name());
        if item.file_type()?.is_dir() {
            copy_log(&item.path(), &target)?;
        } else {
            std::fs::copy(item.path(), target)?;
        }
    }
    Ok(())
}

/// Flips one bit in the payload of an entry.
fn flip_byte_of(log: &Path, seq: u64) -> anyhow::Result<()> {
    for entry in entries(log)? {
        let entry = entry?;
        if entry.header.seq != seq {
            continue;
        }
        let name = sealfeed_audit::segment_name(entry.segment);
        let mut file = File::options().read(true).write(true).open(log.join("segments").join(name))?;
        let mut rest = vec![0; 64 * 1024];
        file.seek(SeekFrom::Start(entry.offset))?;
        let count = file.read(&mut rest)?;
        let payload = &entry.payload[..];
        let at = rest[..count].windows(payload.len()).position(|bytes| bytes == payload);
        let at =
            entry.offset + at.context("the entry is not where it says")? as u64 + payload.len() as u64 / 2;
        file.seek(SeekFrom::Start(at))?;
        file.write_all(&[payload[payload.len() / 2] ^ 1])?;
        return Ok(());
    }
    bail!("there is no entry {seq}")
}
