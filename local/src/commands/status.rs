//! `status`: shows what runs, and the reason if the local cloud does not run.

use super::{block_on, listener_name, overview, print, task_lines};
use crate::balancer::ForwardSet;
use crate::control;
use crate::engine::{self, EngineStatus, TaskReport};
use crate::environment::{connect_to, forwards};
use crate::error::Result;
use crate::instance::{Forward, Layout, Phase, ProcessLedger, Record};
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use std::fmt::Write;
use std::process::ExitCode;

/// Prints the status. Exit code 1 if the local cloud does not run.
pub(crate) fn status(layout: &Layout, as_json: bool) -> Result<ExitCode> {
    let record = match Record::read(layout)? {
        Some(record) if record.daemon_alive() && record.phase == Phase::Ready => record,
        other => return not_running(layout, other.as_ref(), as_json),
    };
    let engine = engine_status(layout)?;
    let sets = forwards(layout)?;
    let shown = shown(&sets);
    if as_json {
        let forwards: Vec<Value> = shown
            .iter()
            .map(|(forward, set)| {
                json!({
                    "url": set.url(*forward),
                    "listener": forward.listener,
                    "load_balancer": set.balancer,
                })
            })
            .collect();
        let all = json!({
            "state": "running",
            "endpoint": record.endpoint(),
            "region": record.region,
            "forwards": forwards,
            "isolation": record.isolation,
            "internet": record.internet,
            "nodes": record.nodes,
            "connect_to": connect_to(&record.nodes, &sets),
            "certificate_authority": layout.authority(),
            "tasks": engine.tasks,
            "pull_failures": engine.pull_failures,
            "logs": { "daemon": layout.daemon_log(), "ministack": layout.ministack_log() },
        });
        print(&format!("{all:#}\n"))?;
    } else {
        print(&render(layout, &record, &shown, &engine))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn not_running(layout: &Layout, record: Option<&Record>, as_json: bool) -> Result<ExitCode> {
    let alive = record.is_some_and(Record::daemon_alive);
    let why = match record.map(|record| &record.phase) {
        Some(Phase::Failed(why)) => Some(why.clone()),
        Some(Phase::Starting) if alive => Some("it is still starting".to_owned()),
        Some(_) => Some("its daemon is not running".to_owned()),
        None => None,
    };
    let left: Vec<String> = if alive {
        Vec::new()
    } else {
        ProcessLedger::left_behind(layout)?
            .iter()
            .map(|child| format!("{} (pid {})", child.what, child.process.pid))
            .collect()
    };
    if as_json {
        print(&format!("{:#}\n", json!({ "state": "stopped", "reason": why, "left_behind": left })))?;
        return Ok(ExitCode::FAILURE);
    }
    let mut text = "The local cloud is not running".to_owned();
    text.push_str(&why.map_or_else(|| ".".to_owned(), |why| format!(": {why}")));
    if !left.is_empty() {
        let _ = write!(text, "\nLeftover processes: {}\nStop them: local-cloud down", left.join(", "));
    }
    print(&format!("{text}\nStart it: local-cloud up (in the project of bluegreen: make local-up)\n"))?;
    Ok(ExitCode::FAILURE)
}

/// Asks the engine for its status.
pub(super) fn engine_status(layout: &Layout) -> Result<EngineStatus> {
    block_on(control::request(&layout.socket(), Method::GET, engine::STATUS_PATH, Bytes::new()))
}

/// The forwarded ports to show, with their load balancers: those of the first set, and those of every other load balancer.
fn shown(sets: &[ForwardSet]) -> Vec<(Forward, &ForwardSet)> {
    let wanted = sets.iter().enumerate().filter(|(index, set)| *index == 0 || set.balancer.is_some());
    wanted.flat_map(|(_, set)| set.forwards.iter().map(move |forward| (*forward, set))).collect()
}

fn render(layout: &Layout, record: &Record, forwards: &[(Forward, &ForwardSet)], engine: &EngineStatus) -> String {
    let mut lines = vec!["The local cloud is running.".to_owned()];
    lines.push(overview(record).swap_remove(0));
    for (forward, set) in forwards {
        let target = set.balancer.as_deref().unwrap_or("no load balancer yet");
        lines.push(format!("  forward       {} -> {target} ({})", set.url(*forward), listener_name(*forward)));
    }
    let nodes: Vec<String> = record.nodes.iter().map(ToString::to_string).collect();
    lines.push(format!("  nodes         {}  (of the load balancer; each has all forwarded ports)", nodes.join(", ")));
    lines.push(format!("  certificates  {}  (to verify HTTPS listeners)", layout.authority().display()));
    lines.extend(task_lines(record));
    let (failed, live): (Vec<&TaskReport>, Vec<&TaskReport>) =
        engine.tasks.iter().partition(|task| task.state == engine::Phase::Exited);
    if engine.tasks.is_empty() {
        lines.push("No tasks.".to_owned());
    } else {
        lines.push(format!("{:<9} {:<24} {:<13} {:<15} STATE", "TASK", "SERVICE", "IMAGE", "ADDRESS"));
    }
    for task in live {
        lines.extend(render_task(task, 1));
    }
    for (task, times) in alike(&failed) {
        lines.extend(render_task(task, times));
    }
    for failure in &engine.pull_failures {
        lines.push(format!("pull failed: {failure}"));
    }
    lines.join("\n") + "\n"
}

/// Groups equal failures. Each group is shown as its last failure, with their number.
fn alike<'a>(failed: &[&'a TaskReport]) -> Vec<(&'a TaskReport, usize)> {
    let mut groups: Vec<(&TaskReport, usize)> = Vec::new();
    for task in failed {
        let same = |other: &TaskReport| {
            (&other.service, &other.image, other.exit_code, &other.output)
                == (&task.service, &task.image, task.exit_code, &task.output)
        };
        match groups.iter_mut().find(|(other, _)| same(other)) {
            Some(group) => *group = (task, group.1 + 1),
            None => groups.push((task, 1)),
        }
    }
    groups
}

fn render_task(task: &TaskReport, times: usize) -> Vec<String> {
    let short = |text: &str, length: usize| text.chars().take(length).collect::<String>();
    let mut state = match task.state {
        engine::Phase::Created => "created",
        engine::Phase::Starting => "starting",
        engine::Phase::Healthy => "healthy",
        engine::Phase::Unhealthy => "unhealthy",
        engine::Phase::Draining => "draining",
        engine::Phase::Exited => "exited",
    }
    .to_owned();
    if let Some(code) = task.exit_code {
        let _ = write!(state, " ({code})");
    }
    if times > 1 {
        let _ = write!(state, " {times} times");
    }
    if let Some(reason) = &task.reason {
        let _ = write!(state, ": {reason}");
    }
    let service = task.service.as_deref().or(task.definition.as_deref()).unwrap_or("-");
    let id = short(task.task.as_deref().unwrap_or(&task.id), 8);
    let mut lines =
        vec![format!("{id:<9} {:<24} {:<13} {:<15} {state}", short(service, 24), task.image, task.address.to_string())];
    lines.extend(task.output.iter().map(|line| format!("          | {line}")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn failed(task: &str) -> TaskReport {
        TaskReport {
            id: "0123456789ab".into(),
            created: jiff::Timestamp::UNIX_EPOCH,
            task: Some(task.into()),
            service: Some("blue".into()),
            definition: Some("blue:2".into()),
            image: "deadbeef0123".into(),
            address: Ipv4Addr::new(127, 64, 0, 7),
            state: engine::Phase::Exited,
            exit_code: Some(3),
            reason: Some("the app exited with code 3".into()),
            output: vec!["cannot bind".into()],
            log: "/state/containers/0123456789ab/output.log".into(),
        }
    }

    #[test]
    fn a_failed_task_shows_its_code_its_reason_and_its_last_words() {
        assert_eq!(
            render_task(&failed("4711aabbccdd"), 1),
            [
                "4711aabb  blue                     deadbeef0123  127.64.0.7      \
                 exited (3): the app exited with code 3",
                "          | cannot bind",
            ]
        );
    }

    #[test]
    fn failures_that_say_the_same_are_shown_once() {
        let (first, second) = (failed("first"), failed("second"));
        let other = TaskReport { exit_code: Some(4), ..failed("other") };
        let groups = alike(&[&first, &second, &other]);
        let shown: Vec<_> = groups.iter().map(|(task, times)| (task.task.as_deref(), *times)).collect();
        assert_eq!(shown, [(Some("second"), 2), (Some("other"), 1)]);
    }
}
