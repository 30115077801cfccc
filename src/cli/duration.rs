//! Lengths of time on the command line, such as `90s`.

use std::time::Duration;

/// Longest that is taken: 366 days.
const SECONDS_MAX: u64 = 366 * 24 * 60 * 60;

/// Reads `500ms`, `90s`, `15m` or `8h`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || "not a length of time such as 500ms, 90s, 15m or 8h, up to 366 days".to_owned();
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let factor_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    let milliseconds = number.checked_mul(factor_ms).filter(|length| *length <= SECONDS_MAX * 1_000);
    match milliseconds {
        Some(milliseconds) if milliseconds > 0 => Ok(Duration::from_millis(milliseconds)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read_and_what_is_none_is_refused() {
        for (text, milliseconds) in [("1ms", 1), ("90s", 90_000), ("15m", 900_000), ("8784h", 31_622_400_000)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for wrong in ["", "s", "5", "0s", "-1s", "1.5s", "1 s", "1d", "8785h", "99999999999999999999s"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
