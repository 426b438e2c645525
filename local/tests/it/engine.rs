//! The container engine: images are mounted and volumes filled as on Fargate, tasks reach the internet and not this
//! machine, get their own credentials at the address of ECS, and have limits and a filter of system calls. With root rights
//! and as an ordinary user.

use crate::containment::{LIMIT, Machine, busybox, container, sees};
use crate::support::{Instance, compiled, eventually, is_alive, is_root};
use aws_sdk_ecs::types as ecs;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The directories of containers whose name begins with the ids of a task.
fn directories(machine: &Machine, task: &ecs::Task) -> Vec<PathBuf> {
    let ids = task.containers().iter().filter_map(|container| container.runtime_id());
    ids.map(|id| machine.instance.state().join("containers").join(id)).collect()
}

/// Waits until the output of a task has this text; returns the task and its output.
async fn says(machine: &Machine, arn: &str, text: &str) -> (ecs::Task, String) {
    eventually(&format!("the task says {text:?}"), LIMIT, || async {
        let task = machine.task(arn).await;
        let output = machine.output(&task);
        if output.contains(text) { Ok((task, output)) } else { Err(output) }
    })
    .await
}

async fn an_image_is_mounted_and_the_files_of_a_task_end_with_it(machine: &Machine) {
    let image = machine.image(json!({})).await;
    let script = "echo 1 > /written; echo changed > /etc/passwd; busybox rm /etc/group; test -e /etc/group || echo removed; \
                  exec busybox sleep 1000";
    let arn = machine.run("mounted", container(&image, script).stop_timeout(2), &[]).await;
    let (task, _) = says(machine, &arn, "removed").await;
    let dir = directories(machine, &task).remove(0);
    assert!(dir.join("changes/written").is_file(), "what the task writes is in {}", dir.display());
    assert!(!dir.join("changes/bin").exists(), "the image is not copied");
    assert_eq!(
        std::fs::read_dir(dir.join("root")).unwrap().count(),
        0,
        "the mount is in the namespace of the task only"
    );
    let again =
        machine.run("mounted-again", container(&image, "busybox cat /etc/passwd; test -e /written || echo new"), &[]);
    let ended = machine.ended(&again.await).await;
    assert!(
        ended.output.contains("web:x:1234") && ended.output.contains("new"),
        "the image has not changed: {ended:?}"
    );
    machine.stop(&arn).await;
    eventually("only the output is left", LIMIT, || async {
        let left: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        if left == ["output.log"] { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
}

async fn nothing_grows_with_the_number_of_tasks(machine: &Machine) {
    const MOST: usize = 30 + 10;
    let image = machine.image(json!({})).await;
    let first = machine.run("many", container(&image, "exit 0"), &[]).await;
    machine.ended(&first).await;
    for _ in 0..5 {
        for arn in machine.run_again("many", 9).await {
            machine.ended(&arn).await;
        }
    }
    let containers = machine.instance.state().join("containers");
    eventually("the files of ended tasks are removed", LIMIT, || async {
        let left: Vec<_> = std::fs::read_dir(&containers).unwrap().map(|entry| entry.unwrap().path()).collect();
        let more = left.iter().filter(|dir| std::fs::read_dir(dir).is_ok_and(|entries| entries.count() > 1)).count();
        if left.len() <= MOST && more == 0 {
            Ok(())
        } else {
            Err(format!("{} directories, {more} of them full", left.len()))
        }
    })
    .await;
    eventually("the control groups of ended tasks are removed", LIMIT, || async {
        let left = groups(&format!("{}-", machine.instance.daemon()));
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
    assert!(!machine.instance.status()["tasks"].as_array().unwrap().iter().any(|task| task["state"] == "healthy"));
}

/// The control groups of the tasks of a daemon, in all hierarchies.
fn groups(daemon: &str) -> Vec<PathBuf> {
    let mount = Path::new("/sys/fs/cgroup");
    let inside = std::fs::read_dir(mount).into_iter().flatten().flatten().map(|entry| entry.path());
    let all = inside.chain([mount.to_owned()]).map(|hierarchy| hierarchy.join("local-cloud"));
    let own = all.flat_map(|all| std::fs::read_dir(all).into_iter().flatten().flatten());
    let own = own.filter(|entry| entry.file_name().to_string_lossy().starts_with(daemon)).map(|entry| entry.path());
    let tasks = own.flat_map(|own| std::fs::read_dir(own).into_iter().flatten().flatten().map(|entry| entry.path()));
    tasks.filter(|path| path.is_dir()).collect()
}

async fn a_volume_of_the_image_is_filled_and_writable(machine: &Machine) {
    let files: [(&str, &[u8]); 2] = [("data/file", b"of the image\n"), ("other/file", b"hidden\n")];
    let image = machine.image_with(&files, json!({ "Volumes": { "/data": {} } })).await;
    let script = "busybox cat /data/file; echo 1 > /data/new && echo written; echo 1 > /new || echo read-only";
    let arn = machine.run("anonymous", container(&image, script).readonly_root_filesystem(true), &[]).await;
    sees(&machine.ended(&arn).await.output, &["of the image", "written", "read-only"]);

    // Another container finds the files in the volume. A path that is no `VOLUME` hides its files.
    let point = |name: &str, path: &str| ecs::MountPoint::builder().source_volume(name).container_path(path).build();
    let second = machine.image(json!({})).await;
    let first = container(&image, "busybox ls -A /other; echo listed; exec busybox sleep 1000").name("first");
    let first = first.essential(false).mount_points(point("shared", "/data")).mount_points(point("empty", "/other"));
    let script = "while ! test -e /mnt/file; do busybox sleep 0.1; done; busybox cat /mnt/file";
    let second = container(&second, script).name("web").essential(true).mount_points(point("shared", "/mnt"));
    let arn = machine.run_all("shared-volume", vec![first.build(), second.build()], &["shared", "empty"]).await;
    let output = machine.ended(&arn).await.output;
    sees(&output, &["of the image", "listed"]);
    assert!(!output.contains("file\n"), "{output}");
    eventually("the task has ended with its essential container", LIMIT, || async {
        let tasks = machine.instance.status()["tasks"].clone();
        let live: Vec<&Value> = tasks.as_array().unwrap().iter().filter(|task| task["state"] != "exited").collect();
        if live.is_empty() { Ok(()) } else { Err(format!("{live:?}")) }
    })
    .await;
}

async fn the_image_names_its_stop_signal(machine: &Machine) {
    let image = machine.image(json!({ "StopSignal": "SIGUSR1" })).await;
    let script = "trap 'echo asked by SIGUSR1; exit 0' USR1; trap 'echo asked by SIGTERM; exit 0' TERM; echo ready; \
                  while true; do busybox sleep 0.1; done";
    let arn = machine.run("signal", container(&image, script), &[]).await;
    says(machine, &arn, "ready").await;
    machine.stop(&arn).await;
    let output = machine.ended(&arn).await.output;
    assert!(output.contains("asked by SIGUSR1") && !output.contains("SIGTERM"), "{output}");
}

async fn limits_of_resources_are_those_of_the_definition(machine: &Machine) {
    let image = machine.image(json!({})).await;
    let limit = |name, soft, hard| ecs::Ulimit::builder().name(name).soft_limit(soft).hard_limit(hard).build().unwrap();
    let definition = container(&image, "echo files $(ulimit -Sn) $(ulimit -Hn) core $(ulimit -Sc) $(ulimit -Hc)")
        .ulimits(limit(ecs::UlimitName::Nofile, 1000, 2000))
        .ulimits(limit(ecs::UlimitName::Core, 0, 0));
    let arn = machine.run("limits", definition, &[]).await;
    sees(&machine.ended(&arn).await.output, &["files 1000 2000 core 0 0"]);
}

async fn a_task_gets_its_own_credentials_at_the_address_of_ecs(machine: &Machine) {
    let image = machine.image(json!({})).await;
    let script = "echo path=$AWS_CONTAINER_CREDENTIALS_RELATIVE_URI; \
                  echo url=$AWS_CONTAINER_CREDENTIALS_FULL_URI$AWS_CONTAINER_AUTHORIZATION_TOKEN; \
                  echo metadata=$ECS_CONTAINER_METADATA_URI_V4; \
                  busybox wget -qO- http://169.254.170.2$AWS_CONTAINER_CREDENTIALS_RELATIVE_URI; echo; \
                  busybox wget -qO- $ECS_CONTAINER_METADATA_URI_V4/task; echo; \
                  busybox httpd -p 80 -h /etc && busybox wget -qO- http://127.0.0.1/passwd; echo ready; exec busybox sleep 1000";
    let arn = machine.run("own", container(&image, script).stop_timeout(2), &[]).await;
    let (_, output) = says(machine, &arn, "ready").await;
    let line = |name: &str| output.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
    let path = line("path=");
    assert!(path.starts_with("/v2/credentials/"), "{output}");
    assert_eq!(line("url="), "");
    assert!(line("metadata=").starts_with("http://169.254.170.2/v4/"), "{output}");
    let key: Value = output.lines().find_map(|line| serde_json::from_str(line).ok()).unwrap();
    assert!(key["AccessKeyId"].as_str().unwrap().starts_with("LCC"), "{output}");
    assert!(output.contains(&arn), "the metadata names the task: {output}");
    assert!(output.contains("root:x:0"), "port 80 is free for the task: {output}");

    let script = format!("busybox wget -qO- http://169.254.170.2{path} || echo refused");
    let other = machine.run("other", container(&image, &script), &[]).await;
    let output = machine.ended(&other).await.output;
    assert!(output.contains("refused") && !output.contains("AccessKeyId"), "{output}");
    machine.stop(&arn).await;
}

/// A server that says hello and counts its connections.
fn server(at: (Ipv4Addr, u16)) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(at).unwrap();
    let (port, count) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            counted.fetch_add(1, Ordering::SeqCst);
            // The client can have left.
            let _ = stream.write_all(b"hello\n");
        }
    });
    (port, count)
}

/// The address by which this machine reaches others.
fn own_address() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("203.0.113.1:9").ok()?;
    match socket.local_addr().ok()? {
        SocketAddr::V4(address) if !address.ip().is_loopback() => Some(*address.ip()),
        _ => None,
    }
}

async fn a_task_reaches_the_internet_and_not_this_machine(machine: &Machine) {
    let Some(own) = own_address() else {
        println!("skipped: this machine has no network, which stands for the internet");
        return;
    };
    let internet = machine.instance.status()["internet"].clone();
    if internet != "reachable" {
        println!("skipped: tasks reach no other network here ({internet})");
        return;
    }
    let shown = String::from_utf8(machine.instance.run(&["status"]).stdout).unwrap();
    assert!(shown.contains("reach the internet, and not the loopback of this machine"), "{shown}");
    let (outside, _) = server((own, 0));
    let (loopback, met) = server((Ipv4Addr::LOCALHOST, 0));
    let udp = UdpSocket::bind((own, 0)).unwrap();
    let udp_port = udp.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut question = [0; 100];
        while let Ok((_, client)) = udp.recv_from(&mut question) {
            udp.send_to(b"answered", client).unwrap();
        }
    });
    let probe = compiled(machine.instance.dir.path(), "probe");
    let image = machine.image_with(&[("bin/probe", &probe)], json!({})).await;
    let gateways = ["127.0.0.1", "198.18.0.1", "198.18.0.2", "0.0.0.0", "10.0.2.2", "169.254.169.254"];
    let targets = gateways.iter().map(|gateway| format!("{gateway} {loopback}"));
    let targets: Vec<String> = targets.chain([format!("{own} {loopback}"), "169.254.169.254 80".into()]).collect();
    let tries = targets.iter().map(|target| format!("busybox timeout 3 busybox nc -w 2 {target} < /dev/null; "));
    let tries = tries.collect::<Vec<_>>().concat();
    let script = format!(
        "busybox timeout 5 busybox nc -w 5 {own} {outside} < /dev/null; /bin/probe udp {own}:{udp_port}; echo resolvers; \
         busybox cat /etc/resolv.conf; {tries} echo listening; exec busybox nc -l -p 8099"
    );
    let arn = machine.run("outward", container(&image, &script).stop_timeout(2), &[]).await;
    let (_, output) = says(machine, &arn, "listening").await;
    sees(&output, &["hello", "udp answered"]);
    assert_eq!(output.matches("hello").count(), 1, "{output}");
    let resolvers: Vec<&str> = output.lines().filter_map(|line| line.strip_prefix("nameserver ")).collect();
    assert!(!resolvers.is_empty() && resolvers.iter().all(|address| !address.starts_with("127.")), "{output}");
    assert_eq!(met.load(Ordering::SeqCst), 0, "a task has reached the loopback of this machine:\n{output}");
    for address in [own, Ipv4Addr::LOCALHOST] {
        let connected = std::net::TcpStream::connect((address, 8099));
        assert!(connected.is_err(), "a port of a task is open at {address}");
    }
    machine.stop(&arn).await;
}

async fn the_kernel_limits_what_a_task_uses(machine: &Machine) {
    let image = machine.image(json!({})).await;
    if machine.instance.has_root_rights() {
        let definition = container(&image, "while true; do true; done").cpu(128).stop_timeout(1);
        let arn = machine.run("busy", definition, &[]).await;
        let id = arn.rsplit('/').next().unwrap().to_owned();
        let throttled =
            |stat: String| stat.lines().find_map(|line| line.strip_prefix("nr_throttled ")?.parse::<u64>().ok());
        eventually("its CPU is limited", LIMIT, || async {
            let own = groups(&format!("{}-", machine.instance.daemon()));
            let stats = own.iter().filter(|group| group.ends_with(&id)).map(|group| group.join("cpu.stat"));
            let read = stats.filter_map(|stat| std::fs::read_to_string(stat).ok());
            let most = read.filter_map(throttled).max();
            if most.is_some_and(|times| times > 3) { Ok(()) } else { Err(format!("throttled {most:?} times: {own:?}")) }
        })
        .await;
        machine.stop(&arn).await;
    }
    // Each container has less than the task may have, and both together have more.
    let grow = |mebibytes: u32| {
        let filler = format!("(busybox head -c {} /dev/zero; busybox sleep 1000)", mebibytes << 20);
        // The program that needs the memory is process 1.
        format!("busybox mkfifo /fifo; {filler} > /fifo & exec busybox tail < /fifo")
    };
    let web = container(&image, &format!("busybox sleep 2; {}", grow(450))).name("web").essential(true);
    let second = container(&image, &grow(150)).name("second").essential(false);
    let arn = machine.run_all("together", vec![web.build(), second.build()], &[]).await;
    let ended = machine.ended(&arn).await;
    assert_eq!(ended.code, Some(137), "{ended:?}");
    assert_eq!(ended.words, "OutOfMemoryError: Container killed due to memory usage");
}

async fn system_calls_are_filtered(machine: &Machine) {
    let probe = compiled(machine.instance.dir.path(), "probe");
    let image = machine.image_with(&[("bin/probe", &probe)], json!({})).await;
    for user in ["0", "65532"] {
        let script = "busybox grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status; exec /bin/probe calls";
        let arn = machine.run("calls", container(&image, script).user(user), &[]).await;
        let ended = machine.ended(&arn).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        sees(&ended.output, &["Seccomp:\t2", "NoNewPrivs:\t1", "own personality 0", "ptrace 0", "clone3 -38"]);
        for denied in ["unshare", "clone", "mount", "keyctl", "add_key", "bpf", "io_uring_setup", "personality"] {
            sees(&ended.output, &[&format!("{denied} -1")]);
        }
        if cfg!(target_arch = "x86_64") {
            sees(&ended.output, &["x32 getpid -38"]);
        }
    }
}

/// The processes that connect the tasks of an instance with other networks.
fn connecting(daemon: i64) -> BTreeSet<i64> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|process| process.file_name().to_str()?.parse::<i64>().ok());
    let ours = |pid: &i64| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse::<i64>().ok());
        (name.starts_with("pasta") || name.starts_with("passt")) && parent == Some(daemon)
    };
    pids.filter(ours).collect()
}

async fn what_connects_a_task_ends_with_it_and_with_the_local_cloud(machine: &Machine) {
    if machine.instance.status()["internet"] != "reachable" {
        println!("skipped: tasks reach no other network here");
        return;
    }
    let image = machine.image(json!({})).await;
    let daemon = machine.instance.daemon();
    let before = connecting(daemon);
    let run = |family| machine.run(family, container(&image, "exec busybox sleep 1000").stop_timeout(1), &[]);
    let arn = run("connected").await;
    let own = eventually("it is connected", LIMIT, || async {
        let new: Vec<i64> = connecting(daemon).difference(&before).copied().collect();
        if new.len() == 1 { Ok(new[0]) } else { Err(format!("{new:?}")) }
    })
    .await;
    machine.stop(&arn).await;
    let gone = |pid: i64| async move { if is_alive(pid) { Err(format!("process {pid} runs")) } else { Ok(()) } };
    eventually("it ends with its task", LIMIT, || gone(own)).await;

    run("killed").await;
    let own = eventually("another one is connected", LIMIT, || async {
        connecting(daemon).into_iter().find(|pid| !before.contains(pid)).ok_or_else(|| "none".to_owned())
    })
    .await;
    let killed = std::process::Command::new("kill").args(["-9", &daemon.to_string()]).status().unwrap();
    assert!(killed.success());
    eventually("it ends with the daemon", LIMIT, || gone(own)).await;
}

async fn the_engine_is_as_fargate(instance: Instance) {
    let Some(busybox) = busybox() else { return };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let machine = Machine::start(instance, busybox).await;
    Box::pin(an_image_is_mounted_and_the_files_of_a_task_end_with_it(&machine)).await;
    Box::pin(a_volume_of_the_image_is_filled_and_writable(&machine)).await;
    the_image_names_its_stop_signal(&machine).await;
    limits_of_resources_are_those_of_the_definition(&machine).await;
    Box::pin(a_task_gets_its_own_credentials_at_the_address_of_ecs(&machine)).await;
    Box::pin(a_task_reaches_the_internet_and_not_this_machine(&machine)).await;
    Box::pin(system_calls_are_filtered(&machine)).await;
    Box::pin(the_kernel_limits_what_a_task_uses(&machine)).await;
    Box::pin(nothing_grows_with_the_number_of_tasks(&machine)).await;
    // The last one, because it ends the local cloud.
    Box::pin(what_connects_a_task_ends_with_it_and_with_the_local_cloud(&machine)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_runs_tasks_as_fargate_does() {
    Box::pin(the_engine_is_as_fargate(Instance::new())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_of_an_ordinary_user_runs_tasks_as_fargate_does() {
    match Instance::of_ordinary_user() {
        Some(instance) => Box::pin(the_engine_is_as_fargate(instance)).await,
        None if is_root() => println!("skipped: an ordinary user cannot run the Python of this machine"),
        None => println!("skipped: this test runs as an ordinary user anyway"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_reach_no_other_network_if_that_is_refused() {
    let (Some(busybox), Some(own)) = (busybox(), own_address()) else {
        println!("skipped: this machine has no network, which stands for the internet");
        return;
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let machine = Machine::start_with(Instance::new(), busybox, &["--no-internet"]).await;
    assert_eq!(machine.instance.status()["internet"], "refused");
    let shown = String::from_utf8(machine.instance.run(&["status"]).stdout).unwrap();
    assert!(shown.contains("reach no other network (--no-internet)"), "{shown}");
    let (port, met) = server((own, 0));
    let image = machine.image(json!({})).await;
    let script = format!(
        "busybox nc -w 2 {} < /dev/null || echo unreachable",
        SocketAddrV4::new(own, port).to_string().replace(':', " ")
    );
    let arn = machine.run("inside", container(&image, &script), &[]).await;
    sees(&machine.ended(&arn).await.output, &["unreachable"]);
    assert_eq!(met.load(Ordering::SeqCst), 0);
}
