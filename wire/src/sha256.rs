//! SHA-256 (FIPS 180-4) of messages that are there as a whole, from a state that was saved at the end of a block.
//!
//! A signed request is two or three blocks long. A hasher that takes bytes piece by piece spends as much on its buffer as on such a
//! message: here it is put together and padded in one place, and compressed in one call. Two messages of which one is the end of the
//! other are compressed side by side by whoever can do that ([`CompressPair`]): this crate has no instructions of its own.

use sha2::block_api::compress256;
use zeroize::Zeroize;

const BLOCK: usize = 64;

/// Blocks of the longest message, padding included, that is hashed in one call: nearly every order.
const SHORT_BLOCKS: usize = 6;

/// Bytes of the padding at least: one bit, and the length in 8 bytes.
const PADDING: usize = 9;

/// Compresses whole blocks of two messages into their SHA-256 states (FIPS 180-4, 6.2.2), as many of each as the shorter has.
pub type CompressPair = fn(states: &mut [[u32; 8]; 2], blocks: [&[[u8; BLOCK]]; 2]);

/// SHA-256 of these bytes, one part behind the other.
#[must_use]
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    State::NEW.finish(parts)
}

/// The state behind a number of whole blocks. Behind a key's block it is as secret as the key.
#[derive(Clone)]
pub(crate) struct State {
    words: [u32; 8],
    bytes: u64,
}

impl State {
    /// Before the first block: FIPS 180-4, 5.3.3.
    pub(crate) const NEW: Self = Self {
        words: [
            0x6a09_e667,
            0xbb67_ae85,
            0x3c6e_f372,
            0xa54f_f53a,
            0x510e_527f,
            0x9b05_688c,
            0x1f83_d9ab,
            0x5be0_cd19,
        ],
        bytes: 0,
    };

    /// The state behind one block more.
    pub(crate) fn after(&self, block: &[u8; BLOCK]) -> Self {
        let mut next = self.clone();
        next.compress(std::slice::from_ref(block));
        next
    }

    /// The hash of what went before and these parts.
    #[inline]
    pub(crate) fn finish(&self, parts: &[&[u8]]) -> [u8; 32] {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        match (length + PADDING).div_ceil(BLOCK) {
            0..=1 => self.finish_in::<1>(parts),
            2..=SHORT_BLOCKS => self.finish_in::<SHORT_BLOCKS>(parts),
            _ => self.finish_long(parts),
        }
    }

    /// The same in the room of so many blocks, which must be enough.
    #[inline]
    fn finish_in<const BLOCKS: usize>(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut blocks = [[0; BLOCK]; BLOCKS];
        let length = join(blocks.as_flattened_mut(), parts);
        let mut state = self.clone();
        state.compress(pad(&mut blocks, length, self.bytes));
        state.to_bytes()
    }

    /// The hash of what went before, `head` and `tail`, and that of `tail` alone, both in one go.
    #[inline]
    pub(crate) fn finish_beside_tail<const HEAD: usize, const TAIL: usize>(
        &self,
        head: [&[u8]; HEAD],
        tail: [&[u8]; TAIL],
        pair: CompressPair,
    ) -> [[u8; 32]; 2] {
        let bytes = |parts: &[&[u8]]| parts.iter().map(|part| part.len()).sum::<usize>();
        let (head_bytes, tail_bytes) = (bytes(&head), bytes(&tail));
        if (head_bytes + tail_bytes + PADDING).div_ceil(BLOCK) > SHORT_BLOCKS {
            let all: Vec<&[u8]> = head.into_iter().chain(tail).collect();
            return [self.finish(&all), Self::NEW.finish(&tail)];
        }
        let (mut whole, mut end) = ([[0; BLOCK]; SHORT_BLOCKS], [[0; BLOCK]; SHORT_BLOCKS]);
        let room = whole.as_flattened_mut();
        join(room, &head);
        join(&mut room[head_bytes..], &tail);
        end.as_flattened_mut()[..tail_bytes].copy_from_slice(&room[head_bytes..head_bytes + tail_bytes]);
        let whole = pad(&mut whole, head_bytes + tail_bytes, self.bytes);
        let end = pad(&mut end, tail_bytes, 0);
        let mut states = [self.words, Self::NEW.words];
        pair(&mut states, [whole, end]);
        compress256(&mut states[0], &whole[end.len()..]);
        states.map(to_bytes)
    }

    /// The same block by block, for any length.
    fn finish_long(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut state = self.clone();
        let mut tail = [[0; BLOCK]; 2];
        let mut filled = 0;
        for part in parts {
            let mut rest = *part;
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(BLOCK - filled));
                tail[0][filled..filled + now.len()].copy_from_slice(now);
                filled += now.len();
                rest = later;
                if filled == BLOCK {
                    state.compress(&tail[..1]);
                    filled = 0;
                }
            }
        }
        tail.as_flattened_mut()[filled..].fill(0);
        let before = state.bytes;
        state.compress(pad(&mut tail, filled, before));
        state.to_bytes()
    }

    fn compress(&mut self, blocks: &[[u8; BLOCK]]) {
        compress256(&mut self.words, blocks);
        self.bytes += (blocks.len() * BLOCK) as u64;
    }

    fn to_bytes(&self) -> [u8; 32] {
        to_bytes(self.words)
    }
}

fn to_bytes(words: [u32; 8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (place, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(words) {
        *place = word.to_be_bytes();
    }
    bytes
}

/// Puts the parts one behind the other at the beginning of `room`, which must be enough; returns how many bytes they are.
#[inline]
fn join(room: &mut [u8], parts: &[&[u8]]) -> usize {
    let mut length = 0;
    for part in parts {
        room[length..length + part.len()].copy_from_slice(part);
        length += part.len();
    }
    length
}

impl Zeroize for State {
    fn zeroize(&mut self) {
        self.words.zeroize();
    }
}

/// Pads what ends at byte `end` of `blocks`, zeros behind it, as the end of a message with so many bytes before; returns the blocks it is then.
#[inline]
fn pad(blocks: &mut [[u8; BLOCK]], end: usize, bytes_before: u64) -> &[[u8; BLOCK]] {
    let blocks = &mut blocks[..(end + PADDING).div_ceil(BLOCK)];
    let room = blocks.as_flattened_mut();
    room[end] = 0x80;
    let last = room.len() - size_of::<u64>();
    room[last..].copy_from_slice(&((bytes_before + end as u64) * 8).to_be_bytes());
    blocks
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha2::{Digest as _, Sha256};

    use super::*;

    fn one_after_the_other(states: &mut [[u32; 8]; 2], blocks: [&[[u8; BLOCK]]; 2]) {
        let count = blocks[0].len().min(blocks[1].len());
        for (state, blocks) in states.iter_mut().zip(blocks) {
            compress256(state, &blocks[..count]);
        }
    }

    #[test]
    fn messages_of_every_length_around_the_ends_of_blocks_hash_as_the_standard_says() {
        let message: Vec<u8> = (0..=255).cycle().take(1_000).collect();
        for length in 0..message.len() {
            let expected: [u8; 32] = Sha256::digest(&message[..length]).into();
            assert_eq!(sha256(&[&message[..length]]), expected, "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn it_makes_no_difference_where_parts_begin_or_what_was_saved_before(
            saved in prop::collection::vec(any::<[u8; 32]>(), 0..4),
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..5),
        ) {
            let mut state = State::NEW;
            let mut plain = Sha256::new();
            for half in saved {
                let mut block = [0; BLOCK];
                block[..32].copy_from_slice(&half);
                state = state.after(&block);
                plain.update(block);
            }
            parts.iter().for_each(|part| plain.update(part));
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            let expected: [u8; 32] = plain.finalize().into();
            prop_assert_eq!(state.finish(&parts), expected);
        }

        #[test]
        fn a_message_and_its_end_hash_side_by_side_as_each_does_alone(
            is_behind_a_block: bool,
            head in prop::collection::vec(any::<u8>(), 0..200),
            tail in prop::collection::vec(any::<u8>(), 0..500),
        ) {
            let state = if is_behind_a_block { State::NEW.after(&[7; BLOCK]) } else { State::NEW };
            let (head, more) = head.split_at(head.len() / 3);
            let (tail, end) = tail.split_at(tail.len() / 2);
            let expected = [state.finish(&[head, more, tail, end]), State::NEW.finish(&[tail, end])];
            prop_assert_eq!(state.finish_beside_tail([head, more], [tail, end], one_after_the_other), expected);
        }
    }
}
