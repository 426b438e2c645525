//! Cutovers on the local cloud: the time of one, and the number of failed user requests in many of them.

use std::time::Duration;

use aws::Calling as _;
use aws_sdk_lambda::config::retry::RetryConfig;
use aws_sdk_lambda::config::timeout::TimeoutConfig;
use aws_sdk_lambda::primitives::Blob;
use deploy::DeployedStack;
use infra::error::{Doing as _, Error, Result};
use model::record::{Outcome, Record, StepKind};
use serde_json::{Value, json};

use crate::bench::{Bench, Findings};
use crate::cloud::{self, LocalCloud};
use crate::figures::Figures;
use crate::role::{Load, Player};
use crate::row::{Row, Target};
use crate::unit::Unit;

/// Requests per second of the users.
const RATE: u32 = 500;
const STACK: &str = "bluegreen";

pub(super) fn measure(bench: &Bench, findings: &mut Findings<'_>) -> Result<()> {
    let cloud = LocalCloud::start(bench)?;
    cloud.run(&["deploy", "--yes"])?;
    cloud.run(&["deploy", "--version", "2", "--yes"])?;
    let runtime = cloud::runtime()?;
    let function = runtime.block_on(Function::of(&cloud))?;
    bench.say("cutovers, one after the other ...");
    // The defaults of a cutover, except for the part after both listeners are written.
    let event = json!({ "op": "cutover", "probe": { "count": 20 }, "settle_ms": 100 });
    let mut seconds = Vec::new();
    for _ in 0..2 * bench.options.rounds {
        seconds.push(runtime.block_on(function.cut_over(&event))?);
    }
    let time = Row::new("cutover: invocation to both listeners written", Unit::Seconds, Figures::of(seconds));
    findings.row(time.target(Target::AtMost(0.25)));

    let cutovers = bench.options.cutovers;
    bench.say(&format!("{cutovers} cutovers under load ..."));
    let mut users = Player::start(bench, &["load", &cloud.prod()?, &RATE.to_string()])?;
    users.line()?;
    // Few probes, for a short cutover: the number of swaps of the listeners matters.
    let event = json!({ "op": "cutover", "probe": { "count": 20, "interval_ms": 20 }, "settle_ms": 100 });
    for _ in 0..cutovers {
        runtime.block_on(function.cut_over(&event))?;
    }
    let seen: Load = users.found()?;
    for failure in &seen.failures {
        bench.say(&format!("a request failed: {failure}"));
    }
    if seen.versions.len() != 2 {
        return Err(Error::failed(format!("users must see exactly two versions, but saw {:?}", seen.versions)));
    }
    #[expect(clippy::cast_precision_loss, reason = "there are some thousands")]
    let (failed, requests) = (seen.failed as f64, seen.requests as f64);
    let what = format!("prod requests failed in {cutovers} cutovers");
    findings.row(Row::new(what, Unit::Count, Figures::once(failed)).target(Target::NeverAbove(0.0)));
    let rate = Figures::once(requests / seen.seconds);
    findings.row(Row::new("prod requests meanwhile", Unit::PerSecond, rate));
    Ok(())
}

/// The cutover function of the stack.
struct Function {
    lambda: aws_sdk_lambda::Client,
    name: String,
}

impl Function {
    async fn of(cloud: &LocalCloud) -> Result<Self> {
        let config = cloud.sdk_config().await?;
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
        let outputs = DeployedStack::require(&cloud.clients().await?, STACK).await?.outputs()?;
        let name = outputs.function.ok_or_else(|| Error::failed("the stack has no cutover function"))?;
        Ok(Self { lambda: aws_sdk_lambda::Client::from_conf(lambda), name })
    }

    /// Swaps prod and dev. Returns the seconds from the invocation until both listeners were written, without the
    /// baseline.
    async fn cut_over(&self, event: &Value) -> Result<f64> {
        let invoked = jiff::Timestamp::now();
        let payload = Blob::new(event.to_string().into_bytes());
        let answer = self.lambda.invoke().function_name(&self.name).payload(payload).send().await;
        let answer = answer.calling(|| "invoke the cutover function".to_owned())?;
        let answer = answer.payload().map(AsRef::as_ref).unwrap_or_default();
        let record: Record = serde_json::from_slice(answer)
            .doing(|| format!("parse the answer of the function: {}", String::from_utf8_lossy(answer)))?;
        if record.outcome != Some(Outcome::Done) {
            return Err(Error::failed("a cutover failed").because(&record.message));
        }
        until_written(&record, invoked).ok_or_else(|| Error::failed("the record of a cutover has no writes"))
    }
}

/// The seconds from the invocation until both listeners were written, without the baseline.
fn until_written(record: &Record, invoked: jiff::Timestamp) -> Option<f64> {
    let written = record.writes.iter().map(|write| write.end_us).max()??;
    let baseline = record.steps.iter().find(|step| step.kind() == Some(StepKind::Baseline))?;
    let baseline = Duration::from_millis(baseline.end_ms?.saturating_sub(baseline.start_ms));
    let begun = record.started.duration_since(invoked).as_secs_f64();
    Some(begun + Duration::from_micros(written).saturating_sub(baseline).as_secs_f64())
}
