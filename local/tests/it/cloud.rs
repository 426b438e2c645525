//! A whole local cloud, from `up` to `down`: deployments that succeed, deployments that fail, and leftover processes.

use crate::support::{Aws, Instance, LOG_GROUP, REPOSITORY, eventually, is_alive, is_root, server, uid};
use aws_sdk_ecs::types::DeploymentRolloutState;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Sends requests at a fixed rate, independent of the responses; counts responses by their text.
struct Load {
    stop: Arc<AtomicBool>,
    answers: Arc<Mutex<BTreeMap<String, u32>>>,
    running: tokio::task::JoinHandle<()>,
}

impl Load {
    fn start(client: &reqwest::Client, url: &str) -> Self {
        let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(BTreeMap::new())));
        let (client, url) = (client.clone(), url.to_owned());
        let running = tokio::spawn({
            let (stop, answers) = (Arc::clone(&stop), Arc::clone(&answers));
            async move {
                let mut pace = tokio::time::interval(Duration::from_millis(10));
                let mut requests = tokio::task::JoinSet::new();
                while !stop.load(Ordering::Relaxed) {
                    pace.tick().await;
                    let (client, url, answers) = (client.clone(), url.clone(), Arc::clone(&answers));
                    requests.spawn(async move {
                        let answer = get(&client, &url).await;
                        let answer = answer
                            .map_or_else(|error| error, |text| text.split(" for").next().unwrap_or("").to_owned());
                        *answers.lock().unwrap().entry(answer).or_default() += 1;
                    });
                }
                requests.join_all().await;
            }
        });
        Self { stop, answers, running }
    }

    async fn end(self) -> BTreeMap<String, u32> {
        self.stop.store(true, Ordering::Relaxed);
        self.running.await.unwrap();
        self.answers.lock().unwrap().clone()
    }
}

async fn get(client: &reqwest::Client, url: &str) -> Result<String, String> {
    let response = client.get(url).send().await.map_err(|error| format!("{error:?}"))?;
    let status = response.status();
    let text = response.text().await.map_err(|error| format!("{error:?}"))?;
    if status.is_success() { Ok(text) } else { Err(format!("{status} {text}")) }
}

/// An instance with a service behind its load balancer.
struct Deployed {
    instance: Instance,
    aws: Aws,
    client: reqwest::Client,
    prod: String,
    program: Vec<u8>,
}

impl Deployed {
    /// Deploys version 1 on two tasks.
    async fn with_version_1() -> Self {
        rustls::crypto::ring::default_provider().install_default().unwrap();
        let instance = Instance::new();
        let program = server(instance.dir.path());
        instance.up();
        let status = instance.status();
        let aws = instance.aws();
        let prod = status["forwards"][0]["url"].as_str().unwrap().to_owned();
        let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).build().unwrap();

        let nothing = get(&client, &prod).await.unwrap_err();
        assert!(nothing.starts_with("503") && nothing.contains("nothing is deployed yet"), "{nothing}");

        aws.prepare().await;
        let this = Self { instance, aws, client, prod, program };
        let group = this.aws.target_group("web").await;
        this.aws.load_balancer(&group).await;
        let v1 = this.definition("web", "VERSION=1").await;
        this.aws.service("web", &v1, &group, 2).await;
        eventually("version 1 serves", Duration::from_secs(20), || async {
            let answer = get(&this.client, &this.prod).await?;
            let expected = answer.contains("version 1 in image") && answer.contains(".elb.");
            if expected && this.healthy().len() == 2 { Ok(()) } else { Err(answer) }
        })
        .await;
        this
    }

    /// A task definition for an image with this environment.
    async fn definition(&self, family: &str, env: &str) -> String {
        let image = self.aws.push(&self.program, &[env]).await;
        self.aws.task_definition(family, &image).await
    }

    /// The addresses of the healthy tasks of the service.
    fn healthy(&self) -> BTreeSet<String> {
        let status = self.instance.status();
        let healthy = |task: &&serde_json::Value| task["service"] == "web" && task["state"] == "healthy";
        let tasks = status["tasks"].as_array().unwrap().iter().filter(healthy);
        tasks.map(|task| task["address"].as_str().unwrap().to_owned()).collect()
    }

    async fn a_rolling_update_loses_no_request(&self) -> String {
        let (load, before) = (Load::start(&self.client, &self.prod), self.healthy());
        let v2 = self.definition("web", "VERSION=2").await;
        self.aws.update("web", &v2).await;
        self.aws.rollout("web", &v2, DeploymentRolloutState::Completed).await;
        eventually("only version 2 is left", Duration::from_secs(20), || async {
            let (found, healthy) = (self.aws.describe("web").await, self.healthy());
            let replaced = healthy.len() == 2 && healthy.is_disjoint(&before);
            if found.deployments().len() == 1 && replaced { Ok(()) } else { Err(format!("{healthy:?}, {found:?}")) }
        })
        .await;
        let answers = load.end().await;
        println!("answers during the rolling update: {answers:?}");
        assert_eq!(answers.keys().collect::<Vec<_>>(), ["version 1 in image", "version 2 in image"], "{answers:?}");
        v2
    }

    /// The old version continues to serve, and every place that people look at shows the reason.
    async fn an_image_that_exits_is_rolled_back(&self) {
        let broken = self.definition("web", "MODE=exit").await;
        self.aws.update("web", &broken).await;
        self.aws.rollout("web", &broken, DeploymentRolloutState::Failed).await;
        let reason = self.aws.stopped_reason(&broken).await.unwrap();
        let output = "cannot find my configuration";
        assert_eq!(reason, format!("Essential container in task exited (3: {output})"));
        let shown = String::from_utf8(self.instance.run(&["status"]).stdout).unwrap();
        assert!(shown.contains("exited (3)") && shown.contains(&format!("| {output}")), "{shown}");
        eventually("the output is in the log group", Duration::from_secs(10), || async {
            let found = self.aws.logs.filter_log_events().log_group_name(LOG_GROUP).send().await.unwrap();
            let messages: Vec<&str> = found.events().iter().filter_map(|event| event.message()).collect();
            // No variable of the environment of this test has reached a task.
            assert!(!messages.iter().any(|line| line.contains("secret Some")), "{messages:?}");
            let healthy_too = messages.iter().any(|line| line.starts_with("listening, "));
            if messages.contains(&output) && healthy_too { Ok(()) } else { Err(format!("{messages:?}")) }
        })
        .await;
    }

    async fn an_image_that_cannot_be_pulled_is_rolled_back(&self) {
        let missing = format!("000000000000.dkr.ecr.us-east-1.amazonaws.com/{REPOSITORY}@sha256:{}", "0".repeat(64));
        let missing = self.aws.task_definition("web", &missing).await;
        self.aws.update("web", &missing).await;
        self.aws.rollout("web", &missing, DeploymentRolloutState::Failed).await;
        let reason = self.aws.stopped_reason(&missing).await.unwrap();
        let expected =
            reason.starts_with("CannotPullContainerError") && reason.contains("not available from the registry");
        assert!(expected, "{reason}");
    }

    async fn a_task_that_becomes_unhealthy_is_replaced(&self) {
        let before = self.healthy();
        let victim = before.first().unwrap();
        get(&self.client, &format!("http://{victim}:8080/break")).await.unwrap();
        eventually("the unhealthy task is replaced", Duration::from_secs(20), || async {
            let now = self.healthy();
            if now.len() == 2 && !now.contains(victim) { Ok(()) } else { Err(format!("{now:?}, not {victim}")) }
        })
        .await;
    }

    /// Tasks run as the user of the image if this test has root rights; `down` stops all of them.
    fn nothing_is_left_after_down(&self) {
        let pids = self.instance.pids();
        assert!(pids.len() >= 4, "MiniStack, two tasks, the daemon: {pids:?}");
        if is_root() {
            assert!(pids.iter().filter(|pid| uid(**pid) == Some(65532)).count() >= 2, "{pids:?}");
        }
        let down = self.instance.run(&["down"]);
        assert_eq!(String::from_utf8_lossy(&down.stdout), "The local cloud is stopped.\n");
        let left: Vec<&i64> = pids.iter().filter(|pid| is_alive(**pid)).collect();
        assert!(left.is_empty(), "{left:?}");
        let again = self.instance.run(&["down"]);
        assert_eq!(String::from_utf8_lossy(&again.stdout), "The local cloud is not running.\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deployments_on_a_local_cloud() {
    let deployed = Deployed::with_version_1().await;
    // The failure takes a while to be detected, so it runs in parallel.
    let sick_group = deployed.aws.target_group("sick").await;
    let sick = deployed.definition("sick", "MODE=sick").await;
    deployed.aws.service("sick", &sick, &sick_group, 1).await;

    let v2 = deployed.a_rolling_update_loses_no_request().await;

    let load = Load::start(&deployed.client, &deployed.prod);
    deployed.an_image_that_exits_is_rolled_back().await;
    // MiniStack rolls back only to a completed deployment.
    deployed.aws.rollout("web", &v2, DeploymentRolloutState::Completed).await;
    deployed.an_image_that_cannot_be_pulled_is_rolled_back().await;
    deployed.aws.rollout("web", &v2, DeploymentRolloutState::Completed).await;
    let answers = load.end().await;
    println!("answers during two failed updates: {answers:?}");
    assert_eq!(answers.keys().collect::<Vec<_>>(), ["version 2 in image"], "{answers:?}");
    assert_eq!(deployed.aws.describe("web").await.task_definition(), Some(v2.as_str()));

    deployed.a_task_that_becomes_unhealthy_is_replaced().await;
    eventually("a new task that is not healthy has failed", Duration::from_secs(25), || async {
        let reason = deployed.aws.stopped_reason(&sick).await?;
        let expected = "failed ELB health checks in target-group sick (health check GET http://127.";
        assert!(reason.contains(expected) && reason.contains("/healthz answered 500"), "{reason}");
        Ok(())
    })
    .await;
    deployed.nothing_is_left_after_down();
}

#[test]
fn a_killed_daemon_is_noticed_and_what_it_left_is_ended() {
    let instance = Instance::new();
    instance.up();
    let pids = instance.pids();
    let daemon = instance.daemon();
    assert!(std::process::Command::new("kill").args(["-9", &daemon.to_string()]).status().unwrap().success());
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    while is_alive(daemon) {
        assert!(std::time::Instant::now() < deadline, "the daemon survived SIGKILL");
        std::thread::sleep(Duration::from_millis(10));
    }
    let status = instance.run(&["status"]);
    let shown = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(
        !status.status.success()
            && shown.contains("its daemon is not running")
            && shown.contains("Leftover processes: MiniStack"),
        "{shown}"
    );
    let exec = instance.run(&["exec", "--", "true"]);
    assert_eq!(exec.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&exec.stderr).contains("the local cloud is not running"));
    assert!(instance.run(&["down"]).status.success());
    assert!(!pids.iter().any(|pid| is_alive(*pid)));
}

#[test]
fn the_environment_of_exec_points_here_and_nowhere_else() {
    let instance = Instance::new();
    instance.up();
    let script =
        "echo $AWS_ENDPOINT_URL $AWS_REGION $AWS_ACCESS_KEY_ID ${AWS_PROFILE-none} $BLUEGREEN_CONNECT_TO; exit 7";
    let output = instance.run(&["exec", "--", "env", "sh", "-c", script]);
    let status = instance.status();
    let expected = format!(
        "{} us-east-1 {} none {}\n",
        status["endpoint"].as_str().unwrap(),
        instance.credentials().access_key_id(),
        status["connect_to"].as_str().unwrap()
    );
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    assert_eq!(output.status.code(), Some(7));
    assert!(status["connect_to"].as_str().unwrap().starts_with(":80:127.0.0.1|127."), "all nodes: {status}");
}

#[test]
fn what_is_missing_or_taken_is_named_with_what_to_do() {
    let instance = Instance::new();
    let missing = instance.run(&["up", "--python", "/nonexistent/python"]);
    let said = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert_eq!(missing.status.code(), Some(1));
    assert!(
        said.contains("cannot run /nonexistent/python") && said.contains("hint: create the Python environment"),
        "{said}"
    );

    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port().to_string();
    let taken = instance.run(&[
        "up",
        "--python",
        instance.python.to_str().unwrap(),
        "--endpoint-port",
        &port,
        "--forward",
        "0:80",
    ]);
    let said = String::from_utf8_lossy(&taken.stderr).into_owned();
    assert!(
        said.contains(&format!("port 127.0.0.1:{port} is in use by")) && said.contains("--endpoint-port PORT"),
        "{said}"
    );

    let other = Instance::new();
    other.up();
    let port = other.status()["endpoint"].as_str().unwrap().rsplit_once(':').unwrap().1.to_owned();
    let taken = instance.run(&["up", "--python", instance.python.to_str().unwrap(), "--endpoint-port", &port]);
    let said = String::from_utf8_lossy(&taken.stderr).into_owned();
    let state = format!("state directory {})", other.state().display());
    assert!(said.contains(&state) && said.contains("local-cloud --state DIRECTORY down"), "{said}");
    assert_eq!(instance.run(&["frobnicate"]).status.code(), Some(2));
}
