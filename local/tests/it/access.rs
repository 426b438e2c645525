//! Who may use a local cloud: neither a web page nor another user of the machine.

use crate::support::{Instance, is_alive, is_root};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A user without rights: `nobody`.
const OTHER: u32 = 65534;

/// Creates a function, as a form of a web page can: JSON in a simple content type.
const CREATE: &str = r#"{"FunctionName":"page","Runtime":"python3.11","Role":"arn:aws:iam::000000000000:role/x","Handler":"a.b","Code":{"ZipFile":"UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="}}"#;

fn address(instance: &Instance) -> String {
    instance.status()["endpoint"].as_str().unwrap().trim_start_matches("http://").to_owned()
}

/// Sends a request; returns the whole answer.
fn send(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn signed(id: &str, service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential={id}/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
    )
}

const FUNCTIONS: &str = "/2015-03-31/functions";

#[test]
fn a_web_page_is_refused_even_with_the_credentials() {
    let instance = Instance::new();
    instance.up();
    let address = address(&instance);
    let key = instance.credentials();
    let own = signed(key.access_key_id(), "lambda");
    let port = address.rsplit_once(':').unwrap().1;
    let rebound = format!("evil.example:{port}");
    let create = |host: &str, more: &[(&str, &str)]| {
        let headers = [&[("host", host), ("authorization", &own), ("content-type", "text/plain")], more].concat();
        send(&address, "POST", FUNCTIONS, &headers, CREATE)
    };
    for (host, more) in [
        (address.as_str(), ("origin", "http://evil.example")),
        (&address, ("origin", "null")),
        (&address, ("sec-fetch-site", "cross-site")),
        (&address, ("sec-fetch-mode", "navigate")),
        (&rebound, ("accept", "*/*")),
    ] {
        let answer = create(host, &[more]);
        assert!(
            answer.starts_with("HTTP/1.1 403") && answer.contains("does not answer web pages"),
            "{more:?}: {answer}"
        );
    }
    let preflight = send(&address, "OPTIONS", FUNCTIONS, &[("host", &address), ("origin", "http://evil.example")], "");
    assert!(preflight.starts_with("HTTP/1.1 403"), "{preflight}");
    assert!(!preflight.to_ascii_lowercase().contains("access-control-"), "{preflight}");

    let list = send(&address, "GET", &format!("{FUNCTIONS}/"), &[("host", &address), ("authorization", &own)], "");
    assert!(list.starts_with("HTTP/1.1 200") && !list.contains("\"page\""), "{list}");
    assert!(!list.to_ascii_lowercase().contains("access-control-"), "{list}");
    // The same request without the marks of a browser is what a tool sends.
    let created = create(&address, &[]);
    assert!(created.starts_with("HTTP/1.1 201"), "{created}");
}

#[test]
fn only_the_keys_of_the_instance_are_accepted() {
    let (instance, other) = (Instance::new(), Instance::new());
    instance.up();
    other.up();
    let address = address(&instance);
    let foreign = other.credentials();
    for (service, code) in [("lambda", "UnrecognizedClientException"), ("s3", "InvalidAccessKeyId")] {
        for id in ["test", "000000000000", foreign.access_key_id()] {
            let headers = [("host", address.as_str()), ("authorization", &signed(id, service))];
            let answer = send(&address, "GET", "/", &headers, "");
            assert!(answer.starts_with("HTTP/1.1 403") && answer.contains(code), "{id}: {answer}");
            assert!(answer.contains("local-cloud env"), "it says what to do: {answer}");
        }
    }
    let presigned = "/bucket/key?X-Amz-Credential=test%2F20260101%2Fus-east-1%2Fs3%2Faws4_request";
    let answer = send(&address, "GET", presigned, &[("host", &address)], "");
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("InvalidAccessKeyId"), "{answer}");
    for path in ["/_ministack/health", "/_ministack/reset", "/_local-cloud/load-balancers", "/bucket/key", "/", "/v4/x"]
    {
        let answer = send(&address, "POST", path, &[("host", &address)], "");
        assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("not signed"), "{path}: {answer}");
    }
    let task = send(&address, "GET", "/v2/credentials/1", &[("host", &address), ("authorization", "guess")], "");
    assert!(task.starts_with("HTTP/1.1 403"), "{task}");
}

#[test]
fn a_payload_that_is_not_json_invokes_nothing() {
    let instance = Instance::new();
    instance.up();
    let address = address(&instance);
    let own = signed(instance.credentials().access_key_id(), "lambda");
    let invoke = |body: &str| {
        let path = format!("{FUNCTIONS}/gone/invocations");
        send(&address, "POST", &path, &[("host", &address), ("authorization", &own)], body)
    };
    // Base64 of {"op":"status"}, which the AWS CLI makes easy to send.
    for body in ["eyJvcCI6InN0YXR1cyJ9", "{", "{\"op\":\"status\"}\0"] {
        let answer = invoke(body);
        assert!(answer.starts_with("HTTP/1.1 400"), "{body}: {answer}");
        assert!(answer.contains("x-amzn-errortype: InvalidRequestContentException"), "{answer}");
    }
    for body in ["{}", "", "3"] {
        let answer = invoke(body);
        assert!(answer.starts_with("HTTP/1.1 404") && answer.contains("Function not found"), "{body}: {answer}");
    }
}

/// A zip file with one Python module, in base64.
fn zipped(module: &str, source: &str) -> String {
    let script = "import base64, io, sys, zipfile\nout = io.BytesIO()\n\
                  with zipfile.ZipFile(out, 'w') as file: file.writestr(sys.argv[1] + '.py', sys.argv[2])\n\
                  print(base64.b64encode(out.getvalue()).decode())";
    let output = Command::new("/usr/bin/python3").args(["-c", script, module, source]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_process_in_a_session_of_its_own_does_not_survive_down() {
    let instance = Instance::new();
    instance.up();
    let address = address(&instance);
    let own = signed(instance.credentials().access_key_id(), "lambda");
    let ask =
        |path: &str, body: &str| send(&address, "POST", path, &[("host", &address), ("authorization", &own)], body);
    let source = "import subprocess\ndef run(event, context):\n    \
                  return subprocess.Popen(['sleep', '600'], start_new_session=True).pid\n";
    let create = CREATE.replace("a.b", "code.run").replace("UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA==", &zipped("code", source));
    let created = ask(FUNCTIONS, &create);
    assert!(created.starts_with("HTTP/1.1 201"), "{created}");
    let invoked = ask(&format!("{FUNCTIONS}/page/invocations"), "{}");
    let pid: i64 = invoked.rsplit_once("\r\n\r\n").unwrap().1.trim().parse().unwrap_or_else(|_| panic!("{invoked}"));
    assert!(is_alive(pid));
    assert!(instance.run(&["down"]).status.success());
    assert!(!is_alive(pid));
}

#[test]
fn the_registry_asks_for_its_password() {
    let instance = Instance::new();
    instance.up();
    let address = address(&instance);
    for login in ["", "Basic QVdTOm1pbmlzdGFjay1hdXRoLXRva2Vu", "Bearer x"] {
        let answer = send(&address, "GET", "/v2/", &[("host", &address), ("authorization", login)], "");
        assert!(answer.starts_with("HTTP/1.1 401"), "{login}: {answer}");
        assert!(answer.contains("www-authenticate: Basic realm="), "{answer}");
    }
}

#[test]
fn down_answers_only_when_the_state_directory_is_free() {
    let instance = Instance::new();
    std::fs::create_dir(instance.state()).unwrap();
    let lock = std::fs::File::create(instance.state().join("lock")).unwrap();
    lock.lock().unwrap();
    let mut down = Command::new(env!("CARGO_BIN_EXE_local-cloud"))
        .arg("--state")
        .arg(instance.state())
        .arg("down")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // The command waits as long as another process holds the lock. It has opened the file by then.
    let opened = || {
        let files = std::fs::read_dir(format!("/proc/{}/fd", down.id())).unwrap();
        let mut files = files.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        files.any(|path| path == instance.state().join("lock"))
    };
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while !opened() {
        assert!(std::time::Instant::now() < deadline, "it does not look at the lock");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(down.try_wait().unwrap().is_none());
    drop(lock);
    assert!(down.wait().unwrap().success());
}

/// Every file, directory, and socket below a directory.
fn below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(below(&path));
        }
        found.push(path);
    }
    found
}

/// Runs a program as another user, who gets the paths and addresses as arguments. Returns its output.
fn as_another_user(script: &str, arguments: &[String]) -> String {
    let mut python = Command::new("/usr/bin/python3");
    python.arg("-").args(arguments).current_dir("/").uid(OTHER).gid(OTHER);
    let mut running = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    running.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    String::from_utf8(running.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn another_user_can_neither_read_nor_enter_what_the_local_cloud_keeps() {
    let instance = Instance::new();
    // As left by an earlier version, or by a careless umask.
    std::fs::create_dir(instance.state()).unwrap();
    std::fs::set_permissions(instance.state(), std::fs::Permissions::from_mode(0o777)).unwrap();
    instance.up();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&instance.state()), 0o700);
    for name in
        ["credentials.json", "instance.json", "processes.json", "daemon.log", "ministack.log", "ministack/secret"]
    {
        assert_eq!(mode(&instance.state().join(name)), 0o600, "{name}");
    }
    let all = below(&instance.state());
    let sockets: Vec<&PathBuf> =
        all.iter().filter(|path| std::fs::symlink_metadata(path).unwrap().file_type().is_socket()).collect();
    assert_eq!(sockets.len(), 3, "{sockets:?}");
    if !is_root() {
        return;
    }
    // Only the directory of the test itself may be entered.
    std::fs::set_permissions(instance.dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let script = "
import errno, os, socket, sys
for path in sys.argv[1:]:
    for how in (os.listdir, open, lambda p: socket.socket(socket.AF_UNIX).connect(p)):
        try:
            how(path)
            print('reached', path)
        except PermissionError:
            pass
        except OSError as error:
            print(path, errno.errorcode.get(error.errno, error))
print('end')
";
    let paths: Vec<String> =
        all.iter().map(|path| path.display().to_string()).filter(|path| path.len() < 100).collect();
    assert!(paths.len() > 10, "{paths:?}");
    assert_eq!(as_another_user(script, &paths), "end\n");
}

#[test]
fn another_user_gets_nothing_at_any_port() {
    let instance = Instance::new();
    instance.up();
    let endpoint = address(&instance);
    let ports = instance.listening();
    // The endpoint, and two forwards on two nodes: MiniStack has no port.
    assert_eq!(ports.len(), 5, "{ports:?}");
    let script = "
import sys, urllib.request, urllib.error
for path in ('/', '/_ministack/health', '/2015-03-31/functions/', '/v2/_catalog', '/bucket'):
    for id in ('test', '000000000000'):
        request = urllib.request.Request('http://' + sys.argv[1] + path)
        request.add_header('authorization', f'AWS4-HMAC-SHA256 Credential={id}/20260101/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=0')
        try:
            print(path, urllib.request.urlopen(request).status)
        except urllib.error.HTTPError as error:
            print(error.code)
";
    let said = if is_root() {
        as_another_user(script, &[endpoint])
    } else {
        let mut python = Command::new("/usr/bin/python3");
        String::from_utf8(python.args(["-c", script, &endpoint]).output().unwrap().stdout).unwrap()
    };
    assert_eq!(said, "403\n".repeat(10));
}
