//! The report as a table: for a terminal, and in Markdown for the README.

use crate::report::{Report, Skipped};
use crate::row::Row;

const HEAD: [&str; 7] = ["what", "median", "min–max", "reference", "ratio", "target", "met"];

/// The table in aligned columns, with what was skipped below.
pub fn text(report: &Report) -> String {
    let rows: Vec<[String; 7]> =
        std::iter::once(HEAD.map(str::to_owned)).chain(report.rows.iter().map(cells)).collect();
    let widths: Vec<usize> =
        (0..HEAD.len()).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    let mut lines: Vec<String> = rows.iter().map(|row| aligned(row, &widths)).collect();
    lines.extend(report.skipped.iter().map(|Skipped { what, why }| format!("skipped  {what}: {why}")));
    lines.extend(report.broken.iter().map(|Skipped { what, why }| format!("BROKEN   {what}: {why}")));
    lines.push(origin(report));
    lines.join("\n") + "\n"
}

/// The same in Markdown.
pub fn markdown(report: &Report) -> String {
    let line = |cells: &[String]| format!("| {} |", cells.join(" | "));
    let mut lines = vec![line(&HEAD.map(str::to_owned)), "|---|---|---|---|---|---|---|".to_owned()];
    lines.extend(report.rows.iter().map(|row| line(&cells(row).map(|cell| cell.replace('|', "\\|")))));
    lines.push(String::new());
    if !report.skipped.is_empty() {
        let words: Vec<_> = report.skipped.iter().map(|it| format!("{} ({})", it.what, it.why)).collect();
        lines.push(format!("Not measured: {}.", words.join("; ")));
        lines.push(String::new());
    }
    lines.push(origin(report));
    lines.join("\n") + "\n"
}

/// The machine and the date of the run.
fn origin(report: &Report) -> String {
    format!(
        "Measured on {} ({}), Cargo profile `{}`, in {} s.",
        report.machine.show(),
        report.started.strftime("%Y-%m-%d"),
        report.profile,
        report.seconds
    )
}

fn cells(row: &Row) -> [String; 7] {
    let show = |value: f64| row.unit.show(value);
    let spread = |min: f64, max: f64| {
        let (min, max) = (show(min), show(max));
        if min == max { String::new() } else { format!("{min} – {max}") }
    };
    let reference =
        row.reference.as_ref().map(|reference| format!("{}: {}", reference.what, show(reference.figures.median)));
    [
        row.what.clone(),
        show(row.ours.median),
        spread(row.ours.min, row.ours.max),
        reference.unwrap_or_default(),
        row.show_ratio(),
        row.show_targets(),
        match row.met {
            Some(true) => "yes".to_owned(),
            Some(false) => "**no**".to_owned(),
            None => String::new(),
        },
    ]
}

fn aligned(row: &[String; 7], widths: &[usize]) -> String {
    let padded = |(cell, width): (&String, &usize)| format!("{cell}{}", " ".repeat(width - cell.chars().count()));
    let line = row.iter().zip(widths).map(padded).collect::<Vec<_>>().join("  ");
    line.trim_end().replace("**", "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Figures;
    use crate::machine::Machine;
    use crate::report::SCHEMA;
    use crate::row::Target;
    use crate::unit::Unit;

    fn report() -> Report {
        let synth = Row::new("`synth`, whole process", Unit::Seconds, Figures::of([0.0081, 0.0088, 0.0102]))
            .against("AWS CDK", Figures::of([9.1, 9.8, 10.4]))
            .target(Target::AtMost(0.01))
            .target(Target::TimesBetter(500.0));
        let failed = Row::new("requests failed", Unit::Count, Figures::of([0.0, 1.0])).target(Target::NeverAbove(0.0));
        Report {
            schema: SCHEMA,
            started: "2026-11-24T22:00:00Z".parse().unwrap(),
            seconds: 512,
            machine: Machine {
                processor: "Some CPU".to_owned(),
                cores: 2,
                memory: 8 << 30,
                system: "Debian".to_owned(),
                kernel: "6.1".to_owned(),
            },
            profile: "dev".to_owned(),
            rows: vec![synth.judged(), failed.judged()],
            skipped: vec![Skipped { what: "greeter against Go".to_owned(), why: "go is not installed".to_owned() }],
            broken: Vec::new(),
        }
    }

    #[test]
    fn a_table_for_a_terminal() {
        insta::assert_snapshot!(text(&report()));
    }

    #[test]
    fn a_table_in_markdown() {
        insta::assert_snapshot!(markdown(&report()));
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let json = serde_json::to_string(&report()).unwrap();
        assert_eq!(text(&serde_json::from_str(&json).unwrap()), text(&report()));
    }
}
