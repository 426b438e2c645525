//! The documentation matches the program: its commands are valid, and its links have targets.

use std::path::Path;
use std::process::Command;

use crate::support::pages::{commands, pages, project};
use clap::Parser as _;
use clap::error::ErrorKind;
use infra::cli::Cli;

const BLUEGREEN: &str = env!("CARGO_BIN_EXE_bluegreen");

/// The words of a command, without variables before it and redirections after it.
fn words(command: &str) -> Vec<String> {
    let command = command.split(['|', '>', '&', ';']).next().unwrap();
    let set = |word: &&str| {
        word.split_once('=').is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
    };
    command.split_whitespace().skip_while(set).map(|word| word.trim_matches(['"', '\'']).to_owned()).collect()
}

/// Checks that the command line accepts these words, including required and conflicting arguments. A shell variable
/// stands for a word.
fn understood(file: &Path, command: &str, words: &[String]) {
    let words = words.iter().map(|word| if word.starts_with('$') { "1" } else { word });
    match Cli::try_parse_from(words) {
        Ok(_) => {}
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {}
        // Only the name of a file.
        Err(error) if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {}
        Err(error) => panic!("{}: {command}\n{error}", file.display()),
    }
}

#[test]
fn every_bluegreen_command_is_understood_by_the_command_line() {
    let mut checked = 0;
    for (file, text) in pages() {
        for command in commands(&text) {
            let words = words(&command);
            let is_bluegreen = words.first().is_some_and(|word| word == "bluegreen" || word.ends_with("/bluegreen"));
            if !is_bluegreen {
                continue;
            }
            understood(&file, &command, &words);
            checked += 1;
        }
    }
    assert!(checked > 20, "only {checked} commands were found");
}

/// The fenced blocks in a language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn every_example_of_a_configuration_is_understood() {
    let mut checked = 0;
    for (file, text) in pages() {
        for example in blocks(&text, "toml") {
            let parsed = stack::Settings::parse(&example);
            assert!(parsed.is_ok(), "{}: {example}\n{:?}", file.display(), parsed.unwrap_err().to_string());
            checked += 1;
        }
    }
    assert!(checked > 4, "only {checked} examples were found");
}

#[test]
fn every_command_of_the_workflows_is_understood_by_the_command_line() {
    let mut checked = 0;
    for entry in std::fs::read_dir(project().join(".github/workflows")).unwrap() {
        let file = entry.unwrap().path();
        for line in std::fs::read_to_string(&file).unwrap().lines() {
            let command = line.trim().trim_start_matches("- run: ");
            let words = words(command);
            if !words.first().is_some_and(|word| word.ends_with("/bluegreen")) {
                continue;
            }
            understood(&file, command, &words);
            checked += 1;
        }
    }
    assert!(checked >= 5, "only {checked} commands were found");
}

/// A YAML file as JSON; `None` only if `BLUEGREEN_NO_PYTHON` disables the Python tools.
fn yaml(file: &Path) -> Option<serde_json::Value> {
    let python = project().join(".venv/bin/python");
    let script = "import json, sys, yaml; json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout, default=str)";
    let Ok(said) = Command::new(&python).args(["-c", script]).arg(file).output() else {
        let allowed = std::env::var_os("BLUEGREEN_NO_PYTHON").is_some();
        assert!(allowed, "there is no {}: run make setup, or set BLUEGREEN_NO_PYTHON=1", python.display());
        return None;
    };
    assert!(said.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&said.stderr));
    Some(serde_json::from_slice(&said.stdout).unwrap())
}

#[test]
fn the_release_workflow_deploys_then_waits_for_an_environment_then_cuts_over_and_reports() {
    let Some(workflow) = yaml(&project().join(".github/workflows/release.yml")) else { return };
    let ci = stack::Settings::default().ci;
    let environments = [&ci.deploy_environments, &ci.cutover_environments].map(|names| names[0].to_string());
    let jobs = ["deploy", "cutover"].map(|name| &workflow["jobs"][name]);
    // Each in an environment that its role trusts; the second needs a separate approval.
    assert_eq!(jobs.map(|job| job["environment"].as_str().unwrap().to_owned()), environments);
    assert_eq!((&jobs[0]["needs"], &jobs[1]["needs"]), (&"build".into(), &"deploy".into()));
    // The job that compiles gets no token.
    let build = &workflow["jobs"]["build"];
    assert_eq!(build["permissions"], serde_json::json!({ "contents": "read" }));
    assert!(build.to_string().contains("make build") && !build.to_string().contains("role-to-assume"));
    for job in [build, jobs[0], jobs[1]] {
        for step in job["steps"].as_array().unwrap() {
            let Some(action) = step["uses"].as_str() else { continue };
            let commit = action.split_once('@').unwrap().1;
            assert!(commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{action}");
            assert!(!action.contains("checkout") || step["with"]["persist-credentials"] == false, "{step}");
        }
    }
    let roles = ["${{ vars.AWS_DEPLOY_ROLE_ARN }}", "${{ vars.AWS_CUTOVER_ROLE_ARN }}"];
    let mut roles = roles.into_iter();
    let scripts = jobs.map(|job| {
        assert_eq!(job["permissions"]["id-token"], "write", "OIDC needs it");
        assert!(job["timeout-minutes"].is_u64());
        let steps = job["steps"].as_array().unwrap();
        let assumes =
            steps.iter().find(|step| step["uses"].as_str().unwrap_or("").contains("configure-aws-credentials"));
        assert_eq!(assumes.unwrap()["with"]["role-to-assume"], roles.next().unwrap());
        steps.iter().filter_map(|step| step["run"].as_str()).collect::<Vec<_>>().join("\n")
    });
    for (script, commands) in scripts.iter().zip([
        &["bluegreen diff --version", "bluegreen deploy --version", "bluegreen status", "gh pr comment"][..],
        &[
            "bluegreen cutover --id \"$RUN\"",
            "bluegreen report \"${RUN:-none}\" --out report.html",
            "did not start",
            "gh pr comment",
            "exit $code",
        ],
    ]) {
        let places: Vec<_> = commands.iter().map(|command| script.find(command)).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{commands:?}: {places:?}\n{script}");
        let checked = Command::new("bash").args(["-n", "-c", script]).output().unwrap();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    }
    assert!(scripts[1].contains("RUN=$GITHUB_RUN_ID-$GITHUB_RUN_ATTEMPT"));
    // Every run is selected by id, because the latest run can be another one.
    let reports = scripts[1].lines().filter(|line| line.contains("bluegreen report"));
    assert!(reports.clone().count() > 1 && reports.into_iter().all(|line| line.contains("RUN")), "{}", scripts[1]);
    let report = jobs[1]["steps"].as_array().unwrap().iter().filter(|step| step["if"] == "always()").count();
    assert_eq!(report, 2, "the report comes whichever way it ended");
}

#[test]
fn the_report_of_a_cutover_that_did_not_start_says_so_and_is_not_green() {
    let Some(workflow) = yaml(&project().join(".github/workflows/release.yml")) else { return };
    let steps = workflow["jobs"]["cutover"]["steps"].as_array().unwrap();
    let script = steps.iter().find_map(|step| step["run"].as_str().filter(|run| run.contains("report.html"))).unwrap();
    for (code, says) in [(0, "a report of 17-1"), (2, "did not start"), (1, "could not be made")] {
        let folder = tempfile::tempdir().unwrap();
        let bluegreen = folder.path().join("target/debug/bluegreen");
        std::fs::create_dir_all(bluegreen.parent().unwrap()).unwrap();
        let stub = format!("#!/bin/sh\n[ {code} = 0 ] && echo \"a report of $2\" > \"$4\"\nexit {code}\n");
        std::fs::write(&bluegreen, stub).unwrap();
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&bluegreen, executable).unwrap();
        let mut shell = Command::new("bash");
        shell.args(["-e", "-c", script]).current_dir(folder.path()).env("RUN", "17-1").env("PULL_REQUEST", "");
        let said = shell.env("GITHUB_STEP_SUMMARY", "summary.md").output().unwrap();
        assert_eq!(said.status.code(), Some(code), "{}", String::from_utf8_lossy(&said.stderr));
        let summary = std::fs::read_to_string(folder.path().join("summary.md")).unwrap();
        assert!(summary.contains(says), "{summary}");
    }
}

#[test]
fn every_make_command_of_the_documentation_comes_to_something() {
    let mut checked = 0;
    for (file, text) in pages() {
        for command in commands(&text) {
            let words = words(&command);
            if words.first().is_none_or(|word| word != "make") {
                continue;
            }
            // A dry run. Without MAKEFLAGS, because make can run this test.
            let mut make = Command::new("make");
            make.arg("--dry-run").args(&words[1..]).current_dir(project()).env_remove("MAKEFLAGS");
            let said = make.output().unwrap();
            let would = String::from_utf8_lossy(&said.stdout);
            let error = String::from_utf8_lossy(&said.stderr);
            assert!(said.status.success() && !would.is_empty(), "{}: {command}\n{error}", file.display());
            checked += 1;
        }
    }
    assert!(checked > 10, "only {checked} commands were found");
}

#[test]
fn every_link_within_the_documentation_leads_somewhere() {
    for (file, text) in pages() {
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") || target.starts_with('#') {
                continue;
            }
            let path = file.parent().unwrap().join(target.split('#').next().unwrap());
            assert!(path.exists(), "{}: {target} leads nowhere", file.display());
        }
    }
}

#[test]
fn the_exit_codes_of_the_reference_are_those_of_the_program() {
    use infra::error::Kind;
    let text = std::fs::read_to_string(project().join("docs/reference/exit-codes.md")).unwrap();
    for (kind, word) in [
        (Kind::Failed, "failed"),
        (Kind::Usage, "usage error"),
        (Kind::Refused, "refused"),
        (Kind::RolledBack, "rolled back"),
    ] {
        let row = format!("| {} | {word}", kind.exit_code());
        assert!(text.contains(&row), "no row {row:?}");
    }
}

#[test]
fn every_event_of_the_reference_is_one_of_the_program_and_the_other_way_round() {
    let text = std::fs::read_to_string(project().join("docs/reference/events.md")).unwrap();
    let table = text.split("## Results").next().unwrap();
    let source = std::fs::read_to_string(project().join("crates/model/src/event.rs")).unwrap();
    let body = source.split("pub enum EventKind {").nth(1).unwrap().split("\n}").next().unwrap();
    let variant = |line: &str| {
        let line = line.strip_prefix("    ")?;
        let name: String = line.chars().take_while(char::is_ascii_alphanumeric).collect();
        name.starts_with(|first: char| first.is_ascii_uppercase()).then_some(name)
    };
    let mut names: Vec<String> = body.lines().filter_map(variant).map(|name| snake_case(&name)).collect();
    let mut documented: Vec<String> =
        table.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split('`').next()?.to_owned())).collect();
    names.sort();
    documented.sort();
    assert_eq!(documented, names);
}

fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for (position, character) in name.char_indices() {
        if character.is_ascii_uppercase() && position > 0 {
            snake.push('_');
        }
        snake.push(character.to_ascii_lowercase());
    }
    snake
}

#[test]
fn every_field_of_a_record_is_in_the_reference() {
    let text = std::fs::read_to_string(project().join("docs/reference/record.md")).unwrap();
    let request = model::Request::default();
    let mut record = model::Record::begin("x".to_owned(), request, jiff::Timestamp::now(), String::new());
    record.probes = Some(model::record::ProbeReport::default());
    let record = serde_json::to_value(record).unwrap();
    for part in
        [&record, &record["probes"], &record["versions"], &record["probes"]["counts"], &record["probes"]["before"]]
    {
        for field in part.as_object().unwrap().keys() {
            assert!(text.contains(&format!("`{field}`")), "{field} is not documented");
        }
    }
}

#[test]
fn the_command_line_of_the_reference_is_the_program_s_own() {
    let said = Command::new(BLUEGREEN).args(["man", "--markdown"]).current_dir(project()).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let path = project().join("docs/reference/command-line.md");
    let own = String::from_utf8(said.stdout).unwrap();
    if std::env::var_os("INSTA_UPDATE").is_some_and(|value| value == "always") {
        std::fs::write(&path, &own).unwrap();
    }
    let documented = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(documented, own, "write it anew: target/debug/bluegreen man --markdown > {}", path.display());
}
