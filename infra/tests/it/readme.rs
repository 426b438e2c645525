//! The README matches the code.
//!
//! After a change of a setting: `UPDATE_README=1 cargo nextest run --workspace -E 'test(readme::)'`.

use std::path::PathBuf;

use stack::Settings;

/// Compares the part of the README between two marks with the expected text, or writes it.
fn check(mark: &str, expected: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = (format!("<!-- {mark}: generated -->\n"), format!("<!-- /{mark} -->"));
    let (before, rest) = text.split_once(&begin).unwrap();
    let (written, after) = rest.split_once(&end).unwrap();
    if std::env::var_os("UPDATE_README").is_some() {
        std::fs::write(&path, format!("{before}{begin}{expected}{end}{after}")).unwrap();
    } else {
        assert_eq!(
            written, expected,
            "UPDATE_README=1 cargo nextest run --workspace -E 'test(readme::)' writes it anew"
        );
    }
}

#[test]
fn the_table_of_settings_is_the_one_in_the_code() {
    check("settings", &Settings::documentation());
}
