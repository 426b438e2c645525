//! A release is image and configuration. In any order of deployments, cutovers, rollbacks, edits, and manual updates,
//! only a deployment to an environment changes it, and only a cutover moves users.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::support::function::Function;
use crate::support::{Cloud, Said, User, project};
use serde_json::Value;

const COLORS: [&str; 2] = ["blue", "green"];

/// What an environment runs, according to AWS.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Runs {
    task_definition: String,
    environment: BTreeMap<String, String>,
    tasks: BTreeSet<String>,
}

/// The template and the parameters of the stack in CloudFormation.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Deployed {
    template: String,
    parameters: BTreeMap<String, String>,
}

/// A stack of the faulty service on a local cloud, with settings that the test edits.
struct Service<'a> {
    cloud: &'a Cloud,
    folder: tempfile::TempDir,
    settings: BTreeMap<&'static str, u64>,
    ecs: aws_sdk_ecs::Client,
    stacks: aws_sdk_cloudformation::Client,
    runtime: tokio::runtime::Runtime,
}

impl<'a> Service<'a> {
    fn new(cloud: &'a Cloud) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let config = runtime.block_on(cloud.sdk_config());
        let service = Self {
            cloud,
            folder: tempfile::tempdir().unwrap(),
            settings: BTreeMap::from([("DB", 0), ("interval", 5), ("drain", 30), ("retention", 30)]),
            ecs: aws_sdk_ecs::Client::new(&config),
            stacks: aws_sdk_cloudformation::Client::new(&config),
            runtime,
        };
        service.write();
        service
    }

    fn write(&self) {
        let it = &self.settings;
        let text = format!(
            "[app]\ncargo = \"faulty\"\ncount = 1\nderegistration_delay = {}\n[prod]\nport = 90\n[dev]\nport = 91\n\
             [environment]\nDB = \"{}\"\n[health_check]\ninterval = {}\n[cutover]\nprobe_path = \"/?{}\"\n",
            it["drain"], it["DB"], it["interval"], it["retention"]
        );
        std::fs::write(self.config(), text).unwrap();
    }

    fn config(&self) -> std::path::PathBuf {
        self.folder.path().join("bluegreen.toml")
    }

    fn edit(&mut self, key: &'static str, value: u64) {
        self.settings.insert(key, value);
        self.write();
    }

    fn run(&self, arguments: &[&str]) -> Said {
        let config = self.config();
        let all = [&["--config", config.to_str().unwrap()], arguments].concat();
        self.cloud.run_in(&project().join("local/faulty"), &all)
    }

    fn cut_over(&self, verb: &str) -> Said {
        self.run(&[verb, "--probes", "20", "--interval", "20ms", "--settle", "100ms"])
    }

    fn runs(&self, color: &str) -> Runs {
        let function = Function::of(self.cloud);
        let title = format!("{}{}", color[..1].to_uppercase(), &color[1..]);
        let (cluster, service) = (&function.outputs["ClusterName"], &function.outputs[&format!("{title}ServiceArn")]);
        self.runtime.block_on(async {
            let described = self.ecs.describe_services().cluster(cluster).services(service).send().await.unwrap();
            let task_definition = described.services()[0].task_definition().unwrap().to_owned();
            let definition = self.ecs.describe_task_definition().task_definition(&task_definition).send();
            let definition = definition.await.unwrap().task_definition.unwrap();
            let variables = definition.container_definitions()[0].environment().iter();
            let tasks = self.ecs.list_tasks().cluster(cluster).service_name(service).send().await.unwrap();
            Runs {
                task_definition,
                environment: variables
                    .map(|it| (it.name().unwrap().to_owned(), it.value().unwrap().to_owned()))
                    .collect(),
                tasks: tasks.task_arns().iter().cloned().collect(),
            }
        })
    }

    fn deployed(&self) -> Deployed {
        self.runtime.block_on(async {
            let template = self.stacks.get_template().stack_name("bluegreen").send().await.unwrap();
            let described = self.stacks.describe_stacks().stack_name("bluegreen").send().await.unwrap();
            let parameters = described.stacks()[0].parameters().iter();
            Deployed {
                template: template.template_body.unwrap(),
                parameters: parameters
                    .map(|it| (it.parameter_key().unwrap().to_owned(), it.parameter_value().unwrap().to_owned()))
                    .collect(),
            }
        })
    }

    fn prod(&self) -> String {
        Function::of(self.cloud).sides().0
    }

    fn releases(&self) -> Vec<Value> {
        self.run(&["--json", "releases", "--limit", "100"]).expect(0).json().as_array().unwrap().clone()
    }
}

fn other(color: &str) -> &'static str {
    if color == "blue" { "green" } else { "blue" }
}

/// A random sequence of cutovers, rollbacks, failed releases, edited settings, and manual updates.
const SEED: u64 = 50;

/// A small random number generator: the same seed gives the same sequence.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

#[test]
fn whatever_happens_an_environment_changes_by_a_release_to_it_and_users_move_by_a_cutover() {
    let start = std::env::var("RELEASE_SEED").ok().and_then(|it| it.parse().ok()).unwrap_or(SEED);
    eprintln!("RELEASE_SEED={start}");
    let mut dice = Dice(start);
    let cloud = Cloud::start([90, 91]);
    let mut service = Service::new(&cloud);
    service.run(&["deploy"]).expect(0);
    let user = User::of(cloud.address(0), "/");
    let mut released = 2;
    for step in 0..16 {
        let prod = service.prod();
        let idle = other(&prod);
        let before = COLORS.map(|color| service.runs(color));
        let deployed = service.deployed();
        let of = |runs: &[Runs; 2], color: &str| runs[usize::from(color == "green")].clone();
        let what = dice.roll(8);
        eprintln!("step {step}: {what}, prod is {prod}");
        match what {
            0 | 1 => {
                service.run(&["deploy", "--version", "1"]).expect(0);
                assert_eq!(service.prod(), prod);
                let runs = service.runs(idle);
                assert_eq!(runs.environment["DB"], service.settings["DB"].to_string());
                released += usize::from(service.deployed() != deployed);
                assert_eq!(service.runs(&prod), of(&before, &prod), "G1: a release to {idle} changed {prod}");
            }
            2 => {
                let said = service.run(&["deploy", "--version", "2"]).expect(4);
                assert!(said.err.contains("previous template and parameters"), "{}", said.err);
                released += 1;
                assert_eq!(service.deployed(), deployed, "G3: rolled back is not what was before");
                // Possibly in a new revision, because CloudFormation had deleted the previous one.
                assert_eq!(service.runs(idle).environment, of(&before, idle).environment);
                assert_eq!(service.runs(&prod), of(&before, &prod));
                assert_eq!(service.prod(), prod);
            }
            3 | 4 => {
                let verb = if what == 3 { "cutover" } else { "rollback" };
                let said = service.cut_over(verb);
                assert!(said.code == 0 || (verb == "rollback" && said.code == 3), "{}", said.err);
                let after = COLORS.map(|color| service.runs(color));
                assert_eq!(after, before, "G2: a {verb} changes no environment");
            }
            5 => {
                let key = ["DB", "interval", "drain"][usize::try_from(dice.roll(3)).unwrap()];
                let value = 3 + dice.roll(20);
                service.edit(key, value);
            }
            6 => {
                let value = dice.roll(20);
                service.edit("retention", value);
                service.run(&["deploy", "--yes"]).expect(0);
                let after = COLORS.map(|color| service.runs(color));
                assert_eq!(after, before, "a deployment of the stack changes no environment");
                assert_eq!(service.prod(), prod);
            }
            _ => {
                // Manual updates in the console: another label for the idle environment, and the previous one.
                let label = if idle == "blue" { "BlueVersion" } else { "GreenVersion" };
                for value in [&format!("by-hand-{step}"), &deployed.parameters[label]] {
                    cloud.set_parameter("bluegreen", label, value);
                    assert_eq!(service.prod(), prod, "an update of the stack moved users");
                    assert_eq!(service.runs(&prod), of(&before, &prod));
                }
            }
        }
        let listed = service.releases();
        assert_eq!(listed.len(), released, "{listed:#?}");
    }
    let seen = user.leave();
    assert!(seen.failures.is_empty(), "{:?} of {} requests", seen.failures, seen.requests);
    eprintln!("{} requests of a user, none failed", seen.requests);
    destroy(&service);
}

fn destroy(service: &Service<'_>) {
    service.run(&["destroy", "--confirm", "bluegreen"]).expect(0);
}

#[test]
fn the_live_environment_changes_only_by_force_that_somebody_confirmed() {
    let cloud = Cloud::start([90, 91]);
    let mut service = Service::new(&cloud);
    service.run(&["deploy"]).expect(0);
    service.edit("DB", 7);
    let before = service.runs("green");

    let refused = service.run(&["deploy", "--version", "1", "--color", "green"]).expect(3);
    assert!(refused.err.contains("green is live"), "{}", refused.err);
    let force = ["deploy", "--version", "1", "--color", "green", "--force"];
    let unasked = service.run(&force).expect(3);
    assert!(unasked.err.contains("users of prod (green) get it immediately"), "{}", unasked.err);
    assert_eq!(service.runs("green"), before);
    let diff = service.run(&["diff", "--version", "1", "--color", "green", "--force"]).expect(0);
    assert!(diff.out.contains("GreenTaskDefinition"), "{}", diff.out);

    let user = User::of(cloud.address(0), "/");
    service.run(&[&force[..], &["--yes"]].concat()).expect(0);
    let seen = user.leave();
    assert!(seen.failures.is_empty(), "{:?}", seen.failures);
    assert_eq!(service.runs("green").environment["DB"], "7");
    assert_eq!(service.runs("blue").environment["DB"], "0");
    destroy(&service);
}

#[test]
fn a_health_check_of_the_next_release_does_not_touch_prod_and_what_waits_is_said() {
    let cloud = Cloud::start([90, 91]);
    let mut service = Service::new(&cloud);
    service.run(&["deploy"]).expect(0);
    let groups = |service: &Service<'_>| {
        let template: Value = serde_json::from_str(&service.deployed().template).unwrap();
        ["BlueTargetGroup", "GreenTargetGroup"]
            .map(|it| template["Resources"][it]["Properties"]["HealthCheckIntervalSeconds"].as_u64().unwrap())
    };
    service.edit("interval", 11);
    let said = service.run(&["deploy"]).expect(0);
    assert!(said.err.contains("health_check.interval"), "{}", said.err);
    assert_eq!(groups(&service), [5, 5], "a deployment of the stack changes no release");
    service.edit("retention", 3);
    let said = service.run(&["deploy", "--version", "1"]).expect(0);
    assert!(said.err.contains("cutover.probe_path"), "{}", said.err);
    assert_eq!(groups(&service), [11, 5]);

    let releases = service.releases();
    assert_eq!(releases.iter().map(|it| it["number"].as_u64().unwrap()).collect::<Vec<_>>(), [3, 2, 1]);
    assert_eq!(releases[0]["changed"], serde_json::json!(["health_check.interval"]));
    assert_eq!((&releases[0]["current"], &releases[0]["color"]), (&true.into(), &"blue".into()));
    let table = service.run(&["releases"]).expect(0).out;
    assert!(table.contains("changes health_check.interval") && table.contains("running"), "{table}");
    assert!(Path::new(&service.config()).is_file());
    destroy(&service);
}
