//! The promises, as properties of a state of the system.

use super::answers::{self, Way};
use super::faults::{Budget, Mutant};
use super::system::{Action, Process, Setup, System, ended_well, index};
use cutover::machine::{Asked, Finish, Kind, Route, Shift};
use model::Color;
use model::record::Outcome;
use model::request::OnFail;
use stateright::{Model as _, Property};
use std::cell::RefCell;
use std::collections::HashMap;

pub const HEALTHY: &str = "prod is never written to a group that was not just seen healthy";
pub const ONE_WRITER: &str = "never two writers";
pub const CONSISTENT: &str = "without a run, prod is not dev, and prod is either verified or unchanged";
pub const RECOVERABLE: &str = "from every state, everything killed, one reconcile reaches consistency";
pub const ONE_OUTCOME: &str = "every id has one outcome";
pub const UNSPLIT: &str = "a split prod of an interrupted run returns to the environment that had all of it";
pub const NEVER_STUCK: &str = "no invocation waits forever";

pub const FOLLOWED: &str = "no run reports the place of traffic before all of the load balancer follows";
pub const AWAY: &str = "a rollback of an unfinished run ends at the origin of that run";
pub const ABORTED: &str =
    "a run that is aborted before it has verified the new side does not end as done on the new side";

pub const NAMES: [&str; 10] =
    [HEALTHY, ONE_WRITER, CONSISTENT, RECOVERABLE, UNSPLIT, ONE_OUTCOME, NEVER_STUCK, FOLLOWED, AWAY, ABORTED];

pub fn all() -> Vec<Property<Setup>> {
    vec![
        Property::always(HEALTHY, |_, system: &System| system.violated != Some(HEALTHY)),
        Property::always(ONE_WRITER, |_, system: &System| system.violated != Some(ONE_WRITER)),
        Property::always(ONE_OUTCOME, |_, system: &System| system.violated != Some(ONE_OUTCOME)),
        Property::always(FOLLOWED, |_, system: &System| system.violated != Some(FOLLOWED)),
        Property::always(AWAY, |_, system: &System| system.violated != Some(AWAY)),
        Property::always(ABORTED, |_, system: &System| system.violated != Some(ABORTED)),
        Property::always(CONSISTENT, |_, system: &System| {
            system.violated != Some(CONSISTENT) && is_consistent_when_quiet(system)
        }),
        Property::always(RECOVERABLE, |setup, system| reconciled(setup, system, |found| found.good)),
        Property::always(UNSPLIT, |setup, system| reconciled(setup, system, |found| found.unsplit)),
        Property::always(NEVER_STUCK, |setup: &Setup, system: &System| {
            let mut actions = Vec::new();
            setup.actions(system, &mut actions);
            system.violated.is_some() || !actions.is_empty() || !system.processes.iter().any(Process::is_active)
        }),
    ]
}

fn is_consistent(system: &System) -> bool {
    let prod = system.prod.and_then(Route::whole);
    prod.is_some_and(|prod| system.dev == Some(prod.other()) && system.legitimate[index(prod)])
}

fn is_consistent_when_quiet(system: &System) -> bool {
    let quiet = system.processes.iter().all(ended_well);
    let failed = system.records.iter().any(|record| record.outcome == Some(Outcome::Failed));
    // Nothing was released yet, or a person deleted a rule.
    let absent = system.prod.is_none() || system.dev.is_none();
    !quiet
        || failed
        || absent
        || (is_consistent(system) && system.processes.iter().all(|process| process.late.is_empty()))
}

thread_local! {
    /// Results of earlier reconciles. Many states leave the same system behind when everything is killed.
    static KNOWN: RefCell<HashMap<(Option<Mutant>, System), Found>> = RefCell::default();
}

/// The result of a reconcile.
#[derive(Clone, Copy)]
struct Found {
    /// It succeeded, and everything is consistent.
    good: bool,
    /// If a run that had not verified the new side had split prod, prod is again at the place that this run had found.
    unsplit: bool,
}

/// Kills everything, applies or drops late writes, makes both sides healthy, and reconciles without faults.
fn reconciled(setup: &Setup, system: &System, holds: impl Fn(Found) -> bool) -> bool {
    let late = system.processes.iter().any(|process| !process.late.is_empty());
    let fates: &[bool] = if late { &[true, false] } else { &[false] };
    fates.iter().all(|land| {
        let left = killed(setup, system.clone(), *land);
        let key = (setup.mutant, left);
        let known = KNOWN.with_borrow(|known| known.get(&key).copied());
        holds(known.unwrap_or_else(|| {
            let found = reconcile(setup, key.1.clone());
            KNOWN.with_borrow_mut(|known| known.insert(key, found));
            found
        }))
    })
}

/// The place of prod before the split, if the run that split it is known and had not verified the new side.
fn split_from(system: &System) -> Option<Color> {
    let intent = system.records[system.last_intent?].intent?;
    (system.prod?.whole().is_none() && !intent.verified).then_some(intent.from)
}

/// The state that remains when everything is killed: listeners, ledger, and healthy sides.
fn killed(setup: &Setup, mut system: System, land: bool) -> System {
    for number in 0..system.processes.len() {
        for (listener, route) in std::mem::take(&mut system.processes[number].late) {
            if land {
                answers::land(&mut system, number, listener, route);
            }
        }
        let mut dead = Process::new(system.processes[number].id, setup.asked[number]);
        dead.crashed = true;
        system.processes[number] = dead;
    }
    system.healthy = [true; 2];
    system.lock.live = false;
    system.lagging = false;
    system.budget = Budget::NONE;
    system
}

fn reconcile(setup: &Setup, mut system: System) -> Found {
    let shift = Shift::NONE;
    let asked = Asked {
        kind: Kind::Reconcile,
        to: setup.is_first_release(),
        expect: None,
        on_fail: OnFail::Rollback,
        shift,
        force: false,
    };
    let from = split_from(&system);
    let never = Found { good: false, unsplit: from.is_none() };
    let number = system.processes.len();
    system.processes.push(Process::new(2, asked));
    let mut next = setup.after(&system, Action::Start(number));
    // A reconcile asks about twenty questions.
    for _ in 0..60 {
        match next {
            None => return never,
            Some(done) if done.processes[number].state.finish().is_some() => {
                let finish = done.processes[number].state.finish();
                let good = matches!(finish, Some(Finish::Recorded(Outcome::Done | Outcome::Noop)));
                return Found {
                    good: good && done.violated.is_none() && is_consistent(&done),
                    unsplit: from.is_none_or(|from| done.prod == Some(Route::All(from))),
                };
            }
            Some(going) => next = setup.after(&going, Action::Do(number, Way::Well)),
        }
    }
    never
}
