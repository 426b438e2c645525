//! Inserts the table into a document, between two marks.

use std::path::Path;

use infra::error::{Doing as _, Error, Result};

const BEGIN: &str = "<!-- bench -->\n";
const END: &str = "<!-- /bench -->";

/// Replaces the text between the marks of the file.
pub fn fill(file: &Path, table: &str) -> Result<()> {
    let text = std::fs::read_to_string(file).doing(|| format!("read {}", file.display()))?;
    let filled = filled(&text, table).ok_or_else(|| {
        Error::usage(format!("{} has no marks for the table", file.display()))
            .hint(format!("add a line {} and a line {END}", BEGIN.trim_end()))
    })?;
    std::fs::write(file, filled).doing(|| format!("write {}", file.display()))
}

fn filled(text: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{table}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_between_the_marks_is_replaced_and_nothing_else() {
        let text = "a\n<!-- bench -->\nold\n<!-- /bench -->\nb\n";
        let new = filled(text, "new\n").unwrap();
        assert_eq!(new, "a\n<!-- bench -->\nnew\n<!-- /bench -->\nb\n");
        assert_eq!(filled(&new, "new\n").unwrap(), new);
        assert_eq!(filled("nothing here", "new\n"), None);
    }
}
