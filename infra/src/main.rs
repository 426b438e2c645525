//! The `bluegreen` command: parses, dispatches, and renders what comes back.

mod ask;
mod cli;
mod cutover_args;
mod interrupt;
mod traffic;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use ask::{Choice, Person};
use clap::{CommandFactory as _, Parser as _};
use cli::{Cli, Deploy, Target, Verb};
use infra::commands::destroy::Consent;
use infra::commands::{
    Agreed, Context, dashboard, deploy, destroy, doctor, function, graph, history, init, logs, manual, open, rehearse,
    releases, report, status, synth, unlock,
};
use infra::deploy::{Control, Listener, OnFailure, Stage};
use infra::error::{Error, Result};
use infra::report::Format;
use infra::requests::Meter;
use infra::ui::{
    JsonLines, Keyboard, Lines, Screen, Style, render_checks, render_error, render_history, render_plan,
    render_releases, render_status,
};
use interrupt::{INTERRUPTED, Signal, Signals};
use stack::Settings;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let style = Style::of_stderr();
    match start(&cli, style) {
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
    let (mut settings, problem) = if cli.verb.needs_settings() {
        (Settings::load(cli.config.as_deref())?, None)
    } else {
        Settings::load_identity(cli.config.as_deref())
    };
    if let Verb::Diff(target) | Verb::Deploy(Deploy { target, .. }) = &cli.verb
        && let Some(image) = &target.image
    {
        settings.app.image = Some(image.clone());
    }
    if matches!(cli.verb, Verb::Synth) {
        let template = synth::template(&settings)?;
        print_text(&synth::text(&template)?)?;
        for note in synth::notes(&template) {
            eprintln!("note: {note}");
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Verb::Graph(arguments) = &cli.verb {
        graph::run(&settings, arguments)?.map_or(Ok(()), |text| print_text(&text))?;
        return Ok(ExitCode::SUCCESS);
    }
    // A rehearsal's steps are programs that show themselves: there, a screen would be in their way.
    let shows_itself = matches!(cli.verb, Verb::Rehearse(_));
    let screen = if cli.json || shows_itself { None } else { Screen::on_stderr(style) };
    let listener: Arc<dyn Listener> = match &screen {
        _ if cli.json => Arc::new(JsonLines),
        Some(screen) => Arc::<Screen>::clone(screen),
        None => Arc::new(Lines::new(style)),
    };
    let stack = cli.stack.clone().unwrap_or_else(|| settings.stack_name());
    if let Some(problem) = problem {
        listener.warn(format!("{}; it works on stack {stack} all the same", in_a_line(&problem.into())));
    }
    let mut context = Context::new(stack, settings, listener);
    let person = Person { keyboard: Arc::default(), screen, style };
    if let Verb::Deploy(deploy) = &cli.verb {
        let on_failure = if Keyboard::is_there() { OnFailure::Ask } else { OnFailure::Cancel };
        context.control = Control::new(deploy.on_failure.map_or(on_failure, Into::into));
        if deploy.yes {
            context.confirmation = Arc::new(Agreed);
        } else if Keyboard::is_there() {
            let (keyboard, screen) = (Arc::clone(&person.keyboard), person.screen.clone());
            context.confirmation = Arc::new(Person { keyboard, screen, style });
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Error::failed("cannot start").because(error))?;
    let result = runtime.block_on(to_the_end(cli, &context, &person));
    // A question that nobody answered must not keep the command from ending.
    runtime.shutdown_background();
    result
}

/// What is wrong with the file with the settings: where, and why.
fn in_a_line(problem: &Error) -> String {
    let lines: Vec<&str> = problem.causes().first().map_or(Vec::new(), |cause| cause.lines().collect());
    let (place, why) = (lines.first().copied().unwrap_or_default(), lines.last().copied().unwrap_or_default());
    let told = if place == why { place.to_owned() } else { format!("{place}: {}", why.trim()) };
    format!("{}: {told}", problem.message())
}

/// Runs the verb to its end, or until somebody leaves it to itself.
async fn to_the_end(cli: &Cli, context: &Context, person: &Person) -> Result<ExitCode> {
    let mut signals = Signals::listen()?;
    if let Some(moves) = traffic::Moves::of(&cli.verb) {
        return Box::pin(traffic::run(moves, cli.json, context, &mut signals)).await;
    }
    let mut work = std::pin::pin!(dispatch(cli, context, person));
    let mut asked = false;
    loop {
        let why = tokio::select! {
            result = &mut work => return result.map(|()| ExitCode::SUCCESS),
            signal = signals.next() => {
                let stage = context.control.stage();
                if signal == Signal::Terminate || stage == Stage::Before || !Keyboard::is_there() {
                    return Ok(leave(cli, context, person).await);
                }
                None
            }
            why = context.control.asked(), if !asked => Some(why),
        };
        asked |= why.is_some();
        let choice = tokio::select! {
            result = &mut work => return result.map(|()| ExitCode::SUCCESS),
            choice = person.choose(context.control.stage(), why.as_deref()) => choice,
            // Whoever presses it twice wants to be gone.
            _ = signals.next() => Choice::Detach,
        };
        match choice {
            Choice::Cancel => context.control.cancel(),
            Choice::Detach => return Ok(leave(cli, context, person).await),
            Choice::GoOn => {}
        }
    }
}

/// Leaves what is under way to itself, and says what that means.
async fn leave(cli: &Cli, context: &Context, person: &Person) -> ExitCode {
    if let Some(screen) = &person.screen {
        screen.hold();
    }
    let state = context.after_interruption().await;
    eprintln!("\n{}", farewell(&cli.verb, state.as_deref()));
    ExitCode::from(INTERRUPTED)
}

/// What an interruption leaves behind.
fn farewell(verb: &Verb, state: Option<&str>) -> String {
    let state = state.map_or_else(String::new, |state| format!(" The stack is in {state}."));
    match verb {
        Verb::Deploy(_) | Verb::Destroy { .. } => format!(
            "interrupted.{state} What CloudFormation has begun it finishes by itself; run the same command again to \
             follow it and go on from there. No traffic was moved."
        ),
        Verb::Rehearse(_) => {
            "interrupted. The rehearsal's local cloud ends with it; nothing else was touched.".to_owned()
        }
        _ => "interrupted.".to_owned(),
    }
}

async fn dispatch(cli: &Cli, context: &Context, person: &Person) -> Result<()> {
    match &cli.verb {
        // Done before, without a cloud, or with their own meaning of Ctrl-C.
        Verb::Synth
        | Verb::Graph(_)
        | Verb::Init(_)
        | Verb::Completions { .. }
        | Verb::Man(_)
        | Verb::Cutover(_)
        | Verb::Rollback(_)
        | Verb::Reconcile { .. }
        | Verb::Abort(_)
        | Verb::Pause(_)
        | Verb::Promote(_) => Ok(()),
        Verb::Build => deploy::build(context).await,
        Verb::Function(arguments) => function::run(context, arguments).await,
        Verb::Deploy(arguments) => Box::pin(run_deploy(cli, context, arguments)).await,
        Verb::Diff(target) => Box::pin(run_diff(cli, context, target)).await,
        Verb::Unlock { yes } => run_unlock(cli, context, person, *yes).await,
        Verb::Status { watch } => Box::pin(show_status(cli, context, *watch)).await,
        Verb::Logs { source, follow, since } => {
            let request = logs::Request { source: (*source).into(), since: *since, follow: *follow };
            show_logs(cli, context, request).await
        }
        Verb::Open { site } => {
            let url = open::url(context, (*site).into()).await?;
            print_text(&format!("{url}\n"))?;
            if std::io::stdout().is_terminal() && !open::in_browser(&url) {
                eprintln!("there is no browser to open it with here");
            }
            Ok(())
        }
        Verb::Doctor => {
            let checks = Box::pin(doctor::run(context)).await;
            if cli.json {
                print_json(&checks)?;
            } else {
                print_text(&render_checks(&checks, Style::of_stdout()))?;
            }
            doctor::verdict(&checks).map_or(Ok(()), Err)
        }
        Verb::Releases { limit } => {
            let releases = releases::run(context, *limit).await?;
            if cli.json { print_json(&releases) } else { print_text(&render_releases(&releases, Style::of_stdout())) }
        }
        Verb::History { limit } => {
            let runs = history::run(context, *limit).await?;
            if cli.json { print_json(&runs) } else { print_text(&render_history(&runs, Style::of_stdout())) }
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
        Verb::Rehearse(arguments) => Box::pin(run_rehearsal(cli, context, arguments)).await,
        Verb::Destroy { yes, confirm, retain } => run_destroy(context, person, *yes, confirm.as_deref(), retain).await,
    }
}

/// Between two looks of `status --watch`.
const WATCH: Duration = Duration::from_secs(2);

async fn show_status(cli: &Cli, context: &Context, watch: bool) -> Result<()> {
    if !watch {
        let status = Box::pin(status::run(context, &mut Meter::default())).await?;
        return if cli.json { print_json(&status) } else { print_text(&render_status(&status, Style::of_stdout())) };
    }
    let (mut before, mut meter) = (String::new(), Meter::default());
    loop {
        let text = match Box::pin(status::run(context, &mut meter)).await {
            Ok(status) if cli.json => serde_json::to_string(&status)
                .map(|text| text + "\n")
                .map_err(|error| Error::failed("cannot write JSON").because(error))?,
            Ok(status) => render_status(&status, Style::of_stdout()),
            // Whoever watches sees that it is unreachable, and when it is there again.
            Err(error) if error.is_transient() => render_error(&error, Style::of_stdout()),
            Err(error) => return Err(error),
        };
        if text != before {
            // On a terminal it stays in its place; elsewhere each change is told.
            let clear = if std::io::stdout().is_terminal() && !cli.json { "\x1b[H\x1b[2J" } else { "" };
            print_text(&format!("{clear}{text}"))?;
            before = text;
        }
        tokio::time::sleep(WATCH).await;
    }
}

async fn show_logs(cli: &Cli, context: &Context, request: logs::Request) -> Result<()> {
    let style = Style::of_stdout();
    let json = cli.json;
    let mut print = move |line: &logs::Line| {
        if json {
            let text = serde_json::to_string(line);
            return print_text(&(text.map_err(|error| Error::failed("cannot write JSON").because(error))? + "\n"));
        }
        let head = format!("{} {}", line.time.strftime("%H:%M:%S"), line.stream);
        // What a program writes may hold anything; its control characters stay out of the reader's terminal.
        let text: String =
            line.text.chars().map(|it| if it.is_control() && it != '\t' { '\u{fffd}' } else { it }).collect();
        print_text(&format!("{} {text}\n", style.dim(&head)))
    };
    logs::run(context, request, &mut print).await
}

fn request(target: &Target) -> deploy::Request {
    deploy::Request {
        version: target.version.clone(),
        color: target.color,
        allowed: deploy::Allowed { live_version: target.force, live_changes: false },
        expect_no_changes: target.expect_no_changes,
        ..deploy::Request::default()
    }
}

async fn run_diff(cli: &Cli, context: &Context, target: &Target) -> Result<()> {
    let plan = Box::pin(deploy::diff(context, &request(target))).await?;
    if cli.json { print_json(&plan) } else { print_text(&render_plan(&plan, Style::of_stdout())) }
}

async fn run_deploy(cli: &Cli, context: &Context, arguments: &Deploy) -> Result<()> {
    let request = deploy::Request {
        allowed: deploy::Allowed { live_version: arguments.target.force, live_changes: arguments.allow_live_changes },
        wait: arguments.wait,
        skip: arguments.skip.clone(),
        ..request(&arguments.target)
    };
    let deployed = Box::pin(deploy::run(context, &request)).await?;
    if cli.json {
        return print_json(&Box::pin(status::run(context, &mut Meter::default())).await?);
    }
    let style = Style::of_stdout();
    let mut text = String::new();
    for (name, color, url) in [
        ("prod", deployed.traffic.prod_color(), &deployed.prod_url),
        ("dev", deployed.traffic.dev_color(), &deployed.dev_url),
    ] {
        let what = color.map_or_else(
            || format!("{:<12}", "?"),
            |color| style.environment(color, &format!("{:<12}", format!("{color} v{}", deployed.versions.of(color)))),
        );
        text.push_str(&format!("{name:<5} {what}{url}\n"));
    }
    print_text(&text)
}

async fn run_rehearsal(cli: &Cli, context: &Context, arguments: &rehearse::Arguments) -> Result<()> {
    let order = cutover_args::of_rehearsal(&arguments.cutover)?;
    let rehearsal = rehearse::run(context, arguments, &order.request, cli.json).await?;
    if cli.json {
        print_json(&rehearsal)?;
    } else {
        print_text(&infra::rehearse::text::terminal(&rehearsal, Style::of_stdout()))?;
    }
    infra::rehearse::verdict::error(&rehearsal).map_or(Ok(()), Err)
}

async fn run_unlock(cli: &Cli, context: &Context, person: &Person, yes: bool) -> Result<()> {
    let Some(lock) = unlock::look(context).await? else {
        let stack = context.stack.clone();
        let free = unlock::Unlocked { stack, holder: None, interrupted: Vec::new() };
        return if cli.json {
            print_json(&free)
        } else {
            print_text(&format!("nobody holds the lock of stack {}: it is free\n", context.stack))
        };
    };
    if !yes {
        person.agree_to(&lock.question(), "the lock was not broken").await?;
    }
    let unlocked = lock.break_it().await?;
    if cli.json { print_json(&unlocked) } else { print_text(&unlocked.text()) }
}

async fn run_destroy(
    context: &Context,
    person: &Person,
    yes: bool,
    confirm: Option<&str>,
    retain: &[String],
) -> Result<()> {
    let Some(target) = destroy::target(context).await? else {
        eprintln!("there is no stack {}: nothing to delete", context.stack);
        return Ok(());
    };
    let name = &target.stack.name;
    let consent = match confirm {
        Some(given) if given == name => Consent::Named,
        Some(given) => {
            return Err(Error::usage(format!("--confirm {given} is not the name of the stack"))
                .because(format!("the stack is {name}"))
                .hint(format!("if it is meant: --confirm {name}")));
        }
        None if yes && !target.needs_name() => Consent::Yes,
        None => person.consent(&target).await?,
    };
    destroy::run(context, retain, consent).await
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
