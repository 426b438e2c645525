//! A construct of one's own, with a resource type that the kit does not have, and one without any type: nothing of the kit
//! is touched. `cargo run -p infra --example own_construct` prints the template. In this system's stack such a construct is
//! added where `synthesize` (infra/src/stack/mod.rs) adds the others.

use cfn_kit::{
    Arn, Attribute, Expr, PolicyDocument, Principal, Ref, Resource, Stack, Statement, SynthError, Tag, Template,
};
use serde::Serialize;
use serde_json::json;

/// A queue: the properties that are needed here, as CloudFormation names them.
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

/// The queue's ARN: `Fn::GetAtt` of the attribute of this name.
struct QueueArn;

impl Attribute<Queue> for QueueArn {
    type Value = Arn<Queue>;
    const NAME: &'static str = "Arn";
}

/// The construct: a queue for orders, into which this account may write and nobody without TLS.
pub struct Orders {
    queue: Ref<Queue>,
}

impl Orders {
    /// Adds it to a stack.
    pub fn new(stack: &mut Stack, retention_days: u32) -> Self {
        let queue = stack.add(
            "Orders",
            Queue {
                message_retention_period: retention_days * 86_400,
                sqs_managed_sse_enabled: true,
                tags: vec![Tag::name("orders")],
            },
        );
        let only_tls = Statement::deny("OnlyTls", &["sqs:*"], vec![queue.get_attribute(QueueArn).text()])
            .by(Principal::ANYONE)
            .only_if("Bool", "aws:SecureTransport", "false");
        // What there is no Rust type for, with whatever properties: `bluegreen synth` says that nothing checks it.
        let policy = PolicyDocument::new(vec![only_tls]);
        let policy = stack.add_untyped(
            "OrdersPolicy",
            "AWS::SQS::QueuePolicy",
            json!({ "Queues": [{ "Ref": queue.logical_id() }], "PolicyDocument": policy }),
        );
        stack.after(&policy, &queue);
        Self { queue }
    }

    /// Lets its holder put orders into the queue, and nothing else.
    pub fn grant_send(&self) -> Statement {
        Statement::allow("SendOrders", &["sqs:SendMessage"], vec![self.queue.get_attribute(QueueArn).text()])
    }
}

/// A stack with the construct in it.
pub fn stack() -> Result<Template, Vec<SynthError>> {
    let mut stack = Stack::new("A stack with a construct of one's own");
    let orders = Orders::new(&mut stack, 4);
    let arn: Expr<Arn<Queue>> = orders.queue.get_attribute(QueueArn);
    stack.output("OrdersArn", "Where orders go", &arn);
    stack.finish()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let template = stack().map_err(|mistakes| format!("{mistakes:?}"))?;
    println!("{}", template.to_pretty_json()?);
    for (id, resource_type) in template.untyped() {
        eprintln!("note: {id} ({resource_type}) has no Rust type: nothing has checked its properties");
    }
    Ok(())
}
