//! A client of prod in a process of its own: at least a hundred requests a second, half of them on kept-alive connections
//! and half on new ones. It is this test program started again, and shares no code with the probes.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::Client;

/// Where the client process finds whom to ask.
const ADDRESS: &str = "OUTSIDE_CLIENT_ADDRESS";
/// What the line begins with on which it says what it saw.
const SAID: &str = "outside client: ";
/// Each of so many threads asks in this interval: together 160 times a second.
const THREADS: usize = 4;
const INTERVAL: Duration = Duration::from_millis(25);

/// What the client saw.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Report {
    pub requests: u64,
    pub milliseconds: u64,
    /// When, in microseconds since 1970, and what went wrong.
    pub failures: Vec<(u64, String)>,
    /// Good answers by version.
    pub versions: BTreeMap<String, u64>,
}

/// The client process, until it is asked what it saw.
pub struct Outside(Child);

impl Outside {
    /// Starts the client. `test` is the name of the test in this program that calls [`be_the_client`].
    pub fn start(address: &str, test: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--ignored", "--nocapture"]).env(ADDRESS, address);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // Its first line of its own says that it has begun to ask.
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("outside client asks") {
            line.clear();
            assert_ne!(lines.read_line(&mut line).unwrap(), 0, "the outside client ended at once");
        }
        child.stdout = Some(lines.into_inner());
        Self(child)
    }

    /// Ends the client and tells what it saw.
    pub fn leave(mut self) -> Report {
        drop(self.0.stdin.take());
        let mut text = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        self.0.wait().unwrap();
        let said = text.lines().find_map(|line| line.split_once(SAID)).unwrap_or_else(|| panic!("it said: {text}"));
        serde_json::from_str(said.1).unwrap()
    }
}

/// What the client process does: asks until its standard input is closed, which also the end of its parent does.
pub fn be_the_client() {
    let Ok(address) = std::env::var(ADDRESS) else { return };
    let stop = Arc::new(AtomicBool::new(false));
    let began = std::time::Instant::now();
    let threads: Vec<_> = (0..THREADS)
        .map(|number| {
            let (address, stop) = (address.clone(), Arc::clone(&stop));
            std::thread::spawn(move || ask(&address, &stop, number % 2 == 0))
        })
        .collect();
    println!("outside client asks");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    stop.store(true, Ordering::Relaxed);
    let mut report = Report::default();
    for thread in threads {
        let seen = thread.join().unwrap();
        report.requests += seen.requests;
        report.failures.extend(seen.failures);
        for (version, count) in seen.versions {
            *report.versions.entry(version).or_default() += count;
        }
    }
    report.milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap();
    report.failures.sort();
    println!("\n{SAID}{}", serde_json::to_string(&report).unwrap());
}

fn ask(address: &str, stop: &AtomicBool, keep: bool) -> Report {
    let mut client = Client::new(address.to_owned());
    let mut seen = Report::default();
    let mut due = std::time::Instant::now();
    while !stop.load(Ordering::Relaxed) {
        seen.requests += 1;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let at = u64::try_from(now.as_micros()).unwrap();
        match client.get("/") {
            Ok(answer) if answer.status == 200 => {
                *seen.versions.entry(answer.version.unwrap_or_default()).or_default() += 1;
            }
            Ok(answer) => seen.failures.push((at, format!("status {}", answer.status))),
            Err(error) => seen.failures.push((at, error.to_string())),
        }
        if !keep {
            client = Client::new(address.to_owned());
        }
        due += INTERVAL;
        // A pace, not a condition; what is late is made up for.
        std::thread::sleep(due.saturating_duration_since(std::time::Instant::now()));
    }
    seen
}
