//! When a rule holds: `valid_from` and `valid_to`, in UTC.
//!
//! A date stands for its whole day: a rule begins with the first instant of `valid_from` and ends with the last one of `valid_to`. A
//! date-time stands for that instant; the rule begins with it and has ended at it. A time without its distance from UTC is refused: nobody can say when it is.

use serde::Deserialize;
use time::{Date, Duration, Month, PrimitiveDateTime, Time, UtcOffset};
use toml::value::{Datetime, Offset};

use crate::types::UnixNanos;

/// From the first instant up to the second one, which is outside; `None`: no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dates {
    pub(super) from: Option<UnixNanos>,
    pub(super) to: Option<UnixNanos>,
}

impl Dates {
    pub(super) fn from_text(from: Option<&ValidFrom>, to: Option<&ValidTo>) -> Self {
        Self { from: from.map(|from| from.0), to: to.map(|to| to.0) }
    }

    /// Whether there is an instant inside.
    pub(super) fn are_possible(self) -> bool {
        self.from.zip(self.to).is_none_or(|(from, to)| from < to)
    }

    pub(super) fn cover(self, now: UnixNanos) -> bool {
        self.from.is_none_or(|from| from <= now) && self.to.is_none_or(|to| now < to)
    }

    /// The next instant after `now` at which [`Dates::cover`] says something else.
    pub(super) fn next_change(self, now: UnixNanos) -> Option<UnixNanos> {
        [self.from, self.to].into_iter().flatten().filter(|instant| *instant > now).min()
    }

    /// Whether there is an instant inside both.
    pub(super) fn meet(self, other: Self) -> bool {
        let from = self.from.max(other.from);
        let to = [self.to, other.to].into_iter().flatten().min();
        Self { from, to }.are_possible()
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "Datetime")]
pub(super) struct ValidFrom(pub(super) UnixNanos);

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "Datetime")]
pub(super) struct ValidTo(pub(super) UnixNanos);

impl TryFrom<Datetime> for ValidFrom {
    type Error = String;

    fn try_from(text: Datetime) -> Result<Self, String> {
        instant(text, Duration::ZERO).map(Self)
    }
}

impl TryFrom<Datetime> for ValidTo {
    type Error = String;

    fn try_from(text: Datetime) -> Result<Self, String> {
        instant(text, Duration::DAY).map(Self)
    }
}

/// The instant that a date (its midnight and `of_date` more) or a date-time stands for.
fn instant(text: Datetime, of_date: Duration) -> Result<UnixNanos, String> {
    let no_instant = || format!("{text} is no instant of the calendar from 1970 on");
    let Some(date) = text.date else {
        return Err(format!("{text} is a time without a date: write 2026-12-31 or 2026-12-31T16:00:00Z"));
    };
    let day = Month::try_from(date.month)
        .and_then(|month| Date::from_calendar_date(i32::from(date.year), month, date.day))
        .map_err(|_| no_instant())?;
    let (time, offset) = match (text.time, text.offset) {
        (None, _) => (day.midnight().checked_add(of_date), UtcOffset::UTC),
        (Some(_), None) => {
            return Err(format!("{text} does not say in which time zone: put Z behind it for UTC"));
        }
        (Some(time), Some(offset)) => {
            let (second, nanosecond) = (time.second.unwrap_or(0), time.nanosecond.unwrap_or(0));
            let time =
                Time::from_hms_nano(time.hour, time.minute, second, nanosecond).map_err(|_| no_instant())?;
            let minutes = match offset {
                Offset::Z => 0,
                Offset::Custom { minutes } => minutes,
            };
            let offset = UtcOffset::from_whole_seconds(i32::from(minutes) * 60).map_err(|_| no_instant())?;
            (Some(PrimitiveDateTime::new(day, time)), offset)
        }
    };
    let instant = time.ok_or_else(no_instant)?.assume_offset(offset).unix_timestamp_nanos();
    u64::try_from(instant).map(UnixNanos).map_err(|_| no_instant())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Both {
        from: ValidFrom,
        to: ValidTo,
    }

    fn read(text: &str) -> Result<(u64, u64), String> {
        let both: Both =
            toml::from_str(&format!("from = {text}\nto = {text}\n")).map_err(|e| e.to_string())?;
        Ok((both.from.0.0 / 1_000_000_000, both.to.0.0 / 1_000_000_000))
    }

    #[test]
    fn a_date_is_its_whole_day_and_a_date_time_is_its_instant() {
        let day = 1_767_225_600; // 2026-01-01
        assert_eq!(read("2026-01-01"), Ok((day, day + 86_400)));
        assert_eq!(read("2026-01-01T16:30:00Z"), Ok((day + 59_400, day + 59_400)));
        assert_eq!(read("2026-01-01T16:30:00+01:00"), Ok((day + 55_800, day + 55_800)));
        assert_eq!(read("1970-01-01"), Ok((0, 86_400)));
    }

    #[test]
    fn a_time_that_nobody_can_place_is_refused() {
        for (text, expected) in [
            ("2026-01-01T16:30:00", "in which time zone"),
            ("16:30:00", "without a date"),
            ("1969-12-31", "no instant of the calendar"),
            ("9999-12-31", "no instant of the calendar"),
            ("2026-02-30", ""),
            ("2026-01-01T23:59:60Z", ""),
            ("\"2026-01-01\"", "invalid type"),
            ("20260101", "invalid type"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn dates_change_when_they_begin_and_when_they_have_ended() {
        let at = UnixNanos;
        let dates = Dates { from: Some(at(10)), to: Some(at(20)) };
        assert_eq!([9, 10, 19, 20].map(|now| dates.cover(at(now))), [false, true, true, false]);
        let next = |now| dates.next_change(at(now)).map(|instant| instant.0);
        assert_eq!([9, 10, 19, 20].map(next), [Some(10), Some(20), Some(20), None]);
        assert!(Dates::default().cover(at(0)) && Dates::default().next_change(at(0)).is_none());
        assert!(!Dates { from: Some(at(5)), to: Some(at(5)) }.are_possible());
        assert!(!dates.meet(Dates { from: Some(at(20)), to: None }));
        assert!(dates.meet(Dates { from: Some(at(19)), to: None }) && dates.meet(Dates::default()));
    }
}
