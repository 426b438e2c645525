//! Tasks are contained and run as on Fargate: with root rights and as an ordinary user, with programs of busybox.

use crate::support::{Aws, Instance, eventually, is_root};
use aws_sdk_ecs::types as ecs;
use serde_json::{Value, json};
use std::io::Write;
use std::net::TcpListener;
use std::time::Duration;

pub const LIMIT: Duration = Duration::from_secs(40);

/// The static busybox of this machine, if it has one.
pub fn busybox() -> Option<Vec<u8>> {
    let found = ["/bin/busybox", "/usr/bin/busybox"].iter().find_map(|path| std::fs::read(path).ok());
    let found = found.filter(|bytes| !bytes[..bytes.len().min(4096)].windows(5).any(|part| part == b"ld-li"));
    if found.is_none() {
        println!("skipped: this machine has no static busybox (Debian: apt-get install busybox-static)");
    }
    found
}

/// How a task ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stopped: String,
    pub words: String,
    pub output: String,
}

pub struct Machine {
    pub instance: Instance,
    pub aws: Aws,
    pub busybox: Vec<u8>,
    /// A service on the loopback of this machine.
    service: TcpListener,
}

impl Machine {
    pub async fn start(instance: Instance, busybox: Vec<u8>) -> Self {
        Self::start_with(instance, busybox, &[]).await
    }

    /// The same with options of `up`.
    pub async fn start_with(instance: Instance, busybox: Vec<u8>, options: &[&str]) -> Self {
        let service = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = service.local_addr().unwrap().port().to_string();
        instance.up_with(&[&["--host-port", &port], options].concat());
        let shown = String::from_utf8(instance.run(&["status"]).stdout).unwrap();
        assert!(shown.contains("isolated by namespaces"), "{shown}");
        let aws = instance.aws();
        aws.prepare().await;
        Self { instance, aws, busybox, service }
    }

    /// An image of busybox with `sh`, accounts, and this configuration.
    pub async fn image(&self, config: Value) -> String {
        self.image_with(&[], config).await
    }

    /// The same with more files.
    pub async fn image_with(&self, more: &[(&str, &[u8])], config: Value) -> String {
        let passwd = b"root:x:0:0::/root:/bin/sh\nweb:x:1234:2345::/srv:/bin/sh\n";
        let group = b"root:x:0:\nweb:x:2345:\nlog:x:44:web\n";
        let files = [("bin/busybox", &self.busybox[..]), ("etc/passwd", passwd), ("etc/group", group)];
        self.aws.push_image(&[&files[..], more].concat(), &[("bin/sh", "busybox")], &config).await
    }

    /// Starts a task of one container; returns its ARN.
    pub async fn run(
        &self,
        family: &str,
        definition: ecs::builders::ContainerDefinitionBuilder,
        volumes: &[&str],
    ) -> String {
        let definition = definition.name("web").essential(true).build();
        self.run_all(family, vec![definition], volumes).await
    }

    pub async fn run_all(&self, family: &str, definitions: Vec<ecs::ContainerDefinition>, volumes: &[&str]) -> String {
        let volumes = volumes.iter().map(|name| ecs::Volume::builder().name(*name).build()).collect();
        self.aws
            .ecs
            .register_task_definition()
            .family(family)
            .network_mode(ecs::NetworkMode::Awsvpc)
            .requires_compatibilities(ecs::Compatibility::Fargate)
            .cpu("256")
            .memory("512")
            .set_volumes(Some(volumes))
            .set_container_definitions(Some(definitions))
            .send()
            .await
            .unwrap();
        self.run_again(family, 1).await.remove(0)
    }

    /// Starts tasks of a known definition; returns their ARNs.
    pub async fn run_again(&self, family: &str, count: i32) -> Vec<String> {
        let run = self.aws.ecs.run_task().cluster("test").task_definition(family).count(count).send().await.unwrap();
        run.tasks().iter().map(|task| task.task_arn().unwrap().to_owned()).collect()
    }

    pub async fn task(&self, arn: &str) -> ecs::Task {
        self.aws.ecs.describe_tasks().cluster("test").tasks(arn).send().await.unwrap().tasks()[0].clone()
    }

    pub async fn ended(&self, arn: &str) -> Ended {
        let task = eventually("the task has ended", LIMIT, || async {
            let task = self.task(arn).await;
            if task.last_status() == Some("STOPPED") { Ok(task) } else { Err(format!("{:?}", task.last_status())) }
        })
        .await;
        let container = &task.containers()[0];
        Ended {
            code: container.exit_code(),
            stopped: task.stopped_reason().unwrap_or_default().to_owned(),
            words: container.reason().unwrap_or_default().to_owned(),
            output: self.output(&task),
        }
    }

    /// What the containers of a task have written.
    pub fn output(&self, task: &ecs::Task) -> String {
        let ids = task.containers().iter().filter_map(|container| container.runtime_id());
        let logs = ids.map(|id| self.instance.state().join("containers").join(id).join("output.log"));
        logs.filter_map(|log| std::fs::read_to_string(log).ok()).collect()
    }

    pub async fn stop(&self, arn: &str) {
        self.aws.ecs.stop_task().cluster("test").task(arn).send().await.unwrap();
    }
}

pub fn container(image: &str, script: &str) -> ecs::builders::ContainerDefinitionBuilder {
    ecs::ContainerDefinition::builder().image(image).command("sh").command("-c").command(script)
}

pub fn sees(output: &str, lines: &[&str]) {
    for line in lines {
        assert!(output.lines().any(|seen| seen == *line), "no line {line:?} in:\n{output}");
    }
}

async fn a_task_runs_as_its_definition_says(machine: &Machine) {
    let image = machine.image(json!({ "Env": ["OWN=1"], "WorkingDir": "/not/there", "User": "web" })).await;
    let script = "echo user $(id -u):$(id -g); pwd; echo pid $$; echo 1 > /file || echo cannot write; \
                  echo 1 > /tmp/file && echo can write; echo 1 > /dev/null && echo null; test -e /proc/self/stat && echo proc; \
                  for device in zero full random urandom tty shm pts stdin stdout stderr fd; do \
                  test -e /dev/$device || echo no $device; done; \
                  grep -E '^(CapEff|CapBnd)' /proc/self/status; grep -c 127 /etc/hosts; hostname; env";
    let drop = ecs::KernelCapabilities::builder().drop("ALL").build();
    let definition = container(&image, script)
        .user("65532:65533")
        .readonly_root_filesystem(true)
        .linux_parameters(ecs::LinuxParameters::builder().capabilities(drop).build())
        .mount_points(ecs::MountPoint::builder().source_volume("tmp").container_path("/tmp").build());
    let arn = machine.run("facts", definition, &["tmp"]).await;
    let ended = machine.ended(&arn).await;
    let output = &ended.output;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    sees(output, &["user 65532:65533", "/not/there", "pid 1", "cannot write", "null", "proc", "3", "OWN=1"]);
    sees(output, &["CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "AWS_EXECUTION_ENV=AWS_ECS_FARGATE"]);
    sees(output, &["AWS_REGION=us-east-1", "AWS_DEFAULT_REGION=us-east-1"]);
    assert!(!output.contains("no "), "a device is missing:\n{output}");
    assert!(!output.contains("HOST=") && !output.contains("LOCAL_CLOUD"), "{output}");
    // Only root can write to a volume that the image does not prepare; in a user namespace with one user, all is its own.
    assert_eq!(output.contains("can write\n"), !machine.instance.has_root_rights(), "{output}");

    let arn = machine.run("named", container(&image, "id -u; id -g; id -G; pwd; echo 1 > file && echo ok"), &[]).await;
    let ended = machine.ended(&arn).await;
    sees(&ended.output, &["1234", "2345", "/not/there"]);
    assert_eq!(ended.output.contains("2345 44"), machine.instance.has_root_rights(), "{ended:?}");
}

async fn a_task_has_a_network_of_its_own(machine: &Machine) {
    let image = machine.image(json!({})).await;
    // Both listen on all addresses, at the same port.
    let server = "mkdir /www; echo $NAME > /www/index.html; exec busybox httpd -f -p 8080 -h /www";
    let port = || ecs::PortMapping::builder().container_port(8080).build();
    let named = |name: &str| ecs::KeyValuePair::builder().name("NAME").value(name).build();
    let (one, two) = tokio::join!(
        machine.run("one", container(&image, server).port_mappings(port()).environment(named("one")), &[]),
        machine.run("two", container(&image, server).port_mappings(port()).environment(named("two")), &[])
    );
    for (arn, name) in [(&one, "one"), (&two, "two")] {
        let answer = eventually("it answers outside", LIMIT, || async {
            let status = machine.instance.status();
            let id = arn.rsplit('/').next().unwrap();
            let task = status["tasks"].as_array().unwrap().iter().find(|task| task["task"] == id).cloned();
            let address = task.ok_or("no such task")?["address"].as_str().unwrap().to_owned();
            let answer = reqwest::get(format!("http://{address}:8080/")).await.map_err(|error| error.to_string())?;
            answer.text().await.map_err(|error| error.to_string())
        })
        .await;
        assert_eq!(answer.trim(), name);
    }
    machine.stop(&one).await;
    machine.stop(&two).await;

    // The containers of a task share it.
    let share = [("server", server.replace("-p 8080", "-p 127.0.0.1:9000")), ("client", client_of("127.0.0.1:9000"))];
    let definitions = share.map(|(name, script)| {
        container(&image, &script).name(name).essential(name == "client").environment(named("shared")).build()
    });
    let arn = machine.run_all("shared", definitions.to_vec(), &[]).await;
    sees(&machine.ended(&arn).await.output, &["shared"]);

    // A request without the credentials of the task reaches it, and is refused.
    let script = "busybox wget -O- $AWS_ENDPOINT_URL/ 2>&1 | busybox grep -q '403' && echo endpoint; \
                  busybox wget -qO- $ECS_CONTAINER_METADATA_URI_V4/task > /dev/null && echo metadata; \
                  busybox ping -c 1 -W 5 $(hostname) > /dev/null && echo name";
    let arn = machine.run("endpoint", container(&image, script), &[]).await;
    sees(&machine.ended(&arn).await.output, &["endpoint", "metadata", "name"]);

    // A service on this machine that was not asked for is out of reach, because the loopback is another one.
    let service = machine.service.try_clone().unwrap();
    let port = service.local_addr().unwrap().port();
    std::thread::spawn(move || service.accept().unwrap().0.write_all(b"hello\n").unwrap());
    let script = format!(
        "busybox nc 127.0.0.1 {port} < /dev/null || echo unreachable; \
         busybox nc host.local-cloud.internal {port} < /dev/null"
    );
    let arn = machine.run("host", container(&image, &script), &[]).await;
    sees(&machine.ended(&arn).await.output, &["unreachable", "hello"]);
}

pub fn client_of(address: &str) -> String {
    format!(
        "for i in $(busybox seq 100); do busybox wget -qO- http://{address}/ && exit 0; busybox sleep 0.1; done; exit 1"
    )
}

async fn nothing_survives_a_task(machine: &Machine) {
    let image = machine.image(json!({})).await;
    let seconds = format!("{}", 1_000_000 + std::process::id());
    let script = format!("busybox setsid busybox sleep {seconds} & echo started; exec busybox sleep {seconds}");
    let definition = container(&image, &script).stop_timeout(2);
    let arn = machine.run("survivor", definition, &[]).await;
    let alive = || processes().into_iter().filter(|line| line.contains(&seconds)).collect::<Vec<_>>();
    eventually("both run", LIMIT, || async { if alive().len() == 2 { Ok(()) } else { Err(format!("{:?}", alive())) } })
        .await;
    machine.stop(&arn).await;
    eventually("none is left", LIMIT, || async {
        if alive().is_empty() { Ok(()) } else { Err(format!("{:?}", alive())) }
    })
    .await;
}

/// The command lines of all processes of this machine.
fn processes() -> Vec<String> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|process| std::fs::read_to_string(process.path().join("cmdline")).ok()).collect()
}

async fn the_environment_of_an_image_reaches_no_program_of_this_machine(machine: &Machine) {
    let env = json!({ "Env": ["LD_PRELOAD=/of-the-image.so", "LD_DEBUG=all", "LD_LIBRARY_PATH=/lib"] });
    let image = machine.image(env).await;
    let arn = machine.run("preload", container(&image, "echo $LD_PRELOAD"), &[]).await;
    let ended = machine.ended(&arn).await;
    assert_eq!(ended.output, "/of-the-image.so\n", "a loader of this machine has read the variables: {ended:?}");
}

async fn a_task_that_needs_too_much_memory_is_killed(machine: &Machine) {
    let image = machine.image(json!({})).await;
    let arn = machine.run("memory", container(&image, "exec busybox tail /dev/zero").memory(64), &[]).await;
    let ended = machine.ended(&arn).await;
    assert_eq!(ended.code, Some(137), "{ended:?}");
    assert_eq!(ended.words, "OutOfMemoryError: Container killed due to memory usage");
    assert_eq!(ended.stopped, "Essential container in task exited");
}

async fn a_failure_reads_as_its_own_last_words(machine: &Machine) {
    let image = machine.image(json!({})).await;
    let arn = machine.run("words", container(&image, "echo DATABASE_URL is not set >&2; exit 3"), &[]).await;
    let ended = machine.ended(&arn).await;
    assert_eq!((ended.code, ended.words.as_str()), (Some(3), "DATABASE_URL is not set"), "{ended:?}");
    assert_eq!(ended.stopped, "Essential container in task exited");

    let missing = ecs::ContainerDefinition::builder().image(&image).command("no-such-program");
    let arn = machine.run("missing", missing, &[]).await;
    let ended = machine.ended(&arn).await;
    let expected = "CannotStartContainerError: cannot run the image: it has no program no-such-program in its PATH";
    assert!(ended.stopped.starts_with(expected), "{ended:?}");
}

async fn an_init_process_reaps_and_forwards(machine: &Machine) {
    let image = machine.image(json!({})).await;
    let script = "trap 'echo asked; exit 7' TERM; echo pid $$; (busybox true &); echo ready; \
                  while true; do busybox sleep 0.1; done";
    let linux = ecs::LinuxParameters::builder().init_process_enabled(true).build();
    let arn = machine.run("init", container(&image, script).linux_parameters(linux), &[]).await;
    eventually("it is ready", LIMIT, || async {
        let output = machine.output(&machine.task(&arn).await);
        if output.contains("ready") { Ok(()) } else { Err(output) }
    })
    .await;
    machine.stop(&arn).await;
    let output = eventually("it was asked to stop", LIMIT, || async {
        let output = machine.output(&machine.task(&arn).await);
        if output.contains("asked") { Ok(output) } else { Err(output) }
    })
    .await;
    assert!(!output.contains("pid 1\n"), "process 1 is the init process: {output}");
}

async fn every_task_is_contained(instance: Instance) {
    let Some(busybox) = busybox() else { return };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let machine = Machine::start(instance, busybox).await;
    a_task_runs_as_its_definition_says(&machine).await;
    Box::pin(a_task_has_a_network_of_its_own(&machine)).await;
    nothing_survives_a_task(&machine).await;
    the_environment_of_an_image_reaches_no_program_of_this_machine(&machine).await;
    a_failure_reads_as_its_own_last_words(&machine).await;
    an_init_process_reaps_and_forwards(&machine).await;
    a_task_that_needs_too_much_memory_is_killed(&machine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_contained() {
    Box::pin(every_task_is_contained(Instance::new())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_of_an_ordinary_user_is_contained() {
    match Instance::of_ordinary_user() {
        Some(instance) => Box::pin(every_task_is_contained(instance)).await,
        None if is_root() => println!("skipped: an ordinary user cannot run the Python of this machine"),
        None => println!("skipped: this test runs as an ordinary user anyway"),
    }
}
