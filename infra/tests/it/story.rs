//! A whole release on the local cloud: real commands, real processes, real HTTP, the real Lambda zip.

use std::time::Instant;

use crate::support::function::eventually;
use crate::support::{Cloud, User, get, project};

#[test]
fn two_versions_are_deployed_swapped_and_destroyed_and_no_user_sees_a_failure() {
    let cloud = Cloud::start([80, 81]);
    let (prod, dev) = (cloud.address(0), cloud.address(1));

    let before = cloud.run(&["deploy", "--version", "2"]).expect(2);
    assert!(before.err.contains("bluegreen deploy"), "{}", before.err);

    let made = cloud.run(&["deploy"]).expect(0);
    assert!(made.out.contains(&prod) && made.out.contains(&dev), "{}", made.out);
    for address in [&prod, &dev] {
        let page = get(address, "/?name=Ada");
        assert_eq!((page.status, page.version.as_deref()), (200, Some("1")));
        assert!(page.body.contains("Hello Ada!") && page.body.contains("#14DB95"), "{}", page.body);
    }
    assert_eq!(get(&prod, "/api").body, "Hello World!");

    let user = User::of(prod.clone(), "/api");
    cloud.run(&["deploy", "--version", "2"]).expect(0);
    let seen = user.leave();
    assert!(seen.failures.is_empty(), "{seen:?}");
    assert_eq!(seen.versions, ["1"], "a deployment never moves traffic");
    let page = get(&dev, "/");
    assert!(page.body.contains("Bonjour World!") && page.body.contains("#09BBE8"), "{}", page.body);
    assert!(get(&prod, "/").body.contains("Hello World!"));

    let live = cloud.run(&["deploy", "--version", "2", "--color", "green"]).expect(3);
    assert!(live.err.contains("green is live") && live.err.contains("--force"), "{}", live.err);

    let user = User::of(prod.clone(), "/");
    let record = cloud.run(&["--json", "cutover"]).expect(0).json();
    let seen = user.leave();
    assert!(seen.failures.is_empty(), "{seen:?}");
    assert!(seen.requests > 500, "{seen:?}");
    assert_eq!(seen.versions, ["1", "2"]);
    assert_eq!(record["outcome"], "done");
    assert_eq!((&record["prod"], &record["dev"]), (&"blue".into(), &"green".into()));
    assert_eq!(record["probes"]["counts"]["sent"], 150);
    assert_eq!(record["probes"]["counts"]["failed"], 0);
    assert_eq!(get(&prod, "/api").body, "\"Bonjour World!\"");
    assert_eq!(get(&dev, "/api").body, "Hello World!");

    let again = cloud.run(&["--json", "cutover", "--to", "blue"]).expect(0).json();
    assert_eq!(again["outcome"], "noop");

    // The template does not define which environment is prod: no update of the stack moves users.
    let user = User::of(prod.clone(), "/api");
    cloud.run(&["deploy", "--version", "2", "--color", "green"]).expect(0);
    cloud.run(&["deploy", "--version", "1", "--color", "blue", "--force", "--yes"]).expect(0);
    let seen = user.leave();
    assert!(seen.failures.is_empty(), "{seen:?}");
    assert_eq!(seen.versions.first().map(String::as_str), Some("2"));
    assert_eq!(seen.versions.last().map(String::as_str), Some("1"), "blue stayed prod and got version 1");
    cloud.run(&["deploy", "--version", "1"]).expect(0);
    let began = Instant::now();
    cloud.run(&["deploy", "--version", "1"]).expect(0);
    eprintln!("a deployment with nothing to do took {:?}", began.elapsed());

    let user = User::of(prod.clone(), "/");
    let record = cloud.run(&["--json", "rollback"]).expect(0).json();
    let seen = user.leave();
    assert!(seen.failures.is_empty(), "{seen:?}");
    assert_eq!((&record["outcome"], &record["prod"]), (&"done".into(), &"green".into()));

    let status = cloud.run(&["--json", "status"]).expect(0).json();
    assert_eq!(status["environments"][1]["role"], "prod");
    assert_eq!(status["environments"][1]["color"], "green");
    for environment in status["environments"].as_array().unwrap() {
        assert_eq!((&environment["running"], &environment["healthy"]), (&2.into(), &2.into()), "{environment}");
        assert!(environment["fault"].is_null(), "{environment}");
    }
    assert_eq!(status["warnings"].as_array().map(Vec::len), Some(0), "{status}");
    let runs = cloud.run(&["--json", "history"]).expect(0).json();
    // The first release, and three requested releases.
    assert_eq!(runs.as_array().map(Vec::len), Some(4), "{runs}");

    let unasked = cloud.run(&["destroy", "--yes"]).expect(3);
    assert!(unasked.err.contains("--confirm bluegreen"), "{}", unasked.err);
    cloud.run(&["destroy", "--confirm", "bluegreen"]).expect(0);
    cloud.run(&["status"]).expect(2);
    assert_eq!(cloud.tasks().len(), 0, "no task survives the stack");
    cloud.run(&["destroy", "--yes"]).expect(0);
}

#[test]
fn versions_that_fail_are_rolled_back_with_their_reasons() {
    let cloud = Cloud::start([90, 91]);
    let faulty = project().join("local/faulty");
    let run = |arguments: &[&str]| cloud.run_in(&faulty, arguments);
    let prod = cloud.address(0);
    run(&["deploy"]).expect(0);
    let user = User::of(prod.clone(), "/");

    let exits = run(&["deploy", "--version", "2"]).expect(4);
    assert!(exits.err.contains("exited with code 3"), "{}", exits.err);
    assert!(exits.err.contains("no table named greetings"), "{}", exits.err);
    let unhealthy = run(&["deploy", "--version", "3"]).expect(4);
    assert!(unhealthy.err.contains("500"), "{}", unhealthy.err);
    let status = run(&["--json", "status"]).expect(0).json();
    for environment in status["environments"].as_array().unwrap() {
        assert_eq!((&environment["version"], &environment["healthy"]), (&"1".into(), &1.into()), "{environment}");
        assert!(environment["fault"].is_null(), "{environment}");
    }
    let seen = user.leave();
    assert!(seen.failures.is_empty(), "{seen:?}");
    assert_eq!(seen.versions, ["1"]);

    // A version that fails when it has users: they see it only until the first failed probe.
    run(&["deploy", "--version", "4"]).expect(0);
    let rolled_back = run(&["cutover"]).expect(4);
    assert!(rolled_back.err.contains("bad status"), "{}", rolled_back.err);
    assert_eq!(get(&prod, "/").version.as_deref(), Some("1"));
    let runs = run(&["--json", "history"]).expect(0).json();
    assert_eq!(runs[0]["outcome"], "rolled_back");
    // There is nothing to roll back: the cutover has rolled back, and no user is sent to the version that failed.
    let again = run(&["rollback"]).expect(0);
    assert!(again.out.contains("the last cutover was rolled back; nothing was written"), "{}", again.out);
    assert_eq!(get(&prod, "/").version.as_deref(), Some("1"));
}

#[test]
fn an_environment_with_nothing_on_it_gets_no_traffic_and_two_deployments_exclude_each_other() {
    let cloud = Cloud::start([90, 91]);
    let faulty = project().join("local/faulty");
    cloud.run_in(&faulty, &["cutover"]).expect(2);
    cloud.run_in(&faulty, &["rollback"]).expect(2);
    cloud.run_in(&faulty, &["deploy"]).expect(0);
    std::thread::scope(|scope| {
        let hold = ["hold", "--service", "cloudformation", "--action", "CreateChangeSet", "--times", "1"];
        cloud.local(&[&["fault", "add"], &hold[..]].concat()).expect(0);
        let first = scope.spawn(|| cloud.run_in(&faulty, &["deploy", "--version", "4"]));
        eventually("the first deployment holds the lease", || {
            let status = cloud.run_in(&faulty, &["--json", "status"]).expect(0).json();
            (status["lease"]["purpose"] == "deployment").then_some(())
        });
        let second = cloud.run_in(&faulty, &["deploy", "--version", "4"]).expect(3);
        assert!(second.err.contains("a deployment is in progress"), "{}", second.err);
        cloud.local(&["fault", "clear"]).expect(0);
        first.join().unwrap().expect(0);
    });
    cloud.run_in(&faulty, &["deploy", "--version", "1"]).expect(0);
    let status = cloud.run_in(&faulty, &["--json", "status"]).expect(0).json();
    assert_eq!(status["environments"][1]["role"], "prod");

    cloud.set_parameter("bluegreen", "BlueImage", "");
    let refused = cloud.run_in(&faulty, &["cutover"]).expect(3);
    assert!(refused.err.contains("blue"), "{}", refused.err);
    let page = get(&cloud.address(0), "/");
    assert_eq!(page.status, 200, "{page:?}");
    cloud.run_in(&faulty, &["deploy"]).expect(0);
    let status = cloud.run_in(&faulty, &["--json", "status"]).expect(0).json();
    assert_eq!(status["environments"][0]["healthy"], 1, "{status}");
}
