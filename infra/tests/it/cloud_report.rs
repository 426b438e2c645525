//! The report of a real cutover on the local cloud.

use crate::support::{Cloud, project};

#[test]
fn the_last_cutover_is_reported_as_a_page_as_markdown_and_as_json() {
    let cloud = Cloud::start([90, 91]);
    let faulty = project().join("local/faulty");
    let run = |arguments: &[&str]| cloud.run_in(&faulty, arguments);
    run(&["deploy"]).expect(0);
    let first = run(&["report", "--format", "md"]).expect(0).out;
    assert!(first.contains("green is prod"), "{first}");
    run(&["deploy", "--version", "4"]).expect(0);
    run(&["cutover"]).expect(4);

    let page = run(&["report"]).expect(0).out;
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("Rolled back: prod is"), "{page}");
    for series in ["point failed", "point green", "point blue"] {
        assert!(page.contains(&format!("<path class=\"{series}\"")), "{series}: {page}");
    }
    let markdown = run(&["report", "--format", "md"]).expect(0).out;
    assert!(markdown.starts_with("### ❌ Rolled back") && markdown.contains("| failed probe |"), "{markdown}");
    let json = run(&["--json", "report"]).expect(0).json();
    assert_eq!(json["record"]["outcome"], "rolled_back");
    assert_eq!(
        json["samples"]["rows"].as_array().map(|rows| rows.len() as u64),
        json["record"]["probes"]["counts"]["due"].as_u64()
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.json");
    run(&["report", "--out", file.to_str().unwrap()]).expect(0);
    let again = run(&["report", "--record", file.to_str().unwrap(), "--format", "md"]).expect(0).out;
    assert_eq!(again.lines().next(), markdown.lines().next());

    let unknown = run(&["report", "no-such-run"]).expect(2);
    assert!(unknown.err.contains("run no-such-run of stack bluegreen does not exist"), "{}", unknown.err);
}
