//! A client of prod in a separate process: at least a hundred requests per second, half on keep-alive connections and
//! half on new ones. It shares no code with the probes.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};

#[path = "../../bin/report.rs"]
mod report;

pub use report::Report;

/// The variable with the address for the client process.
const ADDRESS: &str = "OUTSIDE_CLIENT_ADDRESS";
/// Set if the client also uploads and sends HEAD requests.
const MIXED: &str = "OUTSIDE_CLIENT_MIXED";
/// The start of the line with the results.
const SAID: &str = "outside client: ";

/// The running client process.
pub struct Outside(Child);

impl Outside {
    /// Starts the client.
    pub fn start(address: &str) -> Self {
        Self::begin(address, &[])
    }

    /// Starts the client for the sample app: it also sends HEAD requests and slow uploads.
    pub fn mixed(address: &str) -> Self {
        Self::begin(address, &[(MIXED, "1")])
    }

    fn begin(address: &str, settings: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outside-client"));
        command.envs(settings.iter().copied());
        command.env(ADDRESS, address);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // The first line of the client itself reports that it has started.
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("outside client asks") {
            line.clear();
            assert_ne!(lines.read_line(&mut line).unwrap(), 0, "the outside client ended at once");
        }
        child.stdout = Some(lines.into_inner());
        Self(child)
    }

    /// Stops the client and returns its results.
    pub fn leave(mut self) -> Report {
        drop(self.0.stdin.take());
        let mut text = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        self.0.wait().unwrap();
        let said = text.lines().find_map(|line| line.split_once(SAID)).unwrap_or_else(|| panic!("it said: {text}"));
        serde_json::from_str(said.1).unwrap()
    }
}
