//! What a person may ask for on the page, why not at the moment, and what it would mean for users. Pure.

use cutover_lambda::request::Op;
use cutover_lambda::{Color, Outcome};
use serde::Serialize;

use super::view::{View, live};
use crate::commands::status::{Environment, Status};
use crate::report::text::clean;

/// What a person may ask for, with what it means for users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Action {
    /// The operation.
    pub op: Op,
    /// Who would become prod.
    pub to: Color,
    /// Who is prod.
    pub expect: Color,
    /// The button's words.
    pub label: String,
    /// The consequence, for the confirmation.
    pub consequence: String,
    /// Why it is not possible at the moment.
    pub blocked: Option<String>,
}

/// What may be asked for now. Both buttons move prod to the idle environment; they differ in what they demand of it.
pub fn actions(view: &View) -> Vec<Action> {
    let (Some(status), Some(expect)) = (&view.status, live(view)) else { return Vec::new() };
    let to = expect.other();
    let (now, then) = (named(find(status, expect), expect), named(find(status, to), to));
    let blocked = blocked(view, status, to);
    let consequence = |why: &str| {
        format!(
            "Users of {} are served by {then} instead of {now}. {why} Prod is probed all the while, and traffic goes \
             back by itself at the first failed probe.",
            clean(&status.prod_url)
        )
    };
    let action = |op, label: String, why: &str| Action {
        op,
        to,
        expect,
        label,
        consequence: consequence(why),
        blocked: blocked.clone(),
    };
    let mut actions = vec![action(
        Op::Cutover,
        format!("Cut over to {to}"),
        &format!("First {to} must answer its gate on the dev listener."),
    )];
    // After a rollback, the way back again is a cutover.
    let came_from = status.runs.iter().find(|run| run.outcome == Some(Outcome::Done) && run.wrote);
    if came_from.is_some_and(|run| run.op == Op::Cutover && run.from == Some(to)) {
        let why = format!("This is the way back to where the last cutover came from, {to}.");
        actions.push(action(Op::Rollback, format!("Roll back to {to}"), &why));
    }
    actions
}

fn blocked(view: &View, status: &Status, to: Color) -> Option<String> {
    if view.problem.is_some() {
        return Some("the stack cannot be read at the moment".to_owned());
    }
    if view.asked.is_some() || view.run.as_ref().is_some_and(|run| run.record.is_running()) {
        return Some("a run is under way".to_owned());
    }
    if let Some(lock) = &status.lock {
        return Some(format!("a {} is under way", lock.purpose));
    }
    match find(status, to) {
        Some(it) if it.version.is_empty() => Some(format!("nothing is deployed to {to}")),
        Some(it) if it.healthy == 0 => Some(format!("{to} has no healthy task")),
        _ => None,
    }
}

fn find(status: &Status, color: Color) -> Option<&Environment> {
    status.environments.iter().find(|environment| environment.color == color)
}

fn named(environment: Option<&Environment>, color: Color) -> String {
    match environment {
        Some(it) if !it.version.is_empty() => format!("{color} (version {})", clean(&it.version)),
        _ => color.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use cutover_lambda::ledger::{LeaseInfo, Purpose};
    use cutover_lambda::request::Request;
    use cutover_lambda::{Phase, Record};

    use super::*;
    use crate::dashboard::view::Problem;

    fn environment(color: Color, role: &str) -> Environment {
        let (version, image) = ("2".to_owned(), "app@sha256:0".to_owned());
        Environment {
            color,
            role: role.to_owned(),
            prod_percent: if role == "prod" { 100 } else { 0 },
            version,
            image,
            running: 1,
            desired: 1,
            healthy: 1,
            release: Some(7),
            changed: Some(Vec::new()),
            asleep: false,
            fault: None,
            requests: None,
        }
    }

    /// Blue is dev, green is prod.
    fn view() -> View {
        let status = Status {
            stack: "s".to_owned(),
            region: "r".to_owned(),
            state: "UPDATE_COMPLETE".to_owned(),
            prod_url: "http://prod".to_owned(),
            dev_url: "http://dev".to_owned(),
            environments: vec![environment(Color::Blue, "dev"), environment(Color::Green, "prod")],
            drift: Vec::new(),
            requests_unknown: None,
            warnings: Vec::new(),
            lock: None,
            runs: Vec::new(),
        };
        View { status: Some(status), ..View::default() }
    }

    fn run(op: Op, outcome: Option<Outcome>) -> Record {
        let request = Request { op, ..Request::default() };
        let mut record = Record::begin("x".to_owned(), request, jiff::Timestamp::UNIX_EPOCH, String::new());
        (record.outcome, record.phase, record.wrote) = (outcome, Phase::Done, true);
        (record.from, record.to) = (Some(Color::Blue), Some(Color::Green));
        record
    }

    fn why_not(change: impl FnOnce(&mut View)) -> Option<String> {
        let mut view = view();
        change(&mut view);
        actions(&view).remove(0).blocked
    }

    #[test]
    fn what_would_harm_users_or_be_refused_is_not_offered() {
        assert_eq!(why_not(|_| {}), None);
        let idle = |view: &mut View, change: fn(&mut Environment)| {
            view.status.iter_mut().for_each(|status| change(&mut status.environments[0]));
        };
        let unhealthy = why_not(|view| idle(view, |blue| blue.healthy = 0));
        assert_eq!(unhealthy.as_deref(), Some("blue has no healthy task"));
        let empty = why_not(|view| idle(view, |blue| blue.version = String::new()));
        assert_eq!(empty.as_deref(), Some("nothing is deployed to blue"));
        let running = why_not(|view| view.run = Some(run(Op::Cutover, None).into()));
        assert_eq!(running.as_deref(), Some("a run is under way"));
        let unreachable = why_not(|view| view.problem = Some(Problem::default()));
        assert_eq!(unreachable.as_deref(), Some("the stack cannot be read at the moment"));
        let locked = why_not(|view| {
            let lock = LeaseInfo {
                holder: "x".to_owned(),
                purpose: Purpose::Deployment,
                since: jiff::Timestamp::UNIX_EPOCH,
                epoch: 1,
                expires: jiff::Timestamp::UNIX_EPOCH,
                life_ms: None,
                released: false,
                interrupted: Vec::new(),
                writer: String::new(),
                process: None,
            };
            view.status.iter_mut().for_each(|status| status.lock = Some(lock.clone()));
        });
        assert_eq!(locked.as_deref(), Some("a deployment is under way"));
    }

    #[test]
    fn a_rollback_is_offered_after_a_cutover_and_not_after_a_rollback() {
        let offered = |op| {
            let mut view = view();
            view.status.iter_mut().for_each(|status| status.runs = vec![run(op, Some(Outcome::Done))]);
            actions(&view).len()
        };
        assert_eq!((offered(Op::Cutover), offered(Op::Rollback)), (2, 1));
    }

    #[test]
    fn nothing_is_offered_where_it_is_not_known_who_is_prod() {
        let mut view = view();
        view.status.iter_mut().for_each(|status| {
            (status.environments[1].role, status.environments[1].prod_percent) = ("no traffic".to_owned(), 0);
        });
        assert_eq!(actions(&view), []);
        assert_eq!(actions(&View::default()), []);
    }
}
