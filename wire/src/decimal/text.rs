//! Reading and writing decimal texts. One grammar: `-?(0|[1-9][0-9]*)(\.[0-9]{1,9})?`, and no `-0`.

use super::{DECIMALS_MAX, Decimals, NANOS_PER_UNIT, Nanos, Scaled};

/// Powers of ten up to the scale of a nano-unit.
const POWERS: [u64; 10] =
    [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000];

/// Longest text that can be a number in range: sign, eleven digits, point, nine decimals.
const TEXT_BYTES_MAX: usize = 22;

/// Why a text is not a number, or not one that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    /// No digits at all.
    #[error("the number is empty")]
    Empty,
    /// A sign where none may stand: `+` anywhere, `-` in front of a quantity or of zero.
    #[error("the number has a sign that is not allowed")]
    Sign,
    /// A zero in front of another digit of the whole part.
    #[error("the number has a leading zero")]
    LeadingZero,
    /// `.5` or `5.`: the point needs a digit on both sides.
    #[error("the decimal point lacks a digit on one side")]
    BarePoint,
    /// Anything else than digits and one point: exponents, spaces, separators.
    #[error("the number contains something else than digits and one point")]
    Character,
    /// More decimals than the instrument has, or than nine.
    #[error("the number has {got} decimals, at most {max} are allowed")]
    TooManyDecimals {
        /// Decimals found.
        got: usize,
        /// Decimals allowed.
        max: u8,
    },
    /// Too large for the type.
    #[error("the number is out of range")]
    OutOfRange,
}

/// Most bytes of a text without sign whose digits certainly fit 64 bits as nano-units: nine before the point.
const PLAIN_BYTES_MAX: usize = 19;

/// Reads one number and keeps how many decimals it was written with.
#[inline]
pub(super) fn parse<T: Nanos>(text: &str) -> Result<Scaled<T>, DecimalError> {
    match parse_plain(text.as_bytes()) {
        Some(scaled) => Ok(scaled),
        None => parse_strictly(text.as_bytes()),
    }
}

/// The quick way through a number as nearly all are: no sign, at most nine digits before the point. Whatever else it meets, right or
/// wrong, it gives up, and the strict reader judges; a test holds it to what that one finds.
#[inline]
fn parse_plain<T: Nanos>(bytes: &[u8]) -> Option<Scaled<T>> {
    if bytes.len() > PLAIN_BYTES_MAX {
        return None;
    }
    let (mut number, mut point) = (0_u64, None);
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'0'..=b'9' => number = number * 10 + u64::from(byte - b'0'),
            b'.' if point.is_none() => point = Some(at),
            _ => return None,
        }
    }
    let whole = point.unwrap_or(bytes.len());
    let has_leading_zero = bytes.first() == Some(&b'0') && whole > 1;
    if !(1..=9).contains(&whole) || has_leading_zero || point == Some(bytes.len() - 1) {
        return None;
    }
    let decimals = Decimals::new(u8::try_from(bytes.len() - (whole + 1).min(bytes.len())).ok()?)?;
    let magnitude = number * POWERS[usize::from(DECIMALS_MAX - decimals.get())];
    Some(Scaled { value: T::from_parts(false, magnitude)?, decimals })
}

fn parse_strictly<T: Nanos>(bytes: &[u8]) -> Result<Scaled<T>, DecimalError> {
    let (is_negative, digits) = match bytes {
        [] => return Err(DecimalError::Empty),
        [b'-', rest @ ..] => (true, rest),
        [b'+', ..] => return Err(DecimalError::Sign),
        all => (false, all),
    };
    if is_negative && T::from_parts(true, 1).is_none() {
        return Err(DecimalError::Sign);
    }
    if let Some(wrong) = digits.iter().find(|byte| !byte.is_ascii_digit() && **byte != b'.') {
        return Err(if matches!(wrong, b'-' | b'+') { DecimalError::Sign } else { DecimalError::Character });
    }
    let (whole, fraction) = match digits.iter().position(|byte| *byte == b'.') {
        Some(point) => (&digits[..point], Some(&digits[point + 1..])),
        None => (digits, None),
    };
    match whole {
        [] if fraction.is_none() => return Err(DecimalError::Empty),
        [] => return Err(DecimalError::BarePoint),
        [b'0', _, ..] => return Err(DecimalError::LeadingZero),
        _ => {}
    }
    let fraction = match fraction {
        None => &[][..],
        Some([]) => return Err(DecimalError::BarePoint),
        Some(fraction) if fraction.contains(&b'.') => return Err(DecimalError::Character),
        Some(fraction) => fraction,
    };
    let decimals = u8::try_from(fraction.len())
        .ok()
        .and_then(Decimals::new)
        .ok_or(DecimalError::TooManyDecimals { got: fraction.len(), max: DECIMALS_MAX })?;
    if bytes.len() > TEXT_BYTES_MAX {
        return Err(DecimalError::OutOfRange);
    }
    let magnitude = magnitude(whole, fraction).ok_or(DecimalError::OutOfRange)?;
    if is_negative && magnitude == 0 {
        return Err(DecimalError::Sign);
    }
    let value = T::from_parts(is_negative, magnitude).ok_or(DecimalError::OutOfRange)?;
    Ok(Scaled { value, decimals })
}

/// Nano-units of a whole part and at most nine decimals, both digits only.
fn magnitude(whole: &[u8], fraction: &[u8]) -> Option<u64> {
    let mut units: u64 = 0;
    for digit in whole {
        units = units.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
    }
    let mut parts: u64 = 0;
    for digit in fraction {
        parts = parts * 10 + u64::from(digit - b'0');
    }
    let parts = parts * POWERS[usize::from(DECIMALS_MAX) - fraction.len()];
    units.checked_mul(NANOS_PER_UNIT)?.checked_add(parts)
}

/// How many decimals the value needs at least.
pub(super) fn decimals_needed(magnitude: u64) -> Decimals {
    let mut rest = magnitude % NANOS_PER_UNIT;
    let mut decimals = if rest == 0 { 0 } else { DECIMALS_MAX };
    while rest != 0 && rest.is_multiple_of(10) {
        rest /= 10;
        decimals -= 1;
    }
    Decimals::new(decimals).unwrap_or(Decimals::MAX)
}

/// Appends a number with exactly `decimals` places.
///
/// A value that does not fit them is a mistake of the caller (the instrument's decimals are wrong). It is
/// printed in full, because a wrong number of places is seen and a lost digit is not.
pub(super) fn write_decimal(out: &mut Vec<u8>, is_negative: bool, magnitude: u64, decimals: Decimals) {
    let mut places = usize::from(decimals.get());
    let mut power = POWERS[usize::from(DECIMALS_MAX) - places];
    if !magnitude.is_multiple_of(power) {
        debug_assert!(false, "{magnitude} nano-units do not fit {places} decimals");
        places = usize::from(DECIMALS_MAX);
        power = 1;
    }
    let mut digits = magnitude / power;
    let mut buffer = [b'0'; TEXT_BYTES_MAX + 1];
    let mut start = buffer.len();
    if places > 0 {
        for _ in 0..places {
            start -= 1;
            buffer[start] = digit(digits);
            digits /= 10;
        }
        start -= 1;
        buffer[start] = b'.';
    }
    loop {
        start -= 1;
        buffer[start] = digit(digits);
        digits /= 10;
        if digits == 0 {
            break;
        }
    }
    if is_negative {
        start -= 1;
        buffer[start] = b'-';
    }
    out.extend_from_slice(&buffer[start..]);
}

/// Appends the digits of the number at `decimals` places without point and leading zeros: nothing for zero.
pub(crate) fn write_digits(out: &mut Vec<u8>, is_negative: bool, magnitude: u64, decimals: Decimals) {
    let power = POWERS[usize::from(DECIMALS_MAX - decimals.get())];
    debug_assert!(magnitude.is_multiple_of(power), "{magnitude} nano-units do not fit the decimals");
    if is_negative {
        out.push(b'-');
    }
    if magnitude >= power {
        write_integer(out, magnitude / power);
    }
}

/// Appends an unsigned integer in decimal digits.
pub(crate) fn write_integer(out: &mut Vec<u8>, mut value: u64) {
    let mut buffer = [0; 20];
    let mut start = buffer.len();
    loop {
        start -= 1;
        buffer[start] = digit(value);
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&buffer[start..]);
}

/// The last decimal digit of `value`.
fn digit(value: u64) -> u8 {
    b'0' + (value % 10) as u8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Price, Quantity};
    use super::*;

    /// If the quick way has an answer, it is the strict reader's; returns whether it had one.
    fn check<T: Nanos + PartialEq + std::fmt::Debug>(text: &str) -> bool {
        let quick = parse_plain::<T>(text.as_bytes());
        if let Some(quick) = quick {
            assert_eq!(parse_strictly(text.as_bytes()), Ok(quick), "{text:?}");
        }
        quick.is_some()
    }

    #[test]
    fn what_clients_write_is_plain() {
        for text in ["0", "3", "4783.25", "0.5", "1.000000000", "999999999.999999999", "100", "0.0"] {
            assert!(check::<Price>(text) && check::<Quantity>(text), "{text:?}");
        }
    }

    #[test]
    fn whatever_is_not_plain_is_left_to_the_strict_reader() {
        let wrong = [
            "",
            ".",
            "-",
            "1.",
            ".5",
            "00",
            "01",
            "1.0000000000",
            "1..2",
            "1.2.3",
            "+1",
            "1e2",
            " 1",
            "1 ",
            "é",
        ];
        let large =
            ["-1", "1000000000", "1000000000.000000000", "9999999999999999999", "18446744073709551616"];
        for text in wrong.into_iter().chain(large) {
            assert!(!check::<Price>(text) && !check::<Quantity>(text), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn it_finds_what_the_strict_reader_finds_or_nothing(text in "-?[0-9]{0,12}[.]?[0-9]{0,12}[.eE 0-9-]{0,2}") {
            check::<Price>(&text);
            check::<Quantity>(&text);
        }

        #[test]
        fn every_number_of_at_most_nine_digits_and_nine_decimals_is_plain(text in "(0|[1-9][0-9]{0,8})([.][0-9]{1,9})?") {
            prop_assert!(check::<Price>(&text));
            prop_assert!(check::<Quantity>(&text));
        }
    }
}
