//! A change of the stack as a live tree: the steps in progress, under them the resources by environment, with times. Knows
//! events and clocks, no terminal: a frame is lines of text.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use model::color::Color;
use model::stack_state::{Action, Progress, ResourceState};

use super::lines::{rollout, seconds};
use super::style::{Paint, Style, columns, cut};
use deploy::EventKind;
use model::event::Step;

/// Frames of the sign of life.
const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// Resources of one group that are shown by name.
const SHOWN: usize = 4;

/// What goes on.
#[derive(Debug, Default)]
pub struct Tree {
    steps: Vec<(Step, Instant)>,
    operation: Option<Operation>,
    environments: BTreeMap<Color, Environment>,
}

#[derive(Debug)]
struct Operation {
    began: Instant,
    estimate: Option<Duration>,
    resources: BTreeMap<String, Resource>,
}

#[derive(Debug)]
struct Resource {
    kind: String,
    state: ResourceState,
    began: Option<Instant>,
    took: Option<Duration>,
}

#[derive(Debug, Default)]
struct Environment {
    rollout: Option<(i32, i32, usize)>,
    said: Option<String>,
}

/// The size of a frame, and its time.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// Now.
    pub now: Instant,
    /// Columns of the terminal.
    pub width: usize,
    /// Most lines.
    pub height: usize,
    /// Which frame of the sign of life.
    pub tick: usize,
    /// The style.
    pub style: Style,
}

/// What belongs together in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    Environment(Color),
    Shared,
}

impl Group {
    fn of(id: &str) -> Self {
        let mine = |color: &Color| {
            let title = stack::title(*color);
            id.strip_prefix("Dev").unwrap_or(id).starts_with(title)
        };
        Color::ALL.into_iter().find(mine).map_or(Self::Shared, Self::Environment)
    }
}

impl Tree {
    /// Takes an event that happened now.
    pub fn on(&mut self, event: &EventKind, now: Instant) {
        match event {
            EventKind::Started { step } => self.steps.push((step.clone(), now)),
            EventKind::Finished { step, .. } => {
                self.steps.retain(|(known, _)| known.id != step.id);
                if self.steps.is_empty() {
                    *self = Self::default();
                }
            }
            EventKind::Operation { resources, estimate } => {
                let waiting = |kind: &String| Resource {
                    kind: kind.clone(),
                    state: ResourceState::default(),
                    began: None,
                    took: None,
                };
                let resources = resources.iter().map(|(id, kind)| (id.clone(), waiting(kind))).collect();
                self.operation = Some(Operation { began: now, estimate: *estimate, resources });
                self.environments.clear();
            }
            EventKind::Resource { id, state, kind, .. } => self.resource(id, kind, state, now),
            EventKind::Rollout { color, running, desired, healthy } => {
                self.environments.entry(*color).or_default().rollout = Some((*running, *desired, *healthy));
            }
            EventKind::Service { color, message } => {
                self.environments.entry(*color).or_default().said = Some(format!("ECS: {message}"));
            }
            EventKind::Target { color, target, state, reason } => {
                let said = format!("target {target} is {state}: {reason}");
                self.environments.entry(*color).or_default().said = Some(said);
            }
            EventKind::TaskFailed { color, task, reason, .. } => {
                let said = format!("task {task} failed: {reason}");
                self.environments.entry(*color).or_default().said = Some(said);
            }
            EventKind::RolloutFailed { color, reason } => {
                // The wait is over.
                let waiting = format!("wait for {color}");
                self.steps.retain(|(step, _)| step.name != waiting);
                self.environments.entry(*color).or_default().said = Some(format!("cannot become healthy: {reason}"));
            }
            EventKind::Waiting { .. }
            | EventKind::Requested { .. }
            | EventKind::Reconnecting
            | EventKind::Run(_)
            | EventKind::Note { .. }
            | EventKind::Warning { .. } => {}
        }
    }

    fn resource(&mut self, id: &str, kind: &str, state: &ResourceState, now: Instant) {
        let Some(operation) = &mut self.operation else { return };
        if kind == "AWS::CloudFormation::Stack" {
            if state.progress() != Progress::InProgress {
                self.operation = None;
            }
            return;
        }
        let fresh = || Resource { kind: kind.to_owned(), state: ResourceState::default(), began: None, took: None };
        let resource = operation.resources.entry(id.to_owned()).or_insert_with(fresh);
        resource.state = state.clone();
        if state.progress() == Progress::InProgress {
            resource.took = None;
            resource.began.get_or_insert(now);
        } else {
            resource.took = Some(now - resource.began.unwrap_or(now));
        }
    }

    /// Whether there is nothing to show.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The tree in lines that fit.
    pub fn frame(&self, view: View) -> Vec<String> {
        let spinner = SPINNER[view.tick % SPINNER.len()];
        let mut lines = Vec::new();
        for (index, (step, began)) in self.steps.iter().enumerate() {
            let last = index + 1 == self.steps.len();
            let mut line = Line::default();
            line.push(Paint::Warn, format!("{spinner} ")).push(Paint::Strong, step.name.clone());
            line.push(Paint::Dim, format!("  {}", clock(view.now - *began)));
            let estimate = self.operation.as_ref().and_then(|it| it.estimate);
            if last && let Some(about) = estimate.filter(|about| about.as_secs() > 0) {
                line.push(Paint::Dim, format!(" of about {}", clock(about)));
            }
            lines.push(line);
        }
        match &self.operation {
            Some(operation) => self.operation_lines(operation, spinner, view, &mut lines),
            None => {
                for (color, environment) in &self.environments {
                    let mut line = Line::indented(1);
                    line.push(Paint::Environment(*color), format!("{color:<7}"));
                    environment.describe(&mut line);
                    lines.push(line);
                    lines.extend(environment.said(2));
                }
            }
        }
        if lines.len() > view.height {
            lines.truncate(view.height.saturating_sub(1));
            let mut more = Line::indented(1);
            more.push(Paint::Dim, "…".to_owned());
            lines.push(more);
        }
        lines.iter().map(|line| line.fit(view.width, view.style)).collect()
    }

    fn operation_lines(&self, operation: &Operation, spinner: &str, view: View, lines: &mut Vec<Line>) {
        let mut groups: BTreeMap<Group, Vec<(&String, &Resource)>> = BTreeMap::new();
        for (id, resource) in &operation.resources {
            groups.entry(Group::of(id)).or_default().push((id, resource));
        }
        let slowest = operation.slowest(view.now);
        for (group, resources) in groups {
            let done = resources.iter().filter(|(_, resource)| resource.took.is_some()).count();
            let mut line = Line::indented(1);
            match group {
                Group::Environment(color) => line.push(Paint::Environment(color), format!("{:<7}", color.as_str())),
                Group::Shared => line.push(Paint::Strong, format!("{:<7}", "shared")),
            };
            line.push(Paint::Plain, format!(" {done} of {} done", resources.len()));
            if let Group::Environment(color) = group
                && let Some(environment) = self.environments.get(&color)
            {
                line.push(Paint::Plain, "; ".to_owned());
                environment.describe(&mut line);
            }
            lines.push(line);
            let under_way = |(_, it): &&(&String, &Resource)| it.began.is_some() && it.took.is_none();
            let shown: Vec<_> = resources.iter().filter(under_way).collect();
            for (id, resource) in shown.iter().take(SHOWN) {
                let mut line = Line::indented(2);
                line.push(Paint::Warn, format!("{spinner} ")).push(Paint::Plain, (*id).clone());
                line.push(Paint::Dim, format!("  {}", resource.words(view.now)));
                lines.push(line);
            }
            if shown.len() > SHOWN {
                let mut more = Line::indented(2);
                more.push(Paint::Dim, format!("… and {} more", shown.len() - SHOWN));
                lines.push(more);
            }
            if let Group::Environment(color) = group {
                lines.extend(self.environments.get(&color).and_then(|environment| environment.said(2)));
            }
        }
        if let Some((id, took)) = slowest {
            let mut line = Line::indented(1);
            line.push(Paint::Dim, format!("slowest so far: {id}, {}", clock(took)));
            lines.push(line);
        }
    }
}

impl Operation {
    fn slowest(&self, now: Instant) -> Option<(&String, Duration)> {
        let times = self.resources.iter().filter_map(|(id, resource)| Some((id, resource.elapsed(now)?)));
        // The slowest resource is shown only after a noticeable time.
        times
            .max_by_key(|(_, took)| *took)
            .filter(|(_, took)| *took >= Duration::from_secs(5))
            .filter(|_| self.began < now)
    }
}

impl Resource {
    fn elapsed(&self, now: Instant) -> Option<Duration> {
        self.took.or_else(|| self.began.map(|began| now - began))
    }

    /// Its state as text: `updating 31 s`.
    fn words(&self, now: Instant) -> String {
        let verb = match self.state.action() {
            Action::Create => "being created",
            Action::Update => "being updated",
            Action::RollBack => "being rolled back",
            Action::Delete => "being deleted",
            Action::Other => "in progress",
        };
        let kind = self.kind.rsplit("::").next().unwrap_or_default();
        format!("{kind}, {verb} {}", clock(self.elapsed(now).unwrap_or_default()))
    }
}

impl Environment {
    fn describe(&self, line: &mut Line) {
        let Some((running, desired, healthy)) = self.rollout else { return };
        line.push(Paint::Plain, rollout(running, desired, healthy));
    }

    fn said(&self, indent: usize) -> Option<Line> {
        let mut line = Line::indented(indent);
        line.push(Paint::Dim, self.said.clone()?);
        Some(line)
    }
}

/// A time that does not flicker: whole seconds.
fn clock(duration: Duration) -> String {
    match duration.as_secs() {
        whole @ 0..60 => format!("{whole} s"),
        _ => seconds(duration),
    }
}

/// A line of painted pieces, cut at the width of the terminal.
#[derive(Debug, Default)]
struct Line {
    pieces: Vec<(Paint, String)>,
}

impl Line {
    fn indented(depth: usize) -> Self {
        Self { pieces: vec![(Paint::Plain, "  ".repeat(depth))] }
    }

    fn push(&mut self, paint: Paint, text: String) -> &mut Self {
        self.pieces.push((paint, text));
        self
    }

    fn fit(&self, width: usize, style: Style) -> String {
        let total: usize = self.pieces.iter().map(|(_, text)| columns(text)).sum();
        let mut left = if total > width { width.saturating_sub(1) } else { width };
        let mut text = String::new();
        for (paint, piece) in &self.pieces {
            // What a service says may hold anything; a control character would move the cursor.
            let piece: String = piece.chars().filter(|it| !it.is_control()).collect();
            let piece = cut(&piece, left);
            left -= columns(piece);
            text.push_str(&style.painted(*paint, piece));
        }
        if total > width { text + "…" } else { text }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use super::*;

    fn text(text: &str) -> String {
        text.to_owned()
    }

    fn step(id: u64, name: &str) -> Step {
        Step { id, name: text(name) }
    }

    fn resource(id: &str, kind: &str, status: &str) -> EventKind {
        EventKind::Resource { id: text(id), kind: text(kind), state: ResourceState::new(status), reason: None }
    }

    /// An update of blue, 42 seconds old.
    fn update() -> (Tree, Instant) {
        let began = Instant::now();
        let at = |second: u64| began + Duration::from_secs(second);
        let mut tree = Tree::default();
        tree.on(&EventKind::Started { step: step(1, "update stack bluegreen") }, began);
        let resources = [
            ("BlueService", "AWS::ECS::Service"),
            ("BlueTaskDefinition", "AWS::ECS::TaskDefinition"),
            ("CutoverFunction", "AWS::Lambda::Function"),
            ("CutoverRole", "AWS::IAM::Role"),
        ];
        let resources = resources.iter().map(|(id, kind)| (text(id), text(kind))).collect();
        tree.on(&EventKind::Operation { resources, estimate: Some(Duration::from_secs(110)) }, began);
        tree.on(&resource("bluegreen", "AWS::CloudFormation::Stack", "UPDATE_IN_PROGRESS"), began);
        tree.on(&resource("BlueTaskDefinition", "AWS::ECS::TaskDefinition", "UPDATE_IN_PROGRESS"), at(1));
        tree.on(&resource("BlueTaskDefinition", "AWS::ECS::TaskDefinition", "UPDATE_COMPLETE"), at(2));
        tree.on(&resource("CutoverRole", "AWS::IAM::Role", "UPDATE_IN_PROGRESS"), at(20));
        tree.on(&resource("BlueService", "AWS::ECS::Service", "UPDATE_IN_PROGRESS"), at(11));
        tree.on(&EventKind::Rollout { color: Color::Blue, running: 1, desired: 2, healthy: 1 }, at(30));
        let message =
            text("(service bluegreen-BlueService-Kq3v) has started 1 tasks: (task 3f2a9c0d1e5b4a6f8c7d9e0b1a2c3d4e).");
        tree.on(&EventKind::Service { color: Color::Blue, message }, at(31));
        (tree, at(42))
    }

    fn frame(tree: &Tree, now: Instant, width: usize) -> String {
        tree.frame(View { now, width, height: 20, tick: 0, style: Style::PLAIN }).join("\n")
    }

    #[test]
    fn an_update_at_80_and_at_200_columns() {
        let (tree, now) = update();
        insta::assert_snapshot!("tree_80", frame(&tree, now, 80));
        insta::assert_snapshot!("tree_200", frame(&tree, now, 200));
        assert!(frame(&tree, now, 80).lines().all(|line| columns(line) <= 80));
    }

    /// What a service says may be in any language. On a terminal, a line that is too wide goes on in the next one, and
    /// then a frame is higher than the screen believes: it would wipe too little of it.
    #[test]
    fn a_line_of_wide_characters_stays_one_line_of_the_terminal() {
        let (mut tree, now) = update();
        for message in ["服务已启动一个任务".repeat(9), "👩\u{200d}🔬🇯🇵 ready ".repeat(9)] {
            tree.on(&EventKind::Service { color: Color::Blue, message }, now);
            for width in 20..60 {
                let lines = tree.frame(View { now, width, height: 20, tick: 0, style: Style::PLAIN });
                let columns = NonZero::new(u16::try_from(width).unwrap()).unwrap();
                let mut terminal = vt100::Parser::new(NonZero::new(20).unwrap(), columns, 0);
                terminal.process(lines.join("\r\n").as_bytes());
                let last = terminal.screen().cursor_position().0;
                assert_eq!(usize::from(last) + 1, lines.len(), "{width} columns:\n{}", terminal.screen().contents());
            }
        }
    }

    #[test]
    fn a_tree_is_never_higher_than_the_terminal() {
        let (tree, now) = update();
        let lines = tree.frame(View { now, width: 80, height: 3, tick: 0, style: Style::PLAIN });
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn what_a_task_said_is_on_screen_and_cannot_move_the_cursor() {
        let (mut tree, now) = update();
        let failed = EventKind::TaskFailed {
            color: Color::Blue,
            task: text("3f2a"),
            reason: text("exited (exit code 3)\u{1b}[2J"),
            output: Vec::new(),
        };
        tree.on(&failed, now);
        let shown = frame(&tree, now, 80);
        assert!(shown.contains("task 3f2a failed: exited (exit code 3)"), "{shown}");
        assert!(!shown.contains('\u{1b}'), "{shown:?}");
    }

    #[test]
    fn after_the_last_step_nothing_is_left() {
        let (mut tree, now) = update();
        let step = step(1, "update stack bluegreen");
        tree.on(&EventKind::Finished { step, detail: String::new(), elapsed: Duration::ZERO }, now);
        assert!(tree.is_empty());
        assert_eq!(frame(&tree, now, 80), "");
    }
}
