//! The results of `bluegreen doctor` as text.

use std::fmt::Write as _;

use super::{Check, Health};
use crate::ui::Style;

/// The checks, one a line, with what to do under those that need it.
pub fn render(checks: &[Check], style: Style) -> String {
    let width = checks.iter().map(|check| check.what.len()).max().unwrap_or_default();
    let mut text = String::new();
    for check in checks {
        let mark = match check.health {
            Health::Good => style.good("ok  "),
            Health::Warning => style.warn("warn"),
            Health::Bad => style.bad("fail"),
            Health::Unknown => style.dim("-   "),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{mark} {:<width$}  {}", check.what, check.found);
        if let Some(todo) = &check.todo {
            let _ = writeln!(text, "     {:<width$}  {} {todo}", "", style.good("hint:"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_bad_says_what_to_do() {
        let check = |what, health, found: &str, todo: Option<&str>| Check {
            what,
            health,
            found: found.to_owned(),
            todo: todo.map(str::to_owned),
        };
        let checks = [
            check("credentials", Health::Good, "found", None),
            check("stack", Health::Bad, "ROLLBACK_COMPLETE", Some("delete it and create it again: bluegreen deploy")),
            check("lease", Health::Warning, "a cutover holds it", Some("wait for it")),
            check("quota: load balancers", Health::Unknown, "cannot be read", None),
        ];
        insta::assert_snapshot!(render(&checks, Style::PLAIN));
    }
}
