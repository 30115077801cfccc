//! The hashes of the log: leaf, node, genesis, log id.
//!
//! One hash serves as chain link and as Merkle leaf, so the tree can never lag behind the chain. Leaf and node are those of
//! RFC 6962; every other use of SHA-256 starts with its own text ending in a newline, so no input of one kind can be
//! mistaken for another.

use sha2::block_api::compress256;
use sha2::{Digest, Sha256};

/// A SHA-256 value.
pub type Hash = [u8; 32];

/// Bytes of a [`type@Hash`].
pub const HASH_BYTES: usize = 32;

/// The byte in front of an entry when its leaf hash is taken (RFC 6962).
pub(crate) const LEAF_PREFIX: u8 = 0x00;

pub(crate) const NODE_PREFIX: u8 = 0x01;
/// State of SHA-256 before the first block.
pub(crate) const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// SHA-256 of `bytes`.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Hash {
    // The general hasher copies every input through a buffer; whole inputs can be compressed where they lie.
    let (blocks, rest) = bytes.as_chunks::<64>();
    let mut state = INITIAL;
    compress256(&mut state, blocks);
    let mut last = [[0u8; 64]; 2];
    let tail = last.as_flattened_mut();
    tail[..rest.len()].copy_from_slice(rest);
    tail[rest.len()] = 0x80;
    let used = if rest.len() < 56 { 1 } else { 2 };
    let bits = u64::try_from(bytes.len()).unwrap_or(u64::MAX).wrapping_mul(8);
    tail[used * 64 - 8..used * 64].copy_from_slice(&bits.to_be_bytes());
    compress256(&mut state, &last[..used]);
    state_to_hash(&state)
}

/// The hash that a state after the last block is.
pub(crate) fn state_to_hash(state: &[u32; 8]) -> Hash {
    let mut out = [0u8; HASH_BYTES];
    for (bytes, word) in out.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    out
}

/// SHA-256 of several pieces one after the other.
#[must_use]
pub fn sha256_of(pieces: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new();
    for piece in pieces {
        hasher.update(piece);
    }
    hasher.finalize().into()
}

/// The leaf hash of an entry, which is also the link the next entry carries.
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Hash {
    sha256_of(&[&[LEAF_PREFIX], entry])
}

/// The leaf hash of an entry whose bytes follow the leaf prefix in `prefixed`, as they do in a frame.
pub(crate) fn leaf_hash_prefixed(prefixed: &[u8]) -> Hash {
    debug_assert_eq!(prefixed.first(), Some(&LEAF_PREFIX), "a leaf starts with its prefix");
    sha256(prefixed)
}

/// The hash of an inner node of the tree.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut input = [0u8; 1 + 2 * HASH_BYTES];
    input[0] = NODE_PREFIX;
    input[1..33].copy_from_slice(left);
    input[33..].copy_from_slice(right);
    sha256(&input)
}

/// What entry 0 carries as the link to its predecessor.
#[must_use]
pub fn genesis_link(log_id: &Hash) -> Hash {
    sha256_of(&[b"sealfeed/v1 genesis\n", log_id])
}

/// The name of a log: `origin` and 32 random bytes, both of which the genesis entry states.
#[must_use]
pub fn log_id(origin: &str, random: &[u8; 32]) -> Hash {
    sha256_of(&[b"sealfeed/v1 log\n", origin.as_bytes(), b"\n", random])
}

/// Lower-case hexadecimal text of `bytes`.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// Reads 64 lower-case hexadecimal digits; `None` for anything else.
#[must_use]
pub fn hash_from_hex(text: &str) -> Option<Hash> {
    let digits = text.as_bytes();
    if digits.len() != 2 * HASH_BYTES {
        return None;
    }
    let mut hash = [0u8; HASH_BYTES];
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(hash)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_shot_hash_equals_the_general_hasher_at_every_length() {
        let bytes: Vec<u8> = (0..400u16).map(|i| u8::try_from(i % 251).unwrap()).collect();
        for length in 0..bytes.len() {
            let expected: Hash = Sha256::digest(&bytes[..length]).into();
            assert_eq!(sha256(&bytes[..length]), expected, "length {length}");
        }
    }

    #[test]
    fn hex_round_trips_and_refuses_upper_case() {
        let hash = sha256(b"abc");
        assert_eq!(hex(&hash), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(hash_from_hex(&hex(&hash)), Some(hash));
        assert_eq!(hash_from_hex(&hex(&hash).to_uppercase()), None);
        assert_eq!(hash_from_hex("ba"), None);
    }
}
