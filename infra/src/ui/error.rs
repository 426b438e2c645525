//! An error as people read it: what failed, why, what to do next.

use std::fmt::Write as _;

use super::Style;
use crate::error::Error;
use crate::report::text::{visible, visible_lines};

/// The error in lines, each ending with a line break.
pub fn render(error: &Error, style: Style) -> String {
    let mut text = format!("{} {}\n", style.bad("error:"), style.wrapped(&visible_lines(error.message()), 7));
    for cause in error.causes() {
        for (index, line) in cause.lines().enumerate() {
            let mark = if index == 0 { "because:" } else { "        " };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {} {}", style.dim(mark), style.wrapped(&visible(line), 11));
        }
    }
    // Not broken into lines: a command in it is copied as one.
    for hint in error.hints() {
        let _ = writeln!(text, "  {} {}", style.good("hint:"), visible_lines(hint));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_why_and_what_to_do() {
        let error =
            Error::refused("green is live").because("prod forwards to it\nsince today").hint("bluegreen cutover");
        insta::assert_snapshot!(render(&error, Style::PLAIN), @r"
        error: green is live
          because: prod forwards to it
                   since today
          hint: bluegreen cutover
        ");
    }
}
