//! Lower-case hexadecimal text for identifiers, keys and digests.
//!
//! The wire knows one spelling of every byte string: upper case is refused, so that two texts which differ
//! never mean the same bytes. No allocation; lengths are known to the compiler.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// What no digit has as its value.
const NOT_A_DIGIT: u8 = 0xff;

/// Why a text is not the hexadecimal form of `N` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HexError {
    /// The text has another length than twice the number of bytes.
    #[error("expected {expected} hexadecimal digits, got {got} bytes")]
    Length {
        /// Digits wanted.
        expected: usize,
        /// Bytes found.
        got: usize,
    },
    /// A byte is no digit `0-9` or `a-f`.
    #[error("byte {position} is not a lower-case hexadecimal digit")]
    Digit {
        /// Position of the first wrong byte, from 0.
        position: usize,
    },
}

/// Reads exactly `N` bytes from `2 * N` lower-case digits.
///
/// # Errors
/// [`HexError`] for another length, an upper-case digit or anything that is no digit.
pub fn decode<const N: usize>(text: &str) -> Result<[u8; N], HexError> {
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return Err(HexError::Length { expected: 2 * N, got: text.len() });
    }
    let mut bytes = [0; N];
    let mut wrong = 0;
    // Eight bytes at a time without a look-up: the compiler makes vector instructions of it.
    let (eights, rest) = bytes.as_chunks_mut::<8>();
    let (sixteens, digits) = text.as_chunks::<16>();
    for (eight, sixteen) in eights.iter_mut().zip(sixteens) {
        let values = sixteen.map(value);
        wrong |= values.iter().fold(0, |all, value| all | value);
        for (byte, pair) in eight.iter_mut().zip(values.as_chunks::<2>().0) {
            *byte = pair[0] << 4 | (pair[1] & 0x0f);
        }
    }
    for (byte, pair) in rest.iter_mut().zip(digits.as_chunks::<2>().0) {
        let (high, low) = (value(pair[0]), value(pair[1]));
        wrong |= high | low;
        *byte = high << 4 | (low & 0x0f);
    }
    if wrong > 0x0f {
        let position = text.iter().position(|byte| value(*byte) == NOT_A_DIGIT);
        return Err(HexError::Digit { position: position.unwrap_or_default() });
    }
    Ok(bytes)
}

/// The value of a byte as a lower-case hexadecimal digit, or [`NOT_A_DIGIT`].
const fn value(byte: u8) -> u8 {
    let (digit, letter) = (byte.wrapping_sub(b'0'), byte.wrapping_sub(b'a'));
    if digit < 10 {
        digit
    } else if letter < 6 {
        letter + 10
    } else {
        NOT_A_DIGIT
    }
}

/// Appends the digits of `bytes` to `out`.
pub fn write(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(2 * bytes.len());
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 0x0f)]);
    }
}

/// The digits of `bytes`.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let mut digits = Vec::new();
    write(&mut digits, bytes);
    // Digits are ASCII, so the fallback is never taken.
    String::from_utf8(digits).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives_the_round_trip() {
        let all: Vec<u8> = (0..=255).collect();
        let text = encode(&all);
        let mut written = Vec::new();
        write(&mut written, &all);
        assert_eq!(written, text.as_bytes());
        assert_eq!(decode::<256>(&text).unwrap().as_slice(), all);
    }

    #[test]
    fn upper_case_is_refused() {
        assert_eq!(decode::<2>("00aB"), Err(HexError::Digit { position: 3 }));
    }

    #[test]
    fn every_other_byte_is_refused_wherever_it_stands() {
        let good = encode(&[0x5a; 20]);
        for position in 0..good.len() {
            for other in 0..=127_u8 {
                let is_digit = matches!(other, b'0'..=b'9' | b'a'..=b'f');
                let mut text = good.clone();
                text.replace_range(position..=position, char::from(other).encode_utf8(&mut [0; 4]));
                let expected = if is_digit { Ok(()) } else { Err(HexError::Digit { position }) };
                assert_eq!(decode::<20>(&text).map(drop), expected, "{text:?}");
            }
        }
    }

    #[test]
    fn other_characters_and_lengths_are_refused() {
        assert_eq!(decode::<2>("0g00"), Err(HexError::Digit { position: 1 }));
        assert_eq!(decode::<2>("é00"), Err(HexError::Digit { position: 0 }));
        assert_eq!(decode::<2>("000"), Err(HexError::Length { expected: 4, got: 3 }));
        assert_eq!(decode::<2>(""), Err(HexError::Length { expected: 4, got: 0 }));
    }
}
