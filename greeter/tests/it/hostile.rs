//! Whatever bytes a client sends, as a query or as a whole request: never a server error, never a hang, never markup of its
//! own.
use std::fmt::Write as _;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Shutdown;

use crate::support::Server;
use proptest::prelude::*;

/// The status and the body that come back for a request line with these bytes in the query.
fn ask(server: &Server, path: &str, query: &[u8]) -> (u16, String) {
    let request =
        [b"GET ", path.as_bytes(), b"?", query, b" HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n"].concat();
    let answer = String::from_utf8(server.exchange(&request)).unwrap();
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status, body.to_owned())
}

/// How many brackets of tags a page has.
fn tags(page: &str) -> (usize, usize) {
    (page.matches('<').count(), page.matches('>').count())
}

fn percent_encoded(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "%{byte:02x}");
        text
    })
}

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) }
}

#[test]
fn raw_bytes_never_give_a_server_error() {
    let servers = [Server::start(1), Server::start(2)];
    proptest!(config(), |(query in prop::collection::vec(any::<u8>(), 0..80))| {
        for server in &servers {
            let (status, _) = ask(server, "/", &[b"name=", query.as_slice()].concat());
            prop_assert!((200..500).contains(&status), "status {status}");
        }
    });
}

#[test]
fn encoded_bytes_are_always_greeted_and_never_add_a_tag() {
    let servers = [Server::start(1), Server::start(2)];
    let markup = "[<>&\"'/a-z%é\u{0}-\u{1f}]{0,100}".prop_map(String::into_bytes);
    let name = prop_oneof![prop::collection::vec(any::<u8>(), 0..100), markup];
    proptest!(config(), |(name in name)| {
        for server in &servers {
            let (status, page) = ask(server, "/", format!("name={}", percent_encoded(&name)).as_bytes());
            prop_assert_eq!(status, 200);
            prop_assert_eq!(tags(&page), tags(&ask(server, "/", b"").1));
        }
    });
}

#[test]
fn the_api_of_version_2_is_always_a_json_string() {
    let server = Server::start(2);
    proptest!(config(), |(name in prop::collection::vec(any::<u8>(), 0..100))| {
        let (status, body) = ask(&server, "/api", format!("name={}", percent_encoded(&name)).as_bytes());
        prop_assert_eq!(status, 200);
        let message: String = serde_json::from_str(&body).unwrap();
        prop_assert!(message.starts_with("Bonjour ") && message.ends_with('!'), "{}", message);
        prop_assert!(message.chars().count() <= "Bonjour !".len() + greeter::MAX_NAME_CHARS);
        prop_assert!(!message.chars().any(char::is_control));
    });
}

/// A request's head, or something that begins like one: parts of real ones in any order, between them any bytes.
fn head() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        prop::sample::select(vec![
            "GET / HTTP/1.1\r\n",
            "POST / HTTP/1.1\r\n",
            "GET / HTTP/1.0\r\n",
            "GET / HTTP/9.9\r\n",
            "PRI * HTTP/2.0\r\n",
            "OPTIONS * HTTP/1.1\r\n",
            "GET http://x/ HTTP/1.1\r\n",
            "CONNECT x:1 HTTP/1.1\r\n",
            "host: x\r\n",
            "host:\r\n",
            "content-length: 5\r\n",
            "content-length: -1\r\n",
            "content-length: 99999999999999999999\r\n",
            "transfer-encoding: chunked\r\n",
            "transfer-encoding: x, chunked\r\n",
            "0\r\n\r\n",
            "ffffffffffffffffff\r\n",
            "expect: 100-continue\r\n",
            "connection: upgrade\r\nupgrade: websocket\r\n",
            "connection: close\r\n",
            "\r\n",
            "\n",
            " folded\r\n",
            ":\r\n",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..40),
        (1usize..20_000).prop_map(|length| [b"x-long: ".as_slice(), &vec![b'a'; length], b"\r\n"].concat()),
    ];
    prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
}

#[test]
fn whatever_is_sent_as_a_request_is_answered_or_refused_and_never_hangs() {
    let servers = [Server::start(1), Server::start(2)];
    proptest!(config(), |(head in head())| {
        for server in &servers {
            let mut stream = server.connect();
            // The server may have closed already: that is an answer too.
            let _ = stream.write_all(&head);
            let _ = stream.shutdown(Shutdown::Write);
            let mut answer = Vec::new();
            if let Err(error) = stream.read_to_end(&mut answer) {
                let closed = matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe);
                prop_assert!(closed, "no answer and no end: {error}");
            }
            let answer = String::from_utf8_lossy(&answer);
            for line in answer.lines().filter(|line| line.starts_with("HTTP/1.")) {
                prop_assert!(!line.split(' ').nth(1).unwrap_or_default().starts_with('5'), "{line}");
            }
        }
    });
    for server in &servers {
        assert_eq!(ask(server, "/", b"").0, 200, "it still serves");
    }
}
