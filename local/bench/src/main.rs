//! The `bench` command: parses, dispatches, and prints the table.

use std::path::PathBuf;
use std::process::ExitCode;

use bench::bench::{Bench, Options};
use bench::part::{self, PARTS};
use bench::report::Report;
use bench::role::{self, Role};
use bench::{readme, table};
use clap::{Parser, Subcommand};
use infra::error::Result;
use infra::ui::{Style, render_error};

/// Measure the targets of the project on the local cloud and compare them with other tools.
///
/// Exit codes: 0 measured, even if targets are missed; 1 a part failed; 2 wrong usage.
#[derive(Debug, Parser)]
#[command(name = "bench", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Measure, print the table, and write the report as JSON
    Run {
        /// Measure only these parts, separated by commas
        #[arg(long, value_delimiter = ',', value_name = "PART")]
        only: Vec<String>,
        /// Rounds of fast measurements; slow measurements have fewer
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
        rounds: u16,
        /// Number of cutovers under load
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
        cutovers: u16,
        /// Report file [default: target/bench.json; with --only, target/bench-PARTS.json]
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
    /// List the parts
    List,
    /// Print the table of a report
    Show {
        /// The report
        #[arg(default_value = "target/bench.json")]
        report: PathBuf,
        /// Print Markdown
        #[arg(long)]
        markdown: bool,
    },
    /// Insert the table into a document, between `<!-- bench -->` and `<!-- /bench -->`
    Readme {
        /// The document
        #[arg(default_value = "README.md")]
        document: PathBuf,
        /// The report
        #[arg(long, default_value = "target/bench.json")]
        report: PathBuf,
    },
    /// Run a helper process of a measurement
    #[command(hide = true, subcommand)]
    Role(Role),
}

fn main() -> ExitCode {
    match dispatch(Cli::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint!("{}", render_error(&error, Style::of_stderr()));
            ExitCode::from(error.kind().exit_code())
        }
    }
}

fn dispatch(verb: Verb) -> Result<()> {
    match verb {
        Verb::Run { only, rounds, cutovers, json } => {
            let parts = part::named(&only)?;
            let options = Options { rounds: rounds.into(), cutovers: cutovers.into() };
            let report = Bench::here(options, !only.is_empty())?.run(&parts);
            let name = if only.is_empty() { "bench.json".to_owned() } else { format!("bench-{}.json", only.join("-")) };
            report.write(&json.unwrap_or_else(|| PathBuf::from("target").join(name)))?;
            print!("{}", table::text(&report));
            report.check()
        }
        Verb::List => {
            for part in &PARTS {
                println!("{:<9} {}", part.name, part.about);
            }
            Ok(())
        }
        Verb::Show { report, markdown } => {
            let report = Report::read(&report)?;
            print!("{}", if markdown { table::markdown(&report) } else { table::text(&report) });
            Ok(())
        }
        Verb::Readme { document, report } => readme::fill(&document, &table::markdown(&Report::read(&report)?)),
        Verb::Role(role) => role::play(role),
    }
}
