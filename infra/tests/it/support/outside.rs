//! A client of prod in a process of its own: at least a hundred requests a second, half of them on kept-alive connections
//! and half on new ones. It shares no code with the probes.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};

#[path = "../../bin/report.rs"]
mod report;

pub use report::Report;

/// Where the client process finds whom to ask.
const ADDRESS: &str = "OUTSIDE_CLIENT_ADDRESS";
/// Set if it uploads and asks by HEAD too.
const MIXED: &str = "OUTSIDE_CLIENT_MIXED";
/// What the line begins with on which it says what it saw.
const SAID: &str = "outside client: ";

/// The client process, until it is asked what it saw.
pub struct Outside(Child);

impl Outside {
    /// Starts the client.
    pub fn start(address: &str) -> Self {
        Self::begin(address, &[])
    }

    /// The same, of the sample app: it also asks by HEAD, and uploads slowly.
    pub fn mixed(address: &str) -> Self {
        Self::begin(address, &[(MIXED, "1")])
    }

    fn begin(address: &str, settings: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outside-client"));
        command.envs(settings.iter().copied());
        command.env(ADDRESS, address);
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
