//! The sleep of the idle environment on the local cloud: it sleeps after the bake time; a rollback under load and a
//! deployment wake it.

use std::time::{Duration, Instant};

use crate::support::Cloud;
use crate::support::function::Function;
use crate::support::outside::Outside;
use aws_sdk_ecs::Client;
use serde_json::{Value, json};

/// The shortest bake time, plus the delay of a busy machine.
const BAKED: Duration = Duration::from_mins(3);

/// A stack whose idle environment sleeps a minute after a cutover.
struct Sleepy {
    cloud: Cloud,
    folder: tempfile::TempDir,
}

impl Sleepy {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("bluegreen.toml"), "[cutover]\nidle_sleeps_after = 1\n").unwrap();
        Self { cloud: Cloud::start([80, 81]), folder }
    }

    fn run(&self, arguments: &[&str]) -> crate::support::Said {
        let config = self.folder.path().join("bluegreen.toml");
        self.cloud.run(&[&["--config", config.to_str().unwrap()], arguments].concat())
    }

    /// Scales down as the function does, without the bake time.
    fn end_tasks_of(&self, function: &Function<'_>, color: &str) {
        let service = function.physical_id(&format!("{color}Service"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let ecs = Client::new(&self.cloud.sdk_config().await);
            let request = ecs.update_service().cluster(&function.outputs["ClusterName"]).service(service);
            request.desired_count(0).send().await.unwrap();
        });
    }

    fn environment(&self, color: &str) -> Value {
        let status = self.run(&["status", "--json"]).expect(0).json();
        assert_eq!(status["warnings"], json!([]));
        let environments = status["environments"].as_array().unwrap();
        let found = environments.iter().find(|environment| environment["color"] == color).unwrap();
        assert_eq!(found["fault"], Value::Null);
        found.clone()
    }
}

/// Invokes the function, as the schedule of the stack does, until the environment sleeps. Returns the earlier answers.
fn wait_for_sleep(function: &Function<'_>, color: &str) -> Vec<String> {
    let deadline = Instant::now() + BAKED;
    let mut said = Vec::new();
    loop {
        let answer = function.invoke(&json!({ "op": "sleep" }));
        if answer["asleep"] == color {
            return said;
        }
        assert_eq!(answer["asleep"], Value::Null, "{answer}");
        said.push(answer["message"].as_str().unwrap().to_owned());
        assert!(Instant::now() < deadline, "{color} does not sleep: {said:?}");
        std::thread::sleep(Duration::from_secs(1));
    }
}

#[test]
fn the_old_side_sleeps_when_it_is_baked_and_wakes_for_a_rollback_and_for_a_deployment() {
    let sleepy = Sleepy::start();
    sleepy.run(&["deploy"]).expect(0);
    sleepy.run(&["deploy", "--version", "2"]).expect(0);
    let function = Function::of(&sleepy.cloud);
    let nobody = function.invoke(&json!({ "op": "sleep" }));
    assert!(nobody["message"].as_str().unwrap().contains("no cutover yet"), "{nobody}");

    let outside = Outside::start(&sleepy.cloud.address(0));
    sleepy.run(&["cutover"]).expect(0);
    let said = wait_for_sleep(&function, "green");
    assert!(said.iter().all(|message| message.contains("green stays up for")), "{said:?}");
    let green = sleepy.environment("green");
    assert_eq!((&green["asleep"], &green["desired"], &green["running"]), (&json!(true), &json!(0), &json!(0)));
    assert!(sleepy.run(&["status"]).expect(0).out.contains("asleep: a deployment, cutover, or rollback starts"));

    // A deployment that does not change the environment does not wake it.
    sleepy.run(&["deploy"]).expect(0);
    assert_eq!(sleepy.environment("green")["asleep"], true);

    sleepy.run(&["rollback"]).expect(0);
    assert_eq!(function.sides(), ("green".to_owned(), "blue".to_owned()));
    assert_eq!(sleepy.environment("green")["running"], 2);

    sleepy.end_tasks_of(&function, "Blue");
    assert_eq!(sleepy.environment("blue")["asleep"], true);
    sleepy.run(&["deploy", "--version", "2"]).expect(0);
    assert_eq!(sleepy.environment("blue")["running"], 2);
    let seen = outside.leave();
    assert!(seen.failures.is_empty(), "{:?}", seen.failures);
}
