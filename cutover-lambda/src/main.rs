//! The Lambda function: reads its configuration once, hands every event to the library, and tells of what ended. Must not
//! decide anything.

use aws::clock::Clock;
use aws::{account_of, ca_bundle, install_tls, sdk_config};
use cutover::audience::{Audience, Telling};
use cutover::balancer::AwsBalancer;
use cutover::config::Config;
use cutover::events::EventBus;
use cutover::metrics::log_line;
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

/// Kept free before the function's deadline, for the answer itself.
const LAST_SECOND: Duration = Duration::from_secs(1);

/// What is made once for each process.
struct Function {
    config: Config,
    balancer: AwsBalancer,
    store: Arc<S3Store>,
    clients: HttpClients,
    audience: Arc<Outside>,
}

/// Metrics and the event bus.
#[derive(Debug)]
struct Outside {
    stack: String,
    bus: Option<EventBus>,
}

impl Audience for Outside {
    fn tell<'a>(&'a self, record: &'a Record) -> Telling<'a> {
        Box::pin(async move {
            if let Some(line) = log_line(&self.stack, record) {
                println!("{line}");
            }
            if let Some(bus) = &self.bus {
                bus.tell(record).await;
            }
        })
    }
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
        let roots = ca_bundle().map_err(|error| error.to_string())?;
        let Config { prod_url, dev_url, connect_to, .. } = config.clone();
        Ok(Self {
            balancer: AwsBalancer::new(&sdk, config.clone()),
            store: Arc::new(S3Store::new(&sdk, &config.bucket, account_of(&config.prod_listener))),
            clients: HttpClients::new(HttpOptions { prod_url, dev_url, connect_to, roots }),
            audience: Arc::new(Outside {
                bus: config.event_bus.as_ref().map(|bus| EventBus::new(&sdk, bus, &config.stack)),
                stack: config.stack.clone(),
            }),
            config,
        })
    }

    async fn answer(&self, event: LambdaEvent<Value>) -> Answer {
        let left = event.context.deadline().duration_since(SystemTime::now());
        let deadline = Instant::now() + left.unwrap_or_default().saturating_sub(LAST_SECOND);
        // Boxed: the state of a run is large.
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
            idle: self.config.idle,
            audience: Some(self.audience.clone()),
        })
    }
}
