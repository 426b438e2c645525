//! The terminal output on the local cloud: the screen during and after a release; and Ctrl-C during a deployment, the
//! question that follows, and the result of each answer.

use std::path::PathBuf;

use crate::support::function::eventually;
use crate::support::terminal::{Running, Terminal};
use crate::support::{Cloud, project};
use serde_json::Value;

const CTRL_C: &str = "\x03";

/// The frames of the progress indicator.
const SPINNER: &str = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏";

fn faulty() -> PathBuf {
    project().join("local/faulty")
}

/// Version, tasks and fault of an environment.
fn environment(cloud: &Cloud, color: usize) -> Value {
    cloud.run_in(&faulty(), &["--json", "status"]).expect(0).json()["environments"][color].clone()
}

/// The release of a version, on a narrow terminal and on a wide one.
#[test]
fn a_release_fits_the_terminal_and_leaves_nothing_of_what_was_rewritten() {
    let cloud = Cloud::start([80, 81]);
    cloud.run(&["deploy"]).expect(0);
    for (columns, idle, prod) in [(80, "blue", "green"), (200, "green", "blue")] {
        let terminal = Terminal::new(columns, 50);
        // Tasks need time to become healthy.
        let service = format!("{}Service", if idle == "blue" { "Blue" } else { "Green" });
        cloud.local(&["fault", "task", "unhealthy", "--of", &service]).expect(0);
        let deployment = typed(&terminal, &cloud, &["deploy", "--version", "2"]);
        let rollout = format!("  {idle:<7}0 of 2 tasks running, ");
        until(&terminal, "tasks are waited for", |line| line.contains(&format!(" wait for {idle}  ")));
        until(&terminal, "the screen shows what runs", |line| line.starts_with(&rollout));
        cloud.local(&["fault", "clear"]).expect(0);
        assert_eq!(deployment.end(), 0, "{}", terminal.written());
        let screen = settled(&terminal);
        assert_eq!(screen.iter().filter(|line| line.contains("wait for")).count(), 2, "{screen:#?}");
        let up = format!("ok wait for {idle}: responds with version 2, healthy (");
        assert!(screen.iter().any(|line| line.starts_with(&up)), "{screen:#?}");

        let cutover = typed(&terminal, &cloud, &["cutover"]);
        until(&terminal, "the new version answers", |line| {
            line.starts_with("  verify ") && line.contains("version: 2")
        });
        assert_eq!(cutover.end(), 0, "{}", terminal.written());
        let screen = settled(&terminal);
        let done = format!("  done       prod {idle}, dev {prod}; 150 probes, 0 failed, version: 2 ");
        assert_eq!(screen.iter().filter(|line| line.starts_with(&done)).count(), 1, "{screen:#?}");
        assert!(!screen.iter().any(|line| line.contains("verify")), "{screen:#?}");

        assert_eq!(typed(&terminal, &cloud, &["status"]).end(), 0, "{}", terminal.written());
        let screen = settled(&terminal);
        let row = format!("{idle:<11}  prod  ");
        assert!(screen.iter().any(|line| line.starts_with(&row)), "{screen:#?}");
        if columns == 80 {
            terminal.picture("terminal");
        }
    }
}

/// The screen after a command has ended: no line was too long, and nothing changes any more.
#[track_caller]
fn settled(terminal: &Terminal) -> Vec<String> {
    let screen = terminal.screen();
    assert_eq!(terminal.broken_lines(), Vec::<String>::new());
    assert!(!screen.iter().any(|line| line.contains(|it| SPINNER.contains(it))), "{screen:#?}");
    screen
}

/// Starts `bluegreen` as if typed by a user.
fn typed(terminal: &Terminal, cloud: &Cloud, arguments: &[&str]) -> Running {
    terminal.write(&format!("\x1b[2m$\x1b[0m \x1b[1mbluegreen {}\x1b[0m\r\n", arguments.join(" ")));
    terminal.run(&cloud.command(arguments))
}

/// Waits until a line of the screen matches; returns the screen.
#[track_caller]
fn until(terminal: &Terminal, what: &str, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    eventually(what, || {
        let screen = terminal.screen();
        screen.iter().any(|line| wanted(line)).then_some(screen)
    })
}

#[test]
fn ctrl_c_during_a_deployment_asks_and_whatever_is_chosen_the_next_command_understands() {
    let cloud = Cloud::start([90, 91]);
    let run = |arguments: &[&str]| cloud.run_in(&faulty(), arguments);
    run(&["deploy"]).expect(0);

    // Events arrive late, so the update seems slow. The user detaches.
    let (code, shown) = interrupted(&cloud, "4", "d\n");
    assert_eq!(code, 130, "{shown}");
    assert!(shown.contains("Run the same command again"), "{shown}");
    run(&["deploy", "--version", "4"]).expect(0);
    assert_eq!(environment(&cloud, 0)["version"], "4");

    // The user cancels after CloudFormation has finished: the previous state is restored.
    let (code, shown) = interrupted(&cloud, "1", "c\n");
    assert_eq!(code, 4, "{shown}");
    assert!(shown.contains("which was rolled back"), "{shown}");
    let blue = environment(&cloud, 0);
    assert_eq!((&blue["version"], &blue["fault"]), (&"4".into(), &Value::Null), "{blue}");

    // Ctrl-C twice detaches at once.
    let (code, shown) = interrupted(&cloud, "1", CTRL_C);
    assert_eq!(code, 130, "{shown}");
    run(&["deploy", "--version", "1"]).expect(0);
    let blue = environment(&cloud, 0);
    assert_eq!((&blue["version"], &blue["fault"]), (&"1".into(), &Value::Null), "{blue}");

    // During the wait for an environment that cannot start: roll back, or leave it.
    let asked_while_waiting = |answer: &str| {
        let terminal = Terminal::new(80, 24);
        let mut deployment = on(&terminal, &cloud, &["deploy", "--version", "3", "--on-failure", "wait"]);
        deployment.shows("wait for blue");
        deployment.types(CTRL_C);
        deployment.shows("cancel the change and roll it back");
        deployment.types(answer);
        (deployment.end(), terminal.written())
    };
    let (code, shown) = asked_while_waiting("c\n");
    assert_eq!(code, 4, "{shown}");
    let blue = environment(&cloud, 0);
    assert_eq!((&blue["version"], &blue["fault"]), (&"1".into(), &Value::Null), "{blue}");
    let (code, shown) = asked_while_waiting(CTRL_C);
    assert_eq!(code, 130, "{shown}");
}

/// Starts `bluegreen` in the folder of the faulty service.
fn on(terminal: &Terminal, cloud: &Cloud, arguments: &[&str]) -> Running {
    terminal.run(cloud.command(arguments).current_dir(faulty()))
}

/// Deploys a version, presses Ctrl-C while the update seems to continue, and answers the question.
fn interrupted(cloud: &Cloud, version: &str, answer: &str) -> (i32, String) {
    let late = ["fault", "add", "delay", "--caller", "client", "--action", "DescribeStackEvents", "--skip", "1"];
    cloud.local(&[&late[..], &["--ms", "4000"]].concat()).expect(0);
    let terminal = Terminal::new(80, 24);
    let mut deployment = on(&terminal, cloud, &["deploy", "--version", version]);
    eventually("the update is being followed", || {
        let faults = cloud.local(&["fault", "list", "--json"]).expect(0).json();
        (faults["calls"][0]["met"].as_u64()? >= 2).then_some(())
    });
    deployment.types(CTRL_C);
    deployment.shows("What now?");
    cloud.local(&["fault", "clear"]).expect(0);
    deployment.types(answer);
    (deployment.end(), terminal.written())
}
