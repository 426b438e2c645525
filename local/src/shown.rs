//! Text from outside as a terminal or a CI runner may show it: the only place that cleans it. Logs, registry errors, names of
//! resources, and answers of tasks can hold escape sequences, and lines that a runner takes for commands.

use std::borrow::Cow;

/// Removes escape sequences such as colors, replaces other control characters except line breaks and tabs by `\u{fffd}`, and
/// breaks lines that GitHub Actions takes for a command (`::name::`, also after blanks):
/// <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands>.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    let is_command = |line: &str| line.trim_start().starts_with("::");
    if !text.chars().any(drives) && !text.lines().any(is_command) {
        return Cow::Borrowed(text);
    }
    let mut cleaned = String::with_capacity(text.len());
    let stripped = anstream::adapter::strip_str(text).to_string().replace("\r\n", "\n");
    for line in stripped.split_inclusive('\n') {
        let line: String =
            line.chars().map(|one| if drives(one) { char::REPLACEMENT_CHARACTER } else { one }).collect();
        match line.find("::") {
            // A space between the colons keeps the text readable, and makes it text.
            Some(at) if is_command(&line) => cleaned.extend([&line[..at], ": :", &line[at + 2..]]),
            _ => cleaned.push_str(&line),
        }
    }
    Cow::Owned(cleaned)
}

/// Whether a character drives a terminal: controls, and those that change the direction of the text.
fn drives(one: char) -> bool {
    let directs = matches!(one, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    (one.is_control() && !matches!(one, '\n' | '\t')) || directs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_text_is_unchanged() {
        let text = "blue: 2 of 2\n\tstd::io::Error, \u{e4}\u{1f600}\n";
        assert!(matches!(clean(text), Cow::Borrowed(same) if same == text));
    }

    #[test]
    fn nothing_drives_a_terminal() {
        let hostile = "\u{1b}[31ma\u{1b}[0m\u{1b}[2Jb\rc\u{9b}d\u{202e}e\u{1b}]0;title\u{7}f\r\n";
        assert_eq!(clean(hostile), "ab\u{fffd}c\u{fffd}d\u{fffd}ef\n");
        for code in (0..=0x9f).filter(|code| !matches!(code, 0x09 | 0x0a | 0x20..=0x7e)) {
            let text = format!("a{}b", char::from(code));
            assert!(!clean(&text).contains(char::from(code)), "{code:#x}");
        }
    }

    #[test]
    fn nothing_is_a_command_of_a_runner() {
        assert_eq!(
            clean("one\n  ::set-output name=x::y\n::error::z\n"),
            "one\n  : :set-output name=x::y\n: :error::z\n"
        );
        assert_eq!(clean("\r::error::x"), "\u{fffd}::error::x", "a line begins only after a line break");
    }
}
