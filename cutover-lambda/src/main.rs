//! The Lambda function: reads its configuration once, passes every event to the library, and sends notifications. Must not
//! decide anything.

use aws::clock::Clock;
use aws::{account_of, ca_bundle, install_tls, sdk_config};
use cutover::balancer::AwsBalancer;
use cutover::config::Config;
use cutover::events::EventBus;
use cutover::metrics::log_line;
use cutover::notifier::{Notification, Notifier};
use cutover::probe::{HttpClients, HttpOptions};
use cutover::run::Stack;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use ledger::{Ledger, S3Store};
use model::{Answer, Record};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;
use tracing_subscriber::EnvFilter;

/// Time reserved before the function's deadline to return the answer.
const LAST_SECOND: Duration = Duration::from_secs(1);

/// Resources that are created once per process.
struct Function {
    config: Config,
    balancer: AwsBalancer,
    store: Arc<S3Store>,
    clients: HttpClients,
    notifier: Arc<MetricsAndEvents>,
}

/// Sends metrics and events.
#[derive(Debug)]
struct MetricsAndEvents {
    stack: String,
    bus: Option<EventBus>,
}

impl Notifier for MetricsAndEvents {
    fn notify<'a>(&'a self, record: &'a Record) -> Notification<'a> {
        Box::pin(async move {
            if let Some(line) = log_line(&self.stack, record) {
                println!("{line}");
            }
            if let Some(bus) = &self.bus {
                bus.notify(record).await;
            }
        })
    }
}

// One thread, because a function of this size has less than one CPU.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_span_list(false)
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")))
        .init();
    install_tls();
    // A function without a valid configuration returns the problem to its caller instead of failing to start.
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
        let roots = ca_bundle().map_err(|error| error.to_string())?;
        let Config { prod_url, dev_url, connect_to, .. } = config.clone();
        Ok(Self {
            balancer: AwsBalancer::new(&sdk, config.clone()),
            store: Arc::new(S3Store::new(&sdk, &config.bucket, account_of(&config.prod_listener))),
            clients: HttpClients::new(HttpOptions { prod_url, dev_url, connect_to, roots }),
            notifier: Arc::new(MetricsAndEvents {
                bus: config.event_bus.as_ref().map(|bus| EventBus::new(&sdk, bus, &config.stack)),
                stack: config.stack.clone(),
            }),
            config,
        })
    }

    async fn answer(&self, event: LambdaEvent<Value>) -> Answer {
        let left = event.context.deadline().duration_since(SystemTime::now());
        let deadline = Instant::now() + left.unwrap_or_default().saturating_sub(LAST_SECOND);
        // Boxed because the future of a run is large.
        Box::pin(self.stack().handle(&event.payload, deadline)).await
    }

    fn stack(&self) -> Arc<Stack<AwsBalancer, S3Store, HttpClients>> {
        let clock = Clock::system();
        Arc::new(Stack {
            balancer: self.balancer.clone(),
            ledger: Ledger::new(Arc::clone(&self.store), clock),
            clients: self.clients.clone(),
            clock,
            version_header: self.config.version_header.clone(),
            probe_path: self.config.probe_path.clone(),
            success_codes: self.config.success_codes.clone(),
            idle: self.config.idle,
            notifier: Some(self.notifier.clone()),
        })
    }
}
