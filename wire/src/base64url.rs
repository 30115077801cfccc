//! Base64url without padding (RFC 4648 section 5), for signatures of 64 bytes and nothing else.
//!
//! One spelling of every value, as with hexadecimal text: exactly 86 characters of `A-Z a-z 0-9 - _`, and the four bits
//! that the last of them has to spare are zero.

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Characters of 64 bytes: 85 whole digits, and one with two bits.
const CHARACTERS: usize = 86;

/// Marks a byte that is no digit in [`VALUES`].
const NOT_A_DIGIT: u8 = 0xff;

const VALUES: [u8; 256] = {
    let mut values = [NOT_A_DIGIT; 256];
    let mut value: u8 = 0;
    while value < 64 {
        values[DIGITS[value as usize] as usize] = value;
        value += 1;
    }
    values
};

/// Reads 64 bytes; `None` for anything that [`encode`] does not write.
#[must_use]
pub fn decode(text: &str) -> Option<[u8; 64]> {
    if text.len() != CHARACTERS {
        return None;
    }
    let mut bytes = [0; 64];
    let mut next = bytes.iter_mut();
    let (mut held, mut held_bits) = (0_u32, 0);
    for character in text.bytes() {
        let value = VALUES[usize::from(character)];
        if value == NOT_A_DIGIT {
            return None;
        }
        held = held << 6 | u32::from(value);
        held_bits += 6;
        if held_bits >= 8 {
            held_bits -= 8;
            *next.next()? = (held >> held_bits & 0xff) as u8;
            held &= (1 << held_bits) - 1;
        }
    }
    (held == 0).then_some(bytes)
}

/// The 86 characters of 64 bytes.
#[must_use]
pub fn encode(bytes: &[u8; 64]) -> String {
    let mut text = String::with_capacity(CHARACTERS);
    for group in bytes.chunks(3) {
        let mut held = 0;
        for index in 0..3 {
            held = held << 8 | u32::from(group.get(index).copied().unwrap_or(0));
        }
        for index in 0..=group.len() {
            text.push(char::from(DIGITS[(held >> (18 - 6 * index) & 0x3f) as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_text_is_that_of_another_encoder() {
        let mut bytes = [0; 64];
        for (byte, value) in bytes.iter_mut().zip((0..=255).step_by(4)) {
            *byte = value;
        }
        // Python: base64.urlsafe_b64encode(bytes(range(0, 256, 4))).rstrip(b"=")
        let text = "AAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAhIiMkJSYnKCkqKywtLi8wMTIzNDU2Nzg5Ojs8PT4_A";
        assert_eq!(encode(&bytes), text);
        assert_eq!(decode(text), Some(bytes));
    }

    #[test]
    fn another_spelling_is_refused() {
        let good = encode(&[0xff; 64]);
        assert!(good.ends_with("_w"), "{good}");
        assert_eq!(decode(&good), Some([0xff; 64]));
        for bad in [
            good.replace("_w", "_x"),
            good.replace("_w", "_w="),
            good.replace("_w", "_w=="),
            good.replacen('_', "/", 1),
            good.replacen('_', " ", 1),
            good[1..].to_owned(),
            String::new(),
        ] {
            assert_eq!(decode(&bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_value_has_one_text(bytes in prop::collection::vec(any::<u8>(), 64), at in 0_usize..86, other: u8) {
            let bytes: [u8; 64] = bytes.try_into().unwrap();
            let text = encode(&bytes);
            prop_assert_eq!(decode(&text), Some(bytes));
            let mut changed = text.clone().into_bytes();
            changed[at] = other & 0x7f;
            let changed = String::from_utf8(changed).unwrap();
            if changed != text {
                prop_assert_ne!(decode(&changed), Some(bytes));
            }
        }
    }
}
