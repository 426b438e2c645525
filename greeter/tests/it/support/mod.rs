//! Runs the real programs and speaks to them byte by byte. Must not know what they should answer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// No step of a test may take longer; a broken program fails the test and does not hang it.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A program of this package with a clean environment.
pub fn program(version: u8) -> Command {
    let path = match version {
        1 => env!("CARGO_BIN_EXE_greeter-v1"),
        _ => env!("CARGO_BIN_EXE_greeter-v2"),
    };
    let mut command = Command::new(path);
    command.env_clear();
    command
}

/// Runs a program to its end: exit code, standard output, standard error.
pub fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// A server that runs; ended with the test.
pub struct Server {
    child: Child,
    stdout: BufReader<ChildStdout>,
    /// The line it wrote at start.
    pub first_line: String,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Server {
    /// Starts a version on a free loopback port and waits until it listens.
    pub fn start(version: u8) -> Self {
        let mut child =
            program(version).env("HOST", "127.0.0.1").env("PORT", "0").stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut first_line = String::new();
        stdout.read_line(&mut first_line).unwrap();
        let address = first_line.trim_end().rsplit('/').next().unwrap().parse().expect(&first_line);
        Self { child, stdout, first_line, address }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends bytes on a connection of their own and reads all that comes back.
    pub fn exchange(&self, request: &[u8]) -> Vec<u8> {
        let mut stream = self.connect();
        // The server may answer and close before it has read everything: that is an answer too.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Returns once new connections are refused, that is once the server has begun to stop.
    pub fn wait_until_it_refuses_connections(&self) {
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(self.address).is_ok() {
            assert!(Instant::now() < deadline, "still accepts connections");
            // A flood of connections would keep the accepting thread from seeing that it is to stop.
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits for the end: status, what it wrote after its first line, and how long the wait took.
    pub fn wait(&mut self) -> (ExitStatus, String, Duration) {
        let start = Instant::now();
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap(), rest, start.elapsed())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads one response with a `content-length` from a connection that stays open.
pub fn read_response(stream: &mut TcpStream) -> String {
    let mut response = Vec::new();
    let mut byte = [0];
    while !response.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "closed after {:?}", String::from_utf8_lossy(&response));
        response.push(byte[0]);
    }
    let head = String::from_utf8(response).unwrap();
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap()];
    stream.read_exact(&mut body).unwrap();
    head + &String::from_utf8(body).unwrap()
}
