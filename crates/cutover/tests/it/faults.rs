//! Random scripts of faults with the real runner under paused time: writes that are lost, late, or rejected, reads and
//! ledger calls that fail, sides that become unhealthy, versions that begin to fail, invocations that are killed. After
//! each script, all faults are removed, a reconcile runs, and the guarantees are checked.

use crate::world::{Fault, World};
use model::Color;
use model::record::{Outcome, Record};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};

/// Outcomes that need a notification, even if the process died.
const MATTERS: [Outcome; 4] = [Outcome::Done, Outcome::RolledBack, Outcome::Held, Outcome::Failed];

/// Scripts in one test run.
const SCRIPTS: u32 = 3000;

/// An event of the environments, at a time in ms.
#[derive(Clone, Debug)]
enum Happening {
    Health(Color, u32),
    Status(Color, u16),
}

#[derive(Clone, Debug)]
struct Invocation {
    event: Value,
    /// When it begins, and its lifetime, in ms.
    begins: u64,
    lives: Option<u64>,
    /// When the ledger begins to fail only for this invocation, and for how long, in ms. If it is long enough, the
    /// lease is lost.
    outage: Option<(u64, u64)>,
}

#[derive(Clone, Debug)]
struct Script {
    writes: BTreeMap<usize, Fault>,
    reads: BTreeMap<usize, Fault>,
    store: BTreeMap<usize, Fault>,
    happenings: Vec<(u64, Happening)>,
    invocations: Vec<Invocation>,
}

fn color() -> impl Strategy<Value = Color> {
    prop_oneof![Just(Color::Blue), Just(Color::Green)]
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        Just(Fault::Lost),
        Just(Fault::Unanswered),
        (0..6900_u64).prop_map(Fault::Lands),
        Just(Fault::Rejected),
        (0..9000_u64).prop_map(Fault::Slow),
    ]
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        (color(), 0..3_u32).prop_map(|(color, healthy)| Happening::Health(color, healthy)),
        (color(), prop_oneof![Just(200_u16), Just(503), Just(0)])
            .prop_map(|(color, status)| Happening::Status(color, status)),
    ]
}

fn event() -> impl Strategy<Value = Value> {
    let op = prop_oneof![
        6 => Just("cutover"),
        2 => Just("rollback"),
        1 => Just("reconcile"),
        1 => Just("plan"),
    ];
    let to = prop_oneof![2 => Just(None), 2 => Just(Some(Color::Blue)), 1 => Just(Some(Color::Green))];
    let id = prop_oneof![4 => Just(None), 1 => Just(Some("same"))];
    let count = prop_oneof![3 => Just(12), 1 => Just(250)];
    let shift = prop_oneof![3 => Just(json!(null)), 1 => Just(json!([{"weight": 10, "hold_ms": 1500}, {"weight": 50, "hold_ms": 700}]))];
    (op, to, id, any::<bool>(), count, shift).prop_map(|(op, to, id, hold, count, shift)| {
        json!({
            "shift": shift,
            "op": op,
            "to": to.filter(|_| op == "cutover"),
            "id": id,
            "on_fail": if hold { "hold" } else { "rollback" },
            "probe": {"count": count, "baseline": 3, "interval_ms": 200},
        })
    })
}

fn invocation() -> impl Strategy<Value = Invocation> {
    let begins = prop_oneof![0..12_000_u64, 30_000..60_000_u64];
    let lives = prop_oneof![3 => Just(None), 1 => (0..9000_u64).prop_map(Some)];
    let outage = prop_oneof![2 => Just(None), 1 => (0..20_000_u64, 1000..90_000_u64).prop_map(Some)];
    (event(), begins, lives, outage).prop_map(|(event, begins, lives, outage)| Invocation {
        event,
        begins,
        lives,
        outage,
    })
}

fn script() -> impl Strategy<Value = Script> {
    (
        btree_map(0..8_usize, fault(), 0..4),
        btree_map(0..40_usize, fault(), 0..4),
        btree_map(0..80_usize, fault(), 0..6),
        vec((0..20_000_u64, happening()), 0..3),
        vec(invocation(), 1..4),
    )
        .prop_map(|(writes, reads, store, happenings, invocations)| Script {
            writes,
            reads,
            store,
            happenings,
            invocations,
        })
}

/// Executes a script and checks the guarantees.
async fn play(script: &Script, outcomes: &RefCell<BTreeMap<String, u32>>) -> Result<(), TestCaseError> {
    let world = World::new();
    let begun = Instant::now();
    {
        let mut state = world.state();
        state.write_faults = script.writes.clone();
        state.read_faults = script.reads.clone();
        state.store_faults = script.store.clone();
    }
    for (at, happening) in script.happenings.clone() {
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            sleep_until(begun + Duration::from_millis(at)).await;
            let mut state = world.state();
            match happening {
                Happening::Health(color, healthy) => drop_old(state.healthy.insert(color, healthy)),
                Happening::Status(color, status) => drop_old(state.statuses.insert(color, status)),
            }
        });
    }
    let runs = script.invocations.iter().map(|invocation| {
        let world = Arc::clone(&world);
        async move {
            sleep_until(begun + Duration::from_millis(invocation.begins)).await;
            let outage = invocation.outage.map(|(from, length)| {
                let from = begun + Duration::from_millis(invocation.begins + from);
                from..from + Duration::from_millis(length)
            });
            let run = world.invoke_in(invocation.event.clone(), outage);
            match invocation.lives {
                Some(ms) => timeout(Duration::from_millis(ms), run).await.ok(),
                None => Some(run.await),
            }
        }
    });
    let records: Vec<_> = futures_util::future::join_all(runs).await.into_iter().flatten().collect();
    prop_assert_eq!(&world.state().violations, &Vec::<String>::new());
    for record in &records {
        let name = record.outcome.map_or_else(|| "still running".to_owned(), |outcome| outcome.to_string());
        *outcomes.borrow_mut().entry(name).or_default() += 1;
    }
    check_quiet(&world, script, &records)?;
    converge(&world, &records).await
}

fn drop_old<T>(_: Option<T>) {}

/// When every invocation came to its end and none failed, the listeners are consistent.
fn check_quiet(world: &World, script: &Script, records: &[Record]) -> Result<(), TestCaseError> {
    let all_ended = records.len() == script.invocations.len()
        && records.iter().all(|record| record.outcome.is_some_and(|outcome| outcome != Outcome::Failed));
    // A refusal because of the ledger may leave the lease to expire, and another run unfinished.
    let undisturbed =
        script.store.is_empty() && script.invocations.iter().all(|one| one.lives.is_none() && one.outage.is_none());
    if all_ended && undisturbed {
        let (prod, dev) = world.listeners();
        prop_assert_ne!(prod, dev, "{:#?}", records);
    }
    Ok(())
}

/// Removes all faults and reconciles: prod is not dev, and matches the last recorded outcome.
async fn converge(world: &Arc<World>, records: &[Record]) -> Result<(), TestCaseError> {
    world.heal();
    // Pending events happen, late writes take effect, leases expire.
    tokio::time::sleep(Duration::from_mins(2)).await;
    world.heal();
    let reconciled = world.invoke(json!({"op": "reconcile", "id": "last"})).await;
    prop_assert!(reconciled.outcome.is_some_and(Outcome::is_success), "{:#?}", reconciled);
    let (prod, dev) = world.listeners();
    prop_assert_ne!(prod, dev);
    prop_assert_eq!(&world.state().violations, &Vec::<String>::new());
    let stored = world.records().await;
    // Only plans and reconciles ignore an interruption that changed nothing.
    for record in stored.iter().filter(|record| record.wrote) {
        prop_assert!(record.is_final(), "{:#?}", record);
    }
    let expected = stored
        .iter()
        .filter(|record| record.wrote && record.outcome != Some(Outcome::Failed))
        .max_by_key(|record| (record.finished, record.started));
    if let Some(last) = expected
        && stored.iter().all(|record| record.outcome != Some(Outcome::Failed))
    {
        let side = match last.outcome {
            Some(Outcome::Done) => last.to,
            Some(Outcome::RolledBack) => last.from,
            _ => last.prod,
        };
        prop_assert_eq!(side, Some(prod), "{:#?}", last);
    }
    // There is a notification of each run that matters, with the outcome that is stored.
    for record in &stored {
        let Some(outcome) = record.outcome.filter(|outcome| MATTERS.contains(outcome)) else { continue };
        let reported =
            world.state().reported.iter().filter(|reported| **reported == (record.id.clone(), outcome)).count();
        prop_assert!(reported >= 1, "no notification of {:#?}", record);
    }
    // The answer is the stored record.
    for answered in records.iter().filter(|record| record.recorded && record.is_final()) {
        if let Some(stored) = stored.iter().find(|stored| stored.id == answered.id) {
            prop_assert_eq!(stored.outcome, answered.outcome, "{:#?}", answered);
        }
    }
    Ok(())
}

#[test]
fn every_script_of_faults_converges() {
    let seed: u64 = std::env::var("FAULT_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| u64::from(std::process::id()) ^ 0x5eed);
    let scripts = std::env::var("FAULT_SCRIPTS").ok().and_then(|count| count.parse().ok()).unwrap_or(SCRIPTS);
    println!("{scripts} scripts, FAULT_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config { cases: scripts, failure_persistence: None, max_shrink_iters: 2000, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let outcomes = RefCell::new(BTreeMap::<String, u32>::new());
    let outcome = runner.run(&script(), |script| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .map_err(|error| TestCaseError::fail(error.to_string()))?;
        runtime.block_on(play(&script, &outcomes))
    });
    println!("outcomes: {:?}", outcomes.borrow());
    if let Err(error) = outcome {
        panic!("FAULT_SEED={seed}: {error}");
    }
}
