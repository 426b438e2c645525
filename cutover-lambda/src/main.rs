//! The Lambda function: reads its configuration once, and hands every event to the library. Must not decide anything.

use cutover_lambda::Answer;
use cutover_lambda::aws::{install_tls, sdk_config};
use cutover_lambda::balancer::AwsBalancer;
use cutover_lambda::clock::Clock;
use cutover_lambda::config::Config;
use cutover_lambda::ledger::{Ledger, S3Store};
use cutover_lambda::metrics::log_line;
use cutover_lambda::probe::{HttpClients, HttpOptions};
use cutover_lambda::run::Stack;
use jiff::Timestamp;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;
use tracing_subscriber::EnvFilter;

/// Kept free before the function's deadline, for the answer itself.
const LAST_SECOND: Duration = Duration::from_secs(1);

/// What is made once for each process.
struct Function {
    config: Config,
    balancer: AwsBalancer,
    store: Arc<S3Store>,
}

// One thread: a function of this size has less than one processor.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_span_list(false)
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")))
        .init();
    install_tls();
    // A function that is not configured says so to whoever calls it, instead of failing to start.
    let function = Function::new().await;
    lambda_runtime::run(service_fn(|event: LambdaEvent<Value>| async {
        match &function {
            Ok(function) => Ok(function.answer(event).await),
            Err(problem) => Err(Error::from(problem.clone())),
        }
    }))
    .await
}

impl Function {
    async fn new() -> Result<Self, String> {
        let config = Config::from_env().map_err(|error| error.to_string())?;
        let sdk = sdk_config().await.map_err(|error| error.to_string())?;
        Ok(Self {
            balancer: AwsBalancer::new(&sdk, config.clone()),
            store: Arc::new(S3Store::new(&sdk, &config.bucket)),
            config,
        })
    }

    async fn answer(&self, event: LambdaEvent<Value>) -> Answer {
        let left = event.context.deadline().duration_since(SystemTime::now());
        let deadline = Instant::now() + left.unwrap_or_default().saturating_sub(LAST_SECOND);
        // Boxed: the state of a run is large.
        let begun = Timestamp::now();
        let answer = Box::pin(self.stack().handle(&event.payload, deadline)).await;
        // A stored outcome was counted when it was recorded.
        if let Answer::Run(record) = &answer
            && record.finished.is_some_and(|finished| finished >= begun)
            && let Some(line) = log_line(&self.config.stack, record)
        {
            println!("{line}");
        }
        answer
    }

    fn stack(&self) -> Arc<Stack<AwsBalancer, S3Store, HttpClients>> {
        let Config { prod_url, dev_url, connect_to, version_header, probe_path, .. } = self.config.clone();
        let clock = Clock::system();
        Arc::new(Stack {
            balancer: self.balancer.clone(),
            ledger: Ledger::new(Arc::clone(&self.store), clock),
            clients: HttpClients::new(HttpOptions { prod_url, dev_url, connect_to }),
            clock,
            version_header,
            probe_path,
        })
    }
}
