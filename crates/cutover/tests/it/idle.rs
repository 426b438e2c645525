//! Scenarios in which the idle environment sleeps after a cutover and wakes before it gets traffic.

use crate::world::World;
use cutover::idle::Idle;
use ledger::Ledger;
use model::idle::IdleAnswer;
use model::lease::Purpose;
use model::record::Outcome;
use model::{Answer, Color};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

use Color::{Blue, Green};

const BAKE: Duration = Duration::from_mins(30);
const FUNCTION: Duration = Duration::from_mins(15);

/// A stack whose idle environment may sleep.
fn world() -> Arc<World> {
    let world = World::new();
    world.state().idle = Some(Idle { after: BAKE });
    world
}

async fn ask_to_sleep(world: &Arc<World>) -> IdleAnswer {
    match world.answer(json!({"op": "sleep"}), FUNCTION).await {
        Answer::Idle(answer) => answer,
        other => panic!("not an answer to sleep: {other:?}"),
    }
}

fn assert_untouched(world: &World, answer: &IdleAnswer, why: &str) {
    assert_eq!(answer.asleep, None, "{answer:?}");
    assert!(answer.message.contains(why), "{answer:?}");
    assert_eq!(world.state().scaled, []);
    assert_eq!(world.state().violations, Vec::<String>::new());
}

/// Blue became prod, and the waiting time is over.
async fn baked() -> Arc<World> {
    let world = world();
    assert_eq!(world.invoke(json!({})).await.outcome, Some(Outcome::Done));
    sleep(BAKE).await;
    world
}

#[tokio::test(start_paused = true)]
async fn the_old_side_sleeps_after_its_bake_time_and_a_rollback_wakes_it() {
    let world = world();
    assert_eq!(world.invoke(json!({})).await.outcome, Some(Outcome::Done));
    assert_untouched(&world, &ask_to_sleep(&world).await, "stays up for");
    sleep(BAKE).await;
    assert_eq!(ask_to_sleep(&world).await.asleep, Some(Green));
    assert!(ask_to_sleep(&world).await.message.contains("sleeps already"));
    assert_eq!(world.state().scaled, [(Green, 0)]);

    let record = world.invoke(json!({"op": "rollback"})).await;
    assert_eq!(record.outcome, Some(Outcome::Done), "{}", record.message);
    assert_eq!(world.listeners(), (Green, Blue));
    assert_eq!(world.state().scaled, [(Green, 0), (Green, 2)]);
    assert!(record.probes.unwrap().counts.failed == 0);
    // Its waiting time begins.
    let answer = ask_to_sleep(&world).await;
    assert!(answer.asleep.is_none() && answer.message.contains("stays up for"), "{answer:?}");
    assert_eq!(world.state().violations, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn tasks_that_do_not_come_up_leave_traffic_where_it_is() {
    let world = baked().await;
    assert_eq!(ask_to_sleep(&world).await.asleep, Some(Green));
    world.state().start_time = Duration::from_hours(1);
    let record = match world.answer(json!({"op": "rollback"}), FUNCTION).await {
        Answer::Run(record) => *record,
        other => panic!("{other:?}"),
    };
    assert_eq!(record.outcome, Some(Outcome::Refused));
    assert!(record.message.contains("green slept, and its tasks are not all healthy yet"), "{}", record.message);
    assert_eq!(world.listeners(), (Blue, Green));
}

#[tokio::test(start_paused = true)]
async fn a_plan_wakes_nobody() {
    let world = baked().await;
    assert_eq!(ask_to_sleep(&world).await.asleep, Some(Green));
    let record = world.invoke(json!({"op": "plan"})).await;
    assert_eq!(record.outcome, Some(Outcome::Refused));
    assert!(record.message.contains("green sleeps"), "{}", record.message);
    assert_eq!(world.state().scaled, [(Green, 0)]);
}

#[tokio::test(start_paused = true)]
async fn nobody_sleeps_where_the_stack_does_not_say_so() {
    let world = baked().await;
    world.state().idle = None;
    assert_untouched(&world, &ask_to_sleep(&world).await, "never sleep");
}

#[tokio::test(start_paused = true)]
async fn a_version_that_was_deployed_since_stays_up() {
    let world = baked().await;
    let now = world.clock.now();
    world.state().services.get_mut(&Green).unwrap().since = Some(now);
    sleep(10 * BAKE).await;
    assert_untouched(&world, &ask_to_sleep(&world).await, "deployed to since");
}

#[tokio::test(start_paused = true)]
async fn nobody_sleeps_during_a_deployment_nor_after_an_interruption() {
    let world = baked().await;
    let ledger = Ledger::new(Arc::clone(&world.store), world.clock);
    let lease = ledger.acquire(Purpose::Deployment, "deploy-1", Duration::from_secs(30)).await.unwrap();
    assert_untouched(&world, &ask_to_sleep(&world).await, "a deployment is under way: deploy-1");
    lease.release().await.unwrap();

    drop(ledger.acquire(Purpose::Cutover, "dead", Duration::from_secs(30)).await.unwrap());
    sleep(Duration::from_mins(1)).await;
    assert_untouched(&world, &ask_to_sleep(&world).await, "a cutover was interrupted");
    // The request did not change what the lease remembers.
    sleep(Duration::from_mins(1)).await;
    assert_untouched(&world, &ask_to_sleep(&world).await, "a cutover was interrupted");
}
