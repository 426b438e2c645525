//! The profiles beside this file: each option alone, and `strict` with everything on.

use std::path::PathBuf;

use stack::{Extension, Settings};

use crate::own_stack::extend;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("profiles")
}

/// The settings of one profile.
pub fn profile(name: &str) -> Settings {
    Settings::load(Some(&folder().join(format!("{name}.toml")))).unwrap()
}

/// Every profile with its name, the default settings among them.
pub fn profiles() -> Vec<(String, Settings)> {
    let extended = Settings { extension: Extension::new(extend), ..Settings::default() };
    let mut found = vec![("default".to_owned(), Settings::default()), ("extended".to_owned(), extended)];
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            found.push((name, Settings::load(Some(&path)).unwrap()));
        }
    }
    assert!(found.len() > 10, "this test does not find the profiles");
    found.sort_by(|one, other| one.0.cmp(&other.0));
    found
}
