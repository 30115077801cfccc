//! The payload of a CLOCK entry: what was found, and whether it keeps the tolerance.

use super::{Discipline, Leap};
use crate::entry::ClockState;
use crate::fields::{FieldsReader, FieldsWriter};

const TITLE: &str = "sealfeed/v1 clock";

/// Payload of a CLOCK entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockEvidence {
    /// What the system said; `None` where it said nothing.
    pub discipline: Option<Discipline>,
    /// How far UTC was set forward (back, if negative) against the monotonic clock since the run's CLOCK entry before,
    /// nanoseconds; 0 in the first.
    pub step_ns: i64,
    /// Error and step that are allowed, nanoseconds.
    pub tolerance_ns: u64,
}

/// Why a clock does not keep its tolerance. Where several hold, the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breach {
    /// It was set by more than the tolerance.
    Step,
    /// Nobody says how it is.
    Unknown,
    /// Nothing synchronises it.
    Unsynchronised,
    /// The bound of its error is above the tolerance.
    Error,
}

impl Breach {
    /// One word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Unknown => "unknown",
            Self::Unsynchronised => "unsynchronised",
            Self::Error => "error",
        }
    }
}

impl ClockEvidence {
    /// State of synchronisation.
    #[must_use]
    pub fn state(&self) -> ClockState {
        self.discipline.as_ref().map_or(ClockState::Unknown, Discipline::state)
    }

    /// Why the tolerance is not kept, or not known to be kept; `None` when it is.
    #[must_use]
    pub fn breach(&self) -> Option<Breach> {
        if self.step_ns.unsigned_abs() > self.tolerance_ns {
            return Some(Breach::Step);
        }
        match &self.discipline {
            None => Some(Breach::Unknown),
            Some(found) if !found.synchronised => Some(Breach::Unsynchronised),
            Some(found) if found.error_ns() > self.tolerance_ns => Some(Breach::Error),
            Some(_) => None,
        }
    }

    /// The payload.
    #[must_use]
    pub fn to_payload(&self) -> Vec<u8> {
        let mut fields = FieldsWriter::new(TITLE).text("state", state_name(self.state()));
        if let Some(found) = &self.discipline {
            fields = fields
                .text("offset-ns", &found.offset_ns.to_string())
                .number("max-error-ns", found.max_error_ns)
                .text("leap", leap_name(found.leap));
        }
        fields
            .text("step-ns", &self.step_ns.to_string())
            .number("tolerance-ns", self.tolerance_ns)
            .text("breach", yes_or_no(self.breach().is_some()))
            .finish()
            .into_bytes()
    }

    /// Reads the payload of a CLOCK entry; `None` when it is not one, or its verdict is not what its numbers say.
    #[must_use]
    pub fn from_payload(payload: &[u8]) -> Option<Self> {
        let mut fields = FieldsReader::new(std::str::from_utf8(payload).ok()?, TITLE)?;
        let synchronised = match fields.text("state")? {
            "synchronised" => Some(true),
            "unsynchronised" => Some(false),
            "unknown" => None,
            _ => return None,
        };
        let discipline = match synchronised {
            None => None,
            Some(synchronised) => Some(Discipline {
                synchronised,
                offset_ns: fields.signed("offset-ns")?,
                max_error_ns: fields.number("max-error-ns")?,
                leap: leap_of(fields.text("leap")?)?,
            }),
        };
        let step_ns = fields.signed("step-ns")?;
        let evidence = Self { discipline, step_ns, tolerance_ns: fields.number("tolerance-ns")? };
        let breach = fields.text("breach")?;
        fields.finish()?;
        (breach == yes_or_no(evidence.breach().is_some())).then_some(evidence)
    }
}

const LEAPS: [(Leap, &str); 4] = [
    (Leap::None, "none"),
    (Leap::Insert, "insert"),
    (Leap::Delete, "delete"),
    (Leap::InProgress, "in-progress"),
];

/// The word for a state of synchronisation.
const fn state_name(state: ClockState) -> &'static str {
    match state {
        ClockState::Unknown => "unknown",
        ClockState::Synchronised => "synchronised",
        ClockState::Unsynchronised => "unsynchronised",
    }
}

fn leap_name(leap: Leap) -> &'static str {
    LEAPS.iter().find(|(of, _)| *of == leap).map_or("none", |(_, name)| name)
}

fn leap_of(name: &str) -> Option<Leap> {
    LEAPS.iter().find(|(_, of)| *of == name).map(|(leap, _)| *leap)
}

const fn yes_or_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn evidence(offset_ns: i64, max_error_ns: u64, step_ns: i64) -> ClockEvidence {
        let discipline = Discipline { synchronised: true, offset_ns, max_error_ns, leap: Leap::None };
        ClockEvidence { discipline: Some(discipline), step_ns, tolerance_ns: 1_000 }
    }

    #[test]
    fn the_tolerance_itself_is_kept_and_one_nanosecond_more_is_not() {
        assert_eq!(evidence(0, 1_000, 0).breach(), None);
        assert_eq!(evidence(0, 1_001, 0).breach(), Some(Breach::Error));
        assert_eq!(evidence(-400, 600, 0).breach(), None);
        assert_eq!(evidence(-401, 600, 0).breach(), Some(Breach::Error));
        assert_eq!(evidence(401, 600, 0).breach(), Some(Breach::Error));
        for step in [1_000, -1_000] {
            assert_eq!(evidence(0, 0, step).breach(), None);
            assert_eq!(evidence(0, 0, step + step.signum()).breach(), Some(Breach::Step));
        }
        assert_eq!(evidence(i64::MIN, u64::MAX, i64::MIN).breach(), Some(Breach::Step));
    }

    #[test]
    fn a_clock_that_nobody_vouches_for_keeps_no_tolerance() {
        let unknown = ClockEvidence { discipline: None, step_ns: 0, tolerance_ns: u64::MAX };
        assert_eq!(unknown.breach(), Some(Breach::Unknown));
        let mut free = evidence(0, 0, 0);
        free.discipline.as_mut().unwrap().synchronised = false;
        assert_eq!(free.breach(), Some(Breach::Unsynchronised));
    }

    #[test]
    fn the_payload_is_what_the_document_says() {
        let mut found = evidence(-1_500, 250_000, 0);
        assert_eq!(
            String::from_utf8(found.to_payload()).unwrap(),
            "sealfeed/v1 clock\nstate synchronised\noffset-ns -1500\nmax-error-ns 250000\nleap none\nstep-ns 0\n\
             tolerance-ns 1000\nbreach yes\n"
        );
        found.discipline = None;
        let unknown = "sealfeed/v1 clock\nstate unknown\nstep-ns 0\ntolerance-ns 1000\nbreach yes\n";
        assert_eq!(found.to_payload(), unknown.as_bytes());
        for wrong in [
            unknown.replace("breach yes", "breach no"),
            unknown.replace("unknown", "fine"),
            unknown.replace("step-ns 0", "step-ns -0"),
            unknown.replace("step-ns 0", "step-ns +1"),
            unknown.replace("step-ns 0", "step-ns 9223372036854775808"),
            unknown.replace("tolerance-ns 1000\n", ""),
            format!("{unknown}\n"),
        ] {
            assert_eq!(ClockEvidence::from_payload(wrong.as_bytes()), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn every_payload_reads_back(
            found: Option<(bool, i64, u64, u8)>, step_ns: i64, tolerance_ns: u64,
        ) {
            let discipline = found.map(|(synchronised, offset_ns, max_error_ns, leap)| {
                let leap = LEAPS[usize::from(leap) % LEAPS.len()].0;
                Discipline { synchronised, offset_ns, max_error_ns, leap }
            });
            let evidence = ClockEvidence { discipline, step_ns, tolerance_ns };
            prop_assert_eq!(ClockEvidence::from_payload(&evidence.to_payload()), Some(evidence));
        }
    }
}
