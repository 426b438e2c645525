//! Deployments on the local cloud beside the story: seen coming, asked about, looked after.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[allow(dead_code, reason = "the stories use the rest")]
mod support;

use support::{Cloud, User, project};

#[test]
fn a_deployment_is_seen_coming_and_what_replaces_anything_needs_a_person_s_word() {
    let cloud = Cloud::start([90, 91]);
    let faulty = project().join("local/faulty");
    let run = |arguments: &[&str]| cloud.run_in(&faulty, arguments);

    let before = run(&["diff"]).expect(0);
    assert!(before.out.contains("to be made") && before.out.contains("prod will be green"), "{}", before.out);
    run(&["deploy", "--expect-no-changes"]).expect(3);
    run(&["deploy"]).expect(0);
    run(&["deploy", "--expect-no-changes"]).expect(0);

    let user = User::of(cloud.address(0), "/");
    let diff = run(&["diff", "--version", "4"]).expect(0);
    assert!(diff.out.contains("prod stays on green (v1); blue (idle) goes v1 -> v4"), "{}", diff.out);
    assert!(diff.out.contains("BlueTaskDefinition") && diff.out.contains("a new revision"), "{}", diff.out);
    assert!(!diff.out.contains("GreenService"), "{}", diff.out);
    run(&["diff", "--version", "4", "--expect-no-changes"]).expect(3);

    // Another port of the containers is another port of the target groups, which replaces them.
    let other = tempfile::NamedTempFile::new().unwrap();
    let settings = std::fs::read_to_string(faulty.join("bluegreen.toml")).unwrap();
    std::fs::write(other.path(), settings.replace("[app]", "[app]\nport = 9090")).unwrap();
    let config = other.path().to_str().unwrap();
    let refused = run(&["--config", config, "deploy"]).expect(3);
    assert!(refused.err.contains("GreenTargetGroup") && refused.err.contains("--yes"), "{}", refused.err);
    let live = run(&["--config", config, "deploy", "--yes"]).expect(3);
    assert!(live.err.contains("--allow-live-changes"), "{}", live.err);

    run(&["doctor"]).expect(0);
    let url = run(&["open", "prod"]).expect(0);
    assert!(url.out.contains(&cloud.address(0)), "{}", url.out);
    run(&["logs", "blue", "--since", "1h"]).expect(0);
    let seen = user.leave();
    assert!(seen.failures.is_empty(), "{seen:?}");
    assert_eq!(seen.versions, ["1"]);
    run(&["destroy", "--yes"]).expect(0);
}
