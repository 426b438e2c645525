//! The sleep of the idle environment: a schedule invokes the cutover function, which decides whether it may sleep.

use super::Settings;
use super::cutover::Cutover;
use super::part::{Marking, Serves};
use cfn_kit::Stack;
use cfn_kit::resources::events::{Rule, Target};
use cfn_kit::resources::lambda::Permission;

/// Period of the schedule: the longest delay of the sleep.
const SCHEDULE: &str = "rate(5 minutes)";

/// The logical id of the schedule. If a stack has it, its idle environment may sleep.
pub const ID: &str = "IdleSchedule";

/// Adds the schedule, if the settings allow the idle environment to sleep.
pub(super) fn add(stack: &mut Stack, settings: &Settings, cutover: &Cutover) {
    if !settings.idle_sleeps() {
        return;
    }
    let stack = &mut stack.serving(Serves::Nobody);
    let rule = stack.add(
        ID,
        Rule {
            description: "Ends the tasks of the idle environment when it is not needed".to_owned(),
            event_pattern: None,
            schedule_expression: Some(SCHEDULE),
            targets: vec![Target::function("cutover", &cutover.function, r#"{"op":"sleep"}"#)],
        },
    );
    stack.when(&rule, &cutover.deployed);
    let permission = stack.add(
        "IdlePermission",
        Permission {
            function_name: cutover.function.name(),
            action: "lambda:InvokeFunction",
            principal: "events.amazonaws.com",
            source_arn: rule.arn().text(),
        },
    );
    stack.when(&permission, &cutover.deployed);
}
