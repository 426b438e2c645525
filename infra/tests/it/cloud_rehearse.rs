//! Rehearsals as a user runs them: releases on a separate local cloud that succeed, and that fail in every way.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{BLUEGREEN, Cloud, Said, project};
use serde_json::Value;

/// Options for a short cutover, which is enough to see the outcome.
const CUTOVER: [&str; 5] = ["--", "--probes", "40", "--interval", "50ms"];

/// Runs a rehearsal in the folder of the faulty service. Without other arguments, it releases the good version over
/// itself.
fn rehearse(global: &[&str], arguments: &[&str]) -> Said {
    rehearse_in(&project().join("local/faulty"), global, arguments)
}

fn rehearse_in(folder: &Path, global: &[&str], arguments: &[&str]) -> Said {
    Said::of(rehearsal(folder, global, arguments).output().unwrap())
}

fn rehearsal(folder: &Path, global: &[&str], arguments: &[&str]) -> Command {
    let mut command = Command::new(BLUEGREEN);
    command.args(global).arg("rehearse").args(arguments).args(CUTOVER).current_dir(folder);
    // Variables that point at another cloud, and a missing registry login, must not matter.
    command.env("AWS_ENDPOINT_URL", "http://127.0.0.1:1").env("AWS_PROFILE", "nobody");
    command.env("DOCKER_CONFIG", "/nowhere");
    command
}

/// The document of a rehearsal with a fault, which must have this outcome.
#[track_caller]
fn with_fault(fault: &[&str], code: i32) -> Value {
    let said = rehearse(&["--json"], &[&["--fault"], fault].concat()).expect(code);
    let document = said.json();
    assert_eq!(document["fault"]["kind"], fault[0], "{document:#}");
    document
}

/// A fault from the swap on: users saw it, a probe detected it, and the rollback ended it.
#[track_caller]
fn was_saved(document: &Value, failure: &str) {
    was_noticed(document);
    let failed = |name: &str| {
        let phases = document["phases"].as_array().unwrap();
        let phase = phases.iter().find(|phase| phase["name"] == name).unwrap();
        assert!(phase["requests"].as_u64().unwrap() > 0, "{document:#}");
        phase["failed"].as_u64().unwrap()
    };
    assert_eq!((failed("before"), failed("deployment"), failed("after")), (0, 0, 0), "{document:#}");
    assert!(failed("cutover") > 0, "{document:#}");
    assert!(document["users"]["failures"][failure].as_u64().unwrap_or_default() > 0, "{document:#}");
    assert!(document["users"]["exposed_ms"].as_u64().unwrap() < 10_000, "{document:#}");
}

/// A fault from the swap on that a probe detected and the rollback ended.
#[track_caller]
fn was_noticed(document: &Value) {
    assert_eq!(document["ending"], "rolled_back", "{document:#}");
    assert_eq!((&document["safeguards"]["noticed"], &document["safeguards"]["saved"]), (&true.into(), &true.into()));
    assert_eq!(document["run"]["record"]["outcome"], "rolled_back");
    assert!(!document["run"]["samples"]["rows"].as_array().unwrap().is_empty());
}

#[test]
fn a_release_that_goes_well_is_reported_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    let out = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let page = out("report.html");
    let arguments = ["--version", "2", "--from", "1", "--paths", "/,/api", "--rate", "80", "--out", &page];
    let said = rehearse_in(project(), &[], &arguments).expect(0);
    assert!(said.out.starts_with("✓ Version 2 replaced version 1"), "{}", said.out);
    for expected in ["before", "deployment", "cutover", "after", "1: ", "2: ", "with 95 % confidence"] {
        assert!(said.out.contains(expected), "{expected}: {}", said.out);
    }
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("What users would have seen") && page.contains("Latency of every probe of prod"));
}

#[test]
fn a_version_that_answers_errors_is_rolled_back() {
    let document = with_fault(&["5xx"], 4);
    was_saved(&document, "status 500");
    assert_eq!((&document["from"]["version"], &document["to"]["version"]), (&"1".into(), &"1".into()));
}

#[test]
fn a_version_that_answers_late_is_rolled_back() {
    let document = with_fault(&["slow"], 4);
    assert_eq!(document["fault"]["delay_ms"], 3000, "a second more than a probe waits");
    was_saved(&document, "no answer in time");
}

#[test]
fn a_version_that_crashes_is_rolled_back() {
    let document = with_fault(&["crash"], 4);
    // The request that ends the task can be a probe: then users are back before they see a failure.
    was_noticed(&document);
    assert_eq!(document["tasks"][0]["exit_code"], 134, "{document:#}");
}

#[test]
fn a_version_that_is_out_of_memory_is_rolled_back() {
    let document = with_fault(&["oom"], 4);
    was_noticed(&document);
    let task = &document["tasks"][0];
    assert_eq!((&task["exit_code"], &task["environment"]), (&137.into(), &"blue".into()), "{document:#}");
    assert!(task["reason"].as_str().unwrap().starts_with("OutOfMemoryError"), "{document:#}");
}

#[test]
fn a_version_that_is_never_healthy_is_not_even_deployed() {
    let settings = project().join("local/faulty/bluegreen.toml");
    let global = ["--json", "--config", settings.to_str().unwrap()];
    let document = rehearse(&global, &["--fault", "never-healthy"]).expect(4).json();
    assert_eq!((&document["ending"], &document["users"]["failed"]), (&"deployment_rolled_back".into(), &0.into()));
    assert!(document["run"].is_null(), "{document:#}");
    assert!(document["tasks"][0]["reason"].as_str().unwrap().contains("health check"), "{document:#}");
}

#[test]
fn a_fault_that_begins_with_the_deployment_is_noticed_at_the_gate() {
    let document = with_fault(&["5xx", "--fault-at", "deploy"], 3);
    assert_eq!((&document["ending"], &document["users"]["failed"]), (&"refused".into(), &0.into()), "{document:#}");
}

#[test]
fn what_cannot_be_rehearsed_is_refused_before_anything_is_started() {
    let began = Instant::now();
    let usage = |arguments: &[&str], expected: &str| {
        let said = rehearse(&[], arguments).expect(2);
        assert!(said.err.contains(expected), "{expected}: {}", said.err);
    };
    usage(&["--fault-at", "swap"], "--fault");
    usage(&["--rate", "0"], "1..=500");
    usage(&["--version", "no/version"], "letters, digits");
    usage(&["--image", "/nowhere/app.tar"], "/nowhere/app.tar");
    usage(&["--image", "shop:2", "--from", "1"], "--from-image");
    let run = |cutover: &[&str]| {
        let mut command = Command::new(BLUEGREEN);
        command.arg("rehearse").arg("--").args(cutover).current_dir(project().join("local/faulty"));
        Said::of(command.output().unwrap()).expect(2).err
    };
    assert!(run(&["--probes", "many"]).contains("--probes"));
    assert!(run(&["--to", "blue"]).contains("--to"));
    let missing = Command::new(BLUEGREEN).arg("rehearse").env("BLUEGREEN_LOCAL_CLOUD", "/nowhere/it").output().unwrap();
    let said = Said::of(missing).expect(2);
    assert!(said.err.contains("/nowhere/it") && said.err.contains("BLUEGREEN_LOCAL_CLOUD"), "{}", said.err);
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[test]
fn an_image_of_a_registry_is_released_onto_itself() {
    // A local cloud also has a registry.
    let cloud = Cloud::start([90, 91]);
    cloud.run_in(&project().join("local/faulty"), &["deploy"]).expect(0);
    let status = cloud.run_in(&project().join("local/faulty"), &["--json", "status"]).expect(0).json();
    let pushed = status["environments"][0]["image"].as_str().unwrap();
    let (_, path) = pushed.split_once('/').unwrap();
    let image = format!("{}/{path}", cloud.endpoint().trim_start_matches("http://"));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bluegreen.toml"), "[app]\ncount = 1\n").unwrap();
    // Reading an image needs the login of its registry.
    cloud.log_in(folder.path());
    let mut command = rehearsal(folder.path(), &["--json"], &["--image", &image, "--version", "1"]);
    let document = Said::of(command.env("DOCKER_CONFIG", folder.path()).output().unwrap()).expect(0).json();
    assert_eq!((&document["ending"], &document["to"]["image"]), (&"released".into(), &image.into()), "{document:#}");
    let healthy_tasks = cloud.tasks();
    assert_eq!(healthy_tasks.len(), 2, "the other local cloud went on: {healthy_tasks:?}");
}

/// The local cloud of a rehearsal and the processes that it started, from its state files.
fn processes(owner: u32) -> Vec<i64> {
    let wanted = format!("--owner-pid\0{owner}\0");
    let arguments = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let line = arguments(&name);
        if !line.contains(&wanted) || !line.contains("\0serve\0") {
            continue;
        }
        let state = line.split('\0').skip_while(|argument| *argument != "--state").nth(1).unwrap();
        let children = std::fs::read_to_string(Path::new(state).join("processes.json")).unwrap_or_default();
        let children: Value = serde_json::from_str(&children).unwrap_or_default();
        let children = children["children"].as_array().cloned().unwrap_or_default();
        found.push(name.parse().unwrap());
        found.extend(children.iter().map(|child| child["process"]["pid"].as_i64().unwrap()));
    }
    found
}

fn is_alive(pid: i64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[test]
fn a_rehearsal_that_is_interrupted_in_the_middle_leaves_nothing() {
    let mut command = Command::new(BLUEGREEN);
    command.arg("rehearse").current_dir(project().join("local/faulty")).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("> 2/4")), "it did not come to its second step");
    let pids = processes(child.id());
    assert!(pids.len() >= 4, "the daemon, MiniStack, a task in each environment: {pids:?}");
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let said: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{said:#?}");
    assert!(said.iter().any(|line| line.starts_with("interrupted")), "{said:#?}");
    // The rehearsal stopped its local cloud before it ended.
    let left: Vec<i64> = pids.into_iter().filter(|pid| is_alive(*pid)).collect();
    assert!(left.is_empty(), "{left:?} still run");
}
