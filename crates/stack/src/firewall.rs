//! A web application firewall in front of the load balancer.

use super::keys::Keys;
use super::load_balancer::LoadBalancing;
use super::part::{Marking, Serves};
use super::{Settings, tags};
use cfn_kit::resources::logs::LogGroup;
use cfn_kit::resources::waf::{DefaultAction, LoggingConfiguration, Rule, Visibility, WebAcl, WebAclAssociation};
use cfn_kit::{Expr, Stack, join};

/// Requests that one address may send in five minutes. The probes of a cutover are ten per second for half a minute.
const REQUESTS: u32 = 10_000;

/// Adds AWS's core rule set, its known bad inputs rule set, and a rate limit per address
/// (<https://docs.aws.amazon.com/waf/latest/developerguide/aws-managed-rule-groups-baseline.html>).
pub(super) fn add(stack: &mut Stack, settings: &Settings, keys: &Keys, balancer: &LoadBalancing) {
    let stack = &mut stack.serving(Serves::Everyone);
    let list = stack.add(
        "Firewall",
        WebAcl {
            description: "What reaches prod and dev".to_owned(),
            scope: "REGIONAL",
            default_action: DefaultAction::Allow {},
            rules: vec![
                Rule::managed(10, "AWSManagedRulesCommonRuleSet"),
                Rule::managed(20, "AWSManagedRulesKnownBadInputsRuleSet"),
                Rule::rate_limit(30, "RequestsPerAddress", REQUESTS),
            ],
            visibility_config: Visibility::new("Firewall"),
            tags: tags("firewall"),
        },
    );
    stack.add(
        "FirewallOfLoadBalancer",
        WebAclAssociation { resource_arn: balancer.load_balancer.arn(), web_acl_arn: list.arn() },
    );
    let stack = &mut stack.serving(Serves::Nobody);
    // WAF accepts only log groups with this prefix:
    // https://docs.aws.amazon.com/waf/latest/developerguide/logging-cw-logs.html
    let name = join(&["aws-waf-logs-".into(), Expr::stack_name()]);
    let log_group = LogGroup { log_group_name: Some(name), ..keys.log_group(settings, "firewall") };
    let log_group = keys.add_log(stack, "FirewallLogGroup", log_group);
    stack.add(
        "FirewallLog",
        LoggingConfiguration { resource_arn: list.arn(), log_destination_configs: [log_group.arn_of_group()] },
    );
}
