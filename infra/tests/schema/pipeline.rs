//! A pipeline's role allows what CloudFormation calls in its name, as the schemas say, where a version, the function's code
//! or the color of prod changes; what is left out is named with its reason.

use infra::cdk::assertions::Checked;
use infra::stack::synthesize;

use crate::profiles::profile;
use crate::published::Published;

/// The types that such a change concerns, and what is done with them.
const CHANGED: [(&str, &[&str]); 4] = [
    ("AWS::ECS::Service", &["update", "read"]),
    ("AWS::ECS::TaskDefinition", &["create", "update", "delete", "read"]),
    ("AWS::Lambda::Function", &["update", "read"]),
    ("AWS::ElasticLoadBalancingV2::Listener", &["update", "read"]),
];

/// What a schema names and such a change does not come to: what it begins with, and why.
const NOT_CALLED: [(&str, &str); 20] = [
    ("cognito-idp:", "no listener asks users to log in"),
    ("ec2:", "the function's network does not change"),
    ("elasticfilesystem:", "the function has no file system"),
    ("s3files:", "the function has no file system"),
    ("ecs:StopServiceDeployment", "an update is followed to its end"),
    ("elasticloadbalancing:AddTags", "a listener's tags do not change"),
    ("elasticloadbalancing:ModifyListenerAttributes", "a listener's attributes do not change"),
    ("elasticloadbalancing:RemoveTags", "a listener's tags do not change"),
    ("kms:", "only with security.kms, where the key is granted"),
    ("lambda:AssociateRuntimeAlias", "the runtime does not change"),
    ("lambda:DeleteFunction", "neither concurrency nor code signing changes"),
    ("lambda:GetCodeSigningConfig", "code signing is off"),
    ("lambda:PassCapacityProvider", "the function runs where Lambda runs it"),
    ("lambda:PublishVersion", "there are no versions of it"),
    ("lambda:PutFunction", "neither concurrency, recursion, scaling nor code signing changes"),
    ("lambda:PutRuntimeManagementConfig", "the runtime does not change"),
    ("lambda:TagResource", "the function's tags do not change"),
    ("lambda:UntagResource", "the function's tags do not change"),
    ("lambda:UpdateFunctionConfiguration", "only the code changes"),
    ("s3:GetObjectVersion", "code is named by its hash, not by a version"),
];

#[test]
fn a_pipeline_may_do_what_a_change_of_version_comes_to() {
    let Some(published) = Published::find() else { return };
    let template = Checked::new(&synthesize(&profile("ci")).unwrap());
    let allowed: Vec<String> = template
        .statements()
        .into_iter()
        .filter(|(id, _)| *id == "PipelineRole")
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
