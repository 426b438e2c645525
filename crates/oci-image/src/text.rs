//! Makes texts of an image fit for an error: short, and without characters that control a terminal.

/// The most characters of a text that an error repeats.
const LENGTH: usize = 200;

/// The text without control characters, and cut after some 200 characters.
pub(crate) fn clean(text: &str) -> String {
    let mut clean = String::new();
    for (index, c) in text.chars().enumerate() {
        if index == LENGTH {
            clean.push('…');
            break;
        }
        if is_unfit(c) {
            clean.extend(c.escape_unicode());
        } else {
            clean.push(c);
        }
    }
    clean
}

/// The same of bytes, such as the name of a file.
pub(crate) fn clean_bytes(bytes: &[u8]) -> String {
    // A character has at most four bytes; the rest would be cut off anyway.
    clean(&String::from_utf8_lossy(&bytes[..bytes.len().min(4 * (LENGTH + 1))]))
}

/// Control characters, and those that change the direction of a text (Unicode standard annex 9).
fn is_unfit(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_short_and_cannot_control_a_terminal() {
        assert_eq!(clean("usr/bin/käse"), "usr/bin/käse");
        assert_eq!(clean("a\u{1b}[2J\nb\u{202e}"), r"a\u{1b}[2J\u{a}b\u{202e}");
        assert!(clean(&"x".repeat(1_000_000)).len() < 300);
        assert!(clean_bytes(&vec![0xff; 1_000_000]).chars().count() < 300);
    }
}
