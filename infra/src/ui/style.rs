//! Colors, if the terminal supports them and its user allows them; and text in lines that fit it.

use std::io::IsTerminal;

use anstream::ColorChoice;
use anstream::stream::RawStream;
use anstyle::AnsiColor;
use model::color::Color;
use textwrap::{Options, WordSplitter};
use unicode_width::UnicodeWidthChar as _;

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

    /// Colors if standard error is a terminal that has them. `NO_COLOR` turns them off, `CLICOLOR_FORCE` turns them on
    /// (<https://bixense.com/clicolors>).
    pub fn of_stderr() -> Self {
        Self::of(&std::io::stderr(), terminal_size::terminal_size_of(std::io::stderr()))
    }

    /// Colors if standard output is a terminal that has them, as for standard error.
    pub fn of_stdout() -> Self {
        Self::of(&std::io::stdout(), terminal_size::terminal_size_of(std::io::stdout()))
    }

    fn of<S: RawStream + IsTerminal>(stream: &S, size: Option<(terminal_size::Width, terminal_size::Height)>) -> Self {
        let colored = anstream::AutoStream::choice(stream) != ColorChoice::Never;
        Self { colored, width: size.map_or(usize::MAX, |(width, _)| usize::from(width.0).max(NARROWEST)) }
    }

    /// Text in lines that fit the terminal, broken between words; those after the first begin with `indent` blanks, which
    /// stand before the first already.
    pub fn wrapped(self, text: &str, indent: usize) -> String {
        if self.width == usize::MAX { text.to_owned() } else { wrapped(text, indent, self.width) }
    }

    fn paint(self, style: anstyle::Style, text: &str) -> String {
        if self.colored { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// Good.
    pub fn good(self, text: &str) -> String {
        self.paint(AnsiColor::Green.on_default(), text)
    }

    /// Bad.
    pub fn bad(self, text: &str) -> String {
        self.paint(AnsiColor::Red.on_default().bold(), text)
    }

    /// Worth a look.
    pub fn warn(self, text: &str) -> String {
        self.paint(AnsiColor::Yellow.on_default(), text)
    }

    /// Of less interest.
    pub fn dim(self, text: &str) -> String {
        self.paint(anstyle::Style::new().dimmed(), text)
    }

    /// Of more interest.
    pub fn strong(self, text: &str) -> String {
        self.paint(anstyle::Style::new().bold(), text)
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
            Color::Blue => self.paint(AnsiColor::Blue.on_default().bold(), text),
            Color::Green => self.paint(AnsiColor::Green.on_default().bold(), text),
        }
    }
}

/// Text in lines of at most `width` columns, broken between words and never within one; those after the first begin
/// with `indent` blanks, which stand before the first already.
pub fn wrapped(text: &str, indent: usize, width: usize) -> String {
    let blanks = " ".repeat(indent);
    let options = Options::new(width)
        .initial_indent(&blanks)
        .subsequent_indent(&blanks)
        .break_words(false)
        .word_splitter(WordSplitter::NoHyphenation);
    let lines = textwrap::fill(text, options);
    lines.get(indent..).unwrap_or_default().to_owned()
}

/// The most columns that a terminal takes for a text. Some terminals join characters to one symbol and others do not, so
/// a text can take less.
pub fn columns(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

fn columns_of(character: char) -> usize {
    match character {
        // It asks for the wide form of the symbol before it.
        '\u{fe0f}' => 1,
        other => other.width().unwrap_or_default(),
    }
}

/// The beginning of a text that takes at most `width` columns of a terminal.
pub fn cut(text: &str, width: usize) -> &str {
    let mut taken = 0;
    let end = text.char_indices().find(|(_, character)| {
        taken += columns_of(*character);
        taken > width
    });
    end.map_or(text, |(end, _)| &text[..end])
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

    #[test]
    fn a_wide_character_takes_two_columns() {
        let style = Style { width: 20, ..Style::PLAIN };
        assert_eq!(style.wrapped("服务 服务 服务 服务 服务", 4), "服务 服务 服务\n    服务 服务");
        assert_eq!(cut("服务 x", 3), "服");
        assert_eq!(cut("服务 x", 5), "服务 ");
        assert_eq!(cut("服务 x", 80), "服务 x");
        // A woman, a joiner and a microscope: one symbol or two, as the terminal decides.
        assert_eq!((columns("👩\u{200d}🔬"), cut("👩\u{200d}🔬!", 4)), (4, "👩\u{200d}🔬"));
        assert_eq!(columns("☺\u{fe0f}"), 2);
    }

    #[test]
    fn a_line_break_in_a_text_stays_one() {
        let style = Style { width: 24, ..Style::PLAIN };
        assert_eq!(style.wrapped("first\nand a second that is long", 2), "first\n  and a second that is\n  long");
    }

    #[test]
    fn a_painted_text_ends_as_it_began() {
        let style = Style { colored: true, ..Style::PLAIN };
        assert_eq!(style.bad("no"), "\u{1b}[1m\u{1b}[31mno\u{1b}[0m");
        assert_eq!(Style::PLAIN.bad("no"), "no");
    }
}
