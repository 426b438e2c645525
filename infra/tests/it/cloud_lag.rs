//! A load balancer whose second address follows late, on the local cloud: cutover, shift, rollback, and failed cutover
//! under external load.

use crate::support::function::Function;
use crate::support::outside::Outside;
use crate::support::{Cloud, Said};
use serde_json::Value;

/// The time from the last write until the last address followed it, in milliseconds.
fn followed(record: &Value, way: &str) -> u64 {
    let lag = record["probes"][way].as_array().unwrap();
    assert_eq!(lag.len(), 2, "{record:#}");
    lag.iter().map(|lag| lag["followed_ms"].as_u64().unwrap()).max().unwrap()
}

#[test]
fn whatever_is_asked_for_waits_for_a_load_balancer_that_is_late() {
    let cloud = Cloud::start([80, 81]);
    let run = |arguments: &[&str]| -> Said { cloud.run(arguments) };
    run(&["deploy"]).expect(0);
    run(&["deploy", "--version", "2"]).expect(0);
    let function = Function::of(&cloud);
    let outside = Outside::mixed(&cloud.address(0));
    let probes = ["--probes", "40"];
    let record = |arguments: &[&str]| run(&[&["--json"], arguments, &probes].concat()).expect(0).json();

    cloud.local(&["fault", "lag", "3s"]).expect(0);
    let there = record(&["cutover"]);
    assert!(followed(&there, "lag") >= 3000, "{there:#}");
    assert_eq!(there["probes"]["counts"]["failed"], 0, "{there:#}");
    let back = record(&["rollback"]);
    assert!(followed(&back, "lag") >= 3000, "{back:#}");
    let shifted = record(&["cutover", "--shift", "50:1s"]);
    assert!(followed(&shifted, "lag") >= 3000, "{shifted:#}");
    assert_eq!(function.sides(), ("blue".to_owned(), "green".to_owned()));

    // Too late: the cutover rolls back and reports the address as the cause, not the version.
    cloud.local(&["fault", "lag", "30s"]).expect(0);
    let refused = run(&[&["cutover", "--settle-limit", "4s"], &probes[..]].concat()).expect(4).err;
    assert!(refused.contains("version 2 still from 127.") && refused.contains("settle_limit"), "{refused}");
    assert!(!refused.contains("what is wrong with"), "{refused}");
    assert_eq!(function.sides(), ("blue".to_owned(), "green".to_owned()));
    let seen = outside.leave();
    assert!(seen.failures.is_empty(), "{:?}", seen.failures);
}
