//! The command line of the benchmark: its parts, its errors, and the destination of its table. Measures nothing.

use std::path::Path;
use std::process::{Command, Output};

use bench::figures::Figures;
use bench::machine::Machine;
use bench::part::PARTS;
use bench::report::{Report, SCHEMA};
use bench::row::{Row, Target};
use bench::unit::Unit;

fn bench(arguments: &[&str]) -> Output {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    Command::new(env!("CARGO_BIN_EXE_bench")).args(arguments).current_dir(project).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A report with one row.
fn report(median: f64) -> Report {
    let row = Row::new("`synth`, whole process", Unit::Seconds, Figures::once(median)).target(Target::AtMost(0.01));
    Report {
        schema: SCHEMA,
        started: "2026-11-24T22:00:00Z".parse().unwrap(),
        seconds: 1,
        machine: Machine::this(),
        profile: "dev".to_owned(),
        rows: vec![row.judged()],
        skipped: Vec::new(),
        broken: Vec::new(),
    }
}

#[test]
fn it_lists_every_part_by_the_name_that_make_takes() {
    let said = bench(&["list"]);
    assert!(said.status.success());
    let names: Vec<String> =
        text(&said.stdout).lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(names, PARTS.map(|part| part.name));
}

#[test]
fn a_part_that_there_is_not_is_refused_before_anything_is_measured() {
    let said = bench(&["run", "--only", "synth,sinth"]);
    assert_eq!(said.status.code(), Some(2));
    assert!(text(&said.stderr).contains("unknown part \"sinth\""), "{said:?}");
}

#[test]
fn the_table_goes_into_the_readme_and_a_missed_target_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (json, readme) = (file("bench.json"), file("README.md"));
    report(0.02).write(Path::new(&json)).unwrap();
    std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md"), &readme).unwrap();
    let before = std::fs::read_to_string(&readme).unwrap();

    let said = bench(&["readme", &readme, "--report", &json]);
    assert!(said.status.success(), "{said:?}");
    let after = std::fs::read_to_string(&readme).unwrap();
    assert!(after.contains("| `synth`, whole process | 20 ms |  |  |  | ≤ 10 ms | **no** |"), "{after}");
    let outside = |text: &str| {
        let (before, rest) = text.split_once("<!-- bench -->").unwrap();
        format!("{before}{}", rest.split_once("<!-- /bench -->").unwrap().1)
    };
    assert_eq!(outside(&after), outside(&before));
}

#[test]
fn without_a_report_it_says_who_writes_one() {
    let said = bench(&["show", "/nonexistent/bench.json"]);
    assert_eq!(said.status.code(), Some(1));
    assert!(text(&said.stderr).contains("make bench"), "{said:?}");
}

#[test]
fn every_field_of_a_report_is_in_the_reference() {
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/bench.md");
    let reference = std::fs::read_to_string(reference).unwrap();
    let mut report = report(0.01);
    report.rows[0] = report.rows[0].clone().against("nothing", Figures::once(1.0));
    let report = serde_json::to_value(report).unwrap();
    let row = &report["rows"][0];
    for part in [&report, &report["machine"], row, &row["ours"], &row["reference"]] {
        for field in part.as_object().unwrap().keys() {
            assert!(reference.contains(&format!("`{field}`")), "{field} is not documented");
        }
    }
    for part in &PARTS {
        assert!(reference.contains(&format!("| `{}` |", part.name)), "{} is not documented", part.name);
    }
}
