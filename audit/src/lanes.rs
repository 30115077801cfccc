//! Hashes many messages two at a time: the leaves of a group beside the running SHA-256 of the file, and the nodes of a tree.
//!
//! In verification no leaf waits for another: the link to the entry before is a field of the entry, compared afterwards. So one
//! lane can hash the next leaf while the other is busy with the file. The checksum of an entry is taken in the same pass.

use std::ops::Range;

use sha2::block_api::compress256;

use crate::chain::{HASH_BYTES, Hash, INITIAL, NODE_PREFIX, node_hash, state_to_hash};
use crate::entry::u32_at;
use crate::sha_ni::{Block, compress_pair};

const BLOCK_BYTES: usize = 64;

/// CRC32C in front of a leaf's prefix, which is hashed and not under the checksum: the one value that the prefix turns into that of nothing.
const SUM_BEFORE_PREFIX: u32 = 0x56bd_1943;

/// A SHA-256 that grows, kept in parts that a lane can take. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream {
    state: [u32; 8],
    /// What is left of the bytes so far after the last whole block: the first `bytes % 64` of these.
    held: Block,
    bytes: u64,
}

impl Stream {
    pub(crate) fn new() -> Self {
        Self { state: INITIAL, held: [0; BLOCK_BYTES], bytes: 0 }
    }

    /// How many bytes of `held` count.
    fn held_bytes(&self) -> usize {
        usize::try_from(self.bytes % BLOCK_BYTES as u64).unwrap_or(0)
    }

    /// Takes up bytes by itself.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        let (joined, blocks) = self.begin(bytes);
        compress256(&mut self.state, joined.as_slice());
        compress256(&mut self.state, blocks);
    }

    /// Takes up all of the bytes but for the whole blocks that it returns, one that was begun before and those in `bytes`: the
    /// caller is to compress those into the state.
    fn begin<'a>(&mut self, bytes: &'a [u8]) -> (Option<Block>, &'a [Block]) {
        let held = self.held_bytes();
        self.bytes += bytes.len() as u64;
        let missing = if held == 0 { 0 } else { (BLOCK_BYTES - held).min(bytes.len()) };
        let (head, rest) = bytes.split_at(missing);
        self.held[held..held + missing].copy_from_slice(head);
        let joined = (missing > 0 && held + missing == BLOCK_BYTES).then_some(self.held);
        let (blocks, tail) = rest.as_chunks::<BLOCK_BYTES>();
        self.held[..tail.len()].copy_from_slice(tail);
        (joined, blocks)
    }

    pub(crate) fn finish(mut self) -> Hash {
        let mut tail = [[0u8; BLOCK_BYTES]; 2];
        let used = pad(&self.held[..self.held_bytes()], self.bytes, &mut tail);
        compress256(&mut self.state, &tail[..used]);
        state_to_hash(&self.state)
    }
}

/// Makes the last blocks of a message of `bytes` bytes that ends in `rest`, less than a block; returns how many, one or two.
fn pad(rest: &[u8], bytes: u64, last: &mut [Block; 2]) -> usize {
    let used = if rest.len() < 56 { 1 } else { 2 };
    let flat = last.as_flattened_mut();
    flat[..rest.len()].copy_from_slice(rest);
    flat[rest.len()] = 0x80;
    flat[rest.len() + 1..used * BLOCK_BYTES].fill(0);
    flat[used * BLOCK_BYTES - 8..used * BLOCK_BYTES].copy_from_slice(&bytes.wrapping_mul(8).to_be_bytes());
    used
}

/// What a lane is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Idle,
    Stream,
    Leaf(usize),
}

#[derive(Debug)]
struct Lane<'a> {
    work: Work,
    blocks: &'a [Block],
    /// Blocks that do not lie in the message: in front of the others for a stream, behind them for a leaf.
    own: [Block; 2],
    own_at: usize,
    own_end: usize,
    /// The end of a leaf that fills no block.
    rest: &'a [u8],
    /// CRC32C of a leaf without its prefix, once all its whole blocks are taken up.
    sum: u32,
}

impl<'a> Lane<'a> {
    const IDLE: Self = Self {
        work: Work::Idle,
        blocks: &[],
        own: [[0; BLOCK_BYTES]; 2],
        own_at: 0,
        own_end: 0,
        rest: &[],
        sum: 0,
    };

    /// Begins with the next leaf, in place: copying lanes costs as much as a tenth of a short leaf.
    fn begin_leaf(&mut self, index: usize, message: &'a [u8]) {
        let (blocks, rest) = message.as_chunks::<BLOCK_BYTES>();
        self.own_end = pad(rest, message.len() as u64, &mut self.own);
        (self.work, self.blocks, self.rest, self.own_at) = (Work::Leaf(index), blocks, rest, 0);
        if blocks.is_empty() {
            self.sum = crc32c::crc32c_append(SUM_BEFORE_PREFIX, rest);
        }
    }

    fn stream(joined: Option<Block>, blocks: &'a [Block]) -> Self {
        let own_end = usize::from(joined.is_some());
        let own = [joined.unwrap_or([0; BLOCK_BYTES]), [0; BLOCK_BYTES]];
        Self { work: Work::Stream, blocks, own, own_end, ..Self::IDLE }
    }

    /// Whether the next blocks are the lane's own.
    fn at_own(&self) -> bool {
        self.blocks.is_empty() || (self.work == Work::Stream && self.own_at < self.own_end)
    }

    /// The next blocks that lie in one piece.
    fn piece(&self) -> &[Block] {
        if self.at_own() { &self.own[self.own_at..self.own_end] } else { self.blocks }
    }

    /// Steps over blocks that were taken up, with which the checksum is `sum`.
    fn advance(&mut self, count: usize, sum: u32) {
        if self.at_own() {
            self.own_at += count;
            return;
        }
        self.blocks = &self.blocks[count..];
        if self.blocks.is_empty() {
            self.sum = crc32c::crc32c_append(sum, self.rest);
        }
    }
}

/// Leaf hashes of the entries that lie at `ranges` in `bytes`, each behind its prefix, in `leaves`; with them the stream takes up
/// all of `bytes`. False where an entry does not match the checksum behind it.
pub(crate) fn hash_leaves(
    bytes: &[u8],
    ranges: &[Range<usize>],
    stream: Option<&mut Stream>,
    leaves: &mut Vec<Hash>,
) -> bool {
    leaves.clear();
    leaves.resize(ranges.len(), [0; HASH_BYTES]);
    let mut all_match = true;
    let message = |range: &Range<usize>| bytes.get(range.start - 1..range.end).unwrap_or_default();
    hash_beside(stream.map(|stream| (stream, bytes)), ranges.iter().map(message), |index, leaf, sum| {
        leaves[index] = leaf;
        all_match &= sum == u32_at(bytes, ranges[index].end);
    });
    all_match
}

/// Leaf hash of one entry behind its prefix, and its checksum; beside it, the stream takes up `bytes`, best about as many.
pub(crate) fn hash_leaf(prefixed: &[u8], stream: &mut Stream, bytes: &[u8]) -> (Hash, u32) {
    let mut hashed = ([0; HASH_BYTES], 0);
    hash_beside(Some((stream, bytes)), std::iter::once(prefixed), |_, leaf, sum| hashed = (leaf, sum));
    hashed
}

/// Calls `done` with the place, the hash and the checksum of each message, whatever comes first; beside them, the stream takes up the
/// bytes that come with it.
fn hash_beside<'a>(
    stream: Option<(&mut Stream, &'a [u8])>,
    messages: impl Iterator<Item = &'a [u8]>,
    mut done: impl FnMut(usize, Hash, u32),
) {
    let mut lanes = [Lane::IDLE, Lane::IDLE];
    let (mut states, mut sums) = ([INITIAL; 2], [0; 2]);
    let mut stream = stream.map(|(stream, bytes)| {
        let (joined, blocks) = stream.begin(bytes);
        lanes[0] = Lane::stream(joined, blocks);
        states[0] = stream.state;
        stream
    });
    let mut messages = messages.enumerate();
    loop {
        for ((lane, state), sum) in lanes.iter_mut().zip(&mut states).zip(&mut sums) {
            while lane.piece().is_empty() {
                match lane.work {
                    Work::Leaf(index) => done(index, state_to_hash(state), lane.sum),
                    Work::Stream => {
                        if let Some(stream) = &mut stream {
                            stream.state = *state;
                        }
                    }
                    Work::Idle => {}
                }
                let Some((index, message)) = messages.next() else {
                    lane.work = Work::Idle;
                    break;
                };
                lane.begin_leaf(index, message);
                (*state, *sum) = (INITIAL, SUM_BEFORE_PREFIX);
            }
        }
        let counts = [lanes[0].piece().len(), lanes[1].piece().len()];
        match counts {
            [0, 0] => return,
            [_, 0] | [0, _] => {
                let busy = usize::from(counts[0] == 0);
                let lane = &mut lanes[busy];
                compress256(&mut states[busy], lane.piece());
                if lane.work != Work::Stream {
                    sums[busy] = crc32c::crc32c_append(sums[busy], lane.piece().as_flattened());
                }
                lane.advance(counts[busy], sums[busy]);
            }
            [first, second] => {
                compress_pair(&mut states, &mut sums, [lanes[0].piece(), lanes[1].piece()]);
                lanes.iter_mut().zip(sums).for_each(|(lane, sum)| lane.advance(first.min(second), sum));
            }
        }
    }
}

/// The nodes over pairs of hashes, in place: the first half of `hashes` afterwards. An odd last one is left out.
pub(crate) fn hash_nodes(hashes: &mut Vec<Hash>) {
    let pairs = hashes.len() / 2;
    let mut done = 0;
    while done + 1 < pairs {
        let inputs = [done, done + 1].map(|pair| node_blocks(&hashes[2 * pair], &hashes[2 * pair + 1]));
        let mut states = [INITIAL; 2];
        compress_pair(&mut states, &mut [0; 2], [&inputs[0], &inputs[1]]);
        hashes[done] = state_to_hash(&states[0]);
        hashes[done + 1] = state_to_hash(&states[1]);
        done += 2;
    }
    if done < pairs {
        hashes[done] = node_hash(&hashes[2 * done], &hashes[2 * done + 1]);
    }
    hashes.truncate(pairs);
}

fn node_blocks(left: &Hash, right: &Hash) -> [Block; 2] {
    let mut blocks = [[0u8; BLOCK_BYTES]; 2];
    let flat = blocks.as_flattened_mut();
    flat[0] = NODE_PREFIX;
    flat[1..33].copy_from_slice(left);
    flat[33..65].copy_from_slice(right);
    flat[65] = 0x80;
    // 65 bytes are 520 bits.
    flat[126..].copy_from_slice(&520u16.to_be_bytes());
    blocks
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    use super::*;

    fn bytes(count: usize, seed: u8) -> Vec<u8> {
        (0..count).map(|i| u8::try_from((i * 31 + i / 251) % 256).unwrap() ^ seed).collect()
    }

    /// Messages of these lengths back to back, each behind its prefix, hashed beside the stream of all of them.
    fn agrees(lengths: &[usize], chunks: usize, with_stream: bool) {
        let mut stream = Stream::new();
        let mut all = Vec::new();
        for chunk in 0..chunks {
            let mut data = Vec::new();
            let mut ranges = Vec::new();
            for length in lengths {
                let start = data.len() + 1;
                data.push(0);
                data.extend(bytes(*length, u8::try_from(chunk).unwrap()));
                data.extend(crc32c::crc32c(&data[start..]).to_le_bytes());
                ranges.push(start..start + length);
            }
            let mut leaves = vec![[1; 32]; 3];
            for range in &ranges {
                // Each checksum is looked at: one that is wrong is enough.
                data[range.end] ^= 0x10;
                assert!(!hash_leaves(&data, &ranges, with_stream.then_some(&mut Stream::new()), &mut leaves));
                data[range.end] ^= 0x10;
            }
            assert!(
                hash_leaves(&data, &ranges, with_stream.then_some(&mut stream), &mut leaves),
                "{lengths:?}"
            );
            let expected: Vec<Hash> =
                ranges.iter().map(|range| Sha256::digest(&data[range.start - 1..range.end]).into()).collect();
            assert_eq!(leaves, expected, "{lengths:?}");
            all.extend(data);
        }
        if with_stream {
            assert_eq!(stream.finish(), Hash::from(Sha256::digest(&all)), "{lengths:?}");
        }
    }

    #[test]
    fn a_prefix_turns_the_first_checksum_into_that_of_nothing() {
        assert_eq!(crc32c::crc32c_append(SUM_BEFORE_PREFIX, &[0]), crc32c::crc32c(&[]));
    }

    #[test]
    fn every_length_around_the_blocks_is_hashed_right_beside_every_neighbour() {
        for length in 0..200 {
            agrees(&[length, 130, length], 2, length % 2 == 0);
            agrees(&[length], 3, true);
        }
    }

    proptest! {
        #[test]
        fn leaves_and_stream_are_those_of_plain_sha256(
            lengths in proptest::collection::vec(0usize..700, 0..9), chunks in 0usize..4, with_stream: bool,
        ) {
            agrees(&lengths, chunks, with_stream);
        }

        #[test]
        fn a_leaf_beside_any_bytes_of_a_stream_is_that_of_plain_sha256(
            lengths in proptest::collection::vec((0usize..400, 0usize..400), 1..6),
        ) {
            let (mut stream, mut all) = (Stream::new(), Vec::new());
            for (leaf, beside) in lengths {
                let (leaf, beside) = (bytes(leaf, 3), bytes(beside, 5));
                let expected = (Hash::from(Sha256::digest([&[0], &leaf[..]].concat())), crc32c::crc32c(&leaf));
                prop_assert_eq!(hash_leaf(&[&[0], &leaf[..]].concat(), &mut stream, &beside), expected);
                all.extend(beside);
            }
            prop_assert_eq!(stream.finish(), Hash::from(Sha256::digest(&all)));
        }

        #[test]
        fn a_stream_is_indifferent_to_how_it_is_fed(cuts in proptest::collection::vec(0usize..200, 0..9)) {
            let (mut stream, mut all) = (Stream::new(), Vec::new());
            for cut in cuts {
                let part = bytes(cut, 7);
                stream.update(&part);
                all.extend(part);
            }
            prop_assert_eq!(stream.finish(), Hash::from(Sha256::digest(&all)));
        }

        #[test]
        fn nodes_are_those_of_the_plain_function(count in 0usize..40, seed: u8) {
            let hashes: Vec<Hash> = (0..count).map(|i| Sha256::digest(bytes(i, seed)).into()).collect();
            let expected: Vec<Hash> =
                hashes.chunks_exact(2).map(|pair| node_hash(&pair[0], &pair[1])).collect();
            let mut found = hashes;
            hash_nodes(&mut found);
            prop_assert_eq!(found, expected);
        }
    }
}
