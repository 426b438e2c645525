//! Task faults on a local cloud: rules make real tasks slow, wrong, killed, or unhealthy.

use crate::support::{Aws, Instance, eventually, server};
use aws_sdk_ecs::types::DeploymentRolloutState;
use serde_json::Value;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(30);

/// A service of two tasks behind a load balancer.
struct World {
    instance: Instance,
    aws: Aws,
    client: reqwest::Client,
    prod: String,
    program: Vec<u8>,
}

impl World {
    async fn new() -> Self {
        rustls::crypto::ring::default_provider().install_default().unwrap();
        let instance = Instance::new();
        let program = server(instance.dir.path());
        instance.up();
        let status = instance.status();
        let aws = instance.aws();
        let prod = status["forwards"][0]["url"].as_str().unwrap().to_owned();
        let client = reqwest::Client::builder().timeout(LIMIT).build().unwrap();
        aws.prepare().await;
        let this = Self { instance, aws, client, prod, program };
        let group = this.aws.target_group("web").await;
        this.aws.load_balancer(&group).await;
        let definition = this.definition("VERSION=1").await;
        this.aws.service("web", &definition, &group, 2).await;
        this.until_two_serve().await;
        this
    }

    async fn definition(&self, env: &str) -> String {
        let image = self.aws.push(&self.program, &[env]).await;
        self.aws.task_definition("web", &image).await
    }

    async fn until_two_serve(&self) {
        // ECS counts a task as running shortly after it is healthy; until then, a deployment replaces it.
        eventually("two tasks serve", LIMIT, || async {
            let tasks = self.tasks("healthy");
            let running = self.aws.describe("web").await.running_count();
            let serve = tasks.len() == 2 && running == 2 && self.get().await == 200;
            if serve { Ok(()) } else { Err(format!("{running} running, {tasks:?}")) }
        })
        .await;
    }

    fn tasks(&self, state: &str) -> Vec<Value> {
        let status = self.instance.status();
        let tasks = status["tasks"].as_array().unwrap().iter();
        tasks.filter(|task| task["state"] == state).cloned().collect()
    }

    /// The status of a page.
    async fn get(&self) -> u16 {
        self.client.get(&self.prod).send().await.unwrap().status().as_u16()
    }

    #[track_caller]
    fn fault(&self, arguments: &[&str]) -> String {
        let said = self.instance.run(&[&["fault"], arguments].concat());
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8(said.stdout).unwrap()
    }

    /// A task ended with this reason, and another task replaced it.
    async fn one_was_replaced(&self, exit_code: i32, reason: &str) {
        eventually("a task has ended", LIMIT, || async {
            let ended = self.tasks("exited");
            let so = |task: &Value| {
                task["exit_code"] == exit_code && task["reason"].as_str().is_some_and(|why| why.contains(reason))
            };
            if ended.iter().any(so) { Ok(()) } else { Err(format!("{ended:?}")) }
        })
        .await;
        self.until_two_serve().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_fail_as_rules_say_and_are_what_they_were_afterwards() {
    let world = World::new().await;

    world.fault(&["task", "slow", "--of", "web:", "--ms", "400"]);
    let began = Instant::now();
    assert_eq!(world.get().await, 200);
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
    assert_eq!(world.fault(&["clear"]), "1 faults cleared\n");

    world.fault(&["task", "status", "--status", "503", "--of", "another"]);
    world.fault(&["task", "status", "--status", "503", "--listener", "81"]);
    assert_eq!(world.get().await, 200, "neither another service's nor another listener's");
    world.fault(&["task", "status", "--status", "503", "--listener", "80", "--skip", "1", "--times", "2"]);
    let statuses = [world.get().await, world.get().await, world.get().await, world.get().await];
    assert_eq!(statuses, [200, 503, 503, 200]);
    let listed: Value = serde_json::from_str(&world.fault(&["list", "--json"])).unwrap();
    let met: Vec<u64> = listed["tasks"].as_array().unwrap().iter().map(|it| it["met"].as_u64().unwrap()).collect();
    assert_eq!(met, [0, 0, 4], "{listed}");
    assert_eq!(world.fault(&["clear"]), "3 faults cleared\n");

    world.fault(&["task", "oom", "--times", "1"]);
    world.get().await;
    world.one_was_replaced(137, "OutOfMemoryError").await;
    world.fault(&["task", "crash", "--times", "1"]);
    world.get().await;
    world.one_was_replaced(134, "exited with code 134").await;
    world.fault(&["clear"]);

    // New tasks that never become healthy are rolled back, and running tasks are not affected.
    let before = world.tasks("healthy");
    let image = world.aws.push(&world.program, &["VERSION=2"]).await;
    let second = world.aws.task_definition("web", &image).await;
    world.fault(&["task", "unhealthy", "--of", image.split('@').nth(1).unwrap()]);
    world.aws.update("web", &second).await;
    world.aws.rollout("web", &second, DeploymentRolloutState::Failed).await;
    let reason = world.aws.stopped_reason(&second).await.unwrap();
    assert!(reason.contains("failed ELB health checks") && reason.contains("answered 503"), "{reason}");
    assert_eq!(world.tasks("healthy"), before);
    assert_eq!(world.get().await, 200);
}
