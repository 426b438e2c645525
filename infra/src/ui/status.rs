//! Status and history as tables.

use std::fmt::Write as _;

use model::Record;

use super::style::columns;
use super::{Style, runs};
use crate::report::text::clean;
use crate::status::{Drift, Environment, Status};

/// What stands before why the requests are not known.
const REQUESTS: &str = "requests unknown: ";
/// What stands before how listeners differ from what the last cutover left.
const DRIFT: &str = "drift: ";

/// Width of the column of roles, which a share of prod makes wider.
const ROLE: usize = 10;

/// What stands before a line below an environment.
const INDENT: &str = "             ";

/// The status on one screen.
pub fn render(status: &Status, style: Style) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "stack {} in {}: {}", style.strong(&status.stack), status.region, status.state);
    let _ = writeln!(text, "prod  {}", status.prod_url);
    let _ = writeln!(text, "dev   {}\n", status.dev_url);
    if let Some(it) = &status.unresolved {
        let said = style.wrapped(&format!("{} {}", it.message, it.now), 2);
        let _ = writeln!(text, "{} {}", style.bad("✕"), style.bad(&said));
        let _ = writeln!(text, "  {} {}\n", style.good("hint:"), style.wrapped(&it.todo, 8));
    }
    let roles = status.environments.iter().map(|it| columns(&it.role.to_string())).max().unwrap_or_default().max(ROLE);
    let heads = format!("environment  {:<roles$}  version  tasks  healthy  image", "role");
    let _ = writeln!(text, "{}", style.dim(&heads));
    for environment in &status.environments {
        text.push_str(&row(environment, roles, style));
    }
    if let Some(why) = &status.requests_unknown {
        let why = style.wrapped(&clean(why), REQUESTS.len());
        let _ = writeln!(text, "{}{why}", style.dim(REQUESTS));
    }
    text.push_str(&drift(&status.drift, style));
    for warning in &status.warnings {
        let _ = writeln!(text, "\n{} {warning}", style.warn("warning:"));
    }
    if let Some(lease) = &status.lease {
        let _ = writeln!(text, "\na {} is in progress since {} ({})", lease.purpose, lease.since, lease.holder);
    }
    if !status.runs.is_empty() {
        let _ = write!(text, "\n{}", last_runs(&status.runs, style));
    }
    text
}

/// A row for each listener that has drifted.
fn drift(listeners: &[Drift], style: Style) -> String {
    let mut text = String::new();
    for (number, it) in listeners.iter().enumerate() {
        let space = if number == 0 { "\n" } else { "" };
        let said = format!("{}: {}; hint: {}", it.listener.as_str(), clean(&it.kind.problem()), it.kind.todo());
        let _ = writeln!(text, "{space}{}{}", style.dim(DRIFT), style.wrapped(&said, DRIFT.len()));
    }
    text
}

fn row(environment: &Environment, roles: usize, style: Style) -> String {
    let color = style.environment(environment.color, &format!("{:<11}", environment.color.as_str()));
    let version = if environment.version.is_empty() { "-" } else { &environment.version };
    let tasks = format!("{}/{}", environment.running, environment.desired);
    // The first twelve digits of a digest identify an image.
    let image = environment.image.split_once("sha256:").map_or("-", |(_, digest)| &digest[..digest.len().min(12)]);
    let mut row = format!(
        "{color}  {:<roles$}  {version:<7}  {tasks:<5}  {:<7}  {image}\n",
        environment.role, environment.healthy
    );
    if let Some(release) = environment.release {
        let what = match environment.changed.as_deref() {
            Some([]) | None => format!("release {release}"),
            Some(changed) => format!("release {release}, which changed {}", changed.join(", ")),
        };
        let _ = writeln!(row, "{INDENT}{}", style.dim(&style.wrapped(&clean(&what), INDENT.len())));
    }
    if environment.asleep {
        row.push_str(&style.dim(&format!("{INDENT}asleep: a deployment, cutover, or rollback starts its tasks\n")));
    }
    if let Some(requests) = &environment.requests {
        row.push_str(&style.dim(&format!("{INDENT}{requests}\n")));
    }
    if let Some(fault) = &environment.fault {
        row.push_str(&format!("{INDENT}{} {fault}\n", style.warn("!")));
    }
    row
}

/// Runs, one a line.
fn last_runs(records: &[Record], style: Style) -> String {
    let mut text = format!("{}\n", style.dim(&format!("{}  p99", runs::heads())));
    for run in records {
        let _ = writeln!(text, "{}  {}", runs::columns(run, style), runs::ms(runs::latency(run).p99));
    }
    text
}

#[cfg(test)]
mod tests {
    use deploy::Role;
    use model::color::Color;
    use model::request::Request;
    use model::stack_state::StackState;
    use model::{Listener, Outcome, Phase};

    use super::*;
    use crate::requests::tests::requests;
    use crate::status::{DriftKind, Unresolved};

    #[test]
    fn status_fits_one_screen() {
        let mut run =
            Record::begin("x".to_owned(), Request::default(), "2026-11-23T10:00:00Z".parse().unwrap(), String::new());
        run.outcome = Some(Outcome::Done);
        run.phase = Phase::Done;
        run.from = Some(Color::Green);
        run.to = Some(Color::Blue);
        let environment = |color, role, version: &str| Environment {
            color,
            role,
            version: version.to_owned(),
            image: format!("registry/app@sha256:{version}23456789abcdef0"),
            running: 2,
            desired: 2,
            healthy: 2,
            release: Some(7),
            changed: Some(Vec::new()),
            asleep: false,
            fault: None,
            requests: Some(requests(&[(1, 128.0), (2, 1702.0)], &[(2, 3.0)], &[(1, 0.034)])),
        };
        let mut green = environment(Color::Green, Role::DEV, "1");
        green.changed = Some(vec!["app.port".to_owned(), "environment.GREETING".to_owned()]);
        green.fault = Some("1 of 2 running, 1 healthy".to_owned());
        let mut status = Status {
            schema: crate::status::SCHEMA,
            stack: "bluegreen".to_owned(),
            region: "us-east-1".to_owned(),
            state: StackState::UpdateComplete,
            prod_url: "http://127.0.0.1:8080".to_owned(),
            dev_url: "http://127.0.0.1:8081".to_owned(),
            environments: vec![environment(Color::Blue, Role::PROD, "2"), green],
            drift: vec![Drift { listener: Listener::Dev, kind: DriftKind::NoRule }],
            requests_unknown: None,
            warnings: vec!["prod and dev both forward to blue".to_owned()],
            unresolved: None,
            lease: None,
            runs: vec![run],
        };
        insta::assert_snapshot!(render(&status, Style::PLAIN));
        status.requests_unknown = Some("CloudWatch did not respond within 3 s".to_owned());
        status.environments.iter_mut().for_each(|environment| environment.requests = None);
        let unknown = render(&status, Style::PLAIN);
        assert!(unknown.contains("\nrequests unknown: CloudWatch did not respond within 3 s\n"), "{unknown}");
        assert!(!unknown.contains("5xx"), "{unknown}");

        (status.environments[0].role, status.environments[1].role) =
            (Role { share: 10, dev: false }, Role { share: 90, dev: true });
        let split = render(&status, Style::PLAIN);
        assert!(split.contains("\ngreen        prod 90 %+dev  1        2/2    2  "), "{split}");
        assert!(split.contains("\nblue         prod 10 %      2        2/2    2  "), "{split}");
        status.unresolved = Some(Unresolved {
            run: "x".to_owned(),
            outcome: Outcome::Held,
            message: "Held: prod is on blue v2 and answers HTTP 500.".to_owned(),
            now: "Prod is on blue now: version 2, 2 of 2 tasks healthy.".to_owned(),
            todo: "Deploy a fix.".to_owned(),
        });
        let held = render(&status, Style::PLAIN);
        let said = "\n✕ Held: prod is on blue v2 and answers HTTP 500. Prod is on blue now: version 2, 2 of 2 tasks \
                    healthy.\n  hint: Deploy a fix.\n\nenvironment ";
        assert!(held.contains(said), "{held}");
    }
}
