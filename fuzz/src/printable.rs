//! What may go to a log or a terminal as it stands.

/// Panics unless `text` is printable ASCII, and no longer than `bytes_max`.
pub(crate) fn assert_printable(text: &str, bytes_max: usize) {
    assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "not printable ASCII: {text:?}");
    assert!(text.len() <= bytes_max, "{} bytes, more than {bytes_max}: {text:?}", text.len());
}
