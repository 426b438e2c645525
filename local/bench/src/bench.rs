//! A run of the benchmark: paths, number of measurements, and findings.

use std::path::{Path, PathBuf};
use std::time::Instant;

use infra::error::{Doing as _, Error, Result};

use crate::machine::Machine;
use crate::part::Part;
use crate::process::Stopwatch;
use crate::report::{Report, SCHEMA, Skipped};
use crate::row::Row;

/// The options of a run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The number of rounds of fast measurements; slow measurements have fewer.
    pub rounds: usize,
    /// The number of cutovers under load.
    pub cutovers: usize,
}

/// The paths and options of the benchmark.
#[derive(Clone, Debug)]
pub struct Bench {
    project: PathBuf,
    /// The target folder of Cargo.
    target: PathBuf,
    /// The folder of this program and of the measured programs.
    programs: PathBuf,
    /// This program.
    pub program: PathBuf,
    /// Measures whole processes.
    pub stopwatch: Stopwatch,
    /// The options of the run.
    pub options: Options,
    /// Whether the parts were selected by name, so that slow measurements run too.
    pub named: bool,
}

impl Bench {
    /// Uses the project of the current folder and the programs beside this program.
    pub fn here(options: Options, named: bool) -> Result<Self> {
        let here = std::env::current_dir().doing(|| "read the current folder".to_owned())?;
        let project = here.ancestors().find(|folder| folder.join("local/bench/Cargo.toml").is_file());
        let project = project.ok_or_else(|| {
            Error::usage(format!("{} is not inside the project", here.display())).hint("run it with make bench")
        })?;
        let program = std::env::current_exe().doing(|| "find this program".to_owned())?;
        let programs = program.parent().unwrap_or(project).to_path_buf();
        let target = programs.parent().unwrap_or(project).to_path_buf();
        let bench = Self {
            project: project.to_path_buf(),
            stopwatch: Stopwatch::beside(&programs),
            target,
            programs,
            program,
            options,
            named,
        };
        for needed in ["bluegreen", "local-cloud", "bench-measure"] {
            built(&bench.programs.join(needed), "make build")?;
        }
        Ok(bench)
    }

    /// The folder of the project.
    pub fn project(&self) -> &Path {
        &self.project
    }

    /// The folder of this package, with the sources of the references.
    pub fn source(&self) -> PathBuf {
        self.project.join("local/bench")
    }

    /// The folder for installed tools and results.
    pub fn folder(&self) -> PathBuf {
        self.target.join("bench")
    }

    /// A measured program of the workspace.
    pub fn workspace_program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// A file that `bluegreen build` creates in the target folder of Cargo.
    pub fn artefact(&self, path: &str) -> Result<PathBuf> {
        let file = self.target.join(path);
        built(&file, "target/debug/bluegreen build")?;
        Ok(file)
    }

    /// The Cargo profile of the measured programs.
    pub fn profile(&self) -> String {
        let folder = self.programs.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        if folder == "debug" { "dev".to_owned() } else { folder }
    }

    /// Prints progress.
    pub fn say(&self, what: &str) {
        eprintln!("  {what}");
    }

    /// Measures these parts. A part that fails is reported; the other parts still run.
    pub fn run(&self, parts: &[&Part]) -> Report {
        let began = Instant::now();
        let mut report = Report {
            schema: SCHEMA,
            started: jiff::Timestamp::now(),
            seconds: 0,
            machine: Machine::this(),
            profile: self.profile(),
            rows: Vec::new(),
            skipped: Vec::new(),
            broken: Vec::new(),
        };
        for part in parts {
            eprintln!("{}: {}", part.name, part.about);
            let mut findings = Findings { part: part.name, report: &mut report };
            if let Err(error) = (part.measure)(self, &mut findings) {
                let why = std::iter::once(error.message().to_owned()).chain(error.causes().iter().cloned());
                let why = why.collect::<Vec<_>>().join("; ");
                eprintln!("  failed: {why}");
                report.broken.push(Skipped { what: part.name.to_owned(), why });
            }
        }
        report.seconds = began.elapsed().as_secs();
        report
    }
}

/// The findings of a part.
#[derive(Debug)]
pub struct Findings<'a> {
    part: &'static str,
    report: &'a mut Report,
}

impl Findings<'_> {
    /// Adds a measurement.
    pub fn row(&mut self, row: Row) {
        let row = Row { part: self.part.to_owned(), ..row.judged() };
        eprintln!("  {}: {}", row.what, row.unit.show(row.ours.median));
        self.report.rows.push(row);
    }

    /// Records a skipped measurement.
    pub fn skip(&mut self, what: &str, why: impl Into<String>) {
        let why = why.into();
        eprintln!("  skipped {what}: {why}");
        self.report.skipped.push(Skipped { what: what.to_owned(), why });
    }
}

fn built(file: &Path, by: &str) -> Result<()> {
    if file.is_file() {
        return Ok(());
    }
    Err(Error::usage(format!("{} is not built", file.display())).hint(format!("build it with {by}, or run make bench")))
}
