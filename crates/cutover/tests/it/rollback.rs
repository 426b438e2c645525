//! The targets of a rollback and a reconcile: the origin of an unfinished run, the release that was live, or the place
//! of prod according to the ledger; and the verdict about it.

use crate::world::{Fault, World};
use model::record::{Outcome, Record};
use model::{Color, Listener, Route};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

use Color::{Blue, Green};

fn assert_ended(world: &World, record: &Record, outcome: Outcome, prod: Color) {
    assert_eq!(record.outcome, Some(outcome), "{record:#?}");
    assert_eq!(world.listeners(), (prod, prod.other()), "{record:#?}");
    assert_eq!(world.state().violations, Vec::<String>::new());
}

/// Blue is prod after a cutover, and a cutover back to green was killed after this number of milliseconds.
async fn interrupted(ms: u64) -> Option<Arc<World>> {
    let world = World::new();
    world.invoke(json!({"id": "first"})).await;
    let killed = timeout(Duration::from_millis(ms), world.invoke(json!({"id": "killed", "to": "green"}))).await;
    killed.is_err().then_some(())?;
    sleep(Duration::from_mins(2)).await;
    Some(world)
}

#[tokio::test(start_paused = true)]
async fn a_rollback_takes_an_interrupted_cutover_back_and_ends_there() {
    for ms in (2000..14_000).step_by(331) {
        let world = interrupted(ms).await.unwrap();
        let record = world.invoke(json!({"op": "rollback", "id": "back"})).await;
        let killed = world.records().await.into_iter().find(|record| record.id == "killed").unwrap();
        match killed.outcome.unwrap() {
            Outcome::RolledBack => {
                assert_ended(&world, &record, Outcome::Done, Blue);
                assert_eq!(record.recovered, ["killed"], "{ms}");
                assert!(
                    record.message.contains("which was interrupted, was rolled back: blue is prod"),
                    "{}",
                    record.message
                );
            }
            // It had written nothing: the rollback undoes the cutover before.
            Outcome::Refused => assert_ended(&world, &record, Outcome::Done, Green),
            other => panic!("{ms}: {other}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_rolled_back_already_is_not_released_by_a_rollback() {
    let world = World::new();
    world.invoke(json!({"id": "first"})).await;
    world.state().statuses.insert(Green, 500);
    let breaks = Arc::clone(&world);
    tokio::spawn(async move {
        breaks.state().statuses.insert(Green, 200);
        sleep(Duration::from_secs(6)).await;
        breaks.state().statuses.insert(Green, 500);
    });
    sleep(Duration::from_millis(1)).await;
    let record = world.invoke(json!({"to": "green"})).await;
    assert_ended(&world, &record, Outcome::RolledBack, Blue);
    let record = world.invoke(json!({"op": "rollback"})).await;
    assert_ended(&world, &record, Outcome::Noop, Blue);
    assert!(record.message.contains("was rolled back"), "{}", record.message);
}

#[tokio::test(start_paused = true)]
async fn a_rollback_to_a_release_that_was_never_live_has_to_be_forced() {
    let world = World::new();
    world.state().services.get_mut(&Blue).unwrap().release = Some(2);
    world.invoke(json!({})).await;
    world.state().services.get_mut(&Green).unwrap().release = Some(3);
    let record = world.invoke(json!({"op": "rollback"})).await;
    assert_ended(&world, &record, Outcome::Refused, Blue);
    assert!(
        record.message.contains("green runs release 3 now, and release 1 (version 1) was live"),
        "{}",
        record.message
    );
    assert!(record.message.contains("nothing was written"), "{}", record.message);
    assert!(record.hint.unwrap().contains("force"));
    let record = world.invoke(json!({"op": "rollback", "force": true})).await;
    assert_ended(&world, &record, Outcome::Done, Green);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_put_another_one_right_and_is_refused_says_so() {
    let world = interrupted(8000).await.unwrap();
    world.state().healthy.insert(Green, 0);
    let record = world.invoke(json!({"to": "green"})).await;
    assert_ended(&world, &record, Outcome::Refused, Blue);
    assert!(
        record.message.starts_with("Run killed was interrupted and is recovered: blue is prod"),
        "{}",
        record.message
    );
    assert!(record.message.contains("nothing else was written"), "{}", record.message);
}

#[tokio::test(start_paused = true)]
async fn a_reconcile_undoes_what_landed_after_the_end() {
    let world = World::new();
    world.invoke(json!({"id": "first"})).await;
    // An unknown writer pointed prod at green.
    world.state().prod = Route::All(Green);
    let record = world.invoke(json!({"op": "reconcile"})).await;
    assert_ended(&world, &record, Outcome::Done, Blue);
    // A person did that, and confirms it.
    world.state().prod = Route::All(Green);
    let record = world.invoke(json!({"op": "reconcile", "to": "green", "force": true})).await;
    assert_ended(&world, &record, Outcome::Done, Green);
    let record = world.invoke(json!({"op": "reconcile"})).await;
    assert_ended(&world, &record, Outcome::Noop, Green);
    // Without the confirmation, only a side that can serve users gets them.
    world.state().prod = Route::All(Blue);
    let record = world.invoke(json!({"op": "reconcile"})).await;
    assert_ended(&world, &record, Outcome::Done, Green);
    world.state().prod = Route::All(Blue);
    world.state().healthy.insert(Green, 0);
    let record = world.invoke(json!({"op": "reconcile"})).await;
    assert_ended(&world, &record, Outcome::Held, Blue);
}

#[tokio::test(start_paused = true)]
async fn nothing_changes_after_the_end_of_a_run() {
    for lands in [1000, 4000, 6900] {
        let world = World::new();
        // Dev is written repeatedly, and the last attempt takes effect late.
        let tries = (0..12).map(|call| (call, if call == 11 { Fault::Lost } else { Fault::Lands(lands) }));
        world.state().write_faults.extend(tries);
        let record = world.invoke(json!({})).await;
        let pointing = |world: &World| {
            let state = world.state();
            (state.prod, state.dev)
        };
        let at_the_end = pointing(&world);
        sleep(Duration::from_mins(1)).await;
        assert_eq!(pointing(&world), at_the_end, "{lands}: {record:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_cannot_go_back_goes_as_soon_as_it_can() {
    let world = World::new();
    let breaks = Arc::clone(&world);
    tokio::spawn(async move {
        sleep(Duration::from_secs(8)).await;
        breaks.state().statuses.insert(Blue, 503);
        breaks.state().healthy.insert(Green, 0);
        sleep(Duration::from_secs(20)).await;
        breaks.state().healthy.insert(Green, 2);
    });
    let record = world.invoke(json!({})).await;
    assert_ended(&world, &record, Outcome::RolledBack, Green);
    let back = record.writes.iter().rev().find(|write| write.listener == Listener::Prod).unwrap();
    assert!((28_000_000..32_000_000).contains(&back.start_us), "{back:?}");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_cannot_go_back_says_what_users_get_and_why() {
    let world = World::new();
    let breaks = Arc::clone(&world);
    tokio::spawn(async move {
        sleep(Duration::from_secs(8)).await;
        breaks.state().statuses.insert(Blue, 500);
        breaks.state().healthy.insert(Green, 0);
    });
    let record = world.invoke(json!({})).await;
    assert_ended(&world, &record, Outcome::Held, Blue);
    let message = &record.message;
    assert!(message.starts_with("Held: prod is on blue (version 2)"), "{message}");
    assert!(message.contains("status 500") && message.contains("green: 2 unhealthy"), "{message}");
    // It ended because of a failure: no rate is reported.
    assert_eq!(record.probes.unwrap().bound95, None);
}

#[tokio::test(start_paused = true)]
async fn a_side_that_lost_its_version_header_is_refused() {
    let world = World::new();
    world.state().versions.remove(&Blue);
    let record = world.invoke(json!({})).await;
    assert_ended(&world, &record, Outcome::Refused, Green);
    assert!(record.message.contains("blue tells no version: prod answers version 1"), "{}", record.message);
}

#[tokio::test(start_paused = true)]
async fn a_side_that_is_too_slow_goes_back_if_that_was_asked() {
    for (probe, slow) in [
        (json!({}), false),
        (json!({"max_p99_ms": 300}), false),
        (json!({"max_p99_ms": 100}), true),
        (json!({"max_slowdown": 5000}), false),
        (json!({"max_slowdown": 200}), true),
    ] {
        let world = World::new();
        world.state().latency.insert(Blue, Duration::from_millis(200));
        let record = world.invoke(json!({"to": "blue", "probe": probe})).await;
        let (outcome, prod) = if slow { (Outcome::RolledBack, Green) } else { (Outcome::Done, Blue) };
        assert_ended(&world, &record, outcome, prod);
        assert_eq!(record.message.contains("blue is too slow"), slow, "{}", record.message);
    }
}
