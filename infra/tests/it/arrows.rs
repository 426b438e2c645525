//! The crates depend on each other in one direction: `docs/architecture.md` shows it, and this test keeps it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::project;

/// The crates that each crate of the workspace may use. None of them leads back.
const ARROWS: [(&str, &[&str]); 15] = [
    ("model", &[]),
    ("cfn-kit", &[]),
    ("bluegreen-oci-image", &[]),
    ("fuzz-input", &[]),
    ("aws", &["model"]),
    ("ledger", &["aws", "model"]),
    ("stack", &["bluegreen-oci-image", "cfn-kit", "model"]),
    ("cutover", &["aws", "ledger", "model"]),
    ("deploy", &["aws", "bluegreen-oci-image", "cfn-kit", "cutover", "ledger", "model", "stack"]),
    ("cutover-lambda", &["aws", "cutover", "ledger", "model"]),
    ("infra", &["aws", "cfn-kit", "cutover", "deploy", "ledger", "model", "bluegreen-oci-image", "stack"]),
    ("greeter", &[]),
    ("local", &["bluegreen-oci-image"]),
    ("faulty", &[]),
    ("bench", &["aws", "cfn-kit", "cutover", "deploy", "infra", "ledger", "model", "bluegreen-oci-image", "stack"]),
];

/// What these crates must not pull in: `model` and `cfn-kit` are values only, `stack` knows no network.
const FORBIDDEN: [(&str, &[&str]); 5] = [
    ("model", &["tokio", "aws-config", "reqwest"]),
    ("cfn-kit", &["tokio", "aws-config", "reqwest"]),
    ("stack", &["aws-config", "hyper", "reqwest"]),
    ("cutover", &["aws-sdk-cloudformation", "actix-web", "clap"]),
    ("deploy", &["actix-web", "clap", "terminal_size"]),
];

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new("cargo").args(arguments).current_dir(project()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn no_crate_uses_one_that_it_must_not_know() {
    let metadata: Value =
        serde_json::from_str(&cargo(&["metadata", "--no-deps", "--offline", "--format-version", "1"])).unwrap();
    let allowed: BTreeMap<&str, BTreeSet<&str>> =
        ARROWS.into_iter().map(|(name, used)| (name, used.iter().copied().collect())).collect();
    let packages = metadata["packages"].as_array().unwrap();
    assert_eq!(packages.len(), allowed.len(), "say in ARROWS what each crate may use");
    for package in packages {
        let name = package["name"].as_str().unwrap();
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        let used = dependencies.filter(|it| it["path"].is_string() && it["kind"] != "dev");
        for used in used.map(|it| it["name"].as_str().unwrap()) {
            assert!(allowed[name].contains(used), "{name} uses {used}");
        }
    }
}

#[test]
fn the_data_types_pull_in_no_network() {
    for (name, forbidden) in FORBIDDEN {
        let tree = cargo(&["tree", "--offline", "--edges", "normal", "--prefix", "none", "--package", name]);
        let used: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
        for crate_name in forbidden {
            assert!(!used.contains(crate_name), "{name} pulls in {crate_name}");
        }
    }
}

#[test]
fn no_verb_calls_another_and_what_verbs_share_calls_none() {
    let sources = project().join("infra/src");
    let folder = |path: &Path| {
        let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        entries.collect::<Vec<_>>()
    };
    let verbs = folder(&sources.join("commands"));
    let verbs: BTreeSet<String> = verbs
        .iter()
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .filter(|it| it != "mod")
        .collect();
    assert!(verbs.contains("deploy") && verbs.contains("destroy"), "{verbs:?}");
    let mut rest = vec![sources.clone()];
    while let Some(path) = rest.pop() {
        if path.is_dir() {
            rest.extend(folder(&path));
            continue;
        }
        let inside = path.strip_prefix(&sources).unwrap().with_extension("");
        let own = inside.strip_prefix("commands").ok().and_then(|it| it.iter().next()?.to_str().map(str::to_owned));
        // The table of all verbs knows them, and the command line knows the table.
        if own.as_deref() == Some("mod") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for verb in verbs.iter().filter(|verb| own.as_ref() != Some(verb)) {
            let called = text.contains(&format!("commands::{verb}::")) || text.contains(&format!("commands::{verb};"));
            let beside = own.is_some() && text.contains(&format!("use super::{verb}"));
            assert!(!called && !beside, "{} uses the verb {verb}", inside.display());
        }
    }
}
