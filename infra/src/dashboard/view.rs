//! The parts of the page as HTML, from the state at one moment. Pure. All text from outside is escaped when it is
//! inserted, and an address from outside becomes a link only if it is an HTTP URL.

use deploy::Role;
use maud::{Markup, html};
use model::{Color, Outcome, Phase, Record};
use serde::Serialize;

use super::poller::NewRun;
use super::requests;
use crate::error::Error;
use crate::report::chart;
use crate::report::drawing::Layout;
use crate::report::text::{clean, count, ms_or_dash, offset};
use crate::report::timeline::Timeline;
use crate::report::{Run, facts, verdict};
use crate::status::{Environment, Status};

/// Failed probes that are shown.
const FAILURES: usize = 5;

/// What is known.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The stack's name.
    pub stack: String,
    /// The stack, as last read.
    pub status: Option<Status>,
    /// Why it cannot be read at the moment.
    pub problem: Option<Problem>,
    /// The run in progress, or the last one.
    pub run: Option<Run>,
    /// What was asked for here and has not begun yet.
    pub asked: Option<NewRun>,
    /// The request to the run in progress that was sent from here.
    pub reported: Option<String>,
}

/// An error as text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What failed.
    pub message: String,
    /// Why.
    pub causes: Vec<String>,
    /// What to do next.
    pub hints: Vec<String>,
}

impl Problem {
    /// The words of an error.
    pub fn of(error: &Error) -> Self {
        Self {
            message: clean(error.message()),
            causes: error.causes().iter().map(|cause| clean(cause)).collect(),
            hints: error.hints().iter().map(|hint| clean(hint)).collect(),
        }
    }
}

/// The parts, by the id of the element that holds each.
pub fn parts(view: &View) -> Vec<(&'static str, Markup)> {
    vec![
        ("about", about(view)),
        ("notices", notices(view)),
        ("environments", environments(view)),
        ("run", run(view)),
        ("history", history(view)),
    ]
}

/// The page's title: the state in a tab's few letters.
pub fn title(view: &View) -> String {
    let running = view.run.as_ref().map(|run| &run.record).filter(|record| record.is_running());
    let unresolved = view.status.as_ref().and_then(|status| status.unresolved.as_ref());
    let state = match (&view.problem, running, live(view)) {
        (Some(_), ..) => "not reachable".to_owned(),
        (None, Some(run), _) => run.phase.as_str().replace('_', " "),
        (None, None, Some(color)) => {
            let bad = unresolved.map_or_else(String::new, |it| format!("✕ {}, ", it.outcome.as_str()));
            format!("{bad}prod is {color}")
        }
        _ => "prod unknown".to_owned(),
    };
    format!("{state} · {}", view.stack)
}

/// What a screen reader says when it changes.
pub fn announcement(view: &View) -> String {
    if let Some(problem) = &view.problem {
        return problem.message.clone();
    }
    let Some(Run { record: run, .. }) = &view.run else { return String::new() };
    if !run.is_running() {
        return verdict::of(run).headline;
    }
    let failed = run.probes.as_ref().map_or(0, |probes| probes.counts.failed);
    format!("{}: {}", words(run.phase), count(failed, "failed probe"))
}

/// The environment that users of prod are served by.
pub fn live(view: &View) -> Option<Color> {
    let environments = &view.status.as_ref()?.environments;
    environments.iter().filter(|it| it.role.serves_prod()).max_by_key(|it| it.role.share).map(|it| it.color)
}

fn about(view: &View) -> Markup {
    html! {
        h1 { (view.stack) }
        @if let Some(status) = &view.status {
            p class="soft" { (status.region) " · " (status.state) }
        } @else {
            p class="soft" { "reading the stack …" }
        }
    }
}

fn notices(view: &View) -> Markup {
    let warnings = view.status.as_ref().map_or(&[][..], |status| &status.warnings);
    let unresolved = view.status.as_ref().and_then(|status| status.unresolved.as_ref());
    html! {
        @if let Some(it) = unresolved {
            div class="notice bad" id="unresolved" {
                p { strong { "✕ " (it.message) } }
                p { (it.now) }
                p { "→ " (it.todo) }
            }
        }
        @if let Some(problem) = &view.problem {
            div class="notice bad" {
                p { strong { "✕ " (problem.message) } }
                @for cause in &problem.causes { p { (cause) } }
                @for hint in &problem.hints { p { "→ " (hint) } }
                @if view.status.is_some() { p { "The data below may be outdated. This page retries automatically." } }
            }
        }
        @for warning in warnings {
            div class="notice caution" { p { strong { "! " } (clean(warning)) } }
        }
    }
}

fn environments(view: &View) -> Markup {
    html! {
        @if let Some(status) = &view.status {
            @let most = requests::most(status);
            @for environment in &status.environments { (card(status, environment, most)) }
        }
    }
}

fn card(status: &Status, environment: &Environment, most: u64) -> Markup {
    let color = environment.color;
    let Role { share, dev } = environment.role;
    let meaning = match (share, dev) {
        (100, true) => "both listeners point at it",
        (100, false) => "serves users",
        (1.., _) => "serves a share of the users",
        (0, true) => "for testing the next release",
        (0, false) => "no listener points at it",
    };
    let role = environment.role.to_string().replace('+', " + ").to_uppercase();
    let url = match (share, dev) {
        (1.., _) => Some(("prod", &status.prod_url)),
        (0, true) => Some(("dev", &status.dev_url)),
        (0, false) => None,
    };
    let well = environment.fault.is_none() && (environment.healthy > 0 || environment.asleep);
    html! {
        article class={ "environment " (color) @if environment.role.serves_prod() { " live" } }
            aria-labelledby={ "name-" (color) } {
            header {
                h2 id={ "name-" (color) } { (shape(color)) (color) }
                span class={ "tag " (color) } { (role) }
            }
            p class="soft" { (meaning) }
            p class="version" {
                @if environment.version.is_empty() { "nothing deployed" } @else { "version " strong { (clean(&environment.version)) } }
            }
            dl {
                dt { "image" } dd class="mono" { (digest(&environment.image)) }
                dt { "tasks" } dd { (environment.running) " of " (environment.desired) " running" @if environment.asleep { ", asleep until needed" } }
                dt { "targets" } dd { (environment.healthy) " healthy " @if well { span class="ok" { "✓" } } @else { span class="no" { "✕" } } }
                dt { "requests" } dd { (requests::render(color, environment.requests.as_ref(), status.requests_unknown.as_deref(), most)) }
            }
            @if let Some(fault) = &environment.fault { p class="fault" { strong { "! " } (clean(fault)) } }
            @if let Some((name, url)) = url { p { (name) ": " (link(url)) } }
        }
    }
}

/// The shape of an environment, the same as in the chart.
fn shape(color: Color) -> Markup {
    html! { svg class="mark" viewBox="0 0 16 16" aria-hidden="true" { path class={ "point shape " (color) } d="M8 8h.01" {} } }
}

fn digest(image: &str) -> String {
    match image.split_once("sha256:") {
        Some((_, digest)) => format!("sha256:{}…", digest.chars().take(12).collect::<String>()),
        None if image.is_empty() => "–".to_owned(),
        None => clean(image),
    }
}

/// A link, if the text is an HTTP URL.
fn link(url: &str) -> Markup {
    let shown = clean(url);
    html! {
        @if url.starts_with("http://") || url.starts_with("https://") {
            a href=(url) rel="noreferrer" target="_blank" rel="opener" data-key=(shown) { (shown) }
        } @else { (shown) }
    }
}

/// A phase as text.
fn words(phase: Phase) -> &'static str {
    match phase {
        Phase::Idle | Phase::Locked | Phase::Recover | Phase::Preflight => "Reading both environments",
        Phase::Gate => "Probing the new side through the dev listener",
        Phase::Baseline => "Probing prod (baseline)",
        Phase::SwapDev | Phase::SwapProd => "Swapping the listeners",
        Phase::Shift => "Shifting traffic to the new side",
        Phase::Settle => "Waiting for the load balancer to follow",
        Phase::Verify => "Verifying that only the new version responds",
        Phase::RollBack => "Rolling back",
        Phase::Confirm => "Confirming the listeners",
        Phase::Done => "Done",
        Phase::RolledBack => "Rolled back",
        Phase::Held => "Held on the new side",
        Phase::Refused => "Refused",
        Phase::Failed => "Failed",
    }
}

/// The stages of a run that goes well, by the phase that ends each.
const STAGES: [(&str, Phase); 6] = [
    ("look", Phase::Preflight),
    ("gate", Phase::Gate),
    ("before", Phase::Baseline),
    ("swap", Phase::SwapProd),
    ("settle", Phase::Settle),
    ("verify", Phase::Verify),
];

fn stages(run: &Record) -> Markup {
    let current = STAGES.iter().position(|(_, end)| run.phase <= *end);
    html! {
        ol class="stages" aria-label="stages" {
            @for (number, (name, _)) in STAGES.iter().enumerate() {
                @let past = current.is_none_or(|current| number < current);
                li class=(if past { "past" } else if current == Some(number) { "current" } else { "next" })
                    aria-current=[(current == Some(number)).then_some("step")] {
                    (if past { "✓ " } else { "" }) (name)
                }
            }
            @if run.phase == Phase::RollBack { li class="current back" aria-current="step" { "↩ rollback" } }
        }
    }
}

fn run(view: &View) -> Markup {
    if let (Some(new_run), true) = (view.asked, view.run.as_ref().is_none_or(|run| !run.record.is_running())) {
        return html! { h2 { "The " (new_run.op) " to " (new_run.to) " was requested" } p { "Waiting for the function to start …" } };
    }
    let Some(whole) = &view.run else {
        return html! { h2 { "No cutover yet" } p class="soft" { "A cutover appears here while it runs, no matter where it was started." } };
    };
    let (timeline, run) = (Timeline::of(whole), &whole.record);
    let verdict = verdict::of(run);
    html! {
        div class={ "verdict " (verdict.tone.as_str()) } {
            div class="sign" aria-hidden="true" { (verdict.sign) }
            div {
                h2 tabindex="-1" data-key="verdict" { (verdict.headline) }
                @if !run.is_running() {
                    @if !run.outcome.is_some_and(Outcome::is_success) { p { (clean(&run.message)) } }
                    p { (verdict.safety) }
                } @else {
                    p { strong { (words(run.phase)) } " · " (offset(run.duration_ms)) }
                    @if let Some(reported) = &view.reported { p { strong { (clean(reported)) } } }
                    (stages(run))
                }
                @if let Some(next) = &verdict.next { p { strong { "Next: " } (next) } }
            }
        }
        (numbers(run))
        figure {
            (chart::render(&timeline, Layout::Wide, "run-wide"))
            (chart::render(&timeline, Layout::Narrow, "run-narrow"))
            figcaption { (chart::legend(&timeline)) }
        }
        (failures(run))
        @if !run.is_running() { p { (report_link(&run.id, "Full report of this run")) } }
    }
}

/// The first failed probes: what the chart can only hint at.
fn failures(run: &Record) -> Markup {
    let rows = facts::failures(run);
    let all = run.probes.as_ref().map_or(0, |probes| probes.counts.failed);
    html! {
        @if !rows.is_empty() {
            h3 { (count(all, "failed probe")) @if rows.len() > FAILURES { ", the first " (FAILURES) } }
            div class="scroll" tabindex="0" role="region" aria-label="Failed probes" {
                table {
                    thead { tr { @for name in facts::FAILURE { th scope="col" { (name) } } } }
                    tbody { @for row in rows.iter().take(FAILURES) { tr { @for cell in row { td { (cell) } } } } }
                }
            }
        }
    }
}

fn numbers(run: &Record) -> Markup {
    let Some(probes) = &run.probes else { return html! {} };
    let latest = if probes.after.count > 0 {
        probes.after
    } else if probes.during.count > 0 {
        probes.during
    } else {
        probes.before
    };
    html! {
        dl class="numbers" {
            div { dt { "probes" } dd { (probes.counts.due) } }
            div class=[(probes.counts.failed > 0).then_some("bad")] { dt { "failed" } dd { (probes.counts.failed) } }
            div { dt { "median" } dd { (ms_or_dash(latest.p50)) } }
            div { dt { "99 %" } dd { (ms_or_dash(latest.p99)) } }
            div { dt { "answers" } dd { (run.versions.seen.as_deref().map_or_else(|| "–".to_owned(), clean)) } }
        }
    }
}

fn history(view: &View) -> Markup {
    let runs = view.status.as_ref().map_or(&[][..], |status| &status.runs);
    html! {
        @if !runs.is_empty() {
            h2 { "Last runs" }
            div class="scroll" tabindex="0" role="region" aria-label="Last runs" {
                table {
                    thead { tr {
                        @for name in ["began", "what", "from → to", "outcome"] { th scope="col" { (name) } }
                        @for name in ["probes", "failed", "p99"] { th scope="col" class="number" { (name) } }
                    } }
                    tbody { @for run in runs { (row(run)) } }
                }
            }
        }
    }
}

fn row(run: &Record) -> Markup {
    let name = |color: Option<Color>| color.map_or("–", Color::as_str);
    let counts = run.probes.as_ref().map(|probes| probes.counts).unwrap_or_default();
    let p99 = run.probes.as_ref().and_then(|probes| probes.during.p99);
    let verdict = verdict::of(run);
    html! {
        tr {
            td { (report_link(&run.id, &run.started.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())) }
            td { (run.op) }
            td { (name(run.from)) " → " (name(run.to)) }
            td class={ "outcome " (verdict.tone.as_str()) } { (verdict.sign) " " (run.state()) }
            td class="number" { (counts.due) }
            td class="number" { (counts.failed) }
            td class="number" { (ms_or_dash(p99)) }
        }
    }
}

/// A link to a run's report. An id is text from outside too: only one that needs no escaping in an address is linked.
fn report_link(id: &str, text: &str) -> Markup {
    let plain = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    html! {
        @if plain { a href={ "/runs/" (id) } target="_blank" data-key={ "run-" (id) "-" (text) } { (text) } } @else { (text) }
    }
}
