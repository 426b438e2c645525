//! An endpoint that describes one stack and the events of its creation, in pages as in CloudFormation. All events
//! happen at once, so that only their processing takes time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws::connect_to::ConnectTo;
use aws_config::Region;
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use bytes::Bytes;
use deploy::Cloud;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use infra::error::{Doing as _, Result};
use tokio::net::TcpListener;

pub(super) const STACK: &str = "growth";
pub(super) const KIND: &str = "AWS::ECS::Service";
const STACK_ID: &str = "arn:aws:cloudformation:us-east-1:000000000000:stack/growth/1";
/// Events per page, as on AWS.
const PAGE: usize = 100;

/// The logical id of a resource.
pub(super) fn resource(number: usize) -> String {
    format!("Resource{number}")
}

/// The endpoint. It serves as long as the runtime runs.
pub(super) struct FakeAws {
    url: String,
    begun: Arc<AtomicBool>,
}

/// The responses of the endpoint.
struct Stack {
    begun: Arc<AtomicBool>,
    /// The events, newest first.
    events: Vec<String>,
}

impl FakeAws {
    /// Starts an endpoint for a stack with this number of resources.
    pub(super) async fn with_resources(count: usize) -> Result<Self> {
        let what = || "be an endpoint".to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.doing(what)?;
        let url = format!("http://{}", listener.local_addr().doing(what)?);
        let begun = Arc::<AtomicBool>::default();
        let stack = Arc::new(Stack { begun: Arc::clone(&begun), events: events(count) });
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let stack = Arc::clone(&stack);
                let service = service_fn(move |request| answer(Arc::clone(&stack), request));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Ok(Self { url, begun })
    }

    /// Makes all events visible.
    pub(super) fn begin(&self) {
        self.begun.store(true, Ordering::Relaxed);
    }

    pub(super) async fn clients(&self) -> Result<Cloud> {
        let config = aws::sdk_config().await.doing(|| "create AWS clients".to_owned())?.into_builder();
        let credentials = SharedCredentialsProvider::new(Credentials::new("test", "test", None, None, "bench"));
        let config = config.endpoint_url(&self.url).region(Region::new("us-east-1")).credentials_provider(credentials);
        Ok(Cloud::new(config.build(), ConnectTo::default()))
    }
}

/// The events of the creation of the stack, newest first.
fn events(count: usize) -> Vec<String> {
    let all = |status: &'static str| (0..count).map(move |number| (resource(number), KIND, status));
    let stack = |status: &'static str| std::iter::once((STACK.to_owned(), "AWS::CloudFormation::Stack", status));
    let events = stack("CREATE_IN_PROGRESS")
        .chain(all("CREATE_IN_PROGRESS"))
        .chain(all("CREATE_COMPLETE"))
        .chain(stack("CREATE_COMPLETE"));
    let mut events: Vec<_> = events.enumerate().map(|(number, event)| member(number, &event)).collect();
    events.reverse();
    events
}

fn member(number: usize, (id, kind, status): &(String, &str, &str)) -> String {
    let physical = if id == STACK { STACK_ID } else { id };
    format!(
        "<member><StackId>{STACK_ID}</StackId><EventId>{number}</EventId><StackName>{STACK}</StackName>\
         <LogicalResourceId>{id}</LogicalResourceId><PhysicalResourceId>{physical}</PhysicalResourceId>\
         <ResourceType>{kind}</ResourceType><ResourceStatus>{status}</ResourceStatus>\
         <Timestamp>2026-11-23T10:00:00Z</Timestamp></member>"
    )
}

async fn answer(stack: Arc<Stack>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let body = request.into_body().collect().await?.to_bytes();
    let form = String::from_utf8_lossy(&body).into_owned();
    let field = |name: &str| form.split('&').find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name));
    let action = field("Action").map_or("", |(_, value)| value);
    let inner = match action {
        "DescribeStacks" => format!(
            "<Stacks><member><StackName>{STACK}</StackName><StackId>{STACK_ID}</StackId>\
             <StackStatus>CREATE_IN_PROGRESS</StackStatus><CreationTime>2026-11-23T10:00:00Z</CreationTime></member></Stacks>"
        ),
        _ => page(&stack, field("NextToken").and_then(|(_, value)| value.parse().ok()).unwrap_or(0)),
    };
    let text = format!("<{action}Response><{action}Result>{inner}</{action}Result></{action}Response>");
    Ok(Response::new(Full::from(text)))
}

fn page(stack: &Stack, from: usize) -> String {
    if !stack.begun.load(Ordering::Relaxed) {
        return "<StackEvents></StackEvents>".to_owned();
    }
    let to = (from + PAGE).min(stack.events.len());
    let token = if to < stack.events.len() { format!("<NextToken>{to}</NextToken>") } else { String::new() };
    format!("<StackEvents>{}</StackEvents>{token}", stack.events[from.min(to)..to].concat())
}
