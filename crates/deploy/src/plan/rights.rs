//! Who could do more after a change than before it: every resource that carries rights, under either value of every
//! condition. What was granted under all of them counts as granted before; what is granted under any of them counts as
//! granted then; and what is not known counts as more. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::broaden::{DOCUMENTS, Grants, openings};
use super::difference::{Action, Difference};
use super::evaluate::{Possible, is_settled, possibilities};

/// Types that carry rights and whose policies are read here.
const READ: [&str; 12] = [
    "AWS::ECR::Repository",
    "AWS::IAM::GroupPolicy",
    "AWS::IAM::ManagedPolicy",
    "AWS::IAM::Policy",
    "AWS::IAM::Role",
    "AWS::IAM::RolePolicy",
    "AWS::IAM::UserPolicy",
    "AWS::KMS::Key",
    "AWS::Lambda::Permission",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::QueuePolicy",
];

/// Types besides those of IAM that carry rights and are not read here: any change of one may allow more.
const NOT_READ: [&str; 9] = [
    "AWS::CloudFormation::Stack",
    "AWS::ECR::RegistryPolicy",
    "AWS::Events::EventBusPolicy",
    "AWS::KMS::ReplicaKey",
    "AWS::Lambda::LayerVersionPermission",
    "AWS::Lambda::Url",
    "AWS::Logs::ResourcePolicy",
    "AWS::S3::AccessPoint",
    "AWS::SecretsManager::ResourcePolicy",
];

/// Types of which only the policy carries rights.
const POLICY_ALONE: [&str; 2] = ["AWS::ECR::Repository", "AWS::KMS::Key"];

/// Properties of a resource that carries rights which give nobody any.
const HARMLESS: [&str; 3] = ["Description", "MaxSessionDuration", "Tags"];

/// What a type without own permissions can open.
const OPENINGS: [&str; 2] = ["SecurityGroupEgress", "SecurityGroupIngress"];

/// The permissions that each resource would add.
#[derive(Clone, Debug, Default)]
pub struct Rights {
    resources: BTreeMap<String, Widening>,
    /// What is allowed once a resource of the deployed template is gone.
    denied: BTreeMap<String, BTreeSet<String>>,
    /// What holds for the template as a whole.
    whole: BTreeSet<String>,
}

#[derive(Clone, Debug, Default)]
struct Widening {
    /// If it exists already.
    changed: BTreeSet<String>,
    /// If it is made.
    added: BTreeSet<String>,
    /// Whether the templates differ in it.
    differs: bool,
    /// Whether the deployed template has it under a condition, or not at all.
    doubtful: bool,
}

impl Rights {
    /// Compares the deployed template with the new one.
    pub fn of(before: &Value, after: &Value) -> Self {
        let (old, new) = (possibilities(before), possibilities(after));
        let body = |template: &Value, id: &str| {
            let resource = template.get("Resources")?.get(id)?;
            let part = |name: &str| resource.get(name).cloned();
            Some([part("Type"), part("Condition"), part("Properties")])
        };
        let mut resources = BTreeMap::new();
        for (id, now) in &new {
            let there = old.get(id).filter(|there| there.kind == now.kind);
            let compared = Comparison { id, before, after, now };
            let widening = Widening {
                changed: compared.against(there),
                added: compared.against(None),
                differs: body(before, id) != body(after, id),
                doubtful: there.is_none_or(|there| there.conditional),
            };
            resources.insert(id.clone(), widening);
        }
        let denials = |(id, there): (&String, &Possible)| {
            let denied = there.variants.iter().flat_map(|variant| Grants::of(&there.kind, variant).denied);
            (id.clone(), denied.map(|denial| denial.no_longer_denied(id)).collect())
        };
        let denied = old.iter().map(denials).collect();
        let mut whole = BTreeSet::new();
        if after.get("Transform").is_some() {
            whole.insert(
                "the template is transformed by CloudFormation: the resulting permissions are unknown".to_owned(),
            );
        }
        Self { resources, denied, whole }
    }

    /// The permissions that these changes add, one sentence each.
    pub fn broadened(&self, changes: &[Difference]) -> BTreeSet<String> {
        let by_id: BTreeMap<&str, &Difference> = changes.iter().map(|change| (change.id.as_str(), change)).collect();
        let mut found = self.whole.clone();
        for (id, widening) in &self.resources {
            let sentences = match by_id.get(id.as_str()).map(|change| change.action) {
                Some(Action::Add) => &widening.added,
                Some(Action::Modify | Action::Replace) => &widening.changed,
                // Under a condition that does not hold now, and may hold later.
                None if widening.differs && widening.doubtful => &widening.added,
                None if widening.differs => &widening.changed,
                Some(Action::Remove) | None => continue,
            };
            found.extend(sentences.iter().cloned());
        }
        for (id, allowed) in &self.denied {
            let removed = by_id.get(id.as_str()).is_some_and(|change| change.action == Action::Remove);
            if removed || !self.resources.contains_key(id) {
                found.extend(allowed.iter().cloned());
            }
        }
        // A change of a resource that neither template has is not one that these templates make.
        let foreign = |change: &&Difference| {
            carries_rights(&change.kind) && change.action != Action::Remove && !self.resources.contains_key(&change.id)
        };
        found.extend(changes.iter().filter(foreign).map(|change| not_known(&change.id, &change.kind)));
        found
    }
}

/// Whether a resource of this type exists to give rights.
fn carries_rights(kind: &str) -> bool {
    kind.starts_with("AWS::IAM::") || READ.contains(&kind) || NOT_READ.contains(&kind)
}

fn not_known(id: &str, kind: &str) -> String {
    format!("{id} ({kind}) changes, and its resulting permissions are unknown")
}

/// One resource of the new template, and what the deployed one has in its place.
struct Comparison<'a> {
    id: &'a str,
    before: &'a Value,
    after: &'a Value,
    now: &'a Possible,
}

impl Comparison<'_> {
    fn against(&self, there: Option<&Possible>) -> BTreeSet<String> {
        let Self { id, now, .. } = self;
        let mut found = BTreeSet::new();
        if self.is_unknown(there) {
            found.insert(not_known(id, &now.kind));
        }
        let nothing = [Map::new()];
        let old = there.map_or(&nothing[..], |there| &there.variants);
        let had: Vec<Grants> = old.iter().map(|variant| Grants::of(&now.kind, variant)).collect();
        for variant in &now.variants {
            let has = Grants::of(&now.kind, variant);
            let new = |grant: &&_| !had.iter().all(|had| had.allowed.iter().any(|other| other.covers(grant)));
            found.extend(has.allowed.iter().filter(new).map(|grant| grant.sentence(id)));
            let denied = had.iter().flat_map(|had| &had.denied);
            // A denial that goes away allows what it denied.
            let gone = denied.filter(|denial| !has.denied.iter().any(|other| other.covers(denial)));
            found.extend(gone.map(|denial| denial.no_longer_denied(id)));
            for opening in openings(&now.kind, variant) {
                let open = |old: &Map<String, Value>| openings(&now.kind, old).iter().any(|it| it.covers(&opening));
                if !old.iter().all(open) {
                    found.insert(opening.sentence(id));
                }
            }
        }
        found
    }

    /// Whether the comparison of grants does not show everything.
    fn is_unknown(&self, there: Option<&Possible>) -> bool {
        let kind = self.now.kind.as_str();
        let variants = || self.now.variants.iter().map(|it| (self.after, it));
        let all = || variants().chain(there.into_iter().flat_map(|it| it.variants.iter().map(|it| (self.before, it))));
        if carries_rights(kind) && !READ.contains(&kind) {
            return true;
        }
        // Too many conditions.
        if self.now.variants.is_empty() || there.is_some_and(|there| there.variants.is_empty()) {
            return carries_rights(kind) || kind.starts_with("AWS::EC2::SecurityGroup");
        }
        let unread = all().any(|(template, variant)| {
            variant.iter().any(|(name, value)| match name.as_str() {
                name if is_read(kind, name) => !is_settled(template, value) || !has_form_of(name, value),
                _ => false,
            })
        });
        unread || there.is_some_and(|there| self.rest_differs(there))
    }

    /// Whether anything differs that may carry rights and is not read: a boundary, to whom a policy is attached.
    fn rest_differs(&self, there: &Possible) -> bool {
        let kind = self.now.kind.as_str();
        let names: BTreeSet<&String> =
            there.variants.iter().chain(&self.now.variants).flat_map(|variant| variant.keys()).collect();
        names.into_iter().filter(|name| !is_read(kind, name) && !HARMLESS.contains(&name.as_str())).any(|name| {
            let values: Vec<Option<&Value>> =
                there.variants.iter().chain(&self.now.variants).map(|variant| variant.get(name)).collect();
            let matters = match kind {
                kind if carries_rights(kind) && !POLICY_ALONE.contains(&kind) => true,
                _ => values.iter().flatten().any(|value| says_policy(value)),
            };
            let settled = values.iter().flatten().all(|value| is_settled(self.after, value));
            matters && !(settled && values.windows(2).all(|pair| pair[0] == pair[1]))
        })
    }
}

/// Whether a property's grants or openings are read.
fn is_read(kind: &str, name: &str) -> bool {
    DOCUMENTS.contains(&name)
        || (kind.starts_with("AWS::IAM::") && ["Policies", "ManagedPolicyArns"].contains(&name))
        || (kind == "AWS::Lambda::Permission" && ["Principal", "Action", "FunctionName"].contains(&name))
        || (kind == "AWS::EC2::SecurityGroup" && OPENINGS.contains(&name))
        || ["AWS::EC2::SecurityGroupIngress", "AWS::EC2::SecurityGroupEgress"].contains(&kind)
}

/// Whether a policy has the form in which it is read: a document, or a list.
fn has_form_of(name: &str, value: &Value) -> bool {
    let has_statements = |document: &Value| document.get("Statement").is_some_and(|it| it.is_array() || it.is_object());
    match name {
        "Policies" => value.as_array().is_some_and(|policies| {
            policies.iter().all(|policy| policy.get("PolicyDocument").is_some_and(has_statements))
        }),
        name if DOCUMENTS.contains(&name) => has_statements(value),
        name if OPENINGS.contains(&name) || name == "ManagedPolicyArns" => value.is_array(),
        _ => true,
    }
}

/// Whether a policy statement stands somewhere in a value.
fn says_policy(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(says_policy),
        Value::Object(fields) => fields.contains_key("Effect") || fields.values().any(says_policy),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
