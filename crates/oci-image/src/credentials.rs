//! Finds the credentials for a registry where Docker, Podman, Buildah and Skopeo keep them: files, and the programs that
//! these name. Must not know how they are used.
//!
//! * <https://github.com/containers/image/blob/main/docs/containers-auth.json.5.md>
//! * <https://docs.docker.com/reference/cli/docker/login/#credential-stores>

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use oci_client::Reference;
use oci_client::secrets::RegistryAuth;
use serde::Deserialize;

use crate::error::{CredentialsError, Error, Result};
use crate::text::clean;

/// What credential stores call Docker Hub.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";
/// The largest file or answer that is read.
const LIMIT: u64 = 1024 * 1024;
/// The time that a helper has, which may ask a person for a password.
const HELPER_LIMIT: Duration = Duration::from_mins(2);

/// The credentials for the registry of an image. Without any, the image must be public.
pub(crate) async fn credentials(reference: &Reference) -> Result<RegistryAuth> {
    let image = reference.whole();
    let wanted = Wanted::new(reference);
    // A helper is a program, which may take seconds: use a thread that may block.
    let found = tokio::task::spawn_blocking(move || find(&wanted, &files(|name| std::env::var_os(name)))).await;
    let found = found.map_err(|error| Error::io("look for credentials", io::Error::other(error)))?;
    found.map_err(|reason| Error::Credentials { image, reason })
}

/// Whose credentials are wanted.
struct Wanted {
    /// The host, with the port if there is one.
    host: String,
    /// Host and path, then shorter paths, then the host alone.
    keys: Vec<String>,
}

impl Wanted {
    fn new(reference: &Reference) -> Self {
        let host = normal(reference.resolve_registry());
        let mut key = format!("{host}/{}", reference.repository());
        let mut keys = vec![key.clone()];
        while let Some((shorter, _)) = key.rsplit_once('/') {
            key = shorter.to_owned();
            keys.push(key.clone());
        }
        Self { host, keys }
    }

    /// How helpers know the registry.
    fn server(&self) -> &str {
        if self.host == "docker.io" { DOCKER_HUB } else { &self.host }
    }
}

/// A key of a file as the name of a registry, or of a namespace in it. Docker writes URLs for some registries.
fn normal(key: &str) -> String {
    let url = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    // The path of a URL is that of the protocol.
    let name = url.map_or(key, |rest| rest.split('/').next().unwrap_or(rest)).trim_end_matches('/');
    match name.split_once('/').map_or((name, ""), |(host, _)| (host, &name[host.len()..])) {
        ("index.docker.io" | "registry-1.docker.io", path) => format!("docker.io{path}"),
        _ => name.to_owned(),
    }
}

/// The files that may exist, in the order in which they count.
fn files(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let folder = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = folder("HOME");
    let below_home = |path: &str| home.as_ref().map(|home| home.join(path));
    let config = folder("XDG_CONFIG_HOME").or_else(|| below_home(".config"));
    [
        folder("REGISTRY_AUTH_FILE"),
        folder("DOCKER_CONFIG").map(|folder| folder.join("config.json")),
        folder("XDG_RUNTIME_DIR").map(|folder| folder.join("containers/auth.json")),
        config.map(|folder| folder.join("containers/auth.json")),
        below_home(".docker/config.json"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AuthFile {
    auths: BTreeMap<String, Entry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

fn find(wanted: &Wanted, files: &[PathBuf]) -> Result<RegistryAuth, CredentialsError> {
    for path in files {
        let unreadable = |reason: String| CredentialsError::Unreadable {
            server: wanted.server().to_owned(),
            file: path.clone(),
            reason: clean(&reason),
        };
        let Some(text) = read(path).map_err(|error| unreadable(error.to_string()))? else { continue };
        // As for Docker, an empty file is no configuration.
        if text.trim_ascii().is_empty() {
            continue;
        }
        let file: AuthFile = serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string()))?;
        if let Some(found) = in_file(wanted, path, &file, unreadable)? {
            return Ok(found);
        }
    }
    Ok(RegistryAuth::Anonymous)
}

/// A file up to the limit; `None` if there is none.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match fs::File::open(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        opened => opened?,
    };
    let mut text = Vec::new();
    file.take(LIMIT + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LIMIT {
        return Err(io::Error::other(format!("it is larger than {LIMIT} bytes")));
    }
    Ok(Some(text))
}

fn in_file(
    wanted: &Wanted,
    path: &Path,
    file: &AuthFile,
    unreadable: impl Fn(String) -> CredentialsError,
) -> Result<Option<RegistryAuth>, CredentialsError> {
    for key in &wanted.keys {
        if let Some((_, helper)) = file.cred_helpers.iter().find(|(name, _)| normal(name) == *key) {
            return ask(wanted, path, helper);
        }
        let entries = file.auths.iter().filter(|(name, _)| normal(name) == *key);
        for (_, entry) in entries {
            if let Some(found) = entry.read(wanted.server(), &unreadable)? {
                return Ok(Some(found));
            }
        }
    }
    match file.creds_store.as_deref().filter(|store| !store.is_empty()) {
        Some(store) => ask(wanted, path, store),
        None => Ok(None),
    }
}

impl Entry {
    /// The credentials; `None` if a credential store has them (Docker writes an empty entry then).
    fn read(
        &self,
        server: &str,
        unreadable: impl Fn(String) -> CredentialsError,
    ) -> Result<Option<RegistryAuth>, CredentialsError> {
        let given = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        if given(&self.identitytoken).is_some() {
            return Err(CredentialsError::IdentityToken { server: server.to_owned() });
        }
        if let Some(auth) = given(&self.auth) {
            // Some tools break long lines.
            let packed: String = auth.split_ascii_whitespace().collect();
            let decoded = BASE64_STANDARD.decode(packed).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let pair = decoded.as_deref().and_then(|text| text.split_once(':'));
            let (user, password) =
                pair.ok_or_else(|| unreadable("auth is not the base64 of user:password".to_owned()))?;
            return Ok(Some(RegistryAuth::Basic(user.to_owned(), password.trim_end_matches('\0').to_owned())));
        }
        Ok(given(&self.username).map(|user| RegistryAuth::Basic(user, self.password.clone().unwrap_or_default())))
    }
}

/// What a credential helper answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Asks a credential helper (<https://github.com/docker/docker-credential-helpers>).
fn ask(wanted: &Wanted, file: &Path, helper: &str) -> Result<Option<RegistryAuth>, CredentialsError> {
    let (program, server) = (format!("docker-credential-{helper}"), wanted.server().to_owned());
    let failed = |reason: &str| CredentialsError::Helper {
        server: server.clone(),
        program: clean(&program),
        file: file.to_owned(),
        reason: clean(reason),
    };
    let io = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => failed("there is no such program in PATH"),
        _ => failed(&error.to_string()),
    };
    let mut command = Command::new(&program);
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(io)?;
    // A helper that does not read its input says in its answer what is wrong.
    let _ = child.stdin.take().map(|mut input| input.write_all(server.as_bytes()));
    let answered = answer(&mut child, HELPER_LIMIT).map_err(io)?;
    let (status, output) =
        answered.ok_or_else(|| failed(&format!("it did not answer within {} s", HELPER_LIMIT.as_secs())))?;
    if !status.success() {
        let text = String::from_utf8_lossy(&output);
        // What every helper says of a registry without a login.
        if text.contains("credentials not found") {
            return Ok(None);
        }
        return Err(failed(if text.trim().is_empty() { "it failed" } else { text.trim() }));
    }
    let answer: Answer =
        serde_json::from_slice(&output).map_err(|error| failed(&format!("its answer is invalid: {error}")))?;
    if answer.username == "<token>" {
        return Err(CredentialsError::IdentityToken { server });
    }
    Ok(Some(RegistryAuth::Basic(answer.username, answer.secret)))
}

/// What a program writes until it ends, and how it ends. Ends it and answers `None` if it takes too long.
fn answer(child: &mut Child, limit: Duration) -> io::Result<Option<(ExitStatus, Vec<u8>)>> {
    let Some(stdout) = child.stdout.take() else { return Err(io::Error::other("its output is not captured")) };
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut output = Vec::new();
        let read = stdout.take(LIMIT).read_to_end(&mut output).map(|_| output);
        // Nobody waits anymore if this took too long.
        let _ = sender.send(read);
    });
    let Ok(output) = receiver.recv_timeout(limit) else {
        child.kill()?;
        child.wait()?;
        return Ok(None);
    };
    Ok(Some((child.wait()?, output?)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn wanted(image: &str) -> Wanted {
        Wanted::new(&image.parse().unwrap())
    }

    /// Looks into one file with this content.
    fn found(image: &str, content: &[u8]) -> Result<RegistryAuth, CredentialsError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), content).unwrap();
        find(&wanted(image), &[file.path().to_owned()])
    }

    fn in_json(image: &str, content: &Value) -> Result<RegistryAuth, CredentialsError> {
        found(image, &serde_json::to_vec(content).unwrap())
    }

    fn basic(user: &str, password: &str) -> RegistryAuth {
        RegistryAuth::Basic(user.to_owned(), password.to_owned())
    }

    #[test]
    fn the_files_of_docker_podman_and_skopeo_are_looked_at() {
        let variables = |name: &str| {
            let value = match name {
                "REGISTRY_AUTH_FILE" => "/named.json",
                "DOCKER_CONFIG" => "/docker",
                "XDG_RUNTIME_DIR" => "/run/user/1",
                "HOME" => "/home/me",
                _ => return None,
            };
            Some(value.into())
        };
        let expected = [
            "/named.json",
            "/docker/config.json",
            "/run/user/1/containers/auth.json",
            "/home/me/.config/containers/auth.json",
            "/home/me/.docker/config.json",
        ];
        assert_eq!(files(variables), expected.map(PathBuf::from));
        assert!(files(|_| None).is_empty());
    }

    #[test]
    fn a_helper_that_does_not_answer_is_ended() {
        let start =
            |program: &str, argument: &str| Command::new(program).arg(argument).stdout(Stdio::piped()).spawn().unwrap();
        let mut silent = start("sleep", "600");
        assert!(answer(&mut silent, Duration::from_millis(50)).unwrap().is_none());
        assert!(silent.try_wait().unwrap().is_some(), "it has ended");
        let (status, output) = answer(&mut start("echo", "{}"), HELPER_LIMIT).unwrap().unwrap();
        assert!(status.success() && output == b"{}\n", "{status} {output:?}");
    }

    #[test]
    fn the_first_file_that_knows_the_registry_counts() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            path
        };
        let files = [
            folder.path().join("none"),
            file("empty", ""),
            file("other", r#"{"auths":{"other.example":{"username":"x","password":"y"}}}"#),
            file("first", r#"{"auths":{"r.example":{"username":"first","password":"p"}}}"#),
            file("second", r#"{"auths":{"r.example":{"username":"second","password":"p"}}}"#),
        ];
        assert_eq!(find(&wanted("r.example/app:1"), &files).unwrap(), basic("first", "p"));
        assert_eq!(find(&wanted("x.example/app:1"), &files).unwrap(), RegistryAuth::Anonymous);
    }

    #[test]
    fn the_longest_key_counts() {
        let file = json!({"auths": {
            "r.example:5000": {"username": "host", "password": "1"},
            "r.example:5000/team": {"username": "team", "password": "2"},
            "r.example:5000/team/app": {"username": "app", "password": "3"},
            "https://index.docker.io/v1/": {"username": "hub", "password": "4"},
            "https://url.example/v2/": {"username": "url", "password": "5"},
        }});
        for (image, expected) in [
            ("r.example:5000/team/app:1", Some(basic("app", "3"))),
            ("r.example:5000/team/other:1", Some(basic("team", "2"))),
            ("r.example:5000/teams/app:1", Some(basic("host", "1"))),
            ("nginx:1", Some(basic("hub", "4"))),
            ("docker.io/me/app", Some(basic("hub", "4"))),
            ("url.example/app", Some(basic("url", "5"))),
            ("r.example/team/app", None),
        ] {
            assert_eq!(in_json(image, &file).unwrap(), expected.unwrap_or(RegistryAuth::Anonymous), "{image}");
        }
    }

    #[test]
    fn an_entry_is_read_as_docker_reads_it() {
        let auth = BASE64_STANDARD.encode("user:pass:word");
        let broken = format!("{}\n{}", &auth[..5], &auth[5..]);
        for (entry, expected) in [
            (json!({"auth": auth}), basic("user", "pass:word")),
            (json!({"auth": broken}), basic("user", "pass:word")),
            (json!({"auth": "", "username": "u", "password": "p"}), basic("u", "p")),
            (json!({}), RegistryAuth::Anonymous),
        ] {
            assert_eq!(in_json("r.example/app", &json!({"auths": {"r.example": entry}})).unwrap(), expected);
        }
        let token = in_json("r.example/app", &json!({"auths": {"r.example": {"identitytoken": "t"}}})).unwrap_err();
        assert!(matches!(token, CredentialsError::IdentityToken { .. }));
        for content in [&b"{"[..], br#"{"auths":{"r.example":{"auth":"%%"}}}"#] {
            let error = found("r.example/app", content).unwrap_err();
            assert!(matches!(&error, CredentialsError::Unreadable { server, .. } if server == "r.example"), "{error}");
        }
    }

    #[test]
    fn a_helper_that_does_not_exist_is_named() {
        for file in
            [json!({"auths": {}, "credsStore": "desktop.exe"}), json!({"credHelpers": {"r.example": "desktop.exe"}})]
        {
            let error = in_json("r.example/app", &file).unwrap_err().to_string();
            let expected = "docker-credential-desktop.exe does not give the credentials for r.example: \
                            there is no such program in PATH";
            assert_eq!(error, expected);
        }
    }
}
