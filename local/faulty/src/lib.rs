//! A web service that uses only the standard library. Its versions fail in different ways, to test deployments and
//! cutovers. It is not an example of a good service.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Requests after which [`Fault::FailsUnderUse`] starts to fail: more than the gate of a cutover sends.
const USE: u32 = 20;

/// How a version fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Does not fail.
    None,
    /// Ends before it listens.
    ExitAtStart,
    /// Answers health checks with 500.
    NeverHealthy,
    /// Answers 503 after 20 requests; its health checks stay good.
    FailsUnderUse,
}

/// Serves a version on `HOST`:`PORT` until it is killed.
pub fn serve(version: &'static str, fault: Fault) -> ExitCode {
    if fault == Fault::ExitAtStart {
        eprintln!("cannot read the configuration: no table named greetings");
        return ExitCode::from(3);
    }
    let setting = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let address = format!("{}:{}", setting("HOST", "0.0.0.0"), setting("PORT", "8080"));
    let listener = match TcpListener::bind(&address) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("cannot listen on {address}: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("version {version} listens on {address}");
    let requests = Arc::new(AtomicU32::new(0));
    for stream in listener.incoming().flatten() {
        let requests = Arc::clone(&requests);
        // A failed connection does not concern the other connections.
        std::thread::spawn(move || drop(answer(&stream, version, fault, &requests)));
    }
    ExitCode::SUCCESS
}

/// Answers the requests of one connection until the client closes it.
fn answer(stream: &TcpStream, version: &str, fault: Fault, requests: &AtomicU32) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header)? == 0 || header.trim().is_empty() {
                break;
            }
        }
        let is_check = request.contains(" /healthz ");
        let earlier = if is_check { 0 } else { requests.fetch_add(1, Ordering::Relaxed) };
        let status = match fault {
            Fault::NeverHealthy if is_check => "500 Internal Server Error",
            Fault::FailsUnderUse if !is_check && earlier >= USE => "503 Service Unavailable",
            _ => "200 OK",
        };
        let body = format!("version {version}\n");
        let head = format!("HTTP/1.1 {status}\r\nx-app-version: {version}\r\ncontent-length: {}\r\n\r\n", body.len());
        writer.write_all((head + &body).as_bytes())?;
    }
}
