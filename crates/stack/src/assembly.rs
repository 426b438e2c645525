//! Assembles a template from parts of several: the shared part of one, and the resources of each environment from
//! another. In this module, a *half* is the part of a template with the resources of one environment.
//!
//! Pure functions on JSON. A half is copied unchanged. If it refers to resources that the base lacks (from settings of
//! an older release), they are copied too, for as long as the half needs them. Conversely, if the shared part refers to
//! resources that an older half lacks (the roles that the role of a CI pipeline may pass), they are added to the half;
//! nothing else in the half changes.

use std::collections::BTreeSet;

use model::color::Color;
use serde_json::{Map, Value};

use super::Both;
use super::part::{METADATA, Serves};
use cfn_kit::assertions::{Kind, Reference};
use cfn_kit::{references, references_of};

/// The sections of a template that references can point into.
const SECTIONS: [&str; 3] = ["Resources", "Parameters", "Conditions"];

/// Why a template cannot be assembled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssemblyError {
    /// A reference to a name that no part has.
    #[error("{from} refers to {to}, which no part of the template has")]
    Dangling {
        /// The logical id of the resource with the reference.
        from: String,
        /// The name that it refers to.
        to: String,
    },
    /// A half needs resources that the base lacks, and they may not be carried over.
    #[error("the {color} environment needs {}, which the stack does not have", ids.join(", "))]
    Missing {
        /// The environment.
        color: Color,
        /// What is missing, by logical id, in order.
        ids: Vec<String>,
    },
    /// A template has no resources of an environment: only the bucket of a new stack is deployed, and it needs the
    /// whole template ([`super::synthesize`]).
    #[error("the template has no resource of the {0} environment")]
    NoHalf(Color),
    /// A part is not a template with resources.
    #[error("a part is not a template, because it has no resources")]
    NotATemplate,
}

/// A half, and its origin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Half<'a> {
    /// The template that the half is in.
    pub template: &'a Value,
    /// What to do if it refers to a resource that the base lacks.
    pub lacking: Lacking,
}

/// What to do with a reference to a resource that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lacking {
    /// Carry the resource over from the template of the reference.
    Carry,
    /// Report an error.
    Report,
}

/// The template with the shared part of `base` and the halves of the given templates.
///
/// The shared part consists of every resource that is in no half, and of parameters, conditions, outputs, description,
/// and metadata. If a half refers to resources that `base` lacks, they are carried over from the template of the half,
/// transitively.
pub fn assemble(base: &Value, halves: &Both<&Value>) -> Result<Value, AssemblyError> {
    join(base, &Both::make(|color| Half { template: halves.of(color), lacking: Lacking::Carry }))
}

/// Assembles a template from halves whose missing resources are carried over, or reported as an error.
pub(super) fn join(base: &Value, halves: &Both<Half<'_>>) -> Result<Value, AssemblyError> {
    let mut whole = stack_part(base)?;
    for color in Color::ALL {
        let half = half_of(halves.of(color).template, color)?;
        if half.is_empty() {
            return Err(AssemblyError::NoHalf(color));
        }
        section(&mut whole, "Resources").extend(half);
        copy_metadata(&mut whole, halves.of(color).template, color);
    }
    for color in Color::ALL {
        let Half { template, lacking } = *halves.of(color);
        let half = half_of(template, color)?;
        let open = half.iter().flat_map(|(id, resource)| references_of("Resources", id, resource)).collect();
        let may = |id: &str| lacking == Lacking::Carry && !is_in_a_half(template, id);
        let left = carry(&mut whole, template, open, may);
        if lacking == Lacking::Report && !left.is_empty() {
            let ids: BTreeSet<String> = left.into_iter().map(|reference| reference.to).collect();
            return Err(AssemblyError::Missing { color, ids: ids.into_iter().collect() });
        }
    }
    carry(&mut whole, base, references(&stack_part(base)?), |_| true);
    dangling(&whole).map_or(Ok(whole), Err)
}

/// The template without its halves and without their metadata.
pub(super) fn stack_part(template: &Value) -> Result<Value, AssemblyError> {
    if !template["Resources"].is_object() {
        return Err(AssemblyError::NotATemplate);
    }
    let mut part = template.clone();
    section(&mut part, "Resources").retain(|id, _| !is_in_a_half(template, id));
    let metadata = part.get_mut("Metadata").and_then(|metadata| metadata.get_mut(METADATA));
    if let Some(metadata) = metadata.and_then(Value::as_object_mut) {
        for color in Color::ALL {
            metadata.remove(color.as_str());
        }
    }
    Ok(part)
}

/// The resources of a half, in order.
pub(super) fn half_of(template: &Value, color: Color) -> Result<Vec<(String, Value)>, AssemblyError> {
    let resources = template["Resources"].as_object().ok_or(AssemblyError::NotATemplate)?;
    let own = resources.iter().filter(|(id, _)| Serves::of(template, id) == Some(Serves::Environment(color)));
    Ok(own.map(|(id, resource)| (id.clone(), resource.clone())).collect())
}

/// Copies the metadata of a half.
fn copy_metadata(whole: &mut Value, template: &Value, color: Color) {
    let (from, color) = (&template["Metadata"][METADATA], color.as_str());
    let Some(recorded) = from.get(color) else { return };
    let into = section(whole, "Metadata").entry(METADATA).or_insert_with(|| Map::new().into());
    if into.get("format").is_none() {
        into["format"] = from["format"].clone();
    }
    into[color] = recorded.clone();
}

/// Carries over from `template` the targets of these references that `whole` lacks, with everything that they refer to.
/// Returns the references to resources that may not be carried over, or that `template` lacks too.
fn carry(whole: &mut Value, template: &Value, mut open: Vec<Reference>, may: impl Fn(&str) -> bool) -> Vec<Reference> {
    let mut left = Vec::new();
    while let Some(reference) = open.pop() {
        let Reference { to, kind, .. } = &reference;
        if is_there(whole, *kind, to) {
            continue;
        }
        let name = sections(*kind).into_iter().find(|name| template[*name].get(to).is_some());
        let Some(name) = name.filter(|_| may(to)) else {
            left.push(reference);
            continue;
        };
        let item = &template[name][to];
        open.extend(references_of(name, to, item));
        if name == "Resources" {
            open.extend(attached(template, to));
        }
        section(whole, name).insert(to.clone(), item.clone());
    }
    left
}

fn is_in_a_half(template: &Value, logical_id: &str) -> bool {
    matches!(Serves::of(template, logical_id), Some(Serves::Environment(_)))
}

/// Resources that another resource needs although it does not refer to them, such as the association of a subnet with
/// its routes: shared resources that refer to it. Returned as references, so that they are carried over in the same
/// way.
fn attached<'a>(template: &'a Value, to: &'a str) -> impl Iterator<Item = Reference> + use<'a> {
    let resources = template["Resources"].as_object().into_iter().flatten();
    let serving = resources.filter(|(id, resource)| match Serves::of(template, id) {
        Some(serves) => serves == Serves::Everyone,
        // Older versions wrote no marks; only parts of a network matter here.
        None => resource["Type"].as_str().is_some_and(|name| name.starts_with("AWS::EC2::")),
    });
    let referring = serving.filter(move |(id, resource)| {
        references_of("Resources", id, resource).iter().any(|it| it.kind == Kind::Value && it.to == to)
    });
    referring.map(|(id, _)| Reference { from: to.to_owned(), to: id.clone(), kind: Kind::Value })
}

fn is_there(template: &Value, kind: Kind, name: &str) -> bool {
    name.starts_with("AWS::") || sections(kind).iter().any(|section| template[*section].get(name).is_some())
}

/// The sections that a reference of this kind can point into.
fn sections(kind: Kind) -> Vec<&'static str> {
    SECTIONS.into_iter().filter(|section| (*section == "Conditions") == (kind == Kind::Condition)).collect()
}

/// The first reference to a name that the template does not have.
fn dangling(template: &Value) -> Option<AssemblyError> {
    let reference = references(template).into_iter().find(|it| !is_there(template, it.kind, &it.to))?;
    Some(AssemblyError::Dangling { from: reference.from, to: reference.to })
}

/// A section of a template; created if it does not exist.
fn section<'a>(template: &'a mut Value, name: &str) -> &'a mut Map<String, Value> {
    if !template[name].is_object() {
        template[name] = Map::new().into();
    }
    match &mut template[name] {
        Value::Object(section) => section,
        _ => unreachable!("it was created as an object above"),
    }
}

#[cfg(test)]
mod tests;
