//! Connects the networks of tasks with the networks of this machine, by `pasta` (<https://passt.top>): a program that needs
//! no rights, and that relays the connections that a task opens. Nobody outside can open one to a task.
//!
//! The loopback of this machine stays out of reach, and so do the metadata services of cloud providers.

use super::isolation::Isolation;
use super::launch;
use super::network::TaskNetwork;
use crate::error::{Context, Error, Result};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};

/// The address of a task outward, and its gateway: from a range that no network uses
/// (<https://www.rfc-editor.org/rfc/rfc2544>).
const ADDRESS: &str = "198.18.0.2";
const GATEWAY: &str = "198.18.0.1";
const PREFIX: &str = "30";
/// Time limit for the network of a task to be connected.
const LIMIT: Duration = Duration::from_secs(10);
/// Interval between two looks whether it is.
const LOOK: Duration = Duration::from_millis(3);
/// The device that the program needs.
const DEVICE: &str = "/dev/net/tun";
/// More directories that can have the program, besides those of `PATH`.
const DIRECTORIES: &str = "/usr/local/bin:/usr/bin:/bin";
/// The resolvers of this machine, and those behind a resolver on its loopback.
const RESOLVERS: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];
/// The last words of the program that are kept.
const WORDS: usize = 20;

/// What tasks reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Internet {
    /// The networks of this machine.
    Reachable,
    /// What the container engine lets them reach.
    OfEngine,
    /// No other network, because it was refused (`--no-internet`).
    Refused,
    /// No other network, because the program is missing.
    NotInstalled,
    /// No other network, for this reason.
    Failed(String),
}

impl std::fmt::Display for Internet {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Reachable => out.write_str("reach the internet, and not the loopback of this machine"),
            Self::OfEngine => out.write_str("reach what the container engine lets them reach"),
            Self::Refused => out.write_str("reach no other network (--no-internet)"),
            Self::NotInstalled => {
                out.write_str("reach no other network: install pasta (Debian, Ubuntu: apt-get install passt)")
            }
            Self::Failed(reason) => write!(out, "reach no other network: {reason}"),
        }
    }
}

/// The program that connects networks.
#[derive(Debug, Clone)]
pub(super) struct Pasta(PathBuf);

impl Pasta {
    /// Finds the program, and tries it with a network.
    pub(super) async fn detect(isolation: Isolation) -> (Internet, Option<Self>) {
        let Some(found) = Self::find(&std::env::var("PATH").unwrap_or_default()) else {
            return (Internet::NotInstalled, None);
        };
        match TaskNetwork::create(isolation, Some(&found), "").await {
            Ok(_) => (Internet::Reachable, Some(found)),
            Err(error) => {
                let device = std::fs::File::options().read(true).write(true).open(DEVICE);
                // udev sets its mode to 0666, on Debian and Ubuntu too; containers and small systems have no udev.
                let hint = device.err().map(|cause| format!(" ({DEVICE}: {cause}; allow it: chmod 0666 {DEVICE})"));
                let reason = format!("{}{}", error.message(), hint.unwrap_or_default());
                tracing::warn!("tasks reach no other network: {reason}");
                (Internet::Failed(reason), None)
            }
        }
    }

    fn find(path: &str) -> Option<Self> {
        let directories = path.split(':').chain(DIRECTORIES.split(':')).map(Path::new);
        let absolute = directories.filter(|directory| directory.is_absolute());
        absolute.map(|directory| directory.join("pasta")).find(|program| program.is_file()).map(Self)
    }

    /// Connects the network that a process holds. It is connected as long as the returned process runs.
    pub(super) async fn connect(&self, holder: i32, isolation: Isolation) -> Result<Child> {
        let mut command = Command::new(&self.0);
        command.args(["--foreground", "--quiet", "--config-net", "--ipv4-only"]);
        command.args(["--address", ADDRESS, "--netmask", PREFIX, "--gateway", GATEWAY, "--dns-forward", GATEWAY]);
        // Without these, the gateway leads to the loopback of this machine, and all ports that the task opens are opened here.
        command.args([
            "--no-map-gw",
            "--tcp-ports",
            "none",
            "--udp-ports",
            "none",
            "--tcp-ns",
            "none",
            "--udp-ns",
            "none",
        ]);
        if isolation.user_namespace() {
            command.arg("--userns").arg(format!("/proc/{holder}/ns/user"));
        } else {
            // As root, it would become a user that cannot enter the namespace.
            command.args(["--runas", "0", "--netns-only"]);
        }
        command.arg("--netns").arg(format!("/proc/{holder}/ns/net"));
        command.env_clear().current_dir("/").process_group(0).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = launch::spawn(&mut command)?;
        drop(command);
        let words = Words::default();
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(words.clone().keep(stderr));
        }
        let deadline = Instant::now() + LIMIT;
        while !has_default_route(holder) {
            let ended = child.try_wait().context(|| format!("cannot wait for {}", self.0.display()))?;
            if let Some(status) = ended {
                return Err(Error::new(format!("{} ended with {status}: {}", self.0.display(), words.all())));
            }
            if Instant::now() >= deadline {
                let limit = LIMIT.as_secs();
                return Err(Error::new(format!("{} did not connect a task within {limit} s", self.0.display())));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(child)
    }
}

/// What the program says, without its complaints about a missing log of the machine.
#[derive(Debug, Clone, Default)]
struct Words(Arc<Mutex<Vec<String>>>);

impl Words {
    async fn keep(self, source: impl AsyncRead + Unpin) {
        let mut lines = BufReader::new(source).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let mut words = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if !line.trim().is_empty() && !line.ends_with("bytes to syslog") && words.len() < WORDS {
                words.push(line.trim().to_owned());
            }
        }
    }

    fn all(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).join("; ")
    }
}

/// Whether the network that a process holds leads to other networks.
fn has_default_route(holder: i32) -> bool {
    let routes = std::fs::read_to_string(format!("/proc/{holder}/net/route")).unwrap_or_default();
    routes.lines().any(|line| line.split_whitespace().nth(1) == Some("00000000"))
}

/// The resolvers of a task: those of this machine, or, if it can reach none of them, the gateway, behind which the resolver
/// of this machine answers.
pub(super) fn resolvers() -> Vec<String> {
    let texts = RESOLVERS.iter().filter_map(|path| std::fs::read_to_string(path).ok());
    let found = texts.map(|text| reachable_resolvers(&text)).find(|found| !found.is_empty());
    found.unwrap_or_else(|| vec![GATEWAY.to_owned()])
}

fn reachable_resolvers(text: &str) -> Vec<String> {
    let addresses = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next())??.parse::<Ipv4Addr>().ok()
    });
    let outside = |address: &Ipv4Addr| !address.is_loopback() && !address.is_link_local() && !address.is_unspecified();
    addresses.filter(outside).map(|address| address.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_on_the_loopback_and_beside_metadata_services_are_left_out() {
        let text = "# comment\nnameserver 127.0.0.53\nnameserver 169.254.169.254\nnameserver ::1\nnameserver 10.0.0.2\n\
                    search example.com\nnameserver 192.0.2.53\n";
        assert_eq!(reachable_resolvers(text), ["10.0.0.2", "192.0.2.53"]);
        assert!(reachable_resolvers("nameserver 127.0.0.1\n").is_empty());
    }

    #[test]
    fn the_program_is_found_in_absolute_directories_only() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("pasta"), "").unwrap();
        let found = Pasta::find(&format!(".:bin:{}", folder.path().display())).unwrap();
        assert_eq!(found.0, folder.path().join("pasta"));
    }
}
