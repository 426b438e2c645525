//! The command line: every verb with its arguments, and the rules that text has to follow. Must not do anything.

use std::path::PathBuf;
use std::time::Duration;

use crate::cutover_args::{CutoverArgs, RollbackArgs};
use cfn_kit::resources::values::StackName;
use clap::{Args, Parser, Subcommand, ValueEnum};
use infra::commands::{dashboard, function, graph, init, logs, manual, open, rehearse, report};
use infra::deploy;
use infra::error::Result;
use model::Color;
use stack::values::ImageName;

/// Blue/green deployment for Amazon ECS Fargate.
///
/// Two complete environments, blue and green, behind one load balancer. A new version goes to the idle one; a cutover
/// swaps them under probes, and back by itself if anyone would see a failure.
///
/// Exit codes: 0 done, 1 failed, 2 not understood, 3 refused (nothing was changed), 4 taken back.
#[derive(Debug, Parser)]
#[command(name = "bluegreen", version, max_term_width = 100)]
pub struct Cli {
    /// Name of the stack; the one in bluegreen.toml, or "bluegreen", where none is named.
    #[arg(long, global = true, env = "BLUEGREEN_STACK", value_parser = stack_name)]
    pub stack: Option<String>,
    /// The file with the settings; bluegreen.toml where none is named.
    #[arg(long, global = true, env = "BLUEGREEN_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print results as JSON, and progress as JSON lines.
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Write a bluegreen.toml for a service that exists.
    Init(init::Arguments),
    /// Print the CloudFormation template.
    Synth,
    /// Draw the architecture, from the template.
    Graph(graph::Arguments),
    /// Build every version and the cutover function, and deploy nothing.
    Build,
    /// Write the cutover function's zip to a file, for machines that cannot build it.
    Function(function::Arguments),
    /// Make the stack and bring it up to date; with --version, deploy that version to the idle environment.
    Deploy(Deploy),
    /// What a deployment would do, without doing it.
    Diff(Target),
    /// Swap prod and dev, under probes.
    Cutover(Box<CutoverArgs>),
    /// Swap back to where the last cutover came from, under probes.
    Rollback(Box<RollbackArgs>),
    /// Put the listeners in order after a cutover that was interrupted.
    Reconcile {
        /// The environment that prod is meant to be, if somebody moved it by hand; else what the record of cutovers says.
        #[arg(long, value_parser = color)]
        to: Option<Color>,
        /// Wait while a deployment or another cutover is under way, instead of refusing. One that is dead is waited for
        /// anyway.
        #[arg(long)]
        wait: bool,
    },
    /// Break the lock that a deployment or cutover holds, if its holder is dead or must not go on.
    Unlock {
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Stop the run that moves traffic, and send users back to where they were.
    Abort(Steering),
    /// Keep a shift at its step, until it is promoted or aborted.
    Pause(Steering),
    /// Go on with the next step of a shift at once.
    Promote(Steering),
    /// Who is prod, who is dev, and what runs there.
    Status {
        /// Look again every two seconds, until interrupted.
        #[arg(long)]
        watch: bool,
    },
    /// What an environment or the cutover function has written to its log.
    Logs {
        /// Whose log.
        #[arg(value_enum)]
        source: Source,
        /// Go on with what is written from now on, until interrupted.
        #[arg(long, short)]
        follow: bool,
        /// How far back, for example 30s, 10m, 2h.
        #[arg(long, default_value = "10m", value_parser = duration)]
        since: Duration,
    },
    /// Print the URL of prod or dev, and open it in a browser where there is one.
    Open {
        /// Which of the two.
        #[arg(value_enum)]
        site: Site,
    },
    /// Look whether everything is there that a deployment or cutover needs, and say what to do about the rest.
    Doctor,
    /// What was deployed to which environment, also what did not come up.
    Releases {
        /// How many, the newest first.
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// The cutovers so far.
    History {
        /// How many, the newest first.
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// One run as a page with a chart, as Markdown, or as JSON.
    Report(report::Arguments),
    /// A page on this machine that shows both environments, follows a cutover live, and can start one.
    Dashboard(dashboard::Arguments),
    /// Release an image on a local cloud of its own, under the load of users, and tell what they would have seen.
    Rehearse(Box<rehearse::Arguments>),
    /// Print the completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual.
    Man(manual::Arguments),
    /// Delete the stack and everything in it.
    Destroy {
        /// Do not ask. A stack that serves users, or is protected against deletion, needs --confirm.
        #[arg(long)]
        yes: bool,
        /// The name of the stack, instead of typing it: do not ask, whatever the stack serves, and switch off its
        /// termination protection.
        #[arg(long, value_name = "NAME", value_parser = stack_name)]
        confirm: Option<String>,
        /// If an earlier deletion failed: leave this resource behind (a logical id; may be repeated).
        #[arg(long, value_name = "ID")]
        retain: Vec<String>,
    },
}

impl Verb {
    /// Whether it depends on what the file with the settings says beside the stack's name and region. Whoever looks at a stack
    /// or undoes a release must not be kept from it by the file that describes the next one.
    pub const fn needs_settings(&self) -> bool {
        matches!(
            self,
            Self::Synth
                | Self::Graph(_)
                | Self::Build
                | Self::Function(_)
                | Self::Deploy(_)
                | Self::Diff(_)
                | Self::Cutover(_)
                | Self::Doctor
                | Self::Rehearse(_)
        )
    }
}

/// Which run is told something.
#[derive(Debug, Args)]
pub struct Steering {
    /// Id of the run; the one that is under way if none is named.
    #[arg(long, value_name = "RUN")]
    pub id: Option<String>,
}

/// What is deployed where.
#[derive(Debug, Args)]
pub struct Target {
    /// The version to deploy.
    #[arg(long)]
    pub version: Option<String>,
    /// The image to deploy as that version, instead of what bluegreen.toml names: in a registry, or an archive.
    #[arg(long, value_parser = image, requires = "version")]
    pub image: Option<ImageName>,
    /// The environment to deploy it to; the idle one where none is named.
    #[arg(long, value_parser = color, requires = "version")]
    pub color: Option<Color>,
    /// Deploy to the live environment too.
    #[arg(long)]
    pub force: bool,
    /// Refuse (exit code 3) where anything would change.
    #[arg(long)]
    pub expect_no_changes: bool,
}

#[derive(Debug, Args)]
pub struct Deploy {
    #[command(flatten)]
    pub target: Target,
    /// Do not ask before something is replaced, removed or opened.
    #[arg(long)]
    pub yes: bool,
    /// Wait for a cutover or deployment that is under way, instead of refusing.
    #[arg(long)]
    pub wait: bool,
    /// What to do about an update that will not succeed; on a terminal it is asked, elsewhere it is cancelled.
    #[arg(long, value_enum)]
    pub on_failure: Option<OnFailure>,
    /// Execute changes that touch what users of prod go through.
    #[arg(long)]
    pub allow_live_changes: bool,
    /// Where the last update could not be taken back: leave this resource as it is (a logical id; may be repeated).
    #[arg(long, value_name = "ID")]
    pub skip: Vec<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum OnFailure {
    /// Ask.
    Ask,
    /// Cancel the update: the stack goes back to what it was.
    Cancel,
    /// Leave it to CloudFormation and ECS.
    Wait,
}

impl From<OnFailure> for deploy::OnFailure {
    fn from(on_failure: OnFailure) -> Self {
        match on_failure {
            OnFailure::Ask => Self::Ask,
            OnFailure::Cancel => Self::Cancel,
            OnFailure::Wait => Self::Wait,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Source {
    /// The blue environment.
    Blue,
    /// The green environment.
    Green,
    /// The environment that users see.
    Prod,
    /// The environment that is tried.
    Dev,
    /// The cutover function.
    Cutover,
}

impl From<Source> for logs::Source {
    fn from(source: Source) -> Self {
        match source {
            Source::Blue => Self::Environment(Color::Blue),
            Source::Green => Self::Environment(Color::Green),
            Source::Prod => Self::Prod,
            Source::Dev => Self::Dev,
            Source::Cutover => Self::Cutover,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Site {
    /// What users see.
    Prod,
    /// Where the next version is tried.
    Dev,
}

impl From<Site> for open::Site {
    fn from(site: Site) -> Self {
        match site {
            Site::Prod => Self::Prod,
            Site::Dev => Self::Dev,
        }
    }
}

/// A time such as `90s` or `1h 30m`.
fn duration(text: &str) -> Result<Duration, String> {
    let duration: jiff::SignedDuration = text.parse().map_err(|_| "write it as 30s, 10m or 2h".to_owned())?;
    Duration::try_from(duration).map_err(|_| "a time cannot be negative".to_owned())
}

fn color(text: &str) -> Result<Color, String> {
    text.parse().map_err(|error: model::color::UnknownColor| error.to_string())
}

fn image(text: &str) -> Result<ImageName, String> {
    ImageName::try_from(text).map_err(|error| error.to_string())
}

fn stack_name(text: &str) -> Result<String, String> {
    StackName::try_from(text).map(String::from).map_err(|error| error.to_string())
}
