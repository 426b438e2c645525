//! A queue for orders and a bucket for invoices, and the permission of the service to write to both.

use cfn_kit::resources::s3::Bucket;
use cfn_kit::{Arn, Attribute, Expr, PolicyDocument, Principal, Ref, RefValue, Resource, Stack, Statement, Tag};
use serde::Serialize;
use serde_json::json;
use stack::Built;
use stack::part::{Marking as _, Serves};

/// A queue of Amazon SQS: a resource type that the kit does not have. The properties that are needed here, as CloudFormation
/// names them.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Queue {
    message_retention_period: u32,
    sqs_managed_sse_enabled: bool,
    tags: Vec<Tag>,
}

impl Resource for Queue {
    const TYPE: &'static str = "AWS::SQS::Queue";
}

/// The URL of a queue.
struct QueueUrl;

impl RefValue for Queue {
    type Value = QueueUrl;
}

/// The ARN of a queue.
struct QueueArn;

impl Attribute<Queue> for QueueArn {
    type Value = Arn<Queue>;
    const NAME: &'static str = "Arn";
}

/// Where orders go.
pub struct Orders {
    queue: Ref<Queue>,
    invoices: Ref<Bucket>,
}

impl Orders {
    /// Adds the queue and the bucket to a stack. No request of a user goes through them.
    pub fn new(stack: &mut Stack) -> Self {
        let stack = &mut stack.serving(Serves::Nobody);
        let queue = stack.add(
            "Orders",
            Queue {
                message_retention_period: 4 * 86_400,
                sqs_managed_sse_enabled: true,
                tags: vec![Tag::name("orders")],
            },
        );
        let only_tls = Statement::deny("OnlyTls", &["sqs:*"], vec![queue.get_attribute(QueueArn).text()])
            .by(Principal::ANYONE)
            .only_if("Bool", "aws:SecureTransport", "false");
        // Without a Rust type, with whatever properties: `synth` says that nothing checks it.
        stack.add_untyped(
            "OrdersPolicy",
            "AWS::SQS::QueuePolicy",
            json!({ "Queues": [queue.ref_value()], "PolicyDocument": PolicyDocument::new(vec![only_tls]) }),
        );
        let invoices = stack.add("Invoices", Bucket::private(vec![Tag::name("invoices")]));
        stack.keep(&invoices);
        Self { queue, invoices }
    }

    /// Lets its holder put orders into the queue and invoices into the bucket, and nothing else.
    pub fn grant_write(&self) -> Vec<Statement> {
        let objects = cfn_kit::join(&[self.invoices.arn().text(), "/*".into()]);
        vec![
            Statement::allow("SendOrders", &["sqs:SendMessage"], vec![self.queue.get_attribute(QueueArn).text()]),
            Statement::allow("WriteInvoices", &["s3:PutObject"], vec![objects]),
        ]
    }
}

/// Adds everything to the stack.
pub fn extend(stack: &mut Stack, built: &Built<'_>) {
    let orders = Orders::new(stack);
    built.grant_tasks(stack, "Orders", &orders.grant_write());
    let url: Expr<QueueUrl> = orders.queue.ref_value();
    stack.output("OrdersUrl", "The queue for orders", &url);
}

#[cfg(test)]
mod tests {
    use cfn_kit::assertions::Checked;
    use serde_json::json;
    use stack::{Extension, Settings, synthesize};

    #[test]
    fn the_queue_is_in_the_stack_and_each_environment_may_write_to_it() {
        let settings = Settings { extension: Extension::new(super::extend), ..Settings::default() };
        let template = Checked::new(&synthesize(&settings).unwrap());
        template.has("AWS::SQS::Queue", &json!({ "MessageRetentionPeriod": 345_600 })).unwrap();
        for color in ["Blue", "Green"] {
            let policy = &template.json()["Resources"][format!("{color}OrdersPolicy")];
            assert_eq!(policy["Metadata"]["bluegreen"]["serves"], color.to_lowercase());
            let statement = &policy["Properties"]["PolicyDocument"]["Statement"][0];
            assert_eq!(statement["Resource"], json!([{ "Fn::GetAtt": ["Orders", "Arn"] }]));
        }
    }
}
