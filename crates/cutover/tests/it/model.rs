//! The machine under a model checker: two simultaneous invocations on one stack, with crashes, lost and late writes,
//! changes of health, a lease that expires, and a ledger that fails. The machine is the one that runs in production;
//! only its environment is modeled. Mutants of that environment show that the properties can fail.

mod answers;
mod checks;
mod faults;
mod records;
mod system;

use cutover::machine::{Asked, Kind, Shift};
use faults::{Budget, Mutant};
use model::Color;
use model::request::OnFail;
use stateright::{Checker, HasDiscoveries, Model};
use std::collections::BTreeSet;
use std::time::Instant;
use system::Setup;

const fn asked(kind: Kind, to: Option<Color>) -> Asked {
    Asked { kind, to, expect: None, on_fail: OnFail::Rollback, shift: Shift::NONE, force: false }
}

const TO_BLUE: Asked = asked(Kind::Cutover, Some(Color::Blue));

/// The request with a shift in steps. One or two steps are enough: more steps repeat the same transitions.
fn shifted(asked: Asked, steps: impl IntoIterator<Item = u8>) -> Asked {
    Asked { shift: Shift::new(steps), ..asked }
}

/// Two invocations: their requests, and whether they have the same id.
type Pair = (&'static str, [Asked; 2], bool);

fn pair(number: usize) -> Pair {
    match number {
        6 => ("a shift and a reconcile", [shifted(TO_BLUE, [10, 50]), asked(Kind::Reconcile, None)], false),
        8 => ("a first release and a cutover", [asked(Kind::Reconcile, Some(Color::Green)), TO_BLUE], false),
        7 => ("a shift and a cutover back", [shifted(TO_BLUE, [50]), asked(Kind::Cutover, Some(Color::Green))], false),
        number => PAIRS[number],
    }
}

const PAIRS: [Pair; 6] = [
    ("two to blue", [TO_BLUE, TO_BLUE], false),
    ("the same id twice", [TO_BLUE, TO_BLUE], true),
    ("opposite targets", [TO_BLUE, asked(Kind::Cutover, Some(Color::Green))], false),
    ("cutover and reconcile", [TO_BLUE, asked(Kind::Reconcile, None)], false),
    ("cutover and rollback", [TO_BLUE, asked(Kind::Rollback, None)], false),
    (
        "hold on failure, and the idle one",
        [Asked { on_fail: OnFail::Hold, ..TO_BLUE }, asked(Kind::Cutover, None)],
        false,
    ),
];

/// Explores all states, or until a property is violated. Returns the number of states and the violated properties.
fn explore(setup: Setup, until: HasDiscoveries) -> (usize, Vec<&'static str>) {
    let checker = setup.checker().finish_when(until).spawn_bfs().join();
    let violated = checker.discoveries().into_iter().map(|(name, path)| {
        println!("    violated: {name}");
        for (system, action) in path.into_vec() {
            println!("      {}", action.map_or_else(|| "violated".to_owned(), |action| system.describe(action)));
        }
        name
    });
    let violated = violated.collect();
    (checker.unique_state_count(), violated)
}

/// Explores one pair with every budget.
fn check(number: usize) {
    let (name, asked, same_id) = pair(number);
    println!("properties: {}", checks::NAMES.join("; "));
    for budget in Budget::EXPLORED {
        let begun = Instant::now();
        let (states, violated) = explore(Setup { asked, same_id, budget, mutant: None }, HasDiscoveries::AnyFailures);
        println!("{name}, {budget:?}: {states} states in {:?}", begun.elapsed());
        assert_eq!(violated, Vec::<&str>::new(), "{name}, {budget:?}");
    }
}

// One test for each pair, so that they run in parallel.

#[test]
fn two_to_the_same_side_keep_the_promises() {
    check(0);
}

#[test]
fn the_same_id_twice_keeps_the_promises() {
    check(1);
}

#[test]
fn opposite_targets_keep_the_promises() {
    check(2);
}

#[test]
fn a_cutover_and_a_reconcile_keep_the_promises() {
    check(3);
}

#[test]
fn a_cutover_and_a_rollback_keep_the_promises() {
    check(4);
}

#[test]
fn holding_on_failure_keeps_the_promises() {
    check(5);
}

#[test]
fn a_shift_and_a_reconcile_keep_the_promises() {
    check(6);
}

#[test]
fn a_shift_and_a_cutover_back_keep_the_promises() {
    check(7);
}

#[test]
fn a_first_release_and_a_cutover_keep_the_promises() {
    check(8);
}

#[test]
fn every_mutant_is_caught() {
    for (mutant, caught_by, number, budget) in Mutant::ALL {
        let (name, asked, same_id) = pair(number);
        let setup = Setup { asked, same_id, budget: Budget::EXPLORED[budget], mutant: Some(mutant) };
        let (_, violated) = explore(setup, HasDiscoveries::AnyOf(BTreeSet::from([caught_by])));
        println!("{mutant:?}, {name}: violates {violated:?}");
        assert!(violated.contains(&caught_by), "{mutant:?} is not caught by {caught_by:?}");
    }
}
