//! A person at a terminal during a deployment on the local cloud: Ctrl-C, the question that follows, and what either answer
//! leaves behind. `script` gives the command a terminal of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[allow(dead_code, reason = "other tests use the rest")]
mod support;

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::Value;
use support::function::eventually;
use support::{Cloud, project};

const CTRL_C: &str = "\x03";

fn faulty() -> PathBuf {
    project().join("local/faulty")
}

/// A command on a terminal.
struct Terminal {
    child: Child,
    shown: Arc<Mutex<String>>,
    reader: JoinHandle<()>,
}

impl Terminal {
    /// Starts `bluegreen` on a terminal of its own.
    fn of(cloud: &Cloud, arguments: &[&str]) -> Self {
        let command = cloud.command(arguments);
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let line: Vec<String> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
        // Without exec, some shells wait in between and end as Ctrl-C ended them, whatever the command ended with.
        let line = format!("exec {}", line.join(" "));
        let mut script = Command::new("script");
        script.args(["--quiet", "--flush", "--return", "--command", &line, "/dev/null"]);
        script.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("TERM", "xterm");
        script.env_remove("CI").current_dir(faulty()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = script.spawn().expect("script (util-linux) is there");
        let shown = Arc::new(Mutex::new(String::new()));
        let (mut output, screen) = (child.stdout.take().unwrap(), Arc::clone(&shown));
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut bytes) {
                screen.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..read]));
            }
        });
        Self { child, shown, reader }
    }

    fn types(&mut self, text: &str) {
        self.child.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    #[track_caller]
    fn shows(&self, text: &str) {
        eventually(&format!("{text:?} is on the terminal"), || self.shown.lock().unwrap().contains(text).then_some(()));
    }

    /// The exit code, and all that was shown.
    fn end(mut self) -> (i32, String) {
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        self.reader.join().unwrap();
        let shown = self.shown.lock().unwrap().clone();
        (code, shown)
    }
}

/// Version, tasks and fault of an environment.
fn environment(cloud: &Cloud, color: usize) -> Value {
    cloud.run_in(&faulty(), &["--json", "status"]).expect(0).json()["environments"][color].clone()
}

#[test]
fn ctrl_c_during_a_deployment_asks_and_whatever_is_chosen_the_next_command_understands() {
    let cloud = Cloud::start([90, 91]);
    let run = |arguments: &[&str]| cloud.run_in(&faulty(), arguments);
    run(&["deploy"]).expect(0);

    // Events come late, so CloudFormation seems to take its time. Somebody detaches.
    let (code, shown) = interrupted(&cloud, "4", "d\n");
    assert_eq!(code, 130, "{shown}");
    assert!(shown.contains("run the same command again"), "{shown}");
    run(&["deploy", "--version", "4"]).expect(0);
    assert_eq!(environment(&cloud, 0)["version"], "4");

    // Somebody cancels, too late for CloudFormation, which was done: what was there before is there again.
    let (code, shown) = interrupted(&cloud, "1", "c\n");
    assert_eq!(code, 4, "{shown}");
    assert!(shown.contains("the deployment was taken back"), "{shown}");
    let blue = environment(&cloud, 0);
    assert_eq!((&blue["version"], &blue["fault"]), (&"4".into(), &Value::Null), "{blue}");

    // Twice: whoever does that wants to be gone.
    let (code, shown) = interrupted(&cloud, "1", CTRL_C);
    assert_eq!(code, 130, "{shown}");
    run(&["deploy", "--version", "1"]).expect(0);
    let blue = environment(&cloud, 0);
    assert_eq!((&blue["version"], &blue["fault"]), (&"1".into(), &Value::Null), "{blue}");

    // While an environment is waited for that will not come up.
    let mut terminal = Terminal::of(&cloud, &["deploy", "--version", "3", "--on-failure", "wait"]);
    terminal.shows("wait for blue");
    terminal.types(CTRL_C);
    terminal.shows("cancel it, and go back to what was there before");
    terminal.types(CTRL_C);
    let (code, shown) = terminal.end();
    assert_eq!(code, 130, "{shown}");
}

/// Deploys a version, presses Ctrl-C while its update seems to go on, and answers the question.
fn interrupted(cloud: &Cloud, version: &str, answer: &str) -> (i32, String) {
    let late = ["fault", "add", "delay", "--caller", "client", "--action", "DescribeStackEvents", "--skip", "1"];
    cloud.local(&[&late[..], &["--ms", "4000"]].concat()).expect(0);
    let mut terminal = Terminal::of(cloud, &["deploy", "--version", version]);
    eventually("the update is being followed", || {
        let faults = cloud.local(&["fault", "list", "--json"]).expect(0).json();
        (faults["calls"][0]["met"].as_u64()? >= 2).then_some(())
    });
    terminal.types(CTRL_C);
    terminal.shows("What now?");
    cloud.local(&["fault", "clear"]).expect(0);
    terminal.types(answer);
    terminal.end()
}
