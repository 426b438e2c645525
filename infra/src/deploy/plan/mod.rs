//! What a deployment would do, before it does it: which resources change and how, who may do more than before, and what
//! happens to traffic (nothing). Computed from the deployed template and the new one; a change set makes it exact. Pure.

mod broaden;
mod difference;
mod evaluate;

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_cloudformation::types::{
    ChangeAction, ChangeSource, Replacement, ResourceAttribute, ResourceChange, ResourceChangeDetail,
};
use cutover_lambda::color::Color;
use serde::Serialize;
use serde_json::Value;

pub use difference::{Action, Difference, Property};
pub use evaluate::{Described, Values};

use crate::resources::schema::{Replaces, replaces};
use crate::stack::Both;

/// Replaced whenever anything in it changes, because a revision of it never changes.
const REVISIONS: &str = "AWS::ECS::TaskDefinition";

/// A template and its parameters.
#[derive(Clone, Copy, Debug)]
pub struct State<'a> {
    /// The template.
    pub template: &'a Value,
    /// The parameters' values.
    pub values: &'a Values,
}

/// What a deployment would do.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The stack's name.
    pub stack: String,
    /// The region.
    pub region: String,
    /// Whether there is no stack yet.
    pub create: bool,
    /// What happens to traffic and to what the environments run.
    pub traffic: Traffic,
    /// What somebody may do that they could not do before, one sentence each.
    pub broadened: BTreeSet<String>,
    /// The resources that change, by logical id.
    pub resources: Vec<Difference>,
}

/// What happens to traffic: a deployment moves none.
#[derive(Clone, Debug, Serialize)]
pub struct Traffic {
    /// Who is prod, before and after.
    pub prod: Color,
    /// Whether the stack has to be told so first, because a cutover has changed it since.
    pub pins_prod: bool,
    /// The version of each environment, before and after; empty where nothing runs.
    pub blue: Version,
    /// The version of each environment, before and after; empty where nothing runs.
    pub green: Version,
}

impl Traffic {
    /// The versions of an environment.
    pub const fn of(&self, color: Color) -> &Version {
        match color {
            Color::Blue => &self.blue,
            Color::Green => &self.green,
        }
    }

    /// From the versions before and after.
    pub fn new(prod: Color, pins_prod: bool, before: &Both<String>, after: &Both<String>) -> Self {
        let version = |color: Color| Version { before: before.of(color).clone(), after: after.of(color).clone() };
        Self { prod, pins_prod, blue: version(Color::Blue), green: version(Color::Green) }
    }
}

/// A version label before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Version {
    /// Now.
    pub before: String,
    /// Then.
    pub after: String,
}

/// Which stack a plan is for.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The stack's name.
    pub stack: &'a str,
    /// The region.
    pub region: &'a str,
}

impl Plan {
    /// The plan for a stack that is made, where `begun` is what there is of it: mostly nothing.
    pub fn of_creation(subject: Subject<'_>, traffic: Traffic, begun: State<'_>, after: State<'_>) -> Self {
        let begun = evaluate::resources(begun.template, begun.values);
        let after = evaluate::resources(after.template, after.values);
        let resources = difference::compare(&begun, &after, replaces);
        Self::new(subject, true, traffic, BTreeSet::new(), resources)
    }

    /// The plan for a stack that is brought from one state to another.
    pub fn of_update(subject: Subject<'_>, traffic: Traffic, before: State<'_>, after: State<'_>) -> Self {
        let before = evaluate::resources(before.template, before.values);
        let after = evaluate::resources(after.template, after.values);
        let resources = difference::compare(&before, &after, replaces);
        Self::new(subject, false, traffic, broaden::broadened(&before, &after), resources)
    }

    fn new(
        subject: Subject<'_>,
        create: bool,
        traffic: Traffic,
        broadened: BTreeSet<String>,
        resources: Vec<Difference>,
    ) -> Self {
        let (stack, region) = (subject.stack.to_owned(), subject.region.to_owned());
        Self { stack, region, create, traffic, broadened, resources }
    }

    /// The same plan, with the word of the change set where that knows more: what it lists changes, and what it does
    /// not list does not.
    #[must_use]
    pub fn with_change_set(mut self, changes: &[ResourceChange]) -> Self {
        let mut known: BTreeMap<String, Difference> =
            self.resources.drain(..).map(|difference| (difference.id.clone(), difference)).collect();
        self.resources = changes
            .iter()
            .filter_map(|change| {
                let id = change.logical_resource_id()?;
                Some(merge(id, change, changes, known.remove(id)))
            })
            .collect();
        self.resources.sort_by(|one, other| one.id.cmp(&other.id));
        self
    }

    /// Whether the stack stays as it is.
    pub fn is_empty(&self) -> bool {
        self.resources.is_empty()
    }

    /// What nobody should do without being asked: one sentence each.
    pub fn concerns(&self) -> BTreeSet<String> {
        if self.create {
            return BTreeSet::new();
        }
        let of_resource = |it: &Difference| match it.action {
            _ if it.kind == REVISIONS => None,
            Action::Replace => Some(format!("{} ({}) is replaced", it.id, it.kind)),
            Action::Remove => Some(format!("{} ({}) is removed", it.id, it.kind)),
            Action::Add | Action::Modify => None,
        };
        self.resources.iter().filter_map(of_resource).chain(self.broadened.iter().cloned()).collect()
    }

    /// How many resources this happens to.
    pub fn count(&self, action: Action) -> usize {
        self.resources.iter().filter(|it| it.action == action && !it.is_revision()).count()
    }

    /// How many task definitions get a new revision.
    pub fn revisions(&self) -> usize {
        self.resources.iter().filter(|it| it.is_revision()).count()
    }
}

impl Difference {
    /// Whether it only gets a new revision: the old one is never touched.
    pub fn is_revision(&self) -> bool {
        self.kind == REVISIONS && self.action == Action::Replace
    }
}

fn merge(id: &str, change: &ResourceChange, all: &[ResourceChange], known: Option<Difference>) -> Difference {
    let kind = change.resource_type().unwrap_or_default().to_owned();
    let mut properties = known.map_or_else(Vec::new, |known| known.properties);
    for detail in change.details() {
        let Some(target) = detail.target() else { continue };
        let name = match (target.name(), target.attribute()) {
            (Some(name), _) => name,
            (None, Some(attribute)) if *attribute != ResourceAttribute::Properties => attribute.as_str(),
            _ => continue,
        };
        if properties.iter().any(|known| known.top() == name) {
            continue;
        }
        properties.push(Property {
            path: name.to_owned(),
            before: target.before_value().map(str::to_owned),
            after: target.after_value().map(str::to_owned),
            follows: detail.causing_entity().map(|entity| entity.split('.').next().unwrap_or(entity).to_owned()),
        });
    }
    let action = match change.action() {
        Some(ChangeAction::Add | ChangeAction::Import) => Action::Add,
        Some(ChangeAction::Remove) => Action::Remove,
        _ if is_replaced(change, all) => Action::Replace,
        _ => Action::Modify,
    };
    Difference { id: id.to_owned(), kind, action, properties }
}

/// Whether a change, one of `all`, replaces the resource. Where the change set does not know, the resource type's model
/// does, and whether what the property follows can have changed.
pub fn is_replaced(change: &ResourceChange, all: &[ResourceChange]) -> bool {
    match change.replacement() {
        Some(Replacement::True) => true,
        Some(Replacement::Conditional) => {
            let kind = change.resource_type().unwrap_or_default();
            let details = change.details().iter().filter(|detail| !follows_what_stays(detail, all));
            let mut names = details.filter_map(|detail| detail.target()?.name());
            // Where it is not known, or depends on what neither says, the worst is assumed.
            change.details().is_empty() || names.any(|name| replaces(kind, name) != Some(Replaces::Never))
        }
        _ => false,
    }
}

/// Whether a property follows the name or the ARN of a resource that is changed in place: these stay as they are.
fn follows_what_stays(detail: &ResourceChangeDetail, all: &[ResourceChange]) -> bool {
    let Some(entity) = detail.causing_entity() else { return false };
    let (followed, attribute) = entity.split_once('.').unwrap_or((entity, ""));
    let stays_in_place = match detail.change_source() {
        Some(ChangeSource::ResourceReference) => true,
        Some(ChangeSource::ResourceAttribute) => attribute == "Arn",
        _ => false,
    };
    let is_changed_in_place = |change: &ResourceChange| {
        change.logical_resource_id() == Some(followed)
            && change.action() == Some(&ChangeAction::Modify)
            && change.replacement() == Some(&Replacement::False)
    };
    stays_in_place && all.iter().any(is_changed_in_place)
}

#[cfg(test)]
mod tests {
    use aws_sdk_cloudformation::types::{EvaluationType, ResourceTargetDefinition};
    use serde_json::json;

    use super::*;

    fn traffic() -> Traffic {
        let versions = |blue: &str| Both { blue: blue.to_owned(), green: "1".to_owned() };
        Traffic::new(Color::Green, false, &versions("1"), &versions("2"))
    }

    fn subject() -> Subject<'static> {
        Subject { stack: "bluegreen", region: "us-east-1" }
    }

    fn plan(before: &Value, after: &Value) -> Plan {
        let values = Values::new();
        let state = |template| State { template, values: &values };
        Plan::of_update(subject(), traffic(), state(before), state(after))
    }

    fn bucket(name: &str) -> Value {
        json!({ "Resources": { "Bucket": { "Type": "AWS::S3::Bucket", "Properties": { "BucketName": name } } } })
    }

    fn conditional(kind: &str, property: &str) -> ResourceChange {
        let target =
            ResourceTargetDefinition::builder().attribute(ResourceAttribute::Properties).name(property).build();
        ResourceChange::builder()
            .logical_resource_id("It")
            .resource_type(kind)
            .action(ChangeAction::Modify)
            .replacement(Replacement::Conditional)
            .details(ResourceChangeDetail::builder().target(target).build())
            .build()
    }

    #[test]
    fn the_replacement_and_the_removal_of_a_resource_are_concerns() {
        let replaced = plan(&bucket("a"), &bucket("b"));
        assert_eq!(replaced.concerns().into_iter().collect::<Vec<_>>(), ["Bucket (AWS::S3::Bucket) is replaced"]);
        let removed = plan(&bucket("a"), &json!({ "Resources": {} }));
        assert_eq!(removed.concerns().into_iter().collect::<Vec<_>>(), ["Bucket (AWS::S3::Bucket) is removed"]);
    }

    #[test]
    fn a_new_revision_of_a_task_definition_is_no_concern() {
        let task = |image: &str| json!({ "Resources": { "Task": { "Type": REVISIONS, "Properties": { "ContainerDefinitions": [{ "Name": "app", "Image": image }] } } } });
        let plan = plan(&task("1"), &task("2"));
        assert!(plan.concerns().is_empty());
        assert_eq!((plan.revisions(), plan.count(Action::Replace)), (1, 0));
    }

    #[test]
    fn making_a_stack_is_no_concern() {
        let values = Values::new();
        let template = bucket("a");
        let whole = State { template: &template, values: &values };
        let nothing = State { template: &Value::Null, values: &values };
        let plan = Plan::of_creation(subject(), traffic(), nothing, whole);
        assert_eq!(plan.count(Action::Add), 1);
        assert!(plan.concerns().is_empty());
        assert!(Plan::of_creation(subject(), traffic(), whole, whole).is_empty(), "what is begun is not made again");
    }

    #[test]
    fn the_change_set_has_the_last_word_on_what_changes_and_the_templates_on_the_values() {
        let change = ResourceChange::builder()
            .logical_resource_id("Bucket")
            .resource_type("AWS::S3::Bucket")
            .action(ChangeAction::Modify)
            .replacement(Replacement::True)
            .build();
        let plan = plan(&bucket("a"), &bucket("b"));
        assert!(plan.clone().with_change_set(&[]).is_empty());
        let exact = plan.with_change_set(&[change]);
        assert_eq!(exact.resources[0].action, Action::Replace);
        assert_eq!(exact.resources[0].properties[0].after.as_deref(), Some("b"));
    }

    #[test]
    fn the_resource_model_decides_where_the_change_set_says_conditional() {
        assert!(is_replaced(&conditional("AWS::ECS::Service", "Cluster"), &[]));
        assert!(!is_replaced(&conditional("AWS::ECS::Service", "TaskDefinition"), &[]));
        assert!(is_replaced(&conditional("AWS::Unknown::Thing", "Name"), &[]), "nobody knows: the worst is assumed");
    }

    /// A service whose cluster follows another resource, as the change set tells it.
    fn following(source: ChangeSource, entity: &str) -> ResourceChange {
        let target =
            ResourceTargetDefinition::builder().attribute(ResourceAttribute::Properties).name("Cluster").build();
        let detail = ResourceChangeDetail::builder()
            .target(target)
            .evaluation(EvaluationType::Dynamic)
            .change_source(source)
            .causing_entity(entity)
            .build();
        ResourceChange::builder()
            .logical_resource_id("Service")
            .resource_type("AWS::ECS::Service")
            .action(ChangeAction::Modify)
            .replacement(Replacement::Conditional)
            .details(detail)
            .build()
    }

    #[test]
    fn who_follows_the_arn_of_a_resource_that_is_changed_in_place_stays() {
        let cluster = |replacement| {
            let change = ResourceChange::builder().logical_resource_id("Cluster").resource_type("AWS::ECS::Cluster");
            vec![change.action(ChangeAction::Modify).replacement(replacement).build()]
        };
        let arn = following(ChangeSource::ResourceAttribute, "Cluster.Arn");
        let name = following(ChangeSource::ResourceReference, "Cluster");
        for change in [&arn, &name] {
            assert!(!is_replaced(change, &cluster(Replacement::False)));
            assert!(is_replaced(change, &cluster(Replacement::True)), "it gets another ARN");
            assert!(is_replaced(change, &cluster(Replacement::Conditional)), "nobody knows");
            assert!(is_replaced(change, &[]), "nobody knows");
        }
        let other = following(ChangeSource::ResourceAttribute, "Cluster.Something");
        assert!(is_replaced(&other, &cluster(Replacement::False)), "any other attribute may change");
        let direct = following(ChangeSource::DirectModification, "Cluster.Arn");
        assert!(is_replaced(&direct, &cluster(Replacement::False)));
    }
}
