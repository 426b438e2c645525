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

/// Measures what the project promises, on the local cloud, against what others do.
///
/// Exit codes: 0 measured, whether targets are met or not; 1 something broke; 2 not understood.
#[derive(Debug, Parser)]
#[command(name = "bench", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Measure, print the table, and write it as JSON
    Run {
        /// Only these parts, separated by commas
        #[arg(long, value_delimiter = ',', value_name = "PART")]
        only: Vec<String>,
        /// How often quick things are measured; slow ones less often
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
        rounds: u16,
        /// Cutovers under load
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
        cutovers: u16,
        /// Where to write it; target/bench.json, or target/bench-PARTS.json where not all were measured
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
    /// The parts that there are
    List,
    /// Print the table of a report
    Show {
        /// The report
        #[arg(default_value = "target/bench.json")]
        report: PathBuf,
        /// In Markdown
        #[arg(long)]
        markdown: bool,
    },
    /// Put the table into a document, between `<!-- bench -->` and `<!-- /bench -->`
    Readme {
        /// The document
        #[arg(default_value = "README.md")]
        document: PathBuf,
        /// The report
        #[arg(long, default_value = "target/bench.json")]
        report: PathBuf,
    },
    /// What runs in a process of its own while something is measured
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
