//! The machine under a model checker: two invocations at once on one stack, with crashes, lost and late writes, health
//! that flips, a lease that expires, a ledger that fails. The machine is the one that runs in production; only its
//! surroundings are modelled. Mutants of the surroundings show that the properties can fail.

mod checks;
mod effects;
mod system;

use cutover_lambda::Color;
use cutover_lambda::machine::{Asked, Kind};
use cutover_lambda::request::OnFail;
use stateright::{Checker, Model};
use std::time::Instant;
use system::{Budget, Mutant, Setup};

const fn asked(kind: Kind, to: Option<Color>) -> Asked {
    Asked { kind, to, expect: None, on_fail: OnFail::Rollback }
}

const TO_BLUE: Asked = asked(Kind::Cutover, Some(Color::Blue));

/// Two invocations: their requests, and whether they have the same id.
const PAIRS: [(&str, [Asked; 2], bool); 6] = [
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

/// Explores everything; returns the number of states and what was found to be violated.
fn explore(setup: Setup) -> (usize, Vec<&'static str>) {
    let checker = setup.checker().spawn_bfs().join();
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

#[test]
fn every_reachable_state_keeps_the_promises() {
    let mut all = 0;
    for (name, asked, same_id) in PAIRS {
        for budget in Budget::EXPLORED {
            let begun = Instant::now();
            let setup = Setup { asked, same_id, budget, mutant: None };
            let (states, violated) = explore(setup);
            println!("{name}, {budget:?}: {states} states in {:?}", begun.elapsed());
            assert_eq!(violated, Vec::<&str>::new(), "{name}, {budget:?}");
            all += states;
        }
    }
    println!("{all} states, properties: {}", checks::NAMES.join("; "));
}

#[test]
fn every_mutant_is_caught() {
    for (mutant, caught_by, pair, budget) in Mutant::ALL {
        let (name, asked, same_id) = PAIRS[pair];
        let setup = Setup { asked, same_id, budget: Budget::EXPLORED[budget], mutant: Some(mutant) };
        let (_, violated) = explore(setup);
        println!("{mutant:?}, {name}: violates {violated:?}");
        assert!(violated.contains(&caught_by), "{mutant:?} is not caught by {caught_by:?}");
    }
}
