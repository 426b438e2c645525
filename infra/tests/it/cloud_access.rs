//! Who reaches what on a local cloud: each stack its own load balancer, the processes of a function their own server, and a
//! web page nothing.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use serde_json::{Value, json};

use crate::support::browser::Browser;
use crate::support::function::eventually;
use crate::support::{Cloud, get, project};

fn service() -> std::path::PathBuf {
    project().join("local/faulty")
}

/// `host:port` of a listener of a stack, as the command prints it for a browser.
fn opened(cloud: &Cloud, stack: &str, site: &str) -> String {
    let url = cloud.run_in(&service(), &["--stack", stack, "open", site]).expect(0).out;
    url.trim().trim_start_matches("http://").trim_end_matches('/').to_owned()
}

#[test]
fn two_stacks_have_their_own_addresses_and_a_cutover_certifies_its_own() {
    let cloud = Cloud::start([90, 91]);
    let run = |stack: &str, arguments: &[&str]| {
        cloud.run_in(&service(), &[&["--stack", stack], arguments].concat()).expect(0)
    };
    run("one", &["deploy"]);
    let first = run("two", &["deploy"]);
    let (one, two) = (opened(&cloud, "one", "prod"), opened(&cloud, "two", "prod"));
    assert_ne!(one, two);
    assert_eq!(one, cloud.address(0), "the first load balancer keeps the ports of `up`");
    assert!(first.out.contains(&two) || first.err.contains(&two), "the first deployment prints it: {first:?}");

    // Version 4 passes its health checks and fails under use: only probes of its own load balancer can see that.
    run("two", &["deploy", "--version", "4"]);
    let version = |address: &str| get(address, "/").version.unwrap();
    assert_eq!(version(&opened(&cloud, "two", "dev")), "4");
    assert_eq!((version(&one), version(&two)), ("1".into(), "1".into()));
    let cutover = cloud.run_in(&service(), &["--stack", "two", "cutover"]);
    assert_ne!(cutover.code, 0, "the other load balancer was probed: {cutover:?}");
    assert_eq!((version(&one), version(&two)), ("1".into(), "1".into()), "rolled back");

    let status = cloud.local(&["status", "--json"]).expect(0).json();
    let owners = status["forwards"].as_array().unwrap();
    let owner = |index: usize| owners[index]["load_balancer"].as_str().unwrap().to_owned();
    assert_eq!(owners.len(), 4, "{status:#}");
    assert!(owner(0) == owner(1) && owner(2) == owner(3) && owner(0) != owner(2), "{status:#}");

    run("one", &["destroy", "--confirm", "one"]);
    assert_eq!((version(&two), opened(&cloud, "two", "prod")), ("1".into(), two), "the other stack keeps its address");
}

/// A site on another port, whose every page is this one.
fn site(page: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n", page.len());
            let _ = stream.write_all(format!("{head}{page}").as_bytes());
        }
    });
    format!("http://{address}/")
}

#[test]
fn a_page_in_a_browser_creates_nothing() {
    let cloud = Cloud::start([90, 91]);
    let browser = Browser::start();
    let id = cloud.credentials().access_key_id().to_owned();
    let functions = format!("{}/2015-03-31/functions", cloud.endpoint());
    let create = json!({
        "FunctionName": "page", "Runtime": "python3.11", "Handler": "a.b",
        "Role": "arn:aws:iam::000000000000:role/x", "Code": { "ZipFile": "UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA==" },
    });
    // A page cannot know the credentials. With them, only the guard can refuse it.
    let signed = format!(
        "?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={id}%2F20260101%2Fus-east-1%2Flambda%2Faws4_request"
    );
    browser.open(&site("<body>a page</body>"));
    for mode in ["cors", "no-cors"] {
        let script = format!(
            "return fetch({:?}, {{ method: 'POST', mode: {mode:?}, body: {:?} }})\
             .then(answer => answer.type + ' ' + answer.status, () => 'refused')",
            format!("{functions}{signed}"),
            create.to_string(),
        );
        let seen = browser.eval(&script);
        assert!(seen == json!("refused") || seen == json!("opaque 0"), "{mode}: {seen}");
    }
    // A form needs no permission: its text is the JSON document, split at the first equals sign.
    let (name, value) = create.to_string().split_once("==").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    browser.eval(&format!(
        "const form = document.createElement('form'); form.method = 'post'; form.enctype = 'text/plain';\
         form.action = {:?}; const field = document.createElement('input'); field.name = {:?}; field.value = {:?};\
         form.append(field); document.body.append(form); form.submit()",
        format!("{functions}{signed}"),
        name,
        format!("={value}"),
    ));
    browser.wait_for("body", "does not answer web pages");

    let config_runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listed = config_runtime.block_on(async {
        let client = aws_sdk_lambda::Client::new(&cloud.sdk_config().await);
        client.list_functions().send().await.unwrap().functions.unwrap_or_default()
    });
    assert!(listed.is_empty(), "{listed:?}");
    let calls = cloud.local(&["calls", "--json"]).expect(0).json();
    let created = |call: &&Value| call["action"].as_str().is_some_and(|action| action.starts_with("POST"));
    assert_eq!(calls.as_array().unwrap().iter().find(created), None, "it was not even read");
}

/// The addresses from which the functions of a local cloud take their events.
fn runtime_apis(cloud: &Cloud) -> Vec<String> {
    let mut found = Vec::new();
    for pid in family(daemon(cloud)) {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let environment = String::from_utf8_lossy(&environment).into_owned();
        let value = environment.split('\0').find_map(|pair| pair.strip_prefix("AWS_LAMBDA_RUNTIME_API="));
        found.extend(value.map(str::to_owned));
    }
    found
}

fn daemon(cloud: &Cloud) -> i64 {
    let record: Value = serde_json::from_slice(&std::fs::read(cloud.state().join("instance.json")).unwrap()).unwrap();
    record["daemon"]["pid"].as_i64().unwrap()
}

#[test]
fn only_the_process_of_a_function_takes_its_events_and_it_ends_with_its_stack() {
    let cloud = Cloud::start([90, 91]);
    cloud.run_in(&service(), &["deploy"]).expect(0);
    cloud.run_in(&service(), &["cutover", "--probes", "10"]);
    let api = eventually("the function runs", || runtime_apis(&cloud).pop());
    let ask = |headers: &str| {
        let mut stream = TcpStream::connect(&api).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
        let request = format!("GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nconnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        // A request that is accepted waits for an event.
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    for headers in ["host: evil.example\r\n", &format!("host: {api}\r\norigin: http://evil.example\r\n")] {
        let answer = ask(headers);
        assert!(answer.starts_with("HTTP/1.1 403"), "{headers}: {answer}");
    }
    if std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0) {
        let script = "import sys, urllib.request, urllib.error\n\
                      try: print(urllib.request.urlopen(sys.argv[1], timeout=5).status)\n\
                      except urllib.error.HTTPError as error: print(error.code)";
        let mut python = std::process::Command::new("/usr/bin/python3");
        python.args(["-c", script, &format!("http://{api}/2018-06-01/runtime/invocation/next")]).current_dir("/");
        std::os::unix::process::CommandExt::uid(&mut python, 65534);
        assert_eq!(String::from_utf8(python.output().unwrap().stdout).unwrap(), "403\n");
    }
    cloud.run_in(&service(), &["destroy", "--confirm", "bluegreen"]).expect(0);
    eventually("the process of the function ends", || runtime_apis(&cloud).is_empty().then_some(()));
}

/// The processes that a process started, with their own, and itself.
fn family(of: i64) -> Vec<i64> {
    let stat = |pid: i64| std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let parent =
        |pid: i64| stat(pid).rsplit_once(')').and_then(|(_, rest)| rest.split(' ').nth(2)?.parse::<i64>().ok());
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let all: Vec<i64> = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    let mut found = vec![of];
    loop {
        let more = |pid: &&i64| !found.contains(*pid) && parent(**pid).is_some_and(|parent| found.contains(&parent));
        let more: Vec<i64> = all.iter().filter(more).copied().collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

/// The CPU time of a process so far, in hundredths of a second (fields 14 and 15 of `/proc/PID/stat`).
fn cpu_time(pid: i64) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum()
}

/// The memory of a process in MiB: its own, and its share of what it shares.
fn memory(pid: i64) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

#[test]
fn an_idle_local_cloud_with_a_stack_costs_a_hundredth_of_a_core_at_most() {
    const SECONDS: u64 = 30;
    let cloud = Cloud::start([90, 91]);
    cloud.run_in(&service(), &["deploy"]).expect(0);
    cloud.run_in(&service(), &["cutover", "--probes", "10"]);
    // The daemon, MiniStack, two tasks, and the function.
    let processes = family(daemon(&cloud));
    assert!(processes.len() >= 5, "{processes:?}");
    let spent = || processes.iter().copied().map(cpu_time).sum::<u64>();
    let measured = || {
        let before = spent();
        // The time is what is measured: nothing happens in it.
        std::thread::sleep(std::time::Duration::from_secs(SECONDS));
        spent() - before
    };
    // What the deployment left to do may still run in the first period.
    let least = measured().min(measured());
    let name = |pid: &i64| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let ministack = *processes.iter().find(|pid| name(pid).starts_with("python")).unwrap();
    // The daemon, MiniStack, and the function; the rest runs the tasks.
    let own = [vec![daemon(&cloud)], family(ministack)].concat();
    let (own, tasks): (Vec<i64>, Vec<i64>) = processes.iter().copied().partition(|pid| own.contains(pid));
    let used = |pids: Vec<i64>| pids.into_iter().map(memory).sum::<u64>();
    let (own, for_task) = (used(own), used(tasks) / u64::try_from(cloud.tasks().len()).unwrap());
    println!("{least} hundredths of a second in {SECONDS} s, {own} MiB, {for_task} MiB for a task");
    assert!(least <= SECONDS, "{least} hundredths of a second of CPU time in {SECONDS} idle seconds");
    assert!((20..=150).contains(&own), "{own} MiB");
    assert!((1..=40).contains(&for_task), "{for_task} MiB for a task");
}

#[test]
fn the_build_scripts_of_a_service_get_no_credentials() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("Cargo.toml", "[package]\nname = \"curious\"\nversion = \"1.0.0\"\nedition = \"2024\"\n");
    write("Cargo.lock", "version = 4\n\n[[package]]\nname = \"curious\"\nversion = \"1.0.0\"\n");
    write("src/main.rs", "fn main() {}\n");
    let seen = folder.path().join("seen");
    let script = "fn main() {\n    let names: Vec<String> = std::env::vars().map(|(name, _)| name).collect();\n    \
                  std::fs::write(SEEN, names.join(\"\\n\")).unwrap();\n}\n";
    write("build.rs", &script.replace("SEEN", &format!("{seen:?}")));
    write("bluegreen.toml", "[app]\ncargo = \"curious\"\n");
    let cloud = Cloud::start([90, 91]);
    let secrets = ["AWS_SESSION_TOKEN", "GH_TOKEN", "GITHUB_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "DB_PASSWORD"];
    let mut command = cloud.command(&["deploy"]);
    command.current_dir(folder.path()).envs(secrets.map(|name| (name, "secret")));
    let mut deploying =
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    // The script writes its file at once; the rest of the deployment is not of interest.
    let names =
        eventually("the build script runs", || std::fs::read_to_string(&seen).ok().filter(|text| !text.is_empty()));
    deploying.kill().unwrap();
    deploying.wait().unwrap();
    let names: Vec<&str> = names.lines().collect();
    assert!(names.contains(&"PATH") && names.contains(&"OUT_DIR"), "{names:?}");
    let found: Vec<&&str> = names.iter().filter(|name| name.starts_with("AWS_") || secrets.contains(name)).collect();
    assert!(found.is_empty(), "{found:?}");
}
