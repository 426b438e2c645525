//! Podman, with runc, as the judge of images that this project makes, and as the engine that runs the tasks of a local cloud.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::cloud_images::{BUSYBOX, Images};
use crate::support::function::eventually;
use crate::support::podman::Podman;
use crate::support::{Cloud, get};
use serde_json::Value;

/// The settings of a task definition and of its environment, as the task sees them. The last fields depend on the machine.
const FACTS: [&str; 9] = [
    "user 0:0",
    "CapBnd:\t0000000000000000",
    "cannot write",
    "limit 536870912",
    "process 1 podman-init",
    "AWS_ECS_FARGATE us-east-1",
    "403",
    "AccessKeyId",
    "host 169.254.170.2",
];

#[test]
fn tasks_run_in_a_container_engine_of_this_machine() {
    static SERVICES: [crate::cloud_images::Service; 1] = [BUSYBOX];
    let Some(podman) = Podman::new("tasks in a container engine") else { return };
    if Command::new("catatonit").arg("--version").output().is_err() {
        println!(
            "SKIPPED: tasks in a container engine, because catatonit, the init process of Podman, is not installed"
        );
        return;
    }
    let images = Images::make(&SERVICES);
    let [service] = images.services[..] else { return };
    let api = podman.serve();
    let cloud = Cloud::start_with_engine([80, 81], &api.socket);
    assert!(cloud.local(&["status"]).expect(0).out.contains("isolated by the container engine"));
    images.release(&cloud, service, |prod| {
        assert_eq!(podman.words(&["ps", "--quiet"]).len(), 4, "two tasks of each environment");
        let facts = get(prod, "/cgi-bin/facts").body;
        for fact in FACTS {
            assert!(facts.lines().any(|line| line.trim_end().starts_with(fact)), "no {fact:?} in:\n{facts}");
        }
        assert!(facts.lines().any(|line| line.contains("\"Family\": \"busybox-")), "no metadata in:\n{facts}");
    });
    eventually("the engine has no task", || podman.words(&["ps", "--all", "--quiet"]).is_empty().then_some(()));

    // A daemon that was killed leaves its network and its images; `down` removes them.
    assert!(podman.words(&["network", "ls", "--format", "{{.Name}}"]).contains(&"local-cloud".to_owned()));
    assert_eq!(podman.words(&["image", "ls", "--quiet"]).len(), 2);
    let record: Value = serde_json::from_slice(&std::fs::read(cloud.state().join("instance.json")).unwrap()).unwrap();
    let daemon = record["daemon"]["pid"].to_string();
    assert!(Command::new("kill").args(["-9", &daemon]).status().unwrap().success());
    eventually("the daemon has ended", || (!Path::new("/proc").join(&daemon).join("exe").exists()).then_some(()));
    cloud.local(&["down"]).expect(0);
    assert!(podman.words(&["image", "ls", "--quiet"]).is_empty());
    assert!(!podman.words(&["network", "ls", "--format", "{{.Name}}"]).contains(&"local-cloud".to_owned()));
}

#[test]
fn an_engine_that_is_not_there_is_an_error_that_says_what_to_do() {
    let state = tempfile::tempdir().unwrap();
    let run = |host: &str| {
        let mut command = Command::new(crate::support::local_cloud());
        command.args(["up", "--engine", "docker", "--endpoint-port", "0"]).env("DOCKER_HOST", host);
        crate::support::Said::of(command.env("LOCAL_CLOUD_STATE", state.path().join("state")).output().unwrap())
            .expect(1)
    };
    let missing = run("unix:///nonexistent.sock").err;
    assert!(missing.contains("/nonexistent.sock") && missing.contains("hint: start Docker or Podman"), "{missing}");
    let remote = run("tcp://192.0.2.1:2375").err;
    assert!(remote.contains("is not an engine of this machine") && remote.contains("DOCKER_HOST=unix://"), "{remote}");
}

#[test]
fn the_image_of_a_package_runs_in_another_runtime() {
    let Some(podman) = Podman::new("the image of a Cargo package in another runtime") else { return };
    let cloud = Cloud::start([80, 81]);
    cloud.run(&["deploy"]).expect(0);
    let folder = tempfile::tempdir().unwrap();
    cloud.log_in(folder.path());
    let (repository, digest) = crate::cloud_any_image::digest_in(&cloud, "bluegreen", "1");
    let host = cloud.endpoint().trim_start_matches("http://");
    let image = format!("{host}/{repository}@{digest}");
    let login = folder.path().join("config.json").display().to_string();
    podman.run(&["pull", "--quiet", "--tls-verify=false", "--authfile", &login, &image]);

    // The strictest that a runtime offers; the sample app needs none of it.
    let mut command = podman.command();
    command.args(["run", "--rm", "--read-only", "--cap-drop", "ALL", "--user", "65532:65532", "--network", "host"]);
    command.args(["--name", "sample", "--env", "HOST=127.0.0.1", "--env", "PORT=0", &image]);
    let mut running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(running.stdout.take().unwrap()).lines().map(Result::unwrap);
    let line = lines.find(|line| line.contains("127.0.0.1:")).expect("the sample app does not listen");
    let port: String = line.split("127.0.0.1:").nth(1).unwrap().chars().take_while(char::is_ascii_digit).collect();
    let answer = get(&format!("127.0.0.1:{port}"), "/");
    assert_eq!((answer.status, answer.version.as_deref()), (200, Some("1")), "{answer:?}");
    let inspected = podman.run(&["inspect", "sample"]).stdout;
    let inspected: Value = serde_json::from_slice(&inspected).unwrap();
    assert_eq!(inspected[0]["HostConfig"]["ReadonlyRootfs"], true, "{inspected:#}");
    podman.run(&["stop", "sample"]);
    assert_eq!(running.wait().unwrap().code(), Some(0), "it ends by itself after SIGTERM");
}
