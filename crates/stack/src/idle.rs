//! The sleep of the idle environment: asks the cutover function every few minutes whether it may.

use super::Settings;
use super::cutover::Cutover;
use super::part::{Marking, Serves};
use cfn_kit::Stack;
use cfn_kit::resources::events::{Rule, Target};
use cfn_kit::resources::lambda::Permission;

/// How often the function is asked: the environment sleeps so much later than it may, at most.
const SCHEDULE: &str = "rate(5 minutes)";

/// The logical id of the schedule: a stack that has it lets its idle environment sleep.
pub const ID: &str = "IdleSchedule";

/// Adds the schedule, where the settings let the idle environment sleep.
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
