//! The deployment engine with a fake AWS: what it reports while CloudFormation waits, how it handles a rollout that
//! cannot succeed, and an AWS that is slow, unreachable, or rejects its credentials.

mod change_sets;
mod fake_aws;
mod states;
mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use deploy::DeployedStack;
use deploy::{Control, EventKind, Expected, OnFailure, Operation, follow_operation, settle, wait_until_steady};
use infra::error::{Kind, Result};
use model::Color;
use model::stack_state::StackState;
use world::{Aws, Heard, NEW_IMAGE, Refusal, World};

/// Longer than any operation here.
const LIMIT: Duration = Duration::from_mins(1);

/// A world in which an update has just started.
fn updating() -> World {
    World { status: "UPDATE_IN_PROGRESS".to_owned(), service_image: "blue:2".to_owned(), ..World::default() }
}

const UPDATE_BEGINS: (&str, &str, &str) = ("bluegreen", "UPDATE_IN_PROGRESS", "User Initiated");
const UPDATE_ENDS: (&str, &str, &str) = ("bluegreen", "UPDATE_COMPLETE", "");
const ROLLED_BACK: [(&str, &str, &str); 2] =
    [("bluegreen", "UPDATE_ROLLBACK_IN_PROGRESS", ""), ("bluegreen", "UPDATE_ROLLBACK_COMPLETE", "")];

/// Follows an update of blue that starts with these events.
async fn follow(
    aws: &Aws,
    control: &Control,
    heard: &Heard,
    events: Vec<(&'static str, &'static str, &'static str)>,
) -> Result<()> {
    let cloud = aws.cloud().await;
    let stack = DeployedStack::require(&cloud, "bluegreen").await.unwrap();
    let resources = BTreeMap::from([("BlueService".to_owned(), "AWS::ECS::Service".to_owned())]);
    let expected = [Expected { color: Color::Blue, image: NEW_IMAGE.to_owned() }];
    let operation = Operation {
        cloud: &cloud,
        stack: &stack,
        update: true,
        resources: &resources,
        expected: &expected,
        control,
        listener: heard,
    };
    let begin = async {
        aws.world().events.extend(events);
        Ok(())
    };
    tokio::time::timeout(LIMIT, follow_operation(operation, begin)).await.expect("the operation does not end")
}

fn task_failed(event: &EventKind) -> bool {
    matches!(event, EventKind::TaskFailed { reason, output, .. }
        if reason.contains("exited with code 3") && output.iter().any(|line| line.contains("no table named greetings")))
}

#[tokio::test]
async fn failing_tasks_are_reported_while_cloudformation_waits_and_a_script_rolls_the_update_back() {
    let aws = Aws::of(World { failed_tasks: 3, after_cancel: ROLLED_BACK.to_vec(), ..updating() });
    let (control, heard) = (Control::new(OnFailure::Cancel), Heard::default());
    let error = follow(&aws, &control, &heard, vec![UPDATE_BEGINS]).await.unwrap_err();
    assert!(heard.any(task_failed));
    assert!(aws.called("CancelUpdateStack"));
    assert_eq!(error.kind(), Kind::RolledBack);
    assert!(error.message().contains("cancelled"), "{error:?}");
    assert!(error.causes()[0].contains("no table named greetings"), "{error:?}");
}

#[tokio::test]
async fn a_person_is_asked_before_an_update_is_rolled_back() {
    let aws = Aws::of(World { failed_tasks: 3, after_cancel: ROLLED_BACK.to_vec(), ..updating() });
    let (control, heard) = (Control::new(OnFailure::Ask), Heard::default());
    let person = async {
        let why = control.asked().await;
        assert!(why.contains("exited with code 3"), "{why}");
        assert!(!aws.called("CancelUpdateStack"), "the user has not confirmed yet");
        control.cancel();
    };
    let (result, ()) = tokio::join!(follow(&aws, &control, &heard, vec![UPDATE_BEGINS]), person);
    assert_eq!(result.unwrap_err().kind(), Kind::RolledBack);
    assert!(aws.called("CancelUpdateStack"));
}

#[tokio::test]
async fn who_wants_to_wait_waits_for_cloudformation_s_own_end() {
    let aws = Aws::of(World { failed_tasks: 3, ..updating() });
    let (control, heard) = (Control::new(OnFailure::Wait), Heard::default());
    let cloudformation = async {
        while !heard.any(|event| matches!(event, EventKind::RolloutFailed { .. })) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        aws.world().events.push(("BlueService", "UPDATE_FAILED", "Circuit breaker was triggered"));
        aws.world().events.extend(ROLLED_BACK);
    };
    let (result, ()) = tokio::join!(follow(&aws, &control, &heard, vec![UPDATE_BEGINS]), cloudformation);
    let error = result.unwrap_err();
    assert!(!aws.called("CancelUpdateStack"));
    assert!(error.causes()[0].contains("no table named greetings"), "the root cause comes first: {error:?}");
    assert!(error.causes()[1].contains("Circuit breaker"), "{error:?}");
}

#[tokio::test]
async fn two_failed_tasks_are_no_reason_to_give_up() {
    let aws = Aws::of(World { failed_tasks: 2, ..updating() });
    let (control, heard) = (Control::new(OnFailure::Cancel), Heard::default());
    let cloudformation = async {
        while !heard.any(task_failed) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        aws.world().events.push(UPDATE_ENDS);
    };
    let (result, ()) = tokio::join!(follow(&aws, &control, &heard, vec![UPDATE_BEGINS]), cloudformation);
    result.unwrap();
    assert!(!aws.called("CancelUpdateStack"));
}

#[tokio::test]
async fn an_operation_without_anything_to_look_at_is_followed_to_its_end() {
    let aws = Aws::of(updating());
    let cloud = aws.cloud().await;
    let stack = DeployedStack::require(&cloud, "bluegreen").await.unwrap();
    let (control, heard) = (Control::default(), Heard::default());
    let operation = Operation {
        cloud: &cloud,
        stack: &stack,
        update: true,
        resources: &BTreeMap::new(),
        expected: &[],
        control: &control,
        listener: &heard,
    };
    let begin = async {
        aws.world().events.push(UPDATE_BEGINS);
        Ok::<_, deploy::Error>(())
    };
    let end = async {
        while !heard.any(|event| matches!(event, EventKind::Resource { .. })) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        aws.world().events.push(UPDATE_ENDS);
    };
    let (result, ()) = tokio::join!(tokio::time::timeout(LIMIT, follow_operation(operation, begin)), end);
    result.expect("the operation does not end").unwrap();
}

#[tokio::test]
async fn unfit_targets_are_reported_with_the_load_balancer_s_reason() {
    let aws = Aws::of(updating());
    let (control, heard) = (Control::default(), Heard::default());
    let unfit = |event: &EventKind| matches!(event, EventKind::Target { reason, .. } if reason.contains("[500]"));
    let cloudformation = async {
        while !heard.any(unfit) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        aws.world().events.push(UPDATE_ENDS);
    };
    let (result, ()) = tokio::join!(follow(&aws, &control, &heard, vec![UPDATE_BEGINS]), cloudformation);
    result.unwrap();
}

#[tokio::test]
async fn an_aws_that_throttles_or_hangs_up_is_asked_again_until_it_answers() {
    for refusal in [Refusal::Throttling, Refusal::Hangup] {
        let aws = Aws::of(updating());
        let (control, heard) = (Control::default(), Heard::default());
        // More than the attempts of the SDK.
        (aws.world().refusals, aws.world().refusal) = (8, refusal);
        follow(&aws, &control, &heard, vec![UPDATE_BEGINS, UPDATE_ENDS]).await.unwrap();
        let warned =
            |event: &EventKind| matches!(event, EventKind::Warning { text } if text.contains("does not respond"));
        assert!(heard.any(warned), "{refusal:?}");
    }
}

#[tokio::test]
async fn an_answer_that_nobody_understands_is_no_end_of_an_operation() {
    let aws = Aws::of(updating());
    let (control, heard) = (Control::default(), Heard::default());
    (aws.world().refusals, aws.world().refusal) = (3, Refusal::Unheard);
    follow(&aws, &control, &heard, vec![UPDATE_BEGINS, UPDATE_ENDS]).await.unwrap();
}

#[tokio::test]
async fn an_environment_that_cannot_be_seen_for_a_while_is_waited_for() {
    let aws = Aws::of(World { service_image: "blue:2".to_owned(), steady: true, unseen: 8, ..updating() });
    let cloud = aws.cloud().await;
    let stack = DeployedStack::require(&cloud, "bluegreen").await.unwrap();
    let mut outputs = stack.outputs().unwrap();
    outputs.blue_service = Some("blue".to_owned());
    let (control, heard) = (Control::default(), Heard::default());
    let expected = Expected { color: Color::Blue, image: NEW_IMAGE.to_owned() };
    wait_until_steady(&cloud, &outputs, &expected, LIMIT, (&control, &heard)).await.unwrap();
    assert!(heard.any(|event| matches!(event, EventKind::Note { text } if text.contains("responds again"))));
}

#[tokio::test]
async fn an_update_that_cannot_be_cancelled_is_followed_to_its_end() {
    let aws = Aws::of(World { cancel_is_denied: true, ..updating() });
    let (control, heard) = (Control::default(), Heard::default());
    control.cancel();
    let end = async {
        while !heard.any(|event| matches!(event, EventKind::Warning { text } if text.contains("the update continues")))
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        aws.world().events.push(UPDATE_ENDS);
    };
    let (result, ()) = tokio::join!(follow(&aws, &control, &heard, vec![UPDATE_BEGINS]), end);
    result.unwrap();
}

#[tokio::test]
async fn expired_credentials_and_a_wrong_clock_end_in_one_error_that_says_what_to_do() {
    for (refusal, words) in [(Refusal::Expired, "aws sso login"), (Refusal::Skewed, "clock")] {
        let aws = Aws::of(updating());
        let (control, heard) = (Control::default(), Heard::default());
        (aws.world().refusals, aws.world().refusal) = (100, refusal);
        let error = follow(&aws, &control, &heard, vec![UPDATE_BEGINS]).await.unwrap_err();
        let hints = error.hints().join("; ");
        assert!(hints.contains(words), "{refusal:?}: {hints}");
        assert!(hints.contains("finishes by itself"), "{refusal:?}: {hints}");
    }
}

#[tokio::test]
async fn an_operation_of_somebody_else_is_followed_to_its_end() {
    let aws = Aws::of(World { events: vec![UPDATE_BEGINS], ..updating() });
    let cloud = aws.cloud().await;
    let stack = DeployedStack::require(&cloud, "bluegreen").await.unwrap();
    let heard = Heard::default();
    let other = async {
        while !heard.any(|event| matches!(event, EventKind::Note { text } if text.contains("following"))) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        aws.world().events.push(UPDATE_ENDS);
        "UPDATE_COMPLETE".clone_into(&mut aws.world().status);
    };
    let (settled, ()) = tokio::join!(settle(&cloud, stack, &heard), other);
    assert_eq!(settled.unwrap().unwrap().state, StackState::UpdateComplete);
}
