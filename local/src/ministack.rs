//! MiniStack as a child process: its environment, its start, and its readiness.

use crate::access::Secret;
use crate::balancer::ForwardSet;
use crate::environment::connect_to;
use crate::error::{Context, Error, Result};
use crate::gateway::Caller;
use crate::http_client;
use crate::instance::{Forward, Layout};
use crate::private_file;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

/// The longest time that a healthy start takes on a slow, busy machine.
const START_LIMIT: Duration = Duration::from_mins(1);
/// Longer than any start or stop of a task in the engine.
const DOCKER_TIMEOUT_SECONDS: u32 = 3600;
/// The variables that MiniStack and its functions inherit.
const INHERITED: [&str; 8] = ["HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "TZ", "USER", "RUST_LOG"];

/// The adapter that wraps MiniStack: it publishes the state of the load balancers and stores weighted forwards.
const ADAPTER: &str = include_str!("ministack_adapter.py");

/// The start settings of MiniStack.
#[derive(Debug)]
pub(crate) struct Settings<'a> {
    pub(crate) python: &'a Path,
    /// The secret of the instance, from which MiniStack issues the keys of functions and tasks.
    pub(crate) secret: &'a Secret,
    /// The port of the gateway, which MiniStack uses in its URLs.
    pub(crate) endpoint_port: u16,
    pub(crate) region: &'a str,
    pub(crate) forwards: &'a [Forward],
    /// The addresses of the nodes of the load balancer.
    pub(crate) nodes: &'a [Ipv4Addr],
}

/// Starts MiniStack on the loopback, as leader of a new process group.
pub(crate) fn spawn(settings: &Settings<'_>, layout: &Layout) -> Result<Child> {
    let log = layout.ministack_log();
    let file = private_file::create(&log)?;
    let errors = file.try_clone().context(|| format!("cannot write {}", log.display()))?;
    for dir in [layout.scratch().join("tmp"), layout.scratch().join("state"), layout.scratch().join("s3")] {
        std::fs::create_dir_all(&dir).context(|| format!("cannot create {}", dir.display()))?;
    }
    let adapter = layout.scratch().join("local_cloud_adapter.py");
    private_file::replace(&adapter, ADAPTER.as_bytes())?;
    private_file::replace(&layout.scratch().join("secret"), settings.secret.text().as_bytes())?;
    Command::new(settings.python)
        .args(["-m", "hypercorn", "--workers", "0", "local_cloud_adapter:app", "--bind"])
        .arg(format!("unix:{}", layout.ministack_socket().display()))
        .env_clear()
        .envs(environment(settings, layout))
        .env("PYTHONPATH", layout.scratch())
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(errors)
        .process_group(0)
        .spawn()
        .context(|| format!("cannot start {}", settings.python.display()))
}

fn environment(settings: &Settings<'_>, layout: &Layout) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> =
        INHERITED.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?))).collect();
    // A function reaches every load balancer by its DNS name at the ports of the first set.
    let first = [ForwardSet { balancer: None, forwards: settings.forwards.to_vec(), secure: Vec::new() }];
    let key = settings.secret.issue(Caller::Function);
    let scratch = |name: &str| layout.scratch().join(name).display().to_string();
    let own = [
        ("PYTHONUNBUFFERED", "1".to_owned()),
        ("GATEWAY_PORT", settings.endpoint_port.to_string()),
        // Requests of the data plane and of the registry have no region.
        ("MINISTACK_REGION", settings.region.to_owned()),
        ("AWS_REGION", settings.region.to_owned()),
        ("AWS_DEFAULT_REGION", settings.region.to_owned()),
        // The functions that MiniStack runs inherit these.
        ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", settings.endpoint_port)),
        ("AWS_ACCESS_KEY_ID", key.access_key_id),
        ("AWS_SECRET_ACCESS_KEY", key.secret_access_key),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ("AWS_CA_BUNDLE", layout.authority().display().to_string()),
        ("BLUEGREEN_CONNECT_TO", connect_to(settings.nodes, &first)),
        // Tasks run in the engine of the local cloud, functions as processes of MiniStack.
        ("DOCKER_HOST", format!("unix://{}", layout.socket().display())),
        ("MINISTACK_DOCKER_TIMEOUT", DOCKER_TIMEOUT_SECONDS.to_string()),
        ("HOSTNAME", "local-cloud".to_owned()),
        ("LAMBDA_EXECUTOR", "local".to_owned()),
        // State in memory and in the state directory; no listeners except the endpoint.
        ("PERSIST_STATE", "0".to_owned()),
        ("STATE_DIR", scratch("state")),
        ("S3_DATA_DIR", scratch("s3")),
        ("TMPDIR", scratch("tmp")),
        ("SFTP_ENABLED", "0".to_owned()),
        ("IOT_MTLS_ENABLED", "0".to_owned()),
    ];
    all.extend(own.map(|(name, value)| (name.to_owned(), value)));
    all
}

/// Waits until MiniStack answers.
pub(crate) async fn ready(child: &mut Child, layout: &Layout) -> Result<()> {
    let client = http_client::client();
    let url = format!("{}/_ministack/health", http_client::base(&layout.ministack_socket()));
    let deadline = Instant::now() + START_LIMIT;
    let mut pause = Duration::from_millis(20);
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Err(Error::new(format!("MiniStack failed to start with {status}:\n{}", log_tail(layout)))
                .hint(format!("full output: {}", layout.ministack_log().display())));
        }
        let answer = match tokio::time::timeout(Duration::from_secs(2), http_client::get(&client, &url, &[])).await {
            Ok(Ok(response)) if response.status().is_success() => return Ok(()),
            Ok(Ok(response)) => format!("answered {}", response.status()),
            Ok(Err(error)) => error.message().to_owned(),
            Err(_) => "no answer within 2 s".to_owned(),
        };
        if Instant::now() >= deadline {
            return Err(Error::new(format!(
                "MiniStack did not become ready within {} s: {answer}",
                START_LIMIT.as_secs()
            ))
            .hint(format!("full output: {}", layout.ministack_log().display())));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(Duration::from_millis(250));
    }
}

/// The last lines of the output of MiniStack.
pub(crate) fn log_tail(layout: &Layout) -> String {
    let text = std::fs::read_to_string(layout.ministack_log()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}
