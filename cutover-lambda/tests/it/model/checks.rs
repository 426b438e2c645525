//! The promises, as properties of a state of the system.

use super::effects::{self, Way};
use super::system::{Action, Budget, Mutant, Process, Setup, System, ended_well, index};
use cutover_lambda::machine::{Asked, Finish, Kind, State};
use cutover_lambda::report::Outcome;
use cutover_lambda::request::OnFail;
use stateright::Property;
use std::cell::RefCell;
use std::collections::HashMap;

pub const HEALTHY: &str = "prod is never written to a group that was not just seen healthy";
pub const ONE_WRITER: &str = "never two writers";
pub const CONSISTENT: &str = "when nothing runs, prod is not dev, and prod is verified or where it was";
pub const RECOVERABLE: &str = "from every state, everything killed, one reconcile reaches consistency";
pub const ONE_OUTCOME: &str = "every id has one outcome";
pub const NEVER_STUCK: &str = "no invocation waits for ever";

pub const NAMES: [&str; 6] = [HEALTHY, ONE_WRITER, CONSISTENT, RECOVERABLE, ONE_OUTCOME, NEVER_STUCK];

pub fn all() -> Vec<Property<Setup>> {
    vec![
        Property::always(HEALTHY, |_, system: &System| system.violated != Some(HEALTHY)),
        Property::always(ONE_WRITER, |_, system: &System| system.violated != Some(ONE_WRITER)),
        Property::always(ONE_OUTCOME, |_, system: &System| system.violated != Some(ONE_OUTCOME)),
        Property::always(CONSISTENT, |_, system: &System| {
            system.violated != Some(CONSISTENT) && is_consistent_when_quiet(system)
        }),
        Property::always(RECOVERABLE, is_recoverable),
        Property::always(NEVER_STUCK, |_, system: &System| {
            let waits = |process: &Process| process.crashed || process.pending.is_some();
            let unbegun = |process: &Process| process.state == State::new(process.state.asked());
            let fine = |process: &Process| waits(process) || unbegun(process) || process.state.finish().is_some();
            system.processes.iter().all(fine)
        }),
    ]
}

fn is_consistent(system: &System) -> bool {
    system.prod != system.dev && system.legitimate[index(system.prod)]
}

fn is_consistent_when_quiet(system: &System) -> bool {
    let quiet = system.processes.iter().all(ended_well);
    let failed = system.records.iter().any(|record| record.outcome == Some(Outcome::Failed));
    !quiet || failed || (is_consistent(system) && system.processes.iter().all(|process| process.late.is_empty()))
}

thread_local! {
    /// What was reconciled already. Many states leave the same behind when everything is killed.
    static KNOWN: RefCell<HashMap<(Option<Mutant>, System), bool>> = RefCell::default();
}

/// Kills everything, lets late writes land or vanish, makes both sides healthy, and reconciles without faults.
fn is_recoverable(setup: &Setup, system: &System) -> bool {
    let late = system.processes.iter().any(|process| !process.late.is_empty());
    let fates: &[bool] = if late { &[true, false] } else { &[false] };
    fates.iter().all(|land| {
        let left = killed(setup, system.clone(), *land);
        let key = (setup.mutant, left);
        let known = KNOWN.with_borrow(|known| known.get(&key).copied());
        known.unwrap_or_else(|| {
            let good = reconcile(setup, key.1.clone());
            KNOWN.with_borrow_mut(|known| known.insert(key, good));
            good
        })
    })
}

/// What is left when everything is killed: listeners, ledger, and healthy sides.
fn killed(setup: &Setup, mut system: System, land: bool) -> System {
    for number in 0..system.processes.len() {
        for (listener, color) in std::mem::take(&mut system.processes[number].late) {
            if land {
                effects::land(&mut system, number, listener, color);
            }
        }
        let mut dead = Process::new(system.processes[number].id, setup.asked[number]);
        dead.crashed = true;
        system.processes[number] = dead;
    }
    system.healthy = [true; 2];
    system.lock.live = false;
    system.budget = Budget::NONE;
    system
}

fn reconcile(setup: &Setup, mut system: System) -> bool {
    let asked = Asked { kind: Kind::Reconcile, to: None, expect: None, on_fail: OnFail::Rollback };
    let number = system.processes.len();
    system.processes.push(Process::new(2, asked));
    let mut next = setup.after(&system, Action::Start(number));
    // A reconcile has some twenty effects.
    for _ in 0..60 {
        match next {
            None => return false,
            Some(done) if done.processes[number].state.finish().is_some() => {
                let finish = done.processes[number].state.finish();
                let good = matches!(finish, Some(Finish::Recorded(Outcome::Done | Outcome::Noop)));
                return good && done.violated.is_none() && is_consistent(&done);
            }
            Some(going) => next = setup.after(&going, Action::Do(number, Way::Well)),
        }
    }
    false
}
