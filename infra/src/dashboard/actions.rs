//! What a person may ask for on the page, why not at the moment, and what it would mean for users. Pure.

use jiff::Timestamp;
use model::request::Op;
use model::{Color, Outcome, Phase, Record};
use serde::Serialize;

use super::view::{View, live};
use crate::report::text::clean;
use crate::status::{Environment, Status};

/// What a person may ask for, with what it means for users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Action {
    /// The operation.
    pub op: Op,
    /// Who would become prod.
    pub to: Color,
    /// Who is prod.
    pub expect: Color,
    /// The run that receives the request; none for a new run.
    pub run: Option<String>,
    /// How much the button stands out.
    pub weight: Weight,
    /// The button's words.
    pub label: String,
    /// What stands beside it.
    pub note: Option<String>,
    /// The consequence, for the confirmation.
    pub consequence: String,
    /// The words of the button that does nothing.
    pub otherwise: &'static str,
    /// Why it is not possible at the moment.
    pub blocked: Option<String>,
}

/// How much a button stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// What one would do next.
    Primary,
    /// What one can do, and probably should not.
    Quiet,
    /// What ends something.
    Danger,
}

/// The actions that are possible now: one move of prod, and the requests to a run in progress.
pub fn actions(view: &View, now: Timestamp) -> Vec<Action> {
    let (Some(status), Some(expect)) = (&view.status, live(view)) else { return Vec::new() };
    let mut actions = steering(view, status);
    actions.push(the_move(view, status, expect, now));
    actions
}

/// The move of prod to the other environment that makes sense now.
fn the_move(view: &View, status: &Status, expect: Color, now: Timestamp) -> Action {
    let to = expect.other();
    let (was, then) = (named(find(status, expect), expect), named(find(status, to), to));
    let consequence = |why: &str| {
        format!(
            "Users of {} will be served by {then} instead of {was}. {why} Prod is probed throughout, and traffic rolls \
             back automatically at the first failed probe.",
            clean(&status.prod_url)
        )
    };
    let action = |op, label: String, why: &str| Action {
        op,
        to,
        expect,
        run: None,
        weight: Weight::Primary,
        label,
        note: None,
        consequence: consequence(why),
        otherwise: "Do not move traffic",
        blocked: blocked(view, status, to),
    };
    let gate = format!("First, {to} must pass its gate on the dev listener.");
    // What the last run that came to anything left behind.
    let last = status.runs.iter().find(|run| {
        matches!(run.outcome, Some(Outcome::Done | Outcome::RolledBack | Outcome::Held | Outcome::Failed)) && run.wrote
    });
    let Some(last) = last else { return action(Op::Cutover, format!("Cut over to {to}"), &gate) };
    match last.outcome {
        Some(Outcome::Done) if came_from(last, status, to) => {
            let why = format!("This returns users to {to}, the environment before the last cutover.");
            action(Op::Rollback, format!("Roll back to {to}"), &why)
        }
        Some(Outcome::RolledBack | Outcome::Failed) if last.to == Some(to) && runs_still(last, find(status, to)) => {
            let failed = last.probes.as_ref().is_some_and(|probes| probes.counts.failed > 0);
            let what = if failed { "failed" } else { "was rolled back" };
            let note =
                format!("Deploy a fix first: {then} {what} {}.", ago(last.finished.unwrap_or(last.updated), now));
            let retry = action(Op::Cutover, format!("Retry the cutover to {to}"), &format!("{note} {gate}"));
            Action { weight: Weight::Quiet, note: Some(note), ..retry }
        }
        // A rollback goes ahead though prod fails; a cutover would not.
        Some(Outcome::Held) if last.from == Some(to) => {
            action(Op::Rollback, format!("Roll back to {to}"), &format!("{was} failed, and prod still points at it."))
        }
        _ => action(Op::Cutover, format!("Cut over to {to}"), &gate),
    }
}

/// Whether a cutover came from this environment, which still runs the release that users had, older than theirs now.
fn came_from(last: &Record, status: &Status, to: Color) -> bool {
    let release = |color| find(status, color).and_then(|environment| environment.release);
    let older = match (release(to), release(to.other())) {
        (Some(idle), Some(live)) => idle < live && last.releases.old.is_none_or(|old| old == idle),
        _ => true,
    };
    last.op == Op::Cutover && last.from == Some(to) && older
}

/// Whether an environment runs what a run wanted to make prod.
fn runs_still(last: &Record, environment: Option<&Environment>) -> bool {
    environment.is_some_and(|it| match (last.releases.new, it.release) {
        (Some(wanted), Some(runs)) => wanted == runs,
        _ => last.versions.new.as_deref().is_none_or(|version| version == it.version),
    })
}

/// The possible requests to the run in progress.
fn steering(view: &View, status: &Status) -> Vec<Action> {
    let run = view.run.as_ref().map(|run| &run.record).filter(|run| !run.is_final());
    let Some((run, from, to)) = run.and_then(|run| Some((run, run.from?, run.to?))) else { return Vec::new() };
    let url = clean(&status.prod_url);
    let action = |op, weight, label: &str, consequence: String| Action {
        op,
        to: from,
        expect: to,
        run: Some(run.id.clone()),
        weight,
        label: label.to_owned(),
        note: None,
        consequence,
        otherwise: "Let the run continue",
        blocked: view.problem.is_some().then(|| "the stack cannot be read".to_owned()),
    };
    let mut actions = Vec::new();
    if run.phase != Phase::RollBack && matches!(run.op, Op::Cutover | Op::Rollback) {
        let back = named(find(status, from), from);
        let consequence = format!("The run ends, and {back} serves all users of {url} again.");
        actions.push(action(Op::Abort, Weight::Danger, "Abort", consequence));
    }
    if !run.request.shift.is_empty() && run.phase <= Phase::Shift {
        let stays = format!("The split of users of {url} stays as it is until the run is promoted or aborted.");
        actions.push(action(Op::Pause, Weight::Quiet, "Pause", stays));
        let next = format!("{to} gets its next share of the users of {url} immediately.");
        actions.push(action(Op::Promote, Weight::Quiet, "Promote", next));
    }
    actions
}

/// How long ago something was.
fn ago(then: Timestamp, now: Timestamp) -> String {
    match now.duration_since(then).as_secs() {
        ..60 => "just now".to_owned(),
        seconds @ 60..3600 => format!("{} min ago", seconds / 60),
        seconds @ 3600..86_400 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} d ago", seconds / 86_400),
    }
}

fn blocked(view: &View, status: &Status, to: Color) -> Option<String> {
    if view.problem.is_some() {
        return Some("the stack cannot be read".to_owned());
    }
    if view.asked.is_some() || view.run.as_ref().is_some_and(|run| run.record.is_running()) {
        return Some("a run is in progress".to_owned());
    }
    if let Some(lease) = &status.lease {
        return Some(format!("a {} is in progress", lease.purpose));
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
    use super::*;
    use crate::dashboard::view::Problem;
    use deploy::Role;
    use model::lease::{LeaseInfo, Purpose};
    use model::record::{ProbeCounts, ProbeReport, Releases};
    use model::request::{Request, ShiftStep};
    use model::stack_state::StackState;

    fn environment(color: Color, role: Role) -> Environment {
        let (version, image) = ("2".to_owned(), "app@sha256:0".to_owned());
        Environment {
            color,
            role,
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
            schema: crate::status::SCHEMA,
            stack: "s".to_owned(),
            region: "r".to_owned(),
            state: StackState::UpdateComplete,
            prod_url: "http://prod".to_owned(),
            dev_url: "http://dev".to_owned(),
            environments: vec![environment(Color::Blue, Role::DEV), environment(Color::Green, Role::PROD)],
            drift: Vec::new(),
            requests_unknown: None,
            warnings: Vec::new(),
            unresolved: None,
            lease: None,
            runs: Vec::new(),
        };
        View { status: Some(status), ..View::default() }
    }

    fn run(op: Op, outcome: Option<Outcome>) -> Record {
        let request = Request { op, ..Request::default() };
        let mut record = Record::begin("x".to_owned(), request, Timestamp::UNIX_EPOCH, String::new());
        (record.outcome, record.phase, record.wrote) = (outcome, Phase::Done, true);
        (record.from, record.to) = (Some(Color::Blue), Some(Color::Green));
        record
    }

    fn why_not(change: impl FnOnce(&mut View)) -> Option<String> {
        let mut view = view();
        change(&mut view);
        actions(&view, Timestamp::UNIX_EPOCH).pop().unwrap().blocked
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
        assert_eq!(running.as_deref(), Some("a run is in progress"));
        let unreachable = why_not(|view| view.problem = Some(Problem::default()));
        assert_eq!(unreachable.as_deref(), Some("the stack cannot be read"));
        let locked = why_not(|view| {
            let lock = LeaseInfo {
                holder: "x".to_owned(),
                purpose: Purpose::Deployment,
                since: Timestamp::UNIX_EPOCH,
                epoch: 1,
                expires: Timestamp::UNIX_EPOCH,
                life_ms: None,
                released: false,
                interrupted: Vec::new(),
                writer: String::new(),
                process: None,
            };
            view.status.iter_mut().for_each(|status| status.lease = Some(lock.clone()));
        });
        assert_eq!(locked.as_deref(), Some("a deployment is in progress"));
    }

    /// The one move that is offered after this run, with what is changed about the environments.
    fn offered(last: Record, change: impl FnOnce(&mut [Environment])) -> Action {
        let mut view = view();
        let status = view.status.as_mut().unwrap();
        status.runs = vec![last];
        change(&mut status.environments);
        let mut actions = actions(&view, Timestamp::from_second(150).unwrap());
        assert_eq!(actions.len(), 1, "{actions:?}");
        actions.remove(0)
    }

    #[test]
    fn a_rollback_is_offered_where_it_brings_back_what_users_had_before() {
        // Green was released, with release 8; blue still runs 7.
        let releases = |idle, live| {
            move |environments: &mut [Environment]| {
                (environments[0].release, environments[1].release) = (idle, live);
            }
        };
        let done = |op| run(op, Some(Outcome::Done));
        let old = Record { releases: Releases { old: Some(7), new: Some(8) }, ..done(Op::Cutover) };
        assert_eq!(offered(old.clone(), releases(Some(7), Some(8))).op, Op::Rollback);
        assert_eq!(offered(old.clone(), releases(Some(9), Some(8))).op, Op::Cutover, "something newer is there");
        assert_eq!(offered(old, releases(Some(6), Some(8))).op, Op::Cutover, "something else was there");
        assert_eq!(offered(done(Op::Cutover), releases(None, None)).op, Op::Rollback, "an older version's stack");
        // The way back again is a cutover.
        assert_eq!(offered(done(Op::Rollback), releases(Some(7), Some(8))).op, Op::Cutover);
    }

    #[test]
    fn a_version_that_has_just_failed_is_not_offered_as_if_nothing_had_happened() {
        let mut failed = run(Op::Cutover, Some(Outcome::RolledBack));
        (failed.from, failed.to) = (Some(Color::Green), Some(Color::Blue));
        failed.releases.new = Some(7);
        failed.finished = Some(Timestamp::from_second(20).unwrap());
        let counts = ProbeCounts { due: 9, sent: 9, ok: 8, failed: 1, late: 0 };
        failed.probes = Some(ProbeReport { counts, ..ProbeReport::default() });
        let retry = offered(failed.clone(), |_| {});
        assert_eq!(
            (retry.op, retry.weight, retry.label.as_str()),
            (Op::Cutover, Weight::Quiet, "Retry the cutover to blue")
        );
        assert_eq!(retry.note.as_deref(), Some("Deploy a fix first: blue (version 2) failed 2 min ago."));
        let fixed = offered(failed.clone(), |environments| environments[0].release = Some(8));
        assert_eq!((fixed.weight, fixed.note), (Weight::Primary, None), "a fix was deployed");
        failed.probes = None;
        assert!(
            offered(failed, |_| {}).note.is_some_and(|note| note.contains("was rolled back")),
            "a person aborted it"
        );

        // Left on green, which failed: the way back is offered.
        let held = offered(run(Op::Cutover, Some(Outcome::Held)), |_| {});
        assert_eq!((held.op, held.to, held.label.as_str()), (Op::Rollback, Color::Blue, "Roll back to blue"));
    }

    #[test]
    fn a_run_can_be_aborted_and_a_shift_paused_and_promoted_while_it_is_under_way() {
        let reported = |phase, shift: &[u8], outcome| {
            let mut view = view();
            let mut record = Record { phase, ..run(Op::Cutover, outcome) };
            record.request.shift =
                shift.iter().map(|weight| ShiftStep { weight: *weight, hold: ShiftStep::HOLD }).collect();
            view.run = Some(record.into());
            let actions = actions(&view, Timestamp::UNIX_EPOCH).into_iter();
            actions.filter(|action| action.run.as_deref() == Some("x")).map(|action| action.op).collect::<Vec<_>>()
        };
        assert_eq!(reported(Phase::Verify, &[], None), [Op::Abort]);
        assert_eq!(reported(Phase::Shift, &[10], None), [Op::Abort, Op::Pause, Op::Promote]);
        assert_eq!(reported(Phase::Verify, &[10], None), [Op::Abort], "the last step is behind it");
        assert_eq!(reported(Phase::RollBack, &[10], None), [], "it is on its way back");
        assert_eq!(reported(Phase::Done, &[10], Some(Outcome::Done)), []);
    }

    #[test]
    fn nothing_is_offered_where_it_is_not_known_who_is_prod() {
        let mut view = view();
        view.status.iter_mut().for_each(|status| {
            status.environments[1].role = Role::NONE;
        });
        assert_eq!(actions(&view, Timestamp::UNIX_EPOCH), []);
        assert_eq!(actions(&View::default(), Timestamp::UNIX_EPOCH), []);
    }
}
