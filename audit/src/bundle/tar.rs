//! The one form of a bundle's archive: POSIX ustar, plain files only, names ascending, no owner, no time.
//!
//! What is read must be byte for byte what would be written: a header is compared with the one that its name and length lead to. So
//! there are no links, no folders, no paths out of the archive and no bytes without a meaning.

const BLOCK_BYTES: usize = 512;
/// Longest name of a member, bytes: the name field without the prefix.
const NAME_BYTES_MAX: usize = 100;

/// A plain file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member<'a> {
    pub(super) name: &'a str,
    pub(super) content: &'a [u8],
}

/// Appends a member.
pub(super) fn append(archive: &mut Vec<u8>, name: &str, content: &[u8]) {
    archive.extend_from_slice(&header(name, content.len()));
    archive.extend_from_slice(content);
    archive.resize(archive.len().next_multiple_of(BLOCK_BYTES), 0);
}

/// Ends an archive: two blocks of zeros.
pub(super) fn finish(archive: &mut Vec<u8>) {
    archive.resize(archive.len() + 2 * BLOCK_BYTES, 0);
}

/// The header of a plain file; a name that is too long is cut, which no caller's names are.
fn header(name: &str, length: usize) -> [u8; BLOCK_BYTES] {
    let mut header = [0u8; BLOCK_BYTES];
    let mut put = |at: usize, text: &[u8]| {
        if let Some(field) = header.get_mut(at..at + text.len()) {
            field.copy_from_slice(text);
        }
    };
    put(0, name.as_bytes().get(..name.len().min(NAME_BYTES_MAX)).unwrap_or_default());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{length:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    // The sum is taken with spaces in its own place.
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    put(329, b"0000000\0");
    put(337, b"0000000\0");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

/// Takes an archive apart; the error says what is wrong with which member.
pub(super) fn members(archive: &[u8]) -> Result<Vec<Member<'_>>, String> {
    let mut members: Vec<Member<'_>> = Vec::new();
    let mut rest = archive;
    loop {
        let Some((head, after)) = rest.split_first_chunk::<BLOCK_BYTES>() else {
            return Err("the archive ends before its end: it was cut".to_owned());
        };
        if head.iter().all(|byte| *byte == 0) {
            let ended = after.len() == BLOCK_BYTES && after.iter().all(|byte| *byte == 0);
            return if ended { Ok(members) } else { Err("the archive does not end as it must".to_owned()) };
        }
        let (name, length) = name_and_length(head).ok_or_else(|| {
            format!("the header of member {} of the archive is none of a bundle's", members.len())
        })?;
        if *head != header(name, length) {
            return Err(format!("the header of {name:?} in the archive is not in its only form"));
        }
        if members.last().is_some_and(|last| last.name >= name) {
            return Err(format!("{name:?} stands twice in the archive, or out of order"));
        }
        let padded = length.next_multiple_of(BLOCK_BYTES);
        let (Some(content), Some(padding)) = (after.get(..length), after.get(length..padded)) else {
            return Err(format!("{name:?} is longer than what is left of the archive"));
        };
        if padding.iter().any(|byte| *byte != 0) {
            return Err(format!("bytes other than zero follow {name:?} in the archive"));
        }
        members.push(Member { name, content });
        rest = after.get(padded..).unwrap_or_default();
    }
}

fn name_and_length(head: &[u8; BLOCK_BYTES]) -> Option<(&str, usize)> {
    let name = head.get(..NAME_BYTES_MAX)?;
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(NAME_BYTES_MAX);
    let name = std::str::from_utf8(name.get(..end)?).ok()?;
    let digits = std::str::from_utf8(head.get(124..135)?).ok()?;
    let octal = digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    let length = usize::from_str_radix(digits, 8).ok()?;
    (octal && name.bytes().all(|byte| byte.is_ascii_graphic()) && !name.is_empty()).then_some((name, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive() -> Vec<u8> {
        let mut archive = Vec::new();
        append(&mut archive, "a", b"first");
        append(&mut archive, "b/c", &[7; 512]);
        append(&mut archive, "d", b"");
        finish(&mut archive);
        archive
    }

    #[test]
    fn an_archive_reads_back_and_every_flipped_bit_shows() {
        let good = archive();
        let expected = [("a", &b"first"[..]), ("b/c", &[7; 512]), ("d", b"")];
        let expected = expected.map(|(name, content)| Member { name, content });
        assert_eq!(members(&good).unwrap(), expected);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(members(&bad).ok().as_deref(), Some(&expected[..]), "bit {bit}");
        }
        for end in 0..good.len() {
            assert!(members(&good[..end]).is_err(), "cut at {end}");
        }
        assert!(members(&[&good[..], &[0; 512]].concat()).is_err());
    }

    #[test]
    fn the_tar_that_everybody_has_lists_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bundle.tar");
        std::fs::write(&file, archive()).unwrap();
        let Ok(listed) = std::process::Command::new("tar").arg("-tf").arg(&file).output() else {
            assert!(std::env::var_os("CI").is_none(), "tar is missing");
            return;
        };
        assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
        assert_eq!(String::from_utf8(listed.stdout).unwrap(), "a\nb/c\nd\n");
    }

    #[test]
    fn members_twice_or_out_of_order_are_refused() {
        for names in [["a", "a"], ["b", "a"]] {
            let mut archive = Vec::new();
            names.iter().for_each(|name| append(&mut archive, name, b""));
            finish(&mut archive);
            assert!(members(&archive).unwrap_err().contains("out of order"));
        }
    }
}
