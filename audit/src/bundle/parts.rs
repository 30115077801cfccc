//! The members of a bundle, sorted by what they are: each in its place, each named in `SHA256SUMS`, nothing else.

use std::collections::BTreeMap;

use super::tar::Member;
use super::{BASICS, CHECKPOINT, PROGRAM, README, SUMS, certificate_name, entry_name, proof_name};
use crate::chain::{hex, sha256};
use crate::entry::ENTRY_BYTES_MAX;
use crate::tlog_proof::PROOF_BYTES_MAX;

/// What a bundle holds.
#[derive(Debug, Default)]
pub(super) struct Parts<'a> {
    pub(super) checkpoint: &'a str,
    /// Entries and their proofs, by sequence number.
    pub(super) entries: BTreeMap<u64, (&'a [u8], &'a str)>,
    /// Certificates, by the names of their members.
    pub(super) certificates: BTreeMap<&'a str, &'a [u8]>,
}

impl<'a> Parts<'a> {
    /// Sorts the members; the error names the first that is not as it must be.
    pub(super) fn of(members: &[Member<'a>]) -> Result<Self, String> {
        let mut parts = Self::default();
        let (mut entries, mut proofs, mut texts) = (BTreeMap::new(), BTreeMap::new(), 0);
        let mut listed = None;
        for Member { name, content } in members.iter().copied() {
            let text = || std::str::from_utf8(content).map_err(|_| format!("{name} is no UTF-8 text"));
            match name {
                README | BASICS | PROGRAM => texts += 1,
                SUMS => listed = Some(content),
                CHECKPOINT => parts.checkpoint = text()?,
                _ => {
                    if let Some(seq) = number_in(name, "entries/", ".entry", entry_name) {
                        fits(name, content, ENTRY_BYTES_MAX)?;
                        entries.insert(seq, content);
                    } else if let Some(seq) = number_in(name, "proofs/", ".tlog-proof", proof_name) {
                        fits(name, content, PROOF_BYTES_MAX)?;
                        proofs.insert(seq, text()?);
                    } else if is_certificate(name) {
                        parts.certificates.insert(name, content);
                    } else {
                        return Err(format!("{name:?} has no place in a bundle"));
                    }
                }
            }
        }
        if listed != Some(sums(members).as_bytes()) {
            return Err(format!("the files are not those that {SUMS} lists"));
        }
        if texts != 3 || parts.checkpoint.is_empty() {
            return Err(format!("{README}, {BASICS}, {PROGRAM} or {CHECKPOINT} is missing"));
        }
        for (seq, entry) in entries {
            let proof = proofs.remove(&seq).ok_or_else(|| format!("entry {seq} comes without its proof"))?;
            parts.entries.insert(seq, (entry, proof));
        }
        match proofs.first_key_value() {
            Some((seq, _)) => Err(format!("there is a proof for entry {seq}, and no such entry")),
            None => Ok(parts),
        }
    }
}

/// The content that `SHA256SUMS` must have beside these members, as `sha256sum` writes and checks it.
pub(super) fn sums(members: &[Member<'_>]) -> String {
    let others = members.iter().filter(|member| member.name != SUMS);
    others.map(|member| format!("{}  {}\n", hex(&sha256(member.content)), member.name)).collect()
}

fn fits(name: &str, content: &[u8], bytes_max: usize) -> Result<(), String> {
    if content.len() > bytes_max {
        return Err(format!("{name} has {} bytes; {bytes_max} is the most", content.len()));
    }
    Ok(())
}

/// The number in a name, if `name_of` makes the same name of it.
fn number_in(name: &str, before: &str, after: &str, name_of: impl Fn(u64) -> String) -> Option<u64> {
    let number = name.strip_prefix(before)?.strip_suffix(after)?.parse().ok()?;
    (name_of(number) == name).then_some(number)
}

fn is_certificate(name: &str) -> bool {
    let parts =
        name.strip_prefix("certificates/").and_then(|rest| rest.strip_suffix(".der")?.split_once('-'));
    parts.is_some_and(|(seq, place)| match (seq.parse(), place.parse()) {
        (Ok(seq), Ok(place)) => certificate_name(seq, place) == name,
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_leads_anywhere_else_has_no_place() {
        for name in [
            "../checkpoint",
            "/etc/passwd",
            "entries/7.entry",
            "entries/../../00000000000000000007.entry",
            "entries/99999999999999999999.entry",
            "entries/+0000000000000000007.entry",
            "proofs/00000000000000000007.entry",
            "certificates/00000000000000000007-01.der",
            "certificates/00000000000000000007-x.der",
            "certificates/7-0.der",
            "README",
        ] {
            let wrong = Parts::of(&[Member { name, content: b"" }]).unwrap_err();
            assert!(wrong.contains("no place"), "{name}: {wrong}");
        }
        assert!(is_certificate(&certificate_name(7, 12)));
    }
}
