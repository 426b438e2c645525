//! Events as lines: for people, one line for what matters; for programs, JSON.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::color::Color;
use model::stack_state::Progress;

use super::Style;
use super::progress::RunProgress;
use crate::report::text::{visible, visible_lines};
use deploy::{Event, EventKind, Listener};

/// Which reasons of failed tasks were shown: tasks of one version usually fail for the same reason, and the error at the end
/// says how many failed.
#[derive(Debug, Default)]
pub(super) struct ShownFailures(HashSet<(Color, String)>);

impl ShownFailures {
    /// Whether this event repeats a reason.
    pub(super) fn repeats(&mut self, event: &EventKind) -> bool {
        match event {
            EventKind::TaskFailed { color, reason, .. } => !self.0.insert((*color, reason.clone())),
            _ => false,
        }
    }
}

/// Writes events for people to standard error.
#[derive(Debug)]
pub struct Lines {
    style: Style,
    run: Mutex<RunProgress>,
    failures: Mutex<ShownFailures>,
}

impl Lines {
    /// Lines in this style.
    pub fn new(style: Style) -> Self {
        Self { style, run: Mutex::default(), failures: Mutex::default() }
    }

    /// The line of an event, if it is worth one.
    pub fn line(style: Style, event: &EventKind) -> Option<String> {
        Some(match event {
            EventKind::Started { step } => format!("{} {} ...", style.dim(">"), visible(&step.name)),
            EventKind::Finished { step, detail, elapsed } => {
                let took = style.dim(&format!("({})", seconds(*elapsed)));
                format!("{} {}: {} {took}", style.good("ok"), visible(&step.name), visible(detail))
            }
            EventKind::Operation { resources, estimate } => {
                let estimate = (*estimate)?;
                format!("  {} resources; the last similar operation took {}", resources.len(), seconds(estimate))
            }
            EventKind::Service { color, message } => {
                let message = visible(message);
                format!("  {}: {} {message}", style.environment(*color, color.as_str()), style.dim("ECS:"))
            }
            EventKind::Target { color, target, state, reason } => {
                let color = style.environment(*color, color.as_str());
                let (target, reason) = (visible(target), visible(reason));
                format!("  {color}: target {target} is {}: {reason}", style.warn(&visible(state)))
            }
            EventKind::RolloutFailed { color, reason } => {
                format!("  {} {color}: {}", style.bad("cannot become healthy:"), visible(reason))
            }
            EventKind::Resource { id, kind, state, reason } => {
                let reason = reason.as_deref().filter(|reason| !reason.is_empty());
                let why = reason.map_or_else(String::new, |reason| format!(": {}", visible(reason)));
                if state.is_bad() {
                    format!("  {} {id} {}{why}", style.bad(state.as_str()), style.dim(kind))
                } else if state.progress() == Progress::InProgress {
                    // Only the end of each resource is printed; its start would double the list.
                    return None;
                } else {
                    format!("  {} {id} {}", style.dim(state.as_str()), style.dim(kind))
                }
            }
            EventKind::Rollout { color, running, desired, healthy } => {
                let color = style.environment(*color, color.as_str());
                format!("  {color}: {}", rollout(*running, *desired, *healthy))
            }
            EventKind::TaskFailed { color, task, reason, output } => {
                let reason = visible(reason);
                let mut text = format!("  {} task {task} of {color}: {reason}", style.bad("failed"));
                for line in output {
                    text.push_str(&format!("\n    {} {}", style.dim("|"), visible(line)));
                }
                text
            }
            // `RunProgress` renders these.
            EventKind::Requested { .. } | EventKind::Waiting { .. } | EventKind::Reconnecting | EventKind::Run(_) => {
                return None;
            }
            EventKind::Note { text } => format!("  {}", visible_lines(text)),
            EventKind::Warning { text } => format!("{} {}", style.warn("warning:"), visible_lines(text)),
        })
    }
}

impl Listener for Lines {
    fn on(&self, event: &Event) {
        let mut run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        let repeats = self.failures.lock().unwrap_or_else(PoisonError::into_inner).repeats(&event.kind);
        let line = match run.line(&event.kind, self.style, usize::MAX) {
            Some(line) => line.is_news.then_some(line.text),
            None if repeats => None,
            None => Self::line(self.style, &event.kind),
        };
        if let Some(line) = line {
            super::say(&format!("{line}\n"));
        }
    }
}

/// Writes events for programs to standard error, one JSON object a line.
#[derive(Debug, Default)]
pub struct JsonLines {
    run: Mutex<RunProgress>,
}

/// The JSON of an event in one line.
fn json(event: &Event) -> Option<String> {
    // An event is made of text and numbers, which can always be written as JSON.
    serde_json::to_string(event).ok()
}

impl Listener for JsonLines {
    fn on(&self, event: &Event) {
        let is_due = self.run.lock().unwrap_or_else(PoisonError::into_inner).is_due(&event.kind);
        if let Some(line) = json(event).filter(|_| is_due) {
            super::say(&format!("{line}\n"));
        }
    }
}

/// How far a service is. Targets of the version before are healthy too, until they are gone.
pub(super) fn rollout(running: i32, desired: i32, healthy: usize) -> String {
    let targets = if healthy == 1 { "target" } else { "targets" };
    format!("{running} of {desired} tasks running, {healthy} {targets} healthy")
}

/// A duration for people.
pub fn seconds(duration: Duration) -> String {
    match duration.as_secs() {
        0..60 => format!("{:.1} s", duration.as_secs_f64()),
        whole => format!("{} min {:02} s", whole / 60, whole % 60),
    }
}

#[cfg(test)]
mod tests {
    use model::event::{SCHEMA, Step};
    use model::stack_state::ResourceState;

    use super::*;

    fn line(event: &EventKind) -> String {
        Lines::line(Style::PLAIN, event).unwrap_or_default()
    }

    #[test]
    fn events_read_as_sentences() {
        let finished = EventKind::Finished {
            step: Step { id: 1, name: "build greeter-v2".to_owned() },
            detail: "image of 0.9 MiB".to_owned(),
            elapsed: Duration::from_millis(32_140),
        };
        assert_eq!(line(&finished), "ok build greeter-v2: image of 0.9 MiB (32.1 s)");
        let rollout = EventKind::Rollout { color: Color::Blue, running: 1, desired: 2, healthy: 3 };
        assert_eq!(line(&rollout), "  blue: 1 of 2 tasks running, 3 targets healthy");
    }

    #[test]
    fn text_from_outside_drives_neither_a_terminal_nor_a_runner_of_workflows() {
        let (reason, output) = ("\x1b[2J\x1b]0;title\x07".to_owned(), vec!["\x1b[31m\r::set-env name=X::y".to_owned()]);
        let failed = EventKind::TaskFailed { color: Color::Blue, task: "3f2a".to_owned(), reason, output };
        let note = EventKind::Note { text: "hello\n::error::x".to_owned() };
        for event in [failed, note] {
            let shown = line(&event);
            assert!(!shown.chars().any(|it| it.is_control() && it != '\n'), "{shown:?}");
            assert!(!shown.lines().any(|line| line.starts_with("::")), "{shown:?}");
        }
    }

    #[test]
    fn tasks_that_fail_for_the_same_reason_are_shown_once() {
        let failed = |color, task: &str, reason: &str| EventKind::TaskFailed {
            color,
            task: task.to_owned(),
            reason: reason.to_owned(),
            output: Vec::new(),
        };
        let mut shown = ShownFailures::default();
        assert!(!shown.repeats(&failed(Color::Blue, "1", "app exited with code 1")));
        assert!(shown.repeats(&failed(Color::Blue, "2", "app exited with code 1")));
        assert!(!shown.repeats(&failed(Color::Green, "3", "app exited with code 1")));
        assert!(!shown.repeats(&failed(Color::Blue, "4", "app exited with code 2")));
        let note = EventKind::Note { text: "x".to_owned() };
        assert!(!shown.repeats(&note) && !shown.repeats(&note));
    }

    #[test]
    fn a_failed_task_shows_its_last_output() {
        let failed = EventKind::TaskFailed {
            color: Color::Blue,
            task: "3f2a".to_owned(),
            reason: "Essential container exited (exit code 3)".to_owned(),
            output: vec!["cannot bind".to_owned()],
        };
        assert_eq!(
            line(&failed),
            "  failed task 3f2a of blue: Essential container exited (exit code 3)\n    | cannot bind"
        );
    }

    #[test]
    fn a_resource_in_progress_is_not_worth_a_line_and_a_failed_one_says_why() {
        let resource = |state: &str, reason: Option<&str>| EventKind::Resource {
            id: "BlueService".to_owned(),
            kind: "AWS::ECS::Service".to_owned(),
            state: ResourceState::new(state),
            reason: reason.map(str::to_owned),
        };
        assert_eq!(line(&resource("CREATE_IN_PROGRESS", None)), "");
        assert_eq!(
            line(&resource("CREATE_FAILED", Some("no such image"))),
            "  CREATE_FAILED BlueService AWS::ECS::Service: no such image"
        );
    }

    #[test]
    fn every_event_reads_as_a_line_for_people_and_for_programs() {
        let blue = Color::Blue;
        let text = |text: &str| text.to_owned();
        let events = [
            EventKind::Started { step: Step { id: 1, name: text("update stack bluegreen") } },
            EventKind::Operation {
                resources: vec![(text("BlueService"), text("AWS::ECS::Service"))],
                estimate: Some(Duration::from_secs(95)),
            },
            EventKind::Resource {
                id: text("BlueService"),
                kind: text("AWS::ECS::Service"),
                state: ResourceState::new("UPDATE_COMPLETE"),
                reason: None,
            },
            EventKind::Service { color: blue, message: text("(service blue) has started 1 tasks: (task 3f2a).") },
            EventKind::Rollout { color: blue, running: 1, desired: 2, healthy: 0 },
            EventKind::Target {
                color: blue,
                target: text("10.0.0.7"),
                state: text("unhealthy"),
                reason: text("Health checks failed with these codes: [500]"),
            },
            EventKind::RolloutFailed { color: blue, reason: text("3 tasks failed in a row and none is healthy") },
            EventKind::Note { text: text("asked CloudFormation to take the update back") },
            EventKind::Warning { text: text("AWS does not respond") },
        ];
        let lines: Vec<String> = events.iter().map(line).collect();
        insta::assert_snapshot!("lines_for_people", lines.join("\n"));
        let time: jiff::Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
        let event = |(number, kind)| Event { schema: SCHEMA, event_id: number, time, kind };
        let lines: Vec<String> = (1..).zip(events).map(event).filter_map(|event| json(&event)).collect();
        insta::assert_snapshot!("lines_for_programs", lines.join("\n"));
    }

    #[test]
    fn minutes_are_minutes() {
        assert_eq!(seconds(Duration::from_secs(187)), "3 min 07 s");
    }
}
