//! A bundle taken to pieces and put together again, for the targets in `fuzz/`.

use super::tar::{self, Member};
use super::{SUMS, parts};

/// Name and content of every member; `None` if these bytes are no archive.
#[must_use]
pub fn members_of(bundle: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let members = tar::members(bundle).ok()?;
    Some(members.iter().map(|member| (member.name.to_owned(), member.content.to_vec())).collect())
}

/// An archive of these members, with sums that fit them.
#[must_use]
pub fn bundle_of(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let listed: Vec<Member<'_>> = members
        .iter()
        .filter(|(name, _)| name != SUMS)
        .map(|(name, content)| Member { name, content })
        .collect();
    let sums = parts::sums(&listed);
    let mut archive = Vec::new();
    for (name, content) in members {
        let content = if name == SUMS { sums.as_bytes() } else { content };
        tar::append(&mut archive, name, content);
    }
    tar::finish(&mut archive);
    archive
}
