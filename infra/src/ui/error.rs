//! An error as people read it: what failed, why, what to do next.

use std::fmt::Write as _;

use super::Style;
use crate::error::Error;

/// The error in lines, each ending with a line break.
pub fn render(error: &Error, style: Style) -> String {
    let mut text = format!("{} {}\n", style.bad("error:"), error.message());
    for cause in error.causes() {
        for (index, line) in cause.lines().enumerate() {
            let mark = if index == 0 { "because:" } else { "        " };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {} {line}", style.dim(mark));
        }
    }
    for hint in error.hints() {
        let _ = writeln!(text, "  {} {hint}", style.good("do:"));
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
          do: bluegreen cutover
        ");
    }
}
