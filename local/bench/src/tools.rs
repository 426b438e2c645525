//! The reference tools: installed on the machine, or installed in `target/bench`. A missing tool is reported and is not
//! a failure.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bench::Bench;
use crate::process::output;

/// A tool, or the reason why it is missing.
pub type Found<T> = Result<T, String>;

/// AWS CDK with the app that creates the same stack.
#[derive(Clone, Debug)]
pub struct Cdk {
    folder: PathBuf,
}

impl Cdk {
    /// Installs AWS CDK once, by its lock file.
    pub fn find(bench: &Bench) -> Found<Self> {
        let npm = program("npm")?;
        program("node")?;
        let (source, folder) = (bench.source().join("cdk"), bench.folder().join("cdk"));
        copy(&source, &folder)?;
        let lock = folder.join("package-lock.json");
        once(&folder, &lock, || {
            bench.say("installing AWS CDK ...");
            run(Command::new(npm).args(["ci", "--no-audit", "--no-fund"]).current_dir(&folder))
        })?;
        Ok(Self { folder })
    }

    /// `cdk` with these arguments, in the folder of the app.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.folder.join("node_modules/.bin/cdk"));
        command.args(arguments).args(["--no-notices", "--ci"]).current_dir(&self.folder);
        command.env("CDK_DISABLE_CLI_TELEMETRY", "true");
        command
    }
}

/// The AWS CLI in a separate Python environment.
pub fn aws_cli(bench: &Bench) -> Found<PathBuf> {
    let python = program("python3")?;
    let folder = bench.folder().join("awscli");
    let requirements = bench.source().join("requirements-awscli.txt");
    once(&folder, &requirements, || {
        bench.say("installing the AWS CLI ...");
        run(Command::new(python).args(["-m", "venv"]).arg(&folder))?;
        let mut pip = Command::new(folder.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check", "--requirement"]).arg(&requirements);
        run(&mut pip)
    })?;
    Ok(folder.join("bin/aws"))
}

/// The greeter in Go, built with the installed Go.
pub fn go_greeter(bench: &Bench) -> Found<PathBuf> {
    let go = program("go")?;
    let program = bench.folder().join("go-greeter");
    let mut build = Command::new(go);
    build.args(["build", "-trimpath", "-ldflags=-s -w", "-o"]).arg(&program).arg(".");
    build.current_dir(bench.source().join("go")).env("GOFLAGS", "-mod=mod").env("GOTOOLCHAIN", "local");
    // Static, as for an image without a base.
    build.env("CGO_ENABLED", "0");
    run(&mut build)?;
    Ok(program)
}

/// A program on the search path.
pub fn program(name: &str) -> Found<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    found.ok_or_else(|| format!("{name} is not installed"))
}

/// Installs a tool into a folder, unless it was installed from the same description.
fn once(folder: &Path, description: &Path, install: impl FnOnce() -> Found<()>) -> Found<()> {
    let read = |file: &Path| std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()));
    let (made, wanted) = (folder.join(".made"), read(description)?);
    if std::fs::read(&made).is_ok_and(|known| known == wanted) {
        return Ok(());
    }
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    install()?;
    std::fs::write(&made, wanted).map_err(|error| format!("{}: {error}", made.display()))
}

/// Copies the files of a folder.
fn copy(from: &Path, to: &Path) -> Found<()> {
    let copied = || -> std::io::Result<()> {
        std::fs::create_dir_all(to)?;
        for entry in std::fs::read_dir(from)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                std::fs::copy(entry.path(), to.join(entry.file_name()))?;
            }
        }
        Ok(())
    };
    copied().map_err(|error| format!("cannot copy {}: {error}", from.display()))
}

/// Runs a command and ignores its output.
fn run(command: &mut Command) -> Found<()> {
    output(command).map(drop).map_err(|error| {
        let last = error.causes().first().and_then(|said| said.lines().last()).unwrap_or_default();
        format!("{error}: {last}")
    })
}
