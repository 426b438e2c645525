//! The roles of a pipeline: their policies allow the calls that the command makes on the local cloud to release a
//! version. (`schema` compares the calls of CloudFormation with the schemas of AWS; `pipeline` checks what the roles
//! must not do.)

use std::collections::BTreeSet;

use crate::support::function::Function;
use crate::support::policy::{like, policy, texts};
use crate::support::{Cloud, project};
use serde_json::Value;

/// The permissions of the roles that a successful release does not use, each with the reason.
const RARE: [(&str, &str); 14] = [
    ("cloudformation:DescribeStackResource", "a service that is followed before its events tell what it is called"),
    ("cloudformation:DescribeEvents", "why a change set was refused"),
    ("logs:DescribeIndexPolicies", "CloudFormation's"),
    ("logs:DescribeLogGroups", "CloudFormation's"),
    ("logs:DescribeResourcePolicies", "CloudFormation's"),
    ("logs:GetDataProtectionPolicy", "CloudFormation's"),
    ("logs:ListTagsForResource", "CloudFormation's"),
    ("logs:PutRetentionPolicy", "CloudFormation's"),
    ("s3:GetObjectVersion", "CloudFormation's, of a template in the bucket"),
    ("cloudformation:GetTemplate", "what a status compares with"),
    ("cloudformation:CancelUpdateStack", "cancels an update that cannot succeed, after a confirmation"),
    ("cloudformation:ContinueUpdateRollback", "continues a rollback that is stuck"),
    ("cloudformation:ListStackResources", "what holds a stuck rollback"),
    ("cloudformation:DeleteChangeSet", "a change set that is refused is thrown away"),
];

#[test]
fn the_policies_of_a_pipeline_allow_what_a_release_calls() {
    let cloud = Cloud::start([90, 91]);
    let faulty = project().join("local/faulty");
    let config = tempfile::NamedTempFile::new().unwrap();
    let settings = std::fs::read_to_string(faulty.join("bluegreen.toml")).unwrap();
    let provider = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com";
    // Too large for a call, so that the template goes through the bucket.
    let variable = |number: usize| format!("LONG_{number} = \"{}\"\n", "x".repeat(500));
    let variables: String = (0..60).map(variable).collect();
    let ci = format!("[ci]\ngithub = \"example/shop\"\nprovider = \"{provider}\"\n[environment]\n{variables}");
    std::fs::write(config.path(), format!("{settings}\n{ci}")).unwrap();
    let config = config.path().to_str().unwrap();
    let run = |arguments: &[&str]| cloud.run_in(&faulty, &[&["--config", config], arguments].concat());
    // Wider permissions need a confirmation.
    run(&["deploy", "--yes"]).expect(0);
    let function = Function::of(&cloud);
    for output in ["PipelineDeployRoleArn", "PipelineCutoverRoleArn"] {
        assert!(function.outputs[output].contains(":role/"), "{:?}", function.outputs);
    }

    // As in the workflow, with a version that starts and fails when it has users, and one that does not start.
    let begin = function.last_call();
    run(&["diff", "--version", "4"]).expect(0);
    run(&["deploy", "--version", "4"]).expect(0);
    run(&["status"]).expect(0);
    run(&["logs", "blue", "--since", "1h"]).expect(0);
    let deployed = function.last_call();
    run(&["status"]).expect(0);
    run(&["cutover", "--plan"]).expect(0);
    run(&["cutover"]).expect(4);
    run(&["report"]).expect(0);
    run(&["history"]).expect(0);
    run(&["logs", "cutover", "--since", "1h"]).expect(0);
    let cut_over = function.last_call();
    run(&["deploy", "--version", "3"]).expect(4);
    let end = function.last_call();

    let calls = cloud.local(&["calls", "--json", "--caller", "client", "--after", &begin.to_string()]).expect(0).json();
    let between = |from: u64, to: u64| {
        let within = |call: &&Value| call["number"].as_u64().is_some_and(|number| number > from && number <= to);
        calls.as_array().unwrap().iter().filter(within).collect::<Vec<_>>()
    };
    let deploying = [between(begin, deployed), between(cut_over, end)].concat();
    check(&policy(&cloud, &function, "PipelineDeployRole"), &deploying, 12);
    check(&policy(&cloud, &function, "PipelineCutoverRole"), &between(deployed, cut_over), 6);
}

/// Checks that every call is allowed, and that every permission was used or is listed as rare.
fn check(statements: &[Value], calls: &[&Value], at_least: usize) {
    let (mut called, mut forbidden) = (BTreeSet::new(), Vec::new());
    for call in calls {
        let action = format!("{}:{}", call["service"].as_str().unwrap(), call["action"].as_str().unwrap());
        // Calls of this test, and calls that need no permission.
        if action.starts_with("iam:") || action == "sts:GetCallerIdentity" {
            continue;
        }
        if !statements.iter().any(|statement| allows(statement, &action, call)) {
            forbidden.push(call);
        }
        called.insert(action);
    }
    assert!(forbidden.is_empty(), "nothing in its policy allows {forbidden:#?}\n{statements:#?}");
    assert!(called.len() >= at_least, "{called:?}");
    let own = ["cloudformation:", "cloudwatch:", "s3:", "logs:"];
    let allowed = statements.iter().flat_map(|statement| texts(&statement["Action"]));
    let unused: Vec<&str> = allowed
        .filter(|action| own.iter().any(|service| action.starts_with(service)))
        .filter(|action| !called.contains(*action) && !RARE.iter().any(|(rare, _)| rare == action))
        .collect();
    assert!(unused.is_empty(), "allowed, and never called: {unused:?}; called: {called:?}");
}

/// Whether a statement allows an action on every resource that the call names by ARN. Clients use only names for most
/// resources, and names do not contain the account.
fn allows(statement: &Value, action: &str, call: &Value) -> bool {
    let service = action.split(':').next().unwrap();
    let arns = texts(&call["resources"]).into_iter().filter(|arn| arn.starts_with(&format!("arn:aws:{service}:")));
    let patterns = texts(&statement["Resource"]);
    // Each caller identity has a separate prefix.
    let own = |pattern: &str| pattern.replace("${aws:userid}", "*");
    // The ARN of a change set has the permissions of its stack.
    let of_stack = |arn: &str| action.starts_with("cloudformation:") && arn.contains(":changeSet/");
    texts(&statement["Action"]).contains(&action)
        && arns.into_iter().all(|arn| of_stack(arn) || patterns.iter().any(|pattern| like(arn, &own(pattern))))
}
