//! Text from elsewhere on its way to a terminal: nothing in it moves the cursor, colours, hides, or runs backwards.
//!
//! JSON needs this too: it escapes what stands below the space, and leaves DEL, the control characters of ISO 8859-1 (one of which is
//! as good as ESC) and the marks that turn the direction of text as they are. None of them can stand outside a JSON string, so the
//! escape of JSON serves for both.

use std::borrow::Cow;
use std::fmt::Write as _;

/// `text` with every character escaped as JSON does (`\u009b`) that a terminal would obey, or that nobody would see. What comes out
/// stands on one line.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    escaped(text, is_steering)
}

/// The same, of a text whose lines are our own: they stay.
pub(super) fn plain_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |character| character != '\n' && is_steering(character))
}

fn escaped(text: &str, is_steering: fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(is_steering) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_steering(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

/// Control characters; and of the format characters (Unicode, general category Cf) those that reorder, join or hide.
fn is_steering(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_is_left_and_json_says_the_same() {
        let hostile = "a\u{7f}\u{9b}31m\u{202e}b\u{200b}\u{e0041}\u{feff}é<script>${x}";
        assert_eq!(
            plain_lines(&format!("{hostile}\u{1b}[2J\r\n")),
            "a\\u007f\\u009b31m\\u202eb\\u200b\\udb40\\udc41\\ufeffé<script>${x}\\u001b[2J\\u000d\n"
        );
        let json = serde_json::to_string(hostile).unwrap();
        assert_ne!(plain(&json), json);
        assert_eq!(serde_json::from_str::<String>(&plain(&json)).unwrap(), hostile);
    }

    #[test]
    fn what_steers_nothing_is_not_copied() {
        assert!(matches!(plain("{\"a\":\"é 語 €\"}"), Cow::Borrowed(_)));
        assert_eq!((plain("a\nb"), plain_lines("a\nb")), ("a\\u000ab".into(), "a\nb".into()));
    }
}
