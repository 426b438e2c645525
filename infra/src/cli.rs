//! The command line: the arguments of every verb, and how a call begins.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use cfn_kit::resources::values::StackName;
use clap::Parser;
use stack::settings::SettingsError;
use stack::{Extension, Settings};

use crate::commands::Verb;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::prompt::Prompt;
use crate::session::Session;
use crate::ui::{JsonLines, Lines, Screen, Style, render_error};
use deploy::Listener;

/// Blue/green deployment for Amazon ECS Fargate.
///
/// Runs two complete environments, blue and green, behind one load balancer. Deploys a new version to the idle
/// environment. A cutover swaps the two while it probes them, and rolls back automatically if probes fail.
///
/// Exit codes: 0 done, 1 failed, 2 usage error, 3 refused (nothing was changed), 4 rolled back.
#[derive(Debug, Parser)]
#[command(name = "bluegreen", version, max_term_width = 100)]
pub struct Cli {
    /// Name of the stack [default: `name` in bluegreen.toml, else "bluegreen"].
    #[arg(long, global = true, env = "BLUEGREEN_STACK", value_parser = crate::args::stack_name)]
    pub stack: Option<StackName>,
    /// Settings file [default: bluegreen.toml].
    #[arg(long, global = true, env = "BLUEGREEN_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print results as JSON, and progress as JSON lines.
    #[arg(long, global = true)]
    pub json: bool,
    /// Command to run.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Runs the command that the process was called with, with this extension of the stack.
pub fn run(extension: Extension) -> ExitCode {
    let cli = Cli::parse();
    let style = Style::of_stderr();
    cli.run(extension, style).unwrap_or_else(|error| {
        crate::ui::say(&render_error(&error, style));
        ExitCode::from(error.kind().exit_code())
    })
}

impl Cli {
    fn run(&self, extension: Extension, style: Style) -> Result<ExitCode> {
        if let Some(done) = self.verb.run_alone() {
            return done.map(|()| ExitCode::SUCCESS);
        }
        let (mut settings, problem) = self.settings()?;
        settings.extension = extension;
        let screen = if self.json || self.verb.draws_itself() { None } else { Screen::on_stderr(style) };
        let listener: Arc<dyn Listener> = match &screen {
            _ if self.json => Arc::new(JsonLines::default()),
            Some(screen) => Arc::<Screen>::clone(screen),
            None => Arc::new(Lines::new(style)),
        };
        let stack = self.stack.clone().map_or_else(|| settings.stack_name(), String::from);
        if let Some(problem) = problem {
            listener.warn(format!("{}; continuing with stack {stack}", in_a_line(&problem.into())));
        }
        let context = Context::new(stack, settings, listener);
        let mut session = Session::new(context, self.json, Prompt::new(screen, style));
        self.verb.prepare(&mut session);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|error| Error::failed("cannot start").because(error))?;
        let result = runtime.block_on(session.run(&self.verb));
        // An unanswered question must not keep the process alive.
        runtime.shutdown_background();
        result
    }

    /// The part of the settings that the command needs, and the error in the rest.
    fn settings(&self) -> Result<(Settings, Option<SettingsError>)> {
        let file = self.config.as_deref();
        if self.verb.needs_settings() {
            return Ok((Settings::load(file)?, None));
        }
        Ok(Settings::load_identity(file))
    }
}

/// The error in the settings file on one line: its place and its cause.
fn in_a_line(problem: &Error) -> String {
    let lines: Vec<&str> = problem.causes().first().map_or(Vec::new(), |cause| cause.lines().collect());
    let (place, why) = (lines.first().copied().unwrap_or_default(), lines.last().copied().unwrap_or_default());
    let problem_with = if place == why { place.to_owned() } else { format!("{place}: {}", why.trim()) };
    format!("{}: {problem_with}", problem.message())
}
