//! Support for the tests: a separate instance, images, and the AWS calls of a deployment.

mod ordinary;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_ecs::types as ecs;
use aws_sdk_elasticloadbalancingv2::types as elb;
use base64::Engine as _;
use flate2::{Compression, write::GzEncoder};
use oci_client::client::{ClientConfig, ClientProtocol, Config, ImageLayer};
use oci_client::manifest::OciImageManifest;
use oci_client::secrets::RegistryAuth;
use ordinary::{USER, python_for_user};
use serde_json::{Value, json};
use std::future::Future;
use std::io::Write as _;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub const REPOSITORY: &str = "web";
pub const LOG_GROUP: &str = "/test/web";

/// A local cloud of one test, stopped at its end.
pub struct Instance {
    pub dir: TempDir,
    pub python: PathBuf,
    /// The user that runs it; none for the user of the test.
    user: Option<u32>,
}

impl Instance {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), python: python(), user: None }
    }

    /// An instance that an ordinary user runs. None if this test is not root, or that user cannot run Python.
    pub fn of_ordinary_user() -> Option<Self> {
        if !is_root() {
            return None;
        }
        let mut instance = Self::new();
        instance.user = Some(USER);
        std::os::unix::fs::chown(instance.dir.path(), Some(USER), Some(USER)).unwrap();
        instance.python = python_for_user(&instance.python, instance.dir.path())?;
        Some(instance)
    }

    pub fn has_root_rights(&self) -> bool {
        self.user.is_none() && is_root()
    }

    pub fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_local-cloud"));
        command.arg("--state").arg(self.state()).args(arguments).env("LOCAL_CLOUD_PYTHON", &self.python);
        if let Some(user) = self.user {
            command.uid(user).gid(user).env("HOME", self.dir.path()).current_dir("/");
        }
        command.output().unwrap()
    }

    pub fn up(&self) {
        self.up_with(&[]);
    }

    pub fn up_with(&self, options: &[&str]) {
        let up = ["up", "--endpoint-port", "0", "--forward", "0:80", "--forward", "0:81"];
        let output = self.run(&[&up[..], options].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// The AWS clients of this instance.
    pub fn aws(&self) -> Aws {
        Aws::new(self.status()["endpoint"].as_str().unwrap(), self.credentials())
    }

    /// The access key of this instance.
    pub fn credentials(&self) -> Credentials {
        let key: Value =
            serde_json::from_slice(&std::fs::read(self.state().join("credentials.json")).unwrap()).unwrap();
        let text = |name: &str| key[name].as_str().unwrap().to_owned();
        Credentials::new(text("access_key_id"), text("secret_access_key"), None, None, "test")
    }

    pub fn status(&self) -> Value {
        let output = self.run(&["status", "--json"]);
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Every process that the instance has recorded, and its daemon.
    pub fn pids(&self) -> Vec<i64> {
        let read =
            |name: &str| -> Value { serde_json::from_slice(&std::fs::read(self.state().join(name)).unwrap()).unwrap() };
        let children = read("processes.json");
        let mut pids: Vec<i64> = children["children"]
            .as_array()
            .unwrap()
            .iter()
            .map(|child| child["process"]["pid"].as_i64().unwrap())
            .collect();
        pids.push(self.daemon());
        pids
    }

    /// The TCP ports on which the processes of the instance listen, with their addresses.
    pub fn listening(&self) -> Vec<String> {
        let sockets: Vec<String> = self.pids().into_iter().flat_map(descriptors).collect();
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let listens = |fields: &Vec<&str>| fields[3] == "0A" && sockets.contains(&format!("socket:[{}]", fields[9]));
        let fields = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
        fields.filter(listens).map(|fields| fields[1].to_owned()).collect()
    }

    pub fn daemon(&self) -> i64 {
        let record: Value =
            serde_json::from_slice(&std::fs::read(self.state().join("instance.json")).unwrap()).unwrap();
        record["daemon"]["pid"].as_i64().unwrap()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for name in ["daemon.log", "ministack.log"] {
                let text = std::fs::read_to_string(self.state().join(name)).unwrap_or_default();
                let lines: Vec<&str> = text.lines().filter(|line| !line.contains("[hypercorn.access]")).collect();
                eprintln!("--- {name}\n{}", lines[lines.len().saturating_sub(20)..].join("\n"));
            }
            eprintln!("--- status\n{}", String::from_utf8_lossy(&self.run(&["status"]).stdout));
        }
        self.run(&["down"]);
    }
}

/// The Python with MiniStack: `LOCAL_CLOUD_PYTHON`, or the `.venv` of the project.
fn python() -> PathBuf {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let python = std::env::var_os("LOCAL_CLOUD_PYTHON").map_or_else(|| project.join(".venv/bin/python"), PathBuf::from);
    assert!(
        python.exists(),
        "these tests need MiniStack, but {} is missing: make the Python environment \
         (python3 -m venv .venv && .venv/bin/pip install --require-hashes -r local/requirements.lock) or set LOCAL_CLOUD_PYTHON",
        python.display()
    );
    python
}

/// The targets of the open files of a process.
fn descriptors(pid: i64) -> Vec<String> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    entries
        .filter_map(|entry| Some(std::fs::read_link(entry.ok()?.path()).ok()?.to_string_lossy().into_owned()))
        .collect()
}

pub fn is_alive(pid: i64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// The user a process runs as.
pub fn uid(pid: i64) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().next()?.parse().ok()
}

pub fn is_root() -> bool {
    uid(std::process::id().into()) == Some(0)
}

/// Repeats a check until it succeeds. Fails with the last result after the time limit.
pub async fn eventually<T, F: Future<Output = Result<T, String>>>(
    what: &str,
    limit: Duration,
    mut ask: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + limit;
    loop {
        match ask().await {
            Ok(value) => return value,
            Err(seen) => assert!(Instant::now() < deadline, "{what}: not within {limit:?}; last seen: {seen}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Clients of the local cloud.
pub struct Aws {
    pub ecs: aws_sdk_ecs::Client,
    pub elb: aws_sdk_elasticloadbalancingv2::Client,
    pub ecr: aws_sdk_ecr::Client,
    pub logs: aws_sdk_cloudwatchlogs::Client,
    pub metrics: aws_sdk_cloudwatch::Client,
    endpoint: String,
}

impl Aws {
    pub fn new(endpoint: &str, credentials: Credentials) -> Self {
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(endpoint)
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build();
        Self {
            ecs: aws_sdk_ecs::Client::new(&config),
            elb: aws_sdk_elasticloadbalancingv2::Client::new(&config),
            ecr: aws_sdk_ecr::Client::new(&config),
            logs: aws_sdk_cloudwatchlogs::Client::new(&config),
            metrics: aws_sdk_cloudwatch::Client::new(&config),
            endpoint: endpoint.to_owned(),
        }
    }

    /// Creates the resources of a service except the load balancer: a repository, a log group, and a cluster.
    pub async fn prepare(&self) {
        self.ecr.create_repository().repository_name(REPOSITORY).send().await.unwrap();
        self.logs.create_log_group().log_group_name(LOG_GROUP).send().await.unwrap();
        self.ecs.create_cluster().cluster_name("test").send().await.unwrap();
    }

    /// Pushes an image of a server with this environment; returns its full name by digest.
    pub async fn push(&self, server: &[u8], env: &[&str]) -> String {
        let config = json!({
            "Entrypoint": ["/server"], "User": "65532:65532", "Env": env, "ExposedPorts": { "8080/tcp": {} },
        });
        self.push_image(&[("server", server)], &[], &config).await
    }

    /// Pushes an image of these executable files and symbolic links; returns its full name by digest.
    pub async fn push_image(&self, files: &[(&str, &[u8])], links: &[(&str, &str)], config: &Value) -> String {
        let mut tar = tar::Builder::new(Vec::new());
        let header = |kind: tar::EntryType, size: usize| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(0o755);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header.set_size(size as u64);
            header
        };
        for (path, bytes) in files {
            tar.append_data(&mut header(tar::EntryType::Regular, bytes.len()), path, *bytes).unwrap();
        }
        for (path, target) in links {
            tar.append_link(&mut header(tar::EntryType::Symlink, 0), path, target).unwrap();
        }
        let tar = tar.into_inner().unwrap();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&tar).unwrap();
        let layer = ImageLayer::oci_v1_gzip(gzip.finish().unwrap(), None);
        let config = json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "os": "linux",
            "config": config,
            "rootfs": { "type": "layers", "diff_ids": [oci_image::Digest::of(&tar)] },
        });
        let config = Config::oci_v1(serde_json::to_vec(&config).unwrap(), None);
        let layers = [layer];
        let manifest = OciImageManifest::build(&layers, &config, None);
        let client =
            oci_client::Client::new(ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() });
        let host = self.endpoint.trim_start_matches("http://");
        let name = format!("{host}/{REPOSITORY}:latest").parse().unwrap();
        let pushed = client.push(&name, &layers, config, &self.registry_login().await, Some(manifest)).await.unwrap();
        let digest = pushed.manifest_url.rsplit_once("sha256:").map(|(_, digest)| format!("sha256:{digest}"));
        format!("000000000000.dkr.ecr.us-east-1.amazonaws.com/{REPOSITORY}@{}", digest.unwrap_or(pushed.manifest_url))
    }

    /// The user and password that the registry accepts.
    async fn registry_login(&self) -> RegistryAuth {
        let answer = self.ecr.get_authorization_token().send().await.unwrap();
        let token = answer.authorization_data()[0].authorization_token().unwrap();
        let login = base64::engine::general_purpose::STANDARD.decode(token).unwrap();
        let (user, password) = std::str::from_utf8(&login).unwrap().split_once(':').unwrap();
        RegistryAuth::Basic(user.to_owned(), password.to_owned())
    }

    /// Registers a task definition for an image; returns its ARN.
    pub async fn task_definition(&self, family: &str, image: &str) -> String {
        let logs = ecs::LogConfiguration::builder()
            .log_driver(ecs::LogDriver::Awslogs)
            .options("awslogs-group", LOG_GROUP)
            .options("awslogs-stream-prefix", "web")
            .options("awslogs-region", "us-east-1");
        let container = ecs::ContainerDefinition::builder()
            .name("web")
            .image(image)
            .essential(true)
            .port_mappings(ecs::PortMapping::builder().container_port(8080).build())
            .log_configuration(logs.build().unwrap());
        let platform = ecs::RuntimePlatform::builder()
            .cpu_architecture(if cfg!(target_arch = "aarch64") {
                ecs::CpuArchitecture::Arm64
            } else {
                ecs::CpuArchitecture::X8664
            })
            .operating_system_family(ecs::OsFamily::Linux);
        let registered = self
            .ecs
            .register_task_definition()
            .family(family)
            .network_mode(ecs::NetworkMode::Awsvpc)
            .requires_compatibilities(ecs::Compatibility::Fargate)
            .cpu("256")
            .memory("512")
            .runtime_platform(platform.build())
            .container_definitions(container.build())
            .send()
            .await
            .unwrap();
        registered.task_definition().unwrap().task_definition_arn().unwrap().to_owned()
    }

    pub async fn target_group(&self, name: &str) -> String {
        let created = self
            .elb
            .create_target_group()
            .name(name)
            .protocol(elb::ProtocolEnum::Http)
            .port(8080)
            .vpc_id("vpc-1")
            .target_type(elb::TargetTypeEnum::Ip)
            .health_check_path("/healthz")
            .health_check_interval_seconds(1)
            .health_check_timeout_seconds(1)
            .unhealthy_threshold_count(2)
            .send()
            .await
            .unwrap();
        created.target_groups()[0].target_group_arn().unwrap().to_owned()
    }

    /// Creates a load balancer whose listener on port 80 forwards to the target group.
    pub async fn load_balancer(&self, group: &str) {
        let created = self.elb.create_load_balancer().name("web").subnets("subnet-1").send().await.unwrap();
        let balancer = created.load_balancers()[0].load_balancer_arn().unwrap();
        let action = elb::Action::builder().r#type(elb::ActionTypeEnum::Forward).target_group_arn(group).build();
        let listener =
            self.elb.create_listener().load_balancer_arn(balancer).protocol(elb::ProtocolEnum::Http).port(80);
        listener.default_actions(action).send().await.unwrap();
    }

    pub async fn service(&self, name: &str, definition: &str, group: &str, count: i32) {
        let balancer = ecs::LoadBalancer::builder().target_group_arn(group).container_name("web").container_port(8080);
        let breaker = ecs::DeploymentCircuitBreaker::builder().enable(true).rollback(true).build();
        self.ecs
            .create_service()
            .cluster("test")
            .service_name(name)
            .task_definition(definition)
            .desired_count(count)
            .launch_type(ecs::LaunchType::Fargate)
            .load_balancers(balancer.build())
            .deployment_configuration(
                ecs::DeploymentConfiguration::builder().deployment_circuit_breaker(breaker).build(),
            )
            .send()
            .await
            .unwrap();
    }

    pub async fn update(&self, service: &str, definition: &str) {
        self.ecs.update_service().cluster("test").service(service).task_definition(definition).send().await.unwrap();
    }

    pub async fn describe(&self, service: &str) -> ecs::Service {
        let described = self.ecs.describe_services().cluster("test").services(service).send().await.unwrap();
        described.services()[0].clone()
    }

    /// Waits until a deployment of this task definition has the state.
    pub async fn rollout(&self, service: &str, definition: &str, state: ecs::DeploymentRolloutState) {
        eventually(&format!("deployment of {definition} is {state}"), Duration::from_secs(40), || async {
            let found = self.describe(service).await;
            let is = |deployment: &&ecs::Deployment| deployment.task_definition() == Some(definition);
            let deployment = found.deployments().iter().find(is).and_then(|deployment| deployment.rollout_state());
            if deployment == Some(&state) { Ok(()) } else { Err(format!("{:?}", found.deployments())) }
        })
        .await;
    }

    /// Why a task of this definition stopped, with the exit code and the reason of its container.
    pub async fn stopped_reason(&self, definition: &str) -> Result<String, String> {
        let listed =
            self.ecs.list_tasks().cluster("test").desired_status(ecs::DesiredStatus::Stopped).send().await.unwrap();
        if listed.task_arns().is_empty() {
            return Err("no stopped tasks".into());
        }
        let described = self.ecs.describe_tasks().cluster("test").set_tasks(listed.task_arns).send().await.unwrap();
        let task = described.tasks().iter().find(|task| task.task_definition_arn() == Some(definition));
        let task = task.ok_or_else(|| "no stopped task of this definition".to_owned())?;
        let reason = task.stopped_reason().unwrap_or_default().to_owned();
        let container = task.containers().first();
        let code = container.and_then(|container| container.exit_code());
        let words = container.and_then(|container| container.reason()).unwrap_or_default();
        Ok(code.map_or(reason.clone(), |code| format!("{reason} ({code}: {words})")))
    }
}

/// Compiles the program that the test images run.
pub fn server(dir: &Path) -> Vec<u8> {
    compiled(dir, "server")
}

/// Compiles a program for test images.
pub fn compiled(dir: &Path, name: &str) -> Vec<u8> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixture").join(name).with_extension("rs");
    let binary = dir.join(name);
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let compiled = Command::new(rustc)
        .args(["--edition", "2024", "-C", "target-feature=+crt-static", "-C", "strip=symbols", "-o"])
        .arg(&binary)
        .arg(&source)
        .output()
        .unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    std::fs::read(binary).unwrap()
}
