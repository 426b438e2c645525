//! Scenarios of runs under paused time.

use crate::world::{Fault, State, World, addresses};
use cutover::balancer::Service;
use ledger::Ledger;
use model::lease::Purpose;
use model::record::{Connection, Failure, ListenerWrite, Outcome, Phase, WriteResult};
use model::route::Listener::{Dev, Prod};
use model::{Answer, Color, Listener, Record, Route, Status};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

use Color::{Blue, Green};

/// The writes, if no listener is split.
fn writes(world: &World) -> Vec<(Listener, Color)> {
    let writes = world.state().writes.clone();
    writes.into_iter().map(|(listener, route)| (listener, route.whole().unwrap())).collect()
}

fn assert_sound(world: &World, record: &Record, outcome: Outcome, prod: Color) {
    assert_eq!(record.outcome, Some(outcome), "{record:#?}");
    assert_eq!(world.listeners(), (prod, prod.other()), "{record:#?}");
    assert_eq!(world.state().violations, Vec::<String>::new());
    assert!(record.steps.iter().all(|step| step.end_ms.is_some()), "{:#?}", record.steps);
}

#[tokio::test(start_paused = true)]
async fn a_cutover_swaps_dev_then_prod_and_verifies() {
    let world = World::new();
    let record = world.invoke(json!({})).await;
    assert_sound(&world, &record, Outcome::Done, Blue);
    assert_eq!(writes(&world), [(Dev, Green), (Prod, Blue)]);
    assert_eq!(record.phase, Phase::Done);
    assert_eq!((record.from, record.to), (Some(Green), Some(Blue)));
    let probes = record.probes.unwrap();
    assert_eq!((probes.counts.due, probes.counts.failed), (150, 0));
    assert_eq!(probes.bound95, Some(0.02));
    assert_eq!(probes.flip_flops, 0);
    assert_eq!(probes.addresses.len(), 2);
    assert_eq!(probes.kept_alive.due, 75);
    assert!(probes.before.count >= 10 && probes.during.count >= 10 && probes.after.count >= 100);
    assert_eq!(record.gate.unwrap().ok, 5);
    assert_eq!(record.versions.new.as_deref(), Some("2"));
    assert_eq!(record.versions.old.as_deref(), Some("1"));
    assert_eq!(record.message, "blue is prod and green is dev: 150 probes, 0 failed.");
    let millis = record.duration_ms;
    assert!((15_000..18_000).contains(&millis), "{millis}");
}

#[tokio::test(start_paused = true)]
async fn the_same_target_again_is_a_noop() {
    let world = World::new();
    let record = world.invoke(json!({"to": "green"})).await;
    assert_sound(&world, &record, Outcome::Noop, Green);
    assert_eq!(world.state().writes, []);
}

#[tokio::test(start_paused = true)]
async fn the_same_id_again_gives_the_stored_outcome() {
    let world = World::new();
    let first = world.invoke(json!({"id": "a"})).await;
    let writes = world.store.writes();
    let second = world.invoke(json!({"id": "a", "to": "green"})).await;
    assert_eq!(first, second);
    assert_eq!(world.store.writes(), writes);
    assert_eq!(world.listeners(), (Blue, Green));
}

#[tokio::test(start_paused = true)]
async fn a_new_version_that_fails_is_rolled_back() {
    let world = World::new();
    let breaks = Arc::clone(&world);
    tokio::spawn(async move {
        sleep(Duration::from_secs(8)).await;
        breaks.state().statuses.insert(Blue, 503);
    });
    let record = world.invoke(json!({})).await;
    assert_sound(&world, &record, Outcome::RolledBack, Green);
    assert_eq!(writes(&world), [(Dev, Green), (Prod, Blue), (Prod, Green), (Dev, Blue)]);
    let probes = record.probes.as_ref().unwrap();
    assert_eq!(probes.failures[0].failure, Some(Failure::Status));
    assert!(record.message.contains("status 503"), "{}", record.message);
    assert!(record.message.contains("traffic is back on green"), "{}", record.message);
    // The first failure is answered within 2 intervals; traffic is back as fast as the load balancer follows.
    assert!(probes.counts.failed < 6, "{}", probes.counts.failed);
}

#[tokio::test(start_paused = true)]
async fn on_fail_hold_leaves_traffic_on_the_new_side() {
    let world = World::new();
    let breaks = Arc::clone(&world);
    tokio::spawn(async move {
        sleep(Duration::from_secs(8)).await;
        breaks.state().statuses.insert(Blue, 503);
    });
    let record = world.invoke(json!({"on_fail": "hold"})).await;
    assert_sound(&world, &record, Outcome::Held, Blue);
}

#[tokio::test(start_paused = true)]
async fn a_rollback_without_healthy_targets_is_held() {
    let world = World::new();
    let breaks = Arc::clone(&world);
    tokio::spawn(async move {
        sleep(Duration::from_secs(8)).await;
        let mut state = breaks.state();
        state.statuses.insert(Blue, 503);
        state.healthy.insert(Green, 0);
    });
    let record = world.invoke(json!({})).await;
    assert_sound(&world, &record, Outcome::Held, Blue);
    assert!(record.message.contains("prod is on blue"), "{}", record.message);
}

#[tokio::test(start_paused = true)]
async fn a_version_of_neither_side_is_a_failure_at_once() {
    let world = World::new();
    let changes = Arc::clone(&world);
    tokio::spawn(async move {
        sleep(Duration::from_secs(6)).await;
        changes.state().versions.insert(Blue, "3");
    });
    let record = world.invoke(json!({})).await;
    assert_sound(&world, &record, Outcome::RolledBack, Green);
    assert!(record.message.contains("version 3, neither 2 nor 1"), "{}", record.message);
    assert_eq!(record.probes.unwrap().failures[0].failure, Some(Failure::Version));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_fit_is_refused_before_anything_is_written() {
    type Break = fn(&mut State);
    let cases: [(Break, &str); 7] = [
        (|state| state.healthy.extend([(Blue, 1)]), "too few healthy targets"),
        (|state| state.services.extend([(Blue, Service::default())]), "nothing is deployed"),
        (|state| state.sticky = true, "stickiness"),
        (|state| state.statuses.extend([(Blue, 500)]), "blue failed its gate"),
        (|state| state.statuses.extend([(Green, 500)]), "prod is failing already"),
        (|state| state.statuses.extend([(Green, 0)]), "prod is failing already"),
        (|state| state.read_faults.extend((0..9).map(|call| (call, Fault::Lost))), "AWS did not answer"),
    ];
    for (breaks, reason) in cases {
        let world = World::new();
        breaks(&mut world.state());
        let record = world.invoke(json!({})).await;
        assert_sound(&world, &record, Outcome::Refused, Green);
        assert!(record.message.contains(reason), "{}", record.message);
        assert_eq!(world.state().writes, []);
    }
}

#[tokio::test(start_paused = true)]
async fn bad_events_are_refused_and_recorded() {
    let world = World::new();
    let record = world.invoke(json!({"id": "x", "probe": {"count": 0}})).await;
    assert_sound(&world, &record, Outcome::Refused, Green);
    assert_eq!(record.message, "Refused: probe.count: 0 is out of range, 1 to 3000; nothing was written.");
    let again = world.invoke(json!({"id": "x"})).await;
    assert_eq!(again, record);
}

#[tokio::test(start_paused = true)]
async fn expectation_time_and_deadline_are_checked_first() {
    let world = World::new();
    let record = world.invoke(json!({"expect": "blue"})).await;
    assert!(record.message.contains("prod is green, not blue as expected"), "{}", record.message);
    // By the store's clock, which starts in 1970: the function's clock is decades ahead, which does not matter.
    sleep(Duration::from_mins(1)).await;
    let record = world.invoke(json!({"not_after": "1970-01-01T00:00:59Z"})).await;
    assert!(record.message.contains("past its not_after"), "{}", record.message);
    let record = world.invoke(json!({"op": "plan", "not_after": "1970-01-01T00:01:59Z"})).await;
    assert_eq!(record.outcome, Some(Outcome::Planned), "{}", record.message);
    let Answer::Run(record) = world.answer(json!({}), Duration::from_secs(20)).await else {
        panic!("not a record");
    };
    assert!(record.message.contains("the function has 20 s left"), "{}", record.message);
    assert_sound(&world, &record, Outcome::Refused, Green);
    assert_eq!(world.state().writes, []);
}

#[tokio::test(start_paused = true)]
async fn an_unanswered_write_is_read_back_and_written_again() {
    for fault in [Fault::Lost, Fault::Unanswered, Fault::Lands(3000)] {
        for call in 0..2 {
            let world = World::new();
            world.state().write_faults.insert(call, fault);
            let record = world.invoke(json!({})).await;
            assert_sound(&world, &record, Outcome::Done, Blue);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_lands_after_the_rollback_is_put_right() {
    let world = World::new();
    // The write of prod is lost three times and takes effect after traffic is already back.
    world.state().write_faults.extend([(1, Fault::Lands(5000)), (2, Fault::Lost), (3, Fault::Lost)]);
    let record = world.invoke(json!({})).await;
    assert_sound(&world, &record, Outcome::RolledBack, Green);
}

#[tokio::test(start_paused = true)]
async fn a_refused_write_is_rolled_back() {
    let world = World::new();
    world.state().write_faults.insert(1, Fault::Rejected);
    let record = world.invoke(json!({})).await;
    assert_sound(&world, &record, Outcome::RolledBack, Green);
    assert!(record.message.contains("refused a write"), "{}", record.message);
}

#[tokio::test(start_paused = true)]
async fn rollback_goes_back_even_from_a_failing_prod() {
    let world = World::new();
    let record = world.invoke(json!({"op": "rollback"})).await;
    assert_sound(&world, &record, Outcome::Refused, Green);
    assert!(record.message.contains("no cutover to go back from"), "{}", record.message);
    world.invoke(json!({})).await;
    world.state().statuses.insert(Blue, 500);
    let record = world.invoke(json!({"op": "rollback"})).await;
    assert_sound(&world, &record, Outcome::Done, Green);
}

#[tokio::test(start_paused = true)]
async fn a_plan_writes_nothing_to_the_load_balancer() {
    let world = World::new();
    let record = world.invoke(json!({"op": "plan"})).await;
    assert_sound(&world, &record, Outcome::Planned, Green);
    assert_eq!(world.state().writes, []);
    assert_eq!(record.gate.unwrap().ok, 5);
    assert!(record.message.contains("to blue (version 2) would go ahead"), "{}", record.message);
}

#[tokio::test(start_paused = true)]
async fn of_two_at_once_one_is_refused_with_the_others_id() {
    let world = World::new();
    let (first, second) = tokio::join!(world.invoke(json!({"id": "first"})), async {
        sleep(Duration::from_millis(100)).await;
        world.invoke(json!({"id": "second", "to": "blue"})).await
    });
    assert_sound(&world, &first, Outcome::Done, Blue);
    assert_sound(&world, &second, Outcome::Refused, Blue);
    assert!(second.message.contains("a cutover holds the lease: first"), "{}", second.message);
}

#[tokio::test(start_paused = true)]
async fn a_deployment_excludes_a_cutover() {
    let world = World::new();
    let deployment = Ledger::new(Arc::clone(&world.store), world.clock);
    let lease = deployment.acquire(Purpose::Deployment, "deploy-1", Duration::from_secs(30)).await.unwrap();
    // The heartbeat renews it.
    sleep(Duration::from_secs(100)).await;
    let record = world.invoke(json!({})).await;
    assert_sound(&world, &record, Outcome::Refused, Green);
    assert!(record.message.contains("a deployment holds the lease: deploy-1"), "{}", record.message);
    assert!(!deployment.is_free().await.unwrap());
    lease.release().await.unwrap();
    assert!(deployment.is_free().await.unwrap());
    let record = world.invoke(json!({})).await;
    assert_sound(&world, &record, Outcome::Done, Blue);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_a_killed_cutover_left_behind_is_not_free_even_once_it_has_expired() {
    let world = World::new();
    let killed = tokio::time::timeout(Duration::from_secs(5), world.invoke(json!({}))).await;
    assert!(killed.is_err());
    sleep(Duration::from_mins(5)).await;
    let ledger = Ledger::new(Arc::clone(&world.store), world.clock);
    assert!(ledger.holder().await.unwrap().is_none());
    assert!(!ledger.is_free().await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_fails_after_the_swap_takes_nothing_back() {
    for seconds in [10, 30, 60, 240] {
        for from in [2500, 4000, 9000, 14_000] {
            let world = World::new();
            let from = Instant::now() + Duration::from_millis(from);
            let outage = from..from + Duration::from_secs(seconds);
            let record = world.invoke_in(json!({"id": "run"}), Some(outage)).await;
            assert_sound(&world, &record, Outcome::Done, Blue);
            let stored = world.invoke(json!({"id": "run"})).await;
            assert_eq!((stored.outcome, stored.recorded), (Some(Outcome::Done), true), "{seconds}");
            let ledger = Ledger::new(Arc::clone(&world.store), world.clock);
            assert!(ledger.is_free().await.unwrap(), "{seconds}: the lease was given back");
        }
    }
    // For longer than the timeout of the function: it ends in time and reports that nothing was recorded.
    let world = World::new();
    let began = Instant::now();
    let outage = began + Duration::from_secs(4)..began + Duration::from_hours(1);
    let record = world.invoke_in(json!({}), Some(outage)).await;
    assert!(!record.recorded && began.elapsed() < Duration::from_mins(5), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn killed_at_any_time_the_next_reconcile_converges() {
    for ms in (0..19_000).step_by(97) {
        let world = World::new();
        let run = world.invoke(json!({"id": "killed"}));
        let killed = tokio::time::timeout(Duration::from_millis(ms), run).await.is_err();
        let record = world.invoke(json!({"op": "reconcile"})).await;
        assert!(record.outcome.unwrap().is_success(), "{ms}: {record:#?}");
        let stored = world.invoke(json!({"id": "killed"})).await;
        assert_eq!(world.state().violations, Vec::<String>::new(), "{ms}");
        let (prod, dev) = world.listeners();
        assert_ne!(prod, dev, "{ms}");
        let expected = if stored.outcome == Some(Outcome::Done) { Blue } else { Green };
        assert_eq!(prod, expected, "{ms}: {stored:#?}");
        assert!(killed || stored.outcome == Some(Outcome::Done), "{ms}");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_listens_is_reported_once_of_every_run_that_is_recorded() {
    let world = World::new();
    let reported = |world: &World| world.state().reported.clone();
    world.invoke(json!({"id": "swap"})).await;
    assert_eq!(reported(&world), [("swap".to_owned(), Outcome::Done)]);
    world.invoke(json!({"id": "swap"})).await;
    world.invoke(json!({"op": "plan", "id": "plan"})).await;
    world.invoke(json!({"id": "wrong", "probe": {"count": 0}})).await;
    let rest = [("plan".to_owned(), Outcome::Planned), ("wrong".to_owned(), Outcome::Refused)];
    assert_eq!(reported(&world)[1..], rest, "a stored answer is no news");
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_while_a_run_tells_of_its_outcome_waits_for_it() {
    let world = World::new();
    let next = async {
        while !world.records().await.iter().any(Record::is_final) {
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(world.state().reported, [], "it is still telling");
        world.invoke(json!({"op": "rollback", "id": "back"})).await
    };
    let (there, back) = tokio::join!(world.invoke(json!({"id": "there"})), next);
    assert_eq!(there.outcome, Some(Outcome::Done));
    assert_sound(&world, &back, Outcome::Done, Green);
}

#[tokio::test(start_paused = true)]
async fn killed_before_anybody_was_told_the_next_run_tells() {
    let world = World::new();
    let recorded = async {
        while !world.records().await.iter().any(Record::is_final) {
            sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        record = world.invoke(json!({"id": "killed"})) => panic!("it ended: {record:#?}"),
        () = recorded => {}
    }
    assert_eq!(world.state().reported, []);
    sleep(Duration::from_mins(1)).await;
    let next = world.invoke(json!({"op": "reconcile", "id": "next"})).await;
    assert_sound(&world, &next, Outcome::Noop, Blue);
    let reported = world.state().reported.clone();
    assert_eq!(reported, [("killed".to_owned(), Outcome::Done), ("next".to_owned(), Outcome::Noop)]);
}

#[tokio::test(start_paused = true)]
async fn the_next_cutover_puts_a_killed_one_right_first() {
    let world = World::new();
    let run = world.invoke(json!({"id": "killed"}));
    assert!(tokio::time::timeout(Duration::from_secs(5), run).await.is_err());
    let record = world.invoke(json!({})).await;
    assert!(record.message.contains("a cutover holds the lease: killed"), "{}", record.message);
    sleep(Duration::from_secs(40)).await;
    let record = world.invoke(json!({"id": "next"})).await;
    assert_sound(&world, &record, Outcome::Done, Blue);
    assert_eq!(record.recovered, ["killed"]);
    let killed = world.invoke(json!({"id": "killed"})).await;
    assert_eq!(killed.outcome, Some(Outcome::RolledBack));
    assert_eq!(killed.recovered_by.as_deref(), Some("next"));
    assert_eq!(writes(&world), [(Dev, Green), (Prod, Blue), (Prod, Green), (Dev, Blue), (Dev, Green), (Prod, Blue)]);
}

#[tokio::test(start_paused = true)]
async fn reconcile_parts_prod_and_dev() {
    let world = World::new();
    let record = world.invoke(json!({"op": "reconcile"})).await;
    assert_sound(&world, &record, Outcome::Noop, Green);
    world.state().dev = Green;
    let record = world.invoke(json!({"op": "reconcile"})).await;
    assert_sound(&world, &record, Outcome::Done, Green);
    assert_eq!(writes(&world), [(Dev, Blue)]);
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_somebody_deleted_is_made_again_where_the_ledger_says() {
    let world = World::new();
    world.invoke(json!({"to": "blue"})).await;
    world.state().absent = vec![Prod, Dev];
    let refused = world.invoke(json!({"to": "green"})).await;
    assert_eq!(refused.outcome, Some(Outcome::Refused));
    assert!(refused.message.contains("prod has no rule"), "{}", refused.message);
    let before = writes(&world).len();
    let record = world.invoke(json!({"op": "reconcile", "to": "green"})).await;
    assert_sound(&world, &record, Outcome::Done, Blue);
    assert_eq!(writes(&world)[before..], [(Prod, Blue), (Dev, Green)]);
}

#[tokio::test(start_paused = true)]
async fn the_first_release_goes_where_the_request_says_and_only_if_that_side_is_healthy() {
    let world = World::new();
    world.state().absent = vec![Prod, Dev];
    let refused = world.invoke(json!({"op": "reconcile"})).await;
    assert_eq!((refused.outcome, writes(&world).len()), (Some(Outcome::Refused), 0));
    world.state().healthy.insert(Green, 0);
    let failed = world.invoke(json!({"op": "reconcile", "to": "green"})).await;
    assert_eq!((failed.outcome, writes(&world).len()), (Some(Outcome::Failed), 0));
    world.heal();
    let record = world.invoke(json!({"op": "reconcile", "to": "green"})).await;
    assert_sound(&world, &record, Outcome::Done, Green);
    assert_eq!(writes(&world), [(Prod, Green), (Dev, Blue)]);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_rule_of_dev_keeps_nobody_from_a_cutover_which_makes_it_again() {
    let world = World::new();
    world.state().absent = vec![Dev];
    let record = world.invoke(json!({"to": "blue"})).await;
    assert_sound(&world, &record, Outcome::Done, Blue);
    assert_eq!(writes(&world), [(Dev, Green), (Prod, Blue)]);
}

#[tokio::test(start_paused = true)]
async fn status_tells_everything_and_writes_nothing() {
    let world = World::new();
    world.invoke(json!({})).await;
    world.state().healthy.insert(Green, 1);
    let writes = world.store.writes();
    let Answer::Status(status) = world.answer(json!({"op": "status"}), Duration::from_secs(10)).await else {
        panic!("not a status");
    };
    let Status { prod, dev, environments, latest, lease, problems, weights: _ } = *status;
    assert_eq!((prod, dev, lease, problems.as_slice()), (Some(Blue), Some(Green), None, &[][..]));
    assert_eq!(environments[&Blue].version.as_deref(), Some("2"));
    assert_eq!(environments[&Green].targets["unhealthy"], 1);
    assert_eq!(latest.unwrap().outcome, Some(Outcome::Done));
    assert_eq!(world.store.writes(), writes);
}

/// The format of the record is stable for its readers: fields are added, never changed.
#[tokio::test(start_paused = true)]
async fn the_record_has_a_stable_format() {
    let world = World::new();
    let breaks = Arc::clone(&world);
    tokio::spawn(async move {
        sleep(Duration::from_millis(3250)).await;
        breaks.state().statuses.insert(Blue, 503);
    });
    let mut record = world.invoke(json!({"id": "snapshot", "probe": {"count": 40}})).await;
    record.writer = "a uuid".to_owned();
    if let Some(probes) = &mut record.probes {
        probes.recent_ms.truncate(3);
        probes.failures.truncate(1);
    }
    insta::assert_json_snapshot!(record);
    let text = serde_json::to_string(&record).unwrap();
    assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    // An older version's record lacks fields, a newer version's has more.
    let core = json!({
        "schema": 1, "id": "x", "op": "cutover", "phase": "done", "message": "", "started": "2026-01-31T12:00:00Z",
        "updated": "2026-01-31T12:00:00Z", "new": 1, "request": {"op": "cutover", "new": {"a": 1}, "probe": {"new": 1}},
        "probes": {"counts": {"due": 3, "new": 1}},
    });
    let read: Record = serde_json::from_value(core).unwrap();
    assert_eq!((read.recorded, read.probes.unwrap().counts.due), (true, 3));
}

/// Every probe and every write share one time axis, during the run and afterwards.
#[tokio::test(start_paused = true)]
async fn every_probe_is_kept_beside_the_record() {
    let world = World::new();
    let breaks = Arc::clone(&world);
    tokio::spawn(async move {
        sleep(Duration::from_secs(8)).await;
        breaks.state().statuses.insert(Blue, 503);
    });
    let running = Arc::clone(&world);
    let run = tokio::spawn(async move { running.invoke(json!({"id": "a"})).await });
    sleep(Duration::from_secs(5)).await;
    let live = world.samples("a").await.unwrap();
    // Written within the last 500 ms.
    assert!(!live.complete && (35..50).contains(&live.rows.len()), "{}", live.rows.len());
    let record = run.await.unwrap();
    let probes = record.probes.as_ref().unwrap();
    assert_eq!(probes.samples.as_deref(), Some("cutover/samples/a.json"));
    let samples = world.samples("a").await.unwrap();
    assert!(samples.complete);
    let decoded = samples.decode();
    assert_eq!(u32::try_from(decoded.len()).unwrap(), probes.counts.due);
    assert_eq!(&decoded[..live.rows.len()], live.decode());
    let failed = decoded.iter().filter(|sample| sample.failure.is_some()).count();
    assert_eq!(u32::try_from(failed).unwrap(), probes.counts.failed);
    let writes = record.writes.iter().map(|write| (write.listener, write.to, write.phase));
    let expected = [
        (Dev, Green, Phase::SwapDev),
        (Prod, Blue, Phase::SwapProd),
        (Prod, Green, Phase::RollBack),
        (Dev, Blue, Phase::RollBack),
    ];
    assert_eq!(writes.collect::<Vec<_>>(), expected);
    // The first answer of the new version came after the write of prod began; it failed between the two prod writes.
    let (swapped, back) = (&record.writes[1], &record.writes[2]);
    assert_eq!((swapped.result, swapped.weight), (WriteResult::Done, 100));
    let new = decoded.iter().find(|sample| sample.version.as_deref() == Some("2")).unwrap();
    assert!(new.done_us > swapped.start_us);
    let failure = decoded.iter().find(|sample| sample.failure.is_some()).unwrap();
    assert!(failure.done_us > swapped.end_us.unwrap() && failure.done_us <= back.start_us);
}

#[tokio::test(start_paused = true)]
async fn a_run_needs_no_samples_to_be_written() {
    let world = World::new();
    world.state().samples_fail = true;
    let record = world.invoke(json!({"id": "a"})).await;
    assert_sound(&world, &record, Outcome::Done, Blue);
    assert_eq!(world.samples("a").await, None);
}

fn shifted() -> serde_json::Value {
    json!({"id": "shift", "shift": [{"weight": 10, "hold_ms": 4000}, {"weight": 50, "hold_ms": 4000}]})
}

#[tokio::test(start_paused = true)]
async fn a_shift_gives_the_new_side_its_share_step_by_step() {
    let world = World::new();
    let record = world.invoke(shifted()).await;
    assert_sound(&world, &record, Outcome::Done, Blue);
    let expected = [
        (Dev, Route::All(Green)),
        (Prod, Route::share(Blue, 10)),
        (Prod, Route::share(Blue, 50)),
        (Prod, Route::All(Blue)),
    ];
    assert_eq!(world.state().writes, expected);
    let weights = record.writes.iter().map(|write| (write.to, write.weight, write.phase));
    let expected = [
        (Green, 100, Phase::SwapDev),
        (Blue, 10, Phase::Shift),
        (Blue, 50, Phase::Shift),
        (Blue, 100, Phase::SwapProd),
    ];
    assert_eq!(weights.collect::<Vec<_>>(), expected);
    assert_eq!(record.weight, None);
    // Users saw the new version with these percentages.
    let samples = world.samples("shift").await.unwrap().decode();
    let new_between = |from: &ListenerWrite, to: &ListenerWrite| {
        let settled = from.end_us.unwrap() + 200_000;
        let of = samples.iter().filter(|sample| (settled..to.start_us).contains(&sample.scheduled_us));
        of.clone().filter(|sample| sample.version.as_deref() == Some("2")).count() * 100 / of.count()
    };
    let shares = record.writes[1..].windows(2).map(|pair| new_between(&pair[0], &pair[1])).collect::<Vec<_>>();
    assert!((5..=15).contains(&shares[0]) && (40..=60).contains(&shares[1]), "{shares:?}");
    let probes = record.probes.unwrap();
    assert_eq!(probes.counts.failed, 0);
    // While prod is split, both versions answer, which is not a flip-flop. Flip-flops count only while the load
    // balancer follows the last write.
    assert!(probes.flip_flops <= 2, "{}", probes.flip_flops);
}

#[tokio::test(start_paused = true)]
async fn a_shift_that_fails_goes_back_before_most_users_met_it() {
    let world = World::new();
    // It fails only for users of prod: the gate succeeded.
    let breaks = Arc::clone(&world);
    tokio::spawn(async move {
        sleep(Duration::from_secs(3)).await;
        breaks.state().statuses.insert(Blue, 503);
    });
    // With and without hold: the new side never had all of prod.
    let mut event = shifted();
    event["on_fail"] = json!("hold");
    let record = world.invoke(event).await;
    assert_sound(&world, &record, Outcome::RolledBack, Green);
    let prod: Vec<_> = world.state().writes.iter().filter(|(listener, _)| *listener == Prod).copied().collect();
    assert_eq!(prod, [(Prod, Route::share(Blue, 10)), (Prod, Route::All(Green))]);
    let counts = record.probes.unwrap().counts;
    assert!((1..=3).contains(&counts.failed), "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_split_prod_whose_old_side_is_gone_goes_to_the_new_one() {
    let world = World::new();
    let breaks = Arc::clone(&world);
    tokio::spawn(async move {
        sleep(Duration::from_secs(3)).await;
        let mut state = breaks.state();
        state.healthy.insert(Green, 0);
        state.statuses.insert(Green, 503);
    });
    let record = world.invoke(shifted()).await;
    assert_sound(&world, &record, Outcome::Held, Blue);
    assert!(record.message.contains("prod is on blue"), "{}", record.message);
}

#[tokio::test(start_paused = true)]
async fn a_split_prod_without_any_healthy_side_is_left_and_put_right_later() {
    let world = World::new();
    let breaks = Arc::clone(&world);
    tokio::spawn(async move {
        sleep(Duration::from_secs(3)).await;
        let mut state = breaks.state();
        for color in Color::ALL {
            state.healthy.insert(color, 0);
            state.statuses.insert(color, 503);
        }
    });
    let record = world.invoke(shifted()).await;
    assert_eq!(record.outcome, Some(Outcome::Failed), "{record:#?}");
    assert!(record.message.contains("prod points at 10 % blue and 90 % green"), "{}", record.message);
    assert_eq!(record.weight, Some(10));
    world.heal();
    let reconciled = world.invoke(json!({"op": "reconcile"})).await;
    assert_sound(&world, &reconciled, Outcome::Done, Green);
    assert_eq!(world.state().dev, Blue);
}

#[tokio::test(start_paused = true)]
async fn a_shift_that_is_killed_at_any_time_is_put_right_by_the_next_reconcile() {
    for ms in (0..20_000).step_by(97) {
        let world = World::new();
        let killed = tokio::time::timeout(Duration::from_millis(ms), world.invoke(shifted())).await.is_err();
        let record = world.invoke(json!({"op": "reconcile"})).await;
        assert!(record.outcome.unwrap().is_success(), "{ms}: {record:#?}");
        assert_eq!(world.state().violations, Vec::<String>::new(), "{ms}");
        let stored = world.invoke(json!({"id": "shift"})).await;
        let expected = if stored.outcome == Some(Outcome::Done) { Blue } else { Green };
        assert_eq!(world.listeners(), (expected, expected.other()), "{ms}: {stored:#?}");
        assert!(killed || stored.outcome == Some(Outcome::Done), "{ms}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_split_that_nobody_recorded_is_put_right_by_a_reconcile_alone() {
    // Split by hand: to the side with more. At 50 % each, dev shows the origin, because dev is pointed there first.
    for (split, dev, expected) in [
        (Route::share(Blue, 10), Blue, Green),
        (Route::share(Blue, 90), Green, Blue),
        (Route::share(Blue, 50), Green, Green),
        (Route::share(Blue, 50), Blue, Blue),
    ] {
        let world = World::new();
        world.state().prod = split;
        world.state().dev = dev;
        let refused = world.invoke(json!({})).await;
        assert_eq!(refused.outcome, Some(Outcome::Refused), "{refused:#?}");
        assert!(refused.message.contains("prod is split"), "{}", refused.message);
        assert!(refused.hint.unwrap().contains("reconcile"));
        assert_eq!(world.state().writes, []);
        let record = world.invoke(json!({"op": "reconcile"})).await;
        assert_sound(&world, &record, Outcome::Done, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_shift_that_is_held_too_long_is_refused_before_anything_is_written() {
    let world = World::new();
    let record = world.invoke(json!({"shift": [{"weight": 10, "hold_ms": 300_000}]})).await;
    assert_sound(&world, &record, Outcome::Refused, Green);
    assert!(record.message.contains("the function has"), "{}", record.message);
    assert_eq!(world.state().writes, []);
}

#[tokio::test(start_paused = true)]
async fn a_plan_says_what_would_happen() {
    let world = World::new();
    let mut event = shifted();
    event["op"] = json!("plan");
    let record = world.invoke(event).await;
    assert_sound(&world, &record, Outcome::Planned, Green);
    assert_eq!(
        record.message,
        "A cutover from green (version 1) to blue (version 2) would go ahead: blue passed its gate and prod its \
         baseline. It would point dev at green, give blue 10 % of prod for 4 s, give blue 50 % of prod for 4 s, point \
         prod at blue, and send at least 150 probes in about 16 s. Nothing was written."
    );
}

#[tokio::test(start_paused = true)]
async fn a_service_that_tells_no_version_is_judged_by_status() {
    let world = World::new();
    world.state().versions.clear();
    let record = world.invoke(json!({"by": "ada@shell"})).await;
    assert_sound(&world, &record, Outcome::Done, Blue);
    assert_eq!(record.versions.seen, None);
    assert!(record.message.ends_with("by status only, as no answer tells a version."), "{}", record.message);
    assert_eq!(record.request.by.as_deref(), Some("ada@shell"));
}

#[tokio::test(start_paused = true)]
async fn addresses_join_and_leave_the_rotation_while_it_probes() {
    let world = World::new();
    let changes = Arc::clone(&world);
    tokio::spawn(async move {
        sleep(Duration::from_secs(5)).await;
        changes.state().addresses = addresses(&["192.0.2.2:80", "192.0.2.3:80"]);
        sleep(Duration::from_secs(6)).await;
        // A name server that is down has no effect.
        changes.state().addresses = addresses(&[]);
    });
    let record = world.invoke(json!({"id": "a"})).await;
    assert_sound(&world, &record, Outcome::Done, Blue);
    let all = ["192.0.2.1:80", "192.0.2.2:80", "192.0.2.3:80"];
    assert_eq!(record.probes.unwrap().addresses, all);
    let samples = world.samples("a").await.unwrap().decode();
    let cohorts = |from: u64, to: u64| {
        let between = samples.iter().filter(move |sample| (from..to).contains(&(sample.scheduled_us / 1_000_000)));
        between.map(|sample| (sample.address.clone(), sample.connection)).collect::<BTreeSet<_>>()
    };
    let both = |addresses: &[&str]| {
        let each = addresses.iter().flat_map(|address| {
            [Connection::KeptAlive, Connection::Fresh].map(|connection| ((*address).to_owned(), connection))
        });
        each.collect::<BTreeSet<_>>()
    };
    assert_eq!(cohorts(0, 5), both(&all[..2]));
    assert_eq!(cohorts(11, 60), both(&all[1..]));
}

fn hook(stage: &str, details: &serde_json::Value) -> serde_json::Value {
    json!({
        "executionId": "a", "lifecycleStage": stage, "resourceArn": "arn", "executionDetails": {},
        "hookDetails": details,
    })
}

#[tokio::test(start_paused = true)]
async fn a_lifecycle_hook_of_ecs_is_answered_by_the_probes_alone() {
    let world = World::new();
    let probes = json!({"probe": {"count": 10, "version": {"value": "2"}}});
    let answer = async |stage: &str, details: &serde_json::Value| {
        let answer = world.answer(hook(stage, details), Duration::from_mins(5)).await;
        serde_json::to_value(answer).unwrap()
    };
    // Dev is blue, with version 2; prod is not.
    assert_eq!(answer("POST_TEST_TRAFFIC_SHIFT", &probes).await, json!({"hookStatus": "SUCCEEDED"}));
    let again = answer("POST_PRODUCTION_TRAFFIC_SHIFT", &probes).await;
    assert_eq!((&again["hookStatus"], &again["callBackDelay"]), (&json!("IN_PROGRESS"), &json!(10)));
    let again = answer("POST_PRODUCTION_TRAFFIC_SHIFT", &again["hookDetails"]).await;
    let failed = answer("POST_PRODUCTION_TRAFFIC_SHIFT", &again["hookDetails"]).await;
    assert_eq!(failed, json!({"hookStatus": "FAILED"}));
    assert_eq!(answer("PRE_SCALE_UP", &json!(null)).await, json!({"hookStatus": "FAILED"}));
    assert_eq!(answer("POST_TEST_TRAFFIC_SHIFT", &json!({"x": 1})).await, json!({"hookStatus": "FAILED"}));
    world.state().statuses.insert(Blue, 503);
    assert_eq!(answer("POST_TEST_TRAFFIC_SHIFT", &json!(null)).await["hookStatus"], "IN_PROGRESS");
    assert_eq!((world.state().writes.len(), world.store.writes()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_would_not_end_in_time_fails() {
    let world = World::new();
    let answer = world.answer(hook("POST_TEST_TRAFFIC_SHIFT", &json!(null)), Duration::from_secs(10)).await;
    assert_eq!(serde_json::to_value(answer).unwrap(), json!({"hookStatus": "FAILED"}));
}
