//! `[log.retention]`: how long the sealed log is kept.

use serde::Deserialize;

/// Nanoseconds in a day.
const DAY_NS: u64 = 24 * 60 * 60 * 1_000_000_000;
/// Longest time that can be asked for, in days: two hundred years.
const DAYS_MAX: u64 = 200 * 366;

/// `[log.retention]`. Nothing leaves the log by itself: `sealfeed audit prune` applies this.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionConfig {
    /// How long entries are kept that no class names.
    pub keep: Keep,
    /// Only what was copied elsewhere may leave.
    pub require_stored: bool,
    /// Kinds that are kept for another time.
    #[serde(rename = "class")]
    pub classes: Vec<RetentionClassConfig>,
}

impl Default for RetentionConfig {
    fn default() -> Self {
        // SEC rule 17a-4 and FINRA rule 4511(b): six years where no other time is named.
        Self { keep: Keep(6 * 366 * DAY_NS), require_stored: false, classes: Vec::new() }
    }
}

/// `[[log.retention.class]]`: a segment that holds any of these kinds is kept at least so long.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionClassConfig {
    /// Kinds of entries by name, such as `order`.
    pub kinds: Vec<String>,
    /// How long.
    pub keep: Keep,
}

/// A time such as `6 years`, in nanoseconds. A year counts 366 days and a month 31: never less than was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Keep(pub u64);

impl TryFrom<String> for Keep {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is no time to keep; write \"6 years\", \"18 months\" or \"90 days\"");
        let (count, unit) = text.split_once(' ').ok_or_else(wrong)?;
        let count: u64 = count.parse().map_err(|_| wrong())?;
        let days = match unit {
            "day" | "days" => 1,
            "month" | "months" => 31,
            "year" | "years" => 366,
            _ => return Err(wrong()),
        };
        let days = count.saturating_mul(days);
        if (1..=DAYS_MAX).contains(&days) {
            Ok(Self(days * DAY_NS))
        } else {
            Err(format!("{text:?}: allowed is 1 day to 200 years"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_what_is_none_is_refused() {
        let check = |text: &str| Keep::try_from(text.to_owned()).map(|keep| keep.0 / DAY_NS);
        assert_eq!(check("6 years"), Ok(6 * 366));
        assert_eq!(check("1 month"), Ok(31));
        assert_eq!(check("90 days"), Ok(90));
        for wrong in
            ["", "6", "years", "6 Years", "0 days", "201 years", "-1 days", "99999999999999999999 days"]
        {
            assert!(check(wrong).is_err(), "{wrong}");
        }
        let config: RetentionConfig = toml::from_str(
            "keep = \"7 years\"\nrequire_stored = true\n[[class]]\nkinds = [\"order\"]\nkeep = \"10 years\"",
        )
        .unwrap();
        assert_eq!((config.keep.0 / DAY_NS, config.classes[0].keep.0 / DAY_NS), (7 * 366, 10 * 366));
        assert!(toml::from_str::<RetentionConfig>("keep = 6").is_err());
    }
}
