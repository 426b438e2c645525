//! `up`: checks the prerequisites, starts the daemon, and waits until it is ready. And `serve`, the daemon.

use super::{block_on, overview, print};
use crate::cli::{Home, UpArgs};
use crate::commands::down::end_leftovers;
use crate::daemon::{self, ENDPOINT_PORT, FORWARDS, Options};
use crate::engine::EngineKind;
use crate::error::{Context, Error, Result};
use crate::instance::{Layout, Phase, Record};
use crate::private_file;
use crate::process::ProcessId;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// Longer than the limit of the daemon for MiniStack, so that the daemon reports a timeout first.
const UP_LIMIT: Duration = Duration::from_secs(75);

/// Starts the local cloud, or reports that it already runs.
pub(crate) fn up(layout: &Layout, home: &Home, args: &UpArgs) -> Result<ExitCode> {
    if let Some(record) = Record::read(layout)?
        && record.daemon_alive()
    {
        let record = wait(layout, None)?;
        return report("The local cloud is already running.", &record, layout, home);
    }
    if args.no_internet && args.engine == EngineKind::Docker {
        return Err(Error::new(
            "--no-internet does not work with --engine docker: what tasks reach is up to the engine",
        )
        .hint("leave out one of the two"));
    }
    let python = args.python(home)?;
    check_python(&python, home)?;
    private_file::directory(layout.dir())?;
    end_leftovers(layout)?;
    let mut daemon = spawn(layout, &python, args)?;
    let record = wait(layout, Some(&mut daemon))?;
    if let Some(replaced) = replaced_ports(args, &record) {
        print(&format!("{replaced}\n"))?;
    }
    report("The local cloud is running.", &record, layout, home)
}

/// Runs the daemon in this process.
pub(crate) fn serve(layout: Layout, home: &Home, args: UpArgs) -> Result<ExitCode> {
    let filter = tracing_subscriber::EnvFilter::try_from_env("LOCAL_CLOUD_LOG");
    tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|_| "info,aws_smithy_runtime=error".into()))
        .with_ansi(false)
        .with_target(false)
        .init();
    let python = args.python(home)?;
    let owner = args
        .owner_pid
        .map(|pid| ProcessId::of(pid).ok_or_else(|| Error::new(format!("process {pid} (--owner-pid) does not exist"))));
    let options = Options {
        layout,
        python,
        endpoint_port: args.endpoint_port,
        forwards: args.forwards,
        engine: args.engine,
        host_ports: args.host_ports.clone(),
        internet: !args.no_internet,
        region: args.region,
        owner: owner.transpose()?,
    };
    block_on(daemon::serve(options))?;
    Ok(ExitCode::SUCCESS)
}

/// The line about default ports that were in use.
fn replaced_ports(args: &UpArgs, record: &Record) -> Option<String> {
    let endpoint = (args.endpoint_port.is_none() && record.endpoint_port != ENDPOINT_PORT).then_some(ENDPOINT_PORT);
    let forwards = FORWARDS.iter().filter(|default| args.forwards.is_empty() && !record.forwards.contains(default));
    let ports: Vec<String> =
        endpoint.into_iter().chain(forwards.map(|default| default.local)).map(|port| port.to_string()).collect();
    let (noun, verb) = if ports.len() == 1 { ("port", "is") } else { ("ports", "are") };
    (!ports.is_empty())
        .then(|| format!("The default {noun} {} {verb} in use, so free ports are used.", ports.join(", ")))
}

fn report(headline: &str, record: &Record, layout: &Layout, home: &Home) -> Result<ExitCode> {
    let mut lines = vec![headline.to_owned()];
    lines.extend(overview(record));
    lines.push(format!("  state, logs   {}", layout.dir().display()));
    let make = if home.project().is_some() { " or make VERB CLOUD=local" } else { "" };
    lines.push(format!("Use it: local-cloud exec -- COMMAND{make}. Stop it: local-cloud down"));
    print(&format!("{}\n", lines.join("\n")))?;
    Ok(ExitCode::SUCCESS)
}

/// Checks Python and its packages before anything is started, because they are often missing on a new machine.
fn check_python(python: &Path, home: &Home) -> Result<()> {
    let target = if home.project().is_some() { "make setup" } else { "make install" };
    let hint = format!("create the Python environment: run {target} in the folder of bluegreen");
    let shown = python.display();
    let script = "import importlib.util as u, sys\n\
                  print(' '.join(m for m in ('ministack', 'hypercorn', 'docker') if u.find_spec(m) is None))";
    let checked = Command::new(python).args(["-c", script]).stdin(Stdio::null()).output();
    let checked = checked
        .map_err(|error| Error::new(format!("cannot run {shown} (Python of MiniStack): {error}")).hint(hint.clone()))?;
    if !checked.status.success() {
        let why = String::from_utf8_lossy(&checked.stderr);
        return Err(Error::new(format!("{shown} failed: {}", why.trim())).hint(hint));
    }
    match String::from_utf8_lossy(&checked.stdout).trim() {
        "" => Ok(()),
        missing => Err(Error::new(format!("{shown} has no module {}", missing.replace(' ', ", "))).hint(hint)),
    }
}

fn spawn(layout: &Layout, python: &Path, args: &UpArgs) -> Result<Child> {
    let program = std::env::current_exe().context(|| "cannot find the file of this program".into())?;
    let log = layout.daemon_log();
    let file = private_file::create(&log)?;
    let errors = file.try_clone().context(|| format!("cannot write {}", log.display()))?;
    let mut command = Command::new(&program);
    command.arg("--state").arg(layout.dir()).arg("serve");
    if let Some(port) = args.endpoint_port {
        command.arg("--endpoint-port").arg(port.to_string());
    }
    for forward in &args.forwards {
        command.arg("--forward").arg(format!("{}:{}", forward.local, forward.listener));
    }
    for port in &args.host_ports {
        command.arg("--host-port").arg(port.to_string());
    }
    if args.no_internet {
        command.arg("--no-internet");
    }
    command.arg("--engine").arg(args.engine.to_string());
    command.arg("--region").arg(&args.region).arg("--python").arg(python);
    if let Some(pid) = args.owner_pid {
        command.arg("--owner-pid").arg(pid.to_string());
    }
    // The daemon must not keep the working directory busy.
    command.current_dir("/").stdin(Stdio::null()).stdout(file).stderr(errors);
    command.spawn().context(|| format!("cannot start {}", program.display()))
}

/// Waits until the daemon is ready or has failed.
fn wait(layout: &Layout, mut daemon: Option<&mut Child>) -> Result<Record> {
    let deadline = Instant::now() + UP_LIMIT;
    let mut pause = Duration::from_millis(10);
    loop {
        let ended = daemon.as_mut().and_then(|daemon| daemon.try_wait().ok().flatten());
        let ours =
            |record: &Record| daemon.as_ref().is_none_or(|daemon| u32::try_from(record.daemon.pid) == Ok(daemon.id()));
        if let Some(record) = Record::read(layout)?.filter(ours) {
            match &record.phase {
                Phase::Ready => return Ok(record),
                Phase::Failed(why) => return Err(Error::new(why.clone())),
                Phase::Starting if ended.is_none() && !record.daemon_alive() => {
                    return Err(Error::new("the daemon ended before it was ready").hint(log_hint(layout)));
                }
                Phase::Starting => {}
            }
        }
        if let Some(status) = ended {
            let log = std::fs::read_to_string(layout.daemon_log()).unwrap_or_default();
            let last = log.lines().filter_map(|line| line.strip_prefix("error: ")).next_back();
            return Err(match last {
                Some(message) => Error::new(message),
                None => Error::new(format!("the daemon ended at startup with {status}")).hint(log_hint(layout)),
            });
        }
        if Instant::now() >= deadline {
            return Err(Error::new(format!("the local cloud did not become ready within {} s", UP_LIMIT.as_secs()))
                .hint(log_hint(layout)));
        }
        std::thread::sleep(pause);
        pause = (pause * 3 / 2).min(Duration::from_millis(200));
    }
}

fn log_hint(layout: &Layout) -> String {
    format!("see {} and {}", layout.daemon_log().display(), layout.ministack_log().display())
}
