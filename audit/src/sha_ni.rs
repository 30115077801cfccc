//! SHA-256 of two messages at once with the SHA instructions of x86-64, and their CRC32C with them: one of the two files of the crate
//! that use `unsafe`.
//!
//! The instruction that does two rounds has a latency of about twice its throughput, so one message alone leaves half of the unit
//! idle. Two fill it; a third would only spill registers. Nothing outside says which rounds of which message may run side by
//! side, so no existing crate offers this. The checksum has a unit of its own that would idle: beside the hash it costs nothing that
//! can be measured, after it a twentieth of the hash. The one unsafe operation is the call of a function compiled for instructions that the
//! processor was asked for just before; loads and stores are safe code.

#![allow(
    unsafe_code,
    reason = "a call of a function for SHA instructions, after asking the processor for them"
)]

use sha2::block_api::compress256;

/// Bytes that one compression takes.
pub(crate) type Block = [u8; 64];

/// Compresses whole blocks of two messages into their SHA-256 states (FIPS 180-4, 6.2.2), as many of each as the shorter has: side by side
/// where the processor can do that, else one after the other. For whoever has two messages to hash; padding is the caller's.
pub fn sha256_pair(states: &mut [[u32; 8]; 2], blocks: [&[[u8; 64]]; 2]) {
    compress_pair(states, &mut [0; 2], blocks);
}

/// Compresses the blocks of two messages into their states, and takes them up into their CRC32C: as many of each as the shorter has.
pub(crate) fn compress_pair(states: &mut [[u32; 8]; 2], sums: &mut [u32; 2], blocks: [&[Block]; 2]) {
    let count = blocks[0].len().min(blocks[1].len());
    let blocks = blocks.map(|blocks| &blocks[..count]);
    #[cfg(target_arch = "x86_64")]
    if x86::available() {
        // SAFETY: the processor has just said that it has every feature that the function is compiled for.
        unsafe { x86::compress(states, sums, blocks) };
        return;
    }
    for ((state, sum), blocks) in states.iter_mut().zip(sums).zip(blocks) {
        compress256(state, blocks);
        *sum = crc32c::crc32c_append(*sum, blocks.as_flattened());
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_crc32_u64, _mm_extract_epi32, _mm_set_epi32,
        _mm_set_epi64x, _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8,
        _mm_shuffle_epi32,
    };

    use super::Block;

    /// The round constants of FIPS 180-4, four to a step.
    #[rustfmt::skip]
    const K: [[u32; 4]; 16] = [
        [0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5], [0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5],
        [0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3], [0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174],
        [0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc], [0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da],
        [0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7], [0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967],
        [0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13], [0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85],
        [0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3], [0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070],
        [0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5], [0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3],
        [0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208], [0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2],
    ];

    /// Whether the processor has what [`compress`] is compiled for.
    pub(super) fn available() -> bool {
        is_x86_feature_detected!("sha")
            && is_x86_feature_detected!("ssse3")
            && is_x86_feature_detected!("sse4.2")
    }

    #[inline]
    #[target_feature(enable = "sha,ssse3,sse4.2")]
    fn vector(words: [u32; 4]) -> __m128i {
        let [a, b, c, d] = words.map(u32::cast_signed);
        _mm_set_epi32(d, c, b, a)
    }

    /// Four words of the message from a quarter of a block.
    #[inline]
    #[target_feature(enable = "sha,ssse3,sse4.2")]
    fn load(block: &Block, quarter: usize) -> __m128i {
        let (words, _) = block.as_chunks::<8>();
        let [low, high] = [words[2 * quarter], words[2 * quarter + 1]].map(i64::from_le_bytes);
        let big_endian = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
        _mm_shuffle_epi8(_mm_set_epi64x(high, low), big_endian)
    }

    /// Four rounds of both messages, on the words `$w` of the schedule with constants number `$k`.
    macro_rules! rounds {
        ($upper:ident, $lower:ident, $w:ident[$i:literal], $k:expr) => {
            let k = vector(K[$k]);
            let wk = [_mm_add_epi32($w[0][$i], k), _mm_add_epi32($w[1][$i], k)];
            $lower[0] = _mm_sha256rnds2_epu32($lower[0], $upper[0], wk[0]);
            $lower[1] = _mm_sha256rnds2_epu32($lower[1], $upper[1], wk[1]);
            let wk = [_mm_shuffle_epi32::<0x0e>(wk[0]), _mm_shuffle_epi32::<0x0e>(wk[1])];
            $upper[0] = _mm_sha256rnds2_epu32($upper[0], $lower[0], wk[0]);
            $upper[1] = _mm_sha256rnds2_epu32($upper[1], $lower[1], wk[1]);
        };
    }

    /// The next four words of both schedules, in the place of the oldest.
    macro_rules! schedule {
        ($w:ident, $oldest:literal, $old:literal, $new:literal, $newest:literal) => {
            for w in &mut $w {
                let mixed = _mm_sha256msg1_epu32(w[$oldest], w[$old]);
                let mixed = _mm_add_epi32(mixed, _mm_alignr_epi8::<4>(w[$newest], w[$new]));
                w[$oldest] = _mm_sha256msg2_epu32(mixed, w[$newest]);
            }
        };
    }

    /// The CRC32C register after a block.
    #[inline]
    #[target_feature(enable = "sse4.2")]
    fn add_block(register: u64, block: &Block) -> u64 {
        let (words, _) = block.as_chunks::<8>();
        words.iter().fold(register, |register, word| _mm_crc32_u64(register, u64::from_le_bytes(*word)))
    }

    /// Compresses as many blocks of both messages as both have.
    #[target_feature(enable = "sha,ssse3,sse4.2")]
    pub(super) fn compress(states: &mut [[u32; 8]; 2], sums: &mut [u32; 2], blocks: [&[Block]; 2]) {
        // The instructions want the words a, b, e, f in one register and c, d, g, h in the other, the first in the highest place.
        let mut upper = states.map(|[a, b, _, _, e, f, _, _]| vector([f, e, b, a]));
        let mut lower = states.map(|[_, _, c, d, _, _, g, h]| vector([h, g, d, c]));
        // A checksum is the complement of its register, whose upper half is always zero.
        let mut registers = sums.map(|sum| u64::from(!sum));
        for (first, second) in blocks[0].iter().zip(blocks[1]) {
            let before = (upper, lower);
            registers = [add_block(registers[0], first), add_block(registers[1], second)];
            // Not a closure over both: that is a call of its own, with all eight vectors through memory.
            let mut w = [
                [load(first, 0), load(first, 1), load(first, 2), load(first, 3)],
                [load(second, 0), load(second, 1), load(second, 2), load(second, 3)],
            ];
            rounds!(upper, lower, w[0], 0);
            rounds!(upper, lower, w[1], 1);
            rounds!(upper, lower, w[2], 2);
            rounds!(upper, lower, w[3], 3);
            macro_rules! four {
                ($k:literal) => {
                    schedule!(w, 0, 1, 2, 3);
                    rounds!(upper, lower, w[0], $k);
                    schedule!(w, 1, 2, 3, 0);
                    rounds!(upper, lower, w[1], $k + 1);
                    schedule!(w, 2, 3, 0, 1);
                    rounds!(upper, lower, w[2], $k + 2);
                    schedule!(w, 3, 0, 1, 2);
                    rounds!(upper, lower, w[3], $k + 3);
                };
            }
            four!(4);
            four!(8);
            four!(12);
            for lane in 0..2 {
                upper[lane] = _mm_add_epi32(upper[lane], before.0[lane]);
                lower[lane] = _mm_add_epi32(lower[lane], before.1[lane]);
            }
        }
        *sums = registers.map(|register| !u32::try_from(register).unwrap_or_default());
        for (state, (upper, lower)) in states.iter_mut().zip(upper.into_iter().zip(lower)) {
            let words = [
                _mm_extract_epi32::<3>(upper),
                _mm_extract_epi32::<2>(upper),
                _mm_extract_epi32::<3>(lower),
                _mm_extract_epi32::<2>(lower),
                _mm_extract_epi32::<1>(upper),
                _mm_extract_epi32::<0>(upper),
                _mm_extract_epi32::<1>(lower),
                _mm_extract_epi32::<0>(lower),
            ];
            *state = words.map(i32::cast_unsigned);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn two_at_once_are_what_each_is_alone(
            first in proptest::collection::vec(proptest::array::uniform32(any::<u8>()), 0..24),
            second in proptest::collection::vec(proptest::array::uniform32(any::<u8>()), 0..24),
            before: [[u32; 8]; 2],
            sums_before: [u32; 2],
        ) {
            let block = |halves: &[[u8; 32]]| -> Vec<Block> {
                halves.as_flattened().as_chunks::<64>().0.to_vec()
            };
            let blocks = [block(&first), block(&second)];
            let count = blocks[0].len().min(blocks[1].len());
            let mut expected = before;
            let mut expected_sums = sums_before;
            for ((state, sum), blocks) in expected.iter_mut().zip(&mut expected_sums).zip(&blocks) {
                compress256(state, &blocks[..count]);
                *sum = crc32c::crc32c_append(*sum, blocks[..count].as_flattened());
            }
            let (mut states, mut sums) = (before, sums_before);
            compress_pair(&mut states, &mut sums, [&blocks[0], &blocks[1]]);
            prop_assert_eq!((states, sums), (expected, expected_sums));
            let mut states = before;
            sha256_pair(&mut states, [&blocks[0], &blocks[1]]);
            prop_assert_eq!(states, expected);
        }
    }
}
