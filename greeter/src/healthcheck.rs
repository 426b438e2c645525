//! The health check of a container: one request to `/healthz`, which must return 200.
//! Plain sockets, because a scratch image has no curl and the program needs no HTTP client otherwise.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Time limit for the connection, the request, and the response together.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Requests `/healthz` from the server at `address`. The error describes what came instead of a 200.
pub fn check(address: SocketAddr) -> Result<(), String> {
    let status_line = ask(address, Instant::now() + TIMEOUT).map_err(|error| {
        let reason = match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                format!("no answer within {} s", TIMEOUT.as_secs())
            }
            _ => error.to_string(),
        };
        format!("GET http://{address}/healthz: {reason}")
    })?;
    if status_line.starts_with("HTTP/1.1 200 ") {
        Ok(())
    } else {
        Err(format!("GET http://{address}/healthz: expected status 200, got {status_line:?}"))
    }
}

/// Sends the request and returns the start of the first line of the response.
fn ask(address: SocketAddr, deadline: Instant) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, left(deadline)?)?;
    stream.set_write_timeout(Some(left(deadline)?))?;
    // One write, so that the server has the whole request before it can respond and close.
    let request = format!("GET /healthz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;

    let mut answer = Vec::new();
    let mut chunk = [0; 64];
    while answer.len() < 64 && !answer.contains(&b'\n') {
        stream.set_read_timeout(Some(left(deadline)?))?;
        match stream.read(&mut chunk)? {
            0 => break,
            read => answer.extend_from_slice(&chunk[..read]),
        }
    }
    let text = String::from_utf8_lossy(&answer);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// The time until the deadline, never zero (which would mean "no limit" for a socket).
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    /// A server that reads one request and responds with fixed bytes.
    fn server(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        address
    }

    #[test]
    fn a_200_is_healthy() {
        assert_eq!(check(server("HTTP/1.1 200 OK\r\n\r\n")), Ok(()));
    }

    #[test]
    fn another_status_is_unhealthy_and_named() {
        let error = check(server("HTTP/1.1 503 Service Unavailable\r\n\r\n")).unwrap_err();
        assert!(error.contains("got \"HTTP/1.1 503 Service Unavailable\""), "{error}");
    }

    #[test]
    fn a_closed_connection_is_unhealthy() {
        assert!(check(server("")).unwrap_err().contains("expected status 200"));
    }

    #[test]
    fn nobody_listening_is_unhealthy() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(check(address).unwrap_err().contains("refused"));
    }

    #[test]
    fn a_server_that_does_not_answer_is_out_of_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let error = ask(address, Instant::now() + Duration::from_millis(50)).unwrap_err();
        assert!(matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut), "{error}");
    }
}
