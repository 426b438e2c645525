//! The sample app compared with an app in Go with the same pages: time from container start to first answer, requests
//! per second on one core with the client on another, and memory after the load.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use infra::error::{Doing as _, Error, Result};

use super::MIB;
use crate::bench::{Bench, Findings};
use crate::figures::Figures;
use crate::process::{Running, first_answer, free_port, output};
use crate::row::{Row, Target};
use crate::tools::{self, program};
use crate::unit::Unit;

/// The number of starts of each server.
const STARTS: usize = 20;
/// The duration of a run of `wrk`.
const LOAD: Duration = Duration::from_secs(2);
const PAGES: [(&str, f64); 2] = [("/api", 1.4), ("/", 4.0)];
/// The user of the images.
const USER: &str = "65532";

/// A server under test.
#[derive(Debug)]
struct Server {
    program: PathBuf,
    starts: Vec<f64>,
    /// Requests per second, by page.
    rates: [Vec<f64>; 2],
    memory: Vec<f64>,
}

impl Server {
    /// A copy of the program in a folder that becomes its root directory, as in a container.
    fn new(program: &Path, root: &Path) -> Result<Self> {
        let copy = root.join("server");
        std::fs::copy(program, &copy).doing(|| format!("copy {}", program.display()))?;
        Ok(Self { program: copy, starts: Vec::new(), rates: [Vec::new(), Vec::new()], memory: Vec::new() })
    }

    /// Starts it on this port, on the first core if `taskset` is available.
    fn command(&self, port: u16, pin: bool) -> Command {
        let root = self.program.parent().unwrap_or(Path::new("/"));
        let mut words: Vec<String> = Vec::new();
        if pin {
            words.extend(["taskset", "--cpu-list", "0"].map(str::to_owned));
        }
        // The change of root and user needs root rights.
        if rustix::process::geteuid().is_root() && program("unshare").is_ok() {
            let root = format!("--root={}", root.display());
            words
                .extend(["unshare", "--setgid", USER, "--setuid", USER, &root, "--wd=/", "/server"].map(str::to_owned));
        } else {
            words.push(self.program.display().to_string());
        }
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOST", "127.0.0.1").env("PORT", port.to_string());
        command
    }

    fn start(&self, pin: bool) -> Result<(Running, SocketAddr, Duration)> {
        let port = free_port()?;
        let mut command = self.command(port, pin);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let began = Instant::now();
        let running = Running::start(&mut command)?;
        let took = first_answer(address, began)
            .map_err(|error| error.while_doing(format!("{} does not serve", self.program.display())))?;
        Ok((running, address, took))
    }

    /// Loads each page, and then reads the memory.
    fn load(&mut self, wrk: &Path, pin: bool) -> Result<()> {
        let (running, address, _) = self.start(pin)?;
        for (index, (page, _)) in PAGES.iter().enumerate() {
            self.rates[index].push(rate(wrk, pin, &format!("http://{address}{page}"))?);
        }
        self.memory.push(running.memory()?);
        Ok(())
    }
}

pub(super) fn measure(bench: &Bench, findings: &mut Findings<'_>) -> Result<()> {
    let roots = [(); 2].map(|()| tempfile::tempdir());
    let [root, go_root] = roots;
    let what = || "create a root folder".to_owned();
    let (root, go_root) = (root.doing(what)?, go_root.doing(what)?);
    for root in [&root, &go_root] {
        // The user of the program needs access.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(root.path(), open).doing(what)?;
    }
    let mut ours = Server::new(&bench.artefact("x86_64-unknown-linux-gnu/release/greeter-v1")?, root.path())?;
    let mut go = match tools::go_greeter(bench) {
        Ok(program) => Some(Server::new(&program, go_root.path())?),
        Err(why) => {
            findings.skip("the same app in Go", why);
            None
        }
    };
    bench.say("starts ...");
    for _ in 0..STARTS {
        for server in [Some(&mut ours), go.as_mut()].into_iter().flatten() {
            let (_, _, took) = server.start(false)?;
            server.starts.push(took.as_secs_f64());
        }
    }
    match program("wrk") {
        Ok(wrk) => {
            let pin =
                program("taskset").is_ok() && std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
            for round in 1..=bench.options.rounds {
                bench.say(&format!("load, round {round} ..."));
                for server in [Some(&mut ours), go.as_mut()].into_iter().flatten() {
                    server.load(&wrk, pin)?;
                }
            }
        }
        Err(why) => findings.skip("requests a second", why),
    }
    report(findings, &ours, go.as_ref());
    Ok(())
}

fn report(findings: &mut Findings<'_>, ours: &Server, go: Option<&Server>) {
    let row = |what: &str, unit: Unit, pick: &dyn Fn(&Server) -> Vec<f64>| {
        let row = Row::new(what, unit, Figures::of(pick(ours)));
        match go {
            Some(go) => row.against("Go", Figures::of(pick(go))),
            None => row,
        }
    };
    let start = row("container start to first 200", Unit::Seconds, &|server| server.starts.clone());
    findings.row(start.target(Target::AtMost(0.010)));
    if ours.memory.is_empty() {
        return;
    }
    for (index, (page, times)) in PAGES.iter().enumerate() {
        let rate =
            row(&format!("greeter, `{page}` on one core"), Unit::PerSecond, &|server| server.rates[index].clone());
        findings.row(rate.target(Target::TimesBetter(*times)));
    }
    let memory = row("greeter, memory after that", Unit::Bytes, &|server| server.memory.clone());
    findings.row(memory.target(Target::AtMost(4.0 * MIB)));
}

/// Requests per second, as `wrk` counts them: 1 thread, 32 connections.
fn rate(wrk: &Path, pin: bool, url: &str) -> Result<f64> {
    let mut command = if pin {
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", "1"]).arg(wrk);
        command
    } else {
        Command::new(wrk)
    };
    command.args(["-t1", "-c32"]).arg(format!("-d{}s", LOAD.as_secs())).arg(url);
    let said = output(&mut command)?;
    requests_per_second(&said).ok_or_else(|| Error::failed(format!("wrk could not load {url}")).because(said))
}

/// The rate in the output of `wrk`; `None` if a request failed.
fn requests_per_second(said: &str) -> Option<f64> {
    if said.contains("Non-2xx") || said.contains("Socket errors") {
        return None;
    }
    said.lines().find_map(|line| line.strip_prefix("Requests/sec:")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_counts_only_where_every_answer_was_good() {
        assert_eq!(requests_per_second("  100 requests in 2s\nRequests/sec:  55012.34\n"), Some(55012.34));
        assert_eq!(requests_per_second("Non-2xx or 3xx responses: 3\nRequests/sec:  55012.34\n"), None);
        assert_eq!(requests_per_second(""), None);
    }
}
