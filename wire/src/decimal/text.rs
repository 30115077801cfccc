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

/// Reads one number and keeps how many decimals it was written with.
pub(super) fn parse<T: Nanos>(text: &str) -> Result<Scaled<T>, DecimalError> {
    let bytes = text.as_bytes();
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
