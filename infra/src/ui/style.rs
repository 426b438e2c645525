//! Colors, where the terminal and its user want them.

use std::io::IsTerminal as _;

use cutover_lambda::color::Color;

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

/// Whether text is colored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    colored: bool,
}

impl Style {
    /// No colors.
    pub const PLAIN: Self = Self { colored: false };

    /// Colors where standard error is a terminal that has them and `NO_COLOR` is not set.
    pub fn of_stderr() -> Self {
        Self::of(std::io::stderr().is_terminal())
    }

    /// Colors where standard output is a terminal that has them and `NO_COLOR` is not set.
    pub fn of_stdout() -> Self {
        Self::of(std::io::stdout().is_terminal())
    }

    fn of(terminal: bool) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self { colored: terminal && !refused && !dumb }
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
