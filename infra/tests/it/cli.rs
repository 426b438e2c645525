//! Invalid input, without a cloud: each case gives one clear error, a hint, and its exit code.

use std::path::Path;
use std::process::Command;

use crate::support::{BLUEGREEN, Said, project};

/// Runs `bluegreen` without the AWS configuration of the caller and with these variables.
fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Said {
    let mut command = Command::new(BLUEGREEN);
    command.args(arguments).current_dir(project()).env_clear().env("HOME", "/nonexistent");
    command.env("PATH", std::env::var_os("PATH").unwrap()).envs(variables.iter().copied());
    // rustup looks for Cargo here.
    let rustup =
        std::env::var_os("RUSTUP_HOME").or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".rustup").into()));
    command.envs(rustup.map(|rustup| ("RUSTUP_HOME", rustup)));
    Said::of(command.output().unwrap())
}

const REGION: (&str, &str) = ("AWS_REGION", "us-east-1");
const NO_METADATA: (&str, &str) = ("AWS_EC2_METADATA_DISABLED", "true");
const KEY: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")];

#[test]
fn an_unknown_color_is_a_usage_error() {
    let said = run(&["cutover", "--to", "red"], &[]).expect(2);
    assert!(said.err.contains("blue or green"), "{}", said.err);
}

/// See <https://bixense.com/clicolors>.
#[test]
fn colors_are_forced_and_refused_by_the_variables_that_others_have_too() {
    let colored = |variables: &[(&str, &str)]| run(&["status"], variables).expect(2).err.contains('\u{1b}');
    assert!(!colored(&[NO_METADATA]), "no terminal, no colors");
    assert!(colored(&[NO_METADATA, ("CLICOLOR_FORCE", "1")]));
    assert!(!colored(&[NO_METADATA, ("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
}

#[test]
fn an_unknown_verb_is_a_usage_error() {
    run(&["swap"], &[]).expect(2);
}

#[test]
fn a_version_without_a_binary_is_named_with_those_that_exist() {
    let said = run(&["deploy", "--version", "9"], &[REGION]).expect(2);
    assert!(said.err.contains("its versions: 1, 2"), "{}", said.err);
}

#[test]
fn a_version_is_a_name_not_a_path() {
    run(&["deploy", "--version", "../../etc/passwd"], &[REGION]).expect(2);
}

#[test]
fn no_region_is_said_before_anything_is_called() {
    let said = run(&["status"], &[NO_METADATA]).expect(2);
    assert!(said.err.contains("AWS_REGION"), "{}", said.err);
}

#[test]
fn no_credentials_are_said_with_what_to_do() {
    let said = run(&["status"], &[REGION, NO_METADATA]).expect(1);
    assert!(said.err.contains("AWS_PROFILE") && said.err.contains("CLOUD=local"), "{}", said.err);
}

#[test]
fn an_endpoint_that_is_down_is_named() {
    // No process listens on port 9 of the loopback.
    let variables = [REGION, KEY[0], KEY[1], ("AWS_ENDPOINT_URL", "http://127.0.0.1:9")];
    let said = run(&["status"], &variables).expect(1);
    assert!(said.err.contains("http://127.0.0.1:9"), "{}", said.err);
}

#[test]
fn a_connect_to_that_cannot_be_read_is_a_usage_error() {
    let said = run(&["status"], &[REGION, ("BLUEGREEN_CONNECT_TO", "here")]).expect(2);
    assert!(said.err.contains("HOST1:PORT1:HOST2:PORT2"), "{}", said.err);
}

#[test]
fn a_ca_bundle_that_cannot_be_read_is_named() {
    let said = run(&["status"], &[REGION, ("AWS_CA_BUNDLE", "/nonexistent.pem")]).expect(1);
    assert!(said.err.contains("/nonexistent.pem"), "{}", said.err);
}

#[test]
fn a_stack_name_that_cloudformation_would_refuse_is_a_usage_error() {
    run(&["--stack", "9 lives", "status"], &[REGION]).expect(2);
}

#[test]
fn synth_needs_no_cloud_and_prints_the_template() {
    let said = run(&["synth"], &[]).expect(0);
    assert_eq!(said.json()["AWSTemplateFormatVersion"], "2010-09-09");
}

#[test]
fn in_a_folder_with_nothing_to_deploy_deploy_says_where_to_go() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(BLUEGREEN).arg("deploy").current_dir(folder.path()).output().unwrap();
    let said = Said::of(output).expect(2);
    assert!(said.err.contains("no service to deploy") && said.err.contains("bluegreen init"), "{}", said.err);
}

#[test]
fn a_function_that_cannot_be_read_or_is_none_is_said() {
    let missing = run(&["build"], &[("BLUEGREEN_FUNCTION", "/nonexistent.zip")]).expect(1);
    assert!(missing.err.contains("BLUEGREEN_FUNCTION=/nonexistent.zip"), "{}", missing.err);
    let wrong = run(&["function", "--out", "/dev/null"], &[("BLUEGREEN_FUNCTION", "Cargo.toml")]).expect(2);
    assert!(wrong.err.contains("it is not a zip file"), "{}", wrong.err);
}

#[test]
fn a_report_of_something_that_is_no_record_is_a_usage_error() {
    let said = run(&["report", "--record", "Cargo.toml"], &[]).expect(2);
    assert!(said.err.contains("not a record of a run"), "{}", said.err);
}

#[test]
fn completions_know_every_verb_and_need_neither_cloud_nor_project() {
    for shell in ["bash", "zsh", "fish"] {
        let said = run(&["completions", shell], &[]).expect(0);
        assert!(said.out.contains("cutover") && said.out.contains("dashboard"), "{shell}");
    }
    run(&["completions", "csh"], &[]).expect(2);
}

#[test]
fn the_manual_has_a_page_for_every_verb() {
    let said = run(&["man"], &[]).expect(0);
    assert!(said.out.contains(".TH bluegreen"), "{}", said.out);
    let folder = tempfile::tempdir().unwrap();
    run(&["man", "--out", folder.path().to_str().unwrap()], &[]).expect(0);
    for page in ["bluegreen.1", "bluegreen-cutover.1", "bluegreen-report.1"] {
        assert!(folder.path().join(page).is_file(), "{page}");
    }
}

/// A folder with an unusable file whose first lines are readable.
fn with_a_broken_file() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bluegreen.toml"), "name = \"shop\"\n[app]\nimage = \"a b\"\n").unwrap();
    folder
}

/// As `run`, in that folder, with an endpoint that is down: shows how far a command proceeds.
fn run_with_a_broken_file(arguments: &[&str]) -> Said {
    let folder = with_a_broken_file();
    let mut command = Command::new(BLUEGREEN);
    command.args(arguments).current_dir(folder.path()).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    command.envs([REGION, NO_METADATA, KEY[0], KEY[1], ("AWS_ENDPOINT_URL", "http://127.0.0.1:9")]);
    Said::of(command.output().unwrap())
}

#[test]
fn whoever_looks_at_a_stack_or_undoes_a_release_does_not_need_a_valid_file() {
    let verbs: [&[&str]; 13] = [
        &["rollback"],
        &["reconcile"],
        &["abort"],
        &["pause"],
        &["promote"],
        &["status"],
        &["history"],
        &["releases"],
        &["logs", "prod"],
        &["report"],
        &["open", "prod"],
        &["destroy", "--yes"],
        &["--stack", "other", "rollback"],
    ];
    std::thread::scope(|scope| {
        for verb in verbs {
            scope.spawn(move || {
                let said = run_with_a_broken_file(verb).expect(1);
                let warnings: Vec<_> = said.err.lines().filter(|line| line.starts_with("warning: ")).collect();
                assert_eq!(warnings.len(), 1, "{verb:?}: {}", said.err);
                let stack = if verb[0] == "--stack" { "stack other" } else { "stack shop" };
                for words in ["cannot parse bluegreen.toml: ", "line 3", stack] {
                    assert!(warnings[0].contains(words), "{verb:?}: {}", warnings[0]);
                }
                assert!(said.err.contains(&format!("cannot look up {stack}")), "{verb:?}: {}", said.err);
            });
        }
    });
}

#[test]
fn what_is_made_from_the_file_is_refused_with_an_invalid_one() {
    for verb in [&["deploy"][..], &["diff"], &["synth"], &["doctor"], &["cutover"]] {
        let said = run_with_a_broken_file(verb).expect(2);
        assert!(said.err.starts_with("error: cannot parse bluegreen.toml"), "{verb:?}: {}", said.err);
    }
}

#[test]
fn a_file_that_is_not_there_is_a_warning_where_it_is_not_needed() {
    let variables = [REGION, KEY[0], KEY[1], ("AWS_ENDPOINT_URL", "http://127.0.0.1:9")];
    let said = run(&["--config", "nope.toml", "rollback"], &variables).expect(1);
    assert!(
        said.err.contains("warning: cannot read nope.toml: ") && said.err.contains("stack bluegreen"),
        "{}",
        said.err
    );
    run(&["--config", "nope.toml", "deploy"], &variables).expect(1);
}

#[test]
fn a_reader_of_the_messages_that_has_gone_ends_nothing() {
    // Nothing reads standard error: its reader is closed before the command starts.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_bluegreen"));
    let status = command.args(["--stack", "x", "status"]).env_remove("AWS_REGION").stderr(writer).status().unwrap();
    assert_ne!(status.code(), Some(101), "it panics");
}
