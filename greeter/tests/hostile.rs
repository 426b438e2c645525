//! Whatever bytes a client puts into the query: never a server error, never markup of its own.
#![allow(clippy::unwrap_used)]

mod support;

use std::fmt::Write as _;

use proptest::prelude::*;
use support::Server;

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
