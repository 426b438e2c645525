//! Text that came from outside, and numbers, as people read them.

use std::fmt::Write as _;

/// Longest text from outside that is shown whole, in characters.
const LONGEST: usize = 400;

/// Text from outside without what would change how the text around it is shown (control characters, marks that turn the
/// direction of writing), and of limited length. Markup is escaped when it is written.
pub fn clean(text: &str) -> String {
    let mut cleaned: String = text
        .chars()
        .take(LONGEST)
        .map(|character| if is_disruptive(character) { '\u{fffd}' } else { character })
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        cleaned.push('…');
    }
    cleaned
}

/// Text from outside of any length without what would drive a terminal, or change how the text around it is shown.
pub fn visible(text: &str) -> String {
    text.chars().map(|character| if is_disruptive(character) { '\u{fffd}' } else { character }).collect()
}

/// The same for a text of several lines: each further line is indented, so that none begins what a program reads as a
/// command.
pub fn visible_lines(text: &str) -> String {
    text.lines().map(visible).collect::<Vec<_>>().join("\n  ")
}

fn is_disruptive(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Text as a sentence in Markdown: every character that could begin markup, a link or a mention is escaped.
pub fn sentence(text: &str) -> String {
    let mut escaped = String::new();
    for character in clean(text).chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            // A zero-width space keeps a name from becoming a mention, and an address from becoming a link.
            '@' => escaped.push_str("@\u{200b}"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '|' | '~' | '!' => {
                escaped.push('\\');
                escaped.push(character);
            }
            _ => escaped.push(character),
        }
    }
    escaped.replace("://", ":\u{200b}//")
}

/// A latency in milliseconds.
pub fn ms(value: f64) -> String {
    match value {
        value if value < 10.0 => format!("{value:.1} ms"),
        value if value < 10_000.0 => format!("{value:.0} ms"),
        value => format!("{:.1} s", value / 1000.0),
    }
}

/// A latency that there may be none of.
pub fn ms_or_dash(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), ms)
}

/// A time from the run's begin.
pub fn offset(milliseconds: u64) -> String {
    match (milliseconds / 1000, milliseconds % 1000) {
        (seconds @ 0..60, rest) => format!("{seconds}.{rest:03} s"),
        (seconds, rest) => format!("{}:{:02}.{rest:03} min", seconds / 60, seconds % 60),
    }
}

/// A share in percent, rounded up: what is promised holds.
pub fn percent_up(share: f64) -> String {
    format!("{:.1} %", (share * 1000.0 - 1e-9).ceil() / 10.0)
}

/// A number of things.
pub fn count(number: u32, one: &str) -> String {
    let mut text = format!("{number} {one}");
    if number != 1 {
        // Writing to a String cannot fail.
        let _ = write!(text, "s");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_turn_what_stands_around_it() {
        assert_eq!(clean("a\u{202e}b\nc\0"), "a\u{fffd}b\u{fffd}c\u{fffd}");
        assert_eq!(clean(&"x".repeat(500)).chars().count(), LONGEST + 1);
    }

    #[test]
    fn markdown_from_outside_stays_text() {
        assert_eq!(sentence("<img> [x](http://y) @all"), "&lt;img&gt; \\[x\\](http:\u{200b}//y) @\u{200b}all");
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!([ms(1.234), ms(123.4), ms(12_345.0)], ["1.2 ms", "123 ms", "12.3 s"]);
        assert_eq!([offset(65), offset(61_005)], ["0.065 s", "1:01.005 min"]);
        assert_eq!([percent_up(0.02), percent_up(0.0201)], ["2.0 %", "2.1 %"]);
        assert_eq!([count(1, "probe"), count(2, "probe")], ["1 probe", "2 probes"]);
    }
}
