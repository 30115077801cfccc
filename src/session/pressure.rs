//! How close the server is to its own bounds, and what it does about it before they are met.
//!
//! Once a second the fullest of four shares is looked at: connections, handshakes in progress, bytes that wait for readers, nonces that are
//! remembered. From 80 % on the server is under elevated pressure: rates are halved for whoever is not trusted. From 95 % on it is severe: new
//! connections come only from addresses that are trusted or have had a session within an hour. Each step ends ten points below where it
//! began, so that a share that wavers makes no flood of entries.

use std::sync::atomic::{AtomicU8, Ordering};

use super::SessionContext;
use crate::journal::event;

/// How tight limits are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// As configured.
    Normal = 0,
    /// Rates are halved for whoever is not trusted.
    Elevated = 1,
    /// And nobody new is let in.
    Severe = 2,
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Elevated => "elevated",
            Self::Severe => "severe",
        }
    }

    /// A rate under it, for whoever is not trusted.
    pub(super) const fn tightened(self, per_second: u32) -> u32 {
        match self {
            Self::Normal => per_second,
            Self::Elevated | Self::Severe if per_second > 1 => per_second / 2,
            Self::Elevated | Self::Severe => 1,
        }
    }

    /// The level above or below it, or itself, for the fullest share, in thousandths.
    const fn next(self, fullest: u32) -> Self {
        match (self, fullest) {
            (_, 950..) | (Self::Severe, 850..) => Self::Severe,
            (_, 800..) | (Self::Elevated | Self::Severe, 700..) => Self::Elevated,
            (_, _) => Self::Normal,
        }
    }
}

/// How full what the server bounds is, in thousandths of each bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Measured {
    pub(super) connections: u32,
    pub(super) handshakes: u32,
    pub(super) out_bytes: u32,
    pub(super) nonces: u32,
}

impl Measured {
    /// The fullest one, and its name in the log.
    fn fullest(self) -> (u32, &'static str) {
        let Self { connections, handshakes, out_bytes, nonces } = self;
        let shares = [
            (connections, "connections"),
            (handshakes, "handshakes"),
            (out_bytes, "out_bytes"),
            (nonces, "nonces"),
        ];
        // The first of equal ones.
        shares.into_iter().rev().max_by_key(|(share, _)| *share).unwrap_or_default()
    }
}

/// So many of so many, in thousandths; what has no room is full.
pub(super) fn share(used: usize, max: usize) -> u32 {
    let thousandths = (used as u128 * 1_000).checked_div(max as u128).unwrap_or(1_000);
    u32::try_from(thousandths).unwrap_or(u32::MAX)
}

/// The level in force, readable by everybody at the cost of one load.
#[derive(Debug, Default)]
pub struct Pressure(AtomicU8);

impl Pressure {
    /// The level in force.
    #[must_use]
    pub fn level(&self) -> Level {
        match self.0.load(Ordering::Relaxed) {
            0 => Level::Normal,
            1 => Level::Elevated,
            _ => Level::Severe,
        }
    }

    /// Takes a measurement; what changes by it, if anything does. One caller.
    fn take(&self, measured: Measured) -> Option<event::Pressure> {
        let (before, (fullest, name)) = (self.level(), measured.fullest());
        let level = before.next(fullest);
        if level == before {
            return None;
        }
        self.0.store(level as u8, Ordering::Relaxed);
        let Measured { connections, handshakes, out_bytes, nonces } = measured;
        Some(event::Pressure {
            level: level.name().to_owned(),
            before: before.name().to_owned(),
            cause: name.to_owned(),
            detail: format!(
                "thousandths: connections {connections}, handshakes {handshakes}, out_bytes {out_bytes}, nonces {nonces}"
            ),
        })
    }
}

impl SessionContext {
    /// Measures, and records a change. Called once a second.
    pub fn measure_pressure(&self) {
        let limits = self.limits.now();
        let (connections, handshakes) = self.registry.connections_and_handshakes();
        let measured = Measured {
            connections: share(connections, limits.connections_max),
            handshakes: share(handshakes, limits.handshakes_max),
            out_bytes: share(self.shards.out_bytes(), self.out_bytes_max),
            nonces: share(self.nonces.used(self.clock.now()), self.nonces.max()),
        };
        if let Some(event) = self.pressure.take(measured) {
            tracing::warn!(level = event.level, cause = event.cause, detail = event.detail, "pressure");
            // The journal tells the server to stop when it fails.
            let _ = self.journal.record(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(connections: u32) -> Measured {
        Measured { connections, ..Measured::default() }
    }

    #[test]
    fn a_level_begins_at_its_share_and_ends_well_below_it() {
        let pressure = Pressure::default();
        for (share, level, changes) in [
            (799, Level::Normal, false),
            (800, Level::Elevated, true),
            (700, Level::Elevated, false),
            (949, Level::Elevated, false),
            (950, Level::Severe, true),
            (850, Level::Severe, false),
            (849, Level::Elevated, true),
            (699, Level::Normal, true),
            (1_200, Level::Severe, true),
            (0, Level::Normal, true),
        ] {
            assert_eq!((pressure.take(of(share)).is_some(), pressure.level()), (changes, level), "{share}");
        }
    }

    #[test]
    fn the_fullest_share_decides_and_is_named() {
        for (measured, cause) in [
            (Measured { handshakes: 900, ..of(10) }, "handshakes"),
            (Measured { out_bytes: 900, ..of(899) }, "out_bytes"),
            (Measured { nonces: 901, out_bytes: 900, ..of(899) }, "nonces"),
            (Measured { nonces: 900, ..of(900) }, "connections"),
        ] {
            let event = Pressure::default().take(measured).unwrap();
            assert_eq!((&*event.cause, &*event.level, &*event.before), (cause, "elevated", "normal"));
        }
    }

    #[test]
    fn a_share_is_in_thousandths_of_its_bound() {
        assert_eq!((share(0, 10), share(19, 20), share(1, 3), share(usize::MAX, 1)), (0, 950, 333, u32::MAX));
        assert_eq!(share(0, 0), 1_000);
    }

    proptest! {
        #[test]
        fn what_wavers_by_less_than_ten_points_changes_the_level_once_at_most(
            base in 0_u32..1_100, wavers in prop::collection::vec(0_u32..100, 1..50),
        ) {
            let pressure = Pressure::default();
            // Beginning from above, as from below.
            pressure.take(of(base + 99));
            let changes = wavers.into_iter().filter(|by| pressure.take(of(base + by)).is_some()).count();
            prop_assert!(changes <= 1, "{changes}");
        }
    }
}
