//! How the records of the modeled system are written, and what a run claims with its outcome.

use super::answers::Way;
use super::checks;
use super::faults::Mutant;
use super::system::{Process, Record, Setup, System, index};
use cutover::machine::question::Saved;
use cutover::machine::{Asked, Kind, Route, Subject};
use model::Color;
use model::record::Outcome;

/// Changes the record, unless it is final or taken over.
pub fn save(system: &mut System, number: usize, way: Way, change: impl FnOnce(&mut Record)) -> Saved {
    let Process { id, epoch, .. } = system.processes[number];
    let record = &mut system.records[id];
    if way == Way::Failed {
        return Saved::Failed;
    }
    if record.outcome.is_some() || (record.exists && record.epoch != epoch) {
        return Saved::Taken;
    }
    record.exists = true;
    record.epoch = epoch;
    change(record);
    if way == Way::Well { Saved::Done } else { Saved::Failed }
}

pub fn save_intent(setup: &Setup, system: &mut System, number: usize, way: Way) -> Saved {
    let (Some(from), Some(to)) = system.processes[number].state.swap() else {
        return Saved::Failed;
    };
    if setup.mutant == Some(Mutant::NoIntent) {
        return Saved::Done;
    }
    let verified = setup.mutant == Some(Mutant::VerifiedTooEarly);
    let intent = Subject { from, to, verified };
    let saved = save(system, number, way, |record| record.intent = Some(intent));
    if system.records[system.processes[number].id].intent == Some(intent) {
        system.last_intent = Some(system.processes[number].id);
    }
    saved
}

/// Records the places that prod may have from now on. The run of this process has just read prod.
fn settle(system: &mut System, number: usize, outcome: Outcome, swap: Option<(Color, Color)>) {
    let prod = system.processes[number].state.listeners().0.and_then(Route::whole);
    if matches!(outcome, Outcome::Done | Outcome::RolledBack | Outcome::Held) && prod.is_some() {
        system.last_prod = prod;
    }
    let Some((from, to)) = swap else {
        // A first release, or a rule that was created again.
        if let (Outcome::Done, Some(prod), [false, false]) = (outcome, prod, system.legitimate) {
            system.legitimate[index(prod)] = true;
        }
        return;
    };
    let only = |color| Color::ALL.map(|other| other == color);
    let claimed = match outcome {
        Outcome::Done => to,
        Outcome::RolledBack => from,
        Outcome::Held => {
            match prod {
                Some(prod) => {
                    system.legitimate = only(prod);
                    system.way_back = Some(from);
                }
                None => system.violated = Some(checks::CONSISTENT),
            }
            return;
        }
        Outcome::Noop | Outcome::Planned | Outcome::Refused | Outcome::Failed => return,
    };
    if !system.legitimate[index(claimed)] {
        system.violated = Some(checks::CONSISTENT);
    }
    system.legitimate = only(claimed);
    system.way_back = Some(from);
}

pub fn save_recovered(setup: &Setup, system: &mut System, number: usize, outcome: Outcome, way: Way) -> Saved {
    let Process { subject, epoch, .. } = system.processes[number];
    let Some(id) = subject else { return Saved::Done };
    if way == Way::Failed {
        return Saved::Failed;
    }
    let record = &mut system.records[id];
    match record.outcome {
        None if record.epoch != epoch && setup.mutant != Some(Mutant::NoTakeOver) => return Saved::Taken,
        None => record.outcome = Some(outcome),
        // A failed outcome stays.
        Some(Outcome::Failed) => {}
        Some(_) if setup.mutant == Some(Mutant::NoConditionalRecord) => {}
        Some(_) => return Saved::Taken,
    }
    let swap = record.intent.map(|intent| (intent.from, intent.to));
    settle(system, number, outcome, swap);
    if way == Way::Happened {
        return Saved::Failed;
    }
    system.processes[number].subject = None;
    system.last_intent = system.last_intent.filter(|last| *last != id);
    Saved::Done
}

pub fn save_outcome(setup: &Setup, system: &mut System, number: usize, outcome: Outcome, way: Way) -> Saved {
    let id = system.processes[number].id;
    let before = system.records[id].outcome;
    if setup.mutant == Some(Mutant::NoConditionalRecord) {
        system.records[id].outcome = None;
    }
    let saved = save(system, number, way, |record| record.outcome = Some(outcome));
    let after = system.records[id].outcome;
    if before.is_some() && before != after {
        system.violated = Some(checks::ONE_OUTCOME);
    }
    check_claims(system, number, outcome);
    if before.is_none() && after.is_some() {
        let intent = system.records[id].intent.map(|intent| (intent.from, intent.to));
        settle(system, number, outcome, intent);
    }
    saved
}

/// Checks what a run reports at its end.
fn check_claims(system: &mut System, number: usize, outcome: Outcome) {
    let process = &system.processes[number];
    let Asked { kind, .. } = process.state.asked();
    let moves = process.state.wrote() && matches!(outcome, Outcome::Done | Outcome::RolledBack);
    if moves && system.lagging {
        system.violated = Some(checks::FOLLOWED);
    }
    let plain = kind == Kind::Rollback && outcome == Outcome::Done;
    // Without a rule there is nothing to compare.
    let elsewhere = |from| system.prod.is_some_and(|prod| prod != Route::All(from));
    if plain && process.unfinished_from.is_some_and(elsewhere) {
        system.violated = Some(checks::AWAY);
    }
    if kind == Kind::Cutover && process.aborted && outcome == Outcome::Done {
        system.violated = Some(checks::ABORTED);
    }
}
