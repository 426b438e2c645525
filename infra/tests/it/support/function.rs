//! The cutover function of a stack on a local cloud: invoked as a client does, observed through its ledger and the
//! journal of its calls, and killed as by a crash.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use aws_sdk_lambda::config::retry::RetryConfig;
use aws_sdk_lambda::config::timeout::TimeoutConfig;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::InvocationType;
use aws_sdk_s3::primitives::ByteStream;
use serde_json::{Value, json};

use super::Cloud;

/// Longer than any operation here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_mins(1);
const LOCK: &str = "cutover/lock.json";

/// The function of the stack `bluegreen`.
pub struct Function<'a> {
    cloud: &'a Cloud,
    runtime: tokio::runtime::Runtime,
    lambda: aws_sdk_lambda::Client,
    stacks: aws_sdk_cloudformation::Client,
    s3: aws_sdk_s3::Client,
    balancers: aws_sdk_elasticloadbalancingv2::Client,
    pub outputs: BTreeMap<String, String>,
}

/// Waits until a condition holds.
#[track_caller]
pub fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl<'a> Function<'a> {
    /// The function of the stack on this cloud.
    pub fn of(cloud: &'a Cloud) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let config = runtime.block_on(cloud.sdk_config());
        // A run takes longer than the default timeout of clients, and a retry would start another run.
        let patient = TimeoutConfig::builder()
            .disable_read_timeout()
            .disable_operation_timeout()
            .disable_operation_attempt_timeout()
            .build();
        let lambda = aws_sdk_lambda::config::Builder::from(&config)
            .timeout_config(patient)
            .retry_config(RetryConfig::disabled())
            .build();
        let stacks = aws_sdk_cloudformation::Client::new(&config);
        let described = runtime.block_on(stacks.describe_stacks().stack_name("bluegreen").send()).unwrap();
        let outputs = described.stacks()[0].outputs().iter();
        let outputs =
            outputs.map(|output| (output.output_key().unwrap().into(), output.output_value().unwrap().into()));
        Self {
            cloud,
            outputs: outputs.collect(),
            lambda: aws_sdk_lambda::Client::from_conf(lambda),
            stacks,
            s3: aws_sdk_s3::Client::from_conf(
                aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build(),
            ),
            balancers: aws_sdk_elasticloadbalancingv2::Client::new(&config),
            runtime,
        }
    }

    /// A part of the ARN of a rule of a listener.
    pub fn rule_of(&self, listener: &str) -> String {
        let (_, path) = self.outputs[listener].split_once(":listener/").unwrap();
        format!(":listener-rule/{path}/")
    }

    /// The name of a resource of the stack.
    pub fn physical_id(&self, logical: &str) -> String {
        let described = self.stacks.describe_stack_resource().stack_name("bluegreen").logical_resource_id(logical);
        let described = self.runtime.block_on(described.send()).unwrap();
        described.stack_resource_detail().unwrap().physical_resource_id().unwrap().to_owned()
    }

    /// Invokes the function and waits for its answer.
    pub fn invoke(&self, event: &Value) -> Value {
        let invoked = self.runtime.block_on(self.send(event, InvocationType::RequestResponse));
        serde_json::from_slice(invoked.payload().unwrap().as_ref()).unwrap()
    }

    /// Invokes the function and does not wait.
    pub fn begin(&self, event: &Value) {
        self.runtime.block_on(self.send(event, InvocationType::Event));
    }

    async fn send(&self, event: &Value, kind: InvocationType) -> aws_sdk_lambda::operation::invoke::InvokeOutput {
        let mut event = event.clone();
        // Most tests use a cutover.
        if let Some(event) = event.as_object_mut().filter(|event| !event.contains_key("to")) {
            event.entry("op").or_insert_with(|| "cutover".into());
        }
        let payload = Blob::new(serde_json::to_vec(&event).unwrap());
        let request = self.lambda.invoke().function_name(&self.outputs["CutoverFunctionName"]);
        request.invocation_type(kind).payload(payload).send().await.unwrap()
    }

    /// The record of a run, if there is one.
    pub fn record(&self, id: &str) -> Option<Value> {
        self.object(&format!("cutover/runs/{id}.json"))
    }

    /// Waits until the record of a run shows this phase.
    #[track_caller]
    pub fn wait_for_phase(&self, id: &str, phase: &str) {
        eventually(&format!("run {id} is in {phase}"), || {
            let record = self.record(id)?;
            assert!(record["outcome"].is_null(), "run {id} ended before it was in {phase}: {record:#}");
            (record["phase"] == phase).then_some(())
        });
    }

    /// Waits for the end of a started run.
    #[track_caller]
    pub fn wait_for_end(&self, id: &str) -> Value {
        eventually(&format!("run {id} ends"), || self.record(id).filter(|record| !record["outcome"].is_null()))
    }

    /// The content of the lease.
    pub fn lease(&self) -> Option<Value> {
        self.object(LOCK)
    }

    /// Makes the lease look expired, as if it had not been renewed.
    pub fn let_the_lease_expire(&self) {
        let Some(mut lease) = self.lease() else { return };
        // The mark of a lease that another process has broken.
        lease["expires"] = json!("1970-01-01T00:00:00Z");
        self.write_lease(lease.to_string().into_bytes());
    }

    /// Overwrites the lease.
    pub fn write_lease(&self, body: Vec<u8>) {
        let put = self.s3.put_object().bucket(&self.outputs["BucketName"]).key(LOCK);
        self.runtime.block_on(put.body(ByteStream::from(body)).send()).unwrap();
    }

    fn object(&self, key: &str) -> Option<Value> {
        let got = self.s3.get_object().bucket(&self.outputs["BucketName"]).key(key);
        self.runtime.block_on(async {
            let bytes = got.send().await.ok()?.body.collect().await.unwrap().into_bytes();
            Some(serde_json::from_slice(&bytes).unwrap())
        })
    }

    /// The colors that prod and dev point at.
    pub fn sides(&self) -> (String, String) {
        let [prod, dev] = ["ProdListenerArn", "DevListenerArn"].map(|listener| {
            let described = self.balancers.describe_rules().listener_arn(&self.outputs[listener]).send();
            let described = self.runtime.block_on(described).unwrap();
            let rule = described.rules().iter().find(|rule| rule.priority() == Some("50000")).unwrap();
            let group = rule.actions()[0].target_group_arn().unwrap().to_owned();
            let color =
                ["Blue", "Green"].into_iter().find(|color| self.outputs[&format!("{color}TargetGroupArn")] == group);
            color.unwrap().to_lowercase()
        });
        (prod, dev)
    }

    /// The calls of functions after the call with this number.
    pub fn calls(&self, after: u64) -> Vec<Value> {
        let said = self.cloud.local(&["calls", "--json", "--caller", "function", "--after", &after.to_string()]);
        said.expect(0).json().as_array().unwrap().clone()
    }

    /// The number of the last call.
    pub fn last_call(&self) -> u64 {
        let calls = self.cloud.local(&["calls", "--json"]).expect(0).json();
        calls.as_array().unwrap().last().map_or(0, |call| call["number"].as_u64().unwrap())
    }

    /// Adds a fault of calls of the function.
    pub fn fault(&self, rule: &[&str]) {
        let add = [&["fault", "add"], rule, &["--caller", "function"]].concat();
        self.cloud.local(&add).expect(0);
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        self.cloud.local(&["fault", "clear"]).expect(0);
    }

    /// Kills its processes at once, without a chance to finish.
    pub fn kill(&self) {
        let processes = self.processes();
        assert!(!processes.is_empty(), "no process of the function runs");
        for pid in processes {
            let killed = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
            assert!(killed.success());
            eventually("the function's process ends", || (!self.processes().contains(&pid)).then_some(()));
        }
    }

    /// The processes of the function: those with a program in the state directory of the local cloud.
    fn processes(&self) -> Vec<u32> {
        let state = self.cloud.state().canonicalize().unwrap();
        let own = |exe: &PathBuf| exe.starts_with(&state) && exe.ends_with("bootstrap");
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.filter(|pid| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| own(&exe))).collect()
    }
}
