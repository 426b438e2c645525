//! A whole local cloud, from `up` to `down`: deployments that work, deployments that fail, and what is left behind.

// The functions around the tests are test code too.
#![allow(clippy::unwrap_used)]

mod support;

use aws_sdk_ecs::types::DeploymentRolloutState;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{Aws, Instance, LOG_GROUP, REPOSITORY, eventually, is_alive, is_root, server, uid};

/// Requests at a steady pace, however slow the answers are; counts answers by what they were.
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

#[tokio::test(flavor = "multi_thread")]
async fn deployments_on_a_local_cloud() {
    rustls::crypto::ring::default_provider().install_default().unwrap();
    let instance = Instance::new();
    let program = server(instance.dir.path());
    instance.up();
    let status = instance.status();
    let aws = Aws::new(status["endpoint"].as_str().unwrap());
    let prod = status["forwards"][0]["url"].as_str().unwrap().to_owned();
    let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).build().unwrap();

    let nothing = get(&client, &prod).await.unwrap_err();
    assert!(nothing.starts_with("503") && nothing.contains("nothing is deployed yet"), "{nothing}");

    aws.ecr.create_repository().repository_name(REPOSITORY).send().await.unwrap();
    aws.logs.create_log_group().log_group_name(LOG_GROUP).send().await.unwrap();
    aws.ecs.create_cluster().cluster_name("test").send().await.unwrap();
    let group = aws.target_group("web").await;
    aws.load_balancer(&group).await;
    let sick_group = aws.target_group("sick").await;

    // Takes its time to be found out, so it runs beside the rest.
    let sick = aws.task_definition("sick", &aws.push(&program, &["MODE=sick"]).await).await;
    aws.service("sick", &sick, &sick_group, 1).await;

    // It serves, as the image's user's process in the image's file system, on an address of its own.
    let v1 = aws.task_definition("web", &aws.push(&program, &["VERSION=1"]).await).await;
    aws.service("web", &v1, &group, 2).await;
    eventually("version 1 serves", Duration::from_secs(20), || async {
        let answer = get(&client, &prod).await?;
        if answer.contains("version 1 in image") && answer.contains(".elb.") { Ok(()) } else { Err(answer) }
    })
    .await;
    eventually("both tasks are healthy", Duration::from_secs(20), || async {
        let found = aws.describe("web").await;
        if found.running_count() == 2 { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;

    // A rolling update under load loses nothing.
    let load = Load::start(&client, &prod);
    let v2 = aws.task_definition("web", &aws.push(&program, &["VERSION=2"]).await).await;
    aws.update("web", &v2).await;
    aws.rollout("web", &v2, DeploymentRolloutState::Completed).await;
    eventually("only version 2 is left", Duration::from_secs(20), || async {
        let found = aws.describe("web").await;
        let tasks =
            instance.status()["tasks"].as_array().unwrap().iter().filter(|task| task["service"] == "web").count();
        if found.deployments().len() == 1 && tasks == 2 { Ok(()) } else { Err(format!("{tasks} tasks, {found:?}")) }
    })
    .await;
    let answers = load.end().await;
    println!("answers during the rolling update: {answers:?}");
    assert_eq!(answers.keys().collect::<Vec<_>>(), ["version 1 in image", "version 2 in image"], "{answers:?}");

    // An image that exits leaves the old one serving, and says why everywhere people look.
    let load = Load::start(&client, &prod);
    let broken = aws.task_definition("web", &aws.push(&program, &["MODE=exit"]).await).await;
    aws.update("web", &broken).await;
    aws.rollout("web", &broken, DeploymentRolloutState::Failed).await;
    let reason = aws.stopped_reason(&broken).await.unwrap();
    assert!(
        reason.contains("exited with code 3 before it was healthy") && reason.contains("cannot find my configuration"),
        "{reason}"
    );
    let shown = String::from_utf8(instance.run(&["status"]).stdout).unwrap();
    assert!(shown.contains("exited (3)") && shown.contains("| cannot find my configuration"), "{shown}");
    eventually("the output is in the log group", Duration::from_secs(10), || async {
        let found = aws.logs.filter_log_events().log_group_name(LOG_GROUP).send().await.unwrap();
        let messages: Vec<&str> = found.events().iter().filter_map(|event| event.message()).collect();
        let both = messages.contains(&"cannot find my configuration")
            && messages.iter().any(|line| line.starts_with("listening on 127."));
        // Nothing of this test's own environment has reached a task.
        assert!(!messages.iter().any(|line| line.contains("secret Some")), "{messages:?}");
        if both { Ok(()) } else { Err(format!("{messages:?}")) }
    })
    .await;

    // So does one that cannot be pulled. MiniStack rolls back only to a completed deployment.
    aws.rollout("web", &v2, DeploymentRolloutState::Completed).await;
    let missing = format!("000000000000.dkr.ecr.us-east-1.amazonaws.com/{REPOSITORY}@sha256:{}", "0".repeat(64));
    let missing = aws.task_definition("web", &missing).await;
    aws.update("web", &missing).await;
    aws.rollout("web", &missing, DeploymentRolloutState::Failed).await;
    let reason = aws.stopped_reason(&missing).await.unwrap();
    assert!(
        reason.starts_with("CannotPullContainerError") && reason.contains("not available from the registry"),
        "{reason}"
    );
    aws.rollout("web", &v2, DeploymentRolloutState::Completed).await;
    let answers = load.end().await;
    println!("answers during two failed updates: {answers:?}");
    assert_eq!(answers.keys().collect::<Vec<_>>(), ["version 2 in image"], "{answers:?}");
    assert_eq!(aws.describe("web").await.task_definition(), Some(v2.as_str()));

    // A task that becomes unhealthy is replaced.
    let addresses = |status: &serde_json::Value| -> BTreeSet<String> {
        let healthy = |task: &&serde_json::Value| task["service"] == "web" && task["state"] == "healthy";
        let tasks = status["tasks"].as_array().unwrap().iter().filter(healthy);
        tasks.map(|task| task["address"].as_str().unwrap().to_owned()).collect()
    };
    let before = addresses(&instance.status());
    let victim = before.first().unwrap();
    get(&client, &format!("http://{victim}:8080/break")).await.unwrap();
    eventually("the unhealthy task is replaced", Duration::from_secs(20), || async {
        let now = addresses(&instance.status());
        if now.len() == 2 && !now.contains(victim) { Ok(()) } else { Err(format!("{now:?}, the victim is {victim}")) }
    })
    .await;

    // And one that runs, but is not healthy.
    eventually("the sick task has failed", Duration::from_secs(25), || async {
        let reason = aws.stopped_reason(&sick).await?;
        let expected = "failed ELB health checks in target-group sick (health check GET http://127.";
        assert!(reason.contains(expected) && reason.contains("/healthz answered 500"), "{reason}");
        Ok(())
    })
    .await;

    // Tasks are the image's user, where this test may decide about users.
    let pids = instance.pids();
    if is_root() {
        let tasks = pids.iter().filter(|pid| uid(**pid) == Some(65532)).count();
        assert!(tasks >= 2, "{pids:?}");
    }
    assert!(pids.len() >= 4, "MiniStack, two tasks, the daemon: {pids:?}");
    let down = instance.run(&["down"]);
    assert_eq!(String::from_utf8_lossy(&down.stdout), "The local cloud has ended.\n");
    let left: Vec<&i64> = pids.iter().filter(|pid| is_alive(**pid)).collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(String::from_utf8_lossy(&instance.run(&["down"]).stdout), "The local cloud is not running.\n");
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
        !status.status.success() && shown.contains("its daemon is gone") && shown.contains("left behind: MiniStack"),
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
        "{} us-east-1 test none {}\n",
        status["endpoint"].as_str().unwrap(),
        status["connect_to"].as_str().unwrap()
    );
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    assert_eq!(output.status.code(), Some(7));
    assert!(status["connect_to"].as_str().unwrap().starts_with(":80:127.0.0.1:"));
}

#[test]
fn what_is_missing_or_taken_is_named_with_what_to_do() {
    let instance = Instance::new();
    let missing = instance.run(&["up", "--python", "/nonexistent/python"]);
    let said = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert_eq!(missing.status.code(), Some(1));
    assert!(
        said.contains("/nonexistent/python cannot be run") && said.contains("hint: make the Python environment"),
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
        said.contains(&format!("port 127.0.0.1:{port} is taken by")) && said.contains("--endpoint-port PORT"),
        "{said}"
    );
    assert_eq!(instance.run(&["frobnicate"]).status.code(), Some(2));
}
