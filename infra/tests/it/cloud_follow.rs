//! A run as the command sees it, on the local cloud: every command while prod is split, a lost network, a lease that
//! another process takes first, Ctrl-C, and abort.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};

use crate::support::function::{Function, eventually};
use crate::support::terminal::Terminal;
use crate::support::{Cloud, Said, project};
use serde_json::{Value, json};

const CTRL_C: &str = "\x03";

/// Version 1 on prod, version 2 of the sample on dev.
fn with_two_versions() -> Cloud {
    let cloud = Cloud::start([80, 81]);
    cloud.run(&["deploy"]).expect(0);
    cloud.run(&["deploy", "--version", "2"]).expect(0);
    cloud
}

/// A command that runs in parallel with the test.
struct Beside {
    child: Child,
    said: Arc<Mutex<String>>,
    reader: std::thread::JoinHandle<()>,
}

impl Beside {
    fn start(cloud: &Cloud, arguments: &[&str]) -> Self {
        let mut command = cloud.command(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (errors, reported) = (BufReader::new(child.stderr.take().unwrap()), Arc::clone(&said));
        let reader = std::thread::spawn(move || {
            for line in errors.lines() {
                reported.lock().unwrap().push_str(&(line.unwrap() + "\n"));
            }
        });
        Self { child, said, reader }
    }

    #[track_caller]
    fn says(&self, text: &str) {
        eventually(&format!("{text:?} is said"), || self.said.lock().unwrap().contains(text).then_some(()));
    }

    /// Waits for the end.
    fn end(self) -> Said {
        let mut said = Said::of(self.child.wait_with_output().unwrap());
        self.reader.join().unwrap();
        said.err.clone_from(&self.said.lock().unwrap());
        said
    }
}

fn check(cloud: &Cloud, what: &str) -> Value {
    let checks: Value = serde_json::from_str(&cloud.run(&["--json", "doctor"]).out).unwrap();
    checks.as_array().unwrap().iter().find(|check| check["what"] == what).unwrap().clone()
}

#[test]
fn while_prod_is_split_every_verb_tells_the_shares_and_none_calls_it_broken() {
    let cloud = with_two_versions();
    let function = Function::of(&cloud);
    let shift = Beside::start(&cloud, &["cutover", "--id", "long", "--shift", "10:30s", "--probes", "20"]);
    function.wait_for_phase("long", "shift");
    eventually("prod is split", || {
        let record = function.record("long")?;
        (record["weight"] == 10).then_some(())
    });

    let status = cloud.run(&["--json", "status"]).expect(0).json();
    let roles = [&status["environments"][0]["role"], &status["environments"][1]["role"]];
    assert_eq!(roles, ["prod 10 %", "prod 90 %+dev"], "{status:#}");
    assert_eq!((&status["drift"], &status["warnings"]), (&json!([]), &json!([])), "{status:#}");
    let said = cloud.run(&["status"]).expect(0).out;
    assert!(said.contains("prod 90 %+dev") && !said.contains("warning"), "{said}");

    let listeners = check(&cloud, "listeners");
    assert_eq!(listeners["health"], "good", "{listeners}");
    assert!(listeners["found"].as_str().unwrap().contains("10 % blue and 90 % green"), "{listeners}");
    assert_eq!(check(&cloud, "last run")["health"], "good");

    let logs = cloud.run(&["logs", "prod"]).expect(0);
    assert!(
        logs.err.contains("prod is split into 10 % blue and 90 % green: showing the logs of both environments"),
        "{}",
        logs.err
    );
    assert!(logs.out.contains(" blue/") && logs.out.contains(" green/"), "{}", logs.out);
    assert!(cloud.run(&["open", "prod"]).expect(0).out.starts_with("http://"));

    let refused = cloud.run(&["deploy", "--version", "1"]).expect(3).err;
    assert!(refused.contains("prod is split: 10 % blue and 90 % green") && !refused.contains("rule"), "{refused}");
    let refused = cloud.run(&["abort", "--id", "another"]).expect(3).err;
    assert!(refused.contains("run another is not under way; run long is"), "{refused}");
    // A waiting deployment runs next, on the environment that is idle then.
    let waited = cloud.run(&["deploy", "--version", "1", "--wait"]).expect(0);
    assert!(waited.err.contains("waiting for the cutover"), "{}", waited.err);
    shift.end().expect(0);
    let status = cloud.run(&["--json", "status"]).expect(0).json();
    assert_eq!(status["environments"][1]["role"], "dev", "{status:#}");
}

#[test]
fn a_cutover_is_followed_through_a_network_that_goes_away_and_comes_back() {
    let cloud = with_two_versions();
    let function = Function::of(&cloud);
    let cutover = Beside::start(&cloud, &["cutover", "--id", "blip", "--probes", "300"]);
    function.wait_for_phase("blip", "verify");
    cloud.local(&["fault", "add", "drop", "--caller", "client"]).expect(0);
    cutover.says("reconnecting");
    cloud.local(&["fault", "clear"]).expect(0);
    let said = cutover.end().expect(0);
    assert_eq!(said.err.matches("reconnecting").count(), 1, "{}", said.err);
    assert_eq!(function.record("blip").unwrap()["outcome"], "done");
}

#[test]
fn an_invocation_that_is_lost_is_made_again_and_makes_one_run() {
    let cloud = with_two_versions();
    let invoke = ["--service", "lambda", "--action", "InvokeFunction", "--caller", "client"];
    // More than the attempts of the SDK.
    cloud.local(&[&["fault", "add", "drop", "--times", "8"], &invoke[..]].concat()).expect(0);
    let said = cloud.run(&["cutover", "--probes", "20"]).expect(0);
    assert!(said.err.contains("reconnecting"), "{}", said.err);
    let history = cloud.run(&["--json", "history"]).expect(0).json();
    let cutovers = history.as_array().unwrap().iter().filter(|run| run["op"] == "cutover").count();
    assert_eq!(cutovers, 1, "{history:#}");
}

#[test]
fn a_cutover_that_never_began_has_no_report() {
    let cloud = with_two_versions();
    cloud.run(&["cutover", "--probes", "20"]).expect(0);
    cloud.local(&["fault", "add", "error", "--service", "lambda", "--action", "InvokeFunction"]).expect(0);
    cloud.run(&["cutover", "--id", "4711-1"]).expect(1);
    let said = cloud.run(&["report", "4711-1", "--format", "md"]).expect(2);
    assert!(said.out.is_empty() && said.err.contains("run 4711-1 of stack"), "{}", said.err);
}

#[test]
fn whoever_waits_is_not_refused_when_somebody_else_takes_the_lock_first() {
    let cloud = with_two_versions();
    let function = Function::of(&cloud);
    let slow =
        ["fault", "add", "delay", "--ms", "4000", "--times", "1", "--service", "lambda", "--action", "InvokeFunction"];
    cloud.local(&slow).expect(0);
    let waiting = Beside::start(&cloud, &["--json", "cutover", "--wait", "--probes", "20"]);
    eventually("the first invocation is on its way", || {
        let faults = cloud.local(&["fault", "list", "--json"]).expect(0).json();
        (faults["calls"][0]["met"] == 1).then_some(())
    });
    function.begin(&json!({ "op": "cutover", "id": "first", "probe": { "count": 100 } }));
    let record = waiting.end().expect(0).json();
    assert_eq!(record["outcome"], "done", "{record:#}");
    assert_eq!(function.record("first").unwrap()["outcome"], "done");
    let history = cloud.run(&["--json", "history"]).expect(0).json();
    let refused = history.as_array().unwrap().iter().filter(|run| run["outcome"] == "refused").count();
    assert_eq!(refused, 1, "{history:#}");
}

#[test]
fn a_run_that_was_held_stays_in_sight_until_a_later_one_succeeds() {
    let cloud = Cloud::start([90, 91]);
    let faulty = project().join("local/faulty");
    cloud.run_in(&faulty, &["deploy"]).expect(0);
    cloud.run_in(&faulty, &["deploy", "--version", "4"]).expect(0);
    let held = cloud.run_in(&faulty, &["cutover", "--on-fail", "hold", "--id", "held"]).expect(1);
    assert!(!held.err.contains("95 %"), "{}", held.err);

    let status = cloud.run_in(&faulty, &["--json", "status"]).expect(0).json();
    let unresolved = &status["unresolved"];
    assert_eq!((&unresolved["run"], &unresolved["outcome"]), (&json!("held"), &json!("held")), "{status:#}");
    assert!(unresolved["now"].as_str().unwrap().starts_with("Prod is on blue now: version 4, "), "{unresolved:#}");
    let said = cloud.run_in(&faulty, &["status"]).expect(0).out;
    assert!(said.contains("✕ ") && said.contains("\n  hint: "), "{said}");
    let doctor = cloud.run_in(&faulty, &["doctor"]).expect(1);
    assert!(doctor.out.contains("fail last run") && doctor.err.contains("last run"), "{}\n{}", doctor.out, doctor.err);
    let report = cloud.run_in(&faulty, &["report", "held", "--format", "md"]).expect(0).out;
    assert!(report.contains("The first failure came ") && !report.contains("95 %"), "{report}");

    // Refused runs, plans, and read-only commands repair nothing; a successful run does.
    cloud.run_in(&faulty, &["cutover", "--expect", "green"]).expect(3);
    let status = cloud.run_in(&faulty, &["--json", "status"]).expect(0).json();
    assert_eq!(status["unresolved"]["run"], "held", "{status:#}");
    let repair = ["deploy", "--version", "1", "--color", "blue", "--force", "--yes", "--allow-live-changes"];
    cloud.run_in(&faulty, &repair).expect(0);
    cloud.run_in(&faulty, &["cutover", "--to", "green"]).expect(0);
    let status = cloud.run_in(&faulty, &["--json", "status"]).expect(0).json();
    assert_eq!(status["unresolved"], Value::Null, "{status:#}");
}

#[test]
fn an_abort_tells_the_run_and_follows_it_to_its_end() {
    let cloud = with_two_versions();
    let function = Function::of(&cloud);
    let none = cloud.run(&["abort"]).expect(3);
    assert!(none.err.contains("no cutover is under way"), "{}", none.err);
    let answer = cloud.run(&["--json", "pause"]).expect(3).json();
    assert_eq!((&answer["accepted"], &answer["run"]), (&json!(false), &Value::Null));

    let cutover = Beside::start(&cloud, &["cutover", "--id", "aborted"]);
    function.wait_for_phase("aborted", "verify");
    let pause = cloud.run(&["pause", "--id", "aborted"]).expect(3);
    assert!(pause.err.contains("in no steps") && pause.err.contains("It can be aborted"), "{}", pause.err);
    let abort = cloud.run(&["--json", "abort", "--id", "aborted"]).expect(0).json();
    assert_eq!(abort["outcome"], "rolled_back", "{abort:#}");
    assert!(abort["message"].as_str().unwrap().starts_with("it was aborted; traffic is back on green"), "{abort:#}");
    assert_eq!(function.sides(), ("green".to_owned(), "blue".to_owned()));
    cutover.end().expect(4);
    let late = cloud.run(&["abort", "--id", "aborted"]).expect(3);
    assert!(late.err.contains("no cutover is under way"), "{}", late.err);
}

#[test]
fn a_paused_shift_waits_for_its_promotion() {
    let cloud = with_two_versions();
    let function = Function::of(&cloud);
    let shift = Beside::start(&cloud, &["cutover", "--id", "paused", "--shift", "50:3s", "--probes", "20"]);
    function.wait_for_phase("paused", "shift");
    cloud.run(&["pause"]).expect(0);
    let paused = eventually("it is paused", || {
        let record = function.record("paused")?;
        record["message"].as_str()?.contains("paused").then_some(record)
    });
    assert_eq!(paused["weight"], 50, "{paused:#}");
    cloud.run(&["promote"]).expect(0);
    shift.end().expect(0);
    assert_eq!(function.sides(), ("blue".to_owned(), "green".to_owned()));
}

#[test]
fn ctrl_c_leaves_a_cutover_to_itself_and_twice_stops_it() {
    let cloud = with_two_versions();
    let function = Function::of(&cloud);
    let terminal = Terminal::new(120, 40);
    let mut cutover = terminal.run(&cloud.command(&["cutover", "--id", "left"]));
    function.wait_for_phase("left", "verify");
    cutover.types(CTRL_C);
    cutover.shows("Press Ctrl-C again within 5 s, or run bluegreen abort");
    assert_eq!(cutover.end(), 130, "{}", terminal.written());
    assert_eq!(function.wait_for_end("left")["outcome"], "done");

    let terminal = Terminal::new(120, 40);
    let mut cutover = terminal.run(&cloud.command(&["cutover", "--id", "stopped"]));
    function.wait_for_phase("stopped", "verify");
    cutover.types(CTRL_C);
    cutover.shows("Ctrl-C again within 5 s");
    cutover.types(CTRL_C);
    cutover.shows("Run stopped: abort requested.");
    assert_eq!(cutover.end(), 4, "{}", terminal.written());
    assert_eq!(function.record("stopped").unwrap()["outcome"], "rolled_back");
}
