//! A stack with a blue service during an operation, as AWS would describe it, and an observer of the engine.

use std::sync::{Arc, Mutex, MutexGuard};

use aws_config::Region;
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use deploy::Cloud;
use deploy::{Event, EventKind, Listener};
use serde_json::json;

use crate::engine::fake_aws::{Answer, Call, serve};

pub const STACK_ID: &str = "arn:aws:cloudformation:us-east-1:000000000000:stack/bluegreen/1";
pub const NEW_IMAGE: &str = "app@sha256:2";

/// The state of AWS at a moment.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of the constructed world")]
pub struct World {
    pub status: String,
    pub protected: bool,
    /// Logical id, status, reason; oldest first.
    pub events: Vec<(&'static str, &'static str, &'static str)>,
    /// Resources: logical id, status, reason.
    pub resources: Vec<(&'static str, &'static str, &'static str)>,
    pub service_image: String,
    pub healthy: usize,
    /// The number of failed tasks of the new image.
    pub failed_tasks: usize,
    pub cancelled: bool,
    /// Whether access to cancel is denied.
    pub cancel_is_denied: bool,
    /// Whether the service runs the expected task definition.
    pub steady: bool,
    /// The number of failed descriptions of the service before the first success.
    pub unseen: usize,
    /// The live environment; blue by default.
    pub green_is_live: bool,
    /// The object of the lease.
    pub lock: Option<String>,
    /// The resources that remain after the deletion: logical ids.
    pub survives: Vec<&'static str>,
    /// All calls so far.
    pub calls: Vec<Call>,
    /// The number of failed requests for events before the first success, and their response.
    pub refusals: usize,
    pub refusal: Refusal,
    /// The call after which the credentials of the command are expired.
    pub expires_after: Option<&'static str>,
    /// Whether the credentials are expired.
    pub expired: bool,
    /// The states of the stack after a request to cancel or to continue the rollback.
    pub after_cancel: Vec<(&'static str, &'static str, &'static str)>,
}

#[derive(Clone, Copy, Debug, Default)]
pub enum Refusal {
    #[default]
    Throttling,
    Hangup,
    Expired,
    Skewed,
    Unheard,
}

#[derive(Clone)]
pub struct Aws {
    pub world: Arc<Mutex<World>>,
    pub endpoint: String,
}

impl Aws {
    pub fn of(world: World) -> Self {
        let world = Arc::new(Mutex::new(world));
        let shared = Arc::clone(&world);
        let endpoint = serve(move |call| {
            let mut world = shared.lock().unwrap();
            world.calls.push(call.clone());
            world.answer(call)
        });
        Self { world, endpoint }
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    pub fn called(&self, action: &str) -> bool {
        self.call(action).is_some()
    }

    /// The first call of this action.
    pub fn call(&self, action: &str) -> Option<Call> {
        self.world().calls.iter().find(|call| call.action == action).cloned()
    }

    pub async fn cloud(&self) -> Cloud {
        cloud(&self.endpoint).await
    }
}

/// The clients of this endpoint.
pub async fn cloud(endpoint: &str) -> Cloud {
    let config = aws::sdk_config().await.unwrap();
    let config = config
        .into_builder()
        .endpoint_url(endpoint)
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new("test", "test", None, None, "test")))
        .build();
    Cloud::new(config, "".parse().unwrap())
}

/// The tags that mark the rules as part of the stack.
fn tags() -> String {
    let tagged = |traffic: &str| {
        format!(
            "<member><ResourceArn>rule-{traffic}</ResourceArn><Tags><member><Key>bluegreen:stack</Key>\
             <Value>bluegreen</Value></member><member><Key>bluegreen:traffic</Key><Value>{traffic}</Value></member>\
             </Tags></member>"
        )
    };
    format!("<TagDescriptions>{}{}</TagDescriptions>", tagged("prod"), tagged("dev"))
}

impl World {
    fn answer(&mut self, call: &Call) -> Answer {
        if self.expired {
            return Answer::Error(403, "ExpiredToken", "The security token included in the request is expired");
        }
        self.expired = self.expires_after == Some(call.action.as_str());
        if let Some((method, path)) = call.action.split_once(" /") {
            return self.s3(method, path, &call.body);
        }
        match call.action.as_str() {
            "ContinueUpdateRollback" => {
                let after = std::mem::take(&mut self.after_cancel);
                self.events.extend(after);
                "UPDATE_ROLLBACK_COMPLETE".clone_into(&mut self.status);
                Answer::Xml(String::new())
            }
            "UpdateTerminationProtection" => {
                self.protected = call.says("EnableTerminationProtection=true");
                Answer::Xml(String::new())
            }
            "DeleteStack" => {
                "DELETE_COMPLETE".clone_into(&mut self.status);
                Answer::Xml(String::new())
            }
            "DescribeRules" => Answer::Xml(self.rules(call)),
            "DescribeTags" => Answer::Xml(tags()),
            "ListTagsForResource" => {
                Answer::Json(json!({ "tags": [{ "Key": "bluegreen:stack", "Value": "bluegreen" }] }))
            }
            "GetTemplate" => Answer::Xml("<TemplateBody>{}</TemplateBody>".to_owned()),
            "DescribeRepositories" if self.survives.contains(&"Registry") => {
                Answer::Json(json!({ "repositories": [{ "repositoryName": "Registry" }] }))
            }
            "DescribeRepositories" => Answer::Error(400, "RepositoryNotFoundException", "gone"),
            "DescribeStacks" => Answer::Xml(self.stack()),
            "DescribeStackEvents" => self.stack_events(),
            "ListStackResources" => Answer::Xml(self.stack_resources()),
            "DescribeStackResource" => Answer::Xml(
                "<StackResourceDetail><LogicalResourceId>BlueService</LogicalResourceId><ResourceStatus>CREATE_IN_PROGRESS\
                 </ResourceStatus><ResourceType>AWS::ECS::Service</ResourceType>\
                 <PhysicalResourceId>arn:aws:ecs:us-east-1:000000000000:service/c/blue</PhysicalResourceId>\
                 <LastUpdatedTimestamp>2026-11-23T10:00:00Z</LastUpdatedTimestamp></StackResourceDetail>"
                    .to_owned(),
            ),
            "CancelUpdateStack" if self.cancel_is_denied => Answer::Error(403, "AccessDenied", "you may not cancel"),
            "CancelUpdateStack" => {
                self.cancelled = true;
                let after = std::mem::take(&mut self.after_cancel);
                self.events.extend(after);
                Answer::Xml(String::new())
            }
            "DescribeServices" if self.unseen > 0 => {
                self.unseen -= 1;
                Answer::Hangup
            }
            "DescribeServices" => Answer::Json(self.service()),
            "DescribeTaskDefinition" => Answer::Json(json!({
                "taskDefinition": { "containerDefinitions": [{ "name": "app", "image": image_of(call) }] }
            })),
            "ListTasks" => Answer::Json(json!({ "taskArns": self.task_arns() })),
            "DescribeTasks" => Answer::Json(json!({ "tasks": self.tasks() })),
            "DescribeTargetHealth" => Answer::Xml(self.target_health()),
            "GetLogEvents" => {
                Answer::Json(json!({ "events": [{ "timestamp": 1, "message": "no table named greetings" }] }))
            }
            _ => Answer::Error(400, "ValidationError", "the test does not answer this call"),
        }
    }

    fn stack(&self) -> String {
        let outputs = [
            ("ProdUrl", "http://lb"),
            ("DevUrl", "http://lb:81"),
            ("RegistryUri", "r/app"),
            ("RegistryName", "app"),
            ("BucketName", "bucket"),
            ("ClusterName", "c"),
            ("ProdListenerArn", "prod"),
            ("DevListenerArn", "dev"),
            ("BlueTargetGroupArn", "blue-group"),
            ("GreenTargetGroupArn", "green-group"),
            ("BlueLogGroupName", "blue-log"),
            ("GreenLogGroupName", "green-log"),
        ];
        let output = |(key, value): &(&str, &str)| {
            format!("<member><OutputKey>{key}</OutputKey><OutputValue>{value}</OutputValue></member>")
        };
        let outputs: String = outputs.iter().map(output).collect();
        format!(
            "<Stacks><member><StackName>bluegreen</StackName><StackId>{STACK_ID}</StackId><StackStatus>{}</StackStatus>\
             <Description>{}</Description><CreationTime>2026-11-23T10:00:00Z</CreationTime>\
             <EnableTerminationProtection>{}</EnableTerminationProtection><Outputs>{outputs}</Outputs></member></Stacks>",
            self.status,
            stack::DESCRIPTION,
            self.protected
        )
    }

    fn stack_events(&mut self) -> Answer {
        if self.refusals > 0 && !self.events.is_empty() {
            self.refusals -= 1;
            return match self.refusal {
                Refusal::Throttling => Answer::Error(400, "Throttling", "Rate exceeded"),
                Refusal::Hangup => Answer::Hangup,
                Refusal::Expired => {
                    Answer::Error(403, "ExpiredToken", "The security token included in the request is expired")
                }
                Refusal::Unheard => Answer::Error(400, "Unheard", "of"),
                Refusal::Skewed => Answer::Error(
                    403,
                    "SignatureDoesNotMatch",
                    "Signature expired: 20261123T100000Z is now earlier than",
                ),
            };
        }
        let event = |(number, (id, status, reason)): (usize, &(&str, &str, &str))| {
            let physical = if *id == "bluegreen" { STACK_ID } else { id };
            let kind = if *id == "bluegreen" { "AWS::CloudFormation::Stack" } else { "AWS::ECS::Service" };
            format!(
                "<member><StackId>{STACK_ID}</StackId><EventId>{number}</EventId><StackName>bluegreen</StackName>\
                 <LogicalResourceId>{id}</LogicalResourceId><PhysicalResourceId>{physical}</PhysicalResourceId>\
                 <ResourceType>{kind}</ResourceType><ResourceStatus>{status}</ResourceStatus>\
                 <ResourceStatusReason>{reason}</ResourceStatusReason><Timestamp>2026-11-23T10:00:00Z</Timestamp></member>"
            )
        };
        let mut events: Vec<String> = self.events.iter().enumerate().map(event).collect();
        events.reverse();
        Answer::Xml(format!("<StackEvents>{}</StackEvents>", events.concat()))
    }

    fn stack_resources(&self) -> String {
        let resource = |(id, status, reason): &(&str, &str, &str)| {
            format!(
                "<member><LogicalResourceId>{id}</LogicalResourceId>\
                 <PhysicalResourceId>{id}</PhysicalResourceId><ResourceType>{}</ResourceType>\
                 <ResourceStatus>{status}</ResourceStatus><ResourceStatusReason>{reason}</ResourceStatusReason>\
                 <LastUpdatedTimestamp>2026-11-23T10:00:00Z</LastUpdatedTimestamp></member>",
                kind_of(id)
            )
        };
        format!(
            "<StackResourceSummaries>{}</StackResourceSummaries>",
            self.resources.iter().map(resource).collect::<String>()
        )
    }

    /// The requested rule of prod or dev, or both by their ARNs.
    fn rules(&self, call: &Call) -> String {
        let (prod, dev) = if self.green_is_live { ("green", "blue") } else { ("blue", "green") };
        let rule = |(name, color): (&str, &str)| {
            format!(
                "<member><RuleArn>rule-{name}</RuleArn><Priority>50000</Priority><IsDefault>false</IsDefault><Actions>\
                 <member><Type>forward</Type><TargetGroupArn>{color}-group</TargetGroupArn></member></Actions></member>"
            )
        };
        let rules = [("prod", prod), ("dev", dev)];
        let asked =
            |(name, _): &(&str, &str)| call.says(&format!("ListenerArn={name}")) || call.says(&format!("rule-{name}"));
        format!("<Rules>{}</Rules>", rules.into_iter().filter(asked).map(rule).collect::<String>())
    }

    /// The bucket contains only a lease.
    fn s3(&mut self, method: &str, path: &str, body: &str) -> Answer {
        if path.contains("tagging") {
            let tag = "<Tag><Key>bluegreen:stack</Key><Value>bluegreen</Value></Tag>";
            return Answer::Object(format!("<Tagging><TagSet>{tag}</TagSet></Tagging>"));
        }
        match (method, path.contains("lock.json")) {
            ("PUT", true) => {
                // The client sends the object in frames (chunked encoding).
                let object = body.find('{').zip(body.rfind('}')).map(|(from, to)| body[from..=to].to_owned());
                self.lock = object;
                Answer::Object(String::new())
            }
            ("GET", true) => self.lock.clone().map_or(Answer::NoObject, Answer::Object),
            ("HEAD", _) => Answer::Object(String::new()),
            _ => Answer::Object("<ListVersionsResult/>".to_owned()),
        }
    }

    fn service(&self) -> serde_json::Value {
        let (running, rollout) = if self.steady { (2, "COMPLETED") } else { (0, "IN_PROGRESS") };
        json!({ "services": [{
            "status": "ACTIVE",
            "taskDefinition": self.service_image,
            "runningCount": running,
            "desiredCount": 2,
            "deployments": [{ "status": "PRIMARY", "rolloutState": rollout, "runningCount": running }],
            "events": [{ "id": format!("e{}", self.failed_tasks), "message": "(service blue) has started 1 tasks." }],
        }] })
    }

    fn task_arns(&self) -> Vec<String> {
        (0..self.failed_tasks)
            .map(|number| format!("arn:aws:ecs:us-east-1:000000000000:task/c/{number}f2a9c0d1e5b"))
            .collect()
    }

    fn tasks(&self) -> Vec<serde_json::Value> {
        let task = |arn: String| {
            json!({
                "taskArn": arn,
                "taskDefinitionArn": "blue:2",
                "stopCode": "EssentialContainerExited",
                "stoppedReason": "Essential container in task exited",
                "containers": [{ "name": "app", "exitCode": 3 }],
            })
        };
        self.task_arns().into_iter().map(task).collect()
    }

    fn target_health(&self) -> String {
        let target = |state: &str, reason: &str| {
            format!(
                "<member><Target><Id>10.0.0.7</Id></Target><TargetHealth><State>{state}</State>\
                 <Description>{reason}</Description></TargetHealth></member>"
            )
        };
        let healthy = if self.steady { 2 } else { self.healthy };
        let healthy: String = (0..healthy).map(|_| target("healthy", "")).collect();
        let unfit = target("unhealthy", "Health checks failed with these codes: [500]");
        format!("<TargetHealthDescriptions>{healthy}{unfit}</TargetHealthDescriptions>")
    }
}

fn kind_of(id: &str) -> &'static str {
    match id {
        "Registry" => "AWS::ECR::Repository",
        "Bucket" => "AWS::S3::Bucket",
        _ => "AWS::ECS::Service",
    }
}

fn image_of(call: &Call) -> &'static str {
    if call.says("blue:2") { NEW_IMAGE } else { "app@sha256:1" }
}

/// Records every event.
#[derive(Clone, Default)]
pub struct Heard(Arc<Mutex<Vec<EventKind>>>);

impl Listener for Heard {
    fn on(&self, event: &Event) {
        self.0.lock().unwrap().push(event.kind.clone());
    }
}

impl Heard {
    pub fn any(&self, is: impl Fn(&EventKind) -> bool) -> bool {
        self.0.lock().unwrap().iter().any(is)
    }
}
