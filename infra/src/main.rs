//! The `bluegreen` command: parses, dispatches, and renders what comes back.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use cutover_lambda::Color;
use cutover_lambda::request::Op;
use infra::commands::{Context, cutover, dashboard, deploy, destroy, history, init, manual, report, status, synth};
use infra::deploy::Listener;
use infra::error::{Error, Result};
use infra::report::Format;
use infra::resources::values::StackName;
use infra::stack::Settings;
use infra::ui::{CutoverProgress, JsonLines, Lines, Style, render_error, render_runs, render_status};

/// The exit code of a program that SIGINT ended.
const INTERRUPTED: u8 = 130;

/// Blue/green deployment for Amazon ECS Fargate.
///
/// Two complete environments, blue and green, behind one load balancer. A new version goes to the idle one; a cutover
/// swaps them under probes, and back by itself if anyone would see a failure.
///
/// Exit codes: 0 done, 1 failed, 2 not understood, 3 refused (nothing was changed), 4 taken back.
#[derive(Debug, Parser)]
#[command(name = "bluegreen", version, max_term_width = 100)]
struct Cli {
    /// Name of the stack; the one in bluegreen.toml, or "bluegreen", where none is named.
    #[arg(long, global = true, env = "BLUEGREEN_STACK", value_parser = stack_name)]
    stack: Option<String>,
    /// The file with the settings; bluegreen.toml where none is named.
    #[arg(long, global = true, env = "BLUEGREEN_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print results as JSON, and progress as JSON lines.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Write a bluegreen.toml for a service that exists.
    Init(init::Arguments),
    /// Print the CloudFormation template.
    Synth,
    /// Build every version and the cutover function, and deploy nothing.
    Build,
    /// Make the stack and bring it up to date; with --version, deploy that version to the idle environment.
    Deploy(Deploy),
    /// Swap prod and dev, under probes.
    Cutover {
        /// The environment that becomes prod; the idle one where none is named.
        #[arg(long, value_parser = color)]
        to: Option<Color>,
        /// Say what would happen, and write nothing.
        #[arg(long)]
        plan: bool,
    },
    /// Swap back to where the last cutover came from, under probes.
    Rollback,
    /// Put the listeners in order after a cutover that was interrupted.
    Reconcile,
    /// Who is prod, who is dev, and what runs there.
    Status,
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
    /// Print the completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual.
    Man(manual::Arguments),
    /// Delete the stack and everything in it.
    Destroy {
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
struct Deploy {
    /// The version to deploy.
    #[arg(long)]
    version: Option<String>,
    /// The environment to deploy it to; the idle one where none is named.
    #[arg(long, value_parser = color, requires = "version")]
    color: Option<Color>,
    /// Deploy to the live environment too.
    #[arg(long)]
    force: bool,
    /// Execute changes that touch what users of prod go through.
    #[arg(long)]
    allow_live_changes: bool,
}

fn color(text: &str) -> Result<Color, String> {
    text.parse().map_err(|error: cutover_lambda::color::UnknownColor| error.to_string())
}

fn stack_name(text: &str) -> Result<String, String> {
    StackName::try_from(text).map(String::from).map_err(|error| error.to_string())
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let style = Style::of_stderr();
    let outcome = start(&cli, style);
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprint!("{}", render_error(&error, style));
            ExitCode::from(error.kind().exit_code())
        }
    }
}

fn start(cli: &Cli, style: Style) -> Result<ExitCode> {
    // What needs neither settings nor cloud, wherever it is run.
    let told = match &cli.verb {
        Verb::Completions { shell } => Some(manual::completions(&mut Cli::command(), *shell)?),
        Verb::Init(arguments) => Some(init::run(arguments)?),
        Verb::Man(arguments) => Some(manual::man(Cli::command(), arguments)?.unwrap_or_default()),
        _ => None,
    };
    if let Some(text) = told {
        print_text(&text)?;
        return Ok(ExitCode::SUCCESS);
    }
    let settings = Settings::load(cli.config.as_deref())?;
    if matches!(cli.verb, Verb::Synth) {
        print_text(&synth::pretty(&settings)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let listener: Arc<dyn Listener> = if cli.json { Arc::new(JsonLines) } else { Arc::new(Lines::new(style)) };
    let context = Context::new(cli.stack.clone().unwrap_or_else(|| settings.stack_name()), settings, listener);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Error::failed("cannot start").because(error))?;
    runtime.block_on(async {
        tokio::select! {
            result = dispatch(cli, &context) => result.map(|()| ExitCode::SUCCESS),
            () = interrupted() => {
                let state = context.after_interruption().await;
                eprintln!("\n{}", farewell(&cli.verb, state.as_deref()));
                Ok(ExitCode::from(INTERRUPTED))
            }
        }
    })
}

/// Waits for Ctrl-C or SIGTERM.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

/// What an interruption leaves behind.
fn farewell(verb: &Verb, state: Option<&str>) -> String {
    let state = state.map_or_else(String::new, |state| format!(" The stack is in {state}."));
    match verb {
        Verb::Deploy(_) | Verb::Destroy { .. } => format!(
            "interrupted.{state} What CloudFormation has begun it finishes by itself; run the same command again to \
             follow it and go on from there. No traffic was moved."
        ),
        Verb::Cutover { .. } | Verb::Rollback | Verb::Reconcile => {
            "interrupted. The cutover goes on without this command: bluegreen status shows how it ends.".to_owned()
        }
        _ => "interrupted.".to_owned(),
    }
}

async fn dispatch(cli: &Cli, context: &Context) -> Result<()> {
    match &cli.verb {
        Verb::Synth | Verb::Init(_) | Verb::Completions { .. } | Verb::Man(_) => Ok(()),
        Verb::Build => deploy::build(context).await,
        Verb::Deploy(arguments) => Box::pin(run_deploy(cli, context, arguments)).await,
        Verb::Cutover { to, plan } => {
            let op = if *plan { Op::Plan } else { Op::Cutover };
            run_cutover(cli, context, op, *to).await
        }
        Verb::Rollback => run_cutover(cli, context, Op::Rollback, None).await,
        Verb::Reconcile => run_cutover(cli, context, Op::Reconcile, None).await,
        Verb::Status => {
            let status = Box::pin(status::run(context)).await?;
            if cli.json { print_json(&status) } else { print_text(&render_status(&status, Style::of_stdout())) }
        }
        Verb::History { limit } => {
            let runs = history::run(context, *limit).await?;
            if cli.json { print_json(&runs) } else { print_text(&render_runs(&runs, Style::of_stdout())) }
        }
        Verb::Dashboard(arguments) => {
            let ready = |url: &str| {
                let text = if cli.json { serde_json::json!({ "url": url }).to_string() } else { url.to_owned() };
                print_text(&format!("{text}\n"))
            };
            Box::pin(dashboard::run(context, arguments, ready)).await
        }
        Verb::Report(arguments) => {
            let otherwise = if cli.json { Format::Json } else { Format::Html };
            report::run(context, arguments, otherwise).await?.map_or(Ok(()), |text| print_text(&text))
        }
        Verb::Destroy { yes } => run_destroy(context, *yes).await,
    }
}

async fn run_deploy(cli: &Cli, context: &Context, arguments: &Deploy) -> Result<()> {
    let request = deploy::Request {
        version: arguments.version.clone(),
        color: arguments.color,
        force: arguments.force,
        allow_live_changes: arguments.allow_live_changes,
    };
    let deployed = deploy::run(context, &request).await?;
    if cli.json {
        return print_json(&Box::pin(status::run(context)).await?);
    }
    let style = Style::of_stdout();
    let mut text = String::new();
    for (name, color, url) in
        [("prod", deployed.traffic.prod, &deployed.prod_url), ("dev", deployed.traffic.dev, &deployed.dev_url)]
    {
        let what = color.map_or_else(
            || format!("{:<12}", "?"),
            |color| style.environment(color, &format!("{:<12}", format!("{color} v{}", deployed.versions.of(color)))),
        );
        text.push_str(&format!("{name:<5} {what}{url}\n"));
    }
    print_text(&text)
}

async fn run_cutover(cli: &Cli, context: &Context, op: Op, to: Option<Color>) -> Result<()> {
    let mut progress = CutoverProgress::new(Style::of_stderr());
    let record = cutover::run(context, op, to, &mut progress).await?;
    if cli.json {
        print_json(&record)?;
    }
    match cutover::verdict(&record) {
        Some(error) => Err(error),
        None if cli.json => Ok(()),
        None => print_text(&format!("{}\n", record.message)),
    }
}

async fn run_destroy(context: &Context, yes: bool) -> Result<()> {
    let Some(target) = destroy::target(context).await? else {
        eprintln!("there is no stack {}: nothing to delete", context.stack);
        return Ok(());
    };
    if !yes {
        let live = target.traffic.and_then(|traffic| traffic.prod);
        let mut question = format!(
            "This deletes stack {} ({}) with its load balancer, services, images, logs and the record of its cutovers.",
            target.stack.name, target.stack.status
        );
        if let (Some(url), Some(live)) = (&target.prod_url, live) {
            question.push_str(&format!("\nUsers of {url} are served by {live} now and will get no answer any more."));
        }
        confirm(&question)?;
    }
    destroy::run(context).await
}

/// Asks on the terminal; without one, nobody can have agreed.
fn confirm(question: &str) -> Result<()> {
    if !std::io::stdin().is_terminal() {
        return Err(Error::refused("this needs a person's word, and there is no terminal to ask on")
            .hint("where it is meant: add --yes (YES=1 with make)"));
    }
    eprint!("{question}\nGo ahead? [y/N] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(|error| Error::failed("cannot read the answer").because(error))?;
    if matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(Error::refused("nothing was deleted")) }
}

fn print_json(value: &impl serde::Serialize) -> Result<()> {
    let text =
        serde_json::to_string_pretty(value).map_err(|error| Error::failed("cannot write JSON").because(error))?;
    print_text(&format!("{text}\n"))
}

/// Prints. A reader that has gone (`| head`) has seen what it wanted.
fn print_text(text: &str) -> Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::failed("cannot write to standard output").because(error))
        }
        _ => Ok(()),
    }
}
