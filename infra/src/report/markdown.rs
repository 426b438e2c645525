//! The report as Markdown: short enough for a comment on a pull request, details folded away.

use std::fmt::Write as _;

use model::Record;

use super::text::{ms_or_dash, sentence};
use super::verdict::{self, Tone};
use super::{Place, Run, facts};

/// The report. Writing to a `String` cannot fail, so what `writeln!` returns is dropped.
pub fn render(run: &Run, place: &Place) -> String {
    let record = &run.record;
    let verdict = verdict::of(record);
    let sign = match verdict.tone {
        Tone::Good => "✅",
        Tone::Caution => "⚠️",
        Tone::Bad => "❌",
    };
    let mut text = format!("### {sign} {}\n\n{}\n", sentence(&verdict.headline), sentence(&verdict.safety));
    let _ = writeln!(text, "\n{}", sentence(&record.message));
    if let Some(next) = &verdict.next {
        let _ = writeln!(text, "\n**Next:** {}", sentence(next));
    }
    let latencies = facts::latencies(record);
    if !latencies.is_empty() {
        text.push_str("\n| latency | probes | p50 | p90 | p99 | max |\n|---|--:|--:|--:|--:|--:|\n");
        for (name, it) in latencies {
            let [p50, p90, p99, max] = [it.p50, it.p90, it.p99, it.max].map(ms_or_dash);
            let _ = writeln!(text, "| {name} | {} | {p50} | {p90} | {p99} | {max} |", it.count);
        }
    }
    failures(record, &mut text);
    details(run, place, &mut text);
    text
}

fn failures(record: &Record, text: &mut String) {
    let failures = facts::failures(record);
    if failures.is_empty() {
        return;
    }
    text.push_str(
        "\n| failed probe | at | took | connection | address | answer | why |\n|--:|--:|--:|---|---|---|---|\n",
    );
    for row in failures {
        let _ = writeln!(text, "| {} |", row.map(|cell| sentence(&cell)).join(" | "));
    }
}

fn details(run: &Run, place: &Place, text: &mut String) {
    let record = &run.record;
    text.push_str(
        "\n<details><summary>Steps and details</summary>\n\n| at | took | step | note |\n|--:|--:|---|---|\n",
    );
    for row in facts::steps(record) {
        let [at, took, name, note] = row.map(|cell| sentence(&cell));
        let _ = writeln!(text, "| {at} | {took} | {name} | {note} |");
    }
    text.push_str("\n| | |\n|---|---|\n");
    for (name, value) in facts::run(run, place).into_iter().chain(facts::probing(record)) {
        let _ = writeln!(text, "| {name} | {} |", sentence(&value));
    }
    text.push_str("\n</details>\n");
}
