//! A run of the benchmark: where things are, how often each is measured, and what was found.

use std::path::{Path, PathBuf};
use std::time::Instant;

use infra::error::{Doing as _, Error, Result};

use crate::machine::Machine;
use crate::part::Part;
use crate::process::Stopwatch;
use crate::report::{Report, SCHEMA, Skipped};
use crate::row::Row;

/// How a run is to be.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How often quick things are measured; slow ones less often.
    pub rounds: usize,
    /// How many cutovers there are under load.
    pub cutovers: usize,
}

/// Where things are, and how often each is measured.
#[derive(Clone, Debug)]
pub struct Bench {
    project: PathBuf,
    /// The folder of Cargo's artefacts.
    target: PathBuf,
    /// The folder of this program, and of those that are measured.
    programs: PathBuf,
    /// This program.
    pub program: PathBuf,
    /// Measures whole processes.
    pub stopwatch: Stopwatch,
    /// How the run is to be.
    pub options: Options,
    /// Whether the parts were named, so that even what takes long is wanted.
    pub named: bool,
}

impl Bench {
    /// In the project that the current folder is in, with the programs that are beside this one.
    pub fn here(options: Options, named: bool) -> Result<Self> {
        let here = std::env::current_dir().doing(|| "tell the current folder".to_owned())?;
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

    /// The project's folder.
    pub fn project(&self) -> &Path {
        &self.project
    }

    /// This package's folder, with what others are compared by.
    pub fn source(&self) -> PathBuf {
        self.project.join("local/bench")
    }

    /// Where tools are installed and results are written.
    pub fn folder(&self) -> PathBuf {
        self.target.join("bench")
    }

    /// A program of the workspace, as it is measured.
    pub fn workspace_program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// A file that `bluegreen build` makes below Cargo's folder.
    pub fn artefact(&self, path: &str) -> Result<PathBuf> {
        let file = self.target.join(path);
        built(&file, "target/debug/bluegreen build")?;
        Ok(file)
    }

    /// The name of Cargo's profile that the measured programs were built with.
    pub fn profile(&self) -> String {
        let folder = self.programs.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        if folder == "debug" { "dev".to_owned() } else { folder }
    }

    /// Says what goes on.
    pub fn say(&self, what: &str) {
        eprintln!("  {what}");
    }

    /// Measures these parts. What breaks is reported; the others are measured all the same.
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
                eprintln!("  broke: {why}");
                report.broken.push(Skipped { what: part.name.to_owned(), why });
            }
        }
        report.seconds = began.elapsed().as_secs();
        report
    }
}

/// What a part finds.
#[derive(Debug)]
pub struct Findings<'a> {
    part: &'static str,
    report: &'a mut Report,
}

impl Findings<'_> {
    /// Something was measured.
    pub fn row(&mut self, row: Row) {
        let row = Row { part: self.part.to_owned(), ..row.judged() };
        eprintln!("  {}: {}", row.what, row.unit.show(row.ours.median));
        self.report.rows.push(row);
    }

    /// Something was not.
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
    Err(Error::usage(format!("{} is not built", file.display())).hint(format!("build it: {by}, or make bench")))
}
