//! A load balancer whose addresses follow late: the effect on a cutover, a shift, and a rollback.

use crate::world::World;
use model::record::{Outcome, Phase, Record};
use model::{Color, Listener};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

use Color::{Blue, Green};

const LATE: &str = "192.0.2.2:80";

/// A stack whose load balancer has one address that follows with this delay.
fn lagging(lag: Duration) -> Arc<World> {
    let world = World::new();
    world.state().lags.insert(LATE.parse().unwrap(), lag);
    world
}

fn went_wrong_at(world: &Arc<World>, after: Duration, color: Color) {
    let world = Arc::clone(world);
    tokio::spawn(async move {
        sleep(after).await;
        world.state().statuses.insert(color, 500);
    });
}

fn assert_ended(world: &World, record: &Record, outcome: Outcome, prod: Color) {
    assert_eq!(record.outcome, Some(outcome), "{record:#?}");
    assert_eq!(world.listeners(), (prod, prod.other()), "{record:#?}");
    assert_eq!(world.state().violations, Vec::<String>::new());
}

fn lag_of_late(record: &Record, back: bool) -> (Option<u64>, Option<u64>) {
    let probes = record.probes.as_ref().unwrap();
    let lag = if back { &probes.lag_back } else { &probes.lag };
    let late = lag.iter().find(|lag| lag.address == LATE).unwrap();
    (late.last_old_ms, late.followed_ms)
}

#[tokio::test(start_paused = true)]
async fn a_cutover_waits_for_every_address() {
    for seconds in [0.0, 0.5, 3.0, 8.0, 20.0, 50.0] {
        let lag = Duration::from_secs_f64(seconds);
        let world = lagging(lag);
        let record = world.invoke(json!({})).await;
        assert_ended(&world, &record, Outcome::Done, Blue);
        assert_eq!(record.probes.as_ref().unwrap().counts.failed, 0, "{seconds}");
        let (last_old, followed) = lag_of_late(&record, false);
        let ms = u64::try_from(lag.as_millis()).unwrap();
        assert!(last_old.unwrap_or_default() <= ms + 50, "{seconds}: {last_old:?}");
        assert!((ms..ms + 3000).contains(&followed.unwrap()), "{seconds}: {followed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_that_does_not_follow_in_time_is_named_and_says_nothing_against_the_version() {
    let world = lagging(Duration::from_secs(90));
    let record = world.invoke(json!({})).await;
    assert_ended(&world, &record, Outcome::RolledBack, Green);
    assert!(record.message.contains(LATE), "{}", record.message);
    assert!(record.message.contains("version 1 still from"), "{}", record.message);
    let hint = record.hint.unwrap();
    assert!(hint.contains("settle_limit") && !hint.contains("what is wrong"), "{hint}");
    let patient = lagging(Duration::from_secs(90));
    let record = patient.invoke(json!({"to": "blue", "settle_limit_ms": 120_000})).await;
    assert_ended(&patient, &record, Outcome::Done, Blue);
}

#[tokio::test(start_paused = true)]
async fn a_rollback_never_turns_around_because_of_lag() {
    for seconds in [0, 3, 8, 20, 90] {
        let world = World::new();
        assert_eq!(world.invoke(json!({})).await.outcome, Some(Outcome::Done));
        sleep(Duration::from_mins(2)).await;
        world.state().lags.insert(LATE.parse().unwrap(), Duration::from_secs(seconds));
        let record = world.invoke(json!({"op": "rollback"})).await;
        assert_ended(&world, &record, Outcome::Done, Green);
        assert_eq!(record.message.contains(LATE), seconds == 90, "{}", record.message);
    }
}

#[tokio::test(start_paused = true)]
async fn a_rollback_away_from_a_side_that_fails_ends_on_the_good_one_however_late_the_load_balancer_is() {
    // Either it fails before the cutover and the baseline shows it, or it fails only sometimes and the baseline does
    // not.
    for (fails_after, seconds) in [(0, 8), (0, 20), (2, 8), (2, 20)] {
        let world = World::new();
        assert_eq!(world.invoke(json!({})).await.outcome, Some(Outcome::Done));
        sleep(Duration::from_mins(2)).await;
        world.state().lags.insert(LATE.parse().unwrap(), Duration::from_secs(seconds));
        went_wrong_at(&world, Duration::from_secs(fails_after), Blue);
        sleep(Duration::from_millis(10)).await;
        let record = world.invoke(json!({"op": "rollback"})).await;
        assert_ended(&world, &record, Outcome::Done, Green);
    }
}

#[tokio::test(start_paused = true)]
async fn traffic_is_called_back_when_every_address_answers_with_the_old_side() {
    for seconds in [0, 3, 8, 20] {
        let lag = Duration::from_secs(seconds);
        let world = lagging(lag);
        went_wrong_at(&world, Duration::from_secs(30), Blue);
        let record = world.invoke(json!({"to": "blue", "probe": {"count": 600}})).await;
        assert_ended(&world, &record, Outcome::RolledBack, Green);
        assert!(record.message.contains("traffic is back on green"), "{}", record.message);
        let back =
            record.writes.iter().find(|write| write.listener == Listener::Prod && write.phase == Phase::RollBack);
        let ended_us = record.duration_ms * 1000;
        assert!(ended_us >= back.unwrap().end_us.unwrap() + seconds * 1_000_000, "{seconds}");
        assert!(lag_of_late(&record, true).1.unwrap() >= seconds * 1000, "{seconds}");
    }
    let world = World::new();
    let slows = Arc::clone(&world);
    tokio::spawn(async move {
        sleep(Duration::from_secs(10)).await;
        slows.state().lags.insert(LATE.parse().unwrap(), Duration::from_secs(90));
    });
    went_wrong_at(&world, Duration::from_secs(11), Blue);
    let record = world.invoke(json!({"to": "blue", "settle_limit_ms": 20_000})).await;
    assert_ended(&world, &record, Outcome::RolledBack, Green);
    assert!(record.message.contains(&format!("{LATE} did not follow within 20 s")), "{}", record.message);
}

#[tokio::test(start_paused = true)]
async fn every_step_of_a_shift_waits_until_the_answers_show_its_share() {
    for seconds in [0, 3, 8, 20] {
        let world = lagging(Duration::from_secs(seconds));
        let shift = json!([{"weight": 50, "hold_ms": 10_000}]);
        let record = world.invoke(json!({"to": "blue", "shift": shift})).await;
        assert_ended(&world, &record, Outcome::Done, Blue);
        assert_eq!(record.probes.unwrap().counts.failed, 0, "{seconds}");
    }
    let world = lagging(Duration::from_secs(90));
    let began = Instant::now();
    let record = world.invoke(json!({"to": "blue", "shift": [{"weight": 50, "hold_ms": 10_000}]})).await;
    assert_ended(&world, &record, Outcome::RolledBack, Green);
    assert!(record.message.contains("does not follow the shift"), "{}", record.message);
    assert!(began.elapsed() >= Duration::from_mins(1));
}

#[tokio::test(start_paused = true)]
async fn a_bad_answer_is_a_failure_at_once_while_the_load_balancer_is_late() {
    let world = lagging(Duration::from_secs(20));
    went_wrong_at(&world, Duration::from_secs(5), Blue);
    let record = world.invoke(json!({})).await;
    assert_ended(&world, &record, Outcome::RolledBack, Green);
    assert!(record.message.contains("status 500"), "{}", record.message);
    let first = &record.probes.unwrap().failures[0];
    assert!(first.done_us < 7_000_000, "{first:#?}");
}
