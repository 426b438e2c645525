//! A registry in this process, for tests: it stores what it is sent, counts it, and fails on demand. It implements the
//! parts of the OCI distribution specification that a push and a pull use.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use base64::{Engine as _, prelude::BASE64_STANDARD};

use crate::{Credentials, Digest, Registry};

/// How one request goes wrong.
#[derive(Clone, Copy)]
pub enum Fault {
    /// Answers with this status and nothing else.
    Status(u16),
    /// Closes the connection instead of answering.
    HangUp,
}

/// What the registry has and how it behaves.
#[expect(clippy::struct_excessive_bools, reason = "each is one way to behave")]
pub struct State {
    /// Blobs and manifests by digest.
    pub stored: BTreeMap<String, Vec<u8>>,
    /// Digests by tag.
    pub tags: BTreeMap<String, String>,
    /// `METHOD path` of each request, in order.
    pub requests: Vec<String>,
    /// The bytes of all request bodies.
    pub bytes_received: u64,
    /// What happens to the next uploads of blobs.
    pub upload_faults: VecDeque<Fault>,
    /// Whether a tag may not be moved.
    pub immutable_tags: bool,
    /// Whether the repository is missing.
    pub no_repository: bool,
    /// Whether logging in is allowed, but pushing is not.
    pub read_only: bool,
    /// The wrong digest that the registry reports for a manifest.
    pub wrong_digest: Option<String>,
    /// Whether it lists the referrers of an image.
    pub lists_referrers: bool,
    /// Whether pulling needs no login.
    pub public: bool,
    /// Where it issues tokens, if it requires them (as Docker Hub does).
    pub token_realm: Option<String>,
    /// The token that it issues and accepts.
    pub token: String,
    /// The address to which it redirects requests for blobs, as registries do that keep blobs in another store.
    pub blobs_elsewhere: Option<String>,
    /// Whether it refuses a request with a login, as a store does for a signed address.
    pub refuses_logins: bool,
    /// Whether it answers a request for a manifest with bytes without an end.
    pub endless_manifests: bool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            stored: BTreeMap::new(),
            tags: BTreeMap::new(),
            requests: Vec::new(),
            bytes_received: 0,
            upload_faults: VecDeque::new(),
            immutable_tags: false,
            no_repository: false,
            read_only: false,
            wrong_digest: None,
            lists_referrers: false,
            public: false,
            token_realm: None,
            token: "a-token".to_owned(),
            blobs_elsewhere: None,
            refuses_logins: false,
            endless_manifests: false,
        }
    }
}

/// A registry with one repository, `test`, for the user `AWS` with the password `secret`.
pub struct FakeRegistry {
    pub state: Arc<Mutex<State>>,
    pub address: String,
}

struct Request {
    method: String,
    path: String,
    authorization: String,
    body: Vec<u8>,
}

struct Response {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl FakeRegistry {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let state = Arc::clone(&shared);
                thread::spawn(move || serve(&stream.unwrap(), &state));
            }
        });
        Self { state, address }
    }

    pub fn registry(&self, password: &str) -> Registry {
        Registry::new("registry.example/test", Credentials::new("AWS", password))
            .unwrap()
            .reached_at(self.address.parse().unwrap())
    }
}

fn serve(stream: &TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader) {
        let mut state = state.lock().unwrap();
        state.requests.push(format!("{} {}", request.method, request.path));
        state.bytes_received += request.body.len() as u64;
        if state.endless_manifests && request.path.contains("/manifests/") {
            drop(state);
            send_without_end(stream);
            return;
        }
        let Some(response) = answer(&mut state, &request) else {
            return;
        };
        let head = request.method == "HEAD";
        drop(state);
        let length = if head { 0 } else { response.body.len() };
        let headers: String =
            response.headers.iter().map(|(name, value)| [*name, ": ", value, "\r\n"].concat()).collect();
        let text = format!("HTTP/1.1 {} Status\r\n{headers}content-length: {length}\r\n\r\n", response.status);
        let body = if head { Vec::new() } else { response.body };
        let mut stream = stream;
        if stream.write_all(&[text.as_bytes(), &body].concat()).is_err() {
            return;
        }
    }
}

/// Until the client hangs up.
fn send_without_end(mut stream: &TcpStream) {
    let mut sent = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    let chunk = [&b"10000\r\n"[..], &vec![b' '; 0x10000], b"\r\n"].concat();
    while sent.is_ok() {
        sent = stream.write_all(&chunk);
    }
}

fn read_request(reader: &mut BufReader<&TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let (mut length, mut authorization) = (0, String::new());
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "authorization" => value.clone_into(&mut authorization),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, path, authorization, body })
}

fn status(status: u16) -> Response {
    Response { status, headers: Vec::new(), body: Vec::new() }
}

fn error(code: u16, name: &str, message: &str) -> Response {
    let body = format!(r#"{{"errors":[{{"code":"{name}","message":"{message}"}}]}}"#);
    Response { body: body.into_bytes(), ..status(code) }
}

/// The answer; `None` closes the connection.
fn answer(state: &mut State, request: &Request) -> Option<Response> {
    let basic = format!("Basic {}", BASE64_STANDARD.encode("AWS:secret"));
    if state.refuses_logins && !request.authorization.is_empty() {
        return Some(error(400, "INVALID", "Only one auth mechanism allowed"));
    }
    if request.path.starts_with("/token?") {
        let known = request.authorization == basic || (state.public && request.authorization.is_empty());
        let body = format!(r#"{{"token":"{}"}}"#, state.token).into_bytes();
        return Some(if known { Response { body, ..status(200) } } else { status(401) });
    }
    let (expected, challenge) = match &state.token_realm {
        Some(realm) => (format!("Bearer {}", state.token), format!(r#"Bearer realm="{realm}",service="test""#)),
        None => (basic, r#"Basic realm="test""#.to_owned()),
    };
    let reads = matches!(request.method.as_str(), "GET" | "HEAD") && state.public && state.token_realm.is_none();
    if request.authorization != expected && !reads {
        let challenge = vec![("www-authenticate", challenge)];
        return Some(Response { headers: challenge, ..error(401, "UNAUTHORIZED", "authentication required") });
    }
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let Some(path) = path.strip_prefix("/v2/test/") else {
        return Some(status(404));
    };
    if state.no_repository {
        return Some(error(404, "NAME_UNKNOWN", "The repository does not exist"));
    }
    let part = path.split_once('/').unwrap_or((path, ""));
    Some(match (request.method.as_str(), part) {
        ("POST", ("blobs", "uploads/")) if state.read_only => error(403, "DENIED", "not authorized to push"),
        ("POST", ("blobs", "uploads/")) => Response { headers: location("blobs/uploads/1"), ..status(202) },
        ("PUT", ("blobs", _)) => return put_blob(state, query, &request.body),
        ("HEAD", ("blobs", digest)) => status(if state.stored.contains_key(digest) { 200 } else { 404 }),
        ("PUT", ("manifests", tag)) => put_manifest(state, tag, &request.body),
        ("GET", ("referrers", digest)) if state.lists_referrers => {
            Response { body: referrers(state, digest), ..status(200) }
        }
        ("GET", ("referrers", _)) => status(404),
        ("GET", ("blobs", _)) if state.blobs_elsewhere.is_some() => {
            let elsewhere = format!("{}{}", state.blobs_elsewhere.as_deref().unwrap_or_default(), request.path);
            Response { headers: vec![("location", elsewhere)], ..status(307) }
        }
        ("GET", ("blobs", digest)) => match state.stored.get(digest) {
            Some(bytes) => Response { body: bytes.clone(), ..status(200) },
            None => error(404, "BLOB_UNKNOWN", "no such blob"),
        },
        ("HEAD" | "GET", ("manifests", name)) => {
            let digest = state.tags.get(name).map_or(name, String::as_str);
            match state.stored.get(digest) {
                Some(bytes) => {
                    let digest = state.wrong_digest.clone().unwrap_or_else(|| digest.to_owned());
                    Response { headers: vec![("docker-content-digest", digest)], body: bytes.clone(), ..status(200) }
                }
                None => error(404, "MANIFEST_UNKNOWN", "no such image"),
            }
        }
        _ => status(405),
    })
}

/// The list of manifests whose subject is the image with this digest.
fn referrers(state: &State, subject: &str) -> Vec<u8> {
    let entries = state.stored.iter().filter_map(|(digest, bytes)| {
        let manifest: serde_json::Value = serde_json::from_slice(bytes).ok()?;
        (manifest["subject"]["digest"] == subject)
            .then(|| serde_json::json!({"mediaType": manifest["mediaType"], "digest": digest, "size": bytes.len()}))
    });
    let entries: Vec<_> = entries.collect();
    let index = serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries,
    });
    serde_json::to_vec(&index).unwrap()
}

fn location(path: &str) -> Vec<(&'static str, String)> {
    vec![("location", format!("/v2/test/{path}"))]
}

fn put_blob(state: &mut State, query: &str, body: &[u8]) -> Option<Response> {
    match state.upload_faults.pop_front() {
        Some(Fault::HangUp) => return None,
        Some(Fault::Status(code)) => return Some(status(code)),
        None => {}
    }
    let digest = query.trim_start_matches("digest=").replace("%3A", ":");
    state.stored.insert(digest.clone(), body.to_vec());
    Some(Response { headers: location(&format!("blobs/{digest}")), ..status(201) })
}

fn put_manifest(state: &mut State, tag: &str, body: &[u8]) -> Response {
    let digest = Digest::of(body).as_str().to_owned();
    if state.immutable_tags && state.tags.get(tag).is_some_and(|there| *there != digest) {
        return error(400, "TAG_INVALID", "The image tag already exists and cannot be overwritten");
    }
    state.stored.insert(digest.clone(), body.to_vec());
    if tag != digest {
        state.tags.insert(tag.to_owned(), digest);
    }
    // As ECR does, without a location.
    status(201)
}
