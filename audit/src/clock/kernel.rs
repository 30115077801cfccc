//! What the kernel says of its clock: `adjtimex`, asked and never told. One of the two files of the crate that use `unsafe`.
//!
//! No safe crate reads it: rustix and nix do not have the call, and clock-steering, which has it, sets clocks and gives back frequency
//! and TAI, not state and error. Both unsafe operations are one line each: a structure of plain numbers that begins as zeros, and a
//! system call that fills it.

#![cfg_attr(
    target_os = "linux",
    allow(unsafe_code, reason = "a system call that no safe crate offers for reading")
)]

/// The part of the kernel's answer that is looked at, in the kernel's own words and units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// What the call returned: `TIME_OK` to `TIME_ERROR`.
    pub(super) state: i32,
    /// Bits `STA_*`.
    pub(super) status: i32,
    /// What is still to be corrected: nanoseconds with `STA_NANO`, else microseconds.
    pub(super) offset: i64,
    /// Maximum error, microseconds.
    pub(super) max_error_us: i64,
}

/// Asks the kernel; `None` where it does not answer.
#[cfg(target_os = "linux")]
pub(super) fn ask() -> Option<Answer> {
    // SAFETY: `timex` is made of integers alone, for which zeros are a value.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // `modes` stays zero: nothing is set, and no privilege is needed.
    // SAFETY: the pointer is to a `timex` that lives through the call and that nobody else has; the kernel writes into it alone.
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    (state >= 0).then(|| Answer {
        state,
        status: timex.status,
        offset: wide(timex.offset),
        max_error_us: wide(timex.maxerror),
    })
}

/// Numbers of the kernel are 32 bits wide on some machines and 64 on others.
#[cfg(target_os = "linux")]
fn wide(number: impl Into<i64>) -> i64 {
    number.into()
}

/// Only Linux is asked.
#[cfg(not(target_os = "linux"))]
pub(super) fn ask() -> Option<Answer> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_answers_in_its_own_ranges_and_is_not_changed_by_the_question() {
        // A sandbox may forbid the call; then there is no answer, and that is what is said.
        for _ in 0..3 {
            let Some(answer) = ask() else { return };
            assert!((libc::TIME_OK..=libc::TIME_ERROR).contains(&answer.state), "{answer:?}");
            // NTP_PHASE_LIMIT of the kernel: 16 s; and half a second of phase.
            assert!((0..=16_000_000).contains(&answer.max_error_us), "{answer:?}");
            let a_second = if answer.status & libc::STA_NANO == 0 { 1_000_000 } else { 1_000_000_000 };
            assert!(answer.offset.abs() <= a_second, "{answer:?}");
        }
    }
}
