//! The programs as processes: start, stop, signals, exit codes, the health check.
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use greeter::MAX_REQUESTS_PER_CONNECTION;

use crate::support::{Server, program, read_response, run};

const GET: &[u8] = b"GET /api HTTP/1.1\r\nhost: test\r\n\r\n";

const GET_AND_CLOSE: &[u8] = b"GET /api HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";

/// A connection that has been answered once and stays open.
fn used_connection(server: &Server) -> TcpStream {
    let mut stream = server.connect();
    stream.write_all(GET).unwrap();
    assert!(read_response(&mut stream).starts_with("HTTP/1.1 200 OK"));
    stream
}

fn assert_closed(stream: &mut TcpStream) {
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0, "open or not empty");
}

#[test]
fn one_line_at_start_says_where_it_listens() {
    let server = Server::start(2);
    assert_eq!(server.first_line, format!("greeter 2 listening on http://{}\n", server.address));
    assert_ne!(server.address.port(), 0);
}

#[test]
fn each_program_serves_its_version() {
    for (version, greeting) in [(1, "Hello World!"), (2, "\"Bonjour World!\"")] {
        let server = Server::start(version);
        let mut stream = server.connect();
        stream.write_all(GET).unwrap();
        let response = read_response(&mut stream);
        assert!(response.contains(&format!("\r\nx-app-version: {version}\r\n")), "{response}");
        assert!(response.ends_with(greeting), "{response}");
    }
}

#[test]
fn head_has_the_headers_of_get_and_no_body() {
    let server = Server::start(1);
    let answer = server.exchange(b"HEAD / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("\r\n\r\n"), "{answer}");
    assert!(answer.contains("content-length: ") && !answer.contains("content-length: 0"), "{answer}");
}

#[test]
fn a_request_with_a_body_leaves_the_connection_usable() {
    let server = Server::start(1);
    let mut stream = server.connect();
    for _ in 0..2 {
        stream.write_all(b"POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n\r\nbody").unwrap();
        assert!(read_response(&mut stream).starts_with("HTTP/1.1 405"));
    }
}

#[test]
fn a_client_learns_which_answer_on_a_connection_is_the_last_one() {
    let server = Server::start(1);
    let mut stream = server.connect();
    for request in 1..=MAX_REQUESTS_PER_CONNECTION {
        stream.write_all(GET).unwrap();
        let last = read_response(&mut stream).contains("\r\nconnection: close\r\n");
        assert_eq!(last, request == MAX_REQUESTS_PER_CONNECTION, "{request}");
    }
    assert_closed(&mut stream);
}

#[test]
fn a_client_that_sends_without_reading_is_cut_off() {
    let server = Server::start(1);
    let limit = usize::try_from(MAX_REQUESTS_PER_CONNECTION).unwrap();
    let mut stream = server.connect();
    let mut writing = stream.try_clone().unwrap();
    let requests = GET.repeat(100 * limit);
    // The connection is closed while the client sends or after that.
    let sending = std::thread::spawn(move || drop(writing.write_all(&requests)));
    sending.join().unwrap();
    let mut answers = Vec::new();
    let _ = stream.read_to_end(&mut answers);
    let count = String::from_utf8_lossy(&answers).matches("HTTP/1.1 200 OK").count();
    assert!(count <= limit + 32, "{count}");
    assert!(server.exchange(GET_AND_CLOSE).starts_with(b"HTTP/1.1 200"), "others are served");
}

#[test]
fn sigterm_lets_a_request_in_flight_finish() {
    let mut server = Server::start(1);
    let mut stream = server.connect();
    stream.write_all(b"GET /api HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n").unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");

    server.signal("TERM");
    server.wait_until_it_refuses_connections();
    stream.write_all(b"body").unwrap();

    let response = read_response(&mut stream);
    assert!(response.starts_with("HTTP/1.1 200 OK") && response.ends_with("Hello World!"), "{response}");
    assert_closed(&mut stream);
    let (status, output, _) = server.wait();
    assert_eq!((status.code(), output.as_str()), (Some(0), "greeter 1 stopped\n"));
}

#[test]
fn idle_connections_do_not_delay_the_stop() {
    for signal in ["TERM", "INT"] {
        let mut server = Server::start(2);
        let mut idle: Vec<_> = (0..20).map(|_| used_connection(&server)).collect();

        server.signal(signal);
        let (status, output, duration) = server.wait();

        assert_eq!((status.code(), output.as_str()), (Some(0), "greeter 2 stopped\n"), "SIG{signal}");
        assert!(duration < Duration::from_secs(1), "SIG{signal}: stopping took {duration:?}");
        idle.iter_mut().for_each(assert_closed);
    }
}

#[test]
fn the_health_check_of_a_server_that_answers_exits_with_0() {
    let server = Server::start(1);
    let port = server.address.port().to_string();
    let outcome = run(program(1).env("PORT", port).arg("healthcheck"));
    assert_eq!(outcome, (Some(0), String::new(), String::new()));
}

#[test]
fn the_health_check_without_a_server_exits_with_1_and_says_why() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (code, _, error) = run(program(1).env("PORT", free.port().to_string()).arg("healthcheck"));
    assert_eq!(code, Some(1));
    assert!(error.starts_with(&format!("greeter-v1: GET http://{free}/healthz: ")), "{error}");
    assert!(error.contains("refused"), "{error}");
}

#[test]
fn a_port_that_is_taken_exits_with_1_and_a_hint() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let (code, output, error) = run(program(2).env("HOST", "127.0.0.1").env("PORT", address.port().to_string()));
    assert_eq!((code, output.as_str()), (Some(1), ""));
    assert!(error.contains(&format!("cannot listen on {address}")) && error.contains("hint: "), "{error}");
}

#[test]
fn a_bad_environment_exits_with_2_and_one_line() {
    for (variable, value) in [("PORT", "http"), ("PORT", "65536"), ("HOST", "localhost")] {
        for arguments in [&[][..], &["healthcheck"]] {
            let (code, output, error) = run(program(1).env(variable, value).args(arguments));
            assert_eq!((code, output.as_str()), (Some(2), ""), "{variable}={value}");
            assert!(error.starts_with(&format!("greeter-v1: {variable}={value:?} ")), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}

#[test]
fn an_unknown_argument_exits_with_2_and_shows_the_usage() {
    let (code, output, error) = run(program(1).arg("serve"));
    assert_eq!((code, output.as_str()), (Some(2), ""));
    assert!(error.starts_with("greeter-v1: unknown argument serve\n") && error.contains("usage:"), "{error}");
}

#[test]
fn version_and_help_go_to_standard_output() {
    assert_eq!(run(program(2).arg("--version")), (Some(0), "greeter 2\n".to_owned(), String::new()));
    let (code, help, error) = run(program(2).arg("--help"));
    assert_eq!((code, error.as_str()), (Some(0), ""));
    assert!(help.contains("greeter-v2 healthcheck") && help.contains("PORT"), "{help}");
}
