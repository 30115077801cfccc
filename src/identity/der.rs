//! The frame of DER: one element after the other. Only for asking whether a reader read all there was.

/// The first element of `bytes`: its tag, its content, and what stands behind it. `None` if there is no whole element with a tag of
/// one byte and a length of at most three.
pub(super) fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, length, rest) = match bytes {
        [tag, length @ 0..=0x7f, rest @ ..] => (tag, usize::from(*length), rest),
        [tag, 0x81, length, rest @ ..] => (tag, usize::from(*length), rest),
        [tag, 0x82, high, low, rest @ ..] => (tag, usize::from(*high) << 8 | usize::from(*low), rest),
        _ => return None,
    };
    let (content, behind) = rest.split_at_checked(length)?;
    Some((*tag, content, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_is_split_from_what_stands_behind_it() {
        assert_eq!(element(&[0x30, 1, 7, 8]), Some((0x30, &[7][..], &[8][..])));
        assert_eq!(element(&[4, 0x81, 1, 7]), Some((4, &[7][..], &[][..])));
        assert_eq!(element(&[4, 0x82, 0, 1, 7]), Some((4, &[7][..], &[][..])));
    }

    #[test]
    fn what_is_no_whole_element_is_none() {
        for bytes in [
            &[][..],
            &[0x30],
            &[0x30, 2, 1],
            &[0x30, 0x80, 0, 0],
            &[0x30, 0x82, 1],
            &[0x30, 0x83, 0, 0, 1, 7],
        ] {
            assert_eq!(element(bytes), None, "{bytes:?}");
        }
    }
}
