//! The commands of `bluegreen`, one file each: arguments, work and output. A new command needs a file, an entry in
//! [`Verb`] and a line in [`Verb::run`].

pub mod abort;
pub mod build;
pub mod cutover;
pub mod dashboard;
pub mod deploy;
pub mod destroy;
pub mod diff;
pub mod doctor;
pub mod function;
pub mod graph;
pub mod history;
pub mod init;
pub mod logs;
pub mod manual;
pub mod open;
pub mod pause;
pub mod promote;
pub mod reconcile;
pub mod rehearse;
pub mod releases;
pub mod report;
pub mod rollback;
pub mod status;
pub mod synth;
pub mod unlock;

use std::process::ExitCode;

use model::stack_state::StackState;

use crate::error::Result;
use crate::session::Session;

/// A command of `bluegreen`.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Write a bluegreen.toml for an existing service.
    Init(init::Args),
    /// Print the CloudFormation template.
    Synth(synth::Args),
    /// Draw the architecture of the stack.
    Graph(graph::Args),
    /// Build every version and the cutover function without deploying.
    Build(build::Args),
    /// Write the zip of the cutover function to a file, for machines that cannot build it.
    Function(function::Args),
    /// Create or update the stack; with --version, also deploy that version to the idle environment.
    Deploy(deploy::Args),
    /// Show what a deployment would change.
    Diff(diff::Args),
    /// Swap prod and dev while probing prod.
    Cutover(Box<cutover::Args>),
    /// Send users back to the release that was live before the last cutover.
    Rollback(Box<rollback::Args>),
    /// Repair the listeners after an interrupted cutover.
    Reconcile(reconcile::Args),
    /// Break the lease of a deployment or cutover whose holder has died or must not continue.
    Unlock(unlock::Args),
    /// Stop the run in progress and send users back to the old side.
    Abort(abort::Args),
    /// Hold a gradual shift at its current step until it is promoted or aborted.
    Pause(pause::Args),
    /// Continue a gradual shift with its next step immediately.
    Promote(promote::Args),
    /// Show the environments, their versions, and their health.
    Status(status::Args),
    /// Show the logs of an environment or of the cutover function.
    Logs(logs::Args),
    /// Print the URL of prod or dev and open it in a browser.
    Open(open::Args),
    /// Check the prerequisites of a deployment or cutover and suggest fixes.
    Doctor(doctor::Args),
    /// List the releases, including failed deployments.
    Releases(releases::Args),
    /// List the runs (cutovers, rollbacks, and reconciles).
    History(history::Args),
    /// Write the report of a run as an HTML page with a chart, as Markdown, or as JSON.
    Report(report::Args),
    /// Serve a local web page that shows both environments and can start and follow a cutover.
    Dashboard(dashboard::Args),
    /// Rehearse a release on a separate local cloud under user load, and report what users would have seen.
    Rehearse(Box<rehearse::Args>),
    /// Print shell completions.
    Completions(manual::CompletionsArgs),
    /// Print the manual pages.
    Man(manual::Args),
    /// Delete the stack and everything in it.
    Destroy(destroy::Args),
}

impl Verb {
    /// Whether it needs all of the settings, or only the name and the region of the stack: a verb that inspects a stack or
    /// rolls back must not depend on the file that describes the next release.
    pub const fn needs_settings(&self) -> bool {
        matches!(
            self,
            Self::Synth(_)
                | Self::Graph(_)
                | Self::Build(_)
                | Self::Function(_)
                | Self::Deploy(_)
                | Self::Diff(_)
                | Self::Cutover(_)
                | Self::Doctor(_)
                | Self::Rehearse(_)
        )
    }

    /// Changes the context before it is shared.
    pub fn prepare(&self, session: &mut Session) {
        match self {
            Self::Deploy(arguments) => arguments.prepare(session),
            Self::Diff(arguments) => arguments.prepare(session),
            _ => {}
        }
    }

    /// Whether its steps are programs that draw on the terminal themselves, so that a live screen would disturb them.
    pub const fn draws_itself(&self) -> bool {
        matches!(self, Self::Rehearse(_))
    }

    /// Whether it handles Ctrl-C itself.
    pub const fn handles_interrupts(&self) -> bool {
        matches!(self, Self::Cutover(_) | Self::Rollback(_) | Self::Reconcile(_) | Self::Abort(_))
    }

    /// The message after an interruption, if the stack is in this state.
    pub fn interrupted(&self, state: Option<&StackState>) -> String {
        let state = state.map_or_else(String::new, |state| format!(" The stack is in {state}."));
        match self {
            Self::Deploy(_) | Self::Destroy(_) => format!(
                "interrupted.{state} CloudFormation finishes the operation that it has started. Run the same command \
                 again to follow and complete it. No traffic was moved."
            ),
            Self::Rehearse(_) => {
                "interrupted. The local cloud of the rehearsal was stopped; nothing else was changed.".to_owned()
            }
            _ => "interrupted.".to_owned(),
        }
    }

    /// Runs it if it needs neither settings nor cloud; otherwise `None`.
    pub fn run_alone(&self) -> Option<Result<()>> {
        match self {
            Self::Init(arguments) => Some(arguments.run()),
            Self::Completions(arguments) => Some(arguments.run()),
            Self::Man(arguments) => Some(arguments.run()),
            _ => None,
        }
    }

    /// Runs it.
    pub async fn run(&self, session: &Session) -> Result<ExitCode> {
        let done = match self {
            Self::Cutover(arguments) => return arguments.run(session).await,
            Self::Rollback(arguments) => return arguments.run(session).await,
            Self::Reconcile(arguments) => return arguments.run(session).await,
            Self::Abort(arguments) => return arguments.run(session).await,
            Self::Init(_) | Self::Completions(_) | Self::Man(_) => self.run_alone().unwrap_or(Ok(())),
            Self::Synth(arguments) => arguments.run(session),
            Self::Graph(arguments) => arguments.run(session),
            Self::Build(arguments) => arguments.run(session).await,
            Self::Function(arguments) => arguments.run(session).await,
            Self::Deploy(arguments) => Box::pin(arguments.run(session)).await,
            Self::Diff(arguments) => Box::pin(arguments.run(session)).await,
            Self::Unlock(arguments) => arguments.run(session).await,
            Self::Pause(arguments) => arguments.run(session).await,
            Self::Promote(arguments) => arguments.run(session).await,
            Self::Status(arguments) => Box::pin(arguments.run(session)).await,
            Self::Logs(arguments) => arguments.run(session).await,
            Self::Open(arguments) => arguments.run(session).await,
            Self::Doctor(arguments) => Box::pin(arguments.run(session)).await,
            Self::Releases(arguments) => arguments.run(session).await,
            Self::History(arguments) => arguments.run(session).await,
            Self::Report(arguments) => arguments.run(session).await,
            Self::Dashboard(arguments) => Box::pin(arguments.run(session)).await,
            Self::Rehearse(arguments) => Box::pin(arguments.run(session)).await,
            Self::Destroy(arguments) => arguments.run(session).await,
        };
        done.map(|()| ExitCode::SUCCESS)
    }
}
