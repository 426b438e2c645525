//! What a deployment would do, before it does it: which resources change and how, who may do more than before, and what
//! happens to traffic (nothing). Computed from the deployed template and the new one; a change set makes it exact. Pure.

mod broaden;
mod difference;
mod evaluate;
mod live;
mod rights;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use aws_sdk_cloudformation::types::{
    ChangeAction, ChangeSource, Replacement, ResourceAttribute, ResourceChange, ResourceChangeDetail,
};
use model::color::Color;
use serde::Serialize;
use serde_json::Value;

pub use difference::{Action, Difference, Property};
pub use evaluate::{Described, Values};
pub use live::{DEFAULT_ACTIONS, Effect, LISTENER, Marks, Serves};
pub use rights::Rights;

use cfn_kit::resources::schema::{Replaces, replaces};
use stack::Both;

/// Replaced whenever anything in it changes, because a revision of it never changes.
const REVISIONS: &str = "AWS::ECS::TaskDefinition";

/// Attributes that AWS gives a resource when it makes it, and that stay as long as it does.
const IDENTITIES: [&str; 10] = [
    "Arn",
    "CanonicalHostedZoneID",
    "DNSName",
    "GroupId",
    "LoadBalancerFullName",
    "Name",
    "RepositoryUri",
    "RoleId",
    "TargetGroupFullName",
    "VpcId",
];

/// References from one changed resource to the next that are followed; a longer chain counts as a replacement.
const DEEPEST: usize = 16;

/// What a change set changes in a resource without naming it.
const UNNAMED: &str = "(not named)";

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
    /// What users notice immediately, one sentence for each change of what serves them. If empty, everything live stays.
    pub live: Vec<String>,
    /// The added permissions, one sentence each.
    pub broadened: BTreeSet<String>,
    /// The resources that change, by logical id.
    pub resources: Vec<Difference>,
    /// Settings that were edited and that this deployment does not apply; null if there are none.
    pub waiting: Option<Waiting>,
    /// Who is served by each resource.
    #[serde(skip)]
    pub marks: Marks,
    /// The permissions that each resource would grant.
    #[serde(skip)]
    pub rights: Rights,
}

/// What happens to traffic: a deployment moves none.
#[derive(Clone, Debug, Serialize)]
pub struct Traffic {
    /// Who is prod, before and after.
    pub prod: Color,
    /// The version of each environment, before and after; empty if nothing runs.
    pub blue: Version,
    /// The version of each environment, before and after; empty if nothing runs.
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
    pub fn new(prod: Color, before: &Both<String>, after: &Both<String>) -> Self {
        let version = |color: Color| Version { before: before.of(color).clone(), after: after.of(color).clone() };
        Self { prod, blue: version(Color::Blue), green: version(Color::Green) }
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

/// Settings that a deployment does not apply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// The settings by dotted name.
    pub settings: Vec<String>,
    /// What applies them.
    pub by: Applied,
}

/// What applies a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Applied {
    /// A release, to the environment that it goes to.
    #[serde(rename = "release")]
    ByARelease,
    /// A deployment without a version, to everything but the environments.
    #[serde(rename = "stack")]
    ByTheStack,
}

impl fmt::Display for Waiting {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whom, command) = match self.by {
            Applied::ByARelease => ("release", "bluegreen deploy --version"),
            Applied::ByTheStack => ("deployment of the stack", "bluegreen deploy"),
        };
        write!(out, "settings that apply with the next {whom} ({command}): {}", self.settings.join(", "))
    }
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
    /// The plan for a stack that is created. `begun` is what exists of it, usually nothing.
    pub fn of_creation(subject: Subject<'_>, traffic: Traffic, begun: State<'_>, after: State<'_>) -> Self {
        Self::new(subject, true, traffic, begun, after)
    }

    /// The plan for a stack that is brought from one state to another.
    pub fn of_update(subject: Subject<'_>, traffic: Traffic, before: State<'_>, after: State<'_>) -> Self {
        Self::new(subject, false, traffic, before, after)
    }

    fn new(subject: Subject<'_>, create: bool, traffic: Traffic, before: State<'_>, after: State<'_>) -> Self {
        let (stack, region) = (subject.stack.to_owned(), subject.region.to_owned());
        let (marks, rights) = (Marks::of(before.template, after.template), Rights::of(before.template, after.template));
        let before = evaluate::resources(before.template, before.values);
        let after = evaluate::resources(after.template, after.values);
        let resources = difference::compare(&before, &after, replaces);
        let (live, broadened) = (Vec::new(), BTreeSet::new());
        Self { stack, region, create, traffic, live, broadened, resources, waiting: None, marks, rights }.judged()
    }

    /// Says anew what the changes mean to users and to who may do what. A stack that is made has neither.
    fn judged(mut self) -> Self {
        self.resources.sort_by(|one, other| one.id.cmp(&other.id));
        if !self.create {
            self.live = self.marks.noticed(&self.resources, Some(self.traffic.prod));
            self.broadened = self.rights.broadened(&self.resources);
        }
        self
    }

    /// The same plan, with what the change set knows besides: what it lists changes as it says. What only the
    /// templates know changes too: a change set does not show every change.
    /// <https://github.com/aws/aws-cdk-cli/issues/1780>
    #[must_use]
    pub fn with_change_set(mut self, changes: &[ResourceChange]) -> Self {
        let mut known: BTreeMap<String, Difference> =
            self.resources.drain(..).map(|difference| (difference.id.clone(), difference)).collect();
        let listed = changes.iter().filter_map(|change| {
            let id = change.logical_resource_id()?;
            Some(merge(id, change, changes, known.remove(id)))
        });
        self.resources = listed.collect();
        self.resources.extend(known.into_values());
        self.judged()
    }

    /// The same plan, if CloudFormation says that there is nothing to change at all.
    #[must_use]
    pub fn without_changes(mut self) -> Self {
        self.resources.clear();
        self.judged()
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
            // Without properties: the change set and the templates name them differently.
            Action::Modify if self.marks.is_asked_about(it) => {
                Some(format!("{} ({}) changes in place: it serves all users", it.id, it.kind))
            }
            Action::Add | Action::Modify => None,
        };
        let prod = self.traffic.prod;
        let is_live = |it: &&Difference| {
            self.marks.serves(&it.id) == Serves::Environment(prod) && self.marks.effect(it) != Effect::None
        };
        // A release to the live environment is asked about however it was called for.
        let at_once = self.resources.iter().find(is_live).map(|_| format!("users of prod ({prod}) get it immediately"));
        let of_resources = self.resources.iter().filter_map(of_resource);
        of_resources.chain(self.broadened.iter().cloned()).chain(at_once).collect()
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
    let vague = change.action() == Some(&ChangeAction::Modify) && change.details().is_empty();
    // First what changes, then what only follows something that stays.
    let stays = |detail: &&ResourceChangeDetail| follows_what_stays(detail, all, DEEPEST);
    let (staying, changing): (Vec<_>, Vec<_>) = change.details().iter().partition(stays);
    let details = changing.into_iter().map(|it| (it, false)).chain(staying.into_iter().map(|it| (it, true)));
    for (detail, stays) in details {
        let target = detail.target();
        let attribute = target.and_then(|target| target.attribute());
        let name = match (attribute, target.and_then(|target| target.name())) {
            (Some(attribute), _) if *attribute != ResourceAttribute::Properties => attribute.as_str(),
            // A property of this name is none of the attribute.
            (_, Some("Metadata")) => "Properties.Metadata",
            (_, Some(name)) => name,
            // A change that names nothing can be any.
            (_, None) => UNNAMED,
        };
        if properties.iter().any(|known| known.top() == name) {
            continue;
        }
        properties.push(Property {
            path: name.to_owned(),
            before: target.and_then(|target| target.before_value()).map(str::to_owned),
            after: target.and_then(|target| target.after_value()).map(str::to_owned),
            follows: detail.causing_entity().map(|entity| entity.split('.').next().unwrap_or(entity).to_owned()),
            stays,
        });
    }
    let action = match change.action() {
        Some(ChangeAction::Add | ChangeAction::Import) => Action::Add,
        Some(ChangeAction::Remove) => Action::Remove,
        _ if is_replaced(change, all) => Action::Replace,
        _ => Action::Modify,
    };
    Difference { id: id.to_owned(), kind, action, properties, vague }
}

/// Whether a change, one of `all`, replaces the resource. If the change set does not know, the resource type's model
/// does, and whether what the property follows can have changed.
pub fn is_replaced(change: &ResourceChange, all: &[ResourceChange]) -> bool {
    replaced(change, all, DEEPEST)
}

fn replaced(change: &ResourceChange, all: &[ResourceChange], depth: usize) -> bool {
    match change.replacement() {
        Some(Replacement::True) => true,
        Some(Replacement::Conditional) => {
            let kind = change.resource_type().unwrap_or_default();
            // Only a property can ask for a replacement: metadata, tags and policies never do.
            // <https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_ResourceTargetDefinition.html>
            let is_of_property = |detail: &&ResourceChangeDetail| {
                let attribute = detail.target().and_then(|target| target.attribute());
                attribute.is_none_or(|attribute| *attribute == ResourceAttribute::Properties)
            };
            let details = change.details().iter().filter(is_of_property);
            let details = details.filter(|detail| !follows_what_stays(detail, all, depth));
            let mut names = details.map(|detail| detail.target().and_then(|target| target.name()));
            // If it is not known, or depends on what neither says, the worst is assumed.
            change.details().is_empty()
                || names.any(|name| name.is_none_or(|name| replaces(kind, name) != Some(Replaces::Never)))
        }
        _ => false,
    }
}

/// Whether a property follows the identity of a resource that is changed in place, which then stays as it is.
fn follows_what_stays(detail: &ResourceChangeDetail, all: &[ResourceChange], depth: usize) -> bool {
    let Some(entity) = detail.causing_entity() else { return false };
    let (followed, attribute) = entity.split_once('.').unwrap_or((entity, ""));
    let is_identity = match detail.change_source() {
        Some(ChangeSource::ResourceReference) => true,
        Some(ChangeSource::ResourceAttribute) => IDENTITIES.contains(&attribute),
        _ => false,
    };
    let is_changed_in_place = |change: &ResourceChange| {
        change.logical_resource_id() == Some(followed)
            && change.action() == Some(&ChangeAction::Modify)
            && depth > 0
            && !replaced(change, all, depth - 1)
    };
    is_identity && all.iter().any(is_changed_in_place)
}

#[cfg(test)]
mod tests;
