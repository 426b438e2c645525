//! The verbs of the `bluegreen` command, one file each: arguments, work and output. A new verb is a file, and here its entry in
//! [`Verb`] and its line in [`Verb::run`].

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
mod publish;
pub mod reconcile;
pub mod rehearse;
pub mod releases;
pub mod report;
pub mod rollback;
pub mod status;
pub mod synth;
pub mod unlock;

use std::process::ExitCode;

pub use crate::context::{Agreed, Confirmation, Context, Nobody};
use crate::error::Result;
use crate::session::Session;

/// What the command is asked to do.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Write a bluegreen.toml for a service that exists.
    Init(init::Args),
    /// Print the CloudFormation template.
    Synth(synth::Args),
    /// Draw the architecture, from the template.
    Graph(graph::Args),
    /// Build every version and the cutover function, and deploy nothing.
    Build(build::Args),
    /// Write the cutover function's zip to a file, for machines that cannot build it.
    Function(function::Args),
    /// Make the stack and bring it up to date; with --version, deploy that version to the idle environment.
    Deploy(deploy::Args),
    /// What a deployment would do, without doing it.
    Diff(diff::Args),
    /// Swap prod and dev, under probes.
    Cutover(Box<cutover::Args>),
    /// Swap back to where the last cutover came from, under probes.
    Rollback(Box<rollback::Args>),
    /// Put the listeners in order after a cutover that was interrupted.
    Reconcile(reconcile::Args),
    /// Break the lock that a deployment or cutover holds, if its holder is dead or must not go on.
    Unlock(unlock::Args),
    /// Stop the run that moves traffic, and send users back to where they were.
    Abort(abort::Args),
    /// Keep a shift at its step, until it is promoted or aborted.
    Pause(pause::Args),
    /// Go on with the next step of a shift at once.
    Promote(promote::Args),
    /// Who is prod, who is dev, and what runs there.
    Status(status::Args),
    /// What an environment or the cutover function has written to its log.
    Logs(logs::Args),
    /// Print the URL of prod or dev, and open it in a browser where there is one.
    Open(open::Args),
    /// Look whether everything is there that a deployment or cutover needs, and say what to do about the rest.
    Doctor(doctor::Args),
    /// What was deployed to which environment, also what did not come up.
    Releases(releases::Args),
    /// The cutovers so far.
    History(history::Args),
    /// One run as a page with a chart, as Markdown, or as JSON.
    Report(report::Args),
    /// A page on this machine that shows both environments, follows a cutover live, and can start one.
    Dashboard(dashboard::Args),
    /// Release an image on a local cloud of its own, under the load of users, and tell what they would have seen.
    Rehearse(Box<rehearse::Args>),
    /// Print the completions for a shell.
    Completions(manual::CompletionsArgs),
    /// Print the manual.
    Man(manual::Args),
    /// Delete the stack and everything in it.
    Destroy(destroy::Args),
}

/// How much of the file with the settings a verb depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// None of it.
    Nothing,
    /// The stack's name and region. Whoever looks at a stack or rolls back must not depend on the file that describes the next
    /// release.
    Identity,
    /// All of it.
    Settings,
}

impl Verb {
    /// How much of the file with the settings it depends on.
    pub const fn needs(&self) -> Needs {
        match self {
            Self::Init(_) | Self::Completions(_) | Self::Man(_) => Needs::Nothing,
            Self::Synth(_)
            | Self::Graph(_)
            | Self::Build(_)
            | Self::Function(_)
            | Self::Deploy(_)
            | Self::Diff(_)
            | Self::Cutover(_)
            | Self::Doctor(_)
            | Self::Rehearse(_) => Needs::Settings,
            _ => Needs::Identity,
        }
    }

    /// Changes the context before anybody shares it.
    pub fn prepare(&self, session: &mut Session) {
        match self {
            Self::Deploy(arguments) => arguments.prepare(session),
            Self::Diff(arguments) => arguments.prepare(session),
            _ => {}
        }
    }

    /// Whether its steps are programs that draw on the terminal themselves: a live screen would be in their way.
    pub const fn draws_itself(&self) -> bool {
        matches!(self, Self::Rehearse(_))
    }

    /// Whether it gives Ctrl-C a meaning of its own.
    pub const fn handles_interrupts(&self) -> bool {
        matches!(
            self,
            Self::Cutover(_)
                | Self::Rollback(_)
                | Self::Reconcile(_)
                | Self::Abort(_)
                | Self::Pause(_)
                | Self::Promote(_)
        )
    }

    /// What an interruption leaves behind, if the stack is in this state.
    pub fn interrupted(&self, state: Option<&str>) -> String {
        let state = state.map_or_else(String::new, |state| format!(" The stack is in {state}."));
        match self {
            Self::Deploy(_) | Self::Destroy(_) => format!(
                "interrupted.{state} What CloudFormation has begun it finishes by itself; run the same command again to \
                 follow it and go on from there. No traffic was moved."
            ),
            Self::Rehearse(_) => {
                "interrupted. The rehearsal's local cloud ends with it; nothing else was touched.".to_owned()
            }
            _ => "interrupted.".to_owned(),
        }
    }

    /// Does it, if it needs neither settings nor cloud; `None` if it does.
    pub fn run_alone(&self) -> Option<Result<()>> {
        match self {
            Self::Init(arguments) => Some(arguments.run()),
            Self::Completions(arguments) => Some(arguments.run()),
            Self::Man(arguments) => Some(arguments.run()),
            _ => None,
        }
    }

    /// Does it.
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
