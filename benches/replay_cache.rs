//! What it costs to remember one nonce, in CPU time and memory, with 1 thousand, 100 thousand and 10 million live.
//!
//! Each line fills an empty cache to its cap (`fill`), replays what it holds (`replay`), and then runs a steady
//! stream in which every insertion outlives an old nonce (`steady`). The floor is a `HashSet` of the same keys that
//! forgets nothing, given its size in advance: it cannot do the job, and shows what a bare insertion costs.
//! Bytes are those of entries and index at the cap, without the allocator's own.
//!
//! `cargo bench --bench replay_cache`, or `-- --smoke` for about a second (without the 10 million).

#![expect(clippy::print_stdout, clippy::expect_used, reason = "a bench prints its numbers and may stop")]

mod support;

use std::collections::HashSet;
use std::hint::black_box;

use sealfeed::gate::ReplayCache;
use sealfeed::types::{Code, Nonce, OwnerId, UnixNanos};

const WINDOW_NS: u64 = 5_000_000_000;
/// Window, skew and the two slices by which forgetting may lag: how long a nonce can occupy its place.
const HELD_NS: u64 = WINDOW_NS + 1_000_000_000 + 2 * (WINDOW_NS / 16);
const START: UnixNanos = UnixNanos(1_790_000_000_000_000_000);
const OWNERS: u32 = 64;

fn main() {
    let is_smoke = support::smoke();
    let sizes: &[usize] = if is_smoke { &[1_000, 100_000] } else { &[1_000, 100_000, 10_000_000] };
    println!("replay cache: CPU ns a nonce, bytes a nonce");
    println!("{:>10} {:>8} {:>8} {:>8} {:>8} {:>8}", "live", "fill", "replay", "steady", "floor", "bytes");
    for &live in sizes {
        let rounds = (1_000_000 / live).clamp(1, 101);
        let mut results: Vec<[f64; 4]> = (0..rounds).map(|_| measure(live)).collect();
        let median = |column: usize, results: &mut Vec<[f64; 4]>| {
            results.sort_by(|a, b| a[column].total_cmp(&b[column]));
            results[rounds / 2][column]
        };
        let [fill, replay, steady, floor] = [0, 1, 2, 3].map(|column| median(column, &mut results));
        let bytes = bytes_a_nonce(live);
        println!("{live:>10} {fill:>8.1} {replay:>8.1} {steady:>8.1} {floor:>8.1} {bytes:>8.1}");
    }
}

/// CPU nanoseconds to fill, to replay, to run steadily, and of the floor.
fn measure(live: usize) -> [f64; 4] {
    let mut cache = ReplayCache::new(WINDOW_NS, live, live);
    let fill = timed(live, |number| {
        assert_eq!(insert(&mut cache, number, START), Ok(()));
    });
    let replay = timed(live, |number| {
        assert_eq!(insert(&mut cache, number, START), Err(Code::OrdNonceReplayed));
    });
    drop(cache);
    [fill, replay, steady(live), floor(live)]
}

/// One insertion a step, at the pace at which `live` nonces are held.
fn steady(live: usize) -> f64 {
    // Room for what forgetting lags behind.
    let mut cache = ReplayCache::new(WINDOW_NS, live + live / 8, live + live / 8);
    let step_ns = HELD_NS / live as u64;
    let at = |number: usize| UnixNanos(START.0 + number as u64 * step_ns);
    for number in 0..live {
        insert(&mut cache, number, at(number)).expect("room for all that live");
    }
    timed(live, |number| {
        let number = live + number;
        insert(&mut cache, number, at(number)).expect("old nonces make room");
    })
}

fn floor(live: usize) -> f64 {
    let mut seen = HashSet::with_capacity(live);
    timed(live, |number| {
        assert!(seen.insert((owner(number), nonce(number))));
    })
}

fn bytes_a_nonce(live: usize) -> f64 {
    let mut cache = ReplayCache::new(WINDOW_NS, live, live);
    for number in 0..live {
        insert(&mut cache, number, START).expect("room up to the cap");
    }
    ratio(cache.memory_bytes() as u128, live)
}

fn insert(cache: &mut ReplayCache, number: usize, now: UnixNanos) -> Result<(), Code> {
    black_box(cache.insert_once(owner(number), Nonce(nonce(number)), now, now))
}

fn owner(number: usize) -> OwnerId {
    OwnerId(u32::try_from(number % OWNERS as usize).unwrap_or_default())
}

/// Distinct, and spread as random ones are.
fn nonce(number: usize) -> [u8; 16] {
    let mut bytes = [0xa5; 16];
    bytes[..8].copy_from_slice(&(number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    bytes
}

fn timed(count: usize, mut step: impl FnMut(usize)) -> f64 {
    let start = cpu_ns();
    for number in 0..count {
        step(number);
    }
    ratio(cpu_ns() - start, count)
}

#[expect(clippy::cast_precision_loss, reason = "a measurement, not an amount")]
fn ratio(total: u128, count: usize) -> f64 {
    total as f64 / count as f64
}

/// CPU time of this thread, in nanoseconds: what other processes do on the machine does not count.
fn cpu_ns() -> u128 {
    u128::from(support::thread_cpu_ns())
}
