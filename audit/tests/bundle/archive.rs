//! Bundles taken apart and put together by other code than the crate's: what a forger would write.

use std::collections::BTreeMap;

use sealfeed_audit::{hex, sha256};

pub(crate) type Files = BTreeMap<String, Vec<u8>>;

pub(crate) fn unpack(bundle: &[u8]) -> Files {
    let mut files = Files::new();
    let mut at = 0;
    while bundle[at] != 0 {
        let name = String::from_utf8(bundle[at..at + 100].to_vec()).unwrap();
        let length = std::str::from_utf8(&bundle[at + 124..at + 135]).unwrap();
        let length = usize::from_str_radix(length, 8).unwrap();
        files.insert(name.trim_end_matches('\0').to_owned(), bundle[at + 512..at + 512 + length].to_vec());
        at += 512 + length.div_ceil(512) * 512;
    }
    files
}

/// The archive of these files, with a `SHA256SUMS` that fits them.
pub(crate) fn pack(files: &Files) -> Vec<u8> {
    let mut files = files.clone();
    files.remove("SHA256SUMS");
    let sums: String =
        files.iter().map(|(name, content)| format!("{}  {name}\n", hex(&sha256(content)))).collect();
    files.insert("SHA256SUMS".to_owned(), sums.into_bytes());
    pack_as_is(&files)
}

/// The archive of exactly these files.
pub(crate) fn pack_as_is(files: &Files) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, content) in files {
        let mut head = vec![0u8; 512];
        head[..name.len()].copy_from_slice(name.as_bytes());
        head[100..124].copy_from_slice(b"0000644\x000000000\x000000000\0");
        head[124..148].copy_from_slice(format!("{:011o}\x0000000000000\0", content.len()).as_bytes());
        head[156] = b'0';
        head[257..265].copy_from_slice(b"ustar\x0000");
        head[329..345].copy_from_slice(b"0000000\x000000000\0");
        let sum = head.iter().map(|byte| u32::from(*byte)).sum::<u32>() + 8 * 32;
        head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        archive.extend_from_slice(&head);
        archive.extend_from_slice(content);
        archive.resize(archive.len().div_ceil(512) * 512, 0);
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}
