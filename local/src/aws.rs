//! Calls of the local cloud to the AWS APIs of its MiniStack, through the AWS SDK.

use crate::balancer::Counted;
use crate::engine::placement::{Placement, TaskRef};
use crate::engine::probe::{HealthCheck, HttpVersion, Matcher, Protocol};
use crate::engine::settings::Settings;
use crate::error::{Context, Error, Result};
use crate::http_client::{self, HttpClient};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, MetricDatum, StandardUnit};
use aws_sdk_cloudwatchlogs::types::InputLogEvent;
use aws_sdk_elasticloadbalancingv2::types::{ProtocolEnum, TargetGroup};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use http::uri::InvalidUri;
use http_body_util::BodyExt as _;
use std::time::Duration;

/// Clients of the services that the local cloud reads.
#[derive(Debug, Clone)]
pub(crate) struct Cloud {
    ecs: aws_sdk_ecs::Client,
    balancers: aws_sdk_elasticloadbalancingv2::Client,
    logs: aws_sdk_cloudwatchlogs::Client,
    metrics: aws_sdk_cloudwatch::Client,
}

/// The metrics of one target group of a load balancer.
#[derive(Debug)]
pub(crate) struct Measured {
    /// `app/NAME/ID`
    pub(crate) load_balancer: String,
    /// `targetgroup/NAME/ID`
    pub(crate) target_group: String,
    pub(crate) counted: Counted,
}

impl Cloud {
    /// Clients for the MiniStack at `endpoint`, the URL of its socket.
    pub(crate) fn new(endpoint: &str, region: &str) -> Self {
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(region.to_owned()))
            .endpoint_url("http://localhost")
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
                "local", "local", None, None, "local",
            )))
            .http_client(socket_client(endpoint))
            // MiniStack cannot read compressed requests.
            .disable_request_compression(true)
            .build();
        Self {
            ecs: aws_sdk_ecs::Client::new(&config),
            balancers: aws_sdk_elasticloadbalancingv2::Client::new(&config),
            logs: aws_sdk_cloudwatchlogs::Client::new(&config),
            metrics: aws_sdk_cloudwatch::Client::new(&config),
        }
    }

    /// Sends CloudWatch the metrics of the minute that began at `minute`, in seconds of the Unix epoch. A metric
    /// without a value is not sent, as on AWS.
    pub(crate) async fn put_metrics(&self, minute: i64, measured: Vec<Measured>) -> Result<()> {
        let data = measured.into_iter().flat_map(|measured| metric_data(minute, measured)).collect();
        let put = self.metrics.put_metric_data().namespace("AWS/ApplicationELB").set_metric_data(Some(data));
        put.send().await.context(|| "cannot put metrics".into())?;
        Ok(())
    }

    /// The service and the target groups of the container of a task.
    pub(crate) async fn placement(&self, task: &TaskRef) -> Result<Placement> {
        let described = self.ecs.describe_tasks().cluster(&task.cluster).tasks(&task.task).send().await;
        let described = described.context(|| format!("cannot describe task {}", task.task_id()))?;
        let group = described.tasks().first().and_then(|found| found.group());
        let Some(service) = group.and_then(|group| group.strip_prefix("service:")) else {
            return Ok(Placement::default());
        };
        let described = self.ecs.describe_services().cluster(&task.cluster).services(service).send().await;
        let described = described.context(|| format!("cannot describe service {service}"))?;
        let found = described.services().iter().find(|found| found.status() == Some("ACTIVE"));
        let Some(found) = found else {
            return Err(Error::new(format!("service {service} is no longer active")));
        };
        let seconds = u64::try_from(found.health_check_grace_period_seconds().unwrap_or(0)).unwrap_or(0);
        let mut placement =
            Placement { service: Some(service.to_owned()), checks: Vec::new(), grace: Duration::from_secs(seconds) };
        for balancer in found.load_balancers() {
            let Some(arn) = balancer.target_group_arn() else { continue };
            if balancer.container_name().is_some_and(|name| name != task.container) {
                continue;
            }
            let port = balancer.container_port().and_then(|port| u16::try_from(port).ok()).unwrap_or(80);
            placement.checks.extend(self.health_check(arn, port).await?);
        }
        Ok(placement)
    }

    /// The settings of the container of a task.
    pub(crate) async fn settings(&self, task: &TaskRef) -> Result<Settings> {
        let described = self.ecs.describe_task_definition().task_definition(&task.definition).send().await;
        let described = described.context(|| format!("cannot describe task definition {}", task.definition))?;
        let definition = described.task_definition();
        Ok(definition.map(|definition| Settings::of(definition, &task.container)).unwrap_or_default())
    }

    async fn health_check(&self, arn: &str, port: u16) -> Result<Option<HealthCheck>> {
        let described = self.balancers.describe_target_groups().target_group_arns(arn).send().await;
        let described = described.context(|| format!("cannot describe target group {arn}"))?;
        Ok(described.target_groups().first().and_then(|group| health_check(group, port)))
    }

    /// Whether ECS still wants this task to run. If the request fails, the answer is yes.
    pub(crate) async fn wanted(&self, task: &TaskRef) -> bool {
        let described = self.ecs.describe_tasks().cluster(&task.cluster).tasks(&task.task).send().await;
        let Ok(described) = described else { return true };
        described.tasks().first().is_some_and(|found| found.desired_status() != Some("STOPPED"))
    }

    /// Writes the output of a container that failed to start to its log group.
    /// MiniStack forwards output only after a successful start.
    pub(crate) async fn put_output(&self, task: &TaskRef, lines: Vec<String>) -> Result<()> {
        let described = self.ecs.describe_task_definition().task_definition(&task.definition).send().await;
        let described = described.context(|| format!("cannot describe task definition {}", task.definition))?;
        let definition = described.task_definition();
        let containers = definition.map(aws_sdk_ecs::types::TaskDefinition::container_definitions).unwrap_or_default();
        let container = containers.iter().find(|found| found.name() == Some(task.container.as_str()));
        let options = container.and_then(|found| found.log_configuration()).and_then(|logs| logs.options());
        let Some(options) = options else { return Ok(()) };
        let (Some(group), Some(prefix)) = (options.get("awslogs-group"), options.get("awslogs-stream-prefix")) else {
            return Ok(());
        };
        let stream = format!("{prefix}/{}/{}", task.container, task.task_id());
        // The log stream can exist already. Any other error shows in the next call.
        let _ = self.logs.create_log_stream().log_group_name(group).log_stream_name(&stream).send().await;
        let now = jiff::Timestamp::now().as_millisecond();
        let events = lines.into_iter().filter(|line| !line.is_empty()).map(|line| {
            InputLogEvent::builder().timestamp(now).message(line).build().context(|| "a log event is incomplete".into())
        });
        let events = events.collect::<Result<Vec<_>>>()?;
        let put = self.logs.put_log_events().log_group_name(group).log_stream_name(&stream);
        put.set_log_events(Some(events)).send().await.context(|| format!("cannot write to log group {group}"))?;
        Ok(())
    }
}

/// An HTTP client of the AWS SDK that sends every request to a socket.
fn socket_client(endpoint: &str) -> SharedHttpClient {
    let socket =
        SharedHttpConnector::new(SocketConnector { endpoint: endpoint.to_owned(), client: http_client::client() });
    http_client_fn(move |_, _| socket.clone())
}

#[derive(Debug)]
struct SocketConnector {
    /// The URL of the socket.
    endpoint: String,
    client: HttpClient,
}

impl HttpConnector for SocketConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (client, endpoint) = (self.client.clone(), self.endpoint.clone());
        HttpConnectorFuture::new(async move {
            let user = |error: BoxError| ConnectorError::user(error);
            let mut request = request.try_into_http1x().map_err(|error| user(error.into()))?;
            let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
            *request.uri_mut() = format!("{endpoint}{path}").parse().map_err(|error: InvalidUri| user(error.into()))?;
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map_err(user)?.to_bytes();
            let request = http::Request::from_parts(parts, http_client::full(body));
            let response = client.request(request).await.map_err(|error| ConnectorError::io(error.into()))?;
            let (parts, body) = response.into_parts();
            let body = body.collect().await.map_err(|error| ConnectorError::io(error.into()))?.to_bytes();
            HttpResponse::try_from(http::Response::from_parts(parts, SdkBody::from(body)))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "requests of a few seconds")]
fn metric_data(minute: i64, measured: Measured) -> Vec<MetricDatum> {
    let Measured { load_balancer, target_group, counted } = measured;
    let dimension = |name: &str, value: &str| Dimension::builder().name(name).value(value).build();
    let datum = |name: &str, unit: StandardUnit| {
        MetricDatum::builder()
            .metric_name(name)
            .dimensions(dimension("LoadBalancer", &load_balancer))
            .dimensions(dimension("TargetGroup", &target_group))
            .timestamp(DateTime::from_secs(minute))
            .unit(unit)
    };
    let count =
        |name: &str, count: u64| (count > 0).then(|| datum(name, StandardUnit::Count).value(count as f64).build());
    let times = (!counted.times.is_empty()).then(|| {
        let (values, counts) = counted.times.iter().map(|(seconds, count)| (*seconds, *count as f64)).unzip();
        let datum = datum("TargetResponseTime", StandardUnit::Seconds);
        datum.set_values(Some(values)).set_counts(Some(counts)).build()
    });
    let counts = [count("RequestCount", counted.requests), count("HTTPCode_Target_5XX_Count", counted.errors)];
    counts.into_iter().chain([times]).flatten().collect()
}

fn health_check(group: &TargetGroup, container_port: u16) -> Option<HealthCheck> {
    if group.health_check_enabled() == Some(false) {
        return None;
    }
    let seconds =
        |value: Option<i32>, default| Duration::from_secs(value.and_then(|v| u64::try_from(v).ok()).unwrap_or(default));
    let checked = group.health_check_protocol().unwrap_or(&ProtocolEnum::Http);
    let http = matches!(checked, ProtocolEnum::Http | ProtocolEnum::Https);
    let protocol = Protocol::read(checked.as_str(), group.protocol_version());
    let codes = group.matcher().and_then(|matcher| match protocol.version {
        HttpVersion::Grpc => matcher.grpc_code(),
        _ => matcher.http_code(),
    });
    Some(HealthCheck {
        target_group: group.target_group_name().unwrap_or("?").to_owned(),
        // "traffic-port" is the port that the target was registered with.
        port: group.health_check_port().and_then(|port| port.parse().ok()).unwrap_or(container_port),
        path: http.then(|| group.health_check_path().unwrap_or("/").to_owned()),
        protocol,
        matcher: Matcher::parse(codes.unwrap_or("200")),
        interval: seconds(group.health_check_interval_seconds(), 30),
        timeout: seconds(group.health_check_timeout_seconds(), 5),
        healthy_threshold: group.healthy_threshold_count().and_then(|n| u32::try_from(n).ok()).unwrap_or(5).max(1),
        unhealthy_threshold: group.unhealthy_threshold_count().and_then(|n| u32::try_from(n).ok()).unwrap_or(2).max(1),
    })
}
