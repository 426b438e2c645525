//! The command on a stack in every unusual state: output, effects, and exit code.

use std::process::Command;

use crate::engine::world::{Aws, World};

struct Said {
    code: i32,
    out: String,
    err: String,
}

fn run(aws: &Aws, arguments: &[&str]) -> Said {
    let output = Command::new(env!("CARGO_BIN_EXE_bluegreen"))
        .args(arguments)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .env_remove("AWS_PROFILE")
        .env("AWS_ENDPOINT_URL", &aws.endpoint)
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .output()
        .unwrap();
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn stack_in(status: &str) -> World {
    World { status: status.to_owned(), ..World::default() }
}

#[test]
fn a_protected_stack_is_deleted_only_by_its_name() {
    let aws = Aws::of(World { protected: true, ..stack_in("UPDATE_COMPLETE") });
    let said = run(&aws, &["destroy", "--yes"]);
    assert_eq!(said.code, 3, "{}", said.err);
    assert!(said.err.contains("termination protection"), "{}", said.err);
    assert!(said.err.contains("--confirm bluegreen"), "{}", said.err);
    assert_eq!(run(&aws, &["destroy", "--confirm", "blue-green"]).code, 2);
    assert!(!aws.called("DeleteStack") && !aws.called("UpdateTerminationProtection"));
    let said = run(&aws, &["destroy", "--confirm", "bluegreen"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(aws.called("DeleteStack") && !aws.world().protected);
}

#[test]
fn a_half_deleted_stack_says_what_holds_it() {
    let mut world = stack_in("DELETE_FAILED");
    world.events = vec![
        ("bluegreen", "DELETE_IN_PROGRESS", ""),
        ("Bucket", "DELETE_FAILED", "The bucket you tried to delete is not empty"),
        ("bluegreen", "DELETE_FAILED", ""),
    ];
    let said = run(&Aws::of(world), &["deploy"]);
    assert_eq!(said.code, 3, "{}", said.err);
    assert!(said.err.contains("is not empty") && said.err.contains("bluegreen destroy"), "{}", said.err);
}

#[test]
fn only_what_could_not_be_rolled_back_can_be_skipped() {
    let mut world = stack_in("UPDATE_ROLLBACK_FAILED");
    world.resources = vec![("BlueService", "UPDATE_FAILED", "the image is gone"), ("Cluster", "UPDATE_COMPLETE", "")];
    let aws = Aws::of(world);
    let said = run(&aws, &["deploy", "--skip", "Cluster"]);
    assert_eq!(said.code, 2, "{}", said.err);
    assert!(said.err.contains("BlueService") && said.err.contains("the image is gone"), "{}", said.err);
    assert!(!aws.called("ContinueUpdateRollback"));
}

#[test]
fn rolling_an_update_back_continues_without_what_is_skipped_and_then_the_deployment_does() {
    let mut world = stack_in("UPDATE_ROLLBACK_FAILED");
    world.resources = vec![("BlueService", "UPDATE_FAILED", "the image is gone")];
    world.events = vec![("bluegreen", "UPDATE_ROLLBACK_FAILED", "")];
    world.after_cancel =
        vec![("bluegreen", "UPDATE_ROLLBACK_IN_PROGRESS", ""), ("bluegreen", "UPDATE_ROLLBACK_COMPLETE", "")];
    let aws = Aws::of(world);
    // No task runs in the stack, so the next deployment is refused before anything is built.
    let said = run(&aws, &["deploy", "--skip", "BlueService", "--version", "1", "--color", "blue"]);
    assert_eq!(said.code, 3, "{}", said.err);
    assert!(said.err.contains("BlueService was not rolled back: the image is gone"), "{}", said.err);
    assert!(said.err.contains("the first deployment of stack bluegreen is not finished"), "{}", said.err);
    let call = aws.call("ContinueUpdateRollback").unwrap();
    assert!(call.says("ResourcesToSkip.member.1=BlueService"), "{}", call.body);
    assert!(
        aws.world().lock.as_ref().is_some_and(|lock| lock.contains("\"released\": true")),
        "the lock is given back"
    );
}

#[test]
fn a_command_that_refuses_because_of_an_interrupted_cutover_leaves_the_lock_as_it_is() {
    let mut world = stack_in("UPDATE_ROLLBACK_FAILED");
    world.resources = vec![("BlueService", "UPDATE_FAILED", "the image is gone")];
    let lock = r#"{"holder": "killed", "purpose": "cutover", "since": "2026-01-31T12:00:00Z", "epoch": 1,
        "expires": "1970-01-01T00:00:00Z", "released": false, "interrupted": [], "writer": "w"}"#;
    world.lock = Some(lock.to_owned());
    let aws = Aws::of(world);
    let said = run(&aws, &["deploy"]);
    assert_eq!(said.code, 3, "{}", said.err);
    assert!(said.err.contains("not reconciled yet: run killed"), "{}", said.err);
    assert!(said.err.contains("bluegreen reconcile"), "{}", said.err);
    assert_eq!(aws.world().lock.as_deref(), Some(lock));
    assert!(!aws.called("ContinueUpdateRollback"));
}

#[test]
fn a_command_whose_credentials_end_while_the_stack_changes_leaves_a_lock_that_lasts() {
    let mut world = stack_in("UPDATE_ROLLBACK_FAILED");
    world.resources = vec![("BlueService", "UPDATE_FAILED", "the image is gone")];
    world.events = vec![("bluegreen", "UPDATE_ROLLBACK_FAILED", "")];
    world.expires_after = Some("ContinueUpdateRollback");
    let aws = Aws::of(world);
    let said = run(&aws, &["deploy"]);
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(said.err.contains("the lease expires") && said.err.contains("finishes by itself"), "{}", said.err);
    let lock: serde_json::Value = serde_json::from_str(aws.world().lock.as_ref().unwrap()).unwrap();
    let expires: jiff::Timestamp = lock["expires"].as_str().unwrap().parse().unwrap();
    let left = expires.duration_since(jiff::Timestamp::now());
    assert!(lock["released"] == false && left.as_mins() > 20, "{lock}");
}

#[test]
fn a_half_deleted_stack_is_finished_without_what_is_left_behind() {
    let mut world = stack_in("DELETE_FAILED");
    world.resources = vec![("Bucket", "DELETE_FAILED", "The bucket you tried to delete is not empty")];
    let aws = Aws::of(world);
    let said = run(&aws, &["destroy", "--yes", "--retain", "Bucket"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(aws.call("DeleteStack").unwrap().says("RetainResources.member.1=Bucket"));
    assert!(said.err.contains("kept: Bucket (AWS::S3::Bucket)"), "{}", said.err);
}

#[test]
fn what_is_left_of_a_deleted_stack_is_listed_with_what_removes_it() {
    let mut world = stack_in("UPDATE_COMPLETE");
    world.resources = vec![("Registry", "UPDATE_COMPLETE", "")];
    world.survives = vec!["Registry"];
    let said = run(&Aws::of(world), &["destroy", "--yes"]);
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(said.err.contains("these resources remain"), "{}", said.err);
    assert!(said.err.contains("aws ecr delete-repository --force --repository-name Registry"), "{}", said.err);
}

#[test]
fn a_stack_whose_creation_failed_is_not_removed_for_a_version_that_needs_one() {
    let aws = Aws::of(stack_in("ROLLBACK_COMPLETE"));
    let said = run(&aws, &["deploy", "--version", "1"]);
    assert_eq!(said.code, 2, "{}", said.err);
    assert!(said.err.contains("bluegreen deploy"), "{}", said.err);
    assert!(!aws.called("DeleteStack"));
}

#[test]
fn there_is_nothing_to_skip_or_to_leave_behind_on_a_stack_that_is_well() {
    let aws = Aws::of(stack_in("UPDATE_COMPLETE"));
    assert_eq!(run(&aws, &["deploy", "--skip", "Cluster"]).code, 2);
    assert_eq!(run(&aws, &["destroy", "--yes", "--retain", "Bucket"]).code, 2);
}

#[test]
fn a_difference_is_not_shown_while_the_stack_changes() {
    let said = run(&Aws::of(stack_in("UPDATE_IN_PROGRESS")), &["diff"]);
    assert_eq!(said.code, 3, "{}", said.err);
    assert!(said.err.contains("UPDATE_IN_PROGRESS"), "{}", said.err);
}

#[test]
fn destroy_without_a_terminal_says_what_it_would_delete_and_deletes_nothing() {
    let mut world = stack_in("UPDATE_COMPLETE");
    world.resources = vec![("BlueService", "UPDATE_COMPLETE", "")];
    let aws = Aws::of(world);
    let said = run(&aws, &["destroy"]);
    assert_eq!(said.code, 3, "{}", said.err);
    assert!(said.err.contains("its services") && said.err.contains("--yes"), "{}", said.err);
    assert!(!aws.called("DeleteStack"));
}

#[test]
fn the_doctor_names_a_stack_that_is_stuck_and_the_way_on() {
    let said = run(&Aws::of(stack_in("UPDATE_ROLLBACK_FAILED")), &["doctor"]);
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(said.out.contains("UPDATE_ROLLBACK_FAILED") && said.out.contains("--skip"), "{}", said.out);
}
