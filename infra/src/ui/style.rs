//! Colors, if the terminal supports them and its user allows them.

use std::io::IsTerminal as _;

use model::color::Color;

/// A terminal that says it is narrower than this is not believed.
const NARROWEST: usize = 20;

/// How a piece of text is painted, where text is colored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// As it is.
    Plain,
    /// Good.
    Good,
    /// Bad.
    Bad,
    /// Worth a look.
    Warn,
    /// Of less interest.
    Dim,
    /// Of more interest.
    Strong,
    /// In an environment's own color.
    Environment(Color),
}

/// Whether text is colored, and how wide lines may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    colored: bool,
    width: usize,
}

impl Style {
    /// No colors.
    pub const PLAIN: Self = Self { colored: false, width: usize::MAX };

    /// Colors where standard error is a terminal that has them and `NO_COLOR` is not set.
    pub fn of_stderr() -> Self {
        Self::of(std::io::stderr().is_terminal(), terminal_size::terminal_size_of(std::io::stderr()))
    }

    /// Colors where standard output is a terminal that has them and `NO_COLOR` is not set.
    pub fn of_stdout() -> Self {
        Self::of(std::io::stdout().is_terminal(), terminal_size::terminal_size_of(std::io::stdout()))
    }

    fn of(terminal: bool, size: Option<(terminal_size::Width, terminal_size::Height)>) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        let width = size.map_or(usize::MAX, |(width, _)| usize::from(width.0).max(NARROWEST));
        Self { colored: terminal && !refused && !dumb, width }
    }

    /// Text in lines that fit the terminal, broken between words; those after the first begin with `indent` blanks, which
    /// stand before the first already.
    pub fn wrapped(self, text: &str, indent: usize) -> String {
        let mut wrapped = String::new();
        let mut column = indent;
        for word in text.split(' ') {
            let length = word.chars().count();
            let blank = usize::from(!wrapped.is_empty());
            if blank == 1 && column + blank + length > self.width {
                wrapped.push('\n');
                wrapped.push_str(&" ".repeat(indent));
                column = indent;
            } else if blank == 1 {
                wrapped.push(' ');
                column += 1;
            }
            wrapped.push_str(word);
            column += length;
        }
        wrapped
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colored { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Good.
    pub fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// Bad.
    pub fn bad(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    /// Worth a look.
    pub fn warn(self, text: &str) -> String {
        self.paint("33", text)
    }

    /// Of less interest.
    pub fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// Of more interest.
    pub fn strong(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// Text painted so.
    pub fn painted(self, paint: Paint, text: &str) -> String {
        match paint {
            Paint::Plain => text.to_owned(),
            Paint::Good => self.good(text),
            Paint::Bad => self.bad(text),
            Paint::Warn => self.warn(text),
            Paint::Dim => self.dim(text),
            Paint::Strong => self.strong(text),
            Paint::Environment(color) => self.environment(color, text),
        }
    }

    /// Text in an environment's own color.
    pub fn environment(self, color: Color, text: &str) -> String {
        match color {
            Color::Blue => self.paint("1;34", text),
            Color::Green => self.paint("1;32", text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_broken_between_words_and_never_within_one() {
        let style = Style { width: 24, ..Style::PLAIN };
        let text = "its load balancer, and https://a-long-name.example/without-end";
        assert_eq!(style.wrapped(text, 4), "its load balancer,\n    and\n    https://a-long-name.example/without-end");
        assert_eq!(Style::PLAIN.wrapped(text, 4), text);
    }
}
