//! Commands and tests must use the same packages with the same features; otherwise each package is compiled twice.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// The features of each package in the dependency tree with these kinds of edges.
fn features(edges: &str) -> BTreeMap<String, BTreeSet<String>> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let arguments = ["tree", "--locked", "--workspace", "--edges", edges, "--prefix", "none", "--format", "{p}|{f}"];
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(workspace).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut packages: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        if let Some((package, features)) = line.trim_end_matches(" (*)").split_once('|') {
            packages.entry(package.to_owned()).or_default().insert(features.to_owned());
        }
    }
    packages
}

#[test]
fn what_commands_are_made_of_is_compiled_once_for_them_and_for_their_tests() {
    let (commands, tests) = (features("normal,build"), features("normal,build,dev"));
    assert!(commands.len() > 100 && tests.len() > commands.len(), "{} and {}", commands.len(), tests.len());
    let twice: Vec<_> = commands.iter().filter(|(package, with)| tests.get(*package) != Some(*with)).collect();
    assert!(twice.is_empty(), "other features in tests; name them in local/bench/Cargo.toml: {twice:#?}");
}
