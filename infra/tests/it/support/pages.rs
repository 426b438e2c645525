//! The pages of the documentation and their commands.

use std::path::{Path, PathBuf};

/// The folder of the project.
pub fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// README.md and every page of docs/, with their text.
pub fn pages() -> Vec<(PathBuf, String)> {
    let mut files = vec![project().join("README.md")];
    let mut folders = vec![project().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "md") {
                files.push(path);
            }
        }
    }
    files.sort();
    files.into_iter().map(|file| (file.clone(), std::fs::read_to_string(file).unwrap())).collect()
}

/// The commands of the fenced `sh` blocks, one per line; a line that ends in a backslash continues.
pub fn commands(text: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut inside = false;
    let mut command = String::new();
    for line in text.lines() {
        if let Some(language) = line.trim().strip_prefix("```") {
            inside = !inside && matches!(language, "sh" | "bash");
            continue;
        }
        if !inside {
            continue;
        }
        let line = line.split(" # ").next().unwrap().trim();
        if let Some(begun) = line.strip_suffix('\\') {
            command.push_str(begun);
            continue;
        }
        command.push_str(line);
        let whole = std::mem::take(&mut command);
        if !whole.is_empty() && !whole.starts_with('#') {
            commands.push(whole);
        }
    }
    commands
}

/// The `sh` blocks of a page, in order.
pub fn blocks(text: &str) -> Vec<String> {
    text.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}
