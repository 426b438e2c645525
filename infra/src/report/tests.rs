//! Whole reports of constructed runs, as snapshots, and what hostile records cannot do.

use model::record::{
    AddressLag, Connection, Failure, ListenerWrite, Percentiles, ProbeCounts, ProbeReport, Sample, Samples, Step,
    Versions, WriteResult,
};
use model::request::Request;
use model::route::Listener;
use model::{Color, Outcome, Phase, Record};

use super::drawing::Layout;
use super::timeline::Timeline;
use super::*;

fn write(listener: Listener, to: Color, phase: Phase, start_us: u64) -> ListenerWrite {
    let end_us = Some(start_us + 12_000);
    ListenerWrite { listener, to, weight: 100, phase, start_us, end_us, result: WriteResult::Done }
}

fn step(name: &str, start_ms: u64, end_ms: u64) -> Step {
    Step { kind: None, name: name.to_owned(), start_ms, end_ms: Some(end_ms), note: None }
}

/// A cutover from green, version 1, to blue, version 2, that went well.
pub(crate) fn done() -> Record {
    let started: jiff::Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
    let mut record = Record::begin("0199-run".to_owned(), Request::default(), started, "writer".to_owned());
    record.outcome = Some(Outcome::Done);
    record.phase = Phase::Done;
    record.from = Some(Color::Green);
    record.to = Some(Color::Blue);
    record.prod = Some(Color::Blue);
    record.dev = Some(Color::Green);
    record.message = "blue is prod and green is dev: 150 probes, 0 failed.".to_owned();
    record.wrote = true;
    record.versions = Versions { old: Some("1".to_owned()), new: Some("2".to_owned()), seen: Some("2".to_owned()) };
    record.duration_ms = 15_240;
    record.steps = vec![
        step("take the lease", 2, 20),
        step("read the listeners", 20, 40),
        Step { note: Some("2 of 2 healthy".to_owned()), ..step("inspect blue", 40, 70) },
        step("probe blue through dev", 70, 130),
        step("probe prod before", 130, 1130),
        step("write dev green", 1130, 1142),
        step("write prod blue", 1142, 1155),
        step("settle", 1155, 2160),
        step("verify", 2160, 15_240),
    ];
    record.writes = vec![
        write(Listener::Dev, Color::Green, Phase::SwapDev, 1_130_000),
        write(Listener::Prod, Color::Blue, Phase::SwapProd, 1_142_000),
    ];
    let half = ProbeCounts { due: 75, sent: 75, ok: 75, failed: 0, late: 0 };
    let latency = |count, p50| Percentiles { count, p50: Some(p50), p90: Some(4.5), p99: Some(9.75), max: Some(12.0) };
    record.probes = Some(ProbeReport {
        counts: ProbeCounts { due: 150, sent: 150, ok: 150, failed: 0, late: 0 },
        kept_alive: half,
        fresh: half,
        addresses: vec!["10.0.0.1:80".to_owned()],
        before: latency(10, 3.1),
        during: latency(10, 3.3),
        after: latency(130, 2.9),
        first_new_ms: Some(1180),
        last_old_ms: Some(1090),
        bound95: Some(0.02),
        lag: vec![AddressLag { address: "10.0.0.1:80".to_owned(), last_old_ms: Some(90), followed_ms: Some(3100) }],
        ..ProbeReport::default()
    });
    record
}

/// The same, rolled back because the new version responded with 503.
pub(crate) fn rolled_back() -> Record {
    let mut record = done();
    record.outcome = Some(Outcome::RolledBack);
    record.phase = Phase::RolledBack;
    (record.prod, record.dev) = (Some(Color::Green), Some(Color::Blue));
    record.message = "1 of 24 probes failed, first bad status; traffic is back on green, dev is blue.".to_owned();
    record.hint = Some("Find out what is wrong with blue: it can be reached on dev.".to_owned());
    record.duration_ms = 2400;
    record.steps.truncate(7);
    record.steps.extend([
        Step { note: Some("called off".to_owned()), ..step("settle", 1155, 1270) },
        step("write prod green", 1270, 1284),
        step("write dev blue", 1284, 1296),
    ]);
    record.writes.extend([
        write(Listener::Prod, Color::Green, Phase::RollBack, 1_270_000),
        write(Listener::Dev, Color::Blue, Phase::RollBack, 1_284_000),
    ]);
    let probes = record.probes.as_mut().unwrap();
    probes.counts = ProbeCounts { due: 24, sent: 24, ok: 23, failed: 1, late: 0 };
    probes.kept_alive = ProbeCounts { due: 12, sent: 12, ok: 12, failed: 0, late: 0 };
    probes.fresh = ProbeCounts { due: 12, sent: 12, ok: 11, failed: 1, late: 0 };
    probes.during.count = 14;
    probes.after = Percentiles::default();
    probes.first_new_ms = None;
    probes.bound95 = Some(0.183);
    probes.failures = vec![failed("2")];
    record
}

fn failed(version: &str) -> Sample {
    Sample {
        sequence: 12,
        phase: Phase::Settle,
        scheduled_us: 1_230_000,
        sent_us: Some(1_230_010),
        first_byte_us: Some(1_233_000),
        done_us: 1_233_500,
        address: "10.0.0.1:80".to_owned(),
        connection: Connection::Fresh,
        status: Some(503),
        version: Some(version.to_owned()),
        bytes: 20,
        failure: Some(Failure::Status),
        detail: Some("503 Service Unavailable".to_owned()),
    }
}

/// The chart's data of a swap at 1.15 s, with a failed and a slow probe.
fn timeline() -> Timeline {
    let samples: Vec<Sample> = (0..20_u32)
        .map(|number| {
            let scheduled_us = 130_000 + u64::from(number) * 100_000;
            let version = if number < 11 { "1" } else { "2" };
            Sample {
                sequence: number,
                scheduled_us,
                done_us: scheduled_us + 2000 + u64::from(number % 4) * 1000,
                failure: (number == 13).then_some(Failure::Status),
                ..failed(version)
            }
        })
        .collect();
    let mut run = Run { samples: Some(Samples::encode("0199-run", &samples, true)), ..Run::from(done()) };
    run.record.duration_ms = 2200;
    Timeline::of(&run)
}

fn place() -> Place {
    Place {
        stack: "bluegreen".to_owned(),
        region: "eu-central-1".to_owned(),
        prod_url: "http://prod.example".to_owned(),
    }
}

/// One element a line, without the style sheet: a person can review it.
fn readable(html: &str) -> String {
    html.replace(STYLE, "").replace("><", ">\n<")
}

#[test]
fn a_cutover_that_went_well_as_a_page() {
    insta::assert_snapshot!(readable(&render(&done().into(), &place(), Format::Html).unwrap()));
}

#[test]
fn a_cutover_that_was_rolled_back_as_a_page() {
    insta::assert_snapshot!(readable(&render(&rolled_back().into(), &place(), Format::Html).unwrap()));
}

#[test]
fn a_cutover_that_was_rolled_back_as_markdown() {
    insta::assert_snapshot!(render(&rolled_back().into(), &place(), Format::Md).unwrap());
}

#[test]
fn the_chart_tells_versions_apart_by_color_and_shape() {
    let svg = chart::render(&timeline(), Layout::Wide, "chart").into_string();
    insta::assert_snapshot!(readable(&svg));
    for series in ["point green", "point blue", "point failed"] {
        assert_eq!(svg.matches(&format!("class=\"{series}\"")).count(), 1, "{series}");
    }
}

#[test]
fn labels_of_writes_that_follow_at_once_do_not_cover_each_other() {
    let svg = chart::render(&timeline(), Layout::Narrow, "chart").into_string();
    let rows: std::collections::BTreeSet<&str> = svg
        .split("class=\"write-label")
        .skip(1)
        .filter_map(|label| label.split("y=\"").nth(1)?.split('"').next())
        .collect();
    assert_eq!(rows.len(), 2, "{rows:?}");
}

#[test]
fn a_probe_that_is_far_slower_does_not_press_the_others_to_the_ground() {
    let mut timeline = timeline();
    timeline.points[5].latency_ms = 1900.0;
    let svg = chart::render(&timeline, Layout::Wide, "chart").into_string();
    assert!(svg.contains("latency in ms, logarithmic"));
}

#[test]
fn the_json_report_is_the_run() {
    let run = Run { samples: Some(Samples::encode("0199-run", &[failed("2")], true)), ..Run::from(rolled_back()) };
    let json = render(&run, &place(), Format::Json).unwrap();
    assert_eq!(serde_json::from_str::<Run>(&json).unwrap(), run);
}

#[test]
fn what_a_service_says_of_itself_never_becomes_markup() {
    let hostile = "\"><script>alert(1)</script><img src=x onerror=alert(1)>\u{202e}";
    let mut record = rolled_back();
    record.id = hostile.to_owned();
    record.message = hostile.to_owned();
    record.hint = Some(hostile.to_owned());
    record.versions =
        Versions { old: Some(hostile.to_owned()), new: Some(format!("{hostile}2")), seen: Some(hostile.to_owned()) };
    record.request.probe.path = Some(hostile.to_owned());
    record.recovered = vec![hostile.to_owned()];
    record.steps[0].name = format!("write {hostile}");
    record.steps[1].note = Some(hostile.to_owned());
    let probes = record.probes.as_mut().unwrap();
    probes.addresses = vec![hostile.to_owned()];
    probes.failures[0].version = Some(format!("{hostile}2"));
    probes.failures[0].detail = Some(hostile.to_owned());
    let place =
        Place { stack: hostile.to_owned(), region: hostile.to_owned(), prod_url: "javascript:alert(1)".to_owned() };

    let run = Run::from(record);
    let page = render(&run, &place, Format::Html).unwrap();
    for forbidden in ["<script", "<img", "onerror=alert(1)>", "\u{202e}", "href=\"javascript"] {
        assert!(!page.contains(forbidden), "{forbidden} in {page}");
    }
    let markdown = render(&run, &place, Format::Md).unwrap();
    for forbidden in ["<script", "<img", "\u{202e}"] {
        assert!(!markdown.contains(forbidden), "{forbidden} in {markdown}");
    }
}

#[test]
fn every_outcome_has_a_verdict_with_a_sign() {
    let mut record = rolled_back();
    let outcomes = [
        Outcome::Done,
        Outcome::Noop,
        Outcome::Planned,
        Outcome::RolledBack,
        Outcome::Held,
        Outcome::Refused,
        Outcome::Failed,
    ];
    let headlines: Vec<String> = std::iter::once(None)
        .chain(outcomes.map(Some))
        .map(|outcome| {
            record.outcome = outcome;
            let verdict = verdict::of(&record);
            format!("{:<8} {} {}", verdict.tone.as_str(), verdict.sign, verdict.headline)
        })
        .collect();
    insta::assert_snapshot!(headlines.join("\n"));
}

#[test]
fn a_failed_probe_is_never_called_safe() {
    let mut record = rolled_back();
    record.outcome = Some(Outcome::Done);
    let verdict = verdict::of(&record);
    assert_eq!(verdict.tone, verdict::Tone::Caution);
    assert!(verdict.safety.starts_with("1 of 24 probes failed (4.2 %)"), "{}", verdict.safety);
}

#[test]
fn a_run_that_was_interrupted_says_so_and_what_to_do() {
    let mut record = Record::begin("x".to_owned(), Request::default(), jiff::Timestamp::UNIX_EPOCH, String::new());
    record.interrupted = true;
    let verdict = verdict::of(&record);
    assert!(verdict.headline.contains("was interrupted"), "{}", verdict.headline);
    assert!(verdict.next.is_some_and(|next| next.contains("bluegreen reconcile")));
    assert!(!Timeline::of(&record.into()).running);
}
