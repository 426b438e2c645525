//! A run that was held or failed, and that no later run has resolved: it is shown until one has. Adds where users are
//! now, which the run's record does not contain.

use model::request::Op;
use model::{Outcome, Record};
use serde::Serialize;

use super::{Environment, RUNS};
use crate::error::Result;
use crate::report::text::clean;
use crate::requests::MINUTES;
use crate::runs;
use deploy::Cloud;
use stack::outputs::Outputs;

/// The number of runs to read if the last ones decided nothing.
const FURTHER: usize = 20;

/// A failed run that no later run has resolved. Stable: fields are added, never changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unresolved {
    /// Its id.
    pub run: String,
    /// How it ended: `held` or `failed`.
    pub outcome: Outcome,
    /// What happened, in the run's own words.
    pub message: String,
    /// Where users are now, and how that environment is.
    pub now: String,
    /// What to do.
    pub todo: String,
}

impl Unresolved {
    /// What there is to say of a run now.
    pub fn of(run: &Record, environments: &[Environment]) -> Self {
        let outcome = run.outcome.unwrap_or(Outcome::Failed);
        let otherwise = match outcome {
            Outcome::Held => "Run bluegreen rollback, or deploy a fix to the version that serves users.",
            _ => "Run bluegreen reconcile.",
        };
        Self {
            run: clean(&run.id),
            outcome,
            message: clean(&run.message),
            now: now(environments),
            todo: clean(run.hint.as_deref().unwrap_or(otherwise)),
        }
    }
}

/// Where users are, and how that environment is.
fn now(environments: &[Environment]) -> String {
    let live: Vec<&Environment> = environments.iter().filter(|it| it.role.serves_prod()).collect();
    match live[..] {
        [] => "Prod forwards to no environment now.".to_owned(),
        [one] => format!("Prod is on {} now: {}.", one.color, state(one)),
        _ => {
            let side = |it: &&Environment| format!("{} % {} ({})", it.role.share, it.color, state(it));
            format!("Prod is split now: {}.", live.iter().map(side).collect::<Vec<_>>().join(", "))
        }
    }
}

fn state(environment: &Environment) -> String {
    let Environment { version, healthy, desired, .. } = environment;
    let mut text = format!("version {}, {healthy} of {desired} tasks healthy", clean(version));
    if let Some(requests) = environment.requests.as_ref().filter(|requests| requests.errors() > 0) {
        let (errors, all) = (requests.errors(), requests.total());
        text.push_str(&format!(", {errors} of {all} requests returned 5xx in {MINUTES} minutes"));
    }
    text
}

/// The run among the newest, which are given, or among those before if those decided nothing.
pub async fn find(cloud: &Cloud, outputs: &Outputs, newest: &[Record]) -> Result<Option<Record>> {
    match among(newest) {
        Found::Undecided if newest.len() == RUNS => {
            Ok(among(&runs::last(cloud, outputs, FURTHER).await?).run().cloned())
        }
        found => Ok(found.run().cloned()),
    }
}

/// What some runs say, the newest first.
#[derive(Debug, PartialEq)]
enum Found<'a> {
    /// This one ended badly.
    Bad(&'a Record),
    /// The last one that decided anything succeeded.
    Good,
    /// None of them decided anything.
    Undecided,
}

impl<'a> Found<'a> {
    const fn run(&self) -> Option<&'a Record> {
        match self {
            Self::Bad(run) => Some(run),
            Self::Good | Self::Undecided => None,
        }
    }
}

fn among(runs: &[Record]) -> Found<'_> {
    let mut in_order = false;
    for run in runs {
        match run.outcome {
            Some(Outcome::Done) => return Found::Good,
            // The listeners were correct after it, which resolves a failed run.
            Some(Outcome::Noop) => in_order |= run.op == Op::Reconcile,
            Some(Outcome::Failed) if in_order => return Found::Good,
            Some(Outcome::Held | Outcome::Failed) if run.recovered_by.is_none() => return Found::Bad(run),
            _ => {}
        }
    }
    Found::Undecided
}

#[cfg(test)]
mod tests {
    use deploy::Role;
    use model::Color;
    use model::request::Request;

    use super::*;

    fn run(op: Op, outcome: Option<Outcome>) -> Record {
        let request = Request { op, ..Request::default() };
        let mut run = Record::begin(format!("{outcome:?}"), request, jiff::Timestamp::UNIX_EPOCH, String::new());
        (run.outcome, run.message) = (outcome, "Held: prod is on blue v2 and answers HTTP 500.".to_owned());
        run
    }

    #[test]
    fn a_run_that_was_held_or_failed_stays_until_a_later_one_succeeds() {
        use Outcome::{Done, Failed, Held, Noop, Planned, Refused, RolledBack};
        let found = |outcomes: &[Outcome]| {
            let runs: Vec<_> = outcomes.iter().map(|outcome| run(Op::Cutover, Some(*outcome))).collect();
            among(&runs).run().and_then(|run| run.outcome)
        };
        assert_eq!(found(&[Held]), Some(Held));
        assert_eq!(found(&[Refused, Planned, RolledBack, Failed, Done]), Some(Failed));
        assert_eq!(found(&[Done, Held]), None);
        assert_eq!(found(&[Noop, Held]), Some(Held), "users may see failures still");
        assert_eq!(among(&[run(Op::Cutover, Some(Refused)), run(Op::Cutover, Some(RolledBack))]), Found::Undecided);
        let reconciled = |outcome| [run(Op::Reconcile, Some(Noop)), run(Op::Cutover, Some(outcome))];
        assert_eq!(among(&reconciled(Failed)), Found::Good, "the listeners were in order after it");
        assert!(among(&reconciled(Held)).run().is_some());
        let recovered = Record { recovered_by: Some("y".to_owned()), ..run(Op::Cutover, Some(Failed)) };
        assert_eq!(among(&[recovered]), Found::Undecided, "another run resolved it");
        let under_way = [run(Op::Rollback, None), run(Op::Cutover, Some(Held))];
        assert!(among(&under_way).run().is_some(), "what is under way has not made it good yet");
    }

    #[test]
    fn it_says_where_users_are_now_and_what_to_do() {
        let environment = |color, prod_percent, healthy| Environment {
            color,
            role: Role { share: prod_percent, dev: false },
            version: "2".to_owned(),
            release: None,
            changed: None,
            image: String::new(),
            running: 2,
            desired: 2,
            healthy,
            asleep: false,
            fault: None,
            requests: None,
        };
        let environments = [environment(Color::Blue, 100, 2), environment(Color::Green, 0, 0)];
        let said = Unresolved::of(&run(Op::Cutover, Some(Outcome::Held)), &environments);
        assert_eq!(said.message, "Held: prod is on blue v2 and answers HTTP 500.");
        assert_eq!(said.now, "Prod is on blue now: version 2, 2 of 2 tasks healthy.");
        assert!(said.todo.contains("bluegreen rollback"), "{}", said.todo);
        let hint = Record { hint: Some("Do that.".to_owned()), ..run(Op::Cutover, Some(Outcome::Failed)) };
        let split = [environment(Color::Blue, 10, 2), environment(Color::Green, 90, 1)];
        let said = Unresolved::of(&hint, &split);
        assert_eq!(said.todo, "Do that.");
        let now = "Prod is split now: 10 % blue (version 2, 2 of 2 tasks healthy), \
                   90 % green (version 2, 1 of 2 tasks healthy).";
        assert_eq!(said.now, now);
    }
}
