//! Images that people have: of Python, Node, Go, nginx, and a shell, made by buildah of the packages of this machine. Each is
//! released, cut over, and rolled back under the requests of a client, on a local cloud of root and on one of an ordinary
//! user. One comes from the CNCF registry with a login.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::outside::Outside;
use crate::support::{BLUEGREEN, Cloud, Said, get, is_root, project};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

/// A service in an image.
pub struct Service {
    /// The folder of its sources in `images`, and the first word of its answer.
    name: &'static str,
    /// Its lines of the table `[app]`.
    app: &'static str,
    /// Whether it starts as root and becomes another user, which a task of an ordinary user cannot.
    changes_user: bool,
}

/// It runs a shell, and shows what a task sees.
pub const BUSYBOX: Service = Service { name: "busybox", app: "version_header = \"\"\n", changes_user: false };

static SERVICES: [Service; 5] = [
    Service { name: "python", app: "", changes_user: false },
    Service { name: "node", app: "", changes_user: false },
    BUSYBOX,
    Service { name: "go", app: "", changes_user: false },
    Service {
        name: "nginx",
        app: "port = 80\nread_only = false\ncapabilities = [\"CHOWN\", \"NET_BIND_SERVICE\", \"SETGID\", \"SETUID\"]\n",
        changes_user: true,
    },
];

/// The files of the layers of the Python image: their path, the number of their names, and where they are.
const FILES: [&str; 6] = [
    "/srv/app/server.py 1 /srv/app/server.py",
    "/srv/app/static/a.txt 2 /srv/app/static/a.txt",
    "/srv/app/static/hard.txt 2 /srv/app/static/hard.txt",
    "/srv/app/static/soft.txt 1 /srv/app/static/a.txt",
    "/srv/old/new 1 /srv/old/new",
    "/srv/turns/in 1 /srv/turns/in",
];

/// Makes `NAME-1.tar` and `NAME-2.tar` in the folder. False if this machine lacks a program for it.
fn make(service: &Service, folder: &Path) -> bool {
    let script = project().join("infra/tests/it/images/make.sh");
    let output = Command::new(script).arg(service.name).arg(folder).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    if output.status.code() == Some(3) {
        println!("SKIPPED: the image of {}, because this machine lacks something ({})", service.name, said.trim());
        return false;
    }
    assert!(output.status.success(), "{}: {output:?}", service.name);
    true
}

/// A registry with a login, which ends when it is dropped.
struct Registry {
    process: Child,
    /// Its address and port.
    address: String,
}

impl Registry {
    const LOGIN: &str = "bob:s3cret";
    /// The same as `htpasswd -nbB` writes it.
    const HASHED: &str = "bob:$2y$04$gXny2jpxvdzSVxyoQvo1/O5zpw6hgJyKP3q1ijLXW/o10WLd0cDai\n";

    /// Starts it in a folder, to which it writes `auth.json` with the login. None if it is not installed.
    fn start(folder: &Path) -> Option<Self> {
        let path = |name: &str| folder.join(name);
        std::fs::write(path("htpasswd"), Self::HASHED).unwrap();
        let config = json!({
            "version": "0.1", "log": { "level": "info" }, "http": { "addr": "127.0.0.1:0" },
            "storage": { "filesystem": { "rootdirectory": path("registry") } },
            "auth": { "htpasswd": { "realm": "shop", "path": path("htpasswd") } },
        });
        std::fs::write(path("registry.yml"), config.to_string()).unwrap();
        let mut command = Command::new("docker-registry");
        let started =
            command.arg("serve").arg(path("registry.yml")).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let Ok(mut process) = started else {
            println!("SKIPPED: an image from a registry with a login, because docker-registry is not installed");
            return None;
        };
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut told = lines.by_ref().map(Result::unwrap);
        let line = told.find(|line| line.contains("listening on")).expect("the registry does not start");
        // It must not wait until somebody reads its log.
        std::thread::spawn(move || lines.for_each(drop));
        let address = line.split("listening on ").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let auths = json!({ "auths": { &address: { "auth": BASE64_STANDARD.encode(Self::LOGIN) } } });
        std::fs::write(path("auth.json"), auths.to_string()).unwrap();
        Some(Self { process, address })
    }

    /// Copies an archive to it with skopeo.
    fn push(&self, folder: &Path, archive: &str, name: &str) {
        let mut command = Command::new("skopeo");
        command.args(["copy", "--quiet", "--dest-tls-verify=false", "--authfile"]).arg(folder.join("auth.json"));
        command.arg(format!("oci-archive:{}:t", folder.join(archive).display()));
        let output = command.arg(format!("docker://{}/{name}", self.address)).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// The images of this machine, and what a release of them needs.
pub struct Images {
    folder: tempfile::TempDir,
    pub services: Vec<&'static Service>,
    registry: Option<Registry>,
}

impl Images {
    /// Makes those of these services that this machine can make.
    pub fn make(wanted: &'static [Service]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        // An ordinary user reads it.
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let zip = path.join("function.zip");
        let services = std::thread::scope(|scope| {
            let made = wanted.iter().map(|service| scope.spawn(move || make(service, path).then_some(service)));
            let made: Vec<_> = made.collect();
            let mut function = Command::new(BLUEGREEN);
            let function = function.args(["function", "--out"]).arg(&zip).current_dir(project());
            Said::of(function.output().unwrap()).expect(0);
            made.into_iter().filter_map(|made| made.join().unwrap()).collect::<Vec<_>>()
        });
        let from_go = services.iter().any(|service| service.name == "go");
        let registry = if from_go { Registry::start(path) } else { None };
        for version in ["1", "2"].iter().filter(|_| registry.is_some()) {
            let archive = format!("go-{version}.tar");
            registry.as_ref().unwrap().push(path, &archive, &format!("go:{version}"));
        }
        Self { folder, services, registry }
    }

    /// Releases both versions of a service on a cloud, cuts over, rolls back, and lets the caller look at prod.
    pub fn release(&self, cloud: &Cloud, service: &Service, look: impl FnOnce(&str)) {
        let name = service.name;
        let folder = tempfile::Builder::new().prefix(name).tempdir_in(self.folder.path()).unwrap();
        cloud.give(folder.path());
        let archives = self.folder.path().join(format!("{name}-{{version}}.tar")).display().to_string();
        let registry = self.registry.as_ref().filter(|_| name == "go");
        let image = registry.map_or(archives, |registry| format!("{}/go:{{version}}", registry.address));
        let app = service.app;
        let settings = format!("name = \"{name}\"\n[app]\nimage = \"{image}\"\n{app}[health_check]\npath = \"/\"\n");
        std::fs::write(folder.path().join("bluegreen.toml"), settings).unwrap();
        let run = |arguments: &[&str]| {
            let mut command = cloud.command(arguments);
            command.current_dir(folder.path()).env("BLUEGREEN_FUNCTION", self.folder.path().join("function.zip"));
            command.env("REGISTRY_AUTH_FILE", self.folder.path().join("auth.json"));
            Said::of(command.output().unwrap()).expect(0)
        };
        let address = |side: &str| {
            let url = run(&["open", side]).out;
            url.trim().trim_start_matches("http://").trim_end_matches('/').to_owned()
        };
        let answers = |address: &str| get(address, "/").body.trim().to_owned();
        let versions = [format!("{name} 1"), format!("{name} 2")];
        run(&["deploy"]);
        run(&["deploy", "--version", "2"]);
        let (prod, dev) = (address("prod"), address("dev"));
        assert_eq!([answers(&prod), answers(&dev)], versions);

        let outside = Outside::start(&prod);
        let record = run(&["--json", "cutover", "--probes", "40"]).json();
        assert_eq!(record["outcome"], "done", "{name}: {record:#}");
        assert_eq!([answers(&dev), answers(&prod)], versions);
        run(&["rollback", "--probes", "40"]);
        assert_eq!([answers(&prod), answers(&dev)], versions);
        let seen = outside.leave();
        assert!(seen.failures.is_empty() && seen.requests > 500, "{name}: {seen:?}");
        let expected: BTreeMap<&str, bool> = if service.app.contains("version_header") {
            BTreeMap::new()
        } else {
            BTreeMap::from([("1", true), ("2", true)])
        };
        let known = seen.versions.iter().filter(|(version, _)| !version.is_empty());
        assert_eq!(known.map(|(version, count)| (version.as_str(), *count > 0)).collect::<BTreeMap<_, _>>(), expected);
        look(&prod);
        run(&["destroy", "--confirm", name]);
    }

    fn release_all(&self, cloud: &Cloud, ordinary: bool) {
        for service in &self.services {
            if ordinary && service.changes_user {
                println!("SKIPPED: {} of an ordinary user, because a task then has one user only", service.name);
                continue;
            }
            self.release(cloud, service, |prod| {
                if service.name == "python" {
                    let files = get(prod, "/files").body;
                    assert_eq!(files.lines().collect::<Vec<_>>(), FILES);
                }
            });
        }
    }
}

#[test]
fn images_of_other_tools_are_released_cut_over_and_rolled_back() {
    if !is_root() {
        println!("SKIPPED: images of other tools, because buildah needs root rights to make them here");
        return;
    }
    let images = Images::make(&SERVICES);
    std::thread::scope(|scope| {
        let ordinary = scope.spawn(|| match Cloud::start_as_ordinary_user([80, 81]) {
            Some(cloud) => images.release_all(&cloud, true),
            None => println!("SKIPPED: a local cloud of an ordinary user, who cannot run the Python of this machine"),
        });
        images.release_all(&Cloud::start([80, 81]), false);
        ordinary.join().unwrap();
    });
}
