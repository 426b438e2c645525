//! A client of prod, as a process: it shares no code with the probes. Asks until its standard input is closed, which also the
//! end of its parent does, and then says what it saw.

// The functions around the tests are test code too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod client;
mod report;

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use client::Client;
use report::Report;

/// Where it finds whom to ask.
const ADDRESS: &str = "OUTSIDE_CLIENT_ADDRESS";
/// Set if it uploads and asks by HEAD too.
const MIXED: &str = "OUTSIDE_CLIENT_MIXED";
/// What the line begins with on which it says what it saw.
const SAID: &str = "outside client: ";
/// Each of so many threads asks in this interval: together 160 times a second.
const THREADS: usize = 4;
const INTERVAL: Duration = Duration::from_millis(25);

fn main() {
    let address = std::env::var(ADDRESS).expect("the address to ask");
    let stop = Arc::new(AtomicBool::new(false));
    let began = std::time::Instant::now();
    let threads: Vec<_> = (0..THREADS)
        .map(|number| {
            let (address, stop) = (address.clone(), Arc::clone(&stop));
            std::thread::spawn(move || ask(&address, &stop, number % 2 == 0))
        })
        .collect();
    let others = [(upload as fn(&str) -> io::Result<u16>, 405), (head, 200)];
    let others = others.into_iter().filter(|_| std::env::var_os(MIXED).is_some()).map(|(ask, expected)| {
        let (address, stop) = (address.clone(), Arc::clone(&stop));
        std::thread::spawn(move || ask_otherwise(&address, &stop, ask, expected))
    });
    let others: Vec<_> = others.collect();
    println!("outside client asks");
    let _ = io::stdin().read_to_end(&mut Vec::new());
    stop.store(true, Ordering::Relaxed);
    let mut report = Report::default();
    for thread in threads.into_iter().chain(others) {
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
            Ok(answer) if answer.status == 200 && !answer.body.is_empty() => {
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

/// Asks in another way than by GET, one request after the other. The sample apps refuse an upload once they have read it.
fn ask_otherwise(address: &str, stop: &AtomicBool, ask: fn(&str) -> io::Result<u16>, expected: u16) -> Report {
    let mut seen = Report::default();
    while !stop.load(Ordering::Relaxed) {
        seen.requests += 1;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let failure = match ask(address) {
            Ok(status) if status == expected => None,
            Ok(status) => Some(format!("status {status} in place of {expected}")),
            Err(error) => Some(error.to_string()),
        };
        seen.failures.extend(failure.map(|why| (u64::try_from(now.as_micros()).unwrap(), why)));
        // A pace, not a condition.
        std::thread::sleep(INTERVAL);
    }
    seen
}

/// Uploads a body piece by piece, which takes longer than a swap.
fn upload(address: &str) -> io::Result<u16> {
    const PIECE: [u8; 512] = [b'x'; 512];
    let mut stream = connect(address)?;
    write!(stream, "POST / HTTP/1.1\r\nhost: {address}\r\ncontent-length: {}\r\n\r\n", 8 * PIECE.len())?;
    for _ in 0..8 {
        stream.write_all(&PIECE)?;
        // A pace, not a condition.
        std::thread::sleep(Duration::from_millis(50));
    }
    status(stream)
}

fn head(address: &str) -> io::Result<u16> {
    let mut stream = connect(address)?;
    write!(stream, "HEAD / HTTP/1.1\r\nhost: {address}\r\n\r\n")?;
    status(stream)
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    Ok(stream)
}

fn status(stream: TcpStream) -> io::Result<u16> {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
    status.ok_or_else(|| io::Error::other(format!("not HTTP: {line:?}")))
}
