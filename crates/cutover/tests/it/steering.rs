//! Commands for a run in progress, given at any time of the run.

use crate::world::World;
use model::record::{Outcome, Phase, Record};
use model::steering::SteeringAnswer;
use model::{Answer, Color, Listener, Route};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

use Color::{Blue, Green};

async fn tell(world: &Arc<World>, event: Value) -> SteeringAnswer {
    match world.answer(event, Duration::from_secs(30)).await {
        Answer::Steering(answer) => answer,
        other => panic!("not an answer to it: {other:?}"),
    }
}

/// Runs, and gives the run a command after this many milliseconds.
async fn run_and_tell(world: &Arc<World>, event: Value, after: u64, what: &str) -> (Record, SteeringAnswer) {
    let reported = async {
        sleep(Duration::from_millis(after)).await;
        tell(world, json!({"op": what, "by": "somebody"})).await
    };
    tokio::join!(world.invoke(event), reported)
}

#[tokio::test(start_paused = true)]
async fn an_abort_at_any_instant_ends_on_the_old_side_or_says_why_not() {
    let mut seen = Vec::new();
    for ms in (0..20_000).step_by(173) {
        let world = World::new();
        let (record, answer) = run_and_tell(&world, json!({"id": "run"}), ms, "abort").await;
        let outcome = record.outcome.unwrap();
        let (prod, dev) = world.listeners();
        assert_eq!(dev, prod.other(), "{ms}");
        assert_eq!(world.state().violations, Vec::<String>::new(), "{ms}");
        match outcome {
            Outcome::RolledBack | Outcome::Refused => {
                assert_eq!(prod, Green, "{ms}");
                assert!(answer.accepted && record.message.contains("abort"), "{ms}: {answer:?} {}", record.message);
                assert!(record.duration_ms < ms + 8000, "{ms}: {}", record.duration_ms);
            }
            Outcome::Done => {
                assert_eq!(prod, Blue, "{ms}");
                // The new side was verified before the command was read, or the run ended before that.
                let late = record.message.contains("too late") || !answer.accepted || ms > 14_000 || ms == 0;
                assert!(late, "{ms}: {answer:?} {}", record.message);
            }
            other => panic!("{ms}: {other}: {record:#?}"),
        }
        seen.push(outcome);
    }
    for outcome in [Outcome::Refused, Outcome::RolledBack, Outcome::Done] {
        assert!(seen.contains(&outcome), "{outcome} was never seen");
    }
}

#[tokio::test(start_paused = true)]
async fn an_abort_goes_back_even_if_failures_were_to_be_held() {
    let world = World::new();
    let (record, _) = run_and_tell(&world, json!({"to": "blue", "on_fail": "hold"}), 8000, "abort").await;
    assert_eq!((record.outcome, world.listeners()), (Some(Outcome::RolledBack), (Green, Blue)), "{record:#?}");
    assert!(record.message.starts_with("it was aborted; traffic is back on green"), "{}", record.message);
    assert_eq!(record.hint, None);
}

#[tokio::test(start_paused = true)]
async fn a_paused_shift_stays_until_it_is_promoted() {
    let world = World::new();
    let shift = json!([{"weight": 10, "hold_ms": 3000}, {"weight": 50, "hold_ms": 3000}]);
    let steered = async {
        sleep(Duration::from_secs(4)).await;
        assert!(tell(&world, json!({"op": "pause", "id": "run"})).await.accepted);
        sleep(Duration::from_mins(1)).await;
        assert_eq!(world.state().prod, Route::share(Blue, 10));
        let live = world.records().await.into_iter().find(|record| record.id == "run").unwrap();
        assert_eq!((live.phase, live.weight), (Phase::Shift, Some(10)));
        assert!(live.message.contains("paused"), "{}", live.message);
        let promoted = Instant::now();
        assert!(tell(&world, json!({"op": "promote"})).await.accepted);
        promoted
    };
    let run = world.invoke(json!({"id": "run", "shift": shift}));
    let (record, promoted) = tokio::join!(run, steered);
    assert_eq!((record.outcome, world.listeners()), (Some(Outcome::Done), (Blue, Green)), "{record:#?}");
    assert!(promoted.elapsed() < Duration::from_secs(30));
    let shares: Vec<_> = record.writes.iter().filter(|it| it.listener == Listener::Prod).map(|it| it.weight).collect();
    assert_eq!(shares, [10, 50, 100]);
}

#[tokio::test(start_paused = true)]
async fn a_promotion_ends_the_hold_of_a_step_and_an_abort_a_pause() {
    let world = World::new();
    let shift = json!([{"weight": 10, "hold_ms": 60_000}]);
    let (record, _) = run_and_tell(&world, json!({"to": "blue", "shift": shift}), 5000, "promote").await;
    assert_eq!(record.outcome, Some(Outcome::Done), "{record:#?}");
    assert!(record.duration_ms < 40_000, "{}", record.duration_ms);

    let world = World::new();
    let steered = async {
        sleep(Duration::from_secs(4)).await;
        assert!(tell(&world, json!({"op": "pause"})).await.accepted);
        sleep(Duration::from_secs(10)).await;
        assert!(tell(&world, json!({"op": "abort"})).await.accepted);
        // After an abort, other commands are ignored.
        assert!(tell(&world, json!({"op": "promote"})).await.accepted);
    };
    let run = world.invoke(json!({"to": "blue", "shift": [{"weight": 10, "hold_ms": 1000}]}));
    let (record, ()) = tokio::join!(run, steered);
    assert_eq!((record.outcome, world.listeners()), (Some(Outcome::RolledBack), (Green, Blue)), "{record:#?}");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_told_is_refused_and_says_why() {
    let world = World::new();
    let answer = tell(&world, json!({"op": "abort"})).await;
    assert!(!answer.accepted && answer.message.contains("no cutover is under way"), "{answer:?}");
    let asked = async {
        sleep(Duration::from_secs(3)).await;
        let other = tell(&world, json!({"op": "abort", "id": "other"})).await;
        assert!(!other.accepted && other.message.contains("run run is"), "{other:?}");
        let pause = tell(&world, json!({"op": "pause"})).await;
        assert!(!pause.accepted && pause.message.contains("in no steps"), "{pause:?}");
    };
    let (record, ()) = tokio::join!(world.invoke(json!({"id": "run"})), asked);
    assert_eq!(record.outcome, Some(Outcome::Done));
}
