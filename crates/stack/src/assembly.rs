//! Puts a template together from parts of several: the stack-wide part of one, and each environment's half of another.
//!
//! Pure, on JSON. A half is copied as it is. What it refers to and the base lacks (resources that settings of an older
//! release made) comes with it for as long as the half needs it. The other way round, what the stack-wide part refers to
//! and an older half lacks (the roles that a pipeline's role may pass) is added to the half, which changes nothing in it.

use std::collections::BTreeSet;

use model::color::Color;
use serde_json::{Map, Value};

use super::Both;
use super::part::{METADATA, Serves};
use cfn_kit::assertions::{Kind, Reference};
use cfn_kit::{references, references_of};

/// The sections of a template with things that others refer to.
const SECTIONS: [&str; 3] = ["Resources", "Parameters", "Conditions"];

/// Why parts do not become a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssemblyError {
    /// Something refers to a name that no part has.
    #[error("{from} refers to {to}, which no part of the template has")]
    Dangling {
        /// The logical id of what refers.
        from: String,
        /// The name that it refers to.
        to: String,
    },
    /// A half needs something that the base lacks, and may not bring it.
    #[error("the {color} environment needs {}, which the stack does not have", ids.join(", "))]
    Missing {
        /// The environment.
        color: Color,
        /// What is missing, by logical id, in order.
        ids: Vec<String>,
    },
    /// A template has nothing of an environment: only the beginning of a stack is deployed, which needs the whole
    /// template ([`super::synthesize`]).
    #[error("the template has no resource of the {0} environment")]
    NoHalf(Color),
    /// A part is not a template with resources.
    #[error("a part is not a template: it has no resources")]
    NotATemplate,
}

/// An environment's half, and where it is from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Half<'a> {
    /// The template that the half is in.
    pub template: &'a Value,
    /// What happens if it refers to something that the base lacks.
    pub lacking: Lacking,
}

/// What happens with a reference to something that is not there yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lacking {
    /// It is carried over from the template of what refers to it.
    Carry,
    /// It is an error.
    Report,
}

/// The template whose stack-wide part is that of `base` and whose halves are those of the templates given for them.
///
/// The stack-wide part is every resource that is in no half, and parameters, conditions, outputs, description and
/// metadata. What a half refers to and `base` lacks is carried over from the half's own template, transitively.
pub fn assemble(base: &Value, halves: &Both<&Value>) -> Result<Value, AssemblyError> {
    join(base, &Both::make(|color| Half { template: halves.of(color), lacking: Lacking::Carry }))
}

/// Assembles a template from halves that bring what they need, or that must find it in the base.
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

/// The template without its halves and without what its metadata says of them.
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

/// The resources of an environment's half, in order.
pub(super) fn half_of(template: &Value, color: Color) -> Result<Vec<(String, Value)>, AssemblyError> {
    let resources = template["Resources"].as_object().ok_or(AssemblyError::NotATemplate)?;
    let own = resources.iter().filter(|(id, _)| Serves::of(template, id) == Some(Serves::Environment(color)));
    Ok(own.map(|(id, resource)| (id.clone(), resource.clone())).collect())
}

/// Copies what a template's metadata says of an environment's half.
fn copy_metadata(whole: &mut Value, template: &Value, color: Color) {
    let (from, color) = (&template["Metadata"][METADATA], color.as_str());
    let Some(recorded) = from.get(color) else { return };
    let into = section(whole, "Metadata").entry(METADATA).or_insert_with(|| Map::new().into());
    if into.get("format").is_none() {
        into["format"] = from["format"].clone();
    }
    into[color] = recorded.clone();
}

/// Carries over from `template` what these references lead to and `whole` lacks, with everything that that refers to.
/// Gives the references to what may not be carried over, or what the template does not have either.
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

/// What makes a resource work without being referred to, such as the association of a subnet with its routes: what
/// serves everyone and refers to it. Given as references, so that it is brought like what is referred to.
fn attached<'a>(template: &'a Value, to: &'a str) -> impl Iterator<Item = Reference> + use<'a> {
    let resources = template["Resources"].as_object().into_iter().flatten();
    let serving = resources.filter(|(id, resource)| match Serves::of(template, id) {
        Some(serves) => serves == Serves::Everyone,
        // Older releases wrote no marks; parts of a network are all that matters here.
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

/// The sections that a reference of this kind can lead to.
fn sections(kind: Kind) -> Vec<&'static str> {
    SECTIONS.into_iter().filter(|section| (*section == "Conditions") == (kind == Kind::Condition)).collect()
}

/// The first reference to a name that the template does not have.
fn dangling(template: &Value) -> Option<AssemblyError> {
    let reference = references(template).into_iter().find(|it| !is_there(template, it.kind, &it.to))?;
    Some(AssemblyError::Dangling { from: reference.from, to: reference.to })
}

/// A section of a template, made if it is not there.
fn section<'a>(template: &'a mut Value, name: &str) -> &'a mut Map<String, Value> {
    if !template[name].is_object() {
        template[name] = Map::new().into();
    }
    match &mut template[name] {
        Value::Object(section) => section,
        _ => unreachable!("it was made an object just now"),
    }
}

#[cfg(test)]
mod tests;
