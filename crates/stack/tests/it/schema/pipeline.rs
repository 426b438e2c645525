//! The role of jobs that deploy allows every call that CloudFormation makes on its behalf for a release, according to
//! the schemas. Exceptions are listed with their reasons.

use cfn_kit::assertions::Checked;
use stack::{Settings, synthesize};

use crate::profiles::profile;
use crate::schema::published::Published;

/// The types that a release changes, and the operations on them.
const CHANGED: [(&str, &[&str]); 6] = [
    ("AWS::ECS::Service", &["update", "read"]),
    ("AWS::ECS::TaskDefinition", &["create", "update", "delete", "read"]),
    ("AWS::ElasticLoadBalancingV2::TargetGroup", &["update", "read"]),
    ("AWS::Logs::LogGroup", &["update", "read"]),
    ("AWS::ApplicationAutoScaling::ScalableTarget", &["update", "read"]),
    ("AWS::ApplicationAutoScaling::ScalingPolicy", &["update", "read"]),
];

/// Permissions of a schema that a release does not need: their prefix, and the reason.
const NOT_CALLED: [(&str, &str); 27] = [
    ("application-autoscaling:DeleteScheduledAction", "nothing is scaled by the clock"),
    ("application-autoscaling:PutScheduledAction", "nothing is scaled by the clock"),
    ("application-autoscaling:TagResource", "a scalable target has no tags"),
    ("application-autoscaling:UntagResource", "a scalable target has no tags"),
    ("cloudwatch:DeleteAlarms", "the service-linked role of scaling makes the alarms"),
    ("cloudwatch:DescribeAlarms", "the service-linked role of scaling makes the alarms"),
    ("cloudwatch:PutMetricAlarm", "the service-linked role of scaling makes the alarms"),
    ("ec2:DescribeVpcs", "a target group's network does not change"),
    ("ecs:StopServiceDeployment", "an update is followed to its end"),
    ("elasticloadbalancing:AddTags", "a target group's tags do not change"),
    ("elasticloadbalancing:DeregisterTargets", "ECS registers tasks"),
    ("elasticloadbalancing:RegisterTargets", "ECS registers tasks"),
    ("elasticloadbalancing:RemoveTags", "a target group's tags do not change"),
    ("firehose:", "logs go nowhere else"),
    ("lambda:", "no function has provisioned concurrency"),
    ("logs:AssociateKmsKey", "the key does not change"),
    ("logs:CreateLogDelivery", "logs go nowhere else"),
    ("logs:Delete", "logs always have a retention, and nothing that was deleted"),
    ("logs:DisassociateKmsKey", "the key does not change"),
    ("s3:REST.PUT.OBJECT", "logs go nowhere else"),
    ("logs:PutBearerTokenAuthentication", "nobody writes to the log from outside"),
    ("logs:PutDataProtectionPolicy", "logs have none"),
    ("logs:PutIndexPolicy", "logs have none"),
    ("logs:PutLogGroupDeletionProtection", "a log group goes with the stack"),
    ("logs:PutResourcePolicy", "logs have none"),
    ("logs:TagResource", "a log group's tags do not change"),
    ("logs:UntagResource", "a log group's tags do not change"),
];

#[test]
fn a_deploying_job_may_do_what_a_release_comes_to() {
    let Some(published) = Published::find() else { return };
    let settings = Settings { autoscaling: profile("autoscaling").autoscaling, ..profile("ci") };
    let template = Checked::new(&synthesize(&settings).unwrap());
    let allowed: Vec<String> = template
        .statements()
        .into_iter()
        .filter(|(id, _)| *id == "PipelineDeployRole")
        .flat_map(|(_, statement)| statement["Action"].as_array().unwrap().clone())
        .map(|action| action.as_str().unwrap().to_owned())
        .collect();
    let mut unused: Vec<&str> = NOT_CALLED.iter().map(|(start, _)| *start).collect();
    for (name, handlers) in CHANGED {
        let schema = published.schema(name);
        for action in handlers.iter().flat_map(|handler| schema["handlers"][handler]["permissions"].as_array().unwrap())
        {
            let action = action.as_str().unwrap();
            let left_out = NOT_CALLED.iter().find(|(start, _)| action.starts_with(start));
            assert!(
                allowed.iter().any(|it| it == action) != left_out.is_some(),
                "{name}: {action} is either allowed or left out with a reason"
            );
            unused.retain(|start| left_out.is_none_or(|(left_out, _)| left_out != start));
        }
    }
    assert!(unused.is_empty(), "no schema names these any more: {unused:?}");
}
