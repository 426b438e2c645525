//! Refuses changes that would move or interrupt users: traffic is moved by a cutover, never by a deployment. What is not
//! known counts as the worst.

use model::color::Color;

use super::plan::{Difference, Effect, Marks, Plan, Serves};
use crate::error::{Error, Result};

/// What of an environment keeps its users' connections: replacing it interrupts them.
const KEEPS_CONNECTIONS: [&str; 2] = ["AWS::ECS::Service", "AWS::ElasticLoadBalancingV2::TargetGroup"];

/// What a deployment may do to what is live.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// The environment that users of prod get; none before any release.
    pub live: Option<Color>,
    /// The environment that is deployed to; none if only the stack itself is brought up to date.
    pub target: Option<Color>,
    /// Whether the live environment may get another version.
    pub force: bool,
    /// Whether changes may interrupt users.
    pub allow_live_changes: bool,
    /// Whether listener rules send all traffic to the environments, so that the default actions serve nobody.
    pub rules_carry_traffic: bool,
}

/// Refuses a plan that would change what users go through, or an environment that is not deployed to.
///
/// The plan has to know the change set: [`Plan::with_change_set`].
pub fn refuse_live_changes(plan: &Plan, rules: Rules) -> Result<()> {
    let refusals = refusals(&plan.resources, &plan.marks, rules);
    if refusals.is_empty() {
        return Ok(());
    }
    Err(Error::LiveChange(refusals))
}

/// Why a change is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Users of prod get it immediately.
    NeedsForce,
    /// It belongs to an environment that is not deployed to.
    OtherEnvironment,
    /// It can interrupt users.
    Interrupts,
}

/// A change that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub why: Why,
    /// The resource, what happens to it, and whom it serves.
    pub text: String,
}

fn refusals(changes: &[Difference], marks: &Marks, rules: Rules) -> Vec<Refusal> {
    changes.iter().filter_map(|change| refusal(change, marks, rules)).collect()
}

fn refusal(change: &Difference, marks: &Marks, rules: Rules) -> Option<Refusal> {
    let effect = marks.effect(change);
    if effect == Effect::None {
        return None;
    }
    let (why, whom) = match marks.serves(&change.id) {
        Serves::Nobody => return None,
        Serves::Everyone => (of_everyone(effect, rules)?, "it serves all users".to_owned()),
        Serves::Environment(color) => {
            let why = of_environment(color, effect, &change.kind, rules)?;
            let whom = match why {
                Why::OtherEnvironment if rules.live == Some(color) => {
                    format!("it serves users of prod ({color}), and this deployment does not go to {color}")
                }
                Why::OtherEnvironment => format!("it belongs to {color}, and this deployment does not go to {color}"),
                Why::NeedsForce | Why::Interrupts => format!("it serves users of prod ({color})"),
            };
            (why, whom)
        }
    };
    let what = match effect {
        Effect::Removed => "would be removed",
        Effect::Replaced => "would be replaced",
        Effect::Revision => "would get a new revision",
        Effect::DefaultActions { .. } => "would get other default actions",
        Effect::Unknown => "would change, and CloudFormation does not say how",
        Effect::InPlace | Effect::None => "would be changed",
    };
    Some(Refusal { why, text: format!("{} ({}) {what}: {whom}", change.id, change.kind) })
}

fn of_everyone(effect: Effect, rules: Rules) -> Option<Why> {
    let fine = match effect {
        Effect::None | Effect::InPlace => true,
        Effect::DefaultActions { fixed_response } => fixed_response && rules.rules_carry_traffic,
        Effect::Revision | Effect::Replaced | Effect::Removed | Effect::Unknown => false,
    };
    (!fine && !rules.allow_live_changes).then_some(Why::Interrupts)
}

fn of_environment(color: Color, effect: Effect, kind: &str, rules: Rules) -> Option<Why> {
    // Before any release neither environment has users.
    rules.live?;
    if rules.target != Some(color) {
        return (!rules.allow_live_changes).then_some(Why::OtherEnvironment);
    }
    if rules.live != Some(color) {
        return None;
    }
    if !rules.force {
        return Some(Why::NeedsForce);
    }
    let interrupts = matches!(effect, Effect::Replaced | Effect::Removed | Effect::Unknown);
    (interrupts && KEEPS_CONNECTIONS.contains(&kind) && !rules.allow_live_changes).then_some(Why::Interrupts)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::plan::{Action, LISTENER, Property};

    const SERVICE: &str = "AWS::ECS::Service";
    const TASK_DEFINITION: &str = "AWS::ECS::TaskDefinition";

    /// A deployment of a version to the idle environment, blue.
    const TO_IDLE: Rules = Rules {
        live: Some(Color::Green),
        target: Some(Color::Blue),
        force: false,
        allow_live_changes: false,
        rules_carry_traffic: false,
    };
    /// A deployment of a version to the live environment, green.
    const TO_LIVE: Rules = Rules { target: Some(Color::Green), force: true, ..TO_IDLE };
    /// Only the stack itself.
    const STACK_ONLY: Rules = Rules { target: None, ..TO_IDLE };

    fn change(kind: &str, action: Action, properties: &[&str]) -> Difference {
        let property =
            |path: &&str| Property { path: (*path).to_owned(), before: None, after: None, follows: None, stays: false };
        let properties = properties.iter().map(property).collect();
        Difference { id: "It".to_owned(), kind: kind.to_owned(), action, properties, vague: false }
    }

    fn marks(mark: &str, actions: &Value) -> Marks {
        let template = json!({ "Resources": { "It": {
            "Type": LISTENER,
            "Metadata": { "bluegreen": { "serves": mark } },
            "Properties": { "DefaultActions": actions },
        } } });
        Marks::of(&template, &template)
    }

    fn refused(mark: &str, change: &Difference, rules: Rules) -> bool {
        !refusals(std::slice::from_ref(change), &marks(mark, &json!([])), rules).is_empty()
    }

    #[test]
    fn who_is_served_decides_what_is_refused() {
        use Action::{Add, Modify, Remove, Replace};
        let allowed = |rules: Rules| Rules { allow_live_changes: true, ..rules };
        let unforced = Rules { force: false, ..TO_LIVE };
        let unreleased = Rules { live: None, ..STACK_ONLY };
        for (mark, action, properties, rules, expected) in [
            ("nobody", Replace, &[][..], TO_IDLE, false),
            ("nobody", Remove, &[], STACK_ONLY, false),
            ("everyone", Add, &[], TO_IDLE, false),
            ("everyone", Modify, &["IdleTimeout"], TO_IDLE, false),
            ("everyone", Modify, &["Tags", "Metadata"], TO_IDLE, false),
            ("everyone", Modify, &[], TO_IDLE, true),
            ("everyone", Replace, &["Name"], TO_IDLE, true),
            ("everyone", Replace, &["Tags"], TO_IDLE, true),
            ("everyone", Remove, &[], TO_IDLE, true),
            ("everyone", Remove, &[], allowed(TO_IDLE), false),
            ("unheard of", Remove, &[], TO_IDLE, true),
            ("blue", Replace, &[], TO_IDLE, false),
            ("blue", Remove, &[], TO_IDLE, false),
            ("blue", Modify, &["TaskDefinition"], STACK_ONLY, true),
            ("blue", Modify, &["TaskDefinition"], TO_LIVE, true),
            ("blue", Modify, &["Tags"], TO_LIVE, false),
            ("blue", Modify, &["TaskDefinition"], allowed(TO_LIVE), false),
            ("green", Modify, &["TaskDefinition"], TO_IDLE, true),
            ("green", Modify, &["Tags[a].Value"], TO_IDLE, false),
            ("green", Modify, &["TaskDefinition"], allowed(TO_IDLE), false),
            ("green", Modify, &["TaskDefinition"], TO_LIVE, false),
            ("green", Modify, &["TaskDefinition"], unforced, true),
            ("green", Modify, &["TaskDefinition"], allowed(unforced), true),
            ("green", Replace, &[], TO_LIVE, true),
            ("green", Remove, &[], TO_LIVE, true),
            ("green", Modify, &[], TO_LIVE, true),
            ("green", Replace, &[], allowed(TO_LIVE), false),
            ("green", Replace, &[], unreleased, false),
            ("everyone", Replace, &[], unreleased, true),
        ] {
            let change = change(SERVICE, action, properties);
            assert_eq!(refused(mark, &change, rules), expected, "{mark} {action:?} {properties:?} {rules:?}");
        }
    }

    #[test]
    fn a_new_revision_is_what_a_forced_version_is_made_of() {
        let revision = change(TASK_DEFINITION, Action::Replace, &["ContainerDefinitions"]);
        assert!(!refused("green", &revision, TO_LIVE));
        assert!(refused("green", &revision, TO_IDLE));
        assert!(refused("everyone", &revision, TO_LIVE), "a task definition without a mark");
    }

    #[test]
    fn a_change_set_that_gives_no_details_is_refused_though_the_templates_know_more() {
        let mut change = change(LISTENER, Action::Modify, &["Tags"]);
        change.vague = true;
        assert!(refused("everyone", &change, TO_IDLE));
    }

    #[test]
    fn other_default_actions_are_refused_but_for_one_fixed_response_under_rules() {
        let carried = Rules { rules_carry_traffic: true, ..TO_IDLE };
        let fixed = json!([{ "Type": "fixed-response" }]);
        let forward = json!([{ "Type": "forward" }]);
        for (actions, rules, expected) in [
            (&fixed, carried, false),
            (&fixed, TO_IDLE, true),
            (&forward, carried, true),
            (&forward, TO_IDLE, true),
            (&forward, Rules { allow_live_changes: true, ..TO_IDLE }, false),
        ] {
            let change = change(LISTENER, Action::Modify, &["DefaultActions"]);
            let refused = !refusals(&[change], &marks("everyone", actions), rules).is_empty();
            assert_eq!(refused, expected, "{actions} {rules:?}");
        }
    }

    #[test]
    fn a_template_without_marks_is_guarded_as_a_whole() {
        let template = json!({ "Resources": { "It": { "Type": SERVICE } } });
        let marks = Marks::of(&template, &template);
        let change = change(SERVICE, Action::Replace, &[]);
        assert_eq!(refusals(&[change], &marks, TO_IDLE).len(), 1);
    }

    #[test]
    fn the_refusal_names_the_resource_and_its_users() {
        let traffic = crate::plan::Traffic::new(
            Color::Green,
            &stack::Both::make(|_| "1".to_owned()),
            &stack::Both::make(|_| "1".to_owned()),
        );
        let plan = Plan {
            stack: "s".to_owned(),
            region: "r".to_owned(),
            create: false,
            traffic,
            live: Vec::new(),
            broadened: std::collections::BTreeSet::new(),
            resources: vec![change(SERVICE, Action::Replace, &[])],
            waiting: None,
            marks: marks("green", &json!([])),
            rights: crate::plan::Rights::default(),
        };
        let refusals = |rules| match refuse_live_changes(&plan, rules) {
            Err(Error::LiveChange(refusals)) => refusals,
            other => panic!("{other:?}"),
        };
        let live = refusals(TO_LIVE);
        assert_eq!(live[0].why, Why::Interrupts);
        assert_eq!(live[0].text, "It (AWS::ECS::Service) would be replaced: it serves users of prod (green)");
        let idle = refusals(TO_IDLE);
        assert_eq!(idle[0].why, Why::OtherEnvironment);
        assert!(idle[0].text.contains("does not go to green"), "{idle:?}");
    }
}
